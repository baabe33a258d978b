// Collects the pieces of one turn's output, so that it becomes one write: a single piece goes out where it lies, several
// small ones are joined.

import type { Connection } from '../base/net.ts';
import { ByteWriter } from '../wire/bytes.ts';

/** Pieces larger than this are written on their own rather than copied. */
const JOIN_BYTES_MAX = 32 * 1024;

// Shared: used only inside `flush`, which does not call anybody back.
const joiner = new ByteWriter();

export class Outbox {
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  get empty(): boolean {
    return this.#bytes === 0;
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }

  clear(): void {
    this.#pieces = [];
    this.#bytes = 0;
  }

  /** Writes everything. False when the connection has bytes queued afterwards (its `drain` follows). */
  flush(connection: Connection): boolean {
    const pieces = this.#pieces;
    if (pieces.length === 0) return connection.queuedBytes === 0;
    let ok: boolean;
    if (pieces.length === 1) ok = connection.write(pieces[0] as Uint8Array);
    else if (this.#bytes <= JOIN_BYTES_MAX) {
      for (const piece of pieces) joiner.bytes(piece);
      ok = connection.write(joiner.take());
    } else ok = writeMany(connection, pieces);
    pieces.length = 0;
    this.#bytes = 0;
    return ok;
  }
}

function writeMany(connection: Connection, pieces: readonly Uint8Array[]): boolean {
  let ok = true;
  for (const piece of pieces) {
    if (piece.length > JOIN_BYTES_MAX / 2) {
      if (joiner.length > 0) connection.write(joiner.take());
      ok = connection.write(piece);
      continue;
    }
    joiner.bytes(piece);
    if (joiner.length > JOIN_BYTES_MAX) ok = connection.write(joiner.take());
  }
  if (joiner.length > 0) ok = connection.write(joiner.take());
  return ok;
}
