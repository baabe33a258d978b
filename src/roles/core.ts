// The embedded core: a Postgres of our own for `skerry up` without --database-url.
// It listens on 127.0.0.1 only, asks for a password (SCRAM) that is generated and kept in the folder, and keeps its data there.
//
// Faults: those of runtime/postgres.ts.

import { Fault } from '../base/fault.ts';
import { ensureSecret, writePrivate } from '../runtime/files.ts';
import {
  dataVersion,
  findPostgres,
  initPostgres,
  makeServerFolder,
  type PostgresPrograms,
  reachablePrograms,
  type ServerUser,
  serverUser,
  startPostgresProcess,
  stopPostmaster,
} from '../runtime/postgres.ts';
import type { Unit } from './supervisor.ts';

export interface EmbeddedCoreOptions {
  /** Absolute path of the folder of `skerry up`. */
  readonly dir: string;
  readonly port: number;
  /** Where else its password is good: the proxy's ports. */
  readonly morePorts: readonly number[];
  readonly ephemeral: boolean;
  readonly createPassword: () => string;
  readonly stopTimeoutMs: number;
}

export interface EmbeddedCore {
  readonly unit: Unit;
  /** postgres:// URL of its owner, with the password. */
  readonly url: string;
  readonly programs: PostgresPrograms;
  /** File in libpq's format, so that people can use psql without seeing the password. */
  readonly passFile: string;
}

/** Both the superuser and the database are named so. Not `skerry`: a user finds the schema of their own name first, and that one is ours. */
const CORE_NAME = 'postgres';

// Crash recovery replays up to max_wal_size; a minute is enough for that even on a slow disk.
const START_TIMEOUT_MS = 60_000;

/** Makes the data folder when it is not there. Throws Fault `postgres-data-version` and the like before anything is started. */
export async function prepareEmbeddedCore(options: EmbeddedCoreOptions): Promise<EmbeddedCore> {
  const user = serverUser();
  const folder = makeServerFolder(`${options.dir}/core`, user);
  const dataDir = `${folder}/data`;
  const made = dataVersion(dataDir);
  const programs = reachablePrograms(programsFor(made), user);
  const password = ensureSecret(`${options.dir}/core-password`, options.createPassword);
  if (made === null)
    await initPostgres({ programs, dataDir, user, superuser: CORE_NAME, password, sync: !options.ephemeral });
  else await stopPostmaster(dataDir, options.stopTimeoutMs); // Left behind by a crash of ours: two must not serve one folder.
  const passFile = `${options.dir}/pgpass`;
  const lines = [options.port, ...options.morePorts].map((port) => `127.0.0.1:${port}:*:${CORE_NAME}:${password}\n`);
  writePrivate(passFile, lines.join(''));
  return {
    unit: coreUnit(options, programs, folder, user),
    url: `postgres://${CORE_NAME}:${encodeURIComponent(password)}@127.0.0.1:${options.port}/${CORE_NAME}`,
    programs,
    passFile,
  };
}

/** A folder is served by the version that made it, if that is here; a new one by the best there is. */
function programsFor(made: number | null): PostgresPrograms {
  if (made === null) return findPostgres();
  try {
    return findPostgres(String(made) as '15');
  } catch (error) {
    throw new Fault('postgres-data-version', {
      message: `the data folder was made by Postgres ${made}, and no server programs of that version are here`,
      hint: `install Postgres ${made} (or set SKERRY_PG_BINDIR), or start afresh with another --dir`,
      cause: error,
    });
  }
}

function coreUnit(
  options: EmbeddedCoreOptions,
  programs: PostgresPrograms,
  folder: string,
  user: ServerUser | null,
): Unit {
  return {
    name: 'core',
    async start() {
      const server = await startPostgresProcess({
        programs,
        dataDir: `${folder}/data`,
        user,
        port: options.port,
        settings: settings(options.ephemeral),
        logFile: `${options.dir}/log/core.log`,
        timeoutMs: START_TIMEOUT_MS,
        ...(options.ephemeral ? { removeWhenOrphaned: [folder, options.dir] } : {}),
      });
      return {
        pid: server.pid,
        ready: Promise.resolve(),
        exited: server.exited,
        async stop(hurry) {
          if (hurry.aborted) return server.kill();
          hurry.addEventListener('abort', () => void server.kill(), { once: true });
          await server.stop(options.stopTimeoutMs);
        },
      };
    },
  };
}

function settings(ephemeral: boolean): Record<string, string | number> {
  return {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    wal_level: 'logical',
    max_wal_senders: 20,
    max_replication_slots: 20,
    max_prepared_transactions: 10,
    // Every forwarding session of every edge is one of these.
    max_connections: 200,
    // A slot whose relay never comes back must not fill the disk (I8); the relay re-snapshots and says so.
    max_slot_wal_keep_size: '8GB',
    log_min_messages: 'warning',
    log_line_prefix: '%m [%p] ',
    // A forwarded statement ends soon after its client went away.
    client_connection_check_interval: '5s',
    ...(ephemeral ? { fsync: 'off', full_page_writes: 'off' } : {}),
  };
}
