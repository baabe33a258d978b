// Postgres as far as the cluster manager can tell it from the real one: a log, synchronous replication, timelines, promotion. Its checks
// know more than Postgres does: they compare contents where Postgres compares numbers.

import type { Fork, PostgresFacts } from '../../src/cluster/model.ts';
import { NO_QUORUM, type Quorum } from '../../src/cluster/quorum.ts';

/** One record: a commit, or the record that a promotion writes. */
export interface Record {
  readonly timeline: number;
  /** Null: no commit. */
  readonly commit: number | null;
}

/** A standby that did not ask for so long is gone. */
const STANDBY_GONE_MS = 400;

export class SimPostgres {
  state: PostgresFacts['state'] = 'stopped';
  timeline = 1;
  log: Record[] = [];
  following: string | null = null;
  fork: Fork | null = null;
  /** Where each timeline that this log knows left its parent, as the .history files say. */
  history: Fork[] = [];
  inForce: Quorum = NO_QUORUM;
  sinceLsn = 0;
  changedAtMs = 0;
  receivedAtMs: number | null = null;
  readonly standbys = new Map<string, { flushed: number; seenAtMs: number }>();
  #waiting: { readonly lsn: number; readonly acknowledged: () => void }[] = [];

  get end(): number {
    return this.log.length;
  }

  set(state: PostgresFacts['state'], nowMs: number): void {
    this.state = state;
    this.changedAtMs = nowMs;
    if (state === 'primary') return;
    this.#waiting = [];
    this.standbys.clear();
    if (state !== 'standby') this.following = null;
  }

  openAsPrimary(inForce: Quorum, nowMs: number): void {
    this.following = null;
    this.force(inForce);
    this.set('primary', nowMs);
  }

  promote(timeline: number, inForce: Quorum, nowMs: number): void {
    this.fork = { timeline, parent: this.timeline, forkLsn: BigInt(this.end) };
    this.history = [...this.history, this.fork];
    this.timeline = timeline;
    this.openAsPrimary(inForce, nowMs);
    this.log.push({ timeline, commit: null });
  }

  force(inForce: Quorum): void {
    this.inForce = inForce;
    this.sinceLsn = this.end;
    this.#release();
  }

  /** Calls back once enough standbys have it; never, when they do not. */
  write(commit: number, acknowledged: () => void): void {
    this.log.push({ timeline: this.timeline, commit });
    this.#waiting.push({ lsn: this.end, acknowledged });
    this.#release();
  }

  /** A standby asks for what comes after its end, and so says what it has. Null: it is told that it cannot follow. */
  serve(standby: string, timeline: number, end: number, nowMs: number): readonly Record[] | null {
    if (!this.#canServe(timeline, end)) return null;
    this.standbys.set(standby, { flushed: end, seenAtMs: nowMs });
    this.#release();
    return this.log.slice(end);
  }

  facts(nowMs: number): PostgresFacts {
    const isPrimary = this.state === 'primary';
    return {
      state: this.state,
      timeline: this.timeline,
      flushedLsn: BigInt(this.end),
      following: this.following,
      receivedAgoMs: this.receivedAtMs === null ? null : nowMs - this.receivedAtMs,
      fork: this.fork,
      inForce: isPrimary ? { quorum: this.inForce, sinceLsn: BigInt(this.sinceLsn) } : null,
      standbys: !isPrimary
        ? []
        : [...this.standbys].map(([node, { flushed, seenAtMs }]) => ({
            node,
            flushedLsn: BigInt(flushed),
            goneMs: nowMs - seenAtMs > STANDBY_GONE_MS ? nowMs - seenAtMs : null,
          })),
      forMs: nowMs - this.changedAtMs,
    };
  }

  /** As a walsender decides: by timeline ids and positions, not by contents. */
  #canServe(timeline: number, end: number): boolean {
    if (this.state !== 'primary' || end > this.end) return false;
    let at = this.timeline;
    while (at !== timeline) {
      const fork = this.history.find((one) => one.timeline === at);
      if (fork === undefined || end > Number(fork.forkLsn)) return false;
      at = fork.parent;
    }
    return true;
  }

  #release(): void {
    const { names, count } = this.inForce;
    const positions = names.map((name) => this.standbys.get(name)?.flushed ?? 0).sort((a, b) => b - a);
    const confirmed = count === 0 ? Number.POSITIVE_INFINITY : (positions[count - 1] ?? 0);
    const ready = this.#waiting.filter((one) => one.lsn <= confirmed);
    this.#waiting = this.#waiting.filter((one) => one.lsn > confirmed);
    for (const one of ready) one.acknowledged();
  }
}
