// All tenants of one process: which client belongs to which, what limits each has (configuration, then rule, then SET), and
// what can be told about them.

import { Fault } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import type { Log } from '../../observe/log.ts';
import type { Metrics } from '../../observe/metrics.ts';
import {
  PROXY_TENANT_IN_FLIGHT,
  PROXY_TENANT_LIMIT,
  PROXY_TENANT_QUERY_SECONDS,
  PROXY_TENANT_WAIT_SECONDS,
  PROXY_TENANT_WAITING,
} from '../../observe/names.ts';
import { Backend } from './backend.ts';
import { ALGORITHMS, type Algorithm } from './concurrency-limit.ts';
import { Lane } from './lane.ts';
import { Tenant, type TenantLimits } from './tenant.ts';

/** One more makes the least recently used one without clients go; when all have clients, newcomers share the tenant `other`. */
export const TENANTS_MAX = 4_096;

/** Tenants with metrics of their own; the rest share the series `other`, so that a scrape stays small. */
export const METRIC_TENANTS_MAX = 100;

/** Changes of limits that SHOW TENANT_HISTORY remembers. */
const HISTORY_MAX = 200;

const OTHER = 'other';

/** Puts clients into a tenant of its name; the first rule that fits counts. Patterns know `*` and `?`. */
export interface TenantRule {
  readonly name: string;
  readonly database: string;
  readonly user: string;
  readonly applicationName: string;
  /** Null: as all tenants. */
  readonly limits: { readonly [K in keyof TenantLimits]: TenantLimits[K] | null };
}

export interface TenantsConfig {
  readonly rules: readonly TenantRule[];
  /** Of every tenant, unless its rule or SET says otherwise. */
  readonly limits: TenantLimits;
  /** Transactions at once on one server; 0 = no bound. */
  readonly serverBudget: number;
}

export const TENANTS_DEFAULTS: TenantsConfig = {
  rules: [],
  limits: { maxConnections: 0, poolSize: 0, qps: 0, maxWaiting: 10_000, weight: 1, algorithm: 'vegas' },
  serverBudget: 0,
};

export interface LimitChange {
  readonly at: number;
  readonly tenant: string;
  readonly server: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

/** What is known of one tenant on one server, as plain data: of several workers, counts are added up. */
export interface TenantSnapshot {
  readonly tenant: string;
  readonly server: string;
  readonly algorithm: Algorithm;
  /** 0 = none. */
  readonly limit: number;
  readonly limitMax: number;
  readonly share: number;
  /** Transactions open, and those of them that the server works for now. */
  readonly inFlight: number;
  readonly busy: number;
  readonly waiting: number;
  readonly longestWaitMs: number;
  readonly load: number;
  /** Per statement, mean of the last window. */
  readonly baselineMs: number;
  readonly roundTripMs: number;
  readonly clients: number;
  readonly queries: number;
  readonly queryMs: number;
  readonly waits: number;
  readonly waitMs: number;
  readonly refusals: number;
  readonly limits: TenantLimits;
  readonly reason: string;
  /** Monotonic. */
  readonly reasonAt: number;
}

/** Where limits over all workers are divided: this process' part of each. */
export interface LimitShares {
  add(
    key: string,
    limit: { readonly total: () => number; readonly used: () => number; readonly wanted: () => number },
  ): void;
  /** Infinity when there is no limit. */
  of(key: string): number;
  /** Somebody waits. */
  moved(key: string): void;
}

export interface TenantsOptions {
  /** Null: this process has all of everything. */
  readonly shares: LimitShares | null;
  /** Processes that serve clients, this one included. */
  readonly workers: () => number;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly now: () => number;
  /** Calls back after `ms`. */
  readonly after: (ms: number, task: () => void) => void;
  readonly config: TenantsConfig;
  readonly waitTimeoutMs: () => number;
  /** A statement's text without its values. */
  readonly describe: (text: string) => string;
}

/** The words of `SET tenant.NAME.…`, and what they are in code. */
const SETTINGS: Readonly<Record<string, keyof TenantLimits>> = {
  max_connections: 'maxConnections',
  pool_size: 'poolSize',
  qps: 'qps',
  max_waiting: 'maxWaiting',
  weight: 'weight',
  algorithm: 'algorithm',
};

export class Tenants {
  readonly backends = new Map<string, Backend>();
  readonly history: LimitChange[] = [];

