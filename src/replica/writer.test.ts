import { afterEach, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  catalogueImage,
  ITEMS,
  indexImage,
  tableImage,
  TEST_EPOCH,
  testPosition,
  TestStream,
} from '../../test/replica-images.ts';
import { Fault } from '../base/fault.ts';
import type { SchemaChange, TableImage } from '../contracts/catalogue.ts';
import { OID } from '../pg/oid.ts';
import { ReplicaReader } from './reader.ts';
import { quoteAlways } from '../pg/identifier.ts';
import { ReplicaWriter } from './writer.ts';

const open: { close(): void }[] = [];
const folders: string[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

interface World {
  readonly writer: ReplicaWriter;
  readonly stream: TestStream;
  readonly reader: ReplicaReader;
  readonly path: string;
  /** Rows as Postgres would print them, in key order (or text order without a key). */
  readonly rows: (oid: number) => (string | null)[][];
}

function world(tables: readonly TableImage[]): World {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-replica-'));
  folders.push(folder);
  const path = join(folder, 'replica.db');
  const writer = ReplicaWriter.create(path, catalogueImage(tables), testPosition(1000n), { synchronous: 'off' });
  const reader = new ReplicaReader(path);
  open.push(reader, writer);
  const stream = new TestStream((message) => writer.apply(message));
  for (const table of tables) stream.relation(table);
  return { writer, stream, reader, path, rows: (oid) => printedRows(reader, oid) };
}

function printedRows(reader: ReplicaReader, oid: number): (string | null)[][] {
  const layout = reader.layout(oid);
  if (layout === null) throw new Error(`no table ${oid}`);
  const select = layout.columns.map((column) => column.codec.read(quoteAlways(column.sqlName))).join(', ');
  return reader.sqlite
    .rows(`SELECT ${select || 'NULL'} FROM ${quoteAlways(layout.sqlName)}`)
    .map((row) => layout.columns.map((column, at) => (row[at] === null ? null : column.codec.decode(row[at] as never))))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

function change(part: Partial<SchemaChange>): SchemaChange {
  return { version: 1, tag: 'ALTER TABLE', tables: [], types: [], droppedTables: [], rewrittenTables: [], ...part };
}

function faultCode(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
  return 'no fault';
}

test('I3: readers see rows and position together, and only after flush', () => {
  const { writer, stream, reader, rows } = world([ITEMS]);
  const lsn = stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', '1.50']));
  expect(rows(ITEMS.oid)).toEqual([]);
  expect(reader.state().position.lsn).toBe(1000n);
  expect(writer.flush()).toEqual({ epoch: TEST_EPOCH, lsn });
  reader.snapshot((state) => {
    expect(state.position.lsn).toBe(lsn);
    expect(rows(ITEMS.oid)).toEqual([['1', 'one', '1.50']]);
    stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', null]));
    writer.flush();
    expect(rows(ITEMS.oid)).toHaveLength(1);
    expect(reader.state().position.lsn).toBe(lsn);
  });
  expect(rows(ITEMS.oid)).toHaveLength(2);
  expect(writer.rowCount(ITEMS.oid)).toBe(2);
  expect(reader.rowCounts().get(ITEMS.oid)).toBe(2);
});

test('statistics for joins are taken again when tables have grown, not before', () => {
  const indexed = { ...ITEMS, indexes: [indexImage({ oid: 77_001, keyAttnums: [2] })] };
  const { writer, stream, path } = world([indexed]);
  const sampled = (): number => {
    using reader = new ReplicaReader(path);
    const hasAny = reader.sqlite.value("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'") === 1;
    return hasAny ? Number(reader.sqlite.value("SELECT count(*) FROM sqlite_stat1 WHERE idx = 'index$77001'")) : 0;
  };
  let id = 0;
  const flushes = (rows: number): void => {
    for (let flush = 0; flush < 64; flush += 1) {
      stream.transaction(
        ...Array.from({ length: rows }, () => () => stream.insert(ITEMS.oid, [String(++id), `name ${id % 7}`, null])),
      );
      writer.flush();
    }
  };
  flushes(1);
  expect(sampled()).toBe(0);
  flushes(20);
  expect(sampled()).toBe(1);
});

test('updates and deletes find their row by key, also when the key changes', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(
    () => stream.insert(ITEMS.oid, ['1', 'one', '1.50']),
    () => stream.insert(ITEMS.oid, ['2', 'two', '2']),
    () => stream.insert(ITEMS.oid, ['3', 'three', '3']),
    () => stream.update(ITEMS.oid, ['1', 'uno', null]),
    () => stream.update(ITEMS.oid, ['20', undefined, '2.0'], { kind: 'K', row: ['2', null, null] }),
    () => stream.delete(ITEMS.oid, 'K', ['3', null, null]),
  );
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([
    ['1', 'uno', null],
    ['20', 'two', '2.0'],
  ]);
  expect(writer.rowCount(ITEMS.oid)).toBe(2);
});

test('an unchanged TOAST value keeps what is stored, with and without a change of the key', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'long', '1']));
  stream.transaction(() => stream.update(ITEMS.oid, ['1', undefined, '2']));
  stream.transaction(() =>
    stream.update(ITEMS.oid, ['5', undefined, undefined], { kind: 'K', row: ['1', null, null] }),
  );
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([['5', 'long', '2']]);
});

