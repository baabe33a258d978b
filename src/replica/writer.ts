// Applies the change stream to a replica: rows and position in one SQLite transaction (I3).
//
// Several source transactions share one SQLite transaction until the owner calls `flush`; one source transaction is never
// split. Any error rolls back to the last flush, so that nothing is ever half done: the owner goes on from `position`.

import { assert } from '../base/assert.ts';
import { Fault } from '../base/fault.ts';
import {
  type CatalogueImage,
  ROWS_MESSAGE_PREFIX,
  SCHEMA_MESSAGE_PREFIX,
  type SchemaChange,
  type TableRows,
} from '../contracts/catalogue.ts';
import type { PlacementSpec } from '../contracts/placement.ts';
import { type Epoch, formatLsn, type Lsn, type Position, sameEpoch } from '../pg/lsn.ts';
import type { PgoutputMessage, RelationMessage } from '../wire/pgoutput.ts';
import { type Catalogue, type CatalogueDifference } from './catalogue.ts';
import { faultFromSqlite, schemaUnknownFault } from './faults.ts';
import { isStored, tableLayout } from './layout.ts';
import {
  assertReplicaFile,
  createMeta,
  ensureChangedPositions,
  readCatalogue,
  readRowCounts,
  readState,
  SAVE_CHANGED_SQL,
  writeOwnPlacement,
  writePosition,
  hasStatistics,
  STATISTICS_ENTRIES,
} from './meta.ts';
import { Deriver } from './placement/derive.ts';
import { applySchemaChange, createTable } from './schema.ts';
import { Sqlite, type SqliteOptions, type Statement } from './sqlite.ts';
import { TableWriter } from './table-writer.ts';

/** The -wal file is cut back to this after a large transaction has been folded into the database. */
const WAL_BYTES_KEPT = 64 * 1024 * 1024;

/**
 * Pages in the -wal file after which a commit folds it into the database: half of what is kept. At SQLite's own 1,000
 * each batch of scattered changes would pay for a checkpoint; `bench` apply: 109,000 against 155,000 transactions/s.
 */
const CHECKPOINT_PAGES = 8192;

/** Outside a source transaction, inside one that is applied, or inside one that the replica has already. */
type Mode = 'idle' | 'applying' | 'skipping';

export interface ReplicaWriterOptions {
  /** `full` where the flush is acknowledged upstream as durable; `normal` where the upstream still has what a power loss takes. */
  readonly synchronous: 'full' | 'normal' | 'off';
  readonly cacheKib?: number;
  /** The database file never grows beyond this: reaching it is a `disk-full`, like a full disk. No bound when not given. */
  readonly fileBytesMax?: number;
}

/** Reads a message's JSON; the stream's own messages come from our own trigger or source. */
function parseContent<T>(content: Uint8Array, prefix: string): T {
  try {
    return JSON.parse(Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('utf8')) as T;
  } catch (error) {
    throw new Fault('replica-schema-unknown', {
      message: `a ${prefix} message is not JSON`,
      hint: 'nobody but skerry may emit logical messages with this prefix',
      sqlstate: 'XX001',
      cause: error,
    });
  }
}

/** Flushes between two looks at whether the tables have grown. */
const STATISTICS_FLUSHES = 64;

/** Fewer rows more than this are no reason for new statistics. */
const STATISTICS_ROWS_MIN = 1_000;

export class ReplicaWriter {
  readonly #sqlite: Sqlite;
  #catalogue: Catalogue;
  /** What is committed in SQLite. */
  #position: Position;
  /** End LSN of the last source transaction that is in the open SQLite transaction. */
  #pendingLsn: Lsn;
  #counts: Map<number, number>;
  readonly #touched = new Set<number>();
  /** Tables with changes that are not flushed. */
  readonly #changed = new Set<number>();
  /** The last one that was added there: rows of one table come together. */
  #changedLast = -1;
  readonly #relations = new Map<number, RelationMessage>();
  readonly #tables = new Map<number, TableWriter>();
  #mode: Mode = 'idle';
  #isDirty = false;
  #hasSchemaChanged = false;
  #pendingTransactions = 0;
  #pendingChanges = 0;
  #savePosition: Statement;
  #saveCount: Statement;
  #saveChanged: Statement;
  #begin: Statement;
  #commit: Statement;
  #flushes = 0;
  /** Rows that there were when statistics were taken. */
  #statisticsRows = 0;
  /** In a relay: makes the streams of placements out of what is applied. */
  #deriver: Deriver | null = null;
  /** A change of placement has taken rows away: what is left of them in the -wal file has to go, too. */
  #mustWipe = false;
  /** Called after a schema change was applied (not yet flushed). */
  onSchemaChange: ((difference: CatalogueDifference) => void) | null = null;

