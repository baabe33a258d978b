// Tenants over several workers: what one has in use in all of them together.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import pg from 'pg';
import { startPostgres, type TestPostgres, waitFor } from '../../../test/harness.ts';
import { startWorkers, type TestWorkers } from '../../../test/proxy-workers.ts';
import type { TenantLimits } from '../limits/tenant.ts';
import { type TenantRule, TENANTS_DEFAULTS, type TenantsConfig } from '../limits/tenants.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.value(`do $$ begin create role a login superuser; end $$`);
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

async function connect(proxy: TestWorkers, user: string, database = 'postgres'): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, user, database });
  client.on('error', () => {});
  await client.connect();
  return client;
}

function rule(limits: Partial<TenantLimits>): TenantRule {
  const none = { maxConnections: null, poolSize: null, qps: null, maxWaiting: null, weight: null, algorithm: null };
  return { name: 'a', database: '', user: 'a', applicationName: '', limits: { ...none, ...limits } };
}

function start(tenants: Partial<TenantsConfig>): Promise<TestWorkers> {
  return startWorkers(postgres, { tenants: { ...TENANTS_DEFAULTS, ...tenants }, poolSize: 20 });
}

async function shown(proxy: TestWorkers): Promise<Record<string, string>> {
  const admin = await connect(proxy, 'postgres', 'skerry');
  const { rows } = await admin.query<Record<string, string>>('show tenants');
  await admin.end();
  return rows.find((one) => one['tenant'] === 'a') ?? {};
}

/** Twelve clients that would sleep for a minute: no more than `atMost` ever do at once, that many do, and all get their turn. */
async function flood(proxy: TestWorkers, atMost: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: 12 }, () => connect(proxy, 'a')));
  let answered = 0;
  const asked = clients.map((client) =>
    client
      .query('select pg_sleep(60)')
      .catch(() => {})
      .then(() => {
        answered += 1;
      }),
  );
  const atWork = `from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'`;
  const count = async (): Promise<number> => Number(await postgres.value(`select count(*) ${atWork}`));
  await waitFor(`${atMost} are at work`, async () => (await count()) === atMost);
  await waitFor('the others wait', async () => {
    const { in_flight: inFlight, queue } = await shown(proxy);
    return Number(inFlight) === atMost && Number(queue) === 12 - atMost;
  });
  let most = 0;
  await waitFor('all have had their turn', async () => {
    most = Math.max(most, await count());
    await postgres.value(`select count(pg_cancel_backend(pid)) ${atWork}`);
    return answered === 12;
  });
  await Promise.all(asked);
  expect(most).toBeLessThanOrEqual(atMost);
  await Promise.all(clients.map((client) => client.end()));
}

test.each([
  ['pool_size', { rules: [rule({ poolSize: 3 })] }, 3],
  ['pool_size smaller than the workers', { rules: [rule({ poolSize: 1 })] }, 1],
  ['server_budget', { serverBudget: 3, rules: [rule({})] }, 3],
])('%s holds over all workers', async (_, tenants, atMost) => {
  await using proxy = await start(tenants);
  await flood(proxy, atMost);
});

test('max_connections holds over all workers, and the places move to where clients come', async () => {
  await using proxy = await start({ rules: [rule({ maxConnections: 5 })] });
  const clients: pg.Client[] = [];
  for (let index = 0; index < 5; index += 1) clients.push(await connect(proxy, 'a'));
  const refused = await connect(proxy, 'a').then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  );
  expect(refused).toBe('53300');
  await clients.pop()?.end();
  await waitFor('there is room again', async () => {
    const client = await connect(proxy, 'a').catch(() => null);
    if (client === null) return false;
    clients.push(client);
    return true;
  });
  await Promise.all(clients.map((client) => client.end()));
});

test('SET counts for all workers, also for those that start later', async () => {
  await using proxy = await start({ rules: [rule({ poolSize: 8 })] });
  const admin = await connect(proxy, 'postgres', 'skerry');
  await admin.query('set tenant.a.pool_size = 2');
  await admin.query('reload').catch(() => {});
  await admin.end();
  await proxy.parent.restart();
  await waitFor('the old ones are gone', () => proxy.parent.status().workers.length === 2);
  expect((await shown(proxy))['pool_size']).toBe('2');
  await flood(proxy, 2);
});
