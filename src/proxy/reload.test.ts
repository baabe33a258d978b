// What a RELOAD does to databases that have clients already.

import { expect, test } from 'bun:test';
import { seeded, startFakePostgres } from '../../test/fake-postgres.ts';
import { waitFor } from '../../test/harness.ts';
import { databaseConfig, startProxy } from '../../test/proxy.ts';
import { query, RawPeer } from '../../test/raw-peer.ts';
import type { ProxyConfig } from './config.ts';

const WHO = { user: 'u', database: 'd' };

async function ask(peer: RawPeer, id: string): Promise<void> {
  peer.takeFrames();
  peer.send(query(`echo ${id} row`));
  await waitFor('it is answered', () => peer.frames().some(({ type }) => type === 'Z'));
  expect(peer.frames().some(({ type, body }) => type === 'D' && body.includes(`said ${id}`))).toBe(true);
}

test('other servers: the next statement goes there, and nothing is left at the old ones', async () => {
  await using old = await startFakePostgres(seeded(1));
  await using other = await startFakePostgres(seeded(2));
  const next = (): Promise<ProxyConfig> =>
    Promise.resolve({ ...proxy.proxy.config, databases: new Map([['*', databaseConfig(other)]]) });
  await using proxy = await startProxy(old, { reload: next });
  using peer = await RawPeer.login(proxy.port, WHO);
  await ask(peer, 'one');
  expect([old.sessions, other.sessions]).toEqual([1, 0]);
  await proxy.proxy.reload();
  await ask(peer, 'two');
  await waitFor('the old connection is closed', () => old.sessions === 0);
  expect(other.sessions).toBe(1);
});

test('a database that is named no more has no new clients; those that are in go on', async () => {
  await using server = await startFakePostgres(seeded(3));
  const databases = new Map([['d', databaseConfig(server, { name: 'd' })]]);
  const next = (): Promise<ProxyConfig> => Promise.resolve({ ...proxy.proxy.config, databases: new Map() });
  await using proxy = await startProxy(server, { databases, reload: next });
  using peer = await RawPeer.login(proxy.port, WHO);
  await ask(peer, 'one');
  await proxy.proxy.reload();
  await expect(RawPeer.login(proxy.port, WHO)).rejects.toThrow('3D000');
  await ask(peer, 'two');
});
