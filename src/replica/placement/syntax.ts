// The little language of placements: `table [(column, …)] [WHERE condition]`, as in CREATE PUBLICATION.
//
//   table       name (of schema public) | schema.name | schema.beginning* | schema.* | *
//   condition   condition OR condition | condition AND condition | NOT condition | ( condition ) | test
//   test        column = <> != < <= > >= constant            column IS [NOT] DISTINCT FROM constant
//               column [NOT] IN (constant, …)                column [NOT] BETWEEN constant AND constant
//               column [NOT] LIKE 'beginning%'               column IS [NOT] NULL | TRUE | FALSE | UNKNOWN
//               column                                       TRUE | FALSE
//   constant    'text'   12   -1.5   TRUE   FALSE            constant::type is accepted when it is the column's own type
//
// Names fold as in SQL unless quoted. What is not in here is refused, with line and column: a filter that means something
// else here than in Postgres would leak.

import { Fault } from '../../base/fault.ts';

export interface Constant {
  readonly kind: 'string' | 'number' | 'boolean';
  /** The text within the quotes, the number as written, or `true` / `false`. */
  readonly text: string;
  /** Lower case; null without a cast. */
  readonly cast: string | null;
  /** Offset in the text. */
  readonly at: number;
}

export type Comparison = '=' | '<>' | '<' | '<=' | '>' | '>=';

export type Condition =
  | { readonly kind: 'and' | 'or'; readonly parts: readonly Condition[] }
  | { readonly kind: 'not'; readonly part: Condition }
  | { readonly kind: 'literal'; readonly value: boolean }
  | ({ readonly kind: 'compare'; readonly operator: Comparison; readonly value: Constant } & OnColumn)
  | ({ readonly kind: 'in'; readonly values: readonly Constant[] } & OnColumn)
  | ({ readonly kind: 'distinct'; readonly value: Constant } & OnColumn)
  /** `beginning` without its escapes; `open` when a % follows it. */
  | ({ readonly kind: 'like'; readonly beginning: string; readonly open: boolean } & OnColumn)
  | ({ readonly kind: 'is'; readonly what: 'null' | 'true' | 'false' } & OnColumn)
  | ({ readonly kind: 'column' } & OnColumn);

interface OnColumn {
  readonly column: string;
  /** Offset of the column's name in the text. */
  readonly at: number;
}

export interface PlacedTable {
  /** Null: in every schema. */
  readonly schema: string | null;
  /** Null: every table. */
  readonly name: string | null;
  /** True: every table whose name begins with `name`. */
  readonly isPrefix: boolean;
  /** Null: all of them, also those that come later. */
  readonly columns: readonly string[] | null;
  readonly condition: Condition | null;
  /** The condition as written; null without one. */
  readonly conditionText: string | null;
  /** Where `conditionText` begins in the item. */
  readonly conditionAt: number;
}

/** Longer ones are refused. */
const ITEM_CHARS_MAX = 20_000;
/** Parentheses and NOTs within each other. */
const DEPTH_MAX = 50;

/** Reads one item of `tables`. Throws Fault `placement-invalid` that says where. */
export function parsePlacedTable(text: string): PlacedTable {
  return new Parser(text).item();
}

/** Reads a condition alone. Throws Fault `placement-invalid`. */
export function parseCondition(text: string): Condition {
  return new Parser(text).wholeCondition();
}

/** A Fault that says what is wrong at `at` of `text`. */
export function invalidAt(text: string, at: number, message: string, hint?: string): Fault {
  const before = text.slice(0, at).split('\n');
  const line = before.length;
  const column = (before.at(-1) as string).length + 1;
  return new Fault('placement-invalid', {
    message: `${message} (line ${line}, column ${column} of: ${text.length > 200 ? `${text.slice(0, 200)}…` : text})`,
    sqlstate: '42601',
    ...(hint === undefined ? {} : { hint }),
  });
}

const GRAMMAR_HINT =
  "a condition is made of column = constant, <>, <, <=, >, >=, IN, BETWEEN, LIKE 'beginning%', IS [NOT] NULL, AND, OR, NOT";

type TokenKind = 'name' | 'quoted' | 'string' | 'number' | 'symbol' | 'end';

interface Token {
  readonly kind: TokenKind;
  /** Names folded, quoted names and strings without their quotes. */
  readonly text: string;
  readonly at: number;
  readonly end: number;
}

