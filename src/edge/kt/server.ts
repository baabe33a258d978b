// Kyoto Tycoon's port: its clients' REST calls, `/rpc/` procedures and binary bulk commands, over the tables of this edge. The first
// byte of a request tells HTTP from binary. Requests of one connection are answered one after the other; cursors belong to it.
//
// The protocol has no password and no TLS, so that the port is for this machine only (I11).

import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/fault.ts';
import type { Connection, Listener, Net } from '../../base/net.ts';
import type { ReplicaFeed } from '../../contracts/replica-feed.ts';
import type { Log } from '../../observe/log.ts';
import type { CoreWriter } from '../core-writer.ts';
import { isCoreAway } from '../faults.ts';
import type { KvRows } from '../kv/rows.ts';
import { waitForPosition } from '../wait.ts';
import { type BinaryRequest, isBinary, MAGIC, readBinary, writeFound, writeHits, XT_NEVER } from './binary.ts';
import { CONTINUE, type HttpRequest, readHttp, writeHttp } from './http1.ts';
import { absoluteExpiry, BULK_RECORDS_MAX, type Cursor, PROCEDURES, records } from './procedures.ts';
import { KtError, noRecord } from './status.ts';
import { KtDatabase } from './store.ts';
import { decodeUrl, encodingOf, readForm, readTsv, type Records, TSV_TYPE, writeTsv } from './tsv.ts';

export interface KtServerDeps {
  readonly clock: Clock;
  readonly net: Net;
  readonly log: Log;
  readonly feed: ReplicaFeed;
  readonly rows: KvRows;
  readonly writer: CoreWriter;
}

export interface KtServerOptions {
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** `schema.table` of each database, in the order of their numbers. */
  readonly tables: readonly string[];
  readonly version: string;
  readonly connectionsMax: number;
  /** How long a write waits until this PoP has it before it is acknowledged all the same. */
  readonly ownWriteWaitMs: number;
}

/** Of one request. */
const REQUEST_BYTES_MAX = 64 * 1024 * 1024;

/** A client that leaves this much unread is not read either. */
const QUEUE_BYTES_MAX = 1024 * 1024;

/** Cursors of one connection. */
const CURSORS_MAX = 1000;

const WAIT_SECONDS_DEFAULT = 30;

/** Requests that wait for a signal. */
const WAITERS_MAX = 1000;

export class KtServer {
  readonly #deps: KtServerDeps;
  readonly #options: KtServerOptions;
  readonly #databases: readonly KtDatabase[];
  readonly #connections = new Set<KtConnection>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #waitersCount = 0;
  readonly #startedAtMs: number;
  readonly counts = { get: 0, getMisses: 0, set: 0, remove: 0, misc: 0 };
  #listener: Listener | null = null;

  constructor(deps: KtServerDeps, options: KtServerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#startedAtMs = deps.clock.now();
    const store = {
      clock: deps.clock,
      rows: deps.rows,
      writer: deps.writer,
      written: async (lsn: bigint) => {
        await waitForPosition(deps.feed, deps.clock, lsn, options.ownWriteWaitMs);
      },
    };
    this.#databases = options.tables.map((name) => new KtDatabase(store, name));
  }

