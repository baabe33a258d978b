// Descriptions of replicated tables and types, as plain JSON: made by the source from the core's catalogue, carried in
// commit order inside the change stream and inside snapshots, read by every replica. OIDs are the core's own.

import type { OwnPlacement } from './placement.ts';

/** One column. `attnum` is the core's; dropped columns are simply absent. */
export interface ColumnImage {
  readonly attnum: number;
  readonly name: string;
  /** Type as declared (may be a domain); see `TypeImage` for anything that is not built in. */
  readonly typeOid: number;
  /** atttypmod; -1 when there is none. */
  readonly typmod: number;
  readonly notNull: boolean;
  /** attcollation: 0 none, 100 "default", 950 "C", 951 "POSIX", or another collation's OID. */
  readonly collationOid: number;
  /** True when comparing with this collation is comparing bytes (C, POSIX, C.UTF-8 builtin; "default" of a C database). */
  readonly collationIsC: boolean;
  /** True when two texts are equal only if their bytes are. */
  readonly collationIsDeterministic: boolean;
  /** '' or 's' (stored) or 'v' (virtual). Generated columns may be missing from the stream: then `replicated` is false. */
  readonly generated: '' | 's' | 'v';
  readonly identity: '' | 'a' | 'd';
  /** pg_get_expr of the default, for the catalogue; null when there is none. */
  readonly defaultText: string | null;
  /** Text value that rows older than the column have (pg_attribute.attmissingval); null = NULL. */
  readonly missingText: string | null;
  /** False when the stream does not carry the column; statements that touch it are forwarded. */
  readonly replicated: boolean;
}

export interface IndexImage {
  readonly oid: number;
  readonly name: string;
  readonly unique: boolean;
  readonly primary: boolean;
  readonly valid: boolean;
  /** Attnums of the key columns in order; 0 for an expression. */
  readonly keyAttnums: readonly number[];
  readonly partial: boolean;
  /** pg_get_indexdef. */
  readonly definition: string;
}

export interface ConstraintImage {
  readonly oid: number;
  readonly name: string;
  /** contype: p u f c x n. */
  readonly type: string;
  readonly definition: string;
}

export interface TableImage {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** relkind: r ordinary, p partitioned parent (holds no rows itself), v view (definition only). */
  readonly kind: 'r' | 'p' | 'v';
  /** relreplident. */
  readonly replicaIdentity: 'd' | 'n' | 'f' | 'i';
  /** Attnums that identify a row in U and D messages; empty when there is no identity; all columns for 'f'. */
  readonly identityAttnums: readonly number[];
  /** Attnums of the primary key in index order; empty when there is none. */
  readonly primaryKeyAttnums: readonly number[];
  readonly columns: readonly ColumnImage[];
  readonly indexes: readonly IndexImage[];
  readonly constraints: readonly ConstraintImage[];
  /** relrowsecurity: what a reader may see depends on policies, so reads are forwarded. */
  readonly rowSecurity: boolean;
  /** True when other tables inherit from it, so that reading it would have to read them too. */
  readonly hasChildren: boolean;
  /** Tables that inherit from it directly: its partitions, or children of another kind. Absent: unknown, or none. */
  readonly childOids?: readonly number[];
  /**
   * Of a view: its query as pg_get_viewdef prints it where only pg_catalog is in search_path, so that every other name comes
   * with its schema. Only views whose tables are all published are described; null for everything else.
   */
  readonly viewDefinition?: string | null;
  /** The publication's row filter (pg_get_expr), null = all rows. A filtered table is not the core's table: reads are forwarded unless configured otherwise. */
  readonly rowFilter: string | null;
  /** True when the table has columns that this replica's placement does not hold, and that are not even named here. */
  readonly columnsWithheld?: true;
}

/** A type that is not built in, or whose facts a reader needs. */
export interface TypeImage {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** typtype: b base, e enum, d domain, c composite, r range, m multirange. */
  readonly kind: string;
  /** typcategory. */
  readonly category: string;
  /** typarray, 0 when there is none. */
  readonly arrayOid: number;
  /** Element type when this is an array, else 0. */
  readonly elementOid: number;
  /** Base type when this is a domain, else 0. */
  readonly baseOid: number;
  readonly typmod: number;
  /** Labels in sort order when this is an enum, else empty. */
  readonly enumLabels: readonly string[];
}

/** Everything a new replica must know before its first row. */
export interface CatalogueImage {
  readonly version: 1;
  /** server_version_num of the core. */
  readonly serverVersion: number;
  /** server_version as the core prints it. */
  readonly serverVersionText: string;
  readonly database: string;
  /** datcollate/ICU locale facts: true when the database's default collation is C or POSIX. */
  readonly defaultCollationIsC: boolean;
  /** The core's default TimeZone, DateStyle, IntervalStyle … for sessions that do not set one (name → value). */
  readonly settings: Readonly<Record<string, string>>;
  /** Absent in a replica that holds everything. */
  readonly placement?: OwnPlacement;
  readonly tables: readonly TableImage[];
  readonly types: readonly TypeImage[];
}

/** Prefix of the transactional logical message that carries a `SchemaChange` as JSON, at its place in commit order. */
export const SCHEMA_MESSAGE_PREFIX = 'skerry.schema';

/** Prefix of the transactional logical message that carries `TableRows` as JSON: the contents of a table that was rewritten. */
export const ROWS_MESSAGE_PREFIX = 'skerry.rows';

/** What one DDL command changed: images are complete and replace what was known. Applying one twice is harmless. */
export interface SchemaChange {
  readonly version: 1;
  /** The publication that it was described for; absent in those of older versions. */
  readonly publication?: string;
  /** Command tag, e.g. ALTER TABLE. */
  readonly tag: string;
  readonly tables: readonly TableImage[];
  readonly types: readonly TypeImage[];
  /** OIDs of tables that are gone (dropped, or no longer published). */
  readonly droppedTables: readonly number[];
  /** OIDs of tables whose rows were rewritten (type change, volatile default): their rows follow as `TableRows`, from none. */
  readonly rewrittenTables: readonly number[];
  /** Made by a relay, not by DDL: the receiver's placement has changed to this. */
  readonly placement?: OwnPlacement;
}

/** Rows of a rewritten table, in the order of `attnums`; texts as the walsender would print them. */
export interface TableRows {
  readonly version: 1;
  readonly publication?: string;
  readonly table: number;
  readonly attnums: readonly number[];
  readonly rows: readonly (readonly (string | null)[])[];
}
