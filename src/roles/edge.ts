// The edge role: a PoP in one process. The replica is applied in a thread, statements that may scan run in child processes,
// clients are served on the main thread.

import packageJson from '../../package.json' with { type: 'json' };
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Config } from '../config/options.ts';
import type { ReplicaControl } from '../contracts/replica-control.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import { createEdge, type EdgeDeps, type EdgeOptions } from '../edge/edge.ts';
import type { SlowChunk, SlowRequest } from '../edge/slow-lanes.ts';
import type { Log } from '../observe/log.ts';
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
import { readRoleTls, relayLogin, type RoleTls } from './tls.ts';
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
    // Before a replica is fetched for an edge that will not serve it.
    requireSafeListening({
      who: 'the edge',
      host: options.host,
      hasTls: tls.server !== null,
      hasAuthentication: tls.certificates.acceptCertificates || options.clientUsersFile !== '',
    });
    makeFolder(options.dir, 0o700);
    const replica = startReplica(clock, log, {
      name: options.name,
      path: replicaPath(config),
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
          ...edgeDeps(clock, log, replica.feed),
          checksum: (at, waitMs) => replica.checksum(at, waitMs),
          startReader: () => bunWorkers.process(new URL('./edge-reader.ts', import.meta.url)),
        },
        {
          ...edgeOptions(config, tls),
          port: options.port,
          httpPort: options.httpPort,
          ...(options.ktTables.length === 0 ? {} : { kt: { port: options.ktPort, tables: options.ktTables } }),
          readerSetup: config satisfies ReaderSetup,
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

/** What a further reader of this edge is told: it reads the files that the options name by itself. */
export type ReaderSetup = Config;

/** Where the applier of an edge keeps its file. */
export function replicaPath(config: Config): string {
  return `${config.edge.dir}/replica.sqlite`;
}

/** The world of one process of an edge. */
export function edgeDeps(
  clock: Clock,
  log: Log,
  feed: ReplicaFeed,
): Omit<EdgeDeps, 'checksum' | 'startReader' | 'cancelElsewhere'> {
  return {
    ...sessionWorld(clock),
    http: bunHttp,
    disk: nodeDisk,
    log,
    metrics: new Metrics(),
    feed,
    startSlowLane: () => bunWorkers.process<SlowRequest, SlowChunk>(new URL('./edge-query-child.ts', import.meta.url)),
  };
}

/** What the option table says about serving, the same for all processes of an edge. */
export function edgeOptions(config: Config, tls: RoleTls): Omit<EdgeOptions, 'port' | 'httpPort'> {
  const { edge: options, core } = config;
  const password = readSecretFile(options.peerPasswordFile);
  return {
    name: options.name,
    version: packageJson.version,
    pid: currentPid(),
    host: options.host,
    readers: options.readers,
    dir: options.dir,
    core: connectionTarget(core.databaseUrl),
    users: readUsersFile(options.clientUsersFile),
    ...(tls.server === null ? {} : { tls: tls.server }),
    certificates: tls.certificates,
    peers: password === '' ? [] : [[options.peerUser, password]],
    trustLoopback: options.clientAuth === 'trust-loopback',
    connectionsMax: options.connectionsMax,
    forwardConnectionsMax: options.forwardConnectionsMax,
    statementTimeoutMs: options.statementTimeoutMs,
    slowLanesMax: options.slowLanes,
    snapshotsMax: options.snapshotsMax,
    snapshotLanesMax: options.snapshotLanes,
    snapshotAgeMsMax: options.snapshotAgeMaxMs,
    snapshotLogBytesMax: options.snapshotLogBytesMax,
    cursorBytesMax: options.cursorBytesMax,
    catalogueTablesMax: options.catalogueTablesMax,
  };
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