test('a TOASTed key that did not change comes with the old key and as unchanged', () => {
  const notes = tableImage({
    oid: 20,
    name: 'notes',
    columns: [
      { name: 'k', typeOid: OID.text },
      { name: 'v', typeOid: OID.int4 },
    ],
  });
  const { writer, stream, rows } = world([notes]);
  stream.transaction(() => stream.insert(20, ['a long key', '1']));
  stream.transaction(() => stream.update(20, [undefined, '2'], { kind: 'K', row: ['a long key', null] }));
  writer.flush();
  expect(rows(20)).toEqual([['a long key', '2']]);
});

const PLAIN = tableImage({
  oid: 30,
  name: 'plain',
  replicaIdentity: 'f',
  primaryKeyAttnums: [],
  columns: [
    { name: 'a', typeOid: OID.int4 },
    { name: 'b', typeOid: OID.float8 },
    { name: 'c', typeOid: OID.jsonb },
  ],
});

test('replica identity full without a key changes exactly one of several equal rows', () => {
  const { writer, stream, rows } = world([PLAIN]);
  const row = ['1', '0.5', '{"x": 1}'];
  stream.transaction(
    () => stream.insert(30, row),
    () => stream.insert(30, row),
    () => stream.insert(30, row),
    () => stream.insert(30, [null, null, null]),
  );
  stream.transaction(
    () => stream.delete(30, 'O', row),
    () => stream.update(30, ['2', '0.5', '{"x": 1}'], { kind: 'O', row }),
    () => stream.delete(30, 'O', [null, null, null]),
  );
  writer.flush();
  expect(rows(30)).toEqual([row, ['2', '0.5', '{"x": 1}']]);
});

test('replica identity full tells 0 from -0, which SQLite takes for equal', () => {
  const { writer, stream, rows } = world([PLAIN]);
  stream.transaction(
    () => stream.insert(30, ['1', '0', null]),
    () => stream.insert(30, ['1', '-0', null]),
    () => stream.delete(30, 'O', ['1', '-0', null]),
  );
  writer.flush();
  expect(rows(30)).toEqual([['1', '0', null]]);
});

test('TRUNCATE empties every table it names and leaves others alone', () => {
  const { writer, stream, rows } = world([ITEMS, PLAIN]);
  stream.transaction(
    () => stream.insert(ITEMS.oid, ['1', 'one', null]),
    () => stream.insert(30, ['1', '1', null]),
  );
  stream.transaction(() => stream.truncate(ITEMS.oid, 99999));
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([]);
  expect(rows(30)).toHaveLength(1);
  expect(writer.rowCountTotal).toBe(1);
});

test('transactions that the replica already has are skipped', () => {
  const { writer, stream, path, rows } = world([ITEMS]);
  const lsn = stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', null]));
  writer.flush();
  writer.close();
  const again = ReplicaWriter.open(path, { synchronous: 'off' });
  open.push(again);
  expect(again.position.lsn).toBe(lsn);
  const replay = new TestStream((message) => again.apply(message), 1000n);
  replay.relation(ITEMS);
  expect(replay.transaction(() => replay.insert(ITEMS.oid, ['1', 'one', null]))).toBe(lsn);
  replay.transaction(() => replay.insert(ITEMS.oid, ['2', 'two', null]));
  again.flush();
  expect(rows(ITEMS.oid)).toHaveLength(2);
  expect(again.rowCount(ITEMS.oid)).toBe(2);
});

