// Limits that several workers share (server connections per database, user and pool; clients): the parent gives each worker a
// share, and moves shares to where clients wait. Pure: messages in, messages out.
//
// The rule that keeps a limit: what a worker may use is counted until the worker has said that it gave it up. A share is
// lowered first, the worker answers with what it still uses, and only the difference is given to others.

/** What one worker has and wants of one limit. */
export interface Demand {
  /** In use now. */
  readonly used: number;
  /** In use for somebody, plus what waits for more; what is only kept does not count. */
  readonly wanted: number;
}

/**
 * Shares of `total`: nobody gets more than it wants before all got an equal part (max-min), what is left over is spread evenly
 * over those that may grow. When there is less than one for each who wants, `turn` says whose turn it is. The sum is `total`,
 * unless nobody may grow.
 */
export function divide(
  total: number,
  demands: readonly { readonly wanted: number; readonly mayGrow: boolean }[],
  turn: number,
): number[] {
  const shares = demands.map(() => 0);
  if (demands.length === 0) return shares;
  let left = total;
  let hungry = demands.flatMap(({ wanted }, index) => (wanted > 0 ? [index] : []));
  while (hungry.length > 0 && left >= hungry.length) {
    const each = Math.floor(left / hungry.length);
    const smallest = Math.min(...hungry.map((index) => wantedOf(demands, index) - at(shares, index)));
    const given = Math.min(each, smallest);
    for (const index of hungry) shares[index] = at(shares, index) + given;
    left -= given * hungry.length;
    hungry = hungry.filter((index) => at(shares, index) < wantedOf(demands, index));
  }
  // Less than one for each who still wants one.
  for (let offset = 0; left > 0 && offset < hungry.length; offset += 1) {
    const index = hungry[(turn + offset) % hungry.length] as number;
    shares[index] = at(shares, index) + 1;
    left -= 1;
  }
  const growing = demands.flatMap(({ mayGrow }, index) => (mayGrow ? [index] : []));
  growing.forEach((index, position) => {
    const extra = Math.floor(left / growing.length) + (position < left % growing.length ? 1 : 0);
    shares[index] = at(shares, index) + extra;
  });
  return shares;
}

function at(values: readonly number[], index: number): number {
  return values[index] as number;
}

function wantedOf(demands: readonly { readonly wanted: number }[], index: number): number {
  return (demands[index] as { readonly wanted: number }).wanted;
}

/** What a worker says: about limits that changed since it last said something. */
export interface DemandReport {
  /** Number of the last share message it has acted on. */
  readonly applied: number;
  readonly demands: readonly (Demand & { readonly key: string; readonly total: number })[];
}

/** What the parent says to one worker. */
export interface ShareMessage {
  readonly number: number;
  readonly shares: readonly (readonly [key: string, share: number])[];
}

interface Holder {
  demand: Demand;
  /** What it was last told. */
  share: number;
  /** The most that it may be using, as far as is certain. */
  held: number;
  /** Number of the message that lowered the share; 0 when the worker has acted on it. */
  loweredBy: number;
}

interface Limit {
  total: number;
  turn: number;
  readonly holders: Map<number, Holder>;
}

interface Member {
  mayGrow: boolean;
  /** Messages sent to it. */
  sent: number;
  applied: number;
}

/** The parent's books. */
export class Budgets {
  readonly #limits = new Map<string, Limit>();
  readonly #members = new Map<number, Member>();

  /** A worker that begins with nothing, and gets only what it asks for until it serves. */
  join(worker: number): void {
    this.#members.set(worker, { mayGrow: false, sent: 0, applied: 0 });
  }

  /** It accepts clients: what is to spare is for it as well. */
  serves(worker: number): Map<number, ShareMessage> {
    const member = this.#members.get(worker);
    if (member !== undefined) member.mayGrow = true;
    return this.#settle(this.#limits.keys());
  }

  /** It accepts no clients any more: it gets what it uses, and nothing to spare. */
  retire(worker: number): Map<number, ShareMessage> {
    const member = this.#members.get(worker);
    if (member !== undefined) member.mayGrow = false;
    return this.#settle(this.#limits.keys());
  }

