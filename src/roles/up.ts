// `skerry up`: a whole small world on one machine, one process per role, each restarted when it ends by itself.
//
// Start: folder and lock, core, relay and then edges, the proxy beside them, sample. Stop, in this order: sample, edges and proxy, relay, core.
// Children end when this process ends, however it ends: roles by their lifeline, Postgres by its guardian.
//
// Faults (code: what the operator reads in it)
//   layout-version     the folder was made by another version of Skerry
//   folder-foreign     the folder holds something that Skerry did not make
//   folder-other-core  the folder follows another Postgres than the one given
//   port-base          the ports would leave the range of ports
//   and those of core.ts, runtime/files.ts, runtime/process.ts, stream/source/preflight.ts and of the roles themselves

import type { Clock } from '../base/clock.ts';
import { describeError, Fault, isRetryable } from '../base/fault.ts';
import { Backoff } from '../base/backoff.ts';
import { keepRunning, sleepQuietly } from '../base/service.ts';
import { bunHttp } from '../runtime/http.ts';
import { answersHttp, askStatus, readWorldSecrets, worldTls } from './status.ts';
import type { Random } from '../base/random.ts';
import { envName, type Group } from '../config/define.ts';
import { configFile } from '../config/describe.ts';
import { type Log, SILENT_LOG } from '../observe/log.ts';
import { Core } from '../stream/source/core.ts';
import { preflight } from '../stream/source/preflight.ts';
import { type Config, GROUPS } from '../config/options.ts';
import {
  appendLog,
  ensureSecret,
  listFolder,
  lockFolder,
  makeFolder,
  makeTemporaryFolder,
  readTextFile,
  removeFolder,
  writePrivate,
} from '../runtime/files.ts';
import { removeServerFolder, serverUser } from '../runtime/postgres.ts';
import { makeCerts } from './certs.ts';
import { prepareEmbeddedCore } from './core.ts';
import { connectionTarget } from './connection.ts';
import { CoreClient, sessionWorld } from './core-client.ts';
import { roleUnit } from './role-unit.ts';
import { rootZoneSample, type Sample, type SampleWorld, smallSample } from './sample/sample.ts';
import { Supervisor, type UnitEvent } from './supervisor.ts';
import {
  describeWorld,
  edgeConfig,
  edgePasswordFile,
  type Place,
  portMax,
  proxyConfig,
  proxyUsers,
  relayConfig,
  type World,
  type WorldFiles,
  type WorldInput,
  worldPorts,
} from './world.ts';

export type UpEvent = UnitEvent | { readonly event: 'note'; readonly message: string };

export interface UpOptions {
  readonly config: Config;
  /** Absolute path of `up.dir`. */
  readonly dir: string;
  /** Absolute path of the folder with the root zone's files. */
  readonly dataDir: string;
  readonly pid: number;
  /** The command that starts a role: what follows is `relay --config FILE`. */
  readonly self: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly event: (event: UpEvent) => void;
}

/** Version of the folder's layout; a change of what is in there that an older program cannot read makes it the next number. */
const LAYOUT_VERSION = 1;

interface Layout {
  readonly layout: number;
  readonly core: 'embedded' | 'attached';
  /** Which Postgres an attached folder follows; two databases of one system are told apart by the role that copies. */
  readonly systemId?: string;
}

/** Roles take what their files say: an option in our environment is for us, and would be the same for every edge. */
const NO_OPTIONS: Readonly<Record<string, undefined>> = Object.fromEntries(
  Object.values(GROUPS).flatMap((group: Group) =>
    Object.keys(group.options).map((name) => [envName(group, name), undefined]),
  ),
);

/** What serves users stops first, what they stand on last. */
const STAGE = { core: 0, relay: 1, edges: 2, proxy: 2 };

/** A running world. */
export class Up {
  readonly world: World;
  readonly supervisor: Supervisor;
  readonly core: CoreClient;
  readonly #sample: Sample | null;
  readonly #dispose: () => Promise<void>;

