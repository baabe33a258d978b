// Small files of the command line: the folder's lock, secrets, role logs that do not grow without end.
//
// Faults (code: what the operator reads in it)
//   folder-in-use     another `skerry up` works in the same folder
//   folder-unusable   the folder cannot be made or written

import { Database } from 'bun:sqlite';
import { appendFileSync, chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';

/** Makes the folder with `mode`; one that is there stays as it is. Throws Fault `folder-unusable`. */
export function makeFolder(path: string, mode: number): void {
  if (existsSync(path) && statSync(path).isDirectory()) return;
  try {
    mkdirSync(path, { recursive: true, mode });
    chmodSync(path, mode);
  } catch (error) {
    throw unusable(path, error);
  }
}

/** A new empty folder below the temporary folder. */
export function makeTemporaryFolder(mode: number): string {
  try {
    const path = mkdtempSync(join(tmpdir(), 'skerry-'));
    chmodSync(path, mode);
    return path;
  } catch (error) {
    throw unusable(tmpdir(), error);
  }
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** Names in the folder; none when it is not there. */
export function listFolder(path: string): string[] {
  if (!existsSync(path)) return [];
  try {
    return readdirSync(path);
  } catch (error) {
    throw unusable(path, error);
  }
}

/**
 * Holds the folder until disposed. SQLite's exclusive lock is the kernel's: it goes with the process, however that ends, and
 * needs no cleaning up after a crash. Throws Fault `folder-in-use`.
 */
export function lockFolder(folder: string): Disposable {
  const path = join(folder, 'lock');
  try {
    const database = new Database(path, { create: true });
    chmodSync(path, 0o600);
    database.run('pragma journal_mode = memory');
    database.run('begin exclusive');
    return { [Symbol.dispose]: () => database.close() };
  } catch (error) {
    if (/locked|busy/i.test(String(error))) {
      throw new Fault('folder-in-use', {
        message: `another skerry is running in ${folder}`,
        hint: 'stop it, or give this one a folder of its own with --dir and ports with --port-base',
      });
    }
    throw unusable(folder, error);
  }
}

/** The text of a file only we may read, made by `create` when it is not there. */
export function ensureSecret(path: string, create: () => string): string {
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  const secret = create();
  writePrivate(path, `${secret}\n`);
  return secret;
}

/** Writes a file that only we may read, all of it or nothing. */
export function writePrivate(path: string, text: string): void {
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw unusable(path, error);
  }
}

/** The file's text, or null when it is not there. */
export function readTextFile(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as { code?: string }).code ?? '')) return null;
    throw unusable(path, error);
  }
}

/** True when accounts other than its owner and group may do something with the file, or the group may change it. */
export function isOpenToOthers(path: string): boolean {
  return (statSync(path).mode & 0o027) !== 0;
}

/** The unpacked text of a .gz file, or null when it is not there. */
export function readGzip(path: string): string | null {
  return existsSync(path) ? new TextDecoder().decode(Bun.gunzipSync(readFileSync(path))) : null;
}

// Two files of this size per role: enough to see what happened yesterday, too little to fill a disk.
const LOG_BYTES_MAX = 16 * 1024 * 1024;

/** Appends lines to a file; a full one becomes `NAME.1`, and the one before it goes. Never throws: a full disk must not stop a role. */
export function appendLog(path: string): (line: string) => void {
  let bytes = existsSync(path) ? statSync(path).size : 0;
  return (line) => {
    try {
      if (bytes > LOG_BYTES_MAX) {
        renameSync(path, `${path}.1`);
        bytes = 0;
      }
      const text = `${line}\n`;
      appendFileSync(path, text, { mode: 0o600 });
      bytes += text.length;
    } catch {
      // What the line said also went to the supervisor's events.
    }
  };
}

function unusable(path: string, error: unknown): Fault {
  return new Fault('folder-unusable', {
    message: `cannot use ${path}: ${error instanceof Error ? error.message : String(error)}`,
    hint: 'check its owner and the space on the disk, or choose another folder with --dir',
    cause: error,
  });
}

/** A number that differs when another file stands at the path (its inode); 0 when there is none. */
export function fileIdentity(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? 0;
}
