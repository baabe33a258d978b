// Our side of a bench: a core, one relay and edges, each role a process of its own started from a config file by the
// command line, as a user would.

import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Subprocess } from 'bun';
import type { RoleStatus } from '../../src/contracts/health.ts';
import { parseLsn } from '../../src/pg/lsn.ts';
import { freePort } from '../../test/harness.ts';
import type { BenchContext } from './bench.ts';
import { type Cluster, connect, describeCluster, startCluster } from './cluster.ts';
import { PgConnection, type PgTarget } from './pg-connection.ts';
import { until } from './wait.ts';
import { seesRow } from './workload.ts';

const ROOT = join(import.meta.dir, '..', '..');
const BUN = join(ROOT, 'node_modules', '.bin', 'bun');
const MAIN = join(ROOT, 'src', 'cli', 'main.ts');

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;

/** A role that runs in a process of its own. */
export interface RoleProcess {
  readonly name: string;
  /** Its folder. */
  readonly dir: string;
  readonly pid: number;
  readonly port: number;
  readonly httpPort: number;
  /** Throws, with the end of its log, when the process has ended. */
  check(): void;
  /** GET /status, or null when it does not answer. */
  status(): Promise<RoleStatus | null>;
  /** Value of a metric without labels (or the sum over its labels), NaN when there is none. */
  metric(name: string): Promise<number>;
  /** SIGTERM, then SIGKILL; its folder stays. */
  stop(): Promise<void>;
  /** Starts the stopped role again, same folder and ports; resolves as soon as the process is spawned. */
  start(): void;
}

export interface World extends AsyncDisposable {
  readonly core: Cluster;
  /** A connection to the core, to write with. */
  readonly writer: PgConnection;
  readonly relay: RoleProcess;
  readonly edges: readonly RoleProcess[];
  /** Starts one more edge with an empty folder; resolves as soon as the process is spawned. */
  addEdge(): RoleProcess;
  /** A connection to an edge, once it answers. */
  connectEdge(edge: RoleProcess): Promise<PgConnection>;
  edgeTarget(edge: RoleProcess): PgTarget;
  /** How a subscriber of ours attaches to the relay. */
  relayTarget(): PgTarget;
}

/** Starts a core (filled by `fill`), a relay and `edges` edges, and waits until all of them stream. */
export async function startWorld(
  context: BenchContext,
  options: {
    readonly edges: number;
    readonly fill: (writer: PgConnection) => Promise<void>;
    /** For benches of forwarding; else none, see below. */
    readonly forwardConnections?: number;
    /** More options of edge `index`. */
    readonly edgeSettings?: (index: number) => object;
  },
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), 'skerry-bench-'));
  stack.defer(() =>
    context.keep ? context.note(`logs and data are in ${folder}`) : rmSync(folder, { recursive: true }),
  );
  const core = stack.use(await startCluster(context));
  context.note(describeCluster(context, core));
  const writer = stack.use(await connect(core));
  await options.fill(writer);

  const password = 'bench';
  const passwordFile = join(folder, 'peer-password');
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  const relayPorts = { port: freePort(), httpPort: freePort() };
  // Edges stop before the relay that they follow, and all roles before the core.
  const roles: RoleProcess[] = [];
  stack.defer(async () => {
    for (const role of roles.toReversed()) await role.stop();
  });
  const spawnRole = (role: 'relay' | 'edge', name: string, ports: Ports, settings: object): RoleProcess => {
    const own = { name, dir: join(folder, name), port: ports.port, http_port: ports.httpPort, ...settings };
    const process = new SpawnedRole(context, { role, folder, ...ports, own, coreUrl: core.url });
    roles.push(process);
    process.start();
    return process;
  };
  const relay = spawnRole('relay', 'relay', relayPorts, { peer_password_file: passwordFile });
  await streaming(relay);

  const edges: RoleProcess[] = [];
  const addEdge = (): RoleProcess => {
    const edge = spawnRole(
      'edge',
      `edge-${edges.length}`,
      { port: freePort(), httpPort: freePort() },
      {
        upstream_url: `postgres://127.0.0.1:${relayPorts.port}/${core.database}`,
        upstream_http_url: `http://127.0.0.1:${relayPorts.httpPort}`,
        peer_password_file: passwordFile,
        client_auth: 'trust-loopback',
        // An edge that may ask the core would answer before it has the rows, and the figure would be the core's.
        forward_connections_max: options.forwardConnections ?? 0,
        ...options.edgeSettings?.(edges.length),
      },
    );
    edges.push(edge);
    return edge;
  };
  for (let index = 0; index < options.edges; index += 1) addEdge();
  for (const edge of edges) await streaming(edge);

  const edgeTarget = (edge: RoleProcess): PgTarget => ({
    host: '127.0.0.1',
    port: edge.port,
    user: core.user,
    database: core.database,
  });
  const owned = stack.move();
  return {
    core,
    writer,
    relay,
    edges,
    addEdge,
    async connectEdge(edge) {
      await streaming(edge);
      return PgConnection.open(edgeTarget(edge));
    },
    edgeTarget,
    relayTarget: () => ({
      host: '127.0.0.1',
      port: relayPorts.port,
      user: 'skerry',
      password,
      database: core.database,
      parameters: { replication: 'database' },
    }),
    async [Symbol.asyncDispose]() {
      await owned.disposeAsync();
    },
  };
}

