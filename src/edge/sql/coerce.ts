// Constants, parameters and casts: how a term becomes an expression of a type, by Postgres' rules. Each cast here is compared
// with Postgres in differential.pg.test.ts.

import { OID } from '../../pg/oid.ts';
import {
  type Collation,
  type Constant,
  type Draft,
  type Expression,
  defaultCollation,
  derived,
  isUntyped,
  type Term,
  type Untyped,
} from './expression.ts';
import { Forward } from './forward.ts';
import { NEED_TIMEZONE_UTC } from './plan.ts';
import type { TypeFacts } from './types.ts';

const INTEGER_RANK = new Map<number, number>([
  [OID.int2, 1],
  [OID.int4, 2],
  [OID.int8, 3],
]);

/** Collation "C", which `name` compares by. */
const C_COLLATION: Collation = { oid: 950, isC: true, isDeterministic: true, strength: 'implicit' };

/** Collation a value of this type has when nothing says otherwise. */
export function typeCollation(facts: TypeFacts, draft: Draft): Collation | null {
  switch (facts.family) {
    case 'text':
    case 'bpchar':
      return defaultCollation(draft.catalogue);
    case 'name':
      return C_COLLATION;
    default:
      return null;
  }
}

/** A constant of a type. */
export function constantOf(typeOid: number, constant: Constant, draft: Draft): Expression {
  const facts = draft.facts(typeOid);
  const { writer, keyWriter } = facts;
  if (writer === null || keyWriter === null)
    throw new Forward('literal', `constants of type ${typeOid} are left to the core`);
  draft.check(constant, writer, typeOid);
  const { lifting } = draft;
  return derived(facts, [], () => draft.constant(constant, writer, typeOid, lifting), {
    key: () => draft.constant(constant, keyWriter, typeOid, lifting),
    collation: typeCollation(facts, draft),
    nullable: false,
    constant,
  });
}

export function nullOf(typeOid: number, draft: Draft): Expression {
  const facts = draft.facts(typeOid);
  return derived(facts, [], () => 'NULL', { key: () => 'NULL', collation: typeCollation(facts, draft) });
}

/** $(index + 1), once its type is known. */
export function parameterOf(index: number, draft: Draft): Expression {
  const typeOid = draft.parameterTypes[index] as number;
  const facts = draft.facts(typeOid);
  if (facts.oid !== typeOid) throw new Forward('parameter-type', `$${index + 1} is of a domain`);
  const { writer, keyWriter } = facts;
  const unwritable = (): never => {
    throw new Forward('parameter-type', `values of type ${typeOid} are not bound here`);
  };
  return derived(facts, [], writer === null ? unwritable : () => draft.parameter(index, writer), {
    key: keyWriter === null ? null : () => draft.parameter(index, keyWriter),
    collation: typeCollation(facts, draft),
  });
}

export function untypedTo(term: Untyped, typeOid: number, draft: Draft): Expression {
  switch (term.untyped) {
    case 'text':
      return constantOf(typeOid, term.constant, draft);
    case 'null':
      return nullOf(typeOid, draft);
    case 'parameter':
      draft.inferParameter(term.index, typeOid);
      return parameterOf(term.index, draft);
  }
}

/** What untyped terms are when nothing gives them a type. */
export function typed(term: Term, draft: Draft): Expression {
  return isUntyped(term) ? untypedTo(term, OID.text, draft) : term;
}

/** Implicit coercion, as for operands, arguments and results of CASE. Throws Forward when it is not proven. */
export function coerce(term: Term, typeOid: number, draft: Draft): Expression {
  if (isUntyped(term)) return untypedTo(term, typeOid, draft);
  if (term.typeOid === typeOid) return term;
  const from = INTEGER_RANK.get(term.typeOid);
  const to = INTEGER_RANK.get(typeOid);
  if (from !== undefined && to !== undefined && from < to) return widened(term, typeOid, draft);
  if (isTextual(term.typeOid) && isTextual(typeOid)) return relabelled(term, typeOid, draft);
  if (term.constant !== null && (from !== undefined || term.typeOid === OID.numeric)) {
    const isWider = typeOid === OID.float8 || typeOid === OID.float4 || (typeOid === OID.numeric && from !== undefined);
    if (isWider) return constantOf(typeOid, term.constant, draft);
  }
  if (from !== undefined && typeOid === OID.numeric) return printedInteger(term, OID.numeric, draft);
  throw new Forward('unproven-cast', `type ${term.typeOid} to ${typeOid}`);
}

function isTextual(typeOid: number): boolean {
  return typeOid === OID.text || typeOid === OID.varchar;
}

