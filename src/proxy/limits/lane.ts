// One tenant on one server: who of it runs, who waits, how long its statements take, and how many may be at work.
//
//   open   permissions given out; each is good for one transaction, and has a server connection or waits for one
//   busy   those of them whose server is at work now: a client that thinks inside its transaction is open and not busy
//
// `busy` is held below the adaptive limit, `open` below the tenant's pool_size and its share of the server's budget. A
// statement inside an open transaction is never stopped. When a limit shrinks, what runs ends in its own time.

import { assert } from '../../base/assert.ts';
import type { Fault } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import { Baselines } from './baselines.ts';
import type { Backend } from './backend.ts';
import { type ConcurrencyLimit, LIMIT_MIN, times } from './concurrency-limit.ts';
import type { Verdict } from './control.ts';
import { Gradient2 } from './gradient2.ts';
import type { Tenant } from './tenant.ts';
import { Vegas } from './vegas.ts';
import { type Queued, WaitQueue } from './wait-queue.ts';

/** Where a limit begins, unless the pool is smaller; PgBouncer's default pool. */
export const LIMIT_FIRST = 20;

/** A tenant whose statements take less than this on average is not slowed down for its own sake. */
const OWN_FLOOR_MS = 5;

/** Statements of light neighbours may take this many times as long as alone, with room for chance. */
const NEIGHBOUR_RATIO_MAX = 1.5;
/** Above this nobody heavy grows. */
const NEIGHBOUR_RATIO_CALM = 1.25;
/** One bad window may be chance. */
const PAIN_WINDOWS = 2;
/** At once at most by half: what was cut shows its effect before the next cut. */
const CUT_MAX = 0.5;
const CUT_MIN = 0.9;

/** What was cut needs time to end; until then its neighbours' slowness says nothing new. */
const DRAIN_MS = 1_000;

/** After a cut the limit does not grow for this long; each time that growing was wrong for twice as long. */
const HOLD_MS = 1_000;
const HOLD_MS_MAX = 60_000;

/** Neighbours are slow although this tenant has been at its minimum for so long: it is not its doing. */
const ALIBI_MS = 10_000;

/** A ratio needs so many statements, or after a while fewer. */
const WINDOW_CALLS = 10;
const WINDOW_CALLS_MIN = 3;
const WINDOW_MS = 1_000;
const WINDOW_MS_MAX = 3_000;

/** A probe: for a moment the tenant has only this much at work, and its statements show how long they take alone. */
const PROBE_LIMIT = 1;
const PROBE_LOAD = 2;
const PROBE_EVERY_MS = 60_000;
const PROBE_EVERY_MS_MAX = 600_000;
const PROBE_MS = 200;
const PROBE_MS_MAX = 5_000;
/** Of a tenant's time at most a twentieth goes to probes. */
const PROBE_REST = 20;
/** A clean moment is waited for while what runs ends. Nothing is lost by that until the last of it, but minutes would be. */
const PROBE_PATIENCE_MS = 10_000;

/** Others wait and nothing has ended for this long: what runs may wait for a lock that one of those who wait would release. */
const STUCK_MS = 1_000;

/** Demand is remembered for three of these, so that who comes back soon finds room. */
const DEMAND_MS = 10_000;

const ASLEEP_AFTER_MS = 30_000;

/** Who waits for permission. */
export interface LaneWaiter extends Queued {
  readonly fingerprint: number;
  /** It counts as open and busy already. */
  permitted(lane: Lane): void;
  permissionRefused(fault: Fault): void;
}

export class Lane {
  readonly tenant: Tenant;
  readonly backend: Backend;
  readonly queue = new WaitQueue<LaneWaiter>();
  readonly baselines: Baselines;
  open = 0;
  busy = 0;
  /** Most it may have open by max-min fairness; only counts when the server has a budget. */
  share = 0;
  /** The adaptive limit, fractions included. */
  limit: number;
  /** What counts of it now: a probe holds it lower. Infinity when there is none. */
  busyMax = Number.POSITIVE_INFINITY;
  /** Its tenant's pool_size here, or with several workers this one's share of it; Infinity when there is none. */
  openMax = Number.POSITIVE_INFINITY;
  /** Statements at work on average, lately. */
  load = 0;
  /** Of the last window: time taken per statement, and time expected. */
  lastMs = 0;
  lastExpectedMs = 0;
  lastRatio: number | null = null;
  reason: string;
  reasonAt: number;
  isAwake = false;
  probing = false;
  probes = 0;

