// We are the client: queries, COPY, replication and raw forwarding over one connection to a PostgreSQL server.
//
//   idle ──query/copy──▶ busy ──ReadyForQuery──▶ idle          (statements wait for one another in order)
//   idle ──startReplication──▶ streaming ──end──▶ idle
//   idle ──raw──▶ raw (every frame goes to the owner; there is no way back)
//   any ──close/lost──▶ closed

import { BoundedQueue } from '../base/bounded-queue.ts';
import { Fault } from '../base/fault.ts';
import type { Connection, TlsFacts } from '../base/net.ts';
import { BACKEND, type ColumnDescription, decodeBackend, type TransactionStatus } from '../wire/backend.ts';
import { ByteReader, ByteWriter, readInt32, readText, readUint16 } from '../wire/bytes.ts';
import type { FrameReader } from '../wire/frame.ts';
import { encodeFrontend, FRONTEND, writeCopyData, writeEmpty } from '../wire/frontend.ts';
import { encodeStartup } from '../wire/startup.ts';
import { type BackendKey, type ClientOptions, type LoggedIn, login, type SessionWorld } from './client-login.ts';
import type { HostPort } from './connection-string.ts';
import { connectionLost, ServerError } from './faults.ts';

export type { BackendKey, ClientOptions, SessionWorld } from './client-login.ts';

/** One statement's outcome. Values are texts as the server printed them. */
export interface QueryResult {
  readonly columns: readonly ColumnDescription[];
  readonly rows: readonly (readonly (string | null)[])[];
  /** Command tag, e.g. `SELECT 1`; '' for an empty query. */
  readonly tag: string;
}

/** What arrives without being asked for. */
export interface ClientEvents {
  notice?(fields: ServerError['fields']): void;
  notification?(processId: number, channel: string, payload: string): void;
  parameter?(name: string, value: string): void;
  /** Called once when the connection is gone and nobody was waiting for an answer. */
  closed?(error?: Error): void;
}

/** Owner of a session in raw mode. */
export interface RawHandler {
  /** One backend frame: its body is `buffer[start, end)`, its 5 header bytes lie right before. */
  frame(type: number, buffer: Buffer, start: number, end: number): void;
  /** All frames of one chunk have been delivered: the moment to flush. */
  flush?(): void;
  /** What `send` could not pass on at once is gone now. */
  drain?(): void;
  closed(error?: Error): void;
}

/** Owner of a CopyBoth stream. */
export interface StreamHandler {
  /** The body of one CopyData frame. */
  data(buffer: Buffer, start: number, end: number): void;
  /** All frames of one chunk have been delivered. */
  flush?(): void;
  drain?(): void;
  /** The stream is over: without an error when both sides ended it in order. The session is idle again if it is not closed. */
  ended(error?: Error): void;
}

/** Statements that may wait for the one that runs. */
const WAITING_MAX = 10_000;

/** A control query whose result exceeds this is a mistake; bulk data goes through COPY. */
const RESULT_BYTES_MAX = 256 * 1024 * 1024;

/** How long `close` waits for the peer before it cuts the connection. */
const CLOSE_MS = 2_000;

/** One exchange: gets every frame until it returns true (finished). */
interface Operation {
  start(): void;
  frame(type: number, buffer: Buffer, start: number, end: number): boolean;
  flush?(): void;
  drain?(): void;
  failed(error: Error): void;
}

export class ClientSession {
  /** ParameterStatus values, kept current. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly backendKey: BackendKey | null;
  readonly tls: TlsFacts | null;
  readonly host: HostPort;
  readonly protocolVersion: number;
  /** Replaced by the owner when it cares. */
  events: ClientEvents = {};

  readonly #world: SessionWorld;
  readonly #options: ClientOptions;
  readonly #connection: Connection;
  readonly #reader: FrameReader;
  readonly #writer = new ByteWriter();
  readonly #parameters: Map<string, string>;
  readonly #waiting = new BoundedQueue<Operation>({ countMax: WAITING_MAX });
  #transactionStatus: TransactionStatus;
  #operation: Operation | null = null;
  #raw: RawHandler | null = null;
  #paused = false;
  #closing = false;
  #lost: Error | null = null;
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => {};

