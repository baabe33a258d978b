// Transaction blocks, savepoints, cursors and PREPARE that run here are, frame by frame, what they would be at the core.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { converse, type StepFrames } from '../../test/conversations.ts';
import { startTestEdge, type TestEdge } from '../../test/edge.ts';
import { startPostgres, type TestPostgres } from '../../test/harness.ts';
import {
  bind,
  closePortal,
  closeStatement,
  describePortal,
  describeStatement,
  execute,
  parse,
  query,
  sync,
} from '../../test/wire-frames.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE t (id int PRIMARY KEY, body text, n numeric, at timestamptz, a int[]);
    INSERT INTO t SELECT i, 'body ' || i, i / 4.0, timestamptz '2020-01-01 12:00:00+00' + i * interval '1 minute', ARRAY[i, NULL, -i] FROM generate_series(1, 5000) i;
    CREATE TABLE w (id int PRIMARY KEY, v text)`);
  edge = await startTestEdge(postgres, { rywWaitMs: 10 });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** `forwarded`: how many statements the edge sent to the core; each of the others it did itself. */
async function check(forwarded: number, ...steps: StepFrames[]): Promise<void> {
  const there = await converse(postgres.port, steps, null);
  const before = edge.edge.answered.forwarded;
  const here = await converse(
    edge.port,
    steps,
    there.map((step) => step.length),
  );
  expect(here).toEqual(there);
  expect(edge.edge.answered.forwarded - before).toBe(forwarded);
}

const queries = (...texts: string[]): StepFrames[] => texts.map((text) => [query(text)]);
const FEW = 'SELECT id, body FROM t WHERE id IN (1, 2, 3, 4, 5) ORDER BY id';
const MANY = 'SELECT id, body, at FROM t WHERE id > 10 ORDER BY id';

describe('blocks', () => {
  test('all the ways to begin one, and what SHOW says of it', async () => {
    for (const begin of [
      'BEGIN',
      'START TRANSACTION',
      'BEGIN ISOLATION LEVEL READ UNCOMMITTED',
      'BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY',
      'START TRANSACTION READ ONLY, DEFERRABLE',
      'BEGIN READ WRITE NOT DEFERRABLE',
    ]) {
      await check(
        0,
        ...queries(
          begin,
          'SHOW transaction_isolation',
          'SHOW TRANSACTION ISOLATION LEVEL',
          'SHOW transaction_read_only',
          'SHOW transaction_deferrable',
          FEW,
          'COMMIT',
          'SHOW transaction_isolation',
        ),
      );
    }
  });

  test('SET TRANSACTION before and after the first query', async () => {
    await check(
      0,
      ...queries(
        'SET TRANSACTION READ ONLY',
        'BEGIN',
        'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY',
        'SHOW transaction_isolation',
        FEW,
        'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
        'SET TRANSACTION ISOLATION LEVEL READ COMMITTED',
        'ROLLBACK',
        'BEGIN READ ONLY',
        FEW,
        'SET TRANSACTION READ WRITE',
        'ROLLBACK',
        'BEGIN',
        FEW,
        'SET TRANSACTION NOT DEFERRABLE',
        'ROLLBACK',
        'BEGIN',
        'SAVEPOINT a',
        'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ',
        'ROLLBACK',
      ),
    );
  });

  test('SET SESSION CHARACTERISTICS', async () => {
    await check(
      0,
      ...queries(
        'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ, DEFERRABLE',
        'BEGIN',
        'SHOW transaction_isolation',
        'SHOW transaction_read_only',
        FEW,
        'COMMIT',
        'SHOW default_transaction_deferrable',
      ),
    );
  });

  test('BEGIN in a block warns, and its modes count', async () => {
    await check(
      0,
      ...queries(
        'BEGIN',
        'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
        'SHOW transaction_isolation',
        'SHOW transaction_read_only',
        'ROLLBACK AND CHAIN',
        'SHOW transaction_isolation',
        'COMMIT',
      ),
    );
  });

  test('savepoints: settings, errors and names', async () => {
    await check(
      0,
      ...queries(
        'SAVEPOINT a',
        'ROLLBACK TO a',
        'RELEASE a',
        'BEGIN',
        "SET application_name = 'one'",
        'SAVEPOINT a',
        "SET application_name = 'two'",
        'SAVEPOINT a',
        "SET application_name = 'three'",
        'ROLLBACK TO SAVEPOINT a',
        'SHOW application_name',
        'RELEASE SAVEPOINT a',
        'ROLLBACK TO a',
        'SHOW application_name',
        'RELEASE b',
        FEW,
        'ROLLBACK TO a',
        FEW,
        'ROLLBACK TO b',
        'ROLLBACK TO a',
        'COMMIT',
        'SHOW application_name',
      ),
    );
  });

  test('an error behind a savepoint undoes the SETs behind it; the block goes to the core with its savepoints', async () => {
    await check(
      9,
      ...queries(
        'BEGIN',
        "SET application_name = 'before'",
        'SAVEPOINT "Odd ""name"',
        "SET application_name = 'behind'",
        FEW,
        'SELECT 1/0',
        FEW,
        'ROLLBACK TO "Odd ""name"',
        'SHOW application_name',
        "INSERT INTO w VALUES (1, 'x')",
        'SAVEPOINT s2',
        'ROLLBACK TO SAVEPOINT s2; RELEASE SAVEPOINT s2',
        'ROLLBACK',
        'SHOW application_name',
      ),
    );
  });

  test('blocks in one text', async () => {
    await check(
      0,
      ...queries(
        `BEGIN; ${FEW}; SAVEPOINT a; SELECT id FROM t WHERE id = 2; ROLLBACK TO a; COMMIT`,
        `BEGIN; ${FEW}`,
        `SELECT id FROM t WHERE id = 1; COMMIT; SELECT id FROM t WHERE id = 2`,
      ),
    );
  });
});

describe('cursors', () => {
  for (const [what, select] of [
    ['a lookup', FEW],
    ['a scan', 'SELECT id, body FROM t WHERE id < 6 AND n > 0 ORDER BY id'],
    ['nothing', 'SELECT id, body FROM t WHERE id IN (-1, -2) ORDER BY id'],
  ] as const) {
    test(`SCROLL over ${what}, in all directions`, async () => {
      await check(
        0,
        ...queries(
          'BEGIN',
          `DECLARE c SCROLL CURSOR FOR ${select}`,
          'FETCH c',
          'FETCH NEXT FROM c',
          'FETCH 0 FROM c',
          'MOVE 0 FROM c',
          'FETCH PRIOR FROM c',
          'FETCH PRIOR FROM c',
          'FETCH PRIOR FROM c',
          'FETCH 0 FROM c',
          'FETCH FORWARD 2 FROM c',
          'FETCH RELATIVE 0 FROM c',
          'FETCH RELATIVE 2 FROM c',
          'FETCH RELATIVE -1 FROM c',
          'FETCH RELATIVE -3 FROM c',
          'FETCH LAST FROM c',
          'FETCH FORWARD 1 FROM c',
          'FETCH 0 FROM c',
          'MOVE 0 FROM c',
          'FETCH BACKWARD 2 FROM c',
          'FETCH FIRST FROM c',
          'FETCH ABSOLUTE 3 FROM c',
          'FETCH ABSOLUTE 4 FROM c',
          'FETCH ABSOLUTE 2 FROM c',
          'FETCH ABSOLUTE -2 FROM c',
          'FETCH ABSOLUTE 9 FROM c',
          'FETCH ABSOLUTE -9 FROM c',
          'FETCH ABSOLUTE 0 FROM c',
          'FETCH ALL FROM c',
          'FETCH ALL FROM c',
          'FETCH BACKWARD ALL FROM c',
          'FETCH BACKWARD ALL FROM c',
          'MOVE 3 FROM c',
          'MOVE BACKWARD ALL IN c',
          'MOVE FORWARD ALL FROM c',
          'MOVE BACKWARD ALL FROM c',
          'MOVE ABSOLUTE 2 FROM c',
          'FETCH -1 FROM c',
          'FETCH BACKWARD -2 FROM c',
          'MOVE RELATIVE -1 FROM c',
          'FETCH FORWARD ALL FROM c',
          'FETCH FORWARD -2 FROM c',
          'CLOSE c',
          'FETCH c',
          'ROLLBACK',
        ),
      );
    });
  }

  test('NO SCROLL goes forward only, and says so', async () => {
    for (const again of ['FETCH PRIOR FROM c', 'FETCH 0 FROM c', 'FETCH FIRST FROM c', 'MOVE BACKWARD ALL FROM c']) {
      await check(
        0,
        ...queries(
          'BEGIN',
          `DECLARE c NO SCROLL CURSOR FOR ${FEW}`,
          'MOVE BACKWARD ALL FROM c',
          'FETCH 2 FROM c',
          again,
        ),
        ...queries('ROLLBACK'),
      );
    }
  });

  test('neither: Postgres’ plan decides, so the core is asked', async () => {
    await check(
      0,
      ...queries(
        'BEGIN',
        'DECLARE c CURSOR FOR SELECT id, body FROM t ORDER BY id LIMIT 5',
        'FETCH 3 FROM c',
        'FETCH BACKWARD 1 FROM c',
        'ROLLBACK',
        'BEGIN',
        'DECLARE c CURSOR FOR SELECT t.id, w.v FROM t LEFT JOIN w ON w.id = t.id WHERE t.id < 50',
        'FETCH 3 FROM c',
        'FETCH BACKWARD 1 FROM c',
        'ROLLBACK',
      ),
    );
  });

  test('a large one, piece by piece and back', async () => {
    await check(
      0,
      ...queries(
        'BEGIN',
        `DECLARE c SCROLL CURSOR FOR ${MANY}`,
        'FETCH 100 FROM c',
        'FETCH 2000 FROM c',
        'FETCH LAST FROM c',
        'FETCH BACKWARD 1500 FROM c',
        'FETCH ALL FROM c',
        'FETCH ABSOLUTE 17 FROM c',
        'CLOSE c',
        'COMMIT',
      ),
    );
  });

  test('several at once, with other statements between', async () => {
    await check(
      0,
      ...queries(
        'BEGIN',
        `DECLARE c1 CURSOR FOR ${MANY}`,
        `DECLARE c2 CURSOR FOR ${MANY}`,
        `DECLARE c3 CURSOR FOR ${MANY}`,
        'FETCH 2 FROM c1',
        'FETCH 2 FROM c2',
        'SELECT count(*) FROM t',
        'FETCH 2 FROM c3',
        'FETCH 2 FROM c1',
        'CLOSE c2',
        'FETCH 1 FROM c3',
        'CLOSE ALL',
        'COMMIT',
      ),
    );
  });

  test('WITH HOLD outlives COMMIT, not ROLLBACK; outside a block it is its own transaction', async () => {
    await check(
      0,
      ...queries(
        'DECLARE no CURSOR FOR SELECT id FROM t WHERE id = 1',
        `DECLARE h CURSOR WITH HOLD FOR ${MANY}`,
        'FETCH 2 FROM h',
        'BEGIN',
        `DECLARE gone SCROLL CURSOR WITH HOLD FOR ${FEW}`,
        'FETCH 1 FROM gone',
        'FETCH 1 FROM h',
        'ROLLBACK',
        'FETCH 1 FROM h',
        'FETCH 1 FROM gone',
        'BEGIN',
        `DECLARE k SCROLL CURSOR WITH HOLD FOR ${FEW}`,
        `DECLARE plain CURSOR FOR ${FEW}`,
        'FETCH 2 FROM k',
        'COMMIT',
        'FETCH PRIOR FROM k',
        'FETCH 10 FROM k',
        'FETCH plain',
        'CLOSE h',
        'CLOSE k',
        'CLOSE k',
      ),
    );
  });

  test('savepoints and cursors', async () => {
    await check(
      0,
      ...queries(
        'BEGIN',
        `DECLARE outside CURSOR FOR ${FEW}`,
        'SAVEPOINT a',
        `DECLARE inside CURSOR FOR ${FEW}`,
        'FETCH outside',
        'FETCH inside',
        'SAVEPOINT b',
        `DECLARE deep CURSOR FOR ${FEW}`,
        'RELEASE b',
        'FETCH deep',
        'ROLLBACK TO a',
        'FETCH outside',
        'FETCH inside',
        'ROLLBACK TO a',
        'FETCH deep',
        'ROLLBACK TO a',
        `DECLARE outside CURSOR FOR ${FEW}`,
        'ROLLBACK TO a',
        'FETCH outside',
        'COMMIT',
      ),
    );
  });

  test('stay here when the block goes to the core', async () => {
    await check(
      7,
      ...queries(
        'BEGIN',
        `DECLARE c SCROLL CURSOR FOR ${MANY}`,
        `DECLARE h CURSOR WITH HOLD FOR ${FEW}`,
        'FETCH 3 FROM c',
        "INSERT INTO w VALUES (10, 'x')",
        'FETCH 3 FROM c',
        'SAVEPOINT s',
        'FETCH PRIOR FROM c; SELECT v FROM w WHERE id = 10',
        'SELECT 1/0',
        'FETCH 1 FROM c',
        'ROLLBACK TO s',
        'FETCH 1 FROM c',
        'DELETE FROM w WHERE id = 10',
        'CLOSE c',
        'COMMIT',
        'FETCH ALL FROM h',
      ),
    );
  });

  test('a cursor of the core’s, and one here', async () => {
    await check(
      3,
      ...queries(
        'BEGIN',
        `DECLARE here CURSOR FOR ${FEW}`,
        'DECLARE there CURSOR FOR SELECT relname FROM pg_class WHERE relname = $$pg_class$$',
        'FETCH there',
        'FETCH here',
        'CLOSE here',
        'COMMIT',
      ),
    );
  });

  test('in one text, and BINARY', async () => {
    await check(
      0,
      ...queries(
        `DECLARE c CURSOR FOR ${FEW}; FETCH 2 FROM c; FETCH 2 FROM c`,
        'FETCH c',
        `BEGIN; DECLARE c BINARY CURSOR FOR SELECT id, body, n, at, a FROM t WHERE id = 3; FETCH c; COMMIT`,
        'BEGIN; DECLARE c BINARY SCROLL CURSOR FOR SELECT id, body, n, at, a FROM t WHERE n < 2 ORDER BY id; FETCH ALL c; FETCH PRIOR c; COMMIT',
      ),
    );
  });

  test('by the extended protocol, as postgres_fdw and psycopg do it', async () => {
    await check(
      0,
      [query('BEGIN')],
      [
        parse('', 'DECLARE c1 SCROLL CURSOR FOR SELECT id, body, at FROM t WHERE id = ANY ($1) ORDER BY id'),
        bind('', '', ['{1,2,3,4}']),
        describePortal(''),
        execute(''),
        sync(),
      ],
      [describePortal('c1'), sync()],
      [query('FETCH 2 FROM c1')],
      [parse('f', 'FETCH 1 FROM c1'), describeStatement('f'), sync()],
      [bind('', 'f', [], [], [1]), describePortal(''), execute(''), sync()],
      [parse('m', 'MOVE BACKWARD ALL IN c1'), describeStatement('m'), bind('', 'm'), execute(''), sync()],
      [execute('c1', 2), sync()],
      [execute('c1', 0), sync()],
      [closePortal('c1'), sync()],
      [query('FETCH c1')],
      [query('ROLLBACK')],
      [query('BEGIN')],
      [
        parse('', 'DECLARE s NO SCROLL CURSOR FOR SELECT id, n FROM t WHERE n < $1 ORDER BY id'),
        bind('', '', ['2.5']),
        execute(''),
        sync(),
      ],
      [parse('', 'FETCH FORWARD 3 FROM s'), bind('', '', [], [], [1, 0]), describePortal(''), execute(''), sync()],
      [bind('s', 'f'), sync()],
      [query('ROLLBACK')],
    );
  });

  test('INVARIANT_I10: names that are taken or unknown', async () => {
    for (const wrong of [`DECLARE c CURSOR FOR ${FEW}`, 'FETCH nope', 'MOVE nope', 'CLOSE nope']) {
      await check(0, ...queries('BEGIN', `DECLARE c CURSOR FOR ${FEW}`, wrong, 'FETCH c', 'ROLLBACK'));
    }
    await check(0, ...queries('FETCH nope', 'CLOSE nope', 'CLOSE ALL'));
  });
});

describe('PREPARE', () => {
  test('EXECUTE with all sorts of arguments', async () => {
    await check(
      6,
      ...queries(
        'PREPARE one (int) AS SELECT id, body FROM t WHERE id = $1',
        'PREPARE one AS SELECT id FROM t WHERE id = $1',
        'EXECUTE one(3)',
        "EXECUTE one('4')",
        'EXECUTE one(NULL)',
        'EXECUTE one(2 + 3)',
        "EXECUTE one('x')",
        'EXECUTE one()',
        'EXECUTE nope(1)',
        'DEALLOCATE one',
        'EXECUTE one(3)',
      ),
    );
  });

  test('scans, types that are inferred, several in one text, blocks', async () => {
    await check(
      0,
      ...queries(
        'PREPARE many AS SELECT count(*) FROM t WHERE n < $1',
        'EXECUTE many(2.5)',
        'EXECUTE many(100)',
        `PREPARE few AS ${FEW}; EXECUTE few; EXECUTE few`,
        'BEGIN',
        'EXECUTE few',
        'COMMIT',
        'DEALLOCATE few',
      ),
    );
  });

  test('EXECUTE by the extended protocol', async () => {
    await check(
      0,
      [query('PREPARE one (int) AS SELECT id, body FROM t WHERE id = $1')],
      [
        parse('', 'EXECUTE one(5)'),
        describeStatement(''),
        bind('', '', [], [], [1]),
        describePortal(''),
        execute(''),
        sync(),
      ],
      [parse('e', 'EXECUTE one(6)'), bind('', 'e'), execute(''), sync()],
      [bind('', 'one', ['7']), execute(''), sync()],
    );
  });

  test('what was prepared here is known in a block of the core’s', async () => {
    await check(
      3,
      ...queries(
        'PREPARE one (int) AS SELECT id, body FROM t WHERE id = $1',
        'BEGIN',
        "INSERT INTO w VALUES (20, 'x')",
        'EXECUTE one(3)',
        'ROLLBACK',
        'EXECUTE one(4)',
      ),
    );
  });
});

describe('what random conversations differed in', () => {
  test('an EXECUTE that the core has to run knows what was prepared here', async () => {
    await check(
      1,
      [query('PREPARE q AS SELECT id, body FROM t WHERE id = $1')],
      [parse('b', 'EXECUTE q(1 + 1)'), bind('', 'b'), execute(''), sync()],
    );
  });

  test('what fails in a block that has failed here stays here', async () => {
    await check(
      2,
      [query("INSERT INTO w VALUES (6, 'x')")],
      [query('START TRANSACTION READ ONLY')],
      [query('ROLLBACK TO nowhere')],
      [bind('', 'neither'), sync()],
      [closeStatement('nor this'), sync()],
      [query('ROLLBACK')],
      [query('DELETE FROM w')],
    );
  });

  test('a batch that fails takes its WITH HOLD cursor with it, one that succeeds keeps it', async () => {
    const held = 'DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM t WHERE id < 4 ORDER BY id';
    await check(
      0,
      [parse('', held), bind('', ''), execute(''), bind('', 'nope'), sync()],
      [parse('', held), bind('', ''), execute(''), sync()],
      [query('FETCH ALL FROM c')],
      [query('CLOSE c')],
    );
  });

  test('several statements in one Parse', async () => {
    await check(
      0,
      [query('BEGIN')],
      [query('SAVEPOINT a')],
      [query('FETCH nope')],
      [parse('', 'SELECT 1; SELECT 2'), sync()],
    );
  });
});
