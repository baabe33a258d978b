// HTTPS on node:tls and node:http. Bun.serve asks for client certificates, but does not tell its handler what came; a TLS
// socket handed to node's HTTP server knows its peer.

import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { describeError } from '../base/fault.ts';
import type { HttpPeer, HttpServer, HttpServerOptions } from '../base/http.ts';
import type { TlsServerOptions } from '../base/net.ts';

/** A peer that connects and does not finish its handshake, or its request, is cut off. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;

/** Rejects with node's error when the port cannot be had. */
export async function serveHttps(
  options: HttpServerOptions & { readonly tls: TlsServerOptions },
  bodyBytesMax: number,
): Promise<HttpServer> {
  const { cert, key, ca } = options.tls;
  const web = createHttpServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (incoming, outgoing) => {
    void answer(options.handle, bodyBytesMax, incoming, outgoing);
  });
  web.on('clientError', (_error, socket) => socket.destroy());
  const sockets = new Set<Socket>();
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const server = createTlsServer(
    {
      cert,
      key,
      ...(ca === undefined ? {} : { ca, requestCert: true }),
      // Who presents what is decided per request: /healthz is for everybody.
      rejectUnauthorized: false,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    },
    (socket) => {
      track(socket);
      web.emit('connection', socket);
    },
  );
  // Also those that never finish their handshake.
  server.on('connection', track);
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: options.host, port: options.port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const stop = (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    return closed;
  };
  return { port: (server.address() as AddressInfo).port, stop, [Symbol.asyncDispose]: stop };
}

export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address);
}

async function answer(
  handle: HttpServerOptions['handle'],
  bodyBytesMax: number,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  try {
    const body = await readBody(incoming, bodyBytesMax);
    const response =
      body === null
        ? Response.json({ error: `the body is longer than ${bodyBytesMax} bytes` }, { status: 413 })
        : await respond(handle, incoming, body);
    await send(response, incoming, outgoing);
  } catch {
    // The peer is gone, or what it sent is not HTTP.
    incoming.socket.destroy();
  }
}

async function respond(
  handle: HttpServerOptions['handle'],
  incoming: IncomingMessage,
  body: Buffer<ArrayBuffer>,
): Promise<Response> {
  const method = incoming.method ?? 'GET';
  const url = URL.parse(incoming.url ?? '/', 'https://localhost');
  if (url === null) return Response.json({ error: 'not a URL' }, { status: 400 });
  const headers = new Headers();
  for (let index = 0; index < incoming.rawHeaders.length; index += 2) {
    headers.append(incoming.rawHeaders[index] as string, incoming.rawHeaders[index + 1] as string);
  }
  const hasBody = body.length > 0 && method !== 'GET' && method !== 'HEAD';
  try {
    return await handle(new Request(url.href, { method, headers, ...(hasBody ? { body } : {}) }), peerOf(incoming));
  } catch (error) {
    return Response.json({ error: describeError(error) }, { status: 500 });
  }
}

function peerOf(incoming: IncomingMessage): HttpPeer {
  const socket = incoming.socket as TLSSocket;
  const address = socket.remoteAddress ?? '';
  const certificate = socket.getPeerCertificate() as { subject?: { CN?: unknown } } | null | undefined;
  const name = certificate?.subject?.CN;
  // Of several names none is the name.
  const peerName = typeof name === 'string' ? name : null;
  const reason = socket.authorized || peerName === null ? null : String(socket.authorizationError);
  return {
    address,
    isLoopback: isLoopbackAddress(address),
    tls: { authorized: socket.authorized && peerName !== null, peerName, ...(reason === null ? {} : { reason }) },
  };
}

/** Null when it is too long. */
async function readBody(incoming: IncomingMessage, bytesMax: number): Promise<Buffer<ArrayBuffer> | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bytesMax) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function send(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null || incoming.method === 'HEAD') {
    outgoing.end();
    return;
  }
  const reader = response.body.getReader();
  const gone = new Promise<'gone'>((resolve) => outgoing.once('close', () => resolve('gone')));
  for (;;) {
    const chunk = await reader.read();
    if (chunk.done) break;
    if (outgoing.write(chunk.value)) continue;
    const drained = new Promise<'drained'>((resolve) => outgoing.once('drain', () => resolve('drained')));
    if ((await Promise.race([drained, gone])) === 'gone' || outgoing.destroyed) {
      await reader.cancel();
      return;
    }
  }
  outgoing.end();
}
