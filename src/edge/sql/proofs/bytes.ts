// bytea and bit strings.

import type { Family } from './proof.ts';

function substring(bytes: Uint8Array, start: number, count: number): Uint8Array {
  if (count < 0) throw new RangeError('negative substring length not allowed');
  const end = start + count;
  return end <= 1 ? new Uint8Array(0) : bytes.slice(Math.max(start - 1, 0), end - 1);
}

function checkedIndex(bytes: Uint8Array, index: number): number {
  if (index < 0 || index >= bytes.length) throw new RangeError('index out of valid range');
  return index;
}

function trimmed(bytes: Uint8Array, of: Uint8Array, sides: 'both' | 'left' | 'right'): Uint8Array {
  let start = 0;
  let end = bytes.length;
  const isOf = (at: number): boolean => of.includes(bytes[at] as number);
  if (sides !== 'right') while (start < end && isOf(start)) start += 1;
  if (sides !== 'left') while (end > start && isOf(end - 1)) end -= 1;
  return bytes.slice(start, end);
}

function bitsOf(value: string, other: string, join: (a: boolean, b: boolean) => boolean): string {
  if (value.length !== other.length) throw new RangeError('bit strings of different sizes');
  return Array.from(value, (bit, index) => (join(bit === '1', other[index] === '1') ? '1' : '0')).join('');
}

function shifted(value: string, count: number): string {
  const size = value.length;
  if (count >= 0) return count >= size ? '0'.repeat(size) : value.slice(count) + '0'.repeat(count);
  return -count >= size ? '0'.repeat(size) : '0'.repeat(-count) + value.slice(0, size + count);
}

export const BYTES: Family = {
  title: 'Bytes and bits',
  rows: [
    { of: 'length(bytea)', sql: (a) => `length(${a})` },
    { of: 'octet_length(bytea)', sql: (a) => `length(${a})` },
    { of: 'bit_length(bytea)', sql: (a) => `(8 * length(${a}))` },
    { of: 'bytea || bytea', js: (a: Uint8Array, b: Uint8Array) => Buffer.concat([a, b]), isTotal: true },
    ...['substr', 'substring'].flatMap((name) => [
      {
        of: `${name}(bytea,int4)`,
        js: (a: Uint8Array, start: number) => a.slice(Math.max(start - 1, 0)),
        isTotal: true,
      },
      { of: `${name}(bytea,int4,int4)`, js: substring, raises: true },
    ]),
    { of: 'position(bytea,bytea)', js: (a: Uint8Array, b: Uint8Array) => Buffer.from(a).indexOf(b) + 1, isTotal: true },
    { of: 'btrim(bytea,bytea)', js: (a: Uint8Array, b: Uint8Array) => trimmed(a, b, 'both'), isTotal: true },
    { of: 'ltrim(bytea,bytea)', js: (a: Uint8Array, b: Uint8Array) => trimmed(a, b, 'left'), isTotal: true },
    { of: 'rtrim(bytea,bytea)', js: (a: Uint8Array, b: Uint8Array) => trimmed(a, b, 'right'), isTotal: true },
    { of: 'get_byte(bytea,int4)', js: (a: Uint8Array, index: number) => a[checkedIndex(a, index)], raises: true },
    {
      of: 'set_byte(bytea,int4,int4)',
      js: (a: Uint8Array, index: number, byte: number) => {
        const copy = Uint8Array.from(a);
        copy[checkedIndex(a, index)] = byte;
        return copy;
      },
      raises: true,
    },
    {
      of: 'bit_count(bytea)',
      js: (a: Uint8Array) => BigInt(a.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)),
      isTotal: true,
    },
    {
      of: 'convert_from(bytea,name)',
      js: (bytes: Uint8Array, encoding: string) => {
        if (!/^utf-?8$/i.test(encoding)) throw new RangeError('another encoding');
        const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
        if (text.includes('\u0000')) throw new RangeError('invalid byte sequence');
        return text;
      },
      raises: true,
    },
    {
      of: 'convert_to(text,name)',
      js: (text: string, encoding: string) => {
        if (!/^utf-?8$/i.test(encoding)) throw new RangeError('another encoding');
        return Buffer.from(text, 'utf8');
      },
      raises: true,
    },
    { of: 'length(bit)', sql: (a) => `length(${a})` },
    { of: 'bit_length(bit)', sql: (a) => `length(${a})` },
    { of: 'octet_length(bit)', sql: (a) => `((length(${a}) + 7) / 8)` },
    { of: 'varbit || varbit', sql: (a, b) => `(${a} || ${b})` },
    { of: 'bit & bit', js: (a: string, b: string) => bitsOf(a, b, (x, y) => x && y), raises: true },
    { of: 'bit | bit', js: (a: string, b: string) => bitsOf(a, b, (x, y) => x || y), raises: true },
    { of: 'bit # bit', js: (a: string, b: string) => bitsOf(a, b, (x, y) => x !== y), raises: true },
    { of: '~ bit', js: (a: string) => a.replace(/[01]/g, (bit) => (bit === '1' ? '0' : '1')), isTotal: true },
    { of: 'bit << int4', js: shifted, isTotal: true },
    { of: 'bit >> int4', js: (a: string, count: number) => shifted(a, -count), isTotal: true },
    {
      of: 'bit_count(bit)',
      js: (a: string) => BigInt(a.replaceAll('0', '').length),
      isTotal: true,
    },
  ],
};
