// The Postgres servers of a bench: all with the same settings, whatever their part in it.

import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import { findAllPostgres } from '../../src/runtime/postgres.ts';
import type { BenchContext } from './bench.ts';
import { PgConnection, type PgTarget } from './pg-connection.ts';

export type Cluster = TestPostgres;

/** What the targets were set against; another version is measured too, but the note says so. */
const WANTED_MAJOR = '15';

/** Starts an empty server. Same version and settings for every cluster of a run. */
export async function startCluster(context: BenchContext): Promise<Cluster> {
  const has15 = findAllPostgres().some((one) => String(one.major) === WANTED_MAJOR);
  const cluster = await startPostgres({
    version: has15 ? WANTED_MAJOR : 'any',
    settings: {
      fsync: context.fsync ? 'on' : 'off',
      full_page_writes: context.fsync ? 'on' : 'off',
      shared_buffers: '256MB',
      // No checkpoint in the middle of a measurement.
      max_wal_size: '16GB',
      checkpoint_timeout: '30min',
      // A subscription that was just disabled may start again at once, instead of after 5 s.
      wal_retrieve_retry_interval: '10ms',
      max_connections: 300,
      max_wal_senders: 20,
      max_replication_slots: 20,
    },
  });
  return cluster;
}

/** One line for the notes: version and settings of the servers. */
export function describeCluster(context: BenchContext, cluster: Cluster): string {
  const fallback = String(cluster.programs.major) === WANTED_MAJOR ? '' : ` (no Postgres ${WANTED_MAJOR} here)`;
  return (
    `Postgres ${cluster.programs.version}${fallback} on all sides, fsync ${context.fsync ? 'on' : 'off'}, ` +
    'synchronous_commit on, shared_buffers 256MB, no checkpoint during the run'
  );
}

export function targetOf(cluster: Cluster): PgTarget {
  return { host: cluster.host, port: cluster.port, user: cluster.user, database: cluster.database };
}

export function connect(cluster: Cluster): Promise<PgConnection> {
  return PgConnection.open(targetOf(cluster));
}
