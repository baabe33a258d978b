// What the leading sentinel decides, as a pure function: from what is wanted, what was decided and what is seen to the next state and
// the sentence that says why. One decision per call; the caller writes it by compare-and-set and asks again.
//
// Order of the rules: an election in progress, a switchover in progress, a lost primary, a human's request, bookkeeping of forks,
// a full disk, synchronous standbys, copies, names of degraded states.

import { formatLsn, type Lsn } from '../pg/lsn.ts';
import { degradedStates, isFresh } from './degraded.ts';
import { ancestry, type ClusterSpec, type ClusterState, type NodeFacts, type Observations } from './model.ts';
import {
  covers,
  electorsNeeded,
  nextQuorumStep,
  NO_QUORUM,
  type Quorum,
  quorum,
  sameQuorum,
  standbyNames,
} from './quorum.ts';

export interface Plan {
  /** Null: nothing to write. */
  readonly next: ClusterState | null;
  /** Why: of the decision when there is one, else of waiting; kept in the history when there is a decision. */
  readonly sentence: string;
}

export interface Now {
  /** For damping and deadlines only. */
  readonly wallMs: number;
}

/** The next decision, or why there is none. */
export function plan(spec: ClusterSpec, state: ClusterState, seen: Observations, now: Now): Plan {
  const context: Context = { spec, state, seen, now };
  const found = decide(context);
  if (found.next === null) return found;
  return { next: { ...found.next, historyNumber: state.historyNumber + 1 }, sentence: found.sentence };
}

interface Context {
  readonly spec: ClusterSpec;
  readonly state: ClusterState;
  readonly seen: Observations;
  readonly now: Now;
}

const wait = (sentence: string): Plan => ({ next: null, sentence });

function decide(context: Context): Plan {
  const { state } = context;
  if (state.primary === null) return elect(context);
  const lost = state.switchover === null ? whetherLost(context, state.primary) : null;
  const plans = [
    state.switchover === null ? null : continueSwitchover(context, state.switchover),
    lost,
    state.request === null ? null : answerRequest(context, state.primary, state.request),
    recordFork(context, state.primary),
    state.switchover === null && lost === null ? leaveFullDisk(context, state.primary) : null,
    state.switchover === null && lost === null ? nextSync(context, state.primary) : null,
    nextCopy(context, state.primary),
    nameDegraded(context),
  ];
  const decision = plans.find((one) => one !== null && one.next !== null);
  return decision ?? plans.find((one) => one !== null) ?? wait(`${state.primary} is the primary of term ${state.term}`);
}

// ---- The primary is lost

/** A primary that was cut off from the store gets so long to say so. */
const RETURN_MS = 500;

/** A standby that received something so lately has a living primary before it; keep-alives are asked for more often. */
const RECEIVES_MS = 1500;

