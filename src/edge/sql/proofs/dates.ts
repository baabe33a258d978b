// Dates, times and intervals. What depends on a time zone is computed for UTC, and needs that TimeZone.

import { civilFromDays, daysFromCivil, type Interval } from '../../../pg/types/temporal.ts';
import type { Num } from '../decimal.ts';
import {
  checkDate,
  checkInterval,
  checkTimestamp,
  DATE_INFINITY,
  DATE_MINUS_INFINITY,
  TIMESTAMP_INFINITY,
  TIMESTAMP_MINUS_INFINITY,
} from '../forms.ts';
import { Forward } from '../forward.ts';
import type { Draft, Expression } from '../expression.ts';
import { NEED_TIMEZONE_UTC } from '../plan.ts';
import { DAY_US, dayOf, timestampOfDate } from './casts.ts';
import { formatTimestampAs, isoDay, isoWeek, readTimestampAs } from './date-formats.ts';
import type { Family, Proof } from './proof.ts';

const SECOND_US = 1_000_000n;
const MINUTE_US = 60n * SECOND_US;
const HOUR_US = 60n * MINUTE_US;
const DAY = 86_400_000_000;

/** 1970-01-01 in microseconds since 2000. */
const UNIX_EPOCH = -946_684_800_000_000n;

function isInfinite(micros: bigint): boolean {
  return micros === TIMESTAMP_INFINITY || micros === TIMESTAMP_MINUS_INFINITY;
}

/** What leaves 64 bits is an error, or not what it should be. */
function inRange(micros: bigint): bigint {
  if (BigInt.asIntN(64, micros) !== micros) throw new RangeError('interval out of range');
  return micros;
}

function isInfiniteDate(days: number): boolean {
  return days === DATE_INFINITY || days === DATE_MINUS_INFINITY;
}

/** PostgreSQL 17 has infinite intervals; here they are left to the core. */
function finiteInterval(interval: Interval): Interval {
  if (interval.months === 0x7fff_ffff || interval.months === -0x8000_0000) throw new RangeError('an infinite interval');
  return interval;
}

interface Moment {
  /** Since 2000-01-01. */
  readonly days: number;
  /** Astronomical: 0 is 1 BC. */
  readonly year: number;
  readonly month: number;
  readonly day: number;
  /** Since midnight. */
  readonly micros: number;
}

function momentOf(micros: bigint): Moment {
  const days = Number(dayOf(micros));
  return { days, ...civilFromDays(days), micros: Number(micros - BigInt(days) * DAY_US) };
}

// ------------------------------------------------------------------ fields

/** Names of fields as people write them. */
const FIELDS = new Map<string, string>(
  [
    'year years y yr yrs',
    'quarter qtr',
    'month months mon mons',
    'week weeks w',
    'day days d',
    'hour hours h hr hrs',
    'minute minutes m min mins',
    'second seconds s sec secs',
    'milliseconds millisecond ms msec msecs',
    'microseconds microsecond us usec usecs',
    'decade decades dec decs',
    'century centuries c cent',
    'millennium millennia mil mils',
    'dow',
    'isodow',
    'doy',
    'isoyear',
    'epoch',
  ].flatMap((line) => {
    const [field, ...others] = line.split(' ') as [string, ...string[]];
    return [field, ...others].map((name) => [name, field] as const);
  }),
);

function fieldOf(name: string): string {
  const field = FIELDS.get(name.toLowerCase());
  if (field === undefined) throw new RangeError('a field that is left to the core');
  return field;
}

/** A field: a whole number, or millionths (`micros`) shown with so many digits. */
type Field = { readonly whole: number } | { readonly micros: bigint; readonly digits: 3 | 6 };

/** Those that grow for ever: of an infinity they are infinite, the others NULL. */
const MONOTONIC = new Set(['year', 'decade', 'century', 'millennium', 'isoyear', 'epoch']);

/** Years before 1 AD are told without a year 0. */
function shownYear(year: number): number {
  return year > 0 ? year : year - 1;
}

