// The proxy: clients on one side, pools of server connections on the other.
//
// Loops: the janitor (three times a second: timeouts, idle and old connections, waiting queues); one check per server of a
// database with several (topology.ts). Everything else happens when bytes arrive.

import { describeError, Fault } from '../base/fault.ts';
import type { Connection, Listener } from '../base/net.ts';
import { loop } from '../base/service.ts';
import { addressText, type ServerAddress, type Topology, type TopologySource } from '../contracts/topology.ts';
import type { Log } from '../observe/log.ts';
import type { Histogram, Metrics } from '../observe/metrics.ts';
import {
  PROXY_BYTES,
  PROXY_CLIENT_CONNECTIONS,
  PROXY_CLIENTS_WAITING,
  PROXY_QUERIES,
  PROXY_QUERY_SECONDS,
  PROXY_SERVER_CONNECTIONS,
  PROXY_TRANSACTIONS,
  PROXY_WAIT_SECONDS,
  PROXY_WAITING_BYTES,
} from '../observe/names.ts';
import { type ClientOptions as SessionOptions, login, type SessionWorld } from '../session/client-login.ts';
import { ClientSession, sendCancel } from '../session/client-session.ts';
import type { ConnectionTarget } from '../session/connection-string.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { Secret } from '../base/secret.ts';
import { Pacer } from '../session/pacer.ts';
import type { ScramKeys } from '../session/scram.ts';
import { encodeBackend, writeError, writeReadyForQuery } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { PROTOCOL_3_2 } from '../wire/startup.ts';
import { AdminSession, type AdminCommands } from './admin/session.ts';
import { ClientConnection, type ClientHost, type PoolMode } from './client.ts';
import type { DatabaseConfig, ProxyConfig } from './config.ts';
import { shuttingDown, tenantConnections } from './faults.ts';
import { decideByHba } from './hba.ts';
import { NO_FINGERPRINT } from './limits/fingerprint.ts';
import { Lane } from './limits/lane.ts';
import type { Tenant } from './limits/tenant.ts';
import { Tenants } from './limits/tenants.ts';
import { SharedListener } from './listener.ts';
import { acceptClient, type LoggedInClient, type LoginAttempt, type LoginDecision, type LoginHost } from './login.ts';
import { Pool, type PoolLimits, SharedLimit, type Waiter } from './pool.ts';
import { isProvablyRead, rememberWrite } from './reads.ts';
import { Reported, writeReportedChanges } from './reported.ts';
import { SecretStore } from './secrets.ts';
import { ServerConnection } from './server.ts';
import { NO_SETTINGS } from './settings.ts';
import { fingerprint } from './slow-log.ts';
import { StatementRegistry } from './statements.ts';
import { singleServer, StaticTopology } from './topology.ts';
import { TurnClock } from './turn-clock.ts';
import { type CancelKey, forwarded, makeCancelKey, routeOf, unforwarded } from './workers/cancel-key.ts';
import type { PlaceAmongWorkers } from './workers/messages.ts';
import type { Siblings } from './workers/siblings.ts';

/** A freed slot reaches a waiting client at once anyway; this is for timeouts, whose precision nobody notices. */
const JANITOR_MS = 333;

/** After a client has gone, its server connection gets this long to come to rest. */
const RECOVER_TIMEOUT_MS = 5_000;

/** Clients that may wait for one pool; beyond it they are told at once. */
const WAITERS_MAX = 100_000;

/** The database name of the admin console; PgBouncer's own name works too. */
export const ADMIN_DATABASES: ReadonlySet<string> = new Set(['skerry', 'pgbouncer']);

export interface ProxyWorld extends SessionWorld {
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ProxyOptions {
  readonly config: ProxyConfig;
  /** Topologies by database name, from the cluster manager; databases without one use their static list. */
  readonly topologies?: ReadonlyMap<string, TopologySource>;
  /** Reads the configuration anew, for RELOAD. Throws when it is not valid; then the old one stays. */
  readonly reload?: () => Promise<ProxyConfig>;
  readonly version: string;
  /** Called when the admin console asks to stop. */
  readonly stopRequested?: () => void;
  /** The other workers on the same port. */
  readonly siblings?: Siblings;
}

interface SharedStartup {
  readonly startupKey: string;
  readonly startupParameters: ReadonlyMap<string, string>;
}

/** What the proxy keeps for one database. */
export class DatabaseState {
  config: DatabaseConfig;
  readonly limit = new SharedLimit(0);
  topology: TopologySource;
  clients = 0;
  /** Logged in, and waiting for room. */
  knocking = 0;
  disabled = false;
  paused = false;
  /** Of the databases on the servers, once known: clients that ask for it by name and those that do not are the same then. */
  serverEncoding: string | null = null;
  /** Welcome parameters by startup key, so that a login need not wait for a server connection. */
  readonly welcome = new Map<string, Reported>();
  readonly querySeconds: Histogram;
  readonly waitSeconds: Histogram;
  watched: StaticTopology | null = null;

  constructor(config: DatabaseConfig, topology: TopologySource, metrics: Metrics) {
    this.config = config;
    this.topology = topology;
    this.querySeconds = metrics.histogram(PROXY_QUERY_SECONDS, { database: config.name });
    this.waitSeconds = metrics.histogram(PROXY_WAIT_SECONDS, { database: config.name });
  }
}

export class UserState {
  readonly name: string;
  readonly limit = new SharedLimit(0);
  clients = 0;
  /** Logged in, and waiting for room. */
  knocking = 0;
  /** What the last client of this name proved to know; good for the servers. */
  scramKeys: ScramKeys | null = null;
  password: string | null = null;

  constructor(name: string) {
    this.name = name;
  }
}

export class Proxy implements ClientHost, LoginHost {
  readonly world: SessionWorld;
  readonly log: Log;
  readonly turn: TurnClock;
  readonly statements = new StatementRegistry();
  readonly clients = new Set<ClientConnection>();
  readonly admins = new Set<AdminSession>();
  readonly pools = new Map<string, Pool>();
  readonly databases = new Map<string, DatabaseState>();
  readonly users = new Map<string, UserState>();
  readonly tenants: Tenants;
  readonly startedAt: number;
  readonly mockSecret: Uint8Array;
  readonly handshakes: Pacer;
  readonly version: string;
  config: ProxyConfig;
  state: 'running' | 'draining' | 'stopping' = 'running';
  /** PAUSE without a name: databases that are not known yet begin paused. */
  pausedAll = false;
  readonly siblings: Siblings | null;
  /** Connections ever accepted. */
  accepted = 0;
  waitingBytes = 0;

  readonly #options: ProxyOptions;
  readonly #metrics: Metrics;
  readonly #secrets: SecretStore;
  readonly #listeners = new Map<string, SharedListener>();
  readonly #byKey = new Map<string, ClientConnection>();
  readonly #ports: Listener[] = [];
  readonly #stop = new AbortController();
  /** Replication connections: one to one, no clients otherwise. */
  readonly #spliced = new Set<Connection>();
  #ids: number;
  #connected = 0;

