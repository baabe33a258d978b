// WITH: each of its queries is a common table of SQLite's, once, whatever it is used for; and recursion, row by row there and
// step by step in Postgres, where both come to the same rows.

import { coerce, commonType } from './coerce.ts';
import { carry, type CarriedColumn, renamed } from './derived.ts';
import { type Draft, mergeCollations, requireDeterministic } from './expression.ts';
import { Forward } from './forward.ts';
import { aggregatesIn, requireCanonical, windowsIn } from './grouping.ts';
import { isSingleRow } from './lane.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import { NESTED, outputsOf, type Planning, type Query } from './query.ts';
import { type CommonTable, emptyScope, type Scope } from './scope.ts';

/** A column that starts at such a constant and is counted up in small steps never leaves its type. */
const COUNTER_MAX = 1_000_000;

export interface CommonTables {
  readonly tables: ReadonlyMap<string, CommonTable>;
  /** `WITH … `, or nothing. */
  readonly sql: string;
  readonly inner: readonly Query[];
}

/** The WITH clause of a SelectStmt; `scope` is the level it stands at, of which it sees what encloses it. */
export function commonTables(fields: Fields, parent: Scope | null, planning: Planning, draft: Draft): CommonTables {
  const clause = fields['withClause'] as Fields | undefined;
  if (clause === undefined) return { tables: new Map(), sql: '', inner: [] };
  const isRecursive = clause['recursive'] === true;
  const written = list(clause['ctes']).map((node) => node['CommonTableExpr'] as Fields);
  const tables = new Map<string, CommonTable>();
  // With RECURSIVE those that stand later are seen, too; Postgres sorts them.
  if (isRecursive) for (const table of written) tables.set(table['ctename'] as string, LATER);
  const texts: string[] = [];
  const inner: Query[] = [];
  const seen = new Set<string>();
  for (const table of written) {
    const name = table['ctename'] as string;
    const select = (table['ctequery'] as Node)['SelectStmt'];
    if (select === undefined) throw new Forward('write', 'a WITH query that writes');
    if (seen.has(name)) throw new Forward('unproven-syntax', `WITH names "${name}" twice`);
    seen.add(name);
    if (table['search_clause'] !== undefined || table['cycle_clause'] !== undefined)
      throw new Forward('unproven-syntax', 'SEARCH or CYCLE');
    const columnNames = names(table['aliascolnames']) ?? [];
    const scope: Scope = { ...emptyScope(), parent, subqueries: tables };
    const sqlName = `w${planning.nextRelation()}`;
    const hint = HINTS[(table['ctematerialized'] as string | undefined) ?? ''] ?? '';
    if (isRecursive && mentions(select, name) > 0) {
      const made = recursive(select, { name, sqlName, columnNames, scope, planning, draft });
      texts.push(`${sqlName}${made.sql}`);
      tables.set(name, { sqlName, columns: made.columns, refused: null });
      inner.push(...made.inner);
      continue;
    }
    const query = planning.select(select, scope, NESTED);
    if (query.outer.size > 0) throw new Forward('unproven-syntax', 'a correlated WITH query');
    const { written: columns, columns: carried } = carry(
      outputsOf(query),
      !query.hasAggregates && !query.isDistinct && !query.isCompound,
    );
    texts.push(`${sqlName} AS ${hint}(${query.sql(columns)})`);
    tables.set(name, {
      sqlName,
      columns: renamedColumns(carried, columnNames),
      refused: null,
      isSingle: isSingleRow(query, draft.catalogue),
      source: query,
    });
    inner.push(query);
  }
  return { tables, sql: `WITH ${isRecursive ? 'RECURSIVE ' : ''}${texts.join(', ')} `, inner };
}

const LATER: CommonTable = { sqlName: '', columns: [], refused: 'a WITH query that is written later' };

const HINTS: Readonly<Record<string, string>> = {
  CTEMaterializeAlways: 'MATERIALIZED ',
  CTEMaterializeNever: 'NOT MATERIALIZED ',
};

function renamedColumns(columns: readonly CarriedColumn[], columnNames: readonly string[]): CarriedColumn[] {
  const named = renamed(
    columns.map(({ column }) => column),
    columnNames,
  );
  return columns.map(({ key }, index) => ({ key, column: named[index] as CarriedColumn['column'] }));
}

interface RecursiveContext {
  readonly name: string;
  readonly sqlName: string;
  readonly columnNames: readonly string[];
  readonly scope: Scope;
  readonly planning: Planning;
  readonly draft: Draft;
}

