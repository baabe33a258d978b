import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startPostgres, type TestPostgres } from '../../../test/harness.ts';
import { startOldPostgres } from '../../../test/old-postgres.ts';
import { sessionWorld } from '../../../test/session-world.ts';
import { Fault } from '../../base/fault.ts';
import { parseConnectionString } from '../../session/connection-string.ts';
import { preflight } from './preflight.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
  await postgres.sql(`
    create table good (id int primary key);
    create table "No Key" (a int);
    create table secret (id int primary key);
    create role reader login replication;
    create role lowly login;
    grant select on good to reader, lowly;
    alter table secret enable row level security;`);
});
afterAll(async () => postgres[Symbol.asyncDispose]());

interface Change {
  readonly user?: string;
  readonly tables?: readonly string[];
  readonly publication?: string;
}

function look(on: TestPostgres, { user = 'postgres', tables = [], publication = 'skerry' }: Change = {}) {
  const target = parseConnectionString(`postgres://${user}@127.0.0.1:${on.port}/postgres`);
  return preflight(sessionWorld(), { client: { target }, publication, slot: 'skerry', tables });
}

async function refused(on: TestPostgres, change: Change = {}): Promise<Fault> {
  try {
    await look(on, change);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('preflight', () => {
  test.each(['14.13 (Debian 14.13-1.pgdg120+1)', '9.6.24'])(
    'INVARIANT_I10: PostgreSQL %s is too old, in one sentence, before it is asked anything',
    async (version) => {
      await using old = await startOldPostgres(version);
      const looking = preflight(sessionWorld(), {
        client: { target: parseConnectionString(old.url) },
        publication: 'skerry',
        slot: 'skerry',
        tables: [],
      });
      await expect(looking).rejects.toMatchObject({
        code: 'server-too-old',
        sqlstate: '0A000',
        message: `the server is PostgreSQL ${version}; 15 or later is needed`,
        hint: 'upgrade the server to PostgreSQL 15 or later',
      });
      expect(old.asked).toBe(0);
    },
  );

  test('a table without replica identity is named with the SQL, which mends it', async () => {
    const fault = await refused(postgres);
    expect(fault.code).toBe('core-unprepared');
    expect(fault.message).toBe(
      '"public"."No Key" has no replica identity (no primary key), so that UPDATE and DELETE would fail once published',
    );
    expect(fault.hint).toBe('ALTER TABLE "public"."No Key" REPLICA IDENTITY FULL;');
    await postgres.sql(`begin; ${fault.hint} commit`);
    expect(await look(postgres)).toMatchObject({ tables: 3, publicationExists: false, epoch: { timeline: 1 } });
  });

  test('chosen tables that do not exist are named', async () => {
    const fault = await refused(postgres, { tables: ['good', 'public.gone'] });
    expect(fault.message).toContain('there is no table public.gone in database "postgres"');
  });

  test('INVARIANT_I10: a table that came without identity after the publication does not keep us from starting', async () => {
    await postgres.sql('create publication everything for all tables; create table since (a int)');
    try {
      expect(await look(postgres, { publication: 'everything' })).toMatchObject({ publicationExists: true });
    } finally {
      await postgres.sql('drop publication everything; drop table since');
    }
  });

  test('everything that a role may not do is said at once, and its SQL mends it', async () => {
    const fault = await refused(postgres, { user: 'lowly', tables: ['good', 'secret'] });
    expect(fault.message).toContain('role "lowly" may not replicate');
    expect(fault.message).toContain('may not create a publication');
    expect(fault.message).toContain('does not own "public"."good", "public"."secret"');
    expect(fault.message).toContain('may not read "public"."secret"');
    expect(fault.message).toContain('row security hides rows of "public"."secret"');
    await postgres.sql(fault.hint ?? '');
    expect((await look(postgres, { user: 'lowly', tables: ['good', 'secret'] })).publicationExists).toBe(true);
    await postgres.sql('drop publication skerry');
  });

  test('publishing all tables takes a superuser, or a publication that one made', async () => {
    await postgres.sql('grant select on all tables in schema public to reader; alter role reader bypassrls');
    const fault = await refused(postgres, { user: 'reader' });
    expect(fault.hint).toStartWith('CREATE PUBLICATION "skerry" FOR ALL TABLES;');
    await postgres.sql('create publication skerry for all tables');
    expect((await look(postgres, { user: 'reader' })).publicationExists).toBe(true);
  });

  test('wal_level, slots and senders', async () => {
    await using replica = await startPostgres({ logical: false, settings: { max_replication_slots: 0 } });
    const fault = await refused(replica);
    expect(fault.message).toBe(
      'wal_level is replica, and only logical lets changes be decoded; all 0 replication slots are taken',
    );
    expect(fault.hint).toContain('ALTER SYSTEM SET wal_level = logical;');
    expect(fault.hint).toContain('ALTER SYSTEM SET max_replication_slots = 10;');
  });

  test('who cannot connect is told why', async () => {
    expect((await refused(postgres, { user: 'nobody-knows-me' })).message).toContain('nobody-knows-me');
    const target = parseConnectionString('postgres://postgres@127.0.0.1:1/postgres');
    expect(
      preflight(sessionWorld(), { client: { target }, publication: 'p', slot: 's', tables: [] }),
    ).rejects.toMatchObject({ code: 'connect-failed' });
  });
});
