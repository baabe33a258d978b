// The databases of a Kyoto Tycoon server, over tables: each has a key (its primary key, one column of text or bytea), a value (text or
// bytea) and, if it likes, a time of expiry (timestamptz, or whole seconds of the epoch). Reads are the replica's, writes the core's.
//
// A record is expired when the current second is behind its time; it then counts as absent everywhere, and VACUUM deletes it.

import type { Clock } from '../../base/clock.ts';
import type { ColumnImage } from '../../contracts/catalogue.ts';
import { quoteIdentifier } from '../../pg/identifier.ts';
import type { Lsn } from '../../pg/lsn.ts';
import { OID } from '../../pg/oid.ts';
import type { ClientSession, QueryResult } from '../../session/client-session.ts';
import type { CoreWriter, Written } from '../core-writer.ts';
import type { KvRow, KvRows, KvTable } from '../kv/rows.ts';
import { quoteLiteral } from '../settings.ts';
import { conflict, duplicate, incompatible, KtError, noRecord } from './status.ts';

export interface KtRecord {
  readonly key: Buffer;
  readonly value: Buffer;
  /** Seconds of the epoch; null = never. */
  readonly xt: number | null;
}

export interface KtStoreDeps {
  readonly clock: Clock;
  readonly rows: KvRows;
  readonly writer: CoreWriter;
  /** Called with the position of each write, before its answer: read-your-writes for everybody at this port. */
  readonly written: (lsn: Lsn) => Promise<void>;
}

export interface KtScan {
  /** Where it begins; null = at the end that it comes from. */
  readonly from: Buffer | null;
  readonly inclusive: boolean;
  readonly descending: boolean;
  /** Only keys that begin so; ascending scans only. */
  readonly prefix?: Buffer;
  readonly limit: number;
}

/** What an increment makes of the value that is there, null for none. `isText`: the column holds text, not bytes. */
export type Change<T> = (value: Buffer | null, isText: boolean) => { readonly value: Buffer; readonly result: T };

interface Shape {
  readonly table: KvTable;
  readonly key: ColumnImage;
  readonly value: ColumnImage;
  readonly expiry: ColumnImage | null;
}

/** Records read at once while scanning. */
const PAGE_RECORDS = 500;

/** Names of the column of expiry, if a table has one. */
const EXPIRY_NAMES: ReadonlySet<string> = new Set(['expiry', 'xt', 'expires_at']);

const TEXTS: ReadonlySet<number> = new Set([OID.text, OID.varchar]);

export class KtDatabase {
  readonly name: string;
  readonly #deps: KtStoreDeps;

  constructor(deps: KtStoreDeps, name: string) {
    this.#deps = deps;
    this.name = name;
  }

  async get(key: Buffer): Promise<KtRecord | null> {
    const shape = this.#shape();
    const row = await this.#deps.rows.get(shape.table, [keyText(shape, key)]);
    const record = row === null ? null : recordOf(shape, row);
    return record !== null && this.#isLive(record) ? record : null;
  }