  readonly #options: TenantsOptions;
  readonly #byName = new Map<string, Tenant>();
  /** Said by SET: stays over RELOAD, and is gone with the process. */
  readonly #said = new Map<string, Partial<TenantLimits>>();
  #config: TenantsConfig;
  #rules: readonly { readonly rule: TenantRule; readonly fits: readonly RegExp[] }[] = [];
  #measured = 0;
  #workers = 1;

  constructor(options: TenantsOptions) {
    this.#options = options;
    this.#config = options.config;
    this.configure(options.config);
  }

  get size(): number {
    return this.#byName.size;
  }

  list(): Iterable<Tenant> {
    return this.#byName.values();
  }

  /** RELOAD. Clients that are connected keep their tenant until `of` is asked again. */
  configure(config: TenantsConfig): void {
    const now = this.#options.now();
    this.#config = config;
    this.#rules = config.rules.map((rule) => ({
      rule,
      fits: [rule.database, rule.user, rule.applicationName].map(pattern),
    }));
    for (const { name } of config.rules) this.#named(name);
    for (const tenant of this.#byName.values()) tenant.configure(this.#limitsOf(tenant.name), now);
    this.sharesChanged();
  }

  /** Parts of limits have changed: what is larger can be used now, what is smaller is given back as transactions end. */
  sharesChanged(): void {
    const now = this.#options.now();
    for (const tenant of this.#byName.values()) for (const lane of tenant.lanes) lane.partChanged();
    for (const backend of this.backends.values()) backend.setShare(this.#budgetOf(backend.name), now);
    this.#pump();
  }

  #budgetOf(server: string): number {
    const { serverBudget } = this.#config;
    if (serverBudget === 0) return Number.POSITIVE_INFINITY;
    return this.#options.shares?.of(budgetKey(server)) ?? serverBudget;
  }

  /** The tenant of a client. */
  of(database: string, user: string, applicationName: string): Tenant {
    const texts = [database, user, applicationName];
    const found = this.#rules.find(({ fits }) => fits.every((one, index) => one.test(texts[index] as string)));
    const tenant = this.#named(found?.rule.name ?? `${database}/${user}`);
    tenant.usedAt = this.#options.now();
    return tenant;
  }

  #named(name: string): Tenant {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= TENANTS_MAX && name !== OTHER && !this.#makeRoom()) return this.#named(OTHER);
    const { metrics, now } = this.#options;
    const hasSeries = this.#measured < METRIC_TENANTS_MAX;
    if (hasSeries) this.#measured += 1;
    const labels = { tenant: hasSeries ? name : OTHER };
    const tenant = new Tenant({
      name,
      limits: this.#limitsOf(name),
      querySeconds: metrics.histogram(PROXY_TENANT_QUERY_SECONDS, labels),
      waitSeconds: metrics.histogram(PROXY_TENANT_WAIT_SECONDS, labels),
      now: now(),
      poolPart: (lane, total) => this.#options.shares?.of(poolKey(lane)) ?? total,
      workers: this.#options.workers,
    });
    this.#byName.set(name, tenant);
    this.#options.shares?.add(clientsKey(name), {
      total: () => tenant.limits.maxConnections,
      used: () => tenant.clients,
      wanted: () => tenant.clients + tenant.knocking,
    });
    if (hasSeries) {
      const sum = (of: (lane: Lane) => number): number => tenant.lanes.reduce((total, lane) => total + of(lane), 0);
      metrics.gaugeOf(PROXY_TENANT_IN_FLIGHT, labels, () => sum((lane) => lane.open));
      metrics.gaugeOf(PROXY_TENANT_WAITING, labels, () => sum((lane) => lane.queue.length));
      metrics.gaugeOf(PROXY_TENANT_LIMIT, labels, () => sum((lane) => Math.floor(lane.limit)));
    }
    return tenant;
  }

  #makeRoom(): boolean {
    let oldest: Tenant | null = null;
    for (const tenant of this.#byName.values()) {
      const isNeeded = tenant.clients > 0 || tenant.lanes.some((lane) => lane.open + lane.queue.length > 0);
      const isRule = this.#rules.some(({ rule }) => rule.name === tenant.name);
      if (!isNeeded && !isRule && (oldest === null || tenant.usedAt < oldest.usedAt)) oldest = tenant;
    }
    if (oldest === null) return false;
    this.#byName.delete(oldest.name);
    for (const lane of oldest.lanes) lane.backend.forget(lane);
    return true;
  }

  #limitsOf(name: string): TenantLimits {
    const rule = this.#config.rules.find((one) => one.name === name);
    const fromRule = Object.entries(rule?.limits ?? {}).filter(([, value]) => value !== null);
    return { ...this.#config.limits, ...Object.fromEntries(fromRule), ...this.#said.get(name) };
  }

  /** `SET tenant.NAME.KEY = VALUE`, or DEFAULT. Throws a Fault. */
  set(name: string, key: string, value: string): void {
    settingOf(key);
    if (!this.#byName.has(name)) {
      // Another worker may know it.
      if (this.#options.shares !== null) this.remember(name, key, value);
      throw new Fault('tenant-unknown', {
        message: `no such tenant: ${name}`,
        hint: 'SHOW TENANTS tells the names; without a rule it is database/user',
        sqlstate: '42704',
      });
    }
    this.remember(name, key, value);
  }

  /** The same for a tenant that is not known here, or not yet: another worker was told of it. Throws a Fault. */
  remember(name: string, key: string, value: string): void {
    const setting = settingOf(key);
    if (!this.#said.has(name) && this.#said.size >= TENANTS_MAX) return;
    const { [setting]: _before, ...others } = this.#said.get(name) ?? {};
    if (/^default$/i.test(value)) this.#said.set(name, others);
    else this.#said.set(name, { ...others, [setting]: valueOf(key, setting, value) });
    this.#byName.get(name)?.configure(this.#limitsOf(name), this.#options.now());
    this.#pump();
  }

  /** The server that pools of one place go to. */
  backend(name: string): Backend {
    let backend = this.backends.get(name);
    if (backend === undefined) {
      const { now, after, waitTimeoutMs } = this.#options;
      backend = new Backend({
        name,
        budget: this.#budgetOf(name),
        starved: (lane) => {
          const { shares } = this.#options;
          if (shares === null) return;
          shares.moved(budgetKey(name));
          if (lane.tenant.limits.poolSize > 0) shares.moved(poolKey(lane));
        },
        now,
        after,
        waitTimeoutMs,
        changed: (lane, from, to, reason, at) => this.#changed(lane, { from, to, reason, at }),
      });
      this.backends.set(name, backend);
      const added = backend;
      this.#options.shares?.add(budgetKey(name), {
        total: () => this.#config.serverBudget,
        used: () => added.open,
        wanted: () => added.demand(now()).wanted,
      });
    }
    return backend;
  }

  lane(tenant: Tenant, backend: Backend): Lane {
    const known = tenant.lanes.find((lane) => lane.backend === backend);
    if (known !== undefined) return known;
    const { random, describe, now } = this.#options;
    const lane = new Lane({ tenant, backend, random, describe, now: now() });
    tenant.lanes.push(lane);
    backend.lanes.add(lane);
    this.#options.shares?.add(poolKey(lane), {
      total: () => tenant.limits.poolSize,
      used: () => lane.open,
      wanted: () => lane.open + lane.queue.length,
    });
    lane.configure();
    return lane;
  }

  /** Whether a client more may be let in. */
  hasRoom(tenant: Tenant): boolean {
    const { maxConnections } = tenant.limits;
    if (maxConnections === 0) return true;
    return tenant.clients < (this.#options.shares?.of(clientsKey(tenant.name)) ?? maxConnections);
  }

  /** A client waits for another worker to give some of `max_connections` up. */
  knocks(tenant: Tenant, by: 1 | -1): void {
    tenant.knocking += by;
    this.#options.shares?.moved(clientsKey(tenant.name));
  }

  /** Three times a second. */
  tick(now: number): void {
    const workers = this.#options.workers();
    if (workers !== this.#workers) {
      this.#workers = workers;
      for (const tenant of this.#byName.values()) tenant.configure(tenant.limits, now);
    }
    for (const backend of this.backends.values()) backend.tick(now);
  }

  #pump(): void {
    const now = this.#options.now();
    for (const backend of this.backends.values()) backend.pump(now);
  }

  #changed(lane: Lane, change: Omit<LimitChange, 'tenant' | 'server'>): void {
    if (this.history.length >= HISTORY_MAX) this.history.shift();
    const full = { ...change, tenant: lane.tenant.name, server: lane.backend.name };
    this.history.push(full);
    this.#options.log.debug('proxy.tenant-limit', {
      tenant: full.tenant,
      server: full.server,
      from: full.from,
      to: full.to,
      message: full.reason,
    });
  }

  /** A row for each tenant on each server that it has used. */
  snapshot(): TenantSnapshot[] {
    const now = this.#options.now();
    const rows: TenantSnapshot[] = [];
    for (const tenant of this.#byName.values()) {
      if (tenant.lanes.length === 0) rows.push(rowOf(tenant, null, now));
      // Counts of the tenant stand in its first row only, so that adding up rows is right.
      tenant.lanes.forEach((lane, index) => rows.push(rowOf(tenant, lane, now, index === 0)));
    }
    return rows;
  }
}

