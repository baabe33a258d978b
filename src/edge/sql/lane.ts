// Which lane a query runs in. Fast means that SQLite finds every row it touches through an index, and that few are touched.

import type { TableImage } from '../../contracts/catalogue.ts';
import { OID } from '../../pg/oid.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import type { Conjunct, Query } from './query.ts';
import type { Relation } from './scope.ts';

/** Rows that the fast lane may touch, each found by an index. */
export const FAST_ROWS_MAX = 128;

export interface Lane {
  readonly lane: 'fast' | 'slow';
  /** Most rows the answer can have, when the plan alone says so. */
  readonly rowsMax: number | null;
}

/** Whether a query gives at most one row, whatever the data. Outer relations stand at one row while it is computed. */
export function isSingleRow(query: Query, catalogue: Catalogue): boolean {
  if (query.limit !== null && query.limit <= 1) return true;
  if (query.isCompound) return false;
  if (query.hasAggregates) return !query.isGrouped;
  return lookups(query, catalogue) === 1;
}

export function laneOf(query: Query, catalogue: Catalogue): Lane {
  const touched =
    query.inner.length > 0 || query.isCompound || query.relations.some((relation) => relation.table === null)
      ? null
      : lookups(query, catalogue);
  const rows = query.hasAggregates && !query.isGrouped && !query.isCompound ? 1 : touched;
  const rowsMax = query.limit === null ? rows : rows === null ? query.limit : Math.min(rows, query.limit);
  if (touched !== null && touched <= FAST_ROWS_MAX) return { lane: 'fast', rowsMax };
  return { lane: isShortScan(query, catalogue) ? 'fast' : 'slow', rowsMax };
}

/**
 * A bound of the rows that a query reads, as a sum of products of tables' row counts (by OID, `[[a, b], [c]]` is a·b + c); null
 * when there is none. Nested loops in the worst order of joins: SQLite's own order is no worse.
 */
export type RowBound = readonly (readonly number[])[];

/** Products of one bound: beyond it the statement is large in any case. */
const PRODUCTS_COUNT_MAX = 64;

const ONE_ROW: RowBound = [[]];

export function scansOf(query: Query, catalogue: Catalogue): RowBound | null {
  const own = rowsOf(query, catalogue);
  if (own === null) return null;
  let sum: RowBound | null = query.isCompound ? [] : own;
  for (const inner of query.inner) {
    const scans = scansOf(inner, catalogue);
    if (scans === null) return null;
    // What uses this level's rows runs once for each of them.
    const all: RowBound | null = inner.outer.size > 0 ? times(own, scans) : scans;
    if (all === null || sum === null) return null;
    sum = [...sum, ...all];
    if (sum.length > PRODUCTS_COUNT_MAX) return null;
  }
  return sum;
}

/** Rows that a query gives before LIMIT, at most. */
function rowsOf(query: Query, catalogue: Catalogue): RowBound | null {
  if (query.isCompound) {
    let sum: RowBound = ONE_ROW;
    for (const inner of query.inner) {
      const rows = rowsOf(inner, catalogue);
      if (rows === null || sum.length > PRODUCTS_COUNT_MAX) return null;
      sum = [...sum, ...rows];
    }
    return sum;
  }
  const bound = boundBy(query, catalogue).bound;
  let rows: RowBound | null = ONE_ROW;
  for (const relation of query.relations) {
    if (bound.has(relation.id) || rows === null) continue;
    rows = times(rows, relationRows(relation, catalogue));
  }
  return rows;
}

function relationRows(relation: Relation, catalogue: Catalogue): RowBound | null {
  if (relation.memberOids !== undefined) return relation.memberOids.map((oid) => [oid]);
  if (relation.table !== null) return [[relation.table.oid]];
  // Names that a join's alias gives; and a query, whose rows are known.
  if (relation.isAlias === true) return ONE_ROW;
  return relation.source === undefined ? null : rowsOf(relation.source, catalogue);
}

function times(a: RowBound, b: RowBound | null): RowBound | null {
  if (b === null || a.length * b.length > PRODUCTS_COUNT_MAX) return null;
  return a.flatMap((left) => b.map((right) => [...left, ...right]));
}

/** Rows touched when every relation is looked up by a unique key, constants first; null when one is not. */
function lookups(query: Query, catalogue: Catalogue): number | null {
  const { bound, rows } = boundBy(query, catalogue);
  return query.relations.every((relation) => bound.has(relation.id)) ? rows : null;
}

