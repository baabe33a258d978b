// Bodies of the authentication messages that carry SASL: which mechanism, and its opaque payload.

import { ByteReader, type ByteWriter } from './bytes.ts';
import { wireFault } from './faults.ts';
import { FRONTEND } from './frontend.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';

/** Postgres' PG_MAX_SASL_MESSAGE_LENGTH. */
export const SASL_BYTES_MAX = 1024;

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** Null when the client sends none (length -1). */
  readonly data: Uint8Array | null;
}

/** Body of the client's first 'p' after AuthenticationSASL. */
export function decodeSaslInitial(body: Uint8Array): SaslInitialResponse {
  const reader = new ByteReader(body);
  const mechanism = reader.cString();
  const data = reader.countedBytes();
  reader.done();
  if (data !== null && data.length > SASL_BYTES_MAX) throw wireFault('frame-too-long', 'SASL message is too long');
  return { mechanism, data };
}

export function writeSaslInitial(writer: ByteWriter, message: SaslInitialResponse): void {
  const mark = writer.beginMessage(FRONTEND.auth);
  writer.cString(message.mechanism);
  writer.countedBytes(message.data);
  writer.endMessage(mark);
}

/** The client's following messages: the payload alone. */
export function writeSaslResponse(writer: ByteWriter, data: Uint8Array): void {
  const mark = writer.beginMessage(FRONTEND.auth);
  writer.bytes(data);
  writer.endMessage(mark);
}

/** PasswordMessage: clear text or `md5…`. */
export function writePassword(writer: ByteWriter, password: string): void {
  const mark = writer.beginMessage(FRONTEND.auth);
  writer.cString(password);
  writer.endMessage(mark);
}

/** Body of a PasswordMessage. */
export function decodePassword(body: Uint8Array): string {
  const reader = new ByteReader(body);
  const password = reader.cString();
  reader.done();
  return password;
}
