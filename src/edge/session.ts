// One client of the edge: frames in, answers out, strictly in order. What can be answered from the replica is answered at
// once, in one write a batch; everything else goes to the core and its frames come back as they are.
//
//   simple:    Query ──▶ script of statements ──▶ each local, session or forwarded ──▶ ReadyForQuery
//   extended:  Parse Bind Describe Execute … Sync; once one message of such a segment went to the core the rest of it follows,
//              so that the core's implicit transaction holds all of it; after an error everything up to Sync is skipped
//   blocks:    none ─BEGIN─▶ local ─first forwarded statement─▶ upstream; COMMIT or ROLLBACK ─▶ none
//
// While something asynchronous runs (a forwarded batch, a slow lane, a wait for an own write) later frames stay where they
// are, and when too many are waiting the client is not read any further.

import { unreachable } from '../base/assert.ts';
import { Fault } from '../base/fault.ts';
import {
  type ErrorFields,
  type TransactionStatus,
  writeBindComplete,
  writeCloseComplete,
  writeCommandComplete,
  writeEmptyQueryResponse,
  writeError,
  writeNoData,
  writeNotice,
  writeParameterDescription,
  writeParameterStatus,
  writeParseComplete,
  writePortalSuspended,
  writeReadyForQuery,
} from '../wire/backend.ts';
import { ByteReader, ByteWriter, readText } from '../wire/bytes.ts';
import { wireFault } from '../wire/faults.ts';
import { encodeFrontend, FRONTEND } from '../wire/frontend.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import { errorFieldsOf } from '../session/faults.ts';
import type { ServerSession, SessionOwner } from '../session/server-session.ts';
import { coreAwayFault, errorFields } from './faults.ts';
import type { ColumnWriter } from './columns.ts';
import { Forwarder, type ForwarderDeps, type Held, type TransactionState } from './forward.ts';
import { type BoundValues, type LocalEngine, type PreparedPlan, ROWS_FAILED, writeDataRow } from './local.ts';
import {
  isKnownSetting,
  isReportedSetting,
  SessionSettings,
  type SettingsOwner,
  settingDisplayName,
} from './settings.ts';
import { type AnsweredBy, ownSetting, writeShowDescription, writeShowRow } from './show.ts';
import type { SlowLanes, SlowQuery } from './slow-lanes.ts';
import type { LocalPlan, Planned, SessionPlan, SessionStatement } from './sql/plan.ts';
import { type RelayResult, UpstreamLost } from './upstream.ts';

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

/** One frame of the client where it came, cut out only if it has to go to the core: most do not (`bench` edge-read). */
class Frame {
  readonly #buffer: Buffer;
  readonly #start: number;
  readonly #end: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }
}

/** A prepared statement. `planned` is renewed when the catalogue or search_path changed since. */
interface SessionPreparedStatement {
  readonly name: string;
  readonly sql: string;
  readonly parameterTypes: readonly number[];
  planned: Planned;
  planVersion: number;
  planKey: string;
  /** Result columns the client was told of; they must not change under it. */
  described: LocalPlan['columns'] | null;
  /** True when the core knows it under the same name. */
  upstream: boolean;
}

interface Portal {
  readonly statement: SessionPreparedStatement | null;
  /** The Bind as it came, to repeat it upstream. */
  readonly bindFrame: Frame;
  upstream: boolean;
  readonly formats: readonly number[];
  /** SQLite values; null when the core must judge a parameter. */
  readonly values: BoundValues | null;
  /** Rows read and not yet sent, when Execute had a limit. */
  rows: readonly (readonly SqliteValue[])[] | null;
  writers: readonly ColumnWriter[] | null;
  rowsSent: number;
  slow: SlowQuery | null;
  done: boolean;
}

type Wait = Promise<void> | undefined;
type Step = 'done' | 'failed';

export class EdgeSession implements SessionOwner {
  readonly #deps: SessionDeps;
  readonly #server: ServerSession;
  readonly #out: ByteWriter;
  readonly #settings: SessionSettings;
  readonly #forward: Forwarder;
  readonly #transaction: TransactionState = { where: 'none', failed: false, beginSql: '' };
  // Made when first used: most connections of an edge are idle.
  #statements: Map<string, SessionPreparedStatement> | null = null;
  #portals: Map<string, Portal> | null = null;
  /** Something asynchronous runs; frames wait, but for COPY data. */
  #busy = false;
  #copyIn: 'no' | 'simple' | 'extended' | 'ending' = 'no';
  /** The protocol of the batch that runs upstream, should it turn out to be a COPY. */
  #copyMode: 'simple' | 'extended' = 'simple';
  /** Syncs sent before the COPY began: the core ignores those, so the client sends another one after CopyDone. */
  #copySyncs = 0;
  /** The current segment went to the core. */
  #segmentUpstream = false;
  #segmentChanging = false;
  #segmentWhy: Why | null = null;
  #segmentSession: SessionStatement[] = [];
  /** Statements whose Parse went up in this segment, and whose Parse it was. */
  readonly #segmentParsed = new Map<SessionPreparedStatement, 'client' | 'own'>();
  #skipUntilSync = false;
  #answered: AnsweredBy = { by: 'session', reason: 'nothing was asked yet' };
  #lastResult: RelayResult | null = null;
  #slow: SlowQuery | null = null;
  #cancelReason: 'user' | 'timeout' | null = null;
  #upstreamPaused = false;
  #copyPaused = false;
  #room: (() => void) | null = null;
  #ended = false;
  /** What the client was told of the reported settings; null while that is what holds. */
  #reported: Map<string, string> | null = null;
  #reportsDue = false;

  constructor(deps: SessionDeps, server: ServerSession) {
    this.#deps = deps;
    this.#server = server;
    this.#out = server.writer;
    this.#settings = new SessionSettings(deps.owner);
    this.#settings.start(Object.fromEntries(server.settings));
    this.#forward = new Forwarder(deps, this.#settings, {
      relay: (bytes) => this.#relay(bytes),
      parameter: (name, value) => this.#learn(name, value),
      copyIn: () => this.#copyInBegins(),
      parsed: (token) => {
        (token as SessionPreparedStatement).upstream = true;
      },
      drained: () => this.#upstreamDrained(),
      beforeReady: () => {
        this.#writeReports();
        this.#server.flush();
      },
      unnamedGone: () => {
        const unnamed = this.#statements?.get('');
        if (unnamed !== undefined) unnamed.upstream = false;
      },
      lost: (held) => this.#upstreamLost(held),
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
    if (this.#slow !== null) {
      this.#cancelReason = 'user';
      this.#slow.kill();
    } else if (this.#forward.open && this.#forward.upstream.busy) {
      void this.#forward.upstream.cancel().catch(() => {});
    }
  }

  closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#slow?.kill();
    for (const portal of this.#portals?.values() ?? []) portal.slow?.kill();
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

  /** Sends what is there, because something that takes time or is relayed comes next. */
  #write(): void {
    this.#server.flush();
  }

  /** Resolves when the client's queue has room. */
  async #clientRoom(): Promise<void> {
    if (this.#server.queuedBytes <= CLIENT_QUEUE_BYTES_MAX || this.#ended) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
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
    for (const statement of this.#statements?.values() ?? []) statement.upstream = false;
    for (const [name, portal] of this.#portals ?? []) if (portal.upstream) this.#portals?.delete(name);
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
      this.#write();
    }
  }

  #learn(name: string, value: string): void {
    if (!isKnownSetting(name)) return;
    // The client has just been told of it.
    this.#reported ??= new Map(this.#settings.reportedNow());
    this.#reported.set(settingDisplayName(name), value);
    this.#settings.learn(name, value);
    if (name === 'client_encoding' && value !== 'UTF8') this.#forward.hold('encoding');
  }

