// I11: passwords are seen by nobody who does not need them: not in `ps`, logs, metrics, answers, error texts, nor in files
// that others may read.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { startPostgres, temporaryFolder, type TestPostgres, waitFor } from '../harness.ts';
import { freePortBase, type RunningUp, skerry, spawnRole, startUp } from '../skerry.ts';

const SECRET = 'horse/battery@staple#1';
const WRONG = 'wrong/battery@staple#2';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres({
    hba: [
      'host all keeper 127.0.0.1/32 scram-sha-256',
      'host replication keeper 127.0.0.1/32 scram-sha-256',
      'host all all 127.0.0.1/32 trust',
    ],
    settings: { log_min_messages: 'info', log_connections: 'on' },
  });
  await postgres.sql(
    `create role keeper superuser login password '${SECRET}'; create table t (id int primary key, a text)`,
  );
});
afterAll(async () => postgres[Symbol.asyncDispose]());

const urlWith = (password: string): string =>
  `postgres://keeper:${encodeURIComponent(password)}@127.0.0.1:${postgres.port}/postgres`;

/** As it is, as in a URL, as in HTTP. */
function spellings(secret: string): string[] {
  return [secret, encodeURIComponent(secret), btoa(secret)];
}

function expectWithout(secret: string, what: string, text: string): void {
  for (const one of spellings(secret)) {
    if (text.includes(one)) throw new Error(`${what} shows a secret: ${text.slice(0, 2_000)}`);
  }
}

/** What `ps` shows of all processes but these. */
function commandLines(exceptPids: readonly number[]): string {
  if (!existsSync('/proc/self/cmdline')) {
    const lines = Bun.spawnSync(['ps', '-axww', '-o', 'pid=,command=']).stdout.toString().split('\n');
    return lines.filter((line) => !exceptPids.includes(Number.parseInt(line, 10))).join('\n');
  }
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && !exceptPids.includes(Number(name)))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // It is gone.
      }
    })
    .join('\n');
}

/** Files below `dir` that contain the secret, with their modes. */
function filesWith(secret: string, dir: string): [name: string, mode: string][] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => {
      const bytes = readFileSync(file);
      return spellings(secret).some((one) => bytes.includes(one));
    })
    .map((file): [string, string] => [relative(dir, file), (statSync(file).mode & 0o777).toString(8)])
    .toSorted(([a], [b]) => a.localeCompare(b));
}

/** Makes everything speak that can: statements that work and fail, pages, commands. Gives all that was said. */
async function conversation(up: RunningUp): Promise<string> {
  const said: string[] = [JSON.stringify(up.ready), JSON.stringify(up.events)];
  const [edge] = up.ready.edges;
  const client = new Bun.SQL({ url: edge?.pg as string, max: 1, tls: false });
  const statements = [
    'select * from t',
    'insert into t values (1)',
    'select nonsense',
    'show all',
    'select 1/0',
    'show skerry.lag',
  ];
  for (const statement of statements) {
    said.push(
      JSON.stringify(await client.unsafe(statement).catch((error: Error) => [Object.entries(error), error.message])),
    );
  }
  await client.close();
  for (const place of [up.ready.relay, edge]) {
    for (const page of ['healthz', 'status', 'metrics', 'checksum', 'snapshot', 'nothing']) {
      const response = await fetch(`${place?.http}/${page}`);
      said.push(await response.text(), JSON.stringify([...response.headers]));
    }
  }
  for (const command of ['status', 'verify']) {
    for (const form of [[], ['--json']]) {
      const { out, err } = await skerry([command, '--dir', up.ready.dir, ...form]);
      said.push(out, err);
    }
  }
  return said.join('\n');
}

