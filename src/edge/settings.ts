// The settings (GUCs) of one client session, as far as this edge keeps them itself: which value holds now, what a
// rollback takes back, what an upstream connection must be told, and which local answers a value rules out.
//
//   startup options ── session SETs ── SETs of the open transaction      later layers win
//
// A setting that is not in RULES, or a value that its rule does not understand, is the core's to judge.

import { quoteAlways } from '../pg/identifier.ts';
import {
  NEED_BYTEA_HEX,
  NEED_DATESTYLE_ISO,
  NEED_FLOAT_SHORTEST,
  NEED_INTERVALSTYLE_POSTGRES,
  NEED_MONETARY_DEFAULT,
  NEED_OUTPUT_DEFAULTS,
  NEED_TIMEZONE_UTC,
  type PlanningSession,
} from './sql/plan.ts';

/** Turns the words of a SET into the text that SHOW prints; null = only the core can tell. */
type Rule = (values: readonly string[], current: string) => string | null;

interface Known {
  /** As SHOW and ParameterStatus spell it. */
  readonly name: string;
  readonly rule: Rule;
}

/** Settings that may be set, shown and kept without asking the core. Keys in lower case. */
const RULES: ReadonlyMap<string, Known> = new Map(
  (
    [
      ['application_name', applicationName],
      ['bytea_output', oneOf('hex', 'escape')],
      ['client_encoding', clientEncoding],
      [
        'client_min_messages',
        oneOf('debug5', 'debug4', 'debug3', 'debug2', 'debug1', 'log', 'notice', 'warning', 'error'),
      ],
      ['DateStyle', dateStyle],
      ['default_transaction_deferrable', boolean],
      ['default_transaction_isolation', oneOf('read uncommitted', 'read committed', 'repeatable read', 'serializable')],
      ['default_transaction_read_only', boolean],
      ['extra_float_digits', integerBetween(-15, 3)],
      ['IntervalStyle', oneOf('postgres', 'postgres_verbose', 'sql_standard', 'iso_8601')],
      ['idle_in_transaction_session_timeout', duration],
      ['idle_session_timeout', duration],
      ['lock_timeout', duration],
      ['search_path', searchPath],
      ['standard_conforming_strings', boolean],
      ['statement_timeout', duration],
      ['synchronous_commit', oneOf('on', 'off', 'local', 'remote_write', 'remote_apply')],
      ['TimeZone', timeZone],
      ['transaction_timeout', duration],
      ['skerry.max_lag', durationOrNone],
      ['skerry.monotonic_reads', boolean],
      ['skerry.wait_ms', durationOrNone],
    ] as const
  ).map(([name, rule]) => [name.toLowerCase(), { name, rule }]),
);

/** Settings whose values decide how a local answer looks; asked back from the core when it may have changed them. */
export const PROBED_SETTINGS: readonly string[] = [
  'search_path',
  'TimeZone',
  'DateStyle',
  'IntervalStyle',
  'extra_float_digits',
  'bytea_output',
  'client_encoding',
  'standard_conforming_strings',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'statement_timeout',
  'application_name',
  'lc_monetary',
  'xmlbinary',
  'xmloption',
  'quote_all_identifiers',
  'transform_null_equals',
  'array_nulls',
  'timezone_abbreviations',
  'row_security',
];

/** Of those, what changes no answer. */
const NO_MATTER = new Set([
  'application_name',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'statement_timeout',
]);

/** Settings of newer servers: known only where the core has them. */
export const NEWER_SETTINGS: readonly string[] = ['transaction_timeout'];

/** Settings under which statements mean something else, and the value under which they do not (null: whoever sets it at all). */
const MEANING: Readonly<Record<string, string | null>> = {
  role: null,
  session_authorization: null,
  standard_conforming_strings: 'on',
  transform_null_equals: 'off',
  array_nulls: 'on',
  timezone_abbreviations: 'Default',
  row_security: 'on',
};

