// Time and chance of a simulated world: a clock that jumps from event to event, and a generator that a seed determines.

import type { Clock } from '../src/base/clock.ts';
import type { Random } from '../src/base/random.ts';

interface Event {
  readonly at: number;
  readonly order: number;
  readonly task: () => void;
  isOff: boolean;
}

export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  /** A binary heap by time, then by order of creation, so that a seed always gives the same run. */
  readonly #heap: Event[] = [];

  now(): number {
    return this.#now;
  }

  wall(): number {
    return this.#now;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  soon(task: () => void): void {
    this.after(0, task);
  }

  after(ms: number, task: () => void): Disposable {
    const event: Event = { at: this.#now + Math.max(0, ms), order: (this.#order += 1), task, isOff: false };
    this.#push(event);
    return {
      [Symbol.dispose]: () => {
        event.isOff = true;
      },
    };
  }

  /** Runs everything that is due until then. */
  runUntil(end: number): void {
    for (;;) {
      const next = this.#heap[0];
      if (next === undefined || next.at > end) break;
      this.#pop();
      if (next.isOff) continue;
      this.#now = next.at;
      next.task();
    }
    this.#now = end;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Event;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1;
      if (!isBefore(heap[child] as Event, last)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Not for secrets. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  float(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => Math.floor(this.float() * 256));
  }

  /** Waiting times of a Poisson process. */
  exponential(mean: number): number {
    return -Math.log(1 - this.float()) * mean;
  }

  /** Around `median`, never negative, with a long tail when `sigma` is large. */
  lognormal(median: number, sigma: number): number {
    const normal = Math.sqrt(-2 * Math.log(1 - this.float())) * Math.cos(2 * Math.PI * this.float());
    return median * Math.exp(sigma * normal);
  }
}
