// Placements in a relay: who is sent what (I4). The applier of the relay's own replica derives a stream for each placement
// (replica/placement/derive.ts); here each gets a hub and a log of its own, so that a PoP of a placement is served exactly as
// one that holds everything is, from bytes that were put together once for all of them.
//
//   own replica ──_skerry_derived──▶ pump ──▶ feeder ─▶ hub + log of placement A ──▶ its PoPs
//                                         └─▶ feeder ─▶ hub + log of placement B ──▶ …
//
// The relay's folder holds the truth, in `placements.json`: whoever may write to the core's database must not be able to widen
// what leaves a relay. A change takes effect at the end of a transaction, so that it has an LSN.

import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { PlacementInForce, PlacementSpec } from '../contracts/placement.ts';
import type { PlacementReport, ReplicaControl } from '../contracts/replica-control.ts';
import type { Log } from '../observe/log.ts';
import type { Counter } from '../observe/metrics.ts';
import { type Epoch, formatLsn, type Lsn, LSN_ZERO, parseLsn } from '../pg/lsn.ts';
import { Catalogue } from '../replica/catalogue.ts';
import { eachDerived, readPlacementsInForce } from '../replica/placement/derive.ts';
import {
  checkSpec,
  checkSpecs,
  holdsEverything,
  placementOf,
  resolvePlacement,
} from '../replica/placement/placement.ts';
import { ReplicaReader } from '../replica/reader.ts';
import { concat, FRAME_HEADER_BYTES, frameOf } from './frames.ts';
import { Hub, type HubOptions } from './hub.ts';
import { type LogOrigin, RelayLog, type RelayLogOptions } from './relay-log/log.ts';
import { HubFeeder } from './relay-source.ts';

/** What a peer is served from. */
export interface View {
  readonly hub: Hub;
  /** Null: everything. */
  readonly placement: string | null;
  /** A replica that goes on from here must be of this history; '' when it holds all that the core publishes. */
  readonly history: string;
  /** Records before this position are not sent any more: they may hold what was allowed then and is not now. */
  readonly floor: Lsn;
  /** The same for snapshots. */
  readonly allowedFrom: Lsn;
}

interface Placed extends View {
  floor: Lsn;
  allowedFrom: Lsn;
  readonly placement: string;
  readonly directory: string;
  readonly log: RelayLog;
  readonly feeder: HubFeeder;
  readonly stopping: AbortController;
  readonly running: Promise<void>;
}

export interface PlacementsDeps {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly log: Log;
}

export interface PlacementsOptions {
  /** The relay's folder. */
  readonly directory: string;
  readonly logOptions: (directory: string) => RelayLogOptions;
  readonly hubOptions: HubOptions;
  readonly publication: string;
  readonly encoded: Counter;
  /** From the configuration file: they are what the file says, and cannot be changed otherwise. */
  readonly configured: readonly PlacementSpec[];
}

/** Derived parts read at once; each is a quarter of a megabyte at most, unless one row is larger. */
const PARTS_PER_READ = 16;
/** How far an idle position may lag: a session that waits for its own write waits this long when the write is not held. */
const MARK_EVERY_MS = 5;
/** Placements at most: each has a log and costs a look at each change of a table with conditions. */
const PLACEMENTS_MAX = 1000;
const IN_FORCE_WAIT_MS = 10_000;
const IN_FORCE_POLL_MS = 20;

interface Stored {
  readonly version: 1;
  readonly placements: readonly PlacementSpec[];
  /** Names of those that came from the configuration file. */
  readonly configured: readonly string[];
}

export class Placements {
  readonly #deps: PlacementsDeps;
  readonly #options: PlacementsOptions;
  #specs: readonly PlacementSpec[] = [];
  /** The change that runs, or the last one. */
  #changing: Promise<void> = Promise.resolve();
  #configured: ReadonlySet<string> = new Set();
  #main: Hub | null = null;
  #mainHistory = '';
  #replica: ReplicaControl | null = null;
  #reader: ReplicaReader | null = null;
  readonly #placed = new Map<string, Placed>();
  #inForceText = '';
  #lastId = 0;
  /** A part that waits to be durable in all logs before it is let go. */
  #settling: { readonly id: number; readonly ends: readonly (readonly [RelayLog, Lsn])[] } | null = null;
  #pumping: Promise<void> | null = null;
  #pumpAgain = false;
  #proofs = 0;
  /** Called when what a peer is served from has changed: those who follow something else are cut off. */
  onAssigned: () => void = () => {};
  /** Called when everything that the core had committed at its last word has been passed on to the hubs of placements. */
  onProof: () => void = () => {};
  /** Called when the pump fails: nothing more is derived until serving begins again. */
  onBroken: (error: unknown) => void = () => {};
  /** Makes the core commit something, so that a change takes effect now. Null when only the upstream's traffic can. */
  nudge: (() => Promise<void>) | null = null;

