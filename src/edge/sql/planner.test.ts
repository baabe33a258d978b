import { beforeAll, describe, expect, test } from 'bun:test';
import { catalogueImage, indexImage, tableImage } from '../../../test/replica-images.ts';
import { OID } from '../../pg/oid.ts';
import { Catalogue } from '../../replica/catalogue.ts';
import { loadParser, PARSE_BYTES_MAX } from './parse.ts';
import type { ForwardPlan, LocalPlan, Plan, PlanningSession, SessionStatement } from './plan.ts';
import { Planner, PLANNER_DEFAULTS } from './planner.ts';
import { shadowsOf } from './shadows.ts';

const USERS = tableImage({
  oid: 20_000,
  name: 'users',
  columns: [
    { name: 'id', typeOid: OID.int4, notNull: true },
    { name: 'email', typeOid: OID.varchar, collationOid: 100, collationIsC: false },
    { name: 'code', typeOid: OID.text, collationOid: 950 },
    { name: 'team', typeOid: OID.int4 },
    { name: 'at', typeOid: OID.timestamptz },
    { name: 'price', typeOid: OID.numeric },
    { name: 'ratio', typeOid: OID.float8 },
    { name: 'data', typeOid: OID.bytea },
  ],
  indexes: [
    indexImage({ oid: 20_001, keyAttnums: [1], unique: true, primary: true }),
    indexImage({ oid: 20_002, keyAttnums: [2], unique: true }),
    indexImage({ oid: 20_003, keyAttnums: [4] }),
    indexImage({ oid: 20_004, keyAttnums: [6], unique: true }),
    indexImage({ oid: 20_005, keyAttnums: [3], unique: true, partial: true }),
  ],
});
const TEAMS = tableImage({
  oid: 20_010,
  name: 'teams',
  columns: [
    { name: 'id', typeOid: OID.int4, notNull: true },
    { name: 'name', typeOid: OID.text, collationOid: 100, collationIsC: false },
  ],
  indexes: [indexImage({ oid: 20_011, keyAttnums: [1], unique: true, primary: true })],
});
const OTHER_USERS = tableImage({
  oid: 20_020,
  schema: 'other',
  name: 'users',
  columns: [{ name: 'x', typeOid: OID.int4 }],
});

const catalogue = new Catalogue({ ...catalogueImage([USERS, TEAMS, OTHER_USERS]), defaultCollationIsC: false });
const SESSION: PlanningSession = { searchPath: ['public'], key: 'public' };

beforeAll(loadParser);

function plan(sql: string, types: readonly number[] = [], session = SESSION): Plan {
  return new Planner(() => catalogue).statement(sql, types, session).plan;
}

function local(sql: string, types: readonly number[] = []): LocalPlan {
  const made = plan(sql, types);
  if (made.kind !== 'local') throw new Error(`${sql}: ${JSON.stringify(made)}`);
  return made;
}

function forwarded(sql: string, session = SESSION): ForwardPlan {
  const made = plan(sql, [], session);
  if (made.kind !== 'forward') throw new Error(`${sql}: ${JSON.stringify(made)}`);
  return made;
}

function statement(sql: string): SessionStatement {
  const made = plan(sql);
  if (made.kind !== 'session') throw new Error(`${sql}: ${JSON.stringify(made)}`);
  return made.statement;
}

