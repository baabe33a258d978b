// `skerry relay`, `skerry edge`: one role in this process.

import { runEdge } from '../../roles/edge.ts';
import { runRelay } from '../../roles/relay.ts';
import { makeCommand } from '../command.ts';

export const relayCommand = makeCommand({
  name: 'relay',
  summary: 'Run a relay: follow the core (or another relay), serve edges and subscribers.',
  groups: ['log', 'core', 'relay'],
  action: ({ config }) => runRelay(config),
});

export const edgeCommand = makeCommand({
  name: 'edge',
  summary: 'Run an edge: follow a relay, answer SQL from SQLite, forward the rest.',
  groups: ['log', 'core', 'edge'],
  action: ({ config }) => runEdge(config),
});
