// The language of placements, and what they mean for the tables that are there. What its conditions give is compared with
// Postgres in stream/placements.pg.test.ts.

import { describe, expect, test } from 'bun:test';
import { catalogueImage, indexImage, tableImage } from '../../../test/replica-images.ts';
import type { PlacementSpec } from '../../contracts/placement.ts';
import type { TypeImage } from '../../contracts/catalogue.ts';
import { OID } from '../../pg/oid.ts';
import { Catalogue } from '../catalogue.ts';
import { checkSpec, checkSpecs, heldSql, holdsEverything, placementOf, resolvePlacement } from './placement.ts';
import { parseCondition, parsePlacedTable } from './syntax.ts';

const MOOD: TypeImage = {
  oid: 30_000,
  schema: 'public',
  name: 'mood',
  kind: 'e',
  category: 'E',
  arrayOid: 30_001,
  elementOid: 0,
  baseOid: 0,
  typmod: -1,
  enumLabels: ['sad', 'ok', 'SECRET-LABEL'],
};
const OTHER: TypeImage = { ...MOOD, oid: 30_010, name: 'other', arrayOid: 0, enumLabels: ['SECRET-TYPE'] };

const text = (name: string) => ({ name, typeOid: OID.text, collationOid: 100, collationIsC: false });
const USERS = {
  ...tableImage({
    oid: 20_000,
    name: 'users',
    columns: [
      { name: 'id', typeOid: OID.int4, notNull: true },
      text('region'),
      { ...text('name'), collationOid: 950, collationIsC: true },
      { name: 'SECRET', typeOid: 30_010, defaultText: "'SECRET-DEFAULT'::text" },
      { name: 'mood', typeOid: 30_000 },
      { name: 'n', typeOid: OID.numeric },
      { name: 'at', typeOid: OID.timestamptz },
      { name: 'on_day', typeOid: OID.date },
      { name: 'ok', typeOid: OID.bool },
      { name: 'u', typeOid: OID.uuid },
      { name: 'f', typeOid: OID.float8 },
      { name: 'doubled', typeOid: OID.int4, generated: 's' as const, defaultText: '("SECRET" * 2)' },
    ],
    indexes: [
      {
        ...indexImage({ oid: 20_001, keyAttnums: [1], unique: true, primary: true }),
        definition: 'CREATE UNIQUE INDEX users_pkey ON public.users USING btree (id) INCLUDE ("SECRET")',
      },
      {
        ...indexImage({ oid: 20_002, keyAttnums: [2] }),
        definition: 'CREATE INDEX r ON public.users USING btree (region)',
      },
      {
        ...indexImage({ oid: 20_003, keyAttnums: [2], partial: true }),
        definition: 'CREATE INDEX p ON public.users USING btree (region) WHERE "SECRET" IS NULL',
      },
      {
        ...indexImage({ oid: 20_004, keyAttnums: [4] }),
        definition: 'CREATE INDEX s ON public.users USING btree ("SECRET")',
      },
    ],
  }),
  constraints: [
    { oid: 1, name: 'users_pkey', type: 'p', definition: 'PRIMARY KEY (id) INCLUDE ("SECRET")' },
    { oid: 2, name: 'c', type: 'c', definition: 'CHECK ("SECRET" IS NOT NULL)' },
    { oid: 3, name: 'f', type: 'f', definition: 'FOREIGN KEY (id) REFERENCES "SECRET-TABLE"(id)' },
  ],
};
const PLAIN = tableImage({
  oid: 20_100,
  name: 'plain',
  columns: [{ name: 'id', typeOid: OID.int4, notNull: true }],
  indexes: [indexImage({ oid: 20_101, keyAttnums: [1], unique: true, primary: true })],
});
const catalogue = new Catalogue(catalogueImage([USERS, PLAIN], [MOOD, OTHER]));

function spec(tables: string[], more: Partial<PlacementSpec> = {}): PlacementSpec {
  return { name: 'eu', pops: ['a'], forward: 'allow', tables, ...more };
}

function problems(...tables: string[]): readonly string[] {
  return resolvePlacement(spec(tables), catalogue).problems;
}

