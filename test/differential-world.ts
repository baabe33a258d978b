// The same rows in a real Postgres and in a replica file, and one question asked of both: the core is the oracle.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { CatalogueImage, TableImage } from '../src/contracts/catalogue.ts';
import { bindPlan } from '../src/edge/sql/bind.ts';
import { registerFunctions } from '../src/edge/sql/functions.ts';
import { loadParser } from '../src/edge/sql/parse.ts';
import type { LocalPlan, Plan, Planned, PlanningSession } from '../src/edge/sql/plan.ts';
import { Planner, PLANNER_DEFAULTS } from '../src/edge/sql/planner.ts';
import { readText } from '../src/edge/sql/read.ts';
import { SHADOWS_SQL, type Shadows, shadowsOf } from '../src/edge/sql/shadows.ts';
import { Catalogue } from '../src/replica/catalogue.ts';
import { ReplicaLoader } from '../src/replica/loader.ts';
import { Sqlite } from '../src/replica/sqlite.ts';
import {
  CATALOGUE_SEARCH_PATH,
  DATABASE_FACTS_SQL,
  TYPE_IMAGES_SQL,
  tableImagesSql,
} from '../src/stream/source/catalogue-sql.ts';
import type { TestPostgres } from './harness.ts';
import { PINNED_OPTIONS } from './pg-client.ts';
import { testPosition } from './replica-images.ts';

export interface Answer {
  /** name, type, typmod, size, table, column of each. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
}

export interface Question {
  readonly sql: string;
  /** Parameters as texts. */
  readonly parameters?: readonly (string | null)[];
  /** Declared parameter types; 0 or absent: the server infers. */
  readonly types?: readonly number[];
}

export class DifferentialWorld implements AsyncDisposable {
  readonly planner: Planner;
  readonly catalogue: Catalogue;
  readonly shadows: Shadows;
  readonly sqlite: Sqlite;
  readonly #client: pg.Client;
  readonly #directory: string;
  readonly session: PlanningSession = { searchPath: ['public'], key: 'public' };

  private constructor(catalogue: Catalogue, sqlite: Sqlite, client: pg.Client, directory: string, shadows: Shadows) {
    this.catalogue = catalogue;
    this.sqlite = sqlite;
    this.#client = client;
    this.#directory = directory;
    this.planner = new Planner(
      () => catalogue,
      PLANNER_DEFAULTS,
      () => shadows,
    );
    this.shadows = shadows;
  }

  /** Runs `schema` in `database`, then copies every table of it. */
  static async create(
    postgres: TestPostgres,
    schema: string,
    database = postgres.database,
  ): Promise<DifferentialWorld> {
    await loadParser();
    await postgres.sql(schema, database);
    await postgres.sql('CREATE PUBLICATION everything FOR ALL TABLES', database);
    const client = new pg.Client({
      host: postgres.host,
      port: postgres.port,
      user: postgres.user,
      database,
      options: PINNED_OPTIONS,
      types: { getTypeParser: () => (value: unknown) => value } as unknown as pg.CustomTypesConfig,
    });
    client.on('error', () => {});
    await client.connect();
    const json = async (sql: string): Promise<unknown> => {
      const result = await client.query({ text: sql, rowMode: 'array' });
      return JSON.parse((result.rows[0] as string[])[0] as string);
    };
    const image = {
      ...((await json(DATABASE_FACTS_SQL)) as Omit<CatalogueImage, 'tables' | 'types'>),
      tables: await catalogued(client, () => json(tableImagesSql("'everything'", null)) as Promise<TableImage[]>),
      types: (await json(TYPE_IMAGES_SQL)) as CatalogueImage['types'],
    };
    const catalogue = new Catalogue(image);
    const directory = mkdtempSync(join(tmpdir(), 'skerry-differential-'));
    const path = join(directory, 'replica.sqlite');
    const loader = new ReplicaLoader(path, image);
    for (const table of image.tables) {
      if (table.kind !== 'r') continue;
      const attnums = loader.attnums(table.oid);
      const columns = table.columns.filter((column) => attnums.includes(column.attnum));
      const list = columns.map((column) => pg.escapeIdentifier(column.name)).join(', ');
      const name = `${pg.escapeIdentifier(table.schema)}.${pg.escapeIdentifier(table.name)}`;
      const { rows } = await client.query<(string | null)[]>({
        text: `SELECT ${list} FROM ONLY ${name}`,
        rowMode: 'array',
      });
      const copy = loader.copy(table.oid);
      copy.push(Buffer.from(rows.map((row) => `${row.map(copyField).join('\t')}\n`).join('')));
      copy.finish();
    }
    loader.finish(testPosition(1n));
    const sqlite = new Sqlite(path, { mode: 'read' });
    registerFunctions(sqlite);
    const { rows: facts } = await client.query<string[]>({ text: SHADOWS_SQL, rowMode: 'array' });
    const shadows = shadowsOf(facts.map((row) => row[0] as string));
    return new DifferentialWorld(catalogue, sqlite, client, directory, shadows);
  }

