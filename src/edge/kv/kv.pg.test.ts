// Rows by key over HTTP: reads from a replica that stands still, writes at the core.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { startTestEdge, type TestEdge } from '../../../test/edge.ts';
import { startPostgres, type TestPostgres, waitFor } from '../../../test/harness.ts';
import { formatLsn } from '../../pg/lsn.ts';
import { formatToken } from '../token.ts';

let postgres: TestPostgres;
let edge: TestEdge;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE SCHEMA s;
    CREATE TABLE s.zone (name text PRIMARY KEY, n int, big bigint, price numeric(10,2), ok bool, doc jsonb, at timestamptz, f float8, a int[]);
    INSERT INTO s.zone VALUES ('a/b ü', 1, 9007199254740993, 1.50, true, '{"x": [1, null]}', '2024-02-03 04:05:06+00', 'NaN', '{1,2}'), ('empty', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    CREATE TABLE pair (a int, b text, v text, PRIMARY KEY (a, b));
    INSERT INTO pair SELECT a, 'k' || b, a || '-' || b FROM generate_series(1, 3) a, generate_series(1, 5) b;
    CREATE TABLE blob (k text PRIMARY KEY, v bytea, t text, j jsonb, n int CHECK (n > 0));
    INSERT INTO blob VALUES ('x', '\\x00ff10', 'täxt', '{"a": 1}', 1), ('x%y', NULL, NULL, NULL, NULL), ('xé', '', '', 'null', 2), ('xz', '', '', NULL, 3), ('y', '', '', NULL, 4);
    CREATE TABLE loose (v int);
    CREATE TABLE hidden (k int PRIMARY KEY); ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
    INSERT INTO hidden VALUES (7)`);
  edge = await startTestEdge(postgres, { rywWaitMs: 5 });
});

afterAll(async () => {
  await edge?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

interface Problem {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly sqlstate?: string;
    readonly hint?: string;
  };
}

const ask = (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://127.0.0.1:${edge.httpPort}/kv/${path}`, { method, ...init });
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> => ask('GET', path, { headers });
const put = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}): Promise<Response> =>
  ask('PUT', path, { body, headers });
const code = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as Problem).error.code,
];

