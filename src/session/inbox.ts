// Awaiting frames one at a time: for logins, on both sides. After the login a session dispatches frames without promises.

import { Fault } from '../base/fault.ts';
import type { ConnectionHandler } from '../base/net.ts';
import type { FrameReader } from '../wire/frame.ts';
import { connectionLost } from './faults.ts';

/** A peer that sends more than this while we are busy with its login is not one of ours. */
const WAITING_BYTES_MAX = 256 * 1024;

export class Inbox implements ConnectionHandler {
  readonly reader: FrameReader;
  /** Called when the peer floods us. */
  readonly #flooded: (fault: Fault) => void;
  #arrived: (() => void) | null = null;
  #closed = false;
  #error: Error | undefined;

  constructor(reader: FrameReader, flooded: (fault: Fault) => void) {
    this.reader = reader;
    this.#flooded = flooded;
  }

  data(chunk: Uint8Array): void {
    this.reader.push(chunk);
    const arrived = this.#arrived;
    this.#arrived = null;
    if (arrived !== null) arrived();
    else if (this.reader.bufferedBytes > WAITING_BYTES_MAX) {
      this.#flooded(new Fault('protocol-violation', { message: 'too many bytes before the login was complete' }));
    }
  }

  close(error?: Error): void {
    this.#closed = true;
    this.#error = error;
    this.#arrived?.();
    this.#arrived = null;
  }

  /** Resolves when `reader` stands on a frame. Rejects when the connection is lost first. */
  async frame(): Promise<void> {
    while (!this.reader.next()) await this.#more();
  }

  /** Resolves when at least one byte is there, and tells it without consuming it. */
  async peek(): Promise<number> {
    while (this.reader.peek() === -1) await this.#more();
    return this.reader.peek();
  }

  async #more(): Promise<void> {
    if (!this.#closed) {
      const before = this.reader.bufferedBytes;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
      if (this.reader.bufferedBytes > before) return;
    }
    if (this.#closed) throw this.#error instanceof Fault ? this.#error : connectionLost(this.#error);
  }
}
