// Who is answerable for slowness on one server. The times of all tenants rise together when it is overloaded, so a tenant is
// judged by its own times only as far as it uses the server, and the heavy ones also by the times of the light ones. Pure.

/** What was seen of one tenant on the server since the last look. */
export interface LaneLoad {
  /** Statements at work, on average. */
  readonly load: number;
  /** Time taken divided by time expected; null when too little was measured. */
  readonly ratio: number | null;
}

export interface Verdict {
  /** How much of its own slowness it is answerable for: 1 when it is alone or uses as much as the others, less when it is light. */
  readonly answerable: number;
  /** The slowness of the worst off among those that use the server much less; 1 when there is none. */
  readonly neighbourRatio: number;
  /** Whose that is; -1 when there is none. */
  readonly neighbour: number;
  /** Of the server's time, 0 to 1. */
  readonly share: number;
}

/** Below this a tenant counts as absent. */
const LOAD_MIN = 0.005;

/** One is much lighter than another from this factor on. */
const LIGHTER = 2;

export function judge(loads: readonly LaneLoad[]): { readonly verdicts: readonly Verdict[]; readonly active: number } {
  let total = 0;
  let active = 0;
  for (const { load } of loads) {
    if (load < LOAD_MIN) continue;
    total += load;
    active += 1;
  }
  const mean = active === 0 ? 0 : total / active;
  const byLoad = loads.map((_, index) => index).sort((a, b) => loadAt(loads, a) - loadAt(loads, b));
  const verdicts: Verdict[] = [];
  let light = 0;
  let worst = 1;
  let worstIndex = -1;
  for (const index of byLoad) {
    const { load } = loads[index] as LaneLoad;
    for (; loadAt(loads, byLoad[light] as number) * LIGHTER <= load && light < byLoad.length - 1; light += 1) {
      const victim = byLoad[light] as number;
      const theirs = (loads[victim] as LaneLoad).ratio ?? 1;
      if (victim !== index && theirs > worst) [worst, worstIndex] = [theirs, victim];
    }
    const isHeavy = active > 1 && load >= mean && load > LOAD_MIN;
    verdicts[index] = {
      answerable: mean === 0 ? 0 : Math.min(1, load / mean),
      neighbourRatio: isHeavy ? worst : 1,
      neighbour: isHeavy ? worstIndex : -1,
      share: total === 0 ? 0 : load / total,
    };
  }
  return { verdicts, active: Math.max(1, active) };
}

function loadAt(loads: readonly LaneLoad[], index: number): number {
  return (loads[index] as LaneLoad).load;
}
