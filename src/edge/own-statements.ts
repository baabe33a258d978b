// Statements about the session that this edge does itself, without the core: SET, SHOW, RESET, transaction blocks that have
// only read so far, DEALLOCATE, DISCARD. Each either answers and says how it went, or says null: the core has to.

import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { type ErrorFields, writeCommandComplete, writeNotice, writePortalSuspended } from '../wire/backend.ts';
import type { ByteWriter } from '../wire/bytes.ts';
import { errorFields } from './faults.ts';
import type { Forwarder, TransactionState } from './forward.ts';
import type { LocalEngine } from './local.ts';
import type { PreparedStatements } from './prepared.ts';
import type { SettingReports } from './setting-reports.ts';
import {
  isKnownSetting,
  isOwnSetting,
  isReadOnlySetting,
  isReportedSetting,
  type SessionSettings,
} from './settings.ts';
import { type AnsweredBy, ownSetting, writeShowDescription, writeShowRow } from './show.ts';
import type { SessionStatement } from './sql/plan.ts';
import { formatToken, parseToken, requireSameSystem } from './token.ts';
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

  /** A promise when something has to be waited for; null: the core has to do it. */
  run(statement: SessionStatement, sql: string, options: RunOptions): Step | null | Promise<Step | null> {
    if (statement.type === 'show') {
      const { forward } = this.#deps;
      if (statement.name !== 'skerry.token' || !forward.isAhead) return this.#show(statement, options);
      return forward.learnSeen().then(() => this.#show(statement, options));
    }
    if (statement.type === 'set' && isOwnSetting(statement.name)) return this.#setOwn(statement);
    if (statement.type === 'reset' && statement.name !== null && isOwnSetting(statement.name)) {
      return this.#setOwn({ ...statement, name: statement.name, values: null, local: false }, 'RESET');
    }
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
    const { settings, transaction, reports } = this.#deps;
    if (!settings.understands(name, values)) return null;
    if (local && transaction.where === 'none') {
      this.#warn('25P01', 'SET LOCAL can only be used in transaction blocks');
      return this.#done('SET');
    }
    reports.change(() => settings.set(name, values, local));
    return this.#done('SET');
  }

  /** SET and RESET of what is ours: answered here even where the block is the core's. */
  #setOwn(
    {
      name,
      values,
      local,
    }: { readonly name: string; readonly values: readonly string[] | null; readonly local: boolean },
    tag = 'SET',
  ): Step {
    const { settings, transaction, fail } = this.#deps;
    if (transaction.failed) return fail(ABORTED);
    if (name === 'skerry.token') return this.#setToken(values, tag);
    const problem = ownSettingProblem(settings, name, values);
    if (problem !== null) return fail(problem);
    if (local && transaction.where === 'none') this.#warn('25P01', 'SET LOCAL can only be used in transaction blocks');
    else settings.set(name, values, local);
    return this.#done(tag);
  }

  /** What a token asks for is never taken back: neither by ROLLBACK nor by RESET does a session forget what it has seen. */
  #setToken(values: readonly string[] | null, tag: string): Step {
    const { feed, forward, fail } = this.#deps;
    if (values !== null) {
      try {
        const token = parseToken(values.join(', '));
        requireSameSystem(token, feed.current.epoch?.systemId ?? null);
        forward.require(token);
      } catch (error) {
        return fail(errorFieldsOf(error));
      }
    }
    return this.#done(tag);
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

  #show(statement: SessionStatement & { type: 'show' }, { bound, describe, rowsMax }: RunOptions): Step | null {
    const { settings, feed, engine, forward, transaction, out, answered, fail, done } = this.#deps;
    const { name, column } = statement;
    if (name === 'skerry.token' && !transaction.failed && feed.current.epoch === null) return fail(NO_TOKEN_YET);
    const own = name === 'skerry.token' ? this.#token() : ownSetting(name, feed, engine, answered());
    // The core knows better, if it is there.
    const isKept = isKnownSetting(name) && (isOwnSetting(name) || (!bound && !forward.open));
    const value = own ?? (isKept ? settings.get(name) : undefined);
    if (value === undefined) {
      if (!isOwnSetting(name)) return null;
      return fail(errorFields('42704', `unrecognized configuration parameter "${name}"`));
    }
    if (transaction.failed) return fail(ABORTED);
    if (describe) writeShowDescription(out, name, column);
    writeShowRow(out, value);
    if (rowsMax === 1) writePortalSuspended(out);
    else writeCommandComplete(out, column === undefined ? 'SHOW' : 'SELECT 1');
    if (own === null) done();
    return 'done';
  }

  /** What this session has seen and written up to now, as far as that is known: see `Forwarder.seen`. */
  #token(): string {
    const { feed, engine, forward } = this.#deps;
    const { epoch } = feed.current;
    const { needed } = forward;
    if (epoch === null) return '';
    return formatToken({
      epoch: { systemId: epoch.systemId, timeline: Math.max(epoch.timeline, needed.timeline) },
      lsn: needed.lsn > engine.position ? needed.lsn : engine.position,
    });
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

/** Why a setting of ours cannot be given these values; null when it can. */
export function ownSettingProblem(
  settings: SessionSettings,
  name: string,
  values: readonly string[] | null,
): ErrorFields | null {
  if (isReadOnlySetting(name)) return errorFields('55P02', `parameter "${name}" cannot be changed`);
  if (!isKnownSetting(name)) return errorFields('42704', `unrecognized configuration parameter "${name}"`);
  if (settings.understands(name, values)) return null;
  return errorFields('22023', `invalid value for parameter "${name}": "${values?.join(', ') ?? ''}"`, {
    hint: name === 'skerry.monotonic_reads' ? 'on or off' : 'a time such as 2s or 500ms; -1 for none',
  });
}

const NO_TOKEN_YET = errorFields('57P03', 'this edge has no replica yet, so there is no position to name', {
  hint: 'try again in a moment',
});
