import { describe, expect, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/harness.ts';
import { canonicalHost, createAuthority, isIssuedBy, isKeyOf, issueCertificate, readCertificate } from './x509.ts';

const NOW = Date.UTC(2026, 10, 20);
const DAY_MS = 86_400_000;
const validity = (days: number) => ({ fromMs: NOW - DAY_MS, untilMs: NOW + days * DAY_MS });
const HOSTS = ['relay.example.com', '10.1.2.3', '::1', '2001:db8::42:1'];

const authority = createAuthority('Skerry CA', validity(3650));
const role = issueCertificate(authority, { commonName: 'edge-0', hosts: HOSTS, validity: validity(365) });

describe('what another implementation reads', () => {
  test('the authority may sign, the role may not', () => {
    const ca = new X509Certificate(authority.cert);
    const leaf = new X509Certificate(role.cert);
    expect([ca.ca, leaf.ca]).toEqual([true, false]);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect([ca.subject, leaf.subject, leaf.issuer]).toEqual(['CN=Skerry CA', 'CN=edge-0', 'CN=Skerry CA']);
    expect(leaf.validTo).toBe('Nov 20 00:00:00 2027 GMT');
  });

  test('names and addresses match, others do not', () => {
    const leaf = new X509Certificate(role.cert);
    expect(leaf.checkHost('relay.example.com')).toBe('relay.example.com');
    expect(leaf.checkHost('edge.example.com')).toBeUndefined();
    expect(leaf.checkIP('10.1.2.3')).toBe('10.1.2.3');
    expect(leaf.checkIP('10.1.2.4')).toBeUndefined();
    expect(leaf.checkIP('::1')).toBeDefined();
    expect(leaf.checkIP('2001:db8::42:1')).toBeDefined();
  });

  test('dates after 2049 are written as RFC 5280 wants them', () => {
    const late = createAuthority('late', { fromMs: NOW, untilMs: Date.UTC(2061, 4, 6, 7, 8, 9) });
    expect(new X509Certificate(late.cert).validTo).toBe('May  6 07:08:09 2061 GMT');
  });

  const openssl = Bun.which('openssl');
  if (openssl === null) process.stderr.write('skipped: openssl is not installed, its verdict is not asked for\n');
  test.skipIf(openssl === null)('openssl verifies the chain for both purposes and finds nothing to complain of', () => {
    using folder = temporaryFolder();
    const file = (name: string, text: string): string => {
      const path = join(folder.path, name);
      writeFileSync(path, text);
      return path;
    };
    const ca = file('ca.crt', authority.cert);
    const cert = file('edge.crt', role.cert);
    const key = file('edge.key', role.key);
    const run = (...args: string[]): string => {
      const done = Bun.spawnSync([openssl as string, ...args]);
      return `${done.stdout.toString()}${done.stderr.toString()}`.trim();
    };
    const at = ['-attime', String(NOW / 1000), '-x509_strict', '-CAfile', ca];
    for (const purpose of ['sslserver', 'sslclient']) {
      expect(run('verify', '-purpose', purpose, ...at, cert)).toBe(`${cert}: OK`);
    }
    const text = run('x509', '-in', cert, '-noout', '-text');
    expect(text).toContain('ecdsa-with-SHA256');
    expect(text).toContain('TLS Web Server Authentication, TLS Web Client Authentication');
    expect(text).toContain('DNS:relay.example.com, IP Address:10.1.2.3, IP Address:0:0:0:0:0:0:0:1');
    expect(run('pkey', '-in', key, '-pubout')).toBe(run('x509', '-in', cert, '-noout', '-pubkey'));
  });
});

test('a certificate is read back as it was written', () => {
  expect(readCertificate(role.cert)).toEqual({
    commonName: 'edge-0',
    hosts: HOSTS.map(canonicalHost),
    untilMs: NOW + 365 * DAY_MS,
    isAuthority: false,
  });
  expect(readCertificate(authority.cert).isAuthority).toBe(true);
});

test('another authority of the same name did not sign it, and another key is not its key', () => {
  const other = createAuthority('Skerry CA', validity(3650));
  expect(isIssuedBy(role.cert, authority.cert)).toBe(true);
  expect(isIssuedBy(role.cert, other.cert)).toBe(false);
  expect(isKeyOf(role.key, role.cert)).toBe(true);
  expect(isKeyOf(other.key, role.cert)).toBe(false);
  expect(isKeyOf('no key', role.cert)).toBe(false);
});

test('serial numbers and keys differ each time', () => {
  const again = issueCertificate(authority, { commonName: 'edge-0', hosts: HOSTS, validity: validity(365) });
  expect(new X509Certificate(again.cert).serialNumber).not.toBe(new X509Certificate(role.cert).serialNumber);
  expect(again.key).not.toBe(role.key);
});

test.each([
  ['::1', '::1'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8::', '2001:db8::'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ['10.0.0.1', '10.0.0.1'],
  ['Relay.Example.COM', 'relay.example.com'],
])('%s is spelled %s', (host, expected) => {
  expect(canonicalHost(host)).toBe(expected);
});
