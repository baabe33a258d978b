import { expect, test } from 'bun:test';
import {
  add,
  ceiling,
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

// What Postgres 15 prints for the same operations; differential.pg.test.ts asks it about more of them.
const check = (operation: typeof add, a: string, b: string, expected: string): void =>
  expect([a, b, formatDecimal(operation(parseDecimal(a), parseDecimal(b)))]).toEqual([a, b, expected]);

test('sums and products keep the digits of their operands', () => {
  check(add, '1.50', '2', '3.50');
  check(add, '-0.5', '0.50', '0.00');
  check(subtract, '1', '1.000', '0.000');
  check(subtract, '0.1', '0.25', '-0.15');
  check(multiply, '1.50', '-2.0', '-3.000');
  check(multiply, '0.00', '5', '0.00');
});

test('quotients have as many digits as the server decides', () => {
  check(divide, '1', '3', '0.33333333333333333333');
  check(divide, '10', '4', '2.5000000000000000');
  check(divide, '1', '10000', '0.000100000000000000000000');
  check(divide, '100000', '3', '33333.333333333333');
  check(divide, '-7', '2', '-3.5000000000000000');
  check(divide, '0', '5', '0.00000000000000000000');
  check(divide, '2', '3', '0.66666666666666666667');
  expect(() => divide(parseDecimal('1'), parseDecimal('0.0'))).toThrow('division by zero');
});

test('a remainder has the sign of the dividend', () => {
  check(remainder, '7.5', '2', '1.5');
  check(remainder, '-7.5', '2', '-1.5');
  check(remainder, '1', '0.30', '0.10');
});

test('halves are rounded away from zero', () => {
  const to = (text: string, scale: number): string => formatDecimal(round(parseDecimal(text), scale));
  expect([to('2.5', 0), to('-2.5', 0), to('1.005', 2), to('1.5', 3), to('-0.4', 0), to('0.05', 1)]).toEqual([
    '3',
    '-3',
    '1.01',
    '1.500',
    '0',
    '0.1',
  ]);
  expect(['1.5', '-1.5', '2.0', '-0.5'].map((text) => formatDecimal(floor(parseDecimal(text))))).toEqual([
    '1',
    '-2',
    '2',
    '-1',
  ]);
  expect(['1.5', '-1.5', '2.0', '-0.5'].map((text) => formatDecimal(ceiling(parseDecimal(text))))).toEqual([
    '2',
    '-1',
    '2',
    '0',
  ]);
  expect(['1.59', '-1.59'].map((text) => formatDecimal(truncate(parseDecimal(text), 1)))).toEqual(['1.5', '-1.5']);
});

test('what cannot be computed here throws', () => {
  for (const text of ['Infinity', '-Infinity', 'NaN', '1'.repeat(2_000)]) expect(() => parseDecimal(text)).toThrow();
});
