// SHOW …: the columns are PgBouncer's, in its order, so that existing dashboards and exporters work.

import { Fault } from '../../base/fault.ts';
import { addressText } from '../../contracts/topology.ts';
import type { ClientConnection } from '../client.ts';
import type { Pool, PoolStats, Waiter } from '../pool.ts';
import type { TenantSnapshot } from '../limits/tenants.ts';
import type { Proxy } from '../proxy.ts';
import { configRows } from './settings.ts';
import type { AdminAnswer, Cell } from './session.ts';

interface Table {
  readonly columns: readonly string[];
  readonly rows: (proxy: Proxy) => (readonly Cell[])[];
  /** How the answers of several workers become one. */
  readonly merge: Merge;
}

/**
 * `concat`: every worker has rows of its own. `first`: all say the same. Otherwise rows with equal `key` columns become one, in
 * which the numbers in `sum` are added, of those in `max` the largest counts, and what is in neither is the first one's.
 */
export type Merge =
  | 'concat'
  | 'first'
  | 'stats'
  | 'lists'
  | { readonly key: readonly string[]; readonly sum: readonly string[]; readonly max: readonly string[] };

const STAT_NAMES = [
  'server_assignment_count',
  'xact_count',
  'query_count',
  'received',
  'sent',
  'xact_time',
  'query_time',
  'wait_time',
  'client_login_count',
] as const;

function statValues(stats: PoolStats): number[] {
  return [
    stats.assignments,
    stats.transactions,
    stats.queries,
    stats.receivedBytes,
    stats.sentBytes,
    stats.transactionMs * 1000,
    stats.queryMs * 1000,
    stats.waitMs * 1000,
    stats.logins,
  ];
}

/** Sums per database. */
function statsByDatabase(proxy: Proxy): Map<string, number[]> {
  const sums = new Map<string, number[]>();
  for (const pool of proxy.pools.values()) {
    const values = statValues(pool.stats);
    const sum = sums.get(pool.database) ?? values.map(() => 0);
    sums.set(
      pool.database,
      sum.map((value, index) => value + (values[index] as number)),
    );
  }
  return sums;
}

/** Averages per second since the start; times per query or transaction. */
function averages(sum: readonly number[], seconds: number): number[] {
  const [
    assignments = 0,
    transactions = 0,
    queries = 0,
    received = 0,
    sent = 0,
    xact = 0,
    query = 0,
    wait = 0,
    logins = 0,
  ] = sum;
  const each = (total: number, count: number): number => (count === 0 ? 0 : total / count);
  return [
    assignments / seconds,
    transactions / seconds,
    queries / seconds,
    received / seconds,
    sent / seconds,
    each(xact, transactions),
    each(query, queries),
    each(wait, assignments),
    logins / seconds,
  ];
}

function secondsUp(proxy: Proxy): number {
  return Math.max(1, (proxy.now() - proxy.startedAt) / 1000);
}

function poolRow(proxy: Proxy, pool: Pool): Cell[] {
  const clients = [...proxy.clients].filter((one) => one.database === pool.database && one.user === pool.user);
  const linked = clients.filter((one) => one.server?.owner === pool);
  const now = proxy.now();
  const since = [...clients, ...pool.waiters].reduce(
    (oldest, one) => (waitsFor(one, pool) ? Math.min(oldest, one.waitingSince) : oldest),
    now,
  );
  const waitedMs = now - since;
  const cancels = [...pool.servers].filter((one) => one.cancels > 0).length;
  const database = proxy.databases.get(pool.database);
  return [
    pool.database,
    pool.user,
    pool.place === 'primary'
      ? // Logins wait as well, and are no clients yet.
        clients.filter((one) => one.state !== 'waiting' && (one.server === null || one.server.owner === pool)).length
      : linked.length,
    pool.waiting,
    0,
    0,
    linked.length,
    0,
    cancels,
    pool.idle.length,
    pool.recovering.size,
    0,
    pool.opening,
    Math.floor(waitedMs / 1000),
    Math.round((waitedMs % 1000) * 1000),
    proxy.config.users.get(pool.user)?.poolMode ?? database?.config.poolMode ?? proxy.config.poolMode,
    pool.place,
  ];
}

