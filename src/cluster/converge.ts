// What a keeper does next with its Postgres, as a pure function of what the cluster decided and of what is true here. One action per
// call; the keeper carries it out and asks again.
//
// A Postgres accepts writes only while its node is the primary of the newest term it knows and either holds the lease or has the promise
// of every node that could be promoted without its knowledge (I6). All times are this machine's monotonic clock.

import { formatLsn, type Lsn } from '../pg/lsn.ts';
import { ancestry, type ClusterSpec, type ClusterState, type PostgresFacts } from './model.ts';
import { type Quorum, sameQuorum, standbyNames } from './quorum.ts';

export interface LocalFacts {
  readonly node: string;
  readonly postgres: PostgresFacts;
  /** The newest state seen since this keeper started; null: none, the store was not reached yet. */
  readonly state: ClusterState | null;
  /** The lease that this node holds: good until then, counted from when the last successful keep-alive was *sent*. */
  readonly lease: { readonly term: number; readonly untilMs: number } | null;
  /** Promises of others not to be promoted, for the term in `state`: counted from when each was asked for. */
  readonly promises: ReadonlyMap<string, number>;
  /** What this node has promised, or may have promised before its keeper was started. */
  readonly promisedUntilMs: number;
  readonly sealedTerm: number;
  readonly storeSilentMs: number;
  readonly checkpointedFor: string | null;
}

export type KeeperAction =
  | { readonly tag: 'nothing' }
  /** Immediate shutdown, now: this Postgres may not accept writes. Then the lease is given up. */
  | { readonly tag: 'fence' }
  | { readonly tag: 'release-lease' }
  /** Put the lease key, if there is none and the state is still the one seen. */
  | { readonly tag: 'acquire-lease'; readonly term: number }
  /** Open the data folder as the primary it was, with these names in force before the first connection. */
  | { readonly tag: 'start-primary'; readonly quorum: Quorum }
  | { readonly tag: 'promote'; readonly timeline: number; readonly quorum: Quorum }
  | { readonly tag: 'force-quorum'; readonly quorum: Quorum }
  /** Run as a standby of that node (started or reloaded); null: of nobody. */
  | { readonly tag: 'follow'; readonly node: string | null }
  | { readonly tag: 'seal'; readonly term: number }
  | { readonly tag: 'ask-promises'; readonly nodes: readonly string[] }
  /** Replace the data folder; the old one is kept until the new one follows. A rewind when both sides share enough, else a copy. */
  | { readonly tag: 'replace'; readonly from: string }
  | { readonly tag: 'checkpoint'; readonly id: string }
  /** Orderly shutdown for a switchover, then the lease is given up. */
  | { readonly tag: 'stop' };

export interface Converged {
  readonly action: KeeperAction;
  readonly sentence: string;
}

/** Fenced so much before the deadline: what it takes to stop a Postgres, and clocks that run at different speeds. */
export const FENCE_MARGIN_MS = 500;

/** The next action, and why. */
export function converge(spec: ClusterSpec, local: LocalFacts, nowMs: number): Converged {
  const { state, postgres } = local;
  if (postgres.state === 'primary' || postgres.state === 'hung' || postgres.state === 'starting') {
    const unsafe = whyFence(spec, local, nowMs);
    if (unsafe !== null) return { action: { tag: 'fence' }, sentence: unsafe };
  }
  if (state === null)
    return nothing('the store was not reached since the start: what runs goes on, nothing is started');
  return state.primary === local.node ? asPrimary(spec, local, state, nowMs) : asOther(local, state, nowMs);
}

/** Until when this node may accept writes; a fencer outside the keeper's event loop holds this deadline. */
export function writableUntilMs(
  spec: ClusterSpec,
  local: Omit<LocalFacts, 'postgres'> & { postgres: Pick<PostgresFacts, 'inForce'> },
): number {
  const { state, lease } = local;
  const leased =
    lease === null || (state !== null && lease.term !== state.term) ? Number.NEGATIVE_INFINITY : lease.untilMs;
  if (state === null || state.primary !== local.node) return leased;
  const voters = promiseVoters(spec, state, local.node, local.postgres.inForce?.quorum ?? null);
  const promised = Math.min(...voters.map((name) => local.promises.get(name) ?? Number.NEGATIVE_INFINITY));
  return Math.max(leased, promised);
}

/**
 * Exactly the nodes without which nobody can be promoted behind the back of a primary that does not reach the store. Each published set
 * that may have been written meanwhile is covered by what is in force here, so each group of electors contains one of these (a test
 * walks the small cases). With nobody in force only a human can promote, whoever it is: then all others are asked.
 */
