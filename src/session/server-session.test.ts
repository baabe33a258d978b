// Server sessions against raw bytes: logins, hostile clients, limits. Frames come from the independent builder.

import { describe, expect, test } from 'bun:test';
import { EDGE_CERT, EDGE_KEY, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { waitFor } from '../../test/harness.ts';
import { sessionWorld } from '../../test/session-world.ts';
import { startToyServer, type ToyServer } from '../../test/toy-server.ts';
import * as frames from '../../test/wire-frames.ts';
import type { Fault } from '../base/fault.ts';
import { type BackendMessage, decodeBackend } from '../wire/backend.ts';
import { FrameReader } from '../wire/frame.ts';
import { ClientSession } from './client-session.ts';
import { parseConnectionString } from './connection-string.ts';
import { ScramClient } from './scram.ts';

const world = sessionWorld();
const TLS = { cert: SERVER_CERT, key: SERVER_KEY, ca: TEST_CA };

/** A client that sends what it is told and remembers what it got. */
class RawClient implements AsyncDisposable {
  readonly messages: BackendMessage[] = [];
  /** Of an unframed client only. */
  readonly bytes: number[] = [];
  byteCount = 0;
  closed = false;
  readonly #socket: Bun.Socket;
  readonly #reader = new FrameReader();

  static async connect(port: number, options: { readonly framed?: boolean } = {}): Promise<RawClient> {
    let client: RawClient | undefined;
    const socket = await Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: {
        data: (_socket, chunk) => client?.received(chunk, options.framed ?? true),
        close: () => {
          if (client !== undefined) client.closed = true;
        },
      },
    });
    client = new RawClient(socket);
    return client;
  }

  constructor(socket: Bun.Socket) {
    this.#socket = socket;
  }

  received(chunk: Buffer, framed: boolean): void {
    this.byteCount += chunk.length;
    if (!framed) {
      this.bytes.push(...chunk);
      return;
    }
    this.#reader.push(chunk);
    const reader = this.#reader;
    while (reader.next()) this.messages.push(decodeBackend(reader.type, reader.buffer, reader.start, reader.end));
  }

  /** How many of the bytes were taken. */
  send(bytes: Uint8Array): number {
    return this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  async message<T extends BackendMessage['tag']>(tag: T): Promise<BackendMessage & { tag: T }> {
    return await waitFor(tag, () => {
      const at = this.messages.findIndex((message) => message.tag === tag);
      return at === -1 ? null : (this.messages.splice(0, at + 1).at(-1) as BackendMessage & { tag: T });
    });
  }

  async error(): Promise<string> {
    const { fields } = await this.message('errorResponse');
    return `${fields.severity} ${fields.sqlstate}`;
  }

  async ended(): Promise<void> {
    await waitFor('the close', () => this.closed);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    return Promise.resolve();
  }
}

async function login(server: ToyServer, minor = 0): Promise<RawClient> {
  const client = await RawClient.connect(server.port);
  client.send(frames.startup({ user: 'alice' }, 3, minor));
  await client.message('readyForQuery');
  return client;
}

function connect(server: ToyServer, credentials: string, query: string, tls?: object): Promise<ClientSession> {
  const target = parseConnectionString(`postgres://${credentials}@localhost:${server.port}/db?${query}`);
  return ClientSession.connect(world, { target, ...(tls === undefined ? {} : { tls }) });
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'no fault',
    (error: Fault) => error.code,
  );

