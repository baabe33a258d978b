// Functions that plans call and SQLite does not have. Each connection that runs plans must have them: `registerFunctions`.
// A function that throws makes the statement fail in SQLite, and so be forwarded.

import { OID } from '../../pg/oid.ts';
import { parseArray } from '../../pg/types/array.ts';
import { numericKey } from '../../pg/types/numeric-key.ts';
import type { Sqlite, SqliteValue } from '../../replica/sqlite.ts';
import { registerAggregates } from './aggregate-functions.ts';
import { readInput } from './bind.ts';
import { registerJson } from './json-functions.ts';
import {
  addNum,
  divideNum,
  fitNum,
  formatNum,
  multiplyNum,
  type Num,
  parseNum,
  remainderNum,
  subtractNum,
} from './decimal.ts';
import { decoderOf, encoderOf, print, store, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY } from './forms.ts';
import { valueKey } from './keys.ts';
import { arrayOfElements, arraySlice, subscript } from './proofs/arrays.ts';
import { registerProofs } from './proofs/index.ts';
import { add, type Decimal, subtract } from './numeric.ts';
/** Makes them callable on this connection. Numbers come and go as texts: numerics as Postgres prints them. */
export function registerFunctions(sqlite: Sqlite): void {
  sqlite.function('skerry_key', (text) => (text === null ? null : numericKey(text as string)));
  for (const [name, compute] of OPERATIONS) {
    sqlite.function(name, (a, b) => {
      if (a === null || b === null) return null;
      return formatNum(compute(parseNum(a as string), parseNum(b as string)));
    });
  }
  for (const name of ['lower', 'upper'] as const) {
    sqlite.function(`skerry_${name}`, (text) => {
      if (text === null) return null;
      if (!ASCII.test(text as string)) throw new RangeError('letters that change case by a locale');
      return name === 'lower' ? (text as string).toLowerCase() : (text as string).toUpperCase();
    });
  }
  sqlite.function('skerry_print', (typeOid, raw) => (raw === null ? null : print(typeOid as number, raw)));
  sqlite.function('skerry_store', (typeOid, text) => (text === null ? null : store(typeOid as number, text as string)));
  sqlite.function('skerry_value_key', (kind, text) =>
    text === null ? null : valueKey(kind as string, text as string),
  );
  registerProofs(sqlite);
  registerJson(sqlite);
  registerAggregates(sqlite);
  sqlite.function('skerry_read', (typeOid, text) =>
    text === null ? null : readInput(typeOid as number, text as string),
  );
  sqlite.function('skerry_fit', (text, precision, scale) =>
    text === null ? null : formatNum(fitNum(parseNum(text as string), precision as number, scale as number)),
  );
  sqlite.function('skerry_pad', (text, length) => (text === null ? null : padded(text as string, length as number)));
  sqlite.function('skerry_round_time', (typeOid, stored, digits) =>
    stored === null ? null : roundedTime(typeOid as number, stored as string, digits as number),
  );
  sqlite.function('skerry_extreme', (op, ...pairs) => extreme(op === 'greatest' ? 1 : -1, pairs));
  sqlite.function('skerry_array', (...elements) => arrayOfElements(elements as (string | null)[]));
  sqlite.function('skerry_subscript', (array, ...subscripts) =>
    array === null || subscripts.includes(null) ? null : subscript(array as string, subscripts as number[]),
  );
  sqlite.function('skerry_slice', (array, from, to) => {
    if (array === null || from === null || to === null) return null;
    return arraySlice(array as string, from === '-' ? null : (from as number), to === '-' ? null : (to as number));
  });
  sqlite.function('skerry_has', (array, element) => {
    if (array === null) return null;
    const { elements } = parseArray(array as string);
    // Over an empty array = ANY is false, whatever is looked for.
    if (elements.length === 0) return 0;
    if (element === null) return null;
    if (elements.includes(element as string)) return 1;
    return elements.includes(null) ? null : 0;
  });
  sqlite.function('skerry_series', (from, to, step = 1) => series(from, to, step));
  sqlite.function('skerry_scaled', (whole, scale) => (whole === null ? null : unscaled(String(whole), Number(scale))));
  sqlite.aggregate<Sum>('skerry_sum', {
    start: () => ({ count: 0, special: { NaN: 0, Infinity: 0, '-Infinity': 0 }, sum: null }),
    step: (state, text) => {
      if (text === null) return state;
      state.count += 1;
      const value = parseNum(text as string);
      if (typeof value === 'string') state.special[value] += 1;
      else state.sum = state.sum === null ? value : add(state.sum, value);
      return state;
    },
    // A row leaves a window. The scale stays: where that would show, the planner does not come here.
    inverse: (state, text) => {
      if (text === null) return state;
      state.count -= 1;
      const value = parseNum(text as string);
      if (typeof value === 'string') state.special[value] -= 1;
      else state.sum = subtract(state.sum as Decimal, value);
      return state;
    },
    result: ({ count, special, sum }) => {
      if (count === 0) return null;
      const { Infinity: up, '-Infinity': down } = special;
      if (special.NaN > 0 || (up > 0 && down > 0)) return 'NaN';
      return up > 0 ? 'Infinity' : down > 0 ? '-Infinity' : formatNum(sum as Decimal);
    },
  });
  for (const [name, sign] of [
    ['skerry_min', -1],
    ['skerry_max', 1],
  ] as const) {
    sqlite.aggregate<Extreme | null>(name, {
      start: () => null,
      step: (best, text) => {
        if (text === null) return best;
        const key = Buffer.from(numericKey(text as string));
        return best === null || Buffer.compare(key, best.key) * sign > 0 ? { text, key } : best;
      },
      result: (best) => (best === null ? null : best.text),
    });
  }
}

