// `skerry relay`, `skerry edge`: one role in this process.

import { runRelay } from '../../roles/relay.ts';
import { makeCommand } from '../command.ts';

export const relayCommand = makeCommand({
  name: 'relay',
  summary: 'Run a relay: follow the core (or another relay), serve edges and subscribers.',
  groups: ['log', 'core', 'relay'],
  action: ({ config }) => runRelay(config),
});

/**
 * Loaded when it is needed: with it comes the SQL parser, whose WebAssembly memory of 128 MB, mostly never touched, the engine
 * counts as used, so that every process that has it collects its garbage late.
 */
export const edgeCommand = makeCommand({
  name: 'edge',
  summary: 'Run an edge: follow a relay, answer SQL from SQLite, forward the rest.',
  groups: ['log', 'core', 'edge'],
  action: async ({ config }) => await (await import('../../roles/edge.ts')).runEdge(config),
});
