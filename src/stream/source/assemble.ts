// From a walsender's messages to whole committed transactions. In-progress transactions (Stream Start … Stream Stop) are
// spooled, one buffer for each, and come out whole at Stream Commit without what was rolled back.

import { must } from '../../base/assert.ts';
import { crc32 } from '../../base/crc32.ts';
import type { Disk } from '../../base/disk.ts';
import { Fault } from '../../base/fault.ts';
import { ROWS_MESSAGE_PREFIX, SCHEMA_MESSAGE_PREFIX, type SchemaChange } from '../../contracts/catalogue.ts';
import { formatLsn, type Lsn } from '../../pg/lsn.ts';
import {
  beginMessage,
  commitMessage,
  concat,
  frameOf,
  readLogicalMessage,
  TAG_BEGIN,
  TAG_COMMIT,
  TAG_DELETE,
  TAG_INSERT,
  TAG_MESSAGE,
  TAG_ORIGIN,
  TAG_RELATION,
  TAG_STREAM_ABORT,
  TAG_STREAM_COMMIT,
  TAG_STREAM_START,
  TAG_STREAM_STOP,
  TAG_TRUNCATE,
  TAG_TYPE,
  TAG_UPDATE,
} from '../frames.ts';
import { ALWAYS_SENT, EMPTY, type LogRecord, markRecord, type RelationUse } from '../relay-log/record.ts';
import { type BufferedTransaction, TransactionBuffer } from './transaction-buffer.ts';

export interface AssemblerOptions {
  /** Ours. Messages that belong to another one, whose world follows the same database, are left out; null takes all. */
  readonly publication: string | null;
  /** Folder for transactions that do not fit in memory; emptied at the start. */
  readonly spoolDirectory: string;
  /** A transaction larger than this goes to a file. */
  readonly transactionBytesMax: number;
  /** The same for each transaction in progress, of which there may be many. */
  readonly streamedBytesMax: number;
}

export const ASSEMBLER_DEFAULTS = {
  transactionBytesMax: 4 * 1024 * 1024,
  streamedBytesMax: 256 * 1024,
} as const;

export interface AssemblerSink {
  /** The next record, in commit order. */
  record(record: LogRecord): void;
  /** Takes over the synced file of a big transaction; its record follows. */
  adoptBig(path: string, endLsn: Lsn, bytes: number): Promise<void>;
  /**
   * Called when a relation is described anew; may answer with a logical message to put before the description (a schema
   * change that no event trigger announced).
   */
  relationChanged?(relation: number, description: Uint8Array): Promise<Uint8Array | null>;
  /** A message with one of our prefixes that is none of ours was left out: somebody else emitted it. */
  messageIgnored?(prefix: string): void;
}

interface Open {
  xid: number;
  readonly buffer: TransactionBuffer;
  readonly uses: Map<number, RelationUse>;
  /** Descriptions that came within the transaction. */
  readonly defined: Map<number, RelationUse>;
  /** Type frames that came since the last Relation. */
  readonly types: Uint8Array[];
  /** Schema messages that belong before everything else. */
  readonly hoisted: RelationUse[];
}

/** Commands that create a table and fill it before the event trigger can say what it looks like. */
const CREATES_FILLED = new Set(['CREATE TABLE AS', 'SELECT INTO']);

export class Assembler {
  readonly #disk: Disk;
  readonly #options: AssemblerOptions;
  readonly #sink: AssemblerSink;
  /** Relations as last described on this connection. */
  readonly #relations = new Map<number, RelationUse>();
  readonly #streamed = new Map<number, Open>();
  #position: Lsn;
  /** The transaction between Begin and Commit. */
  #plain: Open | null = null;
  #spare: Open | null = null;
  /** The transaction between Stream Start and Stream Stop. */
  #block: Open | null = null;
  #skipping = false;
  #spools = 0;

  constructor(disk: Disk, options: AssemblerOptions, sink: AssemblerSink, position: Lsn) {
    this.#disk = disk;
    this.#options = options;
    this.#sink = sink;
    this.#position = position;
  }

