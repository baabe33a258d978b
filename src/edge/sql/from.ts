// FROM: tables, queries, common tables and joins, as SQLite text and as the names that they make known.

import type { TableImage } from '../../contracts/catalogue.ts';
import { coerce, commonType } from './coerce.ts';
import { compare } from './compare.ts';
import { commonTypmod, refuseDomains } from './choices.ts';
import { carry, derivedRelation, renamed } from './derived.ts';
import { type Draft, derived, type Expression, mergeCollations } from './expression.ts';
import { requireAllColumns } from './coverage.ts';
import { Forward } from './forward.ts';
import { isSingleRow } from './lane.ts';
import { type Fields, list, names, type Node, parse, PARSE_BYTES_MAX } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import { type Conjunct, NESTED, outputsOf, type Planning, type Query } from './query.ts';
import { columnExpression } from './resolve.ts';
import {
  findTable,
  type Found,
  membersOf,
  membersSql,
  type Namespace,
  type Relation,
  type RelationColumn,
  type Scope,
  tableRelation,
  tableSql,
  type VisibleColumn,
} from './scope.ts';
import { functionInFrom } from './table-functions.ts';
import type { Translator } from './translate.ts';

interface JoinType {
  readonly sql: string;
  /** Sides whose columns may be NULL where nothing matches. */
  readonly optionalLeft: boolean;
  readonly optionalRight: boolean;
}

const JOINS: Readonly<Record<string, JoinType>> = {
  JOIN_INNER: { sql: 'JOIN', optionalLeft: false, optionalRight: false },
  JOIN_LEFT: { sql: 'LEFT JOIN', optionalLeft: false, optionalRight: true },
  JOIN_RIGHT: { sql: 'RIGHT JOIN', optionalLeft: true, optionalRight: false },
  JOIN_FULL: { sql: 'FULL JOIN', optionalLeft: true, optionalRight: true },
};

export interface From {
  readonly sql: string;
  readonly namespace: Namespace;
}

export interface FromContext {
  readonly planning: Planning;
  readonly draft: Draft;
  readonly session: PlanningSession;
  readonly translator: Translator;
  /** Conditions that FROM puts on the result's rows are added here. */
  readonly conjuncts: Conjunct[];
  /** Queries in FROM are added here. */
  readonly inner: Query[];
}

/** The FROM clause of one level. */
export function fromOf(items: readonly Node[], scope: Scope, context: FromContext): From {
  const parts = items.map((item) => fromItem(item, scope, context));
  const namespace = {
    relations: parts.flatMap((part) => part.namespace.relations),
    visible: parts.flatMap((part) => part.namespace.visible),
  };
  refuseDoubleNames(namespace.relations);
  // Joins bind tighter than commas do; only of those that fill up their left side does it matter.
  const sql = parts.map((part, index) =>
    index > 0 && items[index]?.['JoinExpr'] !== undefined && /(RIGHT|FULL) JOIN/.test(part.sql)
      ? `(${part.sql})`
      : part.sql,
  );
  return { sql: sql.join(' JOIN '), namespace };
}

function fromItem(node: Node, scope: Scope, context: FromContext): From {
  if (node['RangeVar'] !== undefined) return table(node['RangeVar'], scope, context);
  if (node['RangeSubselect'] !== undefined) return subselect(node['RangeSubselect'], scope, context);
  if (node['JoinExpr'] !== undefined) return join(node['JoinExpr'], scope, context);
  if (node['RangeFunction'] !== undefined)
    return functionInFrom(node['RangeFunction'], aliasOf(node['RangeFunction']), context);
  throw new Forward('unproven-syntax', `${Object.keys(node)[0]} in FROM`);
}

function single(sql: string, relation: Relation): From {
  return { sql, namespace: { relations: [relation], visible: visibleOf(relation) } };
}

