// The places of a running world as `verify` sees them: the core over the replication protocol, relay and edges over HTTP.
//
// The core's sums belong to an LSN, not to "about now": a temporary logical slot exports the snapshot of its consistent point,
// and the sums are computed in that snapshot. The slot goes with its connection.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { sleepQuietly } from '../base/service.ts';
import type { Http, HttpRequestOptions } from '../base/http.ts';
import type { TableImage } from '../contracts/catalogue.ts';
import type { ChecksumReport, TableChecksum } from '../contracts/health.ts';
import { CHECKSUM_SETTINGS, checksumSql } from '../replica/checksum.ts';
import { ClientSession, type QueryResult } from '../session/client-session.ts';
import { ServerError } from '../session/faults.ts';
import { openTransactions } from '../stream/source/open-transactions.ts';
import { sqlLiteral, tableImagesSql } from '../stream/source/catalogue-sql.ts';
import { sessionWorld } from './core-client.ts';
import { answersHttp, worldTls } from './status.ts';
import type { VerifyPlaces } from './verify.ts';
import type { Place, World } from './world.ts';
import { connectionTarget } from './connection.ts';

// A role answers simple questions at once, whatever it counts meanwhile; one that does not twice in a row hangs.
const ANSWER_MS = 3_000;
const ANSWERS_MISSED_MAX = 2;
// A checksum reads every row once; a million rows take a few seconds.
const CHECKSUM_TIMEOUT_MS = 300_000;
// The relay lets its replica go on after this, should we be killed before we release it.
const HOLD_MS = 60_000;
const HOLD_TIMEOUT_MS = 10_000;
// How long a transaction of somebody else's may keep the core from giving a consistent point; less than the relay is held.
const CORE_WAIT_MS = 20_000;
// Within this the relay is where a place was that it feeds, unless it lost its upstream.
const REACH_MS = 20_000;

export interface VerifyWorld {
  readonly world: World;
  /** postgres:// URL of the core with its password. */
  readonly coreUrl: string;
  readonly publication: string;
  /** What the relay wants to see before it does something for us. */
  readonly peerHeaders: Readonly<Record<string, string>>;
  readonly http: Http;
  readonly clock: Clock;
}

export function verifyPlaces(options: VerifyWorld): VerifyPlaces {
  const { world, http } = options;
  const { name } = world.relay;
  const tls = worldTls(world);
  const relay = (path: string, method: string, timeoutMs: number): Promise<unknown> =>
    whileAlive(options, world.relay, (signal) =>
      ask(http, name, `${world.relay.http}${path}`, { method, timeoutMs, headers: options.peerHeaders, tls, signal }),
    );
  return {
    async holdRelay() {
      await relay(`/hold?ms=${HOLD_MS}`, 'POST', HOLD_TIMEOUT_MS);
    },
    relayAt: async (at, placement) =>
      (await relay(
        `/checksum?at=${encodeURIComponent(at)}&wait_ms=${REACH_MS}${placement === null ? '' : `&placement=${encodeURIComponent(placement)}`}`,
        'GET',
        CHECKSUM_TIMEOUT_MS,
      )) as ChecksumReport,
    async releaseRelay() {
      await relay('/release', 'POST', HOLD_TIMEOUT_MS);
    },
    others: [
      { name: 'core', ask: () => coreChecksum(options) },
      ...world.edges.map((edge: Place) => ({
        name: edge.name,
        ask: async () =>
          (await whileAlive(options, edge, (signal) =>
            ask(http, edge.name, `${edge.http}/checksum`, { timeoutMs: CHECKSUM_TIMEOUT_MS, tls, signal }),
          )) as ChecksumReport,
      })),
    ],
  };
}