/** Values that hold where nobody said anything: what the core told for our role, else Postgres' own. */
export const BUILT_IN_SETTINGS: Readonly<Record<string, string>> = {
  application_name: '',
  bytea_output: 'hex',
  client_encoding: 'UTF8',
  client_min_messages: 'notice',
  datestyle: 'ISO, MDY',
  default_transaction_deferrable: 'off',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  extra_float_digits: '1',
  intervalstyle: 'postgres',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  lock_timeout: '0',
  search_path: '"$user", public',
  standard_conforming_strings: 'on',
  statement_timeout: '0',
  synchronous_commit: 'on',
  timezone: 'GMT',
  'skerry.max_lag': '-1',
  'skerry.monotonic_reads': 'off',
  'skerry.wait_ms': '-1',
  xmlbinary: 'base64',
  xmloption: 'content',
  quote_all_identifiers: 'off',
  transform_null_equals: 'off',
  array_nulls: 'on',
  timezone_abbreviations: 'Default',
  row_security: 'on',
};

/** Settings that Postgres reports to its clients whenever they change, in its spelling. */
const REPORTED = new Set(
  [
    'application_name',
    'client_encoding',
    'DateStyle',
    'default_transaction_read_only',
    'IntervalStyle',
    'TimeZone',
    'standard_conforming_strings',
  ].map((name) => name.toLowerCase()),
);

export type Defaults = Readonly<Record<string, string>>;

/** What happened in the open transaction, in order: SETs, and the savepoints between them. */
type Entry = SettingChange | { readonly savepoint: string };

interface SettingChange {
  readonly name: string;
  /** null = back to the default. */
  readonly value: string | null;
  readonly local: boolean;
}

/** A role's name stands for "$user" in search_path. */
export interface SettingsOwner {
  readonly user: string;
  /** Grows whenever one of the answers below changed. */
  readonly version: number;
  /** Keys in lower case; see BUILT_IN_SETTINGS. */
  defaults(): Defaults;
  /** Schemas that do not exist are no part of search_path. */
  hasSchema(name: string): boolean;
}

/** In milliseconds; 0 = none, but for the last two: -1 = not set. */
export interface Durations {
  readonly statementTimeoutMs: number;
  readonly idleInTransactionMs: number;
  readonly idleSessionMs: number;
  /** From Postgres 17 on. */
  readonly transactionMs: number;
  readonly maxLagMs: number;
  readonly waitMs: number;
}

const NO_SETTINGS: ReadonlyMap<string, string> = new Map();

export class SessionSettings {
  readonly #owner: SettingsOwner;
  /** Lower-case name → value: from the startup packet; RESET goes back to it. */
  #startup: ReadonlyMap<string, string> = NO_SETTINGS;
  /** What holds now. Shared until written: most sessions never set anything. */
  #current: ReadonlyMap<string, string> = NO_SETTINGS;
  /** `#current` at BEGIN; undefined outside a transaction block. */
  #before: ReadonlyMap<string, string> | undefined;
  #inTransaction: Entry[] = [];
  /** What the upstream connection was told (lower-case name → value); null when there is none. */
  #told: Map<string, string> | null = null;
  /** The settings that the upstream connection has, when nothing else was told since. Maps are replaced, never changed. */
  #caughtUp: ReadonlyMap<string, string> | null = null;
  #needsBroken = -1;
  #planning: PlanningSession | null = null;
  #durations: Durations | null = null;
  #peculiar: boolean | null = null;
  #ownerVersion = -1;

  constructor(owner: SettingsOwner) {
    this.#owner = owner;
  }

  /** Options of the startup packet. Values that the rules do not know are kept as they are, for the core to judge. */
  start(options: Readonly<Record<string, string>>): void {
    const startup = new Map<string, string>();
    for (const [name, value] of Object.entries(options)) {
      const key = name.toLowerCase();
      // Lists come as one text here.
      const words = key === 'search_path' ? splitIdentifiers(value) : [value];
      startup.set(key, understand(key, words, this.get(key) ?? '') ?? value);
    }
    this.#startup = startup;
    this.#current = startup;
    this.#changed();
  }