  /** Opens an existing replica. Throws Fault `replica-file-invalid`, `disk-failed`. */
  static open(path: string, options: ReplicaWriterOptions): ReplicaWriter {
    const sqlite = new Sqlite(path, sqliteOptions('write', options));
    try {
      assertReplicaFile(sqlite);
      return new ReplicaWriter(sqlite);
    } catch (error) {
      sqlite.close();
      throw faultFromSqlite(error, `cannot open replica ${path}`);
    }
  }

  /** Makes a new replica without rows. For one with rows, see `ReplicaLoader`. */
  static create(path: string, image: CatalogueImage, position: Position, options: ReplicaWriterOptions): ReplicaWriter {
    const sqlite = new Sqlite(path, sqliteOptions('create', options));
    try {
      sqlite.exec('PRAGMA journal_mode = WAL');
      sqlite.exec('BEGIN IMMEDIATE');
      createMeta(sqlite, image, position);
      const catalogue = readCatalogue(sqlite);
      for (const table of catalogue.tables()) {
        if (isStored(table)) createTable(sqlite, tableLayout(table, catalogue), { indexes: true });
      }
      sqlite.exec('COMMIT');
      return new ReplicaWriter(sqlite);
    } catch (error) {
      sqlite.close();
      throw faultFromSqlite(error, `cannot create replica ${path}`);
    }
  }

