// What goes wrong around a relay, and what it does about it: never a silent gap.

import { expect, test, setDefaultTimeout } from 'bun:test';
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs, startPostgres, type StartPostgresOptions, type TestPostgres } from '../../test/harness.ts';
import {
  caughtUp,
  PEER,
  relayWorld,
  startRelay,
  startReplica,
  type TestRelay,
  type TestReplica,
  until,
  upstreamOf,
  upstreamRelay,
} from '../../test/relay.ts';
import { Fault } from '../base/fault.ts';
import type { ReplicaEnd } from '../contracts/replica-control.ts';
import { SILENT_LOG } from '../observe/log.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { runReplicaHere } from './replica-host.ts';
import { ClientSession } from '../session/client-session.ts';
import { parseConnectionString } from '../session/connection-string.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(60_000);

const TABLE = `create table t (id int primary key, a text); insert into t select g, 'a' from generate_series(1, 100) g`;

async function equal(postgres: TestPostgres, edge: TestReplica): Promise<void> {
  const wanted = await postgres.value(
    `select count(*) || '/' || coalesce(sum(id), 0) || '/' || count(distinct a) from t`,
  );
  await until('the edge equals the core', () => {
    const [row] = edge.rows(
      `select count(*) || '/' || coalesce(sum(id), 0) || '/' || count(distinct a) from "public.t"`,
    );
    return row?.[0] === wanted || `${String(row?.[0])} instead of ${wanted}`;
  });
}

const said = (where: { readonly lines: string[] }, words: string): boolean =>
  where.lines.some((line) => line.includes(words));

/** Core, relay and edge, all of them following. */
async function world(
  options: StartPostgresOptions = {},
): Promise<AsyncDisposable & { postgres: TestPostgres; relay: TestRelay; edge: TestReplica }> {
  const postgres = await startPostgres(options);
  await postgres.sql(TABLE);
  const relay = await startRelay({ upstream: upstreamOf(postgres) });
  await relay.relay.ready;
  const edge = startReplica(relay);
  await caughtUp(postgres, edge);
  return {
    postgres,
    relay,
    edge,
    async [Symbol.asyncDispose]() {
      await edge[Symbol.asyncDispose]();
      await relay[Symbol.asyncDispose]();
      await postgres[Symbol.asyncDispose]();
    },
  };
}

/** The same relay again, on the port it had. */
function again(relay: TestRelay, postgres: TestPostgres): Promise<TestRelay> {
  return startRelay({
    directory: relay.directory,
    upstream: upstreamOf(postgres),
    overrides: {
      listen: { host: '127.0.0.1', port: relay.port },
      http: { host: '127.0.0.1', port: relay.httpPort },
    },
  });
}

test('a relay that was stopped goes on where it was, also after idle time, and misses nothing', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  for (let round = 0; round < 3; round += 1) {
    await postgres.sql(`select pg_logical_emit_message(true, 'noise', repeat('x', 100000)) from generate_series(1, 5)`);
    if (round === 1) await Bun.sleep(1500);
    await relay.stop();
    await postgres.sql(`insert into t values (${1000 + round}, 'while away')`);
    await using next = await again(relay, postgres);
    await caughtUp(postgres, edge);
    await equal(postgres, edge);
    expect(said(next, 'relay.copy')).toBe(false);
    expect(said(next, 'relay.resume')).toBe(true);
    await next.stop();
  }
});

test('a core that is killed and comes back is followed again', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await postgres.sql(`insert into t values (500, 'before')`);
  await postgres.kill9();
  await until('the relay noticed', () => relay.relay.status().state === 'lost');
  expect(edge.rows(`select count(*) from "public.t"`).length).toBe(1);
  await postgres.restart();
  await postgres.sql(`insert into t values (501, 'after')`);
  await caughtUp(postgres, edge);
  await equal(postgres, edge);
  expect(said(edge, 'replica.unusable')).toBe(false);
});

test('INVARIANT_I3: garbage under our own message prefix is left out and told; the rows around it arrive', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await postgres.sql(`begin; insert into t values (600, 'before it');
    select pg_logical_emit_message(true, 'skerry.schema', 'not json');
    select pg_logical_emit_message(true, 'skerry.rows', '{}');
    insert into t values (601, 'behind it'); commit`);
  await caughtUp(postgres, edge);
  await equal(postgres, edge);
  expect(relay.lines.filter((line) => line.includes('relay.message-ignored')).length).toBe(2);
  expect(said(relay, 'relay.upstream-lost')).toBe(false);
  expect(said(edge, 'replica.unusable')).toBe(false);
});

