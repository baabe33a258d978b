// The relay role: one relay in one process; its replica is applied in a thread.

import packageJson from '../../package.json' with { type: 'json' };
import { Fault } from '../base/fault.ts';
import type { Config } from '../config/options.ts';
import { Metrics } from '../observe/metrics.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { bunHttp } from '../runtime/http.ts';
import { zstdPacker } from '../runtime/pack.ts';
import { currentPid } from '../runtime/process.ts';
import type { ClientOptions } from '../session/client-session.ts';
import { createRelay, type RelayOptions, type RelayUpstream } from '../stream/relay.ts';
import { sessionWorld } from './core-client.ts';
import { startReplica } from './replica.ts';
import { runRole } from './role.ts';
import { readSecretFile, readServerTls, requireTls, withCredentials } from './secrets.ts';
import { connectionTarget } from './connection.ts';

/** Runs a relay until the process is told to stop; gives the exit code. */
export function runRelay(config: Config): Promise<number> {
  return runRole(config, async (log, signal) => {
    const clock = createClock();
    const relay = createRelay(
      {
        ...sessionWorld(clock),
        disk: nodeDisk,
        http: bunHttp,
        packer: zstdPacker,
        log,
        metrics: new Metrics(),
        startReplica: (options) => startReplica(clock, log, options),
        pid: currentPid(),
        version: packageJson.version,
      },
      relayOptions(config),
    );
    const stop = new AbortController();
    const running = relay.run(stop.signal);
    running.catch(() => {}); // Looked at below, at the latest in `ended`.
    const told = Promise.withResolvers<never>();
    told.promise.catch(() => {});
    signal.addEventListener('abort', () => told.reject(new Error('told to stop')), { once: true });
    try {
      const ports = await relay.listening;
      await Promise.race([relay.ready, running, told.promise]);
      return {
        facts: { role: 'relay', name: config.relay.name, ...ports },
        ended: running,
        async stop() {
          stop.abort();
          await running;
        },
      };
    } catch (error) {
      stop.abort();
      await running.catch(() => {});
      throw error;
    }
  });
}

function relayOptions(config: Config): RelayOptions {
  const { relay } = config;
  const password = readSecretFile(relay.peerPasswordFile);
  if (password === '') {
    throw new Fault('config-missing', {
      message: 'relay.peer_password_file is not set: it holds what subscribers must know',
      hint: 'put a long random password into a file that only this user may read (mode 0600)',
    });
  }
  const serverTls = readServerTls(relay);
  requireTls(relay.host, serverTls);
  const tls = serverTls === null ? {} : { tls: serverTls };
  return {
    name: relay.name,
    directory: relay.dir,
    listen: { host: relay.host, port: relay.port, ...tls },
    http: { host: relay.host, port: relay.httpPort, ...tls },
    upstream: upstreamOf(config, password),
    auth: {
      users: new Map([[relay.peerUser, password]]),
      trustLoopback: false,
      acceptCertificates: relay.tlsCa !== '',
    },
    self: { user: relay.peerUser, password },
    subscribersMax: relay.subscribersMax,
    logBytesMax: relay.logBytesMax,
    logLevel: config.log.level,
  };
}

function upstreamOf(config: Config, password: string): RelayUpstream {
  const { relay, core } = config;
  const client = (url: string): ClientOptions => ({
    target: connectionTarget(url, { applicationName: `skerry ${relay.name}` }),
  });
  if (relay.upstreamUrl !== '') {
    if (relay.upstreamHttpUrl === '') {
      throw new Fault('config-missing', {
        message: 'relay.upstream_http_url is not set: it names the HTTP port of the relay above',
        hint: 'see `skerry config sample`',
      });
    }
    return {
      kind: 'relay',
      client: client(withCredentials(relay.upstreamUrl, relay.peerUser, password)),
      publication: core.publication,
      httpUrl: relay.upstreamHttpUrl,
    };
  }
  if (core.databaseUrl === '') {
    throw new Fault('config-missing', {
      message: 'neither core.database_url nor relay.upstream_url is set: one of them names what to follow',
      hint: 'see `skerry config sample`',
    });
  }
  return {
    kind: 'postgres',
    client: client(core.databaseUrl),
    publication: core.publication,
    slot: core.slot,
    tables: core.tables,
    ephemeral: relay.ephemeral,
  };
}
