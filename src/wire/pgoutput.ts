// pgoutput, the logical replication format of PostgreSQL (protocol versions 1 to 4), both directions.
// Row changes are decoded into objects that the decoder uses again and again: at 100,000 rows a second an object per column
// would cost more than everything else. What has to outlive the next `decode` must be copied out.

import type { Lsn } from '../pg/lsn.ts';
import { unreachable } from '../base/assert.ts';
import { ByteReader, type ByteWriter, readInt32, readText, readUint16, readUint32 } from './bytes.ts';
import { wireFault } from './faults.ts';

/** Type bytes. */
export const PGOUTPUT = {
  begin: 0x42, // B
  commit: 0x43, // C
  origin: 0x4f, // O
  relation: 0x52, // R
  type: 0x59, // Y
  insert: 0x49, // I
  update: 0x55, // U
  delete: 0x44, // D
  truncate: 0x54, // T
  message: 0x4d, // M
  streamStart: 0x53, // S
  streamStop: 0x45, // E
  streamCommit: 0x63, // c
  streamAbort: 0x41, // A
  beginPrepare: 0x62, // b
  prepare: 0x50, // P
  commitPrepared: 0x4b, // K
  rollbackPrepared: 0x72, // r
  streamPrepare: 0x70, // p
} as const;

/** How a column came. */
export const COLUMN = {
  null: 0x6e, // n
  /** An unchanged TOAST value: not sent. */
  unchanged: 0x75, // u
  text: 0x74, // t
  binary: 0x62, // b
} as const;

/** Postgres' MaxTupleAttributeNumber is 1664; a table has at most 1600 columns. */
const COLUMNS_MAX = 1664;

/** One row as it lies in the message: per column its kind and where its bytes are. No object per column. */
export class TupleView {
  buffer: Buffer = Buffer.alloc(0);
  count = 0;
  /** `COLUMN` codes. */
  readonly kinds = new Uint8Array(COLUMNS_MAX);
  /** Where the value's bytes begin and end in `buffer`; meaningless for null and unchanged. */
  readonly starts = new Int32Array(COLUMNS_MAX);
  readonly ends = new Int32Array(COLUMNS_MAX);
  /** The whole tuple in `buffer`, its column count included: to forward it without looking inside. */
  start = 0;
  end = 0;

  /** Text of a column; null for NULL, undefined for an unchanged TOAST value. */
  text(column: number): string | null | undefined {
    const kind = this.kinds[column];
    if (kind === COLUMN.text || kind === COLUMN.binary) {
      return readText(this.buffer, this.starts[column] as number, this.ends[column] as number);
    }
    return kind === COLUMN.null ? null : undefined;
  }

  /** Bytes of a column as a view; null for NULL, undefined for an unchanged TOAST value. */
  bytes(column: number): Buffer | null | undefined {
    const kind = this.kinds[column];
    if (kind === COLUMN.text || kind === COLUMN.binary)
      return this.buffer.subarray(this.starts[column], this.ends[column]);
    return kind === COLUMN.null ? null : undefined;
  }

  /** All columns as texts: for tests and slow paths. */
  texts(): (string | null | undefined)[] {
    return Array.from({ length: this.count }, (_, column) => this.text(column));
  }

  /** Finds the columns of the tuple that begins at `at`. Returns where it ends. */
  read(buffer: Buffer, at: number, end: number): number {
    if (end - at < 2) throw wireFault('frame-malformed', 'pgoutput: a tuple runs past its message');
    const count = readUint16(buffer, at);
    if (count > COLUMNS_MAX) throw wireFault('frame-malformed', `pgoutput: a tuple of ${count} columns`);
    const { kinds, starts, ends } = this;
    let position = at + 2;
    for (let column = 0; column < count; column += 1) {
      if (position >= end) throw wireFault('frame-malformed', 'pgoutput: a tuple runs past its message');
      const kind = buffer[position] as number;
      position += 1;
      kinds[column] = kind;
      if (kind === COLUMN.text || kind === COLUMN.binary) {
        if (end - position < 4) throw wireFault('frame-malformed', 'pgoutput: a tuple runs past its message');
        const length = readInt32(buffer, position);
        position += 4;
        if (length < 0 || length > end - position)
          throw wireFault('frame-malformed', 'pgoutput: a value runs past its message');
        starts[column] = position;
        position += length;
        ends[column] = position;
      } else if (kind !== COLUMN.null && kind !== COLUMN.unchanged) {
        throw wireFault('protocol-violation', `pgoutput: unknown column kind ${kind}`);
      }
    }
    this.buffer = buffer;
    this.count = count;
    this.start = at;
    this.end = position;
    return position;
  }
}

