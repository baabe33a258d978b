// Sockets on this machine: what Bun leaves to its user must be done here.

import { describe, expect, test } from 'bun:test';
import { connect as nodeConnect } from 'node:net';
import { EDGE_CERT, EDGE_KEY, OTHER_CA, SERVER_CERT, SERVER_KEY, TEST_CA } from '../../test/certificates.ts';
import { temporaryFolder, waitFor } from '../../test/harness.ts';
import { Fault } from '../base/fault.ts';
import type { Connection, ConnectionHandler, Listener, TlsClientOptions, TlsFacts } from '../base/net.ts';
import { createNet } from './net.ts';

const net = createNet();
const BIG = Buffer.alloc(
  8 * 1024 * 1024,
  Uint8Array.from({ length: 251 }, (_, index) => index),
);

class Peer implements ConnectionHandler {
  received = 0;
  matches = true;
  drains = 0;
  closes: (Error | undefined)[] = [];
  text = '';

  data(chunk: Uint8Array): void {
    if (this.received + chunk.length <= BIG.length) {
      this.matches &&= BIG.compare(chunk, 0, chunk.length, this.received, this.received + chunk.length) === 0;
    }
    this.received += chunk.length;
    if (this.text.length < 1000) this.text += Buffer.from(chunk).toString('latin1');
  }

  drain(): void {
    this.drains += 1;
  }

  close(error?: Error): void {
    this.closes.push(error);
  }
}

interface Pair extends AsyncDisposable {
  readonly client: Connection;
  readonly clientPeer: Peer;
  readonly server: Connection;
  readonly serverPeer: Peer;
  readonly listener: Listener;
}

async function pair(host = '127.0.0.1', port = 0): Promise<Pair> {
  const serverPeer = new Peer();
  const clientPeer = new Peer();
  const accepted: Connection[] = [];
  const listener = await net.listen({
    host,
    port,
    accept: (connection) => {
      connection.handler = serverPeer;
      accepted.push(connection);
    },
  });
  const client = await net.connect({ host, port: listener.port, timeoutMs: 2000, handler: clientPeer });
  const server = await waitFor('the accepted connection', () => accepted[0]);
  return {
    client,
    clientPeer,
    server,
    serverPeer,
    listener,
    [Symbol.asyncDispose]: () => {
      client.destroy();
      server.destroy();
      listener.stop();
      return Promise.resolve();
    },
  };
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'no fault',
    (error: unknown) => (error instanceof Fault ? error.code : String(error)),
  );

