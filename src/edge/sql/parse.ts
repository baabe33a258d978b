// SQL text → syntax tree, by Postgres' own grammar (libpg-query, WebAssembly). Offsets come out in UTF-16 units.

import { hasSqlDetails, loadModule, parseSync } from 'libpg-query';
import type { SyntaxErrorReport } from './plan.ts';

/** Longest text that is parsed here: parsing blocks the event loop, about 0.15 ms per kB. Longer ones are forwarded. */
export const PARSE_BYTES_MAX = 64 * 1024;

/** A node of the tree: one key, the node's kind, over its fields; fields that are zero, false or empty are absent. */
export type Node = Readonly<Record<string, Fields>>;
export type Fields = Readonly<Record<string, unknown>>;

/** Levels of objects and lists in a tree; walking deeper ones could exhaust the stack. About ten make one level of SQL. */
const TREE_DEPTH_MAX = 2_000;

export interface ParsedStatement {
  readonly node: Node;
  /** Nested so deeply that nobody should walk it. */
  readonly isTooDeep: boolean;
  /** Range in the text in UTF-16 units, without semicolon and blanks around. */
  readonly start: number;
  readonly end: number;
}

export interface Parsed {
  readonly statements: readonly ParsedStatement[];
  readonly error: SyntaxErrorReport | null;
  /** Maps a node's `location` to an index in the text. */
  readonly offset: (location: number) => number;
}

/** Loads the parser; must be awaited once before `parse`. */
export async function loadParser(): Promise<void> {
  await loadModule();
}

/** Parses a text of at most PARSE_BYTES_MAX characters without NUL. */
export function parse(text: string): Parsed {
  const offset = offsets(text);
  // The parser's own wrapper refuses this one text that Postgres does not.
  if (text === '') return { statements: [], error: null, offset };
  try {
    const tree = parseSync(text) as unknown as { stmts?: { stmt?: Node; stmt_location?: number; stmt_len?: number }[] };
    const statements: ParsedStatement[] = [];
    for (const raw of tree.stmts ?? []) {
      if (raw.stmt === undefined) continue;
      const from = raw.stmt_location ?? 0;
      let start = offset(from);
      let end = raw.stmt_len ? offset(from + raw.stmt_len) : text.length;
      while (start < end && /\s/.test(text[start] as string)) start += 1;
      while (end > start && /[\s;]/.test(text[end - 1] as string)) end -= 1;
      statements.push({ node: raw.stmt, isTooDeep: isDeeper(raw.stmt, TREE_DEPTH_MAX), start, end });
    }
    return { statements, error: null, offset };
  } catch (error) {
    // Reading the tree's JSON can exhaust the stack, too.
    if (error instanceof RangeError) {
      const node: Node = { TooDeep: {} };
      return { statements: [{ node, isTooDeep: true, start: 0, end: text.length }], error: null, offset };
    }
    if (!hasSqlDetails(error)) throw error;
    const details = error.sqlDetails;
    const message = details?.message ?? error.message;
    const at = details?.cursorPosition;
    return {
      statements: [],
      error: {
        sqlstate: /memory exhausted|stack depth/.test(message) ? '54001' : '42601',
        message,
        // Counted in characters already, from 0.
        position: at === undefined || at < 0 ? 0 : at + 1,
      },
      offset,
    };
  }
}

/** Whether a tree is deeper than `max`, found without recursion. */
function isDeeper(root: unknown, max: number): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > max) return true;
    const next: unknown[] = [];
    for (const node of level) {
      for (const inner of Object.values(node as object))
        if (typeof inner === 'object' && inner !== null) next.push(inner);
    }
    level = next;
  }
  return false;
}

/** The parser counts bytes of UTF-8. */
function offsets(text: string): (location: number) => number {
  // oxlint-disable-next-line no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return (location) => location;
  const index: number[] = [];
  for (let at = 0; at < text.length; ) {
    const point = text.codePointAt(at) as number;
    const bytes = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (let byte = 0; byte < bytes; byte += 1) index.push(at);
    at += point < 0x10000 ? 1 : 2;
  }
  index.push(text.length);
  return (location) => index[Math.min(location, index.length - 1)] as number;
}

/** A list in the tree; absent ones are empty. */
export function list(value: unknown): readonly Node[] {
  return (value as readonly Node[] | undefined) ?? [];
}

/** Parts of a dotted name; null when one of them is not a name (`*`, a subscript). */
export function names(value: unknown): string[] | null {
  const parts: string[] = [];
  for (const node of list(value)) {
    const part = node['String']?.['sval'];
    if (typeof part !== 'string') return null;
    parts.push(part);
  }
  return parts.length === 0 ? null : parts;
}

/** 0-based index of the parameter that a node is; null for other nodes. */
export function parameterIndex(node: Node): number | null {
  const number = node['ParamRef']?.['number'];
  return typeof number === 'number' && number > 0 ? number - 1 : null;
}
