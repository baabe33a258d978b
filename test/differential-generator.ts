// Random SELECTs over the tables of differential-schema.ts, from a seed: typed, so that most of them are valid, and odd
// enough to meet the corners. Whatever the planner answers itself must be what Postgres answers.

import { type Answer, describePlan, type DifferentialWorld, type Question } from './differential-world.ts';

type Kind =
  | 'int'
  | 'numeric'
  | 'float'
  | 'text'
  | 'bool'
  | 'date'
  | 'timestamp'
  | 'timestamptz'
  | 'uuid'
  | 'bytea'
  | 'mood'
  | 'char';

interface Column {
  readonly sql: string;
  readonly kind: Kind;
}

const TABLES: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  numbers: {
    id: 'int',
    small: 'int',
    big: 'int',
    four: 'float',
    eight: 'float',
    amount: 'numeric',
    price: 'numeric',
    flag: 'bool',
  },
  texts: { id: 'int', t: 'text', c: 'text', v: 'text', d: 'text', f: 'char', u: 'uuid', b: 'bytea' },
  times: { id: 'int', d: 'date', ts: 'timestamp', tz: 'timestamptz', ts3: 'timestamp' },
  days: { id: 'int', d: 'date', ts: 'timestamp', tz: 'timestamptz' },
  others: { id: 'int', mood: 'mood', pos: 'int', short: 'text' },
  parents: { id: 'int', name: 'text', code: 'text', region: 'text', size: 'int' },
  children: { parent_id: 'int', n: 'int', label: 'text', score: 'int', at: 'timestamptz' },
};

const LITERALS: Readonly<Record<Kind, readonly string[]>> = {
  int: [
    '0',
    '1',
    '2',
    '3',
    '5',
    '7',
    '-1',
    '100',
    '2147483647',
    '-2147483648',
    '3000000000',
    "'2'",
    '42',
    '1::int8',
    '2::int2',
  ],
  numeric: ['1', '1.0', '0.5', '-1.1', "'1.10'", '1e2', "'NaN'", '10', '99999999.99', '1.5::numeric'],
  float: ['0', '0.1', '1', "'NaN'", "'Infinity'", '1e300', "'-0'", '2::float8', '0.1::float8'],
  text: ["'abc'", "''", "'a'", "'ABC'", "'p4'", "'eu'", "'zz'", "'é😀'", "' x '", "'it''s'", "'abc'::varchar"],
  bool: ['true', 'false', "'t'", "'off'"],
  date: ["'2024-02-29'", "'infinity'", "'1999-12-31'::date", "'0001-01-01'"],
  timestamp: ["'2024-02-29 12:34:56.789'", "'2024-01-01'", "'-infinity'", "'1999-12-31 23:59:59'::timestamp"],
  timestamptz: ["'2024-02-29 12:34:56.789Z'", "'2024-01-05 00:00+02'", "'infinity'", "'2024-03-01 00:00:00.000001+00'"],
  uuid: ["'00000000-0000-0000-0000-000000000001'", "'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'"],
  bytea: ["'\\xdeadbeef'", "'\\x'", "'text'"],
  mood: ["'sad'", "'ok'", "'happy'", "'happy'::mood"],
  char: ["'abc'", "'ab '", "''"],
};

/** Parameters by kind: what a client would send. */
const VALUES: Readonly<Record<Kind, readonly (string | null)[]>> = {
  int: ['1', '2', '-5', '7', '300', null],
  numeric: ['1.0', '1', 'NaN', '-0.5', null],
  float: ['0.1', 'NaN', '-Infinity', '0', '1e5'],
  text: ['abc', '', 'a%', 'ABC', 'eu', null, 'p7'],
  bool: ['t', 'false', null],
  date: ['2024-02-29', 'infinity', null],
  timestamp: ['2024-02-29 12:34:56.789', '1999-12-31'],
  timestamptz: ['2024-02-29T12:34:56.789Z', '2024-01-03 01:00:00+00', null],
  uuid: ['00000000-0000-0000-0000-000000000001', null],
  bytea: ['\\xdeadbeef', ''],
  mood: ['ok', 'happy', null],
  char: ['abc', 'ab  '],
};

