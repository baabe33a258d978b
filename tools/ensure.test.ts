import { expect, test } from 'bun:test';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder, waitFor } from '../test/harness.ts';

const ENSURE = join(import.meta.dir, 'ensure.mjs');

/** A checkout whose npm appends a line to `runs` and makes node_modules, or fails. */
function checkout(
  root: string,
  npm = 'echo ran >> runs; mkdir -p node_modules/bun/bin; head -c 1000001 /dev/zero > node_modules/bun/bin/bun.exe',
): void {
  writeFileSync(
    join(root, 'package-lock.json'),
    JSON.stringify({ packages: { '': {}, 'node_modules/bun': { version: '1.0.0' } } }),
  );
  mkdirSync(join(root, 'path'));
  writeFileSync(join(root, 'path', 'npm'), `#!/bin/sh\n${npm}\n`);
  chmodSync(join(root, 'path', 'npm'), 0o755);
}

function spawnEnsure(root: string) {
  const env = { PATH: `${join(root, 'path')}:${process.env['PATH']}`, SKERRY_ENSURE_ROOT: root };
  return Bun.spawn(['node', ENSURE], { env, stdout: 'pipe', stderr: 'pipe' });
}

async function ensure(root: string): Promise<{ code: number; text: string; runs: number }> {
  const child = spawnEnsure(root);
  const text = await new Response(child.stderr).text();
  const code = await child.exited;
  const runs = existsSync(join(root, 'runs')) ? readFileSync(join(root, 'runs'), 'utf8').trim().split('\n').length : 0;
  return { code, text, runs };
}

test('the first start installs and says why in one line; the second does nothing', async () => {
  using folder = temporaryFolder();
  checkout(folder.path);
  const first = await ensure(folder.path);
  expect(first).toMatchObject({ code: 0, runs: 1 });
  expect(first.text).toBe('skerry: node_modules is not there yet; running npm ci\n');
  expect(await ensure(folder.path)).toEqual({ code: 0, text: '', runs: 1 });
});

test('a changed lockfile installs again', async () => {
  using folder = temporaryFolder();
  checkout(folder.path);
  await ensure(folder.path);
  writeFileSync(join(folder.path, 'package-lock.json'), '{"packages":{}}');
  const again = await ensure(folder.path);
  expect(again).toMatchObject({ code: 0, runs: 2 });
  expect(again.text).toContain('package-lock.json changed');
});

test('an npm ci that the user ran is accepted as it is', async () => {
  using folder = temporaryFolder();
  checkout(folder.path);
  await ensure(folder.path);
  rmSync(join(folder.path, 'node_modules', '.skerry-lock'));
  writeFileSync(
    join(folder.path, 'node_modules', '.package-lock.json'),
    '{"packages":{"node_modules/bun":{"version":"1.0.0"}}}',
  );
  expect(await ensure(folder.path)).toEqual({ code: 0, text: '', runs: 1 });
});

test('a linked node_modules is left to the checkout that owns it', async () => {
  using folder = temporaryFolder();
  checkout(folder.path);
  symlinkSync('/nowhere', join(folder.path, 'node_modules'));
  expect(await ensure(folder.path)).toEqual({ code: 0, text: '', runs: 0 });
});

test('a failing npm is shown with what to do, and the next start tries again', async () => {
  using folder = temporaryFolder();
  checkout(folder.path, 'echo ran >> runs; echo "ECONNREFUSED registry" >&2; exit 7');
  for (const runs of [1, 2]) {
    const failed = await ensure(folder.path);
    expect(failed).toMatchObject({ code: 1, runs });
    expect(failed.text).toContain('ECONNREFUSED registry');
    expect(failed.text).toContain('npm config get registry');
  }
});

test('an npm that does not run install scripts is named', async () => {
  using folder = temporaryFolder();
  checkout(folder.path, 'echo ran >> runs; mkdir -p node_modules/bun/bin; echo stub > node_modules/bun/bin/bun.exe');
  const failed = await ensure(folder.path);
  expect(failed.code).toBe(1);
  expect(failed.text).toContain('npm rebuild --ignore-scripts=false');
});

test('two starts at once install once, and a lock left by a dead installer is taken over', async () => {
  using folder = temporaryFolder();
  checkout(
    folder.path,
    'while [ ! -f go ]; do sleep 0.02; done; echo ran >> runs; mkdir -p node_modules/bun/bin; head -c 1000001 /dev/zero > node_modules/bun/bin/bun.exe',
  );
  const dead = Bun.spawn(['true']);
  await dead.exited;
  writeFileSync(join(folder.path, '.skerry-installing'), String(dead.pid));
  const both = [spawnEnsure(folder.path), spawnEnsure(folder.path)];
  await waitFor('one of them holds the lock', () =>
    both.some(
      (one) =>
        existsSync(join(folder.path, '.skerry-installing')) &&
        readFileSync(join(folder.path, '.skerry-installing'), 'utf8') === String(one.pid),
    ),
  );
  writeFileSync(join(folder.path, 'go'), '');
  expect(await Promise.all(both.map((one) => one.exited))).toEqual([0, 0]);
  expect(readFileSync(join(folder.path, 'runs'), 'utf8')).toBe('ran\n');
  expect(existsSync(join(folder.path, '.skerry-installing'))).toBe(false);
});
