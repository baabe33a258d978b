// How much of what people ask is answered at the edge:  bun bench/chinook-coverage.ts [--statements FILE] [--json]
// The Chinook reports, each compared with what Postgres answers; and the SELECTs of a file `count<TAB>kind<TAB>sql`, as
// postgres_fdw's regression sends them (--statements), over the tables of that regression.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DifferentialWorld } from '../test/differential-world.ts';
import { startPostgres } from '../test/harness.ts';
import { REPORTS } from './chinook/reports.ts';
import { chinookSql } from './chinook/schema.ts';

const { values } = parseArgs({
  options: { statements: { type: 'string' }, json: { type: 'boolean', default: false } },
});

interface Coverage {
  readonly name: string;
  readonly local: number;
  readonly total: number;
  readonly forwarded: readonly { readonly reason: string; readonly sql: string }[];
  readonly wrong: readonly string[];
}

/** The tables that postgres_fdw's regression makes, without their rows. */
const REGRESSION_SCHEMA = `
CREATE TYPE user_enum AS ENUM ('foo', 'bar', 'buz');
CREATE SCHEMA "S 1";
CREATE TABLE "S 1"."T 1" ("C 1" int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text, c4 timestamptz, c5 timestamp, c6 varchar(10), c7 char(10), c8 user_enum);
CREATE TABLE "S 1"."T 2" (c1 int NOT NULL PRIMARY KEY, c2 text);
CREATE TABLE "S 1"."T 3" (c1 int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text);
CREATE TABLE "S 1"."T 4" (c1 int NOT NULL PRIMARY KEY, c2 int NOT NULL, c3 text);
INSERT INTO "S 1"."T 1" SELECT id, id % 10, to_char(id, 'FM00000'), '1970-01-01'::timestamptz + ((id % 100) || ' days')::interval, '1970-01-01'::timestamp + ((id % 100) || ' days')::interval, id % 10, id % 10, 'foo'::user_enum FROM generate_series(1, 1000) id;
INSERT INTO "S 1"."T 2" SELECT id, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id;
INSERT INTO "S 1"."T 3" SELECT id, id + 1, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id;
INSERT INTO "S 1"."T 4" SELECT id, id + 1, 'AAA' || to_char(id, 'FM000') FROM generate_series(1, 100) id;
CREATE TABLE public.loct1 (f1 int, f2 int, f3 int); CREATE TABLE public.loct2 (f1 int, f2 int, f3 int);
`;

await using postgres = await startPostgres();
const found: Coverage[] = [await chinook()];
if (values.statements !== undefined) found.push(await regression(values.statements));
if (values.json) console.log(JSON.stringify(found));
else for (const coverage of found) print(coverage);
process.exitCode = found.some(({ wrong }) => wrong.length > 0) ? 1 : 0;

async function chinook(): Promise<Coverage> {
  await postgres.sql('CREATE DATABASE chinook');
  await using world = await DifferentialWorld.create(postgres, chinookSql(), 'chinook');
  return await measure('Chinook reports', world, REPORTS);
}

async function regression(path: string): Promise<Coverage> {
  const selects = readFileSync(path, 'utf8')
    .split('\n')
    .map((line) =>
      line
        .split('\t')
        .slice(2)
        .join('\t')
        .replace(/^DECLARE cN CURSOR FOR /, ''),
    )
    .filter((sql) => /^\(?SELECT/.test(sql));
  await postgres.sql('CREATE DATABASE regression');
  await using world = await DifferentialWorld.create(postgres, REGRESSION_SCHEMA, 'regression');
  // Those over tables that other parts of the regression make come and go there.
  const known: string[] = [];
  for (const sql of new Set(selects)) {
    const answer = await world.core({ sql: `EXPLAIN ${sql.replace(/\$\d+/g, 'NULL')}` });
    if (typeof answer !== 'string' && !/FOR (UPDATE|SHARE)/.test(sql)) known.push(sql);
  }
  return await measure('SELECTs of postgres_fdw’s regression', world, known);
}

async function measure(name: string, world: DifferentialWorld, statements: readonly string[]): Promise<Coverage> {
  const forwarded: { reason: string; sql: string }[] = [];
  const wrong: string[] = [];
  let local = 0;
  for (const sql of statements) {
    const parameters = [...new Set(sql.match(/\$\d+/g) ?? [])].map(() => null);
    const question = parameters.length === 0 ? { sql } : { sql, parameters };
    const mine = world.local(question);
    if (typeof mine === 'string') {
      forwarded.push({ reason: mine, sql });
      continue;
    }
    local += 1;
    const core = await world.core(question);
    const isSame =
      typeof core !== 'string' &&
      JSON.stringify(mine.columns) === JSON.stringify(core.columns) &&
      JSON.stringify(sorted(mine.rows)) === JSON.stringify(sorted(core.rows));
    if (!isSame) wrong.push(sql);
  }
  return { name, local, total: statements.length, forwarded, wrong };
}

/** Equal keys of ORDER BY come in any order, so that all are compared as bags; the differential tests look at order. */
function sorted(rows: readonly (readonly (string | null)[])[]): readonly string[] {
  return rows.map((row) => JSON.stringify(row)).toSorted();
}

function print({ name, local, total, forwarded, wrong }: Coverage): void {
  console.log(`${name}: ${local} of ${total} answered at the edge, ${((100 * local) / total).toFixed(1)} %`);
  for (const { reason, sql } of forwarded) console.log(`  forwarded  ${reason}\n             ${sql.slice(0, 160)}`);
  for (const sql of wrong) console.log(`  DIFFERENT  ${sql}`);
}
