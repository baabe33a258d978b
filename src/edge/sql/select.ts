// SELECT: one query level after the other, and the queries inside them.
//
//   WITH ─▶ FROM ─▶ WHERE ─▶ GROUP BY ─▶ outputs ─▶ ORDER BY ─▶ LIMIT          common-tables, from, grouping, order
//   UNION and VALUES are levels that read a compound                            compound
//   DISTINCT ON, WITH TIES and several grouping sets are written as a level around another: `t<id>`, whose columns are
//   c<n> the outputs, o<n> what is ordered by, r the number or rank of the row

import { type Compound, compoundRelation, compoundTargets, setOperation, valuesRows } from './compound.ts';
import { commonTables, type CommonTables } from './common-tables.ts';
import { typed } from './constants.ts';
import { keyOf } from './compare.ts';
import { carry, derivedRelation } from './derived.ts';
import { type Draft, type Expression, isUntyped, requireDeterministic } from './expression.ts';
import { requireAllColumns, requireRows } from './coverage.ts';
import { Forward } from './forward.ts';
import { fromOf } from './from.ts';
import { aggregatesIn, determinedBy, type Grouping, groupingOf, requireCanonical, windowsIn } from './grouping.ts';
import { isSingleRow } from './lane.ts';
import { type Limits, groupable, limitsOf, orderOf, orderSql, outputOf } from './order.ts';
import { guardedConditions } from './guarded-conditions.ts';
import { outputName } from './output-name.ts';
import { type Fields, list, type Node } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import {
  type Conjunct,
  NESTED,
  type Order,
  type OutputColumn,
  outputsOf,
  type Planning,
  type Query,
  type QueryPlace,
  type Target,
} from './query.ts';
import { columnExpression, findRelation, foundExpression, starOf } from './resolve.ts';
import { emptyScope, type Scope } from './scope.ts';
import { OPERANDS_COUNT_MAX, type SubquerySql } from './translation.ts';
import { Translator } from './translate.ts';

/** Tables of one statement: SQLite joins at most 64. */
const RELATIONS_COUNT_MAX = 64;

/** Postgres' own bound. */
const OUTPUTS_COUNT_MAX = 1_664;

/** Subqueries in subqueries. */
const LEVELS_MAX = 16;

/** Definitions of views are printed where only pg_catalog is in search_path. */
const VIEW_SESSION: PlanningSession = { searchPath: [], key: '' };

const WHOLE = { isWhole: true, isBranch: false };

/** What all selects of one level have in common: WITH, FROM, WHERE. */
interface Level {
  readonly scope: Scope;
  readonly common: CommonTables;
  readonly from: string;
  readonly where: string;
  readonly conjuncts: readonly Conjunct[];
  readonly inner: Query[];
}

/** Outputs, HAVING and ORDER BY, translated for one grouping set. */
interface Parts {
  readonly targets: readonly Target[];
  readonly having: Expression | null;
  readonly order: readonly Order[];
}

export class SelectPlanner implements Planning {
  readonly #draft: Draft;
  readonly #session: PlanningSession;
  readonly #translator: Translator;
  readonly #depth: number;
  #level = 0;
  #relations = 0;
  /** Queries inside expressions of the level that is being planned. */
  #inner: Query[] = [];

  constructor(options: {
    readonly draft: Draft;
    readonly session: PlanningSession;
    readonly offset: (location: number) => number;
    /** Levels around the first one. */
    readonly depth?: number;
  }) {
    this.#depth = options.depth ?? 0;
    this.#draft = options.draft;
    this.#session = options.session;
    this.#translator = new Translator({ ...options, subquery: (select, parent) => this.#inExpression(select, parent) });
  }

  /** Plans a statement's SelectStmt. Throws Forward. */
  statement(fields: Fields): Query {
    return this.select(fields, null, WHOLE);
  }