describe('syntax', () => {
  const understood: readonly (readonly [string, object])[] = [
    ['users', { schema: 'public', name: 'users', columns: null, condition: null }],
    ['App.Users (ID, "Name")', { schema: 'app', name: 'users', columns: ['id', 'Name'] }],
    ['*', { schema: null, name: null }],
    ['app.*', { schema: 'app', name: null }],
    ['app.ev_*', { schema: 'app', name: 'ev_', isPrefix: true }],
    [
      "t WHERE a = 'it''s'",
      {
        condition: {
          kind: 'compare',
          column: 'a',
          at: 8,
          operator: '=',
          value: { kind: 'string', text: "it's", cast: null, at: 12 },
        },
      },
    ],
    [
      't WHERE (NOT (NOT ok))',
      { condition: { kind: 'not', part: { kind: 'not', part: { kind: 'column', column: 'ok', at: 18 } } } },
    ],
    ['t WHERE NOT NOT ok', { condition: { kind: 'column', column: 'ok', at: 16 } }],
  ];
  for (const [source, expected] of understood) {
    test(`understood: ${source}`, () => {
      expect(parsePlacedTable(source)).toMatchObject(expected);
    });
  }
  const refused: readonly (readonly [string, string])[] = [
    ['', 'expected the name of a table, or *, found the end (line 1, column 1'],
    ['t (a, a)', 'column "a" stands here twice'],
    ['t WHERE', 'expected a column, found the end (line 1, column 8'],
    ["t WHERE lower(a) = 'x'", 'expected a comparison, found "("'],
    ['t WHERE a = b', 'expected a constant, found "b"'],
    ['t WHERE a = NULL', 'comparing with NULL is never true'],
    ["t WHERE\n  a = E'x'", 'only plain strings are understood (line 2, column 7'],
    ["t WHERE a LIKE '%x'", 'LIKE is understood with one % at the end only'],
    ["t WHERE a ILIKE 'x%'", 'expected AND, OR or the end, found "ILIKE"'],
    ['t WHERE a = 1; DROP TABLE t', '";" is not understood'],
    ['t WHERE a = 1 -- x', '"-" is not understood'],
    ["t WHERE a = 'x", '"\'" is not understood'],
    ['t WHERE a IN (SELECT 1)', 'expected a constant, found "SELECT"'],
    ['t WHERE a = current_user', 'expected a constant, found "current_user"'],
    ['t WHERE a BETWEEN 1', 'expected AND, found the end'],
    [`t WHERE ${'('.repeat(60)}a${')'.repeat(60)}`, 'no more than 50'],
    [`t WHERE a = '${'x'.repeat(20_001)}'`, 'longer than 20000 characters'],
  ];
  for (const [source, message] of refused) {
    test(`refused: ${source.slice(0, 60)}`, () => {
      expect(() => parsePlacedTable(source)).toThrow(message);
    });
  }
  test('where it is wrong is told by line and column', () => {
    expect(() => parseCondition("a = 1\n  AND b ~ 'x'")).toThrow('(line 2, column 9');
  });
});

describe('conditions and types', () => {
  const fine = [
    "region = 'eu'",
    "region <> 'eu'",
    "region IN ('eu', 'us')",
    "region LIKE 'e%'",
    "name < 'm'",
    "name BETWEEN 'a' AND 'b'",
    'id < 9999999999',
    "id = '5'",
    'n > 1.50',
    "n = '2'::numeric",
    'ok',
    'NOT ok',
    "ok = 'yes'",
    'ok IS NOT TRUE',
    "mood = 'ok'",
    "mood >= 'ok'",
    "mood < 'sad'::mood",
    "at > '2026-01-01 00:00:00+02'",
    "at = '2026-01-01T00:00:00Z'",
    "on_day >= '2026-02-28'",
    "u = '8F14E45F-ceea-467f-a8f5-1d0e1a2b3c4d'",
    'f IS NULL',
    "region IS DISTINCT FROM 'x'",
    'TRUE',
  ];
  for (const condition of fine) {
    test(`fits: ${condition}`, () => {
      expect(problems(`users WHERE ${condition}`)).toEqual([]);
    });
  }
  const unfit: readonly (readonly [string, string])[] = [
    ["nmae = 'x'", 'no replicated column "nmae" (line 1, column 1'],
    ["region < 'x'", 'a collation which only Postgres knows'],
    ['region = 5', 'compared with a text in quotes'],
    ["id = 'x'", 'compared with a whole number'],
    ["id = '9999999999'", 'compared with a whole number'],
    ['id = 1.5', 'compared with a whole number'],
    ["mood = 'glad'", "'glad' is no label"],
    ["at > '2026-01-01'", 'a moment with its zone'],
    ["on_day > '2026-02-30'", 'a day such as'],
    ["on_day > 'yesterday'", 'a day such as'],
    ["u = 'x'", 'a uuid such as'],
    ['f > 1.5', 'the type of "f" cannot be compared here'],
    ['id', 'is no boolean'],
    ["id LIKE '1%'", 'LIKE is understood for text and varchar'],
    ["region = 'x'::inet", 'the cast to inet is not to the type'],
  ];
  for (const [condition, message] of unfit) {
    test(`does not fit: ${condition}`, () => {
      expect(problems(`users WHERE ${condition}`)[0]).toContain(message);
    });
  }
});

