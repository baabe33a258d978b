// SELECT: FROM, grouping, order and limit of one query level, and the queries inside it.

import { OID } from '../../pg/oid.ts';
import { keyOf, orderKey, compare } from './compare.ts';
import { type Draft, type Expression, isUntyped, requireC, requireDeterministic } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import { isAggregate } from './proven.ts';
import { columnExpression, findRelation } from './resolve.ts';
import {
  type CommonTable,
  findTable,
  type Namespace,
  type Relation,
  type RelationColumn,
  type Scope,
  tableRelation,
  tableSql,
  type VisibleColumn,
} from './scope.ts';
import { OPERANDS_COUNT_MAX, type SubquerySql } from './translation.ts';
import { Translator } from './translate.ts';

/** Tables of one statement: SQLite joins at most 64. */
const RELATIONS_COUNT_MAX = 32;

/** Postgres' own bound. */
const OUTPUTS_COUNT_MAX = 1_664;

/** Subqueries in subqueries. */
const LEVELS_MAX = 16;

export interface OutputColumn {
  readonly name: string;
  readonly expression: Expression;
}

/** A condition that every result row fulfils; `relations` null, or those whose rows it chooses (ON of a LEFT JOIN). */
export interface Conjunct {
  readonly expression: Expression;
  readonly chooses: ReadonlySet<number> | null;
}

/** One query level, ready to be written out with the output form its place needs. */
export interface Query {
  readonly outputs: readonly OutputColumn[];
  readonly sql: (outputs: readonly string[]) => string;
  readonly relations: readonly Relation[];
  readonly conjuncts: readonly Conjunct[];
  readonly order: readonly Order[];
  readonly isGrouped: boolean;
  readonly hasAggregates: boolean;
  readonly isDistinct: boolean;
  /** LIMIT when it is a constant. */
  readonly limit: number | null;
  readonly hasOffset: boolean;
  readonly outer: ReadonlySet<number>;
  readonly hasSubqueries: boolean;
}

export interface Order {
  readonly expression: Expression;
  readonly sql: string;
}

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

interface From {
  readonly sql: string;
  readonly namespace: Namespace;
}

export class SelectPlanner {
  readonly #draft: Draft;
  readonly #session: PlanningSession;
  readonly #translator: Translator;
  #level = 0;
  #relations = 0;
  #subqueries = 0;

  constructor(options: {
    readonly draft: Draft;
    readonly session: PlanningSession;
    readonly offset: (location: number) => number;
  }) {
    this.#draft = options.draft;
    this.#session = options.session;
    this.#translator = new Translator({ ...options, subquery: (select, parent) => this.#inExpression(select, parent) });
  }

