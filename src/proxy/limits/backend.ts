// One server as far as this process uses it: its budget of transactions at once, the tenants (lanes) that share it, and the
// loop that judges them (`tick`, three times a second).
//
// Shares are max-min fair by what each tenant wanted during the last half minute. A tenant may always use its share. What is
// nobody's share may be borrowed. One slot more is kept for tenants that run nothing, so that a newcomer need not
// wait for somebody else's long statement.

import { assert } from '../../base/assert.ts';
import type { Lane } from './lane.ts';
import { judge } from './control.ts';
import { maxMinShares } from './max-min.ts';

/** Budgets smaller than this have no slot to spare for newcomers. */
const NEWCOMER_BUDGET_MIN = 4;

/** A queue that has been waited in for so long is under pressure: expensive statements step back. */
const PRESSURE_AFTER_MS = 100;

/** Newcomers make new shares at most this often; those in between get theirs at the next tick. */
const RESHARE_MS = 20;

export interface BackendOptions {
  readonly name: string;
  /** Transactions at once over all tenants; Infinity = no bound. */
  readonly budget: number;
  /** Somebody waits: with several workers others may have something to spare. */
  readonly starved: (lane: Lane) => void;
  /** Calls back after `ms`. */
  readonly after: (ms: number, task: () => void) => void;
  readonly now: () => number;
  readonly waitTimeoutMs: () => number;
  readonly changed: (lane: Lane, from: number, to: number, reason: string, now: number) => void;
}

export class Backend {
  readonly name: string;
  /** Transactions at once; Infinity = no bound. Changed by `setShare`. */
  budget: number;
  open = 0;
  /** Open beyond the shares of their tenants. */
  borrowed = 0;
  readonly lanes = new Set<Lane>();

  readonly #options: BackendOptions;
  /** Those that did something lately. */
  readonly #awake = new Set<Lane>();
  readonly #waiting = new Set<Lane>();
  #surplus = 0;
  #sharedAt = Number.NEGATIVE_INFINITY;
  #pumping = false;
  #pumpAgain = false;
  #wakeUpAt = Number.POSITIVE_INFINITY;

  constructor(options: BackendOptions) {
    this.#options = options;
    this.name = options.name;
    this.budget = options.budget;
    this.#surplus = this.#shareable;
  }

