// Functions that plans call and SQLite does not have. Each connection that runs plans must have them: `registerFunctions`.
// A function that throws makes the statement fail in SQLite, and so be forwarded.

import { parseArray } from '../../pg/types/array.ts';
import { numericKey } from '../../pg/types/numeric-key.ts';
import type { Sqlite, SqliteValue } from '../../replica/sqlite.ts';
import { extractField, truncateTo } from './calendar.ts';
import { jsonElement, jsonMember, jsonText } from './json-path.ts';
import {
  add,
  ceiling,
  type Decimal,
  divide,
  floor,
  formatDecimal,
  multiply,
  parseDecimal,
  remainder,
  round,
  subtract,
  truncate,
} from './numeric.ts';

/** What any arithmetic with it gives. */
const NAN = 'NaN';

/** Makes them callable on this connection. Numbers come and go as texts: numerics as Postgres prints them. */
export function registerFunctions(sqlite: Sqlite): void {
  sqlite.function('skerry_key', (text) => (text === null ? null : numericKey(text as string)));
  for (const [name, compute] of OPERATIONS) {
    sqlite.function(name, (a, b) => {
      if (a === null || b === null) return null;
      if (a === NAN || b === NAN) return NAN;
      return formatDecimal(compute(parseDecimal(a as string), parseDecimal(b as string)));
    });
  }
  for (const [name, compute] of ROUNDINGS) {
    sqlite.function(name, (a, scale) => {
      if (a === null || scale === null) return null;
      if (a === NAN) return NAN;
      return formatDecimal(compute(parseDecimal(a as string), Number(scale)));
    });
  }
  for (const name of ['lower', 'upper'] as const) {
    sqlite.function(`skerry_${name}`, (text) => {
      if (text === null) return null;
      if (!ASCII.test(text as string)) throw new RangeError('letters that change case by a locale');
      return name === 'lower' ? (text as string).toLowerCase() : (text as string).toUpperCase();
    });
  }
  sqlite.function('skerry_extract', (field, stored) =>
    stored === null ? null : extractField(field as string, stored as string),
  );
  sqlite.function('skerry_truncate_to', (field, stored) =>
    stored === null ? null : truncateTo(field as string, stored as string),
  );
  sqlite.function('skerry_has', (array, element) => {
    if (array === null) return null;
    const { elements } = parseArray(array as string);
    // Over an empty array = ANY is false, whatever is looked for.
    if (elements.length === 0) return 0;
    if (element === null) return null;
    if (elements.includes(element as string)) return 1;
    return elements.includes(null) ? null : 0;
  });
  sqlite.function('skerry_json_member', (json, key) =>
    json === null || key === null ? null : jsonMember(json as string, key as string),
  );
  sqlite.function('skerry_json_element', (json, index) =>
    json === null || index === null ? null : jsonElement(json as string, Number(index)),
  );
  sqlite.function('skerry_json_text', (part) => (part === null ? null : jsonText(part as string)));
  sqlite.aggregate<Sum>('skerry_sum', {
    start: () => ({ count: 0, nans: 0, sum: null }),
    step: (state, text) => {
      if (text === null) return state;
      state.count += 1;
      if (text === NAN) state.nans += 1;
      else {
        const value = parseDecimal(text as string);
        state.sum = state.sum === null ? value : add(state.sum, value);
      }
      return state;
    },
    // A row leaves a window. The scale stays: where that would show, the planner does not come here.
    inverse: (state, text) => {
      if (text === null) return state;
      state.count -= 1;
      if (text === NAN) state.nans -= 1;
      else state.sum = subtract(state.sum as Decimal, parseDecimal(text as string));
      return state;
    },
    result: ({ count, nans, sum }) => (count === 0 ? null : nans > 0 ? NAN : formatDecimal(sum as Decimal)),
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

const ASCII = /^[\x00-\x7f]*$/;

interface Sum {
  /** Values but NULL, and how many of them are NaN. */
  count: number;
  nans: number;
  /** Of the others. */
  sum: Decimal | null;
}

interface Extreme {
  readonly text: SqliteValue;
  readonly key: Buffer;
}

const OPERATIONS: readonly (readonly [string, (a: Decimal, b: Decimal) => Decimal])[] = [
  ['skerry_add', add],
  ['skerry_subtract', subtract],
  ['skerry_multiply', multiply],
  ['skerry_divide', divide],
  ['skerry_remainder', remainder],
];

const ROUNDINGS: readonly (readonly [string, (a: Decimal, scale: number) => Decimal])[] = [
  ['skerry_round', round],
  ['skerry_truncate', truncate],
  ['skerry_floor', (a) => floor(a)],
  ['skerry_ceiling', (a) => ceiling(a)],
];
