// Baselines that several benches share, each measured on servers of its own that are gone when it returns.

import type { BenchContext } from './bench.ts';
import { describeCluster } from './cluster.ts';
import { startNativePair } from './native.ts';
import {
  createTickTable,
  insertTick,
  measureAtRate,
  measureSingleCommits,
  prepareTick,
  type Propagation,
} from './propagation.ts';
import { since, until } from './wait.ts';
import { changeManyRows, createOneRowWriter, insertRows, seesRow, writeOneRowTransactions } from './workload.ts';

/** Commit acknowledged → visible at a native subscriber, alone and at a steady rate. */
export async function nativePropagation(
  context: BenchContext,
  load: { readonly commits: number; readonly perSecond: number; readonly seconds: number },
): Promise<{ readonly single: Propagation; readonly rate: Propagation }> {
  context.progress('baseline: native logical replication, one subscriber');
  await using pair = await startNativePair(context);
  context.note(describeCluster(context, pair.publisher));
  const { writer, reader } = pair;
  await createTickTable(writer);
  await createTickTable(reader);
  await insertTick(writer);
  await pair.subscribe();
  await pair.copied();
  await prepareTick(writer, [reader]);
  const single = await measureSingleCommits(writer, [reader], { firstSeq: 1, commits: load.commits });
  const rate = await measureAtRate(writer, [reader], { firstSeq: load.commits + 1, ...load });
  return { single, rate };
}

/** Rows per second of the initial copy of a native subscription. */
export async function nativeCopyRate(context: BenchContext, rows: number): Promise<number> {
  context.progress(`baseline: native initial copy of ${rows} rows`);
  await using pair = await startNativePair(context);
  context.note(describeCluster(context, pair.publisher));
  await insertRows(pair.writer, { from: 1, to: rows });
  await pair.writer.query('CHECKPOINT');
  const started = performance.now();
  await pair.subscribe();
  await pair.copied();
  const seconds = since(started) / 1000;
  const copied = Number(await pair.reader.value('SELECT count(*) FROM bench_row'));
  if (copied !== rows) throw new Error(`the subscriber copied ${copied} of ${rows} rows`);
  return rows / seconds;
}

export interface CatchUpLoad {
  /** Row changes of the one large transaction. */
  readonly changes: number;
  /** One-row transactions. */
  readonly transactions: number;
}

export interface CatchUpRates {
  /** Row changes per second of the one large transaction. */
  readonly large: number;
  /** One-row transactions per second. */
  readonly small: number;
}

/** How fast a native subscriber that was disabled catches up, from ENABLE until the last change is visible. */
export async function nativeCatchUp(context: BenchContext, load: CatchUpLoad): Promise<CatchUpRates> {
  context.progress('baseline: native catch-up');
  await using pair = await startNativePair(context);
  context.note(describeCluster(context, pair.publisher));
  const { writer, reader } = pair;
  await insertRows(writer, { from: 1, to: load.changes });
  await createOneRowWriter(writer);
  await pair.subscribe();
  await pair.copied();

  const catchUp = async (lastId: number): Promise<number> => {
    const started = performance.now();
    await pair.setEnabled(true);
    return (await until('the native subscriber caught up', () => seesRow(reader, lastId))) - started;
  };
  await pair.setEnabled(false);
  const { lastId } = await changeManyRows(writer, load.changes);
  const largeMs = await catchUp(lastId);
  await pair.setEnabled(false);
  await writeOneRowTransactions(writer, {
    transactions: load.transactions,
    rows: load.changes / 2,
    lastId: lastId + 1,
  });
  const smallMs = await catchUp(lastId + 1);
  return { large: (load.changes * 1000) / largeMs, small: (load.transactions * 1000) / smallMs };
}
