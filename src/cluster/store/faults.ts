// Faults of the store. There are few on purpose: whatever is not known to be one of the others is `store-unavailable`, and an
// unavailable store never deposes a primary.

import { describeError, Fault } from '../../base/fault.ts';

/** No answer, or none that can be acted on. What was written may or may not have happened. */
export function storeUnavailable(what: string, cause?: unknown): Fault {
  return new Fault('store-unavailable', {
    message: `the store of the cluster's state ${what}${cause === undefined ? '' : `: ${describeError(cause)}`}`,
    hint: 'running Postgres servers go on; failover and changes wait until it answers',
    sqlstate: '08006',
    retryable: true,
    cause,
  });
}

/** User or password are wrong, or may not do this. */
export function storeRefused(why: string): Fault {
  return new Fault('store-refused', {
    message: `the store refuses this client: ${why}`,
    hint: 'check store user, password and certificate, and the role they have in the store',
    sqlstate: '28000',
  });
}

/** The store answered from a past that this client has already left: a member that was cut off, or a restored backup. */
export function storeStale(what: string): Fault {
  return new Fault('store-stale', {
    message: `the store answered from its past: ${what}`,
    hint: 'a member was cut off or restored from a backup; nothing is decided on what it says',
    sqlstate: '08006',
    retryable: true,
  });
}

/** A watch asks for changes that were compacted away. */
export function storeHistoryLost(revision: number): Fault {
  return new Fault('store-history-lost', {
    message: `the store no longer keeps the changes after revision ${revision}`,
    hint: 'list the keys and watch on from there',
    retryable: true,
  });
}
