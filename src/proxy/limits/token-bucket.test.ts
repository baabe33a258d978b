// Queries per second.

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { TokenBucket } from './token-bucket.ts';

test('a second’s worth at once, then one by one', () => {
  const bucket = new TokenBucket(10, 0);
  for (let index = 0; index < 10; index += 1) {
    expect(bucket.has(0)).toBe(true);
    bucket.take(0);
  }
  expect(bucket.has(99)).toBe(false);
  expect(bucket.waitMs(99)).toBeCloseTo(1);
  expect(bucket.has(100)).toBe(true);
});

test('what a transaction takes without asking is owed, up to ten seconds’ worth', () => {
  const bucket = new TokenBucket(2, 0);
  for (let index = 0; index < 1_000; index += 1) bucket.take(0);
  expect(bucket.waitMs(0)).toBeCloseTo(10_500);
});

test('over any stretch no more than rate × time + one second’s worth', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.array(fc.nat(400), { maxLength: 300 }), (rate, pauses) => {
      const bucket = new TokenBucket(rate, 0);
      let now = 0;
      let taken = 0;
      for (const pause of pauses) {
        now += pause;
        if (!bucket.has(now)) continue;
        bucket.take(now);
        taken += 1;
      }
      expect(taken).toBeLessThanOrEqual(rate * (now / 1000 + 1) + 1e-6);
    }),
  );
});
