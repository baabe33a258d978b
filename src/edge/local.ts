// Answers from the replica on the event loop: one read-only connection, one SQLite snapshot for all statements of a turn of
// the loop, prepared statements and row descriptions kept per plan.
//
// The snapshot makes an answer exact: its rows, its position and the catalogue that its plan was made for belong together (I3).

import { must } from '../base/assert.ts';
import type { Clock } from '../base/clock.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import { type Lsn, LSN_ZERO, parseLsn } from '../pg/lsn.ts';
import type { Catalogue } from '../replica/catalogue.ts';
import { READ_STATE_SQL } from '../replica/meta.ts';
import { ReplicaReader } from '../replica/reader.ts';
import type { Sqlite, SqliteValue, Statement } from '../replica/sqlite.ts';
import { BACKEND, writeRowDescription } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import type { Parameters } from './client-frames.ts';
import { type ColumnWriter, columnWriter, typeLookup } from './columns.ts';
import type { SessionSettings } from './settings.ts';
import { bindPlan } from './sql/bind.ts';
import { registerFunctions } from './sql/functions.ts';
import type { Explainer } from './sql/explain.ts';
import type { ForwardPlan, LocalPlan, Planned, PlanningSession, Script } from './sql/plan.ts';

/** A result of an index lookup that grows beyond this is left to a slow lane, so that one client cannot hold up the others. */
const FAST_ROWS_MAX = 1000;

/** Rows that a statement may read on the event loop without an index: about a millisecond. */
const FAST_SCAN_ROWS_MAX = 1_000;

/** How old row counts may be that lanes are chosen by. */
const ROW_COUNTS_AGE_MS = 1_000;

/** Prepared SQLite statements kept; the one unused for longest goes first. */
const PREPARED_MAX = 2000;

/** Connections kept for the snapshots of transaction blocks; opening one costs about as much as ten lookups. */
const IDLE_READERS_MAX = 16;

/** Prepared statements on each of them; at the bound all are dropped. */
const PINNED_PREPARED_MAX = 100;

/** Many may be open at once, and each serves one session's lookups. */
const PINNED_CACHE_KIB = 1024;

/** A connection with a snapshot of its own. */
export interface PinnedReader {
  readonly reader: ReplicaReader;
  readonly generation: number;
  /** `LocalEngine.version`: only plans of it fit. */
  readonly version: number;
  /** Position of the last transaction in the snapshot. */
  lsn: Lsn;
  readonly prepared: Map<LocalPlan, PreparedPlan>;
}

/** What `PreparedPlan.writeRows` says instead of a number of rows. */
export const ROWS_TOO_MANY = -1;
export const ROWS_FAILED = -2;

export type BoundValues = SqliteValue[];

/** What is needed of `sql/planner.ts`. */
export interface StatementPlanner {
  script(text: string, session: PlanningSession): Script;
  /** For Parse. */
  statement(text: string, parameterTypes: readonly number[], session: PlanningSession): Planned;
}

export interface LocalEngineDeps {
  readonly clock: Clock;
  readonly feed: ReplicaFeed;
  readonly log: Log;
  /** Makes the planner; `catalogue` is the one of the current snapshot. */
  readonly planner: (catalogue: () => Catalogue, explainer: Explainer) => StatementPlanner;
  /** Role that all clients act as. */
  readonly user: () => string;
}

export class LocalEngine {
  readonly #deps: LocalEngineDeps;
  #reader: ReplicaReader | null = null;
  #state: Statement | null = null;
  #generation = -1;
  #catalogue: Catalogue | null = null;
  readonly #planner: StatementPlanner;
  #inTurn = false;
  #positionText = '';
  /** Of the last transaction in the snapshot. */
  #rowsPosition: Lsn = LSN_ZERO;
  #position: Lsn = LSN_ZERO;
  #catalogueVersion = -1;
  #version = 0;
  #rowCounts: ReadonlyMap<number, number> = new Map();
  #countedAtMs = Number.NEGATIVE_INFINITY;
  readonly #prepared = new Map<LocalPlan, PreparedPlan>();
  /** Connections of blocks that are over, for the next ones. */
  readonly #idleReaders: PinnedReader[] = [];

  constructor(deps: LocalEngineDeps) {
    this.#deps = deps;
    this.#planner = deps.planner(() => must(this.#catalogue, 'planning without a catalogue'), this.explainer);
  }

