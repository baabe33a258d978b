// A key held under a lease: the primary's, or the leading sentinel's. The holder trusts nothing but its own monotonic clock: it holds the
// key until a lease's time after the last *sending* of a renewal that succeeded, whatever the store says later.

import type { Clock } from '../../base/clock.ts';
import { sleepQuietly } from '../../base/service.ts';
import type { Condition, LeaseId, Store } from './store.ts';

/** Renewals in the time of one lease: several may fail. */
const RENEWALS_PER_LEASE = 6;

export interface HeldKeyOptions {
  readonly key: string;
  readonly value: string;
  readonly ttlMs: number;
}

export class HeldKey {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #options: HeldKeyOptions;
  #lease: LeaseId | null = null;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(world: { readonly store: Store; readonly clock: Clock }, options: HeldKeyOptions) {
    this.#store = world.store;
    this.#clock = world.clock;
    this.#options = options;
  }

  /** Held for certain until then, by the clock of this process. */
  get untilMs(): number {
    return this.#untilMs;
  }

  get isHeld(): boolean {
    return this.#clock.now() < this.#untilMs;
  }

  /** Takes the key if nobody has it and the conditions hold. An election is this, tried by many. */
  async acquire(conditions: readonly Condition[] = []): Promise<boolean> {
    const { key, value, ttlMs } = this.#options;
    const sentAtMs = this.#clock.now();
    const lease = await this.#store.grantLease(ttlMs);
    const changes = [{ tag: 'put', key, value, lease }] as const;
    const written = await this.#store
      .write([{ key, revision: 0 }, ...conditions], changes)
      .catch(async (error: unknown) => {
        // It may have happened: without this the key would stand in everybody's way, ours too, until the lease ends by itself.
        await this.#store.revokeLease(lease).catch(() => {});
        throw error;
      });
    if (written.revision === null) {
      // It would end by itself; a busy store need not remember it until then.
      await this.#store.revokeLease(lease);
      return false;
    }
    this.#lease = lease;
    this.#untilMs = sentAtMs + ttlMs;
    return true;
  }

  /** One renewal. False: the key is lost. Throws when the store does not answer; the key is then held until `untilMs`. */
  async renew(): Promise<boolean> {
    const lease = this.#lease;
    if (lease === null) return false;
    const sentAtMs = this.#clock.now();
    const isAlive = await this.#store.keepAlive(lease);
    if (this.#lease !== lease) return false;
    if (!isAlive) {
      this.#lease = null;
      this.#untilMs = Number.NEGATIVE_INFINITY;
      return false;
    }
    // Answers may overtake each other: the deadline never goes back.
    this.#untilMs = Math.max(this.#untilMs, sentAtMs + this.#options.ttlMs);
    return true;
  }

  /** Renews until the signal aborts or the key is lost; a store that does not answer is asked again until the time is over. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (!(await this.renew())) return;
      } catch {
        // Only the deadline counts.
        if (!this.isHeld) return;
      }
      await sleepQuietly(this.#clock, this.#options.ttlMs / RENEWALS_PER_LEASE, signal);
    }
  }

  /** Only when nothing is done any more that needs the key. */
  async release(): Promise<void> {
    const lease = this.#lease;
    this.#lease = null;
    this.#untilMs = Number.NEGATIVE_INFINITY;
    if (lease !== null) await this.#store.revokeLease(lease);
  }
}
