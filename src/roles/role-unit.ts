// A role as a child process: `skerry relay --config …`, `skerry edge --config …`.
//
// What a role tells its parent, as JSON lines on standard output:
//   {"ready":true, …}                      it serves; once
//   {"error":{"code","message","hint"}}    it gives up, and trying again will not help
// Its log goes to standard error.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { type Child, spawnChild } from '../runtime/process.ts';
import type { RunningUnit, Unit } from './supervisor.ts';

export interface RoleUnitOptions {
  readonly name: string;
  readonly command: readonly string[];
  /** Added to our environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Each line that the role writes to its log. */
  readonly logLine: (line: string) => void;
  /** Time it may take to stop in order. */
  readonly stopTimeoutMs: number;
  /** See `Unit.answers`. */
  readonly answers?: (withinMs: number) => Promise<boolean>;
}

export function roleUnit(options: RoleUnitOptions): Unit {
  const { name, answers } = options;
  return { name, start: () => Promise.resolve(startRole(options)), ...(answers === undefined ? {} : { answers }) };
}

function startRole(options: RoleUnitOptions): RunningUnit {
  const ready = Promise.withResolvers<void>();
  let fault: Fault | null = null;
  let lastLine = '';
  const child = spawnChild({
    command: options.command,
    ...(options.env === undefined ? {} : { env: options.env }),
    stdoutLine(line) {
      const told = readTold(line);
      if (told === 'ready') ready.resolve();
      else if (told !== null) fault = told;
    },
    stderrLine(line) {
      lastLine = line;
      options.logLine(line);
    },
  });
  const exited = child.exited.then(({ sentence }) => (fault === null ? sentence : `${sentence}: ${fault.message}`));
  void child.exited.then(({ sentence }) =>
    ready.reject(
      fault ??
        new Fault('unit-failed', { message: `${options.name} ${sentence}${lastLine === '' ? '' : `: ${lastLine}`}` }),
    ),
  );
  ready.promise.catch(() => {}); // The supervisor looks at it on the first start only.
  return { pid: child.pid, ready: ready.promise, exited, stop: (hurry) => stopChild(child, options, hurry) };
}

async function stopChild(child: Child, options: RoleUnitOptions, hurry: AbortSignal): Promise<void> {
  const kill = (): void => child.signal('SIGKILL');
  if (hurry.aborted) kill();
  else child.signal('SIGTERM');
  hurry.addEventListener('abort', kill, { once: true });
  using _deadline = options.clock.after(options.stopTimeoutMs, kill);
  await child.exited;
  hurry.removeEventListener('abort', kill);
}

function readTold(line: string): 'ready' | Fault | null {
  try {
    const told = JSON.parse(line) as { ready?: unknown; error?: { code?: unknown; message?: unknown; hint?: unknown } };
    if (told.ready === true) return 'ready';
    if (typeof told.error !== 'object') return null;
    return new Fault(String(told.error.code), {
      message: String(told.error.message),
      ...(typeof told.error.hint === 'string' ? { hint: told.error.hint } : {}),
    });
  } catch {
    return null;
  }
}
