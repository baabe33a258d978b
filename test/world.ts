// A small world of real processes for system tests: relays and edges, each its own `skerry` process on free ports, in one
// temporary folder. Any of them can be killed and started again in its place. Everything ends with the test.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChecksumReport, RoleStatus } from '../src/contracts/health.ts';

const ROOT = join(import.meta.dir, '..');
const BUN = join(ROOT, 'node_modules', '.bin', 'bun');

/** Upper limit of any wait; a world that is not there by then is broken, whatever the machine. */
const WAIT_MS = 60_000;

export interface RoleProcess {
  readonly name: string;
  readonly role: 'relay' | 'edge';
  /** PostgreSQL protocol. */
  readonly port: number;
  readonly httpPort: number;
  /** Of the process that runs now. */
  readonly pid: number;
  /** All that was written to standard error since the first start. */
  log(): string;
  status(): Promise<RoleStatus>;
  checksum(at?: string): Promise<ChecksumReport>;
  kill9(): Promise<void>;
  /** SIGTERM; gives the exit code. */
  stop(): Promise<number>;
  start(): Promise<void>;
  /** Resolves when it streams. */
  ready(): Promise<void>;
}

export interface World extends AsyncDisposable {
  readonly dir: string;
  /** Follows the core, or another relay. Extra settings are environment variables (SKERRY_…). */
  relay(
    name: string,
    upstream: { readonly url: string } | RoleProcess,
    env?: Readonly<Record<string, string>>,
  ): Promise<RoleProcess>;
  edge(
    name: string,
    upstream: RoleProcess,
    coreUrl: string,
    env?: Readonly<Record<string, string>>,
  ): Promise<RoleProcess>;
}

export function createWorld(): World {
  const dir = mkdtempSync(join(tmpdir(), 'skerry-world-'));
  const secretFile = join(dir, 'peer.secret');
  const secret = crypto.randomUUID();
  writeFileSync(secretFile, secret, { mode: 0o600 });
  const running: { stop(): Promise<number>; kill9(): Promise<void> }[] = [];

  const launch = async (
    role: 'relay' | 'edge',
    name: string,
    settings: Readonly<Record<string, string>>,
  ): Promise<RoleProcess> => {
    const [port, httpPort] = await Promise.all([freePort(), freePort()]);
    const prefix = role === 'relay' ? 'SKERRY_RELAY_' : 'SKERRY_EDGE_';
    const process = createRole(role, name, port, httpPort, {
      ...settings,
      [`${prefix}NAME`]: name,
      [`${prefix}DIR`]: join(dir, name),
      [`${prefix}PORT`]: String(port),
      [`${prefix}HTTP_PORT`]: String(httpPort),
      [`${prefix}PEER_USER`]: 'skerry',
      [`${prefix}PEER_PASSWORD_FILE`]: secretFile,
    });
    running.push(process);
    await process.start();
    return process;
  };
  const upstreamOf = (prefix: string, upstream: RoleProcess): Record<string, string> => ({
    [`${prefix}UPSTREAM_URL`]: `postgres://127.0.0.1:${upstream.port}/skerry`,
    [`${prefix}UPSTREAM_HTTP_URL`]: `http://127.0.0.1:${upstream.httpPort}`,
  });

  return {
    dir,
    relay: (name, upstream, env = {}) =>
      launch('relay', name, {
        ...('url' in upstream ? { SKERRY_DATABASE_URL: upstream.url } : upstreamOf('SKERRY_RELAY_', upstream)),
        ...env,
      }),
    edge: (name, upstream, coreUrl, env = {}) =>
      launch('edge', name, {
        SKERRY_DATABASE_URL: coreUrl,
        SKERRY_EDGE_CLIENT_AUTH: 'trust-loopback',
        ...upstreamOf('SKERRY_EDGE_', upstream),
        ...env,
      }),
    async [Symbol.asyncDispose]() {
      for (const process of running.reverse()) await process.kill9();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function createRole(
  role: 'relay' | 'edge',
  name: string,
  port: number,
  httpPort: number,
  env: Readonly<Record<string, string>>,
): RoleProcess {
  let child: Bun.Subprocess<'ignore', 'ignore', 'pipe'> | null = null;
  let log = '';

  const follow = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) log += decoder.decode(chunk, { stream: true });
  };
  const end = async (signal: NodeJS.Signals): Promise<number> => {
    if (child === null) return 0;
    child.kill(signal);
    const code = await child.exited;
    child = null;
    return code;
  };
  const get = async <T>(path: string): Promise<T> => {
    const response = await fetch(`http://127.0.0.1:${httpPort}${path}`, { signal: AbortSignal.timeout(WAIT_MS) });
    if (!response.ok) throw new Error(`${name}${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  return {
    name,
    role,
    port,
    httpPort,
    get pid() {
      if (child === null) throw new Error(`${name} does not run`);
      return child.pid;
    },
    log: () => log,
    status: () => get<RoleStatus>('/status'),
    checksum: (at) => get<ChecksumReport>(at === undefined ? '/checksum' : `/checksum?at=${encodeURIComponent(at)}`),
    async kill9() {
      await end('SIGKILL');
    },
    stop: () => end('SIGTERM'),
    async start() {
      const spawned = Bun.spawn([BUN, join(ROOT, 'src', 'cli', 'main.ts'), role], {
        cwd: ROOT,
        env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...env },
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'pipe',
      });
      child = spawned;
      void follow(spawned.stderr);
    },
    async ready() {
      await until(`${name} streams`, async () => {
        if (child?.exitCode !== null && child?.exitCode !== undefined) {
          throw new Error(`${name} ended with code ${child.exitCode}:\n${log}`);
        }
        const status = await get<RoleStatus>('/status').catch(() => null);
        return status?.state === 'streaming';
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${log}`);
      });
    },
  };
}

/** Waits for a condition; a rejection of `check` ends the wait. */
export async function until(what: string, check: () => Promise<boolean>, timeoutMs = WAIT_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await Bun.sleep(20);
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
