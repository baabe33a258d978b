// The frames of one transaction while it arrives: in memory while small, in a file of its own when large.
// Space for Begin is left at the front, because a streamed transaction learns its commit LSN last.

import { assert, must } from '../../base/assert.ts';
import type { Disk, File } from '../../base/disk.ts';
import type { Lsn } from '../../pg/lsn.ts';
import { BEGIN_FRAME_BYTES, FRAME_HEADER_BYTES, writeFrameHeader } from '../frames.ts';

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

const INITIAL_BYTES = 4096;
const COPY_BYTES = 1024 * 1024;

export class TransactionBuffer {
  readonly #disk: Disk;
  readonly #options: TransactionBufferOptions;
  readonly #aborted = new Set<number>();
  readonly #runs: Run[] = [];
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
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

  /** Appends a frame around `tag` + `message[from…]`. `kind` says how it counts. */
  append(
    message: Uint8Array,
    from: number,
    at: { readonly start: Lsn; readonly end: Lsn; readonly sent: bigint; readonly subxid: number },
    kind: 'change' | 'message' | 'other',
  ): void {
    const messageBytes = 1 + message.length - from;
    const frameBytes = FRAME_HEADER_BYTES + messageBytes;
    this.#reserve(frameBytes);
    writeFrameHeader(this.#view, this.#used, messageBytes, at.start, at.end, at.sent);
    this.#bytes[this.#used + FRAME_HEADER_BYTES] = message[0] as number;
    this.#bytes.set(from === 0 ? message : message.subarray(from), this.#used + FRAME_HEADER_BYTES + 1);
    this.#used += frameBytes;
    this.#count(at.subxid, frameBytes, kind);
  }

  /** A promise when memory is full and is being written out: append nothing until it is done. */
  spill(): Promise<void> | null {
    return this.#used < this.#options.memoryBytesMax ? null : this.#flush();
  }

  /** Everything of this subtransaction is rolled back. */
  abort(subxid: number): void {
    this.#aborted.add(subxid);
  }

  /** `finish` without waiting: null when a file has to be written or something was rolled back. */
  finishInMemory(begin: Uint8Array, commit: Uint8Array): BufferedTransaction | null {
    if (this.#file !== null || this.#aborted.size > 0) return null;
    let changes = 0;
    let messages = 0;
    for (const run of this.#runs) {
      changes += run.changes;
      messages += run.messages;
    }
    const bytes = this.#used + commit.length;
    const frames = new Uint8Array(bytes);
    frames.set(this.#bytes.subarray(0, this.#used));
    frames.set(begin);
    frames.set(commit, this.#used);
    return { frames, path: this.#options.path, bytes, changes, messages };
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
    this.#view = new DataView(larger.buffer);
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
