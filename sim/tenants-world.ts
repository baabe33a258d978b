// Tenants with clients in front of a modelled server, under the proxy's own limiter: `src/proxy/limits` runs here as it does
// in production, with time and chance from the seed.

import type { Fault } from '../src/base/fault.ts';
import { SILENT_LOG } from '../src/observe/log.ts';
import { Metrics } from '../src/observe/metrics.ts';
import type { Algorithm } from '../src/proxy/limits/concurrency-limit.ts';
import type { Lane, LaneWaiter } from '../src/proxy/limits/lane.ts';
import { Tenants, TENANTS_DEFAULTS } from '../src/proxy/limits/tenants.ts';
import type { Queued } from '../src/proxy/limits/wait-queue.ts';
import { PostgresModel, type ServerModel } from './postgres-model.ts';
import { SeededRandom, VirtualClock } from './virtual-time.ts';

/** As the janitor of the proxy. */
const TICK_MS = 333;

const SAMPLE_MS = 100;

/** One kind of statement. */
export interface StatementModel {
  readonly text: string;
  readonly diskMs?: number;
  readonly coreMs: number;
  /** How much calls differ (sigma of a lognormal distribution); 0 = not at all. */
  readonly spread?: number;
  /** Relative frequency. */
  readonly weight?: number;
}

export interface TenantModel {
  readonly name: string;
  readonly clients: number;
  /** Mean pause between transactions of one client. */
  readonly thinkMs: number;
  readonly statements: readonly StatementModel[];
  /** Statements per transaction, and the client's pause between them. */
  readonly transaction?: { readonly statements: number; readonly pauseMs: number };
  /** Server connections; as default_pool_size. */
  readonly poolSize?: number;
  readonly qps?: number;
  readonly maxWaiting?: number;
  readonly weight?: number;
  /** Clients come at this time, and go at that. */
  readonly fromMs?: number;
  readonly untilMs?: number;
}

export interface WorldModel {
  readonly seconds: number;
  readonly server: ServerModel;
  readonly budget?: number;
  readonly tenants: readonly TenantModel[];
  /** The server's speed changes: [at second, speed]. */
  readonly speeds?: readonly (readonly [number, number])[];
  readonly waitTimeoutMs?: number;
}

export interface TenantResult {
  readonly name: string;
  readonly done: number;
  readonly refused: number;
  /** Waiting included, of what ended in the given stretch. */
  latency(quantile: number, fromMs?: number, untilMs?: number): number;
  perSecond(fromMs?: number, untilMs?: number): number;
  /** Limit (Infinity: none) and in flight, every tenth of a second. */
  readonly limits: readonly number[];
  readonly inFlight: readonly number[];
  /** Longest wait of any. */
  readonly longestWaitMs: number;
}

export interface WorldResult {
  readonly tenants: ReadonlyMap<string, TenantResult>;
  /** Most transactions open at once over all tenants. */
  readonly openMax: number;
  readonly busyMax: number;
  /** Who still waited or ran when the world had been left alone long enough. */
  readonly stranded: number;
  readonly reasons: readonly string[];
}

class Recorder implements TenantResult {
  readonly name: string;
  readonly ends: number[] = [];
  readonly latencies: number[] = [];
  readonly limits: number[] = [];
  readonly inFlight: number[] = [];
  refused = 0;
  longestWaitMs = 0;
  readonly #totalMs: number;

  constructor(name: string, totalMs: number) {
    this.name = name;
    this.#totalMs = totalMs;
  }

  get done(): number {
    return this.ends.length;
  }

  latency(quantile: number, fromMs = 0, untilMs = Number.POSITIVE_INFINITY): number {
    const chosen = this.latencies
      .filter((_, index) => (this.ends[index] as number) >= fromMs && (this.ends[index] as number) < untilMs)
      .sort((a, b) => a - b);
    return chosen[Math.min(chosen.length - 1, Math.floor(chosen.length * quantile))] ?? 0;
  }

  perSecond(fromMs = 0, untilMs = this.#totalMs): number {
    const count = this.ends.filter((at) => at >= fromMs && at < untilMs).length;
    return count / ((untilMs - fromMs) / 1000);
  }
}

class SimulatedClient implements LaneWaiter {
  queueNext: Queued | null = null;
  queuePrevious: Queued | null = null;
  queueClass = -1;
  queueTicket = 0;
  waitingSince = 0;
  fingerprint = 0;
  readonly #world: RunningWorld;
  readonly #model: TenantModel;
  readonly #lane: Lane;
  readonly #recorder: Recorder;
  #statement: StatementModel;
  #left = 0;
  #beganAt = 0;

  constructor(world: RunningWorld, model: TenantModel, lane: Lane, recorder: Recorder) {
    this.#world = world;
    this.#model = model;
    this.#lane = lane;
    this.#recorder = recorder;
    this.#statement = model.statements[0] as StatementModel;
  }

  start(): void {
    this.#think();
  }

  #think(): void {
    const { clock, random } = this.#world;
    clock.after(random.exponential(this.#model.thinkMs), () => {
      if (clock.now() < (this.#model.untilMs ?? this.#world.endsAt)) this.#begin();
    });
  }

  #begin(): void {
    const now = this.#world.clock.now();
    this.#left = this.#model.transaction?.statements ?? 1;
    this.#choose();
    this.#beganAt = now;
    if (this.#lane.tryEnter(now)) this.#execute();
    else {
      const fault = this.#lane.wait(this, now);
      if (fault !== null) this.permissionRefused();
    }
  }

  #choose(): void {
    const { statements } = this.#model;
    const total = statements.reduce((sum, one) => sum + (one.weight ?? 1), 0);
    let at = this.#world.random.float() * total;
    this.#statement =
      statements.find((one) => {
        at -= one.weight ?? 1;
        return at < 0;
      }) ?? (statements[0] as StatementModel);
    this.fingerprint = this.#world.fingerprintOf(this.#statement);
  }

