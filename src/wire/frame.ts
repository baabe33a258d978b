// Splits a byte stream into frames: a type byte (absent in startup packets), an int32 length that counts itself, a body.
// A frame that lies inside one chunk is handed out where it lies; only a frame that crosses chunks is copied, once.

import { asBuffer, readInt32 } from './bytes.ts';
import { wireFault } from './faults.ts';

/** Postgres' own MAX_STARTUP_PACKET_LENGTH. */
export const STARTUP_BYTES_MAX = 10_000;

/** Before authentication only passwords and SASL messages are expected (Postgres: PG_MAX_AUTH_TOKEN_LENGTH). */
export const AUTH_FRAME_BYTES_MAX = 65_535;

/** Postgres' PQ_LARGE_MESSAGE_LIMIT: 1 GiB - 1. */
export const FRAME_BYTES_MAX = 0x3fffffff;

/** First allocation for a frame that crosses chunks; it doubles as bytes really arrive, so that a lie about a length costs little. */
const PARTIAL_BYTES_FIRST = 4096;

const NO_BYTES = Buffer.alloc(0);

/**
 * Usage: `push(chunk)`, then `while (reader.next()) use(reader.type, reader.buffer, reader.start, reader.end)`.
 * One may stop in the middle (pause) and call `next` again later; chunks pushed meanwhile wait in order.
 */
export class FrameReader {
  /** The frame found by the last `next()` that was true. Its memory is never written again, so views of it may be kept. */
  type = 0;
  buffer: Buffer = NO_BYTES;
  /** First byte of the body; the header lies right before it (5 bytes, 4 for a startup packet). */
  start = 0;
  /** One past the last byte of the body. */
  end = 0;

  #headerBytes: 4 | 5;
  #bytesMax: number;
  #chunk: Buffer = NO_BYTES;
  #position = 0;
  readonly #waiting: Buffer[] = [];
  #partial: Buffer | null = null;
  #partialBytes = 0;
  /** Whole size of the partial frame; 0 while even its header is incomplete. */
  #partialTotal = 0;

  /** `startup`: the next frame has no type byte. `bytesMax` bounds a frame's length field. */
  constructor(options: { readonly startup?: boolean; readonly bytesMax?: number } = {}) {
    this.#headerBytes = options.startup === true ? 4 : 5;
    this.#bytesMax = options.bytesMax ?? (options.startup === true ? STARTUP_BYTES_MAX : FRAME_BYTES_MAX);
  }

  /** Switches to packets without a type byte. */
  expectStartup(): void {
    this.#headerBytes = 4;
    this.#bytesMax = STARTUP_BYTES_MAX;
  }

  /** Switches to frames with a type byte, at most `bytesMax` long. */
  expectTyped(bytesMax: number = FRAME_BYTES_MAX): void {
    this.#headerBytes = 5;
    this.#bytesMax = bytesMax;
  }

