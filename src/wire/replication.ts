// The replication dialect: messages inside CopyData of a replication stream, and the commands that a walsender understands.

import type { Lsn } from '../pg/lsn.ts';
import { formatLsn, parseLsn } from '../pg/lsn.ts';
import { Fault } from '../base/fault.ts';
import { unreachable } from '../base/assert.ts';
import { ByteReader, type ByteWriter, readUint64 } from './bytes.ts';
import { wireFault } from './faults.ts';
import { FRONTEND } from './frontend.ts';

/** First byte of a CopyData body in a replication stream. */
export const REPLICATION = {
  xlogData: 0x77, // w, server
  keepalive: 0x6b, // k, server
  standbyStatus: 0x72, // r, client
  hotStandbyFeedback: 0x68, // h, client
} as const;

/** 'w', start, end, send time: the payload begins after them. */
export const XLOG_DATA_HEADER_BYTES = 25;

/** Microseconds between 1970-01-01 and 2000-01-01, Postgres' epoch. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;

/** Postgres' timestamp (µs since 2000) of a wall-clock time in ms since 1970. */
export function postgresMicros(wallMs: number): bigint {
  return BigInt(Math.round(wallMs * 1000)) - POSTGRES_EPOCH_US;
}

/** Wall-clock ms since 1970 of a Postgres timestamp in µs since 2000. */
export function wallMillis(micros: bigint): number {
  return Number(micros + POSTGRES_EPOCH_US) / 1000;
}

export type ReplicationMessage =
  | {
      readonly tag: 'xlogData';
      /** WAL position of the data. */
      readonly start: Lsn;
      /** Server's end of WAL at sending. */
      readonly end: Lsn;
      /** µs since 2000. */
      readonly sentAt: bigint;
      readonly payload: Uint8Array;
    }
  | { readonly tag: 'keepalive'; readonly end: Lsn; readonly sentAt: bigint; readonly replyNow: boolean }
  | {
      readonly tag: 'standbyStatus';
      /** Last byte + 1 written, flushed, applied. */
      readonly written: Lsn;
      readonly flushed: Lsn;
      readonly applied: Lsn;
      readonly sentAt: bigint;
      readonly replyNow: boolean;
    }
  | {
      readonly tag: 'hotStandbyFeedback';
      readonly sentAt: bigint;
      readonly xmin: number;
      readonly xminEpoch: number;
      readonly catalogXmin: number;
      readonly catalogXminEpoch: number;
    };

/** Decodes the body of a CopyData frame. The hot path reads the payload of `w` in place instead (`XLOG_DATA_HEADER_BYTES`). */
export function decodeReplication(buffer: Buffer, start: number, end: number): ReplicationMessage {
  const reader = new ByteReader(buffer, start, end);
  const type = reader.uint8();
  switch (type) {
    case REPLICATION.xlogData:
      return {
        tag: 'xlogData',
        start: reader.uint64(),
        end: reader.uint64(),
        sentAt: reader.int64(),
        payload: reader.rest(),
      };
    case REPLICATION.keepalive:
      return finish(reader, {
        tag: 'keepalive',
        end: reader.uint64(),
        sentAt: reader.int64(),
        replyNow: reader.uint8() !== 0,
      });
    case REPLICATION.standbyStatus:
      return finish(reader, {
        tag: 'standbyStatus',
        written: reader.uint64(),
        flushed: reader.uint64(),
        applied: reader.uint64(),
        sentAt: reader.int64(),
        replyNow: reader.uint8() !== 0,
      });
    case REPLICATION.hotStandbyFeedback:
      return finish(reader, {
        tag: 'hotStandbyFeedback',
        sentAt: reader.int64(),
        xmin: reader.uint32(),
        xminEpoch: reader.uint32(),
        catalogXmin: reader.uint32(),
        catalogXminEpoch: reader.uint32(),
      });
    default:
      throw wireFault('protocol-violation', `invalid replication message type ${type}`);
  }
}

/** Appends a whole CopyData frame. */
export function encodeReplication(writer: ByteWriter, message: ReplicationMessage): void {
  switch (message.tag) {
    case 'xlogData': {
      const mark = beginXLogData(writer, message.start, message.end, message.sentAt);
      writer.bytes(message.payload);
      return writer.endMessage(mark);
    }
    case 'keepalive':
      return writeKeepalive(writer, message.end, message.sentAt, message.replyNow);
    case 'standbyStatus': {
      const mark = writer.beginMessage(FRONTEND.copyData);
      writer.byte(REPLICATION.standbyStatus);
      writer.int64(message.written);
      writer.int64(message.flushed);
      writer.int64(message.applied);
      writer.int64(message.sentAt);
      writer.byte(message.replyNow ? 1 : 0);
      return writer.endMessage(mark);
    }
    case 'hotStandbyFeedback': {
      const mark = writer.beginMessage(FRONTEND.copyData);
      writer.byte(REPLICATION.hotStandbyFeedback);
      writer.int64(message.sentAt);
      writer.int32(message.xmin);
      writer.int32(message.xminEpoch);
      writer.int32(message.catalogXmin);
      writer.int32(message.catalogXminEpoch);
      return writer.endMessage(mark);
    }
    default:
      return unreachable(message);
  }
}

