// UNION, INTERSECT, EXCEPT and VALUES: several selects under one list of columns, each coerced to the type they have in common.

import { coerce, commonType } from './coerce.ts';
import { carry, derivedRelation, unitedExpression } from './derived.ts';
import { refuseDomains } from './choices.ts';
import { type Draft, type Expression, mergeCollations, requireDeterministic, type Term } from './expression.ts';
import { Forward } from './forward.ts';
import { requireCanonical } from './grouping.ts';
import { type Fields, list, type Node } from './parse.ts';
import type { OutputColumn, Planning, Query, QueryPlace, Target } from './query.ts';
import { columnExpression } from './resolve.ts';
import type { Relation, Scope } from './scope.ts';
import type { Translator } from './translate.ts';

/** Selects of one compound: SQLite joins at most 500. */
const BRANCHES_COUNT_MAX = 200;

/** Rows of one VALUES. */
const ROWS_COUNT_MAX = 1_000;

/** Some selects as one: `text` gives the columns c0, c1 … */
export interface Compound {
  readonly columns: readonly OutputColumn[];
  readonly text: string;
  readonly inner: readonly Query[];
  readonly outer: ReadonlySet<number>;
  /** Postgres computes all rows of all branches. */
  readonly isWhole: boolean;
}

/** One side of a set operation. */
interface Branch {
  readonly targets: readonly Target[];
  /** A SELECT that gives these expressions as c0, c1 …, and may stand in a compound. */
  readonly core: (expressions: readonly Expression[]) => string;
  /** A compound that gives the targets as they are, to be continued. */
  readonly text: string | null;
  readonly inner: readonly Query[];
  readonly outer: ReadonlySet<number>;
  readonly mayVanish: boolean;
  readonly count: number;
}

export interface CompoundContext {
  readonly planning: Planning;
  readonly draft: Draft;
  readonly translator: Translator;
}

/** A SelectStmt with an `op`, without what stands after it (ORDER BY …) and before it (WITH). `scope`: what the branches see. */
export function setOperation(context: CompoundContext, fields: Fields, scope: Scope, place: QueryPlace): Compound {
  const isWhole = place.isWhole && isUnion(fields);
  const branch = combine(context, fields, scope, isWhole);
  return {
    columns: branch.targets.map(({ name, term }) => ({ name, expression: term as Expression })),
    text: branch.text as string,
    inner: branch.inner,
    outer: branch.outer,
    isWhole,
  };
}

function isUnion(fields: Fields): boolean {
  const op = (fields['op'] as string | undefined) ?? 'SETOP_NONE';
  if (op === 'SETOP_NONE') return true;
  return op === 'SETOP_UNION' && isUnion(fields['larg'] as Fields) && isUnion(fields['rarg'] as Fields);
}

function branchOf(context: CompoundContext, fields: Fields, scope: Scope, isWhole: boolean): Branch {
  const isOperation = ((fields['op'] as string | undefined) ?? 'SETOP_NONE') !== 'SETOP_NONE';
  const isClosed = ['sortClause', 'limitCount', 'limitOffset', 'withClause', 'lockingClause'].some(
    (name) => fields[name] !== undefined,
  );
  if (isOperation && !isClosed) return combine(context, fields, scope, isWhole);
  const query = context.planning.select(fields, scope, { isWhole, isBranch: true });
  return {
    targets: query.targets,
    core: (expressions) => {
      const sql = query.sql(expressions.map((each, index) => `${each.value()} AS c${index}`));
      return query.isClosed ? `SELECT * FROM (${sql})` : sql;
    },
    text: null,
    inner: [query],
    outer: query.outer,
    mayVanish: query.mayVanish,
    count: 1,
  };
}

