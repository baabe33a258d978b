// A follower as a `ReplicaControl`: in this thread (tests), or in a Worker at the other end of a port.
//
// Messages to the Worker:   {tag: start, options} {tag: call, id, method, …} {tag: release} {tag: stop}
// Messages from the Worker: {tag: state, state} {tag: answer, id, value | error} {tag: ended, …} {tag: log, …}

import type { Clock } from '../base/clock.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { MessagePort, WorkerHandle } from '../base/worker.ts';
import type { ChecksumReport } from '../contracts/health.ts';
import type { PlacementSpec } from '../contracts/placement.ts';
import type { PlacementReport, ReplicaControl, ReplicaEnd, ReplicaOptions } from '../contracts/replica-control.ts';
import type { ReplicaState } from '../contracts/replica-feed.ts';
import type { Log, LogFields, LogLevel } from '../observe/log.ts';
import type { Lsn, Position } from '../pg/lsn.ts';
import { ToldFeed } from '../replica/told-feed.ts';
import { Follower, type FollowerDeps } from './follower.ts';

/** Runs a follower in this thread. */
export function runReplicaHere(deps: FollowerDeps, options: ReplicaOptions): ReplicaControl {
  const follower = new Follower(deps, options);
  const feed = new ToldFeed(deps.clock, options.path);
  follower.onState = (state) => feed.tell(state);
  const stopping = new AbortController();
  const ended = follower.run(stopping.signal).then(
    (): ReplicaEnd => ({ reason: 'told to stop', unusable: false }),
    (error: unknown) => endOf(error),
  );
  const stop = async (): Promise<void> => {
    stopping.abort();
    await ended;
  };
  return {
    feed,
    ended,
    snapshot: async (target, placement = null) => follower.snapshot(target, placement),
    checksum: (at, waitMs, placement = null) => follower.checksum(at, waitMs, placement, stopping.signal),
    setPlacements: async (specs) => follower.setPlacements(specs),
    placements: async () => follower.placements(),
    derivedDurable: (id) => follower.derivedDurable(id),
    hold: async (forMs) => follower.hold(forMs),
    release: () => follower.release(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function endOf(error: unknown): ReplicaEnd {
  return { reason: describeError(error), unusable: error instanceof Fault && error.code === 'replica-orphaned' };
}

type Call =
  | { readonly method: 'snapshot'; readonly target: string; readonly placement: string | null }
  | {
      readonly method: 'checksum';
      readonly at: Lsn | null;
      readonly waitMs: number;
      readonly placement: string | null;
    }
  | { readonly method: 'setPlacements'; readonly specs: readonly PlacementSpec[] }
  | { readonly method: 'placements' }
  | { readonly method: 'hold'; readonly forMs: number };

export type ToReplica =
  | { readonly tag: 'start'; readonly options: ReplicaOptions }
  | { readonly tag: 'call'; readonly id: number; readonly call: Call }
  | { readonly tag: 'release' }
  | { readonly tag: 'derivedDurable'; readonly id: number }
  | { readonly tag: 'stop' };

/** A Fault as plain data: classes do not survive the way between threads. */
interface PlainError {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
  readonly sqlstate: string;
  readonly retryable: boolean;
}

export type FromReplica =
  | { readonly tag: 'state'; readonly state: ReplicaState }
  | { readonly tag: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly tag: 'failed'; readonly id: number; readonly error: PlainError }
  | { readonly tag: 'ended'; readonly end: ReplicaEnd }
  | { readonly tag: 'log'; readonly level: LogLevel; readonly event: string; readonly fields: LogFields };

/** The Worker's end: waits for `start`, then follows until told to stop. */
export function serveReplica(port: MessagePort<FromReplica, ToReplica>, depsWith: (log: Log) => FollowerDeps): void {
  let control: ReplicaControl | null = null;
  const answer = (id: number, value: Promise<unknown>): void => {
    value.then(
      (result) => port.post({ tag: 'answer', id, value: result }),
      (error: unknown) => port.post({ tag: 'failed', id, error: plainError(error) }),
    );
  };
  port.onMessage = (message) => {
    switch (message.tag) {
      case 'start':
        {
          const deps = depsWith(portLog(port, {}));
          control = runReplicaHere(deps, message.options);
          const tell = paced(deps.clock, (state) => port.post({ tag: 'state', state }));
          control.feed.subscribe(tell);
          void control.ended.then((end) => port.post({ tag: 'ended', end }));
        }
        break;
      case 'call':
        if (control !== null) answer(message.id, callOn(control, message.call));
        break;
      case 'release':
        control?.release();
        break;
      case 'derivedDurable':
        control?.derivedDurable(message.id);
        break;
      case 'stop':
        void control?.stop();
        break;
    }
  };
}

/** States change with each commit; between threads one a millisecond is enough, the first of them at once and the last always. */
const STATE_EVERY_MS = 1;

function paced(clock: Clock, post: (state: ReplicaState) => void): (state: ReplicaState) => void {
  let waiting: ReplicaState | null = null;
  let pausing = false;
  return (state) => {
    if (pausing) {
      waiting = state;
      return;
    }
    post(state);
    pausing = true;
    const open = (): void => {
      pausing = false;
      const last = waiting;
      waiting = null;
      if (last === null) return;
      post(last);
      pausing = true;
      clock.after(STATE_EVERY_MS, open);
    };
    clock.after(STATE_EVERY_MS, open);
  };
}

function callOn(control: ReplicaControl, call: Call): Promise<unknown> {
  switch (call.method) {
    case 'snapshot':
      return control.snapshot(call.target, call.placement);
    case 'checksum':
      return control.checksum(call.at, call.waitMs, call.placement);
    case 'setPlacements':
      return control.setPlacements(call.specs);
    case 'placements':
      return control.placements();
    case 'hold':
      return control.hold(call.forMs);
  }
}

/** The owner's end of a Worker that runs `serveReplica`. */
export function replicaInWorker(
  deps: { readonly clock: Clock; readonly log: Log },
  worker: WorkerHandle<ToReplica, FromReplica>,
  options: ReplicaOptions,
): ReplicaControl {
  const feed = new ToldFeed(deps.clock, options.path);
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  const ended = Promise.withResolvers<ReplicaEnd>();
  let calls = 0;
  worker.onMessage = (message) => {
    switch (message.tag) {
      case 'state':
        feed.tell(message.state);
        break;
      case 'answer':
        waiting.get(message.id)?.resolve(message.value);
        waiting.delete(message.id);
        break;
      case 'failed':
        waiting.get(message.id)?.reject(faultOf(message.error));
        waiting.delete(message.id);
        break;
      case 'ended':
        ended.resolve(message.end);
        break;
      case 'log':
        deps.log[message.level](message.event, message.fields);
        break;
    }
  };
  void worker.exited.then((sentence) => {
    ended.resolve({ reason: `the thread ${sentence}`, unusable: false });
    for (const { reject } of waiting.values()) reject(gone());
    waiting.clear();
  });
  const call = <T>(request: Call): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      calls += 1;
      waiting.set(calls, { resolve: resolve as (value: unknown) => void, reject });
      worker.post({ tag: 'call', id: calls, call: request });
    });
  const stop = async (): Promise<void> => {
    worker.post({ tag: 'stop' });
    await ended.promise;
    for (const { reject } of waiting.values()) reject(gone());
    waiting.clear();
    await worker.kill();
  };
  worker.post({ tag: 'start', options });
  return {
    feed,
    ended: ended.promise,
    snapshot: (target, placement = null) => call<Position>({ method: 'snapshot', target, placement }),
    checksum: (at, waitMs, placement = null) => call<ChecksumReport>({ method: 'checksum', at, waitMs, placement }),
    setPlacements: (specs) => call<PlacementReport>({ method: 'setPlacements', specs }),
    placements: () => call<PlacementReport>({ method: 'placements' }),
    derivedDurable: (id) => worker.post({ tag: 'derivedDurable', id }),
    hold: (forMs) => call<Lsn>({ method: 'hold', forMs }),
    release: () => worker.post({ tag: 'release' }),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function portLog(port: MessagePort<FromReplica, ToReplica>, bound: LogFields): Log {
  const write = (level: LogLevel, event: string, fields: LogFields = {}): void =>
    port.post({ tag: 'log', level, event, fields: { ...bound, ...fields } });
  return {
    debug: (event, fields) => write('debug', event, fields),
    info: (event, fields) => write('info', event, fields),
    warn: (event, fields) => write('warn', event, fields),
    error: (event, fields) => write('error', event, fields),
    with: (fields) => portLog(port, { ...bound, ...fields }),
  };
}

function plainError(error: unknown): PlainError {
  if (error instanceof Fault) {
    const { code, message, sqlstate, retryable } = error;
    return { code, message, hint: error.hint ?? null, sqlstate, retryable };
  }
  return { code: 'internal', message: describeError(error), hint: null, sqlstate: 'XX000', retryable: false };
}

function faultOf(error: PlainError): Fault {
  const { code, message, sqlstate, retryable, hint } = error;
  return new Fault(code, { message, sqlstate, retryable, ...(hint === null ? {} : { hint }) });
}

function gone(): Fault {
  return new Fault('replica-not-ready', { message: 'the applier has ended', sqlstate: '57P01', retryable: true });
}