  select(fields: Fields, parent: Scope | null, place: QueryPlace): Query {
    this.#level += 1;
    if (this.#level > LEVELS_MAX) throw new Forward('too-long', 'subqueries are nested too deeply');
    const { lifting, isEveryRowComputed } = this.#draft;
    const inner = this.#inner;
    this.#inner = [];
    this.#draft.isEveryRowComputed = false;
    this.#draft.lifting = false;
    try {
      return this.#select(fields, parent, place);
    } finally {
      this.#level -= 1;
      this.#inner = inner;
      this.#draft.lifting = lifting;
      this.#draft.isEveryRowComputed = isEveryRowComputed;
    }
  }

  viewQuery(fields: Fields): Query {
    if (this.#level + this.#depth > LEVELS_MAX) throw new Forward('too-long', 'subqueries are nested too deeply');
    const planner = new SelectPlanner({
      draft: this.#draft,
      session: VIEW_SESSION,
      // Its constants stand in no statement's text.
      offset: () => -1,
      depth: this.#level + this.#depth,
    });
    return planner.select(fields, null, NESTED);
  }

  nextRelation(): number {
    this.#relations += 1;
    if (this.#relations > RELATIONS_COUNT_MAX) throw new Forward('too-long', 'too many tables');
    return this.#draft.nextRelation();
  }

  #select(fields: Fields, parent: Scope | null, place: QueryPlace): Query {
    refuse(fields);
    const common = commonTables(fields, parent, this, this.#draft);
    const scope: Scope = { ...emptyScope(), parent, subqueries: common.tables };
    const hasLimit = fields['limitCount'] !== undefined || fields['limitOffset'] !== undefined;
    const isWhole = place.isWhole && !hasLimit;
    const context = { planning: this, draft: this.#draft, translator: this.#translator };
    if (((fields['op'] as string | undefined) ?? 'SETOP_NONE') !== 'SETOP_NONE') {
      return this.#compound(fields, common, setOperation(context, fields, scope, { ...place, isWhole }));
    }
    if (fields['valuesLists'] !== undefined) {
      return this.#compound(fields, common, valuesRows(context, fields, scope));
    }
    return this.#simple(fields, scope, common, { ...place, isWhole });
  }

  /** UNION and the like, and VALUES: ORDER BY knows their outputs only. */
  #compound(fields: Fields, common: CommonTables, compound: Compound): Query {
    const id = this.nextRelation();
    const relation = compoundRelation(compound.columns, id);
    const targets = compoundTargets(relation, this.#draft);
    const outputs = outputsOf({ targets });
    for (const item of list(fields['sortClause'])) {
      if (outputOf((item['SortBy'] as Fields)['node'] as Node, outputs) === null)
        throw new Forward('unproven-syntax', 'ORDER BY an expression over a compound');
    }
    const order = orderOf(list(fields['sortClause']), outputs, emptyScope(), {
      draft: this.#draft,
      translator: this.#translator,
    });
    const limits = limitsOf(fields, { draft: this.#draft, translator: this.#translator });
    if (limits.ties !== null) throw new Forward('unproven-syntax', 'WITH TIES over a compound');
    const tail = `${orderSql(order)}${limits.sql}`;
    return {
      targets,
      sql: (columns) => `${common.sql}SELECT ${columns.join(', ')} FROM (${compound.text}) AS t${id}${tail}`,
      isClosed: common.sql !== '' || tail !== '',
      relations: [relation],
      conjuncts: [],
      order,
      isGrouped: false,
      hasAggregates: false,
      isDistinct: false,
      hasWindows: false,
      limit: limits.limit,
      hasOffset: limits.hasOffset,
      outer: compound.outer,
      inner: [...common.inner, ...compound.inner, ...this.#inner],
      mayVanish: limits.sql !== '' || compound.inner.some((query) => query.mayVanish),
      isCompound: true,
    };
  }

  #simple(fields: Fields, scope: Scope, common: CommonTables, place: QueryPlace): Query {
    const draft = this.#draft;
    const conjuncts: Conjunct[] = [];
    const inner: Query[] = [...common.inner];
    const from = fromOf(list(fields['fromClause']), scope, {
      planning: this,
      draft,
      session: this.#session,
      translator: this.#translator,
      conjuncts,
      inner,
    });
    scope.namespace = from.namespace;
    const { relations } = from.namespace;
    const targetNodes = list(fields['targetList']).map((node) => node['ResTarget'] as Fields);
    draft.isEveryRowComputed = place.isWhole;
    const grouping = groupingOf(fields, targetNodes, scope, this.#translator);
    const hasAggregates =
      grouping !== null ||
      fields['havingClause'] !== undefined ||
      aggregatesIn([fields['targetList'], fields['sortClause']]);
    if (hasAggregates) scope.grouped = textsOf(grouping?.all ?? []);
    const isPlainGrouping = grouping === null || grouping.sets.length === 1;
    if (hasAggregates && isPlainGrouping) scope.determined = determinedBy(grouping?.all ?? [], relations);
    scope.windows = windowsOf(fields);
    draft.isEveryRowComputed = false;
    const parts = this.#parts(fields, targetNodes, scope, place);

    scope.aggregates = 'refused';
    const windows = scope.windows;
    scope.windows = null;
    draft.lifting = true;
    const where =
      fields['whereClause'] === undefined
        ? []
        : guardedConditions(fields['whereClause'] as Node, scope, relations, this.#translator);
    draft.lifting = false;
    scope.windows = windows;
    for (const expression of where) conjuncts.push({ expression, chooses: null });
    requireRows(relations, where, draft);
    if (conjuncts.length > OPERANDS_COUNT_MAX)
      throw new Forward('too-long', `more than ${OPERANDS_COUNT_MAX} conditions`);
    const limits = limitsOf(fields, { draft, translator: this.#translator });
    const level: Level = {
      scope,
      common,
      from: from.sql === '' ? '' : ` FROM ${from.sql}`,
      where: where.length === 0 ? '' : ` WHERE ${where.map((each) => each.value()).join(' AND ')}`,
      conjuncts,
      inner,
    };
    const distinct = distinctOf(fields);
    if (distinct === 'all' && parts.targets.length === 0)
      throw new Forward('unproven-syntax', 'DISTINCT of rows without columns');
    if (distinct === 'all') requireDistinct(parts);
    if (grouping !== null && grouping.sets.length > 1) {
      if (distinct !== null || limits.ties !== null || windowsIn([fields['targetList'], fields['sortClause']]))
        throw new Forward('unproven-syntax', 'grouping sets with DISTINCT, windows or ties');
      return this.#inSets(fields, targetNodes, grouping, parts, level, limits, place);
    }
    const group = grouping?.all ?? [];
    const body = hasAggregates ? this.#grouped(group, parts, level) : `${level.from}${level.where}`;
    const query: Omit<Query, 'sql' | 'isClosed'> = {
      targets: parts.targets,
      relations,
      conjuncts,
      order: parts.order,
      isGrouped: grouping !== null && group.length > 0,
      hasAggregates,
      isDistinct: distinct === 'all',
      hasWindows: windowsIn([fields['targetList'], fields['sortClause']]),
      limit: limits.limit,
      hasOffset: limits.hasOffset,
      outer: outerOf([...group, ...expressionsOf(parts), ...conjuncts.map((each) => each.expression)], level),
      inner: [...inner, ...this.#inner],
      mayVanish:
        limits.sql !== '' || parts.having !== null || !conjuncts.every(isFirm) || inner.some((each) => each.mayVanish),
      isCompound: false,
    };
    if (distinct !== null && distinct !== 'all') {
      if (windowsIn([fields['targetList'], fields['sortClause']]))
        throw new Forward('unproven-syntax', 'DISTINCT ON with windows');
      return this.#distinctOn(distinct, body, parts, level, limits, query);
    }
    if (limits.ties !== null) {
      if (distinct !== null) throw new Forward('unproven-syntax', 'WITH TIES of distinct rows');
      const { limit, offset } = limits.ties;
      const rank = `rank() OVER (${orderSql(parts.order).trim()})`;
      if (parts.order.length === 0 || windowsIn([fields['targetList'], fields['sortClause']]))
        throw new Forward('unproven-syntax', 'WITH TIES of windows or without an order');
      return this.#around(
        body,
        parts,
        rank,
        `r <= ${limit + offset}`,
        { ...limits, sql: tiedOffset(offset) },
        level,
        query,
      );
    }
    const tail = `${orderSql(parts.order)}${limits.sql}`;
    const word = distinct === 'all' ? 'DISTINCT ' : '';
    return {
      ...query,
      sql: (columns) => `${common.sql}SELECT ${word}${columns.length === 0 ? '1' : columns.join(', ')}${body}${tail}`,
      isClosed: common.sql !== '' || tail !== '',
    };
  }

  /** Outputs, HAVING and ORDER BY as `scope` groups them. */
  #parts(fields: Fields, targetNodes: readonly Fields[], scope: Scope, place: QueryPlace): Parts {
    const draft = this.#draft;
    scope.aggregates = 'allowed';
    draft.isEveryRowComputed = place.isWhole;
    const targets = targetNodes.flatMap((target) => this.#target(target, scope));
    if (targets.length > OUTPUTS_COUNT_MAX) throw new Forward('too-long', 'more columns than Postgres gives');
    const items = list(fields['sortClause']);
    const mustBeTyped = !place.isBranch || items.length > 0 || distinctOf(fields) !== null;
    const typedTargets = mustBeTyped ? targets.map(({ name, term }) => ({ name, term: typed(term, draft) })) : targets;
    draft.isEveryRowComputed = false;
    const { windows } = scope;
    scope.windows = null;
    const having =
      fields['havingClause'] === undefined ? null : this.#translator.condition(fields['havingClause'] as Node, scope);
    scope.windows = windows;
    draft.isEveryRowComputed = place.isWhole;
    const outputs = items.length === 0 ? [] : outputsOf({ targets: typedTargets });
    const order = orderOf(items, outputs, scope, { draft, translator: this.#translator });
    draft.isEveryRowComputed = false;
    const parts = { targets: typedTargets, having, order };
    for (const expression of expressionsOf(parts)) {
      if (expression.isUngrouped)
        throw new Forward('unproven-syntax', 'a column that is neither grouped nor aggregated');
    }
    return parts;
  }

  /** What follows the outputs of a select that groups. */
  #grouped(group: readonly Expression[], parts: Parts, { from, where }: Level): string {
    const having = parts.having === null ? '' : ` HAVING ${parts.having.value()}`;
    if (group.length > 0) {
      return `${from}${where} GROUP BY ${group.map((each) => groupable(each, keyOf(each)())).join(', ')}${having}`;
    }
    if (isSeenAsGroup(parts)) return `${from}${where}${having}`;
    // One row of constants for all rows: SQLite wants to see an aggregate.
    const condition = parts.having?.value() ?? '1';
    return ` FROM (SELECT ${condition} AS h, count(*) AS n${from}${where}) AS t${this.nextRelation()} WHERE h`;
  }

  /** One select for each grouping set, united. */
  #inSets(
    fields: Fields,
    targetNodes: readonly Fields[],
    grouping: Grouping,
    whole: Parts,
    level: Level,
    limits: Limits,
    place: QueryPlace,
  ): Query {
    const { scope, common, inner } = level;
    const all = textsOf(grouping.all);
    const id = this.nextRelation();
    const outer = new Set<number>();
    const selects = grouping.sets.map((set) => {
      scope.grouped = textsOf(set);
      scope.nulled = new Set([...all].filter((text) => scope.grouped?.has(text) !== true));
      const parts = this.#parts(fields, targetNodes, scope, { ...place, isBranch: false });
      for (const relation of outerOf([...grouping.all, ...expressionsOf(parts)], level)) outer.add(relation);
      const columns = [
        ...outputsOf(parts).map(({ expression }, index) => `${expression.value()} AS c${index}`),
        ...parts.order.map((each, index) => `${each.key} AS o${index}`),
      ];
      return `SELECT ${columns.length === 0 ? '1 AS none' : columns.join(', ')}${this.#grouped(set, parts, level)}`;
    });
    // Postgres before 18 takes what is equal to a constant for sorted already, and forgets that it is NULL in other sets.
    // And two that are equal for one.
    if (whole.order.length > 0 && !areApart(grouping.all, level))
      throw new Forward('unproven-syntax', 'ordered grouping sets of things that are equal, or equal to a constant');
    // What is grouped by may be missing in each row.
    const columns = carry(
      whole.targets.map(({ name, term }) => ({ name, expression: { ...(term as Expression), nullable: true } })),
      false,
    ).columns;
    const relation = derivedRelation(id, '', columns, []);
    const order = whole.order.map(
      (each, index): Order => ({ ...each, key: `t${id}.o${index}`, direction: each.nullableDirection }),
    );
    const tail = `${orderSql(order)}${limits.sql}`;
    for (const { expression } of level.conjuncts) {
      for (const used of outerOf([expression], level)) outer.add(used);
    }
    return {
      targets: compoundTargets(relation, this.#draft),
      sql: (outputs) =>
        `${common.sql}SELECT ${outputs.length === 0 ? '1' : outputs.join(', ')} FROM (${selects.join(' UNION ALL ')}) AS t${id}${tail}`,
      isClosed: common.sql !== '' || tail !== '',
      relations: [relation],
      conjuncts: [],
      order,
      isGrouped: true,
      hasAggregates: true,
      isDistinct: false,
      hasWindows: false,
      limit: limits.limit,
      hasOffset: limits.hasOffset,
      outer,
      inner: [...inner, ...this.#inner],
      mayVanish: true,
      isCompound: true,
    };
  }

  /** The first row of each combination of values. */
  #distinctOn(
    nodes: readonly Node[],
    body: string,
    parts: Parts,
    level: Level,
    limits: Limits,
    query: Omit<Query, 'sql' | 'isClosed'>,
  ): Query {
    if (limits.ties !== null) throw new Forward('unproven-syntax', 'DISTINCT ON with ties');
    const { scope } = level;
    scope.aggregates = 'allowed';
    scope.windows = null;
    const outputs = outputsOf(parts);
    const keys = nodes.map((node) => outputOf(node, outputs) ?? this.#translator.expression(node, scope));
    for (const key of keys) {
      requireDeterministic(key.collation);
      if (key.isUngrouped) throw new Forward('unproven-syntax', 'a column that is neither grouped nor aggregated');
      if (key.relations.size === 0 && !key.hasAggregate) throw new Forward('unproven-syntax', 'DISTINCT ON a constant');
    }
    // Postgres insists on it, in whatever order: the first things that are ordered by are those that are told apart.
    const texts = textsOf(keys);
    const first = textsOf(parts.order.slice(0, texts.size).map((each) => each.expression));
    if (parts.order.length > 0) {
      const leading = [...first].filter((text) => texts.has(text)).length;
      if (leading !== first.size || (parts.order.length >= texts.size && leading !== texts.size))
        throw new Forward('unproven-syntax', 'DISTINCT ON something else than ORDER BY begins with');
    }
    const partition = keys.map((key) => `ifnull(${keyOf(key)()}, NULL)`).join(', ');
    const number = `row_number() OVER (PARTITION BY ${partition}${orderSql(parts.order)})`;
    const outer = new Set([...query.outer, ...outerOf(keys, level)]);
    return this.#around(body, parts, number, 'r = 1', limits, level, { ...query, outer, isDistinct: true });
  }

  /** A level around another that keeps the rows whose number or rank `r` is right. */
  #around(
    body: string,
    parts: Parts,
    number: string,
    condition: string,
    limits: Limits,
    level: Level,
    query: Omit<Query, 'sql' | 'isClosed'>,
  ): Query {
    const id = this.nextRelation();
    const { written, columns } = carry(outputsOf(parts), !query.hasAggregates);
    const relation = derivedRelation(id, '', columns, []);
    const inside = [...written, ...parts.order.map((each, index) => `${each.key} AS o${index}`), `${number} AS r`];
    const order = parts.order.map((each, index): Order => ({ ...each, key: `t${id}.o${index}` }));
    const tail = ` WHERE t${id}.${condition}${orderSql(order)}${limits.sql}`;
    return {
      ...query,
      targets: relation.columns.map((column) => ({
        name: column.name,
        term: columnExpression(this.#draft, relation, column),
      })),
      order,
      sql: (outputs) =>
        `${level.common.sql}SELECT ${outputs.length === 0 ? '1' : outputs.join(', ')} FROM (SELECT ${inside.join(', ')}${body}) AS t${id}${tail}`,
      isClosed: true,
    };
  }

  // ---------------------------------------------------------------- targets

  #target(target: Fields, scope: Scope): Target[] {
    const node = target['val'] as Node;
    const star = starOf(node);
    if (star === null) {
      const term = this.#translator.term(node, scope);
      return [{ name: (target['name'] as string | undefined) ?? outputName(node), term }];
    }
    if (scope.nulled.size > 0) throw new Forward('unproven-syntax', '* of grouping sets');
    if (star.length > 0) {
      const relation = findRelation(scope, star);
      if (relation === null) throw new Forward('unknown-table', `${star.join('.')}.*`);
      requireAllColumns([relation]);
      return relation.columns.map((column) => ({
        name: column.name,
        term: this.#translator.term({ ColumnRef: { fields: [...star, column.name].map(nameNode) } }, scope),
      }));
    }
    if (scope.namespace.relations.length === 0) throw new Forward('unproven-syntax', '* without FROM');
    requireAllColumns(scope.namespace.relations);
    return scope.namespace.visible.map(({ name, found }) => {
      const expression = foundExpression(this.#draft, found, scope.namespace);
      if (scope.grouped === null || scope.grouped.has(expression.value())) return { name, term: expression };
      const isDetermined = expression.column !== null && scope.determined.has(expression.column.relation);
      return { name, term: { ...expression, isUngrouped: !isDetermined } };
    });
  }

  // ---------------------------------------------------------------- subqueries in expressions

  #inExpression(select: Fields, parent: Scope): SubquerySql {
    const query = this.select(select, parent, NESTED);
    this.#inner.push(query);
    // EXISTS forgets DISTINCT in SQLite, and then OFFSET counts other rows.
    if (query.isDistinct && (query.hasOffset || query.limit !== null)) {
      throw new Forward('unproven-syntax', 'DISTINCT with LIMIT in a subquery');
    }
    return {
      sql: query.sql,
      columns: outputsOf(query).map((output) => output.expression),
      isSingleRow: isSingleRow(query, this.#draft.catalogue),
      outer: query.outer,
    };
  }
}

/** Whether an aggregate tells SQLite that the rows of a select without GROUP BY are one group. */
function isSeenAsGroup({ targets, order }: Parts): boolean {
  const expressions = [...targets.map(({ term }) => term), ...order.map((each) => each.expression)];
  return expressions.some((term) => !isUntyped(term) && term.hasAggregate);
}

function tiedOffset(offset: number): string {
  return offset === 0 ? '' : ` LIMIT -1 OFFSET ${offset}`;
}

/** `a.x = b.y`, which nobody can decide without rows. */
function isFirm({ expression: { equality } }: Conjunct): boolean {
  return equality !== null && [equality.left, ...equality.right].every((side) => side.column !== null);
}

/** Whether no two of what is grouped by are known to be equal, and none to a constant. */
function areApart(grouped: readonly Expression[], { conjuncts, scope }: Level): boolean {
  // Columns of a query in FROM may be one column under two names.
  const derived = new Set(scope.namespace.relations.filter(({ table }) => table === null).map(({ id }) => id));
  if (grouped.filter(({ relations }) => [...relations].some((id) => derived.has(id))).length > 1) return false;
  const classes = new Map<string, string>();
  const rootOf = (text: string): string => {
    const parent = classes.get(text);
    return parent === undefined || parent === text ? text : rootOf(parent);
  };
  for (const { expression } of conjuncts) {
    const { equality } = expression;
    if (equality === null) continue;
    for (const side of equality.right) {
      const [a, b] = [equality.left, side].map((each) => rootOf(each.relations.size === 0 ? CONSTANT : each.value()));
      if (a !== b)
        classes.set(a === CONSTANT ? (b as string) : (a as string), a === CONSTANT ? CONSTANT : (b as string));
    }
  }
  const roots = grouped.map((each) => rootOf(each.value()));
  return !roots.includes(CONSTANT) && new Set(roots).size === roots.length;
}

/** Stands for all constants. */
const CONSTANT = '\u0000';

function textsOf(expressions: readonly Expression[]): Set<string> {
  return new Set(expressions.map((expression) => expression.value()));
}

function expressionsOf({ targets, having, order }: Parts): Expression[] {
  const expressions = targets.map(({ term }) => term).filter((term): term is Expression => !isUntyped(term));
  return [...expressions, ...(having === null ? [] : [having]), ...order.map((each) => each.expression)];
}

/** Relations of outer levels that these use. */
function outerOf(expressions: readonly Expression[], { scope }: Pick<Level, 'scope'>): Set<number> {
  const own = new Set(scope.namespace.relations.map((relation) => relation.id));
  const used = expressions.flatMap((expression) => [...expression.relations]);
  return new Set(used.filter((relation) => !own.has(relation)));
}

function refuse(fields: Fields): void {
  if (fields['intoClause'] !== undefined) throw new Forward('write', 'SELECT INTO');
  if (list(fields['lockingClause']).length > 0) throw new Forward('lock', 'a locking clause');
  if (fields['groupDistinct'] === true) throw new Forward('unproven-syntax', 'GROUP BY DISTINCT');
}

function nameNode(name: string): Node {
  return { String: { sval: name } };
}

/** DISTINCT: of all outputs, of some expressions, or not at all. */
function distinctOf(fields: Fields): 'all' | readonly Node[] | null {
  const clause = list(fields['distinctClause']);
  if (clause.length === 0) return null;
  return clause.some((node) => Object.keys(node).length > 0) ? clause : 'all';
}

function requireDistinct({ targets, order }: Parts): void {
  const outputs = outputsOf({ targets });
  for (const { expression } of outputs) {
    requireDeterministic(expression.collation);
    requireCanonical(expression);
  }
  for (const { expression } of order) {
    if (!outputs.some((output: OutputColumn) => output.expression.value() === expression.value()))
      throw new Forward('unproven-syntax', 'ORDER BY something that SELECT DISTINCT does not give');
  }
}

/** The WINDOW clause. */
function windowsOf(fields: Fields): ReadonlyMap<string, Fields> {
  const windows = new Map<string, Fields>();
  for (const node of list(fields['windowClause'])) {
    const definition = node['WindowDef'] as Fields;
    const name = definition['name'] as string;
    if (windows.has(name)) throw new Forward('unproven-syntax', `window "${name}" is defined twice`);
    windows.set(name, definition);
  }
  return windows;
}
