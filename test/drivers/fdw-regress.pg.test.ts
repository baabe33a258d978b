// Every statement that PostgreSQL's own regression test of postgres_fdw sends to the foreign server, sent to an edge and to its core
// as postgres_fdw sends it: the frames that come back are the same. (testdata: 6,511 remote statements of PostgreSQL 16, 767 different ones.)

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FollowingEdge, startFollowingEdge } from '../edge.ts';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { RawPeer } from '../raw-peer.ts';
import { startRelay, type TestRelay, upstreamOf } from '../relay.ts';
import { bind, describePortal, describeStatement, execute, parse, query, sync } from '../wire-frames.ts';

/** The tables of contrib/postgres_fdw/sql/postgres_fdw.sql, as its statements need them. */
const SCHEMA = `
  CREATE SCHEMA "S 1"; CREATE TYPE user_enum AS ENUM ('foo', 'bar', 'buz');
  CREATE TABLE "S 1"."T 1" ("C 1" int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text, c4 timestamptz, c5 timestamp, c6 varchar(10), c7 char(10), c8 user_enum);
  CREATE TABLE "S 1"."T 2" (c1 int NOT NULL PRIMARY KEY, c2 text);
  CREATE TABLE "S 1"."T 3" (c1 int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text);
  CREATE TABLE "S 1"."T 4" (c1 int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text);
  INSERT INTO "S 1"."T 1" SELECT id, id % 10, to_char(id, 'FM00000'), '1970-01-01'::timestamptz + ((id % 100) || ' days')::interval,
    '1970-01-01'::timestamp + ((id % 100) || ' days')::interval, id % 10, id % 10, 'foo'::user_enum FROM generate_series(1, 1000) id;
  INSERT INTO "S 1"."T 2" SELECT id, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id;
  INSERT INTO "S 1"."T 3" SELECT id, id + 1, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id WHERE id % 2 = 0;
  INSERT INTO "S 1"."T 4" SELECT id, id + 1, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id WHERE id % 3 = 0;
  CREATE TABLE fprt1_p1 (a int, b int, c varchar); CREATE TABLE fprt1_p2 (LIKE fprt1_p1); CREATE TABLE fprt2_p1 (LIKE fprt1_p1); CREATE TABLE fprt2_p2 (LIKE fprt1_p1);
  INSERT INTO fprt1_p1 SELECT i, i, to_char(i / 50, 'FM0000') FROM generate_series(0, 249, 2) i; INSERT INTO fprt1_p2 SELECT i, i, to_char(i / 50, 'FM0000') FROM generate_series(250, 499, 2) i;
  INSERT INTO fprt2_p1 SELECT i, i, to_char(i / 50, 'FM0000') FROM generate_series(0, 249, 3) i; INSERT INTO fprt2_p2 SELECT i, i, to_char(i / 50, 'FM0000') FROM generate_series(250, 499, 3) i;
  CREATE TABLE loct1 (f1 int, f2 int, f3 int, a int, b text); CREATE TABLE loct2 (f1 int, f2 int, f3 int, a int, b text); CREATE TABLE loct3 (f1 text, f2 text, f3 varchar(10)); CREATE TABLE loct4 (f1 int, f2 int, f3 int);
  INSERT INTO loct1 SELECT i, i, i, i, 'loct1 ' || i FROM generate_series(1, 20) i; INSERT INTO loct2 SELECT i, i, i, i, 'loct2 ' || i FROM generate_series(1, 20) i; INSERT INTO loct3 VALUES ('foo', 'foo', 'foo');
  CREATE TABLE loct (aa text, bb text); INSERT INTO loct VALUES ('aaa', 'x'), ('aaaa', 'y');
  CREATE TABLE base_tbl (a int, b int); CREATE TABLE base_tbl1 (a int, b text, c int); CREATE TABLE base_tbl2 (a int, b text, c int); CREATE TABLE base_tbl3 (a int, b text, c int); CREATE TABLE base_tbl4 (a int, b text, c int);
  INSERT INTO base_tbl VALUES (1, 2), (3, 4); INSERT INTO base_tbl1 VALUES (1, 'one', 1); INSERT INTO base_tbl2 VALUES (2, 'two', 2);
  CREATE TABLE loc1 (f1 serial, f2 text); CREATE TABLE loc2 (f1 serial, f2 text); CREATE TABLE loc3 (f1 int, f2 text); INSERT INTO loc1 VALUES (1, 'hi'), (2, 'bye');
  CREATE TABLE gloc1 (a int, b int GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO gloc1 (a) VALUES (1), (2);
  CREATE TABLE batch_table (x int); CREATE TABLE batch_table_p0 (x int, field1 text, field2 text); CREATE TABLE batch_table_p1 (LIKE batch_table_p0); INSERT INTO batch_table_p0 VALUES (1, 'test1', 'test1');
  CREATE TABLE tru_rtable0 (id int PRIMARY KEY); CREATE TABLE tru_rtable1 (id int); CREATE TABLE tru_pk_table (id int PRIMARY KEY); CREATE TABLE tru_fk (fkey int REFERENCES tru_pk_table);
  CREATE TABLE tru_rtable_parent (id int); CREATE TABLE tru_rtable_child (id int); INSERT INTO tru_rtable0 SELECT generate_series(1, 10);
  CREATE TABLE child_tbl (a int, b int); CREATE TABLE child_local (b text, c numeric, a int); INSERT INTO child_tbl VALUES (1, 2);
  CREATE TABLE pagg_tab_p1 (a int, b int, c text); CREATE TABLE pagg_tab_p2 (LIKE pagg_tab_p1); CREATE TABLE pagg_tab_p3 (LIKE pagg_tab_p1);
  INSERT INTO pagg_tab_p1 SELECT i % 30, i % 50, to_char(i / 30, 'FM0000') FROM generate_series(1, 300) i WHERE (i % 30) < 10;
  CREATE TABLE tab_batch_sharded_p1_remote (id int, data text); CREATE TABLE loct_empty (c1 int NOT NULL PRIMARY KEY, c2 text);
  CREATE TABLE batch_cp_upd_test1 (a int); CREATE TABLE batch_cp_upd_test3 (a int); CREATE TABLE ploc1 (f1 int, f2 text); CREATE TABLE ploc2 (f1 int, f2 text);
`;

