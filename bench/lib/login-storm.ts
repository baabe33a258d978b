// Many clients that log in over TLS with SCRAM-SHA-256 and stay: `bun bench/lib/login-storm.ts PORT COUNT AT_ONCE USER SECRET`.
// The secret is the ClientKey and ServerKey, so that the load does not compute 4096 hashes a login itself. Prints a JSON line.

import { createNet } from '../../src/runtime/net.ts';
import { parseConnectionString } from '../../src/session/connection-string.ts';
import { login } from '../../src/session/client-login.ts';
import { sessionWorld } from '../../test/session-world.ts';

const [port, count, atOnce, user, clientKey, serverKey] = process.argv.slice(2);

const world = { ...sessionWorld(), net: createNet() };
const options = {
  target: parseConnectionString(`postgres://${user}@127.0.0.1:${port}/postgres?sslmode=require&connect_timeout=60`),
  scramKeys: {
    clientKey: Buffer.from(clientKey ?? '', 'hex'),
    serverKey: Buffer.from(serverKey ?? '', 'hex'),
  },
};

let next = 0;
let failed = 0;
let reason = '';
const started = performance.now();

async function worker(): Promise<void> {
  while (next < Number(count)) {
    next += 1;
    try {
      await login(world, options);
    } catch (error) {
      failed += 1;
      reason = String((error as Error).message);
    }
  }
}

await Promise.all(Array.from({ length: Number(atOnce) }, worker));
console.log(JSON.stringify({ seconds: (performance.now() - started) / 1000, failed, reason }));
// They stay until the bench has seen what they cost.
await Bun.sleep(600_000);
