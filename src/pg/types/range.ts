// Range text: `[1,10)`, `(,5]`, `empty`, `["a b",)`; multiranges `{[1,2),[3,4)}`.

import { invalidText } from './faults.ts';

export interface RangeValue {
  readonly isEmpty: boolean;
  /** Null = unbounded. */
  readonly lower: string | null;
  readonly upper: string | null;
  readonly lowerInclusive: boolean;
  readonly upperInclusive: boolean;
}

const EMPTY: RangeValue = { isEmpty: true, lower: null, upper: null, lowerInclusive: false, upperInclusive: false };

/** Reads what range_out prints. */
export function parseRange(text: string): RangeValue {
  const { value, end } = readRange(text, 0);
  if (end !== text.length) throw invalidText('range', text);
  return value;
}

export function parseMultirange(text: string): RangeValue[] {
  const ranges: RangeValue[] = [];
  let at = 1;
  if (text[0] !== '{' || !text.endsWith('}')) throw invalidText('multirange', text);
  while (at < text.length - 1) {
    const { value, end } = readRange(text, at);
    ranges.push(value);
    at = text[end] === ',' ? end + 1 : end;
  }
  return ranges;
}

export function formatRange(range: RangeValue): string {
  if (range.isEmpty) return 'empty';
  const lower = range.lower === null ? '' : boundText(range.lower);
  const upper = range.upper === null ? '' : boundText(range.upper);
  return `${range.lowerInclusive ? '[' : '('}${lower},${upper}${range.upperInclusive ? ']' : ')'}`;
}

export function formatMultirange(ranges: readonly RangeValue[]): string {
  return `{${ranges.map(formatRange).join(',')}}`;
}

function readRange(text: string, start: number): { value: RangeValue; end: number } {
  if (text.startsWith('empty', start)) return { value: EMPTY, end: start + 5 };
  const open = text[start];
  if (open !== '[' && open !== '(') throw invalidText('range', text);
  const lower = readBound(text, start + 1);
  if (text[lower.end] !== ',') throw invalidText('range', text);
  const upper = readBound(text, lower.end + 1);
  const close = text[upper.end];
  if (close !== ']' && close !== ')') throw invalidText('range', text);
  const value: RangeValue = {
    isEmpty: false,
    lower: lower.value,
    upper: upper.value,
    lowerInclusive: open === '[',
    upperInclusive: close === ']',
  };
  return { value, end: upper.end + 1 };
}

function readBound(text: string, start: number): { value: string | null; end: number } {
  let at = start;
  let value = '';
  let isQuoted = false;
  let wasQuoted = false;
  for (; at < text.length; at += 1) {
    const char = text[at] as string;
    if (char === '\\') {
      at += 1;
      value += text[at] ?? '';
    } else if (char === '"') {
      // A doubled quote inside quotes is one.
      if (isQuoted && text[at + 1] === '"') {
        value += '"';
        at += 1;
      } else {
        isQuoted = !isQuoted;
        wasQuoted = true;
      }
    } else if (!isQuoted && (char === ',' || char === ')' || char === ']')) {
      break;
    } else {
      value += char;
    }
  }
  return { value: value === '' && !wasQuoted ? null : value, end: at };
}

function boundText(bound: string): string {
  if (bound !== '' && !/["\\()[\],\s]/.test(bound)) return bound;
  return `"${bound.replace(/["\\]/g, '$&$&')}"`;
}
