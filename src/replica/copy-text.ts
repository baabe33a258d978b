// COPY's text format: rows end with a newline, fields are separated by tabs, \N is NULL, backslash escapes.

/** Receives one row at a time: field `i` is `bytes[starts[i], ends[i])`, NULL when `starts[i]` is -1. Valid during the call. */
export type CopyRowHandler = (bytes: Uint8Array, starts: Int32Array, ends: Int32Array) => void;

const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
const NULL_MARK = 78;

/** What a backslash and this letter stand for; any other character stands for itself. */
const ESCAPES: Readonly<Record<number, number>> = { 98: 8, 102: 12, 110: 10, 114: 13, 116: 9, 118: 11 };

/** Longest row accepted: Postgres itself cannot make one above 1 GB. */
export const COPY_ROW_BYTES_MAX = 1 << 30;

/** Splits a stream of COPY text into rows. Chunks may end anywhere. */
export class CopyTextParser {
  readonly #fields: number;
  readonly #handle: CopyRowHandler;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  /** Pieces of a row whose end has not come: joined once, however many they are. */
  #rest: Uint8Array[] = [];
  #restBytes = 0;

  constructor(fields: number, handle: CopyRowHandler) {
    this.#fields = fields;
    this.#handle = handle;
    this.#starts = new Int32Array(Math.max(1, fields));
    this.#ends = new Int32Array(Math.max(1, fields));
  }

  /** Throws a RangeError when a row does not have the announced number of fields. Unescapes in place: `chunk` is spent. */
  push(chunk: Uint8Array): void {
    let at = 0;
    if (this.#restBytes > 0) {
      const end = chunk.indexOf(NEWLINE);
      if (end < 0) return this.#keep(chunk);
      const row = Buffer.concat([...this.#rest, chunk.subarray(0, end)]);
      this.#rest = [];
      this.#restBytes = 0;
      this.#row(row, 0, row.length);
      at = end + 1;
    }
    for (;;) {
      const end = chunk.indexOf(NEWLINE, at);
      if (end < 0) break;
      this.#row(chunk, at, end);
      at = end + 1;
    }
    if (at < chunk.length) this.#keep(chunk.slice(at));
  }

  /** Call at CopyDone. Throws a RangeError when the last row is not complete. */
  finish(): void {
    if (this.#restBytes > 0) throw new RangeError('COPY ended inside a row');
  }

  #keep(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.#rest.push(piece);
    this.#restBytes += piece.length;
    if (this.#restBytes > COPY_ROW_BYTES_MAX) throw new RangeError('COPY: a row is too long');
  }

  #row(bytes: Uint8Array, start: number, end: number): void {
    const starts = this.#starts;
    const ends = this.#ends;
    const fields = this.#fields;
    let field = 0;
    let fieldStart = start;
    // Where the next byte of the field goes: behind `at` once an escape has been resolved.
    let to = start;
    let isNull = false;
    if (fields === 0) {
      if (end !== start) throw new RangeError('COPY: a row has more fields than announced');
      this.#handle(bytes, starts, ends);
      return;
    }
    for (let at = start; at <= end; at += 1) {
      const byte = at === end ? TAB : (bytes[at] as number);
      if (byte === TAB) {
        if (field >= fields) throw new RangeError('COPY: a row has more fields than announced');
        starts[field] = isNull ? -1 : fieldStart;
        ends[field] = to;
        field += 1;
        fieldStart = at + 1;
        to = fieldStart;
        isNull = false;
      } else if (byte === BACKSLASH && at + 1 < end) {
        at += 1;
        const escaped = bytes[at] as number;
        if (escaped === NULL_MARK && to === fieldStart) isNull = true;
        else bytes[to++] = ESCAPES[escaped] ?? escaped;
      } else {
        if (to !== at) bytes[to] = byte;
        to += 1;
      }
    }
    if (field !== fields) throw new RangeError('COPY: a row has fewer fields than announced');
    this.#handle(bytes, starts, ends);
  }
}
