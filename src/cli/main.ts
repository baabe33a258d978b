// `skerry`: the table of commands, and what their exit codes mean.

import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { exit, terminal } from '../runtime/process.ts';
import { EXIT, Finished, printFault } from './command.ts';
import { analyticsCommand } from './commands/analytics.ts';
import { certsCommand } from './commands/certs.ts';
import { configCommand } from './commands/config.ts';
import { explainCommand } from './commands/explain.ts';
import { edgeCommand, relayCommand } from './commands/role.ts';
import { placementCommand } from './commands/placement.ts';
import { proxyCommand } from './commands/proxy.ts';
import { statusCommand } from './commands/status.ts';
import { topCommand } from './commands/top.ts';
import { upCommand } from './commands/up.ts';
import { verifyCommand } from './commands/verify.ts';
import { versionCommand } from './commands/version.ts';

const program = new Command('skerry')
  .description('Ties edge PoPs to a core PostgreSQL.')
  .showHelpAfterError(false)
  .showSuggestionAfterError(true)
  // What follows the name of a subcommand is for that one.
  .enablePositionalOptions()
  .addHelpText(
    'after',
    '\nExit codes: 0 done, 1 the answer is no (rows differ, a role does not serve), 2 it could not be done.',
  )
  .configureOutput({
    writeOut: (text) => terminal.write(text),
    writeErr: (text) => terminal.writeError(`skerry: ${text.replace(/^error: /, '')}`),
  })
  .exitOverride();
for (const command of [
  upCommand,
  statusCommand,
  topCommand,
  verifyCommand,
  explainCommand,
  relayCommand,
  edgeCommand,
  placementCommand,
  certsCommand,
  proxyCommand,
  analyticsCommand,
  configCommand,
  versionCommand,
]) {
  program.addCommand(inherit(command));
}

await exit(await run());

async function run(): Promise<number> {
  try {
    await program.parseAsync(process.argv);
    return EXIT.ok;
  } catch (error) {
    if (error instanceof Finished) return error.code;
    // Commander has printed its own sentence.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.failed;
    printFault(error, process.argv.includes('--json'));
    return EXIT.failed;
  }
}

function inherit(command: Command): Command {
  command.copyInheritedSettings(program);
  for (const child of command.commands) inherit(child);
  return command;
}
