// Random placements × random changes: after each, what a PoP holds is the core's `SELECT columns WHERE condition`, at the same LSN.
// Conditions are written once and given to both: to Postgres, and to the relay, which reads them by itself.

import type { PlacementSpec } from '../src/contracts/placement.ts';
import { type PostgresVersionWanted } from '../src/runtime/postgres.ts';
import { startPostgres, type TestPostgres } from './harness.ts';
import { type Expected, expectHolds, setPlacement, startPlacedRelay, startPop } from './placement.ts';
import type { TestReplica } from './relay.ts';

export interface PlacementFuzzOptions {
  readonly seed: number;
  readonly steps: number;
  readonly version: PostgresVersionWanted;
  readonly progress?: (step: number) => void;
}

/** Throws at the first difference; the message tells the seed and what was done last. */
export async function fuzzPlacements(options: PlacementFuzzOptions): Promise<void> {
  await using postgres = await startPostgres({
    version: options.version,
    settings: { logical_decoding_work_mem: '64kB' },
  });
  const random = new Chance(options.seed);
  await postgres.sql(SCHEMA);
  await using relay = await startPlacedRelay(postgres, []);
  await relay.relay.ready;
  const made = { eu: placement(random), us: placement(random) };
  const pops = new Map<'eu' | 'us', TestReplica>();
  const directories = new Map<'eu' | 'us', string>();
  const done: string[] = [];
  const set = async (name: 'eu' | 'us'): Promise<void> => {
    const spec: PlacementSpec = { name, pops: [name], forward: 'allow', tables: made[name].map((one) => one.item) };
    done.push(`placement ${name}: ${spec.tables.join(' | ')}`);
    await setPlacement(relay, spec);
  };
  const start = (name: 'eu' | 'us'): void => {
    const pop = startPop(relay, name, directories.get(name));
    directories.set(name, pop.path.slice(0, pop.path.lastIndexOf('/')));
    pops.set(name, pop);
  };
  try {
    for (const name of ['eu', 'us'] as const) {
      await set(name);
      start(name);
    }
    for (let step = 0; step < options.steps; step += 1) {
      const name = random.of(['eu', 'us'] as const);
      const pop = pops.get(name);
      const kind = random.below(20);
      if (kind === 0) {
        made[name] = placement(random);
        await set(name);
      } else if (kind === 1 && pop !== undefined) {
        done.push(`${name} goes away`);
        await pop.stop();
        pops.delete(name);
      } else if (kind === 1) {
        done.push(`${name} comes back`);
        start(name);
      } else {
        const sql = change(random);
        done.push(sql);
        // What violates a key is undone as a whole, which is a change like any other.
        await postgres.sql(sql).catch(async (error: unknown) => {
          done.push(`failed: ${String(error)}`);
          await postgres.sql('rollback');
        });
      }
      if (kind === 0 || step % 5 === 4) {
        for (const [each, holder] of pops) await expectHolds(postgres, holder, await expected(postgres, made[each]));
      }
      options.progress?.(step);
    }
    for (const name of ['eu', 'us'] as const) if (!pops.has(name)) start(name);
    for (const [each, holder] of pops) await expectHolds(postgres, holder, await expected(postgres, made[each]));
  } catch (error) {
    throw new Error(`seed ${options.seed}: ${String(error)}\nlast of ${done.length}:\n${done.slice(-12).join('\n')}`, {
      cause: error,
    });
  } finally {
    for (const pop of pops.values()) await pop.stop();
  }
}

class Chance {
  #state: number;
  #serial = 0;
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }
  below(count: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * count);
  }
  /** Another number each time. */
  next(): number {
    this.#serial += 1;
    return this.#serial;
  }
  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }
  /** Some of them, in their order, at least one. */
  some<T>(choices: readonly T[]): T[] {
    const chosen = choices.filter(() => this.below(2) === 0);
    return chosen.length > 0 ? chosen : [this.of(choices)];
  }
}

interface Shape {
  readonly table: string;
  /** Columns that a list must have. */
  readonly key: readonly string[];
  readonly columns: Readonly<Record<string, readonly string[]>>;
}

