// Who gets in, how, and what he learns when he does not. Servers ask for SCRAM themselves, so what the proxy passes on is tested too.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { EDGE_CERT, EDGE_KEY, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { clientProgram, needs, startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { databaseConfig, startProxy, type TestProxy, userConfig } from '../../test/proxy.ts';
import { RawPeer, startup } from '../../test/raw-peer.ts';
import { sessionWorld } from '../../test/session-world.ts';
import { ClientSession } from '../session/client-session.ts';
import { parseConnectionString } from '../session/connection-string.ts';
import { parseHba } from './hba.ts';

const HBA = ['host all postgres 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256', 'local all all trust'];

let postgres: TestPostgres;
let secret: string;
beforeAll(async () => {
  postgres = await startPostgres({ hba: HBA });
  await postgres.sql(`
    create role alice login password 'wonder''land';
    create role late login password 'late' valid until '2001-01-01';
    create role nologin password 'x';
    create role admin login password 'admin'`);
  secret = (await postgres.value(`select rolpassword from pg_authid where rolname = 'alice'`)) as string;
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

async function login(proxy: TestProxy, more: pg.ClientConfig): Promise<string> {
  const client = new pg.Client({ host: '127.0.0.1', port: proxy.port, database: 'postgres', ...more });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query<{ u: string }>('select current_user as u')).rows[0]?.u ?? '';
  } catch (error) {
    return `${(error as { code?: string }).code ?? ''}: ${(error as Error).message}`;
  } finally {
    await client.end().catch(() => {});
  }
}

const WRONG = (user: string): string => `28P01: password authentication failed for user "${user}"`;

describe('SCRAM', () => {
  test('with the password in the user list, and the server asking for SCRAM too', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      users: new Map([['alice', userConfig('alice', "wonder'land")]]),
    });
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
    expect(await login(proxy, { user: 'alice', password: 'wrong' })).toBe(WRONG('alice'));
    expect(await login(proxy, { user: 'nobody', password: 'wrong' })).toBe(WRONG('nobody'));
  });

  test('passes through with the stored secret only: the password is nowhere in the configuration', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
    expect(await login(proxy, { user: 'alice', password: 'wrong' })).toBe(WRONG('alice'));
  });

  test('an unknown user sees the same exchange with a salt that does not change, and an unknown database only after it', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      databases: new Map([['known', databaseConfig(postgres, { name: 'known', dbname: 'postgres' })]]),
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    expect(await login(proxy, { user: 'nobody', password: 'x', database: 'nowhere' })).toBe(WRONG('nobody'));
    expect(await login(proxy, { user: 'alice', password: 'x', database: 'nowhere' })).toBe(WRONG('alice'));
    expect(await login(proxy, { user: 'alice', password: "wonder'land", database: 'nowhere' })).toStartWith('3D000');
    expect(await login(proxy, { user: 'alice', password: "wonder'land", database: 'known' })).toBe('alice');
    const saltOf = async (): Promise<string> => {
      using peer = await RawPeer.open(proxy.port);
      peer.send(startup({ user: 'ghost' }));
      await waitFor('mechanisms', () => peer.frames().length === 1);
      peer.send(Buffer.from(`p\0\0\0\x2eSCRAM-SHA-256\0\0\0\0\x18n,,n=,r=abcdefghijklmnop`, 'latin1'));
      await waitFor('salt', () => peer.frames().length === 2);
      return /s=([^,]+)/.exec(peer.frames()[1]?.body.toString('latin1') ?? '')?.[1] ?? '';
    };
    const salt = await saltOf();
    expect(salt.length).toBeGreaterThan(10);
    expect(await saltOf()).toBe(salt);
  });

  test.each([
    ['nothing', ''],
    ['garbage', '\xff\xfe\x00'],
    ['no nonce', 'n,,n=a'],
    ['an authorization identity', 'n,a=root,n=,r=abcdefgh'],
    ['binding that was not offered', 'p=tls-unique,,n=,r=abcdefgh'],
    ['an endless nonce', `n,,n=,r=${'a'.repeat(5000)}`],
  ])('a first message of %s is refused and costs nobody else anything', async (_name, first) => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    using peer = await RawPeer.open(proxy.port);
    peer.send(startup({ user: 'alice' }));
    await waitFor('mechanisms', () => peer.frames().length === 1);
    const data = Buffer.from(first, 'latin1');
    const head = Buffer.alloc(5 + 14 + 4);
    head.write('p', 0);
    head.writeInt32BE(4 + 14 + 4 + data.length, 1);
    head.write('SCRAM-SHA-256\0', 5, 'latin1');
    head.writeInt32BE(data.length, 19);
    peer.send(Buffer.concat([head, data]));
    await waitFor('it is refused', () => peer.closed);
    expect(peer.errors()).toHaveLength(1);
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
  });
});

