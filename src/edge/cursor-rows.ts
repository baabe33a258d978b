// The rows of a cursor: those of a lookup are in memory from the start; those of a scan come from a lane as they are wanted, stay in
// memory up to a bound and beyond it lie in a file, so that the lane can be let go of at any time.
//
//   filling ──the lane has no more──▶ complete        filling ──lane killed or broken──▶ broken

import { Fault } from '../base/fault.ts';
import type { Disk, File } from '../base/disk.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import { BACKEND } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { binaryFromText, type TypeLookup } from '../pg/types/binary.ts';
import type { FetchedRows } from './cursor-position.ts';
import { formatAt, type PreparedPlan, writeDataRow } from './local.ts';
import type { SlowChunk, SlowQuery } from './slow-lanes.ts';
import type { ColumnPlan } from './sql/plan.ts';

/** Rows of one cursor that stay in memory; the ones after them go to a file. */
const MEMORY_BYTES_MAX = 1024 * 1024;

/** Rows are handed over in pieces of about this size. */
const PIECE_BYTES = 64 * 1024;

export interface CursorRows {
  /** How many rows there are, counted up to `wanted`. Rejects when they cannot be had. */
  rowsUpTo(wanted: number): Promise<number>;
  /** DataRow frames of these rows, in pieces; `take` says false when nobody wants more. Rows must have been counted. */
  read(rows: FetchedRows, formats: readonly number[], take: (bytes: Uint8Array) => Promise<boolean>): Promise<void>;
  /** The cursor will hardly go back beyond `row`: rows before it go when memory is short. */
  forget(row: number): void;
  /** Brings all rows here, so that nothing else is held. */
  finish(): Promise<void>;
  /** Stops a wait for rows, if somebody waits: whoever cancels or runs out of time. The cursor is of no use after it. */
  kill(): void;
  close(): void;
}

/** Rows of a lookup. */
export class MemoryRows implements CursorRows {
  readonly #rows: readonly SqliteValue[][];
  readonly #prepared: PreparedPlan;

  constructor(rows: readonly SqliteValue[][], prepared: PreparedPlan) {
    this.#rows = rows;
    this.#prepared = prepared;
  }

