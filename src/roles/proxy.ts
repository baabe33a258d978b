// The proxy role: files become a checked configuration, a proxy serves it, one HTTP port shows its metrics.

import packageJson from '../../package.json' with { type: 'json' };
import { Fault } from '../base/fault.ts';
import type { TlsServerOptions } from '../base/net.ts';
import type { ServerAddress } from '../contracts/topology.ts';
import type { Config } from '../config/options.ts';
import { Metrics } from '../observe/metrics.ts';
import {
  type DatabaseConfig,
  parseUserList,
  PROXY_DEFAULTS,
  type ProxyConfig,
  type UserConfig,
} from '../proxy/config.ts';
import { parseHba } from '../proxy/hba.ts';
import { Proxy } from '../proxy/proxy.ts';
import { createClock } from '../runtime/clock.ts';
import { readTextFile } from '../runtime/files.ts';
import { bunHttp } from '../runtime/http.ts';
import { requireSafeListening } from '../session/exposure.ts';
import { sessionWorld } from './core-client.ts';
import { runRole } from './role.ts';

const PORT_DEFAULT = 5432;

/** Runs a proxy until the process is told to stop; gives the exit code. `readConfig` reads the files anew, for RELOAD. */
export function runProxy(config: Config, readConfig: () => Config): Promise<number> {
  return runRole(config, async (log) => {
    const clock = createClock();
    const metrics = new Metrics();
    const ended = Promise.withResolvers<void>();
    const checked = proxyConfig(config);
    requireSafeListening({
      who: 'the proxy',
      host: checked.host,
      hasTls: checked.tls !== null,
      hasAuthentication: checked.authType !== 'trust',
    });
    const proxy: Proxy = new Proxy(
      { ...sessionWorld(clock), log, metrics },
      {
        config: checked,
        version: packageJson.version,
        reload: () => Promise.resolve().then(() => proxyConfig(readConfig())),
        stopRequested: () => void proxy.stop().then(ended.resolve),
      },
    );
    await proxy.start();
    const http = await bunHttp.serve({
      // It asks nobody who they are (I11).
      host: '127.0.0.1',
      port: config.proxy.httpPort,
      handle: (request) =>
        Promise.resolve(
          new URL(request.url).pathname === '/metrics'
            ? new Response(metrics.render(), { headers: { 'content-type': 'text/plain; version=0.0.4' } })
            : new Response('try /metrics\n', { status: 404 }),
        ),
    });
    return {
      facts: { role: 'proxy', port: proxy.port, readPort: proxy.readPort, httpPort: http.port },
      ended: ended.promise,
      async stop() {
        await proxy.stop();
        await http[Symbol.asyncDispose]();
      },
    };
  });
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
    ignoreStartupParameters: proxy.ignoreStartupParameters,
    tls: tlsOf(proxy),
    serverSslMode: proxy.serverTlsSslmode,
    serverTls: {
      ...(proxy.serverTlsCaFile === '' ? {} : { ca: mustRead(proxy.serverTlsCaFile) }),
      ...(proxy.serverTlsCertFile === '' ? {} : { cert: mustRead(proxy.serverTlsCertFile) }),
      ...(proxy.serverTlsKeyFile === '' ? {} : { key: mustRead(proxy.serverTlsKeyFile) }),
    },
  };
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
