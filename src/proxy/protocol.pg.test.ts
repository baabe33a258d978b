// Conversations by hand, frame by frame: whatever a client may say, the answers through the proxy are the server's own, in
// every pool mode and however the bytes are cut.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startProxy, type TestProxy } from '../../test/proxy.ts';
import { query, RawPeer, startup } from '../../test/raw-peer.ts';
import {
  cancelRequest,
  counted,
  frame,
  gssencRequest,
  i16,
  i32,
  join,
  packet,
  sslRequest,
  z,
} from '../../test/wire-frames.ts';

const parse = (name: string, sql: string, ...types: number[]): Uint8Array =>
  frame('P', z(name), z(sql), i16(types.length), ...types.map(i32));
const bind = (name: string, portal = '', ...values: (string | null)[]): Uint8Array =>
  frame('B', z(portal), z(name), i16(0), i16(values.length), ...values.map(counted), i16(0));
const describeStatement = (name: string): Uint8Array => frame('D', 'S', z(name));
const describePortal = (name = ''): Uint8Array => frame('D', 'P', z(name));
const execute = (portal = '', rows = 0): Uint8Array => frame('E', z(portal), i32(rows));
const close = (name: string): Uint8Array => frame('C', 'S', z(name));
const sync = frame('S');
const flush = frame('H');
const copyData = (text: string): Uint8Array => frame('d', text);
const copyDone = frame('c');
const copyFail = frame('f', z('no more'));

/** A step: what is sent, then the types of the last frames to wait for. */
type Script = readonly (readonly [send: Uint8Array | Uint8Array[], until: string])[];

