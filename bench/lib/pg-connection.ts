// A client of the PostgreSQL protocol that costs next to nothing, so that a bench measures the server and not its client:
// one socket, text format, requests answered in order, no types, no TLS. It is deliberately not the project's own codec.

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import type { Socket } from 'bun';

export interface PgTarget {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** For SCRAM-SHA-256, the only method besides trust. */
  readonly password?: string;
  /** More startup parameters, e.g. `replication=database`. */
  readonly parameters?: Readonly<Record<string, string>>;
}

export type PgRow = readonly (string | null)[];

/** An ErrorResponse of the server. */
export class PgError extends Error {
  readonly sqlstate: string;
  constructor(fields: ReadonlyMap<string, string>) {
    super(`${fields.get('C')}: ${fields.get('M')}`);
    this.sqlstate = fields.get('C') ?? '';
  }
}

interface Pending {
  readonly rows: PgRow[];
  error: PgError | null;
  resolve(rows: PgRow[]): void;
  reject(error: Error): void;
}

const text = new TextDecoder();

const code = (letter: string): number => letter.charCodeAt(0);
const DATA_ROW = code('D');
const ERROR = code('E');
const READY = code('Z');
const AUTHENTICATION = code('R');
const COPY_BOTH = code('W');
const COPY_DATA = code('d');

export class PgConnection implements AsyncDisposable {
  readonly #waiting: Pending[] = [];
  readonly #target: PgTarget;
  #socket: Socket | null = null;
  #scram: ScramExchange | null = null;
  /** Bytes of a frame that is not complete yet. */
  #rest: Buffer = Buffer.alloc(0);
  /** What the kernel has not taken yet. */
  #unsent: Buffer = Buffer.alloc(0);
  #closed: Error | null = null;
  #onCopyData: ((frames: Buffer) => void) | null = null;

  private constructor(target: PgTarget) {
    this.#target = target;
  }

