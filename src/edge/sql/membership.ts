// IN lists, = ANY and <> ALL of arrays.

import { OID } from '../../pg/oid.ts';
import { isArrayElement } from './bind.ts';
import { coerce, commonType } from './coerce.ts';
import { typed, untypedTo } from './constants.ts';
import { type ComparisonOperator, compare, keyOf, orderKey } from './compare.ts';
import { all, type Quantifier, quantifiedSql } from './conditions.ts';
import {
  type Expression,
  type Term,
  derived,
  isUntyped,
  mergeCollations,
  requireC,
  requireDeterministic,
} from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, type Node, list, parameterIndex } from './parse.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';
import { arrayOf } from './types.ts';

/** `x [NOT] IN (a, b)`. */
export function inList(t: Translation, negated: boolean, fields: Fields, scope: Scope): Expression {
  const left = t.term(fields['lexpr'] as Node, scope);
  const items = list((fields['rexpr'] as Node)['List']?.['items']).map((item) => t.term(item, scope));
  return inTerms(t, negated, left, items);
}

function inTerms(t: Translation, negated: boolean, left: Term, items: readonly Term[]): Expression {
  const operator = negated ? '<>' : '=';
  const isVariable = (term: Term): boolean => !isUntyped(term) && (term.relations.size > 0 || term.hasAggregate);
  const plain = items.filter((item) => !isVariable(item));
  if (plain.length < 2 || plain.length !== items.length) {
    return all(
      t,
      negated ? 'AND' : 'OR',
      items.map((item) => compare(operator, left, item, t.draft)),
    );
  }
  // A list of constants is an array: all of its elements get one type, which may be varchar.
  const typeOid = commonType([left, ...plain], t.draft);
  if (isUntyped(left) || typeOid !== left.typeOid) {
    const isInteger = plain.every((term) => isUntyped(term) || term.facts.family === 'integer');
    if (!isInteger || isUntyped(left) || left.facts.family !== 'integer')
      throw new Forward('unproven-operator', 'IN of mixed types');
  }
  const a = typed(left, t.draft);
  const elements = plain.map((item) => coerce(item, typeOid, t.draft));
  requireDeterministic(mergeCollations([a, ...elements]));
  if (a.facts.family === 'opaque') throw new Forward('unproven-operator', `IN of type ${typeOid}`);
  const key = keyOf(a);
  const keys = elements.map((element) => keyOf(element));
  return derived(
    t.draft.facts(OID.bool),
    [a, ...elements],
    () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (${keys.map((each) => each()).join(', ')}))`,
    { equality: negated ? null : { left: a, right: elements } },
  );
}

/** `x op ANY (array)`, `x op ALL (array)`. */
export function anyArray(
  t: Translation,
  operator: ComparisonOperator,
  quantifier: Quantifier,
  fields: Fields,
  scope: Scope,
): Expression {
  const negated = operator === '<>' && quantifier === 'all';
  const isMembership = negated || (operator === '=' && quantifier === 'any');
  const left = t.term(fields['lexpr'] as Node, scope);
  let node = fields['rexpr'] as Node;
  let written = 0;
  if (node['TypeCast'] !== undefined) {
    const type = t.typeName(node['TypeCast']['typeName'] as Fields);
    if (type.typmod !== -1) throw new Forward('unproven-type', 'an array type with a modifier');
    written = type.typeOid;
    node = node['TypeCast']['arg'] as Node;
  }
  if (node['A_ArrayExpr'] !== undefined) {
    const nodes = list(node['A_ArrayExpr']['elements']);
    if (!isMembership) return comparedList(t, operator, quantifier, left, written, nodes, scope);
    return anyList(t, negated, left, written, list(node['A_ArrayExpr']['elements']), scope);
  }
  if (node['ColumnRef'] !== undefined && written === 0 && isMembership && !negated)
    return anyOfColumn(t, left, t.expression(node, scope));
  if (isUntyped(left)) throw new Forward('unproven-operator', '= ANY of a constant without type');
  const { catalogue } = t.draft;
  // What the operator takes: text for varchar.
  const wanted = left.typeOid === OID.varchar ? OID.text : left.typeOid;
  let arrayOid = written === 0 ? arrayOf(wanted, catalogue) : written;
  const index = parameterIndex(node);
  const declared = index === null ? 0 : (t.draft.parameterTypes[index] ?? 0);
  if (declared !== 0 && declared !== OID.unknown) arrayOid = declared;
  const element = [OID.int2, OID.int4, OID.int8, OID.text, OID.varchar, wanted].find(
    (oid) => arrayOf(oid, catalogue) === arrayOid,
  );
  if (arrayOid === 0 || element === undefined || !isArrayElement(element, catalogue)) {
    throw new Forward('unproven-operator', '= ANY of this type');
  }
  const elementFamily = t.draft.facts(element).family;
  if (elementFamily !== left.facts.family || (elementFamily === 'enum' && element !== left.typeOid)) {
    throw new Forward('unproven-operator', '= ANY of mixed types');
  }
  requireDeterministic(left.collation);
  let array: () => string;
  if (index !== null) {
    t.draft.inferParameter(index, arrayOid);
    array = () => t.draft.parameter(index, 'array');
  } else {
    const term = t.term(node, scope);
    if (!isUntyped(term) || term.untyped !== 'text')
      throw new Forward('unproven-operator', '= ANY of a computed array');
    const { constant } = term;
    const { lifting } = t.draft;
    t.draft.check(constant, 'array', arrayOid);
    array = () => t.draft.constant(constant, 'array', arrayOid, lifting);
  }
  if (!isMembership) {
    const isEquality = operator === '=' || operator === '<>';
    if (!isEquality) requireC(left.collation);
    if (elementFamily === 'enum' && !isEquality) throw new Forward('unproven-operator', 'ANY of ordered enums');
    const sql = isEquality ? keyOf(left) : (): string => orderKey(left, t.draft);
    return derived(t.draft.facts(OID.bool), [left], () =>
      quantifiedSql(quantifier, `SELECT (${sql()} ${operator} value) AS v FROM json_each(${array()})`),
    );
  }
  const key = keyOf(left);
  return derived(
    t.draft.facts(OID.bool),
    [left],
    () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (SELECT value FROM json_each(${array()})))`,
  );
}

