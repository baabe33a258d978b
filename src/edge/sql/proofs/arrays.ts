// Arrays, by their printed form. Elements are told apart by what they print, for the types where that is the same.

import { type ArrayValue, formatArray, parseArray } from '../../../pg/types/array.ts';
import type { Family } from './proof.ts';

type Element = string | null;

const EMPTY: ArrayValue = { dimensions: [], elements: [] };

function oneDimension(value: ArrayValue): ArrayValue {
  if (value.dimensions.length > 1) throw new RangeError('an array of several dimensions');
  return value;
}

function lowerBound({ dimensions }: ArrayValue): number {
  return dimensions[0]?.lowerBound ?? 1;
}

/** An array of one dimension. */
function made(elements: readonly Element[], lower = 1): string {
  return elements.length === 0
    ? '{}'
    : formatArray({ dimensions: [{ length: elements.length, lowerBound: lower }], elements });
}

function append(array: string | null, element: Element): string {
  const value = oneDimension(array === null ? EMPTY : parseArray(array));
  return made([...value.elements, element], lowerBound(value));
}

function prepend(element: Element, array: string | null): string {
  const value = oneDimension(array === null ? EMPTY : parseArray(array));
  return made([element, ...value.elements], lowerBound(value));
}

function joined(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  const [x, y] = [parseArray(a), parseArray(b)];
  if (x.elements.length === 0) return b;
  if (y.elements.length === 0) return a;
  oneDimension(x);
  oneDimension(y);
  return made([...x.elements, ...y.elements], lowerBound(x));
}

function without(array: string | null, element: Element): string | null {
  if (array === null) return null;
  const value = oneDimension(parseArray(array));
  const kept = value.elements.filter((each) => each !== element);
  return kept.length === value.elements.length ? array : made(kept, lowerBound(value));
}

function replaced(array: string | null, from: Element, to: Element): string | null {
  if (array === null) return null;
  const value = parseArray(array);
  return formatArray({ ...value, elements: value.elements.map((each) => (each === from ? to : each)) });
}

function position(array: string | null, element: Element, start: number | null = 1): number | null {
  if (array === null) return null;
  if (start === null) throw new RangeError('initial position must not be null');
  const value = oneDimension(parseArray(array));
  const lower = lowerBound(value);
  const at = value.elements.findIndex((each, index) => index + lower >= start && each === element);
  return at < 0 ? null : at + lower;
}

function positions(array: string | null, element: Element): string | null {
  if (array === null) return null;
  const value = oneDimension(parseArray(array));
  const lower = lowerBound(value);
  return made(value.elements.flatMap((each, index) => (each === element ? [String(index + lower)] : [])));
}

function contains(a: string, b: string): boolean {
  const own = new Set(parseArray(a).elements);
  return parseArray(b).elements.every((element) => element !== null && own.has(element));
}

function overlaps(a: string, b: string): boolean {
  const own = new Set(parseArray(a).elements);
  return parseArray(b).elements.some((element) => element !== null && own.has(element));
}

function dimension(array: string, number: number): { length: number; lowerBound: number } | null {
  return parseArray(array).dimensions[number - 1] ?? null;
}

/** Element at these subscripts; NULL when there is none. */
export function subscript(array: string, subscripts: readonly number[]): string | null {
  const { dimensions, elements } = parseArray(array);
  if (dimensions.length !== subscripts.length) return null;
  let at = 0;
  for (const [index, { length, lowerBound: lower }] of dimensions.entries()) {
    const offset = (subscripts[index] as number) - lower;
    if (offset < 0 || offset >= length) return null;
    at = at * length + offset;
  }
  return elements[at] ?? null;
}

