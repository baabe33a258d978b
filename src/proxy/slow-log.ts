// A statement's text without what differs from call to call, so that slow statements can be counted.

import { type Token, tokenize } from './scan.ts';

const LENGTH_MAX = 500;

/** Literals become `?`, lists of them one `?`, white space one blank. Holds no values, so it may be logged. */
export function fingerprint(text: string): string {
  const words: string[] = [];
  for (const token of tokenize(text)) {
    const word = wordOf(token);
    if (word === '?' && words.at(-1) === ',' && words.at(-2) === '?') words.pop();
    else words.push(word);
  }
  const joined = words.join(' ').replaceAll(/ ?([(),.;]) ?/g, '$1');
  return joined.length > LENGTH_MAX ? `${joined.slice(0, LENGTH_MAX)}…` : joined;
}

function wordOf(token: Token): string {
  if (token.kind === 'string' || token.kind === 'number') return '?';
  return token.kind === 'quoted' ? `"${token.text}"` : token.text;
}
