// HTTP on Bun.serve and fetch, behind the seam of base/http.ts; HTTPS in https.ts.

import { describeError, Fault } from '../base/fault.ts';
import type { Http, HttpPeer, HttpServer } from '../base/http.ts';
import { isLoopbackAddress, serveHttps } from './https.ts';

// Answers here are small, and the largest request is a JSON document; snapshots only flow outwards.
const BODY_BYTES_MAX = 1024 * 1024;

/** HTTP over the real network. */
export const bunHttp: Http = {
  serve(options) {
    const { tls, host, port } = options;
    if (tls !== undefined) {
      return serveHttps({ ...options, tls }, options.bodyBytesMax ?? BODY_BYTES_MAX).catch((error: unknown) => {
        throw listenFault(host, port, error);
      });
    }
    // Asking for each request's address would cost more than many an answer.
    const isLocal = isLoopbackAddress(host);
    const server = (() => {
      try {
        return Bun.serve({
          hostname: options.host,
          port: options.port,
          development: false,
          // A snapshot may take longer to start than Bun's 10 s of silence.
          idleTimeout: 120,
          maxRequestBodySize: options.bodyBytesMax ?? BODY_BYTES_MAX,
          fetch(request, self) {
            try {
              const answer = options.handle(request, isLocal ? HERE : peerOf(self.requestIP(request)?.address ?? ''));
              return answer instanceof Promise ? answer.catch(failed) : answer;
            } catch (error) {
              return failed(error);
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
        ...(options.tls === undefined ? {} : { tls: options.tls }),
      } as BunFetchRequestInit);
    } catch (error) {
      if (options.signal?.aborted === true) throw options.signal.reason;
      if (UNTRUSTED.has((error as { code?: string }).code ?? '')) {
        throw new Fault('tls-untrusted', {
          message: `the certificate of ${withoutSecrets(url)} is not trusted: ${describeError(error)}`,
          hint: 'give the right CA, renew the certificate, or connect under a name that it carries',
          sqlstate: '08001',
          cause: error,
        });
      }
      throw new Fault('connect-failed', {
        message: `no answer from ${withoutSecrets(url)}: ${describeError(error)}`,
        sqlstate: '08001',
        retryable: true,
        cause: error,
      });
    }
  },
};

const HERE: HttpPeer = { address: '127.0.0.1', isLoopback: true, tls: null };

function peerOf(address: string): HttpPeer {
  return { address, isLoopback: isLoopbackAddress(address), tls: null };
}

function failed(error: unknown): Response {
  return Response.json({ error: describeError(error) }, { status: 500 });
}

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

/** What fetch says when the handshake works and the certificate does not. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Scheme, host and path only: user, password and query never reach a message (I11). */
function withoutSecrets(url: string): string {
  try {
    const parsed = new URL(url);
    return `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
  } catch {
    return 'an invalid URL';
  }
}
