// Functions and aggregates that SQLite answers as Postgres does. One row each; a function that is not here is forwarded.
// Every row has cases in differential.pg.test.ts.

import { OID } from '../../pg/oid.ts';
import { coerce } from './coerce.ts';
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

/** One of several functions of a name. */
interface ProvenFunction {
  readonly name: string;
  /** Types of the parameters. `text` also takes varchar and untyped terms, `int4` also int2, by the parser's own rules. */
  readonly parameters: readonly number[];
  readonly result: number;
  readonly sql: (...operands: string[]) => string;
  /** SQLite fails where the core has to be asked. */
  readonly mayFail?: boolean;
  /** Throws Forward where the proof has conditions. */
  readonly check?: (operands: readonly Expression[], draft: Draft) => void;
}

const { text, int4, int8, bool, bytea, numeric } = OID;

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

function caseFunction(name: 'lower' | 'upper', terms: readonly Term[], draft: Draft): Expression {
  const operand = coerce(terms[0] as Term, text, draft);
  const call = asciiCase(name, [operand], draft);
  return derived(operand.facts, [operand], () => `${call}(${operand.value()})`, {
    collation: operand.collation,
    nullable: operand.nullable,
  });
}

/** Positions, lengths and scales beyond this are left to the core. */
const POSITION_MAX = 500;

function requireSameBytes(operands: readonly Expression[]): void {
  requireDeterministic(mergeCollations(operands));
}

/** The values of integer constants at these positions, which the proof depends on. */
function constants(operands: readonly Expression[], positions: readonly number[], min: number, draft: Draft): void {
  for (const position of positions) {
    const constant = operands[position]?.constant ?? null;
    const value = constant === null ? Number.NaN : Number(draft.bake(constant));
    if (!(value >= min && value <= POSITION_MAX)) {
      throw new Forward('unproven-function', 'positions that are not constants in range');
    }
  }
}

const FUNCTIONS: readonly ProvenFunction[] = [
  ...['length', 'char_length', 'character_length'].map((name) => ({
    name,
    parameters: [text],
    result: int4,
    sql: (a: string) => `length(${a})`,
  })),
  { name: 'length', parameters: [bytea], result: int4, sql: (a) => `length(${a})` },
  { name: 'octet_length', parameters: [text], result: int4, sql: (a) => `length(CAST(${a} AS BLOB))` },
  { name: 'octet_length', parameters: [bytea], result: int4, sql: (a) => `length(${a})` },
  { name: 'btrim', parameters: [text], result: text, sql: (a) => `trim(${a}, ' ')` },
  { name: 'ltrim', parameters: [text], result: text, sql: (a) => `ltrim(${a}, ' ')` },
  { name: 'rtrim', parameters: [text], result: text, sql: (a) => `rtrim(${a}, ' ')` },
  { name: 'btrim', parameters: [text, text], result: text, sql: (a, b) => `trim(${a}, ${b})` },
  { name: 'ltrim', parameters: [text, text], result: text, sql: (a, b) => `ltrim(${a}, ${b})` },
  { name: 'rtrim', parameters: [text, text], result: text, sql: (a, b) => `rtrim(${a}, ${b})` },
  ...['substr', 'substring'].flatMap((name): ProvenFunction[] => [
    {
      name,
      parameters: [text, int4],
      result: text,
      sql: (a, b) => `substr(${a}, ${b})`,
      check: (operands, draft) => constants(operands, [1], 1, draft),
    },
    {
      name,
      parameters: [text, int4, int4],
      result: text,
      sql: (a, b, c) => `substr(${a}, ${b}, ${c})`,
      check: (operands, draft) => {
        constants(operands, [1], 1, draft);
        constants(operands, [2], 0, draft);
      },
    },
  ]),
  {
    name: 'left',
    parameters: [text, int4],
    result: text,
    sql: (a, b) => `substr(${a}, 1, ${b})`,
    check: (operands, draft) => constants(operands, [1], 0, draft),
  },
  {
    name: 'right',
    parameters: [text, int4],
    result: text,
    sql: (a, b) => `substr(${a}, -${b})`,
    check: (operands, draft) => constants(operands, [1], 1, draft),
  },
  {
    name: 'replace',
    parameters: [text, text, text],
    result: text,
    // SQLite does not look at the third when the second is empty.
    sql: (a, b, c) => `CASE WHEN ${c} IS NOT NULL THEN replace(${a}, ${b}, ${c}) END`,
    check: requireSameBytes,
  },
  ...['strpos', 'position'].map((name) => ({
    name,
    parameters: [text, text],
    result: int4,
    sql: (a: string, b: string) => `instr(${a}, ${b})`,
    check: requireSameBytes,
  })),
  // Numbers that have lost their digits cannot overflow; NaN and infinities are left to the core.
  ...(
    [
      ['round', 'skerry_round'],
      ['trunc', 'skerry_truncate'],
      ['floor', 'skerry_floor'],
      ['ceil', 'skerry_ceiling'],
      ['ceiling', 'skerry_ceiling'],
    ] as const
  ).map(([name, call]) => ({
    name,
    parameters: [numeric],
    result: numeric,
    mayFail: true,
    sql: (a: string) => `${call}(${a}, 0)`,
  })),
  ...(
    [
      ['round', 'skerry_round'],
      ['trunc', 'skerry_truncate'],
    ] as const
  ).map(([name, call]) => ({
    name,
    parameters: [numeric, int4],
    result: numeric,
    mayFail: true,
    sql: (a: string, b: string) => `${call}(${a}, ${b})`,
    check: (operands: readonly Expression[], draft: Draft) => constants(operands, [1], 0, draft),
  })),
  {
    name: 'starts_with',
    parameters: [text, text],
    result: bool,
    sql: (a, b) => `(substr(${a}, 1, length(${b})) = ${b})`,
    check: requireSameBytes,
  },
];