/** Null: it is not. A wait: it may be, and why that is not enough. */
function whetherLost(context: Context, primary: string): Plan | null {
  const { spec, state, seen, now } = context;
  if (seen.leaseHolder !== null) return null;
  const facts = fresh(context, primary);
  const free = `nobody holds the primary's lease for ${Math.round(seen.leaseFreeMs)} ms`;
  if (state.isPaused) return wait(`${free}, and the cluster is paused`);
  // A store outage never deposes a healthy primary: whoever might be promoted has promised not to be.
  const promised = spec.nodes.find((name) => fresh(context, name)?.promise?.term === state.term);
  if (promised !== undefined) return wait(`${free}, but ${promised} hears from ${primary} and has promised to wait`);
  const patience = spec.leaseMs;
  if (facts?.postgres.state === 'primary' && seen.leaseFreeMs < 2 * patience) {
    return wait(`${free}, but ${primary} reports a running primary and is about to take it again`);
  }
  const follower = state.published.names.find((name) => {
    const standby = fresh(context, name)?.postgres;
    return standby?.following === primary && standby.receivedAgoMs !== null && standby.receivedAgoMs < RECEIVES_MS;
  });
  if (facts === null && follower !== undefined && seen.leaseFreeMs < patience) {
    return wait(`${free}, but ${follower} still receives from ${primary}: its keeper may only be slow`);
  }
  if (state.published.count === 0) {
    return wait(
      `${free}, and no standby has everything that was acknowledged: ${primary} must come back by itself${gap(context)}`,
    );
  }
  // An election that cannot end would only depose a primary that may be alive behind a broken network.
  const electors = state.published.names.filter((name) => fresh(context, name)?.postgres.state === 'standby').length;
  const needed = electorsNeeded(state.published);
  if (electors < needed) {
    return wait(
      `${free}, but only ${electors} of ${list(state.published.names)} are there and ${needed} are needed${gap(context)}`,
    );
  }
  if (facts === null && seen.leaseFreeMs < RETURN_MS)
    return wait(`${free}; ${primary} may only just reach the store again`);
  if (facts !== null && state.term > 1 && now.wallMs - state.electedWallMs < spec.dampingMs && inRange(context)) {
    return wait(
      `${free}; the last failover was less than ${spec.dampingMs} ms ago, so ${primary} is started again in place`,
    );
  }
  if (seen.otherElections > 0) {
    const witnesses = spec.nodes.filter((name) => name !== primary && fresh(context, name) !== null);
    const blind = witnesses.filter((name) => (fresh(context, name)?.reaches[primary] ?? null) === null);
    if (blind.length * 2 <= witnesses.length || seen.leaseFreeMs < patience) {
      return wait(
        `${free}, but ${seen.otherElections} other cluster(s) lost theirs too and ${witnesses.length - blind.length} node(s) reach ${primary}: the store or the network is suspected`,
      );
    }
  }
  const why =
    facts === null
      ? `${free} and ${primary} is silent`
      : `${primary} gave its lease up: its Postgres is ${facts.postgres.state}`;
  return beginElection(context, primary, why);
}

/** A wall clock that was set back must not stop failovers for a day. */
function inRange({ now, state }: Context): boolean {
  return now.wallMs >= state.electedWallMs;
}

function beginElection(context: Context, primary: string, why: string): Plan {
  const { state, seen, now } = context;
  const last = seen.nodes.get(primary)?.facts.postgres.flushedLsn ?? state.lastLsn;
  return {
    next: {
      ...state,
      term: state.term + 1,
      primary: null,
      previous: primary,
      lastLsn: last > state.lastLsn ? last : state.lastLsn,
      electedWallMs: now.wallMs,
      switchover: null,
      cloning: null,
    },
    sentence: `term ${state.term + 1} begins without a primary: ${why}; ${electorsNeeded(state.published)} of ${list(state.published.names)} must seal themselves`,
  };
}

// ---- An election

function elect(context: Context): Plan {
  const { spec, state, seen, now } = context;
  if (seen.leaseHolder !== null) return wait(`${seen.leaseHolder.node} still holds the primary's lease`);
  const sealed = (name: string): NodeFacts | null => {
    const facts = fresh(context, name);
    if (facts === null || facts.sealedTerm < state.term || facts.promise !== null) return null;
    return facts.postgres.state === 'primary' ? null : facts;
  };
  const { request } = state;
  if (request?.tag === 'failover') {
    const facts = sealed(request.to);
    if (facts !== null) return electForced(context, request, facts);
  }
  const electors = state.published.names.map(sealed).filter((facts) => facts !== null);
  const candidates = electors
    .filter((facts) => facts.postgres.state === 'standby' && isCandidate(context, facts))
    .sort((a, b) => compareLsn(b.postgres.flushedLsn, a.postgres.flushedLsn) || (a.node < b.node ? -1 : 1));
  const needed = electorsNeeded(state.published);
  const best = candidates[0];
  // What an elector holds counts whether or not it can be promoted itself.
  const isBest = best !== undefined && electors.every((facts) => !isAhead(context, facts, best.postgres.flushedLsn));
  if (state.published.count > 0 && electors.length >= needed && best !== undefined && isBest) {
    return promote(
      context,
      best,
      `${best.node} has everything up to ${formatLsn(best.postgres.flushedLsn)}, the most of ${electors.length} sealed of ${list(state.published.names)}`,
    );
  }
  const previous = state.previous === null ? null : sealed(state.previous);
  const waitedMs = Math.abs(now.wallMs - state.electedWallMs);
  const isUsable = previous?.postgres.state === 'stopped' || previous?.postgres.state === 'crashed';
  if (previous !== null && isUsable && (state.published.count === 0 || waitedMs >= spec.electionWaitMs)) {
    return {
      next: { ...state, primary: previous.node },
      sentence: `${previous.node} goes on as the primary of term ${state.term}: it has all that it acknowledged, and only ${electors.length} of ${needed} needed standbys are there`,
    };
  }
  return wait(
    `no primary: ${electors.length} of ${list(state.published.names)} have sealed themselves and ${needed} are needed; ${state.previous ?? 'nobody'} would do too${gap(context)}`,
  );
}

