// SQL that describes published tables and types as the JSON of contracts/catalogue.ts. One text, used in two places: by the
// source when it copies or has no event trigger, and inside the event trigger's function. Postgres 15 to 18.

/** What the catalogue is read under: names in definitions come with their schema, as in the event triggers' functions. */
export const CATALOGUE_SEARCH_PATH = 'pg_catalog';

/** Settings under which values become text, in the stream, in COPY and in the event trigger alike: one text path. */
export const PINNED_SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: 'ISO, YMD',
  TimeZone: 'UTC',
  IntervalStyle: 'postgres',
  extra_float_digits: '3',
  bytea_output: 'hex',
};

/** An SQL string literal. */
export function sqlLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`;
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** An SQL identifier, always quoted. */
export function sqlName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * A subquery `(relid oid, attrs int2[], filter text)`: what the publication sends. Columns that it does not send are
 * missing from `attrs`.
 */
export function publishedSql(publication: string): string {
  // pg_get_publication_tables opens every table it gives from 16 on: asked inside one's DDL it would wait for another's, and
  // two would deadlock. Of FOR ALL TABLES, which is the usual one, the catalogue says the same without a lock.
  return `(SELECT g.relid, coalesce(g.attrs, (SELECT array_agg(a.attnum) FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = g.relid AND a.attnum > 0 AND NOT a.attisdropped AND (a.attgenerated = '' OR a.attgenerated = g.generated))) AS attrs,
      pg_catalog.pg_get_expr(g.qual, g.relid) AS filter
    FROM (
      SELECT t.oid AS relid, NULL::int2[] AS attrs, NULL::pg_node_tree AS qual,
        coalesce(nullif(pg_catalog.to_jsonb(pb) ->> 'pubgencols', 'n'), '') AS generated
      FROM pg_catalog.pg_publication pb CROSS JOIN pg_catalog.pg_class t
      WHERE pb.pubname = ${publication} AND pb.puballtables AND NOT pb.pubviaroot AND t.relkind = 'r' AND t.oid >= 16384
      UNION ALL
      SELECT l.relid, l.attrs::int2[], l.qual, ''
      FROM pg_catalog.pg_publication pb CROSS JOIN LATERAL pg_catalog.pg_get_publication_tables(pb.pubname::text) l
      WHERE pb.pubname = ${publication} AND NOT (pb.puballtables AND NOT pb.pubviaroot)
    ) g
    JOIN pg_catalog.pg_class gc ON gc.oid = g.relid AND gc.relpersistence = 'p')`;
}

/** Texts that every other order than that of bytes sorts differently somewhere: cases, marks, planes, what is ignorable. */
const PROBES = [
  '',
  ' ',
  '!',
  '-',
  '_',
  '0',
  '9',
  '10',
  'A',
  'B',
  'Z',
  'a',
  'ab',
  'a b',
  'a-b',
  'aB',
  'b',
  'z',
  '~',
  'ae',
  'æ',
  'Ä',
  'ä',
  'a\u0308',
  'é',
  'ß',
  'ss',
  'ı',
  '\u00ad',
  '\u200b',
  'я',
  'ー',
  '中',
  '\ud7ff',
  '\ue000',
  '\ufb01',
  'ｱ',
  '\uffff',
  '\u{10000}',
  '\u{1f600}',
  '\u{10ffff}',
];

/**
 * The C library's C.UTF-8 is meant to be the order of code points, which is that of bytes, and Postgres takes it for one that
 * never changes. Libraries of before 2022 did it in ways of their own, so that it is tried, too.
 */
const C_UTF8_IS_BYTES = `(SELECT pg_catalog.bool_and((a COLLATE pg_catalog."default" < b) = (a COLLATE pg_catalog."C" < b))
    FROM pg_catalog.unnest(ARRAY[${PROBES.map((text) => `'${text}'`).join(', ')}]) a,
      pg_catalog.unnest(ARRAY[${PROBES.map((text) => `'${text}'`).join(', ')}]) b)`;

const COLLATION_IS_C = `CASE
    WHEN a.attcollation = 0 THEN true
    WHEN a.attcollation IN (950, 951) THEN true
    WHEN a.attcollation = 100 THEN (SELECT ${databaseIsC('d')} FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    ELSE coalesce((SELECT (co.collprovider = 'c' AND co.collcollate IN ('C', 'POSIX'))
        OR (co.collprovider = 'b' AND pg_catalog.to_jsonb(co) ->> 'colllocale' IN ('C', 'C.UTF-8', 'PG_C_UTF8'))
      FROM pg_catalog.pg_collation co WHERE co.oid = a.attcollation), false) END`;

/** SQL that is true when the database row `alias` sorts text by its bytes. */
function databaseIsC(alias: string): string {
  return `((${alias}.datlocprovider = 'c' AND ${alias}.datcollate IN ('C', 'POSIX'))
    OR (${alias}.datlocprovider = 'c' AND ${alias}.datcollate ~* '^C\\.utf-?8$' AND ${C_UTF8_IS_BYTES})
    OR (${alias}.datlocprovider = 'b' AND pg_catalog.to_jsonb(${alias}) ->> 'datlocale' IN ('C', 'C.UTF-8', 'PG_C_UTF8')))`;
}

/**
 * Only generated columns mention others. Naming the table for every default would make Postgres before 16 find names for all
 * its columns each time: 20 s for a table of 1,500 columns.
 */
const RELATION_OF_DEFAULT = `CASE WHEN a.attgenerated = '' THEN 0::oid ELSE d.adrelid END`;

/**
 * A SELECT of one json array of `TableImage`. `publication` is an SQL expression (text); `only` an SQL expression (oid[])
 * that limits the tables, or null for all.
 */
export function tableImagesSql(publication: string, only: string | null): string {
  const limited = (column: string): string => (only === null ? 'true' : `${column} = ANY (${only})`);
  return `WITH RECURSIVE published AS MATERIALIZED ${publishedSql(publication)},
  parents AS (
    SELECT i.inhparent AS relid FROM pg_catalog.pg_inherits i JOIN published p ON p.relid = i.inhrelid
    UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN parents p ON p.relid = i.inhrelid
  ),
  chosen AS (
    SELECT relid, attrs, filter, 'r' AS kind FROM published WHERE ${limited('relid')}
    UNION ALL
    SELECT c.oid, NULL, NULL, 'p' FROM parents JOIN pg_catalog.pg_class c ON c.oid = parents.relid AND c.relkind = 'p'
    WHERE c.oid NOT IN (SELECT relid FROM published) AND ${limited('c.oid')}
    UNION ALL
    SELECT c.oid, NULL, NULL, 'v' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'v' AND c.oid >= 16384 AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND ${limited('c.oid')}
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
        JOIN pg_catalog.pg_class b ON d.refclassid = 'pg_catalog.pg_class'::regclass AND b.oid = d.refobjid
        WHERE r.ev_class = c.oid AND b.oid <> c.oid AND b.relkind <> 'v'
          AND b.oid NOT IN (SELECT relid FROM published) AND b.oid NOT IN (SELECT relid FROM parents))
  )
  SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', t.kind,
    'replicaIdentity', c.relreplident,
    'identityAttnums', CASE c.relreplident
      WHEN 'f' THEN (SELECT pg_catalog.json_agg(a.attnum ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (t.attrs IS NULL OR a.attnum = ANY (t.attrs)))
      WHEN 'd' THEN coalesce((SELECT pg_catalog.to_json(x.indkey::int2[]) FROM pg_catalog.pg_index x
        WHERE x.indrelid = c.oid AND x.indisprimary AND x.indisvalid), '[]')
      WHEN 'i' THEN coalesce((SELECT pg_catalog.to_json((x.indkey::int2[])[0:x.indnkeyatts - 1]) FROM pg_catalog.pg_index x
        WHERE x.indrelid = c.oid AND x.indisreplident AND x.indisvalid), '[]')
      ELSE '[]' END,
    'primaryKeyAttnums', coalesce((SELECT pg_catalog.to_json((x.indkey::int2[])[0:x.indnkeyatts - 1])
      FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary), '[]'),
    'columns', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'attnum', a.attnum, 'name', a.attname, 'typeOid', a.atttypid::bigint, 'typmod', a.atttypmod,
        'notNull', a.attnotnull, 'collationOid', a.attcollation::bigint,
        'collationIsC', ${COLLATION_IS_C},
        'collationIsDeterministic', coalesce((SELECT co.collisdeterministic FROM pg_catalog.pg_collation co
          WHERE co.oid = a.attcollation), true),
        'generated', a.attgenerated, 'identity', a.attidentity,
        'defaultText', pg_catalog.pg_get_expr(d.adbin, ${RELATION_OF_DEFAULT}),
        'missingText', CASE WHEN a.atthasmissing THEN (a.attmissingval::text::text[])[1] END,
        'replicated', t.attrs IS NULL OR a.attnum = ANY (t.attrs)) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
    'indexes', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'oid', x.indexrelid::bigint, 'name', ic.relname, 'unique', x.indisunique, 'primary', x.indisprimary,
        'valid', x.indisvalid, 'keyAttnums', (x.indkey::int2[])[0:x.indnkeyatts - 1],
        'partial', x.indpred IS NOT NULL, 'definition', pg_catalog.pg_get_indexdef(x.indexrelid)) ORDER BY x.indexrelid)
      FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class ic ON ic.oid = x.indexrelid WHERE x.indrelid = c.oid), '[]'),
    'constraints', coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
        'oid', k.oid::bigint, 'name', k.conname, 'type', k.contype,
        'definition', pg_catalog.pg_get_constraintdef(k.oid)) ORDER BY k.oid)
      FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid), '[]'),
    'rowSecurity', c.relrowsecurity,
    'hasChildren', EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid),
    'childOids', coalesce((SELECT pg_catalog.json_agg(i.inhrelid::bigint ORDER BY i.inhrelid) FROM pg_catalog.pg_inherits i
      WHERE i.inhparent = c.oid), '[]'),
    'viewDefinition', CASE WHEN t.kind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END,
    'rowFilter', t.filter) ORDER BY c.oid), '[]')
  FROM chosen t JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`;
}

/** A SELECT of one json array of `TypeImage`: every type that is not built in and not just the row type of a table. */
export const TYPE_IMAGES_SQL = `SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'oid', t.oid::bigint, 'schema', n.nspname, 'name', t.typname, 'kind', t.typtype, 'category', t.typcategory,
    'arrayOid', t.typarray::bigint,
    'elementOid', CASE WHEN t.typlen = -1 AND t.typcategory = 'A' THEN t.typelem::bigint ELSE 0 END,
    'baseOid', t.typbasetype::bigint, 'typmod', t.typtypmod,
    'enumLabels', coalesce((SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
      WHERE e.enumtypid = t.oid), '[]')) ORDER BY t.oid), '[]')
  FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  LEFT JOIN pg_catalog.pg_type et ON et.oid = t.typelem AND t.typcategory = 'A'
  LEFT JOIN pg_catalog.pg_class ec ON ec.oid = et.typrelid
  WHERE t.oid >= 16384 AND t.typtype <> 'p'
    AND coalesce(c.relkind, 'c') = 'c' AND coalesce(ec.relkind, 'c') = 'c'`;

/**
 * A SELECT of one json object: `CatalogueImage` without tables and types. Ask on a connection that pins nothing, so that
 * the settings are those of an ordinary session.
 */
export const DATABASE_FACTS_SQL = `SELECT pg_catalog.json_build_object('version', 1,
    'serverVersion', pg_catalog.current_setting('server_version_num')::int,
    'serverVersionText', pg_catalog.current_setting('server_version'),
    'database', pg_catalog.current_database(),
    'defaultCollationIsC', ${databaseIsC('d')},
    'settings', (SELECT pg_catalog.json_object_agg(s.name, s.setting) FROM pg_catalog.pg_settings s WHERE s.name IN (
      'DateStyle', 'TimeZone', 'IntervalStyle', 'extra_float_digits', 'bytea_output', 'server_encoding', 'integer_datetimes',
      'standard_conforming_strings', 'default_transaction_isolation', 'search_path', 'lc_monetary', 'lc_numeric', 'lc_time',
      'xmloption', 'xmlbinary', 'backslash_quote', 'escape_string_warning', 'default_text_search_config')))
  FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`;

/**
 * SQL expression: the text of a column exactly as the walsender prints it. A cast to text would not do: it strips the
 * padding of char(n) and spells booleans out; format() uses the type's output function.
 */
export function outputTextSql(column: string): string {
  return `CASE WHEN ${column} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', ${column}) END`;
}
