import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { CopyTextParser } from './copy-text.ts';
import { textOf } from './values.ts';

function parse(text: string, fields: number, cuts: readonly number[] = []): (string | null)[][] {
  const rows: (string | null)[][] = [];
  const parser = new CopyTextParser(fields, (bytes, starts, ends) => {
    rows.push(
      Array.from({ length: fields }, (_, field) => {
        const start = starts[field] as number;
        return start < 0 ? null : textOf(bytes, start, ends[field] as number);
      }),
    );
  });
  const bytes = Buffer.from(text);
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    const end = Math.min(bytes.length, at + cut);
    parser.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  parser.finish();
  return rows;
}

function printed(rows: readonly (readonly (string | null)[])[]): string {
  const escapes: Record<string, string> = {
    '\\': '\\\\',
    '\t': '\\t',
    '\n': '\\n',
    '\r': '\\r',
    '\b': '\\b',
    '\f': '\\f',
    '\v': '\\v',
  };
  return rows
    .map(
      (row) =>
        `${row.map((field) => (field === null ? '\\N' : field.replace(/[\\\t\n\r\b\f\v]/g, (char) => escapes[char] as string))).join('\t')}\n`,
    )
    .join('');
}

test('fields, NULL, empty text and escapes', () => {
  expect(parse('a\t\\N\t\n\\t\\n\\\\\t\\\\N\tx\n', 3)).toEqual([
    ['a', null, ''],
    ['\t\n\\', '\\N', 'x'],
  ]);
  expect(parse('\n\n', 0)).toEqual([[], []]);
  expect(parse('\n', 1)).toEqual([['']]);
});

test('rows come out the same however the data is cut', () => {
  const field = fc.option(
    fc.string({ unit: fc.constantFrom('a', '\\', '\t', '\n', 'N', 'ä', '😀', '\b', '.'), maxLength: 5 }),
  );
  const rows = fc.array(fc.array(field, { minLength: 3, maxLength: 3 }), { maxLength: 5 });
  fc.assert(
    fc.property(rows, fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 40 }), (expected, cuts) => {
      expect(parse(printed(expected), 3, cuts)).toEqual(expected);
    }),
  );
});

test('a wrong number of fields and a cut row are refused', () => {
  expect(() => parse('a\tb\n', 1)).toThrow(RangeError);
  expect(() => parse('a\n', 2)).toThrow(RangeError);
  expect(() => parse('a', 1)).toThrow(RangeError);
  expect(() => parse('x\n', 0)).toThrow(RangeError);
});
