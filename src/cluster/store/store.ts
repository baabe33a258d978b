// The seam to the store of the cluster's state: keys with revisions, compare-and-set over several keys, watches, leases. etcd.ts and
// embedded-client.ts implement it; both pass store-suite.ts.

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** The store's revision at which this value was written; grows over all keys. */
  readonly revision: number;
}

/** Compared before a write: the key still has this revision; 0: the key is not there. */
export interface Condition {
  readonly key: string;
  readonly revision: number;
}

export type Change =
  | { readonly tag: 'put'; readonly key: string; readonly value: string; readonly lease?: LeaseId }
  | { readonly tag: 'delete'; readonly key: string };

/** `value` null: deleted, or its lease ended. */
export interface KeyEvent {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
}

/** Opaque; etcd's are 64-bit numbers in decimal. */
export type LeaseId = string;

/** All reads are linearizable; each call rejects with a Fault of `faults.ts` and never waits longer than the client's own limit. */
export interface Store {
  get(key: string): Promise<Entry | null>;
  /** Entries under the prefix, and the revision of the store at that moment: where to watch on from. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>;
  /** All changes, or none when a condition does not hold: then `revision` is null. */
  write(conditions: readonly Condition[], changes: readonly Change[]): Promise<{ readonly revision: number | null }>;
  grantLease(ttlMs: number): Promise<LeaseId>;
  /** False: the lease has ended. */
  keepAlive(lease: LeaseId): Promise<boolean>;
  /** Ends the lease and deletes its keys. */
  revokeLease(lease: LeaseId): Promise<void>;
  /**
   * Changes under the prefix with a revision above `afterRevision`, in order, until the signal aborts. Throws `store-history-lost` when
   * they are no longer kept (list again), `store-unavailable` when the connection ends.
   */
  watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncGenerator<readonly KeyEvent[]>;
}
