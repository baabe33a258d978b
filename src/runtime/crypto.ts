// Hashes from OpenSSL (BoringSSL in Bun).

import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import type { Crypto } from '../base/crypto.ts';

export function createCrypto(): Crypto {
  return {
    sha256: (bytes) => createHash('sha256').update(bytes).digest(),
    hmacSha256: (key, bytes) => createHmac('sha256', key).update(bytes).digest(),
    md5Hex: (bytes) => createHash('md5').update(bytes).digest('hex'),
    pbkdf2Sha256: (password, salt, iterations) =>
      new Promise((resolve, reject) => {
        pbkdf2(password, salt, iterations, 32, 'sha256', (error, key) =>
          error === null ? resolve(key) : reject(error),
        );
      }),
    equal: (a, b) => a.length === b.length && timingSafeEqual(a, b),
    certificateHash: (der) => createHash(certificateHashName(der)).update(der).digest(),
  };
}

/** Signature algorithms (their OIDs as DER) by the hash that RFC 5929 asks for. MD5 and SHA-1 count as SHA-256. */
const HASH_BY_SIGNATURE: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256', // sha256WithRSAEncryption
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010e': 'sha224',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
  '2b6570': 'sha512', // Ed25519 hashes with SHA-512 inside
};

const RSASSA_PSS = '2a864886f70d01010a';

/** Hash OIDs as they appear in the parameters of RSASSA-PSS; absent means SHA-1, which counts as SHA-256. */
const PSS_HASHES: readonly (readonly [string, string])[] = [
  ['0609608648016503040203', 'sha512'],
  ['0609608648016503040202', 'sha384'],
  ['0609608648016503040201', 'sha256'],
];

function certificateHashName(der: Uint8Array): string {
  // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, parameters }, signature }
  const certificate = derElement(der, 0);
  const tbs = derElement(der, certificate.start);
  const algorithm = derElement(der, tbs.end);
  const oid = derElement(der, algorithm.start);
  const name = Buffer.from(der.subarray(oid.start, oid.end)).toString('hex');
  if (name === RSASSA_PSS) {
    const parameters = Buffer.from(der.subarray(oid.end, algorithm.end)).toString('hex');
    return PSS_HASHES.find(([hash]) => parameters.includes(hash))?.[1] ?? 'sha256';
  }
  return HASH_BY_SIGNATURE[name] ?? 'sha256';
}

/** Where the contents of the element at `at` begin and end. */
function derElement(der: Uint8Array, at: number): { start: number; end: number } {
  const first = der[at + 1] ?? 0;
  if (first < 0x80) return { start: at + 2, end: at + 2 + first };
  const lengthBytes = first & 0x7f;
  let length = 0;
  for (let index = 0; index < lengthBytes; index += 1) length = length * 256 + (der[at + 2 + index] ?? 0);
  const start = at + 2 + lengthBytes;
  return { start, end: start + length };
}
