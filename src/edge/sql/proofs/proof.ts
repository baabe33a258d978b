// One row of what is proven equal: an operator, function, cast or aggregate of Postgres with given types, and what computes the
// same here. proofs.pg.test.ts asks a real Postgres about every row, with every combination of the awkward values of its types.

import type { Draft, Expression } from '../expression.ts';

export interface Proof {
  /** `name(type,type)`, `type op type`, `op type` or `type::type`, as signatures.ts writes them. */
  readonly of: string;
  /** SQLite's own expression over stored values. NULL in, NULL out unless `lax`. */
  readonly sql?: (...operands: string[]) => string;
  /**
   * Registered as a function of SQLite, under the name `of`. Not called with NULLs unless `lax`. Gets and gives values as
   * forms.ts says; whatever it throws makes the statement be forwarded.
   */
  readonly js?: (...values: never[]) => unknown;
  /** Postgres has an error for some values: only where it computes the expression for exactly the rows that SQLite does. */
  readonly raises?: boolean | ((constants: readonly (string | null)[]) => boolean);
  /** `js` never throws. */
  readonly isTotal?: boolean;
  /** Called with NULLs. */
  readonly lax?: boolean;
  /**
   * What the collation of text operands must be for this to hold. `bytes`: equality of texts is equality of bytes. `ascii`: letters
   * of ASCII change case as everybody expects; what has others is left to the core.
   */
  readonly collation?: 'bytes' | 'c' | 'ascii-case' | 'ascii';
  /** NEED_ bits of plan.ts. */
  readonly needs?: number;
  /** Throws Forward where the proof has conditions on its operands. */
  readonly check?: (operands: readonly Expression[], draft: Draft) => void;
  /** The only major versions in which it is so. */
  readonly since?: number;
  /** Only for arrays of types whose values are equal exactly when they print the same. */
  readonly hasPrintedElements?: boolean;
}

/** Rows of one family, as the reference page shows them. */
export interface Family {
  readonly title: string;
  readonly rows: readonly Proof[];
}
