// What the cluster is: what is wanted (spec), what was decided (state), what is seen (facts). Plain data, kept as JSON in the store.
//
// A term has at most one primary. A term begins with an election (`primary` is null until enough nodes have sealed themselves: they
// follow nobody and promise nothing to an earlier term any more) or with the point of no return of a switchover.

import { formatLsn, type Lsn, parseLsn } from '../pg/lsn.ts';
import type { Quorum } from './quorum.ts';

export interface ClusterSpec {
  /** Each node's name is its application_name: unique over all regions (`eu_a`, `us_a`). */
  readonly nodes: readonly string[];
  /** What to do when too few synchronous standbys are left: `strict` lets commits wait, `degraded` lets them through and says so. */
  readonly policy: 'strict' | 'degraded';
  /** Fewer synchronous standbys than this is what `policy` is about. */
  readonly syncMin: number;
  /** No more than this are made synchronous. */
  readonly syncMax: number;
  /** How many of them must confirm a commit; capped by how many there are. */
  readonly quorum: number;
  /** The primary's lease, and how long a promise of the failsafe lasts. */
  readonly leaseMs: number;
  /** A node whose facts did not change for so long is not asked. */
  readonly silentMs: number;
  /** A synchronous standby that is gone for so long is replaced, or given up. */
  readonly syncGraceMs: number;
  /** At most one exchange of synchronous standbys, and one automatic failover, in this time. */
  readonly dampingMs: number;
  /** Postgres may repair itself for so long (one backend killed) before somebody else takes over. */
  readonly restartBudgetMs: number;
  /** An election waits so long for standbys before the old primary is started again in place. */
  readonly electionWaitMs: number;
  /** A switchover that has not passed its point of no return by then is undone. */
  readonly switchoverMs: number;
  /** A standby further behind is not made synchronous. */
  readonly syncLagBytesMax: number;
  /** With less free space the primary is moved away, and a standby is no candidate. */
  readonly diskFreeBytesMin: number;
  /** A link slower than this, or seen differently from its two ends, is `gray_link`. */
  readonly linkLatencyMsMax: number;
  /** Settings of Postgres that are the same on all nodes. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Lines of pg_hba.conf. */
  readonly hba: readonly string[];
}

export const SPEC_DEFAULTS: Omit<ClusterSpec, 'nodes'> = {
  policy: 'strict',
  syncMin: 1,
  syncMax: 1,
  quorum: 1,
  // Survives three elections of etcd in a row at its defaults (about 1 to 1.5 s each).
  leaseMs: 6000,
  silentMs: 4000,
  syncGraceMs: 3000,
  dampingMs: 60_000,
  restartBudgetMs: 2000,
  electionWaitMs: 3000,
  switchoverMs: 10_000,
  syncLagBytesMax: 1024 * 1024,
  diskFreeBytesMin: 256 * 1024 * 1024,
  linkLatencyMsMax: 150,
  parameters: {},
  hba: [],
};

/** A line of a timeline's history: `timeline` left `parent` at `forkLsn`. */
export interface Fork {
  readonly timeline: number;
  readonly parent: number;
  readonly forkLsn: Lsn;
}

export interface ClusterState {
  /** Grows with each election and each switchover (I6). */
  readonly term: number;
  /** Null while an election goes on. */
  readonly primary: string | null;
  /** The primary of the term before; it has every commit that it acknowledged. */
  readonly previous: string | null;
  /** The timeline the primary writes. */
  readonly timeline: number;
  /** The highest timeline id that was ever given to a promotion, used or not. */
  readonly timelineReserved: number;
  /** Known forks, oldest first; a fork is entered when the promoted node reports where it was. */
  readonly forks: readonly Fork[];
  /** What the primary's Postgres is told to wait for. */
  readonly wanted: Quorum;
  /** Who may be promoted. */
  readonly published: Quorum;
  /** The last position that the primary was seen to have: what a gap is measured from. */
  readonly lastLsn: Lsn;
  /** The one node that may take a new copy at this moment. */
  readonly cloning: string | null;
  /** Nodes taken out of everything by a human. */
  readonly ejected: readonly string[];
  /** No automatic failover while true. */
  readonly isPaused: boolean;
  readonly request: Request | null;
  readonly switchover: Switchover | null;
  /** When it was done last, for damping. Wall time: a clock that jumps changes how long is waited, never what is safe. */
  readonly electedWallMs: number;
  readonly swappedWallMs: number;
  readonly degraded: readonly Degraded[];
  /** Number of the last entry of the history. */
  readonly historyNumber: number;
}

/** What a human asked for; removed from the state when it is answered. */
export type Request =
  | { readonly tag: 'switchover'; readonly id: string; readonly to: string }
  | {
      readonly tag: 'failover';
      readonly id: string;
      readonly to: string;
      /** Everything after this position may be lost. */
      readonly acceptLossLsn: Lsn;
      /** The human says that the old primary and its synchronous standbys are off: nobody else can know. */
      readonly isOldPrimaryOff: boolean;
    };

/**
 * A switchover in progress. Before the point of no return each step may be undone; after it the state has a new term and `switchover`
 * is only remembered until the proxies may go on.
 *
 *   checkpointing → pausing → stopping → (point of no return) → resuming → gone
 *         └────────────┴─────────┴──▶ undoing → gone
 */
export interface Switchover {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly step: 'checkpointing' | 'pausing' | 'stopping' | 'undoing' | 'resuming';
  readonly startedWallMs: number;
}

