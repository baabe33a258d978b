// Statements about the transaction block, as long as it runs here: BEGIN, SET TRANSACTION, savepoints, COMMIT, ROLLBACK.
//
//   none ─BEGIN─▶ local ─error─▶ failed ─ROLLBACK TO─▶ local        any ─COMMIT, ROLLBACK─▶ none
//
// READ COMMITTED: each statement sees the replica as it is then. REPEATABLE READ: the first query takes a snapshot for all.
// SERIALIZABLE is the core's: only it can know what others have read.

import { writeCommandComplete, writeNotice } from '../wire/backend.ts';
import type { Conversation } from './conversation.ts';
import { errorFields } from './faults.ts';
import type { Isolation, TransactionState } from './forward.ts';
import type { Step } from './own-statements.ts';
import type { SessionStatement, TransactionModes } from './sql/plan.ts';

const IN_BLOCKS_ONLY = {
  savepoint: 'SAVEPOINT',
  release: 'RELEASE SAVEPOINT',
  'rollback-to': 'ROLLBACK TO SAVEPOINT',
} as const;

type Begin = SessionStatement & { type: 'begin' };
type Savepoint = SessionStatement & { type: keyof typeof IN_BLOCKS_ONLY };

export class BlockStatements {
  readonly #session: Conversation;

  constructor(session: Conversation) {
    this.#session = session;
  }

  /** Null: the block is the core's from its start. */
  begin(statement: Begin, sql: string): Step | null {
    const { transaction, settings } = this.#session;
    if (transaction.where !== 'none') {
      this.#warn('25001', 'there is already a transaction in progress');
      return this.#setModes(statement.modes, sql, statement.tag);
    }
    const { isolation, readOnly, deferrable } = statement.modes;
    const level = isolation ?? (settings.get('default_transaction_isolation') as Isolation);
    if (!this.#mayBeLocal(level)) return null;
    transaction.where = 'local';
    transaction.failed = false;
    transaction.beginSql = sql;
    transaction.isolation = level;
    transaction.isReadOnly = readOnly ?? settings.get('default_transaction_read_only') === 'on';
    transaction.isDeferrable = deferrable ?? settings.get('default_transaction_deferrable') === 'on';
    transaction.hasRead = false;
    settings.begin();
    return this.#done(statement.tag);
  }

  /** SET TRANSACTION. Null: the core has to do it, and the rest of the block. */
  setTransaction(modes: TransactionModes, sql: string, isImplicitBlock: boolean): Step | null {
    if (this.#session.transaction.where === 'none') {
      if (isImplicitBlock) return null;
      this.#warn('25P01', 'SET TRANSACTION can only be used in transaction blocks');
      return this.#done('SET');
    }
    return this.#setModes(modes, sql, 'SET');
  }

  /** SET SESSION CHARACTERISTICS AS TRANSACTION: the defaults of the session. */
  setCharacteristics({ isolation, readOnly, deferrable }: TransactionModes): Step {
    const { settings, reports } = this.#session;
    reports.change(() => {
      if (isolation !== null) settings.set('default_transaction_isolation', [isolation], false);
      if (readOnly !== null) settings.set('default_transaction_read_only', [readOnly ? 'on' : 'off'], false);
      if (deferrable !== null) settings.set('default_transaction_deferrable', [deferrable ? 'on' : 'off'], false);
    });
    return this.#done('SET');
  }

  end(type: 'commit' | 'rollback', chain: boolean): Step | Promise<Step> {
    const { transaction, cursors, prepared } = this.#session;
    if (transaction.where === 'none') {
      prepared.dropPortals();
      if (chain) {
        const text = `${type.toUpperCase()} AND CHAIN can only be used in transaction blocks`;
        return this.#session.fail(errorFields('25P01', text));
      }
      this.#warn('25P01', 'there is no transaction in progress');
      return this.#done(type === 'commit' ? 'COMMIT' : 'ROLLBACK');
    }
    const committed = type === 'commit' && !transaction.failed;
    if (!committed || cursors.isEmpty) return this.#ended(committed, chain);
    return cursors.endTransaction(true).then((error) => {
      if (error === null) return this.#ended(true, chain);
      this.#session.reports.change(() => this.#session.settings.end(false));
      this.#session.blockEnded(false);
      return this.#session.fail(error);
    });
  }

  savepoint(statement: Savepoint): Step {
    const { transaction, settings } = this.#session;
    const { type, name } = statement;
    if (transaction.where === 'none') {
      const text = `${IN_BLOCKS_ONLY[type]} can only be used in transaction blocks`;
      return this.#session.fail(errorFields('25P01', text));
    }
    if (type !== 'savepoint' && !settings.savepoints.includes(name)) {
      return this.#session.fail(errorFields('3B001', `savepoint "${name}" does not exist`));
    }
    this.savepointDone(statement);
    if (type === 'rollback-to') transaction.failed = false;
    return this.#done(type === 'savepoint' ? 'SAVEPOINT' : type === 'release' ? 'RELEASE' : 'ROLLBACK');
  }

  /** What a savepoint, wherever it was set, means for settings and cursors here. */
  savepointDone({ type, name }: Savepoint): void {
    const { settings, cursors, reports } = this.#session;
    if (type === 'savepoint') return settings.savepoint(name);
    const at = settings.savepoints.lastIndexOf(name);
    if (at < 0) return;
    if (type === 'release') {
      settings.release(name);
      cursors.release(at);
    } else {
      reports.change(() => settings.rollbackTo(name));
      cursors.rollbackTo(at + 1);
    }
  }

  /** The block's own settings, as SHOW tells them; undefined when only the core knows. */
  show(name: string): string | undefined {
    const { transaction, settings, forward } = this.#session;
    const isHere = transaction.where === 'local';
    if (!isHere && (transaction.where === 'upstream' || forward.open)) return undefined;
    const onOff = (isOn: boolean): string => (isOn ? 'on' : 'off');
    switch (name) {
      case 'transaction_isolation':
        return isHere ? transaction.isolation : settings.get('default_transaction_isolation');
      case 'transaction_read_only':
        return isHere ? onOff(transaction.isReadOnly) : settings.get('default_transaction_read_only');
      case 'transaction_deferrable':
        return isHere ? onOff(transaction.isDeferrable) : settings.get('default_transaction_deferrable');
      default:
        return undefined;
    }
  }

  #ended(committed: boolean, chain: boolean): Step {
    const session = this.#session;
    const { settings, reports, transaction } = session;
    reports.change(() => settings.end(committed));
    session.blockEnded(committed);
    if (chain) {
      // Another block like the one it ends.
      transaction.where = 'local';
      transaction.hasRead = false;
      settings.begin();
    }
    return this.#done(committed ? 'COMMIT' : 'ROLLBACK');
  }