const PATTERNS = ["'a%'", "'%b%'", "'_b_'", "'%'", "''", "'%\\_%'", "'p_'", "'%[x]%'", "'c%1'"];

export class Generator {
  #state: number;
  #columns: Column[] = [];
  #parameters: (string | null)[] = [];
  #withParameters = false;
  #aliases = 0;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** `ordered`: positions (0-based) of output columns by which the rows are ordered; `isTotal`: compare rows in order. */
  question(): Question & { readonly ordered: readonly number[]; readonly isTotal: boolean } {
    this.#parameters = [];
    this.#aliases = 0;
    this.#withParameters = this.#chance(0.35);
    const { sql, ordered, isTotal } = this.#select(0);
    return { sql, ordered, isTotal, ...(this.#parameters.length > 0 ? { parameters: this.#parameters } : {}) };
  }

  #select(depth: number): { sql: string; ordered: number[]; isTotal: boolean } {
    const outer = this.#columns;
    const from = this.#from(depth);
    const where = this.#chance(0.7) ? ` WHERE ${this.#bool(2)}` : '';
    let sql: string;
    let width: number;
    const isGrouped = this.#chance(0.25);
    if (isGrouped) {
      const keys = this.#times(this.#below(3), () => this.#pick(this.#columns).sql);
      const aggregates = this.#times(1 + this.#below(3), () => this.#aggregate());
      const group = keys.length === 0 ? '' : ` GROUP BY ${keys.join(', ')}`;
      const having = this.#chance(0.3)
        ? ` HAVING ${this.#pick(['count(*) > 1', 'min(1) = 1', 'count(*) IS NOT NULL'])}`
        : '';
      sql = `SELECT ${[...keys, ...aggregates].join(', ')}${from}${where}${group}${having}`;
      width = keys.length + aggregates.length;
    } else {
      const outputs = this.#times(1 + this.#below(4), () => this.#any(2));
      const distinct = this.#chance(0.15) ? 'DISTINCT ' : '';
      sql = `SELECT ${distinct}${outputs.join(', ')}${from}${where}`;
      width = outputs.length;
    }
    const ordered: number[] = [];
    let isTotal = false;
    if (this.#chance(0.5)) {
      isTotal = this.#chance(0.4);
      const positions = isTotal ? [...Array(width).keys()] : [this.#below(width)];
      const items = positions.map((position) => {
        ordered.push(position);
        return `${position + 1}${this.#pick(['', ' ASC', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])}`;
      });
      sql += ` ORDER BY ${items.join(', ')}`;
      if (isTotal && this.#chance(0.5))
        sql += ` LIMIT ${this.#below(8)}${this.#chance(0.4) ? ` OFFSET ${this.#below(5)}` : ''}`;
    }
    this.#columns = outer;
    return { sql, ordered, isTotal };
  }

  #from(depth: number): string {
    this.#columns = depth === 0 ? [] : [...this.#columns];
    let sql = '';
    const count = this.#chance(0.6) ? 1 : 2 + this.#below(2);
    for (let index = 0; index < count; index += 1) {
      const table = this.#pick(Object.keys(TABLES));
      const alias = `a${this.#aliases}`;
      this.#aliases += 1;
      const own = Object.entries(TABLES[table] as object).map(
        ([name, kind]): Column => ({ sql: `${alias}.${name}`, kind: kind as Kind }),
      );
      const before = this.#columns;
      this.#columns = [...before, ...own];
      if (index === 0) {
        sql = ` FROM ${table} ${alias}`;
      } else {
        const left = this.#pick(before.filter((column) => column.kind === 'int')).sql;
        const right = this.#pick(own.filter((column) => column.kind === 'int')).sql;
        // Only what stands in this join may be used in its condition; outer columns may, too.
        const on = `${left} = ${right}${this.#chance(0.3) ? ` AND ${this.#bool(1)}` : ''}`;
        sql += ` ${this.#pick(['JOIN', 'LEFT JOIN', 'INNER JOIN', 'LEFT OUTER JOIN', 'RIGHT JOIN', 'FULL JOIN'])} ${table} ${alias} ON ${on}`;
      }
    }
    return sql;
  }

  #aggregate(): string {
    const filter = this.#chance(0.2) ? ` FILTER (WHERE ${this.#bool(1)})` : '';
    switch (this.#below(9)) {
      case 7:
        return `avg(${this.#expression(this.#chance(0.5) ? 'int' : 'numeric', 1)})${filter}`;
      case 8:
        return `${this.#pick(['sum', 'min', 'max'])}(${this.#expression('numeric', 1)})${filter}`;
      case 0:
        return `count(*)${filter}`;
      case 1:
        return `count(${this.#chance(0.3) ? 'DISTINCT ' : ''}${this.#any(1)})${filter}`;
      case 2:
        return `sum(${this.#expression('int', 1)})${filter}`;
      case 3:
        return `${this.#pick(['min', 'max'])}(${this.#any(1)})${filter}`;
      case 4:
        return `${this.#pick(['bool_and', 'bool_or', 'every'])}(${this.#bool(1)})${filter}`;
      case 5:
        return `coalesce(sum(${this.#expression('int', 0)})${filter}, 0)`;
      default:
        return `max(${this.#pick(this.#columns).sql})${filter}`;
    }
  }

  #any(depth: number): string {
    return this.#expression(this.#pick(Object.keys(LITERALS)) as Kind, depth);
  }

  #expression(kind: Kind, depth: number): string {
    if (kind === 'bool') return this.#bool(depth);
    const leaf = depth <= 0 || this.#chance(0.5);
    if (leaf) {
      const columns = this.#columns.filter((column) => column.kind === kind);
      if (columns.length > 0 && this.#chance(0.75)) return this.#pick(columns).sql;
      if (this.#withParameters && this.#chance(0.3) && this.#parameters.length < 6) return this.#parameter(kind);
      return this.#pick(LITERALS[kind]);
    }
    const inner = (of: Kind = kind): string => this.#expression(of, depth - 1);
    const common = [
      () => `coalesce(${inner()}, ${inner()})`,
      () => `nullif(${inner()}, ${inner()})`,
      () => `CASE WHEN ${this.#bool(depth - 1)} THEN ${inner()} ELSE ${inner()} END`,
      () => `CASE ${inner()} WHEN ${inner()} THEN ${inner()} END`,
      () => `${this.#pick(['greatest', 'least'])}(${inner()}, ${inner()})`,
    ];
    if (kind === 'int') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-', '*', '/', '%'])} ${inner()})`,
        () => `(- ${inner()})`,
        () => `length(${inner('text')})`,
        () => `strpos(${inner('text')}, ${inner('text')})`,
        () => `(${inner()})::int8`,
        () => `(${inner('bool')})::int`,
        () => `(SELECT count(*) FROM keyless k WHERE k.a = ${inner()})`,
      ])();
    }
    if (kind === 'text') {
      return this.#pick([
        ...common,
        () => `(${inner()} || ${this.#chance(0.5) ? inner() : inner('int')})`,
        () => `substr(${inner()}, ${1 + this.#below(4)}${this.#chance(0.5) ? `, ${this.#below(4)}` : ''})`,
        () => `${this.#pick(['left', 'right'])}(${inner()}, ${1 + this.#below(3)})`,
        () => `replace(${inner()}, ${inner()}, ${inner()})`,
        () => `${this.#pick(['trim', 'ltrim', 'rtrim', 'btrim', 'lower', 'upper'])}(${inner()})`,
        () => `(${inner('int')})::text`,
        () => `(${inner('mood')})::text`,
        () => `(${inner('bool')})::text`,
        () => `(${inner()})::varchar(${1 + this.#below(5)})`,
        () => `(${inner()} COLLATE "C")`,
        () => `concat(${inner()}, ${inner(this.#chance(0.5) ? 'text' : 'int')})`,
      ])();
    }
    if (kind === 'numeric') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-', '*', '/', '%'])} ${inner(this.#chance(0.3) ? 'int' : 'numeric')})`,
        () => `${this.#pick(['round', 'trunc'])}(${inner()}, ${this.#below(4)})`,
        () => `${this.#pick(['round', 'trunc', 'ceil', 'floor'])}(${inner()})`,
        () =>
          `extract(${this.#pick(['year', 'month', 'dow', 'doy', 'week'])} FROM ${inner(this.#pick(['date', 'timestamp', 'timestamptz']))})`,
      ])();
    }
    if (kind === 'date')
      return this.#pick([...common, () => `(${inner('timestamp')})::date`, () => `(${inner('timestamptz')})::date`])();
    return this.#pick(common)();
  }

  #bool(depth: number): string {
    if (depth <= 0) {
      const columns = this.#columns.filter((column) => column.kind === 'bool');
      if (columns.length > 0 && this.#chance(0.3)) return this.#pick(columns).sql;
    }
    const kind = this.#pick(Object.keys(LITERALS).filter((each) => each !== 'bool')) as Kind;
    const inner = (of: Kind = kind): string => this.#expression(of, depth - 1);
    const choices = [
      () => `${inner()} ${this.#pick(['=', '<>', '<', '<=', '>', '>=', '='])} ${inner()}`,
      () => `${inner()} IS ${this.#pick(['', 'NOT '])}NULL`,
      () => `${inner()} IS ${this.#pick(['', 'NOT '])}DISTINCT FROM ${inner()}`,
      () => `${inner()} ${this.#pick(['', 'NOT '])}BETWEEN ${inner()} AND ${inner()}`,
      () =>
        `${inner()} ${this.#pick(['', 'NOT '])}IN (${this.#times(1 + this.#below(3), () => this.#pick(LITERALS[kind])).join(', ')})`,
      () => `${inner('text')} ${this.#pick(['', 'NOT '])}ILIKE ${this.#pick(PATTERNS)}`,
      () => `${inner('text')} ${this.#pick(['', 'NOT '])}LIKE ${this.#pick(PATTERNS)}`,
      () =>
        `${inner('text')} = ANY (${this.#columns.some((column) => column.sql === 'a0.mood') ? 'a0.texts' : "'{abc,NULL,zz}'::text[]"})`,
      () => `${inner('int')} = ANY (ARRAY[${this.#below(5)}, ${this.#below(50)}])`,
    ];
    if (depth > 0) {
      choices.push(
        () => `(${this.#bool(depth - 1)} AND ${this.#bool(depth - 1)})`,
        () => `(${this.#bool(depth - 1)} OR ${this.#bool(depth - 1)})`,
        () => `(NOT ${this.#bool(depth - 1)})`,
        () =>
          `(${this.#bool(depth - 1)}) IS ${this.#pick(['TRUE', 'NOT TRUE', 'FALSE', 'NOT FALSE', 'UNKNOWN', 'NOT UNKNOWN'])}`,
      );
      if (this.#aliases < 6) {
        choices.push(
          () => `EXISTS (${this.#select(1).sql})`,
          () =>
            `${inner('int')} ${this.#pick(['', 'NOT '])}IN (SELECT b.size FROM parents b WHERE b.id > ${inner('int')})`,
        );
      }
    }
    return this.#pick(choices)();
  }

  #parameter(kind: Kind): string {
    this.#parameters.push(this.#pick(VALUES[kind]));
    return `$${this.#parameters.length}`;
  }

  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  #below(bound: number): number {
    return Math.floor(this.#random() * bound);
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T;
  }

  #times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

