// What we do with the core besides streaming: look at it, put our objects into it, take them away, copy it once.

import type { Disk } from '../../base/disk.ts';
import { describeError, Fault } from '../../base/fault.ts';
import type { CatalogueImage, TableImage, TypeImage } from '../../contracts/catalogue.ts';
import type { Log } from '../../observe/log.ts';
import { formatLsn, type Lsn, parseLsn, type Position } from '../../pg/lsn.ts';
import { isStored } from '../../replica/layout.ts';
import { ReplicaLoader } from '../../replica/loader.ts';
import { removeReplica } from '../../replica/snapshot.ts';
import { ClientSession, type ClientOptions, type SessionWorld } from '../../session/client-session.ts';
import { ServerError } from '../../session/faults.ts';
import { quoteName } from '../../wire/replication.ts';
import { connectUpstream } from '../upstream.ts';
import {
  CATALOGUE_SEARCH_PATH,
  DATABASE_FACTS_SQL,
  PINNED_SETTINGS,
  sqlLiteral,
  sqlName,
  tableImagesSql,
  TYPE_IMAGES_SQL,
} from './catalogue-sql.ts';
import { openTransactions } from './open-transactions.ts';
import type { ObservedCore, ObservedSlot } from './resume.ts';
import {
  cleanSql,
  commentSql,
  createPublicationSql,
  eventTriggerNames,
  eventTriggersSql,
  namespaceOf,
  setupComment,
} from './setup-sql.ts';

export interface CoreOptions {
  readonly client: ClientOptions;
  readonly publication: string;
  readonly slot: string;
  /** `schema.name` of the tables to publish when we make the publication; empty takes all. */
  readonly tables: readonly string[];
}

export interface CopyProgress {
  readonly tablesTotal: number;
  tablesDone: number;
  rows: number;
  bytes: number;
  /** Open transactions that the copy cannot begin before; null while it goes on. */
  waitingFor: string | null;
}

/** How often it is looked who keeps a copy from beginning. */
const BLOCKED_LOOK_MS = 2_000;
/** Below Postgres's own deadlock_timeout of a second. */
const LOCK_WAIT_MS = 500;
/** SQLSTATE of NOWAIT and lock_timeout. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Sessions that copy at once. */
const COPY_SESSIONS = 2;
/** How often a copy is begun again because tables changed under it. */
const COPY_TRIES_MAX = 5;

export class Core {
  readonly #world: SessionWorld;
  readonly #log: Log;
  readonly options: CoreOptions;
  /** False when this role may not create event triggers: schema changes are found by comparing (see fallback.ts). */
  hasEventTriggers = false;
  #warned = false;

  constructor(world: SessionWorld, log: Log, options: CoreOptions) {
    this.#world = world;
    this.#log = log;
    this.options = options;
  }

  /** An ordinary session with ordinary settings. */
  connect(): Promise<ClientSession> {
    return ClientSession.connect(this.#world, this.options.client);
  }

  /** An ordinary session under the stream's settings. */
  async #connectPinned(): Promise<ClientSession> {
    const session = await this.connect();
    for (const [name, value] of Object.entries(PINNED_SETTINGS)) {
      await session.query(`SET ${name} = ${sqlLiteral(value)}`);
    }
    await session.query(`SET search_path = ${CATALOGUE_SEARCH_PATH}`);
    // A row that a policy hides would be missing on every replica: better an error.
    await session.query(
      'SET row_security = off; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0',
    );
    return session;
  }

