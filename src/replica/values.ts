// How a value of each Postgres type lies in SQLite: encoders from the text that the stream carries, decoders to the text
// that Postgres prints. Text is the truth; anything else is stored only where it gives back exactly that text.

import { formatFloat4, formatFloat8, parseFloatText } from '../pg/types/float.ts';
import { numericKey } from '../pg/types/numeric-key.ts';
import { orderedTemporal, printedTemporal } from '../pg/types/ordered-temporal.ts';
import { OID } from '../pg/oid.ts';
import type { SqliteValue } from './sqlite.ts';

/** How values of one type are stored. */
export interface ValueCodec {
  readonly storage: 'integer' | 'real' | 'text' | 'blob';
  /** Column type in SQLite's DDL: decides the affinity. '' = none. */
  readonly declaredType: 'INTEGER' | 'TEXT' | 'BLOB' | '';
  /** True when there is a hidden `$key` column whose order and equality are those of the values. */
  readonly hasKey: boolean;
  /**
   * How far SQLite's comparison of the stored values (of the key column when there is one) is Postgres' own:
   * `full` = order and equality, `text` = as far as the collation compares bytes, `equality`, or `none`.
   */
  readonly comparable: 'full' | 'text' | 'equality' | 'none';
  /** Stored value from text in `bytes[start, end)`. */
  readonly encode: (bytes: Uint8Array, start: number, end: number) => SqliteValue;
  readonly encodeText: (text: string) => SqliteValue;
  /** Text as Postgres prints it, from what `read` gave. Not called for NULL. */
  readonly decode: (value: SqliteValue) => string;
  /** SQL that reads a stored value exactly through the driver, given the SQL of the column or expression. */
  readonly read: (sql: string) => string;
  /** SQL that binds an encoded value, given the placeholder: whole floats must not turn into integers on the way. */
  readonly bind: (placeholder: string) => string;
}

type Slice = (this: Uint8Array, start: number, end: number) => string;
// Buffer's own slices work on any Uint8Array and cost a third of TextDecoder's on short texts.
const bufferMethods = Buffer.prototype as unknown as { utf8Slice: Slice; latin1Slice: Slice };
const utf8Slice = bufferMethods.utf8Slice;
const latin1Slice = bufferMethods.latin1Slice;

/** Text of UTF-8 bytes. */
export function textOf(bytes: Uint8Array, start: number, end: number): string {
  return utf8Slice.call(bytes, start, end);
}

/** Text of bytes known to be ASCII. */
function asciiOf(bytes: Uint8Array, start: number, end: number): string {
  return latin1Slice.call(bytes, start, end);
}

const asIs = (sql: string): string => sql;
const decodeText = (value: SqliteValue): string => value as string;

const text: ValueCodec = {
  storage: 'text',
  declaredType: 'TEXT',
  hasKey: false,
  comparable: 'none',
  encode: textOf,
  encodeText: (value) => value,
  decode: decodeText,
  read: asIs,
  bind: asIs,
};
const collatedText: ValueCodec = { ...text, comparable: 'text' };
const equalText: ValueCodec = { ...text, comparable: 'equality' };
const orderedText: ValueCodec = { ...text, comparable: 'full', encode: asciiOf };

/** Digits that a double holds exactly, whatever they are. */
const SAFE_DIGITS = 15;

function encodeInteger(bytes: Uint8Array, start: number, end: number): number | bigint {
  let at = start;
  const negative = bytes[at] === 45;
  if (negative) at += 1;
  if (end - at > SAFE_DIGITS) return BigInt(asciiOf(bytes, start, end));
  let value = 0;
  for (; at < end; at += 1) value = value * 10 + (bytes[at] as number) - 48;
  return negative ? -value : value;
}

function encodeIntegerText(value: string): number | bigint {
  const digits = value.startsWith('-') ? value.length - 1 : value.length;
  return digits > SAFE_DIGITS ? BigInt(value) : Number(value);
}

const integer: ValueCodec = {
  storage: 'integer',
  declaredType: 'INTEGER',
  hasKey: false,
  comparable: 'full',
  encode: encodeInteger,
  encodeText: encodeIntegerText,
  decode: String,
  read: asIs,
  bind: asIs,
};

