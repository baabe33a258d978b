// What of the extended protocol went to the core since the last Sync. Once one message of such a segment went there the rest
// follows, so that the core's implicit transaction holds all of it.

import { ByteWriter } from '../wire/bytes.ts';
import type { ErrorFields } from '../wire/backend.ts';
import { encodeFrontend } from '../wire/frontend.ts';
import type { Frame } from './client-frames.ts';
import type { Conversation, Wait } from './conversation.ts';
import type { CopyIn } from './copy-in.ts';
import { ABORTED } from './own-statements.ts';
import type { PreparedStatement } from './prepared.ts';
import type { SessionStatement } from './sql/plan.ts';
import { UpstreamLost } from './upstream.ts';
import { forwardError, type Why, why } from './why.ts';

export class Segment {
  readonly #session: Conversation;
  readonly #copy: CopyIn;
  /** The current segment went to the core. */
  isOpen = false;
  changing = false;
  why: Why | null = null;
  statements: SessionStatement[] = [];
  /** Statements whose Parse went up in this segment: the client's own with what had its name before, ours with `own`. */
  readonly parsed = new Map<PreparedStatement, PreparedStatement | 'own' | null>();

  /** The statement whose Parse the core has refused. */
  refused: PreparedStatement | null = null;
  /** What the client's Closes of this segment named, as far as the core has not confirmed them; null is nothing to bring back. */
  readonly #closing: (PreparedStatement | null)[] = [];

  constructor(session: Conversation, copy: CopyIn) {
    this.#session = session;
    this.#copy = copy;
  }

  /** The core has refused a message of this segment: what follows is ignored there, and here. */
  get hasFailed(): boolean {
    const { forward } = this.#session;
    return this.isOpen && forward.open && forward.upstream.failed;
  }

  #end(): void {
    for (const [statement, before] of this.parsed) {
      const isKnown = this.#session.prepared.statement(statement.name) === statement;
      // The core has not confirmed the client's Parse: all is as it was, but that a refused one takes what has no name along.
      if (before === 'own' || statement.upstream || !isKnown) continue;
      const last = this.#lastConfirmed(statement);
      if (last === null) this.#session.prepared.forget(statement.name);
      else this.#session.prepared.keep(last);
    }
    // Behind an error the core has not even read them.
    for (const statement of this.#closing) {
      if (statement === null || this.#session.prepared.statement(statement.name) !== undefined) continue;
      statement.upstream &&= this.#session.forward.open;
      this.#session.prepared.keep(statement);
    }
    this.#closing.length = 0;
    if (this.#session.transaction.where === 'none') this.#session.prepared.dropPortals();
    this.isOpen = false;
    this.changing = false;
    this.why = null;
    this.parsed.clear();
    this.refused = null;
    this.statements = [];
    this.#session.skipUntilSync = false;
    this.#copy.state = 'no';
    this.#copy.syncs = 0;
  }

  /** What had the name of an unconfirmed statement at last, as far as the core is concerned; null when nothing has. */
  #lastConfirmed(statement: PreparedStatement): PreparedStatement | null {
    for (let at = statement; ; ) {
      if (at === this.refused && at.name === '') return null;
      const before = this.parsed.get(at);
      if (before === undefined || before === 'own' || at.upstream) return at;
      if (before === null) return null;
      at = before;
    }
  }

  async #syncUpstream(frame: Frame): Promise<void> {
    this.#session.server.flush();
    this.#copy.syncs += 1;
    try {
      if (this.#session.forward.open) {
        const result = await this.#session.forward.upstream.untilReady(frame.bytes);
        this.#session.forwarded(result, this.why, this.changing);
        const isAlone = this.statements.length === 1 && !this.changing;
        for (const statement of this.statements) this.#session.own.afterwards(statement, result, isAlone);
      } else {
        // The connection broke earlier in this segment, and the client was told.
        this.#session.writeReady();
      }
    } catch (error) {
      this.#session.simpleFailed(forwardError(error, this.why, null));
    } finally {
      this.#end();
    }
  }

  sync(frame: Frame): Wait {
    if (this.isOpen) return this.#syncUpstream(frame);
    const { cursors, transaction } = this.#session;
    const committed = !this.#session.skipUntilSync;
    this.#session.endImplicit(committed);
    this.#session.skipUntilSync = false;
    if (transaction.where !== 'none') return this.#session.writeReady();
    this.#session.prepared.dropPortals();
    if (!cursors.hasUncommitted) return this.#session.writeReady();
    return cursors.endTransaction(committed).then((error) => {
      if (error !== null) this.#session.fail(error);
      this.#session.skipUntilSync = false;
      this.#session.writeReady();
    });
  }

  /** Runs `send` with the connection to the core ready for this segment. `known`: what to say when the core is away. */
  run(send: () => void, because: Why | null, known: ErrorFields | null = null): Wait {
    const { transaction } = this.#session;
    // It failed here, and the core knows nothing of it.
    if (transaction.where === 'local' && transaction.failed) return this.#session.failed(ABORTED);
    if (!this.isOpen) {
      this.#session.server.flush();
      return this.#enter(send, because, known);
    }
    if (!this.#session.forward.open) return this.#session.failed(forwardError(new UpstreamLost(null), because, null));
    if (!this.#session.forward.upstream.failed) send();
    return undefined;
  }

  async #enter(send: () => void, because: Why | null, known: ErrorFields | null): Promise<void> {
    try {
      await this.#session.forward.prepare(this.#session.transaction);
      this.isOpen = true;
      send();
    } catch (error) {
      this.#session.fail(forwardError(error, because, known));
    }
  }

  /** Describe, Execute or Close of something that only the core knows. */
  counted(frame: Frame): Wait {
    return this.run(() => this.#session.forward.upstream.sendCounted(frame.bytes), null);
  }

  /** A Close goes to the core; until that has confirmed it, it may be for nothing. */
  close(frame: Frame, statement: PreparedStatement | null): Wait {
    return this.run(() => {
      this.#closing.push(statement);
      this.#session.forward.upstream.sendCounted(frame.bytes);
    }, null);
  }

  /** The core has confirmed the first Close that it had not. */
  closed(): void {
    this.#closing.shift();
  }

  /** Another encoding: texts cannot be read here, so all goes up unread. */
  raw(frame: Frame, kind: 'parse' | 'bind' | 'counted'): Wait {
    return this.run(() => {
      this.changing = true;
      this.why = why('encoding');
      this.#copy.mode = 'extended';
      if (kind === 'parse') this.#session.forward.upstream.sendParse(frame.bytes, {}, true);
      else if (kind === 'bind') this.#session.forward.upstream.sendBind(frame.bytes, true);
      else this.#session.forward.upstream.sendCounted(frame.bytes);
    }, why('encoding'));
  }

  /** Writes an answer of ours after those that the core still owes. */
  after(write: () => Wait | void): Wait {
    if (!this.isOpen || !this.#session.forward.open) return write() ?? undefined;
    return this.#session.forward.upstream.drain().then(() => (this.hasFailed ? undefined : (write() ?? undefined)));
  }

  /** Makes a statement that was only known here known to the core, without the client noticing. */
  parse(statement: PreparedStatement): void {
    if (statement.upstream || this.parsed.has(statement)) return;
    const { name, sql, parameterTypes } = statement;
    const writer = new ByteWriter();
    encodeFrontend(writer, { tag: 'parse', statement: name, sql, parameterTypes });
    // Not the client's own Parse: if it fails, the statement stays known here.
    this.parsed.set(statement, 'own');
    this.#session.forward.upstream.sendParse(writer.take(), statement, false);
  }
}
