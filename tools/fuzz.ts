// `npm run fuzz -- NAME [--count N] [--seed S]`: looks for differences for as long as you like. Exit code 1 when there is one.

import { parseArgs } from 'node:util';
import { fuzzEdgeSql } from '../test/differential-fuzz.ts';

const USAGE = `Usage: npm run fuzz -- edge-sql [--count N] [--seed S]

  edge-sql   random SELECTs over random schemas: what an edge answers itself must be what Postgres answers

  --count N  statements to ask (default 20000)
  --seed S   where to begin; a failure names the seed that repeats it (default: by the clock)`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string', default: '20000' }, seed: { type: 'string' } },
});
if (positionals[0] !== 'edge-sql' || positionals.length > 1) {
  console.error(USAGE);
  process.exit(2);
}
const seed = values.seed === undefined ? Math.floor(Date.now() / 1000) % 1_000_000 : Number(values.seed);
const report = await fuzzEdgeSql({
  seed,
  count: Number(values.count),
  progress: (done, local, failures) =>
    console.error(`${done} asked, ${local} answered here, ${failures} differences (seed ${seed})`),
});
for (const failure of report.failures) console.log(failure);
for (const [reason, count] of [...report.reasons].toSorted((a, b) => b[1] - a[1]).slice(0, 25))
  console.log(`${count}\t${reason}`);
console.log(`${report.local} answered here, ${report.forwarded} forwarded, ${report.failures.length} differences`);
process.exitCode = report.failures.length > 0 ? 1 : 0;
