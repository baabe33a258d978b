import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdPacker } from './pack.ts';

const root = mkdtempSync(join(tmpdir(), 'skerry-pack-'));
afterAll(() => rmSync(root, { recursive: true }));

test('a file comes back from its packed form, smaller on the way, with a digest that fits', async () => {
  const text = 'skerry '.repeat(1_000_000);
  await Bun.write(join(root, 'plain'), text);
  const packed = await zstdPacker.pack(join(root, 'plain'), join(root, 'packed'));
  expect(packed.bytes).toBeLessThan(text.length / 100);
  expect(await zstdPacker.digest(join(root, 'packed'))).toEqual(packed);
  await zstdPacker.unpack(join(root, 'packed'), join(root, 'again'));
  expect(await Bun.file(join(root, 'again')).text()).toBe(text);
});

test('a file that is not packed is refused', async () => {
  await Bun.write(join(root, 'noise'), 'this is not zstd');
  expect(await zstdPacker.unpack(join(root, 'noise'), join(root, 'x')).catch((error) => error.code)).toBe(
    'packed-file-invalid',
  );
});
