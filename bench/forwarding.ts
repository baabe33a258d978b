// What it costs that a statement goes to the core through an edge and not directly: one client in a closed loop, so that the
// difference of the mean times is the way there and back through the edge. Both sides in turns by the same generator.

import type { Bench, Figure } from './lib/bench.ts';
import { targetOf } from './lib/cluster.ts';
import { startFloor } from './lib/poolers.ts';
import { type QueryMode, runStatement } from './lib/pg-load.ts';
import { cpuSeconds } from './lib/processes.ts';
import { relayHas, startWorld } from './lib/skerry.ts';
import { median } from './lib/statistics.ts';
import { createTable, insertRows, TABLE } from './lib/workload.ts';

const ROWS = 1_000;
const MODES: readonly QueryMode[] = ['simple', 'prepared'];

/** random() is nothing that an edge answers itself. */
const FORWARDED = `SELECT payload FROM ${TABLE} WHERE id = 7 AND random() < 2`;

const OVERHEAD_MICROSECONDS_MAX = 60;

export const forwarding: Bench = {
  name: 'forwarding',
  help: 'one client: a statement through an edge to the core against the same one directly',
  async run(context) {
    const rounds = context.quick ? 3 : 9;
    const seconds = context.quick ? 1 : 3;
    await using world = await startWorld(context, {
      edges: 1,
      forwardConnections: 4,
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: ROWS });
        await writer.query(`VACUUM ANALYZE ${TABLE}`);
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    await relayHas(world);
    await using floor = await startFloor(world.core);
    const core = targetOf(world.core);
    const sides = { edge: world.edgeTarget(edge), postgres: core, floor: { ...core, port: floor.port } };
    const meanMicroseconds = async (side: keyof typeof sides, mode: QueryMode): Promise<number> =>
      (await runStatement({ target: sides[side], sql: FORWARDED, clients: 1, seconds, mode })).meanMs * 1000;

    context.progress('warming up both');
    for (const mode of MODES)
      for (const side of ['edge', 'postgres', 'floor'] as const) await meanMicroseconds(side, mode);
    const before = await edge.status();
    const cpuBefore = cpuSeconds(edge.pid);
    const overheads: Record<QueryMode, number[]> = { simple: [], prepared: [] };
    const floors: Record<QueryMode, number[]> = { simple: [], prepared: [] };
    const direct: Record<QueryMode, number[]> = { simple: [], prepared: [] };
    for (let round = 1; round <= rounds; round += 1) {
      context.progress(`round ${round} of ${rounds}`);
      for (const mode of MODES) {
        const directly = await meanMicroseconds('postgres', mode);
        direct[mode].push(directly);
        overheads[mode].push((await meanMicroseconds('edge', mode)) - directly);
        floors[mode].push((await meanMicroseconds('floor', mode)) - directly);
      }
    }
    const after = await edge.status();
    const forwarded = (after?.answered.forwarded ?? 0) - (before?.answered.forwarded ?? 0);
    const cpuMicroseconds = ((cpuSeconds(edge.pid) - cpuBefore) * 1e6) / forwarded;
    context.note(
      `directly one took ${median(direct.simple).toFixed(0)} us (simple), ${median(direct.prepared).toFixed(0)} us (prepared); ` +
        `${forwarded} were forwarded; ${rounds} rounds of ${seconds} s for each side and mode in turns, median of the differences; ` +
        'on a busy machine they measure its scheduler',
    );
    return [
      ...MODES.map(
        (mode): Figure => ({
          name: `forwarding overhead, ${mode}`,
          unit: 'µs',
          measured: median(overheads[mode]),
          baseline: { name: 'bare Bun forwarder', value: median(floors[mode]) },
          target: { kind: 'at-most', value: OVERHEAD_MICROSECONDS_MAX },
        }),
      ),
      {
        name: 'CPU of the edge for each',
        unit: 'µs',
        measured: cpuMicroseconds,
        target: { kind: 'at-most', value: OVERHEAD_MICROSECONDS_MAX },
      },
    ];
  },
};