  /** Connects and logs in. Rejects with one of the faults listed in `faults.ts`. */
  static async connect(world: SessionWorld, options: ClientOptions): Promise<ClientSession> {
    return new ClientSession(world, options, await login(world, options));
  }

  private constructor(world: SessionWorld, options: ClientOptions, loggedIn: LoggedIn) {
    this.#world = world;
    this.#options = options;
    this.#connection = loggedIn.connection;
    this.#reader = loggedIn.reader;
    this.#parameters = loggedIn.parameters;
    this.#transactionStatus = loggedIn.transactionStatus;
    this.parameters = loggedIn.parameters;
    this.backendKey = loggedIn.backendKey;
    this.tls = loggedIn.tls;
    this.host = loggedIn.host;
    this.protocolVersion = loggedIn.protocolVersion;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#connection.handler = {
      data: (chunk) => this.#received(chunk),
      drain: () => this.#drained(),
      close: (error) => this.#connectionClosed(error),
    };
    // The login loop stops being interested at ReadyForQuery; what came with it is dealt with here.
    world.clock.soon(() => this.#dispatch());
  }

  get transactionStatus(): TransactionStatus {
    return this.#transactionStatus;
  }

  get closed(): boolean {
    return this.#connection.closed;
  }

  /** Bytes that the peer has not taken yet. */
  get queuedBytes(): number {
    return this.#connection.queuedBytes;
  }

  /** Runs SQL of one or several statements; resolves with the last result. Rejects with ServerError. */
  async query(sql: string): Promise<QueryResult> {
    const results = await this.queryAll(sql);
    return results.at(-1) ?? { columns: [], rows: [], tag: '' };
  }

