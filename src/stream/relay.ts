// The relay: follows an upstream (the core, or another relay), forwards at once, stores, then acknowledges; serves any number
// of subscribers as a walsender, and snapshots over HTTP from a replica of its own that follows its own log.
//
//   start ─▶ is there a log and a replica? ──no──▶ copy ─▶ serve
//                     └──yes──▶ serve, connect ──resume──▶ stream          ──copy needed──▶ copy beside ─▶ swap ─▶ serve
//
// Services while it serves: log writer, source (with backoff), replica (in a Worker), housekeeping, replication port, HTTP port.

import { Backoff } from '../base/backoff.ts';
import type { Crypto } from '../base/crypto.ts';
import type { Disk } from '../base/disk.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { Http, HttpServer } from '../base/http.ts';
import type { Listener, Net, TlsServerOptions } from '../base/net.ts';
import type { Packer } from '../base/pack.ts';
import { loop, type Service, sleepQuietly } from '../base/service.ts';
import type { RoleStatus } from '../contracts/health.ts';
import type { PlacementSpec } from '../contracts/placement.ts';
import type { ReplicaControl, ReplicaOptions } from '../contracts/replica-control.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import {
  RELAY_LAG_BYTES,
  RELAY_LOG_BYTES,
  RELAY_PLACEMENT_LOG_BYTES,
  RELAY_POSITION_BYTES,
  RELAY_SUBSCRIBERS,
  RELAY_TRANSACTIONS_ENCODED,
  RELAY_UPSTREAM_CONNECTED,
} from '../observe/names.ts';
import { formatLsn, formatPosition, type Lsn, LSN_ZERO, type Position, sameEpoch } from '../pg/lsn.ts';
import { ReplicaReader } from '../replica/reader.ts';
import { installSnapshot } from '../replica/snapshot.ts';
import { admissionBy, type CertificateRules, verifiersOf } from '../session/admission.ts';
import { CancelRegistry } from '../session/cancel.ts';
import type { ClientOptions, SessionWorld } from '../session/client-session.ts';
import { requireSafeListening } from '../session/exposure.ts';
import { ServerError } from '../session/faults.ts';
import type { ScramVerifier } from '../session/scram.ts';
import { ServerSession } from '../session/server-session.ts';
import { downloadSnapshot } from './bootstrap.ts';
import { epochChanged } from './faults.ts';
import { Hub, HUB_DEFAULTS } from './hub.ts';
import { RelayHttp } from './relay-http.ts';
import { type LogOrigin, RELAY_LOG_DEFAULTS, RelayLog, type RelayLogOptions } from './relay-log/log.ts';
import { Placements } from './placements.ts';
import { HubFeeder } from './relay-source.ts';
import { RelayState } from './relay-state.ts';
import { openWalsender } from './serve.ts';
import { Slots } from './slots.ts';
import { Core, type CopyProgress } from './source/core.ts';
import type { AssemblerSink } from './source/assemble.ts';
import { schemaInjector } from './source/fallback.ts';
import { decideResume } from './source/resume.ts';
import { connectUpstream, switchPoint, UPSTREAM_TIMINGS } from './upstream.ts';

export interface RelayDeps extends SessionWorld {
  readonly net: Net;
  readonly crypto: Crypto;
  readonly disk: Disk;
  readonly http: Http;
  readonly packer: Packer;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Starts the applier of the relay's own replica (a Worker in production). */
  readonly startReplica: (options: ReplicaOptions) => ReplicaControl;
  readonly pid: number;
  readonly version: string;
}

export type RelayUpstream =
  | {
      readonly kind: 'postgres';
      readonly client: ClientOptions;
      readonly publication: string;
      readonly slot: string;
      /** `schema.name`; empty publishes all tables. Only for a publication that we make. */
      readonly tables: readonly string[];
      /** Drop the slot when stopping in order. */
      readonly ephemeral: boolean;
    }
  | {
      readonly kind: 'relay';
      readonly client: ClientOptions;
      readonly publication: string;
      /** http(s)://host:port of that relay. */
      readonly httpUrl: string;
    };

