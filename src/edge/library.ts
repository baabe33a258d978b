// An edge's replica read from within a program of one's own: the same plans, the same SQLite file, no socket between. What the planner
// cannot prove to answer as Postgres does is refused here, because there is no core to ask.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { ReplicaFeed, ReplicaState } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import { quoteIdentifier, quoteQualified } from '../pg/identifier.ts';
import { formatLsn, LSN_ZERO, parseLsn } from '../pg/lsn.ts';
import { OID } from '../pg/oid.ts';
import type { SqliteValue } from '../replica/sqlite.ts';
import type { CoreFacts } from './core-facts.ts';
import { LocalEngine } from './local.ts';
import { BUILT_IN_SETTINGS, SessionSettings, splitIdentifiers } from './settings.ts';
import type { ColumnPlan } from './sql/plan.ts';
import { Planner, PLANNER_DEFAULTS } from './sql/planner.ts';
import { readText } from './sql/read.ts';
import { NO_SHADOWS, shadowsOf } from './sql/shadows.ts';
import { parseToken } from './token.ts';

/** What a parameter may be. */
export type EdgeParameter = string | number | bigint | boolean | Date | Uint8Array | null;

/**
 * What a column gives: whole numbers of four bytes and floats as number, int8 as bigint, bool as boolean, bytea as Uint8Array, json and jsonb
 * parsed, NULL as null, all else the text that Postgres prints (UTC, ISO dates).
 */
export type EdgeValue = unknown;

export type EdgeRow = Record<string, EdgeValue>;

export interface EdgeLibraryDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** The SQLite file. */
  readonly path: string;
  /** Another number whenever another file stands at the path: a new snapshot was put in place. */
  readonly fileIdentity: () => number;
  /** What the edge's server last learned from the core; null when it never asked. */
  readonly facts: CoreFacts | null;
}

/** The file is looked at again, for a new snapshot, after this long. */
const LOOK_EVERY_MS = 50;

const WAIT_EVERY_MS = 2;

/** Rows that one statement may give: the program's own thread does the work. */
const ROWS_MAX = 100_000;

const KEY_TEXTS_MAX = 1000;

export class EdgeReader implements Disposable {
  readonly #clock: Clock;
  readonly #engine: LocalEngine;
  readonly #settings: SessionSettings;
  /** The statement of `get`, by table. */
  readonly #keyTexts = new Map<string, { readonly text: string; readonly columns: number }>();
  #keyVersion = -1;

