import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { formatLsn, formatPosition, parseLsn, sameEpoch } from './lsn.ts';

test('INVARIANT_I1: an LSN survives printing and reading over all 64 bits', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (lsn) => {
      expect(parseLsn(formatLsn(lsn))).toBe(lsn);
    }),
  );
});

test('LSNs print as Postgres prints them', () => {
  expect(formatLsn(0x16b374d848n)).toBe('16/B374D848');
  expect(formatLsn(0n)).toBe('0/0');
});

test('texts that are no LSN are refused with 22P02', () => {
  for (const text of ['', '0', '0/', '/0', '0/123456789', 'g/0', '0/0 ', '-1/0']) {
    expect(() => parseLsn(text)).toThrow(/invalid LSN/);
  }
});

test('INVARIANT_I1: equal LSNs of different epochs are different positions', () => {
  const epoch = { systemId: '7', timeline: 1 };
  expect(sameEpoch(epoch, { ...epoch })).toBe(true);
  expect(sameEpoch(epoch, { ...epoch, timeline: 2 })).toBe(false);
  expect(sameEpoch(epoch, { ...epoch, systemId: '8' })).toBe(false);
  expect(formatPosition({ epoch, lsn: 16n })).toBe('7/1 @ 0/10');
});
