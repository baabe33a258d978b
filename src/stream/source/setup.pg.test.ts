import { afterAll, beforeAll, expect, test, setDefaultTimeout } from 'bun:test';
import { needs, startPostgres, temporaryFolder, type TestPostgres } from '../../../test/harness.ts';
import type { SchemaChange, TableImage, TableRows } from '../../contracts/catalogue.ts';
import { sessionWorld } from '../../../test/session-world.ts';
import { connectRaw } from '../../../test/pg-client.ts';
import { nodeDisk } from '../../runtime/disk.ts';
import { SILENT_LOG } from '../../observe/log.ts';
import { parseConnectionString } from '../../session/connection-string.ts';
import { readLogicalMessage, TAG_MESSAGE } from '../frames.ts';
import { sqlLiteral, tableImagesSql } from './catalogue-sql.ts';
import { Core } from './core.ts';
import { cleanSql, createPublicationSql, eventTriggersSql } from './setup-sql.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  let postgres: TestPostgres;
  beforeAll(async () => {
    postgres = await startPostgres({ version });
    await postgres.sql(createPublicationSql('skerry', []));
    for (const statement of eventTriggersSql('skerry')) await postgres.sql(statement);
    await postgres.sql("select pg_create_logical_replication_slot('s', 'pgoutput')");
  });
  afterAll(async () => {
    await postgres[Symbol.asyncDispose]();
  });

  /** Runs `sql` and gives what it put into the stream: tags of messages, and the contents of ours. */
  async function emitted(
    sql: string,
  ): Promise<{ order: string; changes: SchemaChange[]; rows: TableRows[]; other: string[] }> {
    await postgres.sql(sql);
    const found = await postgres.sql(
      `select encode(data, 'hex') as data from pg_logical_slot_get_binary_changes('s', null, null,
        'proto_version', '1', 'publication_names', 'skerry', 'messages', 'true')`,
    );
    const changes: SchemaChange[] = [];
    const rows: TableRows[] = [];
    const other: string[] = [];
    let order = '';
    for (const row of found) {
      const message = Buffer.from(String(row['data']), 'hex');
      order += String.fromCharCode(message[0] as number);
      if (message[0] !== TAG_MESSAGE) continue;
      const { prefix, content } = readLogicalMessage(message);
      const text = new TextDecoder().decode(content);
      if (prefix === 'skerry.schema') changes.push(JSON.parse(text) as SchemaChange);
      else if (prefix === 'skerry.rows') rows.push(JSON.parse(text) as TableRows);
      else other.push(prefix);
    }
    return { order, changes, rows, other };
  }
  const table = (change: SchemaChange | undefined, name: string): TableImage | undefined =>
    change?.tables.find((one) => one.name === name);

  test(`${version}: a new table is described before its first row, in its own transaction`, async () => {
    const { order, changes } = await emitted(
      `begin; create table t1 (id int primary key, a text collate "C", b char(5) default 'x', v int generated always as (id * 2) stored);
       insert into t1 values (1, 'a'); commit`,
    );
    expect(order).toBe('BMRIC'.replace('M', 'M'.repeat(changes.length)));
    const image = table(changes.at(-1), 't1') as TableImage;
    expect(image).toMatchObject({
      kind: 'r',
      schema: 'public',
      replicaIdentity: 'd',
      primaryKeyAttnums: [1],
      identityAttnums: [1],
    });
    expect(image.columns.map((column) => [column.name, column.replicated, column.collationIsC])).toEqual([
      ['id', true, true],
      ['a', true, true],
      ['b', true, expect.any(Boolean)],
      ['v', false, true],
    ]);
    expect(image.indexes.map((index) => [index.primary, index.keyAttnums])).toEqual([[true, [1]]]);
  });

  test(`${version}: adding, renaming and dropping a column sends the new shape and no rows`, async () => {
    const added = await emitted(`alter table t1 add column c numeric default 1.50`);
    expect(table(added.changes.at(-1), 't1')?.columns.at(-1)).toMatchObject({ name: 'c', missingText: '1.50' });
    expect(added.rows).toEqual([]);
    const renamed = await emitted(`alter table t1 rename column c to d`);
    expect(table(renamed.changes.at(-1), 't1')?.columns.at(-1)?.name).toBe('d');
    const dropped = await emitted(`alter table t1 drop column d`);
    expect(table(dropped.changes.at(-1), 't1')?.columns.map((column) => column.name)).toEqual(['id', 'a', 'b', 'v']);
    const indexed = await emitted(`create index on t1 (a)`);
    expect(table(indexed.changes.at(-1), 't1')?.indexes.length).toBe(2);
    const unindexed = await emitted(`drop index t1_a_idx`);
    expect(table(unindexed.changes.at(-1), 't1')?.indexes.length).toBe(1);
  });

  test(`${version}: an index that is dropped describes its own table, also concurrently and with its partitions'`, async () => {
    await emitted(`create table ix (id int primary key, v int); create index ix_v on ix (v); create index ix_w on ix (v, id);
      create table px (id int, v int) partition by range (id); create table px1 partition of px for values from (0) to (9);
      create index px_v on px (v)`);
    const dropped = async (sql: string): Promise<unknown> =>
      (await emitted(sql)).changes.map(({ publication, tables }) => [
        publication,
        Object.fromEntries(tables.map(({ name, indexes }) => [name, indexes.length])),
      ]);
    expect(await dropped('drop index ix_v')).toEqual([['skerry', { ix: 2 }]]);
    expect(await dropped('drop index concurrently ix_w')).toEqual([['skerry', { ix: 1 }]]);
    expect(await dropped('drop index px_v')).toEqual([['skerry', { px: 0, px1: 0 }]]);
    expect(await postgres.value(`select current_setting('skerry.indexes', true)`)).toBe('');
    await emitted('drop table ix, px');
  });

  test(`${version}: two publications of one database are told of changes apart`, async () => {
    const core = new Core(sessionWorld(), SILENT_LOG, {
      client: { target: parseConnectionString(postgres.url) },
      publication: 'skerry_0123abcd',
      slot: 'skerry_0123abcd',
      tables: ['t1'],
    });
    await core.setUp();
    const { changes } = await emitted('create table apart (id int primary key)');
    const told = changes.map(({ publication, tables, droppedTables }) => [
      publication,
      tables.length,
      droppedTables.length,
    ]);
    // The other one does not have the table; whoever took that for its own would drop it.
    expect(told.toSorted((a, b) => String(a[0]).localeCompare(String(b[0])))).toEqual([
      ['skerry', 1, 0],
      ['skerry_0123abcd', 0, 1],
    ]);
    const altered = await emitted('alter table apart add v text; alter table apart alter id type bigint');
    expect(altered.changes.filter(({ publication }) => publication === 'skerry').length).toBe(2);
    await core.clean();
    const left =
      await postgres.sql(`select evtname as name from pg_event_trigger union all select pubname from pg_publication
      union all select nspname from pg_namespace where nspname like 'skerry%' order by 1`);
    expect(left.map(({ name }) => name)).toEqual([
      'skerry',
      'skerry',
      'skerry_ddl_end',
      'skerry_ddl_start',
      'skerry_drop',
      'skerry_rewrite',
    ]);
    await emitted('drop table apart');
  });

  test(`${version}: a type change and a volatile default send the rows as the walsender prints them`, async () => {
    const { changes, rows } = await emitted(`alter table t1 alter column a type varchar(9)`);
    expect(changes.at(-1)?.rewrittenTables).toEqual([(table(changes.at(-1), 't1') as TableImage).oid]);
    expect(rows).toEqual([
      {
        version: 1,
        publication: 'skerry',
        table: (table(changes.at(-1), 't1') as TableImage).oid,
        attnums: [1, 2, 3],
        rows: [['1', 'a', 'x    ']],
      },
    ]);
    const volatile = await emitted(`alter table t1 add column r text default gen_random_uuid()::text`);
    expect(volatile.rows.length).toBe(1);
    await emitted(
      `create table times (id int primary key, at timestamptz); insert into times values (1, '2024-01-02 03:04:05+00')`,
    );
    const silent = await emitted(
      `set timezone = 'UTC'; alter table times alter column at type timestamp; reset timezone`,
    );
    expect(silent.rows.map((message) => message.rows)).toEqual([[['1', '2024-01-02 03:04:05']]]);
  });

  test(`${version}: enum labels added travel as types, renamed ones also as rows`, async () => {
    await emitted(`create type mood as enum ('sad', 'ok'); create table m (id int primary key, mood mood, moods mood[]);
      insert into m values (1, 'ok', '{sad,ok}')`);
    const added = await emitted(`alter type mood add value 'happy'`);
    expect(added.changes.at(-1)?.types.find((type) => type.name === 'mood')?.enumLabels).toEqual([
      'sad',
      'ok',
      'happy',
    ]);
    expect(added.rows).toEqual([]);
    const renamed = await emitted(`alter type mood rename value 'ok' to 'fine'`);
    expect(renamed.rows.map((message) => message.rows)).toEqual([[['1', 'fine', '{sad,fine}']]]);
  });

  test(`${version}: dropping, truncating, moving and CREATE TABLE AS`, async () => {
    const oid = Number(await postgres.value(`select 'm'::regclass::oid`));
    const dropped = await emitted(`drop table m`);
    expect(dropped.changes.flatMap((change) => change.droppedTables)).toContain(oid);
    const moved = await emitted(
      `create schema other; alter table times set schema other; alter table other.times rename to clocks`,
    );
    expect(moved.changes.at(-1)?.tables.map((one) => [one.schema, one.name])).toEqual([['other', 'clocks']]);
    const schema = await emitted(`alter schema other rename to another`);
    expect(schema.changes.at(-1)?.tables.map((one) => one.schema)).toEqual(['another']);
    const filled = await emitted(`create table filled as select 1 as a`);
    expect(filled.order).toBe('BRIMC');
    expect(filled.changes[0]?.tag).toBe('CREATE TABLE AS');
    const unlogged = await emitted(`alter table filled set unlogged`);
    expect(unlogged.changes.at(-1)?.droppedTables.length).toBe(1);
    const logged = await emitted(`alter table filled set logged`);
    expect(logged.rows.map((message) => message.rows)).toEqual([[['1']]]);
  });

  test(`${version}: views come with their query, again when what they read changes, and go`, async () => {
    const made = await emitted(`create table vb (id int primary key, a text); create schema if not exists vs;
      create view vs.one as select id, a from vb where a <> 'x'; create view vs.two as select id as n from vs.one`);
    const two = table(made.changes.at(-1), 'two');
    expect(two).toMatchObject({ kind: 'v', schema: 'vs', viewDefinition: expect.stringContaining('FROM vs.one') });
    expect(two?.columns.map((column) => [column.name, column.typeOid])).toEqual([['n', 23]]);
    const renamed = await emitted('alter table vb rename column a to b');
    const names = (change: SchemaChange | undefined): string[] =>
      (change?.tables ?? []).map(
        ({ name, kind, viewDefinition }) => `${name} ${kind} ${/\bb\b/.test(viewDefinition ?? '')}`,
      );
    expect(names(renamed.changes.at(-1)).toSorted()).toEqual(['one v true', 'two v false', 'vb r false']);
    const replaced = await emitted('create or replace view vs.one as select id, b as a from vb');
    expect(table(replaced.changes.at(-1), 'one')?.viewDefinition).not.toContain('WHERE');
    const moved = await emitted('alter schema vs rename to vt');
    expect(table(moved.changes.at(-1), 'two')?.viewDefinition).toContain('vt.one');
    const oids = (await postgres.sql(`select oid from pg_class where relname in ('one', 'two')`)).map((row) =>
      Number(row['oid']),
    );
    // Somebody holds a table of the view and may be waiting for one of ours: the view is left to the core.
    await emitted('create table vc (id int); create view vt.both as select vb.id from vb join vc using (id)');
    await using other = await connectRaw(postgres);
    await other.texts('begin');
    await other.texts('lock table vc in access exclusive mode');
    const busy = await emitted('alter table vb add column c int');
    expect(table(busy.changes.at(-1), 'both')).toBeUndefined();
    const both = Number(await postgres.value(`select 'vt.both'::regclass::oid`));
    expect(busy.changes.at(-1)?.droppedTables).toEqual([both]);
    await other.texts('rollback');
    const gone = await emitted('drop table vb cascade; drop table vc');
    expect(gone.changes.flatMap((change) => change.droppedTables)).toEqual(expect.arrayContaining([...oids, both]));
    // A view over what is not published is not told of.
    const hidden = await emitted(`create unlogged table vu (a int); create view vt.three as select * from vu`);
    expect(hidden.changes.flatMap((change) => change.tables)).toEqual([]);
    await postgres.sql('drop table vu cascade; drop schema vt');
  });

  test(`${version}: partitions come as tables, their parent as a parent`, async () => {
    const { changes } = await emitted(`create table p (id int primary key, k text) partition by list (id);
      create table p1 partition of p for values in (1)`);
    expect(changes.at(-1)?.tables.map((one) => [one.name, one.kind, one.hasChildren])).toEqual([
      ['p', 'p', true],
      ['p1', 'r', false],
    ]);
    expect(table(changes.at(-1), 'p')?.childOids).toEqual([Number(table(changes.at(-1), 'p1')?.oid)]);
    const added = await emitted(`alter table p add column z int default 7`);
    expect(added.changes.at(-1)?.tables.map((one) => one.columns.at(-1)?.name)).toEqual(['z', 'z']);
    const detached = await emitted(`alter table p detach partition p1`);
    expect(table(detached.changes.at(-1), 'p1')).toBeDefined();
  });

  test(`${version}: temporary and unlogged tables, comments and grants send nothing`, async () => {
    const { changes } = await emitted(
      `create temp table x (a int); create unlogged table u (a int); comment on table t1 is 'c'; grant select on t1 to public; drop table x`,
    );
    expect(changes.flatMap((change) => change.tables)).toEqual([]);
  });

  test(`${version}: DDL inside a function and by a role without rights on schema skerry is seen`, async () => {
    await postgres.sql(`drop role if exists plain; create role plain; create schema plain authorization plain;`);
    const { changes } = await emitted(
      `set role plain; do $$ begin execute 'create table plain.x (id int primary key)'; end $$; reset role`,
    );
    expect(changes.at(-1)?.tables.map((one) => one.schema)).toEqual(['plain']);
  });

  test(`${version}: a change of the publication is announced; row filters and column lists are described`, async () => {
    await postgres.sql(`create publication chosen for table t1 (id, a) where (id > 1)`);
    const images = JSON.parse(
      (await postgres.value(tableImagesSql(sqlLiteral('chosen'), null))) ?? '[]',
    ) as TableImage[];
    expect(images[0]?.rowFilter).toBe('(id > 1)');
    expect(images[0]?.columns.map((column) => column.replicated)).toEqual([true, true, false, false, false]);
    const { other } = await emitted(`alter publication skerry set (publish = 'insert, update, delete, truncate')`);
    expect(other).toEqual(['skerry.publication']);
  });

  test(`${version}: a table of 1,500 columns is changed and rewritten in its usual time, and all its columns are sent`, async () => {
    const columns = Array.from({ length: 1_500 }, (_, index) => `c${index} int default ${index}`).join(', ');
    await postgres.sql(`create table wide (id int primary key, ${columns}); insert into wide (id) values (1)`);
    // Far more than it takes; a look-up per column in the shapes of all tables took twice this and held the table locked.
    const { rows } = await emitted(
      `begin; set local statement_timeout = '10s'; alter table wide alter c7 set default 9; alter table wide alter c8 type text; commit`,
    );
    expect(rows.map((one) => [one.attnums.length, one.rows.map((row) => [row[0], row[9], row[1_500]])])).toEqual([
      [1_501, [['1', '8', '1499']]],
    ]);
    await emitted(`drop table wide`);
  });

  test(`${version}: who drops the publication by hand can still change tables`, async () => {
    await postgres.sql(`begin; drop publication skerry; create table lone (id int primary key); alter table lone add v text;
      create index lone_v on lone (v); drop index lone_v; drop table lone; rollback`);
    expect(await postgres.value(`select count(*) from pg_publication where pubname = 'skerry'`)).toBe('1');
  });

  test(`${version}: tables to publish are named as in SQL`, async () => {
    await postgres.sql(
      `create schema "S.x"; create table "S.x"."T y" (id int primary key); create table lower (id int primary key)`,
    );
    const core = (publication: string, tables: readonly string[]): Core =>
      new Core(sessionWorld(), SILENT_LOG, {
        client: { target: parseConnectionString(postgres.url) },
        publication,
        slot: 'unused',
        tables,
      });
    await core('named', ['"S.x"."T y"', 'LOWER', 'public.t1']).setUp();
    const published = await postgres.sql(
      `select tablename from pg_publication_tables where pubname = 'named' order by 1`,
    );
    expect(published.map((row) => row['tablename'])).toEqual(['T y', 'lower', 't1']);
    expect(core('never', ['"Lower"']).setUp()).rejects.toMatchObject({ code: 'table-missing' });
    await core('named', []).clean();
    await postgres.sql(`drop schema "S.x" cascade; drop table lower`);
  });

  test(`${version}: changing one table does not wait for who changes another`, async () => {
    await postgres.sql(`create table one (id int primary key); create table two (id int primary key)`);
    await using other = await connectRaw(postgres);
    await other.texts('begin');
    await other.texts('alter table one add v text');
    await postgres.sql(`set lock_timeout = '3s'; alter table two add v text; create index two_v on two (v);
      drop index two_v; create table three (id int primary key); drop table three; reset lock_timeout`);
    await other.texts('commit');
    await emitted(`drop table one, two`);
  });

  test(`${version}: tables that somebody wants to change while they are copied hold up neither the copy nor him`, async () => {
    const names = Array.from({ length: 60 }, (_, index) => `busy${index}`);
    await postgres.sql(names.map((name) => `create table ${name} (id int primary key)`).join(';'));
    using folder = temporaryFolder();
    const core = new Core(sessionWorld(), SILENT_LOG, {
      client: { target: parseConnectionString(postgres.url) },
      publication: 'skerry',
      slot: 'copier',
      tables: [],
    });
    const changers = await Promise.all(names.slice(-8).map(() => connectRaw(postgres)));
    let changes: Promise<unknown>[] | null = null;
    const copied = await core.copy(
      nodeDisk,
      `${folder.path}/replica.sqlite`,
      ({ tablesTotal }) => {
        if (tablesTotal === 0 || changes !== null) return;
        // All is locked for us from here on, nothing is copied yet.
        changes = changers.map((client, index) =>
          client.texts(`alter table busy${names.length - 1 - index} add v text`),
        );
      },
      new AbortController().signal,
    );
    expect(copied.image.tables.length).toBeGreaterThanOrEqual(60);
    expect(changes).toHaveLength(8);
    await Promise.all(changes ?? []);
    for (const client of changers) await client[Symbol.asyncDispose]();
    await postgres.sql(
      `select pg_drop_replication_slot('copier'); ${names.map((name) => `drop table ${name}`).join(';')}`,
    );
  });

  test(`${version}: clean takes everything away and leaves the tables`, async () => {
    await postgres.sql(`select pg_drop_replication_slot('s')`);
    for (const statement of cleanSql('skerry', true)) await postgres.sql(statement);
    expect(await postgres.value(`select count(*) from pg_event_trigger`)).toBe('0');
    expect(await postgres.value(`select count(*) from pg_publication where pubname = 'skerry'`)).toBe('0');
    expect(await postgres.value(`select count(*) from t1`)).toBe('1');
    await postgres.sql(`alter table t1 add column afterwards int`);
  });
}
