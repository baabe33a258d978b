// Messages a server sends. The tagged union is for control paths and tests; hot paths call the `write…` functions, which
// append to one growing buffer, so that a whole response is one write.

import { unreachable } from '../base/assert.ts';
import { ByteReader, type ByteWriter } from './bytes.ts';
import { wireFault } from './faults.ts';
import { type FormatCode, writeCopyData, writeEmpty } from './frontend.ts';

/** Type bytes. */
export const BACKEND = {
  authentication: 0x52, // R
  backendKeyData: 0x4b, // K
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  commandComplete: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  copyBothResponse: 0x57, // W
  dataRow: 0x44, // D
  emptyQueryResponse: 0x49, // I
  errorResponse: 0x45, // E
  functionCallResponse: 0x56, // V
  negotiateProtocolVersion: 0x76, // v
  noData: 0x6e, // n
  noticeResponse: 0x4e, // N
  notificationResponse: 0x41, // A
  parameterDescription: 0x74, // t
  parameterStatus: 0x53, // S
  parseComplete: 0x31, // 1
  portalSuspended: 0x73, // s
  readyForQuery: 0x5a, // Z
  rowDescription: 0x54, // T
} as const;

/** I idle, T in a transaction, E in a failed transaction. */
export type TransactionStatus = 'I' | 'T' | 'E';

export interface ColumnDescription {
  readonly name: string;
  /** 0 when the column is not one of a table. */
  readonly tableOid: number;
  readonly attnum: number;
  readonly typeOid: number;
  /** Bytes of the type, -1 variable. */
  readonly typeSize: number;
  readonly typmod: number;
  readonly format: FormatCode;
}

/** Fields of ErrorResponse and NoticeResponse. Only these three are always there. */
export interface ErrorFields {
  /** Not localised (field V; S from servers before 9.6). */
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
  /** 1-based, in characters. */
  readonly position?: number;
  readonly internalPosition?: number;
  readonly internalQuery?: string;
  readonly where?: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly dataType?: string;
  readonly constraint?: string;
  readonly file?: string;
  readonly line?: string;
  readonly routine?: string;
}

export type Authentication =
  | { readonly method: 'ok' }
  | { readonly method: 'cleartext' }
  | { readonly method: 'md5'; readonly salt: Uint8Array }
  | { readonly method: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly method: 'saslContinue'; readonly data: Uint8Array }
  | { readonly method: 'saslFinal'; readonly data: Uint8Array }
  /** Kerberos, GSS, SSPI …: not spoken here. */
  | { readonly method: 'other'; readonly code: number; readonly data: Uint8Array };

export interface CopyFormat {
  /** 0 text, 1 binary. */
  readonly overall: FormatCode;
  readonly columns: readonly FormatCode[];
}

export type BackendMessage =
  | { readonly tag: 'authentication'; readonly authentication: Authentication }
  | { readonly tag: 'backendKeyData'; readonly processId: number; readonly secretKey: Uint8Array }
  | { readonly tag: 'bindComplete' }
  | { readonly tag: 'closeComplete' }
  | { readonly tag: 'commandComplete'; readonly commandTag: string }
  | { readonly tag: 'copyData'; readonly data: Uint8Array }
  | { readonly tag: 'copyDone' }
  | { readonly tag: 'copyInResponse'; readonly format: CopyFormat }
  | { readonly tag: 'copyOutResponse'; readonly format: CopyFormat }
  | { readonly tag: 'copyBothResponse'; readonly format: CopyFormat }
  | { readonly tag: 'dataRow'; readonly values: readonly (Uint8Array | null)[] }
  | { readonly tag: 'emptyQueryResponse' }
  | { readonly tag: 'errorResponse'; readonly fields: ErrorFields }
  | { readonly tag: 'functionCallResponse'; readonly value: Uint8Array | null }
  | {
      readonly tag: 'negotiateProtocolVersion';
      /** (major << 16) | minor: the page says minor only, servers and libpq use the whole version. */
      readonly version: number;
      readonly unknownOptions: readonly string[];
    }
  | { readonly tag: 'noData' }
  | { readonly tag: 'noticeResponse'; readonly fields: ErrorFields }
  | {
      readonly tag: 'notificationResponse';
      readonly processId: number;
      readonly channel: string;
      readonly payload: string;
    }
  | { readonly tag: 'parameterDescription'; readonly types: readonly number[] }
  | { readonly tag: 'parameterStatus'; readonly name: string; readonly value: string }
  | { readonly tag: 'parseComplete' }
  | { readonly tag: 'portalSuspended' }
  | { readonly tag: 'readyForQuery'; readonly status: TransactionStatus }
  | { readonly tag: 'rowDescription'; readonly columns: readonly ColumnDescription[] };

