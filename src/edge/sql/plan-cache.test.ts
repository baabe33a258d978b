import { expect, test } from 'bun:test';
import { PlanCache } from './plan-cache.ts';

const cacheOf = (countMax: number, bytesMax = 1_000_000): PlanCache<string> => new PlanCache({ countMax, bytesMax });

test('constants that a plan does not depend on share it', () => {
  const cache = cacheOf(10);
  cache.store('t', ['1', '2'], [], 'plan', 100);
  expect(cache.find('t', ['3', '4'])).toBe('plan');
});

test('constants that a plan depends on tell plans apart', () => {
  const cache = cacheOf(10);
  cache.store('t', ['1', '2'], [1], 'two', 100);
  cache.store('t', ['1', '3'], [1], 'three', 100);
  expect(cache.find('t', ['9', '2'])).toBe('two');
  expect(cache.find('t', ['9', '3'])).toBe('three');
  expect(cache.find('t', ['9', '4'])).toBeUndefined();
});

test('a constant that turns out to matter drops what was kept without it', () => {
  const cache = cacheOf(10);
  cache.store('t', ['1', '2'], [], 'any', 100);
  cache.store('t', ['1', '3'], [1], 'three', 100);
  expect(cache.find('t', ['1', '2'])).toBeUndefined();
  cache.store('t', ['5', '2'], [0], 'five', 100);
  expect(cache.find('t', ['1', '3'])).toBeUndefined();
  expect(cache.find('t', ['5', '2'])).toBe('five');
});

test('keys of baked constants do not run together', () => {
  const cache = cacheOf(10);
  cache.store('t', ['1', '11'], [0, 1], 'a', 100);
  expect(cache.find('t', ['11', '1'])).toBeUndefined();
});

test('the count is bounded; what was used last stays', () => {
  const cache = cacheOf(3);
  for (const name of ['a', 'b', 'c']) cache.store(name, [], [], name, 10);
  cache.store('d', [], [], 'd', 10);
  cache.find('c', []);
  cache.store('e', [], [], 'e', 10);
  expect(cache.count).toBe(3);
  expect(cache.find('e', [])).toBe('e');
  expect(cache.find('c', [])).toBe('c');
});

test('the bytes are bounded and come back to zero', () => {
  const cache = cacheOf(1_000, 5_000);
  for (let index = 0; index < 100; index += 1)
    cache.store(`template ${index}`, [String(index)], index % 2 ? [0] : [], 'x', 500);
  expect(cache.bytes).toBeLessThanOrEqual(5_000);
  expect(cache.count).toBeGreaterThan(0);
  cache.clear();
  expect([cache.bytes, cache.count]).toEqual([0, 0]);
});

test('one template with very many baked values stays bounded', () => {
  const cache = cacheOf(10);
  for (let index = 0; index < 1_000; index += 1) cache.store('t', [String(index)], [0], 'x', 100);
  expect(cache.bytes).toBeLessThan(10_000);
  expect(cache.find('t', ['999'])).toBe('x');
});