  constructor(world: ProxyWorld, options: ProxyOptions) {
    this.world = world;
    this.log = world.log;
    this.turn = new TurnClock(world.clock);
    this.handshakes = new Pacer(world.clock, HANDSHAKES_PER_TURN);
    this.#metrics = world.metrics;
    this.#options = options;
    this.config = options.config;
    this.version = options.version;
    this.startedAt = world.clock.now();
    this.siblings = options.siblings ?? null;
    this.mockSecret = this.siblings?.mockSecret ?? world.random.bytes(32);
    this.pausedAll = this.siblings?.state().pausedAll ?? false;
    this.#ids = (this.siblings?.worker ?? 0) * IDS_PER_WORKER;
    this.tenants = new Tenants({
      random: world.random,
      log: world.log,
      metrics: world.metrics,
      now: () => this.turn.now(),
      after: (ms, task) => void world.clock.after(ms, task),
      config: options.config.tenants,
      waitTimeoutMs: () => this.config.queryWaitTimeoutMs,
      describe: fingerprint,
      shares: this.siblings?.shares ?? null,
      workers: () => Math.max(1, this.siblings?.place().count ?? 1),
    });
    this.#secrets = new SecretStore({
      clock: world.clock,
      log: world.log,
      config: () => this.config,
      connect: (database, user) => this.#authSession(database, user),
    });
  }

  get waitingBytesMax(): number {
    const { waitingBytesMax } = this.config;
    return this.siblings === null ? waitingBytesMax : waitingBytesMax / Math.max(1, this.siblings.place().count);
  }

  get loginTimeoutMs(): number {
    return this.config.clientLoginTimeoutMs;
  }

  get port(): number {
    return this.#ports[0]?.port ?? 0;
  }

  get readPort(): number {
    return this.#ports[1]?.port ?? 0;
  }

  /** Listens. Rejects when a port cannot be had. */
  async start(): Promise<void> {
    const { net } = this.world;
    const open = (port: number, readOnly: boolean): Promise<Listener> =>
      net.listen({
        host: this.config.host,
        port,
        sharePort: this.siblings !== null,
        accept: (connection) => this.#accept(connection, readOnly),
      });
    this.#ports.push(await open(this.config.port, false));
    if (this.config.readPort !== null) this.#ports.push(await open(this.config.readPort, true));
    for (const name of this.config.databases.keys()) if (name !== '*') this.#databaseOf(name);
    this.#metrics.gaugeOf(PROXY_CLIENT_CONNECTIONS, {}, () => this.clients.size);
    this.#metrics.gaugeOf(PROXY_WAITING_BYTES, {}, () => this.waitingBytes);
    this.#shareClients();
    this.#keepReady();
    const { signal } = this.#stop;
    void loop({ everyMs: JANITOR_MS, clock: this.world.clock, signal }, () => this.#tick());
  }

  /** Stops accepting, tells clients, closes server connections. */
  async stop(): Promise<void> {
    if (this.state === 'stopping') return;
    this.state = 'stopping';
    for (const port of this.#ports) port.stop();
    for (const client of this.clients) client.fail(shuttingDown());
    for (const connection of this.#spliced) connection.end();
    for (const admin of this.admins) admin.end();
    for (const pool of this.pools.values()) pool.closeAll('the proxy stops');
    for (const listener of this.#listeners.values()) listener.close();
    for (const database of this.databases.values()) database.watched?.stop();
    this.#stop.abort();
    await this.world.clock.sleep(1);
  }

  /** SHUTDOWN WAIT_FOR_CLIENTS: no new clients; stops when the last one has gone. */
  drain(): void {
    if (this.state !== 'running') return;
    this.state = 'draining';
    for (const port of this.#ports) port.stop();
  }

  /** New connections go to the listeners at these positions only; null = to all. False when the system cannot do that. */
  steer(positions: readonly number[] | null): boolean {
    return this.#ports.map((port) => port.steer(positions)).every(Boolean);
  }

  /** Clients, logins, replication connections, and admin consoles that wait for an answer. */
  get guests(): number {
    const consoles = [...this.admins].filter((one) => one.isBusy).length;
    return this.clients.size + this.#connected + this.#spliced.size + consoles;
  }

  // LoginHost

  tls(): ProxyConfig['tls'] {
    return this.config.tls;
  }

  async decide(attempt: LoginAttempt): Promise<LoginDecision> {
    const { authType, hba } = this.config;
    const method = authType === 'hba' ? decideByHba(hba, attempt) : authType;
    if (method === 'trust' || method === 'cert' || method === 'reject') {
      return { method, secret: this.config.users.get(attempt.user)?.secret ?? null };
    }
    const isAdmin = ADMIN_DATABASES.has(attempt.database);
    const database = isAdmin ? null : this.#configOf(attempt.database);
    return { method, secret: await this.#secrets.find(attempt.user, database) };
  }

  async cancelRequested(processId: number, secretKey: Uint8Array): Promise<void> {
    const inner = unforwarded(secretKey);
    const key: CancelKey = { processId, secretKey: inner ?? secretKey };
    const client = this.#byKey.get(keyText(key.processId, key.secretKey));
    if (client !== undefined) {
      client.cancel();
      return;
    }
    const { peerId } = this.config;
    const route = routeOf(key, peerId !== 0);
    if (route === null) return;
    if (route.host === peerId) {
      if (this.siblings !== null && route.worker !== this.siblings.worker)
        await this.siblings.cancel(route.worker, key);
    } else if (inner === null) await this.#cancelAtPeer(route.host, key);
  }

  /** A cancel request that a sibling has got. */
  cancelHere(key: CancelKey): void {
    this.#byKey.get(keyText(key.processId, key.secretKey))?.cancel();
  }

  async #cancelAtPeer(host: number, key: CancelKey): Promise<void> {
    const peer = this.config.peers.get(host);
    if (peer === undefined) return;
    const target: ConnectionTarget = {
      ...this.#target({ dbname: '', name: '' }, '', peer, null),
      sslMode: peer.sslMode,
      tls: peer.ca === '' ? {} : { ca: peer.ca },
    };
    const passedOn = { processId: key.processId, secretKey: forwarded(key.secretKey) };
    try {
      await sendCancel(this.world, { target }, peer, passedOn, peer.sslMode !== 'disable');
    } catch (error) {
      this.log.warn('proxy.peer-unreachable', { peer: host, server: addressText(peer), message: describeError(error) });
    }
  }

  async admitted(client: LoggedInClient): Promise<void> {
    if (ADMIN_DATABASES.has(client.database)) {
      this.#admitAdmin(client);
      return;
    }
    // One that a RELOAD has taken away may still have clients, but gets no new ones.
    const isConfigured = this.#configOf(client.database) !== null;
    const database = isConfigured ? this.#databaseOf(client.database) : null;
    if (database === null) {
      throw new Fault('database-unknown', {
        message: `database "${client.database}" does not exist`,
        hint: 'databases are named in the proxy section of the configuration',
        sqlstate: '3D000',
      });
    }
    if (database.disabled) {
      throw new Fault('database-disabled', {
        message: `database "${client.database}" is disabled`,
        hint: 'ENABLE it on the admin console',
        sqlstate: '57P03',
        retryable: true,
      });
    }
    const user = this.#userOf(client.user);
    if (client.scramKeys !== null) user.scramKeys = client.scramKeys;
    if (client.password !== null) user.password = client.password;
    await this.#admit(client, database, user);
    try {
      if (client.replication !== null && !/^(?:false|off|no|0|f|n)$/i.test(client.replication)) {
        await this.#admitReplication(client, database, user);
      } else await this.#admitClient(client, database, user);
    } catch (error) {
      this.#left(database, user);
      throw error;
    }
  }

  /** Counts one more client, or throws when there is no room. With several workers another one may have to give some first. */
  async #admit(client: LoggedInClient, database: DatabaseState, user: UserState): Promise<void> {
    const room = this.#hasRoom(database, user) || (await this.#roomFromSiblings(client, database, user));
    if (!room) throw tooManyClients();
    this.#entered += 1;
    database.clients += 1;
    user.clients += 1;
  }

  #left(database: DatabaseState, user: UserState): void {
    this.#entered -= 1;
    database.clients -= 1;
    user.clients -= 1;
  }

  async #roomFromSiblings({ connection }: LoggedInClient, database: DatabaseState, user: UserState): Promise<boolean> {
    if (this.siblings === null) return false;
    const knock = (by: 1 | -1): void => {
      user.knocking += by;
      database.knocking += by;
      this.#knocking += by;
    };
    const until = this.now() + ADMIT_WAIT_MS;
    knock(1);
    for (const key of clientLimitKeys(database.config.name, user.name)) this.siblings.shares.moved(key);
    let room = false;
    while (!room && this.now() < until && !connection.closed) {
      await this.world.clock.sleep(ADMIT_LOOK_MS);
      room = this.#hasRoom(database, user);
    }
    knock(-1);
    return room;
  }

  #hasRoom(database: DatabaseState, user: UserState): boolean {
    const [all, perDatabase, perUser] = clientLimitKeys(database.config.name, user.name);
    const room = (key: string, max: number, used: number): boolean =>
      max === 0 || used < (this.siblings === null ? max : this.siblings.shares.of(key));
    return (
      room(perUser, this.config.users.get(user.name)?.clientConnectionsMax ?? 0, user.clients) &&
      room(perDatabase, database.config.clientConnectionsMax ?? 0, database.clients) &&
      room(all, this.config.clientConnectionsMax, this.#entered)
    );
  }

  /** Clients that are in, and those whose login has got this far. */
  #entered = 0;
  #knocking = 0;

  #shareClients(): void {
    this.siblings?.shares.add('clients', {
      total: () => this.config.clientConnectionsMax,
      used: () => this.#entered,
      wanted: () => this.#entered + this.#knocking,
    });
  }

  async #admitClient(login: LoggedInClient, database: DatabaseState, user: UserState): Promise<void> {
    const applicationName = login.settings.get('application_name') ?? '';
    const tenant = this.#tenantOf(login.database, login.user, applicationName);
    const { connection } = login;
    const room = this.tenants.hasRoom(tenant) || (await this.#tenantRoomFromSiblings(tenant, connection));
    if (!room) throw tenantConnections(tenant.name, tenant.limits.maxConnections);
    // Logins count from here on: many at once must not all see the same last place.
    tenant.clients += 1;
    try {
      await this.#enter(login, database, user, tenant);
    } catch (error) {
      tenant.clients -= 1;
      throw error;
    }
  }

  async #tenantRoomFromSiblings(tenant: Tenant, connection: Connection): Promise<boolean> {
    if (this.siblings === null) return false;
    const until = this.now() + ADMIT_WAIT_MS;
    this.tenants.knocks(tenant, 1);
    let room = false;
    while (!room && this.now() < until && !connection.closed) {
      await this.world.clock.sleep(ADMIT_LOOK_MS);
      room = this.tenants.hasRoom(tenant);
    }
    this.tenants.knocks(tenant, -1);
    return room;
  }

  async #enter(login: LoggedInClient, database: DatabaseState, user: UserState, tenant: Tenant): Promise<void> {
    const { connection, settings } = login;
    const applicationName = settings.get('application_name') ?? '';
    settings.delete('application_name');
    for (const name of this.config.ignoreStartupParameters) settings.delete(name);
    const startupKey = this.#startupKey(settings, database);
    const mode = this.#modeOf(database, login.user);
    const readOnlyPort = this.#readOnlyConnections.has(connection);
    let server: ServerConnection | null = null;
    let reported = database.welcome.get(startupKey);
    if (mode === 'session' || reported === undefined) {
      const pool = this.#poolFor(database, login.user, readOnlyPort ? this.#replicaPlace(database, 0n) : 'primary');
      server = await this.#serverForLogin(pool, startupKey, settings, connection);
      reported = server.reported;
      this.#learn(database, startupKey, reported);
      if (mode !== 'session') {
        pool.release(server);
        server = null;
      }
    }
    if (connection.closed) {
      // Its close has been told already and would never give back what a client has.
      if (server !== null) (server.owner as Pool).release(server);
      throw leftDuringLogin();
    }
    const { processId, secretKey } = this.#cancelKey(server, login.protocolVersion);
    const told = applicationName === '' ? reported : reported.with('application_name', applicationName);
    const client = new ClientConnection({
      id: (this.#ids += 1),
      host: this,
      connection,
      // Texts and parameters that all clients of a kind share: ten thousand idle ones must cost little.
      user: user.name,
      database: database.config.name,
      mode,
      applicationName,
      ...this.#sharedStartup(startupKey, settings),
      reported: told,
      preparedMax: this.config.preparedMax,
      processId,
      secretKey,
      readOnlyPort,
      tenant,
    });
    this.clients.add(client);
    this.#byKey.set(keyText(processId, secretKey), client);
    connection.handler = client;
    const { writer } = login;
    writeReportedChanges(writer, Reported.none, told);
    encodeBackend(writer, { tag: 'backendKeyData', processId, secretKey });
    writeReadyForQuery(writer, 'I');
    connection.write(writer.take());
    if (server !== null) client.adopt(server);
    connection.resume();
    if (login.rest.length > 0) client.data(login.rest);
    const statsPool = this.pools.get(poolKey(database.config.name, login.user, 'primary'));
    if (statsPool !== undefined) statsPool.stats.logins += 1;
  }

  /** Waits in the pool's queue like a client, and notices when the client leaves meanwhile. */
  #serverForLogin(
    pool: Pool,
    startupKey: string,
    startupParameters: ReadonlyMap<string, string>,
    connection: Connection,
  ): Promise<ServerConnection> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        startupKey,
        startupParameters,
        settings: NO_SETTINGS,
        waitingIn: null,
        waitingSince: 0,
        granted: (server) => {
          if (connection.closed) {
            pool.release(server);
            reject(leftDuringLogin());
          } else resolve(server);
        },
        waitFailed: (fault) => reject(fault),
      };
      const server = pool.acquire(waiter);
      if (server instanceof Fault) reject(server);
      else if (server !== null) resolve(server);
    });
  }

  #learn(database: DatabaseState, startupKey: string, reported: Reported): void {
    database.serverEncoding = reported.values.get('server_encoding') ?? null;
    if (database.welcome.size > WELCOMES_MAX) database.welcome.clear();
    database.welcome.set(startupKey, reported.with('application_name', ''));
  }

  #sharedStartup(startupKey: string, startupParameters: ReadonlyMap<string, string>): SharedStartup {
    // The key leaves out an encoding that is believed to be the default; who asked for it by name must keep it.
    const name = `${startupKey}\0\0${startupParameters.get('client_encoding') ?? ''}`;
    const known = this.#startups.get(name);
    if (known !== undefined) return known;
    if (this.#startups.size >= WELCOMES_MAX) this.#startups.clear();
    const shared = { startupKey, startupParameters };
    this.#startups.set(name, shared);
    return shared;
  }

  readonly #startups = new Map<string, SharedStartup>();

  /** Settings that make a bucket, in one text. UTF8 asked for by name is the same as UTF8 by default. */
  #startupKey(settings: Map<string, string>, database: DatabaseState): string {
    const encoding = settings.get('client_encoding');
    let isDefault = false;
    if (encoding !== undefined) {
      const canonical = encoding.replaceAll(/[^a-z0-9]/gi, '').toUpperCase();
      if (/^(?:UTF8|UNICODE)$/.test(canonical)) settings.set('client_encoding', 'UTF8');
      isDefault = settings.get('client_encoding') === (database.serverEncoding ?? 'UTF8');
    }
    return [...settings]
      .filter(([name]) => !(isDefault && name === 'client_encoding'))
      .map(([name, value]) => `${name}\0${value}`)
      .sort()
      .join('\0\0');
  }

  #modeOf(database: DatabaseState, user: string): PoolMode {
    return this.config.users.get(user)?.poolMode ?? database.config.poolMode ?? this.config.poolMode;
  }

  /** In session mode the server's own process id, so that pg_stat_activity and tests find the session. */
  #cancelKey(server: ServerConnection | null, protocolVersion: number): CancelKey {
    const route = { host: this.config.peerId, worker: this.siblings?.worker ?? 0 };
    const how = { processId: server?.processId ?? null, long: protocolVersion >= PROTOCOL_3_2 };
    for (;;) {
      const key = makeCancelKey(this.world.random, route, how);
      if (!this.#byKey.has(keyText(key.processId, key.secretKey))) return key;
    }
  }

  #admitAdmin(login: LoggedInClient): void {
    const { adminUsers, statsUsers, authType } = this.config;
    const isAdmin =
      adminUsers.includes(login.user) || (login.isLoopback && authType === 'trust' && adminUsers.length === 0);
    if (!isAdmin && !statsUsers.includes(login.user)) {
      throw new Fault('login-rejected', {
        message: `user "${login.user}" may not use the admin console`,
        hint: 'name the user in admin_users or stats_users',
        sqlstate: '28000',
      });
    }
    const admin = new AdminSession({
      proxy: this,
      connection: login.connection,
      user: login.user,
      commands: this.#adminCommands,
      mayChange: isAdmin,
      closed: () => this.admins.delete(admin),
    });
    this.admins.add(admin);
    admin.start(login.writer, login.rest);
  }

  get #adminCommands(): AdminCommands {
    return {
      reload: () => this.reload(),
      stop: () => (this.#options.stopRequested === undefined ? void this.stop() : this.#options.stopRequested()),
    };
  }

  /** Replication connections are one to one: bytes go through unread, with a cancel key of the server's own. */
  async #admitReplication(login: LoggedInClient, database: DatabaseState, user: UserState): Promise<void> {
    const server = await this.#loginTo(database, login.user, 'primary', login.settings, login.replication);
    const { connection } = login;
    const upstream = server.connection;
    if (connection.closed) {
      upstream.end();
      throw leftDuringLogin();
    }
    const { writer } = login;
    for (const [name, value] of server.parameters) encodeBackend(writer, { tag: 'parameterStatus', name, value });
    if (server.backendKey !== null) encodeBackend(writer, { tag: 'backendKeyData', ...server.backendKey });
    writeReadyForQuery(writer, 'I');
    connection.write(writer.take());
    this.#spliced.add(connection);
    splice(connection, upstream, () => {
      if (this.#spliced.delete(connection)) this.#left(database, user);
    });
    const early = server.reader.takeRest();
    if (early.length > 0) connection.write(early);
    if (login.rest.length > 0) upstream.write(login.rest);
    connection.resume();
  }

  // ClientHost

  now(): number {
    return this.turn.now();
  }

  acquire(client: ClientConnection, read: boolean): ServerConnection | Fault | null {
    client.wantsRead = read;
    if (!read && !client.readOnlyPort) {
      const pool = this.#primaryPool(client);
      const lane = (client.primaryLane ??= this.tenants.lane(client.tenant, pool.backend));
      return this.#turnOf(client, pool, lane);
    }
    const database = this.databases.get(client.database) as DatabaseState;
    const pool = this.#poolFor(database, client.user, this.#replicaPlace(database, client.wroteAt));
    return this.#turnOf(client, pool, this.tenants.lane(client.tenant, pool.backend));
  }

  /** A server connection when its tenant may run one more; else it waits for the turn, or is told why it may not. */
  #turnOf(client: ClientConnection, pool: Pool, lane: Lane): ServerConnection | Fault | null {
    // Who waits for RESUME uses nothing that others could use.
    if (pool.paused) return pool.acquire(client);
    const now = this.turn.now();
    if (lane.tryEnter(now)) {
      client.permit = lane;
      client.isAtWork = true;
      client.permitQueries = 0;
      const server = pool.acquire(client);
      if (server instanceof Fault) this.rested(client);
      return server;
    }
    return this.#waitForTurn(client, pool, lane, now);
  }

  #waitForTurn(client: ClientConnection, pool: Pool, lane: Lane, now: number): Fault | null {
    const fault = lane.wait(client, now);
    if (fault !== null) return fault;
    client.waitingIn = lane;
    client.wantedPool = pool;
    pool.held += 1;
    return null;
  }

  admit(client: ClientConnection): true | Fault | null {
    const pool = client.server?.owner as Pool;
    const lane = this.tenants.lane(client.tenant, pool.backend);
    const now = this.turn.now();
    if (!lane.tryEnter(now)) return this.#waitForTurn(client, pool, lane, now);
    client.permit = lane;
    client.isAtWork = true;
    client.permitQueries = 0;
    return true;
  }

  permitted(client: ClientConnection): void {
    const pool = this.#noLongerHeld(client);
    const { server } = client;
    if (server !== null) {
      // Session mode or pinned: the connection is there.
      (server.owner as Pool).waitedForTurn(client);
      client.goOn();
      return;
    }
    if (pool.paused) this.rested(client);
    const taken = this.#isUsable(pool) ? pool.acquire(client) : this.#acquireElsewhere(client);
    if (taken instanceof Fault) client.waitFailed(taken);
    else if (taken !== null) client.granted(taken);
  }

  /** Whether the place of a pool still is one. */
  #isUsable(pool: Pool): boolean {
    if (pool.place === 'primary') return true;
    const replicas = this.databases.get(pool.database)?.topology.current().replicas ?? [];
    return replicas.some((one) => addressText(one) === pool.place);
  }

  #acquireElsewhere(client: ClientConnection): ServerConnection | Fault | null {
    this.rested(client);
    return this.acquire(client, client.wantsRead);
  }

  refused(client: ClientConnection, fault: Fault): void {
    this.#noLongerHeld(client);
    client.waitFailed(fault);
  }

  #noLongerHeld(client: ClientConnection): Pool {
    const pool = client.wantedPool as Pool;
    client.wantedPool = null;
    client.waitingIn = null;
    pool.held -= 1;
    return pool;
  }

  rested(client: ClientConnection): void {
    const { permit, isAtWork } = client;
    if (permit === null) return;
    client.permit = null;
    client.isAtWork = false;
    permit.leave(this.turn.now(), isAtWork);
  }

  /** PAUSE: those who wait for a connection give their permissions back; they ask again after RESUME. */
  pausePool(pool: Pool): void {
    pool.paused = true;
    for (const waiter of pool.waiters) if (waiter instanceof ClientConnection) this.rested(waiter);
    pool.renew('PAUSE');
  }

  resumePool(pool: Pool): void {
    pool.paused = false;
    this.#askAgain(pool, () => pool);
    pool.pump();
  }

  /** In the order in which they came, those who wait in a pool ask anew, perhaps in another. */
  #askAgain(from: Pool, poolOf: (waiter: Waiter) => Pool): void {
    for (const waiter of from.takeWaiters()) {
      if (waiter instanceof ClientConnection) this.rested(waiter);
      const pool = poolOf(waiter);
      const server =
        waiter instanceof ClientConnection
          ? this.#turnOf(waiter, pool, this.tenants.lane(waiter.tenant, pool.backend))
          : pool.acquire(waiter);
      if (server instanceof Fault) waiter.waitFailed(server);
      else if (server !== null) waiter.granted(server);
    }
  }

  /** The tenant of a client, which counts the pool among those that it may use. */
  #tenantOf(name: string, user: string, applicationName: string): Tenant {
    const tenant = this.tenants.of(name, user, applicationName);
    const database = this.databases.get(name);
    if (database !== undefined) {
      tenant.uses(
        `${name}/${user}`,
        () => this.#sizeOf(database, user) + (database.config.reservePoolSize ?? this.config.reservePoolSize),
      );
    }
    return tenant;
  }

  #primaryPool(client: ClientConnection): Pool {
    const known = client.primaryPool;
    if (known instanceof Pool) return known;
    const pool = this.#poolFor(this.databases.get(client.database) as DatabaseState, client.user, 'primary');
    client.primaryPool = pool;
    return pool;
  }

  release(client: ClientConnection, server: ServerConnection): void {
    const pool = server.owner as Pool;
    pool.stats.transactions += 1;
    pool.stats.transactionMs += this.now() - server.linkedAt;
    pool.release(server);
    client.activeAt = this.now();
    this.rested(client);
  }

  reclaim(server: ServerConnection): boolean {
    return (server.owner as Pool).reclaim(server);
  }

  abandon(client: ClientConnection): void {
    const { waitingIn } = client;
    if (waitingIn instanceof Lane) {
      this.#noLongerHeld(client);
      waitingIn.abandon(client, this.turn.now());
    } else (waitingIn as Pool | null)?.abandon(client);
    this.rested(client);
  }

  vanished(client: ClientConnection, server: ServerConnection | null): void {
    if (!this.clients.delete(client)) return;
    this.#byKey.delete(keyText(client.processId, client.secretKey));
    const database = this.databases.get(client.database);
    if (database !== undefined) this.#left(database, this.#userOf(client.user));
    client.tenant.clients -= 1;
    if (server === null || server.state === 'closed') this.rested(client);
    else server.onRest = () => this.rested(client);
    if (server !== null) {
      if (client.exclusive && this.config.serverReset === 'close') server.doomed ??= 'server_reset is close';
      (server.owner as Pool).recover(server);
    }
  }

  cancel(server: ServerConnection): void {
    const database = this.databases.get((server.owner as Pool).database);
    if (database === undefined) return;
    server.cancels += 1;
    const host = { host: server.host, port: server.port };
    const options = { target: this.#target(database.config, '', host, null) };
    const key = { processId: server.processId, secretKey: server.secretKey };
    const ended = (): void => server.cancelEnded();
    sendCancel(this.world, options, host, key, server.connection.tls !== null).then(ended, ended);
  }

  heardAll(client: ClientConnection): Promise<void> {
    return this.#listeners.get(`${client.database}\0${client.user}`)?.caughtUp() ?? Promise.resolve();
  }

  listen(client: ClientConnection, channels: readonly string[]): Promise<void> {
    const key = `${client.database}\0${client.user}`;
    let listener = this.#listeners.get(key);
    if (listener === undefined) {
      const database = this.databases.get(client.database) as DatabaseState;
      listener = new SharedListener({
        clock: this.world.clock,
        random: this.world.random,
        log: this.log,
        connect: () => this.#control(database, client.user, 'primary'),
      });
      this.#listeners.set(key, listener);
    }
    return listener.set(client, channels);
  }

  queryDone(client: ClientConnection, server: ServerConnection, workMs: number): void {
    const pool = server.owner as Pool;
    const { stats } = pool;
    stats.queries += 1;
    const ms = this.now() - client.queryStartedAt;
    stats.queryMs += ms;
    this.databases.get(client.database)?.querySeconds.observe(ms / 1000);
    this.#countForTenant(client, workMs);
    const { slowQueryMs } = this.config;
    if (slowQueryMs > 0 && ms >= slowQueryMs) {
      this.log.warn('proxy.slow-query', {
        database: client.database,
        user: client.user,
        tenant: client.tenant.name,
        server: addressText(server),
        ms: Math.round(ms),
        message: fingerprint(client.lastText),
      });
    }
  }

  #countForTenant(client: ClientConnection, workMs: number): void {
    const { tenant, permit, measuredFingerprint } = client;
    tenant.queryDone(workMs);
    if (permit === null) return;
    client.permitQueries += 1;
    // The first has taken its token when it was let in.
    if (tenant.bucket !== null && client.permitQueries > 1) tenant.bucket.take(this.turn.now());
    if (measuredFingerprint !== NO_FINGERPRINT) {
      permit.sample(measuredFingerprint, workMs, client.lastText, this.turn.now());
    }
  }

  countReceived(client: ClientConnection, bytes: number): void {
    const pool = client.server?.owner as Pool | undefined;
    if (pool !== undefined) pool.stats.receivedBytes += bytes;
  }

  readonly splitsReads = (client: ClientConnection): boolean =>
    this.databases.get(client.database)?.config.splitReads === true && !client.readOnlyPort;

  tracksWrites(client: ClientConnection, server: ServerConnection): boolean {
    const database = this.databases.get(client.database);
    if (database?.config.readYourWrites !== 'session' || (server.owner as Pool).place !== 'primary') return false;
    return database.topology.current().replicas.length > 0;
  }

  isRead(text: string): boolean {
    return isProvablyRead(text);
  }

  wasWrite(text: string): void {
    rememberWrite(text);
  }

  isReplica(server: ServerConnection): boolean {
    return (server.owner as Pool).place !== 'primary';
  }

  // Pools and places.

  #poolFor(database: DatabaseState, user: string, place: string): Pool {
    const key = poolKey(database.config.name, user, place);
    const known = this.pools.get(key);
    if (known !== undefined) return known;
    const limitKeys = [`pool:${key}`, `reserve:${key}`, `db:${database.config.name}`, `user:${user}`] as const;
    const pool = new Pool({
      database: database.config.name,
      user,
      place,
      backend: this.tenants.backend(backendName(database.config, place)),
      statements: this.statements,
      random: this.world.random,
      log: this.log,
      turn: this.turn,
      after: (ms, task) => void this.world.clock.after(ms, task),
      limits: () => this.#limitsOf(database, user, key, limitKeys[0]),
      shared: [database.limit, this.#userOf(user).limit],
      open: (waiter, of) => this.#open(database, of, waiter),
      makeRoom: (of) => this.#makeRoom(of),
      cancel: (server) => this.cancel(server),
      waited: (ms) => database.waitSeconds.observe(ms / 1000),
      ...(this.siblings === null ? {} : { starved: () => this.#starved(limitKeys) }),
    });
    const labels = { database: database.config.name, user, place };
    this.#metrics.gaugeOf(PROXY_SERVER_CONNECTIONS, { ...labels, state: 'active' }, () => pool.active);
    this.#metrics.gaugeOf(PROXY_SERVER_CONNECTIONS, { ...labels, state: 'idle' }, () => pool.idle.length);
    this.#metrics.gaugeOf(PROXY_CLIENTS_WAITING, labels, () => pool.waiting);
    this.#metrics.counterOf(PROXY_QUERIES, labels, () => pool.stats.queries);
    this.#metrics.counterOf(PROXY_TRANSACTIONS, labels, () => pool.stats.transactions);
    this.#metrics.counterOf(PROXY_BYTES, { ...labels, direction: 'received' }, () => pool.stats.receivedBytes);
    this.#metrics.counterOf(PROXY_BYTES, { ...labels, direction: 'sent' }, () => pool.stats.sentBytes);
    pool.paused = database.paused;
    this.pools.set(key, pool);
    this.siblings?.shares.add(`pool:${key}`, {
      total: () => this.#sizeOf(database, user),
      used: () => pool.servers.size + pool.opening,
      wanted: () => wantedOf(pool, this.#sizeMinOf(database)),
    });
    this.siblings?.shares.add(`reserve:${key}`, {
      total: () => database.config.reservePoolSize ?? this.config.reservePoolSize,
      used: () => this.#reserveUsed(key, pool),
      wanted: () => this.#reserveUsed(key, pool) + this.#overdue(pool),
    });
    return pool;
  }

  #sizeOf(database: DatabaseState, user: string): number {
    return this.config.users.get(user)?.poolSize ?? database.config.poolSize ?? this.config.poolSize;
  }

  // Limits that several workers share.

  #sizeMinOf(database: DatabaseState): number {
    const sizeMin = database.config.poolSizeMin ?? this.config.poolSizeMin;
    return this.siblings === null ? sizeMin : partOf(sizeMin, this.siblings.place());
  }

  #reserveOf(database: DatabaseState, key: string): number {
    const reserve = database.config.reservePoolSize ?? this.config.reservePoolSize;
    return reserve === 0 || this.siblings === null ? reserve : this.#share(`reserve:${key}`);
  }

  #reserveUsed(key: string, pool: Pool): number {
    return Math.max(0, pool.servers.size + pool.opening - this.#share(`pool:${key}`));
  }

  /** Clients that wait so long that the reserve is for them. */
  #overdue(pool: Pool): number {
    const longest = pool.waiters[0];
    const isOverdue = longest !== undefined && this.now() - longest.waitingSince >= this.config.reservePoolTimeoutMs;
    return isOverdue ? pool.waiting : 0;
  }

  /** What this worker may use of a limit. */
  #share(key: string): number {
    return this.siblings?.shares.of(key) ?? Number.POSITIVE_INFINITY;
  }

  /** Called whenever somebody has to wait, so only what others could give is asked for. */
  #starved(limitKeys: readonly string[]): void {
    const { shares } = this.siblings as Siblings;
    for (const key of limitKeys) if (shares.mayGrow(key)) shares.moved(key);
  }

  #poolsOf(of: 'database' | 'user', name: string): Pool[] {
    return [...this.pools.values()].filter((pool) => pool[of] === name);
  }

  #shareLimit(key: string, limit: SharedLimit, pools: () => readonly Pool[]): void {
    this.siblings?.shares.add(key, {
      total: () => limit.max,
      used: () => limit.used,
      wanted: () => {
        let wanted = 0;
        for (const pool of pools()) wanted += Math.min(wantedOf(pool, 0), this.#sizeOfPool(pool));
        return wanted;
      },
    });
  }

  #sizeOfPool(pool: Pool): number {
    return this.#sizeOf(this.databases.get(pool.database) as DatabaseState, pool.user);
  }

  /** Shares have changed: what is larger can be used now, what is smaller is given back. */
  sharesChanged(): void {
    this.tenants.sharesChanged();
    this.#shrink();
    for (const pool of this.pools.values()) pool.pump();
  }

  /** Idle connections beyond a share are closed, others when their clients have finished; nothing is cut off. */
  #shrink(): void {
    for (const [key, pool] of this.pools) {
      const database = this.databases.get(pool.database) as DatabaseState;
      const allowed = this.#share(`pool:${key}`) + this.#reserveOf(database, key);
      pool.surplus = Math.max(0, pool.servers.size + pool.opening - allowed);
    }
    for (const [name, { limit }] of this.databases) {
      limit.share = this.#share(`db:${name}`);
      this.#spread(limit, 'database', name);
    }
    for (const [name, { limit }] of this.users) {
      limit.share = this.#share(`user:${name}`);
      this.#spread(limit, 'user', name);
    }
    for (const pool of this.pools.values()) {
      while (pool.surplus > 0 && pool.closeOneIdle()) pool.surplus -= 1;
    }
  }

  /** Makes its pools give up what a limit is over its share, those with most to spare first. */
  #spread(limit: SharedLimit, of: 'database' | 'user', name: string): void {
    if (limit.used <= limit.share) return;
    const pools = this.#poolsOf(of, name);
    let over = limit.used - limit.share - pools.reduce((sum, pool) => sum + pool.surplus, 0);
    for (const pool of pools.sort((a, b) => b.idle.length - a.idle.length || b.servers.size - a.servers.size)) {
      if (over <= 0) return;
      const more = Math.min(over, pool.servers.size - pool.surplus);
      pool.surplus += Math.max(0, more);
      over -= Math.max(0, more);
    }
  }

  #limitsOf(database: DatabaseState, user: string, key: string, sizeKey: string): PoolLimits {
    const { config } = this;
    return {
      size: this.siblings !== null ? this.#share(sizeKey) : this.#sizeOf(database, user),
      sizeMin: this.#sizeMinOf(database),
      reserve: this.#reserveOf(database, key),
      reserveAfterMs: config.reservePoolTimeoutMs,
      waitTimeoutMs: config.queryWaitTimeoutMs,
      waitersMax: WAITERS_MAX,
      serverIdleTimeoutMs: config.serverIdleTimeoutMs,
      serverLifetimeMs: config.serverLifetimeMs,
      recoverTimeoutMs: RECOVER_TIMEOUT_MS,
    };
  }

  #makeRoom(asking: Pool): boolean {
    for (const pool of this.pools.values()) {
      if (pool === asking || (pool.database !== asking.database && pool.user !== asking.user)) continue;
      if (pool.closeOneIdle()) return true;
    }
    return false;
  }

  /** Nearest, then least busy, among replicas that are near enough to the primary; the primary when there is none. */
  #replicaPlace(database: DatabaseState, wroteAt: bigint): string {
    const { lagBytesLow, lagBytesMax } = this.config;
    const usable = database.topology
      .current()
      .replicas.filter(
        (one) => (one.lagBytes ?? 0) <= lagBytesMax && (wroteAt === 0n || (one.replayedLsn ?? 0n) >= wroteAt),
      );
    const near = usable.filter((one) => (one.lagBytes ?? 0) <= lagBytesLow);
    const tier = near.length > 0 ? near : usable;
    if (tier.length === 0) return 'primary';
    // Replicas within a few milliseconds of each other are equally near: the load decides.
    const nearest = Math.min(...tier.map((one) => one.roundTripMs));
    let best = '';
    let bestBusy = Number.POSITIVE_INFINITY;
    for (const one of tier) {
      if (one.roundTripMs > nearest + SAME_DISTANCE_MS) continue;
      const place = addressText(one);
      const busy = this.#busyOf(database.config.name, place);
      if (busy < bestBusy) [best, bestBusy] = [place, busy];
    }
    return best;
  }

  #busyOf(database: string, place: string): number {
    let busy = 0;
    for (const pool of this.pools.values()) {
      if (pool.database === database && pool.place === place) busy += pool.active + pool.waiting;
    }
    return busy;
  }

  async #open(database: DatabaseState, pool: Pool, waiter: Waiter): Promise<ServerConnection> {
    const startedAt = this.now();
    const loggedIn = await this.#loginTo(database, pool.user, pool.place, waiter.startupParameters, null);
    if (pool.place === 'primary' && this.#hasChoice(database) && loggedIn.parameters.get('in_hot_standby') === 'on') {
      loggedIn.connection.end();
      throw new Fault('server-unavailable', {
        message: `${addressText(loggedIn.host)} was taken for the primary of database "${database.config.name}" and is a standby`,
        hint: 'a failover is under way, or the topology is wrong',
        sqlstate: '08001',
        retryable: true,
      });
    }
    const encoding = loggedIn.parameters.get('server_encoding');
    const jitter = 0.9 + this.world.random.float() * 0.2;
    const server = new ServerConnection({
      id: (this.#ids += 1),
      owner: pool,
      connection: loggedIn.connection,
      processId: loggedIn.backendKey?.processId ?? 0,
      secretKey: loggedIn.backendKey?.secretKey ?? new Uint8Array(4),
      host: loggedIn.host.host,
      port: loggedIn.host.port,
      startupKey: waiter.startupKey,
      applicationName: '',
      reported: Reported.of(loggedIn.parameters),
      now: this.now(),
      // One that was opened for UTF8 in the belief that this is the database's encoding serves its client and nobody else.
      lifetimeMs:
        encoding !== 'UTF8' && waiter.startupParameters.get('client_encoding') === 'UTF8'
          ? 1
          : this.config.serverLifetimeMs * jitter,
    });
    const early = loggedIn.reader.takeRest();
    if (early.length > 0) server.data(early);
    database.serverEncoding ??= encoding ?? null;
    this.log.debug('proxy.server-opened', {
      database: pool.database,
      user: pool.user,
      server: addressText(loggedIn.host),
      ms: Math.round(this.now() - startedAt),
    });
    return server;
  }

  /** A single server is used for what it is; where there are several, the primary must be one: nothing is sent to a standby in its place. */
  #hasChoice(database: DatabaseState): boolean {
    const { topologies } = this.#options;
    return database.watched !== null || topologies?.has(database.config.name) === true || topologies?.has('*') === true;
  }

  async #loginTo(
    database: DatabaseState,
    user: string,
    place: string,
    settings: ReadonlyMap<string, string>,
    replication: string | null,
  ): ReturnType<typeof login> {
    const address = this.#addressOf(database, place);
    const { options, fromClient } = this.#sessionOptions(database, user, address, settings, replication);
    try {
      return await login(this.world, options);
    } catch (error) {
      if (fromClient && error instanceof Fault && error.code === 'password-wrong') {
        const known = this.#userOf(user);
        // Another client has proved to know the new password meanwhile.
        if (known.scramKeys !== null && known.scramKeys !== options.scramKeys) {
          return await this.#loginTo(database, user, place, settings, replication);
        }
        // The server knows another secret: what a client proved, and what auth_query said, is of no use any more.
        known.scramKeys = null;
        known.password = null;
        this.#secrets.forgetUser(user);
      }
      throw error;
    }
  }

  #addressOf(database: DatabaseState, place: string): ServerAddress {
    const topology = database.topology.current();
    if (place !== 'primary') {
      const replica = topology.replicas.find((one) => addressText(one) === place);
      if (replica !== undefined) return replica;
    }
    if (topology.primary !== null && place === 'primary') return topology.primary;
    throw new Fault('server-unavailable', {
      message: `no ${place === 'primary' ? 'primary' : `replica ${place}`} for database "${database.config.name}": ${topology.sentence}`,
      hint: 'check the servers named in the configuration',
      sqlstate: '08001',
      retryable: true,
    });
  }

  #sessionOptions(
    database: Pick<DatabaseState, 'config'>,
    user: string,
    address: ServerAddress,
    settings: ReadonlyMap<string, string>,
    replication: string | null,
  ): { options: SessionOptions; fromClient: boolean } {
    const { config } = database;
    const serverUser = config.user === '' ? user : config.user;
    const known = this.#userOf(user);
    const configured = config.user === '' ? (this.config.users.get(user)?.secret ?? null) : config.password;
    const plain =
      configured !== null && configured !== '' && !/^(?:md5[0-9a-f]{32}|SCRAM-SHA-256\$.*)$/.test(configured)
        ? configured
        : null;
    const password = plain ?? (config.user === '' ? known.password : null);
    const scramKeys = password === null && config.user === '' ? known.scramKeys : null;
    return {
      fromClient: plain === null,
      options: {
        target: this.#target(config, serverUser, address, password),
        parameters: { client_encoding: '', ...Object.fromEntries(settings) },
        serverMajorMin: 0,
        allowCleartext: address.host.startsWith('/') || /^(?:127\.|::1$|localhost$)/.test(address.host),
        ...(scramKeys === null ? {} : { scramKeys }),
        ...(replication === null
          ? {}
          : { replication: replication.toLowerCase() === 'database' ? 'database' : 'true' }),
      },
    };
  }

  #target(
    database: Pick<DatabaseConfig, 'name' | 'dbname'>,
    user: string,
    address: ServerAddress,
    password: string | null,
  ): ConnectionTarget {
    return {
      hosts: [{ host: address.host, port: address.port }],
      user,
      password: password === null ? null : new Secret(password),
      database: database.dbname === '' ? database.name : database.dbname,
      sslMode: this.config.serverSslMode,
      sslNegotiation: 'postgres',
      channelBinding: 'prefer',
      sslRootCert: null,
      sslCert: null,
      sslKey: null,
      tls: this.config.serverTls,
      targetSessionAttrs: 'any',
      connectTimeoutMs: this.config.serverConnectTimeoutMs,
      parameters: {},
    };
  }

  /** A session of the proxy's own: listeners, checks, auth_query. */
  #control(database: DatabaseState, user: string, place: string): Promise<ClientSession> {
    return this.#controlAt(database, user, this.#addressOf(database, place));
  }

  /**
   * For auth_query: the client has proved nothing yet, so nothing is kept of the database that it names, or strangers could
   * fill the memory with names. Servers are tried in their order; a standby knows the secrets too.
   */
  async #authSession(name: string, user: string): Promise<ClientSession> {
    const known = this.databases.get(name);
    if (known !== undefined) return await this.#control(known, user, 'primary');
    const config = this.#configOf(name) as DatabaseConfig;
    const given = this.#options.topologies?.get(name) ?? this.#options.topologies?.get('*');
    const primary = given?.current().primary;
    const servers = primary === undefined || primary === null ? config.servers : [primary];
    let failure: unknown = new Fault('server-unavailable', { message: `no server for database "${name}"` });
    for (const server of servers) {
      try {
        return await this.#controlAt({ config }, user, server);
      } catch (error) {
        failure = error;
        if (error instanceof Fault && !error.retryable) break;
      }
    }
    throw failure;
  }

  async #controlAt(
    database: Pick<DatabaseState, 'config'>,
    user: string,
    address: ServerAddress,
  ): Promise<ClientSession> {
    const { options } = this.#sessionOptions(database, user, address, new Map(), null);
    return await ClientSession.connect(this.world, {
      ...options,
      parameters: { client_encoding: 'UTF8', application_name: 'skerry proxy', search_path: 'pg_catalog' },
    });
  }

  /** min_pool_size without waiting for a first client: where the servers' user is configured. */
  #keepReady(): void {
    for (const database of this.databases.values()) {
      if (database.config.user === '') continue;
      const { user } = database.config;
      if (this.#sizeMinOf(database) === 0) continue;
      this.#poolFor(database, user, 'primary').keepReady({ startupKey: '', startupParameters: new Map() });
    }
  }

  #configOf(name: string): DatabaseConfig | null {
    const { databases } = this.config;
    const fallback = databases.get('*');
    return databases.get(name) ?? (fallback === undefined ? null : { ...fallback, name });
  }

  #databaseOf(name: string): DatabaseState | null {
    const known = this.databases.get(name);
    if (known !== undefined) return known;
    const config = this.#configOf(name);
    if (config === null) return null;
    const given = this.#topologyGiven(name);
    const database = new DatabaseState(config, given ?? onlyServerOf(config), this.#metrics);
    if (given === undefined && config.servers.length > 1) {
      database.watched = this.#watch(database);
      database.topology = database.watched;
    }
    this.databases.set(name, database);
    const state = this.siblings?.state();
    const isPausedWithAll = this.pausedAll && state?.resumed.includes(name) !== true;
    database.paused = isPausedWithAll || state?.paused.includes(name) === true;
    database.disabled = state?.disabled.includes(name) === true;
    this.#applyLimits();
    this.#shareLimit(`db:${name}`, database.limit, () => this.#poolsOf('database', name));
    this.siblings?.shares.add(clientLimitKeys(name, '')[1], {
      total: () => database.config.clientConnectionsMax ?? 0,
      used: () => database.clients,
      wanted: () => database.clients + database.knocking,
    });
    if (this.siblings !== null) database.limit.share = this.#share(`db:${name}`);
    const { primary } = database.topology.current();
    if (primary !== null) this.#primaries.set(name, addressText(primary));
    database.topology.subscribe((topology) => this.#topologyChanged(database, topology));
    return database;
  }

  #topologyGiven(name: string): TopologySource | undefined {
    return this.#options.topologies?.get(name) ?? this.#options.topologies?.get('*');
  }

  /** A RELOAD may name other servers: what runs on the old ones ends there, what begins goes to the new ones. */
  #takeServers(database: DatabaseState): void {
    const config = this.#configOf(database.config.name);
    if (config === null) return;
    const isSame = serversText(config) === serversText(database.config);
    database.config = config;
    if (isSame || this.#topologyGiven(config.name) !== undefined) return;
    database.watched?.stop();
    database.watched = config.servers.length > 1 ? this.#watch(database) : null;
    database.topology = database.watched ?? onlyServerOf(config);
    database.topology.subscribe((topology) => this.#topologyChanged(database, topology));
    database.welcome.clear();
    database.serverEncoding = null;
    this.#topologyChanged(database, database.topology.current());
    for (const [key, listener] of this.#listeners) if (key.startsWith(`${config.name}\0`)) listener.renew();
  }

  #watch(database: DatabaseState): StaticTopology {
    const { config } = database;
    const withSecret = [...this.config.users.values()].find((user) => user.secret !== null)?.name;
    const user = config.authUser ?? (this.config.authUser || config.user || withSecret || 'postgres');
    return new StaticTopology({
      servers: config.servers,
      clock: this.world.clock,
      log: this.log,
      checkIntervalMs: this.config.checkIntervalMs,
      connect: (server) => this.#controlAt(database, user, server),
    });
  }

  #topologyChanged(database: DatabaseState, topology: Topology): void {
    const text = topology.primary === null ? '' : addressText(topology.primary);
    const { name } = database.config;
    const before = this.#primaries.get(name);
    if (before !== text) this.#primaries.set(name, text);
    const usable = new Set(topology.replicas.map(addressText));
    for (const pool of this.pools.values()) {
      if (pool.database !== name) continue;
      if (pool.place === 'primary') {
        if (before !== undefined && before !== text) pool.renew('the primary has changed');
        else if (before !== text) pool.pump();
      } else if (!usable.has(pool.place) && (pool.waiting > 0 || pool.idle.length > 0)) {
        pool.renew('the replica cannot be used');
        this.#moveWaiters(database, pool);
      }
    }
  }

  /** Clients that waited for a replica that is gone wait elsewhere; nothing of theirs was sent yet. */
  #moveWaiters(database: DatabaseState, from: Pool): void {
    this.#askAgain(from, (waiter) => {
      // Whoever has written still has to see it where it reads now.
      const wroteAt = waiter instanceof ClientConnection ? waiter.wroteAt : 0n;
      return this.#poolFor(database, from.user, this.#replicaPlace(database, wroteAt));
    });
  }

  readonly #primaries = new Map<string, string>();

  #userOf(name: string): UserState {
    let user = this.users.get(name);
    if (user === undefined) {
      user = new UserState(name);
      user.limit.max = this.config.users.get(name)?.connectionsMax ?? this.config.userConnectionsMax;
      this.users.set(name, user);
      const made = user;
      this.#shareLimit(`user:${name}`, made.limit, () => this.#poolsOf('user', name));
      this.siblings?.shares.add(clientLimitKeys('', name)[2], {
        total: () => this.config.users.get(name)?.clientConnectionsMax ?? 0,
        used: () => made.clients,
        wanted: () => made.clients + made.knocking,
      });
      made.limit.share = this.#share(`user:${name}`);
    }
    return user;
  }

  #applyLimits(): void {
    for (const [name, database] of this.databases) {
      const config = this.config.databases.get(name);
      if (config !== undefined) database.config = config;
      database.limit.max = database.config.connectionsMax ?? this.config.databaseConnectionsMax;
    }
    for (const [name, user] of this.users) {
      user.limit.max = this.config.users.get(name)?.connectionsMax ?? this.config.userConnectionsMax;
    }
  }

  /** Takes a new configuration over without touching connections. Rejects, and keeps the old one, when it is not valid. */
  async reload(): Promise<void> {
    const { reload } = this.#options;
    if (reload === undefined) return;
    const config = await reload();
    this.configure(config);
    this.log.info('proxy.reloaded', { databases: config.databases.size, users: config.users.size });
  }

  /** Takes over a checked configuration. Ports and the number of workers stay what they are. */
  configure(config: ProxyConfig): void {
    this.config = config;
    this.#secrets.forget();
    for (const database of this.databases.values()) this.#takeServers(database);
    this.#applyLimits();
    for (const name of config.databases.keys()) if (name !== '*') this.#databaseOf(name);
    this.#keepReady();
    if (this.siblings !== null) this.sharesChanged();
    this.#applyTenants();
  }

  /** Rules may put a client into another tenant: that counts from its next transaction on. */
  #applyTenants(): void {
    this.tenants.configure(this.config.tenants);
    for (const client of this.clients) {
      const tenant = this.#tenantOf(client.database, client.user, client.applicationName);
      if (tenant === client.tenant) continue;
      client.tenant.clients -= 1;
      tenant.clients += 1;
      client.tenant = tenant;
      client.primaryLane = null;
    }
  }

  // Connections.

  readonly #readOnlyConnections = new WeakSet<Connection>();

  #accept(connection: Connection, readOnly: boolean): void {
    if (readOnly) this.#readOnlyConnections.add(connection);
    // Logins count too: a flood of them must not outgrow what clients may use.
    if (this.#connected >= this.config.clientConnectionsMax + LOGINS_MAX) {
      const writer = new ByteWriter();
      writeError(writer, errorFieldsOf(tooManyClients(), 'FATAL'));
      connection.handler = { data: () => {}, close: () => {} };
      connection.write(writer.take());
      connection.end();
      return;
    }
    this.#connected += 1;
    this.accepted += 1;
    void acceptClient(this, connection).finally(() => {
      this.#connected -= 1;
    });
  }

  #tick(): void {
    const now = this.now();
    const { config } = this;
    if (this.state === 'draining' && this.guests === 0) {
      this.#adminCommands.stop();
      return;
    }
    if (this.siblings !== null) {
      this.#shrink();
      this.siblings.shares.look();
    }
    for (const pool of this.pools.values()) pool.tick(now);
    this.tenants.tick(now);
    const limits = {
      idleMs: config.clientIdleTimeoutMs,
      queryMs: config.queryTimeoutMs,
      idleTransactionMs: config.idleTransactionTimeoutMs,
      transactionMs: config.transactionTimeoutMs,
    };
    if (limits.idleMs + limits.queryMs + limits.idleTransactionMs + limits.transactionMs === 0) return;
    for (const client of this.clients) client.checkTimeouts(now, limits);
  }
}

