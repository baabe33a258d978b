// Transactions that nobody ends: the core gives no consistent point before, neither to a copy nor to a checksum. Whoever
// waits is told for whom.

import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { startPostgres, temporaryFolder, waitFor } from '../../test/harness.ts';
import { sessionWorld } from '../../test/session-world.ts';
import { SILENT_LOG } from '../observe/log.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { parseConnectionString } from '../session/connection-string.ts';
import { Core } from '../stream/source/core.ts';
import { coreChecksum } from './verify-places.ts';

test('a prepared transaction that is left open is named by verify and by the first copy, which goes on when it ends', async () => {
  await using postgres = await startPostgres();
  using folder = temporaryFolder();
  await postgres.sql(
    `create table t (id int primary key); insert into t values (1); create publication skerry for all tables`,
  );
  await postgres.sql(`begin; insert into t values (2); prepare transaction 'left open'`);

  const verifying = coreChecksum({ coreUrl: postgres.url, publication: 'skerry', clock: createClock() }, 200);
  expect(verifying).rejects.toMatchObject({
    code: 'verify-incomparable',
    message: expect.stringContaining(`prepared transaction 'left open' of postgres since`) as string,
  });
  await verifying.catch(() => {});
  // A slot that was given up is not left behind.
  await waitFor(
    'the slot is gone',
    async () => (await postgres.value('select count(*) from pg_replication_slots')) === '0',
  );

  const core = new Core(sessionWorld(), SILENT_LOG, {
    client: { target: parseConnectionString(postgres.url) },
    publication: 'skerry',
    slot: 'skerry',
    tables: [],
  });
  let waitingFor: string | null = null;
  const copying = core.copy(
    nodeDisk,
    join(folder.path, 'replica.sqlite'),
    (progress) => (waitingFor = progress.waitingFor),
    new AbortController().signal,
  );
  await waitFor('the copy says for whom it waits', () => waitingFor);
  expect(waitingFor as unknown as string).toContain(`prepared transaction 'left open'`);
  await postgres.sql(`commit prepared 'left open'`);
  expect((await copying).image.tables).toHaveLength(1);
  expect(waitingFor).toBeNull();
}, 60_000);
