// The seam to HTTP, on the web's own Request and Response. `runtime/http.ts` implements it.

import type { TlsServerOptions } from './net.ts';

export interface HttpServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly tls?: TlsServerOptions;
  /** Answers one request. A throw becomes a 500 with a JSON body; a Fault with a `status` detail is the handler's own job. */
  readonly handle: (
    request: Request,
    peer: { readonly address: string; readonly isLoopback: boolean },
  ) => Response | Promise<Response>;
  /** A body larger than this is refused with 413. */
  readonly bodyBytesMax?: number;
}

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  stop(): Promise<void>;
}

export interface HttpRequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** PEM of the CA to trust, for https. */
  readonly ca?: string;
}

export interface Http {
  /** Rejects with Fault `port-taken` / `address-refused`. */
  serve(options: HttpServerOptions): Promise<HttpServer>;
  /** Rejects with a retryable Fault `connect-failed` when there is no answer; any status is an answer. */
  request(url: string, options: HttpRequestOptions): Promise<Response>;
}