  /** End of the last record given to the sink. */
  get position(): Lsn {
    return this.#position;
  }

  /** True when no transaction is being received, so that a keepalive's LSN is a position. */
  get idle(): boolean {
    return this.#plain === null && this.#block === null && !this.#skipping;
  }

  /** True between Stream Start and Stream Stop: messages carry the xid they belong to. */
  get streaming(): boolean {
    return this.#block !== null;
  }

  /** Transactions in progress that are being spooled. */
  get inProgress(): number {
    return this.#streamed.size;
  }

  /** Nothing is committed up to `lsn` beyond what came: the position moves by a mark. Only while `idle`. */
  mark(lsn: Lsn): void {
    if (lsn <= this.#position) return;
    this.#emit(markRecord(this.#position, lsn));
  }

  /** Throws away what is incomplete: the upstream sends it again on the next connection. */
  async discard(): Promise<void> {
    await this.#plain?.buffer.discard();
    for (const open of this.#streamed.values()) await open.buffer.discard();
    this.#streamed.clear();
    this.#plain = null;
    this.#block = null;
  }

  /**
   * Takes the message `buffer[start, end)`, which has its XLogData header right before it; everything needed is copied. When
   * it answers with a promise, push nothing before that is done.
   */
  push(buffer: Uint8Array, start: number, end: number): Promise<void> | null {
    const tag = buffer[start] as number;
    switch (tag) {
      case TAG_INSERT:
      case TAG_UPDATE:
      case TAG_DELETE:
        return this.#change(buffer, start, end, false);
      case TAG_TRUNCATE:
        return this.#change(buffer, start, end, true);
      case TAG_BEGIN:
        return this.#begin(buffer, start, end);
      case TAG_COMMIT:
        return this.#commit(buffer, start, end);
      case TAG_RELATION:
      case TAG_TYPE:
        return this.#describe(buffer, start, end);
      case TAG_MESSAGE:
        return this.#message(buffer, start, end);
      case TAG_ORIGIN:
        this.#open()?.buffer.append(buffer, start, end, 0, 0, 'other');
        return null;
      case TAG_STREAM_START:
        return this.#streamStart(uint32(buffer, start + 1));
      case TAG_STREAM_STOP:
        this.#block = null;
        return null;
      case TAG_STREAM_COMMIT:
        return this.#streamCommit(buffer.slice(start, end), sentMicros(buffer, start));
      case TAG_STREAM_ABORT:
        return this.#streamAbort(uint32(buffer, start + 1), uint32(buffer, start + 5));
      default:
        throw unexpected(`message type ${JSON.stringify(String.fromCharCode(tag))}`);
    }
  }

  #open(): Open | null {
    return this.#block ?? this.#plain;
  }

  #begin(buffer: Uint8Array, start: number, end: number): null {
    if (this.#plain !== null || this.#block !== null) throw unexpected('Begin inside a transaction');
    // Its commit record begins before our position, so it ends there at the latest: we have it.
    this.#skipping = uint64(buffer, start + 1) < this.#position;
    if (this.#skipping) return null;
    const xid = uint32(buffer, start + 17);
    const open = this.#spare ?? this.#newOpen(this.#options.transactionBytesMax);
    this.#spare = null;
    open.xid = xid;
    open.buffer.begin(buffer, start, end);
    this.#plain = open;
    return null;
  }

  #newOpen(memoryBytesMax: number): Open {
    this.#spools += 1;
    const path = `${this.#options.spoolDirectory}/${this.#spools}.frames`;
    return {
      xid: 0,
      buffer: new TransactionBuffer(this.#disk, { path, memoryBytesMax }),
      uses: new Map(),
      defined: new Map(),
      types: [],
      hoisted: [],
    };
  }

  #change(buffer: Uint8Array, start: number, end: number, isTruncate: boolean): Promise<void> | null {
    const open = this.#open();
    if (open === null) {
      if (this.#skipping) return null;
      throw unexpected('a row change outside a transaction');
    }
    const xidBytes = this.#block === null ? 0 : 4;
    const from = start + 1 + xidBytes;
    if (isTruncate) {
      const count = uint32(buffer, from);
      for (let index = 0; index < count; index += 1) this.#use(open, uint32(buffer, from + 5 + 4 * index));
    } else {
      this.#use(open, uint32(buffer, from));
    }
    const subxid = xidBytes === 0 ? 0 : uint32(buffer, start + 1);
    open.buffer.append(buffer, start, end, xidBytes, subxid, 'change');
    return open.buffer.spill();
  }

  #use(open: Open, relation: number): void {
    if (open.uses.has(relation)) return;
    const known = this.#relations.get(relation);
    if (known === undefined) throw unexpected(`a change of relation ${relation}, which was never described`);
    open.uses.set(relation, known);
  }

  #describe(buffer: Uint8Array, start: number, end: number): Promise<void> | null {
    const xidBytes = this.#block === null ? 0 : 4;
    const message = buffer.slice(start, end);
    const plain = xidBytes === 0 ? message : withoutXid(message);
    const frame = frameOf(plain, walStart(buffer, start), walEnd(buffer, start), sentMicros(buffer, start));
    const open = this.#open();
    const types = open?.types ?? this.#looseTypes;
    if (plain[0] === TAG_TYPE) {
      types.push(frame);
      return null;
    }
    const relation = uint32(plain, 1);
    const frames = concat([...types, frame]);
    types.length = 0;
    const description: RelationUse = { relation, version: crc32(plain), frames };
    const known = open?.defined.get(relation) ?? this.#relations.get(relation);
    const changed = known === undefined || known.version !== description.version;
    if (!changed && open !== null && xidBytes === 0) {
      // The core repeats itself after each invalidation and each connection; a receiver that knows it need not hear it again.
      if (!open.uses.has(relation)) open.uses.set(relation, known);
      return null;
    }
    const finish = (): void => {
      if (open === null || xidBytes === 0) this.#relations.set(relation, description);
      if (open === null) return;
      open.defined.set(relation, description);
      // Used before with an older description: both are needed, the older one first; the newer lies within.
      if (!open.uses.has(relation)) open.uses.set(relation, { ...description, frames: EMPTY });
      // A description is kept even if its subtransaction is rolled back: it is what the upstream believes that we know.
      open.buffer.appendFrame(frames, 'other');
    };
    if (open === null || !changed || this.#sink.relationChanged === undefined) {
      finish();
      return null;
    }
    const lsn = walStart(buffer, start);
    return this.#sink.relationChanged(relation, plain).then((injected) => {
      if (injected !== null) open.buffer.appendFrame(frameOf(injected, lsn, lsn, 0n), 'message');
      finish();
    });
  }

  readonly #looseTypes: Uint8Array[] = [];
  /** The list of the last transaction that used just one relation; never changed. */
  #oneRelation: RelationUse[] = [];

  #message(buffer: Uint8Array, start: number, end: number): Promise<void> | null {
    const open = this.#open();
    const xidBytes = this.#block === null ? 0 : 4;
    const transactional = ((buffer[start + 1 + xidBytes] as number) & 1) === 1;
    if (transactional) {
      if (open === null) {
        if (this.#skipping) return null;
        throw unexpected('a transactional message outside a transaction');
      }
      const subxid = xidBytes === 0 ? 0 : uint32(buffer, start + 1);
      const { prefix, content } = readLogicalMessage(plainMessage(buffer, start, end, xidBytes));
      if (prefix === SCHEMA_MESSAGE_PREFIX || prefix === ROWS_MESSAGE_PREFIX) {
        const ours = parseOurs(content);
        if (ours === null) {
          this.#sink.messageIgnored?.(prefix);
          return null;
        }
        if (isForeign(ours, this.#options.publication)) return null;
        // `CREATE TABLE … AS`: rows come before the message that describes their table, so it is sent before them, too.
        if (open.defined.size > 0 && prefix === SCHEMA_MESSAGE_PREFIX && CREATES_FILLED.has(ours.tag)) {
          const plain = plainMessage(buffer, start, end, xidBytes);
          const frames = frameOf(plain, walStart(buffer, start), walEnd(buffer, start), sentMicros(buffer, start));
          open.hoisted.push({ relation: ALWAYS_SENT, version: 0, frames });
        }
      }
      open.buffer.append(buffer, start, end, xidBytes, subxid, 'message');
      return open.buffer.spill();
    }
    const plain = plainMessage(buffer, start, end, xidBytes);
    const lsn = uint64(plain, 2);
    // A message may begin where the commit before it ends; one byte further tells the two positions apart.
    const endLsn = lsn + 1n;
    if (endLsn <= this.#position) return null;
    const frames = frameOf(plain, walStart(buffer, start), walEnd(buffer, start), sentMicros(buffer, start));
    this.#emit({
      kind: 'message',
      beginLsn: lsn,
      endLsn,
      previousLsn: this.#position,
      commitMicros: 0n,
      xid: 0,
      changes: 0,
      hasMessages: true,
      onlyMessages: true,
      relations: [],
      frames,
      frameBytes: frames.length,
    });
    return null;
  }

  #commit(buffer: Uint8Array, start: number, end: number): Promise<void> | null {
    if (this.#skipping) {
      this.#skipping = false;
      return null;
    }
    const open = this.#plain;
    if (open === null) throw unexpected('Commit outside a transaction');
    const commitLsn = uint64(buffer, start + 2);
    const endLsn = uint64(buffer, start + 10);
    const micros = uint64(buffer, start + 18);
    // Only this path is hot, and mostly it need not wait.
    const whole = open.buffer.finishInMemory(buffer, start, end);
    if (whole !== null) {
      this.#plain = null;
      this.#emitWhole(open, whole, commitLsn, endLsn, micros);
      this.#reuse(open);
      return null;
    }
    return this.#finish(open, commitLsn, endLsn, micros, sentMicros(buffer, start)).then(() => {
      this.#plain = null;
    });
  }

  /** Most transactions are small, and there are many: the next one takes over what this one used. */
  #reuse(open: Open): void {
    open.uses.clear();
    open.defined.clear();
    open.types.length = 0;
    open.hoisted.length = 0;
    open.buffer.reset();
    this.#spare = open;
  }

  #streamStart(xid: number): null {
    if (this.#plain !== null || this.#block !== null) throw unexpected('Stream Start inside a transaction');
    let open = this.#streamed.get(xid);
    if (open === undefined) {
      open = this.#newOpen(this.#options.streamedBytesMax);
      open.xid = xid;
      this.#streamed.set(xid, open);
    }
    this.#block = open;
    return null;
  }

  async #streamCommit(message: Uint8Array, sent: bigint): Promise<void> {
    const view = viewOf(message);
    const xid = view.getUint32(1);
    const commitLsn = view.getBigUint64(6);
    const endLsn = view.getBigUint64(14);
    const micros = view.getBigInt64(22);
    const open = this.#streamed.get(xid);
    if (open === undefined) throw unexpected(`Stream Commit of unknown transaction ${xid}`);
    this.#streamed.delete(xid);
    for (const [relation, description] of open.defined) this.#relations.set(relation, description);
    if (endLsn <= this.#position) await open.buffer.discard();
    else await this.#finish(open, commitLsn, endLsn, micros, sent);
  }

  #streamAbort(xid: number, subxid: number): Promise<void> | null {
    const open = this.#streamed.get(xid);
    if (open === undefined) return null;
    if (xid !== subxid) {
      open.buffer.abort(subxid);
      return null;
    }
    this.#streamed.delete(xid);
    return open.buffer.discard();
  }

  async #finish(open: Open, commitLsn: Lsn, endLsn: Lsn, micros: bigint, sent: bigint): Promise<void> {
    const begin = frameOf(beginMessage(commitLsn, micros, open.xid), commitLsn, commitLsn, sent);
    const commit = frameOf(commitMessage(commitLsn, endLsn, micros), endLsn, endLsn, sent);
    const whole = await open.buffer.finish(begin, commit);
    if (whole.frames === null) await this.#sink.adoptBig(whole.path, endLsn, whole.bytes);
    this.#emitWhole(open, whole, commitLsn, endLsn, micros);
  }

  #emitWhole(open: Open, whole: BufferedTransaction, commitLsn: Lsn, endLsn: Lsn, micros: bigint): void {
    const relations = this.#relationsOf(open);
    for (const [relation, description] of open.defined) {
      const used = must(open.uses.get(relation));
      if (used.frames.length > 0) relations.push({ relation, version: description.version, frames: EMPTY });
      else if (used.version !== description.version) {
        relations.push({ relation, version: description.version, frames: EMPTY });
      }
    }
    this.#emit({
      kind: whole.frames === null ? 'big' : 'transaction',
      beginLsn: commitLsn,
      endLsn,
      previousLsn: this.#position,
      commitMicros: micros,
      xid: open.xid,
      changes: whole.changes,
      hasMessages: whole.messages > 0,
      onlyMessages: whole.changes === 0,
      relations,
      frames: whole.frames ?? EMPTY,
      frameBytes: whole.bytes,
    });
  }

  /** What a transaction needs described. Mostly that is what the one before needed, and the same list will do. */
  #relationsOf(open: Open): RelationUse[] {
    if (open.hoisted.length === 0 && open.defined.size === 0 && open.uses.size === 1) {
      const [only] = open.uses.values();
      if (this.#oneRelation[0] !== only) this.#oneRelation = [must(only)];
      return this.#oneRelation;
    }
    return [...open.hoisted, ...open.uses.values()];
  }

  #emit(record: LogRecord): void {
    if (record.endLsn <= this.#position) {
      throw unexpected(`a commit ending at ${formatLsn(record.endLsn)} after ${formatLsn(this.#position)}`);
    }
    this.#position = record.endLsn;
    this.#sink.record(record);
  }
}

