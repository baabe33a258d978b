// Reading JSON as Postgres' jsonb does: what comes out is what jsonb_out prints. Strings are real strings, numbers stay texts
// (they are numerics: 1.50 is not 1.5), objects keep one member a key, shorter keys first.

export type Json = null | boolean | JsonNumber | string | readonly Json[] | JsonObject;

/** A number, as numeric prints it. */
export interface JsonNumber {
  readonly number: string;
}

/** Members in the order of jsonb. */
export type JsonObject = ReadonlyMap<string, Json>;

/** Nesting beyond it is left to the core. */
const DEPTH_MAX = 200;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;

/** Throws for what Postgres refuses, and for what it might. */
export function parseJson(text: string): Json {
  const reader = new JsonReader(text);
  return reader.document();
}

export function isJsonNumber(json: Json): json is JsonNumber {
  return typeof json === 'object' && json !== null && 'number' in json;
}

export function isJsonObject(json: Json): json is JsonObject {
  return json instanceof Map;
}

export function isJsonArray(json: Json): json is readonly Json[] {
  return Array.isArray(json);
}

class JsonReader {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    const value = this.#value();
    this.#skip(SPACE);
    if (this.#at !== this.#text.length) throw new RangeError('invalid JSON');
    return value;
  }

  #skip(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (found === null) throw new RangeError('invalid JSON');
    this.#at = pattern.lastIndex;
    return found[0];
  }

  #value(): Json {
    this.#skip(SPACE);
    const char = this.#text[this.#at];
    if (char === '{' || char === '[') {
      this.#depth += 1;
      if (this.#depth > DEPTH_MAX) throw new RangeError('JSON nested too deeply');
      this.#at += 1;
      const value = char === '{' ? this.#object() : this.#array();
      this.#depth -= 1;
      return value;
    }
    if (char === '"') return this.#string();
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return { number: printedNumber(this.#skip(NUMBER)) };
  }

  #array(): Json[] {
    const elements: Json[] = [];
    this.#skip(SPACE);
    if (this.#text[this.#at] === ']') {
      this.#at += 1;
      return elements;
    }
    for (;;) {
      elements.push(this.#value());
      if (this.#next(']')) return elements;
    }
  }

  #object(): JsonObject {
    const members = new Map<string, Json>();
    this.#skip(SPACE);
    if (this.#text[this.#at] === '}') {
      this.#at += 1;
      return members;
    }
    for (;;) {
      this.#skip(SPACE);
      const key = this.#string();
      this.#skip(SPACE);
      if (this.#text[this.#at] !== ':') throw new RangeError('invalid JSON');
      this.#at += 1;
      members.set(key, this.#value());
      if (this.#next('}')) return orderedMembers(members);
    }
  }

  /** After an element: true at the end, false after a comma. */
  #next(end: string): boolean {
    this.#skip(SPACE);
    const char = this.#text[this.#at];
    this.#at += 1;
    if (char !== end && char !== ',') throw new RangeError('invalid JSON');
    return char === end;
  }

  #string(): string {
    if (this.#text[this.#at] !== '"') throw new RangeError('invalid JSON');
    const start = this.#at;
    this.#at += 1;
    for (;;) {
      this.#skip(PLAIN);
      const char = this.#text[this.#at];
      if (char === '"') break;
      if (char !== '\\') throw new RangeError('invalid JSON');
      this.#at += 2;
    }
    this.#at += 1;
    const value = JSON.parse(this.#text.slice(start, this.#at)) as string;
    if (value.includes('\u0000') || !value.isWellFormed()) throw new RangeError('a string that jsonb refuses');
    return value;
  }
}

const WORDS: readonly (readonly [string, Json])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
];

/** A number as numeric_out prints it. */
export function printedNumber(text: string): string {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text);
  if (parts === null) throw new RangeError('not a number');
  let whole = parts[2] as string;
  let fraction = parts[3] ?? '';
  const exponent = Number(parts[4] ?? 0);
  if (Math.abs(exponent) > 300) throw new RangeError('a number that is left to the core');
  if (exponent > 0) {
    whole += fraction.slice(0, exponent).padEnd(exponent, '0');
    fraction = fraction.slice(exponent);
  } else if (exponent < 0) {
    const padded = whole.padStart(-exponent, '0');
    fraction = padded.slice(padded.length + exponent) + fraction;
    whole = padded.slice(0, padded.length + exponent);
  }
  whole = whole.replace(/^0+/, '');
  const isZero = whole === '' && !/[1-9]/.test(fraction);
  const sign = parts[1] === '-' && !isZero ? '-' : '';
  return `${sign}${whole === '' ? '0' : whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/** Shorter keys first, then by bytes. */
export function compareKeys(a: string, b: string): number {
  const x = Buffer.from(a, 'utf8');
  const y = Buffer.from(b, 'utf8');
  return x.length - y.length || Buffer.compare(x, y);
}

export function orderedMembers(members: ReadonlyMap<string, Json>): JsonObject {
  if (members.size < 2) return members;
  return new Map([...members].toSorted(([a], [b]) => compareKeys(a, b)));
}

/** As jsonb_out prints it. */
export function formatJson(json: Json): string {
  if (json === null) return 'null';
  if (typeof json === 'boolean') return json ? 'true' : 'false';
  if (typeof json === 'string') return quoteJson(json);
  if (isJsonNumber(json)) return json.number;
  if (isJsonArray(json)) return `[${json.map(formatJson).join(', ')}]`;
  return `{${[...json].map(([key, value]) => `${quoteJson(key)}: ${formatJson(value)}`).join(', ')}}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** A string as escape_json() writes it. */
export function quoteJson(text: string): string {
  // oxlint-disable-next-line no-control-regex
  const escaped = text.replace(
    /["\\\u0000-\u001f]/g,
    (char) => ESCAPES[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}

/** A text that is equal exactly when the jsonb values are: 1.0 and 1.00 are one number. */
export function jsonKey(json: Json): string {
  if (isJsonArray(json)) return `[${json.map(jsonKey).join(',')}]`;
  if (isJsonObject(json))
    return `{${[...json].map(([key, value]) => `${quoteJson(key)}:${jsonKey(value)}`).join(',')}}`;
  if (json !== null && isJsonNumber(json)) {
    return json.number.includes('.') ? json.number.replace(/\.?0+$/, '') : json.number;
  }
  return formatJson(json);
}
