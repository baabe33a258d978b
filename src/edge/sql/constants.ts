// Constants and parameters: how a term without a type of its own gets one.

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
import type { TypeFacts } from './types.ts';

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
  const { writer, keyWriter, keySql } = facts;
  if (writer === null) throw new Forward('literal', `constants of type ${typeOid} are left to the core`);
  draft.check(constant, writer, typeOid);
  const { lifting } = draft;
  const value = (): string => draft.constant(constant, writer, typeOid, lifting);
  const stored = keyWriter === null ? null : (): string => draft.constant(constant, keyWriter, typeOid, lifting);
  return derived(facts, [], value, {
    key: keySql === undefined ? stored : () => keySql(value()),
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
  const { writer, keyWriter, keySql } = facts;
  const unwritable = (): never => {
    throw new Forward('parameter-type', `values of type ${typeOid} are not bound here`);
  };
  const value = writer === null ? unwritable : (): string => draft.parameter(index, writer);
  const stored = keyWriter === null ? null : (): string => draft.parameter(index, keyWriter);
  return derived(facts, [], value, {
    key: keySql === undefined ? stored : () => keySql(value()),
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
