// The parent of the processes that share a port. It serves no client itself: it starts workers, replaces those that die,
// moves shares of the limits between them, and answers for all of them (admin console, metrics).
//
// A worker:  starting ──serving──▶ serving ──(restart)──▶ leaving ──▶ gone
//                └────── exit ───────┴── exit: a new one after a pause
//
// Loops: `care` (once a second: is each worker alive, what has it counted); turns (four times a second, where a limit is
// smaller than the number of workers that need it).
//
// Faults (code: what the operator reads in it)
//   worker-silent      a worker does not answer; the others have done what was asked
//   worker-gone        a worker ended while it was asked something
//   worker-failed      a worker could not be started: its own words
//   restart-running    a restart is under way already
//   restart-unix       a unix socket has one owner: a restart would close it
//   too-many-workers   workers that were replaced are still waiting for their clients

import { Backoff } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import { describeError, Fault } from '../../base/fault.ts';
import type { Random } from '../../base/random.ts';
import { loop, sleepQuietly } from '../../base/service.ts';
import type { WorkerHandle } from '../../base/worker.ts';
import type { TopologySource } from '../../contracts/topology.ts';
import type { Log } from '../../observe/log.ts';
import { type Metrics, type MetricSnapshot, renderSnapshots, sumSnapshots } from '../../observe/metrics.ts';
import { PROXY_WORKER_RESTARTS, PROXY_WORKERS } from '../../observe/names.ts';
import type { AdminAnswer, Cell } from '../admin/session.ts';
import { mergeTables, WORKERS_COLUMNS } from '../admin/tables.ts';
import type { ProxyConfig } from '../config.ts';
import { outcomeOf, parseCommand, type Said, stateAfter, textFor } from './admin.ts';
import { Budgets, type ShareMessage } from './budget.ts';
import { ROUTE_MAX } from './cancel-key.ts';
import { Calls } from './calls.ts';
import {
  type FromWorker,
  faultData,
  faultOf,
  type Outcome,
  type ParentRequest,
  type PlaceAmongWorkers,
  type RunState,
  type ToWorker,
  WORKER_PROTOCOL,
  type WorkerFigures,
  type WorkerRequest,
} from './messages.ts';

/** A worker answers from memory; one that does not even say that it has the question within this time is silent. */
const ACCEPT_MS = 2_000;
/** Commands that wait for nobody. */
const ANSWER_MS = 5_000;
/** A port is closed within this time, or the worker does not do what it is told. */
const RETIRE_MS = 10_000;
/** A worker that serves after this is healthy; the next one that dies is replaced at once. */
const HEALTHY_AFTER_MS = 10_000;
const START_MS = 30_000;
/** A worker that says nothing for this long is ended: its clients get nothing either. */
const SILENT_MAX_MS = 30_000;
/** Time to tell clients that it is over. */
const STOP_MS = 5_000;
const RESTART_FIRST_MS = 50;
const RESTART_MAX_MS = 5_000;
const CARE_MS = 1_000;
/** Where a limit is smaller than the number of workers that need it, it goes round: each change of turn is a new connection. */
const TURN_MS = 250;
/** Counters of a worker that is killed are lost from the last look on. */
const FIGURES_EVERY = 2;

