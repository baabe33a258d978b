// Numerics of a declared scale as integers: a numeric(10,2) is a whole number of hundredths, which SQLite adds up itself, many
// times as fast as a function of ours adds decimals.

import { OID } from '../../pg/oid.ts';
import type { Expression } from './expression.ts';

/** A number as `sql / 10^scale`, of at most `digits` digits. */
export interface Scaled {
  readonly sql: () => string;
  /** More than 0 when the number is NaN, and `sql` means nothing; NULL when it is NULL. */
  readonly nan: () => string;
  readonly scale: number;
  readonly digits: number;
}

/** 64 bits hold 18 digits; sums of many rows need room. */
const DIGITS_MAX = 15;

const INTEGER_DIGITS = new Map<number, number>([
  [OID.int2, 5],
  [OID.int4, 10],
]);

/** The scaled form of an expression; null when there is none. */
export function scaledOf(expression: Expression): Scaled | null {
  if (expression.scaled !== undefined) return expression.scaled;
  const digits = INTEGER_DIGITS.get(expression.typeOid);
  if (digits !== undefined)
    return { sql: expression.value, nan: () => `(${expression.value()} <> ${expression.value()})`, scale: 0, digits };
  if (expression.typeOid !== OID.numeric || expression.column === null || expression.typmod === -1) return null;
  // numeric.c: precision in the upper half, scale in the 11 bits below, with its sign.
  const packed = expression.typmod - 4;
  const precision = (packed >> 16) & 0xffff;
  const scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
  if (scale < 0 || scale > precision || precision > DIGITS_MAX) return null;
  const text = expression.value;
  // Every value is printed with its whole scale.
  const number = scale === 0 ? text : (): string => `replace(${text()}, '.', '')`;
  return {
    sql: () => `CAST(${number()} AS INTEGER)`,
    nan: () => `(${text()} = 'NaN')`,
    scale,
    digits: precision,
  };
}

/** `left operator right` of two scaled numbers; null when it needs too many digits. */
export function scaledArithmetic(operator: string, left: Expression, right: Expression): Scaled | null {
  const [a, b] = [scaledOf(left), scaledOf(right)];
  if (a === null || b === null) return null;
  const nan = (): string => `(${a.nan()} + ${b.nan()})`;
  if (operator === '*') {
    const digits = a.digits + b.digits;
    if (digits > DIGITS_MAX + 2) return null;
    return { sql: () => `(${a.sql()}) * (${b.sql()})`, nan, scale: a.scale + b.scale, digits };
  }
  if (operator !== '+' && operator !== '-') return null;
  const scale = Math.max(a.scale, b.scale);
  const digits = Math.max(a.digits - a.scale, b.digits - b.scale) + scale + 1;
  if (digits > DIGITS_MAX + 2) return null;
  const raised = (side: Scaled): string =>
    side.scale === scale ? `(${side.sql()})` : `(${side.sql()}) * ${10 ** (scale - side.scale)}`;
  return { sql: () => `${raised(a)} ${operator} ${raised(b)}`, nan, scale, digits };
}
