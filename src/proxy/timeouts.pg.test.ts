// Limits of time, what is measured, and the command line's own proxy process.

import { afterAll, beforeAll, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { startPostgres, temporaryFolder, type TestPostgres, waitFor } from '../../test/harness.ts';
import { startProxy } from '../../test/proxy.ts';
import { createLog } from '../observe/log.ts';

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
});

async function connect(port: number): Promise<pg.Client> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' });
  await client.connect();
  return client;
}

/** SQLSTATE with which the proxy ends the connection. */
function ended(client: pg.Client): Promise<string> {
  return new Promise((resolve) =>
    client.on('error', (error) => resolve((error as { code?: string }).code ?? error.message)),
  );
}

test.each([
  ['query_timeout', { queryTimeoutMs: 300 }, ['select pg_sleep(600)'], '57014'],
  ['idle_transaction_timeout', { idleTransactionTimeoutMs: 300 }, ['begin'], '25P03'],
  ['transaction_timeout', { transactionTimeoutMs: 300 }, ['begin'], '25P04'],
  ['client_idle_timeout', { clientIdleTimeoutMs: 300 }, ['select 1'], '57P05'],
] as const)(
  '%s ends the client with its SQLSTATE, and the server connection is kept',
  async (_name, options, statements, code) => {
    await using proxy = await startProxy(postgres, { ...options, poolSize: 1 });
    const client = await connect(proxy.port);
    const pid = (await client.query<{ p: number }>('select pg_backend_pid() as p')).rows[0]?.p;
    const end = ended(client);
    for (const statement of statements) {
      const asked = client.query(statement).catch((error: unknown) => (error as { code?: string }).code);
      if (statement.includes('sleep')) expect(await asked).toBe(code);
      else await asked;
    }
    if (code !== '57014') expect(await end).toBe(code);
    const next = await connect(proxy.port);
    expect((await next.query<{ p: number }>('select pg_backend_pid() as p')).rows[0]?.p).toBe(pid);
    next.on('error', () => {});
    await next.end();
  },
);

test('slow statements are logged without their values, and times are counted', async () => {
  const lines: string[] = [];
  const log = createLog({ level: 'warn', format: 'json', wall: () => 0, sink: (line) => lines.push(line) });
  await using proxy = await startProxy(postgres, { slowQueryMs: 20, log });
  const client = await connect(proxy.port);
  await client.query(`select pg_sleep(0.03), 'secret'`);
  await client.end();
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] as string)).toMatchObject({ event: 'proxy.slow-query', message: 'select pg_sleep(?),?' });
  const text = proxy.metrics.render();
  expect(text).toContain('skerry_proxy_query_seconds_count{database="postgres"} 1');
  expect(text).toContain(
    'skerry_proxy_server_connections{database="postgres",user="postgres",place="primary",state="idle"} 1',
  );
});

test('`skerry proxy --config FILE` serves, reloads a changed file, keeps the old one when it is wrong, and shows metrics', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'skerry.yaml');
  const write = (more: string): void =>
    writeFileSync(
      file,
      `proxy:\n  port: 0\n  read_port: 0\n  http_port: 0\n  auth_type: trust\n${more}  databases:\n    "*":\n      servers: ["127.0.0.1:${postgres.port}"]\n`,
    );
  write('');
  const root = join(import.meta.dir, '..', '..');
  const child = Bun.spawn(
    [join(root, 'node_modules', '.bin', 'bun'), join(root, 'src', 'cli', 'main.ts'), 'proxy', '--config', file],
    {
      stdout: 'pipe',
      stderr: 'ignore',
    },
  );
  try {
    let text = '';
    const reader = child.stdout.getReader();
    while (!text.includes('\n')) text += Buffer.from((await reader.read()).value ?? []).toString();
    const ready = JSON.parse(text) as { ready: boolean; port: number; httpPort: number };
    expect(ready.ready).toBe(true);
    const client = await connect(ready.port);
    await client.query('select 1');
    const admin = new pg.Client({ host: '127.0.0.1', port: ready.port, user: 'postgres', database: 'skerry' });
    await admin.connect();
    const size = async (): Promise<string | undefined> =>
      (await admin.query<{ key: string; value: string }>('show config')).rows.find(
        (row) => row.key === 'default_pool_size',
      )?.value;
    write('  default_pool_size: 33\n');
    await admin.query('reload');
    expect(await size()).toBe('33');
    write('  default_pool_sise: 44\n');
    const refused = await admin.query('reload').catch((error: unknown) => error as pg.DatabaseError);
    expect((refused as Error).message).toContain('skerry.yaml:6: unknown option "proxy.default_pool_sise"');
    expect(await size()).toBe('33');
    await client.query('select 1');
    expect(await (await fetch(`http://127.0.0.1:${ready.httpPort}/metrics`)).text()).toContain(
      'skerry_proxy_query_seconds',
    );
    client.on('error', () => {});
    admin.on('error', () => {});
    child.kill('SIGTERM');
    expect(await child.exited).toBe(0);
    await waitFor('clients are told', () => true);
  } finally {
    child.kill('SIGKILL');
  }
});
