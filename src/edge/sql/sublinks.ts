// Queries inside expressions: EXISTS, IN (SELECT …), ANY and ALL of a query, (SELECT …).

import { OID } from '../../pg/oid.ts';
import { compare, comparable, isComparison, keyOf } from './compare.ts';
import { type Expression, derived, isUntyped, type Term } from './expression.ts';
import { type Quantifier, quantifiedSql } from './conditions.ts';
import { Forward } from './forward.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import { columnExpression } from './resolve.ts';
import { carry, derivedRelation } from './derived.ts';
import type { Scope } from './scope.ts';
import type { SubquerySql, Translation } from './translation.ts';

/** A SubLink node. */
export function sublink(t: Translation, fields: Fields, scope: Scope): Expression {
  const select = (fields['subselect'] as Node)['SelectStmt'];
  if (select === undefined) throw new Forward('unproven-syntax', 'a subquery that is not a SELECT');
  switch (fields['subLinkType'] as string) {
    case 'EXISTS_SUBLINK': {
      const subquery = t.subquery(select, scope);
      const sql = subquery.sql(subquery.columns.map((column) => column.value()));
      return outerUse(
        derived(t.draft.facts(OID.bool), [], () => `EXISTS (${sql})`, { nullable: false }),
        subquery,
      );
    }
    case 'ANY_SUBLINK':
      return quantified(t, fields, select, scope, 'any');
    case 'ALL_SUBLINK':
      return quantified(t, fields, select, scope, 'all');
    case 'EXPR_SUBLINK':
      return scalar(t, select, scope);
    default:
      throw new Forward('unproven-syntax', 'this kind of subquery');
  }
}

function scalar(t: Translation, select: Fields, scope: Scope): Expression {
  const subquery = t.subquery(select, scope);
  const column = subquery.columns[0];
  if (subquery.columns.length !== 1 || column === undefined) throw new Forward('unproven-syntax', 'a row subquery');
  const sql = subquery.sql([column.value()]);
  if (!subquery.isSingleRow) {
    // With more than one row Postgres has an error, SQLite takes the first. One that depends on nothing is counted before
    // anything else; another would have to be counted for rows that Postgres may never look at.
    // And it must stand on its own, without the WITH queries around it.
    if (subquery.outer.size > 0 || /\bw\d+ AS t\d/.test(sql))
      throw new Forward('may-fail', 'a subquery that may give more than one row');
    t.draft.guards.push(`(SELECT count(*) FROM (SELECT 1 FROM (${sql}) LIMIT 2)) > 1`);
    t.draft.mayFail = true;
  }
  return outerUse(
    derived(column.facts, [], () => `(${sql})`, { typmod: column.typmod, collation: column.collation }),
    subquery,
  );
}

/** `x op ANY (SELECT …)`, `(a, b) IN (SELECT …)`, `x op ALL (SELECT …)`. */
function quantified(t: Translation, fields: Fields, select: Fields, scope: Scope, quantifier: Quantifier): Expression {
  const path = names(fields['operName']);
  const operator = path === null ? '=' : (path[path.length - 1] as string);
  if (path !== null && path.length > 1 && path[0] !== 'pg_catalog')
    throw new Forward('unproven-operator', 'an operator of another schema');
  if (!isComparison(operator)) throw new Forward('unproven-operator', `${operator} ANY (SELECT …)`);
  t.draft.requireBuiltIn('operator', operator);
  const test = fields['testexpr'] as Node;
  const left = test['RowExpr'] === undefined ? [test] : list(test['RowExpr']['args']);
  const terms = left.map((node) => t.term(node, scope));
  const subquery = t.subquery(select, scope);
  if (subquery.columns.length !== terms.length || terms.some(isUntyped))
    throw new Forward('unproven-syntax', 'IN over other columns');
  const isEquality = (operator === '=' && quantifier === 'any') || (operator === '<>' && quantifier === 'all');
  if (!isEquality) {
    if (terms.length > 1) throw new Forward('unproven-syntax', `${operator} of rows`);
    return judged(t, terms[0] as Expression, operator, quantifier, subquery);
  }
  const pairs = terms.map((term, index) => comparable(term, subquery.columns[index] as Expression, true, t.draft));
  const keys = pairs.map(([a]) => keyOf(a));
  // The query gives what compares, not what prints.
  const sql = subquery.sql(pairs.map(([, b]) => keyOf(b)()));
  const key = (): string => (keys.length === 1 ? `${keys[0]?.()}` : `(${keys.map((each) => each()).join(', ')})`);
  return outerUse(
    derived(
      t.draft.facts(OID.bool),
      pairs.map(([a]) => a),
      () => `(${key()} ${operator === '=' ? 'IN' : 'NOT IN'} (${sql}))`,
    ),
    subquery,
  );
}

/** Compares with each row: true (false) as soon as one is, else NULL when one is, else false (true). */
function judged(
  t: Translation,
  left: Expression,
  operator: '=' | '<>' | '<' | '<=' | '>' | '>=',
  quantifier: Quantifier,
  subquery: SubquerySql,
): Expression {
  const id = t.draft.nextRelation();
  const output = { name: '', expression: subquery.columns[0] as Expression };
  const { written, columns } = carry([output], false);
  const relation = derivedRelation(id, '', columns, []);
  const right = columnExpression(t.draft, relation, relation.columns[0] as (typeof relation.columns)[number]);
  const verdict = compare(operator, left as Term, right, t.draft);
  const sql = subquery.sql(written);
  return outerUse(
    derived(t.draft.facts(OID.bool), [left], () => {
      const inside = `SELECT ${verdict.value()} AS v FROM (${sql}) AS t${id}`;
      return quantifiedSql(quantifier, inside);
    }),
    subquery,
  );
}

function outerUse(expression: Expression, subquery: SubquerySql): Expression {
  return { ...expression, relations: new Set([...expression.relations, ...subquery.outer]) };
}