  readonly #random: Random;
  #controller: ConcurrencyLimit | null = null;
  #integral = 0;
  #changedAt: number;
  #measuredAt: number;
  #windowAt: number;
  #actualMs = 0;
  #expectedMs = 0;
  #calls = 0;
  #busyPeak = 0;
  /** The peak of the window that was looked at last. */
  #seenPeak = 0;
  #endedAt: number;
  #usedAt: number;
  #peaks: [number, number, number] = [0, 0, 0];
  #peaksAt: number;
  #pain = 0;
  #holdUntil = 0;
  #holdMs = HOLD_MS;
  #grewSinceCut = false;
  #cutAt = 0;
  #atMinimumSince = 0;
  #probeAt: number;
  #probeEveryMs = PROBE_EVERY_MS;
  #probeBeganAt = 0;
  #probeCleanAt = 0;

  constructor(options: {
    readonly tenant: Tenant;
    readonly backend: Backend;
    readonly random: Random;
    readonly describe: (text: string) => string;
    readonly now: number;
  }) {
    const { now } = options;
    this.tenant = options.tenant;
    this.backend = options.backend;
    this.#random = options.random;
    this.baselines = new Baselines(options.describe);
    this.limit = Math.min(LIMIT_FIRST, this.limitMax);
    this.reason = 'nothing measured yet';
    this.reasonAt = now;
    this.#changedAt = now;
    this.#measuredAt = now;
    this.#windowAt = now;
    this.#endedAt = now;
    this.#usedAt = now;
    this.#peaksAt = now;
    this.#probeAt = now;
    this.configure();
  }

  /** The adaptive limit never rises above this. */
  get limitMax(): number {
    const { poolSize } = this.tenant.limits;
    const size = this.tenant.sizeOf() || LIMIT_FIRST;
    return Math.max(LIMIT_MIN, poolSize > 0 ? Math.min(poolSize, size) : size);
  }

  /** After the tenant's limits have changed. */
  configure(): void {
    const { algorithm } = this.tenant.limits;
    this.partChanged();
    if (algorithm === 'off') this.#controller = null;
    else if (this.#controller?.algorithm !== algorithm) {
      this.#controller = algorithm === 'vegas' ? new Vegas() : new Gradient2();
      this.limit = Math.min(LIMIT_FIRST, this.limitMax);
    }
    this.#apply();
  }

  /** Of the tenant's pool_size, when several workers divide it. */
  partChanged(): void {
    const { poolSize } = this.tenant.limits;
    if (poolSize === 0) this.openMax = Number.POSITIVE_INFINITY;
    else this.openMax = this.tenant.partOf(this, poolSize);
  }

  // Coming and going.

