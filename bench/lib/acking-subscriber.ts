// A subscriber that speaks the replication protocol and does nothing with what it gets but note when each commit came, and
// acknowledge it. It looks at four bytes of each frame, so that hundreds of them fit into one process.

import { message, PgConnection, type PgTarget } from './pg-connection.ts';

const XLOG_DATA = 'w'.charCodeAt(0);
const KEEPALIVE = 'k'.charCodeAt(0);
const COMMIT = 'C'.charCodeAt(0);

// Offsets inside a CopyData frame: type and length, then XLogData's own type, start, end, time, then pgoutput.
const KIND_AT = 5;
const PGOUTPUT_AT = KIND_AT + 1 + 8 + 8 + 8;
/** In pgoutput's Commit: type, flags, commit LSN, end LSN. */
const COMMIT_END_AT = PGOUTPUT_AT + 1 + 1 + 8;
/** In a keepalive: type, end LSN, time, whether a reply is wanted. */
const KEEPALIVE_END_AT = KIND_AT + 1;
const KEEPALIVE_REPLY_AT = KEEPALIVE_END_AT + 8 + 8;

export interface AckingOptions {
  readonly slot: string;
  /** LSN to start after. */
  readonly from: string;
  /** Commits to note the time of. */
  readonly commitsMax: number;
}

export class AckingSubscriber implements AsyncDisposable {
  /** performance.now() of each commit, in the order they came. */
  readonly receivedAt: Float64Array;
  commits = 0;
  readonly #connection: PgConnection;
  /** Standby status update; the position is written into it before each send. */
  readonly #status = message('d', Buffer.from('r'), Buffer.alloc(8 * 4 + 1));

  /** Connects and starts streaming. Throws PgError when the relay refuses. */
  static async attach(target: PgTarget, options: AckingOptions): Promise<AckingSubscriber> {
    const subscriber = new AckingSubscriber(await PgConnection.open(target), options.commitsMax);
    const connection = subscriber.#connection;
    await connection.query(`CREATE_REPLICATION_SLOT "${options.slot}" TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`);
    await connection.startReplication(
      `START_REPLICATION SLOT "${options.slot}" LOGICAL ${options.from} (proto_version '1', publication_names '"skerry"')`,
      (frames) => subscriber.#receive(frames),
    );
    return subscriber;
  }

  private constructor(connection: PgConnection, commitsMax: number) {
    this.#connection = connection;
    this.receivedAt = new Float64Array(commitsMax);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]();
  }

  #receive(frames: Buffer): void {
    const now = performance.now();
    let acknowledge = -1;
    for (let at = 0; at < frames.length; at += 1 + frames.readInt32BE(at + 1)) {
      const kind = frames[at + KIND_AT];
      if (kind === XLOG_DATA && frames[at + PGOUTPUT_AT] === COMMIT) {
        if (this.commits < this.receivedAt.length) this.receivedAt[this.commits] = now;
        this.commits += 1;
        acknowledge = at + COMMIT_END_AT;
      } else if (kind === KEEPALIVE && frames[at + KEEPALIVE_REPLY_AT] === 1) {
        acknowledge = at + KEEPALIVE_END_AT;
      }
    }
    if (acknowledge >= 0) this.#acknowledge(frames.subarray(acknowledge, acknowledge + 8));
  }

  /** Written, flushed and applied are the same for one that keeps nothing. */
  #acknowledge(lsn: Buffer): void {
    for (const at of [6, 14, 22]) lsn.copy(this.#status, at);
    this.#connection.send(Buffer.from(this.#status));
  }
}
