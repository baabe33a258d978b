// A translated expression and what is known of it, and the statement under construction that constants and parameters join.

import { OID } from '../../pg/oid.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import type { SqliteValue } from '../../replica/sqlite.ts';
import { sqlLiteral } from '../../replica/values.ts';
import { writeText } from './bind.ts';
import { Forward } from './forward.ts';
import {
  type Binding,
  NEED_INTERVALSTYLE_POSTGRES,
  NEED_TIMEZONE_UTC,
  type SessionValue,
  type Writer,
} from './plan.ts';
import type { Scaled } from './scaled.ts';
import { type Shadows, shadowedIn } from './shadows.ts';
import { type TypeFacts, typeFacts } from './types.ts';

/** How texts of an expression compare. */
export interface Collation {
  readonly oid: number;
  /** Comparing is comparing bytes. */
  readonly isC: boolean;
  readonly isDeterministic: boolean;
  readonly strength: 'implicit' | 'explicit';
}

export interface ColumnOrigin {
  readonly relation: number;
  readonly tableOid: number;
  readonly attnum: number;
  /** What the client is told of a plain column: a domain's own modifier. */
  readonly clientTypmod: number;
}

export interface Expression {
  readonly typeOid: number;
  readonly facts: TypeFacts;
  readonly typmod: number;
  /** Of collatable types; null for others. `conflict`: two columns disagree and nobody decided. */
  readonly collation: Collation | 'conflict' | null;
  /** SQLite expression of the value in storage form. */
  readonly value: () => string;
  /** SQLite expression that compares as the value does in Postgres; null when there is none. */
  readonly key: (() => string) | null;
  readonly nullable: boolean;
  /** Set when the value is that of a column of something in FROM, whatever it is labelled as now. */
  readonly column: ColumnOrigin | null;
  /** True when it is that column and nothing else, so that the client is told where it comes from. */
  readonly isPlain: boolean;
  /** Relations of any level that the value depends on. */
  readonly relations: ReadonlySet<number>;
  /** Uses, outside aggregates, a column that is not grouped. */
  readonly isUngrouped: boolean;
  readonly hasAggregate: boolean;
  /** A constant with a type of its own: its text may be coerced to another type. */
  readonly constant: Constant | null;
  /** Postgres may find that it is a constant although it names columns: CASE WHEN true THEN 1 ELSE x END. */
  readonly mayFold?: boolean;
  /** The value as a whole number of its smallest parts, where it is computed of such numbers: see scaled.ts. */
  readonly scaled?: Scaled;
  /** Boolean `a = b` (or a IN list of `count` constants): what the lane is decided by. */
  readonly equality: Equality | null;
}

export interface Equality {
  readonly left: Expression;
  readonly right: readonly Expression[];
}

export interface Constant {
  readonly text: string;
  /** Index in the text where it was written; -1 when it was not. */
  readonly start: number;
}

/** A constant or parameter that takes its type from where it stands: 'abc', NULL, $1. */
export type Untyped =
  | { readonly untyped: 'text'; readonly constant: Constant }
  | { readonly untyped: 'null' }
  | { readonly untyped: 'parameter'; readonly index: number };

export type Term = Expression | Untyped;

export function isUntyped(term: Term): term is Untyped {
  return 'untyped' in term;
}

const NO_RELATIONS: ReadonlySet<number> = new Set();

/** Longest SQLite text of one expression: checked arithmetic repeats its operands. */
const EXPRESSION_LENGTH_MAX = 20_000;

/** Parameters a statement may have here (SQLite's own limit is 32,766). */
const BINDINGS_COUNT_MAX = 5_000;

/** Settings that texts are read by, too: a timestamptz without zone, the sign of an interval. */
const READING_NEEDS = NEED_TIMEZONE_UTC | NEED_INTERVALSTYLE_POSTGRES;

