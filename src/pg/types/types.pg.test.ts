// Every codec against a real Postgres: what it prints, what it sends in binary, what it orders.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { startPostgres, type TestPostgres } from '../../../test/harness.ts';
import { connectRaw, type RawClient } from '../../../test/pg-client.ts';
import { builtinTypeByName, builtinTypes } from '../oid.ts';
import { quoteIdentifier, quoteLiteral } from '../identifier.ts';
import { binaryFromText, textFromBinary } from './binary.ts';
import { numericKey } from './numeric-key.ts';
import { orderedTemporal, printedTemporal } from './ordered-temporal.ts';

let postgres: TestPostgres;
let client: RawClient;

beforeAll(async () => {
  postgres = await startPostgres();
  client = await connectRaw(postgres);
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

/** Both directions for each input, as the server itself prints and sends it. */
async function check(type: string, inputs: readonly string[], oid = builtinTypeByName(type)?.oid): Promise<string[]> {
  if (oid === undefined) throw new Error(`no type ${type}`);
  const sqlType = type === 'char' ? '"char"' : type;
  const send = (await client.texts(`SELECT typsend::oid::regproc FROM pg_type WHERE oid = ${oid}`))[0]?.[0] as string;
  const sql = `SELECT v, encode(${send}(v), 'hex') FROM (SELECT v::${sqlType} AS v, n FROM unnest($1::text[]) WITH ORDINALITY AS u (v, n)) AS x ORDER BY n`;
  const rows = (await client.texts(sql, [inputs])) as [string, string][];
  for (const [text, binary] of rows) {
    expect(`${text} ${binaryFromText(oid, text).toString('hex')}`).toBe(`${text} ${binary}`);
    expect(textFromBinary(oid, Buffer.from(binary, 'hex'))).toBe(text);
  }
  return rows.map(([text]) => text);
}

const SAMPLES: Readonly<Record<string, readonly string[]>> = {
  bool: ['t', 'f'],
  int2: ['0', '-32768', '32767'],
  int4: ['0', '-2147483648', '2147483647', '42'],
  int8: ['0', '-9223372036854775808', '9223372036854775807', '-1'],
  oid: ['0', '4294967295'],
  xid: ['0', '4294967295'],
  cid: ['7'],
  xid8: ['0', '18446744073709551615'],
  tid: ['(0,1)', '(4294967295,65535)'],
  float8: [
    '0',
    '-0',
    '1',
    '-1.5',
    'NaN',
    'Infinity',
    '-Infinity',
    '1e14',
    '123456789012345',
    '1e15',
    '999999999999999',
    '1234567890123456',
    '0.0001',
    '0.00001',
    '1e-5',
    '5e-324',
    '1.7976931348623157e308',
    '2.2250738585072014e-308',
    '0.1',
    '0.30000000000000004',
    '9007199254740993',
    '1e22',
    '1e23',
    '9.5367431640625e-07',
    '100000',
  ],
  float4: [
    '0',
    '-0',
    '1',
    'NaN',
    'Infinity',
    '-Infinity',
    '100000',
    '999999',
    '1e6',
    '1234567',
    '0.0001',
    '0.00001',
    '1e-45',
    '3.4028235e38',
    '1.17549435e-38',
    '0.1',
    '0.3',
    '16777216',
    '16777217',
    '1.1754942e-38',
    '8388608',
  ],
  numeric: [
    '0',
    '0.000',
    '-0.00',
    '1',
    '1.50',
    '-1.5',
    '10000',
    '9999',
    '99999999',
    '0.0001',
    '0.00001',
    '12345.678900',
    'NaN',
    'Infinity',
    '-Infinity',
    '1e100',
    '1e-100',
    '123456789012345678901234567890.123456789',
    '-10000.0001',
    `${'9'.repeat(500)}.${'1'.repeat(500)}`,
  ],
  money: ['0', '1.5', '-1234567.89', '92233720368547758.07', '-0.01', '1000', '999.99'],
  text: ['', 'a', 'ä€😀', 'tab\there', 'quote\'"\\'],
  varchar: ['', 'abc '],
  bpchar: ['abc  ', ''],
  name: ['pg_class'],
  char: ['a', '', '\\377'],
  bytea: ['\\x', '\\x00ff10', 'abc\\000\\\\'],
  uuid: ['00000000-0000-0000-0000-000000000000', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  date: [
    '2000-01-01',
    '1999-12-31',
    '1970-01-01',
    '0001-01-01',
    '0001-12-31 BC',
    '0044-03-15 BC',
    '4713-01-01 BC',
    '10000-01-01',
    '5874897-12-31',
    'infinity',
    '-infinity',
    '2024-02-29',
    '1900-02-28',
    '1600-02-29',
    '0001-02-28 BC',
  ],
  time: ['00:00:00', '23:59:59.999999', '24:00:00', '12:34:56.7', '00:00:00.000001'],
  timetz: ['00:00:00+00', '23:59:59.999999-15:59', '24:00:00+05:30', '12:34:56.7-01:02:03', '12:00:00+15:59:59'],
  timestamp: [
    '2000-01-01 00:00:00',
    '1999-12-31 23:59:59.999999',
    '0044-03-15 12:00:00 BC',
    '294276-12-31 23:59:59.999999',
    '4713-01-01 00:00:00 BC',
    '-infinity',
    'infinity',
    '2024-02-29 12:00:00.5',
    '10000-01-01 00:00:00.10',
  ],
  timestamptz: [
    '2000-01-01 00:00:00+00',
    '2024-07-01 12:00:00.123456-07',
    '0044-03-15 12:00:00+00 BC',
    'infinity',
    '-infinity',
    '294276-12-31 23:59:59.999999+00',
    '4713-01-01 00:00:00+00 BC',
    '1883-11-18 12:03:58-07:52:58',
  ],
  interval: [
    '0',
    '1 year',
    '-1 year',
    '1 mon',
    '1 year 2 mons 3 days 04:05:06.789',
    '-1 year -2 mons +3 days -04:05:06',
    '1 day -00:00:01',
    '-1 day +00:00:01',
    '100000 hours',
    '-00:00:00.000001',
    '14 mons',
    '-14 mons',
    '1 mon -1 day',
    '2147483647 mons 2147483647 days',
    '-2562047788:00:54.775807',
    '3 days',
    '1 year -1 mon',
  ],
  json: ['{"a": [1, 2]}', 'null'],
  jsonb: ['{"a": [1, 2], "b": "ä"}', '1.50'],
  jsonpath: ['$.a'],
  xml: ['<a>b</a>', 'plain'],
  inet: [
    '127.0.0.1',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '255.255.255.255/32',
    '::1',
    '::',
    'fe80::1/64',
    '2001:db8::/32',
    '::ffff:1.2.3.4',
    '::1.2.3.4',
    '1:2:3:4:5:6:7:8',
    '1::8',
    '0:0:1::',
    '1:0:0:2:0:0:0:3',
    '::2',
    '::1:2',
    '1:0:3:4:5:6:7:8',
    '2001:db8::ff00:42:8329/127',
    '::ffff:0:1',
    '0:0:0:0:0:1:2:3',
    '::fffe:1.2.3.4',
  ],
  cidr: ['10.0.0.0/8', '192.168.1.1/32', '::/0', '2001:db8::/32', '::1/128', '::ffff:1.2.3.0/120'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  varbit: ['', '1', '10101010', '101010101'],
  pg_lsn: ['0/0', '16/B374D848', 'FFFFFFFF/FFFFFFFF'],
  point: ['(1,2)', '(-0,1e300)', '(NaN,Infinity)'],
  lseg: ['[(1,2),(3,4)]'],
  box: ['(3,4),(1,2)'],
  line: ['{1,2,3}'],
  circle: ['<(1,2),3>'],
  path: ['((1,2),(3,4))', '[(1,2),(3,4.5)]'],
  polygon: ['((1,2),(3,4),(5,6))'],
  int2vector: ['1 2 3', ''],
  oidvector: ['1 2 3'],
  int4range: ['[1,10)', 'empty', '(,)', '(,5]', '[1,)'],
  int8range: ['[1,10)'],
  numrange: ['[1.50,2)', '(1,2]', '[NaN,NaN]'],
  daterange: ['[2020-01-01,2020-02-01)', '[-infinity,infinity]'],
  tsrange: ['["2020-01-01 00:00:00","2020-02-01 00:00:00")'],
  tstzrange: ['["2020-01-01 00:00:00+00",)'],
  int4multirange: ['{}', '{[1,2),[5,10)}', '{(,)}'],
  tstzmultirange: ['{["2020-01-01 00:00:00+00","2020-01-02 00:00:00+00"),["2021-01-01 00:00:00+00",)}'],
  _int4: ['{}', '{1,2,NULL}', '{{1,2},{3,4}}', '[0:1]={5,6}', '[-1:0][2:3]={{1,2},{3,4}}', '{{{{{{1}}}}}}'],
  _text: ['{}', '{a,"b c","",NULL,"NULL","null","a\\"b","c\\\\d","{x}","x,y"," s "}', '{ä,"\u00a0"}'],
  _numeric: ['{1.50,NaN,-Infinity}'],
  _box: ['{(3,4),(1,2);(7,8),(5,6)}'],
  _timestamptz: ['{"2020-01-01 00:00:00+00",infinity}'],
  _bytea: ['{"\\\\x00ff"}'],
  _bool: ['{t,f}'],
  _uuid: ['{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'],
  _inet: ['{10.0.0.1,::1/64}'],
  _jsonb: ['{"{\\"a\\": 1}"}'],
  _interval: ['{"1 day",00:00:01}'],
  _int4range: ['{"[1,2)",empty}'],
  _varchar: ['{a,b}'],
  _float8: ['{1.5,-0,1e300}'],
};

for (const [type, inputs] of Object.entries(SAMPLES)) {
  test(`${type}: text and binary are the server's`, async () => {
    await check(type, inputs);
  });
}

test('bit(n) keeps its length', async () => {
  const sql = "SELECT v, encode(bit_send(v), 'hex') FROM (VALUES (b'10101'::bit(5)), (b'1'::bit(17))) AS x (v)";
  for (const [text, binary] of (await client.texts(sql)) as [string, string][]) {
    expect(binaryFromText(1560, text).toString('hex')).toBe(binary);
  }
});

test('the type table is the server’s', async () => {
  const rows = await client.texts(
    `SELECT oid, typname, typlen, typtype, typcategory, typelem, typarray, typdelim FROM pg_type WHERE oid < 10000 AND typrelid = 0`,
  );
  const server = new Map(rows.map((row) => [Number(row[0]), row.join(' ')]));
  for (const type of builtinTypes()) {
    // Grew by four bytes in Postgres 16.
    if (type.name === 'aclitem') continue;
    const ours = [
      type.oid,
      type.name,
      type.length,
      type.kind,
      type.category,
      type.elementOid,
      type.arrayOid,
      type.delimiter,
    ];
    expect(ours.join(' ')).toBe(server.get(type.oid) ?? '');
  }
});

const RUNS = 2000;

test('float8 prints as the server does: random bit patterns, powers of two, large whole numbers', async () => {
  const any = fc.sample(fc.double(), RUNS);
  const powers = Array.from({ length: 2098 }, (_, index) => 2 ** (index - 1074));
  const large = fc.sample(fc.double({ min: 2 ** 53, max: 1e42 }), RUNS);
  const halfway = fc
    .sample(fc.tuple(fc.bigInt({ min: 1n, max: 10n ** 17n }), fc.integer({ min: 0, max: 23 })), RUNS)
    .map(([digits, exponent]) => Number(`${digits}e${exponent}`));
  await check('float8', [...any, ...powers, ...large, ...halfway].map(textOfNumber));
}, 30_000);

test('float4 prints as the server does: random bit patterns, powers of two, subnormals', async () => {
  const any = fc.sample(fc.float(), RUNS * 2);
  const powers = Array.from({ length: 277 }, (_, index) => 2 ** (index - 149));
  const subnormal = Array.from({ length: 500 }, (_, index) => (index + 1) * 2 ** -149);
  const whole = fc.sample(fc.integer({ min: 1, max: 2 ** 31 }), RUNS).map(Math.fround);
  await check('float4', [...any, ...powers, ...subnormal, ...whole].map(textOfNumber));
}, 30_000);

function textOfNumber(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

const digits = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789'.split('')), minLength: 1, maxLength: length });
const numericText = fc
  .tuple(fc.constantFrom('', '-'), digits(30), fc.option(digits(30)), fc.constantFrom('', '0000', '00000000'))
  .map(([sign, whole, part, zeros]) => `${sign}${whole}${zeros}${part === null ? '' : `.${zeros}${part}`}`);

test('numeric: random values, both forms', async () => {
  await check('numeric', fc.sample(numericText, RUNS));
}, 30_000);

test('numeric keys sort as the server does, and are equal when the numbers are', async () => {
  const near = fc.sample(fc.tuple(fc.integer({ min: -200, max: 200 }), fc.integer({ min: 0, max: 6 })), RUNS / 2);
  const values = [
    ...fc.sample(numericText, RUNS / 2),
    ...near.map(([value, scale]) => (value / 10 ** scale).toFixed(scale)),
    'NaN',
    'Infinity',
    '-Infinity',
    '0',
    '0.00',
    '1',
    '1.0',
    '10',
    '100',
    '1000',
    '0.1',
    '0.01',
    '0.001',
    '99',
    '9.9',
    '1e1000',
    '-1e1000',
    '1e-1000',
    '-1e-1000',
    '0.99',
    '-0.99',
    '-1',
    '-10',
    '-100',
    '-99',
    '-9.9',
  ];
  const rows = await client.texts(
    'SELECT v::numeric::text, dense_rank() OVER (ORDER BY v::numeric) FROM unnest($1::text[]) AS v ORDER BY 2',
    [values],
  );
  for (let index = 1; index < rows.length; index += 1) {
    const [before, after] = [rows[index - 1], rows[index]] as [string[], string[]];
    const order = Buffer.compare(numericKey(before[0] as string), numericKey(after[0] as string));
    expect(`${before[0]} ${after[0]} ${order}`).toBe(`${before[0]} ${after[0]} ${before[1] === after[1] ? 0 : -1}`);
  }
}, 30_000);

test('stored dates and timestamps sort as the server does and print back', async () => {
  const days = fc.sample(fc.integer({ min: -2_451_507, max: 2_145_031_948 }), RUNS / 2);
  const common = fc.sample(fc.integer({ min: -800_000, max: 4_000_000 }), RUNS / 2);
  for (const type of ['date', 'timestamp', 'timestamptz']) {
    const inRange = type === 'date' ? days : days.map((day) => day % 106_700_000);
    const rows = await client.texts(
      type === 'date'
        ? `SELECT v, row_number() OVER (ORDER BY v) FROM (SELECT '2000-01-01'::date + d AS v FROM unnest($1::int[]) AS d UNION SELECT unnest('{infinity,-infinity}'::date[])) AS x ORDER BY 2`
        : `SELECT v, row_number() OVER (ORDER BY v) FROM (SELECT '2000-01-01'::${type} + d * interval '1 day' + (d % 1000) * interval '86 seconds 12345 microseconds' AS v FROM unnest($1::int[]) AS d UNION SELECT unnest('{infinity,-infinity}'::${type}[])) AS x ORDER BY 2`,
      [[...inRange.map((day) => Math.max(day, -2_400_000)), ...common]],
    );
    const stored = rows.map((row) => orderedTemporal(row[0] as string));
    for (let index = 0; index < stored.length; index += 1) {
      expect(printedTemporal(stored[index] as string)).toBe(rows[index]?.[0] as string);
      if (index > 0)
        expect(
          `${stored[index - 1]} < ${stored[index]}: ${(stored[index - 1] as string) < (stored[index] as string)}`,
        ).toEndWith('true');
    }
  }
}, 30_000);

test('dates, timestamps and intervals: random values, both forms', async () => {
  const micro = fc.bigInt({ min: -211_810_000_000_000_000n, max: 9_223_371_331_199_999_999n });
  const moments = fc.sample(micro, RUNS / 2).map((value) => `2000-01-01 UTC ${value}`);
  const rows = await client.texts(
    `SELECT v::text FROM (SELECT '2000-01-01'::timestamptz + split_part(m, ' ', 3)::bigint / 1000000 * interval '1 second' + split_part(m, ' ', 3)::bigint % 1000000 * interval '1 microsecond' AS v FROM unnest($1::text[]) AS m) AS x`,
    [moments],
  );
  await check('timestamptz', rows.flat() as string[]);
  const small = fc.integer({ min: -20_000, max: 20_000 });
  const intervals = fc
    .sample(fc.tuple(small, small, fc.bigInt({ min: -(10n ** 13n), max: 10n ** 13n })), RUNS)
    .map(([months, days, us]) => `${months} mons ${days} days ${us} microseconds`);
  await check('interval', intervals);
}, 30_000);

test('inet and arrays of text: random values, both forms', async () => {
  const group = fc.constantFrom('0', '0', '0', '1', 'ff', 'ffff', 'abcd');
  const addresses = fc.sample(fc.array(group, { minLength: 8, maxLength: 8 }), RUNS).map((groups) => groups.join(':'));
  await check('inet', addresses);
  await check('cidr', addresses);
  const element = fc.option(fc.string({ unit: fc.constantFrom(...'aNUL "\\{},\t\n\u00a0ä€'.split('')), maxLength: 6 }));
  const arrays = fc
    .sample(fc.array(element, { maxLength: 5 }), RUNS)
    .map(
      (list) => `{${list.map((text) => (text === null ? 'NULL' : `"${text.replace(/["\\]/g, '\\$&')}"`)).join(',')}}`,
    );
  await check('_text', arrays);
}, 30_000);

test('identifiers and literals are quoted as the server quotes them', async () => {
  const names = [
    ...'a A _x x1 1x select user name value table order date "q" ä a$b a.b json_table merge_action'.split(' '),
    ...fc.sample(fc.string({ minLength: 1, maxLength: 12 }), 500),
  ].filter((name) => !name.includes('\u0000') && name.isWellFormed());
  const rows = await client.texts('SELECT n, quote_ident(n), quote_literal(n) FROM unnest($1::text[]) AS n', [names]);
  const version = Number((await client.texts('SHOW server_version_num'))[0]?.[0]);
  for (const [name, identifier, literal] of rows as [string, string, string][]) {
    // The list of keywords is that of Postgres 18.
    if (version >= 180000 || identifier !== name) expect(quoteIdentifier(name)).toBe(identifier);
    expect(quoteLiteral(name)).toBe(literal);
  }
});
