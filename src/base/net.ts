// The seam to byte streams between processes. `runtime/net.ts` implements it on Bun's sockets; the simulator in memory.

/** What a connection tells its owner. Called on the event loop; must not throw. */
export interface ConnectionHandler {
  /** Bytes arrived. The chunk is the receiver's to keep. Not called while paused. */
  data(chunk: Uint8Array): void;
  /** The outgoing queue is empty again after `write` returned false. */
  drain?(): void;
  /** The connection is gone, by either side; called exactly once. `error` when it was not an orderly close. */
  close(error?: Error): void;
}

/** What is known after a TLS handshake. */
export interface TlsFacts {
  /** True when the peer presented a certificate that our CA signed (and, as a client, the host name matched if asked). */
  readonly authorized: boolean;
  /** Why not, when `authorized` is false. */
  readonly reason?: string;
  readonly protocol: string;
  /** ALPN protocol chosen, or null. */
  readonly alpn: string | null;
  /** DER of the peer's certificate, if any. */
  readonly peerCertificate: Uint8Array | null;
  /** Common name of the peer's certificate, if any: the identity of a role (I11). */
  readonly peerName: string | null;
}

export interface TlsServerOptions {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
  /** CA for client certificates; when given, clients are asked for one (but not refused without: the owner decides). */
  readonly ca?: string;
}

export interface TlsClientOptions {
  /** PEM text of the CAs to trust; the system's when not given. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name sent as SNI and, with `verify: 'full'`, compared with the certificate. */
  readonly serverName: string;
  /** `none` = encrypt only (sslmode require), `ca` = verify-ca, `full` = verify-full. */
  readonly verify: 'none' | 'ca' | 'full';
}

/** One byte stream. Writing never loses a byte: what the kernel does not take is queued here, in order. */
export interface Connection {
  /** Replaces the handler; the first one is given at creation. */
  handler: ConnectionHandler;
  readonly remoteAddress: string;
  /** True when the peer is on this machine (loopback or unix socket). */
  readonly isLoopback: boolean;
  /** Null until a handshake succeeded. */
  readonly tls: TlsFacts | null;
  /** Bytes accepted by `write` that the kernel has not taken yet: the owner's back-pressure signal. */
  readonly queuedBytes: number;
  readonly closed: boolean;
  /** Queues bytes. The buffer must not be changed afterwards. False when something is left queued (`drain` follows). */
  write(bytes: Uint8Array): boolean;
  /** Stops `data` calls, so that TCP's window fills and the peer waits. */
  pause(): void;
  resume(): void;
  /** Sends what is queued, then closes. */
  end(): void;
  /** Closes now; what is queued is dropped. */
  destroy(error?: Error): void;
  /** STARTTLS as a server. `early` are bytes already read that belong to the handshake (direct TLS only). Rejects on a failed handshake. */
  startTlsServer(options: TlsServerOptions, early?: Uint8Array): Promise<TlsFacts>;
  /** STARTTLS as a client (or direct TLS, when called before anything else). ALPN `postgresql` is offered. */
  startTlsClient(options: TlsClientOptions): Promise<TlsFacts>;
}

export interface Listener extends AsyncDisposable {
  readonly port: number;
  readonly host: string;
  /** Stops accepting; open connections stay. */
  stop(): void;
  /**
   * With `sharePort`: only the listeners at these positions get connections from now on; null = all of them. Positions count in the
   * order in which they began to listen; when one stops, the last takes its place. False when the system cannot do it.
   */
  steer(positions: readonly number[] | null): boolean;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** Called per new connection; must set `connection.handler` before returning. */
  readonly accept: (connection: Connection) => void;
  /** More connections than this are accepted and closed at once after `refuse` had its say (e.g. SQLSTATE 53300). */
  readonly connectionsMax?: number;
  readonly refuse?: (connection: Connection) => void;
  /**
   * Other processes of ours listen on the same port, and all say so: the kernel shares new connections out (SO_REUSEPORT).
   * A port that somebody else shares in the same way does not count as taken.
   */
  readonly sharePort?: boolean;
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly handler: ConnectionHandler;
}

export interface Net {
  /** Rejects with Fault `port-taken` / `address-refused` when the port cannot be had. */
  listen(options: ListenOptions): Promise<Listener>;
  /** `host` beginning with "/" is a directory of unix sockets, as in libpq. Rejects with a retryable Fault `connect-failed`. */
  connect(options: ConnectOptions): Promise<Connection>;
}
