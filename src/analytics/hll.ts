// HyperLogLog sketches in the storage format of the hll extension, byte for byte: log2m 11, regwidth 5, automatic threshold, sparse on.
// Exact up to 160 distinct values; then 2048 registers, written sparsely while few are set.
// Source: https://github.com/citusdata/postgresql-hll, STORAGE.md; Flajolet et al., "HyperLogLog", 2007.

import type { Hash64 } from './murmur.ts';

const LOG2_REGISTERS = 11;
const REGISTERS = 1 << LOG2_REGISTERS;
const REGISTER_BITS = 5;
const REGISTER_MAX = (1 << REGISTER_BITS) - 1;

/** Values kept one by one; one more makes registers of them. */
const EXPLICIT_MAX = 160;

const VERSION = 1;
const EMPTY = 1;
const EXPLICIT = 2;
const SPARSE = 3;
const FULL = 4;

/** The second and third byte: widths, and that sparse and an automatic threshold are on. */
const PARAMETERS = ((REGISTER_BITS - 1) << 5) | LOG2_REGISTERS;
const THRESHOLDS = 0x7f;

const HEADER_BYTES = 3;
const FULL_BYTES = HEADER_BYTES + (REGISTERS * REGISTER_BITS) / 8;

/** Bits of one entry of the sparse form: a register's number and its value. */
const SPARSE_ENTRY_BITS = LOG2_REGISTERS + REGISTER_BITS;

/** Half of the relative standard error's reach: 1.04 / sqrt(2048). */
export const HLL_STANDARD_ERROR = 1.04 / Math.sqrt(REGISTERS);

export class Hll {
  /** Low half → high half, or several of them; null once there are registers. */
  #explicit: Map<number, number | number[]> | null = new Map();
  #explicitCount = 0;
  #registers: Uint8Array | null = null;

