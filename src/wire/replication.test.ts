import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import * as frames from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { ByteWriter } from './bytes.ts';
import {
  decodeReplication,
  encodeReplication,
  parseNameList,
  parseReplicationCommand,
  postgresMicros,
  printReplicationCommand,
  type ReplicationCommand,
  type ReplicationMessage,
  wallMillis,
  XLOG_DATA_HEADER_BYTES,
  xlogDataStart,
} from './replication.ts';

const MESSAGES: [ReplicationMessage, Uint8Array][] = [
  [
    { tag: 'xlogData', start: 1n, end: 0xffff_ffff_ffff_ffffn, sentAt: -5n, payload: Buffer.from('payload') },
    frames.xlogData(1n, 0xffff_ffff_ffff_ffffn, -5n, 'payload'),
  ],
  [{ tag: 'keepalive', end: 0x16_b374_d848n, sentAt: 7n, replyNow: true }, frames.keepalive(0x16_b374_d848n, 7n, true)],
  [
    { tag: 'standbyStatus', written: 3n, flushed: 2n, applied: 1n, sentAt: 9n, replyNow: false },
    frames.standbyStatus(3n, 2n, 1n, 9n, false),
  ],
  [
    { tag: 'hotStandbyFeedback', sentAt: 1n, xmin: 4_000_000_000, xminEpoch: 1, catalogXmin: 2, catalogXminEpoch: 3 },
    frames.copyData(
      frames.join('h', frames.i64(1n), frames.i32(4_000_000_000), frames.i32(1), frames.i32(2), frames.i32(3)),
    ),
  ],
];

