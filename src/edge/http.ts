// The HTTP side of an edge: GET /healthz, /status, /metrics, /checksum[?at=LSN], /explain?sql=…, and /kv/… (kv/http.ts).
// Who may ask what: session/http-access.ts. Rows are for those who may log in on the PostgreSQL port too (I11).

import type { ChecksumReport, RoleStatus } from '../contracts/health.ts';
import { describeError, Fault } from '../base/fault.ts';
import type { HttpPeer } from '../base/http.ts';
import type { ReplicaFeed } from '../contracts/replica-feed.ts';
import type { Metrics } from '../observe/metrics.ts';
import { formatLsn, type Lsn, parseLsn } from '../pg/lsn.ts';
import type { HttpAccess } from '../session/http-access.ts';
import type { Explanation } from './sql/explain.ts';
import { KV_PATH } from './kv/http.ts';

export interface HttpHandlerDeps {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  readonly feed: ReplicaFeed;
  readonly metrics: Metrics;
  readonly answered: () => { readonly local: number; readonly forwarded: number };
  /** Brings counts up to date that other processes of this edge hold. */
  readonly collect: () => Promise<void>;
  readonly stopping: () => boolean;
  /** Name of the placement of this PoP; null when it holds everything. */
  readonly placement: () => string | null;
  /** Checksums of all tables, at exactly `at` or where the replica is. */
  readonly checksum: (at: Lsn | null) => Promise<ChecksumReport>;
  /** Where a statement would be answered; null while there is no replica. */
  readonly explain: (sql: string, searchPath: readonly string[]) => Explanation | null;
  /** Answers what is below /kv/. */
  readonly kv: (request: Request, path: string) => Response | Promise<Response>;
  /** Made with `HTTP_OPEN`. */
  readonly access: HttpAccess;
}

/** What needs no proof: a load balancer asks whether we serve, people on this machine ask how we are. */
export const HTTP_OPEN = {
  openToAll: new Set(['GET /healthz', 'HEAD /healthz']),
  openOnLoopback: new Set(
    ['/status', '/metrics', '/checksum', '/explain'].flatMap((path) => [`GET ${path}`, `HEAD ${path}`]),
  ),
};

export function createHttpHandler(
  deps: HttpHandlerDeps,
): (request: Request, peer: HttpPeer) => Response | Promise<Response> {
  const answer = (request: Request, path: string): Response | Promise<Response> =>
    path.startsWith(KV_PATH) ? deps.kv(request, path) : answerPage(deps, request);
  return (request, peer) => {
    const path = pathOf(request.url);
    const end = path.indexOf('?');
    const route = `${request.method} ${end < 0 ? path : path.slice(0, end)}`;
    const refusal = deps.access.refusal(route, request, peer);
    if (refusal === null) return answer(request, path);
    return refusal.then((refused) => refused ?? answer(request, path));
  };
}

/** Path and query of an absolute URL, without taking it apart. */
function pathOf(url: string): string {
  return url.slice(url.indexOf('/', url.indexOf('//') + 2));
}

async function answerPage(deps: HttpHandlerDeps, request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return problem(405, 'method-not-allowed', `${request.method} is not possible here`);
  }
  switch (pathname) {
    case '/healthz':
      return healthz(deps);
    case '/status':
      await deps.collect();
      return Response.json(edgeStatus(deps));
    case '/metrics':
      await deps.collect();
      return new Response(deps.metrics.render(), {
        headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
      });
    case '/explain':
      return explain(deps, searchParams);
    case '/checksum':
      return await checksum(deps, searchParams.get('at'));
    default:
      return problem(
        404,
        'not-found',
        `no such page: ${pathname}; there are /healthz, /status, /metrics, /checksum, /explain, /kv/<table>/<key>`,
      );
  }
}

export function edgeStatus(deps: HttpHandlerDeps): RoleStatus {
  const { feed } = deps;
  const { state, reason, epoch, position, upstreamPosition, rows, tables } = feed.current;
  const lagMs = feed.lagMs();
  const placement = deps.placement();
  return {
    role: 'edge',
    name: deps.name,
    pid: deps.pid,
    version: deps.version,
    state: deps.stopping() ? 'stopping' : state,
    reason,
    epoch,
    position: formatLsn(position),
    upstreamPosition: formatLsn(upstreamPosition),
    // JSON has no infinity.
    lagMs: Number.isFinite(lagMs) ? Math.round(lagMs) : Number.MAX_SAFE_INTEGER,
    lagBytes: Math.max(0, Number(upstreamPosition - position)),
    rows,
    tables,
    answered: { ...deps.answered() },
    ...(placement === null ? {} : { placement }),
    subscribers: [],
  };
}

/** 200 while reads are answered, however old the replica is: restarting an edge because the core is away would help nobody. */
function healthz(deps: HttpHandlerDeps): Response {
  const { state, reason } = deps.feed.current;
  const ready = (state === 'streaming' || state === 'lost') && !deps.stopping();
  return Response.json({ ready, state, reason }, { status: ready ? 200 : 503 });
}

function explain(deps: HttpHandlerDeps, parameters: URLSearchParams): Response {
  const sql = parameters.get('sql');
  if (sql === null) return problem(400, 'no-statement', 'give the statement as ?sql=…');
  const searchPath = (parameters.get('search_path') ?? 'public').split(',').map((name) => name.trim());
  const explanation = deps.explain(sql, searchPath);
  if (explanation === null) return problem(503, 'replica-not-ready', 'the first snapshot has not arrived yet');
  return Response.json(explanation);
}

async function checksum(deps: HttpHandlerDeps, at: string | null): Promise<Response> {
  const { state } = deps.feed.current;
  if (state === 'starting' || state === 'bootstrapping') {
    return problem(503, 'replica-not-ready', 'the first snapshot has not arrived yet');
  }
  try {
    return Response.json(await deps.checksum(at === null ? null : parseLsn(at)));
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return problem(error.code === 'lsn-invalid' ? 400 : 409, error.code, describeError(error));
  }
}

function problem(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status });
}
