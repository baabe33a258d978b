// A server that speaks just enough of the protocol to be pooled, and signs all it says: rows, notices and errors carry the
// text of the statement they answer. It writes in random pieces with random pauses, so that answers of many clients interleave.
//
//   echo ID [row|error|notice|rows N|slow]     begin ID | commit ID | rollback     anything else: a command tag, no rows

import { connect, createServer, type Server, type Socket } from 'node:net';
import { counted, frame, i16, i32, join, z } from './wire-frames.ts';

export interface FakePostgres extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly sessions: number;
}

/** A small seeded generator, so that a failure can be run again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export async function startFakePostgres(random: () => number): Promise<FakePostgres> {
  const sessions = new Map<number, FakeSession>();
  let pid = 1000;
  const server: Server = createServer((socket) => {
    pid += 1;
    const session = new FakeSession(socket, pid, random, sessions);
    socket.on('close', () => sessions.delete(session.pid));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    host: '127.0.0.1',
    port,
    get sessions() {
      return sessions.size;
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions.values()) session.socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const ready = (status: string): Uint8Array => frame('Z', status);
const complete = (tag: string): Uint8Array => frame('C', z(tag));
const row = (text: string): Uint8Array => frame('D', i16(1), counted(text));
const description = frame('T', i16(1), z('said'), i32(0), i16(0), i32(25), i16(-1), i32(-1), i16(0));
const failure = (code: string, text: string): Uint8Array =>
  frame('E', 'S', z('ERROR'), 'V', z('ERROR'), 'C', z(code), 'M', z(text), [0]);
const notice = (text: string): Uint8Array =>
  frame('N', 'S', z('NOTICE'), 'V', z('NOTICE'), 'C', z('00000'), 'M', z(text), [0]);

class FakeSession {
  readonly socket: Socket;
  readonly pid: number;
  readonly #random: () => number;
  readonly #sessions: Map<number, FakeSession>;
  #input = Buffer.alloc(0);
  #started = false;
  #busy = false;
  #arrived = false;
  #status = 'I';
  #skipping = false;
  readonly #statements = new Map<string, string>();
  readonly #portals = new Map<string, string>();
  #output: Uint8Array[] = [];
  #canceled: (() => void) | null = null;

  constructor(socket: Socket, pid: number, random: () => number, sessions: Map<number, FakeSession>) {
    this.socket = socket;
    this.pid = pid;
    this.#random = random;
    this.#sessions = sessions;
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      this.#input = Buffer.concat([this.#input, chunk as Buffer]);
      this.#arrived = true;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#arrived = false;
    for (;;) {
      const head = this.#started ? 5 : 4;
      if (this.#input.length < head) break;
      const total = this.#input.readInt32BE(head - 4) + head - 4;
      if (this.#input.length < total) break;
      const message = this.#input.subarray(0, total);
      this.#input = this.#input.subarray(total);
      if (this.#started) await this.#message(String.fromCharCode(message[0] as number), message.subarray(5));
      else this.#startup(message.subarray(4));
      // Sometimes what was said so far goes out before the next message is read.
      if (this.#random() < 0.3) await this.#flush();
    }
    await this.#flush();
    this.#busy = false;
    // More came during the last write.
    if (this.#arrived && !this.socket.destroyed) void this.#run();
  }

  #startup(body: Buffer): void {
    const code = body.readInt32BE(0);
    if (code === 80_877_102) {
      this.#sessions.get(body.readInt32BE(4))?.cancel();
      this.socket.end();
      return;
    }
    if (code === 80_877_103) {
      this.socket.write('N');
      return;
    }
    this.#started = true;
    this.#sessions.set(this.pid, this);
    this.#say(
      frame('R', i32(0)),
      frame('S', z('server_version'), z('15.0')),
      frame('S', z('server_encoding'), z('UTF8')),
    );
    this.#say(frame('K', i32(this.pid), i32(this.pid)), ready('I'));
  }

  cancel(): void {
    this.#canceled?.();
  }

  async #message(type: string, body: Buffer): Promise<void> {
    if (this.#skipping && type !== 'S') return;
    const text = (at: number): string => body.toString('utf8', at, body.indexOf(0, at));
    switch (type) {
      case 'Q':
        this.#statements.delete('');
        for (const one of text(0).split(';')) if (!(await this.#execute(one.trim(), true))) break;
        this.#say(ready(this.#status));
        break;
      case 'P': {
        const name = text(0);
        if (name !== '' && this.#statements.has(name)) return this.#fail('42P05', `"${name}" exists`);
        this.#statements.set(name, text(name.length + 1));
        this.#say(frame('1'));
        break;
      }
      case 'B': {
        const portal = text(0);
        const name = text(portal.length + 1);
        const sql = this.#statements.get(name);
        if (sql === undefined) return this.#fail('26000', `"${name}" does not exist`);
        this.#portals.set(portal, sql);
        this.#say(frame('2'));
        break;
      }
      case 'D':
        this.#say(...(body[0] === 0x53 ? [frame('t', i16(0))] : []), description);
        break;
      case 'E': {
        const sql = this.#portals.get(text(0)) ?? '';
        if (!(await this.#execute(sql, false))) this.#skipping = true;
        break;
      }
      case 'C':
        if (body[0] === 0x53) this.#statements.delete(text(1));
        this.#say(frame('3'));
        break;
      case 'S':
        this.#skipping = false;
        this.#say(ready(this.#status));
        break;
      case 'H':
        await this.#flush();
        break;
      case 'X':
        this.socket.end();
        break;
      default:
    }
  }

  #fail(code: string, text: string): void {
    if (this.#status === 'T') this.#status = 'E';
    this.#skipping = true;
    this.#say(failure(code, text));
  }

  /** False when it failed. */
  async #execute(sql: string, describes: boolean): Promise<boolean> {
    const [verb = '', id = '', what = 'row', count = '1'] = sql.split(' ');
    if (verb.toLowerCase() === 'rollback') this.#status = 'I';
    else if (this.#status === 'E' && verb !== 'commit') {
      this.#say(failure('25P02', `aborted ${id}`));
      return false;
    }
    if (verb === 'begin') this.#status = 'T';
    if (verb === 'commit') this.#status = 'I';
    if (verb !== 'echo') {
      this.#say(complete(verb.toUpperCase()));
      return true;
    }
    if (what === 'notice') this.#say(notice(`note ${id}`));
    if (what === 'slow' && (await this.#sleep())) {
      this.#say(failure('57014', `canceled ${id}`));
      if (this.#status === 'T') this.#status = 'E';
      return false;
    }
    if (what === 'error') {
      this.#say(failure('22012', `failed ${id}`));
      if (this.#status === 'T') this.#status = 'E';
      return false;
    }
    if (describes) this.#say(description);
    for (let index = 0; index < (what === 'rows' ? Number(count) : 1); index += 1) this.#say(row(`said ${id}`));
    this.#say(complete('SELECT 1'));
    return true;
  }

  /** True when cancelled. */
  async #sleep(): Promise<boolean> {
    await this.#flush();
    return (await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), this.#random() * 30);
      this.#canceled = () => {
        clearTimeout(timer);
        resolve(true);
      };
    }).finally(() => {
      this.#canceled = null;
    })) as boolean;
  }

  #say(...frames: Uint8Array[]): void {
    this.#output.push(...frames);
  }

  async #flush(): Promise<void> {
    const bytes = join(...this.#output);
    this.#output = [];
    for (let at = 0; at < bytes.length; ) {
      const size = this.#random() < 0.5 ? bytes.length - at : 1 + Math.floor(this.#random() * 40);
      if (!this.socket.destroyed) this.socket.write(bytes.subarray(at, at + size));
      at += size;
      if (this.#random() < 0.3) await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Sends a cancel request as any client would. */
export function requestCancel(port: number, processId: number, key: Uint8Array): void {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.end(join(i32(12 + key.length), i32(80_877_102), i32(processId), key));
}
