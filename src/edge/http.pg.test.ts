// The HTTP port of an edge.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import type { ChecksumReport, RoleStatus } from '../contracts/health.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE SCHEMA s; CREATE TABLE s.zone (name text PRIMARY KEY, n int, big bigint, price numeric(10,2), ok bool, doc jsonb, at timestamptz, f float8, a int[]);
    INSERT INTO s.zone VALUES ('a/b ü', 1, 9007199254740993, 1.50, true, '{"x": [1, null]}', '2024-02-03 04:05:06+00', 'NaN', '{1,2}'), ('empty', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b))`);
  edge = await startTestEdge(postgres);
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${edge.httpPort}${path}`, { headers });

test('/healthz and /status follow the feed', async () => {
  expect((await get('/healthz')).status).toBe(200);
  edge.feed.set({ state: 'lost', reason: 'the relay is away', upstreamPosition: edge.feed.current.position + 100n });
  edge.feed.lag = 5000;
  expect((await get('/healthz')).status).toBe(200);
  const status = (await (await get('/status')).json()) as RoleStatus;
  expect(status).toMatchObject({
    role: 'edge',
    name: 'edge-test',
    state: 'lost',
    reason: 'the relay is away',
    lagMs: 5000,
    lagBytes: 100,
  });
  edge.feed.set({ state: 'bootstrapping' });
  expect((await get('/healthz')).status).toBe(503);
  edge.feed.set({ state: 'streaming', upstreamPosition: edge.feed.current.position });
});

test('/metrics', async () => {
  const text = await (await get('/metrics')).text();
  expect(text).toContain('skerry_edge_connections 0');
  expect(text).toContain('skerry_edge_lag_seconds');
});

test('/checksum', async () => {
  const report = (await (await get('/checksum')).json()) as ChecksumReport;
  expect(report.tables.map(({ table, rows }) => `${table} ${rows}`).toSorted()).toEqual(['public.pair 0', 's.zone 2']);
  expect((await get('/checksum?at=nonsense')).status).toBe(400);
});

test('what is not there and what cannot be done', async () => {
  const response = await get('/nope');
  expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
    404,
    'not-found',
  ]);
  expect((await fetch(`http://127.0.0.1:${edge.httpPort}/status`, { method: 'POST' })).status).toBe(405);
});
