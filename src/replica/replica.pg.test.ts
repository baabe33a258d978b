// Replicas against a real core: pgoutput as it decodes it, COPY as it prints it, rows and checksums as it has them.

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { TestCore } from '../../test/replica-core.ts';
import { ReplicaWriter } from './writer.ts';

let core: TestCore;
let folder: string;
const writers: ReplicaWriter[] = [];

beforeEach(async () => {
  core = await TestCore.start();
  folder = mkdtempSync(join(tmpdir(), 'skerry-replica-'));
});

afterEach(async () => {
  for (const writer of writers.splice(0)) writer.close();
  rmSync(folder, { recursive: true, force: true });
  await core[Symbol.asyncDispose]();
});

/** A replica of the core as it is, and the stream from there. */
async function replica(): Promise<{ writer: ReplicaWriter; path: string }> {
  const path = join(folder, 'replica.db');
  await core.load(path, await core.createSlot());
  const writer = ReplicaWriter.open(path, { synchronous: 'off' });
  writers.push(writer);
  return { writer, path };
}

const ALL_TYPES = `
  CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"');
  CREATE DOMAIN positive AS int CHECK (value > 0);
  CREATE DOMAIN label AS varchar(20);
  CREATE DOMAIN nested AS positive;
  CREATE TYPE pair AS (a int, b text);
  CREATE TABLE everything (
    id int PRIMARY KEY, i2 int2, i8 int8, o oid, f4 float4, f8 float8, n numeric, n2 numeric(10,2), b bool, t text, v varchar(10),
    c char(5), nm name, ch "char", by bytea, u uuid, d date, ti time, tt timetz, ts timestamp, tz timestamptz, iv interval,
    j json, jb jsonb, ip inet, ci cidr, m macaddr, m8 macaddr8, bi bit(5), vb varbit, mo money, x xml, l pg_lsn, e mood,
    p positive, la label, ne nested, pa pair, r int4range, tr tstzrange, mr nummultirange, ai int[], at text[], af float8[],
    an numeric[], atz timestamptz[], ae mood[], ap pair[], ac char(3)[], ab bool[], pt point, bo box, tv tsvector, tq tsquery, lt tid, xi xid8,
    am int[][], ad positive[])`;

const ROWS = [
  `(1)`,
  `(2, -32768, 9223372036854775807, 4294967295, 'NaN', 'NaN', 'NaN', 1.50, true, '', '', '', 'name', 'a', '\\x00ff', '00000000-0000-0000-0000-000000000000', 'infinity', '24:00:00', '24:00:00+15:59', 'infinity', '-infinity', '-1 year +3 days -04:05:06.789')`,
  `(3, 32767, -9223372036854775808, 0, '-Infinity', '-0', 'Infinity', -0.00, false, E'tab\\tnew\\nline\\\\back\\rx\\bb\\fF\\vv', 'ä€😀', 'ab', '', '', '', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '0044-03-15 BC', '00:00', '12:00:00.5-01:02:03', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00 BC', '0')`,
  `(4, 0, 9007199254740993, 1, '0.1', '0.1', '-Infinity', 12345678.90, NULL, '\\N', '\\.', 'abcde', 'x', '\\377', '\\x5c78', NULL, '10000-01-01', '23:59:59.999999', '00:00:00-08', '294276-12-31 23:59:59.999999', '10000-01-01 00:00:00.1', '1 mon')`,
  `(5, 1, 1, 1, '1e-45', '5e-324', '123456789012345678901234567890.1234567890', 0, true, repeat('x', 5000), 'N;', '  x', 'y', 'z', decode(repeat('00', 3000), 'hex'), NULL, '0001-01-01', '12:00', '12:00+00', '2024-02-29 12:00:00.100', '2024-02-29 12:00:00.100+02', '10 years')`,
];

const REST = `UPDATE everything SET j = '{"a":  1}', jb = '{"b": [1.50, null]}', ip = '10.0.0.1/8', ci = '10.0.0.0/8', m = '08:00:2b:01:02:03',
    m8 = '08:00:2b:01:02:03:04:05', bi = b'10101', vb = b'1', mo = -1234.56, x = '<a>b</a>', l = '16/B374D848', e = 'it''s "fine"', p = 5,
    la = 'label ', ne = 7, pa = (1, 'a"b, c'), r = '[1,5)', tr = '[2020-01-01 00:00+00,)', mr = '{[1.50,2),(3,)}', ai = '[0:2]={1,NULL,3}', at = '{"",NULL,"NULL","a b","q\\"uote",\\\\}',
    af = '{1e300,-0,NaN}', an = '{1.500,NaN}', atz = '{infinity,2020-01-01}', ae = '{sad,"it''s \\"fine\\""}', ap = ARRAY[(1,'x')::pair], ac = '{a,bc}', ab = '{t,f}',
    pt = '(1.5,-0)', bo = '((1,2),(3,4))', tv = 'a:1 b:2,3A', tq = 'a & b', lt = '(1,2)', xi = '18446744073709551615', am = '{{1,2},{3,4}}', ad = '{1,2}' WHERE id % 2 = 0`;

