// etcd (3.4 or newer, started with --pre-vote) through its JSON gateway.
//
// A read, a keep-alive and the end of a lease are asked of the next endpoint when one gives no answer. A write is not: it may have
// happened, and asked again it would fail on its own success. Its caller reads and decides anew, at the next endpoint.

import { describeError, Fault } from '../../base/fault.ts';
import type { Http, HttpRequestOptions } from '../../base/http.ts';
import { storeHistoryLost, storeRefused, storeStale, storeUnavailable } from './faults.ts';
import type { Change, Condition, Entry, KeyEvent, LeaseId, Store } from './store.ts';

export interface EtcdOptions {
  /** `http://10.0.0.1:2379`, one of each member. */
  readonly endpoints: readonly string[];
  readonly user?: { readonly name: string; readonly password: string };
  readonly tls?: NonNullable<HttpRequestOptions['tls']>;
  /** For one endpoint: an election takes longer, and then another try is due anyway. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 2000;
/** A watch is opened anew so often, so that a connection that died in silence is noticed. */
const WATCH_MS = 30_000;
/** A line of a watch that is longer is refused: no document of ours comes near. */
const LINE_BYTES_MAX = 16 * 1024 * 1024;

interface Answer {
  readonly header?: { readonly revision?: string; readonly raft_term?: string };
  readonly [field: string]: unknown;
}

interface RawEntry {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
}

export class EtcdStore implements Store {
  readonly #http: Http;
  readonly #options: EtcdOptions;
  #at = 0;
  #token: string | null = null;
  #termMax = 0n;
  #revisionMax = 0;

  constructor(http: Http, options: EtcdOptions) {
    this.#http = http;
    this.#options = options;
  }

  async get(key: string): Promise<Entry | null> {
    const answer = await this.#ask('kv/range', { key: base64(key) }, 'again');
    return entriesOf(answer)[0] ?? null;
  }

  async list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    const answer = await this.#ask('kv/range', range(prefix), 'again');
    return { entries: entriesOf(answer), revision: revisionOf(answer) };
  }

  async write(
    conditions: readonly Condition[],
    changes: readonly Change[],
  ): Promise<{ readonly revision: number | null }> {
    const compare = conditions.map(({ key, revision }) => ({
      key: base64(key),
      target: 'MOD',
      result: 'EQUAL',
      mod_revision: String(revision),
    }));
    const success = changes.map((change) =>
      change.tag === 'delete'
        ? { request_delete_range: { key: base64(change.key) } }
        : {
            request_put: {
              key: base64(change.key),
              value: base64(change.value),
              ...(change.lease === undefined ? {} : { lease: change.lease }),
            },
          },
    );
    try {
      const answer = await this.#ask('kv/txn', { compare, success }, 'once');
      return { revision: answer['succeeded'] === true ? revisionOf(answer) : null };
    } catch (error) {
      // The lease under which to put has ended.
      if (error instanceof Fault && error.code === 'store-no-lease') return { revision: null };
      throw error;
    }
  }

  async grantLease(ttlMs: number): Promise<LeaseId> {
    const answer = await this.#ask('lease/grant', { TTL: String(Math.ceil(ttlMs / 1000)) }, 'again');
    return text(answer['ID']);
  }

  async keepAlive(lease: LeaseId): Promise<boolean> {
    const answer = await this.#ask('lease/keepalive', { ID: lease }, 'again');
    const result = answer['result'] as { readonly TTL?: string } | undefined;
    // A lease that has ended is renewed with a time to live of nothing.
    return Number(result?.TTL ?? 0) > 0;
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    try {
      await this.#ask('lease/revoke', { ID: lease }, 'again');
    } catch (error) {
      if (!(error instanceof Fault && error.code === 'store-no-lease')) throw error;
    }
  }

  async *watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncGenerator<readonly KeyEvent[]> {
    let after = afterRevision;
    while (!signal.aborted) {
      for await (const result of this.#watchOnce(prefix, after + 1, signal)) {
        if (result.compact_revision !== undefined && Number(result.compact_revision) > 0) throw storeHistoryLost(after);
        if (result.canceled === true) throw storeUnavailable('ended the watch');
        const events = (result.events ?? []).map((event): KeyEvent => {
          const { key, value, mod_revision: revision } = event.kv;
          return {
            key: plain(key),
            value: event.type === 'DELETE' ? null : plain(value ?? ''),
            revision: Number(revision),
          };
        });
        const last = events.at(-1);
        if (last === undefined) continue;
        after = last.revision;
        yield events;
      }
    }
  }

