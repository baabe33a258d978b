// What the commands load.

import { expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

test('no command but a running edge loads the SQL parser, with its 128 MB of WebAssembly memory', async () => {
  const modules = readdirSync(import.meta.dir).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const script = `import { heapStats } from 'bun:jsc';
    for (const path of ${JSON.stringify(modules.map((name) => join(import.meta.dir, name)))}) await import(path);
    // It allocates as soon as it is imported, but not in the same turn.
    await Bun.sleep(100);
    console.log(JSON.stringify({ externalMb: heapStats().extraMemorySize / 2 ** 20 }));`;
  const child = Bun.spawn([process.execPath, '-e', script], { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' });
  const { externalMb } = JSON.parse(await new Response(child.stdout).text()) as { externalMb: number };
  expect(externalMb).toBeLessThan(64);
});