  /** Permission at once, or not: then the caller may `wait`. */
  tryEnter(now: number): boolean {
    if (this.queue.length > 0) return false;
    if (!this.mayEnter(now)) {
      // Who had no share so far gets one now, not at the next tick.
      if (this.share > 0 || !this.#comesNew(now) || !this.mayEnter(now)) return false;
    }
    this.#enter(now);
    return true;
  }

  #comesNew(now: number): boolean {
    if (!this.isAwake) this.#wake(now);
    if (this.#peaks[0] <= this.open) this.#peaks[0] = this.open + 1;
    return this.backend.newcomer(now);
  }

  /** Whether one more may run. */
  mayEnter(now: number): boolean {
    if (this.busy >= this.busyMax) return false;
    const { tenant, backend } = this;
    if (this.open >= this.openMax) return false;
    if (backend.isBounded && !backend.hasRoomFor(this)) return false;
    return tenant.bucket === null || tenant.bucket.has(now);
  }

  #enter(now: number): void {
    if (!this.isAwake) this.#wake(now);
    this.tenant.bucket?.take(now);
    if (this.open >= this.share) this.backend.borrowed += 1;
    this.open += 1;
    this.backend.open += 1;
    if (this.open > this.#peaks[0]) this.#peaks[0] = this.open;
    this.#busier(now);
  }

  /** Joins the queue, after `tryEnter` has said no. A fault: it may not even wait. Nobody is admitted meanwhile. */
  wait(waiter: LaneWaiter, now: number): Fault | null {
    const fault = this.tenant.refusal(this);
    if (fault !== null) return fault;
    if (!this.isAwake) this.#wake(now);
    if (waiter.waitingSince === 0) waiter.waitingSince = now;
    this.queue.push(waiter, this.baselines.of(waiter.fingerprint));
    const wanted = this.open + this.queue.length;
    if (wanted > this.#peaks[0]) this.#peaks[0] = wanted;
    this.backend.waits(this, now);
    return null;
  }

  abandon(waiter: LaneWaiter, now: number): void {
    this.queue.remove(waiter);
    waiter.waitingSince = 0;
    // Its place in front of a token or a slot is the next one's.
    this.backend.pump(now);
  }

  /** Lets the one whose turn it is run. The caller has asked whether it may. */
  admitFirst(now: number): void {
    const first = this.queue.first();
    assert(first !== null, 'nobody waits');
    this.queue.remove(first);
    this.#enter(now);
    this.tenant.waited(now - first.waitingSince);
    first.permitted(this);
  }

  /** A transaction is over, or its client gone and its server at rest. */
  leave(now: number, isBusy: boolean): void {
    assert(this.open > 0, 'more permissions come back than were given');
    if (isBusy) this.#lessBusy(now);
    this.open -= 1;
    this.backend.open -= 1;
    if (this.open >= this.share) this.backend.borrowed -= 1;
    this.#usedAt = now;
    this.#endedAt = now;
    if (this.probing) this.#probeOn(now);
    if (this.backend.waiting) this.backend.pump(now);
  }

  /** The client thinks; its transaction is open. */
  rest(now: number): void {
    this.#lessBusy(now);
    this.#endedAt = now;
    if (this.probing) this.#probeOn(now);
    if (this.queue.length > 0) this.backend.pump(now);
  }

  /** The client goes on inside its transaction. Nobody asks: it may hold locks. */
  goOn(now: number): void {
    this.#busier(now);
  }

  #busier(now: number): void {
    this.#integral += this.busy * (now - this.#changedAt);
    this.#changedAt = now;
    this.busy += 1;
    if (this.busy > this.#busyPeak) this.#busyPeak = this.busy;
  }

  #lessBusy(now: number): void {
    assert(this.busy > 0, 'a lane without work gets less');
    this.#integral += this.busy * (now - this.#changedAt);
    this.#changedAt = now;
    this.busy -= 1;
  }

  #wake(now: number): void {
    this.isAwake = true;
    this.#changedAt = now;
    this.#measuredAt = now;
    this.#endedAt = now;
    this.#beginWindow(now);
    this.backend.wake(this);
  }

  // What its statements took.

  /** One statement has been answered; `ms` is what the server took. */
  sample(fingerprint: number, ms: number, text: string, now: number): void {
    const inProbe = this.probing && this.#probeCleanAt > 0 && now - ms >= this.#probeCleanAt;
    const expected = this.baselines.add(fingerprint, ms, text, now, inProbe);
    if (expected === 0) return;
    this.#actualMs += ms;
    this.#expectedMs += expected;
    this.#calls += 1;
  }

