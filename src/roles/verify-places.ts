// The places of a running world as `verify` sees them: the core over the replication protocol, relay and edges over HTTP.
//
// The core's sums belong to an LSN, not to "about now": a temporary logical slot exports the snapshot of its consistent point,
// and the sums are computed in that snapshot. The slot goes with its connection.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Http } from '../base/http.ts';
import type { TableImage } from '../contracts/catalogue.ts';
import {
  CHECKSUM_WAIT_MS_MAX,
  type ChecksumHold,
  type ChecksumReport,
  type TableChecksum,
} from '../contracts/health.ts';
import { CHECKSUM_SETTINGS, checksumSql } from '../replica/checksum.ts';
import { ClientSession, type QueryResult } from '../session/client-session.ts';
import { parseConnectionString } from '../session/connection-string.ts';
import { sqlLiteral, tableImagesSql } from '../stream/source/catalogue-sql.ts';
import { sessionWorld } from './core-client.ts';
import type { VerifyPlaces } from './verify.ts';
import type { Place, World } from './world.ts';

// A checksum reads every row once; a million rows take a few seconds.
const CHECKSUM_TIMEOUT_MS = CHECKSUM_WAIT_MS_MAX + 240_000;
const HOLD_TIMEOUT_MS = 10_000;

export interface VerifyWorld {
  readonly world: World;
  /** postgres:// URL of the core with its password. */
  readonly coreUrl: string;
  readonly publication: string;
  readonly http: Http;
  readonly clock: Clock;
}

export function verifyPlaces(options: VerifyWorld): VerifyPlaces {
  const { world, http } = options;
  const relay = `${world.relay.http}/checksum`;
  return {
    async holdRelay() {
      await ask<ChecksumHold>(http, 'relay', `${relay}/hold`, HOLD_TIMEOUT_MS, 'POST');
    },
    relayAt: (at) => ask<ChecksumReport>(http, 'relay', `${relay}?at=${encodeURIComponent(at)}`, CHECKSUM_TIMEOUT_MS),
    async releaseRelay() {
      await ask(http, 'relay', `${relay}/hold`, HOLD_TIMEOUT_MS, 'DELETE');
    },
    others: [
      { name: 'core', ask: () => coreChecksum(options) },
      ...world.edges.map((edge: Place) => ({
        name: edge.name,
        ask: () => ask<ChecksumReport>(http, edge.name, `${edge.http}/checksum`, CHECKSUM_TIMEOUT_MS),
      })),
    ],
  };
}

/** Sums of the core's published tables, at an LSN of its own choosing. */
export async function coreChecksum(
  options: Pick<VerifyWorld, 'coreUrl' | 'publication' | 'clock'>,
): Promise<ChecksumReport> {
  const world = sessionWorld(options.clock);
  const target = parseConnectionString(options.coreUrl, { applicationName: 'skerry verify' });
  await using replication = await ClientSession.connect(world, { target, replication: 'database' });
  await using session = await ClientSession.connect(world, { target, parameters: CHECKSUM_SETTINGS });
  const identity = first(await replication.query('IDENTIFY_SYSTEM'));
  const slot = first(
    await replication.query(
      `CREATE_REPLICATION_SLOT skerry_verify_${slotSuffix(world.random.bytes(6))} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')`,
    ),
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

async function ask<T>(http: Http, name: string, url: string, timeoutMs: number, method = 'GET'): Promise<T> {
  const response = await http.request(url, { method, timeoutMs });
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const body = (await response.json().catch(() => ({}))) as { error?: string | { message?: string } };
  const said = typeof body.error === 'object' ? body.error.message : body.error;
  throw new Fault(response.status === 409 ? 'position-passed' : 'verify-incomparable', {
    message: `${name} answered ${response.status}${said === undefined ? '' : `: ${said}`}`,
    hint: 'look at `skerry status`',
    retryable: true,
  });
}
