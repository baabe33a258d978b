import { afterAll, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { Disk } from '../../base/disk.ts';
import { Fault } from '../../base/fault.ts';
import { SILENT_LOG } from '../../observe/log.ts';
import { nodeDisk } from '../../runtime/disk.ts';
import { beginMessage, commitMessage, concat, frameOf } from '../frames.ts';
import { type LogOrigin, RelayLog, type RelayLogOptions } from './log.ts';
import { type LogRecord, markRecord, encodeRecord, decodeRecord } from './record.ts';

// Hundreds of files are synced: a slow disk takes its time.
setDefaultTimeout(60_000);

const root = mkdtempSync(join(tmpdir(), 'skerry-log-'));
afterAll(() => rmSync(root, { recursive: true }));
let directories = 0;
const freshDirectory = (): string => join(root, String((directories += 1)));

const clock: Clock = {
  now: () => 0,
  wall: () => 0,
  sleep: () => Bun.sleep(1),
  after: () => ({ [Symbol.dispose]: () => {} }),
  soon: (task) => setTimeout(task, 0),
};
const deps = { disk: nodeDisk, clock, log: SILENT_LOG };
const origin: LogOrigin = { epoch: { systemId: '7', timeline: 1 }, startLsn: 100n, timelineHistory: '' };
const optionsFor = (directory: string, more: Partial<RelayLogOptions> = {}): RelayLogOptions => ({
  directory,
  segmentBytesMax: 1000,
  queueBytesMax: 1_000_000,
  retention: { bytesMin: 0, bytesMax: 1_000_000 },
  ...more,
});

function transaction(previousLsn: bigint, endLsn: bigint): LogRecord {
  const frames = concat([
    frameOf(beginMessage(endLsn - 8n, 5n, 42), endLsn, endLsn, 1n),
    frameOf(new Uint8Array(Number(endLsn % 37n)).fill(0x49), endLsn, endLsn, 1n),
    frameOf(commitMessage(endLsn - 8n, endLsn, 5n), endLsn, endLsn, 1n),
  ]);
  return {
    kind: 'transaction',
    beginLsn: endLsn - 8n,
    endLsn,
    previousLsn,
    commitMicros: 5n,
    xid: 42,
    changes: 1,
    hasMessages: false,
    onlyMessages: false,
    relations: [{ relation: 9, version: 3, frames: new Uint8Array([1, 2, 3]) }],
    frames,
    frameBytes: frames.length,
  };
}

/** Appends records ending at `ends` and waits until they are durable. */
async function fill(log: RelayLog, ends: readonly bigint[]): Promise<void> {
  const stop = new AbortController();
  const running = log.run(stop.signal);
  for (const end of ends) {
    log.append(transaction(log.endLsn, end));
    while (log.durableLsn !== end) await Bun.sleep(0);
  }
  stop.abort();
  await running;
}

async function readAll(log: RelayLog, from: bigint): Promise<bigint[]> {
  const reader = log.reader(from);
  const found: bigint[] = [];
  for (;;) {
    const records = await reader.next();
    if (records.length === 0) break;
    for (const record of records) found.push(record.endLsn);
  }
  await reader.close();
  return found;
}

const ENDS = Array.from({ length: 30 }, (_, index) => 200n + BigInt(index) * 64n);

test('a record comes back from its bytes as it went in, and any flipped bit is noticed', () => {
  const record = transaction(100n, 264n);
  const bytes = encodeRecord(record);
  const decoded = decodeRecord(bytes, 0);
  expect(decoded).toEqual({ tag: 'record', record, bytes: bytes.length });
  for (let at = 0; at < bytes.length; at += 1) {
    const rotten = bytes.slice();
    rotten[at] = (rotten[at] as number) ^ 1;
    // A flipped length asks for more bytes, which a file does not have: its tail is cut as well.
    expect(decodeRecord(rotten, 0).tag).not.toBe('record');
    expect(decodeRecord(bytes.subarray(0, at), 0).tag).toBe('short');
  }
});

test('what is durable is read back after a restart, across segments, from any position', async () => {
  const options = optionsFor(freshDirectory());
  await fill(await RelayLog.create(deps, options, origin), ENDS);
  const log = (await RelayLog.open(deps, options)) as RelayLog;
  expect(readdirSync(options.directory).filter((name) => name.endsWith('.log')).length).toBeGreaterThan(3);
  expect(log.durableLsn).toBe(ENDS.at(-1) as bigint);
  expect(await readAll(log, 100n)).toEqual(ENDS);
  for (const [index, end] of ENDS.entries()) {
    expect(await readAll(log, end)).toEqual(ENDS.slice(index + 1));
    expect(await readAll(log, end + 1n)).toEqual(ENDS.slice(index + 1));
  }
  await log.close();
});

test('a crash at every byte of the last segment leaves whole records, in order, and the log goes on', async () => {
  const source = optionsFor(freshDirectory(), { segmentBytesMax: 1_000_000 });
  await fill(await RelayLog.create(deps, source, origin), ENDS.slice(0, 3));
  const name = readdirSync(source.directory).find((file) => file.endsWith('.log')) as string;
  const whole = readFileSync(join(source.directory, name));
  const path = join(source.directory, name);
  const sizes: number[] = [];
  for (let at = 0; at < whole.length; ) {
    const decoded = decodeRecord(whole, at);
    if (decoded.tag !== 'record') throw new Error('cannot happen');
    at += decoded.bytes;
    sizes.push(at);
  }
  for (let cut = 0; cut <= whole.length; cut += 1) {
    writeFileSync(path, whole.subarray(0, cut));
    const log = (await RelayLog.open(deps, source)) as RelayLog;
    const survived = sizes.filter((size) => size <= cut).length;
    expect(log.durableLsn).toBe(survived === 0 ? 100n : (ENDS[survived - 1] as bigint));
    expect(statSync(path).size).toBe(survived === 0 ? 0 : (sizes[survived - 1] as number));
    await log.close();
  }
  const log = (await RelayLog.open(deps, source)) as RelayLog;
  await fill(log, [5000n]);
  const again = (await RelayLog.open(deps, source)) as RelayLog;
  expect(await readAll(again, 100n)).toEqual([...ENDS.slice(0, 3), 5000n]);
  await again.close();
});

test('a position older than the log is refused, also while reading', async () => {
  const options = optionsFor(freshDirectory(), { retention: { bytesMin: 0, bytesMax: 1500 } });
  await fill(await RelayLog.create(deps, options, origin), ENDS);
  const log = (await RelayLog.open(deps, options)) as RelayLog;
  expect(() => log.reader(99n)).toThrow('no longer in the relay');
  const slow = log.reader(100n);
  const sentence = await log.retain({ replica: ENDS.at(-1) as bigint, subscribers: 100n });
  expect(String(sentence)).toContain('will need a snapshot');
  expect(log.startLsn > 100n).toBe(true);
  expect(await slow.next().catch(String)).toContain('no longer in the relay');
  const reopened = (await RelayLog.open(deps, options)) as RelayLog;
  expect(reopened.startLsn).toBe(log.startLsn);
  await reopened.close();
  await log.close();
});

test('nothing that the own replica still needs goes, however large the log is', async () => {
  const options = optionsFor(freshDirectory(), { retention: { bytesMin: 0, bytesMax: 1 } });
  await fill(await RelayLog.create(deps, options, origin), ENDS);
  const log = (await RelayLog.open(deps, options)) as RelayLog;
  expect(await log.retain({ replica: 100n, subscribers: null })).toBeNull();
  expect(await readAll(log, 100n)).toEqual(ENDS);
  await log.close();
});

test('a mark moves the position without a transaction and survives', async () => {
  const options = optionsFor(freshDirectory());
  const log = await RelayLog.create(deps, options, origin);
  const stop = new AbortController();
  const running = log.run(stop.signal);
  log.append(markRecord(100n, 777n));
  stop.abort();
  await running;
  const again = (await RelayLog.open(deps, options)) as RelayLog;
  expect(again.durableLsn).toBe(777n);
  await again.close();
});

test('a full disk stops durability, not the process, and is over by itself', async () => {
  let full = true;
  const disk: Disk = {
    ...nodeDisk,
    async open(path, mode) {
      const file = await nodeDisk.open(path, mode);
      const write = file.write.bind(file);
      file.write = async (bytes, offset) => {
        if (full && path.endsWith('.log')) {
          await write(bytes.subarray(0, bytes.length >> 1), offset);
          throw new Fault('disk-full', { message: 'no space left', retryable: true });
        }
        await write(bytes, offset);
      };
      return file;
    },
  };
  const options = optionsFor(freshDirectory());
  const log = await RelayLog.create({ ...deps, disk }, options, origin);
  const stop = new AbortController();
  const running = log.run(stop.signal);
  log.append(transaction(100n, 200n));
  while (!log.diskFull) await Bun.sleep(1);
  log.append(transaction(200n, 300n));
  expect(log.durableLsn).toBe(100n);
  full = false;
  while (log.durableLsn !== 300n) await Bun.sleep(1);
  expect(String(log.diskFull)).toBe('false');
  expect(await readAll(log, 100n)).toEqual([200n, 300n]);
  stop.abort();
  await running;
});