export function promiseVoters(
  spec: ClusterSpec,
  state: ClusterState,
  node: string,
  inForce: Quorum | null,
): readonly string[] {
  const names = [...new Set([...state.wanted.names, ...(inForce?.names ?? [])])].filter((name) => name !== node);
  return names.length > 0 ? names.sort() : spec.nodes.filter((name) => name !== node);
}

/** Whether this node may promise the primary of `term` not to be promoted for a lease's time; a refusal says why. */
export function mayPromise(local: LocalFacts, asked: { readonly node: string; readonly term: number }): string | null {
  const { state, sealedTerm, postgres } = local;
  if (state === null) return 'the store was not reached since the start';
  if (sealedTerm > asked.term || state.term > asked.term) return `term ${Math.max(sealedTerm, state.term)} has begun`;
  if (state.term < asked.term || state.primary !== asked.node)
    return `${asked.node} is not known here as the primary of term ${asked.term}`;
  if (postgres.state === 'primary') return 'this node runs a primary itself';
  return null;
}

/** Null: it may run as it does. */
function whyFence(spec: ClusterSpec, local: LocalFacts, nowMs: number): string | null {
  const { state, postgres, node } = local;
  if (postgres.state === 'starting') {
    if (state?.primary !== node || postgres.forMs < spec.restartBudgetMs || local.lease === null) return null;
    // A primary that repairs itself has a budget; a whole recovery after a crash has none, there is nobody better.
    return state.published.count > 0
      ? `Postgres did not come back within ${spec.restartBudgetMs} ms and others can take over`
      : null;
  }
  if (postgres.state === 'hung')
    return 'Postgres does not answer a new connection: it must not wake up later as a second primary';
  if (state !== null && state.primary !== node) {
    return `${state.primary ?? 'nobody'} is the primary of term ${state.term}, and this Postgres accepts writes`;
  }
  if (state !== null && postgres.timeline !== state.timeline) {
    return `this Postgres writes timeline ${postgres.timeline}, which nobody reserved: the cluster's is ${state.timeline}`;
  }
  if (isAlone(spec, local)) return null;
  const until = writableUntilMs(spec, local);
  if (nowMs >= until - FENCE_MARGIN_MS) return 'the lease ends and not all who could be promoted have promised to wait';
  return null;
}

/** Nobody else exists who could be promoted. */
function isAlone(spec: ClusterSpec, local: LocalFacts): boolean {
  return local.state !== null && local.state.primary === local.node && spec.nodes.every((name) => name === local.node);
}

function asPrimary(spec: ClusterSpec, local: LocalFacts, state: ClusterState, nowMs: number): Converged {
  const { node, postgres, lease } = local;
  const { switchover } = state;
  const isLeased = lease !== null && lease.term === state.term && nowMs < lease.untilMs - FENCE_MARGIN_MS;
  if (switchover?.step === 'stopping' && switchover.from === node) {
    if (postgres.state === 'primary')
      return { action: { tag: 'stop' }, sentence: `switchover ${switchover.id}: shuts down for ${switchover.to}` };
    if (lease !== null) return { action: { tag: 'release-lease' }, sentence: `switchover ${switchover.id}: is down` };
    return nothing(`switchover ${switchover.id}: waits for ${switchover.to}`);
  }
  if (postgres.state === 'absent' || postgres.state === 'unusable') {
    if (lease !== null) return { action: { tag: 'release-lease' }, sentence: `the data folder is ${postgres.state}` };
    return nothing(`is the primary, and its data folder is ${postgres.state}: a human must decide`);
  }
  if (
    postgres.state === 'crashed' &&
    state.published.count > 0 &&
    postgres.forMs < spec.electionWaitMs &&
    postgres.timeline === state.timeline
  ) {
    if (lease !== null)
      return {
        action: { tag: 'release-lease' },
        sentence: 'Postgres crashed: others take over faster than it recovers',
      };
    return nothing(`crashed ${postgres.forMs} ms ago, gives the others ${spec.electionWaitMs} ms to take over`);
  }
  if (!isLeased) {
    const running = postgres.state === 'primary';
    if (running && local.storeSilentMs > spec.leaseMs / 3) {
      const nodes = promiseVoters(spec, state, node, postgres.inForce?.quorum ?? null);
      return {
        action: { tag: 'ask-promises', nodes },
        sentence: `the store is silent: asks ${nodes.join(', ')} not to be promoted`,
      };
    }
    return { action: { tag: 'acquire-lease', term: state.term }, sentence: `takes the lease of term ${state.term}` };
  }
  switch (postgres.state) {
    case 'stopped':
    case 'crashed':
      if (postgres.timeline !== state.timeline) {
        return { action: { tag: 'follow', node: null }, sentence: 'starts as a standby of nobody, to be promoted' };
      }
      return {
        action: { tag: 'start-primary', quorum: state.wanted },
        sentence: `starts as the primary of term ${state.term}`,
      };
    case 'standby':
      return {
        action: { tag: 'promote', timeline: state.timeline, quorum: state.wanted },
        sentence: `is promoted to timeline ${state.timeline}, waiting for ${standbyNames(state.wanted) || 'nobody'} from the first commit on`,
      };
    case 'primary':
      break;
    default:
      return nothing(`Postgres is ${postgres.state}`);
  }
  if (local.storeSilentMs > spec.leaseMs / 3) {
    const nodes = promiseVoters(spec, state, node, postgres.inForce?.quorum ?? null);
    return {
      action: { tag: 'ask-promises', nodes },
      sentence: `the store is silent: asks ${nodes.join(', ')} not to be promoted`,
    };
  }
  if (postgres.inForce === null || !sameQuorum(postgres.inForce.quorum, state.wanted)) {
    return {
      action: { tag: 'force-quorum', quorum: state.wanted },
      sentence: `commits wait for ${standbyNames(state.wanted) || 'nobody'}`,
    };
  }
  if (switchover?.step === 'checkpointing' && local.checkpointedFor !== switchover.id) {
    return {
      action: { tag: 'checkpoint', id: switchover.id },
      sentence: `switchover ${switchover.id}: checkpoints, so that the shutdown is short`,
    };
  }
  return nothing(`is the primary of term ${state.term}`);
}

