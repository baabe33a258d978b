// Shares of limits: what is divided is never more than there is, whoever says what in which order.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { Budgets, divide, type ShareMessage } from './budget.ts';

const all = (wanted: readonly number[]): { wanted: number; mayGrow: boolean }[] =>
  wanted.map((one) => ({ wanted: one, mayGrow: true }));

describe('dividing', () => {
  test.each([
    ['nobody wants any: equal parts to spare', 10, [0, 0], [5, 5]],
    ['one wants all: it gets what is left', 10, [10, 0], [10, 0]],
    ['one wants much, the other little', 10, [30, 2], [8, 2]],
    ['both want too much: halves', 10, [30, 30], [5, 5]],
    ['what nobody wants is spread', 10, [2, 4], [4, 6]],
    ['an odd one goes to the one whose turn it is', 3, [9, 9], [2, 1]],
    ['less than one for each', 1, [1, 1, 1], [1, 0, 0]],
  ])('%s', (_, total, wanted, shares) => {
    expect(divide(total, all(wanted), 0)).toEqual(shares);
  });

  test('less than one for each: by turns everybody', () => {
    const turns = [0, 1, 2, 3].map((turn) => divide(1, all([1, 0, 5, 2]), turn).indexOf(1));
    expect(turns).toEqual([0, 2, 3, 0]);
  });

  test('who is leaving gets what it wants and nothing to spare', () => {
    expect(
      divide(
        10,
        [
          { wanted: 2, mayGrow: false },
          { wanted: 0, mayGrow: true },
        ],
        0,
      ),
    ).toEqual([2, 8]);
  });

  test('everything is given, nobody who wants less than its part is cut', () => {
    const wanted = fc.array(fc.nat(40), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.nat(100), wanted, fc.nat(9), (total, wants, turn) => {
        const shares = divide(total, all(wants), turn);
        expect(shares.reduce((sum, one) => sum + one, 0)).toBe(total);
        const part = Math.floor(total / wants.length);
        shares.forEach((share, index) => expect(share).toBeGreaterThanOrEqual(Math.min(wants[index] as number, part)));
      }),
    );
  });
});

/** A worker that uses as much as it may of what it wants, and answers late. */
class FakeWorker {
  used = 0;
  wanted = 0;
  share = 0;
  applied = 0;
  readonly inbox: ShareMessage[] = [];
  readonly outbox: { applied: number; used: number; wanted: number }[] = [];

  take(): void {
    const message = this.inbox.shift();
    if (message === undefined) return;
    this.applied = message.number;
    for (const [, share] of message.shares) this.share = share;
    this.say();
  }

  say(): void {
    this.outbox.push({ applied: this.applied, used: this.used, wanted: this.wanted });
  }
}

function join(books: Budgets, worker: number): void {
  books.join(worker);
  books.serves(worker);
}

describe('the books', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('want' as const), who: fc.nat(3), count: fc.nat(12) }),
    fc.record({ do: fc.constantFrom('open', 'close', 'take', 'deliver', 'rotate', 'die', 'retire'), who: fc.nat(3) }),
    fc.record({ do: fc.constant('total' as const), who: fc.constant(0), count: fc.integer({ min: 1, max: 9 }) }),
  );

  test('no order of messages, deaths and demands makes all together use more than the limit', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), fc.integer({ min: 1, max: 9 }), (steps, first) => {
        const books = new Budgets();
        const workers = Array.from({ length: 4 }, () => new FakeWorker());
        workers.forEach((_, index) => join(books, index));
        let highest = first;
        let total = first;
        const send = (messages: Map<number, ShareMessage>): void => {
          for (const [index, message] of messages) (workers[index] as FakeWorker).inbox.push(message);
        };
        const report = (index: number): void => {
          const said = (workers[index] as FakeWorker).outbox.shift();
          if (said === undefined) return;
          const { applied, used, wanted } = said;
          send(books.report(index, { applied, demands: [{ key: 'k', total, used, wanted }] }));
        };
        for (const one of steps) {
          const worker = workers[one.who] as FakeWorker;
          if (one.do === 'want') {
            worker.wanted = one.count;
            worker.say();
          } else if (one.do === 'open' && worker.used < worker.share && worker.used < worker.wanted) worker.used += 1;
          else if (one.do === 'close' && worker.used > 0) worker.used -= 1;
          else if (one.do === 'take') worker.take();
          else if (one.do === 'deliver') report(one.who);
          else if (one.do === 'rotate') send(books.rotate());
          else if (one.do === 'retire') send(books.retire(one.who));
          else if (one.do === 'total') {
            total = one.count;
            highest = Math.max(highest, total);
          } else if (one.do === 'die') {
            workers[one.who] = new FakeWorker();
            send(books.leave(one.who));
            (workers[one.who] as FakeWorker).inbox.length = 0;
            join(books, one.who);
          }
          expect(workers.reduce((sum, each) => sum + each.used, 0)).toBeLessThanOrEqual(highest);
        }
      }),
      { numRuns: 300 },
    );
  });

  test('in the end who wants gets, also when another holds all', () => {
    const books = new Budgets();
    const [a, b] = [new FakeWorker(), new FakeWorker()];
    const workers = [a, b];
    workers.forEach((_, index) => join(books, index));
    const settle = (): void => {
      for (let round = 0; round < 20; round += 1) {
        workers.forEach((worker, index) => {
          worker.say();
          for (const { applied, used, wanted } of worker.outbox.splice(0)) {
            const messages = books.report(index, { applied, demands: [{ key: 'k', total: 4, used, wanted }] });
            for (const [to, message] of messages) (workers[to] as FakeWorker).inbox.push(message);
          }
          while (worker.inbox.length > 0) worker.take();
          worker.used = Math.min(worker.wanted, worker.share);
        });
      }
    };
    a.wanted = 9;
    settle();
    expect([a.used, b.used]).toEqual([4, 0]);
    b.wanted = 9;
    settle();
    expect([a.used, b.used]).toEqual([2, 2]);
    a.wanted = 0;
    settle();
    expect([a.used, b.used]).toEqual([0, 4]);
    expect(books.heldOf('k')).toBe(4);
  });

  test('one for two: each has its turn', () => {
    const books = new Budgets();
    const [a, b] = [new FakeWorker(), new FakeWorker()];
    const workers = [a, b];
    workers.forEach((worker, index) => {
      join(books, index);
      worker.wanted = 5;
      worker.say();
    });
    const seen = [0, 0];
    for (let turn = 0; turn < 8; turn += 1) {
      for (let round = 0; round < 6; round += 1) {
        workers.forEach((worker, index) => {
          for (const { applied, used, wanted } of worker.outbox.splice(0)) {
            const messages = books.report(index, { applied, demands: [{ key: 'k', total: 1, used, wanted }] });
            for (const [to, message] of messages) (workers[to] as FakeWorker).inbox.push(message);
          }
          while (worker.inbox.length > 0) worker.take();
          worker.used = Math.min(worker.wanted, worker.share);
          worker.say();
        });
        expect(a.used + b.used).toBeLessThanOrEqual(1);
      }
      seen[0] = (seen[0] as number) + a.used;
      seen[1] = (seen[1] as number) + b.used;
      for (const [to, message] of books.rotate()) (workers[to] as FakeWorker).inbox.push(message);
    }
    expect(seen).toEqual([4, 4]);
  });
});
