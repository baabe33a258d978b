// Aggregates whose result depends on the order of their values, and those of more than one value. Without an order that leaves
// nothing open, Postgres promises none either, and the core is asked.

import { OID } from '../../pg/oid.ts';
import { type AggregateResult, STATISTICS } from './statistics.ts';
import { refuseDomainElements } from './array-expressions.ts';
import { orderKey } from './compare.ts';
import { coerce } from './coerce.ts';
import { typeCollation, untypedTo } from './constants.ts';
import {
  type Draft,
  type Expression,
  type Term,
  derived,
  isUntyped,
  requireC,
  requireDeterministic,
} from './expression.ts';
import { printedSql } from './forms.ts';
import { Forward } from './forward.ts';
import { jsonSql, requireKey } from './json-calls.ts';
import type { Order } from './query.ts';
import type { Scope } from './scope.ts';
import { arrayOf } from './types.ts';

export interface ListCall {
  readonly name: string;
  readonly operands: readonly Term[];
  readonly isDistinct: boolean;
  readonly order: readonly Order[];
  /** SQL of FILTER (WHERE …), or ''. */
  readonly filter: string;
}

const NAMES = new Set(['string_agg', 'array_agg', 'json_agg', 'jsonb_agg', 'json_object_agg', 'jsonb_object_agg']);

export function isListAggregate(name: string): boolean {
  return NAMES.has(name) || STATISTICS.has(name);
}

export function callListAggregate(call: ListCall, scope: Scope, draft: Draft): Expression {
  const terms = call.operands.map((term) => (isUntyped(term) && call.name !== 'string_agg' ? refused() : term));
  const statistic: AggregateResult | undefined = STATISTICS.get(call.name);
  if (statistic !== undefined) return statistic(call, draft);
  draft.mayFail = true;
  switch (call.name) {
    case 'string_agg':
      return stringAgg(call, terms, scope, draft);
    case 'array_agg': {
      const [operand] = typed(terms, 1, draft);
      const arrayOid = arrayOf((operand as Expression).typeOid, draft.catalogue);
      if (operand === undefined || arrayOid === 0 || draft.catalogue.resolveType(operand.typeOid)?.isArray === true) {
        throw new Forward('unproven-function', 'array_agg of this type');
      }
      refuseDomainElements([operand], draft);
      const { distinct, order } = ordered(call, [operand], scope, draft);
      return derived(
        draft.facts(arrayOid),
        [operand],
        () => `skerry_array_agg(${distinct}${printedSql(operand.facts, operand.value())}${order()})${call.filter}`,
        { collation: operand.collation },
      );
    }
    case 'json_agg':
    case 'jsonb_agg': {
      const [operand] = typed(terms, 1, draft) as [Expression];
      if (draft.catalogue.resolveType(operand.typeOid)?.isArray === true)
        throw new Forward('unproven-type', 'JSON of arrays');
      const json = jsonSql(operand, draft);
      const { distinct, order } = ordered(call, [operand], scope, draft);
      return derived(
        draft.facts(call.name === 'json_agg' ? OID.json : OID.jsonb),
        [operand],
        () => `skerry_${call.name}(${distinct}${json()}${order()})${call.filter}`,
      );
    }
    default: {
      const operands = typed(terms, 2, draft) as [Expression, Expression];
      if (call.isDistinct) throw new Forward('unproven-function', 'DISTINCT of two values');
      requireKey(operands[0], draft);
      const pieces = operands.map((operand) => jsonSql(operand, draft));
      const { order } = ordered(call, operands, scope, draft);
      return derived(
        draft.facts(call.name === 'json_object_agg' ? OID.json : OID.jsonb),
        operands,
        () => `skerry_${call.name}(${pieces.map((piece) => piece()).join(', ')}${order()})${call.filter}`,
      );
    }
  }
}

function stringAgg(call: ListCall, terms: readonly Term[], scope: Scope, draft: Draft): Expression {
  const [first, second] = terms;
  if (first === undefined || second === undefined || terms.length !== 2 || isUntyped(first)) refused();
  const operand = coerce(first as Term, OID.text, draft);
  const by = isUntyped(second as Term)
    ? untypedTo(second as never, OID.text, draft)
    : coerce(second as Term, OID.text, draft);
  if (by.relations.size > 0)
    throw new Forward('unproven-function', 'string_agg with a delimiter of its own for each row');
  const { distinct, order } = ordered(call, [operand], scope, draft);
  const facts = draft.facts(OID.text);
  return derived(
    facts,
    [operand, by],
    () =>
      `skerry_join(skerry_array_agg(${distinct}${operand.value()}${order()}) FILTER (WHERE ${operand.value()} IS NOT NULL${filterOf(call.filter)}), ${by.value()})`,
    { collation: operand.collation ?? typeCollation(facts, draft) },
  );
}

/** The condition inside ` FILTER (WHERE …)`. */
function filterOf(filter: string): string {
  return filter === '' ? '' : ` AND (${filter.slice(' FILTER (WHERE '.length, -1)})`;
}

function typed(terms: readonly Term[], count: number, draft: Draft): Expression[] {
  if (terms.length !== count) refused();
  return terms.map((term) => (isUntyped(term) ? untypedTo(term, OID.text, draft) : term));
}

function refused(): never {
  throw new Forward('unproven-function', 'an aggregate of these values');
}

/** ` ORDER BY …` inside the call. Throws Forward unless values that stand in either order print alike. */
function ordered(
  call: ListCall,
  operands: readonly Expression[],
  scope: Scope,
  draft: Draft,
): { distinct: string; order: () => string } {
  const written =
    call.order.length === 0 ? '' : ` ORDER BY ${call.order.map((each) => each.key + each.direction).join(', ')}`;
  if (call.isDistinct) {
    const [operand] = operands as [Expression];
    requireDeterministic(operand.collation);
    requireC(operand.collation);
    // Postgres sorts what it makes distinct.
    if (!isPrintedWhole(operand) || operand.facts.keySql !== undefined || operand.facts.family === 'enum') refused();
    if (call.order.length > 1 || (call.order.length === 1 && call.order[0]?.expression.value() !== operand.value()))
      refused();
    const key = orderKey(operand, draft);
    // SQLite sorts a call that is DISTINCT by nothing but its own value.
    const value = operand.value();
    if (key !== value || operand.facts.reader !== 'text') refused();
    return { distinct: 'DISTINCT ', order: () => (written === '' ? ` ORDER BY ${value} NULLS LAST` : written) };
  }
  const isByValue = operands.every(
    (operand) => isPrintedWhole(operand) && call.order.some((each) => each.expression.value() === operand.value()),
  );
  if (!isByValue && !isByKey(call.order, scope)) {
    throw new Forward('unproven-function', `${call.name} in an order that leaves something open`);
  }
  return { distinct: '', order: () => written };
}

/** Equal values are one text. */
function isPrintedWhole({ facts, column, typmod }: Expression): boolean {
  return facts.isCanonical || (facts.family === 'numeric' && column !== null && typmod !== -1);
}

/** Ordered by the primary key of the only table there is. */
function isByKey(order: readonly Order[], scope: Scope): boolean {
  const [relation] = scope.namespace.relations;
  if (relation === undefined || relation.table === null || scope.namespace.relations.length !== 1) return false;
  const sorted = new Set(order.map((each) => each.expression.column?.attnum));
  const { primaryKeyAttnums } = relation.table;
  return primaryKeyAttnums.length > 0 && primaryKeyAttnums.every((attnum) => sorted.has(attnum));
}