function asOther(local: LocalFacts, state: ClusterState, nowMs: number): Converged {
  const { node, postgres } = local;
  if (local.lease !== null)
    return { action: { tag: 'release-lease' }, sentence: `is not the primary of term ${state.term}` };
  const { primary } = state;
  if (primary === null) {
    if (local.sealedTerm >= state.term) return nothing(`is sealed for term ${state.term}`);
    // Also what an earlier life of this keeper may have promised is kept.
    if (nowMs < local.promisedUntilMs)
      return nothing(`has promised to wait for ${Math.ceil(local.promisedUntilMs - nowMs)} ms more`);
    if (postgres.following !== null)
      return { action: { tag: 'follow', node: null }, sentence: `term ${state.term} begins: follows nobody` };
    return {
      action: { tag: 'seal', term: state.term },
      sentence: `term ${state.term} begins: is sealed at ${formatLsn(postgres.flushedLsn)}`,
    };
  }
  if (state.ejected.includes(node)) {
    if (postgres.following === null) return nothing('is ejected');
    return { action: { tag: 'follow', node: null }, sentence: 'is ejected: follows nobody' };
  }
  if (postgres.state === 'absent' || postgres.state === 'unusable')
    return replaced(state, node, primary, `the data folder is ${postgres.state}`);
  if (postgres.state === 'starting' || postgres.state === 'primary' || postgres.state === 'hung')
    return nothing(`Postgres is ${postgres.state}`);
  switch (standing(state, postgres)) {
    case 'unknown':
      return nothing(`waits to hear where timeline ${state.timeline} begins`);
    case 'diverged':
      return replaced(
        state,
        node,
        primary,
        `has log up to ${formatLsn(postgres.flushedLsn)} of timeline ${postgres.timeline} that ${primary} never had`,
      );
    default:
      break;
  }
  if (postgres.state !== 'standby' || postgres.following !== primary) {
    return { action: { tag: 'follow', node: primary }, sentence: `follows ${primary}: nothing here has diverged` };
  }
  if (
    state.switchover?.step === 'checkpointing' &&
    state.switchover.to === node &&
    local.checkpointedFor !== state.switchover.id
  ) {
    return {
      action: { tag: 'checkpoint', id: state.switchover.id },
      sentence: `switchover ${state.switchover.id}: checkpoints`,
    };
  }
  return nothing(`follows ${primary}`);
}

function standing(
  state: ClusterState,
  postgres: { readonly timeline: number; readonly flushedLsn: Lsn },
): ReturnType<typeof ancestry> {
  return ancestry(state.forks, { timeline: postgres.timeline, endLsn: postgres.flushedLsn }, state.timeline);
}

/** A copy is taken only by the one whose turn it is. */
function replaced(state: ClusterState, node: string, primary: string, why: string): Converged {
  if (state.cloning !== node) return nothing(`${why}; waits for its turn to take a copy`);
  return { action: { tag: 'replace', from: primary }, sentence: `${why}: takes a copy from ${primary}` };
}

function nothing(sentence: string): Converged {
  return { action: { tag: 'nothing' }, sentence };
}
