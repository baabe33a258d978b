// Replica files as snapshots: a consistent copy at one position, and putting a received one in place.

import type { Disk } from '../base/disk.ts';
import type { Position } from '../pg/lsn.ts';
import { faultFromSqlite, fileFault } from './faults.ts';
import { assertReplicaFile, readState } from './meta.ts';
import { forgetDerived } from './placement/derive.ts';
import { Sqlite } from './sqlite.ts';

/** Files that SQLite keeps beside a database; left from an older one they would corrupt a newer. */
const SIDE_FILES = ['-wal', '-shm', '-journal'] as const;

/**
 * Writes a standalone copy of the replica at `path` to `target` (which must not exist) and says where it is. Runs
 * synchronously, about 4 s per GB: call it where nobody waits. Writers go on meanwhile. Throws `disk-full`.
 */
export function writeSnapshot(path: string, target: string): Position {
  using sqlite = new Sqlite(path, { mode: 'write' });
  assertReplicaFile(sqlite);
  try {
    // VACUUM INTO reads in one transaction, leaves out free pages, and copies application_id and user_version.
    sqlite.rows('VACUUM INTO ?', target);
  } catch (error) {
    throw faultFromSqlite(error, `cannot write snapshot ${target}`);
  }
  using copy = new Sqlite(target, { mode: 'write', synchronous: 'full' });
  assertReplicaFile(copy);
  forgetDerived(copy);
  return readState(copy).position;
}

export interface SnapshotFacts {
  readonly position: Position;
  readonly tables: number;
}

/** Looks into a received file before it is trusted. `thorough` reads all of it. Throws `replica-file-invalid`. */
export function validateSnapshot(path: string, options: { readonly thorough: boolean }): SnapshotFacts {
  try {
    using sqlite = new Sqlite(path, { mode: 'write' });
    assertReplicaFile(sqlite);
    if (options.thorough) {
      const verdict = sqlite.value('PRAGMA quick_check(1)');
      if (verdict !== 'ok') throw fileFault(`${path} is damaged: ${String(verdict)}`);
    }
    return { position: readState(sqlite).position, tables: Number(sqlite.value('SELECT count(*) FROM _skerry_table')) };
  } catch (error) {
    throw faultFromSqlite(error, `cannot read snapshot ${path}`);
  }
}

/**
 * Makes `source` the replica at `path`. Nobody may have `path` open. The old replica goes before its side files (without
 * them it could be torn) and those before the new one comes (beside it they would corrupt it): a crash on the way leaves
 * no replica, never a wrong one.
 */
export async function installSnapshot(disk: Disk, source: string, path: string): Promise<void> {
  await using file = await disk.open(source, 'write');
  await file.sync();
  await removeReplica(disk, path);
  for (const suffix of SIDE_FILES) await disk.remove(`${source}${suffix}`);
  await disk.rename(source, path);
  await disk.syncDirectory(directoryOf(path));
}

/** Removes a replica with everything SQLite keeps beside it. */
export async function removeReplica(disk: Disk, path: string): Promise<void> {
  for (const suffix of ['', ...SIDE_FILES]) await disk.remove(`${path}${suffix}`);
}

function directoryOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '.' : path.slice(0, slash) || '/';
}
