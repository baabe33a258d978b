// Values as JSON: to_json, json_build_object and the like. Each value becomes a piece of JSON text by its type; jsonb is made
// of such a text.

import { OID } from '../../pg/oid.ts';
import { untypedTo } from './constants.ts';
import { type Draft, type Expression, type Term, derived, isUntyped } from './expression.ts';
import { printedSql } from './forms.ts';
import { Forward } from './forward.ts';
import { elementOf } from './overload.ts';

/** How a value of this type is written: a number, a boolean, JSON itself, a moment or a string; arrays of these. */
function kindOf(typeOid: number, draft: Draft): string {
  const facts = draft.facts(typeOid);
  switch (facts.family) {
    case 'integer':
    case 'float':
    case 'numeric':
      return 'n';
    case 'bool':
      return 'b';
    case 'date':
      return 'd';
    case 'timestamp':
    case 'timestamptz':
      return 't';
    case 'jsonb':
      return 'j';
    default: {
      if (facts.oid === OID.json) return 'j';
      const element = elementOf(facts.oid, draft.catalogue);
      if (element !== 0) return `a${kindOf(element, draft)}`;
      const kind = draft.catalogue.resolveType(facts.oid)?.kind;
      if (kind !== 'b' && kind !== 'e' && kind !== 'r') throw new Forward('unproven-type', 'JSON of a composite value');
      return 's';
    }
  }
}

/** SQL of the JSON text of a value; `null` of NULL. */
export function jsonSql(expression: Expression, draft: Draft): () => string {
  if (expression.typeOid !== expression.facts.oid) throw new Forward('unproven-type', 'JSON of a domain');
  const kind = kindOf(expression.typeOid, draft);
  draft.needs |= expression.facts.textNeeds;
  draft.mayFail = true;
  return () => `skerry_json('${kind}', ${printedSql(expression.facts, expression.value())})`;
}

const CALLS = new Set([
  'to_json',
  'to_jsonb',
  'json_build_object',
  'jsonb_build_object',
  'json_build_array',
  'jsonb_build_array',
]);

export function isJsonCall(name: string): boolean {
  return CALLS.has(name);
}

export function jsonCall(name: string, terms: readonly Term[], draft: Draft): Expression {
  const operands = terms.map((term) => {
    if (!isUntyped(term)) return term;
    // "any" takes a constant for a text, anyelement does not take it at all.
    if (term.untyped === 'parameter' || name.startsWith('to_'))
      throw new Forward('parameter-type', 'a value without a type');
    return untypedTo(term, OID.text, draft);
  });
  const isBinary = name.includes('jsonb');
  const facts = draft.facts(isBinary ? OID.jsonb : OID.json);
  if (name.startsWith('to_')) {
    const [only] = operands;
    if (only === undefined || operands.length !== 1) throw new Forward('unproven-function', name);
    const json = jsonSql(only, draft);
    return derived(facts, [only], () => {
      const sql = isBinary ? `skerry_jsonb(${json()})` : json();
      return `CASE WHEN ${only.value()} IS NOT NULL THEN ${sql} END`;
    });
  }
  const parts = operands.map((operand) => jsonSql(operand, draft));
  if (name.endsWith('_object')) {
    for (const [index, key] of operands.entries()) if (index % 2 === 0) requireKey(key, draft);
    if (operands.length % 2 === 1) throw new Forward('unproven-function', `${name} of an odd number of values`);
  }
  return derived(facts, operands, () => `skerry_${name}(${parts.map((part) => part()).join(', ')})`, {
    nullable: false,
  });
}

/** A key that is NULL is an error, and so is one that is no scalar. */
export function requireKey(key: Expression, draft: Draft): void {
  const kind = kindOf(key.typeOid, draft);
  if (kind === 'j' || kind.startsWith('a')) throw new Forward('unproven-type', 'a key that is no scalar');
  if (key.nullable) draft.raise(false, 'a key that may be NULL');
}
