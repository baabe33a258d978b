// EXPLAIN at an edge, and GET /explain: where a statement is answered, and why.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import pg from 'pg';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import type { Explanation } from './sql/explain.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE t (id int PRIMARY KEY, body text, other int);
    INSERT INTO t SELECT i, 'body ' || i, i % 10 FROM generate_series(1, 500) i; CREATE INDEX ON t (other)`);
  edge = await startTestEdge(postgres);
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

async function explained(sql: string): Promise<{ lines: string[]; notices: string[]; command: string }> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: edge.port,
    user: postgres.user,
    database: postgres.database,
  });
  const notices: string[] = [];
  client.on('notice', (notice) => notices.push(notice.message ?? ''));
  await client.connect();
  try {
    const result = await client.query<string[]>({ text: sql, rowMode: 'array' });
    return { lines: result.rows.map(([line]) => String(line)), notices, command: result.command };
  } finally {
    await client.end();
  }
}

test('a statement that the edge answers: the lane, a cost that postgres_fdw reads, the steps of SQLite', async () => {
  const lookup = await explained('EXPLAIN SELECT body FROM t WHERE id = 3');
  expect(lookup.lines[0]).toBe('Edge, in the fast lane  (cost=0.00..0.05 rows=1 width=32)');
  expect(lookup.lines[1]).toMatch(/->\s+SEARCH t1 USING INTEGER PRIMARY KEY/);
  expect(lookup.command).toBe('EXPLAIN');
  expect(lookup.notices).toEqual([]);
  const join = await explained(
    "EXPLAIN (VERBOSE) SELECT a.body FROM t a JOIN t b ON a.other = b.id WHERE a.body = 'it''s' ORDER BY a.body",
  );
  expect(join.lines[0]).toMatch(/^Edge, in a slow lane {2}\(cost=0\.00\.\.[\d.]+ rows=500 width=32\)$/);
  expect(join.lines.length).toBeGreaterThan(2);
});

test('a statement that the core answers: why, and then its plan', async () => {
  const { lines, notices } = await explained('EXPLAIN SELECT now(), body FROM t WHERE id = 3');
  expect(notices).toEqual([expect.stringMatching(/^the core answers this: unproven-function \(/)]);
  expect(lines[0]).toMatch(/^Index Scan using t_pkey/);
  // What runs something, or is printed otherwise, is the core's as it is.
  const analyzed = await explained('EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT 1');
  expect(analyzed.lines[0]).toStartWith('Result');
});

test('GET /explain says the same to programs', async () => {
  const ask = async (sql: string): Promise<Explanation> =>
    (await (
      await fetch(`http://127.0.0.1:${edge.httpPort}/explain?sql=${encodeURIComponent(sql)}`)
    ).json()) as Explanation;
  expect(await ask('SELECT body FROM t WHERE id = 3')).toMatchObject({
    answered: 'edge',
    lane: 'fast',
    steps: [expect.stringContaining('SEARCH')],
  });
  expect(await ask('SELECT * FROM missing')).toMatchObject({ answered: 'core', reason: 'unknown-table', sql: null });
  expect(await ask('INSERT INTO t VALUES (0)')).toMatchObject({ answered: 'core', reason: 'write' });
  expect(await ask('SET work_mem = 1')).toMatchObject({ answered: 'session' });
  expect((await fetch(`http://127.0.0.1:${edge.httpPort}/explain`)).status).toBe(400);
});

test('postgres_fdw plans by the estimates of the core', async () => {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: edge.port,
    user: postgres.user,
    database: postgres.database,
    application_name: 'postgres_fdw',
  });
  await client.connect();
  const { rows } = await client.query({ text: 'EXPLAIN SELECT body FROM t WHERE id = 3', rowMode: 'array' });
  await client.end();
  expect(String(rows[0])).toMatch(/^Index Scan using t_pkey/);
});
