// Which statements are questions about definitions only.

import { beforeAll, expect, test } from 'bun:test';
import { loadParser, type Node, parse } from '../sql/parse.ts';
import { PSQL_LISTS, PSQL_TABLES } from './psql-queries.ts';
import { asksCatalogueOnly } from './query.ts';
import { expand } from './templates.ts';

beforeAll(loadParser);

function check(sql: string): boolean {
  const { statements } = parse(sql);
  expect(statements.length).toBe(1);
  return asksCatalogueOnly(statements[0]?.node as Node);
}

test.each([
  'SELECT relname FROM pg_class',
  "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = 'x'::regclass",
  'SELECT table_name FROM information_schema.tables ORDER BY 1',
  'WITH t AS (SELECT oid FROM pg_class) SELECT count(*) FROM t',
  'SELECT pg_catalog.pg_get_indexdef(indexrelid) FROM pg_index UNION ALL SELECT current_user FROM pg_roles',
])('%s is one', (sql) => {
  expect(check(sql)).toBe(true);
});

test.each([
  ['no catalogue', 'SELECT 1'],
  ['a table of the user', 'SELECT * FROM t'],
  ['a table of the user beside', 'SELECT * FROM pg_class c, t WHERE c.oid = t.oid'],
  ['a table of the user in a subquery', 'SELECT (SELECT max(id) FROM t) FROM pg_class'],
  ['activity', 'SELECT * FROM pg_stat_activity'],
  ['settings', 'SELECT name FROM pg_settings'],
  ['positions of sequences', 'SELECT last_value FROM pg_sequences'],
  ['the same elsewhere', 'SELECT * FROM information_schema.sequences'],
  ['another schema', 'SELECT * FROM mine.pg_class'],
  ['a size', 'SELECT pg_relation_size(oid) FROM pg_class'],
  ['the time', 'SELECT now() FROM pg_class'],
  ['the time in SQL’s words', 'SELECT CURRENT_TIMESTAMP FROM pg_class'],
  ['a function of the user', 'SELECT mine.f(oid) FROM pg_class'],
  ['a setting', "SELECT current_setting('x') FROM pg_class"],
  ['a lock', 'SELECT * FROM pg_class FOR UPDATE'],
  ['a new table', 'SELECT * INTO t FROM pg_class'],
  ['a write', 'WITH x AS (DELETE FROM pg_class RETURNING 1) SELECT * FROM x, pg_type'],
  ['parameters', 'SELECT * FROM pg_class WHERE oid = $1'],
  ['no SELECT', 'EXPLAIN SELECT * FROM pg_class'],
])('%s is none', (_, sql) => {
  expect(check(sql)).toBe(false);
});

test('all that psql asks is', () => {
  const table = { oid: 16_385, schema: 'r', name: 'rules' };
  const texts = [...PSQL_LISTS, ...PSQL_TABLES.flatMap((template) => [...expand(template, [table])])];
  for (const sql of texts) expect({ sql, is: check(sql) }).toEqual({ sql, is: true });
  expect(texts.join('')).not.toMatch(/\{(oid|name|schema)\}/);
});