  /** It is gone, and its connections with it. */
  leave(worker: number): Map<number, ShareMessage> {
    this.#members.delete(worker);
    for (const limit of this.#limits.values()) limit.holders.delete(worker);
    return this.#settle(this.#limits.keys());
  }

  /** Answers with the messages that follow, by worker. */
  report(worker: number, report: DemandReport): Map<number, ShareMessage> {
    const member = this.#members.get(worker);
    if (member === undefined) return new Map();
    member.applied = report.applied;
    const touched = new Set<string>();
    for (const { key, total, used, wanted } of report.demands) {
      const limit = this.#limitOf(key);
      limit.total = total;
      const holder = this.#holderOf(limit, worker);
      holder.demand = { used, wanted };
      // From the time before there was a limit.
      holder.held = Math.max(holder.held, used);
      touched.add(key);
    }
    for (const [key, limit] of this.#limits) {
      const holder = limit.holders.get(worker);
      if (holder === undefined || holder.held === holder.share || holder.loweredBy > member.applied) continue;
      // It has acted on the lower share: what it may hold is that, or what it still uses of before.
      holder.held = Math.max(holder.share, holder.demand.used);
      touched.add(key);
    }
    return this.#settle(touched);
  }

  /** Where there is less than one for each who wants one, it is the next one's turn. Call it a few times a second. */
  rotate(): Map<number, ShareMessage> {
    const starving = [...this.#limits].filter(([, limit]) =>
      [...limit.holders.values()].some(({ demand, share }) => demand.wanted > 0 && share === 0),
    );
    for (const [, limit] of starving) limit.turn += 1;
    return this.#settle(starving.map(([key]) => key));
  }

  /** What all workers together may be using of a limit, as far as is certain. */
  heldOf(key: string): number {
    let sum = 0;
    for (const holder of this.#limits.get(key)?.holders.values() ?? []) sum += holder.held;
    return sum;
  }

  #limitOf(key: string): Limit {
    let limit = this.#limits.get(key);
    if (limit === undefined) {
      limit = { total: 0, turn: 0, holders: new Map() };
      this.#limits.set(key, limit);
    }
    return limit;
  }

  #holderOf(limit: Limit, worker: number): Holder {
    let holder = limit.holders.get(worker);
    if (holder === undefined) {
      holder = { demand: { used: 0, wanted: 0 }, share: 0, held: 0, loweredBy: 0 };
      limit.holders.set(worker, holder);
    }
    return holder;
  }

  #settle(keys: Iterable<string>): Map<number, ShareMessage> {
    const news = new Map<number, [string, number][]>();
    for (const key of keys) {
      const limit = this.#limits.get(key);
      if (limit === undefined) continue;
      for (const [worker, share] of this.#plan(limit)) {
        const list = news.get(worker) ?? [];
        list.push([key, share]);
        news.set(worker, list);
      }
    }
    const messages = new Map<number, ShareMessage>();
    for (const [worker, shares] of news) {
      const member = this.#members.get(worker) as Member;
      messages.set(worker, { number: (member.sent += 1), shares });
    }
    return messages;
  }

  /** Lowers what is to be lowered; raises only by what is certainly free. */
  #plan(limit: Limit): Map<number, number> {
    const workers = [...this.#members.keys()];
    const holders = workers.map((worker) => this.#holderOf(limit, worker));
    const targets = divide(
      limit.total,
      holders.map((holder, index) => ({
        wanted: holder.demand.wanted,
        mayGrow: (this.#members.get(workers[index] as number) as Member).mayGrow,
      })),
      limit.turn,
    );
    const changed = new Map<number, number>();
    holders.forEach((holder, index) => {
      const target = targets[index] as number;
      if (target >= holder.share) return;
      const worker = workers[index] as number;
      holder.share = target;
      holder.loweredBy = (this.#members.get(worker) as Member).sent + 1;
      changed.set(worker, target);
    });
    let free = limit.total - holders.reduce((sum, holder) => sum + holder.held, 0);
    holders.forEach((holder, index) => {
      const worker = workers[index] as number;
      const { applied } = this.#members.get(worker) as Member;
      // What it still holds of a larger share is not known yet.
      if (holder.loweredBy > applied) return;
      const share = Math.min(targets[index] as number, holder.held + Math.max(0, free));
      if (share <= holder.share) return;
      free -= Math.max(0, share - holder.held);
      holder.share = share;
      holder.held = Math.max(holder.held, share);
      changed.set(worker, share);
    });
    return changed;
  }
}