/** In the pool's queue, or for a turn of its tenant before that. */
function waitsFor(waiter: Waiter & { readonly wantedPool?: object | null }, pool: Pool): boolean {
  return waiter.waitingSince > 0 && (waiter.waitingIn === pool || waiter.wantedPool === pool);
}

function clientRow(proxy: Proxy, client: ClientConnection): Cell[] {
  const state = client.state === 'waiting' ? 'waiting' : client.server === null ? 'idle' : 'active';
  const now = proxy.now();
  const waitMs = client.waitingSince > 0 ? now - client.waitingSince : 0;
  return [
    'C',
    client.user,
    client.database,
    state,
    client.connection.remoteAddress,
    0,
    timeText(proxy, client.connectedAt),
    timeText(proxy, client.activeAt),
    Math.floor(waitMs / 1000),
    Math.round((waitMs % 1000) * 1000),
    String(client.id),
    client.server === null ? '' : String(client.server.id),
    client.server?.processId ?? 0,
    client.connection.tls?.protocol ?? '',
    client.applicationName,
    client.statementCount,
    client.mode,
    client.pins === 0 ? '' : 'pinned',
    String(client.id),
  ];
}

/** Of each tenant on each server, those that took most of the server's time. */
const BASELINES_SHOWN = 20;

function tenantRow(proxy: Proxy, one: TenantSnapshot): Cell[] {
  return [
    one.tenant,
    one.server,
    one.algorithm,
    one.limit,
    one.limitMax,
    one.share,
    one.inFlight,
    one.busy,
    one.waiting,
    one.longestWaitMs * 1000,
    one.baselineMs * 1000,
    one.roundTripMs * 1000,
    one.clients,
    one.limits.maxConnections,
    one.limits.poolSize,
    one.limits.qps,
    one.limits.maxWaiting,
    one.limits.weight,
    one.queries,
    one.queryMs * 1000,
    one.waits,
    one.waitMs * 1000,
    one.refusals,
    timeText(proxy, one.reasonAt),
    one.reason,
  ];
}

/** Wall-clock text of a monotonic time. */
function timeText(proxy: Proxy, at: number): string {
  const { clock } = proxy.world;
  return new Date(clock.wall() - (clock.now() - at)).toISOString().replace('T', ' ').slice(0, 19) + ' UTC';
}

const STATS_COLUMNS = [
  'database',
  ...STAT_NAMES.map((name) => `total_${name}`),
  ...STAT_NAMES.map((name) => `avg_${name}`),
];

type Rows = readonly (readonly Cell[])[];

/** Other views of SHOW STATS, by name. */
const STATS_VIEWS: Record<string, (stats: Rows) => { readonly columns: readonly string[]; readonly rows: Rows }> = {
  stats_totals: (stats) => ({
    columns: ['database', ...STAT_NAMES],
    rows: stats.map((row) => row.slice(0, 1 + STAT_NAMES.length)),
  }),
  stats_averages: (stats) => ({
    columns: ['database', ...STAT_NAMES],
    rows: stats.map((row) => [row[0] ?? null, ...row.slice(1 + STAT_NAMES.length)]),
  }),
  totals: (stats) => ({
    columns: ['name', 'value'],
    rows: STAT_NAMES.map((name, index) => [
      `total_${name}`,
      stats.reduce((total, row) => total + Number(row[1 + index] ?? 0), 0),
    ]),
  }),
};

