// Random SELECTs over the tables of differential-schema.ts, from a seed: typed, so that most of them are valid, and odd
// enough to meet the corners. Whatever the planner answers itself must be what Postgres answers.

import { intervalSpan } from '../src/edge/sql/keys.ts';
import { type Answer, describePlan, type DifferentialWorld, type Question } from './differential-world.ts';

export type Kind =
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
  | 'char'
  | 'interval'
  | 'jsonb'
  | 'ints'
  | 'inet';

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
  times: { id: 'int', d: 'date', ts: 'timestamp', tz: 'timestamptz', ts3: 'timestamp', i: 'interval' },
  days: { id: 'int', d: 'date', ts: 'timestamp', tz: 'timestamptz' },
  others: { id: 'int', mood: 'mood', pos: 'int', short: 'text', jb: 'jsonb', ints: 'ints', net: 'inet' },
  documents: { id: 'int', n: 'int', k: 'text', doc: 'jsonb' },
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
  interval: ["interval '1 day'", "'24:00:00'::interval", "interval '-1 mon 3 days'", "interval '00:00:01.5'"],
  jsonb: ["'{}'::jsonb", '\'{"a": 1.0}\'::jsonb', "'[1, 2]'::jsonb", '\'"x"\'::jsonb'],
  ints: ["'{1,2}'::int[]", "'{}'::int[]", 'ARRAY[1, NULL]', "'{7}'::int[]"],
  inet: ["'10.0.0.1'::inet", "'10.0.0.0/8'::inet", "'::1'::inet"],
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
  interval: ['1 day', '-1 mon', '00:00:01', null],
  jsonb: ['{"a": 1}', '[]', null],
  ints: ['{1,2}', '{}', null],
  inet: ['10.0.0.1', '::/0', null],
};

const CAST_TYPES: Readonly<Record<Kind, string>> = {
  int: 'int',
  numeric: 'numeric',
  float: 'float8',
  text: 'text',
  bool: 'bool',
  date: 'date',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
  uuid: 'uuid',
  bytea: 'bytea',
  mood: 'mood',
  char: 'bpchar',
  interval: 'interval',
  jsonb: 'jsonb',
  ints: 'int[]',
  inet: 'inet',
};

/** Kinds that sets may be told apart by. */
const SET_KINDS: readonly Kind[] = ['int', 'text', 'date', 'timestamp', 'uuid', 'mood', 'bool'];

const NO_ORDER = { tail: '', ordered: [] as number[], isTotal: false };

const PATTERNS = ["'a%'", "'%b%'", "'_b_'", "'%'", "''", "'%\\_%'", "'p_'", "'%[x]%'", "'c%1'"];

/** Columns of a table by name; `unique`: those whose values tell its rows apart. */
export interface GeneratedTable {
  readonly columns: Readonly<Record<string, Kind>>;
  readonly unique: readonly string[];
}

export type GeneratedTables = Readonly<Record<string, GeneratedTable>>;

const SCHEMA_TABLES: GeneratedTables = Object.fromEntries(
  Object.entries(TABLES).map(([name, columns]) => [
    name,
    { columns, unique: name === 'children' ? ['parent_id', 'n'] : ['id'] },
  ]),
);

interface Selected {
  readonly sql: string;
  readonly ordered: number[];
  readonly isTotal: boolean;
  /** Kinds of the outputs; null where a constant may be of any. */
  readonly kinds: readonly (Kind | null)[];
}

/** What a select stands in. */
interface Place {
  readonly depth: number;
  /** Outputs must be of these kinds. */
  readonly kinds?: readonly Kind[];
  /** A branch or a query in FROM: no ORDER BY, and outputs of known kinds. */
  readonly isInner?: boolean;
}

export class Generator {
  #state: number;
  readonly #tables: GeneratedTables;
  #columns: Column[] = [];
  /** Columns that together tell the rows of the current FROM apart; null when there are none. */
  #unique: string[] | null = [];
  #parameters: (string | null)[] = [];
  #withParameters = false;
  #aliases = 0;
  /** Common tables that may be read, with the kinds of their columns c0, c1 … */
  #common: { readonly name: string; readonly kinds: readonly Kind[] }[] = [];

  constructor(seed: number, tables: GeneratedTables = SCHEMA_TABLES) {
    this.#state = seed >>> 0;
    this.#tables = tables;
  }

