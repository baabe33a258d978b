// The walsender's side of a conversation: what pg_recvlogical, a stock subscription, an edge and another relay say to us.
//
//   command ──START_REPLICATION──▶ (waiting until we have the position) ──▶ streaming ──CopyDone──▶ command
//
// Besides replication commands a client may send the few SELECTs that PostgreSQL's own subscriber sends before it starts.

import { describeError, Fault } from '../base/fault.ts';
import { formatLsn, type Lsn, LSN_ZERO } from '../pg/lsn.ts';
import { errorFieldsOf } from '../session/faults.ts';
import type { Opened, ServerSession, SessionOwner } from '../session/server-session.ts';
import {
  BACKEND,
  beginDataRow,
  type ColumnDescription,
  encodeBackend,
  endDataRow,
  writeCommandComplete,
  writeCopyResponse,
  writeError,
  writeNullValue,
  writeReadyForQuery,
  writeRowDescription,
  writeTextValue,
} from '../wire/backend.ts';
import { FRONTEND, decodeFrontend } from '../wire/frontend.ts';
import {
  decodeReplication,
  parseNameList,
  parseReplicationCommand,
  postgresMicros,
  type ReplicationCommand,
  writeKeepalive,
} from '../wire/replication.ts';
import { byteaColumn, int4Column, int8Column, textColumn } from './columns.ts';
import { answerSql } from './serve-sql.ts';
import { otherPlacement, positionAhead, positionNotInLog, relayBehind } from './faults.ts';
import type { RelayState } from './relay-state.ts';
import { HISTORY_OPTION } from '../contracts/placement.ts';
import type { View } from './placements.ts';
import { type Outlet, Subscription } from './subscription.ts';
import { KEEPALIVE_NO_PROOF } from './upstream.ts';

/** How long a subscriber that is ahead of us may wait for us to get there once our own upstream is connected. */
const AHEAD_WAIT_MS = 10_000;
const AHEAD_POLL_MS = 50;

/** How long it may wait altogether; then it is told to come back. */
const BEHIND_WAIT_MS = 30_000;

/** A subscriber that neither reads nor answers is cut off after this. */
const SILENCE_MAX_MS = 60_000;

const KEEPALIVE_EVERY_MS = 10_000;

/** A name may be taken over from a connection that was silent for longer than any client's status interval (10 s). */
const TAKE_OVER_AFTER_MS = 15_000;

/** Opens a session that is logged in. Throws a Fault to refuse it. */
export function openWalsender(state: RelayState, session: ServerSession): Opened {
  if (session.replication === 'off') {
    throw new Fault('not-a-database', {
      message: 'this is a relay: it speaks the replication protocol only',
      hint: 'connect with replication=database, or to an edge for SQL',
      sqlstate: '0A000',
    });
  }
  const facts = state.facts;
  if (facts === null) {
    throw new Fault('relay-not-ready', {
      message: `the relay has nothing to serve yet: ${state.reason}`,
      sqlstate: '57P03',
      retryable: true,
    });
  }
  return {
    owner: new Walsender(state, session),
    parameters: [
      ['server_version', facts.serverVersionText],
      ['server_encoding', 'UTF8'],
      ['client_encoding', 'UTF8'],
      ['integer_datetimes', 'on'],
      ['standard_conforming_strings', 'on'],
      ['DateStyle', 'ISO, YMD'],
      ['IntervalStyle', 'postgres'],
      ['TimeZone', 'UTC'],
      ['is_superuser', 'off'],
      ['session_authorization', session.user],
      ['application_name', session.settings.get('application_name') ?? ''],
    ],
  };
}

class Walsender implements SessionOwner, Outlet {
  readonly #state: RelayState;
  readonly #session: ServerSession;
  readonly #ended = new AbortController();
  #subscription: Subscription | null = null;
  #slot = '';
  #heardAtMs: number;
  #timer: Disposable | null = null;
  #serverDone = false;

  constructor(state: RelayState, session: ServerSession) {
    this.#state = state;
    this.#session = session;
    this.#heardAtMs = state.deps.clock.now();
  }

  // SessionOwner

