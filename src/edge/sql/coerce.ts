// Casts: how a term becomes an expression of another type, by Postgres' rules.

import { builtinType, OID } from '../../pg/oid.ts';
import { applyRow } from './applied.ts';
import { constantOf, typeCollation, untypedTo } from './constants.ts';
import { type Draft, type Expression, derived, isUntyped, type Term, isFoldable } from './expression.ts';
import { Forward } from './forward.ts';
import { fitNum, formatNum, parseNum } from './decimal.ts';
import { printedSql } from './forms.ts';
import { printedNumber } from './json-text.ts';
import { categoryOf, isCoercible, isPreferred } from './overload.ts';
import { proofOf } from './proofs/index.ts';
import { IMPLICIT_CASTS, type Signature } from './signatures.ts';

const INTEGER_RANK = new Map<number, number>([
  [OID.int2, 1],
  [OID.int4, 2],
  [OID.int8, 3],
]);

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
  if (IMPLICIT_CASTS.has(`${term.typeOid}>${typeOid}`)) {
    const proven = castProof(term, typeOid, draft);
    if (proven !== null) return proven;
  }
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
    if (!isUntyped(term) && term.typeOid === typeOid && term.typmod === typmod) return term;
    // What a column's own modifier was does not matter to the new one.
    const base = !isUntyped(term) && term.typeOid === typeOid ? term : cast(term, typeOid, -1, draft);
    return modified(base, typmod, draft);
  }
  if (isUntyped(term)) return untypedTo(term, typeOid, draft);
  if (term.typeOid === typeOid) {
    if (term.typmod !== -1) throw new Forward('unproven-cast', 'a cast that drops a type modifier');
    return term;
  }
  const to = draft.facts(typeOid);
  const { family } = term.facts;
  const options = { nullable: term.nullable, collation: typeCollation(to, draft) };
  if (family === 'bool' && typeOid === OID.int4) return derived(to, [term], term.value, options);
  if (term.typeOid === OID.int4 && typeOid === OID.bool)
    return derived(to, [term], () => `(${term.value()} <> 0)`, options);
  if (term.constant !== null && family === 'integer' && to.family === 'integer') {
    return constantOf(typeOid, term.constant, draft);
  }
  // A number that was written is read again, as what it becomes.
  if (term.constant !== null && (family === 'integer' || family === 'numeric') && to.family === 'float') {
    return constantOf(typeOid, term.constant, draft);
  }
  const proven = castProof(term, typeOid, draft);
  if (proven !== null) return proven;
  if (isTextual(typeOid) || typeOid === OID.bpchar) {
    if (family === 'integer' || family === 'oid') return printedInteger(term, typeOid, draft);
    if (isTextual(term.typeOid) || family === 'bpchar') return coerce(term, typeOid, draft);
    // By the type's own output function.
    draft.needs |= term.facts.textNeeds;
    return derived(to, [term], () => printedSql(term.facts, term.value()), options);
  }
  if (isTextual(term.typeOid) && to.writer !== null) return readingCast(term, typeOid, draft);
  return coerce(term, typeOid, draft);
}

/** text → any type, by that type's input function. What it does not read the same everywhere is left to the core. */
function readingCast(term: Expression, typeOid: number, draft: Draft): Expression {
  const facts = draft.facts(typeOid);
  if (facts.family === 'enum') throw new Forward('unproven-cast', 'a text as an enum');
  draft.raise(isFoldable([term]), 'a text that may not be of the type');
  draft.needs |= facts.textNeeds;
  return derived(facts, [term], () => `skerry_read(${typeOid}, ${term.value()})`, { nullable: term.nullable });
}

function castProof(term: Expression, typeOid: number, draft: Draft): Expression | null {
  const from = builtinType(term.typeOid)?.name;
  const to = builtinType(typeOid)?.name;
  if (from === undefined || to === undefined) return null;
  const text = `${from}::${to}`;
  if (proofOf(text) === undefined) return null;
  const signature: Signature = {
    name: '',
    text,
    parameters: [term.typeOid],
    result: typeOid,
    isVariadic: false,
    defaults: 0,
    isSet: false,
    kind: 'function',
    isStrict: true,
  };
  return applyRow(signature, [term], typeOid, draft);
}

/** A value made to fit a type's modifier, as an explicit cast does. */
function modified(base: Expression, typmod: number, draft: Draft): Expression {
  const parts = { typmod, nullable: base.nullable, collation: base.collation };
  switch (base.typeOid) {
    case OID.varchar:
      return derived(base.facts, [base], () => `substr(${base.value()}, 1, ${typmod - 4})`, parts);
    case OID.bpchar:
      return derived(base.facts, [base], () => `skerry_pad(${base.value()}, ${typmod - 4})`, parts);
    case OID.varbit:
      return derived(base.facts, [base], () => `substr(${base.value()}, 1, ${typmod})`, parts);
    case OID.timestamp:
    case OID.timestamptz:
    case OID.time:
      draft.mayFail = true;
      return derived(base.facts, [base], () => `skerry_round_time(${base.typeOid}, ${base.value()}, ${typmod})`, parts);
    case OID.numeric: {
      const precision = ((typmod - 4) >> 16) & 0xffff;
      const scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
      if (base.constant === null) draft.raise(isFoldable([base]), 'a number that may not fit');
      if (base.constant !== null) {
        let text: string;
        try {
          text = formatNum(fitNum(parseNum(printedNumber(draft.bake(base.constant))), precision, scale));
        } catch {
          throw new Forward('may-fail', 'a number that does not fit');
        }
        return { ...constantOf(OID.numeric, { text, start: -1 }, draft), typmod, constant: null };
      }
      draft.mayFail = true;
      return derived(base.facts, [base], () => `skerry_fit(${base.value()}, ${precision}, ${scale})`, parts);
    }
    default:
      throw new Forward('unproven-cast', 'a cast with a type modifier');
  }
}

/** The type that CASE, COALESCE, IN and the like give their operands, as the parser selects it (select_common_type). */
export function commonType(terms: readonly Term[], draft: Draft): number {
  const { catalogue } = draft;
  let typeOid = 0;
  for (const term of terms) {
    if (isUntyped(term)) continue;
    const next = term.typeOid;
    if (typeOid === 0) typeOid = next;
    if (next === typeOid) continue;
    if (categoryOf(typeOid, catalogue) !== categoryOf(next, catalogue)) {
      throw new Forward('unproven-cast', `types ${typeOid} and ${next} meet`);
    }
    if (!isPreferred(typeOid) && isCoercible(typeOid, next, catalogue) && !isCoercible(next, typeOid, catalogue))
      typeOid = next;
  }
  return typeOid === 0 ? OID.text : typeOid;
}
