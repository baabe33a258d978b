import { describe, expect, test } from 'bun:test';
import { Metrics } from '../observe/metrics.ts';
import {
  PROXY_CLIENT_CONNECTIONS,
  PROXY_CLIENTS_WAITING,
  PROXY_QUERIES,
  PROXY_QUERY_SECONDS,
} from '../observe/names.ts';
import { type Pair, parseMetrics } from '../observe/scrape.ts';
import { topLines, topSentence, topView } from './top-view.ts';

function pairOf(first: (metrics: Metrics) => void, then: (metrics: Metrics) => void): Pair {
  const metrics = new Metrics();
  first(metrics);
  const before = parseMetrics(metrics.render());
  then(metrics);
  return { before, now: parseMetrics(metrics.render()), seconds: 2 };
}

/** Two databases: 2,000 queries on one, none on the other. */
const proxy = pairOf(
  (metrics) => {
    metrics.gauge(PROXY_CLIENT_CONNECTIONS).set(12);
    for (const database of ['idle', 'busy']) {
      metrics.histogram(PROXY_QUERY_SECONDS, { database });
      metrics
        .gauge(PROXY_CLIENTS_WAITING, { database, user: 'app', place: 'primary' })
        .set(database === 'busy' ? 3 : 0);
      metrics.counter(PROXY_QUERIES, { database, user: 'app', place: 'primary' });
    }
  },
  (metrics) => {
    for (let time = 0; time < 2_000; time += 1) {
      metrics.histogram(PROXY_QUERY_SECONDS, { database: 'busy' }).observe(0.002);
      metrics.counter(PROXY_QUERIES, { database: 'busy', user: 'app', place: 'primary' }).inc();
    }
  },
);

describe('top', () => {
  test('of a proxy: all of it, each database, each pool, the busiest first', () => {
    expect(topLines([topView('proxy', proxy)], 120, 50)).toEqual([
      'proxy: 1,000 queries/s, p50 1.75 ms p99 2.49 ms, 0 tx/s, 12 clients, 3 waiting, 0 server connections, 0 workers',
      'database  queries/s      p50      p99  wait p99  in flight  limit  waiting',
      'busy          1,000  1.75 ms  2.49 ms                    0               3',
      'idle              0                                      0               0',
      'database  user  place    queries/s  tx/s  active  idle  waiting',
      'busy      app   primary      1,000     0       0     0        3',
      'idle      app   primary          0     0       0     0        0',
    ]);
  });

  test('of tenants, where there are some: their limits too', () => {
    const labels = { tenant: 'shop/app' };
    const seconds = { ...PROXY_QUERY_SECONDS, name: 'skerry_proxy_tenant_query_seconds' };
    const gauge = (name: string) => ({ name, kind: 'gauge', help: 'Of a tenant.' }) as const;
    const tenants = pairOf(
      (metrics) => {
        metrics.gauge(PROXY_CLIENT_CONNECTIONS).set(1);
        metrics.histogram(seconds, labels);
        metrics.gauge(gauge('skerry_proxy_tenant_limit'), labels).set(9);
        metrics.gauge(gauge('skerry_proxy_tenant_in_flight'), labels).set(8);
        metrics.gauge(gauge('skerry_proxy_tenant_waiting'), labels).set(7);
      },
      (metrics) => metrics.histogram(seconds, labels).observe(20),
    );
    expect(topLines([topView('proxy', tenants)], 120, 50).slice(1)).toEqual([
      'tenant    queries/s     p50     p99  wait p99  in flight  limit  waiting',
      'shop/app          1  > 10 s  > 10 s                    8      9        7',
    ]);
  });

  test('of another role: its series as they are', () => {
    const counter = { name: 'skerry_edge_answers_total', kind: 'counter', help: 'Answers.' } as const;
    const edge = pairOf(
      (metrics) => metrics.counter(counter, { from: 'local' }).inc(1_000),
      (metrics) => metrics.counter(counter, { from: 'local' }).inc(500),
    );
    expect(topLines([topView('edge-0', edge)], 120, 50)).toEqual([
      'edge-0',
      'metric                                value  per second',
      'skerry_edge_answers_total from=local  1,500         250',
    ]);
    expect(topSentence(topView('edge-0', edge))).toBe('edge-0: skerry_edge_answers_total from=local 250/s');
  });

  test.each([
    [40, 4],
    [60, 20],
  ])('is never wider than %i columns nor higher than %i lines', (columns, rows) => {
    const lines = topLines([topView('a', proxy), topView('b', proxy)], columns, rows);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(lines.length).toBeLessThanOrEqual(rows);
    if (rows === 4) expect(lines.at(-1)).toBe('… 12 more lines');
  });

  test('JSON says the same', () => {
    expect(JSON.parse(JSON.stringify(topView('proxy', proxy)))).toMatchObject({
      role: 'proxy',
      queriesPerSecond: 1_000,
      clients: 12,
      waiting: 3,
      pools: [{ database: 'busy', queriesPerSecond: 1_000, waiting: 3 }, { database: 'idle' }],
    });
  });
});
