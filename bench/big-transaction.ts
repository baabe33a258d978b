// One transaction of 2,000,000 rows, from the core through the relay to an edge: how much memory it takes, and how long a
// reader at the edge waits while it is applied.

import type { Bench } from './lib/bench.ts';
import { MemoryWatch } from './lib/processes.ts';
import { createTickTable, insertTick, prepareTick } from './lib/propagation.ts';
import { startWorld } from './lib/skerry.ts';
import { summarize } from './lib/statistics.ts';
import { since, until } from './lib/wait.ts';
import { createTable, insertRows, seesRow } from './lib/workload.ts';

const READ_EVERY_MS = 1;

export const bigTransaction: Bench = {
  name: 'big-transaction',
  help: 'one transaction of 2,000,000 rows: memory of relay and edge, readers meanwhile',
  async run(context) {
    const rows = context.quick ? 200_000 : 2_000_000;
    await using world = await startWorld(context, {
      edges: 1,
      fill: async (writer) => {
        await createTable(writer);
        await createTickTable(writer);
        await insertTick(writer);
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    const reader = await world.connectEdge(edge);
    const watcher = await world.connectEdge(edge);
    await prepareTick(world.writer, [reader]);
    using relayMemory = new MemoryWatch(world.relay.pid);
    using edgeMemory = new MemoryWatch(edge.pid);

    const reads: number[] = [];
    let reading = true;
    const keepReading = async (): Promise<void> => {
      while (reading) {
        const asked = performance.now();
        await reader.execute('seq', ['1']);
        reads.push(since(asked));
        await Bun.sleep(READ_EVERY_MS);
      }
    };
    const readerDone = keepReading();
    context.progress(`writing ${rows} rows in one transaction`);
    const started = performance.now();
    await insertRows(world.writer, { from: 1, to: rows });
    const committed = performance.now();
    context.progress('committed; waiting for the edge');
    const seen = await until('the edge has the transaction', () => seesRow(watcher, rows), { everyMs: 20 });
    reading = false;
    await readerDone;
    const latency = summarize(reads);
    context.note(`the core took ${((committed - started) / 1000).toFixed(1)} s to write and commit it`);
    context.note(
      `${latency.count} point reads of another table at the edge, from the first row written until the last was readable`,
    );
    return [
      { name: 'relay, peak memory', unit: 'MB', measured: relayMemory.peakMb, target: { kind: 'at-most', value: 300 } },
      { name: 'edge, peak memory', unit: 'MB', measured: edgeMemory.peakMb, target: { kind: 'at-most', value: 300 } },
      // A reader that waits for the applier would wait for seconds; this bound only has to tell the two apart.
      { name: 'slowest read meanwhile', unit: 'ms', measured: latency.max, target: { kind: 'at-most', value: 100 } },
      { name: 'read meanwhile, p99', unit: 'ms', measured: latency.p99 },
      { name: 'commit -> readable', unit: 's', measured: (seen - committed) / 1000 },
      { name: 'rows applied, from the commit', unit: 'rows/s', measured: (rows * 1000) / (seen - committed) },
    ];
  },
};
