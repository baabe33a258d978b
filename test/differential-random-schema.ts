// Schemas and rows from a seed: tables of random columns, keys, indexes and awkward values, partitions, heirs and views, for
// the differential fuzzer.

import type { GeneratedTable, GeneratedTables, Kind } from './differential-generator.ts';

const TYPES: Readonly<Record<Kind, readonly string[]>> = {
  int: ['int', 'int', 'int2', 'int8', 'integer'],
  numeric: ['numeric', 'numeric(10,2)', 'numeric(6,3)'],
  float: ['float8', 'float4'],
  text: ['text', 'text', 'varchar(12)', 'varchar', 'text COLLATE "C"', 'text COLLATE "en-x-icu"'],
  bool: ['bool'],
  date: ['date'],
  timestamp: ['timestamp', 'timestamp(3)'],
  timestamptz: ['timestamptz'],
  uuid: ['uuid'],
  bytea: ['bytea'],
  mood: ['mood'],
  char: ['char(5)'],
  interval: ['interval'],
  jsonb: ['jsonb'],
  ints: ['int[]'],
  inet: ['inet'],
};

/** Values of each kind, as SQL; all fit into each of its types. */
const VALUES: Readonly<Record<Kind, readonly string[]>> = {
  int: ['0', '1', '2', '3', '4', '5', '7', '-1', '-7', '100', '32767', '-32768'],
  numeric: ['0', '1', '1.0', '1.10', '-1.1', '0.5', '99.99', '-0.01', "'NaN'"],
  float: ["'0'", "'-0'", '1', '0.1', '1e-5', '123456.7', "'NaN'", "'Infinity'", "'-Infinity'"],
  text: ["''", "'a'", "'A'", "'abc'", "'ABC'", "'a%b_c'", "' x '", "'ä'", "'é😀'", "'zz'", "'it''s'", "'10'", "'9'"],
  bool: ['true', 'false'],
  date: ["'2024-02-29'", "'1999-12-31'", "'0001-01-01'", "'infinity'", "'2024-03-01'", "'0044-03-15 BC'"],
  timestamp: ["'2024-02-29 12:34:56.789'", "'1999-12-31 23:59:59'", "'-infinity'", "'2024-02-29'", "'12345-06-07'"],
  timestamptz: ["'2024-02-29 12:34:56.789+00'", "'2024-01-05 00:00+02'", "'infinity'", "'1999-12-31 23:59:59+00'"],
  uuid: ["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
  bytea: ["'\\xdeadbeef'", "'\\x'", "'\\x00'"],
  mood: ["'sad'", "'ok'", "'happy'"],
  char: ["'abc'", "'ab'", "''", "'x y'"],
  interval: ["'1 day'", "'24:00'", "'-1 mon 2 days'", "'0'", "'1 year 00:00:00.5'"],
  jsonb: ["'{}'", '\'{"a": 1.0, "b": [1, null]}\'', '\'[1, 2, {"a": true}]\'', '\'"x"\'', "'null'", "'1.50'"],
  ints: ["'{1,2}'", "'{}'", "'{NULL,7}'", "'[0:1]={5,6}'"],
  inet: ["'10.0.0.1'", "'10.0.0.0/8'", "'::1'", "'192.168.1.5/24'"],
};

const KINDS = Object.keys(TYPES) as Kind[];

export interface RandomSchema {
  readonly sql: string;
  readonly tables: GeneratedTables;
}

export function randomSchema(seed: number): RandomSchema {
  let state = (seed * 2_654_435_761) >>> 0;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
  const below = (bound: number): number => Math.floor(random() * bound);
  const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;
  const chance = (probability: number): boolean => random() < probability;
  const sql = ["CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')"];
  const tables: Record<string, GeneratedTable> = {};
  const values = (kinds: readonly Kind[], id: number | null): string =>
    [...(id === null ? [] : [String(id)]), ...kinds.map((kind) => (chance(0.15) ? 'NULL' : pick(VALUES[kind])))].join(
      ', ',
    );
  const count = 3 + below(4);
  for (let index = 0; index < count; index += 1) {
    const name = `r${index}`;
    const kinds = Array.from({ length: 2 + below(6) }, () => pick(KINDS));
    const names = kinds.map((_, at) => `k${at}`);
    const columns = kinds.map((kind, at) => `${names[at]} ${pick(TYPES[kind])}`);
    const hasKey = chance(0.8);
    const isParted = chance(0.2);
    const key = hasKey ? ', PRIMARY KEY (id)' : '';
    sql.push(
      `CREATE TABLE ${name} (id int${hasKey ? '' : ' NOT NULL'}, ${columns.join(', ')}${key})${isParted ? ' PARTITION BY RANGE (id)' : ''}`,
    );
    if (isParted) {
      sql.push(`CREATE TABLE ${name}_a PARTITION OF ${name} FOR VALUES FROM (MINVALUE) TO (6)`);
      sql.push(`CREATE TABLE ${name}_b PARTITION OF ${name} DEFAULT`);
    }
    const rows = pick([0, 1, 5, 12, 30, 60]);
    for (let row = 0; row < rows; row += 1) sql.push(`INSERT INTO ${name} VALUES (${values(kinds, row - 2)})`);
    if (chance(0.5)) sql.push(`CREATE INDEX ON ${name} (${pick(names)})`);
    if (chance(0.3)) sql.push(`CREATE INDEX ON ${name} (${pick(names)}, id)`);
    const described = Object.fromEntries([['id', 'int' as Kind], ...names.map((one, at) => [one, kinds[at] as Kind])]);
    tables[name] = { columns: described, unique: ['id'] };
    if (!isParted && chance(0.2)) {
      sql.push(`CREATE TABLE ${name}_heir (extra text) INHERITS (${name})`);
      sql.push(`INSERT INTO ${name}_heir VALUES (${values(kinds, 1)}, 'heir'), (${values(kinds, 500)}, NULL)`);
      tables[name] = { columns: described, unique: [] };
    }
    if (chance(0.4)) {
      const condition = chance(0.5) ? ` WHERE id > ${below(5)}` : '';
      sql.push(`CREATE VIEW ${name}_view AS SELECT * FROM ${name}${condition}`);
      tables[`${name}_view`] = { columns: described, unique: tables[name]?.unique ?? [] };
    }
    if (chance(0.2)) {
      sql.push(`CREATE VIEW ${name}_counts (id, c0) AS SELECT id % 5, count(*) FROM ${name} GROUP BY id % 5`);
      tables[`${name}_counts`] = { columns: { id: 'int', c0: 'int' }, unique: ['id'] };
    }
  }
  return { sql: sql.join(';\n'), tables };
}
