// Plans by template. Bounded by count and by bytes; a plan that was not used since the last sweep goes first.
//
// A planner may bake some constants of a template into its plan (LIMIT 10, ORDER BY 2). Then the plan is only for texts with
// those very constants, so an entry keeps one plan for each combination of the baked ones.

export interface PlanCacheOptions {
  readonly countMax: number;
  /** Rough: UTF-16 units of keys and whatever `store` was told. */
  readonly bytesMax: number;
}

interface Entry<Value> {
  /** Indexes of constants that are part of the inner key; grows, and then the inner plans are dropped. */
  baked: readonly number[];
  /** The one plan when nothing is baked. */
  single: Value | undefined;
  byBaked: Map<string, Value> | undefined;
  used: boolean;
  bytes: number;
}

/** Combinations of baked constants kept for one template; at the bound they are all dropped. */
const BAKED_COUNT_MAX = 64;

export class PlanCache<Value> {
  readonly #options: PlanCacheOptions;
  readonly #entries = new Map<string, Entry<Value>>();
  #bytes = 0;

  constructor(options: PlanCacheOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  find(template: string, literals: readonly string[]): Value | undefined {
    const entry = this.#entries.get(template);
    if (entry === undefined) return undefined;
    entry.used = true;
    return entry.byBaked === undefined ? entry.single : entry.byBaked.get(bakedKey(entry.baked, literals));
  }

  /** `baked`: indexes of the constants that `value` depends on; `bytes`: what `value` takes, roughly. */
  store(template: string, literals: readonly string[], baked: readonly number[], value: Value, bytes: number): void {
    let entry = this.#entries.get(template);
    if (entry === undefined) {
      entry = { baked: [], single: undefined, byBaked: undefined, used: true, bytes: template.length * 2 + 200 };
      this.#entries.set(template, entry);
      this.#bytes += entry.bytes;
    }
    const union = [...new Set([...entry.baked, ...baked])].toSorted((a, b) => a - b);
    const outgrown = union.length !== entry.baked.length || (entry.byBaked?.size ?? 0) >= BAKED_COUNT_MAX;
    if (outgrown || union.length === 0) {
      this.#bytes -= entry.bytes;
      entry.bytes = template.length * 2 + 200;
      this.#bytes += entry.bytes;
      entry.single = undefined;
      entry.byBaked = union.length === 0 ? undefined : new Map();
      entry.baked = union;
    }
    if (entry.byBaked === undefined) entry.single = value;
    else entry.byBaked.set(bakedKey(union, literals), value);
    entry.bytes += bytes;
    this.#bytes += bytes;
    if (this.#entries.size > this.#options.countMax || this.#bytes > this.#options.bytesMax) this.#evict();
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  /** Second chance: goes round once at most, then takes whatever comes first. */
  #evict(): void {
    let chances = this.#entries.size;
    for (const [template, entry] of this.#entries) {
      const full = this.#entries.size > this.#options.countMax || this.#bytes > this.#options.bytesMax;
      if (!full) return;
      this.#entries.delete(template);
      if (entry.used && chances > 0) {
        chances -= 1;
        entry.used = false;
        this.#entries.set(template, entry);
      } else {
        this.#bytes -= entry.bytes;
      }
    }
  }
}

function bakedKey(baked: readonly number[], literals: readonly string[]): string {
  let key = '';
  for (const index of baked) {
    const literal = literals[index] as string;
    key += `${literal.length}:${literal}`;
  }
  return key;
}