  /** Counts the value of this hash. */
  add({ high, low }: Hash64): void {
    const explicit = this.#explicit;
    if (explicit === null) {
      this.#set(high, low);
      return;
    }
    const there = explicit.get(low);
    if (there === undefined) explicit.set(low, high);
    else if (typeof there === 'number') {
      if (there === high) return;
      explicit.set(low, [there, high]);
    } else {
      if (there.includes(high)) return;
      there.push(high);
    }
    this.#explicitCount += 1;
    if (this.#explicitCount > EXPLICIT_MAX) this.#promote();
  }

  /** Counts all that `other` counted. */
  merge(other: Hll): void {
    if (other.#explicit !== null) {
      for (const [high, low] of other.#hashes()) this.add({ high, low });
      return;
    }
    if (this.#explicit !== null) this.#promote();
    const mine = this.#registers as Uint8Array;
    const theirs = other.#registers as Uint8Array;
    for (let index = 0; index < REGISTERS; index += 1) {
      if ((theirs[index] as number) > (mine[index] as number)) mine[index] = theirs[index] as number;
    }
  }

  /** Whether values are counted one by one. */
  get isExact(): boolean {
    return this.#registers === null;
  }

  /** How many distinct values were counted: exact up to 160, within a few per cent beyond. */
  cardinality(): number {
    if (this.#registers === null) return this.#explicitCount;
    let sum = 0;
    let zeros = 0;
    for (const register of this.#registers) {
      sum += 2 ** -register;
      if (register === 0) zeros += 1;
    }
    const alpha = 0.7213 / (1 + 1.079 / REGISTERS);
    const estimate = (alpha * REGISTERS * REGISTERS) / sum;
    if (zeros > 0 && estimate < 2.5 * REGISTERS) return REGISTERS * Math.log(REGISTERS / zeros);
    // Where all values of 64-bit hashes would begin to collide, which no log reaches.
    return estimate;
  }

  /** As the extension stores it. */
  toBytes(): Buffer {
    if (this.#registers === null) return this.#explicitBytes();
    let filled = 0;
    for (const register of this.#registers) if (register !== 0) filled += 1;
    return filled * SPARSE_ENTRY_BITS < REGISTERS * REGISTER_BITS
      ? this.#sparseBytes(this.#registers, filled)
      : fullBytes(this.#registers);
  }

  /** Reads what the extension, or `toBytes`, wrote. Throws RangeError for another version, other parameters or a wrong length. */
  static fromBytes(bytes: Uint8Array): Hll {
    const sketch = new Hll();
    const type = (bytes[0] ?? 0) & 0x0f;
    if ((bytes[0] ?? 0) >>> 4 !== VERSION || bytes[1] !== PARAMETERS || bytes[2] !== THRESHOLDS) {
      throw new RangeError('not an HLL of log2m 11, regwidth 5, automatic threshold');
    }
    if (type === EMPTY && bytes.length === HEADER_BYTES) return sketch;
    if (type === EXPLICIT && (bytes.length - HEADER_BYTES) % 8 === 0) {
      const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let at = HEADER_BYTES; at < bytes.length; at += 8) {
        sketch.add({ high: view.readInt32BE(at), low: view.readInt32BE(at + 4) });
      }
      return sketch;
    }
    const registers = new Uint8Array(REGISTERS);
    sketch.#explicit = null;
    sketch.#registers = registers;
    if (type === SPARSE && (bytes.length - HEADER_BYTES) % 2 === 0) {
      for (let at = HEADER_BYTES; at < bytes.length; at += 2) {
        const entry = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
        registers[entry >>> REGISTER_BITS] = entry & REGISTER_MAX;
      }
      return sketch;
    }
    if (type === FULL && bytes.length === FULL_BYTES) {
      for (let index = 0; index < REGISTERS; index += 1) {
        const bit = index * REGISTER_BITS;
        const at = HEADER_BYTES + (bit >>> 3);
        const two = ((bytes[at] as number) << 8) | (bytes[at + 1] ?? 0);
        registers[index] = (two >>> (16 - REGISTER_BITS - (bit & 7))) & REGISTER_MAX;
      }
      return sketch;
    }
    throw new RangeError(`an HLL of type ${type} cannot have ${bytes.length} bytes`);
  }

  #set(high: number, low: number): void {
    const index = low & (REGISTERS - 1);
    // The hash without its lowest 11 bits: the place of its lowest one bit, from 1.
    const restLow = (low >>> LOG2_REGISTERS) | (high << (32 - LOG2_REGISTERS));
    const restHigh = high >>> LOG2_REGISTERS;
    let value: number;
    if (restLow !== 0) value = 1 + trailingZeros(restLow);
    else if (restHigh !== 0) value = 33 + trailingZeros(restHigh);
    else return;
    if (value > REGISTER_MAX) value = REGISTER_MAX;
    const registers = this.#registers as Uint8Array;
    if (value > (registers[index] as number)) registers[index] = value;
  }

  #promote(): void {
    const hashes = [...this.#hashes()];
    this.#explicit = null;
    this.#registers = new Uint8Array(REGISTERS);
    for (const [high, low] of hashes) this.#set(high, low);
  }

  *#hashes(): Iterable<[high: number, low: number]> {
    for (const [low, there] of this.#explicit ?? []) {
      for (const high of typeof there === 'number' ? [there] : there) yield [high, low];
    }
  }

  #explicitBytes(): Buffer {
    const hashes = [...this.#hashes()].sort((a, b) => a[0] - b[0] || (a[1] >>> 0) - (b[1] >>> 0));
    const bytes = Buffer.alloc(HEADER_BYTES + 8 * hashes.length);
    header(bytes, hashes.length === 0 ? EMPTY : EXPLICIT);
    hashes.forEach(([high, low], index) => {
      bytes.writeInt32BE(high, HEADER_BYTES + 8 * index);
      bytes.writeInt32BE(low, HEADER_BYTES + 8 * index + 4);
    });
    return bytes;
  }

  #sparseBytes(registers: Uint8Array, filled: number): Buffer {
    const bytes = Buffer.alloc(HEADER_BYTES + (filled * SPARSE_ENTRY_BITS) / 8);
    header(bytes, SPARSE);
    let at = HEADER_BYTES;
    for (let index = 0; index < REGISTERS; index += 1) {
      const value = registers[index] as number;
      if (value !== 0) at = bytes.writeUInt16BE((index << REGISTER_BITS) | value, at);
    }
    return bytes;
  }
}

function fullBytes(registers: Uint8Array): Buffer {
  const bytes = Buffer.alloc(FULL_BYTES);
  header(bytes, FULL);
  for (let index = 0; index < REGISTERS; index += 1) {
    const bit = index * REGISTER_BITS;
    const at = HEADER_BYTES + (bit >>> 3);
    const two = (registers[index] as number) << (16 - REGISTER_BITS - (bit & 7));
    bytes[at] = (bytes[at] as number) | (two >>> 8);
    if (at + 1 < FULL_BYTES) bytes[at + 1] = (bytes[at + 1] as number) | (two & 0xff);
  }
  return bytes;
}

function header(bytes: Buffer, type: number): void {
  bytes[0] = (VERSION << 4) | type;
  bytes[1] = PARAMETERS;
  bytes[2] = THRESHOLDS;
}

function trailingZeros(value: number): number {
  return 31 - Math.clz32(value & -value);
}
