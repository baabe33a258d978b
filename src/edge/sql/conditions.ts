// AND, OR, NOT, IS NULL, IS TRUE and their like.

import { OID } from '../../pg/oid.ts';
import { type Expression, derived, isUntyped } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, type Node, list } from './parse.ts';
import type { Scope } from './scope.ts';
import { OPERANDS_COUNT_MAX, type Translation } from './translation.ts';

/** A BoolExpr node: AND, OR, NOT. */
export function booleanOf(t: Translation, fields: Fields, scope: Scope): Expression {
  const parts = list(fields['args']).map((each) => t.condition(each, scope));
  switch (fields['boolop'] as string) {
    case 'AND_EXPR':
      return all(t, 'AND', parts);
    case 'OR_EXPR':
      return all(t, 'OR', parts);
    default:
      return derived(t.draft.facts(OID.bool), parts, () => `(NOT ${parts[0]?.value()})`);
  }
}

/** All of, or any of, the parts. */
export function all(t: Translation, operator: 'AND' | 'OR', parts: readonly Expression[]): Expression {
  if (parts.length === 1) return parts[0] as Expression;
  if (parts.length > OPERANDS_COUNT_MAX) throw new Forward('too-long', `more than ${OPERANDS_COUNT_MAX} conditions`);
  return derived(t.draft.facts(OID.bool), parts, () => `(${parts.map((part) => part.value()).join(` ${operator} `)})`);
}

/** IS [NOT] NULL. */
export function nullTest(t: Translation, fields: Fields, scope: Scope): Expression {
  const term = t.term(fields['arg'] as Node, scope);
  if (isUntyped(term)) throw new Forward('parameter-type', 'IS NULL of a constant without type');
  const resolved = t.draft.catalogue.resolveType(term.typeOid);
  // A row of NULLs is NULL too.
  if (resolved?.kind === 'c') throw new Forward('unproven-type', 'IS NULL of a composite value');
  const operator = fields['nulltesttype'] === 'IS_NOT_NULL' ? 'IS NOT NULL' : 'IS NULL';
  return derived(t.draft.facts(OID.bool), [term], () => `(${term.value()} ${operator})`, { nullable: false });
}

/** IS [NOT] TRUE, FALSE, UNKNOWN. */
export function booleanTest(t: Translation, fields: Fields, scope: Scope): Expression {
  const operand = t.condition(fields['arg'] as Node, scope);
  const test: Record<string, string> = {
    IS_TRUE: 'IS TRUE',
    IS_NOT_TRUE: 'IS NOT TRUE',
    IS_FALSE: 'IS FALSE',
    IS_NOT_FALSE: 'IS NOT FALSE',
    IS_UNKNOWN: 'IS NULL',
    IS_NOT_UNKNOWN: 'IS NOT NULL',
  };
  const operator = test[(fields['booltesttype'] as string | undefined) ?? 'IS_TRUE'];
  return derived(t.draft.facts(OID.bool), [operand], () => `(${operand.value()} ${operator})`, {
    nullable: false,
  });
}

export type Quantifier = 'any' | 'all';

/**
 * What ANY or ALL comes to: decided by one row that is true (false), else NULL when one is NULL. `verdicts` is a SELECT of
 * one column `v`, a comparison for each row.
 */
export function quantifiedSql(quantifier: Quantifier, verdicts: string): string {
  const decided = quantifier === 'any' ? 'WHEN max(v) = 1 THEN 1' : 'WHEN min(v) = 0 THEN 0';
  const otherwise = quantifier === 'any' ? 0 : 1;
  return `(SELECT CASE ${decided} WHEN count(*) > count(v) THEN NULL ELSE ${otherwise} END FROM (${verdicts}))`;
}
