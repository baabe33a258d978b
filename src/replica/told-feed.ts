// The feed of a replica whose states are told to it: by the follower in this thread, or over a port by whoever has it.

import type { Clock } from '../base/clock.ts';
import type { ReplicaFeed, ReplicaState } from '../contracts/replica-feed.ts';
import { LSN_ZERO } from '../pg/lsn.ts';

const INITIAL: ReplicaState = {
  state: 'starting',
  reason: 'the applier is starting',
  epoch: null,
  position: LSN_ZERO,
  upstreamPosition: LSN_ZERO,
  generation: 0,
  schemaVersion: 0,
  proofs: 0,
  rows: 0,
  tables: 0,
};

export class ToldFeed implements ReplicaFeed {
  readonly path: string;
  readonly #clock: Clock;
  readonly #listeners = new Set<(state: ReplicaState) => void>();
  #current: ReplicaState = INITIAL;
  #equalAtMs: number | null = null;
  #provenAtMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, path: string) {
    this.#clock = clock;
    this.path = path;
  }

  get current(): ReplicaState {
    return this.#current;
  }

  lagMs(): number {
    if (isEqual(this.#current)) return 0;
    return this.#equalAtMs === null ? Number.POSITIVE_INFINITY : this.#clock.now() - this.#equalAtMs;
  }

  ageMs(): number {
    return this.#clock.now() - this.#provenAtMs;
  }

  subscribe(listener: (state: ReplicaState) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** `ageMs`: how old the last proof is already, where it was first told to somebody else. */
  tell(state: ReplicaState, ageMs = 0): void {
    // Equal until now, and equal again from now on: both moments count.
    if (isEqual(this.#current) || isEqual(state)) this.#equalAtMs = this.#clock.now();
    if (state.proofs !== this.#current.proofs) this.#provenAtMs = this.#clock.now() - ageMs;
    this.#current = state;
    for (const listener of this.#listeners) listener(state);
  }
}

function isEqual(state: ReplicaState): boolean {
  return state.state === 'streaming' && state.position >= state.upstreamPosition;
}
