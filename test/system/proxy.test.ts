// `skerry proxy` as a process: what it says, signals, and the commands that speak to a running one.

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ProxyStatus } from '../../src/roles/proxy.ts';
import { isAlive } from '../../src/runtime/process.ts';
import { freePort, startPostgres, temporaryFolder, type TestPostgres, waitFor } from '../harness.ts';
import { MAIN, skerry } from '../skerry.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

interface Running extends AsyncDisposable {
  readonly file: string;
  readonly port: number;
  readonly httpPort: number;
  readonly pid: number;
  readonly exited: Promise<number>;
  log(): string;
  status(): Promise<ProxyStatus>;
  /** Replaces a line of the configuration. */
  write(lines: Readonly<Record<string, unknown>>): void;
  signal(name: 'SIGHUP' | 'SIGUSR2' | 'SIGTERM' | 'SIGKILL'): void;
}

async function start(more: Readonly<Record<string, unknown>> = {}): Promise<Running> {
  const folder = temporaryFolder();
  const file = join(folder.path, 'skerry.yaml');
  const ports = { port: freePort(), read_port: freePort(), http_port: freePort() };
  const write = (lines: Readonly<Record<string, unknown>>): void => {
    const databases = { '*': { servers: [`127.0.0.1:${postgres.port}`] } };
    writeFileSync(
      file,
      JSON.stringify({ proxy: { ...ports, auth_type: 'trust', workers: 2, databases, ...more, ...lines } }),
    );
  };
  write({});
  const child = Bun.spawn([process.execPath, MAIN, 'proxy', '--config', file], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  let [out, err] = ['', ''];
  const collect = async (stream: ReadableStream<Uint8Array>, add: (text: string) => void): Promise<void> => {
    for await (const chunk of stream) add(Buffer.from(chunk).toString());
  };
  void collect(child.stdout, (text) => (out += text));
  void collect(child.stderr, (text) => (err += text));
  await waitFor('the proxy is ready', () => out.includes('"ready":true') || child.exitCode !== null);
  if (child.exitCode !== null) throw new Error(`it ended: ${out} ${err}`);
  return {
    file,
    port: ports.port,
    httpPort: ports.http_port,
    pid: child.pid,
    exited: child.exited,
    log: () => err,
    status: async () => (await (await fetch(`http://127.0.0.1:${ports.http_port}/status`)).json()) as ProxyStatus,
    write,
    signal: (name) => child.kill(name),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await child.exited;
      folder[Symbol.dispose]();
    },
  };
}

async function one(proxy: Running): Promise<unknown> {
  await using sql = new Bun.SQL({ url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres`, max: 1, tls: false });
  return ((await sql`select 1 as one`) as { one: number }[])[0]?.one;
}

describe('skerry proxy', () => {
  test('a file with a mistake is told on SIGHUP and by the command, with its place; the old one stays', async () => {
    await using proxy = await start();
    proxy.write({ pool_sise: 3 });
    proxy.signal('SIGHUP');
    await waitFor('the mistake is told', () => proxy.log().includes('did you mean "proxy.'));
    const told = await skerry(['proxy', 'reload', '--http-port', String(proxy.httpPort)]);
    expect([told.code, told.err]).toEqual([2, expect.stringContaining('unknown option "proxy.pool_sise"')]);
    expect(await one(proxy)).toBe(1);
    proxy.write({ default_pool_size: 3 });
    const done = await skerry(['proxy', 'reload', '--http-port', String(proxy.httpPort), '--json']);
    expect([done.code, (JSON.parse(done.out) as ProxyStatus).lastError]).toEqual([0, '']);
  });

  test('SIGUSR2 and the command replace the workers; the parent stays', async () => {
    await using proxy = await start();
    const before = (await proxy.status()).workers.map((worker) => worker.pid);
    proxy.signal('SIGUSR2');
    await waitFor('restarted', async () => (await proxy.status()).generation === 1);
    const told = await skerry(['proxy', 'restart', '--config', proxy.file]);
    expect([told.code, told.err]).toEqual([0, '']);
    const after = await proxy.status();
    expect(after.pid).toBe(proxy.pid);
    expect(after.generation).toBe(2);
    await waitFor('the first ones are gone', () => !before.some(isAlive));
    expect(await one(proxy)).toBe(1);
  });

  test('ends with its workers: told to, and killed', async () => {
    for (const name of ['SIGTERM', 'SIGKILL'] as const) {
      await using proxy = await start();
      const pids = (await proxy.status()).workers.map((worker) => worker.pid);
      proxy.signal(name);
      await proxy.exited;
      await waitFor('the workers are gone', () => !pids.some(isAlive));
    }
  });

  test('a second one on the same ports is refused, although they could be shared', async () => {
    await using proxy = await start();
    const second = await skerry(['proxy', '--config', proxy.file, '--http-port', String(freePort())]);
    expect(second.code).toBe(2);
    expect(second.out).toContain('port-taken');
    expect(await one(proxy)).toBe(1);
  });

  test('what cannot be is said before anything starts', async () => {
    using folder = temporaryFolder();
    for (const [lines, why] of [
      [{ host: folder.path, workers: 2 }, 'cannot share a unix socket'],
      [{ peers: { 2: { host: 'h' } } }, 'peer_id is not'],
      [{ workers: 32 }, 'workers'],
    ] as const) {
      const file = join(folder.path, 'skerry.yaml');
      writeFileSync(
        file,
        JSON.stringify({ proxy: { auth_type: 'trust', databases: { '*': { servers: ['h'] } }, ...lines } }),
      );
      const result = await skerry(['proxy', '--config', file]);
      expect([result.code, result.out + result.err]).toEqual([2, expect.stringContaining(why)]);
    }
  });

  test('commands for a proxy that is not there say what to name', async () => {
    for (const command of [['proxy', 'restart'], ['proxy', 'reload'], ['top']]) {
      const result = await skerry([...command, '--http-port', String(freePort())]);
      expect([result.code, result.err]).toEqual([2, expect.stringContaining('--http-port')]);
    }
  });
});
