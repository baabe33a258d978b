// Every byte that a PoP with a placement is sent, while a workload runs that marks all it may not have with LEAK.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs, startPostgres } from '../../test/harness.ts';
import { askRelay, expectHolds, setPlacement, startPlacedRelay, startPop, tap } from '../../test/placement.ts';
import { Sqlite } from '../replica/sqlite.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

const TABLES = [
  "people (id, name, region, mood) WHERE region = 'eu'",
  "events (id, what) WHERE NOT what LIKE 'LEAK%'",
  'keyless (a, b) WHERE a > 0',
];

const BEFORE = `
  create type mood as enum ('sad', 'ok');
  create type leak_type as enum ('LEAK-LABEL', 'other');
  create domain leak_domain as text default 'LEAK-DOMAIN';
  create table leak_parent (id int primary key);
  create table people (id int primary key, name text, region text, mood mood default 'ok',
    leak_column text default 'LEAK-DEFAULT', leak_enum leak_type default 'LEAK-LABEL', leak_ref int references leak_parent,
    constraint leak_check check (leak_column <> 'LEAK-CHECK'));
  create index leak_index on people (left(leak_column, 30)); create index leak_plain on people (leak_ref); create index leak_partial on people (region) where leak_column = 'LEAK-PREDICATE';
  create table events (id int primary key, what text, leak_column text) partition by range (id);
  create table events_low partition of events for values from (0) to (1000);
  create table leak_high partition of events for values from (1000) to (2000);
  alter table people alter column leak_column set storage external;
  create table keyless (a int, b text, leak_column text); alter table keyless replica identity full;
  create table leak_table (id int primary key, v text);
  create view leak_view as select 'LEAK-VIEW' as v, * from people;
  comment on table people is 'LEAK-COMMENT';
  insert into people (id, name, region, leak_column) select g, case g % 2 when 0 then 'fine' else 'LEAK-ROW' end,
    case g % 2 when 0 then 'eu' else 'us' end, repeat('LEAK-COLUMN', 300) from generate_series(1, 200) g;
  insert into events select g, case when g % 3 = 0 then 'LEAK-EVENT' else 'fine' end, 'LEAK-COLUMN' from generate_series(1, 100) g;
  insert into keyless select g, case when g > 0 then 'fine' else 'LEAK-ROW' end, 'LEAK-COLUMN' from generate_series(-20, 20) g;
  insert into leak_table values (1, 'LEAK-TABLE')`;

