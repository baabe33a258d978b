// Max-min fair shares: nobody can get more without somebody who has less getting even less.

export interface Demand {
  /** Most it could use. */
  readonly wanted: number;
  /** Of two who both want more, one with weight 2 gets twice as much. */
  readonly weight: number;
}

/**
 * Whole shares of `total`. Nobody gets more than wanted; what one leaves is divided among the others by weight; what is
 * left over after whole numbers goes one by one to those furthest below their part. The sum is the smaller of `total` and all that is wanted.
 */
export function maxMinShares(total: number, demands: readonly Demand[]): number[] {
  const shares = demands.map(() => 0);
  let left = Math.max(0, Math.floor(total));
  let hungry = demands.flatMap((demand, index) => (demand.wanted > 0 ? [index] : []));
  // Progressive filling: the level rises for all until somebody has enough, who then drops out.
  for (;;) {
    const weights = hungry.reduce((sum, index) => sum + weightOf(demands, index), 0);
    if (weights === 0) return shares;
    const level = left / weights;
    const sated = hungry.filter((index) => wantedOf(demands, index) <= level * weightOf(demands, index));
    if (sated.length === 0) break;
    for (const index of sated) {
      shares[index] = wantedOf(demands, index);
      left -= wantedOf(demands, index);
    }
    const enough = new Set(sated);
    hungry = hungry.filter((index) => !enough.has(index));
  }
  const weights = hungry.reduce((sum, index) => sum + weightOf(demands, index), 0);
  const level = left / weights;
  for (const index of hungry) {
    const share = Math.floor(level * weightOf(demands, index) + ROUNDING);
    shares[index] = share;
    left -= share;
  }
  const below = (index: number): number => level * weightOf(demands, index) - (shares[index] as number);
  hungry.sort((a, b) => below(b) - below(a) || a - b);
  for (const index of hungry) {
    if (left < 1) break;
    if ((shares[index] as number) >= wantedOf(demands, index)) continue;
    shares[index] = (shares[index] as number) + 1;
    left -= 1;
  }
  return shares;
}

/** 2.9999999996 is 3. */
const ROUNDING = 1e-9;

function wantedOf(demands: readonly Demand[], index: number): number {
  return Math.floor((demands[index] as Demand).wanted);
}

function weightOf(demands: readonly Demand[], index: number): number {
  return (demands[index] as Demand).weight;
}
