// What is stored for a user: from the configuration, else asked of the database (auth_query), with a memory of both answers
// and a pause when asking fails. The query runs as auth_user over a connection of the proxy's own whose search_path the
// client has no say in (CVE-2025-12819); the default one gives no secret past VALID UNTIL (CVE-2025-2291).

import type { Clock } from '../base/clock.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { Log } from '../observe/log.ts';
import type { ClientSession } from '../session/client-session.ts';
import type { DatabaseConfig, ProxyConfig } from './config.ts';

/** A changed password is noticed after this time, an unknown user asked for again. */
const REMEMBER_MS = 10_000;

const ENTRIES_MAX = 10_000;

/** After this many failures in a row auth_query is not asked for a while: a broken one must not stall every login. */
const FAILURES_MAX = 5;
const PAUSE_MS = 30_000;

interface Entry {
  readonly secret: string | null;
  readonly at: number;
}

export interface SecretStoreOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly config: () => ProxyConfig;
  readonly connect: (database: string, user: string) => Promise<ClientSession>;
}

export class SecretStore {
  readonly #options: SecretStoreOptions;
  readonly #known = new Map<string, Entry>();
  readonly #sessions = new Map<string, Promise<ClientSession>>();
  #failures = 0;
  #pausedUntil = 0;

  constructor(options: SecretStoreOptions) {
    this.#options = options;
  }

  /** Null when nobody knows the user. Never rejects: what cannot be found out is unknown. */
  async find(user: string, database: DatabaseConfig | null): Promise<string | null> {
    const config = this.#options.config();
    const configured = config.users.get(user)?.secret;
    if (configured !== undefined && configured !== null) return configured;
    const authUser = database?.authUser ?? config.authUser;
    if (database === null || authUser === '') return null;
    const key = `${database.name}\0${user}`;
    const now = this.#options.clock.now();
    const known = this.#known.get(key);
    if (known !== undefined && now - known.at < REMEMBER_MS) return known.secret;
    if (now < this.#pausedUntil) return known?.secret ?? null;
    try {
      const session = await this.#session(database.name, authUser);
      const result = await session.queryParams(database.authQuery ?? config.authQuery, [user]);
      this.#failures = 0;
      const row = result.rows[0];
      const secret = row !== undefined && row[0] === user ? (row[1] ?? null) : null;
      this.#remember(key, secret === '' ? null : secret, now);
      return secret;
    } catch (error) {
      if (error instanceof Fault && error.code === 'database-missing') {
        // A stranger may name any: it says nothing about auth_query.
        this.#remember(key, null, now);
        return null;
      }
      this.#failures += 1;
      if (this.#failures >= FAILURES_MAX) this.#pausedUntil = now + PAUSE_MS;
      this.#options.log.warn('proxy.auth-query-failed', { database: database.name, message: describeError(error) });
      return null;
    }
  }

  #remember(key: string, secret: string | null, now: number): void {
    if (this.#known.size >= ENTRIES_MAX) this.#known.clear();
    this.#known.set(key, { secret, at: now });
  }

  /** A server has refused what was known of this user: ask again. */
  forgetUser(user: string): void {
    for (const key of this.#known.keys()) if (key.endsWith(`\0${user}`)) this.#known.delete(key);
  }

  /** After a reload. */
  forget(): void {
    this.#known.clear();
    this.#pausedUntil = 0;
    this.#failures = 0;
  }

  #session(database: string, user: string): Promise<ClientSession> {
    const key = `${database}\0${user}`;
    const known = this.#sessions.get(key);
    if (known !== undefined) return known;
    const opening = this.#options.connect(database, user).then((session) => {
      session.events = { closed: () => void this.#sessions.delete(key) };
      return session;
    });
    this.#sessions.set(key, opening);
    opening.catch(() => this.#sessions.delete(key));
    return opening;
  }
}
