// The first packets of a client, for everybody who is a server: TLS, GSSAPI and cancel requests up to the startup packet,
// the version agreed on, and SCRAM. What a stranger may send is read in this one place.

import type { Crypto } from '../base/crypto.ts';
import { Fault } from '../base/fault.ts';
import type { Connection, TlsServerOptions } from '../base/net.ts';
import type { Random } from '../base/random.ts';
import { encodeBackend, writeAuthentication } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import { decodeSaslInitial, SCRAM_SHA_256, SCRAM_SHA_256_PLUS } from '../wire/sasl.ts';
import {
  ALPN_POSTGRESQL,
  decodeStartup,
  negotiate,
  parseStartupOptions,
  protocolMajor,
  protocolMinor,
  type StartupPacket,
  TLS_HANDSHAKE_BYTE,
} from '../wire/startup.ts';
import type { CancelKey } from './cancel.ts';
import type { Inbox } from './inbox.ts';
import type { Pacer } from './pacer.ts';
import {
  mockScramVerifier,
  SCRAM_NONCE_BYTES,
  type ScramKeys,
  ScramRefused,
  ScramServer,
  type ScramVerifier,
} from './scram.ts';

export type Startup = StartupPacket & { readonly tag: 'startup' };

/**
 * Everything up to the startup packet: direct TLS or one SSLRequest, one GSSENCRequest, in any order. Null for a cancel
 * request, about which the peer is not told a word: whether the key was right is nobody's business. Rejects with
 * `protocol-violation` (08P01) or what the TLS handshake says. `handshakes`, when given, spreads handshakes over turns of the
 * event loop: they are most of what a login costs, and one turn may bring hundreds, while all others stand still.
 */
export async function receiveStartup(
  connection: Connection,
  inbox: Inbox,
  tls: TlsServerOptions | null,
  cancelRequested: (key: CancelKey) => Promise<void> | void,
  handshakes?: Pacer,
): Promise<Startup | null> {
  const { reader } = inbox;
  if ((await inbox.peek()) === TLS_HANDSHAKE_BYTE && tls !== null) {
    await handshakes?.turn();
    const facts = await connection.startTlsServer(tls, reader.takeRest());
    if (facts.alpn !== ALPN_POSTGRESQL) throw violation('direct TLS connections must negotiate ALPN "postgresql"');
  }
  // Each of the two requests may come once, in any order.
  let askedTls = connection.tls !== null;
  let askedGss = false;
  for (;;) {
    await inbox.frame();
    const packet = decodeStartup(reader.buffer, reader.start, reader.end);
    switch (packet.tag) {
      case 'sslRequest':
        if (askedTls) throw violation('repeated TLS request');
        askedTls = true;
        // Before the answer: what the client sends after it belongs to the handshake.
        if (tls !== null) await handshakes?.turn();
        refuseEarlyBytes(inbox);
        connection.write(tls === null ? ANSWER_NO : ANSWER_YES);
        if (tls !== null) await connection.startTlsServer(tls);
        break;
      case 'gssencRequest':
        if (askedGss) throw violation('repeated GSSAPI request');
        askedGss = true;
        refuseEarlyBytes(inbox);
        connection.write(ANSWER_NO);
        break;
      case 'cancelRequest':
        await cancelRequested(packet);
        return null;
      case 'startup':
        return packet;
    }
    reader.expectStartup();
  }
}

/** Bytes sent before our answer would count as sent inside TLS: an attacker's prefix (CVE-2021-23222 and its kin). */
function refuseEarlyBytes(inbox: Inbox): void {
  if (inbox.reader.bufferedBytes > 0) throw violation('received unencrypted data after TLS or GSSAPI request');
}

