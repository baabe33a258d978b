// HTTP on Bun.serve and fetch, behind the seam of base/http.ts.

import { describeError, Fault } from '../base/fault.ts';
import type { Http, HttpServer } from '../base/http.ts';

// Answers here are small, and the largest request is a JSON document; snapshots only flow outwards.
const BODY_BYTES_MAX = 1024 * 1024;

/** HTTP over the real network. */
export const bunHttp: Http = {
  serve(options) {
    const server = (() => {
      try {
        return Bun.serve({
          hostname: options.host,
          port: options.port,
          development: false,
          // A snapshot may take longer to start than Bun's 10 s of silence.
          idleTimeout: 120,
          maxRequestBodySize: options.bodyBytesMax ?? BODY_BYTES_MAX,
          ...(options.tls === undefined ? {} : { tls: { cert: options.tls.cert, key: options.tls.key } }),
          async fetch(request, self) {
            const address = self.requestIP(request)?.address ?? '';
            try {
              return await options.handle(request, { address, isLoopback: isLoopbackAddress(address) });
            } catch (error) {
              return Response.json({ error: describeError(error) }, { status: 500 });
            }
          },
        });
      } catch (error) {
        throw listenFault(options.host, options.port, error);
      }
    })();
    const running: HttpServer = {
      port: server.port ?? 0,
      stop: () => server.stop(true),
      [Symbol.asyncDispose]: () => server.stop(true),
    };
    return Promise.resolve(running);
  },

  async request(url, options) {
    const timeout = AbortSignal.timeout(options.timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
    try {
      return await fetch(url, {
        method: options.method ?? 'GET',
        signal,
        // A snapshot is stored as it comes: unpacking it here would cost a copy and break ranges.
        decompress: false,
        redirect: 'error',
        ...(options.headers === undefined ? {} : { headers: { ...options.headers } }),
        ...(options.body === undefined ? {} : { body: options.body }),
        ...(options.ca === undefined ? {} : { tls: { ca: options.ca } }),
      } as BunFetchRequestInit);
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      throw new Fault('connect-failed', {
        message: `no answer from ${withoutSecrets(url)}: ${describeError(error)}`,
        sqlstate: '08001',
        retryable: true,
        cause: error,
      });
    }
  },
};

function listenFault(host: string, port: number, error: unknown): Fault {
  const text = describeError(error);
  const taken = /EADDRINUSE|in use/i.test(text) || (error as { code?: string }).code === 'EADDRINUSE';
  return new Fault(taken ? 'port-taken' : 'address-refused', {
    message: taken ? `port ${port} on ${host} is taken` : `cannot listen on ${host}:${port}: ${text}`,
    hint: 'choose another port, or stop what listens there',
    sqlstate: '08001',
    cause: error,
  });
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');
}

/** Scheme, host and path only: user, password and query never reach a message (I11). */
function withoutSecrets(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  } catch {
    return 'an invalid URL';
  }
}
