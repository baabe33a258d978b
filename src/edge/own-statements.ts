// Statements about the session that this edge does itself, without the core: SET, SHOW, RESET, transaction blocks that have
// only read so far, DEALLOCATE, DISCARD. Each either answers and says how it went, or says null: the core has to.

import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import { type ErrorFields, writeCommandComplete, writeNotice, writePortalSuspended } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import { errorFields } from './faults.ts';
import type { Forwarder, TransactionState } from './forward.ts';
import type { LocalEngine } from './local.ts';
import type { PreparedStatements } from './prepared.ts';
import type { SettingReports } from './setting-reports.ts';
import { isKnownSetting, isReportedSetting, type SessionSettings } from './settings.ts';
import { type AnsweredBy, ownSetting, writeShowDescription, writeShowRow } from './show.ts';
import type { SessionStatement } from './sql/plan.ts';
import type { RelayResult } from './upstream.ts';

export type Step = 'done' | 'failed';

export const ABORTED = errorFields(
  '25P02',
  'current transaction is aborted, commands ignored until end of transaction block',
);

const SAVEPOINT_TAGS = {
  savepoint: 'SAVEPOINT',
  release: 'RELEASE SAVEPOINT',
  'rollback-to': 'ROLLBACK TO SAVEPOINT',
} as const;

/** The parts of a session that these statements look at and change. */
export interface OwnStatementsDeps {
  readonly feed: ReplicaFeed;
  readonly engine: LocalEngine;
  readonly out: ByteWriter;
  readonly settings: SessionSettings;
  readonly reports: SettingReports;
  readonly transaction: TransactionState;
  readonly forward: Forwarder;
  readonly prepared: PreparedStatements;
  /** Writes an error and does what errors do to the session. */
  readonly fail: (fields: ErrorFields) => 'failed';
  /** Where the previous statement was answered. */
  readonly answered: () => AnsweredBy;
  /** The statement was answered here and is one to report as such. */
  readonly done: () => void;
}

export interface RunOptions {
  /** The session is in a batch or block at the core. */
  readonly bound: boolean;
  /** The simple protocol's RowDescription is due. */
  readonly describe: boolean;
  /** As in Execute; 0 = all. */
  readonly rowsMax: number;
}

export class OwnStatements {
  readonly #deps: OwnStatementsDeps;

  constructor(deps: OwnStatementsDeps) {
    this.#deps = deps;
  }

  run(statement: SessionStatement, sql: string, options: RunOptions): Step | null {
    if (statement.type === 'show') return this.#show(statement.name, options);
    if (options.bound) return null;
    switch (statement.type) {
      case 'begin':
        return this.#begin(statement, sql);
      case 'commit':
      case 'rollback':
        return statement.chain ? this.#chain(statement.type) : this.#endBlock(statement.type);
      case 'savepoint':
      case 'release':
      case 'rollback-to':
        return this.#savepoint(statement);
      case 'set':
        return this.#set(statement);
      case 'reset':
        return this.#reset(statement.name);
      case 'deallocate':
        return this.#deallocate(statement.name);
      case 'discard':
        return this.#discard(statement.target);
      default:
        return null;
    }
  }

  /** What a statement that the core did means here. */
  afterwards(statement: SessionStatement, result: RelayResult): void {
    if (result.failed) return;
    const { settings, prepared, forward } = this.#deps;
    switch (statement.type) {
      case 'set':
        // Kept, so that the next connection to the core gets it too.
        if (statement.local || isReportedSetting(statement.name)) break;
        if (statement.values === null) settings.forget(statement.name);
        else settings.learn(statement.name, statement.values.join(', '));
        break;
      case 'reset':
        if (statement.name !== null) {
          settings.forget(statement.name);
          break;
        }
        settings.resetAll();
        settings.upstreamOpened();
        break;
      case 'deallocate':
        if (statement.name === null) prepared.forgetAll();
        else prepared.forget(statement.name);
        break;
      case 'listen':
        // Not to be found out later: a session that listens may never ask for anything again.
        forward.hold('listen');
        break;
      case 'discard':
        if (statement.target !== 'all') break;
        prepared.forgetAll();
        settings.resetAll();
        settings.upstreamOpened();
        forward.discarded();
        break;
      default:
        break;
    }
  }

  #done(tag: string): Step {
    writeCommandComplete(this.#deps.out, tag);
    this.#deps.done();
    return 'done';
  }

  #warn(sqlstate: string, message: string): void {
    writeNotice(this.#deps.out, errorFields(sqlstate, message, { severity: 'WARNING' }));
  }

