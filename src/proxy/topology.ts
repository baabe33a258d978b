// A topology made from a static list of servers, by asking each one: are you a replica, and how far have you got?
// Loops: one check per server and interval, each over its own connection, so that full pools cannot hide a failover.

import type { Clock } from '../base/clock.ts';
import { describeError } from '../base/fault.ts';
import { sleepQuietly } from '../base/service.ts';
import {
  addressText,
  type ReplicaState,
  type ServerAddress,
  type Topology,
  type TopologySource,
} from '../contracts/topology.ts';
import type { Log } from '../observe/log.ts';
import { type Lsn, parseLsn } from '../pg/lsn.ts';
import type { ClientSession } from '../session/client-session.ts';

/** What the last check of one server said. */
export interface Observation extends ServerAddress {
  readonly state: 'unknown' | 'down' | 'primary' | 'replica';
  readonly lsn: Lsn | null;
  readonly timeline: number;
  readonly roundTripMs: number;
  readonly error: string | null;
}

/** Without a topology source there is nothing to find out: one server is the primary. */
export function singleServer(primary: ServerAddress): TopologySource {
  const topology: Topology = { term: 1, primary, replicas: [], sentence: 'the only server is the primary' };
  return { current: () => topology, subscribe: () => ({ [Symbol.dispose]() {} }) };
}

/**
 * Pure: what follows from the observations. Of several servers that call themselves primary the one with the highest
 * timeline is believed; a tie keeps the one that was believed before.
 */
export function decideTopology(previous: Topology, observations: readonly Observation[]): Topology {
  const primaries = observations.filter((one) => one.state === 'primary');
  const newest = Math.max(...primaries.map((one) => one.timeline));
  const candidates = primaries.filter((one) => one.timeline === newest);
  const before = previous.primary === null ? '' : addressText(previous.primary);
  const chosen = candidates.find((one) => addressText(one) === before) ?? candidates[0] ?? null;
  const headLsn = chosen?.lsn ?? null;
  const replicas: ReplicaState[] = observations
    .filter((one) => one.state === 'replica')
    .map(({ host, port, lsn, roundTripMs }) => ({
      host,
      port,
      roundTripMs,
      replayedLsn: lsn,
      lagBytes: headLsn === null || lsn === null ? null : Number(headLsn > lsn ? headLsn - lsn : 0n),
    }));
  const primary = chosen === null ? null : { host: chosen.host, port: chosen.port };
  const changed = (primary === null ? '' : addressText(primary)) !== before;
  return {
    term: previous.term + (changed && primary !== null ? 1 : 0),
    primary,
    replicas,
    sentence: sentenceOf(primary, replicas.length, primaries.length, observations),
  };
}

function sentenceOf(
  primary: ServerAddress | null,
  replicas: number,
  primaries: number,
  observations: readonly Observation[],
): string {
  if (primary === null) {
    const reasons = observations.map((one) => `${addressText(one)} ${one.error ?? one.state}`).join(', ');
    return `no server is a primary: ${reasons}`;
  }
  const doubt = primaries > 1 ? `; ${primaries} servers call themselves primary, the highest timeline is believed` : '';
  return `${addressText(primary)} is the primary, ${replicas} replicas can be read${doubt}`;
}

export interface StaticTopologyOptions {
  readonly servers: readonly ServerAddress[];
  readonly clock: Clock;
  readonly log: Log;
  readonly checkIntervalMs: number;
  /** Failed checks in a row after which a server counts as down. */
  readonly connect: (server: ServerAddress) => Promise<ClientSession>;
}

const QUESTION = `SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, c.timeline_id FROM pg_catalog.pg_control_checkpoint() c`;

export class StaticTopology implements TopologySource {
  readonly #options: StaticTopologyOptions;
  readonly #observed = new Map<string, Observation>();
  readonly #subscribers = new Set<(topology: Topology) => void>();
  #topology: Topology;
  readonly #stop = new AbortController();
  #firstRound: Promise<void>;

  constructor(options: StaticTopologyOptions) {
    this.#options = options;
    this.#topology = { term: 0, primary: null, replicas: [], sentence: 'no server has been asked yet' };
    for (const server of options.servers) {
      this.#observed.set(addressText(server), {
        ...server,
        state: 'unknown',
        lsn: null,
        timeline: 0,
        roundTripMs: 0,
        error: null,
      });
    }
    const firsts = options.servers.map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      void this.#watch(server, resolve);
      return promise;
    });
    this.#firstRound = Promise.all(firsts).then(() => {});
  }

  /** Resolves when every server has been asked once. */
  get ready(): Promise<void> {
    return this.#firstRound;
  }

  current(): Topology {
    return this.#topology;
  }

  subscribe(changed: (topology: Topology) => void): Disposable {
    this.#subscribers.add(changed);
    return { [Symbol.dispose]: () => void this.#subscribers.delete(changed) };
  }

  stop(): void {
    this.#stop.abort();
  }

  async #watch(server: ServerAddress, first: () => void): Promise<void> {
    const { clock, checkIntervalMs } = this.#options;
    const { signal } = this.#stop;
    let session: ClientSession | null = null;
    while (!signal.aborted) {
      const startedAt = clock.now();
      try {
        session ??= await this.#options.connect(server);
        using _timer = clock.after(Math.max(1_000, checkIntervalMs * 2), () => session?.destroy());
        const row = (await session.query(QUESTION)).rows[0] ?? [];
        this.#note({
          ...server,
          state: row[0] === 't' ? 'replica' : 'primary',
          lsn: row[1] === null || row[1] === undefined ? null : parseLsn(row[1]),
          timeline: Number(row[2]),
          roundTripMs: clock.now() - startedAt,
          error: null,
        });
      } catch (error) {
        session?.destroy();
        session = null;
        this.#note({ ...server, state: 'down', lsn: null, timeline: 0, roundTripMs: 0, error: describeError(error) });
      }
      first();
      await sleepQuietly(clock, checkIntervalMs, signal);
    }
    session?.destroy();
  }

  #note(observation: Observation): void {
    if (this.#stop.signal.aborted) return;
    this.#observed.set(addressText(observation), observation);
    const next = decideTopology(this.#topology, [...this.#observed.values()]);
    const news = next.sentence !== this.#topology.sentence || next.term !== this.#topology.term;
    this.#topology = next;
    if (news) this.#options.log.info('proxy.topology', { message: next.sentence, term: next.term });
    for (const changed of this.#subscribers) changed(next);
  }
}
