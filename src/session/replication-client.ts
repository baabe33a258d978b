// We are a subscriber: slots, and a stream of output-plugin payloads with the feedback that lets the server forget WAL.
//
// Status goes out by a timer of its own, whether bytes arrive or the owner has paused: a server that hears nothing for
// wal_sender_timeout cuts the connection, and a long transaction being applied is no reason for that.
//
// Faults: `upstream-silent` (nothing heard from the server for too long; retryable), and those of `faults.ts`.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { type Lsn, LSN_ZERO, parseLsn } from '../pg/lsn.ts';
import {
  decodeReplication,
  encodeReplication,
  postgresMicros,
  printReplicationCommand,
  quoteName,
  REPLICATION,
  type ReplicationCommand,
  XLOG_DATA_HEADER_BYTES,
} from '../wire/replication.ts';
import { type ClientOptions, ClientSession, type ClientStream, type SessionWorld } from './client-session.ts';

export interface SystemIdentity {
  readonly systemId: string;
  readonly timeline: number;
  /** End of WAL that the server has flushed. */
  readonly flushedLsn: Lsn;
  /** Null on a physical connection. */
  readonly database: string | null;
}

export interface SlotOptions {
  readonly name: string;
  /** Gone with the connection. */
  readonly temporary?: boolean;
  readonly plugin?: string;
  /** `export`: other sessions may import the snapshot until the next command here. `use`: for this session's transaction. */
  readonly snapshot?: 'export' | 'use' | 'nothing';
  readonly twoPhase?: boolean;
  /** Kept on synchronised standbys; PostgreSQL 17 and later. */
  readonly failover?: boolean;
}

export interface CreatedSlot {
  /** The stream begins exactly after the commits before this; the snapshot holds exactly those. */
  readonly consistentPoint: Lsn;
  readonly snapshot: string | null;
}

/** What we have. An LSN reported as flushed may be forgotten by the server: only report what is durable (I5). */
export interface StreamPosition {
  readonly written: Lsn;
  readonly flushed: Lsn;
  readonly applied: Lsn;
}

export interface ReplicationHandler {
  /** One payload of the output plugin: `buffer[start, end)`; it must be copied to outlive the call's chunk economically. */
  data(buffer: Buffer, start: number, end: number): void;
  /** The server's end of WAL: everything before it that concerns us has been sent. */
  keepalive?(serverEnd: Lsn): void;
  /** All messages of one chunk have been delivered: the moment to write and to report. */
  flush?(): void;
  /** The stream is over; without an error when `stop` ended it. */
  ended(error?: Error): void;
}

export interface StartOptions {
  readonly slot: string;
  /** The server starts at the later of this and the slot's own position, without saying so. */
  readonly lsn: Lsn;
  /** Options of the plugin, e.g. proto_version. */
  readonly options: Readonly<Record<string, string>>;
  /** Default 10 s, or a third of the server's wal_sender_timeout if that is less. */
  readonly statusEveryMs?: number;
  /** Silence after which the server counts as lost. Default 60 s; the server is asked for a sign at half of it. */
  readonly silenceMsMax?: number;
}

const STATUS_EVERY_MS = 10_000;
const SILENCE_MS_MAX = 60_000;

/** A connection in logical replication mode. */
export class ReplicationClient {
  readonly session: ClientSession;
  readonly #world: SessionWorld;

  /** Connects with `replication=database`. */
  static async connect(world: SessionWorld, options: ClientOptions): Promise<ReplicationClient> {
    return new ReplicationClient(world, await ClientSession.connect(world, { replication: 'database', ...options }));
  }

  private constructor(world: SessionWorld, session: ClientSession) {
    this.#world = world;
    this.session = session;
  }

  async identifySystem(): Promise<SystemIdentity> {
    const row = await this.#row({ tag: 'identifySystem' });
    return {
      systemId: row[0] ?? '',
      timeline: Number(row[1]),
      flushedLsn: parseLsn(row[2] ?? ''),
      database: row[3] ?? null,
    };
  }

  /** Waits for the transactions that run now: bound it by closing the session. */
  async createSlot(options: SlotOptions): Promise<CreatedSlot> {
    const extra = new Map<string, string | null>();
    if (options.snapshot !== undefined) extra.set('snapshot', options.snapshot);
    if (options.twoPhase === true) extra.set('two_phase', null);
    if (options.failover === true) extra.set('failover', null);
    const row = await this.#row({
      tag: 'createSlot',
      slot: options.name,
      temporary: options.temporary ?? false,
      plugin: options.plugin ?? 'pgoutput',
      options: extra,
    });
    return { consistentPoint: parseLsn(row[1] ?? ''), snapshot: row[2] ?? null };
  }

  /** `wait`: until whoever uses the slot has let go. */
  async dropSlot(name: string, options: { readonly wait: boolean }): Promise<void> {
    await this.session.query(printReplicationCommand({ tag: 'dropSlot', slot: name, wait: options.wait }));
  }

  /** Starts a logical stream. The first payload may arrive before this resolves. */
  async startReplication(options: StartOptions, handler: ReplicationHandler): Promise<ReplicationStream> {
    const statusEveryMs = options.statusEveryMs ?? (await this.#statusEveryMs());
    const command = printReplicationCommand({
      tag: 'startLogical',
      slot: options.slot,
      lsn: options.lsn,
      options: new Map(Object.entries(options.options)),
    });
    const stream = new ReplicationStream(this.#world.clock, this.session, handler, {
      statusEveryMs,
      silenceMsMax: options.silenceMsMax ?? SILENCE_MS_MAX,
    });
    stream.attach(await this.session.startStream(command, stream));
    return stream;
  }

  async close(): Promise<void> {
    await this.session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #row(command: ReplicationCommand): Promise<readonly (string | null)[]> {
    const { rows } = await this.session.query(printReplicationCommand(command));
    const row = rows[0];
    if (row === undefined) throw new Fault('protocol-violation', { message: `no answer to ${command.tag}` });
    return row;
  }

  async #statusEveryMs(): Promise<number> {
    const { rows } = await this.session.query('SHOW wal_sender_timeout');
    const timeoutMs = durationMs(rows[0]?.[0] ?? '0');
    return timeoutMs === 0 ? STATUS_EVERY_MS : Math.min(STATUS_EVERY_MS, Math.max(10, timeoutMs / 3));
  }
}