describe('lanes', () => {
  const fast: readonly (readonly [string, number | null])[] = [
    ['SELECT * FROM users WHERE id = 1', 1],
    ['SELECT * FROM users WHERE id = $1', 1],
    ['SELECT * FROM users WHERE email = $1 AND team = 3', 1],
    ['SELECT * FROM users WHERE id IN (1, 2, 3)', 3],
    ['SELECT count(*) FROM users WHERE id IN (1, 2, 3)', 1],
    ['SELECT * FROM users u JOIN teams t ON t.id = u.team WHERE u.id = 5', 1],
    ['SELECT * FROM teams t LEFT JOIN users u ON u.id = t.id WHERE t.id = 5', 1],
    ['SELECT * FROM users LIMIT 10', 10],
    ['SELECT * FROM users ORDER BY id LIMIT 10', 10],
    ['SELECT * FROM users ORDER BY id DESC LIMIT 10', 10],
    ['SELECT 1', 1],
  ];
  for (const [sql, rows] of fast) {
    test(`fast: ${sql}`, () => expect([local(sql).lane, local(sql).rowsMax]).toEqual(['fast', rows]));
  }
  const slow = [
    'SELECT * FROM users',
    'SELECT * FROM users WHERE team = 1',
    'SELECT * FROM users WHERE team = 1 LIMIT 5',
    'SELECT * FROM users WHERE id > 1',
    'SELECT * FROM users WHERE id = 1 OR id = 2',
    'SELECT * FROM users WHERE id = team',
    'SELECT * FROM users WHERE id <> 1',
    'SELECT * FROM users WHERE code = $1',
    'SELECT * FROM users WHERE price = 1',
    'SELECT count(*) FROM users',
    'SELECT * FROM users ORDER BY team LIMIT 1',
    'SELECT * FROM users ORDER BY ratio LIMIT 1',
    'SELECT * FROM users LIMIT 1000',
    'SELECT * FROM users ORDER BY id LIMIT 10 OFFSET 1000000',
    'SELECT * FROM users u JOIN teams t ON t.id = u.team',
    'SELECT * FROM users u LEFT JOIN teams t ON t.id = u.team AND u.id = 5',
    'SELECT * FROM users WHERE id = 1 AND EXISTS (SELECT 1 FROM teams)',
    'SELECT * FROM users WHERE id = ANY ($1)',
  ];
  for (const sql of slow) test(`slow: ${sql}`, () => expect(local(sql).lane).toBe('slow'));
});

describe('parameters', () => {
  const check = (sql: string, types: readonly number[], declared: readonly number[] = []): void =>
    expect(local(sql, declared).parameterTypes).toEqual([...types]);
  test('take the type of what they meet', () => {
    check('SELECT * FROM users WHERE id = $1', [OID.int4]);
    check('SELECT * FROM users WHERE email = $1', [OID.text]);
    check('SELECT * FROM users WHERE email IN ($1, $2)', [OID.varchar, OID.varchar]);
    check('SELECT * FROM users WHERE id = ANY ($1)', [OID.int4Array]);
    check('SELECT * FROM users WHERE email = ANY ($1)', [OID.textArray]);
    check('SELECT * FROM users WHERE price > $2 AND at < $1 LIMIT $3', [OID.timestamptz, OID.numeric, OID.int8]);
    check('SELECT $1', [OID.text]);
    check('SELECT $1::int8', [OID.int8]);
  });
  test('keep the type they were declared with', () => {
    check('SELECT * FROM users WHERE id = $1', [OID.int8], [OID.int8]);
    check('SELECT * FROM users WHERE id = $1', [OID.int4], [0]);
    expect(plan('SELECT * FROM users WHERE id = $1', [OID.text])).toMatchObject({
      kind: 'forward',
      reason: 'unproven-operator',
    });
  });
  test('of which nothing follows are left to the core', () => {
    expect(forwarded('SELECT * FROM users WHERE $1 IS NULL').reason).toBe('parameter-type');
    expect(forwarded('SELECT $2::int').reason).toBe('parameter-type');
  });
});

describe('settings that an answer depends on', () => {
  const needs = (sql: string): readonly [number, number] => {
    const { needs, columns } = local(sql);
    return [needs, columns.reduce((all, column) => all | column.textNeeds, 0)];
  };
  test('come with columns and with constants', () => {
    expect(needs('SELECT id FROM users')).toEqual([0, 0]);
    expect(needs('SELECT at FROM users')).toEqual([0, 1 | 2]);
    expect(needs("SELECT id FROM users WHERE at > '2024-01-01'")).toEqual([1, 0]);
    expect(needs('SELECT id FROM users WHERE at > $1')).toEqual([1, 0]);
    expect(needs('SELECT ratio, data FROM users')).toEqual([0, 8 | 16]);
  });
});

