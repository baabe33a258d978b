// The proxy role: files become a checked configuration, a proxy serves it, one HTTP port shows its metrics.

import packageJson from '../../package.json' with { type: 'json' };
import { describeError, Fault } from '../base/fault.ts';
import type { TlsServerOptions } from '../base/net.ts';
import type { ServerAddress } from '../contracts/topology.ts';
import type { Config } from '../config/options.ts';
import { Metrics } from '../observe/metrics.ts';
import {
  type DatabaseConfig,
  parseUserList,
  type PeerConfig,
  PROXY_DEFAULTS,
  type ProxyConfig,
  type UserConfig,
} from '../proxy/config.ts';
import { parseHba } from '../proxy/hba.ts';
import type { TenantRule, TenantsConfig } from '../proxy/limits/tenants.ts';
import { ROUTE_MAX } from '../proxy/workers/cancel-key.ts';
import type { FromWorker, ToWorker } from '../proxy/workers/messages.ts';
import { type ParentStatus, WorkerParent } from '../proxy/workers/parent.ts';
import { createClock } from '../runtime/clock.ts';
import { readTextFile } from '../runtime/files.ts';
import { bunHttp } from '../runtime/http.ts';
import { createNet } from '../runtime/net.ts';
import { coreCount, currentPid, onSignal } from '../runtime/process.ts';
import { createRandom } from '../runtime/random.ts';
import { bunWorkers } from '../runtime/worker.ts';
import { requireSafeListening } from '../session/exposure.ts';
import { logArguments } from './worker-log.ts';
import { runRole } from './role.ts';

/** `GET /status` of a proxy. */
export interface ProxyStatus extends ParentStatus {
  readonly role: 'proxy';
  readonly pid: number;
  readonly version: string;
}

const PORT_DEFAULT = 5432;

/** While they are all being replaced there are twice as many, and a cancel key has numbers for 63. */
const WORKERS_MAX = 31;

/** Runs a proxy until the process is told to stop; gives the exit code. `readConfig` reads the files anew, for RELOAD. */
export function runProxy(config: Config, readConfig: () => Config): Promise<number> {
  return runRole(
    config,
    async (log) => {
      const clock = createClock();
      const metrics = new Metrics();
      const ended = Promise.withResolvers<void>();
      const checked = checkedConfig(config);
      const parent = new WorkerParent(
        { clock, random: createRandom(), log, metrics },
        {
          config: checked,
          version: packageJson.version,
          spawn: () => bunWorkers.process<ToWorker, FromWorker>(WORKER_ENTRY, logArguments(config)),
          readConfig: () => checkedConfig(readConfig()),
          stopped: ended.resolve,
        },
      );
      await requireFreePorts(checked);
      await parent.start();
      const http = await bunHttp.serve({
        // It asks nobody who they are (I11).
        host: '127.0.0.1',
        port: config.proxy.httpPort,
        handle: (request) => answer(parent, new URL(request.url).pathname),
      });
      onSignal('SIGHUP', () => void parent.reload().catch(() => {}));
      onSignal('SIGUSR2', () => void parent.restart().catch(() => {}));
      const { port, readPort, workers } = parent.status();
      const facts = { role: 'proxy', port, readPort, httpPort: http.port };
      return {
        facts: { ...facts, workers: workers.map(({ worker, pid }) => ({ worker, pid })) },
        ended: ended.promise,
        async stop() {
          await parent.stop();
          await http[Symbol.asyncDispose]();
        },
      };
    },
    // SIGHUP is for the configuration.
    ['SIGTERM', 'SIGINT'],
  );
}

/** Asks a proxy on this machine how it is. Rejects with Fault `not-running`. */
export async function proxyStatus(httpPort: number): Promise<ProxyStatus> {
  try {
    const response = await bunHttp.request(`http://127.0.0.1:${httpPort}/status`, { timeoutMs: STATUS_TIMEOUT_MS });
    const status = (await response.json()) as Partial<ProxyStatus>;
    if (status.role !== 'proxy') throw new Error('it is no proxy');
    return status as ProxyStatus;
  } catch (error) {
    throw new Fault('not-running', {
      message: `no proxy answers on http://127.0.0.1:${httpPort}: ${describeError(error)}`,
      hint: 'name its http_port with --http-port or --config',
      cause: error,
    });
  }
}

const STATUS_TIMEOUT_MS = 5_000;

const WORKER_ENTRY = new URL('./proxy-worker.ts', import.meta.url);

async function answer(parent: WorkerParent, path: string): Promise<Response> {
  if (path === '/metrics') {
    const headers = { 'content-type': 'text/plain; version=0.0.4' };
    return new Response(await parent.metricsText(), { headers });
  }
  if (path === '/status') {
    const status: ProxyStatus = { role: 'proxy', pid: currentPid(), version: packageJson.version, ...parent.status() };
    return Response.json(status);
  }
  return new Response('try /metrics or /status\n', { status: 404 });
}

