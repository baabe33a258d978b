// Collects the pieces of one turn's output, so that it becomes one write: a single piece goes out where it lies, several
// small ones are joined.

import type { Connection } from '../base/net.ts';
import { ByteWriter } from '../wire/bytes.ts';

/** Small pieces are joined up to about this size. */
const JOIN_BYTES_MAX = 32 * 1024;

/** Larger pieces are written on their own rather than copied. */
const PIECE_BYTES_MAX = 16 * 1024;

// Shared: used only inside `flush`, which does not call anybody back.
const joiner = new ByteWriter();

/** Parallel arrays: a range of a chunk costs no object until it is written. */
interface Pieces {
  readonly buffers: Buffer[];
  readonly starts: number[];
  readonly ends: number[];
}

export class Outbox {
  /** The last piece, which may still grow; nearly always the only one. */
  #buffer: Buffer | null = null;
  #start = 0;
  #end = 0;
  /** Those before it. Null while there were never any: an idle client has no arrays. */
  #before: Pieces | null = null;

  get empty(): boolean {
    return this.#buffer === null;
  }

  get bytes(): number {
    let total = this.#buffer === null ? 0 : this.#end - this.#start;
    const before = this.#before;
    if (before === null) return total;
    for (let index = 0; index < before.buffers.length; index += 1) {
      total += (before.ends[index] as number) - (before.starts[index] as number);
    }
    return total;
  }

  push(piece: Buffer): void {
    this.pushRange(piece, 0, piece.length);
  }

  /** Bytes `[start, end)` of a chunk; what follows the range before it in the same chunk becomes one with it. */
  pushRange(buffer: Buffer, start: number, end: number): void {
    if (start === end) return;
    if (this.#buffer === buffer && this.#end === start) {
      this.#end = end;
      return;
    }
    if (this.#buffer !== null) {
      const before = (this.#before ??= { buffers: [], starts: [], ends: [] });
      before.buffers.push(this.#buffer);
      before.starts.push(this.#start);
      before.ends.push(this.#end);
    }
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  clear(): void {
    this.#buffer = null;
    this.#before = null;
  }

  /** Writes everything. False when the connection has bytes queued afterwards (its `drain` follows). */
  flush(connection: Connection): boolean {
    const last = this.#buffer;
    if (last === null) return connection.queuedBytes === 0;
    const before = this.#before;
    this.#buffer = null;
    if (before === null) return connection.write(piece(last, this.#start, this.#end));
    this.#before = null;
    for (let index = 0; index < before.buffers.length; index += 1) {
      add(connection, before.buffers[index] as Buffer, before.starts[index] as number, before.ends[index] as number);
    }
    add(connection, last, this.#start, this.#end);
    if (joiner.length > 0) connection.write(joiner.take());
    return connection.queuedBytes === 0;
  }
}

function add(connection: Connection, buffer: Buffer, start: number, end: number): void {
  if (end - start > PIECE_BYTES_MAX) {
    if (joiner.length > 0) connection.write(joiner.take());
    connection.write(piece(buffer, start, end));
    return;
  }
  joiner.slice(buffer, start, end);
  if (joiner.length > JOIN_BYTES_MAX) connection.write(joiner.take());
}

function piece(buffer: Buffer, start: number, end: number): Buffer {
  return start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end);
}
