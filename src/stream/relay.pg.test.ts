import { expect, test, setDefaultTimeout } from 'bun:test';
import { needs, startPostgres } from '../../test/harness.ts';
import { caughtUp, startRelay, startReplica, upstreamOf, upstreamRelay } from '../../test/relay.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  test(`${version}: rows there before and rows that come reach an edge, also behind a second relay`, async () => {
    await using postgres = await startPostgres({ version });
    await postgres.sql(
      `create table t (id int primary key, a text); insert into t select g, 'row ' || g from generate_series(1, 1000) g`,
    );
    await using relay = await startRelay({ upstream: upstreamOf(postgres) });
    await relay.relay.ready;
    await using edge = startReplica(relay);
    await postgres.sql(
      `insert into t values (1001, 'new'); update t set a = 'changed' where id = 1; delete from t where id = 2`,
    );
    await caughtUp(postgres, edge);
    expect(edge.rows(`select count(*), min(id), max(id) from "public.t"`)).toEqual([[1000, 1, 1001]]);
    expect(edge.rows(`select a from "public.t" where id = 1`)).toEqual([['changed']]);

    await using second = await startRelay({ name: 'second', upstream: upstreamRelay(relay) });
    await second.relay.ready;
    await using far = startReplica(second, { name: 'far' });
    await postgres.sql(`create table later (id int primary key); insert into later values (7)`);
    await caughtUp(postgres, edge, far);
    expect(far.rows(`select count(*) from "public.t"`)).toEqual([[1000]]);
    expect(far.rows(`select id from "public.later"`)).toEqual([[7]]);
    expect(
      relay.relay
        .status()
        .subscribers.map((one) => one.name)
        .toSorted(),
    ).toEqual(['edge', 'relay.replica', 'second']);
  });
}
