import { describe, expect, test } from 'bun:test';
import { Fault } from '../base/fault.ts';
import type { ChecksumReport } from '../contracts/health.ts';
import { createClock } from '../runtime/clock.ts';
import { verdictSentence, verifyOnce, verifyUntilEqual, type VerifyPlaces } from './verify.ts';

const clock = { ...createClock(), sleep: () => Promise.resolve(), now: () => performance.now() };
const EPOCH = { systemId: '7', timeline: 1 };

function report(name: string, position: string, sums: Record<string, string>, epoch = EPOCH): ChecksumReport {
  return {
    name,
    epoch,
    position,
    tables: Object.entries(sums).map(([table, sum]) => ({ table, rows: sum.length, sum })),
  };
}

/** A relay, held at 0/10, whose rows at an LSN are `history[lsn]`. */
function world(
  history: Record<string, Record<string, string>>,
  others: readonly (() => ChecksumReport)[],
  log: string[] = [],
): VerifyPlaces {
  return {
    async holdRelay() {
      log.push('hold');
    },
    async relayAt(at) {
      log.push(at);
      if (at === '0/5') throw new Fault('position-passed', { message: 'beyond' });
      return report('relay', at, history[at] ?? {});
    },
    async releaseRelay() {
      log.push('release');
    },
    others: others.map((ask, index) => ({ name: NAMES[index] as string, ask: async () => ask() })),
  };
}

const NAMES = ['core', 'edge-0', 'edge-1'];

describe('verify', () => {
  test('asks the relay for each position once, ascending, and releases it', async () => {
    const log: string[] = [];
    const history = { '0/20': { t: 'aa' }, '0/A0': { t: 'bbb' } };
    const places = world(
      history,
      [
        () => report('core', '0/A0', { t: 'bbb' }),
        () => report('edge-0', '0/20', { t: 'aa' }),
        () => report('edge-1', '0/A0', { t: 'bbb' }),
      ],
      log,
    );
    const verdict = await verifyOnce(places, clock);
    expect(log).toEqual(['hold', '0/20', '0/A0', 'release']);
    expect(verdict.equal).toBe(true);
    expect(verdict.places.map((place) => place.name)).toEqual(['core', 'edge-0', 'edge-1']);
    expect(verdictSentence(verdict)).toBe('equal: core, edge-0, edge-1 and relay hold the same rows');
  });

  test.each([
    ['another sum', { t: 'ax' }],
    ['another number of rows', { t: 'aaa' }],
    ['a table too few', {}],
    ['a table too many', { t: 'aa', u: 'x' }],
  ])('%s is a difference', async (_name, sums) => {
    const verdict = await verifyOnce(world({ '0/20': { t: 'aa' } }, [() => report('core', '0/20', sums)]), clock);
    expect(verdict.equal).toBe(false);
    expect(verdictSentence(verdict)).toStartWith('core differs from relay at 0/20 in ');
  });

  test('a place behind the held relay is asked again until it is ahead', async () => {
    let asked = 0;
    const verdict = await verifyOnce(
      world({ '0/20': { t: 'aa' } }, [() => report('edge-0', ++asked < 4 ? '0/5' : '0/20', { t: 'aa' })]),
      clock,
    );
    expect(verdict.equal).toBe(true);
  });

  test('another epoch cannot be compared, and the relay is released', async () => {
    const log: string[] = [];
    const places = world(
      { '0/20': { t: 'aa' } },
      [() => report('edge-0', '0/20', { t: 'aa' }, { systemId: '8', timeline: 1 })],
      log,
    );
    const fault = await verifyOnce(places, clock).then(
      () => null,
      (error: unknown) => error as Fault,
    );
    expect(fault?.code).toBe('verify-incomparable');
    expect(log.at(-1)).toBe('release');
  });

  test('waiting goes on over faults and differences until all is equal', async () => {
    const tries: (() => ChecksumReport)[] = [
      () => report('edge-0', '0/20', { t: 'zz' }),
      () => {
        throw new Fault('connect-failed', { message: 'away' });
      },
      () => report('edge-0', '0/20', { t: 'aa' }),
    ];
    let index = 0;
    const places: VerifyPlaces = {
      ...world({ '0/20': { t: 'aa' } }, []),
      others: [{ name: 'edge-0', ask: async () => (tries[Math.min(index++, 2)] as () => ChecksumReport)() }],
    };
    expect((await verifyUntilEqual(places, clock, 5_000)).equal).toBe(true);
    expect(index).toBe(3);
  });
});