for (const [what, action, words] of [
  ['dropped', `select pg_drop_replication_slot('skerry_relay')`, 'the replication slot is gone'],
  [
    'recreated',
    `select pg_drop_replication_slot('skerry_relay'); select pg_create_logical_replication_slot('skerry_relay', 'pgoutput')`,
    'it was recreated or read by somebody else',
  ],
  [
    'read by somebody else',
    `select pg_replication_slot_advance('skerry_relay', pg_current_wal_lsn())`,
    'it was recreated or read by somebody else',
  ],
] as const) {
  test(`a slot that was ${what} leads to a new copy, loudly, and edges take a snapshot`, async () => {
    await using all = await world();
    const { postgres, relay, edge } = all;
    await relay.stop();
    await postgres.sql(`delete from t where id < 50; insert into t values (777, 'in the gap')`);
    await until('the slot is free', async () =>
      String(await postgres.value('select active from pg_replication_slots')).startsWith('f'),
    );
    await postgres.sql(action);
    await using next = await again(relay, postgres);
    await until('it took a copy', () => said(next, 'serving a new copy'));
    expect(said(next, words)).toBe(true);
    await postgres.sql(`insert into t values (778, 'after the gap')`);
    await equal(postgres, edge);
    expect(said(edge, 'replica.replaced')).toBe(true);
  });
}

test('INVARIANT_I5: a log that lost what was acknowledged leads to a new copy, not to a gap', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await postgres.sql(`insert into t values (500, 'acknowledged')`);
  await caughtUp(postgres, edge);
  await until('all of it is acknowledged, the position behind it included', async () => {
    const confirmed = await postgres.value(
      'select confirmed_flush_lsn::text from pg_replication_slots where confirmed_flush_lsn = pg_current_wal_flush_lsn()',
    );
    return confirmed === relay.relay.status().position || `${confirmed} of ${relay.relay.status().position}`;
  });
  await relay.stop();
  const folder = join(relay.directory, 'log');
  const segment = join(folder, readdirSync(folder).find((name) => name.endsWith('.log')) as string);
  truncateSync(segment, statSync(segment).size - 20);
  await postgres.sql(`insert into t values (501, 'afterwards')`);
  await using next = await again(relay, postgres);
  await until('it took a copy', () => said(next, 'serving a new copy'));
  expect(said(next, 'relay.log-tail-cut')).toBe(true);
  await equal(postgres, edge);
});

test('a log that rots while a subscriber is behind is replaced by a new copy', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await edge.stop();
  for (let round = 0; round < 20; round += 1) {
    await postgres.sql(
      `insert into t select g, repeat('x', 1000) from generate_series(${1000 * round + 1000}, ${1000 * round + 1999}) g`,
    );
  }
  await until('the relay stored it', () => relay.relay.status().lagBytes === 0);
  const folder = join(relay.directory, 'log');
  const segment = join(folder, readdirSync(folder).find((name) => name.endsWith('.log')) as string);
  const bytes = readFileSync(segment);
  bytes.fill(0xff, 2_000_000, 2_000_100);
  writeFileSync(segment, bytes);
  await using later = startReplica(relay, { directory: edge.path.replace(/\/replica.sqlite$/, '') });
  await until('it took a copy', () => said(relay, 'the relay log is damaged') && said(relay, 'serving a new copy'));
  await equal(postgres, later);
});

test('a relay whose own replica ends unexpectedly begins again, and nobody stays attached to what is not fed', async () => {
  await using postgres = await startPostgres();
  await postgres.sql(TABLE);
  const ends: ((end: ReplicaEnd) => void)[] = [];
  await using relay = await startRelay({
    upstream: upstreamOf(postgres),
    startReplicaWith(options) {
      const control = runReplicaHere({ ...relayWorld, log: SILENT_LOG }, options);
      const early = Promise.withResolvers<ReplicaEnd>();
      ends.push(early.resolve);
      return { ...control, ended: Promise.race([control.ended, early.promise]) };
    },
  });
  await relay.relay.ready;
  await using edge = startReplica(relay);
  await caughtUp(postgres, edge);
  ends[0]?.({ reason: 'of the test', unusable: false });
  await until('it began again', () => ends.length === 2);
  await postgres.sql(`insert into t values (700, 'after')`);
  await caughtUp(postgres, edge);
  await equal(postgres, edge);
  ends[1]?.({ reason: 'of the test', unusable: true });
  await until('it took a copy', () => said(relay, `the relay's own replica is unusable`) && ends.length === 3);
  await postgres.sql(`insert into t values (701, 'after')`);
  await equal(postgres, edge);
});

