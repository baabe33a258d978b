import { expect, test } from 'bun:test';
import type { Clock } from '../base/clock.ts';
import { Pacer } from './pacer.ts';

/** A clock whose turns the test takes. */
function turns(): { readonly clock: Clock; take(): Promise<void>; readonly pending: number } {
  let soon: (() => void)[] = [];
  return {
    clock: { soon: (task: () => void) => void soon.push(task) } as unknown as Clock,
    get pending() {
      return soon.length;
    },
    async take() {
      const tasks = soon;
      soon = [];
      for (const task of tasks) task();
      await Promise.resolve();
      await Promise.resolve();
    },
  };
}

test('begins so many in a turn, the others later, in order, and then rests', async () => {
  const world = turns();
  const pacer = new Pacer(world.clock, 2);
  const begun: number[] = [];
  const ask = (name: number): void => void pacer.turn().then(() => begun.push(name));
  for (const name of [1, 2, 3, 4, 5]) ask(name);
  await Promise.resolve();
  expect(begun).toEqual([1, 2]);
  await world.take();
  expect(begun).toEqual([1, 2, 3, 4]);
  // Who comes now is behind those that wait.
  ask(6);
  await Promise.resolve();
  expect(begun).toEqual([1, 2, 3, 4]);
  await world.take();
  expect(begun).toEqual([1, 2, 3, 4, 5, 6]);
  await world.take();
  expect(world.pending).toBe(0);
  ask(7);
  await Promise.resolve();
  expect(begun.at(-1)).toBe(7);
});
