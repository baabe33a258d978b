// `npm run check`: everything that can be said about the code without running it. Runs all steps, then fails if any did.

import { join } from 'node:path';

const ROOT = join(import.meta.dir, '..');
const BIN = join(ROOT, 'node_modules', '.bin');

/** Runs every static check; true when all passed. Prints only what complains. */
export async function check(): Promise<boolean> {
  const steps: readonly (readonly [string, readonly string[]])[] = [
    ['types', [join(BIN, 'tsc'), '--noEmit', '-p', '.']],
    ['lint', [join(BIN, 'oxlint'), '--type-aware', '--deny-warnings', 'src', 'test', 'bench', 'sim', 'tools']],
    ['format', [join(BIN, 'biome'), 'format', '.']],
    ['dead code', [join(BIN, 'bun'), '--bun', join(BIN, 'knip'), '--no-progress']],
    ['layers', [join(BIN, 'bun'), 'test', 'tools/tidy.test.ts']],
  ];
  let ok = true;
  for (const [name, command] of steps) {
    const started = performance.now();
    const child = Bun.spawn([...command], { cwd: ROOT, stdout: 'pipe', stderr: 'pipe' });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${code === 0 ? 'ok  ' : 'FAIL'} check: ${name} (${seconds} s)`);
    if (code !== 0) {
      ok = false;
      console.log(`${out}${err}`.trimEnd());
    }
  }
  return ok;
}

if (import.meta.main) process.exit((await check()) ? 0 : 1);
