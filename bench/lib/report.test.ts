import { expect, test } from 'bun:test';
import { type Figure, verdictOf } from './bench.ts';
import { format, renderJson, renderTable } from './report.ts';

const figure = (more: Partial<Figure>): Figure => ({ name: 'x', unit: 'rows/s', measured: 120, ...more });

test('a figure passes when it reaches its target, by value or by ratio', () => {
  const check = (input: Partial<Figure>, expected: string): void =>
    expect(verdictOf(figure(input))).toBe(expected as never);
  check({}, 'info');
  check({ target: { kind: 'at-most', value: 120 } }, 'pass');
  check({ target: { kind: 'at-most', value: 119 } }, 'miss');
  check({ target: { kind: 'at-least', value: 121 } }, 'miss');
  check({ baseline: { name: 'native', value: 100 }, target: { kind: 'ratio-at-least', value: 1.2 } }, 'pass');
  check({ baseline: { name: 'native', value: 101 }, target: { kind: 'ratio-at-least', value: 1.2 } }, 'miss');
  check({ target: { kind: 'ratio-at-least', value: 1.2 } }, 'miss');
  check({ measured: Number.NaN, target: { kind: 'at-most', value: 1 } }, 'miss');
});

test('numbers carry their unit and thousands', () => {
  expect(format(1234567.8, 'rows/s')).toBe('1,234,568 rows/s');
  expect(format(1.234, 'ms')).toBe('1.23 ms');
  expect(format(3, 'count')).toBe('3');
});

test('the table and the JSON tell the same', () => {
  const report = {
    bench: 'demo',
    seconds: 3,
    notes: ['fsync on'],
    figures: [figure({ baseline: { name: 'native', value: 60 }, target: { kind: 'ratio-at-least', value: 1.5 } })],
  };
  expect(renderTable(report)).toContain('2.00x');
  expect(renderTable(report)).toContain('pass');
  expect(JSON.parse(renderJson(report)).figures[0]).toMatchObject({ ratio: 2, verdict: 'pass', measured: 120 });
});
