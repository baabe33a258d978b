import { expect, test } from 'bun:test';
import * as frames from '../../test/wire-frames.ts';
import { Fault } from '../base/fault.ts';
import { ByteWriter } from './bytes.ts';
import { decodePassword, decodeSaslInitial, writePassword, writeSaslInitial, writeSaslResponse } from './sasl.ts';

const written = (write: (writer: ByteWriter) => void): string => {
  const writer = new ByteWriter();
  write(writer);
  return writer.take().toString('hex');
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('SASL and password messages are written and read as an independent builder does', () => {
  const data = Buffer.from('n,,n=,r=x');
  expect(written((writer) => writeSaslInitial(writer, { mechanism: 'SCRAM-SHA-256', data }))).toBe(
    hex(frames.saslInitial('SCRAM-SHA-256', 'n,,n=,r=x')),
  );
  expect(written((writer) => writeSaslResponse(writer, data))).toBe(hex(frames.saslResponse('n,,n=,r=x')));
  expect(written((writer) => writePassword(writer, 'pässword'))).toBe(hex(frames.password('pässword')));
  const body = frames.saslInitial('SCRAM-SHA-256', 'x').slice(5);
  expect(decodeSaslInitial(body)).toEqual({ mechanism: 'SCRAM-SHA-256', data: Buffer.from('x') });
  expect(decodeSaslInitial(frames.saslInitial('M', null).slice(5))).toEqual({ mechanism: 'M', data: null });
  expect(decodePassword(frames.password('p').slice(5))).toBe('p');
});

test('SASL messages that are cut, too long or go on are refused', () => {
  const whole = frames.saslInitial('SCRAM-SHA-256', 'x').slice(5);
  for (let length = 0; length < whole.length; length += 1) {
    expect(() => decodeSaslInitial(whole.slice(0, length))).toThrow(Fault);
  }
  expect(() => decodeSaslInitial(frames.join(whole, [0]))).toThrow(Fault);
  expect(() => decodeSaslInitial(frames.saslInitial('M', 'x'.repeat(1025)).slice(5))).toThrow(Fault);
  expect(() => decodePassword(frames.join('no terminator'))).toThrow(Fault);
});
