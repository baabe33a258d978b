// Opens a connection as a client: TCP or unix socket, TLS, startup packet, authentication, until the first ReadyForQuery.

import type { Clock } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import { Fault, isRetryable } from '../base/fault.ts';
import type { Connection, Net, TlsFacts } from '../base/net.ts';
import type { Random } from '../base/random.ts';
import { type Authentication, type BackendMessage, decodeBackend, type TransactionStatus } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { AUTH_FRAME_BYTES_MAX, FRAME_BYTES_MAX, FrameReader } from '../wire/frame.ts';
import { SCRAM_SHA_256, SCRAM_SHA_256_PLUS, writePassword, writeSaslInitial, writeSaslResponse } from '../wire/sasl.ts';
import { encodeStartup, PROTOCOL_3_0, protocolMajor, type StartupPacket } from '../wire/startup.ts';
import { type ConnectionTarget, describeTarget, type HostPort, type TlsTexts } from './connection-string.ts';
import { ServerError } from './faults.ts';
import { Inbox } from './inbox.ts';
import { type ClientBinding, SCRAM_NONCE_BYTES, ScramClient, type ScramKeys } from './scram.ts';

/** The world of a session. */
export interface SessionWorld {
  readonly clock: Clock;
  readonly net: Net;
  readonly random: Random;
  readonly crypto: Crypto;
}

export interface ClientOptions {
  readonly target: ConnectionTarget;
  /** Added to the target's own. */
  readonly tls?: TlsTexts;
  /** `database` for logical replication, `true` for physical. */
  readonly replication?: 'database' | 'true';
  /** More startup parameters; these win over the target's. Also client_encoding, for whoever only passes bytes on. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Logs in with these instead of the target's password, when the server asks for SCRAM. */
  readonly scramKeys?: ScramKeys;
  /** Send the password in the clear when asked. Default: only over TLS with a verified certificate. */
  readonly allowCleartext?: boolean;
  /** Oldest major version to accept; 0 = any. Default 15. */
  readonly serverMajorMin?: number;
  /** Protocol version to ask for; default 3.0, which everything speaks. */
  readonly protocolVersion?: number;
}

export interface BackendKey {
  readonly processId: number;
  readonly secretKey: Uint8Array;
}

/** A connection after its login. */
export interface LoggedIn {
  readonly connection: Connection;
  /** May hold bytes that came after the first ReadyForQuery. */
  readonly reader: FrameReader;
  readonly host: HostPort;
  readonly tls: TlsFacts | null;
  /** ParameterStatus values so far. */
  readonly parameters: Map<string, string>;
  readonly backendKey: BackendKey | null;
  readonly protocolVersion: number;
  readonly transactionStatus: TransactionStatus;
}

const SERVER_MAJOR_MIN = 15;

/** Tries the target's hosts in order. Rejects with the fault of the last one that failed. */
export async function login(world: SessionWorld, options: ClientOptions): Promise<LoggedIn> {
  const { hosts, targetSessionAttrs } = options.target;
  const wanted = targetSessionAttrs === 'prefer-standby' ? (['standby', 'any'] as const) : [targetSessionAttrs];
  let failure: unknown = null;
  for (const attrs of wanted) {
    for (const host of hosts) {
      try {
        return await loginHost(world, host, { ...options, target: { ...options.target, targetSessionAttrs: attrs } });
      } catch (error) {
        failure = error;
        // As libpq: a wrong password on one host is not tried on the next.
        if (error instanceof ServerError && !isRetryable(error)) throw error;
      }
    }
  }
  throw failure;
}

async function loginHost(world: SessionWorld, host: HostPort, options: ClientOptions): Promise<LoggedIn> {
  const { sslMode } = options.target;
  if (sslMode !== 'allow' && sslMode !== 'prefer') return await loginOnce(world, host, options, sslMode !== 'disable');
  const tlsFirst = sslMode === 'prefer';
  try {
    return await loginOnce(world, host, options, tlsFirst);
  } catch (error) {
    if (mayDoOtherwise(error, tlsFirst)) return await loginOnce(world, host, options, !tlsFirst);
    throw error;
  }
}

/** As libpq: pg_hba.conf may want it the other way, and `prefer` does without a TLS that does not work. */
function mayDoOtherwise(error: unknown, tlsWasTried: boolean): boolean {
  return error instanceof Fault && (error.code === 'login-refused' || (tlsWasTried && error.code === 'tls-failed'));
}

