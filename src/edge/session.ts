// One client of the edge: frames in, answers out, strictly in order. What can be answered from the replica is answered at
// once, in one write a batch; everything else goes to the core and its frames come back as they are.
//
//   simple:    simple-query.ts; whole queries that go to the core: forwarded.ts
//   extended:  extended-query.ts; segment.ts holds what of a batch went to the core; after an error everything up to Sync
//              is skipped
//   blocks:    none ─BEGIN─▶ local ─first forwarded statement─▶ upstream; COMMIT or ROLLBACK ─▶ none (own-statements.ts)
//   COPY IN:   copy-in.ts
//
// While something asynchronous runs (a forwarded batch, a slow lane, a wait for an own write) later frames wait in the
// server session.

import { Fault } from '../base/fault.ts';
import type { ServerSession, SessionOwner } from '../session/server-session.ts';
import { wireFault } from '../wire/faults.ts';
import { FRONTEND } from '../wire/frontend.ts';
import { Frame } from './client-frames.ts';
import { Conversation, type SessionDeps, type Wait } from './conversation.ts';
import { CopyIn } from './copy-in.ts';
import { ExtendedQuery } from './extended-query.ts';
import { ForwardedQueries } from './forwarded.ts';
import type { Held } from './forward.ts';
import type { PreparedStatement } from './prepared.ts';
import { Segment } from './segment.ts';
import { isKnownSetting, type SessionSettings } from './settings.ts';
import { SimpleQuery } from './simple-query.ts';
import { UpstreamLost } from './upstream.ts';
import { forwardError, why } from './why.ts';

/** A client that leaves this much unread is sent nothing more until it reads. */
const CLIENT_QUEUE_BYTES_MAX = 1024 * 1024;

export class EdgeSession implements SessionOwner {
  readonly #session: Conversation;
  readonly #server: ServerSession;
  readonly #copy: CopyIn;
  readonly #segment: Segment;
  readonly #forwarded: ForwardedQueries;
  readonly #simple: SimpleQuery;
  readonly #extended: ExtendedQuery;
  #upstreamPaused = false;
  #room: (() => void) | null = null;
  #ended = false;

  constructor(deps: SessionDeps, server: ServerSession) {
    this.#server = server;
    const session = new Conversation(deps, server, {
      isInSegment: () => this.#segment.isOpen,
      clientRoom: () => this.#clientRoom(),
      forwarder: {
        relay: (bytes) => this.#relay(bytes),
        parameter: (name, value) => this.#learn(name, value),
        copyIn: () => this.#copy.begins(),
        closeConfirmed: () => this.#segment.closed(),
        parseRefused: (token) => {
          this.#segment.refused = token as PreparedStatement;
        },
        parsed: (token) => {
          (token as PreparedStatement).upstream = true;
        },
        drained: () => this.#copy.drained(),
        beforeReady: ({ status, failed }) => {
          if (status === 'I') session.endImplicit(!failed);
          session.reports.write(session.out);
          server.flush();
          session.timers.ready(status);
        },
        unnamedGone: () => session.prepared.unnamedGone(),
        released: () => session.prepared.upstreamLost(),
        isIdle: () => !session.busy && !session.isBound,
        isInBatch: () => this.#segment.isOpen,
        finishCursors: () => session.cursors.finishAll(),
        lost: (held) => this.#upstreamLost(held),
      },
    });
    this.#session = session;
    this.#copy = new CopyIn(session);
    this.#segment = new Segment(session, this.#copy);
    this.#forwarded = new ForwardedQueries(session, this.#copy);
    const { local } = session;
    this.#simple = new SimpleQuery(session, local, this.#forwarded);
    this.#extended = new ExtendedQuery(session, local, this.#segment, this.#copy);
    if (session.settings.get('client_encoding') !== 'UTF8') session.forward.hold('encoding');
    session.timers.ready('I');
  }

  get settings(): SessionSettings {
    return this.#session.settings;
  }

  frame(type: number, buffer: Buffer, start: number, end: number): void {
    this.#session.timers.busy();
    const wait = this.#frame(type, buffer, start, end);
    if (wait !== undefined) this.#await(wait);
  }

