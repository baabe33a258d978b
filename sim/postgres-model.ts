// A server as far as limits are concerned: cores that statements share, disks that they share, and a price for having more
// statements at work than cores (context switches, locks, cold caches).

import type { VirtualClock } from './virtual-time.ts';

export interface ServerModel {
  readonly cores: number;
  /** Reads that the disks serve at once without any getting slower. */
  readonly disks: number;
  /** With twice as many statements as cores, each costs this part more than its work. */
  readonly contention: number;
}

/** What one statement needs, in milliseconds on an idle server: first the disk, then a core. */
export interface Work {
  readonly diskMs: number;
  readonly coreMs: number;
}

interface Job {
  diskMs: number;
  coreMs: number;
  readonly done: () => void;
}

/** Less than this is nothing: sums of fractions never come out even. */
const EPSILON_MS = 1e-6;

export class PostgresModel {
  readonly #clock: VirtualClock;
  readonly #model: ServerModel;
  readonly #jobs = new Set<Job>();
  #speed = 1;
  #changedAt = 0;
  #next: Disposable | null = null;
  #coreRate = 1;
  #diskRate = 1;

  constructor(clock: VirtualClock, model: ServerModel) {
    this.#clock = clock;
    this.#model = model;
  }

  get busy(): number {
    return this.#jobs.size;
  }

  run(work: Work, done: () => void): void {
    this.#advance();
    this.#jobs.add({ ...work, done });
    this.#plan();
  }

  /** 0.5: from now on everything takes twice as long. */
  setSpeed(speed: number): void {
    this.#advance();
    this.#speed = speed;
    this.#plan();
  }

  #advance(): void {
    const now = this.#clock.now();
    const elapsed = now - this.#changedAt;
    this.#changedAt = now;
    if (elapsed === 0) return;
    for (const job of this.#jobs) {
      if (job.diskMs > EPSILON_MS) job.diskMs -= elapsed * this.#diskRate;
      else job.coreMs -= elapsed * this.#coreRate;
    }
  }

  /** Rates are constant until something begins, ends, or goes from disk to core. */
  #plan(): void {
    const { cores, disks, contention } = this.#model;
    let reading = 0;
    let computing = 0;
    for (const job of this.#jobs) {
      if (job.diskMs > EPSILON_MS) reading += 1;
      else computing += 1;
    }
    const crowd = Math.max(0, computing - cores) / cores;
    this.#coreRate = (this.#speed * Math.min(1, cores / Math.max(1, computing))) / (1 + contention * crowd);
    this.#diskRate = this.#speed * Math.min(1, disks / Math.max(1, reading));
    let soonest = Number.POSITIVE_INFINITY;
    for (const job of this.#jobs) {
      const left = job.diskMs > EPSILON_MS ? job.diskMs / this.#diskRate : Math.max(0, job.coreMs) / this.#coreRate;
      if (left < soonest) soonest = left;
    }
    this.#next?.[Symbol.dispose]();
    this.#next = soonest === Number.POSITIVE_INFINITY ? null : this.#clock.after(soonest, () => this.#arrive());
  }

  #arrive(): void {
    this.#advance();
    const ended: Job[] = [];
    for (const job of this.#jobs) if (job.diskMs <= EPSILON_MS && job.coreMs <= EPSILON_MS) ended.push(job);
    for (const job of ended) this.#jobs.delete(job);
    this.#plan();
    for (const job of ended) job.done();
  }
}
