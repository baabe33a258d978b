// Aggregates that SQLite answers as Postgres does, and letters that change case.

import { OID } from '../../pg/oid.ts';
import { isListAggregate } from './aggregates.ts';
import { orderKey } from './compare.ts';
import {
  DEFAULT_COLLATION,
  type Draft,
  type Expression,
  derived,
  isUntyped,
  mergeCollations,
  requireC,
  requireDeterministic,
  type Term,
} from './expression.ts';
import { Forward } from './forward.ts';
import { scaledOf } from './scaled.ts';

const { int4, int8, bool, numeric } = OID;

/**
 * SQL that changes the case of ASCII letters, where that is what the collation does. Other letters depend on the locale: C
 * leaves them alone, under the database's own collation they make the statement be forwarded.
 */
export function asciiCase(name: 'lower' | 'upper', operands: readonly Expression[], draft: Draft): string {
  const collation = mergeCollations(operands);
  if (collation !== null && collation !== 'conflict') {
    if (collation.oid === 950 || collation.oid === 951) return name;
    if (collation.oid === DEFAULT_COLLATION && draft.shadows.isCaseAscii) {
      draft.mayFail = true;
      return `skerry_${name}`;
    }
  }
  throw new Forward('collation', 'letters change case by a locale');
}

export interface AggregateCall {
  readonly name: string;
  /** null for count(*). */
  readonly operand: Term | null;
  readonly isDistinct: boolean;
  /** SQL of FILTER (WHERE …), or ''. */
  readonly filter: string;
}

const MIN_MAX_TYPES = new Set<number>([
  OID.int2,
  OID.int4,
  OID.int8,
  OID.oid,
  OID.float4,
  OID.float8,
  OID.text,
  OID.varchar,
  OID.date,
  OID.time,
  OID.timestamp,
  OID.timestamptz,
]);

const AGGREGATES = new Set(['count', 'sum', 'avg', 'min', 'max', 'bool_and', 'bool_or', 'every']);

export function isAggregate(name: string): boolean {
  return AGGREGATES.has(name) || isListAggregate(name);
}

/** sum() of numerics: of whole numbers where the scale is known, which SQLite adds itself. */
function numericSum(operand: Expression, of: (name: string, sql: () => string) => () => string): () => string {
  const scaled = scaledOf(operand);
  if (scaled === null) return of('skerry_sum', operand.value);
  const sum = of('sum', scaled.sql);
  const nans = of('max', scaled.nan);
  return () => `CASE WHEN ${nans()} > 0 THEN 'NaN' ELSE skerry_scaled(CAST(${sum()} AS TEXT), ${scaled.scale}) END`;
}

/** An aggregate of pg_catalog. The result's dependence on grouped columns is the caller's. */
export function callAggregate(call: AggregateCall, draft: Draft): Expression {
  if (call.operand === null) {
    if (call.name !== 'count') throw new Forward('unproven-function', `${call.name}(*)`);
    return derived(draft.facts(int8), [], () => `count(*)${call.filter}`, { nullable: false });
  }
  if (isUntyped(call.operand)) throw new Forward('unproven-function', `${call.name} of an untyped constant`);
  const operand = call.operand;
  const { typeOid } = operand;
  const distinct = call.isDistinct ? 'DISTINCT ' : '';
  const of =
    (name: string, sql: () => string): (() => string) =>
    () =>
      `${name}(${distinct}${sql()})${call.filter}`;
  switch (call.name) {
    case 'count': {
      if (call.isDistinct) {
        requireDeterministic(operand.collation);
        if (operand.key === null)
          throw new Forward('unproven-type', 'count(DISTINCT …) of a type that does not compare');
      }
      const sql = call.isDistinct ? (operand.key as () => string) : operand.value;
      return derived(draft.facts(int8), [operand], of('count', sql), { nullable: false });
    }
    case 'sum':
      // A sum of int4 overflows in both.
      draft.mayFail = true;
      if (typeOid === OID.int2 || typeOid === int4)
        return derived(draft.facts(int8), [operand], of('sum', operand.value));
      if (typeOid === int8) {
        // SQLite refuses sums that leave 64 bits; Postgres does not, its result is numeric.
        return derived(draft.facts(OID.numeric), [operand], () => `CAST(${of('sum', operand.value)()} AS TEXT)`);
      }
      // Distinct texts are not distinct numbers.
      if (typeOid === numeric && !call.isDistinct) return derived(operand.facts, [operand], numericSum(operand, of));
      break;
    case 'avg': {
      draft.mayFail = true;
      const isInteger = operand.facts.family === 'integer';
      if (!isInteger && (typeOid !== numeric || call.isDistinct)) break;
      const sum = isInteger ? (): string => `CAST(${of('sum', operand.value)()} AS TEXT)` : numericSum(operand, of);
      const count = of('count', operand.value);
      return derived(draft.facts(numeric), [operand], () => `skerry_divide(${sum()}, CAST(${count()} AS TEXT))`);
    }
    case 'min':
    case 'max':
      // Of a declared scale, so that equal numbers print alike.
      if (typeOid === numeric && operand.column !== null && operand.typmod !== -1) {
        return derived(operand.facts, [operand], of(`skerry_${call.name}`, operand.value));
      }
      if (!MIN_MAX_TYPES.has(typeOid)) break;
      requireC(operand.collation);
      orderKey(operand, draft);
      return derived(
        draft.facts(typeOid === OID.varchar ? OID.text : typeOid),
        [operand],
        of(call.name, operand.value),
        {
          collation: operand.collation,
        },
      );
    case 'bool_and':
    case 'every':
    case 'bool_or':
      if (typeOid !== bool) break;
      return derived(draft.facts(bool), [operand], of(call.name === 'bool_or' ? 'max' : 'min', operand.value));
  }
  throw new Forward('unproven-function', `${call.name} of type ${typeOid}`);
}
