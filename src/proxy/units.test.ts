// The proxy's pure parts: what a statement may leave behind, what is provably a read, settings, topology, import.

import { describe, expect, test } from 'bun:test';
import { loadConfig } from '../config/load.ts';
import { GROUPS } from '../config/options.ts';
import type { Topology } from '../contracts/topology.ts';
import { proxyConfig } from '../roles/proxy.ts';
import { parseUserList } from './config.ts';
import { importPgBouncer } from './import.ts';
import { EXPECT, HIDDEN, Ledger } from './ledger.ts';
import { isProvablyRead } from './reads.ts';
import { EFFECT, scanStatement } from './scan.ts';
import { changeSql, NO_SETTINGS, settingsOf } from './settings.ts';
import { fingerprint } from './slow-log.ts';
import { StatementRegistry } from './statements.ts';
import { decideTopology, type Observation } from './topology.ts';

describe('effects of a statement on its session', () => {
  const { settings, channels, prepared, temporary, locks, cursors, sticky, forgets, releases } = EFFECT;
  test.each([
    ['select 1', 0],
    ['update t set x = 1 where y = 2', 0],
    ['insert into temperature values (1)', 0],
    ["insert into notes values ('set role admin; listen x')", 0],
    ['set local work_mem = 1', 0],
    ['set transaction isolation level serializable', 0],
    ['select pg_advisory_xact_lock(1)', 0],
    ['set work_mem = 1', settings],
    ['/* c */ SET Work_Mem TO 1', settings],
    ['begin; set work_mem = 1; commit', settings],
    ['reset all', settings],
    ["select set_config('a.b', 'c', false)", settings],
    ['select set_config($1, $2, false)', settings | sticky],
    ['select set_config($1, $2, true)', settings],
    ['listen x', channels],
    ['unlisten *', channels],
    ['prepare p as select 1', prepared],
    ['execute p(1)', prepared],
    ["prepare transaction 'x'", 0],
    ['create temp table t (a int)', temporary],
    ['select 1 into temporary t', temporary],
    ['create table pg_temp.t (a int)', temporary],
    ['select pg_try_advisory_lock(1)', locks],
    ['declare c cursor with hold for select 1', cursors],
    ['select setseed(0.5)', sticky],
    ["load 'x'", sticky],
    ['drop table t', releases],
    ['select 1; deallocate all', prepared | forgets],
    ["do $$ begin perform pg_advisory_lock(1); execute 'set x.y = 1'; end $$", locks | settings | channels],
  ])('%s', (text, effects) => {
    expect(scanStatement(text).effects).toBe(effects);
  });

  test.each([
    ['set session app.Tenant = 1', ['app.tenant']],
    ['set session = 1', ['session']],
    ['set time zone UTC', []],
    ['set role x', ['role']],
    ['set session authorization x', ['session_authorization', 'role']],
    ['reset "Some"."Name"', ['some.name']],
  ])('%s names its settings', (text, names) => {
    expect([...scanStatement(text).settings]).toEqual(names);
  });

  test('a lone DEALLOCATE or DISCARD ALL is recognised', () => {
    expect(scanStatement('deallocate prepare "Xx"').special).toEqual({ tag: 'deallocate', name: 'Xx' });
    expect(scanStatement('DISCARD ALL;').special).toEqual({ tag: 'discardAll' });
    expect(scanStatement('deallocate all').special).toEqual({ tag: 'deallocateAll' });
  });

  test('text inside comments, dollar quotes and escape strings is not code', () => {
    for (const text of [
      'select 1 /* ; set x = 1 */',
      'select $a$; set x = 1 $a$',
      `select E'\\'; set x = 1'`,
      'select "; set x = 1"',
      'select 1 -- ; set x = 1',
    ]) {
      expect(scanStatement(text).effects).toBe(0);
    }
  });
});

describe('provably a read', () => {
  test.each([
    'select 1',
    'select a, count(*) from t where b = $1 group by a having count(*) > 1 order by 1 limit 5',
    'with x as (select 1) select * from x',
    'select * from t where a in (1, 2) and exists (select 1 from u)',
    'values (1), (2)',
    "select cast(a as varchar(10)), lower(b), coalesce(c, 'update') from t",
    'begin read only',
    'start transaction isolation level repeatable read, read only',
    'select t.set from t',
  ])('%s', (text) => expect(isProvablyRead(text)).toBe(true));

  test.each([
    'insert into t values (1)',
    'select nextval($1)',
    'select my_function(1)',
    'select public.lower(a) from t',
    'select * from t for update',
    'select * from t for no key update',
    'select * from t for share',
    'with x as (delete from t returning *) select * from x',
    'select 1 into t',
    'select 1; delete from t',
    'select pg_sleep(1)',
    'select random()',
    'begin',
    'begin read write',
    'explain analyze delete from t',
    'copy t to stdout',
    'select "lower"(a) from t',
    '',
  ])('not: %s', (text) => expect(isProvablyRead(text)).toBe(false));
});

