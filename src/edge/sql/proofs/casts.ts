// Casts. Those between a type and its own text are made by the readers and writers of all types (casts.ts).

import { roundTo } from '../../../pg/types/float.ts';
import type { Interval } from '../../../pg/types/temporal.ts';
import { formatNum, type Num, parseNum, wholeOf } from '../decimal.ts';
import { DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY } from '../forms.ts';
import { formatJson, isJsonNumber, parseJson, printedNumber } from '../json-text.ts';
import { NEED_TIMEZONE_UTC } from '../plan.ts';
import type { Family, Proof } from './proof.ts';

export const DAY_US = 86_400_000_000n;

/** Halves to even, as rint(). */
function halfEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function integerOfFloat(value: number): number {
  if (!Number.isFinite(value)) throw new RangeError('integer out of range');
  return halfEven(value) + 0;
}

function bigOfFloat(value: number): bigint {
  const whole = integerOfFloat(value);
  return BigInt(whole);
}

/** From the digits of a numeric. What strtod() would call too large or too small is left to the core. */
export function floatOfNum(num: Num): number {
  if (typeof num === 'string') return Number(num);
  const value = Number(formatNum(num));
  if (!Number.isFinite(value) || (num.digits !== 0n && Math.abs(value) < 2.2250738585072014e-308))
    throw new RangeError('out of range');
  return value;
}

function float4OfNum(num: Num): number {
  if (typeof num === 'string') return Number(num);
  const double = floatOfNum(num);
  return narrowed(double, true);
}

/** A double as float4; `fromText`: rounded once by strtof(), where rounding twice may differ. */
function narrowed(double: number, fromText: boolean): number {
  const value = Math.fround(double);
  if (!Number.isFinite(value) && Number.isFinite(double)) throw new RangeError('value out of range: overflow');
  if (value === 0 && double !== 0) throw new RangeError('value out of range: underflow');
  if (!fromText || !Number.isFinite(double)) return value;
  if (double !== 0 && Math.abs(value) < 1.1754943508222875e-38) throw new RangeError('a denormal');
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, double);
  if ((bits.getUint32(4) & 0x1fff_ffff) === 0x1000_0000) throw new RangeError('between two float4');
  return value;
}

function numOfFloat(value: number, digits: number): Num {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  // %.15g drops the zeros at the end.
  const [mantissa, exponent = '0'] = roundTo(Math.abs(value), digits).split('e') as [string, string?];
  const trimmed = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  return parseNum(printedNumber(`${value < 0 ? '-' : ''}${trimmed}e${exponent}`));
}

function jsonScalar(text: string): unknown {
  const json = parseJson(text);
  if (json === null) return null;
  if (typeof json === 'boolean') return json;
  if (typeof json === 'object' && isJsonNumber(json)) return parseNum(json.number);
  throw new RangeError('cannot cast jsonb');
}

function jsonNum(text: string): Num | null {
  const value = jsonScalar(text);
  // Before 18 null was an error.
  if (value === null) throw new RangeError('a jsonb null');
  if (typeof value === 'boolean') throw new RangeError('cannot cast jsonb boolean');
  return value as Num;
}

export function timestampOfDate(days: number): bigint {
  if (days === DATE_INFINITY) return TIMESTAMP_INFINITY;
  if (days === DATE_MINUS_INFINITY) return TIMESTAMP_MINUS_INFINITY;
  return BigInt(days) * DAY_US;
}

export function dayOf(micros: bigint): bigint {
  const time = ((micros % DAY_US) + DAY_US) % DAY_US;
  return (micros - time) / DAY_US;
}

export function dateOfTimestamp(micros: bigint): number {
  if (micros === TIMESTAMP_INFINITY) return DATE_INFINITY;
  if (micros === TIMESTAMP_MINUS_INFINITY) return DATE_MINUS_INFINITY;
  return Number(dayOf(micros));
}

export function timeOfTimestamp(micros: bigint): number | null {
  if (micros === TIMESTAMP_INFINITY || micros === TIMESTAMP_MINUS_INFINITY) return null;
  return Number(((micros % DAY_US) + DAY_US) % DAY_US);
}

