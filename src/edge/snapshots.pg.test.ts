// What blocks see while the replica moves on: READ COMMITTED each time the newest, REPEATABLE READ always the same, cursors what held when
// they were declared; what happens when such a block has to go on at the core; and how all of it is stopped.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { type FollowingEdge, startFollowingEdge, type TestEdgeOptions } from '../../test/edge.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startRelay, type TestRelay, upstreamOf } from '../../test/relay.ts';

const ONE = 'SELECT n FROM a WHERE id = 1';
const ALL = 'SELECT sum(n) FROM a WHERE n > -1';
const OTHER = 'SELECT sum(n) FROM b WHERE n > -1';

let postgres: TestPostgres;
let relay: TestRelay;
let edge: FollowingEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, n int);
    INSERT INTO a SELECT i, 0 FROM generate_series(1, 2000) i; INSERT INTO b SELECT i, 0 FROM generate_series(1, 2000) i`);
  relay = await startRelay({ upstream: upstreamOf(postgres) });
  edge = await startFollowingEdge(postgres, relay, { name: 'moving', rywWaitMs: 5000 });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await relay?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

interface Client extends AsyncDisposable {
  ask(sql: string): Promise<string>;
  /** The SQLSTATE it fails with. */
  fail(sql: string): Promise<string>;
  by(): Promise<string>;
  /** Why the connection ended. */
  readonly ended: Promise<string>;
}

async function connect(to: FollowingEdge = edge, options = ''): Promise<Client> {
  const client = new pg.Client({ connectionString: to.url, options });
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  client.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
  await client.connect();
  const ask = async (sql: string): Promise<string> => {
    const result: unknown = await client.query({ text: sql, rowMode: 'array' });
    const { rows } = (Array.isArray(result) ? result.at(-1) : result) as { rows: (string | number | null)[][] };
    return rows.map((row) => row.join()).join(' ');
  };
  return {
    ask,
    fail: (sql) =>
      ask(sql).then(
        () => 'no error',
        (error: { code: string }) => error.code,
      ),
    by: async () => (await ask('SHOW skerry.answered_by')).split(':', 1)[0] ?? '',
    ended,

    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** Commits at the core, and waits until the edge has it. */
async function commit(sql: string): Promise<void> {
  await postgres.sql(sql);
  const lsn = BigInt(await lsnNow());
  await waitFor('the edge to have it', () => edge.control.feed.current.position >= lsn);
}

async function lsnNow(): Promise<string> {
  const client = new pg.Client({ host: postgres.host, port: postgres.port, user: 'postgres', database: 'postgres' });
  await client.connect();
  const { rows } = await client.query<{ lsn: string }>(
    "SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::text AS lsn",
  );
  await client.end();
  return rows[0]?.lsn ?? '0';
}

const add = (table: string): Promise<void> => commit(`UPDATE ${table} SET n = n + 1`);
const sums = async (client: Client): Promise<string[]> => [await client.ask(ONE), await client.ask(ALL)];

describe('READ COMMITTED', () => {
  test('each statement sees what was committed before it, cursors what was there at DECLARE', async () => {
    await using client = await connect();
    await client.ask('BEGIN');
    const n = Number(await client.ask(ONE));
    await client.ask(`DECLARE few CURSOR FOR ${ONE}`);
    await client.ask('DECLARE many CURSOR FOR SELECT n FROM a WHERE n > -1');
    await add('a');
    expect(await sums(client)).toEqual([`${n + 1}`, `${(n + 1) * 2000}`]);
    expect(await client.by()).toBe('local');
    expect(await client.ask('FETCH few')).toBe(String(n));
    expect(new Set((await client.ask('FETCH ALL FROM many')).split(' '))).toEqual(new Set([String(n)]));
    await client.ask('COMMIT');
  });
});

describe('REPEATABLE READ', () => {
  for (const [what, first] of [
    ['a lookup', ONE],
    ['a scan', ALL],
  ] as const) {
    test(`all statements see what the first one saw, which is ${what}`, async () => {
      await using client = await connect();
      const n = Number(await client.ask(ONE));
      await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
      // The snapshot is not taken before.
      await add('a');
      await client.ask(first);
      const before = await sums(client);
      expect(before).toEqual([`${n + 1}`, `${(n + 1) * 2000}`]);
      await add('a');
      await add('b');
      expect(await sums(client)).toEqual(before);
      await client.ask(`DECLARE c CURSOR FOR ${ONE}`);
      expect(await client.ask('FETCH c')).toBe(before[0] as string);
      expect(await client.by()).toBe('local');
      await client.ask('COMMIT');
      expect(await client.ask(ONE)).toBe(String(n + 2));
    });
  }

  test('goes on at the core when what it has read is unchanged, and sees the same there', async () => {
    await using client = await connect();
    await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const before = await sums(client);
    await client.ask('DECLARE c CURSOR FOR SELECT n FROM a WHERE n > -1 ORDER BY id');
    await add('b');
    await client.ask('UPDATE a SET n = n + 10 WHERE id = 1');
    expect(await client.ask(ONE)).toBe(String(Number(before[0]) + 10));
    await add('b');
    // From the core's snapshot, which is not older than the moment it took over.
    const other = await client.ask(OTHER);
    await add('b');
    expect(await client.ask(OTHER)).toBe(other);
    expect(await client.ask('FETCH c')).toBe(before[0] as string);
    await client.ask('ROLLBACK');
  });

  test('gets 40001 when it was changed; trying again succeeds', async () => {
    await using client = await connect();
    const block = async (): Promise<string> => {
      await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await sums(client);
      const by = await client.by();
      if (by === 'local') await add('a');
      return by;
    };
    expect(await block()).toBe('local');
    expect(await client.fail('UPDATE b SET n = n WHERE id = 1')).toBe('40001');
    expect(await client.fail(ONE)).toBe('25P02');
    await client.ask('ROLLBACK');
    expect(await block()).toBe('forwarded');
    await client.ask('UPDATE b SET n = n WHERE id = 1');
    await client.ask('COMMIT');
    // And the one after that is local again.
    expect(await block()).toBe('local');
    await client.ask('ROLLBACK');
  });

  test('with nothing read yet goes to the core whatever has changed; SERIALIZABLE is there from the start', async () => {
    await using client = await connect();
    await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await add('a');
    await client.ask('UPDATE b SET n = n WHERE id = 2');
    await client.ask('COMMIT');
    await client.ask('BEGIN ISOLATION LEVEL SERIALIZABLE');
    await client.ask(ONE);
    expect(await client.by()).toBe('forwarded');
    await client.ask('COMMIT');
  });

  test('many at once: more than there are lanes and snapshots for', async () => {
    await using small = await startFollowingEdge(postgres, relay, {
      name: 'small',
      snapshotsMax: 3,
      snapshotLanesMax: 1,
      slowLanesMax: 1,
    });
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect(small)));
    await Promise.all(clients.map((client) => client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY')));
    const before = await Promise.all(clients.map(sums));
    const where = await Promise.all(clients.map((client) => client.by()));
    expect(where.filter((by) => by === 'local').length).toBe(3);
    expect(await Promise.all(clients.map(sums))).toEqual(before);
    for (const client of clients) await client.ask('COMMIT');
    expect(await sums(clients[0] as Client)).toEqual(before[0] as string[]);
    for (const client of clients) await client[Symbol.asyncDispose]();
  });
});

describe('bounds', () => {
  async function withEdge(options: TestEdgeOptions, run: (edge: FollowingEdge) => Promise<void>): Promise<void> {
    await using one = await startFollowingEdge(postgres, relay, { name: 'bounded', ...options });
    await run(one);
  }

  test('INVARIANT_I8: a snapshot that is too old is given up, and the block told', async () => {
    await withEdge({ snapshotAgeMsMax: 300 }, async (one) => {
      await using client = await connect(one);
      await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await client.ask(ONE);
      await waitFor('the snapshot to expire', async () => (await client.fail(ONE)) === '40001');
      await client.ask('ROLLBACK');
      await client.ask(ONE);
    });
  });

  test('INVARIANT_I8: SQLite’s log is folded in again, at the price of the oldest snapshot', async () => {
    await withEdge({ snapshotLogBytesMax: 200_000 }, async (one) => {
      await using client = await connect(one);
      await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await client.ask(ONE);
      for (let round = 0; round < 5; round += 1) await add('b');
      await waitFor('the snapshot to expire', async () => (await client.fail(ONE)) === '40001');
      await client.ask('ROLLBACK');
    });
  });

  test('INVARIANT_I8: cursors that others wait for lie in files, which have a bound', async () => {
    await postgres.sql('CREATE TABLE long (id int PRIMARY KEY, t text)');
    await commit(`INSERT INTO long SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i`);
    // A new table is the core's until the edge has asked whether its role may read it; and this edge follows by itself.
    const knows = (client: Client): Promise<true> =>
      waitFor('the edge to have the table', async () => {
        const row = await client.ask('SELECT t FROM long WHERE id = 1');
        return (await client.by()) === 'local' && row !== '';
      });
    const cursor = 'BEGIN; DECLARE c SCROLL CURSOR FOR SELECT t FROM long WHERE id > 0 ORDER BY id';
    await withEdge({ slowLanesMax: 1 }, async (one) => {
      await using first = await connect(one);
      await knows(first);
      await using second = await connect(one);
      await first.ask(cursor);
      await second.ask(cursor);
      expect(await second.by()).toBe('local');
      for (const client of [first, second]) {
        expect((await client.ask('FETCH ALL FROM c')).length).toBe(5000 * 1001 - 1);
        expect((await client.ask('FETCH ABSOLUTE -1 FROM c')).length).toBe(1000);
        await client.ask('COMMIT');
      }
    });
    await withEdge({ cursorBytesMax: 1_000_000 }, async (one) => {
      await using client = await connect(one);
      await knows(client);
      await client.ask(cursor);
      expect(await client.fail('FETCH ALL FROM c')).toBe('53400');
      await client.ask('ROLLBACK');
    });
  });
});

describe('what stops work here', () => {
  /** A scan that takes longer than any test waits. */
  const FOREVER = 'SELECT count(*) FROM a x JOIN a y ON x.id <> y.id JOIN a z ON z.id <> x.id AND z.n <= y.n';

  const snapshots = (of: FollowingEdge): number =>
    Number(/^skerry_edge_snapshots\S* (\d+)/m.exec(of.metrics.render())?.[1]);

  test('statement_timeout, of statements and of cursors; the block goes on from its savepoint', async () => {
    await using client = await connect();
    await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const before = await client.ask(ONE);
    await client.ask('SAVEPOINT s');
    await client.ask("SET LOCAL statement_timeout = '100ms'");
    expect(await client.fail(FOREVER)).toBe('57014');
    expect(await client.fail(ONE)).toBe('25P02');
    await client.ask('ROLLBACK TO s');
    await client.ask("SET LOCAL statement_timeout = '100ms'");
    expect(await client.fail(`DECLARE c CURSOR FOR ${FOREVER}`)).toBe('57014');
    await client.ask('ROLLBACK TO s');
    await add('a');
    expect(await client.ask(ONE)).toBe(before);
    await client.ask('ROLLBACK');
    expect(await client.ask(ONE)).not.toBe(before);
  });

  test('idle_in_transaction_session_timeout ends the session and gives its snapshot back', async () => {
    await using client = await connect(edge, '-c idle_in_transaction_session_timeout=200ms');
    await client.ask(ONE);
    await client.ask('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.ask(ONE);
    expect(snapshots(edge)).toBe(1);
    expect(await client.ended).toBe('25P03');
    await waitFor('the snapshot to be given back', () => snapshots(edge) === 0);
  });

  test('the same where the block is the core’s, and in one that failed', async () => {
    await using client = await connect(edge, '-c idle_in_transaction_session_timeout=200ms');
    await client.ask('BEGIN');
    await client.ask('UPDATE b SET n = n WHERE id = 3');
    expect(await client.ended).toBe('25P03');
    await using failed = await connect(edge, '-c idle_in_transaction_session_timeout=200ms');
    await failed.ask('BEGIN');
    await failed.fail('SELECT 1/0');
    expect(await failed.ended).toBe('25P03');
  });

  test('idle_session_timeout', async () => {
    await using client = await connect(edge);
    await client.ask("SET idle_session_timeout = '200ms'");
    expect(await client.ended).toBe('57P05');
  });

  test('transaction_timeout, where the core has it', async () => {
    await using old = await connect();
    if ((await old.ask('SHOW server_version_num')) < '170000') {
      expect(await old.fail("SET transaction_timeout = '1s'")).toBe('42704');
      expect(await old.fail('SHOW transaction_timeout')).toBe('42704');
    }
    await using newer = await startPostgres({ version: '18' });
    await newer.sql(
      'CREATE TABLE a (id int PRIMARY KEY, n int); INSERT INTO a SELECT i, 0 FROM generate_series(1, 2000) i',
    );
    await using feeding = await startRelay({ upstream: upstreamOf(newer) });
    await using to = await startFollowingEdge(newer, feeding, { name: 'newer' });
    await using idle = await connect(to, '-c transaction_timeout=300ms');
    await idle.ask('BEGIN');
    await idle.ask(ONE);
    expect(await idle.ended).toBe('25P04');
    await using busy = await connect(to);
    await busy.ask("SET transaction_timeout = '300ms'");
    expect(await busy.ask('SHOW transaction_timeout')).toBe('300ms');
    expect(await busy.fail(FOREVER)).toBe('25P04');
    await waitFor('its lane to be given back', () => to.edge.slowLanesTaken === 0);
  }, 60_000);
});
