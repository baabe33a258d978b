// Placements as an operator meets them: `skerry up` with a configuration file, `skerry placement`, status and verify.

import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