// Hot writers.

/** A DataRow begins; `columns` values must follow (`writeTextValue`, `writeBytesValue`, `writeNullValue`), then `endDataRow`. */
export function beginDataRow(writer: ByteWriter, columns: number): number {
  const mark = writer.beginMessage(BACKEND.dataRow);
  writer.int16(columns);
  return mark;
}

export function writeTextValue(writer: ByteWriter, text: string): void {
  writer.countedText(text);
}

export function writeBytesValue(writer: ByteWriter, bytes: Uint8Array): void {
  writer.int32(bytes.length);
  writer.bytes(bytes);
}

export function writeNullValue(writer: ByteWriter): void {
  writer.int32(-1);
}

export function endDataRow(writer: ByteWriter, mark: number): void {
  writer.endMessage(mark);
}

export function writeRowDescription(writer: ByteWriter, columns: readonly ColumnDescription[]): void {
  const mark = writer.beginMessage(BACKEND.rowDescription);
  writer.int16(columns.length);
  for (const column of columns) {
    writer.cString(column.name);
    writer.int32(column.tableOid);
    writer.int16(column.attnum);
    writer.int32(column.typeOid);
    writer.int16(column.typeSize);
    writer.int32(column.typmod);
    writer.int16(column.format);
  }
  writer.endMessage(mark);
}

export function writeCommandComplete(writer: ByteWriter, commandTag: string): void {
  const mark = writer.beginMessage(BACKEND.commandComplete);
  writer.cString(commandTag);
  writer.endMessage(mark);
}

export function writeReadyForQuery(writer: ByteWriter, status: TransactionStatus): void {
  const mark = writer.beginMessage(BACKEND.readyForQuery);
  writer.byte(status.charCodeAt(0));
  writer.endMessage(mark);
}

export function writeParameterStatus(writer: ByteWriter, name: string, value: string): void {
  const mark = writer.beginMessage(BACKEND.parameterStatus);
  writer.cString(name);
  writer.cString(value);
  writer.endMessage(mark);
}

export function writeParameterDescription(writer: ByteWriter, types: readonly number[]): void {
  const mark = writer.beginMessage(BACKEND.parameterDescription);
  writer.int16(types.length);
  for (const oid of types) writer.int32(oid);
  writer.endMessage(mark);
}

export function writeError(writer: ByteWriter, fields: ErrorFields): void {
  writeFields(writer, BACKEND.errorResponse, fields);
}

export function writeNotice(writer: ByteWriter, fields: ErrorFields): void {
  writeFields(writer, BACKEND.noticeResponse, fields);
}

export function writeParseComplete(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.parseComplete);
}

export function writeBindComplete(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.bindComplete);
}

export function writeCloseComplete(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.closeComplete);
}

export function writeNoData(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.noData);
}

export function writePortalSuspended(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.portalSuspended);
}

export function writeEmptyQueryResponse(writer: ByteWriter): void {
  writeEmpty(writer, BACKEND.emptyQueryResponse);
}

/** `type` is one of `BACKEND.copyInResponse`, `copyOutResponse`, `copyBothResponse`. */
export function writeCopyResponse(writer: ByteWriter, type: number, format: CopyFormat): void {
  const mark = writer.beginMessage(type);
  writer.byte(format.overall);
  writer.int16(format.columns.length);
  for (const column of format.columns) writer.int16(column);
  writer.endMessage(mark);
}