/** `x op ANY (ARRAY[a, b])` where the operator is not the one of IN: each element is compared. */
function comparedList(
  t: Translation,
  operator: ComparisonOperator,
  quantifier: Quantifier,
  left: Term,
  written: number,
  nodes: readonly Node[],
  scope: Scope,
): Expression {
  if (written !== 0 || nodes.length === 0 || isUntyped(left))
    throw new Forward('unproven-operator', `${operator} ANY of this array`);
  const terms = nodes.map((node) => t.term(node, scope));
  const element = commonType(terms, t.draft);
  const parts = terms.map((term) => compare(operator, left, coerce(term, element, t.draft), t.draft));
  return all(t, quantifier === 'any' ? 'OR' : 'AND', parts);
}

/** `x = ANY (column)`: elements whose texts are equal exactly when they are. */
function anyOfColumn(t: Translation, left: Term, column: Expression): Expression {
  const { catalogue } = t.draft;
  const resolved = catalogue.resolveType(column.typeOid);
  if (resolved === null || !resolved.isArray) throw new Forward('unproven-operator', '= ANY of other than an array');
  const element = resolved.elementOid;
  const family = t.draft.facts(element).family;
  if (family !== 'integer' && family !== 'text' && family !== 'uuid' && family !== 'enum') {
    throw new Forward('unproven-operator', '= ANY of an array of this type');
  }
  // The operator decides how an untyped side is read: text for varchar.
  const a = isUntyped(left) ? untypedTo(left, element === OID.varchar ? OID.text : element, t.draft) : left;
  const isSame = family === 'integer' || family === 'text' ? a.facts.family === family : a.typeOid === element;
  if (!isSame) throw new Forward('unproven-operator', '= ANY of mixed types');
  requireDeterministic(mergeCollations([a, column]));
  const value = (): string => (family === 'integer' ? `CAST(${a.value()} AS TEXT)` : a.value());
  return derived(t.draft.facts(OID.bool), [a, column], () => `skerry_has(${column.value()}, ${value()})`);
}

/** `x = ANY (ARRAY[a, b])`: the array's type is decided without looking at x. */
function anyList(
  t: Translation,
  negated: boolean,
  left: Term,
  written: number,
  items: readonly Node[],
  scope: Scope,
): Expression {
  const terms = items.map((item) => t.term(item, scope));
  const { catalogue } = t.draft;
  if (terms.length === 0 || isUntyped(left)) throw new Forward('unproven-operator', '= ANY of an empty list');
  const element =
    written === 0
      ? commonType(terms, t.draft)
      : [OID.int2, OID.int4, OID.int8, OID.text, OID.varchar, OID.uuid, left.typeOid].find(
          (oid) => arrayOf(oid, catalogue) === written,
        );
  if (element === undefined) throw new Forward('unproven-operator', '= ANY of this type');
  const elements = terms.map((term) => {
    if (!isUntyped(term) && term.relations.size > 0) throw new Forward('unproven-operator', 'an array of columns');
    return coerce(term, element, t.draft);
  });
  const family = t.draft.facts(element).family;
  const isSame = family === 'integer' || family === 'text' ? family === left.facts.family : element === left.typeOid;
  if (!isSame || family === 'opaque') throw new Forward('unproven-operator', '= ANY of mixed types');
  requireDeterministic(mergeCollations([left, ...elements]));
  const key = keyOf(left);
  const keys = elements.map((each) => keyOf(each));
  return derived(
    t.draft.facts(OID.bool),
    [left, ...elements],
    () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (${keys.map((each) => each()).join(', ')}))`,
    { equality: negated ? null : { left, right: elements } },
  );
}
