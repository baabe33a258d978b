// What a statement may leave behind in its session. Over-caution is cheap here: a flag only makes the proxy ask the server
// what is really there once the transaction is over, so a word is enough where the grammar would say more.

export const EFFECT = {
  /** Session settings: SET, RESET, set_config. */
  settings: 1,
  /** LISTEN, UNLISTEN. */
  channels: 2,
  /** SQL-level PREPARE, EXECUTE, DEALLOCATE: names that live in one session. */
  prepared: 4,
  temporary: 8,
  locks: 16,
  cursors: 32,
  /** Nothing can take it back: the connection stays with its client and is closed afterwards. */
  sticky: 64,
  /** DISCARD ALL, DEALLOCATE ALL inside something larger: prepared statements of the connection are gone. */
  forgets: 128,
  /** May end what pins: DROP, CLOSE, ROLLBACK … Only of interest while pinned. */
  releases: 256,
  /** Asks what nextval gave last in this session: currval, lastval. */
  sequences: 512,
} as const;

/** Statements the proxy may have to answer or accompany by itself; only when they stand alone. */
export type SpecialStatement =
  | { readonly tag: 'discardAll' }
  | { readonly tag: 'deallocateAll' }
  | { readonly tag: 'deallocate'; readonly name: string };

export interface Scan {
  readonly effects: number;
  /** Lower-case names of settings that are set for the session; null when a name is not in the text. */
  readonly settings: readonly string[];
  /** Texts of SQL-level PREPAREs by name. */
  readonly prepares: ReadonlyMap<string, string> | null;
  /** Names after EXECUTE. */
  readonly executes: readonly string[];
  readonly special: SpecialStatement | null;
}

export const NO_EFFECTS: Scan = { effects: 0, settings: [], prepares: null, executes: [], special: null };

/** Of a statement too long to be looked at: everything is possible. */
export const UNKNOWN_EFFECTS: Scan = {
  ...NO_EFFECTS,
  effects: EFFECT.settings | EFFECT.temporary | EFFECT.locks | EFFECT.cursors | EFFECT.channels | EFFECT.forgets,
};

/** Statements longer than this are not read; see UNKNOWN_EFFECTS. */
export const SCAN_BYTES_MAX = 1024 * 1024;

// One regular expression decides for nearly all statements that there is nothing to see. It must never miss: whatever
// can have an effect either begins the text, follows a semicolon, or contains one of the words anywhere.
const SUSPICIOUS =
  /^\s*(?:--|\/\*|;|set\b|reset\b|discard\b|prepare\b|execute\b|deallocate\b|listen\b|unlisten\b|load\b|do\b|drop\b|close\b|rollback\b|abort\b|explain\b|begin\s+;)|;\s*\S|\btemp(?:orary)?\b|pg_temp|advisory_|set_config|setseed|\bhold\b|dblink_connect|currval|lastval/i;

const cache = new Map<string, Scan>();
const CACHE_TEXTS_MAX = 1000;
const CACHE_TEXT_LENGTH_MAX = 2000;

/** Effects of a query string, which may hold several statements. */
export function scanStatement(text: string): Scan {
  if (!SUSPICIOUS.test(text)) return NO_EFFECTS;
  const known = cache.get(text);
  if (known !== undefined) return known;
  const scan = scanSlowly(text);
  if (text.length <= CACHE_TEXT_LENGTH_MAX) {
    if (cache.size >= CACHE_TEXTS_MAX) cache.clear();
    cache.set(text, scan);
  }
  return scan;
}

export type TokenKind = 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'symbol';

