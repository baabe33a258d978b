// A worker's side of the budgets: what it may use of each shared limit, and what it tells the parent about its use.

import type { Demand, DemandReport, ShareMessage } from './budget.ts';

/** One limit as its owner sees it. */
export interface Shared {
  /** Over all workers; 0 = no limit. */
  total(): number;
  /** In use here now. */
  used(): number;
  /** In use for somebody, plus what waits for more. */
  wanted(): number;
}

interface Told extends Demand {
  readonly total: number;
}

export interface WorkerSharesOptions {
  readonly send: (report: DemandReport) => void;
  /** Runs a task in the next turn of the event loop: what many clients want in one turn is one message. */
  readonly soon: (task: () => void) => void;
  /** Shares have changed; those that are larger can be used at once, those that are smaller have to be given back. */
  readonly changed: () => void;
}

export class WorkerShares {
  readonly #options: WorkerSharesOptions;
  readonly #limits = new Map<string, Shared>();
  readonly #told = new Map<string, Told>();
  readonly #shares = new Map<string, number>();
  readonly #dirty = new Set<string>();
  #applied = 0;
  #pending = false;

  constructor(options: WorkerSharesOptions) {
    this.#options = options;
  }

  add(key: string, limit: Shared): void {
    this.#limits.set(key, limit);
    this.moved(key);
  }

  /** What this worker may use. Before the parent has said anything: what it uses already, and no more. */
  of(key: string): number {
    const limit = this.#limits.get(key);
    if (limit === undefined) return this.#shares.get(key) ?? 0;
    const total = limit.total();
    if (total === 0) return Number.POSITIVE_INFINITY;
    return Math.min(total, this.#shares.get(key) ?? limit.used());
  }

  /** Others use some of it: the parent could give more. */
  mayGrow(key: string): boolean {
    const limit = this.#limits.get(key);
    return limit !== undefined && this.of(key) < limit.total();
  }

  /** Use or demand of a limit has changed in a way that should not wait for the next look: somebody waits. */
  moved(key: string): void {
    this.#dirty.add(key);
    if (this.#pending) return;
    this.#pending = true;
    this.#options.soon(() => {
      this.#pending = false;
      this.#report(this.#dirty, false);
      this.#dirty.clear();
    });
  }

  /** Tells everything that has changed. Called by the janitor. */
  look(): void {
    this.#report(this.#limits.keys(), false);
  }

  apply(message: ShareMessage): void {
    for (const [key, share] of message.shares) this.#shares.set(key, share);
    this.#options.changed();
    this.#applied = message.number;
    this.#report(
      message.shares.map(([key]) => key),
      true,
    );
  }

  #report(keys: Iterable<string>, always: boolean): void {
    const demands: (Told & { key: string })[] = [];
    for (const key of keys) {
      const limit = this.#limits.get(key);
      if (limit === undefined) continue;
      const total = limit.total();
      const before = this.#told.get(key);
      if (total === 0 && before === undefined) continue;
      const used = total === 0 ? 0 : limit.used();
      // More than there is cannot be had: how many wait beyond that is no news, or a busy pool would tell it each turn.
      const wanted = total === 0 ? 0 : Math.min(limit.wanted(), total);
      if (before?.used === used && before.wanted === wanted && before.total === total) continue;
      this.#told.set(key, { used, wanted, total });
      demands.push({ key, total, used, wanted });
    }
    if (demands.length > 0 || always) this.#options.send({ applied: this.#applied, demands });
  }
}
