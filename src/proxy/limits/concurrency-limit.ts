// How many statements of one tenant may be at work on one server. The decision is a pure step: the limit of now and what was
// seen since the last step give the next limit and a sentence that says why. Two implementations: Vegas and Gradient2.

/** Also the words of the option `adaptive_limit`; `off` leaves the hard limits alone in charge. */
export const ALGORITHMS = ['vegas', 'gradient2', 'off'] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

/** No tenant is ever held below this: even the worst neighbour gets on, slowly. */
export const LIMIT_MIN = 1;

/** What one lane (a tenant on one server) saw between two steps. */
export interface LimitWindow {
  /** How many times as long as their baselines its statements took, as far as this lane itself is answerable for it; about 1 when nothing queues. */
  readonly ratio: number;
  /** Most statements it had at work at once. */
  readonly busyMax: number;
  /** Tenants that are active on the server, this one included: the queue at the server is allowed once, not once for each. */
  readonly lanes: number;
}

export interface LimitStep {
  /** May have a fraction, which is kept from step to step; the whole part counts. */
  readonly limit: number;
  /** Why it changed; empty when it did not. */
  readonly reason: string;
}

export interface ConcurrencyLimit {
  readonly algorithm: Algorithm;
  step(limit: number, window: LimitWindow): LimitStep;
}

/** `2.4 times`, for sentences. */
export function times(ratio: number): string {
  return `${ratio.toFixed(1)} times`;
}
