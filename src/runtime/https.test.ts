import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect as connectTls } from 'node:tls';
import { waitFor } from '../../test/harness.ts';
import { Fault } from '../base/fault.ts';
import type { HttpPeer, HttpServer } from '../base/http.ts';
import { bunHttp } from './http.ts';
import { createAuthority, issueCertificate } from './x509.ts';

const DAY_MS = 86_400_000;
const NOW = Date.now();
const validity = { fromMs: NOW - DAY_MS, untilMs: NOW + DAY_MS };
const over = { fromMs: NOW - 2 * DAY_MS, untilMs: NOW - DAY_MS };
const authority = createAuthority('test CA', validity);
const other = createAuthority('other CA', validity);
const hosts = ['localhost', '127.0.0.1'];
const server = issueCertificate(authority, { commonName: 'relay', hosts, validity });
const edge = issueCertificate(authority, { commonName: 'edge-0', hosts: [], validity });
const ca = authority.cert;

const BIG_BYTES = 20_000_000;
const CHUNK = new Uint8Array(100_000).fill(7);

let produced = 0;
let cancelled = 0;

function handle(request: Request, peer: HttpPeer): Response | Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname === '/peer') return Response.json(peer);
  if (pathname === '/throw') throw new Error('on purpose');
  if (pathname === '/echo') {
    return request.text().then((text) => new Response(text, { status: 201, headers: { 'x-method': request.method } }));
  }
  produced = 0;
  return new Response(
    new ReadableStream<Uint8Array>({
      pull(controller) {
        produced += CHUNK.length;
        controller.enqueue(CHUNK);
        if (produced >= BIG_BYTES) controller.close();
      },
      cancel() {
        cancelled += 1;
      },
    }),
  );
}

let running: HttpServer;
let url = '';
const options = { timeoutMs: 10_000 };
beforeAll(async () => {
  running = await bunHttp.serve({
    host: '127.0.0.1',
    port: 0,
    tls: { ...server, ca },
    handle,
    bodyBytesMax: 1000,
  });
  url = `https://127.0.0.1:${running.port}`;
});
afterAll(() => running.stop());

async function faultOf(answer: Promise<unknown>): Promise<Fault> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('was answered');
}

describe('who asks', () => {
  const peerWith = async (tls: object): Promise<unknown> =>
    (await bunHttp.request(`${url}/peer`, { ...options, tls: { ca, ...tls } })).json();

  test('a certificate of our CA gives its name', async () => {
    expect(await peerWith(edge)).toEqual({
      address: '127.0.0.1',
      isLoopback: true,
      tls: { authorized: true, peerName: 'edge-0' },
    });
  });

  test('without a certificate nobody is authorized', async () => {
    expect(await peerWith({})).toMatchObject({ tls: { authorized: false, peerName: null } });
  });

  test('a certificate of another CA, or one whose time is over, is not authorized and says why', async () => {
    const rogue = issueCertificate(other, { commonName: 'edge-0', hosts: [], validity });
    const old = issueCertificate(authority, { commonName: 'edge-0', hosts: [], validity: over });
    expect(await peerWith(rogue)).toMatchObject({ tls: { authorized: false, peerName: 'edge-0' } });
    expect(await peerWith(old)).toMatchObject({ tls: { authorized: false, reason: 'CERT_HAS_EXPIRED' } });
  });
});

describe('a server that is not to be trusted', () => {
  test('has a certificate of another CA', async () => {
    const fault = await faultOf(bunHttp.request(`${url}/peer`, { ...options, tls: { ca: other.cert } }));
    expect([fault.code, fault.retryable]).toEqual(['tls-untrusted', false]);
  });

  test('has a certificate whose time is over, or for another name', async () => {
    for (const [certificate, word] of [
      [issueCertificate(authority, { commonName: 'relay', hosts, validity: over }), 'expired'],
      [issueCertificate(authority, { commonName: 'relay', hosts: ['relay.example.com'], validity }), '127.0.0.1'],
    ] as const) {
      await using bad = await bunHttp.serve({ host: '127.0.0.1', port: 0, tls: certificate, handle });
      const fault = await faultOf(bunHttp.request(`https://127.0.0.1:${bad.port}/peer`, { ...options, tls: { ca } }));
      expect([fault.code, fault.message]).toEqual(['tls-untrusted', expect.stringContaining(word)]);
    }
  });
});

describe('requests and answers', () => {
  const ask = (path: string, more: object = {}): Promise<Response> =>
    bunHttp.request(`${url}${path}`, { ...options, tls: { ca }, ...more });

  test('method, status, headers and body arrive', async () => {
    const response = await ask('/echo', { method: 'POST', body: 'hello' });
    expect([response.status, response.headers.get('x-method'), await response.text()]).toEqual([201, 'POST', 'hello']);
  });

  test('a body that is too long is refused, a handler that throws is a 500', async () => {
    expect((await ask('/echo', { method: 'POST', body: 'x'.repeat(1001) })).status).toBe(413);
    expect((await ask('/throw')).status).toBe(500);
  });

  test('a long answer arrives whole', async () => {
    const bytes = await (await ask('/big')).bytes();
    expect([bytes.length, bytes.every((byte) => byte === 7)]).toEqual([BIG_BYTES, true]);
  });

  test('a reader that stops stops the producer, and one that leaves ends it', async () => {
    const before = cancelled;
    const socket = connectTls({ host: '127.0.0.1', port: running.port, ca, servername: 'localhost' });
    socket.on('error', () => {});
    socket.once('data', () => socket.pause());
    socket.write('GET /big HTTP/1.1\r\nhost: x\r\n\r\n');
    await waitFor('the answer has begun', () => produced > 0);
    let last = -1;
    await waitFor('the producer waits', async () => {
      const same = produced === last;
      last = produced;
      await Bun.sleep(100);
      return same;
    });
    expect(produced).toBeLessThan(BIG_BYTES);
    socket.destroy();
    await waitFor('the producer is told', () => cancelled > before);
  });

  test('garbage and plain HTTP on the port leave it working', async () => {
    for (const text of ['GET /peer HTTP/1.1\r\n\r\n', 'x'.repeat(100_000)]) {
      await using socket = await garbage(running.port, text);
      await waitFor('the server hangs up', () => socket.closed());
    }
    expect((await ask('/peer')).status).toBe(200);
  });

  test('stopping does not wait for somebody in the middle of a handshake', async () => {
    const stopping = await bunHttp.serve({ host: '127.0.0.1', port: 0, tls: server, handle });
    await using _socket = await garbage(stopping.port, '\x16\x03\x01');
    await stopping.stop();
  });

  test('a port that is taken is said so', async () => {
    const fault = await faultOf(bunHttp.serve({ host: '127.0.0.1', port: running.port, tls: server, handle }));
    expect(fault.code).toBe('port-taken');
  });
});

async function garbage(port: number, text: string): Promise<AsyncDisposable & { closed(): boolean }> {
  let closed = false;
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      data() {},
      close() {
        closed = true;
      },
      error() {},
    },
  });
  socket.write(text);
  return {
    closed: () => closed,
    [Symbol.asyncDispose]: () => {
      socket.terminate();
      return Promise.resolve();
    },
  };
}
