// The connections of an edge to its core: one per client session that forwards, and not more than allowed. When all are
// taken, one that a session has not used for a while and keeps nothing on is given up; that session opens another when it
// needs one.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { ClientSession } from '../session/client-session.ts';

export interface UpstreamPoolOptions {
  readonly countMax: number;
  /** A connection used within this time is not given up: its session may just think. */
  readonly idleMsMin: number;
  /** Opens one with these startup parameters. */
  readonly connect: (startup: Readonly<Record<string, string>>) => Promise<ClientSession>;
}

/** A session's end of its connection. */
export interface PoolMember {
  /** Gives the connection up if nothing of the session lives on it; false when it keeps it. */
  release(): Promise<boolean>;
}

interface Place {
  usedAtMs: number;
  /** Frees the place, once. */
  readonly free: () => void;
}

export class UpstreamPool {
  readonly #clock: Clock;
  readonly #options: UpstreamPoolOptions;
  /** In the order of their last use. */
  readonly #places = new Map<PoolMember, Place>();
  #count = 0;

  constructor(clock: Clock, options: UpstreamPoolOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  get count(): number {
    return this.#count;
  }

  /** Rejects with Fault `too-many-connections` (53300), or with what opening the connection says. */
  async open(startup: Readonly<Record<string, string>>, member: PoolMember): Promise<ClientSession> {
    while (this.#count >= this.#options.countMax) {
      if (!(await this.#makeRoom())) throw this.#full();
    }
    this.#count += 1;
    let isFree = false;
    const free = (): void => {
      if (isFree) return;
      isFree = true;
      this.#count -= 1;
      if (this.#places.get(member)?.free === free) this.#places.delete(member);
    };
    try {
      const session = freeingAtItsEnd(await this.#options.connect(startup), free);
      this.#places.set(member, { usedAtMs: this.#clock.now(), free });
      return session;
    } catch (error) {
      free();
      throw error;
    }
  }

  /** The member's connection was used just now. */
  used(member: PoolMember): void {
    const place = this.#places.get(member);
    if (place === undefined) return;
    place.usedAtMs = this.#clock.now();
    // A Map keeps the order of insertion.
    this.#places.delete(member);
    this.#places.set(member, place);
  }

  async #makeRoom(): Promise<boolean> {
    const usedBefore = this.#clock.now() - this.#options.idleMsMin;
    for (const [member, place] of this.#places) {
      if (place.usedAtMs > usedBefore) return false;
      if (!(await member.release())) continue;
      place.free();
      return true;
    }
    return false;
  }

  #full(): Fault {
    return new Fault('too-many-connections', {
      message: `all ${this.#options.countMax} connections of this edge to the core are taken`,
      hint: 'statements that this edge answers itself go on; close sessions that write, or raise forwardConnectionsMax',
      sqlstate: '53300',
      retryable: true,
    });
  }
}

/** The same session; `free` is called when its connection ends, whoever owns it by then. */
function freeingAtItsEnd(session: ClientSession, free: () => void): ClientSession {
  session.events = { closed: free };
  const raw = session.raw.bind(session);
  session.raw = (handler) =>
    raw({
      frame: (type, buffer, start, end) => handler.frame(type, buffer, start, end),
      flush: () => handler.flush?.(),
      drain: () => handler.drain?.(),
      closed: (error) => {
        free();
        handler.closed(error);
      },
    });
  return session;
}