  /** Runs SQL of one or several statements; one result each. */
  queryAll(sql: string): Promise<QueryResult[]> {
    return this.#run((resolve, reject) => {
      const collector = new ResultCollector(this, resolve, reject);
      return operation(() => this.#send((writer) => encodeFrontend(writer, { tag: 'query', sql })), collector);
    });
  }

  /** Runs one statement with parameters `$1…`, as texts; null = NULL. */
  async queryParams(sql: string, parameters: readonly (string | null)[]): Promise<QueryResult> {
    const results = await this.#run<QueryResult[]>((resolve, reject) => {
      const collector = new ResultCollector(this, resolve, reject);
      return operation(() => this.#send((writer) => writeExtendedQuery(writer, sql, parameters)), collector);
    });
    return results.at(-1) ?? { columns: [], rows: [], tag: '' };
  }

  /**
   * Runs `COPY … TO STDOUT`. Each CopyData body goes to `onChunk` (a view; copy it to keep it); when that returns a promise,
   * reading stops until it resolves. Resolves with the command tag.
   */
  copyOut(sql: string, onChunk: (chunk: Buffer) => void | Promise<void>): Promise<string> {
    return this.#run((resolve, reject) => {
      let tag = '';
      let error: Error | null = null;
      const consume = (chunk: Buffer): void => {
        if (error !== null) return;
        try {
          const wait = onChunk(chunk);
          if (wait === undefined) return;
          this.pause();
          wait.then(
            () => this.resume(),
            (cause: Error) => {
              error ??= cause;
              this.resume();
            },
          );
        } catch (cause) {
          // The rest of the stream is read and dropped, so that the session stays usable.
          error = cause as Error;
        }
      };
      return {
        start: () => this.#send((writer) => encodeFrontend(writer, { tag: 'query', sql })),
        frame: (type, buffer, start, end) => {
          if (type === BACKEND.copyData) consume(buffer.subarray(start, end));
          else if (type === BACKEND.commandComplete) tag = readText(buffer, start, end - 1);
          else if (type === BACKEND.errorResponse) error ??= decodeError(buffer, start, end);
          else if (type === BACKEND.copyInResponse) {
            error ??= new Fault('protocol-violation', { message: 'the statement is COPY FROM, not COPY TO' });
            this.#send((writer) => encodeFrontend(writer, { tag: 'copyFail', reason: 'COPY TO expected' }));
          } else if (type === BACKEND.readyForQuery) {
            if (error === null) resolve(tag);
            else reject(error);
            return true;
          }
          return false;
        },
        failed: reject,
      };
    });
  }

  /** Runs `COPY … FROM STDIN` with the chunks of `source`, waiting whenever the server is behind. Resolves with the command tag. */
  copyIn(sql: string, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<string> {
    return this.#run((resolve, reject) => {
      let tag = '';
      let error: Error | null = null;
      let stopped = false;
      let drained: (() => void) | null = null;
      const wake = (): void => {
        drained?.();
        drained = null;
      };
      const pump = async (): Promise<void> => {
        try {
          for await (const chunk of source) {
            if (stopped) return;
            const flowing = this.#send((writer) => writeCopyData(writer, chunk));
            if (!flowing) {
              await new Promise<void>((next) => {
                drained = next;
              });
            }
          }
          if (!stopped) this.#send((writer) => writeEmpty(writer, FRONTEND.copyDone));
        } catch (cause) {
          error ??= cause as Error;
          if (!stopped) {
            this.#send((writer) =>
              encodeFrontend(writer, { tag: 'copyFail', reason: 'the source of the rows failed' }),
            );
          }
        }
      };
      return {
        start: () => this.#send((writer) => encodeFrontend(writer, { tag: 'query', sql })),
        frame: (type, buffer, start, end) => {
          if (type === BACKEND.copyInResponse) void pump();
          else if (type === BACKEND.commandComplete) tag = readText(buffer, start, end - 1);
          else if (type === BACKEND.errorResponse) {
            error ??= decodeError(buffer, start, end);
            stopped = true;
            wake();
          } else if (type === BACKEND.readyForQuery) {
            stopped = true;
            wake();
            if (error === null) resolve(tag);
            else reject(error);
            return true;
          }
          return false;
        },
        drain: wake,
        failed: (cause) => {
          stopped = true;
          wake();
          reject(cause);
        },
      };
    });
  }

  /** Sends a command that opens a CopyBoth stream (START_REPLICATION). Resolves when it is open; rejects with ServerError. */
  startStream(command: string, handler: StreamHandler): Promise<ClientStream> {
    return this.#run((resolve, reject) => {
      const stream = new ClientStream(this, (write) => this.#send(write));
      let open = false;
      let error: Error | undefined;
      return {
        start: () => this.#send((writer) => encodeFrontend(writer, { tag: 'query', sql: command })),
        frame: (type, buffer, start, end) => {
          switch (type) {
            case BACKEND.copyData:
              handler.data(buffer, start, end);
              return false;
            case BACKEND.copyBothResponse:
              open = true;
              resolve(stream);
              return false;
            case BACKEND.copyDone:
              stream.finish();
              return false;
            case BACKEND.errorResponse:
              error ??= decodeError(buffer, start, end);
              return false;
            case BACKEND.readyForQuery:
              stream.over = true;
              if (open) handler.ended(error);
              else reject(error ?? new Fault('protocol-violation', { message: 'the command opened no stream' }));
              return true;
            default:
              return false;
          }
        },
        flush: () => handler.flush?.(),
        drain: () => handler.drain?.(),
        failed: (cause) => {
          stream.over = true;
          if (open) handler.ended(error ?? cause);
          else reject(cause);
        },
      };
    });
  }

  /** From now on every backend frame goes to `handler` and nothing is interpreted, except that `parameters` stay current. */
  raw(handler: RawHandler): void {
    if (this.#operation !== null || this.#raw !== null) throw busy();
    this.#raw = handler;
  }

  /** Raw mode: sends whole frontend frames. False when the peer is behind (`drain` follows). */
  send(bytes: Uint8Array): boolean {
    return this.#connection.write(bytes);
  }

  /** Stops reading, so that the server waits. */
  pause(): void {
    this.#paused = true;
    this.#connection.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#connection.resume();
    this.#world.clock.soon(() => this.#dispatch());
  }

  /** Asks the server, over a connection of its own, to stop what this session runs. Resolves when the request was delivered. */
  async cancel(): Promise<void> {
    if (this.backendKey === null) return;
    await sendCancel(this.#world, this.#options, this.host, this.backendKey, this.tls !== null);
  }

  /** Says goodbye and closes. Statements that wait are rejected. */
  async close(): Promise<void> {
    if (!this.#closing && !this.closed) {
      this.#closing = true;
      this.#send((writer) => writeEmpty(writer, FRONTEND.terminate));
      this.#connection.end();
    }
    using _timer = this.#world.clock.after(CLOSE_MS, () => this.#connection.destroy());
    await this.#closed;
  }

  /** Cuts the connection. */
  destroy(error?: Error): void {
    this.#connection.destroy(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #run<T>(make: (resolve: (value: T) => void, reject: (error: Error) => void) => Operation): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== null || this.#closing || this.closed) {
        reject(this.#lost ?? connectionLost());
        return;
      }
      const next = make(resolve, reject);
      if (this.#raw !== null || (this.#operation !== null && !this.#waiting.push(next))) {
        reject(busy());
        return;
      }
      if (this.#operation === null) this.#begin(next);
    });
  }

  #begin(next: Operation): void {
    this.#operation = next;
    try {
      next.start();
    } catch (error) {
      // It could not be written down (a text with a zero byte): nothing was sent, and the session is as it was.
      this.#writer.take();
      this.#operation = null;
      next.failed(error as Error);
      const waiting = this.#waiting.shift();
      if (waiting !== undefined && this.#operation === null) this.#begin(waiting);
    }
  }

  #send(write: (writer: ByteWriter) => void): boolean {
    write(this.#writer);
    return this.#connection.write(this.#writer.take());
  }

  #received(chunk: Uint8Array): void {
    this.#reader.push(chunk);
    this.#dispatch();
  }

  #dispatch(): void {
    const reader = this.#reader;
    try {
      while (!this.#paused && !this.closed && reader.next()) {
        const { type, buffer, start, end } = reader;
        if (this.#raw === null) this.#handle(type, buffer, start, end);
        else {
          if (type === BACKEND.parameterStatus) this.#parameterChanged(buffer, start, end);
          else if (type === BACKEND.readyForQuery) this.#transactionStatus = statusOf(buffer, start);
          this.#raw.frame(type, buffer, start, end);
        }
      }
    } catch (error) {
      this.#connection.destroy(error as Error);
      return;
    }
    this.#raw?.flush?.();
    this.#operation?.flush?.();
  }

  #handle(type: number, buffer: Buffer, start: number, end: number): void {
    if (type === BACKEND.parameterStatus) return this.#parameterChanged(buffer, start, end);
    if (type === BACKEND.noticeResponse || type === BACKEND.notificationResponse) {
      return this.#announce(type, buffer, start, end);
    }
    if (type === BACKEND.readyForQuery) this.#transactionStatus = statusOf(buffer, start);
    if (type === BACKEND.errorResponse) this.#noteError(buffer, start, end);
    const current = this.#operation;
    if (current === null) return;
    if (!current.frame(type, buffer, start, end)) return;
    this.#operation = null;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#begin(next);
  }

  /** A fatal error is the server's last word (57P01, 57P05 …): it becomes the reason of the close that follows. */
  #noteError(buffer: Buffer, start: number, end: number): void {
    const error = decodeError(buffer, start, end);
    if (error.fields.severity !== 'ERROR') this.#lost = error;
  }

  #announce(type: number, buffer: Buffer, start: number, end: number): void {
    const message = decodeBackend(type, buffer, start, end);
    if (message.tag === 'noticeResponse') this.events.notice?.(message.fields);
    else if (message.tag === 'notificationResponse') {
      this.events.notification?.(message.processId, message.channel, message.payload);
    }
  }

  #parameterChanged(buffer: Buffer, start: number, end: number): void {
    const reader = new ByteReader(buffer, start, end);
    const name = reader.cString();
    const value = reader.cString();
    this.#parameters.set(name, value);
    this.events.parameter?.(name, value);
  }

  #drained(): void {
    this.#raw?.drain?.();
    this.#operation?.drain?.();
  }

  #connectionClosed(error?: Error): void {
    const reason = this.#lost ?? (error instanceof Fault ? error : connectionLost(error));
    this.#lost = reason;
    this.#resolveClosed();
    const current = this.#operation;
    this.#operation = null;
    current?.failed(reason);
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) next.failed(reason);
    this.#raw?.closed(this.#closing ? undefined : reason);
    if (current === null && this.#raw === null) this.events.closed?.(this.#closing ? undefined : reason);
  }
}

