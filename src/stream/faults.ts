// Faults of the stream, each with what an operator should know. Codes are stable.

import { Fault } from '../base/fault.ts';
import { type Epoch, formatLsn, type Lsn } from '../pg/lsn.ts';

/** A subscriber asked for a position older than the log keeps. It must take a snapshot; nothing was skipped silently. */
export function positionNotInLog(asked: Lsn, start: Lsn): Fault {
  return new Fault('position-not-in-log', {
    message: `position ${formatLsn(asked)} is no longer in the relay's log, which begins at ${formatLsn(start)}`,
    hint: "take a snapshot from this relay's HTTP port and go on from there, or raise relay.log_bytes_max",
    sqlstate: '58P01',
  });
}

/** What a subscriber has is not what it is to be sent from now on. */
export function otherPlacement(has: string, needs: string): Fault {
  const name = (history: string): string => (history === '' ? 'everything' : `placement ${history}`);
  return new Fault('placement-changed', {
    message: `the subscriber holds ${name(has)} and is to hold ${name(needs)}`,
    hint: "take a snapshot from this relay's HTTP port and go on from there",
    sqlstate: '58P01',
  });
}

/** A subscriber says it has more than its upstream ever had: its state belongs to another history. */
export function positionAhead(asked: Lsn, end: Lsn): Fault {
  return new Fault('position-ahead', {
    message: `position ${formatLsn(asked)} is ahead of this relay, which has everything up to ${formatLsn(end)}`,
    hint: 'the subscriber followed another history; take a new snapshot',
    sqlstate: '22023',
  });
}

/** A subscriber is ahead, and so is our upstream for all we know: it does not answer. */
export function relayBehind(asked: Lsn, end: Lsn): Fault {
  return new Fault('relay-behind', {
    message: `this relay is at ${formatLsn(end)}, behind ${formatLsn(asked)}, and its own upstream is away`,
    hint: 'it catches up when its upstream is back; try again',
    sqlstate: '57P03',
    retryable: true,
  });
}

/** The upstream's history is not the one that was followed so far. */
export function epochChanged(stored: Epoch, seen: Epoch): Fault {
  return new Fault('epoch-changed', {
    message: `the upstream is now ${seen.systemId}/${seen.timeline}, the stored position is of ${stored.systemId}/${stored.timeline}`,
    hint: 'a new snapshot is taken',
    sqlstate: '55000',
  });
}

/** The log on disk contradicts itself (not a torn tail, which is repaired). */
export function logDamaged(path: string, reason: string): Fault {
  return new Fault('log-damaged', {
    message: `the relay log is damaged: ${path}: ${reason}`,
    hint: 'the relay takes a new copy of its upstream; check the disk',
    sqlstate: 'XX001',
  });
}
