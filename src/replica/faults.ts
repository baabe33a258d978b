// The faults of a replica, and what SQLite's own errors mean in their terms.

import { Fault } from '../base/fault.ts';
import { SQLSTATE } from '../pg/sqlstate.ts';

/** The replica does not hold what the stream says it must. Its owner throws it away and takes a snapshot. */
export function divergedFault(table: string, what: string): Fault {
  return new Fault('replica-diverged', {
    message: `replica of ${table} has diverged: ${what}`,
    hint: 'the replica is rebuilt from a snapshot; report this if it happens again, it is never normal',
    sqlstate: SQLSTATE.dataCorrupted,
  });
}

/** The stream speaks of a table or column whose description never came. Mended by a snapshot, like a divergence. */
export function schemaUnknownFault(message: string): Fault {
  return new Fault('replica-schema-unknown', {
    message,
    hint: 'the replica is rebuilt from a snapshot; check that the event trigger of skerry is enabled on the core',
    sqlstate: SQLSTATE.dataCorrupted,
  });
}

/** A file that is not a replica, or one that this version cannot read. */
export function fileFault(message: string, cause?: unknown): Fault {
  return new Fault('replica-file-invalid', {
    message,
    hint: 'remove the file: it is rebuilt from a snapshot',
    sqlstate: SQLSTATE.dataCorrupted,
    cause,
  });
}

/** Turns an error of SQLite into a Fault; anything else is passed on as it is. */
export function faultFromSqlite(error: unknown, doing: string): unknown {
  const code = sqliteErrorCode(error);
  if (code === null) return error;
  const message = `${doing}: ${error instanceof Error ? error.message : String(error)}`;
  if (code.startsWith('SQLITE_FULL')) {
    return new Fault('disk-full', {
      message,
      hint: 'free disk space; what was committed stays readable and applying goes on from there',
      sqlstate: SQLSTATE.diskFull,
      retryable: true,
      cause: error,
    });
  }
  if (code.startsWith('SQLITE_IOERR') || code.startsWith('SQLITE_CANTOPEN') || code.startsWith('SQLITE_READONLY')) {
    return new Fault('disk-failed', {
      message,
      hint: 'check the disk and the permissions of the data folder',
      sqlstate: SQLSTATE.ioError,
      retryable: true,
      cause: error,
    });
  }
  if (code.startsWith('SQLITE_CORRUPT') || code.startsWith('SQLITE_NOTADB')) return fileFault(message, error);
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new Fault('replica-busy', {
      message,
      hint: 'another process writes to this replica: two roles must not share a data folder',
      sqlstate: SQLSTATE.objectInUse,
      retryable: true,
      cause: error,
    });
  }
  return error;
}

/** `SQLITE_FULL` and the like, or null when this is no error of SQLite. */
export function sqliteErrorCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('code' in error)) return null;
  return typeof error.code === 'string' && error.code.startsWith('SQLITE_') ? error.code : null;
}

export function isConstraintError(error: unknown): boolean {
  return sqliteErrorCode(error)?.startsWith('SQLITE_CONSTRAINT') ?? false;
}
