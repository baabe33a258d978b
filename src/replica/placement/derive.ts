// Derives the streams of placements while a replica is written. Here, and nowhere else in a relay, is the old row of every
// change, so that nothing is asked of replica identities: a row that moves into a condition is an insert of the whole row, one
// that moves out is a delete, whatever the core had sent of it.
//
//   message ──before──▶ (old row looked at) ──▶ writer applies ──after──▶ (new row looked at) ──▶ messages of each placement
//
// What is derived is written to `_skerry_derived` within the same SQLite transaction as the rows: after a crash either both
// are there or neither. The relay reads it from there, makes it durable in the placement's own log and then lets it go.

import { assert, must } from '../../base/assert.ts';
import {
  ROWS_MESSAGE_PREFIX,
  SCHEMA_MESSAGE_PREFIX,
  type SchemaChange,
  type TableImage,
  type TableRows,
} from '../../contracts/catalogue.ts';
import type { PlacementInForce, PlacementSpec } from '../../contracts/placement.ts';
import { quoteAlways } from '../../pg/identifier.ts';
import { formatLsn, type Lsn } from '../../pg/lsn.ts';
import { ByteWriter } from '../../wire/bytes.ts';
import {
  COLUMN,
  type DeleteMessage,
  encodePgoutput,
  type InsertMessage,
  PGOUTPUT,
  type PgoutputMessage,
  type RelationMessage,
  type TupleView,
  type UpdateMessage,
} from '../../wire/pgoutput.ts';
import type { Catalogue } from '../catalogue.ts';
import { divergedFault, schemaUnknownFault } from '../faults.ts';
import type { ColumnLayout, TableLayout } from '../layout.ts';
import type { Sqlite, SqliteValue, Statement } from '../sqlite.ts';
import { keyOf } from '../values.ts';
import { conditionColumns } from './condition.ts';
import { type HeldTable, heldSql, ownPlacement, type ResolvedPlacement, resolvePlacement } from './placement.ts';

/** A part of a transaction is written down when it is this large. */
const PART_BYTES = 256 * 1024;

const META_KEY = 'placements';

/** Placements in force in a replica file; none when they were never derived there. */
export function readPlacementsInForce(sqlite: Sqlite): PlacementInForce[] | null {
  const text = sqlite.value('SELECT value FROM _skerry_meta WHERE key = ?', META_KEY);
  return text === null ? null : (JSON.parse(String(text)) as PlacementInForce[]);
}

/** Takes out of a copy what only concerns the relay that derives. */
export function forgetDerived(sqlite: Sqlite): void {
  sqlite.exec('DROP TABLE IF EXISTS _skerry_derived');
  sqlite.rows('DELETE FROM _skerry_meta WHERE key = ?', META_KEY);
}

/** One placement: what it means now, and what has been derived for it in the open transaction. */
interface Stream {
  inForce: PlacementInForce;
  resolved: ResolvedPlacement;
  readonly tables: Map<number, StreamTable | null>;
  /** Messages of the open transaction that are not written down yet, each with its length before it. */
  out: Uint8Array[];
  outBytes: number;
  begun: boolean;
  /** Relations described in the open transaction. */
  readonly described: Set<number>;
}

/** How rows of a relation, as the core sends them, look in one placement. */
interface StreamTable {
  readonly held: HeldTable;
  /** Positions in the core's tuple of the columns that are sent. */
  readonly positions: readonly number[];
  /** Layout columns at these positions. */
  readonly columns: readonly ColumnLayout[];
  readonly relation: RelationMessage;
  /** Everything is sent as it comes. */
  readonly isWhole: boolean;
  /** Which of the table's conditions is ours; -1 without one. */
  readonly condition: number;
}

/** The conditions of all placements on one table, looked at together. */
interface Conditions {
  readonly layout: TableLayout;
  /** Columns that they look at, in the order of the parameters of `byValue`. */
  readonly columns: readonly ColumnLayout[];
  readonly byValue: Statement;
  /** Null when no key finds a row: then changes bring the whole old row. */
  readonly byKey: Statement | null;
  readonly source: Int32Array;
  readonly keySource: Int32Array;
}

export class Deriver {
  readonly #sqlite: Sqlite;
  readonly #catalogue: () => Catalogue;
  readonly #relations: ReadonlyMap<number, RelationMessage>;
  readonly #types = new Map<number, PgoutputMessage & { tag: 'type' }>();
  #streams: Stream[];
  readonly #conditions = new Map<number, Conditions | null>();
  readonly #wholeRows = new Map<number, Statement>();
  readonly #insertPart: Statement;
  #wanted: readonly PlacementSpec[] | null = null;
  #begin: (PgoutputMessage & { tag: 'begin' }) | null = null;
  /** Before the change: which conditions the old row fulfils. */
  #was: readonly boolean[] = NONE;
  #consumed = 0;
  /** What was wanted last, in force or not. */
  #latest: readonly PlacementSpec[] | null = null;
  readonly #writer = new ByteWriter();