const TABLE_LIST: Readonly<Record<string, Table>> = {
  pools: {
    merge: {
      key: ['database', 'user', 'load_balance_hosts'],
      sum: ['cl_active', 'cl_waiting', 'sv_active', 'sv_being_canceled', 'sv_idle', 'sv_used', 'sv_login'],
      max: ['maxwait', 'maxwait_us'],
    },
    columns: [
      'database',
      'user',
      'cl_active',
      'cl_waiting',
      'cl_active_cancel_req',
      'cl_waiting_cancel_req',
      'sv_active',
      'sv_active_cancel',
      'sv_being_canceled',
      'sv_idle',
      'sv_used',
      'sv_tested',
      'sv_login',
      'maxwait',
      'maxwait_us',
      'pool_mode',
      'load_balance_hosts',
    ],
    rows: (proxy) => [...proxy.pools.values()].map((pool) => poolRow(proxy, pool)),
  },
  stats: {
    merge: 'stats',
    columns: STATS_COLUMNS,
    rows: (proxy) =>
      [...statsByDatabase(proxy)].map(([name, sum]) => [name, ...sum, ...averages(sum, secondsUp(proxy))]),
  },
  servers: {
    merge: 'concat',
    columns: [
      'type',
      'user',
      'database',
      'state',
      'addr',
      'port',
      'connect_time',
      'request_time',
      'close_needed',
      'ptr',
      'link',
      'remote_pid',
      'tls',
      'prepared_statements',
      'place',
      'id',
    ],
    rows: (proxy) =>
      [...proxy.pools.values()].flatMap((pool) =>
        [...pool.servers].map((server) => [
          'S',
          pool.user,
          pool.database,
          server.state === 'linked' ? 'active' : server.state === 'recovering' ? 'used' : server.state,
          server.host,
          server.port,
          timeText(proxy, server.createdAt),
          timeText(proxy, server.lastUsedAt),
          server.doomed === null ? 0 : 1,
          String(server.id),
          '',
          server.processId,
          server.connection.tls?.protocol ?? '',
          server.prepared.size,
          pool.place,
          String(server.id),
        ]),
      ),
  },
  clients: {
    merge: 'concat',
    columns: [
      'type',
      'user',
      'database',
      'state',
      'addr',
      'port',
      'connect_time',
      'request_time',
      'wait',
      'wait_us',
      'ptr',
      'link',
      'remote_pid',
      'tls',
      'application_name',
      'prepared_statements',
      'pool_mode',
      'pinned',
      'id',
    ],
    rows: (proxy) => [...proxy.clients].map((client) => clientRow(proxy, client)),
  },
  databases: {
    merge: {
      key: ['name'],
      sum: ['current_connections', 'current_client_connections'],
      max: ['paused', 'disabled'],
    },
    columns: [
      'name',
      'host',
      'port',
      'database',
      'force_user',
      'pool_size',
      'min_pool_size',
      'reserve_pool_size',
      'pool_mode',
      'max_connections',
      'current_connections',
      'max_client_connections',
      'current_client_connections',
      'paused',
      'disabled',
    ],
    rows: (proxy) =>
      [...proxy.databases.values()].map(({ config, topology, limit, clients, paused, disabled }) => {
        const primary = topology.current().primary;
        return [
          config.name,
          primary?.host ?? '',
          primary?.port ?? 0,
          config.dbname === '' ? config.name : config.dbname,
          config.user === '' ? null : config.user,
          config.poolSize ?? proxy.config.poolSize,
          config.poolSizeMin ?? proxy.config.poolSizeMin,
          config.reservePoolSize ?? proxy.config.reservePoolSize,
          config.poolMode ?? proxy.config.poolMode,
          limit.max,
          limit.used,
          config.clientConnectionsMax ?? 0,
          clients,
          paused ? 1 : 0,
          disabled ? 1 : 0,
        ];
      }),
  },
  users: {
    merge: { key: ['name'], sum: ['current_connections', 'current_client_connections'], max: [] },
    columns: [
      'name',
      'pool_size',
      'pool_mode',
      'max_user_connections',
      'current_connections',
      'max_user_client_connections',
      'current_client_connections',
    ],
    rows: (proxy) => {
      const names = new Set([...proxy.config.users.keys(), ...proxy.users.keys()]);
      return [...names].map((name) => {
        const config = proxy.config.users.get(name);
        const state = proxy.users.get(name);
        return [
          name,
          config?.poolSize ?? null,
          config?.poolMode ?? null,
          state?.limit.max ?? config?.connectionsMax ?? 0,
          state?.limit.used ?? 0,
          config?.clientConnectionsMax ?? 0,
          state?.clients ?? 0,
        ];
      });
    },
  },
  config: {
    merge: 'first',
    columns: ['key', 'value', 'default', 'changeable'],
    rows: (proxy) => configRows(proxy.config),
  },
  lists: {
    merge: 'lists',
    columns: ['list', 'items'],
    rows: (proxy) => {
      const pools = [...proxy.pools.values()];
      const servers = pools.reduce((sum, pool) => sum + pool.servers.size, 0);
      const idle = pools.reduce((sum, pool) => sum + pool.idle.length, 0);
      return [
        ['databases', proxy.databases.size],
        ['users', proxy.users.size],
        ['pools', pools.length],
        ['free_clients', 0],
        ['used_clients', proxy.clients.size],
        ['login_clients', pools.reduce((sum, pool) => sum + pool.waiting, 0)],
        ['free_servers', idle],
        ['used_servers', servers - idle],
        ['dns_names', 0],
        ['dns_zones', 0],
        ['dns_queries', 0],
        ['prepared_statements', proxy.statements.size],
      ];
    },
  },
  version: { merge: 'first', columns: ['version'], rows: (proxy) => [[`skerry ${proxy.version}`]] },
  state: {
    merge: 'first',
    columns: ['key', 'value'],
    rows: (proxy) => [
      ['active', proxy.state === 'running' ? 'yes' : 'no'],
      ['paused', [...proxy.databases.values()].some((one) => one.paused) ? 'yes' : 'no'],
      ['suspended', 'no'],
    ],
  },
  topology: {
    merge: 'first',
    columns: ['database', 'server', 'role', 'lag_bytes', 'round_trip_us', 'term', 'why'],
    rows: (proxy) =>
      [...proxy.databases.values()].flatMap(({ config, topology }) => {
        const { primary, replicas, term, sentence } = topology.current();
        const rows: Cell[][] = [];
        rows.push([config.name, primary === null ? '' : addressText(primary), 'primary', 0, 0, term, sentence]);
        for (const one of replicas) {
          rows.push([config.name, addressText(one), 'replica', one.lagBytes ?? -1, one.roundTripMs * 1000, term, '']);
        }
        return rows;
      }),
  },
  tenants: {
    merge: {
      key: ['tenant', 'server'],
      sum: [
        'limit',
        'share',
        'in_flight',
        'busy',
        'queue',
        'clients',
        'query_count',
        'query_time',
        'wait_count',
        'wait_time',
        'refused',
      ],
      max: ['maxwait_us', 'baseline_us', 'round_trip_us'],
    },
    columns: [
      'tenant',
      'server',
      'algorithm',
      'limit',
      'limit_max',
      'share',
      'in_flight',
      'busy',
      'queue',
      'maxwait_us',
      'baseline_us',
      'round_trip_us',
      'clients',
      'max_connections',
      'pool_size',
      'qps',
      'max_waiting',
      'weight',
      'query_count',
      'query_time',
      'wait_count',
      'wait_time',
      'refused',
      'last_change',
      'last_reason',
    ],
    rows: (proxy) => proxy.tenants.snapshot().map((one) => tenantRow(proxy, one)),
  },
  tenant_history: {
    merge: 'concat',
    columns: ['time', 'tenant', 'server', 'from', 'to', 'reason'],
    rows: (proxy) =>
      proxy.tenants.history.map(({ at, tenant, server, from, to, reason }) => [
        timeText(proxy, at),
        tenant,
        server,
        from,
        to,
        reason,
      ]),
  },
  budgets: {
    merge: { key: ['server'], sum: ['budget', 'in_flight', 'wanted'], max: ['tenants'] },
    columns: ['server', 'budget', 'in_flight', 'wanted', 'tenants'],
    rows: (proxy) =>
      [...proxy.tenants.backends.values()].map((backend) => {
        const { used, wanted } = backend.demand(proxy.now());
        return [backend.name, backend.isBounded ? backend.budget : 0, used, wanted, backend.lanes.size];
      }),
  },
  baselines: {
    merge: { key: ['tenant', 'server', 'query'], sum: ['calls', 'total_time'], max: ['baseline_us', 'mean_us'] },
    columns: ['tenant', 'server', 'baseline_us', 'mean_us', 'calls', 'total_time', 'query'],
    rows: (proxy) =>
      [...proxy.tenants.list()].flatMap((tenant) =>
        tenant.lanes.flatMap((lane) =>
          lane.baselines
            .list()
            .sort((a, b) => b.totalMs - a.totalMs)
            .slice(0, BASELINES_SHOWN)
            .map((one) => [
              tenant.name,
              lane.backend.name,
              one.baselineMs * 1000,
              (one.totalMs / one.calls) * 1000,
              one.calls,
              one.totalMs * 1000,
              one.text,
            ]),
        ),
      ),
  },
  mem: { merge: 'first', columns: ['name', 'size', 'used', 'free', 'memtotal'], rows: () => [] },
  peers: {
    merge: 'first',
    columns: ['peer_id', 'host', 'port', 'pool_size'],
    rows: (proxy) => [...proxy.config.peers].map(([id, { host, port }]) => [id, host, port, 0]),
  },
  peer_pools: {
    merge: 'first',
    columns: ['peer_id', 'cl_active_cancel_req', 'cl_waiting_cancel_req', 'sv_active_cancel', 'sv_login'],
    rows: () => [],
  },
  dns_hosts: { merge: 'first', columns: ['hostname', 'ttl', 'addrs'], rows: () => [] },
  dns_zones: { merge: 'first', columns: ['zonename', 'serial', 'count'], rows: () => [] },
};