const byName = new Map<string, ProvenFunction[]>();
for (const proven of FUNCTIONS) byName.set(proven.name, [...(byName.get(proven.name) ?? []), proven]);

/** A call of a plain function of pg_catalog. Throws Forward unless it is proven for these types. */
export function callFunction(name: string, terms: readonly Term[], draft: Draft): Expression {
  if ((name === 'lower' || name === 'upper') && terms.length === 1 && takes(text, terms[0] as Term)) {
    return caseFunction(name, terms, draft);
  }
  const candidates = byName.get(name) ?? [];
  for (const candidate of candidates) {
    if (candidate.parameters.length !== terms.length) continue;
    if (!candidate.parameters.every((parameter, index) => takes(parameter, terms[index] as Term))) continue;
    const operands = candidate.parameters.map((parameter, index) => coerce(terms[index] as Term, parameter, draft));
    candidate.check?.(operands, draft);
    if (candidate.mayFail === true) draft.mayFail = true;
    const facts = draft.facts(candidate.result);
    return derived(facts, operands, () => candidate.sql(...operands.map((operand) => operand.value())), {
      collation: candidate.result === text ? mergeCollations(operands) : null,
      nullable: operands.some((operand) => operand.nullable),
    });
  }
  throw new Forward('unproven-function', `${name} with ${terms.length} arguments of these types`);
}

function takes(parameter: number, term: Term): boolean {
  // Where several functions share a name, Postgres reads an untyped argument as text; a parameter's type is not guessed.
  if (isUntyped(term)) return parameter === text && term.untyped === 'text';
  if (parameter === text) return term.typeOid === text || term.typeOid === OID.varchar;
  if (parameter === int4) return term.typeOid === int4 || term.typeOid === OID.int2;
  return term.typeOid === parameter;
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
  return AGGREGATES.has(name);
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
      if (typeOid === numeric && !call.isDistinct)
        return derived(operand.facts, [operand], of('skerry_sum', operand.value));
      break;
    case 'avg': {
      draft.mayFail = true;
      const isInteger = operand.facts.family === 'integer';
      if (!isInteger && (typeOid !== numeric || call.isDistinct)) break;
      const sum = isInteger
        ? (): string => `CAST(${of('sum', operand.value)()} AS TEXT)`
        : of('skerry_sum', operand.value);
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
      return derived(draft.facts(typeOid === OID.varchar ? text : typeOid), [operand], of(call.name, operand.value), {
        collation: operand.collation,
      });
    case 'bool_and':
    case 'every':
    case 'bool_or':
      if (typeOid !== bool) break;
      return derived(draft.facts(bool), [operand], of(call.name === 'bool_or' ? 'max' : 'min', operand.value));
  }
  throw new Forward('unproven-function', `${call.name} of type ${typeOid}`);
}
