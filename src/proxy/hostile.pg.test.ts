// Bad networks and bad peers on both sides: whatever happens to one connection, nothing leaks, nobody else is affected, no
// answer reaches the wrong client, and the pool is right again afterwards.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { type Behaviour, startHostileLink } from '../../test/hostile-link.ts';
import { startProxy, type TestProxy } from '../../test/proxy.ts';

const POOL_SIZE = 2;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql('create table kept (id int)');
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

type Client = pg.Client & AsyncDisposable;

async function connect(port: number): Promise<Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    connectionTimeoutMillis: 10_000,
  });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end().catch(() => {}) });
}

/** Somebody else's, or none of what was asked. */
class WrongAnswer extends Error {}

/** A life with everything in it: simple and prepared statements, a transaction, an error, COPY-sized rows. Its answers must be its own. */
async function live(port: number, name: string): Promise<void> {
  await using client = await connect(port);
  for (let turn = 0; turn < 3; turn += 1) {
    const mark = `${name}-${turn}`;
    const one = await client.query<{ mark: string }>('select $1::text as mark', [mark]);
    if (one.rows.length !== 1 || one.rows[0]?.mark !== mark) throw new WrongAnswer(JSON.stringify(one.rows));
    await client.query('begin');
    await client.query('insert into kept values ($1)', [turn]);
    const failed = await client.query(`select '${mark}'::int`).catch(errorOf);
    if (!(failed instanceof Error)) throw new WrongAnswer('no error');
    if (failed.code !== '22P02') throw failed;
    if (!failed.message.includes(mark)) throw new WrongAnswer(failed.message);
    await client.query('rollback');
    const many = await client.query<{ row: string }>({
      name: 'rows',
      text: `select $1 || g || repeat('.', 200) as row from generate_series(1, 50) g`,
      values: [mark],
    });
    if (many.rows.length !== 50 || !many.rows.every(({ row }) => row.startsWith(mark))) {
      throw new WrongAnswer(JSON.stringify(many.rows));
    }
  }
}

/** Everybody served, no client left behind, all server connections at rest and none more than the pool may have. */
async function isRightAgain(proxy: TestProxy): Promise<void> {
  await Promise.all([live(proxy.port, 'after-a'), live(proxy.port, 'after-b'), live(proxy.port, 'after-c')]);
  await waitFor('all is at rest', () => {
    const pools = [...proxy.proxy.pools.values()];
    return (
      proxy.proxy.clients.size === 0 &&
      pools.every(
        (pool) =>
          pool.waiting === 0 &&
          pool.opening === 0 &&
          pool.recovering.size === 0 &&
          pool.idle.length === pool.servers.size &&
          pool.servers.size <= POOL_SIZE,
      )
    );
  });
  const database = proxy.proxy.databases.get('postgres');
  expect({ clients: database?.clients, servers: database?.limit.used }).toEqual({
    clients: 0,
    servers: [...proxy.proxy.pools.values()].reduce((sum, pool) => sum + pool.servers.size, 0),
  });
  expect(await postgres.value('select count(*) from kept')).toBe('0');
  // Postgres has no session of ours in a transaction or more sessions than we know of.
  await waitFor(
    'no transaction is left open',
    async () => (await postgres.value("select count(*) from pg_stat_activity where state like 'idle in%'")) === '0',
  );
}

const startSmallProxy = (server: { readonly host: string; readonly port: number }): Promise<TestProxy> =>
  startProxy(server, { poolSize: POOL_SIZE, clientLoginTimeoutMs: 5_000, serverConnectTimeoutMs: 2_000 });

/** What a peer goes through without harm. */
const BEARABLE: readonly (readonly [name: string, behaviour: Behaviour])[] = [
  ['every byte on its own', { splitBytes: 1 }],
  ['pieces of seven bytes', { splitBytes: 7 }],
  ['a delay', { delayMs: 5 }],
  ['a slow reader', { bytesPerSecond: 200_000 }],
];

/** Ends of connections, at places all over a login and the first statements. */
const PLACES = [0, 1, 4, 7, 8, 20, 60, 100, 150, 250, 400, 700, 1500, 4000];

const DEADLY: readonly (readonly [name: string, behaviour: (at: number) => Behaviour])[] = [
  ['reset', (at) => ({ resetAfterBytes: at })],
  ['closed', (at) => ({ closeAfterBytes: at })],
  ['garbage', (at) => ({ garbageAfterBytes: at })],
];