export interface FuzzOutcome {
  readonly local: number;
  readonly forwarded: number;
  readonly reasons: ReadonlyMap<string, number>;
  /** Seeds of statements that were answered otherwise than by Postgres, with what was wrong. */
  readonly failures: readonly string[];
}

/** Asks `count` questions from `seed` on. */
export async function fuzz(world: DifferentialWorld, seed: number, count: number): Promise<FuzzOutcome> {
  const reasons = new Map<string, number>();
  const failures: string[] = [];
  let local = 0;
  let forwarded = 0;
  for (let at = seed; at < seed + count; at += 1) {
    const question = new Generator(at * 7919).question();
    const context = (): string =>
      `seed ${at}: ${question.sql} ${JSON.stringify(question.parameters ?? [])}\n  ${describePlan(world.plan(question).plan)}`;
    let mine: Answer | string;
    try {
      mine = world.local(question);
    } catch (error) {
      failures.push(`${context()}\n  ${String(error)}`);
      continue;
    }
    if (typeof mine === 'string') {
      forwarded += 1;
      const reason = mine.slice(0, 60);
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      continue;
    }
    local += 1;
    // Plans are shared between texts that differ in constants only: ask the same with others.
    if (question.parameters === undefined) {
      const other = { ...question, sql: withOtherConstants(question.sql, at) };
      const [here, there] = [attempt(world, other), await world.core(other)];
      if (typeof here !== 'string') {
        const difference = typeof there === 'string' ? there : differs(here, there, question.ordered, question.isTotal);
        if (difference !== null) failures.push(`${context()}\n  with ${other.sql}\n  ${difference}`);
      } else if (here.startsWith('failed')) {
        failures.push(`${context()}\n  with ${other.sql}\n  ${here}`);
      }
    }
    const core = await world.core(question);
    if (typeof core === 'string') failures.push(`${context()}\n  the core says ${core}`);
    else {
      const difference = differs(mine, core, question.ordered, question.isTotal);
      if (difference !== null) failures.push(`${context()}\n  ${difference}`);
    }
  }
  return { local, forwarded, reasons, failures };
}

