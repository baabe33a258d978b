// PostgreSQL's own programs as subscribers of a relay: they get the same transactions as from the core itself.

import { expect, test, setDefaultTimeout } from 'bun:test';
import { clientProgram, needs, startPostgres, type TestPostgres } from '../../test/harness.ts';
import { PEER, startRelay, until, upstreamOf, type TestRelay } from '../../test/relay.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

/** Everything pg_recvlogical prints between now and `until`, as hex messages. */
async function receive(
  where: { host: string; port: number; user: string; password: string },
  slot: string,
  endpos: string,
  start?: string,
): Promise<Buffer> {
  const child = Bun.spawn(
    [
      clientProgram('pg_recvlogical'),
      '--start',
      '--no-loop',
      '-S',
      slot,
      '-f',
      '-',
      '-o',
      'proto_version=1',
      '-o',
      'publication_names=skerry',
      '--endpos',
      endpos,
      ...(start === undefined ? [] : ['--startpos', start]),
      '-d',
      `host=${where.host} port=${where.port} user=${where.user} dbname=postgres`,
    ],
    { env: { ...process.env, PGPASSWORD: where.password }, stdout: 'pipe', stderr: 'pipe' },
  );
  const [out, err] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (child.exitCode !== 0) throw new Error(`pg_recvlogical: ${err}`);
  return Buffer.from(out);
}

/** Runs pg_recvlogical against a relay and gives what it complains about. The relay is in this process: nothing may block it. */
async function run(relay: TestRelay, ...args: string[]): Promise<string> {
  const child = Bun.spawn(
    [
      clientProgram('pg_recvlogical'),
      ...args,
      '-d',
      `host=127.0.0.1 port=${relay.port} user=${PEER.user} dbname=postgres`,
    ],
    { env: { ...process.env, PGPASSWORD: PEER.password }, stderr: 'pipe' },
  );
  const text = await new Response(child.stderr).text();
  await child.exited;
  return text;
}

const peerOf = (relay: TestRelay) => ({ host: '127.0.0.1', port: relay.port, ...PEER });
const coreOf = (postgres: TestPostgres) => ({
  host: '127.0.0.1',
  port: postgres.port,
  user: postgres.user,
  password: '',
});

test.skipIf(!needs('pg_recvlogical') || !needs('postgres-15'))(
  'INVARIANT_I9: pg_recvlogical creates a slot at the relay and receives what it receives from the core',
  async () => {
    await using postgres = await startPostgres({ version: '15' });
    await postgres.sql(`create table t (id int primary key, a text)`);
    await using relay = await startRelay({ upstream: upstreamOf(postgres) });
    await relay.relay.ready;
    await until('the relay streams', () => relay.relay.status().state === 'streaming');
    expect(await run(relay, '--create-slot', '-P', 'pgoutput', '-S', 'mine')).toBe('');
    await postgres.sql(`select pg_create_logical_replication_slot('direct', 'pgoutput')`);
    await postgres.sql(
      `insert into t select g, 'x' from generate_series(1, 3) g; update t set a = 'y' where id = 2; begin; delete from t where id = 1; insert into t values (9, 'z'); commit; truncate t`,
    );
    const endpos = (await postgres.value('select pg_current_wal_insert_lsn()::text')) as string;
    await postgres.sql(`insert into t values (100, 'after')`);
    const [viaRelay, direct] = await Promise.all([
      receive(peerOf(relay), 'mine', endpos),
      receive(coreOf(postgres), 'direct', endpos),
    ]);
    // The same bytes, but for one thing: the core describes the table as often as it likes, the relay once.
    const begin = 2 * 22;
    const hex = direct.toString('hex');
    const description = hex.slice(begin, hex.indexOf('0a49', begin) + 2);
    expect(description).toStartWith('52');
    expect(viaRelay.toString('hex').split(description).length).toBe(2);
    expect(viaRelay.toString('hex').replaceAll(description, '')).toBe(hex.replaceAll(description, ''));
    expect(direct.length).toBeGreaterThan(300);
    // The slot remembers: what was confirmed does not come again.
    const again = await receive(peerOf(relay), 'mine', endpos);
    expect(again.length).toBe(0);
    expect(await run(relay, '--drop-slot', '-S', 'mine')).toBe('');
  },
);

for (const [core, subscriber] of [
  ['15', '15'],
  ['18', '18'],
  ['15', '18'],
] as const) {
  test.skipIf(!needs(`postgres-${core}`) || !needs(`postgres-${subscriber}`))(
    `INVARIANT_I9: a stock subscription of PostgreSQL ${subscriber} follows a relay of PostgreSQL ${core}`,
    async () => {
      await using postgres = await startPostgres({ version: core, settings: { logical_decoding_work_mem: '64kB' } });
      await using target = await startPostgres({
        version: subscriber,
        settings: { wal_receiver_status_interval: '1s' },
      });
      const tables = `create table t (id int primary key, a text, big text); create table full_identity (a int, b text); alter table full_identity replica identity full`;
      await postgres.sql(tables);
      await target.sql(tables);
      await using relay = await startRelay({ upstream: upstreamOf(postgres) });
      await relay.relay.ready;
      await until('the relay streams', () => relay.relay.status().state === 'streaming');
      await target.sql(
        `create subscription s connection 'host=127.0.0.1 port=${relay.port} user=${PEER.user} password=''peer secret'' dbname=postgres'
       publication skerry with (create_slot = false, copy_data = false, slot_name = 'stock')`,
      );
      await until(
        'it is attached',
        () => relay.relay.status().subscribers.some((one) => one.name === 'stock') || target.log().slice(-500),
      );
      await postgres.sql(`insert into t select g, 'a' || g, repeat('b', 3000) from generate_series(1, 100) g; update t set a = 'changed' where id = 7; update t set id = 1000 where id = 8; delete from t where id = 9;
      insert into full_identity values (1, 'x'), (2, 'y'); update full_identity set b = 'z' where a = 1; delete from full_identity where a = 2`);
      await postgres.sql(
        `begin; insert into t select g, 'large', repeat('c', 200) from generate_series(2001, 7000) g; savepoint s; delete from t where id > 3000; rollback to s; commit`,
      );
      await postgres.sql(
        `begin; alter table t add column ignored int; alter table t drop column ignored; insert into t values (9999, 'after ddl', ''); commit`,
      );
      const sum = `select md5(string_agg(t::text, ',' order by t::text)) from (select id, a, big from t union all select a, b, '' from full_identity) t`;
      const wanted = await postgres.value(sum);
      await until('both hold the same', async () => (await target.value(sum)) === wanted || target.log().slice(-500));
      await postgres.sql('truncate t');
      await until('truncated', async () => (await target.value('select count(*) from t')) === '0');
      // It goes on where it was after a restart.
      await target.restart();
      await postgres.sql(`insert into t values (1, 'again', '')`);
      await until(
        'both hold the same again',
        async () => (await target.value('select a from t')) === 'again' || target.log().slice(-500),
      );
      await until('it confirms', () => {
        const stock = relay.relay.status().subscribers.find((one) => one.name === 'stock');
        return stock?.lagBytes === 0 || JSON.stringify(stock);
      });
      await target.sql('drop subscription s');
    },
    30_000,
  );
}
