// Messages a client sends after the startup packet. Types that share the byte 'p' are told apart by the conversation.

import { unreachable } from '../base/assert.ts';
import { ByteReader, type ByteWriter } from './bytes.ts';
import { wireFault } from './faults.ts';

/** Type bytes. */
export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  describe: 0x44, // D
  execute: 0x45, // E
  flush: 0x48, // H
  functionCall: 0x46, // F
  parse: 0x50, // P
  /** Password, SASLInitialResponse, SASLResponse, GSSResponse. */
  auth: 0x70, // p
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const;

/** 0 = text, 1 = binary. */
export type FormatCode = number;

export type Target = 'statement' | 'portal';

export type FrontendMessage =
  | {
      readonly tag: 'bind';
      readonly portal: string;
      readonly statement: string;
      readonly parameterFormats: readonly FormatCode[];
      /** Views of the message's memory; null = NULL. */
      readonly parameters: readonly (Uint8Array | null)[];
      readonly resultFormats: readonly FormatCode[];
    }
  | { readonly tag: 'close'; readonly target: Target; readonly name: string }
  | { readonly tag: 'copyData'; readonly data: Uint8Array }
  | { readonly tag: 'copyDone' }
  | { readonly tag: 'copyFail'; readonly reason: string }
  | { readonly tag: 'describe'; readonly target: Target; readonly name: string }
  /** rowsMax 0 = all. */
  | { readonly tag: 'execute'; readonly portal: string; readonly rowsMax: number }
  | { readonly tag: 'flush' }
  | {
      readonly tag: 'functionCall';
      readonly oid: number;
      readonly argumentFormats: readonly FormatCode[];
      readonly arguments: readonly (Uint8Array | null)[];
      readonly resultFormat: FormatCode;
    }
  | {
      readonly tag: 'parse';
      readonly statement: string;
      readonly sql: string;
      readonly parameterTypes: readonly number[];
    }
  /** Undivided body: `sasl.ts` reads it when the conversation says what it is. */
  | { readonly tag: 'auth'; readonly body: Uint8Array }
  | { readonly tag: 'query'; readonly sql: string }
  | { readonly tag: 'sync' }
  | { readonly tag: 'terminate' };

/** Decodes one frame. Throws `frame-malformed`, or `protocol-violation` for an unknown type. */
export function decodeFrontend(type: number, buffer: Buffer, start: number, end: number): FrontendMessage {
  const reader = new ByteReader(buffer, start, end);
  const message = decodeBody(type, reader);
  reader.done();
  return message;
}

function decodeBody(type: number, reader: ByteReader): FrontendMessage {
  switch (type) {
    case FRONTEND.bind:
      return decodeBind(reader);
    case FRONTEND.close:
      return { tag: 'close', target: readTarget(reader), name: reader.cString() };
    case FRONTEND.copyData:
      return { tag: 'copyData', data: reader.rest() };
    case FRONTEND.copyDone:
      return { tag: 'copyDone' };
    case FRONTEND.copyFail:
      return { tag: 'copyFail', reason: reader.cString() };
    case FRONTEND.describe:
      return { tag: 'describe', target: readTarget(reader), name: reader.cString() };
    case FRONTEND.execute:
      return { tag: 'execute', portal: reader.cString(), rowsMax: reader.int32() };
    case FRONTEND.flush:
      return { tag: 'flush' };
    case FRONTEND.functionCall:
      return {
        tag: 'functionCall',
        oid: reader.uint32(),
        argumentFormats: readFormats(reader),
        arguments: readValues(reader),
        resultFormat: readFormat(reader),
      };
    case FRONTEND.parse:
      return {
        tag: 'parse',
        statement: reader.cString(),
        sql: reader.cString(),
        parameterTypes: readParameterTypes(reader),
      };
    case FRONTEND.auth:
      return { tag: 'auth', body: reader.rest() };
    case FRONTEND.query:
      return { tag: 'query', sql: reader.cString() };
    case FRONTEND.sync:
      return { tag: 'sync' };
    case FRONTEND.terminate:
      return { tag: 'terminate' };
    default:
      throw wireFault('protocol-violation', `invalid frontend message type ${type}`);
  }
}

