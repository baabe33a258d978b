// `skerry certs`: certificates for roles that talk to each other beyond this machine.

import { Option } from 'commander';
import { certsConfig, type IssuedCertificate, makeCerts } from '../../roles/certs.ts';
import { createClock } from '../../runtime/clock.ts';
import { absolutePath, terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

const DEFAULTS = {
  dir: '.skerry/certs',
  host: 'localhost,127.0.0.1,::1',
  roles: 'relay,edge-0,edge-1,edge-2',
};

export const certsCommand = makeCommand({
  name: 'certs',
  summary: 'Make a small certificate authority and a certificate for each role; run again, it makes what is missing.',
  groups: [],
  own: [
    new Option('--dir <dir>', 'Folder of the certificates and keys.').default(DEFAULTS.dir),
    new Option('--host <names>', 'Names and addresses under which these roles are reached.').default(DEFAULTS.host),
    new Option('--roles <names>', "Names of the roles: each becomes its certificate's name.").default(DEFAULTS.roles),
    new Option('--renew', 'Issue these certificates again, with new keys, by the same authority.'),
  ],
  action({ json, own }) {
    const certs = makeCerts({
      dir: absolutePath(String(own['dir'])),
      hosts: listOf(own['host']),
      roles: listOf(own['roles']),
      renew: own['renew'] === true,
      nowMs: createClock().wall(),
    });
    if (json) {
      const roles = certs.roles.map(({ untilMs, ...role }) => ({ ...role, until: new Date(untilMs).toISOString() }));
      terminal.write(`${JSON.stringify({ ...certs, roles })}\n`);
      return Promise.resolve(EXIT.ok);
    }
    const lines = [
      `${certs.caDone === 'made' ? 'made' : 'kept'} the authority ${certs.ca}`,
      ...certs.roles.flatMap(roleLines),
    ];
    for (const role of certs.roles) lines.push('', `# in the configuration of ${role.name}:`, certsConfig(certs, role));
    lines.push('', `# for psql: sslmode=verify-full sslrootcert=${certs.ca}`);
    terminal.write(`${lines.join('\n')}\n`);
    return Promise.resolve(EXIT.ok);
  },
});

function roleLines(role: IssuedCertificate): string[] {
  const until = new Date(role.untilMs).toISOString().slice(0, 10);
  const line = `${role.done} ${role.cert}, valid until ${until}`;
  return role.warning === null ? [line] : [line, `  ${role.name}: ${role.warning}`];
}

function listOf(given: unknown): string[] {
  return String(given)
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}
