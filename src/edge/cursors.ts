// Cursors whose rows come from the replica: DECLARE, FETCH, MOVE, CLOSE. What a cursor shows is fixed when it is declared; it is
// read as it is fetched. A cursor whose query has to run at the core is the core's altogether.
//
//   declared ──FETCH, MOVE──▶ declared ──CLOSE, end of the transaction (not WITH HOLD), ROLLBACK TO before it──▶ gone

import { Fault } from '../base/fault.ts';
import { hasBinary } from '../pg/types/binary.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { type ErrorFields, writeCommandComplete, writePortalSuspended } from '../wire/backend.ts';
import { NO_PARAMETERS, type Parameters, TEXT_FORMATS } from './client-frames.ts';
import { typeLookup } from './columns.ts';
import type { Conversation } from './conversation.ts';
import { BEFORE_FIRST, type CursorPosition, type Fetch, fetchRows, MustScroll } from './cursor-position.ts';
import { type CursorRows, LaneRows, MemoryRows } from './cursor-rows.ts';
import { errorFields } from './faults.ts';
import type { BoundValues, PreparedPlan } from './local.ts';
import { ANSWERED_FAST, ANSWERED_SLOW, isError, type LocalAnswers } from './local-answers.ts';
import { ABORTED, type RunOptions, type Step } from './own-statements.ts';
import type { Hold } from './snapshots.ts';
import type { LocalPlan, SessionStatement } from './sql/plan.ts';

/** Cursors of one session. */
const CURSORS_MAX = 1000;

const BINARY_FORMATS: readonly number[] = [1];

interface Cursor {
  readonly name: string;
  readonly prepared: PreparedPlan;
  readonly rows: CursorRows;
  readonly isBinary: boolean;
  readonly isHeld: boolean;
  /** Null: neither SCROLL nor NO SCROLL was said; whether it may go back depends on Postgres' plan. */
  canScroll: boolean | null;
  /** To ask the core about that; null when it cannot be asked. */
  readonly query: string | null;
  position: CursorPosition;
  /** Savepoints that were open when it was declared. */
  level: number;
  /** Its transaction has committed: it lives until it is closed. */
  isCommitted: boolean;
}

type Declare = SessionStatement & { type: 'declare' };

export class Cursors {
  readonly #session: Conversation;
  readonly #local: LocalAnswers;
  #cursors: Map<string, Cursor> | null = null;
  #stop: 'user' | 'timeout' | null = null;
  #running: CursorRows | null = null;

  constructor(session: Conversation, local: LocalAnswers) {
    this.#session = session;
    this.#local = local;
  }

  has(name: string): boolean {
    return this.#cursors?.has(name) === true;
  }

  get isEmpty(): boolean {
    return this.#cursors === null || this.#cursors.size === 0;
  }

