// Closed-loop point reads by N clients: pgbench where it is installed, else a generator of our own on raw sockets.
// Both sides of a comparison are always loaded by the same one.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { executeMessage, message, PgConnection, type PgTarget, cstring } from './pg-connection.ts';

export type QueryMode = 'simple' | 'prepared';

export interface PointReads {
  readonly target: PgTarget;
  /** Table with a column `id` (1 to `idMax`) and a column `payload`. */
  readonly table: string;
  readonly idMax: number;
  readonly clients: number;
  readonly seconds: number;
  readonly mode: QueryMode;
}

export interface LoadResult {
  readonly readsPerSecond: number;
  /** Mean time of one read in ms. */
  readonly meanMs: number;
}

/** Which generator runs here: a path of pgbench, or null for our own. */
export function findPgbench(): string | null {
  return process.env['SKERRY_BENCH_OWN_LOAD'] === undefined ? Bun.which('pgbench') : null;
}

/** Reads for `seconds` and tells the rate. Throws when a read fails. */
export function runPointReads(options: PointReads): Promise<LoadResult> {
  const pgbench = findPgbench();
  return pgbench === null ? runOwn(options) : runPgbench(pgbench, options);
}

/** One statement without parameters, again and again. */
export interface StatementLoad {
  readonly target: PgTarget;
  readonly sql: string;
  readonly clients: number;
  readonly seconds: number;
  readonly mode: QueryMode;
}

/** The same for one statement. Throws when it fails. */
export function runStatement(options: StatementLoad): Promise<LoadResult> {
  const pgbench = findPgbench();
  if (pgbench !== null) return runPgbenchScript(pgbench, `${options.sql};\n`, options);
  const request =
    options.mode === 'simple' ? message('Q', cstring(`${options.sql};`)) : executeMessage('statement', []);
  return runOwnLoop(options, { name: 'statement', sql: options.sql, requestFor: () => request });
}

function runPgbench(program: string, options: PointReads): Promise<LoadResult> {
  const script = `\\set id random(1, ${options.idMax})\nSELECT payload FROM ${options.table} WHERE id = :id;\n`;
  return runPgbenchScript(program, script, options);
}

type LoadOptions = Pick<PointReads, 'target' | 'clients' | 'seconds' | 'mode'>;

async function runPgbenchScript(program: string, text: string, options: LoadOptions): Promise<LoadResult> {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
  try {
    const script = join(folder, 'load.sql');
    writeFileSync(script, text);
    const { target } = options;
    const what = ['-n', '-f', script, '-M', options.mode, '-T', String(options.seconds)];
    const who = ['-c', String(options.clients), '-j', '1'];
    const where = ['-h', target.host, '-p', String(target.port), '-U', target.user, target.database];
    const child = Bun.spawn([program, ...what, ...who, ...where], { stdout: 'pipe', stderr: 'pipe' });
    const [out, err, exitCode] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    const rate = /tps = ([\d.]+)/.exec(out)?.[1];
    const mean = /latency average = ([\d.]+)/.exec(out)?.[1];
    if (exitCode !== 0 || rate === undefined || mean === undefined) {
      throw new Error(
        `pgbench at port ${target.port} failed (${exitCode}): ${err.trim().split('\n').slice(-5).join('; ')}`,
      );
    }
    return { readsPerSecond: Number(rate), meanMs: Number(mean) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function runOwn(options: PointReads): Promise<LoadResult> {
  const statement = `SELECT payload FROM ${options.table} WHERE id = `;
  const requestFor =
    options.mode === 'simple'
      ? (id: number): Buffer => message('Q', cstring(`${statement}${id};`))
      : (id: number): Buffer => executeMessage('read', [String(id)]);
  return runOwnLoop(options, {
    name: 'read',
    sql: `${statement}$1`,
    requestFor: () => requestFor(1 + Math.floor(Math.random() * options.idMax)),
  });
}

async function runOwnLoop(
  options: LoadOptions,
  statement: { readonly name: string; readonly sql: string; readonly requestFor: () => Buffer },
): Promise<LoadResult> {
  let reads = 0;
  let running = true;
  const started = performance.now();
  const clients = await Promise.all(Array.from({ length: options.clients }, () => PgConnection.open(options.target)));
  const run = async (client: PgConnection): Promise<void> => {
    if (options.mode === 'prepared') await client.prepare(statement.name, statement.sql);
    while (running) {
      await client.request(statement.requestFor());
      reads += 1;
    }
  };
  const all = clients.map(run);
  await Bun.sleep(options.seconds * 1000);
  running = false;
  await Promise.all(all);
  const seconds = (performance.now() - started) / 1000;
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  return { readsPerSecond: reads / seconds, meanMs: (seconds * 1000 * options.clients) / reads };
}