function dateField(field: string, { days, year, month, day }: Moment): Field | null {
  switch (field) {
    case 'year':
      return { whole: shownYear(year) };
    case 'quarter':
      return { whole: Math.ceil(month / 3) };
    case 'month':
      return { whole: month };
    case 'week':
      return { whole: isoWeek(days).week };
    case 'day':
      return { whole: day };
    case 'decade':
      return { whole: year >= 0 ? Math.trunc(year / 10) : -Math.trunc((8 - (year - 1)) / 10) };
    case 'century':
      return { whole: year > 0 ? Math.trunc((year + 99) / 100) : -Math.trunc((99 - (year - 1)) / 100) };
    case 'millennium':
      return { whole: year > 0 ? Math.trunc((year + 999) / 1000) : -Math.trunc((999 - (year - 1)) / 1000) };
    case 'dow':
      return { whole: isoDay(days) % 7 };
    case 'isodow':
      return { whole: isoDay(days) };
    case 'doy':
      return { whole: days - daysFromCivil(year, 1, 1) + 1 };
    case 'isoyear':
      return { whole: shownYear(isoWeek(days).year) };
    default:
      return null;
  }
}

function clockField(field: string, micros: number): Field | null {
  switch (field) {
    case 'hour':
      return { whole: Math.floor(micros / 3_600_000_000) };
    case 'minute':
      return { whole: Math.floor(micros / 60_000_000) % 60 };
    case 'second':
      return { micros: BigInt(micros % 60_000_000), digits: 6 };
    case 'milliseconds':
      return { micros: BigInt(micros % 60_000_000), digits: 3 };
    case 'microseconds':
      return { whole: micros % 60_000_000 };
    default:
      return null;
  }
}

function fieldNum(field: Field): Num {
  if ('whole' in field) return { digits: BigInt(field.whole), scale: 0 };
  return { digits: field.micros, scale: field.digits };
}

/** date_part() computes in doubles, from seconds and the fraction apart. */
function fieldFloat(field: Field): number {
  // There is no negative zero.
  if ('whole' in field) return field.whole + 0;
  const seconds = Number(field.micros / SECOND_US);
  const rest = Number(field.micros % SECOND_US);
  return field.digits === 6 ? seconds + rest / 1_000_000 : seconds * 1000 + rest / 1000;
}

/** EXTRACT of an infinity. */
function infiniteField(field: string, isPositive: boolean): 'Infinity' | '-Infinity' | null {
  return MONOTONIC.has(field) ? (isPositive ? 'Infinity' : '-Infinity') : null;
}

function extractDate(name: string, days: number): Num | null {
  const field = fieldOf(name);
  if (field === 'epoch') {
    if (isInfiniteDate(days)) return days > 0 ? 'Infinity' : '-Infinity';
    return { digits: (BigInt(days) * DAY_US - UNIX_EPOCH) / SECOND_US, scale: 0 };
  }
  const found = dateField(field, momentOf(isInfiniteDate(days) ? 0n : BigInt(days) * DAY_US));
  if (found === null) throw new RangeError('unit not supported for type date');
  return isInfiniteDate(days) ? infiniteField(field, days > 0) : fieldNum(found);
}

function extractTimestamp(name: string, micros: bigint): Num | null {
  const field = fieldOf(name);
  if (isInfinite(micros)) return infiniteField(field, micros > 0n);
  if (field === 'epoch') return { digits: inRange(micros - UNIX_EPOCH), scale: 6 };
  const moment = momentOf(micros);
  return fieldNum((dateField(field, moment) ?? clockField(field, moment.micros)) as Field);
}

function partTimestamp(name: string, micros: bigint): number | null {
  const field = fieldOf(name);
  if (isInfinite(micros)) {
    const value = infiniteField(field, micros > 0n);
    return value === null ? null : Number(value);
  }
  if (field === 'epoch') return Number(micros - UNIX_EPOCH) / 1_000_000;
  const moment = momentOf(micros);
  if (field === 'second' || field === 'milliseconds') {
    const inMinute = moment.micros % 60_000_000;
    return fieldFloat({ micros: BigInt(inMinute), digits: field === 'second' ? 6 : 3 });
  }
  return fieldFloat((dateField(field, moment) ?? clockField(field, moment.micros)) as Field);
}

function timeField(name: string, micros: number): Field {
  const field = fieldOf(name);
  if (field === 'epoch') return { micros: BigInt(micros), digits: 6 };
  const found = clockField(field, micros);
  if (found === null) throw new RangeError('unit not supported for type time');
  return found;
}