  /** Rejects with Fault `port-taken`. Resolves with the port. */
  async listen(): Promise<number> {
    const { host, port, connectionsMax } = this.#options;
    this.#listener = await this.#deps.net.listen({
      host,
      port,
      connectionsMax,
      refuse: (connection) => {
        connection.write(writeHttp(503, {}, Buffer.from('too many connections\n'), null));
      },
      accept: (connection) => {
        const one = new KtConnection(this, this.#deps.log, connection, () => this.#connections.delete(one));
        this.#connections.add(one);
      },
    });
    return this.#listener.port;
  }

  stop(): void {
    this.#listener?.stop();
    for (const connection of this.#connections) connection.end();
  }

  now(): number {
    return Math.floor(this.#deps.clock.wall() / 1000);
  }

  /** By number, or by name, with or without its schema. Null when there is none. */
  database(name: string | undefined): KtDatabase | null {
    if (name === undefined) return this.#databases[0] ?? null;
    if (/^\d/.test(name)) return this.#databases[Number.parseInt(name, 10)] ?? null;
    return (
      this.#databases.find((database) => database.name === name) ??
      this.#databases.find((database) => database.name.split('.').at(-1) === name) ??
      null
    );
  }

  async report(): Promise<Records> {
    const { clock } = this.#deps;
    const output: Record<string, string | number> = {
      conf_kt_version: `skerry ${this.#options.version}`,
      conf_kt_features: '(rest)(rpc)(binary)',
      serv_conn_count: this.#connections.size,
      serv_current_time: (clock.wall() / 1000).toFixed(6),
      serv_running_term: ((clock.now() - this.#startedAtMs) / 1000).toFixed(6),
      cnt_get: this.counts.get,
      cnt_get_misses: this.counts.getMisses,
      cnt_set: this.counts.set,
      cnt_remove: this.counts.remove,
      cnt_misc: this.counts.misc,
    };
    let total = 0;
    for (const [index, database] of this.#databases.entries()) {
      const count = await database.count();
      total += count;
      output[`db_${index}`] = `count=${count} path=${database.name}`;
    }
    output['db_total_count'] = total;
    return records(output);
  }

  /** Waits for a signal of that name; false when none came in time, or the client went away. Throws KtError 503 when too many wait. */
  wait(name: string, seconds: number, gone: AbortSignal): Promise<boolean> {
    if (this.#waitersCount >= WAITERS_MAX) throw new KtError(503, `${WAITERS_MAX} clients wait for signals already`);
    this.#waitersCount += 1;
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(name) ?? new Set();
      this.#waiting.set(name, waiting);
      const finish = (signalled: boolean): void => {
        if (!waiting.delete(signal)) return;
        this.#waitersCount -= 1;
        gone.removeEventListener('abort', left);
        if (waiting.size === 0) this.#waiting.delete(name);
        timer[Symbol.dispose]();
        resolve(signalled);
      };
      const signal = (): void => finish(true);
      const left = (): void => finish(false);
      gone.addEventListener('abort', left);
      const timer = this.#deps.clock.after(seconds * 1000, () => finish(false));
      waiting.add(signal);
    });
  }

  /** Wakes one who waits, or all; gives how many waited. */
  signal(name: string, all: boolean): number {
    const waiting = [...(this.#waiting.get(name) ?? [])];
    for (const one of all ? waiting : waiting.slice(0, 1)) one();
    return waiting.length;
  }
}

/** What a client has sent and nobody has taken, in one piece that grows by doubling. */
class Input {
  #buffer = Buffer.alloc(0);
  #start = 0;
  #end = 0;
  #needed = 1;

  get length(): number {
    return this.#end - this.#start;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Whether it is worth looking at. */
  get isReady(): boolean {
    return this.length >= this.#needed;
  }

  add(chunk: Uint8Array): void {
    if (this.#end + chunk.length > this.#buffer.length) {
      const kept = this.bytes;
      const room = Buffer.allocUnsafe(Math.max(4096, 2 * kept.length, kept.length + chunk.length));
      kept.copy(room);
      this.#buffer = room;
      this.#end = kept.length;
      this.#start = 0;
    }
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  needs(length: number): void {
    this.#needed = Math.max(1, length);
  }

  take(length: number): void {
    this.#start += length;
    this.#needed = 1;
    if (this.length > 0) return;
    this.#start = 0;
    this.#end = 0;
    // A large request's room is not kept.
    if (this.#buffer.length > QUEUE_BYTES_MAX) this.#buffer = Buffer.alloc(0);
  }
}

class KtConnection {
  readonly #server: KtServer;
  readonly #log: Log;
  readonly #connection: Connection;
  readonly #cursors = new Map<string, Cursor>();
  readonly #gone = new AbortController();
  readonly #input = new Input();
  #busy = false;
  #told = false;
  #ending = false;

  constructor(server: KtServer, log: Log, connection: Connection, gone: () => void) {
    this.#server = server;
    this.#log = log;
    this.#connection = connection;
    connection.handler = {
      data: (chunk) => {
        this.#input.add(chunk);
        if (this.#busy) {
          if (this.#input.length > QUEUE_BYTES_MAX) connection.pause();
        } else if (this.#input.isReady) {
          void this.#work();
        }
      },
      drain: () => connection.resume(),
      close: () => {
        this.#gone.abort();
        gone();
      },
    };
  }

  /** After the request that runs. */
  end(): void {
    this.#ending = true;
    if (!this.#busy) this.#connection.end();
  }

  /** Answers what has arrived whole. */
  async #work(): Promise<void> {
    this.#busy = true;
    try {
      while (this.#input.isReady && !this.#connection.closed && !this.#ending) {
        const { bytes } = this.#input;
        const taken = isBinary(bytes[0] as number) ? await this.#binary(bytes) : await this.#http(bytes);
        if (taken === 0) break;
        this.#input.take(taken);
      }
    } catch (error) {
      this.#log.error('edge.kt-failed', { message: describeError(error) });
      this.#connection.destroy();
    }
    this.#busy = false;
    if (this.#ending) this.#connection.end();
    else if (this.#connection.queuedBytes < QUEUE_BYTES_MAX) this.#connection.resume();
  }

  #send(bytes: Buffer): void {
    if (!this.#connection.write(bytes) && this.#connection.queuedBytes > QUEUE_BYTES_MAX) this.#connection.pause();
  }

  /** Bytes of the request that was answered; 0 when it has not arrived whole. */
  async #http(bytes: Buffer): Promise<number> {
    const request = readHttp(bytes, REQUEST_BYTES_MAX);
    if ('incomplete' in request) {
      this.#input.needs(request.needed);
      if (request.continue && !this.#told) {
        this.#told = true;
        this.#send(CONTINUE);
      }
      return 0;
    }
    this.#told = false;
    if ('status' in request) {
      this.#send(writeHttp(request.status, {}, Buffer.from(`${request.message}\n`), null));
      this.end();
      return bytes.length;
    }
    if (isOfAPage(request)) {
      this.#send(writeHttp(403, {}, Buffer.from('not for web pages\n'), request));
      return request.length;
    }
    const [path, query] = splitOnce(request.target.replace(/^[a-z]+:\/\/[^/]*/i, ''), '?');
    this.#send(
      path.startsWith('/rpc/') ? await this.#rpc(request, path.slice(5), query) : await this.#rest(request, path),
    );
    if (!request.keepAlive) this.end();
    return request.length;
  }

  async #rpc(request: HttpRequest, name: string, query: string): Promise<Buffer> {
    let output: Records;
    let status = 200;
    try {
      output = await this.#call(request, name, query);
    } catch (error) {
      const failed = ktErrorOf(error);
      if (failed.status === 500) this.#log.warn('edge.kt-refused', { message: failed.message, procedure: name });
      status = failed.status;
      output = records({ ERROR: failed.message });
    }
    const { body, type } = writeTsv(output);
    return writeHttp(status, { 'Content-Type': type }, body, request);
  }

  async #call(request: HttpRequest, name: string, query: string): Promise<Records> {
    const input = readForm(Buffer.from(query, 'latin1'));
    const type = request.headers.get('content-type') ?? '';
    if (type.startsWith('application/x-www-form-urlencoded')) {
      for (const [key, value] of readForm(request.body)) input.set(key, value);
    } else if (type.startsWith(TSV_TYPE)) {
      const encoding = encodingOf(type);
      if (encoding === null) throw new KtError(400, 'unknown column encoding');
      for (const [key, value] of readTsv(request.body, encoding)) input.set(key, value);
    }
    const waitName = input.get('WAIT')?.toString('latin1');
    if (waitName !== undefined) {
      const seconds = Number.parseFloat(input.get('WAITTIME')?.toString('latin1') ?? '');
      const waitSeconds = seconds > 0 ? Math.min(seconds, 3600) : WAIT_SECONDS_DEFAULT;
      const waited = await this.#server.wait(waitName, waitSeconds, this.#gone.signal);
      if (!waited) throw new KtError(503, 'the condition timed out');
    }
    const output = new Map(await this.#procedure(name, input));
    const signalName = input.get('SIGNAL')?.toString('latin1');
    if (signalName !== undefined) {
      output.set('SIGNALED', Buffer.from(String(this.#server.signal(signalName, input.has('SIGNALBROAD')))));
    }
    return output;
  }

  async #procedure(name: string, input: Records): Promise<Records> {
    if (name === 'report') return await this.#server.report();
    if (name === 'play_script') throw new KtError(501, 'the scripting extention is disabled');
    const procedure = PROCEDURES.get(name);
    if (procedure === undefined) throw new KtError(501, `not implemented: ${name}`);
    const database = this.#server.database(input.get('DB')?.toString());
    if (database === null) throw new KtError(400, 'no such database');
    const id = input.get('CUR')?.toString('latin1');
    const cursor = id !== undefined && /^\d/.test(id) ? this.#cursor(id, database) : null;
    this.#count(name);
    try {
      return await procedure({
        input,
        database,
        cursor,
        now: this.#server.now(),
        forgetCursor: () => this.#cursors.delete(id ?? ''),
      });
    } catch (error) {
      if (name === 'get' && error instanceof KtError) this.#server.counts.getMisses += 1;
      throw error;
    }
  }

  #count(name: string): void {
    const { counts } = this.#server;
    if (name === 'get' || name === 'get_bulk') counts.get += 1;
    else if (/^(set|add|replace|append|increment|cas)/.test(name)) counts.set += 1;
    else if (/^(remove|seize|cur_remove|cur_seize)/.test(name)) counts.remove += 1;
    else counts.misc += 1;
  }

  #cursor(id: string, database: KtDatabase): Cursor {
    const known = this.#cursors.get(id);
    if (known !== undefined) return known;
    if (this.#cursors.size >= CURSORS_MAX) throw new KtError(400, `more than ${CURSORS_MAX} cursors on one connection`);
    const cursor: Cursor = { database, key: null };
    this.#cursors.set(id, cursor);
    return cursor;
  }

  async #rest(request: HttpRequest, path: string): Promise<Buffer> {
    const [first, second] = splitOnce(path.replace(/^\//, ''), '/');
    const isNamed = path.replace(/^\//, '').includes('/');
    const database = this.#server.database(isNamed ? decodeUrl(first).toString() : undefined);
    if (database === null) return writeHttp(400, {}, Buffer.from('no such database\n'), request);
    const key = decodeUrl(isNamed ? second : first);
    try {
      return await this.#restAnswer(request, database, key);
    } catch (error) {
      const failed = ktErrorOf(error);
      if (failed.status === 500) this.#log.warn('edge.kt-refused', { message: failed.message, method: request.method });
      // REST has another word for a record that is not there, but for PUT.
      const status = failed.status === 450 && request.method !== 'PUT' ? 404 : failed.status;
      return writeHttp(status, { 'X-Kt-Error': failed.message.replace(/[\r\n]+/g, ' ') }, Buffer.alloc(0), request);
    }
  }

  async #restAnswer(request: HttpRequest, database: KtDatabase, key: Buffer): Promise<Buffer> {
    const { counts } = this.#server;
    switch (request.method) {
      case 'GET':
      case 'HEAD': {
        counts.get += 1;
        const record = await database.get(key);
        if (record === null) {
          counts.getMisses += 1;
          throw noRecord();
        }
        const headers = record.xt === null ? {} : { 'X-Kt-Xt': new Date(record.xt * 1000).toUTCString() };
        return writeHttp(200, headers, record.value, request);
      }
      case 'PUT': {
        counts.set += 1;
        const record = { key, value: request.body, xt: timeOf(request.headers.get('x-kt-xt')) };
        const mode = request.headers.get('x-kt-mode') ?? 'set';
        if (mode === 'add') await database.add(record);
        else if (mode === 'replace') await database.replace(record);
        else await database.set([record]);
        return writeHttp(201, {}, Buffer.alloc(0), request);
      }
      case 'DELETE':
        counts.remove += 1;
        if ((await database.remove(key)) === null) throw noRecord();
        return writeHttp(204, {}, Buffer.alloc(0), request);
      default:
        return writeHttp(501, {}, Buffer.alloc(0), request);
    }
  }

  async #binary(bytes: Buffer): Promise<number> {
    const request = readBinary(bytes, REQUEST_BYTES_MAX, BULK_RECORDS_MAX);
    if (request === 'unknown' || request === 'too-large') {
      // Where the next request would begin cannot be told.
      this.#send(Buffer.of(MAGIC.error));
      this.end();
      return bytes.length;
    }
    if ('needed' in request) {
      this.#input.needs(request.needed);
      return 0;
    }
    let answer: Buffer;
    try {
      answer = await this.#bulk(request);
    } catch (error) {
      this.#log.warn('edge.kt-refused', { message: ktErrorOf(error).message, command: request.command });
      answer = Buffer.of(MAGIC.error);
    }
    if (request.reply) this.#send(answer);
    return request.length;
  }

  async #bulk({ command, records: list }: BinaryRequest): Promise<Buffer> {
    const numbers = [...new Set(list.map(({ database }) => database))];
    const databases = new Map(
      numbers.map((number) => {
        const database = this.#server.database(String(number));
        if (database === null) throw new KtError(400, 'no such database');
        return [number, database] as const;
      }),
    );
    if (command === 'get') {
      const found = [];
      for (const { database, key } of list) {
        this.#server.counts.get += 1;
        const record = (await databases.get(database)?.get(key)) ?? null;
        if (record === null) continue;
        found.push({ database, key, value: record.value, xt: record.xt === null ? XT_NEVER : BigInt(record.xt) });
      }
      return writeFound(found);
    }
    let hits = 0;
    for (const [number, database] of databases) {
      const own = list.filter((one) => one.database === number);
      if (command === 'remove') {
        hits += await database.removeMany(own.map(({ key }) => key));
        continue;
      }
      await database.set(
        own.map(({ key, value, xt }) => ({
          key,
          value,
          xt: xt === XT_NEVER ? null : absoluteExpiry(xt, this.#server.now()),
        })),
      );
      hits += own.length;
    }
    return writeHits(command, hits);
  }
}

/** A page in a browser on this machine reaches loopback too, and this port asks for no password: what browsers mark is refused. */
function isOfAPage({ headers }: HttpRequest): boolean {
  return headers.has('origin') || (headers.get('sec-fetch-site') ?? 'none') !== 'none';
}

/** What the core or a table says, in Kyoto Tycoon's words. */
function ktErrorOf(error: unknown): KtError {
  if (error instanceof KtError) return error;
  return new KtError(isCoreAway(error) ? 503 : 500, `DB: 15: system error: ${describeError(error)}`);
}

/** X-Kt-Xt: seconds of the epoch, an HTTP date or a W3C date. Null without, or when it is none of them. */
function timeOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^\d+$/.test(text)) return absoluteExpiry(-BigInt(text), 0);
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}
