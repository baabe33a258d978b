// I11 beyond this machine: a relay and an edge that listen on an address of a real interface. Whoever connects to such an
// address, be it from this machine, comes from that address, and so counts as somebody else.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import type { Fault } from '../../src/base/fault.ts';
import type { RoleStatus } from '../../src/contracts/health.ts';
import { bunHttp } from '../../src/runtime/http.ts';
import { issueCertificate, type PemPair } from '../../src/runtime/x509.ts';
import { ClientSession } from '../../src/session/client-session.ts';
import { parseConnectionString } from '../../src/session/connection-string.ts';
import {
  clientProgram,
  freePort,
  needs,
  startPostgres,
  temporaryFolder,
  type TestPostgres,
  waitFor,
} from '../harness.ts';
import { sessionWorld } from '../session-world.ts';
import { startToyServer } from '../toy-server.ts';
import { type RunningRole, skerry, spawnRole, startRole } from '../skerry.ts';

const ADDRESS = Object.values(networkInterfaces())
  .flat()
  .find((one) => one?.family === 'IPv4' && !one.internal)?.address;
if (ADDRESS === undefined) process.stderr.write('skipped: this machine has no address but loopback\n');

const DAY_MS = 86_400_000;
const PASSWORD = 'what ann knows';

describe.skipIf(ADDRESS === undefined)('beyond loopback', () => {
  const address = ADDRESS as string;
  const folder = temporaryFolder();
  const path = (...names: string[]): string => join(folder.path, ...names);
  const pem = (...names: string[]): string => readFileSync(path(...names), 'utf8');
  const pair = (name: string): PemPair => ({ cert: pem('certs', `${name}.crt`), key: pem('certs', `${name}.key`) });
  const [relayPort, relayHttp, edgePort, edgeHttp] = [freePort(), freePort(), freePort(), freePort()] as const;
  let ca = '';
  let postgres: TestPostgres;
  let relay: RunningRole;
  let edge: RunningRole;

  const tls = (name: string, dir = 'certs'): Record<string, string> => ({
    tls_cert: path(dir, `${name}.crt`),
    tls_key: path(dir, `${name}.key`),
    tls_ca: path(dir, 'ca.crt'),
  });
  const config = (name: string, values: object): string => {
    writeFileSync(path(`${name}.yaml`), JSON.stringify({ core: { database_url: postgres.url }, ...values }));
    return path(`${name}.yaml`);
  };
  const relayConfig = (more: object = {}, name = 'relay'): string =>
    config(name, {
      relay: {
        dir: path(name),
        host: '0.0.0.0',
        port: relayPort,
        http_port: relayHttp,
        client_certificates: 'require',
        peer_names: ['edge-0', 'edge-1', 'stranger'],
        ...tls('relay'),
        ...more,
      },
    });
  const edgeConfig = (more: object = {}, name = 'edge-0'): string =>
    config(name, {
      edge: {
        name,
        dir: path(name),
        host: '0.0.0.0',
        port: edgePort,
        http_port: edgeHttp,
        upstream_url: `postgres://${address}:${relayPort}/postgres`,
        upstream_http_url: `https://${address}:${relayHttp}`,
        client_auth: 'trust-loopback',
        client_users_file: path('users'),
        ...tls('edge-0'),
        ...more,
      },
    });
  /** Own ports, so that a role that should not start does not fail for another reason. */
  const own = (): object => ({ port: freePort(), http_port: freePort() });

  beforeAll(async () => {
    const made = await skerry([
      'certs',
      '--dir',
      path('certs'),
      '--host',
      address,
      '--roles',
      'relay,edge-0,edge-1,app',
    ]);
    expect(made.code).toBe(0);
    expect((await skerry(['certs', '--dir', path('others'), '--host', address])).code).toBe(0);
    ca = pem('certs', 'ca.crt');
    writeFileSync(path('users'), `ann:${PASSWORD}\n`, { mode: 0o600 });
    postgres = await startPostgres();
    await postgres.sql(`create table t (id int primary key, a text); insert into t values (1, 'from afar')`);
    relay = await startRole('relay', relayConfig());
    edge = await startRole('edge', edgeConfig());
  });
  afterAll(async () => {
    await edge?.[Symbol.asyncDispose]();
    await relay?.[Symbol.asyncDispose]();
    await postgres?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  const ask = (url: string, more: object = {}): Promise<Response> =>
    bunHttp.request(url, { timeoutMs: 10_000, tls: { ca, ...more } });
  const authorization = { authorization: `Basic ${btoa(`ann:${PASSWORD}`)}` };

  /** Logs in at the relay; the message of the refusal, or `in`. */
  async function relayLogin(user: string, parameters: string, certificate: Partial<PemPair> = {}): Promise<string> {
    const target = parseConnectionString(`postgres://${user}:x@${address}:${relayPort}/postgres?${parameters}`);
    try {
      await using _session = await ClientSession.connect(sessionWorld(), {
        target,
        tls: { ca, ...certificate },
        replication: 'database',
        serverMajorMin: 0,
      });
      return 'in';
    } catch (error) {
      return (error as Fault).message;
    }
  }

  test('the edge follows the relay as who its certificate says, and answers', async () => {
    const response = await ask(`https://${address}:${relayHttp}/status`, pair('edge-0'));
    expect(response.status).toBe(200);
    const { subscribers } = (await response.json()) as RoleStatus;
    expect(subscribers.map((one) => [one.name, one.remoteAddress])).toContainEqual(['edge-0', address]);
    await postgres.sql(`insert into t values (2, 'and later')`);
    await waitFor('the row is at the edge', async () => {
      const row = await ask(`https://${address}:${edgeHttp}/kv/t/2`, { ...pair('app') });
      return row.status === 200 && (await row.text()).includes('and later');
    });
  });

  test('a relay behind the relay logs in and takes its snapshot with its certificate', async () => {
    const file = relayConfig(
      {
        name: 'relay-2',
        ...own(),
        host: '127.0.0.1',
        client_certificates: 'accept',
        upstream_url: `postgres://${address}:${relayPort}/postgres`,
        upstream_http_url: `https://${address}:${relayHttp}`,
        ...tls('edge-1'),
      },
      'relay-2',
    );
    await using second = await startRole('relay', file);
    expect(second.isReady()).toBe(true);
    await waitFor('it is known under its name', async () => {
      const response = await ask(`https://${address}:${relayHttp}/status`, pair('edge-0'));
      return ((await response.json()) as RoleStatus).subscribers.some((one) => one.name === 'relay-2');
    });
  });

  test('an upstream whose certificate is over is not trusted', async () => {
    const over = { fromMs: Date.now() - 2 * DAY_MS, untilMs: Date.now() - DAY_MS };
    const old = issueFrom('certs', 'relay', over, '127.0.0.1');
    await using server = await startToyServer({ tls: old, passwords: { ann: PASSWORD } });
    const connect = (sslMode: string): Promise<string> => {
      const url = `postgres://ann:${encodeURIComponent(PASSWORD)}@127.0.0.1:${server.port}/db?sslmode=${sslMode}`;
      return ClientSession.connect(sessionWorld(), { target: parseConnectionString(url), tls: { ca } }).then(
        async (session) => {
          await session.close();
          return 'in';
        },
        (error: Fault) => `${error.code}: ${error.message}`,
      );
    };
    for (const mode of ['verify-ca', 'verify-full', 'require']) {
      expect(await connect(mode)).toBe(
        "tls-untrusted: the server's certificate is not trusted: certificate has expired",
      );
    }
    // As with libpq: encrypted, and nothing else was asked for.
    expect(await connect('prefer')).toBe('in');
  });

  test("the relay's HTTP port tells strangers whether it serves, and nothing else", async () => {
    const url = `https://${address}:${relayHttp}`;
    expect((await ask(`${url}/healthz`)).status).toBe(200);
    const foreign = issueFrom('others', 'edge-0', { fromMs: Date.now() - DAY_MS, untilMs: Date.now() + DAY_MS });
    const old = issueFrom('certs', 'edge-0', { fromMs: Date.now() - 2 * DAY_MS, untilMs: Date.now() - DAY_MS });
    for (const page of ['status', 'metrics', 'snapshot', 'checksum', 'nothing']) {
      for (const certificate of [{}, foreign, old, pair('app')]) {
        const response = await ask(`${url}/${page}`, certificate);
        expect([page, response.status]).toEqual([page, 403]);
        expect(await response.text()).toBe('{"error":"a certificate of a peer is needed"}');
      }
    }
    const snapshot = await ask(`${url}/snapshot`, pair('edge-1'));
    expect([snapshot.status, (await snapshot.bytes()).length > 0]).toEqual([200, true]);
  });

  test("the edge's HTTP port asks others for a proof, this machine was trusted", async () => {
    const [far, near] = [`https://${address}:${edgeHttp}`, `https://127.0.0.1:${edgeHttp}`];
    expect((await ask(`${far}/healthz`)).status).toBe(200);
    for (const page of ['status', 'metrics', 'checksum', 'kv/t/1']) {
      expect([page, (await ask(`${far}/${page}`)).status]).toEqual([page, 401]);
      expect([page, (await ask(`${far}/${page}`, pair('app'))).status]).toEqual([page, 200]);
      const known = await bunHttp.request(`${far}/${page}`, { timeoutMs: 5_000, tls: { ca }, headers: authorization });
      expect([page, known.status]).toEqual([page, 200]);
    }
    // The certificate is for the other address, which is for the client to look at.
    const local = await fetch(`${near}/kv/t/1`, { tls: { rejectUnauthorized: false } } as RequestInit);
    expect([local.status, await local.json()]).toEqual([200, { id: 1, a: 'from afar' }]);
  });

  test("the relay's port lets in a peer with its certificate, and says to others what is missing", async () => {
    const over = issueFrom('certs', 'edge-1', { fromMs: Date.now() - 2 * DAY_MS, untilMs: Date.now() - DAY_MS });
    const foreign = issueFrom('others', 'edge-1', { fromMs: Date.now() - DAY_MS, untilMs: Date.now() + DAY_MS });
    expect(await relayLogin('edge-1', 'sslmode=verify-full', pair('edge-1'))).toBe('in');
    expect(await relayLogin('edge-1', 'sslmode=disable')).toBe('connections from other machines must use TLS');
    expect(await relayLogin('edge-1', 'sslmode=verify-full')).toBe(
      'user "edge-1" needs a certificate to log in from another machine',
    );
    expect(await relayLogin('edge-0', 'sslmode=verify-full', pair('edge-1'))).toContain('is of "edge-1", not of user');
    expect(await relayLogin('app', 'sslmode=verify-full', pair('app'))).toContain('not among those that may log in');
    expect(await relayLogin('edge-1', 'sslmode=verify-full', over)).toContain('certificate has expired');
    expect(await relayLogin('edge-1', 'sslmode=verify-full', foreign)).toContain("client's certificate is not trusted");
    expect(await relayLogin('edge-1', 'sslmode=verify-full', { ca: pem('others', 'ca.crt') } as object)).toContain(
      "server's certificate is not trusted",
    );
  });

  describe.skipIf(!needs('psql'))('psql', () => {
    const psql = async (host: string, parameters: string): Promise<{ code: number; out: string; err: string }> => {
      const url = `postgres://${host}:${edgePort}/postgres?${parameters}`;
      const child = Bun.spawn(
        [clientProgram('psql'), '-X', '-A', '-t', '-w', '-c', 'select a from t where id = 1', url],
        {
          stdout: 'pipe',
          stderr: 'pipe',
          env: { ...process.env, PGPASSWORD: PASSWORD, HOME: folder.path },
        },
      );
      const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
      return { code: await child.exited, out: out.trim(), err };
    };

    test('reads with a verified edge and a password', async () => {
      const root = `sslmode=verify-full&sslrootcert=${path('certs', 'ca.crt')}`;
      expect(await psql(`ann@${address}`, root)).toEqual({ code: 0, out: 'from afar', err: '' });
      expect(await psql(`ann@${address}`, `${root}&channel_binding=require`)).toMatchObject({ out: 'from afar' });
    });

    test('reads with a certificate', async () => {
      const certificate = `sslcert=${path('certs', 'app.crt')}&sslkey=${path('certs', 'app.key')}`;
      const root = `sslmode=verify-full&sslrootcert=${path('certs', 'ca.crt')}`;
      expect(await psql(`app@${address}`, `${root}&${certificate}`)).toEqual({ code: 0, out: 'from afar', err: '' });
    });

    test('does not trust an edge of another CA, or under another name', async () => {
      const wrong = await psql(`ann@${address}`, `sslmode=verify-full&sslrootcert=${path('others', 'ca.crt')}`);
      expect([wrong.code, wrong.out, wrong.err]).toEqual([2, '', expect.stringContaining('certificate verify failed')]);
      const name = await psql('ann@localhost', `sslmode=verify-full&sslrootcert=${path('certs', 'ca.crt')}`);
      expect([name.code, name.out, name.err]).toEqual([2, '', expect.stringContaining('does not match host name')]);
    });

    test('is refused without TLS, and without a proof although this machine is trusted', async () => {
      const plain = await psql(`ann@${address}`, 'sslmode=disable');
      expect([plain.out, plain.err]).toEqual([
        '',
        expect.stringContaining('connections from other machines must use TLS'),
      ]);
      const nobody = await psql(`eve@${address}`, 'sslmode=require');
      expect([nobody.out, nobody.err]).toEqual(['', expect.stringContaining('password authentication failed')]);
      expect(await psql('eve@127.0.0.1', 'sslmode=disable')).toMatchObject({ code: 0, out: 'from afar' });
    });
  });

  describe('an edge that should not get anything', () => {
    const never = async (name: string, more: object, said: string): Promise<void> => {
      await using stranger = spawnRole('edge', edgeConfig({ ...own(), ...more }, name));
      await waitFor(`the log says "${said}"`, () => stranger.log().includes(said));
      expect(stranger.isReady()).toBe(false);
      expect(await Bun.file(path(name, 'replica.sqlite')).exists()).toBe(false);
    };

    test('trusts another CA than the one that signed the relay', async () => {
      await never('stranger', { ...tls('edge-0', 'others') }, 'is not trusted');
    });

    test('reaches the relay under a name that its certificate lacks', async () => {
      const near = {
        upstream_url: `postgres://127.0.0.1:${relayPort}/postgres`,
        upstream_http_url: `https://127.0.0.1:${relayHttp}`,
      };
      await never('misled', near, 'is not trusted');
    });

    test('has a certificate of another CA', async () => {
      const mixed = { ...tls('edge-0', 'others'), tls_ca: path('certs', 'ca.crt') };
      await never('foreign', mixed, 'a certificate of a peer is needed');
    });
  });

  describe('refused at the start, with one sentence and what to do', () => {
    const refusal = async (role: 'relay' | 'edge', file: string): Promise<string> => {
      const result = await skerry([role, '--config', file]);
      expect(result.code).toBe(2);
      const { error } = JSON.parse(result.out) as { error: { code: string; message: string; hint?: string } };
      expect([error.message, error.hint ?? '']).not.toContain('');
      return error.code;
    };
    const none = { tls_cert: '', tls_key: '', tls_ca: '' };

    test('listening without TLS, or without anybody who could prove who he is', async () => {
      writeFileSync(path('peer-password'), 'a peer password\n', { mode: 0o600 });
      const withPassword = { ...none, peer_password_file: path('peer-password'), client_certificates: 'accept' };
      expect(await refusal('relay', relayConfig({ ...own(), ...withPassword }, 'r'))).toBe('tls-required');
      expect(await refusal('relay', relayConfig({ ...own(), ...none, client_certificates: 'accept' }, 'r'))).toBe(
        'config-missing',
      );
      const upstream = `postgres://${address}:${relayPort}/postgres?sslmode=verify-full&sslrootcert=${path('certs', 'ca.crt')}`;
      expect(await refusal('edge', edgeConfig({ ...own(), ...none, upstream_url: upstream }, 'e'))).toBe(
        'tls-required',
      );
      const nobody = { client_users_file: '', client_certificates: 'ignore' };
      expect(await refusal('edge', edgeConfig({ ...own(), ...nobody }, 'e'))).toBe('authentication-required');
    });

    test('sending passwords or rows to another machine without TLS', async () => {
      const plainHttp = { ...own(), upstream_http_url: `http://${address}:${relayHttp}` };
      expect(await refusal('edge', edgeConfig(plainHttp, 'e'))).toBe('tls-required');
      const plain = { ...own(), upstream_url: `postgres://${address}:${relayPort}/postgres?sslmode=prefer` };
      expect(await refusal('edge', edgeConfig(plain, 'e'))).toBe('tls-required');
    });

    test('files that are missing, over, mixed up or readable by everybody', async () => {
      const edgeWith = (more: object): Promise<string> => refusal('edge', edgeConfig({ ...own(), ...more }, 'e'));
      expect(await edgeWith({ tls_cert: path('nowhere.crt') })).toBe('tls-file-missing');
      expect(await edgeWith({ tls_key: '' })).toBe('config-missing');
      expect(await edgeWith({ tls_ca: path('users') })).toBe('tls-file-invalid');
      expect(await edgeWith({ tls_key: path('certs', 'edge-1.key') })).toBe('tls-file-invalid');
      const old = issueFrom('certs', 'edge-0', { fromMs: Date.now() - 2 * DAY_MS, untilMs: Date.now() - DAY_MS });
      writeFileSync(path('old.crt'), old.cert);
      writeFileSync(path('old.key'), old.key, { mode: 0o600 });
      expect(await edgeWith({ tls_cert: path('old.crt'), tls_key: path('old.key') })).toBe('tls-file-invalid');
      copyFileSync(path('certs', 'edge-0.key'), path('open.key'));
      chmodSync(path('open.key'), 0o644);
      expect(await edgeWith({ tls_key: path('open.key') })).toBe('tls-key-exposed');
    });
  });

  function issueFrom(
    dir: string,
    commonName: string,
    validity: { fromMs: number; untilMs: number },
    host = address,
  ): PemPair {
    const authority = { cert: pem(dir, 'ca.crt'), key: pem(dir, 'ca.key') };
    return issueCertificate(authority, { commonName, hosts: [host], validity });
  }
});

test('a proxy does not listen beyond this machine without TLS, or trusting everybody', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'proxy.yaml');
  const refusal = async (more: object): Promise<string> => {
    const proxy = { host: '0.0.0.0', databases: { '*': { servers: ['127.0.0.1:1'] } }, ...more };
    writeFileSync(file, JSON.stringify({ proxy }));
    const result = await skerry(['proxy', '--config', file]);
    return (JSON.parse(result.out) as { error: { code: string } }).error.code;
  };
  expect(await refusal({})).toBe('tls-required');
  const certs = join(folder.path, 'certs');
  await skerry(['certs', '--dir', certs, '--roles', 'proxy']);
  const tls = { tls_cert_file: join(certs, 'proxy.crt'), tls_key_file: join(certs, 'proxy.key') };
  expect(await refusal({ ...tls, auth_type: 'trust' })).toBe('authentication-required');
});
