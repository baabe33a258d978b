// ARRAY[…], subscripts and slices.

import { OID } from '../../pg/oid.ts';
import { cast, coerce, commonType } from './coerce.ts';
import { type Draft, type Expression, type Term, derived, isUntyped, mergeCollations } from './expression.ts';
import { printedSql, storedSql } from './forms.ts';
import { Forward } from './forward.ts';
import { chooseOperator, elementOf } from './overload.ts';
import { type Fields, type Node, list } from './parse.ts';
import { applyProof, typeOf } from './proven-call.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';
import { arrayOf, hasDomains } from './types.ts';

/** ARRAY[a, b]. `typeOid`: the array type it is cast to at once, which decides how its elements are read; 0 when it is not. */
export function arrayExpression(t: Translation, fields: Fields, typeOid: number, scope: Scope): Expression {
  const { draft } = t;
  const nodes = list(fields['elements']);
  if (nodes.some((node) => node['A_ArrayExpr'] !== undefined))
    throw new Forward('unproven-syntax', 'an array of arrays');
  const terms = nodes.map((node) => t.term(node, scope));
  if (terms.length === 0 && typeOid === 0) throw new Forward('unproven-syntax', 'an empty array without a type');
  const elementOid = typeOid === 0 ? commonType(terms, draft) : elementOf(typeOid, draft.catalogue);
  const arrayOid = typeOid === 0 ? arrayOf(elementOid, draft.catalogue) : typeOid;
  if (arrayOid === 0 || elementOid === 0) throw new Forward('unproven-type', 'an array of this type');
  const elements = terms.map((term) => {
    if (!isUntyped(term) && draft.catalogue.resolveType(term.typeOid)?.isArray === true) {
      throw new Forward('unproven-syntax', 'an array of arrays');
    }
    return typeOid === 0 ? coerce(term, elementOid, draft) : cast(term, elementOid, -1, draft);
  });
  if (typeOid === 0) refuseDomainElements(elements, draft);
  return derived(
    draft.facts(arrayOid),
    elements,
    () => `skerry_array(${elements.map((element) => printedSql(element.facts, element.value())).join(', ')})`,
    { nullable: false, collation: mergeCollations(elements) },
  );
}

/**
 * An array is of a domain when all its elements are, which is another type. Computed values may be of one: CASE and the like
 * keep it. One element that is not decides.
 */
export function refuseDomainElements(elements: readonly Expression[], draft: Draft): void {
  const isOfNone = (element: Expression): boolean => {
    if (element.relations.size === 0 || !hasDomains(element.typeOid, draft.catalogue)) return true;
    const { column } = element;
    const table = column === null ? undefined : draft.catalogue.table(column.tableOid);
    return table?.columns.find((each) => each.attnum === column?.attnum)?.typeOid === element.typeOid;
  };
  if (!elements.some(isOfNone)) throw new Forward('unproven-type', 'an array of what may be of a domain');
}

/** An A_Indirection node: `array[i]`, `array[i:j]`, `jsonb['key']`. */
export function indirection(t: Translation, fields: Fields, scope: Scope): Expression {
  const { draft } = t;
  const steps = list(fields['indirection']).map((node) => node['A_Indices']);
  if (steps.includes(undefined)) throw new Forward('unproven-syntax', 'a field of a composite value');
  const base = t.expression(fields['arg'] as Node, scope);
  const subscripts = steps as readonly Fields[];
  if (base.typeOid === OID.jsonb) {
    return subscripts.reduce((json: Expression, step) => {
      const term = subscriptTerm(t, step['uidx'], scope);
      if (step['is_slice'] === true || term === null) throw new Forward('unproven-syntax', 'a slice of a jsonb');
      const chosen = chooseOperator('->', OID.jsonb, typeOf(term), draft.catalogue);
      return applyProof(chosen, [json, term], draft);
    }, base);
  }
  const elementOid = elementOf(base.typeOid, draft.catalogue);
  if (
    elementOid === 0 ||
    (base.column?.clientTypmod !== undefined && base.isPlain && base.column.clientTypmod !== base.typmod)
  ) {
    throw new Forward('unproven-type', 'a subscript of other than an array');
  }
  const index = (node: unknown): Expression | null => {
    const term = subscriptTerm(t, node, scope);
    return term === null ? null : coerce(term, OID.int4, draft);
  };
  draft.mayFail = true;
  const isSlice = subscripts.some((step) => step['is_slice'] === true);
  if (isSlice) {
    const [step] = subscripts;
    if (subscripts.length !== 1 || step === undefined)
      throw new Forward('unproven-syntax', 'a slice of several dimensions');
    const bounds = [index(step['lidx']), index(step['uidx'])] as const;
    const given = bounds.filter((bound) => bound !== null);
    // A bound that is NULL makes the slice NULL, one that is left out does not.
    const args = bounds.map((bound) => (bound === null ? (): string => "'-'" : bound.value));
    return derived(
      base.facts,
      [base, ...given],
      () => `skerry_slice(${base.value()}, ${args.map((each) => each()).join(', ')})`,
      {
        typmod: base.typmod,
        collation: base.collation,
      },
    );
  }
  const indexes = subscripts.map((step) => {
    const one = index(step['uidx']);
    if (one === null) throw new Forward('unproven-syntax', 'a subscript');
    return one;
  });
  const facts = draft.facts(elementOid);
  return derived(
    facts,
    [base, ...indexes],
    () => storedSql(facts, `skerry_subscript(${[base, ...indexes].map((each) => each.value()).join(', ')})`),
    { typmod: base.typmod, collation: base.collation },
  );
}

function subscriptTerm(t: Translation, node: unknown, scope: Scope): Term | null {
  return node === undefined ? null : t.term(node as Node, scope);
}
