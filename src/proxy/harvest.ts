// Questions to a server connection whose transaction is over: what did the session keep? One simple query with one SELECT
// per kind of state; every name is qualified, so that the client's search_path has no say.

import { EFFECT } from './scan.ts';
import { quoteLiteral, type SessionSettings, settingsOf } from './settings.ts';

/** Effects that have a question. */
export const HARVESTED =
  EFFECT.settings | EFFECT.channels | EFFECT.prepared | EFFECT.temporary | EFFECT.locks | EFFECT.cursors;

/** Effects that keep the connection with its client while anything is found. */
export const PINNING = EFFECT.temporary | EFFECT.locks | EFFECT.cursors;

export interface Harvest {
  /** Null when not asked. */
  readonly settings: SessionSettings | null;
  readonly channels: readonly string[] | null;
  readonly preparedNames: readonly string[] | null;
  /** Which of PINNING are really there. */
  readonly pins: number;
}

type Rows = readonly (readonly (string | null)[])[];

/** The query for these effects; `names` are settings that pg_settings may not list (custom ones, role). */
export function harvestSql(effects: number, names: readonly string[]): string {
  const parts: string[] = [];
  if ((effects & EFFECT.settings) !== 0) {
    parts.push(
      `SELECT s.name, pg_catalog.current_setting(s.name, true) FROM pg_catalog.pg_settings s WHERE s.source OPERATOR(pg_catalog.=) 'session'::pg_catalog.text`,
    );
    const array = names.map(quoteLiteral).join(',');
    parts.push(
      `SELECT n, pg_catalog.current_setting(n, true) FROM pg_catalog.unnest(ARRAY[${array}]::pg_catalog.text[]) n WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) n)`,
    );
  }
  if ((effects & EFFECT.channels) !== 0) parts.push('SELECT c FROM pg_catalog.pg_listening_channels() c');
  if ((effects & EFFECT.prepared) !== 0) {
    parts.push('SELECT p.name FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql');
  }
  if ((effects & EFFECT.temporary) !== 0) {
    parts.push(
      'SELECT 1 FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() LIMIT 1',
    );
  }
  if ((effects & EFFECT.locks) !== 0) {
    parts.push(
      `SELECT 1 FROM pg_catalog.pg_locks l WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.locktype OPERATOR(pg_catalog.=) 'advisory'::pg_catalog.text LIMIT 1`,
    );
  }
  if ((effects & EFFECT.cursors) !== 0) {
    parts.push('SELECT 1 FROM pg_catalog.pg_cursors c WHERE c.is_holdable LIMIT 1');
  }
  return parts.join(';');
}

/** Reads the answers to `harvestSql(effects, …)`. */
export function readHarvest(effects: number, results: readonly Rows[]): Harvest {
  let at = 0;
  const next = (): Rows => results[at++] ?? [];
  let settings: SessionSettings | null = null;
  if ((effects & EFFECT.settings) !== 0) {
    const values = new Map<string, string>();
    for (const [name, value] of [...next(), ...next()]) {
      if (name === null || name === undefined || value === null || value === undefined) continue;
      if ((name === 'role' && value === 'none') || isLocalOnly(name)) continue;
      values.set(name.toLowerCase(), value);
    }
    settings = settingsOf(values);
  }
  const column = (rows: Rows): string[] => rows.map((row) => row[0] ?? '');
  const channels = (effects & EFFECT.channels) === 0 ? null : column(next());
  const preparedNames = (effects & EFFECT.prepared) === 0 ? null : column(next());
  let pins = 0;
  for (const effect of [EFFECT.temporary, EFFECT.locks, EFFECT.cursors]) {
    if ((effects & effect) !== 0 && next().length > 0) pins |= effect;
  }
  return { settings, channels, preparedNames, pins };
}

/** Belong to one transaction, although pg_settings calls their source `session`. */
function isLocalOnly(name: string): boolean {
  return name === 'transaction_isolation' || name === 'transaction_read_only' || name === 'transaction_deferrable';
}
