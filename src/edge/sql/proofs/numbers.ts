// Functions and operators of integers, numerics and floats. Those of + - * / % on integers and numerics are in arithmetic.ts.

import type { Decimal } from '../numeric.ts';
import { ceiling, floor } from '../numeric.ts';
import { negateNum, type Num, remainderNum, roundNum, signOf, truncateNum, wholeQuotient } from '../decimal.ts';
import { sqrtDecimal } from '../roots.ts';
import { formatNumberAs, isOtherPattern } from './number-formats.ts';
import type { Family, Proof } from './proof.ts';

const identity = (value: unknown): unknown => value;

function finite(num: Num, then: (decimal: Decimal) => Num): Num {
  return typeof num === 'string' ? num : then(num);
}

function absNum(num: Num): Num {
  return signOf(num) === -1 ? negateNum(num) : num;
}

function signNum(num: Num): Num {
  const sign = signOf(num);
  return sign === 2 ? 'NaN' : { digits: BigInt(sign), scale: 0 };
}

/** Digits after the point without the zeros at the end. */
function minScale({ digits, scale }: Decimal): number {
  let left = scale;
  let rest = digits;
  while (left > 0 && rest % 10n === 0n) {
    rest /= 10n;
    left -= 1;
  }
  return left;
}

function sqrtNum(num: Num): Num {
  if (typeof num === 'string' ? num === '-Infinity' : num.digits < 0n) {
    throw new RangeError('cannot take square root of a negative number');
  }
  return typeof num === 'string' ? num : sqrtDecimal(num);
}