/** Its ports can be shared, so another proxy of the same user on them would not be noticed: clients would get to either. */
async function requireFreePorts({ host, port, readPort }: ProxyConfig): Promise<void> {
  const net = createNet();
  for (const one of [port, readPort ?? 0]) {
    if (one !== 0) (await net.listen({ host, port: one, accept: (connection) => connection.destroy() })).stop();
  }
}

function checkedConfig(config: Config): ProxyConfig {
  const checked = proxyConfig(config);
  if (checked.host.startsWith('/') && checked.workers > 1) {
    throw wrong('several workers cannot share a unix socket', 'let proxy.host be an address, or run one worker');
  }
  requireSafeListening({
    who: 'the proxy',
    host: checked.host,
    hasTls: checked.tls !== null,
    hasAuthentication: checked.authType !== 'trust',
  });
  return checked;
}

/** What the option table and the files it names say. Throws Fault `proxy-config`. */
export function proxyConfig(config: Config): ProxyConfig {
  const { proxy } = config;
  return {
    ...PROXY_DEFAULTS,
    host: proxy.host,
    port: proxy.port,
    readPort: proxy.readPort,
    databases: databasesOf(config),
    users: usersOf(config),
    authType: proxy.authType,
    hba: proxy.authHbaFile === '' ? [] : parseHba(mustRead(proxy.authHbaFile)),
    authUser: proxy.authUser,
    authQuery: proxy.authQuery === '' ? PROXY_DEFAULTS.authQuery : proxy.authQuery,
    adminUsers: proxy.adminUsers,
    statsUsers: proxy.statsUsers,
    poolMode: proxy.poolMode,
    poolSize: proxy.defaultPoolSize,
    poolSizeMin: proxy.minPoolSize,
    reservePoolSize: proxy.reservePoolSize,
    reservePoolTimeoutMs: proxy.reservePoolTimeoutMs,
    clientConnectionsMax: proxy.maxClientConn,
    databaseConnectionsMax: proxy.maxDbConnections,
    userConnectionsMax: proxy.maxUserConnections,
    preparedMax: proxy.maxPreparedStatements,
    serverReset: proxy.serverReset,
    queryWaitTimeoutMs: proxy.queryWaitTimeoutMs,
    waitingBytesMax: proxy.waitingBytesMax,
    queryTimeoutMs: proxy.queryTimeoutMs,
    idleTransactionTimeoutMs: proxy.idleTransactionTimeoutMs,
    transactionTimeoutMs: proxy.transactionTimeoutMs,
    clientIdleTimeoutMs: proxy.clientIdleTimeoutMs,
    clientLoginTimeoutMs: proxy.clientLoginTimeoutMs,
    serverIdleTimeoutMs: proxy.serverIdleTimeoutMs,
    serverLifetimeMs: proxy.serverLifetimeMs,
    serverConnectTimeoutMs: proxy.serverConnectTimeoutMs,
    checkIntervalMs: proxy.checkIntervalMs,
    lagBytesLow: proxy.replicaLagLow,
    lagBytesMax: proxy.replicaLagMax,
    slowQueryMs: proxy.slowQueryMs,
    tenants: tenantsOf(proxy),
    ignoreStartupParameters: proxy.ignoreStartupParameters,
    tls: tlsOf(proxy),
    serverSslMode: proxy.serverTlsSslmode,
    serverTls: {
      ...(proxy.serverTlsCaFile === '' ? {} : { ca: mustRead(proxy.serverTlsCaFile) }),
      ...(proxy.serverTlsCertFile === '' ? {} : { cert: mustRead(proxy.serverTlsCertFile) }),
      ...(proxy.serverTlsKeyFile === '' ? {} : { key: mustRead(proxy.serverTlsKeyFile) }),
    },
    workers: proxy.workers === 0 ? Math.min(WORKERS_MAX, coreCount()) : proxy.workers,
    shutdownTimeoutMs: proxy.shutdownTimeoutMs,
    peerId: proxy.peerId,
    peers: peersOf(proxy),
  };
}

function peersOf({ peerId, peers }: Config['proxy']): Map<number, PeerConfig> {
  const found = new Map<number, PeerConfig>();
  for (const [name, { host, port, sslmode, caFile }] of peers) {
    const id = Number(name);
    if (!Number.isInteger(id) || id < 1 || id > ROUTE_MAX || host === '') {
      throw wrong(
        `peer "${name}" needs a number from 1 to ${ROUTE_MAX} as its name, and a host`,
        'write proxy.peers: {2: {host: 10.0.0.2}}',
      );
    }
    if (id !== peerId) found.set(id, { host, port, sslMode: sslmode, ca: caFile === '' ? '' : mustRead(caFile) });
  }
  if (found.size > 0 && peerId === 0) {
    throw wrong('proxy.peers is given and proxy.peer_id is not', 'give each host a number of its own, 1 to 63');
  }
  return found;
}

