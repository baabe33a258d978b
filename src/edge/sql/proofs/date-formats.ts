// to_char, to_date and to_timestamp of timestamps, for the patterns that people use. Others throw, and are left to the core.

import { civilFromDays, daysFromCivil } from '../../../pg/types/temporal.ts';
import { TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY } from '../forms.ts';
import { DAY_US, dayOf } from './casts.ts';

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

interface Parts {
  readonly days: number;
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly micros: number;
}

const pad = (value: number, width: number): string => String(value).padStart(width, '0');

/** Monday 1 to Sunday 7; 2000-01-01 was a Saturday. */
export function isoDay(days: number): number {
  return ((((days + 5) % 7) + 7) % 7) + 1;
}

/** The week belongs to the year that has its Thursday. */
export function isoWeek(days: number): { year: number; week: number } {
  const thursday = days - isoDay(days) + 4;
  const { year } = civilFromDays(thursday);
  return { year, week: Math.floor((thursday - daysFromCivil(year, 1, 1)) / 7) + 1 };
}

/** A number is filled with zeros, a name with blanks; FM takes both away. */
type Pattern =
  | { readonly number: (parts: Parts) => number; readonly width: number }
  | { readonly name: (parts: Parts) => string; readonly width: number };

const hour12 = ({ hour }: Parts): number => (hour % 12 === 0 ? 12 : hour % 12);
const month = ({ month: number }: Parts): string => MONTHS[number - 1] as string;
const day = ({ days }: Parts): string => DAYS[isoDay(days) % 7] as string;
const half = ({ hour }: Parts): string => (hour >= 12 ? 'PM' : 'AM');
const dayOfYear = ({ days, year }: Parts): number => days - daysFromCivil(year, 1, 1) + 1;

/** In the order they are looked for: the longer before what it begins with. */
const PATTERNS: readonly (readonly [string, Pattern])[] = [
  ['A.M.', { name: (p) => (p.hour >= 12 ? 'P.M.' : 'A.M.'), width: 0 }],
  ['P.M.', { name: (p) => (p.hour >= 12 ? 'P.M.' : 'A.M.'), width: 0 }],
  ['a.m.', { name: (p) => (p.hour >= 12 ? 'p.m.' : 'a.m.'), width: 0 }],
  ['p.m.', { name: (p) => (p.hour >= 12 ? 'p.m.' : 'a.m.'), width: 0 }],
  ['AM', { name: half, width: 0 }],
  ['PM', { name: half, width: 0 }],
  ['am', { name: (p) => half(p).toLowerCase(), width: 0 }],
  ['pm', { name: (p) => half(p).toLowerCase(), width: 0 }],
  ['HH24', { number: (p) => p.hour, width: 2 }],
  ['hh24', { number: (p) => p.hour, width: 2 }],
  ['HH12', { number: hour12, width: 2 }],
  ['hh12', { number: hour12, width: 2 }],
  ['HH', { number: hour12, width: 2 }],
  ['hh', { number: hour12, width: 2 }],
  ['IDDD', { number: ({ days }) => days - (days - isoDay(days) + 1) + (isoWeek(days).week - 1) * 7 + 1, width: 3 }],
  ['DDD', { number: dayOfYear, width: 3 }],
  ['ddd', { number: dayOfYear, width: 3 }],
  ['IYYY', { number: (p) => isoWeek(p.days).year, width: 4 }],
  ['iyyy', { number: (p) => isoWeek(p.days).year, width: 4 }],
  ['YYYY', { number: (p) => p.year, width: 4 }],
  ['yyyy', { number: (p) => p.year, width: 4 }],
  ['Month', { name: month, width: 9 }],
  ['MONTH', { name: (p) => month(p).toUpperCase(), width: 9 }],
  ['month', { name: (p) => month(p).toLowerCase(), width: 9 }],
  ['Mon', { name: (p) => month(p).slice(0, 3), width: 3 }],
  ['MON', { name: (p) => month(p).slice(0, 3).toUpperCase(), width: 3 }],
  ['mon', { name: (p) => month(p).slice(0, 3).toLowerCase(), width: 3 }],
  ['Day', { name: day, width: 9 }],
  ['DAY', { name: (p) => day(p).toUpperCase(), width: 9 }],
  ['day', { name: (p) => day(p).toLowerCase(), width: 9 }],
  ['Dy', { name: (p) => day(p).slice(0, 3), width: 3 }],
  ['DY', { name: (p) => day(p).slice(0, 3).toUpperCase(), width: 3 }],
  ['dy', { name: (p) => day(p).slice(0, 3).toLowerCase(), width: 3 }],
  ['YY', { number: (p) => p.year % 100, width: 2 }],
  ['yy', { number: (p) => p.year % 100, width: 2 }],
  ['MM', { number: (p) => p.month, width: 2 }],
  ['mm', { number: (p) => p.month, width: 2 }],
  ['MI', { number: (p) => p.minute, width: 2 }],
  ['mi', { number: (p) => p.minute, width: 2 }],
  ['MS', { number: (p) => Math.trunc(p.micros / 1000), width: 3 }],
  ['ms', { number: (p) => Math.trunc(p.micros / 1000), width: 3 }],
  ['US', { number: (p) => p.micros, width: 6 }],
  ['us', { number: (p) => p.micros, width: 6 }],
  ['SS', { number: (p) => p.second, width: 2 }],
  ['ss', { number: (p) => p.second, width: 2 }],
  ['DD', { number: (p) => p.day, width: 2 }],
  ['dd', { number: (p) => p.day, width: 2 }],
  ['IW', { number: (p) => isoWeek(p.days).week, width: 2 }],
  ['iw', { number: (p) => isoWeek(p.days).week, width: 2 }],
  ['WW', { number: (p) => Math.trunc((dayOfYear(p) - 1) / 7) + 1, width: 2 }],
  ['ww', { number: (p) => Math.trunc((dayOfYear(p) - 1) / 7) + 1, width: 2 }],
  ['ID', { number: (p) => isoDay(p.days), width: 1 }],
  ['id', { number: (p) => isoDay(p.days), width: 1 }],
  ['D', { number: (p) => (isoDay(p.days) % 7) + 1, width: 1 }],
  ['d', { number: (p) => (isoDay(p.days) % 7) + 1, width: 1 }],
  ['Q', { number: (p) => Math.ceil(p.month / 3), width: 1 }],
  ['q', { number: (p) => Math.ceil(p.month / 3), width: 1 }],
];

