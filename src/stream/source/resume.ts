// May the stream go on where it stopped? A pure decision, made before START_REPLICATION, which would start later than asked
// without a word (at max(asked, confirmed_flush_lsn)): a gap that nobody would notice.

import { type Epoch, formatLsn, type Lsn, type Position } from '../../pg/lsn.ts';
import { switchPoint } from '../upstream.ts';

/** What the core says about our slot; null when there is none. */
export interface ObservedSlot {
  readonly plugin: string;
  readonly database: string;
  readonly confirmedLsn: Lsn | null;
  /** reserved, extended, unreserved, lost. */
  readonly walStatus: string;
  /** pg_replication_slots.invalidation_reason (17+), else null. */
  readonly invalidation: string | null;
  /** PID of the walsender that uses it, or null. */
  readonly activePid: number | null;
  /** True when the slot was copied from a primary and cannot be trusted yet (17+). */
  readonly temporary: boolean;
}

export interface ObservedCore {
  readonly epoch: Epoch;
  readonly flushLsn: Lsn;
  readonly database: string;
  /** History of the core's timeline. */
  readonly timelineHistory: string;
  readonly slot: ObservedSlot | null;
  /** What the publication sends, as a digest; differs when the publication was changed while nobody listened. */
  readonly publication: string | null;
}

export interface Stored {
  readonly position: Position;
  /** The digest at the time of the copy, changed by what came through the stream since. */
  readonly publication: string | null;
}

export type Resume =
  | { readonly tag: 'resume'; readonly sentence: string }
  /** The same, on a new timeline that continues the history up to our position. */
  | { readonly tag: 'follow'; readonly epoch: Epoch; readonly sentence: string }
  | { readonly tag: 'copy'; readonly sentence: string }
  /** Somebody else uses the slot: wait. */
  | { readonly tag: 'wait'; readonly sentence: string };

/** `stored` is null when nothing was copied yet. */
export function decideResume(stored: Stored | null, core: ObservedCore): Resume {
  if (stored === null) return { tag: 'copy', sentence: 'there is no copy of the core yet' };
  const { position } = stored;
  const at = formatLsn(position.lsn);
  if (core.epoch.systemId !== position.epoch.systemId) {
    return copy(`the core is another cluster (system ${core.epoch.systemId} instead of ${position.epoch.systemId})`);
  }
  let follow = false;
  if (core.epoch.timeline !== position.epoch.timeline) {
    if (core.epoch.timeline < position.epoch.timeline) {
      return copy(`the core went back from timeline ${position.epoch.timeline} to ${core.epoch.timeline}`);
    }
    const left = switchPoint(core.timelineHistory, position.epoch.timeline);
    if (left === null) {
      return copy(`timeline ${core.epoch.timeline} of the core does not descend from ${position.epoch.timeline}`);
    }
    if (position.lsn > left) {
      return copy(
        `the core failed over at ${formatLsn(left)}, but we have commits up to ${at} that it lost; they are undone by a new copy`,
      );
    }
    follow = true;
  }
  if (core.flushLsn < position.lsn) {
    return copy(`the core is at ${formatLsn(core.flushLsn)}, behind our ${at}: it was restored from an older state`);
  }
  const { slot } = core;
  if (slot === null) return copy('the replication slot is gone; what was committed since cannot be read any more');
  if (slot.plugin !== 'pgoutput' || slot.database !== core.database) {
    return copy(`the replication slot belongs to ${slot.plugin} in database ${slot.database}`);
  }
  if (slot.walStatus === 'lost' || slot.invalidation !== null) {
    return copy(
      `the replication slot is lost (${slot.invalidation ?? 'wal_removed'}): the core removed what was not yet read; consider a larger max_slot_wal_keep_size`,
    );
  }
  if (slot.confirmedLsn === null) return copy('the replication slot was never completed');
  if (slot.confirmedLsn > position.lsn) {
    return copy(
      `the replication slot stands at ${formatLsn(slot.confirmedLsn)}, after our ${at}: it was recreated or read by somebody else`,
    );
  }
  if (stored.publication !== null && core.publication !== stored.publication) {
    return copy('the publication was changed while nobody listened');
  }
  if (slot.activePid !== null) {
    return { tag: 'wait', sentence: `the replication slot is in use by process ${slot.activePid}` };
  }
  if (follow) {
    return {
      tag: 'follow',
      epoch: core.epoch,
      sentence: `the core is on timeline ${core.epoch.timeline} now, which contains our ${at}: going on`,
    };
  }
  return { tag: 'resume', sentence: `going on after ${at}` };
}

function copy(sentence: string): Resume {
  return { tag: 'copy', sentence };
}
