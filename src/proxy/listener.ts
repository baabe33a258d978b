// The one connection per (database, user) that listens for all its clients in transaction mode, whose own server connections
// come and go. NOTIFY is at most once, as for any client that reconnects: what is sent while this connection is away is lost.

import type { Clock } from '../base/clock.ts';
import { Backoff } from '../base/backoff.ts';
import { describeError } from '../base/fault.ts';
import type { Random } from '../base/random.ts';
import type { Log } from '../observe/log.ts';
import { ClientSession } from '../session/client-session.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { encodeBackend } from '../wire/backend.ts';
import { quoteIdentifier } from './settings.ts';

const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 2_000;

export interface Subscriber {
  notify(notification: Buffer): void;
}

export interface SharedListenerOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly connect: () => Promise<ClientSession>;
}

/** Loops: one connection, opened with the first channel, reopened after a loss, closed with the last channel. */
export class SharedListener {
  readonly #options: SharedListenerOptions;
  readonly #channels = new Map<string, Set<Subscriber>>();
  readonly #bySubscriber = new Map<Subscriber, readonly string[]>();
  readonly #backoff: Backoff;
  #session: ClientSession | null = null;
  #connecting: Promise<ClientSession> | null = null;
  #closed = false;

  constructor(options: SharedListenerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random, { firstMs: RETRY_FIRST_MS, maxMs: RETRY_LAST_MS });
  }

  get channelCount(): number {
    return this.#channels.size;
  }

  /** From now on exactly these channels are for `subscriber`. Resolves when the server has confirmed the new ones. */
  async set(subscriber: Subscriber, channels: readonly string[]): Promise<void> {
    const before = this.#bySubscriber.get(subscriber) ?? [];
    const gone: string[] = [];
    const fresh: string[] = [];
    for (const channel of before) {
      if (channels.includes(channel)) continue;
      const subscribers = this.#channels.get(channel);
      subscribers?.delete(subscriber);
      if (subscribers?.size === 0) {
        this.#channels.delete(channel);
        gone.push(channel);
      }
    }
    for (const channel of channels) {
      let subscribers = this.#channels.get(channel);
      if (subscribers === undefined) {
        subscribers = new Set();
        this.#channels.set(channel, subscribers);
        fresh.push(channel);
      }
      subscribers.add(subscriber);
    }
    if (channels.length === 0) this.#bySubscriber.delete(subscriber);
    else this.#bySubscriber.set(subscriber, channels);
    if (this.#channels.size === 0) {
      this.#disconnect();
      return;
    }
    const session = await this.#connected();
    // A connection made just now listens to everything already; LISTEN again costs nothing.
    for (const channel of fresh) await session.query(`LISTEN ${quoteIdentifier(channel)}`);
    for (const channel of gone) {
      if (!this.#channels.has(channel)) await session.query(`UNLISTEN ${quoteIdentifier(channel)}`);
    }
  }

  /** Resolves when everything that was sent before has been delivered: a round trip on the same connection. */
  async caughtUp(): Promise<void> {
    if (this.#session !== null && !this.#session.closed) await this.#session.query('SELECT 1');
  }

  /** The primary is another one now. */
  renew(): void {
    void this.#connecting?.then(
      () => this.renew(),
      () => {},
    );
    if (this.#session === null) return;
    this.#disconnect();
    this.#reconnectLater();
  }

  close(): void {
    this.#closed = true;
    this.#disconnect();
  }

  #disconnect(): void {
    const session = this.#session;
    this.#session = null;
    session?.destroy();
  }

  #connected(): Promise<ClientSession> {
    if (this.#session !== null && !this.#session.closed) return Promise.resolve(this.#session);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  async #connect(): Promise<ClientSession> {
    const session = await this.#options.connect();
    session.events = {
      notification: (processId, channel, payload) => this.#deliver(processId, channel, payload),
      closed: () => this.#lost(session),
    };
    try {
      for (const channel of this.#channels.keys()) await session.query(`LISTEN ${quoteIdentifier(channel)}`);
    } catch (error) {
      // Nobody else knows it: it would stay open.
      session.destroy();
      throw error;
    }
    this.#backoff.reset();
    this.#session = session;
    return session;
  }

  #lost(session: ClientSession): void {
    if (this.#session !== session) return;
    this.#session = null;
    this.#reconnectLater();
  }

  #reconnectLater(): void {
    if (this.#closed || this.#channels.size === 0) return;
    this.#options.clock.after(this.#backoff.next(), () => {
      if (this.#closed || this.#channels.size === 0) return;
      this.#connected().catch((error: unknown) => {
        this.#options.log.warn('proxy.listener-lost', { message: describeError(error) });
        this.#reconnectLater();
      });
    });
  }

  #deliver(processId: number, channel: string, payload: string): void {
    const subscribers = this.#channels.get(channel);
    if (subscribers === undefined) return;
    const writer = new ByteWriter();
    encodeBackend(writer, { tag: 'notificationResponse', processId, channel, payload });
    const notification = writer.take();
    for (const subscriber of subscribers) subscriber.notify(notification);
  }
}