export function writeAuthentication(writer: ByteWriter, authentication: Authentication): void {
  const mark = writer.beginMessage(BACKEND.authentication);
  switch (authentication.method) {
    case 'ok':
      writer.int32(0);
      break;
    case 'cleartext':
      writer.int32(3);
      break;
    case 'md5':
      writer.int32(5);
      writer.bytes(authentication.salt);
      break;
    case 'sasl':
      writer.int32(10);
      for (const mechanism of authentication.mechanisms) writer.cString(mechanism);
      writer.byte(0);
      break;
    case 'saslContinue':
      writer.int32(11);
      writer.bytes(authentication.data);
      break;
    case 'saslFinal':
      writer.int32(12);
      writer.bytes(authentication.data);
      break;
    case 'other':
      writer.int32(authentication.code);
      writer.bytes(authentication.data);
      break;
    default:
      unreachable(authentication);
  }
  writer.endMessage(mark);
}

/** Appends one whole frame. */
export function encodeBackend(writer: ByteWriter, message: BackendMessage): void {
  switch (message.tag) {
    case 'authentication':
      return writeAuthentication(writer, message.authentication);
    case 'backendKeyData': {
      const mark = writer.beginMessage(BACKEND.backendKeyData);
      writer.int32(message.processId);
      writer.bytes(message.secretKey);
      return writer.endMessage(mark);
    }
    case 'bindComplete':
      return writeBindComplete(writer);
    case 'closeComplete':
      return writeCloseComplete(writer);
    case 'commandComplete':
      return writeCommandComplete(writer, message.commandTag);
    case 'copyData':
      return writeCopyData(writer, message.data);
    case 'copyDone':
      return writeEmpty(writer, BACKEND.copyDone);
    case 'copyInResponse':
      return writeCopyResponse(writer, BACKEND.copyInResponse, message.format);
    case 'copyOutResponse':
      return writeCopyResponse(writer, BACKEND.copyOutResponse, message.format);
    case 'copyBothResponse':
      return writeCopyResponse(writer, BACKEND.copyBothResponse, message.format);
    case 'dataRow': {
      const mark = beginDataRow(writer, message.values.length);
      for (const value of message.values) writer.countedBytes(value);
      return endDataRow(writer, mark);
    }
    case 'emptyQueryResponse':
      return writeEmptyQueryResponse(writer);
    case 'errorResponse':
      return writeError(writer, message.fields);
    case 'functionCallResponse': {
      const mark = writer.beginMessage(BACKEND.functionCallResponse);
      writer.countedBytes(message.value);
      return writer.endMessage(mark);
    }
    case 'negotiateProtocolVersion': {
      const mark = writer.beginMessage(BACKEND.negotiateProtocolVersion);
      writer.int32(message.version);
      writer.int32(message.unknownOptions.length);
      for (const name of message.unknownOptions) writer.cString(name);
      return writer.endMessage(mark);
    }
    case 'noData':
      return writeNoData(writer);
    case 'noticeResponse':
      return writeNotice(writer, message.fields);
    case 'notificationResponse': {
      const mark = writer.beginMessage(BACKEND.notificationResponse);
      writer.int32(message.processId);
      writer.cString(message.channel);
      writer.cString(message.payload);
      return writer.endMessage(mark);
    }
    case 'parameterDescription':
      return writeParameterDescription(writer, message.types);
    case 'parameterStatus':
      return writeParameterStatus(writer, message.name, message.value);
    case 'parseComplete':
      return writeParseComplete(writer);
    case 'portalSuspended':
      return writePortalSuspended(writer);
    case 'readyForQuery':
      return writeReadyForQuery(writer, message.status);
    case 'rowDescription':
      return writeRowDescription(writer, message.columns);
    default:
      return unreachable(message);
  }
}