/** Relations that are looked up by a unique key, and how many rows of them there are for one of the others. */
function boundBy(query: Query, catalogue: Catalogue): { readonly bound: ReadonlySet<number>; readonly rows: number } {
  const bound = new Set<number>(query.outer);
  let rows = 1;
  let isProgressing = true;
  while (isProgressing) {
    isProgressing = false;
    for (const relation of query.relations) {
      if (bound.has(relation.id)) continue;
      const found = lookupRows(relation, query.conjuncts, bound, catalogue);
      if (found === null) continue;
      bound.add(relation.id);
      rows *= found;
      isProgressing = true;
    }
  }
  return { bound, rows };
}

function lookupRows(
  relation: Relation,
  conjuncts: readonly Conjunct[],
  bound: ReadonlySet<number>,
  catalogue: Catalogue,
): number | null {
  if (relation.table === null) return relation.isSingle === true ? 1 : null;
  const fixed = fixedColumns(relation, conjuncts, bound);
  let best: number | null = null;
  for (const key of uniqueKeys(relation.table, catalogue)) {
    let rows = 1;
    for (const attnum of key) rows *= fixed.get(attnum) ?? Number.POSITIVE_INFINITY;
    if (Number.isFinite(rows) && (best === null || rows < best)) best = rows;
  }
  return best;
}

/** Columns that are equal to something known before this relation is read: attnum → number of values. */
function fixedColumns(
  relation: Relation,
  conjuncts: readonly Conjunct[],
  bound: ReadonlySet<number>,
): Map<number, number> {
  const fixed = new Map<number, number>();
  for (const { expression, chooses } of conjuncts) {
    const { equality } = expression;
    // ON of a LEFT JOIN limits the rows of its right side only.
    if (equality === null || (chooses !== null && !chooses.has(relation.id))) continue;
    // WHERE on the optional side of a join makes it an inner join for SQLite too; but it need not find that.
    if (chooses === null && relation.isOptional) continue;
    const sides = [
      { column: equality.left.column, others: equality.right },
      ...(equality.right.length === 1 ? [{ column: equality.right[0]?.column ?? null, others: [equality.left] }] : []),
    ];
    for (const { column, others } of sides) {
      if (column === null || column.relation !== relation.id) continue;
      if (!others.every((other) => [...other.relations].every((each) => bound.has(each)))) continue;
      fixed.set(column.attnum, Math.min(fixed.get(column.attnum) ?? Number.POSITIVE_INFINITY, others.length));
    }
  }
  return fixed;
}

/** Unique keys that the replica has an index for: primary key and plain unique indexes, over types it indexes as they compare. */
function uniqueKeys(table: TableImage, catalogue: Catalogue): (readonly number[])[] {
  return table.indexes
    .filter(
      (index) =>
        index.unique &&
        index.valid &&
        !index.partial &&
        index.keyAttnums.length > 0 &&
        index.keyAttnums.every((attnum) => isIndexable(table, attnum, catalogue)),
    )
    .map((index) => index.keyAttnums);
}

function isIndexable(table: TableImage, attnum: number, catalogue: Catalogue): boolean {
  const column = table.columns.find((each) => each.attnum === attnum);
  if (column === undefined || !column.replicated) return false;
  const resolved = catalogue.resolveType(column.typeOid);
  return resolved !== null && resolved.oid !== OID.numeric && resolved.oid !== OID.bpchar;
}

/** `SELECT … FROM t [ORDER BY indexed] LIMIT few`: the first rows of a table or of an index. */
function isShortScan(query: Query, catalogue: Catalogue): boolean {
  if (query.relations.length === 0) return query.inner.length === 0;
  const relation = query.relations[0] as Relation;
  const { table } = relation;
  const isPlain =
    query.relations.length === 1 &&
    table !== null &&
    relation.memberOids === undefined &&
    !query.hasAggregates &&
    !query.isDistinct &&
    !query.hasWindows &&
    query.inner.length === 0 &&
    !query.hasOffset &&
    query.limit !== null &&
    query.limit <= FAST_ROWS_MAX &&
    query.conjuncts.length === 0;
  if (!isPlain || table === null) return false;
  if (query.order.length === 0) return true;
  // One ascending or descending column that leads an index and is never NULL, so that the index gives the order.
  const only = query.order.length === 1 ? query.order[0] : undefined;
  const column = only?.expression.column ?? null;
  if (only === undefined || column === null || only.expression.nullable || only.expression.facts.family === 'enum')
    return false;
  return table.indexes.some(
    (index) =>
      index.valid &&
      !index.partial &&
      / USING btree /.test(index.definition) &&
      index.keyAttnums[0] === column.attnum &&
      index.keyAttnums.every((attnum) => isIndexable(table, attnum, catalogue)),
  );
}
