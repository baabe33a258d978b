// Answers of a dashboard: the coarsest rows that fit the range, finer ones at its ends and where something came late.

import type { ClientSession } from '../session/client-session.ts';
import { Aggregate, DAY_MS, HOUR_MS, latencyQuantile, MINUTE_MS } from './aggregate.ts';
import { type Dimension } from './event.ts';
import { HLL_STANDARD_ERROR } from './hll.ts';
import { isoOf, READ_COLUMNS, readRow, SCHEMA } from './tables.ts';

export type Step = 'minute' | 'hour' | 'day';

export const STEP_MS: Readonly<Record<Step, number>> = { minute: MINUTE_MS, hour: HOUR_MS, day: DAY_MS };

const TABLES: Readonly<Record<Step, string>> = { minute: 'http_1m', hour: 'http_1h', day: 'http_1d' };

/** Part of a range that one level answers. */
export interface Piece {
  readonly step: Step;
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Cuts a range into as few pieces as possible: whole days, then whole hours, then minutes. `dirtyHours` (their beginnings) are not rolled up
 * yet, so that they and their days are read from finer rows. `coarsest` bounds what may be read, for a series of that step.
 */
export function cut(fromMs: number, toMs: number, dirtyHours: ReadonlySet<number>, coarsest: Step): Piece[] {
  const pieces: Piece[] = [];
  const dirtyDays = new Set([...dirtyHours].map((hour) => Math.floor(hour / DAY_MS) * DAY_MS));
  let at = Math.floor(fromMs / MINUTE_MS) * MINUTE_MS;
  const end = Math.ceil(toMs / MINUTE_MS) * MINUTE_MS;
  while (at < end) {
    let step: Step = 'minute';
    if (coarsest === 'day' && at % DAY_MS === 0 && at + DAY_MS <= end && !dirtyDays.has(at)) step = 'day';
    else if (coarsest !== 'minute' && at % HOUR_MS === 0 && at + HOUR_MS <= end && !dirtyHours.has(at)) step = 'hour';
    // Minutes up to where an hour may begin, not one by one.
    const to = step === 'minute' ? Math.min(end, (Math.floor(at / HOUR_MS) + 1) * HOUR_MS) : at + STEP_MS[step];
    const last = pieces.at(-1);
    if (last !== undefined && last.step === step) pieces[pieces.length - 1] = { ...last, toMs: to };
    else pieces.push({ step, fromMs: at, toMs: to });
    at = to;
  }
  return pieces;
}

/** What a chart of this range is drawn in: a few hundred points at most. */
export function stepFor(fromMs: number, toMs: number): Step {
  const range = toMs - fromMs;
  if (range <= 4 * HOUR_MS) return 'minute';
  return range <= 14 * DAY_MS ? 'hour' : 'day';
}

export interface Question {
  readonly zone: string;
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
  readonly step: Step;
}

export interface Figures {
  readonly requests: number;
  readonly bytes: number;
  readonly cached: number;
  readonly threats: number;
  readonly uniques: number;
  /** Relative standard error of `uniques`: 0 while they are counted one by one. */
  readonly uniquesError: number;
  /** In ms; null when no source says. */
  readonly latencyP50: number | null;
  readonly latencyP99: number | null;
}

export interface Answer {
  readonly zone: string;
  readonly from: string;
  readonly to: string;
  readonly step: Step;
  readonly total: Figures;
  readonly series: readonly ({ readonly at: string } & Figures)[];
  /** By dimension, most requests first. */
  readonly by: Readonly<Partial<Record<Dimension, readonly { readonly key: string; readonly requests: number }[]>>>;
  /** Rows read, by level: what the answer cost. */
  readonly rows: Readonly<Record<Step, number>>;
}

/** Asks in one snapshot, so that no request is in both an hour and its minutes. */
export async function ask(
  session: ClientSession,
  question: Question,
  dimensions: readonly Dimension[],
): Promise<Answer> {
  const { zone, fromMs, toMs, step } = question;
  const rows = { minute: 0, hour: 0, day: 0 };
  const series = new Map<number, Aggregate>();
  await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    const dirty = await session.queryParams(
      `SELECT (extract(epoch FROM at) * 1000)::bigint FROM ${SCHEMA}.dirty WHERE zone = $1 AND at >= date_trunc('day', $2::timestamptz, 'UTC') AND at < date_trunc('day', $3::timestamptz, 'UTC') + interval '1 day'`,
      [zone, isoOf(fromMs), isoOf(toMs)],
    );
    for (const piece of cut(fromMs, toMs, new Set(dirty.rows.map(([ms]) => Number(ms))), step)) {
      const read = await session.queryParams(
        `SELECT ${READ_COLUMNS} FROM ${SCHEMA}.${TABLES[piece.step]} WHERE zone = $1 AND at >= $2::timestamptz AND at < $3::timestamptz`,
        [zone, isoOf(piece.fromMs), isoOf(piece.toMs)],
      );
      rows[piece.step] += read.rows.length;
      for (const row of read.rows) {
        const { atMs, aggregate } = readRow(row);
        const at = Math.floor(atMs / STEP_MS[step]) * STEP_MS[step];
        const there = series.get(at);
        if (there === undefined) series.set(at, aggregate);
        else there.merge(aggregate);
      }
    }
  } finally {
    await session.query('COMMIT');
  }
  const total = new Aggregate();
  for (const aggregate of series.values()) total.merge(aggregate);
  return {
    zone,
    from: isoOf(fromMs),
    to: isoOf(toMs),
    step,
    total: figuresOf(total),
    series: [...series]
      .sort(([a], [b]) => a - b)
      .map(([at, aggregate]) => ({ at: isoOf(at), ...figuresOf(aggregate) })),
    by: Object.fromEntries(
      dimensions.map((dimension) => [
        dimension,
        [...total.counters[dimension]]
          .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
          .map(([key, requests]) => ({ key, requests })),
      ]),
    ),
    rows,
  };
}

function figuresOf(aggregate: Aggregate): Figures {
  const uniques = aggregate.visitors.cardinality();
  return {
    requests: aggregate.requests,
    bytes: aggregate.bytes,
    cached: aggregate.cached,
    threats: aggregate.threats,
    uniques: Math.round(uniques),
    uniquesError: aggregate.visitors.isExact ? 0 : HLL_STANDARD_ERROR,
    latencyP50: latencyQuantile(aggregate.latency, 0.5),
    latencyP99: latencyQuantile(aggregate.latency, 0.99),
  };
}
