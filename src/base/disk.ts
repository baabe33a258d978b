// The seam to files, as far as durable logs need it. `runtime/disk.ts` implements it; tests can fail or fill it.

export interface File extends AsyncDisposable {
  /** Writes all of `bytes` at `offset`. Rejects with Fault `disk-full` (ENOSPC) or `disk-failed`. */
  write(bytes: Uint8Array, offset: number): Promise<void>;
  /**
   * Reads up to `length` bytes at `offset`; shorter only at the end of the file. The result is a view of `into` when that is
   * given and large enough, else new.
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Flushes the data to the device (fdatasync). */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface Disk {
  /** `create` fails when the file exists; `write` opens or creates; `read` must exist. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<File>;
  list(directory: string): Promise<string[]>;
  /** Creates the directory and its parents. */
  makeDirectory(path: string): Promise<void>;
  /** Removes a file or a whole directory; no error when it is not there. */
  remove(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes names in a directory durable (fsync of the directory). */
  syncDirectory(path: string): Promise<void>;
  exists(path: string): Promise<boolean>;
  readText(path: string): Promise<string>;
  /** Writes beside, syncs, renames: the file is old or new, never half. */
  writeTextAtomically(path: string, text: string): Promise<void>;
  /** Bytes free for us on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
}
