// Looks into a jsonb's text without rebuilding it: what Postgres prints for a part of a jsonb is a slice of what it prints for
// the whole. Only for texts that jsonb_out made: they are well formed and have `": "` and `", "` in fixed places.

/** The slice that is the member `key` of an object; null when it is no object or has no such member. */
export function jsonMember(json: string, key: string): string | null {
  if (json.charCodeAt(0) !== 123) return null;
  let at = 1;
  while (json.charCodeAt(at) === 34) {
    const keyEnd = stringEnd(json, at);
    const valueStart = keyEnd + 2;
    const valueEnd = skipValue(json, valueStart);
    if (isString(json, at, keyEnd, key)) return json.slice(valueStart, valueEnd);
    at = valueEnd + 2;
  }
  return null;
}

/** The slice that is element `index` of an array, from the end when negative; null when there is none. */
export function jsonElement(json: string, index: number): string | null {
  const first = json.charCodeAt(0);
  // A scalar is stored as an array of one, and shows it here.
  if (first !== 91) return first !== 123 && (index === 0 || index === -1) ? json : null;
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 1;
  while (at < json.length && json.charCodeAt(at) !== 93) {
    const end = skipValue(json, at);
    starts.push(at);
    ends.push(end);
    if (index >= 0 && starts.length > index) break;
    if (json.charCodeAt(end) !== 44) break;
    at = end + 2;
  }
  const position = index < 0 ? starts.length + index : index;
  const start = starts[position];
  return start === undefined ? null : json.slice(start, ends[position]);
}

/** What ->> makes of a part: the string itself, NULL of null, else the part's text. */
export function jsonText(part: string): string | null {
  if (part === 'null') return null;
  return part.charCodeAt(0) === 34 ? (JSON.parse(part) as string) : part;
}

function isString(json: string, start: number, end: number, key: string): boolean {
  const raw = json.slice(start + 1, end - 1);
  return raw.includes('\\') ? JSON.parse(json.slice(start, end)) === key : raw === key;
}

/** Index after the string that starts at `start`. */
function stringEnd(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at += 1) {
    const code = json.charCodeAt(at);
    if (code === 92) at += 1;
    else if (code === 34) return at + 1;
  }
  throw new RangeError('an open string in a jsonb');
}

/** Index after the value that starts at `start`. */
function skipValue(json: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < json.length) {
    const code = json.charCodeAt(at);
    if (code === 34) {
      at = stringEnd(json, at);
    } else if (code === 123 || code === 91) {
      depth += 1;
      at += 1;
    } else if (code === 125 || code === 93) {
      if (depth === 0) return at;
      depth -= 1;
      at += 1;
    } else if (code === 44 && depth === 0) {
      return at;
    } else {
      at += 1;
      continue;
    }
    if (depth === 0) return at;
  }
  return at;
}