function widened(term: Expression, typeOid: number, draft: Draft): Expression {
  return derived(draft.facts(typeOid), [term], term.value, { nullable: term.nullable, constant: term.constant });
}

/** Same bytes under another type name; still the column, for the lane's sake. */
function relabelled(term: Expression, typeOid: number, draft: Draft): Expression {
  const facts = draft.facts(typeOid);
  const parts = { nullable: term.nullable, collation: term.collation, constant: term.constant };
  return { ...derived(facts, [term], term.value, parts), column: term.column };
}

function printedInteger(term: Expression, typeOid: number, draft: Draft): Expression {
  const facts = draft.facts(typeOid);
  return derived(facts, [term], () => `CAST(${term.value()} AS TEXT)`, {
    nullable: term.nullable,
    collation: typeCollation(facts, draft),
  });
}

/** An explicit cast: `x::type`. `typmod` -1 when none was written. */
export function cast(term: Term, typeOid: number, typmod: number, draft: Draft): Expression {
  if (typmod !== -1) {
    // varchar(n) cuts; other modifiers round, pad or refuse.
    if (typeOid !== OID.varchar) throw new Forward('unproven-cast', 'a cast with a type modifier');
    const length = typmod - 4;
    if (isUntyped(term) && term.untyped !== 'null') throw new Forward('unproven-cast', 'a constant cast to varchar(n)');
    if (!isUntyped(term) && term.typeOid === OID.varchar && term.typmod === typmod) return term;
    const text = !isUntyped(term) && term.typeOid === OID.varchar ? term : cast(term, OID.varchar, -1, draft);
    return derived(text.facts, [text], () => `substr(${text.value()}, 1, ${length})`, {
      typmod,
      nullable: text.nullable,
      collation: text.collation,
    });
  }
  if (isUntyped(term)) return untypedTo(term, typeOid, draft);
  if (term.typeOid === typeOid) {
    if (term.typmod !== -1) throw new Forward('unproven-cast', 'a cast that drops a type modifier');
    return term;
  }
  const to = draft.facts(typeOid);
  const family = term.facts.family;
  const options = { nullable: term.nullable, collation: typeCollation(to, draft) };
  if (isTextual(typeOid)) {
    switch (family) {
      case 'integer':
      case 'oid':
        return printedInteger(term, typeOid, draft);
      case 'bool':
        return derived(to, [term], () => `CASE ${term.value()} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END`, options);
      case 'numeric':
      case 'uuid':
      case 'enum':
        return derived(to, [term], term.value, options);
      default:
        if (term.typeOid === OID.json || term.typeOid === OID.jsonb) return derived(to, [term], term.value, options);
    }
  }
  if (typeOid === OID.date && (family === 'timestamp' || family === 'timestamptz')) {
    // The day stands before the blank; infinities have none.
    if (family === 'timestamptz') draft.needs |= NEED_TIMEZONE_UTC;
    const sql = (): string => `substr(${term.value()}, 1, instr(${term.value()} || ' ', ' ') - 1)`;
    return derived(to, [term], sql, options);
  }
  if (family === 'bool' && typeOid === OID.int4) return derived(to, [term], term.value, options);
  if (term.typeOid === OID.int4 && typeOid === OID.bool)
    return derived(to, [term], () => `(${term.value()} <> 0)`, options);
  if (term.constant !== null && family === 'integer' && to.family === 'integer') {
    return constantOf(typeOid, term.constant, draft);
  }
  return coerce(term, typeOid, draft);
}

/** The type that CASE, COALESCE, IN and the like give their operands, as the parser selects it. */
export function commonType(terms: readonly Term[]): number {
  let typeOid = 0;
  for (const term of terms) {
    if (isUntyped(term)) continue;
    const next = term.typeOid;
    if (typeOid === 0 || next === typeOid) {
      typeOid = next;
      continue;
    }
    if (isTextual(typeOid) && isTextual(next)) continue;
    const numeric = numericRank(next) - numericRank(typeOid);
    if (Number.isNaN(numeric)) throw new Forward('unproven-cast', `types ${typeOid} and ${next} meet`);
    if (numeric > 0) typeOid = next;
  }
  return typeOid === 0 ? OID.text : typeOid;
}

/** Each numeric type converts implicitly to those of higher rank. */
function numericRank(typeOid: number): number {
  switch (typeOid) {
    case OID.int2:
      return 1;
    case OID.int4:
      return 2;
    case OID.int8:
      return 3;
    case OID.numeric:
      return 4;
    case OID.float4:
      return 5;
    case OID.float8:
      return 6;
    default:
      return Number.NaN;
  }
}
