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

/** The record as bytes. */
export function encodeRecord(record: LogRecord): Uint8Array {
  assert(record.endLsn > record.previousLsn, 'a record must move the log forward');
  let relationBytes = 0;
  for (const use of record.relations) relationBytes += RELATION_ENTRY_BYTES + use.frames.length;
  const bodyBytes = record.kind === 'big' ? 8 : record.frames.length;
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + relationBytes + bodyBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC);
  view.setUint8(4, KINDS.indexOf(record.kind));
  view.setUint8(5, (record.hasMessages ? FLAG_HAS_MESSAGES : 0) | (record.onlyMessages ? FLAG_ONLY_MESSAGES : 0));
  view.setUint16(6, VERSION);
  view.setUint32(8, relationBytes + bodyBytes);
  view.setBigUint64(16, record.beginLsn);
  view.setBigUint64(24, record.endLsn);
  view.setBigInt64(32, record.commitMicros);
  view.setUint32(40, record.xid);
  view.setUint32(44, record.relations.length);
  view.setUint32(48, relationBytes);
  view.setUint32(52, Math.min(record.changes, 0xffffffff));
  view.setBigUint64(56, record.previousLsn);
  let at = RECORD_HEADER_BYTES;
  for (const use of record.relations) {
    view.setUint32(at, use.relation);
    view.setUint32(at + 4, use.version);
    view.setUint32(at + 8, use.frames.length);
    bytes.set(use.frames, at + RELATION_ENTRY_BYTES);
    at += RELATION_ENTRY_BYTES + use.frames.length;
  }
  if (record.kind === 'big') view.setBigUint64(at, BigInt(record.frameBytes));
  else bytes.set(record.frames, at);
  view.setUint32(12, crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12))));
  return bytes;
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
  const crc = crc32(bytes.subarray(at + 16, at + total), crc32(bytes.subarray(at, at + 12)));
  if (crc !== view.getUint32(12)) return { tag: 'damaged', reason: 'wrong CRC' };
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
