// The frames of one transaction while it arrives: in memory while small, in a file of its own when large.
// Space for Begin is left at the front, because a streamed transaction learns its commit LSN last.

import { assert, must } from '../../base/assert.ts';
import type { Disk, File } from '../../base/disk.ts';
import { BEGIN_FRAME_BYTES, FRAME_HEADER_BYTES } from '../frames.ts';

/** Frames of one (sub)transaction that lie next to each other. */
interface Run {
  /** 0 for what survives in any case. */
  readonly subxid: number;
  readonly start: number;
  end: number;
  changes: number;
  messages: number;
}

export interface BufferedTransaction {
  /** The frames, or null when they are in the file at `path`. */
  readonly frames: Uint8Array | null;
  readonly path: string;
  readonly bytes: number;
  readonly changes: number;
  readonly messages: number;
}

export interface TransactionBufferOptions {
  /** File to use when memory is not enough; created only then. */
  readonly path: string;
  readonly memoryBytesMax: number;
}

const INITIAL_BYTES = 16 * 1024;
const COPY_BYTES = 1024 * 1024;
const COPY_LOOP_BYTES_MAX = 64;

/** More memory than this is not kept for the next transaction. */
const KEPT_BYTES_MAX = 256 * 1024;

export class TransactionBuffer {
  readonly #disk: Disk;
  readonly #options: TransactionBufferOptions;
  readonly #aborted = new Set<number>();
  readonly #runs: Run[] = [];
  #bytes = new Uint8Array(INITIAL_BYTES);
  /** Bytes used in memory; the first byte in memory has offset `#flushed`. */
  #used = BEGIN_FRAME_BYTES;
  #flushed = 0;
  #file: File | null = null;

  constructor(disk: Disk, options: TransactionBufferOptions) {
    this.#disk = disk;
    this.#options = options;
  }

  /** Bytes so far, with the space for Begin. */
  get bytes(): number {
    return this.#flushed + this.#used;
  }

  /** Puts the Begin message of a plain transaction in its place. */
  begin(buffer: Uint8Array, start: number, end: number): void {
    this.#put(0, buffer, start, end, 0);
  }

  /**
   * Appends a frame around the message `buffer[start, end)`, which has its XLogData header right before it. `xidBytes` after
   * the message's type are left out. `kind` says how it counts.
   */
  append(
    buffer: Uint8Array,
    start: number,
    end: number,
    xidBytes: number,
    subxid: number,
    kind: 'change' | 'message' | 'other',
  ): void {
    const frameBytes = FRAME_HEADER_BYTES + end - start - xidBytes;
    this.#reserve(frameBytes);
    this.#put(this.#used, buffer, start, end, xidBytes);
    this.#used += frameBytes;
    this.#count(subxid, frameBytes, kind);
  }

  /** Appends a frame that is never rolled back. */
  appendFrame(frame: Uint8Array, kind: 'message' | 'other'): void {
    this.#reserve(frame.length);
    this.#bytes.set(frame, this.#used);
    this.#used += frame.length;
    this.#count(0, frame.length, kind);
  }

