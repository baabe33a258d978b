// Analytics against one database: taking logs in, rolling up, asking.

import { importLog, type ImportOptions, type ImportProgress, type ImportResult } from '../analytics/import.ts';
import { ask, type Answer, type Question } from '../analytics/query.ts';
import type { Dimension } from '../analytics/event.ts';
import { AnalyticsStore } from '../analytics/store.ts';
import { createClock } from '../runtime/clock.ts';
import { openReadableFile } from '../runtime/log-file.ts';
import { ClientSession } from '../session/client-session.ts';
import { connectionTarget } from './connection.ts';
import { sessionWorld } from './core-client.ts';

export interface LogImport extends ImportResult {
  readonly hoursRolled: number;
  readonly seconds: number;
}

/** Takes one file in and rolls up what changed. `progress` gets the file's size too. */
export async function importLogFile(
  databaseUrl: string,
  path: string,
  options: ImportOptions,
  progress: (now: ImportProgress & { readonly sizeBytes: number }) => void,
): Promise<LogImport> {
  // Before a database is asked for anything.
  const file = openReadableFile(path);
  return await withStore(databaseUrl, async (store, world) => {
    const startedAt = world.clock.now();
    await store.setup();
    const result = await importLog(store, world.crypto, file, options, (now) =>
      progress({ ...now, sizeBytes: file.sizeBytes }),
    );
    const hoursRolled = await store.roll();
    return { ...result, hoursRolled, seconds: (world.clock.now() - startedAt) / 1000 };
  });
}

/** Rolls up what is dirty; gives the number of hours. */
export async function rollUp(databaseUrl: string): Promise<number> {
  return await withStore(databaseUrl, (store) => store.roll());
}

export async function askAnalytics(
  databaseUrl: string,
  question: Question,
  dimensions: readonly Dimension[],
): Promise<Answer> {
  return await withStore(databaseUrl, (_store, _world, session) => ask(session, question, dimensions));
}

/** Zones that are known, with the time that their requests span. */
export async function analyticsZones(
  databaseUrl: string,
): Promise<readonly { readonly zone: string; readonly fromMs: number; readonly toMs: number }[]> {
  return await withStore(databaseUrl, (store) => store.zones());
}

async function withStore<T>(
  databaseUrl: string,
  work: (store: AnalyticsStore, world: ReturnType<typeof sessionWorld>, session: ClientSession) => Promise<T>,
): Promise<T> {
  const world = sessionWorld(createClock());
  await using session = await ClientSession.connect(world, {
    target: connectionTarget(databaseUrl, { applicationName: 'skerry analytics' }),
    parameters: { TimeZone: 'UTC', DateStyle: 'ISO', extra_float_digits: '3' },
  });
  return await work(new AnalyticsStore(session), world, session);
}
