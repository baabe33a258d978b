// Statements about the session that this edge does itself, without the core: SET, SHOW, RESET, PREPARE, DEALLOCATE, DISCARD; blocks
// are in block-statements.ts, cursors in cursors.ts. Each either answers and says how it went, or says null: the core has to.

import { OID } from '../pg/oid.ts';
import { errorFieldsOf } from '../session/faults.ts';
import { type ErrorFields, writeCommandComplete, writeNotice, writePortalSuspended } from '../wire/backend.ts';
import { BlockStatements } from './block-statements.ts';
import { type Parameters, TEXT_FORMATS } from './client-frames.ts';
import type { Conversation } from './conversation.ts';
import { errorFields } from './faults.ts';
import {
  isKnownSetting,
  isOwnSetting,
  isReadOnlySetting,
  isReportedSetting,
  type SessionSettings,
} from './settings.ts';
import { ownSetting, writeShowDescription, writeShowRow } from './show.ts';
import type { ConstantKind, LocalPlan, Planned, SessionStatement } from './sql/plan.ts';
import { formatToken, parseToken, requireSameSystem } from './token.ts';
import type { RelayResult } from './upstream.ts';

export type Step = 'done' | 'failed';

export const ABORTED = errorFields(
  '25P02',
  'current transaction is aborted, commands ignored until end of transaction block',
);

export interface RunOptions {
  /** The session is in a batch or block at the core. */
  readonly bound: boolean;
  /** The simple protocol's RowDescription is due. */
  readonly describe: boolean;
  /** As in Execute; 0 = all. */
  readonly rowsMax: number;
  /** As in Bind; not given in the simple protocol. */
  readonly formats?: readonly number[];
  readonly parameters?: Parameters;
  /** One of several statements of a text: they are a transaction together. */
  readonly isImplicitBlock?: boolean;
}

export class OwnStatements {
  readonly #session: Conversation;
  readonly block: BlockStatements;

  constructor(session: Conversation) {
    this.#session = session;
    this.block = new BlockStatements(session);
  }