test('a slot that the core invalidates leads to a new copy', async () => {
  await using postgres = await startPostgres({
    settings: { max_slot_wal_keep_size: '1MB', wal_keep_size: 0, max_wal_size: '32MB' },
  });
  await postgres.sql(TABLE);
  await using relay = await startRelay({ upstream: upstreamOf(postgres) });
  await relay.relay.ready;
  await using edge = startReplica(relay);
  await caughtUp(postgres, edge);
  await relay.stop();
  await postgres.sql(`insert into t values (900, 'x')`);
  for (let round = 0; round < 4; round += 1)
    await postgres
      .sql('select pg_switch_wal()')
      .then(() => postgres.sql(`insert into t values (${901 + round}, 'x'); checkpoint`));
  expect(await postgres.value(`select wal_status from pg_replication_slots`)).toBe('lost');
  await using next = await again(relay, postgres);
  await until('it took a copy', () => said(next, 'serving a new copy'));
  expect(said(next, 'the replication slot is lost')).toBe(true);
  await equal(postgres, edge);
});

/** Ends the core and starts it as a promoted standby: the next timeline. */
async function failOver(postgres: TestPostgres, dataFrom: string | null): Promise<void> {
  await postgres.stop();
  if (dataFrom !== null) {
    Bun.spawnSync(['rm', '-rf', postgres.dataDir]);
    Bun.spawnSync(['cp', '-a', dataFrom, postgres.dataDir]);
  }
  const signal = join(postgres.dataDir, 'standby.signal');
  writeFileSync(signal, '');
  Bun.spawnSync(['chown', '--reference', join(postgres.dataDir, 'PG_VERSION'), signal]);
  await postgres.restart();
  await postgres.sql('select pg_promote()');
}

test('a failover that lost nothing is followed on the new timeline, by relay, lower relay and edge', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await using lower = await startRelay({ name: 'lower', upstream: upstreamRelay(relay) });
  await lower.relay.ready;
  await using far = startReplica(lower, { name: 'far' });
  await caughtUp(postgres, edge, far);
  await failOver(postgres, null);
  await postgres.sql(`insert into t values (600, 'new timeline')`);
  await caughtUp(postgres, edge, far);
  await equal(postgres, edge);
  await equal(postgres, far);
  expect(edge.control.feed.current.epoch?.timeline).toBe(2);
  expect(far.control.feed.current.epoch?.timeline).toBe(2);
  expect(said(relay, 'relay.timeline')).toBe(true);
  expect(said(relay, 'relay.copy-needed')).toBe(false);
  expect(said(edge, 'replica.unusable')).toBe(false);
});

test('INVARIANT_I6: a failover that lost commits is undone everywhere by a new copy', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await postgres.stop();
  const old = `${postgres.dataDir}.old`;
  Bun.spawnSync(['cp', '-a', postgres.dataDir, old]);
  await postgres.restart();
  await postgres.sql(`insert into t values (666, 'will be lost')`);
  await caughtUp(postgres, edge);
  expect(edge.rows(`select a from "public.t" where id = 666`)).toEqual([['will be lost']]);
  await failOver(postgres, old);
  await postgres.sql(`insert into t values (667, 'instead')`);
  await until('it took a copy', () => said(relay, 'serving a new copy') && said(relay, 'relay.copy-needed'));
  await equal(postgres, edge);
  expect(edge.rows(`select id from "public.t" where id > 600`)).toEqual([[667]]);
});

test('a transaction that holds up the first copy is named, and the copy comes when it ends', async () => {
  await using postgres = await startPostgres();
  await postgres.sql(`${TABLE}; create table other (id int)`);
  await postgres.sql(`begin; insert into other values (1); prepare transaction 'forgotten'`);
  await using relay = await startRelay({ upstream: upstreamOf(postgres) });
  await until('it says who', () => said(relay, `prepared transaction 'forgotten'`));
  await postgres.sql(`commit prepared 'forgotten'`);
  await relay.relay.ready;
  await using edge = startReplica(relay);
  await caughtUp(postgres, edge);
  expect(edge.rows('select count(*) from "public.other"')).toEqual([[1]]);
});

