// Tenants in front of a real Postgres: who is held back is counted in pg_stat_activity, never measured in time.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { databaseConfig, startProxy, type TestProxy, type TestProxyOptions } from '../../test/proxy.ts';
import { query, RawPeer } from '../../test/raw-peer.ts';
import { createLog } from '../observe/log.ts';
import type { TenantLimits } from './limits/tenant.ts';
import { type TenantRule, TENANTS_DEFAULTS, type TenantsConfig } from './limits/tenants.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.value(`do $$ begin create role a login superuser; create role b login superuser; end $$`);
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

function rule(name: string, limits: Partial<TenantLimits>, more: Partial<TenantRule> = {}): TenantRule {
  const none = { maxConnections: null, poolSize: null, qps: null, maxWaiting: null, weight: null, algorithm: null };
  return { name, database: 'postgres', user: name, applicationName: '', limits: { ...none, ...limits }, ...more };
}

function tenantsProxy(tenants: Partial<TenantsConfig>, more: TestProxyOptions = {}): Promise<TestProxy> {
  return startProxy(postgres, { tenants: { ...TENANTS_DEFAULTS, ...tenants }, ...more });
}

async function connect(
  proxy: TestProxy,
  user: string,
  more: pg.ClientConfig = {},
): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, user, database: 'postgres', ...more });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

function connectMany(proxy: TestProxy, user: string, count: number): Promise<(pg.Client & AsyncDisposable)[]> {
  return Promise.all(Array.from({ length: count }, () => connect(proxy, user)));
}

/** What a database error says. */
function errorOf(
  asked: Promise<unknown>,
): Promise<{ code: string | undefined; message: string; hint: string | undefined }> {
  return asked.then(
    () => {
      throw new Error('it did not fail');
    },
    ({ code, message, hint }: pg.DatabaseError) => ({ code, message, hint }),
  );
}

const sleeping = async (user: string): Promise<number> =>
  Number(
    await postgres.value(
      `select count(*) from pg_stat_activity where usename = '${user}' and state = 'active' and query like '%pg_sleep%'`,
    ),
  );

/** Ends those that are at work, again and again, until all that was asked is answered; never are more than `atMost` at work. */
async function endAll(asked: readonly Promise<unknown>[], atMost: number): Promise<void> {
  let answered = false;
  const all = Promise.all(asked).then(() => {
    answered = true;
  });
  const most: number[] = [];
  await waitFor('all have had their turn', async () => {
    const cancelled = await postgres.value(
      `select count(pg_cancel_backend(pid)) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60%'`,
    );
    most.push(Number(cancelled));
    return answered;
  });
  await all;
  expect(Math.max(...most)).toBeLessThanOrEqual(atMost);
}

/** The row of a tenant in SHOW TENANTS, numbers as numbers. */
async function shown(proxy: TestProxy, tenant: string): Promise<Record<string, unknown>> {
  await using admin = await connect(proxy, 'postgres', { database: 'skerry' });
  const { rows } = await admin.query<Record<string, string>>('show tenants');
  const row = rows.find((one) => one['tenant'] === tenant) ?? {};
  return Object.fromEntries(
    Object.entries(row).map(([key, value]) => [key, /^\d+$/.test(value) ? Number(value) : value]),
  );
}

