// psql against an edge: what people type, and all its backslash commands.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { startTestEdge, type TestEdge } from '../edge.ts';
import { clientProgram, needs, startPostgres, type TestPostgres } from '../harness.ts';

const BACKSLASH = [
  '\\d',
  '\\d r.rules',
  '\\d+ r.rules',
  '\\dt',
  '\\dt+ r.*',
  '\\di',
  '\\dn',
  '\\l',
  '\\du',
  '\\dx',
  '\\df',
  '\\dT',
  '\\dT+',
  '\\dv',
  '\\ds',
  '\\dp',
  '\\d nope',
];

describe.skipIf(!needs('psql'))('psql', () => {
  let postgres: TestPostgres;
  let edge: TestEdge;

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql(`CREATE SCHEMA r; CREATE TYPE r.mood AS ENUM ('sad', 'ok');
      CREATE TABLE r.zones (id int PRIMARY KEY, name text);
      CREATE TABLE r.rules (id bigint PRIMARY KEY, zone int REFERENCES r.zones, body text NOT NULL DEFAULT 'x', mood r.mood, at timestamptz);
      CREATE INDEX ON r.rules (zone); CREATE VIEW r.v AS SELECT id FROM r.rules;
      INSERT INTO r.zones SELECT i, 'zone ' || i FROM generate_series(1, 10) i;
      INSERT INTO r.rules SELECT i, 1 + i % 10, 'body ' || i, 'ok', timestamptz '2024-01-01 00:00:00+00' FROM generate_series(1, 100) i`);
    edge = await startTestEdge(postgres);
  });

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  /** Feeds `script` to psql; gives everything it prints. */
  async function psql(port: number, script: string, ...more: string[]): Promise<string> {
    const child = Bun.spawn(
      [clientProgram('psql'), '-X', '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', ...more, 'postgres'],
      { stdin: Buffer.from(script), stdout: 'pipe', stderr: 'pipe' },
    );
    const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    await child.exited;
    return out + error;
  }

  test.each(BACKSLASH)('%s prints what it prints on the core', async (command) => {
    expect(await psql(edge.port, command)).toBe(await psql(postgres.port, command));
  });

  test('reads, writes, transactions and errors look as on the core', async () => {
    const script = `SELECT id, body FROM r.rules WHERE id = 7;
      SELECT count(*) FROM r.rules;
      BEGIN; SELECT name FROM r.zones WHERE id = 3; INSERT INTO r.zones VALUES (100, 'hundred'); SELECT name FROM r.zones WHERE id = 100; ROLLBACK;
      SELECT name FROM r.zones WHERE id = 100;
      SELECT nope FROM r.rules;
      SELECT 1/0;
      SELEC 1;
      BEGIN; SELECT 1/0; SELECT 1; COMMIT;
      COMMIT;
      SET application_name = 'me'; SHOW application_name;
      SELECT 1 \\; SELECT 2;
      \\gset
      ;`;
    expect(await psql(edge.port, script)).toBe(await psql(postgres.port, script));
  });

  test('COPY in and out goes through', async () => {
    const script = `CREATE TABLE r.c (a int, b text);
COPY r.c FROM STDIN;
1\tone
2\ttwo
\\.
COPY r.c TO STDOUT;
COPY r.c FROM STDIN;
x\tbad
\\.
SELECT count(*) FROM r.c;
DROP TABLE r.c;
`;
    expect(await psql(edge.port, script)).toBe(await psql(postgres.port, script));
  });

  test('LISTEN hears NOTIFY', async () => {
    const script = "LISTEN news; NOTIFY news, 'hello'; SELECT 1;";
    const heard = await psql(edge.port, script);
    expect(heard).toContain('Asynchronous notification "news" with payload "hello" received');
  });

  test('SHOW skerry.… tells age, position and where the answer came from', async () => {
    const told = await psql(
      edge.port,
      'SELECT id FROM r.rules WHERE id = 1; SHOW skerry.answered_by; SHOW skerry.lag; SHOW skerry.lsn; SHOW skerry.state;',
      '-At',
    );
    expect(told).toMatch(/^1\nlocal: .*\n\d+ms\n[0-9A-F]+\/[0-9A-F]+\nstreaming: /);
  });
});
