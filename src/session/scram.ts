// SCRAM-SHA-256 and -PLUS (RFC 5802, 7677; channel binding tls-server-end-point of RFC 5929), both sides.
// Nonces and key derivation come in from outside, so the exchange is a pure function of its inputs.

import { Fault } from '../base/fault.ts';
import type { Crypto } from '../base/crypto.ts';
import { prepareSaslPassword } from './saslprep.ts';

/** Postgres' default. */
export const SCRAM_ITERATIONS = 4096;

/** A server may ask the client for this much work at most: about ten seconds. */
const SCRAM_ITERATIONS_MAX = 10_000_000;

export const SCRAM_NONCE_BYTES = 18;
export const SCRAM_SALT_BYTES = 16;

/** What a server stores instead of a password. */
export interface ScramVerifier {
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** Channel binding as the client sees it. */
export type ClientBinding =
  /** No TLS. */
  | { readonly kind: 'none' }
  /** TLS, but the server does not offer -PLUS: saying so lets an honest server notice a downgrade. */
  | { readonly kind: 'not-offered' }
  | { readonly kind: 'tls-server-end-point'; readonly certificateHash: Uint8Array };

/** What a password is worth without being it: enough to log in wherever the verifier (salt, iterations) is the same. */
export interface ScramKeys {
  readonly clientKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** The client's half of one exchange: `first`, then `respond`, then `verify`. */
export class ScramClient {
  readonly #crypto: Crypto;
  readonly #proof: string | ScramKeys;
  readonly #binding: ClientBinding;
  readonly #nonce: string;
  #firstBare = '';
  #serverKey: Uint8Array = new Uint8Array();
  #authMessage = '';

  constructor(
    crypto: Crypto,
    options: {
      /** The password, or the keys derived from it. */
      readonly password: string | ScramKeys;
      readonly binding: ClientBinding;
      /** `SCRAM_NONCE_BYTES` random bytes. */
      readonly nonce: Uint8Array;
      /** Postgres ignores the name here and takes the one of the startup packet. */
      readonly user?: string;
    },
  ) {
    this.#crypto = crypto;
    this.#proof = options.password;
    this.#binding = options.binding;
    this.#nonce = toBase64(options.nonce);
    this.#firstBare = `n=${escapeName(options.user ?? '')},r=${this.#nonce}`;
  }

  /** client-first-message */
  first(): string {
    return `${gs2Header(this.#binding)}${this.#firstBare}`;
  }

  /** client-final-message. Throws Fault `server-unproven` when the server's message is not acceptable. */
  async respond(serverFirst: string): Promise<string> {
    const attributes = parseAttributes(serverFirst);
    const nonce = attributes.get('r');
    const salt = attributes.get('s');
    const iterations = Number(attributes.get('i'));
    if (attributes.has('m') || nonce === undefined || salt === undefined) throw unproven('malformed SCRAM message');
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length) throw unproven('invalid SCRAM nonce');
    if (!Number.isInteger(iterations) || iterations < 1 || iterations > SCRAM_ITERATIONS_MAX) {
      throw unproven('invalid SCRAM iteration count');
    }
    const saltBytes = fromBase64(salt);
    if (saltBytes === null || saltBytes.length === 0) throw unproven('invalid SCRAM salt');
    const { clientKey, serverKey } = await this.#keys(saltBytes, iterations);
    this.#serverKey = serverKey;
    const withoutProof = `c=${toBase64(channelBindingInput(this.#binding))},r=${nonce}`;
    this.#authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const signature = this.#crypto.hmacSha256(this.#crypto.sha256(clientKey), utf8(this.#authMessage));
    return `${withoutProof},p=${toBase64(xor(clientKey, signature))}`;
  }

