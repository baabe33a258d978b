// Several processes on one port, as its users see them: one proxy.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { kill } from 'node:process';
import pg from 'pg';
import { OTHER_CA, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../../test/certificates.ts';
import { freePort, startPostgres, type TestPostgres, waitFor } from '../../../test/harness.ts';
import { databaseConfig, userConfig } from '../../../test/proxy.ts';
import { NO_WORKER, startWorkers, type TestWorkers } from '../../../test/proxy-workers.ts';
import { sessionWorld } from '../../../test/session-world.ts';
import { Fault } from '../../base/fault.ts';
import type { Topology } from '../../contracts/topology.ts';
import { ClientSession, sendCancel } from '../../session/client-session.ts';
import { parseConnectionString } from '../../session/connection-string.ts';
import { PROTOCOL_3_2 } from '../../wire/startup.ts';
import { TopologyMirror } from './topology-mirror.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres({ settings: { max_connections: 60 } });
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

type Client = pg.Client & AsyncDisposable;

async function connect(
  proxy: { readonly port: number },
  database = 'postgres',
  more: pg.ClientConfig = {},
): Promise<Client> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, user: 'postgres', database, ...more });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end().catch(() => {}) });
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return String((error as { code?: string }).code);
  }
}

async function rows(console: pg.Client, command: string): Promise<Record<string, string>[]> {
  return (await console.query<Record<string, string>>(command)).rows;
}

/** The worker of a client, by its id in SHOW CLIENTS (ids of worker n begin with n). */
function workerOf(id: string): number {
  return Math.floor(Number(id) / 1_000_000_000);
}

/** Clients until each worker has at least `each` of them. */
async function clientsOnAll(
  proxy: TestWorkers,
  each: number,
): Promise<{ clients: Client[]; close: () => Promise<void> }> {
  const clients: Client[] = [];
  const admin = await connect(proxy, 'skerry');
  await waitFor('each worker has clients', async () => {
    clients.push(await connect(proxy));
    const found = await rows(admin, 'show clients');
    const counts = [...proxy.pids().keys()].map(
      (worker) => found.filter((row) => workerOf(row['id'] ?? '') === worker).length,
    );
    return counts.every((count) => count >= each) ? true : null;
  });
  await admin.end();
  return { clients, close: async () => void (await Promise.all(clients.map((one) => one.end().catch(() => {})))) };
}

