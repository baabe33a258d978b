// json and jsonb. A jsonb is stored as Postgres prints it, and is made anew in that form; a json keeps the text it came with.

import { parseArray } from '../../../pg/types/array.ts';
import { jsonElement, jsonMember, jsonText } from '../json-path.ts';
import { jsonParts } from '../json-slices.ts';
import {
  formatJson,
  isJsonArray,
  isJsonNumber,
  isJsonObject,
  type Json,
  jsonKey,
  orderedMembers,
  parseJson,
  quoteJson,
} from '../json-text.ts';
import type { Family } from './proof.ts';

function isScalar(json: Json): boolean {
  return !isJsonArray(json) && !isJsonObject(json);
}

/** An element of a path as an index; null when it is none. */
function indexOf(step: string): number | null {
  if (/^[+-]?\d{1,9}$/.test(step)) return Number(step);
  // strtol() reads more than that.
  if (/^\s|^[+-]?\d{10,}$/.test(step)) throw new RangeError('an index that is left to the core');
  return null;
}

function path(text: string): (string | null)[] {
  const { dimensions, elements } = parseArray(text);
  if (dimensions.length > 1) throw new RangeError('a path of several dimensions');
  return [...elements];
}

function atPath(json: Json, steps: readonly (string | null)[]): Json | undefined {
  let found: Json | undefined = json;
  for (const step of steps) {
    if (found === undefined || step === null) return undefined;
    if (isJsonObject(found)) found = found.get(step);
    else if (isJsonArray(found)) {
      const index = indexOf(step);
      found = index === null ? undefined : found[index < 0 ? found.length + index : index];
    } else return undefined;
  }
  return found;
}

function extract(text: string, steps: readonly (string | null)[]): string | null {
  if (steps.includes(null)) return null;
  const found = atPath(parseJson(text), steps);
  return found === undefined ? null : formatJson(found);
}

function extractText(text: string, steps: readonly (string | null)[]): string | null {
  const part = extract(text, steps);
  return part === null ? null : jsonText(part);
}

/** Duplicate keys: the last counts. */
function jsonPart(text: string, step: string | number): string | null {
  const parts = jsonParts(text);
  if (parts.kind === 'object') {
    return typeof step === 'string' ? (parts.members.findLast(([key]) => key === step)?.[1] ?? null) : null;
  }
  if (parts.kind !== 'array' || typeof step === 'string') return null;
  return parts.elements[step < 0 ? parts.elements.length + step : step] ?? null;
}

function jsonAtPath(text: string, steps: readonly (string | null)[]): string | null {
  if (steps.includes(null)) return null;
  if (steps.length === 0) throw new RangeError('an empty path');
  let found: string | null = text;
  for (const step of steps as readonly string[]) {
    if (found === null) return null;
    const index = indexOf(step);
    found =
      jsonParts(found).kind === 'array' ? (index === null ? null : jsonPart(found, index)) : jsonPart(found, step);
  }
  return found;
}

/** What ->> makes of a part of a json. */
function jsonPartText(part: string | null): string | null {
  if (part === null || part === 'null') return null;
  if (part.charCodeAt(0) !== 34) return part;
  const text = JSON.parse(part) as string;
  if (text.includes('\u0000') || !text.isWellFormed()) throw new RangeError('a string that is no text');
  return text;
}

function contains(a: Json, b: Json): boolean {
  // A scalar stands for an array of one, at the top only.
  if (isScalar(b)) {
    if (isScalar(a)) return jsonKey(a) === jsonKey(b);
    return isJsonArray(a) && a.some((element) => isScalar(element) && jsonKey(element) === jsonKey(b));
  }
  return containsContainer(a, b);
}

function containsContainer(a: Json, b: Json): boolean {
  if (isJsonObject(b)) {
    if (!isJsonObject(a)) return false;
    for (const [key, value] of b) {
      const own = a.get(key);
      if (own === undefined) return false;
      if (isScalar(value) ? !isScalar(own) || jsonKey(own) !== jsonKey(value) : !containsContainer(own, value))
        return false;
    }
    return true;
  }
  if (!isJsonArray(b) || !isJsonArray(a)) return false;
  return b.every((wanted) =>
    isScalar(wanted)
      ? a.some((element) => isScalar(element) && jsonKey(element) === jsonKey(wanted))
      : a.some((element) => !isScalar(element) && containsContainer(element, wanted)),
  );
}

function hasKey(json: Json, key: string): boolean {
  if (isJsonObject(json)) return json.has(key);
  if (isJsonArray(json)) return json.includes(key);
  return json === key;
}

function asArray(json: Json): readonly Json[] {
  return isJsonArray(json) ? json : [json];
}