  async #keys(salt: Uint8Array, iterations: number): Promise<ScramKeys> {
    if (typeof this.#proof !== 'string') return this.#proof;
    const salted = await saltedPassword(this.#crypto, this.#proof, salt, iterations);
    return {
      clientKey: this.#crypto.hmacSha256(salted, utf8('Client Key')),
      serverKey: this.#crypto.hmacSha256(salted, utf8('Server Key')),
    };
  }

  /** Checks server-final-message. Throws Fault `server-unproven` unless the server knows the password too. */
  verify(serverFinal: string): void {
    const attributes = parseAttributes(serverFinal);
    const error = attributes.get('e');
    if (error !== undefined) throw unproven(`SCRAM error: ${error.slice(0, 60)}`);
    const signature = fromBase64(attributes.get('v') ?? '');
    const expected = this.#crypto.hmacSha256(this.#serverKey, utf8(this.#authMessage));
    if (this.#authMessage === '' || signature === null || !this.#crypto.equal(signature, expected)) {
      throw unproven('wrong SCRAM server signature');
    }
  }
}

/** Why a login failed: for the log; the client hears only that it failed. */
export class ScramRefused extends Error {}

/** The server's half: `first`, then `finish`. Throws ScramRefused; the message is for the log. */
export class ScramServer {
  readonly #crypto: Crypto;
  readonly #verifier: ScramVerifier;
  readonly #nonce: string;
  readonly #certificateHash: Uint8Array | null;
  readonly #plus: boolean;
  #gs2 = '';
  #clientFirstBare = '';
  #serverFirst = '';
  #fullNonce = '';
  /** The client's key, recovered from its proof: known only after `finish` accepted it. */
  clientKey: Uint8Array | null = null;

  constructor(
    crypto: Crypto,
    options: {
      readonly verifier: ScramVerifier;
      readonly nonce: Uint8Array;
      /** Hash of our certificate when the connection is over TLS and -PLUS was offered, else null. */
      readonly certificateHash: Uint8Array | null;
      /** True when the client chose -PLUS. */
      readonly plus: boolean;
    },
  ) {
    this.#crypto = crypto;
    this.#verifier = options.verifier;
    this.#nonce = toBase64(options.nonce);
    this.#certificateHash = options.certificateHash;
    this.#plus = options.plus;
  }

  /** server-first-message in answer to client-first-message. */
  first(clientFirst: string): string {
    const found = /^(n|y|p=([^,]*)),(?:a=[^,]*)?,(.*)$/s.exec(clientFirst);
    if (found === null) throw new ScramRefused('malformed client-first-message');
    const [, flag, bindingName, bare] = found as unknown as [string, string, string | undefined, string];
    this.#checkBinding(flag, bindingName);
    if (clientFirst.slice(flag.length, clientFirst.length - bare.length) !== ',,') {
      throw new ScramRefused('an authorization identity is not supported');
    }
    const attributes = parseAttributes(bare);
    const clientNonce = attributes.get('r');
    if (attributes.has('m') || clientNonce === undefined || !/^[\x21-\x2b\x2d-\x7e]+$/.test(clientNonce)) {
      throw new ScramRefused('malformed client nonce');
    }
    this.#gs2 = `${flag},,`;
    this.#clientFirstBare = bare;
    this.#fullNonce = clientNonce + this.#nonce;
    const { salt, iterations } = this.#verifier;
    this.#serverFirst = `r=${this.#fullNonce},s=${toBase64(salt)},i=${iterations}`;
    return this.#serverFirst;
  }

