// The one file that names SQLite's driver. bun:sqlite: a prepared one-row insert costs 0.6 µs there, and what node:sqlite
// has beyond it (column metadata, authorizer) is not needed, because our layouts already know every column.

import { Database, type SQLQueryBindings } from 'bun:sqlite';
import { Fault } from '../base/fault.ts';
import { faultFromSqlite } from './faults.ts';

export type SqliteValue = number | bigint | string | Uint8Array | null;

/** Versions before it can corrupt a WAL file when two connections write and checkpoint at once. */
const SQLITE_VERSION_MIN = '3.51.3';

/** Pages in memory per connection. A transaction larger than this spills to the WAL file, not to memory. */
const CACHE_KIB_DEFAULT = 16 * 1024;

/** How long a statement waits for another connection's lock. Blocks the event loop, so it is short. */
const BUSY_TIMEOUT_MS = 2000;

export interface SqliteOptions {
  /** `create` makes the file when it is missing; `read` opens read only. */
  readonly mode: 'create' | 'write' | 'read';
  /** `full` survives power loss; `normal` may lose the last commits then, but never mixes them up. */
  readonly synchronous?: 'full' | 'normal' | 'off';
  readonly cacheKib?: number;
  readonly busyTimeoutMs?: number;
  readonly fileBytesMax?: number;
}

/** What running a statement gave. */
export interface RunResult {
  readonly changes: number;
  readonly lastInsertRowid: number | bigint;
}

/** A prepared statement. Parameters are passed as one array: it may be reused by the caller at once. */
export interface Statement {
  run(values: readonly SqliteValue[]): RunResult;
  get(values: readonly SqliteValue[]): SqliteValue[] | null;
  all(values: readonly SqliteValue[]): SqliteValue[][];
  /**
   * Rows one by one; leaving the loop early resets the statement. The driver gives them as objects, so that only a
   * statement whose columns have different names, none of them a number, is read bit by bit; others are read whole.
   */
  iterate(values: readonly SqliteValue[]): IterableIterator<SqliteValue[]>;
  finalize(): void;
}

/** An aggregate function: `step` once a row gives the next state. With `inverse` it may be used over windows. */
export interface Aggregate<State> {
  readonly start: () => State;
  /** Takes as many values as it declares. */
  readonly step: (state: State, ...values: SqliteValue[]) => State;
  /** Takes back the step of a row that leaves the window. */
  readonly inverse?: (state: State, value: SqliteValue) => State;
  readonly result: (state: State) => SqliteValue;
}

/** One connection to one SQLite file. Closing it finalizes its statements, so that the -wal file is released. */
export class Sqlite {
  readonly path: string;
  readonly #database: Database;
  readonly #statements = new Set<Statement>();
  #closed = false;

