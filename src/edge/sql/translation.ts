// What the parts of the translator share: the statement under construction, and how to translate a node inside a node.

import type { Draft, Expression, Term } from './expression.ts';
import type { Fields, Node } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import type { Scope } from './scope.ts';

/** Operands of one AND or OR: SQLite nests them. */
export const OPERANDS_COUNT_MAX = 400;

/** What a subquery is to the expression it stands in. */
export interface SubquerySql {
  /** Text that gives these columns. */
  readonly sql: (columns: readonly string[]) => string;
  readonly columns: readonly Expression[];
  /** At most one row, whatever the data. */
  readonly isSingleRow: boolean;
  /** Relations of outer levels it uses. */
  readonly outer: ReadonlySet<number>;
}

/** All of these throw Forward for what is not proven. */
export interface Translation {
  readonly draft: Draft;
  readonly session: PlanningSession;
  /** A node as it stands; untyped constants stay untyped. */
  readonly term: (node: Node, scope: Scope) => Term;
  /** A node whose type must be known by itself; untyped constants become text. */
  readonly expression: (node: Node, scope: Scope) => Expression;
  /** A node where a condition stands. */
  readonly condition: (node: Node, scope: Scope) => Expression;
  readonly typeName: (fields: Fields) => { readonly typeOid: number; readonly typmod: number };
  /** Plans a query inside an expression. */
  readonly subquery: (select: Fields, parent: Scope) => SubquerySql;
}
