// The pool of slow lanes, with children that are made of promises.

import { expect, test } from 'bun:test';
import { type SlowChunk, SlowLanes, type SlowRequest, type SlowWorker } from './slow-lanes.ts';
import type { LocalPlan } from './sql/plan.ts';

const PLAN = { kind: 'local', sql: 'SELECT 1' } as LocalPlan;
const CHUNK: SlowChunk = { bytes: new Uint8Array(1), rows: 1, done: true, forward: false };

class FakeWorker implements SlowWorker {
  readonly requests: SlowRequest[] = [];
  onMessage: (chunk: SlowChunk) => void = () => {};
  readonly exited: Promise<string>;
  #exit: (why: string) => void = () => {};

  constructor() {
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  post(request: SlowRequest): void {
    this.requests.push(request);
  }

  async kill(): Promise<void> {
    this.#exit('was killed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

function lanes(lanesMax: number, waitingMax: number): { pool: SlowLanes; workers: FakeWorker[] } {
  const workers: FakeWorker[] = [];
  const pool = new SlowLanes(
    () => {
      const worker = new FakeWorker();
      workers.push(worker);
      return worker;
    },
    { lanesMax, pinnedMax: 1, waitingMax, path: '/replica', generation: () => 1, catalogueVersion: () => 1 },
  );
  return { pool, workers };
}

test('a lane is started when it is needed and used again', async () => {
  const { pool, workers } = lanes(2, 0);
  expect(workers.length).toBe(0);
  for (let round = 0; round < 3; round += 1) {
    const query = await pool.open(PLAN, [], []);
    const next = query?.next(0);
    workers[0]?.onMessage(CHUNK);
    expect(await next).toBe(CHUNK);
    query?.close();
  }
  expect(workers.length).toBe(1);
  expect(pool.taken).toBe(0);
});

test('over the limit a statement waits, over that it is turned away', async () => {
  const { pool } = lanes(1, 1);
  const first = await pool.open(PLAN, [], []);
  const second = pool.open(PLAN, [], []);
  expect(await pool.open(PLAN, [], [])).toBeNull();
  first?.close();
  expect(await second).not.toBeNull();
  expect(pool.taken).toBe(1);
});

test('a killed lane fails its statement, and a new one takes its place', async () => {
  const { pool, workers } = lanes(1, 1);
  const query = await pool.open(PLAN, [], []);
  const next = query?.next(0);
  const waiting = pool.open(PLAN, [], []);
  query?.kill();
  expect(next).rejects.toMatchObject({ code: 'slow-lane-gone', sqlstate: '57014' });
  expect(await waiting).not.toBeNull();
  expect(workers.length).toBe(2);
  query?.close();
  expect(pool.taken).toBe(1);
});

test('closing in the middle of a chunk kills the child: it would not listen', async () => {
  const { pool, workers } = lanes(1, 0);
  const query = await pool.open(PLAN, [], []);
  const next = query?.next(0);
  query?.close();
  expect(next).rejects.toMatchObject({ code: 'slow-lane-gone' });
  await workers[0]?.exited;
  await Promise.resolve();
  expect(pool.taken).toBe(0);
  await pool.close();
  expect(await pool.open(PLAN, [], [])).toBeNull();
});