/** int8 may exceed what the driver reads exactly as a number, so it is read as text. */
const bigInteger: ValueCodec = { ...integer, decode: decodeText, read: (sql) => `CAST(${sql} AS TEXT)` };

const boolean: ValueCodec = {
  ...integer,
  encode: (bytes, start) => (bytes[start] === 116 ? 1 : 0),
  encodeText: (value) => (value.startsWith('t') ? 1 : 0),
  decode: (value) => (value === 1 ? 't' : 'f'),
};

/** NaN is stored as the text 'NaN': SQLite would make NULL of it, and text sorts after all numbers, as NaN does. */
function encodeFloatText(value: string): number | string {
  const number = parseFloatText(value);
  return Number.isNaN(number) ? 'NaN' : number;
}

const float8: ValueCodec = {
  storage: 'real',
  // No affinity: REAL would lose the sign of -0.
  declaredType: '',
  hasKey: false,
  comparable: 'full',
  encode: (bytes, start, end) => encodeFloatText(asciiOf(bytes, start, end)),
  encodeText: encodeFloatText,
  decode: (value) => (typeof value === 'string' ? value : formatFloat8(value as number)),
  read: asIs,
  // The driver binds whole numbers as integers; times 1.0 makes them real and keeps the sign of -0.
  bind: (placeholder) => `iif(typeof(${placeholder}) = 'text', ${placeholder}, ${placeholder} * 1.0)`,
};

function encodeFloat4Text(value: string): number | string {
  const number = parseFloatText(value);
  return Number.isNaN(number) ? 'NaN' : Math.fround(number);
}

const float4: ValueCodec = {
  ...float8,
  encode: (bytes, start, end) => encodeFloat4Text(asciiOf(bytes, start, end)),
  encodeText: encodeFloat4Text,
  decode: (value) => (typeof value === 'string' ? value : formatFloat4(Math.fround(value as number))),
};

const numeric: ValueCodec = { ...text, hasKey: true, comparable: 'full', encode: asciiOf };

const bytea: ValueCodec = {
  storage: 'blob',
  declaredType: 'BLOB',
  hasKey: false,
  comparable: 'full',
  encode: (bytes, start, end) => decodeHex(bytes, start + 2, end),
  encodeText: (value) => Buffer.from(value.slice(2), 'hex'),
  decode: (value) => `\\x${Buffer.from(value as Uint8Array).toString('hex')}`,
  read: asIs,
  bind: asIs,
};

function decodeHex(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return Buffer.from(asciiOf(bytes, start, end), 'hex');
}

function encodeTemporal(bytes: Uint8Array, start: number, end: number): string {
  return orderedTemporal(asciiOf(bytes, start, end));
}

const temporal: ValueCodec = {
  ...orderedText,
  encode: encodeTemporal,
  encodeText: orderedTemporal,
  decode: (value) => printedTemporal(value as string),
};

const codecs = new Map<number, ValueCodec>([
  [OID.int2, integer],
  [OID.int4, integer],
  [OID.int8, bigInteger],
  [OID.oid, integer],
  [OID.bool, boolean],
  [OID.float4, float4],
  [OID.float8, float8],
  [OID.numeric, numeric],
  [OID.bytea, bytea],
  [OID.uuid, orderedText],
  [OID.date, temporal],
  [OID.timestamp, temporal],
  [OID.timestamptz, temporal],
  [OID.time, orderedText],
  [OID.text, collatedText],
  [OID.varchar, collatedText],
  [OID.name, collatedText],
  [OID.char, equalText],
]);

/** The codec of a built-in type; types without one of their own are kept as text. Resolve domains first. */
export function codecOf(storageOid: number): ValueCodec {
  return codecs.get(storageOid) ?? text;
}

/** Enums: equal labels are equal values, order is another matter. */
export const ENUM_CODEC: ValueCodec = equalText;

/** The value of a hidden key column, from the stored value of its column. */
export function keyOf(stored: SqliteValue): Uint8Array | null {
  return stored === null ? null : numericKey(stored as string);
}

/** A stored value as an SQL literal. */
export function sqlLiteral(value: SqliteValue): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return '-0.0';
    if (value === Infinity) return '9e999';
    if (value === -Infinity) return '-9e999';
    return String(value);
  }
  return `x'${Buffer.from(value).toString('hex')}'`;
}