  plan({ sql, types = [], parameters }: Question): Planned {
    if (parameters === undefined && types.length === 0) {
      const script = this.planner.script(sql, this.session);
      const only = script.statements[0];
      if (only === undefined) throw new Error(script.syntaxError?.message ?? 'no statement');
      return only;
    }
    return this.planner.statement(sql, types, this.session);
  }

  /** The replica's answer; a text that says why when it would forward. */
  local(question: Question): Answer | string {
    const { plan, literals } = this.plan(question);
    if (plan.kind !== 'local') return plan.kind === 'forward' ? `${plan.reason}: ${plan.detail}` : plan.kind;
    const parameters = (question.parameters ?? []).map((text) => (text === null ? null : Buffer.from(text)));
    const values = bindPlan(plan, { parameters, format: () => 0, literals, session: sessionValue }, this.catalogue);
    if (values === null) return 'parameter-value';
    let rows: ReturnType<Sqlite['rows']>;
    try {
      rows = this.sqlite.rows(plan.sql, ...values);
    } catch (error) {
      if (plan.mayFail) return `may-fail: ${String(error)}`;
      throw new Error(`${plan.sql}: ${String(error)}`, { cause: error });
    }
    return {
      columns: plan.columns.map((column) =>
        [column.name, column.typeOid, column.typmod, column.typeLength, column.tableOid, column.attnum].join(' '),
      ),
      rows: rows.map((row) =>
        // Rows without columns have one in SQLite.
        row
          .slice(0, plan.columns.length)
          .map((value, index) => (value === null ? null : readText(readerOf(plan, index), value))),
      ),
    };
  }

  /** The core's answer; an error is its text. */
  async core({ sql, parameters, types = [] }: Question): Promise<Answer | string> {
    try {
      if (types.some((type) => type !== 0)) throw new Error('declared types are not supported by this client');
      const result = await this.#client.query({
        text: sql,
        rowMode: 'array',
        ...(parameters === undefined ? {} : { values: [...parameters] }),
      });
      return {
        columns: result.fields.map((field) =>
          [
            field.name,
            field.dataTypeID,
            field.dataTypeModifier,
            field.dataTypeSize,
            field.tableID,
            field.columnID,
          ].join(' '),
        ),
        rows: result.rows as (string | null)[][],
      };
    } catch (error) {
      return `error: ${(error as Error).message}`;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.sqlite.close();
    await this.#client.end();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function readerOf(plan: LocalPlan, index: number): LocalPlan['columns'][number]['reader'] {
  const column = plan.columns[index];
  if (column === undefined) throw new Error('SQLite gave more columns than planned');
  return column.reader;
}

/** Under the search_path that definitions are printed under. */
async function catalogued<T>(client: pg.Client, ask: () => Promise<T>): Promise<T> {
  await client.query(`SET search_path = ${CATALOGUE_SEARCH_PATH}`);
  const asked = await ask();
  await client.query('RESET search_path');
  return asked;
}

function sessionValue(name: string): string | null {
  return name === 'current_schema' ? 'public' : 'postgres';
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

function copyField(value: string | null): string {
  return value === null ? '\\N' : value.replace(/[\\\t\n\r]/g, (char) => ESCAPES[char] as string);
}

export function describePlan(plan: Plan): string {
  return plan.kind === 'local'
    ? `${plan.lane}: ${plan.sql}`
    : plan.kind === 'forward'
      ? `${plan.reason}: ${plan.detail}`
      : plan.kind;
}
