// Replica files as files: bulk load, snapshots, refusal of what is none, a full disk, a killed writer.

import { afterEach, beforeEach, expect, test } from 'bun:test';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { catalogueImage, ITEMS, tableImage, testPosition, TestStream } from '../../test/replica-images.ts';
import { Fault } from '../base/fault.ts';
import { OID } from '../pg/oid.ts';
import { createCrypto } from '../runtime/crypto.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { checksumTable, checksumTableNow } from './checksum.ts';
import { ReplicaLoader } from './loader.ts';
import { readReplicaState, ReplicaReader } from './reader.ts';
import { installSnapshot, removeReplica, validateSnapshot, writeSnapshot } from './snapshot.ts';
import { Sqlite } from './sqlite.ts';
import { ReplicaWriter } from './writer.ts';

let folder: string;
const crypto = createCrypto();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'skerry-replica-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function faultOf(run: () => unknown): Fault {
  try {
    run();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('no fault');
}

function loaded(name: string, rows: number): string {
  const path = join(folder, name);
  const loader = new ReplicaLoader(path, catalogueImage([ITEMS]));
  const copy = loader.copy(ITEMS.oid);
  for (let id = 0; id < rows; id += 1) copy.push(Buffer.from(`${id}\tlabel ${id}\t${id}.50\n`));
  copy.finish();
  loader.finish(testPosition(2000n));
  return path;
}

function checksum(path: string): string {
  using reader = new ReplicaReader(path);
  const layout = reader.layout(ITEMS.oid);
  if (layout === null) throw new Error('no table');
  const { rows, sum } = checksumTableNow(reader.sqlite, layout, crypto);
  return `${rows} ${sum}`;
}

test('a bulk-loaded replica is the one that the stream would have made, and takes the stream from there', () => {
  const path = loaded('a.db', 5000);
  expect(existsSync(`${path}-wal`)).toBe(false);
  const other = join(folder, 'b.db');
  {
    using writer = ReplicaWriter.create(other, catalogueImage([ITEMS]), testPosition(1000n), { synchronous: 'off' });
    const stream = new TestStream((message) => writer.apply(message));
    stream.relation(ITEMS);
    stream.begin();
    for (let id = 0; id < 5000; id += 1) stream.insert(ITEMS.oid, [String(id), `label ${id}`, `${id}.50`]);
    stream.commit();
    writer.flush();
  }
  expect(checksum(path)).toBe(checksum(other));
  using writer = ReplicaWriter.open(path, { synchronous: 'off' });
  expect(writer.rowCount(ITEMS.oid)).toBe(5000);
  expect(writer.position.lsn).toBe(2000n);
  const stream = new TestStream((message) => writer.apply(message), 2000n);
  stream.relation(ITEMS);
  stream.transaction(() => stream.update(ITEMS.oid, ['7', 'new', null]));
  writer.flush();
  expect(checksum(path)).not.toBe(checksum(other));
});

test('a load with a key twice, or with rows that are not COPY text, is refused', () => {
  using loader = new ReplicaLoader(join(folder, 'x.db'), catalogueImage([ITEMS]));
  const copy = loader.copy(ITEMS.oid);
  copy.push(Buffer.from('1\ta\t1\n'));
  expect(faultOf(() => copy.push(Buffer.from('1\ta\t1\n'))).code).toBe('replica-diverged');
  expect(faultOf(() => copy.push(Buffer.from('2\ta\n'))).code).toBe('copy-malformed');
});

test('an unfinished load is not a replica', () => {
  const path = join(folder, 'x.db');
  const loader = new ReplicaLoader(path, catalogueImage([ITEMS]));
  loader.copy(ITEMS.oid).push(Buffer.from('1\ta\t1\n'));
  loader.close();
  expect(faultOf(() => ReplicaWriter.open(path, { synchronous: 'off' })).code).toBe('replica-file-invalid');
});

test('the checksum yields now and then, knows duplicates, and does not depend on order', () => {
  const path = loaded('a.db', 4001);
  using reader = new ReplicaReader(path);
  const layout = reader.layout(ITEMS.oid);
  if (layout === null) throw new Error('no table');
  const yields: number[] = [];
  const steps = checksumTable(reader.sqlite, layout, crypto);
  let step = steps.next();
  while (step.done !== true) {
    yields.push(step.value);
    step = steps.next();
  }
  expect(yields).toEqual([16, 144, 1168, 3168]);
  expect(step.value.rows).toBe(4001);
  expect(step.value.table).toBe('public.items');
});

test('the checksum walks row numbers at both ends of 64 bits', () => {
  const table = tableImage({ oid: 5, name: 'ends', columns: [{ name: 'id', typeOid: OID.int8 }] });
  const path = join(folder, 'ends.db');
  using writer = ReplicaWriter.create(path, catalogueImage([table]), testPosition(1n), { synchronous: 'off' });
  const stream = new TestStream((message) => writer.apply(message));
  stream.relation(table);
  const ids = [-(2n ** 63n), 2n ** 63n - 1n];
  for (let id = 0n; id < 4100n; id += 1n) ids.push(2n ** 62n + id);
  stream.transaction(...ids.map((id) => () => stream.insert(5, [String(id)])));
  writer.flush();
  using reader = new ReplicaReader(path);
  const layout = reader.layout(5);
  if (layout === null) throw new Error('no table');
  expect(checksumTableNow(reader.sqlite, layout, crypto).rows).toBe(ids.length);
});

