// The admin console: a client whose database is `skerry`. Simple queries only, as in PgBouncer.

import { Fault } from '../../base/fault.ts';
import type { Connection, ConnectionHandler } from '../../base/net.ts';
import { errorFieldsOf } from '../../session/faults.ts';
import {
  beginDataRow,
  encodeBackend,
  endDataRow,
  writeCommandComplete,
  writeEmptyQueryResponse,
  writeError,
  writeNullValue,
  writeParameterStatus,
  writeReadyForQuery,
  writeRowDescription,
  writeTextValue,
} from '../../wire/backend.ts';
import { ByteWriter } from '../../wire/bytes.ts';
import { FRONTEND } from '../../wire/frontend.ts';
import { FrameReader } from '../../wire/frame.ts';
import type { Proxy } from '../proxy.ts';
import { runCommand } from './commands.ts';

/** A console command is a line; nobody needs more. */
const COMMAND_BYTES_MAX = 64 * 1024;

export type Cell = string | number | null;

/** What a command answers. */
export interface AdminAnswer {
  readonly tag: string;
  readonly columns?: readonly string[];
  readonly rows?: readonly (readonly Cell[])[];
  /** What is wrong with the answer although it is one. */
  readonly warning?: string;
}

export interface AdminCommands {
  reload(): Promise<void>;
  stop(): void;
}

export interface AdminSessionOptions {
  readonly proxy: Proxy;
  readonly connection: Connection;
  readonly user: string;
  readonly commands: AdminCommands;
  /** False: SHOW only. */
  readonly mayChange: boolean;
  readonly closed: () => void;
}

export class AdminSession implements ConnectionHandler {
  readonly user: string;
  readonly #options: AdminSessionOptions;
  readonly #connection: Connection;
  readonly #reader = new FrameReader({ bytesMax: COMMAND_BYTES_MAX });
  #busy = false;
  #skipping = false;

  constructor(options: AdminSessionOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.user = options.user;
  }

  start(writer: ByteWriter, rest: Buffer): void {
    for (const [name, value] of PARAMETERS) writeParameterStatus(writer, name, value);
    writeParameterStatus(writer, 'server_version', `15.0 (skerry ${this.#options.proxy.version})`);
    encodeBackend(writer, { tag: 'backendKeyData', processId: 0, secretKey: new Uint8Array(4) });
    writeReadyForQuery(writer, 'I');
    this.#connection.write(writer.take());
    this.#connection.handler = this;
    this.#connection.resume();
    if (rest.length > 0) this.data(rest);
  }

  /** A command is under way. */
  get isBusy(): boolean {
    return this.#busy;
  }

  data(chunk: Uint8Array): void {
    this.#reader.push(chunk);
    void this.#dispatch();
  }

  close(): void {
    this.#options.closed();
  }

  end(): void {
    this.#connection.end();
  }

  async #dispatch(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (!this.#connection.closed && this.#reader.next()) await this.#frame();
    } catch (error) {
      const writer = new ByteWriter();
      writeError(writer, errorFieldsOf(error, 'FATAL'));
      this.#connection.write(writer.take());
      this.#connection.end();
    } finally {
      this.#busy = false;
    }
  }

  async #frame(): Promise<void> {
    const { type, buffer, start, end } = this.#reader;
    const writer = new ByteWriter();
    if (type === FRONTEND.terminate) {
      this.#connection.end();
      return;
    }
    if (type === FRONTEND.query) {
      this.#skipping = false;
      await this.#query(writer, buffer.toString('utf8', start, end - 1));
    } else if (type === FRONTEND.sync) {
      this.#skipping = false;
      writeReadyForQuery(writer, 'I');
    } else if (!this.#skipping) {
      this.#skipping = true;
      writeError(writer, {
        severity: 'ERROR',
        sqlstate: '0A000',
        message: 'the admin console understands simple queries only',
        hint: 'use psql, or your driver’s simple query mode',
      });
    }
    this.#connection.write(writer.take());
  }

  async #query(writer: ByteWriter, text: string): Promise<void> {
    const commands = text.split(';').filter((one) => one.trim() !== '');
    if (commands.length === 0) writeEmptyQueryResponse(writer);
    try {
      for (const command of commands) {
        const { proxy, commands: actions, mayChange } = this.#options;
        writeAnswer(writer, await runCommand(command, { proxy, actions, mayChange }));
      }
    } catch (error) {
      if (!(error instanceof Fault)) this.#options.proxy.log.error('proxy.admin-broken', { message: String(error) });
      writeError(writer, errorFieldsOf(error));
    }
    writeReadyForQuery(writer, 'I');
  }
}

const PARAMETERS: readonly (readonly [string, string])[] = [
  ['client_encoding', 'UTF8'],
  ['server_encoding', 'UTF8'],
  ['DateStyle', 'ISO'],
  ['TimeZone', 'GMT'],
  ['standard_conforming_strings', 'on'],
  ['is_superuser', 'on'],
  ['integer_datetimes', 'on'],
];

const TEXT_OID = 25;
const INT8_OID = 20;

function writeAnswer(writer: ByteWriter, answer: AdminAnswer): void {
  const { columns, rows = [], warning } = answer;
  if (warning !== undefined) {
    encodeBackend(writer, {
      tag: 'noticeResponse',
      fields: { severity: 'WARNING', sqlstate: '01000', message: warning },
    });
  }
  if (columns !== undefined) {
    writeRowDescription(
      writer,
      columns.map((name, index) => {
        const isNumber = typeof rows[0]?.[index] === 'number';
        return {
          name,
          tableOid: 0,
          attnum: 0,
          typeOid: isNumber ? INT8_OID : TEXT_OID,
          typeSize: isNumber ? 8 : -1,
          typmod: -1,
          format: 0,
        };
      }),
    );
    for (const row of rows) {
      const mark = beginDataRow(writer, row.length);
      for (const cell of row) {
        if (cell === null) writeNullValue(writer);
        else writeTextValue(writer, typeof cell === 'number' ? String(Math.round(cell)) : cell);
      }
      endDataRow(writer, mark);
    }
  }
  writeCommandComplete(writer, answer.tag);
}