describe('settings', () => {
  const of = (values: Record<string, string>) => settingsOf(new Map(Object.entries(values)));
  test('equal contents are one object', () => {
    expect(of({ a: '1', b: '2' })).toBe(of({ b: '2', a: '1' }));
    expect(of({})).toBe(NO_SETTINGS);
  });
  test('the change from one to another is the least SQL, quoted, identity last', () => {
    expect(changeSql(of({ a: '1' }), of({ a: '1' }))).toBe('');
    expect(changeSql(of({ a: '1', 'x.y': 'z' }), of({ a: `it's \\` }))).toBe(
      `RESET "x"."y";SELECT pg_catalog.set_config(E'a', E'it''s \\\\', false)`,
    );
    expect(changeSql(of({ role: 'r' }), of({ work_mem: '1MB', role: 's' }))).toBe(
      `RESET role;SELECT pg_catalog.set_config(E'work_mem', E'1MB', false);SELECT pg_catalog.set_config(E'role', E's', false)`,
    );
  });
});

test('the ledger is first in, first out, also when it grows and loses entries in the middle', () => {
  const ledger = new Ledger<string>();
  for (let index = 0; index < 100; index += 1)
    ledger.push(EXPECT.query | (index % 2 === 0 ? HIDDEN : 0), String(index));
  for (let index = 0; index < 30; index += 1) ledger.shift();
  ledger.removeAt(1);
  const seen: (string | null)[] = [];
  while (ledger.length > 0) {
    seen.push(ledger.headReference);
    ledger.shift();
  }
  expect(seen).toEqual(Array.from({ length: 70 }, (_, index) => String(index + 30)).filter((text) => text !== '31'));
});

test('statements are told apart by text, types and context, and forgotten with their last holder', () => {
  const registry = new StatementRegistry();
  const body = (text: string, types: number[]) =>
    Buffer.concat([
      Buffer.from(`${text}\0`),
      Buffer.from([0, types.length, ...types.flatMap((type) => [0, 0, 0, type])]),
    ]);
  const a = registry.intern(body('select $1', [23]), 9, '');
  expect(registry.intern(body('select $1', [23]), 9, '')).toBe(a);
  expect(registry.intern(body('select $1', [25]), 9, '').name).not.toBe(a.name);
  expect(registry.intern(body('select $1', [23]), 9, 'path').name).not.toBe(a.name);
  registry.hold(a);
  registry.release(a);
  expect(registry.intern(body('select $1', [23]), 9, '')).not.toBe(a);
});

describe('topology', () => {
  const at = (port: number, state: Observation['state'], more: Partial<Observation> = {}): Observation => ({
    host: 'h',
    port,
    state,
    lsn: 100n,
    timeline: 1,
    roundTripMs: 1,
    error: null,
    ...more,
  });
  const none: Topology = { term: 0, primary: null, replicas: [], sentence: '' };
  test('the primary is who says so, and lag is counted from it', () => {
    const topology = decideTopology(none, [at(1, 'replica', { lsn: 60n }), at(2, 'primary')]);
    expect(topology).toMatchObject({ term: 1, primary: { port: 2 }, replicas: [{ port: 1, lagBytes: 40 }] });
  });
  test('of two primaries the higher timeline counts; with equal ones the old one stays', () => {
    const first = decideTopology(none, [at(1, 'primary'), at(2, 'replica')]);
    expect(decideTopology(first, [at(1, 'primary'), at(2, 'primary', { timeline: 2 })])).toMatchObject({
      term: 2,
      primary: { port: 2 },
    });
    expect(decideTopology(first, [at(2, 'primary'), at(1, 'primary')])).toMatchObject({
      term: 1,
      primary: { port: 1 },
    });
  });
  test('without a primary nobody is promoted by guess, and the sentence says why', () => {
    const topology = decideTopology(none, [at(1, 'down', { error: 'refused' }), at(2, 'replica')]);
    expect(topology.primary).toBeNull();
    expect(topology.sentence).toContain('refused');
  });
});

test('fingerprints hold no values', () => {
  expect(fingerprint(`select * from t where a = 'secret' and b in (1, 2, 3) -- note`)).toBe(
    'select * from t where a = ? and b in(?)',
  );
});

test('userlist.txt', () => {
  expect([...parseUserList('"a" "b"\n; comment\n"c""d" "md5x" ignored')]).toEqual([
    ['a', 'b'],
    ['c"d', 'md5x'],
  ]);
});