  /** What was seen since the last look. */
  measure(now: number): { readonly load: number; readonly ratio: number | null } {
    this.baselines.tick(now);
    this.#integral += this.busy * (now - this.#changedAt);
    this.#changedAt = now;
    const elapsedMs = now - this.#measuredAt;
    if (elapsedMs > 0) this.load = (this.load + this.#integral / elapsedMs) / 2;
    this.#integral = 0;
    this.#measuredAt = now;
    const age = now - this.#windowAt;
    const isFull =
      this.#calls >= WINDOW_CALLS || (age >= WINDOW_MS && this.#calls >= WINDOW_CALLS_MIN) || age >= WINDOW_MS_MAX;
    this.lastRatio = null;
    this.#seenPeak = Math.max(this.#busyPeak, this.busy);
    if (isFull) {
      if (this.#calls >= WINDOW_CALLS_MIN) {
        this.lastRatio = this.#actualMs / this.#expectedMs;
        this.lastMs = this.#actualMs / this.#calls;
        this.lastExpectedMs = this.#expectedMs / this.#calls;
      }
      this.#beginWindow(now);
    }
    return { load: this.load, ratio: this.lastRatio };
  }

  #beginWindow(now: number): void {
    this.#windowAt = now;
    this.#actualMs = 0;
    this.#expectedMs = 0;
    this.#calls = 0;
    this.#busyPeak = this.busy;
  }

  // What follows from it.

