// Turns changes of table images into changes of SQLite tables. Runs inside the writer's transaction, like everything else.

import type { SchemaChange } from '../contracts/catalogue.ts';
import { quoteAlways } from '../pg/identifier.ts';
import { OID } from '../pg/oid.ts';
import type { Catalogue, CatalogueDifference } from './catalogue.ts';
import { schemaUnknownFault } from './faults.ts';
import {
  type ColumnLayout,
  createIndexSql,
  createTableSql,
  type IndexLayout,
  isStored,
  type TableLayout,
  tableLayout,
} from './layout.ts';
import { writeImages } from './meta.ts';
import type { Sqlite } from './sqlite.ts';
import { keyOf, sqlLiteral } from './values.ts';

/** What became of the tables; `emptied` are those whose rows are gone here (dropped, or rewritten and about to come again). */
export interface SchemaOutcome {
  readonly difference: CatalogueDifference;
  readonly emptied: readonly number[];
}

/** Creates the table of a layout, with its indexes unless they are to follow a bulk load. */
export function createTable(sqlite: Sqlite, layout: TableLayout, options: { readonly indexes: boolean }): void {
  sqlite.exec(createTableSql(layout));
  if (options.indexes) createIndexes(sqlite, layout);
}

export function createIndexes(sqlite: Sqlite, layout: TableLayout): void {
  for (const index of layout.indexes) sqlite.exec(createIndexSql(layout, index));
}

/** Applies `change` to the catalogue, to its rows in the meta tables and to the tables themselves. */
export function applySchemaChange(sqlite: Sqlite, catalogue: Catalogue, change: SchemaChange): SchemaOutcome {
  const before = new Map<number, TableLayout>();
  for (const oid of [...change.droppedTables, ...change.tables.map((table) => table.oid)]) {
    const image = catalogue.table(oid);
    if (image !== undefined && isStored(image)) before.set(oid, tableLayout(image, catalogue));
  }
  const difference = catalogue.apply(change);
  const emptied = new Set<number>();
  for (const image of difference.dropped) {
    dropTable(sqlite, before.get(image.oid));
    before.delete(image.oid);
    sqlite.rows('DELETE FROM _skerry_table WHERE oid = ?', image.oid);
    emptied.add(image.oid);
  }
  // Names may be swapped within one change, so that all renames go through names that nobody has.
  const renames: { from: string; to: string }[] = [];
  for (const image of change.tables) {
    const old = before.get(image.oid);
    if (!isStored(image)) {
      dropTable(sqlite, old);
      if (old !== undefined) emptied.add(image.oid);
      continue;
    }
    const layout = tableLayout(image, catalogue);
    if (old === undefined || change.rewrittenTables.includes(image.oid)) {
      dropTable(sqlite, old);
      createTable(sqlite, layout, { indexes: true });
      if (old !== undefined) emptied.add(image.oid);
    } else {
      migrateTable(sqlite, old, layout, renames);
    }
  }
  for (const { from, to } of renames) sqlite.exec(`ALTER TABLE ${quoteAlways(from)} RENAME TO ${quoteAlways(to)}`);
  writeImages(sqlite, [...difference.relatives, ...change.tables], change.types);
  return { difference, emptied: [...emptied] };
}

function dropTable(sqlite: Sqlite, layout: TableLayout | undefined): void {
  if (layout !== undefined) sqlite.exec(`DROP TABLE ${quoteAlways(layout.sqlName)}`);
}

