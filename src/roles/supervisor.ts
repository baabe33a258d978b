// Keeps units (processes) running: restarts one that ends by itself with backoff, stops all in order, stage by stage.
//
//   waiting ──start──▶ starting ──ready──▶ running ──ended by itself──▶ waiting (after a pause) …
//                          └──ended before it was ever ready: `start()` rejects──▶ gone
//   running ──silent for `hungMs`──▶ killed, which is ended by itself
//
// Loops: one per unit that waits for its end; one per running unit that asks whether it still answers.
//
// Faults (code: what the operator reads in it)
//   unit-failed    a unit ended before it served for the first time; its own words are in the message

import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { Random } from '../base/random.ts';
import { sleepQuietly } from '../base/service.ts';

/** One start of a unit. */
export interface RunningUnit {
  readonly pid: number;
  /** Resolves when it serves; rejects when it ended before. */
  readonly ready: Promise<void>;
  /** Resolves with a sentence when it is gone. */
  readonly exited: Promise<string>;
  /** Asks it to stop in order; `hurry` ends it on the spot. Resolves when it is gone. */
  stop(hurry: AbortSignal): Promise<void>;
}

export interface Unit {
  readonly name: string;
  start(): Promise<RunningUnit>;
  /** Whether it answers within `withinMs`, whatever it says; absent where nobody needs to ask. Never rejects. */
  answers?(withinMs: number): Promise<boolean>;
}

export type UnitEvent =
  | { readonly event: 'ready'; readonly name: string; readonly pid: number; readonly restarts: number }
  | { readonly event: 'exited'; readonly name: string; readonly reason: string; readonly restartInMs: number }
  | { readonly event: 'hung'; readonly name: string; readonly pid: number; readonly silentMs: number }
  | { readonly event: 'stopped'; readonly name: string };

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly event: (event: UnitEvent) => void;
  /** A unit that has served and does not answer for this long is killed and started again; 0 = never. */
  readonly hungMs?: number;
}

/** So many questions must have stayed without an answer: a machine that slept is no hung unit. */
const HUNG_QUESTIONS = 4;

// A crash is answered at once, a crash loop every few seconds: enough to see it in the log, too little to burn a core.
const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 5_000;
// Served this long, it counts as healthy, and the next restart is quick again.
const HEALTHY_AFTER_MS = 10_000;

interface Member {
  readonly unit: Unit;
  readonly stage: number;
  readonly stopping: AbortController;
  running: RunningUnit | null;
  restarts: number;
  /** Ends when the unit is down for good. */
  done: Promise<void>;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #members: Member[] = [];
  #hurry: AbortSignal = new AbortController().signal;
  #stopped: Promise<void> | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Pid of a unit, or null while it is down. */
  pidOf(name: string): number | null {
    return this.#members.find((member) => member.unit.name === name)?.running?.pid ?? null;
  }

  /** Name to pid of all units that run now. */
  pids(): Record<string, number> {
    return Object.fromEntries(
      this.#members.flatMap(({ unit, running }) => (running === null ? [] : [[unit.name, running.pid]])),
    );
  }

  restartsOf(name: string): number {
    return this.#members.find((member) => member.unit.name === name)?.restarts ?? 0;
  }

