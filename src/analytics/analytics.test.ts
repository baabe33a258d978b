// The pure parts: lines of logs, aggregates that merge, ranges cut into levels.

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { logTime, readLogLine } from './access-log.ts';
import { Aggregate, DAY_MS, HOUR_MS, latencyQuantile, MINUTE_MS, MinuteAggregator, OTHER } from './aggregate.ts';
import { DIMENSIONS, type HttpEvent } from './event.ts';
import { cut, STEP_MS, type Step } from './query.ts';
import { copyRow, DAYS, HOURS, MINUTES, partitionSql } from './tables.ts';

const EVENT: HttpEvent = {
  zone: 'z',
  atMs: 0,
  client: '10.0.0.1',
  method: 'GET',
  status: 200,
  bytes: 10,
  cached: false,
  threat: false,
  latencyMs: null,
  country: '',
  colo: '',
  contentType: '',
};

test('lines of the combined and common formats', () => {
  const read = (line: string): unknown => readLogLine(line, 'zone');
  expect(
    read(
      '1.2.3.4 - alice smith [17/May/2015:10:05:03 +0000] "GET /a\\"b HTTP/1.1" 200 203023 "http://r/" "Agent \\"x\\""',
    ),
  ).toMatchObject({
    atMs: Date.UTC(2015, 4, 17, 10, 5, 3),
    client: '1.2.3.4',
    method: 'GET',
    status: 200,
    bytes: 203_023,
  });
  expect(read('::1 - - [17/May/2015:10:05:03 -0130] "\\x16\\x03" 400 -')).toMatchObject({
    atMs: Date.UTC(2015, 4, 17, 11, 35, 3),
    method: '',
    bytes: 0,
  });
  for (const bad of [
    '',
    'x',
    '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET',
    '{"status": 200}',
    '{',
    '1 - - [32/Foo/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
  ]) {
    expect(read(bad)).toHaveProperty('why');
  }
});

test('times of logs', () => {
  expect(logTime('29/Feb/2024:23:59:60 +0000')).toBe(Date.UTC(2024, 2, 1));
  for (const bad of [
    '31/Apr/2024:00:00:00 +0000',
    '29/Feb/2023:00:00:00 +0000',
    '01/Jan/2024:24:00:00 +0000',
    '1/Jan/2024:00:00:00 +0000',
  ]) {
    expect([bad, logTime(bad)]).toEqual([bad, null]);
  }
});

const anyEvent = fc.record({
  zone: fc.constantFrom('a', 'b'),
  atMs: fc.integer({ min: 0, max: 3 * MINUTE_MS }),
  client: fc.constantFrom('', '1', '2', '3'),
  method: fc.constantFrom('GET', 'POST'),
  status: fc.constantFrom(200, 404),
  bytes: fc.nat(1000),
  cached: fc.boolean(),
  threat: fc.boolean(),
  latencyMs: fc.option(fc.nat(40_000)),
  country: fc.constantFrom('', 'DE', 'FR'),
  colo: fc.constantFrom('', 'FRA'),
  contentType: fc.constantFrom('', 'text/html'),
});

/** An aggregate as its row says it, whatever the order that keys were met in. */
function printed(aggregate: Aggregate): unknown {
  const counters = DIMENSIONS.map((name) =>
    [...aggregate.counters[name]].map(([key, value]) => `${key}=${value}`).sort(),
  );
  return [copyRow('z', 0, aggregate).split('\t').slice(2, 8), counters];
}

test('events in any order and grouping make the same aggregate', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 60 }), fc.nat(60), (events, at) => {
      const whole = new Aggregate();
      for (const event of events) whole.add(event);
      const left = new Aggregate();
      const right = new Aggregate();
      for (const event of events.slice(0, at).reverse()) left.add(event);
      for (const event of events.slice(at)) right.add(event);
      right.merge(left);
      expect(printed(right)).toEqual(printed(whole));

      const minutes = new MinuteAggregator();
      for (const event of events) minutes.add(event);
      const total = new Aggregate();
      for (const { aggregate } of minutes.take()) total.merge(aggregate);
      expect(printed(total)).toEqual(printed(whole));
      expect(minutes.size).toBe(0);
    }),
  );
});

