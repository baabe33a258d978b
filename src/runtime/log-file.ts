// A file that is read from its beginning to its end, unpacked when it is gzip.

import { createReadStream, openSync, readSync, closeSync, statSync } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { Fault } from '../base/fault.ts';

export interface ReadableFile {
  readonly label: string;
  readonly sizeBytes: number;
  /** Can be called again: each time from the beginning. Rejects with Fault `file-damaged` when gzip ends in the middle. */
  chunks(): AsyncIterable<{ readonly bytes: Uint8Array; readonly readBytes: number }>;
}

const CHUNK_BYTES = 256 * 1024;

/** Throws Fault `file-unreadable`. */
export function openReadableFile(path: string): ReadableFile {
  let sizeBytes: number;
  let isGzip: boolean;
  try {
    const status = statSync(path);
    if (status.isDirectory()) throw new Error('it is a folder');
    sizeBytes = status.size;
    isGzip = hasGzipMagic(path);
  } catch (error) {
    throw new Fault('file-unreadable', {
      message: `cannot read ${path}: ${(error as Error).message}`,
      hint: 'check the path and the permissions',
      cause: error,
    });
  }
  return {
    label: path,
    sizeBytes,
    async *chunks() {
      const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
      if (!isGzip) {
        for await (const bytes of file) yield { bytes: bytes as Buffer, readBytes: file.bytesRead };
        return;
      }
      const unpacked = file.pipe(createGunzip({ chunkSize: CHUNK_BYTES }));
      file.on('error', (error) => unpacked.destroy(error));
      try {
        for await (const bytes of unpacked) yield { bytes: bytes as Buffer, readBytes: file.bytesRead };
      } catch (error) {
        throw new Fault('file-damaged', {
          message: `${path} cannot be unpacked to its end: ${(error as Error).message}`,
          hint: 'copy it again; what was taken in before is kept, and the next run goes on from there',
          cause: error,
        });
      } finally {
        file.destroy();
      }
    },
  };
}

function hasGzipMagic(path: string): boolean {
  const descriptor = openSync(path, 'r');
  try {
    const two = Buffer.alloc(2);
    return readSync(descriptor, two) === 2 && two[0] === 0x1f && two[1] === 0x8b;
  } finally {
    closeSync(descriptor);
  }
}
