// The timeouts of a session that end it, as Postgres ends it: idle in a transaction, idle outside of one, a transaction that takes too
// long. statement_timeout is not here: it only ends a statement.
//
//   frame ──▶ busy ──ReadyForQuery──▶ idle ──timer──▶ FATAL        a block, or a statement outside of one ──transaction timer──▶ FATAL

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { TransactionStatus } from '../wire/backend.ts';
import type { Durations } from './settings.ts';

export class SessionTimers {
  readonly #clock: Clock;
  readonly #durations: () => Durations;
  readonly #end: (fault: Fault) => void;
  #idle: Disposable | null = null;
  #transaction: Disposable | null = null;

  constructor(clock: Clock, durations: () => Durations, end: (fault: Fault) => void) {
    this.#clock = clock;
    this.#durations = durations;
    this.#end = end;
  }

  /** A message of the client came. */
  busy(): void {
    this.#idle?.[Symbol.dispose]();
    this.#idle = null;
    const { transactionMs } = this.#durations();
    if (transactionMs > 0) this.#begin(transactionMs);
  }

  /** The client was told that it may go on. */
  ready(status: TransactionStatus): void {
    const { idleInTransactionMs, idleSessionMs, transactionMs } = this.#durations();
    this.#idle?.[Symbol.dispose]();
    this.#idle = null;
    if (status === 'I') {
      this.#transaction?.[Symbol.dispose]();
      this.#transaction = null;
      if (idleSessionMs > 0) this.#idle = this.#clock.after(idleSessionMs, () => this.#end(IDLE_SESSION));
      return;
    }
    if (transactionMs > 0) this.#begin(transactionMs);
    if (idleInTransactionMs > 0) {
      this.#idle = this.#clock.after(idleInTransactionMs, () => this.#end(IDLE_IN_TRANSACTION));
    }
  }

  stop(): void {
    this.#idle?.[Symbol.dispose]();
    this.#transaction?.[Symbol.dispose]();
    this.#idle = null;
    this.#transaction = null;
  }

  #begin(ms: number): void {
    this.#transaction ??= this.#clock.after(ms, () => this.#end(TRANSACTION));
  }
}

const IDLE_IN_TRANSACTION = new Fault('idle-in-transaction', {
  message: 'terminating connection due to idle-in-transaction timeout',
  sqlstate: '25P03',
});
const IDLE_SESSION = new Fault('idle-session', {
  message: 'terminating connection due to idle-session timeout',
  sqlstate: '57P05',
});
const TRANSACTION = new Fault('transaction-timeout', {
  message: 'terminating connection due to transaction timeout',
  sqlstate: '25P04',
});
