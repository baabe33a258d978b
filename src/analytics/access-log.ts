// Lines of access logs as events: the combined format of Apache and nginx (and the common one, which lacks its end), and JSON objects
// with the names that people give such fields.

import type { HttpEvent } from './event.ts';

/** A line that is no event, with the reason. */
export interface BadLine {
  readonly why: string;
}

const QUOTED = '"((?:[^"\\\\]|\\\\.)*)"';
const COMBINED = new RegExp(
  `^(\\S+) \\S+ (.*?) \\[([^\\]]{20,40})\\] ${QUOTED} (\\d{3}) (\\d+|-)(?: ${QUOTED} ${QUOTED})?`,
);

/** Reads one line of either format. `zone` is for lines that name none. */
export function readLogLine(line: string, zone: string): HttpEvent | BadLine {
  const event = line.startsWith('{') ? readJsonLine(line, zone) : readCombinedLine(line, zone);
  return 'why' in event ? event : (unfit(event) ?? event);
}

/** Strangers choose what stands in a log (a Host header is enough): what no table can hold must not stop all that comes behind it. */
function unfit(event: HttpEvent): BadLine | null {
  const { zone, country, colo, contentType, bytes, atMs } = event;
  if (zone.length > ZONE_CHARS_MAX) return { why: `the zone is longer than ${ZONE_CHARS_MAX} characters` };
  if ([country, colo, contentType].some((text) => text.length > KEY_CHARS_MAX)) {
    return { why: `a country, data centre or content type is longer than ${KEY_CHARS_MAX} characters` };
  }
  if ((zone + country + colo + contentType).includes('\0')) return { why: 'a text has a zero byte' };
  if (!Number.isSafeInteger(bytes)) return { why: 'the number of bytes is too large' };
  return Number.isInteger(atMs) && atMs >= 0 && atMs < TIME_END_MS
    ? null
    : { why: 'the time is before 1970 or after 9999' };
}

/** A DNS name's length. */
const ZONE_CHARS_MAX = 255;
const KEY_CHARS_MAX = 128;

/** The year 10000, which Postgres' and JavaScript's ISO forms write differently. */
const TIME_END_MS = 253_402_300_800_000;

/** Whether a last line without its end is all there: the combined format ends with a quote, JSON with a brace. */
export function isWholeLine(line: string, zone: string): boolean {
  return (line.startsWith('{') || /" "(?:[^"\\]|\\.)*"$/.test(line)) && !('why' in readLogLine(line, zone));
}

function readCombinedLine(line: string, zone: string): HttpEvent | BadLine {
  const parts = COMBINED.exec(line);
  if (parts === null) return { why: 'it is neither combined log format nor JSON' };
  const atMs = logTime(parts[3] as string);
  if (atMs === null) return { why: `"${parts[3] ?? ''}" is no time` };
  const request = parts[4] as string;
  const space = request.indexOf(' ');
  return {
    zone,
    atMs,
    client: parts[1] as string,
    // What is no HTTP request (a TLS handshake on a plain port) has no method.
    method: methodOf(space < 0 ? request : request.slice(0, space)),
    status: Number(parts[5]),
    bytes: parts[6] === '-' ? 0 : Number(parts[6]),
    cached: false,
    threat: false,
    latencyMs: null,
    country: '',
    colo: '',
    contentType: '',
  };
}

const MONTHS: ReadonlyMap<string, number> = new Map(
  'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ').map((name, index) => [name, index]),
);

/** `17/May/2015:10:05:03 +0000` in ms since the epoch; null when it is no time. */
export function logTime(text: string): number | null {
  const parts = /^(\d{2})\/(\w{3})\/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})$/.exec(text);
  if (parts === null) return null;
  const month = MONTHS.get(parts[2] as string);
  if (month === undefined) return null;
  const [day, year, hour, minute, second] = [parts[1], parts[3], parts[4], parts[5], parts[6]].map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  if (day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return null;
  const zoneMinutes = (Number(parts[8]) * 60 + Number(parts[9])) * (parts[7] === '-' ? -1 : 1);
  const ms = Date.UTC(year, month, day, hour, minute, second);
  // The 31st of a month that has none.
  return new Date(ms).getUTCDate() === day || second === 60 ? ms - zoneMinutes * 60_000 : null;
}

function readJsonLine(line: string, zone: string): HttpEvent | BadLine {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    return { why: `it is no JSON: ${(error as Error).message}` };
  }
  const atMs = jsonTime(pick(fields, TIME_NAMES));
  if (atMs === null) return { why: `no time in ${TIME_NAMES.join(', ')}` };
  const status = Number(pick(fields, ['status', 'status_code', 'response_status']));
  if (!Number.isInteger(status) || status < 100 || status > 999) return { why: 'no status' };
  const bytes = Number(pick(fields, ['body_bytes_sent', 'bytes_sent', 'bytes', 'size']) ?? 0);
  const seconds = pick(fields, ['request_time', 'duration']);
  const milliseconds = pick(fields, ['latency_ms', 'duration_ms']);
  const latencyMs = milliseconds === undefined ? Number(seconds) * 1000 : Number(milliseconds);
  return {
    zone: text(pick(fields, ['zone', 'host', 'http_host', 'server_name'])) || zone,
    atMs,
    client: text(pick(fields, ['remote_addr', 'client_ip', 'client', 'ip'])),
    method: methodOf(text(pick(fields, ['request_method', 'method'])) || (text(fields['request']).split(' ')[0] ?? '')),
    status,
    bytes: Number.isFinite(bytes) && bytes > 0 ? Math.floor(bytes) : 0,
    cached: /^hit$/i.test(text(pick(fields, ['upstream_cache_status', 'cache_status', 'cache']))),
    threat: truthy(pick(fields, ['threat', 'blocked'])),
    latencyMs: Number.isFinite(latencyMs) && latencyMs >= 0 ? latencyMs : null,
    country: text(pick(fields, ['country', 'geoip_country_code'])).toUpperCase(),
    colo: text(pick(fields, ['colo', 'pop', 'datacenter'])),
    contentType: (text(pick(fields, ['content_type', 'sent_http_content_type'])).split(';')[0] ?? '')
      .trim()
      .toLowerCase(),
  };
}

const TIME_NAMES = ['time', 'timestamp', 'time_iso8601', '@timestamp', 'msec', 'ts'];

/** Seconds (nginx' $msec) or milliseconds of the epoch, or a text that is a date or a log's time. */
function jsonTime(value: unknown): number | null {
  if (typeof value === 'number' || (typeof value === 'string' && /^\d+(\.\d+)?$/.test(value))) {
    const number = Number(value);
    // Nobody serves in the year 5138 yet: smaller numbers are seconds.
    return number > 0 ? Math.round(number < 1e11 ? number * 1000 : number) : null;
  }
  if (typeof value !== 'string') return null;
  const parsed = logTime(value) ?? Date.parse(value);
  return Number.isNaN(parsed) ? null : parsed;
}

function pick(fields: Readonly<Record<string, unknown>>, names: readonly string[]): unknown {
  for (const name of names) {
    const value = fields[name];
    if (value !== undefined && value !== null && value !== '') return value;
  }
  return undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
}

function truthy(value: unknown): boolean {
  return value === true || value === 1 || value === '1' || value === 'true';
}

/** Methods are few; garbage is one more, so that a dimension stays small whatever a scanner sends. */
function methodOf(word: string): string {
  return /^[A-Z]{3,10}$/.test(word) ? word : '';
}
