import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../../test/harness.ts';
import { Fault } from '../base/fault.ts';
import { readCertificate } from '../runtime/x509.ts';
import { certsConfig, type CertsOptions, makeCerts } from './certs.ts';

const NOW = Date.UTC(2026, 10, 20);
const DAY_MS = 86_400_000;

function folderOf(): Disposable & { make(more?: Partial<CertsOptions>): ReturnType<typeof makeCerts>; dir: string } {
  const folder = temporaryFolder();
  const dir = join(folder.path, 'certs');
  const defaults = { dir, hosts: ['localhost', '::1'], roles: ['relay', 'edge-0'], renew: false, nowMs: NOW };
  return {
    dir,
    make: (more = {}) => makeCerts({ ...defaults, ...more }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof Fault && error.hint !== undefined) return error.code;
    throw error;
  }
  return 'none';
}

test('the first run makes an authority and a certificate per role, all of it for their owner only', () => {
  using certs = folderOf();
  const made = certs.make();
  expect([made.caDone, ...made.roles.map((role) => role.done)]).toEqual(['made', 'made', 'made']);
  expect(readdirSync(certs.dir).sort()).toEqual([
    'ca.crt',
    'ca.key',
    'edge-0.crt',
    'edge-0.key',
    'relay.crt',
    'relay.key',
  ]);
  expect(statSync(certs.dir).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(certs.dir)) expect(statSync(join(certs.dir, name)).mode & 0o777).toBe(0o600);
  expect(certsConfig(made, made.roles[1] as (typeof made.roles)[0])).toBe(
    `edge:\n  tls_cert: "${certs.dir}/edge-0.crt"\n  tls_key: "${certs.dir}/edge-0.key"\n  tls_ca: "${certs.dir}/ca.crt"`,
  );
});

test('the second run changes nothing, a further role is added under the same authority', () => {
  using certs = folderOf();
  certs.make();
  const before = new Map(readdirSync(certs.dir).map((name) => [name, readFileSync(join(certs.dir, name), 'utf8')]));
  const again = certs.make({ roles: ['relay', 'edge-0', 'edge-1'], hosts: ['::1'] });
  expect(again.roles.map((role) => [role.done, role.warning])).toEqual([
    ['kept', null],
    ['kept', null],
    ['made', null],
  ]);
  for (const [name, text] of before) expect(readFileSync(join(certs.dir, name), 'utf8')).toBe(text);
});

test('--renew issues the named roles again and leaves the authority and the others', () => {
  using certs = folderOf();
  certs.make();
  const read = (name: string): string => readFileSync(join(certs.dir, name), 'utf8');
  const [ca, relay, edge] = [read('ca.crt'), read('relay.crt'), read('edge-0.crt')];
  const renewed = certs.make({ roles: ['edge-0'], renew: true, hosts: ['10.0.0.9'], nowMs: NOW + 100 * DAY_MS });
  expect(renewed.roles[0]).toMatchObject({ done: 'renewed', untilMs: NOW + 465 * DAY_MS, hosts: ['10.0.0.9'] });
  expect([read('ca.crt'), read('relay.crt')]).toEqual([ca, relay]);
  expect(read('edge-0.crt')).not.toBe(edge);
});

test('a certificate that is kept says when it is nearly over, is over, or lacks a host', () => {
  using certs = folderOf();
  certs.make();
  const warning = (more: Partial<CertsOptions>): string | null | undefined => certs.make(more).roles[0]?.warning;
  expect(warning({ nowMs: NOW + 340 * DAY_MS })).toContain('valid until 2027-11-20 only');
  expect(warning({ nowMs: NOW + 366 * DAY_MS })).toContain('its time was over on 2027-11-20');
  expect(warning({ hosts: ['localhost', '10.0.0.1'] })).toContain('not valid for 10.0.0.1');
  expect(warning({ hosts: ['0:0::1', 'LocalHost'] })).toBeNull();
});

test('nothing is signed for longer than the authority lives', () => {
  using certs = folderOf();
  const { ca } = certs.make();
  const late = certs.make({ renew: true, nowMs: NOW + 3500 * DAY_MS });
  expect(late.roles[0]?.untilMs).toBe(readCertificate(readFileSync(ca, 'utf8')).untilMs);
});

describe('refused, with what to do', () => {
  test.each(['ca', '', '../evil', 'a b', 'x'.repeat(64), 'a\nb'])('the role name %j', (role) => {
    using certs = folderOf();
    expect(codeOf(() => certs.make({ roles: [role] }))).toBe('certs-name-invalid');
  });

  test.each(['', 'a b', 'http://x', 'x:y', 'ä.example'])('the host %j', (host) => {
    using certs = folderOf();
    expect(codeOf(() => certs.make({ hosts: [host] }))).toBe('certs-name-invalid');
  });

  test('an authority without its key, with another key, or over', () => {
    using certs = folderOf();
    using other = folderOf();
    certs.make();
    other.make();
    expect(codeOf(() => certs.make({ nowMs: NOW + 3651 * DAY_MS }))).toBe('certs-authority');
    writeFileSync(join(certs.dir, 'ca.key'), readFileSync(join(other.dir, 'ca.key')));
    expect(codeOf(() => certs.make())).toBe('certs-authority');
    rmSync(join(certs.dir, 'ca.key'));
    expect(codeOf(() => certs.make())).toBe('certs-authority');
  });

  test('a certificate of another authority, of another role, with another key, or none', () => {
    using certs = folderOf();
    using other = folderOf();
    certs.make();
    other.make();
    const put = (from: string, to: string): void => writeFileSync(join(certs.dir, to), readFileSync(from));
    put(join(other.dir, 'edge-0.key'), 'edge-0.key');
    expect(codeOf(() => certs.make())).toBe('certs-foreign');
    put(join(other.dir, 'edge-0.crt'), 'edge-0.crt');
    expect(codeOf(() => certs.make())).toBe('certs-foreign');
    put(join(certs.dir, 'relay.crt'), 'edge-0.crt');
    put(join(certs.dir, 'relay.key'), 'edge-0.key');
    expect(codeOf(() => certs.make())).toBe('certs-foreign');
    writeFileSync(join(certs.dir, 'edge-0.crt'), 'no certificate');
    expect(codeOf(() => certs.make())).toBe('certs-foreign');
    expect(certs.make({ renew: true }).roles.map((role) => role.done)).toEqual(['renewed', 'renewed']);
  });
});
