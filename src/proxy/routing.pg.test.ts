// A primary and a replica: who answers what, and what clients notice when the primary dies or is replaced.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, needs, startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { databaseConfig, startProxy, type TestProxy } from '../../test/proxy.ts';
import { query, RawPeer } from '../../test/raw-peer.ts';
import { findProgram, type PostgresProcess, serverUser, startPostgresProcess } from '../runtime/postgres.ts';
import type { Topology } from '../contracts/topology.ts';
import type { DatabaseConfig } from './config.ts';
import type { ServerConnection } from './server.ts';

interface Replica extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  promote(): void;
}

/** A streaming replica, made by pg_basebackup. */
async function startReplica(primary: TestPostgres): Promise<Replica> {
  const root = mkdtempSync(join(tmpdir(), 'skerry-test-replica-'));
  const user = serverUser();
  if (user !== null) chownSync(root, user.uid, user.gid);
  const as = user === null ? {} : { uid: user.uid, gid: user.gid };
  const dataDir = join(root, 'data');
  const program = findProgram(primary.programs, 'pg_basebackup') as string;
  const copied = Bun.spawnSync(
    [
      program,
      '-D',
      dataDir,
      '-R',
      '-c',
      'fast',
      '-X',
      'stream',
      '-h',
      '127.0.0.1',
      '-p',
      String(primary.port),
      '-U',
      'postgres',
    ],
    { ...as, cwd: root, stderr: 'pipe' },
  );
  if (!copied.success) throw new Error(copied.stderr.toString());
  const port = freePort();
  const running: PostgresProcess = await startPostgresProcess({
    programs: primary.programs,
    dataDir,
    user,
    port,
    settings: {
      fsync: 'off',
      unix_socket_directories: root,
      listen_addresses: '127.0.0.1',
      wal_retrieve_retry_interval: '100ms',
      // A standby needs at least what its primary has.
      max_connections: 200,
      max_wal_senders: 30,
      max_replication_slots: 30,
      max_prepared_transactions: 20,
    },
    logFile: join(root, 'log'),
    timeoutMs: 60_000,
    removeWhenOrphaned: [root],
  });
  return {
    host: '127.0.0.1',
    port,
    promote() {
      Bun.spawnSync([findProgram(primary.programs, 'pg_ctl') as string, 'promote', '-D', dataDir, '-w'], {
        ...as,
        cwd: root,
      });
    },
    async [Symbol.asyncDispose]() {
      await running.kill();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

type Client = pg.Client & AsyncDisposable;

async function connect(port: number): Promise<Client> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function one(client: pg.Client, sql: string, values?: unknown[]): Promise<unknown> {
  const result = await client.query<unknown[]>({
    text: sql,
    rowMode: 'array',
    ...(values === undefined ? {} : { values }),
  });
  return result.rows[0]?.[0];
}

/** Which server answered, by how it names itself. */
const WHO = `select setting from who`;

describe.skipIf(!needs('postgres-15'))('a primary and a replica', () => {
  let primary: TestPostgres;
  let replica: Replica;

  const start = async (more: Partial<DatabaseConfig> = {}): Promise<TestProxy> => {
    const proxy = await startProxy(primary, {
      readPort: 0,
      checkIntervalMs: 50,
      databases: new Map([
        [
          'postgres',
          databaseConfig(primary, {
            name: 'postgres',
            servers: [replica, primary].map(({ host, port }) => ({ host, port })),
            user: 'postgres',
            ...more,
          }),
        ],
      ]),
    });
    await waitFor('both are known', () => {
      const topology = proxy.proxy.databases.get('postgres')?.topology.current();
      return topology?.primary?.port === primary.port && topology.replicas.length === 1;
    });
    return proxy;
  };

  beforeAll(async () => {
    primary = await startPostgres({ version: '15', settings: { hot_standby: 'on' } });
    await primary.sql(
      "create table t (id int); create view who as select setting from pg_settings where name = 'port'",
    );
    replica = await startReplica(primary);
  });
  afterAll(async () => {
    await replica[Symbol.asyncDispose]();
    await primary[Symbol.asyncDispose]();
  });

  test('writes go to the primary wherever it stands in the list, the read-only port to the replica', async () => {
    await using proxy = await start();
    await using writer = await connect(proxy.port);
    await using reader = await connect(proxy.readPort);
    expect(await one(writer, WHO)).toBe(String(primary.port));
    await writer.query('insert into t values (1)');
    expect(await one(reader, WHO)).toBe(String(replica.port));
    await expect(reader.query('insert into t values (1)')).rejects.toMatchObject({ code: '25006' });
  });

  test('statements that are provably reads go to the replica where that is enabled, all others to the primary', async () => {
    await using proxy = await start({ splitReads: true });
    await using client = await connect(proxy.port);
    expect(await one(client, WHO)).toBe(String(replica.port));
    expect(await one(client, `${WHO} where setting <> $1`, ['x'])).toBe(String(replica.port));
    await client.query({ name: 'named', text: WHO });
    expect((await client.query<{ setting: string }>({ name: 'named', text: WHO })).rows[0]?.setting).toBe(
      String(replica.port),
    );
    for (const sql of [
      `${WHO} for update`,
      `select random(), setting from who`,
      `with x as (insert into t values (2) returning 1) ${WHO}`,
    ]) {
      const result = await client.query<{ setting: string }>(sql).catch((error: unknown) => error as { code: string });
      if ('rows' in result) expect({ sql, port: result.rows[0]?.setting }).toEqual({ sql, port: String(primary.port) });
    }
    await client.query('begin');
    expect(await one(client, WHO)).toBe(String(primary.port));
    await client.query('commit');
    await client.query('begin read only');
    expect(await one(client, WHO)).toBe(String(replica.port));
    await client.query('commit');
  });

  test('with read_your_writes a session never misses its own commit', async () => {
    await using proxy = await start({ splitReads: true, readYourWrites: 'session' });
    await using client = await connect(proxy.port);
    await primary.sql('truncate t');
    for (let turn = 1; turn <= 50; turn += 1) {
      await client.query('insert into t values ($1)', [turn]);
      expect(await one(client, 'select count(*)::int from t')).toBe(turn);
    }
    await waitFor('the replica has it', async () => (await one(client, WHO)) === String(replica.port));
    expect(await one(client, 'select count(*)::int from t')).toBe(50);
  });

  test('a replica beyond the bound is not read', async () => {
    await using proxy = await start();
    await using reader = await connect(proxy.readPort);
    await using control = await connect(replica.port);
    await control.query('select pg_wal_replay_pause()');
    try {
      proxy.proxy.config = { ...proxy.proxy.config, lagBytesMax: 1000 };
      await primary.sql('insert into t select generate_series(1, 1000)');
      await waitFor('reads go to the primary', async () => (await one(reader, WHO)) === String(primary.port));
    } finally {
      await control.query('select pg_wal_replay_resume()');
    }
    await waitFor('reads come back', async () => (await one(reader, WHO)) === String(replica.port));
  });

  describe('what a replica refuses (25006) although it looked like a read', () => {
    beforeAll(async () => {
      await primary.sql(`create sequence numbers; create view counting as select nextval('numbers')::int as n`);
      await waitFor('the replica has it', async () => {
        await using control = await connect(replica.port);
        return (await one(control, "select to_regclass('counting')::text")) === 'counting';
      });
    });

    test.each([
      ['a simple query', (client: pg.Client) => one(client, 'select n from counting')],
      ['with parameters', (client: pg.Client) => one(client, 'select n + $1::int from counting', [0])],
      [
        'a named statement',
        async (client: pg.Client) =>
          (await client.query<{ n: number }>({ name: 'counted', text: 'select n from counting where n > 0' })).rows[0]
            ?.n,
      ],
    ])('%s runs on the primary, once, and the client sees one answer', async (_name, ask) => {
      await using proxy = await start({ splitReads: true });
      await using client = await connect(proxy.port);
      await primary.sql("select setval('numbers', 1000)");
      expect(await ask(client)).toBe(1001);
      // Now it is known.
      expect(await ask(client)).toBe(1002);
      expect(await one(client, WHO)).toBe(String(replica.port));
    });

    test('many at once, among real reads', async () => {
      await using proxy = await start({ splitReads: true });
      await primary.sql("select setval('numbers', 2000)");
      const clients = await Promise.all(Array.from({ length: 8 }, () => connect(proxy.port)));
      const asked = clients.map(async (client, index) => {
        const seen: number[] = [];
        for (let turn = 0; turn < 10; turn += 1) {
          // Each text is new, so that each is refused first.
          seen.push((await one(client, `select n from counting where ${index * 100 + turn} >= 0`)) as number);
          expect(await one(client, `select '${index}-${turn}' from who`)).toBe(`${index}-${turn}`);
        }
        return seen;
      });
      const numbers = (await Promise.all(asked)).flat().sort((a, b) => a - b);
      expect(numbers).toEqual(Array.from({ length: 80 }, (_, index) => 2001 + index));
      for (const client of clients) await client.end();
    });

    test('what was asked before it and is not answered yet is answered all the same', async () => {
      await using proxy = await start({ splitReads: true });
      using peer = await RawPeer.login(proxy.port, { user: 'postgres', database: 'postgres' });
      peer.takeFrames();
      peer.send(Buffer.concat([query("select 'earlier' from who"), query('select n from counting where n > 3')]));
      await waitFor('both are answered', () => peer.frames().filter(({ type }) => type === 'Z').length === 2);
      // The second is refused: it may not be tried again without the first one's answer being lost.
      const answers = peer.frames().map(({ type }) => type);
      expect(answers.filter((type) => /[DEZ]/.test(type))).toEqual(['D', 'Z', 'E', 'Z']);
    });

    test('a cancel that is still under way to the replica does not meet the next one there', async () => {
      await using proxy = await start({ splitReads: true });
      await using client = await connect(proxy.port);
      const [inside] = proxy.proxy.clients;
      if (inside === undefined) throw new Error('no client');
      const takeBack = inside.takeBack.bind(inside);
      const left: ServerConnection[] = [];
      inside.takeBack = () => {
        const server = inside.server as ServerConnection;
        server.cancels += 1;
        left.push(server);
        takeBack();
      };
      expect(await one(client, 'select n from counting where n > 4')).toBeNumber();
      expect(left.map(({ state }) => state)).toEqual(['closed']);
    });

    test('is told where the client asked for a replica, or for a transaction that only reads', async () => {
      await using proxy = await start({ splitReads: true });
      await using reader = await connect(proxy.readPort);
      await expect(reader.query('select n from counting where n > 1')).rejects.toMatchObject({ code: '25006' });
      await using client = await connect(proxy.port);
      await client.query('begin read only');
      await expect(client.query('select n from counting where n > 2')).rejects.toMatchObject({ code: '25006' });
      await client.query('rollback');
    });
  });

  test('a standby that is taken for the primary gets nothing to run: the statement waits for the real one', async () => {
    await using proxy = await start();
    await using client = await connect(proxy.port);
    const database = proxy.proxy.databases.get('postgres');
    if (database === undefined) throw new Error('no such database');
    const { topology } = database;
    const right = topology.current();
    const [standby] = right.replicas;
    if (standby === undefined) throw new Error('no replica');
    let current: Topology = { ...right, primary: standby };
    database.topology = { current: () => current, subscribe: () => ({ [Symbol.dispose]: () => {} }) };
    for (const pool of proxy.proxy.pools.values()) pool.renew('test');
    const inserted = client.query('insert into t values (7)');
    await waitFor('it was tried', () =>
      [...proxy.proxy.pools.values()].some((pool) => pool.lastFailure?.message.includes('is a standby') === true),
    );
    current = { ...right, primary: right.primary ?? standby };
    expect((await inserted).rowCount).toBe(1);
    database.topology = topology;
  });

  // Last: it uses the servers up.
  test('when the primary dies, waiting statements wait and the promoted replica answers them', async () => {
    await using proxy = await start();
    await using client = await connect(proxy.port);
    await client.query('insert into t values (99)');
    const lost = client.query('select pg_sleep(60)').catch((error: unknown) => error as { code: string });
    await waitFor(
      'it runs',
      async () =>
        (await primary.value(
          `select count(*) from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'`,
        )) === '1',
    );
    await primary.kill9();
    expect(await lost).toMatchObject({ code: '08006' });
    const waiting = one(client, WHO);
    replica.promote();
    expect(await waiting).toBe(String(replica.port));
    await client.query('insert into t values (100)');
  });
});