const WORKLOAD = [
  `insert into people (id, name, region) values (1000, 'LEAK-ROW', 'us'), (1001, 'fine', 'eu'), (1002, 'LEAK-ROW', null)`,
  `update people set leak_column = 'LEAK-NEW' where id % 5 = 0; update people set leak_enum = 'other' where id = 2`,
  `update people set region = 'us', name = 'LEAK-MOVED' where id between 10 and 20`,
  `update people set region = 'eu', name = 'fine' where id between 15 and 30`,
  `update people set id = id + 5000, name = 'LEAK-MOVED', region = 'us' where id between 22 and 26`,
  `update people set id = id + 6000 where id between 40 and 50; delete from people where id between 60 and 70`,
  `begin; update people set name = 'LEAK-UNDONE', region = 'eu' where id < 50; rollback`,
  `begin; insert into leak_table values (2, 'LEAK-TABLE'); savepoint s; update people set name = 'LEAK-UNDONE' where region = 'eu'; rollback to s; insert into events values (500, 'fine', 'LEAK-COLUMN'); commit`,
  `update events set what = 'LEAK-EVENT' where id = 1; update events set what = 'fine' where id = 3; delete from events where id = 4`,
  `insert into leak_table select g, 'LEAK-TABLE' || g from generate_series(100, 20000) g; delete from leak_table where id > 150`,
  `insert into keyless values (-5, 'LEAK-ROW', 'LEAK-COLUMN'), (50, 'fine', 'LEAK-COLUMN'); update keyless set a = -1, b = 'LEAK-MOVED' where a = 3; update keyless set a = 60, b = 'fine' where a = -7`,
  `select pg_logical_emit_message(true, 'LEAK-PREFIX', 'LEAK-MESSAGE'), pg_logical_emit_message(false, 'other', 'LEAK-MESSAGE')`,
  `alter table people add column leak_added text default 'LEAK-ADDED'; update people set leak_added = 'LEAK-SET' where id = 2`,
  `alter type leak_type add value 'LEAK-LABEL-2'; alter table people rename column leak_column to leak_renamed`,
  `drop view leak_view; alter table people alter column leak_renamed type varchar(9000) using left(leak_renamed, 20) || 'LEAK-REWRITTEN'`,
  `create table leak_later (id int primary key, v text); insert into leak_later values (1, 'LEAK-LATER'); alter table leak_later rename to leak_again; drop table leak_again`,
  `create schema leak_schema; create table leak_schema.people (id int primary key, name text); insert into leak_schema.people values (1, 'LEAK-SCHEMA')`,
  `truncate leak_table; truncate keyless; insert into keyless values (1, 'fine', 'LEAK-COLUMN'), (-1, 'LEAK-ROW', 'x')`,
  `insert into people (id, name, region) select g, case g % 4 when 0 then 'fine' else 'LEAK-BULK' end, case g % 4 when 0 then 'eu' else 'us' end from generate_series(10000, 30000) g`,
  `update people set region = case region when 'eu' then 'us' else 'eu' end, name = case region when 'eu' then 'LEAK-FLIP' else 'fine' end where id > 10000`,
];

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  test(`INVARIANT_I4 ${version}: no byte of what a placement leaves out is sent, by stream or by HTTP`, async () => {
    await using postgres = await startPostgres({ version, settings: { logical_decoding_work_mem: '64kB' } });
    await postgres.sql(BEFORE);
    await using relay = await startPlacedRelay(postgres, []);
    await relay.relay.ready;
    await setPlacement(relay, { name: 'eu', pops: ['eu'], forward: 'never', tables: TABLES });
    const stream = tap(relay.port);
    const http = tap(relay.httpPort);
    const folder = mkdtempSync(join(tmpdir(), 'skerry-wire-'));
    try {
      await using eu = startPop({ port: stream.port, httpPort: http.port }, 'eu');
      const held = [
        { table: 'public.people', columns: ['id', 'name', 'region', 'mood'], where: "region = 'eu'" },
        { table: 'public.events_low', columns: ['id', 'what'], where: "not what like 'LEAK%'" },
        { table: 'public.leak_high', columns: ['id', 'what'], where: "not what like 'LEAK%'" },
        { table: 'public.keyless', columns: ['a', 'b'], where: 'a > 0' },
      ];
      const check = (): Promise<void> => expectHolds(postgres, eu, held, ['public.events']);
      await check();
      const clean = async (when: string): Promise<void> => {
        // The name of a partition, and the condition itself, are its own.
        const own = /leak_high|NOT what LIKE 'LEAK%'/g;
        const found = (bytes: Uint8Array): string[] =>
          [
            ...new Set(
              Buffer.from(bytes)
                .toString('latin1')
                .replaceAll(own, '')
                .match(/.{0,40}leak.{0,20}/gis) ?? [],
            ),
          ].slice(0, 5);
        expect([when, 'stream', found(stream.sent())]).toEqual([when, 'stream', []]);
        expect([when, 'http', found(http.sent())]).toEqual([when, 'http', []]);
        const snapshot = await askRelay(relay, 'eu', '/snapshot');
        const bytes = Bun.zstdDecompressSync(await snapshot.bytes());
        expect([when, 'snapshot', found(bytes)]).toEqual([when, 'snapshot', []]);
        await Bun.write(join(folder, 'snapshot.sqlite'), bytes);
        using file = new Sqlite(join(folder, 'snapshot.sqlite'), { mode: 'read' });
        expect(file.value('PRAGMA freelist_count')).toBe(0);
        for (const path of [
          '/status',
          '/checksum',
          '/placements',
          '/metrics',
          '/checksum?placement=rest',
          '/kv',
          '/',
        ]) {
          const text = await (await askRelay(relay, 'eu', path)).text();
          expect([when, path, found(Buffer.from(text))]).toEqual([when, path, []]);
        }
      };
      for (const sql of WORKLOAD) {
        await postgres.sql(sql);
        await check();
        await clean(sql.slice(0, 60));
      }
      // A second PoP of the placement begins with what is there now, and one that comes back with what it missed.
      await using again = startPop({ port: stream.port, httpPort: http.port }, 'eu');
      await eu.stop();
      await expectHolds(postgres, again, held, ['public.events']);
      await clean('a PoP that begins later');
      expect(Buffer.from(stream.sent()).includes('fine')).toBe(true);
    } finally {
      stream.stop();
      http.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
