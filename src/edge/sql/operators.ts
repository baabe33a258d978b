// Operators: which of them SQLite answers as Postgres does, for which types.

import { OID } from '../../pg/oid.ts';
import { arithmetic, checked } from './arithmetic.ts';
import { refuseDomains } from './choices.ts';
import { cast } from './coerce.ts';
import { type ComparisonOperator, compare, distinctFrom, isComparison, keyOf, operands } from './compare.ts';
import { all } from './conditions.ts';
import {
  type Constant,
  type Expression,
  type Term,
  derived,
  isUntyped,
  mergeCollations,
  requireDeterministic,
} from './expression.ts';
import { Forward } from './forward.ts';
import { anyArray, inList } from './membership.ts';
import { type Fields, type Node, list, names, parameterIndex } from './parse.ts';
import { chooseOperator } from './overload.ts';
import { asciiCase } from './proven.ts';
import { applyProof, typeOf } from './proven-call.ts';
import { rowOperator } from './rows.ts';
import { similarToRegex } from './regex.ts';
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
  t.draft.requireBuiltIn('operator', kind === 'AEXPR_NULLIF' ? '=' : kind === 'AEXPR_SIMILAR' ? '~' : name);
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
    case 'AEXPR_SIMILAR':
      return similar(t, name === '!~', fields, scope);
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN':
    case 'AEXPR_BETWEEN_SYM':
    case 'AEXPR_NOT_BETWEEN_SYM':
      return between(t, kind, fields, scope);
  }
  throw new Forward('unproven-operator', `${name} (${kind})`);
}

/** BETWEEN is two comparisons; SYMMETRIC tries the bounds in both orders. */
function between(t: Translation, kind: string, fields: Fields, scope: Scope): Expression {
  const [low, high] = list((fields['rexpr'] as Node)['List']?.['items']) as [Node, Node];
  const left = fields['lexpr'] as Node;
  const isNot = kind.startsWith('AEXPR_NOT');
  const within = (from: Node, to: Node): Expression =>
    all(t, isNot ? 'OR' : 'AND', [
      comparison(t, isNot ? '<' : '>=', left, from, scope),
      comparison(t, isNot ? '>' : '<=', left, to, scope),
    ]);
  if (!kind.endsWith('SYM')) return within(low, high);
  return all(t, isNot ? 'AND' : 'OR', [within(low, high), within(high, low)]);
}

/** SIMILAR TO a constant: a regular expression for the whole text. */
function similar(t: Translation, negated: boolean, fields: Fields, scope: Scope): Expression {
  const call = (fields['rexpr'] as Node)['FuncCall'];
  const [pattern, escape] = list(call?.['args']).map((node) => t.term(node, scope));
  const isConstant = (term: Term | undefined): term is Extract<Term, { untyped: 'text' }> =>
    term !== undefined && isUntyped(term) && term.untyped === 'text';
  if (!isConstant(pattern) || (escape !== undefined && !isConstant(escape))) {
    throw new Forward('unproven-operator', 'SIMILAR TO a computed pattern');
  }
  const escapeText = escape === undefined ? '\\' : t.draft.bake(escape.constant);
  const regex = escapeText.length > 1 ? null : similarToRegex(t.draft.bake(pattern.constant), escapeText);
  if (regex === null) throw new Forward('unproven-operator', 'SIMILAR TO this pattern');
  const left = t.term(fields['lexpr'] as Node, scope);
  const right: Term = { untyped: 'text', constant: { text: regex, start: -1 } };
  const name = negated ? '!~' : '~';
  return applyProof(chooseOperator(name, typeOf(left), OID.unknown, t.draft.catalogue), [left, right], t.draft);
}

/** A pattern with an ESCAPE of its own, as one with the usual backslash; null when there is no such constant. */
function escapedPattern(t: Translation, node: Node, scope: Scope): Term | null {
  const call = node['FuncCall'];
  const path = call === undefined ? null : names(call['funcname']);
  if (path === null || path[path.length - 1] !== 'like_escape') return null;
  const [pattern, escape] = list(call?.['args']).map((each) => t.term(each, scope));
  const isConstant = [pattern, escape].every(
    (term) => term !== undefined && isUntyped(term) && term.untyped === 'text',
  );
  if (!isConstant) throw new Forward('unproven-function', 'LIKE with a computed escape');
  const [text, char] = [pattern, escape].map((term) => t.draft.bake((term as { constant: Constant }).constant)) as [
    string,
    string,
  ];
  if (char.length > 1) throw new Forward('unproven-function', 'LIKE with a long escape');
  let made = '';
  for (let at = 0; at < text.length; at += 1) {
    const own = text[at] as string;
    if (own !== char) made += own === '\\' ? '\\\\' : own;
    else if (at + 1 === text.length) throw new Forward('literal', 'a pattern that ends with its escape');
    else {
      at += 1;
      made += `\\${text[at]}`;
    }
  }
  return { untyped: 'text', constant: { text: made, start: -1 } };
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
  const left = t.term(fields['lexpr'] as Node, scope);
  const right = escapedPattern(t, fields['rexpr'] as Node, scope) ?? t.term(fields['rexpr'] as Node, scope);
  if (
    isUntyped(left) ||
    !(left.facts.family === 'text' || left.facts.family === 'bpchar' || left.facts.family === 'name')
  ) {
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
      const operatorName = `${negated ? '!' : ''}~~${isCaseless ? '*' : ''}`;
      return applyProof(
        chooseOperator(operatorName, left.typeOid, right.typeOid, t.draft.catalogue),
        [left, right],
        t.draft,
      );
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
