// Names: which table or column a name in a statement means, by Postgres' rules.

import type { ColumnImage, TableImage } from '../../contracts/catalogue.ts';
import { quoteAlways } from '../../pg/identifier.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import { sqlColumnName, sqlTableName } from '../../replica/layout.ts';
import { codecOf } from '../../replica/values.ts';
import type { CarriedColumn } from './derived.ts';
import type { Collation, Expression } from './expression.ts';
import { Forward } from './forward.ts';
import type { Fields } from './parse.ts';
import type { PlanningSession } from './plan.ts';
import type { Query } from './query.ts';

/** A column of something in FROM. */
export interface RelationColumn {
  readonly name: string;
  /** As declared; may be a domain. */
  readonly typeOid: number;
  readonly typmod: number;
  readonly clientTypmod: number;
  readonly collation: Collation | 'conflict' | null;
  /** SQL of value and comparison form; null where there is no such form. */
  readonly value: string;
  readonly key: string | null;
  /** What the client is told: 0, 0 when not a table's column. */
  readonly tableOid: number;
  readonly attnum: number;
  readonly notNull: boolean;
  readonly isReplicated: boolean;
  /** What Postgres may see through: a constant of a query in FROM. */
  readonly mayFold?: boolean;
  /** Set when it is what a join's alias calls something that is more than a column. */
  readonly expression?: Expression;
}

/** Something in FROM that columns may be asked of. */
export interface Relation {
  readonly id: number;
  /** Name it is called by; one that nobody can write once a join's alias hides it. */
  alias: string;
  /** Schema, when a plain table without alias: `schema.table.column` works then. */
  schema: string | null;
  readonly columns: readonly RelationColumn[];
  /** For the lane; null for subqueries. */
  readonly table: TableImage | null;
  /** On the side of an outer join that may be missing. Set while FROM is read. */
  isOptional: boolean;
  /** A query that gives at most one row. */
  readonly isSingle?: boolean;
  /** Read from these tables: no index gives the order of all of them. */
  readonly memberOids?: readonly number[];
  /** The query whose rows it is. */
  readonly source?: Query;
  /** Only other names for columns of others. */
  readonly isAlias?: boolean;
}

/** A column as names without a relation, and `*`, see it: USING makes one of two. */
export interface VisibleColumn {
  readonly name: string;
  readonly found: Found;
}

export type Found =
  | { readonly relation: Relation; readonly column: RelationColumn }
  | { readonly expression: Expression };

/** What names mean inside one part of FROM. */
export interface Namespace {
  readonly relations: readonly Relation[];
  readonly visible: readonly VisibleColumn[];
}

/** One query level. */
export interface Scope {
  readonly parent: Scope | null;
  namespace: Namespace;
  /** Texts of grouped expressions; null when the query does not group. */
  grouped: ReadonlySet<string> | null;
  /** Relations whose primary key is grouped: all their columns may be used. */
  determined: ReadonlySet<number>;
  /** Where aggregates may stand now. */
  aggregates: 'allowed' | 'refused';
  /** Queries of this level's WITH, by name. */
  readonly subqueries: ReadonlyMap<string, CommonTable>;
  /** Texts of what this select of several grouping sets does not group by: NULL there. */
  nulled: ReadonlySet<string>;
  /** Definitions of the WINDOW clause, by name; null where window functions may not stand. */
  windows: ReadonlyMap<string, Fields> | null;
}

/** A query of WITH, once it is planned. */
export interface CommonTable {
  /** Name in SQLite; its columns are c0, c1 … there. */
  readonly sqlName: string;
  readonly columns: readonly CarriedColumn[];
  /** Why it may not be read here; null when it may. */
  readonly refused: string | null;
  /** It gives at most one row. */
  readonly isSingle?: boolean;
  /** Absent for a recursion, whose rows nobody knows. */
  readonly source?: Query;
  /** While it is being defined: columns that start at a small constant. */
  readonly counters?: readonly boolean[];
}

export function emptyScope(): Scope {
  return {
    parent: null,
    namespace: { relations: [], visible: [] },
    grouped: null,
    determined: new Set(),
    aggregates: 'refused',
    subqueries: new Map(),
    nulled: new Set(),
    windows: null,
  };
}

/** Finds a table. Throws Forward when it is not one that can be read here; which rows are here is for coverage.ts. */
export function findTable(
  catalogue: Catalogue,
  session: PlanningSession,
  schema: string | null,
  name: string,
): TableImage {
  const table = schema === null ? inPath(catalogue, session, name) : catalogue.find(schema, name);
  if (table === undefined) {
    if (schema === 'pg_catalog' || schema === 'information_schema' || (schema === null && name.startsWith('pg_'))) {
      throw new Forward('catalogue', `${name} is read from the core's catalogue`);
    }
    throw new Forward('unknown-table', `relation "${name}" is not replicated`);
  }
  if (table.rowSecurity) throw new Forward('table-not-whole', `"${name}" has row security`);
  return table;
}

/** Tables that a read of one with heirs is spread over, at most. */
const MEMBERS_COUNT_MAX = 64;

