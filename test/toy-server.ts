// A PostgreSQL server that knows nothing: it answers any statement with the statement itself. For tests of server sessions.
//
//   select 'sleep'   no answer until cancelled        select 'flood N'   N rows of 1 kB
//   select 'boom'    an error                         copy …             refused

import type { Listener } from '../src/base/net.ts';
import { SILENT_LOG } from '../src/observe/log.ts';
import { type Admit, admissionBy, verifiersOf } from '../src/session/admission.ts';
import { CancelRegistry } from '../src/session/cancel.ts';
import { type ServerOptions, ServerSession, type SessionOwner } from '../src/session/server-session.ts';
import {
  beginDataRow,
  endDataRow,
  writeBindComplete,
  writeCloseComplete,
  writeCommandComplete,
  writeError,
  writeNoData,
  writeParameterDescription,
  writeParseComplete,
  writeReadyForQuery,
  writeRowDescription,
  writeTextValue,
} from '../src/wire/backend.ts';
import { decodeFrontend } from '../src/wire/frontend.ts';
import { sessionWorld } from './session-world.ts';

export interface ToyServer extends AsyncDisposable {
  readonly listener: Listener;
  readonly port: number;
  readonly sessions: Set<ServerSession>;
  readonly cancels: CancelRegistry;
  /** What owners were told when their sessions ended. */
  readonly closed: (Error | undefined)[];
  /** Frames that owners got, and how often they were told that there is room. */
  readonly frames: FrameCounts;
}

interface FrameCounts {
  count: number;
  drains: number;
}

export interface ToyOptions extends Partial<Omit<ServerOptions, 'cancels' | 'mockSecret' | 'open'>> {
  readonly passwords?: Readonly<Record<string, string>>;
  readonly trustLoopback?: boolean;
  readonly requireTls?: boolean;
  readonly acceptCertificates?: boolean;
  readonly connectionsMax?: number;
}

export async function startToyServer(options: ToyOptions = {}): Promise<ToyServer> {
  const { clock, random, crypto, net } = sessionWorld();
  const world = { clock, random, crypto, log: SILENT_LOG };
  const verifiers = await verifiersOf(world, Object.entries(options.passwords ?? { alice: 'secret' }));
  const admit: Admit =
    options.admit ??
    admissionBy({
      verifiers,
      trustLoopback: options.trustLoopback ?? false,
      requireTls: options.requireTls ?? false,
      acceptCertificates: options.acceptCertificates ?? false,
    });
  const sessions = new Set<ServerSession>();
  const closed: (Error | undefined)[] = [];
  const cancels = new CancelRegistry(random, crypto);
  const frames: FrameCounts = { count: 0, drains: 0 };
  const serverOptions: ServerOptions = {
    ...options,
    admit,
    cancels,
    mockSecret: random.bytes(32),
    open: (session) => {
      sessions.add(session);
      return { owner: new ToyOwner(session, sessions, closed, frames), parameters: PARAMETERS };
    },
  };
  const listener = await net.listen({
    host: '127.0.0.1',
    port: 0,
    accept: (connection) => {
      ServerSession.accept(world, connection, serverOptions);
    },
    ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
  });
  return {
    listener,
    port: listener.port,
    sessions,
    cancels,
    closed,
    frames,
    [Symbol.asyncDispose]: () => {
      listener.stop();
      for (const session of sessions) session.destroy();
      return Promise.resolve();
    },
  };
}

const PARAMETERS: [string, string][] = [
  ['server_version', '15.0 (toy)'],
  ['server_encoding', 'UTF8'],
  ['client_encoding', 'UTF8'],
  ['standard_conforming_strings', 'on'],
  ['integer_datetimes', 'on'],
  ['DateStyle', 'ISO, MDY'],
  ['TimeZone', 'UTC'],
];

class ToyOwner implements SessionOwner {
  readonly #session: ServerSession;
  readonly #sessions: Set<ServerSession>;
  readonly #closed: (Error | undefined)[];
  readonly #frames: FrameCounts;
  #sql = '';
  #sleeping = false;

  constructor(
    session: ServerSession,
    sessions: Set<ServerSession>,
    closed: (Error | undefined)[],
    frames: FrameCounts,
  ) {
    this.#session = session;
    this.#sessions = sessions;
    this.#closed = closed;
    this.#frames = frames;
  }

  drain(): void {
    this.#frames.drains += 1;
  }

  frame(type: number, buffer: Buffer, start: number, end: number): void {
    this.#frames.count += 1;
    const { writer } = this.#session;
    const message = decodeFrontend(type, buffer, start, end);
    switch (message.tag) {
      case 'query':
        if (message.sql.includes('sleep')) {
          this.#sleeping = true;
          this.#session.pause();
          return;
        }
        this.#answer(message.sql, true);
        return writeReadyForQuery(writer, 'I');
      case 'parse':
        this.#sql = message.sql;
        return writeParseComplete(writer);
      case 'bind':
        return writeBindComplete(writer);
      case 'close':
        return writeCloseComplete(writer);
      case 'describe':
        if (message.target === 'statement') writeParameterDescription(writer, []);
        return this.#isSelect(this.#sql) ? writeRowDescription(writer, COLUMNS) : writeNoData(writer);
      case 'execute':
        return this.#answer(this.#sql, false);
      case 'sync':
        return writeReadyForQuery(writer, 'I');
      default:
        return;
    }
  }

  cancel(): void {
    if (!this.#sleeping) return;
    this.#sleeping = false;
    const { writer } = this.#session;
    writeError(writer, { severity: 'ERROR', sqlstate: '57014', message: 'canceling statement due to user request' });
    writeReadyForQuery(writer, 'I');
    this.#session.flush();
    this.#session.resume();
  }

  closed(error?: Error): void {
    this.#sessions.delete(this.#session);
    this.#closed.push(error);
  }

  #isSelect(sql: string): boolean {
    return /^\s*select/i.test(sql);
  }

  #answer(sql: string, describe: boolean): void {
    const { writer } = this.#session;
    if (sql.includes('boom')) return writeError(writer, { severity: 'ERROR', sqlstate: 'XX001', message: 'boom' });
    if (!this.#isSelect(sql)) return writeCommandComplete(writer, 'SET');
    if (describe) writeRowDescription(writer, COLUMNS);
    const flood = Number(/flood (\d+)/.exec(sql)?.[1] ?? 0);
    const text = flood > 0 ? 'x'.repeat(1000) : sql;
    for (let row = 0; row < Math.max(1, flood); row += 1) {
      const mark = beginDataRow(writer, 1);
      writeTextValue(writer, text);
      endDataRow(writer, mark);
    }
    writeCommandComplete(writer, `SELECT ${Math.max(1, flood)}`);
  }
}

const COLUMNS = [{ name: 'echo', tableOid: 0, attnum: 0, typeOid: 25, typeSize: -1, typmod: -1, format: 0 }];