test('the most exact item counts, and what means no table is told', () => {
  const resolved = resolvePlacement(
    spec(['*', 'public.* (id)', 'use* (id, name)', 'users (id, region)', 'nothing']),
    catalogue,
  );
  expect([...resolved.held.values()].map((one) => [one.image.name, one.attnums])).toEqual([
    ['users', [1, 2]],
    ['plain', [1]],
  ]);
  expect(resolved.problems).toEqual([
    'no table is meant by *',
    'no table is meant by use* (id, name)',
    'no table is meant by nothing',
  ]);
});

test('INVARIANT_I4 an image names nothing that is not held', () => {
  const { held, types } = resolvePlacement(
    spec(["users (id, region, name, mood, n, doubled) WHERE region = 'eu'"]),
    catalogue,
  );
  const image = held.get(20_000)?.image;
  const told = JSON.stringify([image, types.filter((type) => type.oid !== 30_000)]);
  expect(told).not.toContain('SECRET');
  expect(types.map((type) => type.name)).toEqual(['mood']);
  expect(image?.columnsWithheld).toBe(true);
  expect(image?.rowFilter).toBe("region = 'eu'");
  expect(image?.indexes.map((index) => index.oid)).toEqual([20_002]);
  expect(image?.constraints.map((one) => one.definition)).toEqual(['PRIMARY KEY (id)']);
});

test('a key must be among the columns; what does not fit is not held', () => {
  expect(problems('users (name)')).toEqual(['public.users is not held: its key needs "id" among the columns']);
  expect(resolvePlacement(spec(['users (name)']), catalogue).held.size).toBe(0);
  expect(problems('users (id, nothing)')).toEqual(['public.users is not held: it has no replicated column "nothing"']);
});

test('an empty list of labels keeps null apart from false', () => {
  const [held] = resolvePlacement(spec(["users WHERE mood < 'sad'"]), catalogue).held.values();
  if (held === undefined) throw new Error('not held');
  expect(heldSql(held, catalogue)).toBe('(iif("mood" IS NULL, NULL, "mood" IN ())) IS TRUE');
});

test('specs are checked as they are and against each other', () => {
  expect(() => checkSpec(spec(['users'], { name: 'Bad Name' }))).toThrow('a name is made of');
  expect(() => checkSpec(spec(['users', 'public.users']))).toThrow('is there twice');
  expect(() => checkSpec(spec(['users WHERE ?']))).toThrow('placement "eu", table 1: "?" is not understood');
  expect(() => checkSpecs([spec(['users']), spec(['plain'], { name: 'us' })])).toThrow('belongs to two placements');
  expect([
    holdsEverything(spec(['*'])),
    holdsEverything(spec(['* (id)'])),
    holdsEverything(spec(['public.*'])),
    holdsEverything(spec([])),
  ]).toEqual([true, false, false, false]);
  const specs = [spec(['users']), spec(['*'], { name: 'rest', pops: ['*'] })];
  expect([placementOf(specs, 'a')?.name, placementOf(specs, 'b')?.name, placementOf([spec([])], 'b')]).toEqual([
    'eu',
    'rest',
    null,
  ]);
});
