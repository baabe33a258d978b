// Gradient2, after Netflix' concurrency-limits: the limit follows the ratio of the long-term time to the time of now. Compared
// with Vegas it takes a long stretch of slowness for normal, so it suits statements whose cost varies a lot by itself.

import { type ConcurrencyLimit, type LimitStep, type LimitWindow, times } from './concurrency-limit.ts';

/** Times may rise by half before the limit falls. */
const TOLERANCE = 1.5;
/** Statements that may stand in line at the server. */
const QUEUE = 4;
const SMOOTHING = 0.2;
/** Windows over which the long-term time is averaged. */
const LONG_WINDOWS = 600;
const WARM_UP_WINDOWS = 10;
/** What takes more than twice as long as the baseline is never called normal. */
const LONG_RATIO_MAX = 2;

export class Gradient2 implements ConcurrencyLimit {
  readonly algorithm = 'gradient2';
  #long = 1;
  #windows = 0;

  step(limit: number, { ratio, busyMax, lanes }: LimitWindow): LimitStep {
    const short = Math.max(ratio, 0.01);
    this.#windows += 1;
    const weight = this.#windows <= WARM_UP_WINDOWS ? 1 / (this.#windows + 1) : 2 / (LONG_WINDOWS + 1);
    this.#long = Math.min(LONG_RATIO_MAX, this.#long * (1 - weight) + short * weight);
    // After a long bad time the average must not stay high for as long again.
    if (this.#long / short > 2) this.#long *= 0.95;
    if (busyMax * 2 < limit) return { limit, reason: '' };
    const gradient = Math.max(0.5, Math.min(1, (TOLERANCE * this.#long) / short));
    const wanted = limit * gradient + QUEUE / lanes;
    const next = limit * (1 - SMOOTHING) + wanted * SMOOTHING;
    return {
      limit: next,
      reason:
        next < limit
          ? `statements take ${times(short)} as long as alone, usually ${times(this.#long)}`
          : `statements take about as long as usual (${times(short)}, usually ${times(this.#long)})`,
    };
  }
}