const RESERVED: ReadonlySet<string> = new Set([
  'and',
  'between',
  'distinct',
  'false',
  'from',
  'in',
  'is',
  'like',
  'not',
  'null',
  'or',
  'true',
  'unknown',
  'where',
]);

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    if (text.length > ITEM_CHARS_MAX) {
      throw new Fault('placement-invalid', {
        message: `a table of a placement is longer than ${ITEM_CHARS_MAX} characters`,
        sqlstate: '54000',
      });
    }
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  item(): PlacedTable {
    const { schema, name, isPrefix } = this.#tableName();
    let columns: string[] | null = null;
    if (this.#takeSymbol('(')) {
      columns = [];
      do {
        const token = this.#token;
        const column = this.#name('the name of a column');
        if (columns.includes(column)) throw invalidAt(this.#text, token.at, `column "${column}" stands here twice`);
        columns.push(column);
      } while (this.#takeSymbol(','));
      this.#expectSymbol(')');
    }
    if (!this.#takeWord('where')) {
      this.#expectEnd('WHERE or the end');
      return { schema, name, isPrefix, columns, condition: null, conditionText: null, conditionAt: 0 };
    }
    const conditionAt = this.#token.at;
    const condition = this.#or();
    this.#expectEnd('AND, OR or the end');
    const conditionText = this.#text.slice(conditionAt).trim();
    return { schema, name, isPrefix, columns, condition, conditionText, conditionAt };
  }

  wholeCondition(): Condition {
    const condition = this.#or();
    this.#expectEnd('AND, OR or the end');
    return condition;
  }

  #tableName(): Pick<PlacedTable, 'schema' | 'name' | 'isPrefix'> {
    if (this.#takeSymbol('*')) return { schema: null, name: null, isPrefix: false };
    const first = this.#name('the name of a table, or *');
    if (!this.#takeSymbol('.')) return { schema: 'public', name: first, isPrefix: this.#takeStar() };
    if (this.#takeSymbol('*')) return { schema: first, name: null, isPrefix: false };
    const name = this.#name('the name of a table, or *');
    return { schema: first, name, isPrefix: this.#takeStar() };
  }

  /** A * that touches the name before it. */
  #takeStar(): boolean {
    const previous = this.#tokens[this.#next - 1] as Token;
    return previous.end === this.#token.at && this.#takeSymbol('*');
  }

  #or(): Condition {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw this.#unexpected(`no more than ${DEPTH_MAX} conditions within each other`);
    const parts = [this.#and()];
    while (this.#takeWord('or')) parts.push(this.#and());
    this.#depth -= 1;
    return parts.length === 1 ? (parts[0] as Condition) : { kind: 'or', parts };
  }

  #and(): Condition {
    const parts = [this.#not()];
    while (this.#takeWord('and')) parts.push(this.#not());
    return parts.length === 1 ? (parts[0] as Condition) : { kind: 'and', parts };
  }

  #not(): Condition {
    let negations = 0;
    while (this.#takeWord('not')) negations += 1;
    const part = this.#test();
    // NOT NOT x is x in three-valued logic, too.
    return negations % 2 === 1 ? { kind: 'not', part } : part;
  }

  #test(): Condition {
    if (this.#takeSymbol('(')) {
      const inner = this.#or();
      this.#expectSymbol(')');
      return inner;
    }
    if (this.#takeWord('true')) return { kind: 'literal', value: true };
    if (this.#takeWord('false')) return { kind: 'literal', value: false };
    const { at } = this.#token;
    const column = this.#name('a column');
    const token = this.#token;
    if (token.kind === 'symbol') return this.#comparison(column, at, token);
    if (token.kind !== 'name') return { kind: 'column', column, at };
    if (this.#takeWord('is')) return this.#is(column, at);
    const negated = this.#takeWord('not');
    const test = this.#wordTest(column, at);
    if (test === null) {
      if (negated) throw this.#unexpected('IN, BETWEEN or LIKE');
      return { kind: 'column', column, at };
    }
    return negated ? { kind: 'not', part: test } : test;
  }

  #comparison(column: string, at: number, token: Token): Condition {
    const operator = token.text === '!=' ? '<>' : token.text;
    if (!isComparison(operator)) {
      if (token.text === ')') return { kind: 'column', column, at };
      throw this.#unexpected('a comparison');
    }
    this.#next += 1;
    return { kind: 'compare', column, at, operator, value: this.#constant() };
  }

  #is(column: string, at: number): Condition {
    const negated = this.#takeWord('not');
    const wrap = (part: Condition): Condition => (negated ? { kind: 'not', part } : part);
    if (this.#takeWord('null') || this.#takeWord('unknown')) return wrap({ kind: 'is', column, at, what: 'null' });
    if (this.#takeWord('true')) return wrap({ kind: 'is', column, at, what: 'true' });
    if (this.#takeWord('false')) return wrap({ kind: 'is', column, at, what: 'false' });
    if (!this.#takeWord('distinct')) throw this.#unexpected('NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM');
    if (!this.#takeWord('from')) throw this.#unexpected('FROM');
    return wrap({ kind: 'distinct', column, at, value: this.#constant() });
  }

  #wordTest(column: string, at: number): Condition | null {
    if (this.#takeWord('in')) {
      this.#expectSymbol('(');
      const values = [this.#constant()];
      while (this.#takeSymbol(',')) values.push(this.#constant());
      this.#expectSymbol(')');
      return { kind: 'in', column, at, values };
    }
    if (this.#takeWord('between')) {
      const low = this.#constant();
      if (!this.#takeWord('and')) throw this.#unexpected('AND');
      const high = this.#constant();
      return {
        kind: 'and',
        parts: [
          { kind: 'compare', column, at, operator: '>=', value: low },
          { kind: 'compare', column, at, operator: '<=', value: high },
        ],
      };
    }
    if (!this.#takeWord('like')) return null;
    const token = this.#token;
    if (token.kind !== 'string') throw this.#unexpected("a pattern such as 'beginning%'");
    this.#next += 1;
    return { kind: 'like', column, at, ...this.#beginning(token) };
  }

  /** `abc%` and `abc` are understood, with \ before % and _ that mean themselves. */
  #beginning(token: Token): { beginning: string; open: boolean } {
    let beginning = '';
    for (let index = 0; index < token.text.length; index += 1) {
      const char = token.text[index] as string;
      if (char === '\\') {
        index += 1;
        const escaped = token.text[index];
        if (escaped === undefined) throw invalidAt(this.#text, token.at, 'the pattern ends with its escape character');
        beginning += escaped;
      } else if (char === '%' && index === token.text.length - 1) {
        return { beginning, open: true };
      } else if (char === '%' || char === '_') {
        throw invalidAt(
          this.#text,
          token.at,
          'LIKE is understood with one % at the end only',
          'write \\% or \\_ for the characters themselves',
        );
      } else {
        beginning += char;
      }
    }
    return { beginning, open: false };
  }

  #constant(): Constant {
    const token = this.#token;
    let kind: Constant['kind'];
    if (token.kind === 'string') kind = 'string';
    else if (token.kind === 'number') kind = 'number';
    else if (token.kind === 'name' && (token.text === 'true' || token.text === 'false')) kind = 'boolean';
    else if (token.kind === 'name' && token.text === 'null')
      throw invalidAt(this.#text, token.at, 'comparing with NULL is never true', 'write IS NULL or IS NOT NULL');
    else throw this.#unexpected('a constant');
    this.#next += 1;
    let cast: string | null = null;
    while (this.#takeSymbol('::')) {
      const names = [this.#name('the name of a type')];
      while (this.#token.kind === 'name' && !RESERVED.has(this.#token.text)) names.push(this.#name(''));
      cast = names.join(' ');
    }
    return { kind, text: token.text, cast, at: token.at };
  }

  get #token(): Token {
    return this.#tokens[this.#next] as Token;
  }

  #name(what: string): string {
    const token = this.#token;
    const isName = token.kind === 'quoted' || (token.kind === 'name' && !RESERVED.has(token.text));
    if (!isName) throw this.#unexpected(what);
    this.#next += 1;
    return token.text;
  }

  #takeSymbol(text: string): boolean {
    const token = this.#token;
    if (token.kind !== 'symbol' || token.text !== text) return false;
    this.#next += 1;
    return true;
  }

  #takeWord(text: string): boolean {
    const token = this.#token;
    if (token.kind !== 'name' || token.text !== text) return false;
    this.#next += 1;
    return true;
  }

  #expectSymbol(text: string): void {
    if (!this.#takeSymbol(text)) throw this.#unexpected(`"${text}"`);
  }

  #expectEnd(what: string): void {
    if (this.#token.kind !== 'end') throw this.#unexpected(what);
  }

  #unexpected(expected: string): Fault {
    const token = this.#token;
    const found = token.kind === 'end' ? 'the end' : `"${this.#text.slice(token.at, token.end)}"`;
    return invalidAt(this.#text, token.at, `expected ${expected}, found ${found}`, GRAMMAR_HINT);
  }
}

function isComparison(text: string): text is Comparison {
  return text === '=' || text === '<>' || text === '<' || text === '<=' || text === '>' || text === '>=';
}

const TOKEN =
  /(?<space>\s+)|(?<quoted>"(?:[^"]|"")+")|(?<string>'(?:[^']|'')*')|(?<number>[+-]?\d+(?:\.\d+)?)|(?<name>[\p{L}_][\p{L}\p{N}_$]*)|(?<symbol>::|<>|!=|<=|>=|[=<>(),.*])/uy;

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const found = TOKEN.exec(text);
    if (found === null) throw invalidAt(text, at, `"${text[at]}" is not understood`, GRAMMAR_HINT);
    const end = at + found[0].length;
    const { quoted, string, number, name, symbol } = found.groups as Record<string, string | undefined>;
    if (quoted !== undefined) {
      tokens.push({ kind: 'quoted', text: quoted.slice(1, -1).replaceAll('""', '"'), at, end });
    } else if (string !== undefined) {
      const previous = tokens.at(-1);
      // E'…', U&'…', B'…' mean something else than plain strings.
      if (previous !== undefined && previous.end === at && previous.kind !== 'symbol')
        throw invalidAt(text, previous.at, 'only plain strings are understood');
      tokens.push({ kind: 'string', text: string.slice(1, -1).replaceAll("''", "'"), at, end });
    } else if (number !== undefined) tokens.push({ kind: 'number', text: number, at, end });
    // Postgres folds ASCII only.
    else if (name !== undefined)
      tokens.push({ kind: 'name', text: name.replace(/[A-Z]/g, (letter) => letter.toLowerCase()), at, end });
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol, at, end });
    at = end;
  }
  tokens.push({ kind: 'end', text: '', at: text.length, end: text.length });
  return tokens;
}
