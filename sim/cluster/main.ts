// `npm run sim -- cluster [--seeds N | --seed S] [--kind K] [--bug B] [--history]`: clusters in virtual time under the production
// decisions. The same seed gives the same run. Exit code 1 when a check fails.

import { isBug, KINDS, run } from './run.ts';
import { BUGS } from './world.ts';

const USAGE = `Usage: npm run sim -- cluster [options]

Options:
  --seeds N     so many seeds, from 1 on (default 100)
  --seed N      this seed only
  --kind NAME   ${KINDS.join(', ')} (default: all)
  --history     what was decided and done, and what was broken
  --bug NAME    plant a bug, to see it found: ${BUGS.join(', ')}`;

/** Gives the exit code. */
export function clusterMain(words: readonly string[]): number {
  let first = 1;
  let count = 100;
  let kinds: readonly (typeof KINDS)[number][] = KINDS;
  let bug: (typeof BUGS)[number] | undefined;
  let isTold = false;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const value = word === '--history' ? '' : rest.shift();
    if (word === '--history') isTold = true;
    else if (word === '--seeds' && isCount(value)) count = Number(value);
    else if (word === '--seed' && isCount(value)) [first, count] = [Number(value), 1];
    else if (word === '--kind' && KINDS.some((kind) => kind === value)) kinds = KINDS.filter((kind) => kind === value);
    else if (word === '--bug' && value !== undefined && isBug(value)) bug = value;
    else {
      console.error(USAGE);
      return 2;
    }
  }
  let failures = 0;
  let terms = 0;
  let commits = 0;
  for (let seed = first; seed < first + count; seed += 1) {
    for (const kind of kinds) {
      const result = run({ seed, kind, ...(bug === undefined ? {} : { bug }) });
      terms += result.terms;
      commits += result.acknowledged;
      if (isTold) for (const line of result.history) console.log(line);
      for (const wrong of result.wrong) console.log(`${kind} ${seed} WRONG: ${wrong}`);
      if (result.wrong.length > 0) failures += 1;
    }
  }
  const runs = count * kinds.length;
  console.log(
    `${runs} runs, ${terms} terms, ${commits} acknowledged commits, ${failures} runs are not as they must be`,
  );
  return failures === 0 ? 0 : 1;
}

function isCount(text: string | undefined): boolean {
  return text !== undefined && /^\d+$/.test(text);
}
