// How fast a new PoP has its rows: an edge with an empty folder takes a snapshot from the relay. The core's own log shows
// that nothing was asked of it.

import { nativeCopyRate } from './lib/baseline.ts';
import type { Bench } from './lib/bench.ts';
import { MemoryWatch } from './lib/processes.ts';
import { relayHas, seenAtEdge, startWorld } from './lib/skerry.ts';
import { until } from './lib/wait.ts';
import { createTable, insertRows, TABLE } from './lib/workload.ts';

export const bootstrap: Bench = {
  name: 'bootstrap',
  help: 'a new PoP with a table of 1,000,000 rows, from the relay',
  async run(context) {
    const rows = context.quick ? 100_000 : 1_000_000;
    const native = await nativeCopyRate(context, rows);

    context.progress('one relay that has the rows');
    await using world = await startWorld(context, {
      edges: 0,
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: rows });
        await writer.query('CHECKPOINT');
      },
    });
    await relayHas(world);
    await world.writer.query("ALTER SYSTEM SET log_statement = 'all'");
    await world.writer.query('SELECT pg_reload_conf()');
    // Reloaded once a statement of ours writes a line: from there on the log is what the new edge caused.
    await until('the core logs statements', async () => {
      await world.writer.query('SELECT 1');
      return world.core.log().includes('statement: SELECT 1');
    });
    const logBefore = world.core.log().length;

    context.progress('a new edge');
    const started = performance.now();
    const edge = world.addEdge();
    using memory = new MemoryWatch(edge.pid);
    using relayMemory = new MemoryWatch(world.relay.pid);
    const { answeredAt, seenAt } = await seenAtEdge(world, edge, rows);
    const edgeMb = memory.peakMb;
    const coreLog = world.core.log().slice(logBefore);
    const reader = await world.connectEdge(edge);
    const copied = Number(await reader.value(`SELECT count(*) FROM ${TABLE}`));
    if (copied !== rows) throw new Error(`the edge has ${copied} of ${rows} rows`);

    const statements = coreLog.split('\n').filter((line) => /LOG: {2}(statement|execute)/.test(line));
    context.note(
      'the time counts from the spawn of the edge process; native counts from CREATE SUBSCRIPTION on a running server',
    );
    context.note('what a new edge asks of the core by itself are the settings and privileges of its role');
    return [
      {
        name: `new PoP, ${rows} rows`,
        unit: 'rows/s',
        measured: (rows * 1000) / (seenAt - started),
        baseline: { name: 'native copy', value: native },
        target: { kind: 'ratio-at-least', value: 1.5 },
      },
      { name: 'seconds until readable', unit: 's', measured: (seenAt - started) / 1000 },
      { name: 'seconds until the process answers', unit: 's', measured: (answeredAt - started) / 1000 },
      {
        name: 'core: statements that name the table',
        unit: 'count',
        measured: statements.filter((line) => line.includes(TABLE)).length,
        target: { kind: 'at-most', value: 0 },
      },
      { name: 'core: statements of any kind', unit: 'count', measured: statements.length },
      { name: 'edge, peak memory', unit: 'MB', measured: edgeMb },
      { name: 'relay, peak memory', unit: 'MB', measured: relayMemory.peakMb },
    ];
  },
};
