// `npm run bench -- NAME [--json] [--quick] [--fsync on|off] [--keep] [--profile DIR]`: measures, and prints what was
// measured beside its baseline and its target. Never part of the tests: a figure depends on the machine and its load.

import { loadavg } from 'node:os';
import { nearest } from '../src/config/load.ts';
import { apply } from './apply.ts';
import { bigTransaction } from './big-transaction.ts';
import { bootstrap } from './bootstrap.ts';
import { catchUp } from './catch-up.ts';
import { classify } from './classify.ts';
import { edgeJoin } from './edge-join.ts';
import { edgeRead } from './edge-read.ts';
import { fanOut } from './fan-out.ts';
import { forwarding } from './forwarding.ts';
import { kv } from './kv.ts';
import type { Bench, BenchContext } from './lib/bench.ts';
import { renderJson, renderTable } from './lib/report.ts';
import { noisyTenant } from './noisy-tenant.ts';
import { propagation } from './propagation.ts';
import { proxy } from './proxy.ts';
import { proxyClients } from './proxy-clients.ts';
import { start } from './start.ts';

const BENCHES: readonly Bench[] = [
  propagation,
  catchUp,
  bootstrap,
  edgeRead,
  edgeJoin,
  forwarding,
  classify,
  bigTransaction,
  fanOut,
  start,
  apply,
  proxy,
  proxyClients,
  noisyTenant,
  kv,
];

const USAGE = `Usage: npm run bench -- NAME [options]

Benches:
${BENCHES.map((bench) => `  ${bench.name.padEnd(16)} ${bench.help}`).join('\n')}
  ${'all'.padEnd(16)} one after the other

Options:
  --json           one JSON object per bench on standard output
  --quick          smaller loads: shows that it works and roughly where the figures lie
  --fsync on|off   whether the Postgres servers flush, the same on both sides (default on)
  --keep           leave logs and data, and say where
  --profile DIR    roles write a CPU profile into DIR when they stop`;

interface Arguments {
  readonly name: string | null;
  readonly json: boolean;
  readonly quick: boolean;
  readonly fsync: boolean;
  readonly keep: boolean;
  readonly profileDir: string | null;
}

/** Throws an Error with a sentence for the user. */
function parseArguments(given: readonly string[]): Arguments {
  const seen = {
    name: null as string | null,
    json: false,
    quick: false,
    fsync: true,
    keep: false,
    profileDir: null as string | null,
  };
  const rest = [...given];
  const valueOf = (option: string): string => {
    const value = rest.shift();
    if (value === undefined) throw new Error(`${option} needs a value`);
    return value;
  };
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--json') seen.json = true;
    else if (word === '--quick') seen.quick = true;
    else if (word === '--keep') seen.keep = true;
    else if (word === '--fsync') {
      const value = valueOf(word);
      if (value !== 'on' && value !== 'off') throw new Error(`--fsync is on or off, not "${value}"`);
      seen.fsync = value === 'on';
    } else if (word === '--profile') seen.profileDir = valueOf(word);
    else if (word.startsWith('-')) throw new Error(`unknown option ${word}`);
    else if (seen.name === null) seen.name = word;
    else throw new Error(`one bench at a time: ${seen.name} or ${word}`);
  }
  return seen;
}

async function runOne(bench: Bench, options: Arguments): Promise<void> {
  const notes = new Set<string>();
  const context: BenchContext = {
    ...options,
    note: (text) => notes.add(text),
    progress: (text) => process.stderr.write(`${bench.name}: ${text}\n`),
  };
  if (options.quick) context.note('--quick: small loads, not what the targets are set for');
  const [loadBefore = 0] = loadavg();
  context.note(`${navigator.hardwareConcurrency} cores, load average ${loadBefore.toFixed(1)} before the run`);
  const started = performance.now();
  const figures = await bench.run(context).catch((error: unknown) => {
    process.stderr.write(`${[...notes].join('\n')}\n`);
    throw error;
  });
  const report = { bench: bench.name, figures, notes: [...notes], seconds: (performance.now() - started) / 1000 };
  console.log(options.json ? renderJson(report) : `${renderTable(report)}\n`);
}

/** Exit code: 0 when it ran (a missed target is a fact, not a failure), 1 when it could not, 2 when asked wrongly. */
async function main(): Promise<number> {
  let options: Arguments;
  try {
    options = parseArguments(process.argv.slice(2));
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { name } = options;
  if (name === null) {
    console.log(USAGE);
    return 0;
  }
  const chosen = name === 'all' ? BENCHES : BENCHES.filter((bench) => bench.name === name);
  if (chosen.length === 0) {
    const near = nearest(name, [...BENCHES.map((bench) => bench.name), 'all']);
    console.error(`there is no bench "${name}"${near === null ? '' : `, did you mean "${near}"?`}\n\n${USAGE}`);
    return 2;
  }
  for (const bench of chosen) await runOne(bench, options);
  return 0;
}

try {
  process.exit(await main());
} catch (error) {
  console.error(error);
  process.exit(1);
}