  /** A promise when something has to be waited for; null: the core has to do it. */
  run(statement: SessionStatement, sql: string, options: RunOptions): Step | null | Promise<Step | null> {
    const { forward, cursors } = this.#session;
    if (statement.type === 'show') {
      if (statement.name !== 'skerry.token' || !forward.isAhead) return this.#show(statement, options);
      return forward.learnSeen().then(() => this.#show(statement, options));
    }
    if (statement.type === 'set' && isOwnSetting(statement.name)) return this.#setOwn(statement);
    if (statement.type === 'reset' && statement.name !== null && isOwnSetting(statement.name)) {
      return this.#setOwn({ ...statement, name: statement.name, values: null, local: false }, 'RESET');
    }
    if (statement.type === 'fetch' && (cursors.has(statement.cursor) || !options.bound)) {
      return cursors.answerFetch(statement, options);
    }
    if (statement.type === 'close' && (!options.bound || (statement.name !== null && cursors.has(statement.name)))) {
      return cursors.close(statement.name);
    }
    if (options.bound) return null;
    switch (statement.type) {
      case 'begin':
        return this.block.begin(statement, sql);
      case 'commit':
      case 'rollback':
        return this.block.end(statement.type, statement.chain);
      case 'savepoint':
      case 'release':
      case 'rollback-to':
        return this.block.savepoint(statement);
      case 'set-transaction':
        return this.block.setTransaction(statement.modes, sql, options.isImplicitBlock === true);
      case 'set-session-characteristics':
        return this.block.setCharacteristics(statement.modes);
      case 'declare':
        return cursors.declare(statement, options);
      case 'prepare':
        return this.#prepare(statement);
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
  afterwards(statement: SessionStatement, result: RelayResult, isAlone: boolean): void {
    if (result.failed) return;
    const { settings, prepared, forward, cursors } = this.#session;
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
      case 'begin':
        if (isAlone && result.status === 'T') forward.blockBegan();
        break;
      case 'savepoint':
      case 'release':
      case 'rollback-to':
        this.block.savepointDone(statement);
        break;
      case 'commit':
      case 'rollback':
        // Without CHAIN the end of the block was seen in the core's status.
        if (!statement.chain) {
          if (isAlone && result.tag === 'ROLLBACK') forward.blockUndone();
          break;
        }
        settings.end(result.tag === 'COMMIT');
        cursors.dropTransaction(result.tag === 'COMMIT');
        settings.begin();
        break;
      case 'listen':
        // Not to be found out later: a session that listens may never ask for anything again.
        forward.hold('listen');
        break;
      case 'discard':
        if (statement.target !== 'all') break;
        prepared.forgetAll();
        cursors.dropAll();
        settings.resetAll();
        settings.upstreamOpened();
        forward.discarded();
        break;
      default:
        break;
    }
  }

  #done(tag: string): Step {
    writeCommandComplete(this.#session.out, tag);
    this.#session.answeredHere();
    return 'done';
  }

  #warn(sqlstate: string, message: string): void {
    writeNotice(this.#session.out, errorFields(sqlstate, message, { severity: 'WARNING' }));
  }

  #set({ name, values, local }: SessionStatement & { type: 'set' }): Step | null {
    const { settings, transaction, reports } = this.#session;
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
    const { settings, transaction } = this.#session;
    if (transaction.failed) return this.#session.fail(ABORTED);
    if (name === 'skerry.token') return this.#setToken(values, tag);
    const problem = ownSettingProblem(settings, name, values);
    if (problem !== null) return this.#session.fail(problem);
    if (local && transaction.where === 'none') this.#warn('25P01', 'SET LOCAL can only be used in transaction blocks');
    else settings.set(name, values, local);
    return this.#done(tag);
  }

  /** What a token asks for is never taken back: neither by ROLLBACK nor by RESET does a session forget what it has seen. */
  #setToken(values: readonly string[] | null, tag: string): Step {
    const { deps, forward } = this.#session;
    const { feed } = deps;
    if (values !== null) {
      try {
        const token = parseToken(values.join(', '));
        requireSameSystem(token, feed.current.epoch?.systemId ?? null);
        forward.require(token);
      } catch (error) {
        return this.#session.fail(errorFieldsOf(error));
      }
    }
    return this.#done(tag);
  }

