// One of the processes that share a port: a proxy, and what its parent tells it.
//
//   hello ──serve──▶ serving ──retire──▶ leaving (no new clients; the old ones finish, up to a deadline) ──▶ farewell, gone
//
// It does nothing of its own accord: signals go to the parent. When the parent is gone, so is the worker (runtime/worker.ts).

import { Fault } from '../../base/fault.ts';
import { NEVER_ABORTED, sleepQuietly } from '../../base/service.ts';
import type { MessagePort } from '../../base/worker.ts';
import type { Metrics } from '../../observe/metrics.ts';
import { runHere } from '../admin/commands.ts';
import { rememberOption } from '../admin/settings.ts';
import { showTable } from '../admin/tables.ts';
import type { Pool } from '../pool.ts';
import { Proxy, type ProxyWorld } from '../proxy.ts';
import { Calls } from './calls.ts';
import {
  type FromWorker,
  faultData,
  type Outcome,
  type PlaceAmongWorkers,
  type RunState,
  type ServeOrder,
  type ToWorker,
  WORKER_PROTOCOL,
  type WorkerFigures,
  type WorkerRequest,
} from './messages.ts';
import { WorkerShares } from './shares.ts';
import { TopologyMirror } from './topology-mirror.ts';

/** Connections whose handshake had begun before the kernel was told to leave us out arrive within a round trip or two. */
const QUIET_MS = 250;
/** When connections still arrive after this, the kernel does not do what it was told. */
const QUIET_MAX_MS = 3_000;
const LOOK_MS = 10;

/** The parent answers at once, unless a command takes its time, like PAUSE. */
const PARENT_ACCEPT_MS = 30_000;

export interface WorkerOptions {
  readonly world: ProxyWorld & { readonly metrics: Metrics };
  readonly parent: MessagePort<FromWorker, ToWorker>;
  readonly pid: number;
  /** Ends this process. */
  readonly exit: () => void;
}