function concatenated(a: Json, b: Json): Json {
  if (isJsonObject(a) && isJsonObject(b)) return orderedMembers(new Map([...a, ...b]));
  return [...asArray(a), ...asArray(b)];
}

function withoutKeys(json: Json, keys: readonly (string | null)[]): Json {
  if (isScalar(json)) throw new RangeError('cannot delete from scalar');
  if (isJsonArray(json)) return json.filter((element) => typeof element !== 'string' || !keys.includes(element));
  return new Map([...(json as ReadonlyMap<string, Json>)].filter(([key]) => !keys.includes(key)));
}

function withoutIndex(json: Json, index: number): Json {
  if (isScalar(json)) throw new RangeError('cannot delete from scalar');
  if (!isJsonArray(json)) throw new RangeError('cannot delete from object using integer index');
  const at = index < 0 ? json.length + index : index;
  return json.filter((_, position) => position !== at);
}

function withoutPath(json: Json, steps: readonly (string | null)[]): Json {
  if (isScalar(json)) throw new RangeError('cannot delete path in scalar');
  if (steps.includes(null)) throw new RangeError('path element is null');
  const [step, ...rest] = steps;
  if (step === undefined) return json;
  if (step === null) throw new RangeError('path element is null');
  if (isJsonObject(json)) {
    const own = json.get(step);
    if (own === undefined) return json;
    if (rest.length === 0) return new Map([...json].filter(([key]) => key !== step));
    return isScalar(own)
      ? json
      : new Map([...json].map(([key, value]) => [key, key === step ? withoutPath(value, rest) : value]));
  }
  const elements = json as readonly Json[];
  const index = indexOf(step);
  if (index === null) throw new RangeError('path element is not an integer');
  const at = index < 0 ? elements.length + index : index;
  const own = elements[at];
  if (own === undefined) return json;
  if (rest.length === 0) return elements.filter((_, position) => position !== at);
  return isScalar(own)
    ? json
    : elements.map((element, position) => (position === at ? withoutPath(element, rest) : element));
}

function withPath(json: Json, steps: readonly (string | null)[], value: Json, isCreating: boolean): Json {
  const [step, ...rest] = steps;
  if (step === undefined) return json;
  if (step === null) throw new RangeError('path element is null');
  if (isScalar(json)) throw new RangeError('left to the core');
  const isLast = rest.length === 0;
  if (isJsonObject(json)) {
    const own = json.get(step);
    if (own === undefined) return isLast && isCreating ? orderedMembers(new Map([...json, [step, value]])) : json;
    if (!isLast && isScalar(own)) return json;
    return new Map(
      [...json].map(([key, each]) => [
        key,
        key === step ? (isLast ? value : withPath(each, rest, value, isCreating)) : each,
      ]),
    );
  }
  const elements = json as readonly Json[];
  const index = indexOf(step);
  if (index === null) throw new RangeError('path element is not an integer');
  const at = index < 0 ? elements.length + index : index;
  const own = elements[at];
  if (own === undefined) {
    if (!isLast || !isCreating) return json;
    return at < 0 ? [value, ...elements] : [...elements, value];
  }
  if (!isLast && isScalar(own)) return json;
  return elements.map((each, position) =>
    position === at ? (isLast ? value : withPath(each, rest, value, isCreating)) : each,
  );
}

function set(text: string, stepsText: string, value: string, isCreating = true): string {
  const json = parseJson(text);
  const steps = path(stepsText);
  if (isScalar(json)) throw new RangeError('cannot set path in scalar');
  if (steps.includes(null)) throw new RangeError('path element is null');
  return formatJson(withPath(json, steps, parseJson(value), isCreating));
}

function typeOf(json: Json): string {
  if (json === null) return 'null';
  if (isJsonArray(json)) return 'array';
  if (isJsonObject(json)) return 'object';
  if (typeof json === 'boolean') return 'boolean';
  return typeof json === 'string' ? 'string' : isJsonNumber(json) ? 'number' : '';
}

function arrayLength(json: Json): number {
  if (!isJsonArray(json)) throw new RangeError('cannot get array length of a non-array');
  return json.length;
}

/** Without members that are null; with `inArrays` also without such elements. */
function stripped(json: Json, inArrays: boolean): Json {
  if (isJsonArray(json)) {
    const kept = inArrays ? json.filter((each) => each !== null) : json;
    return kept.map((each) => stripped(each, inArrays));
  }
  if (!isJsonObject(json)) return json;
  return new Map(
    [...json].filter(([, value]) => value !== null).map(([key, value]) => [key, stripped(value, inArrays)]),
  );
}

