// Worlds worth looking at, each with what must be true of it. Deterministic: a seed that fails is run again with
// `npm run sim -- NAME --seed N`; found seeds are kept in seeds.txt and run with the tests.

import type { Algorithm } from '../src/proxy/limits/concurrency-limit.ts';
import {
  runWorld,
  type StatementModel,
  type TenantModel,
  type TenantResult,
  type WorldModel,
  type WorldResult,
} from './tenants-world.ts';
import { SeededRandom } from './virtual-time.ts';

export interface Scenario {
  readonly name: string;
  readonly help: string;
  world(seed: number): WorldModel;
  /** Sentences about what is not as it must be; empty when all is. */
  check(result: WorldResult, context: CheckContext): string[];
}

export interface CheckContext {
  readonly seed: number;
  readonly algorithm: Algorithm;
  readonly model: WorldModel;
  /** The same world changed a little, for comparisons; run only when asked for. */
  readonly run: (change: Partial<WorldModel>, algorithm?: Algorithm) => WorldResult;
}

const SCAN: StatementModel = { text: 'select sum(x) from big', coreMs: 200, spread: 0.2 };
const POINT: StatementModel = { text: 'select x from t where id = ?', coreMs: 0.5, spread: 0.3 };

const SERVER = { cores: 4, disks: 64, contention: 0.05 };

const flood: TenantModel = { name: 'flood', clients: 20, thinkMs: 1, statements: [SCAN] };
const reader: TenantModel = { name: 'reader', clients: 4, thinkMs: 20, statements: [POINT] };

function of(result: WorldResult, name: string): TenantResult {
  const found = result.tenants.get(name);
  if (found === undefined) throw new Error(`no tenant ${name}`);
  return found;
}

/** When the limit is settled: from this part of the run on. */
const SETTLED_MS = 20_000;