/** Opens a CopyData frame with an XLogData header; the caller appends the payload and calls `writer.endMessage(mark)`. */
export function beginXLogData(writer: ByteWriter, start: Lsn, end: Lsn, sentAtMicros: bigint): number {
  const mark = writer.beginMessage(FRONTEND.copyData);
  writer.byte(REPLICATION.xlogData);
  writer.int64(start);
  writer.int64(end);
  writer.int64(sentAtMicros);
  return mark;
}

export function writeKeepalive(writer: ByteWriter, end: Lsn, sentAtMicros: bigint, replyNow: boolean): void {
  const mark = writer.beginMessage(FRONTEND.copyData);
  writer.byte(REPLICATION.keepalive);
  writer.int64(end);
  writer.int64(sentAtMicros);
  writer.byte(replyNow ? 1 : 0);
  writer.endMessage(mark);
}

/** WAL position of an XLogData body that begins at `start` (its 'w'); the caller has checked the body's length. */
export function xlogDataStart(buffer: Uint8Array, start: number): Lsn {
  return readUint64(buffer, start + 1);
}

// Commands.

/** An option of a command: `NAME value`; null when it stands alone (which means true). */
export type CommandOptions = ReadonlyMap<string, string | null>;

/** What arrives in a Query message of a replication connection (repl_gram.y of PostgreSQL 18). */
export type ReplicationCommand =
  | { readonly tag: 'identifySystem' }
  | { readonly tag: 'show'; readonly name: string }
  | { readonly tag: 'timelineHistory'; readonly timeline: number }
  | { readonly tag: 'readReplicationSlot'; readonly slot: string }
  | {
      readonly tag: 'createSlot';
      readonly slot: string;
      readonly temporary: boolean;
      /** Null for a physical slot. */
      readonly plugin: string | null;
      /** Names in lower case: snapshot (export, use, nothing), two_phase, reserve_wal, failover. The old keywords are translated. */
      readonly options: CommandOptions;
    }
  | { readonly tag: 'dropSlot'; readonly slot: string; readonly wait: boolean }
  | { readonly tag: 'alterSlot'; readonly slot: string; readonly options: CommandOptions }
  | {
      readonly tag: 'startLogical';
      readonly slot: string;
      readonly lsn: Lsn;
      /** Options of the output plugin, names as sent. */
      readonly options: CommandOptions;
    }
  | { readonly tag: 'startPhysical'; readonly slot: string | null; readonly lsn: Lsn; readonly timeline: number | null }
  | { readonly tag: 'baseBackup'; readonly options: CommandOptions }
  | { readonly tag: 'uploadManifest' };

/**
 * Reads a replication command; null when the text does not begin like one (then it is SQL).
 * Throws Fault `replication-syntax` (42601) when it begins like one and is not.
 */
export function parseReplicationCommand(text: string): ReplicationCommand | null {
  const first = /^\s*([A-Za-z_]+)/.exec(text)?.[1]?.toUpperCase();
  if (first === undefined || !COMMAND_WORDS.has(first)) return null;
  const parser = new CommandParser(text);
  const command = parser.command();
  parser.end();
  return command;
}

const COMMAND_WORDS: ReadonlySet<string> = new Set([
  'IDENTIFY_SYSTEM',
  'SHOW',
  'TIMELINE_HISTORY',
  'READ_REPLICATION_SLOT',
  'CREATE_REPLICATION_SLOT',
  'DROP_REPLICATION_SLOT',
  'ALTER_REPLICATION_SLOT',
  'START_REPLICATION',
  'BASE_BACKUP',
  'UPLOAD_MANIFEST',
]);