  private constructor(
    world: World,
    core: CoreClient,
    supervisor: Supervisor,
    sample: Sample | null,
    dispose: () => Promise<void>,
  ) {
    this.world = world;
    this.core = core;
    this.supervisor = supervisor;
    this.#sample = sample;
    this.#dispose = dispose;
  }

  /** Starts everything; resolves when all of it serves. When the signal aborts, what was started is stopped again and it rejects. */
  static async start(
    options: UpOptions,
    signals: { readonly stop: AbortSignal; readonly hurry: AbortSignal },
  ): Promise<Up> {
    const { config, clock, random } = options;
    const ports = worldPorts(config.up.portBase, config.up.edges);
    if (portMax(config.up.portBase, config.up.edges) > 65_535) {
      throw new Fault('port-base', {
        message: `${config.up.edges} edges from --port-base ${config.up.portBase} need ports above 65535`,
        hint: 'choose a lower --port-base',
      });
    }
    const layout: Layout = { layout: LAYOUT_VERSION, core: config.core.databaseUrl === '' ? 'embedded' : 'attached' };
    // The server's user must be able to walk through to its own folder; what is secret in here is 0600.
    const mode = serverUser() === null ? 0o700 : 0o711;
    const dir = config.up.ephemeral ? makeTemporaryFolder(mode) : options.dir;
    checkLayout(dir, layout);
    makeFolder(dir, mode);
    const lock = lockFolder(dir);
    const supervisor = new Supervisor({ clock, random, event: options.event, hungMs: config.up.hungTimeoutMs });
    let client: CoreClient | null = null;
    let leave = (): Promise<void> => Promise.resolve();
    const dispose = async (): Promise<void> => {
      await client?.close();
      await supervisor.stop(signals.hurry);
      await leave();
      removeFolder(`${dir}/up.json`);
      lock[Symbol.dispose]();
      if (!config.up.ephemeral) return;
      removeServerFolder(`${dir}/core`);
      removeFolder(dir);
    };
    const stopEarly = (): void => void supervisor.stop(signals.hurry);
    signals.stop.addEventListener('abort', stopEarly);
    try {
      const attached = layout.core === 'attached' ? await attachOrGoOn(options, dir) : null;
      checkSystem(dir, attached);
      writePrivate(
        `${dir}/layout.json`,
        `${JSON.stringify({ ...layout, ...(attached === null ? {} : { systemId: attached.systemId }) })}\n`,
      );
      makeFolder(`${dir}/log`, 0o700);
      leave = attached?.leave ?? leave;
      const core = attached ?? (await startCore(options, dir, supervisor));
      client = new CoreClient(sessionWorld(clock), core.url);
      const sample = attached?.isAway === true ? null : chooseSample(options, client);
      // Before the relay starts, so that the rows are there when the world is ready.
      await sample?.load();
      const input: WorldInput = {
        pid: options.pid,
        dir,
        embedded: layout.core === 'embedded',
        coreUrl: core.url,
        passFile: core.passFile,
        certsDir: config.up.tls ? makeWorldCerts(dir, config.up.edges, clock) : null,
        ports,
      };
      const world = describeWorld(input);
      await startRoles(options, input, world, attached, supervisor, signals.stop);
      signals.stop.throwIfAborted();
      writePrivate(`${dir}/up.json`, `${JSON.stringify(world, null, 2)}\n`);
      return new Up(world, client, supervisor, sample, dispose);
    } catch (error) {
      await dispose();
      throw error;
    } finally {
      signals.stop.removeEventListener('abort', stopEarly);
    }
  }

  /** Keeps the sample changing until the signal aborts; waits while the core is away. */
  async changeSample(options: UpOptions, signal: AbortSignal): Promise<void> {
    const sample = this.#sample;
    if (sample === null) return;
    const backoff = new Backoff(options.random, { firstMs: 200, maxMs: 5_000 });
    await keepRunning(
      { name: 'up.sample', run: (stop) => sample.change(stop) },
      {
        clock: options.clock,
        backoff,
        signal,
        failed: (error, _waitMs, failures) => {
          if (failures === 1) options.event({ event: 'note', message: `the sample waits: ${describeError(error)}` });
          if (!isRetryable(error)) throw error;
        },
      },
    );
  }

