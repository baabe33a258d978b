// Sockets from Bun.listen and Bun.connect. What Bun leaves to its user is done here: `write` takes only what the kernel
// takes, so the rest is queued; `end` would cut off what is queued and reset a peer that still sends, so one half is closed
// first; after a TLS upgrade the raw half still reports ciphertext, so it is ignored.

import { unlinkSync } from 'node:fs';
import { checkServerIdentity } from 'node:tls';
import { Fault } from '../base/fault.ts';
import type {
  ConnectOptions,
  Connection,
  ConnectionHandler,
  Listener,
  ListenOptions,
  Net,
  TlsClientOptions,
  TlsFacts,
  TlsServerOptions,
} from '../base/net.ts';
import { steerGroup } from './reuseport.ts';

type RawSocket = Bun.Socket<BunConnection>;

/** TLS 1.2, as Postgres' default ssl_min_protocol_version. */
const TLS_VERSION_MIN = 0x0303;

/** ALPN in wire format: a list of length-prefixed names. Bun takes neither a string nor an array here. */
const ALPN = Buffer.from('\x0apostgresql', 'latin1');

const NAME_MISMATCH = 'ERR_TLS_CERT_ALTNAME_INVALID';

/** Handshakes that Bun calls failed although TLS works: what is wrong is the certificate, and only the caller knows whether it counts. */
const CERTIFICATE_ERRORS: ReadonlySet<string> = new Set([NAME_MISMATCH, 'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/** After our end, the peer gets this long to end its side. */
const LINGER_MS = 2_000;

/** Many small buffers are joined up to this size, so that a queue of rows is not one system call a row. */
const JOIN_BYTES_MAX = 64 * 1024;

export function createNet(): Net {
  return { listen, connect };
}

function listen(options: ListenOptions): Promise<Listener> {
  let open = 0;
  const opened = (socket: RawSocket): void => {
    const connection = new BunConnection(socket);
    socket.data = connection;
    if (options.connectionsMax !== undefined && open >= options.connectionsMax) {
      refuse(connection, options);
      return;
    }
    open += 1;
    connection.released = () => {
      open -= 1;
    };
    options.accept(connection);
  };
  const isUnix = options.host.startsWith('/');
  const address = isUnix ? socketPath(options.host, options.port) : `${options.host}:${options.port}`;
  try {
    const socket = { ...HANDLERS, open: opened };
    const listener = isUnix
      ? Bun.listen<BunConnection>({ unix: address, socket })
      : Bun.listen<BunConnection>({
          hostname: options.host,
          port: options.port,
          ...(options.sharePort === true ? { reusePort: true } : {}),
          socket,
        });
    const stop = (): void => {
      listener.stop(false);
      if (isUnix) removeQuietly(address);
    };
    const port = 'port' in listener && typeof listener.port === 'number' ? listener.port : options.port;
    return Promise.resolve({
      port,
      host: options.host,
      stop,
      steer: (positions) => options.sharePort === true && steerGroup(fdOf(listener), positions),
      [Symbol.asyncDispose]: () => {
        stop();
        return Promise.resolve();
      },
    });
  } catch (error) {
    return Promise.reject(listenFault(error, address));
  }
}

function fdOf(listener: object): number {
  return 'fd' in listener && typeof listener.fd === 'number' ? listener.fd : -1;
}

function refuse(connection: BunConnection, options: ListenOptions): void {
  connection.handler = { data: () => {}, close: () => {} };
  options.refuse?.(connection);
  connection.end();
}

function listenFault(error: unknown, address: string): Fault {
  const code = errorCode(error);
  if (code === 'EADDRINUSE') {
    return new Fault('port-taken', {
      message: `${address} is in use by another process`,
      hint: 'stop the other process or choose another port',
      cause: error,
    });
  }
  return new Fault('address-refused', {
    message: `cannot listen on ${address}: ${errorText(error)}`,
    hint: 'check the address, and the permission to use it (ports below 1024 need a privilege)',
    cause: error,
  });
}

function connect(options: ConnectOptions): Promise<Connection> {
  const isUnix = options.host.startsWith('/');
  const address = isUnix ? socketPath(options.host, options.port) : `${options.host}:${options.port}`;
  return new Promise((resolve, reject) => {
    let settled = false;
    const fail = (reason: string, cause?: unknown): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      reject(
        new Fault('connect-failed', {
          message: `cannot connect to ${address}: ${reason}`,
          hint: 'check that the server runs there and that the address and port are right',
          sqlstate: '08001',
          retryable: true,
          cause,
        }),
      );
    };
    const timer = setTimeout(() => fail(`no answer within ${options.timeoutMs} ms`), options.timeoutMs);
    const opened = (socket: RawSocket): void => {
      const connection = new BunConnection(socket);
      socket.data = connection;
      if (settled) {
        connection.handler = { data: () => {}, close: () => {} };
        connection.destroy();
        return;
      }
      settled = true;
      clearTimeout(timer);
      connection.handler = options.handler;
      resolve(connection);
    };
    const socket = {
      ...HANDLERS,
      open: opened,
      connectError: (_socket: RawSocket, error: Error) => fail(errorText(error), error),
    };
    const pending = isUnix
      ? Bun.connect<BunConnection>({ unix: address, socket })
      : Bun.connect<BunConnection>({ hostname: options.host, port: options.port, socket });
    pending.then(
      () => {},
      (error: unknown) => fail(errorText(error), error),
    );
  });
}

/** One set of functions for all sockets: the connection is in `socket.data`. */
const HANDLERS = {
  data(socket: RawSocket, chunk: Buffer): void {
    socket.data.received(socket, chunk);
  },
  drain(socket: RawSocket): void {
    socket.data.writable(socket);
  },
  handshake(socket: RawSocket, success: boolean, error: Error | null): void {
    socket.data.handshaken(socket, success, error);
  },
  close(socket: RawSocket, error?: Error): void {
    // Undefined when the connection attempt itself failed.
    (socket.data as BunConnection | undefined)?.lost(error);
  },
  error(socket: RawSocket, error: Error): void {
    (socket.data as BunConnection | undefined)?.destroy(error);
  },
};

interface Handshake {
  readonly hostname: string | null;
  readonly resolve: (facts: TlsFacts) => void;
  readonly reject: (error: Error) => void;
}

class BunConnection implements Connection {
  handler: ConnectionHandler;
  readonly remoteAddress: string;
  readonly isLoopback: boolean;
  tls: TlsFacts | null = null;
  queuedBytes = 0;
  closed = false;
  /** Gives back the listener's place. */
  released: (() => void) | null = null;

  #socket: RawSocket;
  /** Null while nothing is queued: of ten thousand idle connections none keeps an array. */
  #queue: Uint8Array[] | null = null;
  #ending = false;
  #paused = false;
  /** Chunks that Bun delivered although we paused. */
  #held: Buffer[] | null = null;
  #handshake: Handshake | null = null;
  #lingering: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: RawSocket) {
    this.#socket = socket;
    this.handler = UNOWNED;
    // A unix socket has no address.
    const address = (socket.remoteAddress as string | undefined) ?? '';
    this.remoteAddress = address === '' ? 'unix' : address;
    this.isLoopback = address === '' || /^(::ffff:)?127\.|^::1$/.test(address);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
  }

  write(bytes: Uint8Array): boolean {
    if (this.closed || this.#ending || bytes.length === 0) return this.queuedBytes === 0;
    if (this.queuedBytes > 0) {
      this.#enqueue(bytes);
      return false;
    }
    const taken = Math.max(0, this.#socket.write(bytes));
    if (taken === bytes.length) return true;
    this.#enqueue(taken === 0 ? bytes : bytes.subarray(taken));
    return false;
  }

  pause(): void {
    if (this.#paused || this.closed) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.closed) return;
    this.#paused = false;
    this.#socket.resume();
    if (this.#held !== null) queueMicrotask(() => this.#deliverHeld());
  }

  end(): void {
    if (this.closed || this.#ending) return;
    this.#ending = true;
    // A paused socket would never see the peer's own end.
    this.resume();
    if (this.queuedBytes === 0) this.#halfClose();
  }

  destroy(error?: Error): void {
    if (this.closed) return;
    const socket = this.#socket;
    this.lost(error);
    socket.terminate();
  }

  startTlsServer(options: TlsServerOptions, early?: Uint8Array): Promise<TlsFacts> {
    const { cert, key, ca } = options;
    return this.#upgrade(null, {
      isServer: true,
      ...(early === undefined || early.length === 0 ? {} : { initialData: early }),
      tls: {
        cert,
        key,
        ...(ca === undefined ? {} : { ca, requestCert: true }),
        // The owner decides what an unknown certificate may do.
        rejectUnauthorized: false,
        ALPNProtocols: ALPN,
        minVersion: TLS_VERSION_MIN,
      },
    });
  }

  startTlsClient(options: TlsClientOptions): Promise<TlsFacts> {
    const { ca, cert, key, serverName, verify } = options;
    return this.#upgrade(verify === 'full' ? serverName : null, {
      tls: {
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        // An IP address is no server name (RFC 6066).
        ...(isAddress(serverName) ? {} : { serverName }),
        rejectUnauthorized: false,
        ALPNProtocols: ALPN,
        minVersion: TLS_VERSION_MIN,
      },
    }).then((facts) => {
      if (verify === 'none' || facts.authorized) return facts;
      const fault = new Fault('tls-untrusted', {
        message: `the server's certificate is not trusted: ${facts.reason ?? 'unknown reason'}`,
        hint: 'give the right CA (sslrootcert), or connect under a name that the certificate carries',
        sqlstate: '08001',
      });
      this.destroy(fault);
      throw fault;
    });
  }

  #upgrade(hostname: string | null, options: object): Promise<TlsFacts> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(tlsFault('the connection is closed'));
        return;
      }
      this.#handshake = { hostname, resolve, reject };
      try {
        const [, secured] = this.#socket.upgradeTLS<BunConnection>({
          data: this,
          socket: HANDLERS,
          ...options,
        } as never);
        this.#socket = secured as RawSocket;
      } catch (error) {
        this.#handshake = null;
        const fault = tlsFault(errorText(error), error);
        this.destroy(fault);
        reject(fault);
      }
    });
  }

  // What Bun reports.

  received(socket: RawSocket, chunk: Buffer): void {
    if (socket !== this.#socket || this.closed || this.#ending) return;
    if (this.#paused || this.#held !== null) {
      (this.#held ??= []).push(chunk);
      return;
    }
    this.handler.data(chunk);
  }

  writable(socket: RawSocket): void {
    if (socket !== this.#socket || this.closed || this.queuedBytes === 0) return;
    if (!this.#flush()) return;
    if (this.#ending) this.#halfClose();
    else this.handler.drain?.();
  }

  handshaken(socket: RawSocket, success: boolean, error: Error | null): void {
    const handshake = this.#handshake;
    if (handshake === null) return;
    this.#handshake = null;
    this.#socket = socket;
    // Success says only that TLS works; whether the certificate is trusted is in the facts.
    if (!success && !CERTIFICATE_ERRORS.has(errorCode(error))) {
      const fault = tlsFault(error === null ? 'the peer does not speak TLS' : errorText(error), error);
      this.destroy(fault);
      handshake.reject(fault);
      return;
    }
    this.tls = tlsFacts(socket, error, handshake.hostname);
    handshake.resolve(this.tls);
  }

  lost(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.#queue = null;
    this.queuedBytes = 0;
    this.#held = null;
    clearTimeout(this.#lingering);
    this.released?.();
    this.#handshake?.reject(tlsFault('the connection was closed during the handshake', error));
    this.#handshake = null;
    // Later, so that nobody's `close` runs inside his own `destroy`.
    queueMicrotask(() => this.handler.close(error));
  }

  /** Bun's `end` closes at once, and bytes that arrive later make the kernel reset the connection: the peer would lose our last words. */
  #halfClose(): void {
    this.#socket.shutdown();
    this.#lingering = setTimeout(() => this.destroy(), LINGER_MS);
    this.#lingering.unref();
  }

  #enqueue(bytes: Uint8Array): void {
    (this.#queue ??= []).push(bytes);
    this.queuedBytes += bytes.length;
  }

  /** True when the queue is empty afterwards. */
  #flush(): boolean {
    const queue = this.#queue;
    while (queue !== null && queue.length > 0) {
      const bytes = nextWrite(queue);
      const taken = Math.max(0, this.#socket.write(bytes));
      this.queuedBytes -= taken;
      if (taken < bytes.length) {
        queue[0] = bytes.subarray(taken);
        return false;
      }
      queue.shift();
    }
    this.#queue = null;
    return true;
  }

  #deliverHeld(): void {
    const held = this.#held;
    while (held !== null && held.length > 0 && !this.#paused && !this.closed) this.handler.data(held.shift() as Buffer);
    if (held?.length === 0) this.#held = null;
  }
}

/** The first buffer of the queue, small ones joined into it. */
function nextWrite(queue: Uint8Array[]): Uint8Array {
  let count = 0;
  let length = 0;
  while (count < queue.length) {
    const next = (queue[count] as Uint8Array).length;
    if (count > 0 && length + next > JOIN_BYTES_MAX) break;
    length += next;
    count += 1;
  }
  if (count > 1) queue.splice(0, count, Buffer.concat(queue.slice(0, count), length));
  return queue[0] as Uint8Array;
}

const UNOWNED: ConnectionHandler = { data: () => {}, close: () => {} };

function tlsFacts(socket: RawSocket, error: Error | null, hostname: string | null): TlsFacts {
  const certificate = socket.getPeerCertificate() as ReturnType<RawSocket['getPeerCertificate']> | null | undefined;
  const raw = certificate?.raw ?? null;
  const identityError =
    hostname === null || certificate === null || certificate === undefined
      ? undefined
      : checkServerIdentity(hostname, certificate);
  // Bun compares the name by itself, but only the caller knows whether the name counts (verify-ca: it does not).
  const trusted = socket.authorized || errorCode(error) === NAME_MISMATCH;
  const authorized = trusted && identityError === undefined;
  const reason = identityError?.message ?? (error === null ? undefined : errorText(error));
  const name = certificate?.subject?.CN;
  return {
    authorized,
    ...(authorized || reason === undefined ? {} : { reason }),
    protocol: socket.getTLSVersion(),
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : null,
    peerCertificate: raw,
    peerName: typeof name === 'string' ? name : null,
  };
}

function tlsFault(reason: string, cause?: unknown): Fault {
  return new Fault('tls-failed', { message: `TLS handshake failed: ${reason}`, sqlstate: '08006', cause });
}

/** libpq's naming of unix sockets. */
function socketPath(directory: string, port: number): string {
  return `${directory.replace(/\/$/, '')}/.s.PGSQL.${port}`;
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^\d+(\.\d+){3}$/.test(host);
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Bun removed it already.
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function errorText(error: unknown): string {
  const code = errorCode(error);
  const known = ERROR_TEXTS[code];
  if (known !== undefined) return known;
  return error instanceof Error ? error.message || code : String(error);
}

const ERROR_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ENOENT: 'no such socket file',
  ENOTFOUND: 'no such host',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
  ETIMEDOUT: 'timed out',
  ECONNRESET: 'connection reset by peer',
};
