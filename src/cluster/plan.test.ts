// The sentinel's decisions, one table: each row names the fault of the specification (section 7.3) that it is about.

import { describe, expect, test } from 'bun:test';
import {
  ancestry,
  type ClusterSpec,
  type ClusterState,
  decodeDocument,
  encodeDocument,
  initialState,
  type NodeFacts,
  type Observations,
  type PostgresFacts,
  SPEC_DEFAULTS,
} from './model.ts';
import { isStateSound, type Plan, plan } from './plan.ts';
import { NO_QUORUM, quorum } from './quorum.ts';

const WALL = 1_700_000_000_000;
const SPEC: ClusterSpec = { ...SPEC_DEFAULTS, nodes: ['p', 's', 'a'] };

/** p is the primary, s may be promoted, a follows. */
const HEALTHY: ClusterState = {
  ...initialState('p'),
  term: 3,
  timeline: 2,
  timelineReserved: 4,
  forks: [{ timeline: 2, parent: 1, forkLsn: 10n }],
  wanted: quorum(['s'], 1),
  published: quorum(['s'], 1),
};

function postgres(state: PostgresFacts['state'], more: Partial<PostgresFacts> = {}): PostgresFacts {
  return {
    state,
    timeline: 2,
    flushedLsn: 100n,
    following: state === 'standby' ? 'p' : null,
    receivedAgoMs: state === 'standby' ? 100 : null,
    fork: null,
    inForce: state === 'primary' ? { quorum: HEALTHY.wanted, sinceLsn: 50n } : null,
    standbys: state !== 'primary' ? [] : ['s', 'a'].map((node) => ({ node, flushedLsn: 100n, goneMs: null })),
    forMs: 60_000,
    ...more,
  };
}

function facts(node: string, more: Partial<NodeFacts> = {}): NodeFacts {
  return {
    node,
    sequence: 1,
    postgres: postgres(node === 'p' ? 'primary' : 'standby'),
    sealedTerm: 3,
    promise: null,
    reaches: {},
    diskFreeBytes: 1e12,
    storeSilentMs: null,
    checkpointedFor: null,
    ...more,
  };
}

interface Scene {
  readonly state?: Partial<ClusterState>;
  /** Null: silent, with its last facts as when it was healthy. */
  readonly nodes?: Readonly<Record<string, Partial<NodeFacts> | null>>;
  readonly seen?: Partial<Observations>;
  readonly spec?: Partial<ClusterSpec>;
}

function decide({ state = {}, nodes = {}, seen = {}, spec = {} }: Scene): Plan {
  const observed = new Map(
    SPEC.nodes.map((name) => {
      const more = nodes[name];
      return [name, { facts: facts(name, more ?? {}), ageMs: more === null ? 60_000 : 100 }] as const;
    }),
  );
  const observations = {
    nodes: observed,
    leaseHolder: { node: 'p', term: 3 },
    leaseFreeMs: 0,
    proxies: [],
    otherElections: 0,
    ...seen,
  };
  const before = { ...HEALTHY, ...state };
  const found = plan({ ...SPEC, ...spec }, before, observations, { wallMs: WALL });
  if (found.next !== null) {
    expect(found.next.term).toBeGreaterThanOrEqual(before.term);
    expect(found.next.historyNumber).toBe(before.historyNumber + 1);
    expect(isStateSound(found.next)).toBe(true);
  }
  expect(found.sentence.length).toBeGreaterThan(10);
  return found;
}

const FREE = { leaseHolder: null, leaseFreeMs: 7000 };
const ELECTING: Partial<ClusterState> = {
  term: 4,
  primary: null,
  previous: 'p',
  electedWallMs: WALL - 500,
  lastLsn: 120n,
};
const sealed = (more: Partial<PostgresFacts> = {}): Partial<NodeFacts> => ({
  sealedTerm: 4,
  postgres: postgres('standby', { following: null, ...more }),
});