function electForced(
  context: Context,
  request: Extract<ClusterState['request'], { tag: 'failover' }>,
  facts: NodeFacts,
): Plan {
  const { state } = context;
  const end = facts.postgres.flushedLsn;
  // Where the lost timeline began may never become known: then its log is what the human gives up.
  const at = ancestry(state.forks, { timeline: facts.postgres.timeline, endLsn: end }, state.timeline);
  if (end < request.acceptLossLsn || facts.postgres.state !== 'standby' || at === 'diverged') {
    return {
      next: { ...state, request: null },
      sentence: `the forced failover is refused: ${facts.node} is ${facts.postgres.state} and ends at ${formatLsn(end)}, the accepted loss begins at ${formatLsn(request.acceptLossLsn)}`,
    };
  }
  return promote(
    context,
    facts,
    `a human accepted to lose what was written after ${formatLsn(request.acceptLossLsn)}; ${facts.node} has everything up to ${formatLsn(end)}${gap(context)}`,
  );
}

/** The point of no return of a failover: one write of the state. */
function promote(context: Context, facts: NodeFacts, why: string): Plan {
  const { state } = context;
  const timeline = state.timelineReserved + 1;
  return {
    next: {
      ...state,
      primary: facts.node,
      timeline,
      timelineReserved: timeline,
      wanted: firstWanted(context, facts.node),
      // Nobody has the new timeline yet.
      published: NO_QUORUM,
      request: null,
      cloning: null,
    },
    sentence: `${facts.node} becomes the primary of term ${state.term} on timeline ${timeline}: ${why}`,
  };
}

/** What the new primary waits for from its first moment on. */
function firstWanted(context: Context, primary: string): Quorum {
  const { spec, state } = context;
  const others = spec.nodes.filter((name) => name !== primary && !state.ejected.includes(name));
  const able = others.filter((name) => {
    const facts = fresh(context, name);
    return facts !== null && facts.postgres.state === 'standby' && isCandidate(context, facts);
  });
  const members = able.slice(0, spec.syncMax);
  if (members.length >= spec.syncMin) return sized(spec, members);
  if (spec.policy === 'degraded') return sized(spec, members);
  // Strict: commits wait for whoever comes first.
  return others.length === 0 ? NO_QUORUM : quorum(others, 1);
}

function sized(spec: ClusterSpec, members: readonly string[]): Quorum {
  return members.length === 0 ? NO_QUORUM : quorum(members, Math.min(spec.quorum, members.length));
}

// ---- Switchover (section 8 of the research)

