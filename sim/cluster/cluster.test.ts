// The cluster in virtual time: a few seeds of each kind, exact replay, and planted bugs that must be found.

import { describe, expect, test } from 'bun:test';
import { KINDS, run } from './run.ts';
import { BUGS, type Bug } from './world.ts';

describe('INVARIANT_I6 seeds', () => {
  test.each(KINDS)('%s: nothing acknowledged is lost, one writer per term, whole after healing', (kind) => {
    for (let seed = 1; seed <= 8; seed += 1) {
      expect({ seed, wrong: run({ seed, kind }).wrong }).toEqual({ seed, wrong: [] });
    }
  });
});

test('the same seed gives the same run, another seed another', () => {
  const [first, second, other] = [3, 3, 4].map((seed) => run({ seed, kind: 'faults' }).history.join('\n'));
  expect(first).toBe(second as string);
  expect(first).not.toBe(other as string);
});

/** A seed that finds it. */
const FOUND_BY: Readonly<Record<Bug, number>> = {
  'publish-before-postgres': 1,
  'ignore-lease': 1,
  'elect-anybody': 2,
  'break-promise': 5,
  'keep-writing': 6,
  'follow-anything': 1,
};

test.each(BUGS.map((bug) => [bug] as const))('INVARIANT_I5 a planted bug is found: %s', (bug) => {
  expect(run({ seed: FOUND_BY[bug], kind: 'faults', bug }).wrong).not.toEqual([]);
});
