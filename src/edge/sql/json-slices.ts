// Parts of a json as it was written: what -> gives of a json is the very text between its commas. For texts that Postgres has
// accepted as JSON.

export type JsonParts =
  | { readonly kind: 'object'; readonly members: readonly (readonly [key: string, value: string])[] }
  | { readonly kind: 'array'; readonly elements: readonly string[] }
  | { readonly kind: 'scalar'; readonly text: string };

const SPACE = ' \t\n\r';

/** The outermost level. Throws for what is no JSON. */
export function jsonParts(text: string): JsonParts {
  let at = skipSpace(text, 0);
  const open = text[at];
  if (open !== '{' && open !== '[') return { kind: 'scalar', text: text.trim() };
  const members: [string, string][] = [];
  const elements: string[] = [];
  at = skipSpace(text, at + 1);
  while (text[at] !== '}' && text[at] !== ']') {
    let key = '';
    if (open === '{') {
      const end = skipValue(text, at);
      key = JSON.parse(text.slice(at, end)) as string;
      // The colon.
      at = skipSpace(text, skipSpace(text, end) + 1);
    }
    const end = skipValue(text, at);
    if (open === '{') members.push([key, text.slice(at, end)]);
    else elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ',') at = skipSpace(text, at + 1);
    if (at >= text.length) throw new RangeError('an open JSON');
  }
  return open === '{' ? { kind: 'object', members } : { kind: 'array', elements };
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && SPACE.includes(text[at] as string)) at += 1;
  return at;
}

/** Index after the value that starts at `start`. */
function skipValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  for (;;) {
    const char = text[at];
    if (char === undefined) return at;
    if (char === '"') {
      at += 1;
      while (text[at] !== '"') {
        if (at >= text.length) throw new RangeError('an open string');
        at += text[at] === '\\' ? 2 : 1;
      }
      at += 1;
    } else if (char === '{' || char === '[') {
      depth += 1;
      at += 1;
    } else if (char === '}' || char === ']') {
      if (depth === 0) return at;
      depth -= 1;
      at += 1;
    } else if (depth === 0 && (char === ',' || SPACE.includes(char))) {
      return at;
    } else {
      at += 1;
      continue;
    }
    if (depth === 0) return at;
  }
}
