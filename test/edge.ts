// An edge's server for tests: a real core, a replica filled by copying from it once, and a feed that the test moves by hand.

import { join } from 'node:path';
import type { CatalogueImage } from '../src/contracts/catalogue.ts';
import type { ReplicaFeed, ReplicaState } from '../src/contracts/replica-feed.ts';
import { createEdge, type Edge, type EdgeDeps, type EdgeOptions } from '../src/edge/edge.ts';
import type { SlowChunk, SlowRequest } from '../src/edge/slow-lanes.ts';
import { createLog, SILENT_LOG } from '../src/observe/log.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { formatLsn, type Lsn, parseLsn } from '../src/pg/lsn.ts';
import { isStored, type TableLayout, tableLayout } from '../src/replica/layout.ts';
import { ReplicaReader } from '../src/replica/reader.ts';
import { checksumTable } from '../src/replica/checksum.ts';
import { createCrypto } from '../src/runtime/crypto.ts';
import type { ChecksumReport } from '../src/contracts/health.ts';
import { Catalogue } from '../src/replica/catalogue.ts';
import { ReplicaLoader } from '../src/replica/loader.ts';
import { ReplicaWriter } from '../src/replica/writer.ts';
import { nodeDisk } from '../src/runtime/disk.ts';
import { bunHttp } from '../src/runtime/http.ts';
import { zstdPacker } from '../src/runtime/pack.ts';
import { bunWorkers } from '../src/runtime/worker.ts';
import { ClientSession } from '../src/session/client-session.ts';
import { parseConnectionString } from '../src/session/connection-string.ts';
import {
  CATALOGUE_SEARCH_PATH,
  DATABASE_FACTS_SQL,
  TYPE_IMAGES_SQL,
  tableImagesSql,
} from '../src/stream/source/catalogue-sql.ts';
import type { ReplicaControl } from '../src/contracts/replica-control.ts';
import { runReplicaHere } from '../src/stream/replica-host.ts';
import { quoteIdentifier, quoteQualified } from '../src/pg/identifier.ts';
import { waitFor, temporaryFolder, type TestPostgres } from './harness.ts';
import { sessionWorld } from './session-world.ts';

/** What PLAN calls the pinned settings: replicas hold what these print. */
const PINNED = '-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex';

export interface HandFeed extends ReplicaFeed {
  set(change: Partial<ReplicaState>): void;
  lag: number;
}

export function handFeed(path: string, position: Lsn): HandFeed {
  const listeners = new Set<(state: ReplicaState) => void>();
  let current: ReplicaState = {
    state: 'streaming',
    reason: 'follows by hand',
    epoch: { systemId: '1', timeline: 1 },
    position,
    upstreamPosition: position,
    generation: 1,
    schemaVersion: 1,
    proofs: 0,
    rows: 0,
    tables: 0,
  };
  return {
    path,
    lag: 0,
    get current() {
      return current;
    },
    lagMs() {
      return this.lag;
    },
    ageMs() {
      return this.lag;
    },
    set(change) {
      current = { ...current, ...change };
      for (const listener of listeners) listener(current);
    },
    subscribe(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
  };
}

/** Copies all tables of the core into a new replica file at `path`; gives the position it is at. */
export async function copyReplica(postgres: TestPostgres, path: string, database = 'postgres'): Promise<Lsn> {
  await postgres.sql('DROP PUBLICATION IF EXISTS skerry; CREATE PUBLICATION skerry FOR ALL TABLES', database);
  const target = parseConnectionString(`postgres://postgres@127.0.0.1:${postgres.port}/${database}`);
  await using facts = await ClientSession.connect(sessionWorld(), { target });
  await using core = await ClientSession.connect(sessionWorld(), { target, parameters: { options: PINNED } });
  const json = async (session: ClientSession, sql: string): Promise<unknown> =>
    JSON.parse(String((await session.query(sql)).rows[0]?.[0]));
  await core.query(`SET search_path = ${CATALOGUE_SEARCH_PATH}`);
  await core.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  const lsn = parseLsn(String((await core.query('SELECT pg_current_wal_insert_lsn()')).rows[0]?.[0]));
  const image = {
    ...((await json(facts, DATABASE_FACTS_SQL)) as object),
    tables: await json(core, tableImagesSql("'skerry'", null)),
    types: await json(core, TYPE_IMAGES_SQL),
  } as CatalogueImage;
  const loader = new ReplicaLoader(path, image);
  const catalogue = new Catalogue(image);
  for (const table of image.tables) {
    if (!isStored(table)) continue;
    const columns = tableLayout(table, catalogue).columns.map((column) => quoteIdentifier(column.name));
    const sink = loader.copy(table.oid);
    await core.copyOut(
      `COPY ${quoteQualified(table.schema, table.name)} (${columns.join(', ')}) TO STDOUT`,
      (chunk) => {
        sink.push(chunk);
      },
    );
    sink.finish();
  }
  loader.finish({ epoch: { systemId: '1', timeline: 1 }, lsn });
  // As the applier would find it: from then on it is known where each table changed last.
  ReplicaWriter.open(path, { synchronous: 'off' }).close();
  return lsn;
}

export interface TestEdge extends AsyncDisposable {
  readonly port: number;
  readonly httpPort: number;
  readonly feed: HandFeed;
  readonly edge: Edge;
  readonly url: string;
  readonly metrics: Metrics;
  /** A second server on the same files, as after a restart. */
  restart(): Promise<TestEdge>;
  /** Copies the core again and puts the copy in place, as a new snapshot would be. */
  catchUp(): Promise<void>;
}

export interface TestEdgeOptions extends Partial<Omit<EdgeOptions, 'core' | 'dir'>> {
  readonly planner?: NonNullable<EdgeDeps['planner']>;
  readonly database?: string;
  readonly coreUser?: string;
  readonly verbose?: boolean;
}

export async function startTestEdge(postgres: TestPostgres, options: TestEdgeOptions = {}): Promise<TestEdge> {
  const folder = temporaryFolder();
  const path = join(folder.path, 'replica.sqlite');
  return startOn(postgres, options, folder, handFeed(path, await copyReplica(postgres, path, options.database)));
}

async function startOn(
  postgres: TestPostgres,
  options: TestEdgeOptions,
  folder: Disposable & { readonly path: string },
  feed: HandFeed,
): Promise<TestEdge> {
  const { path } = feed;
  const database = options.database ?? 'postgres';
  let copies = 1;
  const disk = nodeDisk;
  const server = await serve(postgres, options, folder.path, feed);
  return {
    ...server,
    feed,
    restart: () => startOn(postgres, options, { path: folder.path, [Symbol.dispose]: () => {} }, feed),
    async catchUp() {
      copies += 1;
      const next = join(folder.path, `replica-${copies}.sqlite`);
      const position = await copyReplica(postgres, next, database);
      await disk.rename(next, path);
      for (const suffix of ['-wal', '-shm']) await disk.remove(`${path}${suffix}`);
      feed.set({ position, upstreamPosition: position, generation: copies, schemaVersion: copies });
    },
    async [Symbol.asyncDispose]() {
      await server.stop();
      folder[Symbol.dispose]();
    },
  };
}

/** An edge that follows a relay, in this thread: `control.hold` makes it fall behind. */
export interface FollowingEdge extends Served, AsyncDisposable {
  readonly control: ReplicaControl;
}

export async function startFollowingEdge(
  postgres: TestPostgres,
  relay: { readonly url: string; readonly httpUrl: string },
  options: TestEdgeOptions = {},
): Promise<FollowingEdge> {
  const folder = temporaryFolder();
  const control = runReplicaHere(
    { ...sessionWorld(), disk: nodeDisk, http: bunHttp, packer: zstdPacker, log: SILENT_LOG },
    {
      name: options.name ?? 'edge-test',
      path: join(folder.path, 'replica.sqlite'),
      upstreamUrl: relay.url,
      snapshotUrl: relay.httpUrl,
      tls: {},
      publication: 'skerry',
      synchronous: 'normal',
      logLevel: 'error',
    },
  );
  const server = await serve(postgres, options, folder.path, control.feed);
  await waitFor('the edge to stream', () => control.feed.current.state === 'streaming');
  return {
    ...server,
    control,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await control.stop();
      folder[Symbol.dispose]();
    },
  };
}