describe('one proxy', () => {
  test('every worker gets clients; SHOW answers for all of them, whoever is asked', async () => {
    await using proxy = await startWorkers(postgres);
    const { clients, close } = await clientsOnAll(proxy, 2);
    await Promise.all(clients.map((one) => one.query('select 1')));
    for (let time = 0; time < 4; time += 1) {
      await using admin = await connect(proxy, 'skerry');
      const found = await rows(admin, 'show clients');
      expect(new Set(found.map((row) => row['id'])).size).toBe(clients.length);
      const [pool] = await rows(admin, 'show pools');
      expect(Number(pool?.['cl_active'])).toBe(clients.length);
      const [stats] = await rows(admin, 'show stats_totals');
      expect(Number(stats?.['query_count'])).toBe(clients.length);
      expect(Number(stats?.['client_login_count'])).toBe(clients.length);
      const lists = new Map((await rows(admin, 'show lists')).map((row) => [row['list'], Number(row['items'])]));
      expect([lists.get('databases'), lists.get('pools'), lists.get('used_clients')]).toEqual([1, 1, clients.length]);
      expect((await rows(admin, 'show databases'))[0]).toMatchObject({
        name: 'postgres',
        current_client_connections: String(clients.length),
      });
      expect((await rows(admin, 'show workers')).map((row) => row['state'])).toEqual(['serving', 'serving']);
    }
    await close();
  });

  test('metrics are sums, histograms too, and do not go back when a worker is replaced', async () => {
    await using proxy = await startWorkers(postgres);
    const { clients, close } = await clientsOnAll(proxy, 1);
    for (const client of clients) await client.query('select 1');
    const value = (text: string, name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    const count = 'skerry_proxy_query_seconds_count\\{database="postgres"\\}';
    const infinity = 'skerry_proxy_query_seconds_bucket\\{database="postgres",le="\\+Inf"\\}';
    const before = await proxy.parent.metricsText();
    expect(value(before, count)).toBe(clients.length);
    expect(value(before, infinity)).toBe(clients.length);
    expect(value(before, 'skerry_proxy_client_connections')).toBe(clients.length);
    expect(value(before, 'skerry_proxy_workers\\{state="serving"\\}')).toBe(2);
    await close();
    await proxy.parent.restart();
    await waitFor('the old ones are gone', () => (proxy.parent.status().workers.length === 2 ? true : null));
    const after = await proxy.parent.metricsText();
    expect(value(after, count)).toBe(clients.length);
    await using admin = await connect(proxy, 'skerry');
    expect((await rows(admin, 'show totals')).find((row) => row['name'] === 'total_query_count')?.['value']).toBe(
      String(clients.length),
    );
  });

  test.each(['transaction', 'session'] as const)(
    'a cancel request finds its client on any worker, %s mode',
    async (poolMode) => {
      await using proxy = await startWorkers(postgres, { poolMode, poolSize: 30 });
      const target = parseConnectionString(proxy.url);
      const versions = [196_608, PROTOCOL_3_2];
      for (const protocolVersion of versions) {
        const sessions = await Promise.all(
          Array.from({ length: 6 }, () => ClientSession.connect(sessionWorld(), { target, protocolVersion })),
        );
        expect(sessions[0]?.backendKey?.secretKey.length).toBe(protocolVersion === PROTOCOL_3_2 ? 32 : 4);
        const running = sessions.map((one) => code(one.query('select pg_sleep(600)')));
        await waitFor('all of them run', async () =>
          (await postgres.value(
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'",
          )) === '6'
            ? true
            : null,
        );
        // Each asks over a connection of its own, which any worker may get; a wrong key does nothing.
        const [first] = sessions;
        const stranger = {
          processId: first?.backendKey?.processId ?? 0,
          secretKey: new Uint8Array(protocolVersion === PROTOCOL_3_2 ? 32 : 4),
        };
        await sendCancel(sessionWorld(), { target }, { host: '127.0.0.1', port: proxy.port }, stranger, false);
        await Promise.all(sessions.slice(1).map((one) => one.cancel()));
        expect(await Promise.all(running.slice(1))).toEqual(Array.from({ length: 5 }, () => 'server-error'));
        expect(
          await postgres.value(
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'",
          ),
        ).toBe('1');
        await first?.cancel();
        await running[0];
        await Promise.all(sessions.map((one) => one.close()));
      }
    },
  );
});

describe('peers', () => {
  test('a cancel request that comes to another host is passed on once, and only to the host that the key names', async () => {
    const [a, b] = [freePort(), freePort()];
    const peer = (port: number) => ({ host: '127.0.0.1', port, sslMode: 'disable' as const, ca: '' });
    // Each believes that the other is number 2 and 3 as well: a request that nobody knows must not go round for ever.
    await using first = await startWorkers(postgres, {
      port: a,
      peerId: 1,
      peers: new Map([
        [2, peer(b)],
        [3, peer(b)],
      ]),
    });
    await using second = await startWorkers(postgres, {
      port: b,
      peerId: 2,
      peers: new Map([
        [1, peer(a)],
        [3, peer(a)],
      ]),
    });
    const world = sessionWorld();
    for (const protocolVersion of [196_608, PROTOCOL_3_2]) {
      for (const [home, other] of [
        [first, second],
        [second, first],
      ] as const) {
        const target = parseConnectionString(home.url);
        const session = await ClientSession.connect(world, { target, protocolVersion });
        const running = code(session.query('select pg_sleep(600)'));
        await waitFor('it runs', async () =>
          (await postgres.value(
            "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'",
          )) === '1'
            ? true
            : null,
        );
        if (session.backendKey === null) throw new Error('no key');
        await sendCancel(world, { target }, { host: '127.0.0.1', port: other.port }, session.backendKey, false);
        expect(await running).toBe('server-error');
        await session.close();
      }
    }
    const lost = { processId: 0x4000_0000 | (3 << 24), secretKey: new Uint8Array(4) };
    await sendCancel(world, { target: parseConnectionString(first.url) }, { host: '127.0.0.1', port: a }, lost, false);
    await using client = await connect(first);
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('peers over TLS', () => {
  test.each([
    ['their certificate is of the CA', TEST_CA, true],
    ['it is not', OTHER_CA, false],
  ])('a cancel request is passed on only when %s', async (_, ca, trusted) => {
    const port = freePort();
    const tls = { cert: SERVER_CERT, key: SERVER_KEY };
    const peer = { host: '127.0.0.1', port, sslMode: 'verify-full' as const, ca };
    await using home = await startWorkers(postgres, { port, peerId: 2, tls, workers: 1 });
    await using other = await startWorkers(postgres, { peerId: 1, peers: new Map([[2, peer]]), workers: 1 });
    const world = sessionWorld();
    const target = parseConnectionString(home.url);
    const session = await ClientSession.connect(world, { target });
    const running = code(session.query('select pg_sleep(600)'));
    await waitFor('it runs', () => isRunning(1));
    if (session.backendKey === null) throw new Error('no key');
    // Over the network the key goes through TLS, or not at all; whoever asked is told nothing either way.
    await sendCancel(world, { target }, { host: '127.0.0.1', port: other.port }, session.backendKey, false);
    if (!trusted) {
      expect(await isRunning(1)).toBe(true);
      await session.cancel();
    }
    expect(await running).toBe('server-error');
    await session.close();
  });
});

/** True when exactly so many of the long statements run. */
async function isRunning(count: number): Promise<boolean> {
  const found = await postgres.value(
    "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'",
  );
  return found === String(count);
}

describe('a worker that dies', () => {
  test('takes its own clients with it, nobody else’s; another one takes its place, paused when the proxy is', async () => {
    await using proxy = await startWorkers(postgres);
    const { clients, close } = await clientsOnAll(proxy, 2);
    await using admin = await connect(proxy, 'skerry');
    const found = await rows(admin, 'show clients');
    const [[victim, pid] = [0, 0]] = [...proxy.pids()];
    const lost = found.filter((row) => workerOf(row['id'] ?? '') === victim).length;
    kill(pid, 'SIGKILL');
    await waitFor('another one serves', () =>
      proxy.pids().size === 2 && ![...proxy.pids().values()].includes(pid) ? true : null,
    );
    const outcomes = await Promise.all(clients.map((one) => code(one.query('select 1'))));
    expect(outcomes.filter((one) => one === 'no error').length).toBe(clients.length - lost);
    await close();
  });

  test('the one that follows knows what was paused, disabled and set', async () => {
    await using proxy = await startWorkers(postgres, { workers: 1 });
    {
      await using admin = await connect(proxy, 'skerry');
      await (await connect(proxy)).end();
      await (await connect(proxy, 'template1')).end();
      await admin.query('set query_wait_timeout = 7');
      await admin.query('disable template1');
      await admin.query('pause');
      await admin.query('resume template1');
      await admin.query('resume postgres');
      await admin.query('pause postgres');
    }
    const [pid = 0] = proxy.pids().values();
    kill(pid, 'SIGKILL');
    await waitFor('another one serves', () =>
      proxy.pids().size === 1 && ![...proxy.pids().values()].includes(pid) ? true : null,
    );
    await using admin = await connect(proxy, 'skerry');
    expect((await rows(admin, 'show config')).find((row) => row['key'] === 'query_wait_timeout')?.['value']).toBe('7');
    expect(await code(connect(proxy, 'template1'))).toBe('57P03');
    const waiting = connect(proxy);
    await waitFor('it waits', async () =>
      (await rows(admin, 'show pools')).some((row) => row['cl_waiting'] === '1') ? true : null,
    );
    await admin.query('resume postgres');
    await (await waiting).end();
    await admin.query('enable template1');
    await (await connect(proxy, 'template1')).end();
  });
});

describe('a worker that does not answer', () => {
  test('is named within a bound; the others have done what was asked', async () => {
    await using proxy = await startWorkers(postgres);
    const { close } = await clientsOnAll(proxy, 1);
    const [[silent, pid] = [0, 0], [other] = [0]] = [...proxy.pids()];
    await close();
    kill(pid, 'SIGSTOP');
    try {
      await expect(proxy.parent.command('pause postgres')).rejects.toThrow(
        `worker ${silent}: no answer from worker ${silent} (pid ${pid}); 1 of 2 workers have done it: ${other}`,
      );
      const shown = await proxy.parent.command('show pools');
      expect(shown.warning).toContain(`${silent} (no answer`);
      expect(shown.rows?.length).toBe(1);
      expect(await proxy.parent.metricsText()).toContain('skerry_proxy_workers{state="serving"} 2');
    } finally {
      kill(pid, 'SIGCONT');
    }
    // What it was told meanwhile it has done.
    await waitFor('it is awake', async () =>
      (await proxy.parent.command('show databases')).warning === undefined ? true : null,
    );
    await proxy.parent.command('resume postgres');
    await using client = await connect(proxy);
    await client.query('select 1');
  }, 30_000);
});

/** The most server connections that the test's server saw at once, looked at as often as possible. */
async function highest(of: string, work: Promise<unknown>): Promise<number> {
  let most = 0;
  let going = true;
  const look = (async () => {
    while (going) {
      most = Math.max(most, Number(await postgres.value(`select count(*) from pg_stat_activity where ${of}`)));
    }
  })();
  await work;
  going = false;
  await look;
  return most;
}

describe('limits over all workers', () => {
  test.each([
    ['pool_size', { poolSize: 3 }],
    ['max_db_connections', { databaseConnectionsMax: 3 }],
    ['max_user_connections', { userConnectionsMax: 3 }],
    ['pool_size of one', { poolSize: 1 }],
    ['reserve_pool_size', { poolSize: 2, reservePoolSize: 1, reservePoolTimeoutMs: 100 }],
  ])('%s holds, and everybody has his turn', async (_, options) => {
    await using proxy = await startWorkers(postgres, options);
    const { clients, close } = await clientsOnAll(proxy, 3);
    const work = Promise.all(
      clients.map(async (client) => {
        for (let time = 0; time < 4; time += 1) await client.query('select pg_sleep(0.02) /* limited */');
      }),
    );
    const limit =
      'poolSize' in options ? options.poolSize + ('reservePoolSize' in options ? options.reservePoolSize : 0) : 3;
    expect(await highest("backend_type = 'client backend' and query like '%/* limited */'", work)).toBeLessThanOrEqual(
      limit,
    );
    await close();
  });

  test('what one worker does not need the other may use', async () => {
    await using proxy = await startWorkers(postgres, { poolSize: 4 });
    const { clients, close } = await clientsOnAll(proxy, 4);
    await using admin = await connect(proxy, 'skerry');
    const found = await rows(admin, 'show clients');
    const ofOne = found.filter((row) => workerOf(row['id'] ?? '') === workerOf(found[0]?.['id'] ?? '')).length;
    expect(ofOne).toBeGreaterThanOrEqual(4);
    // All at once, from both; then those of one alone: in the end it has all four.
    await Promise.all(clients.map((one) => one.query('select 1')));
    await waitFor('four at once on one worker', async () => {
      await Promise.all(clients.map((one) => one.query('select pg_sleep(0.01)')));
      const servers = (await rows(admin, 'show servers')).map((row) => workerOf(row['id'] ?? ''));
      return servers.length === 4 ? true : null;
    });
    await close();
  });

  test('max_client_conn is the proxy’s, not each worker’s', async () => {
    await using proxy = await startWorkers(postgres, { clientConnectionsMax: 6 });
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect(proxy)));
    expect(await code(connect(proxy))).toBe('53300');
    await clients.pop()?.end();
    clients.push(await waitFor('there is room again', () => connect(proxy).catch(() => null)));
    expect(await code(connect(proxy))).toBe('53300');
    await Promise.all(clients.map((one) => one.end()));
  }, 20_000);

  test('min_pool_size opens connections ahead, as many as it says over all workers', async () => {
    await using proxy = await startWorkers(postgres, { poolSizeMin: 5, workers: 2 });
    const { close } = await clientsOnAll(proxy, 1);
    await close();
    await using admin = await connect(proxy, 'skerry');
    await waitFor('five are open', async () => ((await rows(admin, 'show servers')).length === 5 ? true : null));
  });
});

/** Connects, asks and leaves, again and again, until told to stop. */
function visitors(proxy: TestWorkers, count: number): { done(): number; stop(): Promise<string[]> } {
  let going = true;
  let visits = 0;
  const errors: string[] = [];
  const all = Array.from({ length: count }, async () => {
    while (going) {
      try {
        const client = await connect(proxy);
        await client.query('select 1');
        await client.end();
        visits += 1;
      } catch (error) {
        errors.push(`${String((error as { code?: string }).code)} ${String(error)}`);
      }
    }
  });
  return {
    done: () => visits,
    async stop() {
      going = false;
      await Promise.all(all);
      return errors;
    },
  };
}

describe('restart', () => {
  test('with connections coming all the time: none is refused, none is reset, no transaction is cut', async () => {
    await using proxy = await startWorkers(postgres);
    const before = [...proxy.pids().values()];
    const load = visitors(proxy, 6);
    await using inside = await connect(proxy);
    await inside.query('begin');
    await waitFor('the load is there', () => (load.done() > 50 ? true : null));
    for (let round = 0; round < 3; round += 1) await proxy.parent.restart();
    const seen = load.done();
    await waitFor('and goes on', () => (load.done() > seen + 50 ? true : null));
    expect(await load.stop()).toEqual([]);
    expect((await inside.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await inside.query('commit');
    await inside.end();
    await waitFor('the old ones are gone', () => (proxy.parent.status().workers.length === 2 ? true : null));
    expect([...proxy.pids().values()].filter((pid) => before.includes(pid))).toEqual([]);
    expect(proxy.parent.status().generation).toBe(3);
  }, 60_000);

  test('clients that do not leave are told after shutdown_timeout', async () => {
    await using proxy = await startWorkers(postgres, { shutdownTimeoutMs: 300, workers: 1 });
    await using client = await connect(proxy);
    await client.query('begin');
    const told = Promise.withResolvers<string>();
    client.on('error', (error) => told.resolve(String((error as { code?: string }).code)));
    await using admin = await connect(proxy, 'skerry');
    await admin.query('restart');
    expect(await told.promise).toBe('57P01');
    await using next = await connect(proxy);
    expect((await next.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  test('a configuration that is not valid, or a program that does not start, changes nothing', async () => {
    let entry: URL | null = null;
    await using proxy = await startWorkers(postgres, {
      entry: () => entry ?? new URL('../../roles/proxy-worker.ts', import.meta.url),
    });
    const before = [...proxy.pids().values()];
    await using admin = await connect(proxy, 'skerry');
    const good = proxy.next;
    proxy.next = () => {
      throw new Fault('proxy-config', { message: 'line 3: unknown key "pool_sise"' });
    };
    await expect(admin.query('reload')).rejects.toThrow('unknown key "pool_sise"');
    await expect(admin.query('restart')).rejects.toThrow('unknown key "pool_sise"');
    expect(proxy.parent.status().lastError).toContain('pool_sise');
    proxy.next = good;
    entry = NO_WORKER;
    await expect(admin.query('restart')).rejects.toThrow('before it served');
    expect([...proxy.pids().values()]).toEqual(before);
    entry = null;
    await using client = await connect(proxy);
    await client.query('select 1');
  });

  test('where no process could be started, the worker that was to be replaced is still looked after', async () => {
    let isPossible = true;
    await using proxy = await startWorkers(postgres, {
      workers: 1,
      entry: () => {
        if (!isPossible) throw new Fault('too-many-workers', { message: 'no room' });
        return new URL('../../roles/proxy-worker.ts', import.meta.url);
      },
    });
    isPossible = false;
    await expect(proxy.parent.restart()).rejects.toThrow('no room');
    isPossible = true;
    const [pid = 0] = proxy.pids().values();
    kill(pid, 'SIGKILL');
    await waitFor('another one serves', () => {
      const [now = pid] = proxy.pids().values();
      return now !== pid;
    });
  });

  test('RELOAD reaches all; a restart takes another number of workers over', async () => {
    await using proxy = await startWorkers(postgres, { users: new Map([['postgres', userConfig('postgres', null)]]) });
    const config = proxy.next();
    proxy.next = () => ({
      ...config,
      poolSize: 7,
      workers: 3,
      databases: new Map([['only', databaseConfig(postgres, { name: 'only', dbname: 'postgres' })]]),
    });
    await using admin = await connect(proxy, 'skerry');
    await admin.query('reload');
    expect((await rows(admin, 'show config')).find((row) => row['key'] === 'default_pool_size')?.['value']).toBe('7');
    for (let time = 0; time < 4; time += 1) await (await connect(proxy, 'only')).end();
    await admin.query('restart');
    expect(proxy.pids().size).toBe(3);
    proxy.next = () => ({ ...config, workers: 1 });
    await proxy.parent.restart();
    expect(proxy.pids().size).toBe(1);
  });

  test('SHUTDOWN WAIT_FOR_CLIENTS lets them finish, then everything ends', async () => {
    const stopped = Promise.withResolvers<void>();
    await using proxy = await startWorkers(postgres, { stopped: stopped.resolve });
    const client = await connect(proxy);
    await client.query('begin');
    {
      await using admin = await connect(proxy, 'skerry');
      await admin.query('shutdown wait_for_clients');
    }
    await waitFor('the port is closed', async () => ((await code(connect(proxy))) === 'ECONNREFUSED' ? true : null));
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await client.query('commit');
    await client.end();
    await stopped.promise;
  });
});

describe('a topology from outside', () => {
  const at = (server: TestPostgres | null, term: number): Topology => ({
    term,
    primary: server === null ? null : { host: server.host, port: server.port },
    replicas: [],
    sentence: `term ${term}`,
  });

  test('reaches all workers, those that start later too; a lower term is not believed any more', async () => {
    await using next = await startPostgres();
    const source = new TopologyMirror(at(postgres, 1));
    await using proxy = await startWorkers(postgres, { topologies: new Map([['*', source]]) });
    const ports = async (clients: readonly Client[]): Promise<number[]> => {
      const found = await Promise.all(
        clients.map((one) => one.query<{ port: number }>('select inet_server_port() as port')),
      );
      return [...new Set(found.map((one) => one.rows[0]?.port ?? 0))];
    };
    const { clients, close } = await clientsOnAll(proxy, 1);
    expect(await ports(clients)).toEqual([postgres.port]);
    // None for a while: statements wait.
    source.set(at(null, 1));
    await waitFor('all know', async () => {
      const shown = await proxy.parent.command('show topology');
      return shown.rows?.[0]?.[1] === '' ? true : null;
    });
    const waiting = ports(clients);
    source.set(at(next, 2));
    expect(await waiting).toEqual([next.port]);
    source.set(at(postgres, 1));
    await proxy.parent.restart();
    await using later = await connect(proxy);
    expect(await ports([later, ...clients])).toEqual([next.port]);
    await close();
  }, 30_000);
});