/** Decodes one frame. Byte values inside are views of the frame. Throws `frame-malformed` or `protocol-violation`. */
export function decodeBackend(type: number, buffer: Buffer, start: number, end: number): BackendMessage {
  const reader = new ByteReader(buffer, start, end);
  const message = decodeBody(type, reader);
  reader.done();
  return message;
}

function decodeBody(type: number, reader: ByteReader): BackendMessage {
  switch (type) {
    case BACKEND.authentication:
      return { tag: 'authentication', authentication: decodeAuthentication(reader) };
    case BACKEND.backendKeyData:
      return { tag: 'backendKeyData', processId: reader.int32(), secretKey: reader.rest() };
    case BACKEND.bindComplete:
      return { tag: 'bindComplete' };
    case BACKEND.closeComplete:
      return { tag: 'closeComplete' };
    case BACKEND.commandComplete:
      return { tag: 'commandComplete', commandTag: reader.cString() };
    case BACKEND.copyData:
      return { tag: 'copyData', data: reader.rest() };
    case BACKEND.copyDone:
      return { tag: 'copyDone' };
    case BACKEND.copyInResponse:
      return { tag: 'copyInResponse', format: decodeCopyFormat(reader) };
    case BACKEND.copyOutResponse:
      return { tag: 'copyOutResponse', format: decodeCopyFormat(reader) };
    case BACKEND.copyBothResponse:
      return { tag: 'copyBothResponse', format: decodeCopyFormat(reader) };
    case BACKEND.dataRow:
      return { tag: 'dataRow', values: decodeValues(reader) };
    case BACKEND.emptyQueryResponse:
      return { tag: 'emptyQueryResponse' };
    case BACKEND.errorResponse:
      return { tag: 'errorResponse', fields: decodeFields(reader) };
    case BACKEND.functionCallResponse:
      return { tag: 'functionCallResponse', value: reader.countedBytes() };
    case BACKEND.negotiateProtocolVersion:
      return decodeNegotiation(reader);
    case BACKEND.noData:
      return { tag: 'noData' };
    case BACKEND.noticeResponse:
      return { tag: 'noticeResponse', fields: decodeFields(reader) };
    case BACKEND.notificationResponse:
      return {
        tag: 'notificationResponse',
        processId: reader.int32(),
        channel: reader.cString(),
        payload: reader.cString(),
      };
    case BACKEND.parameterDescription: {
      const count = reader.count(reader.uint16(), 4);
      const types: number[] = [];
      for (let index = 0; index < count; index += 1) types.push(reader.uint32());
      return { tag: 'parameterDescription', types };
    }
    case BACKEND.parameterStatus:
      return { tag: 'parameterStatus', name: reader.cString(), value: reader.cString() };
    case BACKEND.parseComplete:
      return { tag: 'parseComplete' };
    case BACKEND.portalSuspended:
      return { tag: 'portalSuspended' };
    case BACKEND.readyForQuery:
      return { tag: 'readyForQuery', status: decodeStatus(reader.uint8()) };
    case BACKEND.rowDescription:
      return { tag: 'rowDescription', columns: decodeColumns(reader) };
    default:
      throw wireFault('protocol-violation', `invalid backend message type ${type}`);
  }
}

function decodeStatus(byte: number): TransactionStatus {
  if (byte === 0x49) return 'I';
  if (byte === 0x54) return 'T';
  if (byte === 0x45) return 'E';
  throw wireFault('frame-malformed', `invalid transaction status ${byte}`);
}

function decodeAuthentication(reader: ByteReader): Authentication {
  const code = reader.int32();
  switch (code) {
    case 0:
      return { method: 'ok' };
    case 3:
      return { method: 'cleartext' };
    case 5:
      return { method: 'md5', salt: reader.bytes(4) };
    case 10: {
      const mechanisms: string[] = [];
      for (let name = reader.cString(); name !== ''; name = reader.cString()) mechanisms.push(name);
      return { method: 'sasl', mechanisms };
    }
    case 11:
      return { method: 'saslContinue', data: reader.rest() };
    case 12:
      return { method: 'saslFinal', data: reader.rest() };
    default:
      return { method: 'other', code, data: reader.rest() };
  }
}

