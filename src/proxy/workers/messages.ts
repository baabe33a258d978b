// What the parent of the workers and a worker say to each other. Plain data: it travels between processes.

import { Fault } from '../../base/fault.ts';
import type { Topology } from '../../contracts/topology.ts';
import type { MetricSnapshot } from '../../observe/metrics.ts';
import type { AdminAnswer } from '../admin/session.ts';
import type { ProxyConfig } from '../config.ts';
import type { DemandReport, ShareMessage } from './budget.ts';
import type { CancelKey } from './cancel-key.ts';

/** Grows with each change here: after an update on disk a restarted worker may be newer than its parent. */
export const WORKER_PROTOCOL = 2;

/** What operators changed at run time; a worker that starts later has to know it. */
export interface RunState {
  readonly pausedAll: boolean;
  /** Databases that RESUME named after PAUSE of all. */
  readonly resumed: readonly string[];
  readonly paused: readonly string[];
  readonly disabled: readonly string[];
  readonly options: readonly (readonly [name: string, value: string])[];
}

export interface ServeOrder {
  readonly tag: 'serve';
  readonly worker: number;
  readonly config: ProxyConfig;
  readonly version: string;
  /** So that unknown users look the same at all workers. */
  readonly mockSecret: Uint8Array;
  readonly state: RunState;
  readonly place: PlaceAmongWorkers;
  /** By database, for those whose servers the parent knows from a TopologySource; `*` is for all others. */
  readonly topologies: readonly (readonly [database: string, topology: Topology])[];
}

/** Position among those that accept clients, for what is divided once and for all (min_pool_size). */
export interface PlaceAmongWorkers {
  readonly rank: number;
  readonly count: number;
}

/** Asked of a worker by the parent; each is answered with `done`. */
export type WorkerRequest =
  | { readonly do: 'command'; readonly text: string }
  | { readonly do: 'configure'; readonly config: ProxyConfig }
  | { readonly do: 'figures' }
  /** Listen no more; resolves when the port is closed. Clients may finish until the deadline; then the process ends. */
  | { readonly do: 'retire'; readonly others: readonly number[] | null; readonly timeoutMs: number }
  | { readonly do: 'steer-all' }
  | { readonly do: 'ping' };

/** Asked of the parent by a worker. */
export type ParentRequest =
  | { readonly do: 'admin'; readonly text: string }
  | { readonly do: 'cancel'; readonly worker: number; readonly key: CancelKey };

export type ToWorker =
  | ServeOrder
  | { readonly tag: 'topology'; readonly database: string; readonly topology: Topology }
  | { readonly tag: 'state'; readonly state: RunState }
  | { readonly tag: 'place'; readonly place: PlaceAmongWorkers }
  | { readonly tag: 'request'; readonly id: number; readonly request: WorkerRequest }
  | { readonly tag: 'done'; readonly id: number; readonly outcome: Outcome }
  | { readonly tag: 'shares'; readonly message: ShareMessage }
  | { readonly tag: 'cancel'; readonly key: CancelKey }
  | { readonly tag: 'stop' };

export type FromWorker =
  | { readonly tag: 'hello'; readonly protocol: number; readonly pid: number }
  | { readonly tag: 'serving'; readonly port: number; readonly readPort: number }
  | { readonly tag: 'failed'; readonly fault: FaultData }
  /** The request has arrived and is being worked on. */
  | { readonly tag: 'accepted'; readonly id: number }
  | { readonly tag: 'done'; readonly id: number; readonly outcome: Outcome }
  | { readonly tag: 'request'; readonly id: number; readonly request: ParentRequest }
  | { readonly tag: 'demand'; readonly report: DemandReport }
  /** The last word of one that goes in order: its counters stay in the sums. */
  | { readonly tag: 'farewell'; readonly last: WorkerFigures };

/** What stays of a worker. */
export interface WorkerFigures {
  readonly metrics: readonly MetricSnapshot[];
  /** SHOW STATS. */
  readonly stats: AdminAnswer;
  readonly clients: number;
  readonly waiting: number;
  readonly servers: number;
  /** Statements answered since the start. */
  readonly queries: number;
}

export type Outcome =
  | { readonly ok: true; readonly value: AdminAnswer | WorkerFigures | null }
  | { readonly ok: false; readonly fault: FaultData };

export interface FaultData {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly sqlstate: string;
  readonly retryable: boolean;
}

export function faultData(error: unknown): FaultData {
  if (error instanceof Fault) {
    const { code, message, hint, sqlstate, retryable } = error;
    return { code, message, hint, sqlstate, retryable };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'internal', message, hint: undefined, sqlstate: 'XX000', retryable: false };
}

export function faultOf({ code, message, hint, sqlstate, retryable }: FaultData): Fault {
  return new Fault(code, { message, sqlstate, retryable, ...(hint === undefined ? {} : { hint }) });
}