  /** Plans a SelectStmt. Throws Forward. */
  select(fields: Fields, parent: Scope | null): Query {
    this.#level += 1;
    if (this.#level > LEVELS_MAX) throw new Forward('too-long', 'subqueries are nested too deeply');
    const { lifting, isEveryRowComputed } = this.#draft;
    this.#draft.isEveryRowComputed = false;
    try {
      return this.#select(fields, parent);
    } finally {
      this.#level -= 1;
      this.#draft.lifting = lifting;
      this.#draft.isEveryRowComputed = isEveryRowComputed;
    }
  }

  #select(fields: Fields, parent: Scope | null): Query {
    refuse(fields);
    const commonTables = this.#commonTables(fields);
    const scope: Scope = { ...emptyScope(), parent, subqueries: commonTables };
    const conjuncts: Conjunct[] = [];
    const before = this.#subqueries;
    this.#draft.lifting = false;
    const from = this.#from(list(fields['fromClause']), scope, conjuncts);
    scope.namespace = from.namespace;

    const targets = list(fields['targetList']).map((node) => node['ResTarget'] as Fields);
    const isWhole = this.#level === 1 && fields['limitCount'] === undefined && fields['limitOffset'] === undefined;
    this.#draft.isEveryRowComputed = isWhole;
    const groups = this.#groups(fields, targets, scope);
    const isGrouped = groups.length > 0;
    const hasAggregates =
      isGrouped || fields['havingClause'] !== undefined || aggregatesIn([fields['targetList'], fields['sortClause']]);
    if (hasAggregates) {
      scope.grouped = new Set(groups.map((group) => group.value()));
      scope.determined = determinedBy(groups, from.namespace.relations);
    }
    scope.aggregates = 'allowed';
    const outputs = targets.flatMap((target) => this.#target(target, scope));

    scope.aggregates = 'refused';
    this.#draft.isEveryRowComputed = false;
    this.#draft.lifting = true;
    const where = fields['whereClause'] === undefined ? [] : this.#conditions(fields['whereClause'] as Node, scope);
    for (const expression of where) conjuncts.push({ expression, chooses: null });
    if (conjuncts.length > OPERANDS_COUNT_MAX)
      throw new Forward('too-long', `more than ${OPERANDS_COUNT_MAX} conditions`);
    this.#draft.lifting = false;

    scope.aggregates = 'allowed';
    const having =
      fields['havingClause'] === undefined ? null : this.#translator.condition(fields['havingClause'] as Node, scope);
    if (having !== null && !isGrouped && !outputs.some((output) => output.expression.hasAggregate)) {
      throw new Forward('unproven-syntax', 'HAVING without groups or aggregates');
    }
    if (outputs.length > OUTPUTS_COUNT_MAX) throw new Forward('too-long', 'more columns than Postgres gives');
    const isDistinct = distinctOf(fields, outputs);
    this.#draft.isEveryRowComputed = isWhole;
    const order = this.#order(list(fields['sortClause']), outputs, scope, isDistinct);
    const { sql: limits, limit, hasOffset } = this.#limits(fields);

    const all = [
      ...outputs.map((output) => output.expression),
      ...order.map((each) => each.expression),
      ...conjuncts.map((conjunct) => conjunct.expression),
      ...(having === null ? [] : [having]),
    ];
    for (const expression of [
      ...outputs.map((output) => output.expression),
      ...order.map((each) => each.expression),
      having,
    ]) {
      if (expression?.isUngrouped === true)
        throw new Forward('unproven-syntax', 'a column that is neither grouped nor aggregated');
    }
    for (const common of commonTables.values()) {
      // Postgres would still check it.
      if (common.uses === 0) throw new Forward('unproven-syntax', 'a WITH query that is not used');
    }
    const own = new Set(from.namespace.relations.map((relation) => relation.id));
    const clauses = [
      from.sql === '' ? '' : ` FROM ${from.sql}`,
      where.length === 0 ? '' : ` WHERE ${where.map((each) => each.value()).join(' AND ')}`,
      isGrouped ? ` GROUP BY ${groups.map((group) => term(group, keyOf(group)())).join(', ')}` : '',
      having === null ? '' : ` HAVING ${having.value()}`,
      order.length === 0 ? '' : ` ORDER BY ${order.map((each) => each.sql).join(', ')}`,
      limits,
    ].join('');
    return {
      outputs,
      sql: (columns) => `SELECT ${isDistinct ? 'DISTINCT ' : ''}${columns.join(', ')}${clauses}`,
      relations: from.namespace.relations,
      conjuncts,
      order,
      isGrouped,
      hasAggregates,
      isDistinct,
      limit,
      hasOffset,
      outer: new Set(all.flatMap((expression) => [...expression.relations]).filter((relation) => !own.has(relation))),
      hasSubqueries: this.#subqueries > before,
    };
  }

  /** WITH a AS (SELECT …): each is planned where it is used, like a subquery there. */
  #commonTables(fields: Fields): ReadonlyMap<string, CommonTable> {
    const tables = new Map<string, CommonTable>();
    const clause = fields['withClause'] as Fields | undefined;
    if (clause === undefined) return tables;
    if (clause['recursive'] === true) throw new Forward('unproven-syntax', 'WITH RECURSIVE');
    for (const node of list(clause['ctes'])) {
      const table = node['CommonTableExpr'] as Fields;
      const select = (table['ctequery'] as Node)['SelectStmt'];
      const name = table['ctename'] as string;
      if (select === undefined || list(table['aliascolnames']).length > 0 || tables.has(name)) {
        throw new Forward('unproven-syntax', 'a WITH query that is not a plain SELECT');
      }
      tables.set(name, { select, before: new Map(tables), uses: 0 });
    }
    return tables;
  }