  /** Live records in the order of their keys' bytes. */
  async scan(scan: KtScan): Promise<KtRecord[]> {
    const shape = this.#shape();
    const found: KtRecord[] = [];
    let { from, inclusive } = scan;
    for (;;) {
      const page = await this.#page(shape, { ...scan, from, inclusive });
      for (const record of page) {
        if (scan.prefix !== undefined && !beginsWith(record.key, scan.prefix)) return found;
        if (this.#isLive(record) && found.push(record) >= scan.limit) return found;
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_RECORDS) return found;
      from = last.key;
      inclusive = false;
    }
  }

  /** Rows, expired ones included. */
  async count(): Promise<number> {
    const { table } = this.#shape();
    const [row] = await this.#deps.rows.query(table, `SELECT count(*) FROM ${table.sqlName}`, []);
    return Number(row?.texts[0] ?? 0);
  }

  async set(records: readonly KtRecord[]): Promise<void> {
    if (records.length === 0) return;
    const shape = this.#shape();
    // One command may not touch a row twice: of several with one key the last counts.
    const unique = new Map(records.map((record) => [record.key.toString('latin1'), record]));
    await this.#write(this.#insertSql(shape, [...unique.values()], updateAll(shape)));
  }

  async add(record: KtRecord): Promise<void> {
    const shape = this.#shape();
    const sql = `${this.#insertSql(shape, [record], updateAll(shape))} WHERE NOT ${liveSql(shape)} RETURNING 1`;
    if ((await this.#write(sql)).rows.length === 0) throw duplicate();
  }

  async replace(record: KtRecord): Promise<void> {
    const shape = this.#shape();
    const result = await this.#write(`${updateSql(shape, record)} AND ${liveSql(shape)} RETURNING 1`);
    if (result.rows.length === 0) throw noRecord();
  }

  async append(record: KtRecord): Promise<void> {
    const shape = this.#shape();
    const value = quoteIdentifier(shape.value.name);
    const joined = `CASE WHEN ${liveSql(shape)} THEN t.${value} || EXCLUDED.${value} ELSE EXCLUDED.${value} END`;
    await this.#write(this.#insertSql(shape, [record], updateAll(shape, joined)));
  }

  /** The record that was there; null when none was. */
  async remove(key: Buffer): Promise<KtRecord | null> {
    const shape = this.#shape();
    const sql = `DELETE FROM ${shape.table.sqlName} AS t WHERE ${keySql(shape, key)} AND ${liveSql(shape)} RETURNING ${shape.table.sqlColumns}`;
    const row = (await this.#write(sql)).rows[0];
    return row === undefined ? null : recordOf(shape, { columns: shape.table.columns, texts: row });
  }

  async removeMany(keys: readonly Buffer[]): Promise<number> {
    if (keys.length === 0) return 0;
    const shape = this.#shape();
    const list = keys.map((key) => quoteLiteral(keyText(shape, key))).join(', ');
    const key = quoteIdentifier(shape.key.name);
    const sql = `DELETE FROM ${shape.table.sqlName} AS t WHERE t.${key} IN (${list}) AND ${liveSql(shape)} RETURNING 1`;
    return (await this.#write(sql)).rows.length;
  }

  /** `before` null = no record is there; `after` null = remove it. */
  async compareAndSwap(key: Buffer, before: Buffer | null, after: Buffer | null, xt: number | null): Promise<void> {
    const shape = this.#shape();
    if (before === null) {
      if (after === null) {
        if ((await this.get(key)) !== null) throw conflict();
        return;
      }
      await this.add({ key, value: after, xt }).catch((error: unknown) => {
        throw error instanceof KtError ? conflict() : error;
      });
      return;
    }
    const same = `t.${quoteIdentifier(shape.value.name)} = ${quoteLiteral(valueText(shape, before))} AND ${liveSql(shape)}`;
    const sql =
      after === null
        ? `DELETE FROM ${shape.table.sqlName} AS t WHERE ${keySql(shape, key)} AND ${same} RETURNING 1`
        : `${updateSql(shape, { key, value: after, xt })} AND ${same} RETURNING 1`;
    if ((await this.#write(sql)).rows.length === 0) throw conflict();
  }

  /**
   * Changes a record's value under its lock; `change` gets the value there (null: none) and gives the new one. The row lock, or the
   * unique key for a new record, keeps two increments from losing one.
   */
  async update<T>(key: Buffer, xt: number | null, change: Change<T>): Promise<T> {
    for (;;) {
      const shape = this.#shape();
      const written = await this.#deps.writer.transaction((session) => this.#updateIn(session, shape, key, xt, change));
      // Somebody inserted it between our look and our insert: look again.
      if (written === null) continue;
      await this.#deps.written(written.lsn);
      return written.value;
    }
  }

  async clear(): Promise<void> {
    await this.#write(`DELETE FROM ${this.#shape().table.sqlName}`);
  }

  async vacuum(): Promise<void> {
    const shape = this.#shape();
    if (shape.expiry !== null) {
      await this.#write(`DELETE FROM ${shape.table.sqlName} AS t WHERE NOT ${liveSql(shape)}`);
    }
  }

  async #updateIn<T>(
    session: ClientSession,
    shape: Shape,
    key: Buffer,
    xt: number | null,
    change: Change<T>,
  ): Promise<T | null> {
    const { sqlName, sqlColumns, columns } = shape.table;
    const found = await session.query(
      `SELECT ${sqlColumns}, ${liveSql(shape)} FROM ${sqlName} AS t WHERE ${keySql(shape, key)} FOR UPDATE`,
    );
    const row = found.rows[0];
    const isLive = row?.at(-1) === 't';
    const before = isLive ? recordOf(shape, { columns, texts: row as string[] }).value : null;
    const { value, result } = change(before, shape.value.typeOid !== OID.bytea);
    if (row !== undefined) {
      await session.query(updateSql(shape, { key, value, xt }));
      return result;
    }
    const inserted = await session.query(`${this.#insertSql(shape, [{ key, value, xt }], 'NOTHING')} RETURNING 1`);
    return inserted.rows.length === 1 ? result : null;
  }

  async #write(sql: string): Promise<QueryResult> {
    const { value, lsn }: Written<QueryResult[]> = await this.#deps.writer.write(sql);
    await this.#deps.written(lsn);
    return value[0] as QueryResult;
  }

  async #page(shape: Shape, { from, inclusive, descending, prefix }: KtScan): Promise<KtRecord[]> {
    const { table, key } = shape;
    const column = TEXTS.has(key.typeOid) ? `${quoteIdentifier(key.name)} COLLATE "C"` : quoteIdentifier(key.name);
    const conditions: string[] = [];
    const parameters: string[] = [];
    const begin = from ?? (prefix !== undefined && prefix.length > 0 ? prefix : null);
    if (begin !== null) {
      // A prefix may end in the middle of a character: then everything from the last whole one on is looked at.
      parameters.push(from === null ? keyText(shape, wholeCharacters(shape, begin)) : keyText(shape, begin));
      const sign = descending ? '<' : '>';
      conditions.push(`${column} ${sign}${from === null || inclusive ? '=' : ''} $1`);
    }
    const where = conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
    const order = `${column}${descending ? ' DESC' : ''}`;
    const sql = `SELECT ${table.sqlColumns} FROM ${table.sqlName}${where} ORDER BY ${order} LIMIT ${PAGE_RECORDS}`;
    const rows = await this.#deps.rows.query(table, sql, parameters);
    return rows.map((row) => recordOf(shape, row));
  }

  #insertSql(shape: Shape, records: readonly KtRecord[], onConflict: string): string {
    const { table, key, value, expiry } = shape;
    const names = [key, value, ...(expiry === null ? [] : [expiry])].map(({ name }) => quoteIdentifier(name));
    const rows = records.map((record) => {
      const values = [quoteLiteral(keyText(shape, record.key)), quoteLiteral(valueText(shape, record.value))];
      if (expiry !== null) values.push(expirySql(shape, record.xt));
      else requireNoExpiry(shape, record.xt);
      return `(${values.join(', ')})`;
    });
    return `INSERT INTO ${table.sqlName} AS t (${names.join(', ')}) VALUES ${rows.join(', ')} ON CONFLICT (${names[0]}) DO ${onConflict}`;
  }

  #isLive({ xt }: KtRecord): boolean {
    return xt === null || xt >= Math.floor(this.#deps.clock.wall() / 1000);
  }

  /** How the table looks now. Throws KtError 500 when it is no table of records. */
  #shape(): Shape {
    const table = this.#deps.rows.table(this.name);
    const [key] = table.keys;
    const others = table.columns.filter((column) => column !== key);
    const expiry = others.find(({ name }) => EXPIRY_NAMES.has(name)) ?? null;
    const value = others.find(({ name }) => name === 'value') ?? others.find((column) => column !== expiry);
    if (
      key === undefined ||
      value === undefined ||
      table.keys.length !== 1 ||
      !isBytes(key) ||
      !isBytes(value) ||
      (expiry !== null && !EXPIRY_TYPES.has(expiry.typeOid))
    ) {
      throw new KtError(
        500,
        `DB: 2: invalid operation: ${this.name} must have a primary key of one column and a value, both text or bytea, and an expiry of timestamptz or bigint if any`,
      );
    }
    return { table, key, value, expiry };
  }
}

const EXPIRY_TYPES: ReadonlySet<number> = new Set([OID.timestamptz, OID.int8, OID.int4]);

function isBytes({ typeOid }: ColumnImage): boolean {
  return TEXTS.has(typeOid) || typeOid === OID.bytea;
}

function recordOf({ key, value, expiry }: Shape, { columns, texts }: KvRow): KtRecord {
  const text = (column: ColumnImage): string | null =>
    texts[columns.findIndex(({ name }) => name === column.name)] ?? null;
  const xt = expiry === null ? null : text(expiry);
  return {
    key: bytesOf(key, text(key)),
    value: bytesOf(value, text(value)),
    xt: xt === null ? null : expiry?.typeOid === OID.timestamptz ? epochSeconds(xt) : Number(xt),
  };
}

function bytesOf({ typeOid }: ColumnImage, text: string | null): Buffer {
  if (text === null) return Buffer.alloc(0);
  return typeOid === OID.bytea ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text);
}

/** A timestamptz as printed in UTC; `infinity` is never. */
function epochSeconds(text: string): number | null {
  const ms = Date.parse(text.replace(' ', 'T').replace(/\+00$/, 'Z'));
  if (Number.isNaN(ms)) return text === '-infinity' ? 0 : null;
  return Math.floor(ms / 1000);
}

function keyText({ key }: Shape, bytes: Buffer): string {
  return columnText(key, bytes);
}

function valueText({ value }: Shape, bytes: Buffer): string {
  return columnText(value, bytes);
}

function columnText(column: ColumnImage, bytes: Buffer): string {
  if (column.typeOid === OID.bytea) return `\\x${bytes.toString('hex')}`;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // Said below.
  }
  throw new KtError(400, `${column.name} is text, which these bytes are not: use a column of bytea`);
}

