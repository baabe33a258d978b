// I11: roles that talk to each other over TLS, with the certificates that `skerry certs` makes.

import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, startPostgres, temporaryFolder, waitFor } from '../harness.ts';
import type { RoleStatus } from '../../src/contracts/health.ts';
import { skerry, spawnRole, startRole, startUp } from '../skerry.ts';

test('relay and edge run with certificates of our own authority, and an edge that trusts another one stays out', async () => {
  using folder = temporaryFolder();
  const certs = join(folder.path, 'certs');
  expect((await skerry(['certs', '--dir', certs, '--roles', 'relay,edge-0'])).code).toBe(0);
  expect((await skerry(['certs', '--dir', join(folder.path, 'others'), '--roles', 'relay'])).code).toBe(0);
  await using postgres = await startPostgres();
  await postgres.sql(`create table t (id int primary key, a text); insert into t values (1, 'over TLS')`);
  const secret = join(folder.path, 'secret');
  const users = join(folder.path, 'users');
  writeFileSync(secret, 'a long peer password\n');
  writeFileSync(users, 'ann:what ann knows\n');
  const [relay, relayHttp, edge, edgeHttp] = [freePort(), freePort(), freePort(), freePort()];
  const common = { core: { database_url: postgres.url } };
  const relayFile = config(folder.path, 'relay', {
    ...common,
    relay: {
      dir: join(folder.path, 'relay'),
      host: '0.0.0.0',
      port: relay,
      http_port: relayHttp,
      peer_password_file: secret,
      ...tls(certs, 'relay'),
    },
  });
  const edgeFile = (name: string, ca: string): string =>
    config(folder.path, name, {
      ...common,
      edge: {
        name,
        dir: join(folder.path, name),
        host: '0.0.0.0',
        port: edge,
        http_port: edgeHttp,
        peer_password_file: secret,
        client_users_file: users,
        upstream_url: `postgres://127.0.0.1:${relay}/postgres?sslmode=verify-full&sslrootcert=${ca}`,
        upstream_http_url: `https://127.0.0.1:${relayHttp}`,
        ...tls(certs, 'edge-0'),
      },
    });

  await using _relay = await startRole('relay', relayFile);
  {
    await using stranger = spawnRole('edge', edgeFile('stranger', join(folder.path, 'others', 'ca.crt')));
    await waitFor('the stranger says what it does not trust', () => /certificate|trust/i.test(stranger.log()));
    expect(stranger.isReady()).toBe(false);
  }
  await using edgeRole = await startRole('edge', edgeFile('edge-0', join(certs, 'ca.crt')));
  const ca = readFileSync(join(certs, 'ca.crt'), 'utf8');
  const query = async (url: string, tlsOptions: object | false): Promise<unknown[]> => {
    const client = new Bun.SQL({ url, max: 1, tls: tlsOptions as never });
    try {
      return [...(await client.unsafe('select a from t'))];
    } finally {
      await client.close();
    }
  };
  const url = (password: string): string => `postgres://ann:${encodeURIComponent(password)}@127.0.0.1:${edge}/postgres`;
  expect(await query(url('what ann knows'), { ca })).toMatchObject([{ a: 'over TLS' }]);
  await expectRefused(query(url('a guess'), { ca }));
  expect(edgeRole.log()).not.toContain('what ann knows');
});

function tls(certs: string, name: string): Record<string, string> {
  return { tls_cert: join(certs, `${name}.crt`), tls_key: join(certs, `${name}.key`) };
}

function config(folder: string, name: string, values: object): string {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, JSON.stringify(values));
  return file;
}

async function expectRefused(action: Promise<unknown>): Promise<void> {
  const error = await action.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).not.toBeNull();
}

test('skerry up --tls: all ports speak TLS, edges log in with their certificates, status and verify trust the CA', async () => {
  using folder = temporaryFolder();
  const dir = join(folder.path, 'world');
  await using up = await startUp(['--dir', dir, '--tls', '--edges', '2', '--sample', 'none']);
  const { core, edges, relay } = up.ready;
  expect([relay, ...edges].every((place) => place.http.startsWith('https://'))).toBe(true);
  const tlsOptions = { ca: readFileSync(join(dir, 'certs', 'ca.crt'), 'utf8') };
  const password = readFileSync(join(dir, 'core-password'), 'utf8').trim();
  const onCore = new Bun.SQL({ url: core.url.replace('@', `:${password}@`), max: 1, tls: false });
  await onCore.unsafe(`create table t (id int primary key, a text); insert into t values (1, 'x')`).simple();
  await onCore.close();
  const onEdge = new Bun.SQL({ url: edges[1]?.pg.replace(/\?.*/, '') as string, max: 1, tls: tlsOptions as never });
  await waitFor('the row is there', async () => (await onEdge.unsafe('select a from t')).length === 1);
  await onEdge.close();
  const status = (await (await fetch(`${relay.http}/status`, { tls: tlsOptions } as RequestInit)).json()) as RoleStatus;
  expect(status.subscribers.map((one) => one.name)).toEqual(expect.arrayContaining(['edge-0', 'edge-1']));
  expect((await skerry(['status', '--dir', dir])).code).toBe(0);
  expect((await skerry(['verify', '--wait', '--dir', dir])).out).toContain('equal');
  expect(readFileSync(join(dir, 'edge-0.yaml'), 'utf8')).not.toContain('peer-password');
});
