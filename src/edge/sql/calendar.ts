// EXTRACT and date_trunc on stored dates and timestamps of the years 1 to 9999. Infinities and other years throw, and the
// statement is forwarded.

interface Moment {
  /** Days since 1970-01-01. */
  readonly days: number;
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  /** Within the minute. */
  readonly micros: number;
}

const STORED = /^(\d{4})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:\+00)?)?$/;
const DAY_MS = 86_400_000;

function parse(stored: string): Moment {
  const parts = STORED.exec(stored);
  if (parts === null) throw new RangeError('a date that is left to the core');
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const midnight = new Date(0);
  midnight.setUTCFullYear(year, month - 1, day);
  const micros = second * 1_000_000 + Number((parts[7] ?? '').padEnd(6, '0'));
  return { days: midnight.getTime() / DAY_MS, year, month, day, hour, minute, micros };
}

/** Fields that EXTRACT gives for dates and for timestamps; `seconds` are those that a date has not. */
export const DATE_FIELDS: ReadonlySet<string> = new Set([
  'year',
  'quarter',
  'month',
  'week',
  'day',
  'dow',
  'isodow',
  'doy',
  'isoyear',
  'epoch',
]);
export const TIME_FIELDS: ReadonlySet<string> = new Set(['hour', 'minute', 'second']);

/** EXTRACT(field FROM stored) as Postgres prints the numeric. */
export function extractField(field: string, stored: string): string {
  const moment = parse(stored);
  switch (field) {
    case 'year':
      return String(moment.year);
    case 'quarter':
      return String(Math.ceil(moment.month / 3));
    case 'month':
      return String(moment.month);
    case 'day':
      return String(moment.day);
    case 'hour':
      return String(moment.hour);
    case 'minute':
      return String(moment.minute);
    case 'second':
      return withMicros(BigInt(moment.micros));
    case 'dow':
      return String(isoDay(moment) % 7);
    case 'isodow':
      return String(isoDay(moment));
    case 'doy':
      return String(moment.days - firstDay(moment.year) + 1);
    case 'week':
      return String(isoWeek(moment).week);
    case 'isoyear':
      return String(isoWeek(moment).year);
    case 'epoch': {
      const seconds = BigInt(moment.days) * 86_400n + BigInt(moment.hour * 3600 + moment.minute * 60);
      // A date's are whole.
      return stored.length === 10 ? String(seconds) : withMicros(seconds * 1_000_000n + BigInt(moment.micros));
    }
    default:
      throw new RangeError('a field that is left to the core');
  }
}

export const TRUNCATIONS: ReadonlySet<string> = new Set([
  'year',
  'quarter',
  'month',
  'week',
  'day',
  'hour',
  'minute',
  'second',
]);

/** date_trunc(field, stored timestamp), in stored form. */
export function truncateTo(field: string, stored: string): string {
  if (stored === 'infinity' || stored === '-infinity') return stored;
  const moment = parse(stored);
  const zone = stored.endsWith('+00') ? '+00' : '';
  const clock = (hour: number, minute: number, second: number): string =>
    ` ${[hour, minute, second].map((part) => String(part).padStart(2, '0')).join(':')}${zone}`;
  const { year, month, days, hour, minute, micros } = moment;
  switch (field) {
    case 'year':
      return dateOf(firstDay(year)) + clock(0, 0, 0);
    case 'quarter':
      return `${stored.slice(0, 5)}${String(month - ((month - 1) % 3)).padStart(2, '0')}-01${clock(0, 0, 0)}`;
    case 'month':
      return `${stored.slice(0, 8)}01${clock(0, 0, 0)}`;
    case 'week':
      return dateOf(days - isoDay(moment) + 1) + clock(0, 0, 0);
    case 'day':
      return stored.slice(0, 10) + clock(0, 0, 0);
    case 'hour':
      return stored.slice(0, 10) + clock(hour, 0, 0);
    case 'minute':
      return stored.slice(0, 10) + clock(hour, minute, 0);
    case 'second':
      return stored.slice(0, 10) + clock(hour, minute, Math.floor(micros / 1_000_000));
    default:
      throw new RangeError('a field that is left to the core');
  }
}

function withMicros(micros: bigint): string {
  const isNegative = micros < 0n;
  const text = (isNegative ? -micros : micros).toString().padStart(7, '0');
  return `${isNegative ? '-' : ''}${text.slice(0, -6)}.${text.slice(-6)}`;
}

/** Monday 1 to Sunday 7; 1970-01-01 was a Thursday. */
function isoDay({ days }: Moment): number {
  return ((((days + 3) % 7) + 7) % 7) + 1;
}

function firstDay(year: number): number {
  const start = new Date(0);
  start.setUTCFullYear(year, 0, 1);
  return start.getTime() / DAY_MS;
}

/** The week belongs to the year that has its Thursday. */
function isoWeek(moment: Moment): { year: number; week: number } {
  const thursday = moment.days - isoDay(moment) + 4;
  const year = new Date(thursday * DAY_MS).getUTCFullYear();
  return { year, week: Math.floor((thursday - firstDay(year)) / 7) + 1 };
}

function dateOf(days: number): string {
  const date = new Date(days * DAY_MS);
  if (date.getUTCFullYear() < 1) throw new RangeError('a date before year 1');
  return date.toISOString().slice(0, 10);
}