/** Cuts an unfinished character off the end of a prefix of texts. */
function wholeCharacters({ key }: Shape, prefix: Buffer): Buffer {
  if (key.typeOid === OID.bytea) return prefix;
  let end = prefix.length;
  while (end > 0 && end > prefix.length - 4 && ((prefix[end - 1] as number) & 0xc0) === 0x80) end -= 1;
  const lead = prefix[end - 1] ?? 0;
  const wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
  return lead >= 0xc0 && prefix.length - (end - 1) < wanted ? prefix.subarray(0, end - 1) : prefix;
}

function beginsWith(bytes: Buffer, prefix: Buffer): boolean {
  return bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0;
}

function keySql(shape: Shape, key: Buffer): string {
  return `t.${quoteIdentifier(shape.key.name)} = ${quoteLiteral(keyText(shape, key))}`;
}

/** Whether row `t` is live at the core's current second. */
function liveSql({ expiry }: Shape): string {
  if (expiry === null) return 'true';
  const column = `t.${quoteIdentifier(expiry.name)}`;
  const now =
    expiry.typeOid === OID.timestamptz
      ? "pg_catalog.date_trunc('second', pg_catalog.now())"
      : 'pg_catalog.floor(extract(epoch FROM pg_catalog.now()))';
  return `(${column} IS NULL OR ${column} >= ${now})`;
}

