// Placements beyond an edge at the root relay: relays behind relays, and PostgreSQL's own subscriptions.

import { expect, setDefaultTimeout, test } from 'bun:test';
import { needs, startPostgres } from '../../test/harness.ts';
import {
  askRelay,
  expectHolds,
  placedRelayOptions,
  seenBy,
  setPlacement,
  startPlacedRelay,
  startPop,
} from '../../test/placement.ts';
import { startRelay, until } from '../../test/relay.ts';
import { parseConnectionString } from '../session/connection-string.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

const SCHEMA = `create table people (id int primary key, name text, region text, big text);
  alter table people alter column big set storage external;
  create table other (id int primary key);
  insert into people select g, 'n' || g, case g % 3 when 0 then 'eu' when 1 then 'us' end, repeat('b', 3000) from generate_series(1, 60) g`;

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  test(`INVARIANT_I4 ${version}: a relay with a placement passes on no more than it has, and less where it says so`, async () => {
    await using postgres = await startPostgres({ version });
    await postgres.sql(SCHEMA);
    await using root = await startPlacedRelay(postgres, []);
    await root.relay.ready;
    await setPlacement(root, {
      name: 'continent',
      pops: ['eu'],
      forward: 'allow',
      tables: ['people (id, name, region) WHERE region IS NOT NULL'],
    });
    const seen = seenBy(root, 'eu');
    await using branch = await startRelay({
      name: 'branch',
      upstream: {
        kind: 'relay',
        client: { target: parseConnectionString(seen.url) },
        publication: 'skerry',
        httpUrl: seen.httpUrl,
      },
      overrides: placedRelayOptions([
        { name: 'all', pops: ['all'], forward: 'allow', tables: ['*'] },
        { name: 'city', pops: ['us'], forward: 'never', tables: ["people (id, name) WHERE region = 'us'"] },
      ]),
    });
    await branch.relay.ready;
    await using whole = startPop(branch, 'all');
    await using part = startPop(branch, 'us');
    const check = async (): Promise<void> => {
      await expectHolds(postgres, whole, [
        { table: 'public.people', columns: ['id', 'name', 'region'], where: 'region is not null' },
      ]);
      await expectHolds(postgres, part, [{ table: 'public.people', columns: ['id', 'name'], where: "region = 'us'" }]);
    };
    await check();
    await postgres.sql(`update people set region = 'us' where id in (3, 4, 5); update people set region = null where id in (7, 10); insert into other values (1);
      update people set id = id + 100, region = 'us' where id in (2, 6); delete from people where id = 13`);
    await check();
    await postgres.sql(
      `alter table people add column later text default 'x'; alter table people rename column big to huge`,
    );
    await check();
    // The root changes what the branch has: a change like any other for those behind it.
    await setPlacement(root, {
      name: 'continent',
      pops: ['eu'],
      forward: 'allow',
      tables: ["people (id, name, region) WHERE region = 'us'", 'other'],
    });
    await expectHolds(postgres, whole, [
      { table: 'public.people', columns: ['id', 'name', 'region'], where: "region = 'us'" },
      { table: 'public.other', columns: ['id'] },
    ]);
    await expectHolds(postgres, part, [{ table: 'public.people', columns: ['id', 'name'], where: "region = 'us'" }]);
    // A branch has no core to ask for a transaction: its own change waits for the next one.
    const answer = await askRelay(branch, 'admin', '/placements/town', {
      method: 'PUT',
      body: { pops: ['eu'], tables: ['people (id)'] },
    });
    expect(answer.status).toBe(200);
    await using town = startPop(branch, 'eu', undefined);
    await expectHolds(postgres, town, [{ table: 'public.people', columns: ['id'], where: "region = 'us'" }]);
    await askRelay(branch, 'admin', '/placements/town', {
      method: 'PUT',
      body: { pops: ['eu'], tables: ['people (id) WHERE id > 50'] },
    });
    await postgres.sql(`insert into other values (2)`);
    await until('it is in force', async () => {
      const report = (await (await askRelay(branch, 'admin', '/placements')).json()) as { isWaiting: boolean };
      return report.isWaiting === false;
    });
    await expectHolds(postgres, town, [
      { table: 'public.people', columns: ['id'], where: "region = 'us' and id > 50" },
    ]);
  });

  test(`INVARIANT_I4 INVARIANT_I9 ${version}: a stock subscription has a placement like any other PoP`, async () => {
    await using postgres = await startPostgres({ version });
    await using target = await startPostgres({ version, settings: { wal_receiver_status_interval: '1s' } });
    await postgres.sql(
      `create table people (id int primary key, name text, region text, big text); alter table people alter column big set storage external; create table other (id int primary key)`,
    );
    await target.sql(`create table people (id int primary key, name text, big text)`);
    await using relay = await startPlacedRelay(postgres, []);
    await relay.relay.ready;
    await setPlacement(relay, {
      name: 'eu',
      pops: ['eu'],
      forward: 'allow',
      tables: ["people (id, name, big) WHERE region = 'eu'"],
    });
    await target.sql(`create subscription s connection 'host=127.0.0.1 port=${relay.port} user=eu password=''eu secret'' dbname=postgres'
      publication skerry with (create_slot = false, copy_data = false, slot_name = 'stock')`);
    await until(
      'it is attached',
      () => relay.relay.status().subscribers.some((one) => one.name === 'stock') || target.log().slice(-500),
    );
    const equal = async (where: string): Promise<void> => {
      const wanted = await postgres.value(
        `select md5(string_agg(id || name || big, ',' order by id)) from people where ${where}`,
      );
      await until(
        'both hold the same',
        async () =>
          (await target.value(`select md5(string_agg(id || name || big, ',' order by id)) from people`)) === wanted ||
          target.log().slice(-500),
      );
    };
    await postgres.sql(
      `insert into people select g, 'n' || g, case g % 2 when 0 then 'eu' else 'us' end, repeat('b', 4000) from generate_series(1, 40) g; insert into other values (1)`,
    );
    await equal("region = 'eu'");
    // The value that did not change is there all the same.
    await postgres.sql(
      `update people set region = 'eu' where id < 10; update people set region = 'us' where id > 30; update people set id = id + 100 where id = 20`,
    );
    await equal("region = 'eu'");
    await setPlacement(relay, {
      name: 'eu',
      pops: ['eu'],
      forward: 'allow',
      tables: ['people (id, name, big) WHERE id < 25'],
    });
    await equal('id < 25');
    await target.sql('drop subscription s');
  });
}
