import { describe, expect, test } from 'bun:test';
import { sessionWorld } from '../../test/session-world.ts';
import type { HttpPeer } from '../base/http.ts';
import { createLog } from '../observe/log.ts';
import { verifiersOf } from './admission.ts';
import { HttpAccess, type HttpAccessRules } from './http-access.ts';

const world = sessionWorld();
const verifiers = await verifiersOf(world, [['peer', 'pass:word']]);
const here: HttpPeer = { address: '127.0.0.1', isLoopback: true, tls: null };
const far: HttpPeer = { address: '10.0.0.9', isLoopback: false, tls: { authorized: false, peerName: null } };
const plainFar: HttpPeer = { ...far, tls: null };
const edge: HttpPeer = { ...far, tls: { authorized: true, peerName: 'edge-0' } };
const rogue: HttpPeer = { ...far, tls: { authorized: false, peerName: 'edge-0', reason: 'CERT_HAS_EXPIRED' } };
const basic = (text: string): Record<string, string> => ({ authorization: `Basic ${btoa(text)}` });
const RIGHT = basic('peer:pass:word');

async function statusOf(
  route: string,
  peer: HttpPeer,
  headers: Record<string, string> = {},
  more: Partial<HttpAccessRules> = {},
): Promise<number> {
  const lines: string[] = [];
  const log = createLog({ level: 'debug', format: 'text', wall: () => 0, sink: (line) => lines.push(line) });
  const access = new HttpAccess(
    { crypto: world.crypto, log },
    {
      verifiers,
      trustLoopback: false,
      acceptCertificates: true,
      openToAll: new Set(['GET /healthz']),
      openOnLoopback: new Set(['GET /status']),
      ...more,
    },
  );
  const refusal = await access.refusal(route, new Request('https://localhost/', { headers }), peer);
  expect(lines.join()).not.toContain('word');
  if (refusal !== null) expect(((await refusal.json()) as { error: string }).error).not.toBe('');
  return refusal?.status ?? 200;
}

describe('a route asked by somebody with some proof', () => {
  test.each<[string, string, HttpPeer, Record<string, string>, number]>([
    ['health, by anybody', 'GET /healthz', plainFar, {}, 200],
    ['status, from this machine', 'GET /status', here, {}, 200],
    ['status, from elsewhere', 'GET /status', far, {}, 401],
    ['rows, from this machine', 'GET /snapshot', here, {}, 401],
    ['rows, with the password', 'GET /snapshot', here, RIGHT, 200],
    ['rows, from elsewhere with the password', 'GET /snapshot', far, RIGHT, 200],
    ['the password without TLS', 'GET /snapshot', plainFar, RIGHT, 403],
    ['a wrong password', 'GET /snapshot', far, basic('peer:wrong word'), 401],
    ['an unknown user', 'GET /snapshot', far, basic('eve:pass:word'), 401],
    ['no colon', 'GET /snapshot', far, basic('peer'), 401],
    ['an endless password', 'GET /snapshot', far, basic(`peer:${'x'.repeat(100_000)}`), 401],
    ['a certificate', 'GET /snapshot', edge, {}, 200],
    ['a certificate that is not trusted', 'GET /snapshot', rogue, {}, 401],
    ['another method of an open route', 'POST /healthz', far, {}, 401],
  ])('%s', async (_name, route, peer, headers, expected) => {
    expect(await statusOf(route, peer, headers)).toBe(expected);
  });
});

test('certificates count only where they are accepted, and only the names that are allowed', async () => {
  expect(await statusOf('GET /snapshot', edge, {}, { acceptCertificates: false })).toBe(401);
  expect(await statusOf('GET /snapshot', edge, {}, { certificateNames: new Set(['edge-1']) })).toBe(401);
  expect(await statusOf('GET /snapshot', edge, {}, { certificateNames: new Set(['edge-0']) })).toBe(200);
});

test('where certificates are required a password does not do, but on this machine', async () => {
  const rules = { requireCertificates: true };
  expect(await statusOf('GET /snapshot', far, RIGHT, rules)).toBe(403);
  expect(await statusOf('GET /snapshot', edge, {}, rules)).toBe(200);
  expect(await statusOf('GET /snapshot', here, RIGHT, rules)).toBe(200);
});

test('trust of this machine is not trust of others', async () => {
  expect(await statusOf('GET /snapshot', here, {}, { trustLoopback: true })).toBe(200);
  expect(await statusOf('GET /snapshot', far, {}, { trustLoopback: true })).toBe(401);
});
