// Comparisons: which operator Postgres would choose for two types, and the SQLite expression that decides the same.

import { OID } from '../../pg/oid.ts';
import { sqlLiteral } from '../../replica/values.ts';
import { coerce } from './coerce.ts';
import { constantOf, typed, untypedTo } from './constants.ts';
import {
  type Draft,
  type Expression,
  derived,
  isUntyped,
  mergeCollations,
  requireC,
  requireDeterministic,
  type Term,
} from './expression.ts';
import { Forward } from './forward.ts';
import { chooseOperator } from './overload.ts';
import { NEED_TIMEZONE_UTC } from './plan.ts';

export type ComparisonOperator = '=' | '<>' | '<' | '<=' | '>' | '>=';

export function isComparison(name: string): name is ComparisonOperator {
  return name === '=' || name === '<>' || name === '<' || name === '<=' || name === '>' || name === '>=';
}

/** `left operator right`. */
export function compare(operator: ComparisonOperator, left: Term, right: Term, draft: Draft): Expression {
  draft.requireBuiltIn('operator', operator);
  // With transform_null_equals on, Postgres reads `x = NULL` as `x IS NULL`.
  if (operator === '=' && [left, right].some((side) => isUntyped(side) && side.untyped === 'null')) {
    throw new Forward('unproven-syntax', '= NULL');
  }
  const isEquality = operator === '=' || operator === '<>';
  const [a, b] = comparable(left, right, isEquality, draft);
  const sqlOf = (operand: Expression): (() => string) => (isEquality ? keyOf(operand) : () => orderKey(operand, draft));
  const sqlA = sqlOf(a);
  const sqlB = sqlOf(b);
  return derived(draft.facts(OID.bool), [a, b], () => `(${sqlA()} ${operator} ${sqlB()})`, {
    equality: operator === '=' ? { left: a, right: [b] } : null,
  });
}

/** Both operands of a comparison, whose collation allows it. */
export function comparable(left: Term, right: Term, isEquality: boolean, draft: Draft): [Expression, Expression] {
  const [a, b] = operands(left, right, draft);
  requireComparable(a, b, isEquality);
  // Keys that are computed may be beyond what is computed here.
  if (a.facts.keySql !== undefined) draft.mayFail = true;
  return [a, b];
}

/** `left IS [NOT] DISTINCT FROM right`. */
export function distinctFrom(left: Term, right: Term, negated: boolean, draft: Draft): Expression {
  draft.requireBuiltIn('operator', '=');
  const [a, b] = comparable(left, right, true, draft);
  const operator = negated ? 'IS' : 'IS NOT';
  const sqlA = keyOf(a);
  const sqlB = keyOf(b);
  return derived(draft.facts(OID.bool), [a, b], () => `(${sqlA()} ${operator} ${sqlB()})`, { nullable: false });
}

function requireComparable(a: Expression, b: Expression, isEquality: boolean): void {
  const collation = mergeCollations([a, b]);
  if (isEquality) requireDeterministic(collation);
  else requireC(collation);
}

/** SQL that is equal when the values are. Throws when the type has none. */
export function keyOf(expression: Expression): () => string {
  if (expression.key === null)
    throw new Forward('unproven-type', `values of type ${expression.typeOid} do not compare here`);
  return expression.key;
}

/** SQL that orders as the values do, collation aside. */
export function orderKey(expression: Expression, draft: Draft): string {
  const { facts } = expression;
  if (!facts.isOrdered) throw new Forward('unproven-type', `values of type ${expression.typeOid} are not ordered here`);
  const key = keyOf(expression)();
  if (facts.family !== 'enum') return key;
  const labels = draft.catalogue.type(facts.oid)?.enumLabels ?? [];
  if (labels.length === 0) throw new Forward('unproven-type', 'an enum without labels');
  const cases = labels.map((label, index) => `WHEN ${sqlLiteral(label)} THEN ${index}`);
  return `CASE ${key} ${cases.join(' ')} END`;
}

