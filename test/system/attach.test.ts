// `skerry up --database-url`: a Postgres of the user's own, attached to and left again.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { startPostgres, type TestPostgres, temporaryFolder, waitFor } from '../harness.ts';
import { freePortBase, skerry, startUp } from '../skerry.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`
    create table city (id int primary key, name text);
    insert into city values (1, 'Tromsø'), (2, 'Bodø');
    create table diary (id int primary key);
    create role lowly login`);
});
afterAll(async () => postgres[Symbol.asyncDispose]());

/** What of ours is in the database. */
async function traces(): Promise<string[]> {
  const rows = await postgres.sql(`
    select 'slot ' || slot_name as trace from pg_replication_slots union all select 'publication ' || pubname from pg_publication
    union all select 'trigger ' || evtname from pg_event_trigger union all select 'schema ' || nspname from pg_namespace where nspname = 'skerry'`);
  return rows.map((row) => String(row['trace'] as string)).toSorted((a, b) => a.localeCompare(b));
}

async function onEdge(url: string, sql: string): Promise<unknown[]> {
  const client = new Bun.SQL({ url, max: 1, tls: false });
  try {
    return [...(await client.unsafe(sql))];
  } finally {
    await client.close();
  }
}

describe('a database of the user', () => {
  test('is propagated, and an ephemeral world leaves nothing on it', async () => {
    {
      await using up = await startUp(['--database-url', postgres.url, '--edges', '1']);
      expect(up.ready.core).toMatchObject({ embedded: false });
      const edge = up.ready.edges[0]?.pg as string;
      expect(await onEdge(edge, 'select name from city order by id')).toMatchObject([
        { name: 'Tromsø' },
        { name: 'Bodø' },
      ]);
      await postgres.sql(`insert into city values (3, 'Alta')`);
      await waitFor('the new row', async () => (await onEdge(edge, 'select 1 from city where id = 3')).length === 1);
      const verified = await skerry(['verify', '--wait', '--dir', up.ready.dir]);
      expect([verified.code, verified.out]).toEqual([0, expect.stringContaining('2 tables, 3 rows')]);
    }
    expect(await traces()).toEqual([]);
  });

  test('keeps its slot while a lasting world is down, and --clean takes everything away', async () => {
    using folder = temporaryFolder();
    const dir = join(folder.path, 'world');
    const args = ['--database-url', postgres.url, '--dir', dir, '--edges', '1', '--tables', 'city'];
    {
      await using up = await startUp(args);
      const status = await skerry(['status', '--json', '--dir', up.ready.dir]);
      expect(
        (JSON.parse(status.out) as { roles: { status: { tables: number } }[] }).roles.map((role) => role.status.tables),
      ).toEqual([1, 1]);
    }
    expect(await traces()).toContain('slot skerry');
    await postgres.sql(`update city set name = 'Romsa' where id = 1`);
    {
      await using up = await startUp(args);
      const edge = up.ready.edges[0]?.pg as string;
      await waitFor('the change made meanwhile', async () => {
        const [row] = await onEdge(edge, 'select name from city where id = 1');
        return (row as { name: string }).name === 'Romsa';
      });
      // Another Postgres under the same folder is another history.
      await up.signal('SIGTERM');
      await using other = await startPostgres({ ownSystemId: true });
      const refused = await skerry([
        'up',
        '--json',
        '--database-url',
        other.url,
        '--dir',
        dir,
        '--port-base',
        String(freePortBase()),
      ]);
      expect([refused.code, JSON.parse(refused.out)]).toMatchObject([2, { error: { code: 'folder-other-core' } }]);
    }
    const cleaned = await skerry(['up', '--clean', '--database-url', postgres.url]);
    expect([cleaned.code, cleaned.err]).toEqual([0, '']);
    expect(await traces()).toEqual([]);
    expect(await postgres.value('select count(*) from city')).toBe('3');
  });

  test.each([
    [
      'no privilege',
      () => postgres.url.replace('postgres@', 'lowly@'),
      'core-unprepared',
      'ALTER ROLE "lowly" REPLICATION;',
    ],
    ['no such database', () => postgres.url.replace(/postgres$/, 'nope'), 'database-missing', 'database name'],
    ['nobody listens', () => 'postgres://postgres@127.0.0.1:1/postgres', 'connect-failed', 'server runs'],
    ['not a URL', () => 'http://example.com', 'connection-string-invalid', 'postgres://'],
  ])('%s: one sentence, what to do, exit code 2', async (_name, url, code, hint) => {
    const refused = await skerry([
      'up',
      '--json',
      '--ephemeral',
      '--database-url',
      url(),
      '--port-base',
      String(freePortBase()),
    ]);
    expect(refused.code).toBe(2);
    const { error } = JSON.parse(refused.out) as { error: { code: string; hint: string } };
    expect(error.code).toBe(code);
    expect(error.hint).toContain(hint);
  });

  test('a wrong password is said as such and never shown', async () => {
    await using guarded = await startPostgres({
      hba: [
        'local all all trust',
        'host all all 127.0.0.1/32 scram-sha-256',
        'host replication all 127.0.0.1/32 scram-sha-256',
      ],
    });
    const refused = await skerry([
      'up',
      '--ephemeral',
      '--database-url',
      guarded.url.replace('postgres@', 'postgres:hunter2@'),
      '--port-base',
      String(freePortBase()),
    ]);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('password authentication failed');
    expect(refused.err + refused.out).not.toContain('hunter2');
  });
});
