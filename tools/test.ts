// `npm test`: static checks, then every test. Unit and Postgres tests run file by file in parallel; system tests, which
// run a whole world each, one after the other. Prints why anything was skipped, and counts as its last line.
//
//   npm test                  everything
//   npm test -- src/wire      only test files whose path contains one of the words (no static checks)

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { check } from './check.ts';
import { TestRuns } from './run-tests.ts';

const ROOT = join(import.meta.dir, '..');

// A real Postgres starts, is killed and recovers inside one test; a limit only ends a test that hangs.
const TEST_TIMEOUT_MS = 180_000;

const words = process.argv.slice(2);
const files = [...new Bun.Glob('{src,test,bench,sim,tools}/**/*.test.ts').scanSync(ROOT)]
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
const isSystem = (file: string): boolean => file.startsWith('test/system/');

process.exitCode = await main();

async function main(): Promise<number> {
  using runs = new TestRuns(TEST_TIMEOUT_MS);
  if (words.length === 0 && !(await check())) runs.fail('npm run check');
  const parallel = Math.max(2, Math.min(4, availableParallelism()));
  await runs.run(
    'unit and Postgres tests',
    files.filter((file) => !isSystem(file)),
    [`--parallel=${parallel}`],
  );
  for (const file of files.filter(isSystem)) await runs.run(file, [file], []);
  return runs.conclude();
}
