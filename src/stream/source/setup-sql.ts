// The objects that skerry puts into a user's database: the publication, and a schema of functions with four event triggers. Each
// publication has its own (see `namespaceOf`), so that several worlds can follow one database. They emit what the replicas must know into the write-ahead log, in commit order, within the DDL's own
// transaction. `cleanSql` takes all of it away again.

import { crc32 } from '../../base/crc32.ts';
import { ROWS_MESSAGE_PREFIX, SCHEMA_MESSAGE_PREFIX } from '../../contracts/catalogue.ts';
import {
  outputTextSql,
  PINNED_SETTINGS,
  sqlLiteral,
  sqlName,
  tableImagesSql,
  TYPE_IMAGES_SQL,
} from './catalogue-sql.ts';

/** Prefix of the message that says that the publication itself changed: what it sends is another set of rows from here on. */
export const PUBLICATION_MESSAGE_PREFIX = 'skerry.publication';

/** A message of rows is closed after this many bytes of text. */
const ROWS_MESSAGE_BYTES = 200_000;

const FUNCTION_SETTINGS = [
  'SET search_path = pg_catalog, pg_temp',
  'SET row_security = off',
  ...Object.entries(PINNED_SETTINGS).map(([name, value]) => `SET ${name} = ${sqlLiteral(value)}`),
].join(' ');

/** Name, without that of the schema before it, function, event. */
const TRIGGERS = [
  ['ddl_start', 'on_ddl_start', "ddl_command_start WHEN TAG IN ('ALTER TABLE', 'ALTER TYPE', 'DROP INDEX')"],
  ['rewrite', 'on_rewrite', 'table_rewrite'],
  ['drop', 'on_drop', 'sql_drop'],
  ['ddl_end', 'on_ddl_end', 'ddl_command_end'],
] as const;

/** Names longer than this are told by their checksum: identifiers end at 63 bytes. */
const PUBLICATION_CHARS_MAX = 40;

/** Schema of the functions for a publication, and what the names of its event triggers begin with. Needs no quotes. */
export function namespaceOf(publication: string): string {
  if (publication === 'skerry' || /^skerry_[a-z0-9_]{1,40}$/.test(publication)) return publication;
  const isPlain = publication.length <= PUBLICATION_CHARS_MAX && /^[a-z0-9_]+$/.test(publication);
  return `skerry__${isPlain ? publication : crc32(new TextEncoder().encode(publication)).toString(16)}`;
}

/** Names of the event triggers for a publication. */
export function eventTriggerNames(publication: string): string[] {
  const ns = namespaceOf(publication);
  return TRIGGERS.map(([name]) => `${ns}_${name}`);
}

/** Relations that `touched` leads to: themselves, their partitions and inheritors, their parents, and views over any of them. */
const FAMILY = `WITH RECURSIVE down AS (
      SELECT unnest(touched) AS relid UNION SELECT i.inhrelid FROM pg_inherits i JOIN down d ON d.relid = i.inhparent
    ), up AS (
      SELECT relid FROM down UNION SELECT i.inhparent FROM pg_inherits i JOIN up u ON u.relid = i.inhrelid
    ), users AS (
      SELECT relid FROM up UNION SELECT r.ev_class FROM users u
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = u.relid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite r ON r.oid = d.objid
    ) SELECT array_agg(DISTINCT relid) FROM users`;

/** Tables with a column whose text depends on type `changed` (directly, as array, domain or part of a composite type). */
const USERS_OF_TYPE = `WITH RECURSIVE dependent AS (
      SELECT changed AS oid
      UNION SELECT x.oid FROM dependent d CROSS JOIN LATERAL (
        SELECT t.oid FROM pg_type t WHERE t.typelem = d.oid OR t.typbasetype = d.oid
        UNION ALL SELECT c.reltype FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
          WHERE a.atttypid = d.oid AND NOT a.attisdropped) x
    ) SELECT array_agg(DISTINCT a.attrelid) FROM dependent d JOIN pg_attribute a ON a.atttypid = d.oid AND a.attnum > 0
      AND NOT a.attisdropped JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')`;

