// The simple protocol: Query ──▶ script of statements ──▶ each local, session or forwarded ──▶ ReadyForQuery.

import { unreachable } from '../base/assert.ts';
import { writeEmptyQueryResponse } from '../wire/backend.ts';
import { Frame, NO_PARAMETERS, type Parameters, readQuery, TEXT_FORMATS } from './client-frames.ts';
import type { Conversation, Wait } from './conversation.ts';
import { errorFields } from './faults.ts';
import type { ForwardedQueries } from './forwarded.ts';
import { ROWS_FAILED } from './local.ts';
import { isError, type LocalAnswers } from './local-answers.ts';
import type { Step } from './own-statements.ts';
import type { LocalPlan, Plan, Planned, PlannedStatement } from './sql/plan.ts';
import { isOwnStatement, type Reason, why } from './why.ts';

export class SimpleQuery {
  readonly #session: Conversation;
  readonly #local: LocalAnswers;
  readonly #forwarded: ForwardedQueries;

  constructor(session: Conversation, local: LocalAnswers, forwarded: ForwardedQueries) {
    this.#session = session;
    this.#local = local;
    this.#forwarded = forwarded;
  }

  query(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    this.#session.prepared.dropUnnamed();
    const unreadable = this.#session.unreadable();
    if (unreadable !== null) return this.#forwarded.frame(frame, why(unreadable), true);
    const text = readQuery(buffer, start, end);
    if (text === null) return this.#forwarded.frame(frame, why('not-utf8'), true);
    const { statements, syntaxError } = this.#session.deps.engine.script(text, this.#session.settings);
    if (syntaxError !== null) {
      const { sqlstate, message, position } = syntaxError;
      const known = errorFields(sqlstate, message, position === 0 ? {} : { position });
      return this.#forwarded.frame(frame, { reason: 'syntax-error', detail: message }, true, { known });
    }
    const only = statements[0];
    if (only === undefined) {
      writeEmptyQueryResponse(this.#session.out);
      return this.#session.writeReady();
    }
    return statements.length === 1 ? this.#simple(only, text, frame) : this.#simpleMany(statements, text, frame);
  }

  /** The usual case: one statement. */
  #simple(planned: Planned, text: string, frame: Frame): Wait {
    const { plan } = planned;
    const aborted = this.#session.abortedError(planned);
    if (aborted !== null) return this.#session.simpleFailed(aborted);
    switch (plan.kind) {
      case 'empty':
        writeEmptyQueryResponse(this.#session.out);
        return this.#session.writeReady();
      case 'forward':
        return this.#forwarded.frame(frame, plan, plan.write, { text });
      case 'session': {
        const executable = plan.statement.type === 'execute' ? this.#session.own.executable(plan.statement) : null;
        if (executable !== null)
          return this.#simpleRun(executable.plan, executable.planned, frame, executable.parameters);
        const step = this.#session.own.run(plan.statement, text, {
          bound: this.#session.isBound,
          describe: true,
          rowsMax: 0,
        });
        const finish = (done: Step | null): Wait =>
          done === null ? this.#forwarded.session(frame, plan) : this.#session.simpleEnd();
        return step instanceof Promise ? step.then(finish) : finish(step);
      }
      case 'local':
        return this.#simpleRun(plan, planned, frame, NO_PARAMETERS);
      default:
        return unreachable(plan);
    }
  }

  #simpleRun(plan: LocalPlan, planned: Planned, frame: Frame, parameters: Parameters): Wait {
    const stamp = this.#session.stamp(planned);
    const may = this.#local.mayRunLocally(plan);
    if (!(may instanceof Promise)) return this.#simpleLocal(plan, planned.literals, frame, parameters, may);
    return may.then((reason) => {
      if (isError(reason)) return this.#session.simpleFailed(reason);
      return this.#simpleLocal(plan, planned.literals, frame, parameters, reason ?? this.#session.staleness(stamp));
    });
  }

  #simpleLocal(
    plan: LocalPlan,
    literals: readonly string[],
    frame: Frame,
    parameters: Parameters,
    reason: Reason | null,
  ): Wait {
    const ready = reason ?? this.#local.readyPlan(plan, literals, parameters);
    if (isError(ready)) return this.#session.simpleFailed(ready);
    if (typeof ready === 'string') return this.#forwarded.frame(frame, why(ready), false);
    const { prepared, values } = ready;
    if (prepared.fast) {
      const rows = this.#local.fastRows(prepared, values);
      if (rows >= 0) return this.#session.writeReady();
      if (rows === ROWS_FAILED) return this.#forwarded.frame(frame, why('may-fail'), false);
    }
    return this.#local.slowRows(prepared, values, TEXT_FORMATS, true).then((step) => {
      if (step === 'forward') return this.#forwarded.frame(frame, why('slow-lanes-busy'), false);
      return this.#session.simpleEnd();
    });
  }

  /**
   * Several statements in one text: one implicit transaction, or part of a block. Only when nothing in it can write is it taken
   * apart, and in a block of the core's when it reads from a cursor that is here.
   */
  async #simpleMany(statements: readonly PlannedStatement[], text: string, frame: Frame): Promise<void> {
    const session = this.#session;
    const isUpstream = session.transaction.where === 'upstream';
    const isApart = isUpstream
      ? statements.some((statement) => session.isOwnInBlock(statement)) && statements.every(isNoEnd)
      : statements.every((statement) => this.#isOwn(statement, statements));
    if (!isApart) {
      // Only a block that failed here, before the core knew of it, has to be judged here.
      const aborted = session.abortedError(statements[0] as Planned);
      if (aborted !== null) return session.simpleFailed(aborted);
      const forwarding = statements.find(({ plan }) => plan.kind === 'forward')?.plan;
      const because = forwarding?.kind === 'forward' ? forwarding : why('together');
      return this.#forwarded.frame(frame, because, true, {
        done: (result) => {
          if (isUpstream && !result.failed) for (const { plan } of statements) this.#savepointDone(plan);
        },
      });
    }
    let step: Step = 'done';
    for (const statement of statements) {
      session.beginImplicit();
      step = await this.#simpleOne(statement, text);
      if (step === 'failed') break;
    }
    session.endImplicit(step === 'done');
    // Cursors of the implicit transaction end with it.
    if (session.transaction.where === 'none' && !session.cursors.isEmpty) {
      const error = await session.cursors.endTransaction(step === 'done');
      if (error !== null) session.fail(error);
    }
    session.simpleEnd();
  }

  #savepointDone(plan: Plan): void {
    if (plan.kind !== 'session') return;
    const { statement } = plan;
    const { type } = statement;
    if (type === 'savepoint' || type === 'release' || type === 'rollback-to') {
      this.#session.own.block.savepointDone(statement);
    }
  }

  /** Whether a statement of a text can be run here, or at least by itself at the core without harm. */
  #isOwn({ plan }: Planned, all: readonly Planned[]): boolean {
    if (plan.kind === 'local') return true;
    if (plan.kind !== 'session' || !isOwnStatement(plan.statement)) return false;
    const { statement } = plan;
    const isHere = (cursor: string): boolean =>
      this.#session.cursors.has(cursor) ||
      all.some(
        (other) =>
          other.plan.kind === 'session' &&
          other.plan.statement.type === 'declare' &&
          other.plan.statement.name === cursor,
      );
    switch (statement.type) {
      case 'execute':
        return this.#session.own.executable(statement) !== null || isPreparedIn(all, statement.name);
      case 'fetch':
        return isHere(statement.cursor);
      case 'close':
        return statement.name === null ? !this.#session.forward.open : isHere(statement.name);
      default:
        return true;
    }
  }

  /** One statement of several. Forwards just this one when it turns out not to be answerable here. */
  async #simpleOne(statement: PlannedStatement, text: string): Promise<Step> {
    const aborted = this.#session.abortedError(statement);
    if (aborted !== null) return this.#session.fail(aborted);
    const sql = text.slice(statement.start, statement.end);
    let { plan, literals } = statement;
    let parameters = NO_PARAMETERS;
    const executable =
      plan.kind === 'session' && plan.statement.type === 'execute'
        ? this.#session.own.executable(plan.statement)
        : null;
    if (executable !== null) {
      ({ plan, parameters } = executable);
      ({ literals } = executable.planned);
    }
    if (plan.kind === 'session') {
      const step = await this.#session.own.run(plan.statement, sql, {
        bound: this.#session.isBound,
        describe: true,
        rowsMax: 0,
        isImplicitBlock: true,
      });
      if (step !== null) return step;
      const done = await this.#forwarded.slice(sql, why('session'), true);
      if (done === 'done') this.#savepointDone(plan);
      return done;
    }
    if (plan.kind === 'forward') return this.#forwarded.slice(sql, plan, plan.write);
    if (plan.kind !== 'local') return 'done';
    const stamp = this.#session.stamp(statement);
    const may = await this.#local.mayRunLocally(plan);
    if (isError(may)) return this.#session.fail(may);
    const reason = may ?? this.#session.staleness(stamp);
    const ready = reason ?? this.#local.readyPlan(plan, literals, parameters);
    if (isError(ready)) return this.#session.fail(ready);
    if (typeof ready === 'string') return this.#forwarded.slice(sql, why(ready), false);
    const { prepared, values } = ready;
    if (prepared.fast) {
      const rows = this.#local.fastRows(prepared, values);
      if (rows >= 0) return 'done';
      if (rows === ROWS_FAILED) return this.#forwarded.slice(sql, why('may-fail'), false);
    }
    this.#session.server.flush();
    const step = await this.#local.slowRows(prepared, values, TEXT_FORMATS, true);
    return step === 'forward' ? this.#forwarded.slice(sql, why('slow-lanes-busy'), false) : step;
  }
}

/** It neither begins nor ends a transaction. */
function isNoEnd({ plan }: Planned): boolean {
  if (plan.kind !== 'session') return true;
  const { type } = plan.statement;
  return type !== 'begin' && type !== 'commit' && type !== 'rollback';
}

/** The text itself prepares it, and what it prepares only reads. */
function isPreparedIn(statements: readonly Planned[], name: string): boolean {
  return statements.some(
    ({ plan }) => plan.kind === 'session' && plan.statement.type === 'prepare' && plan.statement.name === name,
  );
}