export interface RelationColumn {
  /** Part of the replica identity. */
  readonly key: boolean;
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
}

export interface RelationMessage {
  readonly tag: 'relation';
  /** Transaction (or subtransaction) inside a streamed block, else 0. The same in all messages below. */
  readonly xid: number;
  readonly oid: number;
  /** '' on the wire for pg_catalog, spelled out here. */
  readonly schema: string;
  readonly name: string;
  /** relreplident. */
  readonly replicaIdentity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly RelationColumn[];
}

/** Reused by the decoder: valid until the next `decode`. */
export interface InsertMessage {
  readonly tag: 'insert';
  xid: number;
  relation: number;
  readonly row: TupleView;
}

/** Reused by the decoder: valid until the next `decode`. */
export interface UpdateMessage {
  readonly tag: 'update';
  xid: number;
  relation: number;
  /** 'K' old key only (other columns are absent, not NULL), 'O' whole old row, '' when the identity did not change. */
  oldKind: 'K' | 'O' | '';
  /** Meaningless when `oldKind` is ''. */
  readonly old: TupleView;
  readonly row: TupleView;
}

/** Reused by the decoder: valid until the next `decode`. */
export interface DeleteMessage {
  readonly tag: 'delete';
  xid: number;
  relation: number;
  oldKind: 'K' | 'O';
  readonly old: TupleView;
}

/** Times are µs since 2000-01-01. */
export type PgoutputMessage =
  | { readonly tag: 'begin'; readonly finalLsn: Lsn; readonly committedAt: bigint; readonly xid: number }
  | {
      readonly tag: 'commit';
      readonly flags: number;
      readonly commitLsn: Lsn;
      /** The position (I1). */
      readonly endLsn: Lsn;
      readonly committedAt: bigint;
    }
  | { readonly tag: 'origin'; readonly lsn: Lsn; readonly name: string }
  | RelationMessage
  | { readonly tag: 'type'; readonly xid: number; readonly oid: number; readonly schema: string; readonly name: string }
  | InsertMessage
  | UpdateMessage
  | DeleteMessage
  | {
      readonly tag: 'truncate';
      readonly xid: number;
      readonly cascade: boolean;
      readonly restartIdentity: boolean;
      readonly relations: readonly number[];
    }
  | {
      readonly tag: 'message';
      readonly xid: number;
      readonly transactional: boolean;
      readonly lsn: Lsn;
      readonly prefix: string;
      /** A view of the message's memory. */
      readonly content: Uint8Array;
    }
  | { readonly tag: 'streamStart'; readonly xid: number; readonly first: boolean }
  | { readonly tag: 'streamStop' }
  | {
      readonly tag: 'streamCommit';
      readonly xid: number;
      readonly flags: number;
      readonly commitLsn: Lsn;
      readonly endLsn: Lsn;
      readonly committedAt: bigint;
    }
  | {
      readonly tag: 'streamAbort';
      readonly xid: number;
      /** Equal to `xid` when the whole transaction is aborted. */
      readonly subxid: number;
      /** Only with protocol 4 and streaming = parallel. */
      readonly abort: { readonly lsn: Lsn; readonly at: bigint } | null;
    }
  | ({ readonly tag: 'beginPrepare' } & Prepared)
  | ({ readonly tag: 'prepare'; readonly flags: number } & Prepared)
  | {
      readonly tag: 'commitPrepared';
      readonly flags: number;
      readonly commitLsn: Lsn;
      readonly endLsn: Lsn;
      readonly committedAt: bigint;
      readonly xid: number;
      readonly gid: string;
    }
  | {
      readonly tag: 'rollbackPrepared';
      readonly flags: number;
      readonly prepareEndLsn: Lsn;
      readonly rollbackEndLsn: Lsn;
      readonly preparedAt: bigint;
      readonly rolledBackAt: bigint;
      readonly xid: number;
      readonly gid: string;
    }
  | ({ readonly tag: 'streamPrepare'; readonly flags: number } & Prepared);

interface Prepared {
  readonly prepareLsn: Lsn;
  readonly endLsn: Lsn;
  readonly preparedAt: bigint;
  readonly xid: number;
  readonly gid: string;
}