function databasesOf({ proxy, core }: Config): Map<string, DatabaseConfig> {
  const databases = new Map<string, DatabaseConfig>();
  for (const [name, row] of proxy.databases) {
    if (row.servers.length === 0) {
      throw wrong(`database "${name}" has no servers`, 'give servers: [host:port] in proxy.databases');
    }
    databases.set(name, {
      name,
      servers: row.servers.map((server) => addressOf(server, name)),
      dbname: row.dbname,
      user: row.user,
      password: row.passwordFile === '' ? '' : mustRead(row.passwordFile).trim(),
      poolMode: row.poolMode === '' ? null : row.poolMode,
      poolSize: given(row.poolSize),
      poolSizeMin: given(row.minPoolSize),
      reservePoolSize: given(row.reservePoolSize),
      connectionsMax: given(row.maxDbConnections),
      clientConnectionsMax: given(row.maxDbClientConnections),
      authQuery: row.authQuery === '' ? null : row.authQuery,
      authUser: row.authUser === '' ? null : row.authUser,
      splitReads: row.splitReads,
      readYourWrites: row.readYourWrites,
    });
  }
  if (databases.size === 0) {
    throw wrong(
      core.databaseUrl === '' ? 'no databases are configured' : 'core.database_url names no database for the proxy',
      'write proxy.databases: {"*": {servers: [127.0.0.1:5432]}}; `skerry proxy import pgbouncer.ini` makes it from an existing file',
    );
  }
  return databases;
}

function usersOf({ proxy }: Config): Map<string, UserConfig> {
  const users = new Map<string, UserConfig>();
  const listed = proxy.usersFile === '' ? new Map<string, string>() : parseUserList(mustRead(proxy.usersFile));
  for (const name of new Set([...listed.keys(), ...proxy.users.keys()])) {
    const row = proxy.users.get(name);
    const fromFile = row === undefined || row.passwordFile === '' ? null : mustRead(row.passwordFile).trim();
    users.set(name, {
      name,
      secret: fromFile ?? listed.get(name) ?? null,
      poolMode: row === undefined || row.poolMode === '' ? null : row.poolMode,
      poolSize: given(row?.poolSize ?? -1),
      connectionsMax: given(row?.maxUserConnections ?? -1),
      clientConnectionsMax: given(row?.maxUserClientConnections ?? -1),
    });
  }
  return users;
}

function tenantsOf(proxy: Config['proxy']): TenantsConfig {
  return {
    serverBudget: proxy.serverBudget,
    limits: {
      maxConnections: proxy.tenantMaxConnections,
      poolSize: proxy.tenantPoolSize,
      qps: proxy.tenantQps,
      maxWaiting: proxy.tenantMaxWaiting,
      weight: 1,
      algorithm: proxy.adaptiveLimit,
    },
    rules: [...proxy.tenants].map(([name, row]) => ruleOf(name, row)),
  };
}

type TenantRow = Config['proxy']['tenants'] extends ReadonlyMap<string, infer Row> ? Row : never;

function ruleOf(name: string, row: TenantRow): TenantRule {
  const { database, user, applicationName } = row;
  const isOwnName = database === '' && user === '' && applicationName === '';
  const slash = name.indexOf('/');
  if (isOwnName && slash === -1) {
    throw wrong(
      `tenant "${name}" says nothing about whom it is for`,
      'give database, user or application_name, or name it database/user',
    );
  }
  return {
    name,
    // Of a name like that, the tenant which is there anyway.
    database: isOwnName ? name.slice(0, slash) : database,
    user: isOwnName ? name.slice(slash + 1) : user,
    applicationName,
    limits: {
      maxConnections: given(row.maxConnections),
      poolSize: given(row.poolSize),
      qps: given(row.qps),
      maxWaiting: row.maxWaiting < 1 ? null : row.maxWaiting,
      weight: row.weight,
      algorithm: row.algorithm === '' ? null : row.algorithm,
    },
  };
}

function tlsOf(proxy: Config['proxy']): TlsServerOptions | null {
  if (proxy.tlsCertFile === '') return null;
  return {
    cert: mustRead(proxy.tlsCertFile),
    key: mustRead(proxy.tlsKeyFile),
    ...(proxy.tlsCaFile === '' ? {} : { ca: mustRead(proxy.tlsCaFile) }),
  };
}

function addressOf(text: string, database: string): ServerAddress {
  const found = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const port = Number(found?.[3] ?? PORT_DEFAULT);
  const host = found?.[1] ?? found?.[2];
  if (host === undefined || port > 65_535) {
    throw wrong(`database "${database}": "${text}" is not host:port`, 'write servers: [10.0.0.1:5432]');
  }
  return { host, port };
}

function given(value: number): number | null {
  return value < 0 ? null : value;
}

function mustRead(file: string): string {
  const text = readTextFile(file);
  if (text === null) throw wrong(`there is no file ${file}`, 'files are named relative to the working directory');
  return text;
}

function wrong(message: string, hint: string): Fault {
  return new Fault('proxy-config', { message, hint });
}
