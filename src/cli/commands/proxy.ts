// `skerry proxy`: the pooler in this process. `skerry proxy import pgbouncer.ini`: its configuration from PgBouncer's.

import { Command } from 'commander';
import { Fault } from '../../base/fault.ts';
import { importPgBouncer } from '../../proxy/import.ts';
import { runProxy } from '../../roles/proxy.ts';
import { readTextFile } from '../../runtime/files.ts';
import { terminal } from '../../runtime/process.ts';
import { EXIT, Finished, makeCommand } from '../command.ts';

const importCommand = new Command('import')
  .summary('Print the configuration that an existing pgbouncer.ini means.')
  .description(
    'Print the configuration that an existing pgbouncer.ini means; what could not be carried over is said on standard error.',
  )
  .argument('<file>', 'pgbouncer.ini')
  .action((file: string) => {
    const read = (path: string): string | null =>
      readTextFile(path.startsWith('/') ? path : file.slice(0, file.lastIndexOf('/') + 1) + path);
    const text = readTextFile(file);
    if (text === null)
      throw new Fault('config-missing', { message: `there is no file ${file}`, hint: 'name a pgbouncer.ini' });
    const { yaml, notes } = importPgBouncer(text, read);
    terminal.write(yaml);
    for (const note of notes) terminal.writeError(`skerry: ${note}\n`);
    throw new Finished(EXIT.ok);
  });

export const proxyCommand = makeCommand({
  name: 'proxy',
  summary: 'Run a proxy: pool connections, route reads and writes, hide failovers.',
  groups: ['log', 'core', 'proxy'],
  action: ({ config, reread }) => runProxy(config, reread),
}).addCommand(importCommand);