/**
 * The tables whose rows a read of `table` gives: itself, its partitions, those that inherit from it. `isOnly`: ONLY was
 * written. Throws Forward when not all rows of all of them are here.
 */
export function membersOf(catalogue: Catalogue, table: TableImage, isOnly: boolean): TableImage[] {
  const members: TableImage[] = [];
  const seen = new Set<number>();
  const add = (member: TableImage | undefined): void => {
    if (member === undefined) throw new Forward('table-not-whole', `not all tables of "${table.name}" are here`);
    // A table may inherit from two that inherit from one.
    if (seen.has(member.oid)) return;
    seen.add(member.oid);
    if (member.kind === 'r') members.push(member);
    if (members.length > MEMBERS_COUNT_MAX) throw new Forward('too-long', `more than ${MEMBERS_COUNT_MAX} partitions`);
    if (isOnly) return;
    if (member.hasChildren && member.childOids === undefined)
      throw new Forward('table-not-whole', `other tables inherit from "${member.name}"`);
    for (const oid of member.childOids ?? []) add(catalogue.table(oid));
  };
  add(table);
  // For a table alone it is seen later whether the statement asks for more than is here, see coverage.ts.
  const part = members.length === 1 && members[0] === table ? undefined : members.find((one) => one.rowFilter !== null);
  if (part !== undefined) throw new Forward('table-not-whole', `only some rows of "${part.name}" are here`);
  // A partitioned table without partitions has no rows, and nothing to read them from.
  if (members.length === 0) throw new Forward('table-not-whole', `"${table.name}" has no partitions here`);
  return members;
}

/** The rows of several tables as those of one, under the SQLite alias `t<id>`: columns have the names of the first table's. */
export function membersSql(
  catalogue: Catalogue,
  table: TableImage,
  members: readonly TableImage[],
  id: number,
): string {
  const selects = members.map((member) => {
    const columns = table.columns.flatMap((column) => {
      if (!column.replicated) return [];
      const own = member.columns.find((each) => each.name === column.name);
      const isSame = own !== undefined && own.replicated && own.typeOid === column.typeOid;
      if (!isSame) throw new Forward('column-not-replicated', `column "${column.name}" of "${member.name}"`);
      const [from, to] = [sqlColumnName(own), sqlColumnName(column)];
      const hasKey = codecOf(catalogue.storageType(column.typeOid)).hasKey;
      return ['', ...(hasKey ? ['$key'] : [])].map(
        (suffix) => `${quoteAlways(`${from}${suffix}`)} AS ${quoteAlways(`${to}${suffix}`)}`,
      );
    });
    return `SELECT ${columns.length === 0 ? '1 AS none' : columns.join(', ')} FROM ${quoteAlways(sqlTableName(member))}`;
  });
  return `(${selects.join(' UNION ALL ')}) AS t${id}`;
}

function inPath(catalogue: Catalogue, session: PlanningSession, name: string): TableImage | undefined {
  // Names of the catalogue come first, and all of them begin so.
  if (name.startsWith('pg_')) return undefined;
  for (const schema of session.searchPath) {
    if (schema === 'pg_catalog' || schema.startsWith('pg_temp')) continue;
    const table = catalogue.find(schema, name);
    if (table !== undefined) return table;
  }
  return undefined;
}

/** A table in FROM, under the SQLite alias `t<id>`. */
export function tableRelation(catalogue: Catalogue, table: TableImage, id: number, alias: string | null): Relation {
  return {
    id,
    alias: alias ?? table.name,
    schema: alias === null ? table.schema : null,
    columns: table.columns.map((column) => tableColumn(catalogue, table, column, id)),
    table,
    isOptional: false,
  };
}

function tableColumn(catalogue: Catalogue, table: TableImage, column: ColumnImage, id: number): RelationColumn {
  const storageOid = catalogue.storageType(column.typeOid);
  const sqlName = sqlColumnName(column);
  const value = `t${id}.${quoteAlways(sqlName)}`;
  return {
    name: column.name,
    typeOid: column.typeOid,
    typmod: column.typmod,
    clientTypmod: domainTypmod(catalogue, column),
    collation:
      column.collationOid === 0
        ? null
        : {
            oid: column.collationOid,
            isC: column.collationIsC,
            isDeterministic: column.collationIsDeterministic,
            strength: 'implicit',
          },
    value,
    key: codecOf(storageOid).hasKey ? `t${id}.${quoteAlways(`${sqlName}$key`)}` : value,
    tableOid: table.oid,
    attnum: column.attnum,
    notNull: column.notNull,
    isReplicated: column.replicated,
  };
}

/** A client is told the base type of a domain, with the domain's modifier. */
function domainTypmod(catalogue: Catalogue, column: ColumnImage): number {
  let { typmod } = column;
  let type = catalogue.type(column.typeOid);
  for (let depth = 0; type?.kind === 'd' && depth < 64; depth += 1) {
    if (typmod === -1) typmod = type.typmod;
    type = catalogue.type(type.baseOid);
  }
  return typmod;
}

/** `table AS alias` for SQLite's FROM. */
export function tableSql(table: TableImage, id: number): string {
  return `${quoteAlways(sqlTableName(table))} AS t${id}`;
}
