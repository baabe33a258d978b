// The proxy as a client of its servers: TLS as far as server_tls_sslmode asks, passed-through passwords that change, and
// prepared statements that another server connection has to learn first.

import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { OTHER_CA, SERVER_CERT, SERVER_CERT_SHA384, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { databaseConfig, startProxy, type TestProxy, type TestProxyOptions } from '../../test/proxy.ts';
import { query, RawPeer } from '../../test/raw-peer.ts';
import { sessionWorld } from '../../test/session-world.ts';
import { frame, i16, i32, join as bytes, z } from '../../test/wire-frames.ts';
import { serverUser } from '../runtime/postgres.ts';
import { ClientSession } from '../session/client-session.ts';
import { parseConnectionString } from '../session/connection-string.ts';

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

/** First column of the first row, or the error's SQLSTATE and text. */
async function ask(proxy: TestProxy, sql: string, more: pg.ClientConfig = {}): Promise<string> {
  try {
    await using client = await connect(proxy, more);
    const { rows } = await client.query<unknown[]>({ text: sql, rowMode: 'array' });
    return String(rows[0]?.[0]);
  } catch (error) {
    return `${(error as { code?: string }).code ?? ''}: ${(error as Error).message}`;
  }
}

async function startTlsPostgres(hba: readonly string[]): Promise<TestPostgres> {
  const postgres = await startPostgres({ hba, settings: { listen_addresses: '127.0.0.1,127.0.0.2' } });
  const user = serverUser();
  for (const [name, text] of [
    ['server.crt', SERVER_CERT],
    ['server.key', SERVER_KEY],
  ] as const) {
    const path = join(postgres.dataDir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o600);
    if (user !== null) chownSync(path, user.uid, user.gid);
  }
  await postgres.restart({ ssl: 'on' });
  return postgres;
}

const IS_TLS = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

describe('TLS to servers', () => {
  let withTls: TestPostgres;
  let without: TestPostgres;
  beforeAll(async () => {
    withTls = await startTlsPostgres([
      'hostssl tls_only all 127.0.0.0/8 trust',
      'hostnossl plain_only all 127.0.0.0/8 trust',
      'host postgres all 127.0.0.0/8 trust',
    ]);
    await withTls.sql('create database tls_only');
    await withTls.sql('create database plain_only');
    without = await startPostgres();
  });
  afterAll(async () => {
    await withTls[Symbol.asyncDispose]();
    await without[Symbol.asyncDispose]();
  });

  const through = async (
    server: TestPostgres,
    options: TestProxyOptions & { readonly database?: string; readonly serverHost?: string },
  ): Promise<string> => {
    const { database = 'postgres', serverHost = '127.0.0.1', ...config } = options;
    await using proxy = await startProxy(
      { host: serverHost, port: server.port },
      { queryWaitTimeoutMs: 3_000, ...config },
    );
    return await ask(proxy, IS_TLS, { database });
  };

  test.each([
    ['disable', 'false'],
    ['allow', 'false'],
    ['prefer', 'true'],
    ['require', 'true'],
  ] as const)('sslmode %s with a server that takes both: TLS %s', async (serverSslMode, expected) => {
    expect(await through(withTls, { serverSslMode })).toBe(expected);
  });

  test.each([
    ['disable', false],
    ['allow', true],
    ['prefer', true],
    ['require', true],
  ] as const)('sslmode %s with a server that wants TLS: gets in %p', async (serverSslMode, getsIn) => {
    const answer = await through(withTls, { serverSslMode, database: 'tls_only' });
    if (getsIn) expect(answer).toBe('true');
    else expect(answer).toContain('no pg_hba.conf entry');
  });

  test.each([
    ['disable', true],
    ['allow', true],
    ['prefer', true],
    ['require', false],
  ] as const)('sslmode %s with a server that refuses TLS in pg_hba.conf: gets in %p', async (serverSslMode, getsIn) => {
    const answer = await through(withTls, { serverSslMode, database: 'plain_only' });
    if (getsIn) expect(answer).toBe('false');
    else expect(answer).toContain('no pg_hba.conf entry');
  });

  test.each([
    ['disable', true],
    ['allow', true],
    ['prefer', true],
    ['require', false],
    ['verify-ca', false],
    ['verify-full', false],
  ] as const)('sslmode %s with a server without TLS: gets in %p', async (serverSslMode, getsIn) => {
    const answer = await through(without, { serverSslMode, serverTls: { ca: TEST_CA } });
    if (getsIn) expect(answer).toBe('false');
    else expect(answer).toContain('does not support TLS');
  });

  test.each([
    ['require', 'its', '127.0.0.2', true],
    ['require', 'another', '127.0.0.1', false],
    ['verify-ca', 'its', '127.0.0.2', true],
    ['verify-ca', 'another', '127.0.0.1', false],
    ['verify-full', 'its', '127.0.0.1', true],
    ['verify-full', 'its', 'localhost', true],
    // The certificate is for localhost and 127.0.0.1.
    ['verify-full', 'its', '127.0.0.2', false],
    ['verify-full', 'another', '127.0.0.1', false],
  ] as const)('sslmode %s with %s CA, server %s: trusted %p', async (serverSslMode, whose, serverHost, isTrusted) => {
    const ca = whose === 'its' ? TEST_CA : OTHER_CA;
    const answer = await through(withTls, { serverSslMode, serverTls: { ca }, serverHost });
    if (isTrusted) expect(answer).toBe('true');
    else expect(answer).toContain('certificate is not trusted');
  });

  test('a cancel request takes TLS too, and reaches its statement', async () => {
    await using proxy = await startProxy(withTls, { serverSslMode: 'require' });
    await using client = await connect(proxy);
    const sleeping = client.query('select pg_sleep(60)').catch((error: unknown) => error as { code: string });
    await waitFor('it runs', () => [...proxy.proxy.clients].some((one) => one.server !== null));
    for (const one of proxy.proxy.clients) one.cancel();
    expect(await sleeping).toMatchObject({ code: '57014' });
    expect((await client.query<{ one: number }>('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('TLS to clients', () => {
  test('RELOAD takes another certificate for new clients and drops nobody', async () => {
    await using postgres = await startPostgres();
    const tls = { cert: SERVER_CERT, key: SERVER_KEY };
    await using proxy = await startProxy(postgres, {
      tls,
      reload: () => Promise.resolve({ ...proxy.proxy.config, tls: { cert: SERVER_CERT_SHA384, key: SERVER_KEY } }),
    });
    const open = (): Promise<ClientSession> =>
      ClientSession.connect(sessionWorld(), {
        target: parseConnectionString(`postgres://postgres@localhost:${proxy.port}/postgres?sslmode=verify-full`),
        tls: { ca: TEST_CA },
      });
    const certificateOf = (session: ClientSession): string =>
      Buffer.from(session.tls?.peerCertificate ?? []).toString('base64');
    const bodyOf = (pem: string): string => pem.replaceAll(/-----[^-]+-----|\s/g, '');
    await using before = await open();
    await before.query('create temp table kept as select 42 as answer');
    expect(certificateOf(before)).toBe(bodyOf(SERVER_CERT));
    await proxy.proxy.reload();
    await using after = await open();
    expect(certificateOf(after)).toBe(bodyOf(SERVER_CERT_SHA384));
    expect((await before.query('select answer from kept')).rows).toEqual([['42']]);
  });
});

describe('passwords passed through', () => {
  test('keys that a server has refused are forgotten, and a new login brings new ones', async () => {
    await using postgres = await startPostgres({
      hba: ['host all postgres 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256', 'local all all trust'],
    });
    await postgres.sql("create role alice login password 'first'");
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      authUser: 'postgres',
      databases: new Map([['*', databaseConfig(postgres)]]),
    });
    await using old = await connect(proxy, { user: 'alice', password: 'first' });
    expect((await old.query<{ u: string }>('select current_user as u')).rows).toEqual([{ u: 'alice' }]);
    await postgres.sql("alter role alice password 'second'");
    for (const pool of proxy.proxy.pools.values()) pool.renew('test');
    // The client is in, but what it proved opens no new server connection.
    const refused = await old.query('select 1').catch((error: unknown) => error as { code: string });
    expect(refused).toMatchObject({ code: '28P01' });
    expect(proxy.proxy.users.get('alice')?.scramKeys).toBeNull();
    // The refusal made the proxy ask for the stored secret anew, although it remembers secrets for a while.
    expect(await ask(proxy, 'select 1', { user: 'alice', password: 'first' })).toStartWith('28P01');
    expect(await ask(proxy, 'select current_user', { user: 'alice', password: 'second' })).toBe('alice');
    // The new keys serve the old client as well.
    expect((await old.query<{ u: string }>('select current_user as u')).rows).toEqual([{ u: 'alice' }]);
  });
});

describe('a statement that another server connection has to learn first', () => {
  const parse = (name: string, sql: string): Uint8Array => frame('P', z(name), z(sql), i16(0));
  const bind = (name: string): Uint8Array => frame('B', z(''), z(name), i16(0), i16(0), i16(0));
  const execute = frame('E', z(''), i32(0));
  const sync = frame('S');

  test('fails at its Bind when the server refuses it, not earlier, and the client may go on', async () => {
    await using postgres = await startPostgres();
    await using proxy = await startProxy(postgres, { poolSize: 1 });
    await postgres.sql('create table passing as select 7 as a');
    using peer = await RawPeer.login(proxy.port, { user: 'postgres', database: 'postgres' });
    let seen = peer.frames().length;
    const converse = async (message: Uint8Array): Promise<string> => {
      peer.send(message);
      await waitFor('an answer', () => peer.frames().at(-1)?.type === 'Z' && peer.frames().length > seen);
      const answer = peer
        .frames()
        .slice(seen)
        .map((one) => one.type)
        .join('');
      seen = peer.frames().length;
      return answer;
    };
    expect(await converse(bytes(parse('st', 'select a from passing'), bind('st'), execute, sync))).toBe('12DCZ');
    await postgres.sql('drop table passing');
    for (const pool of proxy.proxy.pools.values()) pool.renew('test');
    // The Parse before it succeeds and is answered; the Bind brings the error, and what stands behind it is skipped.
    const failing = bytes(parse('other', 'select 1'), bind('st'), execute, parse('lost', 'select 2'), sync);
    expect(await converse(failing)).toBe('1EZ');
    expect(peer.errors().at(-1)).toMatchObject({ C: '42P01' });
    expect(await converse(bytes(bind('other'), execute, sync))).toBe('2DCZ');
    expect(await converse(bytes(bind('lost'), execute, sync))).toBe('EZ');
    expect(await converse(query('select 1'))).toBe('TDCZ');
    // Inside a transaction it fails the transaction, as any error.
    expect(await converse(query('begin'))).toBe('CZ');
    expect(await converse(bytes(bind('st'), execute, sync))).toBe('EZ');
    expect(await converse(query('select 1'))).toBe('EZ');
    expect(await converse(query('rollback'))).toBe('CZ');
    // The name is still the client's: when the table is back, so is the statement.
    await postgres.sql('create table passing as select 8 as a');
    expect(await converse(bytes(bind('st'), execute, sync))).toBe('2DCZ');
  });
});
