// Calls: functions, aggregates and what the session knows.

import { OID } from '../../pg/oid.ts';
import { callListAggregate, isListAggregate } from './aggregates.ts';
import { type Expression, derived, isUntyped } from './expression.ts';
import { Forward } from './forward.ts';
import { isJsonCall, jsonCall } from './json-calls.ts';
import { orderOf } from './order.ts';
import { type Fields, type Node, list, names } from './parse.ts';
import type { SessionValue } from './plan.ts';
import { callAggregate, isAggregate } from './proven.ts';
import { callFunction } from './proven-call.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';
import { windowCall } from './windows.ts';

/** A FuncCall node: a function or an aggregate. */
export function call(t: Translation, fields: Fields, scope: Scope): Expression {
  const path = names(fields['funcname']);
  if (path === null || path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) {
    throw new Forward('unproven-function', 'a function of another schema');
  }
  const name = path[path.length - 1] as string;
  const isOrdered = fields['agg_order'] !== undefined && (fields['over'] !== undefined || !isListAggregate(name));
  if (fields['agg_within_group'] === true || isOrdered || fields['func_variadic'] === true) {
    throw new Forward('unproven-syntax', `${name} with ORDER BY or VARIADIC`);
  }
  if (path.length === 1) t.draft.requireBuiltIn('function', name);
  const nodes = list(fields['args']);
  if (fields['over'] !== undefined) return windowCall(t, name, nodes, fields, scope);
  if (isAggregate(name)) return aggregate(t, name, nodes, fields, scope);
  if (fields['agg_distinct'] === true || fields['agg_filter'] !== undefined || fields['agg_star'] === true) {
    throw new Forward('unproven-syntax', `${name} as an aggregate`);
  }
  if (nodes.length === 0) {
    const sessionValue = SESSION_FUNCTIONS.get(name);
    if (sessionValue !== undefined) return sessionText(t, sessionValue);
  }
  const terms = nodes.map((node) => t.term(node, scope));
  return isJsonCall(name) ? jsonCall(name, terms, t.draft) : callFunction(name, terms, t.draft);
}

export function aggregate(
  t: Translation,
  name: string,
  nodes: readonly Node[],
  fields: Fields,
  scope: Scope,
): Expression {
  const isList = isListAggregate(name);
  if (scope.aggregates !== 'allowed' || (nodes.length > 1 && !isList))
    throw new Forward('unproven-syntax', `${name} stands where it may not`);
  if (nodes.length === 0 && fields['agg_star'] !== true) throw new Forward('unproven-function', `${name}()`);
  // Inside an aggregate every column may be used, and no other aggregate.
  const grouped = scope.grouped;
  scope.aggregates = 'refused';
  try {
    const operands = nodes.map((node) => t.term(node, scope));
    const operand = operands[0] ?? null;
    const order = isList ? orderOf(list(fields['agg_order']), null, scope, { draft: t.draft, translator: t }) : [];
    const filter = fields['agg_filter'] === undefined ? null : t.condition(fields['agg_filter'] as Node, scope);
    for (const part of [...operands, ...order.map((each) => each.expression), filter]) {
      if (part !== null && !isUntyped(part) && isFromOutside(part, scope)) {
        throw new Forward('unproven-syntax', 'an aggregate over columns of an outer query');
      }
    }
    const isDistinct = fields['agg_distinct'] === true;
    const filterSql = filter === null ? '' : ` FILTER (WHERE ${filter.value()})`;
    const call = isList
      ? callListAggregate({ name, operands, isDistinct, order, filter: filterSql }, scope, t.draft)
      : callAggregate({ name, operand, isDistinct, filter: filterSql }, t.draft);
    return { ...call, hasAggregate: true, isUngrouped: false };
  } finally {
    scope.aggregates = 'allowed';
    scope.grouped = grouped;
  }
}

/** A SQLValueFunction node. */
export function sessionValue(t: Translation, fields: Fields): Expression {
  switch (fields['op'] as string) {
    case 'SVFOP_CURRENT_USER':
    case 'SVFOP_USER':
    case 'SVFOP_CURRENT_ROLE':
      return sessionText(t, 'current_user');
    case 'SVFOP_SESSION_USER':
      return sessionText(t, 'session_user');
    case 'SVFOP_CURRENT_CATALOG':
      return sessionText(t, 'current_database');
    case 'SVFOP_CURRENT_SCHEMA':
      return sessionText(t, 'current_schema');
    default:
      throw new Forward('unproven-function', 'the time of day');
  }
}

function sessionText(t: Translation, name: SessionValue): Expression {
  const facts = t.draft.facts(OID.name);
  return derived(facts, [], () => t.draft.session(name), {
    collation: { oid: 950, isC: true, isDeterministic: true, strength: 'implicit' },
  });
}

const SESSION_FUNCTIONS = new Map<string, SessionValue>([
  ['current_database', 'current_database'],
  ['current_schema', 'current_schema'],
]);

function isFromOutside(expression: Expression, scope: Scope): boolean {
  const own = new Set(scope.namespace.relations.map((relation) => relation.id));
  return [...expression.relations].some((relation) => !own.has(relation));
}
