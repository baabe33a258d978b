// Rows by key, for those who ask without SQL: read from the replica when the planner can prove that (I2), else from the core; written
// at the core. Values travel as JSON or, one column at a time, as they are.
//
// A row's `digest` names its content: a conditional write compares it, at the core and under a row lock, with the row there. That
// is exact whatever the PoPs have applied meanwhile, and a digest from one PoP is good at every other.

import type { Crypto } from '../../base/crypto.ts';
import { Fault } from '../../base/fault.ts';
import type { ColumnImage, TableImage } from '../../contracts/catalogue.ts';
import { quoteIdentifier, quoteQualified } from '../../pg/identifier.ts';
import type { Lsn } from '../../pg/lsn.ts';
import { OID } from '../../pg/oid.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import type { CoreWriter, Written } from '../core-writer.ts';
import type { LocalEngine, PreparedPlan } from '../local.ts';
import { quoteLiteral, type SessionSettings, splitIdentifiers } from '../settings.ts';
import type { ColumnPlan, LocalPlan } from '../sql/plan.ts';
import { readText } from '../sql/read.ts';

/** What a key/value request is refused with; `status` is HTTP's. */
export class KvFault extends Fault {
  readonly status: number;

  constructor(status: number, code: string, message: string, hint?: string) {
    super(code, { message, ...(hint === undefined ? {} : { hint }) });
    this.status = status;
  }
}

export interface KvTable {
  /** As it was asked for. */
  readonly label: string;
  readonly image: TableImage;
  /** Of the primary key, in its order. */
  readonly keys: readonly ColumnImage[];
  /** All that this edge holds. */
  readonly columns: readonly ColumnImage[];
  /** Quoted, for the core. */
  readonly sqlName: string;
  readonly sqlColumns: string;
  /** The row with the key $1…. */
  readonly sqlGet: string;
}

export interface KvRow {
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
  /** As Postgres prints them under the pinned settings; null is NULL. */
  readonly texts: readonly (string | null)[];
}

export interface KvPage {
  readonly rows: readonly KvRow[];
  /** True when there are more behind the last one. */
  readonly more: boolean;
}

export interface KvRowsDeps {
  readonly engine: LocalEngine;
  /** With the settings under which replicas hold their texts. */
  readonly settings: SessionSettings;
  readonly mayRead: (plan: LocalPlan) => boolean;
  readonly crypto: Crypto;
  readonly writer: CoreWriter;
}

/** Part of a table in the order of its key's bytes. */
export interface KvRange {
  /** Values of the first columns of the key. */
  readonly leading: readonly string[];
  /** Of the next column of the key, which is a text. */
  readonly prefix: string | null;
  /** Behind this value of that column. */
  readonly after: string | null;
  readonly limit: number;
}

/** What a conditional write asks of the row that is there. */
export type KvCondition =
  | { readonly is: 'any' }
  | { readonly is: 'there' | 'absent' }
  | { readonly digests: readonly string[] };

export const ANY_ROW: KvCondition = { is: 'any' };

/** Values to write: a JSON object of columns, or one column as bytes. */
export type KvValues = { readonly json: string } | { readonly column: string; readonly bytes: Uint8Array };

const DIGEST_BYTES = 12;

/** Names of tables that are remembered, in all the ways that they are written. */
const TABLES_MAX = 1000;

export class KvRows {
  readonly #deps: KvRowsDeps;
  /** By the name that is asked for; void with the catalogue. */
  readonly #tables = new Map<string, KvTable>();
  #version = -1;

  constructor(deps: KvRowsDeps) {
    this.#deps = deps;
  }