test('a publication that the user changes leads to a new copy with what it sends now', async () => {
  await using postgres = await startPostgres();
  await postgres.sql(
    `${TABLE}; create table other (id int primary key); insert into other values (1); create publication mine for table t`,
  );
  await using relay = await startRelay({ upstream: { ...upstreamOf(postgres), publication: 'mine' } });
  await relay.relay.ready;
  await using edge = startReplica(relay, { publication: 'mine' });
  await caughtUp(postgres, edge);
  await postgres.sql(`alter publication mine add table other; insert into other values (2)`);
  await until('the other table is there', () => String(edge.rows(`select count(*) from "public.other"`)) === '2');
  expect(said(relay, 'the publication was changed')).toBe(true);
});

test('a publication that leaves changes out is refused; what there is goes on being served until it is mended', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await postgres.sql(`alter publication skerry set (publish = 'insert, update, delete')`);
  await until('it says so', () => said(relay, 'leaves out some kinds of change'));
  expect(said(relay, 'relay.copy-failed')).toBe(true);
  expect(relay.relay.status().subscribers.map((one) => one.name)).toContain('edge');
  await postgres.sql(
    `insert into t values (800, 'x'); alter publication skerry set (publish = 'insert, update, delete, truncate')`,
  );
  await equal(postgres, edge);
});

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  test(`${version}: INVARIANT_I3: a publication that is dropped and made again leads to a new copy, never to a gap`, async () => {
    await using all = await world({ version, settings: { logical_decoding_work_mem: '64kB' } });
    const { postgres, relay, edge } = all;
    const copies = (): number => relay.lines.filter((line) => line.includes('relay.copy ')).length;
    const drop = 'drop publication skerry';
    const between = (id: number): string => `insert into t values (${id}, 'sent by neither')`;
    const again = 'create publication skerry for all tables';
    const followed = async (what: string, before: number): Promise<void> => {
      await until(what, () => copies() > before);
      await equal(postgres, edge);
    };
    let before = copies();
    for (const sql of [drop, between(901)]) await postgres.sql(sql);
    await followed('dropped and not made again: we do it', before);

    before = copies();
    for (const sql of [drop, between(902), again]) await postgres.sql(sql);
    await followed('made again by its owner', before);

    before = copies();
    await postgres.sql(
      `begin; insert into t select g, repeat('x', 100) from generate_series(10000, 13000) g; alter publication skerry set (publish = 'insert, update, delete, truncate'); commit`,
    );
    await followed('changed inside a transaction that is streamed', before);
    expect(edge.rows(`select id from "public.t" where id between 900 and 999 order by 1`)).toEqual([[901], [902]]);
  });
}

test('INVARIANT_I4: row filters and column lists of a publication that the user made are respected', async () => {
  await using postgres = await startPostgres({ version: 'any' });
  await postgres.sql(`create table t (id int primary key, a text, secret text); insert into t select g, 'a', 's' from generate_series(1, 10) g;
    create table hidden (id int primary key); create publication mine for table t (id, a) where (id > 5)`);
  await using relay = await startRelay({ upstream: { ...upstreamOf(postgres), publication: 'mine' } });
  await relay.relay.ready;
  await using edge = startReplica({ ...relay }, { publication: 'mine' });
  await postgres.sql(
    `insert into t values (-3, 'no', 's'), (11, 'yes', 's'); update t set id = 100 where id = 1; update t set id = -2 where id = 6; alter table t add column later int; insert into hidden values (1)`,
  );
  await caughtUp(postgres, edge);
  expect(edge.rows(`select id, a from "public.t" order by id`)).toEqual([
    [7, 'a'],
    [8, 'a'],
    [9, 'a'],
    [10, 'a'],
    [11, 'yes'],
    [100, 'a'],
  ]);
  expect(edge.rows(`select name from pragma_table_info('public.t')`)).toEqual([['id'], ['a']]);
});