  /** Stops edges, relay and core, in this order, and leaves the folder (or removes it, when it was a temporary one). */
  stop(): Promise<void> {
    return this.#dispose();
  }
}

/** Certificates for the roles of a world; those that are nearly over are issued again, since all who use them start now. */
function makeWorldCerts(dir: string, edges: number, clock: Clock): string {
  const certsDir = `${dir}/certs`;
  const roles = ['proxy', 'relay', ...Array.from({ length: edges }, (_, index) => `edge-${index}`)];
  const options = { dir: certsDir, hosts: ['localhost', '127.0.0.1', '::1'], renew: false, nowMs: clock.wall() };
  const made = makeCerts({ ...options, roles });
  const old = made.roles.filter((role) => role.warning !== null).map((role) => role.name);
  if (old.length > 0) makeCerts({ ...options, roles: old, renew: true });
  return certsDir;
}

/** Starts the proxy, and beside it the relay, then all edges together; resolves when all of them serve. */
async function startRoles(
  options: UpOptions,
  input: WorldInput,
  world: World,
  attached: Attached | null,
  supervisor: Supervisor,
  signal: AbortSignal,
): Promise<void> {
  const { clock } = options;
  const { dir } = input;
  const config: Config = {
    ...options.config,
    core: {
      ...options.config.core,
      ...(attached === null ? {} : { slot: attached.slot, publication: attached.publication }),
    },
  };
  const files = ensureWorldFiles(dir, world, options.random);
  const tls = worldTls(world);
  const start = (kind: 'proxy' | 'relay' | 'edge', place: Place, values: RoleValues, stage: number): Promise<void> => {
    const { name } = place;
    const file = `${dir}/${name}.yaml`;
    writePrivate(file, configFile(GROUPS, values));
    const unit = roleUnit({
      name,
      command: [...options.self, kind, '--config', file],
      env: NO_OPTIONS,
      clock,
      logLine: appendLog(`${dir}/log/${name}.log`),
      stopTimeoutMs: config.up.stopTimeoutMs,
      answers: (withinMs) => answersHttp(bunHttp, place, tls, withinMs),
    });
    return supervisor.start(unit, stage);
  };
  const started = new AbortController();
  const progress = tellProgress(options, world, AbortSignal.any([signal, started.signal]));
  try {
    const proxyUsersFile = `${dir}/proxy-users`;
    const users = proxyUsers(input.coreUrl);
    if (users !== null) writePrivate(proxyUsersFile, users);
    const replicas = async (): Promise<void> => {
      await start('relay', world.relay, relayConfig(input, config, files), STAGE.relay);
      await Promise.all(
        world.edges.map((edge, index) => start('edge', edge, edgeConfig(input, config, index), STAGE.edges)),
      );
    };
    await Promise.all([
      start('proxy', world.proxy, proxyConfig(input, config, proxyUsersFile), STAGE.proxy),
      replicas(),
    ]);
  } finally {
    started.abort();
    await progress;
  }
}

/** Makes the passwords that are missing; each edge has one of its own, because by its name it is known who may hold what. */
function ensureWorldFiles(dir: string, world: World, random: Random): WorldFiles {
  const make = (): string => newSecret(random);
  const files: WorldFiles = {
    peerPassword: `${dir}/peer-password`,
    peers: `${dir}/peers`,
    adminPassword: `${dir}/admin-password`,
  };
  ensureSecret(files.peerPassword, make);
  ensureSecret(files.adminPassword, make);
  const lines = world.edges.map(({ name }) => `${name}:${ensureSecret(edgePasswordFile(dir, name), make)}`);
  writePrivate(files.peers, `${lines.join('\n')}\n`);
  return files;
}

type RoleValues = ReturnType<typeof relayConfig>;

// The first copy of a large database takes minutes: whoever waits wants to see that it moves.
const PROGRESS_EVERY_MS = 2_000;