test('a change that does not fit is a divergence, and undoes all since the last flush', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', null]));
  const { lsn } = writer.flush();
  const bad: (() => void)[] = [
    () => stream.update(ITEMS.oid, ['7', 'x', null]),
    () => stream.delete(ITEMS.oid, 'K', ['7', null, null]),
    () => stream.insert(ITEMS.oid, ['1', 'again', null]),
    () => stream.update(ITEMS.oid, ['1', 'x', null], { kind: 'K', row: ['2', null, null] }),
  ];
  for (const one of bad) {
    stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', null]));
    stream.begin();
    stream.insert(ITEMS.oid, ['3', 'three', null]);
    expect(faultCode(one)).toBe('replica-diverged');
    expect(writer.isInTransaction).toBe(false);
    expect(writer.position.lsn).toBe(lsn);
    expect(writer.appliedLsn).toBe(lsn);
    expect(writer.rowCount(ITEMS.oid)).toBe(1);
    expect(rows(ITEMS.oid)).toEqual([['1', 'one', null]]);
  }
  stream.lsn = lsn;
  stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', null]));
  writer.flush();
  expect(rows(ITEMS.oid)).toHaveLength(2);
});

test('rows of a table that was never described are refused', () => {
  const { stream } = world([ITEMS]);
  stream.begin();
  expect(faultCode(() => stream.insert(999, ['1']))).toBe('replica-schema-unknown');
});

test('schema changes apply inside their transaction, and are undone with it', () => {
  const { writer, stream, reader, rows } = world([ITEMS]);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', '1.0']));
  writer.flush();
  const { columns } = ITEMS;
  const after = tableImage({
    ...ITEMS,
    columns: [
      columns[0] as never,
      { ...(columns[1] as never as object), name: 'name', attnum: 2, typeOid: OID.text },
      { name: 'added', typeOid: OID.numeric, attnum: 4, missingText: '7.50' },
      { name: 'ratio', typeOid: OID.float8, attnum: 5, missingText: '2' },
      { name: 'empty', typeOid: OID.text, attnum: 6 },
    ],
  });
  const alter = (): void => stream.json('skerry.schema', change({ tables: [after] }));
  stream.begin();
  alter();
  writer.rollback();
  stream.relation(ITEMS);
  stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', '2.0']));
  writer.flush();
  expect(rows(ITEMS.oid)).toHaveLength(2);

  const version = reader.state().catalogueVersion;
  stream.transaction(
    alter,
    () => stream.relation(after),
    () => stream.insert(ITEMS.oid, ['3', 'three', '1', '0.1', 'e']),
  );
  writer.flush();
  expect(reader.state().catalogueVersion).toBeGreaterThan(version);
  expect(
    reader
      .catalogue()
      .find('public', 'items')
      ?.columns.map((column) => column.name),
  ).toEqual(['id', 'name', 'added', 'ratio', 'empty']);
  expect(rows(ITEMS.oid)).toEqual([
    ['1', 'one', '7.50', '2', null],
    ['2', 'two', '7.50', '2', null],
    ['3', 'three', '1', '0.1', 'e'],
  ]);
  // Applying the same change again changes nothing.
  stream.transaction(alter);
  writer.flush();
  expect(rows(ITEMS.oid)).toHaveLength(3);
});

test('columns may swap names, and a new one may take the name of one that goes', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', '1.0']));
  const swapped = tableImage({
    ...ITEMS,
    columns: [
      { name: 'id', typeOid: OID.int4, attnum: 1 },
      { name: 'price', typeOid: OID.text, attnum: 2 },
      { name: 'label', typeOid: OID.numeric, attnum: 3 },
    ],
  });
  stream.transaction(() => stream.json('skerry.schema', change({ tables: [swapped] })));
  const replaced = tableImage({
    ...ITEMS,
    columns: [
      { name: 'id', typeOid: OID.int4, attnum: 1 },
      { name: 'price', typeOid: OID.text, attnum: 2 },
      { name: 'label', typeOid: OID.int8, attnum: 4, missingText: '9007199254740993' },
    ],
  });
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([['1', 'one', '1.0']]);
  stream.transaction(() => stream.json('skerry.schema', change({ tables: [replaced] })));
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([['1', 'one', '9007199254740993']]);
});

