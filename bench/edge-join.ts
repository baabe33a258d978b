// Reports over joins, groups and windows (see chinook/reports.ts) by 8 clients in a closed loop: an edge against the core
// Postgres itself, in turns. Only reports that the edge answers itself are asked, of both; how many those are is a figure too.

import { readFileSync } from 'node:fs';
import { REPORTS } from './chinook/reports.ts';
import { chinookSql } from './chinook/schema.ts';
import type { Bench } from './lib/bench.ts';
import { targetOf } from './lib/cluster.ts';
import { PgConnection, type PgTarget } from './lib/pg-connection.ts';
import { cpuSeconds } from './lib/processes.ts';
import { relayHas, startWorld } from './lib/skerry.ts';
import { median } from './lib/statistics.ts';
import { until } from './lib/wait.ts';

const CLIENTS = 8;

/** Rows by which an edge is known to have everything. */
const LAST_TABLE = 'playlist_track';

export const edgeJoin: Bench = {
  name: 'edge-join',
  help: 'Chinook reports by 8 clients, against direct Postgres; and how many of them an edge answers itself',
  async run(context) {
    const rounds = context.quick ? 1 : 5;
    const seconds = context.quick ? 3 : 6;
    await using world = await startWorld(context, {
      edges: 1,
      fill: async (writer) => {
        await writer.query(chinookSql());
        await writer.query('VACUUM ANALYZE');
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    await relayHas(world);
    const sides = { edge: world.edgeTarget(edge), postgres: targetOf(world.core) };
    const rows = await world.writer.value(`SELECT count(*) FROM ${LAST_TABLE}`);
    await until('the edge has all rows', async () => {
      await using reader = (await PgConnection.open(sides.edge).catch(() => null)) as PgConnection;
      return reader !== null && (await reader.value(`SELECT count(*) FROM ${LAST_TABLE}`).catch(() => '')) === rows;
    });

    // This edge may not ask the core: what it cannot answer is an error here.
    const local: string[] = [];
    await using asker = await PgConnection.open(sides.edge);
    for (const sql of REPORTS) {
      if (
        await asker.query(sql).then(
          () => true,
          () => false,
        )
      )
        local.push(sql);
    }
    const pids = { edge: edge.pid, postgres: parentOf(Number(await world.writer.value('SELECT pg_backend_pid()'))) };
    const load = (side: keyof typeof sides, forSeconds: number): Promise<Load> =>
      run(sides[side], local, forSeconds, pids[side]);
    context.progress('warming up both');
    for (const side of ['edge', 'postgres'] as const) await load(side, 1);
    const loads = { edge: [] as Load[], postgres: [] as Load[] };
    for (let round = 1; round <= rounds; round += 1) {
      context.progress(`round ${round} of ${rounds}`);
      for (const side of ['edge', 'postgres'] as const) loads[side].push(await load(side, seconds));
    }
    context.note(
      `${CLIENTS} clients, ${local.length} reports in turn by the simple protocol, ${rounds} rounds of ${seconds} s for each side in turns, median of the rounds; ` +
        'CPU is that of all processes of a side',
    );
    const rate = (side: keyof typeof loads): number => median(loads[side].map(({ perSecond }) => perSecond));
    const cpu = (side: keyof typeof loads): number => median(loads[side].map(({ cpuMicroseconds }) => cpuMicroseconds));
    if (context.quick) for (const line of await slowest(sides, local)) context.note(line);
    return [
      {
        name: 'reports, 8 clients',
        unit: 'reads/s',
        measured: rate('edge'),
        baseline: { name: 'Postgres', value: rate('postgres') },
        target: { kind: 'ratio-at-least', value: 1 },
      },
      {
        name: 'CPU for one report',
        unit: 'µs',
        measured: cpu('edge'),
        baseline: { name: 'Postgres', value: cpu('postgres') },
      },
      {
        name: 'share of the reports answered at the edge, %',
        unit: 'count',
        measured: (100 * local.length) / REPORTS.length,
        target: { kind: 'at-least', value: 90 },
      },
    ];
  },
};

interface Load {
  readonly perSecond: number;
  readonly cpuMicroseconds: number;
}

/** All clients together; each goes through the reports from another one on. */
async function run(target: PgTarget, reports: readonly string[], seconds: number, pid: number): Promise<Load> {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => PgConnection.open(target)));
  let answered = 0;
  let running = true;
  const cpuBefore = cpuSeconds(pid);
  const started = performance.now();
  const all = clients.map(async (client, index) => {
    for (let at = Math.floor((index * reports.length) / CLIENTS); running; at += 1) {
      await client.query(reports[at % reports.length] as string);
      answered += 1;
    }
  });
  await Bun.sleep(seconds * 1000);
  running = false;
  await Promise.all(all);
  const elapsed = (performance.now() - started) / 1000;
  const cpuMicroseconds = ((cpuSeconds(pid) - cpuBefore) * 1e6) / answered;
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  return { perSecond: answered / elapsed, cpuMicroseconds };
}

/** The process that started this one. */
function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** The reports that are slowest at the edge compared with Postgres, one after the other. */
async function slowest(
  sides: { readonly edge: PgTarget; readonly postgres: PgTarget },
  reports: readonly string[],
): Promise<string[]> {
  const times: { sql: string; edge: number; postgres: number }[] = [];
  await using edge = await PgConnection.open(sides.edge);
  await using postgres = await PgConnection.open(sides.postgres);
  const time = async (client: PgConnection, sql: string): Promise<number> => {
    const each: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const started = performance.now();
      await client.query(sql);
      each.push(performance.now() - started);
    }
    return median(each);
  };
  for (const sql of reports) times.push({ sql, edge: await time(edge, sql), postgres: await time(postgres, sql) });
  return times
    .toSorted((a, b) => b.edge - b.postgres - (a.edge - a.postgres))
    .slice(0, 12)
    .map(
      ({ sql, edge: mine, postgres: core }) =>
        `${mine.toFixed(2)} ms, Postgres ${core.toFixed(2)} ms: ${sql.slice(0, 140)}`,
    );
}
