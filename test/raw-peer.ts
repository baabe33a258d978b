// A peer that is no library: raw bytes to and from a port, for garbage, half-open clients and hand-made conversations.
// Frames are built here by hand, from the protocol's pages, not with our codec.

import { connect, type Socket } from 'node:net';
import { until } from './world.ts';

export class RawPeer implements Disposable {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #closed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on('close', () => {
      this.#closed = true;
    });
    // A reset by the server is one of the things that are tested; it is seen as `closed`.
    socket.on('error', () => {});
  }

  static async open(port: number): Promise<RawPeer> {
    const socket = connect(port, '127.0.0.1');
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new RawPeer(socket);
  }

  /** Connected, past authentication (trust), at the first ReadyForQuery. */
  static async login(port: number, parameters: Readonly<Record<string, string>>): Promise<RawPeer> {
    const peer = await RawPeer.open(port);
    peer.send(startup(parameters));
    await until('the server is ready for queries', async () => {
      if (peer.closed || peer.errors().length > 0) throw new Error(`refused: ${JSON.stringify(peer.errors())}`);
      return peer.frames().some((frame) => frame.type === 'Z');
    });
    return peer;
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Reads nothing more, so that the server's writes pile up. */
  stopReading(): void {
    this.#socket.pause();
  }

  /** Whole frames received so far. */
  frames(): { type: string; body: Buffer }[] {
    const frames: { type: string; body: Buffer }[] = [];
    let at = 0;
    while (at + 5 <= this.#received.length) {
      const length = this.#received.readUInt32BE(at + 1);
      if (at + 1 + length > this.#received.length) break;
      frames.push({
        type: String.fromCharCode(this.#received[at] as number),
        body: this.#received.subarray(at + 5, at + 1 + length),
      });
      at += 1 + length;
    }
    return frames;
  }

  /** The same, and forgets them. */
  takeFrames(): { type: string; body: Buffer }[] {
    const frames = this.frames();
    const taken = frames.reduce((bytes, { body }) => bytes + 5 + body.length, 0);
    this.#received = this.#received.subarray(taken);
    return frames;
  }

  /** Fields of all ErrorResponses so far: C is the SQLSTATE, M the message, H the hint. */
  errors(): Record<string, string>[] {
    return this.frames()
      .filter((frame) => frame.type === 'E')
      .map((frame) =>
        Object.fromEntries(
          frame.body
            .toString('utf8')
            .split('\0')
            .filter(Boolean)
            .map((field) => [field[0] as string, field.slice(1)]),
        ),
      );
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

export function startup(parameters: Readonly<Record<string, string>>, protocol = 196_608): Buffer {
  const body = Buffer.from(`${Object.entries(parameters).flat().join('\0')}\0\0`, 'utf8');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + body.length, 0);
  head.writeUInt32BE(protocol, 4);
  return Buffer.concat([head, body]);
}

export function query(text: string): Buffer {
  const body = Buffer.from(`${text}\0`, 'utf8');
  const head = Buffer.alloc(5);
  head.write('Q', 0, 'latin1');
  head.writeUInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}
