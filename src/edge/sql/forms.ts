// Between what lies in SQLite and what functions compute with: one form a type. Numbers are numbers (int8 a bigint, numeric a
// Num), dates are days and timestamps microseconds since 2000, intervals have their three parts; whatever has no entry is the
// text that Postgres prints.

import { OID } from '../../pg/oid.ts';
import { formatFloat4, formatFloat8, parseFloatText } from '../../pg/types/float.ts';
import { orderedTemporal, printedTemporal } from '../../pg/types/ordered-temporal.ts';
import {
  formatDate,
  formatInterval,
  formatTime,
  formatTimestamp,
  parseDate,
  parseInterval,
  parseTime,
  parseTimestamp,
  type Interval,
} from '../../pg/types/temporal.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import { formatNum, type Num, parseNum } from './decimal.ts';
import type { TypeFacts } from './types.ts';

type Decode = (raw: SqliteValue) => unknown;
type Encode = (value: never) => SqliteValue;

interface Form {
  readonly decode: Decode;
  readonly encode: Encode;
}

const asIs: Form = { decode: (raw) => raw, encode: (value: SqliteValue) => value };

function whole(min: number, max: number): Form {
  return {
    decode: (raw) => raw,
    encode: (value: number) => {
      if (!(Number.isInteger(value) && value >= min && value <= max)) throw new RangeError('integer out of range');
      return value + 0;
    },
  };
}

const MIN8 = -(2n ** 63n);
const MAX8 = 2n ** 63n - 1n;

const FORMS = new Map<number, Form>([
  [OID.bool, { decode: (raw) => raw === 1, encode: (value: boolean) => (value ? 1 : 0) }],
  [OID.int2, whole(-0x8000, 0x7fff)],
  [OID.int4, whole(-0x8000_0000, 0x7fff_ffff)],
  [OID.oid, whole(0, 0xffff_ffff)],
  [
    OID.int8,
    {
      decode: (raw) => BigInt(raw as string),
      encode: (value: bigint) => {
        if (value < MIN8 || value > MAX8) throw new RangeError('bigint out of range');
        return value;
      },
    },
  ],
  [
    OID.float8,
    {
      decode: (raw) => (raw === 'NaN' ? Number.NaN : raw),
      encode: (value: number) => (Number.isNaN(value) ? 'NaN' : value),
    },
  ],
  [
    OID.float4,
    {
      decode: (raw) => (raw === 'NaN' ? Number.NaN : raw),
      encode: (value: number) => (Number.isNaN(value) ? 'NaN' : Math.fround(value)),
    },
  ],
  [OID.numeric, { decode: (raw) => parseNum(raw as string), encode: (value: Num) => formatNum(value) }],
  [
    OID.date,
    {
      decode: (raw) => parseDate(printedTemporal(raw as string)),
      encode: (value: number) => orderedTemporal(formatDate(checkDate(value))),
    },
  ],
  [
    OID.timestamp,
    {
      decode: (raw) => parseTimestamp(printedTemporal(raw as string)),
      encode: (value: bigint) => orderedTemporal(formatTimestamp(checkTimestamp(value), '')),
    },
  ],
  [
    OID.timestamptz,
    {
      decode: (raw) => parseTimestamp(printedTemporal(raw as string)),
      encode: (value: bigint) => orderedTemporal(formatTimestamp(checkTimestamp(value), '+00')),
    },
  ],
  [OID.time, { decode: (raw) => parseTime(raw as string), encode: (value: number) => formatTime(value) }],
  [
    OID.interval,
    {
      decode: (raw) => parseInterval(raw as string),
      encode: (value: Interval) => formatInterval(checkInterval(value)),
    },
  ],
]);

export function decoderOf(typeOid: number): Decode {
  return (FORMS.get(typeOid) ?? asIs).decode;
}

export function encoderOf(typeOid: number): (value: unknown) => SqliteValue {
  return (FORMS.get(typeOid) ?? asIs).encode as (value: unknown) => SqliteValue;
}

export const DATE_INFINITY = 2 ** 31 - 1;
export const DATE_MINUS_INFINITY = -(2 ** 31);
export const TIMESTAMP_INFINITY = MAX8;
export const TIMESTAMP_MINUS_INFINITY = MIN8;
/** 4714-11-24 BC, and the first moment after 294276-12-31, in microseconds since 2000. */
const TIMESTAMP_MIN = -211_813_488_000_000_000n;
const TIMESTAMP_END = 9_223_371_331_200_000_000n;
/** 4714-11-24 BC, and 5874898-01-01, in days since 2000. */
const DATE_MIN = -2_451_545;
const DATE_END = 2_145_031_949;