/** Decodes one subscriber's stream; it must see every message, because inside streamed blocks messages carry an xid. */
export class PgoutputDecoder {
  readonly #insert: InsertMessage = { tag: 'insert', xid: 0, relation: 0, row: new TupleView() };
  readonly #update: UpdateMessage = {
    tag: 'update',
    xid: 0,
    relation: 0,
    oldKind: '',
    old: new TupleView(),
    row: this.#insert.row,
  };
  readonly #delete: DeleteMessage = { tag: 'delete', xid: 0, relation: 0, oldKind: 'K', old: this.#update.old };
  #streaming = false;

  /** True between Stream Start and Stream Stop. */
  get streaming(): boolean {
    return this.#streaming;
  }

  /** Forgets the state of the stream: for a new connection. */
  reset(): void {
    this.#streaming = false;
  }

  /** Decodes the message in `buffer[start, end)`. Throws `frame-malformed` or `protocol-violation`. */
  decode(buffer: Buffer, start: number, end: number): PgoutputMessage {
    if (start >= end) throw wireFault('frame-malformed', 'pgoutput: empty message');
    const type = buffer[start] as number;
    switch (type) {
      case PGOUTPUT.insert:
        return this.#decodeInsert(buffer, start + 1, end);
      case PGOUTPUT.update:
        return this.#decodeUpdate(buffer, start + 1, end);
      case PGOUTPUT.delete:
        return this.#decodeDelete(buffer, start + 1, end);
      default:
        return this.#decodeOther(type, new ByteReader(buffer, start + 1, end));
    }
  }

  #decodeInsert(buffer: Buffer, start: number, end: number): InsertMessage {
    const message = this.#insert;
    const at = this.#rowHeader(buffer, start, end, message);
    expectByte(buffer, at, 0x4e);
    finishAt(message.row.read(buffer, at + 1, end), end);
    return message;
  }

  #decodeUpdate(buffer: Buffer, start: number, end: number): UpdateMessage {
    const message = this.#update;
    let at = this.#rowHeader(buffer, start, end, message);
    const kind = buffer[at];
    if (kind === 0x4b || kind === 0x4f) {
      message.oldKind = kind === 0x4b ? 'K' : 'O';
      at = message.old.read(buffer, at + 1, end);
      if (at >= end) throw wireFault('frame-malformed', 'pgoutput: an update without its new row');
    } else {
      message.oldKind = '';
    }
    expectByte(buffer, at, 0x4e);
    finishAt(message.row.read(buffer, at + 1, end), end);
    return message;
  }

  #decodeDelete(buffer: Buffer, start: number, end: number): DeleteMessage {
    const message = this.#delete;
    const at = this.#rowHeader(buffer, start, end, message);
    const kind = buffer[at];
    if (kind !== 0x4b && kind !== 0x4f) throw wireFault('protocol-violation', 'pgoutput: a delete without an old row');
    message.oldKind = kind === 0x4b ? 'K' : 'O';
    finishAt(message.old.read(buffer, at + 1, end), end);
    return message;
  }

  /** Reads xid (when streaming) and relation; returns where the tuple's kind byte is, which is inside the message. */
  #rowHeader(buffer: Buffer, start: number, end: number, message: { xid: number; relation: number }): number {
    const headerBytes = this.#streaming ? 8 : 4;
    if (end - start <= headerBytes) throw wireFault('frame-malformed', 'pgoutput: a row change is too short');
    message.xid = this.#streaming ? readUint32(buffer, start) : 0;
    message.relation = readUint32(buffer, start + headerBytes - 4);
    return start + headerBytes;
  }

  #decodeOther(type: number, reader: ByteReader): PgoutputMessage {
    const message = this.#decodeControl(type, reader);
    reader.done();
    if (message.tag === 'streamStart') {
      if (this.#streaming) throw wireFault('protocol-violation', 'pgoutput: stream start inside a stream');
      this.#streaming = true;
    } else if (message.tag === 'streamStop') {
      if (!this.#streaming) throw wireFault('protocol-violation', 'pgoutput: stream stop outside a stream');
      this.#streaming = false;
    }
    return message;
  }

  #decodeControl(type: number, reader: ByteReader): PgoutputMessage {
    switch (type) {
      case PGOUTPUT.begin:
        return { tag: 'begin', finalLsn: reader.uint64(), committedAt: reader.int64(), xid: reader.uint32() };
      case PGOUTPUT.commit:
        return {
          tag: 'commit',
          flags: reader.uint8(),
          commitLsn: reader.uint64(),
          endLsn: reader.uint64(),
          committedAt: reader.int64(),
        };
      case PGOUTPUT.origin:
        return { tag: 'origin', lsn: reader.uint64(), name: reader.cString() };
      case PGOUTPUT.relation:
        return this.#decodeRelation(reader);
      case PGOUTPUT.type:
        return {
          tag: 'type',
          xid: this.#xid(reader),
          oid: reader.uint32(),
          schema: reader.cString() || 'pg_catalog',
          name: reader.cString(),
        };
      case PGOUTPUT.truncate:
        return this.#decodeTruncate(reader);
      case PGOUTPUT.message: {
        const xid = this.#xid(reader);
        const transactional = (reader.uint8() & 1) === 1;
        const lsn = reader.uint64();
        const prefix = reader.cString();
        return { tag: 'message', xid, transactional, lsn, prefix, content: reader.bytes(reader.int32()) };
      }
      case PGOUTPUT.streamStart:
        return { tag: 'streamStart', xid: reader.uint32(), first: reader.uint8() === 1 };
      case PGOUTPUT.streamStop:
        return { tag: 'streamStop' };
      case PGOUTPUT.streamCommit:
        return {
          tag: 'streamCommit',
          xid: reader.uint32(),
          flags: reader.uint8(),
          commitLsn: reader.uint64(),
          endLsn: reader.uint64(),
          committedAt: reader.int64(),
        };
      case PGOUTPUT.streamAbort: {
        const xid = reader.uint32();
        const subxid = reader.uint32();
        const abort = reader.remaining > 0 ? { lsn: reader.uint64(), at: reader.int64() } : null;
        return { tag: 'streamAbort', xid, subxid, abort };
      }
      case PGOUTPUT.beginPrepare:
        return { tag: 'beginPrepare', ...decodePrepared(reader) };
      case PGOUTPUT.prepare:
        return { tag: 'prepare', flags: reader.uint8(), ...decodePrepared(reader) };
      case PGOUTPUT.commitPrepared:
        return {
          tag: 'commitPrepared',
          flags: reader.uint8(),
          commitLsn: reader.uint64(),
          endLsn: reader.uint64(),
          committedAt: reader.int64(),
          xid: reader.uint32(),
          gid: reader.cString(),
        };
      case PGOUTPUT.rollbackPrepared:
        return {
          tag: 'rollbackPrepared',
          flags: reader.uint8(),
          prepareEndLsn: reader.uint64(),
          rollbackEndLsn: reader.uint64(),
          preparedAt: reader.int64(),
          rolledBackAt: reader.int64(),
          xid: reader.uint32(),
          gid: reader.cString(),
        };
      case PGOUTPUT.streamPrepare:
        return { tag: 'streamPrepare', flags: reader.uint8(), ...decodePrepared(reader) };
      default:
        throw wireFault('protocol-violation', `pgoutput: unknown message type ${type}`);
    }
  }

  #xid(reader: ByteReader): number {
    return this.#streaming ? reader.uint32() : 0;
  }

  #decodeRelation(reader: ByteReader): RelationMessage {
    const xid = this.#xid(reader);
    const oid = reader.uint32();
    const schema = reader.cString() || 'pg_catalog';
    const name = reader.cString();
    const identity = String.fromCharCode(reader.uint8());
    if (!isReplicaIdentity(identity)) throw wireFault('protocol-violation', 'pgoutput: unknown replica identity');
    const count = reader.count(reader.uint16(), 10);
    const columns: RelationColumn[] = [];
    for (let index = 0; index < count; index += 1) {
      columns.push({
        key: (reader.uint8() & 1) === 1,
        name: reader.cString(),
        typeOid: reader.uint32(),
        typmod: reader.int32(),
      });
    }
    return { tag: 'relation', xid, oid, schema, name, replicaIdentity: identity, columns };
  }

  #decodeTruncate(reader: ByteReader): PgoutputMessage {
    const xid = this.#xid(reader);
    const announced = reader.uint32();
    const options = reader.uint8();
    const count = reader.count(announced, 4);
    const relations: number[] = [];
    for (let index = 0; index < count; index += 1) relations.push(reader.uint32());
    return { tag: 'truncate', xid, cascade: (options & 1) === 1, restartIdentity: (options & 2) === 2, relations };
  }
}