/** Says what the first copies are at until the signal aborts. */
async function tellProgress(options: UpOptions, world: World, signal: AbortSignal): Promise<void> {
  const { clock, event } = options;
  const told = new Map<string, string>();
  while (!signal.aborted) {
    await sleepQuietly(clock, PROGRESS_EVERY_MS, signal);
    if (signal.aborted) return;
    for (const { place, status } of await askStatus(world, bunHttp, clock)) {
      if (status === null || status.state === 'streaming' || told.get(place.name) === status.reason) continue;
      told.set(place.name, status.reason);
      event({ event: 'note', message: `${place.name} is ${status.state}: ${status.reason}` });
    }
  }
}

function chooseSample(options: UpOptions, client: CoreClient): Sample | null {
  const { config, clock, random, event } = options;
  const world: SampleWorld = {
    run: async (sql) => (await client.query(sql)).rows,
    clock,
    random,
    note: (message) => event({ event: 'note', message }),
  };
  switch (config.up.sample) {
    case 'none':
      return null;
    case 'small':
      return smallSample(world);
    case 'root-zone':
      return rootZoneSample(world, options.dataDir);
    case 'auto':
      return config.core.databaseUrl === '' ? smallSample(world) : null;
  }
}

async function startCore(
  options: UpOptions,
  dir: string,
  supervisor: Supervisor,
): Promise<{ readonly url: string; readonly passFile: string | null }> {
  const { config, random } = options;
  const ports = worldPorts(config.up.portBase, 0);
  const core = await prepareEmbeddedCore({
    dir,
    port: ports.core,
    morePorts: [ports.proxy, ports.proxyRead],
    ephemeral: config.up.ephemeral,
    createPassword: () => newSecret(random),
    stopTimeoutMs: config.up.stopTimeoutMs,
  });
  await supervisor.start(core.unit, STAGE.core);
  return core;
}

interface Attached {
  readonly url: string;
  readonly passFile: null;
  readonly slot: string;
  readonly publication: string;
  readonly systemId: string;
  /** It could not be asked: the folder's own replicas are served until it can. */
  readonly isAway: boolean;
  /** Takes away what an ephemeral world made on the core. */
  readonly leave: () => Promise<void>;
}

/** Faults that mean that nobody is there, or not yet. */
const AWAY: ReadonlySet<string> = new Set([
  'connect-failed',
  'connect-timeout',
  'connection-lost',
  'server-unready',
  'server-stopping',
]);

/** Without the core, a folder that has followed it before is served as it is; the relay goes on when the core is back. */
async function attachOrGoOn(options: UpOptions, dir: string): Promise<Attached> {
  try {
    return await attach(options);
  } catch (error) {
    const known = error instanceof Fault && AWAY.has(error.code) ? followedBefore(options.config, dir) : null;
    if (known === null) throw error;
    options.event({
      event: 'note',
      message: `the core is away (${describeError(error)}): edges answer from what ${dir} holds, and go on when it is back`,
    });
    const { databaseUrl, slot, publication } = options.config.core;
    return {
      url: databaseUrl,
      passFile: null,
      slot,
      publication,
      systemId: known,
      isAway: true,
      leave: () => Promise.resolve(),
    };
  }
}

/** System identifier of the database that this folder has a replica of, when that is the one given now; else null. */
function followedBefore(config: Config, dir: string): string | null {
  const text = readTextFile(`${dir}/layout.json`);
  if (config.up.ephemeral || text === null || !listFolder(`${dir}/relay`).includes('replica.sqlite')) return null;
  const place = (url: string): string => {
    const { hosts, database } = connectionTarget(url);
    return JSON.stringify([hosts, database]);
  };
  // Another database at the place that is silent now would replace the replicas when it comes back.
  if (place(readWorldSecrets(dir).coreUrl) !== place(config.core.databaseUrl)) return null;
  return (JSON.parse(text) as Layout).systemId ?? null;
}