test('a role that may not create event triggers still gets schema changes, and copies again when rows cannot be known', async () => {
  await using postgres = await startPostgres();
  await postgres.sql('create role app login replication');
  await postgres.sql('create database d owner app');
  const sql = (text: string) => postgres.sql(`set role app; ${text}`, 'd');
  await sql(`${TABLE}; create publication mine for table t; reset role`);
  const client = {
    target: parseConnectionString(postgres.url.replace('postgres@', 'app@').replace(/\/postgres$/, '/d')),
  };
  await using relay = await startRelay({ upstream: { ...upstreamOf(postgres), publication: 'mine', client } });
  await relay.relay.ready;
  await using edge = startReplica(relay, { publication: 'mine' });
  await sql(
    `alter table t add column b int; insert into t (id, a, b) values (101, 'x', 5); alter table t rename column b to c; update t set c = 6 where id = 101; reset role`,
  );
  await until('the column is there', () => String(edge.rows(`select c from "public.t" where id = 101`)) === '6');
  expect(said(relay, 'core.no-event-triggers')).toBe(true);
  expect(said(edge, 'replica.unusable')).toBe(false);
  await sql(
    `alter table t alter column c type text using 'v' || c; insert into t (id, c) values (102, 'y'); reset role`,
  );
  await until('the type is there', () => String(edge.rows(`select c from "public.t" where id = 101`)) === 'v6');
  expect(said(relay, 'may have been rewritten')).toBe(true);
});

/** What the relay answers to a replication command. */
async function ask(relay: TestRelay, command: string, url = relay.url): Promise<string> {
  try {
    await using session = await ClientSession.connect(relayWorld, {
      target: parseConnectionString(url),
      replication: 'database',
      serverMajorMin: 0,
    });
    const stream = await session.startStream(command, { data: () => {}, ended: () => {} });
    stream.finish();
    return 'ok';
  } catch (error) {
    return error instanceof Fault ? `${error.sqlstate} ${error.message}` : String(error);
  }
}

test('INVARIANT_I10: a subscriber that lies, knows no password or asks for what is not there gets a clear error', async () => {
  await using all = await world();
  const { relay } = all;
  const start = (lsn: string, options = '') =>
    ask(relay, `START_REPLICATION SLOT "x" LOGICAL ${lsn} (proto_version '1', publication_names 'skerry'${options})`);
  expect(await start('0/1')).toStartWith('58P01 position 0/1 is no longer');
  expect(await start('FFFF/0')).toStartWith('22023 position FFFF/0 is ahead');
  expect(await start('0/0', ", binary 'true'")).toStartWith('0A000');
  expect(await start('0/0', ", nonsense 'true'")).toStartWith('22023 unrecognized pgoutput option');
  expect(
    await ask(relay, `START_REPLICATION SLOT "x" LOGICAL 0/0 (proto_version '9', publication_names 'skerry')`),
  ).toStartWith('22023');
  expect(
    await ask(relay, `START_REPLICATION SLOT "x" LOGICAL 0/0 (proto_version '1', publication_names 'nope')`),
  ).toStartWith('42704');
  expect(await ask(relay, 'START_REPLICATION 0/0')).toStartWith('0A000');
  expect(await ask(relay, 'SELECT * FROM t')).toStartWith('0A000');
  expect(await ask(relay, 'START_REPLICATION SLOT')).toStartWith('42601');
  expect(
    await ask(relay, 'IDENTIFY_SYSTEM', relay.url.replace(encodeURIComponent(PEER.password), 'wrong')),
  ).toStartWith('28P01');
  expect(await ask(relay, 'IDENTIFY_SYSTEM', relay.url.replace(PEER.user, 'nobody'))).toStartWith('28P01');
  const http = async (path: string, authorization?: string, method = 'GET') =>
    (await fetch(`${relay.httpUrl}${path}`, { method, headers: authorization === undefined ? {} : { authorization } }))
      .status;
  expect(await http('/snapshot')).toBe(401);
  expect(await http('/snapshot', `Basic ${btoa('peer:wrong')}`)).toBe(401);
  expect(await http('/snapshot', `Basic ${btoa(`peer:${PEER.password}`)}`)).toBe(200);
  expect(await http('/status')).toBe(200);
  expect(await http('/checksum')).toBe(401);
  expect(await http('/checksum?at=nonsense', `Basic ${btoa(`peer:${PEER.password}`)}`)).toBe(400);
  expect(await http('/nothing', `Basic ${btoa(`peer:${PEER.password}`)}`)).toBe(404);
});

test('INVARIANT_I11: a relay does not listen on other addresses without TLS', async () => {
  await using postgres = await startPostgres();
  const starting = startRelay({ upstream: upstreamOf(postgres), overrides: { listen: { host: '0.0.0.0', port: 0 } } });
  expect(
    await starting.then(
      () => 'listens',
      (error: Fault) => error.code,
    ),
  ).toBe('tls-required');
});