async function fillAllTypes(): Promise<void> {
  for (const row of ROWS) {
    const columns =
      row === '(1)' ? 'id' : 'id, i2, i8, o, f4, f8, n, n2, b, t, v, c, nm, ch, by, u, d, ti, tt, ts, tz, iv';
    await core.client.texts(`INSERT INTO everything (${columns}) VALUES ${row}`);
  }
  await core.client.texts(REST);
}

test('every type comes through COPY as the core prints it, and the checksum agrees', async () => {
  await core.client.texts(ALL_TYPES);
  await fillAllTypes();
  const { path } = await replica();
  await core.expectEqual(path);
}, 30_000);

test('every type comes through the stream as the core prints it, and the checksum agrees', async () => {
  await core.client.texts(ALL_TYPES);
  const { writer, path } = await replica();
  await fillAllTypes();
  await core.drain(writer);
  await core.expectEqual(path);
  await core.client.texts(`UPDATE everything SET id = id + 100, t = NULL WHERE id IN (2, 5)`);
  await core.client.texts('DELETE FROM everything WHERE id = 3');
  await core.drain(writer);
  await core.expectEqual(path);
}, 30_000);

test('unchanged TOAST values and TOASTed keys survive updates of other columns', async () => {
  await core.client.texts(`
    CREATE TABLE big (k text PRIMARY KEY, body text, n int);
    ALTER TABLE big ALTER COLUMN k SET STORAGE EXTERNAL, ALTER COLUMN body SET STORAGE EXTERNAL;
    INSERT INTO big SELECT repeat(g::text, 2200), repeat('b' || g, 9000), g FROM generate_series(1, 3) AS g`);
  const { writer, path } = await replica();
  await core.client.texts('UPDATE big SET n = n + 1');
  await core.client.texts("UPDATE big SET k = k || 'x' WHERE n = 2");
  await core.client.texts("UPDATE big SET body = 'short' WHERE n = 3");
  await core.client.texts('BEGIN; UPDATE big SET n = 9 WHERE n = 4; DELETE FROM big WHERE n = 9; COMMIT');
  await core.drain(writer);
  await core.expectEqual(path);
}, 30_000);

test('schema changes of every kind keep the replica equal to the core', async () => {
  await core.client.texts(`CREATE TYPE mood AS ENUM ('a', 'b'); CREATE SCHEMA other;
    CREATE TABLE t (id int PRIMARY KEY, a text, b numeric, at timestamp); CREATE INDEX ON t (a); CREATE INDEX ON t (b);
    INSERT INTO t SELECT g, 'x' || g, g * 1.50, now() FROM generate_series(1, 10) AS g`);
  const { writer, path } = await replica();
  const step = async (sql: string, rewritten: readonly string[] = []): Promise<void> => {
    await core.ddl(sql, rewritten);
    await core.client.texts('UPDATE t SET id = id + 1 WHERE id = (SELECT max(id) FROM t)').catch(() => []);
    await core.drain(writer);
    await core.expectEqual(path);
  };
  await step(
    "ALTER TABLE t ADD COLUMN c text DEFAULT 'old', ADD COLUMN d numeric DEFAULT 1.50, ADD COLUMN f float8 DEFAULT 2",
  );
  await step("ALTER TABLE t ADD COLUMN z float4 DEFAULT '-0', ADD COLUMN w timestamptz DEFAULT '0044-03-15 BC'");
  await step('ALTER TABLE t RENAME COLUMN b TO bb');
  await step('ALTER TABLE t DROP COLUMN a');
  await step('ALTER TABLE t ADD COLUMN a int[]');
  await step('ALTER TABLE t RENAME TO "T.x"; ALTER TABLE "T.x" RENAME TO t');
  await step('ALTER TABLE t RENAME TO "Weird ""Name"');
  await step('ALTER TABLE "Weird ""Name" SET SCHEMA other');
  await step('ALTER TABLE other."Weird ""Name" SET SCHEMA public; ALTER TABLE "Weird ""Name" RENAME TO t');
  await step('ALTER TABLE t ALTER COLUMN bb TYPE text', ['t']);
  await step('ALTER TABLE t ALTER COLUMN at TYPE timestamptz');
  await step('ALTER TABLE t ALTER COLUMN id TYPE bigint', ['t']);
  await step('ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t REPLICA IDENTITY FULL');
  await step('ALTER TABLE t ADD PRIMARY KEY (id); ALTER TABLE t REPLICA IDENTITY DEFAULT');
  await step("ALTER TYPE mood ADD VALUE 'between' AFTER 'a'");
  await step("ALTER TABLE t ADD COLUMN m mood DEFAULT 'b'");
  await step('CREATE TABLE made (k int, v text); ALTER TABLE made REPLICA IDENTITY FULL');
  await core.client.texts(
    "INSERT INTO made SELECT g, 'v' || g FROM generate_series(1, 5) AS g; UPDATE made SET v = v || v",
  );
  await step('CREATE TABLE a (id int PRIMARY KEY)');
  await core.client.texts('INSERT INTO a VALUES (1)');
  await step('ALTER TABLE a RENAME TO b; CREATE TABLE a (id text PRIMARY KEY)');
  await step('DROP TABLE b; DROP TABLE made');
  await step('ALTER TABLE t DROP COLUMN id');
}, 60_000);