function continueSwitchover(context: Context, op: NonNullable<ClusterState['switchover']>): Plan {
  const { spec, state, seen, now } = context;
  const from = fresh(context, op.from);
  const to = fresh(context, op.to);
  const step = (next: typeof op.step, sentence: string): Plan => ({
    next: { ...state, switchover: { ...op, step: next } },
    sentence: `switchover ${op.id}: ${sentence}`,
  });
  const end = (sentence: string): Plan => ({
    next: { ...state, switchover: null },
    sentence: `switchover ${op.id}: ${sentence}`,
  });
  const isLate = Math.abs(now.wallMs - op.startedWallMs) > spec.switchoverMs;
  if (op.step === 'resuming') {
    if (to?.postgres.state === 'primary' && seen.proxies.every((proxy) => proxy.pausedFor !== op.id))
      return end('done');
    return isLate
      ? end(`${op.to} is the primary; a proxy or ${op.to} has not said so in time`)
      : wait(`switchover ${op.id}: ${op.to} opens`);
  }
  if (op.step === 'undoing') {
    if (from?.postgres.state === 'primary' && seen.leaseHolder?.node === op.from)
      return end(`undone, ${op.from} is the primary as before`);
    return from === null
      ? end(`${op.from} went silent while it was undone`)
      : wait(`switchover ${op.id}: ${op.from} comes back`);
  }
  if (from === null && seen.leaseHolder === null) return end(`given up, ${op.from} is silent`);
  if (isLate)
    return step(
      'undoing',
      `not at its point of no return after ${spec.switchoverMs} ms (${op.step}); ${op.from} stays the primary`,
    );
  if (to === null || to.postgres.state !== 'standby')
    return step('undoing', `${op.to} is no running standby any more; ${op.from} stays the primary`);
  switch (op.step) {
    case 'checkpointing':
      if (from?.checkpointedFor !== op.id || to.checkpointedFor !== op.id)
        return wait(`switchover ${op.id}: checkpoints`);
      return step('pausing', 'both nodes have checkpointed; the proxies pause');
    case 'pausing': {
      const open = seen.proxies.filter((proxy) => proxy.pausedFor !== op.id);
      if (open.length > 0) return wait(`switchover ${op.id}: ${list(open.map((proxy) => proxy.name))} still drain(s)`);
      return step('stopping', `all ${seen.proxies.length} proxies have paused; ${op.from} is shut down`);
    }
    default: {
      if (from === null || from.postgres.state !== 'stopped' || seen.leaseHolder !== null)
        return wait(`switchover ${op.id}: ${op.from} shuts down`);
      if (to.postgres.timeline !== from.postgres.timeline || to.postgres.flushedLsn < from.postgres.flushedLsn) {
        return wait(
          `switchover ${op.id}: ${op.to} is at ${formatLsn(to.postgres.flushedLsn)} of ${formatLsn(from.postgres.flushedLsn)}`,
        );
      }
      const timeline = state.timelineReserved + 1;
      return {
        next: {
          ...state,
          term: state.term + 1,
          primary: op.to,
          previous: op.from,
          timeline,
          timelineReserved: timeline,
          lastLsn: from.postgres.flushedLsn,
          wanted: firstWanted(context, op.to),
          published: NO_QUORUM,
          cloning: null,
          switchover: { ...op, step: 'resuming' },
        },
        sentence: `switchover ${op.id}: ${op.to} becomes the primary of term ${state.term + 1} on timeline ${timeline}: both end at ${formatLsn(from.postgres.flushedLsn)}`,
      };
    }
  }
}

// ---- Requests of humans

function answerRequest(context: Context, primary: string, request: NonNullable<ClusterState['request']>): Plan {
  const { state, seen, now } = context;
  const refuse = (why: string): Plan => ({
    next: { ...state, request: null },
    sentence: `the ${request.tag} to ${request.to} is refused: ${why}`,
  });
  if (request.tag === 'failover') {
    if (seen.leaseHolder !== null)
      return refuse(`${seen.leaseHolder.node} is alive and holds the lease; use a switchover`);
    if (!request.isOldPrimaryOff) return refuse(`${primary} must be known to be off, and only a human can know`);
    return beginElection(context, primary, `a human asked for a failover to ${request.to}`);
  }
  if (state.switchover !== null) return refuse(`switchover ${state.switchover.id} is still going on`);
  if (request.to === primary) return refuse('it is the primary');
  const why = notReady(context, primary, request.to);
  if (why !== null) return refuse(why);
  return {
    next: {
      ...state,
      request: null,
      switchover: { id: request.id, from: primary, to: request.to, step: 'checkpointing', startedWallMs: now.wallMs },
    },
    sentence: `switchover ${request.id} from ${primary} to ${request.to} begins`,
  };
}

