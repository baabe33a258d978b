// A client session's way to the core: opened at the first statement that needs it, brought to the session's settings and
// into its transaction, and asked afterwards what a later local answer must know (own writes, temporary tables, role).
//
//   closed ──prepare()──▶ open ──lost──▶ closed (what the session held there is gone: see `held`)

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import { quoteAlways } from '../pg/identifier.ts';
import { formatLsn, type Lsn, LSN_ZERO, parseLsn, type Position } from '../pg/lsn.ts';
import type { ErrorFields } from '../wire/backend.ts';
import { coreAwayFault } from './faults.ts';
import { PROBED_SETTINGS, quoteLiteral, type SessionSettings } from './settings.ts';
import type { BlockSnapshot } from './snapshots.ts';
import { Upstream, type UpstreamEvents, UpstreamLost } from './upstream.ts';
import type { PoolMember, UpstreamPool } from './upstream-pool.ts';

export type Isolation = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable';

/** How session and core stand inside a transaction block. */
export interface TransactionState {
  /** `none` outside a block; `local` while only local reads happened; `upstream` from the first forwarded statement on. */
  where: 'none' | 'local' | 'upstream';
  /** True between an error and the end of the block, or of the savepoint. */
  failed: boolean;
  /** What begins the block at the core: BEGIN as the client wrote it, and SET TRANSACTION after it. */
  beginSql: string;
  isolation: Isolation;
  isReadOnly: boolean;
  isDeferrable: boolean;
  /** A query ran in it. */
  hasRead: boolean;
  /** Of a REPEATABLE READ block that has read here. */
  snapshot: BlockSnapshot | null;
  /** The last block could not go on at the core with what it had read here: the next one is the core's from its BEGIN. */
  isNextUpstream: boolean;
}

export function newTransaction(): TransactionState {
  return {
    where: 'none',
    failed: false,
    beginSql: '',
    isolation: 'read committed',
    isReadOnly: false,
    isDeferrable: false,
    hasRead: false,
    snapshot: null,
    isNextUpstream: false,
  };
}

/** What the core holds for this session that cannot be made again on another connection. */
export type Held = 'temporary-tables' | 'role' | 'listen' | 'encoding' | 'unknown';

export interface ForwarderEvents extends Omit<UpstreamEvents, 'closed'> {
  /** The connection is gone; `held` is what went with it. */
  lost(held: Held | null): void;
  /** The connection was given up for another session's sake; nothing was held there. */
  released(): void;
  /** True when the session has nothing under way at the core. */
  isIdle(): boolean;
  /** Brings the rows of all open cursors here. */
  finishCursors(): Promise<void>;
  /** Messages were sent that the core has not been asked to end with a Sync: nothing of ours may come between. */
  isInBatch(): boolean;
  /** A statement of our own ran there: it destroys the unnamed prepared statement. */
  unnamedGone(): void;
}

export interface ForwarderDeps {
  readonly clock: Clock;
  readonly feed: ReplicaFeed;
  /** True when a local read now sees everything up to `lsn`. */
  readonly sees: (lsn: Lsn) => boolean;
  /** Where authenticated connections to the core come from. */
  readonly pool: Pick<UpstreamPool, 'open' | 'used'>;
  /** Why nothing may be forwarded here; null where it may. */
  readonly refusal: () => Fault | null;
  /** How long a local read waits for what it has to see, where `skerry.wait_ms` does not say. */
  readonly rywWaitMs: number;
  /** Name of the role that all clients act as. */
  readonly user: () => string;
}

/** What the next local answer of the session must respect, from one cheap query. `pg_my_temp_schema` is 0 without temporary tables. */
const PROBE_SQL = `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END, pg_catalog.pg_my_temp_schema() <> 0, current_user, EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), ${PROBED_SETTINGS.map(
  (name) => `pg_catalog.current_setting(${quoteLiteral(name)}, true)`,
).join(', ')}`;

const CURRENT_LSN_SQL = `SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END`;

/** An idle core tells its position once a second; longer than a few of these the edge is behind. */
const GO_ON_WAIT_MS = 3000;