  #reset(name: string | null): Step | null {
    const { settings, forward, reports } = this.#session;
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
    const { settings, deps, forward, transaction, out, answered } = this.#session;
    const { feed, engine } = deps;
    const { name, column } = statement;
    if (name === 'skerry.token' && !transaction.failed && feed.current.epoch === null)
      return this.#session.fail(NO_TOKEN_YET);
    const own = name === 'skerry.token' ? this.#token() : ownSetting(name, feed, engine, answered);
    // The core knows better, if it is there.
    const isKept = isKnownSetting(name) && (isOwnSetting(name) || (!bound && !forward.open));
    const value = own ?? (isKept ? settings.get(name) : this.block.show(name));
    if (value === undefined) {
      if (!isOwnSetting(name)) return null;
      return this.#session.fail(errorFields('42704', `unrecognized configuration parameter "${name}"`));
    }
    if (transaction.failed) return this.#session.fail(ABORTED);
    if (describe) writeShowDescription(out, name, column);
    writeShowRow(out, value);
    if (rowsMax === 1) writePortalSuspended(out);
    else writeCommandComplete(out, column === undefined ? 'SHOW' : 'SELECT 1');
    if (own === null) this.#session.answeredHere();
    return 'done';
  }

  /** What this session has seen and written up to now, as far as that is known: see `Forwarder.seen`. */
  #token(): string {
    const { deps, forward } = this.#session;
    const { feed, engine } = deps;
    const { epoch } = feed.current;
    const { needed } = forward;
    if (epoch === null) return '';
    return formatToken({
      epoch: { systemId: epoch.systemId, timeline: Math.max(epoch.timeline, needed.timeline) },
      lsn: needed.lsn > engine.position ? needed.lsn : engine.position,
    });
  }

  /** Null: what it prepares is the core's to run. */
  #prepare({ name, parameterTypes, query, planned }: SessionStatement & { type: 'prepare' }): Step | null {
    const { prepared, deps } = this.#session;
    if (planned.plan.kind !== 'local' || parameterTypes === null) return null;
    if (prepared.statement(name) !== undefined) {
      return this.#session.fail(errorFields('42P05', `prepared statement "${name}" already exists`));
    }
    if (prepared.size >= deps.limits.statementsMax) return this.#session.fail(tooManyStatements(prepared.size));
    prepared.keep({
      name,
      sql: query,
      parameterTypes,
      stamp: this.#session.stamp(planned),
      columns: planned.plan.columns,
      upstream: false,
    });
    return this.#done('PREPARE');
  }

  /** What EXECUTE runs, with its values: a query that can be answered here. Null: the core has to judge it. */
  executable({ name, argumentTexts, argumentKinds }: SessionStatement & { type: 'execute' }): Executable | null {
    const statement = this.#session.prepared.statement(name);
    if (statement === undefined || argumentTexts === null || this.#session.isBound) return null;
    if (this.#session.renew(statement) !== null) return null;
    const { planned } = statement.stamp;
    const { plan } = planned;
    if (plan.kind !== 'local' || plan.parameterTypes.length !== argumentTexts.length) return null;
    const isFit = plan.parameterTypes.every((typeOid, index) => fits(argumentKinds[index] ?? 'null', typeOid));
    if (!isFit) return null;
    const values = argumentTexts.map((text) => (text === null ? null : Buffer.from(text)));
    return { plan, planned, parameters: { formats: TEXT_FORMATS, values } };
  }

  #deallocate(name: string | null): Step | null {
    const { forward, prepared } = this.#session;
    if (name === null) {
      if (forward.open) return null;
      prepared.forgetAll();
      return this.#done('DEALLOCATE ALL');
    }
    const statement = prepared.statement(name);
    if (forward.open && statement?.upstream !== false) return null;
    if (prepared.forget(name)) return this.#done('DEALLOCATE');
    return this.#session.fail(errorFields('26000', `prepared statement "${name}" does not exist`));
  }

  #discard(target: 'all' | 'plans' | 'sequences' | 'temp'): Step | null {
    const { forward, transaction, prepared, settings, reports } = this.#session;
    if (forward.open || transaction.where !== 'none') return null;
    if (target === 'all') {
      prepared.forgetAll();
      prepared.dropPortals();
      this.#session.cursors.dropAll();
      reports.change(() => settings.resetAll());
    }
    return this.#done(`DISCARD ${target.toUpperCase()}`);
  }
}

export interface Executable {
  readonly plan: LocalPlan;
  readonly planned: Planned;
  readonly parameters: Parameters;
}

/** Whether a constant of that kind, given for a parameter of that type, is what its text would be read as. */
function fits(kind: ConstantKind, typeOid: number): boolean {
  switch (kind) {
    case 'null':
    case 'string':
      return true;
    case 'boolean':
      return typeOid === OID.bool;
    case 'integer':
      return INTEGER_FITS.has(typeOid);
    case 'float':
      return typeOid === OID.numeric || typeOid === OID.float8;
  }
}

const INTEGER_FITS: ReadonlySet<number> = new Set([OID.int4, OID.int8, OID.numeric, OID.float8]);

export function tooManyStatements(count: number): ErrorFields {
  return errorFields('54000', `this session holds ${count} prepared statements, no more are allowed`, {
    hint: 'close statements that are no longer used (DEALLOCATE), or lower the driver’s statement cache',
  });
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
