import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import { Fault } from '../base/fault.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

test('integers survive the way out and back at their limits', () => {
  const cases = [
    ['int16', [0, 1, -1, 32_767, -32_768]],
    ['int32', [0, -1, 2_147_483_647, -2_147_483_648]],
  ] as const;
  for (const [kind, values] of cases) {
    for (const value of values) {
      const writer = new ByteWriter();
      writer[kind](value);
      expect(new ByteReader(writer.take())[kind]()).toBe(value);
    }
  }
  for (const value of [0n, -1n, 0x7fff_ffff_ffff_ffffn, -0x8000_0000_0000_0000n, 0x1_0000_0000n, 0xffff_ffffn]) {
    const writer = new ByteWriter();
    writer.int64(value);
    const bytes = writer.take();
    expect(new ByteReader(bytes).int64()).toBe(value);
    expect(new ByteReader(bytes).uint64()).toBe(BigInt.asUintN(64, value));
  }
});

test('texts of any length and script survive, short and long', () => {
  const text = fc
    .string({ unit: 'grapheme', maxLength: 6000 })
    .filter((value) => value.isWellFormed() && !value.includes('\0'));
  check([fc.array(text, { maxLength: 6 })], (texts) => {
    const writer = new ByteWriter();
    for (const each of texts) writer.cString(each);
    for (const each of texts) writer.countedText(each);
    const bytes = writer.take();
    expect(bytes).toEqual(
      Buffer.concat([
        ...texts.map((each) => Buffer.from(`${each}\0`)),
        ...texts.map((each) => {
          const counted = Buffer.alloc(4 + Buffer.byteLength(each));
          counted.writeInt32BE(counted.length - 4);
          counted.write(each, 4);
          return counted;
        }),
      ]),
    );
    const reader = new ByteReader(bytes);
    for (const each of texts) expect(reader.cString()).toBe(each);
    for (const each of texts) expect(reader.countedBytes()?.toString()).toBe(each);
    reader.done();
  });
});

test('what was taken is never written again', () => {
  const writer = new ByteWriter();
  const taken: [Buffer, string][] = [];
  for (let index = 0; index < 500; index += 1) {
    writer.text(`number ${index}`);
    taken.push([writer.take(), `number ${index}`]);
  }
  for (const [bytes, text] of taken) expect(bytes.toString()).toBe(text);
  expect(writer.take().length).toBe(0);
});

test('a half-written message can be taken back', () => {
  const writer = new ByteWriter();
  writer.text('kept');
  const mark = writer.length;
  writer.text('x'.repeat(100_000));
  writer.truncate(mark);
  writer.text('!');
  expect(writer.take().toString()).toBe('kept!');
});

test('reading past the end, or an unterminated string, is a fault', () => {
  const attempts: ((reader: ByteReader) => unknown)[] = [
    (reader) => reader.int64(),
    (reader) => reader.bytes(4),
    (reader) => reader.bytes(-1),
    (reader) => reader.cString(),
    (reader) => reader.countedBytes(),
    (reader) => reader.done(),
    (reader) => reader.count(-1, 1),
    (reader) => reader.count(2, 2),
  ];
  for (const attempt of attempts) {
    // The zero after the message's end must not serve as its terminator.
    expect(() => attempt(new ByteReader(Buffer.from('abc\0'), 0, 3))).toThrow(Fault);
  }
});

test('a zero byte in a protocol string is our own mistake', () => {
  expect(() => new ByteWriter().cString('a\0b')).toThrow('assertion failed');
});
