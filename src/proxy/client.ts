// One client after its login. Reads its messages frame by frame, takes a server connection from the pool when one is needed,
// and passes the bytes on where they lie. Bodies that do not matter (COPY, parameters) are never collected.
//
//   ready ──first message──▶ waiting (queue) ──▶ linking (its settings are being set) ──▶ linked ──transaction over──▶ ready
//
// In session mode (`exclusive`) the server connection is the client's from login to the end, and names and settings are his.

import type { Connection, ConnectionHandler } from '../base/net.ts';
import { Fault } from '../base/fault.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { BACKEND, writeCommandComplete, writeError, writeReadyForQuery } from '../wire/backend.ts';
import { asBuffer, ByteWriter, readInt32 } from '../wire/bytes.ts';
import { FRONTEND } from '../wire/frontend.ts';
import { FRAME_BYTES_MAX } from '../wire/frame.ts';
import { parseLsn } from '../pg/lsn.ts';
import { canceled, clientTimeout, serverLost, statementMode, violation } from './faults.ts';
import { HARVESTED, PINNING, harvestSql, readHarvest } from './harvest.ts';
import { EXPECT, HIDDEN } from './ledger.ts';
import { combined, fingerprintOf, NO_FINGERPRINT } from './limits/fingerprint.ts';
import type { Lane, LaneWaiter } from './limits/lane.ts';
import type { Tenant } from './limits/tenant.ts';
import type { Queued } from './limits/wait-queue.ts';
import { Outbox } from './outbox.ts';
import { type Reported, writeReportedChanges } from './reported.ts';
import { EFFECT, NO_EFFECTS, SCAN_BYTES_MAX, type Scan, scanStatement, UNKNOWN_EFFECTS } from './scan.ts';
import {
  type Injected,
  LEDGER_ENTRIES_MAX,
  type LinkedClient,
  type Owed,
  type ServerConnection,
  STATUS_FAILED,
  STATUS_IDLE,
} from './server.ts';
import {
  changeSql,
  changesOnlyName,
  NO_SETTINGS,
  quoteIdentifier,
  type SessionSettings,
  settingsOf,
} from './settings.ts';
import type { Statement, StatementRegistry } from './statements.ts';
import type { TurnClock } from './turn-clock.ts';

/** Bytes of a client that waits for a server connection; above this its socket is not read. */
const WAITING_BYTES_MAX = 64 * 1024;

/** Above this the client is not read until the server has taken its bytes. */
const SERVER_QUEUE_BYTES_MAX = 256 * 1024;

/** Names in messages; Postgres cuts identifiers at 63 bytes, but the protocol's names have no such limit. */
const NAME_BYTES_MAX = 8 * 1024;

/** Statements that a session-mode client's measurements know by name; when there are more they are learnt anew. */
const SESSION_STATEMENTS_MAX = 1_000;

/** Named statements one client may hold; one more is refused with 53200. */
const CLIENT_STATEMENTS_MAX = 100_000;

export type PoolMode = 'session' | 'transaction' | 'statement';

/** What a client needs of the proxy. */
export interface ClientHost {
  /** What clients that wait for a server connection have sent already, all together. */
  waitingBytes: number;
  /** Above this clients that wait are not read. */
  readonly waitingBytesMax: number;
  readonly statements: StatementRegistry;
  readonly turn: TurnClock;
  now(): number;
  /** Null: the client waits; `granted` or `waitFailed` follows. A fault: it may not even wait. `read` is true when a replica may answer. */
  acquire(client: ClientConnection, read: boolean): ServerConnection | Fault | null;
  release(client: ClientConnection, server: ServerConnection): void;
  /** The idle server connection of before; false when it is not to be had. */
  reclaim(server: ServerConnection): boolean;
  /** A client that has its server connection already (session mode, pinned) begins something: as `acquire`, with true for yes. */
  admit(client: ClientConnection): true | Fault | null;
  /** Its tenant lets it run now. */
  permitted(client: ClientConnection): void;
  /** It may not even wait for its tenant any longer. */
  refused(client: ClientConnection, fault: Fault): void;
  /** What it had permission for is over. */
  rested(client: ClientConnection): void;
  /** The client does not wait any longer. */
  abandon(client: ClientConnection): void;
  /** Sends a cancel request for what runs on this server connection. */
  cancel(server: ServerConnection): void;
  /** The client has gone; `server` may be in any state. */
  vanished(client: ClientConnection, server: ServerConnection | null): void;
  /** Resolves when the shared listener listens on exactly these channels for the client. */
  listen(client: ClientConnection, channels: readonly string[]): Promise<void>;
  /** Resolves when the shared listener has delivered what was sent until now. */
  heardAll(client: ClientConnection): Promise<void>;
  /** A ReadyForQuery of the client's own; `workMs` is what the server took, without the client's pauses. */
  queryDone(client: ClientConnection, server: ServerConnection, workMs: number): void;
  countReceived(client: ClientConnection, bytes: number): void;
  /** Whether the client's later reads must see what it did on this server connection. */
  tracksWrites(client: ClientConnection, server: ServerConnection): boolean;
  /** Texts are looked at for reads that a replica may answer. */
  readonly splitsReads: (client: ClientConnection) => boolean;
  isRead(text: string): boolean;
  /** A replica has refused this text. */
  wasWrite(text: string): void;
  isReplica(server: ServerConnection): boolean;
}

export interface ClientOptions {
  readonly id: number;
  readonly host: ClientHost;
  readonly connection: Connection;
  readonly user: string;
  readonly database: string;
  readonly mode: PoolMode;
  readonly applicationName: string;
  /** Canonical startup parameters. */
  readonly startupKey: string;
  readonly startupParameters: ReadonlyMap<string, string>;
  readonly reported: Reported;
  readonly preparedMax: number;
  readonly processId: number;
  readonly secretKey: Uint8Array;
  readonly readOnlyPort: boolean;
  readonly tenant: Tenant;
}

export type ClientState = 'ready' | 'waiting' | 'linking' | 'closed';

/** What a session-mode client has prepared, as far as it is of interest here. */
interface SessionStatement {
  readonly fingerprint: number;
  readonly text: string;
}

interface Unnamed {
  /** The whole Parse message. */
  readonly message: Buffer;
  readonly scan: Scan;
  readonly read: boolean;
  readonly fingerprint: number;
}

/** Beyond any position: no replica has it. */
const LSN_UNKNOWN = 0xffff_ffff_ffff_ffffn;

const NO_BYTES = Buffer.alloc(0);
const PARSE_COMPLETE = Buffer.from([BACKEND.parseComplete, 0, 0, 0, 4]);
const CLOSE_COMPLETE = Buffer.from([BACKEND.closeComplete, 0, 0, 0, 4]);
const READY_IDLE = Buffer.from([BACKEND.readyForQuery, 0, 0, 0, 5, STATUS_IDLE]);
const CLOSE_UNNAMED = Buffer.from([FRONTEND.close, 0, 0, 0, 6, 0x53, 0]);

/** Ends a failed transaction, so it is the one thing that may be prepared in one. */
const TRANSACTION_EXIT = /^\s*(?:rollback|commit|abort|end|prepare\s+transaction)\b/i;

/** A read that a replica refuses is run again on the primary when its messages are not longer than this … */
const REPLAY_BYTES_MAX = 16 * 1024;

/** … and its answer so far not longer than this: Postgres itself sends in pieces of 8 kB, so nobody waits longer for it. */
const HELD_ANSWER_BYTES_MAX = 8 * 1024;

/** What certainly calls no nextval, and comes before what may. */
const NO_NEXTVAL = /^\s*(?:begin|start|set|savepoint|show)\b/i;

const BLOCKED = -1;
const INCOMPLETE = -2;

/** What clients that differ in nothing that matters share. */
type Kind = Pick<
  ClientOptions,
  | 'host'
  | 'user'
  | 'database'
  | 'mode'
  | 'applicationName'
  | 'startupKey'
  | 'startupParameters'
  | 'preparedMax'
  | 'readOnlyPort'
> & { readonly exclusive: boolean };

/** By host: proxies in one process share nothing. */
const kinds = new WeakMap<ClientHost, Map<string, Kind>>();
const KINDS_MAX = 10_000;

function kindOf(options: ClientOptions): Kind {
  const { host, user, database, mode, applicationName, startupKey, startupParameters, preparedMax, readOnlyPort } =
    options;
  let known = kinds.get(host);
  if (known === undefined) kinds.set(host, (known = new Map<string, Kind>()));
  const parameters = JSON.stringify([...startupParameters]);
  const name = JSON.stringify([
    user,
    database,
    mode,
    applicationName,
    startupKey,
    parameters,
    preparedMax,
    readOnlyPort,
  ]);
  let kind = known.get(name);
  if (kind === undefined) {
    if (known.size >= KINDS_MAX) known.clear();
    const exclusive = mode === 'session';
    kind = {
      host,
      user,
      database,
      mode,
      exclusive,
      applicationName,
      startupKey,
      startupParameters,
      preparedMax,
      readOnlyPort,
    };
    known.set(name, kind);
  }
  return kind;
}

const RARE = { sticky: 1, keepsSequences: 2, cutOff: 4, hadChannels: 8, channelsUnheard: 16, primaryOnly: 32 } as const;

