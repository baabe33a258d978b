// A tenant: whoever shares one set of limits. By default each (database, user) is one; a rule of the configuration may put
// others together or take some apart, e.g. by application_name.

import type { Fault } from '../../base/fault.ts';
import type { Histogram } from '../../observe/metrics.ts';
import { tenantOverdue, tenantQueueFull } from '../faults.ts';
import type { Algorithm } from './concurrency-limit.ts';
import type { Lane } from './lane.ts';
import { TokenBucket } from './token-bucket.ts';

export interface TenantLimits {
  /** Clients at once; 0 = no limit. */
  readonly maxConnections: number;
  /** Server connections in use at once, on each server; 0 = the size of its pools. */
  readonly poolSize: number;
  /** Queries per second; 0 = no limit. */
  readonly qps: number;
  /** Clients that may wait for permission, on each server. */
  readonly maxWaiting: number;
  /** When the server's budget is short: one with weight 2 gets twice as much. */
  readonly weight: number;
  readonly algorithm: Algorithm;
}

/** Databases and users of one tenant whose pool sizes count towards its limit; further ones share what these have. */
const PAIRS_MAX = 64;

export class Tenant {
  readonly name: string;
  limits: TenantLimits;
  bucket: TokenBucket | null = null;
  clients = 0;
  /** Logins that wait for another worker to give room up. */
  knocking = 0;
  queries = 0;
  queryMs = 0;
  waits = 0;
  waitMs = 0;
  /** Told 53300 or 53400. */
  refusals = 0;
  usedAt: number;
  readonly lanes: Lane[] = [];
  readonly querySeconds: Histogram;
  readonly waitSeconds: Histogram;
  readonly #poolPart: (lane: Lane, total: number) => number;
  readonly #workers: () => number;
  readonly #pairs = new Map<string, () => number>();

  constructor(options: {
    readonly name: string;
    readonly limits: TenantLimits;
    readonly querySeconds: Histogram;
    readonly waitSeconds: Histogram;
    readonly now: number;
    /** This process' part of a pool_size, and of anything else. */
    readonly poolPart: (lane: Lane, total: number) => number;
    readonly workers: () => number;
  }) {
    this.#poolPart = options.poolPart;
    this.#workers = options.workers;
    this.name = options.name;
    this.limits = options.limits;
    this.querySeconds = options.querySeconds;
    this.waitSeconds = options.waitSeconds;
    this.usedAt = options.now;
    this.configure(options.limits, options.now);
  }

  configure(limits: TenantLimits, now: number): void {
    this.limits = limits;
    // The kernel spreads clients evenly over the workers.
    const perSecond = limits.qps / this.#workers();
    if (limits.qps === 0) this.bucket = null;
    else if (this.bucket?.perSecond !== perSecond) this.bucket = new TokenBucket(perSecond, now);
    for (const lane of this.lanes) lane.configure();
  }

  partOf(lane: Lane, poolSize: number): number {
    return this.#poolPart(lane, poolSize);
  }

  /** Its clients use this pool; `size` says how large it may be. */
  uses(pool: string, size: () => number): void {
    if (this.#pairs.size < PAIRS_MAX) this.#pairs.set(pool, size);
  }

  /** Server connections that its pools allow on one server. */
  sizeOf(): number {
    let size = 0;
    for (const one of this.#pairs.values()) size += one();
    return size;
  }

  queryDone(ms: number): void {
    this.queries += 1;
    this.queryMs += ms;
    this.querySeconds.observe(ms / 1000);
  }

  waited(ms: number): void {
    this.waits += 1;
    this.waitMs += ms;
    this.waitSeconds.observe(ms / 1000);
  }

  /** Why one more may not even wait; null when it may. */
  refusal(lane: Lane): Fault | null {
    if (lane.queue.length < this.limits.maxWaiting) return null;
    this.refusals += 1;
    return tenantQueueFull(this.name, this.limits.maxWaiting);
  }

  /** What to tell somebody who has waited too long. */
  overdue(lane: Lane, waitedMs: number): Fault {
    this.refusals += 1;
    const { poolSize, qps } = this.limits;
    if (lane.open >= lane.openMax) {
      return tenantOverdue(this.name, waitedMs, {
        why: `all ${poolSize} server connections of its pool_size are in use`,
        hint: `look for idle transactions, or SET tenant.${this.name}.pool_size on the admin database`,
        isRate: false,
      });
    }
    if (lane.busy >= lane.busyMax) {
      return tenantOverdue(this.name, waitedMs, {
        why: `${lane.busy} of its statements are at work, as many as its limit allows (${lane.reason})`,
        hint: `SHOW TENANTS on the admin database tells why; SET tenant.${this.name}.algorithm = off lets more run`,
        isRate: false,
      });
    }
    if (this.bucket !== null && (!lane.backend.isBounded || lane.backend.hasRoomFor(lane))) {
      return tenantOverdue(this.name, waitedMs, {
        why: `it may start ${qps} queries per second`,
        hint: `send fewer, or SET tenant.${this.name}.qps on the admin database`,
        isRate: true,
      });
    }
    return tenantOverdue(this.name, waitedMs, {
      why: `${lane.backend.open} of ${lane.backend.budget} transactions of the server's budget are under way`,
      hint: 'raise server_budget, or limit those tenants that SHOW TENANTS shows with most in flight',
      isRate: false,
    });
  }
}