/** `start UNION [ALL] step`, where the step reads each row once and by itself. */
function recursive(
  select: Fields,
  { name, sqlName, columnNames, scope, planning, draft }: RecursiveContext,
): { sql: string; columns: readonly CarriedColumn[]; inner: readonly Query[] } {
  const [start, step] = [select['larg'] as Fields | undefined, select['rarg'] as Fields | undefined];
  const isUnion = select['op'] === 'SETOP_UNION' && start !== undefined && step !== undefined;
  const isBare = ['sortClause', 'limitCount', 'limitOffset', 'withClause', 'lockingClause'].every(
    (clause) => select[clause] === undefined,
  );
  if (!isUnion || !isBare || mentions(start, name) > 0) throw new Forward('unproven-syntax', 'this kind of recursion');
  requireRowByRow(step, name);
  const isAll = select['all'] === true;
  const before = planning.select(start, scope, NESTED);
  const outputs = outputsOf(before);
  const carried = carry(outputs, false);
  const columns = renamedColumns(carried.columns, columnNames).map(
    ({ column, key }): CarriedColumn => ({
      key,
      column: { ...column, notNull: false, tableOid: 0, attnum: 0, mayFold: false },
    }),
  );
  const counters = startNodes(start).map(isSmallConstant);
  const tables = new Map(scope.subqueries).set(name, { sqlName, columns, refused: null, counters });
  draft.isRecursing += 1;
  const after = planning.select(step, { ...scope, subqueries: tables }, { isWhole: false, isBranch: true });
  draft.isRecursing -= 1;
  if (before.outer.size > 0 || after.outer.size > 0) throw new Forward('unproven-syntax', 'a correlated WITH query');
  if (after.targets.length !== outputs.length) throw new Forward('unproven-syntax', 'branches of different columns');
  const next = after.targets.map(({ term }, index) => {
    const first = (outputs[index] as (typeof outputs)[number]).expression;
    const typeOid = commonType([first, term], draft);
    const expression = coerce(term, typeOid, draft);
    const isSame = typeOid === first.typeOid && (first.typmod === -1 || expression.typmod === first.typmod);
    const collation = mergeCollations([first, expression]);
    const isOneCollation =
      collation === null ||
      (collation !== 'conflict' && first.collation !== 'conflict' && collation.oid === first.collation?.oid);
    if (!isSame || !isOneCollation) throw new Forward('unproven-syntax', 'a recursion that changes a type');
    if (!isAll) {
      requireDeterministic(collation);
      requireCanonical(first);
      requireCanonical(expression);
    }
    return `${expression.value()} AS c${index}`;
  });
  const head = before.isClosed ? `SELECT * FROM (${before.sql(carried.written)})` : before.sql(carried.written);
  const list_ = outputs.map((_, index) => `c${index}`).join(', ');
  return {
    sql: `(${list_}) AS (${head} UNION${isAll ? ' ALL' : ''} ${after.sql(next)})`,
    columns,
    inner: [before, after],
  };
}

/** What a recursion starts with, when it is one row that is written out. */
function startNodes(start: Fields): (Node | undefined)[] {
  const rows = list(start['valuesLists']);
  if (rows.length > 0) return rows.length === 1 ? [...list(rows[0]?.['List']?.['items'])] : [];
  return list(start['targetList']).map((node) => node['ResTarget']?.['val'] as Node | undefined);
}

function isSmallConstant(node: Node | undefined): boolean {
  const constant = node?.['A_Const']?.['ival'] as Fields | undefined;
  const value = constant === undefined ? Number.NaN : ((constant['ival'] as number | undefined) ?? 0);
  return Math.abs(value) <= COUNTER_MAX;
}

/** Throws unless the step is a plain select that reads the recursion once, in FROM, on a side of joins that is always there. */
function requireRowByRow(step: Fields, name: string): void {
  const isPlain =
    ((step['op'] as string | undefined) ?? 'SETOP_NONE') === 'SETOP_NONE' &&
    [
      'groupClause',
      'havingClause',
      'distinctClause',
      'sortClause',
      'limitCount',
      'limitOffset',
      'withClause',
      'windowClause',
      'valuesLists',
    ].every((clause) => step[clause] === undefined) &&
    !aggregatesIn([step['targetList'], step['whereClause']]) &&
    !windowsIn(step['targetList']);
  const isRead = list(step['fromClause']).filter((item) => isReadBy(item, name)).length === 1;
  if (!isPlain || mentions(step, name) !== 1 || !isRead) throw new Forward('unproven-syntax', 'this kind of recursion');
}

function isReadBy(item: Node, name: string): boolean {
  const range = item['RangeVar'];
  if (range !== undefined) return range['relname'] === name && range['schemaname'] === undefined;
  const join = item['JoinExpr'];
  if (join === undefined) return false;
  const type = (join['jointype'] as string | undefined) ?? 'JOIN_INNER';
  const isLeft = isReadBy(join['larg'] as Node, name);
  const isRight = isReadBy(join['rarg'] as Node, name);
  return (
    (isLeft && (type === 'JOIN_INNER' || type === 'JOIN_LEFT')) ||
    (isRight && (type === 'JOIN_INNER' || type === 'JOIN_RIGHT'))
  );
}

/** How often a name without schema stands in FROM, anywhere in this tree. */
function mentions(value: unknown, name: string): number {
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + mentions(each, name), 0);
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  for (const [kind, fields] of Object.entries(value)) {
    if (kind === 'RangeVar') {
      const range = fields as Fields;
      if (range['relname'] === name && range['schemaname'] === undefined) count += 1;
    } else {
      count += mentions(fields, name);
    }
  }
  return count;
}
