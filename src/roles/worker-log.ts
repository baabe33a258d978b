// How a process that another one starts learns how to log: by its arguments, before any message.

import type { Config } from '../config/options.ts';
import { createLog, type Log } from '../observe/log.ts';
import type { Clock } from '../base/clock.ts';
import { ownArguments, terminal } from '../runtime/process.ts';

export function logArguments({ log }: Config): readonly string[] {
  return [log.level, log.format];
}

/** The log that the parent's `logArguments` ask for. */
export function argumentsLog(clock: Clock): Log {
  const [level = 'info', format = 'text'] = ownArguments();
  return createLog({
    level: level as Config['log']['level'],
    format: format as Config['log']['format'],
    wall: () => clock.wall(),
    sink: (line) => terminal.writeError(`${line}\n`),
  });
}