test('tables are created, renamed, swapped and dropped', () => {
  const other = tableImage({ oid: 40, name: 'other', columns: [{ name: 'k', typeOid: OID.uuid }] });
  const { writer, stream, reader, rows } = world([ITEMS]);
  stream.transaction(
    () => stream.json('skerry.schema', change({ tag: 'CREATE TABLE', tables: [other] })),
    () => stream.relation(other),
    () => stream.insert(40, ['5b0b0c52-0000-0000-0000-000000000000']),
  );
  const swap = change({
    tables: [
      { ...ITEMS, name: 'other' },
      { ...other, name: 'items' },
    ],
  });
  stream.transaction(() => stream.json('skerry.schema', swap));
  writer.flush();
  expect(reader.catalogue().find('public', 'items')?.oid).toBe(40);
  expect(rows(40)).toHaveLength(1);
  stream.transaction(() => stream.json('skerry.schema', change({ tag: 'DROP TABLE', droppedTables: [40] })));
  writer.flush();
  expect(reader.catalogue().find('public', 'items')).toBeUndefined();
  expect(reader.catalogue().tableCount).toBe(1);
  expect(writer.rowCountTotal).toBe(0);
});

test('a rewritten table starts from none and gets its rows as a message', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', '1.0']));
  const after = tableImage({
    ...ITEMS,
    columns: [
      { name: 'id', typeOid: OID.text, attnum: 1 },
      { name: 'label', typeOid: OID.text, attnum: 2 },
      { name: 'price', typeOid: OID.int4, attnum: 3 },
    ],
  });
  stream.transaction(
    () => stream.json('skerry.schema', change({ tables: [after], rewrittenTables: [ITEMS.oid] })),
    () =>
      stream.json('skerry.rows', {
        version: 1,
        table: ITEMS.oid,
        attnums: [3, 1, 2],
        rows: [
          ['1', 'x1', 'one'],
          [null, 'x2', 'two'],
        ],
      }),
    () => stream.relation(after),
    () => stream.update(ITEMS.oid, ['x2', 'zwei', '2']),
  );
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([
    ['x1', 'one', '1'],
    ['x2', 'zwei', '2'],
  ]);
  expect(writer.rowCount(ITEMS.oid)).toBe(2);
});

test('losing or changing the key rebuilds the table with its rows', () => {
  const { writer, stream, rows } = world([ITEMS]);
  stream.transaction(
    () => stream.insert(ITEMS.oid, ['1', 'one', '1.0']),
    () => stream.insert(ITEMS.oid, ['2', 'two', null]),
  );
  const full = tableImage({ ...ITEMS, replicaIdentity: 'f', primaryKeyAttnums: [], columns: ITEMS.columns });
  stream.transaction(
    () => stream.json('skerry.schema', change({ tables: [full] })),
    () => stream.relation(full),
    () => stream.insert(ITEMS.oid, ['1', 'one', '1.0']),
    () => stream.delete(ITEMS.oid, 'O', ['2', 'two', null]),
  );
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([
    ['1', 'one', '1.0'],
    ['1', 'one', '1.0'],
  ]);
  const keyed = tableImage({ ...ITEMS, primaryKeyAttnums: [2], identityAttnums: [2], columns: ITEMS.columns });
  stream.transaction(
    () => stream.delete(ITEMS.oid, 'O', ['1', 'one', '1.0']),
    () => stream.json('skerry.schema', change({ tables: [keyed] })),
    () => stream.relation(keyed),
    () => stream.update(ITEMS.oid, ['8', 'one', '9']),
  );
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([['8', 'one', '9']]);
});

test('names that SQLite would confuse stay apart', () => {
  const tables = [
    tableImage({
      oid: 50,
      name: 'T',
      columns: [
        { name: 'Id', typeOid: OID.int4 },
        { name: 'id', typeOid: OID.int4 },
      ],
    }),
    tableImage({
      oid: 51,
      name: 't',
      columns: [
        { name: '_rowid_', typeOid: OID.text },
        { name: 'a"b', typeOid: OID.numeric },
      ],
    }),
    tableImage({
      oid: 52,
      schema: 'a.b',
      name: 'c',
      columns: [
        { name: 'n', typeOid: OID.numeric },
        { name: 'n$key', typeOid: OID.text },
      ],
    }),
    tableImage({
      oid: 53,
      schema: 'a',
      name: 'b.c',
      columns: [
        { name: 'rowid', typeOid: OID.int8 },
        { name: 'oid', typeOid: OID.int4 },
      ],
    }),
    tableImage({ oid: 54, schema: 'sqlite_x', name: 'c', columns: [{ name: 'select', typeOid: OID.int8 }] }),
    tableImage({ oid: 55, name: 'none', primaryKeyAttnums: [], replicaIdentity: 'f', columns: [] }),
  ];
  const { writer, stream, rows } = world(tables);
  stream.transaction(
    () => stream.insert(50, ['1', '2']),
    () => stream.insert(51, ['x', '1.5']),
    () => stream.insert(52, ['1.50', 'y']),
    () => stream.insert(53, ['9223372036854775807', '2']),
    () => stream.insert(54, ['-9223372036854775808']),
    () => stream.insert(55, []),
    () => stream.insert(55, []),
    () => stream.delete(55, 'O', []),
    () => stream.update(54, ['7'], { kind: 'K', row: ['-9223372036854775808'] }),
  );
  writer.flush();
  expect(rows(50)).toEqual([['1', '2']]);
  expect(rows(51)).toEqual([['x', '1.5']]);
  expect(rows(52)).toEqual([['1.50', 'y']]);
  expect(rows(53)).toEqual([['9223372036854775807', '2']]);
  expect(rows(54)).toEqual([['7']]);
  expect(writer.rowCount(55)).toBe(1);
});

