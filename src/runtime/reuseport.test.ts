// One port, several listeners: connections are spread, and a listener that is left out loses none when it closes.
// In one process here; the kernel does not care whose sockets they are.

import { expect, test } from 'bun:test';
import type { Connection, Listener } from '../base/net.ts';
import { createNet } from './net.ts';

const net = createNet();

interface Counted {
  readonly listener: Listener;
  accepted: number;
}

async function listen(port: number): Promise<Counted> {
  const counted = { accepted: 0 };
  const accept = (connection: Connection): void => {
    counted.accepted += 1;
    connection.handler = { data: () => {}, close: () => {} };
    connection.write(Buffer.from('x'));
    connection.end();
  };
  const listener = await net.listen({ host: '127.0.0.1', port, sharePort: true, accept });
  return Object.assign(counted, { listener });
}

/** Connects until told to stop; gives how many were answered and what else happened. */
function visitors(port: number, count: number): { stop(): Promise<{ answered: number; errors: string[] }> } {
  let going = true;
  let answered = 0;
  const errors: string[] = [];
  const visit = async (): Promise<void> => {
    while (going) {
      let got = false;
      const gone = Promise.withResolvers<void>();
      try {
        await net.connect({
          host: '127.0.0.1',
          port,
          timeoutMs: 5_000,
          handler: { data: () => (got = true), close: () => gone.resolve() },
        });
        await gone.promise;
        if (got) answered += 1;
        else errors.push('closed without a word');
      } catch (error) {
        errors.push(String(error));
      }
    }
  };
  const all = Array.from({ length: count }, visit);
  return {
    async stop() {
      going = false;
      await Promise.all(all);
      return { answered, errors };
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

test('a port is shared only by those who say so', async () => {
  await using alone = await net.listen({ host: '127.0.0.1', port: 0, accept: () => {} });
  await expect(listen(alone.port)).rejects.toThrow('in use');
});

test('connections are spread over all listeners of a port', async () => {
  const first = await listen(0);
  const all = [first, await listen(first.listener.port), await listen(first.listener.port)];
  const load = visitors(first.listener.port, 8);
  await until(() => all.every((one) => one.accepted > 20));
  const { errors } = await load.stop();
  for (const one of all) one.listener.stop();
  expect(errors).toEqual([]);
});

test.skipIf(process.platform !== 'linux')(
  'listeners replaced one after the other under load: none refused, none reset',
  async () => {
    const first = await listen(0);
    const { port } = first.listener;
    // The kernel's own order: a new one comes last, and the last takes the place of one that closes.
    const group = [first, await listen(port), await listen(port)];
    const load = visitors(port, 8);
    for (let round = 0; round < 12; round += 1) {
      const leaving = group[round % 2] as Counted;
      const fresh = await listen(port);
      group.push(fresh);
      const at = group.indexOf(leaving);
      expect(leaving.listener.steer(group.map((_, index) => index).filter((index) => index !== at))).toBe(true);
      // What the kernel had queued for it before is still accepted.
      const seen = fresh.accepted;
      await until(() => fresh.accepted > seen + 20);
      const before = leaving.accepted;
      await until(() => fresh.accepted > seen + 60);
      expect(leaving.accepted).toBe(before);
      leaving.listener.stop();
      const last = group.pop() as Counted;
      if (last !== leaving) group[at] = last;
      fresh.listener.steer(null);
    }
    const { errors, answered } = await load.stop();
    for (const one of group) one.listener.stop();
    expect(errors).toEqual([]);
    expect(answered).toBeGreaterThan(500);
  },
);
