// A proxy of several processes, in front of a test's Postgres. Its parent is this process.

import { fileURLToPath } from 'node:url';
import type { TopologySource } from '../src/contracts/topology.ts';
import { type Log, SILENT_LOG } from '../src/observe/log.ts';
import { Metrics } from '../src/observe/metrics.ts';
import { PROXY_DEFAULTS, type ProxyConfig } from '../src/proxy/config.ts';
import type { FromWorker, ToWorker } from '../src/proxy/workers/messages.ts';
import { WorkerParent } from '../src/proxy/workers/parent.ts';
import { createClock } from '../src/runtime/clock.ts';
import { createRandom } from '../src/runtime/random.ts';
import { bunWorkers } from '../src/runtime/worker.ts';
import { databaseConfig } from './proxy.ts';

const ENTRY = new URL('../src/roles/proxy-worker.ts', import.meta.url);

export interface TestWorkers extends AsyncDisposable {
  readonly parent: WorkerParent;
  readonly port: number;
  readonly readPort: number;
  /** postgres://postgres@127.0.0.1:port/postgres */
  readonly url: string;
  /** What the next RELOAD or RESTART reads; a function may throw. */
  next: () => ProxyConfig;
  /** Pids of the workers that serve, by number. */
  pids(): Map<number, number>;
}

export interface TestWorkersOptions extends Partial<ProxyConfig> {
  readonly log?: Log;
  readonly stopped?: () => void;
  readonly topologies?: ReadonlyMap<string, TopologySource>;
  /** Main module of the workers; fails tests of restarts when it is wrong. */
  readonly entry?: () => URL;
}

/** Two workers in transaction mode, trust on loopback, one database that answers to every name, unless the options say otherwise. */
export async function startWorkers(
  server: { readonly host: string; readonly port: number },
  options: TestWorkersOptions = {},
): Promise<TestWorkers> {
  const { log = SILENT_LOG, stopped = () => {}, entry = () => ENTRY, topologies, ...more } = options;
  const config: ProxyConfig = {
    ...PROXY_DEFAULTS,
    authType: 'trust',
    poolMode: 'transaction',
    clientConnectionsMax: 2000,
    databases: new Map([['*', databaseConfig(server)]]),
    workers: 2,
    ...more,
  };
  const running = { next: (): ProxyConfig => config };
  const parent = new WorkerParent(
    { clock: createClock(), random: createRandom(), log, metrics: new Metrics() },
    {
      config,
      version: 'test',
      // The log of the workers would end up in the test's own output.
      spawn: () => bunWorkers.process<ToWorker, FromWorker>(entry(), ['error', 'text']),
      readConfig: () => running.next(),
      ...(topologies === undefined ? {} : { topologies }),
      stopped,
    },
  );
  await parent.start();
  const { port, readPort } = parent;
  return Object.assign(running, {
    parent,
    port,
    readPort,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    pids: () =>
      new Map(
        parent
          .status()
          .workers.filter((one) => one.state === 'serving')
          .map(({ worker, pid }) => [worker, pid] as const),
      ),
    [Symbol.asyncDispose]: () => parent.stop(),
  });
}

/** A file that is no worker. */
export const NO_WORKER = new URL(`file://${fileURLToPath(import.meta.url)}`);
