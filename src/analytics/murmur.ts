// MurmurHash3 x64 128 with seed 0, its first 64 bits: what `hll_hash_text` and `hll_hash_bytea` of the hll extension give. 64-bit numbers are
// pairs of 32-bit halves, because BigInt would cost a microsecond a hash.
// Source: Austin Appleby's public-domain MurmurHash3; https://github.com/citusdata/postgresql-hll (STORAGE.md).

/** A 64-bit number as two signed halves. Reused: copy what is to be kept. */
export interface Hash64 {
  high: number;
  low: number;
}

/** Writes the hash of `bytes` into `out`. */
export function murmur64(bytes: Uint8Array, out: Hash64): void {
  const length = bytes.length;
  let h1h = 0;
  let h1l = 0;
  let h2h = 0;
  let h2l = 0;
  const blocks = length >>> 4;
  for (let block = 0; block < blocks; block += 1) {
    const at = block << 4;
    mixK1(word(bytes, at + 4), word(bytes, at));
    xor(h1h, h1l);
    h1h = rh;
    h1l = rl;
    rotate(h1h, h1l, 27);
    add(rh, rl, h2h, h2l);
    timesFivePlus(rh, rl, 0x52dce729);
    h1h = rh;
    h1l = rl;

    mixK2(word(bytes, at + 12), word(bytes, at + 8));
    xor(h2h, h2l);
    h2h = rh;
    h2l = rl;
    rotate(h2h, h2l, 31);
    add(rh, rl, h1h, h1l);
    timesFivePlus(rh, rl, 0x38495ab5);
    h2h = rh;
    h2l = rl;
  }
  const tail = blocks << 4;
  const rest = length & 15;
  if (rest > 8) {
    mixK2(partial(bytes, tail + 12, rest - 12), partial(bytes, tail + 8, rest - 8));
    xor(h2h, h2l);
    h2h = rh;
    h2l = rl;
  }
  if (rest > 0) {
    mixK1(partial(bytes, tail + 4, rest - 4), partial(bytes, tail, rest));
    xor(h1h, h1l);
    h1h = rh;
    h1l = rl;
  }
  h1l ^= length;
  h2l ^= length;
  add(h1h, h1l, h2h, h2l);
  h1h = rh;
  h1l = rl;
  add(h2h, h2l, h1h, h1l);
  h2h = rh;
  h2l = rl;
  finish(h1h, h1l);
  h1h = rh;
  h1l = rl;
  finish(h2h, h2l);
  add(h1h, h1l, rh, rl);
  out.high = rh;
  out.low = rl;
}

/** Result of the functions below: module variables, because a pair would be an allocation each. */
let rh = 0;
let rl = 0;

/** Four bytes, the first the lowest. */
function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

/** The same where only `count` of the bytes exist. */
function partial(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let index = 0; index < count && index < 4; index += 1) value |= (bytes[at + index] as number) << (8 * index);
  return value;
}

const C1_HIGH = 0x87c37b91;
const C1_LOW = 0x114253d5;
const C2_HIGH = 0x4cf5ad43;
const C2_LOW = 0x2745937f;

function mixK1(high: number, low: number): void {
  multiply(high, low, C1_HIGH, C1_LOW);
  rotate(rh, rl, 31);
  multiply(rh, rl, C2_HIGH, C2_LOW);
}

function mixK2(high: number, low: number): void {
  multiply(high, low, C2_HIGH, C2_LOW);
  rotate(rh, rl, 33);
  multiply(rh, rl, C1_HIGH, C1_LOW);
}

function finish(high: number, low: number): void {
  // h ^= h >>> 33: only the high half reaches the low one.
  multiply(high, low ^ (high >>> 1), 0xff51afd7, 0xed558ccd);
  multiply(rh, rl ^ (rh >>> 1), 0xc4ceb9fe, 0x1a85ec53);
  rl ^= rh >>> 1;
}

function xor(high: number, low: number): void {
  rh ^= high;
  rl ^= low;
}

function add(ah: number, al: number, bh: number, bl: number): void {
  const low = (al >>> 0) + (bl >>> 0);
  rl = low | 0;
  rh = (ah + bh + (low > 0xffffffff ? 1 : 0)) | 0;
}

function timesFivePlus(high: number, low: number, constant: number): void {
  multiply(high, low, 0, 5);
  add(rh, rl, 0, constant);
}

function rotate(high: number, low: number, by: number): void {
  if (by === 32) {
    rh = low;
    rl = high;
  } else if (by < 32) {
    rh = (high << by) | (low >>> (32 - by));
    rl = (low << by) | (high >>> (32 - by));
  } else {
    rh = (low << (by - 32)) | (high >>> (64 - by));
    rl = (high << (by - 32)) | (low >>> (64 - by));
  }
}

/** The low 64 bits of a product. */
function multiply(ah: number, al: number, bh: number, bl: number): void {
  const a0 = al & 0xffff;
  const a1 = al >>> 16;
  const b0 = bl & 0xffff;
  const b1 = bl >>> 16;
  const low = a0 * b0;
  const middle = a1 * b0 + (low >>> 16);
  const other = a0 * b1 + (middle & 0xffff);
  // Partial sums stay below 2^53.
  const carry = a1 * b1 + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000);
  rl = ((other & 0xffff) << 16) | (low & 0xffff);
  rh = (carry + Math.imul(ah, bl) + Math.imul(al, bh)) | 0;
}
