// Kyoto Tycoon's port of an edge, with the whole way of a write behind it: core, relay, edge. `testdata/kyoto-tycoon-transcript.json` is what
// the server 0.9.56 (in-memory tree database) answered to the same requests, byte for byte.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Buffer } from 'node:buffer';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { createWorld, freePort, type RoleProcess, until, type World } from '../world.ts';

interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly answer: string;
  readonly 'content-type'?: string;
  readonly 'x-kt-error'?: string;
  readonly 'x-kt-xt'?: string;
}

let postgres: TestPostgres;
let world: World;
let edge: RoleProcess;
let ktPort: number;

beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`CREATE TABLE kv (key bytea PRIMARY KEY, value bytea NOT NULL, expiry timestamptz);
    CREATE SCHEMA app; CREATE TABLE app.notes (name text PRIMARY KEY, value text, xt bigint);
    CREATE TABLE plain (key text PRIMARY KEY, value text); CREATE TABLE wrong (key int PRIMARY KEY, value text)`);
  world = createWorld();
  const relay = await world.relay('relay', { url: postgres.url });
  await relay.ready();
  ktPort = await freePort();
  edge = await world.edge('edge', relay, postgres.url, {
    SKERRY_EDGE_KT_PORT: String(ktPort),
    SKERRY_EDGE_KT_TABLES: 'public.kv,app.notes,public.plain,public.wrong',
  });
  await edge.ready();
}, 60_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await postgres?.[Symbol.asyncDispose]();
});

/** A connection that is used as bytes: cursors belong to one. */
class Peer implements Disposable {
  readonly #socket: Socket;
  #bytes: Buffer = Buffer.alloc(0);
  #closed = false;
  #wake: () => void = () => {};

