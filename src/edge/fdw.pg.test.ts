// A PoP as a foreign table: a stock PostgreSQL reads and writes through an edge with its own postgres_fdw. Each statement runs twice in
// that server, over a foreign server that is the edge and over one that is the core, on two copies of the same tables: what it
// answers must be the same.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pg from 'pg';
import { type FollowingEdge, startFollowingEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import { startRelay, type TestRelay, upstreamOf } from '../../test/relay.ts';

const TABLES = `
  CREATE TABLE S.customer (id int PRIMARY KEY, name text COLLATE "C" NOT NULL, city text COLLATE "C", since date);
  CREATE TABLE S.purchase (id int PRIMARY KEY, customer int REFERENCES S.customer, amount numeric(10, 2), at timestamptz, tags text[]);
  CREATE TABLE S.pair (key text PRIMARY KEY, value text);
  CREATE TABLE S.wide (a int, b bigint, c real, d double precision, e boolean, f uuid, g bytea, h jsonb, i interval, k varchar(8), PRIMARY KEY (a, b));
  CREATE TABLE S.part_1 (id int PRIMARY KEY, v text COLLATE "C"); CREATE TABLE S.part_2 (id int PRIMARY KEY, v text COLLATE "C");
  INSERT INTO S.customer SELECT i, 'name ' || i, CASE WHEN i % 7 > 0 THEN 'city ' || i % 7 END, date '2020-01-01' + i FROM generate_series(1, 400) i;
  INSERT INTO S.purchase SELECT i, i % 400 + 1, i / 7.0, timestamptz '2024-01-01 00:00+00' + i * interval '1 hour', ARRAY['a', NULL, 'tag ' || i % 3]
    FROM generate_series(1, 3000) i;
  INSERT INTO S.wide SELECT i, i * 10000000000, i / 3.0, i / 3.0, i % 2 = 0, ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
    decode(lpad(to_hex(i), 4, '0'), 'hex'), jsonb_build_object('n', i, 's', 'x' || i), i * interval '1 day 2 hours', 'v' || i FROM generate_series(1, 50) i;
  INSERT INTO S.part_1 SELECT i, 'one ' || i FROM generate_series(1, 300) i; INSERT INTO S.part_2 SELECT i, 'two ' || i FROM generate_series(301, 600) i;
`;

for (const version of ['15', '18'] as const) {
  describe(`postgres_fdw of PostgreSQL ${version}`, () => {
    let postgres: TestPostgres;
    let relay: TestRelay;
    let edge: FollowingEdge;
    let reader: pg.Client;

    beforeAll(async () => {
      postgres = await startPostgres({ version });
      await postgres.sql(
        `CREATE SCHEMA through; CREATE SCHEMA direct; ${TABLES.replaceAll('S.', 'through.')} ${TABLES.replaceAll('S.', 'direct.')}`,
      );
      await postgres.sql('CREATE DATABASE reader');
      relay = await startRelay({ upstream: upstreamOf(postgres) });
      edge = await startFollowingEdge(postgres, relay, { name: 'pop', rywWaitMs: 5000 });
      reader = new pg.Client({ host: postgres.host, port: postgres.port, user: 'postgres', database: 'reader' });
      reader.on('error', () => {});
      await reader.connect();
      await reader.query('CREATE EXTENSION postgres_fdw');
      for (const [schema, port] of [
        ['through', edge.port],
        ['direct', postgres.port],
      ] as const) {
        await reader.query(`CREATE SERVER ${schema} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '${port}', dbname 'postgres');
          CREATE USER MAPPING FOR CURRENT_USER SERVER ${schema} OPTIONS (user 'postgres', password 'x');
          CREATE SCHEMA ${schema}; IMPORT FOREIGN SCHEMA ${schema} FROM SERVER ${schema} INTO ${schema} OPTIONS (import_default 'true')`);
      }
    }, 60_000);

    afterAll(async () => {
      await reader?.end();
      await edge?.[Symbol.asyncDispose]();
      await relay?.[Symbol.asyncDispose]();
      await postgres?.[Symbol.asyncDispose]();
    });

    type Answer =
      | { readonly tag: string; readonly rows: unknown }
      | { readonly code: string; readonly message: string };

    async function run(sql: string): Promise<Answer> {
      try {
        const result = (await reader.query({ text: sql, rowMode: 'array' })) as unknown as
          | pg.QueryResult
          | pg.QueryResult[];
        const last = Array.isArray(result) ? (result.at(-1) as pg.QueryResult) : result;
        return { tag: `${last.command} ${last.rowCount}`, rows: last.rows };
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return { code, message };
      }
    }

    /** `S` stands for the schema. `local`: the edge must have answered something itself. */
    async function check(statements: readonly string[], local = false): Promise<void> {
      const before = edge.edge.answered.local;
      const answers = async (schema: string): Promise<unknown[]> => {
        const all: unknown[] = [];
        for (const statement of statements) {
          const answer = await run(statement.replaceAll('S.', `${schema}.`));
          all.push([statement, JSON.parse(JSON.stringify(answer).replaceAll(schema, 'S'))]);
        }
        return all;
      };
      const through = await answers('through');
      expect(through).toEqual(await answers('direct'));
      if (local) expect(edge.edge.answered.local).toBeGreaterThan(before);
    }

    test('IMPORT FOREIGN SCHEMA brings the same columns', async () => {
      await check([
        `SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = rtrim('S.', '.')::regnamespace AND attnum > 0 ORDER BY 1, attnum`,
      ]);
    });

    test('reads: whole, by key, filtered, sorted, limited, aggregated; answered by the edge', async () => {
      await check(
        [
          'SELECT * FROM S.customer WHERE id = 7',
          'SELECT * FROM S.customer ORDER BY id',
          'SELECT * FROM S.wide ORDER BY a',
          'SELECT count(*), sum(amount), min(at) FROM S.purchase',
          'SELECT id, amount FROM S.purchase WHERE amount > 400 ORDER BY amount DESC, id LIMIT 10 OFFSET 3',
          `SELECT city, count(*) FROM S.customer GROUP BY city ORDER BY 1`,
          `SELECT * FROM S.purchase WHERE tags[3] = 'tag 1' ORDER BY id LIMIT 5`,
          'SELECT * FROM S.customer WHERE id = ANY (ARRAY[3, 5, 999]) ORDER BY id',
          'SELECT * FROM S.customer WHERE city IS NULL ORDER BY id',
        ],
        true,
      );
    });

    test('joins that are pushed down, sorted merges, semi joins, remote estimates', async () => {
      const join = 'SELECT c.id, c.name, p.id, p.amount FROM S.customer c JOIN S.purchase p ON p.customer = c.id';
      await check([
        `${join} WHERE c.id < 5 ORDER BY c.id, p.id`,
        `SELECT c.id, p.id FROM S.customer c LEFT JOIN S.purchase p ON p.customer = c.id AND p.amount > 420 ORDER BY c.id, p.id`,
        `SELECT c.city, sum(p.amount) FROM S.customer c JOIN S.purchase p ON p.customer = c.id GROUP BY c.city ORDER BY 1`,
        `SELECT id FROM S.customer c WHERE EXISTS (SELECT FROM S.purchase p WHERE p.customer = c.id AND p.amount > 425) ORDER BY id`,
        'SET enable_hashjoin = off; SET enable_nestloop = off',
        `SELECT c.id, w.a FROM S.customer c FULL JOIN S.wide w ON w.a = c.id ORDER BY 1, 2`,
        `SELECT c.name, d.name FROM S.customer c JOIN S.customer d ON d.name = c.name ORDER BY c.name COLLATE "C" LIMIT 20`,
        'RESET enable_hashjoin; RESET enable_nestloop',
      ]);
      for (const server of ['through', 'direct'])
        await run(`ALTER SERVER ${server} OPTIONS (ADD use_remote_estimate 'true')`);
      await check([
        `${join} WHERE c.id < 50 ORDER BY p.amount, p.id LIMIT 30`,
        'SELECT * FROM S.customer WHERE id = 9',
      ]);
      await check(['SET enable_hashjoin = off; SET enable_nestloop = off']);
      await check([`${join} ORDER BY c.id, p.id LIMIT 100`, 'RESET enable_hashjoin; RESET enable_nestloop']);
      for (const server of ['through', 'direct'])
        await run(`ALTER SERVER ${server} OPTIONS (DROP use_remote_estimate)`);
    });

    test('ANALYZE', async () => {
      const facts = `SELECT attname, null_frac, n_distinct FROM pg_stats WHERE schemaname = rtrim('S.', '.') AND tablename = 'customer' ORDER BY 1`;
      await check(['ANALYZE S.customer', `SELECT reltuples FROM pg_class WHERE oid = 'S.customer'::regclass`, facts]);
      if (version === '15') return;
      for (const method of ['off', 'random', 'system', 'bernoulli', 'auto']) {
        await check([
          `ALTER FOREIGN TABLE S.purchase OPTIONS (${method === 'off' ? 'ADD' : 'SET'} analyze_sampling '${method}')`,
          'ANALYZE S.purchase',
        ]);
      }
    });

    test('INSERT, UPDATE, DELETE, with RETURNING, directly and row by row; own writes are seen', async () => {
      await check([
        `INSERT INTO S.customer VALUES (1001, 'new', 'x', '2024-02-29') RETURNING *`,
        'SELECT * FROM S.customer WHERE id = 1001',
        `INSERT INTO S.customer SELECT i, 'many ' || i, 'y', date '2024-01-01' FROM generate_series(1002, 1050) i`,
        'SELECT count(*) FROM S.customer WHERE id > 1000',
        `UPDATE S.customer SET city = 'z' WHERE id BETWEEN 1002 AND 1004 RETURNING id, city`,
        `UPDATE S.customer SET name = upper(name) || random()::int * 0 WHERE id = 1005 RETURNING name`,
        `UPDATE S.customer c SET city = p.amount::text FROM S.purchase p WHERE p.id = 5 AND c.id = 1006 RETURNING c.id, c.city`,
        `DELETE FROM S.customer WHERE id = 1010 RETURNING *`,
        `DELETE FROM S.customer WHERE id > 1040 AND random() < 2 RETURNING id`,
        `DELETE FROM S.customer c USING S.wide w WHERE w.a = 3 AND c.id = 1011 RETURNING c.id, w.b`,
        'SELECT id, name, city FROM S.customer WHERE id > 1000 ORDER BY id',
        `INSERT INTO S.customer VALUES (1001, 'twice', NULL, NULL)`,
        `INSERT INTO S.customer VALUES (1001, 'twice', NULL, NULL) ON CONFLICT DO NOTHING`,
        `INSERT INTO S.purchase VALUES (9000, 123456, 1, NULL, NULL)`,
        `INSERT INTO S.customer VALUES (1, NULL)`,
        'SELECT ctid IS NOT NULL, tableoid::regclass::text FROM S.customer WHERE id = 1',
        'DELETE FROM S.customer WHERE id > 1000',
        'SELECT count(*) FROM S.customer',
      ]);
    });

    test('batches, COPY and TRUNCATE', async () => {
      await check([
        `ALTER FOREIGN TABLE S.pair OPTIONS (ADD batch_size '10')`,
        `INSERT INTO S.pair SELECT 'k' || i, 'v' || i FROM generate_series(1, 35) i`,
        'SELECT count(*), min(key), max(value) FROM S.pair',
        `COPY S.pair FROM PROGRAM 'printf "c1\\tone\\nc2\\t\\\\N\\n"'`,
        `SELECT * FROM S.pair WHERE key LIKE 'c%' ORDER BY key COLLATE "C"`,
        `COPY (SELECT key FROM S.pair WHERE key = 'k7') TO PROGRAM 'cat > /dev/null'`,
        'TRUNCATE S.pair',
        'SELECT count(*) FROM S.pair',
        'TRUNCATE S.customer',
        'SELECT count(*) FROM S.customer',
      ]);
    });

    test('transactions: commit, rollback, savepoints, errors, reads between', async () => {
      await check([
        'BEGIN',
        'SELECT count(*) FROM S.part_1',
        `INSERT INTO S.pair VALUES ('a', '1')`,
        'SELECT * FROM S.pair ORDER BY key',
        'SAVEPOINT s1',
        `INSERT INTO S.pair VALUES ('b', '2')`,
        'SAVEPOINT s2',
        `INSERT INTO S.pair VALUES ('a', 'again')`,
        'SELECT 1',
        'ROLLBACK TO s2',
        'SELECT * FROM S.pair ORDER BY key',
        'ROLLBACK TO s1',
        `UPDATE S.pair SET value = 'changed' WHERE key = 'a'`,
        'RELEASE s1',
        'COMMIT',
        'SELECT * FROM S.pair ORDER BY key',
        'BEGIN',
        'DELETE FROM S.pair',
        'SELECT count(*) FROM S.pair',
        'ROLLBACK',
        'SELECT count(*) FROM S.pair',
        'BEGIN ISOLATION LEVEL SERIALIZABLE',
        `UPDATE S.pair SET value = 'serial' RETURNING *`,
        'COMMIT',
        'BEGIN ISOLATION LEVEL REPEATABLE READ',
        'SELECT * FROM S.pair FOR UPDATE',
        'ROLLBACK',
        'SELECT amount / (id - 5) FROM S.purchase WHERE id = 5',
        `DO $$ BEGIN INSERT INTO S.pair VALUES ('c', '3'); BEGIN INSERT INTO S.pair VALUES ('c', '4'); EXCEPTION WHEN unique_violation THEN UPDATE S.pair SET value = 'kept' WHERE key = 'c'; END; END $$`,
        `SELECT * FROM S.pair WHERE key = 'c'`,
        'TRUNCATE S.pair',
      ]);
    });

    test('cursors, prepared statements and parameters', async () => {
      await check([
        'BEGIN',
        'DECLARE c SCROLL CURSOR FOR SELECT id FROM S.purchase ORDER BY id',
        'FETCH 250 FROM c',
        'FETCH LAST FROM c',
        'FETCH BACKWARD 3 FROM c',
        'FETCH ABSOLUTE 2 FROM c',
        'COMMIT',
      ]);
      for (const schema of ['through', 'direct']) {
        await run(`PREPARE ${schema}_one (int) AS SELECT * FROM ${schema}.purchase WHERE id = $1`);
        await run('SET plan_cache_mode = force_generic_plan');
      }
      for (const id of [1, 2, 77, 99_999]) {
        expect(await run(`EXECUTE through_one(${id})`)).toEqual(await run(`EXECUTE direct_one(${id})`));
      }
      await run('RESET plan_cache_mode');
    });

    test('async append over partitions', async () => {
      for (const schema of ['through', 'direct']) {
        await run(`ALTER SERVER ${schema} OPTIONS (ADD async_capable 'true')`);
        await run(`CREATE TABLE ${schema}.parts (id int, v text COLLATE "C") PARTITION BY RANGE (id)`);
        for (const [part, from, to] of [
          ['part_1', 1, 301],
          ['part_2', 301, 601],
        ] as const) {
          expect(
            await run(
              `ALTER TABLE ${schema}.parts ATTACH PARTITION ${schema}.${part} FOR VALUES FROM (${from}) TO (${to})`,
            ),
          ).toMatchObject({
            tag: expect.any(String),
          });
        }
      }
      await check([
        'SELECT id, v FROM S.parts WHERE id % 50 = 0 ORDER BY id',
        'SELECT count(*) FROM S.parts',
        'SELECT a.id, b.v FROM S.parts a JOIN S.parts b USING (id) WHERE a.id IN (5, 300, 301, 599) ORDER BY 1',
        `INSERT INTO S.parts VALUES (0, 'nowhere')`,
        `UPDATE S.parts SET v = 'upd' WHERE id IN (1, 600) RETURNING *`,
      ]);
    });

    test('the example of 2013, but for the wrapper’s name', async () => {
      await postgres.sql(
        'CREATE TABLE through.test (key text PRIMARY KEY, value text); CREATE TABLE direct.test (key text PRIMARY KEY, value text)',
      );
      for (const schema of ['through', 'direct']) {
        expect(
          await run(
            `CREATE FOREIGN TABLE ${schema}.test (key TEXT, value TEXT) SERVER ${schema} OPTIONS (schema_name '${schema}')`,
          ),
        ).toMatchObject({ tag: expect.any(String) });
      }
      await check([
        `INSERT INTO S.test (key, value) VALUES ('key1', 'value1')`,
        'SELECT * FROM S.test',
        `SELECT * FROM S.test WHERE key = 'key1'`,
        `UPDATE S.test SET value = 'value2' WHERE key = 'key1'`,
        'SELECT * FROM S.test',
        'BEGIN',
        `INSERT INTO S.test (key, value) VALUES ('key2', 'value2')`,
        'SELECT * FROM S.test ORDER BY key',
        'ROLLBACK',
        'SELECT * FROM S.test',
        'BEGIN',
        `DELETE FROM S.test WHERE key = 'key1'`,
        'COMMIT',
        'SELECT * FROM S.test',
      ]);
    });
  });
}