  /** Makes publication and event triggers, as far as they are missing. Changes nothing in a publication that exists. */
  async setUp(): Promise<void> {
    await using session = await this.connect();
    const { publication, tables } = this.options;
    const exists = await session.query(
      `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot
       FROM pg_catalog.pg_publication WHERE pubname = ${sqlLiteral(publication)}`,
    );
    if (exists.rows[0]?.[0] === 'f') throw unfaithfulPublication(publication);
    if (exists.rows.length === 0) {
      await session.query(createPublicationSql(publication, await resolveTables(session, tables)));
      this.#log.info('core.publication-created', { message: `created publication ${publication}` });
    }
    const statements = eventTriggersSql(publication);
    const digest = Buffer.from(this.#world.crypto.sha256(Buffer.from(statements.join(';')))).toString('hex', 0, 6);
    this.hasEventTriggers = await hasEventTriggers(session, publication, digest);
    if (this.hasEventTriggers) return;
    try {
      await session.query(`BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(${SETUP_LOCK})`);
      for (const statement of [...statements, commentSql(publication, digest)]) await session.query(statement);
      await session.query('COMMIT');
      this.hasEventTriggers = true;
      this.#log.info('core.event-triggers-created', {
        message: `created schema ${namespaceOf(publication)} and its event triggers`,
      });
    } catch (error) {
      await session.query('ROLLBACK');
      if (!(error instanceof ServerError) || error.sqlstate !== '42501') throw error;
      if (this.#warned) return;
      this.#warned = true;
      this.#log.warn('core.no-event-triggers', {
        message:
          'this role may not create event triggers: schema changes are noticed at the next row of a table, and those that cannot be told from it lead to a new copy',
      });
    }
  }

  /** Removes slot, publication, event triggers and schema of ours from the database; tables stay. */
  async clean(): Promise<void> {
    await using session = await this.connect();
    const { slot, publication } = this.options;
    const owned = await session.query(namespaceCommentSql(publication));
    await dropSlot(session, slot);
    const isOurs = owned.rows.length > 0 || publication === 'skerry';
    for (const statement of cleanSql(publication, isOurs)) await session.query(statement);
  }

  /**
   * Removes what ephemeral worlds left that were killed: slots and publications named like ours with eight hex digits more. What
   * is in use is left. Gives the suffixes of both kinds.
   */
  async cleanLeftOvers(): Promise<{ readonly removed: readonly string[]; readonly inUse: readonly string[] }> {
    await using session = await this.connect();
    const { slot, publication } = this.options;
    const like = (column: string, name: string): string =>
      `pg_catalog.left(${column}, -8) = ${sqlLiteral(`${name}_`)} AND pg_catalog.right(${column}, 8) ~ '^[0-9a-f]{8}$'`;
    const found = await session.query(
      `SELECT pg_catalog.right(name, 8), pg_catalog.bool_or(used) FROM (
         SELECT slot_name::text AS name, active AS used FROM pg_catalog.pg_replication_slots
           WHERE database = pg_catalog.current_database() AND ${like('slot_name', slot)}
         UNION ALL SELECT pubname, false FROM pg_catalog.pg_publication WHERE ${like('pubname', publication)}) x
       GROUP BY 1 ORDER BY 1`,
    );
    const removed: string[] = [];
    const inUse: string[] = [];
    for (const [suffix, used] of found.rows) {
      if (used === 't') {
        inUse.push(String(suffix));
        continue;
      }
      await dropSlot(session, `${slot}_${suffix}`);
      for (const statement of cleanSql(`${publication}_${suffix}`, true)) await session.query(statement);
      removed.push(String(suffix));
    }
    return { removed, inUse };
  }

  /** Drops our slot; no error when it is not there. */
  async dropSlot(): Promise<void> {
    await using session = await this.connect();
    await dropSlot(session, this.options.slot);
  }

  /** A transaction of a few bytes, so that what waits for one need not wait for a user's. */
  async commitSomething(): Promise<void> {
    await using session = await this.connect();
    await session.query(`SELECT pg_catalog.pg_logical_emit_message(true, 'skerry.tick', '')`);
  }

  /** What the decision to resume needs to know. */
  async observe(): Promise<ObservedCore> {
    const upstream = await connectUpstream(this.#world, this.options.client);
    try {
      const identity = await upstream.identify();
      const timelineHistory = await upstream.timelineHistory(identity.epoch.timeline);
      await using session = await this.connect();
      return {
        epoch: identity.epoch,
        flushLsn: identity.flushLsn,
        database: identity.database,
        timelineHistory,
        slot: await observeSlot(session, this.options.slot),
        publication: await publicationDigest(session, this.options.publication),
      };
    } finally {
      upstream.session.destroy();
    }
  }

  /** Database facts, tables and types, now. */
  async catalogue(session: ClientSession): Promise<CatalogueImage> {
    const publication = sqlLiteral(this.options.publication);
    const facts = await this.#facts();
    const tables = await jsonOf<TableImage[]>(session, tableImagesSql(publication, null));
    const types = await jsonOf<TypeImage[]>(session, TYPE_IMAGES_SQL);
    // Without event triggers nobody would say that a view is another one now.
    return { ...facts, tables: this.hasEventTriggers ? tables : tables.filter((table) => table.kind !== 'v'), types };
  }

  /** The same; Fault `copy-tables-changed` when somebody is changing a table. */
  async #unlockedCatalogue(session: ClientSession): Promise<CatalogueImage> {
    try {
      return await this.catalogue(session);
    } catch (error) {
      if (error instanceof ServerError && error.sqlstate === LOCK_NOT_AVAILABLE) throw tablesChanged();
      throw error;
    }
  }

  async #facts(): Promise<Omit<CatalogueImage, 'tables' | 'types'>> {
    await using session = await this.connect();
    return await jsonOf(session, DATABASE_FACTS_SQL);
  }

  /** Images of tables as they are now, by OID: for when there is no event trigger to say. */
  async tablesNow(oids: readonly number[]): Promise<{ tables: TableImage[]; types: TypeImage[] }> {
    await using session = await this.#connectPinned();
    const only = `ARRAY[${oids.join(', ')}]::oid[]`;
    return {
      tables: await jsonOf(session, tableImagesSql(sqlLiteral(this.options.publication), only)),
      types: await jsonOf(session, TYPE_IMAGES_SQL),
    };
  }

  /**
   * Copies all published tables into a new replica at `target`: the slot is made first, and everything is read in the snapshot
   * that belongs to it, so that the stream goes on exactly where the copy ends. Starts over when tables change meanwhile.
   */
  async copy(
    disk: Disk,
    target: string,
    progress: (progress: CopyProgress) => void,
    signal: AbortSignal,
  ): Promise<Copied> {
    for (let tries = 1; ; tries += 1) {
      await removeReplica(disk, target);
      try {
        return await this.#copyOnce(target, progress, signal);
      } catch (error) {
        await removeReplica(disk, target);
        const again = error instanceof Fault && error.code === 'copy-tables-changed';
        if (!again || tries === COPY_TRIES_MAX) throw error;
        this.#log.info('core.copy-again', { message: describeError(error) });
      }
    }
  }

  async #copyOnce(target: string, progress: (progress: CopyProgress) => void, signal: AbortSignal): Promise<Copied> {
    const { slot } = this.options;
    await this.dropSlot();
    const upstream = await connectUpstream(this.#world, this.options.client);
    const sessions: ClientSession[] = [];
    const stop = (): void => {
      upstream.session.destroy();
      for (const session of sessions) session.destroy();
    };
    signal.addEventListener('abort', stop);
    let loader: ReplicaLoader | null = null;
    try {
      const identity = await upstream.identify();
      const timelineHistory = await upstream.timelineHistory(identity.epoch.timeline);
      const failover = Number(upstream.session.parameters.get('server_version')?.split(/\D/)[0]) >= 17;
      this.#log.info('core.slot-creating', {
        message: `creating slot ${slot}; waits for the transactions that run now`,
      });
      const created = await this.#whileBlocked(
        upstream.session.query(
          `CREATE_REPLICATION_SLOT ${quoteName(slot)} LOGICAL pgoutput (SNAPSHOT 'export'${failover ? ', FAILOVER' : ''})`,
        ),
        (waitingFor) => progress({ tablesTotal: 0, tablesDone: 0, rows: 0, bytes: 0, waitingFor }),
      );
      const lsn = parseLsn(String(created.rows[0]?.[1]));
      const snapshot = String(created.rows[0]?.[2]);
      // The snapshot lives until the next command there: all who need it take it now.
      for (let index = 0; index < COPY_SESSIONS; index += 1) {
        const session = await this.#connectPinned();
        sessions.push(session);
        await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
        await session.query(`SET TRANSACTION SNAPSHOT ${sqlLiteral(snapshot)}`);
      }
      const first = sessions[0] as ClientSession;
      // Views are printed with their tables locked: whoever changes one now may want another that we have.
      await first.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
      const image = await this.#unlockedCatalogue(first);
      const tables = image.tables.filter(isStored);
      await this.#lock(first, image, tables);
      loader = new ReplicaLoader(target, image);
      const state: CopyProgress = { tablesTotal: tables.length, tablesDone: 0, rows: 0, bytes: 0, waitingFor: null };
      progress(state);
      const queue = [...tables];
      const loading = loader;
      const contended: TableImage[] = [];
      await Promise.all(
        sessions.map((session) =>
          copyTables(session, loading, queue, state, progress, session === first ? null : contended),
        ),
      );
      await copyTables(first, loading, contended, state, progress, null);
      const position: Position = { epoch: identity.epoch, lsn };
      loader.finish(position);
      loader = null;
      const digest = await publicationDigest(first, this.options.publication);
      // Without this, nothing would be copied, and nothing would seem to be missing.
      if (digest === null) throw publicationMissing(this.options.publication);
      this.#log.info('core.copied', {
        message: `copied ${state.tablesTotal} tables, ${state.rows} rows, at ${formatLsn(lsn)}`,
      });
      return { position, timelineHistory, publication: digest, image };
    } finally {
      signal.removeEventListener('abort', stop);
      loader?.close();
      for (const session of sessions) session.destroy();
      upstream.session.destroy();
    }
  }

  /** Waits for a slot being made, and says from time to time who is in its way. */
  async #whileBlocked<T>(made: Promise<T>, blocked: (who: string) => void): Promise<T> {
    const done = new AbortController();
    const look = async (): Promise<void> => {
      await using session = await this.connect();
      let told = '';
      for (;;) {
        await this.#world.clock.sleep(BLOCKED_LOOK_MS, done.signal);
        const who = await openTransactions(session);
        if (who === null || done.signal.aborted) continue;
        blocked(who);
        if (who !== told) this.#log.warn('core.slot-waits', { message: `the copy can begin when these end: ${who}` });
        told = who;
      }
    };
    // Looking is a courtesy: whatever becomes of it, the slot is what counts.
    const looking = look().catch(() => {});
    try {
      return await made;
    } finally {
      done.abort();
      await looking;
    }
  }

  /** Keeps tables from changing while they are copied, and checks that they did not before that. */
  async #lock(session: ClientSession, image: CatalogueImage, tables: readonly TableImage[]): Promise<void> {
    // Whoever changes a table now may want one next that we have locked: we give up before Postgres finds a deadlock and
    // ends his transaction.
    await session.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
    for (const table of tables) {
      try {
        await session.query(`LOCK TABLE ${lockName(table)} IN ACCESS SHARE MODE`);
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        if (error.sqlstate === '42P01') throw tablesChanged();
        if (error.sqlstate === LOCK_NOT_AVAILABLE) throw tableLocked(table);
        throw error;
      }
    }
    await session.query('SET LOCAL lock_timeout = 0');
    await using fresh = await this.#connectPinned();
    await fresh.query(`SET lock_timeout = ${LOCK_WAIT_MS}`);
    const now = await this.#unlockedCatalogue(fresh);
    if (JSON.stringify(now.tables) !== JSON.stringify(image.tables)) throw tablesChanged();
  }
}