/** The client's end of a CopyBoth stream. */
export class ClientStream {
  /** True when the server has ended the exchange: nothing may be sent any more. */
  over = false;
  readonly #session: ClientSession;
  readonly #write: (write: (writer: ByteWriter) => void) => boolean;
  #done = false;

  constructor(session: ClientSession, write: (write: (writer: ByteWriter) => void) => boolean) {
    this.#session = session;
    this.#write = write;
  }

  /** Sends one or more whole CopyData frames that `write` appends. False when the peer is behind. */
  send(write: (writer: ByteWriter) => void): boolean {
    if (this.over || this.#done) return true;
    return this.#write(write);
  }

  pause(): void {
    this.#session.pause();
  }

  resume(): void {
    this.#session.resume();
  }

  /** Sends CopyDone (once); the server answers in its own time, then `ended` is called. */
  finish(): void {
    if (this.over || this.#done) return;
    this.#write((writer) => writeEmpty(writer, FRONTEND.copyDone));
    this.#done = true;
  }
}

/** Collects the results of a simple or an extended query. */
class ResultCollector {
  readonly #session: ClientSession;
  readonly #resolve: (results: QueryResult[]) => void;
  readonly #reject: (error: Error) => void;
  readonly #results: QueryResult[] = [];
  #columns: readonly ColumnDescription[] = [];
  #rows: (string | null)[][] = [];
  #bytes = 0;
  #error: Error | null = null;

  constructor(session: ClientSession, resolve: (results: QueryResult[]) => void, reject: (error: Error) => void) {
    this.#session = session;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  frame(type: number, buffer: Buffer, start: number, end: number): boolean {
    switch (type) {
      case BACKEND.dataRow:
        this.#row(buffer, start, end);
        return false;
      case BACKEND.rowDescription: {
        const message = decodeBackend(type, buffer, start, end);
        if (message.tag === 'rowDescription') this.#columns = message.columns;
        return false;
      }
      case BACKEND.commandComplete:
        this.#finish(readText(buffer, start, end - 1));
        return false;
      case BACKEND.emptyQueryResponse:
        this.#finish('');
        return false;
      case BACKEND.errorResponse:
        this.#error ??= decodeError(buffer, start, end);
        return false;
      case BACKEND.copyInResponse:
        this.#error ??= new Fault('protocol-violation', { message: 'COPY FROM STDIN needs copyIn()' });
        this.#session.send(COPY_REFUSED);
        return false;
      case BACKEND.readyForQuery:
        if (this.#error === null) this.#resolve(this.#results);
        else this.#reject(this.#error);
        return true;
      default:
        return false;
    }
  }

  failed(error: Error): void {
    this.#reject(error);
  }

  #row(buffer: Buffer, start: number, end: number): void {
    if (this.#error !== null) return;
    this.#bytes += end - start;
    if (this.#bytes > RESULT_BYTES_MAX) {
      this.#rows = [];
      this.#error = new Fault('result-too-large', {
        message: `a result exceeds ${RESULT_BYTES_MAX} bytes`,
        hint: 'read it with COPY',
        sqlstate: '54000',
      });
      return;
    }
    this.#rows.push(readRow(buffer, start, end));
  }

  #finish(tag: string): void {
    this.#results.push({ columns: this.#columns, rows: this.#rows, tag });
    this.#columns = [];
    this.#rows = [];
  }
}