const SCRIPTS: Readonly<Record<string, Script>> = {
  'several statements in one query': [
    [query('select 1; select 2 where false; create temp table x (a int); drop table x'), 'Z'],
  ],
  'empty query': [
    [query(''), 'Z'],
    [query(' ; ;'), 'Z'],
  ],
  'error in the middle of several statements': [
    [query('select 1; select 1/0; select 2'), 'Z'],
    [query('select 3'), 'Z'],
  ],
  'a transaction with an error': [
    [query('begin'), 'Z'],
    [query('select 1/0'), 'Z'],
    [query('select 1'), 'Z'],
    [[parse('', 'select 2'), bind(''), execute(), sync], 'Z'],
    [query('rollback'), 'Z'],
  ],
  'extended query, all at once': [
    [[parse('', 'select $1::int + 1', 23), bind('', '', '41'), describePortal(), execute(), sync], 'Z'],
  ],
  'pipeline of three segments, the middle one fails': [
    [
      [
        parse('', 'select 1'),
        bind(''),
        execute(),
        sync,
        parse('', 'select 1/0'),
        bind(''),
        execute(),
        parse('lost', 'select 5'),
        close('lost'),
        sync,
        parse('', 'select 3'),
        bind(''),
        execute(),
        sync,
      ],
      'ZZZ',
    ],
  ],
  'a statement prepared behind an error does not exist': [
    [[parse('', 'syntax error here'), parse('later', 'select 1'), sync], 'Z'],
    [[bind('later'), execute(), sync], 'Z'],
  ],
  'a statement closed behind an error still exists': [
    [[parse('kept', 'select 6'), sync], 'Z'],
    [[parse('', 'select 1/0'), bind(''), execute(), close('kept'), sync], 'Z'],
    [[bind('kept'), execute(), close('kept'), sync], 'Z'],
  ],
  'Parse, Describe and Flush, then the rest': [
    [[parse('', 'select $1::text', 25), describeStatement(''), flush], 'T'],
    [[bind('', '', 'hello'), execute(), sync], 'Z'],
  ],
  'named statement described and executed in later segments': [
    [[parse('st', 'select $1::int * 2', 23), describeStatement('st'), sync], 'Z'],
    [[bind('st', '', '21'), execute(), sync], 'Z'],
    [[bind('st', '', null), execute(), sync], 'Z'],
    [[close('st'), sync], 'Z'],
    [[bind('st', '', '1'), execute(), sync], 'Z'],
  ],
  'the unnamed statement survives Sync and dies with a simple query': [
    [[parse('', 'select 11'), sync], 'Z'],
    [[bind(''), execute(), sync], 'Z'],
    [[bind(''), execute(), sync], 'Z'],
    [query('select 1'), 'Z'],
    [[bind(''), execute(), sync], 'Z'],
  ],
  'a name used twice': [
    [[parse('twice', 'select 1'), sync], 'Z'],
    [[parse('twice', 'select 2'), parse('behind', 'select 3'), sync], 'Z'],
    [[bind('twice'), execute(), sync], 'Z'],
    [[parse('twice', 'select 2'), sync], 'Z'],
    [[close('twice'), close('never'), sync], 'Z'],
    [[parse('twice', 'select 4'), bind('twice'), execute(), sync], 'Z'],
    [[close('twice'), sync], 'Z'],
  ],
  'unknown names': [
    [[bind('nobody'), sync], 'Z'],
    [[describeStatement('nobody'), sync], 'Z'],
    [[execute('noportal'), sync], 'Z'],
    [[close('nobody'), sync], 'Z'],
  ],
  'a portal read in pieces inside a transaction': [
    [query('begin'), 'Z'],
    [[parse('', 'select generate_series(1, 5)'), bind('', 'p'), execute('p', 2), sync], 'Z'],
    [[execute('p', 2), sync], 'Z'],
    [[execute('p', 2), sync], 'Z'],
    [query('commit'), 'Z'],
  ],
  'a portal ends with its implicit transaction': [
    [[parse('', 'select generate_series(1, 5)'), bind('', 'p'), execute('p', 2), sync], 'Z'],
    [[execute('p', 2), sync], 'Z'],
  ],
  'statements in a failed transaction': [
    [query('begin'), 'Z'],
    [[parse('inside', 'select 8'), bind('inside'), execute(), sync], 'Z'],
    [query('select 1/0'), 'Z'],
    [[bind('inside'), execute(), sync], 'Z'],
    [[parse('', 'rollback'), bind(''), execute(), sync], 'Z'],
    [[bind('inside'), execute(), close('inside'), sync], 'Z'],
  ],
  'copy in': [
    [query('copy raw_copy from stdin'), 'G'],
    [[copyData('1\tone\n'), copyData('2\ttwo\n'), copyDone], 'Z'],
    [query('copy raw_copy to stdout'), 'Z'],
    [query('truncate raw_copy'), 'Z'],
  ],
  'copy in that the client gives up': [
    [query('copy raw_copy from stdin'), 'G'],
    [[copyData('1\tone\n'), copyFail], 'Z'],
    [query('select 1'), 'Z'],
  ],
  'copy in that fails while the client goes on sending': [
    [query('copy raw_copy from stdin'), 'G'],
    [[copyData('bad\n')], 'Z'],
    [[copyData('more\n'), copyData('more\n'), copyDone, query('select 12')], 'Z'],
  ],
  'copy in by extended messages, with the Sync that libpq sends ahead': [
    [[parse('', 'copy raw_copy from stdin'), bind(''), describePortal(), execute(), sync], 'G'],
    [[copyData('3\tthree\n'), copyDone, sync], 'Z'],
    [query('select count(*) from raw_copy'), 'Z'],
    [query('truncate raw_copy'), 'Z'],
  ],
  'copy by extended messages that fails to start': [
    [[parse('', 'copy nowhere from stdin'), bind(''), execute(), sync], 'Z'],
    [query('select 1'), 'Z'],
  ],
  'two copies in one query': [
    [query('copy raw_copy from stdin; copy raw_copy from stdin; select 9'), 'G'],
    [[copyData('1\ta\n'), copyDone], 'G'],
    [[copyData('2\tb\n'), copyDone], 'Z'],
    [query('truncate raw_copy'), 'Z'],
  ],
  'copy messages outside a copy are ignored': [[[copyData('x'), copyDone, copyFail, query('select 13')], 'Z']],
  'function call': [
    [frame('F', i32(1598), i16(0), i16(0), i16(0)).subarray(0, 0), ''],
    // 1317 = length(text)
    [frame('F', i32(1317), i16(0), i16(1), counted('four'), i16(0)), 'Z'],
    [frame('F', i32(99_999_999), i16(0), i16(0), i16(0)), 'Z'],
    [query('select 1'), 'Z'],
  ],
  'notices and settings': [
    [query(`do $$ begin raise notice 'hello'; end $$`), 'Z'],
    [query(`set timezone = 'Asia/Tokyo'; show timezone; reset timezone`), 'Z'],
  ],
  'Sync alone, Flush alone': [
    [sync, 'Z'],
    [[flush, sync, sync], 'ZZ'],
  ],
  'a query behind an error without its Sync is skipped': [
    [[parse('', 'select 1/0'), bind(''), execute(), query('select 14'), sync], 'Z'],
    [query('select 15'), 'Z'],
  ],
  'SQL PREPARE and protocol names are one name space': [
    [query('prepare sqlname as select 16'), 'Z'],
    [[bind('sqlname'), execute(), sync], 'Z'],
    [[describeStatement('sqlname'), sync], 'Z'],
    [[parse('protoname', 'select 17'), sync], 'Z'],
    [query('execute protoname'), 'Z'],
    [query('deallocate protoname'), 'Z'],
    [[bind('protoname'), execute(), sync], 'Z'],
    [query('deallocate sqlname'), 'Z'],
  ],
  // The server is asked what an EXECUTE has changed; the next statement does not wait for that.
  'DEALLOCATE close behind what it is about': [
    [
      [
        parse('mine', 'select 18'),
        sync,
        query('execute mine'),
        query('deallocate mine'),
        bind('mine'),
        execute(),
        sync,
      ],
      'ZZZZ',
    ],
  ],
  'DEALLOCATE by extended messages': [
    [[parse('mine', 'select 18'), sync], 'Z'],
    [[parse('', 'deallocate mine'), bind(''), execute(), sync], 'Z'],
    [[bind('mine'), execute(), sync], 'Z'],
  ],
  'error position of a long statement': [[query(`select ${'1 + '.repeat(50)} nope`), 'Z']],
};

