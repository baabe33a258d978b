// What all parts of one client's session share: its settings, its block, what it holds here and at the core, and what errors
// do to it.

import { Fault } from '../base/fault.ts';
import type { ServerSession } from '../session/server-session.ts';
import { type ErrorFields, type TransactionStatus, writeError, writeReadyForQuery } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import type { CatalogueAnswers } from './catalogue/answers.ts';
import type { CursorFiles } from './cursor-rows.ts';
import { Cursors } from './cursors.ts';
import {
  Forwarder,
  type ForwarderDeps,
  type ForwarderEvents,
  newTransaction,
  type TransactionState,
} from './forward.ts';
import type { LocalEngine } from './local.ts';
import { LocalAnswers } from './local-answers.ts';
import type { Snapshots } from './snapshots.ts';
import { ABORTED, OwnStatements, ownSettingProblem } from './own-statements.ts';
import { type PlanStamp, PreparedStatements, type PreparedStatement, sameColumns } from './prepared.ts';
import { SessionTimers } from './session-timers.ts';
import { SettingReports } from './setting-reports.ts';
import { isOwnSetting, SessionSettings, type SettingsOwner } from './settings.ts';
import type { AnsweredBy } from './show.ts';
import type { SlowLanes } from './slow-lanes.ts';
import { SlowRows } from './slow-rows.ts';
import type { LocalPlan, Planned } from './sql/plan.ts';
import { parseToken, requireSameSystem } from './token.ts';
import type { RelayResult } from './upstream.ts';
import { errorFields } from './faults.ts';
import { isAlwaysOwn, type Reason, syntaxErrorOf, type Why, why } from './why.ts';

export interface SessionLimits {
  readonly statementsMax: number;
  /** 0 = none; a session's own statement_timeout wins when it is set. */
  readonly statementTimeoutMs: number;
}

/** Counts for status and metrics, shared by all sessions of an edge. */
export interface AnswerCounts {
  local(): void;
  forwarded(reason: string): void;
  /** The core is away, and what it said before was told. */
  remembered(): void;
}

export interface SessionDeps extends ForwarderDeps {
  readonly engine: LocalEngine;
  readonly slowLanes: SlowLanes;
  readonly snapshots: Snapshots;
  readonly cursorFiles: CursorFiles;
  readonly owner: SettingsOwner;
  readonly limits: SessionLimits;
  readonly counts: AnswerCounts;
  /** Whether the edge's role may read these tables; unknown is false. */
  readonly mayRead: (plan: LocalPlan) => boolean;
  /** Whether a table of the plan may be hidden, at the core, by another relation of its name. */
  readonly isHidden: (plan: LocalPlan, searchPath: readonly string[]) => boolean;
  /** What the core said about its catalogue, for when it is away. */
  readonly remembered: Pick<CatalogueAnswers, 'seen' | 'answer'>;
}

/** What a frame leaves to wait for. */
export type Wait = Promise<void> | undefined;

/** What of the session's own doing the shared parts have to know. */
export interface ConversationOwner {
  readonly forwarder: ForwarderEvents;
  /** The core is in the middle of a batch of this session. */
  readonly isInSegment: () => boolean;
  /** Resolves when the client's queue has room; false when it is gone. */
  readonly clientRoom: () => Promise<boolean>;
}

export class Conversation {
  readonly deps: SessionDeps;
  readonly server: ServerSession;
  readonly out: ByteWriter;
  readonly settings: SessionSettings;
  readonly reports: SettingReports;
  readonly forward: Forwarder;
  readonly prepared = new PreparedStatements();
  readonly own: OwnStatements;
  readonly slow: SlowRows;
  readonly transaction: TransactionState = newTransaction();
  readonly timers: SessionTimers;
  readonly local: LocalAnswers;
  readonly cursors: Cursors;
  /** Something asynchronous runs; frames wait, but for COPY data. */
  busy = false;
  skipUntilSync = false;
  answered: AnsweredBy = { by: 'session', reason: 'nothing was asked yet' };
  readonly #owner: ConversationOwner;