interface Statement {
  readonly isParsed: boolean;
  readonly sql: string;
}

const STATEMENTS: Statement[] = readFileSync(join(import.meta.dir, 'testdata', 'fdw-regress-remote-sql.txt'), 'utf8')
  .split('\n')
  .filter(Boolean)
  .map((line) => {
    const [, kind, sql] = line.split('\t') as [string, string, string];
    // The names of cursors and statements were made alike in the file.
    return {
      isParsed: kind === 'P',
      sql: sql
        .replaceAll(/\bcN\b/g, 'c1')
        .replaceAll('prep_N', 'prep_1')
        .replaceAll('\\n', '\n'),
    };
  });

/** Results that chance decides: only their shape is compared. */
const BY_CHANCE = /random\(\)|TABLESAMPLE|pg_stat_activity|my_application_name|now\(\)|^INSERT.*RETURNING.*ctid/i;

/** Sorted by what several rows have. */
const HAS_TIES = /ORDER BY (c2 ASC NULLS LAST|sum\("C 1"\) FILTER .* ASC NULLS LAST)$/;

let postgres: TestPostgres;
let relay: TestRelay;
let edge: FollowingEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(SCHEMA);
  await postgres.sql(`DO $$ DECLARE r regclass; BEGIN FOR r IN SELECT c.oid FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary) LOOP EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', r); END LOOP; END $$; ANALYZE`);
  relay = await startRelay({ upstream: upstreamOf(postgres) });
  edge = await startFollowingEdge(postgres, relay, { name: 'regress', rywWaitMs: 5000 });
}, 60_000);

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await relay?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

type Frames = { readonly type: string; readonly body: Buffer }[];

/** What one Query or Sync is answered with. */
async function ask(peer: RawPeer, ...frames: readonly Uint8Array[]): Promise<Frames> {
  for (const bytes of frames) peer.send(bytes);
  const heard: Frames = [];
  while (heard.at(-1)?.type !== 'Z' && !peer.closed) {
    heard.push(...peer.takeFrames());
    await new Promise((resolve) => setImmediate(resolve));
  }
  return heard;
}

/** A value for a parameter of that type which lets most statements find a row. */
function valueFor(typeOid: number): string | null {
  if ([20, 21, 23, 1700].includes(typeOid)) return '1';
  if ([25, 1043, 1042].includes(typeOid)) return 'foo';
  return typeOid === 27 ? '(0,1)' : null;
}