  /** `relations` are what the stream said, kept by the writer. */
  constructor(sqlite: Sqlite, catalogue: () => Catalogue, relations: ReadonlyMap<number, RelationMessage>) {
    this.#sqlite = sqlite;
    this.#catalogue = catalogue;
    this.#relations = relations;
    sqlite.exec(
      'CREATE TABLE IF NOT EXISTS _skerry_derived (id INTEGER PRIMARY KEY AUTOINCREMENT, placement TEXT, part BLOB)',
    );
    this.#insertPart = sqlite.prepare('INSERT INTO _skerry_derived (placement, part) VALUES (?, ?)');
    this.#streams = (readPlacementsInForce(sqlite) ?? []).map((one) => this.#stream(one));
  }

  /** What is in force, the open transaction included. */
  get inForce(): readonly PlacementInForce[] {
    return this.#streams.map((stream) => stream.inForce);
  }

  /** Tables that are meant and cannot be held, by placement. */
  get problems(): ReadonlyMap<string, readonly string[]> {
    return new Map(this.#streams.map((stream) => [stream.inForce.spec.name, stream.resolved.problems]));
  }

  /** True while there is nothing to derive, nor to be derived from the next commit on. */
  get isIdle(): boolean {
    return this.#streams.length === 0 && this.#wanted === null;
  }

  /** True while a change of placements waits for a transaction to come in. */
  get isWaiting(): boolean {
    return this.#wanted !== null;
  }

  /**
   * What the operator wants. Takes effect at the end of the next transaction; at once where no PoP's rows change by it, which
   * is when placements are only new or gone. `at` is the position of the rows; call it between transactions. True when the
   * file has changed.
   */
  want(specs: readonly PlacementSpec[], at: Lsn): boolean {
    this.#latest = specs;
    this.#wanted = null;
    if (this.#isInForce(specs)) return false;
    const changes = specs.some((spec) =>
      this.#streams.some(({ inForce }) => inForce.spec.name === spec.name && !isSame(inForce.spec, spec)),
    );
    if (changes) {
      this.#wanted = specs;
      return false;
    }
    this.#replace(specs, at);
    return true;
  }

  #isInForce(specs: readonly PlacementSpec[]): boolean {
    const same = specs.filter((spec) => this.#streams.some((stream) => isSame(stream.inForce.spec, spec)));
    return same.length === specs.length && same.length === this.#streams.length;
  }

  /** Everything derived up to part `id` is durable elsewhere. */
  consumed(id: number): void {
    this.#consumed = Math.max(this.#consumed, id);
  }

  /** Lets go of what was consumed; within any transaction. False when there is nothing. */
  sweep(): boolean {
    if (this.#consumed === 0) return false;
    this.#sqlite.rows('DELETE FROM _skerry_derived WHERE id <= ?', this.#consumed);
    this.#consumed = 0;
    return true;
  }

  /** The file was rolled back: what is in force is read again. */
  rolledBack(): void {
    this.#forgetTables();
    this.#streams = (readPlacementsInForce(this.#sqlite) ?? []).map((one) => this.#stream(one));
    this.#wanted = this.#latest === null || this.#isInForce(this.#latest) ? null : this.#latest;
    this.#begin = null;
  }

  close(): void {
    this.#forgetTables();
    this.#insertPart.finalize();
  }

  /** Before the writer applies `message` (inside a transaction that it applies). */
  before(message: PgoutputMessage): void {
    switch (message.tag) {
      case 'begin':
        this.#begin = message;
        for (const stream of this.#streams) {
          stream.begun = false;
          stream.described.clear();
        }
        return;
      case 'update':
        this.#was = this.#oldRow(message, message.oldKind === '' ? message.row : message.old, message.oldKind === 'O');
        return;
      case 'delete':
        this.#was = this.#oldRow(message, message.old, message.oldKind === 'O');
        return;
      default:
    }
  }

  /** After the writer has applied it; for `commit` before it, while the transaction is open. */
  after(message: PgoutputMessage): void {
    switch (message.tag) {
      case 'insert':
        return this.#inserted(message);
      case 'update':
        return this.#updated(message);
      case 'delete':
        return this.#deleted(message);
      case 'truncate':
        return this.#truncated(message);
      case 'commit':
        return this.#committed(message);
      case 'message':
        if (message.prefix === ROWS_MESSAGE_PREFIX) this.#rows(message);
        return;
      default:
        return;
    }
  }

  /** Types and relations are described again where they are used. */
  described(message: PgoutputMessage): void {
    if (message.tag === 'type') this.#types.set(message.oid, message);
    else if (message.tag === 'relation') this.#forgetTable(message.oid);
  }

  // Row changes.

  #inserted(message: InsertMessage): void {
    const is = this.#byValue(message.relation, message.row, null);
    for (const stream of this.#streams) {
      const table = this.#table(stream, message.relation);
      if (table === null || !holds(table, is)) continue;
      this.#describe(stream, table);
      if (table.isWhole) this.#encode(stream, message);
      else this.#writeInsert(stream, table, message.row, null, null);
    }
  }

  #deleted(message: DeleteMessage): void {
    for (const stream of this.#streams) {
      const table = this.#table(stream, message.relation);
      if (table === null || !holds(table, this.#was)) continue;
      this.#describe(stream, table);
      if (table.isWhole) this.#encode(stream, message);
      else this.#writeDelete(stream, table, message.old, message.oldKind);
    }
  }

  #updated(message: UpdateMessage): void {
    const { relation, oldKind } = message;
    const was = this.#was;
    let is: readonly boolean[] | null = null;
    for (const stream of this.#streams) {
      const table = this.#table(stream, relation);
      if (table === null) continue;
      is ??= this.#newRow(message);
      const [before, after] = [holds(table, was), holds(table, is)];
      if (!before && !after) continue;
      this.#describe(stream, table);
      if (before && after) {
        if (table.isWhole) this.#encode(stream, message);
        else this.#writeUpdate(stream, table, message);
      } else if (after) {
        this.#writeInsert(
          stream,
          table,
          message.row,
          oldKind === 'O' ? message.old : null,
          this.#missing(table, message),
        );
      } else if (oldKind === '') {
        this.#writeKeyDelete(stream, table, message.row);
      } else {
        this.#writeDelete(stream, table, message.old, oldKind);
      }
    }
  }

  #truncated(message: PgoutputMessage & { tag: 'truncate' }): void {
    for (const stream of this.#streams) {
      const relations = message.relations.filter((oid) => this.#table(stream, oid) !== null);
      if (relations.length === 0) continue;
      for (const oid of relations) this.#describe(stream, must(this.#table(stream, oid)));
      // Neither CASCADE nor RESTART IDENTITY: other tables are none of its business.
      this.#encode(stream, { ...message, xid: 0, cascade: false, restartIdentity: false, relations });
    }
  }

  /** Values that a row which is new for a PoP needs and that did not come, from the row itself; null when all came. */
  #missing(table: StreamTable, message: UpdateMessage): ReadonlyMap<ColumnLayout, string | null> | null {
    const { row, oldKind, old } = message;
    const lacks = table.positions.some(
      (position) =>
        row.kinds[position] === COLUMN.unchanged && (oldKind !== 'O' || old.kinds[position] === COLUMN.unchanged),
    );
    if (!lacks) return null;
    const layout = table.held.full;
    if (layout.key.length === 0) throw divergedFault(nameOf(layout), 'a large value did not come, and no key finds it');
    let statement = this.#wholeRows.get(layout.oid);
    if (statement === undefined) {
      const reads = layout.columns.map((column) => column.codec.read(quoteAlways(column.sqlName)));
      statement = this.#sqlite.prepare(
        `SELECT ${reads.join(', ')} FROM ${quoteAlways(layout.sqlName)} WHERE ${whereKey(layout)}`,
      );
      this.#wholeRows.set(layout.oid, statement);
    }
    const conditions = this.#conditionsOf(layout.oid);
    const found = statement.get(keyValues(layout, conditions?.keySource ?? this.#keySource(layout), row));
    if (found === null) throw divergedFault(nameOf(layout), 'an updated row is not there');
    return new Map(layout.columns.map((column, index) => [column, textOf(column, found[index] as SqliteValue)]));
  }

  /** Which conditions the row fulfilled before the change. */
  #oldRow(message: UpdateMessage | DeleteMessage, row: TupleView, isWhole: boolean): readonly boolean[] {
    const conditions = this.#conditionsOf(message.relation);
    if (conditions === null) return NONE;
    if (conditions.byKey === null) {
      if (!isWhole) throw divergedFault(nameOf(conditions.layout), 'a change does not say which row it changes');
      return this.#byValue(message.relation, row, null);
    }
    return this.#byKey(conditions, row);
  }