/** The preflight of a switchover: null, or why not. */
function notReady(context: Context, primary: string, to: string): string | null {
  const { spec, state } = context;
  const from = fresh(context, primary);
  const facts = fresh(context, to);
  if (from?.postgres.state !== 'primary') return `${primary} does not run`;
  if (facts === null) return `${to} is silent`;
  if (state.ejected.includes(to)) return `${to} is ejected`;
  if (facts.postgres.state !== 'standby' || facts.postgres.timeline !== state.timeline)
    return `${to} is not a standby on timeline ${state.timeline}`;
  if (state.cloning !== null) return `${state.cloning} is being copied`;
  if (facts.diskFreeBytes < spec.diskFreeBytesMin) return `${to} has only ${facts.diskFreeBytes} bytes free`;
  const standby = from.postgres.standbys.find((one) => one.node === to);
  if (standby === undefined || standby.goneMs !== null) return `${to} does not stream from ${primary}`;
  const lag = from.postgres.flushedLsn - standby.flushedLsn;
  return lag > BigInt(spec.syncLagBytesMax) ? `${to} is ${lag} bytes behind` : null;
}

// ---- While there is a primary

function recordFork(context: Context, primary: string): Plan | null {
  const { state } = context;
  const postgres = fresh(context, primary)?.postgres;
  const fork = postgres?.fork ?? null;
  if (fork === null || postgres?.state !== 'primary' || fork.timeline !== state.timeline) return null;
  if (state.forks.some((one) => one.timeline === fork.timeline)) return null;
  return {
    next: { ...state, forks: [...state.forks, fork] },
    sentence: `timeline ${fork.timeline} left ${fork.parent} at ${formatLsn(fork.forkLsn)} on ${primary}`,
  };
}

/** Before the log has no more room: a switchover, to whoever may be promoted and has room. */
function leaveFullDisk(context: Context, primary: string): Plan | null {
  const { spec, state, now } = context;
  const facts = fresh(context, primary);
  if (facts === null || facts.diskFreeBytes >= spec.diskFreeBytesMin || state.isPaused) return null;
  if (Math.abs(now.wallMs - state.swappedWallMs) < spec.dampingMs) return null;
  const to = state.published.names.find((name) => notReady(context, primary, name) === null);
  if (to === undefined) return null;
  const id = `disk-${state.term}-${state.historyNumber}`;
  return {
    next: {
      ...state,
      swappedWallMs: now.wallMs,
      switchover: { id, from: primary, to, step: 'checkpointing', startedWallMs: now.wallMs },
    },
    sentence: `switchover ${id} from ${primary} to ${to} begins: ${primary} has only ${facts.diskFreeBytes} bytes free`,
  };
}

function nextSync(context: Context, primary: string): Plan | null {
  const { state, now } = context;
  const facts = fresh(context, primary);
  const inForce = facts?.postgres.inForce ?? null;
  if (facts === null || facts.postgres.state !== 'primary' || inForce === null) return null;
  // One thing at a time: what Postgres was told must have arrived before the next step is thought about.
  if (!sameQuorum(inForce.quorum, state.wanted)) return null;
  const streaming = new Map(
    facts.postgres.standbys.filter((one) => one.goneMs === null).map((one) => [one.node, one.flushedLsn] as const),
  );
  const complete = new Set([...streaming].filter(([, lsn]) => lsn >= inForce.sinceLsn).map(([name]) => name));
  const { wanted, isSwap } = chooseSync(context, facts, streaming);
  const step = nextQuorumStep({
    inForce: inForce.quorum,
    published: state.published,
    wanted,
    streaming: new Set(streaming.keys()),
    complete,
  });
  if (step === null) return null;
  const swappedWallMs = isSwap ? now.wallMs : state.swappedWallMs;
  if (step.tag === 'publish') {
    const sentence =
      step.quorum.count === 0
        ? 'nobody may be promoted from now on: commits are about to be acknowledged without a standby'
        : `may be promoted from now on: ${electorsNeeded(step.quorum)} of ${list(step.quorum.names)}, which Postgres waits for`;
    return { next: { ...state, published: step.quorum, swappedWallMs }, sentence };
  }
  return {
    next: { ...state, wanted: step.quorum, swappedWallMs },
    sentence: `commits on ${primary} are to wait for ${standbyNames(step.quorum) || 'nobody'}`,
  };
}

