// The seam to whole files on their way over the network: packed (zstd) with a digest. `runtime/pack.ts` implements it.

export interface PackedFile {
  readonly bytes: number;
  /** SHA-256 of the packed bytes, hex. */
  readonly sha256: string;
}

export interface Packer {
  /** Compresses `source` into `target` (replaced when it exists), off the event loop. Rejects with Fault `disk-full`, `disk-failed`. */
  pack(source: string, target: string): Promise<PackedFile>;
  /** The reverse. Rejects with Fault `packed-file-invalid` when `source` is not what `pack` made. */
  unpack(source: string, target: string): Promise<void>;
  /** Digest of a file as it lies there. */
  digest(path: string): Promise<PackedFile>;
}