/** Statements that make everything but the publication; to be run in one transaction by a superuser. Idempotent. */
export function eventTriggersSql(publication: string): string[] {
  const name = sqlLiteral(publication);
  const ns = namespaceOf(publication);
  const changed = `json_build_object('event', tg_tag, 'publication', ${name})::text`;
  return [
    `CREATE SCHEMA IF NOT EXISTS ${ns}`,
    `GRANT USAGE ON SCHEMA ${ns} TO PUBLIC`,
    ...eventTriggerNames(publication).map((trigger) => `DROP EVENT TRIGGER IF EXISTS ${trigger}`),
    // What a command is about to change cannot be asked for afterwards: column types and enum labels are noted before it.
    `CREATE OR REPLACE FUNCTION ${ns}.shapes() RETURNS text LANGUAGE sql STABLE ${FUNCTION_SETTINGS} AS $skerry$
  SELECT json_build_object(
    'columns', (SELECT json_object_agg(x.attrelid, x.types) FROM (
        SELECT a.attrelid, json_object_agg(a.attnum, a.atttypid) AS types FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
        WHERE a.attnum > 0 AND NOT a.attisdropped GROUP BY a.attrelid) x),
    'children', (SELECT json_object_agg(i.inhparent, i.children) FROM (
        SELECT inhparent, json_agg(inhrelid::bigint) AS children FROM pg_inherits GROUP BY inhparent) i),
    'labels', (SELECT json_object_agg(e.oid, e.enumlabel) FROM pg_enum e))::text
$skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.emit(tag text, touched oid[], rewritten oid[]) RETURNS void LANGUAGE plpgsql ${FUNCTION_SETTINGS} AS $skerry$
DECLARE
  images json; types json; family oid[]; dropped oid[]; fresh oid[];
  image json; expressions text; attnums text; source text; line text;
  lines text[]; size int; view record; busy oid[] := '{}';
BEGIN
  -- Somebody dropped the publication and left the triggers: nobody listens, and no command of theirs may fail for it.
  IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = ${name}) THEN RETURN; END IF;
  ${FAMILY} INTO family;
  -- Printing a view locks its tables. Somebody who holds one of them may wait for one of ours: such a view is left out, and
  -- read at the core until somebody defines it again.
  FOR view IN SELECT c.oid, c.relname, n.nspname FROM unnest(family) f(relid) JOIN pg_class c ON c.oid = f.relid AND c.relkind = 'v'
      JOIN pg_namespace n ON n.oid = c.relnamespace LOOP
    BEGIN
      EXECUTE format('LOCK TABLE %I.%I IN ACCESS SHARE MODE NOWAIT', view.nspname, view.relname);
    EXCEPTION WHEN OTHERS THEN
      busy := busy || view.oid;
    END;
  END LOOP;
  family := ARRAY(SELECT f.relid FROM unnest(family) f(relid) WHERE f.relid <> ALL (busy));
  ${tableImagesSql(name, 'family')} INTO images;
  ${TYPE_IMAGES_SQL} INTO types;
  SELECT array_agg(f.relid) INTO dropped FROM unnest(family || busy) f(relid) JOIN pg_class c ON c.oid = f.relid AND c.relkind IN ('r', 'p', 'v')
    WHERE f.relid NOT IN (SELECT (x.image ->> 'oid')::oid FROM json_array_elements(images) x(image));
  SELECT array_agg(DISTINCT r.relid) INTO fresh FROM unnest(rewritten) r(relid)
    WHERE r.relid IN (SELECT (x.image ->> 'oid')::oid FROM json_array_elements(images) x(image) WHERE x.image ->> 'kind' = 'r');
  PERFORM pg_logical_emit_message(true, ${sqlLiteral(SCHEMA_MESSAGE_PREFIX)}, json_build_object('version', 1, 'publication', ${name}, 'tag', tag,
    'tables', images, 'types', types,
    'droppedTables', (SELECT coalesce(json_agg(d.relid::bigint), '[]') FROM unnest(dropped) d(relid)),
    'rewrittenTables', (SELECT coalesce(json_agg(r.relid::bigint), '[]') FROM unnest(fresh) r(relid)))::text);
  FOR image IN SELECT x.image FROM json_array_elements(images) x(image) WHERE (x.image ->> 'oid')::oid = ANY (fresh) LOOP
    SELECT string_agg(e.expression, ', ' ORDER BY e.attnum), json_agg(e.attnum ORDER BY e.attnum)::text INTO expressions, attnums
      FROM (SELECT (col ->> 'attnum')::int AS attnum, replace(${sqlLiteral(outputTextSql('@@'))}, '@@', format('t.%I', col ->> 'name')) AS expression
            FROM json_array_elements(image -> 'columns') col WHERE (col ->> 'replicated')::boolean) e;
    -- An array, not a function's arguments, of which there may be only 100.
    source := format('SELECT array_to_json(ARRAY[%s]::text[])::text FROM %s %I.%I t WHERE %s', expressions,
      (SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END FROM pg_class c WHERE c.oid = (image ->> 'oid')::oid),
      image ->> 'schema', image ->> 'name', coalesce(image ->> 'rowFilter', 'true'));
    lines := '{}'; size := 0;
    FOR line IN EXECUTE source LOOP
      lines := array_append(lines, line);
      size := size + length(line);
      IF size > ${ROWS_MESSAGE_BYTES} THEN
        PERFORM ${ns}.emit_rows(image ->> 'oid', attnums, lines);
        lines := '{}'; size := 0;
      END IF;
    END LOOP;
    IF lines <> '{}' THEN PERFORM ${ns}.emit_rows(image ->> 'oid', attnums, lines); END IF;
  END LOOP;
END $skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.emit_rows(relation text, attnums text, lines text[]) RETURNS void LANGUAGE sql ${FUNCTION_SETTINGS} AS $skerry$
  SELECT pg_logical_emit_message(true, ${sqlLiteral(ROWS_MESSAGE_PREFIX)},
    '{"version":1,"publication":' || to_json(${name}::text)::text || ',"table":' || relation || ',"attnums":' || attnums || ',"rows":[' || array_to_string(lines, ',') || ']}')
$skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.on_ddl_start() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER ${FUNCTION_SETTINGS} AS $skerry$
BEGIN
  IF tg_tag = 'DROP INDEX' THEN
    -- Afterwards nothing tells whose it was. For the session: dropping concurrently takes several transactions.
    PERFORM set_config('${ns}.indexes', coalesce((SELECT json_object_agg(i.indexrelid, i.indrelid)::text FROM pg_index i
      JOIN pg_class c ON c.oid = i.indrelid WHERE c.relpersistence = 'p' AND c.oid >= 16384), '{}'), false);
    RETURN;
  END IF;
  PERFORM set_config('${ns}.shapes', ${ns}.shapes(), true);
  PERFORM set_config('${ns}.rewritten', '', true);
END $skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.on_rewrite() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER ${FUNCTION_SETTINGS} AS $skerry$
BEGIN
  PERFORM set_config('${ns}.rewritten', coalesce(current_setting('${ns}.rewritten', true), '') || ' ' || pg_event_trigger_table_rewrite_oid(), true);
END $skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER ${FUNCTION_SETTINGS} AS $skerry$
DECLARE gone oid[]; touched oid[];
BEGIN
  SELECT array_agg(o.objid) FILTER (WHERE o.object_type IN ('table', 'view') AND o.objsubid = 0 AND NOT o.is_temporary),
         array_agg(o.objid) FILTER (WHERE o.classid = 'pg_class'::regclass AND o.objsubid <> 0)
    INTO gone, touched FROM pg_event_trigger_dropped_objects() o;
  IF gone IS NOT NULL THEN
    PERFORM pg_logical_emit_message(true, ${sqlLiteral(SCHEMA_MESSAGE_PREFIX)}, json_build_object('version', 1, 'publication', ${name}, 'tag', tg_tag,
      'tables', '[]'::json, 'types', '[]'::json, 'droppedTables', (SELECT json_agg(g.relid::bigint) FROM unnest(gone) g(relid)),
      'rewrittenTables', '[]'::json)::text);
  END IF;
  IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o
      WHERE o.classid = 'pg_publication'::regclass AND o.address_names = ARRAY[${name}]) THEN
    PERFORM pg_logical_emit_message(true, ${sqlLiteral(PUBLICATION_MESSAGE_PREFIX)}, ${changed});
  END IF;
  -- Columns, indexes and constraints may go because something else goes; their tables are described anew.
  SELECT array_agg(DISTINCT c.oid) INTO touched FROM pg_class c WHERE c.relkind IN ('r', 'p')
    AND (c.oid = ANY (touched) OR EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o
      WHERE o.object_type IN ('index', 'table constraint', 'default value') AND NOT o.is_temporary
        AND o.schema_name = c.relnamespace::regnamespace::text
        AND c.relname = ANY (o.address_names)));
  IF touched IS NOT NULL AND tg_tag <> 'ALTER TABLE' THEN PERFORM ${ns}.emit(tg_tag, touched, '{}'); END IF;
  IF tg_tag = 'DROP INDEX' THEN
    SELECT array_agg(DISTINCT i.relid::oid) INTO touched FROM pg_event_trigger_dropped_objects() o
      JOIN json_each_text(coalesce(nullif(current_setting('${ns}.indexes', true), ''), '{}')::json) i(index, relid) ON i.index::oid = o.objid
      WHERE o.classid = 'pg_class'::regclass;
    PERFORM set_config('${ns}.indexes', '', false);
    IF touched IS NOT NULL THEN PERFORM ${ns}.emit(tg_tag, touched, '{}'); END IF;
  END IF;
END $skerry$`,
    `CREATE OR REPLACE FUNCTION ${ns}.on_ddl_end() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER ${FUNCTION_SETTINGS} AS $skerry$
DECLARE
  touched oid[]; rewritten oid[]; changed oid; shapes jsonb; before jsonb; commands record; more oid[];
BEGIN
  IF tg_tag IN ('COMMENT', 'GRANT', 'REVOKE', 'CREATE FUNCTION', 'CREATE SEQUENCE', 'ALTER SEQUENCE', 'ALTER DEFAULT PRIVILEGES',
                'REFRESH MATERIALIZED VIEW') THEN RETURN; END IF;
  FOR commands IN SELECT c.classid, c.objid, c.object_type, c.schema_name FROM pg_event_trigger_ddl_commands() c LOOP
    IF commands.object_type IN ('publication', 'publication relation', 'publication namespace') THEN
      IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = ${name} AND (p.oid = commands.objid
          OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.oid = commands.objid AND r.prpubid = p.oid)
          OR EXISTS (SELECT FROM pg_publication_namespace s WHERE s.oid = commands.objid AND s.pnpubid = p.oid))) THEN
        PERFORM pg_logical_emit_message(true, ${sqlLiteral(PUBLICATION_MESSAGE_PREFIX)}, ${changed});
      END IF;
    ELSIF commands.object_type = 'schema' AND tg_tag = 'ALTER SCHEMA' THEN
      touched := touched || ARRAY(SELECT c.oid FROM pg_class c WHERE c.relnamespace = commands.objid AND c.relkind IN ('r', 'p', 'v'));
    ELSIF commands.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_class c WHERE c.oid = commands.objid AND c.relkind = 'c') THEN
      -- Another attribute of a composite type changes the text of rows that nobody touched.
      SELECT c.reltype INTO changed FROM pg_class c WHERE c.oid = commands.objid;
      ${USERS_OF_TYPE} INTO more;
      touched := touched || coalesce(more, '{}');
      rewritten := rewritten || coalesce(more, '{}');
    ELSIF commands.classid = 'pg_class'::regclass AND commands.schema_name IS DISTINCT FROM 'pg_temp' THEN
      touched := touched || coalesce((SELECT x.indrelid FROM pg_index x WHERE x.indexrelid = commands.objid), commands.objid);
    ELSIF commands.classid = 'pg_constraint'::regclass THEN
      touched := touched || ARRAY(SELECT k.conrelid FROM pg_constraint k WHERE k.oid = commands.objid AND k.conrelid <> 0);
    ELSIF commands.classid = 'pg_type'::regclass THEN
      touched := coalesce(touched, '{}');
      changed := commands.objid;
      IF tg_tag = 'ALTER TYPE' THEN
        before := nullif(current_setting('${ns}.shapes', true), '')::jsonb -> 'labels';
        -- A renamed label, or a composite type of another shape, changes the text of rows that nobody touched.
        IF EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = changed AND before ->> e.oid::text <> e.enumlabel)
           OR EXISTS (SELECT FROM pg_type t WHERE t.oid = changed AND t.typtype = 'c') THEN
          ${USERS_OF_TYPE} INTO more;
          touched := touched || coalesce(more, '{}');
          rewritten := rewritten || coalesce(more, '{}');
        END IF;
      END IF;
    END IF;
  END LOOP;
  IF touched IS NULL THEN RETURN; END IF;
  SELECT array_agg(c.oid) INTO touched FROM pg_class c WHERE c.oid = ANY (touched) AND c.relpersistence <> 't';
  rewritten := rewritten || ARRAY(SELECT r::oid FROM regexp_split_to_table(trim(coalesce(current_setting('${ns}.rewritten', true), '')), ' +') r WHERE r <> '');
  IF tg_tag = 'ALTER TABLE' THEN
    -- A change of type that rewrites nothing (timestamptz to timestamp under UTC) may still print differently.
    shapes := nullif(current_setting('${ns}.shapes', true), '')::jsonb;
    before := shapes -> 'columns';
    -- A partition that was detached is no longer found through its parent.
    touched := touched || ARRAY(SELECT x::oid FROM unnest(touched) t(relid),
      jsonb_array_elements_text(coalesce(shapes -> 'children' -> t.relid::text, '[]')) x);
    -- Each table's columns are taken out once: looking them up one by one reads all of them for each (seconds at 1,600 columns).
    rewritten := rewritten || ARRAY(SELECT DISTINCT a.attrelid
      FROM (SELECT unnest(touched) UNION SELECT i.inhrelid FROM pg_inherits i) t(relid)
      CROSS JOIN LATERAL jsonb_each_text(before -> t.relid::text) o(attnum, type)
      JOIN pg_attribute a ON a.attrelid = t.relid AND a.attnum = o.attnum::int2 AND NOT a.attisdropped AND a.atttypid <> o.type::oid);
    PERFORM set_config('${ns}.shapes', '', true);
  END IF;
  PERFORM set_config('${ns}.rewritten', '', true);
  PERFORM ${ns}.emit(tg_tag, touched || rewritten, rewritten);
END $skerry$`,
    ...TRIGGERS.map(
      ([trigger, called, event]) =>
        `CREATE EVENT TRIGGER ${ns}_${trigger} ON ${event} EXECUTE FUNCTION ${ns}.${called}()`,
    ),
    ...eventTriggerNames(publication).map((trigger) => `ALTER EVENT TRIGGER ${trigger} ENABLE ALWAYS`),
  ];
}

