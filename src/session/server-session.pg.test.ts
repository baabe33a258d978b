// Stock clients log in to our server sessions: psql and libpq, node-postgres, postgres.js, Bun.SQL, psycopg.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { SQL } from 'bun';
import pg from 'pg';
import postgresJs from 'postgres';
import { EDGE_CERT, EDGE_KEY, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { clientProgram, needs, pythonWithPsycopg, temporaryFolder, waitFor } from '../../test/harness.ts';
import { startToyServer, type ToyServer } from '../../test/toy-server.ts';

const PASSWORD = 'pass ü\u2168 word';

let server: ToyServer;
let folder: ReturnType<typeof temporaryFolder>;
const path = (name: string): string => `${folder.path}/${name}`;

beforeAll(async () => {
  folder = temporaryFolder();
  server = await startToyServer({
    // postgres.js does not prepare passwords (RFC 4013): it gets one that needs none.
    passwords: { alice: PASSWORD, bob: 'plain' },
    tls: { cert: SERVER_CERT, key: SERVER_KEY, ca: TEST_CA },
    acceptCertificates: true,
  });
  await Bun.write(path('ca.crt'), TEST_CA);
  await Bun.write(path('edge.crt'), EDGE_CERT);
  await Bun.write(path('edge.key'), EDGE_KEY);
  Bun.spawnSync(['chmod', '600', path('edge.key')]);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function run(command: string[], env: Record<string, string> = {}): Promise<{ out: string; code: number }> {
  const child = Bun.spawn(command, {
    env: { PATH: process.env['PATH'] ?? '', HOME: folder.path, ...env },
    stdout: 'pipe',
    stderr: 'pipe',
    stdin: 'ignore',
  });
  const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { out: (out + error).trim(), code: await child.exited };
}

describe.skipIf(!needs('psql'))('psql', () => {
  const psql = (conninfo: string, sql: string, password = PASSWORD): Promise<{ out: string; code: number }> =>
    run([clientProgram('psql'), '-XAtq', `host=localhost port=${server.port} dbname=db ${conninfo}`, '-c', sql], {
      PGPASSWORD: password,
    });

  test('INVARIANT_I9: logs in without TLS, with TLS, with channel binding, with a verified certificate', async () => {
    for (const conninfo of [
      'user=alice sslmode=disable',
      'user=alice sslmode=require',
      'user=alice sslmode=require channel_binding=require',
      `user=alice sslmode=verify-full sslrootcert=${path('ca.crt')}`,
      `user=edge-1 sslmode=verify-full sslrootcert=${path('ca.crt')} sslcert=${path('edge.crt')} sslkey=${path('edge.key')}`,
    ]) {
      expect([conninfo, await psql(conninfo, 'select 1')]).toEqual([conninfo, { out: 'select 1', code: 0 }]);
    }
  });

  test('hears why it may not log in', async () => {
    const wrong = await psql('user=alice sslmode=require', 'select 1', 'wrong');
    expect(wrong.code).toBe(2);
    expect(wrong.out).toContain('FATAL:  password authentication failed for user "alice"');
    expect(wrong.out).not.toContain('wrong ');
  });

  test('shows errors and large answers, and can be interrupted', async () => {
    expect((await psql('user=alice', `select 'boom'`)).out).toContain('ERROR:  boom');
    expect((await psql('user=alice', `select 'flood 3000'`)).out.length).toBe(3000 * 1001 - 1);
    const sleeping = Bun.spawn(
      [
        clientProgram('psql'),
        '-XAtq',
        `host=localhost port=${server.port} dbname=db user=alice`,
        '-c',
        `select 'sleep'`,
      ],
      { env: { PGPASSWORD: PASSWORD, HOME: folder.path }, stdout: 'pipe', stderr: 'pipe' },
    );
    const before = server.frames.count;
    await waitFor('the statement', () => server.frames.count > before);
    sleeping.kill('SIGINT');
    expect(await sleeping.stderr.text()).toContain('canceling statement due to user request');
  });
});

test('node-postgres logs in, over TLS too, and runs prepared statements', async () => {
  for (const ssl of [false, { ca: TEST_CA }]) {
    const client = new pg.Client({ host: 'localhost', port: server.port, user: 'alice', password: PASSWORD, ssl });
    client.on('error', () => {});
    await client.connect();
    expect((await client.query('select 1')).rows).toEqual([{ echo: 'select 1' }]);
    expect((await client.query({ name: 'a', text: 'select $1', values: ['x'] })).rows).toEqual([{ echo: 'select $1' }]);
    await client.end();
  }
});

test('postgres.js logs in, over TLS too', async () => {
  for (const ssl of [false as const, { ca: TEST_CA }]) {
    const options = {
      host: 'localhost',
      port: server.port,
      user: 'bob',
      password: 'plain',
      max: 2,
      fetch_types: false,
    };
    const sql = postgresJs({ ...options, ssl });
    expect((await sql.unsafe('select 1'))[0]?.['echo']).toBe('select 1');
    expect((await sql.unsafe('select $1', ['x']))[0]?.['echo']).toBe('select $1');
    await sql.end();
  }
});

test('Bun.SQL logs in, over TLS too', async () => {
  for (const tls of [false, { ca: TEST_CA }]) {
    await using sql = new SQL({
      adapter: 'postgres',
      hostname: 'localhost',
      port: server.port,
      username: 'alice',
      password: PASSWORD,
      database: 'db',
      tls,
      max: 1,
    });
    expect([...(await sql.unsafe('select 1'))]).toEqual([{ echo: 'select 1' }]);
  }
});

describe.skipIf(!needs('python-psycopg'))('psycopg', () => {
  test('logs in with everything its libpq knows', async () => {
    const script = `
import sys, psycopg
port, ca, password = sys.argv[1:4]
base = dict(host='localhost', port=port, user='alice', password=password, dbname='db')
variants = [dict(sslmode='disable'), dict(sslmode='require', channel_binding='require'),
            dict(sslmode='verify-full', sslrootcert=ca)]
if psycopg.pq.version() >= 170000:
    variants.append(dict(sslmode='require', sslnegotiation='direct', channel_binding='require'))
if psycopg.pq.version() >= 180000:
    variants.append(dict(sslmode='require', max_protocol_version='latest'))
for variant in variants:
    with psycopg.connect(**base, **variant) as connection:
        print(connection.execute('select 1').fetchone(), connection.execute('select %s', ['x']).fetchone())
`;
    const { out, code } = await run([
      pythonWithPsycopg() ?? 'python3',
      '-c',
      script,
      String(server.port),
      path('ca.crt'),
      PASSWORD,
    ]);
    expect([code, new Set(out.split('\n'))]).toEqual([0, new Set([`('select 1',) ('select $1',)`])]);
  });
});
