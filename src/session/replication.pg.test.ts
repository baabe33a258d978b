// Replication against real servers, in raw form: slots, snapshots, CopyBoth streams, feedback, every pgoutput message.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { needs, startPostgres, type TestPostgres, waitFor } from '../../test/harness.ts';
import { sessionWorld } from '../../test/session-world.ts';
import type { Fault } from '../base/fault.ts';
import { formatLsn, type Lsn, LSN_ZERO, parseLsn } from '../pg/lsn.ts';
import { PgoutputDecoder, type PgoutputMessage } from '../wire/pgoutput.ts';
import {
  decodeReplication,
  encodeReplication,
  postgresMicros,
  printReplicationCommand,
  quoteName,
} from '../wire/replication.ts';
import { type ClientOptions, ClientSession, type ClientStream } from './client-session.ts';
import { parseConnectionString } from './connection-string.ts';

/** One line per message: what a person would write down. */
function describeMessage(message: PgoutputMessage): string {
  const show = (values: (string | null | undefined)[]): string =>
    values.map((value) => (value === undefined ? '~' : (value ?? 'NULL'))).join(',');
  switch (message.tag) {
    case 'relation':
      return `R ${message.schema}.${message.name} ${message.replicaIdentity} ${message.columns.map(({ name, key }) => (key ? `*${name}` : name)).join(',')}`;
    case 'insert':
      return `I ${show(message.row.texts())}`;
    case 'update':
      return `U ${message.oldKind}${message.oldKind === '' ? '' : show(message.old.texts())} -> ${show(message.row.texts())}`;
    case 'delete':
      return `D ${message.oldKind}${show(message.old.texts())}`;
    case 'message':
      return `M ${message.transactional} ${message.prefix} ${Buffer.from(message.content).toString()}`;
    case 'truncate':
      return `T ${message.relations.length} ${message.cascade} ${message.restartIdentity}`;
    case 'type':
      return `Y ${message.schema}.${message.name}`;
    case 'beginPrepare':
    case 'prepare':
    case 'commitPrepared':
    case 'rollbackPrepared':
    case 'streamPrepare':
      return `${message.tag} ${message.gid}`;
    default:
      return message.tag;
  }
}

/** Collects a stream as lines. */
class Recorder {
  readonly lines: string[] = [];
  readonly decoder = new PgoutputDecoder();
  rows = 0;
  endLsn: Lsn = LSN_ZERO;
  over: Error | 'in order' | null = null;
  quiet = false;

  /** Set to answer keepalives and to send positions. */
  stream: ClientStream | null = null;

  data(buffer: Buffer, start: number, end: number): void {
    const outer = decodeReplication(buffer, start, end);
    if (outer.tag === 'keepalive' && outer.replyNow) this.sendStatus();
    if (outer.tag !== 'xlogData') return;
    const message = this.decoder.decode(Buffer.from(outer.payload), 0, outer.payload.length);
    if (message.tag === 'insert') this.rows += 1;
    if (message.tag === 'commit' || message.tag === 'streamCommit') this.endLsn = message.endLsn;
    if (!this.quiet) this.lines.push(describeMessage(message));
  }

  sendStatus(position: Lsn = LSN_ZERO): void {
    this.stream?.send((writer) =>
      encodeReplication(writer, {
        tag: 'standbyStatus',
        written: position,
        flushed: position,
        applied: position,
        sentAt: postgresMicros(Date.now()),
        replyNow: false,
      }),
    );
  }

  ended(error?: Error): void {
    this.over = error ?? 'in order';
  }

  async take(count: number): Promise<string[]> {
    await waitFor(`${count} lines of ${JSON.stringify(this.lines)}`, () => this.lines.length >= count);
    return this.lines.splice(0);
  }
}