describe('login', () => {
  test('by password over every kind of TLS, and without', async () => {
    await using server = await startToyServer({ tls: TLS });
    for (const query of [
      'sslmode=disable',
      'sslmode=require',
      'sslmode=require&channel_binding=require',
      'sslmode=require&channel_binding=disable',
      'sslmode=require&sslnegotiation=direct',
      'sslmode=require&sslnegotiation=direct&channel_binding=require',
    ]) {
      await using session = await connect(server, 'alice:secret', query);
      expect((await session.query('select 1')).rows).toEqual([['select 1']]);
      expect(session.tls === null).toBe(query === 'sslmode=disable');
    }
    await using full = await connect(server, 'alice:secret', 'sslmode=verify-full', { ca: TEST_CA });
    expect((await full.query('select 2')).tag).toBe('SELECT 1');
  });

  test('INVARIANT_I11: a wrong password and an unknown user look the same', async () => {
    await using server = await startToyServer({ tls: TLS });
    expect(await codeOf(connect(server, 'alice:wrong', 'sslmode=require'))).toBe('password-wrong');
    expect(await codeOf(connect(server, 'mallory:wrong', 'sslmode=disable'))).toBe('password-wrong');
    const salts: string[] = [];
    for (const user of ['alice', 'alice', 'mallory', 'mallory', 'eve']) {
      await using client = await RawClient.connect(server.port);
      client.send(frames.startup({ user }));
      await client.message('authentication');
      client.send(frames.saslInitial('SCRAM-SHA-256', 'n,,n=,r=abc'));
      const { authentication } = await client.message('authentication');
      const text = authentication.method === 'saslContinue' ? Buffer.from(authentication.data).toString() : '';
      salts.push(/s=([^,]+),i=4096/.exec(text)?.[1] ?? '');
      client.send(frames.saslResponse(`c=biws,${text.split(',')[0]},p=${'A'.repeat(43)}=`));
      const { fields } = await client.message('errorResponse');
      expect(fields.message).toBe(`password authentication failed for user "${user}"`);
      await client.ended();
    }
    expect(salts[0]).toBe(salts[1] as string);
    expect(salts[2]).toBe(salts[3] as string);
    expect(new Set(salts).size).toBe(3);
    expect(salts.every((salt) => salt.length === 24)).toBe(true);
  });

  test('by a certificate of our CA that names the user', async () => {
    await using server = await startToyServer({ tls: TLS, acceptCertificates: true });
    const tls = { ca: TEST_CA, cert: EDGE_CERT, key: EDGE_KEY };
    await using session = await connect(server, 'edge-1', 'sslmode=verify-full', tls);
    expect((await session.query('select 1')).tag).toBe('SELECT 1');
    expect(await codeOf(connect(server, 'edge-2', 'sslmode=verify-full', tls))).toBe('login-refused');
    expect(await codeOf(connect(server, 'edge-1', 'sslmode=require'))).toBe('password-missing');
  });

  test('INVARIANT_I11: without a password only where the operator said so', async () => {
    await using closed = await startToyServer();
    expect(await codeOf(connect(closed, 'alice', 'sslmode=disable'))).toBe('password-missing');
    await using open = await startToyServer({ trustLoopback: true });
    await using session = await connect(open, 'anybody', 'sslmode=disable');
    expect((await session.query('select 1')).tag).toBe('SELECT 1');
  });

  test('TLS is refused politely when there is none', async () => {
    await using server = await startToyServer();
    expect(await codeOf(connect(server, 'alice:secret', 'sslmode=require'))).toBe('tls-refused');
    await using session = await connect(server, 'alice:secret', 'sslmode=prefer');
    expect(session.tls).toBeNull();
  });

  test('INVARIANT_I9: negotiates the protocol version and unknown options once, before authentication', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    const cases = [
      { minor: 0, options: {}, announced: null, keyBytes: 4 },
      { minor: 2, options: {}, announced: null, keyBytes: 32 },
      { minor: 1, options: {}, announced: 0x30000, keyBytes: 4 },
      { minor: 9999, options: { '_pq_.test': 'x' }, announced: 0x30002, keyBytes: 32 },
      { minor: 0, options: { '_pq_.a': '', '_pq_.b': '1' }, announced: 0x30000, keyBytes: 4 },
    ];
    for (const { minor, options, announced, keyBytes } of cases) {
      await using client = await RawClient.connect(server.port);
      client.send(frames.startup({ user: 'alice', ...options }, 3, minor));
      await waitFor('ReadyForQuery', () => client.messages.at(-1)?.tag === 'readyForQuery');
      const found = client.messages.filter((message) => message.tag === 'negotiateProtocolVersion');
      expect(found.map(({ version, unknownOptions }) => [version, unknownOptions])).toEqual(
        announced === null ? [] : [[announced, Object.keys(options)]],
      );
      if (announced !== null) expect(client.messages[0]?.tag).toBe('negotiateProtocolVersion');
      const key = client.messages.find((message) => message.tag === 'backendKeyData');
      expect(key?.tag === 'backendKeyData' && key.secretKey.length).toBe(keyBytes);
    }
  });

  test('reads database, settings and replication from the startup packet', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await RawClient.connect(server.port);
    client.send(
      frames.startup({
        user: 'alice',
        options: '-c DateStyle=ISO --work-mem=64kB -c search_path=a\\ b',
        replication: 'database',
        application_name: 'x',
      }),
    );
    await client.message('readyForQuery');
    const [session] = server.sessions;
    expect([session?.user, session?.database, session?.replication]).toEqual(['alice', 'alice', 'database']);
    expect(Object.fromEntries(session?.settings ?? [])).toEqual({
      DateStyle: 'ISO',
      work_mem: '64kB',
      search_path: 'a b',
      application_name: 'x',
    });
  });
});

