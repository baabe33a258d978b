// `npm run test:suites`: suites that others wrote, and long ones of our own, one after the other: PostgreSQL's regression and
// isolation tests, pgproto and pgbench through the proxy. Prints why anything was skipped, and counts as its last line.
//
//   npm run test:suites                 everything (about six minutes on two cores)
//   npm run test:suites -- isolation    only suites whose path contains one of the words

import { join } from 'node:path';
import { TestRuns } from './run-tests.ts';

const ROOT = join(import.meta.dir, '..');

/** Ends what hangs: a whole run of the regression tests takes one to two minutes. */
const TEST_TIMEOUT_MS = 600_000;

const words = process.argv.slice(2);

process.exitCode = await main();

async function main(): Promise<number> {
  using runs = new TestRuns(TEST_TIMEOUT_MS);
  const files = [...new Bun.Glob('test/suites/*.suite.ts').scanSync(ROOT)]
    .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
    .sort();
  for (const file of files) await runs.run(file, [file], []);
  return runs.conclude();
}