/** Appends one whole frame. */
export function encodeFrontend(writer: ByteWriter, message: FrontendMessage): void {
  switch (message.tag) {
    case 'bind':
      return encodeBind(writer, message);
    case 'close':
      return writeNamed(writer, FRONTEND.close, message.target, message.name);
    case 'copyData':
      return writeCopyData(writer, message.data);
    case 'copyDone':
      return writeEmpty(writer, FRONTEND.copyDone);
    case 'copyFail':
      return writeString(writer, FRONTEND.copyFail, message.reason);
    case 'describe':
      return writeNamed(writer, FRONTEND.describe, message.target, message.name);
    case 'execute': {
      const mark = writer.beginMessage(FRONTEND.execute);
      writer.cString(message.portal);
      writer.int32(message.rowsMax);
      return writer.endMessage(mark);
    }
    case 'flush':
      return writeEmpty(writer, FRONTEND.flush);
    case 'functionCall': {
      const mark = writer.beginMessage(FRONTEND.functionCall);
      writer.int32(message.oid);
      writeFormats(writer, message.argumentFormats);
      writeValues(writer, message.arguments);
      writer.int16(message.resultFormat);
      return writer.endMessage(mark);
    }
    case 'parse': {
      const mark = writer.beginMessage(FRONTEND.parse);
      writer.cString(message.statement);
      writer.cString(message.sql);
      writer.int16(message.parameterTypes.length);
      for (const oid of message.parameterTypes) writer.int32(oid);
      return writer.endMessage(mark);
    }
    case 'auth': {
      const mark = writer.beginMessage(FRONTEND.auth);
      writer.bytes(message.body);
      return writer.endMessage(mark);
    }
    case 'query':
      return writeString(writer, FRONTEND.query, message.sql);
    case 'sync':
      return writeEmpty(writer, FRONTEND.sync);
    case 'terminate':
      return writeEmpty(writer, FRONTEND.terminate);
    default:
      return unreachable(message);
  }
}

/** One CopyData frame; the same bytes in both directions. */
export function writeCopyData(writer: ByteWriter, data: Uint8Array): void {
  const mark = writer.beginMessage(FRONTEND.copyData);
  writer.bytes(data);
  writer.endMessage(mark);
}

/** A frame without a body. */
export function writeEmpty(writer: ByteWriter, type: number): void {
  writer.endMessage(writer.beginMessage(type));
}

function writeString(writer: ByteWriter, type: number, text: string): void {
  const mark = writer.beginMessage(type);
  writer.cString(text);
  writer.endMessage(mark);
}

function writeNamed(writer: ByteWriter, type: number, target: Target, name: string): void {
  const mark = writer.beginMessage(type);
  writer.byte(target === 'statement' ? 0x53 : 0x50);
  writer.cString(name);
  writer.endMessage(mark);
}

function encodeBind(writer: ByteWriter, message: FrontendMessage & { tag: 'bind' }): void {
  const mark = writer.beginMessage(FRONTEND.bind);
  writer.cString(message.portal);
  writer.cString(message.statement);
  writeFormats(writer, message.parameterFormats);
  writeValues(writer, message.parameters);
  writeFormats(writer, message.resultFormats);
  writer.endMessage(mark);
}

function decodeBind(reader: ByteReader): FrontendMessage {
  const portal = reader.cString();
  const statement = reader.cString();
  const parameterFormats = readFormats(reader);
  const parameters = readValues(reader);
  const resultFormats = readFormats(reader);
  if (parameterFormats.length > 1 && parameterFormats.length !== parameters.length) {
    throw wireFault(
      'protocol-violation',
      `bind message has ${parameterFormats.length} parameter formats but ${parameters.length} parameters`,
    );
  }
  return { tag: 'bind', portal, statement, parameterFormats, parameters, resultFormats };
}

function readTarget(reader: ByteReader): Target {
  const kind = reader.uint8();
  if (kind === 0x53) return 'statement';
  if (kind === 0x50) return 'portal';
  throw wireFault('protocol-violation', `invalid message subtype ${kind}`);
}

function readFormat(reader: ByteReader): FormatCode {
  const format = reader.int16();
  if (format !== 0 && format !== 1) throw wireFault('protocol-violation', `unsupported format code: ${format}`);
  return format;
}

/** Counts are unsigned: up to 65,535 parameters. */
function readFormats(reader: ByteReader): FormatCode[] {
  const count = reader.count(reader.uint16(), 2);
  const formats: FormatCode[] = [];
  for (let index = 0; index < count; index += 1) formats.push(readFormat(reader));
  return formats;
}

function readValues(reader: ByteReader): (Buffer | null)[] {
  const count = reader.count(reader.uint16(), 4);
  const values: (Buffer | null)[] = [];
  for (let index = 0; index < count; index += 1) values.push(reader.countedBytes());
  return values;
}

function readParameterTypes(reader: ByteReader): number[] {
  const count = reader.count(reader.uint16(), 4);
  const types: number[] = [];
  for (let index = 0; index < count; index += 1) types.push(reader.uint32());
  return types;
}

function writeFormats(writer: ByteWriter, formats: readonly FormatCode[]): void {
  writer.int16(formats.length);
  for (const format of formats) writer.int16(format);
}

function writeValues(writer: ByteWriter, values: readonly (Uint8Array | null)[]): void {
  writer.int16(values.length);
  for (const value of values) writer.countedBytes(value);
}