function table(fields: Fields, scope: Scope, context: FromContext): From {
  const { planning, draft, session } = context;
  if (fields['catalogname'] !== undefined) throw new Forward('unproven-syntax', 'a name with a database');
  const schema = (fields['schemaname'] as string | undefined) ?? null;
  const name = fields['relname'] as string;
  const alias = aliasOf(fields);
  if (schema === null) {
    for (let level: Scope | null = scope; level !== null; level = level.parent) {
      const common = level.subqueries.get(name);
      if (common === undefined) continue;
      if (common.refused !== null) throw new Forward('unproven-syntax', common.refused);
      const id = planning.nextRelation();
      const relation = derivedRelation(id, alias?.name ?? name, common.columns, alias?.columns ?? []);
      common.counters?.forEach((isCounter, index) => {
        if (isCounter) draft.counters.add(`t${id}.c${index}`);
      });
      return single(`${common.sqlName} AS t${id}`, {
        ...relation,
        isSingle: common.isSingle === true,
        ...(common.source === undefined ? {} : { source: common.source }),
      });
    }
  }
  const found = findTable(draft.catalogue, session, schema, name);
  draft.tables.add(found.oid);
  if (found.kind === 'v') return view(found, alias, context);
  const id = planning.nextRelation();
  const relation = tableRelation(draft.catalogue, found, id, alias?.name ?? null);
  if (alias !== null && alias.columns.length > 0) requireAllColumns([relation]);
  const columns = renamed(relation.columns, alias?.columns ?? []);
  const members = membersOf(draft.catalogue, found, fields['inh'] !== true);
  if (members.length === 1 && members[0] === found) return single(tableSql(found, id), { ...relation, columns });
  for (const member of [found, ...members]) requireAllColumns([{ ...relation, table: member }]);
  const sql = membersSql(draft.catalogue, found, members, id);
  // Many tables are no longer a lookup, whatever their indexes.
  const isFew = members.length <= LOOKUP_MEMBERS_MAX;
  return single(sql, { ...relation, columns, table: isFew ? found : null, memberOids: members.map(({ oid }) => oid) });
}

/** Partitions that a lookup by key may go through in the fast lane. */
const LOOKUP_MEMBERS_MAX = 16;

/** A view is the query that it stands for, planned where only pg_catalog is in search_path. */
function view(image: TableImage, alias: Alias | null, context: FromContext): From {
  const { draft, planning } = context;
  const definition = image.viewDefinition ?? null;
  const parsed = definition === null || definition.length > PARSE_BYTES_MAX ? null : parse(definition);
  const select = parsed?.statements[0]?.node['SelectStmt'];
  if (select === undefined || parsed?.statements[0]?.isTooDeep === true)
    throw new Forward('unknown-table', `"${image.name}" is a view that is not known here`);
  const query = planning.viewQuery(select);
  context.inner.push(query);
  const outputs = outputsOf(query);
  const isAsDeclared =
    query.outer.size === 0 &&
    outputs.length === image.columns.length &&
    outputs.every(({ expression }, index) => {
      const column = image.columns[index];
      if (column === undefined) return false;
      const { collation } = expression;
      const collationOid = collation === 'conflict' ? -1 : (collation?.oid ?? 0);
      const resolved = draft.facts(column.typeOid).oid;
      return (
        resolved === expression.typeOid && column.typmod === expression.typmod && column.collationOid === collationOid
      );
    });
  if (!isAsDeclared)
    throw new Forward('unproven-type', `view "${image.name}" has columns of other types than its query`);
  const id = planning.nextRelation();
  const { written, columns } = carry(outputs, !query.hasAggregates && !query.isDistinct && !query.isCompound);
  const relation = derivedRelation(id, alias?.name ?? image.name, columns, []);
  const own = relation.columns.map((column, index): RelationColumn => {
    const declared = image.columns[index] as (typeof image.columns)[number];
    return { ...column, name: declared.name, tableOid: image.oid, attnum: declared.attnum };
  });
  return single(`(${query.sql(written)}) AS t${id}`, {
    ...relation,
    schema: alias === null ? image.schema : null,
    columns: renamed(own, alias?.columns ?? []),
    isSingle: isSingleRow(query, draft.catalogue),
    source: query,
  });
}

function subselect(fields: Fields, scope: Scope, context: FromContext): From {
  const select = (fields['subquery'] as Node)['SelectStmt'];
  const alias = aliasOf(fields);
  // Without an alias it is only valid from Postgres 16 on.
  if (select === undefined || alias === null || fields['lateral'] === true) {
    throw new Forward('unproven-syntax', 'this kind of subquery in FROM');
  }
  // It sees what encloses the whole query, and the WITH queries of this level, but not its neighbours.
  const parent: Scope = { ...scope, namespace: { relations: [], visible: [] } };
  const query = context.planning.select(select, parent, NESTED);
  context.inner.push(query);
  if (query.outer.size > 0) throw new Forward('unproven-syntax', 'a correlated subquery in FROM');
  const id = context.planning.nextRelation();
  const { written, columns } = carry(outputsOf(query), !query.hasAggregates && !query.isDistinct && !query.isCompound);
  return single(`(${query.sql(written)}) AS t${id}`, {
    ...derivedRelation(id, alias.name, columns, alias.columns),
    isSingle: isSingleRow(query, context.draft.catalogue),
    source: query,
  });
}