describe('on the side of the clients', () => {
  test.each(BEARABLE)('%s changes no answer', async (_name, behaviour) => {
    await using proxy = await startSmallProxy(postgres);
    await using link = await startHostileLink(proxy.port);
    link.behave({ towardsTarget: behaviour, fromTarget: behaviour });
    await Promise.all([live(link.port, 'far-a'), live(link.port, 'far-b'), live(proxy.port, 'near')]);
    await isRightAgain(proxy);
  });

  test.each(DEADLY)('%s at any place harms that client alone', async (_name, behaviour) => {
    await using proxy = await startSmallProxy(postgres);
    await using link = await startHostileLink(proxy.port);
    for (const at of PLACES) {
      link.behave({ towardsTarget: behaviour(at) });
      // It lives on only where the place was never reached. A wrong answer would be a failed expectation, not an error of its connection.
      const [outcome] = await Promise.all([live(link.port, `victim-${at}`).catch(errorOf), live(proxy.port, 'near')]);
      if (at < 1500) expect(outcome).toBeInstanceOf(Error);
      link.resetAll();
    }
    await isRightAgain(proxy);
  });

  test('a client that is cut off from the network in its transaction is found by its limit, and its work undone', async () => {
    await using proxy = await startProxy(postgres, { poolSize: POOL_SIZE, idleTransactionTimeoutMs: 300 });
    await using link = await startHostileLink(proxy.port);
    const client = await connect(link.port);
    await client.query('begin');
    await client.query('insert into kept values (1)');
    link.freezeAll();
    await waitFor('it is given up', () => proxy.proxy.clients.size === 0);
    link.resetAll();
    await isRightAgain(proxy);
  });

  test('one that reads nothing holds its own answer up and nobody else’s', async () => {
    await using proxy = await startSmallProxy(postgres);
    await using link = await startHostileLink(proxy.port);
    link.behave({ fromTarget: { swallowAfterBytes: 2_000 } });
    const stuck = await connect(link.port);
    void stuck.query(`select repeat('x', 1000) from generate_series(1, 50000)`).catch(() => {});
    await waitFor('it has a server', () => [...proxy.proxy.clients].some((one) => one.server !== null));
    for (let turn = 0; turn < 5; turn += 1) await live(proxy.port, `near-${turn}`);
    link.resetAll();
    await isRightAgain(proxy);
  });
});

describe('on the side of the servers', () => {
  test.each(BEARABLE)('%s changes no answer', async (_name, behaviour) => {
    await using link = await startHostileLink(postgres.port);
    await using proxy = await startSmallProxy(link);
    link.behave({ towardsTarget: behaviour, fromTarget: behaviour });
    await Promise.all([live(proxy.port, 'a'), live(proxy.port, 'b'), live(proxy.port, 'c')]);
    await isRightAgain(proxy);
  });

  test.each(DEADLY)('%s at any place costs statements and not the pool', async (name, behaviour) => {
    await using link = await startHostileLink(postgres.port);
    await using proxy = await startSmallProxy(link);
    for (const at of PLACES) {
      link.behave({ fromTarget: behaviour(at + 1) });
      // Bytes that are garbled inside of a row cannot be told from others.
      const outcomeOf = name === 'garbage' ? (error: Error): Error & { code?: string } => error : errorOf;
      const lives = [1, 2].map((one) => live(proxy.port, `unlucky-${at}-${one}`).catch(outcomeOf));
      // Logins that end half-way are tried again until the network is well.
      await Bun.sleep(20);
      link.behave({});
      for (const outcome of await Promise.all(lives)) {
        if (name === 'garbage' || outcome === undefined) continue;
        // Where half a message had gone to the client, there is no place for an error: its connection ends.
        expect(outcome.code ?? outcome.message).toMatch(/^08006$|^08001$|terminated|reset/);
      }
      link.resetAll();
    }
    await isRightAgain(proxy);
  });

  test('all server connections reset at once in the middle of statements: each client hears 08006, none waits for ever', async () => {
    await using link = await startHostileLink(postgres.port);
    await using proxy = await startSmallProxy(link);
    await using one = await connect(proxy.port);
    await using two = await connect(proxy.port);
    const sleeping = [one, two].map((client) => client.query('select pg_sleep(60)').catch(errorOf));
    await waitFor('both run', () => [...proxy.proxy.clients].filter((client) => client.server !== null).length === 2);
    await using waiting = await connect(proxy.port);
    const served = waiting.query<{ a: number }>('select 5 as a');
    link.resetAll();
    for (const outcome of await Promise.all(sleeping)) expect(outcome).toMatchObject({ code: '08006' });
    expect((await served).rows).toEqual([{ a: 5 }]);
    // Outside a transaction the clients keep their own connections.
    expect((await one.query<{ a: number }>('select 6 as a')).rows).toEqual([{ a: 6 }]);
  });

  test('a server that is silent after the login request does not hold up others, and is given up in time', async () => {
    await using link = await startHostileLink(postgres.port);
    await using proxy = await startProxy(link, { poolSize: POOL_SIZE, serverConnectTimeoutMs: 300 });
    link.behave({ fromTarget: { swallowAfterBytes: 1 } });
    const client = connect(proxy.port);
    await waitFor('it is being tried', () => link.open > 0);
    link.behave({});
    await using served = await client;
    expect((await served.query<{ a: number }>('select 1 as a')).rows).toEqual([{ a: 1 }]);
  });
});

/** What a client hears of a broken connection; a wrong answer is never one of the outcomes. */
function errorOf(error: unknown): Error & { code?: string } {
  if (error instanceof Error && !(error instanceof WrongAnswer)) return error;
  throw error;
}