  constructor(deps: PlacementsDeps, options: PlacementsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** What the operator wants, whether in force or not. */
  get specs(): readonly PlacementSpec[] {
    return this.#specs;
  }

  /** The part of them for which something has to be left out. */
  get restricted(): PlacementSpec[] {
    return this.#specs.filter((spec) => !holdsEverything(spec));
  }

  /** Of which history the relay's own replica is; '' when its upstream leaves nothing out. */
  get mainHistory(): string {
    return this.#mainHistory;
  }

  /** Histories that are served now. */
  get histories(): string[] {
    return [this.#mainHistory, ...[...this.#placed.values()].map((placed) => placed.history)];
  }

  get logBytes(): number {
    return [...this.#placed.values()].reduce((sum, { log }) => sum + log.bytes, 0);
  }

  isConfigured(name: string): boolean {
    return this.#configured.has(name);
  }

  /** Reads what is stored and puts in what the configuration file says. Throws Fault `placement-invalid`, `placements-damaged`. */
  async load(): Promise<void> {
    const { disk } = this.#deps;
    let stored: Stored = { version: 1, placements: [], configured: [] };
    if (await disk.exists(this.#path)) {
      try {
        stored = JSON.parse(await disk.readText(this.#path)) as Stored;
        checkSpecs(stored.placements);
      } catch (error) {
        // Without them everybody would be sent everything.
        throw new Fault('placements-damaged', {
          message: `${this.#path} cannot be read: ${describeError(error)}`,
          hint: 'put it right (it is JSON), or remove it if there are no placements',
          sqlstate: 'XX001',
        });
      }
    }
    const { configured } = this.#options;
    this.#configured = new Set(configured.map((spec) => spec.name));
    const before = new Set([...stored.configured, ...this.#configured]);
    this.#specs = [...stored.placements.filter((spec) => !before.has(spec.name)), ...configured];
    checkSpecs(this.#specs);
    await this.#store();
  }

  /** Begins to serve placements from a replica; `main` serves those that hold everything. */
  async start(main: Hub, replica: ReplicaControl, replicaPath: string): Promise<void> {
    this.#main = main;
    this.#replica = replica;
    this.#lastId = 0;
    this.#inForceText = '';
    this.#reader = new ReplicaReader(replicaPath);
    this.#mainHistory = this.#reader.catalogue().server.placement?.history ?? '';
    replica.feed.subscribe(() => this.#pump());
    this.#pump();
    await this.#pumping;
  }

  /** Ends serving; the logs stay. */
  async stop(): Promise<void> {
    this.#main = null;
    this.#replica = null;
    await this.#pumping?.catch(() => {});
    for (const placed of this.#placed.values()) await close(placed);
    this.#placed.clear();
    this.#settling = null;
    this.#reader?.close();
    this.#reader = null;
  }

  /** The view of whoever is sent all that there is. */
  everything(hub: Hub): View {
    return { hub, placement: null, history: this.#mainHistory, floor: LSN_ZERO, allowedFrom: LSN_ZERO };
  }

  /** What a peer is served from. Throws Fault `placement-none` (nothing is for it), `relay-not-ready`. */
  viewOf(identity: string | null): View {
    const main = this.#main;
    if (main === null) throw notReady('the relay does not serve at the moment');
    const everything = this.everything(main);
    if (this.#specs.length === 0) return everything;
    const spec = placementOf(this.#specs, identity ?? '');
    if (spec === null) {
      throw new Fault('placement-none', {
        message: `no placement names "${identity ?? ''}", and where there are placements nobody else is sent anything`,
        hint: 'add it to a placement: skerry placement set NAME --pops … --table …; the name * stands for everybody else',
        sqlstate: '42501',
      });
    }
    if (holdsEverything(spec)) return everything;
    const placed = this.#placed.get(spec.name);
    if (placed === undefined) throw notReady(`placement "${spec.name}" is not in force yet`);
    return placed;
  }

  /** The view of a placement by name, for the operator. Throws Fault `placement-missing`. */
  viewNamed(name: string): View {
    const placed = this.#placed.get(name);
    if (placed === undefined) throw unknownPlacement(name);
    return placed;
  }

  /** Puts a placement in place of the one of that name. Resolves when it is in force, or waits for traffic of the upstream. */
  async set(spec: PlacementSpec, options: { readonly force: boolean }): Promise<PlacementReport> {
    await this.#inTurn(async () => {
      this.#mustNotBeConfigured(spec.name);
      const specs = [...this.#specs.filter((one) => one.name !== spec.name), spec];
      if (specs.length > PLACEMENTS_MAX) {
        throw new Fault('placement-invalid', {
          message: `there are ${PLACEMENTS_MAX} placements already`,
          sqlstate: '54000',
        });
      }
      checkSpecs(specs);
      if (!options.force) this.#refuseProblems(spec);
      await this.#change(specs);
    });
    return await this.#inForce();
  }

  /** The upstream streams: a change that has waited since before need not wait for a user's transaction. */
  upstreamHeard(): void {
    const { nudge } = this;
    if (nudge === null || this.#replica === null) return;
    this.report()
      .then((report) => (report.isWaiting ? nudge() : undefined))
      .catch((error: unknown) => this.#deps.log.warn('relay.placement-waits', { message: describeError(error) }));
  }

  async remove(name: string): Promise<PlacementReport> {
    await this.#inTurn(async () => {
      this.#mustNotBeConfigured(name);
      if (!this.#specs.some((spec) => spec.name === name)) throw unknownPlacement(name);
      await this.#change(this.#specs.filter((spec) => spec.name !== name));
    });
    return await this.#inForce();
  }

  /** Changes one after the other: each begins with what the one before has stored, and none takes another back. */
  async #inTurn(change: () => Promise<void>): Promise<void> {
    const mine = this.#changing.then(change, change);
    this.#changing = mine.catch(() => {});
    await mine;
  }

  /** What is wrong with a placement, as the tables are now; empty when nothing is. Throws Fault `placement-invalid`. */
  check(spec: PlacementSpec): readonly string[] {
    checkSpec(spec);
    checkSpecs([...this.#specs.filter((one) => one.name !== spec.name), spec]);
    const reader = this.#reader;
    if (reader === null) throw notReady('the relay has no replica yet');
    // A catalogue of its own: the reader's changes as the replica does.
    return resolvePlacement(spec, new Catalogue(reader.catalogue().image())).problems;
  }

  async report(): Promise<PlacementReport> {
    return this.#replica === null ? { inForce: [], isWaiting: true, problems: {} } : await this.#replica.placements();
  }

  /** The history goes on in a new timeline. */
  async changeTimeline(epoch: Epoch, history: string): Promise<void> {
    for (const { log } of this.#placed.values()) await log.changeTimeline(epoch.timeline, history);
  }

  /** Lets go of what no PoP needs any more. */
  async retain(slowest: Lsn | null): Promise<void> {
    for (const { log } of this.#placed.values()) {
      await log.retain({ replica: log.durableLsn, subscribers: slowest });
    }
  }

  get #path(): string {
    return `${this.#options.directory}/placements.json`;
  }

  #mustNotBeConfigured(name: string): void {
    if (!this.#configured.has(name)) return;
    throw new Fault('placement-configured', {
      message: `placement "${name}" stands in the relay's configuration file`,
      hint: 'change it there and start the relay again',
      sqlstate: '55000',
    });
  }

  #refuseProblems(spec: PlacementSpec): void {
    const problems = this.check(spec);
    if (problems.length === 0) return;
    throw new Fault('placement-invalid', {
      message: `placement "${spec.name}": ${problems.join('; ')}`,
      hint: 'mend it, or set it with --force: a table that does not fit is not held until it does',
      sqlstate: '22023',
    });
  }

  async #change(specs: readonly PlacementSpec[]): Promise<void> {
    const before = this.#specs;
    this.#specs = specs;
    try {
      await this.#store();
    } catch (error) {
      this.#specs = before;
      throw error;
    }
    // At once, not when it takes effect: nobody is sent by the old rule what the new one might not allow.
    this.onAssigned();
    await this.#replica?.setPlacements(this.restricted);
  }

  /** Resolves when all changes are in force, or wait for traffic of the upstream. */
  async #inForce(): Promise<PlacementReport> {
    const replica = this.#replica;
    if (replica === null) return { inForce: [], isWaiting: true, problems: {} };
    let report = await replica.placements();
    if (report.isWaiting && this.nudge !== null) await this.nudge();
    const deadline = this.#deps.clock.now() + IN_FORCE_WAIT_MS;
    while (report.isWaiting && this.nudge !== null && this.#deps.clock.now() < deadline) {
      await this.#deps.clock.sleep(IN_FORCE_POLL_MS);
      report = await replica.placements();
    }
    await this.#pumped();
    return report;
  }

  async #store(): Promise<void> {
    const stored: Stored = { version: 1, placements: this.#specs, configured: [...this.#configured] };
    await this.#deps.disk.writeTextAtomically(this.#path, JSON.stringify(stored, null, 2));
  }

  // The pump.

  /** What is in the replica now has been passed on. */
  async #pumped(): Promise<void> {
    // One that runs already may have read before.
    await this.#pumping;
    this.#pump();
    await this.#pumping;
  }

  #pump(): void {
    if (this.#main === null) return;
    if (this.#pumping !== null) {
      this.#pumpAgain = true;
      return;
    }
    this.#pumping = this.#pumpAll()
      .catch((error: unknown) => this.onBroken(error))
      .finally(() => {
        this.#pumping = null;
        if (!this.#pumpAgain) return;
        this.#pumpAgain = false;
        this.#pump();
      });
  }

  async #pumpAll(): Promise<void> {
    for (;;) {
      const reader = this.#reader;
      if (reader === null || this.#main === null) return;
      // Told before the snapshot is taken, so that the snapshot has everything up to it.
      const { position: told = LSN_ZERO, proofs = 0 } = this.#replica?.feed.current ?? {};
      const { position, inForceText, parts } = reader.snapshot(({ position: at }) => ({
        position: at,
        inForceText: JSON.stringify(readPlacementsInForce(reader.sqlite) ?? []),
        parts: readParts(reader, this.#lastId),
      }));
      if (inForceText !== this.#inForceText) {
        await this.#reconcile(JSON.parse(inForceText) as PlacementInForce[], position.epoch);
        this.#inForceText = inForceText;
        this.onAssigned();
        this.#tellProblems();
      }
      for (const part of parts) {
        await this.#feed(part);
        this.#lastId = part.id;
      }
      if (parts.length === PARTS_PER_READ) continue;
      const end = position.lsn > told ? position.lsn : told;
      for (const { feeder } of this.#placed.values()) {
        feeder.keepalive(end, false);
        await feeder.flush();
      }
      if (proofs !== this.#proofs) {
        this.#proofs = proofs;
        this.onProof();
      }
      this.#settle();
      return;
    }
  }

  /** Tables that are meant and not held: nobody would notice otherwise until he misses their rows. */
  #tellProblems(): void {
    const { log } = this.#deps;
    this.report()
      .then(({ problems }) => {
        for (const [name, sentences] of Object.entries(problems)) {
          for (const sentence of sentences)
            log.warn('relay.placement-unfit', { message: `placement ${name}: ${sentence}` });
        }
      })
      .catch((error: unknown) => log.warn('relay.placement-unfit', { message: describeError(error) }));
  }

  async #feed({ placement, part }: { readonly placement: string; readonly part: Uint8Array }): Promise<void> {
    const placed = this.#placed.get(placement);
    // Of a placement that is gone by now.
    if (placed === undefined) return;
    const frames: Uint8Array[] = [];
    eachDerived(part, (message) => frames.push(frameOf(message, LSN_ZERO, LSN_ZERO, 0n)));
    const buffer = Buffer.from(concat(frames));
    let at = 0;
    for (const frame of frames) {
      const end = at + frame.length;
      const pending = placed.feeder.message(buffer, at + FRAME_HEADER_BYTES, end);
      if (pending !== null) await pending;
      at = end;
    }
    await placed.feeder.flush();
  }

  /** Opens and closes hubs so that they are those of the placements in force. */
  async #reconcile(inForce: readonly PlacementInForce[], epoch: Epoch): Promise<void> {
    for (const placed of this.#placed.values()) {
      if (inForce.some((one) => one.history === placed.history)) continue;
      this.#placed.delete(placed.placement);
      await close(placed);
    }
    const root = `${this.#options.directory}/placements`;
    await this.#deps.disk.makeDirectory(root);
    for (const one of inForce) {
      let placed = this.#placed.get(one.spec.name);
      if (placed === undefined) {
        placed = await this.#open(one, epoch);
        this.#placed.set(one.spec.name, placed);
      }
      await this.#raiseFloor(placed, one);
    }
    const kept = new Set([...this.#placed.values()].map((placed) => placed.directory));
    for (const name of await this.#deps.disk.list(root)) {
      if (!kept.has(`${root}/${name}`)) await this.#deps.disk.remove(`${root}/${name}`);
    }
  }

  /** Before the difference is in the log, so that it is durable when what lies before must not be sent any more. */
  async #raiseFloor(placed: Placed, { narrowedAt }: PlacementInForce): Promise<void> {
    if (narrowedAt === undefined) return;
    placed.allowedFrom = parseLsn(narrowedAt);
    const end = placed.log.endLsn;
    if (placed.allowedFrom <= end || placed.floor >= end) return;
    await this.#deps.disk.writeTextAtomically(`${placed.directory}/floor`, formatLsn(end));
    placed.floor = end;
  }

  async #readFloor(directory: string): Promise<Lsn> {
    const path = `${directory}/floor`;
    return (await this.#deps.disk.exists(path)) ? parseLsn(await this.#deps.disk.readText(path)) : LSN_ZERO;
  }

  async #open({ spec, history }: PlacementInForce, epoch: Epoch): Promise<Placed> {
    const main = this.#main;
    if (main === null) throw notReady('the relay stops');
    const directory = `${this.#options.directory}/placements/${history.replace('/', '-')}`;
    const logOptions = this.#options.logOptions(`${directory}/log`);
    const origin: LogOrigin = {
      epoch,
      startLsn: parseLsn(history.slice(history.indexOf('@') + 1)),
      timelineHistory: main.log.timelineHistory,
    };
    const { disk } = this.#deps;
    await disk.remove(`${directory}/spool`);
    await disk.makeDirectory(`${directory}/spool`);
    let log = await RelayLog.open(this.#deps, logOptions);
    if (log !== null && log.epoch.systemId !== epoch.systemId) {
      await log.close();
      log = null;
    }
    log ??= await RelayLog.create(this.#deps, logOptions, origin);
    if (log.epoch.timeline !== epoch.timeline) await log.changeTimeline(epoch.timeline, main.log.timelineHistory);
    const hub = new Hub(log, this.#options.hubOptions, this.#options.encoded);
    const feeder = new HubFeeder(this.#deps, hub, {
      spoolDirectory: `${directory}/spool`,
      publication: this.#options.publication,
      markEveryMs: MARK_EVERY_MS,
    });
    const stopping = new AbortController();
    const running = log.run(stopping.signal);
    running.catch((error: unknown) => this.onBroken(error));
    log.onDurable = () => {
      hub.flush();
      this.#settled();
    };
    hub.onDamaged = (error) => this.onBroken(error);
    this.#deps.log.info('relay.placement', {
      message: `placement ${spec.name} is served from ${formatLsn(log.startLsn)} on`,
    });
    const floor = await this.#readFloor(directory);
    return {
      hub,
      placement: spec.name,
      history,
      floor,
      allowedFrom: LSN_ZERO,
      directory,
      log,
      feeder,
      stopping,
      running,
    };
  }

  /** What was read so far may go once every log has it. */
  #settle(): void {
    if (this.#settling !== null || this.#lastId === 0) return;
    const ends = [...this.#placed.values()].map(({ log }) => [log, log.endLsn] as const);
    this.#settling = { id: this.#lastId, ends };
    this.#settled();
  }

  #settled(): void {
    const settling = this.#settling;
    if (settling === null || settling.ends.some(([log, end]) => log.durableLsn < end)) return;
    this.#settling = null;
    this.#replica?.derivedDurable(settling.id);
    if (settling.id < this.#lastId) this.#settle();
  }
}

function readParts(
  reader: ReplicaReader,
  after: number,
): { readonly id: number; readonly placement: string; readonly part: Uint8Array }[] {
  if (reader.sqlite.value("SELECT 1 FROM sqlite_schema WHERE name = '_skerry_derived'") === null) return [];
  return reader.sqlite
    .rows('SELECT id, placement, part FROM _skerry_derived WHERE id > ? ORDER BY id LIMIT ?', after, PARTS_PER_READ)
    .map((row) => ({ id: Number(row[0]), placement: String(row[1]), part: row[2] as Uint8Array }));
}

async function close(placed: Placed): Promise<void> {
  await placed.feeder.close();
  placed.stopping.abort();
  await placed.running.catch(() => {});
}

function notReady(message: string): Fault {
  return new Fault('relay-not-ready', { message, hint: 'try again', sqlstate: '57P03', retryable: true });
}

function unknownPlacement(name: string): Fault {
  return new Fault('placement-missing', {
    message: `there is no placement "${name}"`,
    hint: 'see `skerry placement list`',
    sqlstate: '42704',
  });
}
