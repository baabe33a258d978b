// Point reads by key over the PostgreSQL protocol, 16 clients in a closed loop: an edge against the core Postgres itself.
// Both are loaded in turns by the same generator, so that a slow minute of the machine hits both.

import type { Bench, Figure } from './lib/bench.ts';
import { targetOf } from './lib/cluster.ts';
import { findPgbench, type QueryMode, runPointReads } from './lib/pg-load.ts';
import { cpuSeconds } from './lib/processes.ts';
import { relayHas, seenAtEdge, startWorld } from './lib/skerry.ts';
import { median } from './lib/statistics.ts';
import { createTable, insertRows, TABLE } from './lib/workload.ts';

const CLIENTS = 16;
const ROWS = 100_000;
const MODES: readonly QueryMode[] = ['simple', 'prepared'];

export const edgeRead: Bench = {
  name: 'edge-read',
  help: 'point reads over the protocol by 16 clients, simple and prepared, against direct Postgres',
  async run(context) {
    const rounds = context.quick ? 1 : 5;
    const seconds = context.quick ? 2 : 4;
    await using world = await startWorld(context, {
      edges: 1,
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: ROWS });
        await writer.query(`VACUUM ANALYZE ${TABLE}`);
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    await relayHas(world);
    await seenAtEdge(world, edge, ROWS);
    const sides = { edge: world.edgeTarget(edge), postgres: targetOf(world.core) };
    const read = async (side: keyof typeof sides, mode: QueryMode, forSeconds: number): Promise<number> =>
      (
        await runPointReads({
          target: sides[side],
          table: TABLE,
          idMax: ROWS,
          clients: CLIENTS,
          seconds: forSeconds,
          mode,
        })
      ).readsPerSecond;

    context.progress('warming up both');
    for (const mode of MODES) for (const side of ['edge', 'postgres'] as const) await read(side, mode, 1);
    const before = await edge.status();
    const cpuBefore = cpuSeconds(edge.pid);
    const rates = {
      edge: { simple: [] as number[], prepared: [] as number[] },
      postgres: { simple: [] as number[], prepared: [] as number[] },
    };
    for (let round = 1; round <= rounds; round += 1) {
      context.progress(`round ${round} of ${rounds}`);
      for (const mode of MODES) {
        for (const side of ['edge', 'postgres'] as const) rates[side][mode].push(await read(side, mode, seconds));
      }
    }
    const after = await edge.status();
    const edgeReads = (after?.answered.local ?? 0) - (before?.answered.local ?? 0);
    const cpuMicroseconds = ((cpuSeconds(edge.pid) - cpuBefore) * 1e6) / edgeReads;

    context.note(
      `load: ${findPgbench() === null ? 'our own generator (pgbench is not installed)' : 'pgbench, one thread'}, ${CLIENTS} clients, ` +
        `${rounds} rounds of ${seconds} s for each side and mode in turns, median of the rounds`,
    );
    context.note(
      `the edge used ${cpuMicroseconds.toFixed(1)} us of CPU for each read, ${edgeReads} reads answered by the edge itself`,
    );
    return [
      ...MODES.map(
        (mode): Figure => ({
          name: `point reads, ${mode}`,
          unit: 'reads/s',
          measured: median(rates.edge[mode]),
          baseline: { name: 'Postgres', value: median(rates.postgres[mode]) },
          target: { kind: 'ratio-at-least', value: 2 },
        }),
      ),
      {
        name: 'reads that were forwarded',
        unit: 'count',
        measured: (after?.answered.forwarded ?? Number.NaN) - (before?.answered.forwarded ?? Number.NaN),
        target: { kind: 'at-most', value: 0 },
      },
    ];
  },
};