/** TLS handshakes that may begin in one turn of the event loop: each costs as much as a hundred point queries. */
const HANDSHAKES_PER_TURN = 2;

/** Logins that may be under way besides the clients that are in. */
const LOGINS_MAX = 1_000;

const WELCOMES_MAX = 1_000;

/** So that an id names one client or server connection of all workers. */
const IDS_PER_WORKER = 1_000_000_000;

/** A client that finds its worker's share of max_client_conn used up waits this long for a part of the others'. */
const ADMIT_WAIT_MS = 1_000;
const ADMIT_LOOK_MS = 5;

/** Names of the limits on clients in the books that workers share: all, of the database, of the user. */
function clientLimitKeys(database: string, user: string): readonly [string, string, string] {
  return ['clients', `clients-db:${database}`, `clients-user:${user}`];
}

/** Server connections that a pool needs now, idle ones not counted. */
function wantedOf(pool: Pool, sizeMin: number): number {
  // Those that wait for their tenant's turn could not use a connection yet.
  return Math.max(pool.active + pool.waiters.length, sizeMin);
}

/** A worker's part of a number that is divided once and for all. */
function partOf(total: number, { rank, count }: PlaceAmongWorkers): number {
  return count === 0 ? 0 : Math.floor(total / count) + (rank < total % count ? 1 : 0);
}

