// What hostile, broken and unlucky peers do to a running world: a clear error for them, nothing for anybody else.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SQL } from 'bun';
import { startPostgres, type TestPostgres } from '../harness.ts';
import { query, RawPeer, startup } from '../raw-peer.ts';
import { createWorld, type RoleProcess, until, type World } from '../world.ts';

let core: TestPostgres;
let world: World;
let relay: RoleProcess;
let edge: RoleProcess;

beforeAll(async () => {
  core = await startPostgres();
  await core.sql(`CREATE TABLE item (id int PRIMARY KEY, body text NOT NULL);
                  INSERT INTO item SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i`);
  world = createWorld();
  relay = await world.relay('relay', core);
  await relay.ready();
  edge = await world.edge('edge', relay, core.url);
  await edge.ready();
});

afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await core[Symbol.asyncDispose]();
});

test.each(['relay', 'edge'] as const)('INVARIANT_I10: garbage on every port of the %s harms nobody', async (which) => {
  const role = which === 'relay' ? relay : edge;
  for (const port of [role.port, role.httpPort]) {
    for (const garbage of garbages()) {
      using peer = await RawPeer.open(port);
      peer.send(garbage);
      await Bun.sleep(5);
    }
  }
  await expectServing();
});

test('INVARIANT_I10: a message of a hostile length gets an error and an end, before any memory is taken for it', async () => {
  const before = residentBytes(edge.pid);
  using peer = await RawPeer.login(edge.port, { user: 'skerry', database: 'postgres' });
  peer.send(Buffer.from([0x51, 0x7f, 0xff, 0xff, 0xff, 0x20]));
  await until('the connection is closed', async () => peer.closed);
  expect(peer.errors().at(-1)?.['C']).toBe('08P01');
  expect(residentBytes(edge.pid) - before).toBeLessThan(100 * 1024 * 1024);
  await expectServing();
});

test('INVARIANT_I8: a client that never reads costs the edge a bounded queue, and the others nothing', async () => {
  const before = residentBytes(edge.pid);
  const peers: RawPeer[] = [];
  try {
    for (let i = 0; i < 10; i += 1) {
      const peer = await RawPeer.login(edge.port, { user: 'skerry', database: 'postgres' });
      peer.stopReading();
      // 20 MB of answer each, ten times over.
      for (let n = 0; n < 10; n += 1) peer.send(query('SELECT id, body FROM item'));
      peers.push(peer);
    }
    for (let n = 0; n < 20; n += 1) await expectServing();
    expect(residentBytes(edge.pid) - before).toBeLessThan(200 * 1024 * 1024);
  } finally {
    for (const peer of peers) peer[Symbol.dispose]();
  }
  await expectServing();
});

test('5,000 idle connections are held, and one more query is answered', async () => {
  const before = residentBytes(edge.pid);
  const peers: RawPeer[] = [];
  try {
    for (let i = 0; i < 5000; i += 100) {
      const batch = Array.from({ length: 100 }, () =>
        RawPeer.login(edge.port, { user: 'skerry', database: 'postgres' }),
      );
      peers.push(...(await Promise.all(batch)));
    }
    await expectServing();
    const perConnection = (residentBytes(edge.pid) - before) / peers.length;
    expect(perConnection).toBeLessThan(40 * 1024);
  } finally {
    for (const peer of peers) peer[Symbol.dispose]();
  }
  await expectServing();
});

test('a subscriber that claims a position ahead of everything is refused with a reason', async () => {
  // The relay asks for a password; a stock client of the same machine gives it.
  const password = readFileSync(join(world.dir, 'peer.secret'), 'utf8').trim();
  const client = new SQL(`postgres://skerry:${password}@127.0.0.1:${relay.port}/skerry`, { max: 1 });
  await client.close();
  const run = spawnSync(
    'psql',
    [
      `host=127.0.0.1 port=${relay.port} user=skerry dbname=skerry replication=database`,
      '-c',
      "START_REPLICATION SLOT liar LOGICAL FFFFFFFF/FFFFFFFF (proto_version '1', publication_names 'skerry')",
    ],
    { env: { ...process.env, PGPASSWORD: password }, encoding: 'utf8', timeout: 30_000 },
  );
  if (run.error !== undefined) throw run.error;
  expect(run.stderr).toContain('ERROR');
  expect(run.stderr.toLowerCase()).toContain('ahead');
  await expectServing();
});