describe('configuration', () => {
  const load = (text: string) => loadConfig(GROUPS, { file: { name: 'skerry.yaml', text }, env: {}, flags: {} });

  test('peers of other hosts are carried over, processes of the same host become workers', () => {
    const ini = `
[databases]
* = host=10.0.0.9
[peers]
2 = host=10.0.0.2 port=7000
3 = host=/tmp/pgbouncer3
70 = host=10.0.0.70
[pgbouncer]
peer_id = 1
so_reuseport = 1
`;
    const { yaml, notes } = importPgBouncer(ini, () => null);
    const config = proxyConfig(load(yaml));
    expect(config.peerId).toBe(1);
    expect([...config.peers]).toEqual([[2, { host: '10.0.0.2', port: 7000, sslMode: 'require', ca: '' }]]);
    expect(notes).toEqual([
      expect.stringContaining('peer 2: cancel requests go to it over TLS'),
      expect.stringContaining('peer 3: several processes'),
      expect.stringContaining('peer 70: numbers of peers go from 1 to 63'),
      expect.stringContaining('workers: N'),
    ]);
  });

  test.each([
    ['peers: { 2: { host: h } }', 'peer_id is not'],
    ['peer_id: 1\n  peers: { 64: { host: h } }', 'from 1 to 63'],
    ['peer_id: 1\n  peers: { 2: {} }', 'and a host'],
  ])('%j is refused', (lines, why) => {
    const text = `proxy:\n  databases: { "*": { servers: [h] } }\n  ${lines}\n`;
    expect(() => proxyConfig(load(text))).toThrow(why);
  });

  test.each([
    ['no word of whom it is for', 'batch: { pool_size: 3 }', 'tenant "batch" says nothing about whom it is for'],
    ['an unknown algorithm', 'app/web: { algorithm: reno }', 'one of , vegas, gradient2, off'],
    ['an unknown key', 'app/web: { pool_sise: 3 }', 'pool_sise'],
  ])('a tenant with %s is refused', (_, row, why) => {
    const text = `proxy:\n  databases: { "*": { servers: [h] } }\n  tenants: { ${row} }\n`;
    expect(() => proxyConfig(load(text))).toThrow(why);
  });

  test('pgbouncer.ini becomes a file that loads, and says what it could not carry over', () => {
    const ini = `
;; comment
[databases]
app = host=10.0.0.1,10.0.0.2 port=5433 dbname=real pool_size=7 pool_mode=session password=secret
* = host=/var/run/postgresql
[users]
alice = pool_mode=statement max_user_connections=3
[pools]
alice.app = pool_size=4
bob = pool_size=x
[pgbouncer]
listen_addr = *
listen_port = 7432
auth_type = hba
auth_user = asker
default_pool_size = 9
query_wait_timeout = 12.5
admin_users = root, "quoted"
server_reset_query = ABORT
dns_max_ttl = 3
frobnicate = 1
%include more.ini
`;
    const { yaml, notes } = importPgBouncer(ini, (path) => (path === 'more.ini' ? 'max_client_conn = 77\n' : null));
    const config = proxyConfig(load(yaml));
    expect(config).toMatchObject({
      host: '0.0.0.0',
      port: 7432,
      authType: 'hba',
      poolSize: 9,
      poolMode: 'session',
      queryWaitTimeoutMs: 12_500,
      clientConnectionsMax: 77,
    });
    expect(config.tenants.rules).toMatchObject([
      { name: 'app/alice', database: 'app', user: 'alice', limits: { poolSize: 4, qps: null } },
    ]);
    expect(config.databases.get('app')).toMatchObject({
      dbname: 'real',
      poolSize: 7,
      poolMode: 'session',
      servers: [
        { host: '10.0.0.1', port: 5433 },
        { host: '10.0.0.2', port: 5433 },
      ],
    });
    expect(config.databases.get('*')?.servers).toEqual([{ host: '/var/run/postgresql', port: 5432 }]);
    expect(config.users.get('alice')).toMatchObject({ poolMode: 'statement', connectionsMax: 3 });
    expect(notes.join('\n')).not.toContain('secret');
    expect(notes).toEqual([
      expect.stringContaining('password_file'),
      expect.stringContaining('pool bob: expected user.database = pool_size=NUMBER'),
      expect.stringContaining('server_reset_query'),
      expect.stringContaining('frobnicate'),
    ]);
  });

  test.each([
    [
      'proxy:\n  databases:\n    app:\n      servers: [h]\n      pool_sise: 3\n',
      'skerry.yaml:5: unknown option "proxy.databases.app.pool_sise"',
      'did you mean "pool_size"?',
    ],
    [
      'proxy:\n  databases:\n    app:\n      servers: [h]\n      pool_mode: fast\n',
      'skerry.yaml:5: proxy.databases.app.pool_mode: expected one of',
      undefined,
    ],
    ['proxy:\n  databases: 5\n', 'skerry.yaml:2: proxy.databases', undefined],
    ['proxy:\n  databases:\n    app: 5\n', 'skerry.yaml:3: proxy.databases.app: expected keys with values', undefined],
  ])('%j is refused with its line', (text, message, hint) => {
    try {
      load(text);
      throw new Error('was accepted');
    } catch (error) {
      expect((error as Error).message).toContain(message);
      if (hint !== undefined) expect((error as { hint?: string }).hint).toBe(hint);
    }
  });

  test('a proxy without databases is told what to write', () => {
    expect(() => proxyConfig(load('proxy:\n  port: 1\n'))).toThrow('no databases are configured');
    expect(() => proxyConfig(load('proxy:\n  databases:\n    a: {servers: ["x:99999"]}\n'))).toThrow(
      'is not host:port',
    );
  });
});
