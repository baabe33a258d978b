// A question about one table becomes the question about every table, and only then.

import { expect, test } from 'bun:test';
import { expand, templateOf } from './templates.ts';

const RULES = { oid: 16_385, schema: 'r', name: 'rules' };
const ZONES = { oid: 16_400, schema: 'r', name: 'zones' };
const SAME = { oid: 16_500, schema: 's', name: 's' };
const QUOTED = { oid: 16_600, schema: 'r', name: 'My table' };
const TABLES = [RULES, ZONES, SAME, QUOTED];

test.each([
  ["WHERE oid = '16385'", "WHERE oid = '{oid}'"],
  ["'16400' OR '16400'", "'{oid}' OR '{oid}'"],
  ["relname ~ '^(zones)$' AND nspname ~ '^(r)$'", "relname ~ '^({name})$' AND nspname ~ '^({schema})$'"],
  ["relname ~ '^(rules)$'", "relname ~ '^({name})$'"],
])('%s', (text, template) => {
  expect(templateOf(text, TABLES)).toBe(template);
});

test.each([
  ['nothing of a table', 'SELECT 1 FROM pg_class'],
  ['no replicated table', "WHERE oid = '99999'"],
  ['two tables', "'16385' '16400'"],
  ['another schema', "relname ~ '^(zones)$' AND nspname ~ '^(other)$'"],
  ['a schema alone', "nspname ~ '^(r)$'"],
  ['a table named like its schema', "relname ~ '^(s)$' AND nspname ~ '^(s)$'"],
])('%s gives no template', (_, text) => {
  expect(templateOf(text, TABLES)).toBeNull();
});

test('expanding a template gives the text back, and those of the other tables', () => {
  const text = "relname ~ '^(zones)$' AND nspname ~ '^(r)$' AND oid = '16400'";
  const texts = [...expand(templateOf(text, TABLES) as string, TABLES)];
  expect(texts).toContain(text);
  expect(texts).toContain("relname ~ '^(rules)$' AND nspname ~ '^(r)$' AND oid = '16385'");
  // psql writes such a name in a way that is not known here.
  expect(texts.some((one) => one.includes('My table'))).toBe(false);
});
