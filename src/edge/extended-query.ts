// The extended protocol: Parse Bind Describe Execute Close. A statement is planned at Parse and again when what it was planned
// under has changed; what it needs is decided at Bind and Execute, where its values are known.

import type { SqliteValue } from '../replica/sqlite.ts';
import {
  type ErrorFields,
  writeBindComplete,
  writeCloseComplete,
  writeCommandComplete,
  writeEmptyQueryResponse,
  writeNoData,
  writeParameterDescription,
  writeParseComplete,
  writePortalSuspended,
} from '../wire/backend.ts';
import {
  type BindMessage,
  Frame,
  readBind,
  readExecute,
  readParse,
  readTarget,
  TEXT_FORMATS,
} from './client-frames.ts';
import type { Conversation, Wait } from './conversation.ts';
import type { CopyIn } from './copy-in.ts';
import { errorFields } from './faults.ts';
import { type BoundValues, PreparedPlan, ROWS_FAILED, writeDataRow } from './local.ts';
import { ANSWERED_FAST, ANSWERED_SLOW, isError, type LocalAnswers, selectTag, tagOf } from './local-answers.ts';
import { ABORTED, type Executable, type Step, tooManyStatements } from './own-statements.ts';
import type { Portal, PreparedStatement } from './prepared.ts';
import type { Segment } from './segment.ts';
import { writeShowDescription } from './show.ts';
import type { SlowQuery } from './slow-lanes.ts';
import type { LocalPlan, Plan, Planned, SessionStatement } from './sql/plan.ts';
import { isChanging, isChangingSession, isOwnStatement, type Reason, syntaxErrorOf, why, whyOf } from './why.ts';

export class ExtendedQuery {
  readonly #session: Conversation;
  readonly #local: LocalAnswers;
  readonly #segment: Segment;
  readonly #copy: CopyIn;

  constructor(session: Conversation, local: LocalAnswers, segment: Segment, copy: CopyIn) {
    this.#session = session;
    this.#local = local;
    this.#segment = segment;
    this.#copy = copy;
  }

  parse(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#session.forward.held === 'encoding') return this.#segment.raw(frame, 'parse');
    const { name, sql, parameterTypes } = readParse(buffer, start, end);
    const planned = this.#session.deps.engine.statement(sql, parameterTypes, this.#session.settings);
    const aborted = this.#segment.isOpen ? null : this.#session.abortedError(planned);
    if (aborted !== null) {
      if (name === '') this.#session.prepared.forget('');
      return this.#session.failed(aborted);
    }
    const existing = name === '' ? undefined : this.#session.prepared.statement(name);
    if (existing !== undefined) return this.#parseAgain(existing, planned, frame);
    if (this.#session.prepared.size >= this.#session.deps.limits.statementsMax && name !== '') {
      return this.#session.failed(tooManyStatements(this.#session.prepared.size));
    }
    const stamp = this.#session.stamp(planned);
    const columns = planned.plan.kind === 'local' ? planned.plan.columns : null;
    const statement: PreparedStatement = { name, sql, parameterTypes, stamp, columns, upstream: false };
    const before = this.#session.prepared.statement(name) ?? null;
    this.#session.prepared.keep(statement);
    if (!this.#goesUpstream(planned)) {
      writeParseComplete(this.#session.out);
      return undefined;
    }
    return this.#segment.run(
      () => {
        this.#segment.parsed.set(statement, before);
        this.#session.forward.upstream.sendParse(frame.bytes, statement, true);
      },
      whyOf(planned),
      syntaxErrorOf(planned),
    );
  }

