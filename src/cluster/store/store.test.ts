// What every store must do, asked of both: the embedded one over HTTP and a real etcd with --pre-vote.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { createClock } from '../../runtime/clock.ts';
import { nodeDisk } from '../../runtime/disk.ts';
import { bunHttp } from '../../runtime/http.ts';
import { needs, waitFor } from '../../../test/harness.ts';
import { EmbeddedStore } from './embedded-client.ts';
import { serveEmbeddedStore } from './embedded-server.ts';
import { EtcdStore } from './etcd.ts';
import { HeldKey } from './lease.ts';
import type { KeyEvent, Store } from './store.ts';

interface Running extends AsyncDisposable {
  readonly store: Store;
  readonly url: string;
}

async function startEmbedded(): Promise<Running> {
  const dir = mkdtempSync(join(tmpdir(), 'skerry-store-'));
  const world = { http: bunHttp, clock: createClock(), disk: nodeDisk };
  const server = await serveEmbeddedStore(world, {
    host: '127.0.0.1',
    port: 0,
    path: join(dir, 'store.json'),
    token: 'secret',
  });
  const url = `http://127.0.0.1:${server.port}/`;
  return {
    store: new EmbeddedStore(bunHttp, { url, token: 'secret' }),
    url,
    async [Symbol.asyncDispose]() {
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = await bunHttp.serve({ host: '127.0.0.1', port: 0, handle: () => new Response('') });
  await server.stop();
  return server.port;
}

async function startEtcd(): Promise<Running> {
  const dir = mkdtempSync(join(tmpdir(), 'skerry-etcd-'));
  const [client, peer] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  const flags = {
    name: 'n1',
    'data-dir': dir,
    'pre-vote': 'true',
    'log-level': 'error',
    logger: 'zap',
    'listen-client-urls': url,
    'advertise-client-urls': url,
    'listen-peer-urls': peerUrl,
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': `n1=${peerUrl}`,
  };
  const child = Bun.spawn(['etcd', ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)], {
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const store = new EtcdStore(bunHttp, { endpoints: [url, 'http://127.0.0.1:1'], timeoutMs: 5000 });
  await waitFor('etcd answers', () => store.get('nothing').then(() => true));
  return {
    store,
    url,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await child.exited;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Asks etcd's gateway directly, as its administrator would. */
async function administer(url: string, path: string, body: object): Promise<void> {
  const response = await bunHttp.request(`${url}/v3/auth/${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    timeoutMs: 5000,
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
}

const STORES: readonly (readonly [string, () => Promise<Running>])[] = [
  ['embedded', startEmbedded],
  ...(needs('etcd') ? [['etcd', startEtcd] as const] : []),
];

describe.each(STORES.map((row) => [...row] as const))('INVARIANT_I7 %s', (_name, start) => {
  let running: Running;
  let store: Store;
  beforeAll(async () => {
    running = await start();
    store = running.store;
  });
  afterAll(() => running[Symbol.asyncDispose]());

  test('writes only when all conditions hold, and then everything', async () => {
    const first = await store.write([{ key: 'cas/a', revision: 0 }], [{ tag: 'put', key: 'cas/a', value: 'ä one' }]);
    expect(first.revision).toBeGreaterThan(0);
    expect(await store.get('cas/a')).toEqual({ key: 'cas/a', value: 'ä one', revision: first.revision as number });
    const changes = [
      { tag: 'put', key: 'cas/a', value: 'two' },
      { tag: 'put', key: 'cas/b', value: 'b' },
    ] as const;
    expect(await store.write([{ key: 'cas/a', revision: 0 }], changes)).toEqual({ revision: null });
    expect(await store.get('cas/b')).toBeNull();
    const seen = { key: 'cas/a', revision: first.revision as number };
    const second = await store.write([seen, { key: 'cas/b', revision: 0 }], changes);
    const { entries } = await store.list('cas/');
    expect(entries.map((entry) => [entry.key, entry.value, entry.revision])).toEqual([
      ['cas/a', 'two', Number(second.revision)],
      ['cas/b', 'b', Number(second.revision)],
    ]);
    await store.write([], [{ tag: 'delete', key: 'cas/a' }]);
    expect(await store.get('cas/a')).toBeNull();
  });

  test('of many who write at once one wins', async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        store.write([{ key: 'race', revision: 0 }], [{ tag: 'put', key: 'race', value: String(index) }]),
      ),
    );
    expect(results.filter((one) => one.revision !== null).length).toBe(1);
  });

  test('a watch tells each change once, in order, from a revision on', async () => {
    const { revision } = await store.write([], [{ tag: 'put', key: 'watch/before', value: '0' }]);
    await store.write([], [{ tag: 'put', key: 'watch/a', value: '1' }]);
    const stop = new AbortController();
    const events: KeyEvent[] = [];
    const watching = (async () => {
      for await (const some of store.watch('watch/', revision as number, stop.signal)) events.push(...some);
    })();
    await waitFor('the change from before', () => events.length === 1);
    await store.write([], [{ tag: 'put', key: 'other', value: 'x' }]);
    await store.write([], [{ tag: 'put', key: 'watch/a', value: '2' }]);
    await store.write([], [{ tag: 'delete', key: 'watch/a' }]);
    await waitFor('all changes', () => events.length === 3);
    expect(events.map((event) => [event.key, event.value])).toEqual([
      ['watch/a', '1'],
      ['watch/a', '2'],
      ['watch/a', null],
    ]);
    stop.abort();
    await watching;
  });

  test('INVARIANT_I6 a key under a lease goes with it, and one of two holds it', async () => {
    const clock = createClock();
    const options = { key: 'leader', ttlMs: 5000 };
    const a = new HeldKey({ store, clock }, { ...options, value: 'a' });
    const b = new HeldKey({ store, clock }, { ...options, value: 'b' });
    expect(await a.acquire()).toBe(true);
    expect([await b.acquire(), b.isHeld, a.isHeld]).toEqual([false, false, true]);
    expect(await a.renew()).toBe(true);
    const stop = new AbortController();
    const kept = a.keep(stop.signal);
    await a.release();
    expect([a.isHeld, await store.get('leader')]).toEqual([false, null]);
    stop.abort();
    await kept;
    expect(await b.acquire()).toBe(true);
    expect((await store.get('leader'))?.value).toBe('b');
    const gone = await store.grantLease(5000);
    await store.revokeLease(gone);
    expect(await store.keepAlive(gone)).toBe(false);
    expect(await store.write([], [{ tag: 'put', key: 'late', value: '', lease: gone }])).toEqual({ revision: null });
    await store.revokeLease(gone);
  });

  test('a lease that nobody renews ends', async () => {
    const held = new HeldKey({ store, clock: createClock() }, { key: 'short', value: '', ttlMs: 1000 });
    expect(await held.acquire()).toBe(true);
    await waitFor('the key is gone', async () => (await store.get('short')) === null);
    expect([held.isHeld, await held.renew()]).toEqual([false, false]);
  });
});

test('INVARIANT_I6 the deadline counts from sending: a slow answer does not lengthen it', async () => {
  let nowMs = 1000;
  const clock = { now: () => nowMs } as Clock;
  const store = {
    grantLease: () => {
      nowMs += 3000;
      return Promise.resolve('1');
    },
    write: () => Promise.resolve({ revision: 1 }),
    keepAlive: () => {
      nowMs += 2000;
      return Promise.resolve(true);
    },
  } as unknown as Store;
  const held = new HeldKey({ store, clock }, { key: 'k', value: '', ttlMs: 6000 });
  await held.acquire();
  expect([held.untilMs, held.isHeld]).toEqual([7000, true]);
  await held.renew();
  expect(held.untilMs).toBe(10_000);
  nowMs = 10_000;
  expect(held.isHeld).toBe(false);
});

test('a key that may have been taken without our knowing is given back', async () => {
  const revoked: string[] = [];
  const store = {
    grantLease: () => Promise.resolve('7'),
    write: () => Promise.reject(new Error('no answer')),
    revokeLease: (lease: string) => Promise.resolve(void revoked.push(lease)),
  } as unknown as Store;
  const held = new HeldKey({ store, clock: createClock() }, { key: 'k', value: '', ttlMs: 6000 });
  await expect(held.acquire()).rejects.toThrow('no answer');
  expect([revoked, held.isHeld]).toEqual([['7'], false]);
});

test('the embedded store is the same after a restart, and nobody lost a lease', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'skerry-store-'));
  const world = { http: bunHttp, clock: createClock(), disk: nodeDisk };
  const options = { host: '127.0.0.1', port: 0, path: join(dir, 'store.json'), token: 'secret' };
  const open = async () => {
    const server = await serveEmbeddedStore(world, options);
    return { server, store: new EmbeddedStore(bunHttp, { url: `http://127.0.0.1:${server.port}/`, token: 'secret' }) };
  };
  const first = await open();
  const lease = await first.store.grantLease(60_000);
  const { revision } = await first.store.write([], [{ tag: 'put', key: 'k', value: 'v', lease }]);
  await first.server.stop();
  const second = await open();
  expect(await second.store.get('k')).toMatchObject({ key: 'k', value: 'v', revision: revision as number });
  expect(await second.store.keepAlive(lease)).toBe(true);
  await second.store.revokeLease(lease);
  expect(await second.store.get('k')).toBeNull();
  const stranger = new EmbeddedStore(bunHttp, { url: `http://127.0.0.1:${second.server.port}/`, token: 'wrong' });
  await expect(stranger.get('k')).rejects.toMatchObject({ code: 'store-refused' });
  await second.server.stop();
  await expect(second.store.get('k')).rejects.toMatchObject({ code: 'store-unavailable', retryable: true });
  rmSync(dir, { recursive: true, force: true });
});

test.if(needs('etcd'))('etcd with users, and with an endpoint that is down', async () => {
  await using running = await startEtcd();
  const { url } = running;
  await administer(url, 'role/add', { name: 'root' });
  await administer(url, 'user/add', { name: 'root', password: 'pässword' });
  await administer(url, 'user/grant', { user: 'root', role: 'root' });
  await administer(url, 'enable', {});
  const endpoints = ['http://127.0.0.1:1', url];
  const store = new EtcdStore(bunHttp, { endpoints, timeoutMs: 5000, user: { name: 'root', password: 'pässword' } });
  expect(await store.get('k')).toBeNull();
  expect((await store.write([], [{ tag: 'put', key: 'k', value: 'v' }])).revision).toBeGreaterThan(0);
  const wrong = new EtcdStore(bunHttp, {
    endpoints: [url],
    timeoutMs: 5000,
    user: { name: 'root', password: 'wrong' },
  });
  await expect(wrong.get('k')).rejects.toMatchObject({ code: 'store-refused' });
  const nobody = new EtcdStore(bunHttp, { endpoints: [url], timeoutMs: 5000 });
  await expect(nobody.get('k')).rejects.toMatchObject({ code: 'store-refused' });
  const down = new EtcdStore(bunHttp, { endpoints: ['http://127.0.0.1:1'], timeoutMs: 5000 });
  await expect(down.get('k')).rejects.toMatchObject({ code: 'store-unavailable', retryable: true });
});

test('etcd: an answer from a past term or revision is not believed, an unknown error is no decision', async () => {
  const headers = [
    { revision: '10', raft_term: '5' },
    { revision: '11', raft_term: '4' },
    { revision: '9', raft_term: '5' },
  ];
  await using server = await bunHttp.serve({
    host: '127.0.0.1',
    port: 0,
    handle: () => {
      const header = headers.shift();
      if (header === undefined) return Response.json({ error: 'etcdserver: no leader', code: 14 }, { status: 503 });
      return Response.json({ header });
    },
  });
  const store = new EtcdStore(bunHttp, { endpoints: [`http://127.0.0.1:${server.port}`], timeoutMs: 5000 });
  expect(await store.get('k')).toBeNull();
  await expect(store.get('k')).rejects.toMatchObject({ code: 'store-stale' });
  await expect(store.get('k')).rejects.toMatchObject({ code: 'store-stale' });
  await expect(store.get('k')).rejects.toMatchObject({ code: 'store-unavailable' });
});