/** Tags of statements that leave nothing behind on their connection but rows and known settings. */
const LEAVES_NOTHING =
  /^(INSERT|UPDATE|DELETE|MERGE|COPY|TRUNCATE|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|RESET|SHOW)\b/;

/** Tags of statements that may have made temporary tables; the next question tells. */
const MAY_MAKE_TABLES = /^(CREATE TABLE|DO|CALL)\b/;

export class Forwarder implements PoolMember {
  readonly #deps: ForwarderDeps;
  readonly #settings: SessionSettings;
  readonly #events: ForwarderEvents;
  #upstream: Upstream | null = null;
  #opening: Promise<Upstream> | null = null;
  /** A forwarded statement may have changed what local answers depend on; the core has to be asked first. */
  #unsure = false;
  /** The same before the block at the core. */
  #unsureBefore = true;
  #held: Held | null = null;
  /** Something ran that may have left behind what cannot be asked for (PREPARE, cursors, advisory locks …). */
  #mayKeep = false;
  #mayHaveTables = false;
  #probing: Promise<void> | null = null;
  /** The session's own writes are visible at this position. */
  #needed: Lsn = LSN_ZERO;
  /** Timeline of the token that asks for `#needed`: positions of an older one say nothing yet. */
  #neededTimeline = 0;
  /** Something ran at the core since it was last asked where it is: the client may have seen more than is here. */
  #ahead = false;
  /** The session goes on from another one's token: what was seen at the core is seen here from then on. */
  #isMonotonic = false;
  /** For this position the wait was already in vain: later statements do not wait again. */
  #waitedFor: Lsn = LSN_ZERO;
  readonly #deallocating: string[] = [];
  #ended = false;
  #stopWaiting: (() => void) | null = null;
  #isCancelled = false;

  constructor(deps: ForwarderDeps, settings: SessionSettings, events: ForwarderEvents) {
    this.#deps = deps;
    this.#settings = settings;
    this.#events = events;
  }

  get open(): boolean {
    return this.#upstream !== null;
  }

