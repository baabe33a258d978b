// Checks properties of the source itself: import direction, banned words, cycles, dead files. Pure: texts in,
// complaints out; `tidy.test.ts` and `check.ts` do the reading. The rules are data in `layers.ts`.

import { posix } from 'node:path';
import { BANNED, LAYERS, NPM, PLATFORM } from './layers.ts';

const IMPORT = /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\sfrom\s+)?['"]([^'"]+)['"]/gm;
// Lazy imports and worker entry points: edges for the life of a file, checked like any other.
const DYNAMIC = /(?:\bimport\(|new URL\()\s*['"](\.[^'"]+\.tsx?)['"]/g;

interface Import {
  readonly line: number;
  readonly typeOnly: boolean;
  readonly specifier: string;
}

/** Complaints about `files` (path → text, for every .ts file under src/), sorted; empty when all is well. */
export function tidy(files: ReadonlyMap<string, string>, entryPoints: readonly string[]): string[] {
  const complaints: string[] = [];
  const complain = (path: string, line: number, text: string): void => {
    complaints.push(`${path}:${line}: ${text}`);
  };
  const valueImports = new Map<string, string[]>();
  for (const [path, text] of files) {
    valueImports.set(path, checkImports(path, text, files, complain));
    const folder = folderOf(path);
    if (folder !== null && !isTest(path)) checkBanned(path, folder, text, complain);
  }
  checkCycles(valueImports, complain);
  checkDeadFiles(files, entryPoints, complain);
  return complaints.sort();
}

type Complain = (path: string, line: number, text: string) => void;

function importsOf(text: string): Import[] {
  const lineAt = (index: number): number => text.slice(0, index).split('\n').length;
  return [
    ...[...text.matchAll(IMPORT)].map((m) => ({
      line: lineAt(m.index + m[0].search(/\S/)),
      typeOnly: m[1] !== undefined,
      specifier: m[2] as string,
    })),
    ...[...text.matchAll(DYNAMIC)].map((m) => ({ line: lineAt(m.index), typeOnly: true, specifier: m[1] as string })),
  ];
}

const isTest = (path: string): boolean => /\.(test|bench|fuzz|suite|d)\.tsx?$|\/testdata\//.test(path);
const folderOf = (path: string): string | null => /^src\/([^/]+)\//.exec(path)?.[1] ?? null;

function checkImports(path: string, text: string, files: ReadonlyMap<string, string>, complain: Complain): string[] {
  const values: string[] = [];
  const folder = folderOf(path);
  if (folder === null) return values;
  if (!(folder in LAYERS)) complain(path, 1, `folder src/${folder} has no row in tools/layers.ts`);
  const allowed = LAYERS[folder] ?? [];

  for (const { line, typeOnly, specifier } of importsOf(text)) {
    if (!specifier.startsWith('.')) {
      if (!isTest(path)) checkOutside(path, folder, specifier, line, complain);
      continue;
    }
    const target = posix.normalize(posix.join(posix.dirname(path), specifier));
    if (!files.has(target)) {
      if (target.startsWith('src/')) complain(path, line, `cannot find ${specifier} (imports name the file, with .ts)`);
      else if (!isTest(path) && !/^package\.json$/.test(target)) {
        complain(path, line, `src may not import ${specifier} from outside src`);
      }
      continue;
    }
    if (isTest(target) && !isTest(path)) complain(path, line, `imports the test file ${target}`);
    if (!typeOnly) values.push(target);
    const to = folderOf(target) as string;
    if (to !== folder && !allowed.includes('*') && !allowed.includes(to) && !isTest(path)) {
      complain(path, line, `${folder} may not import ${to} (allowed: ${allowed.join(', ') || 'nothing'})`);
    }
  }
  return values;
}

function checkOutside(path: string, folder: string, specifier: string, line: number, complain: Complain): void {
  if (/^node:|^bun(:|$)/.test(specifier)) {
    const ok = (PLATFORM[folder] ?? []).some((pattern) => pattern.test(specifier));
    if (!ok) complain(path, line, `${folder} may not import ${specifier}; take it through runtime`);
  } else if (!(NPM[folder] ?? []).includes(specifier)) {
    complain(path, line, `${folder} may not import the npm package ${specifier}`);
  }
}

function checkBanned(path: string, folder: string, text: string, complain: Complain): void {
  text.split('\n').forEach((lineText, index) => {
    const code = lineText.replace(/(^|\s)\/\/.*$/, (comment) => (/FIXME|XXX/.test(comment) ? comment : ''));
    if (/^\s*\/?\*/.test(code)) return; // Inside a block comment.
    for (const [pattern, instead, exempt] of BANNED) {
      const found = pattern.exec(code);
      if (found !== null && !exempt.includes(folder))
        complain(path, index + 1, `${found[0]} is banned, use ${instead}`);
    }
  });
}

function checkCycles(graph: ReadonlyMap<string, readonly string[]>, complain: Complain): void {
  const state = new Map<string, 'open' | 'done'>();
  const stack: string[] = [];
  const visit = (path: string): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      complain(path, 1, `import cycle: ${[...stack.slice(stack.indexOf(path)), path].join(' -> ')}`);
      return;
    }
    state.set(path, 'open');
    stack.push(path);
    for (const next of graph.get(path) ?? []) visit(next);
    stack.pop();
    state.set(path, 'done');
  };
  for (const path of graph.keys()) visit(path);
}

// Type-only imports count here: a file of types is alive when somebody reads its types.
function checkDeadFiles(files: ReadonlyMap<string, string>, entryPoints: readonly string[], complain: Complain): void {
  const reached = new Set<string>();
  const walk = (path: string): void => {
    const text = files.get(path);
    if (reached.has(path) || text === undefined) return;
    reached.add(path);
    for (const { specifier } of importsOf(text)) {
      if (specifier.startsWith('.')) walk(posix.normalize(posix.join(posix.dirname(path), specifier)));
    }
  };
  entryPoints.forEach(walk);
  for (const path of files.keys()) {
    if (!reached.has(path) && !isTest(path)) complain(path, 1, 'file is imported by no entry point');
  }
}
