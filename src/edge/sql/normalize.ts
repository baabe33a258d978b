// Turns a statement's text into a template and its constants, so that the same statement with other constants finds its plan.
// A hand scanner, not a parser: whatever it is not sure of stays in the template, which is always correct (the template is
// then just less shared). It assumes standard_conforming_strings = on.

/** Stands in a template for a constant, followed by its kind. A text that holds it itself is not normalized. */
const MARK = '\u0001';

/**
 * Kinds of constants. Two texts share a template only if their constants have the same kinds, because the kind decides the
 * type Postgres gives them: i int4, l int8, n numeric without point, d numeric, s string. The two magnitudes that are of the
 * next smaller type when negated have a kind of their own: m 2147483648, o 9223372036854775808.
 */
type LiteralKind = 'i' | 'm' | 'l' | 'o' | 'n' | 'd' | 's';

export interface Normalized {
  /** Text with constants replaced by marks; the whole text when nothing was lifted. */
  readonly template: string;
  /** The constants' values in order: digits as written, strings without quotes. */
  readonly literals: string[];
  /** Where each constant starts in the text, in UTF-16 units. */
  readonly starts: number[];
  /** End of the statement, without semicolon; -1 when the text may hold more than one statement. */
  readonly end: number;
}

const QUOTE = 39;
const MINUS = 45;
const DOT = 46;
const SLASH = 47;
const SEMICOLON = 59;

// One class a character: 0 other, 1 starts an identifier, 2 digit, 3 one that needs a look.
const CLASS = new Uint8Array(128);
for (let code = 65; code <= 90; code += 1) CLASS[code] = CLASS[code + 32] = 1;
CLASS[95] = 1;
for (let code = 48; code <= 57; code += 1) CLASS[code] = 2;
for (const special of '\u0001$\'"-./;') CLASS[special.charCodeAt(0)] = 3;

function isIdentifierStart(code: number): boolean {
  return code >= 128 || CLASS[code] === 1;
}

function isIdentifierPart(code: number): boolean {
  return code >= 128 || code === 36 || (CLASS[code] as number) === 1 || (CLASS[code] as number) === 2;
}

function isSpace(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13);
}

/** Splits a text. `prefix` goes in front of the template, so that a cache key needs no second concatenation. Measured by the test beside. */
export function normalize(text: string, prefix: string): Normalized {
  const length = text.length;
  const literals: string[] = [];
  const starts: number[] = [];
  let template = prefix;
  let copied = 0;
  let end = length;
  let at = 0;
  while (at < length) {
    const code = text.charCodeAt(at);
    const kind = code >= 128 ? 1 : (CLASS[code] as number);
    if (kind === 0) {
      at += 1;
    } else if (kind === 1) {
      const start = at;
      do at += 1;
      while (at < length && isIdentifierPart(text.charCodeAt(at)));
      // E'…', B'…', X'…', N'…' and U&'…' have rules of their own.
      if (at < length && at - start === 1) {
        const next = text.charCodeAt(at);
        if (next === QUOTE || (next === 38 && (code | 32) === 117)) return whole(text, prefix);
      }
    } else if (kind === 2) {
      const start = at;
      at = numberEnd(text, at);
      if (at < 0) return whole(text, prefix);
      const value = text.slice(start, at);
      template += text.slice(copied, start) + MARK + numberKind(value);
      literals.push(value);
      starts.push(start);
      copied = at;
    } else if (code === QUOTE) {
      const start = at;
      let doubled = false;
      for (;;) {
        at = text.indexOf("'", at + 1);
        if (at < 0) return whole(text, prefix);
        if (text.charCodeAt(at + 1) !== QUOTE) break;
        doubled = true;
        at += 1;
      }
      const value = text.slice(start + 1, at);
      at += 1;
      if (isContinued(text, at)) return whole(text, prefix);
      template += `${text.slice(copied, start) + MARK}s`;
      literals.push(doubled ? value.replaceAll("''", "'") : value);
      starts.push(start);
      copied = at;
    } else if (code === 34) {
      at = text.indexOf('"', at + 1);
      if (at < 0) return whole(text, prefix);
      at += 1;
    } else if (code === 36) {
      // $1 is a parameter, anything else a dollar quote.
      at += 1;
      const digits = at;
      while (at < length && CLASS[text.charCodeAt(at)] === 2) at += 1;
      if (at === digits || (at < length && isIdentifierPart(text.charCodeAt(at)))) return whole(text, prefix);
    } else if (code === MINUS || code === SLASH) {
      const next = text.charCodeAt(at + 1);
      if (code === MINUS ? next === MINUS : next === 42) return whole(text, prefix);
      at += 1;
    } else if (code === DOT) {
      if (CLASS[text.charCodeAt(at + 1)] === 2) {
        // `.5` is a number; `a.5` is not SQL, and `t1.5` never comes here because identifiers take their digits.
        const start = at;
        at = numberEnd(text, at);
        if (at < 0) return whole(text, prefix);
        template += `${text.slice(copied, start) + MARK}d`;
        literals.push(text.slice(start, at));
        starts.push(start);
        copied = at;
      } else {
        at += 1;
      }
    } else if (code === SEMICOLON) {
      end = at;
      do at += 1;
      while (at < length && isSpace(text.charCodeAt(at)));
      if (at < length) return whole(text, prefix);
    } else {
      return whole(text, prefix);
    }
  }
  template = copied === 0 ? prefix + text : template + text.slice(copied);
  return { template, literals, starts, end };
}

