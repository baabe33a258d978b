// A session's statements in slow lanes: rows on their way to the client, no faster than it reads, until they end, a limit is
// reached, or somebody stops them (cancel, statement_timeout).

import type { Clock } from '../base/clock.ts';
import { errorFieldsOf } from '../session/faults.ts';
import type { ErrorFields } from '../wire/backend.ts';
import { errorFields } from './faults.ts';
import type { BoundValues, PreparedPlan } from './local.ts';
import type { SlowChunk, SlowLanes, SlowQuery } from './slow-lanes.ts';
import type { BlockSnapshot } from './snapshots.ts';

export interface SlowRowsDeps {
  readonly clock: Clock;
  readonly lanes: SlowLanes;
  /** 0 = none. */
  readonly timeoutMs: () => number;
  /** Whole DataRow frames for the client. */
  readonly send: (bytes: Uint8Array) => void;
  /** Resolves when the client has room for more; false when it is gone. */
  readonly room: () => Promise<boolean>;
}

export type SlowOutcome =
  /** All rows are sent. */
  | { readonly end: 'done'; readonly rows: number }
  /** As many rows as asked for are sent, there may be more. */
  | { readonly end: 'suspended'; readonly rows: number }
  /** Nothing was sent, and the core has to answer. */
  | { readonly end: 'forward' }
  | { readonly end: 'failed'; readonly error: ErrorFields }
  | { readonly end: 'gone' };

type Killable = Pick<SlowQuery, 'kill'>;

export class SlowRows {
  readonly #deps: SlowRowsDeps;
  #running: SlowQuery | null = null;
  /** Waits for a lane. */
  #waiting: Killable | null = null;
  #stopped: 'user' | 'timeout' | null = null;

  constructor(deps: SlowRowsDeps) {
    this.#deps = deps;
  }

  /** Something can be cancelled. */
  get running(): boolean {
    return this.#running !== null || this.#waiting !== null;
  }

  /** A lane for the statement; null when all are taken and enough statements wait already; an error when it was stopped. */
  async open(
    prepared: PreparedPlan,
    values: BoundValues,
    formats: readonly number[],
    snapshot: BlockSnapshot | null = null,
  ): Promise<SlowQuery | null | ErrorFields> {
    this.#stopped = null;
    const { plan } = prepared;
    const lane =
      snapshot === null ? this.#deps.lanes.open(plan, values, formats) : snapshot.openSlow(plan, values, formats);
    const stopped = new Promise<'stopped'>((resolve) => {
      this.#waiting = { kill: () => resolve('stopped') };
    });
    const timer = this.#startTimeout(this.#waiting as Killable);
    const first = await Promise.race([lane, stopped]).catch(errorFieldsOf);
    timer?.[Symbol.dispose]();
    this.#waiting = null;
    if (first !== 'stopped') return first;
    // The lane comes when nobody wants it any more.
    void lane.then((query) => query?.close());
    return this.#errorOf(null);
  }

  /** The first rows of a cursor. `forward` in the chunk: the core has to. */
  async first(query: SlowQuery): Promise<SlowChunk | ErrorFields> {
    const timer = this.#startTimeout(query);
    this.#running = query;
    this.#stopped = null;
    try {
      return await query.next(0);
    } catch (error) {
      if (this.#stopped !== null) return this.#errorOf(error);
      return { bytes: new Uint8Array(0), rows: 0, done: true, forward: true };
    } finally {
      timer?.[Symbol.dispose]();
      this.#running = null;
    }
  }

  /** Sends rows until there are none left, or `rowsMax` (0 = all) are sent. `first` is called before the first byte. */
  async send(query: SlowQuery, rowsMax: number, first: () => void): Promise<SlowOutcome> {
    const timer = this.#startTimeout(query);
    this.#running = query;
    this.#stopped = null;
    let rows = 0;
    let isFirst = true;
    try {
      for (;;) {
        const chunk = await query.next(rowsMax > 0 ? rowsMax - rows : 0);
        if (chunk.forward) return { end: 'forward' };
        if (isFirst) first();
        isFirst = false;
        rows += chunk.rows;
        if (chunk.bytes.length > 0) this.#deps.send(chunk.bytes);
        // Postgres does not look whether there would be more.
        if (rowsMax > 0 && rows >= rowsMax) return { end: 'suspended', rows };
        if (chunk.done) return { end: 'done', rows };
        if (!(await this.#deps.room())) return { end: 'gone' };
      }
    } catch (error) {
      // A lane that broke by itself before it gave a row: the core may do better.
      if (isFirst && this.#stopped === null) return { end: 'forward' };
      return { end: 'failed', error: this.#errorOf(error) };
    } finally {
      timer?.[Symbol.dispose]();
      this.#running = null;
    }
  }

  /** Stops what runs, because the client asked for it. */
  cancel(): void {
    this.#stopped = 'user';
    this.kill();
  }

  kill(): void {
    this.#running?.kill();
    this.#waiting?.kill();
  }

  #startTimeout(query: Killable): Disposable | null {
    const ms = this.#deps.timeoutMs();
    if (ms === 0) return null;
    return this.#deps.clock.after(ms, () => {
      this.#stopped ??= 'timeout';
      query.kill();
    });
  }

  #errorOf(error: unknown): ErrorFields {
    if (this.#stopped === 'user') return errorFields('57014', 'canceling statement due to user request');
    if (this.#stopped === 'timeout') return errorFields('57014', 'canceling statement due to statement timeout');
    return errorFieldsOf(error);
  }
}
