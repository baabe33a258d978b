import { describe, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isAlive } from '../../src/runtime/process.ts';
import type { ProxyStatus } from '../../src/roles/proxy.ts';
import { clientProgram, startPostgres, temporaryFolder, waitFor } from '../harness.ts';
import { freePortBase, MAIN, skerry, startUp } from '../skerry.ts';

const DATA_DIR = process.env['SKERRY_DATA_DIR'] ?? join(import.meta.dir, '../../../shared/data');

describe('stopping', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s stops edges and proxy, relay and core in this order and leaves nothing',
    async (signal) => {
      await using up = await startUp(['--edges', '2']);
      const pids = ['core', 'proxy', 'relay', 'edge-0', 'edge-1'].map((name) => up.pidOf(name));
      expect(await up.signal(signal)).toBe(0);
      expect(pids.filter(isAlive)).toEqual([]);
      expect(existsSync(up.ready.dir)).toBe(false);
      const stopped = up.events.filter((event) => event['event'] === 'stopped').map((event) => event['name']);
      expect(new Set(stopped.slice(0, 3))).toEqual(new Set(['proxy', 'edge-0', 'edge-1']));
      expect(stopped.slice(3)).toEqual(['relay', 'core']);
    },
  );

  test('SIGKILL leaves no process behind either', async () => {
    await using up = await startUp(['--edges', '1']);
    const proxyStatus = (await (await fetch(`${up.ready.proxy.http}/status`)).json()) as ProxyStatus;
    const pids = ['core', 'proxy', 'relay', 'edge-0'].map((name) => up.pidOf(name));
    pids.push(...proxyStatus.workers.map((worker) => worker.pid));
    await up.signal('SIGKILL');
    await waitFor('all children are gone', () => pids.every((pid) => !isAlive(pid)));
    await waitFor('the temporary folder is gone', () => !existsSync(up.ready.dir));
  });
});

test('each process that is killed comes back', async () => {
  await using up = await startUp(['--edges', '1']);
  for (const name of ['edge-0', 'proxy', 'relay', 'core']) {
    const before = up.pidOf(name);
    process.kill(before, 'SIGKILL');
    await waitFor(`${name} is back`, () => up.pidOf(name) !== before);
    expect(up.events).toContainEqual(
      expect.objectContaining({ event: 'exited', name, reason: 'was killed by SIGKILL' }),
    );
  }
});

describe('the proxy in front of the core', () => {
  test('takes the core’s password, finds other users there, pools, and says how it is', async () => {
    await using up = await startUp(['--edges', '0', '--sample', 'none', '--proxy-workers', '2']);
    const { proxy, core } = up.ready;
    const passwordOf = (url: string): string => {
      const { port } = new URL(url);
      const lines = readFileSync(core.passFile as string, 'utf8').split('\n');
      return lines.find((line) => line.split(':')[1] === port)?.split(':')[4] ?? '';
    };
    const connect = (url: string, password: string): Bun.SQL => new Bun.SQL({ url, password, max: 1, tls: false });
    for (const url of [proxy.pg, proxy.pgRead]) {
      await using owner = connect(url, passwordOf(url));
      expect(await owner`select count(*)::int as many from pg_roles where rolname = current_user`).toEqual([
        { many: 1 },
      ]);
    }
    await using owner = connect(proxy.pg, passwordOf(proxy.pg));
    await owner.unsafe(`create role somebody login password 'of her own'`);
    await using somebody = connect(proxy.pg.replace('postgres@', 'somebody@'), 'of her own');
    expect(await somebody`select current_user as name`).toEqual([{ name: 'somebody' }]);
    await using stranger = connect(proxy.pg, 'a guess');
    await expect(stranger`select 1`.execute()).rejects.toThrow('password');
    const status = JSON.parse((await skerry(['status', '--json', '--dir', up.ready.dir])).out) as {
      ok: boolean;
      proxy: { status: ProxyStatus };
    };
    expect(status.ok).toBe(true);
    expect(status.proxy.status.workers.length).toBe(2);
    const shown = await skerry(['status', '--dir', up.ready.dir]);
    expect(shown.out).toMatch(/^proxy +serving +\d+ clients?.* +\d+ +postgres:/m);
    const top = await skerry(['top', '--once', '--json', '--all', '--interval', '0.2', '--dir', up.ready.dir]);
    const { roles } = JSON.parse(top.out) as { roles: { role: string; name: string; pools?: object[] }[] };
    expect(roles.map(({ role, name }) => [role, name])).toEqual([
      ['proxy', 'proxy'],
      ['other', 'relay'],
    ]);
    expect(roles[0]?.pools).toContainEqual(
      expect.objectContaining({ database: 'postgres', user: 'postgres', place: 'primary' }),
    );
    // A worker, then the whole proxy.
    process.kill(status.proxy.status.workers[0]?.pid ?? 0, 'SIGKILL');
    process.kill(up.pidOf('proxy'), 'SIGKILL');
    await waitFor('it answers again', async () => {
      await using again = connect(proxy.pg, passwordOf(proxy.pg));
      return ((await again`select 1 as one`) as unknown[]).length === 1;
    });
  });

  test('of a user: whoever the database lets in', async () => {
    await using postgres = await startPostgres();
    await postgres.sql('create table t (id int primary key)');
    await using up = await startUp(['--edges', '0', '--database-url', postgres.url]);
    await using client = new Bun.SQL({ url: up.ready.proxy.pg, max: 1, tls: false });
    expect(await client`select inet_server_port() as port`).toEqual([{ port: postgres.port }]);
  });

  test('with certificates of the world’s own', async () => {
    await using up = await startUp(['--edges', '0', '--sample', 'none', '--tls']);
    const { hostname, port } = new URL(up.ready.proxy.pg);
    const psql = Bun.spawnSync([clientProgram('psql'), '-Atc', 'select 1', up.ready.proxy.pg], {
      env: { ...process.env, PGPASSFILE: up.ready.core.passFile as string },
    });
    expect([hostname, port, psql.stderr.toString(), psql.stdout.toString()]).toEqual([hostname, port, '', '1\n']);
  });
});

