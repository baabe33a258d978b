// The names of states that are not an outage and not health. Each is raised at once and cleared late. Pure.

import type { ClusterSpec, ClusterState, Degraded, NodeFacts, Observations } from './model.ts';

/** A name that was raised stays so long at least. */
const DEGRADED_MS_MIN = 5000;

/** The node's facts when they are young enough to be believed. */
export function isFresh(spec: ClusterSpec, seen: Observations, name: string): NodeFacts | null {
  const found = seen.nodes.get(name);
  return found === undefined || found.ageMs > spec.silentMs ? null : found.facts;
}

export function degradedStates(
  spec: ClusterSpec,
  state: ClusterState,
  seen: Observations,
  wallMs: number,
): readonly Degraded[] {
  const raised = new Map<Degraded['name'], string>();
  const primary = state.primary === null ? null : isFresh(spec, seen, state.primary);
  if (spec.nodes.length > 1) {
    if (state.published.count === 0) raised.set('no_sync', 'no standby is known to have all that is acknowledged');
    if (primary?.postgres.state === 'primary' && primary.postgres.standbys.every((one) => one.goneMs !== null)) {
      raised.set('one_copy', `only ${primary.node} has the latest commits`);
    }
  }
  const link = grayLink(spec, seen);
  if (link !== null) raised.set('gray_link', link);
  const cut = spec.nodes.find((name) => isFresh(spec, seen, name) === null && isReached(spec, seen, name));
  const slow = spec.nodes.find((name) => (isFresh(spec, seen, name)?.storeSilentMs ?? 0) > spec.leaseMs / 2);
  if (cut !== undefined) raised.set('store_readonly', `${cut} is reached by its peers and does not reach the store`);
  else if (slow !== undefined) raised.set('store_readonly', `${slow} had no answer from the store for half a lease`);
  if (state.cloning !== null) raised.set('resyncing', `${state.cloning} takes a new copy`);
  const since = (ms: number): number => (ms > wallMs ? Number.POSITIVE_INFINITY : wallMs - ms);
  if (Math.min(since(state.electedWallMs), since(state.swappedWallMs)) < spec.dampingMs) {
    raised.set('flapping', `roles changed less than ${spec.dampingMs} ms ago; further changes that can wait do`);
  }
  const before = new Map(state.degraded.map((one) => [one.name, one] as const));
  for (const [name, was] of before) {
    if (!raised.has(name) && Math.abs(wallMs - was.sinceWallMs) < DEGRADED_MS_MIN) raised.set(name, was.sentence);
  }
  return [...raised]
    .map(([name, sentence]) => ({ name, sentence, sinceWallMs: before.get(name)?.sinceWallMs ?? wallMs }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A link that only one end sees, or that is slow: the beginning of most long outages. */
function grayLink(spec: ClusterSpec, seen: Observations): string | null {
  for (const a of spec.nodes) {
    const here = isFresh(spec, seen, a);
    if (here === null) continue;
    for (const b of spec.nodes) {
      const there = isFresh(spec, seen, b);
      const trip = here.reaches[b];
      if (a === b || there === null || trip === undefined) continue;
      if (trip === null) return `${a} does not reach ${b}, which is alive`;
      if (trip > spec.linkLatencyMsMax) return `${a} reaches ${b} in ${Math.round(trip)} ms only`;
    }
  }
  return null;
}

function isReached(spec: ClusterSpec, seen: Observations, name: string): boolean {
  return spec.nodes.some((other) => other !== name && typeof isFresh(spec, seen, other)?.reaches[name] === 'number');
}
