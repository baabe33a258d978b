// We are the server: one client's conversation over one connection.
//
//   startup ──SSLRequest──▶ TLS handshake ──▶ startup        (or direct TLS at the first byte)
//   startup ──StartupMessage──▶ authentication ──▶ opening ──▶ ready
//   startup ──CancelRequest──▶ closed                        (after telling the session it names)
//   ready: every frontend frame goes to the owner, except Terminate
//   any ──fault, timeout, Terminate, lost──▶ closed
//
// Back-pressure: when the client does not read, its own frames are not read either, so that the owner is not asked for
// more answers. An owner that produces many bytes for one frame has to look at `flush()` himself.

import type { Clock } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import { Fault } from '../base/fault.ts';
import type { Connection, TlsFacts, TlsServerOptions } from '../base/net.ts';
import type { Random } from '../base/random.ts';
import type { Log } from '../observe/log.ts';
import {
  encodeBackend,
  type ErrorFields,
  writeAuthentication,
  writeError,
  writeParameterStatus,
  writeReadyForQuery,
} from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { AUTH_FRAME_BYTES_MAX, FRAME_BYTES_MAX, FrameReader } from '../wire/frame.ts';
import { FRONTEND } from '../wire/frontend.ts';
import type { Admit, LoginRequest } from './admission.ts';
import type { CancelKey, CancelRegistry } from './cancel.ts';
import { errorFieldsOf } from './faults.ts';
import { agreeOnVersion, proveByScram, receiveStartup, settingsAskedFor, type Startup } from './greeting.ts';
import { Inbox } from './inbox.ts';
import { ScramRefused, type ScramVerifier } from './scram.ts';

/** What gives a session its meaning: the edge's SQL server, the relay's walsender. Nothing here may throw on purpose. */
export interface SessionOwner {
  /** One frontend frame; its body is `buffer[start, end)`, its 5 header bytes lie right before. Answers go to `session.writer`. */
  frame(type: number, buffer: Buffer, start: number, end: number): void;
  /** All frames of one chunk have been delivered; `session.flush()` follows by itself. */
  flush?(): void;
  /** The client has taken everything that was queued. */
  drain?(): void;
  /** Somebody who knows the session's key asks to stop what runs. */
  cancel?(): void;
  /** The session is over; called exactly once. Without an error when the client said goodbye. */
  closed(error?: Error): void;
}

export interface Opened {
  readonly owner: SessionOwner;
  /** Reported as ParameterStatus before the first ReadyForQuery. */
  readonly parameters: Iterable<readonly [name: string, value: string]>;
}

export interface ServerWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
}

/** Shared by all sessions of a listener. */
export interface ServerOptions {
  readonly admit: Admit;
  /** Called after authentication. A Fault thrown from here is told to the client as FATAL. */
  readonly open: (session: ServerSession) => Opened | Promise<Opened>;
  readonly cancels: CancelRegistry;
  /** TLS is offered when given. */
  readonly tls?: TlsServerOptions;
  /** From the connection to the end of the login. Default 30 s. */
  readonly loginTimeoutMs?: number;
  /** Bound for one frame after the login. Default: the protocol's own. */
  readonly frameBytesMax?: number;
  /** The peer is cut off when it leaves more than this unread. Default 256 MiB. */
  readonly queueBytesMax?: number;
  /** Random bytes, the same for the life of the process at least: fakes salts for unknown users. */
  readonly mockSecret: Uint8Array;
}

const LOGIN_TIMEOUT_MS = 30_000;
const QUEUE_BYTES_MAX = 256 * 1024 * 1024;

/** Above this the client's frames wait until it has read. */
const QUEUE_BYTES_HIGH = 1024 * 1024;

/** What is read of a client whose owner is busy; then its connection waits, too. */
const PAUSED_BYTES_MAX = 64 * 1024;

/** A chunk with many small requests is answered in pieces of this size, not in one of any size. */
const FLUSH_BYTES = 64 * 1024;

/** After a last word, the client gets this long to read it. */
const LINGER_MS = 2_000;

export class ServerSession {
  /** Answers are appended here and leave with `flush`. */
  readonly writer = new ByteWriter();
  readonly remoteAddress: string;

  // Known after the login.
  user = '';
  database = '';
  replication: LoginRequest['replication'] = 'off';
  protocolVersion = 0;
  /** Settings the client asks for in its startup packet: `options` taken apart, then the parameters that are settings. */
  settings: ReadonlyMap<string, string> = new Map();
  key: CancelKey | null = null;

