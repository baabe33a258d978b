// What the planner has to know of Postgres' types: how values of each compare in SQLite, how constants of it are bound, how
// it is read back, and which settings its text depends on.

import { builtinType, isBuiltinArray, OID } from '../../pg/oid.ts';
import type { Catalogue } from '../../replica/catalogue.ts';
import { Forward } from './forward.ts';
import {
  NEED_BYTEA_HEX,
  NEED_DATESTYLE_ISO,
  NEED_FLOAT_SHORTEST,
  NEED_INTERVALSTYLE_POSTGRES,
  NEED_MONETARY_DEFAULT,
  NEED_OUTPUT_DEFAULTS,
  NEED_TIMEZONE_UTC,
  type Reader,
  type Writer,
} from './plan.ts';

/** Types whose values compare with each other here. Types of one family but `integer`, `float` and `text` are one type. */
export type Family =
  | 'integer'
  | 'float'
  | 'text'
  | 'numeric'
  | 'oid'
  | 'bool'
  | 'bytea'
  | 'uuid'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'bpchar'
  | 'name'
  | 'char'
  | 'enum'
  | 'interval'
  | 'timetz'
  | 'jsonb'
  | 'inet'
  | 'macaddr'
  | 'bits'
  | 'lsn'
  /** Arrays and ranges whose printed forms are equal exactly when they are. */
  | 'printed'
  /** Only returned, never compared. */
  | 'opaque';

export interface TypeFacts {
  readonly oid: number;
  readonly family: Family;
  /** Whether SQLite orders the stored (or key) values as Postgres does; text families also need a C collation. */
  readonly isOrdered: boolean;
  /** Whether equal values have equal stored forms, so that DISTINCT and GROUP BY may use what is printed. */
  readonly isCanonical: boolean;
  /** Converts constants and parameters to the stored form; null when there are none. */
  readonly writer: Writer | null;
  /** The same for the form that is compared, when it is another one. */
  readonly keyWriter: Writer | null;
  readonly reader: Reader;
  readonly textNeeds: number;
  /** SQL of what compares, from SQL of a stored value, where neither that itself nor a `$key` column does. */
  readonly keySql?: (sql: string) => string;
}

const ALL_NEEDS =
  NEED_TIMEZONE_UTC |
  NEED_DATESTYLE_ISO |
  NEED_INTERVALSTYLE_POSTGRES |
  NEED_FLOAT_SHORTEST |
  NEED_BYTEA_HEX |
  NEED_MONETARY_DEFAULT |
  NEED_OUTPUT_DEFAULTS;

function facts(
  oid: number,
  family: Family,
  writer: Writer | null,
  reader: Reader,
  more: Partial<TypeFacts> = {},
): TypeFacts {
  const isOrdered = writer !== null;
  return { oid, family, isOrdered, isCanonical: isOrdered, writer, keyWriter: writer, reader, textNeeds: 0, ...more };
}

function keyed(kind: string): Partial<TypeFacts> {
  return { keyWriter: null, keySql: (sql) => `skerry_value_key('${kind}', ${sql})` };
}

/** Elements whose texts are equal exactly when they are. */
const PRINTED_ELEMENTS = new Set<number>([
  OID.int2,
  OID.int4,
  OID.int8,
  OID.oid,
  OID.text,
  OID.varchar,
  OID.name,
  OID.uuid,
  OID.bool,
  OID.bytea,
  OID.date,
  OID.time,
  OID.timestamp,
  OID.timestamptz,
  OID.inet,
  OID.cidr,
  OID.macaddr,
]);

/** int4range, int8range, daterange, tsrange, tstzrange. */
const PRINTED_RANGES = new Set<number>([3904, 3926, 3912, 3908, 3910]);

