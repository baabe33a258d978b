// The embedded store as a state machine: no I/O, no clock of its own. embedded-server.ts serves it over HTTP, the simulator uses it as
// its model of etcd.

import { assert } from '../../base/assert.ts';
import { storeHistoryLost } from './faults.ts';
import type { Change, Condition, Entry, KeyEvent, LeaseId } from './store.ts';

/** Changes kept for watches; a watcher that is further behind lists again. */
const EVENTS_MAX = 10_000;

export interface StoreSnapshot {
  readonly revision: number;
  readonly leaseNumber: number;
  readonly entries: readonly (Entry & { readonly lease?: LeaseId })[];
  readonly leases: readonly { readonly id: LeaseId; readonly ttlMs: number }[];
}

interface Lease {
  readonly ttlMs: number;
  untilMs: number;
  readonly keys: Set<string>;
}

export class StoreCore {
  readonly #entries = new Map<string, Entry & { readonly lease?: LeaseId }>();
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #events: KeyEvent[] = [];
  #eventsFrom: number;
  #revision: number;
  #leaseNumber: number;

  /** After a restart each lease lives for its whole time again: longer than promised, never shorter. */
  constructor(nowMs: number, snapshot?: StoreSnapshot) {
    this.#revision = snapshot?.revision ?? 0;
    this.#eventsFrom = this.#revision;
    this.#leaseNumber = snapshot?.leaseNumber ?? 0;
    for (const { id, ttlMs } of snapshot?.leases ?? []) {
      this.#leases.set(id, { ttlMs, untilMs: nowMs + ttlMs, keys: new Set() });
    }
    for (const entry of snapshot?.entries ?? []) {
      this.#entries.set(entry.key, entry);
      if (entry.lease !== undefined) this.#leases.get(entry.lease)?.keys.add(entry.key);
    }
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: string): Entry | null {
    return this.#entries.get(key) ?? null;
  }

  list(prefix: string): readonly Entry[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** The new revision; null when a condition does not hold, or a lease has ended: then nothing is changed. */
  write(conditions: readonly Condition[], changes: readonly Change[]): number | null {
    if (conditions.some(({ key, revision }) => (this.#entries.get(key)?.revision ?? 0) !== revision)) return null;
    if (
      changes.some((change) => change.tag === 'put' && change.lease !== undefined && !this.#leases.has(change.lease))
    ) {
      return null;
    }
    this.#revision += 1;
    for (const change of changes) this.#change(change);
    return this.#revision;
  }

  grantLease(ttlMs: number, nowMs: number): LeaseId {
    this.#leaseNumber += 1;
    const id = String(this.#leaseNumber);
    this.#leases.set(id, { ttlMs, untilMs: nowMs + ttlMs, keys: new Set() });
    return id;
  }

  keepAlive(id: LeaseId, nowMs: number): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    lease.untilMs = nowMs + lease.ttlMs;
    return true;
  }

  revokeLease(id: LeaseId): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    if (lease.keys.size === 0) return;
    this.#revision += 1;
    for (const key of lease.keys) this.#change({ tag: 'delete', key });
  }

  /** Ends the leases that are over. Null: none is left; else when the next one ends. */
  expire(nowMs: number): number | null {
    for (const [id, lease] of this.#leases) if (lease.untilMs <= nowMs) this.revokeLease(id);
    let next: number | null = null;
    for (const { untilMs } of this.#leases.values()) if (next === null || untilMs < next) next = untilMs;
    return next;
  }

  /** As after an election in etcd: nobody may lose a lease because the store was away. */
  extendLeases(nowMs: number): void {
    for (const lease of this.#leases.values()) lease.untilMs = nowMs + lease.ttlMs;
  }

  /** Throws Fault `store-history-lost`. */
  eventsAfter(prefix: string, revision: number): readonly KeyEvent[] {
    if (revision < this.#eventsFrom) throw storeHistoryLost(revision);
    return this.#events.filter((event) => event.revision > revision && event.key.startsWith(prefix));
  }

  snapshot(): StoreSnapshot {
    return {
      revision: this.#revision,
      leaseNumber: this.#leaseNumber,
      entries: [...this.#entries.values()],
      leases: [...this.#leases].map(([id, { ttlMs }]) => ({ id, ttlMs })),
    };
  }

  #change(change: Change): void {
    const { key } = change;
    const before = this.#entries.get(key);
    if (before?.lease !== undefined) this.#leases.get(before.lease)?.keys.delete(key);
    if (change.tag === 'delete') {
      if (before === undefined) return;
      this.#entries.delete(key);
      this.#remember({ key, value: null, revision: this.#revision });
      return;
    }
    const { value, lease } = change;
    this.#entries.set(key, { key, value, revision: this.#revision, ...(lease === undefined ? {} : { lease }) });
    if (lease !== undefined) {
      const holder = this.#leases.get(lease);
      assert(holder !== undefined, 'a key is put under a lease that does not exist');
      holder.keys.add(key);
    }
    this.#remember({ key, value, revision: this.#revision });
  }

  #remember(event: KeyEvent): void {
    this.#events.push(event);
    if (this.#events.length <= EVENTS_MAX) return;
    const gone = this.#events.splice(0, this.#events.length - EVENTS_MAX / 2);
    this.#eventsFrom = gone.at(-1)?.revision ?? this.#eventsFrom;
  }
}