/** One column to encode: text, bytes, null = NULL, undefined = unchanged TOAST. Texts go as 't', bytes as 'b'. */
export type ColumnValue = string | Uint8Array | null | undefined;

// Encoders append the payload only: the caller wraps it in CopyData and XLogData. `xid` 0 = not inside a streamed block.

export function writeBegin(writer: ByteWriter, finalLsn: Lsn, committedAt: bigint, xid: number): void {
  writer.byte(PGOUTPUT.begin);
  writer.int64(finalLsn);
  writer.int64(committedAt);
  writer.int32(xid);
}

export function writeCommit(writer: ByteWriter, commitLsn: Lsn, endLsn: Lsn, committedAt: bigint): void {
  writer.byte(PGOUTPUT.commit);
  writer.byte(0);
  writer.int64(commitLsn);
  writer.int64(endLsn);
  writer.int64(committedAt);
}

export function writeInsert(writer: ByteWriter, xid: number, relation: number, row: readonly ColumnValue[]): void {
  writeRowHeader(writer, PGOUTPUT.insert, xid, relation);
  writer.byte(0x4e);
  writeTuple(writer, row);
}

/** `old` null when the identity did not change. */
export function writeUpdate(
  writer: ByteWriter,
  xid: number,
  relation: number,
  old: { readonly kind: 'K' | 'O'; readonly row: readonly ColumnValue[] } | null,
  row: readonly ColumnValue[],
): void {
  writeRowHeader(writer, PGOUTPUT.update, xid, relation);
  if (old !== null) {
    writer.byte(old.kind.charCodeAt(0));
    writeTuple(writer, old.row);
  }
  writer.byte(0x4e);
  writeTuple(writer, row);
}

