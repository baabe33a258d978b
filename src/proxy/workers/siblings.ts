// What a proxy knows of the other workers on its port. Null when it is alone.

import type { AdminAnswer } from '../admin/session.ts';
import type { CancelKey } from './cancel-key.ts';
import type { PlaceAmongWorkers, RunState } from './messages.ts';
import type { WorkerShares } from './shares.ts';

export interface Siblings {
  /** 1 to ROUTE_MAX. */
  readonly worker: number;
  readonly mockSecret: Uint8Array;
  readonly shares: WorkerShares;
  /** What operators have changed, for databases that are not known here yet. */
  state(): RunState;
  place(): PlaceAmongWorkers;
  /** Runs a command of the admin console on all workers; one answer. Rejects with a Fault. */
  command(text: string): Promise<AdminAnswer>;
  /** Passes a cancel request on to the worker that the key names. */
  cancel(worker: number, key: CancelKey): Promise<void>;
}
