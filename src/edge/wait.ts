// Waiting for the replica to get somewhere.

import type { Clock } from '../base/clock.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Lsn } from '../pg/lsn.ts';

/** Waits until the feed is at `lsn` or beyond; false when that took longer than `waitMs`. */
export function waitForPosition(feed: ReplicaFeed, clock: Clock, lsn: Lsn, waitMs: number): Promise<boolean> {
  if (feed.current.position >= lsn) return Promise.resolve(true);
  return new Promise((resolve) => {
    const finish = (reached: boolean): void => {
      subscription[Symbol.dispose]();
      timer[Symbol.dispose]();
      resolve(reached);
    };
    const subscription = feed.subscribe((state) => {
      if (state.position >= lsn) finish(true);
    });
    const timer = clock.after(waitMs, () => finish(false));
  });
}