export interface RelayOptions {
  readonly name: string;
  /** Log, replica and snapshots live here. */
  readonly directory: string;
  readonly listen: { readonly host: string; readonly port: number; readonly tls?: TlsServerOptions };
  readonly http: { readonly host: string; readonly port: number; readonly tls?: TlsServerOptions };
  readonly upstream: RelayUpstream;
  readonly auth: CertificateRules & {
    /** Who may subscribe: user → password or SCRAM verifier. */
    readonly users: ReadonlyMap<string, string>;
    /** Peers on this machine need no password. Only by explicit choice. */
    readonly trustLoopback: boolean;
  };
  /** As whom the relay's own replica subscribes; must be one of `auth.users` with its password. */
  readonly self: { readonly user: string; readonly password: string };
  readonly subscribersMax: number;
  readonly logBytesMax: number;
  readonly logLevel: ReplicaOptions['logLevel'];
  /** Who is sent what, from the configuration file; more may be set over HTTP by `admin`. */
  readonly placements?: readonly PlacementSpec[];
  /** Who may change placements; one of `auth.users`. Nobody may when not given. */
  readonly admin?: string;
}

const RECONNECT = { firstMs: 100, maxMs: 10_000 } as const;
const HOUSEKEEPING_EVERY_MS = 5000;
const SLOT_BUSY_WAIT_MS = 500;

/** The own replica serves snapshots and checksums: it need not hurry, and each commit wakes one thread less. */
const OWN_REPLICA_LAZY_MS = 20;
/** A connection that held this long was a good one: after it, reconnecting begins with short waits again. */
const HEALTHY_AFTER_MS = 3000;
/** SQLSTATE of a publication or slot that is not there. */
const UNDEFINED_OBJECT = '42704';

/** Why the stream cannot go on without a new copy. */
class CopyNeeded extends Error {}

/** What is being served: one log, one hub, one replica. */
interface Serving {
  readonly log: RelayLog;
  readonly hub: Hub;
  readonly replica: ReplicaControl;
}

export function createRelay(deps: RelayDeps, options: RelayOptions): Relay {
  return new Relay(deps, options);
}

export class Relay implements Service {
  readonly name = 'relay';
  readonly #deps: RelayDeps;
  readonly #options: RelayOptions;
  readonly #log: Log;
  readonly #core: Core | null;
  readonly #listening = Promise.withResolvers<{ readonly port: number; readonly httpPort: number }>();
  readonly #serving = Promise.withResolvers<void>();
  #state: RelayState | null = null;
  #current: Serving | null = null;
  #feeder: HubFeeder | null = null;
  #phase: RoleStatus['state'] = 'starting';
  #equalAtMs: number;
  #publication: string | null = null;
  #progress: CopyProgress | null = null;
  #ports = { port: 0, httpPort: 0 };

  constructor(deps: RelayDeps, options: RelayOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#log = deps.log.with({ relay: options.name });
    this.#equalAtMs = deps.clock.now();
    const { upstream } = options;
    this.#core = upstream.kind === 'postgres' ? new Core(deps, this.#log, upstream) : null;
    this.#listening.promise.catch(() => {});
    this.#serving.promise.catch(() => {});
  }

  /** Resolves with the ports once both are open; rejects when one cannot be had. */
  get listening(): Promise<{ readonly port: number; readonly httpPort: number }> {
    return this.#listening.promise;
  }

