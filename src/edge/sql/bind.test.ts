import { expect, test } from 'bun:test';
import { catalogueImage } from '../../../test/replica-images.ts';
import { OID } from '../../pg/oid.ts';
import { binaryFromText } from '../../pg/types/binary.ts';
import { Catalogue } from '../../replica/catalogue.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import { ARRAY_COUNT_MAX, bindPlan, writeText } from './bind.ts';
import type { LocalPlan, Writer } from './plan.ts';

const MOOD = 90_000;
const type = { schema: 'public', arrayOid: 0, elementOid: 0, baseOid: 0, typmod: -1, enumLabels: [] };
const catalogue = new Catalogue(
  catalogueImage(
    [],
    [
      { ...type, oid: MOOD, name: 'mood', kind: 'e', category: 'E', arrayOid: 90_001, enumLabels: ['sad', 'happy'] },
      { ...type, oid: 90_001, name: '_mood', kind: 'b', category: 'A', elementOid: MOOD },
    ],
  ),
);

function check(writer: Writer, text: string, expected: SqliteValue | undefined, typeOid: number = OID.text): void {
  const value = writeText(writer, typeOid, text, catalogue);
  expect(value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value).toEqual(expected as never);
}

test('integers are read within their range, and nothing but digits', () => {
  check('int2', '32767', 32767);
  check('int2', '32768', undefined);
  check('int4', '-2147483648', -2147483648);
  check('int4', '2147483648', undefined);
  check('int4', '007', 7);
  check('int4', '+5', 5);
  check('int4', '-0', 0);
  check('int8', '9007199254740993', 9007199254740993n);
  check('int8', '9223372036854775808', undefined);
  check('oid', '4294967295', 4294967295);
  check('oid', '-1', undefined);
  for (const text of ['', ' ', '1.0', '1e3', '0x1', '1_000', 'abc', '--1', '１']) check('int4', text, undefined);
});

test('booleans are the spellings that every Postgres reads', () => {
  for (const text of ['t', 'TRUE', 'yes', 'on', '1']) check('bool', text, 1);
  for (const text of ['f', 'False', 'no', 'off', '0']) check('bool', text, 0);
  for (const text of ['', 'tru e', '2', 'null']) check('bool', text, undefined);
});

test('floats that Postgres would refuse are not bound', () => {
  check('float8', '1e308', 1e308);
  check('float8', 'nan', 'NaN');
  check('float8', '-Infinity', Number.NEGATIVE_INFINITY);
  check('float8', '0e-999', 0);
  check('float4', '0.1', Math.fround(0.1));
  for (const text of ['1e309', '1e-400', '', '.', 'e5', '0x10', ' 1', '1,5']) check('float8', text, undefined);
  check('float4', '1e39', undefined);
  // Between two float4: rounding once and twice may differ.
  check('float4', '16777217', undefined);
});

test('numerics become the text that Postgres prints', () => {
  check('numeric-text', '007.50', '7.50');
  check('numeric-text', '.5', '0.5');
  check('numeric-text', '5.', '5');
  check('numeric-text', '-0.00', '0.00');
  check('numeric-text', '1e3', '1000');
  check('numeric-text', '1.25e1', '12.5');
  check('numeric-text', '1.5e-3', '0.0015');
  check('numeric-text', 'nan', 'NaN');
  for (const text of ['', '.', '1e', '1e999', '1 ', '1_0']) check('numeric-text', text, undefined);
});

test('dates and times are ISO and exist', () => {
  check('date', '2024-02-29', '2024-02-29');
  check('date', 'infinity', 'infinity');
  for (const text of ['2023-02-29', '2024-2-9', '0000-01-01', '01.02.2024', 'today', '2024-02-29 00:00'])
    check('date', text, undefined);
  check('time', '12:30', '12:30:00');
  check('time', '12:30:00.500', '12:30:00.5');
  for (const text of ['24:00', '12:60', '1:00', '12:30:00.1234567', 'now']) check('time', text, undefined);
  check('timestamp', '2024-02-29T12:30:00.000', '2024-02-29 12:30:00');
  check('timestamp', '2024-02-29', '2024-02-29 00:00:00');
  check('timestamp', '2024-02-29 12:30:00Z', undefined);
  check('timestamptz', '2024-02-29 12:30:00.5+05:30', '2024-02-29 07:00:00.5+00');
  check('timestamptz', '2024-01-01 00:00:00-0800', '2024-01-01 08:00:00+00');
  check('timestamptz', '2024-01-01T00:00:00.000Z', '2024-01-01 00:00:00+00');
  check('timestamptz', '2024-01-01', '2024-01-01 00:00:00+00');
  check('timestamptz', '2024-01-01 10:00', '2024-01-01 10:00:00+00');
  for (const text of [
    '2024-01-01 00:00:00 Europe/Berlin',
    '2024-01-01 00:00:00+25',
    '0001-01-01 00:00:00+01',
    '2024-01',
  ]) {
    check('timestamptz', text, undefined);
  }
});