test('a role that hangs is killed and started again, and verify does not wait for one', async () => {
  await using up = await startUp(['--edges', '2', '--sample', 'none', '--hung-timeout', '8s']);
  const before = up.pidOf('edge-0');
  process.kill(before, 'SIGSTOP');
  const began = performance.now();
  const verified = await skerry(['verify', '--dir', up.ready.dir]);
  expect([verified.code, verified.err]).toEqual([2, expect.stringContaining('edge-0 does not answer')]);
  // A checksum may take five minutes; two questions without an answer are enough here.
  expect(performance.now() - began).toBeLessThan(60_000);
  await waitFor('it is back', () => up.pidOf('edge-0') !== before, 60_000);
  expect(up.events).toContainEqual(expect.objectContaining({ event: 'hung', name: 'edge-0', pid: before }));
  expect(isAlive(before)).toBe(false);
  const again = await skerry(['verify', '--wait', '--dir', up.ready.dir]);
  expect([again.code, again.err]).toEqual([0, '']);
}, 120_000);

test('a folder is kept and found again; secrets in it are for its owner only', async () => {
  using folder = temporaryFolder();
  const dir = join(folder.path, 'world');
  const portBase = String(freePortBase());
  for (let start = 1; start <= 2; start += 1) {
    await using up = await startUp(['--dir', dir, '--edges', '1', '--port-base', portBase, '--sample', 'none']);
    expect(up.ready.dir).toBe(dir);
    for (const name of [
      'core-password',
      'peer-password',
      'pgpass',
      'proxy-users',
      'proxy.yaml',
      'relay.yaml',
      'edge-0.yaml',
    ]) {
      expect([name, statSync(join(dir, name)).mode & 0o777]).toEqual([name, 0o600]);
    }
    if (start === 1) {
      const second = await skerry(['up', '--dir', dir, '--port-base', String(freePortBase()), '--json']);
      expect(second.code).toBe(2);
      expect(JSON.parse(second.out)).toMatchObject({ error: { code: 'folder-in-use' } });
    }
  }
});

describe('refused with one sentence, and nothing is left behind', () => {
  const refuse = async (args: readonly string[], env: Record<string, string> = {}) => {
    const result = await skerry(['up', '--json', ...args], env);
    expect(result.code).toBe(2);
    return (
      JSON.parse(result.out.trim().split('\n').at(-1) as string) as {
        error: { code: string; message: string; hint: string };
      }
    ).error;
  };

  test('a port that is taken', async () => {
    const base = freePortBase();
    for (const offset of [32, 33, 34, 40, 50, 101]) {
      using _taken = Bun.listen({ hostname: '127.0.0.1', port: base + offset, socket: { data() {} } });
      const error = await refuse(['--ephemeral', '--port-base', String(base), '--edges', '1']);
      expect(error.code).toBe('port-taken');
      expect(error.message).toContain(String(base + offset));
    }
  }, 30_000);

  test('a folder that somebody else filled', async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'thesis.txt'), 'years of work');
    const error = await refuse(['--dir', folder.path]);
    expect(error.code).toBe('folder-foreign');
    expect(readdirSync(folder.path)).toEqual(['thesis.txt']);
  });

  test('a folder of another layout', async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'layout.json'), '{"layout":99,"core":"embedded"}');
    expect((await refuse(['--dir', folder.path])).code).toBe('layout-version');
  });

  test('a data folder that another major version of Postgres made', async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'layout.json'), '{"layout":1,"core":"embedded"}');
    mkdirSync(join(folder.path, 'core', 'data'), { recursive: true });
    writeFileSync(join(folder.path, 'core', 'data', 'PG_VERSION'), '9\n');
    const error = await refuse(['--dir', folder.path]);
    expect(error.code).toBe('postgres-data-version');
    expect(error.message).toContain('Postgres 9');
  });

  test('an option out of range, an unknown option, ports that do not exist', async () => {
    expect((await refuse(['--edges', '999'])).message).toStartWith('--edges:');
    expect((await refuse(['--ephemeral', '--port-base', '65000', '--edges', '90'])).code).toBe('port-base');
    const unknown = await skerry(['up', '--edgs', '3']);
    expect([unknown.code, unknown.err]).toEqual([2, expect.stringContaining('Did you mean --edges?')]);
  });

  test('status and verify of a world that does not run', async () => {
    using folder = temporaryFolder();
    const result = await skerry(['status', '--dir', folder.path]);
    expect([result.code, result.err]).toEqual([2, expect.stringContaining('skerry up')]);
  });
});

