// Conditions that may be an error in Postgres. For which rows it computes them depends on its plan; so they are tried with every
// row of their table first. If none of them fails, no plan can: what Postgres computes is the same for some of the rows. If one
// does, SQLite fails, and the core is asked. Where an index would find the rows, the core is faster than that.

import type { Expression } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, list, type Node } from './parse.ts';
import { type Relation, type Scope, tableSql } from './scope.ts';
import type { Translator } from './translate.ts';

/** The conditions of a WHERE clause, one for each part that AND joins. `relations`: what stands in FROM. */
export function guardedConditions(
  node: Node,
  scope: Scope,
  relations: readonly Relation[],
  translator: Translator,
): Expression[] {
  const { draft } = translator;
  const parts = partsOf(node);
  const guards: { readonly part: number; readonly relation: Relation }[] = [];
  const conditions = parts.map((part, index) => {
    const { expression, isNeeded } = translated(part, scope, translator);
    if (!isNeeded) return expression;
    const [only, ...others] = expression.relations;
    const relation = relations.find((each) => each.id === only);
    if (relation === undefined || others.length > 0)
      throw new Forward('may-fail', 'a condition on several tables that may fail');
    guards.push({ part: index, relation });
    const failing = leavesOf(part)
      .map((leaf) => translated(leaf, scope, translator))
      .filter((leaf) => leaf.isNeeded)
      .map((leaf) => `count(${leaf.expression.value()})`);
    const { table } = relation;
    if (table === null || relation.memberOids !== undefined || failing.length === 0) {
      throw new Forward('may-fail', 'a condition that may fail on other than a table');
    }
    draft.guards.push(`(SELECT ${failing.join(' + ')} FROM ${tableSql(table, relation.id)}) < 0`);
    draft.isScanning = true;
    return expression;
  });
  for (const { part, relation } of guards) {
    for (const [index, condition] of conditions.entries()) {
      if (index !== part && usesIndex(condition, relation))
        throw new Forward('may-fail', 'a condition that may fail, beside an index');
    }
  }
  return conditions;
}

function partsOf(node: Node): Node[] {
  const boolean = node['BoolExpr'];
  return boolean?.['boolop'] === 'AND_EXPR' ? list(boolean['args']).flatMap(partsOf) : [node];
}

function translated(node: Node, scope: Scope, translator: Translator): { expression: Expression; isNeeded: boolean } {
  const { draft } = translator;
  const guard = { isNeeded: false };
  draft.guard = guard;
  try {
    const expression = translator.condition(node, scope);
    if (
      guard.isNeeded &&
      /"(?:SubLink|BoolExpr|RowExpr|List)":/.test(JSON.stringify(node)) &&
      leavesOf(node).some(isBranching)
    ) {
      throw new Forward('may-fail', 'a condition of several parts that may fail');
    }
    return { expression, isNeeded: guard.isNeeded };
  } finally {
    draft.guard = null;
  }
}

/** AND, OR and NOT are taken apart: Postgres may do so and compute the parts in another order. */
function leavesOf(node: Node): Node[] {
  const boolean = node['BoolExpr'];
  if (boolean !== undefined) return list(boolean['args']).flatMap(leavesOf);
  const operator = node['A_Expr'];
  const kind = operator?.['kind'];
  if (operator !== undefined && (kind === 'AEXPR_BETWEEN' || kind === 'AEXPR_NOT_BETWEEN')) {
    return list((operator['rexpr'] as Node)['List']?.['items']).map((bound) => ({
      A_Expr: { ...operator, kind: 'AEXPR_OP', name: [{ String: { sval: '>=' } }], rexpr: bound } as Fields,
    }));
  }
  return [node];
}

/** Parts of it may be left out by one of the two engines alone. */
function isBranching(leaf: Node): boolean {
  return /"(?:SubLink|BoolExpr|RowExpr|List)":/.test(JSON.stringify(leaf));
}

/** Whether a condition is on a column that leads an index of the table. */
function usesIndex(condition: Expression, relation: Relation): boolean {
  if (!condition.relations.has(relation.id)) return false;
  const sql = condition.value();
  return (relation.table?.indexes ?? []).some((index) => {
    const column = relation.columns.find((each) => each.attnum === index.keyAttnums[0]);
    return column !== undefined && sql.includes(column.value);
  });
}