  /** `name` is `schema.table`, or `table` in public. Throws KvFault 404, 400 or 503. */
  table(name: string): KvTable {
    const { engine } = this.#deps;
    if (engine.version !== this.#version) {
      this.#tables.clear();
      this.#version = engine.version;
    }
    const known = this.#tables.get(name);
    if (known !== undefined) return known;
    const { catalogue } = engine;
    if (catalogue === null) {
      throw new KvFault(503, 'replica-not-ready', 'the first snapshot has not arrived yet', 'try again in a moment');
    }
    const parts = splitIdentifiers(name.replaceAll('.', ','));
    const [schema, table] = parts.length === 1 ? ['public', parts[0] as string] : (parts as [string, string]);
    const image = parts.length > 2 ? undefined : catalogue.find(schema, table);
    if (image === undefined || image.kind !== 'r') {
      throw new KvFault(404, 'table-unknown', `there is no table ${name} here`, 'name it as schema.table');
    }
    const keys = image.primaryKeyAttnums.map((attnum) => image.columns.find((column) => column.attnum === attnum));
    if (keys.length === 0 || keys.some((column) => column === undefined)) {
      throw new KvFault(400, 'key-missing', `${name} has no primary key`, 'ask for its rows by SQL');
    }
    const columns = image.columns.filter(({ replicated }) => replicated);
    const sqlName = quoteQualified(schema, table);
    const sqlColumns = columns.map((column) => quoteIdentifier(column.name)).join(', ');
    const sqlKey = (keys as ColumnImage[])
      .map((column, index) => `${quoteIdentifier(column.name)} = $${index + 1}`)
      .join(' AND ');
    const made: KvTable = {
      label: name,
      image,
      keys: keys as ColumnImage[],
      columns,
      sqlName,
      sqlColumns,
      sqlGet: `SELECT ${sqlColumns} FROM ${sqlName} WHERE ${sqlKey}`,
    };
    if (this.#tables.size >= TABLES_MAX) this.#tables.clear();
    this.#tables.set(name, made);
    return made;
  }

  /** The row with this key, null when there is none. Throws KvFault; rejects with a Fault when only the core knows and it is away. */
  get(table: KvTable, key: readonly string[]): KvRow | null | Promise<KvRow | null> {
    requireWholeKey(table, key);
    const local = this.#local(table, table.sqlGet, key);
    if (local !== null) return local[0] ?? null;
    return this.#core(table, key).then((rows) => rows[0] ?? null);
  }

  /** A part of the table. `limit` is the caller's bound. */
  async range(table: KvTable, range: KvRange): Promise<KvPage> {
    const { leading, prefix, after, limit } = range;
    const next = table.keys[leading.length];
    if (next === undefined) {
      throw new KvFault(
        400,
        'key-too-long',
        `${leading.length} values are the whole key of ${table.label}`,
        'leave the last one out to list',
      );
    }
    const isText = TEXTS.has(next.typeOid);
    if (prefix !== null && !isText) {
      throw new KvFault(
        400,
        'prefix-impossible',
        `${next.name} is no text: a prefix means nothing to it`,
        'use after and limit',
      );
    }
    const name = quoteIdentifier(next.name);
    const column = isText ? `${name} COLLATE "C"` : name;
    const parameters = [...leading];
    const parameter = (value: string): string => `$${parameters.push(value)}`;
    const conditions = leading.map(
      (_, index) => `${quoteIdentifier((table.keys[index] as ColumnImage).name)} = $${index + 1}`,
    );
    if (prefix !== null && prefix !== '') {
      conditions.push(`${column} >= ${parameter(prefix)}`);
      const end = behindPrefix(prefix);
      if (end !== null) conditions.push(`${column} < ${parameter(end)}`);
    }
    if (after !== null) conditions.push(`${column} > ${parameter(after)}`);
    const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
    // A page ends behind a value of the column that pages are cut at, so that column must tell rows apart.
    if (leading.length + 1 < table.keys.length) {
      throw new KvFault(
        400,
        'key-too-short',
        `rows of ${table.label} are listed under the first ${table.keys.length - 1} values of their key`,
        `/kv/${table.label}/${table.keys
          .slice(0, -1)
          .map((each) => `<${each.name}>`)
          .join('/')}/`,
      );
    }
    const sql = `SELECT ${table.sqlColumns} FROM ${table.sqlName}${where} ORDER BY ${column} LIMIT ${limit + 1}`;
    const rows = await this.query(table, sql, parameters);
    return { rows: rows.slice(0, limit), more: rows.length > limit };
  }

  /** Rows of a query of ours about the table: from the replica when that is proven, else from the core. */
  query(table: KvTable, sql: string, parameters: readonly string[]): KvRow[] | Promise<KvRow[]> {
    return this.#local(table, sql, parameters) ?? this.#query(sql, parameters);
  }

  /** Inserts or changes the row. `created` tells which. Rejects with KvFault 412 when the condition is not met. */
  async put(
    table: KvTable,
    key: readonly string[],
    values: KvValues,
    condition: KvCondition,
  ): Promise<Written<{ readonly row: KvRow; readonly created: boolean }>> {
    requireWholeKey(table, key);
    const sql = this.#upsertSql(table, key, values, condition);
    if ('is' in condition && condition.is !== 'there') {
      const { value, lsn } = await this.#deps.writer.write(sql);
      const row = value[0]?.rows[0];
      // ON CONFLICT DO NOTHING: there was one.
      if (row === undefined) throw unmet(table);
      return { value: { row: rowOf(table, row.slice(1)), created: row[0] === 't' }, lsn };
    }
    const written = await this.#deps.writer.transaction(async (session) => {
      const [there] = (await session.query(`${selectSql(table, key)} FOR UPDATE`)).rows;
      if (there === undefined || !this.#meets(condition, rowOf(table, there))) return null;
      const row = (await session.query(sql)).rows[0] ?? [];
      return { row: rowOf(table, row.slice(1)), created: false };
    });
    if (written === null) throw unmet(table);
    return written;
  }

