// to_char of numbers, for patterns of 9, 0, comma and point, with FM or without. Others throw, and are left to the core.

import { type Num, roundNum } from '../decimal.ts';
import type { Decimal } from '../numeric.ts';

/** Longest pattern that is read here. */
const PATTERN_LENGTH_MAX = 40;

const PATTERN = /^(FM)?([09,]*)(?:\.([09]*))?$/;

/** Other patterns may be an error. */
export function isOtherPattern(constants: readonly (string | null)[]): boolean {
  return !PATTERN.test(constants[1] ?? 'none');
}

export function formatNumberAs(num: Num, pattern: string): string {
  const parts = PATTERN.exec(pattern);
  if (parts === null || typeof num === 'string' || pattern.length > PATTERN_LENGTH_MAX)
    throw new RangeError('left to the core');
  const isFilled = parts[1] === undefined;
  const whole = parts[2] as string;
  const fraction = parts[3];
  const places = whole.replaceAll(',', '').length;
  if (places === 0 || whole.startsWith(',') || whole.endsWith(',') || fraction === '')
    throw new RangeError('left to the core');
  const scale = fraction?.length ?? 0;
  const rounded = roundNum(num, scale) as Decimal;
  const isNegative = rounded.digits < 0n;
  if (rounded.digits === 0n && num.digits !== 0n && num.digits < 0n) throw new RangeError('a zero with a sign');
  const digits = (isNegative ? -rounded.digits : rounded.digits).toString().padStart(scale + 1, '0');
  const own = scale === 0 ? digits : digits.slice(0, -scale);
  const after = scale === 0 ? '' : digits.slice(-scale);
  const significant = own.replace(/^0+/, '');
  if (significant.length > places) throw new RangeError('a number that does not fit');
  // Zeros are shown from the first 0 of the pattern on, and where there is no other digit before the end.
  const shape = whole.replaceAll(',', '');
  const firstZero = shape.indexOf('0');
  let from = Math.min(firstZero < 0 ? places : firstZero, places - significant.length);
  if (from === places && fraction === undefined) from = places - 1;
  const padded = own.padStart(places, '0').slice(-places);
  let made = '';
  let at = 0;
  let isStarted = false;
  for (const char of whole) {
    if (char === ',') {
      made += isStarted ? ',' : isFilled ? ' ' : '';
      continue;
    }
    if (at === from) {
      made += isNegative ? '-' : isFilled ? ' ' : '';
      isStarted = true;
    }
    made += isStarted ? padded[at] : isFilled ? ' ' : '';
    at += 1;
  }
  if (!isStarted) made += isNegative ? '-' : isFilled ? ' ' : '';
  if (fraction === undefined) return made;
  if (isFilled) return `${made}.${after}`;
  // Without filling, zeros at the end are left out where the pattern has a 9.
  const least = fraction.lastIndexOf('0') + 1;
  let end = after.length;
  while (end > least && after[end - 1] === '0') end -= 1;
  if (made === '' || made === '-') {
    // Of a zero something has to stay.
    if (end === 0) throw new RangeError('left to the core');
  }
  return `${made}.${after.slice(0, end)}`;
}