  #begin(statement: SessionStatement & { type: 'begin' }, sql: string): Step | null {
    const { transaction, settings } = this.#deps;
    if (transaction.where !== 'none') {
      this.#warn('25001', 'there is already a transaction in progress');
      return this.#done(statement.tag);
    }
    const isolation = statement.modes.isolation ?? settings.get('default_transaction_isolation');
    // A snapshot that later writes must fit to can only be the core's.
    if (isolation === 'repeatable read' || isolation === 'serializable') return null;
    transaction.where = 'local';
    transaction.failed = false;
    transaction.beginSql = sql;
    settings.begin();
    return this.#done(statement.tag);
  }

  /** COMMIT AND CHAIN: another block like the one it ends. */
  #chain(type: 'commit' | 'rollback'): Step {
    const { transaction, settings, fail } = this.#deps;
    if (transaction.where === 'none') {
      return fail(errorFields('25P01', `${type.toUpperCase()} AND CHAIN can only be used in transaction blocks`));
    }
    const step = this.#endBlock(type);
    transaction.where = 'local';
    settings.begin();
    return step;
  }

  #endBlock(type: 'commit' | 'rollback'): Step {
    const { transaction, settings, reports, prepared } = this.#deps;
    prepared.dropPortals();
    if (transaction.where === 'none') {
      this.#warn('25P01', 'there is no transaction in progress');
      return this.#done(type === 'commit' ? 'COMMIT' : 'ROLLBACK');
    }
    const committed = type === 'commit' && !transaction.failed;
    transaction.where = 'none';
    transaction.failed = false;
    reports.change(() => settings.end(committed));
    return this.#done(committed ? 'COMMIT' : 'ROLLBACK');
  }

  #savepoint(statement: SessionStatement & { type: keyof typeof SAVEPOINT_TAGS }): Step | null {
    const { transaction, fail } = this.#deps;
    if (transaction.where === 'none') {
      return fail(errorFields('25P01', `${SAVEPOINT_TAGS[statement.type]} can only be used in transaction blocks`));
    }
    // A savepoint is the core's: what follows it may have to be undone there.
    if (statement.type === 'savepoint') return null;
    return fail(errorFields('3B001', `savepoint "${statement.name}" does not exist`));
  }

  #set({ name, values, local }: SessionStatement & { type: 'set' }): Step | null {
    const { settings, transaction, reports, fail } = this.#deps;
    if (name.startsWith('skerry.')) return fail(errorFields('55P02', `parameter "${name}" cannot be changed`));
    if (!settings.understands(name, values)) return null;
    if (local && transaction.where === 'none') {
      this.#warn('25P01', 'SET LOCAL can only be used in transaction blocks');
      return this.#done('SET');
    }
    reports.change(() => settings.set(name, values, local));
    return this.#done('SET');
  }

  #reset(name: string | null): Step | null {
    const { settings, forward, reports } = this.#deps;
    if (name === null) {
      if (forward.open) return null;
      reports.change(() => settings.resetAll());
      return this.#done('RESET');
    }
    if (!settings.understands(name, null)) return null;
    reports.change(() => settings.set(name, null, false));
    return this.#done('RESET');
  }

  #show(name: string, { bound, describe, rowsMax }: RunOptions): Step | null {
    const { settings, feed, engine, forward, transaction, out, answered, fail, done } = this.#deps;
    const own = ownSetting(name, feed, engine, answered());
    // The core knows better, if it is there.
    const value = own ?? (isKnownSetting(name) && !bound && !forward.open ? settings.get(name) : undefined);
    if (value === undefined) return null;
    if (transaction.failed) return fail(ABORTED);
    if (describe) writeShowDescription(out, name);
    writeShowRow(out, value);
    if (rowsMax === 1) writePortalSuspended(out);
    else writeCommandComplete(out, 'SHOW');
    if (own === null) done();
    return 'done';
  }

  #deallocate(name: string | null): Step | null {
    const { forward, prepared, fail } = this.#deps;
    if (name === null) {
      if (forward.open) return null;
      prepared.forgetAll();
      return this.#done('DEALLOCATE ALL');
    }
    const statement = prepared.statement(name);
    if (forward.open && statement?.upstream !== false) return null;
    if (prepared.forget(name)) return this.#done('DEALLOCATE');
    return fail(errorFields('26000', `prepared statement "${name}" does not exist`));
  }

  #discard(target: 'all' | 'plans' | 'sequences' | 'temp'): Step | null {
    const { forward, transaction, prepared, settings, reports } = this.#deps;
    if (forward.open || transaction.where !== 'none') return null;
    if (target === 'all') {
      prepared.forgetAll();
      prepared.dropPortals();
      reports.change(() => settings.resetAll());
    }
    return this.#done(`DISCARD ${target.toUpperCase()}`);
  }
}