export interface Copied {
  readonly position: Position;
  readonly timelineHistory: string;
  readonly publication: string | null;
  readonly image: CatalogueImage;
}

// 'skry' as a number: two relays setting up at once take turns.
const SETUP_LOCK = 1936421497;

/**
 * Copies what is in `queue`. A table that somebody waits to change goes to `contended` instead: only the session that has
 * locked it already gets in, and any other would wait for who waits for that one, which Postgres does not see as a deadlock.
 */
async function copyTables(
  session: ClientSession,
  loader: ReplicaLoader,
  queue: TableImage[],
  state: CopyProgress,
  progress: (progress: CopyProgress) => void,
  contended: TableImage[] | null,
): Promise<void> {
  for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
    const { oid } = table;
    if (contended !== null && !(await lockAtOnce(session, table))) {
      contended.push(table);
      continue;
    }
    const columns = table.columns.filter((one) => one.replicated);
    const copy = loader.copy(
      oid,
      columns.map((one) => one.attnum),
    );
    const list = columns.map((one) => sqlName(one.name)).join(', ');
    const where = table.rowFilter === null ? '' : ` WHERE ${table.rowFilter}`;
    // ONLY is not allowed for a partitioned table that is published as a whole, and not needed there.
    const only = table.hasChildren && (await isPartitioned(session, oid)) ? '' : 'ONLY ';
    const before = loader.rowCount(oid);
    await session.copyOut(
      `COPY (SELECT ${list} FROM ${only}${sqlName(table.schema)}.${sqlName(table.name)}${where}) TO STDOUT`,
      (chunk) => {
        state.bytes += chunk.length;
        copy.push(chunk);
      },
    );
    copy.finish();
    state.rows += loader.rowCount(oid) - before;
    state.tablesDone += 1;
    progress(state);
  }
}

