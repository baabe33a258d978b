// Statements that may scan run in child processes: SQLite cannot be interrupted in the middle of a statement, but a process
// can be killed. A child is started when it is first needed, kept, and replaced after a kill.
//
//   idle ──open──▶ taken ──next … next──▶ done ──close──▶ idle
//                    └──kill (cancel, timeout, client gone)──▶ gone

import type { WorkerHandle } from '../base/worker.ts';
import { Fault } from '../base/fault.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { Lsn } from '../pg/lsn.ts';
import type { LocalPlan } from './sql/plan.ts';

export interface SlowFile {
  readonly path: string;
  /** Another generation is another file under the same path. */
  readonly generation: number;
}

export type SlowRequest =
  | (SlowFile & {
      readonly type: 'open';
      readonly plan: LocalPlan;
      readonly values: readonly SqliteValue[];
      readonly formats: readonly number[];
      /** The plan is only good for this version of the catalogue. */
      readonly catalogueVersion: number;
      /** The answer has to be what it was at this position; null = at whatever position the lane is now. */
      readonly at: Lsn | null;
    })
  /** The lane is to take a snapshot now, and to keep it until `unpin`. */
  | (SlowFile & { readonly type: 'pin' })
  | { readonly type: 'unpin' }
  | { readonly type: 'next' /** 0 = as many as fit into a chunk. */; readonly rowsMax: number }
  | { readonly type: 'close' };

/** Answer to `next`; `open` and `close` have none. */
export interface SlowChunk {
  /** Whole DataRow frames. */
  readonly bytes: Uint8Array;
  readonly rows: number;
  readonly done: boolean;
  /** Nothing was sent yet and the core has to answer: SQLite refused, or the catalogue has changed. */
  readonly forward: boolean;
}

export type SlowWorker = WorkerHandle<SlowRequest, SlowChunk>;

export interface SlowLanesOptions {
  readonly lanesMax: number;
  /** Lanes kept, beyond those, for transaction blocks that read from one snapshot. */
  readonly pinnedMax: number;
  /** Statements that may wait for a lane; one more is forwarded to the core. */
  readonly waitingMax: number;
  readonly path: string;
  readonly generation: () => number;
  readonly catalogueVersion: () => number;
}

export interface SlowQuery {
  /** The next rows. Rejects when the lane was killed. */
  next(rowsMax: number): Promise<SlowChunk>;
  /** Done with it, at whatever point: the lane is free again. */
  close(): void;
  /** Stops the work now. */
  kill(): void;
}

/** A lane that one transaction block has to itself, with one snapshot. One statement at a time. */
export interface PinnedLane {
  /** Null when the lane is gone. */
  open(plan: LocalPlan, values: readonly SqliteValue[], formats: readonly number[], at: Lsn | null): SlowQuery | null;
  /** Gives the snapshot and the lane back. No statement may be open. */
  free(): void;
}

export class SlowLanes {
  readonly #start: () => SlowWorker;
  readonly #options: SlowLanesOptions;
  #idle: SlowWorker[] = [];
  readonly #all = new Set<SlowWorker>();
  /** Who is to be told when a taken child dies. */
  readonly #running = new Map<SlowWorker, (why: string) => void>();
  #taken = 0;
  #pinned = 0;
  #waiting: ((worker: SlowWorker | null) => void)[] = [];
  #closed = false;

  constructor(start: () => SlowWorker, options: SlowLanesOptions) {
    this.#start = start;
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Statements wait for a lane: whoever holds one without using it should let go. */
  get areWanted(): boolean {
    return this.#waiting.length > 0;
  }

  /** Called when a statement begins to wait for a lane. */
  onWanted: () => void = () => {};

  /** Begins a statement; null when all lanes are taken and enough statements wait already. */
  async open(
    plan: LocalPlan,
    values: readonly SqliteValue[],
    formats: readonly number[],
    at: Lsn | null = null,
  ): Promise<SlowQuery | null> {
    const worker = await this.#take();
    if (worker === null) return null;
    this.#begin(worker, plan, values, formats, at, this.#options.generation());
    return this.#query(
      worker,
      () => this.#release(worker),
      () => this.#freed(),
    );
  }

