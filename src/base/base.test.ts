import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Backoff } from './backoff.ts';
import { BoundedQueue } from './bounded-queue.ts';
import type { Clock } from './clock.ts';
import { describeError, Fault, isRetryable } from './fault.ts';
import { keepRunning, loop } from './service.ts';

/** A clock whose sleeps end at once and are written down. */
function recordingClock(sleeps: number[]): Clock {
  return {
    now: () => sleeps.reduce((sum, ms) => sum + ms, 0),
    wall: () => 0,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted();
      sleeps.push(ms);
    },
    after: () => ({ [Symbol.dispose]: () => {} }),
    soon: (task) => task(),
  };
}

const FIXED = { float: () => 1, bytes: (length: number) => new Uint8Array(length) };

test('a bounded queue keeps order, refuses when full and takes again after a shift', () => {
  fc.assert(
    fc.property(
      fc.array(fc.option(fc.integer(), { nil: null })),
      fc.integer({ min: 1, max: 50 }),
      (steps, countMax) => {
        const queue = new BoundedQueue<number>({ countMax });
        const model: number[] = [];
        for (const step of steps) {
          if (step === null) expect(queue.shift()).toBe(model.shift());
          else {
            const taken = queue.push(step);
            expect(taken).toBe(model.length < countMax);
            if (taken) model.push(step);
          }
          expect(queue.length).toBe(model.length);
          expect(queue.peek()).toBe(model[0]);
        }
      },
    ),
  );
});

test('backoff doubles up to its maximum and starts again after a reset', () => {
  const backoff = new Backoff(FIXED, { firstMs: 100, maxMs: 1000 });
  expect([backoff.next(), backoff.next(), backoff.next(), backoff.next(), backoff.next()]).toEqual([
    100, 200, 400, 800, 1000,
  ]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test('backoff waits at least half of its step, so that jitter never means "at once"', () => {
  const backoff = new Backoff({ ...FIXED, float: () => 0 }, { firstMs: 100, maxMs: 1000 });
  expect(backoff.next()).toBe(50);
});

test('keepRunning restarts a broken service with growing waits and ends when it returns', async () => {
  const sleeps: number[] = [];
  const failures: string[] = [];
  let runs = 0;
  await keepRunning(
    {
      name: 'test',
      run: async () => {
        runs += 1;
        if (runs < 4) throw new Error(`broken ${runs}`);
      },
    },
    {
      clock: recordingClock(sleeps),
      backoff: new Backoff(FIXED, { firstMs: 10, maxMs: 1000 }),
      signal: new AbortController().signal,
      failed: (error) => failures.push(describeError(error)),
    },
  );
  expect(failures).toEqual(['broken 1', 'broken 2', 'broken 3']);
  expect(sleeps).toEqual([10, 20, 40]);
});

test('a loop ends quietly when its signal aborts, and loudly when its step throws', async () => {
  const abort = new AbortController();
  const sleeps: number[] = [];
  let steps = 0;
  await loop({ everyMs: 5, clock: recordingClock(sleeps), signal: abort.signal }, () => {
    steps += 1;
    if (steps === 3) abort.abort();
  });
  expect(steps).toBe(3);
  const failing = loop({ everyMs: 5, clock: recordingClock([]), signal: new AbortController().signal }, () => {
    throw new Error('broken');
  });
  await expect(failing).rejects.toThrow('broken');
});

test('a fault tells message and hint, and only retryable faults are retried', () => {
  const fault = new Fault('disk-full', { message: 'no room', hint: 'free some', retryable: true, sqlstate: '53100' });
  expect(describeError(fault)).toBe('no room (free some)');
  expect(isRetryable(fault)).toBe(true);
  expect(isRetryable(new Error('x'))).toBe(false);
  expect(new Fault('x', { message: 'y' }).sqlstate).toBe('XX000');
});