/** Changes a table that keeps its rows. Its final name is reached by a last rename, put into `renames`. */
function migrateTable(
  sqlite: Sqlite,
  before: TableLayout,
  after: TableLayout,
  renames: { from: string; to: string }[],
): void {
  const conversions = after.columns.map((column) => conversionOf(before, column));
  const isPlain =
    before.rowidColumn?.attnum === after.rowidColumn?.attnum &&
    before.columns.length > 0 &&
    after.columns.length > 0 &&
    conversions.every((conversion) => conversion !== 'convert');
  let working = before.sqlName;
  if (before.sqlName !== after.sqlName) {
    working = `$rename$${after.oid}`;
    sqlite.exec(`ALTER TABLE ${quoteAlways(before.sqlName)} RENAME TO ${quoteAlways(working)}`);
    renames.push({ from: working, to: after.sqlName });
  }
  // Indexes are made again under the working name; SQLite carries them through the rename.
  const layout: TableLayout = { ...after, sqlName: working };
  const kept = isPlain ? keptIndexes(before, after) : new Set<string>();
  for (const index of before.indexes) {
    if (!kept.has(index.sqlName)) sqlite.exec(`DROP INDEX ${quoteAlways(index.sqlName)}`);
  }
  if (isPlain) alterColumns(sqlite, working, before, after);
  else rebuildTable(sqlite, working, before, after);
  for (const index of after.indexes) {
    if (!kept.has(index.sqlName)) sqlite.exec(createIndexSql(layout, index));
  }
}

/** Indexes that are over the same columns as before; a rename of a column is carried through by SQLite. */
function keptIndexes(before: TableLayout, after: TableLayout): Set<string> {
  const describe = (index: IndexLayout): string =>
    `${index.sqlName} ${index.unique} ${index.exact} ${index.columns.map((column) => column.attnum).join()}`;
  const old = new Set(before.indexes.map(describe));
  return new Set(after.indexes.filter((index) => old.has(describe(index))).map((index) => index.sqlName));
}

function alterColumns(sqlite: Sqlite, table: string, before: TableLayout, after: TableLayout): void {
  const alter = `ALTER TABLE ${quoteAlways(table)}`;
  const afterByAttnum = new Map(after.columns.map((column) => [column.attnum, column]));
  const beforeAttnums = new Set(before.columns.map((column) => column.attnum));
  const pending: { from: string; to: string }[] = [];
  const names = new Set<string>();
  const added = after.columns.filter((column) => !beforeAttnums.has(column.attnum));
  // A table must keep a column at all times, so new ones come before old ones go; names are free only after the renames.
  for (const column of before.columns) {
    const next = afterByAttnum.get(column.attnum);
    for (const name of [column.sqlName, column.keyName]) if (name !== null) names.add(name);
    if (next === undefined || next.sqlName === column.sqlName) continue;
    pending.push({ from: column.sqlName, to: next.sqlName });
    if (column.keyName !== null && next.keyName !== null) pending.push({ from: column.keyName, to: next.keyName });
  }
  const gone = before.columns.filter((column) => !afterByAttnum.has(column.attnum));
  // Columns that go step aside first: one that comes may have their name.
  for (const column of gone) {
    for (const name of [column.sqlName, column.keyName]) {
      if (name !== null) sqlite.exec(`${alter} RENAME COLUMN ${quoteAlways(name)} TO ${quoteAlways(`$gone$${name}`)}`);
    }
  }
  for (const rename of pending) {
    const aside = `$aside$${rename.to}`;
    sqlite.exec(`${alter} RENAME COLUMN ${quoteAlways(rename.from)} TO ${quoteAlways(aside)}`);
  }
  for (const rename of pending) {
    sqlite.exec(`${alter} RENAME COLUMN ${quoteAlways(`$aside$${rename.to}`)} TO ${quoteAlways(rename.to)}`);
  }
  for (const column of added) addColumn(sqlite, table, column);
  for (const column of gone) {
    for (const name of [column.sqlName, column.keyName]) {
      if (name !== null) sqlite.exec(`${alter} DROP COLUMN ${quoteAlways(`$gone$${name}`)}`);
    }
  }
}

/** Rows older than the column get the value they have in the core, as SQLite's default: no row is touched. */
function addColumn(sqlite: Sqlite, table: string, column: ColumnLayout): void {
  const alter = `ALTER TABLE ${quoteAlways(table)} ADD COLUMN`;
  const missing = column.image.missingText === null ? null : column.codec.encodeText(column.image.missingText);
  const literal =
    typeof missing === 'number' && column.codec.storage === 'real' ? realLiteral(missing) : sqlLiteral(missing);
  sqlite.exec(`${alter} ${quoteAlways(column.sqlName)} ${column.codec.declaredType} DEFAULT ${literal}`);
  if (column.keyName !== null) {
    sqlite.exec(`${alter} ${quoteAlways(column.keyName)} BLOB DEFAULT ${sqlLiteral(keyOf(missing))}`);
  }
}

