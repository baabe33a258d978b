// GET /kv/<table>/<key>: one row by its primary key, as JSON, from the replica only.

import { OID } from '../pg/oid.ts';
import { quoteIdentifier, quoteQualified } from '../pg/identifier.ts';
import { formatLsn } from '../pg/lsn.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { LocalEngine } from './local.ts';
import { type SessionSettings, splitIdentifiers } from './settings.ts';
import type { ColumnPlan, LocalPlan } from './sql/plan.ts';
import { readText } from './sql/read.ts';

export type KvAnswer =
  | { readonly found: true; readonly lsn: string; readonly json: string }
  | { readonly found: false; readonly status: 400 | 403 | 404 | 503; readonly code: string; readonly message: string };

export interface KvDeps {
  readonly engine: LocalEngine;
  /** With the settings under which replicas hold their texts. */
  readonly settings: SessionSettings;
  readonly mayRead: (plan: LocalPlan) => boolean;
}

/** `table` is `schema.name` or `name` in public; `key` the text of the primary key's value. */
export function readKey({ engine, settings, mayRead }: KvDeps, table: string, key: string): KvAnswer {
  const { catalogue } = engine;
  if (catalogue === null) return refused(503, 'replica-not-ready', 'the first snapshot has not arrived yet');
  const parts = splitIdentifiers(table.replaceAll('.', ','));
  const [schema, name] = parts.length === 1 ? ['public', parts[0] as string] : (parts as [string, string]);
  const image = parts.length > 2 ? undefined : catalogue.find(schema, name);
  if (image === undefined || image.kind !== 'r')
    return refused(404, 'table-unknown', `there is no table ${table} here`);
  const only = image.primaryKeyAttnums.length === 1 ? image.primaryKeyAttnums[0] : undefined;
  const column = image.columns.find(({ attnum }) => attnum === only);
  if (column === undefined) return refused(400, 'key-not-single', `${table} has no primary key of one column`);
  const sql = `SELECT * FROM ${quoteQualified(schema, name)} WHERE ${quoteIdentifier(column.name)} = $1`;
  const { plan, literals } = engine.statement(sql, [], settings);
  const prepared = plan.kind === 'local' ? engine.prepare(plan) : null;
  if (plan.kind !== 'local' || prepared === null || (settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) {
    return refused(503, 'not-local', `rows of ${table} cannot be read here alone; ask by SQL`);
  }
  if (!mayRead(plan)) return refused(403, 'not-allowed', `the role of this edge may not read ${table}`);
  const values = engine.bind(plan, literals, { formats: [], values: [Buffer.from(key)] }, settings);
  if (values === null) return refused(400, 'key-invalid', `"${key.slice(0, 100)}" is no key of ${table}`);
  const row = prepared.readRows(values)?.[0];
  if (row === undefined) return refused(404, 'key-unknown', `${table} has no row with that key`);
  const fields = plan.columns.map(
    (each, index) => `${JSON.stringify(each.name)}:${json(each, row[index] as SqliteValue)}`,
  );
  return { found: true, lsn: formatLsn(engine.position), json: `{${fields.join(',')}}` };
}

function refused(status: 400 | 403 | 404 | 503, code: string, message: string): KvAnswer {
  return { found: false, status, code, message };
}

const NUMBERS: ReadonlySet<number> = new Set([
  OID.int2,
  OID.int4,
  OID.int8,
  OID.oid,
  OID.float4,
  OID.float8,
  OID.numeric,
]);

/** Numbers with all their digits, JSON as it is, everything else as Postgres prints it. */
function json(column: ColumnPlan, value: SqliteValue): string {
  if (value === null) return 'null';
  const text = readText(column.reader, value);
  if (column.typeOid === OID.bool) return text === 't' ? 'true' : 'false';
  if (column.typeOid === OID.json || column.typeOid === OID.jsonb) return text;
  return NUMBERS.has(column.typeOid) && /^-?\d/.test(text) ? text : JSON.stringify(text);
}
