// Aggregates as functions of SQLite.

import { formatArray, parseArray } from '../../pg/types/array.ts';
import type { Sqlite, SqliteValue } from '../../replica/sqlite.ts';
import { formatNum, parseNum } from './decimal.ts';
import { add, type Decimal, divide, multiply, subtract } from './numeric.ts';
import { sqrtAt } from './roots.ts';

interface Powers {
  count: bigint;
  sum: Decimal;
  squares: Decimal;
  isNan: boolean;
}

const ZERO: Decimal = { digits: 0n, scale: 0 };

/** numeric_stddev_internal(). */
function spread({ count, sum, squares, isNan }: Powers, isSample: boolean, isRoot: boolean): string | null {
  if (count === 0n || (isSample && count === 1n)) return null;
  if (isNan) return 'NaN';
  const n: Decimal = { digits: count, scale: 0 };
  const above = subtract(multiply(n, squares), multiply(sum, sum));
  // What rounding could make negative is zero.
  if (above.digits <= 0n) return '0';
  const below: Decimal = { digits: isSample ? count * (count - 1n) : count * count, scale: 0 };
  const variance = divide(above, below);
  return formatNum(isRoot ? sqrtAt(variance, variance.scale) : variance);
}

export function registerAggregates(sqlite: Sqlite): void {
  sqlite.aggregate<(string | null)[] | null>('skerry_array_agg', {
    start: () => null,
    step: (state, value) => {
      const all = state ?? [];
      all.push(value as string | null);
      return all;
    },
    result: (state) =>
      state === null ? null : formatArray({ dimensions: [{ length: state.length, lowerBound: 1 }], elements: state }),
  });
  sqlite.function('skerry_join', (array, by) =>
    array === null ? null : parseArray(array as string).elements.join((by as string | null) ?? ''),
  );
  for (const [name, isSample, isRoot] of SPREADS) {
    sqlite.aggregate<Powers>(`skerry_${name}`, {
      start: () => ({ count: 0n, sum: ZERO, squares: ZERO, isNan: false }),
      step: (state, text) => {
        if (text === null) return state;
        state.count += 1n;
        const value = parseNum(text as string);
        if (typeof value === 'string') {
          state.isNan = true;
          return state;
        }
        state.sum = add(state.sum, value);
        state.squares = add(state.squares, multiply(value, value));
        return state;
      },
      result: (state) => spread(state, isSample, isRoot),
    });
  }
  for (const [name, join] of BITS) {
    sqlite.aggregate<bigint | null>(`skerry_${name}`, {
      start: () => null,
      step: (state, value: SqliteValue) => {
        if (value === null) return state;
        return state === null ? BigInt(value as string) : join(state, BigInt(value as string));
      },
      result: (state) => state,
    });
  }
}

const SPREADS: readonly (readonly [name: string, isSample: boolean, isRoot: boolean])[] = [
  ['variance', true, false],
  ['var_samp', true, false],
  ['var_pop', false, false],
  ['stddev', true, true],
  ['stddev_samp', true, true],
  ['stddev_pop', false, true],
];

const BITS: readonly (readonly [name: string, join: (a: bigint, b: bigint) => bigint])[] = [
  ['bit_and', (a, b) => a & b],
  ['bit_or', (a, b) => a | b],
  ['bit_xor', (a, b) => a ^ b],
];
