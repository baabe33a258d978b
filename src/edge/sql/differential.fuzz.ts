// Random SELECTs against a real Postgres:  bun src/edge/sql/differential.fuzz.ts [--seed N] [--count N] [--c]
// --c: in a database that sorts by bytes, where texts may be ordered here.
// Prints statements that are answered otherwise here, and why the others are forwarded. Exit code 1 when there is a failure.

import { parseArgs } from 'node:util';
import { fuzz } from '../../../test/differential-generator.ts';
import { SCHEMA } from '../../../test/differential-schema.ts';
import { DifferentialWorld } from '../../../test/differential-world.ts';
import { startPostgres } from '../../../test/harness.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '20000' },
    c: { type: 'boolean', default: false },
  },
});
await using postgres = await startPostgres();
if (values.c) await postgres.sql("CREATE DATABASE bytes TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
await using world = await DifferentialWorld.create(postgres, SCHEMA, values.c ? 'bytes' : postgres.database);
const outcome = await fuzz(world, Number(values.seed), Number(values.count));
for (const failure of outcome.failures.slice(0, 20)) console.log(failure);
for (const [reason, count] of [...outcome.reasons].toSorted((a, b) => b[1] - a[1]).slice(0, 25))
  console.log(`${count}\t${reason}`);
console.log(`${outcome.local} local, ${outcome.forwarded} forwarded, ${outcome.failures.length} failures`);
process.exitCode = outcome.failures.length > 0 ? 1 : 0;