async function loginOnce(
  world: SessionWorld,
  host: HostPort,
  options: ClientOptions,
  wantTls: boolean,
): Promise<LoggedIn> {
  const { target } = options;
  const inbox = new Inbox(new FrameReader({ bytesMax: AUTH_FRAME_BYTES_MAX }), (fault) => connection.destroy(fault));
  const startedAt = world.clock.now();
  const connection = await world.net.connect({ ...host, timeoutMs: target.connectTimeoutMs, handler: inbox });
  const leftMs = Math.max(1, target.connectTimeoutMs - (world.clock.now() - startedAt));
  using _timer = world.clock.after(leftMs, () => connection.destroy(timedOut(target)));
  try {
    const tls = wantTls && !host.host.startsWith('/') ? await startTls(connection, inbox, host, options) : null;
    const loggedIn = await authenticate(world, connection, inbox, host, options, tls);
    checkServer(loggedIn, options);
    return loggedIn;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** Null when the server has no TLS and sslmode can do without. */
async function startTls(
  connection: Connection,
  inbox: Inbox,
  host: HostPort,
  options: ClientOptions,
): Promise<TlsFacts | null> {
  const { sslMode, sslNegotiation } = options.target;
  const { ca, cert, key } = { ...options.target.tls, ...options.tls };
  if (sslNegotiation === 'postgres') {
    sendStartup(connection, { tag: 'sslRequest' });
    const answer = await tlsAnswer(inbox);
    if (answer !== 0x53) {
      if (answer === 0x4e && (sslMode === 'prefer' || sslMode === 'allow')) return null;
      throw new Fault('tls-refused', {
        message: answer === 0x4e ? 'the server does not support TLS' : 'the server did not answer the TLS request',
        hint: 'turn ssl on at the server, or connect with sslmode=disable',
        sqlstate: '08001',
      });
    }
  }
  const facts = await connection.startTlsClient({
    serverName: host.host,
    verify: verifyLevel(sslMode, ca !== undefined),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
  if (sslNegotiation === 'direct' && facts.alpn !== 'postgresql') {
    throw new Fault('tls-failed', { message: 'direct TLS without ALPN "postgresql"', sqlstate: '08001' });
  }
  return facts;
}

function verifyLevel(sslMode: ConnectionTarget['sslMode'], hasCa: boolean): 'none' | 'ca' | 'full' {
  if (sslMode === 'verify-full') return 'full';
  // As libpq: with a root certificate, require means verify-ca.
  return sslMode === 'verify-ca' || (sslMode === 'require' && hasCa) ? 'ca' : 'none';
}

async function authenticate(
  world: SessionWorld,
  connection: Connection,
  inbox: Inbox,
  host: HostPort,
  options: ClientOptions,
  tls: TlsFacts | null,
): Promise<LoggedIn> {
  const requested = options.protocolVersion ?? PROTOCOL_3_0;
  sendStartup(connection, { tag: 'startup', protocolVersion: requested, parameters: startupParameters(options) });
  let protocolVersion = requested;
  let backendKey: BackendKey | null = null;
  let authenticated = false;
  const parameters = new Map<string, string>();
  const dialogue = new AuthDialogue(world, connection, options, tls);
  for (;;) {
    const message = await nextMessage(inbox);
    switch (message.tag) {
      case 'authentication':
        if (authenticated) throw unexpected(message);
        authenticated = await dialogue.answer(message.authentication);
        if (authenticated) inbox.reader.expectTyped(FRAME_BYTES_MAX);
        break;
      case 'negotiateProtocolVersion':
        if (authenticated || message.version > requested || protocolMajor(message.version) !== 3) {
          throw unexpected(message);
        }
        protocolVersion = message.version;
        break;
      case 'errorResponse':
        throw new ServerError(message.fields);
      case 'noticeResponse':
        break;
      case 'parameterStatus':
        parameters.set(message.name, message.value);
        break;
      case 'backendKeyData':
        backendKey = { processId: message.processId, secretKey: Buffer.from(message.secretKey) };
        break;
      case 'readyForQuery':
        if (!authenticated) throw unexpected(message);
        return {
          connection,
          reader: inbox.reader,
          host,
          tls,
          parameters,
          backendKey,
          protocolVersion,
          transactionStatus: message.status,
        };
      default:
        throw unexpected(message);
    }
  }
}

/** Answers authentication requests; the order of the steps is checked, since the server is not trusted yet. */
class AuthDialogue {
  readonly #world: SessionWorld;
  readonly #connection: Connection;
  readonly #options: ClientOptions;
  readonly #tls: TlsFacts | null;
  #scram: ScramClient | null = null;
  #scramProven = false;
  #bound = false;

  constructor(world: SessionWorld, connection: Connection, options: ClientOptions, tls: TlsFacts | null) {
    this.#world = world;
    this.#connection = connection;
    this.#options = options;
    this.#tls = tls;
  }

  /** True when the server is content. */
  async answer(request: Authentication): Promise<boolean> {
    switch (request.method) {
      case 'ok':
        this.#checkProven();
        return true;
      case 'cleartext':
        this.#requireNoScram();
        this.#checkCleartext();
        this.#send((writer) => writePassword(writer, this.#password()));
        return false;
      case 'md5': {
        this.#requireNoScram();
        const inner = this.#world.crypto.md5Hex(this.#password() + this.#options.target.user);
        const outer = this.#world.crypto.md5Hex(Buffer.concat([Buffer.from(inner), request.salt]));
        this.#send((writer) => writePassword(writer, `md5${outer}`));
        return false;
      }
      case 'sasl':
        this.#requireNoScram();
        this.#startScram(request.mechanisms);
        return false;
      case 'saslContinue': {
        const reply = await this.#startedScram().respond(Buffer.from(request.data).toString());
        this.#send((writer) => writeSaslResponse(writer, Buffer.from(reply)));
        return false;
      }
      case 'saslFinal':
        this.#startedScram().verify(Buffer.from(request.data).toString());
        this.#scramProven = true;
        return false;
      case 'other':
        throw new Fault('authentication-unsupported', {
          message: `the server asks for authentication method ${request.code}, which is not supported`,
          hint: 'use scram-sha-256 in pg_hba.conf',
          sqlstate: '28000',
        });
    }
  }

  #startScram(mechanisms: readonly string[]): void {
    const { channelBinding } = this.#options.target;
    const certificate = this.#tls?.peerCertificate ?? null;
    const canBind = certificate !== null && channelBinding !== 'disable';
    const plus = canBind && mechanisms.includes(SCRAM_SHA_256_PLUS);
    if (!plus && channelBinding === 'require') {
      throw unproven('channel binding is required, but the server or the connection does not offer it');
    }
    if (!plus && !mechanisms.includes(SCRAM_SHA_256)) {
      throw new Fault('authentication-unsupported', {
        message: 'the server offers no SASL mechanism that is supported here',
        hint: 'use scram-sha-256 in pg_hba.conf',
        sqlstate: '28000',
      });
    }
    const { crypto, random } = this.#world;
    const binding: ClientBinding = plus
      ? { kind: 'tls-server-end-point', certificateHash: crypto.certificateHash(certificate) }
      : { kind: canBind ? 'not-offered' : 'none' };
    const scram = new ScramClient(crypto, {
      password: this.#options.scramKeys ?? this.#password(),
      binding,
      nonce: random.bytes(SCRAM_NONCE_BYTES),
    });
    this.#scram = scram;
    this.#bound = plus;
    this.#send((writer) =>
      writeSaslInitial(writer, {
        mechanism: plus ? SCRAM_SHA_256_PLUS : SCRAM_SHA_256,
        data: Buffer.from(scram.first()),
      }),
    );
  }

  #startedScram(): ScramClient {
    if (this.#scram === null) throw unproven('a SASL message out of order');
    return this.#scram;
  }

  #requireNoScram(): void {
    if (this.#scram !== null) throw unproven('a second authentication request');
  }

  /** A server that stops half-way through SCRAM has not shown that it knows the password. */
  #checkProven(): void {
    if (this.#scram !== null && !this.#scramProven) throw unproven('SCRAM was cut short');
    if (this.#options.target.channelBinding === 'require' && !this.#bound) {
      throw unproven('channel binding is required, but the server did not ask for a password');
    }
  }

  #checkCleartext(): void {
    const verified = this.#tls?.authorized === true && verifyLevel(this.#options.target.sslMode, false) !== 'none';
    if (this.#options.allowCleartext ?? verified) return;
    throw new Fault('cleartext-refused', {
      message: 'the server asks for the password in the clear',
      hint: 'use scram-sha-256 in pg_hba.conf, or connect with sslmode=verify-full',
      sqlstate: '28000',
    });
  }

  #password(): string {
    const { target } = this.#options;
    if (target.password === null) {
      throw new Fault('password-missing', {
        message: `the server asks for a password for ${describeTarget(target)}, and none is given`,
        hint: 'put the password into the URL, or its environment variable',
        sqlstate: '28P01',
      });
    }
    return target.password.reveal();
  }

  #send(write: (writer: ByteWriter) => void): void {
    const writer = new ByteWriter();
    write(writer);
    this.#connection.write(writer.take());
  }
}

