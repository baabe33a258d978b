// `skerry version`.

import packageJson from '../../../package.json' with { type: 'json' };
import { terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

export const versionCommand = makeCommand({
  name: 'version',
  summary: 'Print the version.',
  groups: [],
  action({ json }) {
    terminal.write(json ? `${JSON.stringify({ version: packageJson.version })}\n` : `skerry ${packageJson.version}\n`);
    return Promise.resolve(EXIT.ok);
  },
});
