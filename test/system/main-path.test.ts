// The main job from one command: a row committed on the core is readable at every PoP, and `skerry verify` proves it.

import { SQL } from 'bun';
import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { waitFor } from '../harness.ts';
import { type RunningUp, skerry, startUp } from '../skerry.ts';

/** The core's URL with the password out of the libpq password file. */
function coreUrl(up: RunningUp): string {
  const password = readFileSync(up.ready.core.passFile as string, 'utf8')
    .split('\n')[0]
    ?.split(':')[4] as string;
  return up.ready.core.url.replace('@', `:${password}@`);
}

const connect = (url: string): SQL => new SQL({ url, max: 1, tls: false });

describe('skerry up', () => {
  test('a row committed on the core is readable at every edge, and a row written at an edge too', async () => {
    // An option of a role in the environment is not for the roles of `up`: all edges would want the same port.
    await using up = await startUp(['--edges', '3'], { SKERRY_EDGE_PORT: '1' });
    await using core = connect(coreUrl(up));
    const edges = up.ready.edges.map((edge) => connect(edge.pg));
    await core`create table greeting (id int primary key, words text)`;
    await core`insert into greeting values (1, 'hello from the core')`;
    for (const edge of edges) {
      // Until the new table has arrived the edge asks the core: the answer is right all the time, and local in the end.
      await waitFor('a local answer', async () => {
        expect((await edge`select words from greeting where id = 1`)[0]?.words).toBe('hello from the core');
        const [answered] = await edge`show skerry.answered_by`;
        return String(Object.values(answered as Record<string, string>)[0]).startsWith('local');
      });
    }
    await (edges[0] as SQL)`insert into greeting values (2, 'hello from an edge')`;
    // Read your own writes, at once and locally or forwarded; the others follow.
    expect((await (edges[0] as SQL)`select words from greeting where id = 2`)[0]?.words).toBe('hello from an edge');
    for (const edge of edges)
      await waitFor('the row', async () => (await edge`select words from greeting where id = 2`).length === 1);
    await Promise.all(edges.map((edge) => edge.close()));
  });

  test('status and verify agree that all is equal, also after relay, edge and core were killed', async () => {
    await using up = await startUp(['--edges', '2']);
    for (const name of ['relay', 'edge-1', 'core']) {
      const before = up.pidOf(name);
      process.kill(before, 'SIGKILL');
      await waitFor(`${name} is back`, () => up.pidOf(name) !== before);
    }
    const verified = await skerry(['verify', '--wait', '--json', '--dir', up.ready.dir]);
    expect([verified.code, verified.err]).toEqual([0, '']);
    const verdict = JSON.parse(verified.out) as {
      equal: boolean;
      places: { name: string; tables: { table: string; rows: number }[] }[];
    };
    expect(verdict.equal).toBe(true);
    expect(verdict.places.map((place) => place.name)).toEqual(['core', 'edge-0', 'edge-1']);
    for (const place of verdict.places) {
      expect(place.tables.map((table) => table.table)).toEqual([
        'public.dns_records',
        'public.firewall_rules',
        'public.zones',
      ]);
      expect(place.tables.every((table) => table.rows > 50)).toBe(true);
    }
    const status = await skerry(['status', '--json', '--dir', up.ready.dir]);
    expect(status.code).toBe(0);
    expect(JSON.parse(status.out)).toMatchObject({
      ok: true,
      proxy: { name: 'proxy', status: { state: 'serving' } },
      roles: [{ name: 'relay' }, { name: 'edge-0' }, { name: 'edge-1' }],
    });
  });

  test('an edge whose file was changed behind its back is found by verify, with table and exit code', async () => {
    await using up = await startUp(['--edges', '2', '--sample', 'small']);
    const { Database } = await import('bun:sqlite');
    const file = new Database(`${up.ready.dir}/edge-1/replica.sqlite`);
    file.run('pragma busy_timeout = 5000');
    file.run(`update "public.zones" set name = 'tampered.example' where id = 7`);
    file.close();
    const verified = await skerry(['verify', '--dir', up.ready.dir]);
    expect(verified.code).toBe(1);
    expect(verified.out).toContain('edge-1 differs from');
    expect(verified.out).toContain('public.zones');
    expect(verified.out).not.toContain('edge-0 differs');
  });
});
