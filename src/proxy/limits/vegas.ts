// TCP Vegas (Brakmo and Peterson 1995) for statements instead of segments. From how much longer statements take than they
// would alone follows how many of them only stand in line at the server:
//
//   queue = statements at work × (1 − baseline / time)
//
// Below ALPHA the limit rises, above BETA it falls, between them it stays. The numbers are those of Netflix'
// concurrency-limits; unlike there a deep queue is left in larger steps, as Vegas leaves its slow start.

import { type ConcurrencyLimit, type LimitStep, type LimitWindow, times } from './concurrency-limit.ts';

const ALPHA = 3;
const BETA = 6;

/** Windows without any queue before growth gets fast: one lucky window is not yet room. */
const CALM_WINDOWS = 3;

export class Vegas implements ConcurrencyLimit {
  readonly algorithm = 'vegas';
  #calm = 0;

  step(limit: number, { ratio, busyMax, lanes }: LimitWindow): LimitStep {
    const unit = unitOf(limit);
    // What is not used does not stand in line.
    const used = Math.min(limit, busyMax);
    const queue = Math.max(0, used * (1 - 1 / ratio));
    const alpha = (ALPHA * unit) / lanes;
    const beta = (BETA * unit) / lanes;
    if (queue > beta) {
      this.#calm = 0;
      const down = queue > 2 * beta ? Math.max(unit, Math.ceil((queue - beta) / 2)) : unit;
      return {
        limit: Math.min(limit, used + unit) - down,
        reason: `statements take ${times(ratio)} as long as alone, about ${Math.round(queue)} of them only stand in line at the server`,
      };
    }
    if (queue >= alpha) {
      this.#calm = 0;
      return { limit, reason: '' };
    }
    // Who does not use what he has gives no evidence about more.
    if (busyMax * 2 < limit) return { limit, reason: '' };
    this.#calm = queue <= unit ? this.#calm + 1 : 0;
    // Beside others a leap would be their trouble.
    const up = this.#calm > CALM_WINDOWS && lanes === 1 ? BETA * unit : unit;
    return { limit: limit + up, reason: `statements take no longer than alone (${times(ratio)})` };
  }
}

/** 1 below 100, 2 below 1000 …: the step grows with the limit. */
function unitOf(limit: number): number {
  return Math.max(1, Math.floor(Math.log10(Math.max(1, limit))));
}