export class ClientConnection implements ConnectionHandler, LinkedClient, LaneWaiter {
  readonly id: number;
  readonly connection: Connection;
  readonly outbox = new Outbox();
  /** What it has in common with others: ten thousand idle clients must cost little, and each field counts. */
  readonly #kind: Kind;
  readonly processId: number;
  readonly secretKey: Uint8Array;
  reported: Reported;
  state: ClientState = 'ready';
  server: ServerConnection | null = null;
  settings: SessionSettings;
  /** The pool's own note about where it waits. */
  waitingIn: object | null = null;
  waitingSince = 0;
  /** The proxy's own note: the pool of the primary, so that it need not be looked up again. */
  primaryPool: object | null = null;
  /** And its tenant's lane there. */
  primaryLane: Lane | null = null;
  /** The pool that it wants a connection of while it waits for its tenant's turn. */
  wantedPool: object | null = null;
  wantsRead = false;
  tenant: Tenant;
  /** Its tenant's permission for the transaction that runs; null at rest. */
  permit: Lane | null = null;
  /** The server works for it, or it waits for one; false while it thinks inside its transaction. */
  isAtWork = false;
  /** Statements of this permission so far. */
  permitQueries = 0;
  /** Of the statement that begins, then of the segment that runs. */
  fingerprint = NO_FINGERPRINT;
  queueNext: Queued | null = null;
  queuePrevious: Queued | null = null;
  queueClass = -1;
  queueTicket = 0;
  connectedAt: number;
  /** When its last message arrived or its last answer left. */
  activeAt: number;
  queryStartedAt = 0;
  transactionStartedAt = 0;
  /** Text of the statement that runs, for the slow log. */
  lastText = '';
  /** Newest commit it has seen, for read_your_writes. */
  wroteAt = 0n;
  /** EFFECT bits of what keeps it on its server connection. */
  pins = 0;
  replay: Buffer | null = null;

  #segment = NO_FINGERPRINT;
  #isMeasurable = true;
  #workStartedAt = 0;
  #workMs = 0;
  /** Session mode: by a hash of the name. */
  #sessionStatements: Map<number, SessionStatement> | null = null;
  #statements: Map<string, Statement> | null = null;
  #unnamed: Unnamed | null = null;
  #sqlPrepared: Map<string, string> | null = null;
  #recentPrepares: Map<string, string> | null = null;
  /** Whose names a server connection holds; a new one disowns those of before. */
  #sqlOwner: object | null = null;
  #touched = 0;
  #touchedNames: Set<string> | null = null;
  /** Names of custom settings, which pg_settings does not list. */
  #settingNames: Set<string> | null = null;
  /** The one server connection that it has used, as long as nobody else has used it since; null when there is none such any more. */
  #home: ServerConnection | null | undefined = undefined;
  /** Statements begun since it was linked. */
  #begun = 0;
  /** Messages that a replica has refused, until its answer is through. */
  #again: Buffer | null = null;
  #holds = 0;
  /** RARE bits. */
  #rare = 0;
  #positionDue = false;
  #refusal: Fault | null = null;
  #channels: readonly string[] | null = null;
  /** Notifications that came while a LISTEN is taken over: from the server connection, and from the shared listener. */
  #takeOver: { own: Buffer[]; shared: Buffer[] } | null = null;

  /** Null while nothing waits: an idle client keeps no array. */
  #input: Buffer[] | null = null;
  #inputBytes = 0;
  /** Those of them that the host counts, because the client waits. */
  #waitingBytes = 0;
  #inputNeeded = 0;
  #bodyLeft = 0;
  #bodyDropped = false;
  #discardToSync = false;

  constructor(options: ClientOptions) {
    this.id = options.id;
    this.connection = options.connection;
    this.#kind = kindOf(options);
    this.reported = options.reported;
    this.processId = options.processId;
    this.secretKey = options.secretKey;
    this.tenant = options.tenant;
    this.settings = this.#startupSettings();
    this.connectedAt = options.host.now();
    this.activeAt = this.connectedAt;
  }

  get host(): ClientHost {
    return this.#kind.host;
  }

  get user(): string {
    return this.#kind.user;
  }

  get database(): string {
    return this.#kind.database;
  }

  get mode(): PoolMode {
    return this.#kind.mode;
  }

  /** Session mode: everything on the server connection is his. */
  get exclusive(): boolean {
    return this.#kind.exclusive;
  }

  get applicationName(): string {
    return this.#kind.applicationName;
  }

  get startupKey(): string {
    return this.#kind.startupKey;
  }

  get startupParameters(): ReadonlyMap<string, string> {
    return this.#kind.startupParameters;
  }

  get preparedMax(): number {
    return this.#kind.preparedMax;
  }

  get readOnlyPort(): boolean {
    return this.#kind.readOnlyPort;
  }

  // What is rarely true, in one field.

  /** Its server connection stays with it, and is closed with it. */
  get #sticky(): boolean {
    return (this.#rare & RARE.sticky) !== 0;
  }

