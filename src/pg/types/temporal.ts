// Dates and times: text as Postgres prints it (ISO, UTC, IntervalStyle postgres) and the binary form of the protocol.
// Days count from 2000-01-01, times are microseconds, calendars are proleptic Gregorian.

import { invalidBinary, invalidText } from './faults.ts';

const DAY_US = 86_400_000_000n;
const DATE_INFINITY = 2 ** 31 - 1;
const DATE_MINUS_INFINITY = -(2 ** 31);
const TIMESTAMP_INFINITY = 2n ** 63n - 1n;
const TIMESTAMP_MINUS_INFINITY = -(2n ** 63n);
/** 2000-01-01 counted from 1970-01-01. */
const EPOCH_DAYS = 10_957;

const DATE = /^(\d{4,7})-(\d\d)-(\d\d)( BC)?$/;
const TIMESTAMP =
  /^(\d{4,7})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?( BC)?$/;
const TIME = /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?$/;

/** Days since 2000-01-01 of a calendar day; `year` 0 is 1 BC. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468 - EPOCH_DAYS;
}

/** Calendar day of days since 2000-01-01; `year` 0 is 1 BC. */
export function civilFromDays(days: number): { year: number; month: number; day: number } {
  const z = days + EPOCH_DAYS + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}

/** Days since 2000-01-01; the infinities are the ends of int4. */
export function parseDate(text: string): number {
  if (text === 'infinity') return DATE_INFINITY;
  if (text === '-infinity') return DATE_MINUS_INFINITY;
  const found = DATE.exec(text);
  if (found === null) throw invalidText('date', text);
  return daysFromCivil(civilYear(found[1] as string, found[4]), Number(found[2]), Number(found[3]));
}

export function formatDate(days: number): string {
  if (days === DATE_INFINITY) return 'infinity';
  if (days === DATE_MINUS_INFINITY) return '-infinity';
  const civil = civilFromDays(days);
  return civil.year > 0 ? dateText(civil) : `${dateText(civil)} BC`;
}

/** Microseconds since 2000-01-01 (UTC when the text has a zone); the infinities are the ends of int8. */
export function parseTimestamp(text: string): bigint {
  if (text === 'infinity') return TIMESTAMP_INFINITY;
  if (text === '-infinity') return TIMESTAMP_MINUS_INFINITY;
  const found = TIMESTAMP.exec(text);
  if (found === null) throw invalidText('timestamp', text);
  const days = daysFromCivil(civilYear(found[1] as string, found[12]), Number(found[2]), Number(found[3]));
  const zone = zoneSeconds(found[8], found[9], found[10], found[11]);
  const time = timeMicroseconds(found[4], found[5], found[6], found[7]) - zone * 1_000_000;
  return BigInt(days) * DAY_US + BigInt(time);
}

/** Text of microseconds since 2000-01-01; `zone` is appended (`+00` for a timestamptz in UTC). */
export function formatTimestamp(microseconds: bigint, zone: '' | '+00'): string {
  if (microseconds === TIMESTAMP_INFINITY) return 'infinity';
  if (microseconds === TIMESTAMP_MINUS_INFINITY) return '-infinity';
  let days = microseconds / DAY_US;
  let time = microseconds % DAY_US;
  if (time < 0n) {
    time += DAY_US;
    days -= 1n;
  }
  const civil = civilFromDays(Number(days));
  return `${dateText(civil)} ${timeText(Number(time))}${zone}${civil.year > 0 ? '' : ' BC'}`;
}

/** Microseconds since midnight; up to and including 24:00:00. */
export function parseTime(text: string): number {
  const found = TIME.exec(text);
  if (found === null) throw invalidText('time', text);
  return timeMicroseconds(found[1], found[2], found[3], found[4]);
}

export function formatTime(microseconds: number): string {
  return timeText(microseconds);
}

/** `zone` in seconds west of Greenwich, as the binary form has it. */
export function parseTimeWithZone(text: string): { microseconds: number; zone: number } {
  const found = TIME.exec(text);
  if (found === null || found[5] === undefined) throw invalidText('time with time zone', text);
  const zone = -zoneSeconds(found[5], found[6], found[7], found[8]);
  return { microseconds: timeMicroseconds(found[1], found[2], found[3], found[4]), zone: zone === 0 ? 0 : zone };
}

export function formatTimeWithZone(microseconds: number, zone: number): string {
  return timeText(microseconds) + zoneText(zone);
}

export interface Interval {
  readonly microseconds: bigint;
  readonly days: number;
  readonly months: number;
}

const INTERVAL_INFINITY: Interval = { microseconds: 2n ** 63n - 1n, days: 2 ** 31 - 1, months: 2 ** 31 - 1 };
const INTERVAL_MINUS_INFINITY: Interval = { microseconds: -(2n ** 63n), days: -(2 ** 31), months: -(2 ** 31) };

