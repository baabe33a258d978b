// Which set of standbys must confirm a commit, and how to go from one set to another without a moment in which a node could be promoted
// that lacks an acknowledged commit. Pure.
//
// Two settings matter: the one in force in Postgres (what a commit waits for) and the one published in the store (who may be promoted).
// Publishing (names, count) promises: of any `names.length - count + 1` of these nodes, at least one has every acknowledged commit.

import { assert } from '../base/assert.ts';

/** `ANY count (names)`; `NO_QUORUM` is asynchronous replication, and published it means that nobody may be promoted. */
export interface Quorum {
  /** Sorted, without repetition. */
  readonly names: readonly string[];
  /** 0 exactly when there are no names. */
  readonly count: number;
}

export const NO_QUORUM: Quorum = { names: [], count: 0 };

export function quorum(names: Iterable<string>, count: number): Quorum {
  const sorted = [...new Set(names)].sort();
  assert(count <= sorted.length && (count > 0 || sorted.length === 0), `no quorum: ${count} of ${sorted.join(', ')}`);
  return { names: sorted, count };
}

export function sameQuorum(a: Quorum, b: Quorum): boolean {
  return a.count === b.count && a.names.length === b.names.length && a.names.every((name, at) => name === b.names[at]);
}

/** How many of the published nodes must take part in an election, so that each acknowledged commit is among what they have. */
export function electorsNeeded(published: Quorum): number {
  return published.names.length - published.count + 1;
}

/** True when each commit that `inForce` lets through is promised by `published`: every set that may confirm holds `count` published nodes. */
export function covers(inForce: Quorum, published: Quorum): boolean {
  if (published.count === 0) return true;
  const strangers = inForce.names.filter((name) => !published.names.includes(name)).length;
  return inForce.count - strangers >= published.count;
}

/** The text for `synchronous_standby_names`. Names are always explicit, never `*`. */
export function standbyNames(inForce: Quorum): string {
  if (inForce.count === 0) return '';
  return `ANY ${inForce.count} (${inForce.names.map((name) => `"${name.replaceAll('"', '""')}"`).join(', ')})`;
}

export interface QuorumSituation {
  /** What Postgres waits for, as it said itself. */
  readonly inForce: Quorum;
  readonly published: Quorum;
  /** Where this is to end. */
  readonly wanted: Quorum;
  /** Nodes that confirm at the moment. */
  readonly streaming: ReadonlySet<string>;
  /** Nodes that have all that was written before `inForce` took effect. */
  readonly complete: ReadonlySet<string>;
}

/** One step: tell Postgres to wait for `quorum`, or publish it. Null: arrived, or nothing can be done yet. */
export type QuorumStep =
  | { readonly tag: 'force'; readonly quorum: Quorum }
  | { readonly tag: 'publish'; readonly quorum: Quorum };

/**
 * The next step from what is to what is wanted. Strengthening is written to Postgres first and published after; weakening is published
 * first and written to Postgres after. After each step `covers(inForce, published)` holds; a test walks all small cases.
 */
export function nextQuorumStep(situation: QuorumSituation): QuorumStep | null {
  const { inForce, published, wanted, streaming, complete } = situation;
  if (!sameQuorum(published, wanted) && covers(inForce, wanted) && isComplete(wanted, complete)) {
    return { tag: 'publish', quorum: wanted };
  }
  if (sameQuorum(inForce, wanted)) return null;
  if (covers(wanted, published)) return { tag: 'force', quorum: wanted };
  // Both at once: commits wait for enough of either, so that each set alone could be published.
  const both = [...published.names, ...wanted.names];
  const newcomers = wanted.names.filter((name) => !published.names.includes(name)).length;
  const leavers = published.names.filter((name) => !wanted.names.includes(name)).length;
  const joint = quorum(both, Math.max(published.count + newcomers, wanted.count + leavers));
  if (joint.names.filter((name) => streaming.has(name)).length >= joint.count && covers(joint, published)) {
    return sameQuorum(joint, inForce) ? null : { tag: 'force', quorum: joint };
  }
  // Somebody is gone for whom commits would wait for ever: first a promotion needs more of them, then Postgres waits for fewer.
  const count = Math.min(inForce.count, published.count, wanted.count);
  const loose = count === 0 ? NO_QUORUM : quorum([...both, ...inForce.names], count);
  return sameQuorum(loose, published) ? null : { tag: 'publish', quorum: loose };
}

/** True when at least `count` of the names have everything from before. */
function isComplete(wanted: Quorum, complete: ReadonlySet<string>): boolean {
  return wanted.names.filter((name) => complete.has(name)).length >= wanted.count;
}
