// Postgres' syntax tree → SQLite expressions with their types, bottom up. What has no rule here is forwarded.

import { OID } from '../../pg/oid.ts';
import { isArrayElement } from './bind.ts';
import { DATE_FIELDS, TIME_FIELDS, TRUNCATIONS } from './calendar.ts';
import { cast, coerce, commonType, constantOf, typeCollation, typed, untypedTo } from './coerce.ts';
import { type ComparisonOperator, compare, distinctFrom, isComparison, keyOf, operands } from './compare.ts';
import {
  type Constant,
  type Draft,
  type Expression,
  derived,
  isUntyped,
  mergeCollations,
  requireC,
  requireDeterministic,
  type Term,
} from './expression.ts';
import { Forward } from './forward.ts';
import type { Fields, Node } from './parse.ts';
import { NEED_TIMEZONE_UTC, type PlanningSession, type SessionValue } from './plan.ts';
import { asciiCase, callAggregate, callFunction, isAggregate } from './proven.ts';
import type { Found, Relation, RelationColumn, Scope } from './scope.ts';
import { arrayOf, typeByName } from './types.ts';

/** Nesting of expressions. SQLite refuses 1,000 levels, and some nodes become several. */
const DEPTH_MAX = 100;

/** Operands of one AND or OR: SQLite nests them. */
export const OPERANDS_COUNT_MAX = 400;

/** What a subquery is to the expression it stands in. */
export interface SubquerySql {
  readonly sql: string;
  readonly columns: readonly Expression[];
  /** At most one row, whatever the data. */
  readonly isSingleRow: boolean;
  /** Relations of outer levels it uses. */
  readonly outer: ReadonlySet<number>;
}

export class Translator {
  readonly #draft: Draft;
  readonly #session: PlanningSession;
  readonly #offset: (location: number) => number;
  readonly #subquery: (select: Fields, parent: Scope) => SubquerySql;
  #depth = 0;

  constructor(options: {
    readonly draft: Draft;
    readonly session: PlanningSession;
    readonly offset: (location: number) => number;
    /** Plans a query inside an expression. */
    readonly subquery: (select: Fields, parent: Scope) => SubquerySql;
  }) {
    this.#draft = options.draft;
    this.#session = options.session;
    this.#offset = options.offset;
    this.#subquery = options.subquery;
  }

  /** A node whose type must be known by itself; untyped constants become text. */
  expression(node: Node, scope: Scope): Expression {
    return typed(this.term(node, scope), this.#draft);
  }

  /** A node where a condition stands. */
  condition(node: Node, scope: Scope): Expression {
    const term = this.term(node, scope);
    if (isUntyped(term)) return untypedTo(term, OID.bool, this.#draft);
    if (term.typeOid !== OID.bool) throw new Forward('unproven-type', 'a condition that is not boolean');
    return term;
  }

  term(node: Node, scope: Scope): Term {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw new Forward('too-long', 'the expression is nested too deeply');
    try {
      const term = this.#term(node, scope);
      if (isUntyped(term) || !term.isUngrouped || scope.grouped === null) return term;
      return scope.grouped.has(term.value()) ? { ...term, isUngrouped: false } : term;
    } finally {
      this.#depth -= 1;
    }
  }

  #term(node: Node, scope: Scope): Term {
    const kind = Object.keys(node)[0] as string;
    const fields = node[kind] as Fields;
    switch (kind) {
      case 'ColumnRef':
        return this.column(names(fields['fields']), scope);
      case 'A_Const':
        return this.#constant(fields);
      case 'ParamRef':
        return this.#parameter(fields);
      case 'TypeCast':
        return this.#cast(fields, scope);
      case 'A_Expr':
        return this.#operator(fields, scope);
      case 'BoolExpr':
        return this.#boolean(fields, scope);
      case 'NullTest':
        return this.#nullTest(fields, scope);
      case 'BooleanTest':
        return this.#booleanTest(fields, scope);
      case 'CaseExpr':
        return this.#case(fields, scope);
      case 'CoalesceExpr': {
        const terms = list(fields['args']).map((each) => this.term(each, scope));
        const results = this.#common(terms);
        return this.#oneOf(
          results,
          () => (results.length === 1 ? '' : `coalesce(${results.map((each) => each.value()).join(', ')})`),
          {
            nullable: results.every((each) => each.nullable),
            typmod: commonTypmod(results, !results.every(isUnfoldable)),
          },
        );
      }
      case 'MinMaxExpr':
        return this.#extreme(fields, scope);
      case 'CollateClause':
        return this.#collate(fields, scope);
      case 'FuncCall':
        return this.#call(fields, scope);
      case 'SQLValueFunction':
        return this.#sessionValue(fields);
      case 'SubLink':
        return this.#sublink(fields, scope);
      default:
        throw new Forward('unproven-syntax', kind);
    }
  }

