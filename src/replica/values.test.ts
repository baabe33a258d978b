import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { OID } from '../pg/oid.ts';
import { Sqlite, type SqliteValue } from './sqlite.ts';
import { codecOf, sqlLiteral } from './values.ts';

/** Text to SQLite and back, through a real column, from bytes and from text. */
function check(typeOid: number, texts: readonly string[], expected: readonly string[] = texts): SqliteValue[] {
  const codec = codecOf(typeOid);
  using sqlite = new Sqlite(':memory:', { mode: 'create' });
  sqlite.exec(`CREATE TABLE t (v ${codec.declaredType})`);
  const insert = sqlite.prepare(`INSERT INTO t VALUES (${codec.bind('?1')})`);
  for (const text of texts) {
    const padded = Buffer.from(`xx${text}yy`);
    const stored = codec.encode(padded, 2, padded.length - 2);
    expect(codec.encodeText(text)).toEqual(stored);
    insert.run([stored]);
    insert.run([codec.encodeText(text)]);
    sqlite.exec(`INSERT INTO t VALUES (${codec.bind(sqlLiteral(stored))})`);
  }
  const rows = sqlite.rows(`SELECT ${codec.read('v')}, typeof(v) FROM t ORDER BY rowid`);
  expect(rows.map((row) => codec.decode(row[0] as SqliteValue))).toEqual(
    expected.flatMap((text) => [text, text, text]),
  );
  return rows.map((row) => row[1] as SqliteValue);
}

test('whole numbers are integers, exact to 64 bits', () => {
  const types = check(OID.int8, [
    '0',
    '-1',
    '9223372036854775807',
    '-9223372036854775808',
    '9007199254740993',
    '123456789012345',
    '1234567890123456',
  ]);
  expect(new Set(types)).toEqual(new Set(['integer']));
  check(OID.int4, ['2147483647', '-2147483648']);
  check(OID.int2, ['-32768']);
  check(OID.oid, ['4294967295']);
});

test('floats are real even when whole, but for NaN; the sign of -0 stays', () => {
  const types = check(OID.float8, [
    '0',
    '-0',
    '1',
    '1e+300',
    'Infinity',
    '-Infinity',
    '0.1',
    '1e+15',
    '5e-324',
    '4294967296',
  ]);
  expect(new Set(types)).toEqual(new Set(['real']));
  expect(check(OID.float8, ['NaN'])).toEqual(['text', 'text', 'text']);
  check(OID.float4, ['0.1', '-0', '3.4028235e+38', '1e-45', '1.6777216e+07', 'NaN']);
});

test('every other type keeps its text', () => {
  check(OID.bool, ['t', 'f']);
  check(OID.text, ['', 'ä€😀', "it's"]);
  check(OID.numeric, ['1.50', 'NaN', '-Infinity', '0.000']);
  check(OID.bytea, ['\\x', '\\x00ff']);
  check(OID.date, [
    '2024-02-29',
    '0044-03-15 BC',
    '10000-01-01',
    '5874897-12-31',
    'infinity',
    '-infinity',
    '4713-01-01 BC',
  ]);
  check(OID.timestamptz, ['2024-02-29 12:00:00.5+00', '0001-01-01 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00']);
  check(OID.jsonb, ['{"a": 1}']);
  check(OID.bpchar, ['ab   ']);
});

test('stored values of ordered types sort as their texts mean', () => {
  const ordered: [number, string[]][] = [
    [OID.float8, ['-Infinity', '-1', '0', '0.5', '1', 'Infinity', 'NaN']],
    [
      OID.date,
      [
        '-infinity',
        '4713-01-01 BC',
        '0044-03-15 BC',
        '0001-12-31 BC',
        '0001-01-01',
        '9999-12-31',
        '10000-01-01',
        '5874897-12-31',
        'infinity',
      ],
    ],
    [
      OID.timestamptz,
      [
        '2024-01-01 00:00:00+00',
        '2024-01-01 00:00:00.000001+00',
        '2024-01-01 00:00:00.1+00',
        '2024-01-01 00:00:00.12+00',
        '2024-01-01 00:00:01+00',
      ],
    ],
  ];
  for (const [typeOid, texts] of ordered) {
    const codec = codecOf(typeOid);
    using sqlite = new Sqlite(':memory:', { mode: 'create' });
    sqlite.exec(`CREATE TABLE t (v ${codec.declaredType})`);
    const insert = sqlite.prepare(`INSERT INTO t VALUES (${codec.bind('?1')})`);
    for (const text of texts.toReversed()) insert.run([codec.encodeText(text)]);
    const rows = sqlite.rows(`SELECT ${codec.read('v')} FROM t ORDER BY v`);
    expect(rows.map((row) => codec.decode(row[0] as SqliteValue))).toEqual(texts);
  }
});

test('any double and any 64-bit integer comes back as it went in', () => {
  const codec = codecOf(OID.float8);
  const doubles = fc.sample(fc.double({ noNaN: true }), 500).map((value) => codec.decode(value));
  check(OID.float8, doubles);
  check(OID.int8, fc.sample(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), 500).map(String));
});
