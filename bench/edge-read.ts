// Point reads by key over the PostgreSQL protocol, 16 clients in a closed loop: an edge against the core Postgres itself.
// Both are loaded in turns by the same generator, so that a slow minute of the machine hits both.

import type { Bench, Figure } from './lib/bench.ts';
import { targetOf } from './lib/cluster.ts';
import { findPgbench, type QueryMode, runPointReads } from './lib/pg-load.ts';
import { cpuSeconds } from './lib/processes.ts';
import { relayHas, type RoleProcess, seenAtEdge, startWorld } from './lib/skerry.ts';
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
      edges: 2,
      // The second one answers with two processes on its port.
      edgeSettings: (index) => (index === 1 ? { readers: 2 } : {}),
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: ROWS });
        await writer.query(`VACUUM ANALYZE ${TABLE}`);
      },
    });
    const [edge, pair] = world.edges as [RoleProcess, RoleProcess];
    await relayHas(world);
    for (const one of world.edges) await seenAtEdge(world, one, ROWS);
    const sides = { edge: world.edgeTarget(edge), pair: world.edgeTarget(pair), postgres: targetOf(world.core) };
    type Side = keyof typeof sides;
    const read = async (side: Side, mode: QueryMode, forSeconds: number): Promise<number> =>
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

    context.progress('warming up');
    for (const mode of MODES) for (const side of SIDES) await read(side, mode, 1);
    const before = await edge.status();
    const cpuBefore = cpuSeconds(edge.pid);
    const rates: Record<Side, Record<QueryMode, number[]>> = { edge: empty(), pair: empty(), postgres: empty() };
    for (let round = 1; round <= rounds; round += 1) {
      context.progress(`round ${round} of ${rounds}`);
      for (const mode of MODES) {
        for (const side of SIDES) rates[side][mode].push(await read(side, mode, seconds));
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
      `the edge of one process used ${cpuMicroseconds.toFixed(1)} us of CPU for each read, ${edgeReads} reads answered by it`,
    );
    const figure = (side: 'edge' | 'pair', mode: QueryMode, wanted: number | null): Figure => ({
      name: `point reads, ${mode}${side === 'pair' ? ', edge.readers 2' : ''}`,
      unit: 'reads/s',
      measured: median(rates[side][mode]),
      baseline: { name: 'Postgres', value: median(rates.postgres[mode]) },
      ...(wanted === null ? {} : { target: { kind: 'ratio-at-least', value: wanted } }),
    });
    return [
      ...MODES.map((mode) => figure('edge', mode, 2)),
      ...MODES.map((mode) => figure('pair', mode, null)),
      {
        name: 'reads that were forwarded',
        unit: 'count',
        measured: (after?.answered.forwarded ?? Number.NaN) - (before?.answered.forwarded ?? Number.NaN),
        target: { kind: 'at-most', value: 0 },
      },
    ];
  },
};

const SIDES = ['edge', 'pair', 'postgres'] as const;

const empty = (): Record<QueryMode, number[]> => ({ simple: [], prepared: [] });