function rowOf(tenant: Tenant, lane: Lane | null, now: number, isFirst = true): TenantSnapshot {
  const oldest = lane?.queue.oldest() ?? null;
  const once = (value: number): number => (isFirst ? value : 0);
  return {
    tenant: tenant.name,
    server: lane?.backend.name ?? '',
    algorithm: tenant.limits.algorithm,
    limit: lane === null || tenant.limits.algorithm === 'off' ? 0 : Math.floor(lane.limit),
    limitMax: lane?.limitMax ?? 0,
    share: lane?.backend.isBounded === true ? lane.share : 0,
    inFlight: lane?.open ?? 0,
    busy: lane?.busy ?? 0,
    waiting: lane?.queue.length ?? 0,
    longestWaitMs: oldest === null ? 0 : now - oldest.waitingSince,
    load: lane?.load ?? 0,
    baselineMs: lane?.lastExpectedMs ?? 0,
    roundTripMs: lane?.lastMs ?? 0,
    clients: once(tenant.clients),
    queries: once(tenant.queries),
    queryMs: once(tenant.queryMs),
    waits: once(tenant.waits),
    waitMs: once(tenant.waitMs),
    refusals: once(tenant.refusals),
    limits: tenant.limits,
    reason: reasonOf(lane),
    reasonAt: lane?.reasonAt ?? now,
  };
}

