// One client session's connection to the core. Frames go up and come back as they are; what we inject ourselves (settings,
// BEGIN, a Parse of a statement that was only known here) is answered to us and never reaches the client.
//
//   idle ──exec()──▶ own statement, answer kept here        ──▶ idle
//   idle ──send()…sync()/query()──▶ client's frames relayed ──Z──▶ idle
//
// Notifications, notices and parameter changes may come at any time and are passed on.

import type { ClientSession } from '../session/client-session.ts';
import { BACKEND, decodeBackend, type ErrorFields, type TransactionStatus } from '../wire/backend.ts';
import { asBuffer, ByteWriter } from '../wire/bytes.ts';
import { encodeFrontend, FRONTEND } from '../wire/frontend.ts';

/** Frames to the core are collected up to this size, so that a batch of messages is one write. */
const SEND_BUFFER_BYTES = 64 * 1024;

export interface UpstreamEvents {
  /** Whole frames for the client. */
  relay(bytes: Uint8Array): void;
  /** The Parse of this token is what the core has refused. */
  parseRefused(token: object): void;
  /** A CloseComplete for a Close of the client's. */
  closeConfirmed(): void;
  /** A setting the core reports, after it was relayed. */
  parameter(name: string, value: string): void;
  /** ReadyForQuery is about to be relayed; everything before it has been. */
  beforeReady(result: RelayResult): void;
  /** The core waits for COPY data: the client's frames go straight up until it is done. */
  copyIn(): void;
  /** A ParseComplete that belongs to `token` arrived. */
  parsed(token: object): void;
  /** The connection is gone. `error` is what the core said last, if anything. */
  closed(error: ErrorFields | null): void;
  /** Room again after `congested` was true. */
  drained(): void;
}

export interface ExecResult {
  /** Rows of the last statement, as text. */
  readonly rows: readonly (readonly (string | null)[])[];
  readonly error: ErrorFields | null;
  readonly status: TransactionStatus;
}

/** What happened while a batch of the client's frames ran upstream. */
export interface RelayResult {
  readonly status: TransactionStatus;
  readonly failed: boolean;
  /** Tag of the last CommandComplete, '' when there was none. */
  readonly tag: string;
}

/** What is needed of an authenticated connection. */
export type UpstreamLink = Pick<
  ClientSession,
  'parameters' | 'queuedBytes' | 'raw' | 'send' | 'pause' | 'resume' | 'cancel' | 'close' | 'destroy'
>;

interface Pending {
  readonly resolve: (result: RelayResult) => void;
  readonly reject: (error: unknown) => void;
  /** False keeps ReadyForQuery back. */
  readonly relayReady: boolean;
}

interface Exec {
  readonly resolve: (result: ExecResult) => void;
  readonly reject: (error: unknown) => void;
  rows: (string | null)[][];
  error: ErrorFields | null;
}

/** The connection broke while something ran on it. */
export class UpstreamLost extends Error {
  override readonly name = 'UpstreamLost';
  readonly said: ErrorFields | null;
  constructor(said: ErrorFields | null) {
    super(said?.message ?? 'connection to the core lost');
    this.said = said;
  }
}

export class Upstream {
  readonly #link: UpstreamLink;
  readonly #events: UpstreamEvents;
  readonly #out = new ByteWriter();
  #relaying: Pending | null = null;
  #exec: Exec | null = null;
  #draining: (() => void) | null = null;
  /** Answers still to come to messages sent since the last Sync. */
  #outstanding = 0;
  /** Per Parse sent: whose it is, and whether the client waits for its ParseComplete. */
  /** `at`: how many messages that are answered went before it. */
  #parses: { readonly token: object; readonly relay: boolean; readonly at: number }[] = [];
  /** Messages since the last ReadyForQuery that are answered, or would be. */
  #counted = 0;
  /** Per Bind sent: whether the client waits for its BindComplete. */
  #binds: boolean[] = [];
  #failed = false;
  #tag = '';
  #lastFatal: ErrorFields | null = null;
  #closed = false;
  /** Set when the last Z said so. */
  status: TransactionStatus = 'I';

