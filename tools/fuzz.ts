// `npm run fuzz -- NAME [--count N] [--seed S]`: looks for differences for as long as you like. Exit code 1 when there is one.

import { parseArgs } from 'node:util';
import { fuzzEdgeSql } from '../test/differential-fuzz.ts';
import { fuzzPlacements } from '../test/placement-fuzz.ts';

const USAGE = `Usage: npm run fuzz -- edge-sql|placements [--count N] [--seed S]

  edge-sql    random SELECTs over random schemas: what an edge answers itself must be what Postgres answers
  placements  random placements and changes: what PoPs hold must be what Postgres selects for them

  --count N  statements to ask (default 20000), or changes to make (default 2000)
  --seed S   where to begin; a failure names the seed that repeats it (default: by the clock)`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string' }, seed: { type: 'string' } },
});
const fuzzers = { 'edge-sql': askEdges, placements: changePlacements };
const fuzzer = fuzzers[positionals[0] as keyof typeof fuzzers] as typeof askEdges | undefined;
if (fuzzer === undefined || positionals.length > 1) {
  console.error(USAGE);
  process.exit(2);
}
const seed = values.seed === undefined ? Math.floor(Date.now() / 1000) % 1_000_000 : Number(values.seed);
process.exit(await fuzzer());

async function askEdges(): Promise<number> {
  const report = await fuzzEdgeSql({
    seed,
    count: Number(values.count ?? '20000'),
    progress: (done, local, failures) =>
      console.error(`${done} asked, ${local} answered here, ${failures} differences (seed ${seed})`),
  });
  for (const failure of report.failures) console.log(failure);
  for (const [reason, count] of [...report.reasons].toSorted((a, b) => b[1] - a[1]).slice(0, 25))
    console.log(`${count}\t${reason}`);
  console.log(`${report.local} answered here, ${report.forwarded} forwarded, ${report.failures.length} differences`);
  return report.failures.length > 0 ? 1 : 0;
}

/** Rounds of a few hundred changes, each with a core of its own: 15 and 18 in turn. */
async function changePlacements(): Promise<number> {
  const count = Number(values.count ?? '2000');
  for (let done = 0, round = seed; done < count; done += 200, round += 1) {
    await fuzzPlacements({ seed: round, version: round % 2 === 0 ? '15' : '18', steps: 200 });
    console.error(`${done + 200} changes, no difference (seed ${round})`);
  }
  return 0;
}
