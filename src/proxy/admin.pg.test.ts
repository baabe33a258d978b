// The admin console, by psql's own protocol (simple queries), and what its commands do to clients at work.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startProxy, type TestProxy, userConfig } from '../../test/proxy.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

type Console = pg.Client & AsyncDisposable;

async function connect(proxy: TestProxy, database: string, more: pg.ClientConfig = {}): Promise<Console> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, user: 'postgres', database, ...more });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function rows(console: pg.Client, command: string): Promise<Record<string, string>[]> {
  return (await console.query<Record<string, string>>(command)).rows;
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return String((error as { code?: string }).code);
  }
}

describe('SHOW', () => {
  test.each([
    [
      'pools',
      [
        'database',
        'user',
        'cl_active',
        'cl_waiting',
        'cl_active_cancel_req',
        'cl_waiting_cancel_req',
        'sv_active',
        'sv_active_cancel',
        'sv_being_canceled',
        'sv_idle',
        'sv_used',
        'sv_tested',
        'sv_login',
        'maxwait',
        'maxwait_us',
        'pool_mode',
        'load_balance_hosts',
      ],
    ],
    [
      'stats_totals',
      [
        'database',
        'server_assignment_count',
        'xact_count',
        'query_count',
        'received',
        'sent',
        'xact_time',
        'query_time',
        'wait_time',
        'client_login_count',
      ],
    ],
    ['lists', ['list', 'items']],
    ['version', ['version']],
    ['config', ['key', 'value', 'default', 'changeable']],
  ])('%s has the columns that dashboards know', async (table, columns) => {
    await using proxy = await startProxy(postgres);
    await using client = await connect(proxy, 'postgres');
    await client.query('select 1');
    await using admin = await connect(proxy, 'skerry');
    const found = await rows(admin, `show ${table}`);
    expect(Object.keys(found[0] ?? {})).toEqual(columns);
  });

  test('every table answers', async () => {
    await using proxy = await startProxy(postgres);
    await using client = await connect(proxy, 'postgres');
    await client.query('begin');
    await using admin = await connect(proxy, 'pgbouncer');
    for (const { show } of await rows(admin, 'show help')) await rows(admin, `SHOW ${show as string};`);
    expect((await rows(admin, 'show clients'))[0]).toMatchObject({
      user: 'postgres',
      database: 'postgres',
      state: 'active',
    });
    expect((await rows(admin, 'show servers'))[0]).toMatchObject({ state: 'active', port: String(postgres.port) });
    expect((await rows(admin, 'show pools'))[0]).toMatchObject({
      sv_active: '1',
      cl_active: '1',
      pool_mode: 'transaction',
    });
  });

  test('only simple queries, only for those who are named, and changes only for admins', async () => {
    await using proxy = await startProxy(postgres, {
      statsUsers: ['watcher'],
      adminUsers: ['postgres'],
      users: new Map([['watcher', userConfig('watcher', 'x')]]),
    });
    await using admin = await connect(proxy, 'skerry');
    expect(await code(admin.query('select $1', [1]))).toBe('0A000');
    expect(await code(admin.query('show nonsense'))).toBe('42601');
    expect(await code(admin.query('dance'))).toBe('42601');
    await using watcher = await connect(proxy, 'skerry', { user: 'watcher' });
    await rows(watcher, 'show pools');
    expect(await code(watcher.query('pause'))).toBe('42501');
    expect(await code(connect(proxy, 'skerry', { user: 'stranger' }))).toBe('28000');
  });
});

