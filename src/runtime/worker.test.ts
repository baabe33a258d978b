import { describe, expect, test } from 'bun:test';
import { waitFor } from '../../test/harness.ts';
import { bunWorkers } from './worker.ts';

const ENTRY = new URL('./testdata/echo-worker.ts', import.meta.url);

describe.each(['thread', 'process'] as const)('a %s', (kind) => {
  test('answers with structured clones, in order', async () => {
    await using worker = bunWorkers[kind]<unknown, unknown>(ENTRY);
    const got: unknown[] = [];
    const sent = [1n, new Uint8Array([0, 255]), new Map([['a', null]]), { text: 'ü\0' }];
    for (const message of sent) worker.post(message);
    worker.onMessage = (message) => got.push(message);
    await waitFor('all answers', () => got.length === sent.length);
    expect(got).toEqual(sent.map((message) => ({ echo: message })));
  });

  test('says why it is gone when it throws', async () => {
    await using worker = bunWorkers[kind]<string, unknown>(ENTRY);
    worker.post('die');
    expect(await worker.exited).toMatch(kind === 'thread' ? /told to die/ : /ended with code 1/);
  });

  test('is gone after kill', async () => {
    const worker = bunWorkers[kind]<string, unknown>(ENTRY);
    await worker.kill();
    expect(await worker.exited).toBeString();
  });
});

test('a process is killed in the middle of an endless loop', async () => {
  const worker = bunWorkers.process<string, unknown>(ENTRY);
  let answered = false;
  worker.onMessage = () => {
    answered = true;
  };
  worker.post('hello');
  await waitFor('it runs', () => answered);
  worker.post('spin');
  await worker.kill();
  expect(await worker.exited).toBe('was killed by SIGKILL');
});

test('a process ends when its owner is killed', async () => {
  const script = `import { bunWorkers } from '${import.meta.dir}/worker.ts';
    const worker = bunWorkers.process(new URL('file://${ENTRY.pathname}'));
    worker.onMessage = () => { console.log(Bun.spawnSync(['pgrep', '-P', String(process.pid)]).stdout.toString().trim().split('\\n')[0]); };
    worker.post('hello');`;
  const owner = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'pipe' });
  const { value } = await owner.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value));
  expect(pid).toBeGreaterThan(1);
  owner.kill('SIGKILL');
  await waitFor('the worker is gone', () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
});