  // ---------------------------------------------------------------- FROM

  #from(items: readonly Node[], scope: Scope, conjuncts: Conjunct[]): From {
    const parts = items.map((item) => this.#fromItem(item, scope, conjuncts));
    const namespace = {
      relations: parts.flatMap((part) => part.namespace.relations),
      visible: parts.flatMap((part) => part.namespace.visible),
    };
    refuseDoubleNames(namespace.relations);
    return { sql: parts.map((part) => part.sql).join(' JOIN '), namespace };
  }

  #fromItem(node: Node, scope: Scope, conjuncts: Conjunct[]): From {
    if (node['RangeVar'] !== undefined) return this.#table(node['RangeVar'], scope);
    if (node['RangeSubselect'] !== undefined) return this.#derived(node['RangeSubselect'], scope);
    if (node['JoinExpr'] !== undefined) return this.#join(node['JoinExpr'], scope, conjuncts);
    throw new Forward('unproven-syntax', `${Object.keys(node)[0]} in FROM`);
  }

  #table(fields: Fields, scope: Scope): From {
    if (fields['catalogname'] !== undefined) throw new Forward('unproven-syntax', 'a name with a database');
    const schema = (fields['schemaname'] as string | undefined) ?? null;
    const name = fields['relname'] as string;
    const alias = aliasOf(fields);
    if (schema === null) {
      for (let level: Scope | null = scope; level !== null; level = level.parent) {
        const common = level.subqueries.get(name);
        if (common === undefined) continue;
        common.uses += 1;
        // A WITH query sees those that stand before it, and what encloses its level.
        const parent = { ...emptyScope(), parent: level.parent, subqueries: common.before };
        return this.#subqueryRelation(common.select, parent, alias ?? name);
      }
    }
    const table = findTable(this.#draft.catalogue, this.#session, schema, name);
    this.#draft.tables.add(table.oid);
    const id = this.#nextRelation();
    const relation = tableRelation(this.#draft.catalogue, table, id, alias);
    return { sql: tableSql(table, id), namespace: { relations: [relation], visible: visibleOf(relation) } };
  }

  #derived(fields: Fields, scope: Scope): From {
    const select = (fields['subquery'] as Node)['SelectStmt'];
    const alias = aliasOf(fields);
    // Without an alias it is only valid from Postgres 16 on.
    if (select === undefined || alias === null || fields['lateral'] === true) {
      throw new Forward('unproven-syntax', 'this kind of subquery in FROM');
    }
    // It sees what encloses the whole query, and the WITH queries of this level, but not its neighbours.
    const parent: Scope = { ...scope, namespace: { relations: [], visible: [] } };
    return this.#subqueryRelation(select, parent, alias);
  }

  #subqueryRelation(select: Fields, parent: Scope | null, alias: string): From {
    this.#subqueries += 1;
    const query = this.select(select, parent);
    if (query.outer.size > 0) throw new Forward('unproven-syntax', 'a correlated subquery in FROM');
    const id = this.#nextRelation();
    const written: string[] = [];
    const columns = query.outputs.map((output, index): RelationColumn => {
      const { expression } = output;
      const value = expression.value();
      const key = expression.key === null ? null : expression.key();
      written.push(`${value} AS c${index}`);
      // A grouped or distinct query cannot carry a second form of the column along.
      const hasKey = key !== null && key !== value && !query.hasAggregates && !query.isDistinct;
      if (hasKey) written.push(`${key} AS k${index}`);
      return {
        name: output.name,
        typeOid: expression.typeOid,
        typmod: expression.typmod,
        clientTypmod: expression.isPlain ? (expression.column?.clientTypmod ?? -1) : expression.typmod,
        collation:
          expression.collation === 'conflict' || expression.collation === null
            ? expression.collation
            : { ...expression.collation, strength: 'implicit' },
        value: `t${id}.c${index}`,
        key: key === null ? null : key === value ? `t${id}.c${index}` : hasKey ? `t${id}.k${index}` : null,
        tableOid: expression.isPlain ? (expression.column?.tableOid ?? 0) : 0,
        attnum: expression.isPlain ? (expression.column?.attnum ?? 0) : 0,
        notNull: !expression.nullable,
        isReplicated: true,
      };
    });
    const relation: Relation = { id, alias, schema: null, columns, table: null, isOptional: false };
    return {
      sql: `(${query.sql(written)}) AS t${id}`,
      namespace: { relations: [relation], visible: visibleOf(relation) },
    };
  }

  #join(fields: Fields, scope: Scope, conjuncts: Conjunct[]): From {
    const type = JOINS[(fields['jointype'] as string | undefined) ?? 'JOIN_INNER'];
    if (type === undefined) throw new Forward('unproven-syntax', 'this kind of join');
    if (fields['alias'] !== undefined || fields['join_using_alias'] !== undefined) {
      throw new Forward('unproven-syntax', 'a join with an alias');
    }
    const left = this.#fromItem(fields['larg'] as Node, scope, type.optionalLeft ? [] : conjuncts);
    const right = this.#fromItem(fields['rarg'] as Node, scope, type.optionalRight ? [] : conjuncts);
    const relations = [...left.namespace.relations, ...right.namespace.relations];
    refuseDoubleNames(relations);
    let visible: readonly VisibleColumn[] = [...left.namespace.visible, ...right.namespace.visible];
    const conditions: Expression[] = [];
    const using =
      fields['isNatural'] === true ? commonNames(left.namespace, right.namespace) : names(fields['usingClause']);
    const merged: VisibleColumn[] = [];
    if (using !== null) {
      for (const name of using) {
        const a = this.#only(left.namespace, name, scope);
        const b = this.#only(right.namespace, name, scope);
        const isSame = a.typeOid === b.typeOid && a.typmod === b.typmod;
        // FULL JOIN merges both into an expression, the others show the side that is always there.
        if (!isSame || (type.optionalLeft && type.optionalRight)) {
          throw new Forward('unproven-syntax', 'USING columns that become an expression');
        }
        conditions.push(compare('=', a, b, this.#draft));
        merged.push({ name, found: { expression: type.optionalLeft ? b : a } });
      }
      visible = [...merged, ...visible.filter((column) => !using.includes(column.name))];
    } else if (fields['quals'] !== undefined) {
      const outer = scope.namespace;
      scope.namespace = { relations, visible };
      this.#draft.lifting = true;
      conditions.push(...this.#conditions(fields['quals'] as Node, scope));
      this.#draft.lifting = false;
      scope.namespace = outer;
    }
    // Postgres has an error for FULL JOIN on anything but equal columns.
    if (
      type.optionalLeft &&
      type.optionalRight &&
      !conditions.every((each) => isEqualityAcross(each, left.namespace, right.namespace))
    ) {
      throw new Forward('unproven-syntax', 'FULL JOIN on a condition that is not an equality');
    }
    const optional = [
      ...(type.optionalLeft ? left.namespace.relations : []),
      ...(type.optionalRight ? right.namespace.relations : []),
    ];
    for (const relation of optional) relation.isOptional = true;
    const chosen = type.optionalLeft ? [] : right.namespace.relations.map((relation) => relation.id);
    for (const expression of conditions)
      conjuncts.push({ expression, chooses: optional.length > 0 ? new Set(chosen) : null });
    const on = conditions.length === 0 ? '' : ` ON ${conditions.map((each) => each.value()).join(' AND ')}`;
    const rightSql = (fields['rarg'] as Node)['JoinExpr'] === undefined ? right.sql : `(${right.sql})`;
    return {
      sql: `${left.sql} ${type.sql} ${rightSql}${on}`,
      namespace: { relations, visible },
    };
  }

  #only(namespace: Namespace, name: string, scope: Scope): Expression {
    return this.#translator.column([name], { ...scope, parent: null, namespace, grouped: null });
  }

  #nextRelation(): number {
    this.#relations += 1;
    if (this.#relations > RELATIONS_COUNT_MAX) throw new Forward('too-long', 'too many tables');
    return this.#draft.nextRelation();
  }

  // ---------------------------------------------------------------- targets, conditions

  #target(target: Fields, scope: Scope): OutputColumn[] {
    const node = target['val'] as Node;
    const star = starOf(node);
    if (star !== null) {
      if (star.length > 0) {
        const relation = findRelation(scope, star);
        if (relation === null) throw new Forward('unknown-table', `${star.join('.')}.*`);
        return relation.columns.map((column) => ({
          name: column.name,
          expression: this.#translator.term(
            { ColumnRef: { fields: [...star, column.name].map(nameNode) } },
            scope,
          ) as Expression,
        }));
      }
      if (scope.namespace.relations.length === 0) throw new Forward('unproven-syntax', '* without FROM');
      return scope.namespace.visible.map(({ name, found }) => {
        const expression =
          'expression' in found ? found.expression : columnExpression(this.#draft, found.relation, found.column);
        if (scope.grouped === null || scope.grouped.has(expression.value())) return { name, expression };
        const isDetermined = expression.column !== null && scope.determined.has(expression.column.relation);
        return { name, expression: { ...expression, isUngrouped: !isDetermined } };
      });
    }
    const expression = this.#translator.expression(node, scope);
    return [{ name: (target['name'] as string | undefined) ?? outputName(node), expression }];
  }

  /** A condition as its parts that all must hold. */
  #conditions(node: Node, scope: Scope): Expression[] {
    const boolean = node['BoolExpr'];
    if (boolean?.['boolop'] === 'AND_EXPR')
      return list(boolean['args']).flatMap((part) => this.#conditions(part, scope));
    return [this.#translator.condition(node, scope)];
  }

  // ---------------------------------------------------------------- GROUP BY, ORDER BY, LIMIT

  #groups(fields: Fields, targets: readonly Fields[], scope: Scope): Expression[] {
    return list(fields['groupClause']).map((node) => {
      const expression = this.#translator.expression(this.#groupNode(node, targets, scope), scope);
      requireDeterministic(expression.collation);
      requireCanonical(expression);
      if (expression.relations.size === 0) throw new Forward('unproven-syntax', 'GROUP BY a constant');
      return expression;
    });
  }

  /** What a GROUP BY item means: a position, a column of FROM, else an output name, else an expression. */
  #groupNode(node: Node, targets: readonly Fields[], scope: Scope): Node {
    const constant = node['A_Const'];
    if (constant !== undefined) {
      const position = (constant['ival'] as Fields | undefined)?.['ival'];
      const target = typeof position === 'number' ? targets[position - 1] : undefined;
      if (target === undefined || targets.some((each) => starOf(each['val'] as Node) !== null)) {
        throw new Forward('unproven-syntax', 'GROUP BY a constant');
      }
      return target['val'] as Node;
    }
    const path = node['ColumnRef'] === undefined ? null : names(node['ColumnRef']['fields']);
    if (path?.length === 1 && !scope.namespace.visible.some((column) => column.name === path[0])) {
      const named = targets.filter((target) => target['name'] === path[0]);
      if (named.length === 1) return named[0]?.['val'] as Node;
    }
    return node;
  }

  #order(items: readonly Node[], outputs: readonly OutputColumn[], scope: Scope, isDistinct: boolean): Order[] {
    const order: Order[] = [];
    for (const item of items) {
      const fields = item['SortBy'] as Fields;
      const expression = this.#orderExpression(fields['node'] as Node, outputs, scope);
      const direction = (fields['sortby_dir'] as string | undefined) ?? 'SORTBY_DEFAULT';
      if (direction === 'SORTBY_USING') throw new Forward('unproven-syntax', 'ORDER BY USING');
      // Postgres sorts NULL as larger than everything.
      const isDescending = direction === 'SORTBY_DESC';
      const nulls = (fields['sortby_nulls'] as string | undefined) ?? 'SORTBY_NULLS_DEFAULT';
      const nullsFirst = nulls === 'SORTBY_NULLS_DEFAULT' ? isDescending : nulls === 'SORTBY_NULLS_FIRST';
      requireC(expression.collation);
      if (isDistinct && !outputs.some((output) => output.expression.value() === expression.value())) {
        throw new Forward('unproven-syntax', 'ORDER BY something that SELECT DISTINCT does not give');
      }
      // By a constant all rows are equal; and SQLite would read a bare integer as a position.
      if (expression.relations.size === 0 && !expression.hasAggregate) continue;
      const sql = `${term(expression, orderKey(expression, this.#draft))}${isDescending ? ' DESC' : ''}`;
      order.push({ expression, sql: expression.nullable ? `${sql} NULLS ${nullsFirst ? 'FIRST' : 'LAST'}` : sql });
    }
    return order;
  }

  /** What an ORDER BY item means: a position, an output name, else an expression over FROM. */
  #orderExpression(node: Node, outputs: readonly OutputColumn[], scope: Scope): Expression {
    const constant = node['A_Const'];
    if (constant !== undefined) {
      const position = (constant['ival'] as Fields | undefined)?.['ival'];
      const output = typeof position === 'number' ? outputs[position - 1] : undefined;
      if (output === undefined) throw new Forward('unproven-syntax', 'ORDER BY a constant');
      return output.expression;
    }
    const path = node['ColumnRef'] === undefined ? null : names(node['ColumnRef']['fields']);
    if (path?.length === 1) {
      const named = outputs.filter((output) => output.name === path[0]);
      const first = named[0];
      if (first !== undefined) {
        if (named.some((output) => output.expression.value() !== first.expression.value())) {
          throw new Forward('unknown-column', `ORDER BY "${path[0]}" is ambiguous`);
        }
        return first.expression;
      }
    }
    return this.#translator.expression(node, scope);
  }

  #limits(fields: Fields): { sql: string; limit: number | null; hasOffset: boolean } {
    const option = (fields['limitOption'] as string | undefined) ?? 'LIMIT_OPTION_DEFAULT';
    if (option === 'LIMIT_OPTION_WITH_TIES') throw new Forward('unproven-syntax', 'FETCH FIRST … WITH TIES');
    const count = fields['limitCount'] as Node | undefined;
    const offset = fields['limitOffset'] as Node | undefined;
    if (count === undefined && offset === undefined) return { sql: '', limit: null, hasOffset: false };
    let limit: number | null = null;
    let sql = ' LIMIT -1';
    if (count !== undefined) {
      const made = this.#limit(count, 'limit');
      sql = ` LIMIT ${made}`;
      if (/^\d+$/.test(made)) limit = Number(made);
    }
    if (offset !== undefined) {
      // Pages differ by their offset only, and no decision depends on it.
      this.#draft.lifting = true;
      sql += ` OFFSET ${this.#limit(offset, 'offset')}`;
      this.#draft.lifting = false;
    }
    return { sql, limit, hasOffset: offset !== undefined };
  }

  #limit(node: Node, writer: 'limit' | 'offset'): string {
    const scope = emptyScope();
    const parameter = node['TypeCast'] === undefined ? node['ParamRef'] : (node['TypeCast']['arg'] as Node)['ParamRef'];
    const term = this.#translator.term(node, scope);
    if (parameter !== undefined) {
      const index = (parameter['number'] as number) - 1;
      if (isUntyped(term)) this.#draft.inferParameter(index, OID.int8);
      else if (term.facts.family !== 'integer') throw new Forward('unproven-cast', 'LIMIT that is no integer');
      return this.#draft.parameter(index, writer);
    }
    if (isUntyped(term)) {
      if (term.untyped === 'null') return writer === 'limit' ? '-1' : '0';
      if (term.untyped === 'text') return this.#draft.constant(term.constant, writer, OID.int8);
    } else if (term.facts.family === 'integer' && term.constant !== null) {
      return this.#draft.constant(term.constant, writer, OID.int8);
    }
    throw new Forward('unproven-syntax', 'LIMIT that is no constant');
  }

  // ---------------------------------------------------------------- subqueries in expressions

  #inExpression(select: Fields, parent: Scope): SubquerySql {
    this.#subqueries += 1;
    const query = this.select(select, parent);
    // EXISTS forgets DISTINCT in SQLite, and then OFFSET counts other rows.
    if (query.isDistinct && (query.hasOffset || query.limit !== null)) {
      throw new Forward('unproven-syntax', 'DISTINCT with LIMIT in a subquery');
    }
    return {
      sql: query.sql(query.outputs.map((output) => output.expression.value())),
      columns: query.outputs.map((output) => output.expression),
      isSingleRow:
        (query.hasAggregates && !query.isGrouped) ||
        (query.limit !== null && query.limit <= 1) ||
        query.relations.length === 0,
      outer: query.outer,
    };
  }
}