describe.each(['transaction', 'session'] as const)('%s mode', (poolMode) => {
  const databases = new Map<string, ReturnType<typeof databaseConfig>>();
  const options = (): TestProxyOptions => ({
    databases: databases.set('*', databaseConfig(postgres, { poolMode })),
    poolSize: 30,
  });

  test('a tenant that floods has as many statements at work as it may, and another is not held up', async () => {
    await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 3 })] }, options());
    const flood = await connectMany(proxy, 'a', 12);
    const asked = flood.map((client) => client.query('select pg_sleep(60)').catch(() => {}));
    await waitFor('three of A are at work', async () => (await sleeping('a')) === 3);
    await using b = await connect(proxy, 'b');
    for (let index = 0; index < 20; index += 1) await b.query('select 1');
    expect(await sleeping('a')).toBe(3);
    expect(await shown(proxy, 'a')).toMatchObject({ in_flight: 3, busy: 3, queue: 9, pool_size: 3 });
    expect(await shown(proxy, 'postgres/b')).toMatchObject({ queue: 0, wait_count: 0, query_count: 20 });
    // Those that wait come in as others end: never more than three, and all of them in the end.
    await endAll(asked, 3);
    await waitFor('nothing is left', async () => (await shown(proxy, 'a'))['in_flight'] === 0);
    await Promise.all(flood.map((client) => client.end()));
  });

  test('who leaves while waiting, or while its statement runs, leaves nothing behind', async () => {
    await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 1 })] }, options());
    const [runner, waiter, last] = (await connectMany(proxy, 'a', 3)) as unknown as [pg.Client, pg.Client, pg.Client];
    const running = runner.query('select pg_sleep(60)').catch(() => {});
    await waitFor('one is at work', async () => (await sleeping('a')) === 1);
    const waiting = waiter.query('select 1').catch(() => {});
    const served = last.query('select 7 as x');
    await waitFor('two wait', async () => (await shown(proxy, 'a'))['queue'] === 2);
    const drop = (client: pg.Client): void => {
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    };
    drop(waiter);
    await waitFor('one waits', async () => (await shown(proxy, 'a'))['queue'] === 1);
    drop(runner);
    expect((await served).rows).toEqual([{ x: 7 }]);
    await Promise.all([running, waiting]);
    await waitFor('nothing is left', async () => (await shown(proxy, 'a'))['in_flight'] === 0);
    await last.end();
  });

  test('a cancel reaches who waits for its turn', async () => {
    await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 1 })] }, options());
    const [runner] = (await connectMany(proxy, 'a', 1)) as unknown as [pg.Client];
    const running = runner.query('select pg_sleep(60)').catch(() => {});
    await waitFor('one is at work', async () => (await sleeping('a')) === 1);
    using peer = await RawPeer.login(proxy.port, { user: 'a', database: 'postgres' });
    const before = peer.frames().length;
    peer.send(query('select 1'));
    await waitFor('it waits', async () => (await shown(proxy, 'a'))['queue'] === 1);
    [...proxy.proxy.clients].find((one) => one.waitingSince > 0)?.cancel();
    await waitFor(
      'it is told',
      () =>
        peer
          .frames()
          .slice(before)
          .map((one) => one.type)
          .join('') === 'EZ',
    );
    await endAll([running], 1);
    // And may go on.
    peer.send(query('select 1'));
    await waitFor(
      'it is answered',
      () => peer.frames().at(-1)?.type === 'Z' && peer.frames().some((one) => one.type === 'D'),
    );
    await runner.end();
  });
});

test('a transaction is not stopped in its middle, and holds its place while its client thinks', async () => {
  await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 1 })] });
  await using first = await connect(proxy, 'a');
  await using second = await connect(proxy, 'a');
  await first.query('begin');
  expect(await shown(proxy, 'a')).toMatchObject({ in_flight: 1, busy: 0 });
  const waits = second.query('select 2 as x');
  await waitFor('the second waits', async () => (await shown(proxy, 'a'))['queue'] === 1);
  for (let index = 0; index < 5; index += 1) await first.query('select 1');
  await first.query('commit');
  expect((await waits).rows).toEqual([{ x: 2 }]);
});

