// A replica applied in a thread of its own.

import type { Clock } from '../base/clock.ts';
import type { ReplicaControl, ReplicaOptions } from '../contracts/replica-control.ts';
import type { Log } from '../observe/log.ts';
import { bunWorkers } from '../runtime/worker.ts';
import { type FromReplica, replicaInWorker, type ToReplica } from '../stream/replica-host.ts';

/** Starts the thread; it goes on until it is stopped. */
export function startReplica(clock: Clock, log: Log, options: ReplicaOptions): ReplicaControl {
  const worker = bunWorkers.thread<ToReplica, FromReplica>(new URL('./replica-worker.ts', import.meta.url));
  return replicaInWorker({ clock, log }, worker, options);
}
