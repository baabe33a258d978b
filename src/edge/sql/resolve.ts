// Column references: which column of which level a name means.

import type { Draft, Expression } from './expression.ts';
import { requireNameHere } from './coverage.ts';
import { Forward } from './forward.ts';
import { list, names, type Node } from './parse.ts';
import type { Found, Namespace, Relation, RelationColumn, Scope } from './scope.ts';

/** A column that stands in FROM under this name alone; null when there is none. */
export function unqualified(scope: Scope, name: string): Found | null {
  const found = scope.namespace.visible.filter((column) => column.name === name);
  if (found.length > 1) throw new Forward('unknown-column', `"${name}" is ambiguous`);
  requireNameHere(scope.namespace, name, found.length > 0);
  return found[0]?.found ?? null;
}

/** `relation.column` at this level; null when there is no such relation. */
export function qualified(scope: Scope, path: readonly string[]): Found | null {
  const name = path[path.length - 1] as string;
  const relation = findRelation(scope, path.slice(0, -1));
  if (relation === null) return null;
  const columns = relation.columns.filter((column) => column.name === name);
  if (columns.length !== 1) throw new Forward('unknown-column', `"${path.join('.')}" is not a column`);
  return { relation, column: columns[0] as RelationColumn };
}

/** The relation called `path` at this level; null when there is none. */
export function findRelation(scope: Scope, path: readonly string[]): Relation | null {
  const found = scope.namespace.relations.filter((relation) =>
    path.length === 1 ? relation.alias === path[0] : relation.schema === path[0] && relation.alias === path[1],
  );
  if (found.length > 1) throw new Forward('unknown-table', `"${path.join('.')}" is ambiguous`);
  return found[0] ?? null;
}

/** What a name stands for, as it is once all joins of its level are known. */
export function foundExpression(draft: Draft, found: Found, { relations }: Namespace): Expression {
  if ('column' in found) return columnExpression(draft, found.relation, found.column);
  const { expression } = found;
  const isOptional = relations.some((relation) => relation.isOptional && expression.relations.has(relation.id));
  return isOptional ? { ...expression, nullable: true } : expression;
}

/** A relation's column as an expression. */
export function columnExpression(draft: Draft, relation: Relation, column: RelationColumn): Expression {
  if (column.expression !== undefined) {
    return { ...column.expression, nullable: column.expression.nullable || relation.isOptional };
  }
  if (!column.isReplicated) throw new Forward('column-not-replicated', `column "${column.name}" is not here`);
  const facts = draft.facts(column.typeOid);
  const key = column.key;
  return {
    typeOid: facts.oid,
    facts,
    typmod: column.typmod,
    collation: column.collation,
    value: () => column.value,
    key:
      facts.family === 'opaque' || key === null
        ? null
        : facts.family === 'bpchar'
          ? () => `rtrim(${key}, ' ')`
          : () => facts.keySql?.(key) ?? key,
    nullable: !column.notNull || relation.isOptional,
    column: {
      relation: relation.id,
      tableOid: column.tableOid,
      attnum: column.attnum,
      clientTypmod: column.clientTypmod,
    },
    isPlain: true,
    relations: new Set([relation.id]),
    isUngrouped: false,
    hasAggregate: false,
    constant: null,
    equality: null,
    ...(column.mayFold === true ? { mayFold: true } : {}),
  };
}

/** Path before `.*`, empty for a bare `*`; null when the node is something else. */
export function starOf(node: Node): string[] | null {
  const fields = list(node['ColumnRef']?.['fields']);
  const last = fields[fields.length - 1];
  if (last === undefined || !('A_Star' in last)) return null;
  return names(fields.slice(0, -1)) ?? [];
}
