// A PoP's server: speaks the PostgreSQL protocol to clients and HTTP to operators, answers from the replica and forwards the
// rest to the core. The replica is written by somebody else (see contracts/replica-feed.ts).
//
// Loops: core facts, catalogue answers. Everything else happens when a client or the feed says something.
// Stops in this order: accepting, sessions (57P01, so that drivers go elsewhere), slow lanes, HTTP, the replica's reader.

import type { Clock } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Http, HttpServer } from '../base/http.ts';
import type { Connection, Listener, Net, TlsServerOptions } from '../base/net.ts';
import type { Random } from '../base/random.ts';
import type { Service } from '../base/service.ts';
import type { WorkerHandle } from '../base/worker.ts';
import type { ChecksumReport } from '../contracts/health.ts';
import type { OwnPlacement } from '../contracts/placement.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import type { Counter, Metrics } from '../observe/metrics.ts';
import {
  EDGE_ANSWERS_TOTAL,
  EDGE_CONNECTIONS,
  EDGE_CURSOR_BYTES,
  EDGE_LAG_SECONDS,
  EDGE_SNAPSHOTS,
  EDGE_UPSTREAM_CONNECTIONS,
} from '../observe/names.ts';
import type { Lsn } from '../pg/lsn.ts';
import type { Catalogue } from '../replica/catalogue.ts';
import { admissionBy, type CertificateRules, verifiersOf } from '../session/admission.ts';
import { type CancelKey, CancelRegistry } from '../session/cancel.ts';
import { ClientSession } from '../session/client-session.ts';
import type { ConnectionTarget } from '../session/connection-string.ts';
import { requireSafeListening } from '../session/exposure.ts';
import { HttpAccess } from '../session/http-access.ts';
import type { ScramVerifier } from '../session/scram.ts';
import { type Opened, ServerSession } from '../session/server-session.ts';
import { writeError } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { CatalogueAnswers } from './catalogue/answers.ts';
import { CursorFiles } from './cursor-rows.ts';
import { CoreKnowledge } from './core-facts.ts';
import { CoreWriter } from './core-writer.ts';
import { errorFields, forwardingRefused, isCoreAway } from './faults.ts';
import { createHttpHandler, HTTP_OPEN } from './http.ts';
import { answerKv } from './kv/http.ts';
import { KtServer } from './kt/server.ts';
import { KvRows } from './kv/rows.ts';
import { LocalEngine, type StatementPlanner } from './local.ts';
import { type FromReader, type ReaderCounts, Readers, type ToReader } from './readers.ts';
import { EdgeSession } from './session.ts';
import type { SessionDeps } from './conversation.ts';
import { SessionSettings } from './settings.ts';
import { type Explanation, explanationOf } from './sql/explain.ts';
import { why } from './why.ts';
import { quoteIdentifier } from '../pg/identifier.ts';
import { Snapshots } from './snapshots.ts';
import { SlowLanes, type SlowWorker } from './slow-lanes.ts';
import { loadParser } from './sql/parse.ts';
import { Planner, PLANNER_DEFAULTS } from './sql/planner.ts';
import { UpstreamPool } from './upstream-pool.ts';

export interface EdgeDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly net: Net;
  readonly http: Http;
  readonly disk: Disk;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly feed: ReplicaFeed;
  /** Another planner than the real one, for tests of the server alone. */
  readonly planner?: (catalogue: () => Catalogue) => StatementPlanner;
  /** Checksums of the replica, as `ReplicaControl.checksum` gives them. */
  readonly checksum: (at: Lsn | null, waitMs: number) => Promise<ChecksumReport>;
  /** Starts a child process that serves `slow-lane-child.ts`. */
  readonly startSlowLane: () => SlowWorker;
  /** Starts one more process of this edge, when `readers` is more than one. */
  readonly startReader?: () => WorkerHandle<ToReader<unknown>, FromReader>;
  /** In such a process: another one of the edge has to know whose key that is. */
  readonly cancelElsewhere?: (key: CancelKey) => void;
}

