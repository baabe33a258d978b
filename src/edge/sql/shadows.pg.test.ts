import { expect, test } from 'bun:test';
import { startPostgres } from '../../../test/harness.ts';
import { SHADOWS_SQL, shadowedIn, shadowsOf } from './shadows.ts';

test('what a database adds to the names of built-in functions and operators is found', async () => {
  await using postgres = await startPostgres();
  const shadows = async (): Promise<string[]> =>
    (await postgres.sql(SHADOWS_SQL)).map((row) => String(Object.values(row)[0]));
  expect(await shadows()).toEqual(['case-ascii']);
  expect(shadowsOf(await shadows()).isCaseAscii).toBe(true);
  await postgres.sql(`
    CREATE SCHEMA apart;
    CREATE TYPE mood AS ENUM ('a');
    CREATE FUNCTION length(varchar) RETURNS int LANGUAGE sql AS 'SELECT 42';
    CREATE FUNCTION apart.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION length(mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION only_here(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION same(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR = (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = same);
  `);
  const names = shadowsOf(await shadows());
  expect([...names.names].sort()).toEqual(['function apart.lower', 'function public.length', 'operator public.=']);
  expect(names.hasImplicitCasts).toBe(false);
  expect([...shadowedIn(names, ['public'])].sort()).toEqual(['function length', 'operator =']);
  expect([...shadowedIn(names, ['apart'])]).toEqual(['function lower']);
  expect([...shadowedIn(names, ['pg_catalog'])]).toEqual([]);
  await postgres.sql('CREATE CAST (int AS mood) WITH INOUT AS IMPLICIT');
  expect(shadowsOf(await shadows()).hasImplicitCasts).toBe(true);
});