  permitted(): void {
    const waited = this.#world.clock.now() - this.waitingSince;
    this.#recorder.longestWaitMs = Math.max(this.#recorder.longestWaitMs, waited);
    this.waitingSince = 0;
    this.#execute();
  }

  permissionRefused(_fault?: Fault): void {
    this.#recorder.refused += 1;
    this.#think();
  }

  #execute(): void {
    const { clock, random, server } = this.#world;
    const { text, diskMs = 0, coreMs, spread = 0 } = this.#statement;
    const factor = spread === 0 ? 1 : random.lognormal(1, spread);
    const startedAt = clock.now();
    this.#world.watch();
    server.run({ diskMs: diskMs * factor, coreMs: coreMs * factor }, () => {
      const now = clock.now();
      this.#lane.sample(this.fingerprint, now - startedAt, text, now);
      this.#ended();
    });
  }

  #ended(): void {
    const { clock, random } = this.#world;
    this.#left -= 1;
    if (this.#left > 0) {
      this.#lane.rest(clock.now());
      clock.after(random.exponential(this.#model.transaction?.pauseMs ?? 0), () => {
        this.#lane.goOn(clock.now());
        this.#choose();
        this.#execute();
      });
      return;
    }
    const now = clock.now();
    this.#recorder.ends.push(now);
    this.#recorder.latencies.push(now - this.#beganAt);
    this.#lane.leave(now, true);
    this.#think();
  }
}

interface RunningWorld {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly server: PostgresModel;
  readonly endsAt: number;
  fingerprintOf(statement: StatementModel): number;
  watch(): void;
}

/** Runs a world from its beginning to its end. The same seed gives the same result, to the last digit. */
export function runWorld(
  model: WorldModel,
  options: { readonly seed: number; readonly algorithm: Algorithm },
): WorldResult {
  const clock = new VirtualClock();
  const random = new SeededRandom(options.seed);
  const server = new PostgresModel(clock, model.server);
  const endsAt = model.seconds * 1000;
  const tenants = new Tenants({
    random,
    log: SILENT_LOG,
    shares: null,
    workers: () => 1,
    metrics: new Metrics(),
    now: () => clock.now(),
    after: (ms, task) => void clock.after(ms, task),
    waitTimeoutMs: () => model.waitTimeoutMs ?? 0,
    describe: (text) => text,
    config: {
      ...TENANTS_DEFAULTS,
      serverBudget: model.budget ?? 0,
      limits: { ...TENANTS_DEFAULTS.limits, algorithm: options.algorithm },
      rules: model.tenants.map((one) => ({
        name: one.name,
        database: one.name,
        user: '',
        applicationName: '',
        limits: {
          maxConnections: null,
          poolSize: one.poolSize ?? 20,
          qps: one.qps ?? null,
          maxWaiting: one.maxWaiting ?? null,
          weight: one.weight ?? null,
          algorithm: null,
        },
      })),
    },
  });
  const backend = tenants.backend('primary');
  const fingerprints = new Map<StatementModel, number>();
  let openMax = 0;
  let busyMax = 0;
  const world: RunningWorld = {
    clock,
    random,
    server,
    endsAt,
    fingerprintOf(statement) {
      const known = fingerprints.get(statement) ?? fingerprints.size + 1;
      fingerprints.set(statement, known);
      return known;
    },
    watch() {
      openMax = Math.max(openMax, backend.open);
      busyMax = Math.max(busyMax, server.busy);
    },
  };
  const recorders = new Map<string, Recorder>();
  const lanes = new Map<string, Lane>();
  for (const one of model.tenants) {
    const tenant = tenants.of(one.name, 'app', '');
    tenant.uses(one.name, () => one.poolSize ?? 20);
    tenant.configure(tenant.limits, 0);
    const lane = tenants.lane(tenant, backend);
    const recorder = new Recorder(one.name, endsAt);
    recorders.set(one.name, recorder);
    lanes.set(one.name, lane);
    for (let count = 0; count < one.clients; count += 1) {
      const client = new SimulatedClient(world, one, lane, recorder);
      clock.after(one.fromMs ?? 0, () => client.start());
    }
  }
  for (const [second, speed] of model.speeds ?? []) clock.after(second * 1000, () => server.setSpeed(speed));
  repeat(clock, TICK_MS, () => tenants.tick(clock.now()));
  repeat(clock, SAMPLE_MS, () => {
    if (clock.now() > endsAt) return;
    for (const [name, lane] of lanes) {
      recorders.get(name)?.limits.push(lane.busyMax);
      recorders.get(name)?.inFlight.push(lane.open);
    }
  });
  clock.runUntil(endsAt);
  // Nobody begins anything more: whoever waits now must get his turn without anybody's help.
  clock.runUntil(endsAt + SETTLE_MS);
  let stranded = 0;
  for (const lane of lanes.values()) stranded += lane.open + lane.queue.length;
  return {
    tenants: recorders,
    openMax,
    busyMax,
    stranded,
    reasons: tenants.history.map(
      (one) => `${(one.at / 1000).toFixed(1)} s ${one.tenant} from ${one.from} to ${one.to}: ${one.reason}`,
    ),
  };
}

const SETTLE_MS = 600_000;

function repeat(clock: VirtualClock, everyMs: number, task: () => void): void {
  clock.after(everyMs, () => {
    task();
    repeat(clock, everyMs, task);
  });
}
