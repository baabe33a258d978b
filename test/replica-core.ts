// A real core for tests of replicas: a publication, a slot whose pgoutput bytes are fetched through SQL, catalogue images,
// and the comparison of everything a replica holds with what the core prints.

import { expect } from 'bun:test';
import { readFileSync, unlinkSync } from 'node:fs';
import type { CatalogueImage, SchemaChange, TableImage, TypeImage } from '../src/contracts/catalogue.ts';
import { quoteAlways, quoteQualified } from '../src/pg/identifier.ts';
import { type Lsn, parseLsn, type Position } from '../src/pg/lsn.ts';
import { checksumSql, checksumTableNow } from '../src/replica/checksum.ts';
import { isStored } from '../src/replica/layout.ts';
import { ReplicaLoader } from '../src/replica/loader.ts';
import { ReplicaReader } from '../src/replica/reader.ts';
import type { ReplicaWriter } from '../src/replica/writer.ts';
import { createCrypto } from '../src/runtime/crypto.ts';
import { DATABASE_FACTS_SQL, tableImagesSql, TYPE_IMAGES_SQL } from '../src/stream/source/catalogue-sql.ts';
import { PgoutputDecoder } from '../src/wire/pgoutput.ts';
import { startPostgres, type StartPostgresOptions, type TestPostgres } from './harness.ts';
import { connectRaw, type RawClient } from './pg-client.ts';

const SLOT = 'test';

/** Messages fetched per call: as many as fit well into one result. */
const CHANGES_PER_FETCH = 20_000;

export class TestCore implements AsyncDisposable {
  readonly postgres: TestPostgres;
  readonly client: RawClient;
  readonly #decoder = new PgoutputDecoder();
  readonly #crypto = createCrypto();

  static async start(options: StartPostgresOptions = {}): Promise<TestCore> {
    const postgres = await startPostgres(options);
    const client = await connectRaw(postgres);
    await client.texts('CREATE PUBLICATION skerry FOR ALL TABLES');
    return new TestCore(postgres, client);
  }

  private constructor(postgres: TestPostgres, client: RawClient) {
    this.postgres = postgres;
    this.client = client;
  }

  /** Creates the slot; its stream begins here. */
  async createSlot(): Promise<Position> {
    const [row] = await this.client.texts(`SELECT lsn FROM pg_create_logical_replication_slot('${SLOT}', 'pgoutput')`);
    const [control] = await this.client.texts(
      'SELECT system_identifier, (SELECT timeline_id FROM pg_control_checkpoint()) FROM pg_control_system()',
    );
    const epoch = { systemId: control?.[0] as string, timeline: Number(control?.[1]) };
    return { epoch, lsn: parseLsn(row?.[0] as string) };
  }

  async image(): Promise<CatalogueImage> {
    const facts = await this.#json<CatalogueImage>(DATABASE_FACTS_SQL);
    return { ...facts, tables: await this.tables(), types: await this.types() };
  }

  tables(): Promise<TableImage[]> {
    return this.#json<TableImage[]>(tableImagesSql("'skerry'", null));
  }

  types(): Promise<TypeImage[]> {
    return this.#json<TypeImage[]>(TYPE_IMAGES_SQL);
  }

