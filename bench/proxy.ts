// The proxy against Debian's PgBouncer, and against PgBouncer → HAProxy, in one run: CPU per query is the figure that does
// not depend on luck, since all share the machine with Postgres and pgbench. Contenders take turns, and the median of the
// rounds counts, so that what else the machine does falls on all of them.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientProgram } from '../test/harness.ts';
import type { Bench, BenchContext, Figure } from './lib/bench.ts';
import { describeCluster, startCluster } from './lib/cluster.ts';
import {
  cpuMicroseconds,
  pgbench,
  type Pooler,
  startChain,
  startFloor,
  startOurs,
  startPgBouncer,
} from './lib/poolers.ts';
import { median, percentile } from './lib/statistics.ts';

type QueryMode = 'simple' | 'extended' | 'prepared';

interface Contenders {
  readonly ours: Pooler;
  readonly floor: Pooler;
  readonly bouncer: Pooler | null;
  readonly chain: Pooler | null;
}

interface Run {
  readonly perSecond: number;
  readonly cpuPerQuery: number;
}

export const proxy: Bench = {
  name: 'proxy',
  help: 'skerry proxy, PgBouncer, PgBouncer → HAProxy: CPU per query, throughput, latency; PAUSE under load',
  async run(context) {
    await using cluster = await startCluster(context);
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
    const figures: Figure[] = [];
    try {
      context.note(describeCluster(context, cluster));
      context.note('poolers are pinned to the last core; pgbench and Postgres run where they like');
      context.note(
        'CPU is user and system time of all threads of the pooler’s processes; medians of rounds taken in turn',
      );
      context.note('the bare forwarder pools nothing and looks at nothing: it shows what Bun’s sockets alone cost');
      await pgbench(cluster.port, ['-i', '-q', '-s', '1']);
      await using ours = await startOurs(cluster);
      await using floor = await startFloor(cluster);
      for (const mode of ['transaction', 'session'] as const) {
        await using bouncer = await startPgBouncer(folder, cluster.port, mode);
        await using chain = await startChain(folder, cluster, mode);
        const contenders = { ours, floor, bouncer, chain };
        if (mode === 'transaction') {
          figures.push(...(await measureQueries(context, contenders, 'simple')));
          figures.push(...(await measureQueries(context, contenders, 'extended')));
          figures.push(...(await measureLatency(context, contenders, folder)));
        } else {
          context.note('PgBouncer 1.18 has prepared statements in session mode only: there it is measured with them');
          figures.push(...(await measureQueries(context, contenders, 'prepared')));
        }
      }
      figures.push(...(await measurePause(context, ours)));
      return figures;
    } finally {
      if (!context.keep) rmSync(folder, { recursive: true, force: true });
    }
  },
};

// CPU per query and throughput.

async function measureQueries(context: BenchContext, contenders: Contenders, mode: QueryMode): Promise<Figure[]> {
  const { ours, floor, bouncer, chain } = contenders;
  const all = [ours, floor, bouncer, chain].filter((one) => one !== null);
  const rounds = context.quick ? 2 : 5;
  const seconds = context.quick ? 1 : 2;
  const figures: Figure[] = [];
  for (const clients of [1, 16, 64]) {
    context.progress(`${mode}, ${clients} clients`);
    const load = ['-n', '-S', '-M', mode, '-c', String(clients)];
    const runs = new Map<Pooler, Run[]>(all.map((one) => [one, []]));
    for (const one of all) await pgbench(one.port, [...load, '-T', '1']);
    for (let round = 0; round < rounds; round += 1) {
      for (const one of all) {
        const before = cpuMicroseconds(one);
        const output = await pgbench(one.port, [...load, '-T', String(seconds)]);
        const queries = Number(/transactions actually processed: (\d+)/.exec(output)?.[1]);
        const cpuPerQuery = (cpuMicroseconds(one) - before) / queries;
        runs.get(one)?.push({ perSecond: queries / seconds, cpuPerQuery });
      }
    }
    figures.push(...compare(`${mode}, ${clients} clients`, clients, contenders, runs));
  }
  return figures;
}

