// CASE, COALESCE, GREATEST, LEAST: one of several expressions, and the type that all of them get. COLLATE.

import { coerce, commonType } from './coerce.ts';
import { compare, orderKey } from './compare.ts';
import { type Expression, type Term, derived, isUntyped, mergeCollations, requireC } from './expression.ts';
import { Forward } from './forward.ts';
import { type Fields, type Node, list, names } from './parse.ts';
import type { Scope } from './scope.ts';
import type { Translation } from './translation.ts';

/** A CoalesceExpr node. */
export function coalesce(t: Translation, fields: Fields, scope: Scope): Expression {
  const terms = list(fields['args']).map((each) => t.term(each, scope));
  const results = common(t, terms);
  const made = oneOf(
    t,
    results,
    () => (results.length === 1 ? '' : `coalesce(${results.map((each) => each.value()).join(', ')})`),
    {
      nullable: results.every((each) => each.nullable),
      typmod: commonTypmod(results, !results.every(isUnfoldable)),
    },
  );
  return isConstant(results[0] as Expression) ? { ...made, mayFold: true } : made;
}

function isConstant({ relations, hasAggregate }: Expression): boolean {
  return relations.size === 0 && !hasAggregate;
}

/** A CaseExpr node. */
export function caseOf(t: Translation, fields: Fields, scope: Scope): Expression {
  // What CASE compares is a text when nothing says otherwise, whatever it is compared with.
  const subject = fields['arg'] === undefined ? null : t.expression(fields['arg'] as Node, scope);
  const conditions: Expression[] = [];
  const results: Term[] = [];
  for (const node of list(fields['args'])) {
    const when = node['CaseWhen'] as Fields;
    const condition = when['expr'] as Node;
    conditions.push(
      subject === null ? t.condition(condition, scope) : compare('=', subject, t.term(condition, scope), t.draft),
    );
    results.push(t.term(when['result'] as Node, scope));
  }
  const otherwise = fields['defresult'] as Node | undefined;
  const last: Term = otherwise === undefined ? { untyped: 'null' } : t.term(otherwise, scope);
  // The result of ELSE is looked at first when the common type is chosen.
  const [end, ...rest] = common(t, [last, ...results]) as [Expression, ...Expression[]];
  const sql = (): string =>
    `CASE ${rest.map((result, index) => `WHEN ${conditions[index]?.value()} THEN ${result.value()}`).join(' ')} ELSE ${end.value()} END`;
  const merged = oneOf(t, [end, ...rest], sql, { nullable: true, typmod: commonTypmod([end, ...rest], true) });
  return {
    ...derived(merged.facts, [merged, ...conditions], sql, {
      typmod: merged.typmod,
      collation: merged.collation,
      key: merged.key,
    }),
    ...(conditions.some(isConstant) ? { mayFold: true } : {}),
  };
}

/** GREATEST, LEAST: NULLs are passed over. */
export function extreme(t: Translation, fields: Fields, scope: Scope): Expression {
  const operandsOf = common(
    t,
    list(fields['args']).map((each) => t.term(each, scope)),
  );
  const facts = (operandsOf[0] as Expression).facts;
  const collation = mergeCollations(operandsOf);
  requireC(collation);
  if (!facts.isOrdered) throw new Forward('unproven-type', `GREATEST or LEAST of type ${facts.oid}`);
  if (!facts.isCanonical || facts.family === 'enum' || facts.keySql !== undefined) {
    // Of equal values the first is taken, which SQLite's own functions do not promise.
    t.draft.mayFail = true;
    const op = fields['op'] === 'IS_LEAST' ? 'least' : 'greatest';
    return derived(
      facts,
      operandsOf,
      () =>
        `skerry_extreme('${op}', ${operandsOf.map((each) => `${each.value()}, ${orderKey(each, t.draft)}`).join(', ')})`,
      { collation, typmod: commonTypmod(operandsOf, true) },
    );
  }
  const name = fields['op'] === 'IS_LEAST' ? 'min' : 'max';
  // SQLite's give NULL when one is NULL: so each stands in for the others.
  const rotated = (): string[] =>
    operandsOf.map((_, first) => {
      const turn = [...operandsOf.slice(first), ...operandsOf.slice(0, first)];
      return turn.length === 1
        ? (turn[0] as Expression).value()
        : `coalesce(${turn.map((each) => each.value()).join(', ')})`;
    });
  const value = (): string => (operandsOf.length === 1 ? (rotated()[0] as string) : `${name}(${rotated().join(', ')})`);
  return derived(facts, operandsOf, value, { collation, typmod: commonTypmod(operandsOf, true) });
}

export function common(t: Translation, terms: readonly Term[]): Expression[] {
  const typeOid = commonType(terms, t.draft);
  return terms.map((term) => coerce(term, typeOid, t.draft));
}

/** An expression that is one of several of a type: it compares only where its printed form does. */
function oneOf(
  t: Translation,
  results: readonly Expression[],
  value: () => string,
  parts: { nullable: boolean; typmod: number },
): Expression {
  const only = results[0] as Expression;
  if (results.length === 1)
    return derived(only.facts, results, only.value, { ...parts, key: only.key, collation: only.collation });
  return derived(only.facts, results, value, { ...parts, collation: mergeCollations(results) });
}

/** A CollateClause node: COLLATE "C" and nothing else. */
export function collate(t: Translation, fields: Fields, scope: Scope): Expression {
  const path = names(fields['collname']);
  const name = path?.[path.length - 1];
  const isKnown =
    path !== null && (path.length === 1 || path[0] === 'pg_catalog') && (name === 'C' || name === 'POSIX');
  if (!isKnown) throw new Forward('collation', 'a collation other than C');
  const operand = t.term(fields['arg'] as Node, scope);
  if (isUntyped(operand)) throw new Forward('parameter-type', 'COLLATE on a constant without type');
  if (operand.facts.family !== 'text') throw new Forward('collation', 'COLLATE on other than text');
  refuseDomains([operand]);
  // Another collation than the table's: column and origin stay, order changes.
  return {
    ...operand,
    isPlain: false,
    collation: { oid: name === 'C' ? 950 : 951, isC: true, isDeterministic: true, strength: 'explicit' },
  };
}

/**
 * Modifier of an expression that is one of several. Postgres derives it after it has folded constants, so that
 * `CASE WHEN true THEN a.v ELSE 'x' END` has that of a.v. Where that could matter the core is asked: `isFoldable` says
 * whether a constant may decide which of them it is.
 */
export function commonTypmod(results: readonly Expression[], isFoldable: boolean): number {
  refuseDomains(results);
  const first = results[0]?.typmod ?? -1;
  if (results.every((result) => result.typmod === first)) return first;
  if (isFoldable) throw new Forward('unproven-type', 'results with different type modifiers');
  return -1;
}

/** Columns, and constants that are not NULL, stay what they are. */
function isUnfoldable(result: Expression, index: number, results: readonly Expression[]): boolean {
  return result.column !== null || (index === results.length - 1 && result.constant !== null);
}

/** A domain's own modifier shows again where an expression keeps the domain as its type. */
export function refuseDomains(operands: readonly Expression[]): void {
  for (const { isPlain, column, typmod } of operands) {
    if (isPlain && column?.clientTypmod !== typmod) throw new Forward('unproven-type', 'a domain with a type modifier');
  }
}