const TABLE: readonly (readonly [string, Scene, Partial<ClusterState> | null, RegExp])[] = [
  ['a healthy cluster is left alone', {}, null, /primary of term 3/],
  [
    'fault 1: the postmaster of P is killed, its keeper gave the lease up',
    { seen: FREE, nodes: { p: { postgres: postgres('crashed') } } },
    { term: 4, primary: null },
    /Postgres is crashed/,
  ],
  [
    'fault 2: a backend is killed and P keeps its lease while it repairs itself',
    { nodes: { p: { postgres: postgres('starting') } } },
    null,
    /./,
  ],
  [
    'fault 3: Postgres hangs and its keeper still has to kill it',
    { nodes: { p: { postgres: postgres('hung') } } },
    null,
    /./,
  ],
  [
    'fault 4: the keeper of P is stopped, S still receives from P and the lease has just ended',
    { seen: { leaseHolder: null, leaseFreeMs: 100 }, nodes: { p: null } },
    null,
    /keeper may only be slow/,
  ],
  [
    'fault 4: … and it never comes back',
    { seen: FREE, nodes: { p: null } },
    { term: 4, primary: null, published: HEALTHY.published },
    /silent/,
  ],
  ['fault 5: the keeper of P restarts within its lease', { nodes: { p: null } }, null, /./],
  [
    'fault 6: P crashes again right after a failover: in place, no ping-pong',
    { seen: FREE, state: { electedWallMs: WALL - 1000 }, nodes: { p: { postgres: postgres('crashed') } } },
    null,
    /started again in place|flapping/,
  ],
  [
    'fault 7: the host of P is gone',
    { seen: FREE, nodes: { p: null, s: { postgres: postgres('standby', { receivedAgoMs: 5000 }) } } },
    { term: 4, primary: null },
    /silent/,
  ],
  [
    'fault 8: the disk of P fills up: it hands over before',
    { nodes: { p: { diskFreeBytes: 1 } } },
    { switchover: { id: 'disk-3-0', from: 'p', to: 's', step: 'checkpointing', startedWallMs: WALL }, term: 3 },
    /1 bytes free/,
  ],
  ['fault 8: … S has no room either', { nodes: { p: { diskFreeBytes: 1 }, s: { diskFreeBytes: 1 } } }, null, /./],
  [
    'fault 10: P and S do not see each other: S is not promoted, and first nobody is exchanged',
    {
      nodes: {
        p: {
          postgres: postgres('primary', {
            standbys: [
              { node: 's', flushedLsn: 100n, goneMs: 1000 },
              { node: 'a', flushedLsn: 100n, goneMs: null },
            ],
          }),
        },
      },
    },
    null,
    /./,
  ],
  [
    'fault 10: … after the grace a promotion first needs both',
    {
      nodes: {
        p: {
          postgres: postgres('primary', {
            standbys: [
              { node: 's', flushedLsn: 100n, goneMs: 5000 },
              { node: 'a', flushedLsn: 100n, goneMs: null },
            ],
          }),
        },
      },
    },
    { primary: 'p', published: quorum(['a', 's'], 1), wanted: quorum(['s'], 1) },
    /2 of a, s/,
  ],
  [
    'fault 11: P does not reach the store, S has promised',
    { seen: FREE, nodes: { p: null, s: { promise: { term: 3 } } } },
    null,
    /promised to wait/,
  ],
  [
    'fault 12: P reaches neither the store nor S',
    { seen: FREE, nodes: { p: null, s: { postgres: postgres('standby', { receivedAgoMs: 5000 }) } } },
    { term: 4 },
    /silent/,
  ],
  ['faults 13, 15, 16: the lease outlives what the store does', { nodes: { p: null, s: null, a: null } }, null, /./],
  [
    'fault 14: everybody was silent with the store, and P never comes back: S is silent too',
    { seen: FREE, nodes: { p: null, s: null } },
    null,
    /0 of s are there/,
  ],
  [
    'fault 21: a slow link exchanges S once',
    { nodes: { p: { reaches: { s: 400, a: 1 } } } },
    { wanted: quorum(['a', 's'], 2) },
    /ANY 2/,
  ],
  [
    'fault 22: a flapping link does not, again, within the damping',
    {
      state: { swappedWallMs: WALL - 1000, degraded: [{ name: 'flapping', sentence: '', sinceWallMs: WALL }] },
      nodes: {
        p: {
          postgres: postgres('primary', {
            standbys: [
              { node: 's', flushedLsn: 100n, goneMs: 5000 },
              { node: 'a', flushedLsn: 100n, goneMs: null },
            ],
          }),
        },
      },
    },
    null,
    /./,
  ],
  [
    'fault 23: S dies and nobody else is there, strict: commits wait',
    {
      nodes: {
        s: null,
        a: null,
        p: { postgres: postgres('primary', { standbys: [{ node: 's', flushedLsn: 100n, goneMs: 50_000 }] }) },
      },
    },
    { published: HEALTHY.published, wanted: HEALTHY.wanted },
    /one_copy/,
  ],
  [
    'fault 23: … degraded: nobody may be promoted any more, before commits go on alone',
    {
      spec: { policy: 'degraded' },
      nodes: {
        s: null,
        a: null,
        p: { postgres: postgres('primary', { standbys: [{ node: 's', flushedLsn: 100n, goneMs: 50_000 }] }) },
      },
    },
    { published: NO_QUORUM, wanted: HEALTHY.wanted },
    /nobody may be promoted/,
  ],
  [
    'faults 24, 25: P and S are gone: A is not promoted, and the gap is told',
    { seen: FREE, nodes: { p: null, s: null, a: { postgres: postgres('standby', { flushedLsn: 60n }) } } },
    null,
    /a ends at 0\/3C.*40 bytes/,
  ],
  [
    'fault 26: a replica far behind is not made synchronous',
    {
      state: {
        published: NO_QUORUM,
        wanted: quorum(['a', 's'], 1),
        degraded: [{ name: 'no_sync', sentence: '', sinceWallMs: WALL }],
      },
      nodes: {
        s: null,
        p: {
          postgres: postgres('primary', {
            flushedLsn: 10_000_000n,
            inForce: { quorum: quorum(['a', 's'], 1), sinceLsn: 9_000_000n },
            standbys: [{ node: 'a', flushedLsn: 100n, goneMs: null }],
          }),
        },
      },
    },
    null,
    /./,
  ],
  [
    'fault 27: the next promotion takes an id that was never given',
    { seen: FREE, state: ELECTING, nodes: { p: null, s: sealed() } },
    { primary: 's', timeline: 5, timelineReserved: 5, published: NO_QUORUM },
    /timeline 5/,
  ],
  [
    'fault 28: a zombie with log of its own takes a new copy',
    { nodes: { a: { postgres: postgres('crashed', { timeline: 1, flushedLsn: 11n }) } } },
    { cloning: 'a' },
    /never had/,
  ],
  [
    'fault 28: … one whose log is a part of ours does not',
    { nodes: { a: { postgres: postgres('crashed', { timeline: 1, flushedLsn: 10n }) } } },
    null,
    /./,
  ],
  [
    'fault 33: a copy that never ends does not keep others waiting',
    { state: { cloning: 'a' }, nodes: { a: null } },
    { cloning: null },
    /silent/,
  ],
  [
    'fault 40: another cluster elects too, and A still reaches P',
    { seen: { ...FREE, otherElections: 1 }, nodes: { p: null, a: { reaches: { p: 1 } }, s: { reaches: { p: null } } } },
    null,
    /suspected|reached by its peers/,
  ],
  [
    'fault 40: … and nobody reaches P',
    { seen: { ...FREE, otherElections: 1 }, nodes: { p: null } },
    { term: 4 },
    /silent/,
  ],
  [
    'an election waits for the seal: positions that may still grow are not compared',
    { seen: FREE, state: ELECTING, nodes: { p: null, s: { sealedTerm: 3 } } },
    null,
    /0 of s have sealed/,
  ],
  [
    '… and for the end of the old lease',
    { seen: { leaseHolder: { node: 'p', term: 3 } }, state: ELECTING, nodes: { p: null, s: sealed() } },
    null,
    /still holds/,
  ],
  [
    'of a quorum, the one with the most is promoted',
    {
      seen: FREE,
      state: { ...ELECTING, published: quorum(['a', 's'], 1) },
      nodes: { p: null, s: sealed(), a: sealed({ flushedLsn: 110n }) },
    },
    { primary: 'a' },
    /most of 2/,
  ],
  [
    '… and one of two is not enough to know',
    { seen: FREE, state: { ...ELECTING, published: quorum(['a', 's'], 1) }, nodes: { p: null, a: sealed() } },
    null,
    /1 of a, s/,
  ],
  [
    'when the others do not come, P itself goes on, on its timeline',
    {
      seen: FREE,
      state: { ...ELECTING, electedWallMs: WALL - 4000 },
      nodes: { p: { sealedTerm: 4, postgres: postgres('crashed') }, s: null },
    },
    { primary: 'p', timeline: 2, published: HEALTHY.published },
    /goes on/,
  ],
  [
    'a paused cluster fails over by nobody but a human',
    { seen: FREE, state: { isPaused: true }, nodes: { p: null } },
    null,
    /paused/,
  ],
  [
    'a human is refused while P lives',
    { state: { request: { tag: 'failover', id: 'f', to: 'a', acceptLossLsn: 60n, isOldPrimaryOff: true } } },
    { request: null, primary: 'p' },
    /use a switchover/,
  ],
  [
    'a human accepts a loss',
    {
      seen: FREE,
      state: { ...ELECTING, request: { tag: 'failover', id: 'f', to: 'a', acceptLossLsn: 60n, isOldPrimaryOff: true } },
      nodes: { p: null, s: null, a: sealed({ flushedLsn: 60n }) },
    },
    { primary: 'a', request: null },
    /accepted to lose.*60 bytes/,
  ],
  [
    '… but not more than was said',
    {
      seen: FREE,
      state: { ...ELECTING, request: { tag: 'failover', id: 'f', to: 'a', acceptLossLsn: 61n, isOldPrimaryOff: true } },
      nodes: { p: null, s: null, a: sealed({ flushedLsn: 60n }) },
    },
    { primary: null, request: null },
    /refused/,
  ],
  [
    'an ejected replica is no candidate',
    { seen: FREE, state: { ...ELECTING, ejected: ['s'] }, nodes: { p: null, s: sealed() } },
    null,
    /no primary/,
  ],
];

