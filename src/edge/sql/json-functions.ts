// JSON texts of values, as functions of SQLite: pieces of JSON come in, made by skerry_json from what Postgres prints.

import { parseArray } from '../../pg/types/array.ts';
import type { Sqlite, SqliteValue } from '../../replica/sqlite.ts';
import { formatJson, parseJson, quoteJson } from './json-text.ts';

/** `kind` as json-calls.ts says it. */
function jsonOf(kind: string, printed: string | null): string {
  if (printed === null) return 'null';
  switch (kind[0]) {
    case 'n':
      return /^-?\d/.test(printed) ? printed : quoteJson(printed);
    case 'b':
      return printed === 't' ? 'true' : 'false';
    case 'j':
      return printed;
    case 'd':
      return quoteJson(printed);
    case 't':
      return quoteJson(printed.replace(' ', 'T').replace(/\+00(?= BC$|$)/, '+00:00'));
    case 'a':
      return jsonArray(kind.slice(1), printed);
    default:
      return quoteJson(printed);
  }
}

function jsonArray(kind: string, printed: string): string {
  const { dimensions, elements } = parseArray(printed);
  let next = 0;
  const level = (depth: number): string => {
    const count = dimensions[depth]?.length ?? 0;
    const parts = Array.from({ length: count }, () =>
      depth + 1 < dimensions.length ? level(depth + 1) : jsonOf(kind, elements[next++] ?? null),
    );
    return `[${parts.join(',')}]`;
  };
  return level(0);
}

function keyOf(json: SqliteValue): string {
  if (json === 'null') throw new RangeError('key must not be null');
  const text = json as string;
  return text.startsWith('"') ? text : quoteJson(text);
}

function jsonb(text: string): string {
  return formatJson(parseJson(text));
}

function members(pieces: readonly SqliteValue[], separator: string): string[] {
  const made: string[] = [];
  for (let at = 0; at < pieces.length; at += 2)
    made.push(`${keyOf(pieces[at] as string)}${separator}${pieces[at + 1] as string}`);
  return made;
}

export function registerJson(sqlite: Sqlite): void {
  sqlite.function('skerry_json', (kind, printed) => jsonOf(kind as string, printed as string | null));
  sqlite.function('skerry_jsonb', (json) => (json === null ? null : jsonb(json as string)));
  sqlite.function('skerry_json_build_array', (...pieces) => `[${pieces.join(', ')}]`);
  sqlite.function('skerry_jsonb_build_array', (...pieces) => jsonb(`[${pieces.join(',')}]`));
  sqlite.function('skerry_json_build_object', (...pieces) => `{${members(pieces, ' : ').join(', ')}}`);
  sqlite.function('skerry_jsonb_build_object', (...pieces) => jsonb(`{${members(pieces, ':').join(',')}}`));
  for (const name of ['json', 'jsonb'] as const) {
    sqlite.aggregate<SqliteValue[] | null>(`skerry_${name}_agg`, {
      start: () => null,
      step: pushed,
      result: (state) =>
        state === null ? null : name === 'json' ? `[${state.join(', ')}]` : jsonb(`[${state.join(',')}]`),
    });
    sqlite.aggregate<string[] | null>(`skerry_${name}_object_agg`, {
      start: () => null,
      step: (state, key: SqliteValue, value: SqliteValue) => {
        const all = state ?? [];
        all.push(...members([key, value], name === 'json' ? ' : ' : ':'));
        return all;
      },
      result: (state) =>
        state === null ? null : name === 'json' ? `{ ${state.join(', ')} }` : jsonb(`{${state.join(',')}}`),
    });
  }
}

function pushed(state: SqliteValue[] | null, piece: SqliteValue): SqliteValue[] {
  const all = state ?? [];
  all.push(piece);
  return all;
}
