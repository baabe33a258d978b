// Text and binary form of values, both ways: `binaryFromText` for results that a client wants in binary, `textFromBinary`
// for parameters it sends so. Text is what Postgres prints under ISO, UTC, IntervalStyle postgres, shortest floats, hex.

import { builtinType, isBuiltinArray, OID } from '../oid.ts';
import { formatLsn, parseLsn } from '../lsn.ts';
import { type ArrayDimension, formatArray, parseArray } from './array.ts';
import { invalidBinary, invalidText, noBinary } from './faults.ts';
import { formatFloat4, formatFloat8, parseFloatText } from './float.ts';
import { inetFromBinary, inetToBinary, macFromBinary, macToBinary } from './network.ts';
import { numericFromBinary, numericToBinary } from './numeric.ts';
import { formatMultirange, formatRange, parseMultirange, parseRange, type RangeValue } from './range.ts';
import {
  checkTime,
  formatDate,
  formatInterval,
  formatTime,
  formatTimestamp,
  formatTimeWithZone,
  parseDate,
  parseInterval,
  parseTime,
  parseTimestamp,
  parseTimeWithZone,
} from './temporal.ts';

/** What must be known about a type that is not built in; a replica's Catalogue answers with its type images. */
export interface TypeFacts {
  /** typtype. */
  readonly kind: string;
  readonly category: string;
  /** Element type when it is an array, else 0. */
  readonly elementOid: number;
  /** Base type when it is a domain, else 0. */
  readonly baseOid: number;
}

export type TypeLookup = (oid: number) => TypeFacts | undefined;

interface Codec {
  readonly toBinary: (text: string) => Buffer;
  readonly toText: (bytes: Buffer) => string;
}

/** What a type is once domains are followed. */
type Shape =
  | { readonly tag: 'scalar'; readonly codec: Codec }
  | { readonly tag: 'array'; readonly elementOid: number }
  | { readonly tag: 'range'; readonly subtypeOid: number }
  | { readonly tag: 'multirange'; readonly subtypeOid: number };

/** Domains over domains, arrays of domains …: deeper than this is a loop. */
const DEPTH_MAX = 32;

/** Whether both functions below know the type. */
export function hasBinary(typeOid: number, lookup?: TypeLookup): boolean {
  const shape = shapeOf(typeOid, lookup);
  if (shape === null) return false;
  return shape.tag !== 'array' || hasBinary(shape.elementOid, lookup);
}

/** Throws Fault `value-invalid` (22P02) for text that is not of the type, `type-without-binary` (0A000). */
export function binaryFromText(typeOid: number, text: string, lookup?: TypeLookup): Buffer {
  const shape = shapeOf(typeOid, lookup);
  if (shape === null) throw noBinary(typeOid);
  switch (shape.tag) {
    case 'scalar':
      return shape.codec.toBinary(text);
    case 'array':
      return arrayToBinary(shape.elementOid, text, lookup);
    case 'range':
      return rangeToBinary(parseRange(text), shape.subtypeOid);
    case 'multirange':
      return multirangeToBinary(parseMultirange(text), shape.subtypeOid);
  }
}

/** Throws Fault `value-invalid` (22P03) for bytes that are not of the type, `type-without-binary` (0A000). */
export function textFromBinary(typeOid: number, bytes: Uint8Array, lookup?: TypeLookup): string {
  const shape = shapeOf(typeOid, lookup);
  if (shape === null) throw noBinary(typeOid);
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (shape.tag) {
    case 'scalar':
      return shape.codec.toText(buffer);
    case 'array':
      return arrayFromBinary(shape.elementOid, buffer, lookup);
    case 'range':
      return formatRange(rangeFromBinary(buffer, shape.subtypeOid));
    case 'multirange':
      return formatMultirange(multirangeFromBinary(buffer, shape.subtypeOid));
  }
}

const RANGE_SUBTYPES: ReadonlyMap<number, number> = new Map([
  [3904, OID.int4],
  [3906, OID.numeric],
  [3908, OID.timestamp],
  [3910, OID.timestamptz],
  [3912, OID.date],
  [3926, OID.int8],
]);

const MULTIRANGE_SUBTYPES: ReadonlyMap<number, number> = new Map([
  [4451, OID.int4],
  [4532, OID.numeric],
  [4533, OID.timestamp],
  [4534, OID.timestamptz],
  [4535, OID.date],
  [4536, OID.int8],
]);

