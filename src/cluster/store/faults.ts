// Faults of the store.

import { Fault } from '../../base/fault.ts';

/** A watch asks for changes that were compacted away. */
export function storeHistoryLost(revision: number): Fault {
  return new Fault('store-history-lost', {
    message: `the store no longer keeps the changes after revision ${revision}`,
    hint: 'list the keys and watch on from there',
    retryable: true,
  });
}
