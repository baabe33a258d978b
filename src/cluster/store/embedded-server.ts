// The embedded store: one process, one file, served over HTTP to the roles of one machine. For `skerry up`, not for production: where this
// process is, there is the single point of failure.

import type { Clock } from '../../base/clock.ts';
import type { Disk } from '../../base/disk.ts';
import { describeError, Fault } from '../../base/fault.ts';
import type { Http, HttpServer } from '../../base/http.ts';
import { StoreCore, type StoreSnapshot } from './core.ts';
import type { Change, Condition, KeyEvent } from './store.ts';

export interface EmbeddedStoreOptions {
  /** A name of this machine only: there is no TLS. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Asked of every request. */
  readonly token: string;
}

/** A watch that waits longer is answered with nothing, and asks again. */
export const WATCH_POLL_MS = 20_000;

/** A request of the client: the body of a POST. */
export type EmbeddedRequest =
  | { readonly tag: 'get'; readonly key: string }
  | { readonly tag: 'list'; readonly prefix: string }
  | { readonly tag: 'write'; readonly conditions: readonly Condition[]; readonly changes: readonly Change[] }
  | { readonly tag: 'grant'; readonly ttlMs: number }
  | { readonly tag: 'keep-alive'; readonly lease: string }
  | { readonly tag: 'revoke'; readonly lease: string }
  | { readonly tag: 'watch'; readonly prefix: string; readonly after: number };

/** Serves until stopped. Rejects with Fault `store-damaged` when the file cannot be read. */
export async function serveEmbeddedStore(
  world: { readonly http: Http; readonly clock: Clock; readonly disk: Disk },
  options: EmbeddedStoreOptions,
): Promise<HttpServer> {
  const { clock, disk } = world;
  const core = new StoreCore(clock.now(), await readSnapshot(disk, options.path));
  const persistence = new Persistence(disk, options.path, core);
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const one of waiting) one();
  };
  const expire = (): void => {
    const before = core.revision;
    core.expire(clock.now());
    if (core.revision !== before) wake();
  };
  const answer = async (request: EmbeddedRequest): Promise<unknown> => {
    expire();
    switch (request.tag) {
      case 'get':
        return { entry: core.get(request.key) };
      case 'list':
        return { entries: core.list(request.prefix), revision: core.revision };
      case 'write': {
        const revision = core.write(request.conditions, request.changes);
        // What was answered must survive: also a refusal tells of the state that refused.
        await persistence.saved();
        if (revision !== null) wake();
        return { revision };
      }
      case 'grant': {
        const lease = core.grantLease(request.ttlMs, clock.now());
        await persistence.saved();
        return { lease };
      }
      case 'keep-alive':
        return { isAlive: core.keepAlive(request.lease, clock.now()) };
      case 'revoke':
        core.revokeLease(request.lease);
        await persistence.saved();
        wake();
        return {};
      case 'watch':
        return { events: await eventsAfter(request.prefix, request.after) };
      default:
        throw new Fault('bad-request', { message: 'there is no such request' });
    }
  };
  const eventsAfter = async (prefix: string, after: number): Promise<readonly KeyEvent[]> => {
    const untilMs = clock.now() + WATCH_POLL_MS;
    for (;;) {
      expire();
      const events = core.eventsAfter(prefix, after);
      if (events.length > 0 || clock.now() >= untilMs) return events;
      await new Promise<void>((resolve) => {
        // Leases end without anybody asking.
        const nextMs = core.expire(clock.now()) ?? Number.POSITIVE_INFINITY;
        const done = (): void => {
          timer[Symbol.dispose]();
          waiting.delete(done);
          resolve();
        };
        const timer = clock.after(Math.max(1, Math.min(nextMs, untilMs) - clock.now()), done);
        waiting.add(done);
      });
    }
  };
  return world.http.serve({
    host: options.host,
    port: options.port,
    handle: async (request) => {
      if (request.headers.get('authorization') !== `Bearer ${options.token}`)
        return Response.json({ error: 'refused' }, { status: 401 });
      try {
        return Response.json(await answer((await request.json()) as EmbeddedRequest));
      } catch (error) {
        const code = error instanceof Fault ? error.code : 'failed';
        return Response.json(
          { code, error: describeError(error) },
          { status: code === 'store-history-lost' ? 410 : 500 },
        );
      }
    },
  });
}

/** Writes the whole state; while one write is under way, those who come wait for one more, together. */
class Persistence {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #core: StoreCore;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  constructor(disk: Disk, path: string, core: StoreCore) {
    this.#disk = disk;
    this.#path = path;
    this.#core = core;
  }

  /** Resolves when all that is true now is on disk. */
  saved(): Promise<void> {
    if (this.#running === null) return this.#start();
    const running = this.#running;
    this.#next ??= running.catch(() => {}).then(() => this.#start());
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = null;
    const running = this.#disk.writeTextAtomically(this.#path, JSON.stringify(this.#core.snapshot())).finally(() => {
      if (this.#running === running) this.#running = null;
    });
    this.#running = running;
    return running;
  }
}

async function readSnapshot(disk: Disk, path: string): Promise<StoreSnapshot | undefined> {
  if (!(await disk.exists(path))) return undefined;
  try {
    return JSON.parse(await disk.readText(path)) as StoreSnapshot;
  } catch (error) {
    throw new Fault('store-damaged', {
      message: `${path} is not a state of the cluster's store: ${describeError(error)}`,
      hint: 'put a backup of the file in its place; without one the nodes must be adopted anew',
      cause: error,
    });
  }
}
