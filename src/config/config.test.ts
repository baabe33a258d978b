import { describe, expect, test } from 'bun:test';
import { Fault } from '../base/fault.ts';
import { type Group, list, text, whole } from './define.ts';
import { referencePage, sampleFile } from './describe.ts';
import { loadConfig, nearest } from './load.ts';
import { GROUPS } from './options.ts';

const NOTHING = { env: {}, flags: {} };
const file = (text: string) => ({ name: 'skerry.yaml', text });

function refuse(sources: Parameters<typeof loadConfig>[1]): Fault {
  try {
    loadConfig(GROUPS, sources);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('was accepted');
}

describe('precedence', () => {
  const yaml = file('up:\n  edges: 2\n');
  test.each([
    ['default', NOTHING, 3],
    ['file over default', { ...NOTHING, file: yaml }, 2],
    ['environment over file', { file: yaml, env: { SKERRY_EDGES: '4' }, flags: {} }, 4],
    ['flag over environment', { file: yaml, env: { SKERRY_EDGES: '4' }, flags: { up: { edges: '5' } } }, 5],
    ['an empty environment variable is not given', { ...NOTHING, env: { SKERRY_EDGES: '' } }, 3],
  ] as const)('%s', (_name, sources, expected) => {
    expect(loadConfig(GROUPS, sources).up.edges).toBe(expected);
  });
});

test('values carry units in files and none in code', () => {
  const config = loadConfig(GROUPS, {
    ...NOTHING,
    file: file(
      'relay:\n  log_bytes_max: 64MB\nedge:\n  statement_timeout: 1.5h\ncore:\n  tables: [public.a, public.b]\n',
    ),
  });
  expect(config.relay.logBytesMax).toBe(64 * 1024 * 1024);
  expect(config.edge.statementTimeoutMs).toBe(5_400_000);
  expect(config.core.tables).toEqual(['public.a', 'public.b']);
});

test('a list may be one text with commas', () => {
  expect(loadConfig(GROUPS, { ...NOTHING, flags: { core: { tables: 'a, b.c' } } }).core.tables).toEqual(['a', 'b.c']);
});

describe('refused, with the place and what to do', () => {
  test.each([
    ['up:\n  edgs: 2\n', 'config-unknown-key', 'skerry.yaml:2: unknown option "up.edgs"', 'did you mean "up.edges"?'],
    [
      '\n\nrelais:\n  name: x\n',
      'config-unknown-key',
      'skerry.yaml:3: unknown option "relais"',
      'did you mean "relay"?',
    ],
    [
      'up:\n  edges: many\n',
      'config-value',
      'skerry.yaml:2: up.edges: expected a whole number from 0 to 100, got "many"',
      null,
    ],
    ['up:\n  edges: 2\n  edges: 3\n', 'config-syntax', 'skerry.yaml:3: Map keys must be unique', null],
    ['up: [1]\n', 'config-syntax', 'skerry.yaml:1: up: expected keys with values', null],
    [
      'edge:\n  statement_timeout: 30\n',
      'config-value',
      'expected a duration such as 500ms, 30s, 5m or 2h, got "30"',
      null,
    ],
    ['up: {edges: 2\n', 'config-syntax', 'skerry.yaml:', null],
  ])('%j', (yaml, code, message, hint) => {
    const fault = refuse({ ...NOTHING, file: file(yaml) });
    expect(fault.code).toBe(code);
    expect(fault.message).toContain(message);
    if (hint !== null) expect(fault.hint).toBe(hint);
  });

  test('a flag and an environment variable are named as people wrote them', () => {
    expect(refuse({ env: { SKERRY_EDGE_PORT: '70000' }, flags: {} }).message).toBe(
      'SKERRY_EDGE_PORT: expected a port from 0 to 65535, got "70000"',
    );
    expect(refuse({ env: {}, flags: { up: { edges: '-1' } } }).message).toStartWith('--edges: expected a whole number');
  });

  test('a secret is not repeated', () => {
    const secret = {
      g: { title: '', help: '', envPrefix: '', options: { key: list({ default: [], help: '', secret: true }) } },
    } satisfies Record<string, Group>;
    expect(() => loadConfig(secret, { ...NOTHING, flags: { g: { key: 42 } } })).toThrow('got something else');
  });
});

test('the sample file loads and changes nothing, commented in as well', () => {
  const sample = sampleFile(GROUPS);
  const defaults = loadConfig(GROUPS, NOTHING);
  expect(loadConfig(GROUPS, { ...NOTHING, file: file(sample) })).toEqual(defaults);
  const commentedIn = sample.replaceAll(/^ {2}# ([a-z_]+: .*)$/gm, '  $1');
  expect(loadConfig(GROUPS, { ...NOTHING, file: file(commentedIn) })).toEqual(defaults);
});

test('docs/reference/options.md is what the option table says (`skerry config reference` prints it)', async () => {
  const page = await Bun.file(`${import.meta.dir}/../../docs/reference/options.md`).text();
  expect(page).toBe(referencePage(GROUPS));
});

test('every environment name belongs to one option', () => {
  const groups = {
    a: {
      title: '',
      help: '',
      envPrefix: '',
      options: { x: text({ default: '', help: '' }), n: whole({ min: 0, max: 1, default: 0, help: '' }) },
    },
  };
  expect(referencePage(groups)).toContain('`SKERRY_X`');
  const names = [...referencePage(GROUPS).matchAll(/`(SKERRY_\w+)`/g)].map((found) => found[1]);
  expect(new Set(names).size).toBe(names.length);
});

test('the nearest name is offered only when it is near', () => {
  expect(nearest('edgs', ['edges', 'relay'])).toBe('edges');
  expect(nearest('kafka', ['edges', 'relay'])).toBeNull();
});
