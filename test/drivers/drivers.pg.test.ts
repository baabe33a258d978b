// Stock drivers against an edge: reads that it answers itself, reads and writes that it forwards, transactions, errors.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { SQL } from 'bun';
import { Client, Pool } from 'pg';
import Postgres from 'postgres';
import { startTestEdge, type TestEdge } from '../edge.ts';
import { clientProgram, needs, pythonWithPsycopg, startPostgres, type TestPostgres } from '../harness.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(10,2), made timestamptz, tags text[], ok bool, big bigint, doc jsonb);
    INSERT INTO item SELECT i, 'item ' || i, i + 0.5, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 hour', ARRAY['a', 'b' || i], i % 2 = 0, 9007199254740993 + i, jsonb_build_object('n', i) FROM generate_series(1, 3000) i;
    CREATE TABLE log (n int PRIMARY KEY, what text)`);
  edge = await startTestEdge(postgres, { rywWaitMs: 20 });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** Runs `read` against edge and core; both must give the same, and the edge must have answered `local` statements itself. */
async function same(local: number, read: (port: number) => Promise<unknown>): Promise<void> {
  const before = edge.edge.answered.local;
  const here = await read(edge.port);
  expect(edge.edge.answered.local - before).toBe(local);
  expect(here).toEqual(await read(postgres.port));
}

const url = (port: number): string => `postgres://postgres@127.0.0.1:${port}/postgres`;