  /** Null when there was no such row. Rejects with KvFault 412 when the condition is not met. */
  async delete(table: KvTable, key: readonly string[], condition: KvCondition): Promise<Lsn | null> {
    requireWholeKey(table, key);
    const sql = `DELETE FROM ${table.sqlName} WHERE ${keyCondition(table, key)} RETURNING 1`;
    if ('is' in condition) {
      const { value, lsn } = await this.#deps.writer.write(sql);
      if (value[0]?.rows.length === 1) return lsn;
      if (condition.is === 'there') throw unmet(table);
      return null;
    }
    const written = await this.#deps.writer.transaction(async (session) => {
      const [there] = (await session.query(`${selectSql(table, key)} FOR UPDATE`)).rows;
      if (there === undefined || !this.#meets(condition, rowOf(table, there))) return null;
      return await session.query(sql);
    });
    if (written === null) throw unmet(table);
    return written.lsn;
  }

  /** Short, the same for the same content whichever PoP is asked. `json` is the row's `rowJson`. */
  digest(json: string): string {
    const hash = this.#deps.crypto.sha256(Buffer.from(json));
    return Buffer.from(hash.subarray(0, DIGEST_BYTES)).toString('base64url');
  }

  #meets(condition: KvCondition, row: KvRow): boolean {
    return 'is' in condition ? condition.is !== 'absent' : condition.digests.includes(this.digest(rowJson(row)));
  }

  /** Null when the core has to answer. */
  #local(table: KvTable, sql: string, parameters: readonly string[]): KvRow[] | null {
    const { engine, settings, mayRead } = this.#deps;
    const { plan, literals } = engine.statement(sql, [], settings);
    if (plan.kind !== 'local') return null;
    const prepared: PreparedPlan | null = engine.prepare(plan);
    if (prepared === null || (settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) return null;
    if (!mayRead(plan)) {
      throw new KvFault(403, 'not-allowed', `the role of this edge may not read ${table.label}`, 'GRANT SELECT on it');
    }
    const values = engine.bind(
      plan,
      literals,
      { formats: NO_FORMATS, values: parameters.map((text) => Buffer.from(text)) },
      settings,
    );
    if (values === null) throw badKey(table, parameters);
    const rows = prepared.readRows(values);
    if (rows === null) return null;
    const { columns } = plan;
    return rows.map((row) => ({
      columns,
      texts: columns.map((column: ColumnPlan, index) => {
        const value = row[index] as SqliteValue;
        return value === null ? null : readText(column.reader, value);
      }),
    }));
  }

  async #core(table: KvTable, key: readonly string[]): Promise<KvRow[]> {
    return await this.#query(selectSql(table, key));
  }

  async #query(sql: string, parameters: readonly string[] = []): Promise<KvRow[]> {
    const { columns, rows } = await this.#deps.writer.read(sql, parameters);
    return rows.map((texts) => ({ columns, texts }));
  }

  #upsertSql(table: KvTable, key: readonly string[], values: KvValues, condition: KvCondition): string {
    const keyNames = table.keys.map((column) => quoteIdentifier(column.name));
    const keyValues = key.map(quoteLiteral);
    const columns = 'json' in values ? jsonColumns(table, key, values.json) : [columnOf(table, values.column)];
    const names = columns.map((column) => quoteIdentifier(column.name));
    const source =
      'json' in values
        ? `SELECT ${[...keyValues, ...names.map((name) => `r.${name}`)].join(', ')} FROM pg_catalog.json_populate_record(NULL::${table.sqlName}, ${quoteLiteral(values.json)}) AS r`
        : `VALUES (${[...keyValues, rawLiteral(columns[0] as ColumnImage, values.bytes)].join(', ')})`;
    const changed = names.length === 0 ? keyNames.slice(0, 1) : names;
    const conflict =
      'is' in condition && condition.is === 'absent'
        ? 'NOTHING'
        : `UPDATE SET ${changed.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`;
    return (
      `INSERT INTO ${table.sqlName} AS t (${[...keyNames, ...names].join(', ')}) ${source} ` +
      `ON CONFLICT (${keyNames.join(', ')}) DO ${conflict} ` +
      `RETURNING t.xmax = 0, ${table.columns.map((column) => `t.${quoteIdentifier(column.name)}`).join(', ')}`
    );
  }
}

