// What the parts of a relay share: who they are serving, and from what.

import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { Fault } from '../base/fault.ts';
import type { Log } from '../observe/log.ts';
import type { Epoch } from '../pg/lsn.ts';
import type { Hub } from './hub.ts';
import type { Placements, View } from './placements.ts';
import type { Slots } from './slots.ts';
import type { Outlet, Subscription } from './subscription.ts';

/** There from the first complete copy on; replaced as a whole by the next one. */
export interface RelayFacts {
  readonly hub: Hub;
  readonly epoch: Epoch;
  readonly database: string;
  readonly serverVersionText: string;
  readonly replicaPath: string;
}

export class RelayState {
  readonly deps: { readonly clock: Clock; readonly disk: Disk; readonly log: Log };
  readonly slots: Slots;
  readonly publication: string;
  facts: RelayFacts | null = null;
  readonly placements: Placements;
  /** As whom the relay's own replica comes, which is sent everything whatever the placements. */
  readonly #ownUser: string;
  /** One sentence for people. */
  reason = 'starting';
  /** True while the upstream streams to us. */
  upstreamConnected = false;
  readonly #subscribers = new Map<Subscription, Outlet>();

  constructor(
    deps: { readonly clock: Clock; readonly disk: Disk; readonly log: Log },
    slots: Slots,
    publication: string,
    placements: Placements,
    ownUser: string,
  ) {
    this.deps = deps;
    this.slots = slots;
    this.publication = publication;
    this.placements = placements;
    this.#ownUser = ownUser;
    placements.onAssigned = () => this.#reassign();
  }

  /** What a peer is served from. Null is somebody without a name. Throws Fault `placement-none`, `relay-not-ready`. */
  viewOf(identity: string | null): View {
    const { hub } = this.must();
    return identity === this.#ownUser ? this.placements.everything(hub) : this.placements.viewOf(identity);
  }

  /** Cuts off whoever is sent something that is not his any more. */
  #reassign(): void {
    if (this.facts === null) return;
    for (const [subscription, outlet] of Array.from(this.#subscribers)) {
      let view: View | null = null;
      try {
        view = this.viewOf(subscription.identity);
      } catch (error) {
        outlet.fail(error);
      }
      const isOther = view !== null && (view.hub !== subscription.hub || subscription.sentLsn < view.floor);
      if (view !== null && isOther) outlet.fail(placementChanged(view.placement));
    }
  }

  must(): RelayFacts {
    if (this.facts === null) {
      throw new Fault('relay-not-ready', {
        message: `the relay has nothing to serve yet: ${this.reason}`,
        sqlstate: '57P03',
        retryable: true,
      });
    }
    return this.facts;
  }

  get subscribers(): Iterable<Subscription> {
    return this.#subscribers.keys();
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }

  /** The connection of the subscriber of that name, or null. */
  subscriberNamed(name: string): Outlet | null {
    for (const [subscription, outlet] of this.#subscribers) if (subscription.name === name) return outlet;
    return null;
  }

  subscribed(subscription: Subscription, outlet: Outlet): void {
    this.#subscribers.set(subscription, outlet);
  }

  unsubscribed(subscription: Subscription): void {
    this.#subscribers.delete(subscription);
  }

  /** Ends all subscriptions with a reason that they get to read. */
  disconnectAll(reason: Fault): void {
    // A copy: failing removes entries.
    for (const outlet of Array.from(this.#subscribers.values())) outlet.fail(reason);
  }
}

function placementChanged(placement: string | null): Fault {
  return new Fault('placement-changed', {
    message: `this PoP belongs to ${placement === null ? 'a placement that holds everything' : `placement "${placement}"`} now`,
    hint: 'connect again; a snapshot will be needed',
    sqlstate: '57P01',
    retryable: true,
  });
}