test('a folder that no other user can enter works for root too: the data is beside, behind a link', async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o700);
  const dir = join(folder.path, 'deep', 'world');
  {
    await using up = await startUp(['--dir', dir, '--edges', '0', '--sample', 'none']);
    expect(isAlive(up.pidOf('core'))).toBe(true);
  }
  const core = realpathSync(join(dir, 'core'));
  expect(existsSync(join(core, 'data', 'PG_VERSION'))).toBe(true);
  rmSync(core, { recursive: true });
});

test.skipIf(process.getuid?.() !== 0)('another user than root can run it all', async () => {
  using folder = temporaryFolder();
  const nobody = 65_534;
  chownSync(folder.path, nobody, nobody);
  const dir = join(folder.path, 'world');
  const command = [
    process.execPath,
    MAIN,
    'up',
    '--json',
    '--dir',
    dir,
    '--edges',
    '1',
    '--port-base',
    String(freePortBase()),
  ];
  const child = Bun.spawn(command, {
    uid: nobody,
    gid: nobody,
    cwd: folder.path,
    env: { PATH: process.env['PATH'], HOME: folder.path },
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const { value } = await child.stdout.getReader().read();
  expect(JSON.parse(new TextDecoder().decode(value))).toMatchObject({ ready: true });
  expect(statSync(join(dir, 'core', 'data')).uid).toBe(nobody);
  child.kill('SIGTERM');
  expect(await child.exited).toBe(0);
});

describe('in a terminal', () => {
  test.each([
    ['a table is drawn again and again, Ctrl-C stops in order', 100, '\u0003'],
    ['a terminal that says it has no columns is drawn as well', 0, '\u0003'],
  ])('%s', async (_name, cols, key) => {
    let screen = '';
    const decoder = new TextDecoder();
    const child = Bun.spawn(
      [process.execPath, MAIN, 'up', '--ephemeral', '--edges', '1', '--port-base', String(freePortBase())],
      {
        terminal: { cols, rows: 24, data: (_terminal, bytes) => (screen += decoder.decode(bytes)) },
      },
    );
    await waitFor(
      'the table was drawn twice',
      () => screen.split(/edge-0 +streaming/).length > 2 && screen.includes('psql -h 127.0.0.1'),
    );
    expect(screen).toContain('\u001b[5A\u001b[0J');
    child.terminal?.write(key);
    expect(await child.exited).toBe(0);
    expect(screen).toContain('got SIGINT, stopping');
    expect(screen.trimEnd()).toEndWith('stopped');
  });

  test('a terminal that goes away stops it too', async () => {
    let screen = '';
    const child = Bun.spawn(
      [process.execPath, MAIN, 'up', '--ephemeral', '--edges', '0', '--port-base', String(freePortBase())],
      {
        terminal: { cols: 80, rows: 24, data: (_terminal, bytes) => (screen += new TextDecoder().decode(bytes)) },
      },
    );
    await waitFor('it is ready', () => screen.includes('Ctrl-C stops it'));
    child.terminal?.close();
    expect(await child.exited).toBe(0);
  });
});

const hasData = existsSync(join(DATA_DIR, 'root-zone-base.tsv.gz'));
if (!hasData) process.stderr.write(`skipped: the root zone is not in ${DATA_DIR} (SKERRY_DATA_DIR)\n`);

test.skipIf(!hasData)('--sample root-zone shows the root zone, version after version, at an edge', async () => {
  await using up = await startUp(['--edges', '1', '--sample', 'root-zone'], { SKERRY_DATA_DIR: DATA_DIR });
  const edge = new Bun.SQL({ url: up.ready.edges[0]?.pg as string, max: 1, tls: false });
  const version = async (): Promise<number> => Number((await edge`select version from root_zone_version`)[0]?.version);
  await waitFor('two versions', async () => (await version()) >= 2);
  expect(Number((await edge`select count(*) as count from root_zone`)[0]?.count)).toBeGreaterThan(15_000);
  await edge.close();
});
