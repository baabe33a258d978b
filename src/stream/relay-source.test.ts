// What is acknowledged, and when a position between transactions is passed on.

import { expect, test } from 'bun:test';
import type { Clock } from '../base/clock.ts';
import { SILENT_LOG } from '../observe/log.ts';
import type { Lsn } from '../pg/lsn.ts';
import { createClock } from '../runtime/clock.ts';
import { nodeDisk } from '../runtime/disk.ts';
import { beginMessage, commitMessage, FRAME_HEADER_BYTES, frameOf } from './frames.ts';
import type { LogRecord } from './relay-log/record.ts';
import { durablePosition, type FeederHub, HubFeeder } from './relay-source.ts';

test('INVARIANT_I5: the upstream may forget only what every required copy has made durable', () => {
  expect(durablePosition([{ durableLsn: 30n }])).toBe(30n);
  expect(durablePosition([{ durableLsn: 30n }, { durableLsn: 10n }, { durableLsn: 20n }])).toBe(10n);
  expect(durablePosition([])).toBe(0n);
});

/** A feeder, the records it gave to its hub, and its clock's only task. */
function start() {
  const records: LogRecord[] = [];
  let task: (() => void) | null = null;
  const clock: Clock = {
    ...createClock(),
    after(_ms, then) {
      task = then;
      return { [Symbol.dispose]() {} };
    },
  };
  const hub: FeederHub = {
    get endLsn(): Lsn {
      return records.at(-1)?.endLsn ?? 0n;
    },
    record: (record) => records.push(record) > 0,
    flush: () => {},
    log: { adoptBig: async () => {}, durableLsn: 0n, roomy: true, onRoom: () => {} },
  };
  const feeder = new HubFeeder({ disk: nodeDisk, clock, log: SILENT_LOG }, hub, {
    spoolDirectory: '/nowhere',
    publication: 'skerry',
  });
  const message = (body: Uint8Array): void => {
    const frame = Buffer.from(frameOf(body, 1n, 1n, 1n));
    void feeder.message(frame, FRAME_HEADER_BYTES, frame.length);
  };
  return {
    feeder,
    /** What came so far: commits by their position, marks with an m before. */
    told: () => records.map(({ kind, endLsn }) => `${kind === 'mark' ? 'm' : ''}${endLsn}`).join(' '),
    begin: (endLsn: Lsn) => message(beginMessage(endLsn - 1n, 0n, 1)),
    commit: (endLsn: Lsn): void => {
      message(beginMessage(endLsn - 1n, 0n, 1));
      message(commitMessage(endLsn - 1n, endLsn, 0n));
    },
    /** Lets the time of marks pass. False when nobody waited for it. */
    pass: (): boolean => {
      const now = task;
      task = null;
      now?.();
      return now !== null;
    },
  };
}

test('an idle stream’s position is passed on at once, then at most once in a while', () => {
  const { feeder, told, pass } = start();
  feeder.keepalive(10n, true);
  expect(told()).toBe('m10');
  feeder.keepalive(20n, true);
  feeder.keepalive(30n, true);
  expect(told()).toBe('m10');
  pass();
  expect(told()).toBe('m10 m30');
  feeder.keepalive(40n, true);
  expect(told()).toBe('m10 m30 m40');
});

test('while transactions come, the positions between them are not passed on at all', () => {
  const { feeder, told, commit, pass } = start();
  commit(10n);
  feeder.keepalive(11n, true);
  commit(20n);
  feeder.keepalive(21n, true);
  expect(told()).toBe('10 20');
  pass();
  commit(30n);
  feeder.keepalive(31n, true);
  pass();
  commit(40n);
  expect(told()).toBe('10 20 30 40');
  // None is behind the last commit: nobody waits.
  pass();
  expect(pass()).toBe(false);
});

test('behind the last transaction the position is passed on after a while', () => {
  const { feeder, told, commit, pass } = start();
  commit(10n);
  feeder.keepalive(11n, true);
  feeder.keepalive(12n, true);
  expect(told()).toBe('10');
  pass();
  expect(told()).toBe('10 m12');
  // From here on it is idle again.
  feeder.keepalive(20n, true);
  expect(told()).toBe('10 m12 m20');
});

test('no position is passed on inside a transaction', () => {
  const { feeder, told, commit, begin, pass } = start();
  commit(10n);
  feeder.keepalive(11n, true);
  begin(20n);
  pass();
  feeder.keepalive(15n, true);
  pass();
  expect(told()).toBe('10');
});
