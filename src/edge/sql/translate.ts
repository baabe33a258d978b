// Postgres' syntax tree → SQLite expressions with their types, bottom up. What has no rule here is forwarded.

import { OID } from '../../pg/oid.ts';
import { arrayExpression, indirection } from './array-expressions.ts';
import { call, sessionValue } from './calls.ts';
import { caseOf, coalesce, collate, extreme } from './choices.ts';
import { cast } from './coerce.ts';
import { constantOf, typed, untypedTo } from './constants.ts';
import { booleanOf, booleanTest, nullTest } from './conditions.ts';
import { type Draft, derived, type Expression, isUntyped, type Term } from './expression.ts';
import { Forward } from './forward.ts';
import { operator } from './operators.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import { foundExpression, qualified, unqualified } from './resolve.ts';
import { rowNullTest, rowOf } from './rows.ts';
import type { Scope } from './scope.ts';
import { sublink } from './sublinks.ts';
import type { SubquerySql, Translation } from './translation.ts';
import { arrayOf, typeByName } from './types.ts';

/** Nesting of expressions. SQLite refuses 1,000 levels, and some nodes become several. */
const DEPTH_MAX = 100;

export class Translator implements Translation {
  readonly draft: Draft;
  readonly session: PlanningSession;
  readonly #offset: (location: number) => number;
  readonly subquery: (select: Fields, parent: Scope) => SubquerySql;
  #depth = 0;

  constructor(options: {
    readonly draft: Draft;
    readonly session: PlanningSession;
    readonly offset: (location: number) => number;
    /** Plans a query inside an expression. */
    readonly subquery: (select: Fields, parent: Scope) => SubquerySql;
  }) {
    this.draft = options.draft;
    this.session = options.session;
    this.#offset = options.offset;
    this.subquery = options.subquery;
  }

  /** A node whose type must be known by itself; untyped constants become text. */
  expression(node: Node, scope: Scope): Expression {
    return typed(this.term(node, scope), this.draft);
  }

  /** A node where a condition stands. */
  condition(node: Node, scope: Scope): Expression {
    const term = this.term(node, scope);
    if (isUntyped(term)) return untypedTo(term, OID.bool, this.draft);
    if (term.typeOid !== OID.bool) throw new Forward('unproven-type', 'a condition that is not boolean');
    return term;
  }

  term(node: Node, scope: Scope): Term {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw new Forward('too-long', 'the expression is nested too deeply');
    try {
      const term = this.#term(node, scope);
      if (isUntyped(term) || !term.isUngrouped || scope.grouped === null) return term;
      if (scope.nulled.has(term.value())) return nulled(term);
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
      case 'A_ArrayExpr':
        return arrayExpression(this, fields, 0, scope);
      case 'A_Indirection':
        return indirection(this, fields, scope);
      case 'A_Expr':
        return operator(this, fields, scope);
      case 'BoolExpr':
        return booleanOf(this, fields, scope);
      case 'NullTest': {
        const row = rowOf(fields['arg'] as Node);
        const isNot = fields['nulltesttype'] === 'IS_NOT_NULL';
        return row === null ? nullTest(this, fields, scope) : rowNullTest(this, row, isNot, scope);
      }
      case 'BooleanTest':
        return booleanTest(this, fields, scope);
      case 'CaseExpr':
        return caseOf(this, fields, scope);
      case 'CoalesceExpr':
        return coalesce(this, fields, scope);
      case 'MinMaxExpr':
        return extreme(this, fields, scope);
      case 'CollateClause':
        return collate(this, fields, scope);
      case 'FuncCall':
        return call(this, fields, scope);
      case 'SQLValueFunction':
        return sessionValue(this, fields);
      case 'SubLink':
        return sublink(this, fields, scope);
      case 'GroupingFunc':
        return this.#grouping(fields, scope);
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
      const expression = foundExpression(this.draft, found, level.namespace);
      const isDetermined = expression.column !== null && level.determined.has(expression.column.relation);
      const isFree = level.grouped !== null && level.aggregates === 'allowed' && !isDetermined;
      if (!isFree || level.grouped?.has(expression.value())) return expression;
      // A subquery cannot tell its outer query, so this is only for the query's own level.
      if (level !== scope) throw new Forward('unproven-syntax', 'a subquery uses a column that its outer query groups');
      return { ...expression, isUngrouped: true };
    }
    throw new Forward('unknown-column', `column "${path.join('.')}" is not known here`);
  }