function intervalField(name: string, interval: Interval): Field {
  const { months, days, microseconds } = finiteInterval(interval);
  const field = fieldOf(name);
  const years = Math.trunc(months / 12);
  switch (field) {
    case 'epoch': {
      const quarters = BigInt(1461 * years + 120 * (months % 12) + 4 * days);
      return { micros: quarters * 21_600n * SECOND_US + microseconds, digits: 6 };
    }
    case 'year':
      return { whole: years };
    case 'decade':
      return { whole: Math.trunc(years / 10) + 0 };
    case 'century':
      return { whole: Math.trunc(years / 100) + 0 };
    case 'millennium':
      return { whole: Math.trunc(years / 1000) + 0 };
    case 'month':
      return { whole: (months % 12) + 0 };
    case 'quarter':
      if (months < 0) throw new RangeError('versions differ');
      return { whole: Math.trunc((months % 12) / 3) + 1 };
    case 'day':
      return { whole: days };
    case 'hour':
      return { whole: Number(microseconds / HOUR_US) };
    case 'minute':
      return { whole: Number((microseconds % HOUR_US) / MINUTE_US) };
    case 'second':
      return { micros: microseconds % MINUTE_US, digits: 6 };
    case 'milliseconds':
      return { micros: microseconds % MINUTE_US, digits: 3 };
    case 'microseconds':
      return { whole: Number(microseconds % MINUTE_US) };
    default:
      throw new RangeError('unit not supported for type interval');
  }
}

function partInterval(name: string, interval: Interval): number {
  if (fieldOf(name) !== 'epoch') return fieldFloat(intervalField(name, interval));
  const { months, days, microseconds } = finiteInterval(interval);
  let result = Number(microseconds) / 1_000_000;
  result += 365.25 * 86_400 * Math.trunc(months / 12);
  result += 30 * 86_400 * (months % 12);
  return result + 86_400 * days;
}

/** A field that is no constant, or none that this type has, may be an error. */
function unlessField(...fields: readonly string[]): (constants: readonly (string | null)[]) => boolean {
  const known = new Set(fields);
  return (constants) => !known.has(FIELDS.get((constants[0] ?? '').toLowerCase()) ?? '');
}

const DATE_FIELDS = [
  'year',
  'quarter',
  'month',
  'week',
  'day',
  'decade',
  'century',
  'millennium',
  'dow',
  'isodow',
  'doy',
  'isoyear',
  'epoch',
];
const CLOCK_FIELDS = ['hour', 'minute', 'second', 'milliseconds', 'microseconds'];
const SPAN_FIELDS = ['year', 'month', 'day', 'decade', 'century', 'millennium', 'epoch', ...CLOCK_FIELDS];

// ------------------------------------------------------------------ truncation

function truncated(name: string, micros: bigint): bigint {
  const field = fieldOf(name);
  if (!TRUNCATIONS.includes(field)) throw new RangeError('unit not supported');
  if (isInfinite(micros)) return micros;
  const { days, year, month, micros: clock } = momentOf(micros);
  const midnight = (day: number): bigint => checkTimestamp(BigInt(day) * DAY_US);
  const unit = CLOCK_UNITS[field];
  if (unit !== undefined) return BigInt(days) * DAY_US + BigInt(clock - (clock % unit));
  switch (field) {
    case 'day':
      return midnight(days);
    case 'week':
      return midnight(days - isoDay(days) + 1);
    case 'month':
      return midnight(daysFromCivil(year, month, 1));
    case 'quarter':
      return midnight(daysFromCivil(year, month - ((month - 1) % 3), 1));
    case 'year':
      return midnight(daysFromCivil(year, 1, 1));
    case 'decade':
      return midnight(
        daysFromCivil(year > 0 ? Math.trunc(year / 10) * 10 : -Math.trunc((8 - (year - 1)) / 10) * 10, 1, 1),
      );
    case 'century':
      return midnight(
        daysFromCivil(
          year > 0 ? Math.trunc((year + 99) / 100) * 100 - 99 : -Math.trunc((99 - (year - 1)) / 100) * 100 + 1,
          1,
          1,
        ),
      );
    default:
      return midnight(
        daysFromCivil(
          year > 0 ? Math.trunc((year + 999) / 1000) * 1000 - 999 : -Math.trunc((999 - (year - 1)) / 1000) * 1000 + 1,
          1,
          1,
        ),
      );
  }
}