  /** A name that is taken. In a segment or block of the core's it must be the core that says so, for it has to undo it. */
  #parseAgain(existing: PreparedStatement, planned: Planned, frame: Frame): Wait {
    if (!this.#goesUpstream(planned)) {
      return this.#session.failed(errorFields('42P05', `prepared statement "${existing.name}" already exists`));
    }
    return this.#segment.run(
      () => {
        this.#segment.parse(existing);
        this.#session.forward.upstream.sendParse(frame.bytes, {}, true);
      },
      whyOf(planned),
      syntaxErrorOf(planned),
    );
  }

  /** Whether a statement's messages have to go to the core, as far as that is known before its values are. */
  #goesUpstream(planned: Planned): boolean {
    if (this.#session.isBound) return !this.#session.isOwnInBlock(planned);
    if (this.#session.unreadable() !== null) return true;
    const { plan } = planned;
    if (plan.kind === 'forward') return true;
    return plan.kind === 'session' && !isOwnStatement(plan.statement);
  }

  bind(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#session.forward.held === 'encoding') return this.#segment.raw(frame, 'bind');
    const message = readBind(buffer, start, end);
    const statement = this.#session.prepared.statement(message.statement);
    if (statement === undefined) {
      // It may be one that SQL's PREPARE made at the core.
      if (this.#session.isBound || (this.#mayBePrepared && message.statement !== ''))
        return this.#bindUpstream(null, message, frame);
      return this.#session.failed(unknownStatement(message.statement));
    }
    if (this.#session.isBound && !this.#session.isOwnInBlock(statement.stamp.planned))
      return this.#bindUpstream(statement, message, frame);
    const changed = this.#session.renew(statement);
    if (changed !== null) return this.#session.failed(changed);
    const { planned } = statement.stamp;
    if (this.#goesUpstream(planned) && !this.#isTaken(message.portal)) {
      return this.#bindUpstream(statement, message, frame);
    }
    // In the order in which Postgres looks at them.
    const refused =
      countError(planned, message) ??
      this.#session.abortedError(planned, true) ??
      (this.#isTaken(message.portal) ? errorFields('42P03', `cursor "${message.portal}" already exists`) : null) ??
      formatError(planned, message);
    if (refused !== null) return this.#session.failed(refused);
    let values: BoundValues | null = NO_VALUES;
    const executable = this.#executable(planned);
    if (executable !== null) {
      const { plan, parameters } = executable;
      values = this.#session.deps.engine.bind(plan, executable.planned.literals, parameters, this.#session.settings);
      if (values === null) return this.#bindUpstream(statement, message, frame);
    } else if (planned.plan.kind === 'local') {
      values = this.#session.deps.engine.bind(
        planned.plan,
        planned.literals,
        message.parameters,
        this.#session.settings,
      );
      if (values === null) return this.#bindUpstream(statement, message, frame);
    }
    return this.#segment.after(() => {
      const portal = newPortal(statement, message, frame, values);
      this.#session.prepared.openPortal(
        message.portal,
        executable === null ? portal : { ...portal, stamp: this.#session.stamp(executable.planned) },
      );
      writeBindComplete(this.#session.out);
    });
  }

  #isTaken(portal: string): boolean {
    const { prepared, cursors } = this.#session;
    return portal !== '' && (prepared.portal(portal) !== undefined || cursors.has(portal));
  }

  /** What an EXECUTE stands for, when it can run here. */
  #executable({ plan }: Planned): Executable | null {
    if (plan.kind !== 'session' || plan.statement.type !== 'execute') return null;
    return this.#session.own.executable(plan.statement);
  }

  /** The core may know a name that is not known here, by SQL's PREPARE; of a block that failed here it knows nothing. */
  get #mayBePrepared(): boolean {
    const { forward, transaction } = this.#session;
    return forward.open && !(transaction.where === 'local' && transaction.failed);
  }

  /** Makes a statement known to the core, and with an EXECUTE the one that it names. */
  #parseUpstream(statement: PreparedStatement): void {
    const { plan } = statement.stamp.planned;
    if (plan.kind === 'session' && plan.statement.type === 'execute') {
      const named = this.#session.prepared.statement(plan.statement.name);
      if (named !== undefined) this.#segment.parse(named);
    }
    this.#segment.parse(statement);
  }

  #bindUpstream(statement: PreparedStatement | null, message: BindMessage, frame: Frame): Wait {
    return this.#segment.run(
      () => {
        if (statement !== null) this.#parseUpstream(statement);
        const portal = newPortal(statement, message, frame, null);
        portal.upstream = true;
        this.#session.prepared.openPortal(message.portal, portal);
        this.#session.forward.upstream.sendBind(frame.bytes, true);
      },
      statement === null ? null : whyOf(statement.stamp.planned),
    );
  }

  describe(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#session.forward.held === 'encoding') return this.#segment.raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    return isPortal ? this.#describePortal(name, frame) : this.#describeStatement(name, frame);
  }

  #describePortal(name: string, frame: Frame): Wait {
    const portal = this.#session.prepared.portal(name);
    if (portal === undefined) {
      const description = this.#session.cursors.description(name, TEXT_FORMATS);
      if (description !== null) return this.#segment.after(() => this.#session.out.bytes(description));
      return this.#session.isBound ? this.#segment.counted(frame) : this.#session.failed(unknownPortal(name));
    }
    const { stamp } = portal;
    if (portal.upstream || stamp === null) return this.#segment.counted(frame);
    if (this.#session.staleness(stamp) !== null) return this.#session.failed(SCHEMA_CHANGED);
    return this.#segment.after(() => this.#describeColumns(stamp.planned, portal.formats));
  }

  #describeStatement(name: string, frame: Frame): Wait {
    const statement = this.#session.prepared.statement(name);
    if (statement === undefined) {
      if (this.#session.isBound || (this.#mayBePrepared && name !== '')) return this.#segment.counted(frame);
      return this.#session.failed(unknownStatement(name));
    }
    const changed = this.#session.isBound ? null : this.#session.renew(statement);
    if (changed !== null) return this.#session.failed(changed);
    const { planned } = statement.stamp;
    if (this.#goesUpstream(planned) && (statement.upstream || !hasNoRows(planned))) {
      return this.#segment.run(() => {
        this.#segment.parse(statement);
        this.#session.forward.upstream.sendCounted(frame.bytes);
      }, whyOf(planned));
    }
    const { plan } = planned;
    // A failed block tells nothing of rows.
    if (this.#session.transaction.failed && !this.#session.isBound && !hasNoRows(planned))
      return this.#session.failed(ABORTED);
    return this.#segment.after(() => {
      writeParameterDescription(this.#session.out, parameterTypesOf(plan));
      this.#describeColumns(planned, TEXT_FORMATS);
    });
  }

  #describeColumns(planned: Planned, formats: readonly number[]): void {
    const plan = this.#executable(planned)?.plan ?? planned.plan;
    if (plan.kind === 'local') {
      const prepared = this.#session.deps.engine.prepare(plan);
      if (prepared !== null) this.#session.out.bytes(prepared.description(formats));
      else this.#session.fail(SCHEMA_CHANGED);
    } else if (plan.kind === 'session' && plan.statement.type === 'fetch' && !plan.statement.move) {
      const description = this.#session.cursors.description(plan.statement.cursor, formats);
      if (description === null) writeNoData(this.#session.out);
      else this.#session.out.bytes(description);
    } else if (plan.kind === 'session' && plan.statement.type === 'show') {
      writeShowDescription(this.#session.out, plan.statement.name, plan.statement.column);
    } else {
      writeNoData(this.#session.out);
    }
  }

  execute(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#session.forward.held === 'encoding') return this.#segment.raw(frame, 'counted');
    const { name, rowsMax } = readExecute(buffer, start, end);
    const portal = this.#session.prepared.portal(name);
    if (portal === undefined) {
      if (this.#session.cursors.has(name)) {
        return this.#segment.after(() => this.#session.cursors.execute(name, rowsMax)?.then(() => {}));
      }
      return this.#session.isBound ? this.#segment.counted(frame) : this.#session.failed(unknownPortal(name));
    }
    const { stamp, statement } = portal;
    if (portal.upstream || stamp === null || statement === null) return this.#executeUpstream(portal, frame);
    const { plan } = stamp.planned;
    const aborted = this.#session.abortedError(stamp.planned);
    if (aborted !== null) return this.#session.failed(aborted);
    if (plan.kind === 'session') return this.#executeSession(portal, plan.statement, { name, rowsMax }, frame);
    if (plan.kind !== 'local') {
      writeEmptyQueryResponse(this.#session.out);
      return undefined;
    }
    // A portal that was begun here is finished here.
    if (portal.rows !== null || portal.slow !== null || portal.done) {
      return this.#segment.after(() => this.#continuePortal(portal, rowsMax, frame));
    }
    const may = this.#segment.isOpen ? 'segment' : this.#local.mayRunLocally(plan);
    const go = (reason: Reason | null): Wait =>
      this.#executeLocal(portal, plan, rowsMax, frame, reason ?? this.#session.staleness(stamp));
    if (!(may instanceof Promise)) return go(may);
    return may.then((reason) => (isError(reason) ? this.#session.failed(reason) : go(reason)));
  }

  #executeUpstream(portal: Portal, frame: Frame): Wait {
    const planned = portal.stamp?.planned;
    const because = planned === undefined ? null : whyOf(planned);
    return this.#segment.run(() => {
      if (planned === undefined || isChanging(planned)) this.#segment.changing = true;
      this.#copy.mode = 'extended';
      this.#session.forward.upstream.sendCounted(frame.bytes);
      this.#segment.why = because;
      if (planned?.plan.kind === 'session') this.#segment.statements.push(planned.plan.statement);
    }, because);
  }

  #executeSession(
    portal: Portal,
    statement: SessionStatement,
    { name, rowsMax }: { name: string; rowsMax: number },
    frame: Frame,
  ): Wait {
    const sql = portal.statement?.sql ?? '';
    return this.#segment.after(() => {
      if (portal.done) {
        if (statement.type === 'show') {
          return writeCommandComplete(this.#session.out, statement.column === undefined ? 'SHOW' : 'SELECT 0');
        }
        // In a block of the core's the core must say no, for it has to fail.
        if (this.#session.isBound) return this.#segment.counted(frame);
        return this.#session.failed(errorFields('55000', `portal "${name}" cannot be run`));
      }
      portal.done = true;
      this.#session.beginImplicit();
      const step = this.#session.own.run(statement, sql, {
        bound: this.#session.isBound,
        describe: false,
        rowsMax,
        formats: portal.formats,
        parameters: portal.parameters,
      });
      const finish = (done: Step | null): Wait => {
        if (done !== null) return undefined;
        const wait = this.#moveUpstream(portal, frame, 'session');
        this.#segment.statements.push(statement);
        if (isChangingSession(statement)) this.#segment.changing = true;
        return wait;
      };
      return step instanceof Promise ? step.then(finish) : finish(step);
    });
  }

  #executeLocal(portal: Portal, plan: LocalPlan, rowsMax: number, frame: Frame, reason: Reason | null): Wait {
    const prepared = reason ?? this.#local.prepare(plan);
    const { values, formats } = portal;
    if (isError(prepared)) return this.#session.failed(prepared);
    if (!(prepared instanceof PreparedPlan)) return this.#moveUpstream(portal, frame, prepared);
    if (values === null) return this.#moveUpstream(portal, frame, 'parameter-value');
    if ((this.#session.settings.needsBroken & (plan.needs | prepared.needsOf(formats))) !== 0) {
      return this.#moveUpstream(portal, frame, 'setting');
    }
    if (!prepared.canWrite(formats)) return this.#moveUpstream(portal, frame, 'binary-format');
    if (prepared.fast && rowsMax <= 0) {
      const out = this.#session.out;
      const mark = out.length;
      const rows = prepared.writeRows(values, formats, out);
      if (rows >= 0) {
        portal.done = true;
        writeCommandComplete(out, tagOf(plan, rows));
        this.#session.countLocal(ANSWERED_FAST, plan);
        return undefined;
      }
      out.truncate(mark);
      if (rows === ROWS_FAILED) return this.#moveUpstream(portal, frame, 'may-fail');
    }
    const rows = prepared.fast && rowsMax > 0 ? prepared.readRows(values) : null;
    if (rows !== null) {
      portal.rows = rows;
      portal.writers = prepared.writers(formats);
      this.#session.countLocal(ANSWERED_FAST, plan);
      return this.#continuePortal(portal, rowsMax, frame);
    }
    return rowsMax > 0
      ? this.#openSlowPortal(portal, prepared, values, rowsMax, frame)
      : this.#local.slowRows(prepared, values, formats, false).then((step) => {
          if (step === 'forward') return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
          portal.done = true;
          return undefined;
        });
  }

  /** A portal bound here turns out to need the core: repeat Parse and Bind there, then execute. */
  #moveUpstream(portal: Portal, frame: Frame, reason: Reason): Wait {
    const because = why(reason);
    return this.#segment.run(() => {
      this.#parseUpstream(portal.statement as PreparedStatement);
      portal.upstream = true;
      this.#session.forward.upstream.sendBind(portal.bindFrame.bytes, false);
      this.#session.forward.upstream.sendCounted(frame.bytes);
      this.#segment.why = because;
    }, because);
  }

  #continuePortal(portal: Portal, rowsMax: number, frame: Frame): Wait {
    const out = this.#session.out;
    if (portal.done) {
      writeCommandComplete(out, selectTag(0));
      return undefined;
    }
    if (portal.slow !== null) return this.#slowPortalRows(portal, portal.slow, rowsMax, frame);
    const { rows, writers } = portal;
    if (rows === null || writers === null) return undefined;
    const left = rows.length - portal.rowsSent;
    const count = rowsMax > 0 && rowsMax <= left ? rowsMax : left;
    for (let index = 0; index < count; index += 1) {
      writeDataRow(rows[portal.rowsSent + index] as SqliteValue[], writers, out);
    }
    portal.rowsSent += count;
    if (rowsMax > 0 && count === rowsMax) {
      writePortalSuspended(out);
      return undefined;
    }
    portal.done = true;
    portal.rows = null;
    writeCommandComplete(out, selectTag(count));
    return undefined;
  }

  close(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#session.forward.held === 'encoding') return this.#segment.raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    let upstream = false;
    let closing: PreparedStatement | null = null;
    if (isPortal) {
      upstream = this.#session.prepared.portal(name)?.upstream === true;
      this.#session.prepared.dropPortal(name);
      this.#session.cursors.drop(name);
    } else {
      const statement = this.#session.prepared.statement(name);
      // A name that is not known here may be one of SQL's PREPARE.
      upstream = statement?.upstream ?? (name !== '' && this.#session.forward.open);
      closing = statement ?? null;
      this.#session.prepared.forget(name);
    }
    const { transaction, forward } = this.#session;
    if (upstream && transaction.where === 'local' && !this.#segment.isOpen) {
      // The block need not go to the core for that.
      forward.deallocateLater(name);
    } else if ((upstream && forward.open) || this.#segment.isOpen) {
      return this.#segment.close(frame, closing);
    }
    writeCloseComplete(this.#session.out);
    return undefined;
  }

  async #openSlowPortal(
    portal: Portal,
    prepared: PreparedPlan,
    values: BoundValues,
    rowsMax: number,
    frame: Frame,
  ): Promise<void> {
    const { snapshot } = this.#session.transaction;
    const query = await this.#session.slow.open(prepared, values, portal.formats, snapshot);
    if (query === null) return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
    if ('sqlstate' in query) return this.#session.failed(query);
    portal.slow = query;
    this.#session.countLocal(ANSWERED_SLOW, prepared.plan);
    return this.#slowPortalRows(portal, query, rowsMax, frame);
  }

  async #slowPortalRows(portal: Portal, query: SlowQuery, rowsMax: number, frame: Frame): Promise<void> {
    const outcome = await this.#session.slow.send(query, rowsMax, () => {});
    if (outcome.end === 'suspended') return writePortalSuspended(this.#session.out);
    portal.slow = null;
    query.close();
    if (outcome.end === 'forward') return this.#moveUpstream(portal, frame, 'schema-changed');
    portal.done = true;
    if (outcome.end === 'failed') this.#session.fail(outcome.error);
    else if (outcome.end === 'done') writeCommandComplete(this.#session.out, selectTag(outcome.rows));
    return undefined;
  }
}

/** Between Bind and Describe: the plan is void, and so is what was bound for it. */
const SCHEMA_CHANGED = errorFields('57P03', 'the schema has changed since this portal was bound', {
  hint: 'try again',
});

const NO_VALUES: BoundValues = [];

function newPortal(
  statement: PreparedStatement | null,
  message: BindMessage,
  frame: Frame,
  values: BoundValues | null,
): Portal {
  return {
    statement,
    stamp: statement?.stamp ?? null,
    bindFrame: frame,
    upstream: false,
    formats: message.formats,
    parameters: message.parameters,
    values,
    rows: null,
    writers: null,
    rowsSent: 0,
    slow: null,
    done: false,
  };
}

/** A statement of ours that can be described without asking anybody, in a failed block too. */
function hasNoRows({ plan }: Planned): boolean {
  if (plan.kind === 'empty') return true;
  if (plan.kind !== 'session' || !isOwnStatement(plan.statement)) return false;
  const { statement } = plan;
  return statement.type !== 'show' && statement.type !== 'execute' && (statement.type !== 'fetch' || statement.move);
}

/** Types of $1..$n as ParameterDescription tells them. */
function parameterTypesOf(plan: Plan): readonly number[] {
  if (plan.kind === 'local') return plan.parameterTypes;
  if (plan.kind !== 'session' || plan.statement.type !== 'declare') return [];
  return parameterTypesOf(plan.statement.planned.plan);
}

/** What Postgres says to a Bind with other parameters than its statement has. */
function countError({ plan }: Planned, { statement, parameters }: BindMessage): ErrorFields | null {
  const given = parameters.values.length;
  if (plan.kind === 'forward') return null;
  const wanted = parameterTypesOf(plan).length;
  if (given === wanted) return null;
  return errorFields(
    '08P01',
    `bind message supplies ${given} parameters, but prepared statement "${statement}" requires ${wanted}`,
  );
}

/** The same of its formats. */
function formatError({ plan }: Planned, { formats }: BindMessage): ErrorFields | null {
  const columns = plan.kind === 'local' ? plan.columns.length : formats.length;
  if (formats.length <= 1 || formats.length === columns) return null;
  return errorFields('08P01', `bind message has ${formats.length} result formats but query has ${columns} columns`);
}

function unknownStatement(name: string): ErrorFields {
  const what = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
  return errorFields('26000', `${what} does not exist`);
}

function unknownPortal(name: string): ErrorFields {
  return errorFields('34000', `portal "${name}" does not exist`);
}
