// The embedded store as its clients see it, over HTTP.

import { Fault } from '../../base/fault.ts';
import type { Http } from '../../base/http.ts';
import { type EmbeddedRequest, WATCH_POLL_MS } from './embedded-server.ts';
import { storeHistoryLost, storeRefused, storeUnavailable } from './faults.ts';
import type { Change, Condition, Entry, KeyEvent, LeaseId, Store } from './store.ts';

const TIMEOUT_MS = 2000;

export class EmbeddedStore implements Store {
  readonly #http: Http;
  readonly #options: { readonly url: string; readonly token: string };

  constructor(http: Http, options: { readonly url: string; readonly token: string }) {
    this.#http = http;
    this.#options = options;
  }

  async get(key: string): Promise<Entry | null> {
    return (await this.#ask<{ readonly entry: Entry | null }>({ tag: 'get', key })).entry;
  }

  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    return this.#ask({ tag: 'list', prefix });
  }

  write(conditions: readonly Condition[], changes: readonly Change[]): Promise<{ readonly revision: number | null }> {
    return this.#ask({ tag: 'write', conditions, changes });
  }

  async grantLease(ttlMs: number): Promise<LeaseId> {
    return (await this.#ask<{ readonly lease: LeaseId }>({ tag: 'grant', ttlMs })).lease;
  }

  async keepAlive(lease: LeaseId): Promise<boolean> {
    return (await this.#ask<{ readonly isAlive: boolean }>({ tag: 'keep-alive', lease })).isAlive;
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    await this.#ask({ tag: 'revoke', lease });
  }

  async *watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncGenerator<readonly KeyEvent[]> {
    let after = afterRevision;
    while (!signal.aborted) {
      let events: readonly KeyEvent[];
      try {
        events = (await this.#ask<{ readonly events: readonly KeyEvent[] }>({ tag: 'watch', prefix, after }, signal))
          .events;
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      const last = events.at(-1);
      if (last === undefined) continue;
      after = last.revision;
      yield events;
    }
  }

  async #ask<T>(request: EmbeddedRequest, signal?: AbortSignal): Promise<T> {
    const response = await this.#request(request, signal);
    if (response.status === 401) throw storeRefused('the token is wrong');
    if (response.status === 410 && request.tag === 'watch') throw storeHistoryLost(request.after);
    if (!response.ok) throw storeUnavailable(`answered with status ${response.status}`);
    return (await response.json()) as T;
  }

  async #request(request: EmbeddedRequest, signal?: AbortSignal): Promise<Response> {
    try {
      return await this.#http.request(this.#options.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${this.#options.token}` },
        body: JSON.stringify(request),
        timeoutMs: request.tag === 'watch' ? WATCH_POLL_MS + TIMEOUT_MS : TIMEOUT_MS,
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw error instanceof Fault && error.code !== 'connect-failed'
        ? error
        : storeUnavailable('gives no answer', error);
    }
  }
}
