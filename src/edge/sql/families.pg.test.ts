// Statements of each family of proven functions, answered here as Postgres 15 and 18 answer them.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { FAMILY_FAILING, FAMILY_FORWARDED, FAMILY_LOCAL } from '../../../test/differential-families.ts';
import { SCHEMA } from '../../../test/differential-schema.ts';
import { type Answer, describePlan, DifferentialWorld } from '../../../test/differential-world.ts';
import { needs, startPostgres, type TestPostgres } from '../../../test/harness.ts';

for (const version of ['15', '18'] as const) {
  if (!needs(`postgres-${version}`)) continue;
  describe(`INVARIANT_I2: Postgres ${version}`, () => {
    let postgres: TestPostgres;
    let world: DifferentialWorld;

    beforeAll(async () => {
      postgres = await startPostgres({ version });
      world = await DifferentialWorld.create(postgres, SCHEMA);
    }, 60_000);

    afterAll(async () => {
      await world?.[Symbol.asyncDispose]();
      await postgres?.[Symbol.asyncDispose]();
    });

    for (const [family, statements] of Object.entries(FAMILY_LOCAL)) {
      for (const sql of statements) {
        test(`${family}: ${sql}`, async () => {
          const core = await world.core({ sql });
          const local = world.local({ sql });
          if (typeof local === 'string') throw new Error(`forwarded: ${local}`);
          if (typeof core === 'string') throw new Error(`the core refuses: ${core}`);
          expect(comparable(local, sql)).toEqual(comparable(core, sql));
        });
      }
    }
    for (const sql of FAMILY_FAILING) {
      test(`fails here, so the core is asked: ${sql}`, () => {
        expect(world.local({ sql })).toStartWith('may-fail: ');
      });
    }
    for (const [sql, reason] of FAMILY_FORWARDED) {
      test(`left to the core: ${sql}`, () => {
        expect(describePlan(world.plan({ sql }).plan)).toStartWith(`${reason}: `);
      });
    }
  });
}

/** Rows without ORDER BY come in any order. */
function comparable(answer: Answer, sql: string): Answer {
  if (/order by/i.test(sql)) return answer;
  return {
    columns: answer.columns,
    rows: answer.rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  };
}