  async #json<T>(sql: string): Promise<T> {
    const [row] = await this.client.texts(sql);
    return JSON.parse(row?.[0] as string) as T;
  }

  /** Runs DDL and announces what it changed in the same transaction, as the event trigger does. */
  async ddl(sql: string, rewritten: readonly string[] = []): Promise<void> {
    const before = new Set((await this.tables()).map((table) => table.oid));
    await this.client.texts('BEGIN');
    await this.client.texts(sql);
    const tables = await this.tables();
    for (const table of tables) before.delete(table.oid);
    const change: SchemaChange = {
      version: 1,
      tag: 'TEST',
      tables,
      types: await this.types(),
      droppedTables: [...before],
      rewrittenTables: tables.filter((table) => rewritten.includes(table.name)).map((table) => table.oid),
    };
    await this.#emit('skerry.schema', change);
    for (const table of tables.filter((candidate) => rewritten.includes(candidate.name))) {
      const columns = table.columns.filter((column) => column.replicated);
      const rows = await this.client.texts(
        `SELECT ${printed(table)} FROM ONLY ${quoteQualified(table.schema, table.name)} AS t`,
      );
      await this.#emit('skerry.rows', {
        version: 1,
        table: table.oid,
        attnums: columns.map((column) => column.attnum),
        rows,
      });
    }
    await this.client.texts('COMMIT');
  }

  async #emit(prefix: string, content: unknown): Promise<void> {
    await this.client.texts('SELECT pg_logical_emit_message(true, $1, $2)', [prefix, JSON.stringify(content)]);
  }

  /** Applies everything committed so far. */
  async drain(writer: ReplicaWriter): Promise<Lsn> {
    for (;;) {
      const rows = await this.client.texts(
        `SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('${SLOT}', NULL, ${CHANGES_PER_FETCH}, 'proto_version', '1', 'publication_names', 'skerry', 'messages', 'true')`,
      );
      for (const [hex] of rows) {
        const bytes = Buffer.from(hex as string, 'hex');
        writer.apply(this.#decoder.decode(bytes, 0, bytes.length));
      }
      if (rows.length === 0) return writer.flush().lsn;
    }
  }

  /** Builds a replica from COPY, as the initial snapshot does. */
  async load(path: string, position: Position): Promise<void> {
    const image = await this.image();
    using loader = new ReplicaLoader(path, image);
    for (const table of image.tables.filter(isStored)) {
      const columns = table.columns.filter((column) => column.replicated);
      const file = `${this.postgres.dataDir}/copy-${table.oid}.txt`;
      const names = columns.map((column) => quoteAlways(column.name)).join(', ');
      await this.client.texts(
        `COPY (SELECT ${names} FROM ONLY ${quoteQualified(table.schema, table.name)}) TO '${file}'`,
      );
      const copy = loader.copy(
        table.oid,
        columns.map((column) => column.attnum),
      );
      const bytes = readFileSync(file);
      unlinkSync(file);
      // Cut anywhere: COPY data need not come a row at a time.
      for (let at = 0; at < bytes.length; at += 1000) copy.push(Buffer.from(bytes.subarray(at, at + 1000)));
      copy.finish();
    }
    loader.finish(position);
  }

  /** Every row of every table of the replica is what the core prints, and the checksums agree. */
  async expectEqual(path: string): Promise<void> {
    using reader = new ReplicaReader(path);
    const tables = (await this.tables()).filter(isStored);
    const known = [...reader.catalogue().tables()].filter(isStored);
    expect(known.map((table) => table.name).sort()).toEqual(tables.map((table) => table.name).sort());
    for (const table of tables) {
      const layout = reader.layout(table.oid);
      if (layout === null) throw new Error(`table ${table.name} is not in the replica`);
      const select = layout.columns.map((column) => column.codec.read(quoteAlways(column.sqlName)));
      const ours = reader.sqlite
        .rows(`SELECT ${select.join(', ') || 'NULL'} FROM ${quoteAlways(layout.sqlName)}`)
        .map((row) =>
          JSON.stringify(
            layout.columns.map((column, at) => (row[at] === null ? null : column.codec.decode(row[at] as never))),
          ),
        );
      const core = await this.client.texts(
        `SELECT ${printed(table)} FROM ONLY ${quoteQualified(table.schema, table.name)} AS t`,
      );
      const theirs = core.map((row) => JSON.stringify(row));
      expect({ table: table.name, rows: ours.sort() }).toEqual({ table: table.name, rows: theirs.sort() });
      const checksum = checksumTableNow(reader.sqlite, layout, this.#crypto);
      const [expected] = await this.client.texts(checksumSql(table));
      expect([table.name, String(checksum.rows), checksum.sum]).toEqual([table.name, ...(expected as string[])]);
      expect([table.name, reader.rowCounts().get(table.oid)]).toEqual([table.name, core.length]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.postgres[Symbol.asyncDispose]();
  }
}

/** Select list of what the output functions print. */
function printed(table: TableImage): string {
  const columns = table.columns.filter((column) => column.replicated);
  const text = (name: string): string => `CASE WHEN num_nulls(t.${name}) = 0 THEN concat(t.${name}) END`;
  return columns.map((column) => text(quoteAlways(column.name))).join(', ');
}
