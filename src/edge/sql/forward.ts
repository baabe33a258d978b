// How planning says "ask the core": thrown anywhere inside the planner, caught once at its edge.

import type { ForwardReason } from './plan.ts';

export class Forward extends Error {
  readonly reason: ForwardReason;

  constructor(reason: ForwardReason, detail: string) {
    super(detail);
    this.reason = reason;
  }
}
