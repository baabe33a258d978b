// The proxy against Debian's PgBouncer, and against PgBouncer → HAProxy, in one run: CPU per query is the figure that does
// not depend on luck, since all share the machine with Postgres and pgbench. Contenders take turns, and the median of the
// rounds counts, so that what else the machine does falls on all of them.

import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatScramVerifier } from '../src/session/scram.ts';
import { SERVER_CERT, SERVER_KEY } from '../test/certificates.ts';
import { clientProgram } from '../test/harness.ts';
import { startup } from '../test/raw-peer.ts';
import type { Bench, BenchContext, Figure } from './lib/bench.ts';
import { type Cluster, describeCluster, startCluster } from './lib/cluster.ts';
import { PgConnection } from './lib/pg-connection.ts';
import {
  BUN,
  cpuMicroseconds,
  pgbench,
  type Pooler,
  privateKilobytes,
  startChain,
  startFloor,
  startOurs,
  startPgBouncer,
} from './lib/poolers.ts';
import { median, percentile, summarize } from './lib/statistics.ts';

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
  help: 'skerry proxy, PgBouncer, PgBouncer → HAProxy: CPU per query, throughput, latency, idle clients, logins, pause',
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
      figures.push(...(await measureIdle(context, cluster, folder)));
      figures.push(...(await measureLogins(context, cluster, folder)));
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

// Idle clients.

async function measureIdle(context: BenchContext, cluster: Cluster, folder: string): Promise<Figure[]> {
  const count = context.quick ? 1_000 : 10_000;
  const kilobytes: (number | null)[] = [];
  for (const start of [() => startOurs(cluster), () => startPgBouncer(folder, cluster.port, 'transaction')]) {
    await using pooler = await start();
    if (pooler === null) {
      kilobytes.push(null);
      continue;
    }
    context.progress(`${count} idle clients of ${pooler.name}`);
    const sockets: Bun.Socket[] = [];
    try {
      // The first ones pay for what all share.
      await openIdle(pooler.port, 500, sockets);
      await Bun.sleep(2_000);
      const before = privateKilobytes(pooler);
      await openIdle(pooler.port, count, sockets);
      await Bun.sleep(5_000);
      kilobytes.push((privateKilobytes(pooler) - before) / count);
    } finally {
      for (const socket of sockets) socket.terminate();
    }
  }
  const [mine = null, theirs = null] = kilobytes;
  return [
    {
      name: `${count} idle clients: memory each`,
      unit: 'kB',
      measured: mine ?? Number.NaN,
      ...(theirs === null ? {} : { baseline: { name: 'PgBouncer', value: theirs } }),
      target: { kind: 'at-most', value: 3 },
    },
  ];
}

const READY_FOR_QUERY = 0x5a;

async function openIdle(port: number, count: number, sockets: Bun.Socket[]): Promise<void> {
  const hello = startup({ user: 'postgres', database: 'postgres', application_name: 'idle' });
  const target = sockets.length + count;
  let ready = sockets.length;
  for (let index = 0; index < count; index += 1) {
    const socket = await Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: {
        open: (opened) => void opened.write(hello),
        data: (_, chunk) => {
          if (chunk.includes(READY_FOR_QUERY)) ready += 1;
        },
      },
    });
    sockets.push(socket);
  }
  for (let waits = 0; ready < target; waits += 1) {
    if (waits > 3_000) throw new Error(`${target - ready} of ${count} idle clients did not get in`);
    await Bun.sleep(10);
  }
}

// A storm of logins.

async function measureLogins(context: BenchContext, cluster: Cluster, folder: string): Promise<Figure[]> {
  const count = context.quick ? 500 : 5_000;
  const atOnce = 500;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync('storm', salt, 4096, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const serverKey = createHmac('sha256', salted).update('Server Key').digest();
  const storedKey = new Bun.CryptoHasher('sha256').update(clientKey).digest();
  const secret = formatScramVerifier({ iterations: 4096, salt, storedKey, serverKey });
  const [cert, key] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  writeFileSync(cert, SERVER_CERT);
  writeFileSync(key, SERVER_KEY, { mode: 0o600 });
  writeFileSync(join(folder, 'secret'), secret, { mode: 0o600 });
  writeFileSync(join(folder, 'rules'), 'host all postgres 127.0.0.1/32 trust\nhostssl all all all scram-sha-256\n');
  await using ours = await startOurs(cluster, [
    'auth_type: hba',
    `auth_hba_file: ${join(folder, 'rules')}`,
    `tls_cert_file: ${cert}`,
    `tls_key_file: ${key}`,
    `users: { storm: { password_file: ${join(folder, 'secret')} } }`,
  ]);
  const prober = await PgConnection.open({
    host: '127.0.0.1',
    port: ours.port,
    user: 'postgres',
    database: 'postgres',
  });
  for (let index = 0; index < 1_000; index += 1) await prober.query('select 1');
  context.progress('round trips before the logins');
  const before = await probe(prober, Bun.sleep(2_000));
  context.progress(`${count} logins over TLS with SCRAM`);
  const keys = [clientKey.toString('hex'), serverKey.toString('hex')];
  const child = Bun.spawn([BUN, STORM, String(ours.port), String(count), String(atOnce), 'storm', ...keys], {
    stdout: 'pipe',
    stderr: 'inherit',
  });
  try {
    const done = child.stdout.getReader().read();
    const during = await probe(prober, done);
    const { value } = await done;
    const outcome = JSON.parse(Buffer.from(value ?? new Uint8Array()).toString()) as {
      seconds: number;
      failed: number;
    };
    context.note(
      `logins: ${atOnce} at a time, from one process; the slowest of the other client’s round trips was ${before.max.toFixed(1)} ms in the 2 s before, p99 ${before.p99.toFixed(2)} ms, ${during.p99.toFixed(2)} ms during`,
    );
    return [
      {
        name: `${count} logins over TLS with SCRAM: failed`,
        unit: 'count',
        measured: outcome.failed,
        target: { kind: 'at-most', value: 0 },
      },
      { name: `${count} logins over TLS with SCRAM: time`, unit: 's', measured: outcome.seconds },
      {
        name: 'longest stall of another client meanwhile',
        unit: 'ms',
        measured: during.max,
        target: { kind: 'at-most', value: 100 },
      },
    ];
  } finally {
    child.kill('SIGKILL');
    await prober[Symbol.asyncDispose]();
  }
}

const STORM = Bun.fileURLToPath(new URL('./lib/login-storm.ts', import.meta.url));

/** Round trips of a point query, one after the other, until `end` is settled; in ms. */
async function probe(prober: PgConnection, end: Promise<unknown>): Promise<ReturnType<typeof summarize>> {
  const samples: number[] = [];
  let over = false;
  void end.finally(() => {
    over = true;
  });
  while (!over) {
    const started = performance.now();
    await prober.query('select 1');
    samples.push(performance.now() - started);
    await Bun.sleep(1);
  }
  return summarize(samples);
}
