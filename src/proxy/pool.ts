// The server connections of one (database, user, place), and the clients that wait for one. Strictly first come, first
// served: a connection that becomes free goes straight to the client that waits longest, and nobody overtakes.
//
// Connections are kept in buckets by the startup parameters they were opened with, since these are what RESET goes back to.
// Loops: none of its own; `tick` is called three times a second by the proxy's janitor.

import { assert } from '../base/assert.ts';
import { Backoff } from '../base/backoff.ts';
import { type Fault, isRetryable } from '../base/fault.ts';
import type { Random } from '../base/random.ts';
import type { Log } from '../observe/log.ts';
import { queueFull, waitTimeout } from './faults.ts';
import type { Backend } from './limits/backend.ts';
import type { ServerConnection, ServerOwner } from './server.ts';
import { NO_SETTINGS, type SessionSettings } from './settings.ts';
import type { StatementRegistry } from './statements.ts';
import type { TurnClock } from './turn-clock.ts';

/** Logins to one server at once: more would only make each slower (PgBouncer opens one, and one stuck login stalls the pool, #1019). */
const OPENING_MAX = 8;

const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 1_000;

/** Who waits for a server connection: a client, or its login that needs the server's parameters. */
export interface Waiter {
  readonly startupKey: string;
  readonly startupParameters: ReadonlyMap<string, string>;
  readonly settings: SessionSettings;
  waitingIn: object | null;
  /** 0 while it does not wait; kept when it waited for its turn before. */
  waitingSince: number;
  granted(server: ServerConnection): void;
  waitFailed(fault: Fault): void;
}

export interface PoolLimits {
  readonly size: number;
  readonly sizeMin: number;
  readonly reserve: number;
  readonly reserveAfterMs: number;
  readonly waitTimeoutMs: number;
  readonly waitersMax: number;
  readonly serverIdleTimeoutMs: number;
  readonly serverLifetimeMs: number;
  readonly recoverTimeoutMs: number;
}

/** A number of server connections that several pools share (per database, per user). */
export class SharedLimit {
  max: number;
  used = 0;
  /** Of several workers each may use a part of the limit. */
  share = Number.POSITIVE_INFINITY;

  constructor(max: number) {
    this.max = max;
  }

  get free(): boolean {
    return (this.max === 0 || this.used < this.max) && this.used < this.share;
  }
}

export interface PoolOptions {
  readonly database: string;
  readonly user: string;
  /** `primary`, or `host:port` of a replica. */
  readonly place: string;
  /** The server as its tenants share it. */
  readonly backend: Backend;
  readonly statements: StatementRegistry;
  readonly random: Random;
  readonly log: Log;
  readonly turn: TurnClock;
  /** Calls back after `ms`. */
  readonly after: (ms: number, task: () => void) => void;
  readonly limits: () => PoolLimits;
  readonly shared: readonly SharedLimit[];
  /** Opens one connection and logs in. Rejects with a Fault. */
  readonly open: (waiter: Waiter, pool: Pool) => Promise<ServerConnection>;
  /** Tries to close an idle connection of another pool that shares a limit. True when one was closed. */
  readonly makeRoom: (pool: Pool) => boolean;
  readonly cancel: (server: ServerConnection) => void;
  /** A client waits and no connection may be opened for it. */
  readonly starved?: () => void;
  /** Told how long a client has waited. */
  readonly waited: (ms: number) => void;
}

export interface PoolStats {
  transactions: number;
  queries: number;
  assignments: number;
  receivedBytes: number;
  sentBytes: number;
  transactionMs: number;
  queryMs: number;
  waitMs: number;
  clientParses: number;
  serverParses: number;
  binds: number;
  logins: number;
}

export function emptyStats(): PoolStats {
  return {
    transactions: 0,
    queries: 0,
    assignments: 0,
    receivedBytes: 0,
    sentBytes: 0,
    transactionMs: 0,
    queryMs: 0,
    waitMs: 0,
    clientParses: 0,
    serverParses: 0,
    binds: 0,
    logins: 0,
  };
}

function atRest(server: ServerConnection): void {
  const { onRest } = server;
  server.onRest = null;
  onRest?.();
}