  get isBounded(): boolean {
    return this.budget !== Number.POSITIVE_INFINITY;
  }

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** How many this process uses and would use of the server: what a divider of budgets needs to know. */
  demand(now: number): { readonly used: number; readonly wanted: number } {
    let wanted = 0;
    for (const lane of this.#awake) wanted += lane.demand(now);
    return { used: this.open, wanted };
  }

  /** The part of the server's budget that is this process'. What runs beyond it ends in its own time. Infinity = no bound. */
  setShare(budget: number, now: number): void {
    if (budget === this.budget) return;
    this.budget = budget;
    this.#reshare(now);
    this.pump(now);
  }

  hasRoomFor(lane: Lane): boolean {
    if (this.open >= this.budget) return false;
    // A newcomer may have the last slot.
    if (lane.open === 0 || lane.open < lane.share) return true;
    return this.borrowed < this.#surplus;
  }

  wake(lane: Lane): void {
    this.#awake.add(lane);
  }

  /** `lane` has somebody waiting. */
  waits(lane: Lane, now: number): void {
    this.#waiting.add(lane);
    this.#options.starved(lane);
    if (lane.tenant.bucket !== null) this.#wakeForTokens(now);
  }

  /** Somebody without a share wants one. False when shares have just been made. */
  newcomer(now: number): boolean {
    if (!this.isBounded || now - this.#sharedAt < RESHARE_MS) return false;
    this.#reshare(now);
    return true;
  }

  changed(lane: Lane, from: number, to: number, reason: string, now: number): void {
    this.#options.changed(lane, from, to, reason, now);
  }

  /** The probe of one begins or ends: the others' means of before and after are not to be mixed. */
  loadChanges(by: Lane): void {
    for (const lane of this.#awake) if (lane !== by) lane.baselines.newEpoch();
  }

  /** Lets those run who may. Of several tenants the one furthest below its share comes first, then who waits longest. */
  pump(now: number): void {
    if (this.#pumping) {
      this.#pumpAgain = true;
      return;
    }
    this.#pumping = true;
    try {
      do {
        this.#pumpAgain = false;
        while (this.#admitOne(now)) {}
      } while (this.#pumpAgain);
    } finally {
      this.#pumping = false;
    }
    if (this.#waiting.size > 0) this.#wakeForTokens(now);
  }

  #admitOne(now: number): boolean {
    let best: Lane | null = null;
    for (const lane of this.#waiting) {
      if (lane.queue.length === 0) this.#waiting.delete(lane);
      else if (lane.mayEnter(now) && (best === null || comesBefore(lane, best))) best = lane;
    }
    if (best === null) return false;
    best.admitFirst(now);
    return true;
  }

  /** Tokens come by time alone, and nobody else would notice. */
  #wakeForTokens(now: number): void {
    let soonest = Number.POSITIVE_INFINITY;
    for (const lane of this.#waiting) {
      const { bucket } = lane.tenant;
      if (bucket === null) continue;
      const waitMs = bucket.waitMs(now);
      if (waitMs > 0) soonest = Math.min(soonest, now + waitMs);
    }
    if (soonest >= this.#wakeUpAt) return;
    this.#wakeUpAt = soonest;
    // A millisecond more than exact: a timer that is early would only be set again.
    this.#options.after(Math.ceil(soonest - now) + 1, () => {
      this.#wakeUpAt = Number.POSITIVE_INFINITY;
      this.pump(this.#options.now());
    });
  }

  /** Judges tenants, moves limits and shares, ends waits that took too long. */
  tick(now: number): void {
    const lanes = [...this.#awake];
    const { verdicts, active } = judge(lanes.map((lane) => lane.measure(now)));
    lanes.forEach((lane, index) => {
      const verdict = verdicts[index];
      assert(verdict !== undefined, 'a lane was not judged');
      lane.adapt(verdict, active, lanes[verdict.neighbour] ?? null, now);
      if (lane.mayFallAsleep(now)) this.#fallAsleep(lane);
    });
    this.#reshare(now);
    const waitTimeoutMs = this.#options.waitTimeoutMs();
    for (const lane of this.#waiting) {
      let oldest = lane.queue.oldest();
      if (oldest !== null && now - oldest.waitingSince >= PRESSURE_AFTER_MS) lane.queue.ranked = true;
      while (oldest !== null && waitTimeoutMs > 0 && now - oldest.waitingSince > waitTimeoutMs) {
        const fault = lane.tenant.overdue(lane, now - oldest.waitingSince);
        lane.queue.remove(oldest);
        oldest.waitingSince = 0;
        oldest.permissionRefused(fault);
        oldest = lane.queue.oldest();
      }
    }
    this.pump(now);
  }

  /** Its tenant is gone. */
  forget(lane: Lane): void {
    this.#fallAsleep(lane);
    this.#waiting.delete(lane);
    this.lanes.delete(lane);
  }

  #fallAsleep(lane: Lane): void {
    lane.isAwake = false;
    lane.load = 0;
    lane.share = 0;
    this.#awake.delete(lane);
  }

  get #shareable(): number {
    return this.budget >= NEWCOMER_BUDGET_MIN ? this.budget - 1 : this.budget;
  }

  #reshare(now: number): void {
    if (!this.isBounded) return;
    this.#sharedAt = now;
    const lanes = [...this.#awake];
    const demands = lanes.map((lane) => ({ wanted: lane.demand(now), weight: lane.tenant.limits.weight }));
    const shares = maxMinShares(this.#shareable, demands);
    let given = 0;
    let borrowed = 0;
    lanes.forEach((lane, index) => {
      lane.share = shares[index] as number;
      given += lane.share;
      borrowed += Math.max(0, lane.open - lane.share);
    });
    this.borrowed = borrowed;
    this.#surplus = this.#shareable - given;
  }
}

/** Who is further below its share; then who has somebody waiting longer. */
function comesBefore(a: Lane, b: Lane): boolean {
  const difference = below(a) - below(b);
  if (difference !== 0) return difference > 0;
  return (a.queue.oldest()?.waitingSince ?? 0) < (b.queue.oldest()?.waitingSince ?? 0);
}

/** How far below its share a tenant is, as a part of the share; without shares nobody is. */
function below(lane: Lane): number {
  return lane.share === 0 ? 0 : 1 - lane.open / lane.share;
}