/** Limits of a tenant from `fromMs` on, without the moments of a probe. */
function limitsOf(result: WorldResult, name: string, fromMs: number): number[] {
  return of(result, name).limits.slice(fromMs / 100);
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'noisy',
    help: 'one tenant floods with scans, another reads points: the reader hardly notices',
    world: (seed) => ({
      seconds: 60,
      server: { ...SERVER, cores: [1, 2, 4, 8][seed % 4] as number },
      tenants: [flood, reader],
    }),
    check(result, { model, run }) {
      const alone = run({ tenants: [reader] });
      const without = run({}, 'off');
      const p99 = of(result, 'reader').latency(0.99, SETTLED_MS);
      const p99Alone = of(alone, 'reader').latency(0.99, SETTLED_MS);
      const flooded = of(result, 'flood').perSecond(SETTLED_MS);
      const floodedWithout = of(without, 'flood').perSecond(SETTLED_MS);
      // On one core whatever runs beside a reader takes half of it, even a single scan.
      const factor = model.server.cores === 1 ? 3 : 2;
      return [
        ...(p99 <= factor * p99Alone
          ? []
          : [`p99 of the reader is ${p99.toFixed(2)} ms, alone ${p99Alone.toFixed(2)} ms`]),
        ...(flooded >= floodedWithout * 0.6
          ? []
          : [`the flood gets ${flooded.toFixed(1)} scans/s done, without limits ${floodedWithout.toFixed(1)}`]),
      ];
    },
  },
  {
    name: 'alone',
    help: 'one tenant floods: the limit settles near the cores, throughput is no worse, and it does not swing',
    world: (seed) => ({
      seconds: 60,
      server: { ...SERVER, cores: [2, 4, 8][seed % 3] as number },
      tenants: [{ ...flood, clients: 40, poolSize: 40 }],
    }),
    check(result, { model, run, algorithm }) {
      const without = run({}, 'off');
      const done = of(result, 'flood').perSecond(SETTLED_MS);
      const doneWithout = of(without, 'flood').perSecond(SETTLED_MS);
      const limits = limitsOf(result, 'flood', SETTLED_MS);
      const swing = quantile(limits, 0.95) - quantile(limits, 0.05);
      const middle = quantile(limits, 0.5);
      const { cores } = model.server;
      return [
        ...(done >= doneWithout ? [] : [`${done.toFixed(1)} scans/s, without limits ${doneWithout.toFixed(1)}`]),
        // Vegas keeps three to six in line; Gradient2 takes up to three times the baseline for normal.
        ...(middle >= cores && middle <= (algorithm === 'vegas' ? cores + 8 : cores * 4 + 6)
          ? []
          : [`the limit settles at ${middle} for ${cores} cores`]),
        ...(swing <= Math.max(4, middle * 0.4) ? [] : [`the limit swings by ${swing} around ${middle}`]),
      ];
    },
  },
  {
    name: 'fair',
    help: 'three tenants want more than the budget: equal parts, however many clients each has',
    world: () => ({
      seconds: 60,
      server: { ...SERVER, cores: 16 },
      budget: 13,
      tenants: [10, 20, 40].map((clients) => ({ ...flood, name: `flood${clients}`, clients, poolSize: 100 })),
    }),
    check(result) {
      const rates = [10, 20, 40].map((clients) => of(result, `flood${clients}`).perSecond(SETTLED_MS));
      const sum = rates.reduce((total, one) => total + one, 0);
      const squares = rates.reduce((total, one) => total + one * one, 0);
      const jain = (sum * sum) / (rates.length * squares);
      return [
        ...(jain >= 0.97
          ? []
          : [`Jain's index is ${jain.toFixed(3)}: ${rates.map((one) => one.toFixed(1)).join(', ')}`]),
        ...(result.openMax <= 13 ? [] : [`${result.openMax} transactions at once, the budget is 13`]),
      ];
    },
  },
  {
    name: 'newcomer',
    help: 'a tenant that comes while others fill the budget with long scans does not wait for one of them',
    world: () => ({
      seconds: 60,
      server: { ...SERVER, cores: 16 },
      budget: 10,
      tenants: [
        { ...flood, clients: 30, statements: [{ ...SCAN, coreMs: 3_000 }] },
        { ...reader, clients: 1, fromMs: 30_000 },
      ],
    }),
    check(result) {
      const longest = of(result, 'reader').longestWaitMs;
      return longest <= 50 ? [] : [`the newcomer waited ${longest.toFixed(0)} ms`];
    },
  },
  {
    name: 'slower',
    help: 'the server becomes three times as slow for good: the baselines are learnt anew and the limit comes back',
    world: () => ({
      seconds: 300,
      server: { ...SERVER, cores: 8 },
      speeds: [[60, 0.33]],
      tenants: [{ ...flood, clients: 12, thinkMs: 100 }, reader],
    }),
    check: (result, { run }) => relearns(result, run({}, 'off')),
  },
  {
    name: 'faster',
    help: 'the server becomes three times as fast for good: the limit makes use of it',
    world: () => ({
      seconds: 300,
      server: { ...SERVER, cores: 8 },
      speeds: [
        [0, 0.33],
        [60, 1],
      ],
      tenants: [{ ...flood, clients: 12, thinkMs: 100 }, reader],
    }),
    check: (result, { run }) => relearns(result, run({}, 'off')),
  },
  {
    name: 'burst',
    help: 'a tenant that is quiet most of the time comes with fifty statements at once, again and again',
    world: () => ({
      seconds: 90,
      server: SERVER,
      tenants: [
        { ...flood, clients: 6 },
        { ...reader, name: 'bursts', clients: 50, thinkMs: 5_000 },
      ],
    }),
    check(result, { run }) {
      const p99 = of(result, 'bursts').latency(0.99, SETTLED_MS);
      const without = of(run({}, 'off'), 'bursts').latency(0.99, SETTLED_MS);
      return p99 <= without * 1.1 + 1
        ? []
        : [`p99 of the bursts is ${p99.toFixed(1)} ms, without limits ${without.toFixed(1)} ms`];
    },
  },
  {
    name: 'disk',
    help: 'statements that wait for disks which can do more: nobody is held back',
    world: () => ({
      seconds: 60,
      server: SERVER,
      tenants: [
        { ...flood, clients: 20, statements: [{ text: 'select from cold', diskMs: 50, coreMs: 1, spread: 0.3 }] },
      ],
    }),
    check(result, { run }) {
      const done = of(result, 'flood').perSecond(SETTLED_MS);
      const without = of(run({}, 'off'), 'flood').perSecond(SETTLED_MS);
      return done >= without * 0.95 ? [] : [`${done.toFixed(0)} per second, without limits ${without.toFixed(0)}`];
    },
  },
  {
    name: 'thinkers',
    help: 'clients that think inside their transactions use server connections and not the server: they hold nobody back',
    world: () => ({
      seconds: 60,
      server: SERVER,
      tenants: [
        {
          ...reader,
          name: 'thinkers',
          clients: 30,
          thinkMs: 10,
          poolSize: 30,
          transaction: { statements: 4, pauseMs: 200 },
        },
      ],
    }),
    check(result, { run }) {
      const done = of(result, 'thinkers').perSecond(SETTLED_MS);
      const without = of(run({}, 'off'), 'thinkers').perSecond(SETTLED_MS);
      return done >= without * 0.97 ? [] : [`${done.toFixed(1)} transactions/s, without limits ${without.toFixed(1)}`];
    },
  },
  {
    name: 'mixed',
    help: 'one tenant with cheap and expensive statements and far too many clients: the cheap ones overtake, nobody starves',
    world: () => ({
      seconds: 60,
      server: SERVER,
      tenants: [
        {
          name: 'mixed',
          clients: 60,
          thinkMs: 50,
          statements: [
            { ...SCAN, weight: 1 },
            { ...POINT, weight: 4 },
          ],
        },
      ],
    }),
    check(result, { run }) {
      const { longestWaitMs } = of(result, 'mixed');
      const p50 = of(result, 'mixed').latency(0.5, SETTLED_MS);
      const done = of(result, 'mixed').perSecond(SETTLED_MS);
      const without = of(run({}, 'off'), 'mixed').perSecond(SETTLED_MS);
      // In a plain line everybody would wait about as long as everybody else (Little's law).
      const mean = (60 / done) * 1000 - 50;
      return [
        ...(longestWaitMs <= 10_000 ? [] : [`somebody waited ${longestWaitMs.toFixed(0)} ms`]),
        ...(p50 <= mean / 2 ? [] : [`the median is ${p50.toFixed(0)} ms, the mean ${mean.toFixed(0)} ms`]),
        ...(done >= without * 0.97 ? [] : [`${done.toFixed(1)} per second, without limits ${without.toFixed(1)}`]),
      ];
    },
  },
  {
    name: 'random',
    help: 'any tenants, any server, any limits: budgets hold, nobody is forgotten',
    world: randomWorld,
    check(result, { model }) {
      const budget = model.budget ?? 0;
      const wrong: string[] = [];
      if (budget > 0 && result.openMax > budget) wrong.push(`${result.openMax} at once, the budget is ${budget}`);
      for (const one of model.tenants) {
        const most = Math.max(0, ...of(result, one.name).inFlight);
        if (most > (one.poolSize ?? 20))
          wrong.push(`${one.name} had ${most} at once, its pool_size is ${one.poolSize ?? 20}`);
        if (limitsOf(result, one.name, 0).some((limit) => limit < 1))
          wrong.push(`the limit of ${one.name} fell below 1`);
        const { qps = 0, fromMs = 0 } = one;
        const { done, refused } = of(result, one.name);
        const untilEnd = of(result, one.name).perSecond() * model.seconds;
        const allowed = qps * (model.seconds - fromMs / 1000 + 1) + 1;
        if (qps > 0 && untilEnd > allowed) wrong.push(`${one.name} got ${untilEnd} done, ${allowed} are allowed`);
        if (done === 0 && refused === 0 && model.seconds * 1000 - fromMs > 10_000)
          wrong.push(`${one.name} got nothing done`);
      }
      return wrong;
    },
  },
];

