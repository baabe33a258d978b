import { expect, test } from 'bun:test';
import { median, percentile, summarize } from './statistics.ts';

test('a percentile is the nearest rank, never an interpolation', () => {
  const sorted = Array.from({ length: 100 }, (_, index) => index + 1);
  expect(percentile(sorted, 0.5)).toBe(50);
  expect(percentile(sorted, 0.99)).toBe(99);
  expect(percentile(sorted, 1)).toBe(100);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

test('samples may come in any order', () => {
  expect(summarize([3, 1, 2])).toEqual({ count: 3, p50: 2, p99: 3, max: 3 });
  expect(median([30, 10, 20])).toBe(20);
});