test('indexes of the core are mirrored where they are plain, and follow their columns', () => {
  const indexed = {
    ...ITEMS,
    indexes: [indexImage({ oid: 60, keyAttnums: [2] }), indexImage({ oid: 61, keyAttnums: [3] })],
  };
  const { writer, stream, reader } = world([indexed]);
  const names = (): unknown[] =>
    reader.sqlite.rows("SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY 1").flat();
  expect(names()).toEqual(['index$60', 'index$61']);
  const plan = reader.sqlite.rows(
    `EXPLAIN QUERY PLAN SELECT * FROM "public.items" WHERE "price$key" > x'00' ORDER BY "price$key"`,
  );
  expect(JSON.stringify(plan)).toContain('index$61');
  stream.transaction(() =>
    stream.json(
      'skerry.schema',
      change({
        tables: [
          { ...indexed, columns: indexed.columns.slice(0, 2), indexes: [indexImage({ oid: 60, keyAttnums: [2] })] },
        ],
      }),
    ),
  );
  writer.flush();
  expect(names()).toEqual(['index$60']);
});

test('updates of indexed columns set what changed, also from 0 to -0 and from and to NULL', () => {
  const table = {
    ...tableImage({
      oid: 80,
      name: 'measures',
      columns: [
        { name: 'id', typeOid: OID.int8 },
        { name: 'f', typeOid: OID.float8 },
        { name: 'n', typeOid: OID.numeric },
        { name: 't', typeOid: OID.text },
        { name: 'plain', typeOid: OID.int4 },
      ],
    }),
    indexes: [indexImage({ oid: 81, keyAttnums: [2, 3] }), indexImage({ oid: 82, keyAttnums: [4] })],
  };
  const { writer, stream, reader, rows } = world([table]);
  stream.transaction(() => stream.insert(80, ['1', '0', '1.5', 'a', '1']));
  const values = { f: ['0', '-0', 'NaN', '1', null], n: ['1.5', '1.50', 'NaN', null], t: ['a', 'b', undefined, null] };
  let expected: (string | null)[] = ['1', '0', '1.5', 'a', '1'];
  let plain = 1;
  for (const f of values.f) {
    for (const n of values.n) {
      for (const t of values.t) {
        plain += 1;
        stream.transaction(() => stream.update(80, ['1', f, n, t, String(plain)]));
        expected = ['1', f, n, t === undefined ? (expected[3] as string | null) : t, String(plain)];
        writer.flush();
        expect(rows(80)).toEqual([expected]);
        expect(reader.sqlite.value('PRAGMA integrity_check')).toBe('ok');
      }
    }
  }
  stream.begin();
  expect(faultCode(() => stream.update(80, ['2', null, null, null, null]))).toBe('replica-diverged');
});

