// The unit of the relay log: one committed transaction, one non-transactional message, or a mark (nothing until here).
//
// Layout, big-endian; see DESIGN.md:
//    0 magic u32   4 kind u8   5 flags u8   6 version u16   8 payload length u32   12 crc32 of all the rest
//   16 begin lsn  24 end lsn  32 commit time (µs since 2000)  40 xid u32  44 relation entries u32  48 relation bytes u32
//   52 row changes u32  56 previous end lsn  64 payload: relation entries, then frames (or the size of the big file)

import { assert } from '../../base/assert.ts';
import { crc32 } from '../../base/crc32.ts';
import type { Lsn } from '../../pg/lsn.ts';

export const RECORD_HEADER_BYTES = 64;

/** What a record costs in memory besides its frames, measured: objects, big integers, views. */
export const RECORD_OVERHEAD_BYTES = 1024;

const MAGIC = 0x534b5231; // SKR1
const VERSION = 1;
const RELATION_ENTRY_BYTES = 12;

export type RecordKind = 'transaction' | 'big' | 'message' | 'mark';
const KINDS: readonly (RecordKind | undefined)[] = [undefined, 'transaction', 'big', 'message', 'mark'];

const FLAG_HAS_MESSAGES = 1;
const FLAG_ONLY_MESSAGES = 2;

/**
 * A relation that a transaction needs described. `frames` are the Type and Relation frames to send after Begin unless
 * the receiver already has this version; empty when the description lies within the transaction itself.
 */
export interface RelationUse {
  readonly relation: number;
  /** CRC of the description's bytes: equal versions are equal descriptions. */
  readonly version: number;
  readonly frames: Uint8Array;
}

/** As a `relation`: not a description but a logical message that belongs right after Begin, for whoever asked for messages. */
export const ALWAYS_SENT = 0;

export interface LogRecord {
  readonly kind: RecordKind;
  /** LSN of the commit record (Begin's final LSN); equals `endLsn` for marks and messages. */
  readonly beginLsn: Lsn;
  /** The record's key: end of the commit record. Strictly increasing through the log. */
  readonly endLsn: Lsn;
  /** `endLsn` of the record before: a hole in the log cannot hide. */
  readonly previousLsn: Lsn;
  /** Microseconds since 2000-01-01, by the core's clock; never used for ordering. */
  readonly commitMicros: bigint;
  readonly xid: number;
  /** Row changes and truncates. */
  readonly changes: number;
  /** True when `frames` contains logical messages. */
  readonly hasMessages: boolean;
  /** True when nothing else is in it: a receiver that did not ask for messages is sent nothing at all. */
  readonly onlyMessages: boolean;
  readonly relations: readonly RelationUse[];
  /** Begin … Commit ready for the wire; empty for marks and for big transactions. */
  readonly frames: Uint8Array;
  /** Size of the frames, also when they lie in a file of their own. */
  readonly frameBytes: number;
}

/** Bytes that `encodeRecordInto` writes. */
export function encodedBytes(record: LogRecord): number {
  let bytes = RECORD_HEADER_BYTES + (record.kind === 'big' ? 8 : record.frames.length);
  for (const use of record.relations) bytes += RELATION_ENTRY_BYTES + use.frames.length;
  return bytes;
}

/** The record as bytes. */
export function encodeRecord(record: LogRecord): Uint8Array {
  const bytes = new Uint8Array(encodedBytes(record));
  encodeRecordInto(bytes, new DataView(bytes.buffer), 0, record);
  return bytes;
}

/** Writes the record at `start`; returns where it ends. `view` is of the same memory as `bytes`, from its beginning. */
export function encodeRecordInto(bytes: Uint8Array, view: DataView, start: number, record: LogRecord): number {
  assert(record.endLsn > record.previousLsn, 'a record must move the log forward');
  const total = encodedBytes(record);
  const bodyBytes = record.kind === 'big' ? 8 : record.frames.length;
  view.setUint32(start, MAGIC);
  view.setUint8(start + 4, KINDS.indexOf(record.kind));
  view.setUint8(
    start + 5,
    (record.hasMessages ? FLAG_HAS_MESSAGES : 0) | (record.onlyMessages ? FLAG_ONLY_MESSAGES : 0),
  );
  view.setUint16(start + 6, VERSION);
  view.setUint32(start + 8, total - RECORD_HEADER_BYTES);
  view.setBigUint64(start + 16, record.beginLsn);
  view.setBigUint64(start + 24, record.endLsn);
  view.setBigInt64(start + 32, record.commitMicros);
  view.setUint32(start + 40, record.xid);
  view.setUint32(start + 44, record.relations.length);
  view.setUint32(start + 48, total - RECORD_HEADER_BYTES - bodyBytes);
  view.setUint32(start + 52, Math.min(record.changes, 0xffffffff));
  view.setBigUint64(start + 56, record.previousLsn);
  let at = start + RECORD_HEADER_BYTES;
  for (const use of record.relations) {
    view.setUint32(at, use.relation);
    view.setUint32(at + 4, use.version);
    view.setUint32(at + 8, use.frames.length);
    bytes.set(use.frames, at + RELATION_ENTRY_BYTES);
    at += RELATION_ENTRY_BYTES + use.frames.length;
  }
  if (record.kind === 'big') view.setBigUint64(at, BigInt(record.frameBytes));
  else bytes.set(record.frames, at);
  view.setUint32(start + 12, crcAt(bytes, start, total));
  return start + total;
}

