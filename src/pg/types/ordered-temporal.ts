// Text of dates and timestamps that sorts by bytes as Postgres sorts the values.
//
// `2024-02-29 12:00:00.5+00` sorts by itself: fields have fixed widths, and the signs after a shortened fraction sort
// before digits. `infinity` and `-infinity` fall after and before all digits. Only years outside 0001 to 9999 need help:
//
//   -infinity < /9999955-03-15 (44 BC) < 0001-01-01 … 9999-12-31 < :0010000-01-01 < infinity
//
// '/' is the character before '0', ':' the one after '9'. Both carry seven digits, which hold every year Postgres has.

const YEAR_DIGITS = 7;
const YEAR_COMPLEMENT = 9_999_999;

/** Stored form of what Postgres prints (ISO, UTC) for a date, timestamp or timestamptz. */
export function orderedTemporal(printed: string): string {
  // Regular: a dash after four characters and no BC at the end.
  if (printed.charCodeAt(4) === 45 && printed.charCodeAt(printed.length - 1) !== 67) return printed;
  if (printed.endsWith('infinity')) return printed;
  const dash = printed.indexOf('-');
  const year = Number(printed.slice(0, dash));
  if (printed.endsWith(' BC')) {
    return `/${String(YEAR_COMPLEMENT - year).padStart(YEAR_DIGITS, '0')}${printed.slice(dash, -3)}`;
  }
  return `:${String(year).padStart(YEAR_DIGITS, '0')}${printed.slice(dash)}`;
}

/** What Postgres prints, from the stored form. */
export function printedTemporal(stored: string): string {
  const mark = stored.charCodeAt(0);
  if (mark === 47) {
    const year = YEAR_COMPLEMENT - Number(stored.slice(1, 1 + YEAR_DIGITS));
    return `${String(year).padStart(4, '0')}${stored.slice(1 + YEAR_DIGITS)} BC`;
  }
  if (mark === 58) return `${Number(stored.slice(1, 1 + YEAR_DIGITS))}${stored.slice(1 + YEAR_DIGITS)}`;
  return stored;
}
