// What tests need from the world: a real Postgres in well under half a second, and programs that may be missing.
//
//   await using postgres = await startPostgres();          // any version; '15' … '18' to choose
//   await postgres.sql('create table t (id int)');
//
// A cluster is a copy of a template made once per version. It ends with the test, and also when the test process is killed.

import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SQL } from 'bun';
import { Fault } from '../src/base/fault.ts';
import {
  findAllPostgres,
  findPostgres,
  findProgram,
  initPostgres,
  type PostgresProcess,
  type PostgresPrograms,
  type PostgresVersionWanted,
  reachablePrograms,
  serverUser,
  startPostgresProcess,
} from '../src/runtime/postgres.ts';

export interface StartPostgresOptions {
  /** 'any' (default) takes the installed server, else the embedded one; SKERRY_TEST_PG overrides 'any'. */
  readonly version?: PostgresVersionWanted;
  /** Server settings on top of the test defaults (fsync off, wal_level logical, …). */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** False starts with wal_level=replica. */
  readonly logical?: boolean;
  /** True runs initdb (0.6 s) instead of copying the template: copies all have one system identifier. */
  readonly ownSystemId?: boolean;
  /** Replaces pg_hba.conf, one line each; trust for everybody on loopback when not given. */
  readonly hba?: readonly string[];
}

type Row = Record<string, unknown>;

export interface TestPostgres extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** postgres://postgres@127.0.0.1:port/postgres */
  readonly url: string;
  readonly dataDir: string;
  /** Folder of the unix socket, as libpq's `host` takes it. */
  readonly socketDir: string;
  readonly logFile: string;
  readonly programs: PostgresPrograms;
  /** Of the postmaster that runs now. */
  readonly pid: number;
  /** Runs one or more statements in the simple protocol; gives the rows of the last one. */
  sql(text: string, database?: string): Promise<Row[]>;
  /** First column of the first row of `sql`, as text; null when there is none. */
  value(text: string, database?: string): Promise<string | null>;
  /** Fast shutdown; the data stays, `restart` brings it back. */
  stop(): Promise<void>;
  /** SIGKILL to the postmaster; `restart` recovers. */
  kill9(): Promise<void>;
  /** Stops it if it runs, and starts it on the same port, with `settings` added. */
  restart(settings?: Readonly<Record<string, string | number>>): Promise<void>;
  log(): string;
}

const TEST_SETTINGS: Readonly<Record<string, string | number>> = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'on',
  max_wal_senders: 20,
  max_replication_slots: 20,
  max_prepared_transactions: 10,
  max_connections: 100,
  shared_buffers: '32MB',
  listen_addresses: '127.0.0.1',
  log_min_messages: 'warning',
  autovacuum: 'off',
  // Orphans of a killed postmaster must go at once, also while they wait for a client.
  client_connection_check_interval: '500ms',
};

// Two processes may choose the same free port; each try costs 50 ms.
const PORT_TRIES = 8;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5_000;

