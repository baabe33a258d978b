import { expect, test } from 'bun:test';
import { crc32 } from './crc32.ts';

test('the check value of CRC-32 comes out', () => {
  expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  expect(crc32(new Uint8Array(0))).toBe(0);
});

test('a CRC in pieces equals the CRC of the whole, and Bun agrees', () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, index) => (index * 31 + 7) & 0xff);
  for (const cut of [0, 1, 7, 8, 9, 500, 999, 1000]) {
    expect(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(Bun.hash.crc32(bytes));
  }
});
