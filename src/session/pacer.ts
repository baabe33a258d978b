// Spreads dear work over turns of the event loop: so many pieces in one turn, the others in later ones, in order. It waits for
// nobody: a peer that is slow after its turn has come holds nobody up.

import type { Clock } from '../base/clock.ts';

export class Pacer {
  readonly #clock: Clock;
  readonly #perTurn: number;
  readonly #waiting: (() => void)[] = [];
  /** Pieces begun in this turn; a turn ends when `#next` runs. */
  #begun = 0;

  constructor(clock: Clock, perTurn: number) {
    this.#clock = clock;
    this.#perTurn = perTurn;
  }

  /** Resolves when the caller may begin. */
  async turn(): Promise<void> {
    if (this.#begun === 0) this.#clock.soon(() => this.#next());
    this.#begun += 1;
    if (this.#begun > this.#perTurn) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #next(): void {
    const admitted = this.#waiting.splice(0, this.#perTurn);
    this.#begun = admitted.length + this.#waiting.length;
    if (this.#begun > 0) this.#clock.soon(() => this.#next());
    for (const begin of admitted) begin();
  }
}
