// A statement is answered here only where the rows and columns that a placement leaves out could not have counted (I2).

import { beforeAll, expect, test } from 'bun:test';
import { catalogueImage, indexImage, tableImage } from '../../../test/replica-images.ts';
import { OID } from '../../pg/oid.ts';
import { Catalogue } from '../../replica/catalogue.ts';
import { loadParser } from './parse.ts';
import { Planner } from './planner.ts';

beforeAll(loadParser);

const id = { name: 'id', typeOid: OID.int4, notNull: true };
const key = (oid: number) => indexImage({ oid, keyAttnums: [1], unique: true, primary: true });
const text = (name: string) => ({ name, typeOid: OID.text, collationOid: 950 });

const EU = tableImage({
  oid: 20_000,
  name: 'eu',
  columns: [id, text('region'), text('name')],
  indexes: [key(20_001)],
  rowFilter: "region = 'eu'",
});
const MANY = tableImage({
  oid: 20_100,
  name: 'many',
  columns: [id, text('region'), { name: 'n', typeOid: OID.int4 }],
  indexes: [key(20_101)],
  rowFilter: "region IN ('eu', 'us') AND (n = 1 OR n = 2)",
});
const FEW = {
  ...tableImage({ oid: 20_200, name: 'few', columns: [id, text('a')], indexes: [key(20_201)] }),
  columnsWithheld: true as const,
};
const WHOLE = tableImage({ oid: 20_300, name: 'whole', columns: [id, text('a'), text('b')], indexes: [key(20_301)] });
const OTHER = tableImage({
  oid: 20_400,
  name: 'other',
  columns: [id, text('x')],
  indexes: [key(20_401)],
  rowFilter: 'id > 5',
});

const catalogue = new Catalogue({ ...catalogueImage([EU, MANY, FEW, WHOLE, OTHER]), defaultCollationIsC: true });

function kind(sql: string): string {
  const { plan } = new Planner(() => catalogue).statement(sql, [], { searchPath: ['public'], key: 'public' });
  return plan.kind === 'forward' ? plan.reason : plan.kind;
}

for (const sql of [
  "SELECT * FROM eu WHERE region = 'eu'",
  "SELECT count(*) FROM eu WHERE region = 'eu' AND name = 'x'",
  "SELECT * FROM eu e WHERE e.region IN ('eu')",
  "SELECT * FROM whole w LEFT JOIN eu ON eu.id = w.id WHERE eu.region = 'eu'",
  "SELECT * FROM whole WHERE EXISTS (SELECT 1 FROM eu WHERE eu.id = whole.id AND eu.region = 'eu')",
  "SELECT * FROM many WHERE region = 'us' AND n = 2",
  "SELECT * FROM many WHERE region IN ('us', 'eu') AND n IN (1)",
  "SELECT * FROM many WHERE region = 'us' AND n IN (2)",
  'SELECT id, a FROM few WHERE a = $1',
  'SELECT count(*) FROM few',
  'SELECT f.a, w.b FROM few f JOIN whole w ON w.id = f.id',
  'SELECT q.a FROM (SELECT id, a FROM few) q JOIN whole w ON w.id = q.id ORDER BY w.b',
]) {
  test(`here: ${sql}`, () => {
    expect(kind(sql)).toBe('local');
  });
}

for (const sql of [
  'SELECT * FROM eu',
  "SELECT * FROM eu WHERE region = 'us'",
  "SELECT * FROM eu WHERE region IN ('eu', 'us')",
  "SELECT * FROM eu WHERE region = 'eu' OR id = 1",
  "SELECT * FROM eu WHERE NOT region = 'eu'",
  "SELECT * FROM eu WHERE region <> 'us'",
  'SELECT * FROM eu WHERE region = $1',
  "SELECT * FROM eu WHERE 'eu' = region",
  "SELECT * FROM eu JOIN whole w ON w.id = eu.id AND eu.region = 'eu' WHERE w.a = 'eu'",
  "SELECT * FROM eu a JOIN eu b ON a.id = b.id WHERE a.region = 'eu'",
  "SELECT (SELECT count(*) FROM eu) FROM eu WHERE region = 'eu'",
  "SELECT * FROM many WHERE region = 'us'",
  "SELECT * FROM many WHERE region = 'us' AND n IN (1, 3)",
  'SELECT * FROM other WHERE id > 5',
  'SELECT * FROM few',
  'SELECT few.* FROM few',
  'SELECT secret FROM few',
  'SELECT few FROM few',
  'SELECT few.secret FROM few',
  'SELECT a AS secret, count(*) FROM few GROUP BY secret',
  'SELECT id FROM few ORDER BY secret',
  'SELECT b FROM few, whole',
  'SELECT w.b FROM whole w WHERE EXISTS (SELECT 1 FROM few WHERE b = few.a)',
  'SELECT w.b FROM whole w NATURAL JOIN few',
  'SELECT x FROM few AS f (x, y)',
  'SELECT j.b FROM (few f JOIN whole w ON w.id = f.id) AS j (i, a, k, l, b)',
]) {
  test(`forwarded: ${sql}`, () => {
    expect(kind(sql)).not.toBe('local');
  });
}

test('a plan holds only for the constants that it was made for', () => {
  const planner = new Planner(() => catalogue);
  const session = { searchPath: ['public'], key: 'public' };
  const kinds = ['eu', 'us', 'eu', 'xx'].map(
    (region) => planner.statement(`SELECT id FROM eu WHERE region = '${region}'`, [], session).plan.kind,
  );
  expect(kinds).toEqual(['local', 'forward', 'local', 'forward']);
});
