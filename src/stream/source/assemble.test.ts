import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeDisk } from '../../runtime/disk.ts';
import { eachFrame, FRAME_HEADER_BYTES, frameOf, logicalMessage } from '../frames.ts';
import { encodeRecord, decodeRecord, type LogRecord } from '../relay-log/record.ts';
import { Assembler } from './assemble.ts';

const root = mkdtempSync(join(tmpdir(), 'skerry-assemble-'));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;

interface Message {
  readonly tag: string;
  readonly body: readonly (number | string | bigint)[];
}

/** A message from numbers (u32), bigints (u64) and texts (bytes as they are). */
function message({ tag, body }: Message): Uint8Array {
  const parts: number[] = [tag.charCodeAt(0)];
  for (const part of body) {
    if (typeof part === 'string') parts.push(...Buffer.from(part));
    else if (typeof part === 'bigint')
      for (let shift = 56n; shift >= 0n; shift -= 8n) parts.push(Number((part >> shift) & 255n));
    else parts.push(part >>> 24, (part >>> 16) & 255, (part >>> 8) & 255, part & 255);
  }
  return Uint8Array.from(parts);
}
const begin = (finalLsn: bigint, xid = 1): Message => ({ tag: 'B', body: [finalLsn, 5n, xid] });
const commit = (commitLsn: bigint, endLsn: bigint): Message => ({ tag: 'C', body: ['\0', commitLsn, endLsn, 5n] });
const relation = (oid: number, shape: string): Message => ({ tag: 'R', body: [oid, shape] });
const insert = (oid: number, row: string): Message => ({ tag: 'I', body: [oid, 'N', row] });
const streamed = (xid: number, inner: Message): Message => ({ tag: inner.tag, body: [xid, ...inner.body] });
const streamStart = (xid: number): Message => ({ tag: 'S', body: [xid, '\x01'] });
const streamStop: Message = { tag: 'E', body: [] };
const streamCommit = (xid: number, commitLsn: bigint, endLsn: bigint): Message => ({
  tag: 'c',
  body: [xid, '\0', commitLsn, endLsn, 5n],
});
const streamAbort = (xid: number, subxid: number): Message => ({ tag: 'A', body: [xid, subxid] });

interface Result {
  readonly records: LogRecord[];
  readonly files: string[];
  readonly assembler: Assembler;
  feed(messages: readonly Message[]): Promise<void>;
}

function start(options: { position?: bigint; memory?: number; inject?: string } = {}): Result {
  count += 1;
  const spoolDirectory = join(root, String(count));
  const adopted = join(root, `${count}-adopted`);
  const records: LogRecord[] = [];
  const files: string[] = [];
  const memory = options.memory ?? 1_000_000;
  let made = false;
  const assembler = new Assembler(
    nodeDisk,
    { spoolDirectory, publication: 'mine', transactionBytesMax: memory, streamedBytesMax: memory },
    {
      record: (record) => records.push(record),
      async adoptBig(path, endLsn) {
        const target = `${adopted}-${endLsn}`;
        await nodeDisk.rename(path, target);
        files.push(target);
      },
      ...(options.inject === undefined
        ? {}
        : { relationChanged: async () => logicalMessage(true, 0n, options.inject as string, new Uint8Array(0)) }),
    },
    options.position ?? 0n,
  );
  return {
    records,
    files,
    assembler,
    async feed(messages) {
      if (!made) await nodeDisk.makeDirectory(spoolDirectory);
      made = true;
      for (const one of messages) {
        const frame = frameOf(message(one), 0x1111n, 0x2222n, 7n);
        await assembler.push(frame, FRAME_HEADER_BYTES, frame.length);
      }
    },
  };
}

/** Tags and texts of a record's messages. */
function content(bytes: Uint8Array): string {
  const parts: string[] = [];
  eachFrame(bytes, (one) => {
    const tag = String.fromCharCode(one[0] as number);
    parts.push(
      tag === 'I'
        ? `I${Buffer.from(one.subarray(6)).toString()}`
        : tag === 'R'
          ? `R${Buffer.from(one.subarray(5)).toString()}`
          : tag,
    );
  });
  return parts.join(' ');
}

