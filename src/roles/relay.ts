// The relay role: one relay in one process; its replica is applied in a thread.

import packageJson from '../../package.json' with { type: 'json' };
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Config } from '../config/options.ts';
import { Metrics } from '../observe/metrics.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { bunHttp } from '../runtime/http.ts';
import { zstdPacker } from '../runtime/pack.ts';
import { currentPid } from '../runtime/process.ts';
import { createRandom } from '../runtime/random.ts';
import { requireSafeHttpUrl } from '../session/exposure.ts';
import { createRelay, type RelayOptions, type RelayUpstream } from '../stream/relay.ts';
import { sessionWorld } from './core-client.ts';
import { startReplica } from './replica.ts';
import { runRole } from './role.ts';
import { readSecretFile, readUsersFile } from './secrets.ts';
import { readRoleTls, relayLogin, type RoleTls } from './tls.ts';
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
      relayOptions(config, clock),
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

function relayOptions(config: Config, clock: Clock): RelayOptions {
  const { relay } = config;
  const tls = readRoleTls('relay', relay, clock);
  const password = readSecretFile(relay.peerPasswordFile);
  const peers = readUsersFile(relay.peersFile);
  const adminPassword = readSecretFile(relay.adminPasswordFile);
  if (password === '' && peers.length === 0 && !tls.certificates.acceptCertificates) {
    throw new Fault('config-missing', {
      message: 'neither relay.peer_password_file nor relay.tls_ca is set: subscribers must prove who they are',
      hint: 'put a long random password into a file that only this user may read, or make certificates (`skerry certs`)',
    });
  }
  // Its own replica is a subscriber too, with a password that nobody else ever sees.
  const self = { user: `${relay.name}.replica`, password: Buffer.from(createRandom().bytes(32)).toString('hex') };
  const server = tls.server === null ? {} : { tls: tls.server };
  return {
    name: relay.name,
    directory: relay.dir,
    listen: { host: relay.host, port: relay.port, ...server },
    http: { host: relay.host, port: relay.httpPort, ...server },
    upstream: upstreamOf(config, tls, password),
    auth: {
      users: new Map([
        ...peers,
        ...(password === '' ? [] : [[relay.peerUser, password] as const]),
        ...(adminPassword === '' ? [] : [[relay.adminUser, adminPassword] as const]),
        [self.user, self.password],
      ]),
      trustLoopback: false,
      ...tls.certificates,
      ...(relay.peerNames.length === 0 ? {} : { certificateNames: new Set(relay.peerNames) }),
    },
    self,
    admin: relay.adminUser,
    placements: [...relay.placements].map(([name, row]) => ({ name, ...row })),
    subscribersMax: relay.subscribersMax,
    logBytesMax: relay.logBytesMax,
    logLevel: config.log.level,
  };
}

function upstreamOf(config: Config, tls: RoleTls, password: string): RelayUpstream {
  const { relay, core } = config;
  const applicationName = `skerry ${relay.name}`;
  if (relay.upstreamUrl !== '') {
    if (relay.upstreamHttpUrl === '') {
      throw new Fault('config-missing', {
        message: 'relay.upstream_http_url is not set: it names the HTTP port of the relay above',
        hint: 'see `skerry config sample`',
      });
    }
    requireSafeHttpUrl('relay.upstream_http_url', relay.upstreamHttpUrl);
    const { target } = relayLogin(tls, {
      option: 'relay.upstream_url',
      url: relay.upstreamUrl,
      peerUser: relay.peerUser,
      password,
      applicationName,
    });
    return { kind: 'relay', client: { target }, publication: core.publication, httpUrl: relay.upstreamHttpUrl };
  }
  if (core.databaseUrl === '') {
    throw new Fault('config-missing', {
      message: 'neither core.database_url nor relay.upstream_url is set: one of them names what to follow',
      hint: 'see `skerry config sample`',
    });
  }
  return {
    kind: 'postgres',
    client: { target: connectionTarget(core.databaseUrl, { applicationName }) },
    publication: core.publication,
    slot: core.slot,
    tables: core.tables,
    ephemeral: relay.ephemeral,
  };
}
