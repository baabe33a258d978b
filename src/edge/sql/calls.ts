// Calls: functions, aggregates and what the session knows.

import { OID } from '../../pg/oid.ts';
import { DATE_FIELDS, TIME_FIELDS, TRUNCATIONS } from './calendar.ts';
import { cast } from './coerce.ts';
import { type Expression, derived, isUntyped, mergeCollations } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, type Node, list, names } from './parse.ts';
import { NEED_TIMEZONE_UTC, type SessionValue } from './plan.ts';
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
  if (fields['agg_within_group'] === true || fields['agg_order'] !== undefined || fields['func_variadic'] === true) {
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
  if (name === 'extract' || name === 'date_part' || name === 'date_trunc') return calendar(t, name, nodes, scope);
  if (name === 'concat') return concat(t, nodes, scope);
  return callFunction(
    name,
    nodes.map((node) => t.term(node, scope)),
    t.draft,
  );
}

/** EXTRACT, date_part and date_trunc of a field that is a constant. */
export function calendar(t: Translation, name: string, nodes: readonly Node[], scope: Scope): Expression {
  const [fieldTerm, operand] = nodes.map((node) => t.term(node, scope));
  if (nodes.length !== 2 || fieldTerm === undefined || operand === undefined || isUntyped(operand)) {
    throw new Forward('unproven-function', `${name} of these types`);
  }
  if (!isUntyped(fieldTerm) || fieldTerm.untyped !== 'text')
    throw new Forward('unproven-function', `${name} of a computed field`);
  const field = t.draft.bake(fieldTerm.constant);
  const { family } = operand.facts;
  const isStamp = family === 'timestamp' || family === 'timestamptz';
  const isKnown =
    name === 'date_trunc'
      ? isStamp && TRUNCATIONS.has(field)
      : (isStamp || (family === 'date' && name === 'extract')) &&
        (DATE_FIELDS.has(field) || (isStamp && TIME_FIELDS.has(field)));
  if (!isKnown) throw new Forward('unproven-function', `${name}(${field}) of type ${operand.typeOid}`);
  if (name === 'date_part' && (field === 'epoch' || field === 'second')) {
    throw new Forward('unproven-function', 'date_part of a fraction');
  }
  if (family === 'timestamptz') t.draft.needs |= NEED_TIMEZONE_UTC;
  // Infinities and years beyond 9999 are left to the core.
  t.draft.mayFail = true;
  const call = name === 'date_trunc' ? 'skerry_truncate_to' : 'skerry_extract';
  const sql = (): string => `${call}('${field}', ${operand.value()})`;
  const typeOid = name === 'date_trunc' ? operand.typeOid : name === 'extract' ? OID.numeric : OID.float8;
  const value = name === 'date_part' ? (): string => `CAST(${sql()} AS REAL)` : sql;
  return derived(t.draft.facts(typeOid), [operand], value, { nullable: operand.nullable });
}

/** concat(): NULLs count for nothing. */
function concat(t: Translation, nodes: readonly Node[], scope: Scope): Expression {
  const parts = nodes.map((node) => {
    const term = t.term(node, scope);
    if (isUntyped(term) && term.untyped !== 'text')
      throw new Forward('unproven-function', 'concat of NULL or a parameter');
    if (!isUntyped(term) && term.facts.family === 'bool')
      throw new Forward('unproven-function', 'concat prints booleans as t and f');
    return cast(term, OID.text, -1, t.draft);
  });
  if (parts.length === 0) throw new Forward('unproven-function', 'concat of nothing');
  const text = t.draft.facts(OID.text);
  const sql = (): string => `(${parts.map((part) => `ifnull(${part.value()}, '')`).join(' || ')})`;
  return derived(text, parts, sql, { collation: mergeCollations(parts), nullable: false });
}

export function aggregate(
  t: Translation,
  name: string,
  nodes: readonly Node[],
  fields: Fields,
  scope: Scope,
): Expression {
  if (scope.aggregates !== 'allowed' || nodes.length > 1)
    throw new Forward('unproven-syntax', `${name} stands where it may not`);
  if (nodes.length === 0 && fields['agg_star'] !== true) throw new Forward('unproven-function', `${name}()`);
  // Inside an aggregate every column may be used, and no other aggregate.
  const grouped = scope.grouped;
  scope.aggregates = 'refused';
  try {
    const node = nodes[0];
    const operand = node === undefined ? null : t.term(node, scope);
    const filter = fields['agg_filter'] === undefined ? null : t.condition(fields['agg_filter'] as Node, scope);
    for (const part of [operand, filter]) {
      if (part !== null && !isUntyped(part) && isFromOutside(part, scope)) {
        throw new Forward('unproven-syntax', 'an aggregate over columns of an outer query');
      }
    }
    const call = callAggregate(
      {
        name,
        operand,
        isDistinct: fields['agg_distinct'] === true,
        filter: filter === null ? '' : ` FILTER (WHERE ${filter.value()})`,
      },
      t.draft,
    );
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
