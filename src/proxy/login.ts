// A client's way in: TLS, startup packet, proof of identity. Ends when the proxy takes the connection over, or with one
// FATAL error that tells a stranger nothing: unknown users see the same exchange as wrong passwords, unknown databases are
// only told after authentication.

import { Fault } from '../base/fault.ts';
import type { Connection, TlsServerOptions } from '../base/net.ts';
import type { Log } from '../observe/log.ts';
import type { SessionWorld } from '../session/client-login.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { agreeOnVersion, proveByScram, receiveStartup, settingsAskedFor, type Startup } from '../session/greeting.ts';
import { Inbox } from '../session/inbox.ts';
import type { Pacer } from '../session/pacer.ts';
import {
  parseScramVerifier,
  SCRAM_SALT_BYTES,
  type ScramKeys,
  ScramRefused,
  type ScramVerifier,
  scramVerifierOf,
} from '../session/scram.ts';
import { writeAuthentication, writeError } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { AUTH_FRAME_BYTES_MAX, FRAME_BYTES_MAX, FrameReader } from '../wire/frame.ts';
import { FRONTEND } from '../wire/frontend.ts';
import { decodePassword } from '../wire/sasl.ts';
import type { AuthMethod } from './hba.ts';
import { violation } from './faults.ts';

/** What the proxy decided about a client that has only told who it wants to be. */
export interface LoginDecision {
  readonly method: AuthMethod;
  /** What is stored for the user: a password, `md5…` or `SCRAM-SHA-256$…`; null for an unknown user. */
  readonly secret: string | null;
  /** For the log, when `method` is reject. */
  readonly reason?: string;
}

export interface LoginAttempt {
  readonly user: string;
  readonly database: string;
  readonly remoteAddress: string;
  readonly isLoopback: boolean;
  readonly isTls: boolean;
}

export interface LoggedInClient extends LoginAttempt {
  readonly connection: Connection;
  /** Bytes that came after the last authentication message. */
  readonly rest: Buffer;
  readonly protocolVersion: number;
  readonly replication: string | null;
  /** Settings asked for in the startup packet. */
  readonly settings: Map<string, string>;
  /** What it proved to know, good for logging in to a server with the same secret. */
  readonly scramKeys: ScramKeys | null;
  /** The password itself, where the method reveals or the config holds it. */
  readonly password: string | null;
  /** Answers not yet sent: AuthenticationOk. */
  readonly writer: ByteWriter;
}

export interface LoginHost {
  readonly world: SessionWorld;
  readonly log: Log;
  readonly loginTimeoutMs: number;
  readonly mockSecret: Uint8Array;
  readonly handshakes: Pacer;
  tls(): TlsServerOptions | null;
  decide(attempt: LoginAttempt): Promise<LoginDecision>;
  /** Resolves when it has been done, or passed on to where the client is. Never rejects. */
  cancelRequested(processId: number, secretKey: Uint8Array): Promise<void>;
  /** Takes the connection over. A Fault thrown from here is told to the client. */
  admitted(client: LoggedInClient): Promise<void>;
}

/** After a last word, the client gets this long to read it. */
const LINGER_MS = 2_000;

/** Verifiers computed from plain passwords, so that each login costs two HMACs and not a PBKDF2. */
const verifierCache = new Map<string, ScramVerifier>();
const VERIFIERS_MAX = 10_000;

/** Handles a fresh connection to its end or until the proxy takes it over. Never rejects. */
export async function acceptClient(host: LoginHost, connection: Connection): Promise<void> {
  const login = new ClientLogin(host, connection);
  using _timer = host.world.clock.after(host.loginTimeoutMs, () => login.fail(loginTimeout(host.loginTimeoutMs)));
  try {
    await login.run();
  } catch (error) {
    login.fail(error);
  }
}

class ClientLogin {
  readonly #host: LoginHost;
  readonly #connection: Connection;
  readonly #reader = new FrameReader({ startup: true });
  readonly #inbox: Inbox;
  readonly #writer = new ByteWriter();
  /** Those of the beginning, also when a RELOAD changes the certificate meanwhile: channel binding is to what the handshake used. */
  readonly #tls: TlsServerOptions | null;
  #user = '';
  #over = false;