function join(fields: Fields, scope: Scope, context: FromContext): From {
  const { draft, conjuncts } = context;
  const type = JOINS[(fields['jointype'] as string | undefined) ?? 'JOIN_INNER'];
  if (type === undefined) throw new Forward('unproven-syntax', 'this kind of join');
  const left = fromItem(fields['larg'] as Node, scope, { ...context, conjuncts: type.optionalLeft ? [] : conjuncts });
  const right = fromItem(fields['rarg'] as Node, scope, { ...context, conjuncts: type.optionalRight ? [] : conjuncts });
  const relations = [...left.namespace.relations, ...right.namespace.relations];
  refuseDoubleNames(relations);
  let visible: readonly VisibleColumn[] = [...left.namespace.visible, ...right.namespace.visible];
  const conditions: Expression[] = [];
  const isNatural = fields['isNatural'] === true;
  const using = isNatural ? commonNames(left.namespace, right.namespace) : names(fields['usingClause']);
  const merges: { readonly name: string; readonly a: Expression; readonly b: Expression }[] = [];
  if (using !== null) {
    for (const name of using) {
      const a = only(left.namespace, name, scope, context);
      const b = only(right.namespace, name, scope, context);
      conditions.push(compare('=', a, b, draft));
      merges.push({ name, a, b });
    }
  } else if (fields['quals'] !== undefined) {
    const outer = scope.namespace;
    scope.namespace = { relations, visible };
    draft.lifting = true;
    conditions.push(...conditionsOf(fields['quals'] as Node, scope, context.translator));
    draft.lifting = false;
    scope.namespace = outer;
  }
  // Postgres has an error for FULL JOIN on anything but equal columns.
  const isFull = type.optionalLeft && type.optionalRight;
  if (isFull && !conditions.every((each) => isEqualityAcross(each, left.namespace, right.namespace))) {
    throw new Forward('unproven-syntax', 'FULL JOIN on a condition that is not an equality');
  }
  const optional = [
    ...(type.optionalLeft ? left.namespace.relations : []),
    ...(type.optionalRight ? right.namespace.relations : []),
  ];
  for (const relation of optional) relation.isOptional = true;
  const merged = merges.map(
    (merge): VisibleColumn => ({ name: merge.name, found: mergedColumn(merge, type, context) }),
  );
  if (using !== null) visible = [...merged, ...visible.filter((column) => !using.includes(column.name))];
  const chosen = type.optionalLeft ? [] : right.namespace.relations.map((relation) => relation.id);
  for (const expression of conditions)
    conjuncts.push({ expression, chooses: optional.length > 0 ? new Set(chosen) : null });
  const on = conditions.length === 0 ? '' : ` ON ${conditions.map((each) => each.value()).join(' AND ')}`;
  const rightSql = (fields['rarg'] as Node)['JoinExpr'] === undefined ? right.sql : `(${right.sql})`;
  const sql = `${left.sql} ${type.sql} ${rightSql}${on}`;
  return { sql, namespace: aliased(fields, { relations, visible }, merged, context) };
}

/** A join with an alias hides what it joins; an alias of USING is one more name for the merged columns. */
function aliased(
  fields: Fields,
  namespace: Namespace,
  merged: readonly VisibleColumn[],
  { planning, draft }: FromContext,
): Namespace {
  const alias = aliasOf(fields);
  if (alias !== null) {
    requireAllColumns(namespace.relations);
    const id = planning.nextRelation();
    const columns = renamed(
      namespace.visible.map(({ name, found }) => visibleColumn(name, found, draft)),
      alias.columns,
    );
    const relation: Relation = {
      id,
      alias: alias.name,
      schema: null,
      columns,
      table: null,
      isOptional: false,
      isAlias: true,
    };
    // What it joins can no longer be named, but is what the lane is chosen by.
    for (const each of namespace.relations) {
      each.alias = `\u0000${each.id}`;
      each.schema = null;
    }
    return { relations: [...namespace.relations, relation], visible: visibleOf(relation) };
  }
  const using = fields['join_using_alias'] as Fields | undefined;
  if (using === undefined) return namespace;
  const relation: Relation = {
    id: planning.nextRelation(),
    alias: using['aliasname'] as string,
    schema: null,
    columns: merged.map(({ name, found }) => visibleColumn(name, found, draft)),
    table: null,
    isOptional: false,
    isAlias: true,
  };
  return { relations: [...namespace.relations, relation], visible: namespace.visible };
}

