// Where the edge's server meets the applier: the applier owns the SQLite file and writes it (in a Worker); the server
// only reads the file, and learns from this feed where it is, when it changed shape and how old it is.

import type { Epoch, Lsn } from '../pg/lsn.ts';
import type { RoleStatus } from './health.ts';

/** What the applier knows. Values are replaced as a whole, never changed in place. */
export interface ReplicaState {
  /** `streaming` and `lost` can be read from; before them there is no complete replica. */
  readonly state: RoleStatus['state'];
  /** One sentence for people: why it is in this state. */
  readonly reason: string;
  readonly epoch: Epoch | null;
  /** end_lsn of the last transaction that a new reader of the file sees. Told after the SQLite commit, never before. */
  readonly position: Lsn;
  /** Newest position the upstream is known to have. */
  readonly upstreamPosition: Lsn;
  /** Grows by one whenever another file was put in place of the old one (a new snapshot): readers must open it again. */
  readonly generation: number;
  /** Grows by one whenever the catalogue inside the file changed: readers must read it again. */
  readonly schemaVersion: number;
  /** Grows with each word of the upstream that proves the replica equal to the core: the age of its answers counts from there. */
  readonly proofs: number;
  readonly rows: number;
  readonly tables: number;
}

export interface ReplicaFeed {
  readonly current: ReplicaState;
  /** Path of the SQLite file. Stays the same over generations (a snapshot is renamed over it). */
  readonly path: string;
  /** Milliseconds since the replica last knew itself equal to its upstream; 0 when it is, Infinity when it never was. */
  lagMs(): number;
  /**
   * Milliseconds since the upstream last proved that nothing is missing here, also while it is silent: an answer holds all that
   * was committed before that. Infinity when it never did. An idle upstream is asked once a second.
   */
  ageMs(): number;
  /** Calls `listener` after each change of `current`. Dispose to stop. */
  subscribe(listener: (state: ReplicaState) => void): Disposable;
}
