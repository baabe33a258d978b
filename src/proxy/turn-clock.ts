// The time, read once for each chunk of bytes that arrives: a point query asks for it eight times, which was a quarter of the
// proxy's own work on it (`bench` proxy). Outside of such a turn it is the clock's own.

import type { Clock } from '../base/clock.ts';

export class TurnClock {
  readonly #clock: Clock;
  /** 0 between turns. */
  #turn = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds, monotonic. */
  now(): number {
    return this.#turn === 0 ? this.#clock.now() : this.#turn;
  }

  /** A chunk is being looked at from here to `end`. */
  begin(): void {
    this.#turn = this.#clock.now();
  }

  end(): void {
    this.#turn = 0;
  }
}
