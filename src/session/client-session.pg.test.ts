// ClientSession against real servers: the oldest and the newest supported version.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chownSync, chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EDGE_CERT, EDGE_KEY, OTHER_CA, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { needs, startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { sessionWorld } from '../../test/session-world.ts';
import { Fault } from '../base/fault.ts';
import { serverUser } from '../runtime/postgres.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { encodeFrontend } from '../wire/frontend.ts';
import { BACKEND } from '../wire/backend.ts';
import { type ClientOptions, ClientSession } from './client-session.ts';
import { parseConnectionString } from './connection-string.ts';

const HBA = [
  'hostssl certified all 127.0.0.1/32 cert clientcert=verify-full map=all',
  'hostssl tls_only  all 127.0.0.1/32 scram-sha-256',
  'host    all scrammer  127.0.0.1/32 scram-sha-256',
  'host    all unicode   127.0.0.1/32 scram-sha-256',
  'host    all md5er     127.0.0.1/32 md5',
  'host    all clear     127.0.0.1/32 password',
  'host    all nobody    127.0.0.1/32 reject',
  'host    all postgres  127.0.0.1/32 trust',
  'host    replication postgres 127.0.0.1/32 trust',
  'local   all all trust',
];

/** Decomposed by NFKC and holding a no-break space and a soft hyphen: only a right SASLprep logs in. */
const UNICODE_PASSWORD = 'p\u00ad\u2168 \u00a0ü\u212b';

