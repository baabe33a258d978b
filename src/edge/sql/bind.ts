// Makes the values of SQLite's parameters from what the client sent. A value that Postgres would refuse, or that is not certain
// to mean the same here, is never bound: then the statement is forwarded and the core says what it thinks of it.

import { asBuffer } from '../../wire/bytes.ts';
import { builtinType, OID } from '../../pg/oid.ts';
import { hasBinary, textFromBinary } from '../../pg/types/binary.ts';
import { numericKey } from '../../pg/types/numeric-key.ts';
import { orderedTemporal } from '../../pg/types/ordered-temporal.ts';
import { Catalogue } from '../../replica/catalogue.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import { canonicalText } from './inputs.ts';
import type { LocalPlan, SessionValue, Writer } from './plan.ts';
import { readText } from './read.ts';
import { typeFacts } from './types.ts';

export interface Bound {
  /** The client's parameters as they came: null is NULL. */
  readonly parameters: readonly (Uint8Array | null)[];
  /** Format of parameter `index`: 0 text, 1 binary. */
  readonly format: (index: number) => number;
  readonly literals: readonly string[];
  readonly session: (name: SessionValue) => string | null;
}

/** Elements of an array parameter; longer arrays are forwarded. */
export const ARRAY_COUNT_MAX = 10_000;

/** Bytes of a LIKE pattern; SQLite refuses patterns over 50,000. */
const PATTERN_LENGTH_MAX = 10_000;

/** Values for ?1..?n of `plan.sql`, or null when the statement must be forwarded (`parameter-value`). */
export function bindPlan(plan: LocalPlan, bound: Bound, catalogue: Catalogue): SqliteValue[] | null {
  const values: SqliteValue[] = [];
  for (const binding of plan.bindings) {
    let value: SqliteValue | undefined;
    if (binding.from === 'literal') {
      value = writeText(binding.writer, binding.typeOid, bound.literals[binding.index] as string, catalogue);
    } else if (binding.from === 'parameter') {
      const bytes = bound.parameters[binding.index] ?? null;
      if (bytes === null) value = writeNull(binding.writer);
      else if (bound.format(binding.index) === 0) {
        const text = asBuffer(bytes).toString('utf8');
        // The mark of bytes that are not UTF-8, which Postgres refuses; or of itself, which is rare.
        value = text.includes('\ufffd') ? undefined : writeText(binding.writer, binding.typeOid, text, catalogue);
      } else {
        value = writeBinary(binding.writer, binding.typeOid, bytes, catalogue);
      }
    } else if (binding.from === 'constant') {
      value = binding.value;
    } else {
      value = bound.session(binding.name);
    }
    if (value === undefined) return null;
    values.push(value);
  }
  return values;
}

/** What NULL is for a writer. */
function writeNull(writer: Writer): SqliteValue {
  // `x = ANY (NULL)` is NULL, as `x IN (NULL)` is; an empty list would make it false.
  if (writer === 'array') return '[null]';
  if (writer === 'limit') return -1;
  return writer === 'offset' ? 0 : null;
}