  /** Writes a frame at `at`, where there is room for it. */
  #put(at: number, buffer: Uint8Array, start: number, end: number, xidBytes: number): void {
    const bytes = this.#bytes;
    const length = FRAME_HEADER_BYTES - 1 + end - start - xidBytes;
    bytes[at] = 0x64;
    bytes[at + 1] = length >>> 24;
    bytes[at + 2] = length >>> 16;
    bytes[at + 3] = length >>> 8;
    bytes[at + 4] = length;
    // Small copies: a loop is cheaper than making views.
    const header = start - (FRAME_HEADER_BYTES - 5);
    for (let index = 0; index <= FRAME_HEADER_BYTES - 5; index += 1)
      bytes[at + 5 + index] = buffer[header + index] as number;
    const from = start + 1 + xidBytes;
    const to = at + FRAME_HEADER_BYTES + 1;
    if (end - from > COPY_LOOP_BYTES_MAX) bytes.set(buffer.subarray(from, end), to);
    else for (let index = from; index < end; index += 1) bytes[to + index - from] = buffer[index] as number;
  }

  /** A promise when memory is full and is being written out: append nothing until it is done. */
  spill(): Promise<void> | null {
    return this.#used < this.#options.memoryBytesMax ? null : this.#flush();
  }

  /** Everything of this subtransaction is rolled back. */
  abort(subxid: number): void {
    this.#aborted.add(subxid);
  }

  /** Ends a plain transaction with its Commit message, if that needs no waiting; else null. The buffer can be reset after it. */
  finishInMemory(buffer: Uint8Array, start: number, end: number): BufferedTransaction | null {
    if (this.#file !== null || this.#aborted.size > 0) return null;
    let changes = 0;
    let messages = 0;
    for (const run of this.#runs) {
      changes += run.changes;
      messages += run.messages;
    }
    this.#reserve(FRAME_HEADER_BYTES + end - start);
    this.#put(this.#used, buffer, start, end, 0);
    this.#used += FRAME_HEADER_BYTES + end - start;
    const bytes = this.#used;
    return { frames: this.#bytes.slice(0, bytes), path: this.#options.path, bytes, changes, messages };
  }

  /** Empty again, for the next transaction. */
  reset(): void {
    assert(this.#file === null && this.#flushed === 0, 'only a buffer in memory is used again');
    this.#runs.length = 0;
    this.#used = BEGIN_FRAME_BYTES;
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = new Uint8Array(INITIAL_BYTES);
  }

  /** Puts Begin and Commit around what survived. The buffer is used up afterwards. */
  async finish(begin: Uint8Array, commit: Uint8Array): Promise<BufferedTransaction> {
    assert(begin.length === BEGIN_FRAME_BYTES, 'a Begin frame has one size');
    const survivors = this.#runs.filter((run) => !this.#aborted.has(run.subxid));
    const totals = { changes: 0, messages: 0 };
    for (const run of survivors) {
      totals.changes += run.changes;
      totals.messages += run.messages;
    }
    if (survivors.length < this.#runs.length) await this.#compact(survivors);
    this.#reserve(commit.length);
    this.#bytes.set(commit, this.#used);
    this.#used += commit.length;
    const { path } = this.#options;
    if (this.#file === null) {
      this.#bytes.set(begin, 0);
      return { frames: this.#bytes.slice(0, this.#used), path, bytes: this.#used, ...totals };
    }
    await this.#flush();
    await this.#file.write(begin, 0);
    await this.#file.sync();
    await this.#file.close();
    this.#file = null;
    return { frames: null, path, bytes: this.#flushed, ...totals };
  }

  /** Gives everything up. */
  async discard(): Promise<void> {
    if (this.#file === null) return;
    await this.#file.close();
    this.#file = null;
    await this.#disk.remove(this.#options.path);
  }

  #reserve(more: number): void {
    const needed = this.#used + more;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }

  #count(subxid: number, frameBytes: number, kind: 'change' | 'message' | 'other'): void {
    const end = this.bytes;
    let run = this.#runs.at(-1);
    if (run === undefined || run.subxid !== subxid) {
      run = { subxid, start: end - frameBytes, end, changes: 0, messages: 0 };
      this.#runs.push(run);
    }
    run.end = end;
    if (kind === 'change') run.changes += 1;
    else if (kind === 'message') run.messages += 1;
  }

  async #flush(): Promise<void> {
    this.#file ??= await this.#disk.open(this.#options.path, 'write');
    await this.#file.write(this.#bytes.subarray(0, this.#used), this.#flushed);
    this.#flushed += this.#used;
    this.#used = 0;
  }

  /** Leaves only `survivors`, packed together. */
  async #compact(survivors: readonly Run[]): Promise<void> {
    if (this.#file === null) {
      let used = BEGIN_FRAME_BYTES;
      for (const run of survivors) {
        this.#bytes.copyWithin(used, run.start, run.end);
        used += run.end - run.start;
      }
      this.#used = used;
      return;
    }
    await this.#flush();
    const file = must(this.#file);
    // Packing forward within one file: each byte moves towards the front, so nothing is overwritten before it is read.
    let target = BEGIN_FRAME_BYTES;
    for (const run of survivors) {
      for (let from = run.start; from < run.end; ) {
        const chunk = await file.read(from, Math.min(COPY_BYTES, run.end - from));
        await file.write(chunk, target);
        from += chunk.length;
        target += chunk.length;
      }
    }
    await file.truncate(target);
    this.#flushed = target;
  }
}
