// Where a table's rows lie in SQLite: names, columns, the key that finds a row, indexes. Everything follows from the
// image alone, so that writer and readers, old and new processes, always agree.

import type { ColumnImage, IndexImage, TableImage } from '../contracts/catalogue.ts';
import { quoteAlways } from '../pg/identifier.ts';
import { builtinType, OID } from '../pg/oid.ts';
import type { Catalogue } from './catalogue.ts';
import { codecOf, ENUM_CODEC, type ValueCodec } from './values.ts';

export interface ColumnLayout {
  readonly attnum: number;
  /** Name in Postgres. */
  readonly name: string;
  /** Name in SQLite, not quoted. */
  readonly sqlName: string;
  /** Hidden column that orders the values, not quoted; null when the column orders itself. */
  readonly keyName: string | null;
  /** Built-in type that decides how it is stored: domains resolved, types of the database are `text`. */
  readonly storageOid: number;
  readonly codec: ValueCodec;
  readonly image: ColumnImage;
}

export interface TableLayout {
  readonly image: TableImage;
  readonly oid: number;
  /** Name in SQLite, not quoted. */
  readonly sqlName: string;
  /** Replicated columns in attnum order. */
  readonly columns: readonly ColumnLayout[];
  /** Columns whose values identify one row in changes; empty when rows are found as a whole or never. */
  readonly key: readonly ColumnLayout[];
  /** The key column that is SQLite's rowid itself, if there is one. */
  readonly rowidColumn: ColumnLayout | null;
  /** Columns of the index that finds a whole row, for replica identity FULL without a usable key. */
  readonly wholeRowIndex: readonly ColumnLayout[];
  readonly indexes: readonly IndexLayout[];
}

export interface IndexLayout {
  /** Name in SQLite, not quoted: one name space with tables, so it never has a dot. */
  readonly sqlName: string;
  readonly unique: boolean;
  /** True when it finds values by their exact text, even where a hidden key column orders them. */
  readonly exact: boolean;
  readonly columns: readonly ColumnLayout[];
}

/** SQLite's own name of the row number; our column names never hide it. */
export const ROWID = '_rowid_';

/** A whole-row index holds at most this many columns: enough to tell rows apart, not a second table. */
const WHOLE_ROW_INDEX_COLUMNS_MAX = 12;

/** Integer types that may be SQLite's rowid. */
const ROWID_TYPES: ReadonlySet<number> = new Set([OID.int2, OID.int4, OID.int8, OID.oid]);

/** Types whose values may be long, and are left out of whole-row indexes when something else is there. */
const LONG_TYPES: ReadonlySet<number> = new Set([OID.json, OID.jsonb, OID.xml, OID.bytea, OID.tsvector]);

/** True when the table has rows of its own here. */
export function isStored(image: TableImage): boolean {
  return image.kind === 'r';
}

export function tableLayout(image: TableImage, catalogue: Catalogue): TableLayout {
  const columns = image.columns.filter((column) => column.replicated).map((column) => columnLayout(column, catalogue));
  const byAttnum = new Map(columns.map((column) => [column.attnum, column]));
  const pick = (attnums: readonly number[]): ColumnLayout[] | null => {
    const picked = attnums.map((attnum) => byAttnum.get(attnum));
    return picked.length > 0 && picked.every((column) => column !== undefined) ? (picked as ColumnLayout[]) : null;
  };
  const key = pick(keyAttnums(image)) ?? [];
  const only = key.length === 1 ? (key[0] as ColumnLayout) : null;
  const rowidColumn = only !== null && ROWID_TYPES.has(only.storageOid) ? only : null;
  const wholeRowIndex = key.length === 0 && image.replicaIdentity === 'f' ? wholeRowColumns(columns) : [];

  const indexes: IndexLayout[] = [];
  if (key.length > 0 && rowidColumn === null) {
    indexes.push({ sqlName: `key$${image.oid}`, unique: true, exact: true, columns: key });
  }
  if (wholeRowIndex.length > 0) {
    indexes.push({ sqlName: `row$${image.oid}`, unique: false, exact: true, columns: wholeRowIndex });
  }
  const covered = key.map((column) => column.attnum).join();
  for (const index of image.indexes) {
    const indexed = isMirrored(index) ? pick(index.keyAttnums) : null;
    if (indexed === null || index.keyAttnums.join() === covered) continue;
    // Not unique even when the core's is: a deferrable constraint may be broken for a while inside a transaction, and
    // checking again what the core has checked would only cost.
    indexes.push({ sqlName: `index$${index.oid}`, unique: false, exact: false, columns: indexed });
  }
  return { image, oid: image.oid, sqlName: sqlTableName(image), columns, key, rowidColumn, wholeRowIndex, indexes };
}

