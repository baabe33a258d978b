/** First in, first out, with a maximum: `push` says false when full, and the caller decides (wait, refuse, spill, drop). */
export class BoundedQueue<T> {
  readonly #countMax: number;
  #items: T[] = [];
  #head = 0;

  constructor(options: { readonly countMax: number }) {
    this.#countMax = options.countMax;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  get full(): boolean {
    return this.length >= this.#countMax;
  }

  push(item: T): boolean {
    if (this.full) return false;
    this.#items.push(item);
    return true;
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head] as T;
    this.#items[this.#head] = undefined as T;
    this.#head += 1;
    // Compacting at half keeps shift O(1) on average without a ring's index arithmetic.
    if (this.#head > 32 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }
}