/** A running stream. */
export class ReplicationStream {
  readonly #clock: Clock;
  readonly #session: ClientSession;
  readonly #handler: ReplicationHandler;
  readonly #options: { readonly statusEveryMs: number; readonly silenceMsMax: number };
  #stream: ClientStream | null = null;
  #position: StreamPosition = { written: LSN_ZERO, flushed: LSN_ZERO, applied: LSN_ZERO };
  #heardAt: number;
  #askedAt = 0;
  #paused = false;
  #over = false;
  #timer: Disposable | null = null;

  constructor(
    clock: Clock,
    session: ClientSession,
    handler: ReplicationHandler,
    options: { readonly statusEveryMs: number; readonly silenceMsMax: number },
  ) {
    this.#clock = clock;
    this.#session = session;
    this.#handler = handler;
    this.#options = options;
    this.#heardAt = clock.now();
  }

  /** Remembers what to report with the next status. Never moves backwards at the server. */
  report(position: StreamPosition): void {
    this.#position = position;
  }

  /** Sends a status now: after a commit has become durable. */
  sendStatus(): void {
    this.#sendStatus(false);
  }

  /** Stops delivery, so that the server waits; status goes on. */
  pause(): void {
    this.#paused = true;
    this.#session.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#heardAt = this.#clock.now();
    this.#session.resume();
  }

  /** Ends the stream in order; `ended` follows when the server has agreed, and the connection can be used again. */
  stop(): void {
    this.#sendStatus(false);
    this.#stream?.finish();
    this.resume();
  }

  // Called by the session.

  attach(stream: ClientStream): void {
    this.#stream = stream;
    if (!this.#over) this.#schedule();
  }

  data(buffer: Buffer, start: number, end: number): void {
    this.#heardAt = this.#clock.now();
    if (buffer[start] === REPLICATION.xlogData) {
      if (end - start < XLOG_DATA_HEADER_BYTES) throw malformed();
      this.#handler.data(buffer, start + XLOG_DATA_HEADER_BYTES, end);
      return;
    }
    const message = decodeReplication(buffer, start, end);
    if (message.tag !== 'keepalive') throw malformed();
    this.#handler.keepalive?.(message.end);
    // The server asks shortly before it gives us up: at once, not with the next tick.
    if (message.replyNow) this.#sendStatus(false);
  }

  flush(): void {
    this.#handler.flush?.();
  }

  ended(error?: Error): void {
    this.#over = true;
    this.#timer?.[Symbol.dispose]();
    this.#handler.ended(error);
  }

  #schedule(): void {
    this.#timer = this.#clock.after(this.#options.statusEveryMs, () => {
      if (this.#over) return;
      this.#checkSilence();
      this.#schedule();
    });
  }

  #checkSilence(): void {
    const { silenceMsMax } = this.#options;
    const silentMs = this.#paused ? 0 : this.#clock.now() - this.#heardAt;
    if (silentMs > silenceMsMax && this.#askedAt >= this.#heardAt) {
      this.#session.destroy(
        new Fault('upstream-silent', {
          message: `nothing heard from the server for ${Math.round(silentMs)} ms`,
          hint: 'check the network between here and the server',
          sqlstate: '08006',
          retryable: true,
        }),
      );
      return;
    }
    const ask = silentMs > silenceMsMax / 2;
    if (ask) this.#askedAt = this.#clock.now();
    this.#sendStatus(ask);
  }

  #sendStatus(replyNow: boolean): void {
    const sentAt = postgresMicros(this.#clock.wall());
    this.#stream?.send((writer) =>
      encodeReplication(writer, { tag: 'standbyStatus', ...this.#position, sentAt, replyNow }),
    );
  }
}

/** The value of publication_names: each name quoted. */
export function publicationNames(names: readonly string[]): string {
  return names.map(quoteName).join(',');
}

/** `1min`, `60s`, `500ms`, `0` as SHOW prints them. */
function durationMs(text: string): number {
  const found = /^(\d+)\s*(ms|s|min|h|d)?$/.exec(text.trim());
  if (found === null) return 0;
  return Number(found[1]) * UNIT_MS[(found[2] ?? 'ms') as keyof typeof UNIT_MS];
}

const UNIT_MS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function malformed(): Fault {
  return new Fault('frame-malformed', { message: 'invalid message in a replication stream', sqlstate: '08P01' });
}
