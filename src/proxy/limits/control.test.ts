// Who is answerable for slowness.

import { describe, expect, test } from 'bun:test';
import { judge } from './control.ts';

describe('verdicts', () => {
  test('alone: for all of its own', () => {
    const { verdicts, active } = judge([{ load: 8, ratio: 4 }]);
    expect(active).toBe(1);
    expect(verdicts).toEqual([{ answerable: 1, neighbourRatio: 1, neighbour: -1, share: 1 }]);
  });

  test('the heavy one answers for the light one’s slowness, the light one hardly for its own', () => {
    const { verdicts } = judge([
      { load: 0.1, ratio: 6 },
      { load: 9.9, ratio: 5 },
    ]);
    expect(verdicts[0]).toMatchObject({ neighbourRatio: 1, neighbour: -1 });
    expect(verdicts[0]?.answerable).toBeCloseTo(0.02);
    expect(verdicts[1]).toMatchObject({ answerable: 1, neighbourRatio: 6, neighbour: 0 });
    expect(verdicts[1]?.share).toBeCloseTo(0.99);
  });

  test('equals answer for themselves only', () => {
    const { verdicts } = judge([
      { load: 5, ratio: 3 },
      { load: 4, ratio: 2 },
      { load: 5, ratio: 3 },
    ]);
    expect(verdicts.map((one) => one.neighbour)).toEqual([-1, -1, -1]);
    expect(verdicts[0]?.answerable).toBe(1);
  });

  test('several heavy ones answer alike, for whoever is worst off', () => {
    const { verdicts } = judge([
      { load: 6, ratio: 3 },
      { load: 0.2, ratio: 2 },
      { load: 6, ratio: 3 },
      { load: 0.1, ratio: 9 },
    ]);
    expect(verdicts.map((one) => one.neighbour)).toEqual([3, -1, 3, -1]);
  });

  test('nothing measured is no reason, and nobody there is nobody', () => {
    expect(judge([]).verdicts).toEqual([]);
    const { verdicts } = judge([
      { load: 0, ratio: null },
      { load: 3, ratio: null },
    ]);
    expect(verdicts[1]).toMatchObject({ neighbourRatio: 1, neighbour: -1, answerable: 1 });
  });
});
