// A row of what is proven, applied to expressions: collations, errors that Postgres may have, and the SQL that is made of it.

import { OID } from '../../pg/oid.ts';
import { writeText } from './bind.ts';
import { constantOf, typeCollation } from './constants.ts';
import {
  type Collation,
  DEFAULT_COLLATION,
  type Draft,
  type Expression,
  derived,
  mergeCollations,
  requireC,
  requireDeterministic,
  isFoldable,
} from './expression.ts';
import { argumentSql, decoderOf, encoderOf, printedSql, storedSql } from './forms.ts';
import { Forward } from './forward.ts';
import { isPolymorphic } from './overload.ts';
import { proofOf, sqlFunction } from './proofs/index.ts';
import type { Proof } from './proofs/proof.ts';
import { readText } from './read.ts';
import type { Signature } from './signatures.ts';
import type { TypeFacts } from './types.ts';

/** A function, operator or cast over operands of the types it takes. Throws Forward unless it is proven. */
export function applyRow(
  signature: Signature,
  operands: readonly Expression[],
  result: number,
  draft: Draft,
): Expression {
  const proof = proofOf(signature.text);
  const isKnown = proof !== undefined && (proof.since ?? 0) * 10_000 <= draft.catalogue.server.serverVersion;
  if (!isKnown || signature.kind !== 'function' || signature.isSet) {
    const reason = /^\w+\(/.test(signature.text) ? 'unproven-function' : 'unproven-operator';
    throw new Forward(reason, signature.text);
  }
  proof.check?.(operands, draft);
  if (proof.hasPrintedElements === true) {
    const isPrinted = operands.every(
      (operand) => operand.facts.family === 'printed' || !isArray(operand.facts.oid, draft),
    );
    if (!isPrinted) throw new Forward('unproven-type', `${signature.text} of these elements`);
  }
  const facts = draft.facts(result);
  if (!isPolymorphic(signature.result)) {
    for (const [index, operand] of operands.entries())
      if (isPolymorphic(declaredAt(signature, index))) draft.needs |= operand.facts.textNeeds;
  }
  draft.needs |= proof.needs ?? 0;
  const call = collated(proof, operands, draft);
  const folded = raising(proof, operands, signature, result, draft);
  if (folded !== null) return folded;
  if (proof.js !== undefined && proof.isTotal !== true) draft.mayFail = true;
  const merged = mergeCollations(operands);
  const own = typeCollation(facts, draft);
  return derived(
    facts,
    operands,
    () =>
      proofSql(
        proof,
        signature,
        operands.map((operand) => ({ facts: operand.facts, sql: operand.value() })),
        facts,
        call,
      ),
    {
      collation: own === null ? null : (merged ?? own),
      nullable: proof.sql === undefined || operands.some((operand) => operand.nullable),
    },
  );
}

/** SQL of a row applied to stored values; `facts` are those of the result. */
export function proofSql(
  proof: Proof,
  signature: Signature,
  operands: readonly { readonly facts: TypeFacts; readonly sql: string }[],
  facts: TypeFacts,
  collated: (sql: string) => string = (sql) => sql,
): string {
  const args = operands.map((operand, index) => {
    if (isPolymorphic(declaredAt(signature, index))) return printedSql(operand.facts, operand.sql);
    return proof.js === undefined ? operand.sql : argumentSql(operand.facts.oid, operand.sql);
  });
  const sql = proof.sql === undefined ? `${sqlFunction(proof.of)}(${args.join(', ')})` : collated(proof.sql(...args));
  return isPolymorphic(signature.result) ? storedSql(facts, sql) : sql;
}

function isArray(typeOid: number, draft: Draft): boolean {
  return draft.catalogue.resolveType(typeOid)?.isArray === true;
}

function declaredAt(signature: Signature, index: number): number {
  return signature.parameters[Math.min(index, signature.parameters.length - 1)] as number;
}

const C_OID = 950;
const POSIX_OID = 951;

/** Checks the collation; gives what has to be made of the SQL for it. */
function collated(proof: Proof, operands: readonly Expression[], draft: Draft): (sql: string) => string {
  const asIs = (sql: string): string => sql;
  if (proof.collation === undefined) return asIs;
  const collation: Collation | 'conflict' | null = mergeCollations(operands);
  if (proof.collation === 'bytes') requireDeterministic(collation);
  else if (proof.collation === 'c') requireC(collation);
  else if (collation === null || collation === 'conflict') throw new Forward('collation', 'the collation is ambiguous');
  else if (collation.oid !== C_OID && collation.oid !== POSIX_OID) {
    if (collation.oid !== DEFAULT_COLLATION || !draft.shadows.isCaseAscii) {
      throw new Forward('collation', 'letters change case by a locale');
    }
    if (proof.collation === 'ascii') return asIs;
    draft.mayFail = true;
    return (sql) => `skerry_${sql}`;
  }
  return asIs;
}

/** Decides about errors that Postgres may have. A call of constants is made now: Postgres does it even if there is no row. */
function raising(
  proof: Proof,
  operands: readonly Expression[],
  signature: Signature,
  resultOid: number,
  draft: Draft,
): Expression | null {
  const { raises } = proof;
  if (raises === undefined || raises === false) return null;
  if (typeof raises === 'function') {
    const constants = operands.map((operand) => (operand.constant === null ? null : draft.bake(operand.constant)));
    if (!raises(constants)) return null;
  }
  const isConstant = operands.every((operand) => operand.relations.size === 0 && !operand.hasAggregate);
  const folded = isConstant ? fold(proof, operands, signature, resultOid, draft) : null;
  if (folded === null) draft.raise(isFoldable(operands), `${proof.of} may fail`);
  return folded;
}

function fold(
  proof: Proof,
  operands: readonly Expression[],
  signature: Signature,
  resultOid: number,
  draft: Draft,
): Expression | null {
  const js = proof.js as ((...values: readonly unknown[]) => unknown) | undefined;
  if (js === undefined || operands.length === 0 || isPolymorphic(signature.result)) return null;
  const values: unknown[] = [];
  for (const [index, operand] of operands.entries()) {
    const { constant, facts } = operand;
    const declared = signature.parameters[index] ?? 0;
    if (constant === null || facts.writer === null || declared === 0 || isPolymorphic(declared)) return null;
    const stored = writeText(facts.writer, facts.oid, draft.bake(constant), draft.catalogue);
    if (stored === undefined || stored === null) return null;
    values.push(decoderOf(declared)(facts.oid === OID.int8 ? String(stored) : stored));
  }
  const facts = draft.facts(resultOid);
  let text: string;
  try {
    const result = js(...values);
    if (result === null) return null;
    text = readText(facts.reader, facts.oid === OID.int8 ? String(result as bigint) : encoderOf(resultOid)(result));
  } catch {
    return null;
  }
  const made = constantOf(resultOid, { text, start: -1 }, draft);
  const merged = mergeCollations(operands);
  return { ...made, collation: made.collation === null ? null : (merged ?? made.collation) };
}