/** The text of a command, as PostgreSQL 15 and later understand it. */
export function printReplicationCommand(command: ReplicationCommand): string {
  switch (command.tag) {
    case 'identifySystem':
      return 'IDENTIFY_SYSTEM';
    case 'show':
      return `SHOW ${command.name}`;
    case 'timelineHistory':
      return `TIMELINE_HISTORY ${command.timeline}`;
    case 'readReplicationSlot':
      return `READ_REPLICATION_SLOT ${quoteName(command.slot)}`;
    case 'createSlot':
      return [
        `CREATE_REPLICATION_SLOT ${quoteName(command.slot)}`,
        ...(command.temporary ? ['TEMPORARY'] : []),
        command.plugin === null ? 'PHYSICAL' : `LOGICAL ${quoteName(command.plugin)}`,
        ...printOptions(command.options, (name) => name.toUpperCase()),
      ].join(' ');
    case 'dropSlot':
      return `DROP_REPLICATION_SLOT ${quoteName(command.slot)}${command.wait ? ' WAIT' : ''}`;
    case 'alterSlot':
      return [
        `ALTER_REPLICATION_SLOT ${quoteName(command.slot)}`,
        ...printOptions(command.options, (name) => name.toUpperCase()),
      ].join(' ');
    case 'startLogical':
      return [
        `START_REPLICATION SLOT ${quoteName(command.slot)} LOGICAL ${formatLsn(command.lsn)}`,
        ...printOptions(command.options, quoteName),
      ].join(' ');
    case 'startPhysical':
      return [
        'START_REPLICATION',
        ...(command.slot === null ? [] : [`SLOT ${quoteName(command.slot)}`]),
        `PHYSICAL ${formatLsn(command.lsn)}`,
        ...(command.timeline === null ? [] : [`TIMELINE ${command.timeline}`]),
      ].join(' ');
    case 'baseBackup':
      return ['BASE_BACKUP', ...printOptions(command.options, (name) => name.toUpperCase())].join(' ');
    case 'uploadManifest':
      return 'UPLOAD_MANIFEST';
    default:
      return unreachable(command);
  }
}

/** `"name"` with quotes doubled. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** `'text'` with quotes doubled: the replication grammar knows no backslash escapes. */
export function quoteLiteral(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Splits the value of publication_names: `"a","b c"` or `a, b`; unquoted names are folded to lower case. */
export function parseNameList(text: string): string[] {
  const names: string[] = [];
  const pattern = /\s*(?:"((?:[^"]|"")*)"|([^\s",]+))\s*(,|$)/y;
  for (let more = true; more; ) {
    const found = pattern.exec(text);
    if (found === null) throw new Fault('replication-syntax', { message: 'invalid list of names', sqlstate: '42602' });
    names.push(found[1] === undefined ? (found[2] as string).toLowerCase() : found[1].replaceAll('""', '"'));
    more = found[3] === ',';
  }
  return names;
}

function printOptions(options: CommandOptions, name: (name: string) => string): string[] {
  if (options.size === 0) return [];
  const parts = [...options].map(([key, value]) =>
    value === null ? name(key) : `${name(key)} ${quoteLiteral(value)}`,
  );
  return [`(${parts.join(', ')})`];
}

type Token =
  | { readonly kind: 'word' | 'quoted' | 'text' | 'number' | 'lsn' | 'punctuation'; readonly text: string }
  | { readonly kind: 'end'; readonly text: '' };

const TOKEN =
  /\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})|([A-Za-z_\x80-\uffff][A-Za-z0-9_$\x80-\uffff]*)|([0-9]+)|([(),;.]))/y;

class CommandParser {
  readonly #tokens: Token[];
  #index = 0;

  constructor(text: string) {
    this.#tokens = tokenize(text);
  }