const WORDS = ["'eu'", "'us'", "'x'", "''", "'Ä'", "'eu '"];
const NUMBERS = ['-1', '0', '1', '2', '3', '7'];
const BOOLS = ['true', 'false'];
const MOODS = ["'sad'", "'ok'", "'great'"];
const DECIMALS = ['-1.5', '0', '0.50', '1.5', '20'];
const DAYS = ["'2024-02-29'", "'2026-01-01'", "'1999-12-31'", "'infinity'"];
const MOMENTS = ["'2026-01-01 00:00:00+00'", "'2026-01-01 02:00:00.5+02'", "'1999-12-31 23:59:59Z'"];
const PADDED = ["'a'", "'a  '", "'bb'"];
const UUIDS = ["'00000000-0000-0000-0000-000000000001'", "'A0000000-0000-0000-0000-000000000002'"];

const COMMON = { r: WORDS, n: NUMBERS, b: BOOLS, m: MOODS, q: DECIMALS, d: DAYS, w: MOMENTS, p: PADDED, u: UUIDS };

const SHAPES: readonly Shape[] = [
  { table: 'keyed', key: ['id'], columns: { id: NUMBERS, ...COMMON } },
  { table: 'keyless', key: [], columns: COMMON },
  { table: 'indexed', key: ['k'], columns: { k: WORDS, ...COMMON } },
  { table: 'low', key: ['id'], columns: { id: NUMBERS, ...COMMON } },
  { table: 'high', key: ['id'], columns: { id: NUMBERS, ...COMMON } },
];

const COLUMNS = `r text collate "C", n int, b bool, m mood, q numeric, d date, w timestamptz, p char(4), u uuid, big text, extra text`;

const SCHEMA = `create type mood as enum ('sad', 'ok', 'great');
  create table keyed (id int primary key, ${COLUMNS});
  create table keyless (${COLUMNS}); alter table keyless replica identity full;
  create table indexed (k text not null, ${COLUMNS}); create unique index indexed_k on indexed (k); alter table indexed replica identity using index indexed_k;
  create table parted (id int primary key, ${COLUMNS}) partition by range (id);
  create table low partition of parted for values from (-100) to (2); create table high partition of parted for values from (2) to (100000);
  ${['keyed', 'keyless', 'indexed', 'low', 'high'].map((table) => `alter table ${table} alter column big set storage external;`).join(' ')}
  create table unheld (id int primary key, a text)`;

interface Placed extends Expected {
  readonly item: string;
  readonly all: boolean;
}

function placement(random: Chance): Placed[] {
  return random.some(SHAPES).map((shape) => {
    const names = [...Object.keys(shape.columns), 'big', 'extra'];
    const all = random.below(3) === 0;
    const chosen = random.some(names);
    const columns = all ? [] : names.filter((name) => shape.key.includes(name) || chosen.includes(name));
    const where = random.below(4) === 0 ? undefined : condition(random, shape, 2);
    const list = all ? '' : ` (${columns.join(', ')})`;
    const item = `${shape.table}${list}${where === undefined ? '' : ` WHERE ${where}`}`;
    return { table: `public.${shape.table}`, columns, item, all, ...(where === undefined ? {} : { where }) };
  });
}

function condition(random: Chance, shape: Shape, depth: number): string {
  const kind = depth === 0 ? 3 : random.below(6);
  if (kind < 2) {
    const parts = [condition(random, shape, depth - 1), condition(random, shape, depth - 1)];
    return `(${parts.join(kind === 0 ? ' AND ' : ' OR ')})`;
  }
  if (kind === 2) return `NOT ${condition(random, shape, 0)}`;
  const [name, constants] = random.of(Object.entries(shape.columns));
  const constant = random.of(constants);
  // Ranges of texts need a collation that compares bytes, which only r has.
  const isOrdered = name !== 'p' && name !== 'k' && name !== 'b';
  const tests = [
    () => `${name} = ${constant}`,
    () => `${name} <> ${constant}`,
    () => `${name} IN (${random.some(constants).join(', ')})`,
    () => `${name} IS ${random.of(['', 'NOT '])}NULL`,
    () => `${name} IS ${random.of(['', 'NOT '])}DISTINCT FROM ${constant}`,
    ...(isOrdered
      ? [
          () => `${name} ${random.of(['<', '<=', '>', '>='])} ${constant}`,
          () => `${name} BETWEEN ${constant} AND ${random.of(constants)}`,
        ]
      : []),
    ...(name === 'r' ? [() => `r LIKE '${random.of(['e', 'eu', '', 'Ä'])}%'`, () => `r NOT LIKE 'us'`] : []),
    ...(name === 'b' ? [() => 'b', () => `b IS ${random.of(['TRUE', 'FALSE', 'NOT TRUE', 'UNKNOWN'])}`] : []),
  ];
  return random.of(tests)();
}

