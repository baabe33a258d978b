// COPY from the client into the core: while it lasts the client's frames go straight up.
//
//   no ─CopyInResponse─▶ simple or extended ─CopyDone, Sync─▶ ending ─▶ no

import { FRONTEND } from '../wire/frontend.ts';
import { Frame } from './client-frames.ts';
import type { Conversation, Wait } from './conversation.ts';

/** Bytes for the core that it has not taken yet, beyond which the client is not read any further. */
const UPSTREAM_QUEUE_BYTES_MAX = 1024 * 1024;

export class CopyIn {
  readonly #session: Conversation;
  state: 'no' | 'simple' | 'extended' | 'ending' = 'no';
  /** The protocol of the batch that runs upstream, should it turn out to be a COPY. */
  mode: 'simple' | 'extended' = 'simple';
  /** Syncs sent before the COPY began: the core ignores those, so the client sends another one after CopyDone. */
  syncs = 0;
  #paused = false;

  constructor(session: Conversation) {
    this.#session = session;
  }

  get isOpen(): boolean {
    return this.state === 'simple' || this.state === 'extended';
  }

  begins(): void {
    this.state = this.mode;
    if (this.#session.busy) this.#session.server.resume();
  }

  /** While a COPY reads, the client's frames go straight up. */
  frame(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (!this.#session.forward.open) return undefined;
    const { upstream } = this.#session.forward;
    upstream.send(new Frame(buffer, start, end).bytes);
    const isSimple = this.state === 'simple';
    if (type === FRONTEND.copyDone || type === FRONTEND.copyFail) {
      if (isSimple) this.#ends('ending');
      else if (this.syncs === 0) this.#ends('no');
    } else if (type === FRONTEND.sync && !isSimple && this.syncs > 0) {
      this.#ends('ending');
    }
    if (!this.isOpen) {
      upstream.flush();
    } else if (upstream.queuedBytes > UPSTREAM_QUEUE_BYTES_MAX) {
      this.#paused = true;
      this.#session.server.pause();
    }
    return undefined;
  }

  #ends(next: 'no' | 'ending'): void {
    this.state = next;
    if (this.#session.busy) this.#session.server.pause();
  }

  drained(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#session.busy || this.isOpen) this.#session.server.resume();
  }
}
