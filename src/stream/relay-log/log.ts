// The relay's durable log: whole committed transactions in commit order, in append-only segments. See DESIGN.md.
// Loop: writer (takes what is queued, writes, fdatasyncs, tells; one batch at a time = group commit).

import { must } from '../../base/assert.ts';
import type { Clock } from '../../base/clock.ts';
import type { Disk, File } from '../../base/disk.ts';
import { describeError, Fault } from '../../base/fault.ts';
import { sleepQuietly, type Service } from '../../base/service.ts';
import type { Log } from '../../observe/log.ts';
import { type Epoch, formatLsn, type Lsn, parseLsn } from '../../pg/lsn.ts';
import { logDamaged, positionNotInLog } from '../faults.ts';
import { BEGIN_FRAME_BYTES } from '../frames.ts';
import {
  decodeRecord,
  encodedBytes,
  encodeRecordInto,
  endLsnAt,
  type LogRecord,
  type RawVisitor,
  RECORD_HEADER_BYTES,
  RECORD_OVERHEAD_BYTES,
  visitPlainRecord,
} from './record.ts';
import { planRetention, type RetentionLimits, type RetentionNeeds } from './retention.ts';

export interface RelayLogDeps {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RelayLogOptions {
  readonly directory: string;
  /** A segment is closed after this many bytes. */
  readonly segmentBytesMax: number;
  /** More than this waiting to be written: `append` says so, and the source stops reading. */
  readonly queueBytesMax: number;
  readonly retention: RetentionLimits;
}

export const RELAY_LOG_DEFAULTS = {
  segmentBytesMax: 32 * 1024 * 1024,
  queueBytesMax: 16 * 1024 * 1024,
  retention: { bytesMin: 256 * 1024 * 1024, bytesMax: 4 * 1024 * 1024 * 1024 },
} as const;

/** Where a log begins and whose history it is. */
export interface LogOrigin {
  readonly epoch: Epoch;
  /** The log has what was committed after this LSN. */
  readonly startLsn: Lsn;
  /** Text of the timeline history file (TIMELINE_HISTORY), empty on timeline 1. */
  readonly timelineHistory: string;
}

interface Segment {
  readonly startLsn: Lsn;
  readonly path: string;
  endLsn: Lsn;
  /** Bytes of whole, written records. */
  bytes: number;
  bigBytes: number;
  /** Every so many bytes a known record border, so that a reader need not start at the beginning. */
  readonly index: { readonly lsn: Lsn; readonly offset: number }[];
}

interface Meta {
  readonly version: 1;
  readonly systemId: string;
  readonly timeline: number;
  readonly startLsn: string;
  readonly timelineHistory: string;
}

const META = 'log.json';
const BIG = 'big';
const SEGMENT_NAME = /^([0-9A-F]{16})\.log$/;
const INDEX_EVERY_BYTES = 1024 * 1024;
const READ_BYTES = 512 * 1024;
const BATCH_BYTES_MAX = 2 * 1024 * 1024;
const DISK_FULL_RETRY_MS = 1000;

/**
 * Pause after a flush, unless there is much to write: at 1,000 small transactions a second one flush stores several of them,
 * which saves a fifth of the relay's CPU. Nobody waits for it but the acknowledgement to the upstream.
 */
const GROUP_MS = 4;
const GROUP_BYTES = 256 * 1024;

export class RelayLog implements Service {
  readonly name = 'relay.log';
  readonly #deps: RelayLogDeps;
  readonly #options: RelayLogOptions;
  readonly #segments: Segment[];
  #origin: LogOrigin;
  #active: File;
  #activeIndexAt = 0;
  #batchBuffer = new Uint8Array(0);
  #queue: LogRecord[] = [];
  #queuedBytes = 0;
  #endLsn: Lsn;
  #writtenLsn: Lsn;
  #durableLsn: Lsn;
  #wake: (() => void) | null = null;
  #diskFull = false;
  #closed = false;

