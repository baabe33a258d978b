// What the proxy is told to do, already checked. Names are PgBouncer's where the thing is the same.

import type { TlsClientOptions, TlsServerOptions } from '../base/net.ts';
import type { ServerAddress } from '../contracts/topology.ts';
import type { SslMode } from '../session/connection-string.ts';
import type { PoolMode } from './client.ts';
import type { HbaRule } from './hba.ts';
import { TENANTS_DEFAULTS, type TenantsConfig } from './limits/tenants.ts';

export interface DatabaseConfig {
  /** Name that clients connect to; `*` answers for all that have none of their own. */
  readonly name: string;
  readonly servers: readonly ServerAddress[];
  /** Name on the servers; empty = as the client says. */
  readonly dbname: string;
  /** Forced user on the servers; empty = the client's. */
  readonly user: string;
  readonly password: string;
  readonly poolMode: PoolMode | null;
  readonly poolSize: number | null;
  readonly poolSizeMin: number | null;
  readonly reservePoolSize: number | null;
  /** Server connections over all users; 0 = no limit. */
  readonly connectionsMax: number | null;
  readonly clientConnectionsMax: number | null;
  readonly authQuery: string | null;
  readonly authUser: string | null;
  /** Reads that are provably reads go to replicas also on the read/write port. */
  readonly splitReads: boolean;
  readonly readYourWrites: 'session' | 'off';
}

export interface UserConfig {
  readonly name: string;
  /** A password, `md5…` or `SCRAM-SHA-256$…`; null when only auth_query knows. */
  readonly secret: string | null;
  readonly poolMode: PoolMode | null;
  readonly poolSize: number | null;
  readonly connectionsMax: number | null;
  readonly clientConnectionsMax: number | null;
}

export type AuthType = 'scram-sha-256' | 'md5' | 'trust' | 'cert' | 'hba';

/** Durations in milliseconds, 0 = none. */
export interface ProxyConfig {
  readonly host: string;
  readonly port: number;
  /** Null: no read-only port. */
  readonly readPort: number | null;
  readonly databases: ReadonlyMap<string, DatabaseConfig>;
  readonly users: ReadonlyMap<string, UserConfig>;
  readonly authType: AuthType;
  readonly hba: readonly HbaRule[];
  readonly authUser: string;
  readonly authQuery: string;
  readonly adminUsers: readonly string[];
  readonly statsUsers: readonly string[];
  readonly poolMode: PoolMode;
  readonly poolSize: number;
  readonly poolSizeMin: number;
  readonly reservePoolSize: number;
  readonly reservePoolTimeoutMs: number;
  readonly clientConnectionsMax: number;
  readonly databaseConnectionsMax: number;
  readonly userConnectionsMax: number;
  readonly preparedMax: number;
  /** What becomes of a server connection when its session-mode client has gone. */
  readonly serverReset: 'discard' | 'close';
  readonly queryWaitTimeoutMs: number;
  /** Over all workers. */
  readonly waitingBytesMax: number;
  readonly queryTimeoutMs: number;
  readonly idleTransactionTimeoutMs: number;
  readonly transactionTimeoutMs: number;
  readonly clientIdleTimeoutMs: number;
  readonly clientLoginTimeoutMs: number;
  readonly serverIdleTimeoutMs: number;
  readonly serverLifetimeMs: number;
  readonly serverConnectTimeoutMs: number;
  readonly checkIntervalMs: number;
  readonly lagBytesLow: number;
  readonly lagBytesMax: number;
  readonly slowQueryMs: number;
  readonly tenants: TenantsConfig;
  readonly ignoreStartupParameters: readonly string[];
  readonly tls: TlsServerOptions | null;
  readonly serverSslMode: SslMode;
  readonly serverTls: Pick<TlsClientOptions, 'ca' | 'cert' | 'key'>;
  /** Processes on the port. */
  readonly workers: number;
  /** What a worker that is replaced gives its clients to finish; 0 = as long as they like. */
  readonly shutdownTimeoutMs: number;
  /** Number of this host among its peers; 0 = there are none. */
  readonly peerId: number;
  /** By number; cancel requests for their clients are passed on to them. */
  readonly peers: ReadonlyMap<number, PeerConfig>;
}

export interface PeerConfig extends ServerAddress {
  readonly sslMode: SslMode;
  /** PEM text; empty = the system's. */
  readonly ca: string;
}

export const PROXY_DEFAULTS: ProxyConfig = {
  host: '127.0.0.1',
  port: 0,
  readPort: null,
  databases: new Map(),
  users: new Map(),
  authType: 'scram-sha-256',
  hba: [],
  authUser: '',
  authQuery:
    'SELECT rolname, CASE WHEN rolvaliduntil < pg_catalog.now() THEN NULL ELSE rolpassword END FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin',
  adminUsers: [],
  statsUsers: [],
  poolMode: 'session',
  poolSize: 20,
  poolSizeMin: 0,
  reservePoolSize: 0,
  reservePoolTimeoutMs: 5_000,
  clientConnectionsMax: 100,
  databaseConnectionsMax: 0,
  userConnectionsMax: 0,
  preparedMax: 200,
  serverReset: 'discard',
  queryWaitTimeoutMs: 120_000,
  waitingBytesMax: 256 * 1024 ** 2,
  queryTimeoutMs: 0,
  idleTransactionTimeoutMs: 0,
  transactionTimeoutMs: 0,
  clientIdleTimeoutMs: 0,
  clientLoginTimeoutMs: 60_000,
  serverIdleTimeoutMs: 600_000,
  serverLifetimeMs: 3_600_000,
  serverConnectTimeoutMs: 15_000,
  checkIntervalMs: 1_000,
  lagBytesLow: 1024 * 1024,
  lagBytesMax: 64 * 1024 * 1024,
  slowQueryMs: 0,
  tenants: TENANTS_DEFAULTS,
  ignoreStartupParameters: [],
  tls: null,
  serverSslMode: 'prefer',
  serverTls: {},
  workers: 1,
  shutdownTimeoutMs: 60_000,
  peerId: 0,
  peers: new Map(),
};

/** PgBouncer's userlist.txt: `"user" "secret"` a line. */
export function parseUserList(text: string): Map<string, string> {
  const users = new Map<string, string>();
  for (const line of text.split('\n')) {
    const found = /^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"/.exec(line);
    if (found !== null) users.set(unquote(found[1] as string), unquote(found[2] as string));
  }
  return users;
}

function unquote(text: string): string {
  return text.replaceAll('""', '"');
}
