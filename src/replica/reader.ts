// Read-only connections to a replica. A snapshot is one SQLite read transaction: rows, position and catalogue in it belong
// together (I3), however much the writer commits meanwhile.

import { assert } from '../base/assert.ts';
import type { Lsn } from '../pg/lsn.ts';
import type { Catalogue } from './catalogue.ts';
import { faultFromSqlite } from './faults.ts';
import { tableLayout, type TableLayout } from './layout.ts';
import {
  assertReplicaFile,
  isUnchangedSince,
  READ_STATE_SQL,
  readCatalogue,
  readRowCounts,
  readState,
  type ReplicaState,
  stateFromRow,
} from './meta.ts';
import { Sqlite, type Statement } from './sqlite.ts';

export interface ReplicaReaderOptions {
  readonly cacheKib?: number;
}

export class ReplicaReader {
  readonly sqlite: Sqlite;
  readonly #begin: Statement;
  readonly #end: Statement;
  readonly #state: Statement;
  #catalogue: Catalogue | null = null;
  readonly #layouts = new Map<number, TableLayout>();
  #isInSnapshot = false;

  /** Throws Fault `replica-file-invalid`, `disk-failed`. */
  constructor(path: string, options: ReplicaReaderOptions = {}) {
    this.sqlite = new Sqlite(path, { mode: 'read', ...options });
    try {
      assertReplicaFile(this.sqlite);
      this.#begin = this.sqlite.prepare('BEGIN');
      this.#end = this.sqlite.prepare('COMMIT');
      this.#state = this.sqlite.prepare(READ_STATE_SQL);
    } catch (error) {
      this.sqlite.close();
      throw faultFromSqlite(error, `cannot read replica ${path}`);
    }
  }

  get isInSnapshot(): boolean {
    return this.#isInSnapshot;
  }

  /** Opens a snapshot and says where it is. Must be ended: an open one keeps the WAL from being folded in. */
  begin(): ReplicaState {
    assert(!this.#isInSnapshot, 'a snapshot is open already');
    this.#begin.run([]);
    this.#isInSnapshot = true;
    try {
      // SQLite takes the snapshot at the first read, which is this one.
      return this.state();
    } catch (error) {
      this.end();
      throw error;
    }
  }

  end(): void {
    if (!this.#isInSnapshot) return;
    this.#isInSnapshot = false;
    this.#end.run([]);
  }

  /** Runs `read` in a snapshot of its own. */
  snapshot<T>(read: (state: ReplicaState) => T): T {
    const state = this.begin();
    try {
      return read(state);
    } finally {
      this.end();
    }
  }

  /** Position and catalogue version: of the open snapshot, or of now. */
  state(): ReplicaState {
    return stateFromRow(this.#state.get([]), this.sqlite.path);
  }

  /** The catalogue that belongs to `state()`; read again only when its version has changed. */
  catalogue(): Catalogue {
    const version = this.state().catalogueVersion;
    if (this.#catalogue === null || this.#catalogue.version !== version) {
      this.#catalogue = readCatalogue(this.sqlite);
      this.#layouts.clear();
    }
    return this.#catalogue;
  }

  /** Layout of a table of that catalogue; null when there is no such table. */
  layout(oid: number): TableLayout | null {
    const catalogue = this.catalogue();
    const known = this.#layouts.get(oid);
    if (known !== undefined) return known;
    const image = catalogue.table(oid);
    if (image === undefined) return null;
    const layout = tableLayout(image, catalogue);
    this.#layouts.set(oid, layout);
    return layout;
  }

  /** True when none of the tables has changed after `lsn`, up to the snapshot that is open. */
  isUnchangedSince(tables: Iterable<number>, lsn: Lsn): boolean {
    return isUnchangedSince(this.sqlite, tables, lsn);
  }

  rowCounts(): Map<number, number> {
    return readRowCounts(this.sqlite);
  }

  close(): void {
    this.sqlite.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Position of a replica file, without keeping it open. */
export function readReplicaState(path: string): ReplicaState {
  using sqlite = new Sqlite(path, { mode: 'read' });
  assertReplicaFile(sqlite);
  return readState(sqlite);
}
