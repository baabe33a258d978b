// The proxy against Debian's PgBouncer, and against PgBouncer behind HAProxy, in one run: CPU per query is the figure that does
// not depend on luck, since all share the machine with Postgres and pgbench.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverUser } from '../src/runtime/postgres.ts';
import { clientProgram, freePort } from '../test/harness.ts';
import type { Bench, Figure } from './lib/bench.ts';
import { describeCluster, startCluster, type Cluster } from './lib/cluster.ts';

const BUN = join(import.meta.dir, '..', 'node_modules', '.bin', 'bun');
const MAIN = join(import.meta.dir, '..', 'src', 'cli', 'main.ts');

/** Clock ticks of /proc/PID/stat per second on every Linux that Debian ships. */
const TICKS_PER_SECOND = 100;

const POOL_SIZE = 16;

interface Contender extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly pids: readonly number[];
}

interface Run {
  readonly perSecond: number;
  readonly cpuMicrosecondsPerQuery: number;
}

export const proxy: Bench = {
  name: 'proxy',
  help: 'CPU per query and throughput of skerry proxy, PgBouncer, and PgBouncer behind HAProxy',
  async run(context) {
    await using cluster = await startCluster(context);
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
    const figures: Figure[] = [];
    try {
      pgbench(cluster.port, ['-i', '-q', '-s', '1']);
      await using ours = await startOurs(cluster);
      await using bouncer = await startPgBouncer(folder, cluster);
      await using haproxy = bouncer === null ? null : await startHaproxy(folder, bouncer);
      context.note(describeCluster(context, cluster));
      context.note('pgbench, server, pooler share the cores; CPU is user + system time of the pooler’s processes');
      const seconds = context.quick ? 2 : 8;
      for (const mode of ['simple', 'extended', 'prepared'] as const) {
        for (const clients of context.quick ? [16] : [1, 16, 64]) {
          context.progress(`${mode}, ${clients} clients`);
          const what = `${mode}, ${clients} clients`;
          const mine = measure(ours, mode, clients, seconds);
          // PgBouncer 1.18 knows no prepared statements in transaction mode.
          const theirs = bouncer === null || mode === 'prepared' ? null : measure(bouncer, mode, clients, seconds);
          const chain = haproxy === null || mode === 'prepared' ? null : measure(haproxy, mode, clients, seconds);
          figures.push(...compare(what, mine, theirs, chain));
        }
      }
      return figures;
    } finally {
      if (!context.keep) rmSync(folder, { recursive: true, force: true });
    }
  },
};

function compare(what: string, mine: Run, theirs: Run | null, chain: Run | null): Figure[] {
  const figures: Figure[] = [];
  const cpu = (name: string, run: Run | null, atMost: number): void => {
    figures.push({
      name: `${what}: CPU per query`,
      unit: 'µs',
      measured: mine.cpuMicrosecondsPerQuery,
      ...(run === null ? {} : { baseline: { name, value: run.cpuMicrosecondsPerQuery } }),
      ...(run === null ? {} : { target: { kind: 'ratio-at-most', value: atMost } }),
    });
  };
  cpu('PgBouncer', theirs, 1.1);
  if (chain !== null) cpu('PgBouncer + HAProxy', chain, 0.6);
  figures.push({
    name: `${what}: throughput`,
    unit: 'tx/s',
    measured: mine.perSecond,
    ...(theirs === null ? {} : { baseline: { name: 'PgBouncer', value: theirs.perSecond } }),
    ...(theirs === null ? {} : { target: { kind: 'ratio-at-least', value: 0.95 } }),
  });
  return figures;
}

function measure(contender: Contender, mode: string, clients: number, seconds: number): Run {
  pgbench(contender.port, ['-n', '-S', '-M', mode, '-c', String(clients), '-T', '1']);
  const before = cpuSeconds(contender.pids);
  const output = pgbench(contender.port, ['-n', '-S', '-M', mode, '-c', String(clients), '-T', String(seconds)]);
  const cpu = cpuSeconds(contender.pids) - before;
  const transactions = Number(/transactions actually processed: (\d+)/.exec(output)?.[1]);
  return { perSecond: transactions / seconds, cpuMicrosecondsPerQuery: (cpu * 1e6) / transactions };
}

function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

function pgbench(port: number, options: readonly string[]): string {
  const child = Bun.spawnSync(
    [clientProgram('pgbench'), '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', ...options, 'postgres'],
    {
      env: { ...process.env, PGSSLMODE: 'disable' },
    },
  );
  if (!child.success) throw new Error(`pgbench failed: ${child.stderr.toString()}`);
  return child.stdout.toString();
}

async function startOurs(cluster: Cluster): Promise<Contender> {
  const file = join(mkdtempSync(join(tmpdir(), 'skerry-bench-')), 'skerry.yaml');
  writeFileSync(
    file,
    `proxy:\n  port: 0\n  read_port: 0\n  http_port: 0\n  auth_type: trust\n  default_pool_size: ${POOL_SIZE}\n  databases:\n    "*": { servers: ["127.0.0.1:${cluster.port}"] }\n`,
  );
  const child = Bun.spawn([BUN, MAIN, 'proxy', '--config', file], { stdout: 'pipe', stderr: 'ignore' });
  const reader = child.stdout.getReader();
  let text = '';
  while (!text.includes('\n')) {
    const { value, done } = await reader.read();
    if (done) throw new Error('skerry proxy did not start');
    text += Buffer.from(value).toString();
  }
  const { port, workers } = JSON.parse(text.split('\n')[0] as string) as {
    port: number;
    workers: readonly { readonly pid: number }[];
  };
  const ours = contender('skerry', port, [child]);
  return { ...ours, pids: [...ours.pids, ...workers.map(({ pid }) => pid)] };
}

/** Null where it is not installed. */
async function startPgBouncer(folder: string, cluster: Cluster): Promise<Contender | null> {
  const program = Bun.which('pgbouncer') ?? Bun.which('pgbouncer', { PATH: '/usr/sbin' });
  if (program === null) return null;
  const port = freePort();
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(
    file,
    `[databases]\n* = host=127.0.0.1 port=${cluster.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = ${POOL_SIZE}\nmax_client_conn = 1000\nignore_startup_parameters = extra_float_digits\n`,
    { mode: 0o644 },
  );
  Bun.spawnSync(['chmod', '-R', 'a+rX', folder]);
  const user = serverUser();
  const child = Bun.spawn([program, '-q', file], {
    stdout: 'ignore',
    stderr: 'ignore',
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  await listens(port);
  return contender('PgBouncer', port, [child]);
}

async function startHaproxy(folder: string, behind: Contender): Promise<Contender | null> {
  const program = Bun.which('haproxy') ?? Bun.which('haproxy', { PATH: '/usr/sbin' });
  if (program === null) return null;
  const port = freePort();
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(
    file,
    `global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\nlisten pg\n  bind 127.0.0.1:${port}\n  server one 127.0.0.1:${behind.port}\n`,
  );
  const child = Bun.spawn([program, '-db', '-q', '-f', file], { stdout: 'ignore', stderr: 'ignore' });
  await listens(port);
  return contender('PgBouncer + HAProxy', port, [child], behind.pids);
}

function contender(
  name: string,
  port: number,
  children: readonly Bun.Subprocess[],
  more: readonly number[] = [],
): Contender {
  return {
    name,
    port,
    pids: [...children.map((child) => child.pid), ...more],
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(children.map((child) => child.exited));
    },
  };
}

async function listens(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connectSocket(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await Bun.sleep(25);
  }
  throw new Error(`nothing listens on ${port}`);
}