  /** The open connection; call `prepare` first. */
  get upstream(): Upstream {
    if (this.#upstream === null) throw new UpstreamLost(null);
    return this.#upstream;
  }

  get held(): Held | null {
    return this.#held;
  }

  /** Opens the connection if need be, and brings it to the session's settings and into its transaction. */
  async prepare(transaction: TransactionState): Promise<void> {
    const refusal = this.#deps.refusal();
    if (refusal !== null) throw refusal;
    if (this.#probing !== null) await this.#probing;
    const upstream = this.#upstream ?? (await this.#open());
    if (upstream.status === 'I') {
      for (const name of this.#deallocating.splice(0)) {
        // That it is not there is no error of the client's.
        await upstream.exec(`DEALLOCATE ${quoteAlways(name)}`);
        this.#events.unnamedGone();
      }
      // An implicit transaction cannot be begun there: its SETs are told at once, and taken back if it fails.
      const sql = this.#settings.catchUpSql(transaction.where === 'none');
      if (sql !== null) await this.#execOrThrow(upstream, sql);
    }
    if (transaction.where !== 'local') return;
    this.#unsureBefore = this.#unsure;
    await this.#execOrThrow(upstream, transaction.beginSql);
    try {
      const sql = this.#settings.transactionSql();
      if (sql !== null) await this.#execOrThrow(upstream, sql);
      if (transaction.snapshot !== null) await this.#goOnAfter(transaction, transaction.snapshot, upstream);
    } catch (error) {
      if (!(error instanceof UpstreamLost)) await upstream.exec('ROLLBACK');
      throw error;
    }
    transaction.where = 'upstream';
  }

  /**
   * A REPEATABLE READ block that has read here goes on at the core: only if all tables that it has read are, in the core's
   * snapshot, what they were in ours. Open cursors are brought here first; then ours is not needed any more.
   */
  async #goOnAfter(transaction: TransactionState, snapshot: BlockSnapshot, upstream: Upstream): Promise<void> {
    const { feed, clock } = this.#deps;
    await this.#events.finishCursors();
    // Reading it takes the core's snapshot, which cannot hold anything from beyond it.
    const answer = await upstream.exec(CURRENT_LSN_SQL);
    this.#events.unnamedGone();
    if (answer.error !== null) throw faultOf(answer.error);
    const lsn = parseLsn(String(answer.rows[0]?.[0]));
    const { promise, stop } = waitFor(feed, clock, () => feed.current.position >= lsn, GO_ON_WAIT_MS);
    this.#stopWaiting = stop;
    const isReached = snapshot.tables.size === 0 || (await promise);
    stop();
    this.#stopWaiting = null;
    const isSame = snapshot.tables.size === 0 || (isReached && snapshot.isStillTrue());
    if (isSame) {
      transaction.snapshot = null;
      snapshot.close();
      return;
    }
    transaction.isNextUpstream = true;
    this.#isCancelled = false;
    throw new Fault('snapshot-overtaken', {
      message: 'could not serialize access due to concurrent update',
      detail: isReached
        ? `the block has read tables at ${snapshot.lsnText} here that were changed before it came to the core`
        : `the block has read at ${snapshot.lsnText} here, and this edge did not get to ${formatLsn(lsn)} of the core in time`,
      hint: 'Try the transaction again: in this session its next block runs at the core from its beginning.',
      sqlstate: '40001',
      retryable: true,
    });
  }

  /** Whether Postgres would let a cursor of this query go backwards when neither SCROLL nor NO SCROLL is said. */
  async isScrollable(query: string, transaction: TransactionState): Promise<boolean> {
    const upstream = this.#upstream ?? (await this.#open());
    const [begin, end] =
      transaction.where === 'upstream'
        ? ['SAVEPOINT skerry_scroll', 'ROLLBACK TO skerry_scroll; RELEASE skerry_scroll']
        : ['BEGIN', 'ROLLBACK'];
    if (upstream.status === 'I') {
      const sql = this.#settings.catchUpSql(false);
      if (sql !== null) await this.#execOrThrow(upstream, sql);
    }
    const { rows, error } = await upstream.exec(
      `${begin}; DECLARE skerry_scroll CURSOR FOR ${query}; SELECT is_scrollable FROM pg_catalog.pg_cursors WHERE name = 'skerry_scroll'; ${end}`,
    );
    this.#events.unnamedGone();
    if (error === null) return rows[0]?.[0] === 't';
    await upstream.exec(end as string);
    throw faultOf(error);
  }

  /** A prepared statement that the core has is to go before anything else runs there. */
  deallocateLater(name: string): void {
    this.#deallocating.push(name);
  }

  /** A block begins at the core, with nothing before it in its batch. */
  blockBegan(): void {
    this.#unsureBefore = this.#unsure;
  }

  /** The block was rolled back: what it may have changed is as it was. */
  blockUndone(): void {
    this.#unsure = this.#unsureBefore;
  }

  /** Call after a batch ran upstream. `changing`: it held more than plain reads. `tag`: of its last statement. */
  ran(changing: boolean, tag: string): void {
    this.#deps.pool.used(this);
    this.#ahead = true;
    if (!changing) return;
    this.#unsure = true;
    if (!LEAVES_NOTHING.test(tag)) this.#mayKeep = true;
    if (MAY_MAKE_TABLES.test(tag)) this.#mayHaveTables = true;
  }

  async release(): Promise<boolean> {
    const upstream = this.#upstream;
    if (upstream === null || !this.#isReleasable(upstream)) return false;
    if (this.#unsure) {
      await this.#probe();
      if (this.#upstream !== upstream || !this.#isReleasable(upstream)) return false;
    }
    this.#upstream = null;
    this.#settings.upstreamClosed();
    this.#events.released();
    upstream.end();
    return true;
  }

  #isReleasable(upstream: Upstream): boolean {
    const isIdle = upstream.status === 'I' && !upstream.busy && this.#probing === null && this.#events.isIdle();
    return isIdle && this.#held === null && !this.#mayKeep;
  }

  /** The client asked for another encoding: from now on everything is relayed as it is. */
  hold(held: Held): void {
    this.#held = held;
  }

  /** True when nothing stands between the session and a local answer. When a promise, it costs a question or a wait. */
  mayAnswerLocally(): boolean | Promise<boolean> {
    if (this.#hasToAsk || this.#probing !== null || (this.#needed !== LSN_ZERO && !this.#isReached))
      return this.#settle();
    return this.#seesTheSame;
  }

  /** What reads here have to see: own writes, tokens. */
  get needed(): { readonly timeline: number; readonly lsn: Lsn } {
    return { timeline: this.#neededTimeline, lsn: this.#needed };
  }

  /** Somebody waits for the replica to get somewhere. */
  get isWaiting(): boolean {
    return this.#stopWaiting !== null;
  }

  /** Ends that wait: the statement is not answered at all. */
  cancelWait(): void {
    this.#isCancelled = true;
    this.#stopWaiting?.();
  }

  /** From now on the session sees everything up to a position that another session was at. */
  require({ epoch, lsn }: Position): void {
    if (epoch.timeline > this.#neededTimeline) this.#neededTimeline = epoch.timeline;
    if (lsn > this.#needed) this.#needed = lsn;
    this.#waitedFor = LSN_ZERO;
    this.#isMonotonic = true;
  }

  /** Brings `needed` to all that this session wrote or saw at the core. Costs a question if something ran there. */
  async learnSeen(): Promise<void> {
    const upstream = this.#upstream;
    const mayAsk = upstream !== null && !upstream.busy && upstream.status !== 'E' && !this.#events.isInBatch();
    if ((this.#unsure || this.#ahead) && mayAsk) await this.#probe();
    else if (this.#probing !== null) await this.#probing;
  }

  /** `learnSeen` has something to ask. */
  get isAhead(): boolean {
    return this.#unsure || this.#ahead || this.#probing !== null;
  }

  get #hasToAsk(): boolean {
    return (
      this.#unsure || (this.#ahead && (this.#isMonotonic || this.#settings.get('skerry.monotonic_reads') === 'on'))
    );
  }

  /** Reads here see everything that they have to. */
  get #isReached(): boolean {
    const timeline = this.#deps.feed.current.epoch?.timeline ?? 0;
    return timeline >= this.#neededTimeline && this.#deps.sees(this.#needed);
  }

  /** Listening changes no answer; everything else that is held may. */
  get #seesTheSame(): boolean {
    return this.#held === null || this.#held === 'listen';
  }

  /** DISCARD ALL ran: nothing is held any more. */
  discarded(): void {
    this.#held = null;
    this.#unsure = false;
    this.#mayKeep = false;
    this.#mayHaveTables = false;
  }

  end(): void {
    this.#ended = true;
    this.#stopWaiting?.();
    const upstream = this.#upstream;
    this.#upstream = null;
    if (upstream === null) return;
    // A statement nobody waits for any more should not go on at the core.
    if (upstream.busy)
      void upstream.cancel().then(
        () => upstream.destroy(),
        () => upstream.destroy(),
      );
    else upstream.end();
  }

  async #settle(): Promise<boolean> {
    if (this.#hasToAsk || this.#probing !== null) await this.#probe();
    if (!this.#seesTheSame) return false;
    const { feed, clock, rywWaitMs } = this.#deps;
    if (this.#isReached) return true;
    if (this.#needed === this.#waitedFor) return false;
    this.#waitedFor = this.#needed;
    const { waitMs, statementTimeoutMs } = this.#settings.durations;
    const wishedMs = waitMs < 0 ? rywWaitMs : waitMs;
    const isTimedOut = statementTimeoutMs > 0 && statementTimeoutMs < wishedMs;
    const { promise, stop } = waitFor(feed, clock, () => this.#isReached, isTimedOut ? statementTimeoutMs : wishedMs);
    this.#stopWaiting = stop;
    const isReached = await promise;
    this.#stopWaiting = null;
    if (isReached || (!this.#isCancelled && !isTimedOut)) return isReached;
    const cause = this.#isCancelled ? 'user request' : 'statement timeout';
    this.#isCancelled = false;
    this.#waitedFor = LSN_ZERO;
    throw new Fault('cancelled', { message: `canceling statement due to ${cause}`, sqlstate: '57014' });
  }

  /** Asks the core, once for all who want to know. */
  #probe(): Promise<void> {
    this.#probing ??= this.#ask().finally(() => {
      this.#probing = null;
    });
    return this.#probing;
  }

  async #ask(): Promise<void> {
    const upstream = this.#upstream;
    this.#unsure = false;
    this.#ahead = false;
    // Without the connection there is nothing that was held on it, and nobody to ask.
    if (upstream === null) return;
    let answer: Awaited<ReturnType<Upstream['exec']>>;
    try {
      // What the session has set here since counts, not what the core still has.
      const sql = upstream.status === 'I' ? this.#settings.catchUpSql() : null;
      if (sql !== null) await upstream.exec(sql);
      answer = await upstream.exec(PROBE_SQL);
      this.#events.unnamedGone();
    } catch (error) {
      if (error instanceof UpstreamLost) return;
      throw error;
    }
    const row = answer.rows[0];
    if (row === undefined) {
      this.#held = 'unknown';
      return;
    }
    const [lsn, temporary, user, listening, ...settings] = row;
    // Never backwards: a token may have asked for more than a standby has.
    if (typeof lsn === 'string') this.#needed = max(this.#needed, parseLsn(lsn));
    this.#mayHaveTables = false;
    if (temporary === 't') this.#held = 'temporary-tables';
    else if (user !== this.#deps.user()) this.#held = 'role';
    else if (listening === 't') this.#held = 'listen';
    else this.#held = null;
    PROBED_SETTINGS.forEach((name, index) => {
      const value = settings[index];
      if (typeof value === 'string') this.#settings.learn(name, value);
    });
  }

  async #execOrThrow(upstream: Upstream, sql: string): Promise<void> {
    const { error } = await upstream.exec(sql);
    this.#events.unnamedGone();
    if (error !== null) throw faultOf(error);
  }

  #open(): Promise<Upstream> {
    this.#opening ??= this.#connect().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #connect(): Promise<Upstream> {
    const link = await this.#deps.pool.open(this.#settings.startup, this);
    if (this.#ended) {
      link.destroy();
      throw coreAwayFault(null);
    }
    const upstream: Upstream = new Upstream(link, {
      ...this.#events,
      closed: () => {
        if (this.#upstream !== upstream) return;
        const held = this.#held ?? (this.#mayHaveTables ? 'unknown' : null);
        this.#upstream = null;
        this.#deallocating.length = 0;
        this.#held = null;
        this.#mayKeep = false;
        this.#mayHaveTables = false;
        this.#unsure = false;
        this.#settings.upstreamClosed();
        this.#events.lost(held);
      },
    });
    this.#upstream = upstream;
    this.#settings.upstreamOpened();
    return upstream;
  }
}

/** An error of the core as something to throw here. */
function faultOf(error: ErrorFields): Fault {
  return new Fault('core-refused', {
    message: error.message,
    sqlstate: error.sqlstate,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
}

/** Waits until `isReached` holds, which only the feed can bring about; false when that took longer than `waitMs`, or was stopped. */
function waitFor(
  feed: ReplicaFeed,
  clock: Clock,
  isReached: () => boolean,
  waitMs: number,
): { readonly promise: Promise<boolean>; readonly stop: () => void } {
  let stop = (): void => {};
  const promise = new Promise<boolean>((resolve) => {
    const finish = (reached: boolean): void => {
      subscription[Symbol.dispose]();
      timer[Symbol.dispose]();
      resolve(reached);
    };
    stop = () => finish(false);
    const subscription = feed.subscribe(() => {
      if (isReached()) finish(true);
    });
    const timer = clock.after(waitMs, () => finish(false));
    if (isReached()) finish(true);
  });
  return { promise, stop };
}

function max(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