  frame(type: number, buffer: Buffer, start: number, end: number): void {
    this.#heardAtMs = this.#state.deps.clock.now();
    if (type === FRONTEND.copyData && this.#subscription !== null) return this.#status(buffer, start, end);
    switch (type) {
      case FRONTEND.query:
        return this.#query(buffer, start, end);
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        return this.#finishStream();
      case FRONTEND.copyData:
      case FRONTEND.sync:
      case FRONTEND.flush:
        return;
      default:
        throw new Fault('protocol-violation', {
          message: 'a relay understands the simple query protocol only',
          sqlstate: '08P01',
        });
    }
  }

  drain(): void {
    this.#subscription?.drained();
  }

  closed(): void {
    this.#ended.abort();
    this.#endSubscription();
  }

  // Outlet

  get queuedBytes(): number {
    return this.#session.queuedBytes;
  }

  write(bytes: Uint8Array): boolean {
    return this.#session.send(bytes);
  }

  keepalive(lsn: Lsn, replyNow: boolean, isProof: boolean): void {
    const sentAt = isProof ? postgresMicros(this.#state.deps.clock.wall()) : KEEPALIVE_NO_PROOF;
    writeKeepalive(this.#session.writer, lsn, sentAt, replyNow);
    this.#session.flush();
  }

  silentMs(): number {
    return this.#state.deps.clock.now() - this.#heardAtMs;
  }

  fail(error: unknown): void {
    this.#state.deps.log.warn('relay.subscriber-ended', { subscriber: this.#slot, message: describeError(error) });
    this.#session.fail(error);
  }

  /** What this peer is served from, by who he is and not by what he asks for. */
  #view(): View {
    return this.#state.viewOf(this.#session.user);
  }

  #query(buffer: Buffer, start: number, end: number): void {
    if (this.#subscription !== null) {
      throw new Fault('protocol-violation', { message: 'a query during replication', sqlstate: '08P01' });
    }
    const message = decodeFrontend(FRONTEND.query, buffer, start, end);
    if (message.tag !== 'query') return;
    // One command at a time: the next frame waits.
    this.#session.pause();
    this.#run(message.sql)
      .catch((error: unknown) => {
        if (!(error instanceof Fault)) {
          this.#state.deps.log.error('relay.command-broken', { message: String((error as Error).stack) });
        }
        if (this.#session.closed) return;
        writeError(this.#session.writer, errorFieldsOf(error));
        this.#ready();
      })
      .finally(() => this.#session.resume());
  }

  async #run(sql: string): Promise<void> {
    const command = parseReplicationCommand(sql);
    if (command !== null) {
      await this.#command(command);
      return;
    }
    const answer = await answerSql(this.#state, this.#session.user, sql);
    this.#rows(answer.columns, answer.rows, `SELECT ${answer.rows.length}`);
    this.#ready();
  }

  async #command(command: ReplicationCommand): Promise<void> {
    const state = this.#state;
    switch (command.tag) {
      case 'identifySystem': {
        const { epoch, database } = state.must();
        this.#rows(
          [textColumn('systemid'), int4Column('timeline'), textColumn('xlogpos'), textColumn('dbname')],
          [[epoch.systemId, String(epoch.timeline), formatLsn(this.#view().hub.endLsn), database]],
          'IDENTIFY_SYSTEM',
        );
        break;
      }
      case 'show':
        this.#rows([textColumn(command.name)], [[showSetting(state, command.name)]], 'SHOW');
        break;
      case 'timelineHistory': {
        const { epoch, hub } = state.must();
        if (command.timeline !== epoch.timeline || hub.log.timelineHistory === '') {
          throw new Fault('timeline-unknown', {
            message: `this relay has no history of timeline ${command.timeline}`,
            sqlstate: '58P01',
          });
        }
        const name = `${command.timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
        this.#rows(
          [textColumn('filename'), byteaColumn('content')],
          [[name, hub.log.timelineHistory]],
          'TIMELINE_HISTORY',
        );
        break;
      }
      case 'readReplicationSlot': {
        const known = state.slots.get(command.slot);
        const { epoch } = state.must();
        this.#rows(
          [textColumn('slot_type'), textColumn('restart_lsn'), int8Column('restart_tli')],
          [
            known === undefined
              ? [null, null, null]
              : ['logical', formatLsn(known.confirmedLsn), String(epoch.timeline)],
          ],
          'READ_REPLICATION_SLOT',
        );
        break;
      }
      case 'createSlot':
        this.#createSlot(command);
        break;
      case 'alterSlot':
        requireSlot(state, command.slot);
        writeCommandComplete(this.#session.writer, 'ALTER_REPLICATION_SLOT');
        break;
      case 'dropSlot':
        requireSlot(state, command.slot);
        if (state.subscriberNamed(command.slot) !== null) throw slotInUse(command.slot);
        state.slots.drop(command.slot);
        writeCommandComplete(this.#session.writer, 'DROP_REPLICATION_SLOT');
        break;
      case 'startLogical':
        await this.#start(command);
        return;
      case 'startPhysical':
      case 'baseBackup':
      case 'uploadManifest':
        throw new Fault('physical-unsupported', {
          message: 'a relay has no write-ahead log and no data directory: only logical replication is served',
          hint: 'use the core for physical replication',
          sqlstate: '0A000',
        });
    }
    this.#ready();
  }

  #createSlot(command: ReplicationCommand & { tag: 'createSlot' }): void {
    const state = this.#state;
    if (command.plugin === null) {
      throw new Fault('physical-unsupported', { message: 'only logical slots can be created here', sqlstate: '0A000' });
    }
    if (command.plugin !== 'pgoutput') {
      throw new Fault('plugin-unsupported', {
        message: `output plugin "${command.plugin}" is not available on a relay`,
        hint: 'use pgoutput',
        sqlstate: '0A000',
      });
    }
    const snapshot = command.options.get('snapshot');
    if (snapshot === 'use' || (snapshot === 'export' && command.options.has('two_phase'))) {
      throw new Fault('snapshot-unsupported', {
        message: 'a relay cannot export a PostgreSQL snapshot',
        hint: 'create the subscription with copy_data = false, or take the snapshot over HTTP',
        sqlstate: '0A000',
      });
    }
    if (state.slots.get(command.slot) !== undefined) {
      throw new Fault('slot-exists', {
        message: `replication slot "${command.slot}" already exists`,
        sqlstate: '42710',
      });
    }
    const view = this.#view();
    const lsn = view.hub.endLsn;
    state.slots.create(command.slot, lsn, command.temporary, view.history);
    if (command.temporary) this.#ended.signal.addEventListener('abort', () => state.slots.drop(command.slot));
    this.#rows(
      [
        textColumn('slot_name'),
        textColumn('consistent_point'),
        textColumn('snapshot_name'),
        textColumn('output_plugin'),
      ],
      [[command.slot, formatLsn(lsn), null, 'pgoutput']],
      'CREATE_REPLICATION_SLOT',
    );
  }

  async #start(command: ReplicationCommand & { tag: 'startLogical' }): Promise<void> {
    const state = this.#state;
    const { messages, history } = readOptions(state, command.options);
    const view = this.#view();
    const other = state.subscriberNamed(command.slot);
    if (other !== null) {
      // The same subscriber over a new connection, most likely: the old one died where we could not see it.
      if (other.silentMs() < TAKE_OVER_AFTER_MS) throw slotInUse(command.slot);
      other.fail(slotInUse(command.slot));
    }
    let slot = state.slots.get(command.slot);
    if (slot === undefined) {
      // A stock subscription made with create_slot = false has no way to make one here: it begins now.
      const lsn = command.lsn === LSN_ZERO ? view.hub.endLsn : command.lsn;
      slot = state.slots.create(command.slot, lsn, false, view.history);
    }
    // A replica says what it holds; of a stock subscriber it is known from when its slot was made.
    const has = history ?? slot.history;
    if (has !== view.history) throw otherPlacement(has, view.history);
    state.slots.belongs(command.slot, view.history);
    // What the subscriber says it has counts, not what it once confirmed: it may have lost its tail in a power cut.
    const from = command.lsn === LSN_ZERO ? slot.confirmedLsn : command.lsn;
    await this.#waitUntilThere(from);
    if (this.#session.closed) return;
    const { hub, placement, floor, history: now } = this.#view();
    // While we waited another placement may have become this peer's, or another connection have taken the slot.
    if (has !== now) throw otherPlacement(has, now);
    const taken = state.subscriberNamed(command.slot);
    if (taken !== null && taken !== other) throw slotInUse(command.slot);
    if (from < floor) throw positionNotInLog(from, floor);
    const subscription = new Subscription(hub, state.deps.disk, this, {
      name: command.slot,
      remoteAddress: this.#session.remoteAddress,
      from,
      messages,
      identity: this.#session.user,
      placement,
    });
    if (from < hub.log.startLsn) void hub.log.reader(from);
    this.#slot = command.slot;
    this.#serverDone = false;
    writeCopyResponse(this.#session.writer, BACKEND.copyBothResponse, { overall: 0, columns: [] });
    this.#session.flush();
    this.#subscription = subscription;
    state.subscribed(subscription, this);
    this.#armTimer();
    state.deps.log.info('relay.subscriber-attached', {
      subscriber: command.slot,
      remote: this.#session.remoteAddress,
      message: `sending what follows ${formatLsn(from)}`,
    });
    subscription.start();
  }

  /** A subscriber may be ahead of us only while we are still behind our own upstream (see relay-log/DESIGN.md). */
  async #waitUntilThere(from: Lsn): Promise<void> {
    const { clock } = this.#state.deps;
    const startedAtMs = clock.now();
    let connectedAtMs = Number.POSITIVE_INFINITY;
    while (!this.#session.closed) {
      const { hub } = this.#view();
      if (from <= hub.endLsn) return;
      const now = clock.now();
      if (!this.#state.upstreamConnected) connectedAtMs = Number.POSITIVE_INFINITY;
      else if (connectedAtMs === Number.POSITIVE_INFINITY) connectedAtMs = now;
      if (now - connectedAtMs > AHEAD_WAIT_MS) throw positionAhead(from, hub.endLsn);
      if (now - startedAtMs > BEHIND_WAIT_MS) throw relayBehind(from, hub.endLsn);
      await clock.sleep(AHEAD_POLL_MS);
    }
  }

  #status(buffer: Buffer, start: number, end: number): void {
    const message = decodeReplication(buffer, start, end);
    if (message.tag !== 'standbyStatus') return;
    const subscription = this.#subscription;
    if (subscription === null) return;
    // Nobody can have made durable what he was not sent.
    const flushed = message.flushed > subscription.sentLsn ? subscription.sentLsn : message.flushed;
    subscription.confirm(flushed);
    this.#state.slots.confirm(this.#slot, flushed);
    if (message.replyNow) subscription.keepAlive(false);
  }

  #armTimer(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#state.deps.clock.after(KEEPALIVE_EVERY_MS, () => {
      if (this.#session.closed || this.#subscription === null) return;
      const silentMs = this.silentMs();
      if (silentMs > SILENCE_MAX_MS) {
        this.fail(
          new Fault('subscriber-silent', {
            message: `nothing was heard from the subscriber for ${Math.round(silentMs / 1000)} s`,
            sqlstate: '08006',
          }),
        );
        return;
      }
      this.#subscription.keepAlive(silentMs > SILENCE_MAX_MS / 2);
      this.#armTimer();
    });
  }

  /** The client ends the stream; the session goes back to commands. */
  #finishStream(): void {
    if (this.#subscription === null) return;
    this.#endSubscription();
    if (!this.#serverDone) encodeBackend(this.#session.writer, { tag: 'copyDone' });
    this.#serverDone = true;
    writeCommandComplete(this.#session.writer, 'COPY 0');
    writeCommandComplete(this.#session.writer, 'START_REPLICATION');
    this.#ready();
  }

  #endSubscription(): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = null;
    const subscription = this.#subscription;
    this.#subscription = null;
    if (subscription === null) return;
    subscription.close();
    this.#state.unsubscribed(subscription);
  }

  #rows(columns: readonly ColumnDescription[], rows: readonly (readonly (string | null)[])[], tag: string): void {
    const { writer } = this.#session;
    writeRowDescription(writer, columns);
    for (const row of rows) {
      const mark = beginDataRow(writer, row.length);
      for (const value of row) {
        if (value === null) writeNullValue(writer);
        else writeTextValue(writer, value);
      }
      endDataRow(writer, mark);
    }
    writeCommandComplete(writer, tag);
  }

  #ready(): void {
    writeReadyForQuery(this.#session.writer, 'I');
    this.#session.flush();
  }
}

/** Checks the options of START_REPLICATION; gives whether logical messages are wanted, and of which history a replica says it is. */
function readOptions(
  state: RelayState,
  options: ReadonlyMap<string, string | null>,
): { readonly messages: boolean; readonly history: string | null } {
  let messages = false;
  let history: string | null = null;
  for (const [name, value] of options) {
    switch (name) {
      case 'proto_version':
        if (!/^[1-4]$/.test(value ?? '')) {
          throw invalidOption(`client sent proto_version=${value ?? ''} but server only supports protocol 1 to 4`);
        }
        break;
      case 'publication_names': {
        const unknown = parseNameList(value ?? '').find((publication) => publication !== state.publication);
        if (unknown !== undefined) {
          throw new Fault('publication-unknown', {
            message: `publication "${unknown}" does not exist`,
            hint: `this relay carries publication "${state.publication}"`,
            sqlstate: '42704',
          });
        }
        break;
      }
      case 'messages':
        messages = isTrue(name, value);
        break;
      case 'binary':
        if (isTrue(name, value)) {
          throw new Fault('binary-unsupported', {
            message: 'a relay carries values as text only',
            hint: 'create the subscription with binary = false',
            sqlstate: '0A000',
          });
        }
        break;
      case 'streaming':
        // Whole transactions are a special case of what the client is prepared for.
        if (value !== 'parallel') isTrue(name, value);
        break;
      case 'two_phase':
        isTrue(name, value);
        break;
      case HISTORY_OPTION:
        history = value ?? '';
        break;
      case 'origin':
        if (value !== 'any' && value !== 'none') throw invalidOption(`unrecognized origin value: "${value ?? ''}"`);
        break;
      default:
        throw invalidOption(`unrecognized pgoutput option: ${name}`);
    }
  }
  if (!options.has('proto_version')) throw invalidOption('option "proto_version" missing');
  if (!options.has('publication_names')) throw invalidOption('option "publication_names" missing');
  return { messages, history };
}

function isTrue(name: string, value: string | null): boolean {
  if (value === null || /^(on|true|yes|1|t|y)$/i.test(value)) return true;
  if (/^(off|false|no|0|f|n)$/i.test(value)) return false;
  throw invalidOption(`${name} requires a Boolean value`);
}

function invalidOption(message: string): Fault {
  return new Fault('option-invalid', { message, sqlstate: '22023' });
}

function requireSlot(state: RelayState, name: string): void {
  if (state.slots.get(name) === undefined) {
    throw new Fault('slot-unknown', { message: `replication slot "${name}" does not exist`, sqlstate: '42704' });
  }
}

function slotInUse(name: string): Fault {
  return new Fault('slot-in-use', {
    message: `replication slot "${name}" is active`,
    hint: 'each subscriber needs a name of its own',
    sqlstate: '55006',
    retryable: true,
  });
}

function showSetting(state: RelayState, name: string): string {
  const lower = name.toLowerCase();
  if (lower === 'server_version') return state.must().serverVersionText;
  if (lower === 'wal_segment_size') return '16MB';
  if (lower === 'data_directory_mode') return '0700';
  if (lower === 'wal_level') return 'logical';
  if (lower === 'transaction_read_only' || lower === 'in_hot_standby') return 'on';
  if (lower === 'server_encoding' || lower === 'client_encoding') return 'UTF8';
  throw new Fault('setting-unknown', {
    message: `unrecognized configuration parameter "${name}"`,
    sqlstate: '42704',
  });
}