/** A literal that SQLite takes as REAL. */
function realLiteral(value: number): string {
  return Number.isFinite(value) && !Object.is(value, -0) ? value.toExponential() : sqlLiteral(value);
}

/** Copies all rows into a table of the new layout. */
function rebuildTable(sqlite: Sqlite, table: string, before: TableLayout, after: TableLayout): void {
  const copy = `$copy$${after.oid}`;
  sqlite.exec(createTableSql(after, copy));
  const targets: string[] = [];
  const sources: string[] = [];
  for (const column of after.columns) {
    const old = before.columns.find((candidate) => candidate.attnum === column.attnum);
    targets.push(quoteAlways(column.sqlName));
    if (column.keyName !== null) targets.push(quoteAlways(column.keyName));
    if (old !== undefined) {
      sources.push(convertSql(old, column));
      if (column.keyName !== null) sources.push(quoteAlways(old.keyName ?? 'NULL'));
    } else {
      const missing = column.image.missingText === null ? null : column.codec.encodeText(column.image.missingText);
      sources.push(
        typeof missing === 'number' && column.codec.storage === 'real' ? realLiteral(missing) : sqlLiteral(missing),
      );
      if (column.keyName !== null) sources.push(sqlLiteral(keyOf(missing)));
    }
  }
  if (targets.length === 0) {
    targets.push('"$none"');
    sources.push('NULL');
  }
  sqlite.exec(
    `INSERT INTO ${quoteAlways(copy)} (${targets.join(', ')}) SELECT ${sources.join(', ')} FROM ${quoteAlways(table)}`,
  );
  sqlite.exec(`DROP TABLE ${quoteAlways(table)}`);
  sqlite.exec(`ALTER TABLE ${quoteAlways(copy)} RENAME TO ${quoteAlways(table)}`);
}

/**
 * How stored values of a column change when its type did but the core did not rewrite the table (else the rows would come
 * again): only between types that Postgres calls binary compatible.
 */
function conversionOf(before: TableLayout, column: ColumnLayout): 'new' | 'same' | 'convert' {
  const old = before.columns.find((candidate) => candidate.attnum === column.attnum);
  if (old === undefined) return 'new';
  return convertSql(old, column) === quoteAlways(old.sqlName) ? 'same' : 'convert';
}

function convertSql(old: ColumnLayout, column: ColumnLayout): string {
  const sql = quoteAlways(old.sqlName);
  const from = old.storageOid;
  const to = column.storageOid;
  if (from === to) return sql;
  if (from === OID.int4 && to === OID.oid) return `iif(${sql} < 0, ${sql} + 4294967296, ${sql})`;
  if (from === OID.oid && to === OID.int4) return `iif(${sql} > 2147483647, ${sql} - 4294967296, ${sql})`;
  // With TimeZone UTC, Postgres 12 and later does not rewrite: the moment is the same, only the text differs.
  if (from === OID.timestamp && to === OID.timestamptz) return `iif(${sql} LIKE '%infinity', ${sql}, ${sql} || '+00')`;
  if (from === OID.timestamptz && to === OID.timestamp)
    return `iif(${sql} LIKE '%+00', substr(${sql}, 1, length(${sql}) - 3), ${sql})`;
  if (from === OID.cidr && to === OID.inet) {
    return `CASE WHEN ${sql} LIKE '%:%/128' THEN substr(${sql}, 1, length(${sql}) - 4) WHEN ${sql} NOT LIKE '%:%' AND ${sql} LIKE '%/32' THEN substr(${sql}, 1, length(${sql}) - 3) ELSE ${sql} END`;
  }
  if (TEXT_FAMILY.has(from) && TEXT_FAMILY.has(to)) return sql;
  if ((from === OID.bit || from === OID.varbit) && (to === OID.bit || to === OID.varbit)) return sql;
  throw schemaUnknownFault(
    `column ${column.name} changed its type from ${from} to ${to} without its rows being sent again`,
  );
}

/** Binary compatible, and printed alike. */
const TEXT_FAMILY: ReadonlySet<number> = new Set([OID.text, OID.varchar, OID.xml]);
