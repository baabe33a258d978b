// Words of the store of the cluster's state: keys with revisions, compare-and-set over several keys, leases.

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
