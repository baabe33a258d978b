// A query in FROM: its outputs become columns that are called c0, c1 … in SQLite, with k0 … where a second form is carried.

import { type Draft, type Expression, isFoldable } from './expression.ts';
import { Forward } from './forward.ts';
import type { OutputColumn } from './query.ts';
import type { Relation, RelationColumn } from './scope.ts';

/** A column that does not know yet under which alias it will be read. */
export interface CarriedColumn {
  readonly column: Omit<RelationColumn, 'value' | 'key'>;
  /** Where the comparison form comes from: the value itself, k<n>, the value by `skerry_key`; or there is none. */
  readonly key: 'value' | 'carried' | 'computed' | 'none';
}

export interface Carried {
  /** What the inner query writes. */
  readonly written: readonly string[];
  readonly columns: readonly CarriedColumn[];
}

/** `mayCarry` false where a second form would change what the query means (DISTINCT, compounds). */
export function carry(outputs: readonly OutputColumn[], mayCarry: boolean): Carried {
  const written: string[] = [];
  const columns = outputs.map(({ name, expression }, index): CarriedColumn => {
    written.push(`${expression.value()} AS c${index}`);
    // A column's key is there already; computing another's only when it is needed costs less.
    const isCarried = mayCarry && expression.column !== null && keyForm(expression) === 'computed';
    if (isCarried && expression.key !== null) written.push(`${expression.key()} AS k${index}`);
    return {
      column: columnOf(name, expression),
      key: isCarried && expression.key !== null ? 'carried' : keyForm(expression),
    };
  });
  return { written, columns };
}

/** The columns under SQLite's alias `t<id>`; `names` gives the first of them other names. */
export function derivedRelation(
  id: number,
  alias: string,
  columns: readonly CarriedColumn[],
  names: readonly string[],
): Relation {
  return {
    id,
    alias,
    schema: null,
    columns: renamed(
      columns.map(({ column, key }, index): RelationColumn => {
        const value = `t${id}.c${index}`;
        return { ...column, value, key: keySql(key, value, `t${id}.k${index}`) };
      }),
      names,
    ),
    table: null,
    isOptional: false,
  };
}

/** What an alias with a column list does. */
export function renamed<T extends { readonly name: string }>(columns: readonly T[], names: readonly string[]): T[] {
  if (names.length > columns.length) throw new Forward('unknown-column', 'an alias names more columns than there are');
  return columns.map((column, index) => ({ ...column, name: names[index] ?? column.name }));
}

function keySql(key: CarriedColumn['key'], value: string, carried: string): string | null {
  if (key === 'none') return null;
  return key === 'value' ? value : key === 'carried' ? carried : `skerry_key(${value})`;
}

function keyForm({ facts }: Expression): 'value' | 'computed' | 'none' {
  if (facts.writer === null) return 'none';
  // char(n) loses its blanks when the column is read.
  return facts.keyWriter === 'numeric-key' ? 'computed' : 'value';
}

function columnOf(name: string, expression: Expression): Omit<RelationColumn, 'value' | 'key'> {
  const { collation } = expression;
  return {
    name,
    typeOid: expression.typeOid,
    typmod: expression.typmod,
    clientTypmod: expression.isPlain ? (expression.column?.clientTypmod ?? -1) : expression.typmod,
    collation: collation === 'conflict' || collation === null ? collation : { ...collation, strength: 'implicit' },
    tableOid: expression.isPlain ? (expression.column?.tableOid ?? 0) : 0,
    attnum: expression.isPlain ? (expression.column?.attnum ?? 0) : 0,
    notNull: !expression.nullable,
    isReplicated: true,
    mayFold: isFoldable([expression]),
  };
}

/** What is united out of several expressions of one type. Its value is read as a column, never written. */
export function unitedExpression(first: Expression, others: readonly Expression[], draft: Draft): Expression {
  const all = [first, ...others];
  return {
    ...first,
    facts: draft.facts(first.typeOid),
    typmod: all.every((each) => each.typmod === first.typmod) ? first.typmod : -1,
    nullable: all.some((each) => each.nullable),
    column: null,
    isPlain: false,
    constant: null,
    equality: null,
    isUngrouped: false,
    hasAggregate: false,
  };
}
