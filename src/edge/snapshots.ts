// Snapshots of transaction blocks: one connection with an open read transaction each, for lookups, and when there is room a lane
// with one for scans. An open snapshot keeps SQLite from folding its log into the database, so that the log grows: their
// number, their age and that log are bounded.
//
//   open ──close──▶ given back        open ──too old, log too large──▶ expired: the block's next statement fails with 40001
//
// Loops: while there are any, one look at the bounds every CHECK_EVERY_MS.

import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Log } from '../observe/log.ts';
import { formatLsn, type Lsn } from '../pg/lsn.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { LocalEngine, PinnedReader, PreparedPlan } from './local.ts';
import type { PinnedLane, SlowLanes, SlowQuery } from './slow-lanes.ts';
import type { LocalPlan } from './sql/plan.ts';

const CHECK_EVERY_MS = 1000;

export interface SnapshotLimits {
  /** Blocks with a snapshot at once; one more is the core's. */
  readonly countMax: number;
  /** 0 = none. */
  readonly ageMsMax: number;
  /** Size of SQLite's log at which the oldest snapshot expires. 0 = none. */
  readonly logBytesMax: number;
}

/** Something that keeps SQLite's log from being folded in, and can be made to let go. */
export interface Hold {
  readonly sinceMs: number;
  /** Lets go, now or soon. `why`: one sentence. */
  expire(why: string): void;
  /** Statements wait for lanes: one that is kept and not used is to be let go of. */
  yieldLane?(): void;
}

export interface SnapshotsDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly log: Log;
  readonly engine: LocalEngine;
  readonly lanes: SlowLanes;
  /** Of the replica. */
  readonly path: string;
}

export class Snapshots {
  readonly #deps: SnapshotsDeps;
  readonly #limits: SnapshotLimits;
  /** In the order in which they began. */
  readonly #holds = new Set<Hold>();
  #count = 0;
  #timer: Disposable | null = null;

