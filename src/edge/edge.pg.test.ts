// The edge's server against a real core, with statements planned by hand: what is local here is local because the test says so.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Client } from 'pg';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import { fakePlanner } from '../../test/fake-planner.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(
    "CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t SELECT i, 'body ' || i FROM generate_series(1, 5000) i",
  );
  edge = await startTestEdge(postgres, { planner: fakePlanner });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

async function connect(): Promise<Client & AsyncDisposable> {
  const client = new Client({ connectionString: edge.url });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function answeredBy(client: Client): Promise<string> {
  return (await client.query('SHOW skerry.answered_by')).rows[0]['skerry.answered_by'];
}

test('a lookup is answered locally, in the simple and in the extended protocol', async () => {
  await using client = await connect();
  expect((await client.query('SELECT id, body FROM t WHERE id = 7')).rows).toEqual([{ id: 7, body: 'body 7' }]);
  expect(await answeredBy(client)).toStartWith('local:');
  expect((await client.query('SELECT id, body FROM t WHERE id = $1', [8])).rows).toEqual([{ id: 8, body: 'body 8' }]);
  expect(await answeredBy(client)).toStartWith('local:');
});

test('a write is forwarded, and the session sees it', async () => {
  await using client = await connect();
  const result = await client.query("INSERT INTO t VALUES (-1, 'new') RETURNING id");
  expect(result.rows).toEqual([{ id: -1 }]);
  expect(await answeredBy(client)).toStartWith('forwarded: write');
  // The replica has not got it: the read waits in vain and is forwarded.
  expect((await client.query('SELECT id, body FROM t WHERE id = -1')).rows).toEqual([{ id: -1, body: 'new' }]);
  expect(await answeredBy(client)).toStartWith('forwarded: own-writes');
  await edge.catchUp();
  expect((await client.query('SELECT id, body FROM t WHERE id = -1')).rows).toEqual([{ id: -1, body: 'new' }]);
  expect(await answeredBy(client)).toStartWith('local:');
});

test('a scan runs in a slow lane', async () => {
  await using client = await connect();
  const result = await client.query('SELECT id, body FROM t');
  expect(result.rows.length).toBe(5001);
  expect(await answeredBy(client)).toContain('child process');
});