function columnLayout(image: ColumnImage, catalogue: Catalogue): ColumnLayout {
  const resolved = catalogue.resolveType(image.typeOid);
  const isBuiltin = resolved !== null && builtinType(resolved.oid) !== undefined;
  const storageOid = isBuiltin ? resolved.oid : OID.text;
  // A database's own type is text that nobody knows how to compare, unless it is an enum.
  const codec = isBuiltin ? codecOf(storageOid) : resolved?.kind === 'e' ? ENUM_CODEC : codecOf(OID.unknown);
  const sqlName = sqlColumnName(image);
  return {
    attnum: image.attnum,
    name: image.name,
    sqlName,
    keyName: codec.hasKey ? `${sqlName}$key` : null,
    storageOid,
    codec,
    image,
  };
}

/**
 * SQLite ignores ASCII case in names and has one name space, Postgres has neither. Plain names are kept; names that could
 * collide get the OID or attnum, behind a '$' that plain names do not have.
 */
export function sqlTableName(image: { readonly oid: number; readonly schema: string; readonly name: string }): string {
  const name = `${image.schema}.${image.name}`;
  const plain = !/[A-Z$]/.test(name) && name.indexOf('.') === name.lastIndexOf('.') && !name.startsWith('sqlite_');
  return plain ? name : `table$${image.oid}.${name}`;
}

export function sqlColumnName(image: { readonly attnum: number; readonly name: string }): string {
  const plain = !/[A-Z$]/.test(image.name) && image.name !== ROWID;
  return plain ? image.name : `${image.name}$${image.attnum}`;
}

/** Attnums whose values find exactly one row; empty when there are none such. */
function keyAttnums(image: TableImage): readonly number[] {
  if (image.replicaIdentity === 'i') return image.identityAttnums;
  if (image.replicaIdentity === 'n') return [];
  // A primary key serves both 'd' and 'f' (where the old row comes whole), unless it is deferrable: then it may have
  // duplicates for a while, and Postgres does not take it for an identity either.
  const primary = image.constraints.find((constraint) => constraint.type === 'p');
  return primary !== undefined && / DEFERRABLE/.test(primary.definition) ? [] : image.primaryKeyAttnums;
}

/** Plain btree indexes over columns help here as they help there. */
function isMirrored(index: IndexImage): boolean {
  return (
    index.valid &&
    !index.partial &&
    / USING btree /.test(index.definition) &&
    index.keyAttnums.every((attnum) => attnum > 0)
  );
}

function wholeRowColumns(columns: readonly ColumnLayout[]): readonly ColumnLayout[] {
  const short = columns.filter((column) => !LONG_TYPES.has(column.storageOid) && column.codec.comparable !== 'none');
  return (short.length > 0 ? short : columns).slice(0, WHOLE_ROW_INDEX_COLUMNS_MAX);
}

/** Names of all SQLite columns of a layout in the order in which rows are written: each key column after its column. */
export function sqlColumns(layout: TableLayout): string[] {
  return layout.columns.flatMap((column) =>
    column.keyName === null ? [column.sqlName] : [column.sqlName, column.keyName],
  );
}

export function createTableSql(layout: TableLayout, sqlName = layout.sqlName): string {
  const columns = layout.columns.flatMap((column) => {
    const declared = column === layout.rowidColumn ? 'INTEGER PRIMARY KEY' : column.codec.declaredType;
    const sql = `${quoteAlways(column.sqlName)} ${declared}`.trim();
    return column.keyName === null ? [sql] : [sql, `${quoteAlways(column.keyName)} BLOB`];
  });
  // SQLite has no table without columns; Postgres has.
  if (columns.length === 0) columns.push('"$none"');
  return `CREATE TABLE ${quoteAlways(sqlName)} (${columns.join(', ')})`;
}

export function createIndexSql(layout: TableLayout, index: IndexLayout): string {
  const columns = index.columns.map((column) =>
    quoteAlways(index.exact || column.keyName === null ? column.sqlName : column.keyName),
  );
  const kind = index.unique ? 'UNIQUE INDEX' : 'INDEX';
  return `CREATE ${kind} ${quoteAlways(index.sqlName)} ON ${quoteAlways(layout.sqlName)} (${columns.join(', ')})`;
}
