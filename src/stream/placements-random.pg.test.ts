// Random placements and changes; `npm run fuzz -- placements` goes on from here.

import { setDefaultTimeout, test } from 'bun:test';
import { needs } from '../../test/harness.ts';
import { fuzzPlacements } from '../../test/placement-fuzz.ts';

// Every step waits for its condition; this only bounds a test that is stuck.
setDefaultTimeout(120_000);

for (const version of (['15', '18'] as const).filter((one) => needs(`postgres-${one}`))) {
  for (const seed of [1, 2]) {
    test(`INVARIANT_I4 INVARIANT_I3 ${version}: what PoPs hold is what the core selects for them, seed ${seed}`, () =>
      fuzzPlacements({ seed, version, steps: 150 }));
  }
}
