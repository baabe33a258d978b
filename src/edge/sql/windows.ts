// Window functions: OVER (PARTITION BY … ORDER BY … frame), and the functions and aggregates that SQLite computes over windows
// as Postgres does.

import { OID } from '../../pg/oid.ts';
import { refuseDomains } from './choices.ts';
import { coerce } from './coerce.ts';
import { keyOf } from './compare.ts';
import { derived, type Expression, isUntyped, mergeCollations, requireDeterministic, type Term } from './expression.ts';
import { Forward } from './forward.ts';
import { orderOf } from './order.ts';
import { type Fields, list, type Node } from './parse.ts';
import { callAggregate } from './proven.ts';
import type { Order } from './query.ts';
import { emptyScope, type Scope } from './scope.ts';
import type { Translation } from './translation.ts';

/** Bits of WindowDef.frameOptions (parsenodes.h). */
const FRAME = {
  nondefault: 0x1,
  range: 0x2,
  rows: 0x4,
  groups: 0x8,
  startUnbounded: 0x20,
  endUnbounded: 0x100,
  startCurrent: 0x200,
  endCurrent: 0x400,
  startPreceding: 0x800,
  endPreceding: 0x1000,
  startFollowing: 0x2000,
  endFollowing: 0x4000,
  excludeCurrent: 0x8000,
  excludeGroup: 0x10000,
  excludeTies: 0x20000,
} as const;

/** Offsets of frames, LAG, NTILE … */
const OFFSET_MAX = 1_000_000;

/** Aggregates over windows; others are computed in ways that have no window form here. */
const WINDOW_AGGREGATES = new Set(['count', 'sum', 'avg', 'min', 'max', 'bool_and', 'bool_or', 'every']);

interface Window {
  readonly partition: readonly Expression[];
  readonly order: readonly Order[];
  /** Whether ORDER BY was written, if only by constants. */
  readonly isOrdered: boolean;
  readonly frame: Fields;
}

/** `name(args) OVER …`. */
export function windowCall(
  t: Translation,
  name: string,
  nodes: readonly Node[],
  fields: Fields,
  scope: Scope,
): Expression {
  const { windows } = scope;
  if (windows === null || scope.aggregates !== 'allowed')
    throw new Forward('unproven-syntax', 'a window function where none may stand');
  // No window function in another; aggregates may be.
  const inside: Scope = { ...scope, windows: null };
  const window = windowOf(t, fields['over'] as Fields, windows, inside);
  const over = `OVER (${windowSql(t, window)})`;
  const relations = new Set(scope.namespace.relations.map((relation) => relation.id));
  if (relations.size === 0) throw new Forward('unproven-syntax', 'a window function without FROM');
  const call = WINDOW_AGGREGATES.has(name)
    ? aggregateOver(t, name, nodes, fields, inside, window, over)
    : functionOver(t, name, nodes, fields, inside, over);
  const used = [...window.partition, ...window.order.map((each) => each.expression)];
  return {
    ...call,
    relations: new Set([...relations, ...call.relations, ...used.flatMap((each) => [...each.relations])]),
    isUngrouped: call.isUngrouped || used.some((each) => each.isUngrouped),
    hasAggregate: call.hasAggregate || used.some((each) => each.hasAggregate),
  };
}

/** What OVER means, with the named windows that it builds on. */
function windowOf(t: Translation, over: Fields, windows: ReadonlyMap<string, Fields>, scope: Scope): Window {
  const named = (name: string): Window => {
    const definition = windows.get(name);
    if (definition === undefined) throw new Forward('unproven-syntax', `window "${name}" does not exist`);
    // A definition sees those before it.
    const before = new Map([...windows].slice(0, [...windows.keys()].indexOf(name)));
    return windowOf(t, { ...definition, name: undefined }, before, scope);
  };
  if (over['name'] !== undefined) return named(over['name'] as string);
  const base = over['refname'] === undefined ? null : named(over['refname'] as string);
  const partition = list(over['partitionClause']).map((node) => t.expression(node, scope));
  const items = list(over['orderClause']);
  if (base !== null) {
    const isCopied = ((base.frame['frameOptions'] as number | undefined) ?? 0) & FRAME.nondefault;
    if (partition.length > 0 || (items.length > 0 && base.isOrdered) || isCopied !== 0)
      throw new Forward('unproven-syntax', 'a window that overrides another');
  }
  for (const expression of partition) requireDeterministic(expression.collation);
  return {
    partition: (base?.partition ?? partition).filter((each) => each.relations.size > 0 || each.hasAggregate),
    order: items.length > 0 ? orderOf(items, null, scope, { draft: t.draft, translator: t }) : (base?.order ?? []),
    isOrdered: items.length > 0 || (base?.isOrdered ?? false),
    frame: over,
  };
}

