// Builds a new replica file from bulk data: no journal while building, indexes afterwards, then one pass that makes the
// file durable. A crash on the way leaves a file without a position, which nobody opens as a replica.

import type { CatalogueImage } from '../contracts/catalogue.ts';
import { Fault } from '../base/fault.ts';
import { quoteAlways } from '../pg/identifier.ts';
import type { Position } from '../pg/lsn.ts';
import { must } from '../base/assert.ts';
import { Catalogue } from './catalogue.ts';
import { CopyTextParser } from './copy-text.ts';
import { divergedFault, faultFromSqlite, isConstraintError } from './faults.ts';
import { type ColumnLayout, createTableSql, isStored, type TableLayout, tableLayout } from './layout.ts';
import { createMeta, STATISTICS_ENTRIES } from './meta.ts';
import { createIndexes } from './schema.ts';
import { Sqlite, type SqliteValue, type Statement } from './sqlite.ts';
import { keyOf } from './values.ts';

/** Larger than for applying: sorting for the indexes is what takes the time. */
const CACHE_KIB = 64 * 1024;

/** Rows per SQLite transaction: bounds the dirty pages kept, costs nothing without a journal. */
const ROWS_PER_TRANSACTION = 100_000;

export class ReplicaLoader {
  readonly #sqlite: Sqlite;
  readonly #image: CatalogueImage;
  readonly #catalogue: Catalogue;
  readonly #counts = new Map<number, number>();
  #rowsInTransaction = 0;

  /** `path` must not exist. Throws Fault `disk-failed`, `disk-full`. */
  constructor(path: string, image: CatalogueImage) {
    this.#image = image;
    this.#catalogue = new Catalogue(image);
    this.#sqlite = new Sqlite(path, { mode: 'create', synchronous: 'off', cacheKib: CACHE_KIB });
    try {
      this.#sqlite.exec('PRAGMA journal_mode = OFF');
      this.#sqlite.exec('PRAGMA locking_mode = EXCLUSIVE');
      for (const table of image.tables) {
        if (isStored(table)) this.#sqlite.exec(createTableSql(tableLayout(table, this.#catalogue)));
      }
      this.#sqlite.exec('BEGIN');
    } catch (error) {
      this.#sqlite.close();
      throw error;
    }
  }

  /** Attnums of a table's columns in the order in which `copy` expects them by default. */
  attnums(oid: number): number[] {
    return this.#layout(oid).columns.map((column) => column.attnum);
  }

  /** A sink for the rows of `COPY (attnums) TO STDOUT` in text format. Tables may be loaded one after the other. */
  copy(oid: number, attnums: readonly number[] = this.attnums(oid)): TableCopy {
    return new TableCopy(this.#sqlite, this.#layout(oid), attnums, () => this.#counted(oid));
  }

  rowCount(oid: number): number {
    return this.#counts.get(oid) ?? 0;
  }

  /** Builds indexes, writes the position, makes the file durable and closes it. */
  finish(position: Position): void {
    try {
      for (const table of this.#image.tables) {
        if (isStored(table)) createIndexes(this.#sqlite, this.#layout(table.oid));
      }
      createMeta(this.#sqlite, this.#image, position);
      for (const [oid, count] of this.#counts) {
        this.#sqlite.rows('UPDATE _skerry_table SET row_count = ? WHERE oid = ?', count, oid);
      }
      this.#sqlite.exec('COMMIT');
      this.#sqlite.analyze(STATISTICS_ENTRIES);
      this.#sqlite.exec('PRAGMA locking_mode = NORMAL');
      this.#sqlite.exec('PRAGMA synchronous = FULL');
      // Entering WAL mode writes the header; with synchronous FULL that syncs the file, and with it all that went before.
      this.#sqlite.exec('PRAGMA journal_mode = WAL');
      this.#sqlite.exec('UPDATE _skerry_position SET id = 1');
      this.#sqlite.checkpoint();
      this.#sqlite.close();
    } catch (error) {
      this.#sqlite.close();
      if (isConstraintError(error)) throw divergedFault('a loaded table', 'a key came twice');
      throw faultFromSqlite(error, 'cannot finish the load');
    }
  }

  /** Gives up; the caller removes the file. */
  close(): void {
    this.#sqlite.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #layout(oid: number): TableLayout {
    return tableLayout(must(this.#catalogue.table(oid), `no table ${oid} in the catalogue image`), this.#catalogue);
  }

  #counted(oid: number): void {
    this.#counts.set(oid, (this.#counts.get(oid) ?? 0) + 1);
    this.#rowsInTransaction += 1;
    if (this.#rowsInTransaction < ROWS_PER_TRANSACTION) return;
    this.#rowsInTransaction = 0;
    this.#sqlite.exec('COMMIT');
    this.#sqlite.exec('BEGIN');
  }
}

/** Rows of one table on their way in. */
export class TableCopy {
  readonly #name: string;
  readonly #columns: readonly ColumnLayout[];
  /** Field of the COPY row for each column; -1 when it is not sent. */
  readonly #source: readonly number[];
  readonly #values: SqliteValue[];
  readonly #insert: Statement;
  readonly #parser: CopyTextParser;
  readonly #counted: () => void;

  constructor(sqlite: Sqlite, layout: TableLayout, attnums: readonly number[], counted: () => void) {
    this.#name = `${layout.image.schema}.${layout.image.name}`;
    this.#columns = layout.columns;
    this.#source = layout.columns.map((column) => attnums.indexOf(column.attnum));
    const names: string[] = [];
    const binds: string[] = [];
    for (const column of layout.columns) {
      names.push(quoteAlways(column.sqlName));
      binds.push(column.codec.bind(`?${names.length}`));
      if (column.keyName !== null) {
        names.push(quoteAlways(column.keyName));
        binds.push(`?${names.length}`);
      }
    }
    this.#values = names.map(() => null);
    const columnsSql = names.length === 0 ? 'DEFAULT VALUES' : `(${names.join(', ')}) VALUES (${binds.join(', ')})`;
    this.#insert = sqlite.prepare(`INSERT INTO ${quoteAlways(layout.sqlName)} ${columnsSql}`);
    this.#parser = new CopyTextParser(attnums.length, (bytes, starts, ends) => this.#row(bytes, starts, ends));
    this.#counted = counted;
  }

  /** Bytes of one or more CopyData messages, cut anywhere. They are spent: escapes are resolved in place. */
  push(chunk: Uint8Array): void {
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (isConstraintError(error)) throw divergedFault(this.#name, 'a key came twice');
      if (error instanceof RangeError) throw this.#malformed(error);
      throw faultFromSqlite(error, `cannot load ${this.#name}`);
    }
  }

  finish(): void {
    this.#insert.finalize();
    try {
      this.#parser.finish();
    } catch (error) {
      throw error instanceof RangeError ? this.#malformed(error) : error;
    }
  }

  #row(bytes: Uint8Array, starts: Int32Array, ends: Int32Array): void {
    const columns = this.#columns;
    const values = this.#values;
    let at = 0;
    for (let index = 0; index < columns.length; index += 1) {
      const column = columns[index] as ColumnLayout;
      const field = this.#source[index] as number;
      const start = field < 0 ? -1 : (starts[field] as number);
      const value = start < 0 ? null : column.codec.encode(bytes, start, ends[field] as number);
      values[at++] = value;
      if (column.keyName !== null) values[at++] = keyOf(value);
    }
    this.#insert.run(values);
    this.#counted();
  }

  #malformed(error: RangeError): Fault {
    return new Fault('copy-malformed', { message: `${this.#name}: ${error.message}`, sqlstate: '08P01', cause: error });
  }
}
