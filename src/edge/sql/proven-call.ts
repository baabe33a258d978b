// A call of a proven function or operator: its operands become what it takes.

import { OID } from '../../pg/oid.ts';
import { applyRow } from './applied.ts';
import { coerce } from './coerce.ts';
import { untypedTo } from './constants.ts';
import { type Draft, type Expression, isUntyped, type Term } from './expression.ts';
import { Forward } from './forward.ts';
import { type Chosen, chooseFunction } from './overload.ts';

/** Type for choosing among functions: `unknown` for what has none yet. */
export function typeOf(term: Term): number {
  return isUntyped(term) ? OID.unknown : term.typeOid;
}

/** A call of a plain function of pg_catalog. Throws Forward unless it is proven for these types. */
export function callFunction(name: string, terms: readonly Term[], draft: Draft): Expression {
  return applyProof(chooseFunction(name, terms.map(typeOf), draft.catalogue), terms, draft);
}

/** What Postgres has chosen, applied to `terms`. */
export function applyProof({ signature, types, result }: Chosen, terms: readonly Term[], draft: Draft): Expression {
  const operands = terms.map((term, index) => operandOf(term, types[index] as number, draft));
  return applyRow(signature, operands, result, draft);
}

function operandOf(term: Term, wanted: number, draft: Draft): Expression {
  // "any" takes what it gets; constants without type are texts there.
  if (wanted === 2276) {
    if (!isUntyped(term)) return term;
    if (term.untyped === 'parameter') throw new Forward('parameter-type', 'a parameter that any type fits');
    return untypedTo(term, OID.text, draft);
  }
  return coerce(term, wanted, draft);
}
