// `skerry config sample|reference`: what can be set.

import { Command } from 'commander';
import { referencePage, sampleFile } from '../../config/describe.ts';
import { GROUPS } from '../../config/options.ts';
import { terminal } from '../../runtime/process.ts';
import { EXIT, makeCommand } from '../command.ts';

const print = (name: string, summary: string, text: () => string): Command =>
  makeCommand({
    name,
    summary,
    groups: [],
    action({ json }) {
      terminal.write(json ? `${JSON.stringify({ text: text() })}\n` : text());
      return Promise.resolve(EXIT.ok);
    },
  });

export const configCommand = new Command('config')
  .summary('Print what can be configured.')
  .addCommand(print('sample', 'Print a YAML file with every option at its default.', () => sampleFile(GROUPS)))
  .addCommand(print('reference', 'Print the page docs/reference/options.md.', () => referencePage(GROUPS)));