  async *#watchOnce(prefix: string, from: number, signal: AbortSignal): AsyncGenerator<WatchResult> {
    const body = JSON.stringify({ create_request: { ...range(prefix), start_revision: String(from) } });
    const response = await this.#post(this.#endpoint(), 'watch', body, WATCH_MS, signal);
    if (response.body === null || !response.ok)
      throw storeUnavailable(`refused a watch with status ${response.status}`);
    const decoder = new TextDecoder();
    let rest = '';
    const reader = response.body.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        rest += decoder.decode(value, { stream: true });
        const lines = rest.split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > LINE_BYTES_MAX) throw storeUnavailable('sent a line without an end');
        for (const line of lines) {
          const message = JSON.parse(line) as { readonly result?: WatchResult };
          if (message.result === undefined) throw storeUnavailable('ended the watch');
          yield message.result;
        }
      }
    } catch (error) {
      if (signal.aborted || isTimeout(error)) return;
      this.#next();
      throw error instanceof Fault ? error : storeUnavailable('ended the watch', error);
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  /** One answer, of whichever endpoint gives it. */
  async #ask(path: string, body: object, how: 'again' | 'once'): Promise<Answer> {
    const tries = how === 'once' ? 1 : this.#options.endpoints.length;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#askOne(path, body);
      } catch (error) {
        if (!(error instanceof Fault) || (error.code !== 'store-unavailable' && error.code !== 'store-stale'))
          throw error;
        this.#next();
        if (tried >= tries) throw error;
      }
    }
  }

  async #askOne(path: string, body: object): Promise<Answer> {
    if (this.#options.user !== undefined) this.#token ??= await this.#login(this.#options.user);
    const asked = this.#revisionMax;
    const first = await this.#answer(path, body);
    if (first.status !== 401) return this.#checked(first, asked);
    // A token lives for some minutes only.
    this.#token = null;
    if (this.#options.user === undefined) throw storeRefused('it asks for a user');
    this.#token = await this.#login(this.#options.user);
    return this.#checked(await this.#answer(path, body), asked);
  }

  async #login(user: { readonly name: string; readonly password: string }): Promise<string> {
    const { status, answer } = await this.#answer('auth/authenticate', user);
    if (status >= 500) throw storeUnavailable(`answered a login with status ${status}`);
    if (status !== 200) throw storeRefused(`user "${user.name}" or its password is wrong, or the store has no users`);
    return text(answer['token']);
  }

  async #answer(path: string, body: object): Promise<{ readonly status: number; readonly answer: Answer }> {
    try {
      const response = await this.#post(
        this.#endpoint(),
        path,
        JSON.stringify(body),
        this.#options.timeoutMs ?? TIMEOUT_MS,
      );
      const line = (await response.text()).split('\n', 1)[0] as string;
      return { status: response.status, answer: JSON.parse(line) as Answer };
    } catch (error) {
      if (error instanceof Fault && error.code === 'tls-untrusted') throw error;
      throw storeUnavailable('gives no answer', error);
    }
  }

  #checked({ status, answer }: { readonly status: number; readonly answer: Answer }, asked: number): Answer {
    if (status !== 200) {
      const message = text(answer['message'] ?? answer['error']);
      if (/lease not found/.test(message)) throw new Fault('store-no-lease', { message: 'the lease has ended' });
      if (status === 403 || status === 401 || /permission denied|user name is empty/.test(message))
        throw storeRefused(message);
      // Whatever else it is: unknown, and an unknown error deposes nobody.
      throw storeUnavailable(`answered with status ${status}: ${message}`);
    }
    const header = answer.header ?? (answer['result'] as Answer | undefined)?.header;
    const term = BigInt(header?.raft_term ?? 0);
    const revision = Number(header?.revision ?? 0);
    if (term < this.#termMax && term > 0n) throw storeStale(`term ${term} after ${this.#termMax}`);
    if (revision < asked && revision > 0) throw storeStale(`revision ${revision} after ${asked}`);
    if (term > this.#termMax) this.#termMax = term;
    if (revision > this.#revisionMax) this.#revisionMax = revision;
    return answer;
  }

  #post(endpoint: string, path: string, body: string, timeoutMs: number, signal?: AbortSignal): Promise<Response> {
    return this.#http.request(`${endpoint.replace(/\/$/, '')}/v3/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(this.#token === null ? {} : { authorization: this.#token }) },
      body,
      timeoutMs,
      ...(signal === undefined ? {} : { signal }),
      ...(this.#options.tls === undefined ? {} : { tls: this.#options.tls }),
    });
  }

  #endpoint(): string {
    return this.#options.endpoints[this.#at % this.#options.endpoints.length] as string;
  }

  #next(): void {
    this.#at += 1;
  }
}

interface WatchResult {
  readonly canceled?: boolean;
  readonly compact_revision?: string;
  readonly events?: readonly { readonly type?: string; readonly kv: RawEntry }[];
}

function base64(plainText: string): string {
  return Buffer.from(plainText, 'utf8').toString('base64');
}

function plain(encoded: string): string {
  return Buffer.from(encoded, 'base64').toString('utf8');
}

/** Keys under a prefix: up to the prefix with its last byte one higher; an empty prefix: all. */
function range(prefix: string): { readonly key: string; readonly range_end: string } {
  const end = Buffer.from(prefix, 'utf8');
  if (end.length === 0) return { key: 'AA==', range_end: 'AA==' };
  // Our prefixes end in a letter or a slash: there is always a next byte.
  end[end.length - 1] = (end.at(-1) as number) + 1;
  return { key: base64(prefix), range_end: end.toString('base64') };
}

function entriesOf(answer: Answer): Entry[] {
  const raw = (answer['kvs'] ?? []) as readonly RawEntry[];
  return raw.map(({ key, value, mod_revision: revision }) => ({
    key: plain(key),
    value: plain(value ?? ''),
    revision: Number(revision),
  }));
}

function revisionOf(answer: Answer): number {
  return Number(answer.header?.revision ?? 0);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || /timed out/i.test(describeError(error)));
}
