// Time from the machine.

import type { Clock } from '../base/clock.ts';

export function createClock(): Clock {
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    sleep,
    after: (ms, task) => {
      const timer = setTimeout(task, ms);
      timer.unref();
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
    soon: (task) => {
      setImmediate(task);
    },
  };
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }, ms);
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