  /** A lane whose snapshot is of now and stays; null when there are enough of them. */
  pin(): PinnedLane | null {
    if (this.#closed || this.#pinned >= this.#options.pinnedMax) return null;
    let worker: SlowWorker;
    try {
      worker = this.#idle.pop() ?? this.#started();
    } catch {
      return null;
    }
    this.#pinned += 1;
    let isHeld = true;
    const letGo = (): void => {
      if (!isHeld) return;
      isHeld = false;
      this.#pinned -= 1;
    };
    const { path, generation: now } = this.#options;
    const generation = now();
    worker.post({ type: 'pin', path, generation });
    void worker.exited.then(letGo);
    return {
      open: (plan, values, formats, at) => {
        if (!isHeld) return null;
        this.#begin(worker, plan, values, formats, at, generation);
        return this.#query(worker, NOTHING, NOTHING);
      },
      free: () => {
        if (!isHeld) return;
        letGo();
        worker.post({ type: 'unpin' });
        this.#idle.push(worker);
      },
    };
  }

  #begin(
    worker: SlowWorker,
    plan: LocalPlan,
    values: readonly SqliteValue[],
    formats: readonly number[],
    at: Lsn | null,
    generation: number,
  ): void {
    const { path, catalogueVersion } = this.#options;
    worker.post({
      type: 'open',
      path,
      generation,
      plan,
      values,
      formats,
      catalogueVersion: catalogueVersion(),
      at,
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const resolve of this.#waiting) resolve(null);
    this.#waiting = [];
    await Promise.all([...this.#all].map((worker) => worker.kill()));
  }

  /** `done`: the statement is done with the lane, which lives; `gone`: the lane died. */
  #query(worker: SlowWorker, done: () => void, gone: () => void): SlowQuery {
    let pending: { resolve: (chunk: SlowChunk) => void; reject: (error: unknown) => void } | null = null;
    let state: 'open' | 'closed' | 'gone' = 'open';
    worker.onMessage = (chunk) => {
      const waiting = pending;
      pending = null;
      waiting?.resolve(chunk);
    };
    this.#running.set(worker, (why) => {
      state = 'gone';
      const waiting = pending;
      pending = null;
      waiting?.reject(laneGone(why));
      gone();
    });
    return {
      next: (rowsMax) =>
        new Promise((resolve, reject) => {
          if (state !== 'open') return reject(laneGone('was closed'));
          pending = { resolve, reject };
          worker.post({ type: 'next', rowsMax });
        }),
      close: () => {
        if (state !== 'open') return;
        // In the middle of a chunk the child does not listen.
        if (pending !== null) return void worker.kill();
        state = 'closed';
        this.#running.delete(worker);
        worker.post({ type: 'close' });
        done();
      },
      kill: () => {
        if (state === 'open') void worker.kill();
      },
    };
  }

  async #take(): Promise<SlowWorker | null> {
    if (this.#closed) return null;
    if (this.#taken >= this.#options.lanesMax) {
      if (this.#waiting.length >= this.#options.waitingMax) return null;
      return await new Promise((resolve) => {
        this.#waiting.push(resolve);
        this.onWanted();
      });
    }
    this.#taken += 1;
    try {
      return this.#idle.pop() ?? this.#started();
    } catch {
      // The machine has no room for another process: the core has to do.
      this.#taken -= 1;
      return null;
    }
  }

  #started(): SlowWorker {
    const worker = this.#start();
    this.#all.add(worker);
    void worker.exited.then((why) => {
      this.#all.delete(worker);
      this.#idle = this.#idle.filter((one) => one !== worker);
      const gone = this.#running.get(worker);
      this.#running.delete(worker);
      gone?.(why);
    });
    return worker;
  }

  #release(worker: SlowWorker): void {
    const next = this.#waiting.shift();
    if (next !== undefined) {
      next(worker);
      return;
    }
    this.#taken -= 1;
    this.#idle.push(worker);
  }

  /** A lane's child died: its place goes to whoever waits. */
  #freed(): void {
    this.#taken -= 1;
    const next = this.#waiting.shift();
    if (next !== undefined) void this.#take().then(next);
  }
}

const NOTHING = (): void => {};

function laneGone(why: string): Fault {
  return new Fault('slow-lane-gone', {
    message: `the process that ran this statement ${why}`,
    sqlstate: '57014',
    retryable: true,
  });
}