function compare(
  what: string,
  clients: number,
  { ours, floor, bouncer, chain }: Contenders,
  runs: ReadonlyMap<Pooler, readonly Run[]>,
): Figure[] {
  const figures: Figure[] = [];
  const medianOf = (one: Pooler, value: (run: Run) => number): number => median((runs.get(one) ?? []).map(value));
  const add = (
    name: string,
    unit: Figure['unit'],
    value: (run: Run) => number,
    other: Pooler | null,
    target?: Figure['target'],
  ): void => {
    if (other === null) return;
    const baseline = { name: other.name, value: medianOf(other, value) };
    const figure = { name: `${what}: ${name}`, unit, measured: medianOf(ours, value), baseline };
    figures.push(target === undefined ? figure : { ...figure, target });
  };
  const cpu = (run: Run): number => run.cpuPerQuery;
  const speed = (run: Run): number => run.perSecond;
  add('CPU per query', 'µs', cpu, bouncer, { kind: 'ratio-at-most', value: 1.1 });
  add('CPU per query', 'µs', cpu, chain, { kind: 'ratio-at-most', value: 0.6 });
  add('CPU per query', 'µs', cpu, floor);
  if (clients > 1) {
    add('throughput', 'tx/s', speed, bouncer, { kind: 'ratio-at-least', value: 0.95 });
    add('throughput', 'tx/s', speed, chain, { kind: 'ratio-at-least', value: 1.2 });
  }
  return figures;
}

// Latency at half of what PgBouncer can do.

async function measureLatency(context: BenchContext, contenders: Contenders, folder: string): Promise<Figure[]> {
  const { ours, bouncer } = contenders;
  if (bouncer === null) return [];
  const clients = 16;
  const load = ['-n', '-S', '-c', String(clients)];
  context.progress('latency at half load');
  const full = await pgbench(bouncer.port, [...load, '-T', '2']);
  const perSecond = Number(/tps = ([\d.]+)/.exec(full)?.[1]);
  const rate = ['-R', String(Math.round(perSecond / 2))];
  const samples = new Map<Pooler, number[]>([ours, bouncer].map((one) => [one, []]));
  for (let round = 0; round < (context.quick ? 2 : 5); round += 1) {
    for (const one of [ours, bouncer]) {
      const log = join(mkdtempSync(join(folder, 'log-')), 'log');
      await pgbench(one.port, [...load, ...rate, '-T', context.quick ? '1' : '3', '-l', '--log-prefix', log]);
      const times = readdirSync(join(log, '..')).flatMap((name) =>
        readFileSync(join(log, '..', name), 'latin1')
          .trimEnd()
          .split('\n')
          .map((line) => Number(line.split(' ')[2]) / 1000),
      );
      samples.get(one)?.push(percentile(Float64Array.from(times).sort(), 0.99));
    }
  }
  return [
    {
      name: `p99 at ${clients} clients, half of PgBouncer’s load (simple)`,
      unit: 'ms',
      measured: median(samples.get(ours) ?? []),
      baseline: { name: bouncer.name, value: median(samples.get(bouncer) ?? []) },
      target: { kind: 'ratio-at-most', value: 1.2 },
    },
  ];
}

// A planned pause under load.

async function measurePause(context: BenchContext, ours: Pooler): Promise<Figure[]> {
  context.progress('PAUSE and RESUME under load');
  const admin = async (command: string): Promise<void> => {
    const child = Bun.spawn(
      [
        clientProgram('psql'),
        '-X',
        '-h',
        '127.0.0.1',
        '-p',
        String(ours.port),
        '-U',
        'postgres',
        '-c',
        command,
        'skerry',
      ],
      { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
    );
    const [err, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    if (code !== 0) throw new Error(`${command}: ${err}`);
  };
  const load = pgbench(ours.port, ['-n', '-c', '16', '-T', context.quick ? '3' : '6']).then(
    (output) => Number(/number of failed transactions: (\d+)/.exec(output)?.[1] ?? 0),
    () => Number.NaN,
  );
  for (let turn = 0; turn < 3; turn += 1) {
    await Bun.sleep(400);
    await admin('PAUSE');
    await Bun.sleep(300);
    await admin('RESUME');
  }
  return [
    {
      name: 'three PAUSE and RESUME under pgbench’s TPC-B, 16 clients: errors',
      unit: 'count',
      measured: await load,
      target: { kind: 'at-most', value: 0 },
    },
  ];
}
