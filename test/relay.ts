// A relay in this process, for tests: against a test Postgres or behind another relay, with its replica in the same thread.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReplicaControl, ReplicaOptions } from '../src/contracts/replica-control.ts';
import { createLog } from '../src/observe/log.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { parseLsn } from '../src/pg/lsn.ts';
import { createClock } from '../src/runtime/clock.ts';
import { createCrypto } from '../src/runtime/crypto.ts';
import { nodeDisk } from '../src/runtime/disk.ts';
import { bunHttp } from '../src/runtime/http.ts';
import { createNet } from '../src/runtime/net.ts';
import { zstdPacker } from '../src/runtime/pack.ts';
import { createRandom } from '../src/runtime/random.ts';
import { Sqlite } from '../src/replica/sqlite.ts';
import { parseConnectionString } from '../src/session/connection-string.ts';
import { createRelay, type Relay, type RelayOptions, type RelayUpstream } from '../src/stream/relay.ts';
import { runReplicaHere } from '../src/stream/replica-host.ts';
import type { TestPostgres } from './harness.ts';

export const PEER = { user: 'peer', password: 'peer secret' } as const;

export const relayWorld = {
  clock: createClock(),
  crypto: createCrypto(),
  random: createRandom(),
  net: createNet(),
  disk: nodeDisk,
  http: bunHttp,
  packer: zstdPacker,
};

export interface TestRelay extends AsyncDisposable {
  readonly relay: Relay;
  readonly directory: string;
  readonly port: number;
  readonly httpPort: number;
  /** postgres:// URL with the peer's password. */
  readonly url: string;
  readonly httpUrl: string;
  /** Lines of its log. */
  readonly lines: string[];
  /** Stops it in order; the directory stays for `startRelay({ directory })`. */
  stop(): Promise<void>;
}

export interface TestRelayOptions {
  readonly name?: string;
  readonly directory?: string;
  readonly upstream: RelayUpstream;
  readonly overrides?: Partial<RelayOptions>;
  readonly disk?: typeof nodeDisk;
  /** In place of an applier in this thread. */
  readonly startReplicaWith?: (options: ReplicaOptions) => ReplicaControl;
}

export function upstreamOf(
  postgres: TestPostgres,
  more: Partial<RelayUpstream & { kind: 'postgres' }> = {},
): RelayUpstream {
  return {
    kind: 'postgres',
    client: { target: parseConnectionString(postgres.url) },
    publication: 'skerry',
    slot: 'skerry_relay',
    tables: [],
    ephemeral: false,
    ...more,
  };
}

export function upstreamRelay(relay: TestRelay): RelayUpstream {
  return {
    kind: 'relay',
    client: { target: parseConnectionString(relay.url) },
    publication: 'skerry',
    httpUrl: relay.httpUrl,
  };
}

export async function startRelay(options: TestRelayOptions): Promise<TestRelay> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'skerry-relay-'));
  const lines: string[] = [];
  const log = createLog({
    level: 'info',
    format: 'text',
    wall: () => Date.now(),
    sink: (line) => {
      lines.push(line);
      if (process.env['SKERRY_TEST_LOG'] !== undefined) process.stderr.write(`${line}\n`);
    },
  });
  const relay = createRelay(
    {
      ...relayWorld,
      ...(options.disk === undefined ? {} : { disk: options.disk }),
      log,
      metrics: new Metrics(),
      startReplica:
        options.startReplicaWith ??
        ((replica) => runReplicaHere({ ...relayWorld, log: log.with({ replica: replica.name }) }, replica)),
      pid: process.pid,
      version: 'test',
    },
    {
      name: options.name ?? 'relay',
      directory,
      listen: { host: '127.0.0.1', port: 0 },
      http: { host: '127.0.0.1', port: 0 },
      upstream: options.upstream,
      auth: { users: new Map([[PEER.user, PEER.password]]), trustLoopback: false, acceptCertificates: false },
      self: PEER,
      subscribersMax: 500,
      logBytesMax: 1024 * 1024 * 1024,
      logLevel: 'info',
      ...options.overrides,
    },
  );
  const stopping = new AbortController();
  const running = relay.run(stopping.signal);
  running.catch(() => {});
  const { port, httpPort } = await relay.listening;
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running.catch(() => {});
  };
  return {
    relay,
    directory,
    port,
    httpPort,
    url: `postgres://${PEER.user}:${encodeURIComponent(PEER.password)}@127.0.0.1:${port}/postgres`,
    httpUrl: `http://127.0.0.1:${httpPort}`,
    lines,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface TestReplica extends AsyncDisposable {
  readonly control: ReplicaControl;
  readonly path: string;
  readonly lines: string[];
  /** Rows of a query on the replica's file. */
  rows(sql: string): unknown[][];
  stop(): Promise<void>;
}

/** A replica that follows a relay, as an edge has one. */
export function startReplica(
  relay: { readonly url: string; readonly httpUrl: string },
  options: { readonly name?: string; readonly directory?: string; readonly publication?: string } = {},
): TestReplica {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'skerry-replica-'));
  const path = join(directory, 'replica.sqlite');
  const lines: string[] = [];
  const log = createLog({ level: 'info', format: 'text', wall: () => Date.now(), sink: (line) => lines.push(line) });
  const control = runReplicaHere(
    { ...relayWorld, log },
    {
      name: options.name ?? 'edge',
      path,
      upstreamUrl: relay.url,
      tls: {},
      snapshotUrl: relay.httpUrl,
      publication: options.publication ?? 'skerry',
      synchronous: 'normal',
      logLevel: 'info',
    },
  );
  return {
    control,
    path,
    lines,
    rows(sql) {
      using sqlite = new Sqlite(path, { mode: 'read' });
      return sqlite.rows(sql);
    },
    stop: () => control.stop(),
    async [Symbol.asyncDispose]() {
      await control.stop();
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Waits until `condition` holds; says what was seen last when it does not within 20 s. */
export async function until(what: string, condition: () => unknown): Promise<void> {
  const deadline = performance.now() + 20_000;
  let last: unknown;
  for (;;) {
    try {
      last = await condition();
      if (last === true) return;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`never: ${what}; last: ${String(last)}`);
    await Bun.sleep(10);
  }
}

/** Waits until the replica has everything that is committed in Postgres now. */
export async function caughtUp(
  postgres: TestPostgres,
  ...replicas: readonly { readonly control: ReplicaControl }[]
): Promise<void> {
  const lsn = parseLsn((await postgres.value('select pg_current_wal_insert_lsn()::text')) ?? '0/0');
  // Something behind it, so that the position is passed even if nothing else is written.
  await postgres.sql(`select pg_logical_emit_message(true, 'skerry.test', '')`);
  for (const replica of replicas) {
    await until('the replica has caught up', () => {
      const { state, position, reason } = replica.control.feed.current;
      return (state === 'streaming' && position >= lsn) || `${state} at ${position} of ${lsn}: ${reason}`;
    });
  }
}
