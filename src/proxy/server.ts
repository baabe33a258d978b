// One connection to a Postgres server, after its login.
//
//   idle ──link──▶ linked ──▶ (harvest) ──release──▶ idle
//                    │ client vanished
//                    ▼
//                recovering (rollback, or cancel and drain) ──▶ idle, or closed after a deadline
//
// Bytes from the server are walked frame by frame: bodies that do not matter here (rows, COPY) are passed on where they lie,
// without being collected. Which client may get a frame is decided by the ledger alone.

import { assert } from '../base/assert.ts';
import type { Connection, ConnectionHandler } from '../base/net.ts';
import { BACKEND, type ErrorFields, decodeBackend } from '../wire/backend.ts';
import { asBuffer, ByteWriter, readInt16, readInt32 } from '../wire/bytes.ts';
import { FRONTEND } from '../wire/frontend.ts';
import { FRAME_BYTES_MAX } from '../wire/frame.ts';
import { EXPECT, HIDDEN, isExtended, Ledger, plainKind } from './ledger.ts';
import { Outbox } from './outbox.ts';
import { Reported } from './reported.ts';
import { NO_SETTINGS, type SessionSettings } from './settings.ts';
import type { Statement, StatementRegistry } from './statements.ts';
import type { TurnClock } from './turn-clock.ts';

/** A frame whose body must be read is collected up to this size; a larger one is passed on unread. */
const COLLECT_BYTES_MAX = 1024 * 1024;

/** Above this the server is not read until the client has taken its bytes; below, one slow reader costs nothing. */
export const CLIENT_QUEUE_BYTES_MAX = 256 * 1024;

/** Messages that one client may have unanswered on one server connection; more is answered with 54000. */
export const LEDGER_ENTRIES_MAX = 1_000_000;

const READ_ONLY_TRANSACTION = '25006';

export const STATUS_IDLE = 0x49;
export const STATUS_FAILED = 0x45;

/** A query of the proxy's own; its answer is collected and not shown to the client. */
export interface Injected {
  readonly tag: 'injected';
  readonly results: (string | null)[][][];
  error: ErrorFields | null;
  readonly done: (injected: Injected) => void;
}

/** Undone when the server skipped or refused the message. */
export type Owed =
  | Injected
  | {
      readonly tag: 'parse';
      readonly client: LinkedClient;
      /** Null for the unnamed statement. */
      readonly name: string | null;
      readonly previous: Statement | null;
      readonly statement: Statement | null;
      /** True when the message really went to the server. */
      readonly sent: boolean;
    }
  | { readonly tag: 'close'; readonly client: LinkedClient; readonly name: string; readonly previous: Statement | null }
  | { readonly tag: 'bytes'; readonly bytes: Buffer; readonly undo: Owed | null };

/** What a server connection needs to know of its client. */
export interface LinkedClient {
  readonly connection: Connection;
  readonly outbox: Outbox;
  reported: Reported;
  /** Session mode: everything is his. */
  readonly exclusive: boolean;
  /** Takes back what an optimistic Parse or Close did to the client's names. */
  undo(owed: Owed): void;
  /** The bytes of a read that a replica answers, while nothing of the answer has left; null otherwise. */
  replay: Buffer | null;
  /** Whether the answer to such a read waits a little longer; false ends the possibility to run it again. */
  holdsAnswer(): boolean;
  /** The replica has refused it: what waits for the client is dropped, and he says nothing more here. */
  takeBack(): void;
  /** The rest of the replica's answer is through: now the primary gets it. */
  runAgain(server: ServerConnection): void;
  /** A ReadyForQuery of his own went out. */
  queryDone(status: number): void;
  /** The ledger is empty and no transaction is open. */
  serverQuiet(): void;
  notified(frame: Buffer): void;
  /** Nothing is owed, but its segment is open: it is the client's turn. */
  serverPaused(): void;
  /** The time of this statement says nothing about the server: it failed, or the client took part in it. */
  notMeasurable(): void;
  /** Gone in the middle; `told` when a FATAL error reached the client already. */
  serverLost(server: ServerConnection, reason: string, told: boolean): void;
}

