// Postgres' regular expressions (ARE) as JavaScript's, for those that mean the same in both. Whether a text matches does not
// depend on which of several matches is taken, so that the longest-match rule of POSIX only matters where parts are given back:
// there only patterns with one way to match are taken (`isSimple`).

export interface Regex {
  readonly source: string;
  /** Depends on which characters are letters, digits or spaces: texts beyond ASCII are for the core. */
  readonly isAsciiOnly: boolean;
  /** Fixed atoms, and at most one repetition, at the end: the match is the same whoever looks for it. */
  readonly isSimple: boolean;
  /** Repetitions without an upper bound: more than one may take long over a long text. */
  readonly repetitions: number;
}

const PATTERN_LENGTH_MAX = 500;

const CLASSES: Readonly<Record<string, string>> = {
  alpha: 'A-Za-z',
  digit: '0-9',
  alnum: 'A-Za-z0-9',
  upper: 'A-Z',
  lower: 'a-z',
  space: ' \\t\\n\\v\\f\\r',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: '0-9A-Fa-f',
  blank: ' \\t',
};

const CLASS_ESCAPES: Readonly<Record<string, string>> = { d: '0-9', s: ' \\t\\n\\v\\f\\r', w: 'A-Za-z0-9_' };
const NEGATED_ESCAPES: Readonly<Record<string, string>> = { D: '0-9', S: ' \\t\\n\\v\\f\\r', W: 'A-Za-z0-9_' };
const CONSTRAINTS: Readonly<Record<string, string>> = {
  A: '^',
  Z: '$',
  y: '\\b',
  Y: '\\B',
  m: '(?<![A-Za-z0-9_])(?=[A-Za-z0-9_])',
  M: '(?<=[A-Za-z0-9_])(?![A-Za-z0-9_])',
};
const CONTROLS: Readonly<Record<string, string>> = { n: '\\n', t: '\\t', r: '\\r', f: '\\f', v: '\\v' };

/** Null for what is not proven to mean the same, or what Postgres refuses. */
export function translateRegex(pattern: string): Regex | null {
  if (pattern.length > PATTERN_LENGTH_MAX || pattern.startsWith('***') || pattern.startsWith('(?')) return null;
  try {
    const made = new Translator(pattern).translate();
    // What JavaScript refuses, too, is nothing to build on.
    void new RegExp(made.source, 'su');
    return made;
  } catch {
    return null;
  }
}