  /** Which conditions it fulfils now that the change is applied. */
  #newRow(message: UpdateMessage): readonly boolean[] {
    const conditions = this.#conditionsOf(message.relation);
    if (conditions === null) return NONE;
    if (conditions.byKey === null) return this.#byValue(message.relation, message.row, message.old);
    return this.#byKey(conditions, message.row);
  }

  #byKey(conditions: Conditions, row: TupleView): readonly boolean[] {
    const found = must(conditions.byKey).get(keyValues(conditions.layout, conditions.keySource, row));
    if (found === null) throw divergedFault(nameOf(conditions.layout), 'a changed row is not there');
    return found.map((value) => value === 1);
  }

  /** `old` has the values that did not come. */
  #byValue(relation: number, row: TupleView, old: TupleView | null): readonly boolean[] {
    const conditions = this.#conditionsOf(relation);
    if (conditions === null) return NONE;
    const values: SqliteValue[] = [];
    for (const [index, column] of conditions.columns.entries()) {
      const position = conditions.source[index] as number;
      const tuple = row.kinds[position] === COLUMN.unchanged && old !== null ? old : row;
      const value = tupleValue(column, tuple, position, conditions.layout);
      values.push(value);
      if (column.keyName !== null) values.push(keyOf(value));
    }
    return must(conditions.byValue.get(values)).map((value) => value === 1);
  }

  // Rows that were rewritten, and schema changes.

  #rows(message: PgoutputMessage & { tag: 'message' }): void {
    const content = JSON.parse(textOfBytes(message.content)) as TableRows;
    const image = this.#catalogue().table(content.table);
    if (image === undefined) return;
    for (const stream of this.#streams) {
      const held = stream.resolved.held.get(content.table);
      if (held === undefined) continue;
      const kept = content.attnums.flatMap((attnum, index) => (held.attnums.includes(attnum) ? [index] : []));
      const test = held.condition === null ? null : this.#rowTest(held, content.attnums);
      const rows = content.rows
        .filter((row) => test === null || test(row))
        .map((row) => kept.map((index) => row[index] ?? null));
      if (rows.length === 0) continue;
      const attnums = kept.map((index) => content.attnums[index] as number);
      this.#message(stream, ROWS_MESSAGE_PREFIX, {
        version: 1,
        table: content.table,
        attnums,
        rows,
      } satisfies TableRows);
    }
  }

  #rowTest(held: HeldTable, attnums: readonly number[]): (row: readonly (string | null)[]) => boolean {
    const layout = held.full;
    const columns = conditionLayouts(layout, [held]);
    const statement = this.#sqlite.prepare(
      `SELECT ${heldSql(held, this.#catalogue(), parameters(columns))}${lastParameter(columns)}`,
    );
    return (row) => {
      const values: SqliteValue[] = [];
      for (const column of columns) {
        const text = row[attnums.indexOf(column.attnum)] ?? null;
        const value = text === null ? null : column.codec.encodeText(text);
        values.push(value);
        if (column.keyName !== null) values.push(keyOf(value));
      }
      return statement.get(values)?.[0] === 1;
    };
  }

  /** After the writer has changed its schema: what every placement is told of it. */
  schemaChanged(change: SchemaChange): void {
    this.#forgetTables();
    for (const stream of this.#streams) {
      const before = stream.resolved;
      stream.resolved = resolvePlacement(stream.inForce.spec, this.#catalogue());
      this.#move(stream, before, change);
    }
  }

  /** The open transaction ends: its derived parts are complete, and wanted placements take effect. */
  #committed(message: PgoutputMessage & { tag: 'commit' }): void {
    if (this.#wanted !== null) this.#takeEffect(this.#wanted, message.endLsn);
    for (const stream of this.#streams) {
      if (!stream.begun) continue;
      this.#encode(stream, { ...message, flags: 0 });
      this.#writePart(stream);
      stream.begun = false;
    }
    this.#begin = null;
  }

  // Changes of placements.

  #takeEffect(specs: readonly PlacementSpec[], at: Lsn): void {
    for (const spec of specs) {
      const stream = this.#streams.find((one) => one.inForce.spec.name === spec.name);
      if (stream === undefined || isSame(stream.inForce.spec, spec)) continue;
      const before = stream.resolved;
      this.#forgetTables();
      const { history, narrowedAt } = stream.inForce;
      stream.resolved = resolvePlacement(spec, this.#catalogue());
      const lost = isNarrowed(before, stream.resolved) ? formatLsn(at) : narrowedAt;
      stream.inForce = { spec, history, ...(lost === undefined ? {} : { narrowedAt: lost }) };
      this.#move(stream, before, null);
    }
    this.#replace(specs, at);
    this.#wanted = null;
  }

  /** Placements that are new begin their history at `at`; those that are gone go. */
  #replace(specs: readonly PlacementSpec[], at: Lsn): void {
    this.#forgetTables();
    this.#streams = specs.map((spec) => {
      const known = this.#streams.find((stream) => stream.inForce.spec.name === spec.name);
      if (known === undefined) return this.#stream({ spec, history: `${spec.name}@${formatLsn(at)}` });
      known.inForce = { ...known.inForce, spec };
      return known;
    });
    this.#sqlite.rows('INSERT OR REPLACE INTO _skerry_meta VALUES (?, ?)', META_KEY, JSON.stringify(this.inForce));
  }

  /**
   * Everything that a PoP needs to get from one meaning of its placement to another: by DDL (`change`), or because the
   * operator changed it (null). Rows that it loses, then the shapes of tables, then values and rows that it gains.
   */
  #move(stream: Stream, before: ResolvedPlacement, change: SchemaChange | null): void {
    const after = stream.resolved;
    const rewritten = new Set(change?.rewrittenTables ?? []);
    const fresh = new Set<number>();
    const gone = new Set(change?.droppedTables ?? []);
    const droppedTables = [...before.held.keys(), ...before.shapes.keys()].filter(
      (oid) => gone.has(oid) || !(after.held.has(oid) || after.shapes.has(oid)),
    );
    // A receiver takes a table that goes out of its parent's list; one that is only not held is still in it.
    const isParent = (image: TableImage): boolean =>
      image.childOids?.some((oid) => droppedTables.includes(oid) && !gone.has(oid)) === true;
    const tables = [...after.held.values()].filter((held) => {
      const old = before.held.get(held.oid);
      if (old === undefined || rewritten.has(held.oid) || isParent(held.image)) return true;
      return JSON.stringify(old.image) !== JSON.stringify(held.image);
    });
    if (change === null) {
      for (const held of tables) {
        const old = before.held.get(held.oid);
        if (old === undefined) continue;
        // Rows that nothing identifies cannot be taken away one by one: the table begins anew.
        if (held.full.key.length === 0 && held.image.replicaIdentity !== 'f') fresh.add(held.oid);
        else this.#lose(stream, old, held);
      }
    }
    const shapes = [...after.shapes].filter(
      ([oid, image]) => isParent(image) || JSON.stringify(before.shapes.get(oid)) !== JSON.stringify(image),
    );
    const known = new Map(before.types.map((type) => [type.oid, JSON.stringify(type)]));
    const types = after.types.filter((type) => known.get(type.oid) !== JSON.stringify(type));
    if (tables.length + shapes.length + droppedTables.length + types.length > 0 || change === null) {
      this.#message(stream, SCHEMA_MESSAGE_PREFIX, {
        version: 1,
        tag: change?.tag ?? 'PLACEMENT',
        tables: [
          ...tables.map((held) => withoutMissing(held, before.held.get(held.oid))),
          ...shapes.map(([, image]) => image),
        ],
        types,
        droppedTables,
        rewrittenTables: tables.map((held) => held.oid).filter((oid) => rewritten.has(oid) || fresh.has(oid)),
        ...(change === null ? { placement: ownPlacement(stream.inForce) } : {}),
      } satisfies SchemaChange);
    }
    stream.described.clear();
    for (const held of tables) {
      // Rows of a rewritten table come as messages.
      if (rewritten.has(held.oid)) continue;
      this.#gain(stream, fresh.has(held.oid) ? undefined : before.held.get(held.oid), held);
    }
  }

  /** Deletes of rows that are not held any more, in the shape that the PoP still has. */
  #lose(stream: Stream, old: HeldTable, held: HeldTable): void {
    if (held.condition === null || old.condition?.text === held.condition.text) return;
    const where = `${heldSql(old, this.#catalogue())} AND NOT (${heldSql(held, this.#catalogue())})`;
    const table = this.#tableOf(old, this.#relationOf(old));
    for (const row of this.#scan(table, where)) {
      this.#describe(stream, table);
      const writer = this.#row(PGOUTPUT.delete, old.oid);
      const isWholeRow = table.relation.replicaIdentity === 'f';
      writer.byte(isWholeRow ? OLD_ROW : OLD_KEY);
      writeTexts(writer, isWholeRow ? row : row.map((text, index) => (isKey(table, index) ? text : null)));
      this.#emit(stream);
    }
    stream.described.delete(old.oid);
  }

  /** Values of columns and rows that are new to the PoP. */
  #gain(stream: Stream, old: HeldTable | undefined, held: HeldTable): void {
    const relation = this.#relationOf(held);
    const table = this.#tableOf(held, relation);
    if (old !== undefined) {
      const existed = new Set(old.full.image.columns.map((column) => column.attnum));
      const gained = held.attnums.filter((attnum) => !old.attnums.includes(attnum) && existed.has(attnum));
      if (gained.length > 0) this.#fill(stream, old, held, table, new Set(gained));
      if (old.condition === null || old.condition.text === held.condition?.text) return;
    }
    // A schema change leaves conditions as they are, so that the rows of a table held before need no second look.
    const where =
      old === undefined
        ? heldSql(held, this.#catalogue())
        : `${heldSql(held, this.#catalogue())} AND NOT (${heldSql(old, this.#catalogue())})`;
    for (const row of this.#scan(table, where)) {
      this.#describe(stream, table);
      const writer = this.#row(PGOUTPUT.insert, held.oid);
      writer.byte(NEW_ROW);
      writeTexts(writer, row);
      this.#emit(stream);
    }
  }

  /** Updates of all rows that stay, because they have more columns now. */
  #fill(stream: Stream, old: HeldTable, held: HeldTable, table: StreamTable, gained: ReadonlySet<number>): void {
    // The same condition has other names of columns after a schema change; a row that stays fulfils it now as before.
    const both = old.condition?.text === held.condition?.text ? [held] : [held, old];
    const where = both.map((one) => heldSql(one, this.#catalogue())).join(' AND ');
    const isFull = table.relation.replicaIdentity === 'f';
    for (const row of this.#scan(table, where)) {
      this.#describe(stream, table);
      const writer = this.#row(PGOUTPUT.update, held.oid);
      if (isFull) {
        writer.byte(OLD_ROW);
        writeTexts(
          writer,
          row.map((text, index) => (gained.has(must(table.columns[index]).attnum) ? null : text)),
        );
      }
      writer.byte(NEW_ROW);
      writeTexts(writer, row);
      this.#emit(stream);
    }
  }

  /** Texts of rows in the order in which they are sent. */
  *#scan(table: StreamTable, where: string): IterableIterator<(string | null)[]> {
    const layout = table.held.full;
    const { columns } = table;
    const reads = columns.map((column, index) => `${column.codec.read(quoteAlways(column.sqlName))} AS c${index}`);
    const statement = this.#sqlite.prepare(
      `SELECT ${['1 AS one', ...reads].join(', ')} FROM ${quoteAlways(layout.sqlName)} WHERE ${where}`,
    );
    try {
      for (const row of statement.iterate([])) {
        yield columns.map((column, index) => textOf(column, row[index + 1] as SqliteValue));
      }
    } finally {
      statement.finalize();
    }
  }

  /** As the stream described it last; made from the image when no row of it has come yet. */
  #relationOf(held: HeldTable): RelationMessage {
    const { image } = held.full;
    const names = new Map(image.columns.map((column) => [column.name, column]));
    const known = this.#relations.get(held.oid);
    const fits =
      known !== undefined &&
      held.full.columns.every((column) => known.columns.some((one) => one.name === column.name)) &&
      known.columns.every((column) => names.has(column.name));
    if (fits) return known;
    const key = new Set(image.replicaIdentity === 'd' ? image.primaryKeyAttnums : image.identityAttnums);
    return {
      tag: 'relation',
      xid: 0,
      oid: held.oid,
      schema: image.schema,
      name: image.name,
      replicaIdentity: image.replicaIdentity,
      columns: held.full.columns.map((column) => ({
        key: image.replicaIdentity === 'f' || key.has(column.attnum),
        name: column.name,
        typeOid: column.image.typeOid,
        typmod: column.image.typmod,
      })),
    };
  }

  // Tables of streams.

  #stream(inForce: PlacementInForce): Stream {
    return {
      inForce,
      resolved: resolvePlacement(inForce.spec, this.#catalogue()),
      tables: new Map(),
      out: [],
      outBytes: 0,
      begun: false,
      described: new Set(),
    };
  }

  #table(stream: Stream, oid: number): StreamTable | null {
    let table = stream.tables.get(oid);
    if (table !== undefined) return table;
    const held = stream.resolved.held.get(oid);
    const relation = this.#relations.get(oid);
    if (held !== undefined && relation === undefined)
      throw schemaUnknownFault(`rows of ${nameOf(held.full)} came before the stream said in which columns they come`);
    table = held === undefined || relation === undefined ? null : this.#tableOf(held, relation);
    stream.tables.set(oid, table);
    return table;
  }

  #tableOf(held: HeldTable, relation: RelationMessage): StreamTable {
    const sent = new Map(
      held.full.columns.filter((column) => held.attnums.includes(column.attnum)).map((column) => [column.name, column]),
    );
    const positions = relation.columns.flatMap((column, index) => (sent.has(column.name) ? [index] : []));
    assert(positions.length === sent.size, 'a held column is not in the stream');
    const columns = positions.map((position) => must(sent.get(must(relation.columns[position]).name)));
    const isAll = positions.length === relation.columns.length;
    const condition = held.condition === null ? -1 : this.#conditionIndex(held);
    return {
      held,
      positions,
      columns,
      relation: isAll
        ? relation
        : { ...relation, columns: positions.map((position) => must(relation.columns[position])) },
      isWhole: isAll,
      condition,
    };
  }

  /** Place of a table's condition among those of all placements: the conditions are looked at in the order of streams. */
  #conditionIndex(held: HeldTable): number {
    return this.#withCondition(held.oid).findIndex((one) => one.condition?.text === held.condition?.text);
  }

  #withCondition(oid: number): HeldTable[] {
    const found = new Map<string, HeldTable>();
    for (const stream of this.#streams) {
      const held = stream.resolved.held.get(oid);
      const condition = held?.condition ?? null;
      if (held !== undefined && condition !== null && !found.has(condition.text)) found.set(condition.text, held);
    }
    return [...found.values()];
  }

  #conditionsOf(oid: number): Conditions | null {
    const known = this.#conditions.get(oid);
    if (known !== undefined) return known;
    const made = this.#makeConditions(oid);
    this.#conditions.set(oid, made);
    return made;
  }

  #makeConditions(oid: number): Conditions | null {
    const tables = this.#withCondition(oid);
    const first = tables[0];
    if (first === undefined) return null;
    const layout = first.full;
    const columns = conditionLayouts(layout, tables);
    const relation = this.#relations.get(oid);
    if (relation === undefined) throw schemaUnknownFault(`rows of ${nameOf(layout)} came before their description`);
    const catalogue = this.#catalogue();
    const byValue = tables.map((held) => heldSql(held, catalogue, parameters(columns)));
    const byKey = tables.map((held) => heldSql(held, catalogue));
    const positionOf = (column: ColumnLayout): number => relation.columns.findIndex((one) => one.name === column.name);
    return {
      layout,
      columns,
      byValue: this.#sqlite.prepare(`SELECT ${byValue.join(', ')}${lastParameter(columns)}`),
      byKey:
        layout.key.length === 0
          ? null
          : this.#sqlite.prepare(
              `SELECT ${byKey.join(', ')} FROM ${quoteAlways(layout.sqlName)} WHERE ${whereKey(layout)}`,
            ),
      source: Int32Array.from(columns.map(positionOf)),
      keySource: Int32Array.from(layout.key.map(positionOf)),
    };
  }

  #keySource(layout: TableLayout): Int32Array {
    const relation = must(this.#relations.get(layout.oid));
    return Int32Array.from(layout.key.map((column) => relation.columns.findIndex((one) => one.name === column.name)));
  }

  #forgetTable(oid: number): void {
    const conditions = this.#conditions.get(oid);
    conditions?.byValue.finalize();
    conditions?.byKey?.finalize();
    this.#conditions.delete(oid);
    this.#wholeRows.get(oid)?.finalize();
    this.#wholeRows.delete(oid);
    for (const stream of this.#streams) stream.tables.delete(oid);
  }

  #forgetTables(): void {
    for (const oid of [...this.#conditions.keys(), ...this.#wholeRows.keys()]) this.#forgetTable(oid);
    for (const stream of this.#streams) stream.tables.clear();
  }

  // Writing.

  #ensureBegun(stream: Stream): void {
    if (stream.begun) return;
    stream.begun = true;
    this.#encode(stream, must(this.#begin, 'derived outside a transaction'));
  }

  #describe(stream: Stream, table: StreamTable): void {
    this.#ensureBegun(stream);
    const { oid, columns } = table.relation;
    if (stream.described.has(oid)) return;
    stream.described.add(oid);
    for (const { typeOid } of columns) {
      const type = this.#types.get(typeOid);
      if (type !== undefined) this.#encode(stream, { ...type, xid: 0 });
    }
    this.#encode(stream, { ...table.relation, xid: 0 });
  }

  #message(stream: Stream, prefix: string, content: object): void {
    this.#ensureBegun(stream);
    const lsn = must(this.#begin).finalLsn;
    this.#encode(stream, {
      tag: 'message',
      xid: 0,
      transactional: true,
      lsn,
      prefix,
      content: Buffer.from(JSON.stringify(content)),
    });
  }

  #writeInsert(
    stream: Stream,
    table: StreamTable,
    row: TupleView,
    old: TupleView | null,
    missing: ReadonlyMap<ColumnLayout, string | null> | null,
  ): void {
    const writer = this.#row(PGOUTPUT.insert, table.relation.oid);
    writer.byte(NEW_ROW);
    writer.int16(table.positions.length);
    for (const [index, position] of table.positions.entries()) {
      if (row.kinds[position] !== COLUMN.unchanged) copyValue(writer, row, position);
      else if (old !== null && old.kinds[position] !== COLUMN.unchanged) copyValue(writer, old, position);
      else writeText(writer, must(missing).get(must(table.columns[index])) ?? null);
    }
    this.#emit(stream);
  }

  #writeUpdate(stream: Stream, table: StreamTable, message: UpdateMessage): void {
    const writer = this.#row(PGOUTPUT.update, table.relation.oid);
    if (message.oldKind !== '') {
      writer.byte(message.oldKind.charCodeAt(0));
      copyTuple(writer, table, message.old);
    }
    writer.byte(NEW_ROW);
    copyTuple(writer, table, message.row);
    this.#emit(stream);
  }

  #writeDelete(stream: Stream, table: StreamTable, old: TupleView, kind: 'K' | 'O'): void {
    const writer = this.#row(PGOUTPUT.delete, table.relation.oid);
    writer.byte(kind.charCodeAt(0));
    copyTuple(writer, table, old);
    this.#emit(stream);
  }

  /** A delete of the row whose key is in `row`. */
  #writeKeyDelete(stream: Stream, table: StreamTable, row: TupleView): void {
    const writer = this.#row(PGOUTPUT.delete, table.relation.oid);
    writer.byte(OLD_KEY);
    writer.int16(table.positions.length);
    for (const [index, position] of table.positions.entries()) {
      if (isKey(table, index)) copyValue(writer, row, position);
      else writer.byte(COLUMN.null);
    }
    this.#emit(stream);
  }

  #row(type: number, relation: number): ByteWriter {
    this.#writer.byte(type);
    this.#writer.int32(relation);
    return this.#writer;
  }

  #encode(stream: Stream, message: PgoutputMessage): void {
    encodePgoutput(this.#writer, message);
    this.#emit(stream);
  }

  /** Takes over the message that was written, and writes a part down when enough is together. */
  #emit(stream: Stream): void {
    const message = this.#writer.take();
    const length = new Uint8Array(LENGTH_BYTES);
    new DataView(length.buffer).setUint32(0, message.length);
    stream.out.push(length, message);
    stream.outBytes += LENGTH_BYTES + message.length;
    if (stream.outBytes > PART_BYTES) this.#writePart(stream);
  }

  #writePart(stream: Stream): void {
    this.#insertPart.run([stream.inForce.spec.name, Buffer.concat(stream.out)]);
    stream.out = [];
    stream.outBytes = 0;
  }
}