export function writeDelete(
  writer: ByteWriter,
  xid: number,
  relation: number,
  oldKind: 'K' | 'O',
  old: readonly ColumnValue[],
): void {
  writeRowHeader(writer, PGOUTPUT.delete, xid, relation);
  writer.byte(oldKind.charCodeAt(0));
  writeTuple(writer, old);
}

export function writeTuple(writer: ByteWriter, row: readonly ColumnValue[]): void {
  writer.int16(row.length);
  for (const value of row) {
    if (value === null) writer.byte(COLUMN.null);
    else if (value === undefined) writer.byte(COLUMN.unchanged);
    else if (typeof value === 'string') {
      writer.byte(COLUMN.text);
      writer.countedText(value);
    } else {
      writer.byte(COLUMN.binary);
      writer.countedBytes(value);
    }
  }
}

/** Appends a message that was decoded (or made) as a value. Row changes use their `TupleView`s. */
export function encodePgoutput(writer: ByteWriter, message: PgoutputMessage): void {
  switch (message.tag) {
    case 'begin':
      return writeBegin(writer, message.finalLsn, message.committedAt, message.xid);
    case 'commit':
      return writeCommit(writer, message.commitLsn, message.endLsn, message.committedAt);
    case 'origin':
      writer.byte(PGOUTPUT.origin);
      writer.int64(message.lsn);
      return writer.cString(message.name);
    case 'relation':
      return encodeRelation(writer, message);
    case 'type':
      writer.byte(PGOUTPUT.type);
      writeXid(writer, message.xid);
      writer.int32(message.oid);
      writer.cString(message.schema === 'pg_catalog' ? '' : message.schema);
      return writer.cString(message.name);
    case 'insert':
      writeRowHeader(writer, PGOUTPUT.insert, message.xid, message.relation);
      writer.byte(0x4e);
      return copyTuple(writer, message.row);
    case 'update':
      writeRowHeader(writer, PGOUTPUT.update, message.xid, message.relation);
      if (message.oldKind !== '') {
        writer.byte(message.oldKind.charCodeAt(0));
        copyTuple(writer, message.old);
      }
      writer.byte(0x4e);
      return copyTuple(writer, message.row);
    case 'delete':
      writeRowHeader(writer, PGOUTPUT.delete, message.xid, message.relation);
      writer.byte(message.oldKind.charCodeAt(0));
      return copyTuple(writer, message.old);
    case 'truncate':
      writer.byte(PGOUTPUT.truncate);
      writeXid(writer, message.xid);
      writer.int32(message.relations.length);
      writer.byte((message.cascade ? 1 : 0) | (message.restartIdentity ? 2 : 0));
      for (const oid of message.relations) writer.int32(oid);
      return;
    case 'message':
      writer.byte(PGOUTPUT.message);
      writeXid(writer, message.xid);
      writer.byte(message.transactional ? 1 : 0);
      writer.int64(message.lsn);
      writer.cString(message.prefix);
      return writer.countedBytes(message.content);
    case 'streamStart':
      writer.byte(PGOUTPUT.streamStart);
      writer.int32(message.xid);
      return writer.byte(message.first ? 1 : 0);
    case 'streamStop':
      return writer.byte(PGOUTPUT.streamStop);
    case 'streamCommit':
      writer.byte(PGOUTPUT.streamCommit);
      writer.int32(message.xid);
      writer.byte(message.flags);
      writer.int64(message.commitLsn);
      writer.int64(message.endLsn);
      return writer.int64(message.committedAt);
    case 'streamAbort':
      writer.byte(PGOUTPUT.streamAbort);
      writer.int32(message.xid);
      writer.int32(message.subxid);
      if (message.abort !== null) {
        writer.int64(message.abort.lsn);
        writer.int64(message.abort.at);
      }
      return;
    case 'beginPrepare':
      writer.byte(PGOUTPUT.beginPrepare);
      return writePrepared(writer, message);
    case 'prepare':
      writer.byte(PGOUTPUT.prepare);
      writer.byte(message.flags);
      return writePrepared(writer, message);
    case 'commitPrepared':
      writer.byte(PGOUTPUT.commitPrepared);
      writer.byte(message.flags);
      writer.int64(message.commitLsn);
      writer.int64(message.endLsn);
      writer.int64(message.committedAt);
      writer.int32(message.xid);
      return writer.cString(message.gid);
    case 'rollbackPrepared':
      writer.byte(PGOUTPUT.rollbackPrepared);
      writer.byte(message.flags);
      writer.int64(message.prepareEndLsn);
      writer.int64(message.rollbackEndLsn);
      writer.int64(message.preparedAt);
      writer.int64(message.rolledBackAt);
      writer.int32(message.xid);
      return writer.cString(message.gid);
    case 'streamPrepare':
      writer.byte(PGOUTPUT.streamPrepare);
      writer.byte(message.flags);
      return writePrepared(writer, message);
    default:
      return unreachable(message);
  }
}