/** One statement being planned: gathers bindings, tables and needs. */
export class Draft {
  readonly catalogue: Catalogue;
  readonly shadows: Shadows;
  readonly bindings: Binding[] = [];
  /** Types of $1..$n; 0 while not known. */
  readonly parameterTypes: number[];
  readonly tables = new Set<number>();
  needs = 0;
  mayFail = false;
  /** Index of the constant that starts there, for constants a template has lifted. */
  readonly #liftable: ReadonlyMap<number, number>;
  readonly #text: string;
  readonly #shadowed: ReadonlySet<string>;
  readonly #lifted = new Set<number>();
  readonly #baked = new Set<number>();
  readonly #parameterSlots = new Map<string, number>();
  readonly #literalSlots = new Map<string, number>();
  #relationCount = 0;
  /** Constants may be lifted only where no decision and no comparison of expressions depends on their value. */
  lifting = false;
  /** Depth of recursive queries whose step is being translated. */
  isRecursing = 0;
  /** SQL of columns of a recursion that start at a small constant: counted up in small steps they never overflow. */
  readonly counters = new Set<string>();
  /** Queries that must give at most one row, wherever they stand: SQL that fails otherwise, to be computed in any case. */
  readonly guards: string[] = [];
  /** True while translating what Postgres and SQLite both compute for exactly the rows of the result. */
  isEveryRowComputed = false;
  /** Set while translating a condition whose parts may be tried with every row of its table first; true when one has to be. */
  guard: { isNeeded: boolean } | null = null;
  /** A condition is tried with every row of its table: the statement scans. */
  isScanning = false;

  constructor(options: {
    readonly catalogue: Catalogue;
    readonly parameterTypes: readonly number[];
    readonly text: string;
    readonly liftable: ReadonlyMap<number, number>;
    readonly shadows: Shadows;
    readonly searchPath: readonly string[];
  }) {
    this.catalogue = options.catalogue;
    this.parameterTypes = [...options.parameterTypes];
    this.#liftable = options.liftable;
    this.#text = options.text;
    this.shadows = options.shadows;
    this.#shadowed = shadowedIn(options.shadows, options.searchPath);
  }

  /**
   * Declares that what is being translated may be an error in Postgres, and fails in SQLite then. Throws Forward where it
   * depends on a plan for which rows either computes it; `isConstant`: Postgres does, even if there is no row.
   */
  raise(isConstant: boolean, detail: string): void {
    if (isConstant || (!this.isEveryRowComputed && this.guard === null)) throw new Forward('may-fail', detail);
    if (!this.isEveryRowComputed && this.guard !== null) this.guard.isNeeded = true;
    this.mayFail = true;
  }

  nextRelation(): number {
    this.#relationCount += 1;
    return this.#relationCount;
  }

  facts(typeOid: number): TypeFacts {
    return typeFacts(typeOid, this.catalogue);
  }

  /** Throws Forward when a name could mean something of the database's own. */
  requireBuiltIn(kind: 'function' | 'operator', name: string): void {
    if (this.#shadowed.size > 0 && this.#shadowed.has(`${kind} ${name}`)) {
      throw new Forward('shadowed', `the database has a ${kind} ${name} of its own`);
    }
  }

