// A network between named places, of which the store is one: messages take time, get lost, and may pass in one direction only.

import type { SeededRandom, VirtualClock } from '../virtual-time.ts';

const LATENCY_MS = 1;

export class SimNetwork {
  readonly #clock: VirtualClock;
  readonly #random: SeededRandom;
  /** `a>b`: nothing passes from a to b. */
  readonly cut = new Set<string>();
  /** Extra milliseconds on `a>b`. */
  readonly slow = new Map<string, number>();
  /** Part of all messages that is lost. */
  loss = 0;

  constructor(clock: VirtualClock, random: SeededRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  heal(): void {
    this.cut.clear();
    this.slow.clear();
    this.loss = 0;
  }

  send(from: string, to: string, arrive: () => void): void {
    const link = `${from}>${to}`;
    const delay = LATENCY_MS + this.#random.exponential(LATENCY_MS) + (this.slow.get(link) ?? 0);
    if (this.#random.float() < this.loss) return;
    this.#clock.after(delay, () => {
      // What is on its way when the link is cut is lost too.
      if (!this.cut.has(link)) arrive();
    });
  }

  /** Asks and waits for the answer; `done` is called exactly once, with null when there was none in time. */
  call<T>(from: string, to: string, timeoutMs: number, answer: () => T | null, done: (result: T | null) => void): void {
    let isDone = false;
    const finish = (result: T | null): void => {
      if (isDone) return;
      isDone = true;
      done(result);
    };
    const timer = this.#clock.after(timeoutMs, () => finish(null));
    this.send(from, to, () => {
      const result = answer();
      if (result === null) return;
      this.send(to, from, () => {
        timer[Symbol.dispose]();
        finish(result);
      });
    });
  }
}