const budgetKey = (server: string): string => `budget:${server}`;
const clientsKey = (tenant: string): string => `tenant clients:${tenant}`;
const poolKey = (lane: Lane): string => `tenant pool:${lane.tenant.name}\0${lane.backend.name}`;

function settingOf(key: string): keyof TenantLimits {
  const setting = SETTINGS[key.toLowerCase()];
  if (setting !== undefined) return setting;
  throw new Fault('option-unknown', {
    message: `a tenant has no setting "${key}"`,
    hint: `SET tenant.NAME.(${Object.keys(SETTINGS).join(' | ')}) = VALUE | DEFAULT`,
    sqlstate: '22023',
  });
}

function reasonOf(lane: Lane | null): string {
  if (lane === null) return 'it has run nothing yet';
  return lane.probing ? 'a probe: one at a time for a moment, to see how long statements take alone' : lane.reason;
}

const EVERYTHING = /^/;

function pattern(text: string): RegExp {
  if (text === '' || text === '*') return EVERYTHING;
  const escaped = text.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
}

function valueOf(key: string, setting: keyof TenantLimits, value: string): number | Algorithm {
  if (setting === 'algorithm') {
    const found = ALGORITHMS.find((one) => one === value.toLowerCase());
    if (found !== undefined) return found;
  } else {
    const number = Number(value);
    const least = setting === 'weight' || setting === 'maxWaiting' ? 1 : 0;
    const isWhole = setting === 'qps' || Number.isInteger(number);
    if (value !== '' && isWhole && number >= least && number <= 1_000_000) return number;
  }
  throw new Fault('option-invalid', {
    message: `invalid value for "${key}": ${value}`,
    hint: setting === 'algorithm' ? ALGORITHMS.join(' | ') : 'a number, 0 for no limit, or DEFAULT',
    sqlstate: '22023',
  });
}
