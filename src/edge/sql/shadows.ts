// Functions, operators and casts of the database that could be chosen instead of a built-in one. `length(v)` of a varchar
// means pg_catalog.length(text), unless somebody has made a length(varchar) that search_path finds: it would fit better.
// What is named here is forwarded. Those that take a type of the database's own cannot be meant by built-in types, and are
// left out. (Relations that search_path finds first are the server's business: it knows them at each execution.)

export interface Shadows {
  /** `function schema.name` and `operator schema.name`. */
  readonly names: ReadonlySet<string>;
  /** True when the database's own collation changes the case of ASCII letters as everybody expects (Turkish does not). */
  readonly isCaseAscii: boolean;
  /** An implicit cast from a built-in type exists: it could make anything fit. */
  readonly hasImplicitCasts: boolean;
}

/** What is assumed while the core was never asked: nothing hides anything, and nothing is known of its letters. */
export const NO_SHADOWS: Shadows = { names: new Set(), isCaseAscii: false, hasImplicitCasts: false };

/** One column of texts: kind and `schema.name`, `case-ascii` or `cast`. For Postgres 15 to 18. */
export const SHADOWS_SQL = `SELECT DISTINCT 'function ' || n.nspname || '.' || p.proname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND EXISTS (SELECT FROM pg_catalog.pg_proc b WHERE b.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND b.proname = p.proname)
    AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proargtypes) AS a (type) WHERE a.type >= 16384)
UNION ALL SELECT DISTINCT 'operator ' || n.nspname || '.' || o.oprname
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
  WHERE o.oid >= 16384 AND n.nspname <> 'pg_catalog' AND o.oprleft < 16384 AND o.oprright < 16384
UNION ALL SELECT 'case-ascii' FROM pg_catalog.pg_database d
  WHERE d.datname = pg_catalog.current_database() AND pg_catalog.pg_encoding_to_char(d.encoding) = 'UTF8'
    AND coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale', d.datctype) !~* '^(tr|az)'
    AND d.datctype !~* '^(tr|az)'
UNION ALL SELECT DISTINCT 'cast' FROM pg_catalog.pg_cast c
  WHERE c.oid >= 16384 AND c.castcontext = 'i' AND c.castsource < 16384`;

/** From the rows of SHADOWS_SQL. */
export function shadowsOf(rows: readonly string[]): Shadows {
  return {
    names: new Set(rows.filter((row) => row.includes(' '))),
    isCaseAscii: rows.includes('case-ascii'),
    hasImplicitCasts: rows.includes('cast'),
  };
}

/** `function name` and `operator name` of those that a search path finds. */
export function shadowedIn(shadows: Shadows, searchPath: readonly string[]): ReadonlySet<string> {
  if (shadows.names.size === 0) return shadows.names;
  const found = new Set<string>();
  for (const entry of shadows.names) {
    const space = entry.indexOf(' ');
    for (const schema of searchPath) {
      if (entry.startsWith(`${schema}.`, space + 1))
        found.add(entry.slice(0, space + 1) + entry.slice(space + schema.length + 2));
    }
  }
  return found;
}