export interface ParentWorld {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ParentOptions {
  readonly config: ProxyConfig;
  readonly version: string;
  /** Starts one more process. */
  readonly spawn: () => WorkerHandle<ToWorker, FromWorker>;
  /** Reads the configuration anew. Throws when it is not valid. */
  readonly readConfig: () => ProxyConfig;
  /**
   * Where the servers of a database are, by its name, `*` for all others; databases without one have their static list. The parent
   * asks once for all workers.
   */
  readonly topologies?: ReadonlyMap<string, TopologySource>;
  /** All workers have gone as they were told to. */
  readonly stopped: () => void;
}

type MemberState = 'starting' | 'serving' | 'leaving';

interface Ports {
  readonly port: number;
  readonly readPort: number;
}

interface Member {
  readonly number: number;
  readonly handle: WorkerHandle<ToWorker, FromWorker>;
  readonly calls: Calls;
  readonly startedAt: number;
  /** Resolves when it listens. */
  readonly serving: Promise<Ports>;
  pid: number;
  state: MemberState;
  heardAt: number;
  last: WorkerFigures | null;
  exited: boolean;
}

/** A place for a worker; restarts count here. */
interface Slot {
  member: Member | null;
  restarts: number;
  /** Somebody is starting a worker for it. */
  busy: boolean;
  readonly backoff: Backoff;
}

/** What `/status` tells. */
export interface ParentStatus {
  readonly state: 'starting' | 'serving' | 'restarting' | 'stopping';
  readonly port: number;
  readonly readPort: number;
  readonly workers: readonly {
    readonly worker: number;
    readonly pid: number;
    readonly state: MemberState;
    readonly clients: number;
    readonly servers: number;
  }[];
  /** Logged in. */
  readonly clients: number;
  /** For a server connection. */
  readonly waiting: number;
  readonly servers: number;
  /** Statements answered since the start, and per second of late. */
  readonly queries: number;
  readonly queriesPerSecond: number;
  readonly restarts: number;
  /** Restarts that were begun and have ended, well or not; those that ended well. */
  readonly restartsEnded: number;
  readonly generation: number;
  readonly reloadsEnded: number;
  /** What the last restart or reload said; empty = all well. */
  readonly lastError: string;
}

export class WorkerParent {
  readonly #world: ParentWorld;
  readonly #options: ParentOptions;
  readonly #slots: Slot[] = [];
  readonly #members = new Map<number, Member>();
  readonly #budgets = new Budgets();
  /** The kernel's group of listening sockets: a new one comes last, the last takes the place of one that closes. */
  readonly #group: Member[] = [];
  readonly #stop = new AbortController();
  readonly #mockSecret: Uint8Array;
  /** Figures of workers that are gone. */
  #departed: { metrics: readonly MetricSnapshot[]; stats: AdminAnswer | null; queries: number } = {
    metrics: [],
    stats: null,
    queries: 0,
  };
  #rate = 0;
  #rated = { at: 0, queries: 0 };
  #config: ProxyConfig;
  #runState: RunState = { pausedAll: false, resumed: [], paused: [], disabled: [], options: [] };
  #listening: Promise<unknown> = Promise.resolve();
  #port = 0;
  #readPort = 0;
  #restarting = false;
  #draining = false;
  #generation = 0;
  #restartsEnded = 0;
  #reloadsEnded = 0;
  #looks = 0;
  #lastError = '';