const CLOCK_UNITS: Readonly<Record<string, number>> = {
  hour: 3_600_000_000,
  minute: 60_000_000,
  second: 1_000_000,
  milliseconds: 1_000,
  microseconds: 1,
};

const TRUNCATIONS = ['year', 'quarter', 'month', 'week', 'day', 'decade', 'century', 'millennium', ...CLOCK_FIELDS];

function truncatedInterval(name: string, interval: Interval): Interval {
  const { months, days, microseconds } = finiteInterval(interval);
  const field = fieldOf(name);
  const unit = CLOCK_UNITS[field];
  if (unit !== undefined) return { months, days, microseconds: microseconds - (microseconds % BigInt(unit)) };
  const size = { day: 0, month: 1, quarter: 3, year: 12, decade: 120, century: 1200, millennium: 12_000 }[field];
  if (size === undefined) throw new RangeError('unit not supported for type interval');
  if (field === 'day') return { months, days, microseconds: 0n };
  if (field === 'quarter' && months < 0) throw new RangeError('versions may differ');
  return { months: months - (months % size) + 0, days: 0, microseconds: 0n };
}

// ------------------------------------------------------------------ arithmetic

const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

function daysInMonth(year: number, month: number): number {
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  return (DAYS_IN_MONTH[month - 1] as number) + (month === 2 && isLeap ? 1 : 0);
}

function plusInterval(micros: bigint, interval: Interval): bigint {
  const { months, days, microseconds } = finiteInterval(interval);
  if (isInfinite(micros)) return micros;
  let result = micros;
  if (months !== 0) {
    const moment = momentOf(result);
    const total = moment.year * 12 + moment.month - 1 + months;
    const year = Math.floor(total / 12);
    const month = total - year * 12 + 1;
    const day = Math.min(moment.day, daysInMonth(year, month));
    result = checkTimestamp(BigInt(daysFromCivil(year, month, day)) * DAY_US + BigInt(moment.micros));
  }
  result = checkTimestamp(result + BigInt(days) * DAY_US);
  return checkTimestamp(result + microseconds);
}

function negated(interval: Interval): Interval {
  const { months, days, microseconds } = finiteInterval(interval);
  return { months: -months + 0, days: -days + 0, microseconds: -microseconds };
}

function plus(a: Interval, b: Interval): Interval {
  finiteInterval(a);
  finiteInterval(b);
  return checkInterval({
    months: a.months + b.months,
    days: a.days + b.days,
    microseconds: a.microseconds + b.microseconds,
  });
}

function between(a: bigint, b: bigint): Interval {
  if (isInfinite(a) || isInfinite(b)) throw new RangeError('infinite timestamps');
  const difference = inRange(a - b);
  const days = difference / DAY_US;
  return checkInterval({ months: 0, days: Number(days), microseconds: difference - days * DAY_US });
}

