// What a placement leaves out of a table, and when a statement may be answered all the same.
//
// Columns: those that are left out are not even named here, so that any name that is not found might be one of them, and
// several tables side by side might make a name ambiguous that looks plain. Rows: a table with a condition answers only where
// the WHERE of the same level implies the condition, so that the rows that are not here could not have counted.

import type { TableImage } from '../../contracts/catalogue.ts';
import { OID } from '../../pg/oid.ts';
import { type Condition, parseCondition } from '../../replica/placement/syntax.ts';
import type { Draft, Expression } from './expression.ts';
import { Forward } from './forward.ts';
import type { Namespace, Relation } from './scope.ts';

function isPartial(relation: Relation): boolean {
  return relation.table?.columnsWithheld === true;
}

/** A name without a relation. Throws Forward when a column that is left out could be meant. */
export function requireNameHere(namespace: Namespace, name: string, isFound: boolean): void {
  const { relations } = namespace;
  if (isFound && relations.length === 1) return;
  const partial = relations.find(isPartial);
  if (partial === undefined) return;
  throw new Forward('table-not-whole', `"${name}" may be a column of "${partial.alias}" that is not here`);
}

/** Where all columns of a relation, or their number, matter. Throws Forward. */
export function requireAllColumns(relations: readonly Relation[]): void {
  const partial = relations.find(isPartial);
  if (partial !== undefined) throw new Forward('table-not-whole', `only some columns of "${partial.alias}" are here`);
}

/** `where`: the conditions that all hold for rows of this level. Throws Forward when rows that are not here could be asked for. */
export function requireRows(relations: readonly Relation[], where: readonly Expression[], draft: Draft): void {
  for (const relation of relations) {
    const { table } = relation;
    if (table === null || table.rowFilter === null) continue;
    const condition = conditionOf(table.rowFilter);
    if (condition === null || !isImplied(condition, { relation, table, where, draft })) {
      throw new Forward('table-not-whole', `only rows of "${table.name}" with ${table.rowFilter} are here`);
    }
  }
}

/** Null when it is not in the language of placements: the row filter of the publication itself. */
function conditionOf(text: string): Condition | null {
  try {
    return parseCondition(text);
  } catch {
    return null;
  }
}

interface Level {
  readonly relation: Relation;
  readonly table: TableImage;
  readonly where: readonly Expression[];
  readonly draft: Draft;
}

/** True when every row that fulfils WHERE fulfils the condition; false when that is not known. */
function isImplied(condition: Condition, level: Level): boolean {
  switch (condition.kind) {
    case 'and':
      return condition.parts.every((part) => isImplied(part, level));
    case 'or':
      return condition.parts.some((part) => isImplied(part, level));
    case 'literal':
      return condition.value;
    case 'compare':
      return condition.operator === '=' && isAmong(condition.column, [condition.value.text], level);
    case 'in':
      return isAmong(
        condition.column,
        condition.values.map((value) => value.text),
        level,
      );
    default:
      return false;
  }
}

/** Types whose equal values have equal texts once these are in their usual form; others are left to the core. */
const USUAL_FORMS: ReadonlyMap<number, (text: string) => string | null> = new Map([
  [OID.text, (text) => text],
  [OID.varchar, (text) => text],
  [OID.uuid, (text) => text.toLowerCase()],
  [OID.int2, wholeNumber],
  [OID.int4, wholeNumber],
  [OID.int8, wholeNumber],
]);

function wholeNumber(text: string): string | null {
  return /^[+-]?\d+$/.test(text) ? BigInt(text.replace('+', '')).toString() : null;
}

/** Whether WHERE says that a column is one of constants that are all among `texts`. */
function isAmong(name: string, texts: readonly string[], { relation, table, where, draft }: Level): boolean {
  const column = table.columns.find((one) => one.name === name);
  if (column === undefined) return false;
  const isEnum = draft.catalogue.resolveType(column.typeOid)?.kind === 'e';
  const usual = isEnum ? (text: string): string => text : USUAL_FORMS.get(draft.catalogue.storageType(column.typeOid));
  if (usual === undefined) return false;
  const allowed = new Set(texts.map(usual));
  return where.some(({ equality }) => {
    if (equality === null || equality.left.column?.relation !== relation.id) return false;
    if (equality.left.column.attnum !== column.attnum || !equality.left.isPlain) return false;
    return equality.right.every(({ constant }) => {
      if (constant === null) return false;
      const text = usual(draft.bake(constant));
      return text !== null && allowed.has(text);
    });
  });
}