/** What a server connection needs to know of its pool. */
export interface ServerOwner {
  readonly statements: StatementRegistry;
  /** A client of it has asked for currval or lastval: those that follow keep what nextval gives them. */
  keepsSequences: boolean;
  readonly turn: TurnClock;
  /** Closed, by whichever side. */
  serverClosed(server: ServerConnection, reason: string): void;
  serverRecovered(server: ServerConnection): void;
  countReceived(bytes: number): void;
}

export type ServerState = 'idle' | 'linked' | 'recovering' | 'closed';

export interface ServerOptions {
  readonly id: number;
  readonly owner: ServerOwner;
  readonly connection: Connection;
  readonly processId: number;
  readonly secretKey: Uint8Array;
  readonly host: string;
  readonly port: number;
  /** Bucket: canonical startup parameters it was opened with. */
  readonly startupKey: string;
  readonly applicationName: string;
  readonly reported: Reported;
  readonly now: number;
  readonly lifetimeMs: number;
}

const NO_BYTES = Buffer.alloc(0);
const EMPTY_SYNC = Buffer.from([FRONTEND.sync, 0, 0, 0, 4]);
const COPY_FAIL = Buffer.from([FRONTEND.copyFail, 0, 0, 0, 5, 0]);

export class ServerConnection implements ConnectionHandler {
  readonly id: number;
  readonly owner: ServerOwner;
  readonly connection: Connection;
  readonly processId: number;
  readonly secretKey: Uint8Array;
  readonly host: string;
  readonly port: number;
  readonly startupKey: string;
  /** The one it was opened with. */
  readonly applicationName: string;
  /** Id of the client that used it last; 0 = none yet. */
  guest = 0;
  readonly ledger = new Ledger<Owed>();
  readonly outbox = new Outbox();
  readonly createdAt: number;
  readonly lifetimeMs: number;
  state: ServerState = 'idle';
  client: LinkedClient | null = null;
  /** Of the last ReadyForQuery. */
  status = STATUS_IDLE;
  /** Extended messages were sent since the last Sync: an implicit transaction may be open although the status says I. */
  segmentOpen = false;
  /** An error was answered and the Sync that ends the skipping is not there yet. */
  skipping = false;
  /** The server waits for CopyData. */
  copyIn = false;
  /** CopyDone or CopyFail of that copy was sent. */
  copyEndSent = false;
  #copyIgnoredSyncs = 0;
  /** Answers can no longer be counted: stays with its client and is closed with him. */
  wild = false;
  /** Why it must not be used again. */
  doomed: string | null = null;
  /** Cancel requests under way for it: it must not change hands meanwhile (PgBouncer #717). */
  cancels = 0;
  reported: Reported;
  settings: SessionSettings = NO_SETTINGS;
  /** Prepared here, least recently used first. */
  readonly prepared = new Map<Statement, true>();
  /** Identity of the unnamed statement it holds. */
  unnamed: object | null = null;
  /** Texts of SQL-level PREPAREs by name, and whose they are. */
  readonly sqlPrepared = new Map<string, string>();
  sqlOwner: object | null = null;
  /** The client listens here itself (session mode, or a LISTEN that is just being taken over). */
  listens = false;
  /** Called once it is at rest or closed: the permission of a client that has gone is given back then. */
  onRest: (() => void) | null = null;
  /** What its client left must be discarded once it is at rest. */
  discardAfter = false;
  /** Bumped by RECONNECT: connections of an earlier generation are not used again. */
  generation = 0;
  lastUsedAt: number;
  linkedAt = 0;
  queryStartedAt = 0;
  queries = 0;

  #partial: Buffer = NO_BYTES;
  #bodyLeft = 0;
  #bodyDropped = false;
  #fatal: ErrorFields | null = null;
  #fatalTold = false;