/** `array[from:to]` of the first dimension; null is an end that was left out. */
export function arraySlice(array: string, from: number | null, to: number | null): string {
  const { dimensions, elements } = parseArray(array);
  const [first, ...others] = dimensions;
  if (first === undefined) return '{}';
  const start = Math.max((from ?? first.lowerBound) - first.lowerBound, 0);
  const end = Math.min((to ?? first.lowerBound + first.length - 1) - first.lowerBound + 1, first.length);
  if (start >= end) return '{}';
  const width = others.reduce((product, { length }) => product * length, 1);
  return formatArray({
    dimensions: [{ length: end - start, lowerBound: 1 }, ...others.map(({ length }) => ({ length, lowerBound: 1 }))],
    elements: elements.slice(start * width, end * width),
  });
}

/** ARRAY[…] of printed elements. */
export function arrayOfElements(elements: readonly Element[]): string {
  return made(elements);
}

export const ARRAYS: Family = {
  title: 'Arrays',
  rows: [
    { of: 'array_length(anyarray,int4)', js: (a: string, n: number) => dimension(a, n)?.length ?? null, isTotal: true },
    {
      of: 'array_lower(anyarray,int4)',
      js: (a: string, n: number) => dimension(a, n)?.lowerBound ?? null,
      isTotal: true,
    },
    {
      of: 'array_upper(anyarray,int4)',
      js: (a: string, n: number) => {
        const found = dimension(a, n);
        return found === null ? null : found.lowerBound + found.length - 1;
      },
      isTotal: true,
    },
    { of: 'array_ndims(anyarray)', js: (a: string) => parseArray(a).dimensions.length || null, isTotal: true },
    {
      of: 'array_dims(anyarray)',
      js: (a: string) =>
        parseArray(a)
          .dimensions.map(({ length, lowerBound: lower }) => `[${lower}:${lower + length - 1}]`)
          .join('') || null,
      isTotal: true,
    },
    { of: 'cardinality(anyarray)', js: (a: string) => parseArray(a).elements.length, isTotal: true },
    { of: 'array_append(anycompatiblearray,anycompatible)', js: append, lax: true, raises: true },
    { of: 'array_prepend(anycompatible,anycompatiblearray)', js: prepend, lax: true, raises: true },
    { of: 'array_cat(anycompatiblearray,anycompatiblearray)', js: joined, lax: true, raises: true },
    { of: 'anycompatiblearray || anycompatible', js: append, lax: true, raises: true },
    { of: 'anycompatible || anycompatiblearray', js: prepend, lax: true, raises: true },
    { of: 'anycompatiblearray || anycompatiblearray', js: joined, lax: true, raises: true },
    {
      of: 'array_remove(anycompatiblearray,anycompatible)',
      js: without,
      lax: true,
      raises: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    {
      of: 'array_replace(anycompatiblearray,anycompatible,anycompatible)',
      js: replaced,
      lax: true,
      isTotal: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    {
      of: 'array_position(anycompatiblearray,anycompatible)',
      js: (a: string | null, b: Element) => position(a, b),
      lax: true,
      raises: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    {
      of: 'array_position(anycompatiblearray,anycompatible,int4)',
      js: position,
      lax: true,
      raises: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    {
      of: 'array_positions(anycompatiblearray,anycompatible)',
      js: positions,
      lax: true,
      raises: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    { of: 'anyarray @> anyarray', js: contains, isTotal: true, hasPrintedElements: true, collation: 'bytes' },
    {
      of: 'anyarray <@ anyarray',
      js: (a: string, b: string) => contains(b, a),
      isTotal: true,
      hasPrintedElements: true,
      collation: 'bytes',
    },
    { of: 'anyarray && anyarray', js: overlaps, isTotal: true, hasPrintedElements: true, collation: 'bytes' },
    { of: 'array_to_string(anyarray,text)', js: (array: string, by: string) => toText(array, by, null), isTotal: true },
    { of: 'array_to_string(anyarray,text,text)', js: toText, isTotal: true, lax: true },
  ],
};

function toText(array: string | null, delimiter: string | null, nullText: string | null): string | null {
  if (array === null || delimiter === null) return null;
  return parseArray(array)
    .elements.map((element) => element ?? nullText)
    .filter((element) => element !== null)
    .join(delimiter);
}