describe('names', () => {
  test('search_path decides which table is meant', () => {
    const both: PlanningSession = { searchPath: ['other', 'public'], key: 'other,public' };
    const made = plan('SELECT * FROM users', [], both);
    expect(made.kind === 'local' && made.tables).toEqual([OTHER_USERS.oid]);
    expect(local('SELECT * FROM users').tables).toEqual([USERS.oid]);
    expect(local('SELECT * FROM other.users').tables).toEqual([OTHER_USERS.oid]);
    expect(forwarded('SELECT * FROM users', { searchPath: ['pg_catalog'], key: 'pg_catalog' }).reason).toBe(
      'unknown-table',
    );
  });
  test('pg_catalog behind other schemas leaves everything to the core', () => {
    expect(forwarded('SELECT 1', { searchPath: ['public', 'pg_catalog'], key: 'x' }).reason).toBe('shadowed');
  });
  test('names of the catalogue come before all others', () => {
    expect(forwarded('SELECT * FROM pg_stuff').reason).toBe('catalogue');
  });
  test('a function or operator of the database hides the built-in one', () => {
    const planner = new Planner(
      () => catalogue,
      PLANNER_DEFAULTS,
      () => shadows,
    );
    let shadows = shadowsOf(['function public.length', 'operator public.=', 'function other.lower']);
    const reason = (sql: string): string => {
      const { plan: made } = planner.statement(sql, [], SESSION);
      return made.kind === 'forward' ? made.reason : made.kind;
    };
    for (const sql of [
      'SELECT length(email) FROM users',
      'SELECT id FROM users WHERE id = 1',
      'SELECT nullif(id, 1) FROM users',
      'SELECT id FROM users WHERE id IN (1, 2)',
      'SELECT id FROM users WHERE id IN (SELECT id FROM teams)',
      'SELECT CASE id WHEN 1 THEN 2 END FROM users',
      'SELECT users.id FROM users JOIN teams USING (id)',
    ]) {
      expect([sql, reason(sql)]).toEqual([sql, 'shadowed']);
    }
    expect(reason('SELECT id FROM users WHERE id > 1 ORDER BY id')).toBe('local');
    expect(reason('SELECT lower(code) FROM users')).toBe('local');
    shadows = shadowsOf([]);
    expect(reason('SELECT length(email) FROM users')).toBe('local');
    shadows = shadowsOf(['cast']);
    expect(reason('SELECT 1')).toBe('shadowed');
  });
});

describe('text', () => {
  test('is ordered and compared for range only by bytes', () => {
    expect(forwarded('SELECT id FROM users ORDER BY email').reason).toBe('collation');
    expect(forwarded("SELECT id FROM users WHERE email < 'x'").reason).toBe('collation');
    expect(forwarded('SELECT max(email) FROM users').reason).toBe('collation');
    expect(forwarded("SELECT 'a' < 'b'").reason).toBe('collation');
    expect(local("SELECT id FROM users WHERE code < 'x' ORDER BY code").kind).toBe('local');
    expect(local("SELECT id FROM users WHERE email = 'x' GROUP BY id, email").kind).toBe('local');
    expect(forwarded('SELECT lower(email) FROM users').reason).toBe('collation');
  });
  test('of a collation that is not deterministic does not even compare', () => {
    const table = tableImage({
      oid: 1,
      name: 't',
      columns: [
        { name: 'a', typeOid: OID.text, collationOid: 99_999, collationIsC: false, collationIsDeterministic: false },
      ],
    });
    const planner = new Planner(() => new Catalogue(catalogueImage([table])));
    for (const sql of [
      "SELECT * FROM t WHERE a = 'x'",
      'SELECT DISTINCT a FROM t',
      'SELECT a FROM t GROUP BY a',
      "SELECT * FROM t WHERE a LIKE 'x'",
    ]) {
      expect(planner.statement(sql, [], SESSION).plan).toMatchObject({ kind: 'forward', reason: 'collation' });
    }
  });
});

