// What this edge knows about the core beside the replicated catalogue: the defaults of its role, which tables the role may
// read, which schemas exist. Asked over one connection of its own, at the start, when the schema changes and every 30 s;
// remembered on disk, so that a restart without the core answers as before.
//
// Loops: refresh (while connected), connect again with backoff (while not).

import { Backoff } from '../base/backoff.ts';
import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { describeError } from '../base/fault.ts';
import type { Random } from '../base/random.ts';
import { type Service, sleepQuietly } from '../base/service.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Log } from '../observe/log.ts';
import type { Catalogue } from '../replica/catalogue.ts';
import type { ClientSession } from '../session/client-session.ts';
import {
  BUILT_IN_SETTINGS,
  type Defaults,
  NEWER_SETTINGS,
  PROBED_SETTINGS,
  quoteLiteral,
  type SettingsOwner,
} from './settings.ts';
import type { LocalPlan } from './sql/plan.ts';
import { NO_SHADOWS, SHADOWS_SQL, type Shadows, shadowsOf } from './sql/shadows.ts';

const REFRESH_MS = 30_000;

/** After a schema change the core is asked a little later: changes come in bunches. */
const SETTLE_MS = 50;

const BACKOFF = { firstMs: 200, maxMs: 5_000 };

export interface CoreFacts {
  /** Role that forwarded statements and local answers act as. */
  readonly user: string;
  /** ParameterStatus values of a fresh session. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Lower-case name → value, for settings that local answers depend on. */
  readonly defaults: Defaults;
  /** OIDs of tables the role may SELECT from as a whole. */
  readonly readableTables: readonly number[];
  readonly schemas: readonly string[];
  /** The database's own functions and operators that hide built-in ones: see sql/shadows.ts. */
  readonly shadows: readonly string[];
  /** `schema.name` of everything that can stand in FROM, as JSON texts of [schema, name]. */
  readonly relations: readonly string[];
}

export interface CoreKnowledgeDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly random: Random;
  readonly log: Log;
  readonly feed: ReplicaFeed;
  readonly connect: () => Promise<ClientSession>;
}

const SETTINGS_SQL = `SELECT pg_catalog.lower(name), pg_catalog.current_setting(name, true) FROM pg_catalog.unnest(ARRAY[${[
  ...new Set([
    ...PROBED_SETTINGS.filter((name) => name !== 'application_name'),
    ...Object.keys(BUILT_IN_SETTINGS),
    ...NEWER_SETTINGS,
  ]),
]
  .filter((name) => name !== 'application_name')
  .map(quoteLiteral)
  .join(', ')}]) AS name`;

const TABLES_SQL = `SELECT c.oid::pg_catalog.text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  UNION ALL
  SELECT c.oid::pg_catalog.text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'v' AND c.oid >= 16384
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
    WHERE r.ev_class = c.oid AND NOT pg_catalog.has_table_privilege(c.relowner, d.refobjid, 'SELECT'))`;

const SCHEMAS_SQL = `SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast|temp)' AND pg_catalog.has_schema_privilege(oid, 'USAGE')`;

const RELATIONS_SQL = `SELECT pg_catalog.json_build_array(n.nspname, c.relname) FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)'`;

export class CoreKnowledge implements Service, SettingsOwner {
  readonly name = 'edge.core-facts';
  readonly #deps: CoreKnowledgeDeps;
  readonly #path: string;
  readonly #userConfigured: string;
  readonly #writes: boolean;
  #facts: CoreFacts | null = null;
  #readable: ReadonlySet<number> = new Set();
  #schemas: ReadonlySet<string> = new Set();
  #shadows = NO_SHADOWS;
  #relations: ReadonlySet<string> = new Set();
  #version = 0;
  #session: ClientSession | null = null;
  #wake: (() => void) | null = null;
  #schemaVersion = -1;

  /** `path`: the file in which the facts are remembered, written by one process of an edge only (`writes`). */
  constructor(deps: CoreKnowledgeDeps, path: string, userConfigured: string, writes: boolean) {
    this.#deps = deps;
    this.#path = path;
    this.#userConfigured = userConfigured;
    this.#writes = writes;
  }

  get facts(): CoreFacts | null {
    return this.#facts;
  }

  /** Grows with each change of the facts. */
  get version(): number {
    return this.#version;
  }

  get user(): string {
    return this.#facts?.user ?? this.#userConfigured;
  }

  /** True while the connection for the facts stands: the core can be reached. */
  get reachable(): boolean {
    return this.#session !== null;
  }

  defaults(): Defaults {
    return this.#facts?.defaults ?? BUILT_IN_SETTINGS;
  }

  hasSchema(name: string): boolean {
    return this.#facts === null || this.#schemas.has(name);
  }

  /** Another object when it has changed. */
  get shadows(): Shadows {
    return this.#shadows;
  }