/** A text in Postgres' input syntax as the value to bind; undefined when it must be forwarded. */
export function writeText(
  writer: Writer,
  typeOid: number,
  text: string,
  catalogue: Catalogue,
): SqliteValue | undefined {
  switch (writer) {
    case 'text':
      return text.includes('\u0000') ? undefined : text;
    case 'int2':
      return integer(text, -0x8000, 0x7fff);
    case 'int4':
      return integer(text, -0x8000_0000, 0x7fff_ffff);
    case 'int8':
      return bigInteger(text);
    case 'oid':
      return integer(text, 0, 0xffff_ffff);
    case 'bool':
      return boolean(text);
    case 'float8':
      return float8(text);
    case 'float4':
      return float4(text);
    case 'name':
      return Buffer.byteLength(text) < 64 && !text.includes('\u0000') ? text : undefined;
    case 'bpchar':
      return text.includes('\u0000') ? undefined : text.replace(/ +$/, '');
    case 'numeric-text':
      return printedNumeric(text);
    case 'numeric-key': {
      const printed = printedNumeric(text);
      return printed === undefined ? undefined : numericKey(printed);
    }
    case 'bytea':
      return bytea(text);
    case 'uuid':
      return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined;
    case 'date':
      return ordered(date(text));
    case 'time':
      return time(text);
    case 'timestamp':
      return ordered(timestamp(text));
    case 'timestamptz':
      return ordered(timestamptz(text));
    case 'enum':
      return catalogue.type(typeOid)?.enumLabels.includes(text) ? text : undefined;
    case 'like':
      return globOf(text);
    case 'ilike':
      // oxlint-disable-next-line no-control-regex
      return /^[\x00-\x7f]*$/.test(text) ? globOf(text.toLowerCase()) : undefined;
    case 'limit':
    case 'offset': {
      const value = bigInteger(text);
      return value !== undefined && value !== null && value >= 0 ? value : undefined;
    }
    case 'typed':
      return canonicalText(typeOid, text, (other, part) => printed(other, part, catalogue));
    case 'array': {
      const elements = arrayElements(text);
      return elements === undefined ? undefined : arrayJson(elements, elementOf(typeOid, catalogue), catalogue);
    }
  }
}

/** Stored value of a text that a query has computed, for built-in types. Throws what the core has to say something about. */
export function readInput(typeOid: number, text: string): SqliteValue {
  const { writer, oid } = typeFacts(typeOid, NO_CATALOGUE);
  // Number types skip white space around.
  const bare = NUMBER_WRITERS.has(writer ?? '') ? text.replace(/^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$/g, '') : text;
  const value = writer === null ? undefined : writeText(writer, oid, bare, NO_CATALOGUE);
  if (value === undefined) throw new RangeError('a text that is left to the core to read');
  return value;
}

const NUMBER_WRITERS = new Set<string>(['int2', 'int4', 'int8', 'float4', 'float8', 'numeric-text', 'bool', 'oid']);

const NO_CATALOGUE = new Catalogue({
  version: 1,
  serverVersion: 0,
  serverVersionText: '',
  database: '',
  defaultCollationIsC: false,
  settings: {},
  tables: [],
  types: [],
});

/** What Postgres prints for a text in its input syntax; undefined when it must be forwarded. */
function printed(typeOid: number, text: string, catalogue: Catalogue): string | undefined {
  const { writer, reader, oid } = typeFacts(typeOid, catalogue);
  const stored = writer === null ? undefined : writeText(writer, oid, text, catalogue);
  if (stored === undefined || stored === null) return undefined;
  return reader === 'text' ? String(stored) : readText(reader, stored);
}

const DIGITS = /^[+-]?\d{1,19}$/;

function integer(text: string, min: number, max: number): number | undefined {
  if (!DIGITS.test(text)) return undefined;
  const value = Number(text);
  // + 0 makes 0 of -0.
  return value >= min && value <= max ? value + 0 : undefined;
}

function bigInteger(text: string): number | bigint | undefined {
  if (!DIGITS.test(text)) return undefined;
  if (text.length < 16) return Number(text) + 0;
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

function boolean(text: string): number | undefined {
  switch (text.toLowerCase()) {
    case 't':
    case 'true':
    case 'y':
    case 'yes':
    case 'on':
    case '1':
      return 1;
    case 'f':
    case 'false':
    case 'n':
    case 'no':
    case 'off':
    case '0':
      return 0;
    default:
      return undefined;
  }
}

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;

function float8(text: string): number | string | undefined {
  const special = specialNumber(text);
  if (special !== undefined) return special === 'NaN' ? special : Number(special);
  const parts = DECIMAL.exec(text);
  if (parts === null || (parts[2] === '' && (parts[3] ?? '') === '')) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value)) return undefined;
  // Postgres refuses what rounds to zero but is not zero, and denormals depend on the platform's strtod.
  if (Math.abs(value) < 2.2250738585072014e-308 && /[1-9]/.test(`${parts[2]}${parts[3] ?? ''}`)) return undefined;
  return value;
}

