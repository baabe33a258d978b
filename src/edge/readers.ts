// Several processes that answer on one port of an edge, so that it uses more than one core. The edge's own process applies the
// replica, serves HTTP and is the first of them; each further one is a child that opens the same SQLite file to read.
//
//   edge's process ── start, feed, cancel, collect, stop ──▶ reader
//                  ◀── listening, counts, cancel, failed ──
//
// The kernel shares new connections out (SO_REUSEPORT). A request to cancel may come to another process than the session it
// means: who does not know its key passes it on. Counts are collected when somebody asks for them.

import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/fault.ts';
import type { Random } from '../base/random.ts';
import type { MessagePort, WorkerHandle } from '../base/worker.ts';
import type { ReplicaFeed, ReplicaState } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import type { CancelKey } from '../session/cancel.ts';
import type { Edge } from './edge.ts';

export type ToReader<Setup> =
  | {
      readonly tag: 'start';
      readonly setup: Setup;
      readonly port: number;
      readonly state: ReplicaState;
      readonly ageMs: number;
    }
  | { readonly tag: 'feed'; readonly state: ReplicaState }
  | { readonly tag: 'cancel'; readonly key: CancelKey }
  | { readonly tag: 'collect' }
  | { readonly tag: 'stop' };

export type FromReader =
  | { readonly tag: 'listening' }
  | { readonly tag: 'failed'; readonly message: string }
  | { readonly tag: 'cancel'; readonly key: CancelKey }
  | { readonly tag: 'counts'; readonly counts: ReaderCounts };

/** What a reader did since it was asked last, and what it holds now. */
export interface ReaderCounts {
  readonly local: number;
  /** What the core had said before, told while it is away. */
  readonly remembered: number;
  /** By reason. */
  readonly forwarded: ReadonlyMap<string, number>;
  readonly connections: number;
  readonly upstreamConnections: number;
}

export const NO_COUNTS: ReaderCounts = {
  local: 0,
  remembered: 0,
  forwarded: new Map(),
  connections: 0,
  upstreamConnections: 0,
};

export interface ReadersDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly feed: ReplicaFeed;
  /** Starts a child process that calls `serveReader`. */
  readonly startReader: () => WorkerHandle<ToReader<unknown>, FromReader>;
  /** A reader could not find the session of a cancel request: perhaps this process can. */
  readonly cancel: (key: CancelKey) => void;
  /** Adds what a reader did. */
  readonly count: (counts: ReaderCounts) => void;
}

/** A reader that dies is started again, later each time it does so soon. */
const BACKOFF = { firstMs: 100, maxMs: 5_000 };

/** One that served this long was well. */
const WELL_AFTER_MS = 10_000;

/** A reader that does not say within this time what it did is left out of this answer; its counts come with the next. */
const COLLECT_MS_MAX = 500;

/** After being told to stop; sessions are told 57P01 within it. */
const STOP_MS_MAX = 2_000;

class Reader {
  worker: WorkerHandle<ToReader<unknown>, FromReader> | null = null;
  listening = false;
  last = NO_COUNTS;
  collected: (() => void) | null = null;
}

/** The further readers of an edge: all but its own process. */
export class Readers {
  readonly #deps: ReadersDeps;
  readonly #readers: readonly Reader[];
  readonly #setup: unknown;
  #stopping = false;

  /** `count`: processes beside this one. `setup`: what `startReader`'s module needs, plain data. */
  constructor(deps: ReadersDeps, options: { readonly count: number; readonly setup: unknown }) {
    this.#deps = deps;
    this.#setup = options.setup;
    this.#readers = Array.from({ length: options.count }, () => new Reader());
  }

  /** Sessions of all readers, as of the last `collect`. */
  get connections(): number {
    return this.#readers.reduce((sum, { last }) => sum + last.connections, 0);
  }

  get upstreamConnections(): number {
    return this.#readers.reduce((sum, { last }) => sum + last.upstreamConnections, 0);
  }

  /** Starts all on `port` and resolves when each listens or has failed once. They are kept running until `stop`. */
  async start(port: number): Promise<void> {
    await Promise.all(
      this.#readers.map(
        (reader, index) => new Promise<void>((resolve) => void this.#keep(reader, index + 1, port, resolve)),
      ),
    );
  }

