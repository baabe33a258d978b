// The innermost loop alone: messages of a real change stream, already in memory, into a SQLite replica. What the network,
// the relay and the server around it cost is what the other benches lose against this.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OID } from '../src/pg/oid.ts';
import { ReplicaWriter } from '../src/replica/writer.ts';
import { PgoutputDecoder } from '../src/wire/pgoutput.ts';
import { catalogueImage, tableImage, testPosition } from '../test/replica-images.ts';
import type { Bench, BenchContext } from './lib/bench.ts';
import { connect, describeCluster, startCluster, targetOf } from './lib/cluster.ts';
import { PgConnection } from './lib/pg-connection.ts';
import {
  changeManyRows,
  createOneRowWriter,
  createTable,
  insertRows,
  TABLE,
  writeOneRowTransactions,
} from './lib/workload.ts';

/** Source transactions in one SQLite transaction, as an edge that catches up groups them. */
const TRANSACTIONS_PER_FLUSH = 20_000;

/** A recorded stream: pgoutput messages behind each other, each with its length in front. */
interface Recording {
  readonly messages: Buffer;
  readonly tableOid: number;
}

export const apply: Bench = {
  name: 'apply',
  help: 'a recorded change stream into SQLite, in this process: rows/s and transactions/s without network',
  async run(context) {
    const load = context.quick ? { rows: 100_000, transactions: 20_000 } : { rows: 500_000, transactions: 100_000 };
    context.progress('recording a change stream');
    const recording = await record(context, load);
    const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
    try {
      using player = new Player(join(folder, 'replica.db'), recording);
      context.progress('applying');
      const insertMs = player.play(1, 1);
      const mixedMs = player.play(1, 1);
      const smallMs = player.play(load.transactions, TRANSACTIONS_PER_FLUSH);
      context.note(`one-row transactions: ${TRANSACTIONS_PER_FLUSH} of them in one SQLite transaction`);
      return [
        { name: `one transaction, ${load.rows} inserts`, unit: 'rows/s', measured: (load.rows * 1000) / insertMs },
        {
          name: `one transaction, ${load.rows} changes of all kinds`,
          unit: 'rows/s',
          measured: (load.rows * 1000) / mixedMs,
        },
        {
          name: `${load.transactions} one-row transactions`,
          unit: 'tx/s',
          measured: (load.transactions * 1000) / smallMs,
        },
      ];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function record(context: BenchContext, load: { rows: number; transactions: number }): Promise<Recording> {
  await using core = await startCluster(context);
  context.note(`recorded from: ${describeCluster(context, core)}`);
  await using writer = await connect(core);
  await createTable(writer);
  await createOneRowWriter(writer);
  await writer.query('CREATE PUBLICATION bench_publication FOR ALL TABLES');
  await writer.query("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')");
  await insertRows(writer, { from: 1, to: load.rows });
  const { lastId } = await changeManyRows(writer, load.rows);
  await writeOneRowTransactions(writer, { transactions: load.transactions, rows: load.rows / 2, lastId: lastId + 1 });
  const tableOid = Number(await writer.value(`SELECT '${TABLE}'::regclass::oid`));

  const commitsWanted = 2 + load.transactions + 1;
  const parts: Buffer[] = [];
  let commits = 0;
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  await using stream = await PgConnection.open({ ...targetOf(core), parameters: { replication: 'database' } });
  await stream.startReplication(
    `START_REPLICATION SLOT "bench" LOGICAL 0/0 (proto_version '1', publication_names '"bench_publication"')`,
    (frames) => {
      for (let at = 0; at < frames.length; at += 1 + frames.readInt32BE(at + 1)) {
        if (frames[at + 5] !== 0x77) continue;
        const message = frames.subarray(at + 30, at + 1 + frames.readInt32BE(at + 1));
        const length = Buffer.alloc(4);
        length.writeInt32BE(message.length);
        parts.push(length, Buffer.from(message));
        if (message[0] === 0x43) commits += 1;
      }
      if (commits === commitsWanted) resolve();
    },
  );
  await complete;
  return { messages: Buffer.concat(parts), tableOid };
}

/** Plays a recording into a new replica, from where the last call stopped. */
class Player implements Disposable {
  readonly #messages: Buffer;
  readonly #decoder = new PgoutputDecoder();
  readonly #writer: ReplicaWriter;
  #at = 0;

  constructor(path: string, recording: Recording) {
    this.#messages = recording.messages;
    const table = tableImage({
      oid: recording.tableOid,
      name: TABLE,
      columns: [
        { name: 'id', typeOid: OID.int8, notNull: true },
        { name: 'n', typeOid: OID.int4, notNull: true },
        { name: 'payload', typeOid: OID.text, notNull: true },
        { name: 'changed_at', typeOid: OID.timestamptz, notNull: true },
      ],
    });
    this.#writer = ReplicaWriter.create(path, catalogueImage([table]), testPosition(0n), { synchronous: 'normal' });
  }

  /** Applies `commits` transactions; milliseconds it took. */
  play(commits: number, transactionsPerFlush: number): number {
    const started = performance.now();
    for (let done = 0; done < commits; ) {
      const length = this.#messages.readInt32BE(this.#at);
      const message = this.#decoder.decode(this.#messages, this.#at + 4, this.#at + 4 + length);
      this.#at += 4 + length;
      this.#writer.apply(message);
      if (message.tag !== 'commit') continue;
      done += 1;
      if (done % transactionsPerFlush === 0) this.#writer.flush();
    }
    this.#writer.flush();
    return performance.now() - started;
  }

  [Symbol.dispose](): void {
    this.#writer.close();
  }
}
