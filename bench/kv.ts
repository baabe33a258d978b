// Rows by key: over HTTP from an edge, 64 connections in a closed loop, and from the library in a program of one's own.

import { openEdge } from '../src/roles/open-edge.ts';
import type { Bench } from './lib/bench.ts';
import type { HttpLoadRequest, HttpLoadResult } from './lib/http-load.worker.ts';
import { cpuSeconds } from './lib/processes.ts';
import { relayHas, seenAtEdge, startWorld } from './lib/skerry.ts';
import { median } from './lib/statistics.ts';
import { createTable, insertRows, TABLE } from './lib/workload.ts';

const CONNECTIONS = 64;
const ROWS = 100_000;

export const kv: Bench = {
  name: 'kv',
  help: 'rows by key: GET over HTTP with 64 connections, and the library in one thread',
  async run(context) {
    const rounds = context.quick ? 1 : 5;
    const seconds = context.quick ? 2 : 4;
    await using world = await startWorld(context, {
      edges: 1,
      fill: async (writer) => {
        await createTable(writer);
        await insertRows(writer, { from: 1, to: ROWS });
      },
    });
    const [edge] = world.edges as [(typeof world.edges)[number]];
    await relayHas(world);
    await seenAtEdge(world, edge, ROWS);

    await load({ port: edge.httpPort, connections: CONNECTIONS, seconds: 1, path: `/kv/${TABLE}/{id}`, idMax: ROWS });
    const rates: number[] = [];
    const cpus: number[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      context.progress(`HTTP, round ${round} of ${rounds}`);
      const before = cpuSeconds(edge.pid);
      const result = await load({
        port: edge.httpPort,
        connections: CONNECTIONS,
        seconds,
        path: `/kv/${TABLE}/{id}`,
        idMax: ROWS,
      });
      if (result.notOk > 0) throw new Error(`${result.notOk} of ${result.answers} answers were no 200`);
      rates.push(result.answers / result.seconds);
      cpus.push(((cpuSeconds(edge.pid) - before) * 1e6) / result.answers);
    }

    const library: number[] = [];
    using reader = await openEdge({ dir: edge.dir });
    for (let round = 0; round <= rounds; round += 1) {
      context.progress(`library, round ${round}`);
      const startedAt = performance.now();
      let reads = 0;
      while (performance.now() - startedAt < seconds * 250) {
        for (let count = 0; count < 100; count += 1) {
          if (reader.get(TABLE, 1 + Math.floor(Math.random() * ROWS)) === null) throw new Error('a row is missing');
          reads += 1;
        }
        // As in a program that does other things too: each turn of the event loop has a snapshot of its own.
        await new Promise((resolve) => setImmediate(resolve));
      }
      // The first is for warming up.
      if (round > 0) library.push((reads * 1000) / (performance.now() - startedAt));
    }
    context.note(
      `${CONNECTIONS} connections from one thread, ${rounds} rounds of ${seconds} s, median; one row of the table is one JSON object`,
    );
    return [
      { name: 'GET over HTTP', unit: 'reads/s', measured: median(rates), target: { kind: 'at-least', value: 60_000 } },
      { name: "edge's CPU for each GET", unit: 'µs', measured: median(cpus) },
      {
        name: 'library, one thread',
        unit: 'reads/s',
        measured: median(library),
        target: { kind: 'at-least', value: 150_000 },
      },
    ];
  },
};

async function load(request: HttpLoadRequest): Promise<HttpLoadResult> {
  const worker = new Worker(new URL('./lib/http-load.worker.ts', import.meta.url).href);
  try {
    return await new Promise<HttpLoadResult>((resolve, reject) => {
      worker.addEventListener('message', (event) => resolve((event as MessageEvent).data as HttpLoadResult));
      worker.addEventListener('error', (event) => reject(new Error(event.message)));
      worker.postMessage(request);
    });
  } finally {
    worker.terminate();
  }
}