describe('scripts', () => {
  test('statements come with their places in the text', () => {
    const text = ' SELECT 1 ;\n/* é */ SELECT id FROM users WHERE id = 3; BEGIN ';
    const { statements, syntaxError } = new Planner(() => catalogue).script(text, SESSION);
    expect(syntaxError).toBeNull();
    expect(statements.map(({ plan: made, start, end }) => [made.kind, text.slice(start, end)])).toEqual([
      ['local', 'SELECT 1'],
      ['local', 'SELECT id FROM users WHERE id = 3'],
      ['session', 'BEGIN'],
    ]);
  });
  test('nothing is no statement', () => {
    for (const text of ['', ' ', ';', ' ; ; ', '-- only a comment', '/* or this */']) {
      expect([text, new Planner(() => catalogue).script(text, SESSION)]).toEqual([
        text,
        { statements: [], syntaxError: null },
      ]);
    }
    expect(plan('').kind).toBe('empty');
  });
  test('an error is told as Postgres tells it', () => {
    const error = (text: string): unknown => new Planner(() => catalogue).script(text, SESSION).syntaxError;
    expect(error('SELECT é FROM users WHERE WHERE')).toEqual({
      sqlstate: '42601',
      message: 'syntax error at or near "WHERE"',
      position: 27,
    });
    expect(error("SELECT 'open")).toMatchObject({
      message: 'unterminated quoted string at or near "\'open"',
      position: 8,
    });
    expect(error('SELECT (')).toMatchObject({ message: 'syntax error at end of input', position: 9 });
    expect(error('SELECT 1; SELEC 2')).toMatchObject({ position: 11 });
  });
  test('a prepared statement is one statement', () => {
    expect(forwarded('SELECT 1; SELECT 2').reason).toBe('syntax-error');
    expect(forwarded('SELEC').reason).toBe('syntax-error');
  });
  test('what is too long or too deep is left to the core', () => {
    expect(forwarded(`SELECT 1 ${' '.repeat(PARSE_BYTES_MAX)}`).reason).toBe('too-long');
    expect(forwarded(`SELECT ${'('.repeat(400)}1${' + 1)'.repeat(400)}`).reason).toBe('too-long');
    expect(
      forwarded(
        `SELECT ${Array.from({ length: 70 }, (_, index) => `(SELECT count(*) FROM users u${index})`).join(', ')}`,
      ).reason,
    ).toBe('too-long');
    expect(forwarded('SELECT 1\u0000').reason).toBe('syntax-error');
  });
});

describe('the cache', () => {
  test('texts that differ in constants share a plan; it says which constants to bind', () => {
    const planner = new Planner(() => catalogue);
    const first = planner.script("SELECT id FROM users WHERE id = 1 AND email = 'a'", SESSION).statements[0];
    const second = planner.script("SELECT id FROM users WHERE id = 22 AND email = 'it''s'", SESSION).statements[0];
    expect(second?.plan).toBe(first?.plan as Plan);
    expect(second?.literals).toEqual(['22', "it's"]);
    expect(planner.statistics.parsed).toBe(1);
  });
  test('constants that decide something tell plans apart', () => {
    const planner = new Planner(() => catalogue);
    const sql = (text: string): string => {
      const made = planner.script(text, SESSION).statements[0]?.plan;
      return made?.kind === 'local' ? made.sql : '';
    };
    expect(sql('SELECT 1 FROM users LIMIT 5')).toEndWith('LIMIT 5');
    expect(sql('SELECT 1 FROM users LIMIT 6')).toEndWith('LIMIT 6');
    expect(sql('SELECT 2 FROM users LIMIT 6')).toContain('SELECT 2 ');
    expect(sql('SELECT id, team FROM users ORDER BY 1')).toContain('ORDER BY t1."id"');
    expect(sql('SELECT id, team FROM users ORDER BY 2')).toContain('ORDER BY t1."team"');
    expect(sql('SELECT left(code, 2) FROM users')).toContain(', 2)');
    expect(sql('SELECT left(code, 3) FROM users')).toContain(', 3)');
    expect(sql('SELECT id FROM users WHERE id / 2 = 1')).toContain('/ 2');
    expect(sql('SELECT id FROM users WHERE id / 0 = 1')).toBe('');
    expect(sql('SELECT id FROM users WHERE id = -5')).toContain('-5');
    expect(sql('SELECT id FROM users WHERE id = -6')).toContain('-6');
  });
  test('a new catalogue, another search_path or other parameter types need new plans', () => {
    let current = new Catalogue(catalogueImage([USERS]), 1);
    const planner = new Planner(() => current);
    const text = 'SELECT * FROM users';
    const first = planner.script(text, SESSION).statements[0]?.plan;
    expect(planner.script(text, SESSION).statements[0]?.plan).toBe(first as Plan);
    expect(planner.script(text, { searchPath: [], key: '' }).statements[0]?.plan.kind).toBe('forward');
    current = new Catalogue(catalogueImage([{ ...USERS, rowSecurity: true }]), 2);
    expect(planner.script(text, SESSION).statements[0]?.plan.kind).toBe('forward');
    const typed = planner.statement('SELECT $1', [OID.int4], SESSION).plan;
    const untyped = planner.statement('SELECT $1', [], SESSION).plan;
    expect([typed, untyped].map((each) => each.kind === 'local' && each.columns[0]?.typeOid)).toEqual([
      OID.int4,
      OID.text,
    ]);
  });
  test('BEGIN and COMMIT are parsed once, SET with its constants each time', () => {
    const planner = new Planner(() => catalogue);
    for (let index = 0; index < 3; index += 1) {
      expect(planner.script('BEGIN', SESSION).statements[0]?.plan).toMatchObject({ statement: { type: 'begin' } });
      expect(planner.script(`SET x = ${index}`, SESSION).statements[0]?.plan).toMatchObject({
        statement: { type: 'set', values: [String(index)] },
      });
    }
    expect(planner.statistics.parsed).toBe(4);
  });
  test('is bounded', () => {
    const planner = new Planner(() => catalogue, { plansCountMax: 50, plansBytesMax: 1_000_000 });
    for (let index = 0; index < 500; index += 1) planner.script(`SELECT id AS n${index} FROM users`, SESSION);
    expect(planner.statistics.plans).toBe(50);
    expect(planner.statistics.bytes).toBeLessThan(1_000_000);
  });
});