function startupParameters(options: ClientOptions): Map<string, string> {
  const { target } = options;
  const parameters = new Map<string, string>([
    ['user', target.user],
    ['database', target.database],
    ['client_encoding', 'UTF8'],
  ]);
  for (const [name, value] of Object.entries({ ...target.parameters, ...options.parameters })) {
    // We only ever speak UTF-8; only an explicit wish changes that ('' = whatever the database has).
    if (name !== 'client_encoding') parameters.set(name, value);
  }
  const encoding = options.parameters?.['client_encoding'];
  if (encoding === '') parameters.delete('client_encoding');
  else if (encoding !== undefined) parameters.set('client_encoding', encoding);
  if (options.replication !== undefined) parameters.set('replication', options.replication);
  return parameters;
}

/** `15.4 (Debian …)` -> 15; 0 when it cannot be read. */
export function serverMajor(parameters: ReadonlyMap<string, string>): number {
  return Number(/^\d+/.exec(parameters.get('server_version') ?? '')?.[0] ?? 0);
}

function checkServer(loggedIn: LoggedIn, options: ClientOptions): void {
  const { parameters } = loggedIn;
  const majorMin = options.serverMajorMin ?? SERVER_MAJOR_MIN;
  const major = serverMajor(parameters);
  if (major !== 0 && major < majorMin) {
    throw new Fault('server-too-old', {
      message: `the server is PostgreSQL ${parameters.get('server_version') ?? 'of unknown version'}; ${majorMin} or later is needed`,
      hint: `upgrade the server to PostgreSQL ${majorMin} or later`,
      sqlstate: '0A000',
    });
  }
  const standby = parameters.get('in_hot_standby') === 'on';
  const readOnly = standby || parameters.get('default_transaction_read_only') === 'on';
  const { targetSessionAttrs } = options.target;
  const fits: Record<ConnectionTarget['targetSessionAttrs'], boolean> = {
    any: true,
    'read-write': !readOnly,
    'read-only': readOnly,
    primary: !standby,
    standby,
    'prefer-standby': true,
  };
  if (fits[targetSessionAttrs]) return;
  throw new Fault('target-mismatch', {
    message: `the server at ${loggedIn.host.host}:${loggedIn.host.port} is not ${targetSessionAttrs}`,
    hint: 'name more hosts, or change target_session_attrs',
    sqlstate: '08001',
    retryable: true,
  });
}