  /** Some were declared by the transaction that is open, or by the batch. */
  get hasUncommitted(): boolean {
    for (const cursor of this.#cursors?.values() ?? []) if (!cursor.isCommitted) return true;
    return false;
  }

  /** A FETCH waits for rows. */
  get isRunning(): boolean {
    return this.#running !== null;
  }

  cancel(): void {
    this.#stop = 'user';
    this.#running?.kill();
  }

  /** The whole RowDescription frame; null when there is no such cursor here. */
  description(name: string, formats: readonly number[]): Buffer | null {
    return this.#cursors?.get(name)?.prepared.description(formats) ?? null;
  }

  /** Null: the core has to. */
  async declare(statement: Declare, options: RunOptions): Promise<Step | null> {
    const session = this.#session;
    const { name, hold, scroll, binary, planned } = statement;
    const isInBlock = session.transaction.where !== 'none' || options.isImplicitBlock === true;
    if (!hold && !isInBlock) {
      return session.fail(errorFields('25P01', 'DECLARE CURSOR can only be used in transaction blocks'));
    }
    const { plan } = planned;
    if (plan.kind !== 'local') return null;
    const parameters = options.parameters ?? NO_PARAMETERS;
    if (parameters.values.length !== plan.parameterTypes.length) return null;
    if (this.has(name) || (name !== '' && session.prepared.portal(name) !== undefined)) {
      return session.fail(errorFields('42P03', `cursor "${name}" already exists`));
    }
    if ((this.#cursors?.size ?? 0) >= CURSORS_MAX) {
      return session.fail(errorFields('54000', `this session holds ${CURSORS_MAX} cursors, no more are allowed`));
    }
    const may = await this.#local.mayRunLocally(plan);
    if (isError(may)) return session.fail(may);
    if (may !== null) return null;
    const opened = await this.#open(plan, planned.literals, parameters);
    if (opened === null || 'sqlstate' in opened) return opened === null ? null : session.fail(opened);
    const { prepared, rows } = opened;
    if (binary && !isBinaryPossible(plan, session)) {
      rows.close();
      return null;
    }
    (this.#cursors ??= new Map()).set(name, {
      name,
      prepared,
      rows,
      isBinary: binary,
      isHeld: hold,
      canScroll: scroll,
      query: plan.parameterTypes.length === 0 ? statement.query : null,
      position: BEFORE_FIRST,
      level: session.settings.savepoints.length,
      isCommitted: false,
    });
    session.countLocal(rows instanceof MemoryRows ? ANSWERED_FAST : ANSWERED_SLOW, plan);
    writeCommandComplete(session.out, 'DECLARE CURSOR');
    // Outside a block it is a transaction of its own; a batch of the extended protocol ends with its Sync.
    if (!isInBlock && options.formats === undefined) await this.endTransaction(true);
    return 'done';
  }

  /** Null: it is not one of these cursors. */
  answerFetch(statement: SessionStatement & { type: 'fetch' }, options: RunOptions): Step | null | Promise<Step> {
    const session = this.#session;
    const cursor = this.#cursors?.get(statement.cursor);
    if (cursor === undefined) {
      if (session.transaction.failed) return session.fail(ABORTED);
      if (session.forward.open || session.transaction.where === 'upstream') return null;
      return session.fail(unknownCursor(statement.cursor));
    }
    if (session.transaction.failed) return session.fail(ABORTED);
    const formats = options.formats ?? (cursor.isBinary ? BINARY_FORMATS : TEXT_FORMATS);
    return this.#run(cursor, statement, formats, options.describe && !statement.move, (count) => {
      writeCommandComplete(session.out, `${statement.move ? 'MOVE' : 'FETCH'} ${count}`);
    });
  }

  /** Execute of the extended protocol, on a cursor by its name. */
  execute(name: string, rowsMax: number): Promise<Step> | null {
    const session = this.#session;
    const cursor = this.#cursors?.get(name);
    if (cursor === undefined) return null;
    const count = rowsMax > 0 ? rowsMax : null;
    const fetch: Fetch = { direction: 'forward', count, move: false };
    const formats = cursor.isBinary ? BINARY_FORMATS : TEXT_FORMATS;
    return this.#run(cursor, fetch, formats, false, (rows) => {
      if (count !== null && rows === count) writePortalSuspended(session.out);
      else writeCommandComplete(session.out, `SELECT ${rows}`);
    });
  }

  /** `name` null is ALL. Null: the core has some to close, too. */
  close(name: string | null): Step | null {
    const session = this.#session;
    if (session.transaction.failed) return session.fail(ABORTED);
    if (name === null) {
      this.dropAll();
      session.prepared.dropPortals();
      if (session.forward.open) return null;
      writeCommandComplete(session.out, 'CLOSE CURSOR ALL');
      return 'done';
    }
    if (this.has(name)) {
      this.drop(name);
    } else {
      if (session.forward.open || session.transaction.where === 'upstream') return null;
      if (session.prepared.portal(name) === undefined) return session.fail(unknownCursor(name));
      session.prepared.dropPortal(name);
    }
    writeCommandComplete(session.out, 'CLOSE CURSOR');
    return 'done';
  }

  /** Everything that is read from the block's snapshot or from lanes is brought here. */
  async finishAll(): Promise<void> {
    for (const cursor of this.#cursors?.values() ?? []) await cursor.rows.finish();
  }

  /** What COMMIT or ROLLBACK does to cursors. An error: one that is WITH HOLD could not be kept. */
  async endTransaction(committed: boolean): Promise<ErrorFields | null> {
    for (const cursor of this.#cursors?.values() ?? []) {
      if (!committed || !cursor.isHeld || cursor.isCommitted) continue;
      try {
        await cursor.rows.finish();
        await cursor.rows.rowsUpTo(Number.POSITIVE_INFINITY);
      } catch (error) {
        this.dropTransaction(false);
        return errorFieldsOf(error);
      }
    }
    this.dropTransaction(committed);
    return null;
  }

  /** The same where nothing has to be brought here any more. */
  dropTransaction(committed: boolean): void {
    for (const cursor of Array.from(this.#cursors?.values() ?? [])) {
      if (cursor.isCommitted) continue;
      if (committed && cursor.isHeld) cursor.isCommitted = true;
      else this.drop(cursor.name);
    }
  }

  /** ROLLBACK TO: what was declared after the savepoint goes. `level`: savepoints up to and with that one. */
  rollbackTo(level: number): void {
    for (const cursor of Array.from(this.#cursors?.values() ?? [])) {
      if (!cursor.isCommitted && cursor.level >= level) this.drop(cursor.name);
    }
  }

  /** RELEASE: what was declared after the savepoint belongs to what is around it. `level`: savepoints before that one. */
  release(level: number): void {
    for (const cursor of this.#cursors?.values() ?? []) cursor.level = Math.min(cursor.level, level);
  }

  drop(name: string): void {
    const cursor = this.#cursors?.get(name);
    if (cursor === undefined) return;
    this.#cursors?.delete(name);
    cursor.rows.close();
  }

  dropAll(): void {
    for (const name of Array.from(this.#cursors?.keys() ?? [])) this.drop(name);
  }

  /** The rows of a query as they are now; null when only the core can say. */
  async #open(
    plan: LocalPlan,
    literals: readonly string[],
    parameters: Parameters,
  ): Promise<{ readonly prepared: PreparedPlan; readonly rows: CursorRows } | ErrorFields | null> {
    const ready = this.#local.readyPlan(plan, literals, parameters);
    if (typeof ready === 'string') return null;
    if (isError(ready)) return ready;
    const { prepared, values } = ready;
    if (prepared.fast) {
      const rows = prepared.readRows(values);
      if (rows !== null) return { prepared, rows: new MemoryRows(rows, prepared) };
    }
    const rows = await this.#openLane(prepared, values);
    return rows === null || 'sqlstate' in rows ? rows : { prepared, rows };
  }

  async #openLane(prepared: PreparedPlan, values: BoundValues): Promise<CursorRows | ErrorFields | null> {
    const { slow, deps, transaction } = this.#session;
    const { snapshot } = transaction;
    const query = await slow.open(prepared, values, TEXT_FORMATS, snapshot);
    if (query === null || 'sqlstate' in query) return query;
    const first = await slow.first(query);
    if ('sqlstate' in first) return first;
    if (first.forward) {
      query.close();
      return null;
    }
    const { catalogue } = deps.engine;
    if (catalogue === null) {
      query.close();
      return null;
    }
    const hold: Hold = {
      sinceMs: deps.clock.now(),
      expire: () => void rows.finish(),
      yieldLane: () => void rows.finish(),
    };
    const rows: LaneRows = new LaneRows(
      {
        files: deps.cursorFiles,
        columns: prepared.plan.columns,
        lookup: typeLookup(catalogue),
        released: () => deps.snapshots.letGo(hold),
      },
      query,
      first,
    );
    if (!rows.isComplete) {
      if (snapshot === null) deps.snapshots.hold(hold);
      else snapshot.keepLane(() => rows.finish());
    }
    return rows;
  }

  /** Moves, tells the rows and then `done` with their number. */
  async #run(
    cursor: Cursor,
    fetch: Fetch,
    formats: readonly number[],
    describe: boolean,
    done: (count: number) => void,
  ): Promise<Step> {
    const session = this.#session;
    const { rows } = cursor;
    this.#running = rows;
    this.#stop = null;
    const timer = this.#startTimeout(rows);
    try {
      const { position, rows: told, count } = await this.#move(cursor, fetch);
      if (describe) session.out.bytes(cursor.prepared.description(formats));
      await rows.read(told, formats, async (bytes) => {
        session.out.bytes(bytes);
        if (session.out.length < PIECE_BYTES) return true;
        session.server.flush();
        return await session.clientRoom();
      });
      cursor.position = position;
      if (cursor.canScroll !== true) rows.forget(position.row);
      done(count);
      session.answered = rows instanceof MemoryRows ? ANSWERED_FAST : ANSWERED_SLOW;
      return 'done';
    } catch (error) {
      return session.fail(this.#errorOf(error));
    } finally {
      timer?.[Symbol.dispose]();
      this.#running = null;
    }
  }

  async #move(cursor: Cursor, fetch: Fetch): ReturnType<typeof fetchRows> {
    const rowsUpTo = (wanted: number): Promise<number> => cursor.rows.rowsUpTo(wanted);
    try {
      return await fetchRows(cursor.position, fetch, { canScroll: cursor.canScroll === true, rowsUpTo });
    } catch (error) {
      if (!(error instanceof MustScroll)) throw error;
      if (cursor.canScroll !== null || cursor.query === null) throw FORWARD_ONLY;
      cursor.canScroll = await this.#session.forward.isScrollable(cursor.query, this.#session.transaction);
      if (!cursor.canScroll) throw FORWARD_ONLY;
      return await fetchRows(cursor.position, fetch, { canScroll: true, rowsUpTo });
    }
  }

  #startTimeout(rows: CursorRows): Disposable | null {
    const { settings, deps } = this.#session;
    const ms = settings.durations.statementTimeoutMs || deps.limits.statementTimeoutMs;
    if (ms === 0) return null;
    return deps.clock.after(ms, () => {
      this.#stop ??= 'timeout';
      rows.kill();
    });
  }

  #errorOf(error: unknown): ErrorFields {
    if (this.#stop === 'user') return errorFields('57014', 'canceling statement due to user request');
    if (this.#stop === 'timeout') return errorFields('57014', 'canceling statement due to statement timeout');
    return errorFieldsOf(error);
  }
}

/** Answers leave in pieces of about this size. */
const PIECE_BYTES = 64 * 1024;

const FORWARD_ONLY = new Fault('cursor-forward-only', {
  message: 'cursor can only scan forward',
  hint: 'Declare it with SCROLL option to enable backward scan.',
  sqlstate: '55000',
});

function isBinaryPossible(plan: LocalPlan, { deps }: Conversation): boolean {
  const { catalogue } = deps.engine;
  return catalogue !== null && plan.columns.every(({ typeOid }) => hasBinary(typeOid, typeLookup(catalogue)));
}

function unknownCursor(name: string): ErrorFields {
  return errorFields('34000', `cursor "${name}" does not exist`);
}
