import { expect, test } from 'bun:test';
import { promiseVoters } from './converge.ts';
import { initialState, SPEC_DEFAULTS } from './model.ts';
import {
  covers,
  electorsNeeded,
  nextQuorumStep,
  NO_QUORUM,
  type Quorum,
  quorum,
  sameQuorum,
  standbyNames,
} from './quorum.ts';

const NAMES = ['a', 'b', 'c'];

function subsets(names: readonly string[]): string[][] {
  return names.reduce<string[][]>((all, name) => [...all, ...all.map((one) => [...one, name])], [[]]);
}

const ALL: readonly Quorum[] = subsets(NAMES).flatMap((names) =>
  names.length === 0 ? [NO_QUORUM] : names.map((_, index) => quorum(names, index + 1)),
);

/** By definition: each set that lets a commit through meets each set that may elect. */
function coversByDefinition(inForce: Quorum, published: Quorum): boolean {
  if (published.count === 0) return true;
  const confirming = subsets(inForce.names).filter((set) => set.length >= inForce.count);
  const electing = subsets(published.names).filter((set) => set.length >= electorsNeeded(published));
  return confirming.every((set) => electing.every((electors) => electors.some((name) => set.includes(name))));
}

test('INVARIANT_I5 covers() is what it says: who elects has met everybody who let a commit through', () => {
  for (const inForce of ALL) {
    for (const published of ALL) {
      // The rule may be stricter than necessary, never looser.
      if (covers(inForce, published))
        expect([inForce, published, coversByDefinition(inForce, published)]).toEqual([inForce, published, true]);
    }
  }
});

test('INVARIANT_I5 every step from anything to anything keeps each acknowledged commit electable, and arrives when all are there', () => {
  for (const start of ALL) {
    for (const published of ALL.filter((one) => covers(start, one))) {
      for (const wanted of ALL) {
        for (const alive of subsets(NAMES)) {
          let situation = { inForce: start, published };
          for (let steps = 0; ; steps += 1) {
            const step = nextQuorumStep({ ...situation, wanted, streaming: new Set(alive), complete: new Set(alive) });
            if (step === null) break;
            situation =
              step.tag === 'force' ? { ...situation, inForce: step.quorum } : { ...situation, published: step.quorum };
            expect([situation, covers(situation.inForce, situation.published)]).toEqual([situation, true]);
            if (steps > 6) throw new Error(`no end: ${JSON.stringify({ start, published, wanted, alive })}`);
          }
          if (wanted.names.every((name) => alive.includes(name))) {
            expect([start, published, wanted, situation]).toEqual([
              start,
              published,
              wanted,
              { inForce: wanted, published: wanted },
            ]);
          }
        }
      }
    }
  }
});

test('a set is published only once enough of it have what was written before', () => {
  const situation = {
    inForce: quorum(['a'], 1),
    published: NO_QUORUM,
    wanted: quorum(['a'], 1),
    streaming: new Set(['a']),
  };
  expect(nextQuorumStep({ ...situation, complete: new Set<string>() })).toBeNull();
  expect(nextQuorumStep({ ...situation, complete: new Set(['a']) })).toEqual({
    tag: 'publish',
    quorum: quorum(['a'], 1),
  });
});

test('INVARIANT_I6 each group of electors that may be published behind the back of a primary contains a node that it asks', () => {
  const spec = { ...SPEC_DEFAULTS, nodes: ['p', ...NAMES] };
  for (const inForce of ALL.filter((one) => one.count > 0)) {
    const state = { ...initialState('p'), wanted: inForce };
    const voters = promiseVoters(spec, state, 'p', inForce);
    for (const published of ALL.filter((one) => one.count > 0 && covers(inForce, one))) {
      const electing = subsets(published.names).filter((set) => set.length >= electorsNeeded(published));
      expect([inForce, published, electing.every((set) => set.some((name) => voters.includes(name)))]).toEqual([
        inForce,
        published,
        true,
      ]);
    }
  }
});

test('the text for Postgres names everybody', () => {
  expect(standbyNames(quorum(['eu_b', 'eu_a'], 1))).toBe('ANY 1 ("eu_a", "eu_b")');
  expect(standbyNames(quorum(['we"ird'], 1))).toBe('ANY 1 ("we""ird")');
  expect(standbyNames(NO_QUORUM)).toBe('');
  expect(sameQuorum(quorum(['a', 'b'], 1), quorum(['b', 'a'], 1))).toBe(true);
});