function crcAt(bytes: Uint8Array, start: number, total: number): number {
  return crc32(bytes, crc32(bytes, 0, start, start + 12), start + 16, start + total);
}

export type DecodedRecord =
  | { readonly tag: 'record'; readonly record: LogRecord; readonly bytes: number }
  /** More bytes are needed: at least `bytes` from the start of the record. */
  | { readonly tag: 'short'; readonly bytes: number }
  /** Not a record: torn or rotten. */
  | { readonly tag: 'damaged'; readonly reason: string };

/** Reads the record at `at`. Frames and relation frames are views into `bytes`. */
export function decodeRecord(bytes: Uint8Array, at: number): DecodedRecord {
  if (bytes.length - at < RECORD_HEADER_BYTES) return { tag: 'short', bytes: RECORD_HEADER_BYTES };
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  if (view.getUint32(0) !== MAGIC) return { tag: 'damaged', reason: 'no record begins here' };
  const total = RECORD_HEADER_BYTES + view.getUint32(8);
  if (bytes.length - at < total) return { tag: 'short', bytes: total };
  if (crcAt(bytes, at, total) !== view.getUint32(12)) return { tag: 'damaged', reason: 'wrong CRC' };
  const kind = KINDS[view.getUint8(4)];
  if (kind === undefined || view.getUint16(6) !== VERSION) return { tag: 'damaged', reason: 'unknown kind or version' };
  const flags = view.getUint8(5);
  const relations: RelationUse[] = [];
  let offset = RECORD_HEADER_BYTES;
  for (let left = view.getUint32(44); left > 0; left -= 1) {
    const frames = view.getUint32(offset + 8);
    relations.push({
      relation: view.getUint32(offset),
      version: view.getUint32(offset + 4),
      frames: bytes.subarray(at + offset + RELATION_ENTRY_BYTES, at + offset + RELATION_ENTRY_BYTES + frames),
    });
    offset += RELATION_ENTRY_BYTES + frames;
  }
  const frames = kind === 'big' ? EMPTY : bytes.subarray(at + offset, at + total);
  return {
    tag: 'record',
    bytes: total,
    record: {
      kind,
      beginLsn: view.getBigUint64(16),
      endLsn: view.getBigUint64(24),
      previousLsn: view.getBigUint64(56),
      commitMicros: view.getBigInt64(32),
      xid: view.getUint32(40),
      changes: view.getUint32(52),
      hasMessages: (flags & FLAG_HAS_MESSAGES) !== 0,
      onlyMessages: (flags & FLAG_ONLY_MESSAGES) !== 0,
      relations,
      frames,
      frameBytes: kind === 'big' ? Number(view.getBigUint64(offset)) : frames.length,
    },
  };
}

export const EMPTY = new Uint8Array(0);

/** A mark: nothing was committed between `previousLsn` and `lsn`. */
export function markRecord(previousLsn: Lsn, lsn: Lsn): LogRecord {
  return {
    kind: 'mark',
    beginLsn: lsn,
    endLsn: lsn,
    previousLsn,
    commitMicros: 0n,
    xid: 0,
    changes: 0,
    hasMessages: false,
    onlyMessages: true,
    relations: [],
    frames: EMPTY,
    frameBytes: 0,
  };
}

/** What a receiver is sent of one record, without making objects of it: catching up passes here at full speed. */
export interface RawVisitor {
  /** Must the receiver be sent this description (or logical message, for ALWAYS_SENT)? */
  needs(relation: number, version: number, isInline: boolean): boolean;
  /** Take `bytes[start, end)`. */
  take(bytes: Uint8Array, start: number, end: number): void;
}

/** Passes the record at `at` on if it is small and holds no logical messages; its length, or 0 when it has to be decoded. */
export function visitPlainRecord(bytes: Uint8Array, at: number, beginFrameBytes: number, visitor: RawVisitor): number {
  if (bytes.length - at < RECORD_HEADER_BYTES) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  const total = RECORD_HEADER_BYTES + view.getUint32(8);
  const isPlain =
    view.getUint32(0) === MAGIC && view.getUint8(4) === 1 && view.getUint8(5) === 0 && view.getUint16(6) === VERSION;
  if (!isPlain || bytes.length - at < total || crcAt(bytes, at, total) !== view.getUint32(12)) return 0;
  const frames = at + RECORD_HEADER_BYTES + view.getUint32(48);
  visitor.take(bytes, frames, frames + beginFrameBytes);
  let offset = RECORD_HEADER_BYTES;
  for (let left = view.getUint32(44); left > 0; left -= 1) {
    const length = view.getUint32(offset + 8);
    const start = at + offset + RELATION_ENTRY_BYTES;
    if (visitor.needs(view.getUint32(offset), view.getUint32(offset + 4), length === 0))
      visitor.take(bytes, start, start + length);
    offset += RELATION_ENTRY_BYTES + length;
  }
  visitor.take(bytes, frames + beginFrameBytes, at + total);
  return total;
}

/** `endLsn` of the record at `at`, which was visited. */
export function endLsnAt(bytes: Uint8Array, at: number): Lsn {
  return new DataView(bytes.buffer, bytes.byteOffset + at + 24, 8).getBigUint64(0);
}
