// What an edge does when something is wrong: the core away, in the middle of a statement too; cancels, time limits, limits of
// connections and statements; garbage, wrong passwords, clients that never read, thousands that say nothing.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Client } from 'pg';
import { startTestEdge, type TestEdge, type TestEdgeOptions } from '../../test/edge.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { RawPeer, startup } from '../../test/raw-peer.ts';
import { cancelRequest, query } from '../../test/wire-frames.ts';

const LOCAL = 'SELECT body FROM t WHERE id = 1';

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i;
    CREATE TABLE w (id int PRIMARY KEY, v text); CREATE TABLE secret (id int PRIMARY KEY); INSERT INTO secret VALUES (1);
    CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader; GRANT SELECT (v) ON w TO reader`);
});

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
});

async function connect(edge: TestEdge, more: object = {}): Promise<Client & AsyncDisposable> {
  const client = new Client({ host: '127.0.0.1', port: edge.port, database: 'postgres', user: 'postgres', ...more });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

interface PgError {
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
}

async function failure(work: Promise<unknown>): Promise<PgError> {
  try {
    await work;
  } catch (error) {
    return error as PgError;
  }
  throw new Error('it did not fail');
}

/** What a driver does to cancel: another connection with the session's key. */
async function cancel(edge: TestEdge, client: Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  using canceller = await RawPeer.open(edge.port);
  const key = Buffer.alloc(4);
  key.writeInt32BE(secretKey);
  canceller.send(cancelRequest(processID, key));
  await waitFor('the edge to close the cancel connection', () => canceller.closed);
}

const show = async (client: Client, name: string): Promise<string> =>
  (await client.query(`SHOW ${name}`)).rows[0][name];

describe('without the core', () => {
  let core: TestPostgres;
  let edge: TestEdge;

  beforeAll(async () => {
    core = await startPostgres();
    await core.sql(
      "CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t VALUES (1, 'one'); CREATE TABLE w (id int PRIMARY KEY)",
    );
    edge = await startTestEdge(core, { rywWaitMs: 10 });
  });

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await core?.[Symbol.asyncDispose]();
  });

  test('local answers go on, in blocks too; what must be forwarded gets 57P03 and says why', async () => {
    await using open = await connect(edge);
    await open.query('SELECT 1 FROM pg_class LIMIT 1');
    await core.stop();
    try {
      for (const client of [open, await connect(edge)]) {
        expect((await client.query(LOCAL)).rows).toEqual([{ body: 'one' }]);
        expect((await client.query('SELECT body FROM t WHERE id = $1', [1])).rows).toEqual([{ body: 'one' }]);
        const write = await failure(client.query('INSERT INTO w VALUES (1)'));
        expect(write.code).toBe('57P03');
        expect(write.detail).toContain('write (InsertStmt)');
        expect(write.hint).toContain('SHOW skerry.lag');
        expect((await failure(client.query('INSERT INTO w VALUES ($1)', [1]))).code).toBe('57P03');
        expect((await failure(client.query('SELEC 1'))).code).toBe('42601');
        expect((await failure(client.query('SELEC $1', [1]))).code).toBe('42601');
        await client.query('BEGIN');
        expect((await client.query(LOCAL)).rows).toEqual([{ body: 'one' }]);
        await client.query('COMMIT');
        await client.query('BEGIN');
        expect((await failure(client.query('INSERT INTO w VALUES (1)'))).code).toBe('57P03');
        expect((await failure(client.query(LOCAL))).code).toBe('25P02');
        expect((await client.query('COMMIT')).command).toBe('ROLLBACK');
        edge.feed.lag = 1234.5;
        expect(await show(client, 'skerry.lag')).toBe('1235ms');
        await client.query("SET application_name = 'still here'");
        expect(await show(client, 'application_name')).toBe('still here');
        if (client !== open) await client.end();
      }
    } finally {
      await core.restart();
    }
    await waitFor('writes to go through again', () => open.query('INSERT INTO w VALUES (2)').then(() => true));
    expect(
      (await core.sql("SELECT application_name FROM pg_stat_activity WHERE application_name = 'still here'")).length,
    ).toBe(1);
  });

  /** Until the core answers through the edge again. */
  const coreIsBack = async (): Promise<void> => {
    await using client = await connect(edge);
    await waitFor('the core', () => client.query('SELECT 1 FROM pg_class LIMIT 1').then(() => true));
  };

  test('the core dies in the middle of a statement: an error, and the session goes on', async () => {
    await using client = await connect(edge);
    const sleeping = failure(client.query('SELECT pg_sleep(30)'));
    await waitFor('the statement to run', async () =>
      core.value("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"),
    );
    await core.kill9();
    try {
      expect(['08006', '57P01', '57P02']).toContain((await sleeping).code);
      expect((await client.query(LOCAL)).rows).toEqual([{ body: 'one' }]);
    } finally {
      await core.restart();
    }
  });

  test('the core dies inside a block that runs there: the block has failed', async () => {
    await coreIsBack();
    await using client = await connect(edge);
    await client.query('BEGIN');
    await client.query('INSERT INTO w VALUES (70)');
    await core.kill9();
    try {
      await waitFor('the edge to notice', async () => {
        try {
          await client.query(LOCAL);
          return false;
        } catch (error) {
          return (error as PgError).code === '25P02';
        }
      });
      expect((await client.query('ROLLBACK')).command).toBe('ROLLBACK');
      expect((await client.query(LOCAL)).rows).toEqual([{ body: 'one' }]);
    } finally {
      await core.restart();
    }
  });

  test('a session whose state lived at the core ends with it', async () => {
    await coreIsBack();
    const client = await connect(edge);
    const gone = new Promise<PgError>((resolve) => client.on('error', (error) => resolve(error as never)));
    await client.query('LISTEN news');
    await core.kill9();
    expect((await gone).code).toBe('57P01');
    await core.restart();
  });

  test('a restarted edge remembers what it may answer without the core', async () => {
    await coreIsBack();
    await core.stop();
    try {
      const again = await edge.restart();
      await using client = await connect(again);
      expect((await client.query(LOCAL)).rows).toEqual([{ body: 'one' }]);
      await again[Symbol.asyncDispose]();
    } finally {
      await core.restart();
    }
  });
});

describe('limits', () => {
  const withEdge = async (options: TestEdgeOptions, work: (edge: TestEdge) => Promise<void>): Promise<void> => {
    await using edge = await startTestEdge(postgres, options);
    await work(edge);
  };

  // The cross join keeps SQLite busy for minutes.
  const ENDLESS = 'SELECT count(*) FROM t a, t b, t c WHERE a.id < b.id';

  test('a cancel stops a local scan, and a forwarded statement', async () => {
    await withEdge({}, async (edge) => {
      for (const sql of [ENDLESS, 'SELECT pg_sleep(60)']) {
        using peer = await RawPeer.login(edge.port, { user: 'postgres', database: 'postgres' });
        const key = peer.frames().find((frame) => frame.type === 'K')?.body as Buffer;
        peer.send(query(sql));
        await Bun.sleep(150);
        using canceller = await RawPeer.open(edge.port);
        canceller.send(cancelRequest(key.readInt32BE(0), key.subarray(4)));
        await waitFor('the error', () => peer.errors()[0]?.['C'] === '57014', 3000);
        expect(peer.errors()[0]?.['M']).toBe('canceling statement due to user request');
        peer.send(query(LOCAL));
        await waitFor('the next answer', () => peer.frames().filter((frame) => frame.type === 'D').length === 1, 3000);
      }
    });
  });

  test('statement_timeout stops a local scan, set by the session or for all', async () => {
    await withEdge({ statementTimeoutMs: 200 }, async (edge) => {
      await using client = await connect(edge);
      const byEdge = await failure(client.query(ENDLESS));
      expect([byEdge.code, byEdge.message]).toEqual(['57014', 'canceling statement due to statement timeout']);
      await client.query('SET statement_timeout = 100');
      expect((await failure(client.query(ENDLESS))).code).toBe('57014');
      expect((await client.query(LOCAL)).rows.length).toBe(1);
    });
  });

  test('more clients than allowed get 53300, the others do not notice', async () => {
    await withEdge({ connectionsMax: 2 }, async (edge) => {
      await using one = await connect(edge);
      await using two = await connect(edge);
      const { code } = await failure(connect(edge));
      expect(code).toBe('53300');
      expect((await one.query(LOCAL)).rows.length).toBe(1);
      expect((await two.query(LOCAL)).rows.length).toBe(1);
    });
  });

  test('more writers than connections to the core get 53300', async () => {
    await withEdge({ forwardConnectionsMax: 1 }, async (edge) => {
      await using one = await connect(edge);
      await using two = await connect(edge);
      await one.query('SELECT 1 FROM pg_class LIMIT 1');
      const refused = await failure(two.query('SELECT 1 FROM pg_class LIMIT 1'));
      expect(refused.code).toBe('53300');
      expect(refused.hint).toContain('forwardConnectionsMax');
      expect((await two.query(LOCAL)).rows.length).toBe(1);
      await one.end();
      await waitFor('the place to be free', () => two.query('SELECT 1 FROM pg_class LIMIT 1').then(() => true));
    });
  });

  test('a setting that the core refuses is the affair of one session', async () => {
    await withEdge({}, async (edge) => {
      await using odd = await connect(edge, { options: '-c work_mem=lots' });
      await using other = await connect(edge);
      expect((await odd.query(LOCAL)).rows.length).toBe(1);
      expect((await failure(odd.query('SELECT 1 FROM pg_class LIMIT 1'))).code).toBe('22023');
      expect((await other.query('SELECT 1 FROM pg_class LIMIT 1')).rows.length).toBe(1);
    });
  });

  test('a connection to the core that is not used is given up for another session', async () => {
    await withEdge({ forwardConnectionsMax: 1, forwardIdleMs: 0 }, async (edge) => {
      await using one = await connect(edge);
      await using two = await connect(edge);
      const upsert = "INSERT INTO w VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = 'y'";
      for (let round = 0; round < 3; round += 1) {
        for (const client of [one, two]) {
          await client.query({ name: 'upsert', text: upsert });
          await client.query("SET application_name = 'kept'");
          expect(
            (await client.query('SELECT application_name AS n FROM pg_stat_activity WHERE pid = pg_backend_pid()'))
              .rows,
          ).toEqual([{ n: 'kept' }]);
        }
      }
      // What a block or a temporary table needs is not given up.
      await one.query('BEGIN');
      await one.query(upsert);
      expect((await failure(two.query(upsert))).code).toBe('53300');
      await one.query('COMMIT');
      await one.query('CREATE TEMP TABLE x (a int)');
      expect((await failure(two.query(upsert))).code).toBe('53300');
      await one.query('DISCARD ALL');
      await two.query(upsert);
    });
  });

  test('statements that wait for a lane can be cancelled, and time out', async () => {
    await withEdge({ slowLanesMax: 1 }, async (edge) => {
      await using busy = await connect(edge);
      const running = failure(busy.query(ENDLESS));
      await waitFor('the lane to be taken', () => edge.edge.slowLanesTaken === 1);
      await using waiting = await connect(edge);
      await waiting.query('SET statement_timeout = 100');
      expect((await failure(waiting.query(ENDLESS))).code).toBe('57014');
      await waiting.query('SET statement_timeout = 0');
      const cancelled = failure(waiting.query(ENDLESS));
      await Bun.sleep(50);
      for (const client of [waiting, busy]) await cancel(edge, client);
      expect((await cancelled).code).toBe('57014');
      expect((await running).code).toBe('57014');
      expect((await waiting.query('SELECT count(*) FROM w')).rows.length).toBe(1);
    });
  });

  test('a session may hold only so many prepared statements', async () => {
    await withEdge({ preparedStatementsMax: 3 }, async (edge) => {
      await using client = await connect(edge);
      for (const name of ['a', 'b', 'c']) await client.query({ name, text: LOCAL });
      expect((await failure(client.query({ name: 'd', text: LOCAL }))).code).toBe('54000');
      await client.query('DEALLOCATE a');
      await client.query({ name: 'd', text: LOCAL });
    });
  });

  test('five thousand idle connections, and one that works', async () => {
    await withEdge({}, async (edge) => {
      const sockets: { end(): void }[] = [];
      let ready = 0;
      const hello = startup({ user: 'postgres', database: 'postgres' });
      for (let batch = 0; batch < 50; batch += 1) {
        await Promise.all(
          Array.from({ length: 100 }, async () => {
            sockets.push(
              await Bun.connect({
                hostname: '127.0.0.1',
                port: edge.port,
                socket: {
                  open: (socket) => void socket.write(hello),
                  data(_socket, bytes) {
                    // ReadyForQuery is the last frame of the greeting.
                    if (bytes.at(-6) === 0x5a) ready += 1;
                  },
                },
              }),
            );
          }),
        );
      }
      await waitFor('all of them', () => ready === 5000);
      await using client = await connect(edge);
      expect((await client.query(LOCAL)).rows.length).toBe(1);
      expect(edge.edge.connections).toBe(5001);
      for (const socket of sockets) socket.end();
      await waitFor('them to be gone', () => edge.edge.connections <= 1);
    });
  }, 30_000);

  test('a client that never reads holds up nobody and costs bounded memory', async () => {
    await withEdge({}, async (edge) => {
      const before = process.memoryUsage.rss();
      const deaf: RawPeer[] = [];
      for (const sql of [
        'SELECT a.body FROM t a, t b',
        'SELECT repeat(body, 5) FROM t, generate_series(1, 100)',
        'COPY (SELECT repeat(body, 5) FROM t, generate_series(1, 100)) TO STDOUT',
      ]) {
        const peer = await RawPeer.login(edge.port, { user: 'postgres', database: 'postgres' });
        peer.stopReading();
        peer.send(query(sql));
        deaf.push(peer);
      }
      await using client = await connect(edge);
      for (let round = 0; round < 30; round += 1) {
        expect((await client.query(LOCAL)).rows.length).toBe(1);
        await Bun.sleep(10);
      }
      expect(process.memoryUsage.rss() - before).toBeLessThan(150 * 1024 * 1024);
      for (const peer of deaf) peer[Symbol.dispose]();
    });
  }, 20_000);
});

describe('who may come in', () => {
  let edge: TestEdge;

  beforeAll(async () => {
    edge = await startTestEdge(postgres, { users: [['ann', 'right']], trustLoopback: false });
  });

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
  });

  test('a user of the edge with the right password; anybody else gets 28P01', async () => {
    await using client = await connect(edge, { user: 'ann', password: 'right' });
    expect((await client.query('SELECT current_user AS u')).rows).toEqual([{ u: 'postgres' }]);
    expect((await failure(connect(edge, { user: 'ann', password: 'wrong' }))).code).toBe('28P01');
    expect((await failure(connect(edge, { user: 'bob', password: 'right' }))).code).toBe('28P01');
  });

  test('another database does not exist here', async () => {
    const refused = await failure(connect(edge, { user: 'ann', password: 'right', database: 'other' }));
    expect(refused.code).toBe('3D000');
    expect(refused.hint).toContain('"postgres"');
  });

  test('replication is refused', async () => {
    const refused = await failure(connect(edge, { user: 'ann', password: 'right', replication: 'database' }));
    expect(refused.code).toBe('0A000');
  });

  test('garbage is refused and nobody else notices', async () => {
    await using client = await connect(edge, { user: 'ann', password: 'right' });
    for (const garbage of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100, 0xff),
      Buffer.from([0, 0, 0, 3]),
      Buffer.from([0, 0, 0, 8, 0, 2, 0, 0]),
    ]) {
      using peer = await RawPeer.open(edge.port);
      peer.send(garbage);
      await waitFor('it to be thrown out', () => peer.closed);
    }
    expect((await client.query(LOCAL)).rows.length).toBe(1);
  });
});

describe('garbage after the login', () => {
  test('ends that session with 08P01', async () => {
    await using edge = await startTestEdge(postgres, {});
    for (const garbage of [
      Buffer.from('?\0\0\0\x04', 'latin1'),
      Buffer.from('Q\0\0\0\x02', 'latin1'),
      Buffer.from('P\0\0\0\x05x', 'latin1'),
      Buffer.from('Q\x7f\xff\xff\xff', 'latin1'),
    ]) {
      using peer = await RawPeer.login(edge.port, { user: 'postgres', database: 'postgres' });
      peer.send(garbage);
      await waitFor('it to be thrown out', () => peer.closed);
      expect(peer.errors()[0]?.['C']).toBe('08P01');
    }
  });
});

describe('privileges', () => {
  test('a table that the edge’s role may not read is not read here either', async () => {
    await using edge = await startTestEdge(postgres, { coreUser: 'reader' });
    await using client = await connect(edge);
    expect((await client.query(LOCAL)).rows.length).toBe(1);
    expect(edge.edge.answered.local).toBe(1);
    expect((await failure(client.query('SELECT id FROM secret WHERE id = 1'))).code).toBe('42501');
    expect((await failure(client.query('SELECT id FROM w WHERE id = 1'))).code).toBe('42501');
    // A privilege on columns only: the core decides.
    await client.query("SELECT v FROM w WHERE v = 'x'");
    expect(edge.edge.answered.local).toBe(1);
  });
});

describe('a schema that changes under open sessions', () => {
  test('new columns are there at once; a prepared statement with another result is refused until it is prepared again', async () => {
    await postgres.sql("CREATE TABLE sc (id int PRIMARY KEY, a text); INSERT INTO sc VALUES (1, 'a')");
    await using edge = await startTestEdge(postgres);
    await using client = await connect(edge);
    const star = { name: 'star', text: 'SELECT * FROM sc WHERE id = $1', values: [1] };
    const one = { name: 'one', text: 'SELECT a FROM sc WHERE id = $1', values: [1] };
    expect((await client.query(star)).rows).toEqual([{ id: 1, a: 'a' }]);
    expect((await client.query(one)).rows).toEqual([{ a: 'a' }]);
    await postgres.sql("ALTER TABLE sc ADD COLUMN b int DEFAULT 7; ALTER TABLE sc ALTER COLUMN a SET DEFAULT 'x'");
    await edge.catchUp();
    expect((await client.query('SELECT * FROM sc WHERE id = 1')).rows).toEqual([{ id: 1, a: 'a', b: 7 }]);
    expect((await client.query(one)).rows).toEqual([{ a: 'a' }]);
    for (let again = 0; again < 2; again += 1) {
      const refused = await failure(client.query(star));
      expect([refused.code, refused.message]).toEqual(['0A000', 'cached plan must not change result type']);
    }
    await postgres.sql('DROP TABLE sc');
    await edge.catchUp();
    expect((await failure(client.query(one))).code).toBe('42P01');
    expect((await failure(client.query('SELECT a FROM sc WHERE id = 1'))).code).toBe('42P01');
  });
});

describe('what a forwarded statement may change', () => {
  let edge: TestEdge;

  beforeAll(async () => {
    edge = await startTestEdge(postgres, { rywWaitMs: 10 });
  });

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
  });

  /** Runs `before`, then reads t; gives the value and where it came from. */
  const reads = async (...before: string[]): Promise<string> => {
    await edge.catchUp();
    await using client = await connect(edge);
    for (const sql of before) await client.query(sql);
    const { rows } = await client.query('SELECT count(*) AS n FROM t WHERE id = 1');
    return `${rows[0].n} ${(await show(client, 'skerry.answered_by')).split(':').slice(0, 2).join(':')}`;
  };

  test('a temporary table that hides a real one', async () => {
    expect(await reads('CREATE TEMP TABLE t (id int)')).toBe('0 forwarded: temporary-tables');
    expect(await reads("DO 'BEGIN CREATE TEMP TABLE t (id int); END'")).toBe('0 forwarded: temporary-tables');
    expect(await reads('CREATE TEMP TABLE t (id int)', 'DISCARD ALL')).toStartWith('1 ');
  });

  test('search_path, by whatever means', async () => {
    await postgres.sql('CREATE SCHEMA IF NOT EXISTS other; CREATE TABLE IF NOT EXISTS other.t (id int PRIMARY KEY)');
    expect(await reads("SELECT set_config('search_path', 'other', false)")).toStartWith('0 ');
    expect(await reads('SET search_path = other')).toStartWith('0 ');
    expect(await reads("DO $$ BEGIN PERFORM set_config('search_path', 'other, public', false); END $$")).toStartWith(
      '0 ',
    );
  });

  test('the role', async () => {
    await using client = await connect(edge);
    await client.query('SET ROLE reader');
    expect((await failure(client.query('SELECT id FROM secret WHERE id = 1'))).code).toBe('42501');
    expect((await client.query(LOCAL)).rows.length).toBe(1);
    expect(await show(client, 'skerry.answered_by')).toStartWith('forwarded: peculiar');
    await client.query('RESET ROLE');
    await edge.catchUp();
    await client.query(LOCAL);
    expect(await show(client, 'skerry.answered_by')).toStartWith('local');
  });

  test('a table in front of it that is not replicated', async () => {
    await postgres.sql('CREATE SCHEMA IF NOT EXISTS front; CREATE UNLOGGED TABLE IF NOT EXISTS front.t (id int)');
    // What the edge knows of relations that are not replicated is as old as its last question.
    await waitFor(
      'the edge to know of it',
      async () => (await reads('SET search_path = front, public')) === '0 forwarded: hidden',
    );
    await postgres.sql('DROP SCHEMA front CASCADE');
  });

  test('another encoding sends everything to the core', async () => {
    await using client = await connect(edge, { client_encoding: 'LATIN1' });
    expect((await client.query(LOCAL)).rows.length).toBe(1);
    expect((await client.query("SELECT 'é' AS e")).rows.length).toBe(1);
  });
});