  readonly #world: ServerWorld;
  readonly #options: ServerOptions;
  readonly #connection: Connection;
  readonly #reader = new FrameReader({ startup: true });
  readonly #inbox: Inbox;
  #owner: SessionOwner | null = null;
  #closing = false;
  #ownerPaused = false;
  /** The client closed while its owner was busy. */
  #hasLeft = false;
  #congested = false;
  #dispatching = false;
  /** Answers that leave at the end of this turn of the event loop. */
  #due: Buffer | null = null;

  /** Takes over a fresh connection: to be called from `ListenOptions.accept`. */
  static accept(world: ServerWorld, connection: Connection, options: ServerOptions): ServerSession {
    const session = new ServerSession(world, connection, options);
    void session.#login();
    return session;
  }

  private constructor(world: ServerWorld, connection: Connection, options: ServerOptions) {
    this.#world = world;
    this.#connection = connection;
    this.#options = options;
    this.remoteAddress = connection.remoteAddress;
    this.#inbox = new Inbox(this.#reader, (fault) => connection.destroy(fault));
    connection.handler = this.#inbox;
  }

  get tls(): TlsFacts | null {
    return this.#connection.tls;
  }

  get isLoopback(): boolean {
    return this.#connection.isLoopback;
  }

  get closed(): boolean {
    return this.#closing || this.#connection.closed;
  }

  /** Bytes that the client has not taken yet. */
  get queuedBytes(): number {
    return this.#connection.queuedBytes;
  }

  /** Sends what is in `writer`. False when the client is behind: stop producing until `drain`. */
  flush(): boolean {
    if (this.#due !== null) this.sendDue();
    if (this.writer.length > 0) this.send(this.writer.take());
    return this.#connection.queuedBytes === 0;
  }

  /** Sends whole backend frames as they are, after what is in `writer`. */
  send(bytes: Uint8Array): boolean {
    if (this.#closing) return true;
    if (this.#due !== null) this.sendDue();
    if (this.writer.length > 0) this.#connection.write(this.writer.take());
    const flowing = this.#connection.write(bytes);
    if (!flowing) this.#checkQueue();
    return flowing;
  }

  /** Frames wait until `resume`: for an owner who is busy with one. May be called from `frame`; the next one is not delivered. */
  pause(): void {
    // The connection is read on, up to a bound: most clients send nothing while they wait, and each switch of a socket costs
    // a system call (`bench` forwarding).
    this.#ownerPaused = true;
  }

  resume(): void {
    if (!this.#ownerPaused) return;
    this.#ownerPaused = false;
    if (this.#hasLeft) return this.#finish();
    if (this.#congested || this.#closing) return;
    this.#connection.resume();
    // The owner is usually in the middle of something when it resumes.
    if (!this.#dispatching && this.#reader.bufferedBytes > 0) this.#world.clock.soon(() => this.#dispatch());
  }

  /** Tells the client why (FATAL), then closes. */
  fail(error: unknown): void {
    if (this.#closing) return;
    this.#sayGoodbye(errorFieldsOf(error, 'FATAL'));
    this.#finish(error instanceof Error ? error : undefined);
  }

  /** Closes a healthy session as Postgres does at shutdown: 57P01, so that drivers reconnect. */
  shutdown(): void {
    if (this.#closing) return;
    this.#sayGoodbye({
      severity: 'FATAL',
      sqlstate: '57P01',
      message: 'terminating connection due to administrator command',
    });
    this.#finish();
  }

  /** Sends what is queued and closes without a word. */
  end(): void {
    if (this.#closing) return;
    this.flush();
    this.#closeConnection();
    this.#finish();
  }

  /** Cuts the connection. */
  destroy(error?: Error): void {
    this.#connection.destroy(error);
  }

  async #login(): Promise<void> {
    const timeoutMs = this.#options.loginTimeoutMs ?? LOGIN_TIMEOUT_MS;
    using _timer = this.#world.clock.after(timeoutMs, () => this.fail(loginTimedOut(timeoutMs)));
    try {
      const startup = await this.#startup();
      if (startup === null || this.closed) return;
      await this.#authenticate(startup);
      await this.#opened();
    } catch (error) {
      this.#loginFailed(error);
    }
  }

  #loginFailed(error: unknown): void {
    const { log } = this.#world;
    const expected = error instanceof Fault;
    const fields = { remote: this.remoteAddress, user: this.user, message: String((error as Error).message) };
    if (!expected) log.error('session.login-broken', fields);
    else if (error.code !== 'connection-lost') log.info('session.login-refused', { ...fields, code: error.code });
    this.fail(error);
  }

  async #startup(): Promise<Startup | null> {
    const startup = await receiveStartup(this.#connection, this.#inbox, this.#options.tls ?? null, (key) =>
      this.#options.cancels.request(key),
    );
    if (startup === null) this.#closeConnection();
    return startup;
  }

  async #authenticate(startup: Startup): Promise<void> {
    this.protocolVersion = agreeOnVersion(this.writer, startup);
    this.#readParameters(startup);
    const { user, database, replication, remoteAddress } = this;
    const { tls, isLoopback } = this.#connection;
    const admission = await this.#options.admit({ user, database, replication, remoteAddress, isLoopback, tls });
    switch (admission.method) {
      case 'refuse':
        throw new LoginRefused(admission.error);
      case 'trust':
        if (!isLoopback) throw new Error('assertion failed: trust for a peer on another machine');
        break;
      case 'certificate':
        if (tls?.authorized !== true)
          throw new Error('assertion failed: certificate login without a trusted certificate');
        break;
      case 'scram':
        await this.#scram(admission.verifier);
        break;
    }
    writeAuthentication(this.writer, { method: 'ok' });
  }

  #readParameters(startup: Startup): void {
    const { parameters } = startup;
    const user = parameters.get('user') ?? '';
    if (user === '') {
      throw new Fault('login-refused', {
        message: 'no PostgreSQL user name specified in startup packet',
        sqlstate: '28000',
      });
    }
    this.user = user;
    this.database = parameters.get('database') || user;
    this.replication = replicationOf(parameters.get('replication'));
    this.settings = settingsAskedFor(startup);
  }

  async #scram(known: ScramVerifier | null): Promise<void> {
    try {
      await proveByScram({
        world: this.#world,
        connection: this.#connection,
        tls: this.#options.tls ?? null,
        user: this.user,
        verifier: () => known,
        mockSecret: this.#options.mockSecret,
        writer: this.writer,
        ask: () => this.#ask(),
      });
    } catch (error) {
      if (!(error instanceof ScramRefused)) throw error;
      // The reason is for our log; the client learns only that it failed.
      this.#world.log.info('session.password-refused', {
        remote: this.remoteAddress,
        user: this.user,
        message: error.message,
      });
      throw new LoginRefused({
        severity: 'FATAL',
        sqlstate: '28P01',
        message: `password authentication failed for user "${this.user}"`,
      });
    }
  }

