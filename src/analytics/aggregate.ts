// What is kept of many events: counts by zone and minute, mergeable in any order and number of steps, so that minutes make hours and
// hours make days.

import { DIMENSIONS, type Dimension, type HttpEvent } from './event.ts';
import { Hll } from './hll.ts';
import { type Hash64, murmur64 } from './murmur.ts';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** Upper bounds of the latency histogram in ms; one more bucket is for what is beyond. */
export const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000] as const;

/** Distinct keys of one dimension in one aggregate; further ones count as `OTHER`, so that a flood of made-up values stays small. */
const KEYS_MAX = 1000;

/** Where keys beyond the bound are counted. */
export const OTHER = '(other)';

const encoder = new TextEncoder();
const hash: Hash64 = { high: 0, low: 0 };

export class Aggregate {
  requests = 0;
  bytes = 0;
  cached = 0;
  threats = 0;
  readonly latency = new Float64Array(LATENCY_BOUNDS_MS.length + 1);
  readonly visitors = new Hll();
  readonly counters: Readonly<Record<Dimension, Map<string, number>>> = {
    country: new Map(),
    status: new Map(),
    colo: new Map(),
    method: new Map(),
    content_type: new Map(),
  };

  add(event: HttpEvent): void {
    this.requests += 1;
    this.bytes += event.bytes;
    if (event.cached) this.cached += 1;
    if (event.threat) this.threats += 1;
    if (event.latencyMs !== null) {
      const bucket = latencyBucket(event.latencyMs);
      this.latency[bucket] = (this.latency[bucket] as number) + 1;
    }
    if (event.client !== '') {
      murmur64(encoder.encode(event.client), hash);
      this.visitors.add(hash);
    }
    const { counters } = this;
    count(counters.country, event.country, 1);
    count(counters.status, String(event.status), 1);
    count(counters.colo, event.colo, 1);
    count(counters.method, event.method, 1);
    count(counters.content_type, event.contentType, 1);
  }

  merge(other: Aggregate): void {
    this.requests += other.requests;
    this.bytes += other.bytes;
    this.cached += other.cached;
    this.threats += other.threats;
    other.latency.forEach((value, index) => {
      this.latency[index] = (this.latency[index] as number) + value;
    });
    this.visitors.merge(other.visitors);
    for (const dimension of DIMENSIONS) {
      for (const [key, value] of other.counters[dimension]) count(this.counters[dimension], key, value);
    }
  }
}

function count(counter: Map<string, number>, key: string, by: number): void {
  if (key === '') return;
  const before = counter.get(key);
  if (before === undefined && counter.size >= KEYS_MAX && key !== OTHER) count(counter, OTHER, by);
  else counter.set(key, (before ?? 0) + by);
}

function latencyBucket(latencyMs: number): number {
  let index = 0;
  while (index < LATENCY_BOUNDS_MS.length && latencyMs > (LATENCY_BOUNDS_MS[index] as number)) index += 1;
  return index;
}

/** A latency that this part of the requests stayed below, interpolated within its bucket; null without measurements. */
export function latencyQuantile(latency: ArrayLike<number>, part: number): number | null {
  let total = 0;
  for (let index = 0; index < latency.length; index += 1) total += latency[index] as number;
  if (total === 0) return null;
  let below = 0;
  for (let index = 0; index < latency.length; index += 1) {
    const here = latency[index] as number;
    if (below + here >= part * total && here > 0) {
      const from = index === 0 ? 0 : (LATENCY_BOUNDS_MS[index - 1] as number);
      // Beyond the last bound nothing more is known.
      const to = LATENCY_BOUNDS_MS[index] ?? from;
      return from + ((part * total - below) / here) * (to - from);
    }
    below += here;
  }
  return LATENCY_BOUNDS_MS.at(-1) ?? null;
}

export interface Partial {
  readonly zone: string;
  /** Beginning of the bucket, ms since the epoch. */
  readonly atMs: number;
  readonly aggregate: Aggregate;
}

/** Events of any order into minutes. */
export class MinuteAggregator {
  #groups = new Map<string, Map<number, Aggregate>>();
  #size = 0;

  /** Aggregates held. */
  get size(): number {
    return this.#size;
  }

  add(event: HttpEvent): void {
    let minutes = this.#groups.get(event.zone);
    if (minutes === undefined) {
      minutes = new Map();
      this.#groups.set(event.zone, minutes);
    }
    const minute = Math.floor(event.atMs / MINUTE_MS);
    let aggregate = minutes.get(minute);
    if (aggregate === undefined) {
      aggregate = new Aggregate();
      minutes.set(minute, aggregate);
      this.#size += 1;
    }
    aggregate.add(event);
  }

  /** All that was collected; begins anew. */
  take(): Partial[] {
    const partials: Partial[] = [];
    for (const [zone, minutes] of this.#groups) {
      for (const [minute, aggregate] of minutes) partials.push({ zone, atMs: minute * MINUTE_MS, aggregate });
    }
    this.#groups = new Map();
    this.#size = 0;
    return partials;
  }
}
