// A log file taken in as a source: read in pieces, aggregated, flushed with its position. Interrupted at any moment it goes on where
// the last flush ended; taken in twice it counts once; a file that has grown adds what is new.

import type { Crypto } from '../base/crypto.ts';
import { Fault } from '../base/fault.ts';
import { isWholeLine, readLogLine } from './access-log.ts';
import { MinuteAggregator } from './aggregate.ts';
import type { AnalyticsStore, Source } from './store.ts';

/** A file as it is read: unpacked bytes, and how much of the file itself was read for them. */
export interface LogFile {
  readonly label: string;
  /** Of the file as it lies there. */
  readonly sizeBytes: number;
  chunks(): AsyncIterable<{ readonly bytes: Uint8Array; readonly readBytes: number }>;
}

export interface ImportOptions {
  /** For lines that name no zone. */
  readonly zone: string;
  /** Take it in anew: what came from it before is forgotten. */
  readonly again: boolean;
}

export interface ImportProgress {
  readonly readBytes: number;
  readonly lines: number;
  readonly events: number;
}

export interface ImportResult {
  /** Lines looked at now; those of earlier runs are in `skippedBytes`. */
  readonly lines: number;
  readonly events: number;
  readonly badLines: number;
  /** The first few, with their numbers in what was read now. */
  readonly badSamples: readonly { readonly line: number; readonly why: string; readonly text: string }[];
  /** Unpacked bytes that an earlier run has taken in. */
  readonly skippedBytes: number;
  readonly firstMs: number | null;
  readonly lastMs: number | null;
  readonly zones: ReadonlyMap<string, number>;
}

/** A longer line is no line of a log. */
const LINE_BYTES_MAX = 256 * 1024;

/** Aggregates or events after which they are written: bounds memory, and what an interruption costs. */
const FLUSH_AGGREGATES = 20_000;
const FLUSH_EVENTS = 500_000;

const BAD_SAMPLES_MAX = 5;

const NEWLINE = 0x0a;

/** Rejects with Fault `log-empty`, `log-not-a-log`, `log-differs`, `analytics-fenced`, or with what reading or the database says. */
export async function importLog(
  store: AnalyticsStore,
  crypto: Crypto,
  file: LogFile,
  options: ImportOptions,
  progress: (now: ImportProgress) => void,
): Promise<ImportResult> {
  const name = await nameOf(crypto, file, options.zone);
  const source = await store.acquire(name, file.label);
  if (options.again && source.offset > 0) await store.forget(source);
  return await new Import(store, crypto, source, options.zone, progress).run(file);
}

/** A file is known by its first line, so that it may be moved, packed, and go on growing. */
async function nameOf(crypto: Crypto, file: LogFile, zone: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const { bytes } of file.chunks()) {
    parts.push(bytes);
    length += bytes.length;
    if (bytes.includes(NEWLINE) || length > LINE_BYTES_MAX) break;
  }
  const all = Buffer.concat(parts);
  const end = all.indexOf(NEWLINE);
  if (all.length === 0)
    throw new Fault('log-empty', { message: `${file.label} is empty`, hint: 'give a log with lines in it' });
  const first = all.subarray(0, end < 0 ? all.length : end);
  return `log:${Buffer.from(crypto.sha256(Buffer.concat([first, Buffer.from(`\n${zone}`)])))
    .toString('hex')
    .slice(0, 32)}`;
}

class Import {
  readonly #store: AnalyticsStore;
  readonly #crypto: Crypto;
  /** The line that was taken in last: when the log goes on, it must stand where it stood. */
  #last: Uint8Array | null = null;
  readonly #source: Source;
  readonly #zone: string;
  readonly #progress: (now: ImportProgress) => void;
  readonly #aggregator = new MinuteAggregator();
  readonly #zones = new Map<string, number>();
  readonly #badSamples: { line: number; why: string; text: string }[] = [];
  readonly #skippedBytes: number;
  #lines = 0;
  #events = 0;
  #badLines = 0;
  #eventsSinceFlush = 0;
  #firstMs: number | null = null;
  #lastMs: number | null = null;

  constructor(
    store: AnalyticsStore,
    crypto: Crypto,
    source: Source,
    zone: string,
    progress: (now: ImportProgress) => void,
  ) {
    this.#store = store;
    this.#crypto = crypto;
    this.#source = source;
    this.#zone = zone;
    this.#progress = progress;
    this.#skippedBytes = source.offset;
  }