/** For GROUP BY and ORDER BY: SQLite may fold `x AND FALSE` to 0, and then reads it as a position. */
function term(expression: Expression, sql: string): string {
  return expression.column === null ? `ifnull(${sql}, NULL)` : sql;
}

function emptyScope(): Scope {
  return {
    parent: null,
    namespace: { relations: [], visible: [] },
    grouped: null,
    determined: new Set(),
    aggregates: 'refused',
    subqueries: new Map(),
  };
}

function refuse(fields: Fields): void {
  if (fields['intoClause'] !== undefined) throw new Forward('write', 'SELECT INTO');
  if (list(fields['lockingClause']).length > 0) throw new Forward('lock', 'a locking clause');
  if ((fields['op'] as string | undefined) !== undefined && fields['op'] !== 'SETOP_NONE') {
    throw new Forward('unproven-syntax', 'a set operation');
  }
  if (fields['valuesLists'] !== undefined) throw new Forward('unproven-syntax', 'VALUES');
  if (fields['windowClause'] !== undefined) throw new Forward('unproven-syntax', 'a window');
  if (fields['groupDistinct'] === true) throw new Forward('unproven-syntax', 'GROUP BY DISTINCT');
  if (fields['targetList'] === undefined) throw new Forward('unproven-syntax', 'a SELECT of nothing');
}