const INTERVAL =
  /^(?:([+-]?\d+) years?)? ?(?:([+-]?\d+) mons?)? ?(?:([+-]?\d+) days?)? ?(?:([+-])?(\d{2,}):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?$/;

/** Reads IntervalStyle postgres. */
export function parseInterval(text: string): Interval {
  if (text === 'infinity') return INTERVAL_INFINITY;
  if (text === '-infinity') return INTERVAL_MINUS_INFINITY;
  const found = INTERVAL.exec(text);
  if (found === null || text === '') throw invalidText('interval', text);
  const months = Number(found[1] ?? 0) * 12 + Number(found[2] ?? 0);
  let microseconds = 0n;
  if (found[5] !== undefined) {
    const minutes = BigInt(found[5]) * 60n + BigInt(found[6] as string);
    microseconds = (minutes * 60n + BigInt(found[7] as string)) * 1_000_000n + BigInt(fraction(found[8]));
    if (found[4] === '-') microseconds = -microseconds;
  }
  return { microseconds, days: Number(found[3] ?? 0), months };
}

/** Prints IntervalStyle postgres. */
export function formatInterval({ microseconds, days, months }: Interval): string {
  if (isSame(INTERVAL_INFINITY, microseconds, days, months)) return 'infinity';
  if (isSame(INTERVAL_MINUS_INFINITY, microseconds, days, months)) return '-infinity';
  let text = '';
  // After a negative field, a positive one shows its sign.
  let isBefore = false;
  const fields: readonly (readonly [number, string])[] = [
    [Math.trunc(months / 12), 'year'],
    [months % 12, 'mon'],
    [days, 'day'],
  ];
  for (const [value, unit] of fields) {
    if (value === 0) continue;
    const sign = isBefore && value > 0 ? '+' : '';
    text += `${text === '' ? '' : ' '}${sign}${value} ${unit}${value === 1 ? '' : 's'}`;
    isBefore = value < 0;
  }
  if (text !== '' && microseconds === 0n) return text;
  const size = microseconds < 0n ? -microseconds : microseconds;
  const seconds = size / 1_000_000n;
  const sign = microseconds < 0n ? '-' : isBefore ? '+' : '';
  const clock = `${pad2n(seconds / 3600n)}:${pad2n((seconds / 60n) % 60n)}:${pad2n(seconds % 60n)}`;
  return `${text === '' ? '' : `${text} `}${sign}${clock}${fractionText(Number(size % 1_000_000n))}`;
}

/** Refuses what no time of day can be. */
export function checkTime(microseconds: bigint): number {
  if (microseconds < 0n || microseconds > DAY_US) throw invalidBinary('time');
  return Number(microseconds);
}

function isSame(interval: Interval, microseconds: bigint, days: number, months: number): boolean {
  return interval.microseconds === microseconds && interval.days === days && interval.months === months;
}

function civilYear(year: string, bc: string | undefined): number {
  return bc === undefined ? Number(year) : 1 - Number(year);
}

function timeMicroseconds(
  hours: string | undefined,
  minutes: string | undefined,
  seconds: string | undefined,
  part: string | undefined,
): number {
  return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000_000 + fraction(part);
}

function fraction(part: string | undefined): number {
  return part === undefined ? 0 : Number(part.padEnd(6, '0'));
}

/** Seconds east of Greenwich. */
function zoneSeconds(
  sign: string | undefined,
  hours: string | undefined,
  minutes: string | undefined,
  seconds: string | undefined,
): number {
  if (sign === undefined) return 0;
  const size = (Number(hours) * 60 + Number(minutes ?? 0)) * 60 + Number(seconds ?? 0);
  return sign === '-' ? -size : size;
}

/** `west` in seconds west of Greenwich. */
function zoneText(west: number): string {
  const size = Math.abs(west);
  const hours = pad2(Math.floor(size / 3600));
  const minutes = Math.floor(size / 60) % 60;
  const seconds = size % 60;
  const tail = seconds !== 0 ? `:${pad2(minutes)}:${pad2(seconds)}` : minutes !== 0 ? `:${pad2(minutes)}` : '';
  return `${west > 0 ? '-' : '+'}${hours}${tail}`;
}

function dateText({ year, month, day }: { year: number; month: number; day: number }): string {
  const shown = year > 0 ? year : 1 - year;
  return `${String(shown).padStart(4, '0')}-${pad2(month)}-${pad2(day)}`;
}

function timeText(microseconds: number): string {
  const seconds = Math.floor(microseconds / 1_000_000);
  const clock = `${pad2(Math.floor(seconds / 3600))}:${pad2(Math.floor(seconds / 60) % 60)}:${pad2(seconds % 60)}`;
  return clock + fractionText(microseconds % 1_000_000);
}

function fractionText(microseconds: number): string {
  if (microseconds === 0) return '';
  return `.${String(microseconds).padStart(6, '0').replace(/0+$/, '')}`;
}

function pad2(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

function pad2n(value: bigint): string {
  return value < 10n ? `0${value}` : String(value);
}