const LENGTH_BYTES = 4;
const NEW_ROW = 0x4e; // N
const OLD_KEY = 0x4b; // K
const OLD_ROW = 0x4f; // O

const NONE: readonly boolean[] = [];

/** Calls `visit` with each message of a part. */
export function eachDerived(part: Uint8Array, visit: (message: Uint8Array) => void): void {
  const view = new DataView(part.buffer, part.byteOffset, part.byteLength);
  for (let at = 0; at < part.length; ) {
    const start = at + LENGTH_BYTES;
    at = start + view.getUint32(at);
    visit(part.subarray(start, at));
  }
}

function isSame(a: PlacementSpec, b: PlacementSpec): boolean {
  return a.name === b.name && a.forward === b.forward && JSON.stringify(a.tables) === JSON.stringify(b.tables);
}

/** Whether something that was held may not be held any more; a condition that changed counts, whatever it says. */
function isNarrowed(before: ResolvedPlacement, after: ResolvedPlacement): boolean {
  return [...before.held.values()].some((old) => {
    const held = after.held.get(old.oid);
    if (held === undefined || old.attnums.some((attnum) => !held.attnums.includes(attnum))) return true;
    return held.condition !== null && held.condition.text !== old.condition?.text;
  });
}

function holds(table: StreamTable, fulfilled: readonly boolean[]): boolean {
  return table.condition < 0 || fulfilled[table.condition] === true;
}

