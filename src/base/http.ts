// The seam to HTTP, on the web's own Request and Response. `runtime/http.ts` implements it.

import type { TlsFacts, TlsServerOptions } from './net.ts';

/** Who asks. */
export interface HttpPeer {
  readonly address: string;
  /** True when the peer is on this machine. */
  readonly isLoopback: boolean;
  /** Null over plain HTTP. A certificate is only asked for when the server was given a CA. */
  readonly tls: Pick<TlsFacts, 'authorized' | 'peerName' | 'reason'> | null;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  readonly tls?: TlsServerOptions;
  /** Answers one request. A throw becomes a 500 with a JSON body; a Fault with a `status` detail is the handler's own job. */
  readonly handle: (request: Request, peer: HttpPeer) => Response | Promise<Response>;
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
  /** PEM texts for https: the CA to trust instead of the system's, and what to prove oneself with. Names are always checked. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

export interface Http {
  /** Rejects with Fault `port-taken` / `address-refused`. */
  serve(options: HttpServerOptions): Promise<HttpServer>;
  /**
   * Rejects with a retryable Fault `connect-failed` when there is no answer, with `tls-untrusted` when the server's certificate
   * is not to be trusted; any status is an answer.
   */
  request(url: string, options: HttpRequestOptions): Promise<Response>;
}
