// Where the Postgres servers of one cluster are and what each is good for. The proxy asks; a static list with checks, or the
// cluster manager, answers. Plain data: a snapshot is never changed.

import type { Lsn } from '../pg/lsn.ts';

export interface ServerAddress {
  /** A name, an address, or a directory of unix sockets when it begins with "/". */
  readonly host: string;
  readonly port: number;
}

export interface ReplicaState extends ServerAddress {
  /** Bytes of WAL it has not replayed; null when not known. */
  readonly lagBytes: number | null;
  /** Position it has replayed for certain. */
  readonly replayedLsn: Lsn | null;
  /** Round trip of the last check in milliseconds: which is nearest. */
  readonly roundTripMs: number;
}

export interface Topology {
  /** Grows with each change of primary; a proxy never goes back to a lower one (I6). */
  readonly term: number;
  /** Null while there is none: writes wait. */
  readonly primary: ServerAddress | null;
  /** Only those that can be used. */
  readonly replicas: readonly ReplicaState[];
  /** Why it is so, for people. */
  readonly sentence: string;
}

export interface TopologySource {
  current(): Topology;
  /** Calls `changed` after each change. Dispose to stop. */
  subscribe(changed: (topology: Topology) => void): Disposable;
}

/** Equal addresses have equal texts. */
export function addressText(address: ServerAddress): string {
  return `${address.host}:${address.port}`;
}