function float4(text: string): number | string | undefined {
  const double = float8(text);
  if (typeof double !== 'number' || !Number.isFinite(double)) return double;
  const value = Math.fround(double);
  if (!Number.isFinite(value) || (double !== 0 && Math.abs(value) < 1.1754943508222875e-38)) return undefined;
  // Rounding twice may differ from rounding once only when the double lies exactly between two float4.
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, double);
  return (bits.getUint32(4) & 0x1fff_ffff) === 0x1000_0000 ? undefined : value;
}

function specialNumber(text: string): 'NaN' | 'Infinity' | '-Infinity' | undefined {
  switch (text.toLowerCase()) {
    case 'nan':
      return 'NaN';
    case 'infinity':
    case '+infinity':
    case 'inf':
    case '+inf':
      return 'Infinity';
    case '-infinity':
    case '-inf':
      return '-Infinity';
    default:
      return undefined;
  }
}

/** A numeric as Postgres prints it back. */
function printedNumeric(text: string): string | undefined {
  const special = specialNumber(text);
  // Before 14 there was no infinite numeric; from 15 on there is.
  if (special !== undefined) return special;
  const parts = DECIMAL.exec(text);
  if (parts === null || text.length > 200) return undefined;
  let whole = parts[2] as string;
  let fraction = parts[3] ?? '';
  if (whole === '' && fraction === '') return undefined;
  const exponent = Number(parts[4] ?? 0);
  if (Math.abs(exponent) > 300) return undefined;
  if (exponent > 0) {
    whole += fraction.slice(0, exponent).padEnd(exponent, '0');
    fraction = fraction.slice(exponent);
  } else if (exponent < 0) {
    const padded = whole.padStart(-exponent, '0');
    fraction = padded.slice(padded.length + exponent) + fraction;
    whole = padded.slice(0, padded.length + exponent);
  }
  whole = whole.replace(/^0+/, '');
  const isZero = whole === '' && !/[1-9]/.test(fraction);
  const sign = parts[1] === '-' && !isZero ? '-' : '';
  return `${sign}${whole === '' ? '0' : whole}${fraction === '' ? '' : `.${fraction}`}`;
}

function bytea(text: string): Uint8Array | undefined {
  if (text.startsWith('\\x')) {
    const hex = text.slice(2);
    return hex.length % 2 === 0 && /^[0-9a-fA-F]*$/.test(hex) ? Buffer.from(hex, 'hex') : undefined;
  }
  return text.includes('\\') ? undefined : Buffer.from(text, 'utf8');
}

function ordered(printed: string | undefined): string | undefined {
  return printed === undefined ? undefined : orderedTemporal(printed);
}

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** ISO dates only: they mean the same under every DateStyle. */
function date(text: string): string | undefined {
  if (text === 'infinity' || text === '-infinity') return text;
  return isDate(text) ? text : undefined;
}

function isDate(text: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return false;
  const year = Number(text.slice(0, 4));
  const month = Number(text.slice(5, 7));
  const day = Number(text.slice(8, 10));
  if (year < 1 || month < 1 || month > 12 || day < 1) return false;
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return day <= (DAYS[month - 1] as number) + (month === 2 && isLeap ? 1 : 0);
}

/** hh:mm[:ss[.ffffff]] as Postgres prints it. */
function time(text: string): string | undefined {
  const parts = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?$/.exec(text);
  if (parts === null) return undefined;
  const [, hour, minute, second = '00', fraction = ''] = parts as unknown as [string, string, string, string?, string?];
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const digits = fraction.replace(/0+$/, '');
  return `${hour}:${minute}:${second}${digits === '' ? '' : `.${digits}`}`;
}