function shapeOf(typeOid: number, lookup: TypeLookup | undefined): Shape | null {
  let oid = typeOid;
  for (let depth = 0; depth < DEPTH_MAX; depth += 1) {
    const codec = codecs.get(oid);
    if (codec !== undefined) return { tag: 'scalar', codec };
    if (isBuiltinArray(oid)) return { tag: 'array', elementOid: builtinType(oid)?.elementOid ?? 0 };
    const range = RANGE_SUBTYPES.get(oid);
    if (range !== undefined) return { tag: 'range', subtypeOid: range };
    const multirange = MULTIRANGE_SUBTYPES.get(oid);
    if (multirange !== undefined) return { tag: 'multirange', subtypeOid: multirange };
    const facts = lookup?.(oid);
    if (facts === undefined) return null;
    if (facts.kind === 'e') return { tag: 'scalar', codec: textCodec };
    if (facts.kind === 'b' && facts.category === 'A' && facts.elementOid !== 0) {
      return { tag: 'array', elementOid: facts.elementOid };
    }
    if (facts.kind !== 'd') return null;
    oid = facts.baseOid;
  }
  return null;
}

// --- arrays and ranges

function arrayToBinary(elementOid: number, text: string, lookup: TypeLookup | undefined): Buffer {
  const { dimensions, elements } = parseArray(text, delimiterOf(elementOid));
  const header = Buffer.alloc(12 + dimensions.length * 8);
  header.writeInt32BE(dimensions.length, 0);
  header.writeInt32BE(elements.includes(null) ? 1 : 0, 4);
  header.writeUInt32BE(elementOid, 8);
  for (const [index, dimension] of dimensions.entries()) {
    header.writeInt32BE(dimension.length, 12 + index * 8);
    header.writeInt32BE(dimension.lowerBound, 16 + index * 8);
  }
  const parts: Buffer[] = [header];
  for (const element of elements) {
    if (element === null) parts.push(int4(-1));
    else counted(parts, binaryFromText(elementOid, element, lookup));
  }
  return Buffer.concat(parts);
}

function arrayFromBinary(elementOid: number, bytes: Buffer, lookup: TypeLookup | undefined): string {
  const reader = new Reader(bytes, 'array');
  const count = reader.int32();
  reader.int32();
  reader.int32();
  if (count < 0 || count > 6) throw invalidBinary('array');
  const dimensions: ArrayDimension[] = [];
  let total = count === 0 ? 0 : 1;
  for (let index = 0; index < count; index += 1) {
    const length = reader.int32();
    dimensions.push({ length, lowerBound: reader.int32() });
    total *= length;
    if (length < 0 || total > bytes.length) throw invalidBinary('array');
  }
  const elements: (string | null)[] = [];
  for (let index = 0; index < total; index += 1) {
    const value = reader.counted();
    elements.push(value === null ? null : textFromBinary(elementOid, value, lookup));
  }
  reader.done();
  return formatArray({ dimensions: total === 0 ? [] : dimensions, elements }, delimiterOf(elementOid));
}

function delimiterOf(elementOid: number): string {
  return builtinType(elementOid)?.delimiter ?? ',';
}

const RANGE_FLAG = {
  empty: 0x01,
  lowerInclusive: 0x02,
  upperInclusive: 0x04,
  lowerInfinite: 0x08,
  upperInfinite: 0x10,
};

function rangeToBinary(range: RangeValue, subtypeOid: number): Buffer {
  if (range.isEmpty) return Buffer.from([RANGE_FLAG.empty]);
  const flags =
    (range.lowerInclusive ? RANGE_FLAG.lowerInclusive : 0) |
    (range.upperInclusive ? RANGE_FLAG.upperInclusive : 0) |
    (range.lower === null ? RANGE_FLAG.lowerInfinite : 0) |
    (range.upper === null ? RANGE_FLAG.upperInfinite : 0);
  const parts: Buffer[] = [Buffer.from([flags])];
  if (range.lower !== null) counted(parts, binaryFromText(subtypeOid, range.lower));
  if (range.upper !== null) counted(parts, binaryFromText(subtypeOid, range.upper));
  return Buffer.concat(parts);
}