function isKey(table: StreamTable, index: number): boolean {
  return table.held.full.key.includes(must(table.columns[index]));
}

function nameOf({ image }: TableLayout): string {
  return `${image.schema}.${image.name}`;
}

/** Columns that conditions of some placements look at. */
function conditionLayouts(layout: TableLayout, tables: readonly HeldTable[]): ColumnLayout[] {
  const names = new Set(
    tables.flatMap(({ condition }) => (condition === null ? [] : conditionColumns(condition.node))),
  );
  return layout.columns.filter((column) => names.has(column.name));
}

/** Columns as parameters, value and then key of each. By attnum: each placement has layouts of its own. */
function parameters(columns: readonly ColumnLayout[]): (column: ColumnLayout, form: 'value' | 'key') => string {
  const places = new Map<number, number>();
  let next = 1;
  for (const column of columns) {
    places.set(column.attnum, next);
    next += column.keyName === null ? 1 : 2;
  }
  return (column, form) => `?${must(places.get(column.attnum)) + (form === 'key' && column.keyName !== null ? 1 : 0)}`;
}

/** Mentions the last parameter: a condition need not look at the key of a column, and all are bound. */
function lastParameter(columns: readonly ColumnLayout[]): string {
  const count = columns.reduce((sum, column) => sum + (column.keyName === null ? 1 : 2), 0);
  return count === 0 ? '' : `, ?${count}`;
}

