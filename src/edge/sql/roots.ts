// Square roots of numerics.

import type { Decimal } from './numeric.ts';

/** At least 16 significant digits, and those of the operand. Not for negative ones. */
export function sqrtDecimal(num: Decimal): Decimal {
  const before = (weightOf(num) + 1) * 2 - 1;
  return sqrtAt(num, Math.min(Math.max(16 - before, num.scale, 0), 1_000));
}

/** To so many digits after the point. */
export function sqrtAt(num: Decimal, scale: number): Decimal {
  // One digit more than asked for, and whatever follows it cannot be a half.
  const more = scale + 1;
  const scaled = (num.digits * 10n ** BigInt(2 * more)) / 10n ** BigInt(num.scale);
  return { digits: (integerRoot(scaled) + 5n) / 10n, scale };
}

function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt(Math.ceil(value.toString(2).length / 2));
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Power of 10,000 of the first digit in base 10,000; 0 for zero. */
function weightOf({ digits, scale }: Decimal): number {
  if (digits === 0n) return 0;
  const text = (digits < 0n ? -digits : digits).toString();
  return Math.ceil((text.length - scale) / 4) - 1;
}
