// Addresses and networks.

import { inetFromBinary, inetToBinary } from '../../../pg/types/network.ts';
import type { Family } from './proof.ts';

interface Inet {
  readonly bits: number;
  readonly bytes: Uint8Array;
}

function read(text: string): Inet {
  const binary = inetToBinary(text, false);
  return { bits: binary[1] as number, bytes: Uint8Array.from(binary.subarray(4)) };
}

function shown({ bits, bytes }: Inet, isCidr = false): string {
  return inetFromBinary(
    Buffer.from([bytes.length === 4 ? 2 : 3, bits, isCidr ? 1 : 0, bytes.length, ...bytes]),
    isCidr,
  );
}

function whole({ bytes }: Inet): number {
  return bytes.length * 8;
}

/** Bytes with the first `bits` set. */
function mask(size: number, bits: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => {
    const own = Math.min(Math.max(bits - at * 8, 0), 8);
    return (0xff << (8 - own)) & 0xff;
  });
}

function combined(a: Uint8Array, b: Uint8Array, join: (x: number, y: number) => number): Uint8Array {
  return Uint8Array.from(a, (byte, at) => join(byte, b[at] as number) & 0xff);
}

function network(inet: Inet): Inet {
  return { bits: inet.bits, bytes: combined(inet.bytes, mask(inet.bytes.length, inet.bits), (x, y) => x & y) };
}

/** Whether the first `bits` of both are the same. */
function isSameUpTo(a: Inet, b: Inet, bits: number): boolean {
  if (a.bytes.length !== b.bytes.length) return false;
  const of = mask(a.bytes.length, bits);
  return a.bytes.every((byte, at) => ((byte ^ (b.bytes[at] as number)) & (of[at] as number)) === 0);
}

function isWithin(a: Inet, b: Inet, isStrict: boolean): boolean {
  return (isStrict ? a.bits > b.bits : a.bits >= b.bits) && isSameUpTo(a, b, b.bits);
}

function bitwise(join: (x: number, y: number) => number): (a: string, b: string) => string {
  return (a, b) => {
    const [x, y] = [read(a), read(b)];
    if (x.bytes.length !== y.bytes.length) throw new RangeError('addresses of different sizes');
    return shown({ bits: Math.max(x.bits, y.bits), bytes: combined(x.bytes, y.bytes, join) });
  };
}

function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function plus(text: string, count: bigint): string {
  const inet = read(text);
  const sum = toNumber(inet.bytes) + count;
  if (sum < 0n || sum >= 1n << BigInt(whole(inet))) throw new RangeError('result is out of range');
  return shown({ bits: inet.bits, bytes: Buffer.from(sum.toString(16).padStart(inet.bytes.length * 2, '0'), 'hex') });
}

function minus(a: string, b: string): bigint {
  const [x, y] = [read(a), read(b)];
  if (x.bytes.length !== y.bytes.length) throw new RangeError('addresses of different sizes');
  return toNumber(x.bytes) - toNumber(y.bytes);
}

function withMasklen(text: string, bits: number): string {
  const inet = read(text);
  const wanted = bits === -1 ? whole(inet) : bits;
  if (wanted < 0 || wanted > whole(inet)) throw new RangeError('invalid mask length');
  return shown({ bits: wanted, bytes: inet.bytes });
}

const two =
  (then: (a: Inet, b: Inet) => unknown) =>
  (a: string, b: string): unknown =>
    then(read(a), read(b));

export const NETWORK: Family = {
  title: 'Networks',
  rows: [
    { of: 'host(inet)', js: (a: string) => shown({ ...read(a), bits: whole(read(a)) }), isTotal: true },
    { of: 'masklen(inet)', js: (a: string) => read(a).bits, isTotal: true },
    { of: 'family(inet)', js: (a: string) => (a.includes(':') ? 6 : 4), isTotal: true },
    { of: 'network(inet)', js: (a: string) => shown(network(read(a)), true), isTotal: true },
    {
      of: 'netmask(inet)',
      js: (a: string) => shown({ bits: whole(read(a)), bytes: mask(read(a).bytes.length, read(a).bits) }),
      isTotal: true,
    },
    {
      of: 'hostmask(inet)',
      js: (a: string) =>
        shown({ bits: whole(read(a)), bytes: mask(read(a).bytes.length, read(a).bits).map((byte) => byte ^ 0xff) }),
      isTotal: true,
    },
    {
      of: 'broadcast(inet)',
      js: (a: string) => {
        const inet = read(a);
        return shown({
          bits: inet.bits,
          bytes: combined(inet.bytes, mask(inet.bytes.length, inet.bits), (x, y) => x | (y ^ 0xff)),
        });
      },
      isTotal: true,
    },
    { of: 'abbrev(inet)', js: (a: string) => shown(read(a)), isTotal: true },
    { of: 'set_masklen(inet,int4)', js: withMasklen, raises: true },
    {
      of: 'inet_same_family(inet,inet)',
      js: (a: string, b: string) => a.includes(':') === b.includes(':'),
      isTotal: true,
    },
    { of: 'inet << inet', js: two((a, b) => isWithin(a, b, true)), isTotal: true },
    { of: 'inet <<= inet', js: two((a, b) => isWithin(a, b, false)), isTotal: true },
    { of: 'inet >> inet', js: two((a, b) => isWithin(b, a, true)), isTotal: true },
    { of: 'inet >>= inet', js: two((a, b) => isWithin(b, a, false)), isTotal: true },
    { of: 'inet && inet', js: two((a, b) => isSameUpTo(a, b, Math.min(a.bits, b.bits))), isTotal: true },
    {
      of: '~ inet',
      js: (a: string) => shown({ bits: read(a).bits, bytes: read(a).bytes.map((byte) => byte ^ 0xff) }),
      isTotal: true,
    },
    { of: 'inet & inet', js: bitwise((x, y) => x & y), raises: true },
    { of: 'inet | inet', js: bitwise((x, y) => x | y), raises: true },
    { of: 'inet + int8', js: plus, raises: true },
    { of: 'int8 + inet', js: (a: bigint, b: string) => plus(b, a), raises: true },
    { of: 'inet - int8', js: (a: string, b: bigint) => plus(a, -b), raises: true },
    { of: 'inet - inet', js: minus, raises: true },
  ],
};
