// Builders of catalogue images for tests of replicas, and a stream of pgoutput messages to feed one.

import type { CatalogueImage, ColumnImage, IndexImage, TableImage, TypeImage } from '../src/contracts/catalogue.ts';
import { OID } from '../src/pg/oid.ts';
import type { Epoch, Lsn, Position } from '../src/pg/lsn.ts';
import { ByteWriter } from '../src/wire/bytes.ts';
import {
  type ColumnValue,
  encodePgoutput,
  PgoutputDecoder,
  type PgoutputMessage,
  writeBegin,
  writeCommit,
  writeDelete,
  writeInsert,
  writeUpdate,
} from '../src/wire/pgoutput.ts';

export const TEST_EPOCH: Epoch = { systemId: '7000000000000000001', timeline: 1 };

export function testPosition(lsn: Lsn): Position {
  return { epoch: TEST_EPOCH, lsn };
}

export type ColumnSpec = Partial<ColumnImage> & { readonly name: string; readonly typeOid: number };

export function columnImage(attnum: number, spec: ColumnSpec): ColumnImage {
  return {
    attnum,
    typmod: -1,
    notNull: false,
    collationOid: 0,
    collationIsC: true,
    collationIsDeterministic: true,
    generated: '',
    identity: '',
    defaultText: null,
    missingText: null,
    replicated: true,
    ...spec,
  };
}

export interface TableSpec extends Partial<Omit<TableImage, 'columns'>> {
  readonly oid: number;
  readonly name: string;
  readonly columns: readonly ColumnSpec[];
}

/** A table whose first column is its primary key, unless `primaryKeyAttnums` says otherwise. */
export function tableImage(spec: TableSpec): TableImage {
  const primaryKeyAttnums = spec.primaryKeyAttnums ?? [1];
  const columns = spec.columns.map((column, index) => columnImage(column.attnum ?? index + 1, column));
  return {
    schema: 'public',
    kind: 'r',
    replicaIdentity: 'd',
    identityAttnums: spec.replicaIdentity === 'f' ? columns.map((column) => column.attnum) : primaryKeyAttnums,
    indexes: [],
    constraints: [],
    rowSecurity: false,
    hasChildren: false,
    rowFilter: null,
    ...spec,
    primaryKeyAttnums,
    columns,
  };
}

export function indexImage(
  spec: Partial<IndexImage> & { readonly oid: number; readonly keyAttnums: readonly number[] },
): IndexImage {
  return {
    name: `index_${spec.oid}`,
    unique: false,
    primary: false,
    valid: true,
    partial: false,
    definition: 'CREATE INDEX i ON t USING btree (c)',
    ...spec,
  };
}

export function catalogueImage(tables: readonly TableImage[], types: readonly TypeImage[] = []): CatalogueImage {
  return {
    version: 1,
    serverVersion: 150000,
    serverVersionText: '15.0',
    database: 'test',
    defaultCollationIsC: true,
    settings: {},
    tables,
    types,
  };
}

/** The table most tests use: int4 key, text, numeric. */
export const ITEMS = tableImage({
  oid: 16384,
  name: 'items',
  columns: [
    { name: 'id', typeOid: OID.int4, notNull: true },
    { name: 'label', typeOid: OID.text },
    { name: 'price', typeOid: OID.numeric },
  ],
});

type Row = readonly (string | null | undefined)[];

/** Makes messages as a walsender would: bytes first, then decoded by the real decoder. */
export class TestStream {
  readonly #decoder = new PgoutputDecoder();
  readonly #apply: (message: PgoutputMessage) => void;
  lsn: Lsn;

  constructor(apply: (message: PgoutputMessage) => void, lsn: Lsn = 1000n) {
    this.#apply = apply;
    this.lsn = lsn;
  }

  /** A whole transaction; its commit record takes 100 bytes of WAL. */
  transaction(...changes: readonly (() => void)[]): Lsn {
    this.begin();
    for (const change of changes) change();
    return this.commit();
  }

  begin(): void {
    this.lsn += 500n;
    this.#send((writer) => writeBegin(writer, this.lsn, 0n, 700));
  }

  commit(): Lsn {
    const commitLsn = this.lsn;
    this.lsn += 100n;
    this.#send((writer) => writeCommit(writer, commitLsn, this.lsn, 0n));
    return this.lsn;
  }

  relation(image: TableImage): void {
    this.message({
      tag: 'relation',
      xid: 0,
      oid: image.oid,
      schema: image.schema,
      name: image.name,
      replicaIdentity: image.replicaIdentity,
      columns: image.columns
        .filter((column) => column.replicated)
        .map((column) => ({
          key: image.identityAttnums.includes(column.attnum),
          name: column.name,
          typeOid: column.typeOid,
          typmod: column.typmod,
        })),
    });
  }

  insert(oid: number, row: Row): void {
    this.#send((writer) => writeInsert(writer, 0, oid, row as ColumnValue[]));
  }

  update(oid: number, row: Row, old: { kind: 'K' | 'O'; row: Row } | null = null): void {
    const before = old === null ? null : { kind: old.kind, row: old.row as ColumnValue[] };
    this.#send((writer) => writeUpdate(writer, 0, oid, before, row as ColumnValue[]));
  }

  delete(oid: number, kind: 'K' | 'O', old: Row): void {
    this.#send((writer) => writeDelete(writer, 0, oid, kind, old as ColumnValue[]));
  }

  truncate(...relations: number[]): void {
    this.message({ tag: 'truncate', xid: 0, cascade: false, restartIdentity: false, relations });
  }

  /** A transactional logical message with JSON in it. */
  json(prefix: string, content: unknown): void {
    const bytes = Buffer.from(JSON.stringify(content));
    this.message({ tag: 'message', xid: 0, transactional: true, lsn: this.lsn, prefix, content: bytes });
  }

  message(message: PgoutputMessage): void {
    this.#send((writer) => encodePgoutput(writer, message));
  }

  #send(write: (writer: ByteWriter) => void): void {
    const writer = new ByteWriter();
    write(writer);
    const bytes = Buffer.from(writer.take());
    this.#apply(this.#decoder.decode(bytes, 0, bytes.length));
  }
}
