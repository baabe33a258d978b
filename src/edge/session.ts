// One client of the edge: frames in, answers out, strictly in order. What can be answered from the replica is answered at
// once, in one write a batch; everything else goes to the core and its frames come back as they are.
//
//   simple:    Query ──▶ script of statements ──▶ each local, session or forwarded ──▶ ReadyForQuery
//   extended:  Parse Bind Describe Execute … Sync; once one message of such a segment went to the core the rest of it follows,
//              so that the core's implicit transaction holds all of it; after an error everything up to Sync is skipped
//   blocks:    none ─BEGIN─▶ local ─first forwarded statement─▶ upstream; COMMIT or ROLLBACK ─▶ none
//   COPY IN:   no ─CopyInResponse─▶ simple or extended (the client's frames go straight up) ─CopyDone, Sync─▶ ending ─▶ no
//
// While something asynchronous runs (a forwarded batch, a slow lane, a wait for an own write) later frames wait in the
// server session.

import { unreachable } from '../base/assert.ts';
import { Fault } from '../base/fault.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { ServerSession, SessionOwner } from '../session/server-session.ts';
import {
  type ErrorFields,
  type TransactionStatus,
  writeBindComplete,
  writeCloseComplete,
  writeCommandComplete,
  writeEmptyQueryResponse,
  writeError,
  writeNoData,
  writeParameterDescription,
  writeParseComplete,
  writePortalSuspended,
  writeReadyForQuery,
} from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { wireFault } from '../wire/faults.ts';
import { encodeFrontend, FRONTEND } from '../wire/frontend.ts';
import {
  type BindMessage,
  Frame,
  NO_PARAMETERS,
  readBind,
  readExecute,
  readParse,
  readQuery,
  readTarget,
  TEXT_FORMATS,
} from './client-frames.ts';
import { errorFields } from './faults.ts';
import { Forwarder, type ForwarderDeps, type Held, type TransactionState } from './forward.ts';
import { type BoundValues, type LocalEngine, type PreparedPlan, ROWS_FAILED, writeDataRow } from './local.ts';
import { ABORTED, OwnStatements, type Step } from './own-statements.ts';
import { type PlanStamp, type Portal, PreparedStatements, type PreparedStatement, sameColumns } from './prepared.ts';
import { SettingReports } from './setting-reports.ts';
import { isKnownSetting, SessionSettings, type SettingsOwner } from './settings.ts';
import { type AnsweredBy, writeShowDescription } from './show.ts';
import type { SlowLanes, SlowQuery } from './slow-lanes.ts';
import { SlowRows } from './slow-rows.ts';
import type { LocalPlan, Planned, PlannedStatement, SessionPlan, SessionStatement } from './sql/plan.ts';
import { type RelayResult, UpstreamLost } from './upstream.ts';
import {
  forwardError,
  isAlwaysOwn,
  isChanging,
  isChangingSession,
  isOwnStatement,
  type Reason,
  syntaxErrorOf,
  type Why,
  why,
  whyOf,
} from './why.ts';

/** A client that leaves this much unread is sent nothing more until it reads. */
const CLIENT_QUEUE_BYTES_MAX = 1024 * 1024;

/** Bytes for the core that it has not taken yet, beyond which the client is not read any further (COPY IN). */
const UPSTREAM_QUEUE_BYTES_MAX = 1024 * 1024;

export interface SessionLimits {
  readonly statementsMax: number;
  /** 0 = none; a session's own statement_timeout wins when it is set. */
  readonly statementTimeoutMs: number;
}

/** Counts for status and metrics, shared by all sessions of an edge. */
export interface AnswerCounts {
  local(): void;
  forwarded(reason: string): void;
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
}

/** What a frame leaves to wait for. */
type Wait = Promise<void> | undefined;

export class EdgeSession implements SessionOwner {
  readonly #deps: SessionDeps;
  readonly #server: ServerSession;
  readonly #out: ByteWriter;
  readonly #settings: SessionSettings;
  readonly #reports: SettingReports;
  readonly #forward: Forwarder;
  readonly #prepared = new PreparedStatements();
  readonly #own: OwnStatements;
  readonly #slow: SlowRows;
  readonly #transaction: TransactionState = { where: 'none', failed: false, beginSql: '' };
  /** Something asynchronous runs; frames wait, but for COPY data. */
  #busy = false;
  #copyIn: 'no' | 'simple' | 'extended' | 'ending' = 'no';
  /** The protocol of the batch that runs upstream, should it turn out to be a COPY. */
  #copyMode: 'simple' | 'extended' = 'simple';
  /** Syncs sent before the COPY began: the core ignores those, so the client sends another one after CopyDone. */
  #copySyncs = 0;
  #copyPaused = false;
  /** The current segment went to the core. */
  #segmentUpstream = false;
  #segmentChanging = false;
  #segmentWhy: Why | null = null;
  #segmentSession: SessionStatement[] = [];
  /** Statements whose Parse went up in this segment: the client's own with what had its name before, ours with `own`. */
  readonly #segmentParsed = new Map<PreparedStatement, PreparedStatement | 'own' | null>();
  #skipUntilSync = false;
  #answered: AnsweredBy = { by: 'session', reason: 'nothing was asked yet' };
  #upstreamPaused = false;
  #room: (() => void) | null = null;
  #ended = false;