/** Starts a fresh cluster of its own. */
export async function startPostgres(options: StartPostgresOptions = {}): Promise<TestPostgres> {
  const user = serverUser();
  const wanted = options.version ?? 'any';
  const fromEnv = process.env['SKERRY_TEST_PG'] as PostgresVersionWanted | undefined;
  const programs = reachablePrograms(findPostgres(wanted === 'any' ? (fromEnv ?? 'any') : wanted), user);
  const root = mkdtempSync(join(tmpdir(), 'skerry-test-pg-'));
  if (user !== null) chownSync(root, user.uid, user.gid);
  const dataDir = join(root, 'data');
  if (options.ownSystemId === true) await initPostgres({ programs, dataDir, user, superuser: 'postgres', sync: false });
  else copyTree(await templateOf(programs), dataDir);
  if (options.hba !== undefined) await Bun.write(join(dataDir, 'pg_hba.conf'), `${options.hba.join('\n')}\n`);
  const logFile = join(root, 'log');
  let settings: Record<string, string | number> = {
    ...TEST_SETTINGS,
    wal_level: options.logical === false ? 'replica' : 'logical',
    unix_socket_directories: root,
    ...options.settings,
  };
  const start = (port: number): Promise<PostgresProcess> =>
    startPostgresProcess({
      programs,
      dataDir,
      user,
      port,
      settings,
      logFile,
      timeoutMs: START_TIMEOUT_MS,
      removeWhenOrphaned: [root],
    });
  let running: PostgresProcess | null = null;
  for (let tries = 1; running === null; tries += 1) {
    try {
      running = await start(freePort());
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'port-taken' || tries === PORT_TRIES) throw error;
    }
  }
  const { port } = running;
  const clients = new Map<string, SQL>();
  const closeClients = async (): Promise<void> => {
    const all = [...clients.values()];
    clients.clear();
    await Promise.allSettled(all.map((client) => client.close({ timeout: 0 })));
  };
  const end = async (how: 'stop' | 'kill'): Promise<void> => {
    await closeClients();
    const was = running;
    running = null;
    if (was !== null) await (how === 'stop' ? was.stop(STOP_TIMEOUT_MS) : was.kill());
  };
  const sql = async (text: string, database = 'postgres'): Promise<Row[]> => {
    let client = clients.get(database);
    if (client === undefined) {
      client = new SQL({ url: `postgres://postgres@127.0.0.1:${port}/${database}`, max: 1, connectionTimeout: 10 });
      clients.set(database, client);
    }
    const result: unknown = await client.unsafe(text).simple();
    const isMany = Array.isArray(result) && result.length > 0 && result.every((one) => Array.isArray(one));
    return [...((isMany ? (result as Row[][]).at(-1) : (result as Row[])) ?? [])];
  };
  return {
    host: '127.0.0.1',
    port,
    user: 'postgres',
    database: 'postgres',
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    dataDir,
    socketDir: root,
    logFile,
    programs,
    get pid() {
      if (running === null) throw new Error('this Postgres does not run');
      return running.pid;
    },
    sql,
    async value(text, database) {
      const row = (await sql(text, database))[0];
      const first = row === undefined ? null : Object.values(row)[0];
      if (first === null || first === undefined) return null;
      return typeof first === 'object' ? JSON.stringify(first) : String(first as string | number | boolean | bigint);
    },
    stop: () => end('stop'),
    kill9: () => end('kill'),
    async restart(more = {}) {
      await end('stop');
      settings = { ...settings, ...more };
      running = await start(port);
    },
    log: () => readFileSync(logFile, 'utf8'),
    async [Symbol.asyncDispose]() {
      await closeClients();
      const was = running;
      running = null;
      // Nobody looks at the data again: no checkpoint.
      if (was !== null) await was.kill();
      removeTree(root);
    },
  };
}

/** True when this program or server is there; otherwise prints why tests are skipped, and under CI fails if it could be installed. */
export function needs(
  what:
    | 'psql'
    | 'pg_dump'
    | 'pg_recvlogical'
    | 'pgbench'
    | 'python-psycopg'
    | 'python-sqlalchemy'
    | 'pgjdbc'
    | 'etcd'
    | 'hll'
    | `postgres-${'15' | '16' | '17' | '18'}`,
): boolean {
  const missing = missingReason(what);
  if (missing === null) return true;
  const text = `skipped: needs ${what}: ${missing.reason}`;
  if (process.env['CI'] === 'true' && missing.installable) throw new Error(`${text}; CI must have it`);
  if (!told.has(text)) process.stderr.write(`${text}\n`);
  told.add(text);
  return false;
}

/** Where Debian puts it; another python3 may come first in the PATH. */
export const DEBIAN_PYTHON = '/usr/bin/python3';

/** Where Debian's libpostgresql-jdbc-java puts the driver. */
export const PGJDBC_JAR = '/usr/share/java/postgresql.jar';

/** Path of a client program (psql, pgbench, pg_recvlogical) of any installation. Throws when there is none: ask `needs` first. */
export function clientProgram(name: string): string {
  const found = findClientProgram(name);
  if (found === null) throw new Error(`${name} is not installed`);
  return found;
}

/** Calls `condition` until it gives something other than false, null or undefined; throws after `timeoutMs` with what it was waiting for. */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 20_000,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== null && value !== undefined)
        return value as Exclude<T, false | null | undefined>;
      last = value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline)
      throw new Error(`gave up after ${timeoutMs} ms waiting for: ${what} (last: ${String(last)})`);
    await Bun.sleep(5);
  }
}

