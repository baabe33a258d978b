// Runs pg_regress or pg_isolation_regress against a port, and tells what each test printed.

import { chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PoolMode } from '../../src/proxy/client.ts';
import { serverUser } from '../../src/runtime/postgres.ts';
import { startPostgres } from '../harness.ts';
import { startProxy } from '../proxy.ts';
import type { PostgresTests } from './postgres-tests.ts';

/** How the tests reach the server: themselves, or through a proxy whose used connections are discarded or closed. */
export type Way = 'direct' | 'discard' | 'close';

export interface Outcome {
  /** What the program said at its end, and the names of what failed. */
  readonly summary: string;
  readonly seconds: number;
  /** What a test printed, or null when it left nothing. */
  output(test: string): string | null;
  /** Names of the tests that are as PostgreSQL expects. */
  readonly passed: ReadonlySet<string>;
}

/** Postgres must have room for the largest parallel group of the schedule, ours is kept to this. */
const PARALLEL_MAX = 10;

const POOL_SIZE = 60;

export async function runPgRegress(tests: PostgresTests, kind: 'regress' | 'isolation', way: Way): Promise<Outcome> {
  await using postgres = await startPostgres({
    version: '15',
    settings: { max_connections: 200, autovacuum: 'on' },
  });
  const poolMode: PoolMode = 'session';
  await using proxy = await startProxy(postgres, {
    poolMode,
    poolSize: POOL_SIZE,
    serverReset: way === 'close' ? 'close' : 'discard',
  });
  const port = way === 'direct' ? postgres.port : proxy.port;
  const folder = mkdtempSync(join(tmpdir(), 'skerry-suite-'));
  try {
    return await runIn(folder, tests, kind, port);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runIn(
  folder: string,
  tests: PostgresTests,
  kind: 'regress' | 'isolation',
  port: number,
): Promise<Outcome> {
  const input = kind === 'regress' ? tests.regress : tests.isolation;
  const user = serverUser();
  // The regression tests write beside what they read.
  if (kind === 'regress')
    for (const part of ['sql', 'expected', 'data']) cpSync(join(input, part), join(folder, part), { recursive: true });
  mkdirSync(join(folder, 'testtablespace'), { recursive: true });
  if (user !== null) {
    const owned = Bun.spawnSync(['chown', '-R', `${user.uid}:${user.gid}`, folder]);
    if (!owned.success) chownSync(folder, user.uid, user.gid);
  }
  const started = performance.now();
  const child = Bun.spawn(
    [
      kind === 'regress' ? tests.pgRegress : tests.pgIsolationRegress,
      '--host=127.0.0.1',
      `--port=${port}`,
      '--user=postgres',
      `--inputdir=${input}`,
      `--outputdir=${folder}`,
      `--bindir=${tests.programs.bindir}`,
      `--dlpath=${tests.regress}`,
      `--schedule=${join(input, kind === 'regress' ? 'parallel_schedule' : 'isolation_schedule')}`,
      `--max-connections=${PARALLEL_MAX}`,
    ],
    {
      cwd: folder,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      env: { ...process.env, PGSSLMODE: 'disable' },
      ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
    },
  );
  const [out] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  const failed = [...out.matchAll(/^(?:test|    ) +(\S+) +\.\.\. FAILED/gm)].map((found) => found[1] as string);
  const outputs = new Map<string, string | null>();
  for (const test of scheduled(tests, kind)) {
    const file = join(folder, kind === 'regress' ? 'results' : 'output_iso/results', `${test}.out`);
    outputs.set(test, existsSync(file) ? readFileSync(file, 'latin1') : null);
  }
  return {
    summary: [/(?:All )?\d+ (?:of \d+ )?tests (?:passed|failed)/.exec(out)?.[0] ?? out.slice(-500), ...failed].join(
      ' ',
    ),
    seconds: (performance.now() - started) / 1000,
    output: (test) => outputs.get(test) ?? null,
    passed: new Set([...out.matchAll(/^(?:test|    ) +(\S+) +\.\.\. ok/gm)].map((found) => found[1] as string)),
  };
}

/** Names of all tests, in the order of the schedule. */
export function scheduled(tests: PostgresTests, kind: 'regress' | 'isolation'): string[] {
  const file =
    kind === 'regress' ? join(tests.regress, 'parallel_schedule') : join(tests.isolation, 'isolation_schedule');
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('test:'))
    .flatMap((line) => line.slice(5).trim().split(/\s+/));
}
