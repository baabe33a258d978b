// Who is let in: budgets, shares, queues and limits under any order of events, and which client is whose.

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { SeededRandom, VirtualClock } from '../../../sim/virtual-time.ts';
import { Fault } from '../../base/fault.ts';
import { SILENT_LOG } from '../../observe/log.ts';
import { Metrics } from '../../observe/metrics.ts';
import type { Lane, LaneWaiter } from './lane.ts';
import type { TenantLimits } from './tenant.ts';
import {
  METRIC_TENANTS_MAX,
  type TenantRule,
  Tenants,
  TENANTS_DEFAULTS,
  TENANTS_MAX,
  type TenantsConfig,
} from './tenants.ts';
import type { Queued } from './wait-queue.ts';

interface World {
  readonly clock: VirtualClock;
  readonly tenants: Tenants;
  readonly metrics: Metrics;
}

function world(config: Partial<TenantsConfig> = {}, waitTimeoutMs = 0): World {
  const clock = new VirtualClock();
  const metrics = new Metrics();
  const tenants = new Tenants({
    random: new SeededRandom(1),
    log: SILENT_LOG,
    shares: null,
    workers: () => 1,
    metrics,
    now: () => clock.now(),
    after: (ms, task) => void clock.after(ms, task),
    waitTimeoutMs: () => waitTimeoutMs,
    describe: (text) => text,
    config: { ...TENANTS_DEFAULTS, ...config },
  });
  return { clock, tenants, metrics };
}

function rule(name: string, limits: Partial<TenantLimits>, more: Partial<TenantRule> = {}): TenantRule {
  const none = { maxConnections: null, poolSize: null, qps: null, maxWaiting: null, weight: null, algorithm: null };
  return { name, database: name, user: '', applicationName: '', limits: { ...none, ...limits }, ...more };
}

class Client implements LaneWaiter {
  queueNext: Queued | null = null;
  queuePrevious: Queued | null = null;
  queueClass = -1;
  queueTicket = 0;
  waitingSince = 0;
  fingerprint = 1;
  state: 'idle' | 'waiting' | 'running' | 'thinking' = 'idle';
  fault: Fault | null = null;
  readonly lane: Lane;
  readonly #granted: (client: Client) => void;

  constructor(lane: Lane, granted: (client: Client) => void = () => {}) {
    this.lane = lane;
    this.#granted = granted;
  }

  ask(now: number): void {
    if (this.lane.tryEnter(now)) {
      this.state = 'running';
      return;
    }
    this.fault = this.lane.wait(this, now);
    if (this.fault === null) this.state = 'waiting';
  }

  permitted(): void {
    this.state = 'running';
    this.waitingSince = 0;
    this.#granted(this);
  }

  permissionRefused(fault: Fault): void {
    this.state = 'idle';
    this.fault = fault;
  }
}