/** A folder that goes with the test; like a checkout, everybody may enter it. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'skerry-test-'));
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => removeTree(path) };
}

/**
 * A port of 127.0.0.1 that was free a moment ago, below the range that outgoing connections take theirs from: a server that
 * is restarted must find its port free again.
 */
export function freePort(): number {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    if (isFreePort(port)) return port;
  }
}

/** Whether nobody listens there now. */
export function isFreePort(port: number): boolean {
  try {
    Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

const told = new Set<string>();

/** The initialised data folder of this version: made once per machine and user, then only copied. */
async function templateOf(programs: PostgresPrograms): Promise<string> {
  const user = serverUser();
  const key = Bun.hash(`${programs.bindir} ${programs.version} ${user?.uid ?? 'self'} 1`).toString(36);
  const base = join(tmpdir(), `skerry-test-templates-${process.getuid?.() ?? 0}-${key}`);
  const ready = join(base, 'data');
  if (existsSync(join(ready, 'PG_VERSION'))) return ready;
  mkdirSync(base, { recursive: true, mode: 0o755 });
  // Several test processes may come here at once. Each makes its own, the first rename wins: no lock that a crash could leave.
  const mine = mkdtempSync(join(base, 'making-'));
  if (user !== null) chownSync(mine, user.uid, user.gid);
  const data = join(mine, 'data');
  await initPostgres({ programs, dataDir: data, user, superuser: 'postgres', sync: false });
  try {
    renameSync(data, ready);
  } catch (error) {
    if (!existsSync(join(ready, 'PG_VERSION'))) throw error;
  }
  removeTree(mine);
  return ready;
}

function copyTree(from: string, to: string): void {
  const copied = Bun.spawnSync(['cp', '-a', from, to]);
  if (!copied.success) throw new Error(`copying ${from} failed: ${copied.stderr.toString()}`);
}

/** A python3 that has psycopg: the first on the PATH may be another one than the distribution's. */
export function pythonWithPsycopg(): string | null {
  const candidates = [Bun.which('python3'), '/usr/bin/python3'].filter((one) => one !== null && existsSync(one));
  const has = (python: string): boolean =>
    Bun.spawnSync([python, '-c', 'import psycopg'], { stderr: 'ignore' }).success;
  return (candidates as string[]).find(has) ?? null;
}

function missingReason(what: string): { reason: string; installable: boolean } | null {
  const version = /^postgres-(\d+)$/.exec(what)?.[1];
  if (version !== undefined) {
    if (findAllPostgres().some((one) => String(one.major) === version)) return null;
    // Other versions are not in the distribution; 15 is, and 18 is the npm package.
    return { reason: 'no server programs of that version', installable: version === '18' };
  }
  if (what === 'python-psycopg') {
    return pythonWithPsycopg() !== null
      ? null
      : { reason: 'no python3 has the psycopg module (apt install python3-psycopg)', installable: true };
  }
  if (what === 'python-sqlalchemy') {
    return Bun.spawnSync([DEBIAN_PYTHON, '-c', 'import sqlalchemy, psycopg2']).success
      ? null
      : { reason: `${DEBIAN_PYTHON} lacks it (apt install python3-sqlalchemy python3-psycopg2)`, installable: true };
  }
  if (what === 'pgjdbc') {
    return Bun.which('javac') !== null && existsSync(PGJDBC_JAR)
      ? null
      : { reason: 'no JDK or no driver (apt install default-jdk-headless libpostgresql-jdbc-java)', installable: true };
  }
  if (what === 'etcd') {
    return Bun.which('etcd') !== null
      ? null
      : { reason: 'no etcd server (apt install etcd-server)', installable: true };
  }
  if (what === 'hll') {
    return existsSync('/usr/share/postgresql/15/extension/hll.control')
      ? null
      : { reason: 'the hll extension of Postgres 15 is not there (apt install postgresql-15-hll)', installable: true };
  }
  return findClientProgram(what) === null
    ? { reason: 'not on the PATH (apt install postgresql)', installable: true }
    : null;
}

function findClientProgram(name: string): string | null {
  for (const programs of findAllPostgres()) {
    const path = findProgram(programs, name);
    if (path !== null) return path;
  }
  return Bun.which(name);
}

function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
}