  constructor(link: UpstreamLink, events: UpstreamEvents) {
    this.#link = link;
    this.#events = events;
    link.raw({
      frame: (type, buffer, start, end) => this.#frame(type, buffer, start, end),
      flush: () => this.#relayPieces(),
      drain: () => this.#events.drained(),
      closed: () => this.#gone(),
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  get busy(): boolean {
    return this.#relaying !== null || this.#exec !== null;
  }

  /** Bytes the core has not taken yet, beyond which the client should be read no further. */
  get queuedBytes(): number {
    return this.#link.queuedBytes;
  }

  get parameters(): ReadonlyMap<string, string> {
    return this.#link.parameters;
  }

  /** True when an error came since the last Sync: the core ignores all up to the next one. */
  get failed(): boolean {
    return this.#failed;
  }

  pause(): void {
    this.#link.pause();
  }

  resume(): void {
    this.#link.resume();
  }

  cancel(): Promise<void> {
    return this.#link.cancel();
  }

  /** Runs our own SQL between the client's batches. Rejects with UpstreamLost. */
  exec(sql: string): Promise<ExecResult> {
    return this.#own((writer) => encodeFrontend(writer, { tag: 'query', sql }));
  }

  /** Prepares a statement that was only known here, between the client's batches. */
  prepare(statement: string, sql: string, parameterTypes: readonly number[]): Promise<ExecResult> {
    return this.#own((writer) => {
      encodeFrontend(writer, { tag: 'parse', statement, sql, parameterTypes });
      encodeFrontend(writer, { tag: 'sync' });
    });
  }

  #own(write: (writer: ByteWriter) => void): Promise<ExecResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new UpstreamLost(this.#lastFatal));
      this.#exec = { resolve, reject, rows: [], error: null };
      write(this.#out);
      this.flush();
    });
  }

  /** Sends one whole frame of the client's (type byte included). */
  send(frame: Uint8Array): void {
    if (this.#closed) return;
    if (frame.length > SEND_BUFFER_BYTES) {
      this.flush();
      this.#link.send(frame);
      return;
    }
    this.#out.bytes(frame);
    if (this.#out.length > SEND_BUFFER_BYTES) this.flush();
  }

  /** Sends a Parse; `relay` false swallows its ParseComplete. */
  sendParse(frame: Uint8Array, token: object, relay: boolean): void {
    this.#parses.push({ token, relay, at: this.#counted });
    this.#count();
    this.send(frame);
  }

  sendBind(frame: Uint8Array, relay: boolean): void {
    this.#binds.push(relay);
    this.#count();
    this.send(frame);
  }

  /** Describe, Execute or Close. */
  sendCounted(frame: Uint8Array): void {
    this.#count();
    this.send(frame);
  }

  #count(): void {
    this.#counted += 1;
    this.#outstanding += 1;
  }

  flush(): void {
    if (this.#out.length > 0 && !this.#closed) this.#link.send(this.#out.take());
  }

  /** Sends a Flush, so that the core answers what it got so far. */
  sendFlush(): void {
    this.send(FLUSH_FRAME);
    this.flush();
  }

  /** Resolves when all messages sent since the last Sync are answered, or one of them failed. */
  async drain(): Promise<void> {
    if (this.#outstanding === 0 || this.#failed || this.#closed) return;
    this.sendFlush();
    await new Promise<void>((resolve) => {
      this.#draining = resolve;
    });
  }

  /** Sends `frame` (a Query, a Sync, a FunctionCall) and resolves at the ReadyForQuery it causes. Rejects with UpstreamLost. */
  untilReady(frame: Uint8Array, relayReady = true): Promise<RelayResult> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new UpstreamLost(this.#lastFatal));
      this.#relaying = { resolve, reject, relayReady };
      this.send(frame);
      this.flush();
    });
  }

  /** Says good-bye. */
  end(): void {
    if (!this.#closed) this.#link.close().catch(() => this.#link.destroy());
  }

  destroy(): void {
    this.#link.destroy();
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    const lost = new UpstreamLost(this.#lastFatal);
    const relaying = this.#relaying;
    const exec = this.#exec;
    const draining = this.#draining;
    this.#relaying = null;
    this.#exec = null;
    this.#draining = null;
    this.#events.closed(this.#lastFatal);
    draining?.();
    relaying?.reject(lost);
    exec?.reject(lost);
  }

  /** Neighbouring frames for the client, not passed on yet: `#piece[#pieceStart, #pieceEnd)`. */
  #piece: Buffer | null = null;
  #pieceStart = 0;
  #pieceEnd = 0;

  #frame(type: number, buffer: Buffer, start: number, end: number): void {
    if (!this.#note(type, buffer, start, end)) {
      this.#resolveReady();
      return;
    }
    if (this.#piece !== buffer || this.#pieceEnd !== start - 5) {
      this.#relayPieces();
      this.#piece = buffer;
      this.#pieceStart = start - 5;
    }
    this.#pieceEnd = end;
    this.#resolveReady();
  }

  #relayPieces(): void {
    const piece = this.#piece;
    if (piece === null) return;
    this.#piece = null;
    this.#events.relay(piece.subarray(this.#pieceStart, this.#pieceEnd));
  }

  /** The session goes on at once, so the client must have its bytes first. */
  #resolveReady(): void {
    const ready = this.#ready;
    if (ready === null) return;
    this.#ready = null;
    this.#relayPieces();
    ready();
  }

  #ready: (() => void) | null = null;

  /** Notes what a frame means; true when the client gets it. */
  #note(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case BACKEND.dataRow:
      case BACKEND.copyData:
        if (this.#exec !== null) {
          this.#exec.rows.push(textRow(type, buffer, start, end));
          return false;
        }
        return true;
      case BACKEND.parameterStatus: {
        // What our own settings replay causes is nothing new.
        if (this.#exec !== null) return false;
        const message = decodeBackend(type, buffer, start, end);
        if (message.tag === 'parameterStatus') this.#events.parameter(message.name, message.value);
        return true;
      }
      case BACKEND.notificationResponse:
        return true;
      case BACKEND.noticeResponse:
        return this.#exec === null;
      case BACKEND.errorResponse:
        return this.#error(type, buffer, start, end);
      case BACKEND.readyForQuery:
        return this.#readyForQuery(buffer[start] as number);
      default:
        return this.#exec === null && this.#answer(type, buffer, start, end);
    }
  }

  #answer(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case BACKEND.parseComplete: {
        const parse = this.#parses.shift();
        if (parse !== undefined) this.#events.parsed(parse.token);
        this.#answered();
        return parse?.relay ?? true;
      }
      case BACKEND.bindComplete: {
        const relay = this.#binds.shift() ?? true;
        this.#answered();
        return relay;
      }
      case BACKEND.commandComplete:
        // Only COMMIT and ROLLBACK matter; long tags do not exist.
        this.#tag = end - start < 64 ? buffer.toString('latin1', start, end - 1) : '';
        this.#answered();
        return true;
      case BACKEND.closeComplete:
        this.#events.closeConfirmed();
        this.#answered();
        return true;
      case BACKEND.rowDescription:
      case BACKEND.noData:
      case BACKEND.emptyQueryResponse:
      case BACKEND.portalSuspended:
        this.#answered();
        return true;
      case BACKEND.copyInResponse:
      case BACKEND.copyBothResponse:
        this.#events.copyIn();
        return true;
      default:
        return true;
    }
  }

  #answered(): void {
    if (this.#outstanding > 0) this.#outstanding -= 1;
    if (this.#outstanding === 0 && this.#draining !== null) this.#drained();
  }

  #drained(): void {
    const resolve = this.#draining;
    this.#draining = null;
    resolve?.();
  }

  #error(type: number, buffer: Buffer, start: number, end: number): boolean {
    const message = decodeBackend(type, buffer, start, end);
    const fields = message.tag === 'errorResponse' ? message.fields : null;
    const fatal = fields !== null && (fields.severity === 'FATAL' || fields.severity === 'PANIC');
    if (fatal) this.#lastFatal = fields;
    if (this.#exec !== null) {
      this.#exec.error = fields;
      return false;
    }
    this.#failed = true;
    const [parse] = this.#parses;
    if (parse !== undefined && parse.at === this.#counted - this.#outstanding) this.#events.parseRefused(parse.token);
    if (this.#draining !== null) this.#drained();
    // The client's own session does not end with the core's: it is told when the connection closes, which is next.
    if (fatal) return false;
    return this.#relaying !== null || this.#outstanding > 0;
  }

  #readyForQuery(byte: number): boolean {
    this.status = String.fromCharCode(byte) as TransactionStatus;
    const exec = this.#exec;
    if (exec !== null) {
      this.#exec = null;
      exec.resolve({ rows: exec.rows, error: exec.error, status: this.status });
      return false;
    }
    const relaying = this.#relaying;
    const result: RelayResult = { status: this.status, failed: this.#failed, tag: this.#tag };
    this.#relaying = null;
    this.#outstanding = 0;
    this.#counted = 0;
    this.#parses = [];
    this.#binds = [];
    this.#failed = false;
    this.#tag = '';
    if (relaying === null) return true;
    this.#relayPieces();
    if (relaying.relayReady) this.#events.beforeReady(result);
    this.#ready = () => relaying.resolve(result);
    return relaying.relayReady;
  }
}

const FLUSH_FRAME = Buffer.from([FRONTEND.flush, 0, 0, 0, 4]);

function textRow(type: number, buffer: Buffer, start: number, end: number): (string | null)[] {
  const message = decodeBackend(type, buffer, start, end);
  if (message.tag !== 'dataRow') return [];
  return message.values.map((value) => (value === null ? null : asBuffer(value).toString('utf8')));
}
