// The contenders of bench `proxy`: ours, Debian's PgBouncer, PgBouncer → HAProxy, and a bare forwarder. All on the same core.

import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { serverUser } from '../../src/runtime/postgres.ts';
import { clientProgram, freePort } from '../../test/harness.ts';
import type { Cluster } from './cluster.ts';
import { processTree } from './processes.ts';

export const BUN = join(import.meta.dir, '..', '..', 'node_modules', '.bin', 'bun');
const MAIN = join(import.meta.dir, '..', '..', 'src', 'cli', 'main.ts');
const FLOOR = Bun.fileURLToPath(new URL('./floor.ts', import.meta.url));

export const POOL_SIZE = 16;

export interface Pooler extends AsyncDisposable {
  readonly name: string;
  readonly port: number;
  /** Main processes; their children count too. */
  readonly pids: readonly number[];
}

/** The last core, where there is more than one: what a pooler needs is then its own and not the scheduler’s. */
function pinned(command: readonly string[]): string[] {
  const cores = availableParallelism();
  return cores < 2 || Bun.which('taskset') === null ? [...command] : ['taskset', '-c', String(cores - 1), ...command];
}

/** Microseconds on a core that the processes and their threads have used so far. */
export function cpuMicroseconds(pooler: Pooler): number {
  let nanoseconds = 0;
  for (const pid of pooler.pids.flatMap((one) => processTree(one))) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
    }
  }
  return nanoseconds / 1000;
}

/** Private memory of the process and its children in kB: the clients' sockets and objects, not the program. */
export function privateKilobytes(pooler: Pooler): number {
  let kilobytes = 0;
  for (const pid of pooler.pids.flatMap((one) => processTree(one))) {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    for (const name of ['Private_Clean', 'Private_Dirty']) {
      kilobytes += Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? 0);
    }
  }
  return kilobytes;
}

/** `more` is YAML of the proxy section, one option a line. */
export async function startOurs(cluster: Cluster, more: readonly string[] = ['auth_type: trust']): Promise<Pooler> {
  const file = join(mkdtempSync(join(tmpdir(), 'skerry-bench-')), 'skerry.yaml');
  const lines = [
    'port: 0',
    'read_port: 0',
    'http_port: 0',
    `default_pool_size: ${POOL_SIZE}`,
    'max_client_conn: 12000',
    'databases:',
    `  "*": { servers: ["127.0.0.1:${cluster.port}"], user: postgres }`,
    ...more,
  ];
  writeFileSync(file, `proxy:\n${lines.map((line) => `  ${line}\n`).join('')}`);
  return await startBun('skerry', [MAIN, 'proxy', '--config', file]);
}

export const startFloor = (cluster: Cluster): Promise<Pooler> =>
  startBun('bare Bun forwarder', [FLOOR, String(cluster.port)]);

async function startBun(name: string, args: readonly string[]): Promise<Pooler> {
  const child = Bun.spawn(pinned([BUN, ...args]), { stdout: 'pipe', stderr: 'ignore' });
  const reader = child.stdout.getReader();
  let text = '';
  while (!text.includes('\n')) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`${name} did not start`);
    text += Buffer.from(value).toString();
  }
  const { port } = JSON.parse(text.split('\n')[0] as string) as { port: number };
  return pooler(name, port, [child]);
}

/** Null where it is not installed. PgBouncer 1.18 knows no prepared statements in transaction mode. */
export async function startPgBouncer(
  folder: string,
  serverPort: number,
  mode: 'transaction' | 'session',
): Promise<Pooler | null> {
  const program = installed('pgbouncer');
  if (program === null) return null;
  const port = freePort();
  const file = join(folder, `pgbouncer-${port}.ini`);
  const poolSize = mode === 'session' ? 100 : POOL_SIZE;
  writeFileSync(
    file,
    `[databases]\n* = host=127.0.0.1 port=${serverPort} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}\nunix_socket_dir =\nauth_type = any\npool_mode = ${mode}\ndefault_pool_size = ${poolSize}\nmax_client_conn = 12000\nignore_startup_parameters = extra_float_digits\n`,
    { mode: 0o644 },
  );
  Bun.spawnSync(['chmod', '-R', 'a+rX', folder]);
  const user = serverUser();
  const child = Bun.spawn(pinned([program, '-q', file]), {
    stdout: 'ignore',
    stderr: 'ignore',
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
  });
  await listens(port);
  return pooler(mode === 'session' ? 'PgBouncer (session)' : 'PgBouncer', port, [child]);
}

/** PgBouncer, whose server is HAProxy, whose server is Postgres: as in the control plane that this proxy replaces. */
export async function startChain(
  folder: string,
  cluster: Cluster,
  mode: 'transaction' | 'session',
): Promise<Pooler | null> {
  const program = installed('haproxy');
  if (program === null) return null;
  const port = freePort();
  const file = join(folder, `haproxy-${port}.cfg`);
  writeFileSync(
    file,
    `global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\nlisten pg\n  bind 127.0.0.1:${port}\n  server one 127.0.0.1:${cluster.port}\n`,
  );
  const child = Bun.spawn(pinned([program, '-db', '-q', '-f', file]), { stdout: 'ignore', stderr: 'ignore' });
  await listens(port);
  const front = await startPgBouncer(folder, port, mode);
  if (front === null) {
    child.kill('SIGKILL');
    return null;
  }
  return {
    name: 'PgBouncer → HAProxy',
    port: front.port,
    pids: [...front.pids, child.pid],
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}

function installed(name: string): string | null {
  return Bun.which(name) ?? Bun.which(name, { PATH: '/usr/sbin' });
}

function pooler(name: string, port: number, children: readonly Bun.Subprocess[]): Pooler {
  return {
    name,
    port,
    pids: children.map((child) => child.pid),
    async [Symbol.asyncDispose]() {
      // Its workers end with it.
      for (const child of children) child.kill('SIGTERM');
      const ended = Promise.all(children.map((child) => child.exited));
      await Promise.race([ended, Bun.sleep(2_000)]);
      for (const child of children) child.kill('SIGKILL');
      await ended;
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

/** Runs pgbench; gives its output. Rejects when a client was aborted or the program failed. */
export async function pgbench(port: number, options: readonly string[]): Promise<string> {
  const child = Bun.spawn(
    [clientProgram('pgbench'), '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', ...options, 'postgres'],
    { env: { ...process.env, PGSSLMODE: 'disable' }, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  );
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`pgbench failed: ${err}`);
  return out;
}
