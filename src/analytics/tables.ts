// The tables of analytics, and rows as COPY carries them.
//
//   http_1m   insert-only partials: several rows may stand for one (zone, minute), each of one flush of one source
//   http_1h   one row for each (zone, hour), replaced whenever its minutes changed
//   http_1d   the same for days (UTC)
//   dirty     (zone, hour) whose minutes changed since it was last rolled up; written in the transaction that changes them
//   source    how far each source was taken in, in the same transaction too: a source is never counted twice

import { Aggregate, DAY_MS } from './aggregate.ts';
import { DIMENSIONS } from './event.ts';
import { Hll } from './hll.ts';

export const SCHEMA = 'skerry_analytics';

/** Rows of a level and how long the partitions that hold them are. */
export interface Level {
  readonly table: 'http_1m' | 'http_1h' | 'http_1d';
  readonly partition: 'day' | 'month' | 'year';
}

export const MINUTES: Level = { table: 'http_1m', partition: 'day' };
export const HOURS: Level = { table: 'http_1h', partition: 'month' };
export const DAYS: Level = { table: 'http_1d', partition: 'year' };

const VALUES = `zone text NOT NULL, at timestamptz NOT NULL, requests bigint NOT NULL, bytes bigint NOT NULL, cached bigint NOT NULL, threats bigint NOT NULL,
  latency bigint[] NOT NULL, visitors bytea NOT NULL, ${DIMENSIONS.map((name) => `${name} hstore NOT NULL`).join(', ')}`;

/** Makes what is missing; safe to repeat and for several at once. */
export const SETUP_SQL = `
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE SCHEMA IF NOT EXISTS ${SCHEMA};
CREATE TABLE IF NOT EXISTS ${SCHEMA}.source (id int GENERATED ALWAYS AS IDENTITY, name text PRIMARY KEY, label text NOT NULL,
  next_offset bigint NOT NULL DEFAULT 0, last_line text NOT NULL DEFAULT '', epoch bigint NOT NULL DEFAULT 0, changed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS ${SCHEMA}.http_1m (source int NOT NULL, ${VALUES}) PARTITION BY RANGE (at);
CREATE INDEX IF NOT EXISTS http_1m_key ON ${SCHEMA}.http_1m (zone, at);
CREATE TABLE IF NOT EXISTS ${SCHEMA}.http_1h (${VALUES}, PRIMARY KEY (zone, at)) PARTITION BY RANGE (at);
CREATE TABLE IF NOT EXISTS ${SCHEMA}.http_1d (${VALUES}, PRIMARY KEY (zone, at)) PARTITION BY RANGE (at);
CREATE TABLE IF NOT EXISTS ${SCHEMA}.dirty (zone text NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (zone, at));`;

/** Columns in the order of `copyRow`, without the source. */
export const COLUMNS = ['zone', 'at', 'requests', 'bytes', 'cached', 'threats', 'latency', 'visitors', ...DIMENSIONS];

/** Statements that make the partitions for these moments. */
export function partitionSql(level: Level, momentsMs: Iterable<number>): string[] {
  const begins = new Set<number>();
  for (const ms of momentsMs) begins.add(partitionBegin(level, ms));
  return [...begins]
    .sort((a, b) => a - b)
    .map((begin) => {
      const name = `${level.table}_${isoOf(begin).slice(0, NAME_CHARS[level.partition]).replaceAll('-', '')}`;
      return `CREATE TABLE IF NOT EXISTS ${SCHEMA}.${name} PARTITION OF ${SCHEMA}.${level.table} FOR VALUES FROM ('${isoOf(begin)}') TO ('${isoOf(partitionEnd(level, begin))}')`;
    });
}

const NAME_CHARS = { day: 10, month: 7, year: 4 } as const;

function partitionBegin({ partition }: Level, ms: number): number {
  if (partition === 'day') return Math.floor(ms / DAY_MS) * DAY_MS;
  const date = new Date(ms);
  return Date.UTC(date.getUTCFullYear(), partition === 'year' ? 0 : date.getUTCMonth());
}

function partitionEnd({ partition }: Level, begin: number): number {
  if (partition === 'day') return begin + DAY_MS;
  const date = new Date(begin);
  return partition === 'year'
    ? Date.UTC(date.getUTCFullYear() + 1)
    : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
}

/** `2015-05-17T10:05:00.000Z`. */
export function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}

/** One line for COPY in text format. */
export function copyRow(zone: string, atMs: number, aggregate: Aggregate): string {
  const { requests, bytes, cached, threats, latency, visitors, counters } = aggregate;
  return [
    escapeCopy(zone),
    isoOf(atMs),
    requests,
    bytes,
    cached,
    threats,
    `{${latency.join(',')}}`,
    `\\\\x${visitors.toBytes().toString('hex')}`,
    ...DIMENSIONS.map((name) => escapeCopy(hstoreText(counters[name]))),
  ].join('\t');
}

function hstoreText(counter: ReadonlyMap<string, number>): string {
  const pairs: string[] = [];
  for (const [key, value] of counter) pairs.push(`"${key.replace(/["\\]/g, '\\$&')}"=>"${value}"`);
  return pairs.join(', ');
}

function escapeCopy(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] as string);
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** Columns to read so that `readRow` understands them: the moment in ms, counters as JSON. */
export const READ_COLUMNS = `zone, (extract(epoch FROM at) * 1000)::bigint, requests, bytes, cached, threats, latency, encode(visitors, 'hex'), ${DIMENSIONS.map((name) => `hstore_to_json(${name})`).join(', ')}`;

/** A row of `READ_COLUMNS`. */
export function readRow(row: readonly (string | null)[]): { zone: string; atMs: number; aggregate: Aggregate } {
  const aggregate = new Aggregate();
  aggregate.requests = Number(row[2]);
  aggregate.bytes = Number(row[3]);
  aggregate.cached = Number(row[4]);
  aggregate.threats = Number(row[5]);
  String(row[6])
    .slice(1, -1)
    .split(',')
    .forEach((value, index) => {
      aggregate.latency[index] = Number(value);
    });
  aggregate.visitors.merge(Hll.fromBytes(Buffer.from(String(row[7]), 'hex')));
  DIMENSIONS.forEach((name, index) => {
    const counts = JSON.parse(row[8 + index] ?? '{}') as Record<string, string>;
    for (const [key, value] of Object.entries(counts)) aggregate.counters[name].set(key, Number(value));
  });
  return { zone: String(row[0]), atMs: Number(row[1]), aggregate };
}
