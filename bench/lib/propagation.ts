// How long after the writer's acknowledgement a commit can be read somewhere else. One row carries a sequence number;
// readers ask for it by key, over and over, with a prepared statement.

import type { PgConnection } from './pg-connection.ts';
import { summarize, type Latency } from './statistics.ts';
import { since, until } from './wait.ts';

/** A table with one row: the sequence number that was committed last. */
export const TICK_TABLE = 'bench_tick';

/** At a steady rate a reader asks this often: often enough for targets of milliseconds, and it leaves the CPU to those who are measured. */
const POLL_EVERY_MS = 2;

export async function createTickTable(writer: PgConnection): Promise<void> {
  await writer.query(`CREATE TABLE ${TICK_TABLE} (id int PRIMARY KEY, seq bigint NOT NULL)`);
}

export async function insertTick(writer: PgConnection): Promise<void> {
  await writer.query(`INSERT INTO ${TICK_TABLE} VALUES (1, 0)`);
}

/** Waits until every reader has the row, and prepares what the measurements use. */
export async function prepareTick(writer: PgConnection, readers: readonly PgConnection[]): Promise<void> {
  await writer.prepare('tick', `UPDATE ${TICK_TABLE} SET seq = $1 WHERE id = 1`);
  for (const reader of readers) {
    await until('the tick row is at the reader', async () => {
      const rows = await reader.query(`SELECT seq FROM ${TICK_TABLE} WHERE id = 1`).catch(() => []);
      return rows.length === 1;
    });
    await reader.prepare('seq', `SELECT seq FROM ${TICK_TABLE} WHERE id = $1`);
  }
}

export interface Propagation {
  /** Acknowledged → read at the reader that was last, in ms. */
  readonly latency: Latency;
  /** One read on an idle reader: the resolution of the above, in ms. */
  readonly readMs: number;
}

/** One commit at a time: the readers are asked back to back, all at once, from the acknowledgement on. */
export async function measureSingleCommits(
  writer: PgConnection,
  readers: readonly PgConnection[],
  options: { readonly firstSeq: number; readonly commits: number },
): Promise<Propagation> {
  const reads: number[] = [];
  for (let i = 0; i < 200; i += 1) {
    const started = performance.now();
    await Promise.all(readers.map(readSeq));
    reads.push(since(started));
  }
  const samples: number[] = [];
  for (let seq = options.firstSeq; seq < options.firstSeq + options.commits; seq += 1) {
    await writer.execute('tick', [String(seq)]);
    const acknowledged = performance.now();
    await Promise.all(
      readers.map(async (reader) => {
        while ((await readSeq(reader)) < seq) {
          // Asked again at once: the read itself is the pause.
        }
      }),
    );
    samples.push(since(acknowledged));
    // A pause of changing length, so that the commits fall in step with nobody's timer.
    await Bun.sleep(1 + Math.random() * 4);
  }
  return { latency: summarize(samples), readMs: summarize(reads).p50 };
}

export interface RateOptions {
  readonly firstSeq: number;
  readonly perSecond: number;
  readonly seconds: number;
}

/** A steady rate of commits by one writer, each measured; the rate that was reached is part of the result. */
export async function measureAtRate(
  writer: PgConnection,
  readers: readonly PgConnection[],
  options: RateOptions,
): Promise<Propagation & { readonly commitsPerSecond: number }> {
  const total = Math.round(options.perSecond * options.seconds);
  const acknowledged = new Float64Array(total);
  const visible = new Float64Array(total);
  const last = options.firstSeq + total - 1;
  let reads = 0;
  let readTime = 0;

  const follow = async (reader: PgConnection): Promise<void> => {
    let seen = options.firstSeq - 1;
    while (seen < last) {
      const asked = performance.now();
      const seq = Math.min(await readSeq(reader), last);
      const now = performance.now();
      reads += 1;
      readTime += now - asked;
      // Every number up to this one became visible at this reader no later than now.
      for (; seen < seq; seen += 1) {
        const index = seen + 1 - options.firstSeq;
        visible[index] = Math.max(visible[index] as number, now);
      }
      await Bun.sleep(POLL_EVERY_MS);
    }
  };
  const started = performance.now();
  const write = async (): Promise<number> => {
    for (let index = 0; index < total; index += 1) {
      const due = started + (index * 1000) / options.perSecond;
      if (performance.now() < due) await Bun.sleep(due - performance.now());
      await writer.execute('tick', [String(options.firstSeq + index)]);
      acknowledged[index] = performance.now();
    }
    return since(started);
  };
  const [writtenInMs] = await Promise.all([write(), ...readers.map(follow)]);
  // Seen by a reader before the writer heard of its own commit: that is no delay at all.
  const samples = Array.from(visible, (at, index) => Math.max(0, at - (acknowledged[index] as number)));
  return {
    latency: summarize(samples),
    readMs: readTime / reads,
    commitsPerSecond: (total * 1000) / writtenInMs,
  };
}

async function readSeq(reader: PgConnection): Promise<number> {
  return Number((await reader.execute('seq', ['1']))[0]?.[0]);
}
