// `skerry up --database-url`: a Postgres of the user's own, attached to and left again.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres, type TestPostgres, temporaryFolder, waitFor } from '../harness.ts';
import { isAlive } from '../../src/runtime/process.ts';
import { startOldPostgres } from '../old-postgres.ts';
import { freePortBase, type RunningUp, skerry, startUp } from '../skerry.ts';

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
    union all select 'trigger ' || evtname from pg_event_trigger union all select 'schema ' || nspname from pg_namespace where nspname like 'skerry%'`);
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

  test('two ephemeral worlds do not touch each other; what a killed one leaves goes with --clean', async () => {
    const args = ['--database-url', postgres.url, '--edges', '1', '--tables', 'city'];
    const has = async (up: RunningUp, id: number): Promise<boolean> =>
      (await onEdge(up.ready.edges[0]?.pg as string, `select 1 from city where id = ${id}`)).length === 1;
    const first = await startUp(args);
    await using second = await startUp(args);
    await postgres.sql(`alter table city add column note text; insert into city (id, name) values (10, 'Hamar')`);
    await waitFor('the row at both', async () => (await has(first, 10)) && (await has(second, 10)));
    await first.signal('SIGTERM');
    await postgres.sql(`alter table city drop column note; insert into city values (11, 'Voss')`);
    await waitFor('the row at the other', () => has(second, 11));
    const verified = await skerry(['verify', '--wait', '--dir', second.ready.dir]);
    expect([verified.code, verified.err]).toEqual([0, '']);
    const pids = ['relay', 'edge-0'].map((name) => second.pidOf(name));
    const inUse = await skerry(['up', '--clean', '--database-url', postgres.url]);
    expect([inUse.code, inUse.out]).toEqual([0, expect.stringMatching(/left skerry_[0-9a-f]{8}: .* using it/)]);
    // Its roles end when it ends, in order, and the relay takes its slot along: unless it dies, too.
    process.kill(second.pidOf('relay'), 'SIGSTOP');
    await second.signal('SIGKILL');
    process.kill(second.pidOf('relay'), 'SIGKILL');
    await waitFor('its roles are gone', () => !pids.some(isAlive));
    expect(await traces()).toContainEqual(expect.stringMatching(/^slot skerry_[0-9a-f]{8}$/));
    await waitFor(
      'nobody reads the slot',
      async () => (await postgres.value('select bool_or(active) from pg_replication_slots')) === 'false',
    );
    const cleaned = await skerry(['up', '--clean', '--database-url', postgres.url]);
    expect([cleaned.code, cleaned.out]).toEqual([0, expect.stringMatching(/killed: skerry_[0-9a-f]{8}/)]);
    expect(await traces()).toEqual([]);
    await postgres.sql('delete from city where id >= 10');
  }, 120_000);

  test('starts without the core when its folder has replicas, and goes on when the core is back', async () => {
    await using own = await startPostgres();
    await own.sql(`create table city (id int primary key, name text); insert into city values (1, 'Tromsø')`);
    using folder = temporaryFolder();
    const dir = join(folder.path, 'world');
    const args = ['--database-url', own.url, '--edges', '1', '--port-base', String(freePortBase()), '--dir'];
    {
      await using up = await startUp([...args, dir]);
      await waitFor(
        'the row is here',
        async () => (await onEdge(up.ready.edges[0]?.pg as string, 'select 1 from city')).length === 1,
      );
    }
    await own.stop();
    {
      await using up = await startUp([...args, dir]);
      const edge = up.ready.edges[0]?.pg as string;
      expect(await onEdge(edge, 'select name from city where id = 1')).toMatchObject([{ name: 'Tromsø' }]);
      await expect(onEdge(edge, 'delete from city')).rejects.toMatchObject({ errno: '57P03' });
      const away = await skerry(['status', '--json', '--dir', dir]);
      expect(away.code).toBe(1);
      expect(JSON.parse(away.out)).toMatchObject({ ok: false, core: { position: null } });
      await own.restart();
      await own.sql(`insert into city values (2, 'Bodø')`);
      await waitFor('the new row', async () => (await onEdge(edge, 'select 1 from city where id = 2')).length === 1);
      const verified = await skerry(['verify', '--wait', '--dir', dir]);
      expect([verified.code, verified.err]).toEqual([0, '']);
    }
    // Without replicas, or for another database, nothing is begun.
    await own.stop();
    for (const other of [
      [...args, join(folder.path, 'fresh')],
      [...args.with(1, own.url.replace(/postgres$/, 'other')), dir],
    ]) {
      const refused = await skerry(['up', '--json', ...other]);
      expect([refused.code, JSON.parse(refused.out)]).toMatchObject([2, { error: { code: 'connect-failed' } }]);
    }
  }, 120_000);

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

  test('INVARIANT_I10: a Postgres older than 15 is refused in one sentence, and nothing is begun', async () => {
    await using old = await startOldPostgres('14.13 (Debian 14.13-1.pgdg120+1)');
    using folder = temporaryFolder();
    const dir = join(folder.path, 'world');
    const args = ['--database-url', old.url, '--dir', dir, '--port-base', String(freePortBase())];
    const refused = await skerry(['up', ...args]);
    expect(refused).toEqual({
      code: 2,
      out: '',
      err: expect.stringMatching(
        /^[^\n]*the server is PostgreSQL 14\.13 \(Debian 14\.13-1\.pgdg120\+1\); 15 or later is needed[^\n]*\n[^\n]*upgrade the server to PostgreSQL 15 or later\n$/,
      ),
    });
    const json = await skerry(['up', '--json', ...args]);
    expect([json.code, JSON.parse(json.out)]).toMatchObject([2, { error: { code: 'server-too-old' } }]);
    expect(readdirSync(dir)).not.toContain('relay');
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
