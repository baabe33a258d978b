// A cluster in virtual time: the production decisions of `src/cluster`, driven by loops that stand for keepers, sentinels and proxies.
// The store is the embedded store's own state machine behind a network; Postgres is a model. Everything follows from the seed.

import {
  converge,
  FENCE_MARGIN_MS,
  type KeeperAction,
  type LocalFacts,
  mayPromise,
  writableUntilMs,
} from '../../src/cluster/converge.ts';
import {
  type ClusterSpec,
  type ClusterState,
  decodeDocument,
  encodeDocument,
  type HistoryEntry,
  initialState,
  type NodeFacts,
  type Observations,
  SPEC_DEFAULTS,
} from '../../src/cluster/model.ts';
import { isStateSound, type Plan, plan } from '../../src/cluster/plan.ts';
import { quorum } from '../../src/cluster/quorum.ts';
import { StoreCore } from '../../src/cluster/store/core.ts';
import type { Entry } from '../../src/cluster/store/store.ts';
import { SeededRandom, VirtualClock } from '../virtual-time.ts';
import { Checkers } from './checkers.ts';
import { SimNetwork } from './network.ts';
import { SimPostgres } from './sim-postgres.ts';

/** Bugs that can be planted, to see that the checkers find them. */
export const BUGS = [
  'publish-before-postgres',
  'ignore-lease',
  'elect-anybody',
  'break-promise',
  'keep-writing',
  'follow-anything',
  'next-timeline',
] as const;
export type Bug = (typeof BUGS)[number];

export interface WorldOptions {
  readonly seed: number;
  readonly nodes: number;
  readonly spec?: Partial<ClusterSpec>;
}

const STORE = 'store';
const CALL_TIMEOUT_MS = 1000;
/** Silence that the bug `ignore-lease` takes for death. */
const IMPATIENT_MS = 1200;
/** Wall time is far from zero, as it is outside. */
const WALL_EPOCH_MS = 1_700_000_000_000;

export class World {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly network: SimNetwork;
  readonly checkers = new Checkers();
  readonly history: string[] = [];
  readonly spec: ClusterSpec;
  readonly nodes = new Map<string, Node>();
  /** Planted once the cluster has formed. */
  bug: Bug | null = null;
  /** Virtual proxies ack pauses, unless told otherwise. */
  isStoreUp = true;
  wallShiftMs = 0;
  core: StoreCore;
  #commit = 0;
  #isWriting = true;

