// `skerry placement`: who is sent what. Talks to the relay's HTTP port as its administrator.

import { Command, Option } from 'commander';
import { Fault } from '../../base/fault.ts';
import type { HttpRequestOptions } from '../../base/http.ts';
import type { PlacementInForce, PlacementSpec } from '../../contracts/placement.ts';
import { readSecretFile } from '../../roles/secrets.ts';
import { readWorld, readWorldSecrets, worldTls } from '../../roles/status.ts';
import { readTextFile } from '../../runtime/files.ts';
import { bunHttp } from '../../runtime/http.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { EXIT, type Invocation, makeCommand } from '../command.ts';

// A change waits for a transaction, which the relay makes itself, and for as many rows as it concerns.
const TIMEOUT_MS = 60_000;

interface Listed extends PlacementSpec {
  readonly configured: boolean;
}

interface Report {
  readonly placements: readonly Listed[];
  readonly inForce: readonly PlacementInForce[];
  readonly isWaiting: boolean;
  readonly problems: Readonly<Record<string, readonly string[]>>;
}

const RELAY = [
  new Option('--relay <url>', 'URL of a relay that `skerry up` did not start, for example https://relay:6451.'),
  new Option('--user <name>', 'Its administrator, for --relay.').default('admin'),
  new Option('--password-file <file>', 'File with the password of the administrator, for --relay.'),
  new Option('--ca <file>', 'PEM file of the authority that signed its certificate, for --relay.'),
];

const NAME = { name: '<name>', help: 'Name of the placement.' };

const SPEC = [
  new Option('--pops <names>', 'PoPs that hold it, with commas: names of certificates or users; * is everybody else.'),
  new Option(
    '--table <text...>',
    'What it holds: "schema.table (column, …) WHERE condition"; once for each. schema.* and * are all tables.',
  ),
  new Option('--forward <policy>', 'never: a PoP refuses what it cannot answer itself.').choices(['allow', 'never']),
];

const list = makeCommand({
  name: 'list',
  summary: 'List placements, who holds them, and whether they are in force.',
  groups: ['up'],
  only: ['dir'],
  own: RELAY,
  async action(invocation) {
    const report = await readReport(invocation);
    if (invocation.json) terminal.write(`${JSON.stringify(report)}\n`);
    else if (report.placements.length === 0) terminal.write('no placements: every PoP is sent everything\n');
    else for (const spec of report.placements) terminal.write(`${line(spec, report)}\n`);
    return EXIT.ok;
  },
});

const show = makeCommand({
  name: 'show',
  summary: 'Show one placement: its tables, and what of them cannot be held.',
  groups: ['up'],
  only: ['dir'],
  own: RELAY,
  argument: NAME,
  async action(invocation) {
    const report = await readReport(invocation);
    const spec = mustFind(report, nameOf(invocation));
    const inForce = report.inForce.find((one) => one.spec.name === spec.name);
    if (invocation.json) {
      const problems = report.problems[spec.name] ?? [];
      terminal.write(`${JSON.stringify({ ...spec, history: inForce?.history ?? null, problems })}\n`);
      return EXIT.ok;
    }
    terminal.write(`${line(spec, report)}\n`);
    for (const text of spec.tables) terminal.write(`  ${text}\n`);
    for (const text of report.problems[spec.name] ?? []) terminal.write(`  problem: ${text}\n`);
    if (inForce !== undefined) terminal.write(`  history ${inForce.history}\n`);
    return EXIT.ok;
  },
});

const set = makeCommand({
  name: 'set',
  summary: 'Make a placement, or change one: its PoPs are sent the exact difference.',
  groups: ['up'],
  only: ['dir'],
  own: [
    ...RELAY,
    ...SPEC,
    new Option('--force', 'Although some of its tables do not fit: they are not held until they do.'),
  ],
  argument: NAME,
  async action(invocation) {
    const before = await readReport(invocation);
    const spec = specOf(invocation, before);
    const force = invocation.own['force'] === true ? '?force=1' : '';
    const report = (await ask(invocation, `/placements/${encodeURIComponent(spec.name)}${force}`, {
      method: 'PUT',
      body: JSON.stringify(spec),
    })) as Omit<Report, 'placements'>;
    tell(invocation, spec.name, report, 'is in force');
    if (before.placements.length === 0 && !spec.pops.includes('*') && !invocation.json) {
      terminal.write(
        'note: where there is a placement, PoPs that are in none are sent nothing; for all others: skerry placement set rest --pops "*" --table "*"\n',
      );
    }
    return EXIT.ok;
  },
});

const rm = makeCommand({
  name: 'rm',
  summary: 'Remove a placement; its PoPs are sent what another one gives them, or nothing.',
  groups: ['up'],
  only: ['dir'],
  own: RELAY,
  argument: NAME,
  async action(invocation) {
    const name = nameOf(invocation);
    const path = `/placements/${encodeURIComponent(name)}`;
    tell(
      invocation,
      name,
      (await ask(invocation, path, { method: 'DELETE' })) as Omit<Report, 'placements'>,
      'is gone',
    );
    return EXIT.ok;
  },
});

