// What a worker that starts later has to begin with.

import { expect, test } from 'bun:test';
import { parseCommand, stateAfter } from './admin.ts';
import type { RunState } from './messages.ts';

const NEW: RunState = { pausedAll: false, resumed: [], paused: [], disabled: [], options: [] };

function after(...commands: string[]): RunState {
  return commands.reduce((state, text) => stateAfter(state, parseCommand(text), text), NEW);
}

test.each([
  [['pause', 'resume a'], { pausedAll: true, resumed: ['a'], paused: [] }],
  [['pause', 'resume a', 'pause a'], { pausedAll: true, resumed: [], paused: ['a'] }],
  [['pause', 'resume a', 'pause'], { pausedAll: true, resumed: [], paused: [] }],
  [['pause', 'resume a', 'kill'], { pausedAll: true, resumed: [], paused: [] }],
  [['pause', 'resume a', 'resume'], NEW],
  [['pause a', 'resume a'], NEW],
] as const)('after %p', (commands, expected) => {
  expect(after(...commands)).toEqual({ ...NEW, ...expected });
});