function factorial(value: bigint): Num {
  if (value < 0n || value > 500n) throw new RangeError('left to the core');
  let product = 1n;
  for (let factor = 2n; factor <= value; factor += 1n) product *= factor;
  return { digits: product, scale: 0 };
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

function lcm(a: bigint, b: bigint): bigint {
  if (a === 0n || b === 0n) return 0n;
  const product = (a / gcd(a, b)) * b;
  return product < 0n ? -product : product;
}

/** Checks of float.h: overflow, underflow. */
function floatResult(result: number, isFromInfinite: boolean, isFromZero: boolean): number {
  if (!Number.isFinite(result) && !Number.isNaN(result) && !isFromInfinite)
    throw new RangeError('value out of range: overflow');
  if (result === 0 && !isFromZero) throw new RangeError('value out of range: underflow');
  return result;
}

const isInfinite = (value: number): boolean => value === Infinity || value === -Infinity;

function floatArithmetic(
  round: (value: number) => number,
): Record<'+' | '-' | '*' | '/', (a: number, b: number) => number> {
  return {
    '+': (a, b) => floatResult(round(a + b), isInfinite(a) || isInfinite(b), true),
    '-': (a, b) => floatResult(round(a - b), isInfinite(a) || isInfinite(b), true),
    '*': (a, b) => floatResult(round(a * b), isInfinite(a) || isInfinite(b), a === 0 || b === 0),
    '/': (a, b) => {
      if (b === 0 && !Number.isNaN(a)) throw new RangeError('division by zero');
      return floatResult(round(a / b), isInfinite(a), a === 0 || isInfinite(b));
    },
  };
}

/** Halves to even, as rint(). */
function roundEven(value: number): number {
  const rounded = Math.round(value);
  const isHalf = Math.abs(value % 1) === 0.5;
  const even = isHalf && rounded % 2 !== 0 ? rounded - 1 : rounded;
  return even === 0 && (value < 0 || Object.is(value, -0)) ? -0 : even;
}

const RADIANS_PER_DEGREE = 0.017_453_292_519_943_295;

const divisor = (constants: readonly (string | null)[]): boolean => !/[1-9]/.test(constants[1] ?? '');

const integers: readonly Proof[] = ([16, 32, 64] as const).flatMap((bits): Proof[] => {
  const type = `int${bits / 8}`;
  const wrap =
    bits === 64 ? (value: bigint) => BigInt.asIntN(64, value) : (value: bigint) => Number(BigInt.asIntN(bits, value));
  const big = (value: number | bigint): bigint => BigInt(value);
  const shift = (count: number): bigint => {
    // What C makes of other counts is not written anywhere.
    if (count < 0 || count >= Math.max(bits, 32)) throw new RangeError('a shift that is left to the core');
    return BigInt(count);
  };
  const exact = bits === 64 ? (value: bigint) => value : (value: bigint) => Number(value);
  return [
    { of: `${type} & ${type}`, sql: (a, b) => `(${a} & ${b})` },
    { of: `${type} | ${type}`, sql: (a, b) => `(${a} | ${b})` },
    { of: `${type} # ${type}`, js: (a: number | bigint, b: number | bigint) => wrap(big(a) ^ big(b)), isTotal: true },
    { of: `~ ${type}`, sql: (a) => `(~ ${a})` },
    { of: `${type} << int4`, js: (a: number | bigint, count: number) => wrap(big(a) << shift(count)) },
    { of: `${type} >> int4`, js: (a: number | bigint, count: number) => wrap(big(a) >> shift(count)) },
    { of: `abs(${type})`, js: (a: number | bigint) => exact(big(a) < 0n ? -big(a) : big(a)), raises: true },
    { of: `@ ${type}`, js: (a: number | bigint) => exact(big(a) < 0n ? -big(a) : big(a)), raises: true },
    {
      of: `mod(${type},${type})`,
      js: (a: number | bigint, b: number | bigint) => {
        if (big(b) === 0n) throw new RangeError('division by zero');
        return exact(big(a) % big(b));
      },
      raises: divisor,
    },
    ...(bits === 16
      ? []
      : ([
          {
            of: `gcd(${type},${type})`,
            js: (a: number | bigint, b: number | bigint) => exact(gcd(big(a), big(b))),
            raises: true,
          },
          {
            of: `lcm(${type},${type})`,
            js: (a: number | bigint, b: number | bigint) => exact(lcm(big(a), big(b))),
            raises: true,
          },
        ] as const)),
  ];
});

const floats: readonly Proof[] = (['float4', 'float8'] as const).flatMap((type): Proof[] => {
  const operations = floatArithmetic(type === 'float4' ? Math.fround : (value) => value);
  return [
    ...(['+', '-', '*', '/'] as const).map((name) => ({
      of: `${type} ${name} ${type}`,
      js: operations[name],
      raises: true,
    })),
    { of: `- ${type}`, js: (a: number) => -a, isTotal: true },
    { of: `+ ${type}`, js: identity, isTotal: true },
    { of: `@ ${type}`, js: Math.abs, isTotal: true },
    { of: `abs(${type})`, js: Math.abs, isTotal: true },
  ];
});

/** float4 meets float8 as float8. */
const mixed: readonly Proof[] = [
  ['float4', 'float8'],
  ['float8', 'float4'],
].flatMap(([a, b]) =>
  (['+', '-', '*', '/'] as const).map((name) => ({
    of: `${a} ${name} ${b}`,
    js: floatArithmetic((value) => value)[name],
    raises: true,
  })),
);

export const NUMBERS: Family = {
  title: 'Numbers',
  rows: [
    ...integers,
    { of: 'round(numeric)', js: (a: Num) => roundNum(a, 0) },
    { of: 'round(numeric,int4)', js: roundNum },
    { of: 'trunc(numeric)', js: (a: Num) => truncateNum(a, 0) },
    { of: 'trunc(numeric,int4)', js: truncateNum },
    { of: 'floor(numeric)', js: (a: Num) => finite(a, floor) },
    { of: 'ceil(numeric)', js: (a: Num) => finite(a, ceiling) },
    { of: 'ceiling(numeric)', js: (a: Num) => finite(a, ceiling) },
    { of: 'abs(numeric)', js: absNum },
    { of: '@ numeric', js: absNum },
    { of: '- numeric', js: negateNum },
    { of: '+ numeric', js: identity },
    { of: 'sign(numeric)', js: signNum },
    { of: 'mod(numeric,numeric)', js: remainderNum, raises: divisor },
    { of: 'div(numeric,numeric)', js: wholeQuotient, raises: divisor },
    { of: 'sqrt(numeric)', js: sqrtNum, raises: true },
    { of: 'scale(numeric)', js: (a: Num) => (typeof a === 'string' ? null : a.scale) },
    { of: 'min_scale(numeric)', js: (a: Num) => (typeof a === 'string' ? null : minScale(a)) },
    { of: 'trim_scale(numeric)', js: (a: Num) => finite(a, (decimal) => truncateNum(decimal, minScale(decimal))) },
    { of: 'factorial(int8)', js: factorial, raises: true },
    { of: 'to_char(numeric,text)', js: formatNumberAs, raises: isOtherPattern },
    {
      of: 'to_char(int4,text)',
      js: (a: number, by: string) => formatNumberAs({ digits: BigInt(a), scale: 0 }, by),
      raises: isOtherPattern,
    },
    {
      of: 'to_char(int8,text)',
      js: (a: bigint, by: string) => formatNumberAs({ digits: a, scale: 0 }, by),
      raises: isOtherPattern,
    },
    ...floats,
    ...mixed,
    { of: 'round(float8)', js: roundEven, isTotal: true },
    { of: 'trunc(float8)', js: Math.trunc, isTotal: true },
    { of: 'floor(float8)', js: Math.floor, isTotal: true },
    { of: 'ceil(float8)', js: Math.ceil, isTotal: true },
    { of: 'ceiling(float8)', js: Math.ceil, isTotal: true },
    { of: 'sign(float8)', js: (a: number) => (a > 0 ? 1 : a < 0 ? -1 : 0), isTotal: true },
    {
      of: 'sqrt(float8)',
      js: (a: number) => {
        if (a < 0) throw new RangeError('cannot take square root of a negative number');
        return Math.sqrt(a);
      },
      raises: true,
    },
    {
      of: '|/ float8',
      js: (a: number) => {
        if (a < 0) throw new RangeError('cannot take square root of a negative number');
        return Math.sqrt(a);
      },
      raises: true,
    },
    {
      of: 'degrees(float8)',
      js: (a: number) => floatResult(a / RADIANS_PER_DEGREE, isInfinite(a), a === 0),
      raises: true,
    },
    {
      of: 'radians(float8)',
      js: (a: number) => floatResult(a * RADIANS_PER_DEGREE, isInfinite(a), a === 0),
      raises: true,
    },
    { of: 'pi()', js: () => Math.PI, isTotal: true },
    {
      of: 'num_nulls(*any)',
      js: (...values: unknown[]) => values.filter((value) => value === null).length,
      isTotal: true,
      lax: true,
    },
    {
      of: 'num_nonnulls(*any)',
      js: (...values: unknown[]) => values.filter((value) => value !== null).length,
      isTotal: true,
      lax: true,
    },
  ],
};
