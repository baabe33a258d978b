// Functions in FROM: generate_series of integers, as rows of a JSON array, which SQLite reads like a table.

import { OID } from '../../pg/oid.ts';
import { coerce } from './coerce.ts';
import { type Expression, isUntyped } from './expression.ts';
import { Forward } from './forward.ts';
import type { From, FromContext } from './from.ts';
import { type Fields, list, names, type Node } from './parse.ts';
import { emptyScope, type Relation, type RelationColumn } from './scope.ts';

/** A RangeFunction node, under this alias. */
export function functionInFrom(
  fields: Fields,
  alias: { readonly name: string; readonly columns: readonly string[] } | null,
  { planning, draft, translator }: FromContext,
): From {
  const functions = list(fields['functions']);
  const call = list(functions[0]?.['List']?.['items'])[0]?.['FuncCall'];
  const path = names(call?.['funcname']);
  const name = path?.[path.length - 1] ?? '';
  const isBuiltIn = path !== null && (path.length === 1 || (path.length === 2 && path[0] === 'pg_catalog'));
  const isPlain = functions.length === 1 && fields['is_rowsfrom'] !== true && fields['coldeflist'] === undefined;
  if (call === undefined || !isPlain || !isBuiltIn || name !== 'generate_series')
    throw new Forward('unproven-function', `${name === '' ? 'a function' : name} in FROM`);
  if (path.length === 1) draft.requireBuiltIn('function', name);
  const nodes: readonly Node[] = list(call['args']);
  const isVariadic = call['func_variadic'] === true || call['agg_star'] === true;
  if (nodes.length < 2 || nodes.length > 3 || isVariadic) throw new Forward('unproven-function', 'generate_series');
  // Arguments out of other things in FROM would be read once for each of their rows: constants and parameters only.
  const terms = nodes.map((node) => translator.term(node, emptyScope()));
  const known = terms.filter((term): term is Expression => !isUntyped(term));
  if (known.length === 0 || known.some(({ facts, relations }) => facts.family !== 'integer' || relations.size > 0))
    throw new Forward('unproven-function', 'generate_series of other than integers');
  const typeOid = known.some((term) => term.typeOid === OID.int8) ? OID.int8 : OID.int4;
  const values = terms.map((term) => coerce(term, typeOid, draft).value());
  // Too many rows, and a step of nothing, are left to the core.
  draft.mayFail = true;
  const id = planning.nextRelation();
  const isNumbered = fields['ordinality'] === true;
  const called = alias?.name ?? name;
  const columnOf = (columnName: string, sql: string, oid: number): RelationColumn => ({
    name: columnName,
    typeOid: oid,
    typmod: -1,
    clientTypmod: -1,
    collation: null,
    value: sql,
    key: sql,
    tableOid: 0,
    attnum: 0,
    notNull: true,
    isReplicated: true,
  });
  const columns = [
    // The one column of a function takes the alias's name.
    columnOf(alias?.columns[0] ?? called, `t${id}.value`, typeOid),
    ...(isNumbered ? [columnOf(alias?.columns[1] ?? 'ordinality', `(t${id}.key + 1)`, OID.int8)] : []),
  ];
  if ((alias?.columns.length ?? 0) > columns.length)
    throw new Forward('unknown-column', 'an alias names more columns than there are');
  const relation: Relation = { id, alias: called, schema: null, columns, table: null, isOptional: false };
  return {
    sql: `json_each(skerry_series(${values.join(', ')})) AS t${id}`,
    namespace: {
      relations: [relation],
      visible: columns.map((column) => ({ name: column.name, found: { relation, column } })),
    },
  };
}