describe('any order of events', () => {
  const limits = fc.record({
    poolSize: fc.integer({ min: 0, max: 6 }),
    qps: fc.constantFrom(0, 0, 3, 20),
    weight: fc.integer({ min: 1, max: 3 }),
    algorithm: fc.constantFrom('vegas' as const, 'gradient2' as const, 'off' as const),
  });
  const event = fc.record({
    kind: fc.constantFrom(
      'ask',
      'ask',
      'ask',
      'end',
      'end',
      'end',
      'think',
      'go on',
      'leave',
      'wait',
      'tick',
      'budget',
      'set',
    ),
    tenant: fc.nat(3),
    pick: fc.nat(100),
  });
  const worlds = fc.record({
    budget: fc.integer({ min: 0, max: 8 }),
    tenants: fc.array(limits, { minLength: 1, maxLength: 4 }),
    events: fc.array(event, { maxLength: 250 }),
  });

  test('budgets and pool sizes hold, lines are lines, and whoever may run runs at once', () => {
    fc.assert(
      fc.property(worlds, ({ budget, tenants: all, events }) => {
        const { clock, tenants } = world({
          serverBudget: budget,
          rules: all.map((one, index) => rule(`t${index}`, one)),
        });
        const backend = tenants.backend('primary');
        const lanes = all.map((_, index) => {
          const tenant = tenants.of(`t${index}`, 'u', '');
          tenant.uses('pool', () => 5);
          return tenants.lane(tenant, backend);
        });
        const clients: Client[] = [];
        const order: Client[] = [];
        const of = (lane: Lane, state: Client['state']): Client[] =>
          clients.filter((one) => one.lane === lane && one.state === state);
        let ceiling = budget;
        for (const { kind, tenant, pick } of events) {
          const lane = lanes[tenant % lanes.length] as Lane;
          const now = clock.now();
          const running = of(lane, 'running');
          const thinking = of(lane, 'thinking');
          const waiting = of(lane, 'waiting');
          order.length = 0;
          const chosen = (from: Client[]): Client | undefined => from[pick % Math.max(1, from.length)];
          if (kind === 'ask') {
            const client = new Client(lane, (one) => order.push(one));
            clients.push(client);
            client.ask(now);
          } else if (kind === 'end') {
            const client = chosen(running);
            if (client !== undefined) {
              client.state = 'idle';
              lane.sample(1, 5 + pick, 'select', now);
              lane.leave(now, true);
            }
          } else if (kind === 'think') {
            const client = chosen(running);
            if (client !== undefined) {
              client.state = 'thinking';
              lane.rest(now);
            }
          } else if (kind === 'go on') {
            const client = chosen(thinking);
            if (client !== undefined) {
              client.state = 'running';
              lane.goOn(now);
            }
          } else if (kind === 'leave') {
            const client = chosen(waiting);
            if (client !== undefined) {
              client.state = 'idle';
              lane.abandon(client, now);
            }
          } else if (kind === 'wait') clock.runUntil(now + pick * 10);
          else if (kind === 'tick') {
            clock.runUntil(now + 333);
            tenants.tick(clock.now());
          } else if (kind === 'budget' && budget > 0) {
            const share = 1 + (pick % 8);
            ceiling = Math.max(share, backend.open);
            backend.setShare(share, now);
          } else if (kind === 'set') tenants.set(`t${tenant % all.length}`, 'pool_size', String(1 + (pick % 6)));

          // In one tenant, all of the same cost: who was let in had waited longest.
          const before = clients.filter((one) => one.state === 'waiting');
          for (const one of order) {
            for (const other of before)
              if (other.lane === one.lane) expect(clients.indexOf(one)).toBeLessThan(clients.indexOf(other));
          }
          if (budget > 0) {
            expect(backend.open).toBeLessThanOrEqual(Math.max(ceiling, backend.budget));
            if (backend.open <= backend.budget) ceiling = backend.budget;
          }
          for (const one of lanes) {
            expect(one.open).toBe(of(one, 'running').length + of(one, 'thinking').length);
            expect(one.busy).toBe(of(one, 'running').length);
            expect(one.queue.length).toBe(of(one, 'waiting').length);
            // No lost wake-up: somebody waits only while he may not run.
            if (one.queue.length > 0) expect(one.mayEnter(clock.now())).toBe(false);
          }
          expect(backend.open).toBe(lanes.reduce((sum, one) => sum + one.open, 0));
          if (budget > 0) {
            expect(backend.borrowed).toBe(lanes.reduce((sum, one) => sum + Math.max(0, one.open - one.share), 0));
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('bounds', () => {
  test('max_waiting: one more is told 53300, and a hint', () => {
    const { tenants } = world({ rules: [rule('t', { poolSize: 1, maxWaiting: 2 })] });
    const lane = tenants.lane(tenants.of('t', 'u', ''), tenants.backend('b'));
    const clients = Array.from({ length: 4 }, () => new Client(lane));
    for (const client of clients) client.ask(0);
    expect(clients.map((one) => one.state)).toEqual(['running', 'waiting', 'waiting', 'idle']);
    expect(clients[3]?.fault).toMatchObject({ code: 'tenant-queue-full', sqlstate: '53300', retryable: true });
    expect(clients[3]?.fault?.hint).toContain('SHOW TENANTS');
  });

  test.each([
    ['pool_size', { poolSize: 1 }, '53300', 'pool_size'],
    ['queries per second', { qps: 1 }, '53400', 'queries per second'],
  ])('who waits too long because of %s is told so', (_, limits, sqlstate, words) => {
    const { tenants, clock } = world({ rules: [rule('t', limits)] }, 500);
    const lane = tenants.lane(tenants.of('t', 'u', ''), tenants.backend('b'));
    const [first, second] = [new Client(lane), new Client(lane)];
    first.ask(0);
    second.ask(0);
    clock.runUntil(400);
    tenants.tick(400);
    expect(second.state).toBe('waiting');
    clock.runUntil(600);
    tenants.tick(600);
    expect(second.fault).toMatchObject({ code: 'tenant-overdue', sqlstate });
    expect(second.fault?.message).toContain(words);
  });

  test('the budget of the server: the sentence names it', () => {
    const { tenants } = world({ serverBudget: 1 }, 500);
    const backend = tenants.backend('b');
    const [a, b] = ['a', 'b'].map((name) => new Client(tenants.lane(tenants.of(name, 'u', ''), backend)));
    a?.ask(0);
    b?.ask(0);
    tenants.tick(600);
    expect(b?.fault?.message).toContain('1 of 1 transactions of the server');
  });

  test('tokens come by time alone: who waits for one is woken', () => {
    const { tenants, clock } = world({ rules: [rule('t', { qps: 10 })] });
    const lane = tenants.lane(tenants.of('t', 'u', ''), tenants.backend('b'));
    const clients = Array.from({ length: 13 }, () => new Client(lane));
    for (const client of clients) client.ask(0);
    const running = (): number => clients.filter((one) => one.state === 'running').length;
    expect(running()).toBe(10);
    clock.runUntil(110);
    expect(running()).toBe(11);
    clock.runUntil(330);
    expect(running()).toBe(13);
  });

  test('nothing ends while others wait: one more after a second, since it may be the one that the others wait for', () => {
    const { tenants, clock } = world();
    const tenant = tenants.of('d', 'u', '');
    tenant.uses('pool', () => 40);
    const lane = tenants.lane(tenant, tenants.backend('b'));
    const clients = Array.from({ length: 25 }, () => new Client(lane));
    for (const client of clients) client.ask(0);
    const running = (): number => clients.filter((one) => one.state === 'running').length;
    expect(running()).toBe(20);
    for (let now = 333; now < 4_000; now += 333) {
      clock.runUntil(now);
      tenants.tick(now);
    }
    expect(running()).toBe(23);
    expect(lane.reason).toContain('nothing has ended');
    expect(tenants.history.map((one) => one.to)).toEqual([21, 22, 23]);
  });

  test('there are never more than TENANTS_MAX: idle ones go, then newcomers share one', () => {
    const { tenants } = world();
    for (let index = 0; index < TENANTS_MAX; index += 1) tenants.of('d', `u${index}`, '').clients = 1;
    expect(tenants.of('d', 'late', '').name).toBe('other');
    tenants.of('d', 'u5', '').clients = 0;
    expect(tenants.of('d', 'later', '').name).toBe('d/later');
    expect(tenants.size).toBeLessThanOrEqual(TENANTS_MAX + 1);
  });

  test('metrics of the first hundred, then of "other"', () => {
    const { tenants, metrics } = world();
    for (let index = 0; index < METRIC_TENANTS_MAX + 5; index += 1) tenants.of('d', `u${index}`, '').queryDone(1);
    const text = metrics.render();
    expect(text).toContain('skerry_proxy_tenant_query_seconds_count{tenant="d/u99"} 1');
    expect(text).toContain('skerry_proxy_tenant_query_seconds_count{tenant="other"} 5');
    expect(text).not.toContain('d/u100');
  });
});

describe('whose client is it', () => {
  const { tenants } = world({
    rules: [
      rule('batch', {}, { database: '', applicationName: 'cron-*' }),
      rule('reports', {}, { database: 'app', user: 'report_?' }),
      rule('app/web', { qps: 5 }, { database: 'app', user: 'web' }),
    ],
  });
  test.each([
    ['app', 'web', '', 'app/web'],
    ['app', 'web', 'cron-7', 'batch'],
    ['app', 'report_1', '', 'reports'],
    ['app', 'report_12', '', 'app/report_12'],
    ['other', 'report_1', '', 'other/report_1'],
  ])('%s %s %s: %s', (database, user, applicationName, name) => {
    expect(tenants.of(database, user, applicationName).name).toBe(name);
  });
});

describe('SET', () => {
  test('counts at once, stays over a reload, and DEFAULT takes it back', () => {
    const { tenants } = world({ rules: [rule('t', { qps: 5 })] });
    const tenant = tenants.of('t', 'u', '');
    tenants.set('t', 'qps', '7');
    tenants.set('t', 'algorithm', 'off');
    expect(tenant.limits).toMatchObject({ qps: 7, algorithm: 'off' });
    tenants.configure({ ...TENANTS_DEFAULTS, rules: [rule('t', { qps: 6, poolSize: 3 })] });
    expect(tenant.limits).toMatchObject({ qps: 7, algorithm: 'off', poolSize: 3 });
    tenants.set('t', 'qps', 'default');
    expect(tenant.limits.qps).toBe(6);
  });

  test('a larger pool_size lets those run who wait', () => {
    const { tenants } = world({ rules: [rule('t', { poolSize: 1 })] });
    const tenant = tenants.of('t', 'u', '');
    tenant.uses('pool', () => 20);
    const lane = tenants.lane(tenant, tenants.backend('b'));
    const clients = Array.from({ length: 3 }, () => new Client(lane));
    for (const client of clients) client.ask(0);
    tenants.set('t', 'pool_size', '3');
    tenants.set('t', 'algorithm', 'off');
    expect(clients.map((one) => one.state)).toEqual(['running', 'running', 'running']);
  });

  test.each([
    ['t', 'colour', '1', '22023', 'has no setting'],
    ['t', 'qps', 'many', '22023', 'invalid value'],
    ['t', 'pool_size', '-1', '22023', 'invalid value'],
    ['t', 'pool_size', '1.5', '22023', 'invalid value'],
    ['t', 'algorithm', 'reno', '22023', 'invalid value'],
    ['nobody', 'qps', '1', '42704', 'no such tenant'],
  ])('%s.%s = %s is refused', (name, key, value, sqlstate, words) => {
    const { tenants } = world({ rules: [rule('t', {})] });
    let fault: unknown = null;
    try {
      tenants.set(name, key, value);
    } catch (error) {
      fault = error;
    }
    expect(fault).toMatchObject({ sqlstate });
    expect((fault as Fault).message).toContain(words);
  });
});

test('what others may be told is plain data', () => {
  const { tenants } = world({ serverBudget: 4, rules: [rule('t', { poolSize: 1 })] });
  const lane = tenants.lane(tenants.of('t', 'u', ''), tenants.backend('b'));
  for (const client of [new Client(lane), new Client(lane)]) client.ask(0);
  const [row] = tenants.snapshot();
  expect(JSON.parse(JSON.stringify(row))).toEqual(row);
  expect(row).toMatchObject({ tenant: 't', server: 'b', inFlight: 1, busy: 1, waiting: 1, share: 1 });
  expect(tenants.backend('b').demand(0)).toEqual({ used: 1, wanted: 1 });
});
