// What an option is. Each is declared once, in options.ts; file keys, environment names, flags, help, the sample file and the
// reference page are derived from the declaration.

import { z } from 'zod';

export interface Option<T> {
  /** What people read as its type: `number`, `duration`, `size`, `one of a, b`, … */
  readonly typeText: string;
  /** Takes what a YAML file, a flag or the environment gives (text, number, boolean, list) and gives the value, or says what it expected. */
  readonly schema: z.ZodType<T>;
  readonly default: T;
  /** One sentence. */
  readonly help: string;
  /** Never printed, also not by `config show` or in errors. */
  readonly secret: boolean;
}

/** Rows by name, each with options of its own: databases, users. Only in files. */
export interface TableOption<T> extends Option<ReadonlyMap<string, T>> {
  // oxlint-disable-next-line typescript/no-explicit-any -- a row mixes options of all types
  readonly fields: Readonly<Record<string, Option<any>>>;
}

export interface Group {
  readonly title: string;
  readonly help: string;
  /** `SKERRY_` + this + the option's name. */
  readonly envPrefix: string;
  /** `--` + this + the option's name, for groups that share a command line with others. */
  readonly flagPrefix?: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a group mixes options of all types
  readonly options: Readonly<Record<string, Option<any>>>;
}

export type ValuesOf<G extends Group> = {
  readonly [K in keyof G['options']]: G['options'][K] extends Option<infer T> ? T : never;
};

interface Common<T> {
  readonly default: T;
  readonly help: string;
  readonly secret?: boolean;
}

/** Free text; empty means "not given" where the help says so. */
export function text(options: Common<string>): Option<string> {
  return make(
    'text',
    options,
    (input) => (typeof input === 'string' || typeof input === 'number' ? String(input) : null),
    'text',
  );
}

export function whole(options: Common<number> & { readonly min: number; readonly max: number }): Option<number> {
  const { min, max } = options;
  const expected = `a whole number from ${min} to ${max}`;
  return make(`number, ${min} to ${max}`, options, (input) => within(wholeOf(input), min, max), expected);
}

/** A TCP port; 0 lets the system choose one. */
export function port(options: Common<number>): Option<number> {
  return make('port', options, (input) => within(wholeOf(input), 0, 65_535), 'a port from 0 to 65535');
}

export function flag(options: Common<boolean>): Option<boolean> {
  const words: Record<string, boolean> = {
    true: true,
    false: false,
    yes: true,
    no: false,
    on: true,
    off: false,
    '1': true,
    '0': false,
  };
  return make(
    'true or false',
    options,
    (input) =>
      typeof input === 'boolean' ? input : typeof input === 'string' ? (words[input.toLowerCase()] ?? null) : null,
    'true or false',
  );
}

export function choice<const T extends string>(options: Common<NoInfer<T>> & { readonly of: readonly T[] }): Option<T> {
  const list = options.of.join(', ');
  return make<T>(
    `one of ${list}`,
    options,
    (input) => options.of.find((one) => one === input) ?? null,
    `one of ${list}`,
  );
}

/** A list; one text with commas is taken apart. */
export function list(options: Common<readonly string[]>): Option<readonly string[]> {
  return make<readonly string[]>(
    'list',
    options,
    (input) => {
      const items = typeof input === 'string' ? input.split(',') : Array.isArray(input) ? input : null;
      if (items === null || items.some((one) => typeof one !== 'string')) return null;
      return (items as string[]).map((one) => one.trim()).filter((one) => one !== '');
    },
    'a list, or a text with commas',
  );
}

const DURATION_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds in code, `500ms`, `30s`, `5m`, `2h`, `1d` in files; its key in code ends in `Ms`. */
export function duration(options: Common<number>): Option<number> {
  return make('duration', options, (input) => measured(input, DURATION_MS), 'a duration such as 500ms, 30s, 5m or 2h');
}

const SIZE_BYTES: Record<string, number> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3, tb: 1024 ** 4 };

/** Bytes in code, `64MB`, `10GB` in files (powers of 1024, as in Postgres). */
export function size(options: Common<number>): Option<number> {
  return make('size', options, (input) => measured(input, SIZE_BYTES), 'a size such as 512kB, 64MB or 10GB');
}