describe('INVARIANT_I7 decisions of the sentinel', () => {
  test.each(TABLE.map((row) => [...row] as const))('%s', (_name, scene, want, sentence) => {
    const found = decide(scene);
    expect(found.sentence).toMatch(sentence);
    if (want === null) {
      const { term, primary, published, wanted, cloning } = found.next ?? { ...HEALTHY, ...scene.state };
      const before = { ...HEALTHY, ...scene.state };
      expect({ term, primary, published, wanted, cloning }).toEqual({
        term: before.term,
        primary: before.primary,
        published: before.published,
        wanted: before.wanted,
        cloning: before.cloning,
      });
    } else expect(found.next).toMatchObject(want);
  });
});

describe('INVARIANT_I7 switchover, step by step', () => {
  const op = (
    step: 'checkpointing' | 'pausing' | 'stopping' | 'undoing' | 'resuming',
    agoMs = 0,
  ): Partial<ClusterState> => ({
    switchover: { id: 'x', from: 'p', to: 's', step, startedWallMs: WALL - agoMs },
  });
  const done = { checkpointedFor: 'x' };
  const down = postgres('stopped');
  test.each([
    [
      'asked for',
      { state: { request: { tag: 'switchover', id: 'x', to: 's' } as const } },
      { switchover: { step: 'checkpointing' } },
    ],
    [
      'refused: the target is too far behind',
      {
        spec: { syncLagBytesMax: 1 },
        state: { request: { tag: 'switchover', id: 'x', to: 's' } as const },
        nodes: { p: { postgres: postgres('primary', { flushedLsn: 200n }) } },
      },
      { switchover: null, request: null },
    ],
    [
      'checkpoints are taken',
      { state: op('checkpointing'), nodes: { p: done, s: done } },
      { switchover: { step: 'pausing' } },
    ],
    ['one proxy still drains', { state: op('pausing'), seen: { proxies: [{ name: 'x1', pausedFor: null }] } }, null],
    [
      'all proxies have paused',
      { state: op('pausing'), seen: { proxies: [{ name: 'x1', pausedFor: 'x' }] } },
      { switchover: { step: 'stopping' } },
    ],
    [
      'P is down, S lacks the end',
      { state: op('stopping'), seen: FREE, nodes: { p: { postgres: postgres('stopped', { flushedLsn: 101n }) } } },
      null,
    ],
    [
      'the point of no return',
      { state: op('stopping'), seen: FREE, nodes: { p: { postgres: down } } },
      { term: 4, primary: 's', timeline: 5, published: NO_QUORUM, switchover: { step: 'resuming' } },
    ],
    [
      'fault 34: it takes too long before that: undone',
      { state: op('stopping', 60_000) },
      { term: 3, primary: 'p', switchover: { step: 'undoing' } },
    ],
    ['fault 34: … P is back', { state: op('undoing') }, { term: 3, primary: 'p', switchover: null }],
    [
      'S dies before: undone',
      { state: op('pausing'), nodes: { s: null } },
      { primary: 'p', switchover: { step: 'undoing' } },
    ],
    [
      'P dies before: given up, the rules of a failover apply',
      { state: op('pausing'), seen: FREE, nodes: { p: null } },
      { switchover: null },
    ],
  ] as const)('%s', (_name, scene, want) => {
    const found = decide(scene as Scene);
    if (want === null) expect(found.next?.term ?? 3).toBe(3);
    else expect(found.next).toMatchObject(want);
  });
});

test('where a copy stands to the timeline of the primary', () => {
  const forks = [
    { timeline: 2, parent: 1, forkLsn: 100n },
    { timeline: 4, parent: 2, forkLsn: 200n },
  ];
  const at = (timeline: number, endLsn: bigint): string => ancestry(forks, { timeline, endLsn }, 4);
  expect([at(4, 500n), at(2, 200n), at(1, 100n)]).toEqual(['part', 'part', 'part']);
  expect([at(2, 201n), at(1, 150n), at(3, 120n)]).toEqual(['diverged', 'diverged', 'diverged']);
  expect(ancestry(forks, { timeline: 4, endLsn: 1n }, 5)).toBe('unknown');
});

test('the state survives the store', () => {
  const state = {
    ...HEALTHY,
    request: { tag: 'failover', id: 'f', to: 'a', acceptLossLsn: 2n ** 40n, isOldPrimaryOff: true } as const,
  };
  expect(decodeDocument<ClusterState>(encodeDocument(state))).toEqual(state);
});