  /** `ordered`: positions (0-based) of output columns by which the rows are ordered; `isTotal`: compare rows in order. */
  question(): Question & { readonly ordered: readonly number[]; readonly isTotal: boolean } {
    this.#parameters = [];
    this.#aliases = 0;
    this.#common = [];
    this.#withParameters = this.#chance(0.35);
    const withClause = this.#chance(0.12) ? this.#with() : '';
    const { sql, ordered, isTotal } = this.#query({ depth: 0 });
    const text = `${withClause}${sql}`;
    // What was made and left out again may have taken some along.
    const used = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map((found) => Number(found[1])));
    return {
      sql: text,
      ordered,
      isTotal,
      ...(used > 0 ? { parameters: this.#parameters.slice(0, used) } : {}),
    };
  }

  #with(): string {
    const tables = this.#times(1 + this.#below(2), () => {
      const name = `w${this.#common.length}`;
      const hint = this.#pick(['', '', 'MATERIALIZED ', 'NOT MATERIALIZED ']);
      if (this.#chance(0.25)) {
        const step = 1 + this.#below(3);
        const sql = `VALUES (${this.#below(4)}, 'x') UNION${this.#pick([' ALL', ''])} SELECT n + ${step}, s || 'y' FROM ${name} WHERE n < ${5 + this.#below(10)}`;
        this.#common.push({ name, kinds: ['int', 'text'] });
        return { isRecursive: true, sql: `${name} (n, s) AS (${sql})` };
      }
      const inner = this.#query({ depth: 1, isInner: true });
      const kinds = inner.kinds.map((kind) => kind ?? 'text');
      const names = kinds.map((_, index) => `c${index}`).join(', ');
      this.#common.push({ name, kinds });
      return { isRecursive: false, sql: `${name} (${names}) AS ${hint}(${inner.sql})` };
    });
    // A recursion's columns are called otherwise.
    this.#common = this.#common.map((table, index) =>
      tables[index]?.isRecursive === true ? { ...table, name: `(SELECT n AS c0, s AS c1 FROM ${table.name})` } : table,
    );
    const recursive = tables.some((table) => table.isRecursive) ? 'RECURSIVE ' : '';
    return `WITH ${recursive}${tables.map((table) => table.sql).join(', ')} `;
  }

  /** A select, or several as one. */
  #query(place: Place): Selected {
    if (!this.#chance(place.depth === 0 ? 0.12 : 0.08)) return this.#select(place);
    const kinds = place.kinds ?? this.#times(1 + this.#below(3), () => this.#pick(SET_KINDS));
    const branch = (): string =>
      this.#chance(0.1)
        ? `VALUES ${this.#times(1 + this.#below(2), () => `(${kinds.map((kind) => this.#pick(LITERALS[kind])).join(', ')})`).join(', ')}`
        : this.#select({ depth: place.depth + 1, kinds, isInner: true }).sql;
    const operator = (): string =>
      this.#pick([
        ' UNION ALL ',
        ' UNION ALL ',
        ' UNION ',
        ' INTERSECT ',
        ' EXCEPT ',
        ' INTERSECT ALL ',
        ' EXCEPT ALL ',
      ]);
    let sql = `${branch()}${operator()}${branch()}`;
    if (this.#chance(0.3))
      sql = this.#chance(0.5) ? `${sql}${operator()}${branch()}` : `${branch()}${operator()}(${sql})`;
    const { tail, ordered, isTotal } = place.isInner === true ? NO_ORDER : this.#tail(kinds.length);
    return { sql: `${sql}${tail}`, ordered, isTotal, kinds };
  }

  #select(place: Place): Selected {
    const { depth } = place;
    const [outer, outerUnique] = [this.#columns, this.#unique];
    const from = this.#from(depth);
    const where = this.#chance(0.7) ? ` WHERE ${this.#bool(2)}` : '';
    const made =
      place.kinds === undefined && this.#chance(0.3)
        ? this.#grouped(`${from}${where}`, place)
        : this.#plain(`${from}${where}`, place);
    [this.#columns, this.#unique] = [outer, outerUnique];
    return made;
  }

  #grouped(body: string, { isInner }: Place): Selected {
    const keys = this.#times(this.#below(3), () => this.#pick(this.#columns));
    const isSets = keys.length > 0 && this.#chance(0.25);
    const names = keys.map((key) => key.sql);
    const aggregates: { sql: string; kind: Kind | null }[] = this.#times(1 + this.#below(3), () => ({
      sql: this.#aggregate(),
      kind: null,
    }));
    if (isSets && this.#chance(0.5)) aggregates.push({ sql: `grouping(${names.join(', ')})`, kind: 'int' });
    if (isInner === true) aggregates.splice(0, aggregates.length, { sql: 'count(*)', kind: 'int' });
    const group =
      keys.length === 0
        ? ''
        : isSets
          ? ` GROUP BY ${this.#pick([`ROLLUP (${names.join(', ')})`, `CUBE (${names.join(', ')})`, `GROUPING SETS ((${names[0]}), (), (${names.join(', ')}))`, `${names[0]}, ROLLUP (${names.join(', ')})`])}`
          : ` GROUP BY ${names.join(', ')}`;
    const having = this.#chance(0.3)
      ? ` HAVING ${this.#pick(['count(*) > 1', 'min(1) = 1', 'count(*) IS NOT NULL'])}`
      : '';
    if (!isSets && keys.length > 0 && this.#chance(0.15) && isInner !== true)
      aggregates.push({ sql: `rank() OVER (ORDER BY count(*)${this.#pick(['', ' DESC'])})`, kind: 'int' });
    const outputs = [...names, ...aggregates.map((each) => each.sql)];
    const kinds = [...keys.map((key) => key.kind), ...aggregates.map((each) => each.kind)];
    const { tail, ordered, isTotal } = isInner === true ? NO_ORDER : this.#tail(outputs.length);
    return { sql: `SELECT ${outputs.join(', ')}${body}${group}${having}${tail}`, ordered, isTotal, kinds };
  }

  #plain(body: string, { isInner, kinds, depth }: Place): Selected {
    const outputs: { sql: string; kind: Kind | null }[] =
      kinds === undefined
        ? this.#times(1 + this.#below(4), () => {
            if (isInner !== true) return { sql: this.#any(2), kind: null };
            const column = this.#pick(this.#columns);
            return { sql: column.sql, kind: column.kind };
          })
        : kinds.map((kind) => ({ sql: this.#expression(kind, 2), kind }));
    const list = (): string => outputs.map((output) => output.sql).join(', ');
    const known = (): (Kind | null)[] => outputs.map((output) => output.kind);
    if (this.#unique !== null && this.#unique.length > 0 && isInner !== true && this.#chance(0.1)) {
      const keys = this.#times(1 + this.#below(2), () => this.#pick(this.#columns).sql);
      const order = [...keys, ...this.#unique].map((key) => `${key}${this.#pick(['', ' DESC', ' NULLS FIRST'])}`);
      const sql = `SELECT DISTINCT ON (${keys.join(', ')}) ${list()}${body} ORDER BY ${order.join(', ')}`;
      return { sql, ordered: [], isTotal: false, kinds: known() };
    }
    const distinct = this.#chance(0.15);
    if (!distinct && kinds === undefined && this.#chance(0.18)) {
      outputs.push(...this.#times(1 + this.#below(2), () => ({ sql: this.#window(), kind: null })));
      if (isInner === true) outputs.splice(0, outputs.length, { sql: this.#pick(this.#columns).sql, kind: null });
    }
    const { tail, ordered, isTotal } = isInner === true ? NO_ORDER : this.#tail(outputs.length);
    const ties =
      !distinct && isInner !== true && tail === '' && depth === 0 && this.#chance(0.06)
        ? ` ORDER BY ${this.#pick(this.#columns).sql}${this.#chance(0.3) ? ` OFFSET ${this.#below(3)}` : ''} FETCH FIRST ${1 + this.#below(4)} ROWS WITH TIES`
        : '';
    // Rows that are skipped among equals may be any of them.
    const isLoose = ties.includes('OFFSET');
    const sql = `SELECT ${distinct ? 'DISTINCT ' : ''}${list()}${body}${tail}${isLoose ? '' : ties}`;
    return { sql, ordered, isTotal, kinds: known() };
  }

  /** ORDER BY and LIMIT over outputs. */
  #tail(width: number): { tail: string; ordered: number[]; isTotal: boolean } {
    if (this.#chance(0.5)) return { tail: '', ordered: [], isTotal: false };
    const isTotal = this.#chance(0.4);
    const positions = isTotal ? [...Array(width).keys()] : [this.#below(width)];
    const items = positions.map(
      (position) => `${position + 1}${this.#pick(['', ' ASC', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'])}`,
    );
    const limit =
      isTotal && this.#chance(0.5)
        ? ` LIMIT ${this.#below(8)}${this.#chance(0.4) ? ` OFFSET ${this.#below(5)}` : ''}`
        : '';
    return { tail: ` ORDER BY ${items.join(', ')}${limit}`, ordered: positions, isTotal };
  }

  /** A window function whose value does not depend on the order of equals. */
  #window(): string {
    const partition = this.#chance(0.4) ? `PARTITION BY ${this.#pick(this.#columns).sql} ` : '';
    const direction = (): string => this.#pick(['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST']);
    const filter = this.#chance(0.15) ? ` FILTER (WHERE ${this.#bool(1)})` : '';
    const aggregate = (): string =>
      `${this.#pick([
        () => 'count(*)',
        () => `count(${this.#any(1)})`,
        () => `${this.#pick(['sum', 'avg', 'min', 'max'])}(${this.#expression('int', 1)})`,
        () => `sum(${this.#expression('numeric', 0)})`,
        () => `${this.#pick(['min', 'max'])}(${this.#any(0)})`,
        () => `${this.#pick(['bool_and', 'bool_or'])}(${this.#bool(1)})`,
      ])()}${filter}`;
    const unique = this.#unique;
    if (unique === null || unique.length === 0 || this.#chance(0.4)) {
      const order = this.#chance(0.7) ? `ORDER BY ${this.#pick(this.#columns).sql}${direction()}` : '';
      const frame =
        order === ''
          ? ''
          : this.#pick([
              '',
              '',
              ' RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW',
              ' RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING',
              ' GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW',
              ' GROUPS BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE GROUP',
              ' RANGE UNBOUNDED PRECEDING EXCLUDE TIES',
            ]);
      const call = this.#chance(0.3)
        ? this.#pick(['rank()', 'dense_rank()', 'percent_rank()', 'cume_dist()'])
        : aggregate();
      return `${call} OVER (${partition}${order}${call.includes('rank') || call.includes('cume') ? '' : frame})`;
    }
    const order = `ORDER BY ${[...this.#times(this.#below(2), () => this.#pick(this.#columns).sql), ...unique].map((key) => key + direction()).join(', ')}`;
    if (this.#chance(0.5)) {
      const call = this.#pick([
        () => 'row_number()',
        () => `ntile(${1 + this.#below(4)})`,
        () =>
          `${this.#pick(['lag', 'lead'])}(${this.#pick(this.#columns).sql}${this.#pick(['', ', 1', ', 2', ', 0'])})`,
        () => `${this.#pick(['first_value', 'last_value'])}(${this.#pick(this.#columns).sql})`,
        () => `nth_value(${this.#pick(this.#columns).sql}, ${1 + this.#below(3)})`,
      ])();
      return `${call} OVER (${partition}${order})`;
    }
    const bound = (side: string): string =>
      this.#pick(['CURRENT ROW', `${this.#below(3)} ${side}`, `UNBOUNDED ${side}`]);
    const exclude = this.#pick(['', '', ' EXCLUDE CURRENT ROW', ' EXCLUDE TIES', ' EXCLUDE GROUP']);
    const frame = `${this.#pick(['ROWS', 'GROUPS'])} BETWEEN ${bound('PRECEDING')} AND ${bound('FOLLOWING')}${exclude}`;
    return `${aggregate()} OVER (${partition}${order} ${frame})`;
  }

  #from(depth: number): string {
    this.#columns = depth === 0 ? [] : [...this.#columns];
    this.#unique = [];
    let sql = '';
    const count = this.#chance(0.6) ? 1 : 2 + this.#below(2);
    for (let index = 0; index < count; index += 1) {
      const before = this.#columns;
      const { text, own, unique } = this.#item(depth);
      this.#columns = [...before, ...own];
      const isKnown: boolean = this.#unique !== null && unique !== null;
      this.#unique = isKnown ? [...(this.#unique as string[]), ...(unique as string[])] : null;
      const lefts = before.filter((column) => column.kind === 'int');
      const rights = own.filter((column) => column.kind === 'int');
      if (index === 0) {
        sql = ` FROM ${text}`;
      } else if (lefts.length === 0 || rights.length === 0) {
        sql += ` CROSS JOIN ${text}`;
      } else {
        const [left, right] = [this.#pick(lefts).sql, this.#pick(rights).sql];
        // Only what stands in this join may be used in its condition; outer columns may, too.
        const on = `${left} = ${right}${this.#chance(0.3) ? ` AND ${this.#bool(1)}` : ''}`;
        const join = this.#pick(['JOIN', 'LEFT JOIN', 'INNER JOIN', 'LEFT OUTER JOIN', 'RIGHT JOIN', 'FULL JOIN']);
        sql += ` ${join} ${text} ON ${on}`;
      }
    }
    return sql;
  }

  /** One thing in FROM. */
  #item(depth: number): { text: string; own: Column[]; unique: string[] | null } {
    const alias = `a${this.#aliases}`;
    this.#aliases += 1;
    const columnsOf = (kinds: readonly (Kind | null)[]): Column[] =>
      kinds.map((kind, index) => ({ sql: `${alias}.c${index}`, kind: kind ?? 'text' }));
    if (this.#common.length > 0 && this.#chance(0.4)) {
      const table = this.#pick(this.#common);
      return { text: `${table.name} ${alias}`, own: columnsOf(table.kinds), unique: null };
    }
    if (depth < 2 && this.#aliases < 5 && this.#chance(0.1)) {
      const outer = this.#columns;
      this.#columns = [];
      const inner = this.#query({ depth: 2, isInner: true });
      this.#columns = outer;
      const names = inner.kinds.map((_, index) => `c${index}`).join(', ');
      return { text: `(${inner.sql}) AS ${alias} (${names})`, own: columnsOf(inner.kinds), unique: null };
    }
    const name = this.#pick(Object.keys(this.#tables));
    const table = this.#tables[name] as GeneratedTable;
    return {
      text: `${name} ${alias}`,
      own: Object.entries(table.columns).map(([column, kind]): Column => ({ sql: `${alias}.${column}`, kind })),
      unique: table.unique.length === 0 ? null : table.unique.map((column) => `${alias}.${column}`),
    };
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
        () => `length(${inner(this.#pick(['text', 'char', 'bytea']))})`,
        () => `${this.#pick(['abs', 'sign', 'round'])}(${inner()})::int8`,
        () => `mod(${inner()}, ${1 + this.#below(5)})`,
        () => `(${inner()} ${this.#pick(['&', '|', '#'])} ${inner()})`,
        () => `ascii(${inner('text')})`,
        () => `cardinality(${inner('ints')})`,
        () => `(${inner('ints')})[${this.#below(3)}]`,
        () => `array_length(${inner('ints')}, 1)`,
        () => `masklen(${inner('inet')})`,
        () => `(${inner('date')} - ${inner('date')})`,
        () => `(${inner('jsonb')} ->> 'a')::int`,
        () => `octet_length(${inner('text')})`,
        () => `strpos(${inner('text')}, ${inner('text')})`,
        () => `(${inner()})::int8`,
        () => `(${inner('bool')})::int`,
        ...('parents' in this.#tables
          ? [
              () => `(SELECT count(*) FROM keyless k WHERE k.a = ${inner()})`,
              () => `(SELECT p.size FROM parents p WHERE p.id = ${inner()})`,
              () => `(SELECT max(c.score) FROM children c WHERE c.n = ${inner()})`,
            ]
          : [() => `(SELECT count(*) FROM r0 k WHERE k.id = ${inner()})`]),
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
        () => `concat_ws(${inner()}, ${inner('int')}, ${inner('bool')}, ${inner()})`,
        () => `${this.#pick(['lpad', 'rpad'])}(${inner()}, ${this.#below(8)}, ${inner()})`,
        () => `split_part(${inner()}, ${inner()}, ${1 + this.#below(3)})`,
        () => `${this.#pick(['reverse', 'md5', 'quote_literal'])}(${inner()})`,
        () => `translate(${inner()}, ${inner()}, ${inner()})`,
        () => `repeat(${inner()}, ${this.#below(4)})`,
        () => `substring(${inner()}, ${inner('int')}, ${this.#below(4)})`,
        () => `regexp_replace(${inner()}, ${this.#pick(["'[a-c]'", "'b+'", "'\\s'", "'.'"])}, '_', 'g')`,
        () => `(${inner('jsonb')} ->> ${this.#chance(0.5) ? "'a'" : '0'})`,
        () => `jsonb_typeof(${inner('jsonb')})`,
        () =>
          `(${inner(this.#pick(['date', 'timestamp', 'interval', 'numeric', 'float', 'uuid', 'jsonb', 'inet', 'char']))})::text`,
        () => `to_char(${inner(this.#pick(['timestamp', 'timestamptz']))}, 'YYYY-MM-DD HH24:MI:SS')`,
        () => `array_to_string(${inner('ints')}, ',', '*')`,
        () => `host(${inner('inet')})`,
        () => `format('%s/%L', ${inner()}, ${inner('int')})`,
      ])();
    }
    if (kind === 'numeric') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-', '*', '/', '%'])} ${inner(this.#chance(0.3) ? 'int' : 'numeric')})`,
        () => `${this.#pick(['round', 'trunc'])}(${inner()}, ${this.#below(4)})`,
        () => `${this.#pick(['round', 'trunc', 'ceil', 'floor'])}(${inner()})`,
        () =>
          `extract(${this.#pick(['year', 'month', 'dow', 'doy', 'week', 'epoch', 'century'])} FROM ${inner(this.#pick(['date', 'timestamp', 'timestamptz']))})`,
        () => `extract(${this.#pick(['epoch', 'day', 'hour', 'second'])} FROM ${inner('interval')})`,
        () => `${this.#pick(['abs', 'sign', '-', 'sqrt'])}(${inner()})`,
        () => `(${inner(this.#pick(['int', 'numeric', 'float']))})::numeric(${8 + this.#below(4)},${this.#below(3)})`,
      ])();
    }
    if (kind === 'float') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-', '*', '/'])} ${inner(this.#chance(0.7) ? 'float' : 'int')})`,
        () => `${this.#pick(['abs', 'round', 'floor', 'ceil', 'trunc', 'sign', '-'])}(${inner()})`,
        () => `(${inner(this.#pick(['int', 'numeric']))})::float8`,
        () =>
          `date_part(${this.#pick(["'year'", "'epoch'", "'second'"])}, ${inner(this.#pick(['timestamp', 'timestamptz']))})`,
      ])();
    }
    if (kind === 'interval') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-'])} ${inner()})`,
        () => `(${inner()} * ${this.#pick(['2', '0.5', '-1'])})`,
        () => `(${inner('timestamp')} - ${inner('timestamp')})`,
        () => `age(${inner('timestamp')}, ${inner('timestamp')})`,
        () => `justify_days(${inner()})`,
      ])();
    }
    if (kind === 'timestamp') {
      return this.#pick([
        ...common,
        () => `(${inner()} ${this.#pick(['+', '-'])} ${inner('interval')})`,
        () => `date_trunc(${this.#pick(["'day'", "'month'", "'week'", "'hour'"])}, ${inner()})`,
        () => `(${inner(this.#pick(['date', 'timestamptz']))})::timestamp`,
      ])();
    }
    if (kind === 'jsonb') {
      return this.#pick([
        ...common,
        () => `(${inner()} -> ${this.#pick(["'a'", '0', "'b'"])})`,
        () => `(${inner()} || ${inner()})`,
        () => `(${inner()} #> '{a,b}')`,
        () => `to_jsonb(${inner(this.#pick(['int', 'text', 'numeric', 'bool', 'timestamp', 'ints', 'float']))})`,
        () => `jsonb_build_object('k', ${inner('int')}, 'v', ${inner('text')})`,
        () => `jsonb_strip_nulls(${inner()})`,
      ])();
    }
    if (kind === 'ints') {
      return this.#pick([
        ...common,
        () => `(${inner()} || ${inner('int')})`,
        () => `array_remove(${inner()}, ${inner('int')})`,
        () => `(${inner()})[1:2]`,
        () => `ARRAY[${inner('int')}, ${inner('int')}]`,
      ])();
    }
    if (kind === 'inet') return this.#pick([...common, () => `network(${inner()})::inet`, () => `(${inner()} + 1)`])();
    if (kind === 'date')
      return this.#pick([
        ...common,
        () => `(${inner()} + ${this.#below(40)})`,
        () => `(${inner('timestamp')})::date`,
        () => `(${inner('timestamptz')})::date`,
      ])();
    return this.#pick(common)();
  }

  /** An expression whose type is known by itself. */
  #typed(kind: Kind, depth: number): string {
    const columns = this.#columns.filter((column) => column.kind === kind);
    if (columns.length > 0 && (depth <= 0 || this.#chance(0.6))) return this.#pick(columns).sql;
    const made = this.#expression(kind, depth);
    return /^('|\$)/.test(made) && !made.includes('::') ? `${made}::${CAST_TYPES[kind]}` : made;
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
      () => `${this.#typed(kind, depth - 1)} IS ${this.#pick(['', 'NOT '])}NULL`,
      () => `${this.#typed(kind, depth - 1)} IS ${this.#pick(['', 'NOT '])}DISTINCT FROM ${inner()}`,
      () => `${inner()} ${this.#pick(['', 'NOT '])}BETWEEN ${inner()} AND ${inner()}`,
      () =>
        `${this.#typed(kind, depth - 1)} ${this.#pick(['', 'NOT '])}IN (${this.#times(1 + this.#below(3), () => this.#pick(LITERALS[kind])).join(', ')})`,
      () => `${this.#typed('text', depth - 1)} ${this.#pick(['', 'NOT '])}ILIKE ${this.#pick(PATTERNS)}`,
      () => `${this.#typed('text', depth - 1)} ${this.#pick(['', 'NOT '])}LIKE ${this.#pick(PATTERNS)}`,
      () =>
        `${this.#typed('text', depth - 1)} = ANY (${this.#columns.some((column) => column.sql === 'a0.mood') ? 'a0.texts' : "'{abc,NULL,zz}'::text[]"})`,
      () =>
        `${this.#typed('text', depth - 1)} ${this.#pick(['~', '!~', '~*'])} ${this.#pick(["'^a'", "'b|c'", "'[0-9]+'", "'x$'", "'(ab)+c'", "'\\w'"])}`,
      () => `${this.#typed('text', depth - 1)} SIMILAR TO ${this.#pick(["'a%'", "'(a|b)%'", "'_b_'"])}`,
      () => `${this.#typed('jsonb', depth - 1)} ${this.#pick(['@>', '<@'])} ${inner('jsonb')}`,
      () => `${this.#typed('jsonb', depth - 1)} ? 'a'`,
      () => `${this.#typed('ints', depth - 1)} ${this.#pick(['@>', '<@', '&&', '='])} ${inner('ints')}`,
      () => `${this.#typed('inet', depth - 1)} ${this.#pick(['<<', '>>=', '&&'])} ${inner('inet')}`,
      () => `${this.#typed('date', depth - 1)} ${this.#pick(['<', '=', '>='])} ${inner('timestamp')}`,
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
      if (this.#aliases < 6 && 'parents' in this.#tables) {
        choices.push(
          () => `EXISTS (${this.#query({ depth: 2, isInner: true }).sql})`,
          () =>
            `${inner('int')} ${this.#pick(['=', '<>', '<', '>=', '>'])} ${this.#pick(['ANY', 'ALL'])} (SELECT b.n FROM children b WHERE b.score ${this.#pick(['<', '>'])} ${this.#below(900)})`,
          () =>
            `(${inner('int')}, ${inner('int')}) ${this.#pick(['', 'NOT '])}IN (SELECT b.parent_id, b.n FROM children b WHERE b.parent_id < 9)`,
          () =>
            `(${inner()}, ${inner('int')}) ${this.#pick(['=', '<>', '<', '<=', '>', '>='])} (${inner()}, ${inner('int')})`,
          () =>
            `${inner('int')} ${this.#pick(['<', '>=', '<>', '='])} ${this.#pick(['ANY', 'ALL'])} ('{${this.#below(9)},${this.#pick(['NULL', '7'])}}'::int[])`,
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
export async function fuzz(
  world: DifferentialWorld,
  seed: number,
  count: number,
  tables?: GeneratedTables,
): Promise<FuzzOutcome> {
  const reasons = new Map<string, number>();
  const failures: string[] = [];
  let local = 0;
  let forwarded = 0;
  for (let at = seed; at < seed + count; at += 1) {
    const question = new Generator(at * 7919, tables).question();
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

/** Values that sort alike although they print differently: 1.0 and 1.00, 0 and -0, a day and 24 hours. */
function sameValue(text: string | null): string | null {
  if (text === null) return null;
  if (/^(?:[+-]?\d+ (?:years?|mons?|days?) ?)*(?:[+-]?\d{2,}:\d\d:\d\d(?:\.\d+)?)?$/.test(text) && /[ay:]/.test(text)) {
    return `interval ${intervalSpan(text)}`;
  }
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text.trimEnd();
  return text
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '')
    .replace(/^-0$/, '0');
}