function change(random: Chance): string {
  const kind = random.below(12);
  const one = (): string => statement(random);
  if (kind < 7) return one();
  if (kind < 9) return `begin; ${one()}; ${one()}; ${one()}; commit`;
  if (kind === 9) return `begin; ${one()}; savepoint s; ${one()}; ${one()}; rollback to s; ${one()}; commit`;
  if (kind === 10) return `begin; ${one()}; ${one()}; rollback`;
  return random.of([
    () => `alter table keyed drop column extra; alter table keyed add column extra text default 'e${random.next()}'`,
    () => `alter table keyed alter column n type ${random.of(['bigint', 'int', 'smallint'])}`,
    () => `alter table indexed alter column big type varchar`,
    () => `alter table keyless rename column extra to other; alter table keyless rename column other to extra`,
    () => {
      const name = `extra_${random.next()}`;
      return `create table ${name} as select * from keyed; drop table ${name}`;
    },
    () => `alter table high replica identity ${random.of(['full', 'default'])}`,
    () => `truncate ${random.of(['keyed', 'keyless', 'indexed', 'low', 'parted', 'keyed, indexed, unheld'])}`,
    () =>
      `alter table parted detach partition high; alter table parted attach partition high for values from (2) to (100000)`,
  ])();
}

function statement(random: Chance): string {
  const { table, columns } = random.of(SHAPES.filter((shape) => shape.table !== 'low' && shape.table !== 'high'));
  const target = random.below(4) === 0 ? 'parted' : table;
  const known: Readonly<Record<string, readonly string[]>> = target === 'parted' ? { id: NUMBERS, ...COMMON } : columns;
  const value = (name: string): string => {
    if (name === 'big') return random.of(['null', `repeat('${random.of(['x', 'y'])}', ${3000 + random.below(5000)})`]);
    if (name === 'extra') return random.of(['null', "'e'", "'f'"]);
    const constants = known[name] as readonly string[];
    return name !== 'id' && name !== 'k' && random.below(5) === 0 ? 'null' : random.of(constants);
  };
  const names = [...Object.keys(known), 'big', 'extra'];
  const key = target === 'keyless' ? null : target === 'indexed' ? 'k' : 'id';
  const fresh = (name: string): string => {
    const serial = random.next();
    return name === 'id' ? String(100 + (serial % 40_000)) : `'k${serial}'`;
  };
  const some = (): string => {
    const [name, constants] = random.of(Object.entries(known));
    return random.below(3) === 0 ? 'true' : `${name} = ${random.of(constants)}`;
  };
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2: {
      const rows = Array.from({ length: 1 + random.below(4) }, () =>
        names.map((name) => (name === key && random.below(3) > 0 ? fresh(name) : value(name))).join(', '),
      );
      return `insert into ${target} (${names.join(', ')}) values (${rows.join('), (')})${key === null ? '' : ' on conflict do nothing'}`;
    }
    case 3:
      return `delete from ${target} where ${some()} and ${some()}`;
    case 4:
      return key === null
        ? `update ${target} set big = ${value('big')} where ${some()}`
        : `update ${target} set ${key} = ${key === 'id' ? 'id + 40001' : "k || 'z'"} where ${some()}`;
    case 5:
      return `insert into unheld values (${random.next()}, 'u')`;
    default: {
      const set = random.some(names.filter((name) => name !== key)).map((name) => `${name} = ${value(name)}`);
      return `update ${target} set ${set.join(', ')} where ${some()}`;
    }
  }
}

async function expected(postgres: TestPostgres, placed: readonly Placed[]): Promise<Expected[]> {
  const result: Expected[] = [];
  for (const one of placed) {
    const order = await postgres.sql(
      `select attname::text as name from pg_attribute where attrelid = '${one.table}'::regclass and attnum > 0 and not attisdropped order by attnum`,
    );
    const all = order.map((row) => String(row['name']));
    const columns = one.all ? all : all.filter((name) => one.columns.includes(name));
    result.push({ table: one.table, columns, ...(one.where === undefined ? {} : { where: one.where }) });
  }
  return result;
}