  async #ask(): Promise<Buffer> {
    this.flush();
    this.#reader.expectTyped(AUTH_FRAME_BYTES_MAX);
    await this.#inbox.frame();
    const { type, buffer, start, end } = this.#reader;
    if (type !== FRONTEND.auth) {
      throw new Fault('protocol-violation', {
        message: `expected SASL response, got message type ${type}`,
        sqlstate: '08P01',
      });
    }
    return buffer.subarray(start, end);
  }

  async #opened(): Promise<void> {
    this.#reader.expectTyped(this.#options.frameBytesMax ?? FRAME_BYTES_MAX);
    // From here on the client has nothing to say until ReadyForQuery; if it does, it waits.
    this.#connection.pause();
    const { owner, parameters } = await this.#options.open(this);
    if (this.closed) {
      owner.closed(new Fault('connection-lost', { message: 'the client left during its login', retryable: true }));
      return;
    }
    this.#owner = owner;
    this.key = this.#options.cancels.register(this.protocolVersion, () => this.#owner?.cancel?.());
    for (const [name, value] of parameters) writeParameterStatus(this.writer, name, value);
    encodeBackend(this.writer, { tag: 'backendKeyData', ...this.key });
    writeReadyForQuery(this.writer, 'I');
    this.flush();
    this.#connection.handler = {
      data: (chunk) => {
        this.#reader.push(chunk);
        if (!this.#ownerPaused) this.#dispatch();
        else if (this.#reader.bufferedBytes > PAUSED_BYTES_MAX) this.#connection.pause();
      },
      drain: () => this.#drained(),
      close: (error) => {
        // As in Postgres, a client that says what it wants and leaves gets it done.
        if (error === undefined && this.#ownerPaused) {
          this.#hasLeft = true;
          // There is room from now on, since what is written goes nowhere: who waits for it would wait for ever.
          this.#owner?.drain?.();
        } else this.#finish(error);
      },
    };
    this.#connection.resume();
    this.#dispatch();
  }

  #dispatch(): void {
    const owner = this.#owner;
    if (owner === null || this.#dispatching) return;
    const reader = this.#reader;
    this.#dispatching = true;
    try {
      while (!this.#ownerPaused && !this.#congested && !this.closed && reader.next()) {
        if (reader.type === FRONTEND.terminate) {
          this.end();
          break;
        }
        owner.frame(reader.type, reader.buffer, reader.start, reader.end);
        if (this.writer.length > FLUSH_BYTES) this.flush();
      }
      if (!this.closed) owner.flush?.();
    } catch (error) {
      if (!(error instanceof Fault)) {
        this.#world.log.error('session.owner-broken', { user: this.user, message: String((error as Error).stack) });
      }
      this.fail(error);
    } finally {
      this.#dispatching = false;
    }
    if (this.#due === null && this.writer.length > 0) this.#sendSoon();
    else this.flush();
  }

  /**
   * What many clients asked for in one turn of the event loop leaves together at its end: each packet that finds its
   * receiver asleep costs a wake-up, on a loaded server the dearest part of a small answer (`bench` edge-read).
   */
  #sendSoon(): void {
    // Taken now, so that the next session writes into the same slab.
    this.#due = this.writer.take();
    sessionsDue.push(this);
    if (sessionsDue.length === 1) this.#world.clock.soon(sendAllDue);
    else if (sessionsDue.length === SESSIONS_DUE_MAX) sendAllDue();
  }

  /** Sends what waits for the end of the turn. */
  sendDue(): void {
    const due = this.#due;
    this.#due = null;
    if (due !== null && !this.#closing && !this.#connection.write(due)) this.#checkQueue();
  }

  #checkQueue(): void {
    const { queuedBytes } = this.#connection;
    if (queuedBytes > (this.#options.queueBytesMax ?? QUEUE_BYTES_MAX)) {
      const message = `the client leaves ${queuedBytes} bytes unread`;
      this.#world.log.warn('session.client-stalled', { remote: this.remoteAddress, user: this.user, message });
      this.#connection.destroy(new Fault('client-stalled', { message, sqlstate: '08006' }));
    } else if (queuedBytes > QUEUE_BYTES_HIGH && !this.#congested) {
      this.#congested = true;
      this.#connection.pause();
    }
  }

  #drained(): void {
    this.#owner?.drain?.();
    if (!this.#congested) return;
    this.#congested = false;
    if (this.#ownerPaused) return;
    this.#connection.resume();
    this.#dispatch();
  }

  #sayGoodbye(fields: ErrorFields): void {
    writeError(this.writer, fields);
    this.flush();
    this.#closeConnection();
  }

  #closeConnection(): void {
    this.#closing = true;
    const connection = this.#connection;
    // What still arrives is thrown away: closing with unread bytes would reset the connection and lose the last word.
    connection.handler = { data: () => {}, close: () => timer[Symbol.dispose]() };
    // A login that waits for the client's next message ends here.
    this.#inbox.close();
    connection.resume();
    connection.end();
    const timer = this.#world.clock.after(LINGER_MS, () => connection.destroy());
  }

  #finish(error?: Error): void {
    this.#closing = true;
    if (this.key !== null) this.#options.cancels.release(this.key.processId);
    const owner = this.#owner;
    this.#owner = null;
    owner?.closed(error);
  }
}