const LOGIN = { user: 'postgres', database: 'postgres' };

/** Runs a script and gives what came back, as text; ParameterStatus left out, since a proxy may say more of it. */
async function answers(port: number, script: Script, pieces: number): Promise<string[]> {
  using peer = await RawPeer.login(port, LOGIN);
  const before = peer.frames().length;
  let seen = before;
  for (const [send, until] of script) {
    const bytes = Array.isArray(send) ? join(...send) : send;
    if (pieces === 0) peer.send(bytes);
    else {
      for (let at = 0; at < bytes.length; at += pieces) {
        peer.send(bytes.subarray(at, at + pieces));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    if (until === '') continue;
    const from = seen;
    await waitFor(`${until} after ${Buffer.from(bytes).toString('latin1')}`, () => {
      const types = peer
        .frames()
        .slice(from)
        .map((one) => one.type)
        .join('');
      const count = until.length;
      return types.split(until[0] as string).length - 1 >= count && types.endsWith(until.at(-1) as string);
    });
    seen = peer.frames().length;
  }
  return peer
    .frames()
    .slice(before)
    .filter((one) => one.type !== 'S')
    .map((one) => `${one.type} ${one.body.toString('latin1').replaceAll('\0', '·')}`);
}

describe('the answers are the server’s own', () => {
  let postgres: TestPostgres;
  let modes: { name: string; proxy: TestProxy }[];
  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql('create table raw_copy (a int, b text)');
    modes = [
      { name: 'transaction', proxy: await startProxy(postgres, { poolSize: 2 }) },
      { name: 'session', proxy: await startProxy(postgres, { poolMode: 'session', poolSize: 5 }) },
    ];
  });
  afterAll(async () => {
    for (const { proxy } of modes) await proxy[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  for (const [name, script] of Object.entries(SCRIPTS)) {
    test(name, async () => {
      const expected = await answers(postgres.port, script, 0);
      for (const { name: mode, proxy } of modes) {
        for (const pieces of [0, 1, 7]) {
          expect({ mode, pieces, answers: await answers(proxy.port, script, pieces) }).toEqual({
            mode,
            pieces,
            answers: expected,
          });
        }
      }
    });
  }

  test('after all that no server connection is stuck', async () => {
    const { proxy } = modes[0] as { proxy: TestProxy };
    for (const pool of proxy.proxy.pools.values()) {
      await waitFor('all idle', () => pool.idle.length === pool.servers.size && pool.recovering.size === 0);
    }
  });
});

describe('large and slow', () => {
  let postgres: TestPostgres;
  let proxy: TestProxy;
  beforeAll(async () => {
    postgres = await startPostgres();
    proxy = await startProxy(postgres, { poolSize: 2 });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  test('a parameter of 64 MB goes through in a stream', async () => {
    using peer = await RawPeer.login(proxy.port, LOGIN);
    const big = Buffer.alloc(64 * 1024 * 1024, 'x');
    peer.send(parse('', 'select length($1::text)', 25));
    const head = join(z(''), z(''), i16(0), i16(1), i32(big.length));
    const bindHead = join('B', i32(4 + head.length + big.length + 2), head);
    const before = process.memoryUsage.rss();
    peer.send(bindHead);
    peer.send(big);
    peer.send(join(i16(0), execute(), sync));
    await waitFor('an answer', () => peer.frames().filter((one) => one.type === 'Z').length === 2, 60_000);
    expect(
      peer
        .frames()
        .find((one) => one.type === 'D')
        ?.body.toString('latin1'),
    ).toContain(String(big.length));
    // Twice the message would mean that somebody has collected it.
    expect(process.memoryUsage.rss() - before).toBeLessThan(3 * big.length);
  });

  test('a client that does not read makes the server wait, not the proxy’s memory grow; others go on', async () => {
    using slow = await RawPeer.login(proxy.port, LOGIN);
    slow.stopReading();
    slow.send(query(`select repeat('x', 1000) from generate_series(1, 100000)`));
    await waitFor('the server is paused', () => {
      const client = [...proxy.proxy.clients].find((one) => one.server !== null);
      return (client?.connection.queuedBytes ?? 0) > 256 * 1024;
    });
    using other = await RawPeer.login(proxy.port, LOGIN);
    other.send(query('select 1'));
    await waitFor('the other is served', () => other.frames().filter((one) => one.type === 'Z').length === 2);
    const client = [...proxy.proxy.clients].find((one) => one.server !== null);
    expect(client?.connection.queuedBytes ?? 0).toBeLessThan(8 * 1024 * 1024);
  });

  test('what nobody asked for never comes into the middle of a row', async () => {
    // The first answer is large, while the proxy still tells of the changed application_name and notifications come in.
    using listener = await RawPeer.login(proxy.port, { ...LOGIN, application_name: 'some name' });
    listener.send(query('listen busy'));
    await waitFor('it listens', () => listener.frames().filter((one) => one.type === 'Z').length === 2);
    for (let turn = 0; turn < 3; turn += 1) {
      using peer = await RawPeer.login(proxy.port, { ...LOGIN, application_name: `name ${turn}` });
      peer.send(query(`select repeat('z', 100000) from generate_series(1, 20)`));
      listener.send(query(`select repeat('z', 100000) from generate_series(1, 20)`));
      for (let count = 0; count < 5; count += 1) await postgres.sql(`notify busy, '${turn}-${count}'`);
      await waitFor(
        'all rows',
        () => peer.frames().at(-1)?.type === 'Z' && peer.frames().filter((one) => one.type === 'D').length === 20,
        60_000,
      );
      await waitFor(
        'all notifications',
        () => listener.frames().filter((one) => one.type === 'A').length === (turn + 1) * 5,
        60_000,
      );
    }
    await waitFor('all rows', () => listener.frames().filter((one) => one.type === 'D').length === 60, 60_000);
    for (const one of listener.frames()) expect('RSKZTDCA').toContain(one.type);
  });

  test('a name told at the login is not told again with the first answer', async () => {
    await using pooled = await startProxy(postgres, { poolSize: 1 });
    for (const application_name of ['one', 'two']) {
      using peer = await RawPeer.login(pooled.port, { ...LOGIN, application_name });
      peer.send(query('select 1'));
      await waitFor('the answer', () => peer.frames().filter((one) => one.type === 'Z').length === 2);
      const names = peer
        .frames()
        .filter((one) => one.type === 'S' && one.body.toString().startsWith('application_name'));
      expect(names.map((one) => one.body.toString())).toEqual([`application_name\0${application_name}\0`]);
    }
  });

  test('a pipeline larger than all buffers does not block for ever', async () => {
    using peer = await RawPeer.login(proxy.port, LOGIN);
    const one = join(parse('', `select repeat('y', 2000)`), bind(''), execute(), sync);
    const many = Buffer.concat(Array.from({ length: 5000 }, () => one));
    peer.send(many);
    await waitFor('all answers', () => peer.frames().filter((frameOf) => frameOf.type === 'Z').length === 5001, 60_000);
  });
});

describe('hostile peers', () => {
  let postgres: TestPostgres;
  let proxy: TestProxy;
  beforeAll(async () => {
    postgres = await startPostgres();
    proxy = await startProxy(postgres, { poolSize: 2, clientLoginTimeoutMs: 500 });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await postgres[Symbol.asyncDispose]();
  });

  const served = async (): Promise<void> => {
    using peer = await RawPeer.login(proxy.port, LOGIN);
    peer.send(query('select 1'));
    await waitFor('others are served', () => peer.frames().filter((one) => one.type === 'Z').length === 2);
  };

  test.each([
    ['a length that is too small', join(i32(3), i32(196_608))],
    ['a length that is too large', join(i32(100_000), i32(196_608))],
    ['protocol 2', packet(i32(131_072), z('user'), z('x'), [0])],
    ['no user', startup({ database: 'postgres' })],
    ['no terminator', packet(i32(196_608), z('user'))],
    ['two requests for TLS', join(sslRequest(), sslRequest())],
    ['clear text behind a request for TLS', join(sslRequest(), startup(LOGIN))],
    ['clear text behind a request for GSS', join(gssencRequest(), startup(LOGIN))],
    ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a cancel request with an unknown key', cancelRequest(1, Uint8Array.of(1, 2, 3, 4))],
    ['a cancel request with a key that is too short', packet(i32(80_877_102), i32(1), [1, 2])],
    ['silence', new Uint8Array()],
  ])('startup with %s ends that connection alone', async (_name, bytes) => {
    using peer = await RawPeer.open(proxy.port);
    peer.send(bytes);
    await waitFor('it is closed', () => peer.closed, 10_000);
    await served();
  });

  test.each([
    ['a frame shorter than its length', join('Q', i32(3))],
    ['a frame longer than the protocol allows', join('Q', i32(0x7fffffff))],
    ['an unknown type', frame('m', 'x')],
    ['a Parse without an end', frame('P', 'abc')],
    ['a Bind without names', frame('B', 'abc')],
    ['a Describe of nothing', frame('D')],
    ['a Sync with a body', frame('S', 'x')],
    ['a password nobody asked for', frame('p', z('secret'))],
    ['a Bind with an endless name', join('B', i32(1_000_000), z(''), Buffer.alloc(20_000, 'n'))],
  ])('%s ends that connection alone', async (_name, bytes) => {
    using peer = await RawPeer.login(proxy.port, LOGIN);
    peer.send(bytes);
    await waitFor('it is closed', () => peer.closed, 10_000);
    expect(peer.errors().at(-1)?.['C']).toBe('08P01');
    await served();
  });

  test('the protocol version 3.9999 and unknown options are negotiated once', async () => {
    using peer = await RawPeer.open(proxy.port);
    peer.send(startup({ ...LOGIN, '_pq_.test_protocol_negotiation': '' }, (3 << 16) | 9999));
    await waitFor('it is in', () => peer.frames().some((one) => one.type === 'Z'));
    const announced = peer.frames().filter((one) => one.type === 'v');
    expect(announced).toHaveLength(1);
    expect(announced[0]?.body.toString('latin1')).toContain('_pq_.test_protocol_negotiation');
    // Protocol 3.2 has keys of 32 bytes.
    expect(peer.frames().find((one) => one.type === 'K')?.body.length).toBe(36);
  });

  test('names longer than Postgres keeps are the client’s own, as on a direct connection', async () => {
    using peer = await RawPeer.login(proxy.port, LOGIN);
    const long = 'n'.repeat(5_000);
    peer.send(join(parse(long, 'select 1'), bind(long), execute(), sync, bind(`${long}m`), sync));
    await waitFor('both answers', () => peer.frames().filter((one) => one.type === 'Z').length === 3);
    expect(
      peer
        .frames()
        .slice(-7)
        .map((one) => one.type)
        .join(''),
    ).toBe('12DCZEZ');
    expect(peer.errors().at(-1)?.['C']).toBe('26000');
    using stranger = await RawPeer.open(proxy.port);
    stranger.send(startup({ user: 'postgres', database: 'd'.repeat(9_000) }));
    await waitFor('it is refused', () => stranger.closed, 10_000);
    expect(stranger.errors().at(-1)?.['C']).toBe('3D000');
    await served();
  });

  test('a client that leaves in the middle of a message costs that server connection and nothing else', async () => {
    {
      using peer = await RawPeer.login(proxy.port, LOGIN);
      peer.send(join('Q', i32(3_000_000), 'select 1 -- and then nothing'));
      await waitFor('it is on its way', () => [...proxy.proxy.clients].some((one) => one.server !== null));
    }
    await served();
  });
});