  /** What EXPLAIN asks the replica. */
  readonly explainer: Explainer = {
    steps: (plan) => (this.#enter() ? sqliteSteps(must(this.#reader, 'a snapshot without a reader').sqlite, plan) : []),
    rows: (tableOid) => this.#countsOf().get(tableOid) ?? 0,
    isFast: ({ lane, scans }) => lane === 'fast' || (scans !== undefined && isSmall(scans, this.#countsOf())),
  };

  /** The catalogue of this turn's snapshot; null while there is no replica. */
  get catalogue(): Catalogue | null {
    return this.#enter() ? this.#catalogue : null;
  }

  /** Grows whenever plans made before are void. */
  get version(): number {
    this.#enter();
    return this.#version;
  }

  /** Position of this turn's snapshot; 0/0 while there is no replica. */
  get position(): Lsn {
    return this.#enter() ? this.#position : LSN_ZERO;
  }

  /** True when a read now sees everything up to `lsn`. */
  sees(lsn: Lsn): boolean {
    if (this.position >= lsn) return true;
    if (this.#deps.feed.current.position < lsn) return false;
    // The replica went on since this turn's snapshot was taken.
    this.#leave();
    return this.position >= lsn;
  }

  /** The next read takes a new snapshot, in this turn already. */
  renew(): void {
    this.#leave();
  }

  script(text: string, settings: SessionSettings): Script {
    if (!this.#enter()) return wholeScript(text, NOT_READY_PLAN);
    try {
      return this.#planner.script(text, settings.planning);
    } catch (error) {
      return wholeScript(text, this.#unplannable(error));
    }
  }

  statement(text: string, parameterTypes: readonly number[], settings: SessionSettings): Planned {
    if (!this.#enter()) return { plan: NOT_READY_PLAN, literals: [] };
    try {
      return this.#planner.statement(text, parameterTypes, settings.planning);
    } catch (error) {
      return { plan: this.#unplannable(error), literals: [] };
    }
  }

  /** The prepared form of a plan of this version; null when the replica cannot be read now. */
  prepare(plan: LocalPlan): PreparedPlan | null {
    if (!this.#enter()) return null;
    const known = this.#prepared.get(plan);
    if (known !== undefined) return known;
    let prepared: PreparedPlan;
    try {
      prepared = new PreparedPlan(plan, this.#reader as ReplicaReader, this.#catalogue as Catalogue, this.#countsOf);
    } catch (error) {
      this.#deps.log.error('edge.prepare-failed', { message: String(error), sql: plan.sql });
      return null;
    }
    if (this.#prepared.size >= PREPARED_MAX) {
      const oldest = this.#prepared.entries().next().value;
      if (oldest !== undefined) {
        this.#prepared.delete(oldest[0]);
        oldest[1].finalize();
      }
    }
    this.#prepared.set(plan, prepared);
    return prepared;
  }

  /** SQLite values for a plan; null when the core has to judge one of them. */
  bind(
    plan: LocalPlan,
    literals: readonly string[],
    parameters: Parameters,
    settings: SessionSettings,
  ): BoundValues | null {
    const catalogue = this.#catalogue;
    if (catalogue === null) return null;
    const { formats, values } = parameters;
    return bindPlan(
      plan,
      {
        parameters: values,
        format: (index) => formatAt(formats, index),
        literals,
        session: (name) => {
          if (name === 'current_database') return catalogue.server.database;
          if (name === 'current_schema') return settings.planning.searchPath[0] ?? null;
          return this.#deps.user();
        },
      },
      catalogue,
    );
  }

  /**
   * A snapshot of its own for a transaction block, taken now; null when there is none that plans made now fit. The caller
   * gives it back with `unpin`.
   */
  pin(): PinnedReader | null {
    if (!this.#enter()) return null;
    const idle = this.#idleReaders.pop();
    let pinned: PinnedReader | null = idle ?? null;
    try {
      pinned ??= this.#openPinned();
      const { position, catalogueVersion } = pinned.reader.begin();
      if (catalogueVersion === this.#catalogueVersion) {
        pinned.lsn = position.lsn;
        return pinned;
      }
    } catch (error) {
      this.#deps.log.error('edge.replica-unreadable', { message: String(error) });
    }
    if (pinned !== null) this.#closePinned(pinned);
    return null;
  }

  unpin(pinned: PinnedReader): void {
    const isUsable = pinned.generation === this.#generation && pinned.version === this.#version;
    if (!isUsable || this.#idleReaders.length >= IDLE_READERS_MAX) return this.#closePinned(pinned);
    pinned.reader.end();
    this.#idleReaders.push(pinned);
  }

  /** The plan on the block's own connection; null when the schema has changed since its snapshot. */
  preparePinned(pinned: PinnedReader, plan: LocalPlan): PreparedPlan | null {
    if (!this.#enter() || pinned.version !== this.#version) return null;
    const known = pinned.prepared.get(plan);
    if (known !== undefined) return known;
    try {
      if (pinned.prepared.size >= PINNED_PREPARED_MAX) this.#forgetPrepared(pinned);
      const prepared = new PreparedPlan(plan, pinned.reader, this.#catalogue as Catalogue, this.#countsOf);
      pinned.prepared.set(plan, prepared);
      return prepared;
    } catch (error) {
      this.#deps.log.error('edge.prepare-failed', { message: String(error), sql: plan.sql });
      return null;
    }
  }

  /** True when it is known that what was read of these tables at `lsn` is the same in a read now, and in any up to it. */
  isUnchangedSince(pinned: PinnedReader, tables: Iterable<number>): boolean {
    this.#leave();
    if (!this.#enter() || pinned.generation !== this.#generation || pinned.version !== this.#version) return false;
    return (this.#reader as ReplicaReader).isUnchangedSince(tables, pinned.lsn);
  }

  #openPinned(): PinnedReader {
    const reader = new ReplicaReader(this.#deps.feed.path, { cacheKib: PINNED_CACHE_KIB });
    registerFunctions(reader.sqlite);
    return { reader, generation: this.#generation, version: this.#version, lsn: LSN_ZERO, prepared: new Map() };
  }

  #closePinned(pinned: PinnedReader): void {
    this.#forgetPrepared(pinned);
    pinned.reader.close();
  }

  #forgetPrepared(pinned: PinnedReader): void {
    for (const prepared of pinned.prepared.values()) prepared.finalize();
    pinned.prepared.clear();
  }

  close(): void {
    this.#leave();
    this.#void();
    this.#reader?.close();
    this.#reader = null;
    this.#generation = -1;
  }

  /** Makes sure that this turn has a snapshot. False when there is no readable replica. */
  #enter(): boolean {
    if (this.#inTurn) return true;
    const { feed, clock } = this.#deps;
    // Before the snapshot is taken: it holds everything that was told by then.
    const { generation, state, position: covered } = feed.current;
    if (state === 'starting' || state === 'bootstrapping') return false;
    if (generation !== this.#generation && !this.#open(generation)) return false;
    const reader = this.#reader as ReplicaReader;
    try {
      reader.begin();
      this.#inTurn = true;
      clock.soon(() => this.#leave());
      this.#look(reader, covered);
      return true;
    } catch (error) {
      this.#deps.log.error('edge.replica-unreadable', { message: String(error) });
      this.close();
      return false;
    }
  }

  #leave(): void {
    if (!this.#inTurn) return;
    this.#inTurn = false;
    this.#reader?.end();
  }

  #open(generation: number): boolean {
    this.close();
    try {
      this.#reader = new ReplicaReader(this.#deps.feed.path);
      registerFunctions(this.#reader.sqlite);
      this.#state = this.#reader.sqlite.prepare(READ_STATE_SQL);
      this.#generation = generation;
      return true;
    } catch (error) {
      this.#deps.log.error('edge.replica-unreadable', { message: String(error) });
      this.close();
      return false;
    }
  }

  /** Rows of each table, now or a moment ago. */
  readonly #countsOf = (): ReadonlyMap<number, number> => {
    const nowMs = this.#deps.clock.now();
    if (nowMs - this.#countedAtMs > ROW_COUNTS_AGE_MS && this.#enter()) {
      this.#rowCounts = (this.#reader as ReplicaReader).rowCounts();
      this.#countedAtMs = nowMs;
    }
    return this.#rowCounts;
  };

  /** Takes over position and catalogue of the snapshot that was just opened. */
  #look(reader: ReplicaReader, covered: Lsn): void {
    const row = (this.#state as Statement).get([]) as SqliteValue[];
    if (row[2] !== this.#positionText) {
      this.#positionText = String(row[2]);
      this.#rowsPosition = parseLsn(this.#positionText);
    }
    // Nothing for this replica happened between its last transaction and what the upstream has told since.
    this.#position = covered > this.#rowsPosition ? covered : this.#rowsPosition;
    if (row[3] === this.#catalogueVersion && this.#catalogue !== null) return;
    this.#void();
    this.#catalogue = reader.catalogue();
    this.#catalogueVersion = Number(row[3]);
  }

  /** A bug of the planner costs a round trip to the core, not the session. */
  #unplannable(error: unknown): ForwardPlan {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#deps.log.error('edge.planner-failed', { message });
    return { kind: 'forward', reason: 'unproven-syntax', detail: 'it could not be planned here', write: true };
  }

  /** Forgets everything that was derived from the catalogue. */
  #void(): void {
    for (const prepared of this.#prepared.values()) prepared.finalize();
    this.#prepared.clear();
    this.#catalogue = null;
    this.#catalogueVersion = -1;
    this.#version += 1;
    for (const pinned of this.#idleReaders.splice(0)) this.#closePinned(pinned);
  }
}

/** A plan with its SQLite statement and everything about it that does not change from run to run. */
export class PreparedPlan {
  readonly plan: LocalPlan;
  /** NEED_ bits of all columns when all are sent as text. */
  readonly textNeeds: number;
  readonly #reader: ReplicaReader;
  readonly #statement: Statement;
  #whole: Statement | null = null;
  readonly #text: readonly ColumnWriter[];
  readonly #binary: readonly (ColumnWriter | null)[];
  #textDescription: Buffer | null = null;
  #binaryDescription: Buffer | null = null;

  readonly #rowCounts: () => ReadonlyMap<number, number>;

  constructor(
    plan: LocalPlan,
    reader: ReplicaReader,
    catalogue: Catalogue,
    rowCounts: () => ReadonlyMap<number, number>,
  ) {
    const lookup = typeLookup(catalogue);
    this.plan = plan;
    this.#rowCounts = rowCounts;
    this.textNeeds = plan.columns.reduce((needs, column) => needs | column.textNeeds, 0);
    this.#reader = reader;
    this.#statement = prepareGuarded(plan, reader);
    this.#text = plan.columns.map((column) => columnWriter(column, 0, lookup) as ColumnWriter);
    this.#binary = plan.columns.map((column) => columnWriter(column, 1, lookup));
  }

  /** True when it may run on the event loop. */
  get fast(): boolean {
    return this.plan.lane === 'fast' || (this.plan.scans !== undefined && isSmall(this.plan.scans, this.#rowCounts()));
  }

  /** NEED_ bits under these result formats. */
  needsOf(formats: readonly number[]): number {
    if (formats.length === 0) return this.textNeeds;
    let needs = 0;
    this.plan.columns.forEach((column, index) => {
      if (formatAt(formats, index) === 0) needs |= column.textNeeds;
    });
    return needs;
  }

  /** False when a column is wanted in a binary form that is not spoken here. */
  canWrite(formats: readonly number[]): boolean {
    if (formats.length === 0) return true;
    return this.plan.columns.every((_, index) => formatAt(formats, index) === 0 || this.#binary[index] !== null);
  }

  /** The whole RowDescription frame. */
  description(formats: readonly number[]): Buffer {
    if (isAll(formats, 0)) {
      this.#textDescription ??= describe(this.plan, formats);
      return this.#textDescription;
    }
    if (isAll(formats, 1)) {
      this.#binaryDescription ??= describe(this.plan, formats);
      return this.#binaryDescription;
    }
    return describe(this.plan, formats);
  }

  /** Runs it and appends all DataRows. Returns their number, ROWS_TOO_MANY or ROWS_FAILED (then take back what was written). */
  writeRows(values: BoundValues, formats: readonly number[], out: ByteWriter): number {
    let rows: SqliteValue[][];
    try {
      rows = this.#statement.all(values);
    } catch {
      return ROWS_FAILED;
    }
    if (rows.length > FAST_ROWS_MAX) return ROWS_TOO_MANY;
    const writers = this.writers(formats);
    for (const row of rows) writeDataRow(row, writers, out);
    return rows.length;
  }

  /** Runs it; null when a slow lane should do it, or SQLite refused. */
  readRows(values: BoundValues): SqliteValue[][] | null {
    try {
      const rows = this.#statement.all(values);
      return rows.length > FAST_ROWS_MAX ? null : rows;
    } catch {
      return null;
    }
  }

  /** Runs it for somebody who waits for all of it anyway; null when it gives more rows, or SQLite refused. */
  readAll(values: BoundValues, rowsMax: number): SqliteValue[][] | null {
    try {
      if (this.plan.rowsMax !== null && this.plan.rowsMax <= FAST_ROWS_MAX) return this.#statement.all(values);
      // The statement of the fast lane stops after so many rows.
      this.#whole ??= this.#reader.sqlite.prepare(this.plan.sql);
      const rows: SqliteValue[][] = [];
      for (const row of this.#whole.iterate(values)) {
        if (rows.push(row) > rowsMax) return null;
      }
      return rows;
    } catch {
      return null;
    }
  }

  writers(formats: readonly number[]): readonly ColumnWriter[] {
    if (isAll(formats, 0)) return this.#text;
    if (isAll(formats, 1)) return this.#binary as readonly ColumnWriter[];
    return this.#text.map((text, index) =>
      formatAt(formats, index) === 0 ? text : (this.#binary[index] as ColumnWriter),
    );
  }

  finalize(): void {
    this.#statement.finalize();
    this.#whole?.finalize();
  }
}

export function writeDataRow(row: readonly SqliteValue[], writers: readonly ColumnWriter[], out: ByteWriter): void {
  const mark = out.beginMessage(BACKEND.dataRow);
  const count = writers.length;
  out.int16(count);
  for (let index = 0; index < count; index += 1) {
    const value = row[index] as SqliteValue;
    if (value === null) out.int32(-1);
    else (writers[index] as ColumnWriter)(out, value);
  }
  out.endMessage(mark);
}

/** Format code of column or parameter `index`. */
export function formatAt(formats: readonly number[], index: number): number {
  return formats.length === 0 ? 0 : ((formats.length === 1 ? formats[0] : formats[index]) ?? 0);
}

function isAll(formats: readonly number[], format: number): boolean {
  if (formats.length === 0) return format === 0;
  for (const one of formats) if (one !== format) return false;
  return true;
}

/** A lookup that is not bound by its plan gets a LIMIT, so that it can be noticed in time that it is large. */
function prepareGuarded(plan: LocalPlan, reader: ReplicaReader): Statement {
  if (plan.rowsMax !== null && plan.rowsMax <= FAST_ROWS_MAX) return reader.sqlite.prepare(plan.sql);
  try {
    return reader.sqlite.prepare(`${plan.sql} LIMIT ${FAST_ROWS_MAX + 1}`);
  } catch {
    // It has a LIMIT already.
    return reader.sqlite.prepare(plan.sql);
  }
}

function describe(plan: LocalPlan, formats: readonly number[]): Buffer {
  const writer = new ByteWriter();
  writeRowDescription(
    writer,
    plan.columns.map((column, index) => ({
      name: column.name,
      tableOid: column.tableOid,
      attnum: column.attnum,
      typeOid: column.typeOid,
      typeSize: column.typeLength,
      typmod: column.typmod,
      format: formatAt(formats, index),
    })),
  );
  return writer.take();
}

const NOT_READY_PLAN: ForwardPlan = {
  kind: 'forward',
  reason: 'unknown-table',
  detail: 'the replica of this edge is not complete yet',
  write: true,
};

/** What cannot be taken apart goes to the core as one statement. */
function wholeScript(text: string, plan: ForwardPlan): Script {
  return { statements: [{ plan, literals: [], start: 0, end: text.length }], syntaxError: null };
}

/** Whether a statement reads few rows, by the tables' sizes. */
function isSmall(scans: readonly (readonly number[])[], counts: ReadonlyMap<number, number>): boolean {
  let read = 0;
  for (const product of scans) {
    let rows = 1;
    for (const oid of product) rows *= Math.max(1, counts.get(oid) ?? Number.POSITIVE_INFINITY);
    read += rows;
  }
  return read <= FAST_SCAN_ROWS_MAX;
}

/** EXPLAIN QUERY PLAN, indented as it is nested. */
function sqliteSteps(sqlite: Sqlite, plan: LocalPlan): string[] {
  const depths = new Map<SqliteValue, number>();
  const nulls = plan.bindings.map(() => null);
  return sqlite.rows(`EXPLAIN QUERY PLAN ${plan.sql}`, ...nulls).map(([id, parent, , detail]) => {
    const depth = (depths.get(parent ?? null) ?? -1) + 1;
    depths.set(id ?? null, depth);
    return `${'  '.repeat(depth)}${String(detail)}`;
  });
}