test('a plain transaction comes out whole, with what it needs described', async () => {
  const all = start();
  await all.feed([
    begin(90n),
    relation(7, 'x'),
    insert(7, 'a'),
    commit(90n, 100n),
    begin(190n),
    insert(7, 'b'),
    commit(190n, 200n),
  ]);
  expect(all.records.map((record) => [record.kind, record.previousLsn, record.endLsn, record.changes])).toEqual([
    ['transaction', 0n, 100n, 1],
    ['transaction', 100n, 200n, 1],
  ]);
  const [first, second] = all.records as [LogRecord, LogRecord];
  expect(content(first.frames)).toBe('B Rx Ia C');
  expect(content(second.frames)).toBe('B Ib C');
  expect(first.relations.map((use) => [use.relation, content(use.frames)])).toEqual([[7, '']]);
  expect(second.relations.map((use) => [use.relation, content(use.frames)])).toEqual([[7, 'Rx']]);
  expect(second.relations[0]?.version).toBe(first.relations[0]?.version as number);
});

test('a description that is known already is not carried again', async () => {
  const all = start();
  await all.feed([
    begin(90n),
    relation(7, 'x'),
    commit(90n, 100n),
    begin(190n),
    relation(7, 'x'),
    insert(7, 'a'),
    commit(190n, 200n),
  ]);
  const second = all.records[1] as LogRecord;
  expect(content(second.frames)).toBe('B Ia C');
  expect(second.relations.map((use) => content(use.frames))).toEqual(['Rx']);
});

test('a relation described anew within a transaction is needed in both forms', async () => {
  const all = start();
  await all.feed([
    begin(90n),
    relation(7, 'x'),
    commit(90n, 100n),
    begin(190n),
    insert(7, 'a'),
    relation(7, 'y'),
    insert(7, 'b'),
    commit(190n, 200n),
  ]);
  const second = all.records[1] as LogRecord;
  expect(content(second.frames)).toBe('B Ia Ry Ib C');
  expect(second.relations.map((use) => content(use.frames))).toEqual(['Rx', '']);
  expect(new Set(second.relations.map((use) => use.version)).size).toBe(2);
});

test('what ended at or before the position is skipped, its descriptions are kept', async () => {
  const all = start({ position: 100n });
  await all.feed([
    begin(90n),
    relation(7, 'x'),
    insert(7, 'old'),
    commit(90n, 100n),
    begin(190n),
    insert(7, 'new'),
    commit(190n, 200n),
  ]);
  expect(all.records.map((record) => content(record.frames))).toEqual(['B Inew C']);
  expect(all.assembler.position).toBe(200n);
});