  static async open(target: PgTarget): Promise<PgConnection> {
    const connection = new PgConnection(target);
    const ready = connection.#expect();
    connection.#socket = await Bun.connect({
      hostname: target.host,
      port: target.port,
      socket: {
        data: (_, bytes) => connection.#receive(bytes),
        drain: () => connection.#flush(),
        close: () => connection.#fail(new Error(`the server at port ${target.port} closed the connection`)),
        error: (_, error) => connection.#fail(error),
      },
    });
    connection.#socket.setNoDelay(true);
    connection.send(startupMessage(target));
    await ready;
    return connection;
  }

  /** Runs one statement in the simple protocol. Rejects with PgError. */
  query(statement: string): Promise<PgRow[]> {
    return this.request(message('Q', cstring(statement)));
  }

  /** First column of the first row. Throws when there is no row. */
  async value(statement: string): Promise<string> {
    const value = (await this.query(statement))[0]?.[0];
    if (value === undefined || value === null) throw new Error(`no value from: ${statement}`);
    return value;
  }

  /** Parse: makes `name` known for `execute`. */
  async prepare(name: string, statement: string): Promise<void> {
    await this.request(Buffer.concat([message('P', cstring(name), cstring(statement), int16(0)), SYNC]));
  }

  /** Bind, Execute, Sync of a prepared statement, text parameters, in one write. */
  execute(name: string, parameters: readonly string[]): Promise<PgRow[]> {
    return this.request(executeMessage(name, parameters));
  }

  /** Sends bytes that end with exactly one ReadyForQuery, and gives the rows up to it. */
  request(bytes: Buffer): Promise<PgRow[]> {
    const ready = this.#expect();
    this.send(bytes);
    return ready;
  }

  /** Sends START_REPLICATION; from CopyBothResponse on, whole frames (several at once) go to `onCopyData`. */
  startReplication(command: string, onCopyData: (frames: Buffer) => void): Promise<unknown> {
    this.#onCopyData = onCopyData;
    return this.query(command);
  }

  /** Writes bytes as they are. */
  send(bytes: Buffer): void {
    if (this.#closed !== null) throw this.#closed;
    if (this.#unsent.length > 0) {
      this.#unsent = Buffer.concat([this.#unsent, bytes]);
      return;
    }
    const taken = this.#socket?.write(bytes) ?? 0;
    if (taken < bytes.length) this.#unsent = bytes.subarray(Math.max(0, taken));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#fail(new Error('the bench closed the connection'));
    this.#socket?.end();
  }

  #expect(): Promise<PgRow[]> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => this.#waiting.push({ rows: [], error: null, resolve, reject }));
  }

  #fail(error: Error): void {
    if (this.#closed !== null) return;
    this.#closed = error;
    for (const pending of this.#waiting.splice(0)) pending.reject(error);
  }

  #flush(): void {
    const bytes = this.#unsent;
    if (bytes.length === 0) return;
    const taken = this.#socket?.write(bytes) ?? 0;
    this.#unsent = bytes.subarray(Math.max(0, taken));
  }

  #receive(bytes: Buffer): void {
    const buffer = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    let copyFrom = -1;
    while (at + 5 <= buffer.length) {
      const end = at + 1 + buffer.readInt32BE(at + 1);
      if (end > buffer.length) break;
      if (buffer[at] === COPY_DATA) {
        if (copyFrom < 0) copyFrom = at;
      } else {
        this.#frame(buffer[at] as number, buffer, at + 5, end);
      }
      at = end;
    }
    // A run of CopyData frames is handed over as it came: the receiver walks it without one call and one slice for each.
    if (copyFrom >= 0) this.#onCopyData?.(buffer.subarray(copyFrom, at));
    this.#rest = at === buffer.length ? EMPTY : Buffer.from(buffer.subarray(at));
  }

  #frame(type: number, buffer: Buffer, from: number, end: number): void {
    const pending = this.#waiting[0];
    switch (type) {
      case DATA_ROW:
        pending?.rows.push(readRow(buffer, from));
        return;
      case ERROR: {
        const error = new PgError(readErrorFields(buffer, from, end));
        if (pending !== undefined) pending.error = error;
        else this.#fail(error);
        return;
      }
      case AUTHENTICATION:
        this.#authenticate(buffer.readInt32BE(from), buffer.toString('utf8', from + 4, end));
        return;
      case READY:
      case COPY_BOTH:
        this.#waiting.shift();
        if (pending === undefined) return;
        if (pending.error !== null) pending.reject(pending.error);
        else pending.resolve(pending.rows);
        return;
      default:
    }
  }

  #authenticate(request: number, data: string): void {
    switch (request) {
      case AUTHENTICATION_OK:
      case AUTHENTICATION_SASL_FINAL:
        return;
      case AUTHENTICATION_SASL: {
        this.#scram = new ScramExchange(this.#target.password ?? '');
        const first = Buffer.from(this.#scram.first());
        this.send(message('p', cstring('SCRAM-SHA-256'), int32(first.length), first));
        return;
      }
      case AUTHENTICATION_SASL_CONTINUE:
        this.send(message('p', Buffer.from(this.#scram?.final(data) ?? '')));
        return;
      default:
        this.#fail(
          new Error(`port ${this.#target.port} asks for an authentication that the bench client does not know`),
        );
    }
  }
}

const AUTHENTICATION_OK = 0;
const AUTHENTICATION_SASL = 10;
const AUTHENTICATION_SASL_CONTINUE = 11;
const AUTHENTICATION_SASL_FINAL = 12;

/** The client's half of SCRAM-SHA-256 (RFC 7677). It does not check the server: that is the project's test, not the bench's. */
class ScramExchange {
  readonly #password: string;
  readonly #firstBare = `n=,r=${randomBytes(18).toString('base64')}`;

  constructor(password: string) {
    this.#password = password;
  }

  first(): string {
    return `n,,${this.#firstBare}`;
  }

  final(serverFirst: string): string {
    const fields = new Map(serverFirst.split(',').map((field) => [field[0], field.slice(2)]));
    const salt = Buffer.from(fields.get('s') ?? '', 'base64');
    const salted = pbkdf2Sync(this.#password.normalize('NFKC'), salt, Number(fields.get('i')), 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    const withoutProof = `c=biws,r=${fields.get('r')}`;
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const storedKey = createHash('sha256').update(clientKey).digest();
    const signature = createHmac('sha256', storedKey).update(authMessage).digest();
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] as number));
    return `${withoutProof},p=${Buffer.from(proof).toString('base64')}`;
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

/** A frame: type byte, length, body. */
export function message(type: string, ...body: readonly Buffer[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 4);
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(length, 1);
  return Buffer.concat([head, ...body]);
}

export function cstring(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

const SYNC = message('S');

/** Bind, Execute, Sync in one buffer: unnamed portal, text both ways. */
export function executeMessage(name: string, parameters: readonly string[]): Buffer {
  const values = parameters.flatMap((value) => {
    const bytes = Buffer.from(value);
    return [int32(bytes.length), bytes];
  });
  return Buffer.concat([
    message('B', cstring(''), cstring(name), int16(0), int16(parameters.length), ...values, int16(0)),
    message('E', cstring(''), int32(0)),
    SYNC,
  ]);
}

function startupMessage(target: PgTarget): Buffer {
  const parameters = { user: target.user, database: target.database, ...target.parameters };
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [cstring(name), cstring(value)]);
  const body = Buffer.concat([int32(3 << 16), ...pairs, Buffer.alloc(1)]);
  return Buffer.concat([int32(body.length + 4), body]);
}

function readRow(buffer: Buffer, from: number): PgRow {
  const columns = buffer.readInt16BE(from);
  const row: (string | null)[] = [];
  let at = from + 2;
  for (let column = 0; column < columns; column += 1) {
    const length = buffer.readInt32BE(at);
    at += 4;
    if (length < 0) {
      row.push(null);
      continue;
    }
    row.push(text.decode(buffer.subarray(at, at + length)));
    at += length;
  }
  return row;
}

function readErrorFields(buffer: Buffer, from: number, end: number): Map<string, string> {
  const fields = new Map<string, string>();
  let at = from;
  while (at < end && buffer[at] !== 0) {
    const stop = buffer.indexOf(0, at + 1);
    fields.set(String.fromCharCode(buffer[at] as number), text.decode(buffer.subarray(at + 1, stop)));
    at = stop + 1;
  }
  return fields;
}
