// The real world for tests of sessions: this machine's clock, sockets, chance and hashes.

import { createClock } from '../src/runtime/clock.ts';
import { createCrypto } from '../src/runtime/crypto.ts';
import { createNet } from '../src/runtime/net.ts';
import { createRandom } from '../src/runtime/random.ts';
import type { SessionWorld } from '../src/session/client-login.ts';

export function sessionWorld(): SessionWorld {
  return { clock: createClock(), net: createNet(), random: createRandom(), crypto: createCrypto() };
}