test('other scalars keep to one form', () => {
  check('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
  check('uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', undefined);
  check('bytea', '\\xDEAD', 'dead');
  check('bytea', 'plain', '706c61696e');
  check('bytea', '\\x123', undefined);
  check('bytea', '\\001', undefined);
  check('enum', 'sad', 'sad', MOOD);
  check('enum', 'angry', undefined, MOOD);
  check('bpchar', 'ab  ', 'ab');
  check('name', 'x'.repeat(63), 'x'.repeat(63));
  check('name', 'x'.repeat(64), undefined);
  check('text', 'a\u0000b', undefined);
  check('limit', '-1', undefined);
  check('limit', '5', 5);
});

test('LIKE patterns become GLOB patterns of the same meaning', () => {
  check('like', 'a%b_c', 'a*b?c');
  check('like', '100\\%', '100%');
  check('like', '[*?]', '[[][*][?]]');
  check('like', '\\\\x\\y', '\\xy');
  check('like', 'end\\', undefined);
});

test('arrays of one dimension become JSON', () => {
  check('array', '{1,NULL,3}', '[1,null,3]', OID.int4Array);
  check('array', '{9007199254740993}', '[9007199254740993]', OID.int8Array);
  check('array', '{}', '[]', OID.int4Array);
  check('array', '{a, "b \\"c\\"" ,"NULL",null}', '["a","b \\"c\\"","NULL",null]', OID.textArray);
  check('array', '{sad,happy}', '["sad","happy"]', 90_001);
  for (const text of ['1,2', '{1', '{1,,2}', '{{1},{2}}', '[0:1]={1,2}', '{1,a}', '{1}x'])
    check('array', text, undefined, OID.int4Array);
  check('array', `{${Array.from({ length: ARRAY_COUNT_MAX + 1 }, () => '1').join()}}`, undefined, OID.int4Array);
  check('array', '{1.0}', undefined, OID.numericArray);
});

function bound(typeOid: number, writer: Writer, bytes: Uint8Array | null): SqliteValue | null {
  const plan = { bindings: [{ from: 'parameter', index: 0, writer, typeOid }] } as unknown as LocalPlan;
  const values = bindPlan(plan, { parameters: [bytes], format: () => 1, literals: [], session: () => null }, catalogue);
  return values === null ? 'forward' : (values[0] as SqliteValue);
}

test('binary parameters mean what their texts mean', () => {
  const cases: readonly (readonly [number, Writer, string, string?])[] = [
    [OID.int2, 'int2', '-7'],
    [OID.int4, 'int4', '123456'],
    [OID.int8, 'int8', '-9223372036854775808'],
    [OID.oid, 'oid', '4294967295'],
    [OID.bool, 'bool', 't'],
    [OID.float8, 'float8', '0.1'],
    [OID.float4, 'float4', '0.1'],
    [OID.float8, 'float8', 'NaN'],
    [OID.text, 'text', 'é😀'],
    [OID.varchar, 'text', ''],
    [OID.bytea, 'bytea', '\\x00ff'],
    [OID.uuid, 'uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
    [OID.date, 'date', '2024-02-29'],
    [OID.date, 'date', 'infinity'],
    [OID.date, 'date', '1999-12-31'],
    [OID.timestamp, 'timestamp', '2024-02-29 12:34:56.789'],
    [OID.timestamptz, 'timestamptz', '1969-12-31 23:59:59.999999+00'],
    [OID.timestamptz, 'timestamptz', '-infinity'],
    [OID.time, 'time', '12:34:56.000001'],
    [OID.numeric, 'numeric-text', '-1234567.8900'],
    [OID.numeric, 'numeric-text', '0.0001'],
    [OID.numeric, 'numeric-text', '100000000'],
    [OID.numeric, 'numeric-text', 'NaN'],
    [OID.int4Array, 'array', '{1,NULL,-3}'],
    [OID.textArray, 'array', '{a,"b\\"c",""}'],
    [OID.int8Array, 'array', '{}'],
  ];
  for (const [typeOid, writer, text] of cases) {
    expect([typeOid, bound(typeOid, writer, binaryFromText(typeOid, text))]).toEqual([
      typeOid,
      writeText(writer, typeOid, text, catalogue) as never,
    ]);
  }
  expect(bound(OID.int4, 'int4', Uint8Array.of(1, 2))).toBe('forward');
  expect(bound(OID.text, 'text', Uint8Array.of(0xff))).toBe('forward');
  expect(bound(OID.date, 'date', binaryFromText(OID.date, '0044-03-15 BC'))).toBe('forward');
});

test('NULL is NULL, an absent limit, or a list that answers NULL', () => {
  expect(bound(OID.int4, 'int4', null)).toBeNull();
  expect(bound(OID.int8, 'limit', null)).toBe(-1);
  expect(bound(OID.int8, 'offset', null)).toBe(0);
  expect(bound(OID.int4Array, 'array', null)).toBe('[null]');
});