/** Who is to be synchronous in the end, and whether that replaces somebody. */
function chooseSync(
  context: Context,
  primary: NodeFacts,
  streaming: ReadonlyMap<string, Lsn>,
): { readonly wanted: Quorum; readonly isSwap: boolean } {
  const { spec, state, now } = context;
  const isDamped = Math.abs(now.wallMs - state.swappedWallMs) < spec.dampingMs;
  const gone = (name: string): number | null | undefined =>
    primary.postgres.standbys.find((one) => one.node === name)?.goneMs;
  // A member that is away for a moment stays; one whose link flaps stays for the time of damping, unless it is silent altogether.
  const stays = (name: string): boolean => {
    if (state.ejected.includes(name) || name === primary.node || !spec.nodes.includes(name)) return false;
    if (streaming.has(name)) return true;
    const goneMs = gone(name);
    if (goneMs === undefined || goneMs === null) return false;
    if (goneMs < spec.syncGraceMs) return true;
    return isDamped && fresh(context, name) !== null;
  };
  const kept = state.published.names.filter(stays);
  const able = spec.nodes.filter((name) => {
    const flushed = streaming.get(name);
    const facts = fresh(context, name);
    if (flushed === undefined || facts === null || name === primary.node || state.ejected.includes(name)) return false;
    if (facts.postgres.state !== 'standby' || facts.diskFreeBytes < spec.diskFreeBytesMin) return false;
    return primary.postgres.flushedLsn - flushed <= BigInt(spec.syncLagBytesMax);
  });
  const isSlow = (name: string): boolean => (primary.reaches[name] ?? 0) > spec.linkLatencyMsMax;
  const rank = (name: string): number =>
    (kept.includes(name) ? 0 : state.wanted.names.includes(name) ? 2 : 3) +
    (!isDamped && isSlow(name) ? 8 : 0) +
    (streaming.has(name) ? 0 : 1);
  const chosen = [...new Set([...kept, ...able])]
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
    .slice(0, spec.syncMax);
  const isSwap =
    kept.length === 0 ? state.published.count > 0 : state.published.names.some((name) => !chosen.includes(name));
  if (chosen.length >= spec.syncMin) return { wanted: sized(spec, chosen), isSwap };
  if (spec.policy === 'degraded') return { wanted: sized(spec, chosen), isSwap };
  if (state.wanted.count > 0) {
    // Too few: commits wait, for exactly those for whom they waited before or, when these are not wanted any more, for whoever is there.
    const isValid = state.wanted.names.some((name) => spec.nodes.includes(name) && !state.ejected.includes(name));
    if (isValid)
      return {
        wanted: chosen.length > 0 && state.published.count === 0 ? sized(spec, chosen) : state.wanted,
        isSwap: false,
      };
  }
  const others = spec.nodes.filter((name) => name !== primary.node && !state.ejected.includes(name));
  return { wanted: others.length === 0 ? NO_QUORUM : quorum(others, 1), isSwap: false };
}

