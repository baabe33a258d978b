import { expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { findAllPostgres } from '../src/runtime/postgres.ts';
import { needs, startPostgres, waitFor } from './harness.ts';

test('a test cluster answers, survives kill -9 on the same port, and leaves no folder behind', async () => {
  let folder: string;
  {
    await using postgres = await startPostgres();
    folder = dirname(postgres.dataDir);
    await postgres.sql('create table t (id int); insert into t select generate_series(1, 3)');
    expect(await postgres.value('select count(*) from t')).toBe('3');
    expect(await postgres.value('show wal_level')).toBe('logical');
    const { port, pid } = postgres;
    await postgres.kill9();
    await postgres.restart();
    expect(postgres.port).toBe(port);
    expect(postgres.pid).not.toBe(pid);
    expect(await postgres.value('select count(*) from t')).toBe('3');
  }
  expect(existsSync(folder)).toBe(false);
}, 20_000);

test.skipIf(!needs('postgres-18'))(
  'the embedded programs serve a cluster too',
  async () => {
    await using postgres = await startPostgres({ version: '18', settings: { work_mem: '5MB' } });
    expect(await postgres.value('show server_version_num')).toStartWith('18');
    expect(await postgres.value('show work_mem')).toBe('5MB');
  },
  20_000,
);

test('a cluster ends and its folder goes when the test process is killed', async () => {
  const script = `import { startPostgres } from '${import.meta.dir}/harness.ts';
    const postgres = await startPostgres();
    console.log(JSON.stringify({ pid: postgres.pid, dataDir: postgres.dataDir }));
    await Bun.sleep(60_000);`;
  const child = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'inherit' });
  const { value } = await child.stdout.getReader().read();
  const { pid, dataDir } = JSON.parse(new TextDecoder().decode(value)) as { pid: number; dataDir: string };
  child.kill('SIGKILL');
  await child.exited;
  await waitFor('the postmaster is gone', () => !alive(pid));
  await waitFor('the folder is gone', () => !existsSync(dataDir));
}, 30_000);

test('at least one usable Postgres is found, best first', () => {
  expect(findAllPostgres().length).toBeGreaterThan(0);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