export interface EdgeOptions {
  readonly name: string;
  readonly version: string;
  /** Of this process, for its status; 0 when nobody has to find it. */
  readonly pid?: number;
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Null in a further reader: the first process has the HTTP port. */
  readonly httpPort: number | null;
  /** Processes that answer on `port`, this one included; each gets its share of the bounds below. Default 1. */
  readonly readers?: number;
  /** What a further reader is told at its start: plain data. */
  readonly readerSetup?: unknown;
  /** Folder in which facts about the core are remembered. */
  readonly dir: string;
  /** Where forwarded statements go, and as whom. */
  readonly core: ConnectionTarget;
  /** Users of this edge with their passwords or `SCRAM-SHA-256$…` verifiers. All of them act as the core's one role. */
  readonly users: Iterable<readonly [user: string, secret: string]>;
  /** Believe anybody on this machine. Only by explicit choice (I11). */
  readonly trustLoopback: boolean;
  /** For both ports. */
  readonly tls?: TlsServerOptions;
  /** What clients' certificates are worth, on both ports. Default: nothing. */
  readonly certificates?: CertificateRules;
  /** Other roles and operators, who may ask over HTTP from other machines: names with passwords. */
  readonly peers?: Iterable<readonly [user: string, secret: string]>;
  readonly connectionsMax: number;
  /** Connections to the core for forwarded statements; one more client that needs one gets 53300. */
  readonly forwardConnectionsMax: number;
  /** When they are used up, one that was not used for this long may be given up for another session. */
  readonly forwardIdleMs?: number;
  readonly preparedStatementsMax?: number;
  /** 0 = none. */
  readonly statementTimeoutMs: number;
  readonly slowLanesMax: number;
  /** Tables that Kyoto Tycoon's clients see as databases, and their port, on loopback only. Default: none. */
  readonly kt?: { readonly port: number; readonly tables: readonly string[] };
  /** How long a read waits for the session's own write to arrive before it is forwarded. */
  readonly rywWaitMs?: number;
  /** About so many tables the core is asked ahead what psql asks, for when it is away; 0 = none, and nothing is remembered. */
  readonly catalogueTablesMax?: number;
  /** Transaction blocks that keep a snapshot here at once; see snapshots.ts. */
  readonly snapshotsMax?: number;
  /** Child processes, beyond slowLanesMax, for scans in such blocks. */
  readonly snapshotLanesMax?: number;
  /** 0 = none. */
  readonly snapshotAgeMsMax?: number;
  /** 0 = none. */
  readonly snapshotLogBytesMax?: number;
  /** Rows of open cursors in files. */
  readonly cursorBytesMax?: number;
  /** How long questions about the catalogue are collected before the core is asked. */
  readonly catalogueSettleMs?: number;
  /** Bound for one message of a client. */
  readonly messageBytesMax?: number;
}

const PREPARED_STATEMENTS_MAX = 10_000;
const RYW_WAIT_MS = 500;
const FORWARD_IDLE_MS = 5_000;
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;

/** How long `/checksum?at=` waits for the replica to get there. */
const CHECKSUM_WAIT_MS = 10_000;

/** Rows by key are printed as the replica holds them. */
const KV_SETTINGS = {
  search_path: '',
  TimeZone: 'UTC',
  DateStyle: 'ISO',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
};

/** Connections to the core for rows written by key, and requests that may wait for one. */
const KV_CONNECTIONS_MAX = 4;
const KV_WAITING_MAX = 1000;

/** Statements that wait for a slow lane, per lane. */
const WAITING_PER_LANE = 16;

/** Folders of rows of open cursors begin so, one per process. */
const CURSORS_FOLDER = 'cursors-';

const SNAPSHOTS_MAX = 500;
const SNAPSHOT_LANES_MAX = 4;
const SNAPSHOT_AGE_MS_MAX = 600_000;
const SNAPSHOT_LOG_BYTES_MAX = 4 * 1024 ** 3;
const CURSOR_BYTES_MAX = 1024 ** 3;

/** A core that did not answer is not asked again for this long: a burst of forwarded statements must not wait one by one. */
const CORE_AWAY_MEMORY_MS = 200;

export interface EdgePorts {
  readonly port: number;
  readonly httpPort: number;
  /** Null without Kyoto Tycoon's port. */
  readonly ktPort: number | null;
}