const SAME_DISTANCE_MS = 5;

function poolKey(database: string, user: string, place: string): string {
  return `${database}\0${user}\0${place}`;
}

/** What shares a server's strength shares its budget: databases by other names on the same servers too. */
function backendName(config: DatabaseConfig, place: string): string {
  if (place !== 'primary') return place;
  const servers = config.servers.map(addressText);
  if (servers.length === 0) return `primary of ${config.name}`;
  return servers.length === 1 ? (servers[0] as string) : `primary of ${servers.join(',')}`;
}

function onlyServerOf(config: DatabaseConfig): TopologySource {
  return singleServer(config.servers[0] ?? { host: '127.0.0.1', port: 5432 });
}

function serversText(config: DatabaseConfig): string {
  return config.servers.map(addressText).join(',');
}

function keyText(processId: number, secretKey: Uint8Array): string {
  return `${processId}:${Buffer.from(secretKey).toString('hex')}`;
}

function leftDuringLogin(): Fault {
  return new Fault('connection-lost', { message: 'the client left during its login' });
}

function tooManyClients(): Fault {
  return new Fault('too-many-clients', {
    message: 'sorry, too many clients already',
    hint: 'raise max_client_conn, or the limit of the database or user',
    sqlstate: '53300',
    retryable: true,
  });
}

/** Joins two connections, with back-pressure both ways. */
function splice(a: Connection, b: Connection, ended: () => void): void {
  const half = (from: Connection, to: Connection): void => {
    from.handler = {
      data: (chunk) => {
        if (!to.write(chunk)) from.pause();
      },
      drain: () => to.resume(),
      close: () => {
        ended();
        to.end();
      },
    };
  };
  half(a, b);
  half(b, a);
}
