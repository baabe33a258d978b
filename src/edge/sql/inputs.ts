// Constants and parameters of types that are stored as Postgres prints them: a text in Postgres' input syntax becomes what it
// would print. Undefined for what Postgres would refuse, or might read otherwise: then the core is asked.

import { builtinType, OID } from '../../pg/oid.ts';
import { formatArray, parseArray } from '../../pg/types/array.ts';
import { inetFromBinary, inetToBinary } from '../../pg/types/network.ts';
import { formatRange, parseRange } from '../../pg/types/range.ts';
import { formatDate, formatInterval, parseDate } from '../../pg/types/temporal.ts';
import { formatJson, parseJson } from './json-text.ts';
import { RANGE_SUBTYPES } from './overload.ts';

/** Longest text that is read here. */
const LENGTH_MAX = 100_000;

/** Prints a value of another type, as the planner's own writers and readers do; undefined when it is left to the core. */
export type PrintOther = (typeOid: number, text: string) => string | undefined;

export function canonicalText(typeOid: number, text: string, printOther: PrintOther): string | undefined {
  if (text.length > LENGTH_MAX || text.includes('\u0000')) return undefined;
  try {
    return read(typeOid, text, printOther);
  } catch {
    return undefined;
  }
}

function read(typeOid: number, text: string, printOther: PrintOther): string | undefined {
  switch (typeOid) {
    case OID.interval:
      return interval(text);
    case OID.json:
      JSON.parse(text);
      return text;
    case OID.jsonb:
      return formatJson(parseJson(text));
    case OID.inet:
      return network(text, false);
    case OID.cidr:
      return network(text, true);
    case OID.macaddr:
      return /^[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}$/i.test(text)
        ? text.toLowerCase().replaceAll('-', ':')
        : undefined;
    case OID.varbit:
      return /^[01]*$/.test(text) ? text : undefined;
    case OID.pgLsn: {
      const parts = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(text);
      return parts === null
        ? undefined
        : parts
            .slice(1)
            .map((part) => Number.parseInt(part, 16).toString(16).toUpperCase())
            .join('/');
    }
  }
  const subtype = RANGE_SUBTYPES.get(typeOid);
  if (subtype !== undefined) return range(subtype, text, printOther);
  const type = builtinType(typeOid);
  if (type?.category === 'A') return array(type.elementOid, text, printOther);
  return undefined;
}

/** Months, days or microseconds of one. */
const UNITS: Readonly<
  Record<string, readonly [part: 'months' | 'days' | 'microseconds', size: number, field: string]>
> = {};
for (const [names, part, size, field] of [
  ['y yr yrs year years', 'months', 12, 'year'],
  ['mon mons month months', 'months', 1, 'month'],
  ['w week weeks', 'days', 7, 'week'],
  ['d day days', 'days', 1, 'day'],
  ['h hr hrs hour hours', 'microseconds', 3_600_000_000, 'hour'],
  ['m min mins minute minutes', 'microseconds', 60_000_000, 'minute'],
  ['s sec secs second seconds', 'microseconds', 1_000_000, 'second'],
  ['ms msec msecs millisecond milliseconds', 'microseconds', 1_000, 'millisecond'],
  ['us usec usecs microsecond microseconds', 'microseconds', 1, 'microsecond'],
] as const) {
  for (const name of names.split(' '))
    (UNITS as Record<string, readonly [string, number, string]>)[name] = [part, size, field];
}

const NUMBER = /^([+-]?)(\d{1,9})(?:\.(\d{1,6}))?$/;
const CLOCK = /^([+-]?)(\d{1,6}):([0-5]?\d)(?::([0-5]?\d)(?:\.(\d{1,6}))?)?$/;
const ISO =
  /^P(?:(-?\d{1,7})Y)?(?:(-?\d{1,8})M)?(?:(-?\d{1,8})W)?(?:(-?\d{1,8})D)?(?:T(?=.)(?:(-?\d{1,8})H)?(?:(-?\d{1,9})M)?(?:(-?)(\d{1,9})(?:\.(\d{1,6}))?S)?)?$/;

function micros(seconds: string, fraction: string | undefined): bigint {
  return BigInt(seconds) * 1_000_000n + BigInt((fraction ?? '').padEnd(6, '0'));
}