test('a pinned client waits for its turn like others, and gives it back at rest', async () => {
  await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 1 })] }, { queryWaitTimeoutMs: 20_000 });
  await using pinned = await connect(proxy, 'a');
  await using other = await connect(proxy, 'a');
  await pinned.query('select pg_advisory_lock(1)');
  // What pins is asked of the server after the answer.
  await waitFor('it rests', async () => (await shown(proxy, 'a'))['in_flight'] === 0);
  const sleeps = other.query('select pg_sleep(60)').catch(() => {});
  await waitFor('the other is at work', async () => (await sleeping('a')) === 1);
  const waits = pinned.query('select pg_advisory_unlock(1) as ok');
  await waitFor('the pinned one waits', async () => (await shown(proxy, 'a'))['queue'] === 1);
  await endAll([sleeps], 1);
  expect((await waits).rows).toEqual([{ ok: true }]);
  await waitFor('nothing is left', async () => (await shown(proxy, 'a'))['in_flight'] === 0);
});

test('the budget of a server: full with one tenant’s statements, another gets the slot for newcomers at once', async () => {
  await using proxy = await tenantsProxy({ serverBudget: 5 });
  const flood = await connectMany(proxy, 'a', 10);
  const asked = flood.map((client) => client.query('select pg_sleep(60)').catch(() => {}));
  await waitFor('four of A are at work', async () => (await sleeping('a')) === 4);
  await using b = await connect(proxy, 'b');
  expect((await b.query('select 1 as x')).rows).toEqual([{ x: 1 }]);
  expect(await sleeping('a')).toBe(4);
  // Two of B want to run at once: A's share shrinks, and B gets the places that become free.
  const others = await connectMany(proxy, 'b', 2);
  const both = others.map((client) => client.query('select pg_sleep(60)').catch(() => {}));
  await waitFor('one of B is at work', async () => (await sleeping('b')) === 1);
  proxy.proxy.tenants.backends.values().next().value?.setShare(4, proxy.proxy.now());
  expect(await sleeping('a')).toBe(4);
  await endAll([...asked, ...both], 5);
  await Promise.all([...flood, ...others].map((client) => client.end()));
});

test('limits are told with SQLSTATE and hint, inside the protocol’s rules', async () => {
  await using proxy = await tenantsProxy(
    { rules: [rule('a', { poolSize: 1, maxWaiting: 1, maxConnections: 3 })] },
    { queryWaitTimeoutMs: 500 },
  );
  const [holder, waiter, refused] = (await connectMany(proxy, 'a', 3)) as unknown as [pg.Client, pg.Client, pg.Client];
  const fourth = await errorOf(connect(proxy, 'a'));
  expect(fourth).toMatchObject({ code: '53300', message: 'tenant a has 3 clients already (max_connections)' });
  await holder.query('begin');
  const waits = errorOf(waiter.query('select $1::int', [1]));
  await waitFor('one waits', async () => (await shown(proxy, 'a'))['queue'] === 1);
  expect(await errorOf(refused.query('select $1::int', [1]))).toMatchObject({
    code: '53300',
    message: '1 clients of tenant a wait already (max_waiting)',
  });
  expect(await errorOf(refused.query('select 1'))).toMatchObject({ code: '53300' });
  const overdue = await waits;
  expect(overdue).toMatchObject({ code: '53300' });
  expect(overdue.message).toContain('all 1 server connections of its pool_size are in use');
  expect(overdue.hint).toContain('SET tenant.a.pool_size');
  await holder.query('commit');
  for (const client of [waiter, refused]) expect((await client.query('select 3 as x')).rows).toEqual([{ x: 3 }]);
  expect(await shown(proxy, 'a')).toMatchObject({ refused: 3, clients: 3, max_connections: 3 });
  await Promise.all([holder, waiter, refused].map((client) => client.end()));
  // They are counted out again.
  await waitFor('nobody is left', async () => (await shown(proxy, 'a'))['clients'] === 0);
});

test('queries per second: each statement of a transaction counts, and it is the next that waits', async () => {
  await using proxy = await tenantsProxy({ rules: [rule('a', { qps: 5 })] }, { queryWaitTimeoutMs: 300 });
  await using client = await connect(proxy, 'a');
  await client.query('begin');
  for (let index = 0; index < 20; index += 1) await client.query('select 1');
  await client.query('commit');
  // Seventeen are owed: three seconds.
  const told = await errorOf(client.query('select 1'));
  expect(told).toMatchObject({ code: '53400' });
  expect(told.message).toContain('5 queries per second');
});

