// How a relay or an edge talks to the applier of its replica, wherever that runs (in a Worker, or beside it in tests).

import type { Lsn, Position } from '../pg/lsn.ts';
import type { ChecksumReport } from './health.ts';
import type { PlacementInForce, PlacementSpec } from './placement.ts';
import type { ReplicaFeed } from './replica-feed.ts';

export interface ReplicaControl extends AsyncDisposable {
  readonly feed: ReplicaFeed;
  /**
   * Writes a standalone copy of the replica to `target`, which must not exist. With a placement: of its rows only, built
   * from nothing. Rejects while there is nothing to copy; `placement-missing` when it is not in force.
   */
  snapshot(target: string, placement?: string | null): Promise<Position>;
  /**
   * Checksums of all tables (of what a placement holds of them) at exactly `at`: waits up to `waitMs` for the replica to get there. Null = wherever it is now.
   * Rejects with Fault `position-passed` when it is beyond, `position-not-reached` when it does not get there.
   */
  checksum(at: Lsn | null, waitMs: number, placement?: string | null): Promise<ChecksumReport>;
  /** What the operator wants derived; in force at the end of the next transaction at the latest. Resolves with what is in force. */
  setPlacements(specs: readonly PlacementSpec[]): Promise<PlacementReport>;
  placements(): Promise<PlacementReport>;
  /** What was derived up to part `id` is durable elsewhere and may go. */
  derivedDurable(id: number): void;
  /** Stops applying for at most `forMs`; `checksum` moves it on as far as asked. Resolves with the position it stands at. */
  hold(forMs: number): Promise<Lsn>;
  release(): void;
  /** Resolves when the applier is gone for good, by whatever reason. */
  readonly ended: Promise<ReplicaEnd>;
  stop(): Promise<void>;
}

export interface ReplicaEnd {
  /** One sentence for people. */
  readonly reason: string;
  /** True when the file cannot be used any more and nobody was named who has a snapshot. */
  readonly unusable: boolean;
}

export interface PlacementReport {
  readonly inForce: readonly PlacementInForce[];
  /** A change waits for the next transaction. */
  readonly isWaiting: boolean;
  /** Sentences by placement: tables that are meant and cannot be held. */
  readonly problems: Readonly<Record<string, readonly string[]>>;
}

/** What an applier is told at its start: plain data, so that it can cross into a Worker. */
export interface ReplicaOptions {
  /** Name it subscribes under: the relay remembers its position by it. */
  readonly name: string;
  /** The SQLite file. */
  readonly path: string;
  /** postgres:// URL of the relay, with user and password. */
  readonly upstreamUrl: string;
  /** PEM texts for TLS to the upstream. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** http(s):// URL of the relay's HTTP port, for snapshots; null when somebody else provides the file. */
  readonly snapshotUrl: string | null;
  readonly publication: string;
  /** What survives a power cut without asking the upstream again. */
  readonly synchronous: 'full' | 'normal';
  /** Pause after each batch, in ms, while nothing is derived: for a replica that nobody reads from at once, so that it leaves the CPU to those who do. Default 0. */
  readonly lazyMs?: number;
  /** In a relay: placements to derive streams of. Absent: none, ever. */
  readonly placements?: readonly PlacementSpec[];
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}
