// How long each statement takes when nothing stands in its way, by fingerprint. Means are compared with means: the time of one
// call says little (its parameters, a cold page), the mean of some dozens says much. The baseline is the smallest such mean of the
// last minute or two, and is replaced by what a probe (a moment with little of the tenant's own work) has measured.

/** Statements that one tenant may have baselines for on one server; the least recently used quarter goes when it is full. */
export const BASELINES_MAX = 256;

/** A mean is taken over so many calls … */
const MEAN_CALLS = 30;
/** … or at the end of a sweep over these … */
const MEAN_CALLS_MIN = 5;
/** … or when a probe begins or ends, … */
const MEAN_CALLS_EPOCH = 10;
/** … or, as a first guess, over these. */
const GUESS_CALLS = 3;

/** A probe believes so few calls only when they were long. */
const PROBE_LONG_MS = 1_000;

/** A probe has seen enough when it has measured the statements that take this part of the tenant's time. */
const PROBE_COVERAGE = 0.8;

/** Half of how long a smallest mean is believed. */
const MEMORY_MS = 60_000;

const SWEEP_MS = 10_000;

/** Of the first so many characters of a statement, in tables. */
export interface Baseline {
  readonly fingerprint: number;
  /** Normalised, without values. */
  readonly text: string;
  /** Milliseconds; 0 while unknown. */
  baselineMs: number;
  calls: number;
  totalMs: number;
  /** Halved every minute. */
  recentMs: number;
  usedAt: number;
  sum: number;
  count: number;
  /** Of the present and of the last stretch of MEMORY_MS; Infinity while there is none. */
  best: number;
  bestBefore: number;
  guessed: boolean;
  probeSum: number;
  probeCount: number;
  epoch: number;
}

export class Baselines {
  readonly #describe: (text: string) => string;
  readonly #known = new Map<number, Baseline>();
  #sweptAt = 0;
  #rotatedAt = 0;
  /** Changed when the tenant's own work changes on purpose (a probe): means must not mix what was before and after. */
  #epoch = 0;

  /** `describe` makes a text without values of a statement's; called once for each new fingerprint. */
  constructor(describe: (text: string) => string) {
    this.#describe = describe;
  }

  get size(): number {
    return this.#known.size;
  }

  list(): Baseline[] {
    return [...this.#known.values()];
  }

  /** Milliseconds; 0 while unknown. */
  of(fingerprint: number): number {
    return this.#known.get(fingerprint)?.baselineMs ?? 0;
  }

  /** Takes note of one call. Gives the baseline it is to be compared with; 0 while there is none. */
  add(fingerprint: number, ms: number, text: string, now: number, inProbe: boolean): number {
    let one = this.#known.get(fingerprint);
    if (one === undefined) one = this.#create(fingerprint, text, now);
    else if (one.epoch !== this.#epoch) {
      one.epoch = this.#epoch;
      one.sum = 0;
      one.count = 0;
    }
    const expected = one.baselineMs;
    one.calls += 1;
    one.totalMs += ms;
    one.recentMs += ms;
    one.usedAt = now;
    one.sum += ms;
    one.count += 1;
    if (inProbe) {
      one.probeSum += ms;
      one.probeCount += 1;
    }
    if (one.count >= MEAN_CALLS) fold(one, false);
    else if (expected === 0 && one.count >= GUESS_CALLS) fold(one, true);
    return expected;
  }

  /** A few times a second, or less. */
  tick(now: number): void {
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    const rotates = now - this.#rotatedAt >= MEMORY_MS;
    if (rotates) this.#rotatedAt = now;
    for (const one of this.#known.values()) {
      if (one.count >= MEAN_CALLS_MIN && one.epoch === this.#epoch) fold(one, false);
      if (rotates) rotate(one);
    }
  }

  /** The load on the server changes on purpose: what was measured until now is a mean of its own. */
  newEpoch(): void {
    for (const one of this.#known.values()) {
      if (one.count >= MEAN_CALLS_EPOCH && one.epoch === this.#epoch) fold(one, false);
    }
    this.#epoch += 1;
  }

  beginProbe(): void {
    this.newEpoch();
    for (const one of this.#known.values()) {
      one.probeSum = 0;
      one.probeCount = 0;
    }
  }

  /** Whether the probe has measured what matters. */
  get isProbeDone(): boolean {
    let all = 0;
    let measured = 0;
    for (const one of this.#known.values()) {
      all += one.recentMs;
      if (isProbed(one)) measured += one.recentMs;
    }
    return measured >= all * PROBE_COVERAGE;
  }

  /** Believes the probe, upwards and downwards. Gives how many statements it has measured. */
  endProbe(): number {
    this.newEpoch();
    let measured = 0;
    for (const one of this.#known.values()) {
      if (!isProbed(one)) continue;
      measured += 1;
      one.best = one.probeSum / one.probeCount;
      one.bestBefore = Number.POSITIVE_INFINITY;
      one.baselineMs = one.best;
      one.guessed = false;
    }
    return measured;
  }

  /** What was believed is out of date: the next means count. */
  forget(): void {
    this.newEpoch();
    for (const one of this.#known.values()) {
      one.best = Number.POSITIVE_INFINITY;
      one.bestBefore = Number.POSITIVE_INFINITY;
      one.baselineMs = 0;
    }
  }

  #create(fingerprint: number, text: string, now: number): Baseline {
    if (this.#known.size >= BASELINES_MAX) this.#evict();
    const one: Baseline = {
      fingerprint,
      text: this.#describe(text),
      baselineMs: 0,
      calls: 0,
      totalMs: 0,
      recentMs: 0,
      usedAt: now,
      sum: 0,
      count: 0,
      best: Number.POSITIVE_INFINITY,
      bestBefore: Number.POSITIVE_INFINITY,
      guessed: false,
      probeSum: 0,
      probeCount: 0,
      epoch: this.#epoch,
    };
    this.#known.set(fingerprint, one);
    return one;
  }

  #evict(): void {
    const byUse = this.list().sort((a, b) => a.usedAt - b.usedAt);
    for (const one of byUse.slice(0, BASELINES_MAX / 4)) this.#known.delete(one.fingerprint);
  }
}

function isProbed(one: Baseline): boolean {
  return one.probeCount >= GUESS_CALLS || one.probeSum >= PROBE_LONG_MS;
}

/** A mean is complete. */
function fold(one: Baseline, guessed: boolean): void {
  const mean = one.sum / one.count;
  if (!guessed) {
    one.sum = 0;
    one.count = 0;
  }
  // A guess from few calls is as likely too low as too high, and must not stay as the smallest for minutes.
  one.best = one.guessed ? mean : Math.min(one.best, mean);
  one.guessed = guessed;
  one.baselineMs = Math.min(one.best, one.bestBefore);
}

function rotate(one: Baseline): void {
  one.recentMs /= 2;
  if (one.best === Number.POSITIVE_INFINITY) return;
  one.bestBefore = one.best;
  one.best = Number.POSITIVE_INFINITY;
}