for (const version of ['15', '18'] as const) {
  describe.skipIf(!needs(`postgres-${version}`))(`replication from PostgreSQL ${version}`, () => {
    const world = sessionWorld();
    let postgres: TestPostgres;

    beforeAll(async () => {
      postgres = await startPostgres({
        version,
        settings: { logical_decoding_work_mem: '64kB', wal_sender_timeout: '30s' },
      });
      await postgres.sql(`
        create type mood as enum ('sad', 'happy');
        create table t (id int primary key, big text, m mood);
        alter table t alter column big set storage external;
        create publication p for table t`);
    });
    afterAll(async () => {
      await postgres[Symbol.asyncDispose]();
    });

    const options = (): ClientOptions => ({
      target: parseConnectionString(`${postgres.url}?sslmode=disable`),
      replication: 'database',
      parameters: { options: '-c DateStyle=ISO -c TimeZone=UTC' },
    });

    const createSlot = async (
      session: ClientSession,
      slot: string,
      more: Record<string, string | null> = { snapshot: 'nothing' },
      temporary = true,
    ): Promise<readonly (string | null)[]> => {
      const entries = new Map(Object.entries(more));
      const command = { tag: 'createSlot', slot, temporary, plugin: 'pgoutput', options: entries } as const;
      return (await session.query(printReplicationCommand(command))).rows[0] ?? [];
    };

    const start = async (
      session: ClientSession,
      slot: string,
      recorder: Recorder,
      more: Record<string, string> = {},
    ): Promise<ClientStream> => {
      const plugin = { proto_version: '1', publication_names: quoteName('p'), ...more };
      const command = { tag: 'startLogical', slot, lsn: LSN_ZERO, options: new Map(Object.entries(plugin)) } as const;
      recorder.stream = await session.startStream(printReplicationCommand(command), recorder);
      return recorder.stream;
    };

    test('identifies the system', async () => {
      await using session = await ClientSession.connect(world, options());
      const [systemId, timeline, lsn, database] = (await session.query('IDENTIFY_SYSTEM')).rows[0] ?? [];
      expect(systemId).toBe(String(await postgres.value('select system_identifier from pg_control_system()')));
      expect([timeline, database]).toEqual(['1', 'postgres']);
      expect(parseLsn(lsn ?? '')).toBeGreaterThan(0n);
    });

    test('exports a snapshot that ends exactly where the stream begins', async () => {
      await postgres.sql('truncate t; insert into t select i from generate_series(1, 10) i');
      await using client = await ClientSession.connect(world, options());
      const [, , snapshot] = await createSlot(client, 'exporting', { snapshot: 'export' });
      await postgres.sql('insert into t values (11)');
      await using reader = await ClientSession.connect(world, options());
      await reader.query('begin isolation level repeatable read read only');
      await reader.query(`set transaction snapshot '${snapshot}'`);
      expect((await reader.query('select count(*) from t')).rows).toEqual([['10']]);
      const recorder = new Recorder();
      await start(client, 'exporting', recorder);
      expect(await recorder.take(5)).toEqual([
        'begin',
        'Y public.mood',
        'R public.t d *id,big,m',
        'I 11,NULL,NULL',
        'commit',
      ]);
    });

    test('streams every kind of change, and stops in order', async () => {
      await postgres.sql('truncate t');
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'changes');
      const recorder = new Recorder();
      const stream = await start(client, 'changes', recorder, { messages: 'true' });
      await postgres.sql(`insert into t values (1, repeat('x', 10000), 'sad')`);
      await postgres.sql(`update t set m = 'happy'`);
      await postgres.sql('update t set id = 2');
      await postgres.sql('delete from t');
      await postgres.sql('truncate t restart identity');
      await postgres.sql(`select pg_logical_emit_message(true, 'prefix', 'content')`);
      await waitFor('the message', () => recorder.lines.at(-2)?.startsWith('M') === true);
      expect(recorder.lines.slice(0, 3)).toEqual(['begin', 'Y public.mood', 'R public.t d *id,big,m']);
      // The server describes a table again whenever its cache was invalidated, which is not ours to predict.
      expect(recorder.lines.filter((line) => /^[IUDTM] /.test(line))).toEqual([
        `I 1,${'x'.repeat(10000)},sad`,
        'U  -> 1,~,happy',
        'U K1,NULL,NULL -> 2,~,happy',
        'D K2,NULL,NULL',
        'T 1 false true',
        'M true prefix content',
      ]);
      stream.finish();
      await waitFor('the end', () => recorder.over !== null);
      expect(recorder.over).toBe('in order');
      expect((await client.query('select 1')).rows).toEqual([['1']]);
    });

    test('what is reported as flushed is not sent again, what is not is', async () => {
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'acked', { snapshot: 'nothing' }, false);
      const recorder = new Recorder();
      await start(client, 'acked', recorder);
      await postgres.sql('truncate t; insert into t values (1); ');
      await postgres.sql('insert into t values (2)');
      await waitFor('both', () => recorder.rows === 2);
      const { endLsn } = recorder;
      recorder.sendStatus(endLsn);
      await waitFor(
        'the slot to move',
        async () =>
          (await postgres.value(`select confirmed_flush_lsn from pg_replication_slots where slot_name = 'acked'`)) ===
          formatLsn(endLsn),
      );
      await postgres.sql('insert into t values (3)');
      await waitFor('the third', () => recorder.rows === 3);
      client.destroy();
      await using again = await ClientSession.connect(world, options());
      const second = new Recorder();
      await waitFor(
        'the slot to be free',
        async () =>
          (await postgres.value(`select active from pg_replication_slots where slot_name = 'acked'`)) === 'false',
      );
      const stopped = await start(again, 'acked', second);
      expect((await second.take(5)).at(-2)).toBe('I 3,NULL,NULL');
      stopped.finish();
      await waitFor('the end', () => second.over !== null);
      await again.query(printReplicationCommand({ tag: 'dropSlot', slot: 'acked', wait: true }));
    });

    test('streams a large transaction while it runs, and its aborted parts are marked', async () => {
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'streaming');
      const recorder = new Recorder();
      await start(client, 'streaming', recorder, { proto_version: '2', streaming: 'on' });
      await postgres.sql('truncate t');
      await waitFor('the truncate', () => recorder.lines.includes('commit'));
      recorder.lines.length = 0;
      await postgres.sql(`
        begin;
        insert into t select i, repeat('a', 100) from generate_series(1, 2000) i;
        savepoint s; insert into t select i, repeat('b', 100) from generate_series(2001, 4000) i; rollback to s;
        insert into t values (5000);
        commit`);
      await waitFor('the commit', () => recorder.lines.at(-1) === 'streamCommit');
      const kinds = new Set(recorder.lines.map((line) => (line.startsWith('I') ? 'I' : line)));
      expect([...kinds].sort()).toEqual(
        [
          'I',
          'R public.t d *id,big,m',
          'Y public.mood',
          'streamAbort',
          'streamCommit',
          'streamStart',
          'streamStop',
        ].sort(),
      );
      expect(recorder.rows).toBeGreaterThan(2001);
    });

    test('streams prepared transactions with two_phase', async () => {
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'twophase', { two_phase: null });
      const recorder = new Recorder();
      await start(client, 'twophase', recorder, { proto_version: '3', two_phase: 'on' });
      await postgres.sql('truncate t');
      await postgres.sql(`begin; insert into t values (1); prepare transaction 'one'`);
      await postgres.sql(`commit prepared 'one'`);
      await postgres.sql(`begin; insert into t values (2); prepare transaction 'two'`);
      await postgres.sql(`rollback prepared 'two'`);
      await waitFor('the rollback', () => recorder.lines.includes('rollbackPrepared two'));
      expect(recorder.lines.filter((line) => / (one|two)$/.test(line))).toEqual([
        'beginPrepare one',
        'prepare one',
        'commitPrepared one',
        'beginPrepare two',
        'prepare two',
        'rollbackPrepared two',
      ]);
    });

    test('a paused stream loses nothing, and status goes on', async () => {
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'paused');
      const recorder = new Recorder();
      recorder.quiet = true;
      await postgres.sql('truncate t');
      const stream = await start(client, 'paused', recorder);
      stream.pause();
      await postgres.sql(`insert into t select i, repeat('x', 1000) from generate_series(1, 20000) i`);
      const replied = (): Promise<string | null> => postgres.value('select reply_time::text from pg_stat_replication');
      const before = await replied();
      recorder.sendStatus();
      await waitFor('the status', async () => (await replied()) !== before);
      expect([recorder.rows, recorder.over]).toEqual([0, null]);
      stream.resume();
      await waitFor('all rows', () => recorder.rows === 20_000);
    });

    test('a lost server is told with a reason', async () => {
      await using client = await ClientSession.connect(world, options());
      await createSlot(client, 'lost');
      const recorder = new Recorder();
      await start(client, 'lost', recorder);
      await postgres.sql(`select pg_terminate_backend(pid) from pg_stat_replication`);
      await waitFor('the end', () => recorder.over !== null);
      expect((recorder.over as Fault).code).toBe('server-stopping');
      const missing = ClientSession.connect(world, options()).then((again) =>
        start(again, 'no_such_slot', new Recorder()).catch((error: Fault) => error),
      );
      expect(((await missing) as Fault).sqlstate).toBe('42704');
    });
  });
}