/** False when somebody else holds or waits for a lock that excludes us. */
async function lockAtOnce(session: ClientSession, table: TableImage): Promise<boolean> {
  await session.query('SAVEPOINT lock_at_once');
  try {
    await session.query(`LOCK TABLE ${lockName(table)} IN ACCESS SHARE MODE NOWAIT`);
    await session.query('RELEASE SAVEPOINT lock_at_once');
    return true;
  } catch (error) {
    if (!(error instanceof ServerError) || error.sqlstate !== LOCK_NOT_AVAILABLE) throw error;
    await session.query('ROLLBACK TO SAVEPOINT lock_at_once');
    return false;
  }
}

async function isPartitioned(session: ClientSession, oid: number): Promise<boolean> {
  const found = await session.query(`SELECT relkind = 'p' FROM pg_catalog.pg_class WHERE oid = ${oid}`);
  return found.rows[0]?.[0] === 't';
}

/** Whether all of this version's triggers are there and enabled. */
async function hasEventTriggers(session: ClientSession, publication: string, digest: string): Promise<boolean> {
  const names = eventTriggerNames(publication);
  const found = await session.query(
    `SELECT (SELECT count(*) FROM pg_catalog.pg_event_trigger WHERE evtenabled = 'A'
         AND evtname IN (${names.map(sqlLiteral).join(', ')}))::text, (${namespaceCommentSql(publication)})`,
  );
  const [count, comment] = found.rows[0] ?? [];
  return count === String(names.length) && comment === setupComment(digest);
}