test('a subscriber without the password gets nothing (I11)', async () => {
  using peer = await RawPeer.open(relay.port);
  peer.send(startup({ user: 'skerry', database: 'skerry', replication: 'database' }));
  await until('the relay asks for SCRAM', async () => peer.frames().some((frame) => frame.type === 'R'));
  const request = peer.frames().find((frame) => frame.type === 'R');
  expect(request?.body.readUInt32BE(0)).toBe(10);
  const refused = new SQL(`postgres://skerry:wrong@127.0.0.1:${relay.port}/skerry`, { max: 1 });
  const code = await refused
    .unsafe('SELECT 1')
    .then(() => 'accepted')
    .catch((error: { errno?: string }) => error.errno);
  expect(code).toBe('28P01');
  await refused.close().catch(() => {});
});

const canMount = process.getuid?.() === 0;
if (!canMount) console.log('skipped: disk-full tests mount a small tmpfs, which only root may');

test.skipIf(!canMount)(
  'disk full at the edge: it says so, goes on answering, and catches up when there is room',
  async () => {
    await using full = smallDisk('edge-full', 128);
    const small = await world.edge('edge-full', relay, core.url);
    await small.ready();
    // Larger than the disk, so that the snapshot fits and the changes do not.
    full.fill();
    await core.sql(`UPDATE item SET body = repeat('y', 1200) WHERE id <= 10000`);
    await until('the edge reports the full disk', async () => /disk/i.test((await small.status()).reason));
    await using sql = connect(small);
    expect((await sql`SELECT count(*)::int AS n FROM item`)[0]).toEqual({ n: 20000 });
    const tries = (): number => small.log().split('replica.upstream-lost').length - 1;
    await until('the edge has tried a few times', async () => tries() >= 4);
    const before = tries();
    // The waits grow: were they 50 ms each, three times as many would come in this time.
    await Bun.sleep(1000);
    expect(tries() - before).toBeLessThan(6);
    full.free();
    await until('the edge has caught up', async () => {
      const [mine, theirs] = await Promise.all([small.checksum(), edge.checksum()]);
      return JSON.stringify(mine.tables) === JSON.stringify(theirs.tables) && mine.position === theirs.position;
    });
    await small.stop();
  },
);

test.skipIf(!canMount)('disk full at the relay: the core keeps the WAL, nothing is lost, edges catch up', async () => {
  await using own = await startPostgres();
  await own.sql(`CREATE TABLE item (id int PRIMARY KEY, body text NOT NULL)`);
  await using full = smallDisk('relay-full', 64);
  const small = await world.relay('relay-full', own);
  await small.ready();
  const follower = await world.edge('edge-of-full', small, own.url);
  await follower.ready();
  full.fill();
  await own.sql(`INSERT INTO item SELECT i, md5(i::text) || repeat('z', 500) FROM generate_series(1, 3000) i`);
  await until('the relay reports the full disk', async () => /disk/i.test((await small.status()).reason));
  full.free();
  await until('the edge has every row', async () => {
    await using sql = connect(follower);
    const rows = (await sql`SELECT count(*)::int AS n FROM item`.catch(() => [])) as { n: number }[];
    return rows[0]?.n === 3000;
  });
  await follower.stop();
  await small.stop();
});

/** The edge answers a local and a forwarded statement to a client that did nothing wrong. */
async function expectServing(): Promise<void> {
  await using sql = connect(edge);
  expect((await sql`SELECT id FROM item WHERE id = 7`)[0]).toEqual({ id: 7 });
  expect((await sql`SELECT pg_backend_pid() > 0 AS up`)[0]).toEqual({ up: true });
  expect((await relay.status()).state).toBe('streaming');
}

function connect(role: RoleProcess): SQL {
  return new SQL(`postgres://skerry@127.0.0.1:${role.port}/postgres`, { max: 1, connectionTimeout: 10 });
}

function garbages(): Uint8Array[] {
  const random = new Uint8Array(4096);
  for (let i = 0; i < random.length; i += 1) random[i] = (i * 7919 + (i >> 3)) & 0xff;
  return [
    random,
    Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'latin1'),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0, 0, 0, 4]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
    Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0x51]),
    startup({ user: 'x'.repeat(9000) }),
    startup({ user: 'skerry' }, 0x0003_270f),
    new Uint8Array(200_000),
  ];
}

function residentBytes(pid: number): number {
  const found = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]) * 1024;
}

/** A tmpfs of `megabytes` where the role's folder will be; `fill` takes all the room but a little, `free` gives it back. */
function smallDisk(name: string, megabytes: number): AsyncDisposable & { fill(): void; free(): void } {
  const folder = join(world.dir, name);
  mkdirSync(folder);
  const run = (command: string, ...args: string[]): void => {
    const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  };
  run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder);
  chmodSync(folder, 0o700);
  const ballast = join(folder, 'ballast');
  return {
    fill: () => {
      // Ends with "no space left", which is the point.
      spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=64k']);
    },
    free: () => run('rm', '-f', ballast),
    async [Symbol.asyncDispose]() {
      spawnSync('umount', ['-l', folder]);
    },
  };
}