/** The protocol version to speak; where it is not quite what was asked for, NegotiateProtocolVersion is written once. Throws 0A000 for another major. */
export function agreeOnVersion(writer: ByteWriter, startup: Startup): number {
  const { parameters, protocolVersion } = startup;
  if (protocolMajor(protocolVersion) !== 3) {
    throw new Fault('protocol-violation', {
      message: `unsupported frontend protocol ${protocolMajor(protocolVersion)}.${protocolMinor(protocolVersion)}: server supports 3.0 to 3.2`,
      sqlstate: '0A000',
    });
  }
  const { version, announce, unknownOptions } = negotiate(protocolVersion, parameters);
  if (announce) encodeBackend(writer, { tag: 'negotiateProtocolVersion', version, unknownOptions });
  return version;
}

/** Settings a client asks for: `options` taken apart, then the parameters that are settings. Names as sent. */
export function settingsAskedFor({ parameters }: Startup): Map<string, string> {
  const settings = parseStartupOptions(parameters.get('options') ?? '');
  for (const [name, value] of parameters) {
    if (!NOT_SETTINGS.has(name) && !name.startsWith('_pq_.')) settings.set(name, value);
  }
  return settings;
}

const NOT_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'options', 'replication']);

export interface ScramProof {
  readonly world: { readonly crypto: Crypto; readonly random: Random };
  readonly connection: Connection;
  /** What TLS, if any, is served with. */
  readonly tls: TlsServerOptions | null;
  readonly user: string;
  /** Null for an unknown user: the exchange takes place all the same, and fails like a wrong password. */
  readonly verifier: () => ScramVerifier | null | Promise<ScramVerifier | null>;
  readonly mockSecret: Uint8Array;
  readonly writer: ByteWriter;
  /** Sends what is written and resolves with the client's next 'p' message. */
  readonly ask: () => Promise<Uint8Array>;
}

/** Lets the client prove by SCRAM-SHA-256, with channel binding over TLS, that it knows the password. Rejects with ScramRefused when it does not. */
export async function proveByScram(proof: ScramProof): Promise<ScramKeys> {
  const { ask, connection, mockSecret, tls, user, verifier, writer } = proof;
  const { crypto, random } = proof.world;
  const certificateHash =
    tls === null || connection.tls === null ? null : crypto.certificateHash(firstCertificate(tls.cert));
  const mechanisms = certificateHash === null ? [SCRAM_SHA_256] : [SCRAM_SHA_256_PLUS, SCRAM_SHA_256];
  writeAuthentication(writer, { method: 'sasl', mechanisms });
  const initial = decodeSaslInitial(await ask());
  if (!mechanisms.includes(initial.mechanism)) throw violation('client selected an invalid SASL mechanism');
  const known = await verifier();
  const { serverKey } = known ?? { serverKey: null };
  const exchange = new ScramServer(crypto, {
    verifier: known ?? mockScramVerifier(crypto, mockSecret, user),
    nonce: random.bytes(SCRAM_NONCE_BYTES),
    certificateHash,
    plus: initial.mechanism === SCRAM_SHA_256_PLUS,
  });
  const challenge = (text: string): Promise<Uint8Array> => {
    writeAuthentication(writer, { method: 'saslContinue', data: Buffer.from(text) });
    return ask();
  };
  // A client may leave its first message out; an empty challenge asks for it.
  const first = initial.data ?? (await challenge(''));
  const last = exchange.finish(textOf(await challenge(exchange.first(textOf(first)))));
  if (serverKey === null || exchange.clientKey === null) throw new ScramRefused('unknown user');
  writeAuthentication(writer, { method: 'saslFinal', data: Buffer.from(last) });
  return { clientKey: exchange.clientKey, serverKey };
}

/** DER of the first certificate of a PEM text: our own, when the file is a chain. */
function firstCertificate(pem: string): Uint8Array {
  const found = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/.exec(pem);
  if (found === null) throw new Error('assertion failed: the TLS certificate is not PEM');
  return Buffer.from(found[1] as string, 'base64');
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function violation(message: string): Fault {
  return new Fault('protocol-violation', { message, sqlstate: '08P01' });
}

const ANSWER_YES = Buffer.from('S');
const ANSWER_NO = Buffer.from('N');
