// Ranges, by their printed form: bounds are numbers or dates, and compare as such.

import { orderedTemporal } from '../../../pg/types/ordered-temporal.ts';
import { numericKey } from '../../../pg/types/numeric-key.ts';
import { formatRange, parseRange, type RangeValue } from '../../../pg/types/range.ts';
import type { Family } from './proof.ts';

const NUMBER = /^-?\d+(?:\.\d+)?$/;

/** Numbers by value, dates and timestamps by time. */
function compare(a: string, b: string): number {
  if (NUMBER.test(a) && NUMBER.test(b)) return Buffer.compare(Buffer.from(numericKey(a)), Buffer.from(numericKey(b)));
  if (/NaN|Infinity/.test(a + b)) throw new RangeError('bounds that are left to the core');
  const [x, y] = [orderedTemporal(a), orderedTemporal(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

interface Bound {
  readonly value: string | null;
  readonly isInclusive: boolean;
  readonly isLower: boolean;
}

const lower = (range: RangeValue): Bound => ({ value: range.lower, isInclusive: range.lowerInclusive, isLower: true });
const upper = (range: RangeValue): Bound => ({ value: range.upper, isInclusive: range.upperInclusive, isLower: false });

/** range_cmp_bounds(). */
function compareBounds(a: Bound, b: Bound): number {
  if (a.value === null || b.value === null) {
    const rank = (bound: Bound): number => (bound.value === null ? (bound.isLower ? -1 : 1) : 0);
    return rank(a) - rank(b);
  }
  const order = compare(a.value, b.value);
  if (order !== 0) return order;
  const side = (bound: Bound): number => (bound.isInclusive ? 0 : bound.isLower ? 1 : -1);
  return Math.sign(side(a) - side(b));
}

function containsRange(a: RangeValue, b: RangeValue): boolean {
  if (b.isEmpty) return true;
  if (a.isEmpty) return false;
  return compareBounds(lower(a), lower(b)) <= 0 && compareBounds(upper(a), upper(b)) >= 0;
}

function containsElement(range: RangeValue, value: string): boolean {
  if (range.isEmpty) return false;
  if (range.lower !== null) {
    const order = compare(range.lower, value);
    if (order > 0 || (order === 0 && !range.lowerInclusive)) return false;
  }
  if (range.upper !== null) {
    const order = compare(range.upper, value);
    if (order < 0 || (order === 0 && !range.upperInclusive)) return false;
  }
  return true;
}

function overlaps(a: RangeValue, b: RangeValue): boolean {
  if (a.isEmpty || b.isEmpty) return false;
  const startsIn = (x: RangeValue, y: RangeValue): boolean =>
    compareBounds(lower(x), lower(y)) >= 0 && compareBounds(lower(x), upper(y)) <= 0;
  return startsIn(a, b) || startsIn(b, a);
}

function intersection(a: RangeValue, b: RangeValue): string {
  if (a.isEmpty || b.isEmpty || !overlaps(a, b)) return 'empty';
  const from = compareBounds(lower(a), lower(b)) >= 0 ? lower(a) : lower(b);
  const to = compareBounds(upper(a), upper(b)) <= 0 ? upper(a) : upper(b);
  return formatRange({
    isEmpty: false,
    lower: from.value,
    upper: to.value,
    lowerInclusive: from.isInclusive,
    upperInclusive: to.isInclusive,
  });
}

const two =
  (then: (a: RangeValue, b: RangeValue) => unknown) =>
  (a: string, b: string): unknown =>
    then(parseRange(a), parseRange(b));

export const RANGES: Family = {
  title: 'Ranges',
  rows: [
    { of: 'lower(anyrange)', js: (a: string) => parseRange(a).lower },
    { of: 'upper(anyrange)', js: (a: string) => parseRange(a).upper },
    { of: 'isempty(anyrange)', js: (a: string) => parseRange(a).isEmpty },
    { of: 'lower_inc(anyrange)', js: (a: string) => parseRange(a).lowerInclusive },
    { of: 'upper_inc(anyrange)', js: (a: string) => parseRange(a).upperInclusive },
    { of: 'lower_inf(anyrange)', js: (a: string) => !parseRange(a).isEmpty && parseRange(a).lower === null },
    { of: 'upper_inf(anyrange)', js: (a: string) => !parseRange(a).isEmpty && parseRange(a).upper === null },
    { of: 'anyrange @> anyrange', js: two(containsRange) },
    { of: 'anyrange <@ anyrange', js: two((a, b) => containsRange(b, a)) },
    { of: 'anyrange @> anyelement', js: (a: string, b: string) => containsElement(parseRange(a), b) },
    { of: 'anyelement <@ anyrange', js: (a: string, b: string) => containsElement(parseRange(b), a) },
    { of: 'anyrange && anyrange', js: two(overlaps) },
    {
      of: 'anyrange << anyrange',
      js: two((a, b) => !a.isEmpty && !b.isEmpty && compareBounds(upper(a), lower(b)) < 0),
    },
    {
      of: 'anyrange >> anyrange',
      js: two((a, b) => !a.isEmpty && !b.isEmpty && compareBounds(lower(a), upper(b)) > 0),
    },
    {
      of: 'anyrange &< anyrange',
      js: two((a, b) => !a.isEmpty && !b.isEmpty && compareBounds(upper(a), upper(b)) <= 0),
    },
    {
      of: 'anyrange &> anyrange',
      js: two((a, b) => !a.isEmpty && !b.isEmpty && compareBounds(lower(a), lower(b)) >= 0),
    },
    { of: 'anyrange * anyrange', js: two(intersection) },
  ],
};
