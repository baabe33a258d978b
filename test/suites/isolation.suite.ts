// PostgreSQL's isolation tests through the proxy in session mode. They ask by process id who waits for whom, so a pooler that
// makes process ids up hangs in the third.

import { describe, expect, test } from 'bun:test';
import { orSkip } from './debian.ts';
import { runPgRegress, scheduled } from './pg-regress.ts';
import { postgresTests } from './postgres-tests.ts';

const tests = await orSkip("PostgreSQL's own tests", postgresTests);

if (tests === null) test.skip("PostgreSQL's isolation tests", () => {});
else {
  const direct = await runPgRegress(tests, 'isolation', 'direct');
  console.log(`isolation tests, direct: ${direct.summary} (${direct.seconds.toFixed(0)} s)`);
  const proxied = await runPgRegress(tests, 'isolation', 'discard');
  console.log(`isolation tests, through the proxy: ${proxied.summary} (${proxied.seconds.toFixed(0)} s)`);
  describe('isolation tests through the proxy', () => {
    for (const name of scheduled(tests, 'isolation')) {
      test(name, () => {
        expect(direct.passed.has(name)).toBe(true);
        expect(proxied.passed.has(name)).toBe(true);
      });
    }
  });
}