describe('md5 and trust', () => {
  test('md5 with a password and with its hash; a SCRAM secret is asked for by SCRAM', async () => {
    const hash = `md5${new Bun.CryptoHasher('md5').update('pwalice').digest('hex')}`;
    for (const stored of ['pw', hash]) {
      await using proxy = await startProxy(postgres, {
        authType: 'md5',
        users: new Map([['alice', userConfig('alice', stored)]]),
        databases: new Map([['*', databaseConfig(postgres, { user: 'postgres' })]]),
      });
      expect(await login(proxy, { user: 'alice', password: 'pw' })).toBe('postgres');
      expect(await login(proxy, { user: 'alice', password: 'no' })).toBe(WRONG('alice'));
      expect(await login(proxy, { user: 'nobody', password: 'no' })).toBe(WRONG('nobody'));
    }
    await using proxy = await startProxy(postgres, {
      authType: 'md5',
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
  });

  test('a wrong password of the proxy at the server is told in the server’s words', async () => {
    await using proxy = await startProxy(postgres, { users: new Map([['alice', userConfig('alice', 'not it')]]) });
    expect(await login(proxy, { user: 'alice' })).toBe(WRONG('alice'));
  });
});

describe('auth_query', () => {
  const options = (): Parameters<typeof startProxy>[1] => ({ authType: 'scram-sha-256', authUser: 'postgres' });

  test('finds the secret, which is good for the server as well', async () => {
    await using proxy = await startProxy(postgres, options());
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
    expect(await login(proxy, { user: 'alice', password: 'wrong' })).toBe(WRONG('alice'));
    expect(await login(proxy, { user: 'nobody', password: 'wrong' })).toBe(WRONG('nobody'));
  });

  test('names of databases that strangers make up are not kept and stop nobody else', async () => {
    await using proxy = await startProxy(postgres, options());
    for (let index = 0; index < 8; index += 1) {
      const database = `made-up-${index}-${'x'.repeat(index)}`;
      expect(await login(proxy, { user: 'alice', password: "wonder'land", database })).toBe(WRONG('alice'));
    }
    expect(proxy.proxy.databases.size).toBe(0);
    // After five real failures auth_query would rest for half a minute.
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
  });

  test('honours VALID UNTIL and NOLOGIN (CVE-2025-2291)', async () => {
    await using proxy = await startProxy(postgres, options());
    expect(await login(proxy, { user: 'late', password: 'late' })).toBe(WRONG('late'));
    expect(await login(proxy, { user: 'nologin', password: 'x' })).toBe(WRONG('nologin'));
  });

  test('a search_path in the startup packet has no say in it (CVE-2025-12819)', async () => {
    await postgres.sql(`
      create schema if not exists evil;
      create or replace function evil.now() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
      create table if not exists evil.pg_authid (rolname name, rolpassword text, rolvaliduntil timestamptz, rolcanlogin bool)`);
    await using proxy = await startProxy(postgres, options());
    expect(await login(proxy, { user: 'late', password: 'late', options: '-c search_path=evil,pg_catalog' })).toBe(
      WRONG('late'),
    );
    expect(await login(proxy, { user: 'alice', password: "wonder'land", options: '-c search_path=evil' })).toBe(
      'alice',
    );
  });
});

describe('rules', () => {
  test('decide by database, user, address and TLS; the first that fits', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'hba',
      hba: parseHba(`
        # comment
        hostssl all  all      all           scram-sha-256
        host    all  alice    127.0.0.1/32  scram-sha-256
        host    postgres postgres 127.0.0.0 255.0.0.0 trust
        host    all  all      0.0.0.0/0     reject`),
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    expect(await login(proxy, { user: 'alice', password: "wonder'land" })).toBe('alice');
    expect(await login(proxy, { user: 'postgres' })).toBe('postgres');
    expect(await login(proxy, { user: 'postgres', database: 'template1' })).toStartWith('28000');
    expect(await login(proxy, { user: 'bob' })).toStartWith('28000: no rule lets user "bob"');
  });

  test.each([
    ['host all all 127.0.0.1/32 magic', 'line 1: "magic" is not one of'],
    ['\nhots all all 127.0.0.1/32 trust', 'line 2: "hots" is not local'],
    ['host all all 300.0.0.1/32 trust', '"300.0.0.1/32" is not an address'],
    ['host all all 10.0.0.0/33 trust', 'no valid prefix length'],
  ])('a line that says %j is refused with its number', (text, message) => {
    expect(() => parseHba(text)).toThrow(message);
  });
});

describe('TLS', () => {
  const tls = { cert: SERVER_CERT, key: SERVER_KEY, ca: TEST_CA };
  const session = async (
    proxy: TestProxy,
    url: string,
    files: { ca?: string; cert?: string; key?: string } = {},
  ): Promise<string> => {
    try {
      await using client = await ClientSession.connect(sessionWorld(), {
        target: parseConnectionString(`postgres://${url.replace('PORT', String(proxy.port))}`),
        tls: files,
      });
      return `${(await client.query('select current_user')).rows[0]?.[0] ?? ''} ${client.tls?.alpn ?? '-'}`;
    } catch (error) {
      return String((error as { code?: string }).code);
    }
  };

  test('STARTTLS and direct TLS, SCRAM with channel binding', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      tls,
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    const at = "alice:wonder'land@localhost:PORT/postgres";
    expect(await session(proxy, `${at}?sslmode=verify-full&channel_binding=require`, { ca: TEST_CA })).toBe(
      'alice postgresql',
    );
    expect(
      await session(proxy, `${at}?sslmode=verify-full&sslnegotiation=direct&channel_binding=require`, { ca: TEST_CA }),
    ).toBe('alice postgresql');
    expect(await session(proxy, `${at}?sslmode=disable`)).toBe('alice -');
    expect(await session(proxy, `alice:wrong@localhost:PORT/postgres?sslmode=require`)).toBe('password-wrong');
  });

  test.skipIf(!needs('psql'))('libpq binds the channel too', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'scram-sha-256',
      tls,
      users: new Map([['alice', userConfig('alice', secret)]]),
    });
    const url = `host=127.0.0.1 port=${proxy.port} user=alice password=wonder'land dbname=postgres sslmode=require channel_binding=require`;
    const child = Bun.spawn(
      [clientProgram('psql'), '-XAt', '-d', url.replaceAll("'", "\\'"), '-c', 'select current_user'],
      { stderr: 'pipe' },
    );
    expect(await new Response(child.stderr).text()).toBe('');
    expect((await new Response(child.stdout).text()).trim()).toBe('alice');
  });

  test('a client certificate proves its own name and no other', async () => {
    await using proxy = await startProxy(postgres, {
      authType: 'cert',
      tls,
      databases: new Map([['*', databaseConfig(postgres, { user: 'postgres' })]]),
    });
    const name = new (await import('node:crypto')).X509Certificate(EDGE_CERT).subject.replace('CN=', '');
    const files = { ca: TEST_CA, cert: EDGE_CERT, key: EDGE_KEY };
    expect(await session(proxy, `${name}@localhost:PORT/postgres?sslmode=verify-full`, files)).toBe(
      'postgres postgresql',
    );
    expect(await session(proxy, `someone@localhost:PORT/postgres?sslmode=verify-full`, files)).toBe('password-wrong');
    expect(await session(proxy, `${name}@localhost:PORT/postgres?sslmode=verify-full`, { ca: TEST_CA })).toBe(
      'password-wrong',
    );
  });

  test('a certificate is replaced by RELOAD without dropping anybody, and a bad configuration changes nothing', async () => {
    let broken = false;
    await using proxy = await startProxy(postgres, {
      tls,
      reload: () => {
        if (broken) return Promise.reject(new Error('not valid'));
        return Promise.resolve({ ...proxy.proxy.config, poolSize: 7 });
      },
    });
    const client = new pg.Client({
      host: '127.0.0.1',
      port: proxy.port,
      user: 'postgres',
      ssl: { rejectUnauthorized: false },
    });
    await client.connect();
    await proxy.proxy.reload();
    expect(proxy.proxy.config.poolSize).toBe(7);
    broken = true;
    expect(await proxy.proxy.reload().catch((error: unknown) => (error as Error).message)).toBe('not valid');
    expect(proxy.proxy.config.poolSize).toBe(7);
    expect((await client.query<{ a: number }>('select 1 as a')).rows).toEqual([{ a: 1 }]);
    await client.end();
  });
});

describe('limits', () => {
  test('one client too many gets 53300', async () => {
    await using proxy = await startProxy(postgres, { clientConnectionsMax: 1 });
    const first = new pg.Client({ host: '127.0.0.1', port: proxy.port, user: 'postgres' });
    await first.connect();
    expect(await login(proxy, { user: 'postgres' })).toStartWith('53300');
    await first.end();
    await waitFor('the place is free', async () => (await login(proxy, { user: 'postgres' })) === 'postgres');
  });

  test('server connections over all users of a database', async () => {
    await using proxy = await startProxy(postgres, {
      databases: new Map([['*', databaseConfig(postgres, { connectionsMax: 2 })]]),
      users: new Map([['alice', userConfig('alice', "wonder'land")]]),
    });
    for (let turn = 0; turn < 3; turn += 1) {
      expect(
        await Promise.all([
          login(proxy, { user: 'postgres' }),
          login(proxy, { user: 'alice' }),
          login(proxy, { user: 'postgres' }),
        ]),
      ).toEqual(['postgres', 'alice', 'postgres']);
      expect([...proxy.proxy.pools.values()].reduce((sum, pool) => sum + pool.servers.size, 0)).toBeLessThanOrEqual(2);
    }
  });
});