  flush(): void {
    const { forward } = this.#session;
    if (this.#copy.state !== 'no' && forward.open) forward.upstream.flush();
  }

  drain(): void {
    if (this.#upstreamPaused) {
      this.#upstreamPaused = false;
      const { forward } = this.#session;
      if (forward.open) forward.upstream.resume();
    }
    const room = this.#room;
    this.#room = null;
    room?.();
  }

  cancel(): void {
    const { slow, forward, cursors } = this.#session;
    if (slow.running) slow.cancel();
    else if (cursors.isRunning) cursors.cancel();
    else if (forward.isWaiting) forward.cancelWait();
    else if (forward.open && forward.upstream.busy) void forward.upstream.cancel().catch(() => {});
  }

  closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    const { slow, prepared, forward, cursors, transaction, timers } = this.#session;
    timers.stop();
    slow.kill();
    prepared.dropPortals();
    cursors.dropAll();
    transaction.snapshot?.close();
    transaction.snapshot = null;
    forward.end();
    this.drain();
  }

  #await(wait: Promise<void>): void {
    this.#session.busy = true;
    this.#server.pause();
    wait.then(
      () => {
        this.#session.busy = false;
        this.#server.flush();
        this.#server.resume();
      },
      (error: unknown) => this.#server.fail(error),
    );
  }

  /** Resolves when the client's queue has room; false when it is gone. */
  async #clientRoom(): Promise<boolean> {
    if (this.#server.queuedBytes > CLIENT_QUEUE_BYTES_MAX && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    return !this.#ended;
  }

  #relay(bytes: Uint8Array): void {
    this.#server.send(bytes);
    if (!this.#upstreamPaused && this.#server.queuedBytes > CLIENT_QUEUE_BYTES_MAX) {
      this.#upstreamPaused = true;
      this.#session.forward.upstream.pause();
    }
  }

  #upstreamLost(held: Held | null): void {
    const session = this.#session;
    this.#copy.state = 'no';
    session.prepared.upstreamLost();
    if (session.transaction.where === 'upstream') session.blockLost();
    if (held !== null) {
      this.#server.fail(
        new Fault('core-lost', {
          message: 'the connection to the core broke, and with it what this session held there',
          detail: `held there: ${held}`,
          hint: 'connect again',
          sqlstate: '57P01',
          retryable: true,
        }),
      );
    } else if (this.#segment.isOpen && !session.busy && !session.skipUntilSync) {
      // The client may be waiting for answers it asked for with Flush.
      session.fail(forwardError(new UpstreamLost(null), this.#segment.why, null));
      this.#server.flush();
    }
  }

  /** The core has told the client of a setting. */
  #learn(name: string, value: string): void {
    const { reports, settings, forward } = this.#session;
    if (!isKnownSetting(name)) return;
    reports.relayed(name, value, () => settings.learn(name, value));
    if (name === 'client_encoding' && value !== 'UTF8') forward.hold('encoding');
  }

  #frame(type: number, buffer: Buffer, start: number, end: number): Wait {
    if (this.#copy.isOpen) return this.#copy.frame(type, buffer, start, end);
    if (type !== FRONTEND.sync && (this.#session.skipUntilSync || this.#segment.hasFailed)) return undefined;
    switch (type) {
      case FRONTEND.query:
        return this.#simple.query(buffer, start, end);
      case FRONTEND.parse:
        return this.#extended.parse(buffer, start, end);
      case FRONTEND.bind:
        return this.#extended.bind(buffer, start, end);
      case FRONTEND.describe:
        return this.#extended.describe(buffer, start, end);
      case FRONTEND.execute:
        return this.#extended.execute(buffer, start, end);
      case FRONTEND.close:
        return this.#extended.close(buffer, start, end);
      case FRONTEND.sync:
        return this.#segment.sync(new Frame(buffer, start, end));
      case FRONTEND.flush:
        if (this.#segment.isOpen && this.#session.forward.open) this.#session.forward.upstream.sendFlush();
        this.#server.flush();
        return undefined;
      case FRONTEND.functionCall:
        return this.#forwarded.frame(new Frame(buffer, start, end), why('function'), true);
      case FRONTEND.copyData:
      case FRONTEND.copyDone:
      case FRONTEND.copyFail:
        // Late messages of a COPY that failed: Postgres ignores them too.
        return undefined;
      default:
        throw wireFault('protocol-violation', `invalid frontend message type ${type}`);
    }
  }
}