function rint(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

const roundedMicros = (value: number): number => rint(value * 1_000_000) / 1_000_000;

function asInt4(value: number): number {
  const whole = Math.trunc(value) + 0;
  if (!(whole >= -0x8000_0000 && whole <= 0x7fff_ffff)) throw new RangeError('interval out of range');
  return whole;
}

/** Months become days of a thirtieth, days become seconds; `of` multiplies or divides by the factor. */
function scaled(interval: Interval, of: (part: number) => number): Interval {
  const { months, days, microseconds } = finiteInterval(interval);
  const wholeMonths = asInt4(of(months));
  let wholeDays = asInt4(of(days));
  const restDays = roundedMicros((of(months) - wholeMonths) * 30);
  let restSeconds = roundedMicros((of(days) - wholeDays + restDays - Math.trunc(restDays)) * 86_400);
  if (Math.abs(restSeconds) >= 86_400) {
    wholeDays += Math.trunc(restSeconds / 86_400);
    restSeconds -= Math.trunc(restSeconds / 86_400) * 86_400;
  }
  wholeDays += Math.trunc(restDays);
  const micros = rint(of(Number(microseconds)) + restSeconds * 1_000_000);
  if (!(Math.abs(micros) < 9.2e18)) throw new RangeError('interval out of range');
  return checkInterval({ months: wholeMonths, days: wholeDays + 0, microseconds: BigInt(micros) });
}

function times(interval: Interval, factor: number): Interval {
  if (!Number.isFinite(factor)) throw new RangeError('interval out of range');
  return scaled(interval, (part) => part * factor);
}

function dividedBy(interval: Interval, factor: number): Interval {
  if (factor === 0) throw new RangeError('division by zero');
  if (!Number.isFinite(factor)) throw new RangeError('interval out of range');
  return scaled(interval, (part) => part / factor);
}

function age(a: bigint, b: bigint): Interval {
  if (isInfinite(a) || isInfinite(b)) throw new RangeError('infinite timestamps');
  const [one, two] = [momentOf(a), momentOf(b)];
  const isBefore = a < b;
  const sign = isBefore ? -1 : 1;
  let micros = sign * (one.micros - two.micros);
  let days = sign * (one.day - two.day);
  let months = sign * ((one.year - two.year) * 12 + one.month - two.month);
  if (micros < 0) {
    micros += DAY;
    days -= 1;
  }
  // Borrowed from the month of the earlier of the two.
  const { year, month } = isBefore ? one : two;
  while (days < 0) {
    days += daysInMonth(year, month);
    months -= 1;
  }
  return { months: sign * months + 0, days: sign * days + 0, microseconds: BigInt(sign * micros) };
}

function justifyHours(interval: Interval): Interval {
  const { months, days, microseconds } = finiteInterval(interval);
  const whole = microseconds / DAY_US;
  return checkInterval({ months, ...sameSign(days + Number(whole), microseconds - whole * DAY_US) });
}

function sameSign(days: number, microseconds: bigint): { days: number; microseconds: bigint } {
  if (days > 0 && microseconds < 0n) return { days: days - 1, microseconds: microseconds + DAY_US };
  if (days < 0 && microseconds > 0n) return { days: days + 1, microseconds: microseconds - DAY_US };
  return { days, microseconds };
}

function justifyDays(interval: Interval): Interval {
  const { months, days, microseconds } = finiteInterval(interval);
  const whole = Math.trunc(days / 30);
  let rest = days - whole * 30;
  let total = months + whole;
  if (total > 0 && rest < 0) {
    rest += 30;
    total -= 1;
  } else if (total < 0 && rest > 0) {
    rest -= 30;
    total += 1;
  }
  return checkInterval({ months: total, days: rest + 0, microseconds });
}

function justifyInterval(interval: Interval): Interval {
  let { months, days, microseconds } = finiteInterval(interval);
  const wholeDays = microseconds / DAY_US;
  microseconds -= wholeDays * DAY_US;
  days += Number(wholeDays);
  const wholeMonths = Math.trunc(days / 30);
  days -= wholeMonths * 30;
  months += wholeMonths;
  if (months > 0 && (days < 0 || (days === 0 && microseconds < 0n))) {
    days += 30;
    months -= 1;
  } else if (months < 0 && (days > 0 || (days === 0 && microseconds > 0n))) {
    days -= 30;
    months += 1;
  }
  return checkInterval({ months, ...sameSign(days + 0, microseconds) });
}

function makeDate(year: number, month: number, day: number): number {
  // A negative year is one BC.
  const astronomical = year < 0 ? year + 1 : year;
  if (
    year === 0 ||
    month < 1 ||
    month > 12 ||
    day < 1 ||
    Math.abs(year) > 5_874_897 ||
    day > daysInMonth(astronomical, month)
  ) {
    throw new RangeError('date field value out of range');
  }
  return checkDate(daysFromCivil(astronomical, month, day));
}

function makeTime(hour: number, minute: number, second: number): number {
  const isWhole = hour === 24 && minute === 0 && second === 0;
  if (!isWhole && !(hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 59.999)) {
    throw new RangeError('time field value out of range');
  }
  return (hour * 60 + minute) * 60_000_000 + rint(second * 1_000_000);
}

function toTimestamp(seconds: number): bigint {
  if (Number.isNaN(seconds)) throw new RangeError('timestamp cannot be NaN');
  if (!Number.isFinite(seconds)) return seconds > 0 ? TIMESTAMP_INFINITY : TIMESTAMP_MINUS_INFINITY;
  const micros = rint((seconds - 946_684_800) * 1_000_000);
  if (!(Math.abs(micros) < 9.2e18)) throw new RangeError('timestamp out of range');
  return checkTimestamp(BigInt(micros));
}

function timePlus(time: number, { microseconds }: Interval): number {
  if (isInfinite(microseconds)) throw new RangeError('an infinite interval');
  return Number((((BigInt(time) + microseconds) % DAY_US) + DAY_US) % DAY_US);
}

function dateBin(stride: Interval, micros: bigint, origin: bigint): bigint {
  finiteInterval(stride);
  if (isInfinite(micros)) return micros;
  if (isInfinite(origin) || stride.months !== 0) throw new RangeError('left to the core');
  const size = inRange(BigInt(stride.days) * DAY_US + stride.microseconds);
  if (size <= 0n) throw new RangeError('stride must be greater than zero');
  const difference = inRange(micros - origin);
  const rest = ((difference % size) + size) % size;
  return checkTimestamp(micros - rest);
}

function plusDays(days: number, count: number): number {
  if (isInfiniteDate(days)) return days;
  const sum = days + count;
  if (!Number.isSafeInteger(sum) || sum > 0x7fff_ffff || sum < -0x8000_0000 || isInfiniteDate(sum))
    throw new RangeError('date out of range');
  return checkDate(sum);
}

function daysBetween(a: number, b: number): number {
  if (isInfiniteDate(a) || isInfiniteDate(b)) throw new RangeError('cannot subtract infinite dates');
  return a - b;
}

/** AT TIME ZONE: only UTC is the same everywhere; the rules of other zones change from one release of them to the next. */
function onlyUtc([zone]: readonly Expression[], draft: Draft): void {
  const name = zone?.constant === null || zone?.constant === undefined ? '' : draft.bake(zone.constant);
  if (!/^(?:utc|gmt|etc\/utc|etc\/gmt|z|zulu)$/i.test(name))
    throw new Forward('unproven-function', 'a time zone other than UTC');
}

const stamps: readonly Proof[] = (['timestamp', 'timestamptz'] as const).flatMap((type): Proof[] => {
  const zoned = type === 'timestamptz' ? { needs: NEED_TIMEZONE_UTC } : {};
  return [
    {
      of: `extract(text,${type})`,
      js: extractTimestamp,
      raises: unlessField(...DATE_FIELDS, ...CLOCK_FIELDS),
      ...zoned,
    },
    {
      of: `date_part(text,${type})`,
      js: partTimestamp,
      raises: unlessField(...DATE_FIELDS, ...CLOCK_FIELDS),
      ...zoned,
    },
    // Only in the first weeks of the calendar (4714 BC) a month, quarter or year has no beginning.
    {
      of: `date_trunc(text,${type})`,
      js: truncated,
      raises: unlessField('year', 'quarter', 'month', 'week', 'day', ...CLOCK_FIELDS),
      ...zoned,
    },
    { of: `${type} + interval`, js: plusInterval, raises: true, ...zoned },
    { of: `interval + ${type}`, js: (a: Interval, b: bigint) => plusInterval(b, a), raises: true, ...zoned },
    { of: `${type} - interval`, js: (a: bigint, b: Interval) => plusInterval(a, negated(b)), raises: true, ...zoned },
    { of: `${type} - ${type}`, js: between, raises: true },
    { of: `age(${type},${type})`, js: age, raises: true, ...zoned },
    { of: `isfinite(${type})`, js: (a: bigint) => !isInfinite(a), isTotal: true },
    { of: `date_bin(interval,${type},${type})`, js: dateBin, raises: true },
    { of: `to_char(${type},text)`, js: formatTimestampAs, ...zoned },
  ];
});

export const DATES: Family = {
  title: 'Dates and times',
  rows: [
    { of: 'extract(text,date)', js: extractDate, raises: unlessField(...DATE_FIELDS) },
    {
      of: 'date_part(text,date)',
      js: (field: string, days: number) => partTimestamp(field, checkTimestamp(timestampOfDate(days))),
      raises: true,
    },
    {
      of: 'extract(text,time)',
      js: (field: string, time: number) => fieldNum(timeField(field, time)),
      raises: unlessField(...CLOCK_FIELDS, 'epoch'),
    },
    {
      of: 'date_part(text,time)',
      js: (field: string, time: number) => fieldFloat(timeField(field, time)),
      raises: unlessField(...CLOCK_FIELDS, 'epoch'),
    },
    {
      of: 'extract(text,interval)',
      js: (field: string, span: Interval) => fieldNum(intervalField(field, span)),
      raises: unlessField(...SPAN_FIELDS),
    },
    { of: 'date_part(text,interval)', js: partInterval, raises: unlessField(...SPAN_FIELDS) },
    ...stamps,
    {
      of: 'date_trunc(text,interval)',
      js: truncatedInterval,
      raises: unlessField('year', 'month', 'day', ...CLOCK_FIELDS),
    },
    { of: 'date + int4', js: plusDays, raises: true },
    { of: 'int4 + date', js: (a: number, b: number) => plusDays(b, a), raises: true },
    { of: 'date - int4', js: (a: number, b: number) => plusDays(a, -b), raises: true },
    { of: 'date - date', js: daysBetween, raises: true },
    { of: 'date + interval', js: (a: number, b: Interval) => plusInterval(timestampOfDate(a), b), raises: true },
    { of: 'interval + date', js: (a: Interval, b: number) => plusInterval(timestampOfDate(b), a), raises: true },
    {
      of: 'date - interval',
      js: (a: number, b: Interval) => plusInterval(timestampOfDate(a), negated(b)),
      raises: true,
    },
    {
      of: 'date + time',
      js: (a: number, b: number) =>
        isInfiniteDate(a) ? timestampOfDate(a) : checkTimestamp(timestampOfDate(a) + BigInt(b)),
      raises: true,
    },
    {
      of: 'time + date',
      js: (a: number, b: number) =>
        isInfiniteDate(b) ? timestampOfDate(b) : checkTimestamp(timestampOfDate(b) + BigInt(a)),
      raises: true,
    },
    { of: 'time + interval', js: timePlus, raises: true },
    { of: 'interval + time', js: (a: Interval, b: number) => timePlus(b, a), raises: true },
    {
      of: 'time - interval',
      js: (a: number, b: Interval) => timePlus(a, { ...b, microseconds: -b.microseconds }),
      raises: true,
    },
    {
      of: 'time - time',
      js: (a: number, b: number): Interval => ({ months: 0, days: 0, microseconds: BigInt(a - b) }),
      isTotal: true,
    },
    { of: 'interval + interval', js: plus, raises: true },
    { of: 'interval - interval', js: (a: Interval, b: Interval) => plus(a, negated(b)), raises: true },
    { of: '- interval', js: negated, raises: true },
    { of: 'interval * float8', js: times, raises: true },
    { of: 'float8 * interval', js: (a: number, b: Interval) => times(b, a), raises: true },
    { of: 'interval / float8', js: dividedBy, raises: true },
    { of: 'justify_hours(interval)', js: justifyHours, raises: true },
    { of: 'justify_days(interval)', js: justifyDays, raises: true },
    { of: 'justify_interval(interval)', js: justifyInterval, raises: true },
    { of: 'isfinite(date)', js: (a: number) => !isInfiniteDate(a), isTotal: true },
    { of: 'isfinite(interval)', js: (a: Interval) => finiteInterval(a) === a },
    { of: 'make_date(int4,int4,int4)', js: makeDate, raises: true },
    { of: 'make_time(int4,int4,float8)', js: makeTime, raises: true },
    {
      of: 'make_timestamp(int4,int4,int4,int4,int4,float8)',
      js: (y: number, mo: number, d: number, h: number, mi: number, s: number) =>
        checkTimestamp(timestampOfDate(makeDate(y, mo, d)) + BigInt(makeTime(h, mi, s))),
      raises: true,
    },
    { of: 'to_timestamp(float8)', js: toTimestamp, raises: true },
    { of: 'timezone(text,timestamptz)', js: (_: string, micros: bigint) => micros, check: onlyUtc, isTotal: true },
    { of: 'timezone(text,timestamp)', js: (_: string, micros: bigint) => micros, check: onlyUtc, isTotal: true },
    {
      of: 'to_date(text,text)',
      js: (text: string, format: string) => Number(dayOf(readTimestampAs(text, format))),
      raises: true,
    },
    { of: 'to_timestamp(text,text)', js: readTimestampAs, raises: true, needs: NEED_TIMEZONE_UTC },
  ],
};
