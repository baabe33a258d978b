// Files for durable logs, on node:fs: reads, writes and syncs run in the thread pool, never on the event loop.

import * as fs from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import type { Disk, File } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';

// Plain descriptors, not FileHandle objects: those are closed (with an uncaught error) by the garbage collector's whim.
const openFile = promisify(fs.open);
const closeFile = promisify(fs.close);
const syncData = promisify(fs.fdatasync);
const syncAll = promisify(fs.fsync);
const truncateFile = promisify(fs.ftruncate);
const statFile = promisify(fs.fstat) as (fd: number) => Promise<fs.Stats>;

class NodeFile implements File {
  readonly #fd: number;
  readonly #path: string;
  #closed = false;

  constructor(fd: number, path: string) {
    this.#fd = fd;
    this.#path = path;
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < bytes.byteLength) {
      const bytesWritten = await guard(this.#path, () =>
        writeSome(this.#fd, bytes, done, bytes.byteLength - done, offset + done),
      );
      // A write that takes nothing and reports nothing is how some file systems say that they are full.
      if (bytesWritten === 0) throw diskFull(this.#path, undefined);
      done += bytesWritten;
    }
  }

  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const buffer = into !== undefined && into.length >= length ? into : new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const bytesRead = await guard(this.#path, () => readSome(this.#fd, buffer, done, length - done, offset + done));
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done === buffer.length ? buffer : buffer.subarray(0, done);
  }

  sync(): Promise<void> {
    return guard(this.#path, () => syncData(this.#fd));
  }

  truncate(length: number): Promise<void> {
    return guard(this.#path, () => truncateFile(this.#fd, length));
  }

  async size(): Promise<number> {
    return (await guard(this.#path, () => statFile(this.#fd))).size;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await guard(this.#path, () => closeFile(this.#fd));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The real disk. */
export const nodeDisk: Disk = {
  async open(path, mode) {
    return new NodeFile(await guard(path, () => openFile(path, FLAGS[mode], 0o600)), path);
  },
  list: (directory) => guard(directory, () => readdir(directory)),
  async makeDirectory(path) {
    await guard(path, () => mkdir(path, { recursive: true, mode: 0o700 }));
  },
  remove: (path) => guard(path, () => rm(path, { recursive: true, force: true })),
  rename: (from, to) => guard(from, () => rename(from, to)),
  async syncDirectory(path) {
    const fd = await guard(path, () => openFile(path, 'r'));
    try {
      await guard(path, () => syncAll(fd));
    } finally {
      await closeFile(fd);
    }
  },
  async exists(path) {
    try {
      await stat(path);
      return true;
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false;
      throw asDiskFault(path, error);
    }
  },
  readText: (path) => guard(path, () => readFile(path, 'utf8')),
  async writeTextAtomically(path, text) {
    const beside = `${path}.new`;
    await nodeDisk.remove(beside);
    const file = await nodeDisk.open(beside, 'create');
    try {
      await file.write(new TextEncoder().encode(text), 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await nodeDisk.rename(beside, path);
    await nodeDisk.syncDirectory(dirname(path));
  },
  async freeBytes(path) {
    const facts = await guard(path, () => statfs(path));
    return Number(facts.bavail) * Number(facts.bsize);
  },
};

// 'write' must not truncate: O_RDWR|O_CREAT has no letter in node's flags, so it is spelled as a number.
const O_RDWR_CREAT = 0o2 | (process.platform === 'linux' ? 0o100 : 0x200);
const FLAGS = { read: 'r', write: O_RDWR_CREAT, create: 'wx+' } as const;

function writeSome(fd: number, bytes: Uint8Array, from: number, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(fd, bytes, from, length, position, (error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

function readSome(fd: number, bytes: Uint8Array, from: number, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.read(fd, bytes, from, length, position, (error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

async function guard<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw asDiskFault(path, error);
  }
}

/** What an error of the file system means to an operator: Fault `disk-full` or `disk-failed`. */
export function asDiskFault(path: string, error: unknown): Fault {
  if (error instanceof Fault) return error;
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(path, error);
  return new Fault('disk-failed', {
    message: `${path}: ${error instanceof Error ? error.message : String(error)}`,
    sqlstate: code === 'ENOENT' ? '58P01' : '58030',
    cause: error,
  });
}

function diskFull(path: string, cause: unknown): Fault {
  return new Fault('disk-full', {
    message: `no space left for ${path}`,
    hint: 'free space on this file system; work goes on by itself as soon as there is room',
    sqlstate: '53100',
    retryable: true,
    cause,
  });
}

function errorCode(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined;
}
