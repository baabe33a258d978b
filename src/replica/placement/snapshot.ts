// A snapshot for one placement: a new file that nothing but its rows was ever written to, so that no page of it can hold
// anything else, not even a deleted row.

import { Fault } from '../../base/fault.ts';
import type { PlacementInForce } from '../../contracts/placement.ts';
import { quoteAlways } from '../../pg/identifier.ts';
import type { Position } from '../../pg/lsn.ts';
import { Catalogue } from '../catalogue.ts';
import { faultFromSqlite } from '../faults.ts';
import { sqlColumns, tableLayout } from '../layout.ts';
import { assertReplicaFile, createMeta, readCatalogue, readState } from '../meta.ts';
import { createIndexes, createTable } from '../schema.ts';
import { Sqlite } from '../sqlite.ts';
import { readPlacementsInForce } from './derive.ts';
import { heldSql, resolvePlacement, restrictCatalogue } from './placement.ts';

/** Sorting for the indexes is what takes the time. */
const CACHE_KIB = 64 * 1024;

/** The placement of that name. Throws Fault `placement-missing`. */
export function placementInForce(sqlite: Sqlite, name: string): PlacementInForce {
  const found = readPlacementsInForce(sqlite)?.find((one) => one.spec.name === name);
  if (found === undefined) {
    throw new Fault('placement-missing', {
      message: `placement "${name}" is not in force here`,
      hint: 'see `skerry placement list`',
      sqlstate: '42704',
      retryable: true,
    });
  }
  return found;
}

/**
 * Writes what placement `name` holds of the replica at `path` to `target`, which must not exist, and says at which position.
 * Runs synchronously. Throws Fault `placement-missing`, `disk-full`.
 */
export function writePlacedSnapshot(path: string, target: string, name: string): Position {
  {
    using whole = new Sqlite(path, { mode: 'read' });
    assertReplicaFile(whole);
  }
  using sqlite = new Sqlite(target, { mode: 'create', synchronous: 'off', cacheKib: CACHE_KIB });
  try {
    sqlite.exec('PRAGMA journal_mode = OFF');
    sqlite.exec('PRAGMA secure_delete = ON');
    sqlite.rows('ATTACH ? AS whole', path);
    sqlite.exec('BEGIN');
    // The target is empty: these names mean the tables of the attached file, read in one snapshot until COMMIT.
    const { position } = readState(sqlite);
    const catalogue = readCatalogue(sqlite);
    const placement = placementInForce(sqlite, name);
    const resolved = resolvePlacement(placement.spec, catalogue);
    const image = restrictCatalogue(catalogue, placement, resolved);
    createMeta(sqlite, image, position);
    const restricted = new Catalogue(image);
    for (const held of resolved.held.values()) {
      const layout = tableLayout(held.image, restricted);
      const columns = sqlColumns(layout).map(quoteAlways).join(', ');
      const table = quoteAlways(layout.sqlName);
      createTable(sqlite, layout, { indexes: false });
      const rows =
        columns === ''
          ? `INSERT INTO main.${table} SELECT NULL FROM whole.${table}`
          : `INSERT INTO main.${table} (${columns}) SELECT ${columns} FROM whole.${table}`;
      sqlite.exec(`${rows} WHERE ${heldSql(held, catalogue)}`);
      createIndexes(sqlite, layout);
      sqlite.rows(
        `UPDATE main._skerry_table SET row_count = (SELECT count(*) FROM main.${table}) WHERE oid = ?`,
        held.oid,
      );
    }
    sqlite.exec('COMMIT');
    sqlite.exec('DETACH whole');
    sqlite.exec('PRAGMA synchronous = FULL');
    // Entering WAL mode writes the header; with synchronous FULL that syncs the file.
    sqlite.exec('PRAGMA journal_mode = WAL');
    sqlite.exec('UPDATE _skerry_position SET id = 1');
    sqlite.checkpoint();
    return position;
  } catch (error) {
    throw faultFromSqlite(error, `cannot write snapshot ${target}`);
  }
}