const COPY_REFUSED = frameOf((writer) => encodeFrontend(writer, { tag: 'copyFail', reason: 'not expected here' }));

function operation(
  start: () => void,
  collector: { frame: Operation['frame']; failed: Operation['failed'] },
): Operation {
  return {
    start,
    frame: (type, buffer, begin, end) => collector.frame(type, buffer, begin, end),
    failed: (error) => collector.failed(error),
  };
}

/** Texts of a DataRow's body. */
export function readRow(buffer: Buffer, start: number, end: number): (string | null)[] {
  const count = readUint16(buffer, start);
  const row: (string | null)[] = [];
  let at = start + 2;
  for (let column = 0; column < count; column += 1) {
    if (at + 4 > end) throw connectionLost('a row runs past its message');
    const length = readInt32(buffer, at);
    at += 4;
    if (length < 0) {
      row.push(null);
      continue;
    }
    if (at + length > end) throw connectionLost('a row runs past its message');
    row.push(readText(buffer, at, at + length));
    at += length;
  }
  return row;
}

/** The error that an ErrorResponse's body describes. */
export function decodeError(buffer: Buffer, start: number, end: number): ServerError {
  const message = decodeBackend(BACKEND.errorResponse, buffer, start, end);
  if (message.tag !== 'errorResponse') throw connectionLost();
  return new ServerError(message.fields);
}