function sendStartup(connection: Connection, packet: StartupPacket): void {
  const writer = new ByteWriter();
  encodeStartup(writer, packet);
  connection.write(writer.take());
}

function timedOut(target: ConnectionTarget): Fault {
  return new Fault('connect-timeout', {
    message: `${describeTarget(target)} did not complete the login within ${target.connectTimeoutMs} ms`,
    hint: 'check that a PostgreSQL server answers there, or raise connect_timeout',
    sqlstate: '08001',
    retryable: true,
  });
}

function unexpected(message: BackendMessage): Fault {
  return new Fault('protocol-violation', {
    message: `unexpected message "${message.tag}" during login`,
    hint: 'check that a PostgreSQL server listens on this port',
    sqlstate: '08P01',
  });
}

function unproven(reason: string): Fault {
  return new Fault('server-unproven', {
    message: `the server did not authenticate itself: ${reason}`,
    hint: 'somebody may sit between; check host, port and TLS settings',
    sqlstate: '28000',
  });
}

async function nextMessage(inbox: Inbox): Promise<BackendMessage> {
  await inbox.frame();
  const { type, buffer, start, end } = inbox.reader;
  return decodeBackend(type, buffer, start, end);
}

/** The one byte that answers SSLRequest. Anything after it would be clear text posing as TLS (CVE-2021-23222). */
async function tlsAnswer(inbox: Inbox): Promise<number> {
  await inbox.peek();
  const rest = inbox.reader.takeRest();
  if (rest.length > 1) throw unproven('it sent clear text after its answer to the TLS request');
  return rest[0] as number;
}