/** Both operands in the types of the operator that Postgres would choose. */
export function operands(left: Term, right: Term, draft: Draft): [Expression, Expression] {
  if (isUntyped(left)) {
    if (isUntyped(right)) return [typed(left, draft), typed(right, draft)];
    const b = operand(right, draft);
    return [untypedTo(left, b.typeOid, draft), b];
  }
  const a = operand(left, draft);
  if (isUntyped(right)) return [a, untypedTo(right, a.typeOid, draft)];
  const b = operand(right, draft);
  const family = a.facts.family;
  if (family === b.facts.family) {
    if (family === 'opaque') throw new Forward('unproven-operator', `types ${a.typeOid} and ${b.typeOid}`);
    if (a.typeOid === b.typeOid || family === 'integer' || family === 'float' || family === 'inet') return [a, b];
  }
  const isExact = (each: Expression): boolean => each.facts.family === 'integer' || each.facts.family === 'numeric';
  if (isExact(a) && isExact(b)) return [coerce(a, OID.numeric, draft), coerce(b, OID.numeric, draft)];
  if (b.constant !== null) {
    const met = meetConstant(a, b, draft);
    if (met !== null) return [a, met];
  } else if (a.constant !== null) {
    const met = meetConstant(b, a, draft);
    if (met !== null) return [met, b];
  }
  return meet(a, b, draft);
}

const TEMPORAL_RANK = new Map<number, number>([
  [OID.date, 1],
  [OID.timestamp, 2],
  [OID.timestamptz, 3],
]);

/** Two types that Postgres compares by an operator of another type, or by one of its own for both. */
function meet(a: Expression, b: Expression, draft: Draft): [Expression, Expression] {
  const { types } = chooseOperator('=', a.typeOid, b.typeOid, draft.catalogue);
  const [left, right] = types as [number, number];
  const ranks = [left, right].map((type) => TEMPORAL_RANK.get(type) ?? 0) as [number, number];
  if (ranks[0] > 0 && ranks[1] > 0 && left !== right) {
    return ranks[0] > ranks[1] ? [a, asLater(b, a, draft)] : [asLater(a, b, draft), b];
  }
  const [first, second] = [coerce(a, left, draft), coerce(b, right, draft)];
  const family = first.facts.family;
  const isOne = left === right || family === 'float' || family === 'integer';
  if (family === second.facts.family && family !== 'opaque' && isOne) return [first, second];
  throw new Forward('unproven-operator', `types ${a.typeOid} and ${b.typeOid}`);
}

/** A date as its midnight, a timestamp in UTC: never too late for the other type, unlike a cast. */
function asLater(operand: Expression, other: Expression, draft: Draft): Expression {
  const isZoned = other.typeOid === OID.timestamptz;
  if (isZoned) draft.needs |= NEED_TIMEZONE_UTC;
  const tail = `${operand.typeOid === OID.date ? ' 00:00:00' : ''}${isZoned ? '+00' : ''}`;
  return derived(
    other.facts,
    [operand],
    () => {
      const sql = operand.value();
      return `CASE WHEN ${sql} IN ('infinity', '-infinity') THEN ${sql} ELSE ${sql} || '${tail}' END`;
    },
    { nullable: operand.nullable },
  );
}

/** varchar and cidr have no operators of their own: those of text and inet serve them. */
function operand(term: Expression, draft: Draft): Expression {
  if (term.typeOid === OID.cidr) return coerce(term, OID.inet, draft);
  return term.typeOid === OID.varchar ? coerce(term, OID.text, draft) : term;
}

/** A number constant in the type in which it is compared with `other`; null when that is not proven. */
function meetConstant(other: Expression, constant: Expression, draft: Draft): Expression | null {
  const source = constant.constant;
  if (source === null) return null;
  const isInteger = constant.facts.family === 'integer';
  if (!isInteger && constant.typeOid !== OID.numeric) return null;
  switch (other.facts.family) {
    case 'float':
      // float4 meets numbers of other types as float8.
      return constantOf(OID.float8, source, draft);
    case 'oid':
      return isInteger ? constantOf(OID.oid, source, draft) : null;
    default:
      return null;
  }
}