const NO_FORMATS: readonly number[] = [];

const TEXTS: ReadonlySet<number> = new Set([OID.text, OID.varchar]);

function requireWholeKey(table: KvTable, key: readonly string[]): void {
  // Postgres has no such text.
  if (key.some((value) => value.includes('\0'))) throw badKey(table, key);
  if (key.length === table.keys.length) return;
  throw new KvFault(
    400,
    'key-incomplete',
    `the key of ${table.label} has ${table.keys.length} values, not ${key.length}`,
    `/kv/${table.label}/${table.keys.map((column) => `<${column.name}>`).join('/')}`,
  );
}

function badKey(table: KvTable, values: readonly string[]): KvFault {
  return new KvFault(400, 'key-invalid', `"${values.join('/').slice(0, 100)}" is no key of ${table.label}`);
}

function unmet(table: KvTable): KvFault {
  return new KvFault(
    412,
    'condition-failed',
    `the row of ${table.label} is not as the request says`,
    'read it again, and decide again',
  );
}

function columnOf(table: KvTable, name: string): ColumnImage {
  const column = table.columns.find((each) => each.name === name);
  if (column !== undefined && !table.keys.includes(column)) return column;
  throw new KvFault(
    400,
    column === undefined ? 'column-unknown' : 'column-is-key',
    column === undefined ? `${table.label} has no column ${name}` : `${name} is part of the key, which the path says`,
  );
}

/** The columns that a JSON object names. Those of the key may be there if they say what the path says. */
function jsonColumns(table: KvTable, key: readonly string[], json: string): ColumnImage[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    throw new KvFault(400, 'body-invalid', `the body is not JSON: ${(error as Error).message}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new KvFault(
      400,
      'body-invalid',
      'the body is no JSON object of columns',
      'or write one column as it is: ?column=<name>',
    );
  }
  const columns: ColumnImage[] = [];
  for (const [name, value] of Object.entries(parsed)) {
    const at = table.keys.findIndex((column) => column.name === name);
    if (at < 0) columns.push(columnOf(table, name));
    else if (String(value) !== key[at]) {
      throw new KvFault(
        400,
        'key-differs',
        `${name} is ${JSON.stringify(value)} in the body and "${key[at] ?? ''}" in the path`,
      );
    }
  }
  return columns;
}

function rawLiteral(column: ColumnImage, bytes: Uint8Array): string {
  if (column.typeOid === OID.bytea) return quoteLiteral(`\\x${Buffer.from(bytes).toString('hex')}`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new KvFault(400, 'body-invalid', `the body is not UTF-8, and ${column.name} is not bytea`);
  }
  if (text.includes('\0')) {
    throw new KvFault(
      400,
      'body-invalid',
      `the body has a zero byte, which ${column.name} cannot hold: it is not bytea`,
    );
  }
  return quoteLiteral(text);
}

function keyCondition(table: KvTable, key: readonly string[]): string {
  return table.keys
    .map((column, index) => `${quoteIdentifier(column.name)} = ${quoteLiteral(key[index] as string)}`)
    .join(' AND ');
}

function selectSql(table: KvTable, key: readonly string[]): string {
  return `SELECT ${table.sqlColumns} FROM ${table.sqlName} WHERE ${keyCondition(table, key)}`;
}

function rowOf(table: KvTable, texts: readonly (string | null)[]): KvRow {
  return { columns: table.columns, texts };
}

/** First text, in the order of bytes, that is behind all that begin with `prefix`; null when there is none. */
function behindPrefix(prefix: string): string | null {
  const points = Array.from(prefix);
  while (points.length > 0) {
    const last = (points.pop() as string).codePointAt(0) as number;
    // Surrogates are no characters: the next one behind U+D7FF is U+E000.
    if (last < 0x10ffff) return points.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1);
  }
  return null;
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

/** A row as a JSON object: numbers with all their digits, JSON as it is, everything else as Postgres prints it. */
export function rowJson({ columns, texts }: KvRow): string {
  let json = '{';
  for (let index = 0; index < columns.length; index += 1) {
    const { name, typeOid } = columns[index] as KvRow['columns'][number];
    json += `${index === 0 ? '' : ','}${JSON.stringify(name)}:${valueJson(typeOid, texts[index] as string | null)}`;
  }
  return `${json}}`;
}

function valueJson(typeOid: number, text: string | null): string {
  if (text === null) return 'null';
  if (typeOid === OID.bool) return text === 't' ? 'true' : 'false';
  if (typeOid === OID.json || typeOid === OID.jsonb) return text;
  return NUMBERS.has(typeOid) && /^-?\d/.test(text) ? text : JSON.stringify(text);
}