describe('whether a forwarded statement may write', () => {
  const check = (sql: string, write: boolean): void => expect([sql, forwarded(sql).write]).toEqual([sql, write]);
  test('reads are known, everything else may', () => {
    check('SELECT now()', false);
    check('SELECT * FROM pg_class', false);
    check('SELECT avg(ratio) FROM users GROUP BY team', false);
    check('EXPLAIN SELECT now()', false);
    check("SELECT nextval('s')", true);
    check('SELECT my_function(1)', true);
    check('SELECT app.now()', true);
    check('SELECT * FROM users FOR UPDATE', true);
    check('WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x', true);
    check('SELECT * FROM (SELECT set_config($$a$$, $$b$$, true)) x', true);
    check('EXPLAIN ANALYZE DELETE FROM users', true);
    check('EXPLAIN ANALYZE SELECT now()', false);
    check('INSERT INTO users VALUES (1)', true);
    check('COPY users TO STDOUT', true);
    check('DO $$ BEGIN END $$', true);
    check('LOCK users', true);
    check('VACUUM', true);
  });
});

describe('statements about the session', () => {
  const modes = { isolation: null, readOnly: null, deferrable: null };
  const cases: readonly (readonly [string, SessionStatement])[] = [
    ['BEGIN', { type: 'begin', tag: 'BEGIN', modes }],
    [
      'START TRANSACTION ISOLATION LEVEL REPEATABLE READ',
      { type: 'begin', tag: 'START TRANSACTION', modes: { ...modes, isolation: 'repeatable read' } },
    ],
    [
      'BEGIN READ ONLY DEFERRABLE',
      { type: 'begin', tag: 'BEGIN', modes: { ...modes, readOnly: true, deferrable: true } },
    ],
    ['BEGIN READ WRITE', { type: 'begin', tag: 'BEGIN', modes: { ...modes, readOnly: false } }],
    ['COMMIT', { type: 'commit', chain: false }],
    ['COMMIT TRANSACTION', { type: 'commit', chain: false }],
    ['END', { type: 'commit', chain: false }],
    ['ABORT TRANSACTION', { type: 'rollback', chain: false }],
    ['ROLLBACK AND CHAIN', { type: 'rollback', chain: true }],
    ['SAVEPOINT s2', { type: 'savepoint', name: 's2' }],
    ['RELEASE SAVEPOINT s2', { type: 'release', name: 's2' }],
    ['ROLLBACK TO SAVEPOINT "S 2"', { type: 'rollback-to', name: 'S 2' }],
    ['SET search_path = pg_catalog', { type: 'set', name: 'search_path', local: false, values: ['pg_catalog'] }],
    ["SET timezone = 'GMT'", { type: 'set', name: 'timezone', local: false, values: ['GMT'] }],
    ['SET LOCAL extra_float_digits TO 3', { type: 'set', name: 'extra_float_digits', local: true, values: ['3'] }],
    [
      'SET search_path TO "$user", public',
      { type: 'set', name: 'search_path', local: false, values: ['$user', 'public'] },
    ],
    ['SET TIME ZONE LOCAL', { type: 'set', name: 'timezone', local: false, values: null }],
    [
      "SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE",
      { type: 'set', name: 'timezone', local: false, values: ["INTERVAL '+02:00' HOUR TO MINUTE"] },
    ],
    ["SET NAMES 'UTF8'", { type: 'set', name: 'client_encoding', local: false, values: ['UTF8'] }],
    ['SET x.y = off', { type: 'set', name: 'x.y', local: false, values: ['off'] }],
    [
      'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
      { type: 'set-transaction', modes: { ...modes, isolation: 'serializable' } },
    ],
    [
      'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
      { type: 'set-session-characteristics', modes: { ...modes, readOnly: true } },
    ],
    ['RESET ALL', { type: 'reset', name: null }],
    ['RESET datestyle', { type: 'reset', name: 'datestyle' }],
    ['SHOW skerry.lag', { type: 'show', name: 'skerry.lag' }],
    ['SHOW ALL', { type: 'show', name: 'all' }],
    ['DISCARD ALL', { type: 'discard', target: 'all' }],
    ['DISCARD TEMP', { type: 'discard', target: 'temp' }],
    ['DEALLOCATE p', { type: 'deallocate', name: 'p' }],
    ['DEALLOCATE ALL', { type: 'deallocate', name: null }],
    [
      "EXECUTE p (1, 'a', NULL, -2.5, true)",
      {
        type: 'execute',
        name: 'p',
        argumentTexts: ['1', 'a', null, '-2.5', 'true'],
        argumentKinds: ['integer', 'string', 'null', 'float', 'boolean'],
      },
    ],
    ['EXECUTE p (1 + 1)', { type: 'execute', name: 'p', argumentTexts: null, argumentKinds: ['null'] }],
    ['EXECUTE p', { type: 'execute', name: 'p', argumentTexts: [], argumentKinds: [] }],
    ['FETCH 100 FROM c1', { type: 'fetch', move: false, cursor: 'c1', direction: 'forward', count: 100 }],
    ['FETCH ALL FROM c1', { type: 'fetch', move: false, cursor: 'c1', direction: 'forward', count: null }],
    ['MOVE BACKWARD ALL IN c1', { type: 'fetch', move: true, cursor: 'c1', direction: 'backward', count: null }],
    ['FETCH LAST c1', { type: 'fetch', move: false, cursor: 'c1', direction: 'absolute', count: -1 }],
    ['CLOSE c1', { type: 'close', name: 'c1' }],
    ['CLOSE ALL', { type: 'close', name: null }],
    ['LISTEN news', { type: 'listen', channel: 'news' }],
    ['UNLISTEN *', { type: 'unlisten', channel: null }],
    ["NOTIFY news, 'x'", { type: 'notify', channel: 'news', payload: 'x' }],
  ];
  for (const [sql, expected] of cases) test(sql, () => expect(statement(sql)).toEqual(expected));

  test('cursors and prepared statements carry the plan of their query', () => {
    const declared = statement('DECLARE c1 CURSOR FOR\nSELECT id FROM users WHERE ((id = 3))');
    expect(declared).toMatchObject({
      type: 'declare',
      name: 'c1',
      binary: false,
      hold: false,
      scroll: null,
      query: 'SELECT id FROM users WHERE ((id = 3))',
      planned: { plan: { kind: 'local', lane: 'fast' }, literals: ['3'] },
    });
    expect(statement('DECLARE "C 2" BINARY NO SCROLL CURSOR WITH HOLD FOR SELECT now()')).toMatchObject({
      name: 'C 2',
      binary: true,
      hold: true,
      scroll: false,
      planned: { plan: { kind: 'forward' } },
    });
    expect(statement('PREPARE p (int, text) AS SELECT id FROM users WHERE id = $1 AND email = $2')).toMatchObject({
      type: 'prepare',
      name: 'p',
      parameterTypes: [OID.int4, OID.text],
      query: 'SELECT id FROM users WHERE id = $1 AND email = $2',
      planned: { plan: { kind: 'local', parameterTypes: [OID.int4, OID.text] } },
    });
    expect(statement('PREPARE q AS SELECT $1::int8')).toMatchObject({
      parameterTypes: [],
      planned: { plan: { parameterTypes: [OID.int8] } },
    });
    expect(statement('PREPARE q (mystery) AS SELECT 1')).toMatchObject({
      parameterTypes: null,
      planned: { plan: { kind: 'forward' } },
    });
    const parameters = new Planner(() => catalogue).statement(
      'DECLARE c CURSOR FOR SELECT id FROM users WHERE id = $1',
      [],
      SESSION,
    );
    expect(parameters.plan).toMatchObject({
      kind: 'session',
      statement: { planned: { plan: { parameterTypes: [OID.int4] } } },
    });
  });

  test("two-phase transactions are the core's", () => {
    expect(forwarded("PREPARE TRANSACTION 'x'")).toMatchObject({ reason: 'write', write: true });
  });
});
