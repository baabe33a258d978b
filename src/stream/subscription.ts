// One attached subscriber: what it was sent, what it confirmed, and the pump that sends the rest.
//
//   live ──outgoing queue full──▶ waiting ──drain──▶ live or catch-up
//   live / waiting ──ring has moved on──▶ catch-up (reads the log) ──reached the ring──▶ live
//
// Memory per subscriber is bounded by `QUEUE_BYTES_MAX`: records are shared, only the connection's queue is its own.

import { must } from '../base/assert.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Lsn } from '../pg/lsn.ts';
import { logDamaged } from './faults.ts';
import { BEGIN_FRAME_BYTES, concat, frameBytesAt, wholeFrames, withoutLogicalMessages } from './frames.ts';
import { type Batch, framesFor, type Hub } from './hub.ts';
import type { LogReader } from './relay-log/log.ts';
import { ALWAYS_SENT, type LogRecord } from './relay-log/record.ts';

/** More than this unsent: nothing is added until it drains. */
const QUEUE_BYTES_MAX = 384 * 1024;
const CHUNK_BYTES = 512 * 1024;

/** The connection, as far as the pump needs it. */
export interface Outlet {
  /** False when something stays queued; `Subscription.drained` is to be called when the queue is empty again. */
  write(bytes: Uint8Array): boolean;
  readonly queuedBytes: number;
  /** Sends a keepalive that says that everything up to `lsn` was sent; `isProof`: and that there is nothing else. */
  keepalive(lsn: Lsn, replyNow: boolean, isProof: boolean): void;
  /** Milliseconds since the subscriber was last heard. */
  silentMs(): number;
  /** Ends the subscription with an error that the subscriber gets to read. */
  fail(error: unknown): void;
}

export interface SubscriptionOptions {
  readonly name: string;
  readonly remoteAddress: string;
  readonly from: Lsn;
  /** Whether logical messages were asked for. */
  readonly messages: boolean;
  /** Who it logged in as: decides what it is sent. */
  readonly identity: string;
  /** Name of its placement; null when it is sent everything. */
  readonly placement: string | null;
}

export class Subscription {
  readonly name: string;
  readonly remoteAddress: string;
  readonly identity: string;
  readonly placement: string | null;
  readonly #hub: Hub;
  readonly #disk: Disk;
  readonly #outlet: Outlet;
  readonly #messages: boolean;
  readonly #versions = new Map<number, number>();
  #sentLsn: Lsn;
  /** Below any position, so that a subscriber that is up to date hears so at once. */
  #keptAliveLsn: Lsn = -1n;
  #confirmedLsn: Lsn;
  #catchingUp = false;
  #closed = false;
  #drain: (() => void) | null = null;
  /** Memory that the connection has let go of. */
  #spare: Uint8Array | null = null;

  constructor(hub: Hub, disk: Disk, outlet: Outlet, options: SubscriptionOptions) {
    this.#hub = hub;
    this.#disk = disk;
    this.#outlet = outlet;
    this.name = options.name;
    this.remoteAddress = options.remoteAddress;
    this.identity = options.identity;
    this.placement = options.placement;
    this.#messages = options.messages;
    this.#sentLsn = this.#confirmedLsn = options.from;
  }

  /** Where its records come from. */
  get hub(): Hub {
    return this.#hub;
  }
  get sentLsn(): Lsn {
    return this.#sentLsn;
  }
  get confirmedLsn(): Lsn {
    return this.#confirmedLsn;
  }
  get mode(): 'live' | 'catch-up' {
    return this.#catchingUp ? 'catch-up' : 'live';
  }

