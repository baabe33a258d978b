// How long `skerry up` takes until everything serves: the first time in an empty folder, and the second time.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bench, BenchContext } from './lib/bench.ts';
import { skerryCommand } from './lib/skerry.ts';
import { median } from './lib/statistics.ts';

const READY_TIMEOUT_MS = 120_000;

export const start: Bench = {
  name: 'start',
  help: '`skerry up` (core, relay, three edges) until it is ready, first and second start',
  async run(context) {
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-up-'));
    try {
      context.progress('first start');
      const first = await startOnce(context, folder);
      const again: number[] = [];
      for (let i = 0; i < (context.quick ? 1 : 5); i += 1) {
        context.progress(`second start, ${i + 1}`);
        again.push(await startOnce(context, folder));
      }
      context.note(
        `from the spawn of the process until {"ready":true}; median of ${again.length} for the second start`,
      );
      return [
        { name: 'second start', unit: 's', measured: median(again), target: { kind: 'at-most', value: 4 } },
        { name: 'second start, slowest', unit: 's', measured: Math.max(...again) },
        { name: 'first start', unit: 's', measured: first },
      ];
    } finally {
      if (context.keep) context.note(`data is in ${folder}`);
      else rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Seconds until ready; the system is stopped again before this returns. */
async function startOnce(context: BenchContext, folder: string): Promise<number> {
  const portBase = 20_000 + Math.floor(Math.random() * 20_000);
  const started = performance.now();
  const child = Bun.spawn(
    [...skerryCommand(), 'up', '--json', '--dir', join(folder, 'data'), '--port-base', String(portBase)],
    {
      cwd: folder,
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    },
  );
  const complaints = new Response(child.stderr).text();
  const timer = setTimeout(() => child.kill('SIGKILL'), READY_TIMEOUT_MS);
  try {
    let seconds: number | null = null;
    let last = '';
    for await (const line of lines(child.stdout)) {
      last = line;
      if (seconds !== null) continue; // Read on until it has stopped, so that it never blocks on us.
      const event = JSON.parse(line) as { ready?: boolean };
      if (event.ready !== true) continue;
      seconds = (performance.now() - started) / 1000;
      child.kill('SIGTERM');
    }
    await child.exited;
    if (seconds === null)
      throw new Error(`skerry up ended before it was ready: ${last} ${(await complaints).trim().slice(-1000)}`);
    context.progress(`ready after ${seconds.toFixed(2)} s`);
    return seconds;
  } finally {
    clearTimeout(timer);
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() ?? '';
    yield* parts.filter((part) => part !== '');
  }
}