  command(): ReplicationCommand {
    const word = this.#word();
    switch (word) {
      case 'IDENTIFY_SYSTEM':
        return { tag: 'identifySystem' };
      case 'SHOW':
        return { tag: 'show', name: this.#dottedName() };
      case 'TIMELINE_HISTORY':
        return { tag: 'timelineHistory', timeline: this.#number() };
      case 'READ_REPLICATION_SLOT':
        return { tag: 'readReplicationSlot', slot: this.#name() };
      case 'CREATE_REPLICATION_SLOT':
        return this.#createSlot();
      case 'DROP_REPLICATION_SLOT':
        return { tag: 'dropSlot', slot: this.#name(), wait: this.#accept('WAIT') };
      case 'ALTER_REPLICATION_SLOT':
        return { tag: 'alterSlot', slot: this.#name(), options: this.#options(lowerCase) };
      case 'START_REPLICATION':
        return this.#start();
      case 'BASE_BACKUP':
        return { tag: 'baseBackup', options: this.#options(lowerCase) };
      case 'UPLOAD_MANIFEST':
        return { tag: 'uploadManifest' };
      default:
        throw this.#fault();
    }
  }

  end(): void {
    if (this.#peek().text === ';') this.#index += 1;
    if (this.#peek().kind !== 'end') throw this.#fault();
  }

  #createSlot(): ReplicationCommand {
    const slot = this.#name();
    const temporary = this.#accept('TEMPORARY');
    const kind = this.#word();
    if (kind !== 'PHYSICAL' && kind !== 'LOGICAL') throw this.#fault();
    const plugin = kind === 'LOGICAL' ? this.#name() : null;
    const options = new Map(this.#options(lowerCase));
    // Keywords of servers and clients before PostgreSQL 15.
    for (;;) {
      if (this.#accept('EXPORT_SNAPSHOT')) options.set('snapshot', 'export');
      else if (this.#accept('NOEXPORT_SNAPSHOT')) options.set('snapshot', 'nothing');
      else if (this.#accept('USE_SNAPSHOT')) options.set('snapshot', 'use');
      else if (this.#accept('TWO_PHASE')) options.set('two_phase', null);
      else if (this.#accept('RESERVE_WAL')) options.set('reserve_wal', null);
      else break;
    }
    return { tag: 'createSlot', slot, temporary, plugin, options };
  }

  #start(): ReplicationCommand {
    const slot = this.#accept('SLOT') ? this.#name() : null;
    if (this.#accept('LOGICAL')) {
      if (slot === null) throw this.#fault();
      return { tag: 'startLogical', slot, lsn: this.#lsn(), options: this.#options((name) => name) };
    }
    this.#accept('PHYSICAL');
    const lsn = this.#lsn();
    return { tag: 'startPhysical', slot, lsn, timeline: this.#accept('TIMELINE') ? this.#number() : null };
  }

  #options(key: (name: string) => string): CommandOptions {
    const options = new Map<string, string | null>();
    if (this.#peek().text !== '(' || this.#peek().kind !== 'punctuation') return options;
    this.#index += 1;
    do {
      const name = this.#name();
      const value = this.#peek();
      const hasValue = value.kind !== 'punctuation' && value.kind !== 'end';
      if (hasValue) this.#index += 1;
      options.set(key(name), hasValue ? value.text : null);
    } while (this.#acceptPunctuation(','));
    if (!this.#acceptPunctuation(')')) throw this.#fault();
    return options;
  }

  #dottedName(): string {
    let name = this.#name();
    while (this.#acceptPunctuation('.')) name += `.${this.#name()}`;
    return name;
  }

  #peek(): Token {
    return this.#tokens[this.#index] as Token;
  }

  #accept(word: string): boolean {
    const token = this.#peek();
    if (token.kind !== 'word' || token.text.toUpperCase() !== word) return false;
    this.#index += 1;
    return true;
  }

  #acceptPunctuation(text: string): boolean {
    const token = this.#peek();
    if (token.kind !== 'punctuation' || token.text !== text) return false;
    this.#index += 1;
    return true;
  }

  #word(): string {
    const token = this.#peek();
    if (token.kind !== 'word') throw this.#fault();
    this.#index += 1;
    return token.text.toUpperCase();
  }

  /** A name: unquoted ones fold to lower case. */
  #name(): string {
    const token = this.#peek();
    if (token.kind !== 'word' && token.kind !== 'quoted') throw this.#fault();
    this.#index += 1;
    return token.kind === 'word' ? token.text.toLowerCase() : token.text;
  }

  #number(): number {
    const token = this.#peek();
    if (token.kind !== 'number') throw this.#fault();
    this.#index += 1;
    return Number(token.text);
  }

  #lsn(): Lsn {
    const token = this.#peek();
    if (token.kind !== 'lsn') throw this.#fault();
    this.#index += 1;
    return parseLsn(token.text);
  }

  #fault(): Fault {
    const token = this.#peek();
    const where = token.kind === 'end' ? 'at end of input' : `at or near "${token.text.slice(0, 40)}"`;
    return new Fault('replication-syntax', {
      message: `syntax error in replication command ${where}`,
      sqlstate: '42601',
    });
  }
}

function lowerCase(name: string): string {
  return name.toLowerCase();
}

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) {
      throw new Fault('replication-syntax', {
        message: `syntax error in replication command at or near "${text.slice(at, at + 40).trim()}"`,
        sqlstate: '42601',
      });
    }
    const [, quoted, literal, lsn, word, number, punctuation] = found;
    if (quoted !== undefined) tokens.push({ kind: 'quoted', text: quoted.replaceAll('""', '"') });
    else if (literal !== undefined) tokens.push({ kind: 'text', text: literal.replaceAll("''", "'") });
    else if (lsn !== undefined) tokens.push({ kind: 'lsn', text: lsn });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number });
    else tokens.push({ kind: 'punctuation', text: punctuation as string });
  }
  tokens.push({ kind: 'end', text: '' });
  return tokens;
}

function finish(reader: ByteReader, message: ReplicationMessage): ReplicationMessage {
  reader.done();
  return message;
}