class Translator {
  readonly #text: string;
  #at = 0;
  #isAsciiOnly = false;
  #isSimple = true;
  #repetitions = 0;
  /** Of each open group: whether it holds a repetition. */
  readonly #groups: boolean[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  translate(): Regex {
    let source = '';
    /** Whether the last thing may be repeated, and whether it is a group that holds a repetition. */
    let atom: 'none' | 'atom' | 'repeating' = 'none';
    let isRepeated = false;
    while (this.#at < this.#text.length) {
      const char = this.#text[this.#at] as string;
      if (char === '*' || char === '+' || char === '?' || (char === '{' && /^\{\d/.test(this.#text.slice(this.#at)))) {
        if (atom === 'none') throw new RangeError('nothing to repeat');
        // (a+)+ takes for ever in an engine that tries one way after the other.
        const quantifier = this.#quantifier();
        const isUnbounded = !/^\??$|^\{\d+(?:,\d+)?\}\??$/.test(quantifier);
        if (atom === 'repeating' && quantifier !== '?') throw new RangeError('a repetition of repetitions');
        if (isUnbounded || quantifier.startsWith('{')) this.#repetitions += 1;
        if (this.#groups.length > 0) this.#groups[this.#groups.length - 1] = true;
        if (isRepeated || (quantifier.endsWith('?') && quantifier.length > 1)) this.#isSimple = false;
        source += quantifier;
        isRepeated = true;
        atom = 'none';
        continue;
      }
      if (isRepeated && !(char === '$' && this.#at === this.#text.length - 1)) this.#isSimple = false;
      switch (char) {
        case '(': {
          this.#isSimple = false;
          const isPlain = this.#text.startsWith('(?:', this.#at);
          if (this.#text[this.#at + 1] === '?' && !isPlain) throw new RangeError('a special group');
          // Parts are not given back.
          source += '(?:';
          this.#at += isPlain ? 3 : 1;
          this.#groups.push(false);
          atom = 'none';
          continue;
        }
        case ')': {
          const holds = this.#groups.pop();
          if (holds === undefined || source.endsWith('(?:') || source.endsWith('|'))
            throw new RangeError('an empty group');
          if (holds && this.#groups.length > 0) this.#groups[this.#groups.length - 1] = true;
          source += ')';
          this.#at += 1;
          atom = holds ? 'repeating' : 'atom';
          continue;
        }
        case '|':
          this.#isSimple = false;
          if (source === '' || source.endsWith('(?:') || source.endsWith('|')) throw new RangeError('an empty branch');
          source += '|';
          this.#at += 1;
          atom = 'none';
          continue;
        case '^':
        case '$':
          source += char;
          this.#at += 1;
          atom = 'none';
          continue;
        case '.':
          source += '.';
          this.#at += 1;
          break;
        case '[':
          source += this.#bracket();
          break;
        case '\\': {
          const escaped = this.#escape();
          source += escaped.source;
          if (escaped.isConstraint) {
            atom = 'none';
            continue;
          }
          break;
        }
        default:
          source += quoted(this.#character());
      }
      atom = 'atom';
    }
    if (this.#groups.length > 0 || source === '' || source.endsWith('|')) throw new RangeError('unbalanced');
    return { source, isAsciiOnly: this.#isAsciiOnly, isSimple: this.#isSimple, repetitions: this.#repetitions };
  }

  /** A whole code point. */
  #character(): string {
    const char = String.fromCodePoint(this.#text.codePointAt(this.#at) as number);
    this.#at += char.length;
    return char;
  }

  #quantifier(): string {
    const found = /^(?:[*+?]|\{(\d{1,3})(,(\d{1,3})?)?\})\??/.exec(this.#text.slice(this.#at));
    if (found === null) throw new RangeError('a bound that is left to the core');
    const [all, least, , most] = found;
    if (
      least !== undefined &&
      (Number(least) > 255 || Number(most ?? 0) > 255 || (most !== undefined && Number(most) < Number(least)))
    ) {
      throw new RangeError('invalid repetition count');
    }
    this.#at += all.length;
    // Two in a row are an error.
    if (/^[*+?]/.test(this.#text.slice(this.#at))) throw new RangeError('quantifier operand invalid');
    return all;
  }

  #escape(): { source: string; isConstraint: boolean } {
    const char = this.#text[this.#at + 1];
    if (char === undefined) throw new RangeError('invalid escape');
    this.#at += 2;
    const constraint = CONSTRAINTS[char];
    if (constraint !== undefined) {
      if (char !== 'A' && char !== 'Z') this.#isAsciiOnly = true;
      return { source: constraint, isConstraint: true };
    }
    const inside = CLASS_ESCAPES[char];
    const outside = NEGATED_ESCAPES[char];
    if (inside !== undefined || outside !== undefined) {
      this.#isAsciiOnly = true;
      return { source: inside === undefined ? `[^${outside}]` : `[${inside}]`, isConstraint: false };
    }
    const control = CONTROLS[char];
    if (control !== undefined) return { source: control, isConstraint: false };
    if (/[A-Za-z0-9]/.test(char)) throw new RangeError('an escape that is left to the core');
    if (char.charCodeAt(0) > 127) throw new RangeError('an escape that is left to the core');
    return { source: quoted(char), isConstraint: false };
  }

  #bracket(): string {
    this.#at += 1;
    let source = '[';
    if (this.#text[this.#at] === '^') {
      source += '^';
      this.#at += 1;
    }
    let isFirst = true;
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined) throw new RangeError('brackets [] not balanced');
      if (char === ']' && !isFirst) break;
      isFirst = false;
      if (this.#text.startsWith('[:', this.#at)) {
        const found = /^\[:([a-z]+):\]/.exec(this.#text.slice(this.#at));
        const named = found === null ? undefined : CLASSES[found[1] as string];
        if (found === null || named === undefined) throw new RangeError('invalid character class');
        this.#isAsciiOnly = true;
        source += named;
        this.#at += found[0].length;
        continue;
      }
      if (/^\[[.=]/.test(this.#text.slice(this.#at))) throw new RangeError('a collating element');
      const own = this.#bracketItem();
      if (
        own.length > 1 ||
        this.#text[this.#at] !== '-' ||
        this.#text[this.#at + 1] === ']' ||
        this.#text[this.#at + 1] === undefined
      ) {
        source += own.length > 1 ? own : classQuoted(own);
        continue;
      }
      this.#at += 1;
      if (this.#text.startsWith('[', this.#at)) throw new RangeError('invalid character range');
      const end = this.#bracketItem();
      if (end.length > 1 || (end.codePointAt(0) as number) < (own.codePointAt(0) as number))
        throw new RangeError('invalid character range');
      source += `${classQuoted(own)}-${classQuoted(end)}`;
    }
    this.#at += 1;
    return `${source}]`;
  }

  /** One character, or a class that stands for several. */
  #bracketItem(): string {
    if (this.#text[this.#at] !== '\\') {
      const char = this.#character();
      if (char.length > 1) throw new RangeError('a character that is left to the core');
      return char;
    }
    const char = this.#text[this.#at + 1];
    this.#at += 2;
    const inside = CLASS_ESCAPES[char ?? ''];
    if (inside !== undefined) {
      this.#isAsciiOnly = true;
      return inside;
    }
    const control: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f', v: '\v' };
    if (char !== undefined && control[char] !== undefined) return control[char];
    if (char === undefined || /[A-Za-z0-9]/.test(char)) throw new RangeError('an escape that is left to the core');
    return char;
  }
}

function quoted(char: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char;
}

function classQuoted(char: string): string {
  if (char === '\n') return '\\n';
  return /[\\^\]\-[]/.test(char) ? `\\${char}` : char;
}

/** A SIMILAR TO pattern as ARE, the way similar_to_escape() does it; null for what is left to the core. */
export function similarToRegex(pattern: string, escape: string): string | null {
  let made = '^(?:';
  let isInBracket = false;
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] as string;
    if (escape !== '' && char === escape) {
      at += 1;
      const next = pattern[at];
      // The escape before a quote separates parts of substring().
      if (next === undefined || next === '"' || /[A-Za-z0-9]/.test(next)) return null;
      made += `\\${next}`;
    } else if (isInBracket) {
      if (char === '\\') return null;
      made += char;
      if (char === ']') isInBracket = false;
    } else if (char === '[') {
      // A bracket right after it would be one of the set.
      if (/^\[\^?\]/.test(pattern.slice(at))) return null;
      made += char;
      isInBracket = true;
    } else if (char === '%') made += '.*';
    else if (char === '_') made += '.';
    else if (char === '(') made += '(?:';
    else if (char === '\\' || char === '.' || char === '^' || char === '$') made += `\\${char}`;
    else made += char;
  }
  return `${made})$`;
}

/** Texts this long are left to the core when a pattern repeats more than once. */
const REPEATED_TEXT_MAX = 2_000;

/** Compiled patterns kept. */
const COMPILED_COUNT_MAX = 500;

interface Compiled extends Regex {
  readonly first: RegExp;
  readonly every: RegExp;
}

const compiled = new Map<string, Compiled>();

function compile(pattern: string, isCaseless: boolean): Compiled {
  const key = `${isCaseless ? 'i' : 'c'}${pattern}`;
  let made = compiled.get(key);
  if (made === undefined) {
    const regex = translateRegex(pattern);
    if (regex === null) throw new RangeError('a pattern that is left to the core');
    const flags = isCaseless ? 'isu' : 'su';
    made = { ...regex, first: new RegExp(regex.source, flags), every: new RegExp(regex.source, `g${flags}`) };
    if (compiled.size >= COMPILED_COUNT_MAX) compiled.clear();
    compiled.set(key, made);
  }
  return made;
}

// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;

function ready(pattern: string, isCaseless: boolean, text: string): Compiled {
  const made = compile(pattern, isCaseless);
  if ((made.isAsciiOnly || isCaseless) && !(ASCII.test(text) && (!isCaseless || ASCII.test(pattern)))) {
    throw new RangeError('characters of a locale');
  }
  if (made.repetitions > 1 && text.length > REPEATED_TEXT_MAX) throw new RangeError('a text too long for this pattern');
  return made;
}

/** `text ~ pattern`. Throws what is left to the core. */
export function matches(text: string, pattern: string, isCaseless: boolean): boolean {
  return ready(pattern, isCaseless, text).first.test(text);
}

/** regexp_replace() with a replacement without references to parts. */
export function replaceMatches(text: string, pattern: string, by: string, flags: string): string {
  if (!/^[gi]*$/.test(flags) || by.includes('\\')) throw new RangeError('left to the core');
  const regex = ready(pattern, flags.includes('i'), text);
  if (!regex.isSimple || regex.first.test('')) throw new RangeError('a pattern with several ways to match');
  return text.replace(flags.includes('g') ? regex.every : regex.first, () => by);
}

/** substring(text from pattern) without parts; NULL when nothing matches. */
export function firstMatch(text: string, pattern: string): string | null {
  const regex = ready(pattern, false, text);
  if (!regex.isSimple) throw new RangeError('a pattern with several ways to match');
  return regex.first.exec(text)?.[0] ?? null;
}

/** LIKE with a pattern that was computed. Throws where the pattern ends in its escape. */
export function isLike(text: string, pattern: string, isCaseless: boolean): boolean {
  if (isCaseless && !(ASCII.test(text) && ASCII.test(pattern))) throw new RangeError('letters of a locale');
  let source = '^';
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] as string;
    if (char === '%') source += '.*';
    else if (char === '_') source += '.';
    else if (char === '\\') {
      at += 1;
      if (at === pattern.length) throw new RangeError('LIKE pattern must not end with escape character');
      source += quoted(pattern[at] as string);
    } else source += quoted(char);
  }
  if (pattern.length > PATTERN_LENGTH_MAX || (text.length > REPEATED_TEXT_MAX && source.split('.*').length > 3)) {
    throw new RangeError('a text too long for this pattern');
  }
  return new RegExp(`${source}$`, isCaseless ? 'isu' : 'su').test(text);
}
