// The baseline: PostgreSQL's own logical replication between two servers, one publisher and one subscriber.

import type { BenchContext } from './bench.ts';
import { type Cluster, connect, startCluster } from './cluster.ts';
import type { PgConnection } from './pg-connection.ts';
import { until } from './wait.ts';
import { createTable } from './workload.ts';

const SUBSCRIPTION = 'bench_subscription';

export interface NativePair extends AsyncDisposable {
  readonly publisher: Cluster;
  readonly subscriber: Cluster;
  /** Connections that the bench may use as it likes. */
  readonly writer: PgConnection;
  readonly reader: PgConnection;
  /** CREATE SUBSCRIPTION: from here on the subscriber copies and follows. */
  subscribe(): Promise<void>;
  /** Resolves when the initial copy of every table is done and visible. */
  copied(): Promise<number>;
  setEnabled(enabled: boolean): Promise<void>;
}

/** Two servers with the workload's table in both and a publication of everything. */
export async function startNativePair(context: BenchContext): Promise<NativePair> {
  await using stack = new AsyncDisposableStack();
  const publisher = stack.use(await startCluster(context));
  const subscriber = stack.use(await startCluster(context));
  const writer = stack.use(await connect(publisher));
  const reader = stack.use(await connect(subscriber));
  const control = stack.use(await connect(subscriber));
  await createTable(writer);
  await createTable(control);
  await writer.query('CREATE PUBLICATION bench_publication FOR ALL TABLES');
  const owned = stack.move();
  const applyWorkers = `SELECT count(*) FROM pg_stat_subscription WHERE subname = '${SUBSCRIPTION}' AND pid IS NOT NULL`;
  return {
    publisher,
    subscriber,
    writer,
    reader,
    async subscribe() {
      await control.query(
        `CREATE SUBSCRIPTION ${SUBSCRIPTION} CONNECTION 'host=${publisher.host} port=${publisher.port} user=${publisher.user} dbname=${publisher.database}' PUBLICATION bench_publication`,
      );
    },
    copied: () =>
      until('the native initial copy', async () => {
        const [row] = await control.query(
          `SELECT count(*) FILTER (WHERE srsubstate IN ('f', 's', 'r')), count(*) FROM pg_subscription_rel`,
        );
        return row !== undefined && row[0] === row[1] && row[1] !== '0';
      }),
    async setEnabled(enabled) {
      await control.query(`ALTER SUBSCRIPTION ${SUBSCRIPTION} ${enabled ? 'ENABLE' : 'DISABLE'}`);
      if (!enabled) await until('the apply worker is gone', async () => (await control.value(applyWorkers)) === '0');
    },
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync();
    },
  };
}
