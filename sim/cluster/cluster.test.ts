// The cluster in virtual time: a few seeds of each kind, exact replay, and planted bugs that must be found.

import { describe, expect, test } from 'bun:test';
import { KINDS, run, runForced } from './run.ts';
import type { Bug } from './world.ts';

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

test('INVARIANT_I6 a forced failover from the same parent gets a timeline of its own; all come back', () => {
  for (let seed = 1; seed <= 5; seed += 1) expect({ seed, wrong: runForced(seed) }).toEqual({ seed, wrong: [] });
  expect(runForced(1, 'next-timeline')[0]).toMatch(/timeline 2 was begun by/);
});

const SEEDS_MAX = 25;

/** What the first complaint about each is. */
const COMPLAINTS: Readonly<Record<Exclude<Bug, 'next-timeline'>, RegExp>> = {
  'publish-before-postgres': /not whole|without/,
  'ignore-lease': /writes? in term/,
  'elect-anybody': /acknowledged commits/,
  'break-promise': /writes? in term/,
  'keep-writing': /writes? in term/,
  'follow-anything': /not whole|corruption/,
};

test.each(Object.entries(COMPLAINTS) as (readonly [Bug, RegExp])[])(
  'INVARIANT_I5 INVARIANT_I6 a planted bug is found: %s',
  (bug, complaint) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed += 1) {
      const [first] = run({ seed, kind: 'faults', bug }).wrong;
      if (first !== undefined && complaint.test(first)) return;
    }
    throw new Error(`none of ${SEEDS_MAX} seeds shows what ${bug} does`);
  },
);
