// One tenant floods the server with scans, another reads points at a modest rate: what the reader notices, alone, with the flood and
// no limits, and with the flood and the proxy's adaptive limit. All share the machine's cores with the server and the generators, so
// the ratio to the reader alone in the same run is the figure.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientProgram } from '../test/harness.ts';
import type { Bench, BenchContext, Figure } from './lib/bench.ts';
import { type Cluster, connect, describeCluster, startCluster } from './lib/cluster.ts';
import { type Latency, summarize } from './lib/statistics.ts';

const BUN = join(import.meta.dir, '..', 'node_modules', '.bin', 'bun');
const MAIN = join(import.meta.dir, '..', 'src', 'cli', 'main.ts');

/** Some 60 ms of one core, and no table that could be missing in the cache. */
const SCAN = 'select count(*) from generate_series(1, 250000) as g where g % 7 = 3;\n';
const FLOOD_CLIENTS = 16;

/** Modest: the reader uses a few per cent of one core. */
const READS_PER_SECOND = 200;
const READER_CLIENTS = 2;

/** The limiter needs a moment to see what is going on; all runs leave the same part out. */
const SETTLE_PART = 0.4;

interface Run {
  readonly reader: Latency;
  readonly scansPerSecond: number;
}

export const noisyTenant: Bench = {
  name: 'noisy-tenant',
  help: 'point reads of one tenant while another floods with scans: alone, without limits, with limits',
  async run(context) {
    await using cluster = await startCluster(context);
    await prepare(cluster);
    context.note(describeCluster(context, cluster));
    context.note(
      `flood: ${FLOOD_CLIENTS} clients with scans; reader: ${READER_CLIENTS} clients, ${READS_PER_SECOND} reads/s; ` +
        `the first ${SETTLE_PART * 100} % of each run are left out`,
    );
    context.note('latency from when a read was due (pgbench --rate), so time in queues counts');
    const figures: Figure[] = [];
    const alone = await measure(context, cluster, 'vegas', false);
    const off = await measure(context, cluster, 'off', true);
    figures.push(...figuresOf('reader alone', alone, null), ...figuresOf('flood, no limits', off, alone));
    for (const algorithm of ['vegas', 'gradient2'] as const) {
      const run = await measure(context, cluster, algorithm, true);
      figures.push(...figuresOf(`flood, ${algorithm}`, run, alone, algorithm === 'vegas'));
      figures.push({
        name: `flood, ${algorithm}: scans`,
        unit: 'tx/s',
        measured: run.scansPerSecond,
        baseline: { name: 'no limits', value: off.scansPerSecond },
      });
    }
    return figures;
  },
};

function figuresOf(name: string, run: Run, alone: Run | null, isAim = false): Figure[] {
  return (['p50', 'p99'] as const).map((part) => ({
    name: `${name}: ${part} of the reader`,
    unit: 'ms',
    measured: run.reader[part] / 1000,
    ...(alone === null ? {} : { baseline: { name: 'alone', value: alone.reader[part] / 1000 } }),
    ...(isAim && part === 'p99' ? { target: { kind: 'ratio-at-most', value: 2 } as const } : {}),
  }));
}

async function prepare(cluster: Cluster): Promise<void> {
  await using connection = await connect(cluster);
  await connection.query('create role flood login superuser');
  await connection.query('create role reader login superuser');
  const init = Bun.spawnSync([...pgbenchOf(cluster.port, 'postgres'), '-i', '-q', '-s', '1', 'postgres']);
  if (!init.success) throw new Error(`pgbench -i failed: ${init.stderr.toString()}`);
}

function pgbenchOf(port: number, user: string): string[] {
  return [clientProgram('pgbench'), '-h', '127.0.0.1', '-p', String(port), '-U', user];
}

async function measure(context: BenchContext, cluster: Cluster, algorithm: string, floods: boolean): Promise<Run> {
  context.progress(floods ? `flood and reader, ${algorithm}` : 'reader alone');
  const seconds = context.quick ? 15 : 60;
  const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
  const file = join(folder, 'skerry.yaml');
  writeFileSync(
    file,
    `proxy:\n  port: 0\n  read_port: 0\n  http_port: 0\n  auth_type: trust\n  default_pool_size: ${FLOOD_CLIENTS}\n  adaptive_limit: "${algorithm}"\n  databases:\n    "*": { servers: ["127.0.0.1:${cluster.port}"] }\n`,
  );
  const proxy = Bun.spawn([BUN, MAIN, 'proxy', '--config', file], { stdout: 'pipe', stderr: 'ignore' });
  try {
    const port = await portOf(proxy.stdout);
    const env = { ...process.env, PGSSLMODE: 'disable' };
    const script = join(folder, 'scan.sql');
    writeFileSync(script, SCAN);
    const flood = floods
      ? Bun.spawn(
          [
            ...pgbenchOf(port, 'flood'),
            '-n',
            '-f',
            script,
            '-c',
            String(FLOOD_CLIENTS),
            '-T',
            String(seconds + 2),
            'postgres',
          ],
          { env, stdout: 'pipe', stderr: 'pipe' },
        )
      : null;
    if (flood !== null) await Bun.sleep(1_000);
    const reader = Bun.spawn(
      [
        ...pgbenchOf(port, 'reader'),
        ...`-n -S -M prepared -c ${READER_CLIENTS} -R ${READS_PER_SECOND} -T ${seconds} -l`.split(' '),
        `--log-prefix=${join(folder, 'reader')}`,
        'postgres',
      ],
      { env, stdout: 'pipe', stderr: 'pipe' },
    );
    if ((await reader.exited) !== 0) throw new Error(`pgbench failed: ${await new Response(reader.stderr).text()}`);
    let scansPerSecond = 0;
    if (flood !== null) {
      const text = await new Response(flood.stdout).text();
      scansPerSecond = Number(/tps = ([\d.]+)/.exec(text)?.[1]);
    }
    return { reader: summarize(latencies(folder, seconds)), scansPerSecond };
  } finally {
    proxy.kill('SIGKILL');
    await proxy.exited;
    if (!context.keep) rmSync(folder, { recursive: true, force: true });
  }
}

/** Microseconds, from pgbench's transaction logs, without the first part of the run. */
function latencies(folder: string, seconds: number): number[] {
  const lines = readdirSync(folder)
    .filter((name) => name.startsWith('reader.'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
    .map((line) => line.split(' ').map(Number));
  const first = Math.min(...lines.map((line) => line[4] as number));
  // client, transaction, latency, script, second, microsecond …
  return lines.flatMap((line) => ((line[4] as number) >= first + seconds * SETTLE_PART ? [line[2] as number] : []));
}

async function portOf(stdout: ReadableStream<Uint8Array>): Promise<number> {
  const reader = stdout.getReader();
  let text = '';
  while (!text.includes('\n')) {
    const { value, done } = await reader.read();
    if (done) throw new Error('skerry proxy did not start');
    text += Buffer.from(value).toString();
  }
  return (JSON.parse(text.split('\n')[0] as string) as { port: number }).port;
}
