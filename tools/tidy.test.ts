import { expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { LAYERS } from './layers.ts';
import { tidy } from './tidy.ts';

const ROOT = join(import.meta.dir, '..');

/** A repository in one string: "--- path" opens a file. */
function check(repository: string, want: readonly string[], entryPoints = ['src/roles/all.ts']): void {
  const files = new Map(
    repository
      .split(/^--- /m)
      .slice(1)
      .map((part): [string, string] => {
        const end = part.indexOf('\n');
        return [part.slice(0, end).trim(), part.slice(end + 1)];
      }),
  );
  expect(tidy(files, entryPoints)).toEqual([...want]);
}

test('this repository obeys its own table', () => {
  const files = new Map<string, string>();
  for (const path of readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ts')) files.set(`src/${path}`, readFileSync(join(ROOT, 'src', path), 'utf8'));
  }
  // Worlds under a seed keep alive what no role uses yet.
  for (const path of readdirSync(join(ROOT, 'sim'), { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ts')) files.set(`sim/${path}`, readFileSync(join(ROOT, 'sim', path), 'utf8'));
  }
  expect(files.size).toBeGreaterThan(10);
  const roles = [...files.keys()].filter((path) => path.startsWith('src/roles/') && !path.includes('.test.'));
  // No role opens a store yet: until then its suite keeps both implementations alive.
  const entryPoints = ['src/cli/main.ts', 'sim/main.ts', 'src/cluster/store/store.test.ts', ...roles];
  expect(tidy(files, entryPoints)).toEqual([]);
  expect(relative(ROOT, join(ROOT, 'src'))).toBe('src');
});

test('a clean repository has no complaints', () => {
  check(
    `
--- src/roles/all.ts
import { relay } from '../stream/relay.ts';
import type { Status } from '../contracts/health.ts';
--- src/stream/relay.ts
import { decode } from '../wire/decode.ts';
--- src/wire/decode.ts
import { assert } from '../base/assert.ts';
--- src/base/assert.ts
export {};
--- src/contracts/health.ts
export interface Status { term: number }
`,
    [],
  );
});

test('a feature may not import a peer, not even its types', () => {
  check(
    `
--- src/roles/all.ts
import '../edge/edge.ts';
import '../stream/relay.ts';
--- src/edge/edge.ts
import type { Relay } from '../stream/relay.ts';
--- src/stream/relay.ts
export {};
`,
    [`src/edge/edge.ts:1: edge may not import stream (allowed: ${LAYERS['edge']?.join(', ')})`],
  );
});

test('platform and npm imports are named per folder', () => {
  check(
    `
--- src/roles/all.ts
import '../edge/edge.ts';
import '../runtime/net.ts';
--- src/edge/edge.ts
import net from 'node:net';
import { z } from 'zod';
--- src/runtime/net.ts
import net from 'node:net';
`,
    [
      'src/edge/edge.ts:1: edge may not import node:net; take it through runtime',
      'src/edge/edge.ts:2: edge may not import the npm package zod',
    ],
  );
});

test('time, chance and sockets come through the seams', () => {
  check(
    `
--- src/roles/all.ts
import '../edge/edge.ts';
import '../runtime/clock.ts';
--- src/edge/edge.ts
// Date.now() in a comment is fine.
const a = Date.now();
setTimeout(() => {}, 1);
const id = Math.random();
Bun.listen({});
--- src/runtime/clock.ts
export const now = () => Date.now();
`,
    [
      'src/edge/edge.ts:2: Date.now( is banned, use clock.now()',
      'src/edge/edge.ts:3: setTimeout( is banned, use clock.sleep(), clock.after() or loop()',
      'src/edge/edge.ts:4: Math.random( is banned, use random',
      'src/edge/edge.ts:5: Bun.l is banned, use a seam implemented in runtime',
    ],
  );
});

test('cycles of values are complaints, cycles of types are not', () => {
  check(
    `
--- src/roles/all.ts
import '../stream/a.ts';
--- src/stream/a.ts
import { b } from './b.ts';
--- src/stream/b.ts
import { a } from './a.ts';
import type { c } from './c.ts';
--- src/stream/c.ts
import type { b } from './b.ts';
`,
    ['src/stream/a.ts:1: import cycle: src/stream/a.ts -> src/stream/b.ts -> src/stream/a.ts'],
  );
});

test('dead files, test imports, missing rows and extensionless imports are complaints', () => {
  check(
    `
--- src/roles/all.ts
import '../edge/store.ts';
--- src/edge/store.ts
import './store.test.ts';
import './missing';
--- src/edge/store.test.ts
import '../stream/relay.ts';
--- src/edge/old.ts
export {};
--- src/misc/util.ts
export {};
`,
    [
      'src/edge/old.ts:1: file is imported by no entry point',
      'src/edge/store.test.ts:1: cannot find ../stream/relay.ts (imports name the file, with .ts)',
      'src/edge/store.ts:1: imports the test file src/edge/store.test.ts',
      'src/edge/store.ts:2: cannot find ./missing (imports name the file, with .ts)',
      'src/misc/util.ts:1: file is imported by no entry point',
      'src/misc/util.ts:1: folder src/misc has no row in tools/layers.ts',
    ],
  );
});

test('the table itself is a graph without cycles', () => {
  const order: string[] = [];
  const visit = (folder: string, path: readonly string[]): void => {
    if (path.includes(folder)) throw new Error(`cycle in LAYERS: ${[...path, folder].join(' -> ')}`);
    for (const next of LAYERS[folder] ?? []) if (next !== '*') visit(next, [...path, folder]);
    order.push(folder);
  };
  for (const folder of Object.keys(LAYERS)) visit(folder, []);
  expect(order.indexOf('base')).toBeLessThan(order.indexOf('stream'));
});

test('every invariant of ARCHITECTURE.md has a row there and a test that names it', () => {
  const page = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  const tests = [...new Bun.Glob('{src,test}/**/*.test.ts').scanSync(ROOT)].map((path) =>
    readFileSync(join(ROOT, path), 'utf8'),
  );
  for (let number = 1; number <= 11; number += 1) {
    expect({ number, row: page.includes(`| I${number} |`) }).toEqual({ number, row: true });
    const named = new RegExp(`INVARIANT_I${number}\\b`);
    expect({ number, named: tests.some((text) => named.test(text)) }).toEqual({ number, named: true });
  }
});