function decodeNegotiation(reader: ByteReader): BackendMessage {
  const version = reader.int32();
  const count = reader.count(reader.int32(), 1);
  const unknownOptions: string[] = [];
  for (let index = 0; index < count; index += 1) unknownOptions.push(reader.cString());
  return { tag: 'negotiateProtocolVersion', version, unknownOptions };
}

function decodeCopyFormat(reader: ByteReader): CopyFormat {
  const overall = reader.uint8();
  const count = reader.count(reader.uint16(), 2);
  const columns: FormatCode[] = [];
  for (let index = 0; index < count; index += 1) columns.push(reader.int16());
  return { overall, columns };
}

function decodeValues(reader: ByteReader): (Buffer | null)[] {
  const count = reader.count(reader.uint16(), 4);
  const values: (Buffer | null)[] = [];
  for (let index = 0; index < count; index += 1) values.push(reader.countedBytes());
  return values;
}

function decodeColumns(reader: ByteReader): ColumnDescription[] {
  const count = reader.count(reader.uint16(), 19);
  const columns: ColumnDescription[] = [];
  for (let index = 0; index < count; index += 1) {
    columns.push({
      name: reader.cString(),
      tableOid: reader.uint32(),
      attnum: reader.int16(),
      typeOid: reader.uint32(),
      typeSize: reader.int16(),
      typmod: reader.int32(),
      format: reader.int16(),
    });
  }
  return columns;
}

/** Field letter -> name. `S` is the localised severity: used only when `V` is missing. */
const TEXT_FIELDS = {
  C: 'sqlstate',
  M: 'message',
  D: 'detail',
  H: 'hint',
  q: 'internalQuery',
  W: 'where',
  s: 'schema',
  t: 'table',
  c: 'column',
  d: 'dataType',
  n: 'constraint',
  F: 'file',
  L: 'line',
  R: 'routine',
} as const satisfies Record<string, keyof ErrorFields>;

const TEXT_FIELD_LIST = Object.entries(TEXT_FIELDS);

function decodeFields(reader: ByteReader): ErrorFields {
  const fields: { -readonly [Name in keyof ErrorFields]: ErrorFields[Name] } = {
    severity: '',
    sqlstate: 'XX000',
    message: '',
  };
  for (let code = reader.uint8(); code !== 0; code = reader.uint8()) {
    const letter = String.fromCharCode(code);
    const value = reader.cString();
    if (letter === 'V') fields.severity = value;
    else if (letter === 'S') fields.severity ||= value;
    else if (letter === 'P') fields.position = Number(value);
    else if (letter === 'p') fields.internalPosition = Number(value);
    // Unknown letters must be ignored: later protocol versions may add some.
    else if (letter in TEXT_FIELDS) fields[TEXT_FIELDS[letter as keyof typeof TEXT_FIELDS]] = value;
  }
  return fields;
}

function writeFields(writer: ByteWriter, type: number, fields: ErrorFields): void {
  const mark = writer.beginMessage(type);
  writeField(writer, 'S', fields.severity);
  writeField(writer, 'V', fields.severity);
  for (const [letter, name] of TEXT_FIELD_LIST) {
    const value = fields[name];
    if (value !== undefined) writeField(writer, letter, value);
  }
  if (fields.position !== undefined) writeField(writer, 'P', String(fields.position));
  if (fields.internalPosition !== undefined) writeField(writer, 'p', String(fields.internalPosition));
  writer.byte(0);
  writer.endMessage(mark);
}

function writeField(writer: ByteWriter, letter: string, value: string): void {
  writer.byte(letter.charCodeAt(0));
  // An error text may quote a client's bytes; a zero in it must not break the frame.
  writer.cString(value.includes('\0') ? value.replaceAll('\0', '') : value);
}