  /** `column`, `relation.column` or `schema.relation.column`. */
  column(path: readonly string[] | null, scope: Scope): Expression {
    if (path === null || path.length > 3) throw new Forward('unproven-syntax', 'a reference that is not a column');
    const name = path[path.length - 1] as string;
    for (let level: Scope | null = scope; level !== null; level = level.parent) {
      const found = path.length === 1 ? unqualified(level, name) : qualified(level, path);
      if (found === null) continue;
      const expression =
        'expression' in found ? found.expression : columnExpression(this.#draft, found.relation, found.column);
      const isDetermined = expression.column !== null && level.determined.has(expression.column.relation);
      const isFree = level.grouped !== null && level.aggregates === 'allowed' && !isDetermined;
      if (!isFree || level.grouped?.has(expression.value())) return expression;
      // A subquery cannot tell its outer query, so this is only for the query's own level.
      if (level !== scope) throw new Forward('unproven-syntax', 'a subquery uses a column that its outer query groups');
      return { ...expression, isUngrouped: true };
    }
    throw new Forward('unknown-column', `column "${path.join('.')}" is not known here`);
  }

  #constant(fields: Fields): Term {
    const location = (fields['location'] as number | undefined) ?? 0;
    // The grammar makes constants of its own (FETCH FIRST ROW ONLY).
    const start = location < 0 ? -1 : this.#offset(location);
    if (fields['isnull'] === true) return { untyped: 'null' };
    const text = fields['sval'] as Fields | undefined;
    if (text !== undefined)
      return { untyped: 'text', constant: { text: (text['sval'] as string | undefined) ?? '', start } };
    if (start >= 0 && fields['boolval'] === undefined) this.#draft.requirePlainNumber(start);
    const integer = fields['ival'] as Fields | undefined;
    if (integer !== undefined) {
      return constantOf(OID.int4, { text: String((integer['ival'] as number | undefined) ?? 0), start }, this.#draft);
    }
    const decimal = fields['fval'] as Fields | undefined;
    if (decimal !== undefined) {
      const digits = decimal['fval'] as string;
      return constantOf(numberType(digits), { text: digits, start }, this.#draft);
    }
    const boolean = fields['boolval'] as Fields | undefined;
    if (boolean !== undefined) {
      return constantOf(OID.bool, { text: boolean['boolval'] === true ? 't' : 'f', start: -1 }, this.#draft);
    }
    throw new Forward('unproven-syntax', 'a bit string');
  }

  #parameter(fields: Fields): Term {
    const index = ((fields['number'] as number | undefined) ?? 0) - 1;
    if (index < 0) throw new Forward('unproven-syntax', 'parameter $0');
    const known = this.#draft.parameterTypes[index] ?? 0;
    if (known === 0 || known === OID.unknown) return { untyped: 'parameter', index };
    return untypedTo({ untyped: 'parameter', index }, known, this.#draft);
  }

  #cast(fields: Fields, scope: Scope): Term {
    const { typeOid, typmod } = this.#typeName(fields['typeName'] as Fields);
    return cast(this.term(fields['arg'] as Node, scope), typeOid, typmod, this.#draft);
  }

  #typeName(fields: Fields): { typeOid: number; typmod: number } {
    const path = names(fields['names']);
    if (path === null || fields['setof'] === true || fields['pct_type'] === true) {
      throw new Forward('unproven-type', 'a type that is not a plain name');
    }
    const isArray = list(fields['arrayBounds']).length > 0;
    const element = this.#findType(path);
    const typeOid = isArray ? arrayOf(element, this.#draft.catalogue) : element;
    if (typeOid === 0) throw new Forward('unproven-type', `type ${path.join('.')}`);
    const modifiers = list(fields['typmods']);
    if (modifiers.length === 0) return { typeOid, typmod: -1 };
    const constant = modifiers[0]?.['A_Const']?.['ival'] as Fields | undefined;
    const length = constant?.['ival'];
    if (typeOid !== OID.varchar || modifiers.length !== 1 || typeof length !== 'number' || length < 1) {
      throw new Forward('unproven-type', 'a type with modifiers');
    }
    return { typeOid, typmod: length + 4 };
  }

  #findType(path: readonly string[]): number {
    const name = path[path.length - 1] as string;
    if (path.length === 1 || (path.length === 2 && path[0] === 'pg_catalog')) {
      const builtin = typeByName(name);
      if (builtin !== 0) return builtin;
    }
    const { catalogue } = this.#draft;
    if (path.length === 2) return usable(catalogue.findType(path[0] as string, name));
    if (path.length === 1) {
      for (const schema of this.#session.searchPath) {
        const type = catalogue.findType(schema, name);
        if (type !== undefined) return usable(type);
        // Every table is a type, too.
        if (catalogue.find(schema, name) !== undefined) return 0;
      }
    }
    return 0;
  }

  #operator(fields: Fields, scope: Scope): Term {
    const path = names(fields['name']);
    const kind = fields['kind'] as string;
    const name = path === null ? '' : (path[path.length - 1] as string);
    // OPERATOR(pg_catalog.=) is what it says; other schemas are the user's.
    if (path === null || path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) {
      throw new Forward('unproven-operator', 'an operator of another schema');
    }
    // BETWEEN and the like are made of others, which are looked at where they are compared.
    this.#draft.requireBuiltIn('operator', kind === 'AEXPR_NULLIF' ? '=' : name);
    switch (kind) {
      case 'AEXPR_OP':
        return this.#plainOperator(name, fields, scope);
      case 'AEXPR_DISTINCT':
      case 'AEXPR_NOT_DISTINCT': {
        const [left, right] = this.#both(fields, scope);
        if (isUntyped(left) && isUntyped(right)) throw new Forward('unproven-syntax', 'two constants without types');
        return distinctFrom(left, right, kind === 'AEXPR_NOT_DISTINCT', this.#draft);
      }
      case 'AEXPR_NULLIF': {
        const [left, right] = this.#both(fields, scope);
        const [a, b] = operands(left, right, this.#draft);
        requireDeterministic(mergeCollations([a, b]));
        refuseDomains([a]);
        const keys = [keyOf(a), keyOf(b)] as const;
        return derived(a.facts, [a, b], () => `CASE WHEN ${keys[0]()} = ${keys[1]()} THEN NULL ELSE ${a.value()} END`, {
          typmod: a.typmod,
          collation: mergeCollations([a, b]),
        });
      }
      case 'AEXPR_IN':
        return this.#in(name === '<>', fields, scope);
      case 'AEXPR_OP_ANY':
        if (name !== '=') break;
        return this.#anyArray(false, fields, scope);
      case 'AEXPR_OP_ALL':
        if (name !== '<>') break;
        return this.#anyArray(true, fields, scope);
      case 'AEXPR_ILIKE':
        return this.#like(true, name === '!~~*', fields, scope);
      case 'AEXPR_LIKE':
        return this.#like(false, name === '!~~', fields, scope);
      case 'AEXPR_BETWEEN':
      case 'AEXPR_NOT_BETWEEN': {
        const bounds = list((fields['rexpr'] as Node)['List']?.['items']);
        const left = fields['lexpr'] as Node;
        const isNot = kind === 'AEXPR_NOT_BETWEEN';
        const low = this.#comparison(isNot ? '<' : '>=', left, bounds[0] as Node, scope);
        const high = this.#comparison(isNot ? '>' : '<=', left, bounds[1] as Node, scope);
        return this.#all(isNot ? 'OR' : 'AND', [low, high]);
      }
    }
    throw new Forward('unproven-operator', `${name} (${kind})`);
  }

  #both(fields: Fields, scope: Scope): [Term, Term] {
    return [this.term(fields['lexpr'] as Node, scope), this.term(fields['rexpr'] as Node, scope)];
  }

  #comparison(operator: ComparisonOperator, left: Node, right: Node, scope: Scope): Expression {
    const a = this.term(left, scope);
    const b = this.term(right, scope);
    return compare(operator, a, b, this.#draft);
  }

  #plainOperator(name: string, fields: Fields, scope: Scope): Term {
    if (fields['rexpr'] === undefined || (fields['rexpr'] as Node)['List'] !== undefined) {
      throw new Forward('unproven-operator', name);
    }
    if (fields['lexpr'] === undefined) {
      const operand = this.term(fields['rexpr'] as Node, scope);
      if (isUntyped(operand) || operand.facts.family !== 'integer')
        throw new Forward('unproven-operator', `unary ${name}`);
      if (name === '+') return derived(operand.facts, [operand], operand.value);
      if (name !== '-') throw new Forward('unproven-operator', `unary ${name}`);
      return this.#checked(operand.typeOid, [operand], () => `(- ${operand.value()})`, 'TRUE');
    }
    // The grammar makes <> of !=.
    if (isComparison(name)) {
      return this.#comparison(name, fields['lexpr'] as Node, fields['rexpr'] as Node, scope);
    }
    const [left, right] = this.#both(fields, scope);
    if (name === '||') return this.#concatenation(left, right);
    if (name === '+' || name === '-' || name === '*' || name === '/' || name === '%') {
      return this.#arithmetic(name, left, right);
    }
    if (name === '->' || name === '->>') return this.#jsonb(name, left, right);
    if (name === '~~' || name === '!~~') return this.#like(false, name === '!~~', fields, scope);
    throw new Forward('unproven-operator', name);
  }

  #concatenation(left: Term, right: Term): Expression {
    const isText = (term: Term): boolean => !isUntyped(term) && term.facts.family === 'text';
    if (!isText(left) && !isText(right)) throw new Forward('unproven-operator', '|| without a text');
    const sides = [left, right].map((term) => {
      if (isUntyped(term) && term.untyped !== 'text')
        throw new Forward('unproven-operator', '|| with NULL or a parameter');
      if (isUntyped(term) || isText(term)) return coerce(term, OID.text, this.#draft);
      const { family } = term.facts;
      if (family !== 'integer' && family !== 'numeric')
        throw new Forward('unproven-operator', `|| with type ${term.typeOid}`);
      return cast(term, OID.text, -1, this.#draft);
    });
    return derived(this.#draft.facts(OID.text), sides, () => `(${sides.map((side) => side.value()).join(' || ')})`, {
      collation: mergeCollations(sides),
      nullable: sides.some((side) => side.nullable),
    });
  }

  #arithmetic(name: string, left: Term, right: Term): Expression {
    // An untyped side is read as the other's type, for which each of these operators exists.
    const known = isUntyped(left) ? right : left;
    if (isUntyped(known)) throw new Forward('unproven-operator', `${name} on constants without types`);
    const terms = [left, right].map((term) => (isUntyped(term) ? untypedTo(term, known.typeOid, this.#draft) : term));
    const [a, b] = terms as [Expression, Expression];
    if (a.facts.family === 'integer' && b.facts.family === 'integer') return this.#integerArithmetic(name, a, b);
    if (terms.every((term) => term.facts.family === 'integer' || term.facts.family === 'numeric')) {
      return this.#numericArithmetic(name, a, b);
    }
    throw new Forward('unproven-operator', `${name} on types ${a.typeOid} and ${b.typeOid}`);
  }

  #integerArithmetic(name: string, a: Expression, b: Expression): Expression {
    if (name === '%' && a.typeOid !== b.typeOid) throw new Forward('unproven-operator', '% of mixed integers');
    const typeOid = [OID.int8, OID.int4, OID.int2].find((oid) => a.typeOid === oid || b.typeOid === oid) as number;
    if (a.constant !== null && b.constant !== null) return this.#folded(name, typeOid, a.constant, b.constant);
    if (name === '/' || name === '%') {
      const divisor = b.constant === null ? null : BigInt(this.#draft.bake(b.constant));
      // Neither a division by zero nor the one that overflows, -2^31 / -1.
      if (divisor !== null && divisor !== 0n && divisor !== -1n) {
        return derived(this.#draft.facts(typeOid), [a, b], () => `(${a.value()} ${name} ${b.value()})`, {
          nullable: a.nullable,
        });
      }
    }
    const guard = name === '/' || name === '%' ? () => `${b.value()} <> 0` : () => 'TRUE';
    return this.#checked(typeOid, [a, b], () => `(${a.value()} ${name} ${b.value()})`, guard);
  }

  #numericArithmetic(name: string, left: Expression, right: Expression): Expression {
    const call = NUMERIC_FUNCTIONS.get(name);
    if (call === undefined) throw new Forward('unproven-operator', name);
    // Division fails by zero, the others only beyond 131,072 digits, which numbers of declared size never reach.
    const divisor = right.constant;
    const isDivisorSafe = divisor !== null && /[1-9]/.test(this.#draft.bake(divisor));
    const isSafe = ((name !== '/' && name !== '%') || isDivisorSafe) && isSmall(left) && isSmall(right);
    const isConstant = [left, right].every((side) => side.relations.size === 0 && !side.hasAggregate);
    if (!isSafe && (isConstant || !this.#draft.isEveryRowComputed))
      throw new Forward('may-fail', 'arithmetic that may fail');
    const a = coerce(left, OID.numeric, this.#draft);
    const b = coerce(right, OID.numeric, this.#draft);
    // NaN and infinities are left to the core.
    this.#draft.mayFail = true;
    return derived(a.facts, [a, b], () => `${call}(${a.value()}, ${b.value()})`, {
      nullable: a.nullable || b.nullable,
    });
  }

  /** `jsonb -> key`, `jsonb ->> key`, key a text or an integer. */
  #jsonb(name: '->' | '->>', left: Term, right: Term): Expression {
    if (isUntyped(left) || left.typeOid !== OID.jsonb)
      throw new Forward('unproven-operator', `${name} on other than jsonb`);
    const isIndex = !isUntyped(right) && (right.typeOid === OID.int4 || right.typeOid === OID.int2);
    if (!isIndex && !isUntyped(right) && right.facts.family !== 'text') throw new Forward('unproven-operator', name);
    const key = coerce(right, isIndex ? OID.int4 : OID.text, this.#draft);
    const part = (): string => `skerry_json_${isIndex ? 'element' : 'member'}(${left.value()}, ${key.value()})`;
    if (name === '->') return derived(this.#draft.facts(OID.jsonb), [left, key], part);
    const text = this.#draft.facts(OID.text);
    return derived(text, [left, key], () => `skerry_json_text(${part()})`, {
      collation: typeCollation(text, this.#draft),
    });
  }

  /** Arithmetic of two constants is done now. */
  #folded(name: string, typeOid: number, left: Constant, right: Constant): Expression {
    const a = BigInt(this.#draft.bake(left));
    const b = BigInt(this.#draft.bake(right));
    if (b === 0n && (name === '/' || name === '%')) throw new Forward('may-fail', 'a division by zero');
    const value = name === '+' ? a + b : name === '-' ? a - b : name === '*' ? a * b : name === '/' ? a / b : a % b;
    // Out of range is for the core to say.
    return { ...constantOf(typeOid, { text: String(value), start: -1 }, this.#draft), constant: null };
  }

  /** Integer arithmetic that fails in SQLite where it fails in Postgres: the statement is then forwarded. */
  #checked(
    typeOid: number,
    parts: readonly Expression[],
    value: () => string,
    guard: string | (() => string),
  ): Expression {
    // Elsewhere it depends on the plan for which rows an expression is computed, and so which rows may fail.
    // And constants Postgres computes even if there is no row.
    const isConstant = parts.every((part) => part.relations.size === 0 && !part.hasAggregate);
    if (!this.#draft.isEveryRowComputed || isConstant) throw new Forward('may-fail', 'arithmetic that may overflow');
    this.#draft.mayFail = true;
    const facts = this.#draft.facts(typeOid);
    return derived(facts, parts, () => {
      const sql = value();
      const isNull = parts.map((part) => `${part.value()} IS NULL`).join(' OR ');
      // abs() of the smallest integer is SQLite's own overflow error. What is added is 0 here, and keeps SQLite from
      // computing it before the first row as it does with constants.
      const fail = `abs(-9223372036854775807 - 1 + (${isNull}))`;
      const inRange =
        typeOid === OID.int8
          ? `typeof(${sql}) = 'integer'`
          : `${sql} BETWEEN ${typeOid === OID.int4 ? '-2147483648 AND 2147483647' : '-32768 AND 32767'}`;
      const guarded = typeof guard === 'string' ? guard : guard();
      return `CASE WHEN ${isNull} THEN NULL WHEN ${guarded} AND ${inRange} THEN ${sql} ELSE ${fail} END`;
    });
  }

  /** LIKE and ILIKE, as GLOB: the pattern is a constant or a parameter, translated when it is bound. */
  #like(isCaseless: boolean, negated: boolean, fields: Fields, scope: Scope): Expression {
    const [left, right] = this.#both(fields, scope);
    if (isUntyped(left) || left.facts.family !== 'text') {
      throw new Forward('unproven-operator', 'LIKE on other than text');
    }
    const writer = isCaseless ? 'ilike' : 'like';
    let pattern: () => string;
    if (isUntyped(right)) {
      if (right.untyped === 'text') {
        const { constant } = right;
        const { lifting } = this.#draft;
        this.#draft.check(constant, writer, OID.text);
        pattern = () => this.#draft.constant(constant, writer, OID.text, lifting);
      } else if (right.untyped === 'parameter') {
        const { index } = right;
        this.#draft.inferParameter(index, OID.text);
        pattern = () => this.#draft.parameter(index, writer);
      } else {
        pattern = () => 'NULL';
      }
    } else {
      const index = parameterIndex(fields['rexpr'] as Node);
      if (index === null || right.facts.family !== 'text') {
        throw new Forward('unproven-operator', 'LIKE with a computed pattern');
      }
      pattern = () => this.#draft.parameter(index, writer);
    }
    const operandsOf = isUntyped(right) ? [left] : [left, right];
    requireDeterministic(mergeCollations(operandsOf));
    const lower = isCaseless ? asciiCase('lower', operandsOf, this.#draft) : '';
    const operator = negated ? 'NOT GLOB' : 'GLOB';
    return derived(
      this.#draft.facts(OID.bool),
      operandsOf,
      () => `(${isCaseless ? `${lower}(${left.value()})` : left.value()} ${operator} ${pattern()})`,
    );
  }

  #in(negated: boolean, fields: Fields, scope: Scope): Expression {
    const left = this.term(fields['lexpr'] as Node, scope);
    const items = list((fields['rexpr'] as Node)['List']?.['items']).map((item) => this.term(item, scope));
    return this.#inTerms(negated, left, items);
  }

  #inTerms(negated: boolean, left: Term, items: readonly Term[]): Expression {
    const operator = negated ? '<>' : '=';
    const isVariable = (term: Term): boolean => !isUntyped(term) && (term.relations.size > 0 || term.hasAggregate);
    const plain = items.filter((item) => !isVariable(item));
    if (plain.length < 2 || plain.length !== items.length) {
      return this.#all(
        negated ? 'AND' : 'OR',
        items.map((item) => compare(operator, left, item, this.#draft)),
      );
    }
    // A list of constants is an array: all of its elements get one type, which may be varchar.
    const typeOid = commonType([left, ...plain]);
    if (isUntyped(left) || typeOid !== left.typeOid) {
      const isInteger = plain.every((term) => isUntyped(term) || term.facts.family === 'integer');
      if (!isInteger || isUntyped(left) || left.facts.family !== 'integer')
        throw new Forward('unproven-operator', 'IN of mixed types');
    }
    const a = typed(left, this.#draft);
    const elements = plain.map((item) => coerce(item, typeOid, this.#draft));
    requireDeterministic(mergeCollations([a, ...elements]));
    if (a.facts.family === 'opaque') throw new Forward('unproven-operator', `IN of type ${typeOid}`);
    const key = keyOf(a);
    const keys = elements.map((element) => keyOf(element));
    return derived(
      this.#draft.facts(OID.bool),
      [a, ...elements],
      () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (${keys.map((each) => each()).join(', ')}))`,
      { equality: negated ? null : { left: a, right: elements } },
    );
  }

  /** `x = ANY (array)`, `x <> ALL (array)`. */
  #anyArray(negated: boolean, fields: Fields, scope: Scope): Expression {
    const left = this.term(fields['lexpr'] as Node, scope);
    let node = fields['rexpr'] as Node;
    let written = 0;
    if (node['TypeCast'] !== undefined) {
      const type = this.#typeName(node['TypeCast']['typeName'] as Fields);
      if (type.typmod !== -1) throw new Forward('unproven-type', 'an array type with a modifier');
      written = type.typeOid;
      node = node['TypeCast']['arg'] as Node;
    }
    if (node['A_ArrayExpr'] !== undefined) {
      return this.#anyList(negated, left, written, list(node['A_ArrayExpr']['elements']), scope);
    }
    if (node['ColumnRef'] !== undefined && written === 0 && !negated)
      return this.#anyOfColumn(left, this.expression(node, scope));
    if (isUntyped(left)) throw new Forward('unproven-operator', '= ANY of a constant without type');
    const { catalogue } = this.#draft;
    // What the operator takes: text for varchar.
    const wanted = left.typeOid === OID.varchar ? OID.text : left.typeOid;
    let arrayOid = written === 0 ? arrayOf(wanted, catalogue) : written;
    const index = parameterIndex(node);
    const declared = index === null ? 0 : (this.#draft.parameterTypes[index] ?? 0);
    if (declared !== 0 && declared !== OID.unknown) arrayOid = declared;
    const element = [OID.int2, OID.int4, OID.int8, OID.text, OID.varchar, wanted].find(
      (oid) => arrayOf(oid, catalogue) === arrayOid,
    );
    if (arrayOid === 0 || element === undefined || !isArrayElement(element, catalogue)) {
      throw new Forward('unproven-operator', '= ANY of this type');
    }
    const elementFamily = this.#draft.facts(element).family;
    if (elementFamily !== left.facts.family || (elementFamily === 'enum' && element !== left.typeOid)) {
      throw new Forward('unproven-operator', '= ANY of mixed types');
    }
    requireDeterministic(left.collation);
    let array: () => string;
    if (index !== null) {
      this.#draft.inferParameter(index, arrayOid);
      array = () => this.#draft.parameter(index, 'array');
    } else {
      const term = this.term(node, scope);
      if (!isUntyped(term) || term.untyped !== 'text')
        throw new Forward('unproven-operator', '= ANY of a computed array');
      const { constant } = term;
      const { lifting } = this.#draft;
      this.#draft.check(constant, 'array', arrayOid);
      array = () => this.#draft.constant(constant, 'array', arrayOid, lifting);
    }
    const key = keyOf(left);
    return derived(
      this.#draft.facts(OID.bool),
      [left],
      () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (SELECT value FROM json_each(${array()})))`,
    );
  }

  /** `x = ANY (column)`: elements whose texts are equal exactly when they are. */
  #anyOfColumn(left: Term, column: Expression): Expression {
    const { catalogue } = this.#draft;
    const resolved = catalogue.resolveType(column.typeOid);
    if (resolved === null || !resolved.isArray) throw new Forward('unproven-operator', '= ANY of other than an array');
    const element = resolved.elementOid;
    const family = this.#draft.facts(element).family;
    if (family !== 'integer' && family !== 'text' && family !== 'uuid' && family !== 'enum') {
      throw new Forward('unproven-operator', '= ANY of an array of this type');
    }
    // The operator decides how an untyped side is read: text for varchar.
    const a = isUntyped(left) ? untypedTo(left, element === OID.varchar ? OID.text : element, this.#draft) : left;
    const isSame = family === 'integer' || family === 'text' ? a.facts.family === family : a.typeOid === element;
    if (!isSame) throw new Forward('unproven-operator', '= ANY of mixed types');
    requireDeterministic(mergeCollations([a, column]));
    const value = (): string => (family === 'integer' ? `CAST(${a.value()} AS TEXT)` : a.value());
    return derived(this.#draft.facts(OID.bool), [a, column], () => `skerry_has(${column.value()}, ${value()})`);
  }

  /** `x = ANY (ARRAY[a, b])`: the array's type is decided without looking at x. */
  #anyList(negated: boolean, left: Term, written: number, items: readonly Node[], scope: Scope): Expression {
    const terms = items.map((item) => this.term(item, scope));
    const { catalogue } = this.#draft;
    if (terms.length === 0 || isUntyped(left)) throw new Forward('unproven-operator', '= ANY of an empty list');
    const element =
      written === 0
        ? commonType(terms)
        : [OID.int2, OID.int4, OID.int8, OID.text, OID.varchar, OID.uuid, left.typeOid].find(
            (oid) => arrayOf(oid, catalogue) === written,
          );
    if (element === undefined) throw new Forward('unproven-operator', '= ANY of this type');
    const elements = terms.map((term) => {
      if (!isUntyped(term) && term.relations.size > 0) throw new Forward('unproven-operator', 'an array of columns');
      return coerce(term, element, this.#draft);
    });
    const family = this.#draft.facts(element).family;
    const isSame = family === 'integer' || family === 'text' ? family === left.facts.family : element === left.typeOid;
    if (!isSame || family === 'opaque') throw new Forward('unproven-operator', '= ANY of mixed types');
    requireDeterministic(mergeCollations([left, ...elements]));
    const key = keyOf(left);
    const keys = elements.map((each) => keyOf(each));
    return derived(
      this.#draft.facts(OID.bool),
      [left, ...elements],
      () => `(${key()} ${negated ? 'NOT IN' : 'IN'} (${keys.map((each) => each()).join(', ')}))`,
      { equality: negated ? null : { left, right: elements } },
    );
  }

  #boolean(fields: Fields, scope: Scope): Expression {
    const parts = list(fields['args']).map((each) => this.condition(each, scope));
    switch (fields['boolop'] as string) {
      case 'AND_EXPR':
        return this.#all('AND', parts);
      case 'OR_EXPR':
        return this.#all('OR', parts);
      default:
        return derived(this.#draft.facts(OID.bool), parts, () => `(NOT ${parts[0]?.value()})`);
    }
  }

  #all(operator: 'AND' | 'OR', parts: readonly Expression[]): Expression {
    if (parts.length === 1) return parts[0] as Expression;
    if (parts.length > OPERANDS_COUNT_MAX) throw new Forward('too-long', `more than ${OPERANDS_COUNT_MAX} conditions`);
    return derived(
      this.#draft.facts(OID.bool),
      parts,
      () => `(${parts.map((part) => part.value()).join(` ${operator} `)})`,
    );
  }

  #nullTest(fields: Fields, scope: Scope): Expression {
    const term = this.term(fields['arg'] as Node, scope);
    if (isUntyped(term)) throw new Forward('parameter-type', 'IS NULL of a constant without type');
    const resolved = this.#draft.catalogue.resolveType(term.typeOid);
    // A row of NULLs is NULL too.
    if (resolved?.kind === 'c') throw new Forward('unproven-type', 'IS NULL of a composite value');
    const operator = fields['nulltesttype'] === 'IS_NOT_NULL' ? 'IS NOT NULL' : 'IS NULL';
    return derived(this.#draft.facts(OID.bool), [term], () => `(${term.value()} ${operator})`, { nullable: false });
  }

  #booleanTest(fields: Fields, scope: Scope): Expression {
    const operand = this.condition(fields['arg'] as Node, scope);
    const test: Record<string, string> = {
      IS_TRUE: 'IS TRUE',
      IS_NOT_TRUE: 'IS NOT TRUE',
      IS_FALSE: 'IS FALSE',
      IS_NOT_FALSE: 'IS NOT FALSE',
      IS_UNKNOWN: 'IS NULL',
      IS_NOT_UNKNOWN: 'IS NOT NULL',
    };
    const operator = test[(fields['booltesttype'] as string | undefined) ?? 'IS_TRUE'];
    return derived(this.#draft.facts(OID.bool), [operand], () => `(${operand.value()} ${operator})`, {
      nullable: false,
    });
  }

  #case(fields: Fields, scope: Scope): Expression {
    // What CASE compares is a text when nothing says otherwise, whatever it is compared with.
    const subject = fields['arg'] === undefined ? null : this.expression(fields['arg'] as Node, scope);
    const conditions: Expression[] = [];
    const results: Term[] = [];
    for (const node of list(fields['args'])) {
      const when = node['CaseWhen'] as Fields;
      const condition = when['expr'] as Node;
      conditions.push(
        subject === null
          ? this.condition(condition, scope)
          : compare('=', subject, this.term(condition, scope), this.#draft),
      );
      results.push(this.term(when['result'] as Node, scope));
    }
    const otherwise = fields['defresult'] as Node | undefined;
    const last: Term = otherwise === undefined ? { untyped: 'null' } : this.term(otherwise, scope);
    // The result of ELSE is looked at first when the common type is chosen.
    const [end, ...rest] = this.#common([last, ...results]) as [Expression, ...Expression[]];
    const sql = (): string =>
      `CASE ${rest.map((result, index) => `WHEN ${conditions[index]?.value()} THEN ${result.value()}`).join(' ')} ELSE ${end.value()} END`;
    const merged = this.#oneOf([end, ...rest], sql, { nullable: true, typmod: commonTypmod([end, ...rest], true) });
    return {
      ...derived(merged.facts, [merged, ...conditions], sql, {
        typmod: merged.typmod,
        collation: merged.collation,
        key: merged.key,
      }),
    };
  }

  /** GREATEST, LEAST: NULLs are passed over. */
  #extreme(fields: Fields, scope: Scope): Expression {
    const operandsOf = this.#common(list(fields['args']).map((each) => this.term(each, scope)));
    const facts = (operandsOf[0] as Expression).facts;
    const collation = mergeCollations(operandsOf);
    requireC(collation);
    if (!facts.isCanonical || !facts.isOrdered || facts.family === 'enum') {
      throw new Forward('unproven-type', `GREATEST or LEAST of type ${facts.oid}`);
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
    const value = (): string =>
      operandsOf.length === 1 ? (rotated()[0] as string) : `${name}(${rotated().join(', ')})`;
    return derived(facts, operandsOf, value, { collation, typmod: commonTypmod(operandsOf, true) });
  }

  #common(terms: readonly Term[]): Expression[] {
    const typeOid = commonType(terms);
    return terms.map((term) => coerce(term, typeOid, this.#draft));
  }

  /** An expression that is one of several of a type: it compares only where its printed form does. */
  #oneOf(
    results: readonly Expression[],
    value: () => string,
    parts: { nullable: boolean; typmod: number },
  ): Expression {
    const only = results[0] as Expression;
    if (results.length === 1)
      return derived(only.facts, results, only.value, { ...parts, key: only.key, collation: only.collation });
    return derived(only.facts, results, value, { ...parts, collation: mergeCollations(results) });
  }

  #collate(fields: Fields, scope: Scope): Expression {
    const path = names(fields['collname']);
    const name = path?.[path.length - 1];
    const isKnown =
      path !== null && (path.length === 1 || path[0] === 'pg_catalog') && (name === 'C' || name === 'POSIX');
    if (!isKnown) throw new Forward('collation', 'a collation other than C');
    const operand = this.term(fields['arg'] as Node, scope);
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

  #call(fields: Fields, scope: Scope): Expression {
    const path = names(fields['funcname']);
    if (path === null || path.length > 2 || (path.length === 2 && path[0] !== 'pg_catalog')) {
      throw new Forward('unproven-function', 'a function of another schema');
    }
    const name = path[path.length - 1] as string;
    if (fields['over'] !== undefined) throw new Forward('unproven-syntax', 'a window function');
    if (fields['agg_within_group'] === true || fields['agg_order'] !== undefined || fields['func_variadic'] === true) {
      throw new Forward('unproven-syntax', `${name} with ORDER BY or VARIADIC`);
    }
    if (path.length === 1) this.#draft.requireBuiltIn('function', name);
    const nodes = list(fields['args']);
    if (isAggregate(name)) return this.#aggregate(name, nodes, fields, scope);
    if (fields['agg_distinct'] === true || fields['agg_filter'] !== undefined || fields['agg_star'] === true) {
      throw new Forward('unproven-syntax', `${name} as an aggregate`);
    }
    if (nodes.length === 0) {
      const sessionValue = SESSION_FUNCTIONS.get(name);
      if (sessionValue !== undefined) return this.#session_(sessionValue);
    }
    if (name === 'extract' || name === 'date_part' || name === 'date_trunc') return this.#calendar(name, nodes, scope);
    if (name === 'concat') return this.#concat(nodes, scope);
    return callFunction(
      name,
      nodes.map((node) => this.term(node, scope)),
      this.#draft,
    );
  }

  /** EXTRACT, date_part and date_trunc of a field that is a constant. */
  #calendar(name: string, nodes: readonly Node[], scope: Scope): Expression {
    const [fieldTerm, operand] = nodes.map((node) => this.term(node, scope));
    if (nodes.length !== 2 || fieldTerm === undefined || operand === undefined || isUntyped(operand)) {
      throw new Forward('unproven-function', `${name} of these types`);
    }
    if (!isUntyped(fieldTerm) || fieldTerm.untyped !== 'text')
      throw new Forward('unproven-function', `${name} of a computed field`);
    const field = this.#draft.bake(fieldTerm.constant);
    const { family } = operand.facts;
    const isStamp = family === 'timestamp' || family === 'timestamptz';
    const isKnown =
      name === 'date_trunc'
        ? isStamp && TRUNCATIONS.has(field)
        : (isStamp || (family === 'date' && name === 'extract')) &&
          (DATE_FIELDS.has(field) || (isStamp && TIME_FIELDS.has(field)));
    if (!isKnown) throw new Forward('unproven-function', `${name}(${field}) of type ${operand.typeOid}`);
    if (name === 'date_part' && (field === 'epoch' || field === 'second')) {
      throw new Forward('unproven-function', 'date_part of a fraction');
    }
    if (family === 'timestamptz') this.#draft.needs |= NEED_TIMEZONE_UTC;
    // Infinities and years beyond 9999 are left to the core.
    this.#draft.mayFail = true;
    const call = name === 'date_trunc' ? 'skerry_truncate_to' : 'skerry_extract';
    const sql = (): string => `${call}('${field}', ${operand.value()})`;
    const typeOid = name === 'date_trunc' ? operand.typeOid : name === 'extract' ? OID.numeric : OID.float8;
    const value = name === 'date_part' ? (): string => `CAST(${sql()} AS REAL)` : sql;
    return derived(this.#draft.facts(typeOid), [operand], value, { nullable: operand.nullable });
  }

  /** concat(): NULLs count for nothing. */
  #concat(nodes: readonly Node[], scope: Scope): Expression {
    const parts = nodes.map((node) => {
      const term = this.term(node, scope);
      if (isUntyped(term) && term.untyped !== 'text')
        throw new Forward('unproven-function', 'concat of NULL or a parameter');
      if (!isUntyped(term) && term.facts.family === 'bool')
        throw new Forward('unproven-function', 'concat prints booleans as t and f');
      return cast(term, OID.text, -1, this.#draft);
    });
    if (parts.length === 0) throw new Forward('unproven-function', 'concat of nothing');
    const text = this.#draft.facts(OID.text);
    const sql = (): string => `(${parts.map((part) => `ifnull(${part.value()}, '')`).join(' || ')})`;
    return derived(text, parts, sql, { collation: mergeCollations(parts), nullable: false });
  }

  #aggregate(name: string, nodes: readonly Node[], fields: Fields, scope: Scope): Expression {
    if (scope.aggregates !== 'allowed' || nodes.length > 1)
      throw new Forward('unproven-syntax', `${name} stands where it may not`);
    if (nodes.length === 0 && fields['agg_star'] !== true) throw new Forward('unproven-function', `${name}()`);
    // Inside an aggregate every column may be used, and no other aggregate.
    const grouped = scope.grouped;
    scope.aggregates = 'refused';
    try {
      const node = nodes[0];
      const operand = node === undefined ? null : this.term(node, scope);
      const filter = fields['agg_filter'] === undefined ? null : this.condition(fields['agg_filter'] as Node, scope);
      for (const part of [operand, filter]) {
        if (part !== null && !isUntyped(part) && isFromOutside(part, scope)) {
          throw new Forward('unproven-syntax', 'an aggregate over columns of an outer query');
        }
      }
      const call = callAggregate(
        {
          name,
          operand,
          isDistinct: fields['agg_distinct'] === true,
          filter: filter === null ? '' : ` FILTER (WHERE ${filter.value()})`,
        },
        this.#draft,
      );
      return { ...call, hasAggregate: true, isUngrouped: false };
    } finally {
      scope.aggregates = 'allowed';
      scope.grouped = grouped;
    }
  }

  #sessionValue(fields: Fields): Expression {
    switch (fields['op'] as string) {
      case 'SVFOP_CURRENT_USER':
      case 'SVFOP_USER':
      case 'SVFOP_CURRENT_ROLE':
        return this.#session_('current_user');
      case 'SVFOP_SESSION_USER':
        return this.#session_('session_user');
      case 'SVFOP_CURRENT_CATALOG':
        return this.#session_('current_database');
      case 'SVFOP_CURRENT_SCHEMA':
        return this.#session_('current_schema');
      default:
        throw new Forward('unproven-function', 'the time of day');
    }
  }

  #session_(name: SessionValue): Expression {
    const facts = this.#draft.facts(OID.name);
    return derived(facts, [], () => this.#draft.session(name), {
      collation: { oid: 950, isC: true, isDeterministic: true, strength: 'implicit' },
    });
  }

  #sublink(fields: Fields, scope: Scope): Expression {
    const select = (fields['subselect'] as Node)['SelectStmt'];
    if (select === undefined) throw new Forward('unproven-syntax', 'a subquery that is not a SELECT');
    const bool = this.#draft.facts(OID.bool);
    switch (fields['subLinkType'] as string) {
      case 'EXISTS_SUBLINK': {
        const subquery = this.#subquery(select, scope);
        return outerUse(
          derived(bool, [], () => `EXISTS (${subquery.sql})`, { nullable: false }),
          subquery,
        );
      }
      case 'ANY_SUBLINK': {
        // x IN (SELECT …); other operators are written out by the client.
        if (fields['operName'] !== undefined) throw new Forward('unproven-syntax', 'ANY (SELECT …)');
        this.#draft.requireBuiltIn('operator', '=');
        const left = this.term(fields['testexpr'] as Node, scope);
        const subquery = this.#subquery(select, scope);
        const column = subquery.columns[0];
        if (subquery.columns.length !== 1 || column === undefined || isUntyped(left)) {
          throw new Forward('unproven-syntax', 'IN over rows');
        }
        const [a, b] = operands(left, column, this.#draft);
        requireDeterministic(mergeCollations([a, b]));
        const key = keyOf(a);
        // The subquery prints values; types whose printed form does not compare are left out.
        if (!b.facts.isCanonical || a.facts.keyWriter !== a.facts.writer) {
          throw new Forward('unproven-type', 'IN over a type that does not compare as printed');
        }
        return outerUse(
          derived(bool, [a], () => `(${key()} IN (${subquery.sql}))`),
          subquery,
        );
      }
      case 'EXPR_SUBLINK': {
        const subquery = this.#subquery(select, scope);
        const column = subquery.columns[0];
        if (subquery.columns.length !== 1 || column === undefined)
          throw new Forward('unproven-syntax', 'a row subquery');
        // With more than one row Postgres has an error, SQLite takes the first.
        if (!subquery.isSingleRow) throw new Forward('may-fail', 'a subquery that may give more than one row');
        const expression = derived(column.facts, [], () => `(${subquery.sql})`, {
          typmod: column.typmod,
          collation: column.collation,
        });
        return outerUse(expression, subquery);
      }
      default:
        throw new Forward('unproven-syntax', 'this kind of subquery');
    }
  }
}

const NUMERIC_FUNCTIONS = new Map<string, string>([
  ['+', 'skerry_add'],
  ['-', 'skerry_subtract'],
  ['*', 'skerry_multiply'],
  ['/', 'skerry_divide'],
  ['%', 'skerry_remainder'],
]);

/** A number of at most 1,000 digits whatever the data. */
function isSmall(operand: Expression): boolean {
  return (
    operand.facts.family === 'integer' ||
    operand.constant !== null ||
    (operand.column !== null && operand.typmod !== -1)
  );
}

const SESSION_FUNCTIONS = new Map<string, SessionValue>([
  ['current_database', 'current_database'],
  ['current_schema', 'current_schema'],
]);

function outerUse(expression: Expression, subquery: SubquerySql): Expression {
  return { ...expression, relations: new Set([...expression.relations, ...subquery.outer]) };
}

function isFromOutside(expression: Expression, scope: Scope): boolean {
  const own = new Set(scope.namespace.relations.map((relation) => relation.id));
  return [...expression.relations].some((relation) => !own.has(relation));
}

/**
 * Modifier of an expression that is one of several. Postgres derives it after it has folded constants, so that
 * `CASE WHEN true THEN a.v ELSE 'x' END` has that of a.v. Where that could matter the core is asked: `isFoldable` says
 * whether a constant may decide which of them it is.
 */
function commonTypmod(results: readonly Expression[], isFoldable: boolean): number {
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
function refuseDomains(operands: readonly Expression[]): void {
  for (const { isPlain, column, typmod } of operands) {
    if (isPlain && column?.clientTypmod !== typmod) throw new Forward('unproven-type', 'a domain with a type modifier');
  }
}

function usable(type: { readonly oid: number; readonly kind: string } | undefined): number {
  return type?.kind === 'e' ? type.oid : 0;
}

/** Type of a number that is not an int4 as the scanner sees it. */
function numberType(digits: string): number {
  if (!/^-?\d+$/.test(digits)) return OID.numeric;
  const value = BigInt(digits);
  if (BigInt.asIntN(32, value) === value) return OID.int4;
  return BigInt.asIntN(64, value) === value ? OID.int8 : OID.numeric;
}

export function list(value: unknown): readonly Node[] {
  return (value as readonly Node[] | undefined) ?? [];
}

/** Parts of a dotted name; null when one of them is not a name (`*`, a subscript). */
export function names(value: unknown): string[] | null {
  const parts: string[] = [];
  for (const node of list(value)) {
    const part = node['String']?.['sval'];
    if (typeof part !== 'string') return null;
    parts.push(part);
  }
  return parts.length === 0 ? null : parts;
}

function parameterIndex(node: Node): number | null {
  const number = node['ParamRef']?.['number'];
  return typeof number === 'number' && number > 0 ? number - 1 : null;
}

function unqualified(scope: Scope, name: string): Found | null {
  const found = scope.namespace.visible.filter((column) => column.name === name);
  if (found.length > 1) throw new Forward('unknown-column', `"${name}" is ambiguous`);
  return found[0]?.found ?? null;
}

function qualified(scope: Scope, path: readonly string[]): Found | null {
  const name = path[path.length - 1] as string;
  const relation = findRelation(scope, path.slice(0, -1));
  if (relation === null) return null;
  const columns = relation.columns.filter((column) => column.name === name);
  if (columns.length !== 1) throw new Forward('unknown-column', `"${path.join('.')}" is not a column`);
  return { relation, column: columns[0] as RelationColumn };
}

/** The relation called `path` at this level; null when there is none. */
export function findRelation(scope: Scope, path: readonly string[]): Relation | null {
  const found = scope.namespace.relations.filter((relation) =>
    path.length === 1 ? relation.alias === path[0] : relation.schema === path[0] && relation.alias === path[1],
  );
  if (found.length > 1) throw new Forward('unknown-table', `"${path.join('.')}" is ambiguous`);
  return found[0] ?? null;
}

/** A relation's column as an expression. */
export function columnExpression(draft: Draft, relation: Relation, column: RelationColumn): Expression {
  if (!column.isReplicated) throw new Forward('column-not-replicated', `column "${column.name}" is not here`);
  const facts = draft.facts(column.typeOid);
  const key = column.key;
  return {
    typeOid: facts.oid,
    facts,
    typmod: column.typmod,
    collation: column.collation,
    value: () => column.value,
    key:
      facts.family === 'opaque' || key === null
        ? null
        : facts.family === 'bpchar'
          ? () => `rtrim(${key}, ' ')`
          : () => key,
    nullable: !column.notNull || relation.isOptional,
    column: {
      relation: relation.id,
      tableOid: column.tableOid,
      attnum: column.attnum,
      clientTypmod: column.clientTypmod,
    },
    isPlain: true,
    relations: new Set([relation.id]),
    isUngrouped: false,
    hasAggregate: false,
    constant: null,
    equality: null,
  };
}