/** GREATEST and LEAST over pairs of value and key; NULLs are passed over, and of equal ones the first is taken. */
function extreme(sign: number, pairs: readonly SqliteValue[]): SqliteValue {
  let best: SqliteValue = null;
  let bestKey: SqliteValue = null;
  for (let at = 0; at < pairs.length; at += 2) {
    const key = pairs[at + 1] ?? null;
    if (key === null || (bestKey !== null && compareKeys(key, bestKey) * sign <= 0)) continue;
    best = pairs[at] ?? null;
    bestKey = key;
  }
  return best;
}

/** As SQLite compares: numbers before texts before bytes. */
function compareKeys(a: SqliteValue, b: SqliteValue): number {
  const rank = (key: SqliteValue): number => (typeof key === 'number' ? 0 : typeof key === 'string' ? 1 : 2);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === 'number') return a - (b as number);
  return Buffer.compare(Buffer.from(a as string), Buffer.from(b as string));
}

/** char(n): cut or filled up with blanks. */
function padded(text: string, length: number): string {
  const chars = Array.from(text);
  return chars.length >= length ? chars.slice(0, length).join('') : text + ' '.repeat(length - chars.length);
}

/** timestamp(n) and time(n): rounded to so many digits, halves away from zero. */
function roundedTime(typeOid: number, stored: string, digits: number): SqliteValue {
  if (digits >= 6) return stored;
  if (typeOid === OID.time) {
    const unit = 10 ** (6 - digits);
    return encoderOf(typeOid)(Math.floor(((decoderOf(typeOid)(stored) as number) + unit / 2) / unit) * unit);
  }
  const micros = decoderOf(typeOid)(stored) as bigint;
  if (micros === TIMESTAMP_INFINITY || micros === TIMESTAMP_MINUS_INFINITY) return stored;
  const unit = 10n ** BigInt(6 - digits);
  const size = ((micros < 0n ? -micros : micros) + unit / 2n) / unit;
  return encoderOf(typeOid)((micros < 0n ? -size : size) * unit);
}

const ASCII = /^[\x00-\x7f]*$/;

interface Sum {
  /** Values but NULL. */
  count: number;
  /** Those that are no numbers. */
  readonly special: Record<'NaN' | 'Infinity' | '-Infinity', number>;
  /** Of the others. */
  sum: Decimal | null;
}

interface Extreme {
  readonly text: SqliteValue;
  readonly key: Buffer;
}

const OPERATIONS: readonly (readonly [string, (a: Num, b: Num) => Num])[] = [
  ['skerry_add', addNum],
  ['skerry_subtract', subtractNum],
  ['skerry_multiply', multiplyNum],
  ['skerry_divide', divideNum],
  ['skerry_remainder', remainderNum],
];

/** `whole / 10^scale` as Postgres prints a numeric of that scale. */
function unscaled(whole: string, scale: number): string {
  if (scale === 0) return whole;
  const sign = whole.startsWith('-') ? '-' : '';
  const digits = whole.slice(sign.length).padStart(scale + 1, '0');
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Numbers that generate_series gives here at most. */
const SERIES_COUNT_MAX = 100_000;

/** generate_series as a JSON array. Throws when it is too long, or has no end. */
function series(from: SqliteValue, to: SqliteValue, step: SqliteValue): string {
  if (from === null || to === null || step === null) return '[]';
  const [first, last, by] = [Number(from), Number(to), Number(step)];
  if (![first, last, by].every(Number.isSafeInteger)) throw new RangeError('numbers that are not exact here');
  if (by === 0) throw new RangeError('a step of 0');
  const count = Math.floor((last - first) / by) + 1;
  if (count > SERIES_COUNT_MAX) throw new RangeError('a series that is too long');
  return JSON.stringify(Array.from({ length: Math.max(0, count) }, (_, index) => first + index * by));
}
