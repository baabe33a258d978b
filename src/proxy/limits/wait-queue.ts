// Those of one tenant who wait for permission to run. First come, first served. Only while the queue is long in time (`ranked`)
// do statements that are known to be expensive step back: each class of cost has its own line, and who comes to its front is
// served when his arrival plus the penalty of his class is the earliest. So a cheap one never waits behind an
// expensive one for long, and an expensive one waits at most its penalty longer than in a plain line.
//
// The links are fields of those who wait: nothing is allocated, and one who leaves is taken out without a search.

import { assert } from '../../base/assert.ts';

export interface Queued {
  queueNext: Queued | null;
  queuePrevious: Queued | null;
  /** Class of cost; -1 while it does not wait. */
  queueClass: number;
  /** Order of arrival. */
  queueTicket: number;
  /** When it began to wait, in milliseconds. */
  waitingSince: number;
}

/** A statement that takes less than this (milliseconds, alone) belongs to the class; what takes longer than all of them to the last. */
const COST_MS = [10, 100, 1_000] as const;

/** How many milliseconds later than it did a statement of the class counts as arrived. */
export const PENALTY_MS = [0, 250, 1_000, 4_000] as const;

export function costClass(costMs: number): number {
  for (let index = 0; index < COST_MS.length; index += 1) if (costMs < (COST_MS[index] as number)) return index;
  return COST_MS.length;
}

export class WaitQueue<T extends Queued> {
  readonly #heads: (T | null)[] = PENALTY_MS.map(() => null);
  readonly #tails: (T | null)[] = PENALTY_MS.map(() => null);
  #tickets = 0;
  length = 0;
  /** Expensive statements step back. */
  ranked = false;

  push(waiter: T, costMs: number): void {
    assert(waiter.queueClass === -1, 'who waits already waits again');
    const at = costClass(costMs);
    const tail = this.#tails[at] as T | null;
    waiter.queueClass = at;
    waiter.queueTicket = this.#tickets += 1;
    waiter.queuePrevious = tail;
    waiter.queueNext = null;
    if (tail === null) this.#heads[at] = waiter;
    else tail.queueNext = waiter;
    this.#tails[at] = waiter;
    this.length += 1;
  }

  remove(waiter: T): void {
    const at = waiter.queueClass;
    assert(at !== -1, 'who does not wait leaves a queue');
    const { queuePrevious, queueNext } = waiter;
    if (queuePrevious === null) this.#heads[at] = queueNext as T | null;
    else queuePrevious.queueNext = queueNext;
    if (queueNext === null) this.#tails[at] = queuePrevious as T | null;
    else queueNext.queuePrevious = queuePrevious;
    waiter.queuePrevious = null;
    waiter.queueNext = null;
    waiter.queueClass = -1;
    this.length -= 1;
    if (this.length === 0) this.ranked = false;
  }

  /** Whose turn it is. */
  first(): T | null {
    let best: T | null = null;
    let bestAt = 0;
    for (let index = 0; index < this.#heads.length; index += 1) {
      const head = this.#heads[index] as T | null;
      if (head === null) continue;
      const at = this.ranked ? head.waitingSince + (PENALTY_MS[index] as number) : head.queueTicket;
      if (best === null || at < bestAt || (at === bestAt && head.queueTicket < best.queueTicket)) {
        best = head;
        bestAt = at;
      }
    }
    return best;
  }

  /** Who waits longest. */
  oldest(): T | null {
    let best: T | null = null;
    for (const head of this.#heads) {
      if (head !== null && (best === null || head.waitingSince < best.waitingSince)) best = head;
    }
    return best;
  }
}
