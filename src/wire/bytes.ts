// Reading and writing the protocol's primitive fields: big-endian integers, C strings, counted bytes.
// `Buffer` is used instead of DataView and TextDecoder because its UTF-8 slices are several times cheaper on short strings.

import { wireFault } from './faults.ts';

/** A view with Buffer's methods on the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function readInt16(buffer: Uint8Array, at: number): number {
  return (((buffer[at] as number) << 24) | ((buffer[at + 1] as number) << 16)) >> 16;
}

export function readUint16(buffer: Uint8Array, at: number): number {
  return ((buffer[at] as number) << 8) | (buffer[at + 1] as number);
}

export function readInt32(buffer: Uint8Array, at: number): number {
  return (
    ((buffer[at] as number) << 24) |
    ((buffer[at + 1] as number) << 16) |
    ((buffer[at + 2] as number) << 8) |
    (buffer[at + 3] as number)
  );
}

export function readUint32(buffer: Uint8Array, at: number): number {
  return readInt32(buffer, at) >>> 0;
}

export function readUint64(buffer: Uint8Array, at: number): bigint {
  return (BigInt(readUint32(buffer, at)) << 32n) | BigInt(readUint32(buffer, at + 4));
}

export function readInt64(buffer: Uint8Array, at: number): bigint {
  return (BigInt(readInt32(buffer, at)) << 32n) | BigInt(readUint32(buffer, at + 4));
}

const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text of `buffer[start, end)`. Refuses bytes that are not UTF-8, as Postgres does (we always speak client_encoding UTF8). */
export function readText(buffer: Buffer, start: number, end: number): string {
  const text = buffer.toString('utf8', start, end);
  // The lenient decoder is the fast one; only a text that holds a replacement character needs the strict look.
  if (text.includes('\ufffd')) {
    try {
      STRICT_UTF8.decode(buffer.subarray(start, end));
    } catch {
      throw wireFault('frame-malformed', 'invalid byte sequence for encoding "UTF8"');
    }
  }
  return text;
}

/** Walks one message's fields; every step checks the end of the message. */
export class ByteReader {
  readonly buffer: Buffer;
  readonly end: number;
  position: number;