describe('the password of a database of the user', () => {
  test('is in the configuration files of the roles, for their owner only, and nowhere else', async () => {
    using folder = temporaryFolder();
    const dir = join(folder.path, 'world');
    // In the environment it is not in the command line of `skerry up` itself either.
    const env = { SKERRY_DATABASE_URL: urlWith(SECRET) };
    await using up = await startUp(['--dir', dir, '--edges', '1', '--log-level', 'debug'], env);
    expectWithout(SECRET, 'what was said', await conversation(up));
    expectWithout(SECRET, 'ps', commandLines([]));
    expect(filesWith(SECRET, dir)).toEqual([
      ['edge-0.yaml', '600'],
      ['proxy-users', '600'],
      ['relay.yaml', '600'],
    ]);
    // A role that loses its core says so, again without the password.
    await postgres.stop();
    await waitFor('the relay says that the core is gone', () =>
      /upstream-lost|slot|connect/.test(readFileSync(join(dir, 'log/relay.log'), 'utf8')),
    );
    expectWithout(SECRET, 'what was said without the core', await conversation(up));
    expect(filesWith(SECRET, dir).map(([name]) => name)).toEqual(['edge-0.yaml', 'proxy-users', 'relay.yaml']);
    await postgres.restart();
    expectWithout(SECRET, "the core's log", postgres.log());
  });

  test('given as a flag is in no command line but that one', async () => {
    await using up = await startUp(['--database-url', urlWith(SECRET), '--edges', '1']);
    expect(commandLines([])).toContain(encodeURIComponent(SECRET));
    expectWithout(SECRET, 'ps', commandLines([up.pid]));
    expectWithout(SECRET, 'the first line', JSON.stringify(up.ready));
  });

  test('is not repeated when it is wrong, or when the URL cannot be used', async () => {
    const broken = (rest: string): string => `postgres://keeper:${encodeURIComponent(WRONG)}@${rest}`;
    const urls: [string, string][] = [
      [urlWith(WRONG), 'password-wrong'],
      [broken('127.0.0.1:notaport/db'), 'connection-string-invalid'],
      [broken('127.0.0.1:1/db'), 'connect-failed'],
      [broken('no.such.host.invalid/db'), 'connect-failed'],
      [broken('127.0.0.1/db?sslmode=strong'), 'connection-string-invalid'],
      [broken('127.0.0.1/db?sslrootcert=/nowhere&sslmode=verify-ca'), 'tls-file-unreadable'],
      [`host=127.0.0.1 user=keeper password=${WRONG} nonsense=1`, 'connection-string-invalid'],
      [`http://keeper:${encodeURIComponent(WRONG)}@127.0.0.1/db`, 'connection-string-invalid'],
    ];
    for (const [url, code] of urls) {
      using folder = temporaryFolder();
      const dir = join(folder.path, 'world');
      const args = ['up', '--dir', dir, '--edges', '1', '--port-base', String(freePortBase()), '--database-url', url];
      for (const form of [[], ['--json']]) {
        const { code: exit, out, err } = await skerry([...args, ...form]);
        expect([url, exit]).toEqual([url, 2]);
        expectWithout(WRONG, `the refusal of ${code}`, `${out}${err}`);
        if (form.length > 0)
          expect([url, (JSON.parse(out) as { error: { code: string } }).error.code]).toEqual([url, code]);
      }
      expect(filesWith(WRONG, folder.path)).toEqual([]);
    }
  });

  test('of the wrong type in a file is not repeated either', async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'skerry.yaml');
    for (const text of [`core:\n  database_url: [${WRONG}]\n`, `core:\n  database_url: {a: "${WRONG}"}\n`]) {
      writeFileSync(file, text);
      const { code, out, err } = await skerry(['up', '--config', file]);
      expect(code).toBe(2);
      expectWithout(WRONG, 'the refusal', `${out}${err}`);
    }
  });
});

test('a role that is refused by its upstream keeps the password to itself', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'relay.yaml');
  const password = join(folder.path, 'peer-password');
  writeFileSync(password, `${SECRET} of peers\n`, { mode: 0o600 });
  const values = { dir: join(folder.path, 'relay'), port: 0, http_port: 0, peer_password_file: password };
  writeFileSync(
    file,
    JSON.stringify({ core: { database_url: urlWith(WRONG) }, log: { level: 'debug' }, relay: values }),
  );
  await using relay = spawnRole('relay', file);
  await waitFor('it says why', () => relay.log().includes('password authentication failed'));
  expectWithout(WRONG, 'its log', relay.log());
  expectWithout(SECRET, 'its log', relay.log());
});

test('the passwords that skerry up makes are in files for their owner only', async () => {
  using folder = temporaryFolder();
  const dir = join(folder.path, 'world');
  await using up = await startUp(['--dir', dir, '--edges', '1', '--sample', 'none', '--log-level', 'debug']);
  const said = `${await conversation(up)}\n${commandLines([])}`;
  for (const [name, places] of [
    ['core-password', ['core-password', 'edge-0.yaml', 'pgpass', 'proxy-users', 'relay.yaml']],
    ['peer-password', ['peer-password']],
  ] as const) {
    const secret = readFileSync(join(dir, name), 'utf8').trim();
    expectWithout(secret, 'something', said);
    expect(filesWith(secret, dir)).toEqual(places.map((place): [string, string] => [place, '600']));
  }
});
