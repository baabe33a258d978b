import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import * as frames from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import {
  type BackendMessage,
  beginDataRow,
  decodeBackend,
  encodeBackend,
  endDataRow,
  writeBytesValue,
  writeNullValue,
  writeTextValue,
} from './backend.ts';
import { ByteWriter } from './bytes.ts';
import { FrameReader } from './frame.ts';

const text = (value: string): Uint8Array => Buffer.from(value);

const CASES: [BackendMessage, Uint8Array][] = [
  [{ tag: 'authentication', authentication: { method: 'ok' } }, frames.authenticationOk()],
  [{ tag: 'authentication', authentication: { method: 'cleartext' } }, frames.authenticationCleartext()],
  [
    { tag: 'authentication', authentication: { method: 'md5', salt: text('salt') } },
    frames.authenticationMd5([...text('salt')]),
  ],
  [
    { tag: 'authentication', authentication: { method: 'sasl', mechanisms: ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'] } },
    frames.authenticationSasl('SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'),
  ],
  [
    { tag: 'authentication', authentication: { method: 'saslContinue', data: text('r=a') } },
    frames.authenticationSaslContinue('r=a'),
  ],
  [
    { tag: 'authentication', authentication: { method: 'saslFinal', data: text('v=b') } },
    frames.authenticationSaslFinal('v=b'),
  ],
  [
    { tag: 'authentication', authentication: { method: 'other', code: 7, data: text('') } },
    frames.frame('R', frames.i32(7)),
  ],
  [
    { tag: 'negotiateProtocolVersion', version: 196_610, unknownOptions: ['_pq_.a', '_pq_.b'] },
    frames.negotiateProtocolVersion(196_610, ['_pq_.a', '_pq_.b']),
  ],
  [{ tag: 'backendKeyData', processId: 7, secretKey: text('four') }, frames.backendKeyData(7, [...text('four')])],
  [
    { tag: 'backendKeyData', processId: -7, secretKey: Buffer.alloc(256, 1) },
    frames.backendKeyData(-7, [...Buffer.alloc(256, 1)]),
  ],
  [{ tag: 'parameterStatus', name: 'TimeZone', value: 'UTC' }, frames.parameterStatus('TimeZone', 'UTC')],
  [{ tag: 'readyForQuery', status: 'T' }, frames.readyForQuery('T')],
  [
    {
      tag: 'rowDescription',
      columns: [
        { name: 'ä', tableOid: 0, attnum: 0, typeOid: 25, typeSize: -1, typmod: -1, format: 0 },
        { name: '', tableOid: 0, attnum: 0, typeOid: 4_000_000_000, typeSize: -1, typmod: -1, format: 1 },
      ],
    },
    frames.rowDescription([
      { name: 'ä', type: 25 },
      { name: '', type: 4_000_000_000, format: 1 },
    ]),
  ],
  [{ tag: 'dataRow', values: [text('1'), null, text('')] }, frames.dataRow(['1', null, ''])],
  [{ tag: 'dataRow', values: [] }, frames.dataRow([])],
  [{ tag: 'commandComplete', commandTag: 'SELECT 1' }, frames.commandComplete('SELECT 1')],
  [{ tag: 'notificationResponse', processId: 3, channel: 'c', payload: 'p' }, frames.notification(3, 'c', 'p')],
  [{ tag: 'parameterDescription', types: [23, 25] }, frames.parameterDescription([23, 25])],
  [{ tag: 'copyInResponse', format: { overall: 0, columns: [0, 0] } }, frames.copyInResponse(2)],
  [{ tag: 'copyOutResponse', format: { overall: 0, columns: [0] } }, frames.copyOutResponse(1)],
  [{ tag: 'copyBothResponse', format: { overall: 0, columns: [] } }, frames.copyBothResponse()],
  [{ tag: 'copyData', data: text('x') }, frames.copyData('x')],
  [{ tag: 'copyDone' }, frames.copyDone()],
  [{ tag: 'functionCallResponse', value: null }, frames.frame('V', frames.i32(-1))],
  [{ tag: 'functionCallResponse', value: text('1') }, frames.frame('V', frames.counted('1'))],
  [{ tag: 'bindComplete' }, frames.frame('2')],
  [{ tag: 'closeComplete' }, frames.frame('3')],
  [{ tag: 'parseComplete' }, frames.frame('1')],
  [{ tag: 'noData' }, frames.frame('n')],
  [{ tag: 'portalSuspended' }, frames.frame('s')],
  [{ tag: 'emptyQueryResponse' }, frames.frame('I')],
  [
    { tag: 'errorResponse', fields: { severity: 'ERROR', sqlstate: '42601', message: 'syntax', position: 8 } },
    frames.errorResponse({ S: 'ERROR', V: 'ERROR', C: '42601', M: 'syntax', P: '8' }),
  ],
  [
    { tag: 'noticeResponse', fields: { severity: 'NOTICE', sqlstate: '00000', message: 'm', detail: 'd', hint: 'h' } },
    frames.noticeResponse({ S: 'NOTICE', V: 'NOTICE', C: '00000', M: 'm', D: 'd', H: 'h' }),
  ],
];

function decode(bytes: Uint8Array): BackendMessage {
  const reader = new FrameReader();
  reader.push(bytes);
  if (!reader.next()) throw new Error('no whole frame');
  return decodeBackend(reader.type, reader.buffer, reader.start, reader.end);
}

function encode(message: BackendMessage): Buffer {
  const writer = new ByteWriter();
  encodeBackend(writer, message);
  return writer.take();
}

/** Views as hex, so that messages compare by content. */
const plain = (message: BackendMessage): string =>
  JSON.stringify(message, (_key, value: unknown) => {
    const json = value as { type?: string; data?: number[] } | null;
    if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString('hex') };
    return json?.type === 'Buffer' && json.data !== undefined ? { hex: Buffer.from(json.data).toString('hex') } : value;
  });

const faultOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    return error instanceof Fault ? error.code : `not a fault: ${String(error)}`;
  }
  return 'no fault';
};