describe('a connection', () => {
  test('loses no byte when the peer is slow, in either direction, and says when it has drained', async () => {
    await using both = await pair();
    both.server.pause();
    expect(both.client.write(BIG)).toBe(false);
    expect(both.client.queuedBytes).toBeGreaterThan(0);
    expect(both.serverPeer.received).toBe(0);
    both.server.resume();
    await waitFor('all bytes', () => both.serverPeer.received === BIG.length);
    expect([both.serverPeer.matches, both.client.queuedBytes, both.clientPeer.drains]).toEqual([true, 0, 1]);
    both.server.write(BIG);
    await waitFor('all bytes back', () => both.clientPeer.received === BIG.length);
    expect(both.clientPeer.matches).toBe(true);
  });

  test('keeps the order of many small writes behind a full queue', async () => {
    await using both = await pair();
    both.server.pause();
    for (let at = 0; at < BIG.length; at += 1009) both.client.write(BIG.subarray(at, at + 1009));
    expect(both.client.queuedBytes).toBeGreaterThan(1_000_000);
    both.server.resume();
    await waitFor('all bytes', () => both.serverPeer.received === BIG.length);
    expect(both.serverPeer.matches).toBe(true);
  });

  test('ends only after everything queued has gone', async () => {
    await using both = await pair();
    both.server.pause();
    both.client.write(BIG);
    both.client.end();
    expect(both.client.write(BIG)).toBe(false);
    both.server.resume();
    await waitFor('the close', () => both.serverPeer.closes.length === 1);
    expect([both.serverPeer.received, both.serverPeer.matches]).toEqual([BIG.length, true]);
    await waitFor('our close', () => both.clientPeer.closes.length === 1);
    expect(both.serverPeer.closes).toEqual([undefined]);
  });

  test('gets its last words through to a peer that is still sending', async () => {
    await using both = await pair();
    both.server.pause();
    both.client.write(BIG);
    both.server.write(Buffer.from('last words'));
    both.server.end();
    await waitFor('both closes', () => both.clientPeer.closes.length === 1 && both.serverPeer.closes.length === 1);
    expect([both.clientPeer.text, both.clientPeer.closes]).toEqual(['last words', [undefined]]);
    expect(both.serverPeer.received).toBe(0);
  });

  test('delivers nothing while paused, not even what had already arrived', async () => {
    await using both = await pair();
    const chunks: number[] = [];
    both.server.handler = {
      data: (chunk) => {
        chunks.push(chunk.length);
        both.server.pause();
      },
      close: () => {},
    };
    both.client.write(BIG);
    let seen = 0;
    while (chunks.reduce((sum, length) => sum + length, 0) < BIG.length) {
      await waitFor('one chunk', () => chunks.length === seen + 1);
      await Bun.sleep(0);
      expect(chunks.length).toBe(seen + 1);
      seen += 1;
      both.server.resume();
    }
    expect(seen).toBeGreaterThan(1);
  });

  test('reports its close exactly once, later than the call that caused it', async () => {
    await using both = await pair();
    const reason = new Error('enough');
    both.client.destroy(reason);
    expect(both.client.closed).toBe(true);
    expect(both.clientPeer.closes).toEqual([]);
    both.client.destroy();
    both.client.end();
    expect(both.client.write(BIG)).toBe(true);
    await waitFor('both closes', () => both.clientPeer.closes.length === 1 && both.serverPeer.closes.length === 1);
    expect(both.clientPeer.closes).toEqual([reason]);
  });

  test('through a unix socket is local', async () => {
    using folder = temporaryFolder();
    await using both = await pair(folder.path, 5432);
    both.client.write(Buffer.from('hello'));
    await waitFor('the bytes', () => both.serverPeer.text === 'hello');
    expect([both.server.isLoopback, both.server.remoteAddress, both.client.isLoopback]).toEqual([true, 'unix', true]);
    expect(await codeOf(net.connect({ host: folder.path, port: 1, timeoutMs: 500, handler: new Peer() }))).toBe(
      'connect-failed',
    );
  });
});

describe('TLS', () => {
  const server = { cert: SERVER_CERT, key: SERVER_KEY, ca: TEST_CA };
  const client = (options: Partial<TlsClientOptions> = {}): TlsClientOptions => ({
    serverName: 'localhost',
    verify: 'none',
    ...options,
  });

  /** Both halves of a handshake; null where it failed. */
  async function handshake(both: Pair, options: TlsClientOptions): Promise<[TlsFacts | null, TlsFacts | null]> {
    return await Promise.all([
      both.client.startTlsClient(options).catch(() => null),
      both.server.startTlsServer(server).catch(() => null),
    ]);
  }

  test('carries large writes without loss, and ends in order', async () => {
    await using both = await pair();
    const [facts] = await handshake(both, client());
    expect(facts).toMatchObject({ protocol: 'TLSv1.3', alpn: 'postgresql', peerName: 'localhost' });
    both.server.pause();
    expect(both.client.write(BIG)).toBe(false);
    both.client.end();
    both.server.resume();
    await waitFor('the close', () => both.serverPeer.closes.length === 1);
    expect([both.serverPeer.received, both.serverPeer.matches]).toEqual([BIG.length, true]);
  });

  test('trusts exactly what it is told to trust', async () => {
    const cases: [Partial<TlsClientOptions>, boolean][] = [
      [{ verify: 'none' }, true],
      [{ verify: 'none', ca: OTHER_CA }, true],
      [{ verify: 'ca', ca: TEST_CA, serverName: 'elsewhere.example' }, true],
      [{ verify: 'full', ca: TEST_CA }, true],
      [{ verify: 'full', ca: TEST_CA, serverName: '127.0.0.1' }, true],
      [{ verify: 'full', ca: TEST_CA, serverName: '127.0.0.2' }, false],
      [{ verify: 'full', ca: TEST_CA, serverName: 'elsewhere.example' }, false],
      [{ verify: 'full' }, false],
      [{ verify: 'ca', ca: OTHER_CA }, false],
      [{ verify: 'ca', ca: OTHER_CA, serverName: 'elsewhere.example' }, false],
      [{ verify: 'ca', serverName: 'elsewhere.example' }, false],
    ];
    for (const [options, trusted] of cases) {
      await using both = await pair();
      const [facts] = await handshake(both, client(options));
      expect([options, facts !== null]).toEqual([options, trusted]);
    }
  });

  test('tells the server who the client is, if our CA says so', async () => {
    await using known = await pair();
    const [, facts] = await handshake(known, client({ cert: EDGE_CERT, key: EDGE_KEY }));
    expect(facts).toMatchObject({ authorized: true, peerName: 'edge-1' });
    await using unknown = await pair();
    const [, nobody] = await handshake(unknown, client());
    expect(nobody).toMatchObject({ authorized: false, peerName: null, peerCertificate: null });
    await using wrong = await pair();
    const other = { cert: SERVER_CERT, key: SERVER_KEY, ca: OTHER_CA };
    const [, rogue] = await Promise.all([
      wrong.client.startTlsClient(client({ cert: EDGE_CERT, key: EDGE_KEY })).catch(() => null),
      wrong.server.startTlsServer(other).catch(() => null),
    ]);
    expect(rogue?.authorized ?? false).toBe(false);
  });

  test('takes a ClientHello that was already read', async () => {
    await using both = await pair();
    const facts: (TlsFacts | null)[] = [];
    both.server.handler = {
      data: (chunk) => {
        both.server.handler = both.serverPeer;
        both.server.startTlsServer(server, chunk).then(
          (done) => facts.push(done),
          () => facts.push(null),
        );
      },
      close: () => {},
    };
    await both.client.startTlsClient(client({ verify: 'full', ca: TEST_CA }));
    both.client.write(Buffer.from('hello'));
    await waitFor('the bytes', () => both.serverPeer.text === 'hello');
    expect(facts[0]?.alpn).toBe('postgresql');
  });

  test('with a peer that speaks something else fails, and closes', async () => {
    await using both = await pair();
    const handshakes = both.server.startTlsServer(server);
    both.client.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    expect(await codeOf(handshakes)).toBe('tls-failed');
    await waitFor('the close', () => both.clientPeer.closes.length === 1);
    await using cut = await pair();
    const other = cut.client.startTlsClient(client());
    cut.server.destroy();
    expect(await codeOf(other)).toBe('tls-failed');
    expect(await codeOf(cut.client.startTlsClient(client()))).toBe('tls-failed');
  });
});