export class ProxyWorker {
  readonly #options: WorkerOptions;
  readonly #calls: Calls;
  #proxy: Proxy | null = null;
  /** From the beginning: shares may be told before it serves. */
  readonly #shares: WorkerShares;
  #state: RunState = { pausedAll: false, resumed: [], paused: [], disabled: [], options: [] };
  #place: PlaceAmongWorkers = { rank: 0, count: 1 };
  #topologies: ReadonlyMap<string, TopologyMirror> = new Map();
  #gone = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const { clock } = options.world;
    this.#calls = new Calls(clock);
    this.#shares = new WorkerShares({
      send: (report) => this.#say({ tag: 'demand', report }),
      soon: (task) => clock.soon(task),
      changed: () => this.#proxy?.sharesChanged(),
    });
    options.parent.onMessage = (message) => this.#told(message);
    this.#say({ tag: 'hello', protocol: WORKER_PROTOCOL, pid: options.pid });
  }

  #say(message: FromWorker): void {
    this.#options.parent.post(message);
  }

  #told(message: ToWorker): void {
    switch (message.tag) {
      case 'serve':
        this.#serve(message).then(
          (proxy) => this.#say({ tag: 'serving', port: proxy.port, readPort: proxy.readPort }),
          (error: unknown) => this.#say({ tag: 'failed', fault: faultData(error) }),
        );
        break;
      case 'topology':
        this.#topologies.get(message.database)?.set(message.topology);
        break;
      case 'state':
        this.#state = message.state;
        break;
      case 'place':
        this.#place = message.place;
        break;
      case 'request':
        this.#say({ tag: 'accepted', id: message.id });
        void this.#answer(message.id, message.request);
        break;
      case 'done':
        this.#calls.done(message.id, message.outcome);
        break;
      case 'shares':
        this.#shares.apply(message.message);
        break;
      case 'cancel':
        this.#proxy?.cancelHere(message.key);
        break;
      case 'stop':
        void this.#leave();
        break;
    }
  }

  async #serve(order: ServeOrder): Promise<Proxy> {
    const { world } = this.#options;
    const { worker, version, mockSecret } = order;
    this.#state = order.state;
    this.#place = order.place;
    this.#topologies = new Map(order.topologies.map(([database, first]) => [database, new TopologyMirror(first)]));
    const proxy = new Proxy(
      { ...world, log: world.log.with({ worker }) },
      {
        config: order.config,
        topologies: this.#topologies,
        version,
        stopRequested: () => void this.#leave(),
        siblings: {
          worker,
          mockSecret,
          shares: this.#shares,
          state: () => this.#state,
          place: () => this.#place,
          command: async (text) => {
            const value = await this.#ask((id) => this.#say({ tag: 'request', id, request: { do: 'admin', text } }));
            return value !== null && 'tag' in value ? value : { tag: 'OK' };
          },
          cancel: async (to, key) => {
            const request = { do: 'cancel', worker: to, key } as const;
            // Nothing is ever said about a cancel request.
            await this.#ask((id) => this.#say({ tag: 'request', id, request })).catch(() => null);
          },
        },
      },
    );
    for (const [name, value] of order.state.options) rememberOption(proxy, name, value);
    this.#proxy = proxy;
    await proxy.start();
    return proxy;
  }

  #ask(send: (id: number) => void): ReturnType<Calls['call']> {
    const silent = new Fault('worker-silent', {
      message: 'the parent of the workers does not answer',
      sqlstate: '57P03',
      retryable: true,
    });
    // The parent is there, or we would not be; how long a command may take is its decision.
    return this.#calls.call(
      (id) => {
        send(id);
        this.#calls.accepted(id);
      },
      { acceptMs: PARENT_ACCEPT_MS, answerMs: null },
      silent,
    );
  }

  async #answer(id: number, request: WorkerRequest): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = { ok: true, value: await this.#do(request) };
    } catch (error) {
      outcome = { ok: false, fault: faultData(error) };
    }
    this.#say({ tag: 'done', id, outcome });
  }

  async #do(request: WorkerRequest): Promise<(Outcome & { ok: true })['value']> {
    const proxy = this.#proxy;
    if (proxy === null) throw new Fault('worker-starting', { message: 'the worker does not serve yet' });
    switch (request.do) {
      case 'command':
        return await runHere(request.text, {
          proxy,
          // RELOAD and SHUTDOWN are the parent's.
          actions: { reload: () => Promise.resolve(), stop: () => {} },
        });
      case 'configure':
        proxy.configure(request.config);
        return null;
      case 'figures':
        return this.#figures(proxy);
      case 'retire':
        await this.#retire(proxy, request.others, request.timeoutMs);
        return null;
      case 'steer-all':
        proxy.steer(null);
        return null;
      case 'ping':
        return null;
    }
  }

  #figures(proxy: Proxy): WorkerFigures {
    const pools = [...proxy.pools.values()];
    const sum = (of: (pool: Pool) => number): number => pools.reduce((total, pool) => total + of(pool), 0);
    return {
      metrics: this.#options.world.metrics.snapshot(),
      stats: showTable('stats', proxy),
      clients: proxy.clients.size,
      waiting: sum((pool) => pool.waiting),
      servers: sum((pool) => pool.servers.size),
      queries: sum((pool) => pool.stats.queries),
    };
  }

  /** Resolves when the port is closed without a connection lost. Clients go on; then the process ends. */
  async #retire(proxy: Proxy, others: readonly number[] | null, timeoutMs: number): Promise<void> {
    const { clock, log } = this.#options.world;
    if (others !== null && others.length > 0) {
      if (proxy.steer(others)) await this.#untilQuiet(proxy);
      else {
        log.warn('proxy.not-steered', {
          message:
            'the system cannot leave one listener out; connections queued for it may be reset unless net.ipv4.tcp_migrate_req is 1',
        });
      }
    }
    proxy.drain();
    if (timeoutMs > 0) clock.after(timeoutMs, () => void this.#leave());
  }

  async #untilQuiet(proxy: Proxy): Promise<void> {
    const { clock } = this.#options.world;
    const startedAt = clock.now();
    let seen = proxy.accepted;
    let quietSince = startedAt;
    while (clock.now() - quietSince < QUIET_MS && clock.now() - startedAt < QUIET_MAX_MS) {
      await sleepQuietly(clock, LOOK_MS, NEVER_ABORTED);
      if (proxy.accepted === seen) continue;
      seen = proxy.accepted;
      quietSince = clock.now();
    }
  }

  async #leave(): Promise<void> {
    if (this.#gone) return;
    this.#gone = true;
    const proxy = this.#proxy;
    if (proxy !== null) {
      this.#say({ tag: 'farewell', last: this.#figures(proxy) });
      await proxy.stop();
    }
    this.#options.exit();
  }
}