  /** Moves the limit. `neighbour` is the lane that the verdict speaks of. */
  adapt(verdict: Verdict, active: number, neighbour: Lane | null, now: number): void {
    const controller = this.#controller;
    const busyPeak = this.#seenPeak;
    if (controller === null) return;
    if (this.probing) {
      this.#probeOn(now);
      return;
    }
    if (this.#painful(verdict, neighbour, busyPeak, now)) return;
    if (this.#unstick(verdict, now)) return;
    if (this.lastRatio !== null) {
      const floored = this.lastMs / Math.max(this.lastExpectedMs, OWN_FLOOR_MS);
      const ratio = 1 + (floored - 1) * verdict.answerable;
      const step = controller.step(this.limit, { ratio, busyMax: busyPeak, lanes: active });
      const mayGrow = now >= this.#holdUntil && verdict.neighbourRatio <= NEIGHBOUR_RATIO_CALM;
      if (step.limit < this.limit || (step.limit > this.limit && mayGrow)) this.#move(step.limit, step.reason, now);
    }
    const isWorthIt =
      this.lastMs > 0 && this.lastMs <= PROBE_PATIENCE_MS && (active > 1 || this.lastMs >= OWN_FLOOR_MS);
    if (isWorthIt && this.load >= PROBE_LOAD && now >= this.#probeAt) this.#beginProbe(now);
  }

  /** Light neighbours suffer: true when that decides. */
  #painful(verdict: Verdict, neighbour: Lane | null, busyPeak: number, now: number): boolean {
    if (verdict.neighbourRatio <= NEIGHBOUR_RATIO_MAX || neighbour === null) {
      this.#pain = 0;
      this.#atMinimumSince = 0;
      return false;
    }
    this.#pain += 1;
    if (this.#pain < PAIN_WINDOWS) return true;
    if (this.busy > this.busyMax && now - this.#cutAt < DRAIN_MS) return true;
    const base = Math.min(this.limit, busyPeak);
    if (base <= LIMIT_MIN) {
      if (this.#atMinimumSince === 0) this.#atMinimumSince = now;
      else if (now - this.#atMinimumSince >= ALIBI_MS) {
        neighbour.baselines.forget();
        this.#atMinimumSince = 0;
      }
      this.#move(LIMIT_MIN, this.reason, now);
      return true;
    }
    if (now - this.#holdUntil > 4 * this.#holdMs) this.#holdMs = HOLD_MS;
    else if (this.#grewSinceCut) this.#holdMs = Math.min(HOLD_MS_MAX, this.#holdMs * 2);
    this.#grewSinceCut = false;
    this.#cutAt = now;
    this.#holdUntil = now + this.#holdMs;
    const factor = Math.max(CUT_MAX, Math.min(CUT_MIN, NEIGHBOUR_RATIO_MAX / verdict.neighbourRatio));
    this.#move(
      Math.floor(base * factor),
      `statements of tenant ${neighbour.tenant.name} take ${times(verdict.neighbourRatio)} as long as alone, and this tenant uses ${Math.round(verdict.share * 100)} % of the server's time`,
      now,
    );
    return true;
  }

  #unstick(verdict: Verdict, now: number): boolean {
    if (this.queue.length === 0 || this.busy < this.busyMax || now - this.#endedAt < STUCK_MS) return false;
    if (verdict.neighbourRatio > NEIGHBOUR_RATIO_CALM || this.limit >= this.limitMax) return false;
    this.#endedAt = now;
    this.#move(
      this.limit + 1,
      `nothing has ended for ${STUCK_MS / 1000} s and others wait: what runs may wait for one of them`,
      now,
    );
    return true;
  }

  #move(wanted: number, reason: string, now: number): void {
    const before = this.limit;
    const next = Math.max(LIMIT_MIN, Math.min(this.limitMax, wanted));
    this.limit = next;
    if (next > before) this.#grewSinceCut = true;
    this.#apply();
    if (Math.floor(next) === Math.floor(before)) return;
    this.reason = `from ${Math.floor(before)} to ${Math.floor(next)}: ${reason}`;
    this.reasonAt = now;
    this.backend.changed(this, Math.floor(before), Math.floor(next), reason, now);
  }

  #apply(): void {
    this.limit = Math.max(LIMIT_MIN, Math.min(this.limit, this.limitMax));
    if (this.#controller === null) this.busyMax = Number.POSITIVE_INFINITY;
    else this.busyMax = this.probing ? PROBE_LIMIT : Math.floor(this.limit);
  }

  // Probes.

  #beginProbe(now: number): void {
    this.probing = true;
    this.#probeBeganAt = now;
    this.#probeCleanAt = 0;
    this.#apply();
    this.#probeOn(now);
  }

  #probeOn(now: number): void {
    if (this.#probeCleanAt === 0) {
      if (this.busy <= PROBE_LIMIT) {
        this.#probeCleanAt = now;
        this.baselines.beginProbe();
        this.backend.loadChanges(this);
      } else if (now - this.#probeBeganAt > PROBE_PATIENCE_MS) this.#endProbe(now);
      return;
    }
    const elapsedMs = now - this.#probeCleanAt;
    if (elapsedMs >= PROBE_MS_MAX || (elapsedMs >= PROBE_MS && this.baselines.isProbeDone)) this.#endProbe(now);
  }

  #endProbe(now: number): void {
    const measured = this.#probeCleanAt === 0 ? 0 : this.baselines.endProbe();
    this.probing = false;
    this.probes += 1;
    // Long statements leave no clean moment: trying again and again would only cost.
    this.#probeEveryMs = measured > 0 ? PROBE_EVERY_MS : Math.min(PROBE_EVERY_MS_MAX, this.#probeEveryMs * 2);
    const everyMs = Math.max(this.#probeEveryMs, PROBE_REST * (now - this.#probeBeganAt));
    this.#probeAt = now + everyMs * (0.75 + this.#random.float() * 0.5);
    this.#apply();
    this.#beginWindow(now);
    this.backend.loadChanges(this);
    this.backend.pump(now);
  }

  // Shares.

  /** The most it had open or waiting at once lately, as far as its own limits allow. */
  demand(now: number): number {
    while (now - this.#peaksAt >= DEMAND_MS) {
      const [first, second] = this.#peaks;
      this.#peaks = [0, first, second];
      this.#peaksAt = now - this.#peaksAt >= 3 * DEMAND_MS ? now : this.#peaksAt + DEMAND_MS;
    }
    const current = this.open + this.queue.length;
    if (current > this.#peaks[0]) this.#peaks[0] = current;
    const { poolSize } = this.tenant.limits;
    const allowed = Math.min(poolSize > 0 ? poolSize : Number.POSITIVE_INFINITY, this.#allowedOpen());
    return Math.max(this.open, Math.min(allowed, Math.max(...this.#peaks)));
  }

  /** The limit, plus those that are open and only think. */
  #allowedOpen(): number {
    return this.#controller === null ? Number.POSITIVE_INFINITY : Math.floor(this.limit) + this.open - this.busy;
  }

  /** Nothing runs, nobody waits, and nothing has for a while. */
  mayFallAsleep(now: number): boolean {
    return this.open === 0 && this.queue.length === 0 && now - this.#usedAt > ASLEEP_AFTER_MS;
  }
}