describe('listening and connecting', () => {
  test('a port that is taken, an address that is not ours, a server that is not there', async () => {
    await using both = await pair();
    const accept = (): void => {};
    expect(await codeOf(net.listen({ host: '127.0.0.1', port: both.listener.port, accept }))).toBe('port-taken');
    expect(await codeOf(net.listen({ host: '203.0.113.1', port: 0, accept }))).toBe('address-refused');
    both.listener.stop();
    const handler = new Peer();
    const connect = (host: string, port: number): Promise<string> =>
      codeOf(net.connect({ host, port, timeoutMs: 300, handler }));
    expect(await connect('127.0.0.1', both.listener.port)).toBe('connect-failed');
    expect(await connect('no-such-host.invalid', 5432)).toBe('connect-failed');
  });

  test('above the maximum a connection hears why and is closed', async () => {
    const accepted: Connection[] = [];
    await using listener = await net.listen({
      host: '127.0.0.1',
      port: 0,
      connectionsMax: 2,
      accept: (connection) => {
        connection.handler = new Peer();
        accepted.push(connection);
      },
      refuse: (connection) => connection.write(Buffer.from('full')),
    });
    const connect = async (): Promise<[Connection, Peer]> => {
      const peer = new Peer();
      return [await net.connect({ host: '127.0.0.1', port: listener.port, timeoutMs: 500, handler: peer }), peer];
    };
    const [first] = await connect();
    await connect();
    const [, third] = await connect();
    await waitFor('the refusal', () => third.closes.length === 1);
    expect([third.text, accepted.length]).toEqual(['full', 2]);
    first.destroy();
    await waitFor('the free place', () => accepted[0]?.closed);
    const [fourth, peer] = await connect();
    await waitFor('the acceptance', () => accepted.length === 3);
    expect([fourth.closed, peer.text]).toEqual([false, '']);
    for (const connection of accepted) connection.destroy();
  });

  test('a peer that resets is reported, others are not touched', async () => {
    await using both = await pair();
    const rude = nodeConnect(both.listener.port, '127.0.0.1');
    rude.on('error', () => {});
    await new Promise((resolve) => rude.on('connect', resolve));
    rude.resetAndDestroy();
    await waitFor('the close', () => both.serverPeer.closes.length === 1);
    both.client.write(Buffer.from('hello'));
    await waitFor('the bytes', () => both.serverPeer.text === 'hello');
  });
});