function windowSql(t: Translation, window: Window): string {
  const parts: string[] = [];
  if (window.partition.length > 0)
    parts.push(`PARTITION BY ${window.partition.map((each) => `ifnull(${keyOf(each)()}, NULL)`).join(', ')}`);
  if (window.order.length > 0)
    parts.push(`ORDER BY ${window.order.map((each) => each.key + each.direction).join(', ')}`);
  const frame = frameSql(t, window);
  if (frame !== '') parts.push(frame);
  return parts.join(' ');
}

function frameSql(t: Translation, { frame, order, isOrdered }: Window): string {
  const options = (frame['frameOptions'] as number | undefined) ?? 0;
  if ((options & FRAME.nondefault) === 0) return '';
  const has = (bit: number): boolean => (options & bit) !== 0;
  const mode = has(FRAME.rows) ? 'ROWS' : has(FRAME.groups) ? 'GROUPS' : 'RANGE';
  const isOffset = has(FRAME.startPreceding | FRAME.startFollowing | FRAME.endPreceding | FRAME.endFollowing);
  if (order.length === 0 && (isOrdered || mode === 'GROUPS' || (mode === 'RANGE' && isOffset)))
    throw new Forward('unproven-syntax', 'a frame over rows without an order');
  if (mode === 'RANGE' && isOffset) {
    const only = order.length === 1 ? order[0] : undefined;
    if (only?.expression.facts.family !== 'integer')
      throw new Forward('unproven-syntax', 'RANGE with an offset over other than one integer');
  }
  const start = has(FRAME.startUnbounded)
    ? 'UNBOUNDED PRECEDING'
    : has(FRAME.startCurrent)
      ? 'CURRENT ROW'
      : `${offset(t, frame['startOffset'])} ${has(FRAME.startPreceding) ? 'PRECEDING' : 'FOLLOWING'}`;
  const end = has(FRAME.endUnbounded)
    ? 'UNBOUNDED FOLLOWING'
    : has(FRAME.endCurrent)
      ? 'CURRENT ROW'
      : `${offset(t, frame['endOffset'])} ${has(FRAME.endPreceding) ? 'PRECEDING' : 'FOLLOWING'}`;
  const exclude = has(FRAME.excludeCurrent)
    ? ' EXCLUDE CURRENT ROW'
    : has(FRAME.excludeGroup)
      ? ' EXCLUDE GROUP'
      : has(FRAME.excludeTies)
        ? ' EXCLUDE TIES'
        : '';
  return `${mode} BETWEEN ${start} AND ${end}${exclude}`;
}

/** A constant that is not negative. */
function offset(t: Translation, node: unknown): string {
  const value = (node as Node | undefined)?.['A_Const'] === undefined ? null : constantInteger(t, node as Node);
  if (value === null || value < 0) throw new Forward('unproven-syntax', 'a frame with an offset that is no constant');
  return String(value);
}

function constantInteger(t: Translation, node: Node): number | null {
  const term = t.term(node, NOWHERE);
  if (isUntyped(term) || term.facts.family !== 'integer' || term.constant === null) return null;
  const value = Number(t.draft.bake(term.constant));
  return Math.abs(value) <= OFFSET_MAX ? value : null;
}

/** Constants need no names. */
const NOWHERE: Scope = emptyScope();

function aggregateOver(
  t: Translation,
  name: string,
  nodes: readonly Node[],
  fields: Fields,
  scope: Scope,
  window: Window,
  over: string,
): Expression {
  if (fields['agg_distinct'] === true || nodes.length > 1 || (nodes.length === 0 && fields['agg_star'] !== true))
    throw new Forward('unproven-function', `${name} OVER with DISTINCT or other arguments`);
  const node = nodes[0];
  const operand = node === undefined ? null : t.term(node, scope);
  const filter = fields['agg_filter'] === undefined ? null : t.condition(fields['agg_filter'] as Node, scope);
  // Of 0 and -0 either is the smallest.
  if (operand !== null && !isUntyped(operand) && operand.facts.family === 'float' && name !== 'count')
    throw new Forward('unproven-function', `${name} of floats over a window`);
  if (operand !== null && !isUntyped(operand) && operand.facts.family === 'numeric')
    requireWindowed(name, operand, window);
  const filterSql = filter === null ? '' : ` FILTER (WHERE ${filter.value()})`;
  const call = callAggregate({ name, operand, isDistinct: false, filter: `${filterSql} ${over}` }, t.draft);
  const parts = [operand, filter].filter((part): part is Expression => part !== null && !isUntyped(part));
  return {
    ...call,
    isUngrouped: parts.some((part) => part.isUngrouped),
    hasAggregate: parts.some((part) => part.hasAggregate),
    relations: new Set([...call.relations, ...parts.flatMap((part) => [...part.relations])]),
  };
}