/** A copy of the message as it stands outside a streamed block. */
function plainMessage(buffer: Uint8Array, start: number, end: number, xidBytes: number): Uint8Array {
  const message = buffer.slice(start, end);
  return xidBytes === 0 ? message : withoutXid(message);
}

/** Whether one of our messages was emitted for another publication; those of older versions do not say. */
export function isForeign(message: { readonly publication?: string }, publication: string | null): boolean {
  return publication !== null && message.publication !== undefined && message.publication !== publication;
}

/** The content of one of our messages; null when it cannot be: anybody may emit a message under any prefix. */
function parseOurs(content: Uint8Array): SchemaChange | null {
  try {
    const parsed = JSON.parse(new TextDecoder().decode(content)) as SchemaChange | null;
    return parsed?.version === 1 ? parsed : null;
  } catch {
    return null;
  }
}

function withoutXid(message: Uint8Array): Uint8Array {
  const plain = new Uint8Array(message.length - 4);
  plain[0] = message[0] as number;
  plain.set(message.subarray(5), 1);
  return plain;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// The XLogData header lies right before a message: 'w', start, end, time.
function walStart(buffer: Uint8Array, start: number): Lsn {
  return uint64(buffer, start - 24);
}
function walEnd(buffer: Uint8Array, start: number): Lsn {
  return uint64(buffer, start - 16);
}
function sentMicros(buffer: Uint8Array, start: number): bigint {
  return uint64(buffer, start - 8);
}

/** The view of the memory that was read last: a receive buffer serves many messages, and one big integer costs enough. */
let lastView: DataView<ArrayBufferLike> = new DataView(new ArrayBuffer(0));

function uint64(bytes: Uint8Array, at: number): bigint {
  if (lastView.buffer !== bytes.buffer) lastView = new DataView(bytes.buffer);
  return lastView.getBigUint64(bytes.byteOffset + at);
}

function uint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** The upstream broke the protocol, or there is a mistake here: the connection is dropped, the position is kept. */
function unexpected(what: string): Fault {
  return new Fault('stream-malformed', {
    message: `change stream: unexpected ${what}`,
    sqlstate: '08P01',
    retryable: true,
  });
}
