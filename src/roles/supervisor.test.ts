import { describe, expect, test } from 'bun:test';
import { waitFor } from '../../test/harness.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { createClock } from '../runtime/clock.ts';
import { isAlive } from '../runtime/process.ts';
import { createRandom } from '../runtime/random.ts';
import { roleUnit } from './role-unit.ts';
import { type RunningUnit, Supervisor, type Unit, type UnitEvent } from './supervisor.ts';

/** A unit made of promises: `end` makes it exit by itself. */
function fakeUnit(name: string, log: string[]) {
  const starts: { end: (reason: string) => void }[] = [];
  const unit: Unit = {
    name,
    start() {
      const exited = Promise.withResolvers<string>();
      starts.push({ end: (reason) => exited.resolve(reason) });
      log.push(`start ${name}`);
      const running: RunningUnit = {
        pid: 1000 + starts.length,
        ready: Promise.resolve(),
        exited: exited.promise,
        stop() {
          log.push(`stop ${name}`);
          exited.resolve('ended');
          return Promise.resolve();
        },
      };
      return Promise.resolve(running);
    },
  };
  return { unit, starts };
}

const never = new AbortController().signal;
const random = { float: () => 1, bytes: () => new Uint8Array() };

/** A clock whose sleeps end at once and are recorded. */
function fastClock(slept: number[]): Clock {
  const real = createClock();
  return {
    ...real,
    now: () => 0,
    wall: () => 0,
    after: real.after.bind(real),
    soon: real.soon.bind(real),
    sleep: (ms) => Promise.resolve(void slept.push(ms)),
  };
}

describe('supervisor', () => {
  test('stops the highest stage first, and each unit once', async () => {
    const log: string[] = [];
    const supervisor = new Supervisor({ clock: fastClock([]), random, event: () => {} });
    for (const [name, stage] of [
      ['core', 0],
      ['relay', 1],
      ['edge-0', 2],
      ['edge-1', 2],
    ] as const) {
      await supervisor.start(fakeUnit(name, log).unit, stage);
    }
    await Promise.all([supervisor.stop(never), supervisor.stop(never)]);
    expect(log.slice(4)).toEqual(['stop edge-0', 'stop edge-1', 'stop relay', 'stop core']);
  });

  test('waits longer after each crash, and says when and why', async () => {
    const slept: number[] = [];
    const events: UnitEvent[] = [];
    const { unit, starts } = fakeUnit('relay', []);
    const supervisor = new Supervisor({ clock: fastClock(slept), random, event: (event) => events.push(event) });
    await supervisor.start(unit, 0);
    for (let crash = 1; crash <= 7; crash += 1) {
      starts.at(-1)?.end('was killed by SIGKILL');
      await waitFor('the next start', () => starts.length === crash + 1);
    }
    expect(slept).toEqual([100, 200, 400, 800, 1600, 3200, 5000]);
    expect(events.filter((event) => event.event === 'exited').map((event) => event.reason)).toEqual(
      Array.from({ length: 7 }, () => 'was killed by SIGKILL'),
    );
    expect(supervisor.restartsOf('relay')).toBe(7);
    await supervisor.stop(never);
  });

  test('a unit that answers no more is killed and started again; one that is slow once is not', async () => {
    const events: UnitEvent[] = [];
    const { unit, starts } = fakeUnit('edge-0', []);
    // The first unit answers, misses two questions, answers, and then never again; the second one answers.
    const answers = [true, false, false, true, false, false, false, false];
    let now = 0;
    const clock: Clock = { ...fastClock([]), now: () => now };
    const supervisor = new Supervisor({ clock, random, event: (event) => events.push(event), hungMs: 8_000 });
    await supervisor.start(
      {
        ...unit,
        async answers(withinMs) {
          await Bun.sleep(0);
          now += withinMs;
          return starts.length > 1 || (answers.shift() ?? false);
        },
      },
      0,
    );
    await waitFor('the next start', () => starts.length === 2);
    expect(events.filter(({ event }) => event === 'hung')).toEqual([
      { event: 'hung', name: 'edge-0', pid: 1001, silentMs: 8_000 },
    ]);
    expect(answers).toEqual([]);
    await supervisor.stop(never);
    expect(starts.length).toBe(2);
  });

  test('nothing is started after stop', async () => {
    const supervisor = new Supervisor({ clock: fastClock([]), random, event: () => {} });
    await supervisor.stop(never);
    expect(supervisor.start(fakeUnit('late', []).unit, 0)).rejects.toThrow('not started any more');
  });
});

describe('a role process', () => {
  const role = (script: string, lines: string[] = []) =>
    roleUnit({
      name: 'role',
      command: [process.execPath, '-e', script],
      clock: createClock(),
      logLine: (line) => lines.push(line),
      stopTimeoutMs: 300,
    });
  const supervise = (event: (event: UnitEvent) => void = () => {}) =>
    new Supervisor({ clock: createClock(), random: createRandom(), event });
  const SERVES = `console.error('up'); console.log(JSON.stringify({ ready: true })); setInterval(() => {}, 1000);`;

  test('comes back after kill -9', async () => {
    const supervisor = supervise();
    await supervisor.start(role(SERVES), 0);
    const first = supervisor.pidOf('role');
    process.kill(first as number, 'SIGKILL');
    const second = await waitFor('another pid', () => {
      const pid = supervisor.pidOf('role');
      return pid !== null && pid !== first ? pid : null;
    });
    await supervisor.stop(never);
    expect(isAlive(second)).toBe(false);
  });

  test('its own fault is what the first start fails with', async () => {
    const supervisor = supervise();
    const fault = await supervisor
      .start(
        role(
          `console.log(JSON.stringify({ error: { code: 'port-taken', message: 'port 1 is taken', hint: 'choose another' } })); process.exit(2);`,
        ),
        0,
      )
      .then(
        () => null,
        (error: unknown) => error as Fault,
      );
    expect(fault).toMatchObject({ code: 'port-taken', message: 'port 1 is taken', hint: 'choose another' });
  });

  test('its last log line is told when it dies without a word', async () => {
    const supervisor = supervise();
    expect(supervisor.start(role(`console.error('out of luck'); process.exit(7);`), 0)).rejects.toThrow(
      'role ended with code 7: out of luck',
    );
  });

  test('one that ignores SIGTERM is killed after its time', async () => {
    const supervisor = supervise();
    await supervisor.start(role(`process.on('SIGTERM', () => {}); ${SERVES}`), 0);
    const pid = supervisor.pidOf('role') as number;
    await supervisor.stop(never);
    expect(isAlive(pid)).toBe(false);
  });

  test('hurry kills at once', async () => {
    const supervisor = roleUnit({
      name: 'r',
      command: [process.execPath, '-e', `process.on('SIGTERM', () => {}); ${SERVES}`],
      clock: createClock(),
      logLine: () => {},
      stopTimeoutMs: 60_000,
    });
    const running = await supervisor.start();
    await running.ready;
    const hurry = new AbortController();
    const stopped = running.stop(hurry.signal);
    hurry.abort();
    await stopped;
    expect(isAlive(running.pid)).toBe(false);
  });
});
