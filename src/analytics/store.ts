// Writing to the tables: partials with their source's position in one transaction (compare-and-set on epoch and position), and rolling
// what became dirty up into hours and days.

import { Fault } from '../base/fault.ts';
import type { ClientSession } from '../session/client-session.ts';
import { Aggregate, DAY_MS, HOUR_MS, MINUTE_MS, type Partial } from './aggregate.ts';
import {
  COLUMNS,
  copyRow,
  DAYS,
  HOURS,
  isoOf,
  type Level,
  MINUTES,
  partitionSql,
  READ_COLUMNS,
  readRow,
  SCHEMA,
  SETUP_SQL,
} from './tables.ts';

/** A source that was taken over; whoever had it before is fenced off. */
export interface Source {
  readonly id: number;
  readonly name: string;
  readonly epoch: string;
  /** Where it goes on. */
  offset: number;
  /** What the importer knows the place by: a hash of the line before it. */
  lastLine: string;
}

/** Dirty hours, then days, rolled up in one transaction. */
const ROLL_KEYS = 500;

/** Bytes of one COPY message. */
const COPY_CHUNK_BYTES = 256 * 1024;

export class AnalyticsStore {
  readonly #session: ClientSession;
  readonly #partitions = new Set<string>();

  constructor(session: ClientSession) {
    this.#session = session;
  }

  /** Makes schema and tables. Rejects with Fault `analytics-setup-refused` when the role may not. */
  async setup(): Promise<void> {
    try {
      await this.#session.query(`SELECT pg_advisory_lock(${SETUP_LOCK})`);
      await this.#session.query(SETUP_SQL);
    } catch (error) {
      throw new Fault('analytics-setup-refused', {
        message: `the tables of analytics cannot be made: ${(error as Error).message}`,
        hint: `let a role that may CREATE EXTENSION hstore and CREATE SCHEMA ${SCHEMA} run it once, then GRANT it to this one`,
        cause: error,
      });
    } finally {
      await this.#session.query(`SELECT pg_advisory_unlock_all()`).catch(() => {});
    }
  }