export interface Degraded {
  readonly name: 'no_sync' | 'one_copy' | 'gray_link' | 'store_readonly' | 'resyncing' | 'flapping';
  readonly sentence: string;
  /** Cleared at the earliest `DEGRADED_MS_MIN` later, so that a state that comes and goes is one alarm. */
  readonly sinceWallMs: number;
}

/** What a keeper says about its node, renewed several times per lease. */
export interface NodeFacts {
  readonly node: string;
  /** Changes with each renewal: freshness is judged by the reader's own clock, never by the writer's. */
  readonly sequence: number;
  readonly postgres: PostgresFacts;
  /** The highest term for which this node follows nobody and promises nothing to earlier ones. */
  readonly sealedTerm: number;
  /** True while this node has promised the primary of `term` not to be promoted. */
  readonly promise: { readonly term: number } | null;
  /** Who this node can reach, in milliseconds of round trip; null: not. */
  readonly reaches: Readonly<Record<string, number | null>>;
  readonly diskFreeBytes: number;
  /** Null when the store answered lately. */
  readonly storeSilentMs: number | null;
  /** The switchover for which the checkpoints were taken. */
  readonly checkpointedFor: string | null;
}

export interface PostgresFacts {
  /**
   * `absent`: no data folder. `unusable`: a copy or rewind was interrupted. `stopped`: shut down in order. `crashed`: not in order.
   * `starting`: recovers, or repairs itself after a backend was killed. `hung`: does not answer a probe over a new connection.
   */
  readonly state: 'absent' | 'unusable' | 'stopped' | 'crashed' | 'starting' | 'hung' | 'primary' | 'standby';
  readonly timeline: number;
  /** End of what is durable here. */
  readonly flushedLsn: Lsn;
  /** Whom it is told to stream from. */
  readonly following: string | null;
  /** Since when it has received nothing from there, not even a keep-alive; null: never. */
  readonly receivedAgoMs: number | null;
  /** Where this node's timeline left its parent, when it was promoted here. */
  readonly fork: Fork | null;
  /** On a primary: what commits wait for, and the position of the log when that took effect. */
  readonly inForce: { readonly quorum: Quorum; readonly sinceLsn: Lsn } | null;
  /** On a primary: its standbys, `goneMs` after the last one left. */
  readonly standbys: readonly { readonly node: string; readonly flushedLsn: Lsn; readonly goneMs: number | null }[];
  /** For how long it has been in `state`. */
  readonly forMs: number;
}

/** Everything a sentinel sees at one moment. */
export interface Observations {
  /** Facts with their age by the sentinel's own clock. */
  readonly nodes: ReadonlyMap<string, { readonly facts: NodeFacts; readonly ageMs: number }>;
  /** Who holds the primary's lease; null: nobody. */
  readonly leaseHolder: { readonly node: string; readonly term: number } | null;
  /** Since when there is no holder, by the sentinel's own clock. */
  readonly leaseFreeMs: number;
  /** Live proxies, and the switchover for which each has paused. */
  readonly proxies: readonly { readonly name: string; readonly pausedFor: string | null }[];
  /** Other clusters on the same store that began an election within the last minute. */
  readonly otherElections: number;
}

/** One decision, one sentence (I7). */
export interface HistoryEntry {
  readonly number: number;
  readonly term: number;
  readonly wallMs: number;
  readonly sentence: string;
}

/** A cluster whose only data lies on `primary`. */
export function initialState(primary: string): ClusterState {
  const none: Quorum = { names: [], count: 0 };
  return {
    term: 1,
    primary,
    previous: null,
    timeline: 1,
    timelineReserved: 1,
    forks: [],
    wanted: none,
    published: none,
    lastLsn: 0n,
    cloning: null,
    ejected: [],
    isPaused: false,
    request: null,
    switchover: null,
    electedWallMs: 0,
    swappedWallMs: 0,
    degraded: [],
    historyNumber: 0,
  };
}

/**
 * Where a copy of `timeline` that ends at `endLsn` stands to the primary's timeline: `part` = a prefix of it, so it can follow as it is,
 * whatever happened to it; `diverged` = it has log that the primary never had; `unknown` = a fork in between is not known yet.
 */
export function ancestry(
  forks: readonly Fork[],
  copy: { readonly timeline: number; readonly endLsn: Lsn },
  timeline: number,
): 'part' | 'diverged' | 'unknown' {
  let at = timeline;
  let end: Lsn | null = null;
  // A chain is at most as long as there are forks.
  for (let steps = 0; steps <= forks.length; steps += 1) {
    if (at === copy.timeline) return end === null || copy.endLsn <= end ? 'part' : 'diverged';
    const fork = forks.find((one) => one.timeline === at);
    if (fork === undefined) return at < copy.timeline ? 'diverged' : 'unknown';
    end = end === null || fork.forkLsn < end ? fork.forkLsn : end;
    at = fork.parent;
  }
  return 'diverged';
}

/** JSON for the store: a field whose name ends in `Lsn` is a position, written as Postgres writes it. */
export function encodeDocument(document: unknown): string {
  return JSON.stringify(document, (_key, value: unknown) => (typeof value === 'bigint' ? formatLsn(value) : value));
}

export function decodeDocument<T>(text: string): T {
  return JSON.parse(text, (key, value: unknown) =>
    key.endsWith('Lsn') && typeof value === 'string' ? parseLsn(value) : value,
  ) as T;
}