describe('hostile clients', () => {
  test('INVARIANT_I10: garbage gets a protocol violation and a close', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    const cases: [string, Uint8Array, string][] = [
      ['an HTTP request', frames.join('GET / HTTP/1.1\r\n\r\n'), 'FATAL 08P01'],
      ['a negative length', frames.join(frames.i32(-1)), 'FATAL 08P01'],
      ['a length of 3', frames.join(frames.i32(3)), 'FATAL 08P01'],
      ['an empty packet', frames.packet(), 'FATAL 08P01'],
      ['a packet of 10,001 bytes', frames.join(frames.i32(10_001)), 'FATAL 08P01'],
      ['protocol 2', frames.startup({ user: 'a' }, 2, 0), 'FATAL 0A000'],
      ['no user', frames.startup({ database: 'a' }), 'FATAL 28000'],
      ['no terminator', frames.packet(frames.i32(196_608), frames.z('user'), frames.z('a')), 'FATAL 08P01'],
      ['a bad replication mode', frames.startup({ user: 'a', replication: 'maybe' }), 'FATAL 22023'],
    ];
    for (const [name, bytes, expected] of cases) {
      await using client = await RawClient.connect(server.port);
      client.send(bytes);
      expect([name, await client.error()]).toEqual([name, expected]);
      await client.ended();
    }
    expect(server.sessions.size).toBe(0);
  });

  test('bytes sent ahead of the TLS answer are refused (CVE-2021-23222)', async () => {
    await using server = await startToyServer({ trustLoopback: true, tls: TLS });
    for (const request of [frames.sslRequest(), frames.gssencRequest()]) {
      await using client = await RawClient.connect(server.port);
      client.send(frames.join(request, frames.startup({ user: 'alice' })));
      expect(await client.error()).toBe('FATAL 08P01');
      await client.ended();
    }
  });

  test('GSS encryption is declined, each request is allowed once', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await RawClient.connect(server.port, { framed: false });
    client.send(frames.gssencRequest());
    await waitFor('N', () => client.bytes.length === 1);
    client.send(frames.sslRequest());
    await waitFor('NN', () => client.bytes.length === 2);
    expect(Buffer.from(client.bytes).toString()).toBe('NN');
    client.send(frames.sslRequest());
    await client.ended();
    expect(Buffer.from(client.bytes).toString()).toContain('repeated TLS request');
  });

  test('a startup that trickles in is cut off by the login timeout, whatever its stage', async () => {
    await using server = await startToyServer({ loginTimeoutMs: 150 });
    const starts = [
      new Uint8Array(),
      frames.startup({ user: 'alice' }).subarray(0, 7),
      frames.startup({ user: 'alice' }),
    ];
    for (const start of starts) {
      await using client = await RawClient.connect(server.port);
      if (start.length > 0) client.send(start);
      expect(await client.error()).toBe('FATAL 08006');
      await client.ended();
    }
  });

  test('before authentication no frame may be large, and no flood is kept', async () => {
    await using server = await startToyServer();
    await using big = await RawClient.connect(server.port);
    big.send(frames.startup({ user: 'alice' }));
    await big.message('authentication');
    big.send(frames.join('p', frames.i32(70_000)));
    expect(await big.error()).toBe('FATAL 08P01');
    await big.ended();
    await using other = await RawClient.connect(server.port);
    other.send(frames.startup({ user: 'alice' }));
    await other.message('authentication');
    other.send(frames.query('select 1'));
    expect(await other.error()).toBe('FATAL 08P01');
  });

  test('SASL nonsense is refused', async () => {
    await using server = await startToyServer({ tls: TLS });
    const cases: [string, string | null, string][] = [
      ['PLAIN', 'x', 'FATAL 08P01'],
      ['SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=a', 'FATAL 08P01'],
      ['SCRAM-SHA-256', 'x', 'FATAL 28P01'],
      ['SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=a', 'FATAL 28P01'],
      ['SCRAM-SHA-256', 'n,a=bob,n=,r=a', 'FATAL 28P01'],
      ['SCRAM-SHA-256', 'n,,n=,r=', 'FATAL 28P01'],
      ['SCRAM-SHA-256', 'n,,m=x,n=,r=a', 'FATAL 28P01'],
    ];
    for (const [mechanism, data, expected] of cases) {
      await using client = await RawClient.connect(server.port);
      client.send(frames.startup({ user: 'alice' }));
      await client.message('authentication');
      client.send(frames.saslInitial(mechanism, data));
      expect([data, await client.error()]).toEqual([data, expected]);
    }
    await using silent = await RawClient.connect(server.port);
    silent.send(frames.startup({ user: 'alice' }));
    await silent.message('authentication');
    silent.send(frames.saslInitial('SCRAM-SHA-256', null));
    const { authentication } = await silent.message('authentication');
    expect(authentication).toMatchObject({ method: 'saslContinue', data: Buffer.alloc(0) });
    const scram = new ScramClient(world.crypto, {
      password: 'secret',
      binding: { kind: 'none' },
      nonce: Buffer.from('nonce'),
    });
    silent.send(frames.saslResponse(scram.first()));
    const challenge = (await silent.message('authentication')).authentication;
    const text = challenge.method === 'saslContinue' ? Buffer.from(challenge.data).toString() : '';
    silent.send(frames.saslResponse(await scram.respond(text)));
    await silent.message('readyForQuery');
  });

  test('a login split at every byte succeeds', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await RawClient.connect(server.port);
    const bytes = frames.join(frames.startup({ user: 'alice' }));
    for (const byte of bytes) {
      client.send(Uint8Array.of(byte));
      await Bun.sleep(0);
    }
    await client.message('readyForQuery');
    for (const byte of frames.join(frames.query('select 1'), frames.terminate())) {
      client.send(Uint8Array.of(byte));
      await Bun.sleep(0);
    }
    await client.message('commandComplete');
    await client.ended();
    expect(server.closed).toEqual([undefined]);
  });

  test('INVARIANT_I8: a client that asks and never reads stops being served, others go on', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using stalled = await login(server);
    stalled.pause();
    const request = frames.query(`select 'flood 1000'`);
    for (let index = 0; index < 40; index += 1) stalled.send(request);
    const [session] = server.sessions;
    await waitFor('congestion', () => (session?.queuedBytes ?? 0) > 0);
    const answered = server.frames.count;
    await using other = await login(server);
    other.send(frames.query('select 1'));
    await other.message('readyForQuery');
    expect(server.frames.count).toBe(answered + 1);
    expect(answered).toBeLessThan(25);
    expect(session?.queuedBytes).toBeLessThan(4 * 1024 * 1024);
    stalled.resume();
    const rows = (): number => stalled.messages.filter(({ tag }) => tag === 'dataRow').length;
    await waitFor('all rows', () => rows() === 40_000);
    expect(server.frames.count).toBe(41);
  });

  test('a client that leaves more unread than allowed is cut off', async () => {
    await using server = await startToyServer({ trustLoopback: true, queueBytesMax: 2_000_000 });
    await using stalled = await login(server);
    stalled.pause();
    stalled.send(frames.query(`select 'flood 20000'`));
    await waitFor('the cut', () => server.closed.length === 1);
    expect((server.closed[0] as Fault).code).toBe('client-stalled');
  });

  test('a frame of a hostile length ends the session with a reason', async () => {
    await using server = await startToyServer({ trustLoopback: true, frameBytesMax: 1_000_000 });
    for (const length of [0, 3, -5, 1_000_001, 0x7fffffff]) {
      await using client = await login(server);
      client.send(frames.join('Q', frames.i32(length)));
      expect(await client.error()).toBe('FATAL 08P01');
      await client.ended();
    }
    await using client = await login(server);
    client.send(frames.frame('Q', 'select 1 without a zero'));
    expect(await client.error()).toBe('FATAL 08P01');
  });
});