/** Statement that remembers which version of the objects is there. */
export function commentSql(publication: string, digest: string): string {
  return `COMMENT ON SCHEMA ${namespaceOf(publication)} IS ${sqlLiteral(setupComment(digest))}`;
}

/** `digest` identifies the statements: other objects are another version. */
export function setupComment(digest: string): string {
  return `change propagation by skerry, version ${digest}; skerry up --clean removes it`;
}

/** Statement that makes the publication. `tables` are names as the user wrote them, schema.name; empty takes all. */
export function createPublicationSql(publication: string, tables: readonly { schema: string; name: string }[]): string {
  const target =
    tables.length === 0
      ? 'FOR ALL TABLES'
      : `FOR TABLE ${tables.map((table) => `ONLY ${sqlName(table.schema)}.${sqlName(table.name)}`).join(', ')}`;
  return `CREATE PUBLICATION ${sqlName(publication)} ${target}`;
}

/** Statements that remove everything that was made for a publication, and with `drop` the publication; tables stay as they are. */
export function cleanSql(publication: string, drop: boolean): string[] {
  return [
    ...eventTriggerNames(publication).map((trigger) => `DROP EVENT TRIGGER IF EXISTS ${trigger}`),
    `DROP SCHEMA IF EXISTS ${namespaceOf(publication)} CASCADE`,
    ...(drop ? [`DROP PUBLICATION IF EXISTS ${sqlName(publication)}`] : []),
  ];
}
