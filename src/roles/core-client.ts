// Control queries on the core: one connection that is opened when it is needed and again after it was lost.

import { createCrypto } from '../runtime/crypto.ts';
import { createNet } from '../runtime/net.ts';
import { createRandom } from '../runtime/random.ts';
import type { Clock } from '../base/clock.ts';
import type { SessionWorld } from '../session/client-login.ts';
import { ClientSession, type QueryResult } from '../session/client-session.ts';
import { connectionTarget } from './connection.ts';

export function sessionWorld(clock: Clock): SessionWorld {
  return { clock, net: createNet(), random: createRandom(), crypto: createCrypto() };
}

export class CoreClient implements AsyncDisposable {
  readonly #world: SessionWorld;
  readonly #url: string;
  #session: Promise<ClientSession> | null = null;

  constructor(world: SessionWorld, url: string) {
    this.#world = world;
    this.#url = url;
  }

  /** Runs SQL of one or several statements; gives the last result. Rejects with ServerError, or a retryable Fault when the core is away. */
  async query(sql: string): Promise<QueryResult> {
    const session = await this.#connected();
    return session.query(sql);
  }

  /** Where the core's log ends now; null when it does not answer. */
  async position(): Promise<string | null> {
    try {
      return (await this.query('select pg_current_wal_flush_lsn()')).rows[0]?.[0] ?? null;
    } catch {
      return null;
    }
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.then((one) => one.close()).catch(() => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #connected(): Promise<ClientSession> {
    const kept = await this.#session?.catch(() => null);
    if (kept !== null && kept !== undefined && !kept.closed) return kept;
    const target = connectionTarget(this.#url, { applicationName: 'skerry up' });
    this.#session = ClientSession.connect(this.#world, { target });
    return this.#session;
  }
}