/** One copy at a time, only from a primary that runs, and never over somebody who may be promoted. */
function nextCopy(context: Context, primary: string): Plan | null {
  const { spec, state } = context;
  if (state.cloning !== null) {
    const facts = fresh(context, state.cloning);
    if (facts?.postgres.state === 'standby' && facts.postgres.following === primary) {
      return {
        next: { ...state, cloning: null },
        sentence: `${state.cloning} has its new copy and follows ${primary}`,
      };
    }
    if (facts === null || state.ejected.includes(state.cloning)) {
      return {
        next: { ...state, cloning: null },
        sentence: `${state.cloning} is silent: its copy no longer keeps others waiting`,
      };
    }
    return null;
  }
  if (
    fresh(context, primary)?.postgres.state !== 'primary' ||
    !state.forks.some((one) => one.timeline === state.timeline)
  ) {
    // Without its fork nobody can tell who has diverged; the first timeline has none.
    if (fresh(context, primary)?.postgres.state !== 'primary' || state.forks.length > 0 || state.term > 1) return null;
  }
  for (const name of spec.nodes) {
    const facts = fresh(context, name);
    if (name === primary || facts === null || state.ejected.includes(name) || state.published.names.includes(name))
      continue;
    const { postgres } = facts;
    const needs =
      postgres.state === 'absent' || postgres.state === 'unusable'
        ? `its data folder is ${postgres.state}`
        : ancestry(state.forks, { timeline: postgres.timeline, endLsn: postgres.flushedLsn }, state.timeline) ===
            'diverged'
          ? `it has log on timeline ${postgres.timeline} up to ${formatLsn(postgres.flushedLsn)} that ${primary} never had`
          : null;
    if (needs !== null)
      return { next: { ...state, cloning: name }, sentence: `${name} takes a new copy from ${primary}: ${needs}` };
  }
  return null;
}

function nameDegraded(context: Context): Plan | null {
  const { spec, state, seen, now } = context;
  const degraded = degradedStates(spec, state, seen, now.wallMs);
  const came = degraded.filter((one) => !state.degraded.some((was) => was.name === one.name));
  const went = state.degraded.filter((was) => !degraded.some((one) => one.name === was.name));
  if (came.length === 0 && went.length === 0) return null;
  const sentences = [...came.map((one) => `${one.name}: ${one.sentence}`), ...went.map((was) => `${was.name} is over`)];
  return { next: { ...state, degraded }, sentence: sentences.join('; ') };
}

// ---- Helpers

function fresh({ spec, seen }: Context, name: string): NodeFacts | null {
  return isFresh(spec, seen, name);
}

function isPart({ state }: Context, { postgres }: NodeFacts): boolean {
  return ancestry(state.forks, { timeline: postgres.timeline, endLsn: postgres.flushedLsn }, state.timeline) === 'part';
}

function isCandidate(context: Context, facts: NodeFacts): boolean {
  const { spec, state } = context;
  return isPart(context, facts) && facts.diskFreeBytes >= spec.diskFreeBytesMin && !state.ejected.includes(facts.node);
}

function isAhead(context: Context, facts: NodeFacts, lsn: Lsn): boolean {
  return isPart(context, facts) && facts.postgres.flushedLsn > lsn;
}

/** The exact gap between the last known position of the primary and the best there is. */
function gap(context: Context): string {
  const { state, seen, spec } = context;
  const known = seen.nodes.get(state.primary ?? state.previous ?? '')?.facts.postgres.flushedLsn ?? state.lastLsn;
  const last = known > state.lastLsn ? known : state.lastLsn;
  let best: NodeFacts | null = null;
  for (const name of spec.nodes) {
    const facts = fresh(context, name);
    if (facts === null || name === (state.primary ?? state.previous) || !isPart(context, facts)) continue;
    if (best === null || facts.postgres.flushedLsn > best.postgres.flushedLsn) best = facts;
  }
  if (best === null) return '';
  const missing = last > best.postgres.flushedLsn ? last - best.postgres.flushedLsn : 0n;
  return `; ${best.node} ends at ${formatLsn(best.postgres.flushedLsn)}, the primary was last seen at ${formatLsn(last)}: ${missing} bytes are known to be missing`;
}

function compareLsn(a: Lsn, b: Lsn): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'nobody' : names.join(', ');
}

/** For checks: the state never promises more than Postgres is told to keep (I5). */
export function isStateSound(state: ClusterState): boolean {
  return state.primary === null || covers(state.wanted, state.published);
}
