import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import * as frames from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { ByteWriter } from './bytes.ts';
import {
  decodeStartup,
  encodeStartup,
  negotiate,
  parseStartupOptions,
  PROTOCOL_3_0,
  PROTOCOL_3_2,
  type StartupPacket,
} from './startup.ts';

const decode = (packet: Uint8Array): StartupPacket => decodeStartup(Buffer.from(packet), 4, packet.length);

const codeOf = (packet: Uint8Array): string => {
  try {
    decode(packet);
    return 'no fault';
  } catch (error) {
    return error instanceof Fault ? error.code : `not a fault: ${String(error)}`;
  }
};

const CASES: [StartupPacket, Uint8Array][] = [
  [{ tag: 'sslRequest' }, frames.sslRequest()],
  [{ tag: 'gssencRequest' }, frames.gssencRequest()],
  [
    { tag: 'cancelRequest', processId: 5, secretKey: Buffer.from('four') },
    frames.cancelRequest(5, Buffer.from('four')),
  ],
  [
    { tag: 'cancelRequest', processId: -1, secretKey: Buffer.alloc(256, 7) },
    frames.cancelRequest(-1, Buffer.alloc(256, 7)),
  ],
  [
    {
      tag: 'startup',
      protocolVersion: PROTOCOL_3_0,
      parameters: new Map([
        ['user', 'ü'],
        ['database', ''],
      ]),
    },
    frames.startup({ user: 'ü', database: '' }),
  ],
  [
    { tag: 'startup', protocolVersion: PROTOCOL_3_2, parameters: new Map([['user', 'a']]) },
    frames.startup({ user: 'a' }, 3, 2),
  ],
];

describe('packets that open a connection', () => {
  test('are read and written as an independent builder does', () => {
    for (const [packet, bytes] of CASES) {
      expect(decode(bytes)).toEqual(packet);
      const writer = new ByteWriter();
      encodeStartup(writer, packet);
      expect(writer.take().toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    }
  });

  test('with wrong lengths or layout are malformed', () => {
    const cases = [
      frames.packet(),
      frames.packet([0, 0, 0]),
      frames.cancelRequest(1, Buffer.from('abc')),
      frames.cancelRequest(1, Buffer.alloc(257)),
      frames.packet(frames.i16(1234), frames.i16(5679), [0]),
      frames.packet(frames.i32(PROTOCOL_3_0)),
      frames.packet(frames.i32(PROTOCOL_3_0), frames.z('user')),
      frames.packet(frames.i32(PROTOCOL_3_0), frames.z('user'), frames.z('a')),
      frames.packet(frames.i32(PROTOCOL_3_0), frames.z('user'), frames.z('a'), [0, 0]),
      frames.packet(frames.i32(PROTOCOL_3_0), [0x75, 0xff, 0], frames.z('a'), [0]),
    ];
    for (const bytes of cases) expect(codeOf(bytes)).toBe('frame-malformed');
  });

  test('made of garbage never get past a Fault', () => {
    check([fc.uint8Array({ maxLength: 100 })], (body) => {
      expect(['no fault', 'frame-malformed']).toContain(codeOf(frames.packet(body)));
    });
  });
});

test('the version spoken is the newest that both know', () => {
  const cases = [
    [PROTOCOL_3_0, [], PROTOCOL_3_0, false],
    [PROTOCOL_3_2, [], PROTOCOL_3_2, false],
    [0x30001, [], PROTOCOL_3_0, true],
    [0x30003, [], PROTOCOL_3_2, true],
    [(3 << 16) | 9999, ['_pq_.test_protocol_negotiation'], PROTOCOL_3_2, true],
    [PROTOCOL_3_0, ['_pq_.x'], PROTOCOL_3_0, true],
  ] as const;
  for (const [requested, options, version, announce] of cases) {
    const parameters = new Map<string, string>([['user', 'a'], ...options.map((name) => [name, ''] as const)]);
    expect(negotiate(requested, parameters)).toEqual({ version, announce, unknownOptions: [...options] });
  }
});

test('startup options are taken apart as Postgres does', () => {
  const cases: [string, Record<string, string>][] = [
    ['-c DateStyle=ISO -c TimeZone=UTC', { DateStyle: 'ISO', TimeZone: 'UTC' }],
    ['-cgeqo=off', { geqo: 'off' }],
    ['--work-mem=64kB  --a.b=c', { work_mem: '64kB', 'a.b': 'c' }],
    ['-c search_path=a\\ b,\\\\c', { search_path: 'a b,\\c' }],
    ['-c x=a=b', { x: 'a=b' }],
    ['-c', {}],
    ['-e -c =x -c y', {}],
    ['', {}],
  ];
  for (const [text, expected] of cases) expect(Object.fromEntries(parseStartupOptions(text))).toEqual(expected);
});