// oxlint-disable-next-line typescript/no-explicit-any -- a row mixes options of all types
type Fields = Readonly<Record<string, Option<any>>>;
type RowOf<F extends Fields> = { readonly [K in keyof F]: F[K] extends Option<infer T> ? T : never };

/** What a table says about a key that no field has; the loader finds the line and the nearest name. */
export interface UnknownField {
  readonly unknownField: string;
  readonly known: readonly string[];
}

/** Named rows of options: `databases: {app: {servers: [...]}}`. A field that a row does not give has its default. */
export function table<const F extends Fields>(options: {
  readonly fields: F;
  readonly help: string;
}): TableOption<RowOf<F>> {
  const { fields, help } = options;
  const schema = z.unknown().transform((input, context) => {
    const complain = (path: string[], message: string, params?: UnknownField): void => {
      context.issues.push({
        code: 'custom',
        input,
        path,
        message,
        ...(params === undefined ? {} : { params: { ...params } }),
      });
    };
    const rows = new Map<string, RowOf<F>>();
    if (!isRecord(input)) {
      complain([], 'expected names with options of their own');
      return rows;
    }
    for (const [name, given] of Object.entries(input)) {
      if (given !== null && !isRecord(given)) {
        complain([name], 'expected keys with values');
        continue;
      }
      rows.set(name, readRow(name, given ?? {}));
    }
    return rows;

    function readRow(name: string, given: Readonly<Record<string, unknown>>): RowOf<F> {
      const row: Record<string, unknown> = {};
      const keys = Object.keys(fields);
      for (const [key, option] of Object.entries(fields)) row[key] = option.default;
      for (const [key, value] of Object.entries(given)) {
        const field = keys.find((one) => fileKey(one) === key);
        const option = field === undefined ? undefined : fields[field];
        if (field === undefined || option === undefined) {
          complain([name, key], '', { unknownField: key, known: keys.map(fileKey) });
          continue;
        }
        const checked = option.schema.safeParse(value);
        if (checked.success) row[field] = checked.data;
        else complain([name, key], checked.error.issues[0]?.message ?? 'not valid');
      }
      return row as RowOf<F>;
    }
  });
  return { typeText: 'table', schema, default: new Map(), help, secret: false, fields };
}

export function isTable(option: Option<unknown>): option is TableOption<unknown> {
  return 'fields' in option;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `idleTimeoutMs` → `idle_timeout`: in files the value carries its unit, so the name does not. */
export function fileKey(name: string): string {
  return name.replace(/Ms$/, '').replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function flagName(group: Group, name: string): string {
  return `--${group.flagPrefix ?? ''}${fileKey(name).replaceAll('_', '-')}`;
}

export function envName(group: Group, name: string): string {
  return `SKERRY_${group.envPrefix}${fileKey(name).toUpperCase()}`;
}

function make<T>(
  typeText: string,
  options: Common<T>,
  read: (input: unknown) => T | null,
  expected: string,
): Option<T> {
  const schema = z.unknown().transform((input, context) => {
    const value = read(input);
    if (value !== null) return value;
    context.issues.push({ code: 'custom', input, message: `expected ${expected}` });
    return z.NEVER;
  });
  return { typeText, schema, default: options.default, help: options.help, secret: options.secret ?? false };
}

function wholeOf(input: unknown): number | null {
  const value =
    typeof input === 'number'
      ? input
      : typeof input === 'string' && /^-?\d+$/.test(input.trim())
        ? Number(input)
        : null;
  return value !== null && Number.isSafeInteger(value) ? value : null;
}

function within(value: number | null, min: number, max: number): number | null {
  return value !== null && value >= min && value <= max ? value : null;
}

function measured(input: unknown, units: Record<string, number>): number | null {
  // A bare 0 needs no unit; any other bare number would be a guess.
  if (input === 0 || input === '0') return 0;
  const found = typeof input === 'string' ? /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(input.trim()) : null;
  const factor = found === null ? undefined : units[(found[2] as string).toLowerCase()];
  return found === null || factor === undefined ? null : Math.round(Number(found[1]) * factor);
}