  constructor(deps: SessionDeps, server: ServerSession, owner: ConversationOwner) {
    this.deps = deps;
    this.server = server;
    this.out = server.writer;
    this.#owner = owner;
    this.settings = new SessionSettings(deps.owner);
    this.settings.start(Object.fromEntries(server.settings));
    this.reports = new SettingReports(this.settings);
    this.forward = new Forwarder(deps, this.settings, owner.forwarder);
    this.#startOwnSettings();
    this.timers = new SessionTimers(
      deps.clock,
      () => this.settings.durations,
      (fault) => server.fail(fault),
    );
    this.local = new LocalAnswers(this);
    this.cursors = new Cursors(this, this.local);
    this.own = new OwnStatements(this);
    this.slow = new SlowRows({
      clock: deps.clock,
      lanes: deps.slowLanes,
      timeoutMs: () => this.settings.durations.statementTimeoutMs || deps.limits.statementTimeoutMs,
      send: (bytes) => this.server.send(bytes),
      room: owner.clientRoom,
    });
  }

  /** Settings of ours in the startup packet. A wrong one is told before the session begins, as Postgres does it. */
  #startOwnSettings(): void {
    for (const [name, value] of this.server.settings) {
      if (!isOwnSetting(name)) continue;
      if (name === 'skerry.token') {
        const token = parseToken(value);
        requireSameSystem(token, this.deps.feed.current.epoch?.systemId ?? null);
        this.forward.require(token);
        continue;
      }
      const problem = ownSettingProblem(this.settings, name, [value]);
      if (problem !== null)
        throw new Fault('setting-invalid', { message: problem.message, sqlstate: problem.sqlstate });
    }
  }

  /** The statement was about the session itself. */
  answeredHere(): void {
    this.answered = ANSWERED_SESSION;
  }

  /** Resolves when the client's queue has room; false when it is gone. */
  clientRoom(): Promise<boolean> {
    return this.#owner.clientRoom();
  }

  /** The block is over, wherever it ran: what it held here goes. */
  blockEnded(committed: boolean): void {
    const { transaction } = this;
    transaction.where = 'none';
    transaction.failed = false;
    this.prepared.dropPortals();
    this.cursors.dropTransaction(committed);
    transaction.snapshot?.close();
    transaction.snapshot = null;
  }

  /** The block ran at the core, and the core is gone: no savepoint brings it back. */
  blockLost(): void {
    const { transaction } = this;
    transaction.where = 'local';
    transaction.failed = true;
    this.reports.change(() => this.settings.end(false));
    this.#letGo();
  }

  get status(): TransactionStatus {
    if (this.transaction.failed) return 'E';
    return this.transaction.where === 'none' ? 'I' : 'T';
  }

  /** Answered here although the block or batch is the core's: what is about this edge, and cursors that are here. */
  isOwnInBlock(planned: Planned): boolean {
    if (isAlwaysOwn(planned)) return true;
    const { plan } = planned;
    if (plan.kind !== 'session' || this.cursors.isEmpty) return false;
    const { statement } = plan;
    if (statement.type === 'fetch') return this.cursors.has(statement.cursor);
    return statement.type === 'close' && statement.name !== null && this.cursors.has(statement.name);
  }

  /** The core is in the middle of a block or batch of this session: whatever comes belongs to it. */
  get isBound(): boolean {
    return this.transaction.where === 'upstream' || this.#owner.isInSegment();
  }

  simpleFailed(fields: ErrorFields): undefined {
    this.fail(fields);
    return this.simpleEnd();
  }

  simpleEnd(): undefined {
    this.skipUntilSync = false;
    return this.writeReady();
  }

  writeReady(): undefined {
    this.reports.write(this.out);
    writeReadyForQuery(this.out, this.status);
    this.timers.ready(this.status);
    return undefined;
  }

  /** `changing`: it may have changed what local answers depend on, if it did not fail. */
  forwarded(result: RelayResult, because: Why | null, changing: boolean): void {
    // What failed outside a block was undone as a whole; a script may have committed before it failed.
    this.forward.ran(changing && !(result.failed && result.status === 'I' && result.tag === ''), result.tag);
    this.countForwarded(because);
    this.transactionIs(result);
  }

  /** Takes over the transaction status that the core reported. */
  transactionIs(result: RelayResult): void {
    const transaction = this.transaction;
    if (result.status === 'I') {
      if (transaction.where !== 'none') this.settings.end(result.tag === 'COMMIT');
      const committed = transaction.where === 'none' ? !result.failed : result.tag === 'COMMIT';
      if (transaction.where !== 'none' || !this.cursors.isEmpty) this.blockEnded(committed);
      return;
    }
    if (transaction.where === 'none') this.settings.begin();
    transaction.where = 'upstream';
    transaction.failed = result.status === 'E';
  }

  stamp(planned: Planned): PlanStamp {
    return { planned, version: this.deps.engine.version, key: this.settings.planning.key };
  }

  /** Plans a statement again when what it was planned under changed. An error when the client holds another description. */
  renew(statement: PreparedStatement): ErrorFields | null {
    if (this.staleness(statement.stamp) === null) return null;
    const planned = this.deps.engine.statement(statement.sql, statement.parameterTypes, this.settings);
    const { plan } = planned;
    if (statement.columns !== null && plan.kind === 'local' && !sameColumns(statement.columns, plan.columns)) {
      // It stays as it is, and fails each time, until the client prepares it again.
      return errorFields('0A000', 'cached plan must not change result type');
    }
    statement.stamp = this.stamp(planned);
    return null;
  }

  /** Why a plan made then cannot be used now; null when it can. */
  staleness({ version, key }: PlanStamp): Reason | null {
    if (version !== this.deps.engine.version) return 'schema-changed';
    return key === this.settings.planning.key ? null : 'path-changed';
  }

  /** Why the client's texts cannot even be read here; null when they can. */
  unreadable(): Reason | null {
    if (this.forward.held === 'encoding') return 'encoding';
    return this.settings.get('standard_conforming_strings') === 'on' ? null : 'peculiar';
  }

  /** Outside a block, the statements of one text or segment are one transaction: an error undoes their SETs. */
  beginImplicit(): void {
    if (this.transaction.where === 'none') this.settings.begin();
  }

  endImplicit(committed: boolean): void {
    if (this.transaction.where !== 'none' || !this.settings.isOpen) return;
    this.reports.change(() => this.settings.end(committed));
  }

  /** The error that a failed block gives to everything but its end; null when the statement may go on. */
  abortedError(planned: Planned, isBound = false): ErrorFields | null {
    if (!this.transaction.failed || this.transaction.where === 'upstream') return null;
    const { plan } = planned;
    // Nothing may be said, but not bound and executed.
    if (plan.kind === 'empty') return isBound ? ABORTED : null;
    // Postgres reads a text before it looks at the block.
    if (plan.kind === 'forward' && plan.reason === 'syntax-error') return syntaxErrorOf(planned);
    if (plan.kind === 'session') {
      const { type } = plan.statement;
      if (type === 'commit' || type === 'rollback' || type === 'rollback-to') return null;
    }
    return ABORTED;
  }

  /** Tells the client of an error, with what it does to the block and to the rest of the segment. */
  fail(fields: ErrorFields): 'failed' {
    writeError(this.out, fields);
    this.skipUntilSync = true;
    const { transaction, settings } = this;
    if (transaction.where === 'local' && !transaction.failed) {
      transaction.failed = true;
      // The block's settings go with the error, not only with the ROLLBACK; a savepoint keeps those before it.
      const savepoint = settings.savepoints.at(-1);
      this.reports.change(() => {
        if (savepoint === undefined) settings.end(false);
        else settings.rollbackTo(savepoint);
      });
      if (savepoint === undefined) this.#letGo();
    }
    return 'failed';
  }

  /** Nothing in the block will be read any more. */
  #letGo(): void {
    const { transaction } = this;
    this.cursors.dropTransaction(false);
    transaction.snapshot?.close();
    transaction.snapshot = null;
  }

  failed(fields: ErrorFields): undefined {
    this.fail(fields);
    return undefined;
  }

  countLocal(how: AnsweredBy, { tables }: LocalPlan): void {
    this.answered = how;
    const { transaction } = this;
    transaction.hasRead = true;
    if (transaction.snapshot !== null) for (const oid of tables) transaction.snapshot.tables.add(oid);
    this.deps.counts.local();
  }

  countForwarded(because: Why | null): void {
    const { reason, detail } = because ?? why('segment');
    this.answered = { by: 'forwarded', reason: `${reason}: ${detail}` };
    this.deps.counts.forwarded(reason);
  }
}

const ANSWERED_SESSION: AnsweredBy = { by: 'session', reason: 'about the session itself' };