function visibleColumn(name: string, found: Found, draft: Draft): RelationColumn {
  if ('column' in found && !found.column.isReplicated) return { ...found.column, name };
  const of = 'expression' in found ? found.expression : columnExpression(draft, found.relation, found.column);
  return {
    name,
    typeOid: of.typeOid,
    typmod: of.typmod,
    clientTypmod: of.column?.clientTypmod ?? of.typmod,
    collation: of.collation,
    value: of.value(),
    key: of.key === null ? null : of.key(),
    tableOid: of.column?.tableOid ?? 0,
    attnum: of.column?.attnum ?? 0,
    notNull: !of.nullable,
    isReplicated: true,
    expression: of,
  };
}

/** What USING makes of two columns: the one that is always there, or in a full join whichever is. */
function mergedColumn(
  { a, b }: { readonly a: Expression; readonly b: Expression },
  type: JoinType,
  { draft }: FromContext,
): Found {
  refuseDomains([a, b]);
  const typeOid = commonType([a, b], draft);
  const typmod = commonTypmod([a, b], false);
  const sides = [a, b].map((side): Expression => {
    if (side.typeOid !== typeOid) return coerce(side, typeOid, draft);
    return side.typmod === typmod ? side : { ...side, typmod, isPlain: false };
  }) as [Expression, Expression];
  if (!type.optionalLeft || !type.optionalRight) {
    const [first, second] = type.optionalLeft ? [sides[1], sides[0]] : sides;
    const isInner = !type.optionalLeft && !type.optionalRight;
    const isAsItWas = (side: Expression): boolean => side === a || side === b;
    return { expression: isInner && !isAsItWas(first) && isAsItWas(second) ? second : first };
  }
  const keys = sides.map((side) => side.key);
  return {
    expression: derived(
      draft.facts(typeOid),
      sides,
      () => `coalesce(${sides.map((side) => side.value()).join(', ')})`,
      {
        typmod,
        collation: mergeCollations(sides),
        key: keys.includes(null) ? null : () => `coalesce(${keys.map((key) => key?.()).join(', ')})`,
      },
    ),
  };
}

function only(namespace: Namespace, name: string, scope: Scope, { translator }: FromContext): Expression {
  return translator.column([name], { ...scope, parent: null, namespace, grouped: null });
}

/** A condition as its parts that all must hold. */
function conditionsOf(node: Node, scope: Scope, translator: Translator): Expression[] {
  const boolean = node['BoolExpr'];
  if (boolean?.['boolop'] === 'AND_EXPR')
    return list(boolean['args']).flatMap((part) => conditionsOf(part, scope, translator));
  return [translator.condition(node, scope)];
}

/** Columns that NATURAL JOIN joins by, in the order of the left side. */
function commonNames(left: Namespace, right: Namespace): string[] {
  requireAllColumns([...left.relations, ...right.relations]);
  const there = new Set(right.visible.map((column) => column.name));
  return left.visible.map((column) => column.name).filter((name) => there.has(name));
}

/** `a.x = b.y` with one column of each side. */
function isEqualityAcross({ equality }: Expression, left: Namespace, right: Namespace): boolean {
  if (equality === null || equality.right.length !== 1) return false;
  const a = equality.left.column?.relation;
  const b = equality.right[0]?.column?.relation;
  const isIn = (side: Namespace, id: number | undefined): boolean =>
    side.relations.some((relation) => relation.id === id);
  return (isIn(left, a) && isIn(right, b)) || (isIn(left, b) && isIn(right, a));
}

function refuseDoubleNames(relations: readonly Relation[]): void {
  const seen = new Set<string>();
  for (const relation of relations) {
    // Two tables of one name in two schemas are told apart by schema; that is rare enough to leave to the core.
    if (seen.has(relation.alias)) throw new Forward('unproven-syntax', `"${relation.alias}" stands twice in FROM`);
    seen.add(relation.alias);
  }
}

export interface Alias {
  readonly name: string;
  readonly columns: readonly string[];
}

/** An alias with the names that it gives to columns; null when there is none. */
export function aliasOf(fields: Fields): Alias | null {
  const alias = fields['alias'] as Fields | undefined;
  if (alias === undefined) return null;
  return { name: alias['aliasname'] as string, columns: names(alias['colnames']) ?? [] };
}

export function visibleOf(relation: Relation): VisibleColumn[] {
  return relation.columns.map((column) => ({ name: column.name, found: { relation, column } }));
}
