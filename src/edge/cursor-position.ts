// Where a cursor stands, and what FETCH and MOVE do to that: PostgreSQL's own rules (DoPortalRunFetch), which tell a cursor that
// stands on its last row from one that has gone past it.
//
//   before the first row ◀─▶ on row 1 … on row n ◀─▶ after the last row

import type { SessionStatement } from './sql/plan.ts';

export interface CursorPosition {
  /** Rows up to and with the one it stands on; all of them after the last one. */
  readonly row: number;
  readonly isAtStart: boolean;
  readonly isAtEnd: boolean;
}

export const BEFORE_FIRST: CursorPosition = { row: 0, isAtStart: true, isAtEnd: false };

export type Fetch = Pick<SessionStatement & { type: 'fetch' }, 'direction' | 'count' | 'move'>;

/** Rows to tell: from `first` on, `count` of them, upwards or downwards. Row numbers start at 1. */
export interface FetchedRows {
  readonly first: number;
  readonly count: number;
  readonly step: 1 | -1;
}

export interface Fetched {
  readonly position: CursorPosition;
  readonly rows: FetchedRows;
  /** What the tag counts: `FETCH n`, `MOVE n`. */
  readonly count: number;
}

/** The cursor would have to go backwards. */
export class MustScroll extends Error {
  override readonly name = 'MustScroll';
}

export interface FetchContext {
  readonly canScroll: boolean;
  /** How many rows there are, counted up to `wanted`: more are not looked for. */
  readonly rowsUpTo: (wanted: number) => Promise<number>;
}

/** Runs one FETCH or MOVE. Rejects with MustScroll when the cursor would have to go backwards and may not. */
export async function fetchRows(from: CursorPosition, fetch: Fetch, context: FetchContext): Promise<Fetched> {
  const run = new Run(from, fetch.move, context);
  const count = await run.go(fetch.direction, fetch.count);
  return { position: run.position, rows: run.rows, count };
}

const NO_ROWS: FetchedRows = { first: 0, count: 0, step: 1 };
const ALL = Number.POSITIVE_INFINITY;

class Run {
  position: CursorPosition;
  rows: FetchedRows = NO_ROWS;
  readonly #isMove: boolean;
  readonly #context: FetchContext;

  constructor(position: CursorPosition, isMove: boolean, context: FetchContext) {
    this.position = position;
    this.#isMove = isMove;
    this.#context = context;
  }

  /** `count` null is ALL. */
  async go(direction: Fetch['direction'], count: number | null): Promise<number> {
    const wanted = count ?? ALL;
    switch (direction) {
      case 'forward':
        return wanted < 0 ? this.#plain(false, -wanted) : this.#plain(true, wanted);
      case 'backward':
        return wanted < 0 ? this.#plain(true, -wanted) : this.#plain(false, wanted);
      case 'absolute':
        return this.#absolute(wanted);
      case 'relative':
        if (wanted === 0) return this.#plain(true, 0);
        await this.#select(wanted > 0, Math.abs(wanted) - 1, false);
        return this.#select(wanted > 0, 1, true);
    }
  }

  async #absolute(row: number): Promise<number> {
    if (row > 0) {
      if (row - 1 <= this.position.row / 2) {
        this.#rewind();
        await this.#select(true, row - 1, false);
      } else {
        const at = this.position.row + (this.position.isAtEnd ? 1 : 0);
        if (row <= at) await this.#select(false, at - row + 1, false);
        else if (row > at + 1) await this.#select(true, row - at - 1, false);
      }
      return this.#select(true, 1, true);
    }
    if (row < 0) {
      await this.#select(true, ALL, false);
      await this.#select(false, -row - 1, false);
      return this.#select(false, 1, true);
    }
    this.#rewind();
    return 0;
  }

  async #plain(isForward: boolean, count: number): Promise<number> {
    if (count === 0) {
      const isOnRow = !this.position.isAtStart && !this.position.isAtEnd;
      if (this.#isMove || !isOnRow) return isOnRow ? 1 : 0;
      // The row it stands on once more.
      await this.#select(false, 1, false);
      return this.#select(true, 1, true);
    }
    if (!isForward && count === ALL && this.#isMove) {
      const { row, isAtEnd } = this.position;
      this.#rewind();
      return row > 0 && !isAtEnd ? row - 1 : row;
    }
    return this.#select(isForward, count, true);
  }

  /** Goes `count` rows, told when `isTold`; gives how many there were. */
  async #select(isForward: boolean, count: number, isTold: boolean): Promise<number> {
    const { row, isAtStart, isAtEnd } = this.position;
    if (isForward) {
      if (isAtEnd || count <= 0) return 0;
      const there = (await this.#context.rowsUpTo(row + count)) - row;
      const done = Math.min(there, count);
      if (isTold && !this.#isMove) this.rows = { first: row + 1, count: done, step: 1 };
      this.position = {
        row: row + done,
        isAtStart: isAtStart && done === 0,
        isAtEnd: count === ALL || done < count,
      };
      return done;
    }
    if (!this.#context.canScroll) throw new MustScroll();
    if (isAtStart || count <= 0) return 0;
    // Past the end, the last row is the one before.
    const at = isAtEnd ? row + 1 : row;
    const done = Math.min(count, at - 1);
    if (isTold && !this.#isMove) this.rows = { first: at - 1, count: done, step: -1 };
    const isAtStartNow = count === ALL || done < count;
    this.position = isAtStartNow
      ? { row: 0, isAtStart: true, isAtEnd: isAtEnd && done === 0 }
      : { row: at - done, isAtStart: false, isAtEnd: false };
    return done;
  }

  #rewind(): void {
    const { isAtStart, isAtEnd } = this.position;
    if (isAtStart && !isAtEnd) return;
    if (!this.#context.canScroll) throw new MustScroll();
    this.position = BEFORE_FIRST;
  }
}