for (const version of ['15', '18'] as const) {
  describe.skipIf(!needs(`postgres-${version}`))(`against PostgreSQL ${version}`, () => {
    const world = sessionWorld();
    let postgres: TestPostgres;

    beforeAll(async () => {
      postgres = await startPostgres({ version, hba: HBA });
      const user = serverUser();
      for (const [name, text] of [
        ['server.crt', SERVER_CERT],
        ['server.key', SERVER_KEY],
        ['ca.crt', TEST_CA],
        ['pg_ident.conf', 'all /^(.*)$ scrammer'],
      ] as const) {
        const path = join(postgres.dataDir, name);
        writeFileSync(path, text);
        chmodSync(path, 0o600);
        if (user !== null) chownSync(path, user.uid, user.gid);
      }
      await postgres.restart({ ssl: 'on', ssl_ca_file: 'ca.crt' });
      await postgres.sql(`
        create role scrammer login password 'se''cret';
        create role unicode login password '${UNICODE_PASSWORD}';
        create role clear login password 'clear';
        create role nobody login;
        set password_encryption = 'md5';
        create role md5er login password 'md5er'`);
      await postgres.sql('create database certified');
      await postgres.sql('create database tls_only');
    });
    afterAll(async () => {
      await postgres[Symbol.asyncDispose]();
    });

    const connect = (
      credentials: string,
      query = '',
      more: Partial<ClientOptions> & { database?: string; host?: string } = {},
    ): Promise<ClientSession> => {
      const host = more.host ?? '127.0.0.1';
      const url = `postgres://${credentials}@${host}:${postgres.port}/${more.database ?? 'postgres'}?${query}`;
      return ClientSession.connect(world, { target: parseConnectionString(url), ...more });
    };

    const failure = async (promise: Promise<ClientSession>): Promise<Fault> => {
      const session = await promise.catch((error: unknown) => error);
      if (session instanceof ClientSession) await session.close();
      expect(session).toBeInstanceOf(Fault);
      return session as Fault;
    };

    const user = async (session: ClientSession): Promise<string | null | undefined> =>
      (await session.query('select current_user')).rows[0]?.[0];

    test('logs in with SCRAM, with a Unicode password, with MD5, and by certificate', async () => {
      for (const [credentials, name] of [
        [`scrammer:se'cret`, 'scrammer'],
        [`unicode:${encodeURIComponent(UNICODE_PASSWORD)}`, 'unicode'],
        ['md5er:md5er', 'md5er'],
      ] as const) {
        await using session = await connect(credentials, 'sslmode=disable');
        expect(await user(session)).toBe(name);
        expect(session.tls).toBeNull();
      }
      await using session = await connect('scrammer', 'sslmode=verify-full', {
        database: 'certified',
        tls: { ca: TEST_CA, cert: EDGE_CERT, key: EDGE_KEY },
      });
      expect(await user(session)).toBe('scrammer');
    });

    test('binds SCRAM to the TLS channel, and refuses to log in without when told so', async () => {
      await using session = await connect(`scrammer:se'cret`, 'sslmode=require&channel_binding=require');
      expect(session.tls?.alpn === 'postgresql' || version === '15').toBe(true);
      expect(await user(session)).toBe('scrammer');
      await using unbound = await connect(`scrammer:se'cret`, 'sslmode=require&channel_binding=disable');
      expect(await user(unbound)).toBe('scrammer');
      const fault = await failure(connect(`scrammer:se'cret`, 'sslmode=disable&channel_binding=require'));
      expect(fault.code).toBe('server-unproven');
      expect((await failure(connect('postgres', 'sslmode=require&channel_binding=require'))).code).toBe(
        'server-unproven',
      );
    });

    test('verifies the certificate as far as sslmode asks', async () => {
      const tls = { ca: TEST_CA };
      for (const [mode, host, options] of [
        ['require', '127.0.0.1', {}],
        ['prefer', '127.0.0.1', {}],
        ['verify-ca', 'localhost', { tls }],
        ['verify-full', 'localhost', { tls }],
        ['verify-full', '127.0.0.1', { tls }],
      ] as const) {
        await using session = await connect('postgres', `sslmode=${mode}`, { host, ...options });
        expect(session.tls).not.toBeNull();
      }
      for (const mode of ['verify-ca', 'verify-full', 'require']) {
        const fault = await failure(connect('postgres', `sslmode=${mode}`, { tls: { ca: OTHER_CA } }));
        expect(fault.code).toBe('tls-untrusted');
      }
    });

    // PostgreSQL 17 brought it.
    if (version === '18') {
      test('starts with TLS at once when sslnegotiation is direct', async () => {
        await using session = await connect(`scrammer:se'cret`, 'sslmode=require&sslnegotiation=direct');
        expect(session.tls?.alpn).toBe('postgresql');
        expect(await user(session)).toBe('scrammer');
      });
    }

    test('speaks protocol 3.2 where the server does, 3.0 where not', async () => {
      await using session = await connect('postgres', 'sslmode=disable', { protocolVersion: 196_610 });
      expect(session.protocolVersion).toBe(version === '18' ? 196_610 : 196_608);
      expect(session.backendKey?.secretKey.length).toBe(version === '18' ? 32 : 4);
      await session.cancel();
    });

    test('INVARIANT_I11: says clearly why a login failed, without the password', async () => {
      const cases = [
        [() => connect('scrammer:wrongsecret', 'sslmode=disable'), 'password-wrong', '28P01'],
        [() => connect('scrammer', 'sslmode=disable'), 'password-missing', '28P01'],
        [() => connect('nobody:wrongsecret', 'sslmode=disable'), 'login-refused', '28000'],
        [() => connect('postgres', 'sslmode=disable', { database: 'missing' }), 'database-missing', '3D000'],
        [() => connect('clear:clear', 'sslmode=disable'), 'cleartext-refused', '28000'],
        [() => connect('scrammer:wrongsecret', 'sslmode=disable', { database: 'tls_only' }), 'password-wrong', '28P01'],
        [() => connect('postgres', 'sslmode=disable&target_session_attrs=standby'), 'target-mismatch', '08001'],
        [() => connect('postgres', 'sslmode=disable', { serverMajorMin: 99 }), 'server-too-old', '0A000'],
      ] as const;
      for (const [attempt, code, sqlstate] of cases) {
        const fault = await failure(attempt());
        expect([fault.code, fault.sqlstate]).toEqual([code, sqlstate]);
        expect(JSON.stringify([fault, fault.message, fault.stack])).not.toContain('wrongsecret');
      }
    });

    test('sends a clear-text password only when allowed', async () => {
      await using session = await connect('clear:clear', 'sslmode=disable', { allowCleartext: true });
      expect(await user(session)).toBe('clear');
      await using verified = await connect('clear:clear', 'sslmode=verify-full', { tls: { ca: TEST_CA } });
      expect(await user(verified)).toBe('clear');
    });

    test('a text that cannot be written down is refused, and the next statement runs', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      const first = session.query("SELECT 'a\0b'").catch((error: unknown) => String(error));
      const waiting = session.query('SELECT 1');
      const third = session.queryParams('SELECT $1', ['a\0b']).catch((error: unknown) => String(error));
      expect(await first).toContain('zero');
      expect((await waiting).rows).toEqual([['1']]);
      await third;
      expect((await session.query('SELECT 2')).rows).toEqual([['2']]);
    });

    test('connects through a unix socket', async () => {
      const target = parseConnectionString(
        `host=${postgres.socketDir} port=${postgres.port} user=postgres dbname=postgres`,
      );
      await using session = await ClientSession.connect(world, { target });
      expect(await user(session)).toBe('postgres');
    });

    test('tries the hosts in order until one fits', async () => {
      const target = parseConnectionString(
        `host=127.0.0.1,127.0.0.1 port=1,${postgres.port} user=postgres target_session_attrs=primary`,
      );
      await using session = await ClientSession.connect(world, { target });
      expect(session.host.port).toBe(postgres.port);
      const standby = { ...target, targetSessionAttrs: 'prefer-standby' as const };
      await using any = await ClientSession.connect(world, { target: standby });
      expect(any.host.port).toBe(postgres.port);
    });

    test('runs several statements at once, keeps order, and goes on after an error', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      const [first, second, third] = await Promise.all([
        session.queryAll('select 1 as a; select null, $$ü$$; '),
        session.query('select 1/0').catch((error: Fault) => error),
        session.queryParams('select $1::int + 1, $2::text', ['41', null]),
      ]);
      expect(first.map(({ rows, tag }) => [rows, tag])).toEqual([
        [[['1']], 'SELECT 1'],
        [[[null, 'ü']], 'SELECT 1'],
      ]);
      expect((second as Fault).sqlstate).toBe('22012');
      expect(third.rows).toEqual([['42', null]]);
      expect(third.columns.map(({ typeOid }) => typeOid)).toEqual([23, 25]);
      expect((await session.query('')).tag).toBe('');
    });

    test('tracks the transaction status, parameters, notices and notifications', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      const seen: string[] = [];
      session.events = {
        notice: ({ message }) => seen.push(message),
        notification: (_pid, channel, payload) => seen.push(`${channel}:${payload}`),
      };
      await session.query('begin');
      expect(session.transactionStatus).toBe('T');
      await session.query('nonsense').catch(() => {});
      expect(session.transactionStatus).toBe('E');
      await session.query(`rollback; set timezone to 'Asia/Tokyo'; listen a; do $$begin raise notice 'hello'; end$$`);
      expect(session.parameters.get('TimeZone')).toBe('Asia/Tokyo');
      await session.query(`notify a, 'b'`);
      await waitFor('the notification', () => seen.includes('a:b'));
      expect(seen).toEqual(['hello', 'a:b']);
    });

    test('copies in and out with back-pressure', async () => {
      await using session = await connect('postgres', 'sslmode=require');
      await session.query('create temp table t (id int, v text)');
      let made = 0;
      const source = function* (): Generator<Uint8Array> {
        for (; made < 2000; made += 1) yield Buffer.from(`${made}\t${'x'.repeat(5000)}\n`);
      };
      expect(await session.copyIn('copy t from stdin', source())).toBe('COPY 2000');
      let bytes = 0;
      let busy = 0;
      const tag = await session.copyOut('copy t to stdout', async (chunk) => {
        busy += 1;
        expect(busy).toBe(1);
        bytes += chunk.length;
        if (bytes % 7 === 0) await Bun.sleep(0);
        busy -= 1;
      });
      expect(tag).toBe('COPY 2000');
      expect(bytes).toBe(2000 * 5002 + 10 + 90 * 2 + 900 * 3 + 1000 * 4);
    });

    test('a COPY whose rows or reader fail leaves the session usable', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      await session.query('create temp table t (id int)');
      const bad = session.copyIn('copy t from stdin', [Buffer.from('1\nnot a number\n')]);
      expect(((await bad.catch((error: Fault) => error)) as Fault).sqlstate).toBe('22P02');
      const broken = async function* (): AsyncGenerator<Uint8Array> {
        yield Buffer.from('1\n');
        await Promise.reject(new Error('the source broke'));
      };
      expect(await session.copyIn('copy t from stdin', broken()).catch((error: Error) => error.message)).toBe(
        'the source broke',
      );
      const reader = session.copyOut('copy (select generate_series(1, 10000)) to stdout', () => {
        throw new Error('the reader broke');
      });
      expect(await reader.catch((error: Error) => error.message)).toBe('the reader broke');
      expect((await session.query('select count(*) from t')).rows).toEqual([['0']]);
      expect(((await session.query('copy t from stdin').catch((error: Fault) => error)) as Fault).code).toBe(
        'protocol-violation',
      );
      expect((await session.query('select 1')).rows).toEqual([['1']]);
    });

    test('cancels a running statement, over TLS too', async () => {
      for (const mode of ['disable', 'require']) {
        await using session = await connect('postgres', `sslmode=${mode}`);
        const running = session.query('select pg_sleep(60)').catch((error: Fault) => error);
        await waitFor(
          'the statement to run',
          async () =>
            (await postgres.value(`select count(*) from pg_stat_activity where query like 'select pg_sleep(60)%'`)) ===
            '1',
        );
        await session.cancel();
        expect(((await running) as Fault).sqlstate).toBe('57014');
        expect((await session.query('select 1')).rows).toEqual([['1']]);
      }
    });

    test('tells everybody who waits when the server ends the session', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      const pid = session.backendKey?.processId ?? 0;
      const waiting = [session.query('select pg_sleep(60)'), session.query('select 1')].map((promise) =>
        promise.catch((error: Fault) => error),
      );
      await postgres.sql(`select pg_terminate_backend(${pid})`);
      const [running, queued] = (await Promise.all(waiting)) as Fault[];
      expect(running?.code).toBe('server-stopping');
      expect(queued?.retryable).toBe(true);
      const closed: (Error | undefined)[] = [];
      await using idle = await connect('postgres', 'sslmode=disable');
      idle.events = { closed: (error) => closed.push(error) };
      await postgres.sql(`select pg_terminate_backend(${idle.backendKey?.processId})`);
      await waitFor('the close', () => closed.length === 1);
      expect((closed[0] as Fault).sqlstate).toBe('57P01');
    });

    test('forwards frames in raw mode, byte for byte', async () => {
      await using session = await connect('postgres', 'sslmode=disable');
      const types: string[] = [];
      session.raw({
        frame: (type) => types.push(String.fromCharCode(type)),
        closed: () => types.push('closed'),
      });
      const writer = new ByteWriter();
      encodeFrontend(writer, { tag: 'query', sql: 'select 1; select 2' });
      session.send(writer.take());
      await waitFor('ReadyForQuery', () => types.at(-1) === String.fromCharCode(BACKEND.readyForQuery));
      expect(types.join('')).toBe('TDCTDCZ');
      expect(() => session.raw({ frame: () => {}, closed: () => {} })).toThrow(Fault);
    });
  });
}
