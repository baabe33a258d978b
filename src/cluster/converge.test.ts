// The keeper's decisions, one table: each row names the fault of the specification (section 7.3) that it is about.

import { describe, expect, test } from 'bun:test';
import { converge, type KeeperAction, type LocalFacts, mayPromise, writableUntilMs } from './converge.ts';
import { type ClusterSpec, type ClusterState, initialState, type PostgresFacts, SPEC_DEFAULTS } from './model.ts';
import { quorum } from './quorum.ts';

const NOW = 1_000_000;
const SPEC: ClusterSpec = { ...SPEC_DEFAULTS, nodes: ['p', 's', 'a'] };
const STATE: ClusterState = {
  ...initialState('p'),
  term: 3,
  timeline: 2,
  timelineReserved: 2,
  forks: [{ timeline: 2, parent: 1, forkLsn: 10n }],
  wanted: quorum(['s'], 1),
  published: quorum(['s'], 1),
};

function postgres(state: PostgresFacts['state'], more: Partial<PostgresFacts> = {}): PostgresFacts {
  const inForce = state === 'primary' ? { quorum: STATE.wanted, sinceLsn: 50n } : null;
  return {
    state,
    timeline: 2,
    flushedLsn: 100n,
    following: null,
    receivedAgoMs: null,
    fork: null,
    inForce,
    standbys: [],
    forMs: 60_000,
    ...more,
  };
}

/** The keeper of p, which runs the primary. */
function local(more: Partial<LocalFacts> = {}): LocalFacts {
  return {
    node: 'p',
    postgres: postgres('primary'),
    state: STATE,
    lease: { term: 3, untilMs: NOW + 5000 },
    promises: new Map(),
    promisedUntilMs: 0,
    sealedTerm: 3,
    storeSilentMs: 100,
    checkpointedFor: null,
    ...more,
  };
}

const standby = (more: Partial<PostgresFacts> = {}): PostgresFacts => postgres('standby', { following: 'p', ...more });
const asS = (more: Partial<LocalFacts> = {}): LocalFacts =>
  local({ node: 's', postgres: standby(), lease: null, ...more });
const ELECTING: ClusterState = { ...STATE, term: 4, primary: null, previous: 'p' };
const ELECTED: ClusterState = {
  ...STATE,
  term: 4,
  primary: 's',
  previous: 'p',
  timeline: 3,
  timelineReserved: 3,
  wanted: quorum(['a'], 1),
  published: { names: [], count: 0 },
};
const silent = { storeSilentMs: 10_000 };

