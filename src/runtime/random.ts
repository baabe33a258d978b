// Chance from the operating system.

import { randomBytes } from 'node:crypto';
import type { Random } from '../base/random.ts';

export function createRandom(): Random {
  return {
    float: () => Math.random(),
    bytes: (length) => randomBytes(length),
  };
}