function encodeRelation(writer: ByteWriter, message: RelationMessage): void {
  writer.byte(PGOUTPUT.relation);
  writeXid(writer, message.xid);
  writer.int32(message.oid);
  writer.cString(message.schema === 'pg_catalog' ? '' : message.schema);
  writer.cString(message.name);
  writer.byte(message.replicaIdentity.charCodeAt(0));
  writer.int16(message.columns.length);
  for (const column of message.columns) {
    writer.byte(column.key ? 1 : 0);
    writer.cString(column.name);
    writer.int32(column.typeOid);
    writer.int32(column.typmod);
  }
}

function writeRowHeader(writer: ByteWriter, type: number, xid: number, relation: number): void {
  writer.byte(type);
  writeXid(writer, xid);
  writer.int32(relation);
}

function writeXid(writer: ByteWriter, xid: number): void {
  if (xid !== 0) writer.int32(xid);
}

function copyTuple(writer: ByteWriter, tuple: TupleView): void {
  writer.slice(tuple.buffer, tuple.start, tuple.end);
}

function writePrepared(writer: ByteWriter, message: Prepared): void {
  writer.int64(message.prepareLsn);
  writer.int64(message.endLsn);
  writer.int64(message.preparedAt);
  writer.int32(message.xid);
  writer.cString(message.gid);
}

function decodePrepared(reader: ByteReader): Prepared {
  return {
    prepareLsn: reader.uint64(),
    endLsn: reader.uint64(),
    preparedAt: reader.int64(),
    xid: reader.uint32(),
    gid: reader.cString(),
  };
}

function expectByte(buffer: Buffer, at: number, byte: number): void {
  if (buffer[at] !== byte) throw wireFault('protocol-violation', 'pgoutput: a row change without its new row');
}

function finishAt(at: number, end: number): void {
  if (at !== end) throw wireFault('frame-malformed', `pgoutput: ${end - at} bytes after the end of a message`);
}

function isReplicaIdentity(text: string): text is 'd' | 'n' | 'f' | 'i' {
  return text === 'd' || text === 'n' || text === 'f' || text === 'i';
}