/** Resolves when the role says that it streams. Throws when its process ends, with the end of its log. */
export function streaming(role: RoleProcess): Promise<number> {
  return until(`${role.name} streams`, async () => (await role.status())?.state === 'streaming', {
    timeoutMs: READY_TIMEOUT_MS,
  });
}

/** The command line of the project, without arguments. */
export function skerryCommand(): readonly string[] {
  return [BUN, MAIN];
}

/** Resolves when the relay has durably everything that the core has committed until now. */
export async function relayHas(world: World): Promise<void> {
  const wanted = parseLsn(await world.writer.value('SELECT pg_current_wal_insert_lsn()'));
  // A record behind the last commit, so that a position at that commit counts as there.
  await world.writer.query("SELECT pg_logical_emit_message(false, 'bench', '')");
  await until('the relay has what the core has', async () => {
    const status = await world.relay.status();
    return status !== null && parseLsn(status.position) >= wanted;
  });
}

/** Waits until a reader at the edge sees row `id` of the workload's table; both times are of performance.now(). */
export async function seenAtEdge(
  world: World,
  edge: RoleProcess,
  id: number,
): Promise<{ readonly answeredAt: number; readonly seenAt: number }> {
  let reader: PgConnection | null = null;
  await until(`${edge.name} accepts connections`, async () => {
    edge.check();
    reader = await PgConnection.open(world.edgeTarget(edge)).catch(() => null);
    return reader !== null;
  });
  const answeredAt = performance.now();
  await using open = reader as unknown as PgConnection;
  // Before its first snapshot an edge has nobody to ask: an error is "not yet", like a row that is missing.
  const seenAt = await until(`${edge.name} shows row ${id}`, async () => {
    edge.check();
    return seesRow(open, id).catch(() => false);
  });
  return { answeredAt, seenAt };
}

interface Ports {
  readonly port: number;
  readonly httpPort: number;
}

interface SpawnOptions extends Ports {
  readonly role: 'relay' | 'edge';
  readonly folder: string;
  readonly own: { readonly name: string };
  readonly coreUrl: string;
}

class SpawnedRole implements RoleProcess {
  readonly name: string;
  readonly dir: string;
  readonly port: number;
  readonly httpPort: number;
  readonly #context: BenchContext;
  readonly #options: SpawnOptions;
  readonly #logFile: string;
  #child: Subprocess | null = null;

  constructor(context: BenchContext, options: SpawnOptions) {
    this.#context = context;
    this.#options = options;
    this.name = options.own.name;
    this.dir = join(options.folder, this.name);
    this.port = options.port;
    this.httpPort = options.httpPort;
    this.#logFile = join(options.folder, `${this.name}.log`);
    // JSON is YAML.
    const config = { core: { database_url: options.coreUrl }, [options.role]: options.own };
    writeFileSync(join(options.folder, `${this.name}.yaml`), JSON.stringify(config, null, 2), { mode: 0o600 });
  }

  get pid(): number {
    if (this.#child === null) throw new Error(`${this.name} does not run`);
    return this.#child.pid;
  }

  start(): void {
    const log = openSync(this.#logFile, 'a', 0o600);
    this.#child = Bun.spawn(
      [
        BUN,
        ...this.#profileFlags(),
        MAIN,
        this.#options.role,
        '--config',
        join(this.#options.folder, `${this.name}.yaml`),
      ],
      { cwd: this.#options.folder, stdin: 'ignore', stdout: log, stderr: log },
    );
    closeSync(log);
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    child.kill('SIGTERM');
    const hurry = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await child.exited;
    clearTimeout(hurry);
  }

  check(): void {
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) return;
    throw new Error(
      `${this.name} has ended: ${readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-5).join('\n')}`,
    );
  }

  async status(): Promise<RoleStatus | null> {
    this.check();
    try {
      return (await (await fetch(`http://127.0.0.1:${this.httpPort}/status`)).json()) as RoleStatus;
    } catch {
      return null; // It does not listen yet.
    }
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.httpPort}/metrics`)).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))].map((found) =>
      Number(found[1]),
    );
    return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0);
  }

  #profileFlags(): string[] {
    const folder = this.#context.profileDir;
    if (folder === null) return [];
    mkdirSync(folder, { recursive: true });
    return ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${this.name}-${Date.now()}.cpuprofile`];
  }
}