test('a type that is wider without a rewrite keeps its rows', async () => {
  await core.client.texts(`CREATE TABLE t (id int PRIMARY KEY, v varchar(5), n numeric(5,2), c cidr, e bit varying(4));
    INSERT INTO t VALUES (1, 'abc', 1.50, '10.0.0.0/8', b'101'), (2, 'd', NULL, '10.1.2.3/32', NULL), (3, NULL, 0, '::1/128', b'')`);
  const { writer, path } = await replica();
  await core.ddl(
    'ALTER TABLE t ALTER v TYPE text, ALTER n TYPE numeric(10,2), ALTER c TYPE inet, ALTER e TYPE bit varying(9)',
  );
  await core.drain(writer);
  await core.expectEqual(path);
}, 30_000);

/** Tables of every kind of identity; `v` values are chosen to collide and to be awkward. */
const FUZZ_TABLES = `
  CREATE TABLE keyed (id int PRIMARY KEY, v text, n numeric, f float8);
  CREATE TABLE texted (k text, k2 int, v text, PRIMARY KEY (k, k2));
  CREATE TABLE indexed (id int NOT NULL, v text, n numeric); CREATE UNIQUE INDEX indexed_i ON indexed (id) INCLUDE (v);
  ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_i;
  CREATE TABLE whole (id int, v text, n numeric, f float8); ALTER TABLE whole REPLICA IDENTITY FULL;
  CREATE TABLE wholekeyed (id int PRIMARY KEY, v text, n numeric); ALTER TABLE wholekeyed REPLICA IDENTITY FULL;
  CREATE TABLE wide (id numeric PRIMARY KEY, v text, toast text); ALTER TABLE wide ALTER toast SET STORAGE EXTERNAL;
  CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text); ALTER TABLE deferred REPLICA IDENTITY FULL;
  CREATE TABLE nothing (id int, v text); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
  CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
  CREATE TABLE parted1 PARTITION OF parted FOR VALUES FROM (0) TO (5);
  CREATE TABLE parted2 PARTITION OF parted FOR VALUES FROM (5) TO (1000);`;