function expirySql({ expiry }: Shape, xt: number | null): string {
  if (xt === null) return 'NULL';
  return expiry?.typeOid === OID.timestamptz ? `pg_catalog.to_timestamp(${xt})` : String(xt);
}

function requireNoExpiry({ table }: Shape, xt: number | null): void {
  if (xt !== null) throw new KtError(400, `${table.label} has no column for a time of expiry`);
}

function updateSql(shape: Shape, { key, value, xt }: KtRecord): string {
  const { table, expiry } = shape;
  const sets = [`${quoteIdentifier(shape.value.name)} = ${quoteLiteral(valueText(shape, value))}`];
  if (expiry !== null) sets.push(`${quoteIdentifier(expiry.name)} = ${expirySql(shape, xt)}`);
  else requireNoExpiry(shape, xt);
  return `UPDATE ${table.sqlName} AS t SET ${sets.join(', ')} WHERE ${keySql(shape, key)}`;
}

function updateAll({ value, expiry }: Shape, newValue?: string): string {
  const name = quoteIdentifier(value.name);
  const sets = [`${name} = ${newValue ?? `EXCLUDED.${name}`}`];
  if (expiry !== null) sets.push(`${quoteIdentifier(expiry.name)} = EXCLUDED.${quoteIdentifier(expiry.name)}`);
  return `UPDATE SET ${sets.join(', ')}`;
}

