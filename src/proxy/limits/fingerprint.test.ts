// Which statements have the same number: those that the slow log shows as the same text.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { fingerprint } from '../slow-log.ts';
import { combined, FINGERPRINT_BYTES_MAX, fingerprintOf, NO_FINGERPRINT } from './fingerprint.ts';

function of(text: string): number {
  const bytes = Buffer.from(`x${text}y`);
  return fingerprintOf(bytes, 1, bytes.length - 1);
}

describe('same', () => {
  test.each([
    ['select 1', 'SELECT   2'],
    ["select 'a'", "select 'it''s'"],
    ["select E'a\\'b'", "select E'c'"],
    ['select $$a b$$', 'select $tag$ x $$ y $tag$'],
    ['select * from t where a in (1, 2, 3)', 'select * from t where a in (4)'],
    ['select a from t -- one\nwhere b = 1', 'select a /* two /* three */ */ from t where b = 99'],
    ['select 1.5e-3, x', 'select .25, x'],
    ["insert into t values (1, 'a')", "insert into t values (22, 'bcd')"],
  ])('%s and %s', (first, second) => {
    expect(of(first)).toBe(of(second));
  });
});

describe('different', () => {
  test.each([
    ['select a', 'select b'],
    ['select a b', 'select ab'],
    ['select "A"', 'select "a"'],
    ['select $1', 'select $2'],
    ['select a, b', 'select a b'],
    ['select 1, a', 'select 1 a'],
    ['select t1', 'select t2'],
  ])('%s and %s', (first, second) => {
    expect(of(first)).not.toBe(of(second));
  });
});

const literal = fc.oneof(
  fc.nat(100_000).map(String),
  fc.string({ maxLength: 8 }).map((text) => `'${text.replaceAll("'", "''")}'`),
  fc.constant('$$x$$'),
);
const word = fc.constantFrom('select', 'from', 't1', 'where', 'a', 'in', '(', ')', ',', '=', '"Q"', '$1', '||');
const blank = fc.constantFrom(' ', '\n', '\t ', ' /* note */ ', ' -- rest\n');

test('literals and white space make no difference, wherever they stand', () => {
  const parts = fc.array(fc.oneof(word, fc.constant(null)), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(
      parts.chain((shape) => {
        const text = fc.tuple(...shape.map((part) => fc.tuple(part === null ? literal : fc.constant(part), blank)));
        return fc.tuple(text, text);
      }),
      ([first, second]) => {
        const texts = [first, second].map((pieces) => pieces.map(([piece, space]) => piece + space).join(''));
        expect(fingerprint(texts[0] as string)).toBe(fingerprint(texts[1] as string));
        expect(of(texts[0] as string)).toBe(of(texts[1] as string));
      },
    ),
  );
});

test('any bytes at all, cut anywhere', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(60), (bytes, cut) => {
      expect(fingerprintOf(bytes, 0, Math.min(cut, bytes.length))).not.toBe(NO_FINGERPRINT);
      expect(fingerprintOf(bytes, 0, bytes.length)).toBe(fingerprintOf(Uint8Array.from(bytes), 0, bytes.length));
    }),
  );
});

test('only the beginning of a long text counts', () => {
  const start = `select ${'a+'.repeat(FINGERPRINT_BYTES_MAX)}`;
  expect(of(`${start}b`)).toBe(of(`${start}c`));
});

test('statements that run as one have a number of their own, in which their order counts', () => {
  expect(combined(of('select a'), of('select b'))).not.toBe(combined(of('select b'), of('select a')));
});