/** Columns that NATURAL JOIN joins by, in the order of the left side. */
function commonNames(left: Namespace, right: Namespace): string[] {
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

function aliasOf(fields: Fields): string | null {
  const alias = fields['alias'] as Fields | undefined;
  if (alias === undefined) return null;
  if (alias['colnames'] !== undefined) throw new Forward('unproven-syntax', 'an alias that names columns');
  return alias['aliasname'] as string;
}

function visibleOf(relation: Relation): VisibleColumn[] {
  return relation.columns.map((column) => ({ name: column.name, found: { relation, column } }));
}

function nameNode(name: string): Node {
  return { String: { sval: name } };
}

/** Path before `.*`, empty for a bare `*`; null when the node is something else. */
function starOf(node: Node): string[] | null {
  const fields = list(node['ColumnRef']?.['fields']);
  const last = fields[fields.length - 1];
  if (last === undefined || !('A_Star' in last)) return null;
  return names(fields.slice(0, -1)) ?? [];
}

/** Whether grouping by what is printed is grouping by value. */
function requireCanonical(expression: Expression): void {
  const hasScale = expression.facts.family === 'numeric' && expression.column !== null && expression.typmod !== -1;
  if (!expression.facts.isCanonical && !hasScale) {
    throw new Forward('unproven-type', `grouping by type ${expression.typeOid}`);
  }
}

function distinctOf(fields: Fields, outputs: readonly OutputColumn[]): boolean {
  const clause = list(fields['distinctClause']);
  if (clause.length === 0) return false;
  if (clause.some((node) => Object.keys(node).length > 0)) throw new Forward('unproven-syntax', 'DISTINCT ON');
  for (const { expression } of outputs) {
    requireDeterministic(expression.collation);
    requireCanonical(expression);
  }
  return true;
}

/** Relations whose primary key is among the grouped columns: one group, one row of them. */
function determinedBy(groups: readonly Expression[], relations: readonly Relation[]): Set<number> {
  const determined = new Set<number>();
  for (const relation of relations) {
    const { table } = relation;
    if (table === null || table.primaryKeyAttnums.length === 0) continue;
    const primary = table.constraints.find((constraint) => constraint.type === 'p');
    if (primary === undefined || primary.definition.includes('DEFERRABLE')) continue;
    const grouped = new Set(
      groups.map((group) => (group.column?.relation === relation.id && group.isPlain ? group.column.attnum : 0)),
    );
    if (table.primaryKeyAttnums.every((attnum) => grouped.has(attnum))) determined.add(relation.id);
  }
  return determined;
}

/** Whether an aggregate is called at this query level. */
function aggregatesIn(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(aggregatesIn);
  if (typeof value !== 'object' || value === null) return false;
  for (const [kind, fields] of Object.entries(value)) {
    if (kind === 'SubLink' || kind === 'RangeSubselect') continue;
    if (kind === 'FuncCall') {
      const path = names((fields as Fields)['funcname']);
      if (path !== null && isAggregate(path[path.length - 1] as string)) return true;
    }
    if (aggregatesIn(fields)) return true;
  }
  return false;
}

/** The name Postgres gives an output column without alias. */
export function outputName(node: Node): string {
  return figureName(node)?.name ?? '?column?';
}

interface FiguredName {
  readonly name: string;
  /** 2 a good name, 1 only the type's name of a cast or `case`. */
  readonly strength: 1 | 2;
}

function figureName(node: Node | undefined): FiguredName | null {
  if (node === undefined) return null;
  const kind = Object.keys(node)[0] as string;
  const fields = node[kind] as Fields;
  const good = (name: string): FiguredName => ({ name, strength: 2 });
  const last = (value: unknown): FiguredName | null => {
    const path = names(value);
    return path === null ? null : good(path[path.length - 1] as string);
  };
  switch (kind) {
    case 'ColumnRef':
      return last(fields['fields']);
    case 'FuncCall':
      return last(fields['funcname']);
    case 'A_Expr':
      return fields['kind'] === 'AEXPR_NULLIF' ? good('nullif') : null;
    case 'TypeCast': {
      const inner = figureName(fields['arg'] as Node);
      if (inner !== null && inner.strength === 2) return inner;
      const path = names((fields['typeName'] as Fields)['names']);
      return path === null ? inner : { name: path[path.length - 1] as string, strength: 1 };
    }
    case 'CollateClause':
      return figureName(fields['arg'] as Node);
    case 'CoalesceExpr':
      return good('coalesce');
    case 'MinMaxExpr':
      return good(fields['op'] === 'IS_LEAST' ? 'least' : 'greatest');
    case 'CaseExpr': {
      const inner = figureName(fields['defresult'] as Node | undefined);
      return inner !== null && inner.strength === 2 ? inner : { name: 'case', strength: 1 };
    }
    case 'SubLink': {
      if (fields['subLinkType'] === 'EXISTS_SUBLINK') return good('exists');
      if (fields['subLinkType'] !== 'EXPR_SUBLINK') return null;
      const target = list((fields['subselect'] as Node)['SelectStmt']?.['targetList'])[0]?.['ResTarget'];
      if (target === undefined) return null;
      const name = target['name'] as string | undefined;
      return name === undefined ? figureName(target['val'] as Node) : good(name);
    }
    case 'SQLValueFunction':
      return good(SQL_VALUE_NAMES[fields['op'] as string] ?? '?column?');
    default:
      return null;
  }
}

const SQL_VALUE_NAMES: Readonly<Record<string, string>> = {
  SVFOP_CURRENT_ROLE: 'current_role',
  SVFOP_CURRENT_USER: 'current_user',
  SVFOP_USER: 'user',
  SVFOP_SESSION_USER: 'session_user',
  SVFOP_CURRENT_CATALOG: 'current_catalog',
  SVFOP_CURRENT_SCHEMA: 'current_schema',
};
