// Random pipelined conversations, errors included, with an edge and with its core: what comes back must be the same frames.
//   bun src/edge/session.fuzz.ts [--seed N] [--count N] [--blocks]
// Prints each difference, made small. Exit code 1 when there is one. About one conversation in 300 differs still, always in what
// is done wrong with a portal that was bound here before the core took over: it is bound again under its name, or run again
// in a failed block. Rows, writes and the state of the block are the same. With --blocks (savepoints, cursors, PREPARE) one in 70: the same, and
// BEGIN with modes in a batch after a Parse, which Postgres refuses because that Parse took a snapshot already.

import { parseArgs } from 'node:util';
import { BLOCK_TEXTS, difference, randomConversation, shrink } from '../../test/conversations.ts';
import { startTestEdge } from '../../test/edge.ts';
import { startPostgres, waitFor } from '../../test/harness.ts';

const STEPS_MAX = 6;
const SHOWN_MAX = 10;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '2000' },
    blocks: { type: 'boolean', default: false },
  },
});
await using postgres = await startPostgres();
await postgres.sql(`CREATE TABLE t (id int PRIMARY KEY, body text, f float8); CREATE TABLE w (id int PRIMARY KEY, v text);
  INSERT INTO t SELECT i, 'body ' || i, i / 3.0 FROM generate_series(1, 3000) i`);
await using edge = await startTestEdge(postgres, { rywWaitMs: 10 });
// Nothing that it answers from ever changes: it is as if it had followed all the time.
edge.feed.set({ position: edge.feed.current.position + 0x100_0000_0000n });
const ports = { core: postgres.port, edge: edge.port };
const reset = (): Promise<unknown> => postgres.sql('TRUNCATE w');

let failures = 0;
const first = Number(values.seed);
for (let seed = first; seed < first + Number(values.count) && failures < SHOWN_MAX; seed += 1) {
  const conversation = values.blocks
    ? randomConversation(seed, STEPS_MAX * 3, BLOCK_TEXTS)
    : randomConversation(seed, STEPS_MAX);
  try {
    if ((await difference(conversation, ports, reset)) === null) continue;
  } catch (error) {
    // A PostgreSQL 15 ends with signal 11 when a portal of a failed transaction is run again. Its recovery takes a moment.
    console.log(`seed ${seed}: ${String(error)}`);
    await waitFor('the core to recover', () => reset().then(() => true));
    continue;
  }
  failures += 1;
  const small = await shrink(conversation, async (one) => (await difference(one, ports, reset)) !== null);
  console.log(`seed ${seed}\n${(await difference(small, ports, reset)) ?? 'not again'}\n`);
}
console.log(`${values.count} conversations from seed ${first}: ${failures} differ`);
process.exitCode = failures === 0 ? 0 : 1;
