// Rows in comparisons: (a, b) = (1, 2), (a, b) < (c, d), (a, b) IN ((1, 2), …). SQLite compares rows as Postgres does: field by
// field, NULL as soon as a NULL decides.

import { OID } from '../../pg/oid.ts';
import { comparable, compare, distinctFrom, isComparison, orderKey } from './compare.ts';
import { all } from './conditions.ts';
import { derived, type Expression, isUntyped, type Term } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, list, type Node } from './parse.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';

/** The fields of a row that is written out; null for other nodes. */
export function rowOf(node: Node | undefined): readonly Node[] | null {
  const row = node?.['RowExpr'];
  return row === undefined ? null : list(row['args']);
}

/** An A_Expr one of whose sides is a row; null when it is none. */
export function rowOperator(t: Translation, name: string, fields: Fields, scope: Scope): Expression | null {
  const left = rowOf(fields['lexpr'] as Node | undefined);
  if (left === null) return null;
  const kind = fields['kind'] as string;
  const terms = (nodes: readonly Node[]): Term[] => nodes.map((node) => t.term(node, scope));
  const rowTerms = terms(left);
  const other = (node: Node): Term[] => {
    const row = rowOf(node);
    if (row === null || row.length !== left.length || row.length === 0)
      throw new Forward('unproven-syntax', 'a row and something else');
    return terms(row);
  };
  if (kind === 'AEXPR_IN') {
    const items = list((fields['rexpr'] as Node)['List']?.['items']).map((item) =>
      rowsCompared(t, name === '<>' ? '<>' : '=', rowTerms, other(item)),
    );
    return all(t, name === '<>' ? 'AND' : 'OR', items);
  }
  const right = other(fields['rexpr'] as Node);
  if (kind === 'AEXPR_DISTINCT' || kind === 'AEXPR_NOT_DISTINCT') {
    const isNot = kind === 'AEXPR_NOT_DISTINCT';
    const parts = rowTerms.map((term, index) => {
      if (isUntyped(term) && isUntyped(right[index] as Term))
        throw new Forward('unproven-syntax', 'two constants without types');
      return distinctFrom(term, right[index] as Term, isNot, t.draft);
    });
    return all(t, isNot ? 'AND' : 'OR', parts);
  }
  if (kind !== 'AEXPR_OP' || !isComparison(name)) throw new Forward('unproven-operator', `${name} of rows`);
  return rowsCompared(t, name, rowTerms, right);
}

function rowsCompared(
  t: Translation,
  operator: '=' | '<>' | '<' | '<=' | '>' | '>=',
  left: readonly Term[],
  right: readonly Term[],
): Expression {
  if (operator === '=' || operator === '<>' || left.length === 1) {
    const parts = left.map((term, index) => compare(operator, term, right[index] as Term, t.draft));
    return all(t, operator === '<>' ? 'OR' : 'AND', parts);
  }
  t.draft.requireBuiltIn('operator', operator);
  const pairs = left.map((term, index) => comparable(term, right[index] as Term, false, t.draft));
  const row = (side: 0 | 1): string => `(${pairs.map((pair) => orderKey(pair[side], t.draft)).join(', ')})`;
  return derived(t.draft.facts(OID.bool), pairs.flat(), () => `(${row(0)} ${operator} ${row(1)})`);
}

/** `(a, b) IS [NOT] NULL`: all of them are, or none. */
export function rowNullTest(t: Translation, nodes: readonly Node[], isNot: boolean, scope: Scope): Expression {
  if (nodes.length === 0) throw new Forward('unproven-syntax', 'a row without fields');
  const parts = nodes.map((node) => {
    const term = t.term(node, scope);
    if (isUntyped(term)) throw new Forward('parameter-type', 'IS NULL of a constant without type');
    if (t.draft.catalogue.resolveType(term.typeOid)?.kind === 'c')
      throw new Forward('unproven-type', 'IS NULL of a composite value');
    return derived(t.draft.facts(OID.bool), [term], () => `(${term.value()} IS ${isNot ? 'NOT ' : ''}NULL)`, {
      nullable: false,
    });
  });
  return all(t, 'AND', parts);
}
