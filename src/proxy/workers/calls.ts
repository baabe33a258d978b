// Questions and answers between two processes: each question has a number, and the answer comes with it. A question that is
// not taken up within its time, or that is not answered within its time, is given up with a Fault.

import type { Clock } from '../../base/clock.ts';
import { Fault } from '../../base/fault.ts';
import { faultOf, type Outcome } from './messages.ts';

interface Pending {
  readonly resolve: (outcome: Outcome) => void;
  accepted: boolean;
}

/** Milliseconds. */
export interface CallLimits {
  /** Until the other side says that it has the question. */
  readonly acceptMs: number;
  /** Until it has answered, from then; null = as long as it takes. */
  readonly answerMs: number | null;
}

export class Calls {
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #ids = 0;
  #over: Fault | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Rejects with the other side's fault, with `silent`, or with what `end` was told. */
  async call(
    send: (id: number) => void,
    limits: CallLimits,
    silent: Fault,
  ): Promise<(Outcome & { ok: true })['value']> {
    if (this.#over !== null) throw this.#over;
    const id = (this.#ids += 1);
    const { promise, resolve } = Promise.withResolvers<Outcome | null>();
    const pending: Pending = { resolve, accepted: false };
    this.#pending.set(id, pending);
    using _accept = this.#clock.after(limits.acceptMs, () => {
      if (!pending.accepted) resolve(null);
    });
    using _answer =
      limits.answerMs === null ? null : this.#clock.after(limits.acceptMs + limits.answerMs, () => resolve(null));
    try {
      send(id);
      const outcome = await promise;
      if (outcome === null) throw silent;
      if (!outcome.ok) throw faultOf(outcome.fault);
      return outcome.value;
    } finally {
      this.#pending.delete(id);
    }
  }

  accepted(id: number): void {
    const pending = this.#pending.get(id);
    if (pending !== undefined) pending.accepted = true;
  }

  done(id: number, outcome: Outcome): void {
    this.#pending.get(id)?.resolve(outcome);
  }

  /** The other side is gone. */
  end(fault: Fault): void {
    this.#over = fault;
    const { code, message, sqlstate } = fault;
    for (const { resolve } of this.#pending.values()) {
      resolve({ ok: false, fault: { code, message, hint: fault.hint, sqlstate, retryable: fault.retryable } });
    }
  }
}