  set #sticky(on: boolean) {
    this.#rare = on ? this.#rare | RARE.sticky : this.#rare & ~RARE.sticky;
  }

  /** Its sequences' last values are on its server connection, all of them, and nobody else's. */
  get #keepsSequences(): boolean {
    return (this.#rare & RARE.keepsSequences) !== 0;
  }

  set #keepsSequences(on: boolean) {
    this.#rare = on ? this.#rare | RARE.keepsSequences : this.#rare & ~RARE.keepsSequences;
  }

  /** Half a message is with the client, and its rest will never come. */
  get #cutOff(): boolean {
    return (this.#rare & RARE.cutOff) !== 0;
  }

  set #cutOff(on: boolean) {
    this.#rare = on ? this.#rare | RARE.cutOff : this.#rare & ~RARE.cutOff;
  }

  get #hadChannels(): boolean {
    return (this.#rare & RARE.hadChannels) !== 0;
  }

  set #hadChannels(on: boolean) {
    this.#rare = on ? this.#rare | RARE.hadChannels : this.#rare & ~RARE.hadChannels;
  }

  /** The server connection does not listen to what the client listened to before. */
  get #channelsUnheard(): boolean {
    return (this.#rare & RARE.channelsUnheard) !== 0;
  }

  set #channelsUnheard(on: boolean) {
    this.#rare = on ? this.#rare | RARE.channelsUnheard : this.#rare & ~RARE.channelsUnheard;
  }

  /** What it reads now goes to the primary. */
  get #primaryOnly(): boolean {
    return (this.#rare & RARE.primaryOnly) !== 0;
  }

  set #primaryOnly(on: boolean) {
    this.#rare = on ? this.#rare | RARE.primaryOnly : this.#rare & ~RARE.primaryOnly;
  }

  // ConnectionHandler

  data(chunk: Uint8Array): void {
    if (this.state === 'closed') return;
    const { turn } = this.host;
    turn.begin();
    try {
      this.#received(asBuffer(chunk));
    } finally {
      turn.end();
    }
  }

  #received(buffer: Buffer): void {
    this.host.countReceived(this, buffer.length);
    if (this.state === 'ready' && this.#inputBytes === 0) {
      this.#run(buffer);
      return;
    }
    this.#keep(buffer);
    if (this.state !== 'ready') {
      this.#countWaiting();
      return;
    }
    if (this.#inputBytes >= this.#inputNeeded) this.#run(this.#takeInput());
  }

  drain(): void {
    this.server?.connection.resume();
  }

  close(): void {
    if (this.state === 'closed') return;
    this.#gone();
  }

  /** Tells the client why, and closes. */
  fail(fault: unknown): void {
    if (this.state === 'closed') return;
    if (this.server?.midFrame !== true && !this.#cutOff) {
      const writer = new ByteWriter();
      writeError(writer, errorFieldsOf(fault, 'FATAL'));
      this.outbox.push(writer.take());
      this.outbox.flush(this.connection);
    }
    this.connection.end();
    this.#gone();
  }

  #gone(): void {
    const { server } = this;
    const midFrame = this.#bodyLeft > 0 && !this.#bodyDropped;
    const waiting = this.state === 'waiting';
    this.state = 'closed';
    this.server = null;
    this.outbox.clear();
    this.replay = null;
    this.#input = null;
    this.#inputBytes = 0;
    this.#countWaiting();
    if (waiting) this.host.abandon(this);
    this.#forgetStatements();
    if (this.#hadChannels) this.#listenNoMore();
    if (server !== null) {
      if (midFrame) server.doomed ??= 'its client left in the middle of a message';
      if (this.#sticky) server.doomed ??= 'its client left state that cannot be reset';
      if (this.exclusive || this.pins !== 0 || this.#touched !== 0 || this.#holds > 0) server.discardAfter = true;
    }
    this.host.vanished(this, server);
  }

  // What the pool tells.

  granted(server: ServerConnection): void {
    this.state = 'ready';
    if (this.#link(server)) this.#resumeInput();
  }

  /** Its tenant's turn has come. */
  permitted(lane: Lane): void {
    this.permit = lane;
    this.isAtWork = true;
    this.permitQueries = 0;
    this.host.permitted(this);
  }

  permissionRefused(fault: Fault): void {
    this.host.refused(this, fault);
  }

  /** Goes on with the server connection that it has. */
  goOn(): void {
    this.state = 'ready';
    this.#resumeInput();
  }

  waitFailed(fault: Fault): void {
    if (this.permit !== null) this.host.rested(this);
    this.state = 'ready';
    this.#refuse(fault);
    // A connection that it only had at hand (pinned ones stay) is somebody else's turn.
    if (this.server?.quiet === true) this.serverQuiet();
    this.#resumeInput();
  }

  /** Session mode: takes its server connection before the first message. */
  adopt(server: ServerConnection): void {
    this.#link(server);
  }

  /** An administrator's or a timeout's cancel, or a CancelRequest. True when something could be cancelled. */
  cancel(): boolean {
    if (this.state === 'waiting') {
      this.host.abandon(this);
      this.waitFailed(canceled());
      return true;
    }
    if (this.server === null || this.server.ledger.length === 0) return false;
    this.host.cancel(this.server);
    return true;
  }

  /** The first message that waits, by type; for errors that must respect the protocol. */
  #refuse(fault: Fault): void {
    const input = this.#takeInput();
    const type = input[0] ?? FRONTEND.query;
    this.#keep(input);
    const writer = new ByteWriter();
    writeError(writer, errorFieldsOf(fault));
    this.outbox.push(writer.take());
    if (type === FRONTEND.query || type === FRONTEND.functionCall) {
      this.outbox.push(READY_IDLE);
      this.#dropFirst();
    } else this.#discardToSync = true;
    this.outbox.flush(this.connection);
  }

  /** Drops the frame that waits first, of which perhaps only the beginning is here. */
  #dropFirst(): void {
    const input = this.#takeInput();
    const total = readInt32(input, 1) + 1;
    if (input.length >= total) this.#keep(input.subarray(total));
    else {
      this.#bodyLeft = total - input.length;
      this.#bodyDropped = true;
    }
    this.#inputNeeded = 0;
  }

  // Input.

  #keep(buffer: Buffer): void {
    if (buffer.length === 0) return;
    const input = (this.#input ??= []);
    input.push(buffer);
    this.#inputBytes += buffer.length;
    // Merging like sizes keeps a message that comes byte by byte from costing its square.
    while (input.length > 8 && (input.at(-2) as Buffer).length <= 2 * (input.at(-1) as Buffer).length) {
      const last = input.pop() as Buffer;
      input.push(Buffer.concat([input.pop() as Buffer, last]));
    }
  }

  /** A client that waits is read until it has sent enough, or all that wait together have. */
  #countWaiting(): void {
    const { host } = this;
    host.waitingBytes += this.#inputBytes - this.#waitingBytes;
    this.#waitingBytes = this.#inputBytes;
    const isFull = this.#inputBytes > WAITING_BYTES_MAX || host.waitingBytes > host.waitingBytesMax;
    if (isFull && this.#inputBytes > 0) this.connection.pause();
  }

  #takeInput(): Buffer {
    const input = this.#input;
    this.#input = null;
    this.#inputBytes = 0;
    if (this.#waitingBytes !== 0) this.#countWaiting();
    return input === null || input.length === 0
      ? NO_BYTES
      : input.length === 1
        ? (input[0] as Buffer)
        : Buffer.concat(input);
  }

  #resumeInput(): void {
    if (this.state !== 'ready') return;
    if (this.#inputBytes > 0) this.#run(this.#takeInput());
    if ((this.state as ClientState) !== 'closed') this.connection.resume();
  }

  #run(buffer: Buffer): void {
    // Whoever goes on before the answer is there gets it as it comes.
    this.replay = null;
    const { length } = buffer;
    let at = 0;
    let bodyEnded = false;
    if (this.#bodyLeft > 0) {
      at = Math.min(this.#bodyLeft, length);
      this.#bodyLeft -= at;
      if (!this.#bodyDropped) this.server?.outbox.pushRange(buffer, 0, at);
      bodyEnded = this.#bodyLeft === 0;
    }
    while (length - at >= 5) {
      const size = readInt32(buffer, at + 1);
      if (size < 4 || size > FRAME_BYTES_MAX) {
        this.fail(violation(`invalid message length ${size}`));
        return;
      }
      const next = this.#message(buffer, at, size + 1);
      if ((this.state as ClientState) === 'closed') return;
      if (next === INCOMPLETE) break;
      if (next === BLOCKED) {
        this.#inputNeeded = 0;
        (this.#input ??= []).unshift(at === 0 ? buffer : buffer.subarray(at));
        this.#inputBytes += length - at;
        this.#flush();
        const refusal = this.#refusal;
        this.#refusal = null;
        if (refusal !== null) this.waitFailed(refusal);
        else this.#countWaiting();
        return;
      }
      at = next;
    }
    if (at < length) {
      // The rest of an incomplete message; `#message` has set how much it needs when it knows.
      this.#keep(buffer.subarray(at));
      if (length - at < 5) this.#inputNeeded = 5;
    }
    this.#flush();
    const { server } = this;
    if (bodyEnded && server !== null && server.quiet) this.serverQuiet();
  }

  #flush(): void {
    const { server } = this;
    if (server !== null && server.state === 'linked' && !server.outbox.empty) {
      const ok = server.flush();
      if (!ok && server.connection.queuedBytes > SERVER_QUEUE_BYTES_MAX) this.connection.pause();
    }
    if (!this.outbox.empty) this.outbox.flush(this.connection);
  }

  /** The messages `[at, end)` are all there is and only read: should a replica refuse them, the primary gets them. */
  #keepForReplay(server: ServerConnection, buffer: Buffer, at: number, end: number): void {
    // Taking back drops all that has come and is held: never the answers to what was asked before (those the proxy itself gave
    // go out at the end of this turn's input).
    for (let index = 0; index < server.ledger.length; index += 1) {
      if ((server.ledger.kindAt(index) & HIDDEN) === 0) return;
    }
    const isWhole = end === buffer.length && end - at <= REPLAY_BYTES_MAX;
    if (isWhole && server.status === STATUS_IDLE && this.host.isReplica(server)) this.replay = copied(buffer, at, end);
  }

  holdsAnswer(): boolean {
    const { server } = this;
    if (server !== null && server.ledger.length > 0 && this.outbox.bytes <= HELD_ANSWER_BYTES_MAX) return true;
    this.replay = null;
    return false;
  }

  takeBack(): void {
    this.#again = this.replay;
    this.replay = null;
    this.outbox.clear();
    // What comes meanwhile waits behind it.
    this.state = 'linking';
  }

  runAgain(server: ServerConnection): void {
    if (this.state === 'closed' || this.server !== server) return;
    this.server = null;
    // It is given back without waiting, as `serverQuiet` would: a late cancel must not hit somebody else's statement.
    if (server.cancels > 0 || !server.quiet) server.doomed ??= 'a cancel request is under way';
    this.host.release(this, server);
    this.#runTakenBack();
  }

  #runTakenBack(): void {
    const messages = this.#again;
    this.#again = null;
    if (messages === null) return;
    this.host.wasWrite(this.lastText);
    // It has run in two places.
    this.#segment = NO_FINGERPRINT;
    this.#isMeasurable = false;
    this.state = 'ready';
    (this.#input ??= []).unshift(messages);
    this.#inputBytes += messages.length;
    this.#primaryOnly = true;
    this.#resumeInput();
    this.#primaryOnly = false;
  }

  /** Handles the message at `at`. Returns where the next one begins, or BLOCKED, or INCOMPLETE. */
  #message(buffer: Buffer, at: number, total: number): number {
    const type = buffer[at] as number;
    const { server } = this;
    if (this.#discardToSync || server?.skipping === true) {
      if (type !== FRONTEND.sync && type !== FRONTEND.terminate) return this.#drop(buffer, at, total);
    }
    switch (type) {
      case FRONTEND.query:
        return this.#query(buffer, at, total);
      case FRONTEND.parse:
        return this.#parse(buffer, at, total);
      case FRONTEND.bind:
        return this.#bind(buffer, at, total);
      case FRONTEND.describe:
        return this.#describe(buffer, at, total);
      case FRONTEND.execute:
        return this.#extended(buffer, at, total, EXPECT.execute);
      case FRONTEND.close:
        return this.#close(buffer, at, total);
      case FRONTEND.sync:
        return this.#sync(buffer, at, total);
      case FRONTEND.flush:
        if (server === null) return this.#drop(buffer, at, total);
        return this.#pass(server, buffer, at, total);
      case FRONTEND.copyData:
        // Outside a COPY the server would ignore it; a server that is somebody else's must never see it (supavisor #1164).
        if (server === null || (!server.wild && server.ledger.length === 0)) return this.#drop(buffer, at, total);
        return this.#pass(server, buffer, at, total);
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        if (server === null || (!server.wild && server.ledger.length === 0)) return this.#drop(buffer, at, total);
        server.copyEndSent = server.copyIn;
        server.expect(EXPECT.copyEnd, null);
        return this.#pass(server, buffer, at, total);
      case FRONTEND.functionCall: {
        const linked = this.#obtain(false);
        if (linked === null) return BLOCKED;
        this.#begin(linked, '');
        linked.expect(EXPECT.functionCall, null);
        linked.segmentOpen = false;
        return this.#pass(linked, buffer, at, total);
      }
      case FRONTEND.terminate:
        this.connection.end();
        this.#gone();
        return at + total;
      default:
        this.fail(violation(`invalid frontend message type ${type}`));
        return at + total;
    }
  }

  /** Sends the message as it is, as far as it has arrived; the rest follows it. */
  #pass(server: ServerConnection, buffer: Buffer, at: number, total: number): number {
    if (server.ledger.length > LEDGER_ENTRIES_MAX) {
      this.fail(violation(`more than ${LEDGER_ENTRIES_MAX} messages without an answer`));
      return at + total;
    }
    const end = Math.min(at + total, buffer.length);
    server.outbox.pushRange(buffer, at, end);
    return this.#went(at, end, total, false);
  }

  #drop(buffer: Buffer, at: number, total: number): number {
    return this.#went(at, Math.min(at + total, buffer.length), total, true);
  }

  #went(at: number, end: number, total: number, dropped: boolean): number {
    this.#bodyLeft = total - (end - at);
    this.#bodyDropped = dropped;
    return end;
  }

  #incomplete(needed: number): number {
    this.#inputNeeded = needed;
    return INCOMPLETE;
  }

  // Server connections.

  /** The linked server connection, or a new one; null when the client has to wait. */
  #obtain(read: boolean): ServerConnection | null {
    if (this.server !== null)
      return this.permit !== null || this.state !== 'ready' || this.#admitLinked() ? this.server : null;
    const server = this.host.acquire(this, read && !this.#primaryOnly);
    if (server === null) {
      this.state = 'waiting';
      return null;
    }
    if (server instanceof Fault) {
      this.#refusal = server;
      return null;
    }
    return this.#link(server) ? server : null;
  }

  #admitLinked(): boolean {
    const admitted = this.host.admit(this);
    if (admitted === true) return true;
    if (admitted === null) this.state = 'waiting';
    else this.#refusal = admitted;
    return false;
  }

  /** False when the client has to wait for its settings. */
  #link(server: ServerConnection): boolean {
    const now = this.host.now();
    server.link(this, now);
    this.server = server;
    this.transactionStartedAt = now;
    this.#begun = 0;
    if (server.guest !== this.id) {
      // Not its first one, or not its own any more.
      this.#home = this.#home === undefined ? server : null;
      server.guest = this.id;
    }
    if (server.settings.key === this.settings.key) {
      this.#syncReported(server);
      return true;
    }
    const sql = changeSql(server.settings, this.settings);
    const wanted = this.settings;
    const nameOnly = changesOnlyName(server.settings, wanted);
    server.inject(sql, (injected) => this.#settingsApplied(server, wanted, injected, nameOnly));
    // Only the name differs: nothing can go wrong, so the statement goes out in the same write.
    if (nameOnly) return true;
    this.state = 'linking';
    server.flush();
    return false;
  }

  #settingsApplied(server: ServerConnection, wanted: SessionSettings, injected: Injected, nameOnly: boolean): void {
    if (injected.error === null) {
      server.settings = wanted;
    } else server.doomed ??= `settings could not be applied: ${injected.error.message}`;
    if (this.server !== server || this.state === 'closed') return;
    this.#syncReported(server);
    if (nameOnly) {
      this.outbox.flush(this.connection);
      return;
    }
    this.state = 'ready';
    if (injected.error === null) {
      this.#resumeInput();
      return;
    }
    const fields = injected.error;
    this.server = null;
    this.host.release(this, server);
    const writer = new ByteWriter();
    writeError(writer, { ...fields, severity: 'FATAL' });
    this.outbox.push(writer.take());
    this.outbox.flush(this.connection);
    this.connection.end();
    this.#gone();
  }

  #syncReported(server: ServerConnection): void {
    if (this.reported === server.reported) return;
    const writer = new ByteWriter();
    writeReportedChanges(writer, this.reported, server.reported);
    this.reported = server.reported;
    server.sayBetween(writer.take());
  }

  // currval and lastval: answered from the client's own nextval, or with Postgres' own 55000, and not from another client's.

  /** Before a server connection is asked for: back to the one where its sequences are, if nobody has used it since. */
  #goHome(scan: Scan): void {
    if ((scan.effects & EFFECT.sequences) === 0 || this.server !== null) return;
    const home = this.#home;
    if (home === null || home === undefined || home.guest !== this.id || home.state !== 'idle') return;
    if (this.host.reclaim(home)) this.#link(home);
  }

  #guardSequences(server: ServerConnection, scan: Scan): void {
    if (this.#keepsSequences || (scan.effects & EFFECT.sequences) === 0) return;
    // Behind a statement of the same transaction that may have called nextval it is that one's value.
    const behind = this.#begun > 1 || (this.#begun === 1 && !NO_NEXTVAL.test(this.lastText));
    if (behind && server.status !== STATUS_IDLE) return;
    server.owner.keepsSequences = true;
    this.#keepSequences(server);
  }

  #mayHaveSequences(server: ServerConnection, text: string): void {
    if (!NO_NEXTVAL.test(text) && !this.host.isRead(text)) this.#keepSequences(server);
  }

  /** From now on it stays on this server connection, where nothing of anybody else's sequences is left. */
  #keepSequences(server: ServerConnection): void {
    if (this.#home !== server) {
      // In the middle of a segment no query of ours may come between.
      if (server.segmentOpen || server.status === STATUS_FAILED) return;
      this.#injectQuietly(server, 'DISCARD SEQUENCES');
    }
    this.#keepsSequences = true;
    this.#sticky = true;
  }

  /** A statement starts. */
  #begin(server: ServerConnection, text: string): void {
    this.#begun += 1;
    if (server.owner.keepsSequences && !this.#keepsSequences && !this.exclusive) this.#mayHaveSequences(server, text);
    if (this.queryStartedAt === 0) {
      this.queryStartedAt = this.host.now();
      this.#workMs = 0;
      this.#works(this.queryStartedAt);
    } else if (this.#workStartedAt === 0) this.#works(this.host.now());
    this.lastText = text;
    this.#positionDue = true;
    server.queryStartedAt = this.queryStartedAt;
  }

  #works(now: number): void {
    this.#workStartedAt = now;
    if (this.permit === null || this.isAtWork) return;
    this.isAtWork = true;
    this.permit.goOn(now);
  }

  /** Something runs: a query, or a Bind, whose Execute follows. */
  #runs(server: ServerConnection, fingerprint: number): void {
    if (this.#segment === NO_FINGERPRINT) this.#segment = fingerprint;
    else if (server.segmentOpen) this.#segment = combined(this.#segment, fingerprint);
    // The next segment of a pipeline: when the server begins with it is not seen.
    else this.#isMeasurable = false;
  }

  #touch(scan: Scan): void {
    if (scan.effects === 0) return;
    if (scan.effects === EFFECT.releases && this.pins === 0) return;
    this.#touched |= scan.effects;
    if ((scan.effects & EFFECT.sticky) !== 0) this.#sticky = true;
    for (const name of scan.settings) (this.#touchedNames ??= new Set()).add(name);
    if (scan.prepares !== null) {
      this.#recentPrepares ??= new Map();
      for (const [name, text] of scan.prepares) this.#recentPrepares.set(name, text);
    }
  }

  // Messages.

  #query(buffer: Buffer, at: number, total: number): number {
    const whole = buffer.length - at >= total;
    this.fingerprint = fingerprintOf(buffer, at + 5, Math.min(at + total - 1, buffer.length));
    if (this.exclusive) {
      const server = this.#obtain(false);
      if (server === null) return BLOCKED;
      this.#begin(server, whole && total < 2000 ? buffer.toString('utf8', at + 5, at + total - 1) : '');
      return this.#passQuery(server, buffer, at, total);
    }
    if (!whole && total <= SCAN_BYTES_MAX) return this.#incomplete(total);
    const text = whole && total <= SCAN_BYTES_MAX ? buffer.toString('utf8', at + 5, at + total - 1) : '';
    const scan = whole && total <= SCAN_BYTES_MAX ? scanStatement(text) : UNKNOWN_EFFECTS;
    if (scan.special !== null) {
      if (this.#special(scan)) return at + total;
    }
    this.#goHome(scan);
    const read = this.host.splitsReads(this) && scan.effects === 0 && text !== '' && this.host.isRead(text);
    const server = this.#obtain(read);
    if (server === null || this.state !== 'ready') return BLOCKED;
    this.#guardSequences(server, scan);
    this.#begin(server, text);
    if (read) this.#keepForReplay(server, buffer, at, at + total);
    this.#touch(scan);
    this.#materialiseFor(server, scan);
    if (scan.special?.tag === 'deallocate' && server.status !== STATUS_FAILED)
      this.#dropName(server, scan.special.name);
    this.#unnamed = null;
    server.unnamed = null;
    return this.#passQuery(server, buffer, at, total);
  }

  /** DEALLOCATE goes to the server, because answers are outstanding there, although the name is the proxy's: it was made there for it. */
  #dropName(server: ServerConnection, name: string): void {
    const statement = this.#statements?.get(name);
    if (statement === undefined) return;
    this.#statements?.delete(name);
    this.host.statements.release(statement);
    server.sqlPrepared.delete(name);
  }

  #passQuery(server: ServerConnection, buffer: Buffer, at: number, total: number): number {
    this.#runs(server, this.fingerprint);
    server.expect(EXPECT.query, null);
    server.segmentOpen = false;
    return this.#pass(server, buffer, at, total);
  }

  /** DISCARD ALL, DEALLOCATE: where the names are the proxy's, the proxy answers. True when it did. */
  #special(scan: Scan): boolean {
    const { special } = scan;
    const { server } = this;
    // With answers outstanding the transaction's state is not known here: the server decides, and is not used again.
    if (special === null || (server !== null && (server.ledger.length > 0 || server.status === STATUS_FAILED))) {
      if (special !== null && special.tag !== 'deallocate') this.#touched |= EFFECT.forgets;
      return false;
    }
    switch (special.tag) {
      case 'discardAll':
        if (server !== null) {
          this.#touched |= EFFECT.forgets;
          return false;
        }
        this.#reset();
        return this.#answer('DISCARD ALL', STATUS_IDLE);
      case 'deallocateAll':
        this.#forgetStatements();
        this.#sqlPrepared = null;
        this.#sqlOwner = null;
        return this.#answer('DEALLOCATE ALL', server?.status ?? STATUS_IDLE);
      case 'deallocate': {
        const statement = this.#statements?.get(special.name);
        if (statement === undefined) return false;
        this.#statements?.delete(special.name);
        this.#sqlOwner = null;
        this.host.statements.release(statement);
        return this.#answer('DEALLOCATE', server?.status ?? STATUS_IDLE);
      }
    }
  }

  #answer(tag: string, status: number): true {
    const writer = new ByteWriter();
    writeCommandComplete(writer, tag);
    writeReadyForQuery(writer, String.fromCharCode(status) as 'I');
    this.outbox.push(writer.take());
    return true;
  }

  #reset(): void {
    this.#forgetStatements();
    this.#unnamed = null;
    this.#sqlPrepared = null;
    this.#sqlOwner = null;
    this.#settingNames = null;
    this.settings = this.#startupSettings();
    if (this.#hadChannels) {
      this.#hadChannels = false;
      this.#listenNoMore();
    }
  }

  /** The primary may be away just now; the listener forgets the channels at once and has the rest right when it is back. */
  #listenNoMore(): void {
    this.host.listen(this, []).catch(() => {});
  }

  #startupSettings(): SessionSettings {
    return this.applicationName === ''
      ? NO_SETTINGS
      : settingsOf(new Map([['application_name', this.applicationName]]));
  }

  #parse(buffer: Buffer, at: number, total: number): number {
    if (this.exclusive) {
      this.#noteParse(buffer, at, total);
      return this.#extended(buffer, at, total, EXPECT.parse);
    }
    const end = at + total;
    if (buffer.length < end) return this.#incomplete(total);
    const nameEnd = buffer.indexOf(0, at + 5);
    const textEnd = nameEnd === -1 ? -1 : buffer.indexOf(0, nameEnd + 1);
    if (textEnd === -1 || textEnd + 3 > end) return this.#malformed(end);
    const text = buffer.toString('utf8', nameEnd + 1, textEnd);
    if (nameEnd === at + 5) return this.#parseUnnamed(buffer, at, end, text);
    const name = buffer.toString('utf8', at + 5, nameEnd);
    const body = buffer.subarray(nameEnd + 1, end);
    const isTaken = this.#statements?.has(name) === true;
    if (this.server === null && !isTaken && this.#parseKnown(name, body)) return end;
    const scan = scanStatement(text);
    this.#goHome(scan);
    this.fingerprint = fingerprintOf(buffer, nameEnd + 1, textEnd);
    const server = this.#obtain(false);
    if (server === null || this.state !== 'ready') return BLOCKED;
    this.#guardSequences(server, scan);
    this.#begin(server, text);
    server.segmentOpen = true;
    if (isTaken) {
      this.#parseDuplicate(server, name);
      server.expect(EXPECT.parse, null);
      return this.#pass(server, buffer, at, total);
    }
    this.#statements ??= new Map();
    if (this.#statements.size >= CLIENT_STATEMENTS_MAX) {
      this.fail(violation(`more than ${CLIENT_STATEMENTS_MAX} prepared statements`));
      return end;
    }
    const statement = this.host.statements.intern(body, textEnd - nameEnd - 1, this.settings.context);
    this.host.statements.hold(statement);
    this.#statements.set(name, statement);
    const known = server.prepared.has(statement);
    if (known && (server.status !== STATUS_FAILED || TRANSACTION_EXIT.test(text))) {
      const undo: Owed = { tag: 'parse', client: this, name, previous: null, statement, sent: false };
      server.answerInTurn(PARSE_COMPLETE, undo);
      return end;
    }
    this.#prepareOn(server, statement, { tag: 'parse', client: this, name, previous: null, statement, sent: true }, 0);
    return end;
  }

  /**
   * A statement that a server has accepted before needs none now: what is wrong with it would be told at Bind. It also
   * spares single-threaded clients (pgbench) from waiting in Parse for a connection that their own transactions hold.
   */
  #parseKnown(name: string, body: Buffer): boolean {
    const statement = this.host.statements.find(body, this.settings.context);
    if (statement?.proven !== true || (this.#statements?.size ?? 0) >= CLIENT_STATEMENTS_MAX) return false;
    this.host.statements.hold(statement);
    (this.#statements ??= new Map()).set(name, statement);
    this.outbox.push(PARSE_COMPLETE);
    return true;
  }

  #parseUnnamed(buffer: Buffer, at: number, end: number, text: string): number {
    const scan = scanStatement(text);
    // The name is empty: the text begins after its zero, and ends at the next.
    const fingerprint = fingerprintOf(buffer, at + 6, buffer.indexOf(0, at + 6));
    this.fingerprint = fingerprint;
    const read = this.host.splitsReads(this) && scan.effects === 0 && this.host.isRead(text);
    const reads = read && this.#wholeSegmentReads(buffer, end);
    this.#goHome(scan);
    const server = this.#obtain(reads);
    if (server === null || this.state !== 'ready') return BLOCKED;
    this.#guardSequences(server, scan);
    this.#begin(server, text);
    if (reads && !server.segmentOpen) this.#keepForReplay(server, buffer, at, this.#segmentEnd(buffer, end));
    const isOurs = scan.special?.tag === 'deallocate' && this.#statements?.has(scan.special.name) === true;
    if (!isOurs) this.#materialiseFor(server, scan);
    server.segmentOpen = true;
    let message: Buffer | null = null;
    if (isOurs && scan.special?.tag === 'deallocate') {
      // The name is ours, not the server's: let it drop an empty statement that is made for the purpose.
      this.#deallocateByMessage(server, scan.special.name);
      message = DEALLOCATE_STUB;
    }
    const unnamed: Unnamed = { message: message ?? copied(buffer, at, end), scan, read, fingerprint };
    this.#unnamed = unnamed;
    server.unnamed = unnamed;
    if (message === null) server.outbox.pushRange(buffer, at, end);
    else server.outbox.push(message);
    server.expect(EXPECT.parse, {
      tag: 'parse',
      client: this,
      name: null,
      previous: null,
      statement: null,
      sent: true,
    });
    return end;
  }

  #deallocateByMessage(server: ServerConnection, name: string): void {
    const statement = this.#statements?.get(name) as Statement;
    this.#statements?.delete(name);
    this.#sqlOwner = null;
    this.host.statements.release(statement);
    server.outbox.push(CLOSE_STUB);
    server.expect(EXPECT.close | HIDDEN, null);
    server.outbox.push(PARSE_STUB);
    server.expect(EXPECT.parse | HIDDEN, null);
  }

  /** A name that the client uses already: the server finds out by itself, in its own words, when it knows the name too. */
  #parseDuplicate(server: ServerConnection, name: string): void {
    const writer = new ByteWriter();
    const mark = writer.beginMessage(FRONTEND.parse);
    writer.cString(name);
    writer.cString('');
    writer.int16(0);
    writer.endMessage(mark);
    server.outbox.push(writer.take());
    server.expect(EXPECT.parse | HIDDEN, null);
    server.sqlPrepared.set(name, '');
    server.sqlOwner = null;
  }

  /** Sends Parse for a statement that this server connection does not have; makes room first. */
  #prepareOn(server: ServerConnection, statement: Statement, owed: Owed, hidden: number): void {
    while (server.prepared.size >= this.preparedMax) {
      const oldest = server.prepared.keys().next().value as Statement;
      const writer = new ByteWriter();
      const mark = writer.beginMessage(FRONTEND.close);
      writer.byte(0x53);
      writer.cString(oldest.name);
      writer.endMessage(mark);
      server.outbox.push(writer.take());
      server.expect(EXPECT.close | HIDDEN, null);
      server.forget(oldest);
    }
    this.host.statements.hold(statement);
    server.prepared.set(statement, true);
    server.outbox.push(statement.parseMessage());
    server.expect(EXPECT.parse | hidden, owed);
  }

  /** The server connection has the statement when this returns, or will answer with the reason why not. */
  #ensurePrepared(server: ServerConnection, statement: Statement): void {
    if (!server.prepared.has(statement)) {
      const owed: Owed = { tag: 'parse', client: this, name: null, previous: null, statement, sent: true };
      this.#prepareOn(server, statement, owed, HIDDEN);
    } else if (server.prepared.size * 2 > this.preparedMax) {
      server.prepared.delete(statement);
      server.prepared.set(statement, true);
    }
  }

  #bind(buffer: Buffer, at: number, total: number): number {
    if (this.exclusive) return this.#bindExclusive(buffer, at, total);
    const limit = Math.min(at + total, buffer.length);
    const portalEnd = buffer.indexOf(0, at + 5);
    const nameEnd = portalEnd === -1 ? -1 : buffer.indexOf(0, portalEnd + 1);
    if (nameEnd === -1 || nameEnd >= limit) {
      if (limit - at > NAME_BYTES_MAX || limit === at + total) return this.#malformed(at + total);
      return this.#incomplete(Math.min(total, limit - at + 1));
    }
    const name = nameEnd === portalEnd + 1 ? '' : buffer.toString('utf8', portalEnd + 1, nameEnd);
    const statement = name === '' ? undefined : this.#statements?.get(name);
    this.fingerprint = (name === '' ? this.#unnamed?.fingerprint : statement?.fingerprint) ?? NO_FINGERPRINT;
    const read = statement !== undefined && this.host.splitsReads(this) && this.#isReadStatement(statement);
    const reads = read && this.#wholeSegmentReads(buffer, at + total);
    const scan = statement?.scan ?? (name === '' ? this.#unnamed?.scan : undefined);
    if (scan !== undefined) this.#goHome(scan);
    const server = this.#obtain(reads);
    if (server === null || this.state !== 'ready') return BLOCKED;
    if (reads && !server.segmentOpen) this.#keepForReplay(server, buffer, at, this.#segmentEnd(buffer, at + total));
    if (scan !== undefined) {
      this.#guardSequences(server, scan);
      this.#materialiseFor(server, scan);
    }
    if (statement === undefined && name !== '' && !server.segmentOpen) this.#materialiseNames(server, [name]);
    this.#runs(server, this.fingerprint);
    server.segmentOpen = true;
    if (name === '') {
      this.#begin(server, this.lastText);
      this.#ensureUnnamed(server);
      server.expect(EXPECT.bind, null);
      return this.#pass(server, buffer, at, total);
    }
    if (statement === undefined) {
      server.expect(EXPECT.bind, null);
      return this.#pass(server, buffer, at, total);
    }
    this.#begin(server, statement.text);
    this.#ensurePrepared(server, statement);
    this.#touch(statement.scan);
    server.expect(EXPECT.bind, null);
    const head = renamed(buffer, at, portalEnd + 1, statement.name, total - (nameEnd - portalEnd - 1));
    server.outbox.push(head);
    server.outbox.pushRange(buffer, nameEnd, limit);
    return this.#went(at, limit, total, false);
  }

  /** Session mode: statements are the server's own, and only noted here to know what runs. */
  #noteParse(buffer: Buffer, at: number, total: number): void {
    const end = Math.min(at + total, buffer.length);
    const nameEnd = buffer.indexOf(0, at + 5);
    if (nameEnd === -1 || nameEnd >= end) return;
    const found = buffer.indexOf(0, nameEnd + 1);
    const textEnd = found === -1 || found > end ? end : found;
    const fingerprint = fingerprintOf(buffer, nameEnd + 1, textEnd);
    const text = textEnd - nameEnd < 2000 ? buffer.toString('utf8', nameEnd + 1, textEnd) : '';
    const statements = (this.#sessionStatements ??= new Map());
    if (statements.size >= SESSION_STATEMENTS_MAX) statements.clear();
    statements.set(fingerprintOf(buffer, at + 5, nameEnd), { fingerprint, text });
    this.fingerprint = fingerprint;
  }

  #bindExclusive(buffer: Buffer, at: number, total: number): number {
    const portalEnd = buffer.indexOf(0, at + 5);
    const nameEnd = portalEnd === -1 ? -1 : buffer.indexOf(0, portalEnd + 1);
    const known =
      nameEnd === -1 ? undefined : this.#sessionStatements?.get(fingerprintOf(buffer, portalEnd + 1, nameEnd));
    this.fingerprint = known?.fingerprint ?? NO_FINGERPRINT;
    const server = this.#obtain(false);
    if (server === null) return BLOCKED;
    if (known !== undefined) this.lastText = known.text;
    this.#runs(server, this.fingerprint);
    return this.#extended(buffer, at, total, EXPECT.bind);
  }

  #isReadStatement(statement: Statement): boolean {
    return statement.scan.effects === 0 && this.host.isRead(statement.text);
  }

  /** Where the Sync that follows ends; it is known to be here. */
  #segmentEnd(buffer: Buffer, from: number): number {
    let at = from;
    while (buffer[at] !== FRONTEND.sync) at += readInt32(buffer, at + 1) + 1;
    return at + 5;
  }

  /** Whether all that follows up to Sync is here and only reads, so that the segment may go to a replica. */
  #wholeSegmentReads(buffer: Buffer, from: number): boolean {
    let at = from;
    while (buffer.length - at >= 5) {
      const total = readInt32(buffer, at + 1) + 1;
      if (total < 5 || buffer.length - at < total) return false;
      const type = buffer[at];
      if (type === FRONTEND.sync) return true;
      if (type === FRONTEND.bind) {
        const portalEnd = buffer.indexOf(0, at + 5);
        const nameEnd = buffer.indexOf(0, portalEnd + 1);
        const name = buffer.toString('utf8', portalEnd + 1, nameEnd);
        const statement = this.#statements?.get(name);
        if (name !== '' && (statement === undefined || !this.#isReadStatement(statement))) return false;
      } else if (type === FRONTEND.parse) {
        const nameEnd = buffer.indexOf(0, at + 5);
        const text = buffer.toString('utf8', nameEnd + 1, buffer.indexOf(0, nameEnd + 1));
        if (scanStatement(text) !== NO_EFFECTS || !this.host.isRead(text)) return false;
      } else if (type !== FRONTEND.describe && type !== FRONTEND.execute && type !== FRONTEND.flush) return false;
      at += total;
    }
    return false;
  }

  /** The unnamed statement lives in the session; it may have been parsed on another server connection (pgdog #574). */
  #ensureUnnamed(server: ServerConnection): void {
    const unnamed = this.#unnamed;
    if (unnamed !== null) this.#touch(unnamed.scan);
    if (server.unnamed === unnamed) return;
    if (unnamed === null) {
      server.outbox.push(CLOSE_UNNAMED);
      server.expect(EXPECT.close | HIDDEN, null);
    } else {
      server.outbox.push(unnamed.message);
      server.expect(EXPECT.parse | HIDDEN, null);
    }
    server.unnamed = unnamed;
  }

  #describe(buffer: Buffer, at: number, total: number): number {
    if (buffer.length - at < Math.min(total, NAME_BYTES_MAX)) return this.#incomplete(total);
    const end = at + total;
    if (total < 7 || buffer.length < end || buffer[end - 1] !== 0) return this.#malformed(end);
    const server = this.#obtain(false);
    if (server === null || this.state !== 'ready') return BLOCKED;
    const wasOpen = server.segmentOpen;
    server.segmentOpen = true;
    const isStatement = buffer[at + 5] === 0x53;
    const kind = isStatement ? EXPECT.describeStatement : EXPECT.describePortal;
    if (this.exclusive || !isStatement) {
      server.expect(kind, null);
      return this.#pass(server, buffer, at, total);
    }
    const name = buffer.toString('utf8', at + 6, end - 1);
    const statement = name === '' ? undefined : this.#statements?.get(name);
    if (statement === undefined) {
      if (name === '') this.#ensureUnnamed(server);
      else if (!wasOpen) this.#materialiseNames(server, [name]);
      server.expect(kind, null);
      return this.#pass(server, buffer, at, total);
    }
    this.#begin(server, statement.text);
    this.#ensurePrepared(server, statement);
    server.expect(kind, null);
    server.outbox.push(renamed(buffer, at, at + 6, statement.name, total - (end - 1 - (at + 6))));
    server.outbox.push(ZERO);
    return end;
  }

  #close(buffer: Buffer, at: number, total: number): number {
    if (buffer.length - at < Math.min(total, NAME_BYTES_MAX)) return this.#incomplete(total);
    const end = at + total;
    if (total < 7 || buffer.length < end || buffer[end - 1] !== 0) return this.#malformed(end);
    if (this.exclusive || buffer[at + 5] !== 0x53) return this.#extended(buffer, at, total, EXPECT.close);
    const name = buffer.toString('utf8', at + 6, end - 1);
    const { server } = this;
    if (name === '') {
      this.#unnamed = null;
      if (server !== null) {
        server.unnamed = null;
        return this.#extended(buffer, at, total, EXPECT.close);
      }
      this.outbox.push(CLOSE_COMPLETE);
      return end;
    }
    const previous = this.#statements?.get(name) ?? null;
    if (previous === null && this.#sqlPrepared?.has(name) === true) {
      const linked = this.#obtain(false);
      if (linked === null || this.state !== 'ready') return BLOCKED;
      this.#materialiseNames(linked, [name]);
      this.#touched |= EFFECT.prepared;
      return this.#extended(buffer, at, total, EXPECT.close);
    }
    if (previous !== null) this.#statements?.delete(name);
    if (server === null) {
      if (previous !== null) this.host.statements.release(previous);
      this.outbox.push(CLOSE_COMPLETE);
      return end;
    }
    server.answerInTurn(CLOSE_COMPLETE, { tag: 'close', client: this, name, previous });
    // What may have to be undone keeps its holder until it is known; the registry forgets it with the last holder.
    if (previous !== null) this.host.statements.release(previous);
    return end;
  }

  #extended(buffer: Buffer, at: number, total: number, kind: number): number {
    const server = this.#obtain(false);
    if (server === null || this.state !== 'ready') return BLOCKED;
    this.#begin(server, this.lastText);
    server.segmentOpen = true;
    server.expect(kind, null);
    return this.#pass(server, buffer, at, total);
  }

  #sync(buffer: Buffer, at: number, total: number): number {
    if (total !== 5) return this.#malformed(at + total);
    const { server } = this;
    if (server === null) {
      this.#discardToSync = false;
      this.outbox.push(READY_IDLE);
      return at + total;
    }
    this.#discardToSync = false;
    if (server.copyIn && !server.copyEndSent) {
      server.ignoredSync();
      return this.#pass(server, buffer, at, total);
    }
    server.segmentOpen = false;
    server.skipping = false;
    server.expect(EXPECT.sync, null);
    return this.#pass(server, buffer, at, total);
  }

  #malformed(end: number): number {
    this.fail(violation('invalid message format'));
    return end;
  }

  #forgetStatements(): void {
    if (this.#statements === null) return;
    for (const statement of this.#statements.values()) this.host.statements.release(statement);
    this.#statements = null;
  }

  get statementCount(): number {
    return this.#statements?.size ?? 0;
  }

  // SQL-level PREPARE: the texts are the client's, the server connection gets those that a statement needs.

  /** Before a statement that needs them: the client's names and channels on this server connection. */
  #materialiseFor(server: ServerConnection, scan: Scan): void {
    if ((scan.effects & (EFFECT.prepared | EFFECT.channels)) === 0) return;
    if ((scan.effects & EFFECT.channels) !== 0) this.#materialiseChannels(server);
    // In the middle of a segment no query of ours may come between.
    if ((scan.effects & EFFECT.prepared) !== 0 && !server.segmentOpen) this.#materialise(server, scan);
  }

  #materialise(server: ServerConnection, scan: Scan): void {
    const names = [...scan.executes];
    if (scan.special?.tag === 'deallocate') names.push(scan.special.name);
    if (scan.prepares !== null) names.push(...scan.prepares.keys());
    this.#materialiseNames(server, names);
  }

  #materialiseNames(server: ServerConnection, names: readonly string[]): void {
    const owner = (this.#sqlOwner ??= {});
    if (server.sqlOwner !== owner) {
      for (const name of server.sqlPrepared.keys()) this.#injectQuietly(server, `DEALLOCATE ${quoteIdentifier(name)}`);
      server.sqlPrepared.clear();
      server.sqlOwner = owner;
    }
    for (const name of names) {
      const text = this.#sqlPrepared?.get(name);
      if (text !== undefined && server.sqlPrepared.get(name) !== text) {
        if (server.sqlPrepared.has(name)) this.#injectQuietly(server, `DEALLOCATE ${quoteIdentifier(name)}`);
        this.#injectQuietly(server, text);
        server.sqlPrepared.set(name, text);
        continue;
      }
      const statement = this.#statements?.get(name);
      if (statement !== undefined && !server.sqlPrepared.has(name)) {
        // EXECUTE of a statement that was prepared by message.
        server.outbox.push(statement.parseMessage(name));
        server.expect(EXPECT.parse | HIDDEN, null);
        server.sqlPrepared.set(name, '');
      }
    }
  }

  #injectQuietly(server: ServerConnection, sql: string): void {
    server.inject(sql, () => {});
  }

  /** LISTEN and UNLISTEN act on the client's whole set of channels, which the shared listener has. */
  #materialiseChannels(server: ServerConnection): void {
    if (server.listens) return;
    server.listens = true;
    this.#takeOver ??= { own: [], shared: [] };
    if (server.segmentOpen) {
      this.#channelsUnheard = true;
      return;
    }
    const channels = this.#channels ?? [];
    for (const channel of channels) this.#injectQuietly(server, `LISTEN ${quoteIdentifier(channel)}`);
  }

  // LinkedClient: what the server connection tells.

  undo(owed: Owed): void {
    if (owed.tag === 'parse' && owed.name === null && owed.statement === null) this.#unnamed = null;
    else if (owed.tag === 'parse' && owed.name !== null && owed.statement !== null) {
      if (this.#statements?.get(owed.name) === owed.statement) {
        this.#statements.delete(owed.name);
        this.host.statements.release(owed.statement);
      }
    } else if (owed.tag === 'close' && owed.previous !== null) {
      (this.#statements ??= new Map()).set(owed.name, owed.previous);
      this.host.statements.hold(owed.previous);
    }
  }

  queryDone(status: number): void {
    const { server } = this;
    if (server === null) return;
    const now = this.host.now();
    this.activeAt = now;
    this.host.queryDone(this, server, this.#workMs + (this.#workStartedAt === 0 ? 0 : now - this.#workStartedAt));
    this.#segment = NO_FINGERPRINT;
    this.#workMs = 0;
    if (server.ledger.length > 0) {
      // More of the pipeline runs from here on.
      this.queryStartedAt = now;
      this.#workStartedAt = now;
    } else {
      this.queryStartedAt = 0;
      this.#workStartedAt = 0;
      this.#isMeasurable = true;
      if (status !== STATUS_IDLE) this.#thinks(now);
    }
    if (this.mode === 'statement' && status !== STATUS_IDLE) this.fail(statementMode());
  }

  /** What runs, when its time says something about the server; NO_FINGERPRINT when not. */
  get measuredFingerprint(): number {
    return this.#isMeasurable ? this.#segment : NO_FINGERPRINT;
  }

  notMeasurable(): void {
    this.#isMeasurable = false;
  }

  serverPaused(): void {
    if (this.#workStartedAt === 0) return;
    const now = this.host.now();
    this.#workMs += now - this.#workStartedAt;
    this.#workStartedAt = 0;
    this.#thinks(now);
  }

  /** It is the client's turn, inside its transaction. */
  #thinks(now: number): void {
    if (this.permit === null || !this.isAtWork) return;
    this.isAtWork = false;
    this.permit.rest(now);
  }

  serverQuiet(): void {
    const { server } = this;
    if (server === null || this.state !== 'ready') return;
    if (this.exclusive) {
      if (this.permit !== null) this.host.rested(this);
      return;
    }
    if (this.#holds > 0 || server.cancels > 0 || (this.#bodyLeft > 0 && !this.#bodyDropped)) return;
    let asked = this.#touched & HARVESTED;
    if ((this.#touched & EFFECT.forgets) !== 0) this.#forgotten(server);
    if ((this.#touched & (EFFECT.releases | EFFECT.forgets)) !== 0) asked |= this.pins;
    this.#touched = 0;
    if (asked !== 0) {
      this.#harvest(server, asked);
      return;
    }
    if (this.#positionDue && this.host.tracksWrites(this, server)) {
      this.#askPosition(server);
      return;
    }
    if (this.pins !== 0 || this.#sticky) {
      if (this.permit !== null) this.host.rested(this);
      return;
    }
    this.server = null;
    this.host.release(this, server);
  }

  /** Where the log stood after the client's transaction: a replica that has replayed it shows what the client wrote. */
  #askPosition(server: ServerConnection): void {
    this.#positionDue = false;
    this.#holds += 1;
    server.inject('SELECT pg_catalog.pg_current_wal_insert_lsn()', (injected) => {
      this.#holds -= 1;
      const text = injected.results[0]?.[0]?.[0];
      // Not known: only the primary is sure to have it.
      this.wroteAt = text === null || text === undefined ? LSN_UNKNOWN : parseLsn(text);
      if (this.state !== 'closed' && this.server === server) this.#quietAgain(server);
    });
    server.flush();
  }

  /** The server connection has lost its prepared statements (DISCARD ALL and the like ran there). */
  #forgotten(server: ServerConnection): void {
    server.forgetAllStatements();
    server.sqlPrepared.clear();
    server.doomed ??= 'its session was discarded';
    this.#forgetStatements();
    this.#sqlPrepared = null;
  }

  #harvest(server: ServerConnection, asked: number): void {
    const names = new Set([...(this.#touchedNames ?? []), ...(this.#settingNames ?? [])]);
    const prepares = this.#recentPrepares;
    this.#touchedNames = null;
    this.#recentPrepares = null;
    this.#holds += 1;
    server.inject(harvestSql(asked, [...names]), (injected) => {
      this.#holds -= 1;
      if (this.state === 'closed' || this.server !== server) return;
      this.#harvested(server, asked, injected, names, prepares);
    });
    server.flush();
  }

  #harvested(
    server: ServerConnection,
    asked: number,
    injected: Injected,
    names: Set<string>,
    prepares: Map<string, string> | null,
  ): void {
    if (injected.error !== null) {
      // Not known what is left: it stays with its client and is closed afterwards.
      this.#sticky = true;
      return;
    }
    const found = readHarvest(asked, injected.results);
    this.pins = (this.pins & ~(asked & PINNING)) | found.pins;
    if (found.settings !== null) this.#settingsFound(server, found.settings, names);
    if (found.preparedNames !== null) this.#preparedFound(server, new Set(found.preparedNames), prepares);
    if (found.channels !== null && server.listens) this.#takeOverChannels(server, found.channels);
    else this.#quietAgain(server);
  }

  #settingsFound(server: ServerConnection, settings: SessionSettings, names: Set<string>): void {
    server.settings = settings;
    this.#settingNames = names.size === 0 ? null : names;
    // RESET and DISCARD go back to what the client started with, which for the name is not the server's startup parameter.
    if (this.applicationName !== '' && !settings.values.has('application_name')) {
      this.settings = settingsOf(new Map([...settings.values, ['application_name', this.applicationName]]));
    } else this.settings = settings;
  }

  #preparedFound(server: ServerConnection, present: Set<string>, prepares: Map<string, string> | null): void {
    for (const name of new Set([...server.sqlPrepared.keys(), ...(prepares?.keys() ?? [])])) {
      const text = prepares?.get(name);
      if (present.has(name)) {
        const known = text ?? server.sqlPrepared.get(name) ?? '';
        server.sqlPrepared.set(name, known);
        if (known !== '') (this.#sqlPrepared ??= new Map()).set(name, known);
      } else if (server.sqlPrepared.get(name) !== '') {
        // Prepared by message under this name ('') does not count as SQL, and is still there.
        server.sqlPrepared.delete(name);
        this.#sqlPrepared?.delete(name);
      }
    }
  }

  /** The shared listener listens first, only then the server connection stops: nothing is lost, and what both heard is told once. */
  #takeOverChannels(server: ServerConnection, found: readonly string[]): void {
    let channels = found;
    if (this.#channelsUnheard) {
      // The server connection did not listen to what the client had before.
      this.#channelsUnheard = false;
      channels = [...new Set([...channels, ...(this.#channels ?? [])])];
    }
    this.#channels = channels.length === 0 ? null : channels;
    this.#hadChannels = channels.length > 0;
    this.#takeOver ??= { own: [], shared: [] };
    this.#holds += 1;
    const ended = (): void => {
      if (this.state === 'closed' || this.server !== server) {
        this.#holds -= 1;
        return;
      }
      if (!server.quiet) {
        // The client went on meanwhile; inside its transaction UNLISTEN would undo a LISTEN of its own. Later, then.
        this.#holds -= 1;
        this.#touched |= EFFECT.channels;
        return;
      }
      server.inject('UNLISTEN *', (injected) => {
        this.#holds -= 1;
        if (injected.error !== null) server.doomed ??= 'UNLISTEN failed';
        if (this.state === 'closed' || this.server !== server) return;
        server.listens = false;
        // What this connection heard last may still be on its way to the shared listener, and is told once.
        const ends = (): void => this.#takeOverEnds();
        this.host.heardAll(this).then(ends, ends);
        this.#quietAgain(server);
      });
      server.flush();
    };
    this.host.listen(this, channels).then(ended, () => {
      server.doomed ??= 'the shared listener failed';
      this.#sticky = true;
      ended();
    });
  }

  #takeOverEnds(): void {
    const takeOver = this.#takeOver;
    this.#takeOver = null;
    if (takeOver === null || this.state === 'closed') return;
    for (const notification of takeOver.shared) {
      // Both heard it: the client has it already.
      const twice = takeOver.own.findIndex((one) => one.equals(notification));
      if (twice === -1) this.#say(notification);
      else takeOver.own.splice(twice, 1);
    }
    this.outbox.flush(this.connection);
  }

  #quietAgain(server: ServerConnection): void {
    if (server.quiet) this.serverQuiet();
  }

  /** From the server connection that listens itself. */
  notified(notification: Buffer): void {
    (this.#takeOver ??= { own: [], shared: [] }).own.push(notification);
  }

  /** From the shared listener. */
  notify(notification: Buffer): void {
    if (this.state === 'closed') return;
    if (this.#takeOver !== null) {
      this.#takeOver.shared.push(notification);
      return;
    }
    this.#say(notification);
    this.replay = null;
    this.outbox.flush(this.connection);
  }

  /** A frame that nobody asked for; never into the middle of another. */
  #say(bytes: Buffer): void {
    if (this.server === null) this.outbox.push(bytes);
    else this.server.sayBetween(bytes);
  }

  serverLost(server: ServerConnection, reason: string, told: boolean): void {
    if (this.server !== server || this.state === 'closed') return;
    this.server = null;
    if (this.permit !== null) this.host.rested(this);
    if (this.#again !== null) {
      this.#runTakenBack();
      return;
    }
    // Half a frame is with the client: an error now would be read as the rest of it.
    this.#cutOff = server.midFrame;
    const inTransaction = server.status !== STATUS_IDLE;
    if (told) {
      this.outbox.flush(this.connection);
      this.connection.end();
      this.#gone();
      return;
    }
    if (this.exclusive || inTransaction || this.pins !== 0 || this.#sticky || server.midFrame || server.wild) {
      this.fail(serverLost(reason));
      return;
    }
    this.#answerLost(server, serverLost(reason));
  }

  /** Outside a transaction the client loses one statement and not its connection. */
  #answerLost(server: ServerConnection, fault: Fault): void {
    if (this.#bodyLeft > 0) this.#bodyDropped = true;
    const { ledger } = server;
    let told = false;
    for (let index = 0; index < ledger.length; index += 1) {
      const kind = ledger.kindAt(index);
      if ((kind & HIDDEN) !== 0 || kind === EXPECT.copyEnd) continue;
      if (!told) {
        const writer = new ByteWriter();
        writeError(writer, errorFieldsOf(fault));
        this.outbox.push(writer.take());
        told = true;
      }
      if (kind === EXPECT.query || kind === EXPECT.sync || kind === EXPECT.functionCall) {
        this.outbox.push(READY_IDLE);
        told = false;
      }
    }
    if (told || server.segmentOpen || server.skipping) this.#discardToSync = true;
    this.queryStartedAt = 0;
    this.#workStartedAt = 0;
    this.#segment = NO_FINGERPRINT;
    this.#isMeasurable = true;
    this.#touched = 0;
    this.#holds = 0;
    this.#takeOverEnds();
    if (this.state === 'linking') this.state = 'ready';
    this.outbox.flush(this.connection);
    this.#resumeInput();
  }

  /** Ends a client that overstays a limit. Called by the janitor. */
  checkTimeouts(now: number, limits: ClientLimits): void {
    const { server } = this;
    if (server === null) {
      if (limits.idleMs > 0 && this.state === 'ready' && now - this.activeAt > limits.idleMs) {
        this.fail(clientTimeout('57P05', 'client_idle_timeout'));
      }
      return;
    }
    if (this.queryStartedAt > 0 && limits.queryMs > 0 && now - this.queryStartedAt > limits.queryMs) {
      this.fail(clientTimeout('57014', 'query_timeout'));
    } else if (server.status !== STATUS_IDLE) {
      const idle = server.ledger.length === 0 ? now - this.activeAt : 0;
      if (limits.idleTransactionMs > 0 && idle > limits.idleTransactionMs) {
        this.fail(clientTimeout('25P03', 'idle_transaction_timeout'));
      } else if (limits.transactionMs > 0 && now - this.transactionStartedAt > limits.transactionMs) {
        this.fail(clientTimeout('25P04', 'transaction_timeout'));
      }
    }
  }
}

/** Milliseconds; 0 is none. */
export interface ClientLimits {
  readonly idleMs: number;
  readonly queryMs: number;
  readonly idleTransactionMs: number;
  readonly transactionMs: number;
}

/** A view would keep the whole chunk alive. */
function copied(buffer: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  buffer.copy(copy, 0, start, end);
  return copy;
}

const ZERO = Buffer.from([0]);
const STUB_NAME = '_skerry_stub';
const CLOSE_STUB = frame(FRONTEND.close, `S${STUB_NAME}\0`);
const PARSE_STUB = frame(FRONTEND.parse, `${STUB_NAME}\0\0\0\0`);
const DEALLOCATE_STUB = frame(FRONTEND.parse, `\0DEALLOCATE ${STUB_NAME}\0\0\0`);

function frame(type: number, body: string): Buffer {
  const message = Buffer.alloc(5 + body.length);
  message[0] = type;
  message.writeInt32BE(4 + body.length, 1);
  message.write(body, 5, 'latin1');
  return message;
}

/** The message's bytes up to `nameStart`, then another name without its zero; with the whole message's new size. */
function renamed(buffer: Buffer, at: number, nameStart: number, name: string, sizeWithoutName: number): Buffer {
  const before = nameStart - at;
  const head = Buffer.allocUnsafe(before + name.length);
  buffer.copy(head, 0, at, nameStart);
  head.write(name, before, 'latin1');
  head.writeInt32BE(sizeWithoutName - 1 + name.length, 1);
  return head;
}
