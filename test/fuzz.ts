// Property tests: how many runs, and with which seed, for all of them.

import fc from 'fast-check';

/** SKERRY_FUZZ_RUNS raises it for a night's run; SKERRY_FUZZ_SEED repeats one. */
const RUNS = Number(process.env['SKERRY_FUZZ_RUNS'] ?? 300);
const SEED = process.env['SKERRY_FUZZ_SEED'];

/** Checks a property; a failure prints its seed and the smallest counterexample. */
export function check<T extends [unknown, ...unknown[]]>(
  arbitraries: { [Index in keyof T]: fc.Arbitrary<T[Index]> },
  property: (...values: T) => void,
): void {
  const options = { numRuns: RUNS, ...(SEED === undefined ? {} : { seed: Number(SEED) }) };
  fc.assert(fc.property(...arbitraries, property), options);
}