  constructor(host: LoginHost, connection: Connection) {
    this.#host = host;
    this.#connection = connection;
    this.#tls = host.tls();
    this.#inbox = new Inbox(this.#reader, (fault) => this.fail(fault));
    connection.handler = this.#inbox;
  }

  async run(): Promise<void> {
    const startup = await this.#startup();
    if (startup === null) return;
    const { parameters } = startup;
    const protocolVersion = agreeOnVersion(this.#writer, startup);
    const user = parameters.get('user') ?? '';
    if (user === '') throw refused('no PostgreSQL user name specified in startup packet');
    this.#user = user;
    const attempt: LoginAttempt = {
      user,
      database: parameters.get('database') || user,
      remoteAddress: this.#connection.remoteAddress,
      isLoopback: this.#connection.isLoopback,
      isTls: this.#connection.tls !== null,
    };
    const decision = await this.#host.decide(attempt);
    const proof = await this.#prove(attempt, decision);
    if (this.#over) return;
    writeAuthentication(this.#writer, { method: 'ok' });
    this.#reader.expectTyped(FRAME_BYTES_MAX);
    this.#connection.pause();
    const settings = new Map([...settingsAskedFor(startup)].map(([name, value]) => [name.toLowerCase(), value]));
    await this.#host.admitted({
      ...attempt,
      connection: this.#connection,
      rest: this.#reader.takeRest(),
      protocolVersion,
      replication: parameters.get('replication') ?? null,
      settings,
      ...proof,
      writer: this.#writer,
    });
    this.#over = true;
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#over = true;
    const { log, world } = this.#host;
    const fields = {
      remote: this.#connection.remoteAddress,
      user: this.#user,
      message: String((error as Error).message),
    };
    if (!(error instanceof Fault)) log.error('proxy.login-broken', fields);
    else if (error.code !== 'connection-lost') log.info('proxy.login-refused', { ...fields, code: error.code });
    const connection = this.#connection;
    if (connection.closed) return;
    writeError(this.#writer, errorFieldsOf(error, 'FATAL'));
    connection.write(this.#writer.take());
    const timer = world.clock.after(LINGER_MS, () => connection.destroy());
    // What still arrives is thrown away: closing with unread bytes would lose the last word.
    connection.handler = { data: () => {}, close: () => timer[Symbol.dispose]() };
    this.#inbox.close();
    connection.resume();
    connection.end();
  }

  async #startup(): Promise<Startup | null> {
    const startup = await receiveStartup(
      this.#connection,
      this.#inbox,
      this.#tls,
      ({ processId, secretKey }) => this.#host.cancelRequested(processId, secretKey),
      this.#host.handshakes,
    );
    if (startup === null) {
      this.#over = true;
      this.#connection.end();
    }
    return startup;
  }

  async #prove(
    attempt: LoginAttempt,
    decision: LoginDecision,
  ): Promise<{ scramKeys: ScramKeys | null; password: string | null }> {
    const { secret } = decision;
    const plain = secret !== null && !isHashed(secret) ? secret : null;
    switch (decision.method) {
      case 'trust':
        if (!attempt.isLoopback) throw this.#rejected('trust is only for peers on this machine');
        return { scramKeys: null, password: plain };
      case 'cert': {
        const { tls } = this.#connection;
        if (tls?.authorized !== true || tls.peerName !== attempt.user) {
          throw this.#rejected(`certificate of "${tls?.peerName ?? 'nobody'}" does not prove the user`);
        }
        return { scramKeys: null, password: plain };
      }
      case 'reject':
        throw refused(
          `no rule lets user "${attempt.user}" into database "${attempt.database}" from ${attempt.remoteAddress}${attempt.isTls ? '' : ' without TLS'}`,
        );
      case 'password':
        return { scramKeys: null, password: await this.#clear(attempt, secret) };
      case 'md5':
        // A SCRAM secret cannot answer md5; PgBouncer asks for SCRAM then, and so do we.
        if (secret === null || parseScramVerifier(secret) === null) {
          await this.#md5(attempt, secret);
          return { scramKeys: null, password: plain };
        }
        return { scramKeys: await this.#scram(secret), password: null };
      case 'scram-sha-256':
        return { scramKeys: await this.#scram(secret), password: plain };
    }
  }

  async #md5(attempt: LoginAttempt, secret: string | null): Promise<void> {
    const { crypto, random } = this.#host.world;
    const salt = random.bytes(4);
    writeAuthentication(this.#writer, { method: 'md5', salt });
    const answer = decodePassword(await this.#ask());
    const inner =
      secret === null
        ? ''
        : secret.startsWith('md5') && secret.length === 35
          ? secret.slice(3)
          : crypto.md5Hex(secret + attempt.user);
    const expected = `md5${crypto.md5Hex(Buffer.concat([Buffer.from(inner), salt]))}`;
    if (secret === null || !crypto.equal(Buffer.from(answer), Buffer.from(expected)))
      throw this.#rejected('wrong password');
  }

  async #clear(attempt: LoginAttempt, secret: string | null): Promise<string> {
    if (!attempt.isTls && !attempt.isLoopback) throw this.#rejected('method password needs TLS');
    const { crypto } = this.#host.world;
    writeAuthentication(this.#writer, { method: 'cleartext' });
    const answer = decodePassword(await this.#ask());
    const verifier = secret === null ? null : parseScramVerifier(secret);
    let right = false;
    if (verifier !== null) {
      const { salt, iterations } = verifier;
      const computed = await scramVerifierOf(crypto, { password: answer, salt, iterations });
      right = crypto.equal(computed.storedKey, verifier.storedKey);
    } else if (secret !== null && secret.startsWith('md5') && secret.length === 35) {
      right = crypto.equal(Buffer.from(`md5${crypto.md5Hex(answer + attempt.user)}`), Buffer.from(secret));
    } else right = secret !== null && crypto.equal(Buffer.from(answer), Buffer.from(secret));
    if (!right) throw this.#rejected('wrong password');
    return answer;
  }

  async #scram(secret: string | null): Promise<ScramKeys> {
    try {
      return await proveByScram({
        world: this.#host.world,
        connection: this.#connection,
        tls: this.#tls,
        user: this.#user,
        verifier: () => (secret === null ? null : this.#verifierOf(secret)),
        mockSecret: this.#host.mockSecret,
        writer: this.#writer,
        ask: () => this.#ask(),
      });
    } catch (error) {
      if (error instanceof ScramRefused) throw this.#rejected(error.message);
      throw error;
    }
  }

  /** Null for what cannot be used with SCRAM (an md5 hash): the exchange takes place all the same, and fails. */
  async #verifierOf(secret: string): Promise<ScramVerifier | null> {
    const stored = parseScramVerifier(secret);
    if (stored !== null) return stored;
    if (isHashed(secret)) return null;
    const { crypto, random } = this.#host.world;
    const key = `${this.#user}\0${secret}`;
    const cached = verifierCache.get(key);
    if (cached !== undefined) return cached;
    const verifier = await scramVerifierOf(crypto, { password: secret, salt: random.bytes(SCRAM_SALT_BYTES) });
    if (verifierCache.size >= VERIFIERS_MAX) verifierCache.clear();
    verifierCache.set(key, verifier);
    return verifier;
  }

  /** Sends what is written and waits for the client's 'p'. */
  async #ask(): Promise<Buffer> {
    this.#connection.write(this.#writer.take());
    this.#reader.expectTyped(AUTH_FRAME_BYTES_MAX);
    await this.#inbox.frame();
    const { type, buffer, start, end } = this.#reader;
    if (type !== FRONTEND.auth) throw violation(`expected password response, got message type ${type}`);
    return buffer.subarray(start, end);
  }

  /** The reason is for our log; the client learns only that it failed. */
  #rejected(reason: string): Fault {
    this.#host.log.info('proxy.password-refused', {
      remote: this.#connection.remoteAddress,
      user: this.#user,
      message: reason,
    });
    return new Fault('login-rejected', {
      message: `password authentication failed for user "${this.#user}"`,
      sqlstate: '28P01',
    });
  }
}

function isHashed(secret: string): boolean {
  return /^md5[0-9a-f]{32}$/.test(secret) || parseScramVerifier(secret) !== null;
}

function refused(message: string): Fault {
  return new Fault('login-rejected', { message, sqlstate: '28000' });
}

function loginTimeout(timeoutMs: number): Fault {
  return new Fault('login-timeout', {
    message: `canceling authentication due to timeout after ${timeoutMs} ms (client_login_timeout)`,
    sqlstate: '08P01',
  });
}
