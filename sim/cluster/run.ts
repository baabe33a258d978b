// One run: a cluster forms, faults follow from the seed, everything heals, and it must be whole again without anybody's help.

import { BUGS, type Bug, type Node, World } from './world.ts';

export const KINDS = ['faults', 'store', 'switchover'] as const;
export type Kind = (typeof KINDS)[number];

export interface RunOptions {
  readonly seed: number;
  /** `faults`: anything; `store`: only the store is broken, and nobody may be deposed; `switchover`: moves under small faults. */
  readonly kind: Kind;
  readonly bug?: Bug;
}

export interface RunResult {
  readonly wrong: readonly string[];
  readonly history: readonly string[];
  readonly terms: number;
  readonly acknowledged: number;
}

const FORMED_BY_MS = 40_000;
const FAULTS_UNTIL_MS = 120_000;
const WHOLE_WITHIN_MS = 90_000;
/** Between two looks at whether it is whole. */
const LOOK_MS = 1000;

export function run(options: RunOptions): RunResult {
  const { seed, kind } = options;
  const size = 2 + (seed % 4);
  const world = new World({
    seed: seed * 7919 + KINDS.indexOf(kind),
    nodes: size,
    spec: {
      policy: seed % 3 === 0 ? 'degraded' : 'strict',
      syncMax: 1 + (seed % 2),
      // ANY 1 of 2, and 2 of 2.
      quorum: 1 + (seed % 5 === 0 ? 1 : 0),
    },
  });
  const { clock, checkers } = world;
  runUntilWhole(world, FORMED_BY_MS, 'after the start');
  world.bug = options.bug ?? null;
  const term = world.state().term;
  const began = clock.now();
  const injector = new Injector(world, kind);
  injector.next();
  clock.runUntil(began + FAULTS_UNTIL_MS);
  const acknowledged = checkers.acknowledged.size;
  if (kind === 'store' && world.state().term !== term && checkers.wrong.length === 0) {
    checkers.wrong.push(`only the store was broken, and term ${term} became ${world.state().term}`);
  }
  injector.heal();
  if (checkers.wrong.length === 0) runUntilWhole(world, WHOLE_WITHIN_MS, 'after everything healed');
  const primary = world.primary();
  if (primary !== null && checkers.wrong.length === 0)
    checkers.complete('the cluster ends', primary.postgres, clock.now());
  if (acknowledged === 0 && checkers.wrong.length === 0)
    checkers.wrong.push('no commit was acknowledged in the whole run');
  return {
    wrong: checkers.wrong,
    history: world.history,
    terms: world.state().term,
    acknowledged: checkers.acknowledged.size,
  };
}

/**
 * One story: the primary is gone; whoever is promoted then dies before anybody has seen its timeline; a human forces the last node,
 * which promotes from the same parent. All come back.
 */
export function runForced(seed: number, bug?: Bug): readonly string[] {
  const world = new World({ seed, nodes: 3 });
  const { clock, checkers, network } = world;
  const until = (condition: () => boolean): void => {
    for (let steps = 0; steps < 600 && !condition() && checkers.wrong.length === 0; steps += 1)
      clock.runUntil(clock.now() + 100);
    if (!condition() && checkers.wrong.length === 0) checkers.wrong.push('the story does not go on');
  };
  runUntilWhole(world, FORMED_BY_MS, 'after the start');
  world.bug = bug ?? null;
  const first = world.primary() as Node;
  const standbys = [...world.nodes.values()].filter((node) => node !== first);
  for (const a of standbys) for (const b of standbys) if (a !== b) network.cut.add(`${a.name}>${b.name}`);
  first.powerOff();
  until(() => standbys.some((node) => node.postgres.state === 'primary'));
  const second = standbys.find((node) => node.postgres.state === 'primary') ?? (standbys[0] as Node);
  const third = standbys.find((node) => node !== second) as Node;
  second.powerOff();
  until(() => world.core.get('lease') === null);
  checkers.accept(third.postgres);
  world.request({ tag: 'failover', id: 'forced', to: third.name, acceptLossLsn: 0n, isOldPrimaryOff: true });
  until(() => third.postgres.state === 'primary');
  network.heal();
  first.boot();
  second.boot();
  if (checkers.wrong.length === 0) runUntilWhole(world, WHOLE_WITHIN_MS, 'after the forced failover');
  return checkers.wrong;
}

export function isBug(name: string): name is Bug {
  return (BUGS as readonly string[]).includes(name);
}

function runUntilWhole(world: World, withinMs: number, when: string): void {
  const { clock, checkers } = world;
  const until = clock.now() + withinMs;
  let missing = whyNotWhole(world);
  while (missing !== null && clock.now() < until && checkers.wrong.length === 0) {
    clock.runUntil(clock.now() + LOOK_MS);
    missing = whyNotWhole(world);
  }
  if (missing !== null && checkers.wrong.length === 0) {
    checkers.wrong.push(`not whole ${withinMs} ms ${when}: ${missing}`);
  }
}

/** Null: there is a primary, everybody follows it, and as many as wanted may be promoted. */
function whyNotWhole(world: World): string | null {
  const state = world.state();
  const primary = world.primary();
  if (primary === null || primary.postgres.state !== 'primary')
    return `${state.primary ?? 'nobody'} is the primary and does not run`;
  for (const node of world.nodes.values()) {
    if (node !== primary && (node.postgres.state !== 'standby' || node.postgres.following !== primary.name)) {
      return `${node.name} is ${node.postgres.state} of ${node.postgres.following ?? 'nobody'}`;
    }
    if (node !== primary && node.postgres.timeline !== primary.postgres.timeline)
      return `${node.name} is on another timeline`;
  }
  const wanted = Math.min(world.spec.syncMin, world.spec.nodes.length - 1);
  return state.published.names.length < wanted ? `${state.published.names.length} of ${wanted} may be promoted` : null;
}