describe('a session that is open', () => {
  test('is cancelled by its key, and by nothing else', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    for (const minor of [0, 2]) {
      await using client = await RawClient.connect(server.port);
      client.send(frames.startup({ user: 'alice' }, 3, minor));
      const { processId, secretKey } = await client.message('backendKeyData');
      await client.message('readyForQuery');
      client.send(frames.query(`select 'sleep'`));
      await waitFor('the query', () => server.frames.count > 0);
      server.frames.count = 0;
      const wrong = Buffer.from(secretKey);
      wrong[0] = (wrong[0] as number) ^ 1;
      for (const [id, key] of [
        [processId, wrong],
        [processId, secretKey.subarray(0, 3)],
        [processId + 1, secretKey],
      ] as const) {
        await using canceller = await RawClient.connect(server.port);
        canceller.send(frames.cancelRequest(id, key));
        await canceller.ended();
      }
      expect(client.messages).toEqual([]);
      await using canceller = await RawClient.connect(server.port, { framed: false });
      canceller.send(frames.cancelRequest(processId, secretKey));
      await canceller.ended();
      expect(canceller.bytes).toEqual([]);
      expect(await client.error()).toBe('ERROR 57014');
      await client.message('readyForQuery');
    }
    await waitFor('released keys', () => server.cancels.size === 0);
  });

  test('holds back frames while its owner is busy', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await login(server);
    client.send(frames.join(frames.query(`select 'sleep'`), frames.query('select 2')));
    await waitFor('the query', () => server.frames.count === 1);
    const [session] = server.sessions;
    server.cancels.cancel(session?.key ?? { processId: 0, secretKey: new Uint8Array() });
    expect(await client.error()).toBe('ERROR 57014');
    await client.message('dataRow');
    expect(server.frames.count).toBe(2);
  });

  test('INVARIANT_I8: what is read of a client whose owner is busy has a bound; then the client waits', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await login(server);
    client.send(frames.query(`select 'sleep'`));
    await waitFor('the query', () => server.frames.count === 1);
    const more = frames.query(`select '${'x'.repeat(1024 * 1024)}'`);
    let taken = more.length;
    // Beyond the bound only the buffers of the kernel take something.
    for (let sent = 0; sent < 64 && taken === more.length; sent += 1) {
      taken = client.send(more);
      await Bun.sleep(1);
    }
    expect(taken).toBeLessThan(more.length);
    expect(server.frames.count).toBe(1);
  });

  test('a client that asks and leaves gets it done; its owner is told after that', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    const client = await login(server);
    client.send(frames.query(`select 'sleep'`));
    await waitFor('the query', () => server.frames.count === 1);
    client.end();
    await client.ended();
    const [session] = server.sessions;
    // An owner that waits for the client to read could not go on otherwise.
    await waitFor('its owner knows that there is room', () => server.frames.drains === 1);
    expect(server.closed).toEqual([]);
    server.cancels.cancel(session?.key ?? { processId: 0, secretKey: new Uint8Array() });
    await waitFor('the close', () => server.closed.length === 1);
  });

  test('ends with 57P01 at shutdown, after all that was queued', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    await using client = await login(server);
    client.send(frames.query(`select 'flood 5000'`));
    await waitFor('the query', () => server.frames.count === 1);
    for (const session of server.sessions) session.shutdown();
    expect(await client.error()).toBe('FATAL 57P01');
    await client.ended();
    expect(client.byteCount).toBeGreaterThan(5_000_000);
    expect(server.closed).toEqual([undefined]);
  });

  test('tells its owner once when the client vanishes', async () => {
    await using server = await startToyServer({ trustLoopback: true });
    const client = await login(server);
    await client[Symbol.asyncDispose]();
    await waitFor('the close', () => server.closed.length > 0);
    expect(server.closed.length).toBe(1);
    expect(server.cancels.size).toBe(0);
  });

  test('refuses connections above the maximum', async () => {
    await using server = await startToyServer({ trustLoopback: true, connectionsMax: 2 });
    await using first = await login(server);
    await using _second = await login(server);
    await using third = await RawClient.connect(server.port);
    await third.ended();
    await first[Symbol.asyncDispose]();
    await waitFor('a free place', () => server.sessions.size === 1);
    await using fourth = await login(server);
    expect(fourth.closed).toBe(false);
  });
});