function whereKey(layout: TableLayout): string {
  return layout.key.map((column, index) => `${quoteAlways(column.sqlName)} = ?${index + 1}`).join(' AND ');
}

function keyValues(layout: TableLayout, source: Int32Array, row: TupleView): SqliteValue[] {
  return layout.key.map((column, index) => tupleValue(column, row, source[index] as number, layout));
}

function tupleValue(column: ColumnLayout, tuple: TupleView, position: number, layout: TableLayout): SqliteValue {
  const kind = tuple.kinds[position];
  if (kind === COLUMN.null) return null;
  if (kind !== COLUMN.text) throw divergedFault(nameOf(layout), `column ${column.name} came without its value`);
  return column.codec.encode(tuple.buffer, tuple.starts[position] as number, tuple.ends[position] as number);
}

function textOf(column: ColumnLayout, value: SqliteValue): string | null {
  return value === null ? null : column.codec.decode(value);
}

function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function copyTuple(writer: ByteWriter, table: StreamTable, tuple: TupleView): void {
  writer.int16(table.positions.length);
  for (const position of table.positions) copyValue(writer, tuple, position);
}

/** Kind, length and bytes as they came. */
function copyValue(writer: ByteWriter, tuple: TupleView, position: number): void {
  const kind = tuple.kinds[position] as number;
  writer.byte(kind);
  if (kind === COLUMN.text) writer.countedBytes(tuple.buffer.subarray(tuple.starts[position], tuple.ends[position]));
}

function writeTexts(writer: ByteWriter, row: readonly (string | null)[]): void {
  writer.int16(row.length);
  for (const text of row) writeText(writer, text);
}

function writeText(writer: ByteWriter, text: string | null): void {
  if (text === null) return writer.byte(COLUMN.null);
  writer.byte(COLUMN.text);
  writer.countedText(text);
}

/** Rows that are there get the values of a column that is new to the PoP by updates, and until then have none. */
function withoutMissing(held: HeldTable, old: HeldTable | undefined): TableImage {
  if (old === undefined) return held.image;
  const existed = new Set(old.full.image.columns.map((column) => column.attnum));
  return {
    ...held.image,
    columns: held.image.columns.map((column) =>
      existed.has(column.attnum) && !old.attnums.includes(column.attnum) ? { ...column, missingText: null } : column,
    ),
  };
}
