// ORDER BY, LIMIT, OFFSET, FETCH FIRST.

import { OID } from '../../pg/oid.ts';
import { orderKey } from './compare.ts';
import { type Draft, type Expression, isUntyped, requireC } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, names, type Node } from './parse.ts';
import type { Order, OutputColumn } from './query.ts';
import { emptyScope, type Scope } from './scope.ts';
import type { Translator } from './translate.ts';

/** The items of an ORDER BY clause. `outputs` null: names and positions of outputs mean nothing (windows). */
export function orderOf(
  items: readonly Node[],
  outputs: readonly OutputColumn[] | null,
  scope: Scope,
  context: { readonly draft: Draft; readonly translator: Pick<Translator, 'expression'> },
): Order[] {
  const order: Order[] = [];
  for (const item of items) {
    const fields = item['SortBy'] as Fields;
    const node = fields['node'] as Node;
    const expression =
      (outputs === null ? null : outputOf(node, outputs)) ?? context.translator.expression(node, scope);
    const direction = (fields['sortby_dir'] as string | undefined) ?? 'SORTBY_DEFAULT';
    if (direction === 'SORTBY_USING') throw new Forward('unproven-syntax', 'ORDER BY USING');
    // Postgres sorts NULL as larger than everything.
    const isDescending = direction === 'SORTBY_DESC';
    const nulls = (fields['sortby_nulls'] as string | undefined) ?? 'SORTBY_NULLS_DEFAULT';
    const nullsFirst = nulls === 'SORTBY_NULLS_DEFAULT' ? isDescending : nulls === 'SORTBY_NULLS_FIRST';
    requireC(expression.collation);
    // By a constant all rows are equal; and SQLite would read a bare integer as a position.
    if (expression.relations.size === 0 && !expression.hasAggregate) continue;
    const sorted = isDescending ? ' DESC' : '';
    const nullableDirection = `${sorted} NULLS ${nullsFirst ? 'FIRST' : 'LAST'}`;
    order.push({
      expression,
      key: groupable(expression, orderKey(expression, context.draft)),
      direction: expression.nullable ? nullableDirection : sorted,
      nullableDirection,
    });
  }
  return order;
}

/** For GROUP BY and ORDER BY: SQLite may fold `x AND FALSE` to 0, and then reads it as a position. */
export function groupable(expression: Expression, sql: string): string {
  return expression.column === null ? `ifnull(${sql}, NULL)` : sql;
}

export function orderSql(order: readonly Order[]): string {
  return order.length === 0 ? '' : ` ORDER BY ${order.map((each) => each.key + each.direction).join(', ')}`;
}

/** The output that an ORDER BY item means: a position or a name; null when it is an expression over FROM. */
export function outputOf(node: Node, outputs: readonly OutputColumn[]): Expression | null {
  const constant = node['A_Const'];
  if (constant !== undefined) {
    const position = (constant['ival'] as Fields | undefined)?.['ival'];
    const output = typeof position === 'number' ? outputs[position - 1] : undefined;
    if (output === undefined) throw new Forward('unproven-syntax', 'ORDER BY a constant');
    return output.expression;
  }
  const path = node['ColumnRef'] === undefined ? null : names(node['ColumnRef']['fields']);
  if (path?.length !== 1) return null;
  const named = outputs.filter((output) => output.name === path[0]);
  const first = named[0];
  if (first === undefined) return null;
  if (named.some((output) => output.expression.value() !== first.expression.value())) {
    throw new Forward('unknown-column', `ORDER BY "${path[0]}" is ambiguous`);
  }
  return first.expression;
}

export interface Limits {
  /** ` LIMIT … OFFSET …`, or nothing. */
  readonly sql: string;
  /** LIMIT when it is a constant. */
  readonly limit: number | null;
  readonly hasOffset: boolean;
  /** Both as constants, for WITH TIES; null for all others. */
  readonly ties: { readonly limit: number; readonly offset: number } | null;
}

/** LIMIT and OFFSET of a SelectStmt. */
export function limitsOf(
  fields: Fields,
  context: { readonly draft: Draft; readonly translator: Pick<Translator, 'term'> },
): Limits {
  const option = (fields['limitOption'] as string | undefined) ?? 'LIMIT_OPTION_DEFAULT';
  const count = fields['limitCount'] as Node | undefined;
  const offset = fields['limitOffset'] as Node | undefined;
  if (count === undefined && offset === undefined) return { sql: '', limit: null, hasOffset: false, ties: null };
  let limit: number | null = null;
  let sql = ' LIMIT -1';
  if (count !== undefined) {
    const made = limitSql(count, 'limit', context);
    sql = ` LIMIT ${made}`;
    if (/^\d+$/.test(made)) limit = Number(made);
  }
  const isTied = option === 'LIMIT_OPTION_WITH_TIES';
  if (offset !== undefined) {
    // Pages differ by their offset only, and no decision depends on it.
    context.draft.lifting = !isTied;
    const made = limitSql(offset, 'offset', context);
    sql += ` OFFSET ${made}`;
    context.draft.lifting = false;
    if (isTied) return tied(limit, /^\d+$/.test(made) ? Number(made) : null, sql);
  }
  if (isTied) return tied(limit, 0, sql);
  return { sql, limit, hasOffset: offset !== undefined, ties: null };
}

function tied(limit: number | null, offset: number | null, sql: string): Limits {
  if (limit === null || limit === 0 || offset === null)
    throw new Forward('unproven-syntax', 'WITH TIES of other than constants');
  return { sql, limit: null, hasOffset: offset > 0, ties: { limit, offset } };
}

function limitSql(
  node: Node,
  writer: 'limit' | 'offset',
  { draft, translator }: { readonly draft: Draft; readonly translator: Pick<Translator, 'term'> },
): string {
  const parameter = node['TypeCast'] === undefined ? node['ParamRef'] : (node['TypeCast']['arg'] as Node)['ParamRef'];
  const term = translator.term(node, emptyScope());
  if (parameter !== undefined) {
    const index = (parameter['number'] as number) - 1;
    if (isUntyped(term)) draft.inferParameter(index, OID.int8);
    else if (term.facts.family !== 'integer') throw new Forward('unproven-cast', 'LIMIT that is no integer');
    return draft.parameter(index, writer);
  }
  if (isUntyped(term)) {
    if (term.untyped === 'null') return writer === 'limit' ? '-1' : '0';
    if (term.untyped === 'text') return draft.constant(term.constant, writer, OID.int8);
  } else if (term.facts.family === 'integer' && term.constant !== null) {
    return draft.constant(term.constant, writer, OID.int8);
  }
  throw new Forward('unproven-syntax', 'LIMIT that is no constant');
}