const id = fc.integer({ min: 0, max: 9 });
const text = fc.constantFrom("''", "'a'", "'B'", "'ä😀'", 'NULL', "E'\\t\\n'", "repeat('z', 100)");
const numeric = fc.constantFrom('1', '1.0', '1.00', "'NaN'", '-5.5', 'NULL', '0', '-0.0', '1e30');
const float = fc.constantFrom("'0'", "'-0'", "'NaN'", '0.1', 'NULL', "'Infinity'", '1e-5');
const statement = fc.oneof(
  fc
    .tuple(id, text, numeric, float)
    .map(
      ([i, v, n, f]) =>
        `INSERT INTO keyed VALUES (${i}, ${v}, ${n}, ${f}) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, f = EXCLUDED.f`,
    ),
  fc.tuple(id, id, numeric).map(([i, j, n]) => `UPDATE keyed SET id = id + 10 * ${i + 1}, n = ${n} WHERE id = ${j}`),
  fc.tuple(id, id).map(([i, j]) => `DELETE FROM keyed WHERE id BETWEEN ${i} AND ${j}`),
  fc
    .tuple(id, text, text)
    .map(([i, k, v]) => `INSERT INTO texted VALUES (coalesce(${k}, 'k'), ${i}, ${v}) ON CONFLICT DO NOTHING`),
  fc.tuple(id, text).map(([i, k]) => `UPDATE texted SET k = k || coalesce(${k}, ''), v = k WHERE k2 = ${i}`),
  fc
    .tuple(id, text, numeric)
    .map(
      ([i, v, n]) =>
        `INSERT INTO indexed VALUES (${i}, ${v}, ${n}) ON CONFLICT (id) DO UPDATE SET id = indexed.id + 50 WHERE indexed.id < 200`,
    ),
  id.map((i) => `DELETE FROM indexed WHERE id % 10 = ${i}`),
  fc
    .tuple(id, text, numeric, float)
    .map(([i, v, n, f]) => `INSERT INTO whole SELECT ${i}, ${v}, ${n}, ${f} FROM generate_series(1, 3)`),
  fc
    .tuple(id, text, float)
    .map(
      ([i, v, f]) => `UPDATE whole SET v = ${v}, f = ${f} WHERE ctid = (SELECT max(ctid) FROM whole WHERE id = ${i})`,
    ),
  id.map((i) => `DELETE FROM whole WHERE ctid = (SELECT min(ctid) FROM whole WHERE id = ${i})`),
  fc
    .tuple(id, text, numeric)
    .map(
      ([i, v, n]) =>
        `INSERT INTO wholekeyed VALUES (${i}, ${v}, ${n}) ON CONFLICT (id) DO UPDATE SET id = wholekeyed.id + 100 WHERE wholekeyed.id < 1000`,
    ),
  id.map((i) => `DELETE FROM wholekeyed WHERE id % 10 = ${i}`),
  fc
    .tuple(id, numeric)
    .map(
      ([i, n]) =>
        `INSERT INTO wide VALUES (coalesce(${n}::numeric, 7) + ${i}, 'v', repeat(md5(${i}::text), 200)) ON CONFLICT (id) DO UPDATE SET v = wide.v || 'x'`,
    ),
  fc
    .tuple(id, id)
    .map(
      ([i, j]) =>
        `UPDATE wide SET id = id + ${j}.00, v = left(v, 20) || '.' WHERE id = ${i} + 1.0 AND NOT EXISTS (SELECT FROM wide AS w WHERE w.id = ${i} + 1.0 + ${j})`,
    ),
  id.map((i) => `DELETE FROM wide WHERE id >= ${i + 5}`),
  fc
    .tuple(id, text)
    .map(([i, v]) => `INSERT INTO deferred SELECT ${i}, ${v} WHERE NOT EXISTS (SELECT FROM deferred WHERE id = ${i})`),
  fc.constant('UPDATE deferred SET id = id + 1'),
  fc.constant('UPDATE deferred SET id = (SELECT max(id) + min(id) FROM deferred) - id'),
  fc.tuple(id, text).map(([i, v]) => `INSERT INTO nothing VALUES (${i}, ${v})`),
  fc
    .tuple(id, text)
    .map(([i, v]) => `INSERT INTO parted VALUES (${i}, ${v}) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v`),
  fc
    .tuple(id, id)
    .map(([i, j]) => `UPDATE parted SET id = ${j} WHERE id = ${i} AND NOT EXISTS (SELECT FROM parted WHERE id = ${j})`),
  fc.constant('TRUNCATE whole, texted'),
  fc.constant('TRUNCATE parted'),
  fc.constant('SAVEPOINT s; INSERT INTO nothing VALUES (99); ROLLBACK TO s'),
);
const transaction = fc.tuple(
  fc.array(statement, { minLength: 1, maxLength: 8 }),
  fc.constantFrom('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK'),
);

test('random transactions over every kind of identity keep the replica equal to the core', async () => {
  await core.client.texts(FUZZ_TABLES);
  const { writer, path } = await replica();
  const seed = Number(process.env['SKERRY_TEST_SEED'] ?? Date.now() % 1_000_000);
  const transactions = fc.sample(transaction, { numRuns: 300, seed });
  let refused = 0;
  try {
    for (const [index, [statements, end]] of transactions.entries()) {
      // What breaks a constraint is rolled back, which must not show in the stream either.
      await core.client
        .texts(`BEGIN; ${statements.join('; ')}; ${end}`)
        .catch(() => core.client.texts('ROLLBACK').then(() => (refused += 1)));
      if (index % 60 !== 59) continue;
      await core.drain(writer);
      await core.expectEqual(path);
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  expect(refused).toBeLessThan(transactions.length / 2);
  expect(writer.rowCountTotal).toBeGreaterThan(0);
}, 60_000);
