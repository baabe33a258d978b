// What one server connection still owes: one entry for each message sent to it that it will answer, in order. A connection
// may change hands only when its ledger is empty, so no answer can reach a client that did not ask (PgDog #759, PgBouncer #759).

/** Kinds of entries. `HIDDEN` is added when the proxy itself asked: the answer is not for the client. */
export const EXPECT = {
  query: 1,
  parse: 2,
  bind: 3,
  describeStatement: 4,
  describePortal: 5,
  execute: 6,
  close: 7,
  sync: 8,
  functionCall: 9,
  /** CopyDone or CopyFail: has no answer of its own, but marks where Sync messages stop being ignored. */
  copyEnd: 10,
  /** Bytes that the proxy answers in the server's stead when their turn has come; the reference is a Buffer or null. */
  synthetic: 11,
} as const;

export const HIDDEN = 0x10;

/** Takes the flag away. */
export function plainKind(kind: number): number {
  return kind & 0x0f;
}

/** Whether an error makes the server skip everything up to the next Sync. */
export function isExtended(kind: number): boolean {
  const plain = kind & 0x0f;
  return (plain >= EXPECT.parse && plain <= EXPECT.close) || plain === EXPECT.synthetic;
}

const CAPACITY_FIRST = 16;

/** A ring; grows by doubling. Bounded by its owner (`LEDGER_ENTRIES_MAX`). */
export class Ledger<T> {
  #kinds = new Uint8Array(CAPACITY_FIRST);
  #references: (T | null)[] = Array.from({ length: CAPACITY_FIRST }, () => null);
  #head = 0;
  length = 0;

  /** Kind of the entry that the next answer belongs to; 0 when nothing is owed. */
  get head(): number {
    return this.length === 0 ? 0 : (this.#kinds[this.#head] as number);
  }

  get headReference(): T | null {
    return this.length === 0 ? null : (this.#references[this.#head] as T | null);
  }

  push(kind: number, reference: T | null): void {
    if (this.length === this.#kinds.length) this.#grow();
    const at = (this.#head + this.length) & (this.#kinds.length - 1);
    this.#kinds[at] = kind;
    this.#references[at] = reference;
    this.length += 1;
  }

  shift(): void {
    this.#references[this.#head] = null;
    this.#head = (this.#head + 1) & (this.#kinds.length - 1);
    this.length -= 1;
  }

  /** The answer to the head, which was for the client, is now for the proxy. */
  hideHead(reference: T): void {
    this.#kinds[this.#head] = (this.#kinds[this.#head] as number) | HIDDEN;
    this.#references[this.#head] = reference;
  }

  kindAt(index: number): number {
    return this.#kinds[(this.#head + index) & (this.#kinds.length - 1)] as number;
  }

  referenceAt(index: number): T | null {
    return this.#references[(this.#head + index) & (this.#kinds.length - 1)] as T | null;
  }

  /** Removes entry `index` (0 = head). Rare: only Sync messages that a COPY ignored. */
  removeAt(index: number): void {
    for (let at = index; at + 1 < this.length; at += 1) {
      const mask = this.#kinds.length - 1;
      this.#kinds[(this.#head + at) & mask] = this.kindAt(at + 1);
      this.#references[(this.#head + at) & mask] = this.referenceAt(at + 1);
    }
    this.length -= 1;
    this.#references[(this.#head + this.length) & (this.#kinds.length - 1)] = null;
  }

  clear(): void {
    while (this.length > 0) this.shift();
  }

  #grow(): void {
    const size = this.#kinds.length * 2;
    const kinds = new Uint8Array(size);
    const references: (T | null)[] = Array.from({ length: size }, () => null);
    for (let index = 0; index < this.length; index += 1) {
      kinds[index] = this.kindAt(index);
      references[index] = this.referenceAt(index);
    }
    this.#kinds = kinds;
    this.#references = references;
    this.#head = 0;
  }
}