  /** Indexes of the template's constants that the plan depends on. */
  baked(): number[] {
    const baked: number[] = [];
    for (const index of this.#liftable.values()) {
      if (this.#baked.has(index) || !this.#lifted.has(index)) baked.push(index);
    }
    return baked;
  }

  /** Refuses numbers that only newer servers read so: 0x1F, 1_000. */
  requirePlainNumber(start: number): void {
    if (!/^(?:-\s*)*[\d.]+(?:[eE][+-]?\d+)?(?![\w$])/.test(this.#text.slice(start, start + 400))) {
      throw new Forward('unproven-syntax', 'a number in a form that not every server reads');
    }
  }

  /** SQL of a constant in the form that `writer` makes. `lifting`: as it was where the constant stands, for SQL made later. */
  constant(constant: Constant, writer: Writer, typeOid: number, lifting: boolean = this.lifting): string {
    const value = this.check(constant, writer, typeOid);
    const index = lifting ? this.#liftedIndex(constant) : null;
    if (index === null) {
      this.bake(constant);
      // SQLite reads decimal fractions less exactly than Postgres does.
      const isFloat = writer === 'float4' || writer === 'float8';
      if (isFloat && typeof value === 'number') return `?${this.#bind({ from: 'constant', value })}`;
      return sqlLiteral(value);
    }
    this.#lifted.add(index);
    const key = `${index}:${writer}:${typeOid}`;
    let slot = this.#literalSlots.get(key);
    if (slot === undefined) {
      slot = this.#bind({ from: 'literal', index, writer, typeOid });
      this.#literalSlots.set(key, slot);
    }
    return `?${slot}`;
  }

  /** Validates a constant for a type. Throws Forward when Postgres would, or might, refuse it. */
  check(constant: Constant, writer: Writer, typeOid: number): SqliteValue {
    const value = writeText(writer, typeOid, constant.text, this.catalogue);
    if (value === undefined) throw new Forward('literal', 'a constant that is left to the core to read');
    if (writer === 'timestamptz') this.needs |= NEED_TIMEZONE_UTC;
    if (writer === 'typed') this.needs |= this.facts(typeOid).textNeeds & READING_NEEDS;
    return value;
  }

  /** Declares that the plan depends on the very value of a constant. */
  bake(constant: Constant): string {
    const index = this.#liftable.get(constant.start);
    if (index !== undefined) this.#baked.add(index);
    else if (this.#text[constant.start] === '-') {
      // The sign belongs to the constant: `-5` is one constant that starts one before the `5`.
      const at = /^-\s*/.exec(this.#text.slice(constant.start, constant.start + 100));
      const after = this.#liftable.get(constant.start + (at?.[0].length ?? 0));
      if (after !== undefined) this.#baked.add(after);
    }
    return constant.text;
  }

  parameter(index: number, writer: Writer): string {
    const typeOid = this.parameterTypes[index] as number;
    if (writer === 'timestamptz' || (writer === 'array' && typeOid === 1185)) this.needs |= NEED_TIMEZONE_UTC;
    if (writer === 'typed') this.needs |= this.facts(typeOid).textNeeds & READING_NEEDS;
    const key = `${index}:${writer}`;
    let slot = this.#parameterSlots.get(key);
    if (slot === undefined) {
      slot = this.#bind({ from: 'parameter', index, writer, typeOid });
      this.#parameterSlots.set(key, slot);
    }
    return `?${slot}`;
  }

  session(name: SessionValue): string {
    return `?${this.#bind({ from: 'session', name })}`;
  }

  /** Gives a parameter the type its place wants, unless it has one. */
  inferParameter(index: number, typeOid: number): void {
    if (index > 65_534) throw new Forward('unproven-syntax', 'parameter number too high');
    while (this.parameterTypes.length <= index) this.parameterTypes.push(0);
    const known = this.parameterTypes[index] as number;
    if (known === 0 || known === OID.unknown) this.parameterTypes[index] = typeOid;
    else if (known !== typeOid) throw new Forward('parameter-type', `$${index + 1} is used as two types`);
  }

  #liftedIndex(constant: Constant): number | null {
    const index = this.#liftable.get(constant.start);
    return index === undefined || this.#baked.has(index) ? null : index;
  }

  #bind(binding: Binding): number {
    if (this.bindings.length >= BINDINGS_COUNT_MAX) throw new Forward('too-long', 'too many constants');
    this.bindings.push(binding);
    return this.bindings.length;
  }
}

export interface ExpressionParts {
  readonly typmod?: number;
  readonly collation?: Collation | 'conflict' | null;
  readonly key?: (() => string) | null;
  readonly nullable?: boolean;
  readonly constant?: Constant | null;
  readonly equality?: Equality | null;
}

/** An expression made of others: what they depend on, it depends on. */
export function derived(
  facts: TypeFacts,
  operands: readonly Expression[],
  value: () => string,
  parts: ExpressionParts = {},
): Expression {
  const sql = once(value);
  return {
    typeOid: facts.oid,
    facts,
    typmod: parts.typmod ?? -1,
    collation: parts.collation ?? null,
    value: sql,
    key: parts.key === undefined ? derivedKey(facts, sql) : parts.key,
    nullable: parts.nullable ?? true,
    column: null,
    isPlain: false,
    relations: operands.length === 0 ? NO_RELATIONS : new Set(operands.flatMap((operand) => [...operand.relations])),
    isUngrouped: operands.some((operand) => operand.isUngrouped),
    hasAggregate: operands.some((operand) => operand.hasAggregate),
    ...(operands.some((operand) => operand.mayFold === true) ? { mayFold: true } : {}),
    constant: parts.constant ?? null,
    equality: parts.equality ?? null,
  };
}

/** Comparison form of a value that was computed; null where there is none. */
function derivedKey(facts: TypeFacts, sql: () => string): (() => string) | null {
  const { keySql } = facts;
  if (keySql !== undefined) return () => keySql(sql());
  if (facts.family === 'printed' || facts.family === 'bits') return sql;
  if (facts.writer === null) return null;
  if (facts.keyWriter === facts.writer) return sql;
  return facts.keyWriter === 'numeric-key' ? () => `skerry_key(${sql()})` : null;
}

/** Remembers the text, so that asking twice binds once. */
function once(make: () => string): () => string {
  let made: string | null = null;
  return () => {
    if (made === null) {
      made = make();
      if (made.length > EXPRESSION_LENGTH_MAX) throw new Forward('too-long', 'the expression grows too long');
    }
    return made;
  };
}

/** Collation of an operation over `operands`, as the parser derives it: explicit wins, then what is not the default. */
export function mergeCollations(operands: readonly Expression[]): Collation | 'conflict' | null {
  let merged: Collation | 'conflict' | null = null;
  for (const operand of operands) {
    const next = operand.collation;
    if (next === null) continue;
    if (merged === null) {
      merged = next;
    } else if (next === 'conflict') {
      if (merged === 'conflict' || merged.strength === 'implicit') merged = 'conflict';
    } else if (merged === 'conflict') {
      if (next.strength === 'explicit') merged = next;
    } else if (merged.strength !== next.strength) {
      if (next.strength === 'explicit') merged = next;
    } else if (merged.oid !== next.oid) {
      if (merged.strength === 'explicit') throw new Forward('collation', 'two explicit collations');
      if (merged.oid === DEFAULT_COLLATION) merged = next;
      else if (next.oid !== DEFAULT_COLLATION) merged = 'conflict';
    }
  }
  return merged;
}

export const DEFAULT_COLLATION = 100;

/** What constants and parameters of text types have. */
export function defaultCollation(catalogue: Catalogue): Collation {
  return {
    oid: DEFAULT_COLLATION,
    isC: catalogue.server.defaultCollationIsC,
    isDeterministic: true,
    strength: 'implicit',
  };
}

/** Throws unless equality under this collation is equality of bytes. */
export function requireDeterministic(collation: Collation | 'conflict' | null): void {
  if (collation === null) return;
  if (collation === 'conflict') throw new Forward('collation', 'the collation is ambiguous');
  if (!collation.isDeterministic) throw new Forward('collation', 'the collation is not deterministic');
}

/** Throws unless order under this collation is order of bytes. */
export function requireC(collation: Collation | 'conflict' | null): void {
  if (collation === null) return;
  if (collation === 'conflict') throw new Forward('collation', 'the collation is ambiguous');
  if (!collation.isC) throw new Forward('collation', 'texts are ordered by a collation other than C');
}

/** Whether Postgres may compute something of these operands before it looks for rows, and have its errors then. */
export function isFoldable(operands: readonly Expression[]): boolean {
  if (operands.some((operand) => operand.mayFold === true)) return true;
  return operands.every((operand) => operand.relations.size === 0 && !operand.hasAggregate);
}
