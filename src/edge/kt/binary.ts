// Kyoto Tycoon's binary protocol: three bulk commands, told from HTTP by their first byte. All numbers are big-endian.
// Source: Kyoto Tycoon's Fundamental Specifications, "Binary Protocol".

export const MAGIC = {
  replication: 0xb1,
  playScript: 0xb4,
  setBulk: 0xb8,
  removeBulk: 0xb9,
  getBulk: 0xba,
  error: 0xbf,
} as const;

/** No answer is wanted. */
const FLAG_NO_REPLY = 0x01;

/** A record without expiry carries the largest time. */
export const XT_NEVER = 0x7fffffffffffffffn;

export interface BinaryRecord {
  readonly database: number;
  readonly key: Buffer;
  /** Only in set_bulk. */
  readonly value: Buffer;
  /** As in the protocol: seconds from now, or minus the epoch time. */
  readonly xt: bigint;
}

export interface BinaryRequest {
  readonly command: 'set' | 'remove' | 'get';
  readonly reply: boolean;
  readonly records: readonly BinaryRecord[];
  /** Bytes it took. */
  readonly length: number;
}

/** `needed`: it is not worth looking again before so many bytes are there. */
export type BinaryRead = BinaryRequest | { readonly needed: number } | 'unknown' | 'too-large';

/** Whether a request that begins with this byte is binary. */
export function isBinary(first: number): boolean {
  return first >= 0x80;
}

const COMMANDS: Readonly<Record<number, BinaryRequest['command']>> = {
  [MAGIC.setBulk]: 'set',
  [MAGIC.removeBulk]: 'remove',
  [MAGIC.getBulk]: 'get',
};

/** Reads one request from the start of `bytes`. `bytesMax` and `recordsMax` bound what is waited for. */
export function readBinary(bytes: Buffer, bytesMax: number, recordsMax: number): BinaryRead {
  const command = COMMANDS[bytes[0] as number];
  if (command === undefined) return 'unknown';
  if (bytes.length < 9) return { needed: 9 };
  const flags = bytes.readUInt32BE(1);
  const count = bytes.readUInt32BE(5);
  if (count > recordsMax) return 'too-large';
  const records: BinaryRecord[] = [];
  const headBytes = command === 'set' ? 18 : 6;
  let at = 9;
  for (let index = 0; index < count; index += 1) {
    if (bytes.length < at + headBytes) return { needed: at + headBytes };
    const database = bytes.readUInt16BE(at);
    const keyBytes = bytes.readUInt32BE(at + 2);
    const valueBytes = command === 'set' ? bytes.readUInt32BE(at + 6) : 0;
    const xt = command === 'set' ? bytes.readBigInt64BE(at + 10) : XT_NEVER;
    const start = at + headBytes;
    const end = start + keyBytes + valueBytes;
    if (end > bytesMax) return 'too-large';
    // At least the heads of the rest are to come.
    if (bytes.length < end) return { needed: end + (count - index - 1) * headBytes };
    records.push({
      database,
      key: Buffer.from(bytes.subarray(start, start + keyBytes)),
      value: Buffer.from(bytes.subarray(start + keyBytes, end)),
      xt,
    });
    at = end;
  }
  return { command, reply: command === 'get' || (flags & FLAG_NO_REPLY) === 0, records, length: at };
}

/** Answer to set_bulk and remove_bulk. */
export function writeHits(command: 'set' | 'remove', hits: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = command === 'set' ? MAGIC.setBulk : MAGIC.removeBulk;
  bytes.writeUInt32BE(hits, 1);
  return bytes;
}

/** Answer to get_bulk: what was found; `xt` in seconds of the epoch or XT_NEVER. */
export function writeFound(records: readonly BinaryRecord[]): Buffer {
  const head = Buffer.alloc(5);
  head[0] = MAGIC.getBulk;
  head.writeUInt32BE(records.length, 1);
  const parts: Buffer[] = [head];
  for (const { database, key, value, xt } of records) {
    const one = Buffer.alloc(18);
    one.writeUInt16BE(database, 0);
    one.writeUInt32BE(key.length, 2);
    one.writeUInt32BE(value.length, 6);
    one.writeBigInt64BE(xt, 10);
    parts.push(one, key, value);
  }
  return Buffer.concat(parts);
}