  /** GROUPING (a, b): which of them this grouping set leaves out. */
  #grouping(fields: Fields, scope: Scope): Expression {
    if (scope.grouped === null || scope.aggregates !== 'allowed')
      throw new Forward('unproven-syntax', 'GROUPING where nothing is grouped');
    const { grouped, nulled: left } = scope;
    const known: Scope = { ...scope, nulled: new Set(), grouped: new Set([...grouped, ...left]) };
    let bits = 0;
    for (const node of list(fields['args'])) {
      const argument = this.expression(node, known).value();
      if (!known.grouped?.has(argument))
        throw new Forward('unproven-syntax', 'GROUPING of something that is not grouped');
      bits = bits * 2 + (left.has(argument) ? 1 : 0);
    }
    const value = derived(this.draft.facts(OID.int4), [], () => String(bits), { nullable: false });
    // No constant: it is another number in the rows of another set.
    return { ...value, relations: new Set(scope.namespace.relations.map((relation) => relation.id)) };
  }

  #constant(fields: Fields): Term {
    const location = (fields['location'] as number | undefined) ?? 0;
    // The grammar makes constants of its own (FETCH FIRST ROW ONLY).
    const start = location < 0 ? -1 : this.#offset(location);
    if (fields['isnull'] === true) return { untyped: 'null' };
    const text = fields['sval'] as Fields | undefined;
    if (text !== undefined)
      return { untyped: 'text', constant: { text: (text['sval'] as string | undefined) ?? '', start } };
    if (start >= 0 && fields['boolval'] === undefined) this.draft.requirePlainNumber(start);
    const integer = fields['ival'] as Fields | undefined;
    if (integer !== undefined) {
      return constantOf(OID.int4, { text: String((integer['ival'] as number | undefined) ?? 0), start }, this.draft);
    }
    const decimal = fields['fval'] as Fields | undefined;
    if (decimal !== undefined) {
      const digits = decimal['fval'] as string;
      return constantOf(numberType(digits), { text: digits, start }, this.draft);
    }
    const boolean = fields['boolval'] as Fields | undefined;
    if (boolean !== undefined) {
      return constantOf(OID.bool, { text: boolean['boolval'] === true ? 't' : 'f', start: -1 }, this.draft);
    }
    throw new Forward('unproven-syntax', 'a bit string');
  }

  #parameter(fields: Fields): Term {
    const index = ((fields['number'] as number | undefined) ?? 0) - 1;
    if (index < 0) throw new Forward('unproven-syntax', 'parameter $0');
    const known = this.draft.parameterTypes[index] ?? 0;
    if (known === 0 || known === OID.unknown) return { untyped: 'parameter', index };
    return untypedTo({ untyped: 'parameter', index }, known, this.draft);
  }

  #cast(fields: Fields, scope: Scope): Term {
    const { typeOid, typmod } = this.typeName(fields['typeName'] as Fields);
    const array = (fields['arg'] as Node)['A_ArrayExpr'];
    if (array !== undefined && typmod === -1 && this.draft.catalogue.resolveType(typeOid)?.isArray === true) {
      return arrayExpression(this, array, typeOid, scope);
    }
    return cast(this.term(fields['arg'] as Node, scope), typeOid, typmod, this.draft);
  }

  typeName(fields: Fields): { typeOid: number; typmod: number } {
    const path = names(fields['names']);
    if (path === null || fields['setof'] === true || fields['pct_type'] === true) {
      throw new Forward('unproven-type', 'a type that is not a plain name');
    }
    const isArray = list(fields['arrayBounds']).length > 0;
    const element = this.#findType(path);
    const typeOid = isArray ? arrayOf(element, this.draft.catalogue) : element;
    if (typeOid === 0) throw new Forward('unproven-type', `type ${path.join('.')}`);
    const modifiers = list(fields['typmods']);
    if (modifiers.length === 0) return { typeOid, typmod: -1 };
    const numbers = modifiers.map((node) => {
      const constant = node['A_Const']?.['ival'] as Fields | undefined;
      return constant === undefined ? Number.NaN : ((constant['ival'] as number | undefined) ?? 0);
    });
    const typmod = isArray ? null : typmodOf(typeOid, numbers);
    if (typmod === null) throw new Forward('unproven-type', 'a type with modifiers');
    return { typeOid, typmod };
  }

  #findType(path: readonly string[]): number {
    const name = path[path.length - 1] as string;
    if (path.length === 1 || (path.length === 2 && path[0] === 'pg_catalog')) {
      const builtin = typeByName(name);
      if (builtin !== 0) return builtin;
    }
    const { catalogue } = this.draft;
    if (path.length === 2) return usable(catalogue.findType(path[0] as string, name));
    if (path.length === 1) {
      for (const schema of this.session.searchPath) {
        const type = catalogue.findType(schema, name);
        if (type !== undefined) return usable(type);
        // Every table is a type, too.
        if (catalogue.find(schema, name) !== undefined) return 0;
      }
    }
    return 0;
  }
}

/** Modifier of `type(numbers)`; null when it is not proven, or Postgres refuses it. */
function typmodOf(typeOid: number, numbers: readonly number[]): number | null {
  const [first = Number.NaN, second = 0] = numbers;
  const isOne = numbers.length === 1;
  switch (typeOid) {
    case OID.varchar:
    case OID.bpchar:
      return isOne && first >= 1 && first <= 10_485_760 ? first + 4 : null;
    case OID.varbit:
      return isOne && first >= 1 && first <= 83_886_080 ? first : null;
    case OID.timestamp:
    case OID.timestamptz:
    case OID.time:
      return isOne && first >= 0 && first <= 6 ? first : null;
    case OID.numeric:
      return numbers.length <= 2 && first >= 1 && first <= 1_000 && second >= -1_000 && second <= 1_000
        ? ((first << 16) | (second & 0x7ff)) + 4
        : null;
    default:
      return null;
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

/** A grouped expression in a grouping set without it. */
function nulled(term: Expression): Expression {
  return {
    ...derived(term.facts, [], () => 'NULL', { typmod: term.typmod, collation: term.collation }),
    relations: term.relations,
  };
}