  constructor(deps: SnapshotsDeps, limits: SnapshotLimits) {
    this.#deps = deps;
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a snapshot now; null when there are too many, or none can be had. */
  open(): BlockSnapshot | null {
    if (this.#count >= this.#limits.countMax) return null;
    const { engine, lanes, clock } = this.#deps;
    // Before and beside it: what the lane finds later is the same, unless a table has changed between.
    const lane = lanes.pin();
    const pinned = engine.pin();
    if (pinned === null) {
      lane?.free();
      return null;
    }
    this.#count += 1;
    const snapshot: BlockSnapshot = new BlockSnapshot({ engine, lanes, pinned, lane }, clock.now(), () => {
      this.#count -= 1;
      this.letGo(snapshot);
    });
    this.hold(snapshot);
    return snapshot;
  }

  hold(hold: Hold): void {
    this.#holds.add(hold);
    this.#arm();
  }

  letGo(hold: Hold): void {
    this.#holds.delete(hold);
    if (this.#holds.size > 0) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = null;
  }

  /** A statement waits for a lane. */
  laneWanted(): void {
    for (const hold of this.#holds) hold.yieldLane?.();
  }

  close(): void {
    for (const hold of Array.from(this.#holds)) hold.expire('the edge stops');
    this.#timer?.[Symbol.dispose]();
    this.#timer = null;
  }

  #arm(): void {
    if (this.#timer !== null) return;
    this.#timer = this.#deps.clock.after(CHECK_EVERY_MS, () => {
      void this.#check()
        .catch((error: unknown) => this.#deps.log.error('edge.snapshots', { message: String(error) }))
        .then(() => {
          this.#timer = null;
          if (this.#holds.size > 0) this.#arm();
        });
    });
  }

  async #check(): Promise<void> {
    const { clock, log } = this.#deps;
    const { ageMsMax, logBytesMax } = this.#limits;
    const now = clock.now();
    const expire = (hold: Hold, why: string): void => {
      log.warn('edge.snapshot-expired', { message: why });
      this.#holds.delete(hold);
      hold.expire(why);
    };
    if (ageMsMax > 0) {
      for (const hold of Array.from(this.#holds)) {
        if (now - hold.sinceMs > ageMsMax) {
          expire(hold, `a snapshot was kept for more than ${Math.round(ageMsMax / 1000)} s (edge.snapshot_age_max)`);
        }
      }
    }
    if (logBytesMax === 0) return;
    const bytes = await this.#logBytes();
    const oldest = this.#holds.values().next().value;
    if (bytes <= logBytesMax || oldest === undefined) return;
    expire(oldest, `SQLite's log has grown to ${bytes} bytes under the oldest snapshot (edge.snapshot_log_bytes_max)`);
  }

  async #logBytes(): Promise<number> {
    try {
      await using file = await this.#deps.disk.open(`${this.#deps.path}-wal`, 'read');
      return await file.size();
    } catch {
      return 0;
    }
  }
}

export class BlockSnapshot implements Hold {
  readonly sinceMs: number;
  /** OIDs of the tables that the block has read from it. */
  readonly tables = new Set<number>();
  readonly #engine: LocalEngine;
  readonly #lanes: SlowLanes;
  readonly #closed: () => void;
  #pinned: PinnedReader | null;
  #lane: PinnedLane | null;
  /** Finishes what still reads from the lane. */
  #holder: (() => Promise<void>) | null = null;
  #isLaneBusy = false;
  #expired: string | null = null;
  readonly #lsn: Lsn;

  constructor(
    parts: {
      readonly engine: LocalEngine;
      readonly lanes: SlowLanes;
      readonly pinned: PinnedReader;
      readonly lane: PinnedLane | null;
    },
    sinceMs: number,
    closed: () => void,
  ) {
    this.#engine = parts.engine;
    this.#lanes = parts.lanes;
    this.#pinned = parts.pinned;
    this.#lane = parts.lane;
    this.#lsn = parts.pinned.lsn;
    this.sinceMs = sinceMs;
    this.#closed = closed;
  }

  /** Throws Fault `snapshot-too-old` (40001) when it had to be given up. Null: the schema has changed since. */
  prepare(plan: LocalPlan): PreparedPlan | null {
    return this.#engine.preparePinned(this.#open(), plan);
  }

  /** Runs a scan in it; null when no lane can. `FORWARD` is the first chunk when no lane has this snapshot. */
  async openSlow(
    plan: LocalPlan,
    values: readonly SqliteValue[],
    formats: readonly number[],
  ): Promise<SlowQuery | null> {
    const at = this.#open().lsn;
    const holder = this.#holder;
    this.#holder = null;
    await holder?.();
    const query = this.#lane?.open(plan, values, formats, at) ?? null;
    if (query !== null) {
      this.#isLaneBusy = true;
      return {
        next: (rowsMax) => query.next(rowsMax),
        kill: () => query.kill(),
        close: () => {
          query.close();
          this.#isLaneBusy = false;
          if (this.#pinned === null) this.#freeLane();
        },
      };
    }
    return await this.#lanes.open(plan, values, formats, at);
  }

  /** `finish`: makes a result that is not read to its end let go of the lane. */
  keepLane(finish: () => Promise<void>): void {
    this.#holder = finish;
  }

  /** True when all that was read is known to be the same at the position that the replica has reached. */
  isStillTrue(): boolean {
    return this.#pinned !== null && this.#engine.isUnchangedSince(this.#pinned, this.tables);
  }

  get lsnText(): string {
    return formatLsn(this.#lsn);
  }

  expire(why: string): void {
    this.#expired = why;
    this.close();
  }

  /** Gives everything back. Nothing may read from it any more. */
  close(): void {
    const pinned = this.#pinned;
    if (pinned === null) return;
    this.#pinned = null;
    const holder = this.#holder;
    this.#holder = null;
    const free = (): void => {
      if (!this.#isLaneBusy) this.#freeLane();
    };
    if (holder === null) free();
    else void holder().then(free);
    this.#engine.unpin(pinned);
    this.#closed();
  }

  #freeLane(): void {
    const lane = this.#lane;
    this.#lane = null;
    lane?.free();
  }

  #open(): PinnedReader {
    if (this.#pinned !== null) return this.#pinned;
    throw new Fault('snapshot-too-old', {
      message: 'could not serialize access: the snapshot of this transaction was given up',
      detail: this.#expired ?? 'the edge stops',
      hint: 'begin the transaction again, and keep it shorter',
      sqlstate: '40001',
      retryable: true,
    });
  }
}
