// A small certificate authority: EC P-256 keys, X.509 v3 certificates written as DER. Only what `skerry certs` needs; reading
// is left to node:crypto. Keys and serial numbers come from the system's generator, times from the caller.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';

/** A certificate and its private key, as PEM texts. */
export interface PemPair {
  readonly cert: string;
  readonly key: string;
}

export interface Validity {
  /** Milliseconds of wall clock. */
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface CertificateFacts {
  readonly commonName: string;
  /** Names and addresses it is valid for, as they were given to `issueCertificate`. */
  readonly hosts: readonly string[];
  readonly untilMs: number;
  readonly isAuthority: boolean;
}

/** A certificate that may sign others, signed by itself. */
export function createAuthority(commonName: string, validity: Validity): PemPair {
  const { publicKey, privateKey } = newKey();
  const id = keyIdentifier(publicKey);
  const cert = signCertificate(privateKey, {
    issuer: commonName,
    subject: commonName,
    publicKey,
    validity,
    extensions: [
      // pathLenConstraint 0: what it signs may not sign in turn.
      extension(OID_BASIC_CONSTRAINTS, true, sequence(BOOLEAN_TRUE, element(INTEGER, Buffer.from([0])))),
      // keyCertSign (5) and cRLSign (6).
      extension(OID_KEY_USAGE, true, element(BIT_STRING, Buffer.from([1, 0b0000_0110]))),
      extension(OID_SUBJECT_KEY_IDENTIFIER, false, element(OCTET_STRING, id)),
    ],
  });
  return { cert, key: privateKeyPem(privateKey) };
}

/** A certificate of its own key pair for a role: to serve under `hosts`, and to prove as a client that it is `commonName`. */
export function issueCertificate(
  authority: PemPair,
  options: { readonly commonName: string; readonly hosts: readonly string[]; readonly validity: Validity },
): PemPair {
  const issuer = new X509Certificate(authority.cert);
  const { publicKey, privateKey } = newKey();
  const cert = signCertificate(createPrivateKey(authority.key), {
    issuer: commonNameOf(issuer),
    subject: options.commonName,
    publicKey,
    validity: options.validity,
    extensions: [
      extension(OID_BASIC_CONSTRAINTS, true, sequence()),
      // digitalSignature (0): all that an EC key does in TLS.
      extension(OID_KEY_USAGE, true, element(BIT_STRING, Buffer.from([7, 0b1000_0000]))),
      extension(OID_EXTENDED_KEY_USAGE, false, sequence(oid(OID_SERVER_AUTH), oid(OID_CLIENT_AUTH))),
      ...(options.hosts.length === 0
        ? []
        : [extension(OID_SUBJECT_ALT_NAME, false, sequence(...options.hosts.map(generalName)))]),
      extension(OID_SUBJECT_KEY_IDENTIFIER, false, element(OCTET_STRING, keyIdentifier(publicKey))),
      extension(OID_AUTHORITY_KEY_IDENTIFIER, false, sequence(element(0x80, keyIdentifier(issuer.publicKey)))),
    ],
  });
  return { cert, key: privateKeyPem(privateKey) };
}

/** Throws when the text holds no certificate. */
export function readCertificate(pem: string): CertificateFacts {
  const certificate = new X509Certificate(pem);
  return {
    commonName: commonNameOf(certificate),
    hosts: (certificate.subjectAltName ?? '')
      .split(', ')
      .filter((name) => name !== '')
      .map((name) => canonicalHost(name.replace(/^(DNS|IP Address):/, ''))),
    untilMs: Date.parse(certificate.validTo),
    isAuthority: certificate.ca,
  };
}

/** True when `cert` was signed by the key of `authority`, whatever the time is. */
export function isIssuedBy(cert: string, authority: string): boolean {
  const by = new X509Certificate(authority);
  const certificate = new X509Certificate(cert);
  return certificate.checkIssued(by) && certificate.verify(by.publicKey);
}

/** True when key and certificate belong together. */
export function isKeyOf(key: string, cert: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** One spelling of each address: IPv6 has many. */
export function canonicalHost(host: string): string {
  return isIP(host) === 6 ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host.toLowerCase();
}

interface CertificateParts {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly validity: Validity;
  readonly extensions: readonly Buffer[];
}

function signCertificate(key: KeyObject, parts: CertificateParts): string {
  const algorithm = sequence(oid(OID_ECDSA_SHA256));
  const toBeSigned = sequence(
    element(0xa0, element(INTEGER, Buffer.from([2]))), // version 3
    element(INTEGER, serialNumber()),
    algorithm,
    name(parts.issuer),
    sequence(time(parts.validity.fromMs), time(parts.validity.untilMs)),
    name(parts.subject),
    parts.publicKey.export({ type: 'spki', format: 'der' }),
    element(0xa3, sequence(...parts.extensions)),
  );
  const signature = sign('sha256', toBeSigned, key);
  const der = sequence(toBeSigned, algorithm, element(BIT_STRING, Buffer.concat([Buffer.from([0]), signature])));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function newKey(): { publicKey: KeyObject; privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { publicKey: createPublicKey(publicKey), privateKey: createPrivateKey(privateKey) };
}

function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** SHA-1 of the public point, as RFC 5280 (4.2.1.2) suggests: an index, not a proof. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const point = publicKey.export({ type: 'spki', format: 'der' }).subarray(-POINT_BYTES);
  return createHash('sha1').update(point).digest();
}

function commonNameOf(certificate: X509Certificate): string {
  return /(?:^|\n)CN=(.*)/.exec(certificate.subject)?.[1] ?? '';
}

/** 127 random bits: positive, and never the same twice. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes;
}

// DER: tag, length, contents.

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
const BOOLEAN_TRUE = Buffer.from([0x01, 0x01, 0xff]);

/** An uncompressed point of P-256. */
const POINT_BYTES = 65;

const OID_ECDSA_SHA256 = '2a8648ce3d040302';
const OID_COMMON_NAME = '550403';
const OID_BASIC_CONSTRAINTS = '551d13';
const OID_KEY_USAGE = '551d0f';
const OID_EXTENDED_KEY_USAGE = '551d25';
const OID_SUBJECT_ALT_NAME = '551d11';
const OID_SUBJECT_KEY_IDENTIFIER = '551d0e';
const OID_AUTHORITY_KEY_IDENTIFIER = '551d23';
const OID_SERVER_AUTH = '2b06010505070301';
const OID_CLIENT_AUTH = '2b06010505070302';

function element(tag: number, contents: Uint8Array): Buffer {
  const { length } = contents;
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff];
  if (length > 0xffff) throw new Error('assertion failed: a certificate is shorter than 64 kB');
  return Buffer.concat([Buffer.from(head), contents]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(SEQUENCE, Buffer.concat(parts));
}

function oid(hex: string): Buffer {
  return element(OBJECT_IDENTIFIER, Buffer.from(hex, 'hex'));
}

function extension(id: string, critical: boolean, value: Uint8Array): Buffer {
  return sequence(oid(id), ...(critical ? [BOOLEAN_TRUE] : []), element(OCTET_STRING, value));
}

/** A distinguished name of one common name. */
function name(commonName: string): Buffer {
  return sequence(element(SET, sequence(oid(OID_COMMON_NAME), element(UTF8_STRING, Buffer.from(commonName)))));
}

/** dNSName [2] or iPAddress [7]. */
function generalName(host: string): Buffer {
  return isIP(host) === 0 ? element(0x82, Buffer.from(host, 'latin1')) : element(0x87, addressBytes(host));
}

/** RFC 5280: UTCTime up to 2049, GeneralizedTime after it. */
function time(ms: number): Buffer {
  const digits = `${new Date(ms).toISOString().replaceAll(/\D/g, '').slice(0, 14)}Z`;
  return digits < '2050'
    ? element(UTC_TIME, Buffer.from(digits.slice(2)))
    : element(GENERALIZED_TIME, Buffer.from(digits));
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // The URL parser knows all spellings; embedded IPv4 becomes hexadecimal in it.
  const [head, tail] = canonicalHost(address).split('::') as [string, string?];
  const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'));
  const zeros = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array.from({ length: tail === undefined ? 0 : zeros }, () => '0'), ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