export const TABLES: readonly string[] = [...Object.keys(TABLE_LIST), ...Object.keys(STATS_VIEWS), 'workers'].map(
  (name) => name.toUpperCase(),
);

/** Throws a Fault for a table that does not exist. */
export function showTable(name: string, proxy: Proxy): AdminAnswer {
  const key = name.toLowerCase();
  if (key === 'help' || key === '') return { tag: 'SHOW', columns: ['show'], rows: TABLES.map((one) => [one]) };
  const view = STATS_VIEWS[key];
  if (view !== undefined) return { tag: 'SHOW', ...view((TABLE_LIST['stats'] as Table).rows(proxy)) };
  if (key === 'workers') return { tag: 'SHOW', columns: WORKERS_COLUMNS, rows: [] };
  const table = TABLE_LIST[key];
  if (table !== undefined) return { tag: 'SHOW', columns: table.columns, rows: table.rows(proxy) };
  // Drivers ask for server parameters.
  const parameter = DRIVER_PARAMETERS[key];
  if (parameter !== undefined) return { tag: 'SHOW', columns: [key], rows: [[parameter]] };
  throw new Fault('table-unknown', {
    message: `unknown table "${name}"`,
    hint: `SHOW ${TABLES.join(' | ')}`,
    sqlstate: '42601',
  });
}