const whole: readonly Proof[] = (['int2', 'int4', 'int8'] as const).flatMap((type): Proof[] => {
  const make = type === 'int8' ? (value: bigint) => value : (value: bigint) => Number(value);
  return [
    { of: `numeric::${type}`, js: (value: Num) => make(wholeOf(value)), raises: true },
    { of: `float8::${type}`, js: (value: number) => make(bigOfFloat(value)), raises: true },
    { of: `float4::${type}`, js: (value: number) => make(bigOfFloat(value)), raises: true },
    { of: `jsonb::${type}`, js: (text: string) => make(wholeOf(jsonNum(text) as Num)), raises: true },
    { of: `${type}::float8`, sql: (a) => `CAST(${a} AS REAL)` },
    { of: `${type}::float4`, js: (value: number | bigint) => Number(value) },
  ];
});

export const CASTS: Family = {
  title: 'Casts',
  rows: [
    ...whole.filter((row) => row.of !== 'int8::float4'),
    { of: 'int4::int2', js: (value: number) => value, raises: true },
    { of: 'int8::int4', js: (value: bigint) => Number(value), raises: true },
    { of: 'int8::int2', js: (value: bigint) => Number(value), raises: true },
    { of: 'numeric::float8', js: floatOfNum, raises: true },
    { of: 'numeric::float4', js: float4OfNum, raises: true },
    { of: 'float8::numeric', js: (value: number) => numOfFloat(value, 15) },
    { of: 'float4::numeric', js: (value: number) => numOfFloat(value, 6) },
    { of: 'float4::float8', js: (value: number) => value, isTotal: true },
    { of: 'float8::float4', js: (value: number) => narrowed(value, false), raises: true },
    { of: 'jsonb::numeric', js: jsonNum, raises: true },
    { of: 'jsonb::float8', js: (text: string) => floatOfNum(jsonNum(text) as Num), raises: true },
    {
      of: 'jsonb::bool',
      js: (text: string) => {
        const value = jsonScalar(text);
        if (typeof value !== 'boolean') throw new RangeError('cannot cast jsonb');
        return value;
      },
      raises: true,
    },
    { of: 'json::jsonb', js: (text: string) => formatJson(parseJson(text)), raises: true },
    { of: 'jsonb::json', sql: (a) => a },
    { of: 'bpchar::text', sql: (a) => `rtrim(${a}, ' ')` },
    { of: 'bpchar::varchar', sql: (a) => `rtrim(${a}, ' ')` },
    { of: 'name::text', sql: (a) => a },
    { of: 'name::varchar', sql: (a) => a },
    { of: 'bool::text', sql: (a) => `CASE ${a} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END` },
    { of: 'bool::varchar', sql: (a) => `CASE ${a} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END` },
    { of: 'varbit::bit', sql: (a) => a },
    { of: 'bit::varbit', sql: (a) => a },
    { of: 'inet::text', js: withMask, isTotal: true },
    { of: 'cidr::text', js: withMask, isTotal: true },
    {
      of: 'cidr::inet',
      js: (text: string) => (text.includes(':') ? text.replace(/\/128$/, '') : text.replace(/\/32$/, '')),
      isTotal: true,
    },
    { of: 'date::timestamp', js: timestampOfDate, raises: true },
    { of: 'date::timestamptz', js: timestampOfDate, raises: true, needs: NEED_TIMEZONE_UTC },
    { of: 'timestamp::date', js: dateOfTimestamp, isTotal: true },
    { of: 'timestamptz::date', js: dateOfTimestamp, isTotal: true, needs: NEED_TIMEZONE_UTC },
    { of: 'timestamp::timestamptz', js: (micros: bigint) => micros, isTotal: true, needs: NEED_TIMEZONE_UTC },
    { of: 'timestamptz::timestamp', js: (micros: bigint) => micros, isTotal: true, needs: NEED_TIMEZONE_UTC },
    { of: 'timestamp::time', js: timeOfTimestamp, isTotal: true },
    { of: 'timestamptz::time', js: timeOfTimestamp, isTotal: true, needs: NEED_TIMEZONE_UTC },
    {
      of: 'time::interval',
      js: (time: number): Interval => ({ months: 0, days: 0, microseconds: BigInt(time) }),
      isTotal: true,
    },
    {
      of: 'interval::time',
      js: ({ microseconds }: Interval) => {
        if (microseconds === TIMESTAMP_INFINITY || microseconds === TIMESTAMP_MINUS_INFINITY)
          throw new RangeError('infinite');
        return Number(((microseconds % DAY_US) + DAY_US) % DAY_US);
      },
    },
  ],
};

function withMask(text: string): string {
  return text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`;
}
