// The dependency direction of the repository, as data.
// A row names a folder of src/ and the folders it may import. A missing arrow is a decision: adding one is a change to
// the architecture and is reviewed as such.

export const LAYERS: Record<string, readonly string[]> = {
  // Pure: no I/O, no clock, no randomness, no npm. Everything here runs in a simulator as it is.
  base: [],
  pg: ['base'],
  wire: ['base', 'pg'],
  contracts: ['base', 'pg'],
  observe: ['base'],
  config: ['base'],
  session: ['base', 'pg', 'wire', 'contracts', 'observe'],
  // The SQLite image of replicated tables: the relay keeps one for snapshots, the edge answers from one.
  replica: ['base', 'pg', 'wire', 'contracts', 'observe'],
  // The outside world. The only folder that may name Bun, node: or the process.
  runtime: ['base', 'contracts', 'observe'],
  // Features: peers, blind to each other. They meet in contracts/ and are introduced in roles/.
  stream: ['base', 'pg', 'wire', 'contracts', 'observe', 'config', 'session', 'replica'],
  edge: ['base', 'pg', 'wire', 'contracts', 'observe', 'config', 'session', 'replica'],
  analytics: ['base', 'pg', 'wire', 'contracts', 'observe', 'config', 'session'],
  proxy: ['base', 'pg', 'wire', 'contracts', 'observe', 'config', 'session'],
  cluster: ['base', 'pg', 'wire', 'contracts', 'observe', 'config', 'session'],
  // Composition: may see everything below, is seen by nothing.
  roles: ['*'],
  cli: ['*'],
};

/** npm packages a folder may import; every folder not named here may import none. */
export const NPM: Record<string, readonly string[]> = {
  edge: ['libpg-query'],
  config: ['zod', 'yaml'],
  cli: ['commander'],
};

/** Platform modules (node:*, bun, bun:*) a folder may import; every folder not named here, none. */
export const PLATFORM: Record<string, readonly RegExp[]> = {
  runtime: [/^node:/, /^bun(:|$)/],
  // SQLite is deterministic given its inputs, so it needs no seam: the one exception.
  replica: [/^bun:sqlite$/],
  roles: [/^node:process$/],
  cli: [/^node:process$/],
};

/** What a simulator cannot control is spelled in one folder only: pattern, what to use instead, folders exempt. */
export const BANNED: readonly (readonly [RegExp, string, readonly string[]])[] = [
  [/\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/, 'clock.now()', ['runtime']],
  [/\bMath\.random\(|\bcrypto\.(randomUUID|getRandomValues)\(/, 'random', ['runtime']],
  [
    /(?<![.\w])(setTimeout|setInterval|setImmediate|queueMicrotask)\(/,
    'clock.sleep(), clock.after() or loop()',
    ['runtime'],
  ],
  [
    /\bprocess\.(env|argv|exit|on|once|pid|stdout|stderr)\b/,
    'the config argument, or runtime/process.ts',
    ['runtime', 'cli', 'roles'],
  ],
  [/(?<![.\w])console\.(log|warn|error|info|debug)\(/, 'the logger', ['runtime', 'cli']],
  [/\bBun\.[a-zA-Z]/, 'a seam implemented in runtime', ['runtime']],
  [/(?<![.\w])fetch\(/, 'the http seam', ['runtime']],
  [/\b(FIXME|XXX)\b(?!\w)/, 'a fix, before merging', []],
];