  private constructor(sqlite: Sqlite) {
    this.#sqlite = sqlite;
    sqlite.exec('PRAGMA journal_mode = WAL');
    sqlite.exec(`PRAGMA journal_size_limit = ${WAL_BYTES_KEPT}`);
    sqlite.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    this.#catalogue = readCatalogue(sqlite);
    // What a placement takes away must not stay in free pages, nor in a journal that a crash has left.
    this.#mustWipe = this.#catalogue.server.placement !== undefined;
    if (this.#mustWipe) sqlite.exec('PRAGMA secure_delete = ON');
    this.#position = readState(sqlite).position;
    this.#pendingLsn = this.#position.lsn;
    this.#counts = readRowCounts(sqlite);
    this.#savePosition = sqlite.prepare('UPDATE _skerry_position SET lsn = ?, catalogue_version = ?');
    this.#statisticsRows = hasStatistics(sqlite) ? this.rowCountTotal : 0;
    this.#saveCount = sqlite.prepare('UPDATE _skerry_table SET row_count = ? WHERE oid = ?');
    ensureChangedPositions(sqlite, this.#position.lsn);
    this.#saveChanged = sqlite.prepare(SAVE_CHANGED_SQL);
    this.#begin = sqlite.prepare('BEGIN IMMEDIATE');
    this.#commit = sqlite.prepare('COMMIT');
  }

  get path(): string {
    return this.#sqlite.path;
  }

  /** The catalogue as of everything applied so far, flushed or not. */
  get catalogue(): Catalogue {
    return this.#catalogue;
  }

  /** What readers see: the last flush. */
  get position(): Position {
    return this.#position;
  }

  /** End LSN of the last transaction applied, flushed or not. */
  get appliedLsn(): Lsn {
    return this.#pendingLsn;
  }

  /** True between Begin and Commit of a source transaction. */
  get isInTransaction(): boolean {
    return this.#mode !== 'idle';
  }

  /** Source transactions applied and not flushed. */
  get pendingTransactions(): number {
    return this.#pendingTransactions;
  }

  /** Row changes applied and not flushed. */
  get pendingChanges(): number {
    return this.#pendingChanges;
  }

  /** Rows of a table, counted while applying. */
  rowCount(oid: number): number {
    return this.#counts.get(oid) ?? 0;
  }

  get rowCountTotal(): number {
    let total = 0;
    for (const count of this.#counts.values()) total += count;
    return total;
  }

  /**
   * Applies one message of a plain (not streamed) pgoutput stream. A failure rolls back to the last flush before it is
   * thrown: Fault `replica-diverged`, `replica-schema-unknown`, `stream-out-of-order`, `disk-full`, `disk-failed`.
   */
  apply(message: PgoutputMessage): void {
    try {
      this.#apply(message);
    } catch (error) {
      this.rollback();
      throw faultFromSqlite(error, 'cannot apply a change');
    }
  }

  /** From now on derives streams of placements, of those in force and of those wanted later. */
  derive(): Deriver {
    this.#deriver ??= new Deriver(this.#sqlite, () => this.#catalogue, this.#relations);
    return this.#deriver;
  }

  /** See `Deriver.want`. Not inside a source transaction; commits what is to be in force at once. */
  wantPlacements(specs: readonly PlacementSpec[]): void {
    assert(this.#mode === 'idle', 'placements change between transactions');
    const deriver = this.derive();
    this.flush();
    // What is derived is sent on as soon as it is committed: a power cut must not take it back.
    if (specs.length > 0) this.#sqlite.exec('PRAGMA synchronous = FULL');
    this.#ensureBegun();
    try {
      deriver.want(specs, this.#position.lsn);
    } catch (error) {
      this.rollback();
      throw error;
    }
    this.flush();
  }

  /** Commits rows and position. Not inside a source transaction. */
  flush(): Position {
    assert(this.#mode === 'idle', 'flush inside a source transaction');
    if (!this.#isDirty && this.#pendingLsn === this.#position.lsn) return this.#position;
    try {
      this.#ensureBegun();
      this.#deriver?.sweep();
      for (const oid of this.#touched) this.#saveCount.run([this.#counts.get(oid) ?? 0, oid]);
      const position = formatLsn(this.#pendingLsn);
      for (const oid of this.#changed) this.#saveChanged.run([oid, position]);
      this.#savePosition.run([position, this.#catalogue.version]);
      this.#commit.run([]);
    } catch (error) {
      this.rollback();
      throw faultFromSqlite(error, 'cannot commit');
    }
    this.#touched.clear();
    this.#forgetChanged();
    this.#isDirty = false;
    this.#hasSchemaChanged = false;
    this.#pendingTransactions = 0;
    this.#pendingChanges = 0;
    this.#position = { epoch: this.#position.epoch, lsn: this.#pendingLsn };
    this.#flushes += 1;
    if (this.#flushes % STATISTICS_FLUSHES === 0) this.#refreshStatistics();
    if (this.#mustWipe) this.#mustWipe = !this.#sqlite.checkpointAtOnce();
    return this.#position;
  }

  /** Statistics are taken again when there are half as many rows more, or less. */
  #refreshStatistics(): void {
    const rows = this.rowCountTotal;
    const [low, high] = [this.#statisticsRows / 2, this.#statisticsRows * 1.5 + STATISTICS_ROWS_MIN];
    if (rows >= low && rows <= high) return;
    this.#statisticsRows = rows;
    this.#sqlite.analyze(STATISTICS_ENTRIES);
  }

  /** Undoes everything since the last flush. */
  rollback(): void {
    if (this.#sqlite.inTransaction) {
      try {
        this.#sqlite.exec('ROLLBACK');
      } catch {
        // SQLite has rolled back by itself, as it does when the disk is full.
      }
    }
    this.#mode = 'idle';
    this.#isDirty = false;
    this.#pendingTransactions = 0;
    this.#pendingChanges = 0;
    this.#touched.clear();
    this.#forgetChanged();
    this.#pendingLsn = this.#position.lsn;
    this.#counts = readRowCounts(this.#sqlite);
    if (this.#hasSchemaChanged) {
      this.#hasSchemaChanged = false;
      this.#catalogue = readCatalogue(this.#sqlite);
      this.#forgetTables();
    }
    this.#deriver?.rolledBack();
  }

  /** Moves the position without rows: nothing for us happened in the core up to `lsn`. Needs a `flush`. */
  advance(lsn: Lsn): void {
    assert(this.#mode === 'idle', 'advance inside a source transaction');
    if (lsn > this.#pendingLsn) this.#pendingLsn = lsn;
  }

  /** Takes over a new epoch at a position both histories share, e.g. after a failover that lost nothing. Flushed. */
  setEpoch(epoch: Epoch): void {
    assert(this.#mode === 'idle', 'epoch change inside a source transaction');
    if (sameEpoch(epoch, this.#position.epoch)) return;
    this.flush();
    const position = { epoch, lsn: this.#position.lsn };
    writePosition(this.#sqlite, position, this.#catalogue.version);
    this.#position = position;
  }

  /** Folds the WAL into the file, as far as readers permit. */
  checkpoint(): void {
    this.#sqlite.checkpoint();
  }

  /** Drops what is not flushed and closes. */
  close(): void {
    if (this.#sqlite.closed) return;
    if (this.#sqlite.inTransaction) this.rollback();
    this.#deriver?.close();
    this.#deriver = null;
    this.#sqlite.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #apply(message: PgoutputMessage): void {
    const deriver = this.#deriver;
    if (deriver === null || deriver.isIdle) {
      if (message.tag === 'type') deriver?.described(message);
      this.#applyPlain(message);
      return;
    }
    deriver.described(message);
    if (message.tag === 'commit') {
      if (this.#mode === 'applying') deriver.after(message);
      this.#applyPlain(message);
      return;
    }
    if (this.#mode === 'applying') deriver.before(message);
    this.#applyPlain(message);
    if (message.tag === 'begin' && this.#mode === 'applying') deriver.before(message);
    else if (this.#mode === 'applying') deriver.after(message);
  }

  #applyPlain(message: PgoutputMessage): void {
    switch (message.tag) {
      case 'insert':
        if (this.#mode !== 'applying') return this.#notApplying(message.tag);
        this.#table(message.relation).insert(message.row);
        this.#counted(message.relation, 1);
        return;
      case 'update':
        if (this.#mode !== 'applying') return this.#notApplying(message.tag);
        this.#table(message.relation).update(message.oldKind === '' ? null : message.old, message.row);
        if (message.relation !== this.#changedLast) this.#hasChanged(message.relation);
        this.#pendingChanges += 1;
        return;
      case 'delete':
        if (this.#mode !== 'applying') return this.#notApplying(message.tag);
        this.#table(message.relation).delete(message.old);
        this.#counted(message.relation, -1);
        return;
      case 'begin':
        this.#beginTransaction(message.finalLsn);
        return;
      case 'commit':
        this.#commitTransaction(message.endLsn);
        return;
      case 'relation':
        // Comes also inside transactions that are skipped, and is not sent again.
        this.#relations.set(message.oid, message);
        this.#forgetTable(message.oid);
        return;
      case 'truncate':
        if (this.#mode !== 'applying') return this.#notApplying(message.tag);
        for (const oid of message.relations) this.#truncate(oid);
        return;
      case 'message':
        // A message outside a transaction changes nothing here: schema changes are transactional.
        if (!message.transactional) return;
        if (this.#mode !== 'applying') return this.#notApplying(message.tag);
        if (message.prefix === SCHEMA_MESSAGE_PREFIX) {
          this.#changeSchema(parseContent<SchemaChange>(message.content, message.prefix));
        } else if (message.prefix === ROWS_MESSAGE_PREFIX) {
          this.#insertRows(parseContent<TableRows>(message.content, message.prefix));
        }
        return;
      case 'type':
      case 'origin':
        // Types are known from the images.
        return;
      case 'streamStart':
      case 'streamStop':
      case 'streamCommit':
      case 'streamAbort':
      case 'beginPrepare':
      case 'prepare':
      case 'commitPrepared':
      case 'rollbackPrepared':
      case 'streamPrepare':
        throw new Fault('stream-unsupported', {
          message: `a replica applies whole transactions only, not ${message.tag}`,
          hint: 'attach with proto_version 1, or to a relay',
          sqlstate: '0A000',
        });
    }
  }

  #beginTransaction(finalLsn: Lsn): void {
    if (this.#mode !== 'idle') throw outOfOrder('a transaction begins inside another');
    // A commit record that begins before our position ends at or before it: we have that transaction.
    this.#mode = finalLsn < this.#pendingLsn ? 'skipping' : 'applying';
    if (this.#mode === 'applying') this.#ensureBegun();
  }

  #commitTransaction(endLsn: Lsn): void {
    if (this.#mode === 'idle') throw outOfOrder('a transaction ends that never began');
    const wasApplied = this.#mode === 'applying';
    if (wasApplied && endLsn <= this.#pendingLsn) throw outOfOrder('a transaction ends before the one in front of it');
    this.#mode = 'idle';
    if (!wasApplied) return;
    this.#pendingLsn = endLsn;
    this.#pendingTransactions += 1;
  }

  /** A change inside a transaction that we have is passed over; one outside any transaction is refused. */
  #notApplying(tag: string): void {
    if (this.#mode === 'idle') throw outOfOrder(`a ${tag} came outside a transaction`);
  }

  #ensureBegun(): void {
    if (this.#isDirty) return;
    this.#begin.run([]);
    this.#isDirty = true;
  }

  #counted(oid: number, difference: number): void {
    this.#counts.set(oid, (this.#counts.get(oid) ?? 0) + difference);
    this.#touched.add(oid);
    if (oid !== this.#changedLast) this.#hasChanged(oid);
    this.#pendingChanges += 1;
  }

  #hasChanged(oid: number): void {
    this.#changed.add(oid);
    this.#changedLast = oid;
  }

  #forgetChanged(): void {
    this.#changed.clear();
    this.#changedLast = -1;
  }

  #truncate(oid: number): void {
    // Tables that are not ours may be truncated along with ours by CASCADE.
    const image = this.#catalogue.table(oid);
    if (image === undefined || !isStored(image)) return;
    this.#table(oid).truncate();
    this.#counts.set(oid, 0);
    this.#touched.add(oid);
    this.#hasChanged(oid);
    this.#pendingChanges += 1;
  }

  #changeSchema(change: SchemaChange): void {
    this.#hasSchemaChanged = true;
    this.#forgetTables();
    const outcome = applySchemaChange(this.#sqlite, this.#catalogue, change);
    const { created, changed } = outcome.difference;
    for (const { oid } of created) this.#hasChanged(oid);
    for (const { after } of changed) this.#hasChanged(after.oid);
    if (change.placement !== undefined) {
      writeOwnPlacement(this.#sqlite, this.#catalogue, change.placement);
      this.#mustWipe = true;
    }
    this.#deriver?.schemaChanged(change);
    for (const oid of outcome.emptied) {
      this.#hasChanged(oid);
      if (this.#catalogue.table(oid) === undefined) {
        this.#counts.delete(oid);
        this.#touched.delete(oid);
      } else {
        this.#counts.set(oid, 0);
        this.#touched.add(oid);
      }
    }
    this.onSchemaChange?.(outcome.difference);
  }

  #insertRows(message: TableRows): void {
    const table = this.#table(message.table);
    for (const row of message.rows) table.insertTexts(message.attnums, row);
    this.#counted(message.table, message.rows.length);
  }

  #table(oid: number): TableWriter {
    const known = this.#tables.get(oid);
    if (known !== undefined) return known;
    const image = this.#catalogue.table(oid);
    const relation = this.#relations.get(oid);
    if (image === undefined) {
      const name = relation === undefined ? `with OID ${oid}` : `${relation.schema}.${relation.name}`;
      throw schemaUnknownFault(`the stream changes table ${name}, which was never described`);
    }
    const table = new TableWriter(this.#sqlite, tableLayout(image, this.#catalogue), relation ?? null);
    this.#tables.set(oid, table);
    return table;
  }

  #forgetTable(oid: number): void {
    this.#tables.get(oid)?.close();
    this.#tables.delete(oid);
  }

  #forgetTables(): void {
    for (const table of this.#tables.values()) table.close();
    this.#tables.clear();
  }
}

function outOfOrder(what: string): Fault {
  return new Fault('stream-out-of-order', {
    message: `the change stream is out of order: ${what}`,
    hint: 'the connection is made again; what is not flushed is sent again',
    sqlstate: '08P01',
    retryable: true,
  });
}

function sqliteOptions(mode: 'create' | 'write', options: ReplicaWriterOptions): SqliteOptions {
  return {
    mode,
    synchronous: options.synchronous,
    ...(options.cacheKib === undefined ? {} : { cacheKib: options.cacheKib }),
    ...(options.fileBytesMax === undefined ? {} : { fileBytesMax: options.fileBytesMax }),
  };
}
