// Values of every type that people store, through an edge and from the core: the same bytes, as text and in binary.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { RawPeer } from '../../test/raw-peer.ts';
import { bind, describePortal, execute, parse, sync } from '../../test/wire-frames.ts';

/** Column type → values, as SQL. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  int2: ['-32768', '0', '32767'],
  int4: ['-2147483648', '42', '2147483647'],
  int8: ['-9223372036854775808', '9007199254740993', '9223372036854775807'],
  numeric: [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    '0',
    '0.000',
    '-1234567890123456789.00000000012345',
    '1e40',
    '0.0001',
  ],
  'numeric(10,2)': ['1.5', '-99999999.99'],
  float4: ["'NaN'", "'-Infinity'", '0.1', '-0', '1e-40', '3.4028235e38', '16777217'],
  float8: ["'NaN'", "'Infinity'", '0.1', '-0', '5e-324', '1.7976931348623157e308', '1e21', '123456789012345680'],
  bool: ['true', 'false'],
  text: ["''", "'plain'", "'ünï©ödé ☃ 𝄞'", "E'line\\nbreak\\ttab'", "repeat('x', 3000)"],
  'varchar(10)': ["'ab'", "'0123456789'"],
  'char(5)': ["'ab'", "''"],
  name: ["'a_name'"],
  '"char"': ["'x'"],
  bytea: ["''", "'\\x00ff10'", "decode(repeat('ab', 2000), 'hex')"],
  uuid: ["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
  date: ["'2024-02-29'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'", "'0001-01-01'"],
  time: ["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"],
  timetz: ["'12:34:56.789+05:30'", "'00:00:00-08'"],
  timestamp: ["'2024-02-29 12:34:56.123456'", "'infinity'", "'0044-03-15 01:02:03 BC'", "'294276-12-31 23:59:59'"],
  timestamptz: [
    "'2024-02-29 12:34:56.1+02'",
    "'-infinity'",
    "'0044-03-15 01:02:03+00 BC'",
    "'1969-12-31 23:59:59.999999+00'",
  ],
  'timestamp(3)': ["'2024-02-29 12:34:56.1239'"],
  interval: ["'1 year 2 mons -3 days 04:05:06.7'", "'-1 day +2 hours'", "'0'", "'178000000 years'"],
  json: ['\'{"a":  [1, null]}\''],
  jsonb: ['\'{"b": 1, "a": [true, "x"]}\'', "'null'"],
  inet: ["'192.168.0.1'", "'10.0.0.0/8'", "'2001:db8::1/64'", "'::ffff:1.2.3.4'"],
  cidr: ["'10.0.0.0/8'", "'2001:db8::/32'"],
  macaddr: ["'08:00:2b:01:02:03'"],
  macaddr8: ["'08:00:2b:01:02:03:04:05'"],
  'bit(5)': ["B'10101'"],
  varbit: ["B''", "B'101010101'"],
  money: ["'-1234.56'"],
  oid: ['4294967295'],
  pg_lsn: ["'16/B374D848'"],
  xml: ["'<a>b</a>'"],
  point: ["'(1.5,-2)'"],
  tsvector: ["'a:1A b:2'"],
  int4range: ["'[1,10)'", "'empty'", "'(,5)'"],
  'int4[]': ["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[2:3]={7,8}'"],
  'text[]': ["ARRAY['a', NULL, 'NULL', '', 'quo\"te', 'back\\slash', 'com,ma', '{brace}', ' sp ']"],
  'numeric[]': ["'{1.50,NaN}'"],
  'timestamptz[]': ['\'{"2024-01-01 00:00:00+00",infinity}\''],
  mood: ["'sad'", "'with space'"],
  'mood[]': ['\'{sad,"with space"}\''],
  small: ['7'],
  pair: ["ROW(1, 'x y')"],
};

let postgres: TestPostgres;
let edge: TestEdge;
const tables: { readonly type: string; readonly name: string; readonly rows: number }[] = [];

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TYPE mood AS ENUM ('sad', 'with space'); CREATE DOMAIN small AS int CHECK (VALUE < 10); CREATE TYPE pair AS (a int, b text);
    ALTER DATABASE postgres SET timezone = 'UTC'`);
  for (const [type, values] of Object.entries(VALUES)) {
    const name = `t${tables.length}`;
    const rows = [...values, 'NULL'];
    const inserts = rows.map((value, index) => `INSERT INTO ${name} VALUES (${index}, ${value})`);
    await postgres.sql(`CREATE TABLE ${name} (id int PRIMARY KEY, v ${type}); ${inserts.join('; ')}`);
    tables.push({ type, name, rows: rows.length });
  }
  edge = await startTestEdge(postgres);
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

async function answer(port: number, batches: readonly Uint8Array[], readies: number): Promise<string[]> {
  using peer = await RawPeer.login(port, { user: 'postgres', database: 'postgres' });
  const before = peer.frames().length;
  for (const bytes of batches) peer.send(bytes);
  const fresh = () => peer.frames().slice(before);
  await waitFor('all answers', () => fresh().filter((frame) => frame.type === 'Z').length === readies, 3000);
  return fresh().map(({ type, body }) => `${type} ${body.toString('latin1')}`);
}

test.each(Object.keys(VALUES))('%s', async (type) => {
  const table = tables.find((each) => each.type === type) as (typeof tables)[0];
  const batches: Uint8Array[] = [];
  for (const format of [0, 1]) {
    for (let id = 0; id < table.rows; id += 1) {
      batches.push(
        parse('', `SELECT v FROM ${table.name} WHERE id = $1`),
        bind('', '', [String(id)], [], [format]),
        describePortal(''),
        execute(''),
        sync(),
      );
    }
  }
  const before = { ...edge.edge.answered };
  const here = await answer(edge.port, batches, table.rows * 2);
  expect(here).toEqual(await answer(postgres.port, batches, table.rows * 2));
  const local = edge.edge.answered.local - before.local;
  const forwarded = edge.edge.answered.forwarded - before.forwarded;
  // As text everything is answered here; in binary what has a form that we speak.
  expect(local + forwarded).toBe(table.rows * 2);
  expect(local).toBeGreaterThanOrEqual(table.rows);
});
