// Sketches and hashes against the hll extension itself.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { needs, startPostgres, type TestPostgres } from '../../test/harness.ts';
import { Hll } from './hll.ts';
import { type Hash64, murmur64 } from './murmur.ts';

const skip = !needs('hll');
let postgres: TestPostgres;

beforeAll(async () => {
  if (skip) return;
  postgres = await startPostgres({ version: '15' });
  await postgres.sql('CREATE EXTENSION hll');
});

afterAll(async () => {
  await postgres?.[Symbol.asyncDispose]();
});

const out: Hash64 = { high: 0, low: 0 };

function sketchOf(count: number, from = 1): Hll {
  const sketch = new Hll();
  for (let value = from; value < from + count; value += 1) {
    murmur64(Buffer.from(`visitor ${value}`), out);
    sketch.add(out);
  }
  return sketch;
}

test.skipIf(skip)('hashes of every length are the extension’s', async () => {
  const texts = Array.from({ length: 70 }, (_, length) =>
    'ü0123456789abcdefghijklmnopqrstuvwxyz'.repeat(2).slice(0, length),
  );
  const rows = await postgres.sql(
    `SELECT hll_hash_text(t)::text AS h FROM unnest(ARRAY[${texts.map((text) => `'${text}'`).join(',')}]) WITH ORDINALITY AS x(t, n) ORDER BY n`,
  );
  rows.forEach((row, index) => {
    murmur64(Buffer.from(texts[index] as string), out);
    const hash = (BigInt(out.high) << 32n) | BigInt(out.low >>> 0);
    expect([texts[index], String(hash)]).toEqual([texts[index], String(row['h'])]);
  });
});

test.skipIf(skip).each([0, 1, 5, 159, 160, 161, 300, 600, 700, 800, 900, 1000, 5000, 50_000])(
  'a sketch of %d values is the extension’s, byte for byte, and counts as it does',
  async (count) => {
    const [row] = await postgres.sql(
      `SELECT coalesce(hll_add_agg(hll_hash_text('visitor ' || i)), hll_empty())::text AS bytes,
              hll_cardinality(coalesce(hll_add_agg(hll_hash_text('visitor ' || i)), hll_empty())) AS n FROM generate_series(1, ${count}) i`,
    );
    const sketch = sketchOf(count);
    expect(`\\x${sketch.toBytes().toString('hex')}`).toBe(String(row?.['bytes']));
    expect(sketch.cardinality()).toBeCloseTo(Number(row?.['n']), 6);
    expect(Hll.fromBytes(sketch.toBytes()).toBytes().equals(sketch.toBytes())).toBe(true);
  },
);

test.skipIf(skip).each([
  [10, 20],
  [100, 100],
  [150, 2000],
  [3000, 40],
  [20_000, 20_000],
])('a union of %d and %d values is the extension’s', async (left, right) => {
  const sketch = sketchOf(left);
  sketch.merge(sketchOf(right, Math.floor(left / 2)));
  const [row] = await postgres.sql(
    `SELECT ((SELECT hll_add_agg(hll_hash_text('visitor ' || i)) FROM generate_series(1, ${left}) i) ||
      (SELECT hll_add_agg(hll_hash_text('visitor ' || i)) FROM generate_series(${Math.floor(left / 2)}, ${Math.floor(left / 2) + right - 1}) i))::text AS bytes`,
  );
  expect(`\\x${sketch.toBytes().toString('hex')}`).toBe(String(row?.['bytes']));
});

test('bytes that are no sketch are refused', () => {
  for (const hex of ['', '11', '108b7f', '118b7e', '118c7f', '128b7f00', '138b7f00', '148b7f0000', '218b7f']) {
    expect(() => Hll.fromBytes(Buffer.from(hex, 'hex'))).toThrow(RangeError);
  }
});