  /** Whether the role may read all tables of a plan; unknown is no. */
  mayRead(plan: LocalPlan): boolean {
    for (const oid of plan.tables) if (!this.#readable.has(oid)) return false;
    return true;
  }

  /**
   * True when something that is not replicated stands before one of the plan's tables in search_path, under its name: then
   * the core may mean that. (A table that was named with its schema is forwarded for nothing.)
   */
  isHidden(plan: LocalPlan, searchPath: readonly string[], catalogue: Catalogue): boolean {
    if (searchPath.length < 2) return false;
    for (const oid of plan.tables) {
      const table = catalogue.table(oid);
      if (table === undefined) return true;
      for (const schema of searchPath) {
        if (schema === table.schema) break;
        if (this.#relations.has(relationKey(schema, table.name)) && catalogue.find(schema, table.name) === undefined)
          return true;
      }
    }
    return false;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, feed, log, random } = this.#deps;
    await this.#recall();
    const backoff = new Backoff(random, BACKOFF);
    using _subscription = feed.subscribe((state) => {
      if (state.schemaVersion === this.#schemaVersion) return;
      this.#schemaVersion = state.schemaVersion;
      this.#wake?.();
    });
    while (!signal.aborted) {
      try {
        await this.#follow(signal, backoff);
      } catch (error) {
        if (signal.aborted) break;
        const waitMs = backoff.next();
        if (backoff.failures === 1) {
          log.warn('edge.core-away', {
            message: `cannot ask the core: ${describeError(error)}`,
            waitMs: Math.round(waitMs),
          });
        }
        await sleepQuietly(clock, waitMs, signal);
      } finally {
        await this.#close();
      }
    }
  }

  /** Asks the core now; for tests and for a start that wants to be complete. */
  async refresh(session: ClientSession): Promise<void> {
    const settings = await session.query(SETTINGS_SQL);
    const tables = await session.query(TABLES_SQL);
    const schemas = await session.query(SCHEMAS_SQL);
    const shadows = await session.query(SHADOWS_SQL);
    const relations = await session.query(RELATIONS_SQL);
    const user = await session.query('SELECT current_user');
    const facts: CoreFacts = {
      user: user.rows[0]?.[0] ?? this.#userConfigured,
      parameters: Object.fromEntries(session.parameters),
      defaults: {
        ...BUILT_IN_SETTINGS,
        ...Object.fromEntries(settings.rows.filter(([, value]) => value !== null && value !== undefined)),
      },
      readableTables: tables.rows.map(([oid]) => Number(oid)).sort((a, b) => a - b),
      schemas: schemas.rows.map(([name]) => String(name)).sort(),
      shadows: shadows.rows.map(([name]) => String(name)).sort(),
      relations: relations.rows.map(([name]) => JSON.stringify(JSON.parse(String(name)))).sort(),
    };
    const text = JSON.stringify(facts);
    if (this.#facts !== null && JSON.stringify(this.#facts) === text) return;
    this.#take(facts);
    if (this.#writes) await this.#deps.disk.writeTextAtomically(this.#path, text);
  }

  async #follow(signal: AbortSignal, backoff: Backoff): Promise<void> {
    const { clock, log } = this.#deps;
    const session = await this.#deps.connect();
    const gone = new Promise<void>((resolve) => {
      session.events = { closed: () => resolve() };
    });
    this.#session = session;
    if (backoff.failures > 0) log.info('edge.core-back', { message: 'the core answers again' });
    while (!signal.aborted && !session.closed) {
      const asked = this.#schemaVersion;
      await this.refresh(session);
      backoff.reset();
      // The catalogue changed while we asked, when nobody was there to be woken.
      if (asked !== this.#schemaVersion) continue;
      const again = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const cut = new AbortController();
      const both = AbortSignal.any([signal, cut.signal]);
      const why = await Promise.race([
        sleepQuietly(clock, REFRESH_MS, both).then(() => 'time' as const),
        again.then(() => 'schema' as const),
        gone.then(() => 'gone' as const),
      ]);
      cut.abort();
      this.#wake = null;
      if (why === 'gone') throw new Error('the core closed the connection');
      if (why === 'schema') await sleepQuietly(clock, SETTLE_MS, signal);
    }
  }

  async #close(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    if (session !== null && !session.closed) await session.close();
  }

  async #recall(): Promise<void> {
    const { disk, log } = this.#deps;
    try {
      if (!(await disk.exists(this.#path))) return;
      this.#take(JSON.parse(await disk.readText(this.#path)) as CoreFacts);
    } catch (error) {
      log.warn('edge.facts-unreadable', { message: `${this.#path} is ignored: ${describeError(error)}` });
    }
  }

  #take(facts: CoreFacts): void {
    this.#facts = facts;
    this.#readable = new Set(facts.readableTables);
    this.#schemas = new Set(facts.schemas);
    // Absent in facts remembered by an older version: then they are asked for soon.
    this.#shadows = shadowsOf(facts.shadows ?? []);
    this.#relations = new Set(facts.relations ?? []);
    this.#version += 1;
  }
}

function relationKey(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}
