import { describe, expect, test } from 'bun:test';
import { Fault } from '../base/fault.ts';
import { isLoopbackHost, requireSafeHttpUrl, requireSafeListening } from './exposure.ts';

test.each([
  ['127.0.0.1', true],
  ['127.9.8.7', true],
  ['::1', true],
  ['[::1]', true],
  ['::ffff:127.0.0.1', true],
  ['localhost', true],
  ['/var/run/skerry', true],
  ['0.0.0.0', false],
  ['::', false],
  ['10.0.0.1', false],
  ['', false],
  ['127.0.0.1.example.com', false],
  ['127.evil.example', false],
  ['localhost.example.com', false],
])('%s is this machine: %p', (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});

function codeOf(action: () => void): string {
  try {
    action();
    return 'fine';
  } catch (error) {
    if (error instanceof Fault && error.hint !== undefined) return error.code;
    throw error;
  }
}

describe('listening', () => {
  test.each([
    ['127.0.0.1', false, false, 'fine'],
    ['0.0.0.0', false, false, 'tls-required'],
    ['0.0.0.0', false, true, 'tls-required'],
    ['0.0.0.0', true, false, 'authentication-required'],
    ['10.0.0.1', true, true, 'fine'],
  ])('on %s with TLS %p and authentication %p: %s', (host, hasTls, hasAuthentication, expected) => {
    expect(codeOf(() => requireSafeListening({ who: 'the edge', host, hasTls, hasAuthentication }))).toBe(expected);
  });
});

describe('a snapshot is asked for', () => {
  test.each([
    ['http://127.0.0.1:6451', 'fine'],
    ['http://[::1]:6451', 'fine'],
    ['https://relay.example.com:6451', 'fine'],
    ['http://relay.example.com:6451', 'tls-required'],
    ['http://127.0.0.1@relay.example.com', 'tls-required'],
    ['ftp://127.0.0.1', 'config-value'],
    ['relay.example.com', 'config-value'],
  ])('%s: %s', (url, expected) => {
    expect(codeOf(() => requireSafeHttpUrl('edge.upstream_http_url', url))).toBe(expected);
  });
});