for (const memory of [1_000_000, 1]) {
  const kind = memory === 1 ? 'big' : 'transaction';
  const framesOf = (all: Result, record: LogRecord): string =>
    content(
      record.kind === 'big'
        ? readFileSync(all.files.find((file) => file.endsWith(`-${record.endLsn}`)) as string)
        : record.frames,
    );

  test(`interleaved streamed transactions come out in commit order, without what was rolled back (${kind})`, async () => {
    const all = start({ memory });
    await all.feed([
      streamStart(1),
      streamed(1, relation(7, 'x')),
      streamed(1, insert(7, 'a1')),
      streamed(11, insert(7, 'gone1')),
      streamStop,
      streamStart(2),
      streamed(2, relation(7, 'x')),
      streamed(2, insert(7, 'b1')),
      streamStop,
      streamAbort(1, 11),
      streamStart(1),
      streamed(1, insert(7, 'a2')),
      streamed(12, insert(7, 'gone2')),
      streamed(13, insert(7, 'a3')),
      streamStop,
      streamAbort(1, 12),
      streamCommit(2, 290n, 300n),
      streamCommit(1, 390n, 400n),
    ]);
    expect(all.records.map((record) => [record.kind, record.xid, record.endLsn, record.changes])).toEqual([
      [kind, 2, 300n, 1],
      [kind, 1, 400n, 3],
    ]);
    expect(all.records.map((record) => framesOf(all, record))).toEqual(['B Rx Ib1 C', 'B Rx Ia1 Ia2 Ia3 C']);
    for (const record of all.records)
      expect(decodeRecord(encodeRecord(record), 0)).toMatchObject({ record: { frameBytes: record.frameBytes } });
    expect(all.assembler.inProgress).toBe(0);
    expect(readdirSync(join(root, String(count)))).toEqual([]);
  });

  test(`a streamed transaction that is rolled back leaves nothing (${kind})`, async () => {
    const all = start({ memory });
    await all.feed([
      streamStart(1),
      streamed(1, relation(7, 'x')),
      streamed(1, insert(7, 'a')),
      streamStop,
      streamAbort(1, 1),
    ]);
    expect(all.records).toEqual([]);
    expect(readdirSync(join(root, String(count)))).toEqual([]);
  });

  test(`a description within a rolled-back part is kept: the upstream believes that we know it (${kind})`, async () => {
    const all = start({ memory });
    await all.feed([
      streamStart(1),
      streamed(11, relation(7, 'x')),
      streamed(11, insert(7, 'gone')),
      streamed(1, insert(7, 'a')),
      streamStop,
      streamAbort(1, 11),
      streamCommit(1, 90n, 100n),
    ]);
    expect(framesOf(all, all.records[0] as LogRecord)).toBe('B Rx Ia C');
  });

  test(`a plain transaction may be larger than memory, too (${kind})`, async () => {
    const all = start({ memory });
    await all.feed([
      begin(90n),
      relation(7, 'x'),
      ...Array.from({ length: 50 }, (_, index) => insert(7, String(index))),
      commit(90n, 100n),
    ]);
    const [record] = all.records as [LogRecord];
    expect(record.kind).toBe(kind);
    expect(framesOf(all, record)).toBe(`B Rx ${Array.from({ length: 50 }, (_, index) => `I${index}`).join(' ')} C`);
  });

  test(`a schema message that no trigger sent is put before the description (${kind})`, async () => {
    const all = start({ memory, inject: 'skerry.schema' });
    await all.feed([begin(90n), relation(7, 'x'), insert(7, 'a'), commit(90n, 100n)]);
    expect(framesOf(all, all.records[0] as LogRecord)).toBe('B M Rx Ia C');
    expect(all.records[0]?.hasMessages).toBe(true);
  });
}

test('a message outside a transaction has a position of its own, after the commit that ends where it begins', async () => {
  const all = start();
  await all.feed([
    begin(90n),
    relation(7, 'x'),
    insert(7, 'a'),
    commit(90n, 100n),
    { tag: 'M', body: ['\0', 100n, 'app\0', 2, 'hi'] },
  ]);
  expect(all.records.map((record) => [record.kind, record.endLsn])).toEqual([
    ['transaction', 100n],
    ['message', 101n],
  ]);
  await all.feed([{ tag: 'M', body: ['\0', 100n, 'app\0', 2, 'hi'] }]);
  expect(all.records.length).toBe(2);
});

test('an idle position moves by a mark, never backwards', () => {
  const all = start({ position: 50n });
  all.assembler.mark(40n);
  all.assembler.mark(60n);
  expect(all.records.map((record) => [record.kind, record.previousLsn, record.endLsn])).toEqual([['mark', 50n, 60n]]);
});

test('nonsense is refused', () => {
  const all = start();
  const push = (one: Message): unknown => {
    const frame = frameOf(message(one), 0n, 0n, 0n);
    return all.assembler.push(frame, FRAME_HEADER_BYTES, frame.length);
  };
  expect(() => push(insert(7, 'a'))).toThrow('outside a transaction');
  expect(() => push(commit(1n, 2n))).toThrow('outside a transaction');
  expect(() => push({ tag: '?', body: [] })).toThrow('message type');
  push(begin(90n));
  expect(() => push(begin(91n))).toThrow('inside a transaction');
  expect(() => push(insert(7, 'a'))).toThrow('never described');
});
