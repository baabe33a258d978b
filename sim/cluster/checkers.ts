// What must be true of a cluster at each moment, told by somebody who sees everything.

import type { Record, SimPostgres } from './sim-postgres.ts';

export class Checkers {
  readonly wrong: string[] = [];
  readonly acknowledged = new Set<number>();
  readonly #writers = new Map<number, string>();
  readonly #timelines = new Map<number, string>();
  #termWritten = 0;

  /** One writer per epoch, and none of an older one after a newer one has begun to write. */
  written(node: string, term: number, atMs: number): void {
    const writer = this.#writers.get(term);
    if (writer !== undefined && writer !== node)
      this.#complain(atMs, `${writer} and ${node} both write in term ${term}`);
    this.#writers.set(term, node);
    if (term < this.#termWritten)
      this.#complain(atMs, `${node} writes in term ${term} after term ${this.#termWritten} began`);
    this.#termWritten = Math.max(term, this.#termWritten);
  }

  promoted(node: string, postgres: SimPostgres, atMs: number): void {
    const other = this.#timelines.get(postgres.timeline);
    if (other !== undefined) this.#complain(atMs, `timeline ${postgres.timeline} was begun by ${other} and by ${node}`);
    this.#timelines.set(postgres.timeline, node);
    this.complete(`${node} is promoted`, postgres, atMs);
  }

  /** No acknowledged commit is missing. */
  complete(what: string, postgres: SimPostgres, atMs: number): void {
    const missing = this.#missing(postgres);
    if (missing.length > 0)
      this.#complain(atMs, `${what} without ${missing.length} acknowledged commits (first: ${missing[0]})`);
  }

  /** A human accepted this loss: what is not in this log is not asked for any more. */
  accept(postgres: SimPostgres): void {
    for (const commit of this.#missing(postgres)) this.acknowledged.delete(commit);
  }

  /** A data folder is removed: another must have all that is acknowledged. */
  replaced(node: string, others: readonly SimPostgres[], atMs: number): void {
    if (others.every((other) => this.#missing(other).length > 0))
      this.#complain(atMs, `the last good copy, on ${node}, is removed`);
  }

  /** Postgres thought that a standby could follow: its log must be a part of the primary's. */
  followed(node: string, log: readonly Record[], source: readonly Record[], atMs: number): void {
    const last = log.at(-1);
    const same = source[log.length - 1];
    if (last === undefined || (same !== undefined && same.commit === last.commit && same.timeline === last.timeline))
      return;
    this.#complain(atMs, `${node} follows a log that is not its own at ${log.length}: silent corruption`);
  }

  #missing(postgres: SimPostgres): number[] {
    const has = new Set<number | null>(postgres.log.map((record) => record.commit));
    return [...this.acknowledged].filter((commit) => !has.has(commit));
  }

  #complain(atMs: number, sentence: string): void {
    // The first complaints tell what happened, the others are its echo.
    if (this.wrong.length < 5) this.wrong.push(`at ${Math.round(atMs)} ms: ${sentence}`);
  }
}