/** Looks whether a database of the user's can be followed. Changes nothing in it. */
async function attach(options: UpOptions): Promise<Attached> {
  const { config, event } = options;
  const { databaseUrl, tables } = config.core;
  // Names of its own: an ephemeral world must not take what is a lasting one's, nor leave it behind. `--clean` knows them.
  const suffix = config.up.ephemeral ? `_${newSecret(options.random).slice(0, 8)}` : '';
  const slot = `${config.core.slot}${suffix}`;
  const client = { target: connectionTarget(databaseUrl, { applicationName: 'skerry up' }) };
  const world = sessionWorld(options.clock);
  const found = await preflight(world, { client, publication: config.core.publication, slot, tables });
  // A publication that is there already, somebody's or that of a lasting world, is used as it is.
  const publication = `${config.core.publication}${found.publicationExists ? '' : suffix}`;
  const leave = async (): Promise<void> => {
    if (!config.up.ephemeral) return;
    try {
      const core = new Core(world, SILENT_LOG, { client, publication, slot, tables });
      if (found.publicationExists) await core.dropSlot();
      else await core.clean();
    } catch (error) {
      event({
        event: 'note',
        message: `something was left on the core (${describeError(error)}); remove it with: skerry up --clean`,
      });
    }
  };
  return { url: databaseUrl, passFile: null, slot, publication, systemId: found.epoch.systemId, isAway: false, leave };
}

/**
 * `skerry up --clean`: removes publication, slot, event triggers and schema of ours from a database of the user's, and what
 * ephemeral worlds left there that were killed. Gives one sentence for each thing.
 */
export async function cleanCore(config: Config, clock: Clock, log: Log): Promise<string[]> {
  const { databaseUrl, publication, slot, tables } = config.core;
  if (databaseUrl === '') {
    throw new Fault('config-missing', {
      message: '--clean needs --database-url: it says which database to clean',
      hint: 'the embedded core goes with its folder',
    });
  }
  const client = { target: connectionTarget(databaseUrl, { applicationName: 'skerry up --clean' }) };
  const core = new Core(sessionWorld(clock), log, { client, publication, slot, tables });
  await core.clean();
  const { removed, inUse } = await core.cleanLeftOvers();
  return [
    'removed publication, slot, event triggers and their schema; the tables are untouched',
    ...removed.map((suffix) => `removed what an ephemeral world left that was killed: ${slot}_${suffix}`),
    ...inUse.map((suffix) => `left ${slot}_${suffix}: an ephemeral world is using it`),
  ];
}

/** Throws when the folder is not ours, or not of this version. Touches nothing. */
function checkLayout(dir: string, wanted: Layout): void {
  const text = readTextFile(`${dir}/layout.json`);
  if (text === null) {
    const foreign = listFolder(dir).filter((name) => name !== 'lock');
    if (foreign.length > 0) {
      throw new Fault('folder-foreign', {
        message: `${dir} is not empty and was not made by skerry (it holds ${foreign.slice(0, 3).join(', ')})`,
        hint: 'choose an empty or a new folder with --dir',
      });
    }
    return;
  }
  const found = JSON.parse(text) as Layout;
  if (found.layout !== wanted.layout) {
    throw new Fault('layout-version', {
      message: `${dir} has layout ${found.layout}, this skerry reads layout ${wanted.layout}`,
      hint: 'run the version that made it, or start afresh with another --dir',
    });
  }
  if (found.core !== wanted.core) {
    throw new Fault('folder-other-core', {
      message:
        found.core === 'embedded'
          ? `${dir} belongs to an embedded core, not to the database of --database-url`
          : `${dir} follows a database of yours, and --database-url is not given`,
      hint:
        found.core === 'embedded'
          ? 'give the attached database a folder of its own with --dir'
          : 'give the same --database-url again, or another --dir',
    });
  }
}

/** Throws when the folder follows another Postgres than the one found. */
function checkSystem(dir: string, attached: Attached | null): void {
  const text = readTextFile(`${dir}/layout.json`);
  if (text === null || attached === null) return;
  const { systemId } = JSON.parse(text) as Layout;
  if (systemId === undefined || systemId === attached.systemId) return;
  throw new Fault('folder-other-core', {
    message: `${dir} follows the Postgres system ${systemId}, and --database-url leads to system ${attached.systemId}`,
    hint: 'give the other database a folder of its own with --dir',
  });
}

/** 32 random bytes in letters that need no quoting anywhere. */
function newSecret(random: Random): string {
  return [...random.bytes(32)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