const INTEGER_BYTES = 8;
const DOUBLE_BYTES = 16;
const UNITS_PER_ONE = 1_000_000_000_000_000n;

/** An integer as `increment` stores it: eight bytes big-endian in bytea; in text, which cannot hold those, digits. */
export function readInteger(value: Buffer, isText: boolean): bigint {
  if (isText) {
    const text = value.toString('latin1');
    if (/^-?\d{1,19}$/.test(text)) return BigInt.asIntN(64, BigInt(text));
  } else if (value.length === INTEGER_BYTES) {
    return value.readBigInt64BE(0);
  }
  throw incompatible();
}

export function writeInteger(value: bigint, isText: boolean): Buffer {
  if (isText) return Buffer.from(String(value));
  const bytes = Buffer.alloc(INTEGER_BYTES);
  bytes.writeBigInt64BE(value);
  return bytes;
}

/** A double as `increment_double` stores and adds it, in units of 10⁻¹⁵: whole part and rest, eight bytes each; in text a decimal. */
export function readUnits(value: Buffer, isText: boolean): bigint {
  if (isText) {
    const number = Number(value.toString('latin1'));
    if (value.length > 0 && Number.isFinite(number)) return unitsOf(number);
  } else if (value.length === DOUBLE_BYTES) {
    return value.readBigInt64BE(0) * UNITS_PER_ONE + value.readBigInt64BE(INTEGER_BYTES);
  }
  throw incompatible();
}

export function writeUnits(units: bigint, isText: boolean): Buffer {
  if (isText) return Buffer.from(String(numberOf(units)));
  const bytes = Buffer.alloc(DOUBLE_BYTES);
  bytes.writeBigInt64BE(BigInt.asIntN(64, units / UNITS_PER_ONE), 0);
  bytes.writeBigInt64BE(units % UNITS_PER_ONE, INTEGER_BYTES);
  return bytes;
}

/** Throws KtError 450 for what is not finite. */
export function unitsOf(value: number): bigint {
  if (!Number.isFinite(value)) throw incompatible();
  const whole = Math.trunc(value);
  return BigInt(whole) * UNITS_PER_ONE + BigInt(Math.trunc((value - whole) * Number(UNITS_PER_ONE)));
}

export function numberOf(units: bigint): number {
  return Number(units / UNITS_PER_ONE) + Number(units % UNITS_PER_ONE) / Number(UNITS_PER_ONE);
}