  constructor(options: ServerOptions) {
    this.id = options.id;
    this.owner = options.owner;
    this.connection = options.connection;
    this.processId = options.processId;
    this.secretKey = options.secretKey;
    this.host = options.host;
    this.port = options.port;
    this.startupKey = options.startupKey;
    this.applicationName = options.applicationName;
    this.reported = options.reported;
    this.createdAt = options.now;
    this.lastUsedAt = options.now;
    this.lifetimeMs = options.lifetimeMs;
    this.connection.handler = this;
  }

  /** Nothing is owed, nothing is half said, no transaction. */
  get quiet(): boolean {
    return (
      this.ledger.length === 0 &&
      this.status === STATUS_IDLE &&
      !this.segmentOpen &&
      !this.skipping &&
      !this.copyIn &&
      !this.wild &&
      this.#bodyLeft === 0 &&
      this.#partial.length === 0
    );
  }

  /** The client has the beginning of a frame and not its end. */
  get midFrame(): boolean {
    return this.#bodyLeft > 0 && !this.#bodyDropped;
  }

  link(client: LinkedClient, now: number): void {
    assert(
      this.client === null && this.ledger.length === 0,
      'a server connection is linked while somebody else uses it',
    );
    this.client = client;
    this.state = 'linked';
    this.linkedAt = now;
    this.listens = client.exclusive;
  }

  unlink(now: number): void {
    this.client = null;
    if (this.#between.length > 0) this.#between.length = 0;
    this.state = 'idle';
    this.listens = false;
    this.lastUsedAt = now;
  }

  /** Sends a query of ours. The caller flushes. */
  inject(sql: string, done: (injected: Injected) => void): void {
    const writer = new ByteWriter();
    const mark = writer.beginMessage(FRONTEND.query);
    writer.cString(sql);
    writer.endMessage(mark);
    this.outbox.push(writer.take());
    this.unnamed = null;
    this.ledger.push(EXPECT.query | HIDDEN, { tag: 'injected', results: [], error: null, done });
  }

  /** Notes that the message just sent will be answered. */
  expect(kind: number, owed: Owed | null): void {
    if (!this.wild) this.ledger.push(kind, owed);
  }

  /** Puts bytes into the stream of answers, in their turn. */
  answerInTurn(bytes: Buffer, undo: Owed | null = null): void {
    if (this.ledger.length === 0 && this.#bodyLeft === 0 && this.client !== null) this.client.outbox.push(bytes);
    else this.expect(EXPECT.synthetic, { tag: 'bytes', bytes, undo });
  }

  /** Puts whole frames into the stream of answers as soon as no other frame is half said. */
  sayBetween(bytes: Buffer): void {
    if (this.#bodyLeft > 0 && !this.#bodyDropped) this.#between.push(bytes);
    else this.client?.outbox.push(bytes);
  }

  readonly #between: Buffer[] = [];

  flush(): boolean {
    return this.outbox.flush(this.connection);
  }

  /** Says good-bye to the server; the owner hears of it. */
  shut(reason: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#forgetStatements();
    if (!this.connection.closed) {
      this.connection.write(Buffer.from([FRONTEND.terminate, 0, 0, 0, 4]));
      this.connection.end();
    }
    this.owner.serverClosed(this, reason);
  }

  /**
   * The client is gone. Brings the server back to rest: ends a COPY, ends the segment, rolls back. The caller has sent
   * a cancel request when something runs, and closes the connection when this takes too long.
   */
  recover(): void {
    this.client = null;
    this.state = 'recovering';
    if (this.wild || this.doomed !== null) {
      this.shut(this.doomed ?? 'its client left while its answers could not be counted');
      return;
    }
    if (this.copyIn && !this.copyEndSent) {
      this.outbox.push(COPY_FAIL);
      this.ledger.push(EXPECT.copyEnd, null);
    }
    if (this.segmentOpen || this.skipping) {
      this.outbox.push(EMPTY_SYNC);
      this.ledger.push(EXPECT.sync, null);
      this.segmentOpen = false;
      this.skipping = false;
    }
    this.connection.resume();
    this.#recoverOn();
  }

  #recoverOn(): void {
    if (this.state !== 'recovering') return;
    if (this.ledger.length === 0 && this.#bodyLeft === 0) {
      if (this.status !== STATUS_IDLE) this.inject('ROLLBACK', () => {});
      else if (this.discardAfter) this.#discard();
      else if (this.cancels === 0 && this.quiet) {
        this.state = 'idle';
        this.owner.serverRecovered(this);
        return;
      }
    }
    this.flush();
  }

  #discard(): void {
    this.discardAfter = false;
    this.inject('DISCARD ALL', (injected) => {
      if (injected.error !== null) this.shut('DISCARD ALL failed');
      this.settings = NO_SETTINGS;
      this.sqlPrepared.clear();
      this.#forgetStatements();
    });
  }

  /** A cancel request for it has been dealt with. */
  cancelEnded(): void {
    this.cancels -= 1;
    if (this.cancels > 0) return;
    if (this.state === 'recovering') this.#recoverOn();
    else if (this.quiet) this.client?.serverQuiet();
  }

  forgetAllStatements(): void {
    this.#forgetStatements();
  }

  #forgetStatements(): void {
    for (const statement of this.prepared.keys()) this.owner.statements.release(statement);
    this.prepared.clear();
  }

