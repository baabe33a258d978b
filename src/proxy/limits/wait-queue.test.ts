// Who is served first: a plain line, or by cost with ageing.

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { costClass, PENALTY_MS, type Queued, WaitQueue } from './wait-queue.ts';

interface Waiter extends Queued {
  readonly id: number;
  readonly costMs: number;
}

function waiter(id: number, waitingSince: number, costMs: number): Waiter {
  return { id, costMs, waitingSince, queueNext: null, queuePrevious: null, queueClass: -1, queueTicket: 0 };
}

function drain(queue: WaitQueue<Waiter>): number[] {
  const order: number[] = [];
  for (let next = queue.first(); next !== null; next = queue.first()) {
    order.push(next.id);
    queue.remove(next);
  }
  return order;
}

test('a plain line, whatever they cost', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5_000)), (costs) => {
      const queue = new WaitQueue<Waiter>();
      costs.forEach((cost, id) => queue.push(waiter(id, 7, cost), cost));
      expect(queue.length).toBe(costs.length);
      expect(drain(queue)).toEqual(costs.map((_, id) => id));
    }),
  );
});

test('ranked: a cheap one overtakes an expensive one, until that has waited for its penalty', () => {
  const queue = new WaitQueue<Waiter>();
  queue.push(waiter(1, 0, 500), 500);
  queue.push(waiter(2, 900, 1), 1);
  queue.push(waiter(3, 1_100, 1), 1);
  queue.ranked = true;
  expect(drain(queue)).toEqual([2, 1, 3]);
  expect(queue.ranked).toBe(false);
});

const moves = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('push' as const), cost: fc.nat(5_000), after: fc.nat(300) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('serve' as const), cost: fc.constant(0), after: fc.nat(300) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), cost: fc.nat(), after: fc.nat(10) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('rank' as const), cost: fc.constant(0), after: fc.nat(10) }),
    },
  ),
  { maxLength: 200 },
);

test('in each class first come, first served; nobody is overtaken by who came later than his penalty', () => {
  fc.assert(
    fc.property(moves, (all) => {
      const queue = new WaitQueue<Waiter>();
      const waiting: Waiter[] = [];
      let now = 0;
      let id = 0;
      for (const { kind, cost, after } of all) {
        now += after;
        if (kind === 'push') {
          const one = waiter((id += 1), now, cost);
          queue.push(one, cost);
          waiting.push(one);
        } else if (kind === 'rank') queue.ranked = queue.length > 0;
        else if (waiting.length > 0) {
          const one = kind === 'serve' ? queue.first() : (waiting[cost % waiting.length] as Waiter);
          if (one === null) throw new Error('somebody waits, and nobody is first');
          if (kind === 'serve') {
            for (const other of waiting) {
              const sameClass = costClass(other.costMs) === costClass(one.costMs);
              if (sameClass) expect(other.id).toBeGreaterThanOrEqual(one.id);
              const penalty = PENALTY_MS[costClass(other.costMs)] as number;
              expect(one.waitingSince).toBeLessThanOrEqual(other.waitingSince + penalty);
            }
          }
          queue.remove(one);
          waiting.splice(waiting.indexOf(one), 1);
        }
        expect(queue.length).toBe(waiting.length);
        expect(queue.oldest()?.waitingSince).toBe(
          waiting.length === 0 ? undefined : Math.min(...waiting.map((one) => one.waitingSince)),
        );
      }
    }),
  );
});
