// One relay, 200 subscribers that only acknowledge, 500 one-row transactions a second: how long after the writer's
// acknowledgement a transaction is at a subscriber, over all subscribers and transactions.

import type { Bench } from './lib/bench.ts';
import { cpuSeconds, MemoryWatch } from './lib/processes.ts';
import { createTickTable, insertTick, prepareTick } from './lib/propagation.ts';
import { startWorld } from './lib/skerry.ts';
import { summarize } from './lib/statistics.ts';
import { attachSubscribers, wallMs } from './lib/subscribers.ts';

/** Counts each transaction that the relay framed for its subscribers. */
const ENCODED_METRIC = 'skerry_relay_transactions_encoded_total';

export const fanOut: Bench = {
  name: 'fan-out',
  help: '200 subscribers that only acknowledge, 500 transactions/s',
  async run(context) {
    const subscribersWanted = 200;
    const perSecond = 500;
    const total = perSecond * (context.quick ? 3 : 20);
    await using world = await startWorld(context, {
      edges: 0,
      fill: async (writer) => {
        await createTickTable(writer);
        await insertTick(writer);
      },
    });
    await prepareTick(world.writer, []);
    const from = await world.writer.value('SELECT pg_current_wal_lsn()');
    context.progress(`attaching ${subscribersWanted} subscribers`);
    using subscribers = await attachSubscribers(world.relayTarget(), {
      count: subscribersWanted,
      from,
      commitsMax: total,
    });
    const encodedBefore = await world.relay.metric(ENCODED_METRIC);
    const cpuBefore = cpuSeconds(world.relay.pid);
    using memory = new MemoryWatch(world.relay.pid);

    context.progress(`${total} transactions`);
    const acknowledged = new Float64Array(total);
    const started = performance.now();
    for (let index = 0; index < total; index += 1) {
      const due = started + (index * 1000) / perSecond;
      if (performance.now() < due) await Bun.sleep(due - performance.now());
      await world.writer.execute('tick', [String(index)]);
      acknowledged[index] = wallMs();
    }
    const seconds = (performance.now() - started) / 1000;
    const times = await subscribers.times();
    const encoded = (await world.relay.metric(ENCODED_METRIC)) - encodedBefore;
    const cpu = cpuSeconds(world.relay.pid) - cpuBefore;

    const samples: number[] = [];
    for (const receivedAt of times) {
      for (let index = 0; index < total; index += 1) {
        samples.push(Math.max(0, (receivedAt[index] as number) - (acknowledged[index] as number)));
      }
    }
    const latency = summarize(samples);
    context.note(
      `subscribers live in one thread of the bench process; the relay used ${((cpu * 1e6) / (total * subscribersWanted)).toFixed(2)} us of CPU for each transaction and subscriber`,
    );
    return [
      {
        name: 'acknowledged -> at a subscriber, p99',
        unit: 'ms',
        measured: latency.p99,
        target: { kind: 'at-most', value: 200 },
      },
      { name: 'acknowledged -> at a subscriber, p50', unit: 'ms', measured: latency.p50 },
      { name: 'worst', unit: 'ms', measured: latency.max },
      {
        name: 'times each transaction was encoded',
        unit: 'x',
        measured: encoded / total,
        target: { kind: 'at-most', value: 1 },
      },
      {
        name: 'rate that was written',
        unit: 'tx/s',
        measured: total / seconds,
        target: { kind: 'at-least', value: 495 },
      },
      { name: 'relay, peak memory', unit: 'MB', measured: memory.peakMb },
    ];
  },
};