  /** What SHOW would print, or undefined when only the core knows. */
  get(name: string): string | undefined {
    const key = name.toLowerCase();
    return this.#current.get(key) ?? this.#owner.defaults()[key] ?? BUILT_IN_SETTINGS[key];
  }

  /** True when `SET name = values` can be judged here. */
  understands(name: string, values: readonly string[] | null): boolean {
    if (!this.#exists(name)) return false;
    return values === null ? RULES.has(name.toLowerCase()) : understand(name, values, this.get(name) ?? '') !== null;
  }

  #exists(name: string): boolean {
    const key = name.toLowerCase();
    return !NEWER_SETTINGS.includes(key) || this.#owner.defaults()[key] !== undefined;
  }

  /** SET [LOCAL]; `values` null is DEFAULT or RESET. False (and nothing done) when only the core can judge it. */
  set(name: string, values: readonly string[] | null, local: boolean): boolean {
    const key = name.toLowerCase();
    if (!this.#exists(key)) return false;
    const value = values === null ? null : understand(name, values, this.get(name) ?? '');
    if (value === null && (values !== null || !RULES.has(key))) return false;
    this.#assign({ name: key, value, local });
    return true;
  }

  /** What the core says holds now, after statements that may have changed it there. */
  learn(name: string, value: string): void {
    const key = name.toLowerCase();
    this.#told?.set(key, value);
    this.#caughtUp = null;
    if (this.get(key) === value) return;
    this.#assign({ name: key, value, local: false });
  }

  /** The core took a setting back to its default. */
  forget(name: string): void {
    const key = name.toLowerCase();
    this.#told?.delete(key);
    this.#caughtUp = null;
    if (this.#current.has(key)) this.#assign({ name: key, value: null, local: false });
  }

  /** RESET ALL (and DISCARD ALL). */
  resetAll(): void {
    for (const key of this.#current.keys()) this.#assign({ name: key, value: null, local: false });
  }

  /** True between `begin` and `end`. */
  get isOpen(): boolean {
    return this.#before !== undefined;
  }

  begin(): void {
    if (this.#before !== undefined) return;
    this.#before = this.#current;
    this.#inTransaction = [];
  }

  /** Ends the transaction block. SET LOCAL ends in any case, SET only when it did not commit. */
  end(committed: boolean): void {
    if (this.#before === undefined) return;
    const changes = this.#inTransaction;
    this.#current = this.#before;
    this.#before = undefined;
    this.#inTransaction = [];
    if (committed) for (const change of changes) if ('name' in change && !change.local) this.#assign(change);
    this.#changed();
  }

  /** Names of the open transaction's savepoints, oldest first. */
  get savepoints(): readonly string[] {
    return this.#inTransaction.flatMap((entry) => ('savepoint' in entry ? [entry.savepoint] : []));
  }

  savepoint(name: string): void {
    this.#inTransaction.push({ savepoint: name });
  }

  /** Forgets the newest savepoint of that name and all after it; what was SET stays. */
  release(name: string): void {
    const at = this.#savepointAt(name);
    this.#inTransaction = this.#inTransaction.filter((entry, index) => index < at || !('savepoint' in entry));
  }

  /** Back to what held at the newest savepoint of that name, which stays. */
  rollbackTo(name: string): void {
    const entries = this.#inTransaction.slice(0, this.#savepointAt(name) + 1);
    this.#current = this.#before ?? this.#current;
    this.#inTransaction = [];
    for (const entry of entries) {
      if ('name' in entry) this.#assign(entry);
      else this.#inTransaction.push(entry);
    }
    this.#changed();
  }

  #savepointAt(name: string): number {
    return this.#inTransaction.findLastIndex((entry) => 'savepoint' in entry && entry.savepoint === name);
  }

  /** Bits of `NEED_…` that do not hold now. */
  get needsBroken(): number {
    this.#lookAtOwner();
    if (this.#needsBroken === -1) this.#needsBroken = this.#computeNeeds();
    return this.#needsBroken;
  }

  /** True when statements mean something else in this session than anywhere: then the core answers all of them. */
  get isPeculiar(): boolean {
    this.#lookAtOwner();
    this.#peculiar ??= Object.entries(MEANING).some(([name, usual]) => (this.get(name) ?? null) !== usual);
    return this.#peculiar;
  }

  /** True when every setting that an answer may depend on is what it is for the role anyway. */
  get isUsual(): boolean {
    const defaults = this.#owner.defaults();
    return PROBED_SETTINGS.every(
      (name) => NO_MATTER.has(name) || this.get(name) === (defaults[name.toLowerCase()] ?? this.get(name)),
    );
  }

  get planning(): PlanningSession {
    this.#lookAtOwner();
    if (this.#planning === null) {
      const names = splitIdentifiers(this.get('search_path') ?? '')
        .map((name) => (name === '$user' ? this.#owner.user : name))
        .filter((name) => this.#owner.hasSchema(name));
      this.#planning = { searchPath: names, key: names.map((name) => JSON.stringify(name)).join(',') };
    }
    return this.#planning;
  }

  /** Settings that are times, in milliseconds. */
  get durations(): Durations {
    this.#lookAtOwner();
    this.#durations ??= {
      statementTimeoutMs: this.#ms('statement_timeout'),
      idleInTransactionMs: this.#ms('idle_in_transaction_session_timeout'),
      idleSessionMs: this.#ms('idle_session_timeout'),
      transactionMs: this.#ms('transaction_timeout'),
      maxLagMs: this.#ms('skerry.max_lag'),
      waitMs: this.#ms('skerry.wait_ms'),
    };
    return this.#durations;
  }

  #ms(name: string): number {
    const text = this.get(name) ?? '0';
    return text === '-1' ? -1 : (durationMs(text) ?? 0);
  }

  /** Name and value pairs that a client is told when a session begins. */
  *reported(): Iterable<readonly [string, string]> {
    for (const key of REPORTED) yield [RULES.get(key)?.name ?? key, this.get(key) ?? ''];
  }

  /** What a connection to the core made for this session is to be started with. */
  get startup(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#startup].filter(([name]) => !isOwnSetting(name)));
  }

  /** The upstream connection is as it was started. */
  upstreamOpened(): void {
    this.#caughtUp = null;
    this.#told = new Map(Object.entries(this.startup));
  }

  upstreamClosed(): void {
    this.#caughtUp = null;
    this.#told = null;
  }

  /**
   * SQL that brings the upstream connection to the values that hold outside the open transaction, or (`inside`) in it; null
   * when it is there.
   */
  catchUpSql(inside = false): string | null {
    const isSame =
      this.#caughtUp !== null && this.#caughtUp === (inside ? this.#current : (this.#before ?? this.#current));
    if (isSame) return null;
    const wanted = inside ? this.#current : (this.#before ?? this.#current);
    const told = this.#told ?? new Map<string, string>();
    const calls: string[] = [];
    for (const [key, value] of wanted) {
      if (isOwnSetting(key)) continue;
      if (told.get(key) !== value) calls.push(setConfig(key, value, false));
      told.set(key, value);
    }
    for (const key of told.keys()) {
      if (wanted.has(key)) continue;
      calls.push(`RESET ${quoteSetting(key)}`);
      told.delete(key);
    }
    this.#caughtUp = wanted;
    return calls.length === 0 ? null : calls.join('; ');
  }

  /** SQL that repeats the SETs and savepoints of the open transaction after its BEGIN went upstream; null when there are none. */
  transactionSql(): string | null {
    const commands = this.#inTransaction.flatMap((entry) => {
      if ('savepoint' in entry) return [`SAVEPOINT ${quoteAlways(entry.savepoint)}`];
      const { name, value, local } = entry;
      if (isOwnSetting(name)) return [];
      return [value === null ? `RESET ${quoteSetting(name)}` : setConfig(name, value, local)];
    });
    return commands.length === 0 ? null : commands.join('; ');
  }

  #assign(change: SettingChange): void {
    const next = new Map(this.#current);
    const value = change.value ?? this.#startup.get(change.name);
    if (value === undefined) next.delete(change.name);
    else next.set(change.name, value);
    this.#current = next;
    if (this.#before !== undefined) this.#inTransaction.push(change);
    this.#changed();
  }

  #lookAtOwner(): void {
    if (this.#ownerVersion === this.#owner.version) return;
    this.#ownerVersion = this.#owner.version;
    this.#changed();
  }

  #changed(): void {
    this.#needsBroken = -1;
    this.#planning = null;
    this.#durations = null;
    this.#peculiar = null;
  }

  #computeNeeds(): number {
    let broken = 0;
    if (!UTC_NAMES.has((this.get('timezone') ?? '').toLowerCase())) broken |= NEED_TIMEZONE_UTC;
    if (!(this.get('datestyle') ?? '').startsWith('ISO')) broken |= NEED_DATESTYLE_ISO;
    if (this.get('intervalstyle') !== 'postgres') broken |= NEED_INTERVALSTYLE_POSTGRES;
    if (Number(this.get('extra_float_digits') ?? '1') < 1) broken |= NEED_FLOAT_SHORTEST;
    if (this.get('bytea_output') !== 'hex') broken |= NEED_BYTEA_HEX;
    if (this.#current.has('lc_monetary')) broken |= NEED_MONETARY_DEFAULT;
    for (const key of ['xmlbinary', 'xmloption', 'quote_all_identifiers']) {
      if (this.get(key) !== BUILT_IN_SETTINGS[key]) broken |= NEED_OUTPUT_DEFAULTS;
    }
    return broken;
  }
}

/** True for settings that this edge can show by itself. */
export function isKnownSetting(name: string): boolean {
  return RULES.has(name.toLowerCase());
}

/** Settings of ours: the core never hears of them. */
export function isOwnSetting(name: string): boolean {
  return name.toLowerCase().startsWith('skerry.');
}

/** What may not be set at all, as SHOW's own words do not change by being told so. */
export function isReadOnlySetting(name: string): boolean {
  return ['skerry.lag', 'skerry.age', 'skerry.lsn', 'skerry.state', 'skerry.answered_by'].includes(name.toLowerCase());
}

/** Postgres' spelling, e.g. TimeZone for timezone. */
export function settingDisplayName(name: string): string {
  return RULES.get(name.toLowerCase())?.name ?? name;
}

export function isReportedSetting(name: string): boolean {
  return REPORTED.has(name.toLowerCase());
}

function understand(name: string, values: readonly string[], current: string): string | null {
  const known = RULES.get(name.toLowerCase());
  return known === undefined ? null : known.rule(values, current);
}

/** set_config takes the text that SHOW prints, lists included, which SET does not. */
function setConfig(name: string, value: string, local: boolean): string {
  return `SELECT pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, ${local})`;
}

function quoteSetting(name: string): string {
  return name
    .split('.')
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join('.');
}

/** As a string constant that means the same with standard_conforming_strings on and off. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? ` E${quoted}` : quoted;
}

function oneOf(...words: readonly string[]): Rule {
  return (values) => {
    const word = values.length === 1 ? (values[0] as string).toLowerCase() : '';
    return words.includes(word) ? word : null;
  };
}

function boolean(values: readonly string[]): string | null {
  const word = values.length === 1 ? (values[0] as string).toLowerCase() : '';
  if (['on', 'true', 'yes', '1', 't', 'y'].includes(word)) return 'on';
  if (['off', 'false', 'no', '0', 'f', 'n'].includes(word)) return 'off';
  return null;
}

function integerBetween(min: number, max: number): Rule {
  return (values) => {
    const text = values.length === 1 ? (values[0] as string) : '';
    const value = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? String(value) : null;
  };
}

/** NAMEDATALEN - 1. */
const NAME_BYTES_MAX = 63;

function applicationName(values: readonly string[]): string | null {
  if (values.length !== 1) return null;
  const name = values[0] as string;
  // Other bytes are escaped by Postgres in ways that differ between versions: the core's to say.
  return /^[\x20-\x7e]*$/.test(name) ? name.slice(0, NAME_BYTES_MAX) : null;
}

function clientEncoding(values: readonly string[]): string | null {
  const word = (values.length === 1 ? (values[0] as string) : '').toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  return word === 'utf8' || word === 'unicode' ? 'UTF8' : null;
}

function dateStyle(values: readonly string[], current: string): string | null {
  const words = values
    .join(',')
    .split(',')
    .map((word) => word.trim().toLowerCase());
  let [style, order] = current.split(',').map((part) => part.trim()) as [string, string | undefined];
  order ??= 'MDY';
  for (const word of words) {
    if (word === 'iso') style = 'ISO';
    else if (word === 'sql') style = 'SQL';
    else if (word === 'german') [style, order] = ['German', words.length === 1 ? 'DMY' : order];
    else if (word.startsWith('postgres')) style = 'Postgres';
    else if (word === 'ymd') order = 'YMD';
    else if (word === 'dmy' || word.startsWith('euro')) order = 'DMY';
    else if (word === 'mdy' || word === 'us' || word.startsWith('noneuro')) order = 'MDY';
    else return null;
  }
  return `${style}, ${order}`;
}

const UTC_NAMES = new Set([
  'utc',
  'gmt',
  'etc/utc',
  'etc/gmt',
  'etc/uct',
  'uct',
  'zulu',
  'etc/zulu',
  'universal',
  'etc/universal',
  'greenwich',
  'etc/greenwich',
  'gmt0',
  'etc/gmt0',
]);

/** Only names spelled as in the tz database: Postgres prints those as they are written. */
function timeZone(values: readonly string[]): string | null {
  if (values.length !== 1) return null;
  const name = values[0] as string;
  if (name.toLowerCase() === 'utc') return 'UTC';
  if (name.toLowerCase() === 'gmt') return 'GMT';
  if (!/^[A-Z][A-Za-z_]+(?:\/[A-Z][A-Za-z_\-+0-9]+)+$/.test(name)) return null;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name;
  } catch {
    return null;
  }
}

const DURATION_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function durationMs(text: string): number | null {
  const found = /^\s*(\d{1,10}(?:\.\d+)?)\s*(us|ms|s|min|h|d)?\s*$/.exec(text);
  if (found === null) return null;
  const ms = Math.round(Number(found[1]) * (DURATION_UNITS[found[2] ?? ''] as number));
  return ms <= 0x7fffffff ? ms : null;
}

/** Printed with the largest unit that divides it, as Postgres does. */
function duration(values: readonly string[], _current: string): string | null {
  const ms = values.length === 1 ? durationMs(values[0] as string) : null;
  if (ms === null) return null;
  if (ms === 0) return '0';
  for (const [unit, size] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function durationOrNone(values: readonly string[], current: string): string | null {
  return values.length === 1 && values[0] === '-1' ? '-1' : duration(values, current);
}

function searchPath(values: readonly string[]): string | null {
  return values.map(quoteIdentifierIfNeeded).join(', ');
}

function quoteIdentifierIfNeeded(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** Splits what SHOW search_path prints: identifiers, quoted where needed, separated by commas. */
export function splitIdentifiers(list: string): string[] {
  const names: string[] = [];
  for (const found of list.matchAll(/\s*(?:"((?:[^"]|"")*)"|([^",\s][^",]*?))\s*(?:,|$)/g)) {
    names.push(found[1] === undefined ? (found[2] as string).toLowerCase() : found[1].replaceAll('""', '"'));
  }
  return names.filter((name) => name !== '');
}
