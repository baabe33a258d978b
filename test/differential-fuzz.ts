// `npm run fuzz -- edge-sql`: random SELECTs over random schemas, asked of Postgres and of a replica at the same position.

import { fuzz } from './differential-generator.ts';
import { randomSchema } from './differential-random-schema.ts';
import { SCHEMA } from './differential-schema.ts';
import { DifferentialWorld } from './differential-world.ts';
import { startPostgres } from './harness.ts';

export interface FuzzOptions {
  readonly seed: number;
  readonly count: number;
  /** Statements for each schema. Every fourth schema is the fixed one, with its values of all types. */
  readonly perSchema?: number;
  /** Told after each schema. */
  readonly progress?: (done: number, local: number, failures: number) => void;
}

export interface FuzzReport {
  readonly asked: number;
  readonly local: number;
  readonly forwarded: number;
  readonly reasons: ReadonlyMap<string, number>;
  readonly failures: readonly string[];
}

const PER_SCHEMA = 1_000;

/** Failures to report before it ends. */
const FAILURES_COUNT_MAX = 20;

/** Runs until `count` statements are asked, or too much has gone wrong. */
export async function fuzzEdgeSql(options: FuzzOptions): Promise<FuzzReport> {
  const perSchema = options.perSchema ?? PER_SCHEMA;
  const reasons = new Map<string, number>();
  const failures: string[] = [];
  let [asked, local, forwarded] = [0, 0, 0];
  await using postgres = await startPostgres();
  for (let round = 0; asked < options.count && failures.length < FAILURES_COUNT_MAX; round += 1) {
    const seed = options.seed + round;
    const count = Math.min(perSchema, options.count - asked);
    const isFixed = round % 4 === 3;
    const schema = isFixed ? null : randomSchema(seed);
    // By turns a database that sorts by bytes, and one that initdb makes.
    const database = `fuzz_${round}`;
    const locale = round % 2 === 0 ? '' : " LC_COLLATE 'C' LC_CTYPE 'C'";
    await postgres.sql(`CREATE DATABASE ${database} TEMPLATE template0${locale}`);
    {
      await using world = await DifferentialWorld.create(postgres, schema?.sql ?? SCHEMA, database);
      const outcome = await fuzz(world, seed * 100_000, count, schema?.tables);
      local += outcome.local;
      forwarded += outcome.forwarded;
      for (const [reason, times] of outcome.reasons) reasons.set(reason, (reasons.get(reason) ?? 0) + times);
      failures.push(...outcome.failures.map((failure) => `schema ${isFixed ? 'fixed' : seed}, ${failure}`));
    }
    await postgres.sql(`DROP DATABASE ${database} WITH (FORCE)`);
    asked += count;
    options.progress?.(asked, local, failures.length);
  }
  return { asked, local, forwarded, reasons, failures };
}
