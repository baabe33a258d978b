// What a statement takes when nothing stands in its way.

import { expect, test } from 'bun:test';
import { Baselines, BASELINES_MAX } from './baselines.ts';

const make = (): Baselines => new Baselines((text) => text.toUpperCase());

function calls(baselines: Baselines, count: number, ms: number, from = 0, inProbe = false, fingerprint = 1): void {
  for (let index = 0; index < count; index += 1) baselines.add(fingerprint, ms, 'select', from + index, inProbe);
}

test('a guess from a few calls, replaced by the mean of thirty', () => {
  const baselines = make();
  expect(baselines.add(1, 9, 'select', 0, false)).toBe(0);
  calls(baselines, 2, 9);
  expect(baselines.of(1)).toBe(9);
  calls(baselines, 27, 19);
  expect(baselines.of(1)).toBe(18);
  expect(baselines.list()[0]?.text).toBe('SELECT');
});

test('the smallest mean counts, and is forgotten after two stretches', () => {
  const baselines = make();
  calls(baselines, 30, 10);
  for (let now = 60_000; now <= 240_000; now += 10_000) {
    calls(baselines, 30, 40, now);
    baselines.tick(now);
    expect(baselines.of(1)).toBe(now <= 120_000 ? 10 : 40);
  }
});

test('a probe is believed, upwards and downwards', () => {
  const baselines = make();
  calls(baselines, 60, 10);
  baselines.beginProbe();
  expect(baselines.isProbeDone).toBe(false);
  calls(baselines, 3, 25, 100, true);
  expect(baselines.isProbeDone).toBe(true);
  expect(baselines.endProbe()).toBe(1);
  expect(baselines.of(1)).toBe(25);
});

test('a probe goes on until it has measured what takes most of the time', () => {
  const baselines = make();
  calls(baselines, 30, 1);
  calls(baselines, 30, 100, 0, false, 2);
  baselines.beginProbe();
  calls(baselines, 50, 1, 100, true);
  expect(baselines.isProbeDone).toBe(false);
  calls(baselines, 3, 80, 200, true, 2);
  expect(baselines.isProbeDone).toBe(true);
});

test('what is forgotten is learnt anew', () => {
  const baselines = make();
  calls(baselines, 30, 10);
  baselines.forget();
  expect(baselines.of(1)).toBe(0);
  calls(baselines, 3, 30, 100);
  expect(baselines.of(1)).toBe(30);
});

test('there are never more than the bound, and those used last stay', () => {
  const baselines = make();
  for (let index = 1; index <= BASELINES_MAX * 3; index += 1) {
    calls(baselines, 3, 5, index * 10, false, index);
    expect(baselines.size).toBeLessThanOrEqual(BASELINES_MAX);
  }
  expect(baselines.of(BASELINES_MAX * 3)).toBe(5);
  expect(baselines.of(1)).toBe(0);
});