function timestamp(text: string): string | undefined {
  if (text === 'infinity' || text === '-infinity') return text;
  const day = text.slice(0, 10);
  if (!isDate(day)) return undefined;
  if (text.length === 10) return `${day} 00:00:00`;
  if (text[10] !== ' ' && text[10] !== 'T') return undefined;
  const clock = time(text.slice(11));
  return clock === undefined ? undefined : `${day} ${clock}`;
}

/** Texts without a zone are read as UTC: plans that bind one need that TimeZone. */
function timestamptz(text: string): string | undefined {
  if (text === 'infinity' || text === '-infinity') return text;
  const parts = /^(.{10}.*?)(?:Z|([+-])(\d\d)(?::?(\d\d))?)?$/.exec(text);
  if (parts === null) return undefined;
  const [, stamp, sign, hours = '00', minutes = '00'] = parts as unknown as [string, string, string?, string?, string?];
  // A bare date would take its own '-dd' for a zone.
  if (stamp.length === 7) return undefined;
  const printed = timestamp(stamp);
  if (printed === undefined) return undefined;
  const offset = Number(hours) * 60 + Number(minutes);
  if (offset === 0) return `${printed}+00`;
  if (Number(hours) > 14 || Number(minutes) > 59) return undefined;
  const fraction = printed.indexOf('.');
  const seconds = fraction < 0 ? printed : printed.slice(0, fraction);
  const moved = new Date(Date.parse(`${seconds.replace(' ', 'T')}Z`) - (sign === '-' ? -offset : offset) * 60_000);
  const iso = moved.toISOString();
  if (iso.length !== 24 || iso.startsWith('0000')) return undefined;
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction < 0 ? '' : printed.slice(fraction)}+00`;
}

/** A LIKE pattern as GLOB's, which is case sensitive and knows one character and many. */
function globOf(pattern: string): string | undefined {
  if (pattern.length > PATTERN_LENGTH_MAX || pattern.includes('\u0000')) return undefined;
  let glob = '';
  for (let at = 0; at < pattern.length; at += 1) {
    let char = pattern[at] as string;
    if (char === '%') {
      glob += '*';
    } else if (char === '_') {
      glob += '?';
    } else {
      if (char === '\\') {
        at += 1;
        // Postgres refuses a pattern that ends with the escape, but only if the match gets there.
        if (at === pattern.length) return undefined;
        char = pattern[at] as string;
      }
      glob += char === '*' || char === '?' || char === '[' ? `[${char}]` : char;
    }
  }
  return glob;
}

function elementOf(arrayOid: number, catalogue: Catalogue): number {
  return builtinType(arrayOid)?.elementOid ?? catalogue.type(arrayOid)?.elementOid ?? 0;
}

/** Elements of a one-dimensional array in text form; undefined for anything else. */
function arrayElements(text: string): (string | null)[] | undefined {
  if (!text.startsWith('{') || !text.endsWith('}')) return undefined;
  const elements: (string | null)[] = [];
  let at = 1;
  const last = text.length - 1;
  if (text.slice(1, last).trim() === '') return elements;
  for (;;) {
    if (elements.length >= ARRAY_COUNT_MAX) return undefined;
    while (at < last && text[at] === ' ') at += 1;
    if (text[at] === '"') {
      let value = '';
      at += 1;
      for (;;) {
        if (at >= last) return undefined;
        if (text[at] === '"') break;
        if (text[at] === '\\') at += 1;
        value += text[at];
        at += 1;
      }
      at += 1;
      elements.push(value);
    } else {
      const start = at;
      while (at < last && text[at] !== ',') at += 1;
      const value = text.slice(start, at).trimEnd();
      if (value === '' || /[{}"\\\s]/.test(value)) return undefined;
      elements.push(value.toUpperCase() === 'NULL' ? null : value);
    }
    while (at < last && text[at] === ' ') at += 1;
    if (at === last) return elements;
    if (text[at] !== ',') return undefined;
    at += 1;
  }
}

/** Writers whose values JSON holds as they are stored. */
const ELEMENT_WRITERS = new Map<number, Writer>([
  [OID.int2, 'int2'],
  [OID.int4, 'int4'],
  [OID.int8, 'int8'],
  [OID.oid, 'oid'],
  [OID.text, 'text'],
  [OID.varchar, 'text'],
  [OID.name, 'name'],
  [OID.uuid, 'uuid'],
  [OID.bool, 'bool'],
  [OID.date, 'date'],
  [OID.timestamp, 'timestamp'],
  [OID.timestamptz, 'timestamptz'],
]);

/** Whether arrays of this type may be bound. */
export function isArrayElement(typeOid: number, catalogue: Catalogue): boolean {
  return ELEMENT_WRITERS.has(typeOid) || catalogue.type(typeOid)?.kind === 'e';
}

function arrayJson(elements: readonly (string | null)[], typeOid: number, catalogue: Catalogue): string | undefined {
  const writer = ELEMENT_WRITERS.get(typeOid) ?? (catalogue.type(typeOid)?.kind === 'e' ? 'enum' : undefined);
  if (writer === undefined) return undefined;
  const parts: string[] = [];
  for (const element of elements) {
    const value = element === null ? null : writeText(writer, typeOid, element, catalogue);
    if (value === undefined) return undefined;
    parts.push(typeof value === 'bigint' ? value.toString() : JSON.stringify(value));
  }
  return `[${parts.join(',')}]`;
}

/** Microseconds and days of Postgres' epoch, 2000-01-01, before that of 1970. */
const EPOCH_DAYS = 10_957;

/** A binary parameter as the value to bind; undefined when it must be forwarded. */
function writeBinary(
  writer: Writer,
  typeOid: number,
  bytes: Uint8Array,
  catalogue: Catalogue,
): SqliteValue | undefined {
  const text = binaryText(typeOid, bytes, catalogue);
  return text === undefined ? undefined : writeText(writer, typeOid, text, catalogue);
}

/** Text of a binary value; undefined for types and values that are left to the core. */
function binaryText(typeOid: number, bytes: Uint8Array, catalogue: Catalogue): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const has = (length: number): boolean => bytes.byteLength === length;
  switch (typeOid) {
    case OID.int2:
      return has(2) ? String(view.getInt16(0)) : undefined;
    case OID.int4:
      return has(4) ? String(view.getInt32(0)) : undefined;
    case OID.int8:
      return has(8) ? String(view.getBigInt64(0)) : undefined;
    case OID.oid:
      return has(4) ? String(view.getUint32(0)) : undefined;
    case OID.bool:
      return has(1) ? (bytes[0] === 0 ? 'f' : 't') : undefined;
    case OID.float4:
      return has(4) ? String(view.getFloat32(0)) : undefined;
    case OID.float8:
      return has(8) ? String(view.getFloat64(0)) : undefined;
    case OID.text:
    case OID.varchar:
    case OID.bpchar:
    case OID.name:
      return utf8(bytes);
    case OID.bytea:
      return `\\x${Buffer.from(bytes).toString('hex')}`;
    case OID.uuid: {
      if (!has(16)) return undefined;
      const hex = Buffer.from(bytes).toString('hex');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    }
    case OID.date: {
      if (!has(4)) return undefined;
      const days = view.getInt32(0);
      if (days === 0x7fff_ffff) return 'infinity';
      if (days === -0x8000_0000) return '-infinity';
      return isoStamp(BigInt(days + EPOCH_DAYS) * 86_400_000_000n)?.slice(0, 10);
    }
    case OID.timestamp:
    case OID.timestamptz: {
      if (!has(8)) return undefined;
      const micros = view.getBigInt64(0);
      if (micros === 0x7fff_ffff_ffff_ffffn) return 'infinity';
      if (micros === -0x8000_0000_0000_0000n) return '-infinity';
      const stamp = isoStamp(micros + BigInt(EPOCH_DAYS) * 86_400_000_000n);
      return stamp === undefined || typeOid === OID.timestamp ? stamp : `${stamp}Z`;
    }
    case OID.time: {
      if (!has(8)) return undefined;
      const micros = view.getBigInt64(0);
      return micros < 0n || micros >= 86_400_000_000n ? undefined : isoStamp(micros)?.slice(11);
    }
    case OID.numeric:
      return numericText(view);
    default: {
      if (catalogue.type(typeOid)?.kind === 'e') return utf8(bytes);
      const element = elementOf(typeOid, catalogue);
      if (element !== 0 && isArrayElement(element, catalogue)) return arrayText(view, element, catalogue);
      return typedText(typeOid, bytes);
    }
  }
}

/** Binary forms of what is stored as Postgres prints it. */
function typedText(typeOid: number, bytes: Uint8Array): string | undefined {
  if (!hasBinary(typeOid)) return undefined;
  try {
    return textFromBinary(typeOid, bytes);
  } catch {
    return undefined;
  }
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** `YYYY-MM-DD hh:mm:ss.ffffff` of microseconds since 1970; undefined outside the years 1 to 9999. */
function isoStamp(micros: bigint): string | undefined {
  let millis = micros / 1000n;
  let rest = micros % 1000n;
  if (rest < 0n) {
    rest += 1000n;
    millis -= 1n;
  }
  const iso = new Date(Number(millis));
  if (Number.isNaN(iso.getTime()) || iso.getUTCFullYear() < 1 || iso.getUTCFullYear() > 9999) return undefined;
  return `${iso.toISOString().slice(0, 23).replace('T', ' ')}${String(rest).padStart(3, '0')}`;
}

function numericText(view: DataView): string | undefined {
  if (view.byteLength < 8) return undefined;
  const count = view.getInt16(0);
  const weight = view.getInt16(2);
  const sign = view.getUint16(4);
  const scale = view.getInt16(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if (count < 0 || scale < 0 || view.byteLength !== 8 + count * 2 || Math.abs(weight) > 40 || scale > 100)
    return undefined;
  const digit = (index: number): string =>
    String(index < 0 || index >= count ? 0 : view.getInt16(8 + index * 2)).padStart(4, '0');
  let whole = '';
  for (let at = 0; at <= weight; at += 1) whole += digit(at);
  let fraction = '';
  for (let at = weight + 1; fraction.length < scale; at += 1) fraction += digit(at);
  fraction = fraction.slice(0, scale);
  return `${sign === 0x4000 ? '-' : ''}${whole === '' ? '0' : whole}${scale === 0 ? '' : `.${fraction}`}`;
}

/** Text of a one-dimensional binary array. */
function arrayText(view: DataView, elementOid: number, catalogue: Catalogue): string | undefined {
  if (view.byteLength < 12 || view.getUint32(8) !== elementOid) return undefined;
  const dimensions = view.getInt32(0);
  if (dimensions === 0) return '{}';
  if (dimensions !== 1 || view.byteLength < 20) return undefined;
  const count = view.getInt32(12);
  if (count < 0 || count > ARRAY_COUNT_MAX) return undefined;
  const parts: string[] = [];
  let at = 20;
  for (let index = 0; index < count; index += 1) {
    if (at + 4 > view.byteLength) return undefined;
    const length = view.getInt32(at);
    at += 4;
    if (length < 0) {
      parts.push('NULL');
      continue;
    }
    if (at + length > view.byteLength) return undefined;
    const text = binaryText(elementOid, new Uint8Array(view.buffer, view.byteOffset + at, length), catalogue);
    if (text === undefined) return undefined;
    parts.push(`"${text.replace(/["\\]/g, '\\$&')}"`);
    at += length;
  }
  return at === view.byteLength ? `{${parts.join(',')}}` : undefined;
}