export interface Token {
  readonly kind: TokenKind;
  /** Words in lower case, quoted identifiers without their quotes, strings without theirs; else as written. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const WORD_START = /[A-Za-z_\u0080-\uffff]/;
const WORD = /[A-Za-z0-9_$\u0080-\uffff]*/y;
const NUMBER = /(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?|0[xXoObB][0-9A-Fa-f_]+/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y;

/** Tokens of SQL as PostgreSQL's lexer cuts them (standard_conforming_strings on). Never throws: what is open ends with the text. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const add = (kind: TokenKind, value: string, start: number, end: number): void => {
    tokens.push({ kind, text: value, start, end });
    at = end;
  };
  while (at < text.length) {
    const character = text[at] as string;
    if (/\s/.test(character)) {
      at += 1;
    } else if (character === '-' && text[at + 1] === '-') {
      const end = text.indexOf('\n', at);
      at = end === -1 ? text.length : end + 1;
    } else if (character === '/' && text[at + 1] === '*') {
      at = skipComment(text, at);
    } else if (character === "'") {
      const end = quotedEnd(text, at, "'", false);
      add('string', text.slice(at + 1, end - 1).replaceAll("''", "'"), at, end);
    } else if (character === '"') {
      const end = quotedEnd(text, at, '"', false);
      add('quoted', text.slice(at + 1, end - 1).replaceAll('""', '"'), at, end);
    } else if (WORD_START.test(character)) {
      scanWord(text, at, add);
    } else if (/\d/.test(character) || (character === '.' && /\d/.test(text[at + 1] ?? ''))) {
      NUMBER.lastIndex = at;
      const found = NUMBER.exec(text)?.[0] ?? character;
      add('number', found, at, at + found.length);
    } else if (character === '$') {
      scanDollar(text, at, add);
    } else {
      add('symbol', character, at, at + 1);
    }
  }
  return tokens;
}

type Add = (kind: TokenKind, value: string, start: number, end: number) => void;

function scanWord(text: string, at: number, add: Add): void {
  WORD.lastIndex = at;
  const word = WORD.exec(text)?.[0] ?? (text[at] as string);
  const after = text[at + word.length];
  if (after === "'" && /^[ebxn]$/i.test(word)) {
    const end = quotedEnd(text, at + word.length, "'", /^e$/i.test(word));
    add('string', text.slice(at + word.length + 1, end - 1), at, end);
  } else if (/^u$/i.test(word) && after === '&' && /['"]/.test(text[at + 2] ?? '')) {
    const quote = text[at + 2] as string;
    const end = quotedEnd(text, at + 2, quote, false);
    add(quote === '"' ? 'quoted' : 'string', text.slice(at + 3, end - 1), at, end);
  } else add('word', word.toLowerCase(), at, at + word.length);
}

function scanDollar(text: string, at: number, add: Add): void {
  DOLLAR_TAG.lastIndex = at;
  const tag = DOLLAR_TAG.exec(text)?.[0];
  if (tag === undefined) {
    const digits = /^\d+/.exec(text.slice(at + 1, at + 12))?.[0] ?? '';
    add(digits === '' ? 'symbol' : 'parameter', `$${digits}`, at, at + 1 + digits.length);
    return;
  }
  const close = text.indexOf(tag, at + tag.length);
  const end = close === -1 ? text.length : close + tag.length;
  add('string', text.slice(at + tag.length, close === -1 ? text.length : close), at, end);
}

/** One past the closing quote; doubled quotes (and backslashes when `escapes`) do not close. */
function quotedEnd(text: string, start: number, quote: string, escapes: boolean): number {
  let at = start + 1;
  while (at < text.length) {
    const character = text[at];
    if (escapes && character === '\\') {
      at += 2;
      continue;
    }
    if (character === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at += 2;
      continue;
    }
    at += 1;
  }
  return text.length + 1;
}

/** Comments nest in PostgreSQL. */
function skipComment(text: string, start: number): number {
  let depth = 1;
  let at = start + 2;
  while (at < text.length && depth > 0) {
    if (text[at] === '*' && text[at + 1] === '/') {
      depth -= 1;
      at += 2;
    } else if (text[at] === '/' && text[at + 1] === '*') {
      depth += 1;
      at += 2;
    } else at += 1;
  }
  return at;
}

/** Cuts at top-level semicolons (SQL-standard function bodies with BEGIN ATOMIC are cut too, which only errs on the safe side). */
export function splitStatements(tokens: readonly Token[]): Token[][] {
  const statements: Token[][] = [];
  let current: Token[] = [];
  for (const token of tokens) {
    if (token.kind === 'symbol' && token.text === ';') {
      if (current.length > 0) statements.push(current);
      current = [];
    } else current.push(token);
  }
  if (current.length > 0) statements.push(current);
  return statements;
}

interface Draft {
  effects: number;
  settings: string[];
  prepares: Map<string, string> | null;
  executes: string[];
  special: SpecialStatement | null;
}

function scanSlowly(text: string): Scan {
  const statements = splitStatements(tokenize(text));
  const draft: Draft = { effects: 0, settings: [], prepares: null, executes: [], special: null };
  for (const statement of statements) scanOne(text, statement, draft);
  if (statements.length > 1) {
    // Only the statement that stands alone is answered by the proxy; in company the server has to see it.
    if (draft.special !== null) draft.effects |= EFFECT.forgets;
    draft.special = null;
  }
  return draft.effects === 0 && draft.special === null ? NO_EFFECTS : draft;
}

function scanOne(text: string, statement: readonly Token[], draft: Draft): void {
  const first = statement[0] as Token;
  const word = (index: number): string => (statement[index]?.kind === 'word' ? (statement[index]?.text ?? '') : '');
  switch (word(0)) {
    case 'set':
      scanSet(statement, draft);
      return;
    case 'reset':
      scanReset(statement, draft);
      return;
    case 'discard':
      if (word(1) === 'all') {
        draft.special = { tag: 'discardAll' };
        draft.effects |= EFFECT.settings | EFFECT.channels | EFFECT.prepared | EFFECT.releases;
      } else draft.effects |= EFFECT.releases;
      return;
    case 'prepare':
      // PREPARE TRANSACTION is another thing.
      if (word(1) === 'transaction' && statement[2]?.kind === 'string') return;
      draft.effects |= EFFECT.prepared;
      draft.prepares ??= new Map();
      draft.prepares.set(nameOf(statement[1]), text.slice(first.start, (statement.at(-1) as Token).end));
      return;
    case 'execute':
      draft.effects |= EFFECT.prepared;
      draft.executes.push(nameOf(statement[1]));
      return;
    case 'deallocate': {
      draft.effects |= EFFECT.prepared;
      const at = word(1) === 'prepare' && statement.length > 2 ? 2 : 1;
      draft.special =
        word(at) === 'all' ? { tag: 'deallocateAll' } : { tag: 'deallocate', name: nameOf(statement[at]) };
      return;
    }
    case 'listen':
    case 'unlisten':
      draft.effects |= EFFECT.channels;
      return;
    case 'load':
      draft.effects |= EFFECT.sticky;
      return;
    case 'drop':
    case 'close':
    case 'rollback':
    case 'abort':
      draft.effects |= EFFECT.releases;
      break;
    case 'explain':
      if (statement.some((token) => token.kind === 'word' && token.text === 'execute')) {
        draft.effects |= EFFECT.prepared;
        const at = statement.findIndex((token) => token.text === 'execute');
        draft.executes.push(nameOf(statement[at + 1]));
      }
      break;
    default:
  }
  scanWords(statement, draft);
}

const TEMPORARY = /\btemp(?:orary)?\b|\bpg_temp/;
// Transaction-level locks (pg_advisory_xact_lock) end by themselves.
const LOCK = /advisory_(?:un)?lock/;

/** Words that matter wherever they stand; in strings only where these are code (DO). */
function scanWords(statement: readonly Token[], draft: Draft): void {
  const code = isCode(statement);
  statement.forEach((token, index) => {
    if (token.kind === 'number' || token.kind === 'symbol' || (token.kind === 'string' && !code)) return;
    const lower = token.text.toLowerCase();
    if (TEMPORARY.test(lower)) draft.effects |= EFFECT.temporary;
    if (LOCK.test(lower)) draft.effects |= EFFECT.locks;
    if (/\bhold\b/.test(lower)) draft.effects |= EFFECT.cursors;
    if (lower.includes('setseed') || lower.includes('dblink_connect')) draft.effects |= EFFECT.sticky;
    if (lower.includes('currval') || lower.includes('lastval')) draft.effects |= EFFECT.sequences;
    if (lower === 'set_config') scanSetConfig(statement, index, draft);
    else if (lower.includes('set_config')) draft.effects |= EFFECT.settings;
    if (token.kind === 'string' && /\b(?:set|reset|listen)\b/.test(lower)) {
      draft.effects |= EFFECT.settings | EFFECT.channels;
    }
  });
}

function isCode(statement: readonly Token[]): boolean {
  return statement[0]?.text === 'do';
}

function scanSet(statement: readonly Token[], draft: Draft): void {
  let at = 1;
  const word = (index: number): string => (statement[index]?.kind === 'word' ? (statement[index]?.text ?? '') : '');
  if (word(1) === 'local' && statement[2] !== undefined && statement[2].text !== '=' && statement[2].text !== 'to')
    return;
  if (word(1) === 'transaction' || word(1) === 'constraints') return;
  if (word(1) === 'session' && statement[2] !== undefined && statement[2].text !== '=' && statement[2].text !== 'to')
    at = 2;
  draft.effects |= EFFECT.settings;
  const name = word(at);
  switch (name) {
    case 'characteristics':
      // Becomes default_transaction_*, which pg_settings reports.
      return;
    case 'time':
    case 'names':
    case 'schema':
    case 'xml':
    case 'seed':
      if (name === 'seed') draft.effects |= EFFECT.sticky;
      if (statement[at + 1]?.text !== '=' && statement[at + 1]?.text !== 'to') return;
      break;
    case 'authorization':
      draft.settings.push('session_authorization', 'role');
      return;
    case 'role':
      draft.settings.push('role');
      return;
    default:
  }
  draft.settings.push(settingName(statement, at));
}

function scanReset(statement: readonly Token[], draft: Draft): void {
  draft.effects |= EFFECT.settings;
  const name = statement[1]?.text ?? '';
  if (name === 'all' || name === 'time') return;
  if (name === 'session') draft.settings.push('session_authorization', 'role');
  else if (name === 'role') draft.settings.push('role');
  else draft.settings.push(settingName(statement, 1));
}

/** `set_config('name', value, is_local)`: only the literal forms can be read. */
function scanSetConfig(statement: readonly Token[], index: number, draft: Draft): void {
  const name = statement[index + 2];
  if (statement[index + 1]?.text !== '(' || name?.kind !== 'string' || statement[index + 3]?.text !== ',') {
    // A name that only the server knows. Settings that it lists are found anyway; of the others none could be given back.
    draft.effects |= EFFECT.settings | (isLocalCall(statement, index) ? 0 : EFFECT.sticky);
    return;
  }
  draft.effects |= EFFECT.settings;
  draft.settings.push(name.text.toLowerCase());
}

/** Whether the call's last argument is the word true. */
function isLocalCall(statement: readonly Token[], index: number): boolean {
  let depth = 0;
  for (let at = index + 1; at < statement.length; at += 1) {
    const { text } = statement[at] as Token;
    if (text === '(') depth += 1;
    else if (text === ')') {
      depth -= 1;
      if (depth === 0) return statement[at - 1]?.text === 'true' && statement[at - 2]?.text === ',';
    }
  }
  return false;
}

/** `a.b` is one name. */
function settingName(statement: readonly Token[], at: number): string {
  let name = statement[at]?.text.toLowerCase() ?? '';
  for (let next = at + 1; statement[next]?.text === '.'; next += 2) {
    name += `.${statement[next + 1]?.text.toLowerCase() ?? ''}`;
  }
  return name;
}

function nameOf(token: Token | undefined): string {
  return token?.text ?? '';
}
