// `skerry proxy`: the pooler. `skerry proxy import pgbouncer.ini`: its configuration from PgBouncer's. `skerry proxy restart`
// and `skerry proxy reload` tell a running one, found by its HTTP port, with a signal: who may send that, the system decides.

import { Command } from 'commander';
import { Fault } from '../../base/fault.ts';
import { importPgBouncer } from '../../proxy/import.ts';
import { type ProxyStatus, proxyStatus, runProxy } from '../../roles/proxy.ts';
import { createClock } from '../../runtime/clock.ts';
import { readTextFile } from '../../runtime/files.ts';
import { signalProcess, terminal } from '../../runtime/process.ts';
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

const SIGNALS = { restart: 'SIGUSR2', reload: 'SIGHUP' } as const;

function tellCommand(what: 'restart' | 'reload', summary: string): Command {
  return makeCommand({
    name: what,
    summary,
    groups: ['proxy'],
    only: ['httpPort'],
    async action({ config, json }) {
      const before = await proxyStatus(config.proxy.httpPort);
      signalProcess(before.pid, SIGNALS[what]);
      const clock = createClock();
      const ended = (one: ProxyStatus): number => (what === 'restart' ? one.restartsEnded : one.reloadsEnded);
      let now = before;
      while (ended(now) === ended(before)) {
        await clock.sleep(LOOK_MS);
        now = await proxyStatus(config.proxy.httpPort);
      }
      if (now.lastError !== '') {
        throw new Fault(`${what}-failed`, { message: now.lastError, hint: 'the proxy goes on as it was' });
      }
      const pids = now.workers.filter(({ state }) => state === 'serving').map(({ pid }) => pid);
      terminal.write(
        json ? `${JSON.stringify(now)}\n` : `${what} done; workers ${pids.join(', ')} serve port ${now.port}\n`,
      );
      return EXIT.ok;
    },
  });
}

/** How often the outcome is looked for. */
const LOOK_MS = 50;

export const proxyCommand = makeCommand({
  name: 'proxy',
  summary: 'Run a proxy: pool connections, route reads and writes, hide failovers.',
  groups: ['log', 'core', 'proxy'],
  action: ({ config, reread }) => runProxy(config, reread),
})
  .addCommand(importCommand)
  .addCommand(tellCommand('restart', 'Replace the workers of a running proxy one by one; the port stays open.'))
  .addCommand(tellCommand('reload', 'Make a running proxy read its configuration anew.'));
