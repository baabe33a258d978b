// Max-min shares: the definition, checked against any demands.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { type Demand, maxMinShares } from './max-min.ts';

const equal = (wanted: readonly number[]): Demand[] => wanted.map((one) => ({ wanted: one, weight: 1 }));

describe('shares', () => {
  test.each([
    ['all get what they want', 10, [1, 2, 3], [1, 2, 3]],
    ['equal parts of too little', 9, [9, 9, 9], [3, 3, 3]],
    ['the modest one is served, the others divide the rest', 10, [2, 20, 20], [2, 4, 4]],
    ['an odd one goes to the first', 10, [20, 20, 20], [4, 3, 3]],
    ['less than one for each', 2, [5, 5, 5], [1, 1, 0]],
    ['nobody', 5, [], []],
    ['nobody wants any', 5, [0, 0], [0, 0]],
    ['nothing to give', 0, [3], [0]],
  ])('%s', (_, total, wanted, shares) => {
    expect(maxMinShares(total, equal(wanted))).toEqual(shares);
  });

  test('one with weight 2 gets twice as much', () => {
    const demands = [
      { wanted: 30, weight: 2 },
      { wanted: 30, weight: 1 },
    ];
    expect(maxMinShares(12, demands)).toEqual([8, 4]);
  });

  const demands = fc.array(fc.record({ wanted: fc.nat(40), weight: fc.integer({ min: 1, max: 5 }) }), {
    maxLength: 12,
  });

  test('they sum to the smaller of the total and what is wanted, and nobody gets more than wanted', () => {
    fc.assert(
      fc.property(fc.nat(100), demands, (total, all) => {
        const shares = maxMinShares(total, all);
        const wanted = all.reduce((sum, one) => sum + one.wanted, 0);
        expect(shares.reduce((sum, one) => sum + one, 0)).toBe(Math.min(total, wanted));
        shares.forEach((share, index) => expect(share).toBeLessThanOrEqual(all[index]?.wanted as number));
      }),
    );
  });

  test('who gets less than wanted has no less, by weight, than anybody else, up to the whole number', () => {
    fc.assert(
      fc.property(fc.nat(100), demands, (total, all) => {
        const shares = maxMinShares(total, all);
        all.forEach(({ wanted, weight }, index) => {
          const mine = shares[index] as number;
          if (mine === wanted) return;
          all.forEach((other, at) => {
            expect(((shares[at] as number) - 1) / other.weight).toBeLessThan((mine + 1) / weight + 1e-9);
          });
        });
      }),
    );
  });
});
