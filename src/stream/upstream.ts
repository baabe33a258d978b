// The client side of a change stream, over one connection: to the core or to a relay, which look the same from here.
// Loops: status timer (tells positions, asks for a sign of life, gives up on a silent upstream), independent of applying.

import { Fault } from '../base/fault.ts';
import { loop } from '../base/service.ts';
import { HISTORY_OPTION } from '../contracts/placement.ts';
import { type Epoch, type Lsn, parseLsn } from '../pg/lsn.ts';
import { ClientSession, type ClientOptions, type ClientStream, type SessionWorld } from '../session/client-session.ts';
import { readUint64 } from '../wire/bytes.ts';
import {
  encodeReplication,
  postgresMicros,
  printReplicationCommand,
  REPLICATION,
  XLOG_DATA_HEADER_BYTES,
} from '../wire/replication.ts';
import { PINNED_SETTINGS } from './source/catalogue-sql.ts';

export interface UpstreamIdentity {
  readonly epoch: Epoch;
  /** Flushed end of its log. */
  readonly flushLsn: Lsn;
  readonly database: string;
}

export interface UpstreamTimings {
  /** How often positions are told, and the upstream asked for a word: how old answers are is known that exactly. */
  readonly statusEveryMs: number;
  /** Nothing heard for this long: the connection is given up. */
  readonly silenceMaxMs: number;
}

/**
 * Time of sending in those keepalives of a relay that only say that it lives. A keepalive with a real time proves that what was
 * sent is all there is: Postgres' own do, and a relay passes each such word on to whoever has all it has itself. So an edge
 * knows how old its answers are although everybody is idle, and a relay that was cut off is not believed.
 */
export const KEEPALIVE_NO_PROOF = 0n;

export const UPSTREAM_TIMINGS: UpstreamTimings = { statusEveryMs: 1000, silenceMaxMs: 30_000 };

export interface StreamPositions {
  readonly written: Lsn;
  /** What the upstream may forget (I5). */
  readonly flushed: Lsn;
  readonly applied: Lsn;
}

export interface StreamReceiver {
  /**
   * One pgoutput message: `buffer[start, end)`, with its XLogData header right before it. A promise makes the connection wait
   * until it is done; nothing else is delivered meanwhile, while status messages go on.
   */
  message(buffer: Buffer, start: number, end: number): Promise<void> | null;
  /** Everything up to `lsn` was sent. `isProof`: and there was nothing newer, see KEEPALIVE_NO_PROOF. */
  keepalive(lsn: Lsn, isProof: boolean): void;
  /** A chunk has been delivered: the moment to commit. */
  flush(): Promise<void> | null;
  positions(): StreamPositions;
}

export interface StreamStart {
  readonly slot: string;
  readonly from: Lsn;
  readonly publications: readonly string[];
  readonly protocolVersion: 1 | 2;
  readonly streaming: boolean;
  /** Of which placement's history the receiver is (see contracts/placement.ts); '' or absent: it holds everything. */
  readonly history?: string;
}

/** A connection in replication mode, with the settings under which values become text. */
export async function connectUpstream(world: SessionWorld, options: ClientOptions): Promise<Upstream> {
  const pinned = Object.entries(PINNED_SETTINGS)
    .map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)
    .join(' ');
  const session = await ClientSession.connect(world, {
    ...options,
    replication: 'database',
    parameters: { ...options.parameters, options: pinned, client_encoding: 'UTF8' },
  });
  return new Upstream(world, session);
}

export class Upstream implements AsyncDisposable {
  readonly session: ClientSession;
  readonly #world: SessionWorld;

  constructor(world: SessionWorld, session: ClientSession) {
    this.#world = world;
    this.session = session;
  }

  async identify(): Promise<UpstreamIdentity> {
    const row = (await this.session.query('IDENTIFY_SYSTEM')).rows[0] ?? [];
    return {
      epoch: { systemId: String(row[0]), timeline: Number(row[1]) },
      flushLsn: parseLsn(String(row[2])),
      database: row[3] ?? '',
    };
  }

  /** Text of the history file of a timeline; '' for the first, which has none. */
  async timelineHistory(timeline: number): Promise<string> {
    if (timeline <= 1) return '';
    const row = (await this.session.query(`TIMELINE_HISTORY ${timeline}`)).rows[0];
    return row?.[1] ?? '';
  }