  /** Called after each group commit, on the event loop. */
  onDurable: (lsn: Lsn) => void = () => {};
  /** Called when `append` may be used again after it returned false. */
  onRoom: () => void = () => {};

  private constructor(
    deps: RelayLogDeps,
    options: RelayLogOptions,
    origin: LogOrigin,
    segments: Segment[],
    active: File,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#origin = origin;
    this.#segments = segments;
    this.#active = active;
    this.#endLsn = this.#writtenLsn = this.#durableLsn = must(segments.at(-1)).endLsn;
  }

  /** Opens the log in `options.directory`, cutting a torn tail off; null when there is none. Throws Fault `log-damaged`. */
  static async open(deps: RelayLogDeps, options: RelayLogOptions): Promise<RelayLog | null> {
    const { disk } = deps;
    if (!(await disk.exists(`${options.directory}/${META}`))) return null;
    const origin = parseMeta(await disk.readText(`${options.directory}/${META}`), options.directory);
    const starts = (await disk.list(options.directory))
      .map((name) => SEGMENT_NAME.exec(name)?.[1])
      .filter((hex) => hex !== undefined)
      .map((hex) => BigInt(`0x${hex}`))
      .toSorted((a, b) => (a < b ? -1 : 1));
    // A crash between writing the new beginning and removing old segments leaves some that no longer count.
    const segments: Segment[] = [];
    for (const [index, startLsn] of starts.entries()) {
      const path = segmentPath(options.directory, startLsn);
      if (startLsn < origin.startLsn) {
        await disk.remove(path);
        continue;
      }
      await using file = await disk.open(path, 'read');
      segments.push({
        startLsn,
        path,
        endLsn: starts[index + 1] ?? startLsn,
        bytes: await file.size(),
        bigBytes: 0,
        index: [],
      });
    }
    if (segments.length === 0) segments.push(await createSegment(disk, options.directory, origin.startLsn));
    if (must(segments[0]).startLsn !== origin.startLsn)
      throw logDamaged(options.directory, 'its first segment is missing');
    await removeOldBigFiles(disk, options.directory, origin.startLsn);
    await measureBigFiles(disk, options.directory, segments);
    const last = must(segments.at(-1));
    const active = await disk.open(last.path, 'write');
    await recoverTail(deps, last, active);
    return new RelayLog(deps, options, origin, segments, active);
  }

  /** Starts an empty log at `origin`, in place of whatever was in the directory. */
  static async create(deps: RelayLogDeps, options: RelayLogOptions, origin: LogOrigin): Promise<RelayLog> {
    const { disk } = deps;
    await disk.remove(options.directory);
    await disk.makeDirectory(`${options.directory}/${BIG}`);
    const segment = await createSegment(disk, options.directory, origin.startLsn);
    await writeMeta(disk, options.directory, origin);
    return new RelayLog(deps, options, origin, [segment], await disk.open(segment.path, 'write'));
  }

  get epoch(): Epoch {
    return this.#origin.epoch;
  }
  get timelineHistory(): string {
    return this.#origin.timelineHistory;
  }
  /** Everything committed after this LSN and up to `endLsn` is in the log. */
  get startLsn(): Lsn {
    return must(this.#segments[0]).startLsn;
  }
  /** End of the last record handed to `append`. */
  get endLsn(): Lsn {
    return this.#endLsn;
  }
  /** End of the last record that a reader can get from the files. */
  get writtenLsn(): Lsn {
    return this.#writtenLsn;
  }
  /** End of the last record that survives a power cut. */
  get durableLsn(): Lsn {
    return this.#durableLsn;
  }
  /** True while the disk has no room: nothing new becomes durable, so nothing is acknowledged. */
  get diskFull(): boolean {
    return this.#diskFull;
  }
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes + segment.bigBytes, 0);
  }
  get roomy(): boolean {
    return this.#queuedBytes < this.#options.queueBytesMax;
  }

