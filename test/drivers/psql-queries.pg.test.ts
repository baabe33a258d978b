// The queries behind psql's backslash commands, as captured (testdata/): against an edge and against the core, column by column;
// and against an edge whose core is away.

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { ClientSession } from '../../src/session/client-session.ts';
import { parseConnectionString } from '../../src/session/connection-string.ts';
import { startTestEdge, type TestEdge } from '../edge.ts';
import { clientProgram, needs, startPostgres, type TestPostgres, waitFor } from '../harness.ts';
import { sessionWorld } from '../session-world.ts';

interface Captured {
  readonly command: string;
  readonly sql: string;
}

/** OIDs of r.rules and r.v where the queries were captured. */
const RULES_OID = '16385';
const VIEW_OID = '16395';

function captured(): Captured[] {
  const text = readFileSync(new URL('testdata/psql-backslash-queries.sql', import.meta.url), 'utf8');
  const queries: Captured[] = [];
  for (const part of text.split(/^-- #+ psql\(15\) /m).slice(1)) {
    const end = part.indexOf('\n');
    const command = part.slice(0, end);
    for (const sql of part.slice(end + 1).split(/\n;\n/)) {
      if (sql.trim() !== '') queries.push({ command, sql: sql.trim() });
    }
  }
  return queries;
}

const QUERIES = captured();

const SCHEMA = `CREATE SCHEMA r; CREATE TYPE r.mood AS ENUM ('sad', 'ok');
  CREATE TABLE r.zones (id int PRIMARY KEY, name text);
  CREATE TABLE r.rules (id bigint PRIMARY KEY, zone int REFERENCES r.zones, body text NOT NULL DEFAULT 'x', mood r.mood, at timestamptz);
  CREATE INDEX ON r.rules (zone); CREATE VIEW r.v AS SELECT id FROM r.rules; CREATE SEQUENCE r.s;
  CREATE FUNCTION r.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
  COMMENT ON TABLE r.rules IS 'what to do'; GRANT SELECT ON r.rules TO PUBLIC;
  CREATE TABLE plain (id int PRIMARY KEY);`;

interface Told {
  readonly columns: unknown;
  readonly rows: unknown;
  readonly tag: string;
  readonly notices: readonly string[];
}

async function connect(port: number, parameters: Record<string, string> = {}): Promise<ClientSession> {
  const target = parseConnectionString(`postgres://postgres@127.0.0.1:${port}/postgres?sslmode=disable`);
  return await ClientSession.connect(sessionWorld(), { target, parameters });
}

async function ask(session: ClientSession, sql: string, extended = false): Promise<Told> {
  const notices: string[] = [];
  session.events = { notice: ({ message }) => notices.push(message) };
  const { columns, rows, tag } = extended ? await session.queryParams(sql, []) : await session.query(sql);
  return { columns, rows, tag, notices };
}

async function errorOf(session: ClientSession, sql: string): Promise<string> {
  return await session.query(sql).then(
    () => 'no error',
    (error: unknown) => String((error as { sqlstate?: string }).sqlstate),
  );
}

async function psql(port: number, script: string): Promise<{ out: string; error: string }> {
  const child = Bun.spawn(
    [clientProgram('psql'), '-X', '-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', 'postgres'],
    { stdin: Buffer.from(`${script}\n`), stdout: 'pipe', stderr: 'pipe' },
  );
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  return { out, error };
}

test('34 queries were captured', () => {
  expect(QUERIES.length).toBe(34);
});

describe('the captured queries of psql', () => {
  let postgres: TestPostgres;
  let edge: TestEdge;
  let onCore: ClientSession;
  let onEdge: ClientSession;
  let here: (sql: string) => string;

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql(SCHEMA);
    edge = await startTestEdge(postgres, { catalogueTablesMax: 200, catalogueSettleMs: 20 });
    [onCore, onEdge] = [await connect(postgres.port), await connect(edge.port)];
    const rules = await postgres.value("SELECT 'r.rules'::regclass::oid");
    const view = await postgres.value("SELECT 'r.v'::regclass::oid");
    here = (sql) => sql.replaceAll(`'${RULES_OID}'`, `'${rules}'`).replaceAll(`'${VIEW_OID}'`, `'${view}'`);
  });

  afterAll(async () => {
    await onCore?.close();
    await onEdge?.close();
    await edge?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  test.each(QUERIES.map(({ command, sql }, index) => [`${index + 1}, of ${command}`, sql] as const))(
    'INVARIANT_I2 %s: rows, names and types are the core’s in both protocols',
    async (_, text) => {
      const sql = here(text);
      for (const extended of [false, true]) {
        expect(await ask(onEdge, sql, extended)).toEqual(await ask(onCore, sql, extended));
      }
    },
  );
});

/** What works without the core although nobody ever asked it here. */
const ASKED_AHEAD = new Set([
  '\\d',
  '\\d r.rules',
  '\\d+ r.rules',
  '\\dt',
  '\\dt r.*',
  '\\di r.*',
  '\\dn',
  '\\l',
  '\\du',
  '\\dx',
]);

describe('without the core', () => {
  let postgres: TestPostgres;
  let edge: TestEdge;
  const said = new Map<string, Told>();
  const printed = new Map<string, string>();
  const COMMANDS = [
    '\\d',
    '\\dt',
    '\\dt r.*',
    '\\d r.rules',
    '\\d+ r.rules',
    '\\d zones',
    '\\d r.zones',
    '\\d plain',
  ].concat(['\\l', '\\dn', '\\du', '\\dx', '\\df', '\\dT', '\\dv', '\\di', '\\ds', '\\dp', '\\dRp']);
  let sqlHere: string[];
  /** Learned from a client that asked it of one table: no psql of ours asks this. */
  const aboutTable = (oid: number): string =>
    `SELECT relname FROM pg_catalog.pg_class WHERE oid = '${oid}' /* other client */`;
  let oids: { rules: number; zones: number; view: number };
  const hasPsql = needs('psql');

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.sql(SCHEMA);
    edge = await startTestEdge(postgres, { catalogueTablesMax: 200, catalogueSettleMs: 20 });
    const oid = async (name: string): Promise<number> =>
      Number(await postgres.value(`SELECT '${name}'::regclass::oid`));
    oids = { rules: await oid('r.rules'), zones: await oid('r.zones'), view: await oid('r.v') };
    sqlHere = QUERIES.map(({ sql }) =>
      sql.replaceAll(`'${RULES_OID}'`, `'${oids.rules}'`).replaceAll(`'${VIEW_OID}'`, `'${oids.view}'`),
    );
    const core = await connect(postgres.port);
    for (const sql of sqlHere) said.set(sql, await ask(core, sql));
    said.set(aboutTable(oids.zones), await ask(core, aboutTable(oids.zones)));
    await core.close();
    if (hasPsql) for (const command of COMMANDS) printed.set(command, (await psql(postgres.port, command)).out);
    // psql's own questions about the replicated tables and the lists are asked ahead.
    const ahead = QUERIES.flatMap(({ command }, index) => (ASKED_AHEAD.has(command) ? [sqlHere[index] as string] : []));
    await waitFor('psql’s questions to be asked', () => ahead.every((sql) => edge.edge.remembers(sql)));
    // The others once somebody has asked them.
    const session = await connect(edge.port);
    for (const sql of sqlHere) if (!edge.edge.remembers(sql)) await session.query(sql);
    await session.query(aboutTable(oids.rules));
    await session.query('SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database ORDER BY 1');
    const all = [...sqlHere, aboutTable(oids.rules), aboutTable(oids.zones)];
    await waitFor('the other questions to be asked', () => all.every((sql) => edge.edge.remembers(sql)));
    await session.close();
    await postgres.stop();
  }, 60_000);

  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
  });

  test('all captured queries are answered as the core last answered them, and the client is told so', async () => {
    const session = await connect(edge.port);
    for (const sql of sqlHere) {
      const { notices, ...answer } = await ask(session, sql);
      const { notices: _, ...wanted } = said.get(sql) as Told;
      expect({ sql, ...answer }).toEqual({ sql, ...wanted });
      expect(notices).toEqual([
        expect.stringMatching(/^the core is away; this is what it said at 20\d\d-\d\d-\d\dT.*Z$/),
      ]);
      const { rows } = await session.query('SHOW skerry.answered_by');
      expect(rows[0]?.[0]).toMatch(/^remembered: the core is away; so it said at 20/);
    }
    expect(edge.metrics.render()).toContain('skerry_edge_answers_total{answered="remembered"');
    await session.close();
  });

  test('what one client asked of one table is known of the others', async () => {
    const session = await connect(edge.port, { options: '-c client_min_messages=warning' });
    expect(await ask(session, aboutTable(oids.zones))).toEqual(said.get(aboutTable(oids.zones)) as Told);
    await session.close();
  });

  test('INVARIANT_I2 what may depend on the session or on the moment is not', async () => {
    const session = await connect(edge.port);
    const list = sqlHere[0] as string;
    await session.query('BEGIN');
    expect(await errorOf(session, list)).toBe('57P03');
    await session.query('ROLLBACK');
    await session.query('SET search_path = r');
    expect(await errorOf(session, list)).toBe('57P03');
    await session.query('RESET search_path');
    expect(await errorOf(session, list)).toBe('no error');
    expect(await errorOf(session, `${list} /* never asked */`)).toBe('57P03');
    expect(
      await errorOf(session, 'SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database ORDER BY 1'),
    ).toBe('57P03');
    await session.close();
  });

  test('an edge that starts without the core remembers it still', async () => {
    await using again = await edge.restart();
    const session = await connect(again.port);
    const { rows } = await ask(session, sqlHere[0] as string);
    expect(rows).toEqual((said.get(sqlHere[0] as string) as Told).rows);
    await session.close();
  });

  test.skipIf(!hasPsql).each(COMMANDS)('psql’s %s prints what it printed with the core', async (command) => {
    const { out, error } = await psql(edge.port, command);
    expect(out).toBe(printed.get(command) as string);
    expect(error).toContain('NOTICE:  the core is away; this is what it said at 20');
  });
});
