// A proxy in this process, in front of a test's Postgres.

import type { Log } from '../src/observe/log.ts';
import { SILENT_LOG } from '../src/observe/log.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { type DatabaseConfig, PROXY_DEFAULTS, type ProxyConfig, type UserConfig } from '../src/proxy/config.ts';
import { Proxy, type ProxyOptions } from '../src/proxy/proxy.ts';
import { sessionWorld } from './session-world.ts';

export interface TestProxy extends AsyncDisposable {
  readonly proxy: Proxy;
  readonly port: number;
  readonly readPort: number;
  readonly metrics: Metrics;
  /** postgres://postgres@127.0.0.1:port/postgres */
  readonly url: string;
}

export interface TestProxyOptions extends Partial<ProxyConfig> {
  readonly log?: Log;
  readonly reload?: ProxyOptions['reload'];
  readonly stopRequested?: () => void;
}

export function databaseConfig(
  server: { readonly host: string; readonly port: number },
  more: Partial<DatabaseConfig> = {},
): DatabaseConfig {
  return {
    name: '*',
    servers: [{ host: server.host, port: server.port }],
    dbname: '',
    user: '',
    password: '',
    poolMode: null,
    poolSize: null,
    poolSizeMin: null,
    reservePoolSize: null,
    connectionsMax: null,
    clientConnectionsMax: null,
    authQuery: null,
    authUser: null,
    splitReads: false,
    readYourWrites: 'off',
    ...more,
  };
}

export function userConfig(name: string, secret: string | null, more: Partial<UserConfig> = {}): UserConfig {
  return { name, secret, poolMode: null, poolSize: null, connectionsMax: null, clientConnectionsMax: null, ...more };
}

/** Trust on loopback, transaction mode and one database that answers to every name, unless the options say otherwise. */
export async function startProxy(
  server: { readonly host: string; readonly port: number },
  options: TestProxyOptions = {},
): Promise<TestProxy> {
  const { log = SILENT_LOG, reload, stopRequested, ...config } = options;
  const metrics = new Metrics();
  const proxy = new Proxy(
    { ...sessionWorld(), log, metrics },
    {
      config: {
        ...PROXY_DEFAULTS,
        authType: 'trust',
        poolMode: 'transaction',
        clientConnectionsMax: 2000,
        databases: new Map([['*', databaseConfig(server)]]),
        ...config,
      },
      version: 'test',
      ...(reload === undefined ? {} : { reload }),
      ...(stopRequested === undefined ? {} : { stopRequested }),
    },
  );
  await proxy.start();
  return {
    proxy,
    port: proxy.port,
    readPort: proxy.readPort,
    metrics,
    url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`,
    [Symbol.asyncDispose]: () => proxy.stop(),
  };
}