export class Pool implements ServerOwner {
  readonly database: string;
  readonly user: string;
  readonly place: string;
  readonly backend: Backend;
  readonly statements: StatementRegistry;
  readonly turn: TurnClock;
  readonly stats = emptyStats();
  /** Most recently used last. */
  readonly idle: ServerConnection[] = [];
  readonly servers = new Set<ServerConnection>();
  readonly recovering = new Map<ServerConnection, number>();
  opening = 0;
  /** Clients that wait for a turn of their tenant first. */
  held = 0;
  paused = false;
  generation = 0;
  lastUsedAt: number;
  keepsSequences = false;
  /** Connections that other workers need: closed when they come back. */
  surplus = 0;
  /** Why the last attempt to open a connection failed; null after a success. */
  lastFailure: Fault | null = null;

  readonly #options: PoolOptions;
  readonly #backoff: Backoff;
  #waiters: Waiter[] = [];
  #retryPending = false;
  /** For min_pool_size. */
  #lastWaiter: Waiter | null = null;
  #pumping = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.database = options.database;
    this.user = options.user;
    this.place = options.place;
    this.backend = options.backend;
    this.statements = options.statements;
    this.turn = options.turn;
    this.lastUsedAt = options.turn.now();
    this.#backoff = new Backoff(options.random, { firstMs: RETRY_FIRST_MS, maxMs: RETRY_LAST_MS });
  }

  /** Clients that want a connection of this pool, those included that wait for their tenant's turn. */
  get waiting(): number {
    return this.#waiters.length + this.held;
  }

  get waiters(): readonly Waiter[] {
    return this.#waiters;
  }

  get active(): number {
    return this.servers.size - this.idle.length;
  }

  /** A connection at once, or null (the waiter is queued), or why it may not even wait. */
  acquire(waiter: Waiter): ServerConnection | Fault | null {
    this.lastUsedAt = this.turn.now();
    if (this.#waiters.length === 0 && !this.paused) {
      const server = this.#takeIdle(waiter);
      if (server !== null) {
        this.stats.assignments += 1;
        if (waiter.waitingSince !== 0) this.#waited(waiter);
        return server;
      }
    }
    const { waitersMax } = this.#options.limits();
    if (this.#waiters.length >= waitersMax) return queueFull(waitersMax);
    waiter.waitingIn = this;
    if (waiter.waitingSince === 0) waiter.waitingSince = this.lastUsedAt;
    this.#waiters.push(waiter);
    this.pump();
    return null;
  }

  abandon(waiter: Waiter): void {
    const at = this.#waiters.indexOf(waiter);
    if (at !== -1) this.#waiters.splice(at, 1);
    waiter.waitingIn = null;
    waiter.waitingSince = 0;
  }

  /** Takes all waiters out, to move them to another pool. */
  takeWaiters(): Waiter[] {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.waitingIn = null;
    return waiters;
  }

  /** A client has finished with it. */
  release(server: ServerConnection): void {
    if (server.state === 'closed') return;
    server.unlink(this.turn.now());
    this.#free(server);
  }

  /** A client has gone; what it left running is cancelled and rolled back, and the connection kept. */
  recover(server: ServerConnection): void {
    if (server.state === 'closed') return;
    const running = server.ledger.length > 0 && !server.copyIn;
    this.recovering.set(server, this.turn.now() + this.#options.limits().recoverTimeoutMs);
    if (running) this.#options.cancel(server);
    server.recover();
  }

  /** Takes a certain idle connection; false when it is not there any more. */
  reclaim(server: ServerConnection): boolean {
    const at = this.idle.indexOf(server);
    if (at === -1 || this.paused) return false;
    this.idle.splice(at, 1);
    this.stats.assignments += 1;
    return true;
  }

  // ServerOwner

  serverClosed(server: ServerConnection, reason: string): void {
    if (!this.servers.delete(server)) return;
    atRest(server);
    for (const limit of this.#options.shared) limit.used -= 1;
    const at = this.idle.indexOf(server);
    if (at !== -1) this.idle.splice(at, 1);
    this.recovering.delete(server);
    this.#options.log.debug('proxy.server-closed', { ...this.#names(), server: server.id, message: reason });
    this.#options.after(0, () => this.pump());
  }

  serverRecovered(server: ServerConnection): void {
    this.recovering.delete(server);
    server.unlink(this.turn.now());
    this.#free(server);
    atRest(server);
  }

  countReceived(bytes: number): void {
    this.stats.sentBytes += bytes;
  }

  /** Hands it to whoever waits longest, or keeps it. */
  #free(server: ServerConnection): void {
    if (this.surplus > 0) {
      this.surplus -= 1;
      server.shut('another worker needs the room');
      return;
    }
    if (server.doomed !== null || server.generation !== this.generation || this.paused) {
      server.shut(server.doomed ?? (this.paused ? 'paused' : 'reconnect'));
      return;
    }
    const head = this.#waiters[0];
    if (head !== undefined && head.startupKey === server.startupKey) {
      this.#waiters.shift();
      this.#grant(head, server);
      return;
    }
    this.idle.push(server);
    if (head !== undefined) this.pump();
  }

  #grant(waiter: Waiter, server: ServerConnection): void {
    waiter.waitingIn = null;
    this.stats.assignments += 1;
    this.#waited(waiter);
    waiter.granted(server);
  }

  /** A client that has its connection has waited for its tenant's turn. */
  waitedForTurn(waiter: Waiter): void {
    this.#waited(waiter);
  }

  #waited(waiter: Waiter): void {
    const waitedMs = this.turn.now() - waiter.waitingSince;
    waiter.waitingSince = 0;
    this.stats.waitMs += waitedMs;
    this.#options.waited(waitedMs);
  }

  /** The idle connection that suits best: same startup parameters, if possible with the settings already there. */
  #takeIdle(waiter: Waiter): ServerConnection | null {
    const { idle } = this;
    let found = -1;
    for (let at = idle.length - 1; at >= 0; at -= 1) {
      const server = idle[at] as ServerConnection;
      if (server.startupKey !== waiter.startupKey) continue;
      if (server.settings.key === waiter.settings.key) {
        found = at;
        break;
      }
      // Better one without settings than one that has to forget another client's.
      if (found === -1 || (server.settings.empty && !(idle[found] as ServerConnection).settings.empty)) found = at;
    }
    if (found === -1) return null;
    const server = idle[found] as ServerConnection;
    if (found === idle.length - 1) idle.pop();
    else idle.splice(found, 1);
    assert(server.quiet && server.client === null, 'an idle server connection is not at rest');
    return server;
  }

  /** Serves waiters as far as connections and limits allow. */
  pump(): void {
    if (this.#pumping || this.paused) return;
    this.#pumping = true;
    try {
      while (this.#waiters.length > 0) {
        const head = this.#waiters[0] as Waiter;
        const server = this.#takeIdle(head);
        if (server !== null) {
          this.#waiters.shift();
          this.#grant(head, server);
          continue;
        }
        if (!this.#openFor()) break;
      }
    } finally {
      this.#pumping = false;
    }
  }

  /** Starts one more login for the waiters when allowed. False when nothing more can be done now. */
  #openFor(): boolean {
    const waiter = this.#waiters[this.opening];
    if (waiter === undefined || this.opening >= OPENING_MAX || this.#retryPending) return false;
    if (!this.#hasRoom()) {
      // An idle connection of another bucket is worth less than the one that somebody waits for.
      const other = this.idle.shift();
      if (other !== undefined) {
        other.shut('another client needs other startup parameters');
        return true;
      }
      if (!this.#sharedRoom() && this.#sizeRoom() && this.#options.makeRoom(this)) return true;
      this.#options.starved?.();
      return false;
    }
    this.#open(waiter);
    return true;
  }

  #hasRoom(): boolean {
    return this.#sizeRoom() && this.#sharedRoom();
  }

  #sizeRoom(): boolean {
    const limits = this.#options.limits();
    const longest = this.#waiters[0];
    const waitedMs = longest === undefined ? 0 : this.turn.now() - longest.waitingSince;
    const size = limits.size + (limits.reserve > 0 && waitedMs >= limits.reserveAfterMs ? limits.reserve : 0);
    return this.servers.size + this.opening < size;
  }

  #sharedRoom(): boolean {
    for (const limit of this.#options.shared) if (!limit.free) return false;
    return true;
  }

  #open(waiter: Waiter): void {
    this.opening += 1;
    for (const limit of this.#options.shared) limit.used += 1;
    const { generation } = this;
    this.#options.open(waiter, this).then(
      (server) => {
        this.opening -= 1;
        server.generation = generation;
        this.servers.add(server);
        this.lastFailure = null;
        if (this.#lastWaiter?.startupKey !== waiter.startupKey) this.#lastWaiter = ahead(waiter);
        this.#backoff.reset();
        if (server.connection.closed) server.close();
        else this.#free(server);
        this.pump();
      },
      (error: unknown) => {
        this.opening -= 1;
        for (const limit of this.#options.shared) limit.used -= 1;
        this.#openFailed(waiter, error as Fault);
      },
    );
  }

  /** A wrong password is told at once, in the server's words; an unreachable server is tried again while the clients wait. */
  #openFailed(waiter: Waiter, fault: Fault): void {
    this.lastFailure = fault;
    if (!isRetryable(fault)) {
      this.#options.log.warn('proxy.server-login-failed', { ...this.#names(), message: fault.message });
      for (const one of this.#waiters.filter((other) => other.startupKey === waiter.startupKey)) {
        this.abandon(one);
        one.waitFailed(fault);
      }
      this.pump();
      return;
    }
    if (this.#retryPending) return;
    this.#retryPending = true;
    const waitMs = this.#backoff.next();
    this.#options.log.warn('proxy.server-unreachable', {
      ...this.#names(),
      retry_ms: Math.round(waitMs),
      message: fault.message,
    });
    this.#options.after(waitMs, () => {
      this.#retryPending = false;
      this.pump();
    });
  }

  /** Time-driven work: overdue waiters, idle and old connections, the reserve. */
  tick(now: number): void {
    const limits = this.#options.limits();
    if (limits.waitTimeoutMs > 0) {
      while (this.#waiters.length > 0) {
        const head = this.#waiters[0] as Waiter;
        if (now - head.waitingSince <= limits.waitTimeoutMs) break;
        this.#waiters.shift();
        const waitedMs = now - head.waitingSince;
        head.waitingIn = null;
        head.waitingSince = 0;
        head.waitFailed(this.#timeoutFault(waitedMs));
      }
    }
    for (const server of this.idle.slice()) {
      const old = now - server.createdAt > server.lifetimeMs && server.lifetimeMs > 0;
      const unused = limits.serverIdleTimeoutMs > 0 && now - server.lastUsedAt > limits.serverIdleTimeoutMs;
      if (old || (unused && this.servers.size > limits.sizeMin))
        server.shut(old ? 'server_lifetime' : 'server_idle_timeout');
    }
    for (const [server, deadline] of this.recovering)
      if (now > deadline) server.shut('could not be rolled back in time');
    this.pump();
    this.#openAhead(limits);
  }

  /** min_pool_size: connections for clients like the last one, before they are needed. */
  #openAhead(limits: PoolLimits): void {
    if (this.#lastWaiter === null || this.paused || this.#retryPending) return;
    // A password that is wrong is not right three times a second.
    if (this.lastFailure !== null && !isRetryable(this.lastFailure)) return;
    if (this.#waiters.length > 0 || this.surplus > 0) return;
    while (this.servers.size + this.opening < limits.sizeMin && this.opening < OPENING_MAX && this.#hasRoom()) {
      this.#open(this.#lastWaiter);
    }
  }

  /** Keeps min_pool_size connections with these startup parameters from now on, also when no client has come yet. */
  keepReady(like: Pick<Waiter, 'startupKey' | 'startupParameters'>): void {
    this.#lastWaiter ??= ahead(like);
  }

  /** When no server can be reached the reason is that, not a full pool. */
  #timeoutFault(waitedMs: number): Fault {
    return this.lastFailure !== null && this.servers.size === 0 ? this.lastFailure : waitTimeout(waitedMs);
  }

  /** Closes an idle connection, to make room elsewhere. */
  closeOneIdle(): boolean {
    const server = this.idle.shift();
    if (server === undefined) return false;
    server.shut('another pool needs the room');
    return true;
  }

  /** RECONNECT, or the place has another address now: idle connections close, others when they come back. */
  renew(reason: string): void {
    this.generation += 1;
    this.#backoff.reset();
    this.#retryPending = false;
    for (const server of this.idle.splice(0)) server.shut(reason);
    this.pump();
  }

  /** KILL: every connection, whatever runs on it. */
  closeAll(reason: string): void {
    this.generation += 1;
    for (const server of this.servers) {
      const { client } = server;
      server.client = null;
      server.shut(reason);
      client?.serverLost(server, reason, false);
    }
  }

  #names(): { database: string; user: string; place: string } {
    return { database: this.database, user: this.user, place: this.place };
  }
}

/** Stands for clients that may come. */
function ahead({ startupKey, startupParameters }: Pick<Waiter, 'startupKey' | 'startupParameters'>): Waiter {
  return {
    startupKey,
    startupParameters,
    settings: NO_SETTINGS,
    waitingIn: null,
    waitingSince: 0,
    granted: () => {},
    waitFailed: () => {},
  };
}