function readable(heard: Frames, sql: string): string[] {
  const rows: string[] = [];
  const others: string[] = [];
  for (const { type, body } of heard) {
    if (type === 'D') rows.push(BY_CHANCE.test(sql) ? 'by chance' : body.toString('latin1'));
    else if (type === 'E' || type === 'N') {
      const fields = body.toString('utf8').split('\0');
      others.push(`${type} ${fields.filter((field) => 'VCM'.includes(field[0] ?? '-')).join(' ')}`);
    } else others.push(`${type} ${BY_CHANCE.test(sql) && type === 'C' ? '' : body.toString('latin1')}`);
  }
  // Without ORDER BY any order is right, and among rows with equal keys.
  if (!/ORDER BY/.test(sql) || HAS_TIES.test(sql)) rows.sort();
  return BY_CHANCE.test(sql) ? others : [...others, ...rows];
}

async function tell(peer: RawPeer, { isParsed, sql }: Statement, types: readonly number[]): Promise<string[]> {
  const begins = !/^(SET|START)/.test(sql);
  if (begins) await ask(peer, query('START TRANSACTION ISOLATION LEVEL REPEATABLE READ'));
  if (/SAVEPOINT s3/.test(sql)) await ask(peer, query('SAVEPOINT s2; SAVEPOINT s3'));
  else if (/(TO|RELEASE) SAVEPOINT s2/.test(sql)) await ask(peer, query('SAVEPOINT s2'));
  if (/^(FETCH|CLOSE)/.test(sql))
    await ask(peer, query('DECLARE c1 CURSOR FOR SELECT "C 1" FROM "S 1"."T 1" ORDER BY 1'));
  const name = sql.startsWith('INSERT') ? 'pgsql_fdw_prep_1' : '';
  const heard = isParsed
    ? await ask(peer, parse(name, sql), bind('', name, types.map(valueFor)), describePortal(''), execute(''), sync())
    : await ask(peer, query(sql));
  const all = readable(heard, sql);
  if (sql.startsWith('DECLARE')) {
    // All of it: without ORDER BY the first hundred may be any.
    all.push(...readable(await ask(peer, query('FETCH ALL FROM c1')), sql));
    all.push(...readable(await ask(peer, query('CLOSE c1')), sql));
  }
  await ask(peer, query('ABORT TRANSACTION'));
  if (name !== '') await ask(peer, query('DEALLOCATE ALL'));
  return all;
}

test('every statement gets the answer that Postgres gives', async () => {
  const login = { user: 'postgres', database: 'postgres', application_name: 'postgres_fdw', client_encoding: 'UTF8' };
  using core = await RawPeer.login(postgres.port, login);
  using through = await RawPeer.login(edge.port, login);
  for (const peer of [core, through]) peer.takeFrames();
  const differences: unknown[] = [];
  let locally = 0;
  let selects = 0;
  for (const statement of STATEMENTS) {
    const [described] = statement.isParsed
      ? (await ask(core, parse('d', statement.sql), describeStatement('d'), sync())).filter(({ type }) => type === 't')
      : [];
    if (statement.isParsed) await ask(core, query('DEALLOCATE ALL'));
    const types =
      described === undefined
        ? []
        : Array.from({ length: described.body.readUInt16BE(0) }, (_, index) =>
            described.body.readUInt32BE(2 + index * 4),
          );
    // The file has no types where the regression test bound them.
    const count = Math.max(
      types.length,
      ...[...statement.sql.matchAll(/\$(\d+)/g)].map((found) => Number(found[1])),
      0,
    );
    const padded = Array.from({ length: count }, (_, index) => types[index] ?? 0);
    const before = edge.edge.answered.local;
    const there = await tell(core, statement, padded);
    const here = await tell(through, statement, padded);
    if (statement.sql.startsWith('DECLARE')) {
      selects += 1;
      if (edge.edge.answered.local > before) locally += 1;
    }
    if (!Bun.deepEquals(here, there))
      differences.push({ sql: statement.sql, here: here.slice(0, 6), there: there.slice(0, 6) });
  }
  console.log(`${STATEMENTS.length} statements; ${locally} of ${selects} cursors are answered by the edge`);
  expect(differences).toEqual([]);
  expect(STATEMENTS.length).toBeGreaterThan(700);
}, 240_000);
