// The seam to cryptography: native code lives in `runtime/crypto.ts`.

export interface Crypto {
  sha256(bytes: Uint8Array): Uint8Array;
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  /** Hex, lower case: for Postgres' md5 authentication and for row checksums, not for secrets. */
  md5Hex(bytes: Uint8Array | string): string;
  /** PBKDF2-HMAC-SHA-256 with a 32-byte result, off the event loop. */
  pbkdf2Sha256(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<Uint8Array>;
  /** Compares in constant time; false when the lengths differ. */
  equal(a: Uint8Array, b: Uint8Array): boolean;
  /** Hash of a certificate (DER) as RFC 5929 tls-server-end-point wants it: the signature's hash, SHA-256 for MD5 and SHA-1. */
  certificateHash(der: Uint8Array): Uint8Array;
}
