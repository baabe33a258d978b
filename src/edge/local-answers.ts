// Answers from the replica for one session: whether a plan may run here now, and its rows.

import { errorFieldsOf } from '../session/faults.ts';
import { type ErrorFields, writeCommandComplete } from '../wire/backend.ts';
import { NO_PARAMETERS, TEXT_FORMATS } from './client-frames.ts';
import type { Conversation } from './conversation.ts';
import { type BoundValues, PreparedPlan } from './local.ts';
import type { Step } from './own-statements.ts';
import type { AnsweredBy } from './show.ts';
import type { LocalPlan } from './sql/plan.ts';
import { isForeignServer, type Reason } from './why.ts';

export const ANSWERED_FAST: AnsweredBy = { by: 'local', reason: 'index lookup in the replica' };
export const ANSWERED_SLOW: AnsweredBy = { by: 'local', reason: 'scan of the replica in a child process' };

export class LocalAnswers {
  readonly #session: Conversation;

  constructor(session: Conversation) {
    this.#session = session;
  }

  /** Null when the plan may run here now, else why not. After a wait perhaps the error that ended it. */
  mayRunLocally(plan: LocalPlan): Reason | null | Promise<Reason | null | ErrorFields> {
    const { transaction } = this.#session;
    if (transaction.where === 'upstream') return 'transaction';
    if (this.#session.settings.isPeculiar) return 'peculiar';
    if (plan.tag === 'EXPLAIN' && isForeignServer(this.#session.settings)) return 'estimate';
    if (!this.#session.deps.mayRead(plan)) return 'privilege';
    if (this.#session.deps.isHidden(plan, this.#session.settings.planning.searchPath)) return 'hidden';
    // Its own writes and its age were looked at when the snapshot was taken.
    if (transaction.snapshot !== null) return null;
    const { maxLagMs } = this.#session.settings.durations;
    if (maxLagMs >= 0 && this.#session.deps.feed.ageMs() > maxLagMs) return 'too-old';
    const may = this.#session.forward.mayAnswerLocally();
    if (may === true) return null;
    if (may === false) return this.#session.forward.held ?? 'own-writes';
    this.#session.server.flush();
    return may.then((yes) => (yes ? null : (this.#session.forward.held ?? 'own-writes')), errorFieldsOf);
  }

  /** The plan as it runs now: in a REPEATABLE READ block on its snapshot, which its first query takes. */
  prepare(plan: LocalPlan): PreparedPlan | Reason | ErrorFields {
    const { deps, transaction } = this.#session;
    if (transaction.where !== 'local' || transaction.isolation !== 'repeatable read') {
      return deps.engine.prepare(plan) ?? 'replica-not-ready';
    }
    transaction.snapshot ??= deps.snapshots.open();
    if (transaction.snapshot === null) return 'no-snapshot';
    try {
      return transaction.snapshot.prepare(plan) ?? 'schema-changed';
    } catch (error) {
      return errorFieldsOf(error);
    }
  }

  /** A plan with its values, or why it cannot run here. */
  readyPlan(
    plan: LocalPlan,
    literals: readonly string[],
    parameters = NO_PARAMETERS,
  ): { prepared: PreparedPlan; values: BoundValues } | Reason | ErrorFields {
    const { engine } = this.#session.deps;
    const prepared = this.prepare(plan);
    if (!(prepared instanceof PreparedPlan)) return prepared;
    const values = engine.bind(plan, literals, parameters, this.#session.settings);
    if (values === null) return 'parameter-value';
    if ((this.#session.settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) return 'setting';
    return { prepared, values };
  }

  /** Writes the whole answer as text, RowDescription included; nothing when the result is negative. */
  fastRows(prepared: PreparedPlan, values: BoundValues): number {
    const out = this.#session.out;
    const mark = out.length;
    out.bytes(prepared.description(TEXT_FORMATS));
    const rows = prepared.writeRows(values, TEXT_FORMATS, out);
    if (rows < 0) {
      out.truncate(mark);
      return rows;
    }
    writeCommandComplete(out, tagOf(prepared.plan, rows));
    this.#session.countLocal(ANSWERED_FAST, prepared.plan);
    return rows;
  }

  /** Sends all rows of a statement. `forward`: the core has to, nothing was sent. */
  async slowRows(
    prepared: PreparedPlan,
    values: BoundValues,
    formats: readonly number[],
    describe: boolean,
  ): Promise<Step | 'forward'> {
    const query = await this.#session.slow.open(prepared, values, formats, this.#session.transaction.snapshot);
    if (query === null) return 'forward';
    if ('sqlstate' in query) return this.#session.fail(query);
    const outcome = await this.#session.slow.send(query, 0, () => {
      if (describe) this.#session.out.bytes(prepared.description(formats));
    });
    query.close();
    if (outcome.end === 'forward') return 'forward';
    if (outcome.end === 'failed') return this.#session.fail(outcome.error);
    if (outcome.end === 'gone') return 'failed';
    writeCommandComplete(this.#session.out, tagOf(prepared.plan, outcome.rows));
    this.#session.countLocal(ANSWERED_SLOW, prepared.plan);
    return 'done';
  }
}

const SELECT_TAGS = Array.from({ length: 256 }, (_, rows) => `SELECT ${rows}`);

/** The tag of CommandComplete. */
export function tagOf({ tag }: LocalPlan, rows: number): string {
  return tag === 'EXPLAIN' ? tag : selectTag(rows);
}

export function selectTag(rows: number): string {
  return SELECT_TAGS[rows] ?? `SELECT ${rows}`;
}

/** What `mayRunLocally` gave is an error to tell. */
export function isError(may: object | string | null): may is ErrorFields {
  return typeof may === 'object' && may !== null && 'sqlstate' in may;
}
