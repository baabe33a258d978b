// Operators: which of them SQLite answers as Postgres does, for which types.

import { OID } from '../../pg/oid.ts';
import { arithmetic, checked } from './arithmetic.ts';
import { refuseDomains } from './choices.ts';
import { cast } from './coerce.ts';
import { type ComparisonOperator, compare, distinctFrom, isComparison, keyOf, operands } from './compare.ts';
import { all } from './conditions.ts';
import { type Expression, type Term, derived, isUntyped, mergeCollations, requireDeterministic } from './expression.ts';
import { Forward } from './forward.ts';
import { anyArray, inList } from './membership.ts';
import { type Fields, type Node, list, names, parameterIndex } from './parse.ts';
import { chooseOperator } from './overload.ts';
import { asciiCase } from './proven.ts';
import { applyProof, typeOf } from './proven-call.ts';
import { rowOperator } from './rows.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';

/** An A_Expr node. */
export function operator(t: Translation, fields: Fields, scope: Scope): Term {
  const path = names(fields['name']);
  const kind = fields['kind'] as string;
  const name = path === null ? '' : (path[path.length - 1] as string);
  // OPERATOR(pg_catalog.=) is what it says; other schemas are the user's.
  if (path === null || path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) {
    throw new Forward('unproven-operator', 'an operator of another schema');
  }
  // BETWEEN and the like are made of others, which are looked at where they are compared.
  t.draft.requireBuiltIn('operator', kind === 'AEXPR_NULLIF' ? '=' : name);
  const ofRows = rowOperator(t, name, fields, scope);
  if (ofRows !== null) return ofRows;
  switch (kind) {
    case 'AEXPR_OP':
      return plainOperator(t, name, fields, scope);
    case 'AEXPR_DISTINCT':
    case 'AEXPR_NOT_DISTINCT': {
      const [left, right] = both(t, fields, scope);
      if (isUntyped(left) && isUntyped(right)) throw new Forward('unproven-syntax', 'two constants without types');
      return distinctFrom(left, right, kind === 'AEXPR_NOT_DISTINCT', t.draft);
    }
    case 'AEXPR_NULLIF': {
      const [left, right] = both(t, fields, scope);
      const [a, b] = operands(left, right, t.draft);
      requireDeterministic(mergeCollations([a, b]));
      refuseDomains([a]);
      const keys = [keyOf(a), keyOf(b)] as const;
      return derived(a.facts, [a, b], () => `CASE WHEN ${keys[0]()} = ${keys[1]()} THEN NULL ELSE ${a.value()} END`, {
        typmod: a.typmod,
        collation: mergeCollations([a, b]),
      });
    }
    case 'AEXPR_IN':
      return inList(t, name === '<>', fields, scope);
    case 'AEXPR_OP_ANY':
    case 'AEXPR_OP_ALL':
      if (!isComparison(name)) break;
      return anyArray(t, name, kind === 'AEXPR_OP_ANY' ? 'any' : 'all', fields, scope);
    case 'AEXPR_ILIKE':
      return like(t, true, name === '!~~*', fields, scope);
    case 'AEXPR_LIKE':
      return like(t, false, name === '!~~', fields, scope);
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN': {
      const bounds = list((fields['rexpr'] as Node)['List']?.['items']);
      const left = fields['lexpr'] as Node;
      const isNot = kind === 'AEXPR_NOT_BETWEEN';
      const low = comparison(t, isNot ? '<' : '>=', left, bounds[0] as Node, scope);
      const high = comparison(t, isNot ? '>' : '<=', left, bounds[1] as Node, scope);
      return all(t, isNot ? 'OR' : 'AND', [low, high]);
    }
  }
  throw new Forward('unproven-operator', `${name} (${kind})`);
}

export function both(t: Translation, fields: Fields, scope: Scope): [Term, Term] {
  return [t.term(fields['lexpr'] as Node, scope), t.term(fields['rexpr'] as Node, scope)];
}

function comparison(t: Translation, operator: ComparisonOperator, left: Node, right: Node, scope: Scope): Expression {
  const a = t.term(left, scope);
  const b = t.term(right, scope);
  return compare(operator, a, b, t.draft);
}