interface Served {
  readonly port: number;
  readonly httpPort: number;
  readonly edge: Edge;
  readonly url: string;
  readonly metrics: Metrics;
  stop(): Promise<void>;
}

async function serve(
  postgres: TestPostgres,
  options: TestEdgeOptions,
  directory: string,
  feed: ReplicaFeed,
): Promise<Served> {
  const { path } = feed;
  const database = options.database ?? 'postgres';
  const metrics = new Metrics();
  const { planner, coreUser, verbose, database: _database, ...rest } = options;
  const log =
    verbose === true ? createLog({ level: 'debug', format: 'text', wall: Date.now, sink: console.error }) : SILENT_LOG;
  const edge = createEdge(
    {
      ...sessionWorld(),
      http: bunHttp,
      disk: nodeDisk,
      log,
      metrics,
      feed,
      ...(planner === undefined ? {} : { planner }),
      checksum: async () => checksumOf(path),
      startSlowLane: () =>
        bunWorkers.process<SlowRequest, SlowChunk>(new URL('../src/roles/edge-query-child.ts', import.meta.url)),
    },
    {
      name: 'edge-test',
      version: '0',
      host: '127.0.0.1',
      port: 0,
      httpPort: 0,
      dir: directory,
      users: [],
      trustLoopback: true,
      connectionsMax: 6000,
      forwardConnectionsMax: 50,
      statementTimeoutMs: 0,
      slowLanesMax: 2,
      ...rest,
      core: parseConnectionString(
        `postgres://${coreUser ?? 'postgres'}@127.0.0.1:${postgres.port}/${database}?sslmode=disable&connect_timeout=2`,
      ),
    },
  );
  const stop = new AbortController();
  const running = edge.run(stop.signal);
  running.catch(() => {});
  const { port, httpPort } = await edge.listening;
  await waitFor('the core facts', () => edge.knowsCore);
  return {
    port,
    httpPort,
    edge,
    metrics,
    url: `postgres://postgres@127.0.0.1:${port}/${database}`,
    async stop() {
      stop.abort();
      await running.catch(() => {});
    },
  };
}

function checksumOf(path: string): ChecksumReport {
  using reader = new ReplicaReader(path);
  const { position } = reader.begin();
  const tables = [...reader.catalogue().tables()].map((image) => {
    const steps = checksumTable(reader.sqlite, reader.layout(image.oid) as TableLayout, createCrypto());
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  });
  reader.end();
  return { name: 'edge-test', epoch: position.epoch, position: formatLsn(position.lsn), tables };
}
