// Keeps a replica file equal to its upstream: subscribes, applies, commits, tells where it is; takes a snapshot when it cannot
// go on without a gap. Runs in a Worker (roles/replica-worker.ts), because applying is synchronous work.
//
//   starting ─▶ bootstrapping ─▶ streaming ⇄ lost ─▶ …          any ──position or history unusable──▶ bootstrapping

import { Backoff } from '../base/backoff.ts';
import type { Disk } from '../base/disk.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { Http } from '../base/http.ts';
import type { Packer } from '../base/pack.ts';
import { type Service, sleepQuietly } from '../base/service.ts';
import type { ChecksumReport, RoleStatus } from '../contracts/health.ts';
import type { PlacementSpec } from '../contracts/placement.ts';
import type { PlacementReport, ReplicaOptions } from '../contracts/replica-control.ts';
import type { ReplicaState } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import { formatLsn, formatPosition, type Lsn, LSN_ZERO, type Position } from '../pg/lsn.ts';
import { checksumTable } from '../replica/checksum.ts';
import { isStored, type TableLayout, tableLayout } from '../replica/layout.ts';
import { heldSql, resolvePlacement } from '../replica/placement/placement.ts';
import { placementInForce, writePlacedSnapshot } from '../replica/placement/snapshot.ts';
import { ReplicaReader } from '../replica/reader.ts';
import { writeSnapshot } from '../replica/snapshot.ts';
import { ReplicaWriter } from '../replica/writer.ts';
import type { ClientOptions, SessionWorld } from '../session/client-session.ts';
import { parseConnectionString } from '../session/connection-string.ts';
import { ServerError } from '../session/faults.ts';
import { PgoutputDecoder, type PgoutputMessage } from '../wire/pgoutput.ts';
import { downloadSnapshot, putInPlace } from './bootstrap.ts';
import { epochChanged } from './faults.ts';
import { TAG_RELATION } from './frames.ts';
import {
  connectUpstream,
  type StreamPositions,
  type StreamReceiver,
  switchPoint,
  type Upstream,
  UPSTREAM_TIMINGS,
} from './upstream.ts';

export interface FollowerDeps extends SessionWorld {
  readonly disk: Disk;
  readonly http: Http;
  readonly packer: Packer;
  readonly log: Log;
}

const RECONNECT = { firstMs: 50, maxMs: 5000 } as const;
/** A connection that lasted this long after its first word was a healthy one: the waits begin at the shortest again. */
const HEALTHY_AFTER_MS = 3000;
/** Between one snapshot and the next, when the first did not help. */
const SNAPSHOT_AGAIN = { firstMs: 500, maxMs: 60_000 } as const;

/** A lazy replica does not pause after a batch of more messages than this: it is behind. */
const LAZY_MESSAGES_MAX = 500;

/** Faults after which only a snapshot helps. */
const UNUSABLE = new Set([
  'replica-diverged',
  'replica-schema-unknown',
  'replica-file-invalid',
  'position-not-in-log',
  'position-ahead',
  'epoch-changed',
]);

/** SQLSTATEs with which a relay refuses a position (see faults.ts). */
const UNUSABLE_SQLSTATES = new Set(['58P01', '22023']);

/** Applying pauses here and there, so that timers and status messages get their turn even within one chunk. */
interface Gate {
  /** Transactions that commit after this LSN wait. */
  lsn: Lsn;
  timer: Disposable | null;
  /** A checksum made it and removes it again. */
  readonly temporary: boolean;
}

