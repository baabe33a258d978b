// What clients cost that do nothing, and what a storm of logins does to the others.

import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatScramVerifier } from '../src/session/scram.ts';
import { SERVER_CERT, SERVER_KEY } from '../test/certificates.ts';
import { startup } from '../test/raw-peer.ts';
import type { Bench, BenchContext, Figure } from './lib/bench.ts';
import { type Cluster, describeCluster, startCluster, targetOf } from './lib/cluster.ts';
import { PgConnection } from './lib/pg-connection.ts';
import { BUN, privateKilobytes, startOurs, startPgBouncer } from './lib/poolers.ts';
import { summarize } from './lib/statistics.ts';

export const proxyClients: Bench = {
  name: 'proxy-clients',
  help: 'skerry proxy: memory of 10,000 idle clients, and 5,000 logins over TLS with SCRAM beside a client that works',
  async run(context) {
    await using cluster = await startCluster(context);
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
    try {
      context.note(describeCluster(context, cluster));
      context.note('memory is the private memory of the pooler’s processes, after 500 clients that are not counted');
      return [...(await measureIdle(context, cluster, folder)), ...(await measureLogins(context, cluster, folder))];
    } finally {
      if (!context.keep) rmSync(folder, { recursive: true, force: true });
    }
  },
};

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
  // Beside the proxy, and not pinned: what the machine itself does to a client meanwhile.
  const direct = await PgConnection.open(targetOf(cluster));
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
    const [during, straight] = await Promise.all([probe(prober, done), probe(direct, done)]);
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
        baseline: { name: 'one of Postgres itself', value: straight.max },
        target: { kind: 'at-most', value: 100 },
      },
    ];
  } finally {
    child.kill('SIGKILL');
    await prober[Symbol.asyncDispose]();
    await direct[Symbol.asyncDispose]();
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