  constructor(deps: SessionDeps, server: ServerSession) {
    this.#deps = deps;
    this.#server = server;
    this.#out = server.writer;
    this.#settings = new SessionSettings(deps.owner);
    this.#settings.start(Object.fromEntries(server.settings));
    this.#reports = new SettingReports(this.#settings);
    this.#forward = new Forwarder(deps, this.#settings, {
      relay: (bytes) => this.#relay(bytes),
      parameter: (name, value) => this.#learn(name, value),
      copyIn: () => this.#copyInBegins(),
      parsed: (token) => {
        (token as PreparedStatement).upstream = true;
      },
      drained: () => this.#upstreamDrained(),
      beforeReady: ({ status, failed }) => {
        if (status === 'I') this.#endImplicit(!failed);
        this.#reports.write(this.#out);
        this.#server.flush();
      },
      unnamedGone: () => this.#prepared.unnamedGone(),
      released: () => this.#prepared.upstreamLost(),
      isIdle: () => !this.#busy && !this.#isBound,
      lost: (held) => this.#upstreamLost(held),
    });
    this.#own = new OwnStatements({
      feed: deps.feed,
      engine: deps.engine,
      out: this.#out,
      settings: this.#settings,
      reports: this.#reports,
      transaction: this.#transaction,
      forward: this.#forward,
      prepared: this.#prepared,
      fail: (fields) => this.#fail(fields),
      answered: () => this.#answered,
      done: () => {
        this.#answered = ANSWERED_SESSION;
      },
    });
    this.#slow = new SlowRows({
      clock: deps.clock,
      lanes: deps.slowLanes,
      timeoutMs: () => this.#settings.statementTimeoutMs || deps.limits.statementTimeoutMs,
      send: (bytes) => this.#server.send(bytes),
      room: () => this.#clientRoom(),
    });
    if (this.#settings.get('client_encoding') !== 'UTF8') this.#forward.hold('encoding');
  }

  get settings(): SessionSettings {
    return this.#settings;
  }

  frame(type: number, buffer: Buffer, start: number, end: number): void {
    const wait = this.#frame(type, buffer, start, end);
    if (wait !== undefined) this.#await(wait);
  }

  flush(): void {
    if (this.#copyIn !== 'no' && this.#forward.open) this.#forward.upstream.flush();
  }

  drain(): void {
    if (this.#upstreamPaused) {
      this.#upstreamPaused = false;
      if (this.#forward.open) this.#forward.upstream.resume();
    }
    const room = this.#room;
    this.#room = null;
    room?.();
  }

  cancel(): void {
    if (this.#slow.running) this.#slow.cancel();
    else if (this.#forward.open && this.#forward.upstream.busy) void this.#forward.upstream.cancel().catch(() => {});
  }

  closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#slow.kill();
    this.#prepared.dropPortals();
    this.#forward.end();
    this.drain();
  }

  #await(wait: Promise<void>): void {
    this.#busy = true;
    this.#server.pause();
    wait.then(
      () => {
        this.#busy = false;
        this.#server.flush();
        this.#server.resume();
      },
      (error: unknown) => this.#server.fail(error),
    );
  }

  /** Resolves when the client's queue has room; false when it is gone. */
  async #clientRoom(): Promise<boolean> {
    if (this.#server.queuedBytes > CLIENT_QUEUE_BYTES_MAX && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    return !this.#ended;
  }

  #relay(bytes: Uint8Array): void {
    this.#server.send(bytes);
    if (!this.#upstreamPaused && this.#server.queuedBytes > CLIENT_QUEUE_BYTES_MAX) {
      this.#upstreamPaused = true;
      this.#forward.upstream.pause();
    }
  }

  #upstreamLost(held: Held | null): void {
    this.#copyIn = 'no';
    this.#prepared.upstreamLost();
    if (this.#transaction.where === 'upstream') {
      this.#transaction.where = 'local';
      this.#transaction.failed = true;
    }
    if (held !== null) {
      this.#server.fail(
        new Fault('core-lost', {
          message: 'the connection to the core broke, and with it what this session held there',
          detail: `held there: ${held}`,
          hint: 'connect again',
          sqlstate: '57P01',
          retryable: true,
        }),
      );
    } else if (this.#segmentUpstream && !this.#busy && !this.#skipUntilSync) {
      // The client may be waiting for answers it asked for with Flush.
      this.#fail(forwardError(new UpstreamLost(null), this.#segmentWhy, null));
      this.#server.flush();
    }
  }

  /** The core has told the client of a setting. */
  #learn(name: string, value: string): void {
    if (!isKnownSetting(name)) return;
    this.#reports.relayed(name, value, () => this.#settings.learn(name, value));
    if (name === 'client_encoding' && value !== 'UTF8') this.#forward.hold('encoding');
  }

  get #status(): TransactionStatus {
    if (this.#transaction.failed) return 'E';
    return this.#transaction.where === 'none' ? 'I' : 'T';
  }

  /** The core is in the middle of a block or batch of this session: whatever comes belongs to it. */
  get #isBound(): boolean {
    return this.#segmentUpstream || this.#transaction.where === 'upstream';
  }

  /** The core has refused a message of this segment: what follows is ignored there, and here. */
  get #segmentFailed(): boolean {
    return this.#segmentUpstream && this.#forward.open && this.#forward.upstream.failed;
  }

  #frame(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (this.#copyIn === 'simple' || this.#copyIn === 'extended') return this.#copyFrame(type, buffer, start, end);
    if (type !== FRONTEND.sync && (this.#skipUntilSync || this.#segmentFailed)) return undefined;
    switch (type) {
      case FRONTEND.query:
        return this.#query(buffer, start, end);
      case FRONTEND.parse:
        return this.#parse(buffer, start, end);
      case FRONTEND.bind:
        return this.#bind(buffer, start, end);
      case FRONTEND.describe:
        return this.#describe(buffer, start, end);
      case FRONTEND.execute:
        return this.#execute(buffer, start, end);
      case FRONTEND.close:
        return this.#close(buffer, start, end);
      case FRONTEND.sync:
        return this.#sync(new Frame(buffer, start, end));
      case FRONTEND.flush:
        if (this.#segmentUpstream && this.#forward.open) this.#forward.upstream.sendFlush();
        this.#server.flush();
        return undefined;
      case FRONTEND.functionCall:
        return this.#forwardFrame(new Frame(buffer, start, end), why('function'), true);
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        // Late messages of a COPY that failed: Postgres ignores them too.
        return undefined;
      default:
        throw wireFault('protocol-violation', `invalid frontend message type ${type}`);
    }
  }

  // Simple protocol.

  #query(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    this.#prepared.dropUnnamed();
    const unreadable = this.#unreadable();
    if (unreadable !== null) return this.#forwardFrame(frame, why(unreadable), true);
    const text = readQuery(buffer, start, end);
    if (text === null) return this.#forwardFrame(frame, why('not-utf8'), true);
    const { statements, syntaxError } = this.#deps.engine.script(text, this.#settings);
    if (syntaxError !== null) {
      const { sqlstate, message, position } = syntaxError;
      const known = errorFields(sqlstate, message, position === 0 ? {} : { position });
      return this.#forwardFrame(frame, { reason: 'syntax-error', detail: message }, true, known);
    }
    const only = statements[0];
    if (only === undefined) {
      writeEmptyQueryResponse(this.#out);
      return this.#writeReady();
    }
    return statements.length === 1 ? this.#simple(only, text, frame) : this.#simpleMany(statements, text, frame);
  }

  /** The usual case: one statement. */
  #simple(planned: Planned, text: string, frame: Frame): Wait {
    const { plan } = planned;
    const aborted = this.#abortedError(planned);
    if (aborted !== null) return this.#simpleFailed(aborted);
    switch (plan.kind) {
      case 'empty':
        writeEmptyQueryResponse(this.#out);
        return this.#writeReady();
      case 'forward':
        return this.#forwardFrame(frame, plan, plan.write);
      case 'session': {
        const step = this.#own.run(plan.statement, text, { bound: this.#isBound, describe: true, rowsMax: 0 });
        return step === null ? this.#forwardSession(frame, plan) : this.#simpleEnd();
      }
      case 'local': {
        const stamp = this.#stamp(planned);
        const may = this.#mayRunLocally(plan);
        if (!(may instanceof Promise)) return this.#simpleLocal(plan, planned.literals, frame, may);
        return may.then((reason) => this.#simpleLocal(plan, planned.literals, frame, reason ?? this.#staleness(stamp)));
      }
      default:
        return unreachable(plan);
    }
  }

  #simpleLocal(plan: LocalPlan, literals: readonly string[], frame: Frame, reason: Reason | null): Wait {
    const ready = reason ?? this.#readyPlan(plan, literals);
    if (typeof ready === 'string') return this.#forwardFrame(frame, why(ready), false);
    const { prepared, values } = ready;
    if (prepared.fast) {
      const rows = this.#fastRows(prepared, values);
      if (rows >= 0) return this.#writeReady();
      if (rows === ROWS_FAILED) return this.#forwardFrame(frame, why('may-fail'), false);
    }
    return this.#slowRows(prepared, values, TEXT_FORMATS, true).then((step) => {
      if (step === 'forward') return this.#forwardFrame(frame, why('slow-lanes-busy'), false);
      return this.#simpleEnd();
    });
  }

  #simpleFailed(fields: ErrorFields): undefined {
    this.#fail(fields);
    return this.#simpleEnd();
  }

  #simpleEnd(): undefined {
    this.#skipUntilSync = false;
    return this.#writeReady();
  }

  #writeReady(): undefined {
    this.#reports.write(this.#out);
    writeReadyForQuery(this.#out, this.#status);
    return undefined;
  }

  /** Several statements in one text: one implicit transaction. Only when nothing in it can write is it taken apart. */
  async #simpleMany(statements: readonly PlannedStatement[], text: string, frame: Frame): Promise<void> {
    const isOwn = ({ plan }: Planned): boolean =>
      plan.kind === 'local' || (plan.kind === 'session' && isOwnStatement(plan.statement));
    if (this.#transaction.where === 'upstream' || !statements.every(isOwn)) {
      // Only a block that failed here, before the core knew of it, has to be judged here.
      const aborted = this.#abortedError(statements[0] as Planned);
      if (aborted !== null) return this.#simpleFailed(aborted);
      const forwarding = statements.find(({ plan }) => plan.kind === 'forward')?.plan;
      return this.#forwardFrame(frame, forwarding?.kind === 'forward' ? forwarding : why('together'), true);
    }
    let step: Step = 'done';
    for (const statement of statements) {
      this.#beginImplicit();
      step = await this.#simpleOne(statement, text);
      if (step === 'failed') break;
    }
    this.#endImplicit(step === 'done');
    this.#simpleEnd();
  }

  /** One statement of several. Forwards just this one when it turns out not to be answerable here. */
  async #simpleOne(statement: PlannedStatement, text: string): Promise<Step> {
    const { plan, literals } = statement;
    const aborted = this.#abortedError(statement);
    if (aborted !== null) return this.#fail(aborted);
    const sql = text.slice(statement.start, statement.end);
    if (plan.kind === 'session') {
      const step = this.#own.run(plan.statement, sql, { bound: this.#isBound, describe: true, rowsMax: 0 });
      return step ?? this.#forwardSlice(sql, why('session'), true);
    }
    if (plan.kind !== 'local') return 'done';
    const stamp = this.#stamp(statement);
    const reason = (await this.#mayRunLocally(plan)) ?? this.#staleness(stamp);
    const ready = reason ?? this.#readyPlan(plan, literals);
    if (typeof ready === 'string') return this.#forwardSlice(sql, why(ready), false);
    const { prepared, values } = ready;
    if (prepared.fast) {
      const rows = this.#fastRows(prepared, values);
      if (rows >= 0) return 'done';
      if (rows === ROWS_FAILED) return this.#forwardSlice(sql, why('may-fail'), false);
    }
    this.#server.flush();
    const step = await this.#slowRows(prepared, values, TEXT_FORMATS, true);
    return step === 'forward' ? this.#forwardSlice(sql, why('slow-lanes-busy'), false) : step;
  }

  /** A plan of the simple protocol with its values, or why it cannot run here. */
  #readyPlan(plan: LocalPlan, literals: readonly string[]): { prepared: PreparedPlan; values: BoundValues } | Reason {
    const { engine } = this.#deps;
    const prepared = engine.prepare(plan);
    if (prepared === null) return 'replica-not-ready';
    const values = engine.bind(plan, literals, NO_PARAMETERS, this.#settings);
    if (values === null) return 'parameter-value';
    if ((this.#settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) return 'setting';
    return { prepared, values };
  }

  /** Writes the whole answer as text, RowDescription included; nothing when the result is negative. */
  #fastRows(prepared: PreparedPlan, values: BoundValues): number {
    const out = this.#out;
    const mark = out.length;
    out.bytes(prepared.description(TEXT_FORMATS));
    const rows = prepared.writeRows(values, TEXT_FORMATS, out);
    if (rows < 0) {
      out.truncate(mark);
      return rows;
    }
    writeCommandComplete(out, selectTag(rows));
    this.#countLocal(ANSWERED_FAST);
    return rows;
  }

  // Forwarding of whole queries.

  /** Sends a Query (or FunctionCall) up and relays the answer, ReadyForQuery included. `known`: what to say when the core is away. */
  async #forwardFrame(
    frame: Frame,
    because: Why,
    changing: boolean,
    known: ErrorFields | null = null,
    session: SessionStatement | null = null,
  ): Promise<void> {
    this.#server.flush();
    try {
      await this.#forward.prepare(this.#transaction);
      if (session?.type === 'execute') await this.#prepareNamed(session.name);
      this.#copyMode = 'simple';
      const result = await this.#forward.upstream.untilReady(frame.bytes);
      this.#forwarded(result, because, changing);
      if (session !== null) this.#own.afterwards(session, result);
    } catch (error) {
      this.#simpleFailed(forwardError(error, because, known));
    } finally {
      this.#copyIn = 'no';
    }
  }

  /** SET and the like, where the core has the say. */
  #forwardSession(frame: Frame, { statement }: SessionPlan): Promise<void> {
    const because = { reason: 'session', detail: `${statement.type} is the core's to judge` };
    return this.#forwardFrame(frame, because, isChangingSession(statement), null, statement);
  }

  /** Sends one statement of a script up; the script goes on here, so ReadyForQuery is kept back. */
  async #forwardSlice(sql: string, because: Why, changing: boolean): Promise<Step> {
    this.#server.flush();
    try {
      await this.#forward.prepare(this.#transaction);
      const writer = new ByteWriter();
      encodeFrontend(writer, { tag: 'query', sql });
      const result = await this.#forward.upstream.untilReady(writer.take(), false);
      this.#forwarded(result, because, changing);
      return result.failed ? 'failed' : 'done';
    } catch (error) {
      return this.#fail(forwardError(error, because, null));
    }
  }

  /** EXECUTE may name a statement that was prepared by the protocol, and only here. */
  async #prepareNamed(name: string): Promise<void> {
    const named = this.#prepared.statement(name);
    if (named === undefined || named.upstream) return;
    const { error } = await this.#forward.upstream.prepare(named.name, named.sql, named.parameterTypes);
    named.upstream = error === null;
  }

  /** `changing`: it may have changed what local answers depend on, if it did not fail. */
  #forwarded(result: RelayResult, because: Why | null, changing: boolean): void {
    // What failed outside a block was undone as a whole; a script may have committed before it failed.
    this.#forward.ran(changing && !(result.failed && result.status === 'I' && result.tag === ''), result.tag);
    this.#countForwarded(because);
    this.#transactionIs(result);
  }

  /** Takes over the transaction status that the core reported. */
  #transactionIs(result: RelayResult): void {
    const transaction = this.#transaction;
    if (result.status === 'I') {
      if (transaction.where !== 'none') {
        this.#settings.end(result.tag === 'COMMIT');
        this.#prepared.dropPortals();
      }
      transaction.where = 'none';
      transaction.failed = false;
      return;
    }
    if (transaction.where === 'none') this.#settings.begin();
    transaction.where = 'upstream';
    transaction.failed = result.status === 'E';
  }

  // COPY from the client.

  #copyInBegins(): void {
    this.#copyIn = this.#copyMode;
    if (this.#busy) this.#server.resume();
  }

  /** While a COPY reads, the client's frames go straight up. */
  #copyFrame(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (!this.#forward.open) return undefined;
    const { upstream } = this.#forward;
    upstream.send(new Frame(buffer, start, end).bytes);
    const isSimple = this.#copyIn === 'simple';
    if (type === FRONTEND.copyDone || type === FRONTEND.copyFail) {
      if (isSimple) this.#copyEnds('ending');
      else if (this.#copySyncs === 0) this.#copyEnds('no');
    } else if (type === FRONTEND.sync && !isSimple && this.#copySyncs > 0) {
      this.#copyEnds('ending');
    }
    if (this.#copyIn !== 'simple' && this.#copyIn !== 'extended') {
      upstream.flush();
    } else if (upstream.queuedBytes > UPSTREAM_QUEUE_BYTES_MAX) {
      this.#copyPaused = true;
      this.#server.pause();
    }
    return undefined;
  }

  #copyEnds(next: 'no' | 'ending'): void {
    this.#copyIn = next;
    if (this.#busy) this.#server.pause();
  }

  #upstreamDrained(): void {
    if (!this.#copyPaused) return;
    this.#copyPaused = false;
    if (!this.#busy || this.#copyIn === 'simple' || this.#copyIn === 'extended') this.#server.resume();
  }

  // Extended protocol.

  #parse(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'parse');
    const { name, sql, parameterTypes } = readParse(buffer, start, end);
    const planned = this.#deps.engine.statement(sql, parameterTypes, this.#settings);
    const aborted = this.#segmentUpstream ? null : this.#abortedError(planned);
    if (aborted !== null) return this.#failed(aborted);
    const existing = name === '' ? undefined : this.#prepared.statement(name);
    if (existing !== undefined) return this.#parseAgain(existing, planned, frame);
    if (this.#prepared.size >= this.#deps.limits.statementsMax && name !== '') {
      return this.#failed(
        errorFields('54000', `this session holds ${this.#prepared.size} prepared statements, no more are allowed`, {
          hint: 'close statements that are no longer used (DEALLOCATE), or lower the driver’s statement cache',
        }),
      );
    }
    const stamp = this.#stamp(planned);
    const columns = planned.plan.kind === 'local' ? planned.plan.columns : null;
    const statement: PreparedStatement = { name, sql, parameterTypes, stamp, columns, upstream: false };
    const before = this.#prepared.statement(name) ?? null;
    this.#prepared.keep(statement);
    if (!this.#goesUpstream(planned)) {
      writeParseComplete(this.#out);
      return undefined;
    }
    return this.#inSegment(
      () => {
        this.#segmentParsed.set(statement, before);
        this.#forward.upstream.sendParse(frame.bytes, statement, true);
      },
      whyOf(planned),
      syntaxErrorOf(planned),
    );
  }

  /** A name that is taken. In a segment or block of the core's it must be the core that says so, for it has to undo it. */
  #parseAgain(existing: PreparedStatement, planned: Planned, frame: Frame): Wait {
    if (!this.#goesUpstream(planned)) {
      return this.#failed(errorFields('42P05', `prepared statement "${existing.name}" already exists`));
    }
    return this.#inSegment(
      () => {
        this.#parseUpstream(existing);
        this.#forward.upstream.sendParse(frame.bytes, {}, true);
      },
      whyOf(planned),
      syntaxErrorOf(planned),
    );
  }

  /** Whether a statement's messages have to go to the core, as far as that is known before its values are. */
  #goesUpstream(planned: Planned): boolean {
    if (this.#isBound) return !isAlwaysOwn(planned);
    if (this.#unreadable() !== null) return true;
    const { plan } = planned;
    if (plan.kind === 'forward') return true;
    return plan.kind === 'session' && !isOwnStatement(plan.statement);
  }

  #bind(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'bind');
    const message = readBind(buffer, start, end);
    const statement = this.#prepared.statement(message.statement);
    if (statement === undefined) {
      // It may be one that SQL's PREPARE made at the core.
      if (this.#isBound || (this.#forward.open && message.statement !== ''))
        return this.#bindUpstream(null, message, frame);
      return this.#failed(unknownStatement(message.statement));
    }
    if (this.#isBound && !isAlwaysOwn(statement.stamp.planned)) return this.#bindUpstream(statement, message, frame);
    if (message.portal !== '' && this.#prepared.portal(message.portal) !== undefined) {
      return this.#failed(errorFields('42P03', `cursor "${message.portal}" already exists`));
    }
    const changed = this.#renew(statement);
    if (changed !== null) return this.#failed(changed);
    const { planned } = statement.stamp;
    if (this.#goesUpstream(planned)) return this.#bindUpstream(statement, message, frame);
    const refused = this.#abortedError(planned, true) ?? bindError(planned, message);
    if (refused !== null) return this.#failed(refused);
    let values: BoundValues | null = NO_VALUES;
    if (planned.plan.kind === 'local') {
      values = this.#deps.engine.bind(planned.plan, planned.literals, message.parameters, this.#settings);
      if (values === null) return this.#bindUpstream(statement, message, frame);
    }
    return this.#afterUpstream(() => {
      this.#prepared.openPortal(message.portal, newPortal(statement, message, frame, values));
      writeBindComplete(this.#out);
    });
  }

  #bindUpstream(statement: PreparedStatement | null, message: BindMessage, frame: Frame): Wait {
    return this.#inSegment(
      () => {
        if (statement !== null) this.#parseUpstream(statement);
        const portal = newPortal(statement, message, frame, null);
        portal.upstream = true;
        this.#prepared.openPortal(message.portal, portal);
        this.#forward.upstream.sendBind(frame.bytes, true);
      },
      statement === null ? null : whyOf(statement.stamp.planned),
    );
  }

  /** Makes a statement that was only known here known to the core, without the client noticing. */
  #parseUpstream(statement: PreparedStatement): void {
    if (statement.upstream || this.#segmentParsed.has(statement)) return;
    const { name, sql, parameterTypes } = statement;
    const writer = new ByteWriter();
    encodeFrontend(writer, { tag: 'parse', statement: name, sql, parameterTypes });
    // Not the client's own Parse: if it fails, the statement stays known here.
    this.#segmentParsed.set(statement, 'own');
    this.#forward.upstream.sendParse(writer.take(), statement, false);
  }

  #stamp(planned: Planned): PlanStamp {
    return { planned, version: this.#deps.engine.version, key: this.#settings.planning.key };
  }

  /** Why a plan made then cannot be used now; null when it can. */
  #staleness({ version, key }: PlanStamp): Reason | null {
    if (version !== this.#deps.engine.version) return 'schema-changed';
    return key === this.#settings.planning.key ? null : 'path-changed';
  }

  /** Plans a statement again when what it was planned under changed. An error when the client holds another description. */
  #renew(statement: PreparedStatement): ErrorFields | null {
    if (this.#staleness(statement.stamp) === null) return null;
    const planned = this.#deps.engine.statement(statement.sql, statement.parameterTypes, this.#settings);
    const { plan } = planned;
    if (statement.columns !== null && plan.kind === 'local' && !sameColumns(statement.columns, plan.columns)) {
      // It stays as it is, and fails each time, until the client prepares it again.
      return errorFields('0A000', 'cached plan must not change result type');
    }
    statement.stamp = this.#stamp(planned);
    return null;
  }

  #describe(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    return isPortal ? this.#describePortal(name, frame) : this.#describeStatement(name, frame);
  }

  #describePortal(name: string, frame: Frame): Wait {
    const portal = this.#prepared.portal(name);
    if (portal === undefined) {
      return this.#isBound ? this.#counted(frame) : this.#failed(unknownPortal(name));
    }
    const { stamp } = portal;
    if (portal.upstream || stamp === null) return this.#counted(frame);
    if (this.#staleness(stamp) !== null) return this.#failed(SCHEMA_CHANGED);
    return this.#afterUpstream(() => this.#describeColumns(stamp.planned, portal.formats));
  }

  #describeStatement(name: string, frame: Frame): Wait {
    const statement = this.#prepared.statement(name);
    if (statement === undefined) {
      if (this.#isBound || (this.#forward.open && name !== '')) return this.#counted(frame);
      return this.#failed(unknownStatement(name));
    }
    const changed = this.#isBound ? null : this.#renew(statement);
    if (changed !== null) return this.#failed(changed);
    const { planned } = statement.stamp;
    if (this.#goesUpstream(planned) && (statement.upstream || !hasNoRows(planned))) {
      return this.#inSegment(() => {
        this.#parseUpstream(statement);
        this.#forward.upstream.sendCounted(frame.bytes);
      }, whyOf(planned));
    }
    const { plan } = planned;
    // A failed block tells nothing of rows.
    if (this.#transaction.failed && !this.#isBound && !hasNoRows(planned)) return this.#failed(ABORTED);
    return this.#afterUpstream(() => {
      writeParameterDescription(this.#out, plan.kind === 'local' ? plan.parameterTypes : []);
      this.#describeColumns(planned, TEXT_FORMATS);
    });
  }

  #describeColumns({ plan }: Planned, formats: readonly number[]): void {
    if (plan.kind === 'local') {
      const prepared = this.#deps.engine.prepare(plan);
      if (prepared !== null) this.#out.bytes(prepared.description(formats));
      else this.#fail(SCHEMA_CHANGED);
    } else if (plan.kind === 'session' && plan.statement.type === 'show') {
      writeShowDescription(this.#out, plan.statement.name);
    } else {
      writeNoData(this.#out);
    }
  }

  #execute(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const { name, rowsMax } = readExecute(buffer, start, end);
    const portal = this.#prepared.portal(name);
    if (portal === undefined) {
      return this.#isBound ? this.#counted(frame) : this.#failed(unknownPortal(name));
    }
    const { stamp, statement } = portal;
    if (portal.upstream || stamp === null || statement === null) return this.#executeUpstream(portal, frame);
    const { plan } = stamp.planned;
    const aborted = this.#abortedError(stamp.planned);
    if (aborted !== null) return this.#failed(aborted);
    if (plan.kind === 'session') return this.#executeSession(portal, plan.statement, { name, rowsMax }, frame);
    if (plan.kind !== 'local') {
      writeEmptyQueryResponse(this.#out);
      return undefined;
    }
    // A portal that was begun here is finished here.
    if (portal.rows !== null || portal.slow !== null || portal.done) {
      return this.#afterUpstream(() => this.#continuePortal(portal, rowsMax, frame));
    }
    const may = this.#segmentUpstream ? 'segment' : this.#mayRunLocally(plan);
    const go = (reason: Reason | null): Wait =>
      this.#executeLocal(portal, plan, rowsMax, frame, reason ?? this.#staleness(stamp));
    return may instanceof Promise ? may.then(go) : go(may);
  }

  #executeUpstream(portal: Portal, frame: Frame): Wait {
    const planned = portal.stamp?.planned;
    const because = planned === undefined ? null : whyOf(planned);
    return this.#inSegment(() => {
      if (planned === undefined || isChanging(planned)) this.#segmentChanging = true;
      this.#copyMode = 'extended';
      this.#forward.upstream.sendCounted(frame.bytes);
      this.#segmentWhy = because;
      if (planned?.plan.kind === 'session') this.#segmentSession.push(planned.plan.statement);
    }, because);
  }

  #executeSession(
    portal: Portal,
    statement: SessionStatement,
    { name, rowsMax }: { name: string; rowsMax: number },
    frame: Frame,
  ): Wait {
    const sql = portal.statement?.sql ?? '';
    return this.#afterUpstream(() => {
      if (portal.done) {
        if (statement.type === 'show') return writeCommandComplete(this.#out, 'SHOW');
        // In a block of the core's the core must say no, for it has to fail.
        if (this.#isBound) return this.#counted(frame);
        return this.#failed(errorFields('55000', `portal "${name}" cannot be run`));
      }
      portal.done = true;
      this.#beginImplicit();
      const step = this.#own.run(statement, sql, { bound: this.#isBound, describe: false, rowsMax });
      if (step !== null) return undefined;
      const wait = this.#moveUpstream(portal, frame, 'session');
      this.#segmentSession.push(statement);
      this.#segmentChanging = true;
      return wait;
    });
  }

  #executeLocal(portal: Portal, plan: LocalPlan, rowsMax: number, frame: Frame, reason: Reason | null): Wait {
    const prepared = reason === null ? this.#deps.engine.prepare(plan) : null;
    const { values, formats } = portal;
    if (prepared === null || values === null) return this.#moveUpstream(portal, frame, reason ?? 'replica-not-ready');
    if ((this.#settings.needsBroken & (plan.needs | prepared.needsOf(formats))) !== 0) {
      return this.#moveUpstream(portal, frame, 'setting');
    }
    if (!prepared.canWrite(formats)) return this.#moveUpstream(portal, frame, 'binary-format');
    if (prepared.fast && rowsMax <= 0) {
      const out = this.#out;
      const mark = out.length;
      const rows = prepared.writeRows(values, formats, out);
      if (rows >= 0) {
        portal.done = true;
        writeCommandComplete(out, selectTag(rows));
        this.#countLocal(ANSWERED_FAST);
        return undefined;
      }
      out.truncate(mark);
      if (rows === ROWS_FAILED) return this.#moveUpstream(portal, frame, 'may-fail');
    }
    const rows = prepared.fast && rowsMax > 0 ? prepared.readRows(values) : null;
    if (rows !== null) {
      portal.rows = rows;
      portal.writers = prepared.writers(formats);
      this.#countLocal(ANSWERED_FAST);
      return this.#continuePortal(portal, rowsMax, frame);
    }
    return rowsMax > 0
      ? this.#openSlowPortal(portal, prepared, values, rowsMax, frame)
      : this.#slowRows(prepared, values, formats, false).then((step) => {
          if (step === 'forward') return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
          portal.done = true;
          return undefined;
        });
  }

  /** A portal bound here turns out to need the core: repeat Parse and Bind there, then execute. */
  #moveUpstream(portal: Portal, frame: Frame, reason: Reason): Wait {
    const because = why(reason);
    return this.#inSegment(() => {
      this.#parseUpstream(portal.statement as PreparedStatement);
      portal.upstream = true;
      this.#forward.upstream.sendBind(portal.bindFrame.bytes, false);
      this.#forward.upstream.sendCounted(frame.bytes);
      this.#segmentWhy = because;
    }, because);
  }

  #continuePortal(portal: Portal, rowsMax: number, frame: Frame): Wait {
    const out = this.#out;
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

  #close(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    let upstream = false;
    if (isPortal) {
      upstream = this.#prepared.portal(name)?.upstream === true;
      this.#prepared.dropPortal(name);
    } else {
      const statement = this.#prepared.statement(name);
      // A name that is not known here may be one of SQL's PREPARE.
      upstream = statement?.upstream ?? (name !== '' && this.#forward.open);
      this.#prepared.forget(name);
    }
    if ((upstream && this.#forward.open) || this.#segmentUpstream) return this.#counted(frame);
    writeCloseComplete(this.#out);
    return undefined;
  }

  #sync(frame: Frame): Wait {
    if (this.#segmentUpstream) return this.#syncUpstream(frame);
    this.#endImplicit(!this.#skipUntilSync);
    this.#skipUntilSync = false;
    if (this.#transaction.where === 'none') this.#prepared.dropPortals();
    return this.#writeReady();
  }

  async #syncUpstream(frame: Frame): Promise<void> {
    this.#server.flush();
    this.#copySyncs += 1;
    try {
      if (this.#forward.open) {
        const result = await this.#forward.upstream.untilReady(frame.bytes);
        this.#forwarded(result, this.#segmentWhy, this.#segmentChanging);
        for (const statement of this.#segmentSession) this.#own.afterwards(statement, result);
      } else {
        // The connection broke earlier in this segment, and the client was told.
        this.#writeReady();
      }
    } catch (error) {
      this.#simpleFailed(forwardError(error, this.#segmentWhy, null));
    } finally {
      this.#segmentEnds();
    }
  }

  #segmentEnds(): void {
    for (const [statement, before] of this.#segmentParsed) {
      const isKnown = this.#prepared.statement(statement.name) === statement;
      // The core has not confirmed the client's Parse: all is as it was.
      if (before === 'own' || statement.upstream || !isKnown) continue;
      if (before === null) this.#prepared.forget(statement.name);
      else this.#prepared.keep(before);
    }
    if (this.#transaction.where === 'none') this.#prepared.dropPortals();
    this.#segmentUpstream = false;
    this.#segmentChanging = false;
    this.#segmentWhy = null;
    this.#segmentParsed.clear();
    this.#segmentSession = [];
    this.#skipUntilSync = false;
    this.#copyIn = 'no';
    this.#copySyncs = 0;
  }

  /** Runs `send` with the connection to the core ready for this segment. `known`: what to say when the core is away. */
  #inSegment(send: () => void, because: Why | null, known: ErrorFields | null = null): Wait {
    if (!this.#segmentUpstream) {
      this.#server.flush();
      return this.#enterSegment(send, because, known);
    }
    if (!this.#forward.open) return this.#failed(forwardError(new UpstreamLost(null), because, null));
    if (!this.#forward.upstream.failed) send();
    return undefined;
  }

  async #enterSegment(send: () => void, because: Why | null, known: ErrorFields | null): Promise<void> {
    try {
      await this.#forward.prepare(this.#transaction);
      this.#segmentUpstream = true;
      send();
    } catch (error) {
      this.#fail(forwardError(error, because, known));
    }
  }

  /** Describe, Execute or Close of something that only the core knows. */
  #counted(frame: Frame): Wait {
    return this.#inSegment(() => this.#forward.upstream.sendCounted(frame.bytes), null);
  }

  /** Another encoding: texts cannot be read here, so all goes up unread. */
  #raw(frame: Frame, kind: 'parse' | 'bind' | 'counted'): Wait {
    return this.#inSegment(() => {
      this.#segmentChanging = true;
      this.#segmentWhy = why('encoding');
      this.#copyMode = 'extended';
      if (kind === 'parse') this.#forward.upstream.sendParse(frame.bytes, {}, true);
      else if (kind === 'bind') this.#forward.upstream.sendBind(frame.bytes, true);
      else this.#forward.upstream.sendCounted(frame.bytes);
    }, why('encoding'));
  }

  /** Writes an answer of ours after those that the core still owes. */
  #afterUpstream(write: () => Wait | void): Wait {
    if (!this.#segmentUpstream || !this.#forward.open) return write() ?? undefined;
    return this.#forward.upstream.drain().then(() => (this.#segmentFailed ? undefined : (write() ?? undefined)));
  }

  // Slow lanes.

  /** Sends all rows of a statement. `forward`: the core has to, nothing was sent. */
  async #slowRows(
    prepared: PreparedPlan,
    values: BoundValues,
    formats: readonly number[],
    describe: boolean,
  ): Promise<Step | 'forward'> {
    const query = await this.#slow.open(prepared, values, formats);
    if (query === null) return 'forward';
    if ('sqlstate' in query) return this.#fail(query);
    const outcome = await this.#slow.send(query, 0, () => {
      if (describe) this.#out.bytes(prepared.description(formats));
    });
    query.close();
    if (outcome.end === 'forward') return 'forward';
    if (outcome.end === 'failed') return this.#fail(outcome.error);
    if (outcome.end === 'gone') return 'failed';
    writeCommandComplete(this.#out, selectTag(outcome.rows));
    this.#countLocal(ANSWERED_SLOW);
    return 'done';
  }

  async #openSlowPortal(
    portal: Portal,
    prepared: PreparedPlan,
    values: BoundValues,
    rowsMax: number,
    frame: Frame,
  ): Promise<void> {
    const query = await this.#slow.open(prepared, values, portal.formats);
    if (query === null) return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
    if ('sqlstate' in query) return this.#failed(query);
    portal.slow = query;
    this.#countLocal(ANSWERED_SLOW);
    return this.#slowPortalRows(portal, query, rowsMax, frame);
  }

  async #slowPortalRows(portal: Portal, query: SlowQuery, rowsMax: number, frame: Frame): Promise<void> {
    const outcome = await this.#slow.send(query, rowsMax, () => {});
    if (outcome.end === 'suspended') return writePortalSuspended(this.#out);
    portal.slow = null;
    query.close();
    if (outcome.end === 'forward') return this.#moveUpstream(portal, frame, 'schema-changed');
    portal.done = true;
    if (outcome.end === 'failed') this.#fail(outcome.error);
    else if (outcome.end === 'done') writeCommandComplete(this.#out, selectTag(outcome.rows));
    return undefined;
  }

  // Common.

  /** Null when the plan may run here now, else why not. */
  #mayRunLocally(plan: LocalPlan): Reason | null | Promise<Reason | null> {
    if (this.#transaction.where === 'upstream') return 'transaction';
    if (this.#settings.isPeculiar) return 'peculiar';
    if (!this.#deps.mayRead(plan)) return 'privilege';
    if (this.#deps.isHidden(plan, this.#settings.planning.searchPath)) return 'hidden';
    const may = this.#forward.mayAnswerLocally();
    if (may === true) return null;
    if (may === false) return this.#forward.held ?? 'own-writes';
    this.#server.flush();
    return may.then((yes) => (yes ? null : (this.#forward.held ?? 'own-writes')));
  }

  /** Why the client's texts cannot even be read here; null when they can. */
  #unreadable(): Reason | null {
    if (this.#forward.held === 'encoding') return 'encoding';
    return this.#settings.get('standard_conforming_strings') === 'on' ? null : 'peculiar';
  }

  /** Outside a block, the statements of one text or segment are one transaction: an error undoes their SETs. */
  #beginImplicit(): void {
    if (this.#transaction.where === 'none') this.#settings.begin();
  }

  #endImplicit(committed: boolean): void {
    if (this.#transaction.where !== 'none' || !this.#settings.isOpen) return;
    this.#reports.change(() => this.#settings.end(committed));
  }

  /** The error that a failed block gives to everything but its end; null when the statement may go on. */
  #abortedError(planned: Planned, isBound = false): ErrorFields | null {
    if (!this.#transaction.failed || this.#transaction.where === 'upstream') return null;
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
  #fail(fields: ErrorFields): 'failed' {
    writeError(this.#out, fields);
    this.#skipUntilSync = true;
    if (this.#transaction.where === 'local' && !this.#transaction.failed) {
      this.#transaction.failed = true;
      // The block's settings go with the error, not only with the ROLLBACK.
      this.#reports.change(() => this.#settings.end(false));
    }
    return 'failed';
  }

  #failed(fields: ErrorFields): undefined {
    this.#fail(fields);
    return undefined;
  }

  #countLocal(how: AnsweredBy): void {
    this.#answered = how;
    this.#deps.counts.local();
  }

  #countForwarded(because: Why | null): void {
    const { reason, detail } = because ?? why('segment');
    this.#answered = { by: 'forwarded', reason: `${reason}: ${detail}` };
    this.#deps.counts.forwarded(reason);
  }
}

/** Between Bind and Describe: the plan is void, and so is what was bound for it. */
const SCHEMA_CHANGED = errorFields('57P03', 'the schema has changed since this portal was bound', {
  hint: 'try again',
});

const NO_VALUES: BoundValues = [];
const ANSWERED_FAST: AnsweredBy = { by: 'local', reason: 'index lookup in the replica' };
const ANSWERED_SLOW: AnsweredBy = { by: 'local', reason: 'scan of the replica in a child process' };
const ANSWERED_SESSION: AnsweredBy = { by: 'session', reason: 'about the session itself' };

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
  return plan.kind === 'session' && plan.statement.type !== 'show' && isOwnStatement(plan.statement);
}

/** What Postgres says to a Bind that does not fit its statement. */
function bindError({ plan }: Planned, { statement, parameters, formats }: BindMessage): ErrorFields | null {
  const given = parameters.values.length;
  const wanted = plan.kind === 'local' ? plan.parameterTypes.length : 0;
  if (given !== wanted) {
    return errorFields(
      '08P01',
      `bind message supplies ${given} parameters, but prepared statement "${statement}" requires ${wanted}`,
    );
  }
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

const SELECT_TAGS = Array.from({ length: 256 }, (_, rows) => `SELECT ${rows}`);

function selectTag(rows: number): string {
  return SELECT_TAGS[rows] ?? `SELECT ${rows}`;
}