  /** Starts a unit and keeps it running. Resolves when it serves; rejects with its fault when its first start fails. Higher stages are stopped first. */
  async start(unit: Unit, stage: number): Promise<void> {
    if (this.#stopped !== null) throw new Fault('stopping', { message: `${unit.name} is not started any more` });
    const member: Member = {
      unit,
      stage,
      stopping: new AbortController(),
      running: null,
      restarts: 0,
      done: Promise.resolve(),
    };
    this.#members.push(member);
    const running = await unit.start();
    member.running = running;
    // Stopping may have been asked for while the first start was under way.
    if (member.stopping.signal.aborted) {
      await running.stop(this.#hurry);
      return;
    }
    try {
      await running.ready;
    } catch (error) {
      member.running = null;
      if (error instanceof Fault) throw error;
      throw new Fault('unit-failed', { message: `${unit.name} did not start: ${describeError(error)}` });
    }
    this.#options.event({ event: 'ready', name: unit.name, pid: running.pid, restarts: 0 });
    member.done = this.#keep(member, running);
    void this.#watch(member, running);
  }

  /** Stops all units, the highest stage first, those of one stage together. `hurry` ends what is left on the spot. */
  stop(hurry: AbortSignal): Promise<void> {
    this.#hurry = hurry;
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  async #stopAll(): Promise<void> {
    const stages = [...new Set(this.#members.map((member) => member.stage))].sort((a, b) => b - a);
    for (const stage of stages) {
      await Promise.all(
        this.#members.filter((member) => member.stage === stage).map((member) => this.#stopMember(member)),
      );
    }
  }

  async #stopMember(member: Member): Promise<void> {
    member.stopping.abort();
    if (member.running !== null) {
      await member.running.stop(this.#hurry);
      this.#options.event({ event: 'stopped', name: member.unit.name });
    }
    await member.done;
    member.running = null;
  }

  async #keep(member: Member, first: RunningUnit): Promise<void> {
    const { clock, random, event } = this.#options;
    const { unit, stopping } = member;
    const backoff = new Backoff(random, { firstMs: RESTART_FIRST_MS, maxMs: RESTART_MAX_MS });
    let running: RunningUnit | null = first;
    let since = clock.now();
    for (;;) {
      const reason: string = running === null ? 'could not be started' : await running.exited;
      member.running = null;
      if (stopping.signal.aborted) return;
      if (running !== null && clock.now() - since > HEALTHY_AFTER_MS) backoff.reset();
      const restartInMs = backoff.next();
      event({ event: 'exited', name: unit.name, reason, restartInMs });
      await sleepQuietly(clock, restartInMs, stopping.signal);
      if (stopping.signal.aborted) return;
      running = await this.#startAgain(member);
      // `stop` may have come while the unit was being started and found nothing to stop.
      if (stopping.signal.aborted) return running?.stop(this.#hurry);
      since = clock.now();
    }
  }

  async #startAgain(member: Member): Promise<RunningUnit | null> {
    const { unit } = member;
    try {
      const running = await unit.start();
      member.running = running;
      member.restarts += 1;
      running.ready.then(
        () => {
          this.#options.event({ event: 'ready', name: unit.name, pid: running.pid, restarts: member.restarts });
          void this.#watch(member, running);
        },
        () => {}, // `exited` tells.
      );
      return running;
    } catch (error) {
      this.#options.event({ event: 'exited', name: unit.name, reason: describeError(error), restartInMs: 0 });
      return null;
    }
  }

  /** Kills what does not answer any more (stopped, swapped out, caught in a loop); `#keep` then starts it again. */
  async #watch(member: Member, running: RunningUnit): Promise<void> {
    const { clock, event, hungMs = 0 } = this.#options;
    const { unit, stopping } = member;
    if (hungMs === 0 || unit.answers === undefined) return;
    const everyMs = hungMs / HUNG_QUESTIONS;
    let heard = clock.now();
    let unanswered = 0;
    while (member.running === running && !stopping.signal.aborted) {
      const asked = clock.now();
      if (await unit.answers(everyMs)) {
        heard = clock.now();
        unanswered = 0;
      } else {
        unanswered += 1;
      }
      if (member.running !== running || stopping.signal.aborted) return;
      const silentMs = clock.now() - heard;
      if (unanswered >= HUNG_QUESTIONS && silentMs >= hungMs) {
        event({ event: 'hung', name: unit.name, pid: running.pid, silentMs: Math.round(silentMs) });
        await running.stop(AbortSignal.abort());
        return;
      }
      await sleepQuietly(clock, Math.max(0, everyMs - (clock.now() - asked)), stopping.signal);
    }
  }
}
