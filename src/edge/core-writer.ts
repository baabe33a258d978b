// Writes that are not part of a client's SQL session (key/value over HTTP, Kyoto Tycoon): each is one transaction at the core, over
// one of a few connections kept for it. What was written can be waited for: the answer names a position that holds it.
//
// At most `connectionsMax` transactions run at once; `waitingMax` more wait in the order they came; one more is refused with
// 53300. When a connection breaks in the middle of a transaction the caller is told (08006): its fate is unknown.

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { LSN_ZERO, type Lsn, parseLsn } from '../pg/lsn.ts';
import type { ClientSession, QueryResult } from '../session/client-session.ts';
import { coreAwayFault, isCoreAway } from './faults.ts';

export interface CoreWriterDeps {
  readonly clock: Clock;
  readonly connect: () => Promise<ClientSession>;
  /** Why nothing may be sent to the core; null where it may. */
  readonly refusal: () => Fault | null;
}

export interface CoreWriterOptions {
  readonly connectionsMax: number;
  readonly waitingMax: number;
}

/** What a write gave, and where: `lsn` is at or behind its commit. */
export interface Written<T> {
  readonly value: T;
  readonly lsn: Lsn;
}

/** An idle connection is given back to the core after this long. */
const IDLE_MS_MAX = 30_000;

export class CoreWriter {
  readonly #deps: CoreWriterDeps;
  readonly #options: CoreWriterOptions;
  readonly #idle: { readonly session: ClientSession; readonly expiry: Disposable }[] = [];
  readonly #waiting: (() => void)[] = [];
  #taken = 0;
  #closed = false;
  /** Highest position of a write made here: reads that do not see it yet would contradict what the writer was told. */
  #written: Lsn = LSN_ZERO;

  constructor(deps: CoreWriterDeps, options: CoreWriterOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Position of the last write made here. */
  get written(): Lsn {
    return this.#written;
  }

  /** Runs one statement, or several separated by semicolons, in a transaction of its own. Gives their results. */
  async write(sql: string): Promise<Written<QueryResult[]>> {
    return await this.#with(async (session) => {
      // One round trip: the position is read after the commit, in the same text.
      const results = await session.queryAll(`BEGIN; ${sql}; COMMIT; ${POSITION_SQL}`);
      return { value: results.slice(1, -2), lsn: this.#wrote(results.at(-1)) };
    });
  }

  /** Runs `work` in a transaction: committed when it resolves with anything but null, rolled back when it gives null or rejects. */
  async transaction<T>(work: (session: ClientSession) => Promise<T | null>): Promise<Written<T> | null> {
    return await this.#with(async (session) => {
      await session.query('BEGIN');
      const value = await work(session);
      if (value === null) {
        await session.query('ROLLBACK');
        return null;
      }
      const results = await session.queryAll(`COMMIT; ${POSITION_SQL}`);
      return { value, lsn: this.#wrote(results.at(-1)) };
    });
  }

  /** A read that only the core can answer. */
  async read(sql: string, parameters: readonly string[] = []): Promise<QueryResult> {
    return await this.#with((session) => session.queryParams(sql, parameters));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const go of this.#waiting.splice(0)) go();
    for (const { session, expiry } of this.#idle.splice(0)) {
      expiry[Symbol.dispose]();
      await session.close();
    }
  }

  #wrote(result: QueryResult | undefined): Lsn {
    const lsn = parseLsn(String(result?.rows[0]?.[0]));
    if (lsn > this.#written) this.#written = lsn;
    return lsn;
  }

  async #with<T>(work: (session: ClientSession) => Promise<T>): Promise<T> {
    const refusal = this.#deps.refusal();
    if (refusal !== null) throw refusal;
    await this.#place();
    try {
      const session = await this.#session();
      try {
        return await work(session);
      } finally {
        if (!session.closed) await this.#giveBack(session);
      }
    } catch (error) {
      // What the core itself says (a constraint, no privilege) is for the caller; that it is away has one name everywhere.
      throw isCoreAway(error) && !wasRunning(error) ? coreAwayFault(error) : error;
    } finally {
      this.#taken -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #place(): Promise<void> {
    const { connectionsMax, waitingMax } = this.#options;
    if (connectionsMax === 0) throw coreAwayFault(null);
    if (this.#taken >= connectionsMax) {
      if (this.#waiting.length >= waitingMax) {
        throw new Fault('too-many-writes', {
          message: `${waitingMax} writes wait for this edge's ${connectionsMax} connections to the core already`,
          hint: 'write more slowly, or raise forward_connections_max',
          sqlstate: '53300',
          retryable: true,
        });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    if (this.#closed) throw new Fault('edge-stopping', { message: 'this edge is stopping', sqlstate: '57P01' });
    this.#taken += 1;
  }

  async #session(): Promise<ClientSession> {
    for (;;) {
      const kept = this.#idle.pop();
      if (kept === undefined) return await this.#deps.connect();
      kept.expiry[Symbol.dispose]();
      if (!kept.session.closed) return kept.session;
    }
  }

  /** Only a connection without a transaction may be used again. */
  async #giveBack(session: ClientSession): Promise<void> {
    if (session.transactionStatus !== 'I') await session.query('ROLLBACK').catch(() => session.destroy());
    if (session.closed || this.#closed) {
      await session.close();
      return;
    }
    const kept = {
      session,
      expiry: this.#deps.clock.after(IDLE_MS_MAX, () => {
        const at = this.#idle.indexOf(kept);
        if (at < 0) return;
        this.#idle.splice(at, 1);
        void session.close();
      }),
    };
    this.#idle.push(kept);
  }
}

const POSITION_SQL = 'SELECT pg_catalog.pg_current_wal_insert_lsn()';

/** A connection that broke under a statement: whether it ran is not known, which is something else than "not reachable". */
function wasRunning(error: unknown): boolean {
  return error instanceof Fault && error.code === 'connection-lost';
}
