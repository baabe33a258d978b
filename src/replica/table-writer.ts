// Row changes of one table: tuples of the stream to prepared statements. Hot: a row costs one statement and no object of
// its own besides the values; `bench` apply measures it.

import { quoteAlways } from '../pg/identifier.ts';
import { COLUMN, type RelationMessage, type TupleView } from '../wire/pgoutput.ts';
import { divergedFault, isConstraintError, schemaUnknownFault } from './faults.ts';
import { type ColumnLayout, ROWID, sqlColumns, type TableLayout } from './layout.ts';
import type { Sqlite, SqliteValue, Statement } from './sqlite.ts';
import { keyOf } from './values.ts';

/** Prepared updates per table: one for each set of columns that came unchanged. More sets than this are prepared again. */
const UPDATE_STATEMENTS_MAX = 64;

/** Indexed columns looked at before an update, one bit each; columns beyond them are simply set. */
const COMPARED_COLUMNS_MAX = 30;

/** An update of some columns of the row that a key or a row number finds. */
interface UpdateStatement {
  readonly statement: Statement;
  /** Positions in `layout.columns` of the columns that are set. */
  readonly columns: readonly number[];
}

export class TableWriter {
  readonly #sqlite: Sqlite;
  readonly #layout: TableLayout;
  readonly #name: string;
  readonly #columns: readonly ColumnLayout[];
  /** Column of the stream's tuple for each of our columns. */
  readonly #source: Int32Array;
  /** Mapped at the first row change: after a schema change rows may come as texts before the stream describes the table anew. */
  readonly #relation: RelationMessage | null;
  #isMapped = false;
  /** Positions in `columns` of the key columns. */
  readonly #key: readonly number[];
  readonly #isKey: readonly boolean[];
  readonly #insertValues: SqliteValue[];
  #insert: Statement | null = null;
  #delete: Statement | null = null;
  #deleteByRowid: Statement | null = null;
  #findRow: Statement | null = null;
  /** Positions of float columns: SQLite takes 0 and -0 for equal, a whole-row search must not. */
  readonly #floats: readonly number[];
  readonly #updates = new Map<string, UpdateStatement>();
  #updateAll: UpdateStatement | null = null;
  /** Positions of columns that are in a secondary index: setting them costs index work even to the value they have. */
  readonly #indexed: readonly number[];
  #compare: Statement | null = null;
  readonly #compareValues: SqliteValue[] = [];

