// signature-list.ts is what the servers' own catalogues say, for every name that has a proven row.
//
//   UPDATE_SIGNATURES=1 bun test src/edge/sql/signatures.pg.test.ts      writes it anew; needs Postgres 15 and 18

import { expect, test } from 'bun:test';
import { needs, startPostgres } from '../../../test/harness.ts';
import { connectRaw } from '../../../test/pg-client.ts';
import { FAMILIES, signatureOf } from './proofs/index.ts';
import { FUNCTION_LIST, OPERATOR_LIST } from './signature-list.ts';

/** Types that no SQL can name values of. */
const INTERNAL = `('internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'index_am_handler', 'table_am_handler',
  'fdw_handler', 'tsm_handler')`;

const FUNCTIONS_SQL = `SELECT p.proname || '(' || coalesce((SELECT string_agg(
    CASE WHEN p.provariadic <> 0 AND o = cardinality(p.proargtypes) THEN '*' ELSE '' END || t.typname, ',' ORDER BY o)
    FROM unnest(p.proargtypes) WITH ORDINALITY AS u (x, o) JOIN pg_type t ON t.oid = u.x), '') || ')'
  || CASE WHEN p.proretset THEN 'setof ' ELSE '' END || r.typname
  || CASE p.prokind WHEN 'a' THEN ' agg' WHEN 'w' THEN ' win' ELSE '' END
  || CASE WHEN p.pronargdefaults > 0 THEN ' =' || p.pronargdefaults ELSE '' END
  || CASE WHEN p.proisstrict THEN '' ELSE ' lax' END
  FROM pg_proc p JOIN pg_type r ON r.oid = p.prorettype
  WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind <> 'p' AND p.proname = ANY ($1)
    AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a (x) JOIN pg_type t ON t.oid = a.x WHERE t.typname IN ${INTERNAL})
    AND r.typname NOT IN ${INTERNAL}`;

/** Geometry, text search and what only the server itself compares are left out. */
const OPERATORS_SQL = `SELECT o.oprname || ' ' || coalesce(l.typname, '-') || ' ' || r.typname || ' ' || x.typname
  FROM pg_operator o LEFT JOIN pg_type l ON l.oid = o.oprleft JOIN pg_type r ON r.oid = o.oprright JOIN pg_type x ON x.oid = o.oprresult
  WHERE NOT ARRAY[coalesce(l.typname, ''), r.typname, x.typname]::text[] && ARRAY['point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle',
    'tsquery', 'tsvector', 'aclitem', 'tid', 'xid', 'cid', 'xid8', 'money', 'pg_lsn', 'jsonpath']`;

const names = [
  ...new Set(
    FAMILIES.flatMap(({ rows }) => rows.map(({ of }) => /^(\w+)\(/.exec(of)?.[1] ?? '')).filter((name) => name !== ''),
  ),
].toSorted();

const VERSIONS = ['15', '18'] as const;

async function ask(version: '15' | '18'): Promise<{ functions: string[]; operators: string[] }> {
  await using postgres = await startPostgres({ version });
  await using client = await connectRaw(postgres);
  const functions = await client.texts(FUNCTIONS_SQL, [names]);
  const operators = await client.texts(OPERATORS_SQL);
  const sorted = (rows: readonly (readonly (string | null)[])[]): string[] =>
    rows.map((row) => row[0] as string).toSorted();
  return { functions: sorted(functions), operators: sorted(operators) };
}

const lines = (list: string): string[] => list.split('\n').filter((line) => line !== '');

if (process.env['UPDATE_SIGNATURES'] === '1') {
  test('signature-list.ts is written', async () => {
    const [old, young] = await Promise.all([ask('15'), ask('18')]);
    const all = [...new Set([...old.functions, ...young.functions])].toSorted();
    const written = all.map((line) => {
      if (!young.functions.includes(line)) return `${line} @15`;
      return old.functions.includes(line) ? line : `${line} @18`;
    });
    expect(old.operators).toEqual(young.operators);
    const quoted = (text: string): string => text.replace(/[\\`]/g, '\\$&');
    await Bun.write(
      `${import.meta.dir}/signature-list.ts`,
      `// Written by signatures.pg.test.ts from the catalogues of Postgres 15 and 18. Types are named as in pg_type.
// Functions: name(parameters)result, * before a VARIADIC parameter, =n the last n have defaults, lax: called with NULLs too,
// agg or win: aggregates and window functions, @n: only that version has it.

export const FUNCTION_LIST = \`
${written.join('\n')}
\`;

/** Operators: name, left operand or -, right operand, result. */
export const OPERATOR_LIST = \`
${old.operators.map(quoted).join('\n')}
\`;
`,
    );
  }, 60_000);
}

for (const version of VERSIONS) {
  if (!needs(`postgres-${version}`)) continue;
  test(`functions and operators are those of Postgres ${version}`, async () => {
    const { functions, operators } = await ask(version);
    const listed = lines(FUNCTION_LIST)
      .filter((line) => !line.includes('@') || line.endsWith(`@${version}`))
      .map((line) => line.replace(/ @\d+$/, ''));
    expect(listed.toSorted()).toEqual(functions);
    expect(lines(OPERATOR_LIST).toSorted()).toEqual(operators);
  }, 60_000);
}

test('every proven row is a function, an operator or a cast that Postgres has', () => {
  for (const { rows } of FAMILIES)
    for (const { of } of rows) expect(`${of} ${signatureOf(of)?.text}`).toBe(`${of} ${of}`);
});

test('no row stands twice', () => {
  const seen = FAMILIES.flatMap(({ rows }) => rows.map(({ of }) => of));
  expect(seen.filter((of, index) => seen.indexOf(of) !== index)).toEqual([]);
});
