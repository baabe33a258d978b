// The seam to time. Production gets `runtime/clock.ts`; tests and the simulator get a virtual one.

export interface Clock {
  /** Monotonic milliseconds with fractions; only differences mean something. */
  now(): number;
  /** Wall-clock milliseconds since 1970, for logs and for showing people; never for ordering (I1). */
  wall(): number;
  /** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls `task` once after `ms`. Dispose the handle to cancel. Does not keep the process alive. */
  after(ms: number, task: () => void): Disposable;
  /** Calls `task` once in the next turn of the event loop, after pending I/O. */
  soon(task: () => void): void;
}