  constructor(options: WorldOptions) {
    this.random = new SeededRandom(options.seed);
    this.network = new SimNetwork(this.clock, this.random);
    const names = Array.from({ length: options.nodes }, (_, index) => `n${index + 1}`);
    this.spec = { ...SPEC_DEFAULTS, nodes: names, dampingMs: 10_000, ...options.spec };
    this.core = new StoreCore(0);
    this.core.write([], [{ tag: 'put', key: 'state', value: encodeDocument(initialState('n1')) }]);
    for (const name of names) this.nodes.set(name, new Node(this, name));
    for (const node of this.nodes.values()) node.boot();
    this.every(50, () => {
      if (this.isStoreUp) this.core.expire(this.clock.now());
    });
    for (let client = 0; client < 3; client += 1) this.every(60 + client * 17, () => this.#clientWrites(client));
  }

  wall(): number {
    return WALL_EPOCH_MS + this.clock.now() + this.wallShiftMs;
  }

  /** Runs `task` again and again, never in step with others. */
  every(ms: number, task: () => void): void {
    this.clock.after(ms * (0.8 + 0.4 * this.random.float()), () => {
      task();
      this.every(ms, task);
    });
  }

  /** A request to the store; null when it gave no answer in time (and may have done it all the same). */
  store<T>(from: string, ask: (core: StoreCore) => T, done: (result: T | null) => void): void {
    const boxed = (): { readonly value: T } | null => {
      if (!this.isStoreUp) return null;
      this.core.expire(this.clock.now());
      return { value: ask(this.core) };
    };
    this.network.call(from, STORE, CALL_TIMEOUT_MS, boxed, (result) => done(result === null ? null : result.value));
  }

  /** What the store holds, as the all-seeing eye. */
  state(): ClusterState {
    return decodeDocument<ClusterState>(this.core.get('state')?.value ?? '{}');
  }

  request(request: NonNullable<ClusterState['request']>): void {
    this.core.write([], [{ tag: 'put', key: 'state', value: encodeDocument({ ...this.state(), request }) }]);
  }

  storeDown(forMs: number): void {
    this.isStoreUp = false;
    this.clock.after(forMs, () => this.storeUp());
  }

  /** As etcd after an election: leases live for their whole time again. */
  storeUp(): void {
    if (this.isStoreUp) return;
    this.isStoreUp = true;
    this.core.extendLeases(this.clock.now());
  }

  stopWriting(): void {
    this.#isWriting = false;
  }

  primary(): Node | null {
    return this.nodes.get(this.state().primary ?? '') ?? null;
  }

  say(sentence: string): void {
    this.history.push(`${String(Math.round(this.clock.now())).padStart(7)} ${sentence}`);
  }

  /** One client believes the state; the others write wherever they please, as applications with a stale route do. */
  #clientWrites(client: number): void {
    if (!this.#isWriting) return;
    const names = this.spec.nodes;
    const target =
      client === 0 ? this.primary() : this.nodes.get(names[Math.floor(this.random.float() * names.length)] ?? '');
    const switchover = this.state().switchover;
    if (client === 0 && switchover !== null && switchover.step !== 'checkpointing') return;
    if (target === null || target === undefined) return;
    const commit = (this.#commit += 1);
    this.network.send('client', target.name, () => target.clientWrite(commit));
  }
}

/** One machine: a keeper, its fencer, a sentinel, a Postgres. */
export class Node {
  readonly name: string;
  readonly postgres = new SimPostgres();
  readonly #world: World;
  isOn = true;
  isKeeperOn = true;
  stalledUntilMs = 0;
  diskFreeBytes = 1e12;
  // What the keeper keeps on its disk.
  #sealedTerm = 0;
  #leaseId: string | null = null;
  #leaseTerm = 0;
  #deadlineMs = Number.NEGATIVE_INFINITY;
  // What it knows since it was started.
  #life = 0;
  #state: ClusterState | null = null;
  #stateRevision = 0;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #promises = new Map<string, number>();
  #promisesTerm = 0;
  #promise: { readonly term: number } | null = null;
  #promisedUntilMs = 0;
  #heardAtMs = 0;
  #checkpointedFor: string | null = null;
  #isBusy = false;
  #sequence = 0;
  #reaches = new Map<string, number | null>();
  #copying = false;
  // The sentinel.
  #sentinelLease: string | null = null;
  #seen = new Map<string, { sequence: number; atMs: number }>();
  #leaseFreeSinceMs: number | null = null;
  #isPlanning = false;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    if (name !== 'n1') this.postgres.state = 'absent';
    const { clock } = world;
    const whenUp = (task: () => void) => (): void => {
      if (this.isOn && this.isKeeperOn && clock.now() >= this.stalledUntilMs) task();
    };
    world.every(
      60,
      whenUp(() => this.#converge()),
    );
    world.every(
      world.spec.leaseMs / 6,
      whenUp(() => this.#renew()),
    );
    world.every(
      250,
      whenUp(() => this.#readState()),
    );
    world.every(
      300,
      whenUp(() => this.#writeFacts()),
    );
    world.every(
      500,
      whenUp(() => this.#ping()),
    );
    world.every(
      200,
      whenUp(() => this.#sentinel()),
    );
    world.every(40, () => this.#fencer());
    world.every(30, () => this.#stream());
  }

  get now(): number {
    return this.#world.clock.now();
  }

  boot(): void {
    this.isOn = true;
    this.startKeeper();
  }

  startKeeper(): void {
    this.isKeeperOn = true;
    this.#life += 1;
    this.#state = null;
    this.#promises.clear();
    this.#isBusy = false;
    this.#promise = null;
    // An earlier life may have promised until now.
    this.#promisedUntilMs = this.#life === 1 ? 0 : this.now + this.#world.spec.leaseMs;
    this.#heardAtMs = this.now;
    this.#leaseUntilMs = this.#deadlineMs;
    this.#sentinelLease = null;
    this.#seen.clear();
    this.#leaseFreeSinceMs = null;
    this.#isPlanning = false;
  }

  killKeeper(): void {
    this.isKeeperOn = false;
    this.#life += 1;
    this.#copying = false;
  }

  killPostgres(): void {
    const { state } = this.postgres;
    if (state === 'primary' || state === 'standby' || state === 'starting') this.postgres.set('crashed', this.now);
  }

  powerOff(): void {
    this.isOn = false;
    this.killKeeper();
    this.killPostgres();
  }

  clientWrite(commit: number): void {
    if (!this.isOn || this.postgres.state !== 'primary') return;
    this.#world.checkers.written(this.name, this.#leaseTerm, this.now);
    this.postgres.write(commit, () => this.#world.checkers.acknowledged.add(commit));
  }

  local(): LocalFacts {
    return {
      node: this.name,
      postgres: this.postgres.facts(this.now),
      state: this.#state,
      lease: this.#leaseId === null ? null : { term: this.#leaseTerm, untilMs: this.#leaseUntilMs },
      promises: this.#promises,
      promisedUntilMs: this.#world.bug === 'break-promise' ? 0 : this.#promisedUntilMs,
      sealedTerm: this.#sealedTerm,
      storeSilentMs: this.now - this.#heardAtMs,
      checkpointedFor: this.#checkpointedFor,
    };
  }

  // ---- The keeper

  #converge(): void {
    if (this.#isBusy) return;
    const local = this.local();
    this.#deadlineMs = writableUntilMs(this.#world.spec, local);
    const { action, sentence } = converge(this.#world.spec, local, this.now);
    if (action.tag === 'nothing') return;
    if (action.tag !== 'ask-promises' && action.tag !== 'acquire-lease') this.#world.say(`  ${this.name}: ${sentence}`);
    this.#act(action);
  }

  /** Runs `task` later, unless this keeper has died since. */
  #later(ms: number, task: () => void): void {
    this.#isBusy = true;
    const life = this.#life;
    this.#world.clock.after(ms * (0.5 + this.#world.random.float()), () => {
      if (life !== this.#life || !this.isOn) return;
      this.#isBusy = false;
      task();
    });
  }

  /** The answer of the store to a keeper that still lives. */
  #ask<T>(ask: (core: StoreCore) => T, done: (result: T | null) => void): void {
    const life = this.#life;
    this.#world.store(this.name, ask, (result) => {
      if (life !== this.#life || !this.isOn) return;
      if (result !== null) this.#heardAtMs = this.now;
      done(result);
    });
  }

  #act(action: KeeperAction): void {
    const { postgres } = this;
    switch (action.tag) {
      case 'fence':
        if (this.#world.bug === 'keep-writing' && postgres.state === 'primary') return;
        postgres.set('crashed', this.now);
        this.#release();
        return;
      case 'release-lease':
        this.#release();
        return;
      case 'stop':
        this.#later(100, () => {
          if (postgres.state === 'primary' && this.#isStopping()) this.#shutDown();
        });
        return;
      case 'acquire-lease':
        this.#acquire(action.term);
        return;
      case 'start-primary':
        this.#later(400, () => {
          if (!this.#mayOpen()) return;
          postgres.openAsPrimary(action.quorum, this.now);
          this.#world.checkers.complete(`${this.name} is started`, postgres, this.now);
        });
        return;
      case 'promote':
        this.#later(200, () => {
          if (postgres.state !== 'standby' || !this.#mayOpen()) return;
          // What Postgres would do if nobody kept the id for it.
          const timeline = this.#world.bug === 'next-timeline' ? postgres.timeline + 1 : action.timeline;
          postgres.promote(timeline, action.quorum, this.now);
          this.#world.checkers.promoted(this.name, postgres, this.now);
        });
        return;
      case 'force-quorum':
        this.#later(20, () => {
          if (postgres.state === 'primary') postgres.force(action.quorum);
        });
        return;
      case 'follow':
        this.#later(postgres.state === 'standby' ? 20 : 400, () => {
          if (postgres.state === 'primary') return;
          if (postgres.state !== 'standby') postgres.set('standby', this.now);
          postgres.following = action.node;
          postgres.receivedAtMs = null;
        });
        return;
      case 'seal':
        this.#sealedTerm = action.term;
        this.#promise = null;
        this.#writeFacts();
        return;
      case 'ask-promises':
        for (const name of action.nodes) this.#askPromise(name);
        this.#later(this.#world.spec.leaseMs / 8, () => {});
        return;
      case 'replace':
        this.#replace(action.from);
        return;
      case 'checkpoint':
        this.#later(200, () => {
          this.#checkpointedFor = action.id;
          this.#writeFacts();
        });
        return;
      default:
    }
  }

  #isStopping(): boolean {
    return this.#state?.switchover?.step === 'stopping' && this.#state.switchover.from === this.name;
  }

  /** All standbys that stream get the last record, as a fast shutdown of Postgres waits for. */
  #shutDown(): void {
    this.postgres.set('stopped', this.now);
    for (const node of this.#world.nodes.values()) {
      const { postgres } = node;
      if (!node.isOn) continue;
      if (
        postgres.state !== 'standby' ||
        postgres.following !== this.name ||
        postgres.timeline !== this.postgres.timeline
      )
        continue;
      if (this.#world.network.cut.has(`${this.name}>${node.name}`)) continue;
      this.#world.checkers.followed(node.name, postgres.log, this.postgres.log, this.now);
      postgres.log = [...this.postgres.log];
    }
  }

  #mayOpen(): boolean {
    const { state } = this.local();
    return (
      state?.primary === this.name &&
      this.#leaseId !== null &&
      this.#leaseTerm === state.term &&
      this.now < this.#leaseUntilMs - FENCE_MARGIN_MS
    );
  }

  #acquire(term: number): void {
    const { spec, bug } = this.#world;
    const sentAtMs = this.now;
    const revision = this.#stateRevision;
    const { name } = this;
    this.#later(50, () => {});
    this.#ask(
      (core) => {
        const lease = core.grantLease(spec.leaseMs, this.now);
        const conditions = [
          { key: 'state', revision },
          ...(bug === 'ignore-lease' ? [] : [{ key: 'lease', revision: 0 }]),
        ];
        const value = encodeDocument({ node: name, term });
        const written = core.write(conditions, [{ tag: 'put', key: 'lease', value, lease }]);
        if (written === null) core.revokeLease(lease);
        return { lease: written === null ? null : lease };
      },
      (result) => {
        if (result === null || result.lease === null) return;
        this.#leaseId = result.lease;
        this.#leaseTerm = term;
        this.#leaseUntilMs = sentAtMs + spec.leaseMs;
        this.#deadlineMs = this.#leaseUntilMs;
      },
    );
  }

  #renew(): void {
    const lease = this.#leaseId;
    const sentAtMs = this.now;
    if (lease === null) return;
    this.#ask(
      (core) => core.keepAlive(lease, this.now),
      (isAlive) => {
        if (isAlive === null || this.#leaseId !== lease) return;
        if (isAlive) this.#leaseUntilMs = Math.max(this.#leaseUntilMs, sentAtMs + this.#world.spec.leaseMs);
        else this.#leaseId = null;
      },
    );
  }

  /** Only ever called when this Postgres does not accept writes any more. */
  #release(): void {
    const lease = this.#leaseId;
    this.#leaseId = null;
    this.#leaseUntilMs = Number.NEGATIVE_INFINITY;
    if (lease !== null)
      this.#ask(
        (core) => (core.revokeLease(lease), true),
        () => {},
      );
  }

  #askPromise(name: string): void {
    const { state } = this.local();
    const peer = this.#world.nodes.get(name);
    if (state === null || peer === undefined) return;
    const sentAtMs = this.now;
    const { term } = state;
    const life = this.#life;
    this.#world.network.call(
      this.name,
      name,
      CALL_TIMEOUT_MS,
      () => peer.promise(this.name, term),
      (isPromised) => {
        if (isPromised !== true || life !== this.#life) return;
        if (this.#promisesTerm !== term) this.#promises.clear();
        this.#promisesTerm = term;
        this.#promises.set(name, sentAtMs + this.#world.spec.leaseMs);
      },
    );
  }

  /** Asked by a primary that does not reach the store. */
  promise(node: string, term: number): boolean | null {
    if (!this.isOn || !this.isKeeperOn || this.now < this.stalledUntilMs) return null;
    if (mayPromise(this.local(), { node, term }) !== null) return false;
    this.#promise = { term };
    this.#promisedUntilMs = this.now + this.#world.spec.leaseMs;
    return true;
  }

  /** The old folder is kept until the new one is complete. */
  #replace(from: string): void {
    const source = this.#world.nodes.get(from);
    if (source === undefined) return;
    if (this.postgres.state !== 'absent')
      this.postgres.set(this.postgres.state === 'unusable' ? 'unusable' : 'stopped', this.now);
    this.#copying = true;
    this.#later(3000, () => {
      const isCut =
        this.#world.network.cut.has(`${this.name}>${from}`) || this.#world.network.cut.has(`${from}>${this.name}`);
      if (!this.#copying || isCut || !source.isOn || source.postgres.state !== 'primary') return;
      const others = [...this.#world.nodes.values()].filter((one) => one !== this).map((one) => one.postgres);
      this.#world.checkers.replaced(this.name, others, this.now);
      this.postgres.log = [...source.postgres.log];
      this.postgres.timeline = source.postgres.timeline;
      this.postgres.history = [...source.postgres.history];
      this.postgres.set('standby', this.now);
      this.postgres.following = from;
    });
  }

  #readState(): void {
    this.#ask(
      (core) => core.get('state'),
      (entry) => {
        // An answer that was overtaken by a newer one is not believed.
        if (entry === null || entry.revision < this.#stateRevision) return;
        this.#stateRevision = entry.revision;
        const state = decodeDocument<ClusterState>(entry.value);
        if (state.term !== this.#promisesTerm) this.#promises.clear();
        this.#state = state;
      },
    );
  }

  #writeFacts(): void {
    const postgres = this.postgres.facts(this.now);
    this.#sequence += 1;
    const facts: NodeFacts = {
      node: this.name,
      sequence: this.#sequence,
      postgres,
      sealedTerm: this.#sealedTerm,
      promise: this.#world.bug !== 'break-promise' && this.now < this.#promisedUntilMs ? this.#promise : null,
      reaches: Object.fromEntries(this.#reaches),
      diskFreeBytes: this.diskFreeBytes,
      storeSilentMs: this.now - this.#heardAtMs > 1000 ? this.now - this.#heardAtMs : null,
      checkpointedFor: this.#checkpointedFor,
    };
    const value = encodeDocument(facts);
    this.#ask(
      (core) => core.write([], [{ tag: 'put', key: `facts/${this.name}`, value }]),
      () => {},
    );
  }

  #ping(): void {
    for (const [name, peer] of this.#world.nodes) {
      if (name === this.name) continue;
      const sentAtMs = this.now;
      const life = this.#life;
      const answer = (): true | null => (peer.isOn && peer.isKeeperOn && peer.now >= peer.stalledUntilMs ? true : null);
      this.#world.network.call(this.name, name, CALL_TIMEOUT_MS, answer, (result) => {
        if (life === this.#life) this.#reaches.set(name, result === null ? null : this.now - sentAtMs);
      });
    }
  }

  /** Stands for the process beside the keeper that holds nothing but the deadline. */
  #fencer(): void {
    if (!this.isOn || this.#world.bug === 'keep-writing' || this.#world.spec.nodes.length === 1) return;
    if (this.postgres.state !== 'primary' || this.now < this.#deadlineMs - FENCE_MARGIN_MS / 2) return;
    this.#world.say(`  ${this.name}: the fencer stops Postgres at its deadline`);
    this.postgres.set('crashed', this.now);
  }

  #stream(): void {
    const { postgres } = this;
    const source = this.#world.nodes.get(postgres.following ?? '');
    if (!this.isOn || postgres.state !== 'standby' || source === undefined) return;
    const { timeline, end } = postgres;
    const from = source.name;
    this.#world.network.call(
      this.name,
      from,
      CALL_TIMEOUT_MS,
      () => {
        if (!source.isOn) return null;
        const records = source.postgres.serve(this.name, timeline, end, this.now);
        if (records === null) return null;
        return {
          records,
          timeline: source.postgres.timeline,
          history: source.postgres.history,
          log: source.postgres.log,
        };
      },
      (answer) => {
        if (answer === null || postgres.following !== from || postgres.end !== end || postgres.timeline !== timeline)
          return;
        if (!this.isOn || postgres.state !== 'standby') return;
        this.#world.checkers.followed(this.name, postgres.log, answer.log, this.now);
        postgres.receivedAtMs = this.now;
        postgres.log.push(...answer.records);
        postgres.timeline = answer.timeline;
        postgres.history = [...answer.history];
      },
    );
  }

  // ---- The sentinel

  #sentinel(): void {
    if (this.#isPlanning) return;
    this.#isPlanning = true;
    const life = this.#life;
    const { spec } = this.#world;
    const mine = this.#sentinelLease;
    this.#world.store(
      this.name,
      (core) => {
        if (mine !== null) core.keepAlive(mine, this.now);
        let lease = mine;
        if (core.get('sentinel') === null) {
          lease = core.grantLease(spec.leaseMs, this.now);
          core.write([{ key: 'sentinel', revision: 0 }], [{ tag: 'put', key: 'sentinel', value: this.name, lease }]);
        }
        return {
          entries: [
            ...core.list('facts/'),
            ...['state', 'lease', 'sentinel'].map((key) => core.get(key)).filter((entry) => entry !== null),
          ],
          lease,
        };
      },
      (result) => {
        if (life !== this.#life) return;
        this.#isPlanning = false;
        if (result === null) return;
        this.#sentinelLease = result.lease;
        const entries = new Map(result.entries.map((entry) => [entry.key, entry] as const));
        const seen = this.#observe(entries);
        if (entries.get('sentinel')?.value === this.name) this.#decide(entries, seen);
      },
    );
  }

  #observe(entries: ReadonlyMap<string, Entry>): Observations {
    const nodes = new Map<string, { readonly facts: NodeFacts; readonly ageMs: number }>();
    for (const name of this.#world.spec.nodes) {
      const entry = entries.get(`facts/${name}`);
      if (entry === undefined) continue;
      const facts = decodeDocument<NodeFacts>(entry.value);
      const before = this.#seen.get(name);
      const isNew = before === undefined || before.sequence !== facts.sequence;
      const atMs = isNew ? this.now : before.atMs;
      this.#seen.set(name, { sequence: facts.sequence, atMs });
      nodes.set(name, { facts, ageMs: this.now - atMs });
    }
    const lease = entries.get('lease');
    const held = lease === undefined ? null : decodeDocument<{ node: string; term: number }>(lease.value);
    const isSilent = (nodes.get(held?.node ?? '')?.ageMs ?? 0) > IMPATIENT_MS;
    const leaseHolder = this.#world.bug === 'ignore-lease' && isSilent ? null : held;
    if (leaseHolder !== null) this.#leaseFreeSinceMs = null;
    else this.#leaseFreeSinceMs ??= this.now;
    const state = decodeDocument<ClusterState>(entries.get('state')?.value ?? '{}');
    const paused = state.switchover !== null && state.switchover.step !== 'checkpointing' ? state.switchover.id : null;
    const opened = state.switchover?.step === 'resuming' || state.switchover?.step === 'undoing';
    return {
      nodes,
      leaseHolder,
      leaseFreeMs: this.#leaseFreeSinceMs === null ? 0 : this.now - this.#leaseFreeSinceMs,
      proxies: [{ name: 'proxy', pausedFor: opened ? null : paused }],
      otherElections: 0,
    };
  }

  #decide(entries: ReadonlyMap<string, Entry>, seen: Observations): void {
    const stateEntry = entries.get('state');
    const leader = entries.get('sentinel');
    if (stateEntry === undefined || leader === undefined) return;
    const state = decodeDocument<ClusterState>(stateEntry.value);
    const found = this.#withBug(plan(this.#planSpec(), this.#believed(state), seen, { wallMs: this.#world.wall() }));
    const { next, sentence } = found;
    if (next === null) return;
    if (!isStateSound(next) && this.#world.bug === null) {
      this.#world.checkers.wrong.push(`at ${Math.round(this.now)} ms: published is not covered: ${sentence}`);
    }
    const conditions = [stateEntry, leader].map(({ key, revision }) => ({ key, revision }));
    this.#isPlanning = true;
    const life = this.#life;
    this.#world.store(
      this.name,
      (core) => {
        const entry: HistoryEntry = {
          number: next.historyNumber,
          term: next.term,
          wallMs: this.#world.wall(),
          sentence,
        };
        // The decision and its sentence are one write (I7).
        const written = core.write(conditions, [
          { tag: 'put', key: 'state', value: encodeDocument(next) },
          { tag: 'put', key: `history/${next.historyNumber}`, value: encodeDocument(entry) },
        ]);
        if (written !== null) this.#world.say(`${this.name} decides: ${sentence}`);
        return written ?? 0;
      },
      () => {
        if (life === this.#life) this.#isPlanning = false;
      },
    );
  }

  #planSpec(): ClusterSpec {
    return this.#world.bug === 'ignore-lease' ? { ...this.#world.spec, silentMs: IMPATIENT_MS } : this.#world.spec;
  }

  #believed(state: ClusterState): ClusterState {
    if (this.#world.bug !== 'elect-anybody' || state.published.count === 0) return state;
    const taken = [...state.published.names, state.primary ?? state.previous];
    const others = this.#world.spec.nodes.filter((name) => !taken.includes(name));
    return others.length === 0 || state.primary !== null
      ? state
      : { ...state, published: quorum(others, others.length) };
  }

  #withBug(found: Plan): Plan {
    const { next } = found;
    if (next === null) return found;
    switch (this.#world.bug) {
      case 'publish-before-postgres':
        return { ...found, next: { ...next, published: next.primary === null ? next.published : next.wanted } };
      case 'follow-anything':
        return {
          ...found,
          next: { ...next, forks: next.forks.map((fork) => ({ ...fork, forkLsn: fork.forkLsn + 1_000_000n })) },
        };
      default:
        return found;
    }
  }
}
