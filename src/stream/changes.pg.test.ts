// Every kind of change, from a real core through a relay to a replica: in the end both hold the same rows.

import { afterAll, beforeAll, expect, test, setDefaultTimeout } from 'bun:test';
import { needs, startPostgres, type TestPostgres } from '../../test/harness.ts';
import {
  caughtUp,
  startRelay,
  startReplica,
  type TestRelay,
  type TestReplica,
  until,
  upstreamOf,
} from '../../test/relay.ts';
import { checksumSql, CHECKSUM_SETTINGS } from '../replica/checksum.ts';
import { isStored } from '../replica/layout.ts';
import { ReplicaReader } from '../replica/reader.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  let postgres: TestPostgres;
  let relay: TestRelay;
  let edge: TestReplica;

  beforeAll(async () => {
    postgres = await startPostgres({ version, settings: { logical_decoding_work_mem: '64kB' } });
    await postgres.sql(`
      create type mood as enum ('sad', 'ok');
      create table plain (id int primary key, a text, big text, n numeric, m mood default 'ok');
      alter table plain alter column big set storage external;
      create table keyless (a int, b text);
      alter table keyless replica identity full;
      create table unidentified (a int, b text);
      create table indexed (a int not null, b text, c text);
      create unique index indexed_a on indexed (a);
      alter table indexed replica identity using index indexed_a;
      create table nothing (a int primary key); alter table nothing replica identity nothing;
      create table parted (id int primary key, k text) partition by range (id);
      create table parted_low partition of parted for values from (0) to (100);
      create table parted_high partition of parted for values from (100) to (200);
      insert into plain select g, 'a' || g, repeat('x', 5000), g * 1.50 from generate_series(1, 50) g;
      insert into keyless values (1, 'one'), (1, 'one'), (2, null);
      insert into parted values (1, 'low'), (150, 'high');`);
    relay = await startRelay({ upstream: upstreamOf(postgres) });
    await relay.relay.ready;
    edge = startReplica(relay);
  });
  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await relay?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  /** Runs `sql` on the core, waits for the edge, and compares the checksums of all tables. */
  async function check(sql: string): Promise<void> {
    if (sql !== '') await postgres.sql(sql);
    await caughtUp(postgres, edge);
    const report = await edge.control.checksum(null, 0);
    using reader = new ReplicaReader(edge.path);
    const tables = [...reader.catalogue().tables()].filter(isStored);
    const published = await postgres.sql(
      `select schemaname || '.' || tablename as t from pg_publication_tables where pubname = 'skerry' order by 1`,
    );
    expect(report.tables.map((one) => one.table).toSorted()).toEqual(
      published.map((row) => String(row['t'])).toSorted(),
    );
    const settings = Object.entries(CHECKSUM_SETTINGS)
      .map(([name, value]) => `set ${name} = '${value}'`)
      .join('; ');
    for (const image of tables) {
      const rows = await postgres.sql(`${settings}; ${checksumSql(image)}`);
      const own = report.tables.find((one) => one.table === `${image.schema}.${image.name}`);
      expect({ table: own?.table, rows: String(own?.rows), sum: own?.sum }).toEqual({
        table: `${image.schema}.${image.name}`,
        rows: String(rows[0]?.['rows']),
        sum: String(rows[0]?.['sum']),
      });
    }
    expect(edge.lines.filter((line) => line.includes('replica.unusable'))).toEqual([]);
  }

  test(`${version}: a user's tables in schema skerry, our own, are tables like any other`, async () => {
    await check(`
      create type skerry.flavour as enum ('sweet', 'salty');
      create table skerry.mine (id int primary key, f skerry.flavour);
      insert into skerry.mine values (1, 'sweet');
      alter table skerry.mine add column note text default 'n';
      update skerry.mine set f = 'salty'`);
  });

  test(`${version}: the first copy equals the core`, () => check(''));

  test(`${version}: inserts, updates, deletes, an unchanged TOAST value, NULLs`, () =>
    check(`insert into plain values (100, null, null, 'NaN', null), (101, '', repeat('y', 9000), 0.000, 'sad');
      update plain set a = 'short' where id = 1; update plain set big = repeat('z', 7000), n = null where id = 2; delete from plain where id = 3`));

  test(`${version}: a changed key with an unchanged TOAST value keeps the value`, () =>
    check(`update plain set id = 1000 where id = 4; update plain set id = id + 5000 where id between 10 and 20`));

  test(`${version}: tables without a primary key, and with other replica identities`, async () => {
    await check(`update keyless set b = 'ONE' where ctid = (select min(ctid) from keyless where a = 1); delete from keyless where b is null;
      insert into keyless values (3, 'three')`);
    await check(
      `insert into indexed values (1, 'b', 'c'), (2, 'b', 'c'); update indexed set c = 'd' where a = 1; update indexed set a = 9 where a = 2; delete from indexed where a = 9`,
    );
    await check(
      `insert into nothing values (1), (2); insert into unidentified values (1, 'x'), (1, 'x'), (null, null)`,
    );
  });

  test(`${version}: partitions: rows, rows that move, a partition attached and detached`, async () => {
    await check(
      `insert into parted values (2, 'x'); update parted set id = 160 where id = 2; delete from parted where id = 1`,
    );
    await check(`create table parted_new (id int primary key, k text); insert into parted_new values (250, 'n');
      alter table parted attach partition parted_new for values from (200) to (300); insert into parted values (260, 'm')`);
    await check(`alter table parted detach partition parted_low; truncate parted`);
  });

  test(`${version}: TRUNCATE of several tables, with CASCADE, and rows after it in the same transaction`, async () => {
    await check(`create table parent (id int primary key); create table child (id int primary key references parent);
      insert into parent values (1), (2); insert into child values (1)`);
    await check(`begin; truncate parent cascade; insert into parent values (3); insert into child values (3); commit`);
  });

  test(`${version}: a rolled-back transaction and rolled-back savepoints leave nothing`, () =>
    check(`begin; insert into plain values (201, 'no'); rollback;
      begin; insert into plain values (202, 'yes'); savepoint s; insert into plain values (203, 'no'); rollback to s; insert into plain values (204, 'yes'); commit`));

  test(`${version}: a transaction larger than decoding memory, with rolled-back savepoints, arrives whole`, async () => {
    await check(`create table large (id int primary key, a text)`);
    await check(`begin; insert into large select g, repeat('a', 100) from generate_series(1, 5000) g;
      savepoint s1; insert into large select g, repeat('b', 100) from generate_series(5001, 9000) g; rollback to s1;
      insert into large select g, repeat('c', 100) from generate_series(9001, 12000) g;
      savepoint s2; update large set a = 'u' where id <= 100; release s2;
      savepoint s3; delete from large where id > 11000; rollback to s3; commit`);
    expect(edge.rows('select count(*) from "public.large"')).toEqual([[8000]]);
    await check(`begin; insert into large select g, 'never' from generate_series(20000, 25000) g; rollback`);
    await check(
      `truncate large; insert into large select g, repeat(md5(g::text), 20) from generate_series(1, 20000) g`,
    );
    expect(edge.rows('select count(*) from "public.large"')).toEqual([[20000]]);
  });

  test(`${version}: two large transactions at once, interleaved, with a schema change in one of them`, async () => {
    await check(`create table twin (id int primary key, a text)`);
    await postgres.sql(`create extension if not exists dblink`);
    await check(`do $$ begin
        perform dblink_connect('other', 'dbname=postgres host=${postgres.socketDir} port=${postgres.port} user=postgres');
        perform dblink_exec('other', 'begin');
        for i in 0 .. 9 loop
          insert into twin select g, repeat('m', 50) from generate_series(i * 1000 + 1, i * 1000 + 1000) g;
          perform dblink_exec('other', format('insert into twin select g, repeat(''o'', 50) from generate_series(%s, %s) g', 100001 + i * 1000, 101000 + i * 1000));
        end loop;
        perform dblink_exec('other', 'create table inside (id int primary key)');
        perform dblink_exec('other', 'insert into inside select generate_series(1, 3000)');
        perform dblink_exec('other', 'commit');
      end $$`);
    expect(edge.rows('select count(*) from "public.twin"')).toEqual([[20000]]);
  });

  test(`${version}: prepared transactions appear at COMMIT PREPARED, and not at all after ROLLBACK PREPARED`, async () => {
    await postgres.sql(`begin; insert into plain values (301, 'prepared'); prepare transaction 'one'`);
    await postgres.sql(`begin; insert into plain values (302, 'prepared'); prepare transaction 'two'`);
    await check('');
    expect(edge.rows('select count(*) from "public.plain" where id in (301, 302)')).toEqual([[0]]);
    await postgres.sql(`rollback prepared 'two'`);
    await check(`commit prepared 'one'`);
    expect(edge.rows('select id from "public.plain" where id in (301, 302)')).toEqual([[301]]);
  });

  test(`${version}: columns added, renamed, dropped, between rows of one transaction`, async () => {
    await check(`alter table plain add column added int default 5; insert into plain (id, added) values (401, 6)`);
    await check(`alter table plain rename column added to renamed; update plain set renamed = 7 where id = 401`);
    await check(`begin; insert into plain (id, renamed) values (402, 1); alter table plain drop column renamed; insert into plain (id) values (403);
      alter table plain add column again text; update plain set again = 'x' where id in (402, 403); commit`);
    await check(
      `alter table plain rename to simple; insert into simple (id) values (404); alter table simple rename to plain`,
    );
  });

  test(`${version}: type changes and volatile defaults rewrite rows`, async () => {
    await check(`alter table plain alter column id type bigint; insert into plain (id) values (8589934592)`);
    await check(`alter table plain add column stamp text default gen_random_uuid()::text`);
    await check(
      `begin; update plain set a = 'before' where id = 1; alter table plain alter column n type text using n::text || '!'; update plain set a = 'after' where id = 2; commit`,
    );
  });

  test(`${version}: enum labels added and renamed`, async () => {
    await postgres.sql(`alter type mood add value 'happy'`);
    await check(`insert into plain (id, m) values (501, 'happy')`);
    await check(`alter type mood rename value 'sad' to 'blue'; alter type mood add value 'first' before 'blue'`);
  });

  test(`${version}: tables created, filled by a query, dropped, made unlogged and logged`, async () => {
    await check(`create table fresh as select g as id, 'x' as a from generate_series(1, 10) g`);
    await check(`begin; create table gone (id int primary key); insert into gone values (1); drop table gone; commit`);
    await check(`alter table fresh set unlogged; insert into fresh values (11, 'y')`);
    await check(`alter table fresh set logged`);
    await check(`drop table fresh`);
    await check(
      `create schema s; create table s.t (id int primary key); insert into s.t values (1); alter schema s rename to z; insert into z.t values (2); drop schema z cascade`,
    );
  });

  test(`${version}: foreign logical messages are nobody's business, inside and outside of transactions`, () =>
    check(`select pg_logical_emit_message(false, 'app', 'hello'); begin; insert into plain (id) values (601); select pg_logical_emit_message(true, 'app', 'in'); commit;
      select pg_logical_emit_message(false, 'app', 'again'); insert into plain (id) values (602)`));

  test(`${version}: an idle publication still lets the slot advance`, async () => {
    await postgres.sql(`create unlogged table noise (a int)`);
    await until('the slot has passed WAL that is not ours', async () => {
      await postgres.sql(`insert into noise select 1; create database d${Date.now()}`).catch(() => {});
      const lag = await postgres.value(
        `select pg_current_wal_flush_lsn() - confirmed_flush_lsn from pg_replication_slots where slot_name = 'skerry_relay'`,
      );
      return Number(lag) < 20_000 || `lag ${lag}`;
    });
  });
}
