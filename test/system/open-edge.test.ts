// A program of one's own that reads a PoP without a socket, while relay and edge go on writing it.

import { expect, test } from 'bun:test';
import { openEdge } from 'skerry/edge';
import { startPostgres } from '../harness.ts';
import { createWorld, until } from '../world.ts';

test('a program reads rows by key and by SQL, follows the stream, and is told what it may not ask', async () => {
  await using postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE zone (id int PRIMARY KEY, name text, big int8, ok bool, doc jsonb, raw bytea, price numeric, at timestamptz, f float8);
    INSERT INTO zone VALUES (1, 'one', 9007199254740993, true, '{"a": [1]}', '\\x00ff', 1.50, '2024-01-02 03:04:05Z', 0.1);
    INSERT INTO zone (id) VALUES (2);
    CREATE TABLE pair (a int, b text, v int, PRIMARY KEY (a, b)); INSERT INTO pair VALUES (1, 'x', 7);
    CREATE TABLE many (n int PRIMARY KEY); INSERT INTO many SELECT generate_series(1, 3000);
    CREATE TABLE loose (v int)`);
  await using world = createWorld();
  const relay = await world.relay('relay', { url: postgres.url });
  await relay.ready();
  const edge = await world.edge('edge', relay, postgres.url);
  await edge.ready();
  expect(openEdge({ dir: `${world.dir}/nowhere` })).rejects.toThrow('no replica');

  using reader = await openEdge({ dir: `${world.dir}/edge` });
  expect(reader.get('zone', 1)).toEqual({
    id: 1,
    name: 'one',
    big: 9007199254740993n,
    ok: true,
    doc: { a: [1] },
    raw: Uint8Array.of(0, 255),
    price: '1.50',
    at: '2024-01-02 03:04:05+00',
    f: 0.1,
  });
  expect(reader.get('public.zone', 2)).toMatchObject({ id: 2, name: null, ok: null });
  expect(reader.get('zone', 3)).toBeNull();
  expect(reader.get('pair', 1, 'x')).toEqual({ a: 1, b: 'x', v: 7 });
  expect(reader.query('SELECT id, name FROM zone WHERE name = $1', ['one'])).toEqual([{ id: 1, name: 'one' }]);
  expect(reader.query('SELECT count(*) AS n FROM zone WHERE ok = $1', [true])).toEqual([{ n: 1n }]);
  // More than one chunk of the server's own.
  expect(reader.query('SELECT n FROM many ORDER BY n').length).toBe(3000);

  expect(() => reader.query('INSERT INTO zone VALUES (9)')).toThrow('cannot be answered from the replica');
  expect(() => reader.query('SELECT nope FROM zone')).toThrow('cannot be answered from the replica');
  expect(() => reader.get('nope', 1)).toThrow('no table');
  expect(() => reader.get('pair', 1)).toThrow('2 values');
  expect(() => reader.get('loose', 1)).toThrow('0 values');
  expect(() => reader.get('zone', 'x')).toThrow('refuse');

  await postgres.sql("UPDATE zone SET name = 'new' WHERE id = 1");
  const token = (await postgres.value('SELECT pg_current_wal_insert_lsn()')) as string;
  await postgres.sql('INSERT INTO zone (id) VALUES (4)');
  expect(await reader.waitFor(token, 30_000)).toBe(true);
  expect(reader.get('zone', 1)).toMatchObject({ name: 'new' });
  expect(await reader.waitFor('FFFFFFFF/0', 10)).toBe(false);
  await postgres.sql('ALTER TABLE zone ADD COLUMN extra text DEFAULT $$x$$');
  await until('the new column is here', async () => reader.get('zone', 1)?.['extra'] === 'x');

  // Another file in its place: an edge that begins anew.
  await edge.stop();
  for (const suffix of ['', '-wal', '-shm'])
    await Bun.file(`${world.dir}/edge/replica.sqlite${suffix}`)
      .delete()
      .catch(() => {});
  await postgres.sql("UPDATE zone SET name = 'newer' WHERE id = 1");
  await edge.start();
  await edge.ready();
  await until('the new copy is read', async () => reader.get('zone', 1)?.['name'] === 'newer');
}, 120_000);
