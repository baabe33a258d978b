// The main module of a worker of the proxy: started by roles/proxy.ts, as many times as there are workers.

import { Metrics } from '../observe/metrics.ts';
import type { FromWorker, ToWorker } from '../proxy/workers/messages.ts';
import { ProxyWorker } from '../proxy/workers/worker.ts';
import { createClock } from '../runtime/clock.ts';
import { createCrypto } from '../runtime/crypto.ts';
import { createNet } from '../runtime/net.ts';
import { currentPid, exit, leaveSignalsToParent } from '../runtime/process.ts';
import { createRandom } from '../runtime/random.ts';
import { parentPort } from '../runtime/worker.ts';
import { argumentsLog } from './worker-log.ts';

leaveSignalsToParent();
const clock = createClock();
new ProxyWorker({
  world: {
    clock,
    net: createNet(),
    random: createRandom(),
    crypto: createCrypto(),
    log: argumentsLog(clock),
    metrics: new Metrics(),
  },
  parent: parentPort<FromWorker, ToWorker>(),
  pid: currentPid(),
  exit: () => void exit(0),
});