  /** Resolves when the first complete copy is there and subscribers can be served. */
  get ready(): Promise<void> {
    return this.#serving.promise;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { disk } = this.#deps;
    const { directory } = this.#options;
    try {
      await disk.makeDirectory(directory);
      await disk.remove(`${directory}/spool`);
      await disk.makeDirectory(`${directory}/spool`);
      await disk.remove(`${directory}/snapshots`);
      await disk.makeDirectory(`${directory}/snapshots`);
      const slots = await Slots.open(disk, `${directory}/slots.json`);
      const placements = this.#makePlacements();
      await placements.load();
      const state = new RelayState(
        { ...this.#deps, log: this.#log },
        slots,
        this.#options.upstream.publication,
        placements,
        this.#options.self.user,
      );
      this.#state = state;
      await this.#readMeta();
      const verifiers = await verifiersOf(this.#deps, this.#options.auth.users);
      await using listener = await this.#listen(state, verifiers);
      await using http = await this.#listenHttp(state, verifiers);
      this.#ports = { port: listener.port, httpPort: http.port };
      this.#declareMetrics();
      this.#listening.resolve(this.#ports);
      await this.#generations(state, signal);
      // In order: nobody new, then those who are there, then storage (closed by now).
      listener.stop();
      state.disconnectAll(shuttingDown());
      await slots.save();
      if (this.#options.upstream.kind === 'postgres' && this.#options.upstream.ephemeral) await this.#leaveNothing();
    } catch (error) {
      this.#listening.reject(error);
      this.#serving.reject(error);
      throw error;
    } finally {
      this.#phase = 'stopping';
    }
  }

  status(): RoleStatus {
    const state = this.#state;
    const hub = this.#current?.hub;
    const feed = this.#current?.replica.feed.current;
    const durable = this.#current?.log.durableLsn ?? LSN_ZERO;
    const upstream = this.#feeder?.upstreamLsn ?? hub?.endLsn ?? LSN_ZERO;
    const epoch = state?.facts?.epoch ?? null;
    const connected = state?.upstreamConnected === true;
    const equal = connected && hub !== undefined && hub.endLsn >= upstream;
    if (equal) this.#equalAtMs = this.#deps.clock.now();
    return {
      role: 'relay',
      name: this.#options.name,
      pid: this.#deps.pid,
      version: this.#deps.version,
      state: this.#phase,
      reason: this.#describe(),
      epoch,
      position: formatLsn(durable),
      upstreamPosition: formatLsn(upstream),
      lagMs: equal ? 0 : Math.round(this.#deps.clock.now() - this.#equalAtMs),
      lagBytes: Number(upstream > durable ? upstream - durable : LSN_ZERO),
      rows: feed?.rows ?? this.#progress?.rows ?? 0,
      tables: feed?.tables ?? this.#progress?.tablesTotal ?? 0,
      answered: { local: 0, forwarded: 0 },
      subscribers: [...(state?.subscribers ?? [])].map((one) => ({
        name: one.name,
        remoteAddress: one.remoteAddress,
        position: formatLsn(one.confirmedLsn),
        lagBytes: Number(hub !== undefined && hub.endLsn > one.confirmedLsn ? hub.endLsn - one.confirmedLsn : LSN_ZERO),
        mode: one.mode,
        identity: one.identity,
        ...(one.placement === null ? {} : { placement: one.placement }),
      })),
    };
  }

  #describe(): string {
    if (this.#current?.log.diskFull === true) {
      return "the relay log's disk is full: nothing is acknowledged, so the core keeps its WAL, until there is room";
    }
    const progress = this.#progress;
    const reason = this.#state?.reason ?? 'starting';
    if (progress === null) return reason;
    if (progress.waitingFor !== null) return `${reason}: waits for ${progress.waitingFor}`;
    return `${reason}: ${progress.tablesDone} of ${progress.tablesTotal} tables, ${progress.rows} rows`;
  }

  // Ports.

  async #listen(state: RelayState, verifiers: ReadonlyMap<string, ScramVerifier>): Promise<Listener> {
    const { listen, auth } = this.#options;
    requireSafe(listen, auth);
    const serverOptions = {
      admit: admissionBy({
        ...auth,
        verifiers,
        requireTls: true,
        internalUsers: new Set([this.#options.self.user]),
      }),
      open: (session: ServerSession) => openWalsender(state, session),
      cancels: new CancelRegistry(this.#deps.random, this.#deps.crypto),
      mockSecret: this.#deps.random.bytes(32),
      ...(listen.tls === undefined ? {} : { tls: listen.tls }),
    };
    return await this.#deps.net.listen({
      host: listen.host,
      port: listen.port,
      connectionsMax: this.#options.subscribersMax,
      accept: (connection) => {
        ServerSession.accept({ ...this.#deps, log: this.#log }, connection, serverOptions);
      },
    });
  }

  #listenHttp(state: RelayState, verifiers: ReadonlyMap<string, ScramVerifier>): Promise<HttpServer> {
    const { http, auth, directory } = this.#options;
    requireSafe(http, auth);
    const pages = new RelayHttp({ ...this.#deps, log: this.#log }, state, {
      ...auth,
      directory: `${directory}/snapshots`,
      verifiers,
      ...(this.#options.admin === undefined ? {} : { admin: this.#options.admin }),
      status: () => this.status(),
      replica: () => this.#current?.replica ?? null,
    });
    return this.#deps.http.serve({
      host: http.host,
      port: http.port,
      handle: (request, peer) => pages.handle(request, peer),
      ...(http.tls === undefined ? {} : { tls: http.tls }),
    });
  }

  // Generations: each serves one log and one replica.

  async #generations(state: RelayState, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#deps.random, RECONNECT);
    let copyReason: string | null = null;
    while (!signal.aborted) {
      try {
        const stored = copyReason === null ? await this.#openStored() : null;
        if (stored === null) {
          await this.#takeCopy(state, copyReason ?? 'there is no copy yet', null, signal);
          copyReason = null;
          continue;
        }
        copyReason = await this.#serve(state, stored, backoff, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isFatal(error)) throw error;
        const waitMs = backoff.next();
        state.reason = describeError(error);
        this.#log.error('relay.failed', { message: describeError(error), retryInMs: Math.round(waitMs) });
        await sleepQuietly(this.#deps.clock, waitMs, signal);
      }
    }
  }

  get #replicaPath(): string {
    return `${this.#options.directory}/replica.sqlite`;
  }

  get #logOptions(): RelayLogOptions {
    return this.#logOptionsIn(`${this.#options.directory}/log`);
  }

  #logOptionsIn(directory: string): RelayLogOptions {
    const { logBytesMax } = this.#options;
    const { retention } = RELAY_LOG_DEFAULTS;
    return {
      ...RELAY_LOG_DEFAULTS,
      directory,
      retention: { bytesMin: Math.min(retention.bytesMin, logBytesMax), bytesMax: logBytesMax },
    };
  }