  forget(statement: Statement): void {
    if (this.prepared.delete(statement)) this.owner.statements.release(statement);
  }

  // ConnectionHandler

  drain(): void {
    this.client?.connection.resume();
  }

  close(error?: Error): void {
    if (this.state === 'closed') return;
    const client = this.client;
    this.state = 'closed';
    this.client = null;
    this.#forgetStatements();
    const reason = this.#fatal?.message ?? error?.message ?? 'the server closed the connection';
    this.owner.serverClosed(this, reason);
    client?.serverLost(this, reason, this.#fatalTold);
  }

  data(chunk: Uint8Array): void {
    if (this.state === 'closed') return;
    const { turn } = this.owner;
    turn.begin();
    try {
      this.#received(asBuffer(chunk));
    } finally {
      turn.end();
    }
  }

  #received(chunk: Buffer): void {
    this.owner.countReceived(chunk.length);
    let buffer = chunk;
    if (this.#partial.length > 0) {
      buffer = Buffer.concat([this.#partial, buffer]);
      this.#partial = NO_BYTES;
    }
    this.#walk(buffer);
    const { client } = this;
    if (client !== null && (client.replay === null || !client.holdsAnswer())) {
      const ok = client.outbox.flush(client.connection);
      // The client does not read: neither do we, so that Postgres waits and not our memory grows.
      if (!ok && client.connection.queuedBytes > CLIENT_QUEUE_BYTES_MAX) {
        this.connection.pause();
        client.notMeasurable();
      }
      if (this.segmentOpen && this.ledger.length === 0) client.serverPaused();
    }
    // Only now, since what follows may give the connection to somebody else.
    while (this.#finished.length > 0) {
      const injected = this.#finished.shift() as Injected;
      injected.done(injected);
    }
    if (this.state === 'linked' && this.quiet) this.client?.serverQuiet();
    else if (this.state === 'recovering') this.#recoverOn();
  }

  #walk(buffer: Buffer): void {
    const { length } = buffer;
    let at = 0;
    // Start of the run of bytes that go to the client as they are.
    let run = 0;
    if (this.#bodyLeft > 0) {
      at = Math.min(this.#bodyLeft, length);
      this.#bodyLeft -= at;
      if (this.#bodyDropped) run = at;
      if (this.#bodyLeft === 0 && (this.#hasSynthetic || this.#between.length > 0)) {
        run = this.#emitAfter(buffer, run, at);
      }
    }
    while (length - at >= 5) {
      const type = buffer[at] as number;
      const size = readInt32(buffer, at + 1);
      if (size < 4 || size > FRAME_BYTES_MAX) return this.#lostCount(`a message of type ${type} and length ${size}`);
      const total = size + 1;
      const whole = length - at >= total;
      if (!whole && total <= COLLECT_BYTES_MAX && this.#needsBody(type)) break;
      const end = whole ? at + total : length;
      const pass = this.#frame(type, buffer, at + 5, whole ? end : at + 5);
      if ((this.state as ServerState) === 'closed') return;
      if (!pass) {
        if (run < at && !this.#forgetRun) this.client?.outbox.pushRange(buffer, run, at);
        this.#forgetRun = false;
        run = end;
      }
      if (!whole) {
        this.#bodyLeft = total - (length - at);
        this.#bodyDropped = !pass;
      }
      at = end;
      if (whole && this.#hasSynthetic) run = this.#emitAfter(buffer, run, at);
    }
    if (run < at) this.client?.outbox.pushRange(buffer, run, at);
    if (at < length) this.#partial = buffer.subarray(at);
  }

  get #hasSynthetic(): boolean {
    return this.ledger.head === EXPECT.synthetic;
  }

  /** Sends the run up to `at`, then what the proxy answers itself at this place. Returns where the next run begins. */
  #emitAfter(buffer: Buffer, run: number, at: number): number {
    if (run < at) this.client?.outbox.pushRange(buffer, run, at);
    for (const bytes of this.#between.splice(0)) this.client?.outbox.push(bytes);
    while (this.ledger.head === EXPECT.synthetic) {
      const owed = this.ledger.headReference;
      if (owed?.tag === 'bytes') this.client?.outbox.push(owed.bytes);
      this.#pop();
    }
    return at;
  }

  #needsBody(type: number): boolean {
    if ((this.ledger.head & HIDDEN) !== 0) return true;
    return (
      type === BACKEND.readyForQuery ||
      type === BACKEND.errorResponse ||
      type === BACKEND.parameterStatus ||
      type === BACKEND.notificationResponse
    );
  }

  /** Takes note of one frame (its body may be missing, see `#needsBody`). True when the client gets it. */
  #frame(type: number, buffer: Buffer, start: number, end: number): boolean {
    const head = this.ledger.head;
    const kind = plainKind(head);
    const visible = (head & HIDDEN) === 0;
    if (this.wild) return this.client !== null;
    switch (type) {
      case BACKEND.dataRow:
        if (visible) return kind !== 0 || this.#unexpected(type);
        this.#collectRow(buffer, start, end);
        return false;
      case BACKEND.copyData:
      case BACKEND.copyDone:
      case BACKEND.copyOutResponse:
      case BACKEND.functionCallResponse:
        return kind === 0 ? this.#unexpected(type) : visible;
      case BACKEND.parameterDescription:
        return kind === EXPECT.describeStatement ? visible : this.#unexpected(type);
      case BACKEND.rowDescription:
        if (kind === EXPECT.describePortal || kind === EXPECT.describeStatement) this.#pop();
        else if (kind !== EXPECT.query) return this.#unexpected(type);
        else if (!visible) this.#collectResult();
        return visible;
      case BACKEND.noData:
        if (kind !== EXPECT.describePortal && kind !== EXPECT.describeStatement) return this.#unexpected(type);
        this.#pop();
        return visible;
      case BACKEND.commandComplete:
      case BACKEND.emptyQueryResponse:
        if (kind === EXPECT.execute) this.#pop();
        else if (kind !== EXPECT.query) return this.#unexpected(type);
        if (this.copyIn) this.#copyEnded();
        return visible;
      case BACKEND.portalSuspended:
        if (kind !== EXPECT.execute) return this.#unexpected(type);
        this.#pop();
        return visible;
      case BACKEND.parseComplete:
        this.#proven();
        return this.#expected(EXPECT.parse, kind, type) && visible;
      case BACKEND.bindComplete:
        return this.#expected(EXPECT.bind, kind, type) && visible;
      case BACKEND.closeComplete:
        return this.#expected(EXPECT.close, kind, type) && visible;
      case BACKEND.copyInResponse:
        if (kind !== EXPECT.query && kind !== EXPECT.execute) return this.#unexpected(type);
        this.#copyBegins();
        return visible;
      case BACKEND.readyForQuery:
        if (kind !== EXPECT.query && kind !== EXPECT.sync && kind !== EXPECT.functionCall)
          return this.#unexpected(type);
        this.#ready(buffer[start] as number, visible);
        return visible;
      case BACKEND.errorResponse:
        return this.#error(kind, visible, buffer, start, end);
      case BACKEND.noticeResponse:
        return this.client !== null && visible;
      case BACKEND.parameterStatus:
        return this.#parameterStatus(buffer, start, end, visible);
      case BACKEND.notificationResponse:
        if (this.client === null || !this.listens) return false;
        if (!this.client.exclusive) this.client.notified(Buffer.from(buffer.subarray(start - 5, end)));
        return true;
      default:
        return this.#unexpected(type);
    }
  }

  #proven(): void {
    const owed = this.ledger.headReference;
    if (owed?.tag === 'parse' && owed.statement !== null) owed.statement.proven = true;
  }

  #expected(wanted: number, kind: number, type: number): boolean {
    if (kind !== wanted) return this.#unexpected(type);
    this.#pop();
    return true;
  }

  #pop(): void {
    this.ledger.shift();
    // A CopyDone that found no copy to end is ignored by the server.
    while (this.ledger.head === EXPECT.copyEnd) this.ledger.shift();
  }