/** After a change of the server's speed at 60 s: in the end as much gets done as without limits. */
function relearns(result: WorldResult, without: WorldResult): string[] {
  const done = of(result, 'flood').perSecond(200_000);
  const doneWithout = of(without, 'flood').perSecond(200_000);
  const p99 = of(result, 'reader').latency(0.99, 200_000);
  const p99Without = of(without, 'reader').latency(0.99, 200_000);
  return [
    ...(done >= doneWithout * 0.7
      ? []
      : [`${done.toFixed(1)} scans/s in the end, without limits ${doneWithout.toFixed(1)}`]),
    ...(p99 <= p99Without * 1.2
      ? []
      : [`p99 of the reader ${p99.toFixed(1)} ms in the end, without limits ${p99Without.toFixed(1)} ms`]),
  ];
}

function randomWorld(seed: number): WorldModel {
  const random = new SeededRandom(seed ^ 0x5eed);
  const whole = (from: number, to: number): number => from + Math.floor(random.float() * (to - from + 1));
  const seconds = whole(5, 20);
  const count = whole(1, 6);
  return {
    seconds,
    server: { cores: whole(1, 16), disks: whole(1, 64), contention: random.float() * 0.2 },
    budget: random.float() < 0.6 ? whole(1, 30) : 0,
    speeds: random.float() < 0.5 ? [] : [[whole(1, seconds), 0.2 + random.float() * 2]],
    tenants: Array.from({ length: count }, (_, index) => ({
      name: `t${index}`,
      clients: whole(1, 30),
      thinkMs: whole(1, 200),
      poolSize: whole(1, 30),
      weight: whole(1, 3),
      ...(random.float() < 0.3 ? { qps: whole(1, 100) } : {}),
      ...(random.float() < 0.3 ? { maxWaiting: whole(1, 20) } : {}),
      ...(random.float() < 0.3 ? { fromMs: whole(0, seconds * 500) } : {}),
      ...(random.float() < 0.3 ? { transaction: { statements: whole(2, 4), pauseMs: whole(0, 50) } } : {}),
      statements: Array.from({ length: whole(1, 3) }, (_unused, kind) => ({
        text: `statement ${kind}`,
        coreMs: random.lognormal(5, 1.5),
        diskMs: random.float() < 0.3 ? random.lognormal(5, 1) : 0,
        spread: random.float() * 0.8,
        weight: whole(1, 5),
      })),
    })),
  };
}

export interface Outcome {
  readonly scenario: Scenario;
  readonly seed: number;
  readonly algorithm: Algorithm;
  readonly result: WorldResult;
  readonly wrong: readonly string[];
}

/** Runs one scenario with one seed, and looks at it. */
export function runScenario(scenario: Scenario, seed: number, algorithm: Algorithm): Outcome {
  const model = scenario.world(seed);
  const result = runWorld(model, { seed, algorithm });
  const run = (change: Partial<WorldModel>, with_: Algorithm = algorithm): WorldResult =>
    runWorld({ ...model, ...change }, { seed, algorithm: with_ });
  const wrong = scenario.check(result, { seed, algorithm, model, run });
  if (result.stranded > 0) wrong.push(`${result.stranded} are still waiting or running long after the end`);
  return { scenario, seed, algorithm, result, wrong };
}
