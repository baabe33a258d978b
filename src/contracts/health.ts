// What any role tells about itself: answered on its HTTP port, read by `skerry status`, `verify`, `up` and the console.
// Positions are texts (`16/B374D848`), so that they survive JSON.

export interface EpochJson {
  readonly systemId: string;
  readonly timeline: number;
}

/** `GET /status` of a relay or an edge. */
export interface RoleStatus {
  readonly role: 'relay' | 'edge';
  readonly name: string;
  readonly pid: number;
  readonly version: string;
  /** `starting` until the first row can be read; `lost` when the upstream is away (reads go on). */
  readonly state: 'starting' | 'bootstrapping' | 'streaming' | 'lost' | 'stopping';
  /** One sentence for people: why it is in this state. */
  readonly reason: string;
  readonly epoch: EpochJson | null;
  /** Last transaction that a reader here sees (edge) or that is durable here (relay). */
  readonly position: string;
  /** Newest position this role knows its upstream to have. */
  readonly upstreamPosition: string;
  /** Milliseconds since this role last knew itself equal to its upstream; 0 when it is. */
  readonly lagMs: number;
  readonly lagBytes: number;
  readonly rows: number;
  readonly tables: number;
  /** Statements answered (edge) since the start, by where the answer came from. */
  readonly answered: { readonly local: number; readonly forwarded: number };
  /** Name of the placement it holds (edge), of its own upstream (relay); absent: everything. */
  readonly placement?: string;
  /** Subscribers attached (relay). */
  readonly subscribers: readonly SubscriberStatus[];
}

export interface SubscriberStatus {
  readonly name: string;
  readonly remoteAddress: string;
  /** What the subscriber reported as flushed. */
  readonly position: string;
  readonly lagBytes: number;
  /** `live` from memory, `catch-up` from the log. */
  readonly mode: 'live' | 'catch-up';
  /** Whose name it came with, which decides what it is sent. */
  readonly identity?: string;
  /** Name of its placement; absent: everything. */
  readonly placement?: string;
}

/** Checksum of one table: order-independent, comparable between Postgres and any replica at the same position. */
export interface TableChecksum {
  /** schema.name */
  readonly table: string;
  readonly rows: number;
  /** Sum over all rows of the first 64 bits of md5(row text), modulo 2^64, as 16 hex digits. */
  readonly sum: string;
}

/**
 * `GET /checksum` of an edge: its tables at its own position, whatever that is at the moment.
 * `GET /checksum?at=LSN&wait_ms=N` of a relay: its replica at exactly that position (every transaction with end_lsn <= LSN,
 * once the upstream is known to have passed it). It must be held first, or it is past the position by the time it is asked:
 * `POST /hold?ms=N` makes it stop applying while the stream and the log go on; `checksum` moves it forward as far as asked and
 * no further; `POST /release`, or the end of the time, lets it go on. These need the peers' user and password (Basic).
 */
export interface ChecksumReport {
  readonly name: string;
  readonly epoch: EpochJson;
  readonly position: string;
  /** Name of the placement that these tables are restricted to; absent: everything. */
  readonly placement?: string;
  readonly tables: readonly TableChecksum[];
}