  /** Queues a record. False when too much is waiting: stop appending until `onRoom`. */
  append(record: LogRecord): boolean {
    if (record.previousLsn !== this.#endLsn) {
      throw new Error(
        `assertion failed: record after ${formatLsn(record.previousLsn)} appended at ${formatLsn(this.#endLsn)}`,
      );
    }
    this.#endLsn = record.endLsn;
    this.#queue.push(record);
    this.#queuedBytes += RECORD_OVERHEAD_BYTES + record.frames.length;
    this.#wake?.();
    return this.roomy;
  }

  /** Path of the file with the frames of the big transaction that ends at `endLsn`. */
  bigPath(endLsn: Lsn): string {
    return `${this.#options.directory}/${BIG}/${hex16(endLsn)}.frames`;
  }

  /** Moves a synced file of frames into the log; append the record of kind `big` afterwards. */
  async adoptBig(path: string, endLsn: Lsn, bytes: number): Promise<void> {
    await this.#deps.disk.rename(path, this.bigPath(endLsn));
    await this.#deps.disk.syncDirectory(`${this.#options.directory}/${BIG}`);
    must(this.#segments.at(-1)).bigBytes += bytes;
  }

  /** Reads records that end after `from`. Throws Fault `position-not-in-log` when that is older than the log. */
  reader(from: Lsn): LogReader {
    if (from < this.startLsn) throw positionNotInLog(from, this.startLsn);
    return new LogReader(this.#deps.disk, this.#segments, from, () => this.startLsn);
  }

  /** The history moves to a new timeline without a gap: positions stay, the epoch changes. */
  async changeTimeline(timeline: number, timelineHistory: string): Promise<void> {
    this.#origin = { ...this.#origin, epoch: { systemId: this.epoch.systemId, timeline }, timelineHistory };
    await writeMeta(this.#deps.disk, this.#options.directory, { ...this.#origin, startLsn: this.startLsn });
  }

  /** Removes segments nobody needs; says what it did, or null. */
  async retain(needs: RetentionNeeds): Promise<string | null> {
    const seen = this.#segments.map((one) => ({ ...one, bytes: one.bytes + one.bigBytes }));
    const plan = planRetention(seen, needs, this.#options.retention);
    if (plan.startLsn === null) return null;
    // The new beginning is durable before the first file goes; leftovers are removed at the next start.
    await writeMeta(this.#deps.disk, this.#options.directory, { ...this.#origin, startLsn: plan.startLsn });
    this.#origin = { ...this.#origin, startLsn: plan.startLsn };
    for (const gone of this.#segments.splice(0, plan.drop)) await this.#deps.disk.remove(gone.path);
    await removeOldBigFiles(this.#deps.disk, this.#options.directory, plan.startLsn);
    return plan.sentence;
  }

  /** Writes what is appended until the signal aborts; what is queued then is still written. */
  async run(signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#wake?.();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted || this.#queue.length > 0) {
        if (this.#queue.length === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = null;
          continue;
        }
        if (!(await this.#writeBatch(signal))) return;
        if (this.#queuedBytes < GROUP_BYTES) await sleepQuietly(this.#deps.clock, GROUP_MS, signal);
      }
    } finally {
      signal.removeEventListener('abort', wake);
      await this.close();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#active.close();
  }

  /** False when it gave up because of the signal. */
  async #writeBatch(signal: AbortSignal): Promise<boolean> {
    const batch = this.#takeBatch();
    const bytes = this.#encode(batch);
    const last = must(batch.at(-1));
    for (;;) {
      try {
        await this.#rotateIfNeeded(must(batch[0]).previousLsn);
        const segment = must(this.#segments.at(-1));
        await this.#active.write(bytes, segment.bytes);
        if (segment.bytes >= this.#activeIndexAt) {
          segment.index.push({ lsn: must(batch[0]).previousLsn, offset: segment.bytes });
          this.#activeIndexAt = segment.bytes + INDEX_EVERY_BYTES;
        }
        segment.bytes += bytes.length;
        segment.endLsn = last.endLsn;
        this.#writtenLsn = last.endLsn;
        await this.#active.sync();
        break;
      } catch (error) {
        if (!(error instanceof Fault && error.code === 'disk-full')) throw error;
        if (!this.#diskFull) this.#deps.log.error('relay.log-full', { message: describeError(error) });
        this.#diskFull = true;
        // Written but not synced counts as not written: the same bytes go to the same place again.
        const segment = must(this.#segments.at(-1));
        if (this.#writtenLsn === last.endLsn) {
          segment.bytes -= bytes.length;
          segment.endLsn = this.#writtenLsn = must(batch[0]).previousLsn;
        }
        if (signal.aborted) return false;
        await sleepQuietly(this.#deps.clock, DISK_FULL_RETRY_MS, signal);
      }
    }
    if (this.#diskFull) this.#deps.log.info('relay.log-room', { message: 'the relay log can be written again' });
    this.#diskFull = false;
    const wasFull = !this.roomy;
    for (const record of batch) this.#queuedBytes -= RECORD_OVERHEAD_BYTES + record.frames.length;
    this.#durableLsn = last.endLsn;
    this.onDurable(last.endLsn);
    if (wasFull && this.roomy) this.onRoom();
    return true;
  }

  /** Into one buffer that is used again for the next batch: nobody else keeps it. */
  #encode(batch: readonly LogRecord[]): Uint8Array {
    let total = 0;
    for (const record of batch) total += encodedBytes(record);
    if (this.#batchBuffer.length < total) this.#batchBuffer = new Uint8Array(total);
    const buffer = this.#batchBuffer;
    // A single huge transaction shall not hold its memory for ever.
    if (total > 2 * BATCH_BYTES_MAX) this.#batchBuffer = new Uint8Array(0);
    const view = new DataView(buffer.buffer);
    let at = 0;
    for (const record of batch) at = encodeRecordInto(buffer, view, at, record);
    return buffer.subarray(0, total);
  }

  #takeBatch(): LogRecord[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length && bytes < BATCH_BYTES_MAX) {
      bytes += must(this.#queue[count]).frames.length + RECORD_HEADER_BYTES;
      count += 1;
    }
    return this.#queue.splice(0, count);
  }

  async #rotateIfNeeded(startLsn: Lsn): Promise<void> {
    if (must(this.#segments.at(-1)).bytes < this.#options.segmentBytesMax) return;
    const segment = await createSegment(this.#deps.disk, this.#options.directory, startLsn);
    const file = await this.#deps.disk.open(segment.path, 'write');
    await this.#active.close();
    this.#active = file;
    this.#activeIndexAt = 0;
    this.#segments.push(segment);
  }
}

/** Reads the log forward from a position, across segments, up to what is written. */
export class LogReader {
  readonly #disk: Disk;
  readonly #segments: readonly Segment[];
  readonly #logStart: () => Lsn;
  #lsn: Lsn;
  #segment: Segment | null = null;
  #file: File | null = null;
  #offset = 0;
  /** True once a record beyond `from` was seen: all that follow are beyond it, too. */
  #settled = false;
  readonly #buffer = new Uint8Array(READ_BYTES);

  constructor(disk: Disk, segments: readonly Segment[], from: Lsn, logStart: () => Lsn) {
    this.#disk = disk;
    this.#segments = segments;
    this.#lsn = from;
    this.#logStart = logStart;
  }

  /** Position reached: the end of the last record returned. */
  get lsn(): Lsn {
    return this.#lsn;
  }

  /**
   * Passes plain records on as bytes, about half a megabyte. False when the next record is not plain, or when there is none
   * yet: `next` tells which.
   */
  async visit(visitor: RawVisitor): Promise<boolean> {
    if (!(await this.#settle())) return false;
    const segment = must(this.#segment);
    const bytes = await this.#readBytes(segment, READ_BYTES);
    let at = 0;
    let last = -1;
    while (at < bytes.length && this.#isAhead(bytes, at)) {
      const length = visitPlainRecord(bytes, at, BEGIN_FRAME_BYTES, visitor);
      if (length === 0) break;
      last = at;
      at += length;
    }
    if (last < 0) return false;
    this.#lsn = endLsnAt(bytes, last);
    this.#offset += at;
    return true;
  }

  /** False for a record that ends at or before our position: it is skipped by `next`. */
  #isAhead(bytes: Uint8Array, at: number): boolean {
    return this.#settled || (bytes.length - at >= RECORD_HEADER_BYTES && endLsnAt(bytes, at) > this.#lsn);
  }

  /** The next records, about half a megabyte or one record; empty when there is nothing more in the files yet. */
  async next(): Promise<LogRecord[]> {
    for (;;) {
      if (!(await this.#settle())) return [];
      const records = await this.#read(must(this.#segment));
      this.#settled = this.#settled || records.length > 0;
      if (records.length > 0) return records;
    }
  }

  /** Goes to the segment that has the next bytes; false when there are none yet. */
  async #settle(): Promise<boolean> {
    for (;;) {
      if (this.#segment === null) await this.#enter();
      const segment = must(this.#segment);
      if (this.#offset < segment.bytes) return true;
      const following = this.#segments[this.#segments.indexOf(segment) + 1];
      if (following === undefined) {
        if (!this.#segments.includes(segment)) throw positionNotInLog(this.#lsn, this.#logStart());
        return false;
      }
      await this.close();
      this.#lsn = this.#lsn > following.startLsn ? this.#lsn : following.startLsn;
    }
  }

  async close(): Promise<void> {
    this.#segment = null;
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  #readBytes(segment: Segment, length: number): Promise<Uint8Array> {
    return must(this.#file).read(this.#offset, Math.min(length, segment.bytes - this.#offset), this.#buffer);
  }

  async #enter(): Promise<void> {
    if (this.#lsn < this.#logStart()) throw positionNotInLog(this.#lsn, this.#logStart());
    const segment = this.#segments.findLast((one) => one.startLsn <= this.#lsn) ?? must(this.#segments[0]);
    this.#segment = segment;
    this.#offset = segment.index.findLast((entry) => entry.lsn <= this.#lsn)?.offset ?? 0;
    this.#file = await this.#disk.open(segment.path, 'read');
  }

  async #read(segment: Segment): Promise<LogRecord[]> {
    const file = must(this.#file);
    // Not into the shared buffer: records are views of what was read, and they are kept.
    let bytes = await file.read(this.#offset, Math.min(READ_BYTES, segment.bytes - this.#offset));
    const records: LogRecord[] = [];
    let at = 0;
    for (;;) {
      const decoded = decodeRecord(bytes, at);
      if (decoded.tag === 'damaged') throw logDamaged(segment.path, `${decoded.reason} at byte ${this.#offset + at}`);
      if (decoded.tag === 'short') {
        if (at > 0) break;
        const available = segment.bytes - this.#offset;
        if (decoded.bytes > available) throw logDamaged(segment.path, `a record ends beyond byte ${segment.bytes}`);
        bytes = await file.read(this.#offset, Math.max(decoded.bytes, Math.min(READ_BYTES, available)));
        continue;
      }
      at += decoded.bytes;
      if (decoded.record.endLsn > this.#lsn) {
        records.push(decoded.record);
        this.#lsn = decoded.record.endLsn;
      }
      if (at >= bytes.length) break;
    }
    this.#offset += at;
    return records;
  }
}

/** Reads the whole last segment, checks each record, and cuts off what a crash left half written. */
async function recoverTail(deps: RelayLogDeps, segment: Segment, file: File): Promise<void> {
  const size = await file.size();
  let good = 0;
  let indexAt = 0;
  let reason = '';
  let bytes: Uint8Array = new Uint8Array(0);
  let base = 0;
  while (good < size) {
    const decoded = decodeRecord(bytes, good - base);
    if (decoded.tag === 'short') {
      if (good + decoded.bytes > size) {
        reason = 'the last record is incomplete';
        break;
      }
      bytes = await file.read(good, Math.max(decoded.bytes, READ_BYTES));
      base = good;
      continue;
    }
    if (decoded.tag === 'damaged') {
      reason = decoded.reason;
      break;
    }
    const { record } = decoded;
    if (record.previousLsn !== segment.endLsn) {
      reason = `a record follows ${formatLsn(record.previousLsn)} instead of ${formatLsn(segment.endLsn)}`;
      break;
    }
    if (good >= indexAt) {
      segment.index.push({ lsn: record.previousLsn, offset: good });
      indexAt = good + INDEX_EVERY_BYTES;
    }
    segment.endLsn = record.endLsn;
    good += decoded.bytes;
  }
  segment.bytes = good;
  if (good === size) return;
  deps.log.warn('relay.log-tail-cut', {
    message: `${size - good} bytes after ${formatLsn(segment.endLsn)} were cut off the relay log: ${reason}`,
  });
  await file.truncate(good);
  await file.sync();
}

async function createSegment(disk: Disk, directory: string, startLsn: Lsn): Promise<Segment> {
  const path = segmentPath(directory, startLsn);
  await using file = await disk.open(path, 'write');
  await file.truncate(0);
  await file.sync();
  await disk.syncDirectory(directory);
  return { startLsn, path, endLsn: startLsn, bytes: 0, bigBytes: 0, index: [] };
}

async function removeOldBigFiles(disk: Disk, directory: string, startLsn: Lsn): Promise<void> {
  for (const [name, endLsn] of await bigFiles(disk, directory)) {
    if (endLsn <= startLsn) await disk.remove(`${directory}/${BIG}/${name}`);
  }
}

async function measureBigFiles(disk: Disk, directory: string, segments: readonly Segment[]): Promise<void> {
  for (const [name, endLsn] of await bigFiles(disk, directory)) {
    await using file = await disk.open(`${directory}/${BIG}/${name}`, 'read');
    const segment = segments.findLast((one) => one.startLsn < endLsn);
    if (segment !== undefined) segment.bigBytes += await file.size();
  }
}

async function bigFiles(disk: Disk, directory: string): Promise<[string, Lsn][]> {
  const found: [string, Lsn][] = [];
  for (const name of await disk.list(`${directory}/${BIG}`)) {
    const hex = /^([0-9A-F]{16})\.frames$/.exec(name)?.[1];
    if (hex !== undefined) found.push([name, BigInt(`0x${hex}`)]);
  }
  return found;
}

function parseMeta(text: string, directory: string): LogOrigin {
  try {
    const meta = JSON.parse(text) as Meta;
    if (meta.version !== 1) throw new Error(`version ${String(meta.version)} is not known`);
    return {
      epoch: { systemId: meta.systemId, timeline: meta.timeline },
      startLsn: parseLsn(meta.startLsn),
      timelineHistory: meta.timelineHistory,
    };
  } catch (error) {
    throw logDamaged(`${directory}/${META}`, describeError(error));
  }
}

function writeMeta(disk: Disk, directory: string, origin: LogOrigin): Promise<void> {
  const meta: Meta = {
    version: 1,
    systemId: origin.epoch.systemId,
    timeline: origin.epoch.timeline,
    startLsn: formatLsn(origin.startLsn),
    timelineHistory: origin.timelineHistory,
  };
  return disk.writeTextAtomically(`${directory}/${META}`, JSON.stringify(meta));
}

function segmentPath(directory: string, startLsn: Lsn): string {
  return `${directory}/${hex16(startLsn)}.log`;
}

function hex16(lsn: Lsn): string {
  return lsn.toString(16).toUpperCase().padStart(16, '0');
}