  /** Another process of this edge has to know whose key that is. */
  cancel(key: CancelKey): void {
    for (const { worker } of this.#readers) worker?.post({ tag: 'cancel', key });
  }

  /** Asks all what they did; resolves when they have said so, or after a bound. */
  async collect(): Promise<void> {
    await Promise.all(this.#readers.map((reader) => this.#collect(reader)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(
      this.#readers.map(async ({ worker }) => {
        if (worker === null) return;
        worker.post({ tag: 'stop' });
        const { promise: late, resolve } = Promise.withResolvers<void>();
        using _bound = this.#deps.clock.after(STOP_MS_MAX, resolve);
        await Promise.race([worker.exited, late]);
        await worker.kill();
      }),
    );
  }

  async #keep(reader: Reader, index: number, port: number, ready: () => void): Promise<void> {
    const { clock, log, random } = this.#deps;
    const backoff = new Backoff(random, BACKOFF);
    while (!this.#stopping) {
      const startedAt = clock.now();
      const why = await this.#once(reader, port, ready);
      ready();
      if (this.#stopping) return;
      if (clock.now() - startedAt > WELL_AFTER_MS) backoff.reset();
      const waitMs = backoff.next();
      log.warn('edge.reader-ended', {
        message: `reader ${index} ${why}; its clients were cut off, another starts in ${Math.round(waitMs)} ms`,
      });
      await clock.sleep(waitMs);
    }
  }

  /** One life of a reader: gives the sentence of its end. */
  async #once(reader: Reader, port: number, ready: () => void): Promise<string> {
    const { feed } = this.#deps;
    let worker: WorkerHandle<ToReader<unknown>, FromReader>;
    try {
      worker = this.#deps.startReader();
    } catch (error) {
      return `could not be started (${describeError(error)})`;
    }
    const said: string[] = [];
    worker.onMessage = (message) => {
      switch (message.tag) {
        case 'listening':
          reader.listening = true;
          ready();
          break;
        case 'failed':
          said.push(message.message);
          break;
        case 'cancel':
          this.#deps.cancel(message.key);
          for (const other of this.#readers) {
            if (other !== reader) other.worker?.post({ tag: 'cancel', key: message.key });
          }
          break;
        case 'counts':
          reader.last = message.counts;
          this.#deps.count(message.counts);
          reader.collected?.();
          break;
      }
    };
    reader.worker = worker;
    worker.post({ tag: 'start', setup: this.#setup, port, state: feed.current, ageMs: feed.ageMs() });
    using _subscription = feed.subscribe((state) => worker.post({ tag: 'feed', state }));
    const why = await worker.exited;
    reader.worker = null;
    reader.listening = false;
    reader.last = NO_COUNTS;
    reader.collected?.();
    return [why, ...said].join(': ');
  }

  async #collect(reader: Reader): Promise<void> {
    const { worker } = reader;
    if (worker === null || !reader.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = reader.collected;
    reader.collected = () => {
      before?.();
      reader.collected = null;
      resolve();
    };
    using _bound = this.#deps.clock.after(COLLECT_MS_MAX, resolve);
    worker.post({ tag: 'collect' });
    await promise;
  }
}

/** What a reader's process makes of its start message: the server, and where to tell what the feed says. */
export interface ReaderServer {
  readonly edge: Edge;
  readonly tell: (state: ReplicaState, ageMs?: number) => void;
}

/** The child's end: waits for `start`, serves until told to stop. Rejects when it cannot serve; resolves when it was stopped. */
export async function serveReader<Setup>(
  port: MessagePort<FromReader, ToReader<Setup>>,
  build: (setup: Setup, listenOn: number, cancelElsewhere: (key: CancelKey) => void) => ReaderServer,
): Promise<void> {
  const stop = new AbortController();
  const ended = Promise.withResolvers<void>();
  let server: ReaderServer | null = null;
  const started = (message: ToReader<Setup> & { tag: 'start' }): void => {
    server = build(message.setup, message.port, (key) => port.post({ tag: 'cancel', key }));
    server.tell(message.state, message.ageMs);
    server.edge.listening.then(
      () => port.post({ tag: 'listening' }),
      (error: unknown) => port.post({ tag: 'failed', message: describeError(error) }),
    );
    server.edge.run(stop.signal).then(ended.resolve, ended.reject);
  };
  port.onMessage = (message) => {
    switch (message.tag) {
      case 'start':
        started(message);
        break;
      case 'feed':
        server?.tell(message.state);
        break;
      case 'cancel':
        server?.edge.cancel(message.key);
        break;
      case 'collect':
        port.post({ tag: 'counts', counts: server?.edge.takeCounts() ?? NO_COUNTS });
        break;
      case 'stop':
        stop.abort();
        if (server === null) ended.resolve();
        break;
    }
  };
  await ended.promise;
}