test('SET changes a tenant at once, SHOW TENANTS tells, RELOAD keeps it, wrong values are refused', async () => {
  await using proxy = await tenantsProxy(
    { rules: [rule('a', { poolSize: 1 })] },
    { reload: () => Promise.resolve(proxy.proxy.config) },
  );
  await using admin = await connect(proxy, 'postgres', { database: 'skerry' });
  const flood = await connectMany(proxy, 'a', 4);
  const asked = flood.map((client) => client.query('select pg_sleep(60)').catch(() => {}));
  await waitFor('one is at work', async () => (await sleeping('a')) === 1);
  await admin.query('set tenant.a.pool_size = 3');
  await admin.query('set tenant.a.algorithm = off');
  await waitFor('three are at work', async () => (await sleeping('a')) === 3);
  await admin.query('reload');
  expect(await shown(proxy, 'a')).toMatchObject({ pool_size: 3, algorithm: 'off', limit: 0 });
  await admin.query(`SET tenant."a".pool_size TO DEFAULT`);
  expect(await shown(proxy, 'a')).toMatchObject({ pool_size: 1, in_flight: 3 });
  await endAll(asked, 3);
  // Implicit tenants have names with a slash.
  await admin
    .query('set tenant.postgres/b.qps = 100')
    .catch((error: unknown) => expect(error).toMatchObject({ code: '42704' }));
  await using b = await connect(proxy, 'b');
  await b.query('select 1');
  await admin.query('set tenant.postgres/b.qps = 100');
  expect(await shown(proxy, 'postgres/b')).toMatchObject({ qps: 100 });
  expect(await errorOf(admin.query('set tenant.a.colour = 1'))).toMatchObject({ code: '22023' });
  expect(await errorOf(admin.query('set tenant.a.qps = many'))).toMatchObject({ code: '22023' });
  expect(await errorOf(admin.query('set tenant.a'))).toMatchObject({ code: '42601' });
  await Promise.all(flood.map((client) => client.end()));
});

test('rules by application_name; RELOAD moves clients that are connected', async () => {
  let rules = [rule('batch', {}, { user: '', applicationName: 'cron*' })];
  await using proxy = await tenantsProxy(
    { rules },
    { reload: () => Promise.resolve({ ...proxy.proxy.config, tenants: { ...TENANTS_DEFAULTS, rules } }) },
  );
  await using cron = await connect(proxy, 'a', { application_name: 'cron-5' });
  await using web = await connect(proxy, 'a', { application_name: 'web' });
  await cron.query('select 1');
  await web.query('select 1');
  expect(await shown(proxy, 'batch')).toMatchObject({ clients: 1, query_count: 1 });
  expect(await shown(proxy, 'postgres/a')).toMatchObject({ clients: 1, query_count: 1 });
  rules = [...rules, rule('a', {})];
  await proxy.proxy.reload();
  await web.query('select 1');
  expect(await shown(proxy, 'a')).toMatchObject({ clients: 1, query_count: 1 });
  expect(await shown(proxy, 'postgres/a')).toMatchObject({ clients: 0, query_count: 1 });
});

test('PAUSE gives permissions back, RESUME lets all go on', async () => {
  await using proxy = await tenantsProxy({ serverBudget: 2 });
  await using admin = await connect(proxy, 'postgres', { database: 'skerry' });
  await using a = await connect(proxy, 'a');
  const others = await connectMany(proxy, 'a', 5);
  await a.query('select 1');
  await admin.query('pause');
  const order: number[] = [];
  const all = others.map((client, index) => client.query('select 1').then(() => order.push(index)));
  await waitFor('all wait', () => [...proxy.proxy.pools.values()].reduce((sum, pool) => sum + pool.waiting, 0) === 5);
  expect(await shown(proxy, 'postgres/a')).toMatchObject({ in_flight: 0 });
  await admin.query('resume');
  await Promise.all(all);
  expect(order.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4]);
  expect(await shown(proxy, 'postgres/a')).toMatchObject({ in_flight: 0, queue: 0 });
  await Promise.all(others.map((client) => client.end()));
});