  /** server-final-message in answer to client-final-message, when the proof is right. */
  finish(clientFinal: string): string {
    const proofAt = clientFinal.lastIndexOf(',p=');
    if (this.#serverFirst === '' || proofAt === -1) throw new ScramRefused('malformed client-final-message');
    const withoutProof = clientFinal.slice(0, proofAt);
    const attributes = parseAttributes(withoutProof);
    const proof = fromBase64(clientFinal.slice(proofAt + 3));
    if (attributes.get('r') !== this.#fullNonce) throw new ScramRefused('nonce does not match');
    const binding = fromBase64(attributes.get('c') ?? '');
    const expected = Buffer.concat([utf8(this.#gs2), this.#plus ? (this.#certificateHash as Uint8Array) : utf8('')]);
    if (binding === null || !this.#crypto.equal(binding, expected))
      throw new ScramRefused('channel binding does not match');
    if (proof === null || proof.length !== 32) throw new ScramRefused('malformed proof');
    const authMessage = utf8(`${this.#clientFirstBare},${this.#serverFirst},${withoutProof}`);
    const signature = this.#crypto.hmacSha256(this.#verifier.storedKey, authMessage);
    const clientKey = xor(proof, signature);
    if (!this.#crypto.equal(this.#crypto.sha256(clientKey), this.#verifier.storedKey)) {
      throw new ScramRefused('wrong password');
    }
    this.clientKey = clientKey;
    return `v=${toBase64(this.#crypto.hmacSha256(this.#verifier.serverKey, authMessage))}`;
  }

  #checkBinding(flag: string, bindingName: string | undefined): void {
    if (this.#plus) {
      if (bindingName !== 'tls-server-end-point' || this.#certificateHash === null) {
        throw new ScramRefused('SCRAM-SHA-256-PLUS without channel binding tls-server-end-point');
      }
      return;
    }
    if (bindingName !== undefined) throw new ScramRefused('channel binding with a mechanism that has none');
    // The client could have bound and believes that we did not offer it: somebody took the offer out.
    if (flag === 'y' && this.#certificateHash !== null) throw new ScramRefused('channel binding was downgraded');
  }
}

/** `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`, as in pg_authid.rolpassword; null when it is not one. */
export function parseScramVerifier(text: string): ScramVerifier | null {
  const found = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/.exec(text);
  if (found === null) return null;
  const [, iterations, salt, storedKey, serverKey] = found as unknown as [string, string, string, string, string];
  const [saltBytes, storedBytes, serverBytes] = [fromBase64(salt), fromBase64(storedKey), fromBase64(serverKey)];
  if (saltBytes === null || storedBytes?.length !== 32 || serverBytes?.length !== 32 || Number(iterations) < 1)
    return null;
  return { iterations: Number(iterations), salt: saltBytes, storedKey: storedBytes, serverKey: serverBytes };
}

export function formatScramVerifier(verifier: ScramVerifier): string {
  const { iterations, salt, storedKey, serverKey } = verifier;
  return `SCRAM-SHA-256$${iterations}:${toBase64(salt)}$${toBase64(storedKey)}:${toBase64(serverKey)}`;
}

/** What to store for a password. */
export async function scramVerifierOf(
  crypto: Crypto,
  options: { readonly password: string; readonly salt: Uint8Array; readonly iterations?: number },
): Promise<ScramVerifier> {
  const iterations = options.iterations ?? SCRAM_ITERATIONS;
  const salted = await saltedPassword(crypto, options.password, options.salt, iterations);
  return {
    iterations,
    salt: options.salt,
    storedKey: crypto.sha256(crypto.hmacSha256(salted, utf8('Client Key'))),
    serverKey: crypto.hmacSha256(salted, utf8('Server Key')),
  };
}

/**
 * A verifier that no password fits, the same for the same user each time: an unknown user sees the same exchange as a known
 * one with a wrong password, so that names cannot be probed.
 */
export function mockScramVerifier(crypto: Crypto, secret: Uint8Array, user: string): ScramVerifier {
  const derive = (label: string): Uint8Array => crypto.hmacSha256(secret, utf8(`${label}\0${user}`));
  return {
    iterations: SCRAM_ITERATIONS,
    salt: derive('salt').subarray(0, SCRAM_SALT_BYTES),
    storedKey: derive('stored key'),
    serverKey: derive('server key'),
  };
}

function saltedPassword(crypto: Crypto, password: string, salt: Uint8Array, iterations: number): Promise<Uint8Array> {
  return crypto.pbkdf2Sha256(utf8(prepareSaslPassword(password)), salt, iterations);
}

function gs2Header(binding: ClientBinding): string {
  switch (binding.kind) {
    case 'none':
      return 'n,,';
    case 'not-offered':
      return 'y,,';
    case 'tls-server-end-point':
      return 'p=tls-server-end-point,,';
  }
}

function channelBindingInput(binding: ClientBinding): Uint8Array {
  const header = utf8(gs2Header(binding));
  return binding.kind === 'tls-server-end-point' ? Buffer.concat([header, binding.certificateHash]) : header;
}

/** `a=…,b=…`; the first of equal names counts. */
function parseAttributes(message: string): Map<string, string> {
  const attributes = new Map<string, string>();
  for (const part of message.split(',')) {
    if (part[1] === '=' && !attributes.has(part[0] as string)) attributes.set(part[0] as string, part.slice(2));
  }
  return attributes;
}

function escapeName(name: string): string {
  return name.replaceAll('=', '=3D').replaceAll(',', '=2C');
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, index) => byte ^ (b[index] as number));
}

function utf8(text: string): Buffer {
  return Buffer.from(text, 'utf8');
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** Strict: Buffer alone would skip what it does not understand. */
function fromBase64(text: string): Buffer | null {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return Buffer.from(text, 'base64');
}

function unproven(message: string): Fault {
  return new Fault('server-unproven', {
    message: `the server did not authenticate itself: ${message}`,
    hint: 'somebody may sit between; check host, port and TLS settings',
    sqlstate: '28000',
  });
}
