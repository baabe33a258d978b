// `npm run sim [-- SCENARIO] [--seed N | --seeds N] [--algorithm vegas|gradient2] [--reasons]`: runs modelled worlds under the
// proxy's own limiter, and prints what came of them. The same seed gives the same run. Exit code 1 when a check fails.

import { ALGORITHMS, type Algorithm } from '../src/proxy/limits/concurrency-limit.ts';
import { clusterMain } from './cluster/main.ts';
import { type Outcome, runScenario, SCENARIOS } from './scenarios.ts';

const USAGE = `Usage: npm run sim -- [SCENARIO] [options]

Scenarios (all of them when none is named):
${SCENARIOS.map((one) => `  ${one.name.padEnd(12)} ${one.help}`).join('\n')}

  cluster      failover and switchover; \`npm run sim -- cluster --help\` has its options

Options:
  --seed N             this seed only
  --seeds N            so many seeds, from 1 on (default 5)
  --algorithm NAME     ${ALGORITHMS.join(', ')} (default: vegas and gradient2)
  --reasons            every change of a limit, with its reason`;

function main(words: readonly string[]): number {
  if (words[0] === 'cluster') return clusterMain(words.slice(1));
  let scenarios = SCENARIOS;
  let seeds = [1, 2, 3, 4, 5];
  let algorithms: readonly Algorithm[] = ['vegas', 'gradient2'];
  let showReasons = false;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const found = SCENARIOS.find((one) => one.name === word);
    if (found !== undefined) scenarios = [found];
    else if (word === '--seed') seeds = [wholeNumber(rest.shift())];
    else if (word === '--seeds') seeds = Array.from({ length: wholeNumber(rest.shift()) }, (_, index) => index + 1);
    else if (word === '--reasons') showReasons = true;
    else if (word === '--algorithm') {
      const name = rest.shift();
      const algorithm = ALGORITHMS.find((one) => one === name);
      if (algorithm === undefined) throw new UsageError(`there is no algorithm "${name ?? ''}"`);
      algorithms = [algorithm];
    } else throw new UsageError(`there is no scenario or option "${word}"`);
  }
  let failures = 0;
  console.log(HEAD);
  for (const scenario of scenarios) {
    for (const algorithm of algorithms) {
      for (const seed of seeds) {
        const outcome = runScenario(scenario, seed, algorithm);
        print(outcome);
        if (showReasons) for (const reason of outcome.result.reasons) console.log(`    ${reason}`);
        for (const wrong of outcome.wrong) console.log(`    WRONG: ${wrong}`);
        if (outcome.wrong.length > 0) failures += 1;
      }
    }
  }
  console.log(failures === 0 ? 'everything as it must be' : `${failures} runs are not as they must be`);
  return failures === 0 ? 0 : 1;
}

class UsageError extends Error {}

function wholeNumber(text: string | undefined): number {
  const number = Number(text);
  if (text === undefined || !Number.isInteger(number) || number < 0)
    throw new UsageError(`"${text ?? ''}" is not a whole number`);
  return number;
}

const WIDTHS = [12, 10, 6, 10, 9, 10, 10, 10, 9, 16];

const HEAD = row([
  'scenario',
  'algorithm',
  'seed',
  'tenant',
  'done/s',
  'p50 ms',
  'p99 ms',
  'max wait',
  'refused',
  'limit',
]);

function row(cells: readonly (string | number)[]): string {
  return cells
    .map((cell, index) => {
      const text = typeof cell === 'number' ? cell.toFixed(1) : cell;
      const width = WIDTHS[index] ?? 10;
      return typeof cell === 'number' ? text.padStart(width) : text.padEnd(width);
    })
    .join(' ');
}

/** Latencies and limits of the later two thirds. */
function print({ scenario, algorithm, seed, result }: Outcome): void {
  for (const one of result.tenants.values()) {
    const from = one.limits.length * 100 * (1 / 3);
    const limits = one.limits.slice(one.limits.length / 3).sort((a, b) => a - b);
    const at = (part: number): string => String(limits[Math.floor((limits.length - 1) * part)] ?? '');
    console.log(
      row([
        scenario.name,
        algorithm,
        String(seed),
        one.name,
        one.perSecond(from),
        one.latency(0.5, from),
        one.latency(0.99, from),
        one.longestWaitMs,
        one.refused,
        `${at(0.02)} ${at(0.5)} ${at(0.98)}`,
      ]),
    );
  }
}

try {
  process.exit(main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${USAGE}`);
  process.exit(2);
}