  constructor(sqlite: Sqlite, layout: TableLayout, relation: RelationMessage | null) {
    this.#sqlite = sqlite;
    this.#layout = layout;
    this.#name = `${layout.image.schema}.${layout.image.name}`;
    this.#columns = layout.columns;
    this.#relation = relation;
    this.#source = new Int32Array(layout.columns.length);
    this.#key = layout.key.map((column) => layout.columns.indexOf(column));
    this.#isKey = layout.columns.map((column) => layout.key.includes(column));
    this.#floats = layout.columns.flatMap((column, index) => (column.codec.storage === 'real' ? [index] : []));
    this.#insertValues = sqlColumns(layout).map(() => null);
    const indexed = new Set(layout.indexes.filter((index) => !index.unique).flatMap((index) => index.columns));
    this.#indexed = layout.columns
      .flatMap((column, index) => (indexed.has(column) && !this.#isKey[index] ? [index] : []))
      .slice(0, COMPARED_COLUMNS_MAX);
  }

  insert(row: TupleView): void {
    const columns = this.#columns;
    const source = this.#source;
    const values = this.#insertValues;
    this.#expectRelation();
    let at = 0;
    for (let index = 0; index < columns.length; index += 1) {
      const column = columns[index] as ColumnLayout;
      const value = this.#value(column, row, source[index] as number);
      values[at++] = value;
      if (column.keyName !== null) values[at++] = keyOf(value);
    }
    this.#runInsert(values);
  }

  /** Inserts a row given as texts, in the order of `attnums`. */
  insertTexts(attnums: readonly number[], row: readonly (string | null)[]): void {
    const values = this.#insertValues;
    let at = 0;
    for (const column of this.#columns) {
      const index = attnums.indexOf(column.attnum);
      const text = index < 0 ? null : (row[index] ?? null);
      const value = text === null ? null : column.codec.encodeText(text);
      values[at++] = value;
      if (column.keyName !== null) values[at++] = keyOf(value);
    }
    this.#runInsert(values);
  }

  /** `old` is the old key (K) or the whole old row (O), null when the key did not change. */
  update(old: TupleView | null, row: TupleView): void {
    this.#expectRelation();
    const rowid = this.#key.length === 0 ? this.#rowidOf(old) : null;
    const same = this.#indexed.length === 0 ? 0 : this.#sameIndexed(rowid, old ?? row, row);
    const update = this.#updateFor(row, old !== null, same);
    const values: SqliteValue[] = [];
    for (const index of update.columns) {
      const column = this.#columns[index] as ColumnLayout;
      const value = this.#value(column, row, this.#source[index] as number);
      values.push(value);
      if (column.keyName !== null) values.push(keyOf(value));
    }
    if (rowid !== null) values.push(rowid);
    else this.#pushKey(values, old ?? row);
    let changes: number;
    try {
      changes = update.statement.run(values).changes;
    } catch (error) {
      if (isConstraintError(error)) throw divergedFault(this.#name, 'an update makes a key that is already there');
      throw error;
    }
    if (changes !== 1) throw divergedFault(this.#name, `an update found ${changes} rows instead of one`);
  }

  delete(old: TupleView): void {
    this.#expectRelation();
    let changes: number;
    if (this.#key.length === 0) {
      this.#deleteByRowid ??= this.#sqlite.prepare(`DELETE FROM ${this.#table} WHERE ${ROWID} = ?`);
      changes = this.#deleteByRowid.run([this.#rowidOf(old)]).changes;
    } else {
      this.#delete ??= this.#sqlite.prepare(`DELETE FROM ${this.#table} WHERE ${this.#whereKey(1)}`);
      const values: SqliteValue[] = [];
      this.#pushKey(values, old);
      changes = this.#delete.run(values).changes;
    }
    if (changes !== 1) throw divergedFault(this.#name, `a delete found ${changes} rows instead of one`);
  }

  truncate(): void {
    this.#sqlite.exec(`DELETE FROM ${this.#table}`);
  }

  close(): void {
    const statements = [this.#insert, this.#delete, this.#deleteByRowid, this.#findRow, this.#compare];
    for (const statement of statements) statement?.finalize();
    this.#updateAll?.statement.finalize();
    for (const update of this.#updates.values()) update.statement.finalize();
  }

  get #table(): string {
    return quoteAlways(this.#layout.sqlName);
  }

  #expectRelation(): void {
    if (this.#isMapped) return;
    if (this.#relation === null) {
      throw schemaUnknownFault(`rows of ${this.#name} came before the stream said in which columns they come`);
    }
    this.#mapColumns(this.#relation);
    this.#isMapped = true;
  }

  #mapColumns(relation: RelationMessage): void {
    const positions = new Map(relation.columns.map((column, index) => [column.name, index]));
    for (const [index, column] of this.#columns.entries()) {
      const position = positions.get(column.name);
      if (position === undefined) throw schemaUnknownFault(`the stream does not carry ${this.#name}.${column.name}`);
      positions.delete(column.name);
      this.#source[index] = position;
    }
    const [unknown] = positions.keys();
    if (unknown === undefined) return;
    // Columns that are known but not kept here are ignored on purpose; others mean that a description is missing.
    const notKept = new Set(this.#layout.image.columns.map((column) => column.name));
    for (const name of positions.keys()) {
      if (!notKept.has(name)) throw schemaUnknownFault(`column ${this.#name}.${name} was never described`);
    }
  }

  #value(column: ColumnLayout, tuple: TupleView, position: number): SqliteValue {
    const kind = tuple.kinds[position];
    if (kind === COLUMN.text) {
      return column.codec.encode(tuple.buffer, tuple.starts[position] as number, tuple.ends[position] as number);
    }
    if (kind === COLUMN.null) return null;
    if (kind === COLUMN.unchanged) {
      throw divergedFault(this.#name, `column ${column.name} came without its value where it is needed`);
    }
    throw schemaUnknownFault('the stream sends binary values; replicas read text');
  }

  #runInsert(values: SqliteValue[]): void {
    this.#insert ??= this.#prepareInsert();
    try {
      this.#insert.run(values);
    } catch (error) {
      if (isConstraintError(error)) throw divergedFault(this.#name, 'an inserted row is already there');
      throw error;
    }
  }

  #prepareInsert(): Statement {
    const names: string[] = [];
    const binds: string[] = [];
    for (const column of this.#columns) {
      names.push(quoteAlways(column.sqlName));
      binds.push(column.codec.bind(`?${names.length}`));
      if (column.keyName !== null) {
        names.push(quoteAlways(column.keyName));
        binds.push(`?${names.length}`);
      }
    }
    if (names.length === 0) return this.#sqlite.prepare(`INSERT INTO ${this.#table} DEFAULT VALUES`);
    return this.#sqlite.prepare(`INSERT INTO ${this.#table} (${names.join(', ')}) VALUES (${binds.join(', ')})`);
  }

  /**
   * Which indexed columns have the value already, as bits. SQLite rewrites the index entries of every column that is set;
   * looking first costs one lookup, and most updates of a row change none of its indexed columns.
   */
  #sameIndexed(rowid: SqliteValue, key: TupleView, row: TupleView): number {
    const values = this.#compareValues;
    values.length = 0;
    for (const index of this.#indexed) {
      const position = this.#source[index] as number;
      const isUnchanged = row.kinds[position] === COLUMN.unchanged;
      values.push(isUnchanged ? null : this.#value(this.#columns[index] as ColumnLayout, row, position));
    }
    if (rowid !== null) values.push(rowid);
    else this.#pushKey(values, key);
    this.#compare ??= this.#prepareCompare();
    return (this.#compare.get(values)?.[0] ?? 0) as number;
  }

  #prepareCompare(): Statement {
    const bits = this.#indexed.map((index, bit) => {
      const column = this.#columns[index] as ColumnLayout;
      const sql = quoteAlways(column.sqlName);
      const equal = `${sql} IS ${column.codec.bind(`?${bit + 1}`)}`;
      // 0 and -0 are equal to SQLite; such values are always set.
      return `(${column.codec.storage === 'real' ? `ifnull(${equal} AND ${sql} <> 0, 0)` : equal}) << ${bit}`;
    });
    const first = this.#indexed.length + 1;
    const where = this.#key.length === 0 ? `${ROWID} = ?${first}` : this.#whereKey(first);
    return this.#sqlite.prepare(
      `SELECT ${bits.map((bit) => `(${bit})`).join(' | ')} FROM ${this.#table} WHERE ${where}`,
    );
  }

  /** Columns that came unchanged are left alone; so is the key when it did not change, for the sake of its index. */
  #updateFor(row: TupleView, withKey: boolean, same: number): UpdateStatement {
    let hasUnchanged = withKey || same !== 0;
    for (let column = 0; column < row.count && !hasUnchanged; column += 1) {
      hasUnchanged = row.kinds[column] === COLUMN.unchanged;
    }
    if (!hasUnchanged) {
      this.#updateAll ??= this.#prepareUpdate(
        this.#columns.map((_, index) => index).filter((index) => !this.#isKey[index]),
      );
      return this.#updateAll;
    }
    const columns: number[] = [];
    for (let index = 0; index < this.#columns.length; index += 1) {
      if (row.kinds[this.#source[index] as number] === COLUMN.unchanged) continue;
      const bit = same === 0 ? -1 : this.#indexed.indexOf(index);
      if (bit >= 0 && ((same >> bit) & 1) === 1) continue;
      if (withKey || !this.#isKey[index]) columns.push(index);
    }
    const name = columns.join();
    let update = this.#updates.get(name);
    if (update === undefined) {
      if (this.#updates.size >= UPDATE_STATEMENTS_MAX) {
        for (const old of this.#updates.values()) old.statement.finalize();
        this.#updates.clear();
      }
      update = this.#prepareUpdate(columns);
      this.#updates.set(name, update);
    }
    return update;
  }

  #prepareUpdate(columns: readonly number[]): UpdateStatement {
    const sets: string[] = [];
    let parameters = 0;
    for (const index of columns) {
      const column = this.#columns[index] as ColumnLayout;
      parameters += 1;
      sets.push(`${quoteAlways(column.sqlName)} = ${column.codec.bind(`?${parameters}`)}`);
      if (column.keyName !== null) {
        parameters += 1;
        sets.push(`${quoteAlways(column.keyName)} = ?${parameters}`);
      }
    }
    const where = this.#key.length === 0 ? `${ROWID} = ?${parameters + 1}` : this.#whereKey(parameters + 1);
    // Nothing to set still has to find its row.
    if (sets.length === 0) sets.push(`${ROWID} = ${ROWID}`);
    return {
      statement: this.#sqlite.prepare(`UPDATE ${this.#table} SET ${sets.join(', ')} WHERE ${where}`),
      columns,
    };
  }

  #whereKey(firstParameter: number): string {
    return this.#layout.key
      .map((column, index) => `${quoteAlways(column.sqlName)} = ?${firstParameter + index}`)
      .join(' AND ');
  }

  #pushKey(values: SqliteValue[], tuple: TupleView): void {
    for (const index of this.#key) {
      values.push(this.#value(this.#columns[index] as ColumnLayout, tuple, this.#source[index] as number));
    }
  }

  /** One row that equals `old` in every column. */
  #rowidOf(old: TupleView | null): SqliteValue {
    if (old === null || this.#layout.image.replicaIdentity !== 'f') {
      throw divergedFault(this.#name, 'a change does not say which row it changes');
    }
    const values = this.#columns.map((column, index) => this.#value(column, old, this.#source[index] as number));
    this.#findRow ??= this.#prepareFindRow();
    if (this.#floats.length === 0) {
      const found = this.#findRow.get(values);
      if (found === null) throw divergedFault(this.#name, 'a changed row is not there');
      return found[0] as SqliteValue;
    }
    for (const found of this.#findRow.iterate(values)) {
      if (this.#floats.every((column, at) => Object.is(found[at + 1], values[column]))) return found[0] as SqliteValue;
    }
    throw divergedFault(this.#name, 'a changed row is not there');
  }

  #prepareFindRow(): Statement {
    const where = this.#columns.map((column, index) => `${quoteAlways(column.sqlName)} IS ?${index + 1}`).join(' AND ');
    const floats = this.#floats.map(
      (index, at) => `, ${quoteAlways((this.#columns[index] as ColumnLayout).sqlName)} AS f${at}`,
    );
    // Duplicates are equal in every respect, so that any of them will do; with floats the first with the right zeros.
    const limit = this.#floats.length === 0 ? ' LIMIT 1' : '';
    return this.#sqlite.prepare(
      `SELECT ${ROWID}${floats.join('')} FROM ${this.#table} WHERE ${where || 'true'}${limit}`,
    );
  }
}