const check = makeCommand({
  name: 'check',
  summary: 'Say what would be wrong with a placement, without setting it (exit 1 when something is).',
  groups: ['up'],
  only: ['dir'],
  own: [...RELAY, ...SPEC],
  argument: NAME,
  async action(invocation) {
    const spec = specOf(invocation, await readReport(invocation));
    const { problems } = (await ask(invocation, `/placements/${encodeURIComponent(spec.name)}/check`, {
      method: 'POST',
      body: JSON.stringify(spec),
    })) as { problems: string[] };
    if (invocation.json) terminal.write(`${JSON.stringify({ problems })}\n`);
    else terminal.write(problems.length === 0 ? 'it fits the tables that are there\n' : `${problems.join('\n')}\n`);
    return problems.length === 0 ? EXIT.ok : EXIT.no;
  },
});

export const placementCommand = new Command('placement')
  .summary('Say which tables, columns and rows a PoP may hold.')
  .addCommand(list)
  .addCommand(show)
  .addCommand(set)
  .addCommand(rm)
  .addCommand(check);

function nameOf({ own }: Invocation): string {
  return String(own['argument']);
}

/** What is not given stays as it is. */
function specOf(invocation: Invocation, report: Report): PlacementSpec {
  const { own } = invocation;
  const name = nameOf(invocation);
  const known = report.placements.find((one) => one.name === name);
  const pops = own['pops'] === undefined ? (known?.pops ?? []) : split(own['pops']);
  const tables = (own['table'] as string[] | undefined) ?? known?.tables ?? [];
  if (tables.length === 0) {
    throw new Fault('placement-invalid', {
      message: `placement "${name}" is new and has no --table`,
      hint: `skerry placement set ${name} --pops edge-0 --table "public.customers (id, name) WHERE region = 'eu'"`,
    });
  }
  return {
    name,
    pops,
    tables,
    forward: (own['forward'] as 'allow' | 'never' | undefined) ?? known?.forward ?? 'allow',
  };
}

function split(given: unknown): string[] {
  return String(given)
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}

function mustFind(report: Report, name: string): Listed {
  const found = report.placements.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new Fault('placement-missing', {
    message: `there is no placement "${name}"`,
    hint: 'see `skerry placement list`',
  });
}

function line(spec: Listed, report: Report): string {
  const problems = report.problems[spec.name]?.length ?? 0;
  const notes = [
    `pops ${spec.pops.length === 0 ? 'none' : spec.pops.join(', ')}`,
    `${spec.tables.length} ${spec.tables.length === 1 ? 'entry' : 'entries'}`,
    ...(spec.forward === 'never' ? ['forwards nothing'] : []),
    ...(spec.configured ? ['from the configuration file'] : []),
    ...(report.isWaiting ? ['a change waits for the next transaction'] : []),
    ...(problems === 0 ? [] : [`${problems} problems`]),
  ];
  return `${spec.name.padEnd(12)}  ${notes.join(', ')}`;
}

function tell(invocation: Invocation, name: string, report: Omit<Report, 'placements'>, done: string): void {
  if (invocation.json) {
    terminal.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const waits = 'is stored, and takes effect with the next transaction that the upstream sends';
  terminal.write(`placement ${name} ${report.isWaiting ? waits : done}\n`);
  for (const text of report.problems[name] ?? []) terminal.write(`  problem: ${text}\n`);
}

async function readReport(invocation: Invocation): Promise<Report> {
  return (await ask(invocation, '/placements', {})) as Report;
}

async function ask(
  invocation: Invocation,
  path: string,
  options: { readonly method?: string; readonly body?: string },
): Promise<unknown> {
  const { url, headers, tls } = relayOf(invocation);
  const response = await bunHttp.request(`${url}${path}`, { ...options, headers, tls, timeoutMs: TIMEOUT_MS });
  if (response.ok) return response.json();
  const body = (await response.json().catch(() => ({}))) as { error?: string; code?: string; hint?: string };
  throw new Fault(body.code ?? 'relay-refused', {
    message: body.error ?? `the relay answered ${response.status}`,
    ...(response.status === 401 || response.status === 403
      ? { hint: 'only the administrator may (relay.admin_user, relay.admin_password_file)' }
      : {}),
  });
}

function relayOf({ config, own }: Invocation): {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: NonNullable<HttpRequestOptions['tls']>;
} {
  if (own['relay'] === undefined) {
    const dir = absolutePath(config.up.dir);
    const world = readWorld(dir);
    return { url: world.relay.http, headers: readWorldSecrets(dir).peerHeaders, tls: worldTls(world) };
  }
  const given = own as Readonly<Record<string, string | undefined>>;
  const ca = given['ca'] === undefined ? null : readTextFile(absolutePath(given['ca']));
  const file = given['passwordFile'];
  const password = file === undefined ? '' : readSecretFile(absolutePath(file));
  return {
    url: (given['relay'] ?? '').replace(/\/+$/, ''),
    headers: { authorization: `Basic ${btoa(`${given['user'] ?? ''}:${password}`)}` },
    tls: ca === null ? {} : { ca },
  };
}
