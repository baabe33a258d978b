// GROUP BY: what is grouped by, in how many ways (GROUPING SETS, ROLLUP, CUBE), and which columns follow from it.

import { type Expression, requireDeterministic } from './expression.ts';
import { requireNameHere } from './coverage.ts';
import { Forward } from './forward.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import { isAggregate } from './proven.ts';
import { starOf } from './resolve.ts';
import type { Relation, Scope } from './scope.ts';
import type { Translator } from './translate.ts';

/** Grouping sets of one query: each is a select of its own here. */
const SETS_COUNT_MAX = 32;

export interface Grouping {
  /** Everything that is grouped by in one of the sets, once each. */
  readonly all: readonly Expression[];
  /** One for a plain GROUP BY; several are united. None: not grouped. */
  readonly sets: readonly (readonly Expression[])[];
}

/** The GROUP BY clause of a SelectStmt. */
export function groupingOf(
  fields: Fields,
  targets: readonly Fields[],
  scope: Scope,
  translator: Translator,
): Grouping | null {
  const items = list(fields['groupClause']);
  if (items.length === 0) return null;
  let sets: Node[][] = [[]];
  for (const item of items) {
    const alternatives = setsOf(item);
    sets = sets.flatMap((set) => alternatives.map((alternative) => [...set, ...alternative]));
    if (sets.length > SETS_COUNT_MAX) throw new Forward('too-long', `more than ${SETS_COUNT_MAX} grouping sets`);
  }
  const known = new Map<Node, Expression>();
  const all = new Map<string, Expression>();
  const translate = (node: Node): Expression => {
    const before = known.get(node);
    if (before !== undefined) return before;
    const expression = translator.expression(groupNode(node, targets, scope), scope);
    requireDeterministic(expression.collation);
    requireCanonical(expression);
    if (expression.relations.size === 0) throw new Forward('unproven-syntax', 'GROUP BY a constant');
    known.set(node, expression);
    if (!all.has(expression.value())) all.set(expression.value(), expression);
    return expression;
  };
  const translated = sets.map((set) => {
    const byText = new Map(set.map(translate).map((expression) => [expression.value(), expression]));
    return [...byText.values()];
  });
  return { all: [...all.values()], sets: translated };
}

/** The sets that one item of GROUP BY stands for. */
function setsOf(item: Node): Node[][] {
  const grouping = item['GroupingSet'];
  if (grouping === undefined) return [membersOf(item)];
  const content = list(grouping['content']);
  switch ((grouping['kind'] as string | undefined) ?? 'GROUPING_SET_EMPTY') {
    case 'GROUPING_SET_EMPTY':
      return [[]];
    case 'GROUPING_SET_ROLLUP':
      return Array.from({ length: content.length + 1 }, (_, index) =>
        content.slice(0, content.length - index).flatMap(membersOf),
      );
    case 'GROUPING_SET_CUBE':
      if (content.length > 5) throw new Forward('too-long', `more than ${SETS_COUNT_MAX} grouping sets`);
      return Array.from({ length: 1 << content.length }, (_, mask) =>
        content.filter((_member, index) => (mask & (1 << index)) !== 0).flatMap(membersOf),
      );
    case 'GROUPING_SET_SETS':
      return content.flatMap(setsOf);
    default:
      throw new Forward('unproven-syntax', 'this kind of grouping set');
  }
}

/** `(a, b)` is two things to group by. */
function membersOf(item: Node): Node[] {
  const row = item['RowExpr'];
  if (row === undefined) return [item];
  if (row['row_format'] !== 'COERCE_IMPLICIT_CAST') throw new Forward('unproven-syntax', 'GROUP BY a row');
  return [...list(row['args'])];
}

/** What a GROUP BY item means: a position, a column of FROM, else an output name, else an expression. */
function groupNode(node: Node, targets: readonly Fields[], scope: Scope): Node {
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
    requireNameHere(scope.namespace, path[0] as string, false);
    const named = targets.filter((target) => target['name'] === path[0]);
    if (named.length === 1) return named[0]?.['val'] as Node;
  }
  return node;
}

/** Whether grouping by what is printed is grouping by value. */
export function requireCanonical(expression: Expression): void {
  const hasScale = expression.facts.family === 'numeric' && expression.column !== null && expression.typmod !== -1;
  if (!expression.facts.isCanonical && !hasScale) {
    throw new Forward('unproven-type', `grouping by type ${expression.typeOid}`);
  }
}

/** Relations whose primary key is among the grouped columns: one group, one row of them. */
export function determinedBy(groups: readonly Expression[], relations: readonly Relation[]): Set<number> {
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
export function aggregatesIn(value: unknown): boolean {
  return callsIn(value, (call) => {
    const path = names(call['funcname']);
    return call['over'] === undefined && path !== null && isAggregate(path[path.length - 1] as string);
  });
}

/** Whether a window function is called at this query level. */
export function windowsIn(value: unknown): boolean {
  return callsIn(value, (call) => call['over'] !== undefined);
}

function callsIn(value: unknown, isMeant: (call: Fields) => boolean): boolean {
  if (Array.isArray(value)) return value.some((each) => callsIn(each, isMeant));
  if (typeof value !== 'object' || value === null) return false;
  for (const [kind, fields] of Object.entries(value)) {
    if (kind === 'SubLink' || kind === 'RangeSubselect') continue;
    if (kind === 'FuncCall' && isMeant(fields as Fields)) return true;
    if (callsIn(fields, isMeant)) return true;
  }
  return false;
}