function plainOperator(t: Translation, name: string, fields: Fields, scope: Scope): Term {
  if (fields['rexpr'] === undefined || (fields['rexpr'] as Node)['List'] !== undefined) {
    throw new Forward('unproven-operator', name);
  }
  if (fields['lexpr'] === undefined) {
    const operand = t.term(fields['rexpr'] as Node, scope);
    if (!isUntyped(operand) && operand.facts.family === 'integer') {
      if (name === '+') return derived(operand.facts, [operand], operand.value);
      if (name === '-') return checked(t, operand.typeOid, [operand], () => `(- ${operand.value()})`, 'TRUE');
    }
    return applyProof(chooseOperator(name, null, typeOf(operand), t.draft.catalogue), [operand], t.draft);
  }
  // The grammar makes <> of !=.
  if (isComparison(name)) {
    return comparison(t, name, fields['lexpr'] as Node, fields['rexpr'] as Node, scope);
  }
  if (name === '~~' || name === '!~~') return like(t, false, name === '!~~', fields, scope);
  const [left, right] = both(t, fields, scope);
  if (isArithmetic(name) && isExact(left, right)) return arithmetic(t, name, left, right);
  const chosen = chooseOperator(name, typeOf(left), typeOf(right), t.draft.catalogue);
  if (chosen.signature.text === 'text || anynonarray' || chosen.signature.text === 'anynonarray || text') {
    // It is made of a cast to text, which is not what other functions print: true, not t.
    const sides = [left, right].map((term) => (isUntyped(term) ? term : cast(term, OID.text, -1, t.draft)));
    return applyProof(chooseOperator('||', OID.text, OID.text, t.draft.catalogue), sides, t.draft);
  }
  return applyProof(chosen, [left, right], t.draft);
}

function isArithmetic(name: string): boolean {
  return name === '+' || name === '-' || name === '*' || name === '/' || name === '%';
}

/** Integers and numerics; an untyped side is taken for the other's type. */
function isExact(left: Term, right: Term): boolean {
  const isNumber = (term: Term): boolean =>
    isUntyped(term) || term.facts.family === 'integer' || term.facts.family === 'numeric';
  return isNumber(left) && isNumber(right) && !(isUntyped(left) && isUntyped(right));
}

/** LIKE and ILIKE, as GLOB: the pattern is a constant or a parameter, translated when it is bound. */
export function like(t: Translation, isCaseless: boolean, negated: boolean, fields: Fields, scope: Scope): Expression {
  const [left, right] = both(t, fields, scope);
  if (isUntyped(left) || left.facts.family !== 'text') {
    throw new Forward('unproven-operator', 'LIKE on other than text');
  }
  const writer = isCaseless ? 'ilike' : 'like';
  let pattern: () => string;
  if (isUntyped(right)) {
    if (right.untyped === 'text') {
      const { constant } = right;
      const { lifting } = t.draft;
      t.draft.check(constant, writer, OID.text);
      pattern = () => t.draft.constant(constant, writer, OID.text, lifting);
    } else if (right.untyped === 'parameter') {
      const { index } = right;
      t.draft.inferParameter(index, OID.text);
      pattern = () => t.draft.parameter(index, writer);
    } else {
      pattern = () => 'NULL';
    }
  } else {
    const index = parameterIndex(fields['rexpr'] as Node);
    if (index === null || right.facts.family !== 'text') {
      throw new Forward('unproven-operator', 'LIKE with a computed pattern');
    }
    pattern = () => t.draft.parameter(index, writer);
  }
  const operandsOf = isUntyped(right) ? [left] : [left, right];
  requireDeterministic(mergeCollations(operandsOf));
  const lower = isCaseless ? asciiCase('lower', operandsOf, t.draft) : '';
  const operator = negated ? 'NOT GLOB' : 'GLOB';
  return derived(
    t.draft.facts(OID.bool),
    operandsOf,
    () => `(${isCaseless ? `${lower}(${left.value()})` : left.value()} ${operator} ${pattern()})`,
  );
}
