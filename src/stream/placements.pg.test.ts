// Placements from a real core through a relay to PoPs: what each holds, and what it is sent.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { needs, startPostgres, type TestPostgres } from '../../test/harness.ts';
import { askRelay, expectHolds, setPlacement, startPlacedRelay, startPop, tap } from '../../test/placement.ts';
import { caughtUp, type TestRelay, type TestReplica, until } from '../../test/relay.ts';
import type { PlacementSpec } from '../contracts/placement.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

const EU: PlacementSpec = {
  name: 'eu',
  pops: ['eu'],
  forward: 'allow',
  tables: [
    "customers (id, name, region, mood) WHERE region = 'eu'",
    'keyless WHERE a > 1',
    'wide (id, big)',
    "moved WHERE k = 'in'",
    'app.*',
  ],
};

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  describe(`INVARIANT_I4 ${version}`, () => {
    let postgres: TestPostgres;
    let relay: TestRelay;
    let eu: TestReplica;
    let all: TestReplica;

    const held = [
      { table: 'public.customers', columns: ['id', 'name', 'region', 'mood'], where: "region = 'eu'" },
      { table: 'public.keyless', columns: ['a', 'b'], where: 'a > 1' },
      { table: 'public.wide', columns: ['id', 'big'] },
      { table: 'public.moved', columns: ['id', 'k', 'big'], where: "k = 'in'" },
      { table: 'app.things', columns: ['id', 'note'] },
    ];

    beforeAll(async () => {
      postgres = await startPostgres({ version, settings: { logical_decoding_work_mem: '64kB' } });
      await postgres.sql(`
        create type mood as enum ('sad', 'ok');
        create schema app;
        create table customers (id int primary key, name text, email text, region text, mood mood default 'ok');
        create table keyless (a int, b text); alter table keyless replica identity full;
        create table wide (id int primary key, big text, secret text); alter table wide alter column big set storage external;
        create table moved (id int primary key, k text, big text); alter table moved alter column big set storage external;
        create table hidden (id int primary key, a text);
        create table app.things (id int primary key, note text);
        insert into customers select g, 'n' || g, 'e' || g, case g % 2 when 0 then 'eu' else 'us' end from generate_series(1, 100) g;
        insert into keyless values (1, 'one'), (2, 'two'), (2, 'two'), (3, null);
        insert into wide values (1, repeat('x', 5000), 's'), (2, null, 't');
        insert into moved values (1, 'in', repeat('i', 6000)), (2, 'out', repeat('o', 6000));
        insert into hidden values (1, 'h'); insert into app.things values (1, 'a')`);
      relay = await startPlacedRelay(postgres, [EU, { name: 'all', pops: ['all'], forward: 'allow', tables: ['*'] }]);
      await relay.relay.ready;
      eu = startPop(relay, 'eu');
      all = startPop(relay, 'all');
    });
    afterAll(async () => {
      await eu?.[Symbol.asyncDispose]();
      await all?.[Symbol.asyncDispose]();
      await relay?.[Symbol.asyncDispose]();
      await postgres?.[Symbol.asyncDispose]();
    });

    async function check(sql: string): Promise<void> {
      if (sql !== '') await postgres.sql(sql);
      await expectHolds(postgres, eu, held);
    }

    test('the first snapshot has only what the placement allows', () => check(''));

    test('inserts, updates and deletes within and outside of the condition', () =>
      check(`insert into customers values (200, 'in', 'x', 'eu', 'sad'), (201, 'out', 'x', 'us', 'sad'), (202, 'null', 'x', null, null);
        update customers set name = 'changed' where id in (1, 2); update customers set email = 'secret' where id = 4;
        delete from customers where id in (5, 6); insert into hidden values (2, 'x')`));

    test('rows that move in and out are inserts and deletes, also with a changed key', async () => {
      await check(`update customers set region = 'us' where id = 8; update customers set region = 'eu' where id = 9`);
      await check(`update customers set id = 1010, region = 'us' where id = 10; update customers set id = 1011, region = 'eu' where id = 11;
        update customers set id = 1012 where id = 12; update customers set region = null where id = 14; update customers set region = 'eu' where id = 202`);
    });

    test('a row that moves in comes whole, with large values that the core did not send', async () => {
      await check(`update moved set k = 'in' where id = 2`);
      await check(`update moved set k = 'out' where id = 1`);
      await check(`update moved set id = 5, k = 'in' where id = 1`);
      await check(`update wide set secret = 'other' where id = 1; update wide set id = 9 where id = 1`);
    });

    test('a table without a key', () =>
      check(`update keyless set b = 'TWO' where ctid = (select min(ctid) from keyless where a = 2); update keyless set a = 5 where a = 1;
        update keyless set a = 0 where a = 3; delete from keyless where a = 2; insert into keyless values (7, 'x'), (null, 'y')`));

    test('transactions with large and many rows, and rolled back parts', async () => {
      await check(
        `insert into customers select g, repeat('n', 200), 'e', case g % 3 when 0 then 'eu' else 'us' end from generate_series(10000, 40000) g`,
      );
      await check(`begin; update customers set region = 'eu' where id between 10000 and 11000; savepoint s; delete from customers; rollback to s;
        update customers set region = 'us' where id between 20000 and 30000; commit`);
      await check(`delete from customers where id >= 10000`);
    });

    test('TRUNCATE of held and other tables', async () => {
      await check(`truncate hidden, wide; insert into wide values (3, 'x', 's')`);
      await check(`truncate moved`);
      await check(`insert into moved values (1, 'in', 'x'), (2, 'out', 'y')`);
    });

    test('schema changes: new tables of a schema, columns, renames, rewrites', async () => {
      await postgres.sql(`create table app.more (id int primary key, a text); insert into app.more values (1, 'x')`);
      await expectHolds(postgres, eu, [...held, { table: 'app.more', columns: ['id', 'a'] }]);
      await check(
        `drop table app.more; alter table customers add column hidden text default 'h'; update customers set hidden = 'i' where id = 2`,
      );
      await check(
        `alter table customers alter column id type bigint; insert into customers values (300, 'n', 'e', 'eu', 'ok', 'h')`,
      );
      await check(`alter type mood add value 'great'; alter table keyless alter column a type numeric using a * 1.5`);
      // The condition's column is another one now: nothing is held until the placement fits again.
      await postgres.sql(`alter table moved rename column k to q`);
      await expectHolds(
        postgres,
        eu,
        held.filter((one) => one.table !== 'public.moved'),
      );
      await check(`alter table moved rename column q to k; insert into moved values (10, 'in', 'z')`);
      // A column takes the name of one that is allowed.
      await check(
        `alter table wide rename column big to old; alter table wide rename column secret to big; insert into wide values (20, 'old', 'new')`.replace(
          "'old', 'new'",
          "'o', 'n'",
        ),
      );
    });

    test('a PoP that is nobody in a world with placements is refused, by stream and by snapshot', async () => {
      await using nobody = startPop(relay, 'nobody');
      await until('it is refused', () => nobody.lines.some((line) => line.includes('no placement names')));
      expect((await askRelay(relay, 'nobody', '/snapshot')).status).toBe(403);
      expect((await askRelay(relay, 'eu', '/placements')).status).toBe(403);
      expect((await askRelay(relay, 'eu', '/placements/eu', { method: 'PUT', body: EU })).status).toBe(403);
      expect((await askRelay(relay, 'eu', '/hold', { method: 'POST' })).status).toBe(403);
      expect((await askRelay(relay, 'eu', '/checksum?placement=all')).status).toBe(403);
      const report = (await (await askRelay(relay, 'eu', '/checksum')).json()) as { tables: { table: string }[] };
      expect(report.tables.map((one) => one.table).toSorted()).toEqual(held.map((one) => one.table).toSorted());
    });

    test('the relay comes back after a stop and goes on', async () => {
      const { directory } = relay;
      await relay.stop();
      await postgres.sql(
        `insert into customers values (400, 'n', 'e', 'eu'), (401, 'n', 'e', 'us'); update customers set region = 'us' where id = 200`,
      );
      relay = await startPlacedRelay(
        postgres,
        [EU, { name: 'all', pops: ['all'], forward: 'allow', tables: ['*'] }],
        directory,
      );
      await relay.relay.ready;
      const { path } = eu;
      await eu.stop();
      await all.stop();
      eu = startPop(relay, 'eu', path.slice(0, path.lastIndexOf('/')));
      all = startPop(relay, 'all');
      await check('');
      expect(eu.lines.filter((line) => line.includes('snapshot'))).toEqual([]);
    });
  });

  describe(`INVARIANT_I4 ${version}: a placement changes`, () => {
    const spec = (tables: string[], more: Partial<PlacementSpec> = {}): PlacementSpec => ({
      name: 'eu',
      pops: ['eu'],
      forward: 'allow',
      tables,
      ...more,
    });
    const schema = `
      create table customers (id int primary key, name text, email text, region text);
      create table orders (id int primary key, customer int, note text);
      create table keyless (a int, b text); alter table keyless replica identity full;
      create table bare (a int, b text);
      insert into customers select g, 'n' || g, 'e' || g, case g % 3 when 0 then 'eu' when 1 then 'us' end from generate_series(1, 300) g;
      insert into orders select g, g, repeat('o', 100) from generate_series(1, 3000) g;
      insert into keyless select g % 5, 'k' || g % 3 from generate_series(1, 60) g;
      insert into bare select g % 5, 'k' || g % 3 from generate_series(1, 60) g`;

    test('by the exact difference in one transaction, step by step', async () => {
      await using postgres = await startPostgres({ version });
      await postgres.sql(schema);
      await using relay = await startPlacedRelay(postgres, []);
      await relay.relay.ready;
      await setPlacement(relay, spec(["customers (id, name) WHERE region = 'eu'"]));
      await using eu = startPop(relay, 'eu');
      await expectHolds(postgres, eu, [{ table: 'public.customers', columns: ['id', 'name'], where: "region = 'eu'" }]);
      const lines = eu.lines.length;
      const steps: { tables: string[]; held: Parameters<typeof expectHolds>[2] }[] = [
        {
          tables: ["customers (id, name) WHERE region = 'us'"],
          held: [{ table: 'public.customers', columns: ['id', 'name'], where: "region = 'us'" }],
        },
        {
          tables: ["customers (id, email) WHERE region IN ('us', 'eu') AND id < 100", 'orders WHERE id > 2990'],
          held: [
            { table: 'public.customers', columns: ['id', 'email'], where: "region in ('us', 'eu') and id < 100" },
            { table: 'public.orders', columns: ['id', 'customer', 'note'], where: 'id > 2990' },
          ],
        },
        {
          tables: ['customers', 'orders (id, note)', 'keyless (b) WHERE a = 1', 'bare (b) WHERE a = 1'],
          held: [
            { table: 'public.customers', columns: ['id', 'name', 'email', 'region'] },
            { table: 'public.orders', columns: ['id', 'note'] },
            { table: 'public.keyless', columns: ['b'], where: 'a = 1' },
            { table: 'public.bare', columns: ['b'], where: 'a = 1' },
          ],
        },
        {
          tables: ['keyless WHERE a IN (1, 2)', 'bare WHERE a <> 1'],
          held: [
            { table: 'public.keyless', columns: ['a', 'b'], where: 'a in (1, 2)' },
            { table: 'public.bare', columns: ['a', 'b'], where: 'a <> 1' },
          ],
        },
        {
          tables: ['*'],
          held: [
            { table: 'public.bare', columns: ['a', 'b'] },
            { table: 'public.customers', columns: ['id', 'name', 'email', 'region'] },
            { table: 'public.keyless', columns: ['a', 'b'] },
            { table: 'public.orders', columns: ['id', 'customer', 'note'] },
          ],
        },
      ];
      for (const { tables, held } of steps) {
        await setPlacement(relay, spec(tables));
        await expectHolds(postgres, eu, held);
        // A difference, not a new copy; `*` alone holds everything and is another history.
        const isCopied = eu.lines.slice(lines).some((line) => line.includes('replica.replaced'));
        expect([tables, isCopied]).toEqual([tables, tables[0] === '*']);
        await postgres.sql(`update customers set region = 'eu' where id % 7 = 0`);
      }
    });

    test('what it loses is wiped from the file', async () => {
      await using postgres = await startPostgres({ version });
      await postgres.sql(`create table t (id int primary key, a text, secret text);
        insert into t select g, 'plain', 'MARKER-' || g || repeat('m', 500) from generate_series(1, 2000) g`);
      await using relay = await startPlacedRelay(postgres, []);
      await relay.relay.ready;
      await setPlacement(relay, spec(['t']));
      await using eu = startPop(relay, 'eu');
      await expectHolds(postgres, eu, [{ table: 'public.t', columns: ['id', 'a', 'secret'] }]).catch(() => {});
      await caughtUp(postgres, eu);
      await setPlacement(relay, spec(['t WHERE id <= 3']));
      await expectHolds(postgres, eu, [{ table: 'public.t', columns: ['id', 'a', 'secret'], where: 'id <= 3' }]);
      await setPlacement(relay, spec(['t (id, a)']));
      await expectHolds(postgres, eu, [{ table: 'public.t', columns: ['id', 'a'] }]);
      await until('the journal is emptied', async () => {
        await caughtUp(postgres, eu);
        return (await Bun.file(`${eu.path}-wal`).bytes()).length === 0;
      });
      expect(Buffer.from(await Bun.file(eu.path).bytes()).includes('MARKER-')).toBe(false);
    });

    test('a PoP that is away gets it when it returns, and nothing that was allowed once', async () => {
      await using postgres = await startPostgres({ version });
      await postgres.sql(schema);
      await using relay = await startPlacedRelay(postgres, [], undefined);
      await relay.relay.ready;
      await setPlacement(relay, spec(["customers (id, name) WHERE region = 'eu'"]));
      await using first = startPop(relay, 'eu');
      await expectHolds(postgres, first, [
        { table: 'public.customers', columns: ['id', 'name'], where: "region = 'eu'" },
      ]);
      const directory = first.path.slice(0, first.path.lastIndexOf('/'));
      await first.stop();
      // More than it had: the difference is in the log.
      await setPlacement(relay, spec(["customers (id, name) WHERE region = 'eu'", 'orders (id)']));
      await using second = startPop(relay, 'eu', directory);
      await expectHolds(postgres, second, [
        { table: 'public.customers', columns: ['id', 'name'], where: "region = 'eu'" },
        { table: 'public.orders', columns: ['id'] },
      ]);
      expect(second.lines.filter((line) => line.includes('replica.replaced'))).toEqual([]);
      await second.stop();
      // Less: what was sent before is not sent again, so it needs a snapshot, which has only what is allowed now.
      await postgres.sql(`insert into customers values (9000, 'SECRET', 'e', 'eu')`);
      await setPlacement(relay, spec(["customers (id) WHERE region = 'us'"]));
      const wire = tap(relay.port);
      try {
        await using third = startPop({ port: wire.port, httpPort: relay.httpPort }, 'eu', directory);
        await expectHolds(postgres, third, [{ table: 'public.customers', columns: ['id'], where: "region = 'us'" }]);
        expect(wire.sent().includes('SECRET')).toBe(false);
        expect(third.lines.some((line) => line.includes('replica.replaced'))).toBe(true);
      } finally {
        wire.stop();
      }
    });

    test('a PoP that comes from everything, or from another placement, takes a snapshot of its new one', async () => {
      await using postgres = await startPostgres({ version });
      await postgres.sql(schema);
      await using relay = await startPlacedRelay(postgres, []);
      await relay.relay.ready;
      await using eu = startPop(relay, 'eu');
      await using us = startPop(relay, 'us');
      await caughtUp(postgres, eu, us);
      await setPlacement(relay, { ...spec(['*']), name: 'rest', pops: ['*'] });
      await setPlacement(relay, spec(["customers WHERE region = 'eu'"]));
      await expectHolds(postgres, eu, [
        { table: 'public.customers', columns: ['id', 'name', 'email', 'region'], where: "region = 'eu'" },
      ]);
      expect(us.lines.filter((line) => line.includes('upstream-lost'))).toEqual([]);
      await setPlacement(relay, spec(['orders'], { name: 'both', pops: ['us'] }));
      await expectHolds(postgres, us, [{ table: 'public.orders', columns: ['id', 'customer', 'note'] }]);
      expect((await askRelay(relay, 'admin', '/placements/both', { method: 'DELETE' })).status).toBe(200);
      await until('it holds everything again', async () => {
        await caughtUp(postgres, us);
        return us.rows('select count(*) from _skerry_table')[0]?.[0] === 4;
      });
    });

    test('the relay is stopped while a change waits: it takes effect later', async () => {
      await using postgres = await startPostgres({ version });
      await postgres.sql(schema);
      const relay = await startPlacedRelay(postgres, [spec(["customers (id) WHERE region = 'eu'"])]);
      await relay.relay.ready;
      await using eu = startPop(relay, 'eu');
      await expectHolds(postgres, eu, [{ table: 'public.customers', columns: ['id'], where: "region = 'eu'" }]);
      await eu.stop();
      await relay.stop();
      // The configuration file says something else now.
      await using again = await startPlacedRelay(postgres, [spec(['orders (id)'])], relay.directory);
      await again.relay.ready;
      await until('it is in force', async () => {
        const response = await askRelay(again, 'admin', '/placements');
        return ((await response.json()) as { isWaiting: boolean }).isWaiting === false;
      });
      await using back = startPop(again, 'eu', eu.path.slice(0, eu.path.lastIndexOf('/')));
      await expectHolds(postgres, back, [{ table: 'public.orders', columns: ['id'] }]);
      const response = await askRelay(again, 'admin', '/placements/eu', { method: 'DELETE' });
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
        409,
        'placement-configured',
      ]);
    });
  });
}
