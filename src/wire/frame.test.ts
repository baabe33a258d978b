import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { check } from '../../test/fuzz.ts';
import { frame, i32, join, packet } from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { FRAME_BYTES_MAX, FrameReader, STARTUP_BYTES_MAX } from './frame.ts';

type Found = [type: string, body: string];

/** All frames of a stream that arrives in these chunks. */
function framesOf(chunks: Uint8Array[], reader = new FrameReader()): Found[] {
  const found: Found[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    while (reader.next()) {
      const { type, buffer, start, end } = reader;
      found.push([String.fromCharCode(type), buffer.toString('latin1', start, end)]);
    }
  }
  return found;
}

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.filter((cut) => cut > 0 && cut < bytes.length).sort((a, b) => a - b), bytes.length];
  return ends.map((end, index) => bytes.slice(index === 0 ? 0 : ends[index - 1], end));
}

const STREAM = join(frame('Q', 'select 1'), frame('S'), frame('d', 'x'.repeat(40)), frame('X'));
const FOUND: Found[] = [
  ['Q', 'select 1'],
  ['S', ''],
  ['d', 'x'.repeat(40)],
  ['X', ''],
];

const faultOf = (action: () => void): string => {
  try {
    action();
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
  return 'no fault';
};

describe('a stream of frames', () => {
  test('is the same however it is cut: at every byte, at every pair of bytes, byte by byte', () => {
    for (let a = 0; a <= STREAM.length; a += 1) {
      for (let b = a; b <= STREAM.length; b += 1) expect(framesOf(split(STREAM, [a, b]))).toEqual(FOUND);
    }
    expect(framesOf([...STREAM].map((byte) => Uint8Array.of(byte)))).toEqual(FOUND);
  });

  test('survives any cuts of any frames', () => {
    const body = fc.uint8Array({ maxLength: 3000 });
    check(
      [fc.array(fc.tuple(fc.integer({ min: 1, max: 127 }), body), { maxLength: 8 }), fc.array(fc.nat(25_000))],
      (list, cuts) => {
        const bytes = join(...list.map(([type, content]) => frame(String.fromCharCode(type), content)));
        const expected = list.map(([type, content]) => [
          String.fromCharCode(type),
          Buffer.from(content).toString('latin1'),
        ]);
        expect(framesOf(split(bytes, cuts))).toEqual(expected as Found[]);
      },
    );
  });

  test('may be read later: chunks wait in order', () => {
    const reader = new FrameReader();
    for (const chunk of split(STREAM, [3, 9, 15, 30, 31])) reader.push(chunk);
    expect(reader.bufferedBytes).toBe(STREAM.length);
    expect(reader.next()).toBe(true);
    expect(reader.bufferedBytes).toBe(STREAM.length - 13);
    expect(framesOf([new Uint8Array()], reader)).toEqual(FOUND.slice(1));
    expect(reader.bufferedBytes).toBe(0);
  });

  test('hands out frames with their headers right before them, and never writes to them again', () => {
    const reader = new FrameReader();
    const kept: Buffer[] = [];
    for (const chunk of split(STREAM, [2, 20, 21])) {
      reader.push(chunk);
      while (reader.next()) kept.push(reader.buffer.subarray(reader.start - 5, reader.end));
    }
    expect(Buffer.concat(kept)).toEqual(Buffer.from(STREAM));
  });

  test('begins with a packet without a type', () => {
    const bytes = join(packet(i32(196_608), [0]), frame('Q', 'x'));
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const reader = new FrameReader({ startup: true });
      const found: Found[] = [];
      for (const chunk of split(bytes, [cut])) {
        reader.push(chunk);
        while (reader.next()) {
          found.push([String.fromCharCode(reader.type), reader.buffer.toString('latin1', reader.start, reader.end)]);
          reader.expectTyped();
        }
      }
      expect(found).toEqual([
        ['\0', '\0\x03\0\0\0'],
        ['Q', 'x'],
      ]);
    }
  });

  test('gives back what it has not used', () => {
    const reader = new FrameReader();
    reader.push(STREAM.slice(0, 3));
    expect(reader.next()).toBe(false);
    reader.push(STREAM.slice(3, 10));
    reader.push(STREAM.slice(10));
    expect(reader.peek()).toBe(0x51);
    expect(reader.takeRest()).toEqual(Buffer.from(STREAM));
    expect(reader.peek()).toBe(-1);
    expect(framesOf([STREAM], reader)).toEqual(FOUND);
  });
});

describe('a hostile length', () => {
  const lengths = {
    'frame-malformed': [0, 1, 2, 3, -1, -2_147_483_648],
    'frame-too-long': [FRAME_BYTES_MAX + 1, 0x7fffffff],
  };

  test('is refused as soon as it is known, also one byte at a time', () => {
    for (const [code, values] of Object.entries(lengths)) {
      for (const value of values) {
        expect(faultOf(() => framesOf([join('Q', i32(value))]))).toBe(code);
        expect(faultOf(() => framesOf([...join('Q', i32(value))].map((byte) => Uint8Array.of(byte))))).toBe(code);
      }
    }
  });

  test('is bounded by the phase', () => {
    const startup = (): FrameReader => new FrameReader({ startup: true });
    expect(faultOf(() => framesOf([join(i32(STARTUP_BYTES_MAX + 1))], startup()))).toBe('frame-too-long');
    expect(faultOf(() => framesOf([join(i32(STARTUP_BYTES_MAX))], startup()))).toBe('no fault');
    const small = new FrameReader({ bytesMax: 100 });
    expect(framesOf([frame('p', 'x'.repeat(96))], small).length).toBe(1);
    expect(faultOf(() => framesOf([frame('p', 'x'.repeat(97))], small))).toBe('frame-too-long');
  });

  test('INVARIANT_I8: costs no more memory than the bytes that really came', () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 200 }, () => {
      const reader = new FrameReader();
      framesOf([join('d', i32(FRAME_BYTES_MAX), 'x')], reader);
      return reader;
    });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
    expect(readers.length).toBe(200);
  });

  test('of garbage never gets past a Fault', () => {
    check([fc.uint8Array({ maxLength: 200 })], (bytes) => {
      const code = faultOf(() => framesOf([bytes], new FrameReader({ bytesMax: 1000 })));
      expect(['no fault', 'frame-malformed', 'frame-too-long']).toContain(code);
    });
  });
});

test('a large frame that trickles in is copied once and complete', () => {
  const body = Buffer.alloc(3_000_000, 'abc');
  const bytes = frame('d', body);
  const chunks = Array.from({ length: Math.ceil(bytes.length / 1000) }, (_, index) =>
    bytes.subarray(index * 1000, index * 1000 + 1000),
  );
  const [found] = framesOf([...chunks, frame('c')]);
  expect(found?.[1].length).toBe(body.length);
  expect(found?.[1]).toBe(body.toString('latin1'));
});