function attempt(world: DifferentialWorld, question: Question): Answer | string {
  try {
    return world.local(question);
  } catch (error) {
    return `failed: ${String(error)}`;
  }
}

/** The text with some of its small integers and plain strings replaced by others. */
function withOtherConstants(sql: string, seed: number): string {
  const strings = LITERALS.text.filter((text) => !text.includes('::'));
  // Positions of ORDER BY stay: the comparison follows them.
  const end = sql.indexOf(' ORDER BY ') < 0 ? sql.length : sql.indexOf(' ORDER BY ');
  return sql.replace(/'(abc|eu|zz|a|p4)'|(?<![\w'.$-])[1-9](?![\w'.])/g, (found, text, offset: number) => {
    const choice = (seed + offset) % 7;
    if (choice < 3 || offset > end) return found;
    return text === undefined ? String(choice) : (strings[choice % strings.length] as string);
  });
}

function differs(mine: Answer, core: Answer, ordered: readonly number[], isTotal: boolean): string | null {
  if (JSON.stringify(mine.columns) !== JSON.stringify(core.columns))
    return `columns ${mine.columns.join()} | ${core.columns.join()}`;
  const inOrder = (answer: Answer): string =>
    JSON.stringify(answer.rows.map((row) => ordered.map((position) => sameValue(row[position] as string | null))));
  if (inOrder(mine) !== inOrder(core)) return `order ${inOrder(mine)} | ${inOrder(core)}`;
  const bag = (answer: Answer): string =>
    JSON.stringify(answer.rows.map((row) => JSON.stringify(isTotal ? row.map(sameValue) : row)).toSorted());
  return bag(mine) === bag(core) ? null : `rows ${JSON.stringify(mine.rows)} | ${JSON.stringify(core.rows)}`;
}

/** Numbers that sort alike although they print differently: 1.0 and 1.00, 0 and -0. */
function sameValue(text: string | null): string | null {
  if (text === null || !/^-?\d+(\.\d+)?$/.test(text)) return text === null ? null : text.trimEnd();
  return text
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '')
    .replace(/^-0$/, '0');
}