  #setModes({ isolation, readOnly, deferrable }: TransactionModes, sql: string, tag: string): Step | null {
    const { transaction, settings } = this.#session;
    const refuse = (what: string): Step => this.#session.fail(errorFields('25001', what));
    if (isolation !== null && isolation !== transaction.isolation) {
      if (transaction.hasRead) return refuse('SET TRANSACTION ISOLATION LEVEL must be called before any query');
      if (settings.savepoints.length > 0) {
        return refuse('SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction');
      }
      if (!this.#mayBeLocal(isolation)) return null;
    }
    if (readOnly === false && transaction.isReadOnly) {
      if (settings.savepoints.length > 0) return null;
      if (transaction.hasRead) return refuse('transaction read-write mode must be set before any query');
    }
    if (deferrable !== null) {
      if (settings.savepoints.length > 0) {
        return refuse('SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction');
      }
      if (transaction.hasRead) return refuse('SET TRANSACTION [NOT] DEFERRABLE must be called before any query');
    }
    // A savepoint may take READ ONLY back: the core keeps account of that.
    if (readOnly === true && !transaction.isReadOnly && settings.savepoints.length > 0) return null;
    this.#take(transaction, { isolation, readOnly, deferrable });
    if (isolation !== null || readOnly !== null || deferrable !== null) {
      transaction.beginSql = `${transaction.beginSql}; ${tag === 'SET' ? sql : setTransactionSql({ isolation, readOnly, deferrable })}`;
    }
    return this.#done(tag);
  }

  #take(transaction: TransactionState, { isolation, readOnly, deferrable }: TransactionModes): void {
    if (isolation !== null) transaction.isolation = isolation;
    if (readOnly !== null) transaction.isReadOnly = readOnly;
    if (deferrable !== null) transaction.isDeferrable = deferrable;
  }

  #mayBeLocal(isolation: Isolation): boolean {
    const { transaction } = this.#session;
    if (isolation === 'serializable') return false;
    const isNextUpstream = transaction.isNextUpstream && isolation === 'repeatable read';
    transaction.isNextUpstream = false;
    return !isNextUpstream;
  }

  #done(tag: string): Step {
    writeCommandComplete(this.#session.out, tag);
    this.#session.answeredHere();
    return 'done';
  }

  #warn(sqlstate: string, message: string): void {
    writeNotice(this.#session.out, errorFields(sqlstate, message, { severity: 'WARNING' }));
  }
}

function setTransactionSql({ isolation, readOnly, deferrable }: TransactionModes): string {
  const modes = [
    ...(isolation === null ? [] : [`ISOLATION LEVEL ${isolation}`]),
    ...(readOnly === null ? [] : [readOnly ? 'READ ONLY' : 'READ WRITE']),
    ...(deferrable === null ? [] : [deferrable ? 'DEFERRABLE' : 'NOT DEFERRABLE']),
  ];
  return `SET TRANSACTION ${modes.join(', ')}`;
}
