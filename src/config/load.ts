// Makes checked values out of a file, the environment and flags: flag > environment > file > default.
//
// Faults (code: what the operator reads in it)
//   config-syntax         the file is not YAML; names the line
//   config-unknown-key    a key that no option has; names the line and the nearest one
//   config-value          a value of the wrong type or out of range; names where it came from

import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { Fault } from '../base/fault.ts';
import type { z } from 'zod';
import {
  envName,
  fileKey,
  flagName,
  type Group,
  isTable,
  type Option,
  type UnknownField,
  type ValuesOf,
} from './define.ts';

export interface ConfigSources {
  /** The file's name, for messages, and its text. */
  readonly file?: { readonly name: string; readonly text: string };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Values of flags that were given, by the option's name in code, per group. */
  readonly flags: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

export type ValuesOfAll<T extends Readonly<Record<string, Group>>> = { readonly [K in keyof T]: ValuesOf<T[K]> };

/** Checked values of all groups. Throws the Faults above. */
export function loadConfig<const T extends Readonly<Record<string, Group>>>(
  groups: T,
  sources: ConfigSources,
): ValuesOfAll<T> {
  const fromFile = sources.file === undefined ? new Map<string, Given>() : readFile(groups, sources.file);
  const values: Record<string, Record<string, unknown>> = {};
  for (const [groupName, group] of Object.entries(groups)) {
    const slice: Record<string, unknown> = {};
    values[groupName] = slice;
    for (const [name, option] of Object.entries(group.options)) {
      const given = pick(groupName, group, name, fromFile, sources);
      if (given === null) {
        slice[name] = option.default;
        continue;
      }
      const checked = option.schema.safeParse(given.value);
      if (!checked.success) {
        const issue = checked.error.issues[0];
        if (issue !== undefined && issue.path.length > 0) throw tableFault(issue, given, groupName, name);
        const shown = option.secret ? '' : ` "${printable(given.value)}"`;
        throw new Fault('config-value', {
          message: `${given.where}: ${checked.error.issues[0]?.message ?? 'not valid'}, got${shown === '' ? ' something else' : shown}`,
          hint: option.help,
        });
      }
      slice[name] = checked.data;
    }
  }
  return values as ValuesOfAll<T>;
}

/** The candidate that is fewest edits away, when it is near enough to be a slip. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  let best: string | null = null;
  let bestEdits = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const edits = editDistance(word, candidate);
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits];
  }
  return best;
}

/** A complaint about something inside a table, with the line of just that. */
function tableFault(issue: z.core.$ZodIssue, given: Given, groupName: string, name: string): Fault {
  const path = issue.path.map(String);
  const where = given.lineOf?.(path) ?? given.where;
  const key = [groupName, fileKey(name), ...path].join('.');
  const params = 'params' in issue ? (issue.params as Partial<UnknownField> | undefined) : undefined;
  if (params?.unknownField !== undefined) return unknownKey(where, key, params.known ?? [], params.unknownField);
  return new Fault('config-value', { message: `${where}: ${key}: ${issue.message}` });
}

interface Given {
  /** Where something inside the value stands, for values that are mappings. */
  readonly lineOf?: (path: readonly string[]) => string;
  readonly value: unknown;
  /** `skerry.yaml:12: up.edges`, `SKERRY_EDGES`, `--edges`. */
  readonly where: string;
}

function pick(
  groupName: string,
  group: Group,
  name: string,
  fromFile: ReadonlyMap<string, Given>,
  sources: ConfigSources,
): Given | null {
  // A table has no place on a command line.
  if (isTable(group.options[name] as Option<unknown>)) return fromFile.get(`${groupName}.${name}`) ?? null;
  const flagValue = sources.flags[groupName]?.[name];
  if (flagValue !== undefined) return { value: flagValue, where: flagName(group, name) };
  const env = envName(group, name);
  const envValue = sources.env[env];
  if (envValue !== undefined && envValue !== '') return { value: envValue, where: env };
  return fromFile.get(`${groupName}.${name}`) ?? null;
}

function readFile(
  groups: Readonly<Record<string, Group>>,
  file: { readonly name: string; readonly text: string },
): Map<string, Given> {
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => `${file.name}:${lines.linePos(offset).line}`;
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new Fault('config-syntax', {
      message: `${at(broken.pos[0])}: ${broken.message}`,
      hint: '`skerry config sample` prints a file that works',
    });
  }
  const given = new Map<string, Given>();
  if (document.contents === null) return given;
  for (const [groupName, body, offset] of entries(document.contents, file.name)) {
    const group = groups[groupName];
    if (group === undefined) throw unknownKey(at(offset), groupName, Object.keys(groups));
    if (isScalar(body) && body.value === null) continue;
    for (const [key, node, keyOffset] of entries(body, `${at(offset)}: ${groupName}`)) {
      const name = Object.keys(group.options).find((one) => fileKey(one) === key);
      if (name === undefined) {
        throw unknownKey(
          at(keyOffset),
          `${groupName}.${key}`,
          Object.keys(group.options).map((one) => `${groupName}.${fileKey(one)}`),
        );
      }
      given.set(`${groupName}.${name}`, {
        value: node === null ? null : document.createNode(node).toJSON(),
        where: `${at(keyOffset)}: ${groupName}.${key}`,
        lineOf: (path) => at(offsetOf(node, path) ?? keyOffset),
      });
    }
  }
  return given;
}

/** Keys of a mapping with their offsets. Throws Fault `config-syntax` when it is something else. */
function entries(node: unknown, where: string): [string, Node | null, number][] {
  if (!isMap(node)) {
    throw new Fault('config-syntax', {
      message: `${where}: expected keys with values`,
      hint: '`skerry config sample` prints a file that works',
    });
  }
  return node.items.map((pair) => {
    const key = pair.key as Node;
    return [isScalar(key) ? String(key.value) : key.toString(), pair.value as Node | null, key.range?.[0] ?? 0];
  });
}

/** Offset of the key that `path` leads to. */
function offsetOf(node: Node | null, path: readonly string[]): number | null {
  let current: unknown = node;
  let offset: number | null = null;
  for (const part of path) {
    if (!isMap(current)) return offset;
    const pair = current.items.find((one) => isScalar(one.key) && String(one.key.value) === part);
    if (pair === undefined) return offset;
    offset = (pair.key as Node).range?.[0] ?? offset;
    current = pair.value;
  }
  return offset;
}

function unknownKey(where: string, key: string, known: readonly string[], word: string = key): Fault {
  const near = nearest(word, known);
  return new Fault('config-unknown-key', {
    message: `${where}: unknown option "${key}"`,
    hint: near === null ? `known here: ${known.join(', ')}` : `did you mean "${near}"?`,
  });
}

function printable(value: unknown): string {
  const textOf = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  return textOf.length > 60 ? `${textOf.slice(0, 60)}…` : textOf;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