describe('commands', () => {
  test('PAUSE waits for transactions, RESUME goes on, under load without one error', async () => {
    await using proxy = await startProxy(postgres, { poolSize: 3 });
    await using admin = await connect(proxy, 'skerry');
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect(proxy, 'postgres')));
    let running = true;
    let done = 0;
    const load = clients.map(async (client) => {
      while (running) {
        await client.query('begin');
        await client.query('select 1');
        await client.query('commit');
        await client.query('select $1::int', [1]);
        done += 1;
      }
    });
    for (let turn = 0; turn < 3; turn += 1) {
      const before = done;
      await waitFor('work is done', () => done > before + 5);
      await admin.query('pause');
      expect([...proxy.proxy.pools.values()].reduce((sum, pool) => sum + pool.servers.size, 0)).toBe(0);
      const paused = done;
      await Bun.sleep(30);
      // What had its answer already may still be counted.
      expect(done - paused).toBeLessThanOrEqual(8);
      await admin.query('resume');
    }
    running = false;
    await Promise.all(load);
    await Promise.all(clients.map((client) => client.end()));
  });

  test('RECONNECT and WAIT_CLOSE renew server connections', async () => {
    await using proxy = await startProxy(postgres, { poolSize: 1 });
    await using client = await connect(proxy, 'postgres');
    await using admin = await connect(proxy, 'skerry');
    const pid = async (): Promise<number> =>
      (await client.query<{ p: number }>('select pg_backend_pid() as p')).rows[0]?.p ?? 0;
    const before = await pid();
    await client.query('begin');
    await admin.query('reconnect');
    expect(await pid()).toBe(before);
    const waiting = admin.query('wait_close');
    await client.query('commit');
    await waiting;
    expect(await pid()).not.toBe(before);
  });

  test('DISABLE refuses new clients, ENABLE lets them in', async () => {
    await using proxy = await startProxy(postgres);
    await using client = await connect(proxy, 'postgres');
    await using admin = await connect(proxy, 'skerry');
    await admin.query('disable postgres');
    expect(await code(connect(proxy, 'postgres'))).toBe('57P03');
    await client.query('select 1');
    await admin.query('enable postgres');
    await (await connect(proxy, 'postgres')).end();
    expect(await code(admin.query('disable nowhere'))).toBe('3D000');
  });

  test('KILL ends clients and server connections; RESUME lets new ones work', async () => {
    await using proxy = await startProxy(postgres);
    const client = await connect(proxy, 'postgres');
    await using admin = await connect(proxy, 'skerry');
    const running = code(client.query('select pg_sleep(600)'));
    await waitFor('it runs', () => [...proxy.proxy.clients].some((one) => one.server !== null));
    await admin.query('kill postgres');
    expect(await running).toBe('57P01');
    await admin.query('resume postgres');
    await using next = await connect(proxy, 'postgres');
    await next.query('select 1');
  });

  test('KILL_CLIENT ends one', async () => {
    await using proxy = await startProxy(postgres);
    await using bystander = await connect(proxy, 'postgres');
    const victim = await connect(proxy, 'postgres', { application_name: 'victim' });
    await using admin = await connect(proxy, 'skerry');
    const id = (await rows(admin, 'show clients')).find((row) => row['application_name'] === 'victim')?.[
      'id'
    ] as string;
    await admin.query(`kill_client ${id}`);
    expect(await code(victim.query('select 1'))).not.toBe('no error');
    await bystander.query('select 1');
  });

  test('SET changes an option for the running process', async () => {
    await using proxy = await startProxy(postgres, { poolSize: 1 });
    await using admin = await connect(proxy, 'skerry');
    await admin.query('set default_pool_size = 5');
    expect(proxy.proxy.config.poolSize).toBe(5);
    expect((await rows(admin, 'show config')).find((row) => row['key'] === 'default_pool_size')?.['value']).toBe('5');
    expect(await code(admin.query('set default_pool_size = many'))).toBe('22023');
    expect(await code(admin.query('set colour = 5'))).toBe('22023');
  });

  test('SHUTDOWN WAIT_FOR_CLIENTS stops when the last client has gone', async () => {
    let stopped = false;
    await using proxy = await startProxy(postgres, { stopRequested: () => (stopped = true) });
    const client = await connect(proxy, 'postgres');
    await using admin = await connect(proxy, 'skerry');
    await admin.query('shutdown wait_for_clients');
    await client.query('select 1');
    expect(stopped).toBe(false);
    expect(await code(connect(proxy, 'postgres'))).not.toBe('no error');
    await client.end();
    await waitFor('it stops', () => stopped);
  });
});

test('PAUSE keeps what clients send up to a bound for all of them; beyond, they are not read, and nothing is lost', async () => {
  const waitingBytesMax = 300_000;
  await using proxy = await startProxy(postgres, { waitingBytesMax });
  await using admin = await connect(proxy, 'skerry');
  const clients = await Promise.all(Array.from({ length: 30 }, () => connect(proxy, 'postgres')));
  await clients[0]?.query('create table sent (length int)');
  await admin.query('pause');
  const text = 'x'.repeat(50_000);
  // Several statements each, more than the bound in all; a client is read as long as there is room.
  const inserts = clients.flatMap((client) =>
    Array.from({ length: 4 }, () => client.query(`insert into sent values (length('${text}'))`)),
  );
  await waitFor('the bound is reached', () => proxy.proxy.waitingBytes > waitingBytesMax);
  const held = await waitFor('nobody is read any more', async () => {
    const before = proxy.proxy.waitingBytes;
    await Bun.sleep(100);
    return proxy.proxy.waitingBytes === before ? before : null;
  });
  // Each may have been in the middle of one read when the bound was reached.
  expect(held).toBeLessThan(waitingBytesMax + clients.length * 64 * 1024);
  expect(held).toBeLessThan(clients.length * 4 * text.length);
  expect(proxy.metrics.render()).toContain(`skerry_proxy_waiting_bytes ${held}`);
  await admin.query('resume');
  await Promise.all(inserts);
  expect(await postgres.value(`select count(*) filter (where length = 50000) from sent`)).toBe('120');
  expect(proxy.proxy.waitingBytes).toBe(0);
  await Promise.all(clients.map((client) => client.end()));
});
