// The relay's HTTP port:
//   GET  /healthz                 200 while subscribers can be served, else 503
//   GET  /status                  RoleStatus
//   GET  /metrics                 Prometheus text
//   GET  /snapshot                what the peer's placement holds of the replica as one packed file at a known position; ranges, ETag, SHA-256
//   GET  /checksum[?at=LSN]       checksums of all tables, at exactly that position
//   POST /hold[?ms=N]             the replica stands still for a while (for /checksum at positions yet to come)
//   POST /release
//   GET  /placements              what is wanted and what is in force
//   PUT  /placements/NAME         sets a placement (JSON of PlacementSpec); ?force=1 although some of its tables do not fit
//   POST /placements/NAME/check   says what would be wrong with it
//   DELETE /placements/NAME
// /placements is the administrator's alone. `?placement=NAME` at /checksum is, too; others are given what is theirs.
// /snapshot, /checksum, /hold and /release need what the replication port needs, the peer's password (Basic) or its certificate; /status and /metrics too,
// from other machines.

import type { Clock } from '../base/clock.ts';
import type { Crypto } from '../base/crypto.ts';
import type { Disk } from '../base/disk.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { HttpPeer } from '../base/http.ts';
import type { PackedFile, Packer } from '../base/pack.ts';
import type { RoleStatus } from '../contracts/health.ts';
import type { ReplicaControl } from '../contracts/replica-control.ts';
import type { Log } from '../observe/log.ts';
import type { Metrics } from '../observe/metrics.ts';
import { formatLsn, type Lsn, parseLsn, type Position } from '../pg/lsn.ts';
import { HttpAccess } from '../session/http-access.ts';
import type { CertificateRules } from '../session/admission.ts';
import type { ScramVerifier } from '../session/scram.ts';
import type { PlacementSpec } from '../contracts/placement.ts';
import type { Hub } from './hub.ts';
import type { View } from './placements.ts';
import type { RelayState } from './relay-state.ts';

export interface RelayHttpDeps {
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly disk: Disk;
  readonly packer: Packer;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface RelayHttpOptions extends CertificateRules {
  /** Folder for packed snapshots; only files of ours are in it. */
  readonly directory: string;
  readonly verifiers: ReadonlyMap<string, ScramVerifier>;
  readonly trustLoopback: boolean;
  /** Who may change placements; nobody when not given. */
  readonly admin?: string;
  readonly status: () => RoleStatus;
  readonly replica: () => ReplicaControl | null;
}

interface Snapshot extends PackedFile {
  readonly path: string;
  readonly position: Position;
  readonly tag: string;
  readonly madeAtMs: number;
  readonly hub: Hub;
  /** Of which history its rows are. */
  readonly history: string;
}

/** A snapshot is offered again while it is younger than this: a herd of new edges costs one export. */
const SNAPSHOT_AGE_MAX_MS = 60_000;
const CHUNK_BYTES = 512 * 1024;
const CHECKSUM_WAIT_MS = 10_000;
const HOLD_MAX_MS = 60_000;

export class RelayHttp {
  readonly #deps: RelayHttpDeps;
  readonly #state: RelayState;
  readonly #options: RelayHttpOptions;
  readonly #access: HttpAccess;
  /** The newest of each history. */
  readonly #snapshots = new Map<string, Snapshot>();
  readonly #making = new Map<string, Promise<Snapshot>>();
  #made = 0;

  constructor(deps: RelayHttpDeps, state: RelayState, options: RelayHttpOptions) {
    this.#deps = deps;
    this.#state = state;
    this.#options = options;
    this.#access = new HttpAccess(deps, { ...options, openToAll: OPEN_TO_ALL, openOnLoopback: OPEN_ON_LOOPBACK });
  }