export interface Edge extends Service, AsyncDisposable {
  /** Resolves when both ports listen; rejects when they cannot be had. */
  readonly listening: Promise<EdgePorts>;
  readonly answered: { readonly local: number; readonly forwarded: number };
  readonly connections: number;
  /** Child processes that run a statement now. */
  readonly slowLanesTaken: number;
  /** Whether this question about the core's catalogue could be answered without it. */
  remembers(sql: string): boolean;
  /** True when the core was asked at least once, now or before a restart: local answers are possible. */
  readonly knowsCore: boolean;
  /** A request to cancel that came to another process of this edge. */
  cancel(key: CancelKey): void;
  /** What this process did since the last time it was asked here. */
  takeCounts(): ReaderCounts;
}

/** Puts an edge's server together. `run` listens and serves until the signal aborts. */
export function createEdge(deps: EdgeDeps, options: EdgeOptions): Edge {
  return new EdgeServer(deps, options);
}

class EdgeServer implements Edge {
  readonly name: string;
  readonly listening: Promise<EdgePorts>;
  readonly answered = { local: 0, forwarded: 0 };
  readonly #deps: EdgeDeps;
  readonly #options: EdgeOptions;
  readonly #engine: LocalEngine;
  readonly #knowledge: CoreKnowledge;
  readonly #remembered: CatalogueAnswers;
  readonly #slowLanes: SlowLanes;
  readonly #snapshots: Snapshots;
  readonly #cursorFiles: CursorFiles;
  readonly #sessions = new Set<ServerSession>();
  readonly #cancels: CancelRegistry;
  readonly #pool: UpstreamPool;
  readonly #writer: CoreWriter;
  readonly #kvRows: KvRows;
  readonly #kt: KtServer | null;
  /** The further processes of this edge; null when it is one. */
  readonly #readers: Readers | null;
  /** Of this process, since they were taken last. */
  #counted = { local: 0, remembered: 0, forwarded: new Map<string, number>() };
  #coreAway: { readonly error: unknown; readonly until: number } | null = null;
  #resolveListening!: (ports: EdgePorts) => void;
  #rejectListening!: (error: unknown) => void;
  readonly #stop = new AbortController();
  #stopping = false;
  #running: Promise<void> | null = null;

