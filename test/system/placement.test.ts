// Placements as an operator meets them: `skerry up` with a configuration file, `skerry placement`, status and verify.

import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SQL } from 'bun';
import { temporaryFolder, waitFor } from '../harness.ts';
import { skerry, startUp } from '../skerry.ts';

interface Verdict {
  readonly equal: boolean;
  readonly places: readonly {
    readonly name: string;
    readonly placement?: string;
    readonly tables: readonly { readonly table: string; readonly rows: number }[];
  }[];
}

test('INVARIANT_I4 a placement is set, changed, shown and removed; verify compares what each place holds', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'skerry.yaml');
  writeFileSync(
    file,
    `relay:
  placements:
    small:
      pops: [edge-1]
      tables:
        - public.zones (id, name) WHERE id <= 3
    rest:
      pops: ['*']
      tables: ['*']
`,
  );
  await using up = await startUp(['--edges', '3', '--sample', 'small', '--config', file]);
  const { dir } = up.ready;
  const run = (...args: string[]) => skerry(['placement', ...args, '--dir', dir]);
  const verify = async (): Promise<Verdict> => {
    const { code, out, err } = await skerry(['verify', '--wait', '--json', '--dir', dir]);
    expect([code, err, code === 0 ? '' : out]).toEqual([0, '', '']);
    return JSON.parse(out) as Verdict;
  };

  const refused = await run('set', 'eu', '--pops', 'edge-0', '--table', "zones WHERE nmae = 'x'");
  expect(refused.code).toBe(2);
  expect(refused.err).toContain('has no replicated column "nmae" (line 1, column');
  const set = await run(
    'set',
    'eu',
    '--pops',
    'edge-0',
    '--table',
    'zones WHERE id <= 10',
    '--table',
    'dns_records (id, zone_id)',
  );
  expect([set.code, set.out]).toEqual([0, 'placement eu is in force\n']);

  await waitFor('all have what is theirs', async () => {
    const { out } = await skerry(['status', '--json', '--dir', dir]);
    const roles = (JSON.parse(out) as { roles: { status: { placement?: string } | null }[] }).roles;
    return roles.map((role) => role.status?.placement ?? '').join() === ',eu,small,';
  });
  const before = await verify();
  expect(
    before.places.map(({ name, placement, tables }) => [name, placement ?? '', tables.map((one) => one.table)]),
  ).toEqual([
    ['core', '', ['public.dns_records', 'public.firewall_rules', 'public.zones']],
    ['edge-0', 'eu', ['public.dns_records', 'public.zones']],
    ['edge-1', 'small', ['public.zones']],
    ['edge-2', '', ['public.dns_records', 'public.firewall_rules', 'public.zones']],
  ]);
  expect(before.places[2]?.tables[0]?.rows).toBe(3);

  const checked = await run('check', 'eu', '--table', 'zones (name)');
  expect([checked.code, checked.out]).toEqual([1, 'public.zones is not held: its key needs "id" among the columns\n']);
  expect((await run('set', 'eu', '--table', 'zones WHERE id <= 20', '--forward', 'never')).code).toBe(0);
  const after = await verify();
  expect(after.places[1]?.tables).toEqual([expect.objectContaining({ table: 'public.zones', rows: 20 })]);

  const list = await run('list');
  expect(list.out.split('\n').slice(0, 3)).toEqual([
    'small         pops edge-1, 1 entry, from the configuration file',
    'rest          pops *, 1 entry, from the configuration file',
    'eu            pops edge-0, 1 entry, forwards nothing',
  ]);
  expect((await run('show', 'eu')).out).toContain('zones WHERE id <= 20');
  expect((await run('rm', 'small')).code).toBe(2);
  expect((await run('rm', 'eu')).out).toBe('placement eu is gone\n');
  expect((await run('show', 'eu')).code).toBe(2);
  const end = await verify();
  expect(end.places[1]?.tables.map((one) => one.table)).toHaveLength(3);
}, 120_000);

test('INVARIANT_I4 placements change while relay, edges and core are killed: in the end every PoP holds what is its own', async () => {
  await using up = await startUp(['--edges', '2', '--sample', 'small']);
  const { dir, edges } = up.ready;
  const run = (...args: string[]) => skerry(['placement', ...args, '--dir', dir]);
  expect((await run('set', 'rest', '--pops', '*', '--table', '*')).code).toBe(0);
  const writer = new SQL({ url: edges[1]?.pg ?? '', max: 1, tls: false });
  const stop = new AbortController();
  let written = 0;
  const writing = (async () => {
    while (!stop.signal.aborted) {
      // It goes through an edge, which is killed now and then, to a core that is, too.
      await writer`insert into zones (name, name_servers) values (${`fuzz-${written}.example`}, '{}') on conflict do nothing`.then(
        () => (written += 1),
        () => Bun.sleep(20),
      );
      await writer`update zones set name = name || 'x' where id % 7 = ${written % 7} and length(name) < 60`.catch(
        () => {},
      );
    }
  })();
  const tables = [
    'zones WHERE id <= 50',
    'zones (id) WHERE id > 20',
    'zones',
    'dns_records (id)',
    "zones WHERE name LIKE 'fuzz%'",
  ];
  const victims = ['relay', 'edge-0', 'relay', 'core'];
  for (const [round, victim] of victims.entries()) {
    const table = tables[round % tables.length] as string;
    const setting = run('set', 'eu', '--pops', 'edge-0', '--table', table);
    // Somewhere in the middle of it, each time at another place.
    await Bun.sleep(150 + 90 * round);
    const before = up.pidOf(victim);
    process.kill(before, 'SIGKILL');
    await setting;
    await waitFor(`${victim} is back`, () => up.pidOf(victim) !== before, 60_000);
    // The command may have been cut off: what counts is what is said last.
    await waitFor(
      'it is set',
      async () => (await run('set', 'eu', '--pops', 'edge-0', '--table', table)).code === 0,
      60_000,
    );
  }
  stop.abort();
  await writing;
  await writer.close({ timeout: 0 });
  expect(written).toBeGreaterThan(0);
  const { code, out } = await skerry(['verify', '--wait', '--json', '--dir', dir]);
  const verdict = JSON.parse(out) as Verdict;
  expect([code, verdict.places.map(({ name, placement }) => [name, placement ?? ''])]).toEqual([
    0,
    [
      ['core', ''],
      ['edge-0', 'eu'],
      ['edge-1', ''],
    ],
  ]);
  expect(verdict.places[1]?.tables).toHaveLength(1);
}, 240_000);
