// Whole queries that go to the core, and what they leave behind here.

import { type ErrorFields, writeNotice } from '../wire/backend.ts';
import { ByteWriter } from '../wire/bytes.ts';
import { encodeFrontend } from '../wire/frontend.ts';
import { formatTime, isQuiet, writeRemembered } from './catalogue/tell.ts';
import type { Frame } from './client-frames.ts';
import type { Conversation } from './conversation.ts';
import type { CopyIn } from './copy-in.ts';
import { errorFields, isCoreAway } from './faults.ts';
import type { Step } from './own-statements.ts';
import type { SessionPlan, SessionStatement } from './sql/plan.ts';
import type { RelayResult } from './upstream.ts';
import { forwardError, isChangingSession, isForeignServer, type Why } from './why.ts';

export interface FrameOptions {
  /** What to say when the core is away. */
  readonly known?: ErrorFields | null;
  readonly session?: SessionStatement | null;
  /** The statement, if what the core said to it before may be told when it is away. */
  readonly text?: string | null;
  /** Called when the core has answered. */
  readonly done?: ((result: RelayResult) => void) | null;
}

export class ForwardedQueries {
  readonly #session: Conversation;
  readonly #copy: CopyIn;

  constructor(session: Conversation, copy: CopyIn) {
    this.#session = session;
    this.#copy = copy;
  }

  /** Sends a Query (or FunctionCall) up and relays the answer, ReadyForQuery included. */
  async frame(
    frame: Frame,
    because: Why,
    changing: boolean,
    { known = null, session = null, text = null, done = null }: FrameOptions = {},
  ): Promise<void> {
    this.#tellWhy(because);
    this.#session.server.flush();
    if (text !== null) this.#session.deps.remembered.seen(text);
    try {
      await this.#session.forward.prepare(this.#session.transaction);
      if (session?.type === 'execute') await this.#prepareNamed(session.name);
      this.#copy.mode = 'simple';
      const result = await this.#session.forward.upstream.untilReady(frame.bytes);
      this.#session.forwarded(result, because, changing);
      if (session !== null) this.#session.own.afterwards(session, result, true);
      done?.(result);
    } catch (error) {
      if (text !== null && isCoreAway(error) && this.#answerRemembered(text)) return;
      this.#session.simpleFailed(forwardError(error, because, known));
    } finally {
      this.#copy.state = 'no';
    }
  }

  /** EXPLAIN of what the core answers: why, before its plan. */
  #tellWhy({ notice }: Why): void {
    const { out, settings } = this.#session;
    if (notice === undefined || isQuiet(settings.get('client_min_messages') ?? 'notice')) return;
    // It asks for estimates before most of its queries, and would pass each notice on.
    if (isForeignServer(settings)) return;
    writeNotice(out, errorFields('00000', notice, { severity: 'NOTICE' }));
  }

  /** Without the core, tells what it said to the same question about its catalogue before. False when that is not known. */
  #answerRemembered(text: string): boolean {
    const { settings, transaction, deps, out } = this.#session;
    if (transaction.where !== 'none' || settings.isPeculiar || !settings.isUsual) return false;
    const answer = deps.remembered.answer(text);
    if (answer === null) return false;
    writeRemembered(out, answer, settings.get('client_min_messages') ?? 'notice');
    this.#session.answered = { by: 'remembered', reason: `the core is away; so it said at ${formatTime(answer.atMs)}` };
    deps.counts.remembered();
    this.#session.simpleEnd();
    return true;
  }

  /** SET and the like, where the core has the say. */
  session(frame: Frame, { statement }: SessionPlan): Promise<void> {
    const because = { reason: 'session', detail: `${statement.type} is the core's to judge` };
    return this.frame(frame, because, isChangingSession(statement), { session: statement });
  }

  /** Sends one statement of a script up; the script goes on here, so ReadyForQuery is kept back. */
  async slice(sql: string, because: Why, changing: boolean): Promise<Step> {
    this.#tellWhy(because);
    this.#session.server.flush();
    try {
      await this.#session.forward.prepare(this.#session.transaction);
      const writer = new ByteWriter();
      encodeFrontend(writer, { tag: 'query', sql });
      const result = await this.#session.forward.upstream.untilReady(writer.take(), false);
      this.#session.forwarded(result, because, changing);
      return result.failed ? 'failed' : 'done';
    } catch (error) {
      return this.#session.fail(forwardError(error, because, null));
    }
  }

  /** EXECUTE may name a statement that was prepared by the protocol, and only here. */
  async #prepareNamed(name: string): Promise<void> {
    const named = this.#session.prepared.statement(name);
    if (named === undefined || named.upstream) return;
    const { error } = await this.#session.forward.upstream.prepare(named.name, named.sql, named.parameterTypes);
    named.upstream = error === null;
  }
}
