// Any number of subscribers, each with its own pace: every one gets everything it asked for, once, in order, described.

import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SILENT_LOG } from '../observe/log.ts';
import { Counter } from '../observe/metrics.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { beginMessage, commitMessage, concat, eachFrame, frameBytesAt, frameOf, logicalMessage } from './frames.ts';
import { Hub } from './hub.ts';
import { RelayLog } from './relay-log/log.ts';
import { EMPTY, type LogRecord, markRecord, type RelationUse } from './relay-log/record.ts';
import { type Outlet, Subscription } from './subscription.ts';

const root = mkdtempSync(join(tmpdir(), 'skerry-hub-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Deterministic numbers: a failure comes again with its seed. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A connection that takes what it is given, when it likes. */
class SlowOutlet implements Outlet {
  readonly received: Uint8Array[] = [];
  readonly keepalives: bigint[] = [];
  failed: unknown = null;
  queuedBytes = 0;
  subscription: Subscription | null = null;
  stalled = false;

  write(bytes: Uint8Array): boolean {
    // A copy: memory may be used again as soon as the queue is empty.
    this.received.push(bytes.slice());
    if (this.stalled) this.queuedBytes += bytes.length;
    return !this.stalled;
  }
  keepalive(lsn: bigint): void {
    this.keepalives.push(lsn);
  }
  silentMs(): number {
    return 0;
  }
  fail(error: unknown): void {
    this.failed = error;
  }
  drain(): void {
    this.stalled = false;
    this.queuedBytes = 0;
    this.subscription?.drained();
  }
}

interface World {
  readonly log: RelayLog;
  readonly hub: Hub;
  stop(): Promise<void>;
}

/** Seed 4 found that a reader was used again after the ring had helped. */
const SEEDS = [1, 2, 3, 4, 5, 6];

let worlds = 0;
async function world(ringBytesMax: number): Promise<World> {
  worlds += 1;
  const log = await RelayLog.create(
    { disk: nodeDisk, clock: createClock(), log: SILENT_LOG },
    {
      directory: join(root, String(worlds)),
      segmentBytesMax: 20_000,
      queueBytesMax: 1e9,
      retention: { bytesMin: 1e9, bytesMax: 1e9 },
    },
    { epoch: { systemId: '1', timeline: 1 }, startLsn: 0n, timelineHistory: '' },
  );
  const stopping = new AbortController();
  const running = log.run(stopping.signal);
  const hub = new Hub(log, { ringBytesMax }, new Counter());
  log.onDurable = () => hub.flush();
  return {
    log,
    hub,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

const text = new TextEncoder();
const describe = (relation: number, version: number): Uint8Array =>
  frameOf(text.encode(`R${relation}v${version}`), 1n, 1n, 1n);

/** Record number `index`, of a kind chosen by chance; relations change their shape now and then. */
function makeRecord(next: (below: number) => number, index: number, log: RelayLog, versions: number[]): LogRecord {
  const previousLsn = log.endLsn;
  const endLsn = previousLsn + 10n;
  const chance = next(20);
  if (chance === 0) return markRecord(previousLsn, endLsn);
  const relation = 1 + next(3);
  const parts: Uint8Array[] = [frameOf(beginMessage(endLsn - 1n, 0n, index), 1n, 1n, 1n)];
  const relations: RelationUse[] = [];
  const onlyMessages = chance === 1;
  if (chance === 2 || versions[relation] === undefined) {
    versions[relation] = (versions[relation] ?? 0) + 1;
    parts.push(describe(relation, versions[relation] as number));
    relations.push({ relation, version: versions[relation] as number, frames: EMPTY });
  } else if (!onlyMessages) {
    const version = versions[relation] as number;
    relations.push({ relation, version, frames: describe(relation, version) });
  }
  if (!onlyMessages)
    parts.push(frameOf(text.encode(`I${relation}v${versions[relation]}#${index}${'x'.repeat(next(300))}`), 1n, 1n, 1n));
  const hasMessages = onlyMessages || chance === 3;
  if (hasMessages) parts.push(frameOf(logicalMessage(true, 1n, `m${index}`, EMPTY), 1n, 1n, 1n));
  parts.push(frameOf(commitMessage(endLsn - 1n, endLsn, 0n), 1n, 1n, 1n));
  const frames = concat(parts);
  const isBig = chance === 4;
  if (isBig) writeFileSync(log.bigPath(endLsn), frames);
  return {
    kind: isBig ? 'big' : 'transaction',
    beginLsn: endLsn - 1n,
    endLsn,
    previousLsn,
    commitMicros: 0n,
    xid: index,
    changes: onlyMessages ? 0 : 1,
    hasMessages,
    onlyMessages,
    relations,
    frames: isBig ? EMPTY : frames,
    frameBytes: frames.length,
  };
}

/** What a receiver sees: changes with the version it was told last, messages, commits. Throws when something is not described. */
function read(outlet: SlowOutlet): string[] {
  const bytes = concat(outlet.received.length === 0 ? [EMPTY] : outlet.received);
  const told = new Map<string, string>();
  const seen: string[] = [];
  let depth = 0;
  eachFrame(bytes, (message) => {
    const content = new TextDecoder().decode(message);
    const tag = content[0] as string;
    if (tag === 'B') depth += 1;
    if (tag === 'C') depth -= 1;
    expect(depth === 0 || depth === 1).toBe(true);
    if (tag === 'R') told.set(content[1] as string, content.slice(2));
    if (tag === 'I') {
      const [, relation, version, index] = /^I(\d)(v\d+)#(\d+)/.exec(content) as RegExpExecArray;
      expect(told.get(relation as string)).toBe(version as string);
      seen.push(`I${index}`);
    }
    if (tag === 'M') seen.push(`M${/m(\d+)/.exec(content)?.[1]}`);
  });
  let length = 0;
  while (length < bytes.length) length += frameBytesAt(bytes, length);
  expect(length).toBe(bytes.length);
  expect(depth).toBe(0);
  return seen;
}

for (const [name, ringBytesMax] of [
  ['large', 1e9],
  ['small', 20_000],
] as const) {
  for (const seed of SEEDS) {
    test(`INVARIANT_I3: everybody gets everything once, in order and described, at any pace (${name} ring, seed ${seed})`, async () => {
      const next = random(seed);
      const all = await world(ringBytesMax);
      const outlets: { outlet: SlowOutlet; messages: boolean; from: bigint }[] = [];
      const records: LogRecord[] = [];
      const versions: number[] = [];
      const attach = (messages: boolean): void => {
        const outlet = new SlowOutlet();
        // Anywhere up to what is written: behind the ring, within it, or at its end.
        const from = BigInt(next(Number(all.log.writtenLsn / 10n) + 1)) * 10n;
        outlet.subscription = new Subscription(all.hub, nodeDisk, outlet, {
          name: String(outlets.length),
          remoteAddress: '',
          identity: 'peer',
          placement: null,
          from,
          messages,
        });
        outlets.push({ outlet, messages, from });
        outlet.subscription.start();
      };
      for (let index = 1; index <= 400; index += 1) {
        const record = makeRecord(next, index, all.log, versions);
        records.push(record);
        all.hub.record(record);
        if (next(3) === 0) all.hub.flush();
        if (next(25) === 0) attach(next(2) === 0);
        for (const { outlet } of outlets) {
          const chance = next(12);
          if (chance === 0) {
            outlet.stalled = true;
            // More than a subscription lets wait.
            outlet.queuedBytes += 1_000_000;
          } else if (chance === 1) outlet.drain();
        }
        if (next(10) === 0) await Bun.sleep(1);
      }
      all.hub.flush();
      const deadline = performance.now() + 10_000;
      for (const { outlet } of outlets) {
        while (outlet.subscription?.sentLsn !== all.hub.endLsn && performance.now() < deadline) {
          outlet.drain();
          await Bun.sleep(1);
        }
        expect(outlet.failed).toBeNull();
      }
      for (const { outlet, messages, from } of outlets) {
        const wanted = records
          .filter((record) => record.endLsn > from && record.kind !== 'mark')
          .flatMap((record) => [
            ...(record.onlyMessages ? [] : [`I${record.xid}`]),
            ...(record.hasMessages && messages ? [`M${record.xid}`] : []),
          ]);
        expect(read(outlet)).toEqual(wanted);
        expect(outlet.keepalives.every((lsn) => lsn <= all.hub.endLsn)).toBe(true);
      }
      expect(outlets.length).toBeGreaterThan(5);
      for (const { outlet } of outlets) outlet.subscription?.close();
      await all.stop();
    });
  }
}

test('many subscribers that keep up share the bytes of each batch', async () => {
  const all = await world(1e9);
  const writes = new Map<Uint8Array, number>();
  const outlets = Array.from({ length: 200 }, (_, index) => {
    const outlet = new SlowOutlet();
    outlet.write = (bytes) => {
      writes.set(bytes, (writes.get(bytes) ?? 0) + 1);
      return true;
    };
    new Subscription(all.hub, nodeDisk, outlet, {
      name: String(index),
      remoteAddress: '',
      identity: 'peer',
      placement: null,
      from: 0n,
      messages: true,
    }).start();
    return outlet;
  });
  const next = random(9);
  const versions: number[] = [];
  let transactions = 0;
  for (let index = 1; index <= 50; index += 1) {
    let record = makeRecord(next, index, all.log, versions);
    while (record.kind !== 'transaction') record = makeRecord(next, index, all.log, versions);
    all.hub.record(record);
    transactions += 1;
    all.hub.flush();
  }
  expect(all.hub.encoded.value).toBe(transactions);
  // Where a description was due each got its own copy; everywhere else one buffer went to all.
  expect([...writes.values()].filter((count) => count === outlets.length).length).toBeGreaterThan(30);
  await all.stop();
});