/** One row with the comment of the schema for a publication; none without the schema. */
function namespaceCommentSql(publication: string): string {
  return `SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') FROM pg_catalog.pg_namespace n WHERE n.nspname = ${sqlLiteral(namespaceOf(publication))}`;
}

async function observeSlot(session: ClientSession, name: string): Promise<ObservedSlot | null> {
  // to_jsonb: columns that only newer versions have come as null from older ones.
  const found = await session.query(
    `SELECT plugin, database, confirmed_flush_lsn, wal_status, pg_catalog.to_jsonb(s) ->> 'invalidation_reason', active_pid, temporary
     FROM pg_catalog.pg_replication_slots s WHERE slot_name = ${sqlLiteral(name)}`,
  );
  const row = found.rows[0];
  if (row === undefined) return null;
  return {
    plugin: row[0] ?? '',
    database: row[1] ?? '',
    confirmedLsn: nullableLsn(row[2]),
    walStatus: row[3] ?? 'lost',
    invalidation: row[4] ?? null,
    activePid: row[5] === null || row[5] === undefined ? null : Number(row[5]),
    temporary: row[6] === 't',
  };
}

async function dropSlot(session: ClientSession, name: string): Promise<void> {
  await session.query(
    `SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
     WHERE slot_name = ${sqlLiteral(name)} AND active_pid IS NOT NULL`,
  );
  for (let tries = 1; ; tries += 1) {
    try {
      await session.query(
        `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = ${sqlLiteral(name)}`,
      );
      return;
    } catch (error) {
      // The walsender that was told to end needs a moment.
      if (!(error instanceof ServerError) || error.sqlstate !== '55006' || tries === 50) throw error;
      await session.query('SELECT pg_catalog.pg_sleep(0.1)');
    }
  }
}