  constructor(deps: EdgeLibraryDeps) {
    const { clock, log, facts } = deps;
    this.#clock = clock;
    const shadows = facts === null ? NO_SHADOWS : shadowsOf(facts.shadows ?? []);
    const owner = {
      user: facts?.user ?? '',
      version: 1,
      defaults: () => ({ ...(facts?.defaults ?? BUILT_IN_SETTINGS), ...PRINTED }),
      hasSchema: (name: string) => facts === null || facts.schemas.includes(name),
    };
    this.#engine = new LocalEngine({
      clock,
      log,
      feed: new FileFeed(deps),
      planner: (catalogue) => new Planner(catalogue, PLANNER_DEFAULTS, () => shadows),
      user: () => owner.user,
    });
    this.#settings = new SessionSettings(owner);
    this.#settings.start({});
  }

  /** Position of what is read in this turn of the event loop: `0/16B3748`. */
  get lsn(): string {
    return formatLsn(this.#engine.position);
  }

  /**
   * The row with this primary key, null when there is none. `table` is `schema.table`, or `table` in public.
   * Throws Fault `table-unknown`, `key-incomplete`, `not-local`, `replica-not-ready`.
   */
  get(table: string, ...key: EdgeParameter[]): EdgeRow | null {
    const version = this.#engine.version;
    if (version !== this.#keyVersion || this.#keyTexts.size > KEY_TEXTS_MAX) {
      this.#keyTexts.clear();
      this.#keyVersion = version;
    }
    let sql = this.#keyTexts.get(table);
    if (sql === undefined || sql.columns !== key.length) {
      sql = { text: this.#keySql(table, key.length), columns: key.length };
      this.#keyTexts.set(table, sql);
    }
    return this.query(sql.text, key)[0] ?? null;
  }

  /**
   * Rows of a SELECT, `$1…` for parameters. Statements in one turn of the event loop see one state.
   * Throws Fault `not-local`, with the reason, for what only the core may answer; `value-invalid`, `result-too-large`.
   */
  query(sql: string, parameters: readonly EdgeParameter[] = []): EdgeRow[] {
    const engine = this.#engine;
    const settings = this.#settings;
    const { plan, literals } = engine.statement(sql, NO_TYPES, settings);
    if (plan.kind !== 'local') {
      throw new Fault('not-local', {
        message: `this statement cannot be answered from the replica: ${plan.kind === 'forward' ? plan.detail : `it is no SELECT (${plan.kind})`}`,
        hint: 'ask the edge’s PostgreSQL port, which forwards it',
        sqlstate: '0A000',
      });
    }
    if (plan.parameterTypes.length !== parameters.length) {
      throw new Fault('value-invalid', {
        message: `the statement has ${plan.parameterTypes.length} parameters, ${parameters.length} were given`,
        sqlstate: '08P01',
      });
    }
    const prepared = engine.prepare(plan);
    if (prepared === null || (settings.needsBroken & (plan.needs | prepared.textNeeds)) !== 0) throw notReady();
    const values = engine.bind(plan, literals, { formats: NO_TYPES, values: parameters.map(parameterBytes) }, settings);
    if (values === null) {
      throw new Fault('value-invalid', {
        message: 'Postgres would refuse one of the parameters, or read it in a way that only it knows',
        sqlstate: '22023',
      });
    }
    const rows = prepared.readAll(values, ROWS_MAX);
    if (rows === null) {
      throw new Fault('result-too-large', {
        message: `the statement failed, or gives more than ${ROWS_MAX} rows`,
        hint: 'add a LIMIT, or ask the edge’s PostgreSQL port',
        sqlstate: '54000',
      });
    }
    const { columns } = plan;
    return rows.map((row) => {
      const object: EdgeRow = {};
      for (let index = 0; index < columns.length; index += 1) {
        const column = columns[index] as ColumnPlan;
        object[column.name] = valueOf(column, row[index] as SqliteValue);
      }
      return object;
    });
  }

  /**
   * Waits until a read here sees a position (an LSN, or a token of `skerry.token()`); false when that takes longer than `waitMs`. The file
   * says how far its last change of rows is: a later position, of something that no replicated table saw, is reached with the next change.
   */
  async waitFor(position: string, waitMs: number): Promise<boolean> {
    const lsn = position.includes('/') ? parseLsn(position) : parseToken(position).lsn;
    const deadline = this.#clock.now() + waitMs;
    for (;;) {
      this.#engine.renew();
      if (this.#engine.position >= lsn) return true;
      if (this.#clock.now() >= deadline) return false;
      await this.#clock.sleep(WAIT_EVERY_MS);
    }
  }

  close(): void {
    this.#engine.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #keySql(name: string, given: number): string {
    const { catalogue } = this.#engine;
    if (catalogue === null) throw notReady();
    const parts = splitIdentifiers(name.replaceAll('.', ','));
    const [schema, table] = parts.length === 1 ? ['public', parts[0] as string] : (parts as [string, string]);
    const image = parts.length > 2 ? undefined : catalogue.find(schema, table);
    if (image === undefined)
      throw new Fault('table-unknown', { message: `there is no table ${name} here`, sqlstate: '42P01' });
    const keys = image.primaryKeyAttnums.map(
      (attnum) => image.columns.find((column) => column.attnum === attnum)?.name ?? '',
    );
    if (keys.length === 0 || keys.length !== given) {
      throw new Fault('key-incomplete', {
        message: `the primary key of ${name} has ${keys.length} values, not ${given}`,
        hint: keys.length === 0 ? 'use query' : `give ${keys.join(', ')}`,
        sqlstate: '22023',
      });
    }
    const condition = keys.map((key, index) => `${quoteIdentifier(key)} = $${index + 1}`).join(' AND ');
    const columns = image.columns.filter(({ replicated }) => replicated).map((column) => quoteIdentifier(column.name));
    return `SELECT ${columns.join(', ')} FROM ${quoteQualified(schema, table)} WHERE ${condition}`;
  }
}

const NO_TYPES: readonly number[] = [];

/** Whatever the core's defaults are: values print in one way. */
const PRINTED = {
  timezone: 'UTC',
  datestyle: 'ISO, MDY',
  intervalstyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
};

/** A file that somebody else writes: always as far as it is. */
class FileFeed implements ReplicaFeed {
  readonly path: string;
  readonly #clock: Clock;
  readonly #fileIdentity: () => number;
  #identity: number | null = null;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #current: ReplicaState = {
    state: 'streaming',
    reason: 'read from a file',
    epoch: null,
    // Only the file itself knows.
    position: LSN_ZERO,
    upstreamPosition: LSN_ZERO,
    generation: 0,
    schemaVersion: 0,
    proofs: 0,
    rows: 0,
    tables: 0,
  };

  constructor({ clock, path, fileIdentity }: EdgeLibraryDeps) {
    this.#clock = clock;
    this.path = path;
    this.#fileIdentity = fileIdentity;
  }

  get current(): ReplicaState {
    const now = this.#clock.now();
    if (now - this.#lookedAtMs >= LOOK_EVERY_MS) {
      this.#lookedAtMs = now;
      const identity = this.#fileIdentity();
      if (identity !== this.#identity) {
        this.#identity = identity;
        this.#current = { ...this.#current, generation: this.#current.generation + 1 };
      }
    }
    return this.#current;
  }

  lagMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  ageMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  subscribe(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }
}

function notReady(): Fault {
  return new Fault('replica-not-ready', {
    message: 'the replica cannot be read now',
    hint: 'is an edge running on this folder, and has it its first snapshot?',
    sqlstate: '57P03',
    retryable: true,
  });
}

function parameterBytes(value: EdgeParameter): Buffer | null {
  if (value === null) return null;
  if (typeof value === 'string') return Buffer.from(value);
  if (value instanceof Date) return Buffer.from(value.toISOString());
  if (value instanceof Uint8Array) return Buffer.from(`\\x${Buffer.from(value).toString('hex')}`);
  return Buffer.from(String(value));
}

function valueOf(column: ColumnPlan, value: SqliteValue): EdgeValue {
  if (value === null) return null;
  switch (column.typeOid) {
    case OID.int2:
    case OID.int4:
    case OID.oid:
      return Number(value);
    case OID.int8:
      return BigInt(value as number);
    case OID.float4:
    case OID.float8:
      // NaN is kept as a text.
      return Number(value);
    case OID.bool:
      return value !== 0;
    case OID.bytea:
      return value;
    case OID.json:
    case OID.jsonb:
      return JSON.parse(value as string);
    default:
      return column.reader === 'text' ? value : readText(column.reader, value);
  }
}