  async handle(request: Request, peer: HttpPeer): Promise<Response> {
    const url = new URL(request.url);
    const route = `${request.method} ${url.pathname}`;
    const refusal = await this.#access.refusal(route, request, peer);
    if (refusal !== null) return refusal;
    try {
      switch (route) {
        case 'GET /healthz':
          return this.#health();
        case 'GET /status':
          return Response.json(this.#options.status());
        case 'GET /metrics':
          return new Response(this.#deps.metrics.render(), {
            headers: { 'content-type': 'text/plain; version=0.0.4' },
          });
        case 'GET /snapshot':
        case 'HEAD /snapshot':
          return await this.#sendSnapshot(request, this.#view(await this.#access.identity(request, peer)));
        case 'GET /checksum':
          return await this.#checksum(url, await this.#access.identity(request, peer));
        case 'POST /hold': {
          this.#mustSeeAll(await this.#access.identity(request, peer));
          const forMs = Math.min(HOLD_MAX_MS, wholeNumber(url.searchParams.get('ms'), HOLD_MAX_MS / 6));
          return Response.json({ position: formatLsn(await this.#replica().hold(forMs)), forMs });
        }
        case 'POST /release':
          this.#mustSeeAll(await this.#access.identity(request, peer));
          this.#replica().release();
          return Response.json({});
        default:
          if (/^\/placements(\/|$)/.test(url.pathname)) {
            this.#mustBeAdmin(await this.#access.identity(request, peer));
            return await this.#placements(request, url);
          }
          return Response.json({ error: `nothing is at ${route}` }, { status: 404 });
      }
    } catch (error) {
      return errorResponse(error);
    }
  }

  #health(): Response {
    const { state, reason } = this.#options.status();
    const healthy = this.#state.facts !== null;
    return Response.json({ healthy, state, reason }, { status: healthy ? 200 : 503 });
  }

  #replica(): ReplicaControl {
    const replica = this.#options.replica();
    if (replica === null) {
      throw new Fault('relay-not-ready', { message: this.#state.reason, sqlstate: '57P03', retryable: true });
    }
    return replica;
  }

  /** What a peer is served from. Our own replica takes no snapshots, so that nobody gets everything for having its name. */
  #view(identity: string | null): View {
    this.#state.must();
    return this.#state.placements.viewOf(identity);
  }

  /** Holding it back concerns everybody: only for those who are sent everything, and the administrator. */
  #mustSeeAll(identity: string | null): void {
    if (identity !== null && identity === this.#options.admin) return;
    if (this.#view(identity).placement !== null) throw forbidden('a PoP with a placement may not do this');
  }

  #mustBeAdmin(identity: string | null): void {
    if (identity !== null && identity === this.#options.admin) return;
    throw forbidden('placements are shown to and changed by the administrator only (relay.admin_password_file)');
  }

  async #placements(request: Request, url: URL): Promise<Response> {
    const { placements } = this.#state;
    const found = /^\/placements\/([^/]+)(\/check)?$/.exec(url.pathname);
    if (found === null) {
      if (request.method !== 'GET' || url.pathname !== '/placements') return methodRefused();
      const report = await placements.report();
      const specs = placements.specs.map((spec) => ({ ...spec, configured: placements.isConfigured(spec.name) }));
      return Response.json({ placements: specs, ...report });
    }
    const name = decodeURIComponent(found[1] as string);
    const isCheck = found[2] !== undefined;
    if (request.method === 'DELETE' && !isCheck) return Response.json(await placements.remove(name));
    if (request.method !== (isCheck ? 'POST' : 'PUT')) return methodRefused();
    const spec = specOf(name, await request.text());
    if (isCheck) return Response.json({ problems: placements.check(spec) });
    return Response.json(await placements.set(spec, { force: url.searchParams.get('force') === '1' }));
  }

  async #checksum(url: URL, identity: string | null): Promise<Response> {
    const at = url.searchParams.get('at');
    const waitMs = Math.min(HOLD_MAX_MS, wholeNumber(url.searchParams.get('wait_ms'), CHECKSUM_WAIT_MS));
    const asked = url.searchParams.get('placement');
    if (asked !== null && asked !== '') this.#mustBeAdmin(identity);
    const isAdmin = identity !== null && identity === this.#options.admin;
    const own = isAdmin ? null : this.#view(identity).placement;
    const placement = asked === null || asked === '' ? own : asked;
    return Response.json(await this.#replica().checksum(at === null ? null : parseLsn(at), waitMs, placement));
  }

  // Snapshots.

  async #sendSnapshot(request: Request, view: View): Promise<Response> {
    const snapshot = await this.#currentSnapshot(request, view);
    const { epoch, lsn } = snapshot.position;
    const headers = new Headers({
      'content-type': 'application/zstd',
      'accept-ranges': 'bytes',
      etag: snapshot.tag,
      'x-skerry-sha256': snapshot.sha256,
      'x-skerry-bytes': String(snapshot.bytes),
      'x-skerry-position': formatLsn(lsn),
      'x-skerry-system-id': epoch.systemId,
      'x-skerry-timeline': String(epoch.timeline),
    });
    const from = rangeStart(request, snapshot.tag);
    if (from !== null && from > snapshot.bytes) {
      headers.set('content-range', `bytes */${snapshot.bytes}`);
      return new Response(null, { status: 416, headers });
    }
    if (from !== null) headers.set('content-range', `bytes ${from}-${snapshot.bytes - 1}/${snapshot.bytes}`);
    if (request.method === 'HEAD') return new Response(null, { headers });
    return new Response(await this.#stream(snapshot, from ?? 0), { status: from === null ? 200 : 206, headers });
  }

  async #stream(snapshot: Snapshot, from: number): Promise<ReadableStream<Uint8Array>> {
    // Open now: a newer snapshot may remove the file while this one is still being read.
    const file = await this.#deps.disk.open(snapshot.path, 'read');
    let offset = from;
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const chunk = await file.read(offset, CHUNK_BYTES);
        offset += chunk.length;
        if (chunk.length > 0) controller.enqueue(chunk);
        if (chunk.length < CHUNK_BYTES) {
          await file.close();
          controller.close();
        }
      },
      cancel: () => file.close(),
    });
  }

  /** The newest one, or the one that the request goes on with. Concurrent requests share one export. */
  async #currentSnapshot(request: Request, view: View): Promise<Snapshot> {
    const { hub, history } = view;
    const snapshot = this.#snapshots.get(history);
    // One of an earlier copy is of another history, whatever its position says.
    if (
      snapshot !== undefined &&
      snapshot.hub === hub &&
      snapshot.position.lsn >= max(hub.log.startLsn, view.allowedFrom)
    ) {
      const age = this.#deps.clock.now() - snapshot.madeAtMs;
      const goesOn = request.headers.get('if-range') === snapshot.tag;
      if (goesOn || age < SNAPSHOT_AGE_MAX_MS) return snapshot;
    }
    let making = this.#making.get(history);
    if (making === undefined) {
      making = this.#make(view).finally(() => this.#making.delete(history));
      this.#making.set(history, making);
    }
    const made = await making;
    // The placement has lost something while it was written.
    return made.position.lsn < view.allowedFrom ? this.#currentSnapshot(request, view) : made;
  }

  #isServed(snapshot: Snapshot): boolean {
    return [...this.#state.placements.histories].includes(snapshot.history);
  }

  async #make({ hub, history, placement }: View): Promise<Snapshot> {
    const { disk, packer, clock, log } = this.#deps;
    const { directory } = this.#options;
    const startedAtMs = clock.now();
    this.#made += 1;
    const number = this.#made;
    const plain = `${directory}/${number}.sqlite`;
    const path = `${directory}/${number}.zst`;
    await disk.makeDirectory(directory);
    await disk.remove(plain);
    await disk.remove(path);
    try {
      const position = await this.#replica().snapshot(plain, placement);
      const packed = await packer.pack(plain, path);
      const snapshot = {
        ...packed,
        path,
        position,
        tag: `"${packed.sha256.slice(0, 32)}"`,
        madeAtMs: clock.now(),
        hub,
        history,
      };
      // Also those of placements that are gone.
      const old = [...this.#snapshots.values()].filter((one) => one.history === history || !this.#isServed(one));
      for (const one of old) this.#snapshots.delete(one.history);
      this.#snapshots.set(history, snapshot);
      for (const one of old) await disk.remove(one.path);
      log.info('relay.snapshot', {
        message: `made a snapshot at ${formatLsn(position.lsn)}, ${packed.bytes} bytes, in ${Math.round(clock.now() - startedAtMs)} ms`,
      });
      return snapshot;
    } catch (error) {
      await disk.remove(path);
      throw error;
    } finally {
      await disk.remove(plain);
    }
  }
}