/** A refusal whose words are prescribed. */
class LoginRefused extends Fault {
  constructor(fields: ErrorFields) {
    super('login-refused', {
      message: fields.message,
      sqlstate: fields.sqlstate,
      ...(fields.hint === undefined ? {} : { hint: fields.hint }),
      ...(fields.detail === undefined ? {} : { detail: fields.detail }),
    });
  }
}

function replicationOf(value: string | undefined): LoginRequest['replication'] {
  if (value === undefined) return 'off';
  const text = value.toLowerCase();
  if (text === 'database') return 'database';
  if (['true', 'on', 'yes', '1', 't', 'y'].includes(text)) return 'physical';
  if (['false', 'off', 'no', '0', 'f', 'n'].includes(text)) return 'off';
  throw new Fault('login-refused', {
    message: 'invalid value for parameter "replication"',
    hint: 'Valid values are: "false", 0, "true", 1, "database".',
    sqlstate: '22023',
  });
}

function loginTimedOut(timeoutMs: number): Fault {
  return new Fault('login-timeout', {
    message: `canceling authentication due to timeout after ${timeoutMs} ms`,
    sqlstate: '08006',
  });
}

/** More answers than this do not wait for each other: their clients have something to do meanwhile. */
const SESSIONS_DUE_MAX = 8;

let sessionsDue: ServerSession[] = [];

function sendAllDue(): void {
  const sessions = sessionsDue;
  sessionsDue = [];
  for (const session of sessions) session.sendDue();
}
