// Aggregates that need all values but no order: exact sums of powers for variance and deviation, bits, intervals.

import { OID } from '../../pg/oid.ts';
import { type Draft, type Expression, type Term, derived, isUntyped } from './expression.ts';
import { argumentSql } from './forms.ts';
import { Forward } from './forward.ts';

interface StatisticCall {
  readonly name: string;
  readonly operands: readonly Term[];
  readonly isDistinct: boolean;
  readonly filter: string;
}

export type AggregateResult = (call: StatisticCall, draft: Draft) => Expression;

function only({ name, operands, isDistinct }: StatisticCall): Expression {
  const [operand] = operands;
  if (operand === undefined || operands.length !== 1 || isUntyped(operand) || isDistinct) {
    throw new Forward('unproven-function', `${name} of these values`);
  }
  return operand;
}

/** Of integers and numerics: exact, with Postgres' own choice of digits. Floats depend on the order of the rows. */
function spread(call: StatisticCall, draft: Draft): Expression {
  const operand = only(call);
  const { family } = operand.facts;
  if (family !== 'integer' && family !== 'numeric')
    throw new Forward('unproven-function', `${call.name} of type ${operand.typeOid}`);
  draft.mayFail = true;
  const text = (): string => (family === 'integer' ? `CAST(${operand.value()} AS TEXT)` : operand.value());
  return derived(draft.facts(OID.numeric), [operand], () => `skerry_${call.name}(${text()})${call.filter}`);
}

function bits(call: StatisticCall): Expression {
  const operand = only(call);
  if (operand.facts.family !== 'integer')
    throw new Forward('unproven-function', `${call.name} of type ${operand.typeOid}`);
  return derived(
    operand.facts,
    [operand],
    () => `skerry_${call.name}(${argumentSql(OID.int8, operand.value())})${call.filter}`,
  );
}

export const STATISTICS: ReadonlyMap<string, AggregateResult> = new Map([
  ...['variance', 'var_samp', 'var_pop', 'stddev', 'stddev_samp', 'stddev_pop'].map((name) => [name, spread] as const),
  ...['bit_and', 'bit_or', 'bit_xor'].map((name) => [name, bits] as const),
]);
