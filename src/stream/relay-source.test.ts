import { expect, test } from 'bun:test';
import { durablePosition } from './relay-source.ts';

test('INVARIANT_I5: the upstream may forget only what every required copy has made durable', () => {
  expect(durablePosition([{ durableLsn: 30n }])).toBe(30n);
  expect(durablePosition([{ durableLsn: 30n }, { durableLsn: 10n }, { durableLsn: 20n }])).toBe(10n);
  expect(durablePosition([])).toBe(0n);
});