  /** Bytes pushed that no frame has used yet. */
  get bufferedBytes(): number {
    let total = this.#chunk.length - this.#position + this.#partialBytes;
    for (const chunk of this.#waiting) total += chunk.length;
    return total;
  }

  /** First unused byte, or -1: tells a TLS ClientHello (0x16) from a startup packet (0x00). */
  peek(): number {
    if (this.#partial !== null) return this.#partial[0] as number;
    return this.#position < this.#chunk.length ? (this.#chunk[this.#position] as number) : -1;
  }

  /** Takes all unused bytes out, e.g. to hand a ClientHello to the TLS engine. */
  takeRest(): Buffer {
    const parts = [this.#chunk.subarray(this.#position), ...this.#waiting];
    if (this.#partial !== null) parts.unshift(this.#partial.subarray(0, this.#partialBytes));
    this.#chunk = NO_BYTES;
    this.#position = 0;
    this.#waiting.length = 0;
    this.#partial = null;
    this.#partialBytes = 0;
    this.#partialTotal = 0;
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    const buffer = asBuffer(chunk);
    if (this.#position < this.#chunk.length) {
      this.#waiting.push(buffer);
      return;
    }
    this.#chunk = buffer;
    this.#position = 0;
  }

  /** Advances to the next whole frame; false when more bytes are needed. Throws `frame-too-long` or `frame-malformed`. */
  next(): boolean {
    if (this.#partial !== null) return this.#continuePartial();
    const chunk = this.#chunk;
    const position = this.#position;
    const available = chunk.length - position;
    if (available < this.#headerBytes) {
      if (available > 0) return this.#beginPartial(0);
      return this.#nextChunk() && this.next();
    }
    const total = this.#frameBytes(chunk, position);
    if (available < total) return this.#beginPartial(total);
    this.#position = position + total;
    this.#found(chunk, position, total);
    return true;
  }

  #found(buffer: Buffer, position: number, total: number): void {
    this.type = this.#headerBytes === 5 ? (buffer[position] as number) : 0;
    this.buffer = buffer;
    this.start = position + this.#headerBytes;
    this.end = position + total;
  }

  /** Size of the whole frame whose header is at `position`. */
  #frameBytes(buffer: Buffer, position: number): number {
    const typeBytes = this.#headerBytes - 4;
    const length = readInt32(buffer, position + typeBytes);
    if (length < 4) throw wireFault('frame-malformed', `invalid message length ${length}`);
    if (length > this.#bytesMax) {
      throw wireFault('frame-too-long', `message of ${length} bytes exceeds the maximum of ${this.#bytesMax}`);
    }
    return typeBytes + length;
  }

  #beginPartial(total: number): boolean {
    const rest = this.#chunk.length - this.#position;
    this.#partialTotal = total;
    const room = total === 0 ? this.#headerBytes : Math.min(total, Math.max(PARTIAL_BYTES_FIRST, rest * 2));
    this.#partial = Buffer.allocUnsafeSlow(room);
    this.#chunk.copy(this.#partial, 0, this.#position);
    this.#partialBytes = rest;
    this.#position = this.#chunk.length;
    return this.#nextChunk() && this.#continuePartial();
  }

  #continuePartial(): boolean {
    for (;;) {
      const wanted = this.#partialTotal === 0 ? this.#headerBytes : this.#partialTotal;
      const rest = this.#chunk.length - this.#position;
      const taken = Math.min(wanted - this.#partialBytes, rest);
      this.#appendPartial(taken, wanted);
      if (this.#partialBytes < wanted) {
        if (!this.#nextChunk()) return false;
        continue;
      }
      const partial = this.#partial as Buffer;
      if (this.#partialTotal === 0) {
        this.#partialTotal = this.#frameBytes(partial, 0);
        if (this.#partialTotal > this.#partialBytes) continue;
      }
      this.#found(partial, 0, this.#partialTotal);
      this.#partial = null;
      this.#partialBytes = 0;
      this.#partialTotal = 0;
      return true;
    }
  }

  #appendPartial(taken: number, wanted: number): void {
    let partial = this.#partial as Buffer;
    const needed = this.#partialBytes + taken;
    if (needed > partial.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(wanted, Math.max(PARTIAL_BYTES_FIRST, needed * 2)));
      partial.copy(grown, 0, 0, this.#partialBytes);
      partial = grown;
      this.#partial = grown;
    }
    this.#chunk.copy(partial, this.#partialBytes, this.#position, this.#position + taken);
    this.#partialBytes = needed;
    this.#position += taken;
  }

  #nextChunk(): boolean {
    const next = this.#waiting.shift();
    if (next === undefined) {
      // Not holding on to the last chunk: an idle connection keeps no memory of its last answer.
      if (this.#chunk.length > 0 && this.#position === this.#chunk.length) {
        this.#chunk = NO_BYTES;
        this.#position = 0;
      }
      return false;
    }
    this.#chunk = next;
    this.#position = 0;
    return true;
  }
}