function pretty(json: Json, indent: string): string {
  const inner = `${indent}    `;
  if (isJsonArray(json)) {
    return json.length === 0
      ? `[\n${indent}]`
      : `[\n${json.map((each) => inner + pretty(each, inner)).join(',\n')}\n${indent}]`;
  }
  if (!isJsonObject(json)) return formatJson(json);
  const members = [...json].map(([key, value]) => `${inner}${quoteJson(key)}: ${pretty(value, inner)}`);
  return members.length === 0 ? `{\n${indent}}` : `{\n${members.join(',\n')}\n${indent}}`;
}

export const JSON_FAMILY: Family = {
  title: 'JSON',
  rows: [
    { of: 'jsonb -> text', js: jsonMember, isTotal: true },
    { of: 'jsonb -> int4', js: jsonElement, isTotal: true },
    {
      of: 'jsonb ->> text',
      js: (json: string, key: string) => {
        const part = jsonMember(json, key);
        return part === null ? null : jsonText(part);
      },
      isTotal: true,
    },
    {
      of: 'jsonb ->> int4',
      js: (json: string, index: number) => {
        const part = jsonElement(json, index);
        return part === null ? null : jsonText(part);
      },
      isTotal: true,
    },
    { of: 'jsonb #> _text', js: (json: string, steps: string) => extract(json, path(steps)) },
    { of: 'jsonb #>> _text', js: (json: string, steps: string) => extractText(json, path(steps)) },
    { of: 'jsonb_extract_path(jsonb,*_text)', js: (json: string, ...steps: string[]) => extract(json, steps) },
    { of: 'jsonb_extract_path_text(jsonb,*_text)', js: (json: string, ...steps: string[]) => extractText(json, steps) },
    { of: 'jsonb @> jsonb', js: (a: string, b: string) => contains(parseJson(a), parseJson(b)) },
    { of: 'jsonb <@ jsonb', js: (a: string, b: string) => contains(parseJson(b), parseJson(a)) },
    { of: 'jsonb ? text', js: (json: string, key: string) => hasKey(parseJson(json), key) },
    {
      of: 'jsonb ?| _text',
      js: (text: string, keys: string) => {
        const json = parseJson(text);
        return parseArray(keys).elements.some((key) => key !== null && hasKey(json, key));
      },
    },
    {
      of: 'jsonb ?& _text',
      js: (text: string, keys: string) => {
        const json = parseJson(text);
        return parseArray(keys).elements.every((key) => key === null || hasKey(json, key));
      },
    },
    { of: 'jsonb || jsonb', js: (a: string, b: string) => formatJson(concatenated(parseJson(a), parseJson(b))) },
    {
      of: 'jsonb - text',
      js: (json: string, key: string) => formatJson(withoutKeys(parseJson(json), [key])),
      raises: true,
    },
    {
      of: 'jsonb - _text',
      js: (json: string, keys: string) => formatJson(withoutKeys(parseJson(json), parseArray(keys).elements)),
      raises: true,
    },
    {
      of: 'jsonb - int4',
      js: (json: string, index: number) => formatJson(withoutIndex(parseJson(json), index)),
      raises: true,
    },
    {
      of: 'jsonb #- _text',
      js: (json: string, steps: string) => formatJson(withoutPath(parseJson(json), path(steps))),
      raises: true,
    },
    { of: 'jsonb_set(jsonb,_text,jsonb,bool)', js: set, raises: true },
    { of: 'jsonb_typeof(jsonb)', js: (json: string) => typeOf(parseJson(json)) },
    { of: 'json_typeof(json)', js: (json: string) => typeOf(JSON.parse(json) === null ? null : parseJson(json)) },
    { of: 'jsonb_array_length(jsonb)', js: (json: string) => arrayLength(parseJson(json)), raises: true },
    {
      of: 'json_array_length(json)',
      js: (json: string) => {
        const parts = jsonParts(json);
        if (parts.kind !== 'array') throw new RangeError('cannot get array length of a non-array');
        return parts.elements.length;
      },
      raises: true,
    },
    { of: 'jsonb_strip_nulls(jsonb)', js: (json: string) => formatJson(stripped(parseJson(json), false)) },
    {
      of: 'jsonb_strip_nulls(jsonb,bool)',
      js: (json: string, inArrays = false) => formatJson(stripped(parseJson(json), inArrays)),
    },
    { of: 'jsonb_pretty(jsonb)', js: (json: string) => pretty(parseJson(json), '') },
    { of: 'json -> text', js: jsonPart },
    { of: 'json -> int4', js: jsonPart },
    { of: 'json ->> text', js: (json: string, key: string) => jsonPartText(jsonPart(json, key)) },
    { of: 'json ->> int4', js: (json: string, index: number) => jsonPartText(jsonPart(json, index)) },
    { of: 'json #> _text', js: (json: string, steps: string) => jsonAtPath(json, path(steps)) },
    { of: 'json #>> _text', js: (json: string, steps: string) => jsonPartText(jsonAtPath(json, path(steps))) },
  ],
};
