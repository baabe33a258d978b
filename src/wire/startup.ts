// The packets without a type byte that may open a connection, and the answers to them.

import { ByteReader, ByteWriter, readInt32 } from './bytes.ts';
import { wireFault } from './faults.ts';

export const PROTOCOL_3_0 = 196_608;
export const PROTOCOL_3_2 = 196_610;

export const SSL_REQUEST_CODE = 80_877_103;
export const GSSENC_REQUEST_CODE = 80_877_104;
export const CANCEL_REQUEST_CODE = 80_877_102;

/** First byte of a TLS record that holds a ClientHello: direct TLS (PostgreSQL 17's sslnegotiation=direct). */
export const TLS_HANDSHAKE_BYTE = 0x16;

/** ALPN protocol of PostgreSQL over direct TLS. */
export const ALPN_POSTGRESQL = 'postgresql';

/** Protocol 3.0 keys have exactly 4 bytes; 3.2 allows up to 256. */
export const CANCEL_KEY_BYTES_MIN = 4;
export const CANCEL_KEY_BYTES_MAX = 256;

export type StartupPacket =
  | { readonly tag: 'sslRequest' }
  | { readonly tag: 'gssencRequest' }
  | { readonly tag: 'cancelRequest'; readonly processId: number; readonly secretKey: Uint8Array }
  | {
      readonly tag: 'startup';
      /** (major << 16) | minor, as sent. */
      readonly protocolVersion: number;
      /** In the order sent; of repeated names the last one counts, as in Postgres. */
      readonly parameters: ReadonlyMap<string, string>;
    };

/** Body of a startup packet: the code and what follows. Refuses an unknown major version with 0A000. */
export function decodeStartup(buffer: Buffer, start: number, end: number): StartupPacket {
  if (end - start < 4) throw wireFault('frame-malformed', 'invalid length of startup packet');
  const code = readInt32(buffer, start);
  const reader = new ByteReader(buffer, start + 4, end);
  switch (code) {
    case SSL_REQUEST_CODE:
      reader.done();
      return { tag: 'sslRequest' };
    case GSSENC_REQUEST_CODE:
      reader.done();
      return { tag: 'gssencRequest' };
    case CANCEL_REQUEST_CODE: {
      const processId = reader.int32();
      const secretKey = reader.rest();
      if (secretKey.length < CANCEL_KEY_BYTES_MIN || secretKey.length > CANCEL_KEY_BYTES_MAX) {
        throw wireFault('frame-malformed', `invalid length of cancel key: ${secretKey.length} bytes`);
      }
      return { tag: 'cancelRequest', processId, secretKey };
    }
    default:
      return { tag: 'startup', protocolVersion: code, parameters: readParameters(reader) };
  }
}

/** Appends a whole packet, its length included. */
export function encodeStartup(writer: ByteWriter, packet: StartupPacket): void {
  const mark = writer.length;
  writer.int32(0);
  switch (packet.tag) {
    case 'sslRequest':
      writer.int32(SSL_REQUEST_CODE);
      break;
    case 'gssencRequest':
      writer.int32(GSSENC_REQUEST_CODE);
      break;
    case 'cancelRequest':
      writer.int32(CANCEL_REQUEST_CODE);
      writer.int32(packet.processId);
      writer.bytes(packet.secretKey);
      break;
    case 'startup':
      writer.int32(packet.protocolVersion);
      for (const [name, value] of packet.parameters) {
        writer.cString(name);
        writer.cString(value);
      }
      writer.byte(0);
      break;
  }
  writer.patchInt32(mark, writer.length - mark);
}

export function protocolMajor(version: number): number {
  return version >>> 16;
}

export function protocolMinor(version: number): number {
  return version & 0xffff;
}

/** What a server must answer to a startup packet's version and `_pq_.` options. */
export interface Negotiation {
  /** The version that both sides will speak. */
  readonly version: number;
  /** True when NegotiateProtocolVersion has to be sent (once, before authentication). */
  readonly announce: boolean;
  /** Protocol options the server does not know. */
  readonly unknownOptions: readonly string[];
}

/** Pure: which minor version to speak. The caller has checked that the major version is 3. */
export function negotiate(requested: number, parameters: ReadonlyMap<string, string>): Negotiation {
  const unknownOptions = [...parameters.keys()].filter((name) => name.startsWith('_pq_.'));
  const minor = protocolMinor(requested);
  // 3.1 does not exist: what it would mean is 3.0, and the client is told so.
  const version = minor === 0 || minor === 1 ? PROTOCOL_3_0 : PROTOCOL_3_2;
  return { version, announce: version !== requested || unknownOptions.length > 0, unknownOptions };
}

/**
 * Splits the startup parameter `options` (`-c name=value --name=value`, backslash escapes a space) into settings.
 * Other switches are left out, as a proxy in front of Postgres would; names come back as written.
 */
export function parseStartupOptions(options: string): Map<string, string> {
  const settings = new Map<string, string>();
  const words = splitWords(options);
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as string;
    let assignment: string | undefined;
    if (word === '-c') {
      index += 1;
      assignment = words[index];
    } else if (word.startsWith('-c')) assignment = word.slice(2);
    else if (word.startsWith('--')) assignment = word.slice(2);
    const equals = assignment?.indexOf('=') ?? -1;
    if (assignment === undefined || equals <= 0) continue;
    // Postgres reads dashes in a switch's name as underscores.
    settings.set(assignment.slice(0, equals).replaceAll('-', '_'), assignment.slice(equals + 1));
  }
  return settings;
}

function splitWords(options: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let index = 0; index < options.length; index += 1) {
    let character = options[index] as string;
    if (/\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
      continue;
    }
    if (character === '\\' && index + 1 < options.length) {
      index += 1;
      character = options[index] as string;
    }
    word = (word ?? '') + character;
  }
  if (word !== null) words.push(word);
  return words;
}

function readParameters(reader: ByteReader): Map<string, string> {
  const parameters = new Map<string, string>();
  // Protocol 2 packets and garbage end here: what follows the version must be a list of strings with its terminator.
  while (reader.remaining > 0) {
    const name = reader.cString();
    if (name === '') {
      reader.done();
      return parameters;
    }
    parameters.set(name, reader.cString());
  }
  throw wireFault('frame-malformed', 'invalid startup packet layout: expected terminator as last byte');
}
