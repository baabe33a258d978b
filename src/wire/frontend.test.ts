import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import * as frames from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { ByteWriter } from './bytes.ts';
import { FrameReader } from './frame.ts';
import { decodeFrontend, encodeFrontend, type FrontendMessage } from './frontend.ts';

const text = (value: string): Uint8Array => Buffer.from(value);

const CASES: [FrontendMessage, Uint8Array][] = [
  [{ tag: 'query', sql: 'select $$ü$$' }, frames.query('select $$ü$$')],
  [{ tag: 'query', sql: '' }, frames.query('')],
  [
    { tag: 'parse', statement: 's', sql: 'select $1', parameterTypes: [23, 4_294_967_295] },
    frames.parse('s', 'select $1', [23, 4_294_967_295]),
  ],
  [
    {
      tag: 'bind',
      portal: 'p',
      statement: 's',
      parameterFormats: [0, 1],
      parameters: [text('x'), null],
      resultFormats: [1],
    },
    frames.bind('p', 's', ['x', null], [0, 1], [1]),
  ],
  [
    { tag: 'bind', portal: '', statement: '', parameterFormats: [], parameters: [], resultFormats: [] },
    frames.bind('', ''),
  ],
  [{ tag: 'describe', target: 'statement', name: 's' }, frames.describeStatement('s')],
  [{ tag: 'describe', target: 'portal', name: '' }, frames.describePortal('')],
  [{ tag: 'execute', portal: 'p', rowsMax: 100 }, frames.execute('p', 100)],
  [{ tag: 'close', target: 'statement', name: 's' }, frames.closeStatement('s')],
  [{ tag: 'close', target: 'portal', name: 'p' }, frames.closePortal('p')],
  [{ tag: 'sync' }, frames.sync()],
  [{ tag: 'flush' }, frames.flush()],
  [{ tag: 'terminate' }, frames.terminate()],
  [{ tag: 'copyData', data: text('1\n') }, frames.copyData('1\n')],
  [{ tag: 'copyData', data: text('') }, frames.copyData('')],
  [{ tag: 'copyDone' }, frames.copyDone()],
  [{ tag: 'copyFail', reason: 'no' }, frames.copyFail('no')],
  [{ tag: 'auth', body: text('secret\0') }, frames.password('secret')],
  [
    { tag: 'functionCall', oid: 957, argumentFormats: [], arguments: [text('1'), null], resultFormat: 0 },
    frames.functionCall(957, ['1', null]),
  ],
];

function decode(bytes: Uint8Array): FrontendMessage {
  const reader = new FrameReader();
  reader.push(bytes);
  if (!reader.next()) throw new Error('no whole frame');
  return decodeFrontend(reader.type, reader.buffer, reader.start, reader.end);
}

function encode(message: FrontendMessage): Buffer {
  const writer = new ByteWriter();
  encodeFrontend(writer, message);
  return writer.take();
}

/** Buffers and typed arrays alike, so that messages compare by content. */
const plain = (message: FrontendMessage): string =>
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

describe('frontend messages', () => {
  test('are read from bytes that an independent builder made', () => {
    for (const [message, bytes] of CASES) expect(plain(decode(bytes))).toBe(plain(message));
  });

  test('are written as that builder writes them', () => {
    for (const [message, bytes] of CASES) {
      expect([message.tag, encode(message).toString('hex')]).toEqual([message.tag, Buffer.from(bytes).toString('hex')]);
    }
  });

  test('cut short anywhere are malformed, and so are messages that are too long', () => {
    for (const [message, bytes] of CASES) {
      const free = message.tag === 'copyData' || message.tag === 'auth';
      for (let length = 5; length < bytes.length; length += 1) {
        const cut = frames.frame(String.fromCharCode(bytes[0] as number), bytes.slice(5, length));
        if (!free)
          expect([message.tag, length, faultOf(() => decode(cut))]).toEqual([message.tag, length, 'frame-malformed']);
      }
      const longer = frames.frame(String.fromCharCode(bytes[0] as number), bytes.slice(5), [0]);
      if (!free) expect(faultOf(() => decode(longer))).toBe('frame-malformed');
    }
  });

  test('with impossible contents are refused', () => {
    const cases: [string, Uint8Array, string][] = [
      ['unknown type', frames.frame('!'), 'protocol-violation'],
      ['describe of neither', frames.frame('D', 'X', frames.z('a')), 'protocol-violation'],
      ['format code 2', frames.bind('', '', ['a'], [2]), 'protocol-violation'],
      ['three formats for two values', frames.bind('', '', ['a', 'b'], [0, 0, 0]), 'protocol-violation'],
      ['invalid UTF-8', frames.frame('Q', [0xc3, 0x28, 0]), 'frame-malformed'],
      ['65,535 values announced', frames.frame('B', [0, 0], frames.i16(0), frames.i16(-1)), 'frame-malformed'],
      [
        'a value of negative length',
        frames.frame('B', [0, 0], frames.i16(0), frames.i16(1), frames.i32(-2), frames.i16(0)),
        'frame-malformed',
      ],
    ];
    for (const [name, bytes, code] of cases) expect([name, faultOf(() => decode(bytes))]).toEqual([name, code]);
  });

  test('the replacement character itself is a character', () => {
    expect(decode(frames.query('a\ufffdb'))).toEqual({ tag: 'query', sql: 'a\ufffdb' });
  });

  const name = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .filter((value) => !value.includes('\0') && value.isWellFormed());
  const values = fc.array(fc.option(fc.uint8Array({ maxLength: 40 })), { maxLength: 5 });

  test('survive the way out and back', () => {
    const formats = fc.constantFrom([], [0], [1]);
    check([name, name, values, formats, formats], (portal, statement, parameters, parameterFormats, resultFormats) => {
      const bind: FrontendMessage = { tag: 'bind', portal, statement, parameterFormats, parameters, resultFormats };
      expect(plain(decode(encode(bind)))).toBe(plain(bind));
      const parse: FrontendMessage = {
        tag: 'parse',
        statement,
        sql: portal,
        parameterTypes: parameters.map((_, index) => index),
      };
      expect(decode(encode(parse))).toEqual(parse);
    });
  });

  test('made of garbage never get past a Fault', () => {
    check([fc.constantFrom(...'BCcdDEfFHPpQSX'.split('')), fc.uint8Array({ maxLength: 60 })], (type, body) => {
      expect(['no fault', 'frame-malformed', 'protocol-violation']).toContain(
        faultOf(() => decode(frames.frame(type, body))),
      );
    });
  });
});