/** SHOW WORKERS, which the parent of the workers answers. */
export const WORKERS_COLUMNS: readonly string[] = [
  'worker',
  'pid',
  'state',
  'uptime',
  'restarts',
  'cl_active',
  'sv_active',
];

/** Which table each worker has to be asked for, to answer for all of them. */
export function tableToAsk(name: string): string {
  const key = name.toLowerCase();
  return key in STATS_VIEWS ? 'stats' : key;
}

/** The answers of several workers to `tableToAsk(name)` as one. */
export function mergeTables(name: string, answers: readonly AdminAnswer[]): AdminAnswer {
  const key = name.toLowerCase();
  const merged = mergeAnswers(TABLE_LIST[tableToAsk(key)]?.merge ?? 'first', answers);
  const view = STATS_VIEWS[key];
  return view === undefined ? merged : { tag: 'SHOW', ...view(merged.rows ?? []) };
}

function mergeAnswers(merge: Merge, answers: readonly AdminAnswer[]): AdminAnswer {
  const first = answers[0] ?? { tag: 'SHOW' };
  const { columns = [] } = first;
  if (merge === 'first') return first;
  if (merge === 'concat') return { ...first, rows: answers.flatMap((one) => one.rows ?? []) };
  if (merge === 'lists') return { ...first, rows: mergedLists(answers) };
  const rules = merge === 'stats' ? STATS_MERGE : merge;
  const keys = rules.key.map((name) => columns.indexOf(name));
  const groups = new Map<string, (readonly Cell[])[]>();
  for (const row of answers.flatMap((one) => one.rows ?? [])) {
    const text = keys.map((index) => String(row[index])).join('\0');
    const group = groups.get(text);
    if (group === undefined) groups.set(text, [row]);
    else group.push(row);
  }
  const rows = [...groups.values()].map((group) =>
    merge === 'stats' ? mergedStats(group) : mergedRow(columns, rules, group),
  );
  return { ...first, rows };
}