/** Asks a server to cancel. Never waits longer than the target's connect timeout. */
export async function sendCancel(
  world: SessionWorld,
  options: ClientOptions,
  host: HostPort,
  key: BackendKey,
  overTls: boolean,
): Promise<void> {
  const { clock, net } = world;
  let gone: () => void = () => {};
  const closed = new Promise<void>((resolve) => {
    gone = resolve;
  });
  let answered: (byte: number) => void = () => {};
  const answer = new Promise<number>((resolve) => {
    answered = resolve;
  });
  const timeoutMs = options.target.connectTimeoutMs;
  const connection = await net.connect({
    ...host,
    timeoutMs,
    handler: {
      data: (chunk) => answered(chunk[0] ?? 0),
      close: () => {
        answered(0);
        gone();
      },
    },
  });
  using _timer = clock.after(timeoutMs, () => connection.destroy());
  if (overTls) {
    const { ca, cert, key: clientKey } = { ...options.target.tls, ...options.tls };
    if (options.target.sslNegotiation === 'postgres') {
      connection.write(frameOf((writer) => encodeStartup(writer, { tag: 'sslRequest' })));
      if ((await answer) !== 0x53) {
        connection.destroy();
        throw new Fault('tls-refused', { message: 'the server refused TLS for a cancel request', sqlstate: '08001' });
      }
    }
    await connection.startTlsClient({
      serverName: host.host,
      verify:
        options.target.sslMode === 'verify-full' ? 'full' : options.target.sslMode === 'verify-ca' ? 'ca' : 'none',
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(clientKey === undefined ? {} : { key: clientKey }),
    });
  }
  connection.write(frameOf((writer) => encodeStartup(writer, { tag: 'cancelRequest', ...key })));
  // The server closes when it has acted: only then may the session be used for something that must not be cancelled.
  await closed;
}

function frameOf(write: (writer: ByteWriter) => void): Buffer {
  const writer = new ByteWriter();
  write(writer);
  return writer.take();
}

function writeExtendedQuery(writer: ByteWriter, sql: string, parameters: readonly (string | null)[]): void {
  encodeFrontend(writer, { tag: 'parse', statement: '', sql, parameterTypes: [] });
  encodeFrontend(writer, {
    tag: 'bind',
    portal: '',
    statement: '',
    parameterFormats: [],
    parameters: parameters.map((value) => (value === null ? null : Buffer.from(value))),
    resultFormats: [],
  });
  encodeFrontend(writer, { tag: 'describe', target: 'portal', name: '' });
  encodeFrontend(writer, { tag: 'execute', portal: '', rowsMax: 0 });
  encodeFrontend(writer, { tag: 'sync' });
}

function statusOf(buffer: Buffer, start: number): TransactionStatus {
  const byte = buffer[start];
  return byte === 0x54 ? 'T' : byte === 0x45 ? 'E' : 'I';
}

function busy(): Fault {
  return new Fault('session-busy', { message: 'the session is in another mode, or too many statements wait for it' });
}
