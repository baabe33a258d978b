// Which segments may go: a pure decision, so that it can be tested by tables and explained by a sentence.

import { formatLsn, type Lsn } from '../../pg/lsn.ts';

export interface RetentionSegment {
  readonly startLsn: Lsn;
  readonly endLsn: Lsn;
  /** Bytes on disk, with the big transactions it refers to. */
  readonly bytes: number;
}

export interface RetentionNeeds {
  /** Durable position of the relay's own replica: what is after it must stay, whatever it costs. */
  readonly replica: Lsn;
  /** Slowest confirmed position of the known subscribers; null when there is none. */
  readonly subscribers: Lsn | null;
}

export interface RetentionLimits {
  /** Kept even when nobody needs it, so that a new or lost subscriber finds its place. */
  readonly bytesMin: number;
  /** Above it the log no longer waits for subscribers: they come back through a snapshot. */
  readonly bytesMax: number;
}

export interface RetentionPlan {
  /** How many of the oldest segments go. */
  readonly drop: number;
  /** The log's new beginning, when something goes. */
  readonly startLsn: Lsn | null;
  readonly sentence: string;
}

/** `segments` from old to new; the last one is being written and always stays. */
export function planRetention(
  segments: readonly RetentionSegment[],
  needs: RetentionNeeds,
  limits: RetentionLimits,
): RetentionPlan {
  let total = 0;
  for (const segment of segments) total += segment.bytes;
  let drop = 0;
  let overriding = false;
  while (drop < segments.length - 1) {
    const segment = segments[drop] as RetentionSegment;
    if (segment.endLsn > needs.replica || total <= limits.bytesMin) break;
    const wanted = needs.subscribers !== null && segment.endLsn > needs.subscribers;
    if (wanted && total <= limits.bytesMax) break;
    overriding ||= wanted;
    total -= segment.bytes;
    drop += 1;
  }
  if (drop === 0) return { drop, startLsn: null, sentence: 'every segment is still wanted' };
  const startLsn = (segments[drop] as RetentionSegment).startLsn;
  const why = overriding
    ? `over ${limits.bytesMax} bytes: a subscriber at ${formatLsn(needs.subscribers ?? 0n)} will need a snapshot`
    : 'nobody known needs them';
  return { drop, startLsn, sentence: `the log now begins at ${formatLsn(startLsn)}; ${drop} segment(s) went, ${why}` };
}
