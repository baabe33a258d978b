// The replica's own tables: which file this is, the position of its rows, the catalogue as it was there.

import type { CatalogueImage, TableImage, TypeImage } from '../contracts/catalogue.ts';
import type { OwnPlacement } from '../contracts/placement.ts';
import { formatLsn, type Lsn, parseLsn, type Position } from '../pg/lsn.ts';
import { Catalogue } from './catalogue.ts';
import { fileFault } from './faults.ts';
import type { Sqlite } from './sqlite.ts';

/** `SKRY`: tells our files from other SQLite files (PRAGMA application_id). */
const APPLICATION_ID = 0x534b5259;

/** Grows when a file of an older version cannot be read any more (PRAGMA user_version). Such files are rebuilt from a snapshot. */
export const REPLICA_FORMAT = 1;

/** Makes an empty file a replica. To be called inside a transaction. */
export function createMeta(sqlite: Sqlite, image: CatalogueImage, position: Position): void {
  sqlite.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  sqlite.exec(`PRAGMA user_version = ${REPLICA_FORMAT}`);
  sqlite.exec('CREATE TABLE _skerry_meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID');
  sqlite.exec('CREATE TABLE _skerry_table (oid INTEGER PRIMARY KEY, image TEXT, row_count INTEGER)');
  sqlite.exec('CREATE TABLE _skerry_type (oid INTEGER PRIMARY KEY, image TEXT)');
  sqlite.exec(
    'CREATE TABLE _skerry_position (id INTEGER PRIMARY KEY, system_id TEXT, timeline INTEGER, lsn TEXT, catalogue_version INTEGER)',
  );
  const { tables, types, ...server } = image;
  sqlite.rows("INSERT INTO _skerry_meta VALUES ('server', ?)", JSON.stringify(server));
  writeImages(sqlite, tables, types);
  writePosition(sqlite, position, 1);
}

/**
 * Where each table changed last: so that it can be told whether what was read at one position is the same at a later one. Files
 * made without it get it when they are opened for writing; until a table changes, it may have changed up to then.
 */
export function ensureChangedPositions(sqlite: Sqlite, lsn: Lsn): void {
  const isThere = sqlite.value("SELECT 1 FROM sqlite_master WHERE name = '_skerry_changed'") !== null;
  if (!isThere) sqlite.exec('CREATE TABLE _skerry_changed (oid INTEGER PRIMARY KEY, lsn TEXT)');
  const missing = 'SELECT oid FROM _skerry_table WHERE oid NOT IN (SELECT oid FROM _skerry_changed)';
  if (sqlite.value(missing) === null) return;
  sqlite.rows(`INSERT INTO _skerry_changed SELECT oid, ? FROM (${missing})`, formatLsn(lsn));
}

export const SAVE_CHANGED_SQL = 'INSERT OR REPLACE INTO _skerry_changed VALUES (?, ?)';

/** True when it is known that none of the tables has changed after `lsn`, up to the position of the snapshot that is read. */
export function isUnchangedSince(sqlite: Sqlite, tables: Iterable<number>, lsn: Lsn): boolean {
  try {
    for (const oid of tables) {
      const changed = sqlite.value('SELECT lsn FROM _skerry_changed WHERE oid = ?', oid);
      if (changed === null || parseLsn(String(changed)) > lsn) return false;
    }
    return true;
  } catch {
    // A file that was never opened for writing does not know.
    return false;
  }
}

/** A replica's own placement has changed. */
export function writeOwnPlacement(sqlite: Sqlite, catalogue: Catalogue, placement: OwnPlacement): void {
  catalogue.server = { ...catalogue.server, placement };
  sqlite.rows("UPDATE _skerry_meta SET value = ? WHERE key = 'server'", JSON.stringify(catalogue.server));
}

export function writeImages(sqlite: Sqlite, tables: readonly TableImage[], types: readonly TypeImage[]): void {
  const table = sqlite.prepare(
    'INSERT INTO _skerry_table VALUES (?, ?, 0) ON CONFLICT (oid) DO UPDATE SET image = excluded.image',
  );
  for (const image of tables) table.run([image.oid, JSON.stringify(image)]);
  table.finalize();
  const type = sqlite.prepare('INSERT OR REPLACE INTO _skerry_type VALUES (?, ?)');
  for (const image of types) type.run([image.oid, JSON.stringify(image)]);
  type.finalize();
}

export function writePosition(sqlite: Sqlite, position: Position, catalogueVersion: number): void {
  sqlite.rows(
    'INSERT OR REPLACE INTO _skerry_position VALUES (1, ?, ?, ?, ?)',
    position.epoch.systemId,
    position.epoch.timeline,
    formatLsn(position.lsn),
    catalogueVersion,
  );
}

/** Refuses a file that is not a replica of this format. */
export function assertReplicaFile(sqlite: Sqlite): void {
  const applicationId = sqlite.value('PRAGMA application_id');
  if (applicationId !== APPLICATION_ID) throw fileFault(`${sqlite.path} is not a replica of Skerry`);
  const format = sqlite.value('PRAGMA user_version');
  if (format !== REPLICA_FORMAT) {
    throw fileFault(`${sqlite.path} has replica format ${String(format)}, this version reads ${REPLICA_FORMAT}`);
  }
}

export interface ReplicaState {
  readonly position: Position;
  readonly catalogueVersion: number;
}

export const READ_STATE_SQL = 'SELECT system_id, timeline, lsn, catalogue_version FROM _skerry_position';

export function readState(sqlite: Sqlite): ReplicaState {
  return stateFromRow(sqlite.rows(READ_STATE_SQL)[0], sqlite.path);
}

export function stateFromRow(row: readonly unknown[] | null | undefined, path: string): ReplicaState {
  if (row === null || row === undefined) throw fileFault(`${path} has no position`);
  return {
    position: {
      epoch: { systemId: String(row[0]), timeline: Number(row[1]) },
      lsn: parseLsn(String(row[2])),
    },
    catalogueVersion: Number(row[3]),
  };
}

export function readCatalogue(sqlite: Sqlite): Catalogue {
  const server = JSON.parse(String(sqlite.value("SELECT value FROM _skerry_meta WHERE key = 'server'")));
  const tables = sqlite.rows('SELECT image FROM _skerry_table ORDER BY oid').map((row) => JSON.parse(String(row[0])));
  const types = sqlite.rows('SELECT image FROM _skerry_type ORDER BY oid').map((row) => JSON.parse(String(row[0])));
  return new Catalogue({ ...server, tables, types }, readState(sqlite).catalogueVersion);
}

/** Rows per table, as counted while applying. */
/** Entries of each index that are looked at for statistics: milliseconds for a table, however large. */
export const STATISTICS_ENTRIES = 400;

/** Whether statistics were ever taken. */
export function hasStatistics(sqlite: Sqlite): boolean {
  return sqlite.value("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'") === 1;
}

export function readRowCounts(sqlite: Sqlite): Map<number, number> {
  return new Map(
    sqlite.rows('SELECT oid, row_count FROM _skerry_table').map((row) => [Number(row[0]), Number(row[1])] as const),
  );
}