  get #status(): TransactionStatus {
    if (this.#transaction.failed) return 'E';
    return this.#transaction.where === 'none' ? 'I' : 'T';
  }

  // ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
        return this.#sync(new Frame(buffer, start - 5, end));
      case FRONTEND.flush:
        if (this.#segmentUpstream && this.#forward.open) this.#forward.upstream.sendFlush();
        this.#write();
        return undefined;
      case FRONTEND.functionCall:
        return this.#functionCall(new Frame(buffer, start - 5, end));
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        // Late messages of a COPY that failed: Postgres ignores them too.
        return undefined;
      default:
        throw wireFault('protocol-violation', `invalid frontend message type ${type}`);
    }
  }

  /** The core has refused a message of this segment: what follows is ignored there, and here. */
  get #segmentFailed(): boolean {
    return this.#segmentUpstream && this.#forward.open && this.#forward.upstream.failed;
  }

  // ── simple protocol ──────────────────────────────────────────────────────────────────────────────────────────────

  #query(buffer: Buffer, start: number, end: number): Wait {
    if (end - start < 1 || buffer[end - 1] !== 0)
      throw wireFault('frame-malformed', 'unterminated string in a message');
    const frame = new Frame(buffer, start - 5, end);
    this.#statements?.delete('');
    this.#dropPortal('');
    if (this.#forward.held === 'encoding') return this.#forwardFrame(frame, null, true);
    if (this.#settings.get('standard_conforming_strings') !== 'on') return this.#forwardFrame(frame, PECULIAR, true);
    const text = textOf(buffer, start, end - 1);
    if (text === null) return this.#forwardFrame(frame, NOT_UTF8, true);
    const script = this.#deps.engine.script(text, this.#settings);
    const { statements } = script;
    if (script.syntaxError !== null) {
      const { sqlstate, message, position } = script.syntaxError;
      const known = errorFields(sqlstate, message, position === 0 ? {} : { position });
      return this.#forwardFrame(frame, { reason: 'syntax-error', detail: message }, true, known);
    }
    if (statements.length === 0) {
      writeEmptyQueryResponse(this.#out);
      this.#writeReady();
      return undefined;
    }
    if (statements.length === 1) {
      const statement = statements[0] as (typeof statements)[0];
      return this.#simple(statement, text, frame);
    }
    return this.#simpleMany(script.statements, text, frame);
  }

  /** The usual case: one statement. */
  #simple(planned: Planned, text: string, frame: Frame): Wait {
    const { plan } = planned;
    const failed = this.#abortedError(planned);
    if (failed !== null) return this.#simpleEnd(this.#fail(failed));
    switch (plan.kind) {
      case 'empty':
        writeEmptyQueryResponse(this.#out);
        this.#writeReady();
        return undefined;
      case 'forward':
        return this.#forwardFrame(frame, plan, plan.write);
      case 'session': {
        const own = this.#sessionStatement(plan.statement, text, true);
        if (own === null) return this.#forwardSession(frame, plan);
        return own instanceof Promise ? own.then((step) => this.#simpleEnd(step)) : this.#simpleEnd(own);
      }
      case 'local': {
        const { version } = this.#deps.engine;
        const { key } = this.#settings.planning;
        const may = this.#mayRunLocally(plan);
        if (!(may instanceof Promise)) return this.#simpleLocal(plan, planned.literals, frame, may);
        return may.then((reason) =>
          this.#simpleLocal(plan, planned.literals, frame, reason ?? this.#staleSince(version, key)),
        );
      }
      default:
        return unreachable(plan);
    }
  }

  #simpleLocal(plan: LocalPlan, literals: readonly string[], frame: Frame, reason: string | null): Wait {
    if (reason !== null) return this.#forwardFrame(frame, { reason, detail: reasonText(reason) }, false);
    const prepared = this.#deps.engine.prepare(plan);
    if (prepared === null) return this.#forwardFrame(frame, NOT_READY, false);
    const values = this.#deps.engine.bind(plan, literals, NO_PARAMETERS, this.#settings);
    if (values === null) return this.#forwardFrame(frame, PARAMETER_VALUE, false);
    if ((this.#settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) {
      return this.#forwardFrame(frame, SETTING, false);
    }
    const out = this.#out;
    if (prepared.fast) {
      const mark = out.length;
      out.bytes(prepared.description(TEXT_FORMATS));
      const rows = prepared.writeRows(values, TEXT_FORMATS, out);
      if (rows >= 0) {
        writeCommandComplete(out, selectTag(rows));
        this.#writeReady();
        this.#countLocal(ANSWERED_FAST);
        return undefined;
      }
      out.truncate(mark);
      if (rows === ROWS_FAILED) return this.#forwardFrame(frame, MAY_FAIL, false);
    }
    return this.#slowRows(prepared, values, TEXT_FORMATS, true).then(async (step) => {
      if (step === 'forward') return this.#forwardFrame(frame, SLOW_BUSY, false);
      this.#simpleEnd(step);
      return undefined;
    });
  }

  #simpleEnd(_step: Step): undefined {
    this.#skipUntilSync = false;
    this.#writeReady();
    return undefined;
  }

  /** Several statements in one text: one implicit transaction. Only when nothing in it can write is it taken apart. */
  async #simpleMany(
    statements: readonly (Planned & { start: number; end: number })[],
    text: string,
    frame: Frame,
  ): Promise<void> {
    const together =
      this.#transaction.where === 'upstream' ||
      !statements.every(
        ({ plan }) => plan.kind === 'local' || (plan.kind === 'session' && isOwnStatement(plan.statement)),
      );
    const forwarding = statements.find(({ plan }) => plan.kind === 'forward')?.plan;
    if (together) {
      const why =
        forwarding?.kind === 'forward' ? forwarding : { reason: 'session', detail: 'the statements belong together' };
      if (this.#transaction.failed && this.#transaction.where === 'local') {
        // Only a block that failed here, before the core knew of it, has to be judged here.
        const first = statements[0] as Planned;
        const failed = this.#abortedError(first);
        if (failed !== null) {
          this.#simpleEnd(this.#fail(failed));
          return;
        }
      }
      return this.#forwardFrame(frame, why, true);
    }
    for (const statement of statements) {
      const step = await this.#simpleOne(statement, text);
      if (step === 'failed') break;
    }
    this.#simpleEnd('done');
  }

  /** One statement of several. Forwards just this one when it turns out not to be answerable here. */
  async #simpleOne(statement: Planned & { start: number; end: number }, text: string): Promise<Step> {
    const { plan } = statement;
    const failed = this.#abortedError(statement);
    if (failed !== null) return this.#fail(failed);
    const slice = text.slice(statement.start, statement.end);
    if (plan.kind === 'session') {
      const own = await this.#sessionStatement(plan.statement, slice, true);
      if (own !== null) return own;
      return this.#forwardSlice(slice, plan, true);
    }
    if (plan.kind !== 'local') return 'done';
    const { version } = this.#deps.engine;
    const { key } = this.#settings.planning;
    const reason = (await this.#mayRunLocally(plan)) ?? this.#staleSince(version, key);
    const prepared = reason === null ? this.#deps.engine.prepare(plan) : null;
    const values =
      prepared === null ? null : this.#deps.engine.bind(plan, statement.literals, NO_PARAMETERS, this.#settings);
    if (
      prepared === null ||
      values === null ||
      (this.#settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0
    ) {
      return this.#forwardSlice(slice, { reason: reason ?? 'setting', detail: reasonText(reason ?? 'setting') }, false);
    }
    const out = this.#out;
    if (prepared.fast) {
      const mark = out.length;
      out.bytes(prepared.description(TEXT_FORMATS));
      const rows = prepared.writeRows(values, TEXT_FORMATS, out);
      if (rows >= 0) {
        writeCommandComplete(out, selectTag(rows));
        this.#countLocal(ANSWERED_FAST);
        return 'done';
      }
      out.truncate(mark);
      if (rows === ROWS_FAILED) return this.#forwardSlice(slice, MAY_FAIL, false);
    }
    this.#write();
    const step = await this.#slowRows(prepared, values, TEXT_FORMATS, true);
    return step === 'forward' ? this.#forwardSlice(slice, SLOW_BUSY, false) : step;
  }

  // ── forwarding of whole queries ──────────────────────────────────────────────────────────────────────────────────

  /** Sends a Query (or FunctionCall) up and relays the answer, ReadyForQuery included. `known`: what to say when the core is away. */
  async #forwardFrame(
    frame: Frame,
    why: Why | null,
    changing: boolean,
    known: ErrorFields | null = null,
  ): Promise<void> {
    this.#write();
    try {
      await this.#forward.prepare(this.#transaction);
      this.#copyMode = 'simple';
      const result = await this.#forward.upstream.untilReady(frame.bytes);
      this.#forwarded(result, why, changing);
    } catch (error) {
      this.#simpleEnd(this.#fail(forwardError(error, why, known)));
    } finally {
      this.#copyIn = 'no';
    }
  }

  /** Sends one statement of a script up; the script goes on here, so ReadyForQuery is kept back. */
  async #forwardSlice(sql: string, why: Why | SessionPlan, changing: boolean): Promise<Step> {
    this.#write();
    const reason = 'reason' in why ? why : { reason: 'session', detail: 'only the core can judge it' };
    try {
      await this.#forward.prepare(this.#transaction);
      const writer = new ByteWriter();
      encodeFrontend(writer, { tag: 'query', sql });
      const result = await this.#forward.upstream.untilReady(writer.take(), false);
      this.#forwarded(result, reason, changing);
      return result.failed ? 'failed' : 'done';
    } catch (error) {
      return this.#fail(forwardError(error, reason, null));
    }
  }

  /** SET and the like, where the core has the say; what it accepts is kept for the next connection. */
  async #forwardSession(frame: Frame, plan: SessionPlan): Promise<void> {
    const why = { reason: 'session', detail: `${plan.statement.type} is the core's to judge` };
    await this.#prepareNamed(plan.statement, why);
    await this.#forwardFrame(frame, why, isChangingSession(plan.statement));
    this.#afterSession(plan.statement, this.#lastResult);
  }

  /** EXECUTE may name a statement that was prepared by the protocol and only here. */
  async #prepareNamed(statement: SessionStatement, why: Why): Promise<void> {
    const named = statement.type === 'execute' ? this.#statements?.get(statement.name) : undefined;
    if (named === undefined || named.upstream) return;
    try {
      await this.#forward.prepare(this.#transaction);
      const { error } = await this.#forward.upstream.prepare(named.name, named.sql, named.parameterTypes);
      named.upstream = error === null;
    } catch {
      // Then the statement itself cannot be forwarded either, and that is told.
      this.#deps.counts.forwarded(why.reason);
    }
  }

  /** `changing`: it may have changed what local answers depend on, if it did not fail. */
  #forwarded(result: RelayResult, why: Why | null, changing: boolean): void {
    this.#lastResult = result;
    // What failed outside a block was undone as a whole; a script may have committed before it failed.
    this.#forward.ran(changing && !(result.failed && result.status === 'I' && result.tag === ''));
    this.#countForwarded(why);
    this.#transactionIs(result);
  }

  /** Takes over the transaction status that the core reported. */
  #transactionIs(result: RelayResult): void {
    const transaction = this.#transaction;
    if (result.status === 'I') {
      if (transaction.where !== 'none') {
        this.#settings.end(result.tag === 'COMMIT');
        this.#endPortals();
      }
      transaction.where = 'none';
      transaction.failed = false;
      return;
    }
    if (transaction.where === 'none') this.#settings.begin();
    transaction.where = 'upstream';
    transaction.failed = result.status === 'E';
  }

  async #functionCall(frame: Frame): Promise<void> {
    await this.#forwardFrame(frame, { reason: 'write', detail: 'function call protocol' }, true);
  }

  // ── COPY from the client ─────────────────────────────────────────────────────────────────────────────────────────

  #copyInBegins(): void {
    this.#copyIn = this.#copyMode;
    if (this.#busy) this.#server.resume();
  }

  /** While a COPY reads, the client's frames go straight up. */
  #copyFrame(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (!this.#forward.open) return undefined;
    const { upstream } = this.#forward;
    upstream.send(buffer.subarray(start - 5, end));
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

  flush(): void {
    if (this.#copyIn !== 'no' && this.#forward.open) this.#forward.upstream.flush();
  }

  #upstreamDrained(): void {
    if (!this.#copyPaused) return;
    this.#copyPaused = false;
    if (!this.#busy || this.#copyIn === 'simple' || this.#copyIn === 'extended') this.#server.resume();
  }

  // ── extended protocol ────────────────────────────────────────────────────────────────────────────────────────────

  #parse(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start - 5, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'parse');
    const reader = new ByteReader(buffer, start, end);
    const name = reader.cString();
    const sql = reader.cString();
    const count = reader.count(reader.uint16(), 4);
    const parameterTypes: number[] = [];
    for (let index = 0; index < count; index += 1) parameterTypes.push(reader.uint32());
    reader.done();
    const statements = (this.#statements ??= new Map());
    const existing = name === '' ? undefined : statements.get(name);
    if (existing !== undefined) {
      this.#fail(errorFields('42P05', `prepared statement "${name}" already exists`));
      return undefined;
    }
    if (statements.size >= this.#deps.limits.statementsMax && name !== '') {
      this.#fail(
        errorFields('54000', `this session holds ${statements.size} prepared statements, no more are allowed`, {
          hint: 'close statements that are no longer used (DEALLOCATE), or lower the driver’s statement cache',
        }),
      );
      return undefined;
    }
    const planned = this.#deps.engine.statement(sql, parameterTypes, this.#settings);
    const statement: SessionPreparedStatement = {
      name,
      sql,
      parameterTypes,
      planned,
      planVersion: this.#deps.engine.version,
      planKey: this.#settings.planning.key,
      described: null,
      upstream: false,
    };
    const aborted = this.#segmentUpstream ? null : this.#abortedError(planned);
    if (aborted !== null) {
      this.#fail(aborted);
      return undefined;
    }
    statements.set(name, statement);
    if (!this.#goesUpstream(planned)) {
      writeParseComplete(this.#out);
      return undefined;
    }
    return this.#inSegment(
      () => {
        this.#segmentParsed.set(statement, 'client');
        this.#forward.upstream.sendParse(frame.bytes, statement, true);
      },
      whyOf(planned),
      syntaxErrorOf(planned),
    );
  }

  /** Whether a statement's messages have to go to the core, as far as that is known before its values are. */
  #goesUpstream(planned: Planned): boolean {
    if (this.#segmentUpstream || this.#transaction.where === 'upstream') return !isAlwaysOwn(planned);
    if (this.#settings.get('standard_conforming_strings') !== 'on') return true;
    const { plan } = planned;
    if (plan.kind === 'forward') return true;
    if (plan.kind !== 'session') return false;
    return !isOwnStatement(plan.statement);
  }

  #bind(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start - 5, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'bind');
    const reader = new ByteReader(buffer, start, end);
    const portalName = reader.cString();
    const statementName = reader.cString();
    const parameterFormats = readFormats(reader);
    const count = reader.count(reader.uint16(), 4);
    const parameters: (Buffer | null)[] = count === 0 ? NO_VALUES : [];
    for (let index = 0; index < count; index += 1) parameters.push(reader.countedBytes());
    const formats = readFormats(reader);
    reader.done();
    const statement = this.#statements?.get(statementName);
    if (portalName !== '' && this.#portals?.has(portalName) === true && !this.#segmentUpstream) {
      this.#fail(errorFields('42P03', `cursor "${portalName}" already exists`));
      return undefined;
    }
    if (statement === undefined) {
      // It may be one that SQL's PREPARE made at the core.
      if (this.#segmentUpstream || this.#forward.open) return this.#bindUpstream(null, portalName, frame, formats);
      const what = statementName === '' ? 'unnamed prepared statement' : `prepared statement "${statementName}"`;
      this.#fail(errorFields('26000', `${what} does not exist`));
      return undefined;
    }
    const changed = this.#renew(statement);
    if (changed !== null) {
      this.#fail(changed);
      return undefined;
    }
    const { plan } = statement.planned;
    if (this.#goesUpstream(statement.planned)) return this.#bindUpstream(statement, portalName, frame, formats);
    const aborted = this.#abortedError(statement.planned);
    if (aborted !== null) {
      this.#fail(aborted);
      return undefined;
    }
    let values: BoundValues | null = NO_BOUND;
    if (plan.kind === 'local') {
      const wanted = plan.parameterTypes.length;
      if (count !== wanted) {
        const of = statementName === '' ? 'prepared statement ""' : `prepared statement "${statementName}"`;
        this.#fail(errorFields('08P01', `bind message supplies ${count} parameters, but ${of} requires ${wanted}`));
        return undefined;
      }
      if (formats.length > 1 && formats.length !== plan.columns.length) {
        this.#fail(
          errorFields(
            '08P01',
            `bind message has ${formats.length} result formats but query has ${plan.columns.length} columns`,
          ),
        );
        return undefined;
      }
      values = this.#deps.engine.bind(
        plan,
        statement.planned.literals,
        { formats: parameterFormats, values: parameters },
        this.#settings,
      );
      if (values === null) return this.#bindUpstream(statement, portalName, frame, formats);
    }
    if (portalName === '') this.#dropPortal('');
    (this.#portals ??= new Map()).set(portalName, {
      statement,
      bindFrame: frame,
      upstream: false,
      formats,
      values,
      rows: null,
      writers: null,
      rowsSent: 0,
      slow: null,
      done: false,
    });
    writeBindComplete(this.#out);
    return undefined;
  }

  #bindUpstream(
    statement: SessionPreparedStatement | null,
    portalName: string,
    frame: Frame,
    formats: readonly number[],
  ): Wait {
    return this.#inSegment(
      () => {
        if (statement !== null) this.#parseUpstream(statement);
        this.#dropPortal(portalName);
        (this.#portals ??= new Map()).set(portalName, {
          statement,
          bindFrame: frame,
          upstream: true,
          formats,
          values: null,
          rows: null,
          writers: null,
          rowsSent: 0,
          slow: null,
          done: false,
        });
        this.#forward.upstream.sendBind(frame.bytes, true);
      },
      statement === null ? null : whyOf(statement.planned),
    );
  }

  /** Makes a statement that was only known here known to the core, without the client noticing. */
  #parseUpstream(statement: SessionPreparedStatement): void {
    if (statement.upstream || this.#segmentParsed.has(statement)) return;
    const writer = new ByteWriter();
    encodeFrontend(writer, {
      tag: 'parse',
      statement: statement.name,
      sql: statement.sql,
      parameterTypes: statement.parameterTypes,
    });
    // Not the client's own Parse: if it fails, the statement stays known here.
    this.#segmentParsed.set(statement, 'own');
    this.#forward.upstream.sendParse(writer.take(), statement, false);
  }

  /** Plans a statement again when what it was planned under changed. An error when the client holds another description. */
  #renew(statement: SessionPreparedStatement): ErrorFields | null {
    const { engine } = this.#deps;
    if (statement.planVersion === engine.version && statement.planKey === this.#settings.planning.key) return null;
    statement.planned = engine.statement(statement.sql, statement.parameterTypes, this.#settings);
    statement.planVersion = engine.version;
    statement.planKey = this.#settings.planning.key;
    const { plan } = statement.planned;
    if (statement.described === null || plan.kind !== 'local') return null;
    return sameColumns(statement.described, plan.columns)
      ? null
      : errorFields('0A000', 'cached plan must not change result type');
  }

  #describe(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start - 5, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    if (isPortal) {
      const portal = this.#portals?.get(name);
      if (portal === undefined || portal.upstream) {
        if (portal !== undefined || this.#segmentUpstream || this.#transaction.where === 'upstream')
          return this.#counted(frame);
        this.#fail(errorFields('34000', `portal "${name}" does not exist`));
        return undefined;
      }
      return this.#afterUpstream(() =>
        this.#describeColumns((portal.statement as SessionPreparedStatement).planned, portal.formats),
      );
    }
    const statement = this.#statements?.get(name);
    if (statement === undefined) {
      if (this.#segmentUpstream || this.#forward.open) return this.#counted(frame);
      const what = name === '' ? 'unnamed prepared statement' : `prepared statement "${name}"`;
      this.#fail(errorFields('26000', `${what} does not exist`));
      return undefined;
    }
    const changed = this.#renew(statement);
    if (changed !== null) {
      this.#fail(changed);
      return undefined;
    }
    if (this.#goesUpstream(statement.planned)) {
      return this.#inSegment(() => {
        this.#parseUpstream(statement);
        this.#forward.upstream.sendCounted(frame.bytes);
      }, whyOf(statement.planned));
    }
    const { plan } = statement.planned;
    if (plan.kind === 'local') statement.described = plan.columns;
    writeParameterDescription(this.#out, plan.kind === 'local' ? plan.parameterTypes : []);
    this.#describeColumns(statement.planned, TEXT_FORMATS);
    return undefined;
  }

  #describeColumns(planned: Planned, formats: readonly number[]): void {
    const { plan } = planned;
    if (plan.kind === 'local') {
      const prepared = this.#deps.engine.prepare(plan);
      if (prepared !== null) this.#out.bytes(prepared.description(formats));
      else this.#fail(errorFields('57P03', 'the replica of this edge is being replaced', { hint: 'try again' }));
      return;
    }
    if (plan.kind === 'session' && plan.statement.type === 'show') {
      writeShowDescription(this.#out, plan.statement.name);
      return;
    }
    writeNoData(this.#out);
  }

  #execute(buffer: Buffer, start: number, end: number): Wait {
    const frame = new Frame(buffer, start - 5, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const reader = new ByteReader(buffer, start, end);
    const name = reader.cString();
    const rowsMax = reader.int32();
    reader.done();
    const portal = this.#portals?.get(name);
    if (portal === undefined) {
      if (this.#segmentUpstream || this.#transaction.where === 'upstream') return this.#counted(frame);
      this.#fail(errorFields('34000', `portal "${name}" does not exist`));
      return undefined;
    }
    if (portal.upstream) return this.#executeUpstream(portal, frame);
    const statement = portal.statement as SessionPreparedStatement;
    const { plan } = statement.planned;
    const aborted = this.#abortedError(statement.planned);
    if (aborted !== null) {
      this.#fail(aborted);
      return undefined;
    }
    if (plan.kind === 'session') return this.#executeSession(portal, plan, frame);
    if (plan.kind !== 'local') {
      writeEmptyQueryResponse(this.#out);
      return undefined;
    }
    // A portal that was begun here is finished here.
    if (portal.rows !== null || portal.slow !== null || portal.done) {
      return this.#afterUpstream(() => this.#continuePortal(portal, rowsMax));
    }
    const may = this.#segmentUpstream ? 'segment' : this.#mayRunLocally(plan);
    const go = (reason: string | null): Wait =>
      this.#executeLocal(
        portal,
        plan,
        rowsMax,
        frame,
        reason ?? this.#staleSince(statement.planVersion, statement.planKey),
      );
    return may instanceof Promise ? may.then(go) : go(may);
  }

  #executeUpstream(portal: Portal, frame: Frame): Wait {
    const planned = portal.statement?.planned;
    const why = planned === undefined ? null : whyOf(planned);
    return this.#inSegment(() => {
      if (planned === undefined || isChanging(planned)) this.#segmentChanging = true;
      this.#copyMode = 'extended';
      this.#forward.upstream.sendCounted(frame.bytes);
      this.#segmentWhy = why;
      if (planned?.plan.kind === 'session') this.#segmentSession.push(planned.plan.statement);
    }, why);
  }

  #executeLocal(portal: Portal, plan: LocalPlan, rowsMax: number, frame: Frame, reason: string | null): Wait {
    const prepared = reason === null ? this.#deps.engine.prepare(plan) : null;
    if (prepared === null || portal.values === null)
      return this.#moveUpstream(portal, frame, reason ?? 'replica-not-ready');
    if ((this.#settings.needsBroken & (plan.needs | prepared.needsOf(portal.formats))) !== 0) {
      return this.#moveUpstream(portal, frame, 'setting');
    }
    if (!prepared.canWrite(portal.formats)) return this.#moveUpstream(portal, frame, 'binary-format');
    const out = this.#out;
    if (prepared.fast && rowsMax <= 0) {
      const mark = out.length;
      const rows = prepared.writeRows(portal.values, portal.formats, out);
      if (rows >= 0) {
        portal.done = true;
        writeCommandComplete(out, selectTag(rows));
        this.#countLocal(ANSWERED_FAST);
        return undefined;
      }
      out.truncate(mark);
      if (rows === ROWS_FAILED) return this.#moveUpstream(portal, frame, 'may-fail');
    }
    if (prepared.fast && rowsMax > 0) {
      const rows = prepared.readRows(portal.values);
      if (rows !== null) {
        portal.rows = rows;
        portal.writers = prepared.writers(portal.formats);
        this.#countLocal(ANSWERED_FAST);
        return this.#continuePortal(portal, rowsMax);
      }
    }
    if (rowsMax <= 0) {
      return this.#slowRows(prepared, portal.values, portal.formats, false).then((step) => {
        if (step === 'forward') return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
        portal.done = true;
        return undefined;
      });
    }
    return this.#openSlowPortal(portal, prepared, rowsMax, frame);
  }

  /** A portal bound here turns out to need the core: repeat Parse and Bind there, then execute. */
  #moveUpstream(portal: Portal, frame: Frame, reason: string): Wait {
    const why = { reason, detail: reasonText(reason) };
    return this.#inSegment(() => {
      this.#parseUpstream(portal.statement as SessionPreparedStatement);
      portal.upstream = true;
      this.#forward.upstream.sendBind(portal.bindFrame.bytes, false);
      this.#forward.upstream.sendCounted(frame.bytes);
      this.#segmentWhy = why;
    }, why);
  }

  #continuePortal(portal: Portal, rowsMax: number): Wait {
    const out = this.#out;
    if (portal.done) {
      writeCommandComplete(out, selectTag(0));
      return undefined;
    }
    if (portal.slow !== null) return this.#slowPortalRows(portal, portal.slow, rowsMax);
    const rows = portal.rows ?? [];
    const writers = portal.writers ?? [];
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
    const frame = new Frame(buffer, start - 5, end);
    if (this.#forward.held === 'encoding') return this.#raw(frame, 'counted');
    const { isPortal, name } = readTarget(buffer, start, end);
    let upstream = false;
    if (isPortal) {
      upstream = this.#portals?.get(name)?.upstream === true;
      this.#dropPortal(name);
    } else {
      const statement = this.#statements?.get(name);
      upstream = statement?.upstream === true || (statement === undefined && this.#forward.open);
      this.#statements?.delete(name);
    }
    if ((upstream && this.#forward.open) || this.#segmentUpstream) return this.#counted(frame);
    writeCloseComplete(this.#out);
    return undefined;
  }

  #sync(frame: Frame): Wait {
    if (this.#segmentUpstream) return this.#syncUpstream(frame);
    this.#skipUntilSync = false;
    if (this.#transaction.where === 'none') this.#endPortals();
    this.#writeReady();
    return undefined;
  }

  async #syncUpstream(frame: Frame): Promise<void> {
    this.#write();
    this.#copySyncs += 1;
    try {
      if (this.#forward.open) {
        const result = await this.#forward.upstream.untilReady(frame.bytes);
        this.#forwarded(result, this.#segmentWhy, this.#segmentChanging);
        for (const statement of this.#segmentSession) this.#afterSession(statement, result);
      } else {
        // The connection broke earlier in this segment, and the client was told.
        this.#writeReady();
      }
    } catch (error) {
      this.#fail(forwardError(error, this.#segmentWhy, null));
      this.#writeReady();
    } finally {
      for (const [statement, whose] of this.#segmentParsed) {
        const isKnown = this.#statements?.get(statement.name) === statement;
        if (whose === 'client' && !statement.upstream && isKnown) this.#statements?.delete(statement.name);
      }
      if (this.#transaction.where === 'none') this.#endPortals();
      this.#segmentUpstream = false;
      this.#segmentChanging = false;
      this.#segmentWhy = null;
      this.#segmentParsed.clear();
      this.#segmentSession = [];
      this.#skipUntilSync = false;
      this.#copyIn = 'no';
      this.#copySyncs = 0;
    }
  }

  /** Runs `send` with the connection to the core ready for this segment. */
  #inSegment(send: () => void, why: Why | null, known: ErrorFields | null = null): Wait {
    if (this.#segmentUpstream) {
      if (this.#forward.open) {
        if (!this.#forward.upstream.failed) send();
      } else {
        this.#fail(forwardError(new UpstreamLost(null), why, null));
      }
      return undefined;
    }
    this.#write();
    return this.#enterSegment(send, why, known);
  }

  async #enterSegment(send: () => void, why: Why | null, known: ErrorFields | null): Promise<void> {
    try {
      await this.#forward.prepare(this.#transaction);
      this.#segmentUpstream = true;
      send();
    } catch (error) {
      this.#fail(forwardError(error, why, known));
    }
  }

  #counted(frame: Frame): Wait {
    return this.#inSegment(() => this.#forward.upstream.sendCounted(frame.bytes), null);
  }

  /** Another encoding: texts cannot be read here, so all goes up unread. */
  #raw(frame: Frame, kind: 'parse' | 'bind' | 'counted'): Wait {
    return this.#inSegment(() => {
      this.#segmentChanging = true;
      this.#copyMode = 'extended';
      if (kind === 'parse') this.#forward.upstream.sendParse(frame.bytes, {}, true);
      else if (kind === 'bind') this.#forward.upstream.sendBind(frame.bytes, true);
      else this.#forward.upstream.sendCounted(frame.bytes);
    }, null);
  }

  /** Writes an answer of ours after those that the core still owes. */
  #afterUpstream(write: () => Wait | void): Wait {
    if (!this.#segmentUpstream || !this.#forward.open) return write() ?? undefined;
    return this.#forward.upstream.drain().then(() => {
      if (this.#forward.open && this.#forward.upstream.failed) return undefined;
      return write() ?? undefined;
    });
  }

  // ── slow lane ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Streams a statement's rows from a child process. `forward`: there was no room for it and nothing was sent. */
  async #slowRows(
    prepared: PreparedPlan,
    values: BoundValues,
    formats: readonly number[],
    describe: boolean,
  ): Promise<Step | 'forward'> {
    const query = await this.#deps.slowLanes.open(prepared.plan, values, formats);
    if (query === null) return 'forward';
    const timer = this.#startTimeout(query);
    this.#slow = query;
    let rows = 0;
    let described = !describe;
    try {
      for (;;) {
        const chunk = await query.next(0);
        if (chunk.forward) return 'forward';
        if (!described) {
          this.#out.bytes(prepared.description(formats));
          this.#write();
          described = true;
        }
        rows += chunk.rows;
        if (chunk.bytes.length > 0) this.#server.send(chunk.bytes);
        if (chunk.done) break;
        await this.#clientRoom();
        if (this.#ended) return 'failed';
      }
      writeCommandComplete(this.#out, selectTag(rows));
      this.#countLocal(ANSWERED_SLOW);
      return 'done';
    } catch (error) {
      return this.#fail(this.#slowError(error));
    } finally {
      timer?.[Symbol.dispose]();
      this.#slow = null;
      query.close();
    }
  }

  async #openSlowPortal(portal: Portal, prepared: PreparedPlan, rowsMax: number, frame: Frame): Promise<void> {
    const query = await this.#deps.slowLanes.open(prepared.plan, portal.values as BoundValues, portal.formats);
    if (query === null) return this.#moveUpstream(portal, frame, 'slow-lanes-busy');
    portal.slow = query;
    this.#countLocal(ANSWERED_SLOW);
    return this.#continuePortal(portal, rowsMax);
  }

  async #slowPortalRows(portal: Portal, query: SlowQuery, rowsMax: number): Promise<void> {
    const timer = this.#startTimeout(query);
    this.#slow = query;
    let rows = 0;
    try {
      for (;;) {
        const chunk = await query.next(rowsMax > 0 ? rowsMax - rows : 0);
        rows += chunk.rows;
        if (chunk.bytes.length > 0) this.#server.send(chunk.bytes);
        if (rowsMax > 0 && rows >= rowsMax) {
          writePortalSuspended(this.#out);
          return;
        }
        if (chunk.done) break;
        await this.#clientRoom();
        if (this.#ended) return;
      }
      portal.done = true;
      portal.slow = null;
      query.close();
      writeCommandComplete(this.#out, selectTag(rows));
    } catch (error) {
      portal.done = true;
      portal.slow = null;
      query.close();
      this.#fail(this.#slowError(error));
    } finally {
      timer?.[Symbol.dispose]();
      this.#slow = null;
    }
  }

  #startTimeout(query: SlowQuery): Disposable | null {
    const ms = this.#settings.statementTimeoutMs || this.#deps.limits.statementTimeoutMs;
    if (ms === 0) return null;
    return this.#deps.clock.after(ms, () => {
      this.#cancelReason ??= 'timeout';
      query.kill();
    });
  }

  #slowError(error: unknown): ErrorFields {
    const reason = this.#cancelReason;
    this.#cancelReason = null;
    if (reason === 'user') return errorFields('57014', 'canceling statement due to user request');
    if (reason === 'timeout') return errorFields('57014', 'canceling statement due to statement timeout');
    return errorFieldsOf(error);
  }

  // ── statements about the session ─────────────────────────────────────────────────────────────────────────────────

  #executeSession(portal: Portal, plan: SessionPlan, frame: Frame): Wait {
    const statement = portal.statement as SessionPreparedStatement;
    const own = this.#sessionStatement(plan.statement, statement.sql, false);
    if (own === null) return this.#moveUpstreamSession(portal, plan, frame);
    if (own instanceof Promise) return own.then(() => undefined);
    return undefined;
  }

  #moveUpstreamSession(portal: Portal, plan: SessionPlan, frame: Frame): Wait {
    const wait = this.#moveUpstream(portal, frame, 'session');
    this.#segmentSession.push(plan.statement);
    this.#segmentChanging = true;
    return wait;
  }

  /** Does it here and writes the answer; null when the core has to. `describe`: the simple protocol's RowDescription is due. */
  #sessionStatement(statement: SessionStatement, sql: string, describe: boolean): Step | Promise<Step> | null {
    const transaction = this.#transaction;
    if (statement.type === 'show') return this.#show(statement.name, describe);
    if (transaction.where === 'upstream' || this.#segmentUpstream) return null;
    switch (statement.type) {
      case 'begin':
        return this.#begin(statement, sql);
      case 'commit':
      case 'rollback':
        return statement.chain && transaction.where !== 'none' && !transaction.failed
          ? null
          : this.#endBlock(statement.type);
      case 'savepoint':
      case 'release':
      case 'rollback-to':
        return this.#savepoint(statement);
      case 'set':
        return this.#set(statement);
      case 'reset':
        return this.#reset(statement.name);
      case 'deallocate':
        return this.#deallocate(statement.name);
      case 'discard':
        return this.#discard(statement.target);
      default:
        return null;
    }
  }

  #done(tag: string): Step {
    writeCommandComplete(this.#out, tag);
    this.#answered = ANSWERED_SESSION;
    return 'done';
  }

  #begin(statement: SessionStatement & { type: 'begin' }, sql: string): Step | null {
    const transaction = this.#transaction;
    if (transaction.where !== 'none') {
      this.#warn('25001', 'there is already a transaction in progress');
      return this.#done(statement.tag);
    }
    const isolation = statement.modes.isolation ?? this.#settings.get('default_transaction_isolation');
    // A snapshot that later writes must fit to can only be the core's.
    if (isolation === 'repeatable read' || isolation === 'serializable') return null;
    transaction.where = 'local';
    transaction.failed = false;
    transaction.beginSql = sql;
    this.#settings.begin();
    return this.#done(statement.tag);
  }

  #endBlock(type: 'commit' | 'rollback'): Step {
    const transaction = this.#transaction;
    if (transaction.where === 'none') {
      this.#warn('25P01', 'there is no transaction in progress');
      return this.#done(type === 'commit' ? 'COMMIT' : 'ROLLBACK');
    }
    const committed = type === 'commit' && !transaction.failed;
    transaction.where = 'none';
    transaction.failed = false;
    this.#endPortals();
    this.#withReports(() => this.#settings.end(committed));
    return this.#done(committed ? 'COMMIT' : 'ROLLBACK');
  }

  #savepoint(statement: SessionStatement & { type: 'savepoint' | 'release' | 'rollback-to' }): Step | null {
    const names = {
      savepoint: 'SAVEPOINT',
      release: 'RELEASE SAVEPOINT',
      'rollback-to': 'ROLLBACK TO SAVEPOINT',
    } as const;
    if (this.#transaction.where === 'none') {
      return this.#fail(errorFields('25P01', `${names[statement.type]} can only be used in transaction blocks`));
    }
    // A savepoint is the core's: what follows it may have to be undone there.
    if (statement.type === 'savepoint') return null;
    return this.#fail(errorFields('3B001', `savepoint "${statement.name}" does not exist`));
  }

  #set(statement: SessionStatement & { type: 'set' }): Step | null {
    if (statement.name.startsWith('skerry.')) {
      return this.#fail(errorFields('55P02', `parameter "${statement.name}" cannot be changed`));
    }
    if (!this.#settings.understands(statement.name, statement.values)) return null;
    if (statement.local && this.#transaction.where === 'none') {
      this.#warn('25P01', 'SET LOCAL can only be used in transaction blocks');
      return this.#done('SET');
    }
    this.#withReports(() => this.#settings.set(statement.name, statement.values, statement.local));
    return this.#done('SET');
  }

  #reset(name: string | null): Step | null {
    if (name === null) {
      if (this.#forward.open) return null;
      this.#withReports(() => this.#settings.resetAll());
      return this.#done('RESET');
    }
    if (!this.#settings.understands(name, null)) return null;
    this.#withReports(() => this.#settings.set(name, null, false));
    return this.#done('RESET');
  }

  #show(name: string, describe: boolean): Step | null {
    const own = ownSetting(name, this.#deps.feed, this.#deps.engine, this.#answered);
    const value =
      own ?? (this.#transaction.where !== 'upstream' && isKnownSetting(name) ? this.#settings.get(name) : undefined);
    if (value === undefined) return null;
    if (own === null && (this.#forward.open || this.#segmentUpstream)) return null;
    if (this.#transaction.failed) return this.#fail(ABORTED);
    if (describe) writeShowDescription(this.#out, name);
    writeShowRow(this.#out, value);
    writeCommandComplete(this.#out, 'SHOW');
    if (own === null) this.#answered = ANSWERED_SESSION;
    return 'done';
  }

  #deallocate(name: string | null): Step | null {
    if (name === null) {
      if (this.#forward.open) return null;
      this.#statements?.clear();
      return this.#done('DEALLOCATE ALL');
    }
    const statement = this.#statements?.get(name);
    if (this.#forward.open && statement?.upstream !== false) return null;
    if (this.#statements?.delete(name) === true) return this.#done('DEALLOCATE');
    return this.#fail(errorFields('26000', `prepared statement "${name}" does not exist`));
  }

  #discard(target: 'all' | 'plans' | 'sequences' | 'temp'): Step | null {
    if (this.#forward.open || this.#transaction.where !== 'none') return null;
    if (target === 'all') {
      this.#statements?.clear();
      this.#endPortals();
      this.#withReports(() => this.#settings.resetAll());
    }
    return this.#done(`DISCARD ${target.toUpperCase()}`);
  }

  /** What a session statement that the core accepted means here. */
  #afterSession(statement: SessionStatement, result: RelayResult | null): void {
    if (result === null || result.failed) return;
    switch (statement.type) {
      case 'set':
        // Kept, so that the next connection to the core gets it too.
        if (statement.local || isReportedSetting(statement.name)) break;
        if (statement.values === null) this.#settings.forget(statement.name);
        else this.#settings.learn(statement.name, statement.values.join(', '));
        break;
      case 'reset':
        if (statement.name !== null) {
          this.#settings.forget(statement.name);
          break;
        }
        this.#settings.resetAll();
        this.#settings.upstreamOpened();
        break;
      case 'deallocate':
        if (statement.name === null) this.#statements?.clear();
        else this.#statements?.delete(statement.name);
        break;
      case 'discard':
        if (statement.target !== 'all') break;
        this.#statements?.clear();
        this.#settings.resetAll();
        this.#settings.upstreamOpened();
        this.#forward.discarded();
        break;
      default:
        break;
    }
  }

  /** Does something to the settings; what of it is reported goes out before the next ReadyForQuery, as Postgres does it. */
  #withReports(change: () => void): void {
    this.#reported ??= new Map(this.#settings.reportedNow());
    this.#reportsDue = true;
    change();
  }

  #writeReports(): void {
    if (!this.#reportsDue || this.#reported === null) return;
    this.#reportsDue = false;
    for (const [name, value] of this.#settings.reported()) {
      if (this.#reported.get(name) === value) continue;
      this.#reported.set(name, value);
      writeParameterStatus(this.#out, name, value);
    }
  }

  #writeReady(): void {
    this.#writeReports();
    writeReadyForQuery(this.#out, this.#status);
  }

  #warn(sqlstate: string, message: string): void {
    writeNotice(this.#out, errorFields(sqlstate, message, { severity: 'WARNING' }));
  }

  // ── common ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Null when the plan may run here now, else why not. */
  #mayRunLocally(plan: LocalPlan): string | null | Promise<string | null> {
    if (this.#transaction.where === 'upstream') return 'transaction';
    if (this.#settings.isPeculiar) return 'peculiar';
    if (!this.#deps.mayRead(plan)) return 'privilege';
    if (this.#deps.isHidden(plan, this.#settings.planning.searchPath)) return 'hidden';
    const may = this.#forward.mayAnswerLocally();
    if (may === true) return null;
    if (may === false) return this.#forward.held ?? 'own-writes';
    this.#write();
    return may.then((yes) => (yes ? null : (this.#forward.held ?? 'own-writes')));
  }

  /** Why a plan made then cannot be used now; null when it can. */
  #staleSince(version: number, key: string): string | null {
    if (version !== this.#deps.engine.version) return 'schema-changed';
    return key === this.#settings.planning.key ? null : 'path-changed';
  }

  /** The error that a failed block gives to everything but its end; null when the statement may go on. */
  #abortedError(planned: Planned): ErrorFields | null {
    if (!this.#transaction.failed || this.#transaction.where === 'upstream') return null;
    const { plan } = planned;
    if (plan.kind === 'empty') return null;
    if (plan.kind === 'session') {
      const { type } = plan.statement;
      if (type === 'commit' || type === 'rollback' || type === 'rollback-to') return null;
    }
    return ABORTED;
  }

  #fail(fields: ErrorFields): 'failed' {
    writeError(this.#out, fields);
    if (this.#transaction.where === 'local') this.#transaction.failed = true;
    this.#skipUntilSync = true;
    return 'failed';
  }

  #dropPortal(name: string): void {
    const portal = this.#portals?.get(name);
    if (portal === undefined) return;
    portal.slow?.kill();
    this.#portals?.delete(name);
  }

  #endPortals(): void {
    if (this.#portals === null || this.#portals.size === 0) return;
    for (const portal of this.#portals.values()) portal.slow?.kill();
    this.#portals.clear();
  }

  #countLocal(how: AnsweredBy): void {
    this.#answered = how;
    this.#deps.counts.local();
  }

  #countForwarded(why: Why | null): void {
    this.#answered = {
      by: 'forwarded',
      reason: why === null ? 'the session is bound to the core' : `${why.reason}: ${why.detail}`,
    };
    this.#deps.counts.forwarded(why?.reason ?? 'bound');
  }
}

/** Why a statement went to the core. */
interface Why {
  readonly reason: string;
  readonly detail: string;
}

const ABORTED = errorFields('25P02', 'current transaction is aborted, commands ignored until end of transaction block');

const TEXT_FORMATS: readonly number[] = [];
const NO_VALUES: (Buffer | null)[] = [];
const NO_BOUND: BoundValues = [];
const NO_PARAMETERS = { formats: [], values: NO_VALUES } as const;
const ANSWERED_FAST: AnsweredBy = { by: 'local', reason: 'index lookup in the replica' };
const ANSWERED_SLOW: AnsweredBy = { by: 'local', reason: 'scan of the replica in a child process' };
const ANSWERED_SESSION: AnsweredBy = { by: 'session', reason: 'about the session itself' };

const REASON_TEXTS: Readonly<Record<string, string>> = {
  transaction: 'the transaction already runs at the core',
  segment: 'it belongs to a batch that already runs at the core',
  privilege: 'it is not known that the role of this edge may read all its tables',
  hidden: 'a relation that is not replicated may stand before one of its tables in search_path',
  'own-writes': 'this session wrote something that has not arrived here yet',
  'temporary-tables': 'the session has temporary tables',
  role: 'the session acts as another role',
  encoding: 'the session uses an encoding other than UTF8',
  unknown: 'the session is in a state that only the core knows',
  peculiar: 'a setting of the session changes what statements mean',
  setting: 'a setting of the session changes how the answer is printed',
  'parameter-value': 'Postgres has to judge one of the values',
  'binary-format': 'a column is wanted in a binary form that this edge does not speak',
  'schema-changed': 'the schema has just changed',
  'path-changed': 'search_path has just changed',
  'may-fail': 'SQLite gave an error where Postgres has its own',
  'slow-lanes-busy': 'all slow lanes of this edge are taken',
  'replica-not-ready': 'the replica of this edge is not complete yet',
  session: 'only the core can judge it',
};

function reasonText(reason: string): string {
  return REASON_TEXTS[reason] ?? reason;
}

const NOT_UTF8: Why = { reason: 'syntax-error', detail: 'bytes that are not UTF-8' };
const PECULIAR: Why = { reason: 'peculiar', detail: reasonText('peculiar') };
const NOT_READY: Why = { reason: 'replica-not-ready', detail: reasonText('replica-not-ready') };
const PARAMETER_VALUE: Why = { reason: 'parameter-value', detail: reasonText('parameter-value') };
const SETTING: Why = { reason: 'setting', detail: reasonText('setting') };
const MAY_FAIL: Why = { reason: 'may-fail', detail: reasonText('may-fail') };
const SLOW_BUSY: Why = { reason: 'slow-lanes-busy', detail: reasonText('slow-lanes-busy') };

function whyOf(planned: Planned): Why | null {
  const { plan } = planned;
  if (plan.kind === 'forward') return plan;
  return plan.kind === 'session'
    ? { reason: 'session', detail: reasonText('session') }
    : { reason: 'segment', detail: reasonText('segment') };
}

/** What Postgres would say to a text that does not parse, for when it cannot be asked. */
function syntaxErrorOf({ plan }: Planned): ErrorFields | null {
  return plan.kind === 'forward' && plan.reason === 'syntax-error' ? errorFields('42601', plan.detail) : null;
}

/** What the client is told when forwarding failed. */
function forwardError(error: unknown, why: Why | null, known: ErrorFields | null): ErrorFields {
  if (error instanceof UpstreamLost) {
    return errorFields(
      error.said?.sqlstate ?? '08006',
      'the connection to the core broke while the statement ran there',
      {
        ...(error.said === null ? {} : { detail: `the core said: ${error.said.message}` }),
        hint: 'whether a write was done is unknown; look before doing it again',
      },
    );
  }
  if (!(error instanceof Fault)) return errorFieldsOf(error);
  const away = error.code === 'connect-failed' || error.code === 'core-away' || error.sqlstate === '57P03';
  if (!away) return errorFieldsOf(error);
  if (known !== null) return known;
  const base = errorFieldsOf(coreAwayFault(error));
  const detail = `${error.message}${why === null ? '' : `; the statement had to be forwarded: ${why.reason} (${why.detail})`}`;
  return { ...base, detail };
}

/** Statements that change what local answers depend on, or that may write. */
function isChangingSession(statement: SessionStatement): boolean {
  return (
    statement.type !== 'show' &&
    statement.type !== 'fetch' &&
    statement.type !== 'savepoint' &&
    statement.type !== 'release'
  );
}

/** Whether running it may change what local answers depend on. */
function isChanging({ plan }: Planned): boolean {
  if (plan.kind === 'forward') return plan.write;
  return plan.kind === 'session' && isChangingSession(plan.statement);
}

/** Session statements that this edge may do itself; the others always go to the core. */
function isOwnStatement(statement: SessionStatement): boolean {
  switch (statement.type) {
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'release':
    case 'rollback-to':
    case 'set':
    case 'reset':
    case 'show':
    case 'deallocate':
    case 'discard':
      return true;
    default:
      return false;
  }
}

/** SHOW skerry.… is answered here whatever the transaction. */
function isAlwaysOwn(planned: Planned): boolean {
  const { plan } = planned;
  return plan.kind === 'session' && plan.statement.type === 'show' && plan.statement.name.startsWith('skerry.');
}

const SELECT_TAGS = Array.from({ length: 256 }, (_, rows) => `SELECT ${rows}`);

function selectTag(rows: number): string {
  return SELECT_TAGS[rows] ?? `SELECT ${rows}`;
}

function readFormats(reader: ByteReader): readonly number[] {
  const count = reader.count(reader.uint16(), 2);
  if (count === 0) return TEXT_FORMATS;
  const formats: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const format = reader.int16();
    if (format !== 0 && format !== 1)
      throw new Fault('protocol-violation', { message: `unsupported format code: ${format}`, sqlstate: '08P01' });
    formats.push(format);
  }
  // libpq says "text" once for all columns: the same as saying nothing.
  return count === 1 && formats[0] === 0 ? TEXT_FORMATS : formats;
}

/** Null when the bytes are not UTF-8: Postgres has an error for that, which names them. */
function textOf(buffer: Buffer, start: number, end: number): string | null {
  try {
    return readText(buffer, start, end);
  } catch {
    return null;
  }
}

function readTarget(buffer: Buffer, start: number, end: number): { isPortal: boolean; name: string } {
  const reader = new ByteReader(buffer, start, end);
  const kind = reader.uint8();
  const name = reader.cString();
  reader.done();
  if (kind !== 0x50 && kind !== 0x53) throw wireFault('frame-malformed', `invalid subtype ${kind} of a message`);
  return { isPortal: kind === 0x50, name };
}

function sameColumns(before: LocalPlan['columns'], after: LocalPlan['columns']): boolean {
  return (
    before.length === after.length &&
    before.every((column, index) => column.typeOid === after[index]?.typeOid && column.typmod === after[index]?.typmod)
  );
}
