// An edge of several processes on one port: all of them answer, a cancel finds its session wherever it lives, and any of the
// further ones can be killed.

import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { parseConnectionString } from '../../src/session/connection-string.ts';
import { ClientSession } from '../../src/session/client-session.ts';
import { startPostgres } from '../harness.ts';
import { sessionWorld } from '../session-world.ts';
import { createWorld, type RoleProcess, until } from '../world.ts';

const READERS = 3;

/** Children of a process that run the readers' entry. */
function readersOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const parent = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'latin1'))?.[1];
        return parent === String(pid) && readFileSync(`/proc/${name}/cmdline`, 'latin1').includes('edge-reader');
      } catch {
        // It has ended meanwhile.
        return false;
      }
    })
    .map(Number);
}

function connect(edge: RoleProcess): Promise<ClientSession> {
  const target = parseConnectionString(`postgres://postgres@127.0.0.1:${edge.port}/postgres?sslmode=disable`);
  return ClientSession.connect(sessionWorld(), { target });
}

async function metric(edge: RoleProcess, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${edge.httpPort}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:{[^}]*})? (\\d+)$`, 'm').exec(text)?.[1]);
}

test('an edge of three processes answers on one port, cancels across them and replaces one that is killed', async () => {
  await using postgres = await startPostgres();
  await postgres.sql('CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, $$one$$)');
  await using world = createWorld();
  const relay = await world.relay('relay', { url: postgres.url });
  await relay.ready();
  const edge = await world.edge('edge', relay, postgres.url, {
    SKERRY_EDGE_READERS: String(READERS),
    SKERRY_EDGE_FORWARD_CONNECTIONS_MAX: '90',
  });
  await edge.ready();
  await until('all readers run', async () => readersOf(edge.pid).length === READERS - 1);

  // So many that the kernel cannot have given all to one.
  const sessions = await Promise.all(Array.from({ length: 24 }, () => connect(edge)));
  for (const session of sessions) {
    expect((await session.query('SELECT v FROM t WHERE id = 1')).rows).toEqual([['one']]);
  }
  expect((await edge.status()).answered.local).toBe(sessions.length);
  expect(await metric(edge, 'skerry_edge_connections')).toBe(sessions.length);

  const asleep = sessions.map((session) =>
    session.query('SELECT pg_sleep(600)').then(
      () => 'slept',
      (error: { sqlstate?: string }) => error.sqlstate,
    ),
  );
  await until('all sleep', async () => Number(await postgres.value(SLEEPERS)) === sessions.length);
  // Each cancel is a connection of its own, which may come to any process.
  for (const session of sessions) await session.cancel();
  expect(await Promise.all(asleep)).toEqual(sessions.map(() => '57014'));

  // A write through one session is seen by the sessions of all processes.
  await (sessions[0] as ClientSession).query("UPDATE t SET v = 'two' WHERE id = 1");
  expect((await (sessions[0] as ClientSession).query('SELECT v FROM t WHERE id = 1')).rows).toEqual([['two']]);
  for (const session of sessions) {
    await until(
      'the write arrived',
      async () => (await session.query('SELECT v FROM t WHERE id = 1')).rows[0]?.[0] === 'two',
    );
  }

  const [victim] = readersOf(edge.pid) as [number];
  process.kill(victim, 'SIGKILL');
  await until('another reader took its place', async () => {
    const now = readersOf(edge.pid);
    return now.length === READERS - 1 && !now.includes(victim);
  });
  expect(edge.log()).toContain('edge.reader-ended');
  const alive = await Promise.all(
    sessions.map((session) =>
      session.query('SELECT v FROM t WHERE id = 1').then(
        ({ rows }) => rows[0]?.[0] === 'two',
        () => false,
      ),
    ),
  );
  expect(alive).toContain(true);
  expect(alive).toContain(false);
  for (const session of sessions) await session.close();

  const readers = readersOf(edge.pid);
  expect(await edge.stop()).toBe(0);
  await until('no reader is left', async () => readers.every((pid) => !isAlive(pid)));
}, 120_000);

test('readers end with an edge that is killed, and a port that another edge has is refused', async () => {
  await using postgres = await startPostgres();
  await using world = createWorld();
  const relay = await world.relay('relay', { url: postgres.url });
  await relay.ready();
  const edge = await world.edge('one', relay, postgres.url, { SKERRY_EDGE_READERS: '2' });
  await edge.ready();
  await until('its reader runs', async () => readersOf(edge.pid).length === 1);
  const other = Bun.spawn(
    [
      process.execPath,
      `${import.meta.dir}/../../src/cli/main.ts`,
      'edge',
      '--port',
      String(edge.port),
      '--readers',
      '2',
    ],
    {
      env: {
        ...process.env,
        SKERRY_DATABASE_URL: postgres.url,
        SKERRY_EDGE_CLIENT_AUTH: 'trust-loopback',
        SKERRY_EDGE_DIR: `${world.dir}/two`,
        SKERRY_EDGE_HTTP_PORT: '0',
        SKERRY_EDGE_PEER_PASSWORD_FILE: `${world.dir}/peer.secret`,
        SKERRY_EDGE_UPSTREAM_URL: `postgres://127.0.0.1:${relay.port}/skerry`,
        SKERRY_EDGE_UPSTREAM_HTTP_URL: `http://127.0.0.1:${relay.httpPort}`,
      },
      stdout: 'pipe',
      stderr: 'pipe',
    },
  );
  const output = await new Response(other.stdout).text();
  expect(await other.exited).toBe(2);
  expect(output).toContain('port-taken');

  const [reader] = readersOf(edge.pid) as [number];
  await edge.kill9();
  await until('the reader has ended too', async () => !isAlive(reader));
}, 120_000);

const SLEEPERS = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
