// What all parts of one client's session share: its settings, its block, what it holds here and at the core, and what errors
// do to it.

import { Fault } from '../base/fault.ts';
import type { ServerSession } from '../session/server-session.ts';
import { type ErrorFields, type TransactionStatus, writeError, writeReadyForQuery } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import type { CatalogueAnswers } from './catalogue/answers.ts';
import { Forwarder, type ForwarderDeps, type ForwarderEvents, type TransactionState } from './forward.ts';
import type { LocalEngine } from './local.ts';
import { ABORTED, OwnStatements, ownSettingProblem } from './own-statements.ts';
import { type PlanStamp, PreparedStatements } from './prepared.ts';
import { SettingReports } from './setting-reports.ts';
import { isOwnSetting, SessionSettings, type SettingsOwner } from './settings.ts';
import type { AnsweredBy } from './show.ts';
import type { SlowLanes } from './slow-lanes.ts';
import { SlowRows } from './slow-rows.ts';
import type { LocalPlan, Planned } from './sql/plan.ts';
import { parseToken, requireSameSystem } from './token.ts';
import type { RelayResult } from './upstream.ts';
import { type Reason, syntaxErrorOf, type Why, why } from './why.ts';

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
  readonly transaction: TransactionState = { where: 'none', failed: false, beginSql: '' };
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
    this.own = new OwnStatements({
      feed: deps.feed,
      engine: deps.engine,
      out: this.out,
      settings: this.settings,
      reports: this.reports,
      transaction: this.transaction,
      forward: this.forward,
      prepared: this.prepared,
      fail: (fields) => this.fail(fields),
      answered: () => this.answered,
      done: () => {
        this.answered = ANSWERED_SESSION;
      },
    });
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

  get status(): TransactionStatus {
    if (this.transaction.failed) return 'E';
    return this.transaction.where === 'none' ? 'I' : 'T';
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
      if (transaction.where !== 'none') {
        this.settings.end(result.tag === 'COMMIT');
        this.prepared.dropPortals();
      }
      transaction.where = 'none';
      transaction.failed = false;
      return;
    }
    if (transaction.where === 'none') this.settings.begin();
    transaction.where = 'upstream';
    transaction.failed = result.status === 'E';
  }

  stamp(planned: Planned): PlanStamp {
    return { planned, version: this.deps.engine.version, key: this.settings.planning.key };
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
    if (this.transaction.where === 'local' && !this.transaction.failed) {
      this.transaction.failed = true;
      // The block's settings go with the error, not only with the ROLLBACK.
      this.reports.change(() => this.settings.end(false));
    }
    return 'failed';
  }

  failed(fields: ErrorFields): undefined {
    this.fail(fields);
    return undefined;
  }

  countLocal(how: AnsweredBy): void {
    this.answered = how;
    this.deps.counts.local();
  }

  countForwarded(because: Why | null): void {
    const { reason, detail } = because ?? why('segment');
    this.answered = { by: 'forwarded', reason: `${reason}: ${detail}` };
    this.deps.counts.forwarded(reason);
  }
}

const ANSWERED_SESSION: AnsweredBy = { by: 'session', reason: 'about the session itself' };
