// Postgres' numeric with its infinities and NaN: arithmetic that is exact, and that prints as many digits as Postgres does.

import {
  add,
  type Decimal,
  divide,
  formatDecimal,
  multiply,
  parseDecimal,
  remainder,
  round,
  subtract,
  truncate,
} from './numeric.ts';

/** A numeric as functions get it. */
export type Num = Decimal | 'NaN' | 'Infinity' | '-Infinity';

/** Most digits after the point, or zeros before it, that are made here. */
const SCALE_MAX = 1_000;

/** Digits before the point that a numeric may have (131,072); what may reach it is left to the core long before. */
const WHOLE_DIGITS_MAX = 4_000;

export function parseNum(text: string): Num {
  if (text === 'NaN' || text === 'Infinity' || text === '-Infinity') return text;
  return parseDecimal(text);
}

export function formatNum(num: Num): string {
  if (typeof num === 'string') return num;
  const text = formatDecimal(num);
  if (text.length > WHOLE_DIGITS_MAX * 2) throw new RangeError('a numeric that is left to the core');
  return text;
}

/** -1, 0, 1; NaN is 2 and has no sign. */
export function signOf(num: Num): -1 | 0 | 1 | 2 {
  if (typeof num === 'string') return num === 'NaN' ? 2 : num === 'Infinity' ? 1 : -1;
  return num.digits === 0n ? 0 : num.digits < 0n ? -1 : 1;
}

export function negateNum(num: Num): Num {
  if (typeof num === 'string') return num === 'NaN' ? num : num === 'Infinity' ? '-Infinity' : 'Infinity';
  return { digits: -num.digits, scale: num.scale };
}

function infinity(sign: number): Num {
  return sign < 0 ? '-Infinity' : 'Infinity';
}

export function addNum(a: Num, b: Num): Num {
  if (typeof a !== 'string' && typeof b !== 'string') return add(a, b);
  if (a === 'NaN' || b === 'NaN') return 'NaN';
  if (typeof a === 'string') return typeof b === 'string' && a !== b ? 'NaN' : a;
  return b;
}

export function subtractNum(a: Num, b: Num): Num {
  return typeof a !== 'string' && typeof b !== 'string' ? subtract(a, b) : addNum(a, negateNum(b));
}

export function multiplyNum(a: Num, b: Num): Num {
  if (typeof a !== 'string' && typeof b !== 'string') {
    const product = multiply(a, b);
    // Postgres shows at most 16,383 digits after the point.
    if (product.scale > 1_000) throw new RangeError('a product that is left to the core');
    return product;
  }
  if (a === 'NaN' || b === 'NaN') return 'NaN';
  const sign = signOf(a) * signOf(b);
  return sign === 0 ? 'NaN' : infinity(sign);
}

export function divideNum(a: Num, b: Num): Num {
  if (a === 'NaN' || b === 'NaN') return 'NaN';
  if (typeof a === 'string') {
    if (typeof b === 'string') return 'NaN';
    if (b.digits === 0n) throw new RangeError('division by zero');
    return infinity(signOf(a) * signOf(b));
  }
  if (typeof b === 'string') return { digits: 0n, scale: 0 };
  return divide(a, b);
}

export function remainderNum(a: Num, b: Num): Num {
  if (a === 'NaN' || b === 'NaN') return 'NaN';
  if (typeof b !== 'string' && b.digits === 0n) throw new RangeError('division by zero');
  if (typeof a === 'string') return 'NaN';
  if (typeof b === 'string') return a;
  return remainder(a, b);
}

/** div(): the quotient without its fraction. */
export function wholeQuotient(a: Num, b: Num): Num {
  if (typeof a !== 'string' && typeof b !== 'string') {
    if (b.digits === 0n) throw new RangeError('division by zero');
    const scale = Math.max(a.scale, b.scale);
    return { digits: atScale(a, scale) / atScale(b, scale), scale: 0 };
  }
  const quotient = divideNum(a, b);
  return typeof quotient === 'string' ? quotient : { digits: 0n, scale: 0 };
}

function atScale(a: Decimal, scale: number): bigint {
  return a.digits * 10n ** BigInt(scale - a.scale);
}

/** round(num, scale): also to the left of the point when `scale` is negative. */
export function roundNum(num: Num, scale: number): Num {
  if (typeof num === 'string') return num;
  if (Math.abs(scale) > SCALE_MAX) throw new RangeError('a scale that is left to the core');
  if (scale >= 0) return round(num, scale);
  return leftOfPoint(num, scale, round);
}

export function truncateNum(num: Num, scale: number): Num {
  if (typeof num === 'string') return num;
  if (Math.abs(scale) > SCALE_MAX) throw new RangeError('a scale that is left to the core');
  if (scale >= 0) return truncate(num, scale);
  return leftOfPoint(num, scale, truncate);
}

function leftOfPoint(num: Decimal, scale: number, cut: (num: Decimal, scale: number) => Decimal): Num {
  const places = -scale;
  const cutOff = cut({ digits: num.digits, scale: num.scale + places }, 0);
  return { digits: cutOff.digits * 10n ** BigInt(places), scale: 0 };
}

/** As numeric(precision, scale) stores it. Throws where it does not fit. */
export function fitNum(num: Num, precision: number, scale: number): Num {
  if (typeof num === 'string') {
    if (num === 'NaN') return num;
    throw new RangeError('numeric field overflow');
  }
  const rounded = roundNum(num, scale) as Decimal;
  const whole = (rounded.digits < 0n ? -rounded.digits : rounded.digits) / 10n ** BigInt(rounded.scale);
  const max = precision - scale;
  if (max >= 0 ? whole >= 10n ** BigInt(max) : rounded.digits !== 0n && fraction(rounded) >= 10n ** BigInt(precision)) {
    throw new RangeError('numeric field overflow');
  }
  return scale < 0 ? { digits: rounded.digits, scale: 0 } : rounded;
}

function fraction({ digits }: Decimal): bigint {
  return digits < 0n ? -digits : digits;
}

/** Rounded to a whole number, halves away from zero; throws for infinities and NaN. */
export function wholeOf(num: Num): bigint {
  if (typeof num === 'string') throw new RangeError('cannot convert to an integer');
  return (round(num, 0) as Decimal).digits;
}
