// One lifecycle for everything that runs: `run(signal)` returns when it is done and throws when it is broken.

import type { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';

export interface Service {
  /** Dotted, most general word first: `relay.source`. Shown when a shutdown is stuck. */
  readonly name: string;
  /** Runs until the signal aborts (returns) or it is broken (throws). */
  run(signal: AbortSignal): Promise<void>;
}

export interface LoopOptions {
  readonly everyMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Calls `step` every `everyMs` until the signal aborts. A step that throws ends the loop with that error. */
export async function loop(options: LoopOptions, step: () => Promise<void> | void): Promise<void> {
  while (!options.signal.aborted) {
    await step();
    await sleepQuietly(options.clock, options.everyMs, options.signal);
  }
}

/** For waiting that nobody interrupts. */
export const NEVER_ABORTED: AbortSignal = new AbortController().signal;

/** Sleeps; an abort just ends the sleep. */
export async function sleepQuietly(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

export interface KeepRunningOptions {
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly signal: AbortSignal;
  /** Called for each failure with the wait before the next try. Throw from here to give up. */
  readonly failed: (error: unknown, waitMs: number, failures: number) => void;
}

/** Runs `service` again and again, with backoff between failures, until the signal aborts. */
export async function keepRunning(service: Service, options: KeepRunningOptions): Promise<void> {
  while (!options.signal.aborted) {
    try {
      await service.run(options.signal);
      return;
    } catch (error) {
      if (options.signal.aborted) return;
      const waitMs = options.backoff.next();
      options.failed(error, waitMs, options.backoff.failures);
      await sleepQuietly(options.clock, waitMs, options.signal);
    }
  }
}