describe('node-postgres', () => {
  const using =
    <T>(work: (client: Client) => Promise<T>) =>
    async (port: number): Promise<T> => {
      const client = new Client({ connectionString: url(port) });
      await client.connect();
      try {
        return await work(client);
      } finally {
        await client.end();
      }
    };

  test('simple and parameterised reads, all types', async () => {
    await same(
      2,
      using(async (client) => [
        (await client.query('SELECT * FROM item WHERE id = 5')).rows,
        (await client.query('SELECT * FROM item WHERE id = $1', [6])).rows,
      ]),
    );
  });

  test('named prepared statements, again and again', async () => {
    await same(
      3,
      using(async (client) => {
        const rows = [];
        for (const id of [1, 2, 3])
          rows.push(
            (await client.query({ name: 'by-id', text: 'SELECT name FROM item WHERE id = $1', values: [id] })).rows,
          );
        return rows;
      }),
    );
  });

  test('a transaction with a write in the middle', async () => {
    await same(
      1,
      using(async (client) => {
        await client.query('BEGIN');
        const before = (await client.query('SELECT name FROM item WHERE id = 1')).rows;
        await client.query("UPDATE item SET name = 'changed' WHERE id = 1");
        const inside = (await client.query('SELECT name FROM item WHERE id = 1')).rows;
        await client.query('ROLLBACK');
        return [before, inside];
      }),
    );
  });

  test('errors have their SQLSTATE, and the session goes on', async () => {
    await same(
      1,
      using(async (client) => {
        const codes = [];
        for (const text of ['SELECT nope FROM item', 'SELEC 1', 'SELECT 1/0', 'INSERT INTO item (id) VALUES (1)']) {
          codes.push(await client.query(text).catch((error: { code: string }) => error.code));
        }
        return [codes, (await client.query('SELECT name FROM item WHERE id = 2')).rows];
      }),
    );
  });

  test('a pool of twenty at once', async () => {
    const pool = new Pool({ connectionString: edge.url, max: 20 });
    const rows = await Promise.all(
      Array.from({ length: 500 }, (_, i) => pool.query('SELECT id FROM item WHERE id = $1', [i + 1])),
    );
    expect(rows.map(({ rows: [row] }) => row.id)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    await pool.end();
  });
});

describe('postgres.js', () => {
  const using =
    <T>(work: (sql: Postgres.Sql) => Promise<T>) =>
    async (port: number): Promise<T> => {
      const sql = Postgres(url(port), { max: 1 });
      try {
        return await work(sql);
      } finally {
        await sql.end();
      }
    };

  test('reads with parameters, arrays and JSON', async () => {
    await same(
      2,
      using(async (sql) => [
        [...(await sql`SELECT id, name, price, made, tags, ok, big, doc FROM item WHERE id = ${7}`)],
        [...(await sql`SELECT name FROM item WHERE id = ${8}`)],
      ]),
    );
  });

  test('transactions and pipelined statements', async () => {
    const read = using(async (sql) => {
      await sql`DELETE FROM log`;
      await sql.begin(async (tx) => {
        await tx`INSERT INTO log VALUES (1, 'one')`;
        await Promise.all([tx`INSERT INTO log VALUES (2, 'two')`, tx`INSERT INTO log VALUES (3, 'three')`]);
      });
      const [names, logged] = await Promise.all([
        sql`SELECT name FROM item WHERE id = ${9}`,
        sql`SELECT * FROM log ORDER BY n`,
      ]);
      return [[...names], [...logged]];
    });
    expect(await read(edge.port)).toEqual(await read(postgres.port));
  });

  test('a cursor reads in portions', async () => {
    const read = using(async (sql) => {
      const seen: number[] = [];
      await sql`SELECT id FROM item WHERE id <= ${250} ORDER BY id`.cursor(100, (rows) => {
        seen.push(rows.length);
      });
      return seen;
    });
    expect(await read(edge.port)).toEqual(await read(postgres.port));
  });

  test('LISTEN and NOTIFY', async () => {
    const sql = Postgres(edge.url, { max: 2 });
    const heard = Promise.withResolvers<string>();
    await sql.listen('news', heard.resolve);
    await sql.notify('news', 'paper');
    expect(await heard.promise).toBe('paper');
    await sql.end();
  });
});

describe('Bun.SQL', () => {
  const using =
    <T>(work: (sql: SQL) => Promise<T>) =>
    async (port: number): Promise<T> => {
      const sql = new SQL({ url: url(port), max: 1 });
      try {
        return await work(sql);
      } finally {
        await sql.close();
      }
    };

  test('reads in binary, writes, transactions', async () => {
    await same(
      2,
      using(async (sql) => [
        [...(await sql`SELECT id, name, price, made, ok, big FROM item WHERE id = ${10}`)],
        [...(await sql`SELECT name FROM item WHERE id = ${11}`)],
      ]),
    );
    const write = using(async (sql) => {
      await sql`DELETE FROM log`;
      await sql.begin(async (tx) => {
        await tx`INSERT INTO log VALUES (${1}, ${'one'})`;
      });
      return [...(await sql`SELECT * FROM log`)];
    });
    expect(await write(edge.port)).toEqual(await write(postgres.port));
  });
});

describe.skipIf(!needs('python-psycopg'))('psycopg', () => {
  const script = `
import sys, psycopg
url = sys.argv[1]
with psycopg.connect(url) as c:
    print(c.execute("SELECT id, name, price, made, tags, ok, big, doc FROM item WHERE id = %s", (12,)).fetchone())
    print(c.execute("SELECT id, price, made, ok FROM item WHERE id = %s", (13,), binary=True).fetchone())
    with c.cursor(binary=True) as cur:
        print(cur.execute("SELECT id, name, price, tags, big, ok FROM item WHERE id = %b", (14,)).fetchone())
    c.execute("DELETE FROM log"); c.execute("INSERT INTO log VALUES (1, 'x')")
    try:
        with c.transaction():
            c.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero as e:
        print(e.sqlstate)
    print(c.execute("SELECT * FROM log").fetchall())
    c.rollback()
    try: c.execute("SELECT nope FROM item")
    except psycopg.Error as e: print(e.sqlstate)
    print(c.info.transaction_status)
    c.rollback()
    with c.cursor("named") as cur:
        cur.execute("SELECT id FROM item WHERE id < 30 ORDER BY id")
        print(len(cur.fetchmany(10)), len(cur.fetchall()))
    with c.cursor() as cur:
        with cur.copy("COPY item (id, name) TO STDOUT") as copy:
            print(sum(1 for _ in copy.rows()))
with psycopg.connect(url, autocommit=True) as c:
    for i in range(8): print(c.execute("SELECT name FROM item WHERE id = %s", (i,)).fetchone())
    with c.pipeline():
        cursors = [c.execute("SELECT name FROM item WHERE id = %s", (i,)) for i in range(1, 5)]
        print([cur.fetchone() for cur in cursors])
    print(c.info.server_version > 150000, c.info.encoding, c.info.timezone is not None)
`;
  test('reads, binary, transactions, errors, cursors, COPY, pipeline', async () => {
    const run = async (port: number): Promise<string> => {
      const child = Bun.spawn([pythonWithPsycopg() ?? 'python3', '-c', script, url(port)], {
        stdout: 'pipe',
        stderr: 'pipe',
      });
      const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      await child.exited;
      return out + error;
    };
    expect(await run(edge.port)).toBe(await run(postgres.port));
  });
});

describe.skipIf(!needs('pgbench'))('pgbench', () => {
  test.each(['simple', 'extended', 'prepared'])('point reads, -M %s: all answered here', async (mode) => {
    using script = Object.assign(
      { path: `/tmp/skerry-pgbench-${process.pid}-${mode}.sql` },
      { [Symbol.dispose]: () => {} },
    );
    await Bun.write(script.path, '\\set id random(1, 3000)\nSELECT name FROM item WHERE id = :id;\n');
    const before = { ...edge.edge.answered };
    const child = Bun.spawn(
      [
        clientProgram('pgbench'),
        '-n',
        '-c',
        '4',
        '-t',
        '50',
        '-M',
        mode,
        '-f',
        script.path,
        '-h',
        '127.0.0.1',
        '-p',
        String(edge.port),
        '-U',
        'postgres',
        'postgres',
      ],
      { stdout: 'pipe', stderr: 'pipe' },
    );
    const out = await new Response(child.stdout).text();
    expect(out).toContain('number of failed transactions: 0');
    expect(edge.edge.answered.local - before.local).toBe(200);
  });

  test('its own TPC-B-like script, forwarded', async () => {
    const run = (...args: string[]) =>
      Bun.spawn(
        [clientProgram('pgbench'), ...args, '-h', '127.0.0.1', '-p', String(edge.port), '-U', 'postgres', 'postgres'],
        { stdout: 'pipe', stderr: 'pipe' },
      );
    expect(await run('-i', '-q', '-s', '1').exited).toBe(0);
    const bench = run('-n', '-c', '2', '-t', '20', '-M', 'prepared');
    expect(await new Response(bench.stdout).text()).toContain('number of failed transactions: 0');
  });
});
