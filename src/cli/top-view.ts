// What `skerry top` shows, from two readings of a role's metrics: pure.

import { labelValues, type Pair, quantileBetween, ratePerSecond, type Sample, valueOf } from '../observe/scrape.ts';

/** Milliseconds; null when nothing was observed. */
interface Latency {
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

export interface PoolView {
  readonly database: string;
  readonly user: string;
  /** `primary`, or host:port of a replica. */
  readonly place: string;
  readonly queriesPerSecond: number;
  readonly transactionsPerSecond: number;
  readonly active: number;
  readonly idle: number;
  readonly waiting: number;
}

/** A database, or a tenant. */
export interface GroupView extends Latency {
  readonly name: string;
  readonly queriesPerSecond: number;
  /** Longest of the shortest 99 % of waits for a server connection. */
  readonly waitP99Ms: number | null;
  readonly inFlight: number;
  readonly waiting: number;
  /** Adaptive or fixed; null where there is none. */
  readonly limit: number | null;
}

/** A proxy. */
export interface ProxyView extends Latency {
  readonly role: 'proxy';
  readonly name: string;
  readonly queriesPerSecond: number;
  readonly transactionsPerSecond: number;
  readonly clients: number;
  readonly waiting: number;
  readonly servers: number;
  readonly workers: number;
  readonly databases: readonly GroupView[];
  readonly tenants: readonly GroupView[];
  readonly pools: readonly PoolView[];
}

/** Any other role: its series as they are. */
export interface PlainView {
  readonly role: 'other';
  readonly name: string;
  readonly series: readonly {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number;
    /** Of counters. */
    readonly perSecond: number | null;
  }[];
}

export type TopView = ProxyView | PlainView;

const QUERY = 'skerry_proxy_query_seconds';
const WAIT = 'skerry_proxy_wait_seconds';
const TENANT_QUERY = 'skerry_proxy_tenant_query_seconds';
const TENANT_WAIT = 'skerry_proxy_tenant_wait_seconds';
const POOLS = 'skerry_proxy_clients_waiting';

export function topView(name: string, pair: Pair): TopView {
  const isProxy = pair.now.samples.some((one) => one.name === 'skerry_proxy_client_connections');
  return isProxy ? proxyView(name, pair) : plainView(name, pair);
}

function proxyView(name: string, pair: Pair): ProxyView {
  const { now } = pair;
  const sorted = <T extends { readonly queriesPerSecond: number; readonly waiting: number }>(list: T[]): T[] =>
    list.sort((a, b) => b.queriesPerSecond - a.queriesPerSecond || b.waiting - a.waiting);
  return {
    role: 'proxy',
    name,
    queriesPerSecond: ratePerSecond(pair, `${QUERY}_count`),
    transactionsPerSecond: ratePerSecond(pair, 'skerry_proxy_transactions_total'),
    clients: valueOf(now, 'skerry_proxy_client_connections'),
    waiting: valueOf(now, POOLS),
    servers: valueOf(now, 'skerry_proxy_server_connections'),
    workers: valueOf(now, 'skerry_proxy_workers', { state: 'serving' }),
    ...latency(pair, QUERY, {}),
    databases: sorted(
      labelValues(now, `${QUERY}_count`, 'database').map(
        (database): GroupView => ({
          name: database,
          queriesPerSecond: ratePerSecond(pair, `${QUERY}_count`, { database }),
          ...latency(pair, QUERY, { database }),
          waitP99Ms: milliseconds(quantileBetween(pair, WAIT, 0.99, { database })),
          inFlight: valueOf(now, 'skerry_proxy_server_connections', { database, state: 'active' }),
          waiting: valueOf(now, POOLS, { database }),
          limit: null,
        }),
      ),
    ),
    tenants: sorted(
      labelValues(now, `${TENANT_QUERY}_count`, 'tenant').map(
        (tenant): GroupView => ({
          name: tenant,
          queriesPerSecond: ratePerSecond(pair, `${TENANT_QUERY}_count`, { tenant }),
          ...latency(pair, TENANT_QUERY, { tenant }),
          waitP99Ms: milliseconds(quantileBetween(pair, TENANT_WAIT, 0.99, { tenant })),
          inFlight: valueOf(now, 'skerry_proxy_tenant_in_flight', { tenant }),
          waiting: valueOf(now, 'skerry_proxy_tenant_waiting', { tenant }),
          limit: valueOf(now, 'skerry_proxy_tenant_limit', { tenant }),
        }),
      ),
    ),
    pools: sorted(now.samples.filter((one) => one.name === POOLS).map((one) => poolView(pair, one))),
  };
}

function poolView(pair: Pair, { labels }: Sample): PoolView {
  const { database = '', user = '', place = '' } = labels;
  const pool = { database, user, place };
  return {
    ...pool,
    queriesPerSecond: ratePerSecond(pair, 'skerry_proxy_queries_total', pool),
    transactionsPerSecond: ratePerSecond(pair, 'skerry_proxy_transactions_total', pool),
    active: valueOf(pair.now, 'skerry_proxy_server_connections', { ...pool, state: 'active' }),
    idle: valueOf(pair.now, 'skerry_proxy_server_connections', { ...pool, state: 'idle' }),
    waiting: valueOf(pair.now, POOLS, pool),
  };
}

function latency(pair: Pair, name: string, labels: Readonly<Record<string, string>>): Latency {
  return {
    p50Ms: milliseconds(quantileBetween(pair, name, 0.5, labels)),
    p99Ms: milliseconds(quantileBetween(pair, name, 0.99, labels)),
  };
}

/** Beyond the last bucket is told as the largest number that JSON has. */
function milliseconds(seconds: number | null): number | null {
  return seconds === null ? null : Math.min(Number.MAX_SAFE_INTEGER, seconds * 1000);
}

function plainView(name: string, pair: Pair): PlainView {
  const series = pair.now.samples
    .filter((one) => !one.name.endsWith('_bucket') && !one.name.endsWith('_sum'))
    .map(({ name: series, labels, value }) => ({
      name: series,
      labels,
      value,
      perSecond: /_(?:total|count)$/.test(series) ? ratePerSecond(pair, series, labels) : null,
    }));
  return { role: 'other', name, series };
}

/** A block for a terminal, no wider than `columns` and no higher than `rows`; what does not fit is counted in its last line. */
export function topLines(views: readonly TopView[], columns: number, rows: number): string[] {
  const lines = views.flatMap((view) => [...(view.role === 'proxy' ? proxyLines(view) : plainLines(view)), '']);
  lines.pop();
  if (lines.length <= rows) return lines.map((line) => line.slice(0, columns));
  const more = lines.length - rows + 1;
  return [...lines.slice(0, rows - 1), `… ${more} more lines`].map((line) => line.slice(0, columns));
}

function proxyLines(view: ProxyView): string[] {
  return [
    topSentence(view),
    ...(view.tenants.length > 0 ? groupLines('tenant', view.tenants) : groupLines('database', view.databases)),
    ...table(
      ['database', 'user', 'place', 'queries/s', 'tx/s', 'active', 'idle', 'waiting'],
      view.pools.map((pool) => [
        pool.database,
        pool.user,
        pool.place,
        grouped(pool.queriesPerSecond),
        grouped(pool.transactionsPerSecond),
        grouped(pool.active),
        grouped(pool.idle),
        grouped(pool.waiting),
      ]),
      3,
    ),
  ];
}

function groupLines(title: string, groups: readonly GroupView[]): string[] {
  return table(
    [title, 'queries/s', 'p50', 'p99', 'wait p99', 'in flight', 'limit', 'waiting'],
    groups.map((group) => [
      group.name,
      grouped(group.queriesPerSecond),
      durationText(group.p50Ms),
      durationText(group.p99Ms),
      durationText(group.waitP99Ms),
      grouped(group.inFlight),
      group.limit === null ? '' : grouped(group.limit),
      grouped(group.waiting),
    ]),
    1,
  );
}

function plainLines(view: PlainView): string[] {
  return [
    view.name,
    ...table(
      ['metric', 'value', 'per second'],
      view.series.map(({ name, labels, value, perSecond }) => [
        `${name}${labelsText(labels)}`,
        grouped(value),
        perSecond === null ? '' : grouped(perSecond),
      ]),
      1,
    ),
  ];
}

/** One line for logs and pipes. */
export function topSentence(view: TopView): string {
  if (view.role === 'other') {
    const moving = view.series.filter(({ perSecond }) => perSecond !== null && perSecond > 0);
    const parts = moving.map(
      ({ name, labels, perSecond }) => `${name}${labelsText(labels)} ${grouped(perSecond ?? 0)}/s`,
    );
    return `${view.name}: ${parts.length === 0 ? 'nothing moves' : parts.join(', ')}`;
  }
  const latencies = view.p50Ms === null ? '' : `, p50 ${durationText(view.p50Ms)} p99 ${durationText(view.p99Ms)}`;
  return `${view.name}: ${grouped(view.queriesPerSecond)} queries/s${latencies}, ${grouped(view.transactionsPerSecond)} tx/s, ${grouped(view.clients)} clients, ${grouped(view.waiting)} waiting, ${grouped(view.servers)} server connections, ${grouped(view.workers)} workers`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return parts.length === 0 ? '' : ` ${parts.join(' ')}`;
}

/** Columns from `rightFrom` on are numbers. */
function table(header: readonly string[], rows: readonly (readonly string[])[], rightFrom: number): string[] {
  if (rows.length === 0) return [];
  const cells = [header, ...rows];
  const widths = header.map((_, index) => Math.max(...cells.map((row) => (row[index] ?? '').length)));
  return cells.map((row) =>
    row
      .map((cell, index) => (index >= rightFrom ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

function durationText(ms: number | null): string {
  if (ms === null) return '';
  if (ms > 1e9) return '> 10 s';
  return ms < 10
    ? `${Math.round(ms * 100) / 100} ms`
    : ms < 10_000
      ? `${Math.round(ms)} ms`
      : `${Math.round(ms / 1000)} s`;
}

function grouped(count: number): string {
  return Math.round(count)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, ',');
}