/** Databases, users and pools are the same ones in each worker; clients and servers are its own. */
function mergedLists(answers: readonly AdminAnswer[]): Cell[][] {
  const items = (name: string): number[] =>
    answers.map(({ rows = [] }) => Number(rows.find((row) => row[0] === name)?.[1] ?? 0));
  return (answers[0]?.rows ?? []).map(([list = '']) => {
    const numbers = items(String(list));
    const isCommon = /^(?:databases|users|pools)$/.test(String(list));
    return [list, isCommon ? Math.max(...numbers) : numbers.reduce((sum, one) => sum + one, 0)];
  });
}

const STATS_MERGE = { key: ['database'], sum: [], max: [] };

function mergedRow(
  columns: readonly string[],
  { sum, max }: { readonly sum: readonly string[]; readonly max: readonly string[] },
  group: readonly (readonly Cell[])[],
): Cell[] {
  return columns.map((name, index) => {
    const values = group.map((row) => Number(row[index]));
    if (sum.includes(name)) return values.reduce((total, value) => total + value, 0);
    if (max.includes(name)) return Math.max(...values);
    return group[0]?.[index] ?? null;
  });
}

/** Totals and rates add up; times are averages over what they are times of. */
function mergedStats(group: readonly (readonly Cell[])[]): Cell[] {
  const count = STAT_NAMES.length;
  const total = (row: readonly Cell[], index: number): number => Number(row[1 + index] ?? 0);
  const average = (row: readonly Cell[], index: number): number => Number(row[1 + count + index] ?? 0);
  const cells: Cell[] = [group[0]?.[0] ?? null];
  for (let index = 0; index < count; index += 1) cells.push(group.reduce((sum, row) => sum + total(row, index), 0));
  for (let index = 0; index < count; index += 1) {
    const weight = WEIGHTS[STAT_NAMES[index] ?? ''];
    if (weight === undefined) {
      cells.push(group.reduce((sum, row) => sum + average(row, index), 0));
      continue;
    }
    const by = STAT_NAMES.indexOf(weight);
    const all = group.reduce((sum, row) => sum + total(row, by), 0);
    cells.push(all === 0 ? 0 : group.reduce((sum, row) => sum + average(row, index) * total(row, by), 0) / all);
  }
  return cells;
}

/** Times, and what they are counted per. */
const WEIGHTS: Readonly<Record<string, (typeof STAT_NAMES)[number]>> = {
  xact_time: 'xact_count',
  query_time: 'query_count',
  wait_time: 'server_assignment_count',
};

const DRIVER_PARAMETERS: Readonly<Record<string, string>> = {
  server_version: '15.0',
  standard_conforming_strings: 'on',
  client_encoding: 'UTF8',
  datestyle: 'ISO',
  timezone: 'GMT',
};
