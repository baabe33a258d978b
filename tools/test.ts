// `npm test`: static checks, then every test. Unit and Postgres tests run file by file in parallel; system tests, which
// run a whole world each, one after the other. Prints why anything was skipped, and counts as its last line.
//
//   npm test                  everything
//   npm test -- src/wire      only test files whose path contains one of the words (no static checks)

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { check } from './check.ts';

const ROOT = join(import.meta.dir, '..');
const BUN = join(ROOT, 'node_modules', '.bin', 'bun');

// A real Postgres starts, is killed and recovers inside one test; a limit only ends a test that hangs.
const TEST_TIMEOUT_MS = 180_000;

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const words = process.argv.slice(2);
const files = [...new Bun.Glob('{src,test,bench,tools}/**/*.test.ts').scanSync(ROOT)]
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
const isSystem = (file: string): boolean => file.startsWith('test/system/');

const totals: Counts = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
if (words.length === 0 && !(await check())) failures.push('npm run check');

const scratch = mkdtempSync(join(tmpdir(), 'skerry-test-report-'));
try {
  const parallel = Math.max(2, Math.min(4, availableParallelism()));
  await run(
    'unit and Postgres tests',
    files.filter((file) => !isSystem(file)),
    [`--parallel=${parallel}`],
  );
  for (const file of files.filter(isSystem)) await run(file, [file], []);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

if (totals.passed + totals.failed === 0) failures.push('no test was executed');
for (const failure of failures) console.log(`FAILED: ${failure}`);
console.log(
  `${totals.passed} passed, ${totals.failed + (failures.length > 0 && totals.failed === 0 ? 1 : 0)} failed, ${totals.skipped} skipped`,
);
process.exit(failures.length === 0 && totals.failed === 0 ? 0 : 1);

async function run(name: string, group: readonly string[], flags: readonly string[]): Promise<void> {
  if (group.length === 0) return;
  console.log(`\n=== ${name}`);
  const report = join(scratch, `${name.replaceAll(/[^a-z0-9]+/gi, '-')}.xml`);
  const child = Bun.spawn(
    [
      BUN,
      'test',
      ...flags,
      '--only-failures',
      `--timeout=${TEST_TIMEOUT_MS}`,
      '--reporter=junit',
      `--reporter-outfile=${report}`,
      ...group.map((file) => `./${file}`),
    ],
    { cwd: ROOT, stdout: 'inherit', stderr: 'inherit', env: { ...process.env, FORCE_COLOR: '0' } },
  );
  const code = await child.exited;
  const counts = readReport(report);
  if (counts === null) {
    failures.push(`${name}: the test runner left no report (exit code ${code})`);
    return;
  }
  totals.passed += counts.passed;
  totals.failed += counts.failed;
  totals.skipped += counts.skipped;
  if (code !== 0) failures.push(`${name}: exit code ${code}`);
}

/** Totals of a JUnit file, or null when there is none: a runner that died must not count as green. */
function readReport(path: string): Counts | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return null;
  }
  const head = /<testsuites[^>]*>/.exec(text)?.[0] ?? '';
  const number = (name: string): number => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? Number.NaN);
  const [tests, failed, skipped] = [number('tests'), number('failures'), number('skipped')];
  if (Number.isNaN(tests) || Number.isNaN(failed)) return null;
  return { passed: tests - failed - (skipped || 0), failed, skipped: skipped || 0 };
}