/** to_char(timestamp, text). NULL of infinities. */
export function formatTimestampAs(micros: bigint, format: string): string | null {
  if (micros === TIMESTAMP_INFINITY || micros === TIMESTAMP_MINUS_INFINITY || format === '') return null;
  const days = Number(dayOf(micros));
  const civil = civilFromDays(days);
  if (civil.year < 1 || civil.year > 9999) throw new RangeError('a year that is left to the core');
  const clock = Number(micros - BigInt(days) * DAY_US);
  const seconds = Math.floor(clock / 1_000_000);
  const parts: Parts = {
    days,
    ...civil,
    hour: Math.floor(seconds / 3600),
    minute: Math.floor(seconds / 60) % 60,
    second: seconds % 60,
    micros: clock % 1_000_000,
  };
  if (isoWeek(days).year > 9999) throw new RangeError('a year that is left to the core');
  let made = '';
  for (let at = 0; at < format.length; ) {
    if (format[at] === '"') {
      const end = format.indexOf('"', at + 1);
      const text = end < 0 ? '\\' : format.slice(at + 1, end);
      if (text.includes('\\')) throw new RangeError('left to the core');
      made += text;
      at = end + 1;
      continue;
    }
    const isFilled = !format.startsWith('FM', at);
    const start = isFilled ? at : at + 2;
    const found = PATTERNS.find(([pattern]) => format.startsWith(pattern, start));
    if (found === undefined) {
      const char = format[at] as string;
      // Letters may be patterns that are not known here; a backslash quotes.
      if (!isFilled || /[A-Za-z\\]/.test(char)) throw new RangeError('a pattern that is left to the core');
      made += char;
      at += 1;
      continue;
    }
    const [pattern, how] = found;
    at = start + pattern.length;
    // Ordinals: 1st, 2ND.
    if (/^(?:TH|th|SP)/.test(format.slice(at))) throw new RangeError('a pattern that is left to the core');
    if ('number' in how) made += isFilled ? pad(how.number(parts), how.width) : String(how.number(parts));
    else made += isFilled ? how.name(parts).padEnd(how.width) : how.name(parts);
  }
  return made;
}

/** Patterns that are read, and only where the text has exactly so many digits. */
const READ: readonly (readonly [string, keyof Read, number])[] = [
  ['YYYY', 'year', 4],
  ['MM', 'month', 2],
  ['DD', 'day', 2],
  ['HH24', 'hour', 2],
  ['MI', 'minute', 2],
  ['SS', 'second', 2],
];

interface Read {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

/** to_timestamp(text, format) in microseconds: four digits of a year, two of everything else, and the format's own separators. */
export function readTimestampAs(text: string, format: string): bigint {
  const read: Read = { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
  const seen = new Set<string>();
  let at = 0;
  let from = 0;
  while (at < format.length) {
    const found = READ.find(([pattern]) => format.toUpperCase().startsWith(pattern, at));
    if (found === undefined) {
      const char = format[at] as string;
      if (!'-/:., '.includes(char) || text[from] !== char) throw new RangeError('left to the core');
      at += 1;
      from += 1;
      continue;
    }
    const [pattern, field, width] = found;
    const digits = text.slice(from, from + width);
    if (digits.length !== width || !/^\d+$/.test(digits) || seen.has(field)) throw new RangeError('left to the core');
    seen.add(field);
    read[field] = Number(digits);
    at += pattern.length;
    from += width;
  }
  const { year, month: number, day: inMonth, hour, minute, second } = read;
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const longest = number === 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].includes(number) ? 30 : 31;
  const isRight =
    from === text.length &&
    seen.has('year') &&
    year > 0 &&
    number >= 1 &&
    number <= 12 &&
    inMonth >= 1 &&
    inMonth <= longest &&
    hour < 24 &&
    minute < 60 &&
    second < 60;
  if (!isRight) throw new RangeError('date/time field value out of range');
  return (
    BigInt(daysFromCivil(year, number, inMonth)) * DAY_US + BigInt((hour * 60 + minute) * 60 + second) * 1_000_000n
  );
}
