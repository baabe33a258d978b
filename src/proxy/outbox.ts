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

export class Outbox {
  // Parallel arrays: a range of a chunk costs no object until it is written.
  readonly #buffers: Buffer[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #bytes = 0;

  get empty(): boolean {
    return this.#bytes === 0;
  }

  push(piece: Buffer): void {
    this.pushRange(piece, 0, piece.length);
  }

  /** Bytes `[start, end)` of a chunk; what follows the range before it in the same chunk becomes one with it. */
  pushRange(buffer: Buffer, start: number, end: number): void {
    if (start === end) return;
    this.#bytes += end - start;
    const last = this.#buffers.length - 1;
    if (last >= 0 && this.#buffers[last] === buffer && this.#ends[last] === start) {
      this.#ends[last] = end;
      return;
    }
    this.#buffers.push(buffer);
    this.#starts.push(start);
    this.#ends.push(end);
  }

  clear(): void {
    this.#buffers.length = 0;
    this.#starts.length = 0;
    this.#ends.length = 0;
    this.#bytes = 0;
  }

  /** Writes everything. False when the connection has bytes queued afterwards (its `drain` follows). */
  flush(connection: Connection): boolean {
    const count = this.#buffers.length;
    if (count === 0) return connection.queuedBytes === 0;
    if (count === 1) {
      // A point query and its answer: nothing here that costs more than the write.
      const piece = this.#piece(0);
      this.#buffers.pop();
      this.#starts.pop();
      this.#ends.pop();
      this.#bytes = 0;
      return connection.write(piece);
    }
    let ok = true;
    for (let index = 0; index < count; index += 1) {
      const start = this.#starts[index] as number;
      const end = this.#ends[index] as number;
      if (end - start > PIECE_BYTES_MAX) {
        if (joiner.length > 0) connection.write(joiner.take());
        ok = connection.write(this.#piece(index));
        continue;
      }
      joiner.slice(this.#buffers[index] as Buffer, start, end);
      if (joiner.length > JOIN_BYTES_MAX) ok = connection.write(joiner.take());
    }
    if (joiner.length > 0) ok = connection.write(joiner.take());
    this.clear();
    return ok;
  }

  #piece(index: number): Buffer {
    const buffer = this.#buffers[index] as Buffer;
    const start = this.#starts[index] as number;
    const end = this.#ends[index] as number;
    return start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end);
  }
}