  constructor(path: string, options: SqliteOptions) {
    this.path = path;
    try {
      this.#database = new Database(path, {
        readonly: options.mode === 'read',
        readwrite: options.mode !== 'read',
        create: options.mode === 'create',
        strict: false,
      });
    } catch (error) {
      throw faultFromSqlite(error, `cannot open ${path}`);
    }
    try {
      assertVersion(this.#database);
      this.exec(`PRAGMA busy_timeout = ${options.busyTimeoutMs ?? BUSY_TIMEOUT_MS}`);
      this.exec(`PRAGMA cache_size = -${options.cacheKib ?? CACHE_KIB_DEFAULT}`);
      // LIKE is not what Postgres calls LIKE unless case counts.
      this.exec('PRAGMA case_sensitive_like = ON');
      this.exec('PRAGMA temp_store = FILE');
      if (options.mode === 'read') {
        this.exec('PRAGMA query_only = ON');
      } else {
        this.exec(`PRAGMA synchronous = ${options.synchronous ?? 'normal'}`);
        if (options.fileBytesMax !== undefined) {
          const pageBytes = Number(this.value('PRAGMA page_size'));
          this.exec(`PRAGMA max_page_count = ${Math.ceil(options.fileBytesMax / pageBytes)}`);
        }
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  get inTransaction(): boolean {
    return this.#database.inTransaction;
  }

  /** Runs SQL without parameters or result. Throws a Fault for disk trouble. */
  exec(sql: string): void {
    try {
      this.#database.run(sql);
    } catch (error) {
      throw faultFromSqlite(error, 'SQLite');
    }
  }

  /** One value of one row, or null. */
  value(sql: string, ...values: SqliteValue[]): SqliteValue {
    return this.rows(sql, ...values)[0]?.[0] ?? null;
  }

  /** Rows of a statement that is run once. Whole numbers beyond 2^53 must be cast to text in the SQL. */
  rows(sql: string, ...values: SqliteValue[]): SqliteValue[][] {
    const statement = this.prepare(sql);
    try {
      return statement.all(values);
    } finally {
      statement.finalize();
    }
  }

  /** Prepares; the statement lives until it is finalized or the connection is closed. */
  prepare(sql: string): Statement {
    let native: ReturnType<Database['prepare']>;
    try {
      native = this.#database.prepare(sql);
    } catch (error) {
      throw faultFromSqlite(error, 'SQLite');
    }
    let isIterable: boolean | null = null;
    const statement: Statement = {
      run: (values) => native.run(values as unknown as SQLQueryBindings),
      get: (values) => (native.values(values as unknown as SQLQueryBindings)[0] ?? null) as SqliteValue[] | null,
      all: (values) => native.values(values as unknown as SQLQueryBindings) as SqliteValue[][],
      iterate: (values) => {
        isIterable ??= hasDistinctNames(native.columnNames);
        if (isIterable) return iterateRows(native, values);
        return (native.values(values as unknown as SQLQueryBindings) as SqliteValue[][]).values();
      },
      finalize: () => {
        this.#statements.delete(statement);
        native.finalize();
      },
    };
    this.#statements.add(statement);
    return statement;
  }

  /** Makes a function callable from SQL on this connection; `deterministic` ones may be used in indexes. */
  function(name: string, run: (...values: SqliteValue[]) => SqliteValue): void {
    const database = this.#database as unknown as {
      function(name: string, options: object, run: (...values: SqliteValue[]) => SqliteValue): void;
    };
    database.function(name, { deterministic: true, varargs: true }, run);
  }

  /** The same for an aggregate. */
  aggregate<State>(name: string, aggregate: Aggregate<State>): void {
    const database = this.#database as unknown as { aggregate(name: string, options: Aggregate<State>): void };
    database.aggregate(name, aggregate);
  }

  /**
   * Counts how selective indexes are (sqlite_stat1), by a sample of `entries` of each, so that joins are planned by sizes. Not
   * inside a transaction. Only advice: whatever is wrong with the disk is told by those who need it.
   */
  analyze(entries: number): void {
    try {
      this.#database.run(`PRAGMA analysis_limit = ${entries}`);
      this.#database.run('ANALYZE');
    } catch {
      // Plans are made without, then.
    }
  }

  /** Folds the WAL into the database file and cuts it to nothing, as far as readers permit. */
  checkpoint(): void {
    this.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  /** The same, without waiting for readers. False when they did not permit all of it. */
  checkpointAtOnce(): boolean {
    const timeoutMs = Number(this.value('PRAGMA busy_timeout'));
    this.exec('PRAGMA busy_timeout = 0');
    try {
      return this.rows('PRAGMA wal_checkpoint(TRUNCATE)')[0]?.[0] === 0;
    } finally {
      this.exec(`PRAGMA busy_timeout = ${timeoutMs}`);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const statement of this.#statements) statement.finalize();
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function* iterateRows(
  native: ReturnType<Database['prepare']>,
  values: readonly SqliteValue[],
): IterableIterator<SqliteValue[]> {
  for (const row of native.iterate(values as unknown as SQLQueryBindings)) {
    yield Object.values(row as object) as SqliteValue[];
  }
}

/** Whether an object with these keys keeps all of them, in this order: JavaScript puts numbers first. */
function hasDistinctNames(names: readonly string[]): boolean {
  return new Set(names).size === names.length && !names.some((name) => /^\d+$/.test(name));
}

function assertVersion(database: Database): void {
  const version = String((database.query('SELECT sqlite_version() AS v').get() as { v: string }).v);
  if (compareVersions(version, SQLITE_VERSION_MIN) < 0) {
    throw new Fault('sqlite-too-old', {
      message: `SQLite ${version} can corrupt a database that is written while it is read`,
      hint: `run with the Bun that npm installs here; it carries SQLite ${SQLITE_VERSION_MIN} or later`,
    });
  }
}

function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let index = 0; index < right.length; index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