function rangeFromBinary(bytes: Buffer, subtypeOid: number): RangeValue {
  const reader = new Reader(bytes, 'range');
  const flags = reader.uint8();
  const bound = (infinite: number): string | null => {
    if ((flags & (RANGE_FLAG.empty | infinite)) !== 0) return null;
    const value = reader.counted();
    if (value === null) throw invalidBinary('range');
    return textFromBinary(subtypeOid, value);
  };
  const lower = bound(RANGE_FLAG.lowerInfinite);
  const upper = bound(RANGE_FLAG.upperInfinite);
  reader.done();
  return {
    isEmpty: (flags & RANGE_FLAG.empty) !== 0,
    lower,
    upper,
    lowerInclusive: lower !== null && (flags & RANGE_FLAG.lowerInclusive) !== 0,
    upperInclusive: upper !== null && (flags & RANGE_FLAG.upperInclusive) !== 0,
  };
}

function multirangeToBinary(ranges: readonly RangeValue[], subtypeOid: number): Buffer {
  const parts: Buffer[] = [int4(ranges.length)];
  for (const range of ranges) counted(parts, rangeToBinary(range, subtypeOid));
  return Buffer.concat(parts);
}

function multirangeFromBinary(bytes: Buffer, subtypeOid: number): RangeValue[] {
  const reader = new Reader(bytes, 'multirange');
  const count = reader.int32();
  if (count < 0 || count > bytes.length) throw invalidBinary('multirange');
  const ranges: RangeValue[] = [];
  for (let index = 0; index < count; index += 1) {
    const value = reader.counted();
    if (value === null) throw invalidBinary('multirange');
    ranges.push(rangeFromBinary(value, subtypeOid));
  }
  reader.done();
  return ranges;
}

function counted(parts: Buffer[], value: Buffer): void {
  parts.push(int4(value.length), value);
}

/** Reads fields of a composite binary value; bytes come from a client, so every step is checked. */
class Reader {
  readonly #bytes: Buffer;
  readonly #type: string;
  #at = 0;

  constructor(bytes: Buffer, type: string) {
    this.#bytes = bytes;
    this.#type = type;
  }