  /** Begins sending. Throws Fault `position-not-in-log`. */
  start(): void {
    // Asks the log whether it still has the position, before anything is sent.
    if (this.#hub.newer(this.#sentLsn, 1) === null) void this.#hub.log.reader(this.#sentLsn);
    this.#hub.add(this);
    // As Postgres does: a client that wants nothing beyond this position need not wait for a commit to learn so.
    this.keepAlive(false);
    this.#pump();
  }

  close(): void {
    this.#closed = true;
    this.#hub.remove(this);
    this.#drain?.();
  }

  /** The subscriber says that it has made everything up to `lsn` durable. */
  confirm(lsn: Lsn): void {
    if (lsn > this.#confirmedLsn) this.#confirmedLsn = lsn;
  }

  /** New records, for whoever has all the older ones. */
  offer(batch: Batch): void {
    if (this.#closed || this.#catchingUp || this.#outlet.queuedBytes > QUEUE_BYTES_MAX) return;
    if (this.#sentLsn !== batch.from || batch.needs === null || !this.#knows(batch.needs)) {
      this.#pump();
      return;
    }
    const bytes = batch.shared(this.#messages, this.#hub.encoded);
    this.#sentLsn = batch.to;
    if (bytes.length > 0) this.#outlet.write(bytes);
    if (batch.endsInCommit(this.#messages)) this.#keptAliveLsn = batch.to;
    this.#keepAlive();
  }

  /** The outgoing queue is empty. */
  drained(): void {
    if (this.#drain === null) this.#pump();
    else this.#drain();
  }

  /** Tells the position although nothing happened, so that both ends see the other live. */
  keepAlive(replyNow: boolean): void {
    this.#outlet.keepalive(this.#sentLsn, replyNow, false);
  }

  /** Our upstream has just proved that what we have is all there is: so it is for a subscriber that was sent all of it. */
  prove(): void {
    if (this.#closed || this.#catchingUp || this.#sentLsn < this.#hub.endLsn) return;
    this.#outlet.keepalive(this.#sentLsn, false, true);
    this.#keptAliveLsn = this.#sentLsn;
  }

  #knows(needs: ReadonlyMap<number, number>): boolean {
    for (const [relation, version] of needs) {
      if (this.#versions.get(relation) !== version) return false;
    }
    return true;
  }

  /** Sends from the ring as much as the queue takes; goes to the log when the ring has moved on. */
  #pump(): void {
    while (!this.#closed && !this.#catchingUp && this.#outlet.queuedBytes <= QUEUE_BYTES_MAX) {
      const records = this.#hub.newer(this.#sentLsn, CHUNK_BYTES);
      if (records === null || records.some((record) => record.kind === 'big')) {
        this.#catchUp(records).catch((error: unknown) => {
          if (error instanceof Fault && error.code === 'log-damaged') this.#hub.onDamaged(error);
          if (!this.#closed) this.#outlet.fail(error);
        });
        return;
      }
      if (records.length === 0) break;
      this.#send(records);
    }
    this.#keepAlive();
  }

  /** What was passed without being sent (marks, messages that were not asked for) is told by a keepalive. */
  #keepAlive(): void {
    if (this.#closed || this.#keptAliveLsn >= this.#sentLsn || this.#sentLsn < this.#hub.endLsn) return;
    this.#outlet.keepalive(this.#sentLsn, false, false);
    this.#keptAliveLsn = this.#sentLsn;
  }

  /** Sends whole records that are in memory. */
  #send(records: readonly LogRecord[]): void {
    const parts: Uint8Array[] = [];
    for (const record of records) {
      const frames = framesFor(record, this.#messages, this.#hub.encoded);
      this.#sentLsn = record.endLsn;
      if (frames.length === 0) continue;
      this.#pushRecord(parts, record, frames);
      // Its Commit says where the receiver is: no keepalive is needed for that.
      if (record.kind === 'transaction') this.#keptAliveLsn = record.endLsn;
    }
    if (parts.length > 0) this.#outlet.write(concat(parts));
  }

  #pushRecord(parts: Uint8Array[], record: LogRecord, frames: Uint8Array): void {
    const missing = this.#missingDescriptions(record);
    if (missing.length === 0) {
      parts.push(frames);
      return;
    }
    // Descriptions come right after Begin.
    parts.push(frames.subarray(0, BEGIN_FRAME_BYTES), ...missing, frames.subarray(BEGIN_FRAME_BYTES));
  }

  #missingDescriptions(record: LogRecord): Uint8Array[] {
    const missing: Uint8Array[] = [];
    for (const use of record.relations) {
      if (use.relation === ALWAYS_SENT) {
        if (this.#messages) missing.push(use.frames);
      } else if (this.#versions.get(use.relation) !== use.version) {
        if (use.frames.length > 0) missing.push(use.frames);
        this.#versions.set(use.relation, use.version);
      }
    }
    return missing;
  }

  /** Sends big transactions and what is only in the log, until the ring has the rest. */
  async #catchUp(fromRing: readonly LogRecord[] | null): Promise<void> {
    this.#catchingUp = true;
    let reader: LogReader | null = null;
    try {
      let records = fromRing;
      for (;;) {
        if (this.#closed) return;
        if (records === null) {
          // The ring may have helped in between; then the reader stands at a place that is behind us.
          if (reader !== null && reader.lsn !== this.#sentLsn) {
            await reader.close();
            reader = null;
          }
          reader ??= this.#hub.log.reader(this.#sentLsn);
          if (await this.#sendPlain(reader)) {
            records = this.#hub.newer(this.#sentLsn, CHUNK_BYTES);
            if (records === null) continue;
          } else {
            records = await reader.next();
          }
          // The ring keeps what is not written yet, so it has what the files do not.
          if (records.length === 0) break;
        }
        if (records.length === 0) break;
        await this.#sendSlowly(records);
        records = this.#hub.newer(this.#sentLsn, CHUNK_BYTES);
        if (records !== null && reader !== null) {
          await reader.close();
          reader = null;
        }
        if (records !== null && !records.some((record) => record.kind === 'big')) break;
      }
    } finally {
      await reader?.close();
      this.#catchingUp = false;
    }
    this.#pump();
  }

  /** Passes on what the log has ready, without looking closer. False when the next record needs to be looked at. */
  async #sendPlain(reader: LogReader): Promise<boolean> {
    let used = 0;
    // The queue is empty more often than not: then the memory is ours again after the write.
    let out =
      this.#outlet.queuedBytes === 0 ? (this.#spare ?? new Uint8Array(CHUNK_BYTES)) : new Uint8Array(CHUNK_BYTES);
    this.#spare = null;
    const sent = await reader.visit({
      needs: (relation, version, isInline) => {
        if (this.#versions.get(relation) === version) return false;
        this.#versions.set(relation, version);
        return !isInline;
      },
      take: (bytes, start, end) => {
        if (used + end - start > out.length) {
          const larger = new Uint8Array(Math.max(out.length * 2, used + end - start));
          larger.set(out.subarray(0, used));
          out = larger;
        }
        out.set(bytes.subarray(start, end), used);
        used += end - start;
      },
    });
    if (!sent || this.#closed) {
      this.#giveSpare(out);
      return false;
    }
    this.#outlet.write(out.subarray(0, used));
    this.#sentLsn = this.#keptAliveLsn = reader.lsn;
    await this.#room(0);
    this.#giveSpare(out);
    return true;
  }

  #takeSpare(): Uint8Array {
    const taken = this.#spare ?? new Uint8Array(CHUNK_BYTES);
    this.#spare = null;
    return taken;
  }

  /** Memory may be used again when the connection has let go of it: it took all, or was given nothing. */
  #giveSpare(memory: Uint8Array): void {
    if (memory.length === CHUNK_BYTES && this.#outlet.queuedBytes === 0) this.#spare = memory;
  }

  async #sendSlowly(records: readonly LogRecord[]): Promise<void> {
    let small: LogRecord[] = [];
    for (const record of records) {
      if (record.kind !== 'big') {
        small.push(record);
        continue;
      }
      if (small.length > 0) this.#send(small);
      small = [];
      await this.#room();
      await this.#sendBig(record);
    }
    if (small.length > 0) this.#send(small);
    await this.#room();
  }

  async #sendBig(record: LogRecord): Promise<void> {
    if (!this.#messages && record.onlyMessages) {
      this.#sentLsn = record.endLsn;
      return;
    }
    await using file = await this.#disk.open(this.#hub.log.bigPath(record.endLsn), 'read');
    const begin = await file.read(0, BEGIN_FRAME_BYTES);
    this.#outlet.write(concat([begin, ...this.#missingDescriptions(record)]));
    // Whole frames only: a keepalive may come between any two writes.
    for (let offset = BEGIN_FRAME_BYTES; offset < record.frameBytes && !this.#closed; ) {
      const memory = this.#takeSpare();
      let chunk = await file.read(offset, CHUNK_BYTES, memory);
      let used = wholeFrames(chunk);
      if (used === 0) {
        chunk = await file.read(offset, frameBytesAt(chunk, 0));
        used = wholeFrames(chunk);
      }
      if (used === 0) throw logDamaged(this.#hub.log.bigPath(record.endLsn), 'it ends within a frame');
      offset += used;
      const frames = chunk.subarray(0, used);
      const kept = this.#messages || !record.hasMessages ? frames : withoutLogicalMessages(frames).kept;
      if (kept.length > 0) this.#outlet.write(kept);
      await this.#room(0);
      this.#giveSpare(memory);
    }
    if (this.#closed) return;
    this.#sentLsn = record.endLsn;
  }

  /** Waits until no more than `bytesMax` are queued. With 0, what was written is nobody's any more. */
  async #room(bytesMax = QUEUE_BYTES_MAX): Promise<void> {
    while (!this.#closed && this.#outlet.queuedBytes > bytesMax) {
      await new Promise<void>((resolve) => {
        this.#drain = resolve;
      });
      this.#drain = null;
    }
  }
}

/** The slowest of some positions; null when there is none. */
export function slowest(positions: Iterable<Lsn>): Lsn | null {
  let least: Lsn | null = null;
  for (const position of positions) least = least === null || position < least ? position : least;
  return least === null ? null : must(least);
}
