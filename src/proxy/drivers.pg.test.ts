// Stock clients through the proxy, in both pool modes: what they do by themselves must simply work.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import postgresJs from 'postgres';
import {
  clientProgram,
  needs,
  pythonWithPsycopg,
  startPostgres,
  temporaryFolder,
  type TestPostgres,
  waitFor,
} from '../../test/harness.ts';
import { startProxy, type TestProxy } from '../../test/proxy.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql('create table items (id int primary key, name text)');
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(command: string[], proxy: TestProxy, stdin = ''): Promise<Output> {
  const child = Bun.spawn(command, {
    env: {
      ...process.env,
      PGHOST: '127.0.0.1',
      PGPORT: String(proxy.port),
      PGUSER: 'postgres',
      PGDATABASE: 'postgres',
      PGSSLMODE: 'prefer',
    },
    stdin: Buffer.from(stdin),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

const PYTHON = `
import psycopg, threading
kw = dict(prepare_threshold=0)
with psycopg.connect("", **kw) as c:
    c.execute("truncate items")
    with c.cursor() as cur:
        with cur.copy("copy items from stdin") as copy:
            for i in range(1000):
                copy.write_row((i, "name %d" % i))
        cur.execute("select count(*) from items")
        assert cur.fetchone()[0] == 1000
        for i in range(30):
            cur.execute("select %s::int + " + str(i), (1,))
            assert cur.fetchone()[0] == i + 1
        with cur.copy("copy items to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 1000
    c.commit()
    try:
        c.execute("select 1/0")
    except psycopg.errors.DivisionByZero:
        c.rollback()
    try:
        with c.transaction():
            c.execute("insert into items values (5000, 'x')")
            with c.transaction():
                c.execute("insert into items values (5001, 'y')")
                raise psycopg.Rollback()
    except psycopg.Rollback:
        pass
    assert c.execute("select count(*) from items where id >= 5000").fetchone()[0] in (0, 1)
    c.commit()
    with c.cursor(name="server_side") as cur:
        cur.execute("select id from items order by id")
        assert len(cur.fetchmany(10)) == 10
    c.rollback()
try:
    with psycopg.connect("", autocommit=True, **kw) as c, c.pipeline() as p:
        curs = [c.execute("select %s::int", (i,)) for i in range(50)]
        assert [cur.fetchone()[0] for cur in curs] == list(range(50))
except psycopg.NotSupportedError:
    pass
def work(n):
    with psycopg.connect("", autocommit=True, **kw) as c:
        for i in range(50):
            assert c.execute("select %s::int", (n * 1000 + i,)).fetchone()[0] == n * 1000 + i
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
with psycopg.connect("", autocommit=True) as a, psycopg.connect("", autocommit=True) as b:
    a.execute("listen ch")
    b.execute("notify ch, 'hello'")
    for n in a.notifies():
        assert n.payload == "hello"
        break
print("fine")
`;

describe.each([{ mode: 'transaction' as const }, { mode: 'session' as const }])('$mode mode', ({ mode }) => {
  let proxy: TestProxy;
  beforeAll(async () => {
    proxy = await startProxy(postgres, { poolMode: mode, poolSize: mode === 'session' ? 40 : 4 });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
  });

  test('postgres.js: parameters, pipelines, transactions, savepoints, cursors, COPY, LISTEN, cancel', async () => {
    const sql = postgresJs({
      host: '127.0.0.1',
      port: proxy.port,
      user: 'postgres',
      database: 'postgres',
      max: 5,
      onnotice: () => {},
    });
    try {
      await sql`truncate items`;
      const numbers = await Promise.all(Array.from({ length: 200 }, (_, index) => sql`select ${index}::int as n`));
      expect(numbers.map((rows) => rows[0]?.['n'] as number)).toEqual(Array.from({ length: 200 }, (_, index) => index));
      await sql.begin(async (tx) => {
        await tx`insert into items values (1, 'one')`;
        await tx
          .savepoint(async (inner) => {
            await inner`insert into items values (2, 'two')`;
            throw new Error('back');
          })
          .catch(() => {});
        await tx`insert into items values (3, 'three')`;
      });
      expect((await sql`select id from items order by id`).map((row) => row['id'] as number)).toEqual([1, 3]);
      let seen = 0;
      await sql`select generate_series(1, 1000) as n`.cursor(100, (rows) => {
        seen += rows.length;
      });
      expect(seen).toBe(1000);
      const writable = await sql`copy items from stdin`.writable();
      await new Promise<void>((resolve, reject) => {
        writable.on('finish', resolve).on('error', reject);
        writable.end('10\tten\n11\televen\n');
      });
      expect((await sql`select count(*)::int as c from items`)[0]?.['c']).toBe(4);
      const heard: string[] = [];
      await sql.listen('js', (payload) => heard.push(payload));
      await sql.notify('js', 'hi');
      await waitFor('heard', () => heard.length > 0);
      expect(heard).toEqual(['hi']);
      const slow = sql`select pg_sleep(600)`;
      const failed = slow.catch((error: unknown) => (error as { code: string }).code);
      await waitFor(
        'it runs',
        async () =>
          (await postgres.value(
            `select count(*) from pg_stat_activity where query like 'select pg_sleep(600)%' and state = 'active'`,
          )) === '1',
      );
      slow.cancel();
      expect(await failed).toBe('57014');
    } finally {
      await sql.end({ timeout: 1 });
    }
  });

  test('node-postgres: named statements in a pool, types, transactions, savepoints, errors, notices, LISTEN', async () => {
    const pool = new pg.Pool({
      host: '127.0.0.1',
      port: proxy.port,
      user: 'postgres',
      database: 'postgres',
      max: 10,
      application_name: 'node-postgres',
    });
    try {
      await pool.query('truncate items');
      const named = { name: 'by number', text: 'select $1::int as n, $2::text as t, $3::jsonb as j, $4::bytea as b' };
      const rows = await Promise.all(
        Array.from({ length: 200 }, (_, n) =>
          pool.query<{ n: number; t: string; j: unknown; b: Buffer }>({
            ...named,
            values: [n, `text ${n}`, { n }, Buffer.of(n)],
          }),
        ),
      );
      expect(rows.map(({ rows: [row] }) => [row?.n, row?.t, row?.j, row?.b[0]])).toEqual(
        Array.from({ length: 200 }, (_, n) => [n, `text ${n}`, { n }, n]),
      );
      await Promise.all(
        Array.from({ length: 20 }, async (_, n) => {
          const client = await pool.connect();
          try {
            await client.query('begin');
            await client.query('insert into items values ($1, $2)', [n, `item ${n}`]);
            await client.query('savepoint s');
            const failed = await client
              .query('insert into items values ($1, $2)', [n, 'twice'])
              .catch((error: unknown) => (error as { code: string }).code);
            expect(failed).toBe('23505');
            await client.query('rollback to s');
            await client.query(n % 2 === 0 ? 'commit' : 'rollback');
          } finally {
            client.release();
          }
        }),
      );
      expect((await pool.query<{ c: number }>('select count(*)::int as c from items')).rows[0]?.c).toBe(10);
      const several = (await pool.query("select 1 as a; select 'x' as b")) as unknown as pg.QueryResult[];
      expect(several.map((result) => result.rows as unknown)).toEqual([[{ a: 1 }], [{ b: 'x' }]]);
      await expect(pool.query('select $1::int', ['no number'])).rejects.toMatchObject({ code: '22P02' });
      const listener = await pool.connect();
      const heard: string[] = [];
      const notices: string[] = [];
      listener.on('notification', ({ payload }) => heard.push(payload ?? ''));
      listener.on('notice', (notice) => notices.push(notice.message ?? ''));
      await listener.query('listen ch');
      await listener.query("do $$ begin raise notice 'noted'; end $$");
      await pool.query("notify ch, 'hello'");
      await waitFor('heard', () => heard.length > 0);
      expect({ heard, notices }).toEqual({ heard: ['hello'], notices: ['noted'] });
      await listener.query('unlisten *');
      listener.release();
      expect((await pool.query<{ n: string }>("select current_setting('application_name') as n")).rows).toEqual([
        { n: 'node-postgres' },
      ]);
    } finally {
      await pool.end();
    }
  });

  test.skipIf(!needs('python-psycopg'))(
    'psycopg: prepared at once, COPY both ways, pipeline, nested transactions, threads, notifies',
    async () => {
      using folder = temporaryFolder();
      const file = join(folder.path, 'test.py');
      writeFileSync(file, PYTHON);
      const { out, err } = await run([pythonWithPsycopg() as string, file], proxy);
      expect(err).toBe('');
      expect(out.trim()).toBe('fine');
    },
  );

  test.skipIf(!needs('psql'))('psql: \\copy both ways, \\gdesc, \\bind-free meta commands, errors', async () => {
    const script = `
truncate items;
\\copy items from program 'seq 1 5 | sed s/$/,x/' with (format csv)
\\copy (select * from items order by id) to stdout with (format csv)
select 1 as a, 'x' as b \\gdesc
\\dt items
select 1/0;
begin; select count(*) from items; rollback;
`;
    const { out, err } = await run([clientProgram('psql'), '-XqAt', '-f', '-'], proxy, script);
    expect(out).toBe('1,x\n2,x\n3,x\n4,x\n5,x\na|integer\nb|text\npublic|items|table|postgres\n5\n');
    expect(err).toContain('division by zero');
  });

  test.skipIf(!needs('pgbench'))('pgbench: every protocol, with transactions and with a connection each', async () => {
    const pgbench = clientProgram('pgbench');
    expect((await run([pgbench, '-i', '-q', '-s', '1'], proxy)).code).toBe(0);
    for (const options of [
      ['-M', 'simple'],
      ['-M', 'extended'],
      ['-M', 'prepared'],
      ['-M', 'prepared', '-S'],
      ['-C', '-S'],
    ]) {
      const { code, out, err } = await run([pgbench, '-n', '-c', '8', '-t', '20', ...options], proxy);
      expect({ options, code, err: err.replaceAll(/^pgbench \(.*\)\n|^pgbench:.*client \d.*\n/gm, '') }).toMatchObject({
        options,
        code: 0,
      });
      expect(out).toContain('number of transactions actually processed: 160/160');
    }
  });
});

test('replication connections go through one to one', async () => {
  await using proxy = await startProxy(postgres);
  if (!needs('psql')) return;
  const { out, err } = await run(
    [clientProgram('psql'), '-XAt', '-d', 'dbname=postgres replication=database', '-c', 'IDENTIFY_SYSTEM'],
    proxy,
  );
  expect(err).toBe('');
  expect(out).toContain('postgres');
});
