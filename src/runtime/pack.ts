// Packing of whole files with zstd and SHA-256, streamed: memory stays small whatever the size of the file.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import { Fault } from '../base/fault.ts';
import type { PackedFile, Packer } from '../base/pack.ts';
import { asDiskFault } from './disk.ts';

// The lowest level already halves a replica, and keeps up with a fast disk on one core.
const LEVEL = 1;
const CHUNK_BYTES = 1024 * 1024;

/** Large enough that pieces compress as well as the whole; few at once, so that memory stays small. */
const PIECE_BYTES = 4 * 1024 * 1024;
const PIECES_MAX = 3;

export const zstdPacker: Packer = {
  async pack(source, target) {
    const hash = createHash('sha256');
    // Pieces are compressed on Bun's threads; each is a zstd frame of its own, and frames behind each other are one file.
    const pieces: Promise<Uint8Array>[] = [];
    let bytes = 0;
    try {
      await using input = await open(source, 'r');
      await using output = await open(target, 'w', 0o600);
      const writeOldest = async (): Promise<void> => {
        const packed = await (pieces.shift() as Promise<Uint8Array>);
        hash.update(packed);
        bytes += packed.length;
        await output.appendFile(packed);
      };
      for (let offset = 0; ; ) {
        const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
        const { bytesRead } = await input.read(piece, 0, PIECE_BYTES, offset);
        if (bytesRead === 0 && offset > 0) break;
        offset += bytesRead;
        pieces.push(Bun.zstdCompress(piece.subarray(0, bytesRead), { level: LEVEL }));
        if (pieces.length === PIECES_MAX) await writeOldest();
        if (bytesRead === 0) break;
      }
      while (pieces.length > 0) await writeOldest();
    } catch (error) {
      await Promise.allSettled(pieces);
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