export class Follower implements Service {
  readonly name = 'replica.follower';
  readonly #deps: FollowerDeps;
  readonly #options: ReplicaOptions;
  readonly #client: ClientOptions;
  readonly #backoff: Backoff;
  readonly #snapshotBackoff: Backoff;
  /** When this connection was first heard; Infinity before that. */
  #heardAtMs = Infinity;
  /** True from a snapshot until a commit was applied to it: until then nothing shows that it helped. */
  #isSnapshotUnproven = false;
  #writer: ReplicaWriter | null = null;
  #state: ReplicaState = {
    state: 'starting',
    reason: 'the replica was not opened yet',
    epoch: null,
    position: LSN_ZERO,
    upstreamPosition: LSN_ZERO,
    proofs: 0,
    generation: 0,
    schemaVersion: 0,
    rows: 0,
    tables: 0,
  };
  /** Everything up to here is known to be in the replica: its last transaction, or a keepalive after it. */
  #covered: Lsn = LSN_ZERO;
  #gate: Gate | null = null;
  /** Commit LSN of the transaction that waits at the gate, and how to let it through. */
  #blocked: { readonly finalLsn: Lsn; readonly open: () => void } | null = null;
  #moved: (() => void)[] = [];
  /** What is to be derived; null where nothing ever is. */
  #placements: readonly PlacementSpec[] | null;
  /** It changed while a transaction was being applied. */
  #placementsChanged = false;

  /** Called after each change; the state is replaced as a whole. */
  onState: (state: ReplicaState) => void = () => {};

  constructor(deps: FollowerDeps, options: ReplicaOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#client = {
      target: parseConnectionString(options.upstreamUrl, { applicationName: options.name }),
      tls: options.tls,
      // A relay tells the core's version; which it is does not matter here.
      serverMajorMin: 0,
    };
    this.#backoff = new Backoff(deps.random, RECONNECT);
    this.#placements = options.placements ?? null;
    this.#snapshotBackoff = new Backoff(deps.random, SNAPSHOT_AGAIN);
  }

  get state(): ReplicaState {
    return this.#state;
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        try {
          if (!this.#open()) await this.#bootstrap(signal);
          await this.#follow(signal);
        } catch (error) {
          if (signal.aborted) break;
          await this.#failed(error, signal);
        }
      }
    } finally {
      this.#setState({ state: 'stopping', reason: 'told to stop' });
      this.#close();
    }
  }

  async #failed(error: unknown, signal: AbortSignal): Promise<void> {
    // A first word is not health: with a full disk every connection begins well.
    if (this.#deps.clock.now() - this.#heardAtMs > HEALTHY_AFTER_MS) this.#backoff.reset();
    this.#heardAtMs = Infinity;
    const waitMs = this.#backoff.next();
    const message = describeError(error);
    if (isUnusable(error)) {
      this.#deps.log.error('replica.unusable', {
        message: `the replica cannot go on: ${message}; it is replaced by a snapshot`,
      });
      if (this.#isSnapshotUnproven) await sleepQuietly(this.#deps.clock, this.#snapshotBackoff.next(), signal);
      await this.#bootstrapUntilDone(message, signal);
      this.#isSnapshotUnproven = true;
      return;
    }
    // Louder the longer it lasts.
    const level = this.#backoff.failures > 5 ? 'error' : 'warn';
    this.#deps.log[level]('replica.upstream-lost', { message, retryInMs: Math.round(waitMs) });
    this.#writer?.rollback();
    this.#setState({ state: this.#writer === null ? this.#state.state : 'lost', reason: message });
    await sleepQuietly(this.#deps.clock, waitMs, signal);
  }

  async #bootstrapUntilDone(reason: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#writer?.rollback();
        this.#setState({ reason: `taking a snapshot: ${reason}` });
        await this.#bootstrap(signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Fault && error.code === 'replica-orphaned') throw error;
        this.#deps.log.warn('replica.snapshot-failed', { message: describeError(error) });
        this.#setState({
          state: this.#writer === null ? 'bootstrapping' : 'lost',
          reason: `no snapshot yet: ${describeError(error)}`,
        });
        await sleepQuietly(this.#deps.clock, this.#backoff.next(), signal);
      }
    }
  }

  /** False when there is no replica that could be opened. */
  #open(): boolean {
    if (this.#writer !== null) return true;
    try {
      this.#writer = ReplicaWriter.open(this.#options.path, { synchronous: this.#options.synchronous });
    } catch (error) {
      const missing = error instanceof Fault && (error.code === 'disk-failed' || error.code === 'replica-file-invalid');
      if (!missing) throw error;
      return false;
    }
    this.#covered = this.#writer.position.lsn;
    this.#wantPlacements(this.#writer);
    this.#setState({
      reason: 'the replica is open, the upstream not yet connected',
      state: 'lost',
      generation: this.#state.generation + 1,
    });
    return true;
  }

  #close(): void {
    this.#writer?.close();
    this.#writer = null;
  }

  async #bootstrap(signal: AbortSignal): Promise<void> {
    const { snapshotUrl } = this.#options;
    if (snapshotUrl === null) {
      throw new Fault('replica-orphaned', {
        message: 'the replica is unusable, and nobody was named who has a snapshot',
      });
    }
    const { user, password } = this.#client.target;
    if (this.#writer === null)
      this.#setState({ state: 'bootstrapping', reason: 'downloading a snapshot from the relay' });
    const { path, position } = await downloadSnapshot(
      this.#deps,
      {
        url: snapshotUrl,
        user,
        password: password?.reveal() ?? '',
        path: this.#options.path,
        tls: this.#options.tls,
      },
      signal,
    );
    this.#close();
    await putInPlace(this.#deps.disk, path, this.#options.path);
    this.#deps.log.warn('replica.replaced', {
      message: `the replica is a new snapshot at ${formatPosition(position)} now`,
    });
    this.#open();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const writer = this.#writer;
    if (writer === null) return;
    await using upstream = await connectUpstream(this.#deps, this.#client);
    const identity = await upstream.identify();
    await this.#checkEpoch(writer, upstream, identity.epoch);
    this.#setState({ upstreamPosition: max(this.#state.upstreamPosition, identity.flushLsn) });
    const receiver = this.#receiver(writer);
    const start = {
      slot: this.#options.name,
      from: writer.position.lsn,
      publications: [this.#options.publication],
      protocolVersion: 1,
      streaming: false,
      history: writer.catalogue.server.placement?.history ?? '',
    } as const;
    this.#deps.log.info('replica.following', {
      message: `following ${identity.epoch.systemId}/${identity.epoch.timeline} after ${formatLsn(start.from)}`,
    });
    try {
      await upstream.stream(start, receiver, UPSTREAM_TIMINGS, signal);
    } finally {
      this.#blocked = null;
      if (!writer.isInTransaction) writer.flush();
      else writer.rollback();
    }
  }

  async #checkEpoch(writer: ReplicaWriter, upstream: Upstream, epoch: Position['epoch']): Promise<void> {
    const own = writer.position.epoch;
    if (own.systemId !== epoch.systemId) throw epochChanged(own, epoch);
    if (own.timeline === epoch.timeline) return;
    const left = switchPoint(await upstream.timelineHistory(epoch.timeline), own.timeline);
    if (epoch.timeline < own.timeline || left === null || writer.position.lsn > left) throw epochChanged(own, epoch);
    writer.setEpoch(epoch);
    this.#deps.log.info('replica.timeline', {
      message: `the core failed over; timeline ${epoch.timeline} contains all we have`,
    });
  }

  #receiver(writer: ReplicaWriter): StreamReceiver {
    const { lazyMs = 0 } = this.#options;
    let batchMessages = 0;
    const decoder = new PgoutputDecoder();
    const relations = new Map<number, Buffer>();
    let upstreamPosition = this.#state.upstreamPosition;
    let heard = false;
    const apply = (message: PgoutputMessage): void => {
      writer.apply(message);
    };
    const hear = (): void => {
      if (heard) return;
      heard = true;
      this.#heardAtMs = this.#deps.clock.now();
      this.#setState({ state: 'streaming', reason: 'following the upstream' });
    };
    return {
      message: (buffer, start, end) => {
        if (!heard) hear();
        batchMessages += 1;
        if (buffer[start] === TAG_RELATION && isRepeated(relations, buffer, start, end)) return null;
        const message = decoder.decode(buffer, start, end);
        if (message.tag !== 'begin' || this.#gate === null || message.finalLsn < this.#gate.lsn) {
          apply(message);
          return null;
        }
        this.#commit(writer, upstreamPosition);
        return this.#waitAtGate(message.finalLsn).then(() => apply(message));
      },
      keepalive: (lsn, isProof) => {
        hear();
        if (lsn > upstreamPosition) upstreamPosition = lsn;
        if (writer.isInTransaction) return;
        this.#covered = max(this.#covered, lsn);
        this.#commit(writer, upstreamPosition);
        if (isProof && this.#covered >= upstreamPosition) this.#setState({ proofs: this.#state.proofs + 1 });
      },
      flush: () => {
        if (!writer.isInTransaction) this.#commit(writer, upstreamPosition);
        const mayPause = batchMessages > 0 && batchMessages <= LAZY_MESSAGES_MAX;
        batchMessages = 0;
        // What placements are sent comes from here: then it hurries.
        const isLazy = lazyMs > 0 && (this.#placements?.length ?? 0) === 0;
        return isLazy && mayPause ? this.#deps.clock.sleep(lazyMs) : null;
      },
      positions: (): StreamPositions => {
        const flushed = max(writer.position.lsn, writer.pendingTransactions === 0 ? this.#covered : LSN_ZERO);
        return { written: max(writer.appliedLsn, flushed), flushed, applied: flushed };
      },
    };
  }

  /** Commits what is applied and tells it. Called often; does nothing when nothing changed. */
  #commit(writer: ReplicaWriter, upstreamPosition: Lsn): void {
    if (writer.isInTransaction) return;
    if (this.#placementsChanged) this.#wantPlacements(writer);
    if (writer.pendingTransactions > 0) {
      writer.flush();
      if (this.#isSnapshotUnproven) {
        this.#isSnapshotUnproven = false;
        this.#snapshotBackoff.reset();
      }
    }
    this.#covered = max(this.#covered, writer.position.lsn);
    const upstream = max(upstreamPosition, this.#covered);
    if (this.#covered === this.#state.position && upstream === this.#state.upstreamPosition) return;
    this.#setState({ upstreamPosition: upstream });
    const moved = this.#moved;
    if (moved.length === 0) return;
    this.#moved = [];
    for (const wake of moved) wake();
  }

  #setState(
    change: Partial<Pick<ReplicaState, 'reason' | 'upstreamPosition' | 'generation' | 'proofs'>> & {
      state?: RoleStatus['state'];
    },
  ): void {
    const writer = this.#writer;
    this.#state = {
      ...this.#state,
      ...change,
      ...(writer === null
        ? {}
        : {
            epoch: writer.position.epoch,
            position: this.#covered,
            schemaVersion: writer.catalogue.version,
            rows: writer.rowCountTotal,
            tables: writer.catalogue.tableCount,
          }),
    };
    this.onState(this.#state);
  }

  // Holding still, for comparisons at exactly one position.

  #waitAtGate(finalLsn: Lsn): Promise<void> {
    return new Promise((resolve) => {
      this.#blocked = {
        finalLsn,
        open: () => {
          this.#blocked = null;
          resolve();
        },
      };
      const moved = this.#moved;
      this.#moved = [];
      for (const wake of moved) wake();
    });
  }

  #setGate(lsn: Lsn, forMs: number, temporary: boolean): void {
    this.#gate?.timer?.[Symbol.dispose]();
    this.#gate = { lsn, timer: this.#deps.clock.after(forMs, () => this.release()), temporary };
    if (this.#blocked !== null && this.#blocked.finalLsn < lsn) this.#blocked.open();
  }

  /** Stops applying for at most `forMs`. Gives the position at which it stands. */
  hold(forMs: number): Lsn {
    // What is being applied right now is finished first; the next transaction waits.
    this.#setGate(LSN_ZERO, forMs, false);
    return this.#covered;
  }

  release(): void {
    this.#gate?.timer?.[Symbol.dispose]();
    this.#gate = null;
    this.#blocked?.open();
  }

  /** See `ReplicaControl.checksum`. */
  async checksum(
    at: Lsn | null,
    waitMs: number,
    placement: string | null,
    signal?: AbortSignal,
  ): Promise<ChecksumReport> {
    if (at !== null) await this.#reach(at, waitMs);
    const reader = this.#snapshotReader();
    // Where a placement leaves out what happened last, only keepalives move the position.
    const covered = at ?? this.#covered;
    const temporary = this.#gate?.temporary === true;
    if (temporary) this.release();
    try {
      const { position } = reader.state();
      const tables = [];
      for (const { layout, where } of checkedTables(reader, placement)) {
        const steps = checksumTable(reader.sqlite, layout, this.#deps.crypto, where);
        for (;;) {
          const step = steps.next();
          if (step.done === true) {
            tables.push(step.value);
            break;
          }
          await new Promise<void>((resolve) => this.#deps.clock.soon(resolve));
          if (signal?.aborted === true) throw signal.reason;
        }
      }
      tables.sort((a, b) => (a.table < b.table ? -1 : 1));
      return {
        name: this.#options.name,
        epoch: position.epoch,
        position: formatLsn(max(position.lsn, covered)),
        ...placementOfReport(reader, placement),
        tables,
      };
    } finally {
      reader.end();
      reader.close();
    }
  }

  /** Writes a copy of the replica. Blocks this thread while it writes. */
  snapshot(target: string, placement: string | null): Position {
    if (this.#writer === null) throw notYet(this.#state);
    if (placement !== null) return writePlacedSnapshot(this.#options.path, target, placement);
    return writeSnapshot(this.#options.path, target);
  }

  // Placements, in a relay.

  setPlacements(specs: readonly PlacementSpec[]): PlacementReport {
    this.#placements = specs;
    this.#placementsChanged = true;
    if (this.#writer !== null && !this.#writer.isInTransaction) this.#wantPlacements(this.#writer);
    return this.placements();
  }

  placements(): PlacementReport {
    if (this.#writer === null || this.#placements === null) throw notYet(this.#state);
    const deriver = this.#writer.derive();
    return {
      inForce: deriver.inForce,
      isWaiting: deriver.isWaiting || this.#placementsChanged,
      problems: Object.fromEntries(deriver.problems),
    };
  }

  derivedDurable(id: number): void {
    if (this.#placements !== null) this.#writer?.derive().consumed(id);
  }

  #wantPlacements(writer: ReplicaWriter): void {
    this.#placementsChanged = false;
    if (this.#placements === null) return;
    writer.wantPlacements(this.#placements);
    this.#setState({});
  }

  #snapshotReader(): ReplicaReader {
    if (this.#writer === null) throw notYet(this.#state);
    const reader = new ReplicaReader(this.#options.path);
    reader.begin();
    return reader;
  }

  async #reach(at: Lsn, waitMs: number): Promise<void> {
    const held = this.#gate !== null && !this.#gate.temporary;
    const passed = (): boolean => (this.#writer?.position.lsn ?? LSN_ZERO) > at;
    if (passed()) throw positionPassed(at, this.#writer?.position.lsn ?? LSN_ZERO);
    this.#setGate(at, waitMs, !held);
    let late = false;
    using _timer = this.#deps.clock.after(waitMs, () => {
      late = true;
      for (const wake of this.#moved.splice(0)) wake();
    });
    while (!(this.#covered >= at || (this.#blocked !== null && this.#blocked.finalLsn >= at))) {
      if (late) {
        throw new Fault('position-not-reached', {
          message: `the replica did not reach ${formatLsn(at)} within ${waitMs} ms; it is at ${formatLsn(this.#covered)}`,
          sqlstate: '55000',
          retryable: true,
        });
      }
      await new Promise<void>((resolve) => this.#moved.push(resolve));
    }
    if (passed()) throw positionPassed(at, this.#writer?.position.lsn ?? LSN_ZERO);
  }
}

/** The tables to sum up, with SQL of the rows that count. */
function checkedTables(
  reader: ReplicaReader,
  placement: string | null,
): { readonly layout: TableLayout; readonly where: string }[] {
  const catalogue = reader.catalogue();
  if (placement === null) {
    return [...catalogue.tables()]
      .filter(isStored)
      .map((image) => ({ layout: tableLayout(image, catalogue), where: '1' }));
  }
  const { spec } = placementInForce(reader.sqlite, placement);
  return [...resolvePlacement(spec, catalogue).held.values()].map((held) => ({
    layout: tableLayout(held.image, catalogue),
    where: heldSql(held, catalogue),
  }));
}

function placementOfReport(reader: ReplicaReader, asked: string | null): { readonly placement?: string } {
  const placement = asked ?? reader.catalogue().server.placement?.name;
  return placement === undefined ? {} : { placement };
}

function isRepeated(seen: Map<number, Buffer>, buffer: Buffer, start: number, end: number): boolean {
  const relation = buffer.readUInt32BE(start + 1);
  const bytes = buffer.subarray(start, end);
  const known = seen.get(relation);
  if (known !== undefined && known.equals(bytes)) return true;
  seen.set(relation, Buffer.from(bytes));
  return false;
}

function isUnusable(error: unknown): boolean {
  if (error instanceof ServerError) return UNUSABLE_SQLSTATES.has(error.sqlstate);
  return error instanceof Fault && UNUSABLE.has(error.code);
}

function positionPassed(at: Lsn, position: Lsn): Fault {
  return new Fault('position-passed', {
    message: `the replica is at ${formatLsn(position)} already, beyond ${formatLsn(at)}`,
    hint: 'hold the replica before asking for a position',
    sqlstate: '55000',
    retryable: true,
  });
}

function notYet(state: ReplicaState): Fault {
  return new Fault('replica-not-ready', {
    message: `there is no replica yet: ${state.reason}`,
    sqlstate: '57P03',
    retryable: true,
  });
}

function max(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