function interval(text: string): string | undefined {
  let months = 0;
  let days = 0;
  let microseconds = 0n;
  const iso = ISO.exec(text);
  if (iso !== null) {
    if (text === 'P') return undefined;
    months = Number(iso[1] ?? 0) * 12 + Number(iso[2] ?? 0);
    days = Number(iso[3] ?? 0) * 7 + Number(iso[4] ?? 0);
    const seconds = micros(iso[8] ?? '0', iso[9]);
    microseconds =
      BigInt(iso[5] ?? 0) * 3_600_000_000n + BigInt(iso[6] ?? 0) * 60_000_000n + (iso[7] === '-' ? -seconds : seconds);
    return formatInterval({ months, days, microseconds });
  }
  // A number and its unit may stand together: 5min.
  const words = text
    .toLowerCase()
    .trim()
    .replace(/(\d)([a-z])/g, '$1 $2')
    .split(/ +/);
  if (words[0] === '@') words.shift();
  const isAgo = words[words.length - 1] === 'ago';
  if (isAgo) words.pop();
  if (words.length === 0 || words.length > 20) return undefined;
  const seen = new Set<string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] as string;
    const clock = CLOCK.exec(word);
    if (clock !== null) {
      // Hours and minutes stand for themselves only at the end, or days would be the first of them.
      if (
        at !== words.length - 1 ||
        ['hour', 'minute', 'second', 'millisecond', 'microsecond'].some((field) => seen.has(field))
      )
        return undefined;
      const size =
        (BigInt(clock[2] as string) * 60n + BigInt(clock[3] as string)) * 60_000_000n +
        micros(clock[4] ?? '0', clock[5]);
      microseconds += clock[1] === '-' ? -size : size;
      continue;
    }
    const number = NUMBER.exec(word);
    const unit = UNITS[words[at + 1] ?? ''];
    if (number === null) return undefined;
    if (unit === undefined) {
      // A number alone is seconds.
      if (words.length !== 1 || isAgo) return undefined;
      const size = micros(number[2] as string, number[3]);
      microseconds = number[1] === '-' ? -size : size;
      continue;
    }
    at += 1;
    const [part, size, field] = unit;
    if (seen.has(field) || (number[3] !== undefined && field !== 'second')) return undefined;
    seen.add(field);
    const sign = number[1] === '-' ? -1 : 1;
    if (part === 'microseconds') {
      const amount =
        field === 'second' ? micros(number[2] as string, number[3]) : BigInt(number[2] as string) * BigInt(size);
      microseconds += BigInt(sign) * amount;
    } else if (part === 'days') days += sign * Number(number[2]) * size;
    else months += sign * Number(number[2]) * size;
  }
  if (Math.abs(months) > 0x7fff_ffff || Math.abs(days) > 0x7fff_ffff) return undefined;
  if (isAgo) return formatInterval({ months: -months + 0, days: -days + 0, microseconds: -microseconds });
  return formatInterval({ months, days, microseconds });
}

function network(text: string, isCidr: boolean): string | undefined {
  const parts = /^(\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*)(?:\/(\d{1,3}))?$/i.exec(text);
  if (parts === null || /(?:^|[.])0\d/.test(parts[1] as string)) return undefined;
  const bytes = inetToBinary(text.toLowerCase(), isCidr);
  if (isCidr) {
    const bits = bytes[1] as number;
    for (let bit = bits; bit < (bytes[3] as number) * 8; bit += 1) {
      if (((bytes[4 + (bit >> 3)] as number) >> (7 - (bit & 7))) & 1) return undefined;
    }
  }
  return inetFromBinary(bytes, isCidr);
}

function range(subtype: number, text: string, printOther: PrintOther): string | undefined {
  if (text.trim().toLowerCase() === 'empty') return 'empty';
  const value = parseRange(text.trim());
  const bound = (each: string | null): string | null | undefined => (each === null ? null : printOther(subtype, each));
  const lower = bound(value.lower);
  const upper = bound(value.upper);
  if (lower === undefined || upper === undefined) return undefined;
  // Ranges over what has no next value are compared by those who know how: here only where the text tells.
  const isDiscrete = subtype === OID.int4 || subtype === OID.int8 || subtype === OID.date;
  const infinite = [lower, upper].some(
    (each) => each?.endsWith('infinity') || each === 'NaN' || each?.endsWith('Infinity'),
  );
  if (infinite) return undefined;
  if (isDiscrete) {
    const number = (each: string): bigint => (subtype === OID.date ? BigInt(parseDate(each)) : BigInt(each));
    const shown = (each: bigint): string | undefined => {
      if (subtype === OID.date) return formatDate(Number(each));
      return printOther(subtype, String(each));
    };
    const from = lower === null ? null : number(lower) + (value.lowerInclusive ? 0n : 1n);
    const to = upper === null ? null : number(upper) + (value.upperInclusive ? 1n : 0n);
    if (lower !== null && upper !== null && number(lower) > number(upper)) return undefined;
    if (from !== null && to !== null && from >= to) return 'empty';
    const start = from === null ? null : shown(from);
    const end = to === null ? null : shown(to);
    if (start === undefined || end === undefined) return undefined;
    return formatRange({
      isEmpty: false,
      lower: start,
      upper: end,
      lowerInclusive: start !== null,
      upperInclusive: false,
    });
  }
  if (lower !== null && upper !== null) {
    if (subtype === OID.numeric) return undefined;
    if (lower > upper || lower.length < 19 || upper.length < 19 || lower.endsWith('BC') || upper.endsWith('BC'))
      return undefined;
    if (lower === upper && !(value.lowerInclusive && value.upperInclusive)) return 'empty';
  }
  return formatRange({
    isEmpty: false,
    lower,
    upper,
    lowerInclusive: value.lowerInclusive && lower !== null,
    upperInclusive: value.upperInclusive && upper !== null,
  });
}

function array(elementOid: number, text: string, printOther: PrintOther): string | undefined {
  // Blanks between elements mean nothing; in an element they do.
  const tight = /["\\]/.test(text) ? text : text.replace(/\s*([{},])\s*/g, '$1');
  const value = parseArray(tight);
  const elements: (string | null)[] = [];
  for (const element of value.elements) {
    const printed = element === null ? null : printOther(elementOid, element);
    if (printed === undefined) return undefined;
    elements.push(printed);
  }
  if (value.elements.length === 0 && tight !== '{}') return undefined;
  // Quotes with blanks around them are for the core.
  if (/["\\]/.test(text) && /(?:[{,]\s|\s[},])/.test(text.replace(/"(?:[^"\\]|\\.)*"/g, '""'))) return undefined;
  const printed = formatArray({ dimensions: value.dimensions, elements });
  // Bounds that say something else than the elements are an error.
  if (tight.startsWith('[') && printed.split('=', 1)[0] !== tight.split('=', 1)[0]) return undefined;
  return printed;
}