test('INVARIANT_I5: a full disk stops acknowledgements, not the service, and is over by itself', async () => {
  await using postgres = await startPostgres();
  await postgres.sql(TABLE);
  let full = false;
  const disk = {
    ...nodeDisk,
    open: async (path: string, mode: 'read' | 'write' | 'create') => {
      const file = await nodeDisk.open(path, mode);
      const write = file.write.bind(file);
      file.write = async (bytes, offset) => {
        if (full && path.endsWith('.log')) throw new Fault('disk-full', { message: 'no space left', retryable: true });
        await write(bytes, offset);
      };
      return file;
    },
  };
  await using relay = await startRelay({ upstream: upstreamOf(postgres), disk });
  await relay.relay.ready;
  await using edge = startReplica(relay);
  await caughtUp(postgres, edge);
  full = true;
  await postgres.sql(`insert into t values (301, 'while full')`);
  await caughtUp(postgres, edge);
  const written = await postgres.value(`select pg_current_wal_lsn()::text`);
  await Bun.sleep(1500);
  expect(said(relay, 'relay.log-full')).toBe(true);
  expect(await postgres.value(`select confirmed_flush_lsn < '${written}' from pg_replication_slots`)).toMatch(/^t/);
  full = false;
  await until('it is acknowledged', async () =>
    String(await postgres.value(`select confirmed_flush_lsn >= '${written}' from pg_replication_slots`)).startsWith(
      't',
    ),
  );
});

test('INVARIANT_I8: a subscriber that never reads holds nobody up, and gets everything when it reads again', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  await using session = await ClientSession.connect(relayWorld, {
    target: parseConnectionString(relay.url),
    replication: 'database',
    serverMajorMin: 0,
  });
  let commits = 0;
  let begins = 0;
  const stream = await session.startStream(
    `START_REPLICATION SLOT "slow" LOGICAL 0/0 (proto_version '1', publication_names 'skerry')`,
    {
      data: (buffer, start) => {
        if (buffer[start] !== 0x77) return;
        if (buffer[start + 25] === 0x42) begins += 1;
        if (buffer[start + 25] === 0x43) commits += 1;
      },
      ended: () => {},
    },
  );
  session.pause();
  const before = relay.relay.status();
  expect(before.subscribers.map((one) => one.name)).toContain('slow');
  for (let round = 0; round < 60; round += 1)
    await postgres.sql(
      `insert into t select g, repeat('x', 1000) from generate_series(${10_000 + round * 1000}, ${10_999 + round * 1000}) g`,
    );
  await caughtUp(postgres, edge);
  await equal(postgres, edge);
  expect(relay.relay.status().subscribers.find((one) => one.name === 'slow')?.lagBytes).toBeGreaterThan(50_000_000);
  session.resume();
  await until('it got all', () => commits === 60 || `${begins} begun, ${commits} committed`);
  stream.finish();
});

test('the relay and its replica can be asked for checksums at exactly one position', async () => {
  await using all = await world();
  const { postgres, relay, edge } = all;
  const headers = { authorization: `Basic ${btoa(`peer:${PEER.password}`)}` };
  const get = async (path: string, method = 'GET') =>
    (await fetch(`${relay.httpUrl}${path}`, { headers, method })).json();
  const held = (await get('/hold?ms=5000', 'POST')) as { position: string };
  expect(held.position).toMatch(/\//);
  await postgres.sql(`insert into t values (401, 'x')`);
  await caughtUp(postgres, edge);
  const first = await edge.control.checksum(null, 0);
  await postgres.sql(`insert into t values (402, 'x')`);
  await caughtUp(postgres, edge);
  const second = await edge.control.checksum(null, 0);
  expect(first.tables).not.toEqual(second.tables);
  const viaRelay = (await get(`/checksum?at=${first.position}`)) as typeof first;
  expect(viaRelay.tables).toEqual(first.tables);
  expect(((await get(`/checksum?at=${second.position}`)) as typeof first).tables).toEqual(second.tables);
  await get('/release', 'POST');
  await postgres.sql(`insert into t values (403, 'x')`);
  await caughtUp(postgres, edge);
  await until('the relay replica goes on', async () => {
    const report = (await get('/checksum')) as typeof first;
    return report.tables[0]?.rows === 103;
  });
  expect(await get(`/checksum?at=${first.position}`)).toMatchObject({ code: 'position-passed' });
});
