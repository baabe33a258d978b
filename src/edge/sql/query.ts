// One query level as the planner hands it on: what it gives, and how it is written out with the output form its place needs.

import type { Expression, Term } from './expression.ts';
import type { Fields } from './parse.ts';
import type { Relation, Scope } from './scope.ts';

/** An output whose type may still depend on what it is united with. */
export interface Target {
  readonly name: string;
  readonly term: Term;
}

export interface OutputColumn {
  readonly name: string;
  readonly expression: Expression;
}

/** A condition that every result row fulfils; `relations` null, or those whose rows it chooses (ON of a LEFT JOIN). */
export interface Conjunct {
  readonly expression: Expression;
  readonly chooses: ReadonlySet<number> | null;
}

export interface Order {
  readonly expression: Expression;
  /** What SQLite sorts by. */
  readonly key: string;
  /** ` DESC NULLS LAST` and the like; without NULLS where there are none. */
  readonly direction: string;
  /** The same for something that may be NULL. */
  readonly nullableDirection: string;
}

export interface Query {
  /** Typed, unless it was planned as a branch of a UNION or the like: see `outputsOf`. */
  readonly targets: readonly Target[];
  /** SQLite text that gives these columns; none: rows without columns. */
  readonly sql: (columns: readonly string[]) => string;
  /** Text that cannot stand in a compound SELECT as it is: it has ORDER BY, LIMIT, WITH, or is a compound itself. */
  readonly isClosed: boolean;
  readonly relations: readonly Relation[];
  readonly conjuncts: readonly Conjunct[];
  readonly order: readonly Order[];
  readonly isGrouped: boolean;
  readonly hasAggregates: boolean;
  readonly isDistinct: boolean;
  readonly hasWindows: boolean;
  /** LIMIT when it is a constant. */
  readonly limit: number | null;
  readonly hasOffset: boolean;
  /** Relations of outer levels it uses. */
  readonly outer: ReadonlySet<number>;
  /** Queries inside it, wherever they stand. */
  readonly inner: readonly Query[];
  /** Postgres may find before it runs that there is no row: a condition that it could decide, LIMIT, HAVING. */
  readonly mayVanish: boolean;
  /** Not one select over relations: its rows are not bounded by the keys of `relations`. */
  readonly isCompound: boolean;
}

/** How a query is planned. */
export interface QueryPlace {
  /** Every row of it is computed, by Postgres as well as by SQLite. */
  readonly isWhole: boolean;
  /** A branch of a UNION or the like, where constants keep waiting for a type. */
  readonly isBranch: boolean;
}

export const NESTED: QueryPlace = { isWhole: false, isBranch: false };

/** What the parts of the planner share. */
export interface Planning {
  select(fields: Fields, parent: Scope | null, place: QueryPlace): Query;
  /** The query of a view: names in it are found without search_path. */
  viewQuery(fields: Fields): Query;
  /** Number of a new thing in FROM. Throws Forward when there are too many. */
  nextRelation(): number;
}

/** Outputs of a query that was not planned as a branch. */
export function outputsOf(query: Pick<Query, 'targets'>): OutputColumn[] {
  return query.targets.map(({ name, term }) => {
    if ('untyped' in term) throw new Error('an output without a type');
    return { name, expression: term };
  });
}
