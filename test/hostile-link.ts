// A link between two ports that behaves as badly as networks and peers do: it cuts, delays, splits, resets, garbles, swallows,
// reads slowly. Works for either side of a program: put it before the program's port, or before the server it connects to.
//
//   await using link = await startHostileLink(postgres.port);
//   link.behave({ towardsTarget: { splitBytes: 1 } });      // for connections from now on
//   link.resetAll();

import { connect, createServer, type Server, type Socket } from 'node:net';

/** What happens to the bytes of one direction; nothing when nothing is given. */
export interface Behaviour {
  /** Each write goes out in pieces of this many bytes, each in a turn of its own. */
  readonly splitBytes?: number;
  /** Each piece waits this long, in order. */
  readonly delayMs?: number;
  /** After this many bytes the rest is swallowed, and nobody is told: a cable pulled out. */
  readonly swallowAfterBytes?: number;
  /** After this many bytes both sides are reset. */
  readonly resetAfterBytes?: number;
  /** After this many bytes both sides are closed in good order. */
  readonly closeAfterBytes?: number;
  /** The byte at this place, and those after it, are replaced by 0xff. */
  readonly garbageAfterBytes?: number;
  /** The receiver takes no more than this in a second. */
  readonly bytesPerSecond?: number;
}

export interface Behaviours {
  readonly towardsTarget?: Behaviour;
  readonly fromTarget?: Behaviour;
}

export interface HostileLink extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly open: number;
  /** For connections that come from now on. */
  behave(behaviours: Behaviours): void;
  /** Every connection, now. */
  resetAll(): void;
  /** Nothing passes any more on connections that are open, in both directions, and nobody is told. */
  freezeAll(): void;
}

const TURNS_PER_SECOND = 100;

export async function startHostileLink(targetPort: number): Promise<HostileLink> {
  let behaviours: Behaviours = {};
  const pairs = new Set<Pair>();
  const server: Server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1');
    const pair = new Pair(near, far, behaviours, () => pairs.delete(pair));
    pairs.add(pair);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    host: '127.0.0.1',
    port,
    get open() {
      return pairs.size;
    },
    behave(wanted) {
      behaviours = wanted;
    },
    resetAll() {
      for (const pair of pairs) pair.reset();
    },
    freezeAll() {
      for (const pair of pairs) pair.freeze();
    },
    async [Symbol.asyncDispose]() {
      for (const pair of pairs) pair.reset();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One connection through the link. */
class Pair {
  readonly #near: Socket;
  readonly #far: Socket;
  #frozen = false;

  constructor(near: Socket, far: Socket, behaviours: Behaviours, over: () => void) {
    this.#near = near;
    this.#far = far;
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      // What is done to a connection shows at its other end; here it is nobody's concern.
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        over();
      });
    }
    this.#carry(near, far, behaviours.towardsTarget ?? {});
    this.#carry(far, near, behaviours.fromTarget ?? {});
  }

  reset(): void {
    this.#near.resetAndDestroy();
    this.#far.resetAndDestroy();
  }

  freeze(): void {
    this.#frozen = true;
  }

  #carry(from: Socket, to: Socket, behaviour: Behaviour): void {
    let passed = 0;
    let turn = Promise.resolve();
    from.on('data', (chunk: Buffer) => {
      from.pause();
      turn = turn.then(async () => {
        for (const piece of piecesOf(chunk, behaviour)) {
          if (this.#frozen || to.destroyed) return;
          await wait(behaviour, piece.length);
          const bytes = garbled(piece, passed, behaviour.garbageAfterBytes);
          const room = limitOf(behaviour) - passed;
          passed += bytes.length;
          if (bytes.length <= room) {
            if (!to.write(bytes)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
            continue;
          }
          if (room > 0) to.write(bytes.subarray(0, room));
          if (behaviour.resetAfterBytes !== undefined) this.reset();
          else if (behaviour.closeAfterBytes !== undefined) {
            this.#near.end();
            this.#far.end();
          } else this.#frozen = true;
          return;
        }
        from.resume();
      });
    });
    from.on('end', () => void turn.then(() => to.end()));
  }
}

/** Bytes that pass before something happens. */
function limitOf(behaviour: Behaviour): number {
  const { resetAfterBytes, closeAfterBytes, swallowAfterBytes } = behaviour;
  return resetAfterBytes ?? closeAfterBytes ?? swallowAfterBytes ?? Number.POSITIVE_INFINITY;
}

function piecesOf(chunk: Buffer, behaviour: Behaviour): Buffer[] {
  const perTurn =
    behaviour.bytesPerSecond === undefined ? undefined : Math.max(1, behaviour.bytesPerSecond / TURNS_PER_SECOND);
  const size = Math.floor(behaviour.splitBytes ?? perTurn ?? chunk.length);
  const pieces: Buffer[] = [];
  for (let at = 0; at < chunk.length; at += size) pieces.push(chunk.subarray(at, at + size));
  return pieces;
}

async function wait(behaviour: Behaviour, bytes: number): Promise<void> {
  const slowMs = behaviour.bytesPerSecond === undefined ? 0 : (bytes * 1000) / behaviour.bytesPerSecond;
  const ms = (behaviour.delayMs ?? 0) + slowMs;
  if (ms > 0) await Bun.sleep(ms);
  // A turn of its own for each piece, or the kernel puts them together again.
  else if (behaviour.splitBytes !== undefined) await new Promise((resolve) => setImmediate(resolve));
}

function garbled(piece: Buffer, passed: number, after: number | undefined): Buffer {
  if (after === undefined || passed + piece.length <= after) return piece;
  const bytes = Buffer.from(piece);
  bytes.fill(0xff, Math.max(0, after - passed));
  return bytes;
}