describe('backend messages', () => {
  test('are read from bytes that an independent builder made', () => {
    for (const [message, bytes] of CASES) expect(plain(decode(bytes))).toBe(plain(message));
  });

  test('are written as that builder writes them', () => {
    for (const [message, bytes] of CASES) {
      expect([message.tag, encode(message).toString('hex')]).toEqual([message.tag, Buffer.from(bytes).toString('hex')]);
    }
  });

  test('cut short anywhere are malformed', () => {
    for (const [message, bytes] of CASES) {
      for (let length = 5; length < bytes.length; length += 1) {
        const cut = frames.frame(String.fromCharCode(bytes[0] as number), bytes.slice(5, length));
        const code = faultOf(() => decode(cut));
        // Messages that end in free bytes may be shorter.
        expect([message.tag, ['frame-malformed', 'no fault'].includes(code)]).toEqual([message.tag, true]);
        if (code === 'no fault') expect(['authentication', 'backendKeyData', 'copyData']).toContain(message.tag);
      }
    }
  });

  test('errors carry every field, ignore unknown ones, and prefer the severity that is not translated', () => {
    const letters = {
      S: 'FEHLER',
      V: 'ERROR',
      C: '23505',
      M: 'm',
      D: 'd',
      H: 'h',
      P: '3',
      p: '4',
      q: 'q',
      W: 'w',
      s: 's',
      t: 't',
      c: 'c',
      d: 'ty',
      n: 'n',
      F: 'f',
      L: '9',
      R: 'r',
      '!': 'new',
    };
    const message = decode(frames.errorResponse(letters));
    expect(message).toEqual({
      tag: 'errorResponse',
      fields: {
        severity: 'ERROR',
        sqlstate: '23505',
        message: 'm',
        detail: 'd',
        hint: 'h',
        position: 3,
        internalPosition: 4,
        internalQuery: 'q',
        where: 'w',
        schema: 's',
        table: 't',
        column: 'c',
        dataType: 'ty',
        constraint: 'n',
        file: 'f',
        line: '9',
        routine: 'r',
      },
    });
    expect(decode(encode(message))).toEqual(message);
    expect(decode(frames.errorResponse({ S: 'FATAL', C: '57P01', M: 'x' }))).toMatchObject({
      fields: { severity: 'FATAL' },
    });
  });

  test('an error text that quotes a zero byte does not break its frame', () => {
    const message = encode({ tag: 'errorResponse', fields: { severity: 'ERROR', sqlstate: '22021', message: 'a\0b' } });
    expect(decode(message)).toMatchObject({ fields: { message: 'ab' } });
  });

  test('rows written piece by piece are the rows that were meant', () => {
    const value = fc.oneof(
      fc.constant(null),
      fc.string({ unit: 'grapheme', maxLength: 5000 }).filter((each) => each.isWellFormed()),
      fc.uint8Array({ maxLength: 100 }),
    );
    check([fc.array(fc.array(value, { maxLength: 6 }), { maxLength: 4 })], (rows) => {
      const writer = new ByteWriter();
      for (const row of rows) {
        const mark = beginDataRow(writer, row.length);
        for (const each of row) {
          if (each === null) writeNullValue(writer);
          else if (typeof each === 'string') writeTextValue(writer, each);
          else writeBytesValue(writer, each);
        }
        endDataRow(writer, mark);
      }
      expect(writer.take().toString('hex')).toBe(
        Buffer.from(frames.join(...rows.map((row) => frames.dataRow(row)))).toString('hex'),
      );
    });
  });

  test('made of garbage never get past a Fault', () => {
    check(
      [fc.constantFrom(...'RK23CcdGHWDIEVvnNAtS1sZT'.split('')), fc.uint8Array({ maxLength: 60 })],
      (type, body) => {
        expect(['no fault', 'frame-malformed', 'protocol-violation']).toContain(
          faultOf(() => decode(frames.frame(type, body))),
        );
      },
    );
  });
});