  /** Streams until the signal aborts (returns) or the connection ends (throws). */
  async stream(
    start: StreamStart,
    receiver: StreamReceiver,
    timings: UpstreamTimings,
    signal: AbortSignal,
  ): Promise<void> {
    const command = printReplicationCommand({
      tag: 'startLogical',
      slot: start.slot,
      lsn: start.from,
      options: new Map([
        ['proto_version', String(start.protocolVersion)],
        ['publication_names', start.publications.map((name) => `"${name.replaceAll('"', '""')}"`).join(',')],
        ['messages', 'true'],
        ...(start.streaming ? [['streaming', 'on'] as const] : []),
        ...(start.history === undefined ? [] : [[HISTORY_OPTION, start.history] as const]),
      ]),
    });
    const running = new RunningStream(this.#world, receiver, timings);
    await running.run(this.session, command, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }
}

class RunningStream {
  readonly #world: SessionWorld;
  readonly #receiver: StreamReceiver;
  readonly #timings: UpstreamTimings;
  readonly #ended = Promise.withResolvers<void>();
  #stream: ClientStream | null = null;
  /** Whether anything came since the last tick: cheaper than asking the clock for each message. */
  #heard = false;
  /** Whether anything came since the last flush. */
  #delivered = false;
  #heardAtMs: number;
  #waiting = false;
  #isBroken = false;

  constructor(world: SessionWorld, receiver: StreamReceiver, timings: UpstreamTimings) {
    this.#world = world;
    this.#receiver = receiver;
    this.#timings = timings;
    this.#heardAtMs = world.clock.now();
  }

  async run(session: ClientSession, command: string, signal: AbortSignal): Promise<void> {
    const ending = new AbortController();
    const stop = (): void => this.#ended.resolve();
    signal.addEventListener('abort', stop);
    this.#ended.promise.catch(() => {});
    try {
      this.#stream = await session.startStream(command, {
        data: (buffer, start, end) => this.#data(session, buffer, start, end),
        flush: () => this.#flush(session),
        ended: (error) => this.#broke(error ?? upstreamEnded()),
      });
      if (signal.aborted) return;
      // An idle upstream says nothing by itself, and until it is heard nobody can know that the stream flows.
      this.#sendStatus(true);
      const status = loop(
        { everyMs: this.#timings.statusEveryMs, clock: this.#world.clock, signal: ending.signal },
        () => this.#tick(),
      );
      status.catch((error: unknown) => this.#broke(error));
      await this.#ended.promise;
      this.#sendStatus(false);
    } finally {
      ending.abort();
      signal.removeEventListener('abort', stop);
      this.#stream?.finish();
      session.destroy();
    }
  }

  /** The stream cannot go on. What has arrived already is not looked at any more: the next message may be past a gap. */
  #broke(error: unknown): void {
    this.#isBroken = true;
    this.#ended.reject(error);
  }

  #data(session: ClientSession, buffer: Buffer, start: number, end: number): void {
    if (this.#isBroken) return;
    this.#heard = true;
    this.#delivered = true;
    const kind = buffer[start];
    try {
      if (kind === REPLICATION.xlogData && end - start > XLOG_DATA_HEADER_BYTES) {
        const pending = this.#receiver.message(buffer, start + XLOG_DATA_HEADER_BYTES, end);
        if (pending !== null) this.#wait(session, pending);
      } else if (kind === REPLICATION.keepalive && end - start === 18) {
        this.#receiver.keepalive(readUint64(buffer, start + 1), readUint64(buffer, start + 9) !== KEEPALIVE_NO_PROOF);
        if (buffer[start + 17] === 1) this.#sendStatus(false);
      } else {
        throw new Fault('stream-malformed', { message: 'unexpected bytes in a replication stream', retryable: true });
      }
    } catch (error) {
      this.#broke(error);
      session.pause();
    }
  }

  #flush(session: ClientSession): void {
    // While one thing is waited for nothing else may begin to wait: the first to be done would let the stream go on.
    // And after nothing came there is nothing to commit; a receiver that pauses after each flush would stop the stream.
    if (this.#isBroken || this.#waiting || !this.#delivered) return;
    this.#delivered = false;
    try {
      const pending = this.#receiver.flush();
      if (pending !== null) this.#wait(session, pending);
    } catch (error) {
      this.#broke(error);
      session.pause();
    }
  }

  /** Stops reading until `pending` is done. The watchdog does not count the time. */
  #wait(session: ClientSession, pending: Promise<void>): void {
    this.#waiting = true;
    session.pause();
    pending.then(
      () => {
        this.#waiting = false;
        this.#heardAtMs = this.#world.clock.now();
        session.resume();
      },
      (error: unknown) => this.#broke(error),
    );
  }

  #tick(): void {
    const now = this.#world.clock.now();
    if (this.#heard) this.#heardAtMs = now;
    this.#heard = false;
    const silentMs = this.#waiting ? 0 : now - this.#heardAtMs;
    if (silentMs > this.#timings.silenceMaxMs) {
      throw new Fault('upstream-silent', {
        message: `nothing was heard from the upstream for ${Math.round(silentMs / 1000)} s`,
        hint: 'the network or the upstream hangs; connecting again',
        sqlstate: '08006',
        retryable: true,
      });
    }
    this.#sendStatus(true);
  }

  #sendStatus(replyNow: boolean): void {
    const { written, flushed, applied } = this.#receiver.positions();
    this.#stream?.send((writer) =>
      encodeReplication(writer, {
        tag: 'standbyStatus',
        written,
        flushed,
        applied,
        sentAt: postgresMicros(this.#world.clock.wall()),
        replyNow,
      }),
    );
  }
}

function upstreamEnded(): Fault {
  return new Fault('upstream-ended', { message: 'the upstream ended the stream', sqlstate: '08006', retryable: true });
}

/** Where timeline `from` was left on the way to the newest timeline of `history`; null when it is not in it. */
export function switchPoint(history: string, from: number): Lsn | null {
  for (const line of history.split('\n')) {
    const found = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (found !== null && Number(found[1]) === from) return parseLsn(found[2] as string);
  }
  return null;
}
