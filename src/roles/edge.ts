// The edge role: a PoP in one process. The replica is applied in a thread, statements that may scan run in child processes,
// clients are served on the main thread.

import packageJson from '../../package.json' with { type: 'json' };
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Config } from '../config/options.ts';
import type { ReplicaControl } from '../contracts/replica-control.ts';
import { createEdge } from '../edge/edge.ts';
import type { SlowChunk, SlowRequest } from '../edge/slow-lanes.ts';
import { Metrics } from '../observe/metrics.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { makeFolder } from '../runtime/files.ts';
import { bunHttp } from '../runtime/http.ts';
import { currentPid } from '../runtime/process.ts';
import { bunWorkers } from '../runtime/worker.ts';
import { requireSafeHttpUrl, requireSafeListening } from '../session/exposure.ts';
import { sessionWorld } from './core-client.ts';
import { startReplica } from './replica.ts';
import { runRole } from './role.ts';
import { readSecretFile, readUsersFile } from './secrets.ts';
import { readRoleTls, relayLogin } from './tls.ts';
import { connectionTarget } from './connection.ts';

/** Runs an edge until the process is told to stop; gives the exit code. */
export function runEdge(config: Config): Promise<number> {
  return runRole(config, async (log, signal) => {
    const { edge: options, core } = config;
    if (core.databaseUrl === '') throw missing('core.database_url', 'the core, for statements that the edge forwards');
    if (options.upstreamUrl === '') throw missing('edge.upstream_url', 'the relay');
    if (options.upstreamHttpUrl === '') throw missing('edge.upstream_http_url', "the relay's HTTP port, for snapshots");
    requireSafeHttpUrl('edge.upstream_http_url', options.upstreamHttpUrl);
    const clock = createClock();
    const tls = readRoleTls('edge', options, clock);
    const password = readSecretFile(options.peerPasswordFile);
    const upstream = relayLogin(tls, {
      option: 'edge.upstream_url',
      url: options.upstreamUrl,
      peerUser: options.peerUser,
      password,
      applicationName: options.name,
    });
    const users = readUsersFile(options.clientUsersFile);
    // Before a replica is fetched for an edge that will not serve it.
    requireSafeListening({
      who: 'the edge',
      host: options.host,
      hasTls: tls.server !== null,
      hasAuthentication: tls.certificates.acceptCertificates || users.length > 0,
    });
    makeFolder(options.dir, 0o700);
    const replica = startReplica(clock, log, {
      name: options.name,
      path: `${options.dir}/replica.sqlite`,
      upstreamUrl: upstream.url,
      tls: upstream.target.tls,
      snapshotUrl: options.upstreamHttpUrl,
      publication: core.publication,
      // After a power cut it asks the relay again from the last position that reached the disk.
      synchronous: 'normal',
      logLevel: config.log.level,
    });
    const stopServing = new AbortController();
    try {
      const edge = createEdge(
        {
          ...sessionWorld(clock),
          http: bunHttp,
          disk: nodeDisk,
          log,
          metrics: new Metrics(),
          feed: replica.feed,
          checksum: (at, waitMs) => replica.checksum(at, waitMs),
          startSlowLane: () =>
            bunWorkers.process<SlowRequest, SlowChunk>(new URL('./edge-query-child.ts', import.meta.url)),
        },
        {
          name: options.name,
          version: packageJson.version,
          pid: currentPid(),
          host: options.host,
          port: options.port,
          httpPort: options.httpPort,
          dir: options.dir,
          core: connectionTarget(core.databaseUrl),
          users,
          ...(tls.server === null ? {} : { tls: tls.server }),
          certificates: tls.certificates,
          peers: password === '' ? [] : [[options.peerUser, password]],
          trustLoopback: options.clientAuth === 'trust-loopback',
          connectionsMax: options.connectionsMax,
          forwardConnectionsMax: options.forwardConnectionsMax,
          statementTimeoutMs: options.statementTimeoutMs,
          slowLanesMax: options.slowLanes,
          catalogueTablesMax: options.catalogueTablesMax,
        },
      );
      const serving = edge.run(stopServing.signal);
      serving.catch(() => {}); // Looked at below, at the latest in `ended`.
      const ports = await edge.listening;
      await readable(replica, clock, signal);
      return {
        facts: { role: 'edge', name: options.name, ...ports },
        ended: Promise.race([
          serving,
          replica.ended.then(({ reason }) => {
            throw new Fault('replica-ended', {
              message: `the replica of ${options.name} ended: ${reason}`,
              retryable: true,
            });
          }),
        ]),
        async stop() {
          stopServing.abort();
          await serving;
          await replica.stop();
        },
      };
    } catch (error) {
      stopServing.abort();
      await replica.stop();
      throw error;
    }
  });
}

// A relay that serves is connected to within moments. One that does not must not keep an edge with rows from being used.
const LOST_WAIT_MS = 3_000;

/** Waits until there are rows to read, new ones if possible. Rejects when the signal aborts or the replica ends. */
async function readable(replica: ReplicaControl, clock: Clock, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let patient = true;
  const look = (): void => {
    const { state } = replica.feed.current;
    if (state === 'streaming' || (state === 'lost' && !patient)) resolve();
  };
  using _subscription = replica.feed.subscribe(look);
  using _patience = clock.after(LOST_WAIT_MS, () => {
    patient = false;
    look();
  });
  look();
  signal.addEventListener('abort', () => reject(new Error('told to stop')), { once: true });
  void replica.ended.then(({ reason }) =>
    reject(new Fault('replica-ended', { message: `the replica ended: ${reason}`, retryable: true })),
  );
  await promise;
}

function missing(option: string, what: string): Fault {
  return new Fault('config-missing', {
    message: `${option} is not set: it names ${what}`,
    hint: 'see `skerry config sample`',
  });
}