const KNOWN = new Map<number, TypeFacts>(
  [
    facts(OID.int2, 'integer', 'int2', 'integer'),
    facts(OID.int4, 'integer', 'int4', 'integer'),
    // Read as text: SQLite's integers exceed what the driver gives back exactly. See `outputSql`.
    facts(OID.int8, 'integer', 'int8', 'text'),
    facts(OID.oid, 'oid', 'oid', 'integer'),
    // 0 and -0 are equal and print differently.
    facts(OID.float4, 'float', 'float4', 'float4', { textNeeds: NEED_FLOAT_SHORTEST, isCanonical: false }),
    facts(OID.float8, 'float', 'float8', 'float8', { textNeeds: NEED_FLOAT_SHORTEST, isCanonical: false }),
    facts(OID.numeric, 'numeric', 'numeric-text', 'text', { keyWriter: 'numeric-key', isCanonical: false }),
    facts(OID.text, 'text', 'text', 'text'),
    facts(OID.varchar, 'text', 'text', 'text'),
    facts(OID.bpchar, 'bpchar', 'text', 'text', { keyWriter: 'bpchar', isCanonical: false }),
    facts(OID.name, 'name', 'name', 'text'),
    facts(OID.char, 'char', null, 'text'),
    facts(OID.bool, 'bool', 'bool', 'bool'),
    facts(OID.bytea, 'bytea', 'bytea', 'bytea', { textNeeds: NEED_BYTEA_HEX }),
    facts(OID.uuid, 'uuid', 'uuid', 'text'),
    facts(OID.date, 'date', 'date', 'temporal', { textNeeds: NEED_DATESTYLE_ISO }),
    facts(OID.time, 'time', 'time', 'text'),
    facts(OID.timestamp, 'timestamp', 'timestamp', 'temporal', { textNeeds: NEED_DATESTYLE_ISO }),
    facts(OID.timestamptz, 'timestamptz', 'timestamptz', 'temporal', {
      textNeeds: NEED_DATESTYLE_ISO | NEED_TIMEZONE_UTC,
    }),
    // A day and 24 hours are equal.
    facts(OID.interval, 'interval', 'typed', 'text', {
      textNeeds: NEED_INTERVALSTYLE_POSTGRES,
      isCanonical: false,
      ...keyed('interval'),
    }),
    facts(OID.timetz, 'timetz', null, 'text', { isOrdered: true, isCanonical: true, ...keyed('timetz') }),
    // 1.0 and 1.00 are equal.
    facts(OID.jsonb, 'jsonb', 'typed', 'text', { isOrdered: false, isCanonical: false, ...keyed('jsonb') }),
    facts(OID.json, 'opaque', 'typed', 'text', { isOrdered: false, isCanonical: false, keyWriter: null }),
    facts(OID.inet, 'inet', 'typed', 'text', keyed('inet')),
    facts(OID.cidr, 'inet', 'typed', 'text', keyed('inet')),
    facts(OID.macaddr, 'macaddr', 'typed', 'text'),
    facts(OID.varbit, 'bits', 'typed', 'text'),
    facts(OID.bit, 'bits', null, 'text', { isOrdered: true, isCanonical: true }),
    facts(OID.pgLsn, 'lsn', 'typed', 'text', keyed('lsn')),
  ].map((entry) => [entry.oid, entry]),
);

/** Settings that the text of types without a family depends on. */
const OPAQUE_NEEDS = new Map<number, number>([
  [OID.interval, NEED_INTERVALSTYLE_POSTGRES],
  [OID.money, NEED_MONETARY_DEFAULT],
  [OID.xml, NEED_OUTPUT_DEFAULTS],
  ...[OID.point, OID.lseg, OID.path, OID.box, OID.polygon, OID.line, OID.circle].map(
    (oid) => [oid, NEED_FLOAT_SHORTEST] as const,
  ),
  // Ranges of timestamps and dates, and their multiranges.
  ...[3908, 3912, 4533, 4535].map((oid) => [oid, NEED_DATESTYLE_ISO] as const),
  ...[3910, 4534].map((oid) => [oid, NEED_DATESTYLE_ISO | NEED_TIMEZONE_UTC] as const),
]);

/** Printed as names, which depend on search_path and on catalogues that are not here. */
const NAMED_BY_CATALOGUE = new Set<number>([
  OID.regproc,
  OID.regclass,
  OID.regtype,
  OID.regnamespace,
  OID.regrole,
  2202,
  2203,
  2204,
  3734,
  3769,
  4191,
  1033,
]);

