// Schema changes end to end: DDL on a real core, the messages of the event triggers, a replica that follows. After each
// statement every row and every checksum is the core's.

import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestCore } from '../../../test/replica-core.ts';
import { ReplicaWriter } from '../../replica/writer.ts';
import { eventTriggersSql } from './setup-sql.ts';

const START = `
  CREATE TYPE mood AS ENUM ('a', 'b'); CREATE SCHEMA o; CREATE DOMAIN d AS int; CREATE TYPE pair AS (a int, b text);
  CREATE TABLE t (id int PRIMARY KEY, a text, b numeric, at timestamp, m mood, p pair, dd d); CREATE INDEX ON t (a)`;
const ROWS = `INSERT INTO t SELECT g, 'x' || g, g * 1.5, now(), 'a', ROW(g, 'x')::pair, g FROM generate_series(1, 10) AS g`;

/** One transaction each; what comes inside is announced before its rows. */
const STEPS: readonly string[] = [
  'ALTER TABLE t ADD COLUMN c int DEFAULT 5',
  'ALTER TABLE t ADD COLUMN r float8 DEFAULT random()',
  'ALTER TABLE t ADD COLUMN s serial',
  'ALTER TABLE t RENAME COLUMN a TO aa',
  'ALTER TABLE t ALTER aa TYPE varchar(50)',
  'ALTER TABLE t ALTER at TYPE timestamptz',
  'ALTER TABLE t ALTER b TYPE int USING b::int',
  'ALTER TABLE t DROP COLUMN c',
  "ALTER TYPE mood RENAME VALUE 'a' TO 'aaa'",
  "ALTER TYPE mood ADD VALUE 'c'",
  'ALTER TYPE pair ADD ATTRIBUTE c int',
  'ALTER TABLE t SET SCHEMA o',
  'ALTER SCHEMA o RENAME TO oo',
  'ALTER TABLE oo.t RENAME TO tt',
  'ALTER TABLE oo.tt SET SCHEMA public',
  'ALTER TABLE tt RENAME TO t',
  'CREATE TABLE n (id int, v text)',
  "ALTER TABLE n REPLICA IDENTITY FULL; INSERT INTO n VALUES (1,'a'),(1,'a'); DELETE FROM n WHERE ctid = '(0,1)'",
  'ALTER TABLE n ADD PRIMARY KEY (id)',
  'ALTER TABLE n REPLICA IDENTITY DEFAULT; UPDATE n SET id = 7',
  'CREATE TABLE par (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id)',
  'CREATE TABLE par1 PARTITION OF par FOR VALUES FROM (0) TO (10)',
  "INSERT INTO par VALUES (1,'x')",
  "CREATE TABLE par2 (id int NOT NULL, v text); INSERT INTO par2 VALUES (15, 'y')",
  'ALTER TABLE par ATTACH PARTITION par2 FOR VALUES FROM (10) TO (20)',
  "ALTER TABLE par ADD COLUMN z text DEFAULT 'zz'",
  "INSERT INTO par VALUES (2,'q'), (12,'w'); UPDATE par SET id = 13 WHERE id = 2",
  'ALTER TABLE par DETACH PARTITION par1',
  'TRUNCATE par',
  'DROP TABLE par',
  'ALTER TABLE t DROP CONSTRAINT t_pkey',
  'ALTER TABLE t ADD PRIMARY KEY (aa)',
  "UPDATE t SET aa = aa || 'x'",
  'CREATE UNIQUE INDEX ui ON t (id)',
  "ALTER TABLE t ALTER id SET NOT NULL; ALTER TABLE t REPLICA IDENTITY USING INDEX ui; UPDATE t SET id = id + 100, aa = aa || 'y'",
  'DROP INDEX ui',
  "ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET aa = aa || 'z'",
  'CREATE TABLE g (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (v * 2) STORED)',
  'INSERT INTO g VALUES (1, 2); UPDATE g SET v = 3',
  'ALTER TABLE g DROP COLUMN w',
  'CREATE TABLE inh (x int) INHERITS (g)',
  'INSERT INTO inh VALUES (5, 6, 7)',
  "ALTER TABLE g ADD COLUMN q text DEFAULT 'q'",
  'DROP TABLE g CASCADE',
  "BEGIN; CREATE TABLE tmp (id int primary key); INSERT INTO tmp VALUES (1); ALTER TABLE tmp ADD COLUMN b text DEFAULT 'b'; INSERT INTO tmp VALUES (2, 'c'); ROLLBACK",
  "BEGIN; CREATE TABLE tmp (id int primary key); INSERT INTO tmp VALUES (1); ALTER TABLE tmp ADD COLUMN b text DEFAULT 'b'; INSERT INTO tmp VALUES (2, 'c'); DELETE FROM tmp WHERE id = 1; COMMIT",
  "BEGIN; SAVEPOINT a; ALTER TABLE tmp DROP COLUMN b; ROLLBACK TO a; INSERT INTO tmp VALUES (9, 'c'); COMMIT",
  'DROP TYPE mood CASCADE',
  'DROP SCHEMA oo',
  `ALTER TABLE t RENAME aa TO "Aa"; ALTER TABLE t ADD aa text DEFAULT 'low'`,
  `INSERT INTO t(id, "Aa", aa) VALUES (1, 'new', NULL)`,
];

test('a replica follows every kind of schema change', async () => {
  await using core = await TestCore.start();
  const folder = mkdtempSync(join(tmpdir(), 'skerry-schema-'));
  const path = join(folder, 'replica.db');
  try {
    for (const sql of eventTriggersSql('skerry')) await core.client.texts(sql);
    await core.client.texts(START);
    await core.client.texts(ROWS);
    await core.load(path, await core.createSlot());
    using writer = ReplicaWriter.open(path, { synchronous: 'off' });
    for (const sql of STEPS) {
      await core.client.texts(sql);
      try {
        await core.drain(writer);
        await core.expectEqual(path);
      } catch (error) {
        throw new Error(`after ${sql}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    expect(writer.position.lsn).toBeGreaterThan(0n);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);
