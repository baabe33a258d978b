// How fast an edge that was away catches up: one transaction of 500,000 row changes, then 100,000 one-row transactions.
// Measured from the start of its process until a reader sees the last change; native from ENABLE of the subscription.

import { nativeCatchUp } from './lib/baseline.ts';
import type { Bench, Figure } from './lib/bench.ts';
import { MemoryWatch } from './lib/processes.ts';
import { relayHas, seenAtEdge, startWorld } from './lib/skerry.ts';
import {
  changeManyRows,
  createOneRowWriter,
  createTable,
  insertRows,
  writeOneRowTransactions,
} from './lib/workload.ts';

export const catchUp: Bench = {
  name: 'catch-up',
  help: 'an edge that was away: 500,000 row changes in one transaction, 100,000 one-row transactions',
  async run(context) {
    const load = context.quick
      ? { changes: 100_000, transactions: 20_000 }
      : { changes: 500_000, transactions: 100_000 };
    const native = await nativeCatchUp(context, load);

    context.progress('one relay, one edge');
    await using world = await startWorld(context, {
      edges: 1,
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: load.changes });
        await createOneRowWriter(writer);
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    using relayMemory = new MemoryWatch(world.relay.pid);

    const measure = async (write: () => Promise<number>): Promise<{ ms: number; startMs: number; edgeMb: number }> => {
      await edge.stop();
      const lastId = await write();
      await relayHas(world);
      const started = performance.now();
      edge.start();
      using edgeMemory = new MemoryWatch(edge.pid);
      const { answeredAt, seenAt } = await seenAtEdge(world, edge, lastId);
      return { ms: seenAt - started, startMs: answeredAt - started, edgeMb: edgeMemory.peakMb };
    };
    context.progress(`one transaction of ${load.changes} row changes`);
    let lastId = 0;
    const large = await measure(async () => {
      ({ lastId } = await changeManyRows(world.writer, load.changes));
      return lastId;
    });
    context.progress(`${load.transactions} one-row transactions`);
    const small = await measure(async () => {
      lastId += 1;
      await writeOneRowTransactions(world.writer, { transactions: load.transactions, rows: load.changes / 2, lastId });
      return lastId;
    });
    context.note('each time counts from the spawn of the edge process; native counts from ENABLE on a running server');
    const figures: Figure[] = [
      {
        name: `one transaction, ${load.changes} row changes`,
        unit: 'rows/s',
        measured: (load.changes * 1000) / large.ms,
        baseline: { name: 'native', value: native.large },
        target: { kind: 'ratio-at-least', value: 1.2 },
      },
      {
        name: `${load.transactions} one-row transactions`,
        unit: 'tx/s',
        measured: (load.transactions * 1000) / small.ms,
        baseline: { name: 'native', value: native.small },
        target: { kind: 'ratio-at-least', value: 2 },
      },
      {
        name: 'edge, peak memory',
        unit: 'MB',
        measured: Math.max(large.edgeMb, small.edgeMb),
        target: { kind: 'at-most', value: 200 },
      },
      // While it takes in what the edge misses, and while it serves it.
      {
        name: 'relay, peak memory',
        unit: 'MB',
        measured: relayMemory.peakMb,
        target: { kind: 'at-most', value: 200 },
      },
      { name: 'edge process start until it answers', unit: 'ms', measured: Math.max(large.startMs, small.startMs) },
    ];
    return figures;
  },
};
