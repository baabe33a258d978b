import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres, type TestPostgres } from '../../../test/harness.ts';
import type { Fault } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import { createClock } from '../../runtime/clock.ts';
import { readGzip } from '../../runtime/files.ts';
import { rootZoneVersions } from './root-zone.ts';
import { rootZoneSample, type SampleWorld, smallSample } from './sample.ts';
import { smallChange } from './small.ts';

const DATA_DIR = process.env['SKERRY_DATA_DIR'] ?? join(import.meta.dir, '../../../../shared/data');

function seeded(seed: number): Random {
  let state = seed;
  const float = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return { float, bytes: (length) => Uint8Array.from({ length }, () => Math.floor(float() * 256)) };
}

function worldOf(postgres: TestPostgres, seed = 1): SampleWorld {
  const run = async (sql: string) =>
    (await postgres.sql(sql)).map((row) =>
      Object.values(row).map((value) => (value === null ? null : String(value as string))),
    );
  return { run, clock: createClock(), random: seeded(seed), note: () => {} };
}

test('the small sample loads once, every change is valid SQL, and it does not grow without end', async () => {
  await using postgres = await startPostgres();
  const world = worldOf(postgres);
  await smallSample(world).load();
  const records = Number(await postgres.value('select count(*) from dns_records'));
  expect(records).toBeGreaterThan(300);
  expect(Number(await postgres.value('select count(*) from zones'))).toBe(80);
  await smallSample(world).load();
  for (let n = 0; n < 1_500; n += 1) await postgres.sql(smallChange(world.random));
  expect(Number(await postgres.value('select count(*) from dns_records'))).toBeLessThan(records * 2);
});

test('changes go on until the signal aborts', async () => {
  await using postgres = await startPostgres();
  const world = worldOf(postgres, 7);
  await smallSample(world).load();
  const stop = new AbortController();
  const before = await postgres.value('select pg_current_wal_insert_lsn()');
  const clock = { ...world.clock, sleep: () => Promise.resolve(stop.abort()) };
  await smallSample({ ...world, clock }).change(stop.signal);
  expect(await postgres.value('select pg_current_wal_insert_lsn()')).not.toBe(before);
});

test('a table of the same name that is not ours is left alone', async () => {
  await using postgres = await startPostgres();
  await postgres.sql('create table zones (precious int)');
  const fault = await smallSample(worldOf(postgres))
    .load()
    .then(
      () => null,
      (error: unknown) => error as Fault,
    );
  expect(fault?.code).toBe('sample-conflict');
  expect(fault?.message).toContain('public.zones');
});

const hasData = existsSync(join(DATA_DIR, 'root-zone-base.tsv.gz'));
if (!hasData) process.stderr.write(`skipped: the root zone is not in ${DATA_DIR} (SKERRY_DATA_DIR)\n`);

test.skipIf(!hasData)('the root zone replayed version by version is the final file', async () => {
  await using postgres = await startPostgres();
  const world = worldOf(postgres);
  await rootZoneSample(world, DATA_DIR).load();
  expect(await postgres.value('select count(*) from root_zone')).toBe('19322');
  const versions = rootZoneVersions(readGzip(join(DATA_DIR, 'root-zone-changes.tsv.gz')) as string);
  expect(versions.length).toBe(200);
  for (const version of versions) await postgres.sql(version.sql);
  const final = (readGzip(join(DATA_DIR, 'root-zone-final.tsv.gz')) as string).trimEnd().split('\n').slice(1).sort();
  const rows = (await postgres.sql('select name, ttl, type, rdata from root_zone'))
    .map((row) => Object.values(row).join('\t'))
    .sort();
  expect(rows).toEqual(final);
});

test('missing files are named', async () => {
  await using postgres = await startPostgres();
  expect(rootZoneSample(worldOf(postgres), '/nowhere').load()).rejects.toThrow(
    'root-zone-base.tsv.gz, which is not in /nowhere',
  );
});