/** Breaks things, one after the other, and mends most of them again before the end. */
class Injector {
  readonly #world: World;
  readonly #kind: Kind;
  #isOver = false;
  #moves = 0;

  constructor(world: World, kind: Kind) {
    this.#world = world;
    this.#kind = kind;
  }

  next(): void {
    this.#world.clock.after(500 + this.#world.random.exponential(4000), () => {
      if (this.#isOver) return;
      if (this.#kind === 'store') this.#breakStore();
      else if (this.#kind === 'switchover' && this.#world.random.float() < 0.6) this.#move();
      else this.#breakSomething();
      this.next();
    });
  }

  heal(): void {
    this.#isOver = true;
    const world = this.#world;
    world.say('--- everything heals');
    world.network.heal();
    world.storeUp();
    for (const node of world.nodes.values()) {
      node.stalledUntilMs = 0;
      if (!node.isOn) node.boot();
      else if (!node.isKeeperOn) node.startKeeper();
    }
  }

  #pick(): Node {
    const { random } = this.#world;
    // Half of all faults hit the primary.
    const primary = this.#world.primary();
    if (primary !== null && random.float() < 0.5) return primary;
    const all = [...this.#world.nodes.values()];
    return all[Math.floor(random.float() * all.length)] as Node;
  }

  #mend(meanMs: number, task: () => void): void {
    this.#world.clock.after(this.#world.random.exponential(meanMs), () => {
      if (!this.#isOver) task();
    });
  }

  #breakStore(): void {
    const world = this.#world;
    const { network, random } = world;
    const kind = random.float();
    if (kind < 0.5) {
      const ms = random.float() < 0.3 ? 20_000 + random.float() * 40_000 : 500 + random.float() * 3000;
      world.say(`--- the store is away for ${Math.round(ms)} ms`);
      world.storeDown(ms);
    } else {
      const node = this.#pick();
      world.say(`--- ${node.name} and the store do not reach each other`);
      this.#cut(node.name, 'store', 8000);
    }
    void network;
  }

  #move(): void {
    const world = this.#world;
    const { random, spec } = world;
    const to = spec.nodes[Math.floor(random.float() * spec.nodes.length)] as string;
    this.#moves += 1;
    world.say(`--- a switchover to ${to} is asked for`);
    world.request({ tag: 'switchover', id: `move${this.#moves}`, to });
  }

  #breakSomething(): void {
    const world = this.#world;
    const { network, random, clock } = world;
    const node = this.#pick();
    const { name } = node;
    const kinds: readonly (() => void)[] = [
      () => {
        world.say(`--- Postgres of ${name} is killed`);
        node.killPostgres();
      },
      () => {
        world.say(`--- the keeper of ${name} is killed`);
        node.killKeeper();
        this.#mend(4000, () => {
          if (node.isOn && !node.isKeeperOn) node.startKeeper();
        });
      },
      () => {
        world.say(`--- ${name} loses power`);
        node.powerOff();
        this.#mend(15_000, () => {
          if (!node.isOn) node.boot();
        });
      },
      () => {
        const ms = random.exponential(5000);
        world.say(`--- the keeper of ${name} stalls for ${Math.round(ms)} ms`);
        node.stalledUntilMs = clock.now() + ms;
      },
      () => {
        const other = this.#pick();
        if (other === node) return;
        world.say(`--- ${name} and ${other.name} do not reach each other`);
        this.#cut(name, other.name, 8000);
      },
      () => {
        const other = random.float() < 0.5 ? 'store' : this.#pick().name;
        world.say(`--- ${name} does not reach ${other}`);
        network.cut.add(`${name}>${other}`);
        this.#mend(8000, () => network.cut.delete(`${name}>${other}`));
      },
      () => {
        world.say(`--- ${name} is cut off from everybody but its clients`);
        for (const other of [...world.spec.nodes, 'store']) if (other !== name) this.#cut(name, other, 10_000);
      },
      () => this.#breakStore(),
      () => {
        world.say('--- messages get lost');
        network.loss = random.float() * 0.3;
        this.#mend(8000, () => {
          network.loss = 0;
        });
      },
      () => {
        world.say('--- a link flaps');
        const other = this.#pick().name;
        for (let time = 0; time < 8; time += 1) clock.after(time * 2000, () => this.#cut(name, other, 1000));
      },
      () => {
        world.wallShiftMs += (random.float() - 0.5) * 7_200_000;
        world.say(`--- the wall clocks jump`);
      },
      () => {
        const other = this.#pick().name;
        world.say(`--- ${name} to ${other} is slow`);
        network.slow.set(`${name}>${other}`, 300);
        this.#mend(10_000, () => network.slow.delete(`${name}>${other}`));
      },
    ];
    (kinds[Math.floor(random.float() * kinds.length)] as () => void)();
  }

  #cut(a: string, b: string, meanMs: number): void {
    const { network } = this.#world;
    if (a === b || this.#isOver) return;
    for (const link of [`${a}>${b}`, `${b}>${a}`]) network.cut.add(link);
    this.#mend(meanMs, () => {
      for (const link of [`${a}>${b}`, `${b}>${a}`]) network.cut.delete(link);
    });
  }
}