describe('messages of a replication stream', () => {
  test('are read and written as an independent builder does', () => {
    for (const [message, bytes] of MESSAGES) {
      expect(decodeReplication(Buffer.from(bytes), 5, bytes.length)).toEqual(message);
      const writer = new ByteWriter();
      encodeReplication(writer, message);
      expect(writer.take().toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    }
  });

  test('cut short or unknown are refused', () => {
    for (const [, bytes] of MESSAGES) {
      const last = bytes[5] === 0x77 ? 5 + XLOG_DATA_HEADER_BYTES : bytes.length;
      for (let end = 5; end < last; end += 1) {
        expect(() => decodeReplication(Buffer.from(bytes), 5, end)).toThrow(Fault);
      }
    }
    expect(() => decodeReplication(Buffer.from('x'), 0, 1)).toThrow(Fault);
  });

  test('let the payload be found in place', () => {
    const bytes = Buffer.from(frames.xlogData(0x1234n, 2n, 3n, 'payload'));
    expect(xlogDataStart(bytes, 5)).toBe(0x1234n);
    expect(bytes.toString('utf8', 5 + XLOG_DATA_HEADER_BYTES)).toBe('payload');
  });

  test('count time from the year 2000', () => {
    expect(postgresMicros(Date.UTC(2000, 0, 1))).toBe(0n);
    expect(wallMillis(postgresMicros(Date.UTC(2026, 5, 1, 12)))).toBe(Date.UTC(2026, 5, 1, 12));
  });
});

const options = (entries: Record<string, string | null> = {}): Map<string, string | null> =>
  new Map(Object.entries(entries));

/** Commands as real programs send them. */
const COMMANDS: [string, ReplicationCommand][] = [
  ['IDENTIFY_SYSTEM', { tag: 'identifySystem' }],
  [' identify_system ; ', { tag: 'identifySystem' }],
  ['SHOW wal_segment_size', { tag: 'show', name: 'wal_segment_size' }],
  ['SHOW pg_stat_statements.max', { tag: 'show', name: 'pg_stat_statements.max' }],
  ['TIMELINE_HISTORY 2', { tag: 'timelineHistory', timeline: 2 }],
  ['READ_REPLICATION_SLOT "s"', { tag: 'readReplicationSlot', slot: 's' }],
  // pg_recvlogical 15 and 18
  [
    'START_REPLICATION SLOT "edge" LOGICAL 0/16B3748 ("proto_version" \'1\', "publication_names" \'skerry\')',
    {
      tag: 'startLogical',
      slot: 'edge',
      lsn: 0x16b3748n,
      options: options({ proto_version: '1', publication_names: 'skerry' }),
    },
  ],
  [
    'CREATE_REPLICATION_SLOT "edge" LOGICAL "pgoutput" (SNAPSHOT \'nothing\')',
    {
      tag: 'createSlot',
      slot: 'edge',
      temporary: false,
      plugin: 'pgoutput',
      options: options({ snapshot: 'nothing' }),
    },
  ],
  [
    'CREATE_REPLICATION_SLOT "edge" LOGICAL "pgoutput" (FAILOVER, TWO_PHASE, SNAPSHOT \'nothing\')',
    {
      tag: 'createSlot',
      slot: 'edge',
      temporary: false,
      plugin: 'pgoutput',
      options: options({ failover: null, two_phase: null, snapshot: 'nothing' }),
    },
  ],
  ['DROP_REPLICATION_SLOT "edge"', { tag: 'dropSlot', slot: 'edge', wait: false }],
  // The apply worker of a subscription, 15 and 18
  [
    'START_REPLICATION SLOT "sub" LOGICAL 0/0 (proto_version \'3\', publication_names \'"skerry"\')',
    {
      tag: 'startLogical',
      slot: 'sub',
      lsn: 0n,
      options: options({ proto_version: '3', publication_names: '"skerry"' }),
    },
  ],
  [
    'START_REPLICATION SLOT "sub" LOGICAL 16/B374D848 (proto_version \'4\', streaming \'parallel\', origin \'any\', publication_names \'"a","b ""c"""\')',
    {
      tag: 'startLogical',
      slot: 'sub',
      lsn: 0x16_b374_d848n,
      options: options({
        proto_version: '4',
        streaming: 'parallel',
        origin: 'any',
        publication_names: '"a","b ""c"""',
      }),
    },
  ],
  [
    'CREATE_REPLICATION_SLOT "pg_16395_sync_16389_1" TEMPORARY LOGICAL pgoutput USE_SNAPSHOT',
    {
      tag: 'createSlot',
      slot: 'pg_16395_sync_16389_1',
      temporary: true,
      plugin: 'pgoutput',
      options: options({ snapshot: 'use' }),
    },
  ],
  ['DROP_REPLICATION_SLOT sub WAIT', { tag: 'dropSlot', slot: 'sub', wait: true }],
  [
    'ALTER_REPLICATION_SLOT sub ( FAILOVER true, TWO_PHASE false )',
    { tag: 'alterSlot', slot: 'sub', options: options({ failover: 'true', two_phase: 'false' }) },
  ],
  // walreceiver, pg_receivewal, pg_basebackup
  [
    'START_REPLICATION SLOT "r" 0/3000000 TIMELINE 1',
    { tag: 'startPhysical', slot: 'r', lsn: 0x3000000n, timeline: 1 },
  ],
  ['START_REPLICATION 0/3000000 TIMELINE 4', { tag: 'startPhysical', slot: null, lsn: 0x3000000n, timeline: 4 }],
  ['START_REPLICATION PHYSICAL 0/1', { tag: 'startPhysical', slot: null, lsn: 1n, timeline: null }],
  [
    'CREATE_REPLICATION_SLOT "r" TEMPORARY PHYSICAL RESERVE_WAL',
    { tag: 'createSlot', slot: 'r', temporary: true, plugin: null, options: options({ reserve_wal: null }) },
  ],
  [
    "BASE_BACKUP ( LABEL 'pg_basebackup ''base''', PROGRESS, CHECKPOINT 'fast', MAX_RATE 32768 )",
    {
      tag: 'baseBackup',
      options: options({ label: "pg_basebackup 'base'", progress: null, checkpoint: 'fast', max_rate: '32768' }),
    },
  ],
  ['UPLOAD_MANIFEST', { tag: 'uploadManifest' }],
];

describe('replication commands', () => {
  test('INVARIANT_I9: are understood as stock clients send them', () => {
    for (const [text, command] of COMMANDS) expect([text, parseReplicationCommand(text)]).toEqual([text, command]);
  });

  test('are understood again when we print them', () => {
    for (const [, command] of COMMANDS)
      expect(parseReplicationCommand(printReplicationCommand(command))).toEqual(command);
  });

  test('with any names and values survive the way out and back', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    check(
      [name, fc.dictionary(name, fc.option(fc.string({ unit: 'grapheme' }))), fc.bigInt(0n, 2n ** 64n - 1n)],
      (slot, entries, lsn) => {
        const command: ReplicationCommand = {
          tag: 'startLogical',
          slot,
          lsn,
          options: new Map(Object.entries(entries)),
        };
        expect(parseReplicationCommand(printReplicationCommand(command))).toEqual(command);
      },
    );
  });

  test('SQL is not one of them', () => {
    for (const sql of [
      'select 1',
      'begin',
      "SELECT pg_catalog.set_config('search_path', '', false);",
      '',
      '  ',
      '--x',
      '"SHOW"',
    ]) {
      expect(parseReplicationCommand(sql)).toBeNull();
    }
  });

  test('with wrong syntax name the place', () => {
    const cases = [
      ['START_REPLICATION SLOT s LOGICAL', 'at end of input'],
      ['START_REPLICATION SLOT s LOGICAL 0/x', 'at or near "/x"'],
      ['START_REPLICATION LOGICAL 0/0', 'at or near "0/0"'],
      ['START_REPLICATION SLOT s LOGICAL 0/0 (a', 'at end of input'],
      ["START_REPLICATION SLOT s LOGICAL 0/0 (a 'b)", 'at or near "\'b)"'],
      ['CREATE_REPLICATION_SLOT s', 'at end of input'],
      ['CREATE_REPLICATION_SLOT s LOGICAL p NONSENSE', 'at or near "NONSENSE"'],
      ['IDENTIFY_SYSTEM x', 'at or near "x"'],
      ['SHOW', 'at end of input'],
    ] as const;
    for (const [text, where] of cases) {
      let message = '';
      try {
        parseReplicationCommand(text);
      } catch (error) {
        message = error instanceof Fault && error.sqlstate === '42601' ? error.message : String(error);
      }
      expect([text, message]).toEqual([text, `syntax error in replication command ${where}`]);
    }
  });

  test('of garbage never get past a Fault', () => {
    check([fc.string({ unit: 'grapheme', maxLength: 60 })], (rest) => {
      for (const word of ['START_REPLICATION', 'CREATE_REPLICATION_SLOT', 'BASE_BACKUP']) {
        try {
          parseReplicationCommand(`${word} ${rest}`);
        } catch (error) {
          expect(error).toBeInstanceOf(Fault);
        }
      }
    });
  });
});

test('lists of publication names are split as Postgres does', () => {
  expect(parseNameList('skerry')).toEqual(['skerry']);
  expect(parseNameList(' A , "B c" ,"d""e"')).toEqual(['a', 'B c', 'd"e']);
  for (const bad of ['', 'a,', 'a b', '"a', ',']) expect(() => parseNameList(bad)).toThrow(Fault);
});