  uint8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] as number;
  }

  int32(): number {
    this.#need(4);
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  counted(): Buffer | null {
    const length = this.int32();
    if (length === -1) return null;
    if (length < 0) throw invalidBinary(this.#type);
    this.#need(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  done(): void {
    if (this.#at !== this.#bytes.length) throw invalidBinary(this.#type);
  }

  #need(length: number): void {
    if (this.#bytes.length - this.#at < length) throw invalidBinary(this.#type);
  }
}

// --- scalars

/** A codec of values with a fixed binary length; other lengths are refused. */
function fixed(
  name: string,
  length: number,
  write: (text: string, to: Buffer) => void,
  read: (from: Buffer) => string,
): Codec {
  return {
    toBinary: (text) => {
      const binary = Buffer.alloc(length);
      write(text, binary);
      return binary;
    },
    toText: (bytes) => {
      if (bytes.length !== length) throw invalidBinary(name);
      return read(bytes);
    },
  };
}

const INTEGER = /^[+-]?\d+$/;

/** Whole numbers; a text out of the type's range is a mistake of the caller and refused like any other bad text. */
function parseInteger(name: string, text: string, min: bigint, max: bigint): bigint {
  if (!INTEGER.test(text)) throw invalidText(name, text);
  const value = BigInt(text);
  if (value < min || value > max) throw invalidText(name, text);
  return value;
}

function integer(name: string, length: 2 | 4 | 8, isSigned: boolean): Codec {
  const bits = BigInt(length * 8);
  const min = isSigned ? -(1n << (bits - 1n)) : 0n;
  const max = isSigned ? (1n << (bits - 1n)) - 1n : (1n << bits) - 1n;
  const write = (text: string, to: Buffer): void => {
    if (length === 8) {
      const value = parseInteger(name, text, min, max);
      if (isSigned) to.writeBigInt64BE(value);
      else to.writeBigUInt64BE(value);
      return;
    }
    // Short texts are the common case and need no bigint.
    const value = text.length < 10 && INTEGER.test(text) ? Number(text) : Number(parseInteger(name, text, min, max));
    if (value < Number(min) || value > Number(max)) throw invalidText(name, text);
    if (isSigned) to.writeIntBE(value, 0, length);
    else to.writeUIntBE(value, 0, length);
  };
  const read = (from: Buffer): string => {
    if (length === 8) return String(isSigned ? from.readBigInt64BE() : from.readBigUInt64BE());
    return String(isSigned ? from.readIntBE(0, length) : from.readUIntBE(0, length));
  };
  return fixed(name, length, write, read);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeUtf8(bytes: Buffer): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw invalidBinary('text');
  }
  if (text.includes('\u0000')) throw invalidBinary('text');
  return text;
}

const textCodec: Codec = { toBinary: (text) => Buffer.from(text, 'utf8'), toText: decodeUtf8 };

/** A version byte in front of the text. */
function versioned(name: string): Codec {
  return {
    toBinary: (text) => Buffer.concat([Buffer.from([1]), Buffer.from(text, 'utf8')]),
    toText: (bytes) => {
      if (bytes[0] !== 1) throw invalidBinary(name);
      return decodeUtf8(bytes.subarray(1));
    },
  };
}

const byteaCodec: Codec = { toBinary: byteaToBinary, toText: (bytes) => `\\x${bytes.toString('hex')}` };

/** Both input forms: `\x…` and the older one with octal escapes. */
function byteaToBinary(text: string): Buffer {
  if (text.startsWith('\\x')) {
    const hex = text.slice(2).replace(/\s/g, '');
    const bytes = Buffer.from(hex, 'hex');
    if (bytes.length * 2 !== hex.length) throw invalidText('bytea', text);
    return bytes;
  }
  const source = Buffer.from(text, 'utf8');
  const bytes: number[] = [];
  for (let at = 0; at < source.length; at += 1) {
    const byte = source[at] as number;
    if (byte !== 92) {
      bytes.push(byte);
    } else if (source[at + 1] === 92) {
      bytes.push(92);
      at += 1;
    } else {
      const octal = source.toString('latin1', at + 1, at + 4);
      if (!/^[0-3][0-7][0-7]$/.test(octal)) throw invalidText('bytea', text);
      bytes.push(Number.parseInt(octal, 8));
      at += 3;
    }
  }
  return Buffer.from(bytes);
}

function parseFloat8(name: string, text: string): number {
  const value = parseFloatText(text);
  if (Number.isNaN(value) && text.toLowerCase() !== 'nan') throw invalidText(name, text);
  return value;
}

const float8Codec = fixed(
  'double precision',
  8,
  (text, to) => to.writeDoubleBE(parseFloat8('double precision', text)),
  (from) => formatFloat8(from.readDoubleBE()),
);

const bits: Codec = {
  toBinary: (text) => {
    if (!/^[01]*$/.test(text)) throw invalidText('bit', text);
    const binary = Buffer.alloc(4 + Math.ceil(text.length / 8));
    binary.writeInt32BE(text.length, 0);
    for (let index = 0; index < text.length; index += 1) {
      if (text[index] === '1') binary[4 + (index >> 3)] = (binary[4 + (index >> 3)] as number) | (128 >> (index & 7));
    }
    return binary;
  },
  toText: (bytes) => {
    const length = bytes.length < 4 ? -1 : bytes.readInt32BE(0);
    if (length < 0 || bytes.length !== 4 + Math.ceil(length / 8)) throw invalidBinary('bit');
    let text = '';
    for (let index = 0; index < length; index += 1) {
      text += ((bytes[4 + (index >> 3)] as number) & (128 >> (index & 7))) === 0 ? '0' : '1';
    }
    return text;
  },
};

const uuid = fixed(
  'uuid',
  16,
  (text, to) => {
    const hex = text.replaceAll('-', '');
    if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw invalidText('uuid', text);
    to.write(hex, 'hex');
  },
  (from) => {
    const hex = from.toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
);

const boolean = fixed(
  'boolean',
  1,
  (text, to) => {
    if (!/^(t|f|true|false)$/.test(text)) throw invalidText('boolean', text);
    to[0] = text.startsWith('t') ? 1 : 0;
  },
  (from) => (from[0] === 0 ? 'f' : 't'),
);

const date = fixed(
  'date',
  4,
  (text, to) => to.writeInt32BE(parseDate(text)),
  (from) => formatDate(from.readInt32BE()),
);
const time = fixed(
  'time',
  8,
  (text, to) => to.writeBigInt64BE(BigInt(parseTime(text))),
  (from) => formatTime(checkTime(from.readBigInt64BE())),
);

function timestamp(name: string, zone: '' | '+00'): Codec {
  return fixed(
    name,
    8,
    (text, to) => to.writeBigInt64BE(parseTimestamp(text)),
    (from) => formatTimestamp(from.readBigInt64BE(), zone),
  );
}

const timetz = fixed(
  'time with time zone',
  12,
  (text, to) => {
    const { microseconds, zone } = parseTimeWithZone(text);
    to.writeBigInt64BE(BigInt(microseconds));
    to.writeInt32BE(zone, 8);
  },
  (from) => formatTimeWithZone(checkTime(from.readBigInt64BE()), from.readInt32BE(8)),
);

const interval = fixed(
  'interval',
  16,
  (text, to) => {
    const value = parseInterval(text);
    to.writeBigInt64BE(value.microseconds);
    to.writeInt32BE(value.days, 8);
    to.writeInt32BE(value.months, 12);
  },
  (from) =>
    formatInterval({ microseconds: from.readBigInt64BE(), days: from.readInt32BE(8), months: from.readInt32BE(12) }),
);

/** Two decimals, as lc_monetary C and most others print it. */
const money = fixed(
  'money',
  8,
  (text, to) => {
    const found = /^(-?)\$?([\d,]+)\.(\d\d)$/.exec(text);
    if (found === null) throw invalidText('money', text);
    const cents = BigInt((found[2] as string).replaceAll(',', '') + found[3]);
    to.writeBigInt64BE(found[1] === '-' ? -cents : cents);
  },
  (from) => {
    const cents = from.readBigInt64BE();
    const size = (cents < 0n ? -cents : cents).toString().padStart(3, '0');
    const whole = size.slice(0, -2).replace(/\B(?=(\d{3})+$)/g, ',');
    return `${cents < 0n ? '-' : ''}$${whole}.${size.slice(-2)}`;
  },
);

const lsn = fixed(
  'pg_lsn',
  8,
  (text, to) => to.writeBigUInt64BE(parseLsn(text)),
  (from) => formatLsn(from.readBigUInt64BE()),
);

const tid = fixed(
  'tid',
  6,
  (text, to) => {
    const found = /^\((\d+),(\d+)\)$/.exec(text);
    if (found === null) throw invalidText('tid', text);
    to.writeUInt32BE(Number(found[1]), 0);
    to.writeUInt16BE(Number(found[2]), 4);
  },
  (from) => `(${from.readUInt32BE(0)},${from.readUInt16BE(4)})`,
);

/** `"char"`: one byte; bytes above 127 print as `\ooo`, zero as nothing. */
const char: Codec = {
  toBinary: (text) => {
    if (/^\\[0-3][0-7][0-7]$/.test(text)) return Buffer.from([Number.parseInt(text.slice(1), 8)]);
    const bytes = Buffer.from(text, 'utf8');
    return bytes.length === 0 ? Buffer.from([0]) : bytes.subarray(0, 1);
  },
  toText: (bytes) => {
    const byte = bytes[0];
    if (bytes.length !== 1 || byte === undefined) throw invalidBinary('"char"');
    if (byte === 0) return '';
    return byte < 128 ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  },
};

const FLOAT_TEXT = /[-+]?(?:Infinity|NaN|\d[\d.]*(?:e[-+]?\d+)?)/gi;

/** Geometric types of a fixed number of coordinates. */
function geometric(name: string, count: number, print: (coordinates: readonly string[]) => string): Codec {
  return fixed(
    name,
    count * 8,
    (text, to) => {
      const found = text.match(FLOAT_TEXT) ?? [];
      if (found.length !== count) throw invalidText(name, text);
      for (const [index, coordinate] of found.entries()) to.writeDoubleBE(parseFloatText(coordinate), index * 8);
    },
    (from) => print(Array.from({ length: count }, (_, index) => formatFloat8(from.readDoubleBE(index * 8)))),
  );
}

/** path and polygon: a count and so many points; a path also says whether it is closed. */
function points(name: string, hasClosed: boolean): Codec {
  const headerBytes = hasClosed ? 5 : 4;
  return {
    toBinary: (text) => {
      const found = text.match(FLOAT_TEXT) ?? [];
      const binary = Buffer.alloc(headerBytes + found.length * 8);
      if (hasClosed) binary[0] = text.startsWith('(') ? 1 : 0;
      binary.writeInt32BE(found.length / 2, headerBytes - 4);
      for (const [index, coordinate] of found.entries()) {
        binary.writeDoubleBE(parseFloatText(coordinate), headerBytes + index * 8);
      }
      return binary;
    },
    toText: (bytes) => {
      const count = bytes.length < headerBytes ? -1 : bytes.readInt32BE(headerBytes - 4);
      if (count < 1 || bytes.length !== headerBytes + count * 16) throw invalidBinary(name);
      const at = (index: number): string => formatFloat8(bytes.readDoubleBE(headerBytes + index * 8));
      const list = Array.from({ length: count }, (_, index) => `(${at(index * 2)},${at(index * 2 + 1)})`).join(',');
      return hasClosed && bytes[0] === 0 ? `[${list}]` : `(${list})`;
    },
  };
}

/** int2vector and oidvector: arrays in binary, plain lists in text. */
function vector(name: string, elementOid: number): Codec {
  return {
    toBinary: (text) => {
      const list = text === '' ? [] : text.split(' ');
      if (list.length === 0) {
        // Unlike an array, an empty vector has a dimension.
        return Buffer.concat([int4(1), int4(0), int4(elementOid), int4(0), int4(0)]);
      }
      return arrayToBinary(elementOid, `[0:${list.length - 1}]={${list.join(',')}}`, undefined);
    },
    toText: (bytes) => {
      const text = arrayFromBinary(elementOid, bytes, undefined);
      if (text.includes('NULL')) throw invalidBinary(name);
      return text.slice(text.indexOf('{') + 1, -1).replaceAll(',', ' ');
    },
  };
}

const empty: Codec = { toBinary: () => Buffer.alloc(0), toText: () => '' };

const codecs: ReadonlyMap<number, Codec> = new Map<number, Codec>([
  [OID.bool, boolean],
  [OID.bytea, byteaCodec],
  [OID.char, char],
  [OID.int2, integer('smallint', 2, true)],
  [OID.int4, integer('integer', 4, true)],
  [OID.int8, integer('bigint', 8, true)],
  [OID.oid, integer('oid', 4, false)],
  [OID.xid, integer('xid', 4, false)],
  [OID.cid, integer('cid', 4, false)],
  [OID.xid8, integer('xid8', 8, false)],
  [OID.tid, tid],
  [
    OID.float4,
    fixed(
      'real',
      4,
      (text, to) => to.writeFloatBE(parseFloat8('real', text)),
      (from) => formatFloat4(from.readFloatBE()),
    ),
  ],
  [OID.float8, float8Codec],
  [OID.numeric, { toBinary: numericToBinary, toText: numericFromBinary }],
  [OID.money, money],
  [OID.text, textCodec],
  [OID.varchar, textCodec],
  [OID.bpchar, textCodec],
  [OID.name, textCodec],
  [OID.unknown, textCodec],
  [OID.cstring, textCodec],
  [OID.refcursor, textCodec],
  [OID.json, textCodec],
  [OID.xml, textCodec],
  [OID.jsonb, versioned('jsonb')],
  [OID.jsonpath, versioned('jsonpath')],
  [OID.uuid, uuid],
  [OID.date, date],
  [OID.time, time],
  [OID.timetz, timetz],
  [OID.timestamp, timestamp('timestamp', '')],
  [OID.timestamptz, timestamp('timestamp with time zone', '+00')],
  [OID.interval, interval],
  [OID.inet, { toBinary: (text) => inetToBinary(text, false), toText: (bytes) => inetFromBinary(bytes, false) }],
  [OID.cidr, { toBinary: (text) => inetToBinary(text, true), toText: (bytes) => inetFromBinary(bytes, true) }],
  [OID.macaddr, { toBinary: (text) => macToBinary(text, 6), toText: (bytes) => macFromBinary(bytes, 6) }],
  [OID.macaddr8, { toBinary: (text) => macToBinary(text, 8), toText: (bytes) => macFromBinary(bytes, 8) }],
  [OID.bit, bits],
  [OID.varbit, bits],
  [OID.pgLsn, lsn],
  [OID.int2vector, vector('int2vector', OID.int2)],
  [OID.oidvector, vector('oidvector', OID.oid)],
  [OID.point, geometric('point', 2, ([x, y]) => `(${x},${y})`)],
  [OID.lseg, geometric('lseg', 4, ([a, b, c, d]) => `[(${a},${b}),(${c},${d})]`)],
  [OID.box, geometric('box', 4, ([a, b, c, d]) => `(${a},${b}),(${c},${d})`)],
  [OID.line, geometric('line', 3, ([a, b, c]) => `{${a},${b},${c}}`)],
  [OID.circle, geometric('circle', 3, ([x, y, r]) => `<(${x},${y}),${r}>`)],
  [OID.path, points('path', true)],
  [OID.polygon, points('polygon', false)],
  [OID.void, empty],
]);

function int4(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value, 0);
  return buffer;
}
