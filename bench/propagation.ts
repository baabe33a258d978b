// How long after the writer's acknowledgement a row is readable at every PoP: one commit at a time, and at a steady
// 1,000 one-row transactions a second.

import type { Bench } from './lib/bench.ts';
import { nativePropagation } from './lib/baseline.ts';
import { createTickTable, insertTick, measureAtRate, measureSingleCommits, prepareTick } from './lib/propagation.ts';
import { startWorld } from './lib/skerry.ts';

const EDGES = 3;

export const propagation: Bench = {
  name: 'propagation',
  help: 'commit acknowledged -> readable at the last of 3 edges, alone and at 1,000 transactions/s',
  async run(context) {
    const load = { commits: context.quick ? 200 : 2000, perSecond: 1000, seconds: context.quick ? 3 : 30 };
    const native = await nativePropagation(context, load);

    context.progress('one relay, three edges');
    await using world = await startWorld(context, {
      edges: EDGES,
      fill: async (writer) => {
        await createTickTable(writer);
        await insertTick(writer);
      },
    });
    const readers = [];
    for (const edge of world.edges) readers.push(await world.connectEdge(edge));
    await prepareTick(world.writer, readers);
    // Code that has not run yet is slow, on any side: the first commits are not measured.
    await measureSingleCommits(world.writer, readers, { firstSeq: 1, commits: 100 });
    context.progress(`${load.commits} single commits`);
    const single = await measureSingleCommits(world.writer, readers, { firstSeq: 101, commits: load.commits });
    context.progress(`${load.perSecond} transactions/s for ${load.seconds} s`);
    const rate = await measureAtRate(world.writer, readers, { firstSeq: 101 + load.commits, ...load });

    context.note(
      `included in each figure: one prepared point read at the reader (${single.readMs.toFixed(2)} ms here, ` +
        `${native.single.readMs.toFixed(2)} ms native); at the rate readers ask every 2 ms`,
    );
    context.note(`${EDGES} edges are read at the same time, the native baseline has one subscriber`);
    return [
      {
        name: 'single commit, p50',
        unit: 'ms',
        measured: single.latency.p50,
        baseline: { name: 'native', value: native.single.latency.p50 },
        target: { kind: 'at-most', value: 2 },
      },
      {
        name: 'single commit, p99',
        unit: 'ms',
        measured: single.latency.p99,
        baseline: { name: 'native', value: native.single.latency.p99 },
        target: { kind: 'at-most', value: 10 },
      },
      { name: 'single commit, worst', unit: 'ms', measured: single.latency.max },
      {
        name: 'at 1,000 tx/s, p50',
        unit: 'ms',
        measured: rate.latency.p50,
        baseline: { name: 'native', value: native.rate.latency.p50 },
        target: { kind: 'at-most', value: 4 },
      },
      {
        name: 'at 1,000 tx/s, p99',
        unit: 'ms',
        measured: rate.latency.p99,
        baseline: { name: 'native', value: native.rate.latency.p99 },
        target: { kind: 'at-most', value: 25 },
      },
      { name: 'at 1,000 tx/s, worst', unit: 'ms', measured: rate.latency.max },
      {
        name: 'rate that was written',
        unit: 'tx/s',
        measured: rate.commitsPerSecond,
        target: { kind: 'at-least', value: 990 },
      },
    ];
  },
};