test('metrics by tenant, and the tenant in the slow-query log', async () => {
  const lines: string[] = [];
  const log = createLog({ level: 'warn', format: 'json', wall: () => 0, sink: (line) => lines.push(line) });
  await using proxy = await tenantsProxy({ rules: [rule('a', { poolSize: 1 })] }, { slowQueryMs: 20, log });
  const [first, second] = (await connectMany(proxy, 'a', 2)) as unknown as [pg.Client, pg.Client];
  await Promise.all([first.query('select pg_sleep(0.03)'), second.query('select pg_sleep(0.03)')]);
  expect(lines.map((line) => (JSON.parse(line) as { tenant: string }).tenant)).toEqual(['a', 'a']);
  const text = proxy.metrics.render();
  expect(text).toContain('skerry_proxy_tenant_query_seconds_count{tenant="a"} 2');
  expect(text).toContain('skerry_proxy_tenant_wait_seconds_count{tenant="a"} 1');
  expect(text).toContain('skerry_proxy_tenant_in_flight{tenant="a"} 0');
  expect(text).toContain('skerry_proxy_tenant_limit{tenant="a"} 1');
  await Promise.all([first.end(), second.end()]);
});

describe('what is measured', () => {
  /** Fingerprints that the proxy has a baseline or calls for, with their calls. */
  async function measured(proxy: TestProxy): Promise<Record<string, number>> {
    await using admin = await connect(proxy, 'postgres', { database: 'skerry' });
    const { rows } = await admin.query<{ query: string; calls: string }>('show baselines');
    return Object.fromEntries(rows.map((row) => [row.query, Number(row.calls)]));
  }

  test.each(['transaction', 'session'] as const)(
    '%s mode: simple, unnamed and named statements, by text without values',
    async (poolMode) => {
      await using proxy = await tenantsProxy({}, { poolMode });
      await using client = await connect(proxy, 'a');
      await client.query('select 1 as a');
      await client.query('select 22 as a');
      await client.query('select $1::int as b', [1]);
      await client.query({ name: 'n', text: 'select $1::int as c', values: [1] });
      await client.query({ name: 'n', text: 'select $1::int as c', values: [2] });
      expect(await measured(proxy)).toEqual({
        'select ? as a': 2,
        'select $1 : : int as b': 1,
        'select $1 : : int as c': 2,
      });
    },
  );

  test('the time of a statement leaves out what the client thinks in its middle', async () => {
    await using proxy = await tenantsProxy({});
    await using client = await connect(proxy, 'a');
    await client.query('begin');
    await Bun.sleep(300);
    await client.query('commit');
    const { query_time: micros } = await shown(proxy, 'postgres/a');
    expect(Number(micros)).toBeLessThan(300_000);
  });

  test('each statement of a pipeline has its own time in the query histogram', async () => {
    await using proxy = await tenantsProxy({});
    using peer = await RawPeer.login(proxy.port, { user: 'a', database: 'postgres' });
    const before = peer.frames().length;
    peer.send(Buffer.concat([query('select 1'), query('select 2'), query('select 3')]));
    await waitFor(
      'three answers',
      () =>
        peer
          .frames()
          .slice(before)
          .filter((one) => one.type === 'Z').length === 3,
    );
    const sum = Number(/skerry_proxy_query_seconds_sum\{[^}]*\} (\S+)/.exec(proxy.metrics.render())?.[1]);
    expect(sum).toBeLessThan(performance.now() / 1000);
    expect(await shown(proxy, 'postgres/a')).toMatchObject({ query_count: 3, in_flight: 0 });
  });
});
