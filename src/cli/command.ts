// What every command shares: options made from the option table, output for people or as JSON, exit codes.

import { Command, Option } from 'commander';
import { Fault } from '../base/fault.ts';
import { fileKey, flagName, type Group, isTable } from '../config/define.ts';
import { loadConfig } from '../config/load.ts';
import { type Config, GROUPS } from '../config/options.ts';
import { readTextFile } from '../runtime/files.ts';
import { terminal } from '../runtime/process.ts';

/** Exit codes of every command; printed by `skerry help`. */
export const EXIT = {
  /** Done; or stopped as told. */
  ok: 0,
  /** The answer is no: rows differ, a role does not serve. */
  no: 1,
  /** It could not be done; one sentence says why and what to do. */
  failed: 2,
} as const;

/** What a command's action gets. */
export interface Invocation {
  readonly config: Config;
  /** Reads file, environment and flags once more, for roles that reload. */
  readonly reread: () => Config;
  readonly json: boolean;
  /** Values of options that only this command has. */
  readonly own: Readonly<Record<string, unknown>>;
}

export type Action = (invocation: Invocation) => Promise<number>;

type GroupName = keyof typeof GROUPS;

export interface CommandOptions {
  readonly name: string;
  readonly summary: string;
  /** Groups of the option table whose options become flags. */
  readonly groups: readonly GroupName[];
  /** Only these options of the groups; all when not given. */
  readonly only?: readonly string[];
  readonly own?: readonly Option[];
  /** One argument without a flag, as commander writes it: `<name>`; it is `own.argument`. */
  readonly argument?: { readonly name: string; readonly help: string };
  readonly action: Action;
}

/** Thrown by an action's wrapper to carry the exit code out of commander. */
export class Finished {
  readonly code: number;
  constructor(code: number) {
    this.code = code;
  }
}

/** A commander command whose flags come from the option table. */
export function makeCommand(options: CommandOptions): Command {
  const command = new Command(options.name).summary(options.summary).description(options.summary);
  const taken = new Map<string, { readonly group: string; readonly name: string }>();
  for (const groupName of options.groups) {
    const group: Group = GROUPS[groupName];
    for (const [name, option] of Object.entries(group.options)) {
      if (isTable(option) || (options.only !== undefined && !options.only.includes(name))) continue;
      const flag = flagName(group, name);
      const value = option.typeText === 'true or false' ? '' : ` <${fileKey(name).replaceAll('_', '-')}>`;
      const made = new Option(`${flag}${value}`, option.help);
      taken.set(made.attributeName(), { group: groupName, name });
      command.addOption(made);
    }
  }
  command.addOption(new Option('--config <file>', 'YAML file with options; see `skerry config sample`.'));
  command.addOption(new Option('--json', 'Print JSON.'));
  for (const own of options.own ?? []) command.addOption(own);
  if (options.argument !== undefined) command.argument(options.argument.name, options.argument.help);
  command.action(async () => {
    const given: Record<string, unknown> = { ...command.opts(), argument: command.args[0] };
    const flags: Record<string, Record<string, unknown>> = {};
    for (const [attribute, { group, name }] of taken) {
      if (given[attribute] !== undefined) (flags[group] ??= {})[name] = given[attribute];
    }
    const file = given['config'] as string | undefined;
    const reread = (): Config =>
      loadConfig(GROUPS, {
        ...(file === undefined ? {} : { file: { name: file, text: readConfigFile(file) } }),
        env: process.env,
        flags,
      });
    const config = reread();
    throw new Finished(await options.action({ config, reread, json: given['json'] === true, own: given }));
  });
  return command;
}

/** Prints what failed: one sentence and a hint for people, one object for programs. */
export function printFault(error: unknown, json: boolean): void {
  const fault = error instanceof Fault ? error : null;
  const message = error instanceof Error ? error.message : String(error);
  if (json) {
    const { code = 'internal', hint, detail } = fault ?? {};
    terminal.write(`${JSON.stringify({ error: { code, message, hint, detail } })}\n`);
    return;
  }
  terminal.writeError(`skerry: ${message}\n`);
  if (fault?.hint !== undefined) terminal.writeError(`  hint: ${fault.hint}\n`);
  // Not an expected failure: the stack is what whoever mends it needs.
  if (fault === null && error instanceof Error && error.stack !== undefined) terminal.writeError(`${error.stack}\n`);
}

function readConfigFile(file: string): string {
  const text = readTextFile(file);
  if (text === null)
    throw new Fault('config-missing', {
      message: `there is no file ${file}`,
      hint: '`skerry config sample > FILE` makes one',
    });
  return text;
}
