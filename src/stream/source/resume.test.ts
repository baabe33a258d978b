import { expect, test } from 'bun:test';
import { parseLsn } from '../../pg/lsn.ts';
import { decideResume, type ObservedCore, type ObservedSlot, type Stored } from './resume.ts';

const SLOT: ObservedSlot = {
  plugin: 'pgoutput',
  database: 'db',
  confirmedLsn: parseLsn('0/500'),
  walStatus: 'reserved',
  invalidation: null,
  activePid: null,
  temporary: false,
};
const CORE: ObservedCore = {
  epoch: { systemId: '7', timeline: 2 },
  flushLsn: parseLsn('0/2000'),
  database: 'db',
  timelineHistory: '1\t0/900\tno recovery target specified\n',
  slot: SLOT,
  publication: 'a',
};
const STORED: Stored = {
  position: { epoch: { systemId: '7', timeline: 2 }, lsn: parseLsn('0/1000') },
  publication: 'a',
};

function check(what: string, stored: Stored | null, core: Partial<ObservedCore>, tag: string, words: string): void {
  test(`INVARIANT_I7: ${what}`, () => {
    const decision = decideResume(stored, { ...CORE, ...core });
    expect(decision.tag).toBe(tag as never);
    expect(decision.sentence).toContain(words);
  });
}
const onTimeline = (timeline: number, lsn: string): Stored => ({
  ...STORED,
  position: { epoch: { systemId: '7', timeline }, lsn: parseLsn(lsn) },
});

check('nothing stored: copy', null, {}, 'copy', 'no copy');
check('same history, slot behind us: resume', STORED, {}, 'resume', '0/1000');
check(
  'slot exactly at our position: resume',
  STORED,
  { slot: { ...SLOT, confirmedLsn: parseLsn('0/1000') } },
  'resume',
  '',
);
check(
  'slot one byte ahead of us: a gap, so copy',
  STORED,
  { slot: { ...SLOT, confirmedLsn: parseLsn('0/1001') } },
  'copy',
  'recreated',
);
check('slot gone: copy', STORED, { slot: null }, 'copy', 'is gone');
check('slot lost: copy', STORED, { slot: { ...SLOT, walStatus: 'lost' } }, 'copy', 'is lost');
check(
  'slot invalidated: copy, and the reason is told',
  STORED,
  { slot: { ...SLOT, invalidation: 'idle_timeout' } },
  'copy',
  'idle_timeout',
);
check('slot never completed: copy', STORED, { slot: { ...SLOT, confirmedLsn: null } }, 'copy', 'never completed');
check('slot of another plugin: copy', STORED, { slot: { ...SLOT, plugin: 'wal2json' } }, 'copy', 'wal2json');
check('slot in use: wait', STORED, { slot: { ...SLOT, activePid: 42 } }, 'wait', '42');
check('another cluster: copy', STORED, { epoch: { systemId: '8', timeline: 2 } }, 'copy', 'another cluster');
check('restored to an older state: copy', STORED, { flushLsn: parseLsn('0/FFF') }, 'copy', 'older state');
check('failover that contains our position: follow', onTimeline(1, '0/900'), {}, 'follow', 'timeline 2');
check('failover that lost what we have: copy', onTimeline(1, '0/901'), {}, 'copy', 'failed over at 0/900');
check(
  'a timeline that does not descend from ours: copy',
  onTimeline(1, '0/800'),
  { timelineHistory: '' },
  'copy',
  'descend',
);
check('a core that went back to an older timeline: copy', onTimeline(3, '0/800'), {}, 'copy', 'went back');
check('failover without our slot: copy', onTimeline(1, '0/800'), { slot: null }, 'copy', 'is gone');
check('publication changed behind our back: copy', STORED, { publication: 'b' }, 'copy', 'publication');
