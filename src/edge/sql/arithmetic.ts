// + - * / % of integers and numerics: exact, and failing where Postgres fails.

import { OID } from '../../pg/oid.ts';
import { coerce } from './coerce.ts';
import { constantOf, untypedTo } from './constants.ts';
import { type Constant, type Expression, type Term, derived, isUntyped, isFoldable } from './expression.ts';
import { Forward } from './forward.ts';
import { scaledArithmetic } from './scaled.ts';
import type { Translation } from './translation.ts';

/** `left name right` of numbers. */
export function arithmetic(t: Translation, name: string, left: Term, right: Term): Expression {
  // An untyped side is read as the other's type, for which each of these operators exists.
  const known = isUntyped(left) ? right : left;
  if (isUntyped(known)) throw new Forward('unproven-operator', `${name} on constants without types`);
  const terms = [left, right].map((term) => (isUntyped(term) ? untypedTo(term, known.typeOid, t.draft) : term));
  const [a, b] = terms as [Expression, Expression];
  if (a.facts.family === 'integer' && b.facts.family === 'integer') return integerArithmetic(t, name, a, b);
  if (terms.every((term) => term.facts.family === 'integer' || term.facts.family === 'numeric')) {
    return numericArithmetic(t, name, a, b);
  }
  throw new Forward('unproven-operator', `${name} on types ${a.typeOid} and ${b.typeOid}`);
}

function integerArithmetic(t: Translation, name: string, a: Expression, b: Expression): Expression {
  const typeOid = [OID.int8, OID.int4, OID.int2].find((oid) => a.typeOid === oid || b.typeOid === oid) as number;
  if (a.constant !== null && b.constant !== null) return folded(t, name, typeOid, a.constant, b.constant);
  if (name === '/' || name === '%') {
    const divisor = b.constant === null ? null : BigInt(t.draft.bake(b.constant));
    if (divisor === 0n) throw new Forward('may-fail', 'a division by zero');
    // Neither a division by zero nor the one that overflows, -2^31 / -1.
    if (divisor !== null && divisor !== 0n && divisor !== -1n) {
      return derived(t.draft.facts(typeOid), [a, b], () => `(${a.value()} ${name} ${b.value()})`, {
        nullable: a.nullable,
      });
    }
  }
  if (isCounting(t, name, a, b)) {
    return derived(t.draft.facts(typeOid), [a, b], () => `(${a.value()} ${name} ${b.value()})`);
  }
  const guard = name === '/' || name === '%' ? () => `${b.value()} <> 0` : () => 'TRUE';
  return checked(t, typeOid, [a, b], () => `(${a.value()} ${name} ${b.value()})`, guard);
}

/** Steps of a recursion that counts: it would take millions of them to leave the type. */
const STEP_MAX = 1_000;

/** `n + 1` of a recursion's column that starts at a small constant. */
function isCounting(t: Translation, name: string, a: Expression, b: Expression): boolean {
  if (t.draft.isRecursing === 0 || (name !== '+' && name !== '-') || b.constant === null || a.column === null)
    return false;
  return t.draft.counters.has(a.value()) && Math.abs(Number(t.draft.bake(b.constant))) <= STEP_MAX;
}

function numericArithmetic(t: Translation, name: string, left: Expression, right: Expression): Expression {
  const call = NUMERIC_FUNCTIONS.get(name);
  if (call === undefined) throw new Forward('unproven-operator', name);
  // Division fails by zero, the others only beyond 131,072 digits, which numbers of declared size never reach.
  const divisor = right.constant;
  const isDivisorSafe = divisor !== null && /[1-9]/.test(t.draft.bake(divisor));
  const isSafe = ((name !== '/' && name !== '%') || isDivisorSafe) && isSmall(left) && isSmall(right);
  if (!isSafe) t.draft.raise(isFoldable([left, right]), 'arithmetic that may fail');
  const a = coerce(left, OID.numeric, t.draft);
  const b = coerce(right, OID.numeric, t.draft);
  // NaN and infinities are left to the core.
  t.draft.mayFail = true;
  const made = derived(a.facts, [a, b], () => `${call}(${a.value()}, ${b.value()})`, {
    nullable: a.nullable || b.nullable,
  });
  const scaled = scaledArithmetic(name, left, right);
  return scaled === null ? made : { ...made, scaled };
}

/** Arithmetic of two constants is done now. */
export function folded(t: Translation, name: string, typeOid: number, left: Constant, right: Constant): Expression {
  const a = BigInt(t.draft.bake(left));
  const b = BigInt(t.draft.bake(right));
  if (b === 0n && (name === '/' || name === '%')) throw new Forward('may-fail', 'a division by zero');
  const value = name === '+' ? a + b : name === '-' ? a - b : name === '*' ? a * b : name === '/' ? a / b : a % b;
  // Out of range is for the core to say.
  return { ...constantOf(typeOid, { text: String(value), start: -1 }, t.draft), constant: null };
}

/** Integer arithmetic that fails in SQLite where it fails in Postgres: the statement is then forwarded. */
export function checked(
  t: Translation,
  typeOid: number,
  parts: readonly Expression[],
  value: () => string,
  guard: string | (() => string),
): Expression {
  // Elsewhere it depends on the plan for which rows an expression is computed, and so which rows may fail.
  // And constants Postgres computes even if there is no row.
  t.draft.raise(isFoldable(parts), 'arithmetic that may overflow');
  const facts = t.draft.facts(typeOid);
  return derived(facts, parts, () => {
    const sql = value();
    const isNull = parts.map((part) => `${part.value()} IS NULL`).join(' OR ');
    // abs() of the smallest integer is SQLite's own overflow error. What is added is 0 here, and keeps SQLite from
    // computing it before the first row as it does with constants.
    const fail = `abs(-9223372036854775807 - 1 + (${isNull}))`;
    const inRange =
      typeOid === OID.int8
        ? `typeof(${sql}) = 'integer'`
        : `${sql} BETWEEN ${typeOid === OID.int4 ? '-2147483648 AND 2147483647' : '-32768 AND 32767'}`;
    const guarded = typeof guard === 'string' ? guard : guard();
    return `CASE WHEN ${isNull} THEN NULL WHEN ${guarded} AND ${inRange} THEN ${sql} ELSE ${fail} END`;
  });
}

const NUMERIC_FUNCTIONS = new Map<string, string>([
  ['+', 'skerry_add'],
  ['-', 'skerry_subtract'],
  ['*', 'skerry_multiply'],
  ['/', 'skerry_divide'],
  ['%', 'skerry_remainder'],
]);

/** A number of at most 1,000 digits whatever the data. */
function isSmall(operand: Expression): boolean {
  return (
    operand.facts.family === 'integer' ||
    operand.constant !== null ||
    (operand.column !== null && operand.typmod !== -1)
  );
}
