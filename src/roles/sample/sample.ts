// Loads a sample into the core and keeps it changing, for `skerry up`.
//
// Faults (code: what the operator reads in it)
//   sample-conflict    the database has a table of that name which is not ours; nothing was touched
//   sample-data        --sample root-zone needs files that are not in --data-dir

import type { Clock } from '../../base/clock.ts';
import { Fault } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import { sleepQuietly } from '../../base/service.ts';
import { readGzip } from '../../runtime/files.ts';
import { ROOT_ZONE_COMMENT, ROOT_ZONE_SCHEMA, rootZoneRows, rootZoneVersions } from './root-zone.ts';
import { SAMPLE_COMMENT, SMALL_SCHEMA, SMALL_TABLES, smallChange, smallRows } from './small.ts';

/** Runs SQL on the core; gives the rows of the last statement. */
export type RunSql = (sql: string) => Promise<readonly (readonly (string | null)[])[]>;

export interface SampleWorld {
  readonly run: RunSql;
  readonly clock: Clock;
  readonly random: Random;
  readonly note: (message: string) => void;
}

// Slow enough to watch a row travel, fast enough that something always moves.
const SMALL_EVERY_MS = 250;
// 200 versions in a little over two minutes.
const ROOT_ZONE_EVERY_MS = 700;

/** Makes the small sample when it is not there. */
export async function loadSmall(world: SampleWorld): Promise<void> {
  if (await isOurs(world.run, SMALL_TABLES, SAMPLE_COMMENT)) return;
  await world.run(['begin', SMALL_SCHEMA, ...smallRows(world.random), 'commit'].join(';\n'));
}

/** Changes the small sample until the signal aborts. Throws when the core is away: call it again then. */
export async function changeSmall(world: SampleWorld, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await world.run(smallChange(world.random));
    await sleepQuietly(world.clock, SMALL_EVERY_MS * (0.5 + world.random.float()), signal);
  }
}

/** Makes the root zone sample from the files in `dataDir` when it is not there. */
export async function loadRootZone(world: SampleWorld, dataDir: string): Promise<void> {
  const base = dataFile(dataDir, 'root-zone-base.tsv.gz');
  if (await isOurs(world.run, ['root_zone'], ROOT_ZONE_COMMENT)) return;
  const statements = rootZoneRows(base);
  await world.run(['begin', ROOT_ZONE_SCHEMA, ...statements, 'commit'].join(';\n'));
}

/** Replays the versions that were not replayed yet, one transaction each. Throws when the core is away: call it again then. */
export async function changeRootZone(world: SampleWorld, dataDir: string, signal: AbortSignal): Promise<void> {
  const versions = rootZoneVersions(dataFile(dataDir, 'root-zone-changes.tsv.gz'));
  const done = Number((await world.run('select version from root_zone_version'))[0]?.[0] ?? 0);
  for (const version of versions) {
    if (version.version <= done) continue;
    if (signal.aborted) return;
    await world.run(version.sql);
    if (version.version % 20 === 0 || version.version === versions.length) {
      world.note(
        `root zone: version ${version.version} of ${versions.length} (${version.at}, ${version.changes} changes)`,
      );
    }
    await sleepQuietly(world.clock, ROOT_ZONE_EVERY_MS, signal);
  }
}

async function isOurs(run: RunSql, tables: readonly string[], comment: string): Promise<boolean> {
  const names = tables.map((table) => `'${table}'`).join(', ');
  const found = await run(
    `select relname, obj_description(oid, 'pg_class') from pg_class where relnamespace = 'public'::regnamespace and relname in (${names})`,
  );
  const foreign = found.find(([, description]) => description !== comment);
  if (foreign !== undefined) {
    throw new Fault('sample-conflict', {
      message: `the database already has a table public.${foreign[0]} that is not skerry's sample`,
      hint: 'run without --sample, or in another database',
    });
  }
  return found.length > 0;
}

function dataFile(dataDir: string, name: string): string {
  const text = readGzip(`${dataDir}/${name}`);
  if (text !== null) return text;
  throw new Fault('sample-data', {
    message: `--sample root-zone needs ${name}, which is not in ${dataDir}`,
    hint: 'name its folder with --data-dir or SKERRY_DATA_DIR',
  });
}
