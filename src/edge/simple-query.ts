// The simple protocol: Query ──▶ script of statements ──▶ each local, session or forwarded ──▶ ReadyForQuery.

import { unreachable } from '../base/assert.ts';
import { writeEmptyQueryResponse } from '../wire/backend.ts';
import { Frame, readQuery, TEXT_FORMATS } from './client-frames.ts';
import type { Conversation, Wait } from './conversation.ts';
import { errorFields } from './faults.ts';
import type { ForwardedQueries } from './forwarded.ts';
import { ROWS_FAILED } from './local.ts';
import { isError, type LocalAnswers } from './local-answers.ts';
import type { Step } from './own-statements.ts';
import type { LocalPlan, Planned, PlannedStatement } from './sql/plan.ts';
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
      return this.#forwarded.frame(frame, { reason: 'syntax-error', detail: message }, true, known);
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
        return this.#forwarded.frame(frame, plan, plan.write, null, null, text);
      case 'session': {
        const step = this.#session.own.run(plan.statement, text, {
          bound: this.#session.isBound,
          describe: true,
          rowsMax: 0,
        });
        const finish = (done: Step | null): Wait =>
          done === null ? this.#forwarded.session(frame, plan) : this.#session.simpleEnd();
        return step instanceof Promise ? step.then(finish) : finish(step);
      }
      case 'local': {
        const stamp = this.#session.stamp(planned);
        const may = this.#local.mayRunLocally(plan);
        if (!(may instanceof Promise)) return this.#simpleLocal(plan, planned.literals, frame, may);
        return may.then((reason) => {
          if (isError(reason)) return this.#session.simpleFailed(reason);
          return this.#simpleLocal(plan, planned.literals, frame, reason ?? this.#session.staleness(stamp));
        });
      }
      default:
        return unreachable(plan);
    }
  }

  #simpleLocal(plan: LocalPlan, literals: readonly string[], frame: Frame, reason: Reason | null): Wait {
    const ready = reason ?? this.#local.readyPlan(plan, literals);
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

  /** Several statements in one text: one implicit transaction. Only when nothing in it can write is it taken apart. */
  async #simpleMany(statements: readonly PlannedStatement[], text: string, frame: Frame): Promise<void> {
    const isOwn = ({ plan }: Planned): boolean =>
      plan.kind === 'local' || (plan.kind === 'session' && isOwnStatement(plan.statement));
    if (this.#session.transaction.where === 'upstream' || !statements.every(isOwn)) {
      // Only a block that failed here, before the core knew of it, has to be judged here.
      const aborted = this.#session.abortedError(statements[0] as Planned);
      if (aborted !== null) return this.#session.simpleFailed(aborted);
      const forwarding = statements.find(({ plan }) => plan.kind === 'forward')?.plan;
      return this.#forwarded.frame(frame, forwarding?.kind === 'forward' ? forwarding : why('together'), true);
    }
    let step: Step = 'done';
    for (const statement of statements) {
      this.#session.beginImplicit();
      step = await this.#simpleOne(statement, text);
      if (step === 'failed') break;
    }
    this.#session.endImplicit(step === 'done');
    this.#session.simpleEnd();
  }

  /** One statement of several. Forwards just this one when it turns out not to be answerable here. */
  async #simpleOne(statement: PlannedStatement, text: string): Promise<Step> {
    const { plan, literals } = statement;
    const aborted = this.#session.abortedError(statement);
    if (aborted !== null) return this.#session.fail(aborted);
    const sql = text.slice(statement.start, statement.end);
    if (plan.kind === 'session') {
      const step = await this.#session.own.run(plan.statement, sql, {
        bound: this.#session.isBound,
        describe: true,
        rowsMax: 0,
      });
      return step ?? this.#forwarded.slice(sql, why('session'), true);
    }
    if (plan.kind !== 'local') return 'done';
    const stamp = this.#session.stamp(statement);
    const may = await this.#local.mayRunLocally(plan);
    if (isError(may)) return this.#session.fail(may);
    const reason = may ?? this.#session.staleness(stamp);
    const ready = reason ?? this.#local.readyPlan(plan, literals);
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
