// Queries inside expressions: EXISTS, IN (SELECT …), (SELECT …).

import { OID } from '../../pg/oid.ts';
import { keyOf, operands } from './compare.ts';
import { type Expression, derived, isUntyped, mergeCollations, requireDeterministic } from './expression.ts';
import { Forward } from './forward.ts';
import type { Fields, Node } from './parse.ts';
import type { Scope } from './scope.ts';
import type { SubquerySql, Translation } from './translation.ts';

/** A SubLink node. */
export function sublink(t: Translation, fields: Fields, scope: Scope): Expression {
  const select = (fields['subselect'] as Node)['SelectStmt'];
  if (select === undefined) throw new Forward('unproven-syntax', 'a subquery that is not a SELECT');
  const bool = t.draft.facts(OID.bool);
  switch (fields['subLinkType'] as string) {
    case 'EXISTS_SUBLINK': {
      const subquery = t.subquery(select, scope);
      return outerUse(
        derived(bool, [], () => `EXISTS (${subquery.sql})`, { nullable: false }),
        subquery,
      );
    }
    case 'ANY_SUBLINK': {
      // x IN (SELECT …); other operators are written out by the client.
      if (fields['operName'] !== undefined) throw new Forward('unproven-syntax', 'ANY (SELECT …)');
      t.draft.requireBuiltIn('operator', '=');
      const left = t.term(fields['testexpr'] as Node, scope);
      const subquery = t.subquery(select, scope);
      const column = subquery.columns[0];
      if (subquery.columns.length !== 1 || column === undefined || isUntyped(left)) {
        throw new Forward('unproven-syntax', 'IN over rows');
      }
      const [a, b] = operands(left, column, t.draft);
      requireDeterministic(mergeCollations([a, b]));
      const key = keyOf(a);
      // The subquery prints values; types whose printed form does not compare are left out.
      if (!b.facts.isCanonical || a.facts.keyWriter !== a.facts.writer) {
        throw new Forward('unproven-type', 'IN over a type that does not compare as printed');
      }
      return outerUse(
        derived(bool, [a], () => `(${key()} IN (${subquery.sql}))`),
        subquery,
      );
    }
    case 'EXPR_SUBLINK': {
      const subquery = t.subquery(select, scope);
      const column = subquery.columns[0];
      if (subquery.columns.length !== 1 || column === undefined) throw new Forward('unproven-syntax', 'a row subquery');
      // With more than one row Postgres has an error, SQLite takes the first.
      if (!subquery.isSingleRow) throw new Forward('may-fail', 'a subquery that may give more than one row');
      const expression = derived(column.facts, [], () => `(${subquery.sql})`, {
        typmod: column.typmod,
        collation: column.collation,
      });
      return outerUse(expression, subquery);
    }
    default:
      throw new Forward('unproven-syntax', 'this kind of subquery');
  }
}

function outerUse(expression: Expression, subquery: SubquerySql): Expression {
  return { ...expression, relations: new Set([...expression.relations, ...subquery.outer]) };
}
