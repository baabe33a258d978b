// PostgreSQL's own regression tests through the proxy in session mode: each must print what it prints on a direct connection.

import { describe, expect, test } from 'bun:test';
import { orSkip } from './debian.ts';
import { runPgRegress, scheduled, type Way } from './pg-regress.ts';
import { postgresTests } from './postgres-tests.ts';

/** What may differ, and why. */
const EXCUSED: Record<Exclude<Way, 'direct'>, ReadonlyMap<string, string>> = {
  discard: new Map([
    ['stats', 'counts server sessions; they are fewer than client sessions when connections are reused'],
    ['guc', 'expects that plpgsql is not loaded yet, which DISCARD ALL cannot undo'],
    ['temp', 'expects a session that never had a temporary table: DISCARD ALL leaves its empty schema'],
  ]),
  close: new Map([['stats', 'counts server sessions, of which the proxy opens some for itself']]),
};

const tests = await orSkip("PostgreSQL's own tests", postgresTests);

if (tests === null) test.skip("PostgreSQL's regression tests", () => {});
else {
  const direct = await runPgRegress(tests, 'regress', 'direct');
  console.log(`regression tests, direct: ${direct.summary} (${direct.seconds.toFixed(0)} s)`);
  test('the regression tests pass on a direct connection, but for what differs between minor versions', () => {
    const names = scheduled(tests, 'regress');
    expect(names.length).toBeGreaterThan(200);
    expect(names.filter((name) => !direct.passed.has(name)).length).toBeLessThan(10);
  });

  for (const way of ['discard', 'close'] as const) {
    const proxied = await runPgRegress(tests, 'regress', way);
    console.log(`regression tests, server_reset ${way}: ${proxied.summary} (${proxied.seconds.toFixed(0)} s)`);
    describe(`regression tests through the proxy, server_reset ${way}`, () => {
      for (const name of scheduled(tests, 'regress')) {
        test(name, () => {
          const excuse = EXCUSED[way].get(name);
          if (excuse === undefined) expect(proxied.output(name)).toBe(direct.output(name));
          else if (proxied.output(name) !== direct.output(name)) console.log(`${name} differs: ${excuse}`);
        });
      }
    });
  }
}