function max(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

function methodRefused(): Response {
  return Response.json(
    { error: 'GET /placements, PUT or DELETE /placements/NAME, POST /placements/NAME/check' },
    { status: 405 },
  );
}

/** The body of a request as a placement; its lists are looked at here, their contents by whoever takes it. */
function specOf(name: string, text: string): PlacementSpec {
  const refuse = (): never => {
    throw new Fault('placement-invalid', {
      message:
        'expected JSON: {"pops": ["…"], "tables": ["schema.table (column) WHERE …"], "forward": "allow" or "never"}',
      sqlstate: '22023',
    });
  };
  let body: { pops?: unknown; tables?: unknown; forward?: unknown };
  try {
    body = JSON.parse(text) as typeof body;
  } catch {
    return refuse();
  }
  const texts = (value: unknown): string[] =>
    Array.isArray(value) && value.every((one) => typeof one === 'string') ? (value as string[]) : refuse();
  const { pops, tables, forward = 'allow' } = body ?? refuse();
  if (forward !== 'allow' && forward !== 'never') return refuse();
  return { name, pops: texts(pops), tables: texts(tables), forward };
}

function forbidden(message: string): Fault {
  return new Fault('forbidden', { message, sqlstate: '42501' });
}

const OPEN_TO_ALL = new Set(['GET /healthz']);
const OPEN_ON_LOOPBACK = new Set(['GET /status', 'GET /metrics']);

/** First byte of a `bytes=N-` range that still fits the snapshot; null when all of it is to be sent. */
function rangeStart(request: Request, tag: string): number | null {
  const found = /^bytes=(\d{1,15})-$/.exec(request.headers.get('range') ?? '')?.[1];
  if (found === undefined) return null;
  const condition = request.headers.get('if-range');
  return condition !== null && condition !== tag ? null : Number(found);
}

function wholeNumber(text: string | null, otherwise: number): number {
  if (text === null) return otherwise;
  if (!/^\d{1,9}$/.test(text)) {
    throw new Fault('parameter-invalid', { message: `not a whole number: ${text.slice(0, 40)}`, sqlstate: '22023' });
  }
  return Number(text);
}

const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  'relay-not-ready': 503,
  'replica-not-ready': 503,
  'disk-full': 507,
  'position-passed': 409,
  'position-not-reached': 504,
  'parameter-invalid': 400,
  'placement-invalid': 422,
  'placement-configured': 409,
  'placement-missing': 404,
  'placement-none': 403,
  forbidden: 403,
  'lsn-invalid': 400,
};

function errorResponse(error: unknown): Response {
  const code = error instanceof Fault ? error.code : 'internal';
  const hint = error instanceof Fault ? error.hint : undefined;
  return Response.json(
    { error: describeError(error), code, ...(hint === undefined ? {} : { hint }) },
    { status: STATUS_OF_CODE[code] ?? 500 },
  );
}
