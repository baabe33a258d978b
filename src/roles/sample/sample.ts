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

/** Runs SQL on the core, several statements as one transaction (the simple protocol does that); gives the rows of the last statement. */
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
const NOTE_EVERY_VERSIONS = 20;

/** A sample: loaded once, then changed until told to stop. */
export interface Sample {
  /** Makes the tables when they are not there. */
  load(): Promise<void>;
  /** Changes rows until the signal aborts or there is nothing left to change. Throws when the core is away: call it again then. */
  change(signal: AbortSignal): Promise<void>;
}

/** Zones, DNS records and firewall rules; never ends. */
export function smallSample(world: SampleWorld): Sample {
  const { run, clock, random } = world;
  return {
    async load() {
      if (await isOurs(run, SMALL_TABLES, SAMPLE_COMMENT)) return;
      await run([SMALL_SCHEMA, ...smallRows(random)].join(';\n'));
    },
    async change(signal) {
      while (!signal.aborted) {
        await run(smallChange(random));
        await sleepQuietly(clock, SMALL_EVERY_MS * (0.5 + random.float()), signal);
      }
    },
  };
}

/** The DNS root zone from the files in `dataDir`; ends with the last version, and goes on where it was left. */
export function rootZoneSample(world: SampleWorld, dataDir: string): Sample {
  const { run, clock, note } = world;
  return {
    async load() {
      const base = dataFile(dataDir, 'root-zone-base.tsv.gz');
      if (await isOurs(run, ['root_zone'], ROOT_ZONE_COMMENT)) return;
      await run([ROOT_ZONE_SCHEMA, ...rootZoneRows(base)].join(';\n'));
    },
    async change(signal) {
      const versions = rootZoneVersions(dataFile(dataDir, 'root-zone-changes.tsv.gz'));
      const done = Number((await run('select version from root_zone_version'))[0]?.[0] ?? 0);
      for (const version of versions) {
        if (version.version <= done) continue;
        if (signal.aborted) return;
        await run(version.sql);
        if (version.version % NOTE_EVERY_VERSIONS === 0 || version.version === versions.length) {
          note(
            `root zone: version ${version.version} of ${versions.length} (${version.at}, ${version.changes} changes)`,
          );
        }
        await sleepQuietly(clock, ROOT_ZONE_EVERY_MS, signal);
      }
    },
  };
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
