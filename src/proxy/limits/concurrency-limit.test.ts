// What both implementations of the adaptive limit have to do, and Vegas' rules in particular.

import { describe, expect, test } from 'bun:test';
import type { ConcurrencyLimit, LimitWindow } from './concurrency-limit.ts';
import { Gradient2 } from './gradient2.ts';
import { Vegas } from './vegas.ts';

function after(controller: ConcurrencyLimit, limit: number, window: LimitWindow, windows: number): number {
  let now = limit;
  for (let index = 0; index < windows; index += 1)
    now = Math.max(1, controller.step(now, { ...window, busyMax: now }).limit);
  return now;
}

describe.each([
  ['vegas', () => new Vegas()],
  ['gradient2', () => new Gradient2()],
] as const)('%s', (_name, make) => {
  test('rises while statements take no longer than alone', () => {
    expect(after(make(), 5, { ratio: 1, busyMax: 0, lanes: 1 }, 20)).toBeGreaterThan(15);
  });

  test('falls when they take much longer', () => {
    expect(after(make(), 50, { ratio: 8, busyMax: 0, lanes: 1 }, 60)).toBeLessThan(12);
  });

  test('does not rise for who does not use it', () => {
    expect(make().step(20, { ratio: 1, busyMax: 9, lanes: 1 })).toEqual({ limit: 20, reason: '' });
  });

  test('on a server that serves C at once it settles, and not far from C', () => {
    for (const cores of [2, 8, 32]) {
      const controller = make();
      let limit = 20;
      const seen: number[] = [];
      for (let index = 0; index < 300; index += 1) {
        limit = Math.max(
          1,
          controller.step(limit, { ratio: Math.max(1, Math.floor(limit) / cores), busyMax: limit, lanes: 1 }).limit,
        );
        if (index >= 200) seen.push(Math.floor(limit));
      }
      expect(Math.min(...seen)).toBeGreaterThanOrEqual(cores);
      expect(Math.max(...seen)).toBeLessThanOrEqual(cores * 3 + 8);
      expect(Math.max(...seen) - Math.min(...seen)).toBeLessThanOrEqual(2 + cores / 2);
    }
  });

  test('each change has a sentence', () => {
    expect(make().step(20, { ratio: 9, busyMax: 20, lanes: 1 }).reason).toContain('9.0 times');
    expect(make().step(20, { ratio: 1, busyMax: 20, lanes: 1 }).reason).not.toBe('');
  });
});

describe('Vegas', () => {
  test.each([
    // [limit, ratio, busy, lanes, next]
    ['less than alpha in line: one more', 20, 1.1, 20, 1, 21],
    ['between alpha and beta: stays', 20, 1.25, 20, 1, 20],
    ['a little more than beta: one less', 20, 1.6, 20, 1, 19],
    ['much more than beta: half of what is too much', 20, 10, 20, 1, 14],
    ['what is not used does not stand in line', 20, 2, 4, 1, 20],
    ['several tenants share the line', 20, 1.25, 20, 4, 18],
    ['in hundreds by twos', 200, 1.01, 200, 1, 202],
  ])('%s', (_, limit, ratio, busyMax, lanes, next) => {
    expect(new Vegas().step(limit, { ratio, busyMax, lanes }).limit).toBe(next);
  });
});
