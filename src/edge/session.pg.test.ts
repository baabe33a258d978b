// Conversations with an edge, message by message, are the ones that the core would have: each script of frames runs against
// both, and what comes back must be the same frames in the same order, whatever of it was answered here.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { converse, difference, randomConversation, type StepFrames } from '../../test/conversations.ts';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import {
  bind,
  closePortal,
  closeStatement,
  copyData,
  copyDone,
  copyFail,
  describePortal,
  describeStatement,
  execute,
  flush,
  frame,
  functionCall,
  i32,
  parse,
  query,
  sync,
} from '../../test/wire-frames.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE t (id int PRIMARY KEY, body text, n numeric, at timestamptz, b bytea, f float8, u uuid, d date, a int[]);
    INSERT INTO t SELECT i, 'body ' || i, i / 4.0, timestamptz '2020-01-01 12:00:00+00' + i * interval '1 minute', decode(lpad(to_hex(i), 4, '0'), 'hex'),
      i / 3.0::float8, ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, date '2020-01-01' + i, ARRAY[i, NULL, -i] FROM generate_series(1, 3000) i;
    CREATE TABLE w (id int PRIMARY KEY, v text)`);
  edge = await startTestEdge(postgres, { rywWaitMs: 10 });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** `local`: statements that the edge must have answered itself. */
async function check(local: number, ...steps: StepFrames[]): Promise<void> {
  const there = await converse(postgres.port, steps, null);
  const before = edge.edge.answered.local;
  const here = await converse(
    edge.port,
    steps,
    there.map((step) => step.length),
  );
  expect(here).toEqual(there);
  expect(edge.edge.answered.local - before).toBe(local);
}

const BY_ID = 'SELECT id, body FROM t WHERE id = $1';
const point = (id: number): Uint8Array[] => [bind('', 's', [String(id)]), execute('')];

describe('simple protocol', () => {
  test('one statement, several, none, and errors between', async () => {
    await check(
      4,
      [query('SELECT id, body FROM t WHERE id = 1')],
      [query('SELECT id FROM t WHERE id = 1; SELECT body FROM t WHERE id = 2')],
      [query('')],
      [query(' ; ;')],
      [query('SELECT id FROM t WHERE id = 3; SELECT nope; SELECT id FROM t WHERE id = 4')],
      [query('SELECT id FROM t WHERE id = -3')],
    );
  });

  test('every stored type as text', async () => {
    await check(2, [query('SELECT * FROM t WHERE id = 77')], [query('SELECT a, u, f, b FROM t WHERE id = 78')]);
  });

  test('settings are set, shown, reported, reset', async () => {
    await check(
      0,
      [query("SET application_name = 'other'")],
      [query('SHOW application_name')],
      [query('RESET application_name; SHOW application_name')],
      [query("SET DateStyle = 'SQL, DMY'; SHOW datestyle")],
      [query('SET TimeZone = UTC')],
      [query('SET extra_float_digits TO 0; SHOW extra_float_digits')],
      [query('SET statement_timeout = 90000; SHOW statement_timeout')],
      [query('SET search_path = "Odd Name", public; SHOW search_path')],
      [query('RESET ALL')],
      [query('SHOW search_path')],
      [query("SET LOCAL application_name = 'x'")],
    );
  });

  test('bytes that are not UTF-8', async () => {
    const broken = frame('Q', "SELECT '", [0xff, 0xfe], "'", [0]);
    await check(1, [broken], [query('SELECT id FROM t WHERE id = 1')]);
    await check(0, [
      parse('', 'SELECT id FROM t WHERE body = $1'),
      bind('', '', [Uint8Array.of(0xff)]),
      execute(''),
      sync(),
    ]);
  });

  test('settings that change what statements mean', async () => {
    await check(
      1,
      [query('SELECT id FROM t WHERE id = 1')],
      [query('SET transform_null_equals = on')],
      [query('SELECT id FROM t WHERE body = NULL AND id = 1')],
      [query('RESET transform_null_equals')],
      [query('SET standard_conforming_strings = off')],
      [query("SELECT id FROM t WHERE id = 1 AND body <> '\\\\x'")],
      [query('RESET ALL')],
    );
  });

  test('a setting that changes how values are printed is honoured', async () => {
    await check(
      1,
      [query("SET TimeZone = 'America/New_York'")],
      [query('SELECT at FROM t WHERE id = 1')],
      [query('SET extra_float_digits = 0')],
      [query('SELECT f FROM t WHERE id = 1')],
      [query('SET bytea_output = escape')],
      [query('SELECT b FROM t WHERE id = 1')],
      [query('SELECT id FROM t WHERE id = 1')],
    );
  });

  test('SETs of a block that is rolled back are undone', async () => {
    await check(
      0,
      [query('BEGIN')],
      [query("SET application_name = 'in'")],
      [query("SET LOCAL TimeZone = 'UTC'")],
      [query('ROLLBACK')],
      [query('SHOW application_name')],
      [query('BEGIN')],
      [query("SET application_name = 'kept'")],
      [query("SET LOCAL TimeZone = 'UTC'")],
      [query('SHOW TimeZone')],
      [query('COMMIT')],
      [query('SHOW application_name')],
      [query('SHOW TimeZone')],
    );
  });
});

describe('transaction blocks', () => {
  test('reads only', async () => {
    await check(
      1,
      [query('BEGIN')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('COMMIT')],
      [query('COMMIT')],
      [query('ROLLBACK')],
    );
  });

  test('BEGIN twice warns', async () => {
    await check(0, [query('BEGIN')], [query('BEGIN')], [query('ROLLBACK')]);
  });

  test('a write in the middle takes the block to the core', async () => {
    await check(
      1,
      [query('BEGIN')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query("INSERT INTO w VALUES (1, 'one')")],
      [query('SELECT v FROM w WHERE id = 1')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('ROLLBACK')],
    );
  });

  test('after an error only the end of the block is obeyed', async () => {
    await check(
      0,
      [query('BEGIN')],
      [query('SELECT 1 / 0')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('SELECT nonsense syntax here')],
      [query('SHOW application_name')],
      [query('')],
      [query('SAVEPOINT a')],
      [query('COMMIT')],
      [query('BEGIN')],
      [query('ROLLBACK TO nowhere')],
      [query('SELECT 1')],
      [query('ROLLBACK')],
    );
  });

  test('savepoints', async () => {
    await check(
      0,
      [query('SAVEPOINT a')],
      [query('RELEASE a')],
      [query('BEGIN')],
      [query('SAVEPOINT a')],
      [query('SELECT 1/0')],
      [query('ROLLBACK TO a')],
      [query('SELECT id FROM t WHERE id = 5')],
      [query('RELEASE a')],
      [query('COMMIT')],
    );
  });

  test('REPEATABLE READ on a snapshot, SERIALIZABLE at the core', async () => {
    await check(
      1,
      [query('BEGIN ISOLATION LEVEL REPEATABLE READ')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('SHOW transaction_isolation')],
      [query('COMMIT')],
      [query("SET default_transaction_isolation = 'serializable'")],
      [query('BEGIN')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('COMMIT')],
    );
  });

  test('READ ONLY is kept when the block moves to the core', async () => {
    await check(
      1,
      [query('BEGIN READ ONLY')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query("INSERT INTO w VALUES (2, 'two')")],
      [query('ROLLBACK')],
      [query('BEGIN')],
      [query('SET TRANSACTION READ ONLY')],
      [query("INSERT INTO w VALUES (2, 'two')")],
      [query('ROLLBACK')],
    );
  });

  test('COMMIT AND CHAIN', async () => {
    await check(
      1,
      [query('COMMIT AND CHAIN')],
      [query('BEGIN')],
      [query('COMMIT AND CHAIN')],
      [query('SELECT id FROM t WHERE id = 1')],
      [query('SELECT nope')],
      [query('COMMIT AND CHAIN')],
      [query('ROLLBACK')],
    );
  });

  test('SETs of a batch or text that fails are undone, reported or not', async () => {
    const run = (sql: string): Uint8Array[] => [parse('', sql), bind('', ''), execute('')];
    await check(
      0,
      [...run("SET application_name = 'kept'"), sync()],
      [...run("SET application_name = 'gone'"), bind('', 'nope'), sync()],
      [query("SET application_name = 'gone too'; SELECT nope")],
      [query('SHOW application_name')],
      [query('BEGIN')],
      [query("SET application_name = 'inside'")],
      [query('SELECT nope')],
      [query('ROLLBACK')],
      [query('SHOW application_name')],
    );
  });

  test('a script that begins, writes and commits', async () => {
    await check(
      0,
      [query("BEGIN; INSERT INTO w VALUES (3, 'three'); DELETE FROM w WHERE id = 3; COMMIT")],
      [query("BEGIN; INSERT INTO w VALUES (4, 'four')")],
      [query('SELECT count(*) FROM w')],
      [query('ROLLBACK')],
    );
  });
});

describe('extended protocol', () => {
  test('the usual batch', async () => {
    await check(1, [parse('', BY_ID), bind('', '', ['5']), describePortal(''), execute(''), sync()]);
  });

  test('prepared once, run often, in one batch and in several', async () => {
    await check(
      6,
      [parse('s', BY_ID, [23]), describeStatement('s'), sync()],
      [...point(1), sync()],
      [...point(2), ...point(3), sync()],
      [...point(4), sync(), ...point(5), sync(), ...point(-6), sync()],
      [closeStatement('s'), sync()],
      [...point(1), sync()],
    );
  });

  test('binary parameters and results', async () => {
    await check(
      3,
      [
        parse('', 'SELECT * FROM t WHERE id = $1', [23]),
        bind('', '', [Uint8Array.from(i32(9))], [1], [1]),
        describePortal(''),
        execute(''),
        sync(),
      ],
      [parse('', BY_ID), bind('', '', ['10'], [0], [1, 0]), describePortal(''), execute(''), sync()],
      [parse('', BY_ID), bind('', '', [null], [], [1]), execute(''), sync()],
    );
  });

  test('portals with a row limit', async () => {
    await check(
      2,
      [query('BEGIN')],
      [parse('', 'SELECT id FROM t WHERE id IN (1, 2, 3, 4, 5) ORDER BY id'), bind('p', ''), execute('p', 2), sync()],
      [execute('p', 2), sync()],
      [execute('p', 1), execute('p', 1), execute('p', 1), sync()],
      [query('COMMIT')],
      [parse('', 'SELECT id FROM t WHERE id IN (1, 2)'), bind('', ''), execute('', 5), execute('', 5), sync()],
      [execute('', 1), sync()],
    );
  });

  test('a portal with a limit over a scan', async () => {
    await check(
      1,
      [query('BEGIN')],
      [parse('', 'SELECT id FROM t WHERE id > 10 ORDER BY id'), bind('p', ''), execute('p', 1000), sync()],
      [execute('p', 1500), sync()],
      [execute('p', 0), sync()],
      [execute('p', 0), sync()],
      [closePortal('p'), sync()],
      [query('COMMIT')],
    );
  });

  test('an error skips everything up to Sync', async () => {
    await check(
      2,
      [parse('s', BY_ID), parse('s', BY_ID), ...point(1), sync()],
      [...point(1), bind('', 'nope'), execute(''), sync()],
      [bind('', 's', []), execute(''), sync()],
      [bind('', 's', ['x']), execute(''), ...point(2), sync()],
      [execute('nope'), ...point(2), sync()],
      [describeStatement('nope'), sync()],
      [describePortal('nope'), sync()],
      [parse('bad', 'SELEC'), ...point(3), sync()],
      [bind('', 'bad'), sync()],
      [...point(3), sync()],
    );
  });

  test('errors inside a block', async () => {
    await check(
      1,
      [query('BEGIN')],
      [parse('s', BY_ID), ...point(1), sync()],
      [bind('', 'nope'), sync()],
      [...point(1), sync()],
      [parse('r', 'ROLLBACK'), bind('', 'r'), execute(''), sync()],
    );
  });

  test('local and forwarded statements in one batch keep their order', async () => {
    await check(
      2,
      [parse('s', BY_ID), parse('c', 'SELECT count(*) FROM pg_class WHERE relname = $1'), sync()],
      [...point(1), bind('', 'c', ['t']), execute(''), ...point(2), sync()],
      [...point(3), sync()],
    );
  });

  test('a failure undoes the whole batch', async () => {
    await check(
      0,
      [parse('i', 'INSERT INTO w VALUES ($1, $2)'), parse('z', 'SELECT 1 / $1::int'), sync()],
      [bind('', 'i', ['50', 'fifty']), execute(''), bind('', 'z', ['0']), execute(''), sync()],
      [query('SELECT count(*) FROM w WHERE id = 50')],
      [bind('', 'i', ['51', 'x']), execute(''), bind('', 's', ['1']), execute(''), sync()],
      [query('SELECT count(*) FROM w WHERE id = 51')],
    );
  });

  test('a name taken twice undoes what the batch did before', async () => {
    await check(
      0,
      [parse('s', BY_ID), sync()],
      [parse('', "INSERT INTO w VALUES (55, 'x')"), bind('', ''), execute(''), parse('s', BY_ID), ...point(1), sync()],
      [query('SELECT count(*) FROM w WHERE id = 55')],
    );
  });

  test('BEGIN, statements and COMMIT as prepared statements in one batch', async () => {
    const run = (sql: string): Uint8Array[] => [parse('', sql), bind('', ''), describePortal(''), execute('')];
    await check(
      1,
      [...run('BEGIN'), ...run('SELECT id FROM t WHERE id = 1'), ...run('COMMIT'), sync()],
      [...run('BEGIN'), ...run("INSERT INTO w VALUES (60, 'x')"), ...run('SELECT id FROM t WHERE id = 1'), sync()],
      [...run('ROLLBACK'), sync()],
      [...run('SHOW TimeZone'), sync()],
      [...run("SET application_name = 'mine'"), ...run('SHOW application_name'), sync()],
      [...run(''), sync()],
    );
  });

  test('Flush brings answers without Sync', async () => {
    await check(
      1,
      [parse('s', BY_ID), describeStatement('s'), flush()],
      [...point(1), flush()],
      [parse('w', "INSERT INTO w VALUES (70, 'x') RETURNING id"), describeStatement('w'), flush()],
      [bind('', 'w'), execute(''), flush()],
      [sync()],
      [query('DELETE FROM w WHERE id = 70')],
    );
  });

  test('the unnamed statement lives until the next one or a simple query', async () => {
    await check(
      1,
      [parse('', BY_ID), sync()],
      [bind('', '', ['1']), execute(''), sync()],
      [parse('', 'INSERT INTO w VALUES ($1) ON CONFLICT DO NOTHING'), bind('', '', ['80']), execute(''), sync()],
      [bind('', '', ['80']), execute(''), sync()],
      [query('SELECT id FROM t WHERE id = 9999')],
      [bind('', '', ['1']), execute(''), sync()],
      [query('DELETE FROM w')],
    );
  });

  test('prepared statements of SQL and of the protocol share their names', async () => {
    await check(
      4,
      [query('PREPARE q AS SELECT id FROM t WHERE id = $1')],
      [query('EXECUTE q(3)')],
      [bind('', 'q', ['4']), execute(''), sync()],
      [query('DEALLOCATE q')],
      [query('DEALLOCATE q')],
      [parse('p', BY_ID), sync()],
      [query("EXECUTE p('3')")],
      [bind('', 'p', ['4']), execute(''), sync()],
      [query('DEALLOCATE p')],
      [bind('', 'p', ['4']), execute(''), sync()],
      [query('DEALLOCATE ALL')],
      [query('DISCARD ALL')],
    );
  });

  test('COPY through the extended protocol, and the function call protocol', async () => {
    await check(
      0,
      [parse('', 'COPY w FROM STDIN'), bind('', ''), execute(''), flush()],
      [copyData('90\tninety\n'), copyDone(), sync()],
      [parse('', 'COPY w TO STDOUT'), bind('', ''), execute(''), sync()],
      [query('COPY w FROM STDIN'), copyData('91\tx\n'), copyFail('changed my mind')],
      [query('COPY w FROM STDIN'), copyData('nonsense\n'), copyData('more\n'), copyDone()],
      [query('DELETE FROM w')],
      // abs(int4)
      [functionCall(1397, ['-5'])],
    );
  });

  test('cursors', async () => {
    await check(
      1,
      [query('BEGIN')],
      [query('DECLARE c CURSOR FOR SELECT id FROM t WHERE id < 10 ORDER BY id')],
      [query('FETCH 3 FROM c')],
      [query('MOVE 2 FROM c')],
      [query('FETCH ALL FROM c')],
      [query('CLOSE c')],
      [query('COMMIT')],
    );
  });
});

describe('what random conversations differed in (session.fuzz.ts)', () => {
  test('a Close behind an error closes nothing', async () => {
    await check(
      0,
      [parse('b', "SET application_name = 'x'"), parse('a', 'SELECT nope FROM t'), closeStatement('b'), sync()],
      [parse('b', 'COMMIT'), sync()],
    );
  });

  test('DEALLOCATE ALL leaves what has no name', async () => {
    await check(0, [parse('', 'DEALLOCATE ALL'), bind('', ''), execute(''), bind('', ''), sync()]);
  });

  test('a Parse that the core refuses takes the unnamed statement along; one that it skips does not', async () => {
    await check(
      0,
      [parse('', 'COMMIT'), sync()],
      [parse('', 'SELECT nope FROM t'), sync()],
      [describeStatement(''), sync()],
      [parse('', 'COMMIT'), sync()],
      [parse('a', 'SELECT nope FROM t'), parse('', 'SELECT nope FROM t'), sync()],
      [describeStatement(''), sync()],
      [parse('', 'SELECT nope FROM t'), parse('', BY_ID), sync()],
      [bind('', ''), sync()],
    );
  });

  test('a Bind’s mistakes are told in the order in which Postgres looks', async () => {
    await check(0, [parse('a', 'COMMIT'), bind('p', 'a'), bind('p', 'a', ['8', '5']), sync()]);
  });

  test('some of them', async () => {
    await postgres.sql('DELETE FROM w');
    for (let seed = 1; seed <= 25; seed += 1) {
      const ports = { core: postgres.port, edge: edge.port };
      expect(await difference(randomConversation(seed, 4), ports, () => postgres.sql('TRUNCATE w'))).toBeNull();
    }
  }, 60_000);
});