  #ready(status: number, visible: boolean): void {
    const owed = this.ledger.headReference;
    this.status = status;
    this.copyIn = false;
    this.copyEndSent = false;
    this.#pop();
    if (visible) {
      this.queries += 1;
      this.client?.queryDone(status);
    } else if (owed?.tag === 'injected') this.#finished.push(owed);
  }

  /** Injected queries whose answers are complete; told after the walk, when all bytes before are in the client's outbox. */
  readonly #finished: Injected[] = [];

  #copyBegins(): void {
    this.copyIn = true;
    this.copyEndSent = false;
    this.client?.notMeasurable();
    // Sync messages that came before CopyDone are read by the COPY and ignored.
    for (let index = 1; index < this.ledger.length; ) {
      const kind = this.ledger.kindAt(index);
      if (kind === EXPECT.copyEnd) {
        this.copyEndSent = true;
        return;
      }
      if (kind !== EXPECT.sync) {
        this.wild = true;
        return;
      }
      this.ledger.removeAt(index);
      this.#copyIgnoredSyncs += 1;
    }
  }

  /** A Sync of the client during a COPY: no answer will come. */
  ignoredSync(): void {
    this.#copyIgnoredSyncs += 1;
  }

  #copyEnded(): void {
    this.copyIn = false;
    this.copyEndSent = false;
    this.#copyIgnoredSyncs = 0;
    for (let index = 0; index < this.ledger.length; index += 1) {
      if (this.ledger.kindAt(index) !== EXPECT.copyEnd) continue;
      this.ledger.removeAt(index);
      return;
    }
  }

  #error(kind: number, visible: boolean, buffer: Buffer, start: number, end: number): boolean {
    const fields = start === end ? UNREAD_ERROR : readError(buffer, start, end);
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') {
      this.#fatal = fields;
      this.#fatalTold = this.client?.exclusive === true;
      return this.#fatalTold;
    }
    if (kind === 0) {
      this.doomed ??= fields.message;
      return this.client !== null;
    }
    if (visible) this.client?.notMeasurable();
    if (this.copyIn) {
      this.copyIn = false;
      // Whether the Sync messages before the failure were read by the COPY or will be answered cannot be known.
      if (this.#copyIgnoredSyncs > 0) this.wild = true;
      this.#copyIgnoredSyncs = 0;
    }
    if (fields.sqlstate === '0A000' && kind !== EXPECT.query && /cached plan/.test(fields.message)) {
      // Its prepared statements are stale (a table has changed): a fresh connection prepares them anew.
      this.doomed ??= 'prepared statements are out of date';
    }
    const owed = this.ledger.headReference;
    if (!visible && owed?.tag === 'injected') {
      owed.error ??= fields;
      return false;
    }
    if (isExtended(kind)) this.#skipToSync();
    return fields.sqlstate !== READ_ONLY_TRANSACTION || !this.#takenBack();
  }

  /**
   * A text that looked like a read (a view with nextval in it) cannot run on a replica. Nothing was done and the client has
   * seen nothing, so the primary may run it; the rest of this answer is for nobody.
   */
  #takenBack(): boolean {
    const { client } = this;
    if (client === null || client.replay === null || this.status !== STATUS_IDLE || this.ledger.length !== 1) {
      return false;
    }
    client.takeBack();
    this.#forgetRun = true;
    const done = (): void => client.runAgain(this);
    this.ledger.hideHead({ tag: 'injected', results: [], error: null, done });
    return true;
  }

  /** The bytes before the frame just read are not for the client either. */
  #forgetRun = false;

  #skipToSync(): void {
    const undone: Owed[] = [];
    while (this.ledger.length > 0 && plainKind(this.ledger.head) !== EXPECT.sync) {
      const owed = this.ledger.headReference;
      if (owed !== null) undone.push(owed);
      this.ledger.shift();
    }
    if (this.ledger.length === 0) this.skipping = true;
    for (const owed of undone.toReversed()) this.#undo(owed);
  }

  #undo(owed: Owed): void {
    if (owed.tag === 'bytes') {
      if (owed.undo !== null) this.#undo(owed.undo);
      return;
    }
    if (owed.tag === 'injected') {
      owed.error ??= UNREAD_ERROR;
      this.#finished.push(owed);
      return;
    }
    if (owed.tag === 'parse' && owed.sent) {
      if (owed.statement === null || owed.name === null) this.unnamed = null;
      if (owed.statement !== null) this.forget(owed.statement);
    }
    owed.client.undo(owed);
  }

  #parameterStatus(buffer: Buffer, start: number, end: number, visible: boolean): boolean {
    const message = decodeBackend(BACKEND.parameterStatus, buffer, start, end);
    assert(message.tag === 'parameterStatus', 'a ParameterStatus decodes as one');
    this.reported = this.reported.with(message.name, message.value);
    if (this.client === null || !visible) return false;
    this.client.reported = this.reported;
    return true;
  }

  #collectResult(): void {
    const owed = this.ledger.headReference;
    if (owed?.tag === 'injected') owed.results.push([]);
  }

  #collectRow(buffer: Buffer, start: number, end: number): void {
    const owed = this.ledger.headReference;
    if (owed?.tag === 'injected') owed.results.at(-1)?.push(readRow(buffer, start, end));
  }

  #unexpected(type: number): false {
    this.#lostCount(`an unexpected message of type ${String.fromCharCode(type)}`);
    return false;
  }

  /** The stream of answers cannot be trusted any more: nobody gets another byte of it. */
  #lostCount(what: string): void {
    const { client } = this;
    const reason = `the server sent ${what}`;
    this.client = null;
    this.shut(reason);
    client?.serverLost(this, reason, false);
  }
}

const UNREAD_ERROR: ErrorFields = { severity: 'ERROR', sqlstate: 'XX000', message: 'error' };

function readError(buffer: Buffer, start: number, end: number): ErrorFields {
  // An error without SQLSTATE, or garbage, must not bring the proxy down (CVE-2026-6666).
  try {
    const message = decodeBackend(BACKEND.errorResponse, buffer, start, end);
    return message.tag === 'errorResponse' ? message.fields : UNREAD_ERROR;
  } catch {
    return UNREAD_ERROR;
  }
}

function readRow(buffer: Buffer, start: number, end: number): (string | null)[] {
  const row: (string | null)[] = [];
  if (end - start < 2) return row;
  const count = readInt16(buffer, start);
  let at = start + 2;
  for (let column = 0; column < count && at + 4 <= end; column += 1) {
    const length = readInt32(buffer, at);
    at += 4;
    row.push(length < 0 ? null : buffer.toString('utf8', at, at + length));
    if (length > 0) at += length;
  }
  return row;
}