/** Sums of numerics print the scale of what is in the frame: that only grows, or is the column's. */
function requireWindowed(name: string, operand: Expression, { frame }: Window): void {
  const options = (frame['frameOptions'] as number | undefined) ?? 0;
  const isGrowing =
    (options & FRAME.nondefault) === 0 ||
    ((options & FRAME.startUnbounded) !== 0 &&
      (options & (FRAME.excludeCurrent | FRAME.excludeGroup | FRAME.excludeTies)) === 0);
  const hasScale = operand.column !== null && operand.typmod !== -1;
  const isSum = name === 'sum' || name === 'avg' || name === 'count';
  if (!isSum || (!isGrowing && !hasScale))
    throw new Forward('unproven-function', `${name} of numerics over this kind of window`);
}

interface WindowFunction {
  /** 0: that of the first argument. */
  readonly result: number;
  readonly arguments: readonly [min: number, max: number];
}

const FUNCTIONS: Readonly<Record<string, WindowFunction>> = {
  row_number: { result: OID.int8, arguments: [0, 0] },
  rank: { result: OID.int8, arguments: [0, 0] },
  dense_rank: { result: OID.int8, arguments: [0, 0] },
  percent_rank: { result: OID.float8, arguments: [0, 0] },
  cume_dist: { result: OID.float8, arguments: [0, 0] },
  ntile: { result: OID.int4, arguments: [1, 1] },
  lag: { result: 0, arguments: [1, 3] },
  lead: { result: 0, arguments: [1, 3] },
  first_value: { result: 0, arguments: [1, 1] },
  last_value: { result: 0, arguments: [1, 1] },
  nth_value: { result: 0, arguments: [2, 2] },
};

function functionOver(
  t: Translation,
  name: string,
  nodes: readonly Node[],
  fields: Fields,
  scope: Scope,
  over: string,
): Expression {
  const known = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  const [min, max] = known?.arguments ?? [1, 0];
  if (known === undefined || nodes.length < min || nodes.length > max)
    throw new Forward('unproven-function', `${name} OVER`);
  if (fields['agg_filter'] !== undefined || fields['agg_distinct'] === true || fields['agg_star'] === true)
    throw new Forward('unproven-syntax', `${name} as an aggregate`);
  if (known.result !== 0) {
    const buckets = name === 'ntile' ? constantInteger(t, nodes[0] as Node) : null;
    if (name === 'ntile' && (buckets === null || buckets < 1))
      throw new Forward('unproven-function', 'ntile of other than a constant');
    return derived(t.draft.facts(known.result), [], () => `${name}(${buckets ?? ''}) ${over}`, {
      nullable: false,
    });
  }
  const subject = t.term(nodes[0] as Node, scope);
  if (isUntyped(subject)) throw new Forward('unproven-function', `${name} of a constant without type`);
  refuseDomains([subject]);
  const position = nodes[1] === undefined ? null : constantInteger(t, nodes[1]);
  if (nodes[1] !== undefined && (position === null || position < (name === 'nth_value' ? 1 : 0)))
    throw new Forward('unproven-function', `${name} at other than a constant position`);
  const fallback = nodes[2] === undefined ? null : withType(t, t.term(nodes[2], scope), subject);
  const operands = fallback === null ? [subject] : [subject, fallback];
  return derived(
    t.draft.facts(subject.typeOid),
    operands,
    () => {
      const values = [subject.value(), ...(position === null ? [] : [String(position)])];
      return `${name}(${[...values, ...(fallback === null ? [] : [fallback.value()])].join(', ')}) ${over}`;
    },
    { collation: mergeCollations(operands) },
  );
}

function withType(t: Translation, term: Term, subject: Expression): Expression {
  if (!isUntyped(term) && term.typeOid !== subject.typeOid)
    throw new Forward('unproven-function', 'a default of another type');
  return coerce(term, subject.typeOid, t.draft);
}