  constructor() {
    this.#socket = connect(ktPort, '127.0.0.1');
    this.#socket.on('data', (chunk) => {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.from(chunk)]);
      this.#wake();
    });
    this.#socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
    this.#socket.on('error', () => {});
  }

  send(bytes: Uint8Array | string): void {
    if (typeof bytes === 'string') this.#socket.write(bytes, 'latin1');
    else this.#socket.write(bytes);
  }

  /** The next `length` bytes. */
  async read(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) {
      if (this.#closed) throw new Error(`closed after ${this.#bytes.length} of ${length} bytes`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  async ended(): Promise<void> {
    while (!this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async answer(method = 'GET'): Promise<{ status: number; headers: Map<string, string>; body: Buffer }> {
    let head = '';
    while (!head.endsWith('\r\n\r\n')) head += (await this.read(1)).toString('latin1');
    const [first = '', ...lines] = head.trim().split('\r\n');
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    const length = method === 'HEAD' ? 0 : Number(headers.get('content-length'));
    return { status: Number(first.split(' ')[1]), headers, body: await this.read(length) };
  }

  async ask(
    method: string,
    path: string,
    body = Buffer.alloc(0),
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: Map<string, string>; body: Buffer }> {
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.send(`${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n${head.join('')}\r\n`);
    this.send(body);
    return await this.answer(method);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

test('INVARIANT_I9 answers as Kyoto Tycoon does', async () => {
  using peer = new Peer();
  const transcript = (await Bun.file(
    join(import.meta.dir, 'testdata', 'kyoto-tycoon-transcript.json'),
  ).json()) as Exchange[];
  expect(transcript.length).toBeGreaterThan(100);
  for (const [index, exchange] of transcript.entries()) {
    const body = Buffer.from(exchange.body ?? '', 'base64');
    const { status, headers, body: answer } = await peer.ask(exchange.method, exchange.path, body, exchange.headers);
    expect({
      index,
      path: exchange.path,
      status,
      answer: answer.toString('latin1'),
      type: headers.get('content-type'),
      error: headers.get('x-kt-error'),
      xt: headers.get('x-kt-xt'),
    }).toEqual({
      index,
      path: exchange.path,
      status: exchange.status,
      answer: Buffer.from(exchange.answer, 'base64').toString('latin1'),
      type: exchange['content-type'],
      error: exchange['x-kt-error'],
      xt: exchange['x-kt-xt'],
    });
  }
}, 60_000);

test('what is written is in the core, and any connection reads it at once', async () => {
  using writer = new Peer();
  using reader = new Peer();
  for (let round = 0; round < 20; round += 1) {
    expect((await writer.ask('PUT', '/own', Buffer.from(`v${round}`))).status).toBe(201);
    expect((await reader.ask('GET', '/own')).body.toString()).toBe(`v${round}`);
  }
  expect(await postgres.value("SELECT convert_from(value, 'UTF8') FROM kv WHERE key = 'own'")).toBe('v19');
  await postgres.sql("INSERT INTO kv VALUES ('from-sql', 'hello')");
  await until('the row of SQL is here', async () => (await reader.ask('GET', '/from-sql')).status === 200);
});

function setBulk(records: readonly { db: number; key: Buffer; value: Buffer; xt?: bigint }[], flags = 0): Buffer {
  const parts = [Buffer.from([0xb8]), uint32(flags), uint32(records.length)];
  for (const { db, key, value, xt = 0x7fffffffffffffffn } of records) {
    const time = Buffer.alloc(8);
    time.writeBigInt64BE(xt);
    parts.push(uint16(db), uint32(key.length), uint32(value.length), time, key, value);
  }
  return Buffer.concat(parts);
}

function keysBulk(magic: number, keys: readonly { db: number; key: Buffer }[]): Buffer {
  const parts = [Buffer.from([magic]), uint32(0), uint32(keys.length)];
  for (const { db, key } of keys) parts.push(uint16(db), uint32(key.length), key);
  return Buffer.concat(parts);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

test('the binary protocol, also byte by byte and after HTTP on the same connection', async () => {
  using peer = new Peer();
  const key = Buffer.from([0, 1, 255]);
  const value = Buffer.from('täxt');
  const request = setBulk([
    { db: 0, key, value: Buffer.from([9, 0, 8]) },
    { db: 1, key: Buffer.from('note'), value },
    { db: 0, key: Buffer.from('timed'), value, xt: -4102444800n },
  ]);
  for (const byte of request) peer.send(Buffer.of(byte));
  expect((await peer.read(5)).toString('hex')).toBe('b800000003');
  const [first, second, missing, timed] = [
    { db: 0, key },
    { db: 1, key: Buffer.from('note') },
    { db: 1, key: Buffer.from('missing') },
    { db: 0, key: Buffer.from('timed') },
  ];
  peer.send(keysBulk(0xba, [first, second, missing, timed] as { db: number; key: Buffer }[]));
  expect((await peer.read(5)).toString('hex')).toBe('ba00000003');
  const record = async (): Promise<string> => {
    const head = await peer.read(18);
    const sizes = [head.readUInt32BE(2), head.readUInt32BE(6)] as const;
    const text = (await peer.read(sizes[0] + sizes[1])).toString('latin1');
    return `${head.readUInt16BE(0)} ${head.readBigInt64BE(10)} ${text}`;
  };
  expect(await record()).toBe('0 9223372036854775807 \x00\x01\xff\x09\x00\x08');
  expect(await record()).toBe(`1 9223372036854775807 note${value.toString('latin1')}`);
  expect(await record()).toBe(`0 4102444800 timed${value.toString('latin1')}`);
  expect(await postgres.sql("SELECT value, xt FROM app.notes WHERE name = 'note'")).toEqual([
    { value: 'täxt', xt: null },
  ]);
  expect((await peer.ask('GET', '/notes/note')).body.toString()).toBe('täxt');
  peer.send(
    keysBulk(0xb9, [
      { db: 0, key },
      { db: 0, key: Buffer.from('never') },
    ]),
  );
  expect((await peer.read(5)).toString('hex')).toBe('b900000001');
  // No answer is wanted: the next one is of the next request.
  peer.send(setBulk([{ db: 1, key: Buffer.from('quiet'), value: Buffer.from('x') }], 1));
  expect((await peer.ask('GET', '/app.notes/quiet')).body.toString()).toBe('x');
});

test('large values and many records', async () => {
  using peer = new Peer();
  const large = Buffer.alloc(5_000_000, 'abcdefgh');
  expect((await peer.ask('PUT', '/large', large)).status).toBe(201);
  expect((await peer.ask('GET', '/large')).body.equals(large)).toBe(true);
  const records = Array.from({ length: 3000 }, (_, index) => ({
    db: 1,
    key: Buffer.from(`many-${String(index).padStart(5, '0')}`),
    value: Buffer.from(`v${index}`),
  }));
  peer.send(setBulk(records));
  expect((await peer.read(5)).readUInt32BE(1)).toBe(3000);
  const match = (await peer.ask('GET', '/rpc/match_prefix?DB=notes&prefix=many-')).body.toString();
  expect(match).toEndWith('num\t3000\n');
  const part = (await peer.ask('GET', '/rpc/match_prefix?DB=1&prefix=many-0001&max=5')).body.toString();
  expect(part).toBe('_many-00010\t0\n_many-00011\t1\n_many-00012\t2\n_many-00013\t3\n_many-00014\t4\nnum\t5\n');
}, 60_000);

test('increments of many connections at once lose nothing', async () => {
  const peers = Array.from({ length: 8 }, () => new Peer());
  await Promise.all(
    peers.map(async (peer) => {
      for (let round = 0; round < 10; round += 1) {
        const { status } = await peer.ask('GET', '/rpc/increment?key=counter&num=1');
        expect(status).toBe(200);
      }
    }),
  );
  const [peer] = peers as [Peer];
  expect((await peer.ask('GET', '/rpc/increment?key=counter&num=0')).body.toString()).toBe('num\t80\n');
  // A text cannot hold eight bytes: there it is digits.
  expect((await peer.ask('GET', '/rpc/increment?DB=1&key=counter&num=7')).body.toString()).toBe('num\t7\n');
  expect((await peer.ask('GET', '/notes/counter')).body.toString()).toBe('7');
  for (const one of peers) one[Symbol.dispose]();
}, 60_000);

test('signals wake those who wait', async () => {
  using waiter = new Peer();
  using other = new Peer();
  const waiting = waiter.ask('GET', '/rpc/get?key=signalled&WAIT=news&WAITTIME=60');
  await until('the signal finds the waiter', async () => {
    const { body } = await other.ask('GET', '/rpc/set?key=signalled&value=1&SIGNAL=news');
    return body.toString() === 'SIGNALED\t1\n';
  });
  expect((await waiting).body.toString()).toBe('value\t1\n');
  expect((await waiter.ask('GET', '/rpc/void?WAIT=never&WAITTIME=0.01')).status).toBe(503);
});

test('bad input is refused and harms nobody else', async () => {
  using good = new Peer();
  for (const [bytes, expected] of [
    ['GARBAGE\r\n\r\n', 'HTTP/1.1 400'],
    ['GET / HTTP/1.1\r\nnocolon\r\n\r\n', 'HTTP/1.1 400'],
    ['PUT /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n', 'HTTP/1.1 413'],
    ['PUT /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'HTTP/1.1 400'],
    [`GET /${'x'.repeat(20_000)}`, 'HTTP/1.1 431'],
    [Buffer.from([0xb1, 0, 0, 0, 0]), '\xbf'],
    [Buffer.from([0xb8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), '\xbf'],
    [Buffer.concat([Buffer.from([0xba, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]), uint32(0xffffffff)]), '\xbf'],
  ] as const) {
    using peer = new Peer();
    peer.send(bytes);
    expect((await peer.read(expected.length)).toString('latin1')).toBe(expected);
    await peer.ended();
  }
  const refused = await good.ask('PUT', '/notes/bytes', Buffer.from([0xff, 0xfe]));
  expect([refused.status, refused.headers.get('x-kt-error')]).toEqual([400, expect.stringContaining('bytea')]);
  expect((await good.ask('GET', '/rpc/set?DB=plain&key=a&value=b&xt=10')).status).toBe(400);
  expect((await good.ask('GET', '/wrong/1')).headers.get('x-kt-error')).toContain('primary key of one column');
  expect((await good.ask('GET', '/rpc/set?DB=plain&key=a&value=b')).status).toBe(200);
  const chunks = '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n';
  good.send(`PUT /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n`);
  expect((await good.read(25)).toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  good.send(chunks);
  expect((await good.answer()).status).toBe(201);
  expect((await good.ask('GET', '/chunked')).body.toString()).toBe('hello world');
});

test('a waiter that goes away is not woken, and no page of a browser is answered', async () => {
  using other = new Peer();
  {
    using waiter = new Peer();
    waiter.send('GET /rpc/set?key=ghost&value=1&WAIT=ghosts&WAITTIME=600 HTTP/1.1\r\n\r\n');
    await until('it waits', async () => {
      const { body } = await other.ask('GET', '/rpc/void?SIGNAL=none');
      return body.toString().startsWith('SIGNALED');
    });
  }
  await until('its wait has ended with it', async () => {
    const { body } = await other.ask('GET', '/rpc/void?SIGNAL=ghosts');
    return body.toString() === 'SIGNALED\t0\n';
  });
  expect((await other.ask('GET', '/ghost')).status).toBe(404);
  expect((await other.ask('GET', '/rpc/clear', Buffer.alloc(0), { Origin: 'http://evil.example' })).status).toBe(403);
  expect((await other.ask('GET', '/rpc/clear', Buffer.alloc(0), { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
  // Lines without a tab are no records, however many.
  const lines = Buffer.alloc(2_000_000, '\n');
  const type = { 'Content-Type': 'text/tab-separated-values' };
  expect((await other.ask('POST', '/rpc/set_bulk', lines, type)).body.toString()).toBe('num\t0\n');
});

test('without the core reads go on and writes say so', async () => {
  using peer = new Peer();
  expect((await peer.ask('PUT', '/stays', Buffer.from('here'))).status).toBe(201);
  await postgres.stop();
  expect((await peer.ask('GET', '/stays')).body.toString()).toBe('here');
  const refused = await peer.ask('PUT', '/stays', Buffer.from('no'));
  expect([refused.status, refused.headers.get('x-kt-error')]).toEqual([503, expect.stringContaining('not reachable')]);
  await postgres.restart();
  await until('writes go on', async () => (await peer.ask('PUT', '/stays', Buffer.from('yes'))).status === 201);
}, 60_000);
