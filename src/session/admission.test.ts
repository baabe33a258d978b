import { describe, expect, test } from 'bun:test';
import { sessionWorld } from '../../test/session-world.ts';
import type { TlsFacts } from '../base/net.ts';
import { admissionBy, type AdmissionRules, type LoginRequest, verifiersOf } from './admission.ts';

const verifiers = await verifiersOf(sessionWorld(), [['peer', 'secret']]);
const plain: TlsFacts = { authorized: false, protocol: 'TLSv1.3', alpn: null, peerCertificate: null, peerName: null };
const certificate = (peerName: string): TlsFacts => ({
  ...plain,
  authorized: true,
  peerCertificate: new Uint8Array(1),
  peerName,
});
const expired: TlsFacts = { ...certificate('edge-0'), authorized: false, reason: 'certificate has expired' };

/** The method, or the sentence of a refusal. */
async function outcome(rules: Partial<AdmissionRules>, request: Partial<LoginRequest>): Promise<string> {
  const admit = admissionBy({ verifiers, trustLoopback: false, acceptCertificates: true, requireTls: true, ...rules });
  const admission = await admit({
    user: 'edge-0',
    database: 'db',
    replication: 'off',
    remoteAddress: '10.0.0.9',
    isLoopback: false,
    tls: plain,
    ...request,
  });
  return admission.method === 'refuse' ? admission.error.message : admission.method;
}

describe('a peer from another machine', () => {
  test.each<[string, Partial<AdmissionRules>, Partial<LoginRequest>, string]>([
    ['without TLS', {}, { tls: null }, 'connections from other machines must use TLS'],
    ['is not trusted for this machine being trusted', { trustLoopback: true }, {}, 'scram'],
    ['with its certificate', {}, { tls: certificate('edge-0') }, 'certificate'],
    [
      'with a certificate that is not looked at',
      { acceptCertificates: false },
      { tls: certificate('edge-0') },
      'scram',
    ],
    [
      'with an old certificate',
      {},
      { tls: expired },
      "the client's certificate is not trusted: certificate has expired",
    ],
    [
      'with the certificate of another',
      {},
      { tls: certificate('edge-1') },
      `the client's certificate is of "edge-1", not of user "edge-0"`,
    ],
    ['with the certificate of another and a password', {}, { tls: certificate('edge-1'), user: 'peer' }, 'scram'],
    [
      'with a name that is not on the list',
      { certificateNames: new Set(['edge-1']) },
      { tls: certificate('edge-0') },
      'the name "edge-0" is not among those that may log in here',
    ],
    [
      'with a password where certificates are required',
      { requireCertificates: true },
      { user: 'peer' },
      'user "peer" needs a certificate to log in from another machine',
    ],
    [
      'which is ourselves, where certificates are required',
      { requireCertificates: true, internalUsers: new Set(['peer']) },
      { user: 'peer' },
      'scram',
    ],
  ])('%s', async (_name, rules, request, expected) => {
    expect(await outcome(rules, request)).toBe(expected);
  });
});

test('a peer on this machine is trusted by explicit choice only', async () => {
  const local = { isLoopback: true, tls: null };
  expect(await outcome({}, local)).toBe('scram');
  expect(await outcome({ trustLoopback: true }, local)).toBe('trust');
  expect(await outcome({ requireCertificates: true }, local)).toBe('scram');
});
