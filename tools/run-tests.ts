// Runs groups of test files with Bun's runner and adds their counts up: for `npm test` and `npm run test:suites`.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dir, '..');
const BUN = join(ROOT, 'node_modules', '.bin', 'bun');

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export class TestRuns implements Disposable {
  readonly #totals: Counts = { passed: 0, failed: 0, skipped: 0 };
  readonly #failures: string[] = [];
  readonly #scratch = mkdtempSync(join(tmpdir(), 'skerry-test-report-'));
  readonly #timeoutMs: number;

  /** `timeoutMs` ends a single test that hangs. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Something that is no test has failed. */
  fail(what: string): void {
    this.#failures.push(what);
  }

  async run(name: string, group: readonly string[], flags: readonly string[]): Promise<void> {
    if (group.length === 0) return;
    console.log(`\n=== ${name}`);
    const report = join(this.#scratch, `${name.replaceAll(/[^a-z0-9]+/gi, '-')}.xml`);
    const child = Bun.spawn(
      [
        BUN,
        'test',
        ...flags,
        '--only-failures',
        `--timeout=${this.#timeoutMs}`,
        '--reporter=junit',
        `--reporter-outfile=${report}`,
        ...group.map((file) => `./${file}`),
      ],
      { cwd: ROOT, stdout: 'inherit', stderr: 'inherit', env: { ...process.env, FORCE_COLOR: '0' } },
    );
    const code = await child.exited;
    const counts = readReport(report);
    if (counts === null) {
      this.fail(`${name}: the test runner left no report (exit code ${code})`);
      return;
    }
    this.#totals.passed += counts.passed;
    this.#totals.failed += counts.failed;
    this.#totals.skipped += counts.skipped;
    if (code !== 0) this.fail(`${name}: exit code ${code}`);
  }

  /** Prints what failed and, as the last line, the counts. Gives the exit code. */
  conclude(): number {
    const { passed, failed, skipped } = this.#totals;
    if (passed + failed + skipped === 0) this.fail('no test was executed');
    for (const failure of this.#failures) console.log(`FAILED: ${failure}`);
    const failures = failed + (this.#failures.length > 0 && failed === 0 ? 1 : 0);
    console.log(`${passed} passed, ${failures} failed, ${skipped} skipped`);
    return failures === 0 ? 0 : 1;
  }

  [Symbol.dispose](): void {
    rmSync(this.#scratch, { recursive: true, force: true });
  }
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
