// Queries per second. A query that starts takes a token; statements inside a transaction are not stopped, since that would
// only hold its locks longer: they are owed, and the next transaction waits for it.

/** Tokens that gather while nothing runs: this many seconds' worth, at least one. */
const BURST_SECONDS = 1;

/** What one long transaction may owe; the rest is forgiven, so that nobody is shut out for minutes. */
const DEBT_SECONDS_MAX = 10;

export class TokenBucket {
  readonly perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt: number;

  constructor(perSecond: number, now: number) {
    this.perSecond = perSecond;
    this.#burst = Math.max(1, perSecond * BURST_SECONDS);
    this.#tokens = this.#burst;
    this.#filledAt = now;
  }

  /** Whether a query may start. */
  has(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= 1;
  }

  /** Takes a token, also one that is not there yet. */
  take(now: number): void {
    this.#fill(now);
    this.#tokens = Math.max(this.#tokens - 1, -this.perSecond * DEBT_SECONDS_MAX);
  }

  /** Milliseconds until there is one. */
  waitMs(now: number): number {
    this.#fill(now);
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) / this.perSecond) * 1000;
  }

  #fill(now: number): void {
    if (now <= this.#filledAt) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.perSecond);
    this.#filledAt = now;
  }
}