test('a row as JSON, with the position and the digest of the row as its ETag', async () => {
  const response = await get(`s.zone/${encodeURIComponent('a/b ü')}`);
  expect(response.status).toBe(200);
  expect(await response.text()).toBe(
    '{"name":"a/b ü","n":1,"big":9007199254740993,"price":1.50,"ok":true,"doc":{"x": [1, null]},"at":"2024-02-03 04:05:06+00","f":"NaN","a":"{1,2}"}',
  );
  const lsn = formatLsn(edge.feed.current.position);
  const etag = response.headers.get('etag') as string;
  expect(etag).toStartWith(`"${lsn}.`);
  expect(response.headers.get('skerry-lsn')).toBe(lsn);
  expect((await get(`s.zone/${encodeURIComponent('a/b ü')}`, { 'if-none-match': etag })).status).toBe(304);
  expect((await get('s.zone/empty', { 'if-none-match': etag })).status).toBe(200);
  expect(await (await get('s.zone/empty')).json()).toMatchObject({ name: 'empty', n: null, doc: null });
  const head = await ask('HEAD', 's.zone/empty');
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('one column as it is', async () => {
  const bytes = await get('blob/x?column=v');
  expect(bytes.headers.get('content-type')).toBe('application/octet-stream');
  expect(Buffer.from(await bytes.arrayBuffer()).toString('hex')).toBe('00ff10');
  expect(await (await get('blob/x?column=t')).text()).toBe('täxt');
  const json = await get('blob/x?column=j');
  expect([json.headers.get('content-type'), await json.text()]).toEqual(['application/json', '{"a": 1}']);
  expect((await get('blob/x%25y?column=t')).status).toBe(204);
  expect(await code(await get('blob/x?column=nope'))).toEqual([400, 'column-unknown']);
});

test('a key of two columns, and rows under its first', async () => {
  expect(await (await get('pair/2/k3')).json()).toEqual({ a: 2, b: 'k3', v: '2-3' });
  const page = await (await get('pair/2/?prefix=k&limit=2')).json();
  expect(page).toEqual({
    lsn: formatLsn(edge.feed.current.position),
    rows: [
      { a: 2, b: 'k1', v: '2-1' },
      { a: 2, b: 'k2', v: '2-2' },
    ],
    next: 'k2',
  });
  const rest = (await (await get('pair/2/?prefix=k&limit=9&after=k2')).json()) as { rows: unknown[]; next?: string };
  expect([rest.rows.length, rest.next]).toEqual([3, undefined]);
});

test('a page begins and ends where the bytes of the key say', async () => {
  const keys = async (query: string): Promise<string[]> =>
    ((await (await get(`blob/?${query}`)).json()) as { rows: { k: string }[] }).rows.map(({ k }) => k);
  expect(await keys('')).toEqual(['x', 'x%y', 'xz', 'xé', 'y']);
  expect(await keys('prefix=x')).toEqual(['x', 'x%y', 'xz', 'xé']);
  expect(await keys('prefix=x%25')).toEqual(['x%y']);
  expect(await keys(`prefix=${encodeURIComponent('xé')}`)).toEqual(['xé']);
  expect(await keys('prefix=nothing')).toEqual([]);
  expect(await keys('after=x%25y&limit=2')).toEqual(['xz', 'xé']);
});

test('many keys at once, in the order asked for', async () => {
  const few = (await (await get('blob?key=y&key=nope&key=x')).json()) as { rows: ({ k: string } | null)[] };
  expect(few.rows.map((row) => row?.k ?? null)).toEqual(['y', null, 'x']);
  const many = await ask('POST', 'pair', {
    body: JSON.stringify({
      keys: [
        [1, 'k1'],
        [9, 'k9'],
      ],
    }),
  });
  expect(((await many.json()) as { rows: unknown[] }).rows).toEqual([{ a: 1, b: 'k1', v: '1-1' }, null]);
});

test('what is wrong is said', async () => {
  for (const [path, status, expected] of [
    ['s.zone/nope', 404, 'key-unknown'],
    ['s.nope/1', 404, 'table-unknown'],
    ['a.b.c/1', 404, 'table-unknown'],
    ['loose/1', 400, 'key-missing'],
    ['pair/1', 400, 'key-incomplete'],
    ['pair/1/2/3', 400, 'key-incomplete'],
    ['pair/?prefix=1', 400, 'prefix-impossible'],
    ['pair/?limit=5', 400, 'key-too-short'],
    ['pair/x/k1', 400, 'key-invalid'],
    ['s.zone/%zz', 400, 'key-invalid'],
    ['blob/?limit=none', 400, 'number-invalid'],
    ['blob/x?wait-for=nonsense', 400, 'token-invalid'],
    ['blob/x?wait-for=1/zz', 400, 'lsn-invalid'],
  ] as const) {
    expect([path, ...(await code(await get(path)))]).toEqual([path, status, expected]);
  }
  expect(await code(await ask('PATCH', 'blob/x'))).toEqual([405, 'method-not-allowed']);
  expect(await code(await ask('POST', 'blob', { body: '[]' }))).toEqual([400, 'body-invalid']);
  expect(await code(await put('blob/x', '{"n": '))).toEqual([400, 'body-invalid']);
  expect(await code(await put('blob/x', '{"nope": 1}'))).toEqual([400, 'column-unknown']);
  expect(await code(await put('blob/x', '{"k": "z", "n": 1}'))).toEqual([400, 'key-differs']);
  expect(await code(await put('blob/x', '{"n": 1}', { 'if-none-match': '"0/1.abc"' }))).toEqual([
    400,
    'condition-unknown',
  ]);
});

test('what Postgres refuses is refused with its SQLSTATE, and nothing was changed', async () => {
  const response = await put('blob/x', '{"n": -1}');
  expect(response.status).toBe(400);
  expect(((await response.json()) as Problem).error.sqlstate).toBe('23514');
  expect(await postgres.value("SELECT n FROM blob WHERE k = 'x'")).toBe('1');
  const odd = await put('blob/x', '{"n": "one"}');
  expect([odd.status, ((await odd.json()) as Problem).error.sqlstate]).toEqual([400, '22P02']);
});

test('reads wait for a position, and say when it does not come', async () => {
  const position = edge.feed.current.position;
  expect((await get(`blob/x?wait-for=${formatLsn(position)}`)).status).toBe(200);
  const { epoch } = edge.feed.current;
  if (epoch === null) throw new Error('no epoch');
  const later = formatToken({ epoch, lsn: position + 1_000_000n });
  expect(await code(await get('blob/x?wait-ms=5', { 'skerry-wait-for': later }))).toEqual([504, 'not-there-yet']);
  const foreign = formatToken({ epoch: { ...epoch, systemId: '12345' }, lsn: position });
  expect(await code(await get(`blob/x?wait-for=${foreign}`))).toEqual([400, 'token-foreign']);
});

test('PUT makes and changes rows, DELETE takes them away', async () => {
  const made = await put(
    's.zone/new',
    '{"n": 5, "big": 9007199254740993, "doc": {"k": "\\u00e9"}, "a": [3, 4], "at": "2024-01-01T00:00:00Z"}',
  );
  expect(made.status).toBe(201);
  // The replica of this test stands still.
  expect(made.headers.get('skerry-applied')).toBe('false');
  expect(await postgres.sql("SELECT n, big::text, doc->>'k' AS k, a::text FROM s.zone WHERE name = 'new'")).toEqual([
    { n: 5, big: '9007199254740993', k: 'é', a: '{3,4}' },
  ]);
  const changed = await put('s.zone/new', '{"n": null}');
  expect(changed.status).toBe(204);
  expect(await postgres.value("SELECT big::text || coalesce(n::text, 'null') FROM s.zone WHERE name = 'new'")).toBe(
    '9007199254740993null',
  );
  const gone = await ask('DELETE', 's.zone/new');
  expect(gone.status).toBe(204);
  expect(await code(await ask('DELETE', 's.zone/new'))).toEqual([404, 'key-unknown']);
});

test('zero bytes are refused, and block nobody who writes after them', async () => {
  for (let round = 0; round < 6; round += 1) {
    expect(await code(await put('blob/a%00b', '{"n": 1}'))).toEqual([400, 'key-invalid']);
    expect(await code(await put('blob/x?column=t', 'a\0b'))).toEqual([400, 'body-invalid']);
    expect(await code(await ask('DELETE', 'blob/a%00b'))).toEqual([400, 'key-invalid']);
    expect(await code(await get('hidden/%00'))).toEqual([400, 'key-invalid']);
    expect((await put('blob/x', '{"t": "\\u0000"}')).status).toBe(400);
  }
  expect((await put('blob/x', '{"n": 1}')).status).toBe(204);
});

test('a column is written as bytes', async () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  expect((await put('blob/raw?column=v', bytes)).status).toBe(201);
  expect(await postgres.value("SELECT encode(v, 'hex') FROM blob WHERE k = 'raw'")).toBe(
    Buffer.from(bytes).toString('hex'),
  );
  expect((await put('blob/raw?column=t', "it's \\ 'quoted'")).status).toBe(204);
  expect(await postgres.value("SELECT t FROM blob WHERE k = 'raw'")).toBe("it's \\ 'quoted'");
  expect(await code(await put('blob/raw?column=t', Uint8Array.of(0xff, 0xfe)))).toEqual([400, 'body-invalid']);
  expect(await code(await put('blob/raw?column=k', 'x'))).toEqual([400, 'column-is-key']);
});

test('INVARIANT_I1 conditional writes compare the content at the core, whatever this PoP has applied', async () => {
  await postgres.sql("INSERT INTO blob (k, t, n) VALUES ('cond', 'one', 1)");
  await edge.catchUp();
  const etag = (await get('blob/cond')).headers.get('etag') as string;
  // Somebody else changes it at the core; this PoP does not know yet.
  await postgres.sql("UPDATE blob SET t = 'two' WHERE k = 'cond'");
  expect(await code(await put('blob/cond', '{"t": "three"}', { 'if-match': etag }))).toEqual([412, 'condition-failed']);
  expect(await code(await ask('DELETE', 'blob/cond', { headers: { 'if-match': etag } }))).toEqual([
    412,
    'condition-failed',
  ]);
  expect(await postgres.value("SELECT t FROM blob WHERE k = 'cond'")).toBe('two');
  await postgres.sql("UPDATE blob SET t = 'one' WHERE k = 'cond'");
  const written = await put('blob/cond', '{"t": "three"}', { 'if-match': etag });
  expect(written.status).toBe(204);
  // The ETag of the write is good for the next one.
  const next = written.headers.get('etag') as string;
  expect((await put('blob/cond', '{"t": "four"}', { 'if-match': next })).status).toBe(204);
  expect((await ask('DELETE', 'blob/cond', { headers: { 'if-match': '*' } })).status).toBe(204);
  expect(await code(await put('blob/cond', '{"t": "x"}', { 'if-match': '*' }))).toEqual([412, 'condition-failed']);
  expect((await put('blob/cond', '{"t": "x"}', { 'if-none-match': '*' })).status).toBe(201);
  expect(await code(await put('blob/cond', '{"t": "y"}', { 'if-none-match': '*' }))).toEqual([412, 'condition-failed']);
  expect(await postgres.value("SELECT t FROM blob WHERE k = 'cond'")).toBe('x');
});

test('a table that cannot be read here is read at the core', async () => {
  expect(await (await get('hidden/7')).json()).toEqual({ k: 7 });
  expect(await code(await get('hidden/8'))).toEqual([404, 'key-unknown']);
});

test('without the core reads go on, and writes are refused', async () => {
  await postgres.stop();
  try {
    expect((await get('blob/x')).status).toBe(200);
    // A connection that was kept may break under the first write: then its fate is not known, which has another name.
    const first = await code(await put('blob/x', '{"n": 9}'));
    expect(first[0]).toBe(503);
    expect(['core-away', 'connection-lost']).toContain(first[1]);
    await waitFor(
      'the core is known to be away',
      async () => (await code(await put('blob/x', '{"n": 9}')))[1] === 'core-away',
    );
    expect(await code(await get('hidden/7'))).toEqual([503, 'core-away']);
  } finally {
    await postgres.restart();
  }
  await waitFor('the core is back', async () => (await put('blob/x', '{"n": 9}')).status === 204);
});