/** Facts of a type that a column has; domains are followed. Throws Forward for types that cannot even be returned. */
export function typeFacts(declaredOid: number, catalogue: Catalogue): TypeFacts {
  const resolved = catalogue.resolveType(declaredOid);
  if (resolved === null) throw new Forward('unproven-type', `type ${declaredOid} is not known here`);
  const known = KNOWN.get(resolved.oid);
  if (known !== undefined) return known;
  if (resolved.kind === 'e') {
    return { ...facts(resolved.oid, 'enum', 'enum', 'text'), isOrdered: true };
  }
  const textNeeds = opaqueNeeds(resolved.oid, catalogue);
  const isReadable = isBuiltinArray(resolved.oid) || RANGES.has(resolved.oid);
  const element = catalogue.type(resolved.elementOid);
  const isPrinted = resolved.isArray
    ? PRINTED_ELEMENTS.has(resolved.elementOid) || element?.kind === 'e'
    : PRINTED_RANGES.has(resolved.oid);
  return facts(resolved.oid, isPrinted ? 'printed' : 'opaque', isReadable ? 'typed' : null, 'text', {
    textNeeds,
    isOrdered: false,
    isCanonical: isPrinted,
    keyWriter: isPrinted && isReadable ? 'typed' : null,
  });
}

const RANGES = new Set<number>([...PRINTED_RANGES, 3906]);

function opaqueNeeds(oid: number, catalogue: Catalogue): number {
  if (NAMED_BY_CATALOGUE.has(oid)) throw new Forward('unproven-type', `type ${oid} prints names of the catalogue`);
  const builtin = builtinType(oid);
  if (builtin !== undefined) {
    if (isBuiltinArray(oid)) return typeFacts(builtin.elementOid, catalogue).textNeeds;
    return OPAQUE_NEEDS.get(oid) ?? 0;
  }
  const resolved = catalogue.resolveType(oid);
  if (resolved?.isArray) return typeFacts(resolved.elementOid, catalogue).textNeeds;
  // Composite types, ranges over anything, types of extensions.
  return ALL_NEEDS;
}

/** typlen of a base type. */
export function typeLength(oid: number, kind: Family): number {
  if (kind === 'enum') return 4;
  return builtinType(oid)?.length ?? -1;
}

/** OID of the array type over a type; 0 when there is none here. */
export function arrayOf(oid: number, catalogue: Catalogue): number {
  return builtinType(oid)?.arrayOid ?? catalogue.type(oid)?.arrayOid ?? 0;
}

/** Whether there are domains over this type: an expression of it could have one of them as its type. */
export function hasDomains(oid: number, catalogue: Catalogue): boolean {
  for (const type of catalogue.types())
    if (type.kind === 'd' && catalogue.resolveType(type.oid)?.oid === oid) return true;
  return false;
}

/** SQL names that the grammar does not turn into pg_catalog names by itself. */
const TYPE_NAMES: Readonly<Record<string, number>> = {
  int2: OID.int2,
  int4: OID.int4,
  int8: OID.int8,
  float4: OID.float4,
  float8: OID.float8,
  numeric: OID.numeric,
  text: OID.text,
  varchar: OID.varchar,
  bpchar: OID.bpchar,
  name: OID.name,
  bool: OID.bool,
  bytea: OID.bytea,
  uuid: OID.uuid,
  date: OID.date,
  time: OID.time,
  timestamp: OID.timestamp,
  timestamptz: OID.timestamptz,
  oid: OID.oid,
  json: OID.json,
  jsonb: OID.jsonb,
  inet: OID.inet,
  interval: OID.interval,
  cidr: OID.cidr,
  macaddr: OID.macaddr,
  timetz: OID.timetz,
  varbit: OID.varbit,
  bit: OID.bit,
  pg_lsn: OID.pgLsn,
  int4range: 3904,
  numrange: 3906,
  tsrange: 3908,
  tstzrange: 3910,
  daterange: 3912,
  int8range: 3926,
};

/** The built-in type called so in pg_catalog, among those the planner works with; 0 when it is none of them. */
export function typeByName(name: string): number {
  return Object.hasOwn(TYPE_NAMES, name) ? (TYPE_NAMES[name] as number) : 0;
}
