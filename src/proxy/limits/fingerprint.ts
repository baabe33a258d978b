// A number for a statement without what differs from call to call: literals, lists of them, white space, comments, case.
// It is computed from the bytes of the message, for every simple query, so it walks them once and allocates nothing. Two
// statements may share a number (32 bits): then they share a baseline, which is a blunder in an average and no more.

/** What comes later in a long text hardly says more about its cost. */
export const FINGERPRINT_BYTES_MAX = 2_048;

/** No statement has it. */
export const NO_FINGERPRINT = 0;

const SYMBOL = 0;
const WORD = 1;
const DIGIT = 2;
const SPACE = 3;
const LITERAL = 4;

/** Kind of each byte as the beginning of a token. */
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x30 && byte <= 0x39) return DIGIT;
  if (byte === 0x5f || byte >= 0x80 || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)) return WORD;
  return byte <= 0x20 ? SPACE : SYMBOL;
});

const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const DASH = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;
const DOLLAR = 0x24;
const COMMA = 0x2c;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;
const QUESTION_MARK = 0x3f;

const FNV_OFFSET = 0x811c9dc5 | 0;
const FNV_PRIME = 0x01000193;

/** Of the bytes from `start` to `end`. Never NO_FINGERPRINT. */
export function fingerprintOf(bytes: Uint8Array, start: number, end: number): number {
  const stop = Math.min(end, start + FINGERPRINT_BYTES_MAX);
  let hash = FNV_OFFSET;
  let last = SYMBOL;
  // A comma after a literal, which counts only if no literal follows: lists of any length are the same.
  let comma = false;
  let at = start;
  while (at < stop) {
    const byte = bytes[at] as number;
    const kind = KINDS[byte] as number;
    if (kind === SPACE) {
      at += 1;
      continue;
    }
    if (byte === DASH && bytes[at + 1] === DASH) {
      while (at < stop && bytes[at] !== NEWLINE) at += 1;
      continue;
    }
    if (byte === SLASH && bytes[at + 1] === STAR) {
      at = afterComment(bytes, at, stop);
      continue;
    }
    let isLiteral = false;
    let from = at;
    if (kind === DIGIT || (byte === DOT && KINDS[bytes[at + 1] as number] === DIGIT)) {
      at = afterNumber(bytes, at, stop);
      isLiteral = true;
    } else if (byte === QUOTE) {
      at = afterQuoted(bytes, at, stop, QUOTE, false);
      isLiteral = true;
    } else if (kind === WORD) {
      at += 1;
      while (at < stop && isInWord(bytes[at] as number)) at += 1;
      if (at - from === 1 && bytes[at] === QUOTE) {
        // E'…', B'…', X'…', N'…'
        at = afterQuoted(bytes, at, stop, QUOTE, (byte | 0x20) === 0x65);
        isLiteral = true;
      }
    } else if (byte === DOLLAR && KINDS[bytes[at + 1] as number] !== DIGIT) {
      at = afterDollarQuoted(bytes, at, stop);
      isLiteral = at - from > 1;
    } else if (byte === DOUBLE_QUOTE) at = afterQuoted(bytes, at, stop, DOUBLE_QUOTE, false);
    else {
      at += 1;
      if (byte === DOLLAR) while (at < stop && KINDS[bytes[at] as number] === DIGIT) at += 1;
    }
    if (isLiteral) {
      if (comma) {
        comma = false;
        continue;
      }
      hash = Math.imul(hash ^ QUESTION_MARK, FNV_PRIME);
      last = LITERAL;
      continue;
    }
    if (byte === COMMA && last === LITERAL && !comma) {
      comma = true;
      continue;
    }
    if (comma) {
      hash = Math.imul(hash ^ COMMA, FNV_PRIME);
      comma = false;
    }
    if (kind === WORD) {
      if (last === WORD) hash = Math.imul(hash ^ 0x20, FNV_PRIME);
      for (; from < at; from += 1) {
        const letter = bytes[from] as number;
        hash = Math.imul(hash ^ (letter >= 0x41 && letter <= 0x5a ? letter | 0x20 : letter), FNV_PRIME);
      }
      last = WORD;
      continue;
    }
    for (; from < at; from += 1) hash = Math.imul(hash ^ (bytes[from] as number), FNV_PRIME);
    last = SYMBOL;
  }
  // FNV mixes its low bits badly; tables are indexed by them.
  hash ^= hash >>> 15;
  return hash === NO_FINGERPRINT ? 1 : hash;
}

/** Of several statements that run as one. */
export function combined(first: number, second: number): number {
  const hash = Math.imul(first ^ (second >>> 7), FNV_PRIME) ^ second;
  return hash === NO_FINGERPRINT ? 1 : hash;
}

function isInWord(byte: number): boolean {
  const kind = KINDS[byte] as number;
  return kind === WORD || kind === DIGIT || byte === DOLLAR;
}

function afterNumber(bytes: Uint8Array, start: number, stop: number): number {
  let at = start;
  while (at < stop) {
    const byte = bytes[at] as number;
    const isExponent = (byte === DASH || byte === 0x2b) && ((bytes[at - 1] as number) | 0x20) === 0x65 && at > start;
    if (!isInWord(byte) && byte !== DOT && !isExponent) break;
    at += 1;
  }
  return at;
}

/** A doubled quote stands for itself. What is open ends with the text. */
function afterQuoted(bytes: Uint8Array, start: number, stop: number, quote: number, escapes: boolean): number {
  let at = start + 1;
  while (at < stop) {
    const byte = bytes[at] as number;
    if (byte === BACKSLASH && escapes) at += 2;
    else if (byte !== quote) at += 1;
    else if (bytes[at + 1] === quote) at += 2;
    else return at + 1;
  }
  return stop;
}

function afterComment(bytes: Uint8Array, start: number, stop: number): number {
  let depth = 0;
  let at = start;
  while (at < stop) {
    if (bytes[at] === SLASH && bytes[at + 1] === STAR) {
      depth += 1;
      at += 2;
    } else if (bytes[at] === STAR && bytes[at + 1] === SLASH) {
      depth -= 1;
      at += 2;
      if (depth === 0) return at;
    } else at += 1;
  }
  return stop;
}

/** $tag$ … $tag$; just after the dollar when it begins no string. */
function afterDollarQuoted(bytes: Uint8Array, start: number, stop: number): number {
  let tagEnd = start + 1;
  while (tagEnd < stop && bytes[tagEnd] !== DOLLAR && isInWord(bytes[tagEnd] as number)) tagEnd += 1;
  if (bytes[tagEnd] !== DOLLAR || tagEnd >= stop) return start + 1;
  const size = tagEnd + 1 - start;
  for (let at = tagEnd + 1; at + size <= stop; at += 1) {
    let same = 0;
    while (same < size && bytes[at + same] === bytes[start + same]) same += 1;
    if (same === size) return at + size;
  }
  return stop;
}
