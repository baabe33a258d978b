// Packing of whole files with zstd and SHA-256, streamed: memory stays small whatever the size of the file.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { Fault } from '../base/fault.ts';
import type { PackedFile, Packer } from '../base/pack.ts';
import { asDiskFault } from './disk.ts';

// The lowest level already halves a replica, and keeps up with a fast disk on one core.
const LEVEL = 1;
const CHUNK_BYTES = 1024 * 1024;

export const zstdPacker: Packer = {
  async pack(source, target) {
    const hash = createHash('sha256');
    let bytes = 0;
    const measure = new Transform({
      transform(chunk: Uint8Array, _encoding, done) {
        hash.update(chunk);
        bytes += chunk.length;
        done(null, chunk);
      },
    });
    try {
      await pipeline(
        createReadStream(source, { highWaterMark: CHUNK_BYTES }),
        createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: LEVEL } }),
        measure,
        createWriteStream(target, { mode: 0o600 }),
      );
    } catch (error) {
      throw asDiskFault(target, error);
    }
    return { bytes, sha256: hash.digest('hex') };
  },

  async unpack(source, target) {
    try {
      await pipeline(
        createReadStream(source, { highWaterMark: CHUNK_BYTES }),
        createZstdDecompress(),
        createWriteStream(target, { mode: 0o600 }),
      );
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (/^ZSTD|^ERR_ZSTD|^Z_/.test(code)) {
        throw new Fault('packed-file-invalid', {
          message: `${source} is not a packed file`,
          hint: 'it is downloaded again',
          sqlstate: 'XX001',
          retryable: true,
          cause: error,
        });
      }
      throw asDiskFault(target, error);
    }
  },

  async digest(path): Promise<PackedFile> {
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
        hash.update(chunk as Uint8Array);
        bytes += (chunk as Uint8Array).length;
      }
    } catch (error) {
      throw asDiskFault(path, error);
    }
    return { bytes, sha256: hash.digest('hex') };
  },
};