  constructor(deps: EdgeDeps, options: EdgeOptions) {
    this.#deps = deps;
    this.#options = options;
    this.name = `edge.${options.name}`;
    this.listening = new Promise((resolve, reject) => {
      this.#resolveListening = resolve;
      this.#rejectListening = reject;
    });
    // Whoever does not ask for the ports learns of a failure from `run`.
    this.listening.catch(() => {});
    const { clock, disk, random, log, feed, metrics } = deps;
    this.#readers = this.#createReaders();
    this.#cancels = new CancelRegistry(random, deps.crypto, (key) => {
      this.#readers?.cancel(key);
      deps.cancelElsewhere?.(key);
    });
    this.#knowledge = new CoreKnowledge(
      { clock, disk, random, log, feed, connect: () => this.#connectCore(`skerry ${options.name} facts`) },
      `${options.dir}/core-facts.json`,
      options.core.user,
      // The first process; further readers only read it.
      options.httpPort !== null,
    );
    this.#pool = new UpstreamPool(clock, {
      countMax: shareOf(options.forwardConnectionsMax, options),
      idleMsMin: options.forwardIdleMs ?? FORWARD_IDLE_MS,
      connect: (startup) => this.#connectCore(`skerry ${options.name}`, startup),
    });
    this.#engine = new LocalEngine({
      clock,
      feed,
      log,
      planner:
        deps.planner ??
        ((catalogue, explainer) => new Planner(catalogue, PLANNER_DEFAULTS, () => this.#knowledge.shadows, explainer)),
      user: () => this.#knowledge.user,
    });
    this.#writer = new CoreWriter(
      {
        clock,
        connect: () => this.#connectCore(`skerry ${options.name} key/value`, KV_SETTINGS),
        refusal: () => this.#forwardingRefusal(),
      },
      { connectionsMax: Math.min(KV_CONNECTIONS_MAX, options.forwardConnectionsMax), waitingMax: KV_WAITING_MAX },
    );
    const settings = new SessionSettings(this.#knowledge);
    settings.start(KV_SETTINGS);
    this.#kvRows = new KvRows({
      engine: this.#engine,
      settings,
      mayRead: (plan) => this.#knowledge.mayRead(plan),
      crypto: deps.crypto,
      writer: this.#writer,
    });
    this.#kt = options.kt === undefined ? null : this.#createKt(options.kt);
    this.#remembered = new CatalogueAnswers(
      {
        clock,
        disk,
        random,
        crypto: deps.crypto,
        log,
        feed,
        // Where a placement leaves something out, what the core says of its catalogue tells more than may be here.
        catalogue: () => (this.#ownPlacement() === undefined ? this.#engine.catalogue : null),
        connect: () => this.#connectCore(`skerry ${options.name} catalogue`),
      },
      {
        path: `${options.dir}/catalogue-answers.json`,
        tablesMax: options.catalogueTablesMax ?? 0,
        keeps: options.httpPort !== null,
        ...(options.catalogueSettleMs === undefined ? {} : { settleMs: options.catalogueSettleMs }),
      },
    );
    this.#slowLanes = new SlowLanes(deps.startSlowLane, {
      lanesMax: shareOf(options.slowLanesMax, options),
      pinnedMax: shareOf(options.snapshotLanesMax ?? SNAPSHOT_LANES_MAX, options),
      waitingMax: shareOf(options.slowLanesMax, options) * WAITING_PER_LANE,
      path: feed.path,
      generation: () => feed.current.generation,
      catalogueVersion: () => this.#engine.catalogue?.version ?? -1,
    });
    this.#snapshots = new Snapshots(
      { clock, disk, log, engine: this.#engine, lanes: this.#slowLanes, path: feed.path },
      {
        countMax: shareOf(options.snapshotsMax ?? SNAPSHOTS_MAX, options),
        ageMsMax: options.snapshotAgeMsMax ?? SNAPSHOT_AGE_MS_MAX,
        logBytesMax: options.snapshotLogBytesMax ?? SNAPSHOT_LOG_BYTES_MAX,
      },
    );
    this.#slowLanes.onWanted = () => this.#snapshots.laneWanted();
    this.#cursorFiles = new CursorFiles(
      disk,
      `${options.dir}/${CURSORS_FOLDER}${Buffer.from(deps.random.bytes(6)).toString('hex')}`,
      shareOf(options.cursorBytesMax ?? CURSOR_BYTES_MAX, options),
    );
    metrics.gaugeOf(EDGE_CONNECTIONS, {}, () => this.connections);
    metrics.gaugeOf(EDGE_UPSTREAM_CONNECTIONS, {}, () => this.#pool.count + (this.#readers?.upstreamConnections ?? 0));
    metrics.gaugeOf(EDGE_SNAPSHOTS, {}, () => this.#snapshots.count);
    metrics.gaugeOf(EDGE_CURSOR_BYTES, {}, () => this.#cursorFiles.bytes);
    metrics.gaugeOf(EDGE_LAG_SECONDS, {}, () => feed.lagMs() / 1000);
  }

  /** Null while nothing is left out here. */
  #ownPlacement(): OwnPlacement | undefined {
    return this.#engine.catalogue?.server.placement;
  }

  #forwardingRefusal(): Fault | null {
    const placement = this.#ownPlacement();
    return placement?.forward === 'never' ? forwardingRefused(placement.name) : null;
  }

  get connections(): number {
    return this.#sessions.size + (this.#readers?.connections ?? 0);
  }

  get slowLanesTaken(): number {
    return this.#slowLanes.taken;
  }

  remembers(sql: string): boolean {
    return this.#remembered.answer(sql) !== null;
  }

  get knowsCore(): boolean {
    return this.#knowledge.facts !== null;
  }

  cancel(key: CancelKey): void {
    this.#cancels.cancel(key);
  }

  takeCounts(): ReaderCounts {
    const counts = { ...this.#counted, connections: this.#sessions.size, upstreamConnections: this.#pool.count };
    this.#counted = { local: 0, remembered: 0, forwarded: new Map() };
    return counts;
  }

  run(signal: AbortSignal): Promise<void> {
    this.#running ??= this.#run(AbortSignal.any([signal, this.#stop.signal]));
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running?.catch(() => {});
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { disk, log, crypto, random } = this.#deps;
    const { host, tls, certificates = NO_CERTIFICATES } = this.#options;
    let listener: Listener | null = null;
    let http: HttpServer | null = null;
    const stop = new AbortController();
    const all = AbortSignal.any([signal, stop.signal]);
    let knowledge: Promise<void> = Promise.resolve();
    try {
      const users = await verifiersOf({ crypto, random }, this.#options.users);
      const hasAuthentication = users.size > 0 || certificates.acceptCertificates;
      requireSafeListening({ who: 'the edge', host, hasTls: tls !== undefined, hasAuthentication });
      await disk.makeDirectory(this.#options.dir);
      // What an earlier process left; further readers of this one start later.
      if (this.#options.httpPort !== null) await removeCursorFolders(disk, this.#options.dir);
      await loadParser();
      knowledge = Promise.all([this.#knowledge.run(all), this.#remembered.run(all)]).then(() => {});
      listener = await this.#listen(users);
      await this.#readers?.start(listener.port);
      const { httpPort } = this.#options;
      let ktPort: number | null = null;
      if (httpPort !== null) {
        ktPort = (await this.#kt?.listen()) ?? null;
        http = await this.#listenHttp(httpPort, users);
        log.info('edge.listening', {
          message: `edge ${this.#options.name} answers on ${listener.host}:${listener.port}, HTTP on ${http.port}`,
          port: listener.port,
          httpPort: http.port,
        });
      }
      this.#resolveListening({ port: listener.port, httpPort: http?.port ?? 0, ktPort });
      await Promise.race([aborted(signal), knowledge]);
      this.#stopping = true;
    } catch (error) {
      this.#rejectListening(error);
      throw error;
    } finally {
      listener?.stop();
      for (const session of this.#sessions) session.shutdown();
      stop.abort();
      await this.#readers?.stop();
      this.#snapshots.close();
      await this.#slowLanes.close();
      this.#kt?.stop();
      await http?.stop();
      await this.#writer.close();
      await knowledge.catch(() => {});
      this.#engine.close();
    }
  }

  async #listen(verifiers: ReadonlyMap<string, ScramVerifier>): Promise<Listener> {
    const { net, clock, random, crypto, log } = this.#deps;
    const options = this.#options;
    const admit = admissionBy({
      verifiers,
      trustLoopback: options.trustLoopback,
      requireTls: true,
      ...(options.certificates ?? NO_CERTIFICATES),
    });
    const world = { clock, random, crypto, log };
    const shared = {
      admit,
      cancels: this.#cancels,
      open: (session: ServerSession) => this.#open(session),
      mockSecret: random.bytes(32),
      frameBytesMax: options.messageBytesMax ?? MESSAGE_BYTES_MAX,
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    };
    const { host, port } = options;
    const connectionsMax = shareOf(options.connectionsMax, options);
    const isShared = (options.readers ?? 1) > 1;
    // Sharing would hide that the port is another program's, or another edge's: the first process asks for it alone.
    if (isShared && port !== 0 && this.#readers !== null) {
      (await net.listen({ host, port, accept: (connection) => connection.destroy() })).stop();
    }
    return await net.listen({
      host,
      port,
      sharePort: isShared,
      connectionsMax,
      refuse: (connection) => refuse(connection, connectionsMax),
      accept: (connection) => {
        ServerSession.accept(world, connection, shared);
      },
    });
  }

  /** Null in an edge of one process, and in its further readers. */
  #createReaders(): Readers | null {
    const { clock, random, log, feed, metrics, startReader } = this.#deps;
    const { readers = 1, readerSetup } = this.#options;
    if (readers === 1 || startReader === undefined) return null;
    const local = metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'local', reason: '' });
    return new Readers(
      {
        clock,
        random,
        log,
        feed,
        startReader,
        cancel: (key) => this.cancel(key),
        count: (counts) => {
          this.answered.local += counts.local + counts.remembered;
          local.inc(counts.local);
          if (counts.remembered > 0) {
            metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'remembered', reason: 'core-away' }).inc(counts.remembered);
          }
          for (const [reason, count] of counts.forwarded) {
            this.answered.forwarded += count;
            metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'forwarded', reason }).inc(count);
          }
        },
      },
      { count: readers - 1, setup: readerSetup },
    );
  }

  #createKt({ port, tables }: { readonly port: number; readonly tables: readonly string[] }): KtServer {
    const { clock, net, log, feed } = this.#deps;
    return new KtServer(
      { clock, net, log, feed, rows: this.#kvRows, writer: this.#writer },
      {
        // Its protocol has neither passwords nor TLS (I11).
        host: '127.0.0.1',
        port,
        tables,
        version: this.#options.version,
        connectionsMax: this.#options.connectionsMax,
        ownWriteWaitMs: this.#options.rywWaitMs ?? RYW_WAIT_MS,
      },
    );
  }

  async #listenHttp(httpPort: number, users: ReadonlyMap<string, ScramVerifier>): Promise<HttpServer> {
    const { clock, http, feed, metrics, checksum, crypto, random, log } = this.#deps;
    const { name, version, pid, host, tls, trustLoopback, peers } = this.#options;
    const verifiers = new Map([...(await verifiersOf({ crypto, random }, peers ?? [])), ...users]);
    const certificates = this.#options.certificates ?? NO_CERTIFICATES;
    const kv = {
      clock,
      feed,
      engine: this.#engine,
      rows: this.#kvRows,
      ownWriteWaitMs: this.#options.rywWaitMs ?? RYW_WAIT_MS,
    };
    return await http.serve({
      host,
      port: httpPort,
      ...(tls === undefined ? {} : { tls }),
      handle: createHttpHandler({
        name,
        version,
        pid: pid ?? 0,
        feed,
        metrics,
        answered: () => this.answered,
        collect: async () => await this.#readers?.collect(),
        stopping: () => this.#stopping,
        placement: () => this.#ownPlacement()?.name ?? null,
        checksum: (at) => checksum(at, CHECKSUM_WAIT_MS),
        explain: (sql, searchPath) => this.#explain(sql, searchPath),
        kv: (request, path) => answerKv(kv, request, path),
        access: new HttpAccess({ crypto, log }, { verifiers, trustLoopback, ...certificates, ...HTTP_OPEN }),
      }),
    });
  }

  /** Where a statement would be answered by a session with ordinary settings. */
  #explain(sql: string, searchPath: readonly string[]): Explanation | null {
    const engine = this.#engine;
    if (engine.catalogue === null) return null;
    const settings = new SessionSettings(this.#knowledge);
    settings.start({ search_path: searchPath.map(quoteIdentifier).join(', ') });
    const { plan } = engine.statement(sql, [], settings);
    if (plan.kind === 'local' && !this.#knowledge.mayRead(plan)) {
      const { reason, detail } = why('privilege');
      return { answered: 'core', reason, detail, lane: null, sql: null, steps: [] };
    }
    return explanationOf(plan, engine.explainer);
  }

  #open(session: ServerSession): Opened {
    const { facts } = this.#knowledge;
    const { catalogue } = this.#engine;
    if (session.replication !== 'off') {
      throw new Fault('replication-refused', {
        message: 'an edge does not serve replication',
        hint: 'subscribe to the relay instead',
        sqlstate: '0A000',
      });
    }
    if (facts === null && catalogue === null) {
      throw new Fault('replica-not-ready', {
        message: 'this edge is starting: it has neither a replica nor reached the core yet',
        hint: 'try again in a moment; its status tells how far it is',
        sqlstate: '57P03',
        retryable: true,
      });
    }
    const database = catalogue?.server.database ?? this.#options.core.database;
    if (session.database !== database) {
      throw new Fault('wrong-database', {
        message: `database "${session.database}" does not exist`,
        hint: `this edge serves the database "${database}" only`,
        sqlstate: '3D000',
      });
    }
    const edgeSession = new EdgeSession(this.#sessionDeps(), session);
    this.#sessions.add(session);
    return {
      owner: {
        frame: (type, buffer, start, end) => edgeSession.frame(type, buffer, start, end),
        flush: () => edgeSession.flush(),
        drain: () => edgeSession.drain(),
        cancel: () => edgeSession.cancel(),
        closed: () => {
          this.#sessions.delete(session);
          edgeSession.closed();
        },
      },
      parameters: this.#parameters(edgeSession, catalogue),
    };
  }

  /** ParameterStatus values as the core would report them to this session. */
  #parameters(session: EdgeSession, catalogue: Catalogue | null): Map<string, string> {
    const { facts } = this.#knowledge;
    const parameters = new Map<string, string>([
      ['server_version', catalogue?.server.serverVersionText ?? ''],
      ['server_encoding', 'UTF8'],
      ['integer_datetimes', 'on'],
      ['in_hot_standby', 'off'],
      ['is_superuser', 'off'],
      ['session_authorization', this.#knowledge.user],
      ...Object.entries(facts?.parameters ?? {}),
    ]);
    for (const [name, value] of session.settings.reported()) parameters.set(name, value);
    return parameters;
  }

  #sharedDeps: SessionDeps | null = null;

  #sessionDeps(): SessionDeps {
    if (this.#sharedDeps !== null) return this.#sharedDeps;
    const { clock, feed, metrics } = this.#deps;
    const options = this.#options;
    const local = metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'local', reason: '' });
    const forwardedBy = new Map<string, Counter>();
    this.#sharedDeps = {
      clock,
      feed,
      engine: this.#engine,
      slowLanes: this.#slowLanes,
      snapshots: this.#snapshots,
      cursorFiles: this.#cursorFiles,
      owner: this.#knowledge,
      user: () => this.#knowledge.user,
      remembered: this.#remembered,
      sees: (lsn) => this.#engine.sees(lsn),
      mayRead: (plan) => this.#knowledge.mayRead(plan),
      isHidden: (plan, searchPath) => {
        const { catalogue } = this.#engine;
        return catalogue === null || this.#knowledge.isHidden(plan, searchPath, catalogue);
      },
      rywWaitMs: options.rywWaitMs ?? RYW_WAIT_MS,
      pool: this.#pool,
      refusal: () => this.#forwardingRefusal(),
      limits: {
        statementsMax: options.preparedStatementsMax ?? PREPARED_STATEMENTS_MAX,
        statementTimeoutMs: options.statementTimeoutMs,
      },
      counts: {
        local: () => {
          this.answered.local += 1;
          this.#counted.local += 1;
          local.inc();
        },
        remembered: () => {
          this.answered.local += 1;
          this.#counted.remembered += 1;
          metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'remembered', reason: 'core-away' }).inc();
        },
        forwarded: (reason) => {
          this.answered.forwarded += 1;
          const { forwarded } = this.#counted;
          forwarded.set(reason, (forwarded.get(reason) ?? 0) + 1);
          let counter = forwardedBy.get(reason);
          if (counter === undefined) {
            counter = metrics.counter(EDGE_ANSWERS_TOTAL, { answered: 'forwarded', reason });
            forwardedBy.set(reason, counter);
          }
          counter.inc();
        },
      },
    };
    return this.#sharedDeps;
  }

  async #connectCore(applicationName: string, startup: Readonly<Record<string, string>> = {}): Promise<ClientSession> {
    const { clock, net, random, crypto } = this.#deps;
    const away = this.#coreAway;
    if (away !== null && clock.now() < away.until) throw away.error;
    try {
      const session = await ClientSession.connect(
        { clock, net, random, crypto },
        {
          target: this.#options.core,
          parameters: { application_name: applicationName, client_encoding: 'UTF8', ...startup },
        },
      );
      this.#coreAway = null;
      return session;
    } catch (error) {
      // What it says to one session's own settings is not for the others.
      if (isCoreAway(error)) this.#coreAway = { error, until: clock.now() + CORE_AWAY_MEMORY_MS };
      throw error;
    }
  }
}

/** One process's part of a bound of the whole edge: never nothing of something. */
function shareOf(bound: number, { readers = 1 }: EdgeOptions): number {
  return Math.ceil(bound / readers);
}

const NO_CERTIFICATES: CertificateRules = { acceptCertificates: false };

function refuse(connection: Connection, connectionsMax: number): void {
  const writer = new ByteWriter();
  writeError(
    writer,
    errorFields('53300', 'sorry, too many clients already', {
      severity: 'FATAL',
      detail: `this edge allows ${connectionsMax} connections`,
      hint: 'close idle connections, or raise connectionsMax',
    }),
  );
  connection.write(writer.take());
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

async function removeCursorFolders(disk: Disk, directory: string): Promise<void> {
  for (const name of await disk.list(directory)) {
    if (name.startsWith(CURSORS_FOLDER)) await disk.remove(`${directory}/${name}`);
  }
}
