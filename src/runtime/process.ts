// This process and its children: signals, arguments, the terminal; children that end when we end.
//
// Faults (code: what the operator reads in it)
//   process-failed    a child program could not be started

import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { Fault } from '../base/fault.ts';

// A line longer than this is cut: a child that prints without end must not fill our memory.
const LINE_CHARS_MAX = 64 * 1024;

// Tells a role that its standard input is the lifeline of its parent, not a terminal or a file.
const LIFELINE_ENV = 'SKERRY_LIFELINE';

export interface ChildOptions {
  /** Program and arguments; no secrets, `ps` shows them. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly stdoutLine: (line: string) => void;
  readonly stderrLine: (line: string) => void;
}

export interface Child {
  readonly pid: number;
  /** Resolves with a sentence when it is gone and its last line was delivered. */
  readonly exited: Promise<ChildExit>;
  signal(name: 'SIGTERM' | 'SIGINT' | 'SIGKILL' | 'SIGHUP'): void;
}

export interface ChildExit {
  /** Null when it was killed by a signal. */
  readonly code: number | null;
  readonly sentence: string;
}

/**
 * Starts a child in a session of its own (Ctrl-C in the terminal is ours to hand on, in order) with a pipe as its standard
 * input that only we hold: when we die, however, the child reads the end of it and stops.
 */
export function spawnChild(options: ChildOptions): Child {
  const child = (() => {
    try {
      return Bun.spawn([...options.command], {
        env: { ...process.env, ...options.env, [LIFELINE_ENV]: '1' },
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'pipe',
        detached: true,
      });
    } catch (error) {
      throw new Fault('process-failed', {
        message: `cannot start ${options.command[0]}: ${error instanceof Error ? error.message : String(error)}`,
        hint: 'check that it is installed and that there is memory for it',
        cause: error,
      });
    }
  })();
  const drained = Promise.all([eachLine(child.stdout, options.stdoutLine), eachLine(child.stderr, options.stderrLine)]);
  return {
    pid: child.pid,
    exited: child.exited.then(async (): Promise<ChildExit> => {
      await drained;
      return child.signalCode === null
        ? { code: child.exitCode, sentence: `ended with code ${child.exitCode}` }
        : { code: null, sentence: `was killed by ${child.signalCode}` };
    }),
    signal(name) {
      if (child.exitCode === null && child.signalCode === null) child.kill(name);
    },
  };
}

export interface StopSignals {
  /** Aborts when we are told to stop; its reason is a sentence. */
  readonly stop: AbortSignal;
  /** Aborts when we are told again: do not wait for anybody. */
  readonly hurry: AbortSignal;
}

type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

/** Calls `task` each time the signal arrives. */
export function onSignal(name: 'SIGHUP' | 'SIGUSR2', task: () => void): void {
  process.on(name, task);
}

/** For a process that does only what its parent tells it: a signal to the whole group is the parent's to answer. */
export function leaveSignalsToParent(): void {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2', 'SIGPIPE'] as const) process.on(name, () => {});
}

/** Tells another process. Throws Fault `not-running`. */
export function signalProcess(pid: number, name: 'SIGHUP' | 'SIGUSR2'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    throw new Fault('not-running', {
      message: `process ${pid} cannot be told: ${error instanceof Error ? error.message : String(error)}`,
      hint: 'run this as the user that started it',
      cause: error,
    });
  }
}

/**
 * SIGTERM, SIGINT, SIGHUP (the terminal went away) and the end of the lifeline mean stop; a second one means hurry; a third
 * ends the process on the spot.
 */
export function stopSignals(stops: readonly StopSignal[] = ['SIGTERM', 'SIGINT', 'SIGHUP']): StopSignals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const told = (why: string): void => {
    if (!stop.signal.aborted) stop.abort(why);
    else if (!hurry.signal.aborted) hurry.abort(why);
    else process.exit(EXIT_KILLED);
  };
  for (const name of stops) process.on(name, () => told(`got ${name}`));
  // Writing to a terminal or a parent that is gone is no reason to die in the middle of stopping.
  process.on('SIGPIPE', () => {});
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  if (process.env[LIFELINE_ENV] === '1') void endOfInput().then(() => told('the parent process is gone'));
  return { stop: stop.signal, hurry: hurry.signal };
}

/** For a child whose owner tells it when to stop: the terminal's Ctrl-C reaches the whole process group. */
export function ignoreStopSignals(): void {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPIPE'] as const) process.on(name, () => {});
}

/** What a shell would report for a process ended by SIGINT. */
const EXIT_KILLED = 130;

/** What the command line may know about where it runs. */
export interface Terminal {
  /** False when standard output is a file or a pipe. */
  readonly isTty: boolean;
  /** Width now; some terminals say 0 until they are drawn, so never less than 40. */
  columns(): number;
  /** Height now; never less than 10. */
  rows(): number;
  /** Writes to standard output as it is. */
  write(text: string): void;
  writeError(text: string): void;
}

const COLUMNS_DEFAULT = 100;
const COLUMNS_MIN = 40;
const ROWS_DEFAULT = 40;
const ROWS_MIN = 10;

export const terminal: Terminal = {
  isTty: process.stdout.isTTY === true,
  columns() {
    const columns = process.stdout.columns ?? 0;
    return columns > 0 ? Math.max(COLUMNS_MIN, columns) : COLUMNS_DEFAULT;
  },
  rows() {
    const rows = process.stdout.rows ?? 0;
    return rows > 0 ? Math.max(ROWS_MIN, rows) : ROWS_DEFAULT;
  },
  write(text) {
    process.stdout.write(text);
  },
  writeError(text) {
    process.stderr.write(text);
  },
};

/** The program that runs us with the module `entry` (a file URL), to start more of it. */
export function selfCommand(entry: URL): readonly string[] {
  return [process.execPath, Bun.fileURLToPath(entry)];
}

/** `path` as seen from the folder where the command was given. */
export function absolutePath(path: string): string {
  // npm runs a script in the package's folder, and says where the person stood.
  const isOwnScript = ['start', 'skerry'].includes(process.env['npm_lifecycle_event'] ?? '');
  return resolve((isOwnScript ? process.env['INIT_CWD'] : undefined) ?? process.cwd(), path);
}

/** `path` as seen from the project's own folder. */
export function besideProject(path: string): string {
  return resolve(import.meta.dir, '../..', path);
}

/** Ends this process after its output was handed over. */
export async function exit(code: number): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}

/** The id of this process. */
export function currentPid(): number {
  return process.pid;
}

/** Cores that this process may use, as far as the system says. */
export function coreCount(): number {
  return Math.max(1, availableParallelism());
}

/** What a process was started with besides its program. */
export function ownArguments(): readonly string[] {
  return process.argv.slice(2);
}

/** True when a process of that id lives. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableEnded) resolve();
    else stream.write('', () => resolve());
  });
}

async function endOfInput(): Promise<void> {
  try {
    for await (const _chunk of Bun.stdin.stream()) {
      // Nothing is ever said on the lifeline.
    }
  } catch {
    // A broken lifeline is an ended one.
  }
}

async function eachLine(stream: ReadableStream<Uint8Array>, line: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = (parts.pop() as string).slice(0, LINE_CHARS_MAX);
      for (const part of parts) line(part.slice(0, LINE_CHARS_MAX));
    }
  } catch {
    // The pipe broke with the child; what it said before was delivered.
  }
  if (rest !== '') line(rest);
}