function whole(text: string, prefix: string): Normalized {
  return { template: prefix + text, literals: [], starts: [], end: -1 };
}

/** End of the number that starts here; -1 when it has a form that not every Postgres version reads alike (0x1F, 1_000, 1a, 1..2). */
function numberEnd(text: string, start: number): number {
  const length = text.length;
  let at = start;
  while (at < length && CLASS[text.charCodeAt(at)] === 2) at += 1;
  if (at < length && text.charCodeAt(at) === DOT) {
    at += 1;
    while (at < length && CLASS[text.charCodeAt(at)] === 2) at += 1;
    if (at < length && text.charCodeAt(at) === DOT) return -1;
  }
  if (at < length && (text.charCodeAt(at) | 32) === 101) {
    let exponent = at + 1;
    const sign = text.charCodeAt(exponent);
    if (sign === 43 || sign === MINUS) exponent += 1;
    const digits = exponent;
    while (exponent < length && CLASS[text.charCodeAt(exponent)] === 2) exponent += 1;
    if (exponent === digits) return -1;
    at = exponent;
  }
  if (at < length) {
    const next = text.charCodeAt(at);
    if (isIdentifierStart(next) || next === 36) return -1;
  }
  return at;
}

function numberKind(value: string): LiteralKind {
  if (value.length < 10) {
    for (let at = 0; at < value.length; at += 1) if (CLASS[value.charCodeAt(at)] !== 2) return 'd';
    return 'i';
  }
  if (!/^\d+$/.test(value)) return 'd';
  const digits = value.replace(/^0+/, '');
  if (isAtMost(digits, '2147483647')) return 'i';
  if (digits === '2147483648') return 'm';
  if (isAtMost(digits, '9223372036854775807')) return 'l';
  return digits === '9223372036854775808' ? 'o' : 'n';
}

function isAtMost(digits: string, bound: string): boolean {
  return digits.length < bound.length || (digits.length === bound.length && digits <= bound);
}

/** Whether a string constant goes on after a line break (SQL joins the two). */
function isContinued(text: string, after: number): boolean {
  let at = after;
  let newline = false;
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (!isSpace(code)) return newline && (code === QUOTE || code === MINUS);
    if (code === 10 || code === 13) newline = true;
  }
  return false;
}
