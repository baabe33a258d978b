// Remembered answers hold for one state of the replicated tables, and for as much as their bounds allow.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { handFeed } from '../../../test/edge.ts';
import { startPostgres, temporaryFolder, type TestPostgres, waitFor } from '../../../test/harness.ts';
import { sessionWorld } from '../../../test/session-world.ts';
import type { CatalogueImage } from '../../contracts/catalogue.ts';
import { SILENT_LOG } from '../../observe/log.ts';
import { LSN_ZERO } from '../../pg/lsn.ts';
import { Catalogue } from '../../replica/catalogue.ts';
import { nodeDisk } from '../../runtime/disk.ts';
import { ClientSession } from '../../session/client-session.ts';
import { parseConnectionString } from '../../session/connection-string.ts';
import { loadParser } from '../sql/parse.ts';
import { CatalogueAnswers } from './answers.ts';
import { PSQL_LISTS } from './psql-queries.ts';

const EMPTY: CatalogueImage = {
  version: 1,
  serverVersion: 150000,
  serverVersionText: '15',
  database: 'postgres',
  defaultCollationIsC: true,
  settings: {},
  tables: [],
  types: [],
};
const QUESTION = "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'pg_class'";
const LIST = PSQL_LISTS[0] as string;

let postgres: TestPostgres;

beforeAll(async () => {
  await loadParser();
  postgres = await startPostgres();
});

afterAll(() => postgres?.[Symbol.asyncDispose]());

function start(folder: string, catalogue: () => Catalogue, tablesMax = 10) {
  const feed = handFeed(join(folder, 'replica.sqlite'), LSN_ZERO);
  let connections = 0;
  const world = sessionWorld();
  const answers = new CatalogueAnswers(
    {
      ...world,
      disk: nodeDisk,
      log: SILENT_LOG,
      feed,
      catalogue,
      connect: () => {
        connections += 1;
        return ClientSession.connect(world, { target: parseConnectionString(postgres.url) });
      },
    },
    { path: join(folder, 'answers.json'), tablesMax, settleMs: 1, keeps: true },
  );
  const stop = new AbortController();
  const running = answers.run(stop.signal);
  return {
    answers,
    feed,
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

test('INVARIANT_I3 an answer is void as soon as the replicated tables are others, until the core was asked again', async () => {
  using folder = temporaryFolder();
  let catalogue = new Catalogue(EMPTY);
  await using edge = start(folder.path, () => catalogue);
  const { answers, feed } = edge;
  expect(answers.answer(LIST)).toBeNull();
  await waitFor('the first round', () => answers.answer(LIST) !== null);
  const asked = edge.connections();
  catalogue = new Catalogue({ ...EMPTY, serverVersionText: '16' });
  expect(answers.answer(LIST)).toBeNull();
  feed.set({ schemaVersion: 2 });
  await waitFor('the next round', () => answers.answer(LIST) !== null);
  expect(edge.connections()).toBeGreaterThan(asked);
});

test('questions that clients ask are asked too, and outlive a restart; others are not', async () => {
  using folder = temporaryFolder();
  const catalogue = new Catalogue(EMPTY);
  {
    await using edge = start(folder.path, () => catalogue);
    const { answers } = edge;
    await waitFor('the first round', () => answers.answer(LIST) !== null);
    for (const text of ['SELECT now() FROM pg_class', 'SELECT nope FROM pg_class', QUESTION]) answers.seen(text);
    await waitFor('the question to be asked', () => answers.answer(QUESTION) !== null);
    expect(answers.answer(QUESTION)?.rows).toEqual([['1']]);
    expect(answers.answer('SELECT now() FROM pg_class')).toBeNull();
    expect(answers.answer('SELECT nope FROM pg_class')).toBeNull();
  }
  await using again = start(folder.path, () => new Catalogue(EMPTY));
  await waitFor('the file to be read', () => again.answers.answer(QUESTION) !== null);
});

test('with catalogue_tables_max = 0 the core is never asked', async () => {
  using folder = temporaryFolder();
  await using edge = start(folder.path, () => new Catalogue(EMPTY), 0);
  edge.answers.seen(QUESTION);
  edge.feed.set({ schemaVersion: 2 });
  // Nothing to wait for: whatever had been begun by now would count.
  await Bun.sleep(20);
  expect(edge.connections()).toBe(0);
  expect(edge.answers.answer(QUESTION)).toBeNull();
});
