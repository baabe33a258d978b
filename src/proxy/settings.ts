// Session settings in transaction mode: what a client has set for its session, and how a server connection is brought there.
// What a session has set is asked of the server after the transaction (pg_settings.source = 'session'), never concluded from
// text: so SET inside a transaction that rolled back, savepoints and functions need no rules of their own.

/** Settings of one session beyond its startup parameters. Never changed; equal contents have equal keys. */
export class SessionSettings {
  readonly values: ReadonlyMap<string, string>;
  readonly key: string;

  constructor(values: ReadonlyMap<string, string>) {
    this.values = values;
    this.key = [...values]
      .map(([name, value]) => `${name}\0${value}`)
      .sort()
      .join('\0\0');
  }

  get empty(): boolean {
    return this.values.size === 0;
  }

  /** What makes the same SQL text mean something else. */
  get context(): string {
    if (this.empty) return '';
    return `${this.values.get('search_path') ?? ''}\0${this.values.get('role') ?? ''}\0${this.values.get('session_authorization') ?? ''}`;
  }
}

export const NO_SETTINGS = new SessionSettings(new Map());

const interned = new Map<string, SessionSettings>();
const INTERNED_MAX = 10_000;

/** Many clients share the same few: one object each keeps idle clients small. */
export function settingsOf(values: ReadonlyMap<string, string>): SessionSettings {
  if (values.size === 0) return NO_SETTINGS;
  const settings = new SessionSettings(values);
  const known = interned.get(settings.key);
  if (known !== undefined) return known;
  if (interned.size >= INTERNED_MAX) interned.clear();
  interned.set(settings.key, settings);
  return settings;
}

/** The identity comes last, since it may take away the right to change the others; and goes first. */
const IDENTITY = ['session_authorization', 'role'];

/** SQL that turns a session with `from` into one with `to`; empty when there is nothing to do. */
export function changeSql(from: SessionSettings, to: SessionSettings): string {
  if (from.key === to.key) return '';
  const statements: string[] = [];
  const identityChanges = IDENTITY.some((name) => from.values.get(name) !== to.values.get(name));
  if (identityChanges) {
    for (const name of IDENTITY.toReversed()) if (from.values.has(name)) statements.push(`RESET ${name}`);
  }
  for (const name of from.values.keys()) {
    if (!to.values.has(name) && !IDENTITY.includes(name)) statements.push(`RESET ${quoteSettingName(name)}`);
  }
  for (const [name, value] of to.values) {
    if (!IDENTITY.includes(name) && from.values.get(name) !== value) statements.push(setConfig(name, value));
  }
  if (identityChanges) {
    for (const name of IDENTITY) {
      const value = to.values.get(name);
      if (value !== undefined) statements.push(setConfig(name, value));
    }
  }
  return statements.join(';');
}

/** The only difference is one that cannot fail and changes no result: it need not be waited for. */
export function changesOnlyName(from: SessionSettings, to: SessionSettings): boolean {
  const names = new Set([...from.values.keys(), ...to.values.keys()]);
  for (const name of names) {
    if (name !== 'application_name' && from.values.get(name) !== to.values.get(name)) return false;
  }
  return true;
}

function setConfig(name: string, value: string): string {
  return `SELECT pg_catalog.set_config(${quoteLiteral(name)}, ${quoteLiteral(value)}, false)`;
}

/** Safe whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  return `E'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quoteSettingName(name: string): string {
  return name.split('.').map(quoteIdentifier).join('.');
}