  async run(file: LogFile): Promise<ImportResult> {
    let rest: Uint8Array = new Uint8Array(0);
    /** Of the first byte of `rest`, among the unpacked bytes. */
    let offset = 0;
    for await (const { bytes, readBytes } of file.chunks()) {
      const data = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
      let start = 0;
      for (
        let end = data.indexOf(NEWLINE, start);
        offset + start < this.#skippedBytes && end >= 0;
        end = data.indexOf(NEWLINE, start)
      ) {
        this.#last = Buffer.from(data.subarray(start, end));
        start = end + 1;
        if (offset + start >= this.#skippedBytes) this.#mustGoOn(file, offset + start);
      }
      for (
        let end = data.indexOf(NEWLINE, start);
        end >= 0 && offset + start >= this.#skippedBytes;
        end = data.indexOf(NEWLINE, start)
      ) {
        this.#line(data.subarray(start, end));
        start = end + 1;
        if (this.#aggregator.size >= FLUSH_AGGREGATES || this.#eventsSinceFlush >= FLUSH_EVENTS) {
          await this.#flush(offset + start);
        }
      }
      offset += start;
      rest = Buffer.from(data.subarray(start));
      if (rest.length > LINE_BYTES_MAX) {
        throw new Fault('log-not-a-log', {
          message: `${file.label}: line ${this.#lines + 1} is longer than ${LINE_BYTES_MAX} bytes`,
          hint: 'give an access log in combined or JSON format, plain or gzipped',
        });
      }
      this.#progress({ readBytes, lines: this.#lines, events: this.#events });
    }
    if (offset < this.#skippedBytes) {
      // It ended without a newline when it was taken in.
      this.#last = rest;
      this.#mustGoOn(file, offset + rest.length);
      offset += rest.length;
      rest = new Uint8Array(0);
    }
    // A last line without its end may still be written: a log that is done with ends with one.
    if (rest.length > 0 && this.#isWhole(rest)) {
      this.#line(rest);
      offset += rest.length;
    }
    if (this.#lines > 0 && this.#events === 0 && this.#skippedBytes === 0) {
      throw new Fault('log-not-a-log', {
        message: `none of the ${this.#lines} lines of ${file.label} is a line of an access log: ${this.#badSamples[0]?.why ?? ''}`,
        hint: 'give an access log in combined or JSON format, plain or gzipped',
      });
    }
    if (offset > this.#source.offset) await this.#flush(offset);
    return {
      lines: this.#lines,
      events: this.#events,
      badLines: this.#badLines,
      badSamples: this.#badSamples,
      skippedBytes: this.#skippedBytes,
      firstMs: this.#firstMs,
      lastMs: this.#lastMs,
      zones: this.#zones,
    };
  }

  /** What was skipped must be what was taken in: another log may begin with the same line. */
  #mustGoOn(file: LogFile, offset: number): void {
    if (offset === this.#skippedBytes && this.#lastHash() === this.#source.lastLine) return;
    throw new Fault('log-differs', {
      message: `${file.label} begins as a log that was taken in before, and is another one`,
      hint: 'give it a zone of its own (--zone), or, if it was edited, take it in anew (--again)',
    });
  }

  #lastHash(): string {
    return Buffer.from(this.#crypto.sha256(this.#last ?? new Uint8Array(0)))
      .toString('hex')
      .slice(0, 32);
  }

  #isWhole(line: Uint8Array): boolean {
    return isWholeLine(Buffer.from(line).toString(), this.#zone);
  }

  #line(bytes: Uint8Array): void {
    this.#lines += 1;
    this.#last = bytes;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString().replace(/\r$/, '');
    if (text === '') return;
    const event = readLogLine(text, this.#zone);
    if ('why' in event) {
      this.#badLines += 1;
      if (this.#badSamples.length < BAD_SAMPLES_MAX) {
        this.#badSamples.push({ line: this.#lines, why: event.why, text: text.slice(0, 120) });
      }
      return;
    }
    this.#aggregator.add(event);
    this.#events += 1;
    this.#eventsSinceFlush += 1;
    this.#zones.set(event.zone, (this.#zones.get(event.zone) ?? 0) + 1);
    if (this.#firstMs === null || event.atMs < this.#firstMs) this.#firstMs = event.atMs;
    if (this.#lastMs === null || event.atMs > this.#lastMs) this.#lastMs = event.atMs;
  }

  async #flush(offset: number): Promise<void> {
    await this.#store.flush(this.#source, this.#aggregator.take(), offset, this.#lastHash());
    this.#eventsSinceFlush = 0;
  }
}