export function checkTimestamp(value: bigint): bigint {
  if (value === TIMESTAMP_INFINITY || value === TIMESTAMP_MINUS_INFINITY) return value;
  if (value < TIMESTAMP_MIN || value >= TIMESTAMP_END) throw new RangeError('timestamp out of range');
  return value;
}

export function checkDate(value: number): number {
  if (value === DATE_INFINITY || value === DATE_MINUS_INFINITY) return value;
  if (!(value >= DATE_MIN && value < DATE_END)) throw new RangeError('date out of range');
  return value;
}

export function checkInterval(value: Interval): Interval {
  const isInt4 = (part: number): boolean => part >= -0x8000_0000 && part <= 0x7fff_ffff;
  if (!isInt4(value.days) || !isInt4(value.months) || value.microseconds < MIN8 || value.microseconds > MAX8) {
    throw new RangeError('interval out of range');
  }
  // From 17 on the ends are the infinities, before they are not.
  if (isEnd(value, MIN8, -0x8000_0000) || isEnd(value, MAX8, 0x7fff_ffff))
    throw new RangeError('interval out of range');
  return value;
}

function isEnd(value: Interval, microseconds: bigint, part: number): boolean {
  return value.microseconds === microseconds && value.days === part && value.months === part;
}

/** SQL that hands a stored value to a function that takes this type: what the driver would round goes as text. */
export function argumentSql(typeOid: number, sql: string): string {
  return typeOid === OID.int8 ? `CAST(${sql} AS TEXT)` : sql;
}

/** SQL of the text that Postgres prints (ISO, UTC, hex) for a stored value. */
export function printedSql(facts: TypeFacts, sql: string): string {
  switch (facts.family) {
    case 'integer':
    case 'oid':
      return `CAST(${sql} AS TEXT)`;
    case 'bool':
      return `CASE ${sql} WHEN 1 THEN 't' WHEN 0 THEN 'f' END`;
    default:
      return PRINTERS.has(facts.oid) ? `skerry_print(${facts.oid}, ${sql})` : sql;
  }
}

/** The inverse of `printedSql`. */
export function storedSql(facts: TypeFacts, sql: string): string {
  switch (facts.family) {
    case 'integer':
    case 'oid':
      return `CAST(${sql} AS INTEGER)`;
    case 'bool':
      return `CASE ${sql} WHEN 't' THEN 1 WHEN 'f' THEN 0 END`;
    default:
      return PRINTERS.has(facts.oid) ? `skerry_store(${facts.oid}, ${sql})` : sql;
  }
}

const temporal = {
  print: (raw: SqliteValue) => printedTemporal(raw as string),
  store: (text: string) => orderedTemporal(text),
};

const PRINTERS = new Map<number, { print: (raw: SqliteValue) => string; store: (text: string) => SqliteValue }>([
  [OID.date, temporal],
  [OID.timestamp, temporal],
  [OID.timestamptz, temporal],
  [
    OID.float8,
    {
      print: (raw) => (typeof raw === 'string' ? raw : formatFloat8(raw as number)),
      store: (text) => floatOf(parseFloatText(text)),
    },
  ],
  [
    OID.float4,
    {
      print: (raw) => (typeof raw === 'string' ? raw : formatFloat4(Math.fround(raw as number))),
      store: (text) => floatOf(Math.fround(parseFloatText(text))),
    },
  ],
  [
    OID.bytea,
    {
      print: (raw) => `\\x${Buffer.from(raw as Uint8Array).toString('hex')}`,
      store: (text) => Buffer.from(text.slice(2), 'hex'),
    },
  ],
]);

function floatOf(value: number): SqliteValue {
  return Number.isNaN(value) ? 'NaN' : value;
}

/** What Postgres prints for a stored value, for the types that `printedSql` calls this for. */
export function print(typeOid: number, raw: SqliteValue): string {
  return (PRINTERS.get(typeOid) as { print: (raw: SqliteValue) => string }).print(raw);
}

export function store(typeOid: number, text: string): SqliteValue {
  return (PRINTERS.get(typeOid) as { store: (text: string) => SqliteValue }).store(text);
}

/** Stored form of any value from its printed text. */
export function storeText(typeOid: number, text: string): SqliteValue {
  if (PRINTERS.has(typeOid)) return store(typeOid, text);
  switch (typeOid) {
    case OID.bool:
      return text === 't' ? 1 : 0;
    case OID.int2:
    case OID.int4:
    case OID.oid:
      return Number(text);
    case OID.int8:
      return BigInt(text);
    default:
      return text;
  }
}
