import type { Random } from './random.ts';

/** Exponential backoff with full jitter: many PoPs that lost one relay must not come back in step. */
export class Backoff {
  readonly #options: { readonly firstMs: number; readonly maxMs: number };
  readonly #random: Random;
  #failures = 0;

  constructor(random: Random, options: { readonly firstMs: number; readonly maxMs: number }) {
    this.#random = random;
    this.#options = options;
  }

  /** Failures since the last `reset`. */
  get failures(): number {
    return this.#failures;
  }

  /** Milliseconds to wait before the next try: between half and all of the current step. */
  next(): number {
    const step = Math.min(this.#options.maxMs, this.#options.firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return step * (0.5 + this.#random.float() / 2);
  }

  /** Call at the first sign of health. */
  reset(): void {
    this.#failures = 0;
  }
}