  constructor(buffer: Uint8Array, start = 0, end = buffer.length) {
    this.buffer = asBuffer(buffer);
    this.position = start;
    this.end = end;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  uint8(): number {
    return this.buffer[this.#advance(1)] as number;
  }

  int16(): number {
    return readInt16(this.buffer, this.#advance(2));
  }

  uint16(): number {
    return readUint16(this.buffer, this.#advance(2));
  }

  int32(): number {
    return readInt32(this.buffer, this.#advance(4));
  }

  uint32(): number {
    return readUint32(this.buffer, this.#advance(4));
  }

  int64(): bigint {
    return readInt64(this.buffer, this.#advance(8));
  }

  uint64(): bigint {
    return readUint64(this.buffer, this.#advance(8));
  }

  /** A view of the next `length` bytes, not a copy. */
  bytes(length: number): Buffer {
    if (length < 0) throw wireFault('frame-malformed', 'negative length inside a message');
    const start = this.#advance(length);
    return this.buffer.subarray(start, start + length);
  }

  /** A count that announces `bytesEachMin` bytes or more per item: refused when the message cannot hold that many. */
  count(value: number, bytesEachMin: number): number {
    if (value < 0 || value * bytesEachMin > this.remaining) {
      throw wireFault('frame-malformed', `a message announces ${value} items that it does not hold`);
    }
    return value;
  }

  /** int32 length, then that many bytes; null for length -1. */
  countedBytes(): Buffer | null {
    const length = this.int32();
    return length === -1 ? null : this.bytes(length);
  }

  cString(): string {
    // Unnamed statements and portals are the usual ones.
    if (this.position < this.end && this.buffer[this.position] === 0) {
      this.position += 1;
      return '';
    }
    const zero = this.buffer.indexOf(0, this.position);
    if (zero === -1 || zero >= this.end) throw wireFault('frame-malformed', 'unterminated string in a message');
    const text = readText(this.buffer, this.position, zero);
    this.position = zero + 1;
    return text;
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** Refuses a message that goes on after its last field. */
  done(): void {
    if (this.position !== this.end)
      throw wireFault('frame-malformed', `${this.remaining} bytes after the end of a message`);
  }

  #advance(length: number): number {
    const start = this.position;
    if (length > this.end - start) throw wireFault('frame-malformed', 'a field runs past the end of its message');
    this.position = start + length;
    return start;
  }
}

/** One slab serves many small responses; a larger message gets a slab of its own size. */
const SLAB_BYTES = 16 * 1024;

/** A slab with less room than this is not worth passing on. */
const SLAB_ROOM_MIN = 512;

const NO_SLAB = Buffer.alloc(0);

// The rest of a slab whose writer has handed out everything: the next writer that needs room takes it over. So thousands of
// idle sessions hold no slab at all, and a busy one does not start a new slab for each answer.
let spareSlab: Buffer = NO_SLAB;
let spareAt = 0;

/** Messages are appended, then taken as one buffer: one response is one write. */
export class ByteWriter {
  #buffer: Buffer = NO_SLAB;
  /** First byte that `take` has not handed out. */
  #start = 0;
  #end = 0;

  /** Bytes written and not yet taken. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** The bytes written so far, or an empty buffer; the writer never touches them again. */
  take(): Buffer {
    const buffer = this.#buffer;
    const taken = buffer.subarray(this.#start, this.#end);
    if (buffer.length === SLAB_BYTES && SLAB_BYTES - this.#end >= SLAB_ROOM_MIN) {
      spareSlab = buffer;
      spareAt = this.#end;
    }
    this.#buffer = NO_SLAB;
    this.#start = 0;
    this.#end = 0;
    return taken;
  }

  /** Forgets what was written since `mark` (a former `length`): for a row that turned out not to fit, or an error half-way. */
  truncate(mark: number): void {
    this.#end = this.#start + mark;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#end++] = value;
  }

  int16(value: number): void {
    this.#reserve(2);
    const buffer = this.#buffer;
    buffer[this.#end++] = value >> 8;
    buffer[this.#end++] = value;
  }

  int32(value: number): void {
    this.#reserve(4);
    writeInt32(this.#buffer, this.#end, value);
    this.#end += 4;
  }

  int64(value: bigint): void {
    this.#reserve(8);
    writeInt32(this.#buffer, this.#end, Number(BigInt.asIntN(32, value >> 32n)));
    writeInt32(this.#buffer, this.#end + 4, Number(BigInt.asIntN(32, value)));
    this.#end += 8;
  }

  bytes(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#end);
    this.#end += value.length;
  }

  /** Bytes `[start, end)` of another buffer. */
  slice(source: Buffer, start: number, end: number): void {
    this.#reserve(end - start);
    source.copy(this.#buffer, this.#end, start, end);
    this.#end += end - start;
  }

  /** UTF-8 without length or terminator. */
  text(value: string): void {
    const length = value.length;
    if (length < SHORT_TEXT) {
      this.#reserve(length * 3);
      const buffer = this.#buffer;
      let at = this.#end;
      for (let index = 0; index < length; index += 1) {
        const code = value.charCodeAt(index);
        if (code > 0x7f) {
          this.#end += buffer.write(value, this.#end);
          return;
        }
        buffer[at++] = code;
      }
      this.#end = at;
      return;
    }
    // Three bytes a UTF-16 unit is the most that UTF-8 needs; for long texts counting is cheaper than so much slack.
    this.#reserve(length < 4096 ? length * 3 : Buffer.byteLength(value));
    this.#end += this.#buffer.write(value, this.#end);
  }

  /** UTF-8 and a zero byte. A text that holds a zero byte cannot be sent and is our own mistake. */
  cString(value: string): void {
    if (value.includes('\0')) throw new Error('assertion failed: a protocol string holds a zero byte');
    this.text(value);
    this.byte(0);
  }

  /** int32 length and UTF-8. */
  countedText(value: string): void {
    const at = this.length;
    this.int32(0);
    this.text(value);
    this.patchInt32(at, this.length - at - 4);
  }

  /** int32 length and bytes; -1 for null. */
  countedBytes(value: Uint8Array | null): void {
    if (value === null) {
      this.int32(-1);
      return;
    }
    this.int32(value.length);
    this.bytes(value);
  }

  /** Writes a message's type and leaves room for its length. Returns the mark for `endMessage`. */
  beginMessage(type: number): number {
    this.#reserve(5);
    this.#buffer[this.#end] = type;
    this.#end += 5;
    return this.length - 4;
  }

  endMessage(mark: number): void {
    this.patchInt32(mark, this.length - mark);
  }

  /** Overwrites four bytes at `mark` (a former `length`). */
  patchInt32(mark: number, value: number): void {
    writeInt32(this.#buffer, this.#start + mark, value);
  }

  patchInt16(mark: number, value: number): void {
    this.#buffer[this.#start + mark] = value >> 8;
    this.#buffer[this.#start + mark + 1] = value;
  }

  #reserve(more: number): void {
    if (this.#end + more > this.#buffer.length) this.#grow(more);
  }

  #grow(more: number): void {
    const pending = this.#end - this.#start;
    if (pending === 0 && spareSlab !== NO_SLAB && SLAB_BYTES - spareAt >= more) {
      this.#buffer = spareSlab;
      this.#start = spareAt;
      this.#end = spareAt;
      spareSlab = NO_SLAB;
      return;
    }
    const needed = pending + more;
    const next = Buffer.allocUnsafeSlow(needed > SLAB_BYTES ? needed * 2 : SLAB_BYTES);
    this.#buffer.copy(next, 0, this.#start, this.#end);
    this.#buffer = next;
    this.#start = 0;
    this.#end = pending;
  }
}

/** Below this a loop over ASCII beats the native call. */
const SHORT_TEXT = 16;

function writeInt32(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >> 24;
  buffer[at + 1] = value >> 16;
  buffer[at + 2] = value >> 8;
  buffer[at + 3] = value;
}