function combine(context: CompoundContext, fields: Fields, scope: Scope, isWhole: boolean): Branch {
  const { draft, planning } = context;
  const left = branchOf(context, fields['larg'] as Fields, scope, isWhole);
  const right = branchOf(context, fields['rarg'] as Fields, scope, isWhole);
  const count = left.count + right.count;
  if (count > BRANCHES_COUNT_MAX) throw new Forward('too-long', `more than ${BRANCHES_COUNT_MAX} branches`);
  if (left.targets.length !== right.targets.length || left.targets.length === 0) {
    throw new Forward('unproven-syntax', 'branches with different columns, or with none');
  }
  const isAll = fields['all'] === true;
  const op = fields['op'] as string;
  const pairs = left.targets.map(({ name, term }, index) => ({
    name,
    terms: unite([term, (right.targets[index] as Target).term], draft) as [Expression, Expression],
  }));
  if (!isAll || op !== 'SETOP_UNION') {
    for (const { terms } of pairs) {
      requireDeterministic(mergeCollations(terms));
      for (const term of terms) requireCanonical(term);
      if (terms[0].typmod !== terms[1].typmod && terms[0].facts.family === 'numeric')
        throw new Forward('unproven-type', 'numerics of different scale in one set');
    }
  }
  // A branch that Postgres finds to be empty has no say in the modifier that the client is told of.
  const isMixed = pairs.some(({ terms }) => terms[0].typmod !== terms[1].typmod);
  if (isMixed && (left.mayVanish || right.mayVanish))
    throw new Forward('unproven-type', 'branches with different type modifiers');
  const [lefts, rights] = [pairs.map(({ terms }) => terms[0]), pairs.map(({ terms }) => terms[1])];
  const isSame = left.targets.every(({ term }, index) => term === lefts[index]);
  const text = isAll && op !== 'SETOP_UNION' ? counted(left, right, lefts, rights, op, planning) : null;
  const id = planning.nextRelation();
  const columns = pairs.map(({ name, terms }) => ({
    name,
    expression: { ...unitedExpression(terms[0], [terms[1]], draft), collation: mergeCollations(terms) },
  }));
  const targets = compoundTargets(compoundRelation(columns, id), draft);
  const plain =
    text ??
    `${left.text !== null && isSame ? left.text : left.core(lefts)} ${OPERATORS[op]}${isAll ? ' ALL' : ''} ${right.core(rights)}`;
  return {
    targets,
    core: (expressions) =>
      `SELECT ${expressions.map((each, index) => `${each.value()} AS c${index}`).join(', ')} FROM (${plain}) AS t${id}`,
    text: plain,
    inner: [...left.inner, ...right.inner],
    outer: new Set([...left.outer, ...right.outer]),
    mayVanish: left.mayVanish || right.mayVanish,
    count,
  };
}

const OPERATORS: Readonly<Record<string, string>> = {
  SETOP_UNION: 'UNION',
  SETOP_INTERSECT: 'INTERSECT',
  SETOP_EXCEPT: 'EXCEPT',
};

/** INTERSECT ALL, EXCEPT ALL: equal rows are told apart by counting them. */
function counted(
  left: Branch,
  right: Branch,
  lefts: readonly Expression[],
  rights: readonly Expression[],
  op: string,
  planning: Planning,
): string {
  const names = lefts.map((_, index) => `c${index}`);
  const number = (branch: Branch, expressions: readonly Expression[]): string =>
    `SELECT ${names.join(', ')}, row_number() OVER (PARTITION BY ${names.join(', ')}) AS n FROM (${branch.core(expressions)})`;
  const id = planning.nextRelation();
  return `SELECT ${names.join(', ')} FROM (${number(left, lefts)} ${OPERATORS[op]} ${number(right, rights)}) AS t${id}`;
}

/** Terms of one column in the type they have in common. */
function unite(terms: readonly Term[], draft: Draft): Expression[] {
  const typeOid = commonType(terms, draft);
  const united = terms.map((term) => coerce(term, typeOid, draft));
  refuseDomains(united);
  return united;
}

/** The rows of a VALUES list. */
export function valuesRows(context: CompoundContext, fields: Fields, scope: Scope): Compound {
  const { draft, translator } = context;
  const rows = list(fields['valuesLists']).map((row) => list(row['List']?.['items']));
  if (rows.length > ROWS_COUNT_MAX) throw new Forward('too-long', `more than ${ROWS_COUNT_MAX} rows of VALUES`);
  const width = rows[0]?.length ?? 0;
  if (width === 0 || rows.some((row) => row.length !== width))
    throw new Forward('unproven-syntax', 'VALUES lists of different lengths');
  const terms = rows.map((row) => row.map((node: Node) => translator.term(node, scope)));
  const columns =
    terms[0]?.map((_, index) =>
      unite(
        terms.map((row) => row[index] as Term),
        draft,
      ),
    ) ?? [];
  const united = columns.map((column, index) => {
    const [first, ...others] = column as [Expression, ...Expression[]];
    const expression = {
      ...unitedExpression(first, others, draft),
      collation: mergeCollations(column),
      relations: new Set(column.flatMap((each) => [...each.relations])),
    };
    return { name: `column${index + 1}`, expression };
  });
  const line = (at: number): string[] => columns.map((column) => (column[at] as Expression).value());
  const first = `SELECT ${line(0)
    .map((value, index) => `${value} AS c${index}`)
    .join(', ')}`;
  const rest = rows.slice(1).map((_, index) => `(${line(index + 1).join(', ')})`);
  return {
    columns: united,
    text: rest.length === 0 ? first : `${first} UNION ALL VALUES ${rest.join(', ')}`,
    inner: [],
    outer: new Set(united.flatMap(({ expression }) => [...expression.relations])),
    isWhole: false,
  };
}

/** The columns of a compound, read from `(text) AS t<id>`. */
export function compoundRelation(columns: Compound['columns'], id: number): Relation {
  // Nothing is written here: c0, c1 … are there.
  const readable = columns.map(({ name, expression }) => ({
    name,
    expression: { ...expression, value: () => '', key: null },
  }));
  return derivedRelation(id, '', carry(readable, false).columns, []);
}

/** What a select over the compound alone gives. */
export function compoundTargets(relation: Relation, draft: Draft): Target[] {
  return relation.columns.map((column) => ({ name: column.name, term: columnExpression(draft, relation, column) }));
}