  async rowsUpTo(wanted: number): Promise<number> {
    return Math.min(wanted, this.#rows.length);
  }

  async read(
    { first, count, step }: FetchedRows,
    formats: readonly number[],
    take: (bytes: Uint8Array) => Promise<boolean>,
  ): Promise<void> {
    const writers = this.#prepared.writers(formats);
    const out = new ByteWriter();
    for (let index = 0; index < count; index += 1) {
      writeDataRow(this.#rows[first - 1 + index * step] as SqliteValue[], writers, out);
      if (out.length > PIECE_BYTES && !(await take(out.take()))) return;
    }
    if (out.length > 0) await take(out.take());
  }

  forget(): void {}
  async finish(): Promise<void> {}
  kill(): void {}
  close(): void {}
}

/** Where the files of an edge's cursors are, and how large they may be together. */
export class CursorFiles {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #bytesMax: number;
  #bytes = 0;
  #opened = 0;
  #ready: Promise<void> | null = null;

  constructor(disk: Disk, directory: string, bytesMax: number) {
    this.#disk = disk;
    this.#directory = directory;
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async open(): Promise<{ readonly file: File; readonly path: string }> {
    this.#ready ??= this.#disk.makeDirectory(this.#directory);
    await this.#ready;
    this.#opened += 1;
    const path = `${this.#directory}/${this.#opened}`;
    return { file: await this.#disk.open(path, 'create'), path };
  }

  /** Throws Fault `cursor-too-large` (53400). */
  add(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) {
      throw new Fault('cursor-too-large', {
        message: `the rows of all open cursors together exceed ${this.#bytesMax} bytes`,
        hint: 'close cursors, fetch from them before anything else has to run, or raise edge.cursor_bytes_max',
        sqlstate: '53400',
      });
    }
    this.#bytes += bytes;
  }

  remove(bytes: number): void {
    this.#bytes -= bytes;
  }

  async delete(path: string): Promise<void> {
    await this.#disk.remove(path);
  }
}

interface Chunk {
  /** Number of its first row, from 1. */
  readonly first: number;
  readonly rows: number;
  readonly length: number;
  /** Null when it lies in the file. */
  readonly bytes: Uint8Array | null;
  readonly offset: number;
}

export interface LaneRowsDeps {
  readonly files: CursorFiles;
  readonly columns: readonly ColumnPlan[];
  readonly lookup: TypeLookup;
  /** Called once, when the lane is let go of. */
  readonly released: () => void;
}

/** Rows of a scan, kept as text; another format is made of it when it is asked for. */
export class LaneRows implements CursorRows {
  readonly #deps: LaneRowsDeps;
  readonly #query: SlowQuery;
  readonly #chunks: Chunk[] = [];
  #total = 0;
  #memoryBytes = 0;
  #fileBytes = 0;
  #file: { readonly file: File; readonly path: string } | null = null;
  #state: 'filling' | 'complete' | 'broken' = 'filling';
  #error: unknown = null;
  #filling: Promise<void> | null = null;
  #isClosed = false;
  /** The chunk that was read last, taken apart: the next FETCH goes on in it. */
  #split: { readonly chunk: Chunk; readonly frames: readonly Frame[] } | null = null;

  /** `first`: what the lane has given already. */
  constructor(deps: LaneRowsDeps, query: SlowQuery, first: SlowChunk) {
    this.#deps = deps;
    this.#query = query;
    this.#keep({ ...first, bytes: Buffer.from(first.bytes) }, null);
    if (first.done) this.#end('complete');
  }

  get isComplete(): boolean {
    return this.#state !== 'filling';
  }

  async rowsUpTo(wanted: number): Promise<number> {
    while (this.#total < wanted && this.#state === 'filling') await this.#fill();
    if (this.#state === 'broken') throw this.#error;
    return Math.min(wanted, this.#total);
  }

  forget(row: number): void {
    let chunk = this.#chunks[0];
    while (chunk !== undefined && this.#memoryBytes > MEMORY_BYTES_MAX / 2 && chunk.first + chunk.rows <= row) {
      if (chunk.bytes !== null) this.#memoryBytes -= chunk.length;
      this.#chunks.shift();
      chunk = this.#chunks[0];
    }
  }

  async finish(): Promise<void> {
    while (this.#state === 'filling' && !this.#isClosed) await this.#fill().catch(() => {});
  }

  async read(
    { first, count, step }: FetchedRows,
    formats: readonly number[],
    take: (bytes: Uint8Array) => Promise<boolean>,
  ): Promise<void> {
    let row = first;
    let left = count;
    while (left > 0) {
      const chunk = this.#chunkOf(row);
      const bytes = await this.#bytesOf(chunk);
      const frames = this.#framesOf(chunk, bytes);
      const index = row - chunk.first;
      const here = Math.min(left, step === 1 ? chunk.rows - index : index + 1);
      const wanted =
        step === 1 ? frames.slice(index, index + here) : frames.slice(index - here + 1, index + 1).reverse();
      if (!(await take(this.#converted(bytes, wanted, formats)))) return;
      row += here * step;
      left -= here;
    }
  }

  kill(): void {
    if (this.#filling !== null) this.#query.kill();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // In the middle of a chunk the lane does not listen: it is let go of after it.
    if (this.#filling === null) this.#end('broken');
    this.#deps.files.remove(this.#fileBytes);
    const file = this.#file;
    this.#file = null;
    if (file === null) return;
    void file.file
      .close()
      .then(() => this.#deps.files.delete(file.path))
      .catch(() => {});
  }

  /** One chunk more, once for all who wait. */
  #fill(): Promise<void> {
    this.#filling ??= this.#next().finally(() => {
      this.#filling = null;
      if (this.#isClosed) this.#end('broken');
    });
    return this.#filling;
  }

  async #next(): Promise<void> {
    try {
      const chunk = await this.#query.next(0);
      if (this.#isClosed) return;
      const bytes = Buffer.from(chunk.bytes);
      const isInFile = bytes.length > 0 && this.#memoryBytes + bytes.length > MEMORY_BYTES_MAX;
      const offset = isInFile ? await this.#write(bytes) : null;
      this.#keep({ ...chunk, bytes }, offset);
      if (chunk.done) this.#end('complete');
    } catch (error) {
      this.#error = error;
      this.#end('broken');
      throw error;
    }
  }

  async #write(bytes: Buffer): Promise<number> {
    this.#deps.files.add(bytes.length);
    const offset = this.#fileBytes;
    this.#fileBytes += bytes.length;
    const file = this.#file ?? (await this.#deps.files.open());
    if (this.#isClosed && this.#file === null) {
      // Closed while the file was opened: nobody else will take it away.
      await file.file.close();
      await this.#deps.files.delete(file.path);
      return offset;
    }
    this.#file = file;
    await file.file.write(bytes, offset);
    return offset;
  }

  #keep({ bytes, rows }: SlowChunk, offset: number | null): void {
    if (rows === 0) return;
    const first = this.#total + 1;
    this.#total += rows;
    if (offset === null) this.#memoryBytes += bytes.length;
    this.#chunks.push({
      first,
      rows,
      length: bytes.length,
      bytes: offset === null ? bytes : null,
      offset: offset ?? 0,
    });
  }

  #end(state: 'complete' | 'broken'): void {
    if (this.#state !== 'filling') return;
    this.#state = state;
    this.#query.close();
    this.#deps.released();
  }

  /** Throws Fault `cursor-rows-gone` (55000) for rows that were forgotten. */
  #chunkOf(row: number): Chunk {
    if (row < (this.#chunks[0]?.first ?? 1)) {
      throw new Fault('cursor-rows-gone', {
        message: 'cursor can only scan forward',
        detail: 'the rows before were given up to save memory',
        hint: 'Declare it with SCROLL option to enable backward scan.',
        sqlstate: '55000',
      });
    }
    let low = 0;
    let high = this.#chunks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#chunks[middle] as Chunk).first <= row) low = middle;
      else high = middle - 1;
    }
    return this.#chunks[low] as Chunk;
  }

  #framesOf(chunk: Chunk, bytes: Buffer): readonly Frame[] {
    if (this.#split?.chunk !== chunk) this.#split = { chunk, frames: framesOf(bytes) };
    return this.#split.frames;
  }

  async #bytesOf({ bytes, offset, length }: Chunk): Promise<Buffer> {
    const read = bytes ?? (await (this.#file as { file: File }).file.read(offset, length));
    return Buffer.from(read.buffer, read.byteOffset, read.byteLength);
  }

  #converted(bytes: Buffer, frames: readonly Frame[], formats: readonly number[]): Uint8Array {
    const isText = formats.every((format) => format === 0);
    const [head] = frames;
    const last = frames.at(-1);
    if (isText && head !== undefined && last !== undefined && head.start <= last.start) {
      return bytes.subarray(head.start, last.end);
    }
    const out = new ByteWriter();
    for (const { start, end } of frames) {
      if (isText) out.bytes(bytes.subarray(start, end));
      else this.#convertRow(bytes, start, formats, out);
    }
    return out.take();
  }

  #convertRow(bytes: Buffer, start: number, formats: readonly number[], out: ByteWriter): void {
    const { columns, lookup } = this.#deps;
    const mark = out.beginMessage(BACKEND.dataRow);
    out.int16(columns.length);
    let at = start + 7;
    for (const [index, { typeOid }] of columns.entries()) {
      const length = bytes.readInt32BE(at);
      at += 4;
      if (length < 0) {
        out.int32(-1);
        continue;
      }
      if (formatAt(formats, index) === 0) out.countedBytes(bytes.subarray(at, at + length));
      else out.countedBytes(binaryFromText(typeOid, bytes.toString('utf8', at, at + length), lookup));
      at += length;
    }
    out.endMessage(mark);
  }
}

interface Frame {
  readonly start: number;
  readonly end: number;
}

function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = start + 1 + bytes.readInt32BE(start + 1);
    frames.push({ start, end });
    start = end;
  }
  return frames;
}
