// Every statement that the planner answers here is asked of Postgres too, and must get the same columns and rows.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { type Answer, describePlan, DifferentialWorld, type Question } from '../../../test/differential-world.ts';
import { fuzzEdgeSql } from '../../../test/differential-fuzz.ts';
import { fuzz } from '../../../test/differential-generator.ts';
import { SCHEMA } from '../../../test/differential-schema.ts';
import { startPostgres, type TestPostgres } from '../../../test/harness.ts';
import { Planner, PLANNER_DEFAULTS } from './planner.ts';
import { FORWARDED, LOCAL, PARAMETERIZED } from '../../../test/differential-statements.ts';

let postgres: TestPostgres;
let world: DifferentialWorld;

beforeAll(async () => {
  postgres = await startPostgres();
  world = await DifferentialWorld.create(postgres, SCHEMA);
}, 60_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** Rows without ORDER BY come in any order. */
function comparable(answer: Answer, sql: string): Answer {
  if (/order by/i.test(sql)) return answer;
  return {
    columns: answer.columns,
    rows: answer.rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  };
}

async function check(question: Question): Promise<void> {
  const core = await world.core(question);
  const local = world.local(question);
  if (typeof local === 'string') throw new Error(`forwarded: ${local}`);
  if (typeof core === 'string') throw new Error(`the core refuses: ${core}`);
  expect(comparable(local, question.sql)).toEqual(comparable(core, question.sql));
}

describe('INVARIANT_I2: answered as Postgres answers', () => {
  for (const sql of LOCAL) test(sql, () => check({ sql }));
  for (const question of PARAMETERIZED)
    test(`${question.sql} ${JSON.stringify(question.parameters)}`, () => check(question));
});

describe('INVARIANT_I2: left to the core', () => {
  for (const [sql, reason] of FORWARDED) {
    test(sql, () => {
      // A planner of its own: another statement's plan may serve this one until its constants are bound.
      const { plan } = new Planner(
        () => world.catalogue,
        PLANNER_DEFAULTS,
        () => world.shadows,
      ).statement(sql, [], world.session);
      expect(describePlan(plan)).toStartWith(`${reason}: `);
    });
  }
});

test('INVARIANT_I2: 1,000 random statements are answered as Postgres answers, or forwarded', async () => {
  const outcome = await fuzz(world, 1, 1_000);
  expect(outcome.failures).toEqual([]);
  expect(outcome.local).toBeGreaterThan(150);
}, 60_000);

test('INVARIANT_I2: 1,500 random statements over random schemas: partitions, heirs, views', async () => {
  const report = await fuzzEdgeSql({ seed: 1, count: 1_500, perSchema: 500 });
  expect(report.failures).toEqual([]);
  expect(report.local).toBeGreaterThan(400);
}, 600_000);

test('INVARIANT_I2: 1,000 random statements in a database that sorts by bytes', async () => {
  await postgres.sql("CREATE DATABASE bytes TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
  await using bytes = await DifferentialWorld.create(postgres, SCHEMA, 'bytes');
  const outcome = await fuzz(bytes, 1, 1_000);
  expect(outcome.failures).toEqual([]);
  expect(outcome.local).toBeGreaterThan(250);
}, 60_000);