/** Runs `ask` as long as the role answers anything at all: one that hangs would keep us for as long as a checksum may take. */
async function whileAlive<T>(
  { world, http, clock }: VerifyWorld,
  place: Place,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const hung = new AbortController();
  const done = new AbortController();
  const tls = worldTls(world);
  const watch = async (): Promise<void> => {
    for (let missed = 0; !done.signal.aborted; ) {
      missed = (await answersHttp(http, place, tls, ANSWER_MS)) ? 0 : missed + 1;
      if (missed === ANSWERS_MISSED_MAX) {
        hung.abort(
          new Fault('verify-incomparable', {
            message: `${place.name} does not answer`,
            hint: 'look at `skerry status`; `skerry up` starts a role again that hangs',
            retryable: true,
          }),
        );
        return;
      }
      await sleepQuietly(clock, ANSWER_MS / 3, done.signal);
    }
  };
  void watch();
  try {
    return await run(hung.signal);
  } finally {
    done.abort();
  }
}

/** Sums of the core's published tables, at an LSN of its own choosing. */
export async function coreChecksum(
  options: Pick<VerifyWorld, 'coreUrl' | 'publication' | 'clock'>,
  waitMs = CORE_WAIT_MS,
): Promise<ChecksumReport> {
  const world = sessionWorld(options.clock);
  const target = connectionTarget(options.coreUrl, { applicationName: 'skerry verify' });
  await using replication = await ClientSession.connect(world, {
    target,
    replication: 'database',
    parameters: { lock_timeout: String(waitMs) },
  });
  await using session = await ClientSession.connect(world, { target, parameters: CHECKSUM_SETTINGS });
  const identity = first(await replication.query('IDENTIFY_SYSTEM'));
  const create = `CREATE_REPLICATION_SLOT skerry_verify_${slotSuffix(world.random.bytes(6))} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')`;
  const slot = first(
    await replication.query(create).catch(async (error: unknown) => {
      if (!(error instanceof ServerError) || error.sqlstate !== '55P03') throw error;
      throw new Fault('verify-incomparable', {
        message: `the core gives no consistent point while older transactions are open: ${(await openTransactions(session)) ?? 'they ended just now'}`,
        hint: 'end them (COMMIT, ROLLBACK PREPARED, pg_terminate_backend), or wait and try again',
        retryable: true,
        cause: error,
      });
    }),
  );
  const field = (row: ReadonlyMap<string, string>, name: string): string => row.get(name) ?? '';
  await session.query(
    `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ${sqlLiteral(field(slot, 'snapshot_name'))}; SET LOCAL row_security = off`,
  );
  const images = JSON.parse(
    (await session.query(tableImagesSql(sqlLiteral(options.publication), null))).rows[0]?.[0] ?? '[]',
  ) as TableImage[];
  const tables: TableChecksum[] = [];
  for (const image of images) {
    if (image.kind !== 'r') continue;
    const sums = first(await session.query(checksumSql(image)));
    tables.push({ table: `${image.schema}.${image.name}`, rows: Number(field(sums, 'rows')), sum: field(sums, 'sum') });
  }
  return {
    name: 'core',
    epoch: { systemId: field(identity, 'systemid'), timeline: Number(field(identity, 'timeline')) },
    position: field(slot, 'consistent_point'),
    tables,
  };
}

function first(result: QueryResult): ReadonlyMap<string, string> {
  const row = result.rows[0] ?? [];
  return new Map(result.columns.map((column, index) => [column.name, row[index] ?? '']));
}

function slotSuffix(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function ask(http: Http, name: string, url: string, options: HttpRequestOptions): Promise<unknown> {
  const response = await http.request(url, options);
  if (response.ok) return response.json();
  const body = (await response.json().catch(() => ({}))) as {
    code?: string;
    error?: string | { code?: string; message?: string };
  };
  const said = typeof body.error === 'object' ? body.error.message : body.error;
  const code = typeof body.error === 'object' ? body.error.code : body.code;
  throw new Fault(code === 'position-passed' ? code : 'verify-incomparable', {
    message: `${name} answered ${response.status}${said === undefined ? '' : `: ${said}`}`,
    hint: 'look at `skerry status`',
    retryable: true,
  });
}