const TABLE: readonly (readonly [string, LocalFacts, KeeperAction['tag']])[] = [
  ['all is well', local(), 'nothing'],
  [
    'fault 1: Postgres crashed: the others are faster',
    local({ postgres: postgres('crashed', { forMs: 10 }) }),
    'release-lease',
  ],
  [
    'fault 1: … nobody took over: again in place',
    local({ postgres: postgres('crashed', { forMs: 5000 }) }),
    'start-primary',
  ],
  [
    'fault 1: … nobody could: at once',
    local({ state: { ...STATE, published: { names: [], count: 0 } }, postgres: postgres('crashed', { forMs: 10 }) }),
    'start-primary',
  ],
  ['fault 2: a backend was killed', local({ postgres: postgres('starting', { forMs: 500 }) }), 'nothing'],
  [
    'fault 2: … and Postgres does not repair itself in its time',
    local({ postgres: postgres('starting', { forMs: 5000 }) }),
    'fence',
  ],
  ['faults 3, 9: Postgres hangs', local({ postgres: postgres('hung') }), 'fence'],
  ['fault 4, 12: the lease has ended', local({ lease: { term: 3, untilMs: NOW - 1 } }), 'fence'],
  ['fault 4: … by the margin', local({ lease: { term: 3, untilMs: NOW + 400 } }), 'fence'],
  ['fault 5: the keeper restarts: what runs goes on', local({ state: null }), 'nothing'],
  ['fault 5: … with a lease that has ended', local({ state: null, lease: null }), 'fence'],
  ['fault 11: the store is silent', local(silent), 'ask-promises'],
  [
    'fault 11: … the lease has ended, S has promised',
    local({ ...silent, lease: null, promises: new Map([['s', NOW + 3000]]) }),
    'ask-promises',
  ],
  ['fault 11: … the store is back', local({ lease: null, promises: new Map([['s', NOW + 3000]]) }), 'acquire-lease'],
  [
    'fault 12: … only A has promised, who cannot be promoted',
    local({ ...silent, lease: null, promises: new Map([['a', NOW + 3000]]) }),
    'fence',
  ],
  ['fault 28: a zombie sees the next term', local({ state: ELECTED }), 'fence'],
  [
    'fault 29: a zombie does not reach the store',
    local({ state: null, lease: null, postgres: postgres('crashed') }),
    'nothing',
  ],
  ['fault 35: somebody promoted a standby by hand', asS({ postgres: postgres('primary', { timeline: 9 }) }), 'fence'],
  [
    'fault 35: … the primary itself, to a timeline that nobody reserved',
    local({ postgres: postgres('primary', { timeline: 9 }) }),
    'fence',
  ],
  ['a lease of an older term is none', local({ state: { ...STATE, term: 5 } }), 'fence'],
  [
    'Postgres waits for others than it was told',
    local({ state: { ...STATE, wanted: quorum(['a'], 1) } }),
    'force-quorum',
  ],
  ['a standby that follows', asS(), 'nothing'],
  ['an election: it stops following', asS({ state: ELECTING }), 'follow'],
  ['… and is sealed', asS({ state: ELECTING, postgres: standby({ following: null }) }), 'seal'],
  ['… but keeps what it has promised', asS({ state: ELECTING, promisedUntilMs: NOW + 1000 }), 'nothing'],
  ['elected: first the lease', asS({ state: ELECTED }), 'acquire-lease'],
  ['… then the promotion', asS({ state: ELECTED, lease: { term: 4, untilMs: NOW + 5000 } }), 'promote'],
  [
    '… its Postgres was down: as a standby first',
    asS({ state: ELECTED, lease: { term: 4, untilMs: NOW + 5000 }, postgres: postgres('stopped') }),
    'follow',
  ],
  [
    'fault 7: P is back and ends before the fork: follows without a rewind',
    local({
      lease: null,
      state: { ...ELECTED, forks: [...STATE.forks, { timeline: 3, parent: 2, forkLsn: 100n }] },
      postgres: postgres('crashed'),
    }),
    'follow',
  ],
  [
    'fault 28: … ends after it: not its turn',
    local({
      lease: null,
      state: { ...ELECTED, forks: [...STATE.forks, { timeline: 3, parent: 2, forkLsn: 99n }] },
      postgres: postgres('crashed'),
    }),
    'nothing',
  ],
  [
    'fault 28: … its turn',
    local({
      lease: null,
      state: { ...ELECTED, cloning: 'p', forks: [...STATE.forks, { timeline: 3, parent: 2, forkLsn: 99n }] },
      postgres: postgres('crashed'),
    }),
    'replace',
  ],
  [
    'fault 27: where the new timeline begins is not known yet',
    local({ lease: null, state: ELECTED, postgres: postgres('crashed') }),
    'nothing',
  ],
  ['fault 32: a rewind was interrupted: never started', asS({ postgres: postgres('unusable') }), 'nothing'],
  [
    'fault 32: … its turn for a new copy',
    asS({ state: { ...STATE, cloning: 's' }, postgres: postgres('unusable') }),
    'replace',
  ],
  [
    'a switchover shuts P down',
    local({ state: { ...STATE, switchover: { id: 'x', from: 'p', to: 's', step: 'stopping', startedWallMs: 0 } } }),
    'stop',
  ],
  [
    '… and gives the lease up',
    local({
      postgres: postgres('stopped'),
      state: { ...STATE, switchover: { id: 'x', from: 'p', to: 's', step: 'stopping', startedWallMs: 0 } },
    }),
    'release-lease',
  ],
  [
    'fault 34: undone: P starts again',
    local({
      postgres: postgres('stopped'),
      state: { ...STATE, switchover: { id: 'x', from: 'p', to: 's', step: 'undoing', startedWallMs: 0 } },
    }),
    'start-primary',
  ],
  [
    'nobody is synchronous and the store is silent: then all others must have promised',
    local({ ...silent, lease: null, state: { ...STATE, wanted: { names: [], count: 0 } } }),
    'fence',
  ],
];

describe('INVARIANT_I6 decisions of the keeper', () => {
  test.each(TABLE.map((row) => [...row] as const))('%s', (_name, facts, want) => {
    const { action, sentence } = converge(SPEC, facts, NOW);
    expect([action.tag, sentence.length > 5]).toEqual([want, true]);
  });

  test('a cluster of one node needs no lease', () => {
    const { action } = converge({ ...SPEC, nodes: ['p'] }, local({ ...silent, lease: null }), NOW);
    expect(action.tag).not.toBe('fence');
  });

  test('the deadline is the later of the lease and the earliest of all needed promises', () => {
    const state = { ...STATE, wanted: quorum(['a', 's'], 1) };
    const until = (promises: readonly (readonly [string, number])[]): number =>
      writableUntilMs(SPEC, local({ state, promises: new Map(promises) })) - NOW;
    expect(until([])).toBe(5000);
    expect(until([['s', NOW + 9000]])).toBe(5000);
    expect(
      until([
        ['s', NOW + 9000],
        ['a', NOW + 8000],
      ]),
    ).toBe(8000);
  });

  test('fault 13: a promise is given to the primary of the same term only', () => {
    const asked = { node: 'p', term: 3 };
    expect(mayPromise(asS(), asked)).toBeNull();
    expect(mayPromise(asS({ state: null }), asked)).toMatch(/not reached/);
    expect(mayPromise(asS({ sealedTerm: 4 }), asked)).toMatch(/term 4/);
    expect(mayPromise(asS({ state: ELECTED }), asked)).toMatch(/term 4/);
    expect(mayPromise(asS(), { node: 'a', term: 3 })).toMatch(/not known/);
  });
});
