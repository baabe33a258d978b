// Keys by which another connection may ask to stop what a session runs.

import type { Crypto } from '../base/crypto.ts';
import { type Random, randomInt } from '../base/random.ts';
import { PROTOCOL_3_2 } from '../wire/startup.ts';

/** Protocol 3.0 has room for exactly four bytes; from 3.2 on as many as Postgres sends. */
const KEY_BYTES_3_0 = 4;
const KEY_BYTES_3_2 = 32;

/** Positive int32: some drivers read the process id as signed. */
const PROCESS_ID_BELOW = 0x7fffffff;

export interface CancelKey {
  readonly processId: number;
  readonly secretKey: Uint8Array;
}

/** All sessions of one listener that can be cancelled. */
export class CancelRegistry {
  readonly #random: Random;
  readonly #crypto: Crypto;
  readonly #elsewhere: ((key: CancelKey) => void) | null;
  readonly #entries = new Map<number, { readonly secretKey: Uint8Array; readonly cancel: () => void }>();

  /** `elsewhere` gets the keys that came over the network and are nobody's here: another process on this port may know them. */
  constructor(random: Random, crypto: Crypto, elsewhere: ((key: CancelKey) => void) | null = null) {
    this.#random = random;
    this.#crypto = crypto;
    this.#elsewhere = elsewhere;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** A fresh key; `cancel` is called when somebody presents it. */
  register(protocolVersion: number, cancel: () => void): CancelKey {
    let processId = 0;
    do processId = 1 + randomInt(this.#random, PROCESS_ID_BELOW - 1);
    while (this.#entries.has(processId));
    const secretKey = this.#random.bytes(protocolVersion >= PROTOCOL_3_2 ? KEY_BYTES_3_2 : KEY_BYTES_3_0);
    this.#entries.set(processId, { secretKey, cancel });
    return { processId, secretKey };
  }

  release(processId: number): void {
    this.#entries.delete(processId);
  }

  /** A request from the network: for one of ours, or for somebody elsewhere. */
  request(key: CancelKey): void {
    if (!this.cancel(key)) this.#elsewhere?.(key);
  }

  /** True when the key was right. The asker is never told. */
  cancel(key: CancelKey): boolean {
    const entry = this.#entries.get(key.processId);
    if (entry === undefined || !this.#crypto.equal(entry.secretKey, key.secretKey)) return false;
    entry.cancel();
    return true;
  }
}
