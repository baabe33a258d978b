// The client's messages of the extended protocol, read field by field on the hot path: no object per message but the one
// that is kept.

import { Fault } from '../base/fault.ts';
import { ByteReader, readText } from '../wire/bytes.ts';
import { wireFault } from '../wire/faults.ts';

/** One frame of the client where it came, cut out only if it has to go to the core: most do not (`bench` edge-read). */
export class Frame {
  readonly #buffer: Buffer;
  readonly #start: number;
  readonly #end: number;

  /** `start` and `end` of the body. */
  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer;
    this.#start = start - 5;
    this.#end = end;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }
}

/** All columns as text. */
export const TEXT_FORMATS: readonly number[] = [];
const NO_VALUES: readonly (Buffer | null)[] = [];

/** Values of Bind: formats as in the message (none = all text, one = for all, else one each). */
export interface Parameters {
  readonly formats: readonly number[];
  readonly values: readonly (Uint8Array | null)[];
}

export const NO_PARAMETERS: Parameters = { formats: TEXT_FORMATS, values: NO_VALUES };

/** A Query's text; null when it is not UTF-8: Postgres has an error for that, which names the bytes. */
export function readQuery(buffer: Buffer, start: number, end: number): string | null {
  if (end - start < 1 || buffer[end - 1] !== 0) {
    throw wireFault('frame-malformed', 'unterminated string in a message');
  }
  try {
    return readText(buffer, start, end - 1);
  } catch {
    return null;
  }
}

export interface ParseMessage {
  readonly name: string;
  readonly sql: string;
  readonly parameterTypes: readonly number[];
}

export function readParse(buffer: Buffer, start: number, end: number): ParseMessage {
  const reader = new ByteReader(buffer, start, end);
  const name = reader.cString();
  const sql = reader.cString();
  const count = reader.count(reader.uint16(), 4);
  const parameterTypes: number[] = [];
  for (let index = 0; index < count; index += 1) parameterTypes.push(reader.uint32());
  reader.done();
  return { name, sql, parameterTypes };
}

export interface BindMessage {
  readonly portal: string;
  readonly statement: string;
  readonly parameters: Parameters;
  /** Result formats. */
  readonly formats: readonly number[];
}

export function readBind(buffer: Buffer, start: number, end: number): BindMessage {
  const reader = new ByteReader(buffer, start, end);
  const portal = reader.cString();
  const statement = reader.cString();
  const parameterFormats = readFormats(reader);
  const count = reader.count(reader.uint16(), 4);
  let parameters = NO_PARAMETERS;
  if (count > 0) {
    const values: (Buffer | null)[] = [];
    for (let index = 0; index < count; index += 1) values.push(reader.countedBytes());
    parameters = { formats: parameterFormats, values };
  }
  const formats = readFormats(reader);
  reader.done();
  return { portal, statement, parameters, formats };
}

export function readExecute(buffer: Buffer, start: number, end: number): { name: string; rowsMax: number } {
  const reader = new ByteReader(buffer, start, end);
  const name = reader.cString();
  const rowsMax = reader.int32();
  reader.done();
  return { name, rowsMax };
}

/** What Describe and Close name. */
export function readTarget(buffer: Buffer, start: number, end: number): { isPortal: boolean; name: string } {
  const reader = new ByteReader(buffer, start, end);
  const kind = reader.uint8();
  const name = reader.cString();
  reader.done();
  if (kind !== 0x50 && kind !== 0x53) throw wireFault('frame-malformed', `invalid subtype ${kind} of a message`);
  return { isPortal: kind === 0x50, name };
}

function readFormats(reader: ByteReader): readonly number[] {
  const count = reader.count(reader.uint16(), 2);
  if (count === 0) return TEXT_FORMATS;
  const formats: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const format = reader.int16();
    if (format !== 0 && format !== 1) {
      throw new Fault('protocol-violation', { message: `unsupported format code: ${format}`, sqlstate: '08P01' });
    }
    formats.push(format);
  }
  // libpq says "text" once for all columns: the same as saying nothing.
  return count === 1 && formats[0] === 0 ? TEXT_FORMATS : formats;
}
