// The proxy in front of real servers, used by stock drivers: what a client may notice of pooling is nothing.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { needs, startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startProxy, type TestProxy } from '../../test/proxy.ts';

type Client = pg.Client & AsyncDisposable;

async function connect(proxy: TestProxy, more: pg.ClientConfig = {}): Promise<Client> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port: proxy.port,
    user: 'postgres',
    database: 'postgres',
    ...more,
  });
  client.on('error', () => {});
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function value(client: pg.Client, sql: string): Promise<unknown> {
  const result = (await client.query({ text: sql, rowMode: 'array' })) as unknown as { rows: unknown[][] }[] & {
    rows: unknown[][];
  };
  const last = Array.isArray(result) ? result.at(-1) : result;
  return last?.rows[0]?.[0];
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return String((error as { code?: string }).code);
  }
}

/** Runs `action` while somebody else holds the server connection that was used last, so that it happens on another one. */
async function elsewhere<T>(proxy: TestProxy, action: () => Promise<T>): Promise<T> {
  await using blocker = await connect(proxy);
  await blocker.query('BEGIN');
  try {
    return await action();
  } finally {
    await blocker.query('ROLLBACK');
  }
}

const versions = (['15', '18'] as const).filter((version) => needs(`postgres-${version}`));

describe.each(versions.map((version) => ({ version })))('PostgreSQL $version', ({ version }) => {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    await postgres.sql('create table t (id int primary key, v text); create role other login; grant all on t to other');
  });
  afterAll(async () => {
    await postgres[Symbol.asyncDispose]();
  });

  describe('pooling', () => {
    test('many clients share few server connections and each gets its own rows', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      const clients = await Promise.all(Array.from({ length: 20 }, () => connect(proxy)));
      const answers = await Promise.all(
        clients.flatMap((client, index) =>
          [0, 1, 2, 3].map(async (turn) => [index * 10 + turn, await value(client, `select ${index * 10 + turn}`)]),
        ),
      );
      for (const [asked, got] of answers) expect(got).toBe(asked);
      const pool = [...proxy.proxy.pools.values()][0];
      expect(pool?.servers.size).toBeLessThanOrEqual(2);
      await Promise.all(clients.map((client) => client.end()));
    });

    test('a transaction stays on one server connection', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 3 });
      await using client = await connect(proxy);
      await client.query('begin');
      const pid = await value(client, 'select pg_backend_pid()');
      await using other = await connect(proxy);
      expect(await value(other, 'select pg_backend_pid()')).not.toBe(pid);
      expect(await value(client, 'select pg_backend_pid()')).toBe(pid);
      await client.query('commit');
    });

    test('who waits longer than query_wait_timeout is told 53300 and may go on', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1, queryWaitTimeoutMs: 300 });
      await using holder = await connect(proxy);
      await using client = await connect(proxy);
      await holder.query('begin');
      expect(await code(client.query('select 1'))).toBe('53300');
      expect(await code(client.query('select $1::int', [1]))).toBe('53300');
      await holder.query('commit');
      expect(await value(client, 'select 7')).toBe(7);
    });

    test('first come, first served', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      await using holder = await connect(proxy);
      const clients = await Promise.all(Array.from({ length: 8 }, () => connect(proxy)));
      await holder.query('begin');
      const order: number[] = [];
      const all: Promise<unknown>[] = [];
      for (const [index, client] of clients.entries()) {
        all.push(client.query('select 1').then(() => order.push(index)));
        await waitFor('it waits', () => [...proxy.proxy.pools.values()][0]?.waiting === index + 1);
      }
      await holder.query('commit');
      await Promise.all(all);
      expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      await Promise.all(clients.map((client) => client.end()));
    });

    test('a client that vanishes inside a transaction costs a rollback and not a server connection', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      const leaver = await connect(proxy);
      await leaver.query('begin');
      const pid = await value(leaver, 'select pg_backend_pid()');
      await leaver.query('insert into t values (1)');
      (leaver as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      await using client = await connect(proxy);
      expect(await value(client, 'select count(*)::int from t')).toBe(0);
      expect(await value(client, 'select pg_backend_pid()')).toBe(pid);
    });

    test('what a vanished client left running is cancelled and the server connection kept', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      const leaver = await connect(proxy);
      const pid = await value(leaver, 'select pg_backend_pid()');
      leaver.query('select pg_sleep(600)').catch(() => {});
      await waitFor(
        'it runs',
        async () =>
          (await postgres.value(`select state from pg_stat_activity where pid = ${String(pid)}`)) === 'active',
      );
      (leaver as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      await using client = await connect(proxy);
      expect(await value(client, 'select pg_backend_pid()')).toBe(pid);
    });

    test('statement mode refuses transaction blocks', async () => {
      await using proxy = await startProxy(postgres, { poolMode: 'statement' });
      await using client = await connect(proxy);
      expect(await value(client, 'select 1')).toBe(1);
      expect(await code(client.query('begin'))).toBe('0A000');
    });

    test('session mode gives the server’s own process id and everything a session is', async () => {
      await using proxy = await startProxy(postgres, { poolMode: 'session', poolSize: 2 });
      await using client = await connect(proxy);
      expect((client as unknown as { processID: number }).processID).toBe(
        (await value(client, 'select pg_backend_pid()')) as number,
      );
      await client.query('create temp table mine (a int); set work_mem = 12345; prepare p as select 42');
      expect(await value(client, 'execute p')).toBe(42);
      expect(await value(client, 'show work_mem')).toBe('12345kB');
    });

    test('a server connection of session mode comes back clean', async () => {
      await using proxy = await startProxy(postgres, { poolMode: 'session', poolSize: 1 });
      {
        await using client = await connect(proxy);
        await client.query('set work_mem = 12345; create temp table mine (a int); select pg_advisory_lock(5)');
      }
      await using client = await connect(proxy);
      expect(await value(client, 'show work_mem')).toBe('4MB');
      expect(await value(client, `select to_regclass('mine')`)).toBeNull();
    });

    test('with server_reset close nothing at all is left for the next client of session mode', async () => {
      await using proxy = await startProxy(postgres, { poolMode: 'session', poolSize: 1, serverReset: 'close' });
      const pids: unknown[] = [];
      for (let turn = 0; turn < 2; turn += 1) {
        await using client = await connect(proxy);
        pids.push(await value(client, 'select pg_backend_pid()'));
      }
      expect(pids[0]).not.toBe(pids[1]);
    });

    test('a server that goes away is replaced, and the client outside a transaction lives on', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      await using client = await connect(proxy);
      const pid = await value(client, 'select pg_backend_pid()');
      await postgres.sql(`select pg_terminate_backend(${String(pid)})`);
      await waitFor('it is gone', () => [...proxy.proxy.pools.values()][0]?.servers.size === 0);
      expect(await value(client, 'select 1')).toBe(1);
      const running = code(client.query('select pg_sleep(600)'));
      await waitFor(
        'it runs',
        async () =>
          (await postgres.value(
            `select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and state='active' and pid <> pg_backend_pid()`,
          )) === '1',
      );
      await postgres.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()`,
      );
      expect(await running).toBe('08006');
      expect(await value(client, 'select 2')).toBe(2);
    });
  });

  describe('prepared statements', () => {
    test('a name prepared on one server connection works on another', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 3 });
      await using client = await connect(proxy);
      const query = {
        name: 'plus',
        text: 'select $1::int + 1, pg_backend_pid()',
        values: [41],
        rowMode: 'array' as const,
      };
      const [first] = (await client.query<number[]>(query)).rows;
      const [second] = await elsewhere(proxy, async () => (await client.query<number[]>(query)).rows);
      expect(first?.[0]).toBe(42);
      expect(second?.[0]).toBe(42);
      expect(second?.[1]).not.toBe(first?.[1]);
    });

    test('two clients may use one name for two texts', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      await using a = await connect(proxy);
      await using b = await connect(proxy);
      for (let turn = 0; turn < 3; turn += 1) {
        const [x] = (await a.query<string[]>({ name: 'n', text: `select 'a' || $1`, values: [turn], rowMode: 'array' }))
          .rows;
        const [y] = (await b.query<string[]>({ name: 'n', text: `select 'b' || $1`, values: [turn], rowMode: 'array' }))
          .rows;
        expect([x?.[0], y?.[0]]).toEqual([`a${turn}`, `b${turn}`]);
      }
    });

    test('the bound on statements per server connection closes the least recently used', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1, preparedMax: 5 });
      await using client = await connect(proxy);
      for (let round = 0; round < 2; round += 1) {
        for (let index = 0; index < 20; index += 1) {
          const result = await client.query<number[]>({
            name: `s${index}`,
            text: `select ${index} + $1::int`,
            values: [1],
            rowMode: 'array',
          });
          expect(result.rows[0]?.[0]).toBe(index + 1);
        }
      }
      expect(Number(await value(client, 'select count(*) from pg_prepared_statements'))).toBeLessThanOrEqual(5);
    });

    test('SQL PREPARE, EXECUTE and DEALLOCATE follow their client', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 3 });
      await using client = await connect(proxy);
      await using other = await connect(proxy);
      await client.query('prepare q (int) as select $1 * 2');
      expect(await elsewhere(proxy, () => value(client, 'execute q(21)'))).toBe(42);
      expect(await code(other.query('execute q(1)'))).toBe('26000');
      await other.query('prepare q (int) as select $1 * 3');
      expect(await value(other, 'execute q(1)')).toBe(3);
      expect(await value(client, 'execute q(1)')).toBe(2);
      expect(await code(client.query('prepare q (int) as select 1'))).toBe('42P05');
      await client.query('deallocate q');
      expect(await code(client.query('execute q(1)'))).toBe('26000');
      expect(await value(other, 'execute q(2)')).toBe(6);
      await client.query('begin; prepare r as select 5; rollback');
      expect(await elsewhere(proxy, () => value(client, 'execute r'))).toBe(5);
    });

    test('DEALLOCATE by SQL of a statement prepared by message', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query({ name: 'm', text: 'select $1::int', values: [1] });
      await client.query('deallocate m');
      expect(await code(client.query('deallocate m'))).toBe('26000');
      await client.query({ name: 'n', text: 'select $1::int', values: [1] });
      expect(await value(client, 'execute n(9)')).toBe(9);
      await client.query('deallocate all');
      expect(await code(client.query('execute n(9)'))).toBe('26000');
    });

    test('a changed table costs one error at most and never a wrong result', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      await using client = await connect(proxy);
      await postgres.sql(
        'drop table if exists changing; create table changing (a int); insert into changing values (1)',
      );
      await client.query({ name: 'c', text: 'select * from changing', values: [] });
      await postgres.sql('alter table changing add b int default 2');
      expect(await code(client.query({ name: 'c', text: 'select * from changing', values: [] }))).toBe('0A000');
      expect((await client.query({ name: 'c', text: 'select * from changing', values: [] })).rows).toEqual([
        { a: 1, b: 2 },
      ]);
    });
  });

  describe('session settings', () => {
    test('SET stays with its client on whatever server connection it comes to', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 3 });
      await using client = await connect(proxy);
      await using other = await connect(proxy);
      await client.query(`set work_mem = '7MB'; set app.tenant = 'a''\\b'; set search_path = "$user", pg_catalog`);
      const read = `select current_setting('work_mem') || ' ' || current_setting('app.tenant', true) || ' ' || current_setting('search_path')`;
      const mine = `7MB a'\\b "$user", pg_catalog`;
      expect(await value(client, read)).toBe(mine);
      expect(await value(other, 'show work_mem')).toBe('4MB');
      expect(await elsewhere(proxy, () => value(client, read))).toBe(mine);
      await using third = await connect(proxy);
      for (const one of [other, third]) {
        expect(await value(one, `select coalesce(current_setting('app.tenant', true), '')`)).toBe('');
        expect(await value(one, 'show search_path')).toBe('"$user", public');
      }
    });

    test('SET in a transaction that rolls back is forgotten, also back to a savepoint; SET LOCAL leaves nothing', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query('begin');
      await client.query(`set work_mem = '9MB'`);
      await client.query('rollback');
      expect(await elsewhere(proxy, () => value(client, 'show work_mem'))).toBe('4MB');
      await client.query(`begin; set work_mem = '5MB'; savepoint s; set work_mem = '6MB'; rollback to s; commit`);
      expect(await elsewhere(proxy, () => value(client, 'show work_mem'))).toBe('5MB');
      await client.query(`begin; set local work_mem = '8MB'; commit`);
      expect(await value(client, 'show work_mem')).toBe('5MB');
      await client.query('reset work_mem');
      expect(await elsewhere(proxy, () => value(client, 'show work_mem'))).toBe('4MB');
    });

    test('startup parameters are what RESET goes back to', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy, {
        options: '-c work_mem=3MB -c DateStyle=SQL,DMY',
        application_name: 'me',
      });
      await using plain = await connect(proxy);
      expect(await value(client, 'show work_mem')).toBe('3MB');
      expect(await value(plain, 'show work_mem')).toBe('4MB');
      await client.query(`set work_mem = '10MB'; set datestyle = ISO; set application_name = 'you'`);
      expect(await value(client, 'show work_mem')).toBe('10MB');
      await client.query('reset all');
      expect(await value(client, 'show work_mem')).toBe('3MB');
      expect(await value(client, 'show datestyle')).toBe('SQL, DMY');
      expect(await value(client, 'show application_name')).toBe('me');
      expect(await value(plain, 'show application_name')).toBe('');
    });

    test('SET ROLE stays with its client and never leaks', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await using plain = await connect(proxy);
      await client.query('set role other');
      expect(await value(plain, 'select current_user::text')).toBe('postgres');
      expect(await elsewhere(proxy, () => value(client, 'select current_user::text'))).toBe('other');
      await client.query('reset role');
      expect(await elsewhere(proxy, () => value(client, 'select current_user::text'))).toBe('postgres');
    });

    test('set_config for the session and a SET inside DO are kept too', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query(`select set_config('work_mem', '2MB', false), set_config('my.x', 'y', false)`);
      await client.query(`do $$ begin execute 'set statement_timeout = 54321'; end $$`);
      const read = `select current_setting('work_mem') || current_setting('my.x') || current_setting('statement_timeout')`;
      expect(await elsewhere(proxy, () => value(client, read))).toBe('2MBy54321ms');
    });

    test('DISCARD ALL gives a fresh session', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query(`set work_mem = '2MB'`);
      await client.query('create temp table tt (a int)');
      await client.query({ name: 'm', text: 'select $1::int', values: [1] });
      await client.query('discard all');
      expect(await value(client, 'show work_mem')).toBe('4MB');
      expect(await value(client, `select to_regclass('tt')`)).toBeNull();
      await client.query('set work_mem = 1234; discard plans');
      await client.query('discard all');
      expect(await value(client, 'show work_mem')).toBe('4MB');
      expect(await code(client.query('begin; discard all'))).toBe('25001');
    });

    test('the driver hears of settings that are reported', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      const heard = new Map<string, string>();
      (client as unknown as { connection: NodeJS.EventEmitter }).connection.on(
        'parameterStatus',
        (message: { parameterName: string; parameterValue: string }) =>
          heard.set(message.parameterName, message.parameterValue),
      );
      await client.query(`set timezone = 'Asia/Tokyo'`);
      expect(heard.get('TimeZone')).toBe('Asia/Tokyo');
      await elsewhere(proxy, () => value(client, 'select 1'));
      expect(heard.get('TimeZone')).toBe('Asia/Tokyo');
      await using other = await connect(proxy);
      expect(await value(other, 'show timezone')).not.toBe('Asia/Tokyo');
    });
  });

  describe('what pins', () => {
    const pinned = (proxy: TestProxy): number =>
      [...proxy.proxy.clients].filter((client) => client.server !== null).length;

    test('a temporary table pins its client, and its end unpins', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query('create temp table tt (a int)');
      await client.query('insert into tt values (1)');
      expect(await elsewhere(proxy, () => value(client, 'select a from tt'))).toBe(1);
      expect(pinned(proxy)).toBe(1);
      await client.query('drop table tt');
      await waitFor('it is unpinned', () => pinned(proxy) === 0);
      await client.query('begin; create temp table uu (a int) on commit drop; commit');
      await waitFor('it is unpinned', () => pinned(proxy) === 0);
      await client.query('begin; create temp table uu (a int); rollback');
      await waitFor('it is unpinned', () => pinned(proxy) === 0);
    });

    test('a session advisory lock pins until it is released', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query('select pg_advisory_lock(77), pg_advisory_lock(77)');
      await client.query('select pg_advisory_unlock(77)');
      expect(await postgres.value('select pg_try_advisory_lock(77)')).toBe('false');
      expect(pinned(proxy)).toBe(1);
      expect(await elsewhere(proxy, () => value(client, 'select pg_advisory_unlock(77)'))).toBe(true);
      await waitFor('it is unpinned', () => pinned(proxy) === 0);
    });

    test('a WITH HOLD cursor pins until it is closed', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using client = await connect(proxy);
      await client.query('declare c cursor with hold for select generate_series(1, 9)');
      expect(await elsewhere(proxy, () => value(client, 'fetch c'))).toBe(1);
      expect(await value(client, 'fetch c')).toBe(2);
      await client.query('close c');
      await waitFor('it is unpinned', () => pinned(proxy) === 0);
    });

    test('a pinned client that leaves gives back a clean server connection', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 1 });
      {
        await using client = await connect(proxy);
        await client.query('select pg_advisory_lock(78)');
      }
      await using client = await connect(proxy);
      expect(await value(client, 'select pg_try_advisory_lock(78)')).toBe(true);
    });
  });

  describe('LISTEN in transaction mode', () => {
    const heardBy = (client: pg.Client): string[] => {
      const heard: string[] = [];
      client.on('notification', (message) => heard.push(`${message.channel}:${message.payload ?? ''}`));
      return heard;
    };

    test('notifications reach those who listen, once, and nobody else, without a server connection each', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using a = await connect(proxy);
      await using b = await connect(proxy);
      await using c = await connect(proxy);
      const [heardA, heardB, heardC] = [heardBy(a), heardBy(b), heardBy(c)];
      await a.query('listen x');
      await b.query('listen x; listen "Y y"');
      await c.query('select 1');
      await waitFor('server connections are free', () => [...proxy.proxy.clients].every((one) => one.server === null));
      await postgres.sql(`notify x, '1'; notify "Y y", '2'`);
      await waitFor('b heard', () => heardB.length === 2);
      await c.query(`notify x, '3'`);
      await waitFor('all heard', () => heardA.length === 2 && heardB.length === 3);
      await a.query('unlisten x');
      await waitFor('server connections are free', () => [...proxy.proxy.clients].every((one) => one.server === null));
      await c.query(`notify x, '4'`);
      await waitFor('b heard', () => heardB.length === 4);
      expect(heardA).toEqual(['x:1', 'x:3']);
      expect(heardB).toEqual(['x:1', 'Y y:2', 'x:3', 'x:4']);
      expect(heardC).toEqual([]);
    });

    test('LISTEN takes effect at commit and not when rolled back', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using a = await connect(proxy);
      const heard = heardBy(a);
      await a.query('begin; listen gone; rollback');
      await a.query('begin');
      await a.query('listen kept');
      await a.query('commit');
      await waitFor('server connections are free', () => [...proxy.proxy.clients].every((one) => one.server === null));
      await postgres.sql(`notify gone, '1'; notify kept, '2'`);
      await waitFor('heard', () => heard.length > 0);
      expect(heard).toEqual(['kept:2']);
    });
  });

  describe('cancel', () => {
    test('cancels the statement of its own client and no other', async () => {
      await using proxy = await startProxy(postgres, { poolSize: 2 });
      await using a = await connect(proxy);
      await using b = await connect(proxy);
      const slowA = code(a.query('select pg_sleep(600)'));
      const slowB = code(b.query('select pg_sleep(1)'));
      await waitFor(
        'both run',
        async () =>
          (await postgres.value(
            `select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'`,
          )) === '2',
      );
      const key = a as unknown as { processID: number; secretKey: number };
      const canceller = new pg.Client({ host: '127.0.0.1', port: proxy.port });
      const { connection } = canceller as unknown as {
        connection: {
          connect(port: number, host: string): void;
          cancel(pid: number, key: number): void;
          on(event: string, task: () => void): void;
        };
      };
      connection.on('connect', () => connection.cancel(key.processID, key.secretKey));
      connection.connect(proxy.port, '127.0.0.1');
      expect(await slowA).toBe('57014');
      expect(await slowB).toBe('no error');
      expect(await value(a, 'select 1')).toBe(1);
    });
  });
});