  constructor(world: ParentWorld, options: ParentOptions) {
    this.#world = world;
    this.#options = options;
    this.#config = options.config;
    this.#mockSecret = world.random.bytes(32);
    world.metrics.gaugeOf(PROXY_WORKERS, { state: 'serving' }, () => this.#count('serving'));
    world.metrics.gaugeOf(PROXY_WORKERS, { state: 'leaving' }, () => this.#count('leaving'));
    world.metrics.counterOf(PROXY_WORKER_RESTARTS, {}, () => this.#restarts);
  }

  get port(): number {
    return this.#port;
  }

  get readPort(): number {
    return this.#readPort;
  }

  /** Resolves when all workers listen; rejects when one cannot. */
  async start(): Promise<void> {
    try {
      await Promise.all(Array.from({ length: this.#config.workers }, () => this.#addSlot()));
    } catch (error) {
      await this.stop();
      throw error;
    }
    for (const [database, source] of this.#options.topologies ?? []) {
      const subscription = source.subscribe((topology) => {
        for (const member of this.#members.values()) this.#tell(member, { tag: 'topology', database, topology });
      });
      this.#stop.signal.addEventListener('abort', () => subscription[Symbol.dispose](), { once: true });
    }
    const { clock } = this.#world;
    const { signal } = this.#stop;
    void loop({ everyMs: CARE_MS, clock, signal }, () => this.#care());
    void loop({ everyMs: TURN_MS, clock, signal }, () => this.#sendShares(this.#budgets.rotate()));
  }

  /** Ends all workers; clients are told. */
  async stop(): Promise<void> {
    this.#stop.abort();
    const members = [...this.#members.values()];
    for (const member of members) this.#tell(member, { tag: 'stop' });
    const gone = Promise.all(members.map((member) => member.handle.exited));
    await Promise.race([gone, this.#world.clock.sleep(STOP_MS)]);
    await Promise.all(members.filter((member) => !member.exited).map((member) => member.handle.kill()));
  }

  status(): ParentStatus {
    const members = [...this.#members.values()];
    const { stop } = { stop: this.#stop.signal.aborted || this.#draining };
    return {
      state: stop ? 'stopping' : this.#restarting ? 'restarting' : members.length === 0 ? 'starting' : 'serving',
      port: this.#port,
      readPort: this.#readPort,
      workers: members.map(({ number, pid, state, last }) => ({
        worker: number,
        pid,
        state,
        clients: last?.clients ?? 0,
        servers: last?.servers ?? 0,
      })),
      clients: this.#sum((last) => last.clients),
      waiting: this.#sum((last) => last.waiting),
      servers: this.#sum((last) => last.servers),
      queries: this.#queries,
      queriesPerSecond: Math.round(this.#rate),
      restarts: this.#restarts,
      restartsEnded: this.#restartsEnded,
      generation: this.#generation,
      reloadsEnded: this.#reloadsEnded,
      lastError: this.#lastError,
    };
  }

  #sum(of: (last: WorkerFigures) => number): number {
    return [...this.#members.values()].reduce((sum, { last }) => sum + (last === null ? 0 : of(last)), 0);
  }

  get #queries(): number {
    return this.#departed.queries + this.#sum((last) => last.queries);
  }

  get #restarts(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.restarts, 0);
  }

  #count(state: MemberState): number {
    return [...this.#members.values()].filter((one) => one.state === state).length;
  }

  // Workers.

  async #addSlot(): Promise<void> {
    const backoff = new Backoff(this.#world.random, { firstMs: RESTART_FIRST_MS, maxMs: RESTART_MAX_MS });
    const slot: Slot = { member: null, restarts: 0, busy: false, backoff };
    this.#slots.push(slot);
    await this.#fill(slot);
  }

  /** Starts a worker for the place; resolves when it listens. */
  async #fill(slot: Slot): Promise<void> {
    // It may find no place for one more; the slot is not busy then.
    const member = this.#spawn();
    slot.busy = true;
    try {
      await this.#serve(member);
      slot.member = member;
    } catch (error) {
      await member.handle.kill();
      throw error;
    } finally {
      slot.busy = false;
    }
    this.#tellPlaces();
  }

  #spawn(): Member {
    const { clock, log } = this.#world;
    const number = this.#freeNumber();
    const handle = this.#options.spawn();
    const serving = Promise.withResolvers<Ports>();
    serving.promise.catch(() => {});
    const calls = new Calls(clock);
    const member: Member = {
      number,
      handle,
      calls,
      startedAt: clock.now(),
      serving: serving.promise,
      pid: 0,
      state: 'starting',
      heardAt: clock.now(),
      last: null,
      exited: false,
    };
    this.#members.set(number, member);
    this.#budgets.join(number);
    handle.onMessage = (message) => {
      member.heardAt = clock.now();
      if (message.tag === 'serving') serving.resolve(message);
      else if (message.tag === 'failed') serving.reject(faultOf(message.fault));
      else this.#told(member, message);
    };
    void handle.exited.then((reason) => {
      serving.reject(new Fault('worker-failed', { message: `worker ${number} ${reason} before it served` }));
      log.info('proxy.worker-gone', { worker: number, pid: member.pid, message: reason });
      this.#gone(member, reason);
    });
    return member;
  }

  /** One after the other, so that the order of the listening sockets is known. */
  #serve(member: Member): Promise<void> {
    const { clock, log } = this.#world;
    const serve = async (): Promise<void> => {
      this.#assertGoesOn(member);
      using _deadline = clock.after(START_MS, () => void member.handle.kill());
      this.#tell(member, {
        tag: 'serve',
        worker: member.number,
        config: this.#port === 0 ? this.#config : { ...this.#config, ...this.#ports() },
        version: this.#options.version,
        mockSecret: this.#mockSecret,
        state: this.#runState,
        place: { rank: this.#slots.length, count: this.#config.workers },
        topologies: [...(this.#options.topologies ?? [])].map(([name, source]) => [name, source.current()] as const),
      });
      const { port, readPort } = await member.serving;
      // SHUTDOWN has asked only those that served: this one would never leave.
      this.#assertGoesOn(member);
      this.#port = port;
      this.#readPort = readPort;
      member.state = 'serving';
      this.#sendShares(this.#budgets.serves(member.number));
      this.#group.push(member);
      log.info('proxy.worker-serves', { worker: member.number, pid: member.pid, port });
    };
    const result = this.#listening.then(serve);
    this.#listening = result.catch(() => {});
    return result;
  }

  #assertGoesOn(member: Member): void {
    if (this.#stop.signal.aborted || this.#draining || member.exited) {
      throw new Fault('stopping', { message: 'the proxy stops' });
    }
  }

  /** The ports of the first worker, when the configuration left the choice to the system. */
  #ports(): Pick<ProxyConfig, 'port' | 'readPort'> {
    return { port: this.#port, readPort: this.#config.readPort === null ? null : this.#readPort };
  }

  #freeNumber(): number {
    for (let number = 1; number <= ROUTE_MAX; number += 1) if (!this.#members.has(number)) return number;
    throw new Fault('too-many-workers', {
      message: `${this.#members.size} workers are there already, most of them waiting for their clients to leave`,
      hint: 'lower shutdown_timeout, or wait',
      sqlstate: '53300',
      retryable: true,
    });
  }

  #tell(member: Member, message: ToWorker): void {
    if (!member.exited) member.handle.post(message);
  }

  #ask(
    member: Member,
    request: WorkerRequest,
    answerMs: number | null = ANSWER_MS,
  ): Promise<(Outcome & { ok: true })['value']> {
    const silent = new Fault('worker-silent', {
      message: `no answer from worker ${member.number} (pid ${member.pid})`,
      hint: `SHOW WORKERS tells how they are; after ${SILENT_MAX_MS / 1000} s of silence a worker is replaced`,
      sqlstate: '57014',
      retryable: true,
    });
    const limits = { acceptMs: ACCEPT_MS, answerMs };
    return member.calls.call((id) => this.#tell(member, { tag: 'request', id, request }), limits, silent);
  }

  #told(member: Member, message: Exclude<FromWorker, { tag: 'serving' | 'failed' }>): void {
    switch (message.tag) {
      case 'hello':
        member.pid = message.pid;
        if (message.protocol !== WORKER_PROTOCOL) {
          this.#world.log.error('proxy.worker-foreign', {
            worker: member.number,
            message: 'the program on disk is of another version than this parent: end this process and start it anew',
          });
          void member.handle.kill();
        }
        break;
      case 'accepted':
        member.calls.accepted(message.id);
        break;
      case 'done':
        member.calls.done(message.id, message.outcome);
        break;
      case 'request':
        void this.#answer(member, message.id, message.request);
        break;
      case 'demand':
        this.#sendShares(this.#budgets.report(member.number, message.report));
        break;
      case 'farewell':
        member.last = message.last;
        break;
    }
  }

  async #answer(member: Member, id: number, request: ParentRequest): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = { ok: true, value: request.do === 'admin' ? await this.command(request.text) : null };
      if (request.do === 'cancel') {
        const owner = this.#members.get(request.worker);
        if (owner !== undefined) this.#tell(owner, { tag: 'cancel', key: request.key });
      }
    } catch (error) {
      outcome = { ok: false, fault: faultData(error) };
    }
    this.#tell(member, { tag: 'done', id, outcome });
  }

  #sendShares(messages: ReadonlyMap<number, ShareMessage>): void {
    for (const [number, message] of messages) {
      const member = this.#members.get(number);
      if (member !== undefined) this.#tell(member, { tag: 'shares', message });
    }
  }

  #tellPlaces(): void {
    const serving = this.#slots.flatMap(({ member }) => (member === null ? [] : [member]));
    for (const member of this.#members.values()) {
      const rank = serving.indexOf(member);
      const place: PlaceAmongWorkers = rank === -1 ? { rank: 0, count: 0 } : { rank, count: serving.length };
      this.#tell(member, { tag: 'place', place });
    }
  }

  /** A process has ended, as it was told to or not. */
  #gone(member: Member, reason: string): void {
    const { log } = this.#world;
    member.exited = true;
    member.calls.end(
      new Fault('worker-gone', {
        message: `worker ${member.number} (pid ${member.pid}) ${reason}`,
        sqlstate: '57P01',
        retryable: true,
      }),
    );
    this.#members.delete(member.number);
    this.#leaveGroup(member);
    this.#keepFigures(member);
    this.#sendShares(this.#budgets.leave(member.number));
    const slot = this.#slots.find((one) => one.member === member);
    if (slot !== undefined) slot.member = null;
    if (this.#stop.signal.aborted) return;
    if (this.#draining) {
      if (this.#members.size === 0) this.#options.stopped();
      return;
    }
    if (slot === undefined || member.state === 'leaving') return;
    log.error('proxy.worker-died', {
      worker: member.number,
      pid: member.pid,
      message: `${reason}; its clients are gone, those of the other workers are not`,
    });
    if (this.#world.clock.now() - member.startedAt > HEALTHY_AFTER_MS) slot.backoff.reset();
    if (!slot.busy) void this.#refill(slot);
  }

  async #refill(slot: Slot): Promise<void> {
    const { clock, log } = this.#world;
    while (!this.#stop.signal.aborted && !this.#draining && slot.member === null) {
      await sleepQuietly(clock, slot.backoff.next(), this.#stop.signal);
      if (this.#stop.signal.aborted || this.#draining) return;
      // A restart may have filled the slot meanwhile, or taken it away.
      if (slot.busy || slot.member !== null || !this.#slots.includes(slot)) return;
      try {
        slot.restarts += 1;
        await this.#fill(slot);
      } catch (error) {
        log.error('proxy.worker-failed', { message: describeError(error) });
      }
    }
  }

  #leaveGroup(member: Member): void {
    const at = this.#group.indexOf(member);
    if (at === -1) return;
    const last = this.#group.pop() as Member;
    if (last !== member) this.#group[at] = last;
  }

  /** Counters go on counting from where the dead left them. */
  #keepFigures(member: Member): void {
    if (member.last === null) return;
    const { metrics, stats } = member.last;
    const lasting = metrics.filter((one) => one.kind !== 'gauge');
    const still = { ...stats, rows: (stats.rows ?? []).map(withoutRates) };
    this.#departed = {
      metrics: sumSnapshots([this.#departed.metrics, lasting]),
      stats: this.#departed.stats === null ? still : mergeTables('stats', [this.#departed.stats, still]),
      queries: this.#departed.queries + member.last.queries,
    };
    member.last = null;
  }

  /** Once a second. */
  async #care(): Promise<void> {
    const { clock, log } = this.#world;
    this.#looks += 1;
    const wantFigures = this.#looks % FIGURES_EVERY === 0;
    for (const member of this.#members.values()) {
      if (member.state === 'starting') continue;
      if (clock.now() - member.heardAt > SILENT_MAX_MS) {
        log.error('proxy.worker-silent', {
          worker: member.number,
          pid: member.pid,
          message: `has said nothing for ${SILENT_MAX_MS / 1000} s and is ended`,
        });
        void member.handle.kill();
      } else {
        void (wantFigures ? this.#look(member) : this.#ask(member, { do: 'ping' })).catch(() => {});
      }
    }
    // From what was said the last time.
    if (!wantFigures) this.#measure();
    return Promise.resolve();
  }

  #measure(): void {
    const [at, queries] = [this.#world.clock.now(), this.#queries];
    if (this.#rated.at > 0) this.#rate = Math.max(0, ((queries - this.#rated.queries) * 1000) / (at - this.#rated.at));
    this.#rated = { at, queries };
  }

  async #look(member: Member): Promise<void> {
    const value = await this.#ask(member, { do: 'figures' });
    // The farewell may have come meanwhile and is newer.
    if (value !== null && 'metrics' in value && !member.exited) member.last = value;
  }

  // For all of them.

  /** A command of the admin console; one outcome. Rejects with the Fault to tell. */
  async command(text: string): Promise<AdminAnswer> {
    const command = parseCommand(text);
    const { verb, words } = command;
    if (verb === 'RELOAD') {
      await this.reload();
      return { tag: verb };
    }
    if (verb === 'RESTART') {
      await this.restart();
      return { tag: verb };
    }
    if (verb === 'SHUTDOWN') {
      this.#shutdown(words[0] ?? '');
      return { tag: verb };
    }
    if (verb === 'SHOW' && words[0]?.toLowerCase() === 'workers') return this.#showWorkers();
    // Before the workers are asked: one that starts meanwhile has to be told as well.
    const before = this.#runState;
    if (verb !== 'SET') this.#setState(stateAfter(before, command));
    const answerMs = /^(?:PAUSE|WAIT_CLOSE)$/.test(verb) ? null : ANSWER_MS;
    const said = await this.#askAll({ do: 'command', text: textFor(command, text) }, answerMs);
    if (verb === 'SHOW' && this.#departed.stats !== null && textFor(command, text) === 'SHOW stats') {
      said.push({ worker: 0, answer: this.#departed.stats });
    }
    const failedEverywhere = said.every((one) => 'fault' in one);
    if (failedEverywhere && this.#runState !== before) this.#setState(before);
    const outcome = outcomeOf(command, said);
    if (verb === 'SET') this.#setState(stateAfter(this.#runState, command, text));
    return outcome;
  }

  #setState(state: RunState): void {
    if (state === this.#runState) return;
    this.#runState = state;
    for (const member of this.#members.values()) this.#tell(member, { tag: 'state', state });
  }

  async #askAll(request: WorkerRequest, answerMs: number | null): Promise<Said[]> {
    const members = [...this.#members.values()].filter((one) => one.state !== 'starting');
    return Promise.all(
      members.map(async (member): Promise<Said> => {
        const worker = member.number;
        try {
          const value = await this.#ask(member, request, answerMs);
          return { worker, answer: value !== null && 'tag' in value ? value : { tag: 'OK' } };
        } catch (error) {
          return { worker, fault: error instanceof Fault ? error : faultOf(faultData(error)) };
        }
      }),
    );
  }

  #showWorkers(): AdminAnswer {
    const now = this.#world.clock.now();
    const rows = [...this.#members.values()].map((member): Cell[] => [
      member.number,
      member.pid,
      now - member.heardAt > ACCEPT_MS ? 'silent' : member.state,
      Math.round((now - member.startedAt) / 1000),
      this.#slots.find((slot) => slot.member === member)?.restarts ?? 0,
      member.last?.clients ?? 0,
      member.last?.servers ?? 0,
    ]);
    return { tag: 'SHOW', columns: WORKERS_COLUMNS, rows };
  }

  /** SHUTDOWN at once, or when the clients have gone. */
  #shutdown(how: string): void {
    if (!/^wait_for_(?:clients|servers)$/i.test(how)) {
      // After the answer has gone out.
      this.#world.clock.soon(() => void this.stop().then(this.#options.stopped));
      return;
    }
    if (this.#draining) return;
    this.#draining = true;
    for (const member of this.#members.values()) {
      if (member.state !== 'serving') continue;
      member.state = 'leaving';
      void this.#ask(member, { do: 'retire', others: null, timeoutMs: 0 }, RETIRE_MS).catch(() => {});
    }
  }

  /** Metrics of all workers as one text; a worker that does not answer counts with what it said last. */
  async metricsText(): Promise<string> {
    const members = [...this.#members.values()].filter((one) => one.state !== 'starting');
    await Promise.all(members.map((member) => this.#look(member).catch(() => {})));
    const last = [...this.#members.values()].flatMap((member) => (member.last === null ? [] : [member.last.metrics]));
    return renderSnapshots(sumSnapshots([this.#world.metrics.snapshot(), ...last, this.#departed.metrics]));
  }

  /** Reads the configuration anew and gives it to all. Rejects, and nothing has changed, when it is not valid. */
  async reload(): Promise<void> {
    try {
      await this.#reload();
    } finally {
      this.#reloadsEnded += 1;
    }
  }

  async #reload(): Promise<void> {
    const { log } = this.#world;
    let config: ProxyConfig;
    try {
      config = this.#options.readConfig();
    } catch (error) {
      this.#lastError = `reload: ${describeError(error)}`;
      log.error('proxy.reload-refused', { message: `the old configuration stays: ${describeError(error)}` });
      throw error;
    }
    this.#config = config;
    this.#lastError = '';
    this.#setState(stateAfter(this.#runState, { verb: 'RELOAD', words: [] }));
    outcomeOf({ verb: 'RELOAD', words: [] }, await this.#askAll({ do: 'configure', config }, ANSWER_MS));
    log.info('proxy.reloaded', { databases: config.databases.size, users: config.users.size });
  }

  /**
   * New processes take over the port, one after the other; each old one lets its clients finish, up to `shutdown_timeout`.
   * Resolves when the last new one serves and the last old one accepts no more. Rejects when the configuration is not valid or a
   * new worker does not start; the old ones that are left go on then.
   */
  async restart(): Promise<void> {
    if (this.#restarting || this.#draining) {
      throw new Fault('restart-running', {
        message: this.#draining ? 'the proxy is stopping' : 'a restart is under way already',
        hint: 'SHOW WORKERS tells how far it is',
        sqlstate: '55006',
        retryable: true,
      });
    }
    if (this.#config.host.startsWith('/')) {
      throw new Fault('restart-unix', {
        message: 'a unix socket cannot be taken over by another process',
        hint: 'let proxy.host be an address, or end the proxy and start it again',
        sqlstate: '0A000',
      });
    }
    this.#restarting = true;
    const { log } = this.#world;
    try {
      await this.#reload();
      const old = [...this.#slots];
      for (const slot of old.slice(0, this.#config.workers)) await this.#replace(slot);
      for (let more = old.length; more < this.#config.workers; more += 1) await this.#addSlot();
      for (const slot of old.slice(this.#config.workers)) await this.#remove(slot);
      this.#generation += 1;
      this.#lastError = '';
      log.info('proxy.restarted', { workers: this.#config.workers });
    } catch (error) {
      this.#lastError = `restart: ${describeError(error)}`;
      log.error('proxy.restart-failed', { message: `workers that were not replaced go on: ${describeError(error)}` });
      throw error;
    } finally {
      this.#restarting = false;
      this.#restartsEnded += 1;
      this.#tellPlaces();
    }
  }

  async #replace(slot: Slot): Promise<void> {
    const old = slot.member;
    try {
      await this.#fill(slot);
    } catch (error) {
      // The old one may have died meanwhile.
      if (slot.member === null) void this.#refill(slot);
      throw error;
    }
    if (old !== null) await this.#retire(old);
  }

  async #remove(slot: Slot): Promise<void> {
    this.#slots.splice(this.#slots.indexOf(slot), 1);
    if (slot.member !== null) await this.#retire(slot.member);
  }

  /** Resolves when it accepts no more; its clients may stay a while. */
  async #retire(member: Member): Promise<void> {
    if (member.exited) return;
    member.state = 'leaving';
    this.#sendShares(this.#budgets.retire(member.number));
    this.#tellPlaces();
    const others = this.#group.flatMap((one, position) => (one.state === 'leaving' ? [] : [position]));
    const request: WorkerRequest = { do: 'retire', others, timeoutMs: this.#config.shutdownTimeoutMs };
    try {
      await this.#ask(member, request, RETIRE_MS);
    } catch (error) {
      this.#world.log.error('proxy.worker-stuck', { worker: member.number, message: describeError(error) });
      await member.handle.kill();
    }
    this.#leaveGroup(member);
    const heir = this.#group[0];
    if (heir !== undefined) await this.#ask(heir, { do: 'steer-all' }).catch(() => {});
  }
}

/** A row of SHOW STATS of somebody who does nothing any more. */
function withoutRates(row: readonly Cell[]): Cell[] {
  const totals = (row.length - 1) / 2;
  return row.map((cell, index) => {
    const name = index - 1 - totals;
    // Averages per transaction, query and wait stay what they were.
    return index > totals && !(name >= 5 && name <= 7) ? 0 : cell;
  });
}
