// The limiter in modelled worlds: short runs with many seeds, and every scenario once with each algorithm.

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runScenario, SCENARIOS } from './scenarios.ts';
import { runWorld } from './tenants-world.ts';

const random = SCENARIOS.find((one) => one.name === 'random');

describe.each(['vegas', 'gradient2'] as const)('%s', (algorithm) => {
  test.each(SCENARIOS.filter((one) => one !== random).map((one) => [one.name, one] as const))(
    '%s',
    (_name, scenario) => {
      expect(runScenario(scenario, 1, algorithm).wrong).toEqual([]);
    },
  );

  test('any tenants, any server: budgets hold and nobody is forgotten (150 seeds)', () => {
    for (let seed = 1; seed <= 150; seed += 1) {
      if (random === undefined) throw new Error('there is no scenario "random"');
      expect({ seed, wrong: runScenario(random, seed, algorithm).wrong }).toEqual({ seed, wrong: [] });
    }
  });
});

test('the same seed gives the same run, another seed another', () => {
  const model = SCENARIOS[0]?.world(1);
  if (model === undefined) throw new Error('there is no scenario');
  const short = { ...model, seconds: 10 };
  const [first, second, other] = [7, 7, 8].map((seed) => {
    const { tenants, reasons } = runWorld(short, { seed, algorithm: 'vegas' });
    return JSON.stringify([reasons, [...tenants.values()].map((one) => [one.done, one.latency(0.99), one.limits])]);
  });
  expect(first).toBe(second as string);
  expect(first).not.toBe(other as string);
});

const found = readFileSync(join(import.meta.dir, 'seeds.txt'), 'utf8')
  .split('\n')
  .map((line) => /^([a-z]+) (vegas|gradient2) (\d+)\b/.exec(line))
  .filter((match) => match !== null);

test.each(found.map((match) => [match[1] as string, match[2] as 'vegas' | 'gradient2', Number(match[3])] as const))(
  'seed that once failed: %s %s %d',
  (name, algorithm, seed) => {
    const scenario = SCENARIOS.find((one) => one.name === name);
    if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
    expect(runScenario(scenario, seed, algorithm).wrong).toEqual([]);
  },
);
