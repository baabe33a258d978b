// Commands of the admin console over several workers: what they change for workers that start later, and how the answers of
// all become one. Pure.

import { Fault } from '../../base/fault.ts';
import type { AdminAnswer } from '../admin/session.ts';
import { isLasting, nameOf, tenantSettingOf } from '../admin/settings.ts';
import { mergeTables, tableToAsk } from '../admin/tables.ts';
import { tokenize } from '../scan.ts';
import type { RunState } from './messages.ts';

export interface AdminCommand {
  /** In capitals. */
  readonly verb: string;
  readonly words: readonly string[];
}

export function parseCommand(text: string): AdminCommand {
  const [verb = '', ...words] = tokenize(text).map((token) => token.text);
  return { verb: verb.toUpperCase(), words };
}

/** The text that each worker gets. */
export function textFor({ verb, words }: AdminCommand, text: string): string {
  return verb === 'SHOW' ? `SHOW ${tableToAsk(words[0] ?? '')}` : text;
}

/** What a worker that starts after the command has to begin with. */
export function stateAfter(state: RunState, { verb, words }: AdminCommand, text = ''): RunState {
  const name = words[0];
  const without = (list: readonly string[]): string[] => list.filter((one) => one !== name);
  switch (verb) {
    case 'PAUSE':
    case 'KILL':
      if (name === undefined) return { ...state, pausedAll: true, resumed: [] };
      return { ...state, paused: [...without(state.paused), name], resumed: without(state.resumed) };
    case 'RESUME':
      if (name === undefined) return { ...state, pausedAll: false, resumed: [], paused: [] };
      return {
        ...state,
        paused: without(state.paused),
        resumed: state.pausedAll ? [...without(state.resumed), name] : state.resumed,
      };
    case 'DISABLE':
      return name === undefined ? state : { ...state, disabled: [...without(state.disabled), name] };
    case 'ENABLE':
      return { ...state, disabled: without(state.disabled) };
    case 'SET': {
      const setting = tenantSettingOf(text);
      if (setting !== null) {
        const full = nameOf(setting);
        return { ...state, options: [...state.options.filter(([known]) => known !== full), [full, setting.value]] };
      }
      const value = words.at(-1);
      if (name === undefined || value === undefined || words.length < 2) return state;
      return { ...state, options: [...state.options.filter(([known]) => known !== name), [name, value]] };
    }
    case 'RELOAD':
      return { ...state, options: state.options.filter(([known]) => isLasting(known)) };
    default:
      return state;
  }
}

/** What one worker said. */
export type Said =
  | { readonly worker: number; readonly answer: AdminAnswer }
  | { readonly worker: number; readonly fault: Fault };

/** A worker that knows nothing of a database or client leaves it to those that do. */
const ELSEWHERE: ReadonlySet<string> = new Set(['database-unknown', 'client-unknown', 'tenant-unknown']);

/** One outcome. Throws the Fault to tell. */
export function outcomeOf({ verb, words }: AdminCommand, said: readonly Said[]): AdminAnswer {
  const answers = said.flatMap((one) => ('answer' in one ? [one.answer] : []));
  const failed = said.flatMap((one) => ('fault' in one ? [one] : []));
  const first = answers[0];
  const wrong = first === undefined ? failed : failed.filter(({ fault }) => !ELSEWHERE.has(fault.code));
  const worst = wrong[0];
  if (verb === 'SHOW' && first !== undefined) {
    const merged = mergeTables(words[0] ?? '', answers);
    if (wrong.length === 0) return merged;
    const who = wrong.map((one) => `${one.worker} (${one.fault.message})`).join(', ');
    return { ...merged, warning: `without what these workers would say: ${who}` };
  }
  if (worst === undefined) return first ?? { tag: verb };
  const { code, message, hint, sqlstate, retryable } = worst.fault;
  if (first === undefined && wrong.every(({ fault }) => fault.message === message)) throw worst.fault;
  const others =
    first === undefined
      ? ''
      : `; ${answers.length} of ${said.length} workers have done it: ${said
          .filter((one) => 'answer' in one)
          .map((one) => one.worker)
          .join(', ')}`;
  throw new Fault(code, {
    message: `worker ${worst.worker}: ${message}${others}`,
    sqlstate,
    retryable,
    ...(hint === undefined ? {} : { hint }),
  });
}