/**
 * A digest of how the publication is defined; which tables FOR ALL TABLES means is told by the stream. With its OID: one that was
 * dropped and made again is another, for what was committed in between is sent by neither.
 */
async function publicationDigest(session: ClientSession, publication: string): Promise<string | null> {
  const found = await session.query(
    `SELECT pg_catalog.md5(pg_catalog.concat_ws(',', p.oid::bigint, p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
       (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', r.prrelid::bigint, r.prattrs::text, pg_catalog.pg_get_expr(r.prqual, r.prrelid)), ';' ORDER BY r.prrelid)
         FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid),
       (SELECT pg_catalog.string_agg(n.pnnspid::bigint::text, ';' ORDER BY n.pnnspid) FROM pg_catalog.pg_publication_namespace n WHERE n.pnpubid = p.oid)))
     FROM pg_catalog.pg_publication p WHERE p.pubname = ${sqlLiteral(publication)}`,
  );
  return found.rows[0]?.[0] ?? null;
}

async function jsonOf<T>(session: ClientSession, sql: string): Promise<T> {
  const found = await session.query(sql);
  return JSON.parse(String(found.rows[0]?.[0])) as T;
}

function nullableLsn(text: string | null | undefined): Lsn | null {
  return text === null || text === undefined ? null : parseLsn(text);
}

/** Names as in SQL (folded unless quoted, found along the search path), as `preflight` reads them too. */
async function resolveTables(
  session: ClientSession,
  names: readonly string[],
): Promise<{ schema: string; name: string }[]> {
  const resolved: { schema: string; name: string }[] = [];
  for (const text of names) {
    const found = await session.query(
      `SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.oid = pg_catalog.to_regclass(${sqlLiteral(text)}) AND c.relkind IN ('r', 'p')`,
    );
    const [schema, name] = found.rows[0] ?? [];
    if (typeof schema !== 'string' || typeof name !== 'string') {
      throw new Fault('table-missing', {
        message: `there is no table ${text} to publish`,
        hint: 'check --tables: names as in SQL, "Quoted" when they have capitals',
      });
    }
    resolved.push({ schema, name });
  }
  return resolved;
}

/** A copy that misses some kinds of change would differ from the core without anybody noticing (I3). */
function unfaithfulPublication(publication: string): Fault {
  return new Fault('publication-unfaithful', {
    message: `publication ${publication} leaves out some kinds of change, or hides partitions behind their parent`,
    hint: `ALTER PUBLICATION ${sqlName(publication)} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false);`,
    sqlstate: '55000',
  });
}

function tablesChanged(): Fault {
  return new Fault('copy-tables-changed', {
    message: 'tables were changed while the copy began; it begins again',
    retryable: true,
  });
}

function tableLocked(table: TableImage): Fault {
  return new Fault('copy-tables-changed', {
    message: `somebody holds a lock on ${lockName(table)} to change it; the copy begins again`,
    hint: 'it goes on when that transaction ends',
    retryable: true,
  });
}

function lockName(table: TableImage): string {
  return `${sqlName(table.schema)}.${sqlName(table.name)}`;
}

function publicationMissing(publication: string): Fault {
  return new Fault('publication-missing', {
    message: `publication ${sqlName(publication)} was dropped while the copy began`,
    hint: 'it is made again with the next try',
    retryable: true,
  });
}