test('made-up values of a dimension do not grow without bound', () => {
  const aggregate = new Aggregate();
  for (let index = 0; index < 5000; index += 1) aggregate.add({ ...EVENT, contentType: `made/up-${index}` });
  const counter = aggregate.counters.content_type;
  expect(counter.size).toBe(1001);
  expect(counter.get(OTHER)).toBe(4000);
  expect([...counter.values()].reduce((sum, value) => sum + value, 0)).toBe(5000);
});

test('quantiles of the latency histogram', () => {
  const aggregate = new Aggregate();
  expect(latencyQuantile(aggregate.latency, 0.5)).toBeNull();
  for (let index = 0; index < 100; index += 1) aggregate.add({ ...EVENT, latencyMs: index < 90 ? 3 : 700 });
  expect(latencyQuantile(aggregate.latency, 0.5)).toBeGreaterThan(2);
  expect(latencyQuantile(aggregate.latency, 0.5)).toBeLessThanOrEqual(5);
  expect(latencyQuantile(aggregate.latency, 0.99)).toBeGreaterThan(500);
  aggregate.add({ ...EVENT, latencyMs: 1e9 });
  expect(latencyQuantile(aggregate.latency, 1)).toBe(30_000);
});

test('a range is cut into pieces that cover it once, coarse where nothing is dirty', () => {
  const minute = fc.integer({ min: 0, max: 4 * 24 * 60 });
  fc.assert(
    fc.property(
      minute,
      minute,
      fc.uniqueArray(fc.nat(4 * 24), { maxLength: 5 }),
      fc.constantFrom<Step>('minute', 'hour', 'day'),
      (one, other, dirty, coarsest) => {
        const [from, to] = [Math.min(one, other) * MINUTE_MS, Math.max(one, other) * MINUTE_MS];
        const dirtyHours = new Set(dirty.map((hour) => hour * HOUR_MS));
        let at = from;
        for (const piece of cut(from, to, dirtyHours, coarsest)) {
          expect(piece.fromMs).toBe(at);
          expect(piece.toMs).toBeGreaterThan(at);
          expect(STEP_MS[piece.step]).toBeLessThanOrEqual(STEP_MS[coarsest]);
          expect([piece.fromMs % STEP_MS[piece.step], piece.toMs % STEP_MS[piece.step]]).toEqual([0, 0]);
          if (piece.step !== 'minute') {
            for (const hour of dirtyHours) expect(hour >= piece.fromMs && hour < piece.toMs).toBe(false);
          }
          at = piece.toMs;
        }
        expect(at).toBe(to);
      },
    ),
  );
  expect(cut(10 * MINUTE_MS, 2 * DAY_MS + HOUR_MS, new Set(), 'day')).toEqual([
    { step: 'minute', fromMs: 10 * MINUTE_MS, toMs: HOUR_MS },
    { step: 'hour', fromMs: HOUR_MS, toMs: DAY_MS },
    { step: 'day', fromMs: DAY_MS, toMs: 2 * DAY_MS },
    { step: 'hour', fromMs: 2 * DAY_MS, toMs: 2 * DAY_MS + HOUR_MS },
  ]);
});

test('partitions of each level', () => {
  const ms = Date.UTC(2026, 11, 31, 23, 59);
  expect(partitionSql(MINUTES, [ms, ms + 1])).toEqual([
    "CREATE TABLE IF NOT EXISTS skerry_analytics.http_1m_20261231 PARTITION OF skerry_analytics.http_1m FOR VALUES FROM ('2026-12-31T00:00:00.000Z') TO ('2027-01-01T00:00:00.000Z')",
  ]);
  expect(partitionSql(HOURS, [ms])[0]).toContain(
    "http_1h_202612 PARTITION OF skerry_analytics.http_1h FOR VALUES FROM ('2026-12-01T00:00:00.000Z') TO ('2027-01-01",
  );
  expect(partitionSql(DAYS, [ms, ms + DAY_MS]).length).toBe(2);
});
