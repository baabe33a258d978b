// `skerry` as its users run it: the command in a process of its own, for system tests.
//
//   await using up = await startUp(['--edges', '1']);
//   up.ready.edges[0].pg

import { join } from 'node:path';
import type { World } from '../src/roles/world.ts';
import { freePort, isFreePort, waitFor } from './harness.ts';

/** The command's main module. */
export const MAIN = join(import.meta.dir, '../src/cli/main.ts');

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command to its end. */
export async function skerry(args: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env },
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

export interface RunningUp extends AsyncDisposable {
  readonly ready: World;
  readonly pid: number;
  /** The lines after the first one. */
  readonly events: readonly Record<string, unknown>[];
  /** Pid of a unit (`core`, `relay`, `edge-0`) as last told. */
  pidOf(name: string): number;
  /** Resolves with the exit code. */
  signal(name: 'SIGTERM' | 'SIGINT' | 'SIGKILL'): Promise<number>;
}

/** Offsets that a world of up to four edges listens on. */
const OFFSETS = [0, 32, 33, 40, 41, 42, 50, 51, ...[100, 110, 120, 130].flatMap((edge) => [edge, edge + 1])];

/** A port base whose ports were all free a moment ago. */
export function freePortBase(): number {
  for (;;) {
    const base = freePort();
    if (base + 200 < 32_000 && OFFSETS.every((offset) => isFreePort(base + offset))) return base;
  }
}

/** Starts `skerry up --json` and waits until it is ready. `--ephemeral` unless `--dir` is among the arguments. */
export async function startUp(args: readonly string[], env: Record<string, string> = {}): Promise<RunningUp> {
  const own = args.includes('--dir') ? [] : ['--ephemeral'];
  const ports = args.includes('--port-base') ? [] : ['--port-base', String(freePortBase())];
  const child = Bun.spawn([process.execPath, MAIN, 'up', '--json', ...own, ...ports, ...args], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    env: { ...process.env, ...env },
  });
  const lines: Record<string, unknown>[] = [];
  void readLines(child.stdout, (line) => lines.push(JSON.parse(line) as Record<string, unknown>));
  const errors = new Response(child.stderr).text();
  const first = await waitFor(
    'skerry up says that it is ready',
    () => lines[0] ?? (child.exitCode === null ? null : { error: 'ended' }),
    60_000,
  );
  if (first['ready'] !== true) throw new Error(`skerry up did not start: ${JSON.stringify(lines)} ${await errors}`);
  return {
    ready: first as unknown as World,
    pid: child.pid,
    events: lines,
    pidOf(name) {
      const told = lines.findLast((line) => line['event'] === 'ready' && line['name'] === name);
      const pid = told?.['pid'] ?? (first['pids'] as Record<string, number>)[name];
      if (typeof pid !== 'number') throw new Error(`no pid of ${name}`);
      return pid;
    },
    async signal(name) {
      child.kill(name);
      return child.exited;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await child.exited;
    },
  };
}

async function readLines(stream: ReadableStream<Uint8Array>, line: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = parts.pop() as string;
    for (const part of parts) line(part);
  }
}

/** `skerry relay` or `skerry edge` in a process of its own. */
export interface RunningRole extends AsyncDisposable {
  isReady(): boolean;
  log(): string;
}

export function spawnRole(role: string, file: string): RunningRole {
  const child = Bun.spawn([process.execPath, MAIN, role, '--config', file], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  let [out, err] = ['', ''];
  void readLines(child.stdout, (line) => (out += `${line}\n`));
  void readLines(child.stderr, (line) => (err += `${line}\n`));
  return {
    isReady: () => out.includes('"ready":true'),
    log: () => err,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await child.exited;
    },
  };
}

/** Starts a role and waits until it serves. */
export async function startRole(role: string, file: string): Promise<RunningRole> {
  const running = spawnRole(role, file);
  await waitFor(`${role} is ready`, () => running.isReady()).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${running.log()}`);
  });
  return running;
}