test('a binary compatible type change keeps rows; any other without new rows is refused', () => {
  const times = tableImage({
    oid: 70,
    name: 'times',
    columns: [
      { name: 'id', typeOid: OID.int4 },
      { name: 'at', typeOid: OID.timestamp },
      { name: 'n', typeOid: OID.int4 },
    ],
  });
  const { writer, stream, rows } = world([times]);
  stream.transaction(
    () => stream.insert(70, ['1', '2024-01-01 00:00:00', '-1']),
    () => stream.insert(70, ['2', '-infinity', '5']),
    () => stream.insert(70, ['3', '0044-03-15 12:00:00 BC', null]),
  );
  const typed = (at: number, n: number): TableImage => ({
    ...times,
    columns: times.columns.map((column) =>
      column.attnum === 2 ? { ...column, typeOid: at } : column.attnum === 3 ? { ...column, typeOid: n } : column,
    ),
  });
  stream.transaction(() => stream.json('skerry.schema', change({ tables: [typed(OID.timestamptz, OID.oid)] })));
  writer.flush();
  expect(rows(70)).toEqual([
    ['1', '2024-01-01 00:00:00+00', '4294967295'],
    ['2', '-infinity', '5'],
    ['3', '0044-03-15 12:00:00+00 BC', null],
  ]);
  stream.begin();
  expect(faultCode(() => stream.json('skerry.schema', change({ tables: [typed(OID.text, OID.oid)] })))).toBe(
    'replica-schema-unknown',
  );
  expect(rows(70)).toHaveLength(3);
});

test('many source transactions share one flush; advance moves the position without rows', () => {
  const { writer, stream, reader } = world([ITEMS]);
  for (let id = 0; id < 100; id += 1) stream.transaction(() => stream.insert(ITEMS.oid, [String(id), null, null]));
  expect(writer.pendingTransactions).toBe(100);
  expect(writer.pendingChanges).toBe(100);
  writer.flush();
  expect(writer.pendingTransactions).toBe(0);
  writer.advance(999_999n);
  writer.advance(5n);
  expect(reader.state().position.lsn).toBe(stream.lsn);
  writer.flush();
  expect(reader.state().position.lsn).toBe(999_999n);
});

test('a stream that is out of order is refused and writes nothing', () => {
  const { stream, rows, writer } = world([ITEMS]);
  expect(faultCode(() => stream.insert(ITEMS.oid, ['1', null, null]))).toBe('stream-out-of-order');
  expect(faultCode(() => stream.truncate(ITEMS.oid))).toBe('stream-out-of-order');
  expect(faultCode(() => stream.commit())).toBe('stream-out-of-order');
  stream.begin();
  stream.insert(ITEMS.oid, ['1', null, null]);
  expect(faultCode(() => stream.begin())).toBe('stream-out-of-order');
  writer.flush();
  expect(rows(ITEMS.oid)).toEqual([]);
});

test('a change that finds no whole row is a divergence too', () => {
  const { stream } = world([PLAIN]);
  stream.begin();
  expect(faultCode(() => stream.delete(30, 'O', ['1', '1', null]))).toBe('replica-diverged');
  const textOnly = tableImage({
    oid: 31,
    name: 'text_only',
    replicaIdentity: 'f',
    primaryKeyAttnums: [],
    columns: [{ name: 'a', typeOid: OID.text }],
  });
  const { stream: other } = world([textOnly]);
  other.begin();
  expect(faultCode(() => other.update(31, ['b'], { kind: 'O', row: ['a'] }))).toBe('replica-diverged');
});

test('in-progress transactions are not for replicas', () => {
  const { stream } = world([ITEMS]);
  expect(faultCode(() => stream.message({ tag: 'streamStart', xid: 5, first: true }))).toBe('stream-unsupported');
});

test('where each table changed last is kept, so that it can be told whether a snapshot still holds', () => {
  const notes = tableImage({ oid: 20, name: 'notes', columns: [{ name: 'id', typeOid: OID.int4, notNull: true }] });
  const { writer, stream, reader } = world([ITEMS, notes]);
  const unchanged = (lsn: bigint, ...tables: number[]): boolean => reader.isUnchangedSince(tables, lsn);
  expect([unchanged(1000n, ITEMS.oid, 20), unchanged(999n, 20), unchanged(1000n, 77)]).toEqual([true, false, false]);
  const steps = [
    () => stream.insert(ITEMS.oid, ['1', 'one', '1']),
    () => stream.update(ITEMS.oid, ['1', 'uno', '1']),
    () => stream.delete(ITEMS.oid, 'K', ['1', null, null]),
    () => stream.truncate(ITEMS.oid),
  ];
  let before = 1000n;
  for (const step of steps) {
    stream.transaction(step);
    const { lsn } = writer.flush();
    expect([unchanged(before, ITEMS.oid), unchanged(lsn, ITEMS.oid), unchanged(1000n, 20)]).toEqual([
      false,
      true,
      true,
    ]);
    before = lsn;
  }
  stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', '2']));
  writer.rollback();
  stream.transaction(() => stream.insert(20, ['1']));
  writer.flush();
  expect([unchanged(before, ITEMS.oid), unchanged(before, 20)]).toEqual([true, false]);
});
