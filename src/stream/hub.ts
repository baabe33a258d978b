// Where records come in from the source and go out to subscribers. Newest records stay in memory (the ring), so that live
// subscribers cost no reading; whoever is behind reads the log. What is the same for many subscribers is put together once.

import { must } from '../base/assert.ts';
import type { Fault } from '../base/fault.ts';
import type { Counter } from '../observe/metrics.ts';
import type { Lsn } from '../pg/lsn.ts';
import { concat, withoutLogicalMessages } from './frames.ts';
import type { RelayLog } from './relay-log/log.ts';
import { ALWAYS_SENT, type LogRecord, RECORD_OVERHEAD_BYTES } from './relay-log/record.ts';
import type { Subscription } from './subscription.ts';

export interface HubOptions {
  /** Bytes of newest records kept in memory for live subscribers. */
  readonly ringBytesMax: number;
}

export const HUB_DEFAULTS: HubOptions = { ringBytesMax: 8 * 1024 * 1024 };

/** Records that came in together, put together for all who were at `from`. */
export class Batch {
  readonly from: Lsn;
  readonly to: Lsn;
  readonly records: readonly LogRecord[];
  /** Descriptions that a receiver must have to be sent the shared bytes; null when each record must be looked at. */
  readonly needs: ReadonlyMap<number, number> | null;
  #withMessages: Uint8Array | null = null;
  #withoutMessages: Uint8Array | null = null;

  constructor(from: Lsn, records: readonly LogRecord[]) {
    this.from = from;
    this.records = records;
    this.to = must(records.at(-1)).endLsn;
    this.needs = commonNeeds(records);
  }

  /** True when the last thing a receiver gets of it is the Commit at `to`, which tells the position by itself. */
  endsInCommit(messages: boolean): boolean {
    const last = must(this.records.at(-1));
    return last.kind === 'transaction' && (messages || !last.onlyMessages);
  }

  shared(messages: boolean, encoded: Counter): Uint8Array {
    if (messages) {
      this.#withMessages ??= concat(this.records.map((record) => record.frames));
      return this.#withMessages;
    }
    this.#withoutMessages ??= concat(this.records.map((record) => framesWithoutMessages(record, encoded)));
    return this.#withoutMessages;
  }
}

function commonNeeds(records: readonly LogRecord[]): Map<number, number> | null {
  const needs = new Map<number, number>();
  for (const record of records) {
    if (record.kind === 'big') return null;
    for (const use of record.relations) {
      if (use.relation === ALWAYS_SENT || use.frames.length === 0) return null;
      const known = needs.get(use.relation);
      if (known !== undefined && known !== use.version) return null;
      needs.set(use.relation, use.version);
    }
  }
  return needs;
}

const NOTHING = new Uint8Array(0);
const withoutMessagesCache = new WeakMap<LogRecord, Uint8Array>();

/** The frames of a record for a receiver; nothing for marks, and for big transactions, which lie in files. */
export function framesFor(record: LogRecord, messages: boolean, encoded: Counter): Uint8Array {
  return messages ? record.frames : framesWithoutMessages(record, encoded);
}

/** The frames of a record for a receiver that did not ask for logical messages; made once. */
function framesWithoutMessages(record: LogRecord, encoded: Counter): Uint8Array {
  if (record.onlyMessages) return NOTHING;
  if (!record.hasMessages) return record.frames;
  let frames = withoutMessagesCache.get(record);
  if (frames === undefined) {
    frames = withoutLogicalMessages(record.frames).kept;
    encoded.inc();
    withoutMessagesCache.set(record, frames);
  }
  return frames;
}

export class Hub {
  readonly #options: HubOptions;
  readonly #subscriptions = new Set<Subscription>();
  /** From old to new; the first one follows `#ringStart`. */
  #ring: LogRecord[] = [];
  #ringHead = 0;
  #ringBytes = 0;
  #fresh: LogRecord[] = [];
  #freshFrom: Lsn;
  readonly log: RelayLog;
  /** Called when a reader finds the log damaged: what lies on disk cannot be served any more. */
  onDamaged: (error: Fault) => void = () => {};
  /** Transactions put into the form that is sent. */
  readonly encoded: Counter;

  constructor(log: RelayLog, options: HubOptions, encoded: Counter) {
    this.log = log;
    this.encoded = encoded;
    this.#options = options;
    this.#freshFrom = log.endLsn;
  }

  /** Position of the newest record: forwarded already, maybe not durable yet. */
  get endLsn(): Lsn {
    return this.log.endLsn;
  }

  get subscriptions(): ReadonlySet<Subscription> {
    return this.#subscriptions;
  }

  /** Takes the next record. It is sent at the next `flush`. False when the log has too much to write: stop for a while. */
  record(record: LogRecord): boolean {
    if (this.#fresh.length === 0) this.#freshFrom = record.previousLsn;
    this.#fresh.push(record);
    if (record.kind === 'transaction' || record.kind === 'big') this.encoded.inc();
    this.#ring.push(record);
    this.#ringBytes += sizeOf(record);
    return this.log.append(record);
  }

  /** Sends what came since the last flush to everybody who keeps up. */
  flush(): void {
    if (this.#fresh.length > 0) {
      const batch = new Batch(this.#freshFrom, this.#fresh);
      this.#fresh = [];
      for (const subscription of this.#subscriptions) subscription.offer(batch);
    }
    this.#evict();
  }

  /** Up to `bytesMax` of records after `from`; null when they are not in memory any more; empty when there is nothing newer. */
  newer(from: Lsn, bytesMax: number): LogRecord[] | null {
    if (from >= this.endLsn) return [];
    const first = this.#ring[this.#ringHead];
    if (first === undefined || first.previousLsn > from) return null;
    let low = this.#ringHead;
    let high = this.#ring.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (must(this.#ring[middle]).endLsn > from) high = middle;
      else low = middle + 1;
    }
    const records: LogRecord[] = [];
    let bytes = 0;
    for (let index = low; index < this.#ring.length && bytes < bytesMax; index += 1) {
      const record = must(this.#ring[index]);
      records.push(record);
      bytes += sizeOf(record);
    }
    return records;
  }

  add(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
  }

  remove(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }

  #evict(): void {
    const written = this.log.writtenLsn;
    while (this.#ringBytes > this.#options.ringBytesMax && this.#ringHead < this.#ring.length) {
      const record = must(this.#ring[this.#ringHead]);
      if (record.endLsn > written) break;
      this.#ringBytes -= sizeOf(record);
      this.#ringHead += 1;
    }
    if (this.#ringHead > 1024 && this.#ringHead * 2 > this.#ring.length) {
      this.#ring = this.#ring.slice(this.#ringHead);
      this.#ringHead = 0;
    }
  }
}

function sizeOf(record: LogRecord): number {
  return RECORD_OVERHEAD_BYTES + record.frames.length;
}