test('a snapshot is a standalone copy at one position, while the writer goes on', async () => {
  const path = loaded('a.db', 3000);
  const target = join(folder, 'snapshot.db');
  const before = checksum(path);
  {
    using writer = ReplicaWriter.open(path, { synchronous: 'off' });
    const stream = new TestStream((message) => writer.apply(message), 2000n);
    stream.relation(ITEMS);
    stream.transaction(() => stream.insert(ITEMS.oid, ['9999', 'later', null]));
    // Not flushed, so not in the snapshot.
    expect(writeSnapshot(path, target).lsn).toBe(2000n);
    writer.flush();
  }
  expect(existsSync(`${target}-wal`)).toBe(false);
  expect(validateSnapshot(target, { thorough: true })).toEqual({ position: testPosition(2000n), tables: 1 });
  expect(checksum(target)).toBe(before);
  expect(checksum(path)).not.toBe(before);
  // Putting it in place of the newer file leaves nothing of that one.
  writeFileSync(`${path}-wal`, 'left over');
  await installSnapshot(nodeDisk, target, path);
  expect(existsSync(target)).toBe(false);
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect(readReplicaState(path).position.lsn).toBe(2000n);
  expect(checksum(path)).toBe(before);
  await removeReplica(nodeDisk, path);
  expect(existsSync(path)).toBe(false);
});

test('files that are no replicas, of another format, or damaged are refused with what to do', () => {
  const path = loaded('a.db', 3000);
  const bytes = readFileSync(path);
  const other = join(folder, 'other.db');
  const check = (content: Uint8Array, message: RegExp): void => {
    writeFileSync(other, content);
    const fault = faultOf(() => validateSnapshot(other, { thorough: true }));
    expect(fault.code).toBe('replica-file-invalid');
    expect(fault.message).toMatch(message);
    expect(fault.hint).toContain('snapshot');
  };
  check(
    Buffer.from('this is not a database, but long enough to have a header of SQLite, or so one might think at first.'),
    /not a database/,
  );
  {
    using empty = new Sqlite(join(folder, 'empty.db'), { mode: 'create' });
    empty.exec('CREATE TABLE t (a)');
  }
  check(readFileSync(join(folder, 'empty.db')), /not a replica/);
  const newer = Buffer.from(bytes);
  newer.writeUInt32BE(99, 60);
  check(newer, /format 99/);
  check(bytes.subarray(0, bytes.length - 40_960), /damaged|malformed/);
  const torn = Buffer.from(bytes);
  torn.fill(0xff, 8192 * 3, 8192 * 4);
  check(torn, /damaged|malformed/);
  expect(faultOf(() => validateSnapshot(join(folder, 'missing.db'), { thorough: false })).code).toBe('disk-failed');
});

test('a full disk is a fault, undoes the transaction, and leaves what was there readable', () => {
  const path = join(folder, 'full.db');
  using writer = ReplicaWriter.create(path, catalogueImage([ITEMS]), testPosition(1000n), {
    synchronous: 'off',
    fileBytesMax: 200_000,
  });
  const stream = new TestStream((message) => writer.apply(message));
  stream.relation(ITEMS);
  stream.transaction(() => stream.insert(ITEMS.oid, ['1', 'one', null]));
  const { lsn } = writer.flush();
  const fault = faultOf(() => {
    stream.begin();
    for (let id = 2; id < 10_000; id += 1) stream.insert(ITEMS.oid, [String(id), 'x'.repeat(1000), null]);
    stream.commit();
    writer.flush();
  });
  expect([fault.code, fault.sqlstate, fault.retryable]).toEqual(['disk-full', '53100', true]);
  expect(writer.position.lsn).toBe(lsn);
  expect(writer.rowCount(ITEMS.oid)).toBe(1);
  expect(checksum(path)).toStartWith('1 ');
  // With room again, the same writer goes on.
  stream.lsn = lsn;
  stream.transaction(() => stream.insert(ITEMS.oid, ['2', 'two', null]));
  writer.flush();
  expect(checksum(path)).toStartWith('2 ');
});

test('I3: whenever the writer is killed, rows and position in its file belong together', async () => {
  const path = join(folder, 'killed.db');
  ReplicaWriter.create(path, catalogueImage([ITEMS]), testPosition(1000n), { synchronous: 'normal' }).close();
  let last = 0;
  for (let round = 0; round < 5; round += 1) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, '../../test/replica-child.ts'), path], {
      stdout: 'pipe',
      stderr: 'inherit',
    });
    // It says a line for every hundred flushes; killing in between hits any step.
    let seen = 0;
    for await (const chunk of child.stdout) {
      seen += chunk.length;
      if (seen > 10 * (round + 1)) break;
    }
    child.kill('SIGKILL');
    await child.exited;
    using reader = new ReplicaReader(path);
    reader.snapshot((state) => {
      const transactions = (Number(state.position.lsn) - 1000) / 600;
      expect(Number.isInteger(transactions)).toBe(true);
      // Each transaction inserts three rows and deletes one.
      expect(reader.sqlite.value('SELECT count(*) FROM "public.items"')).toBe(transactions * 2);
      expect(reader.rowCounts().get(ITEMS.oid)).toBe(transactions * 2);
      expect(reader.sqlite.value('PRAGMA quick_check')).toBe('ok');
      expect(transactions).toBeGreaterThan(last);
      last = transactions;
    });
  }
}, 30_000);