  /** The log and facts of the replica that lie on disk, if they belong together; null when a copy has to be taken. */
  async #openStored(): Promise<{ log: RelayLog; database: string; serverVersionText: string } | null> {
    const replica = this.#readReplica();
    if (replica === null) return null;
    let log: RelayLog | null = null;
    try {
      log = await RelayLog.open({ ...this.#deps, log: this.#log }, this.#logOptions);
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'log-damaged')) throw error;
      this.#log.error('relay.log-damaged', { message: describeError(error) });
    }
    const { position } = replica;
    const fits = log !== null && log.epoch.systemId === position.epoch.systemId && position.lsn >= log.startLsn;
    if (log === null || !fits) {
      // The replica is a complete copy in itself: a log can begin where it stands.
      await log?.close();
      this.#log.warn('relay.log-new', { message: `a new log begins at ${formatPosition(position)}` });
      log = await this.#createLog({ epoch: position.epoch, startLsn: position.lsn, timelineHistory: '' });
    }
    return { log, database: replica.database, serverVersionText: replica.serverVersionText };
  }

  #readReplica(): { position: Position; database: string; serverVersionText: string } | null {
    try {
      using reader = new ReplicaReader(this.#replicaPath);
      const { server } = reader.catalogue();
      return {
        position: reader.state().position,
        database: server.database,
        serverVersionText: server.serverVersionText,
      };
    } catch {
      return null;
    }
  }

  #createLog(origin: LogOrigin): Promise<RelayLog> {
    return RelayLog.create({ ...this.#deps, log: this.#log }, this.#logOptions, origin);
  }

  /** Serves until the signal aborts (null) or a new copy is needed (why). */
  async #serve(
    state: RelayState,
    stored: { log: RelayLog; database: string; serverVersionText: string },
    backoff: Backoff,
    signal: AbortSignal,
  ): Promise<string | null> {
    const ending = new AbortController();
    const sourceEnding = new AbortController();
    const stop = (): void => {
      sourceEnding.abort();
      ending.abort();
    };
    signal.addEventListener('abort', stop);
    const { log } = stored;
    const encoded = this.#deps.metrics.counter(RELAY_TRANSACTIONS_ENCODED, { relay: this.#options.name });
    const hub = new Hub(log, HUB_DEFAULTS, encoded);
    const facts = {
      hub,
      epoch: log.epoch,
      database: stored.database,
      serverVersionText: stored.serverVersionText,
      replicaPath: this.#replicaPath,
    };
    state.facts = facts;
    const logging = log.run(ending.signal);
    const replica = this.#deps.startReplica(this.#replicaOptions(state.placements.restricted));
    const serving: Serving = { log, hub, replica };
    this.#current = serving;
    const { placements } = state;
    const placing = placements.start(hub, replica, this.#replicaPath);
    // Nobody is served before it is known who may have what.
    void placing.then(() => this.#serving.resolve()).catch(() => {});
    log.onDurable = () => hub.flush();
    const housekeeping = loop({ everyMs: HOUSEKEEPING_EVERY_MS, clock: this.#deps.clock, signal: ending.signal }, () =>
      this.#keepHouse(state, log).catch((error: unknown) => this.#houseFailed(error)),
    );
    const unusable = replica.ended.then(async (end) => {
      if (ending.signal.aborted) return await new Promise<never>(() => {});
      if (end.unusable) throw new CopyNeeded(`the relay's own replica is unusable: ${end.reason}`);
      throw new Fault('replica-ended', {
        message: `the applier of the relay's replica ended: ${end.reason}`,
        retryable: true,
      });
    });
    const damaged = new Promise<never>((_resolve, reject) => {
      hub.onDamaged = (error) => reject(new CopyNeeded(error.message));
    });
    try {
      await Promise.race([placing, unusable]);
      const misplaced = new Promise<never>((_resolve, reject) => {
        placements.onBroken = reject;
      });
      const source = this.#source(state, serving, backoff, sourceEnding.signal);
      await Promise.race([source, logging, housekeeping, unusable, damaged, misplaced]);
      return null;
    } catch (error) {
      if (!(error instanceof CopyNeeded)) throw error;
      sourceEnding.abort();
      const quiesce = async (): Promise<void> => {
        state.disconnectAll(copyTaken(error.message));
        state.facts = null;
        stop();
        await placements.stop();
        await replica.stop();
        await Promise.allSettled([logging, housekeeping]);
      };
      // Who is attached goes on reading what is there, until the new copy is complete.
      await Promise.race([
        this.#copyUntilDone(state, error.message, quiesce, backoff, signal),
        logging.then(() => new Promise<never>(() => {})),
      ]);
      return null;
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
      unusable.catch(() => {});
      state.upstreamConnected = false;
      // Nobody may stay attached to what is not fed any more.
      state.facts = null;
      state.disconnectAll(signal.aborted ? shuttingDown() : servingAgain());
      await placements.stop();
      await replica.stop();
      await Promise.allSettled([logging, housekeeping]);
      this.#current = null;
    }
  }

  #replicaOptions(placements: readonly PlacementSpec[]): ReplicaOptions {
    const { self, listen, upstream, name, logLevel } = this.#options;
    const host = listen.host === '0.0.0.0' || listen.host === '::' ? '127.0.0.1' : listen.host;
    const user = encodeURIComponent(self.user);
    const password = encodeURIComponent(self.password);
    const ssl = listen.tls === undefined ? 'disable' : 'require';
    return {
      name: this.#replicaName,
      path: this.#replicaPath,
      upstreamUrl: `postgres://${user}:${password}@${host.includes(':') ? `[${host}]` : host}:${this.#ports.port}/relay?sslmode=${ssl}&application_name=${encodeURIComponent(name)}`,
      tls: {},
      snapshotUrl: null,
      publication: upstream.publication,
      synchronous: 'normal',
      lazyMs: OWN_REPLICA_LAZY_MS,
      placements,
      logLevel,
    };
  }

  #makePlacements(): Placements {
    const { directory, placements = [] } = this.#options;
    const made = new Placements(
      { ...this.#deps, log: this.#log },
      {
        directory,
        logOptions: (folder) => this.#logOptionsIn(folder),
        hubOptions: HUB_DEFAULTS,
        publication: this.#options.upstream.publication,
        encoded: this.#deps.metrics.counter(RELAY_TRANSACTIONS_ENCODED, { relay: this.#options.name }),
        configured: placements,
      },
    );
    const core = this.#core;
    if (core !== null) made.nudge = () => core.commitSomething();
    return made;
  }

  get #replicaName(): string {
    return `${this.#options.name}.replica`;
  }

  /** A full disk does not end the service: positions are saved when there is room again. */
  #houseFailed(error: unknown): void {
    if (!(error instanceof Fault && error.code === 'disk-full')) throw error;
    this.#log.warn('relay.housekeeping-late', { message: describeError(error) });
  }

  async #keepHouse(state: RelayState, log: RelayLog): Promise<void> {
    const replica = state.slots.get(this.#replicaName)?.confirmedLsn ?? log.startLsn;
    const sentence = await log.retain({ replica, subscribers: state.slots.slowest(this.#replicaName) });
    if (sentence !== null) {
      this.#log.info('relay.log-trimmed', { message: sentence });
      const gone = state.slots.dropBefore(log.startLsn);
      if (gone.length > 0) {
        this.#log.warn('relay.subscribers-left-behind', {
          message: `these subscribers need a snapshot when they come back: ${gone.slice(0, 10).join(', ')}`,
          count: gone.length,
        });
      }
    }
    await state.placements.retain(state.slots.slowest(this.#replicaName));
    await state.slots.save();
  }

  // Source.

  /** Streams from the upstream, again and again. Ends when the signal aborts; throws CopyNeeded. */
  async #source(state: RelayState, serving: Serving, backoff: Backoff, signal: AbortSignal): Promise<void> {
    this.#phase = 'lost';
    while (!signal.aborted) {
      try {
        if (this.#core === null) await this.#streamFromRelay(state, serving, backoff, signal);
        else await this.#streamFromCore(this.#core, state, serving, backoff, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof CopyNeeded) throw error;
        if (error instanceof Fault && (error.code === 'publication-changed' || error.code === 'schema-needs-copy'))
          throw new CopyNeeded(error.message);
        const waitMs = backoff.next();
        this.#phase = 'lost';
        state.reason = describeError(error);
        this.#log[backoff.failures > 5 ? 'error' : 'warn']('relay.upstream-lost', {
          message: describeError(error),
          retryInMs: Math.round(waitMs),
        });
        await sleepQuietly(this.#deps.clock, waitMs, signal);
      } finally {
        state.upstreamConnected = false;
      }
    }
  }

  async #streamFromCore(
    core: Core,
    state: RelayState,
    serving: Serving,
    backoff: Backoff,
    signal: AbortSignal,
  ): Promise<void> {
    await core.setUp();
    const observed = await core.observe();
    const position = { epoch: serving.log.epoch, lsn: serving.log.endLsn };
    const decision = decideResume({ position, publication: this.#publication }, observed);
    state.reason = decision.sentence;
    switch (decision.tag) {
      case 'wait':
        this.#log.warn('relay.slot-busy', { message: decision.sentence });
        await sleepQuietly(this.#deps.clock, SLOT_BUSY_WAIT_MS, signal);
        return;
      case 'copy':
        this.#log.error('relay.copy-needed', { message: decision.sentence });
        throw new CopyNeeded(decision.sentence);
      case 'follow':
        this.#log.warn('relay.timeline', { message: decision.sentence });
        await this.#changeTimeline(state, serving, decision.epoch.timeline, observed.timelineHistory);
        break;
      case 'resume':
        this.#log.info('relay.resume', { message: decision.sentence });
        if (serving.log.timelineHistory !== observed.timelineHistory) {
          await serving.log.changeTimeline(observed.epoch.timeline, observed.timelineHistory);
        }
        break;
    }
    await using upstream = await connectUpstream(this.#deps, core.options.client);
    try {
      await this.#stream(state, serving, backoff, signal, {
        upstream,
        slot: core.options.slot,
        streaming: true,
        ...(core.hasEventTriggers ? {} : { relationChanged: schemaInjector(core, this.#replicaPath) }),
      });
    } catch (error) {
      // What is to be sent was committed without slot or publication: one that is made later does not help.
      if (error instanceof ServerError && error.sqlstate === UNDEFINED_OBJECT) throw new CopyNeeded(error.message);
      throw error;
    }
  }

  async #streamFromRelay(state: RelayState, serving: Serving, backoff: Backoff, signal: AbortSignal): Promise<void> {
    const { client } = this.#options.upstream;
    await using upstream = await connectUpstream(this.#deps, { ...client, serverMajorMin: 0 });
    const identity = await upstream.identify();
    const { log } = serving;
    if (identity.epoch.systemId !== log.epoch.systemId) {
      throw new CopyNeeded(epochChanged(log.epoch, identity.epoch).message);
    }
    const history = await upstream.timelineHistory(identity.epoch.timeline);
    if (!sameEpoch(identity.epoch, log.epoch)) {
      const left = switchPoint(history, log.epoch.timeline);
      if (identity.epoch.timeline < log.epoch.timeline || left === null || log.endLsn > left) {
        throw new CopyNeeded(epochChanged(log.epoch, identity.epoch).message);
      }
      await this.#changeTimeline(state, serving, identity.epoch.timeline, history);
    } else if (log.timelineHistory !== history) {
      await log.changeTimeline(identity.epoch.timeline, history);
    }
    try {
      await this.#stream(state, serving, backoff, signal, {
        upstream,
        slot: this.#options.name,
        streaming: false,
        history: state.placements.mainHistory,
      });
    } catch (error) {
      if (error instanceof ServerError && (error.sqlstate === '58P01' || error.sqlstate === '22023')) {
        throw new CopyNeeded(error.message);
      }
      throw error;
    }
  }

  async #stream(
    state: RelayState,
    serving: Serving,
    backoff: Backoff,
    signal: AbortSignal,
    from: {
      readonly upstream: Awaited<ReturnType<typeof connectUpstream>>;
      readonly slot: string;
      readonly streaming: boolean;
      readonly history?: string;
      readonly relationChanged?: NonNullable<AssemblerSink['relationChanged']>;
    },
  ): Promise<void> {
    const feeder = new HubFeeder({ ...this.#deps, log: this.#log }, serving.hub, {
      spoolDirectory: `${this.#options.directory}/spool`,
      publication: this.#options.upstream.publication,
      ...(from.relationChanged === undefined ? {} : { relationChanged: from.relationChanged }),
    });
    const startedMs = this.#deps.clock.now();
    feeder.onProof = () => {
      for (const subscription of state.subscribers) if (subscription.placement === null) subscription.prove();
    };
    // What placements are sent comes by way of our replica, and so does the proof.
    state.placements.onProof = () => {
      for (const subscription of state.subscribers) if (subscription.placement !== null) subscription.prove();
    };
    feeder.onHeard = () => {
      this.#phase = 'streaming';
      state.reason = 'following the upstream';
      state.upstreamConnected = true;
      state.placements.upstreamHeard();
    };
    this.#feeder = feeder;
    try {
      await from.upstream.stream(
        {
          slot: from.slot,
          from: serving.hub.endLsn,
          publications: [this.#options.upstream.publication],
          protocolVersion: from.streaming ? 2 : 1,
          streaming: from.streaming,
          ...(from.history === undefined ? {} : { history: from.history }),
        },
        feeder,
        UPSTREAM_TIMINGS,
        signal,
      );
    } finally {
      // Not at the first word: an upstream that speaks and then fails, again and again, must not be asked ten times a second.
      if (this.#deps.clock.now() - startedMs > HEALTHY_AFTER_MS) backoff.reset();
      await feeder.close();
    }
  }

  /** The history goes on in a new timeline; who is attached has to look at it himself. */
  async #changeTimeline(state: RelayState, serving: Serving, timeline: number, history: string): Promise<void> {
    await serving.log.changeTimeline(timeline, history);
    await state.placements.changeTimeline(serving.log.epoch, history);
    if (state.facts !== null) state.facts = { ...state.facts, epoch: serving.log.epoch };
    state.disconnectAll(
      new Fault('timeline-changed', {
        message: `the core failed over to timeline ${timeline}`,
        hint: 'connect again',
        sqlstate: '57P01',
        retryable: true,
      }),
    );
  }

  // Copies.

  /** Tries to copy again and again while the old state is served. */
  async #copyUntilDone(
    state: RelayState,
    reason: string,
    quiesce: () => Promise<void>,
    backoff: Backoff,
    signal: AbortSignal,
  ): Promise<void> {
    let quiet = false;
    while (!signal.aborted) {
      try {
        await this.#takeCopy(
          state,
          reason,
          () => {
            quiet = true;
            return quiesce();
          },
          signal,
        );
        return;
      } catch (error) {
        if (signal.aborted || quiet) throw error;
        const waitMs = backoff.next();
        this.#log.error('relay.copy-failed', { message: describeError(error), retryInMs: Math.round(waitMs) });
        await sleepQuietly(this.#deps.clock, waitMs, signal);
      }
    }
  }

  /** Takes a new copy beside what is served, then puts it in place. `quiesce` ends the serving of the old one. */
  async #takeCopy(
    state: RelayState,
    reason: string,
    quiesce: (() => Promise<void>) | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { disk } = this.#deps;
    const { upstream, directory } = this.#options;
    this.#phase = quiesce === null ? 'bootstrapping' : 'lost';
    state.reason = `copying, because ${reason}`;
    this.#log.warn('relay.copy', { message: state.reason });
    const target = `${directory}/copy.sqlite`;
    let origin: LogOrigin;
    let source = target;
    try {
      if (this.#core !== null) {
        await this.#core.setUp();
        const copied = await this.#core.copy(disk, target, (progress) => (this.#progress = progress), signal);
        origin = {
          epoch: copied.position.epoch,
          startLsn: copied.position.lsn,
          timelineHistory: copied.timelineHistory,
        };
        this.#publication = copied.publication;
      } else {
        if (upstream.kind !== 'relay') throw new Error('assertion failed: an upstream is the core or a relay');
        const { user, password } = upstream.client.target;
        const received = await downloadSnapshot(
          this.#deps,
          {
            url: upstream.httpUrl,
            user,
            password: password?.reveal() ?? '',
            path: target,
            tls: upstream.client.target.tls,
          },
          signal,
        );
        source = received.path;
        origin = { epoch: received.position.epoch, startLsn: received.position.lsn, timelineHistory: '' };
      }
    } finally {
      this.#progress = null;
    }
    await quiesce?.();
    // Each step leaves something that the next start understands: the old log goes first, the new one comes last.
    await disk.remove(`${directory}/log/log.json`);
    await disk.remove(`${directory}/snapshots`);
    await disk.makeDirectory(`${directory}/snapshots`);
    await installSnapshot(disk, source, this.#replicaPath);
    await this.#writeMeta();
    const log = await this.#createLog(origin);
    await log.close();
    this.#log.warn('relay.copied', {
      message: `serving a new copy at ${formatPosition({ epoch: origin.epoch, lsn: origin.startLsn })}`,
    });
  }

  async #readMeta(): Promise<void> {
    const path = `${this.#options.directory}/relay.json`;
    if (!(await this.#deps.disk.exists(path))) return;
    try {
      const meta = JSON.parse(await this.#deps.disk.readText(path)) as { publication?: string | null };
      this.#publication = meta.publication ?? null;
    } catch {
      this.#publication = null;
    }
  }

  #writeMeta(): Promise<void> {
    return this.#deps.disk.writeTextAtomically(
      `${this.#options.directory}/relay.json`,
      JSON.stringify({ version: 1, publication: this.#publication }),
    );
  }

  async #leaveNothing(): Promise<void> {
    try {
      await this.#core?.dropSlot();
    } catch (error) {
      this.#log.error('relay.slot-left', {
        message: `the replication slot could not be dropped: ${describeError(error)}`,
      });
    }
  }

  #declareMetrics(): void {
    const { metrics } = this.#deps;
    const labels = { relay: this.#options.name };
    const number = (lsn: Lsn | undefined): number => Number(lsn ?? LSN_ZERO);
    metrics.gaugeOf(RELAY_POSITION_BYTES, labels, () => number(this.#current?.log.durableLsn));
    metrics.gaugeOf(RELAY_LAG_BYTES, labels, () => this.status().lagBytes);
    metrics.gaugeOf(RELAY_LOG_BYTES, labels, () => this.#current?.log.bytes ?? 0);
    metrics.gaugeOf(RELAY_PLACEMENT_LOG_BYTES, labels, () => this.#state?.placements.logBytes ?? 0);
    metrics.gaugeOf(RELAY_SUBSCRIBERS, labels, () => this.#state?.subscriberCount ?? 0);
    metrics.gaugeOf(RELAY_UPSTREAM_CONNECTED, labels, () => (this.#state?.upstreamConnected === true ? 1 : 0));
  }
}

/** Faults that waiting does not mend and that a person has to look at. */
function isFatal(error: unknown): boolean {
  if (!(error instanceof Fault) || error.retryable) return false;
  return FATAL.has(error.code) || (error instanceof ServerError && FATAL_CLASSES.test(error.sqlstate));
}

const FATAL = new Set([
  'password-wrong',
  'login-refused',
  'database-missing',
  'server-too-old',
  'password-missing',
  'tls-refused',
  'tls-untrusted',
  'snapshot-forbidden',
]);

/** Insufficient privilege; wal_level too low. */
const FATAL_CLASSES = /^(42501|55000|0LP01)$/;

function requireSafe(
  listen: { readonly host: string; readonly tls?: TlsServerOptions },
  auth: RelayOptions['auth'],
): void {
  requireSafeListening({
    who: 'the relay',
    host: listen.host,
    hasTls: listen.tls !== undefined,
    hasAuthentication: auth.users.size > 0 || auth.acceptCertificates,
  });
}

function shuttingDown(): Fault {
  return new Fault('shutting-down', {
    message: 'the relay is shutting down',
    sqlstate: '57P01',
    retryable: true,
  });
}

function servingAgain(): Fault {
  return new Fault('serving-again', {
    message: 'the relay begins again with what it has',
    hint: 'connect again',
    sqlstate: '57P01',
    retryable: true,
  });
}

function copyTaken(reason: string): Fault {
  return new Fault('copy-taken', {
    message: `the relay took a new copy: ${reason}`,
    hint: 'connect again; a snapshot will be needed',
    sqlstate: '57P01',
    retryable: true,
  });
}