  /** Takes a source over: its position, and a new epoch that fences whoever else works on it. */
  async acquire(name: string, label: string): Promise<Source> {
    const result = await this.#session.queryParams(
      `INSERT INTO ${SCHEMA}.source (name, label, epoch) VALUES ($1, $2, 1)
       ON CONFLICT (name) DO UPDATE SET epoch = source.epoch + 1, label = EXCLUDED.label RETURNING id, epoch, next_offset, last_line`,
      [name, label],
    );
    const [id, epoch, offset, lastLine] = result.rows[0] as [string, string, string, string];
    return { id: Number(id), name, epoch, offset: Number(offset), lastLine };
  }

  /** Forgets all that came from a source, so that it can be taken in again. */
  async forget(source: Source): Promise<void> {
    await this.#transaction(async () => {
      await this.#session.query(
        `WITH gone AS (DELETE FROM ${SCHEMA}.http_1m WHERE source = ${source.id} RETURNING zone, at)
         INSERT INTO ${SCHEMA}.dirty SELECT DISTINCT zone, date_trunc('hour', at, 'UTC') FROM gone ORDER BY 1, 2 ${MARKED}`,
      );
      await this.#advance(source, 0, '');
    });
    source.offset = 0;
    source.lastLine = '';
  }

  /** Adds partials and moves the source to `offset`: both or neither. Rejects with Fault `analytics-fenced` when somebody took the source over. */
  async flush(source: Source, partials: readonly Partial[], offset: number, lastLine: string): Promise<void> {
    await this.#makePartitions(
      MINUTES,
      partials.map(({ atMs }) => atMs),
    );
    await this.#transaction(async () => {
      await this.#advance(source, offset, lastLine);
      await this.#session.copyIn(
        `COPY ${SCHEMA}.http_1m (source, ${COLUMNS.join(', ')}) FROM STDIN`,
        chunks(partials.map(({ zone, atMs, aggregate }) => `${source.id}\t${copyRow(zone, atMs, aggregate)}\n`)),
      );
      const hours = new Map<string, string>();
      for (const { zone, atMs } of partials) {
        const at = isoOf(Math.floor(atMs / HOUR_MS) * HOUR_MS);
        hours.set(`${at} ${zone}`, `${jsonText(zone)},"${at}"`);
      }
      await this.#session.queryParams(
        `INSERT INTO ${SCHEMA}.dirty SELECT k->>0, (k->>1)::timestamptz FROM json_array_elements($1::json) AS k ORDER BY 1, 2 ${MARKED}`,
        [`[${[...hours.values()].map((pair) => `[${pair}]`).join(',')}]`],
      );
    });
    source.offset = offset;
    source.lastLine = lastLine;
  }

  /** Zones with the time that their requests span: the end is that of the last minute. Empty before anything was taken in. */
  async zones(): Promise<{ zone: string; fromMs: number; toMs: number }[]> {
    const there = await this.#session.query(`SELECT to_regclass('${SCHEMA}.http_1h') IS NOT NULL`);
    if (there.rows[0]?.[0] !== 't') return [];
    const { rows } = await this.#session.query(
      `SELECT zone, (extract(epoch FROM min(at)) * 1000)::bigint, (extract(epoch FROM max(at)) * 1000)::bigint FROM ${SCHEMA}.http_1m GROUP BY zone ORDER BY zone`,
    );
    return rows.map(([zone, from, to]) => ({ zone: String(zone), fromMs: Number(from), toMs: Number(to) + MINUTE_MS }));
  }

  /** Rolls all dirty hours up, and the days they belong to. `done` is told how many hours so far. Gives their number. */
  async roll(done: (hours: number) => void = () => {}): Promise<number> {
    let total = 0;
    for (;;) {
      const hours = await this.#rollSome();
      if (hours === 0) return total;
      total += hours;
      done(total);
    }
  }

  async #rollSome(): Promise<number> {
    const { rows } = await this.#session.query(
      `SELECT DISTINCT (extract(epoch FROM at) * 1000)::bigint FROM (SELECT at FROM ${SCHEMA}.dirty LIMIT ${ROLL_KEYS}) AS d`,
    );
    if (rows.length === 0) return 0;
    const moments = rows.map(([ms]) => Number(ms));
    await this.#makePartitions(HOURS, moments);
    await this.#makePartitions(DAYS, moments);
    return await this.#transaction(async () => {
      const taken = await this.#session.query(
        `DELETE FROM ${SCHEMA}.dirty WHERE (zone, at) IN (SELECT zone, at FROM ${SCHEMA}.dirty WHERE at = ANY (ARRAY[${moments.map((ms) => `'${isoOf(ms)}'`).join(',')}]::timestamptz[]) LIMIT ${ROLL_KEYS} FOR UPDATE SKIP LOCKED)
         RETURNING zone, (extract(epoch FROM at) * 1000)::bigint`,
      );
      const keys = taken.rows.map(([zone, ms]) => ({ zone: String(zone), atMs: Number(ms) }));
      await this.#rebuild(HOURS, MINUTES, keys, HOUR_MS);
      const days = new Map<string, { zone: string; atMs: number }>();
      for (const { zone, atMs } of keys) {
        const day = Math.floor(atMs / DAY_MS) * DAY_MS;
        days.set(`${day} ${zone}`, { zone, atMs: day });
      }
      // Two rollers may touch one day: whoever comes second waits, and reads what the first has written.
      await this.#session.query(`SELECT pg_advisory_xact_lock(${DAYS_LOCK})`);
      await this.#rebuild(DAYS, HOURS, [...days.values()], DAY_MS);
      return keys.length;
    });
  }

  /** Replaces rows of a level by what the level below says. */
  async #rebuild(
    level: Level,
    below: Level,
    keys: readonly { zone: string; atMs: number }[],
    lengthMs: number,
  ): Promise<void> {
    if (keys.length === 0) return;
    const list = `[${keys.map(({ zone, atMs }) => `[${jsonText(zone)},"${isoOf(atMs)}","${isoOf(atMs + lengthMs)}"]`).join(',')}]`;
    // Fresh partitions have no statistics yet, and without them each key would be a scan of all of them.
    await this.#session.query(
      'SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off',
    );
    const { rows } = await this.#session.queryParams(
      `SELECT ${READ_COLUMNS} FROM (SELECT k->>0 AS key_zone, (k->>1)::timestamptz AS begins, (k->>2)::timestamptz AS ends FROM json_array_elements($1::json) AS k) AS keys
       CROSS JOIN LATERAL (SELECT * FROM ${SCHEMA}.${below.table} AS b WHERE b.zone = key_zone AND b.at >= begins AND b.at < ends) AS b`,
      [list],
    );
    const merged = new Map<string, { zone: string; atMs: number; aggregate: Aggregate }>();
    for (const row of rows) {
      const { zone, atMs, aggregate } = readRow(row);
      const at = Math.floor(atMs / lengthMs) * lengthMs;
      const key = `${at} ${zone}`;
      const there = merged.get(key);
      if (there === undefined) merged.set(key, { zone, atMs: at, aggregate });
      else there.aggregate.merge(aggregate);
    }
    await this.#session.queryParams(
      `DELETE FROM ${SCHEMA}.${level.table} AS t USING json_array_elements($1::json) AS k WHERE t.zone = k->>0 AND t.at = (k->>1)::timestamptz`,
      [list],
    );
    await this.#session.copyIn(
      `COPY ${SCHEMA}.${level.table} (${COLUMNS.join(', ')}) FROM STDIN`,
      chunks([...merged.values()].map(({ zone, atMs, aggregate }) => `${copyRow(zone, atMs, aggregate)}\n`)),
    );
  }

  async #advance(source: Source, offset: number, lastLine: string): Promise<void> {
    const result = await this.#session.query(
      `UPDATE ${SCHEMA}.source SET next_offset = ${offset}, last_line = '${lastLine}', changed_at = now() WHERE id = ${source.id} AND epoch = ${source.epoch} AND next_offset = ${source.offset} RETURNING 1`,
    );
    if (result.rows.length === 1) return;
    throw new Fault('analytics-fenced', {
      message: `somebody else has taken ${source.name} over`,
      hint: 'let one process at a time take a source in; nothing was counted twice',
      sqlstate: '40001',
    });
  }

  async #makePartitions(level: Level, momentsMs: readonly number[]): Promise<void> {
    for (const sql of partitionSql(level, momentsMs)) {
      if (this.#partitions.has(sql)) continue;
      await this.#session.query(sql);
      this.#partitions.add(sql);
    }
  }

  async #transaction<T>(work: () => Promise<T>): Promise<T> {
    await this.#session.query('BEGIN');
    try {
      const value = await work();
      await this.#session.query('COMMIT');
      return value;
    } catch (error) {
      if (!this.#session.closed) await this.#session.query('ROLLBACK').catch(() => {});
      throw error;
    }
  }
}

/** Locks a mark that is there: a roller that takes it now would not see the minutes that it stands for, and leave nothing behind. */
const MARKED = 'ON CONFLICT (zone, at) DO UPDATE SET at = EXCLUDED.at';

/** Keys of advisory locks: any numbers that nobody else uses. */
const SETUP_LOCK = 5_391_274_001;
const DAYS_LOCK = 5_391_274_002;

function jsonText(text: string): string {
  return JSON.stringify(text);
}

function* chunks(lines: readonly string[]): Iterable<Uint8Array> {
  let text = '';
  for (const line of lines) {
    text += line;
    if (text.length < COPY_CHUNK_BYTES) continue;
    yield Buffer.from(text);
    text = '';
  }
  if (text !== '') yield Buffer.from(text);
}
