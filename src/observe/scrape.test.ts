// What is written can be read again, and two readings give rates and quantiles.

import { describe, expect, test } from 'bun:test';
import { Metrics } from './metrics.ts';
import { labelValues, type Pair, parseMetrics, quantileBetween, ratePerSecond, valueOf } from './scrape.ts';

const COUNTER = { name: 'c_total', kind: 'counter', help: 'Counts.' } as const;
const TIMES = { name: 'h_seconds', kind: 'histogram', help: 'Times.', buckets: [0.001, 0.01, 0.1] } as const;

function pair(change: (metrics: Metrics) => void, seconds = 2): Pair {
  const metrics = new Metrics();
  metrics.counter(COUNTER, { user: 'a"b\\c\nd', place: 'x' }).inc(5);
  metrics.counter(COUNTER, { user: 'e', place: 'x' }).inc(7);
  metrics.histogram(TIMES, { database: 'd' }).observe(5);
  const before = parseMetrics(metrics.render());
  change(metrics);
  return { before, now: parseMetrics(metrics.render()), seconds };
}

describe('reading metrics', () => {
  test('names, labels and values are what was written', () => {
    const { now } = pair(() => {});
    expect(valueOf(now, 'c_total')).toBe(12);
    expect(valueOf(now, 'c_total', { user: 'a"b\\c\nd' })).toBe(5);
    expect(labelValues(now, 'c_total', 'user')).toEqual(['a"b\\c\nd', 'e']);
  });

  test('a page that is none is an empty one', () => {
    expect(parseMetrics('<html>\nnot found here\n').samples).toEqual([]);
  });

  test('rates are per second, and never negative', () => {
    const more = pair((metrics) => metrics.counter(COUNTER, { user: 'e', place: 'x' }).inc(10));
    expect(ratePerSecond(more, 'c_total')).toBe(5);
    expect(ratePerSecond({ ...more, before: more.now, now: more.before }, 'c_total')).toBe(0);
  });

  test.each([
    ['none were observed', [], null],
    ['all in one bucket: evenly spread', [0.005, 0.005], 0.0055],
    ['half below', [0.0005, 0.05], 0.001],
    ['beyond the last bound', [7, 7, 7], Number.POSITIVE_INFINITY],
  ])('the median, when %s', (_, values, median) => {
    const found = quantileBetween(
      pair((metrics) => {
        for (const value of values) metrics.histogram(TIMES, { database: 'd' }).observe(value);
      }),
      'h_seconds',
      0.5,
    );
    if (median === null || !Number.isFinite(median)) expect(found).toBe(median);
    else expect(found).toBeCloseTo(median, 6);
  });
});
