// Array text: `{1,NULL,"a b"}`, `[0:1]={…}`; any number of dimensions.

import { invalidText } from './faults.ts';

export interface ArrayDimension {
  readonly length: number;
  readonly lowerBound: number;
}

/** Elements in storage order; an empty array has no dimensions. */
export interface ArrayValue {
  readonly dimensions: readonly ArrayDimension[];
  readonly elements: readonly (string | null)[];
}

/** MAXDIM of Postgres. */
const DIMENSIONS_MAX = 6;

/** Reads what array_out prints. Throws Fault `value-invalid` (22P02). */
export function parseArray(text: string, delimiter = ','): ArrayValue {
  const reader = new ArrayReader(text, delimiter);
  return reader.read();
}

class ArrayReader {
  readonly #text: string;
  readonly #delimiter: string;
  #at = 0;
  #leafDepth = -1;
  readonly #lengths: number[] = [];
  readonly #elements: (string | null)[] = [];

  constructor(text: string, delimiter: string) {
    this.#text = text;
    this.#delimiter = delimiter;
  }

  read(): ArrayValue {
    const bounds = this.#readBounds();
    this.#readLevel(0);
    if (this.#at !== this.#text.length) throw this.#invalid();
    if (this.#elements.length === 0) return { dimensions: [], elements: [] };
    if (bounds !== null && bounds.length !== this.#lengths.length) throw this.#invalid();
    const dimensions = this.#lengths.map((length, index) => ({ length, lowerBound: bounds?.[index] ?? 1 }));
    return { dimensions, elements: this.#elements };
  }

  /** `[1:2][0:1]=` in front. */
  #readBounds(): number[] | null {
    if (this.#text[0] !== '[') return null;
    const equals = this.#text.indexOf('=');
    const bounds = [...this.#text.slice(0, equals).matchAll(/\[(-?\d+):(-?\d+)\]/g)].map((found) => Number(found[1]));
    if (equals < 0 || bounds.length === 0) throw this.#invalid();
    this.#at = equals + 1;
    return bounds;
  }

  #readLevel(depth: number): void {
    const isTooDeep = depth >= DIMENSIONS_MAX || (this.#leafDepth !== -1 && depth > this.#leafDepth);
    if (this.#text[this.#at] !== '{' || isTooDeep) throw this.#invalid();
    this.#at += 1;
    let count = 0;
    if (this.#text[this.#at] === '}') {
      this.#at += 1;
    } else {
      for (;;) {
        if (this.#text[this.#at] === '{') {
          this.#readLevel(depth + 1);
        } else {
          // Elements of all branches stand at the same depth.
          if (this.#leafDepth === -1) this.#leafDepth = depth;
          if (this.#leafDepth !== depth) throw this.#invalid();
          this.#elements.push(this.#readElement());
        }
        count += 1;
        const next = this.#text[this.#at];
        this.#at += 1;
        if (next === '}') break;
        if (next !== this.#delimiter) throw this.#invalid();
      }
    }
    const known = this.#lengths[depth];
    if (known !== undefined && known !== count) throw this.#invalid();
    this.#lengths[depth] = count;
  }

  #readElement(): string | null {
    const text = this.#text;
    if (text[this.#at] === '"') {
      let value = '';
      let at = this.#at + 1;
      for (;;) {
        const char = text[at];
        if (char === undefined) throw this.#invalid();
        if (char === '"') break;
        if (char === '\\') at += 1;
        value += text[at] ?? '';
        at += 1;
      }
      this.#at = at + 1;
      return value;
    }
    let value = '';
    let isEscaped = false;
    let at = this.#at;
    for (; at < text.length; at += 1) {
      const char = text[at] as string;
      if (char === this.#delimiter || char === '}') break;
      if (char === '{' || char === '"') throw this.#invalid();
      if (char === '\\') {
        isEscaped = true;
        at += 1;
      }
      value += text[at] ?? '';
    }
    this.#at = at;
    if (!isEscaped && value.toUpperCase() === 'NULL') return null;
    if (value === '') throw this.#invalid();
    return value;
  }

  #invalid(): Error {
    return invalidText('array', this.#text);
  }
}

/** Prints as array_out. */
export function formatArray({ dimensions, elements }: ArrayValue, delimiter = ','): string {
  if (dimensions.length === 0) return '{}';
  const needsBounds = dimensions.some((dimension) => dimension.lowerBound !== 1);
  const bounds = dimensions.map(({ length, lowerBound }) => `[${lowerBound}:${lowerBound + length - 1}]`).join('');
  let next = 0;
  const level = (depth: number): string => {
    const parts: string[] = [];
    const { length } = dimensions[depth] as ArrayDimension;
    for (let index = 0; index < length; index += 1) {
      if (depth + 1 < dimensions.length) parts.push(level(depth + 1));
      else parts.push(elementText(elements[next++] ?? null, delimiter));
    }
    return `{${parts.join(delimiter)}}`;
  };
  return needsBounds ? `${bounds}=${level(0)}` : level(0);
}

function elementText(element: string | null, delimiter: string): string {
  if (element === null) return 'NULL';
  // The ASCII spaces only: \s of JavaScript knows more.
  const isPlain =
    element !== '' &&
    element.toUpperCase() !== 'NULL' &&
    !element.includes(delimiter) &&
    !/["\\{} \t\n\r\v\f]/.test(element);
  if (isPlain) return element;
  return `"${element.replace(/["\\]/g, '\\$&')}"`;
}
